//! One bridged call: a B2BUA between a WhatsApp leg and a SIP leg, as a plain state machine.
//!
//! The driver feeds [`Input`]s and the time, drains [`Output`]s, and sleeps until
//! [`Call::poll_timeout`]. Nothing here can fail: a peer's misbehaviour ends the call with a
//! [`HangupCause`]. Rule numbers in comments are those of the project's call-handling rules; each has a test of that name.

pub mod cause;
mod common;
pub mod desk;
mod features;
mod from_gateway;
mod from_phone;
mod from_user;
pub mod input;
mod joining;
mod notice;
pub mod output;
mod parking;
pub mod record;
mod ring_plan;
#[cfg(test)]
mod tests;
mod transfer;
pub mod voicemail;

use std::time::Instant;

use common::{Common, LegState, MediaState, MetaSide, Phase};
use from_gateway::FromGateway;
use from_phone::FromPhone;
use from_user::FromUser;
use joining::Joining;
use parking::Parking;
use transfer::Transfers;

pub use cause::{CodeRefusal, Fault, HangupCause, Verdict};
pub use common::Timer;
pub use from_phone::AnswerOn;
pub use from_user::{CrossedLeg, PreAcceptWhen, Reception};
pub use input::{
    ActionKind, CallTimes, Fork, ForkFailure, Input, MediaClosing, MediaFailure, MediaRefusal, Order,
    TakeOver, Towards,
};
pub use joining::Joiner;
pub use notice::{Notice, NoticeInput, NoticeKind, NoticeOutput};
pub use output::{Gate, LegEnd, Offer, Output, Sound};
pub use parking::{ParkingOrder, ParkingPlace};
pub use record::{CallDirection, CallNote, CallRecord, MissedCall};
pub use ring_plan::{Overflow, RingOrder, RingPlan, RingStep};
pub use transfer::{Joined, Reached, TransferTarget};
pub use voicemail::{Answering, Spoken, VoiceMessage, VoicemailId, VoicemailSource};

use crate::sip::alert::Alert;
use crate::time::Now;

/// One call between a WhatsApp user and a phone.
#[derive(Debug)]
pub struct Call {
    common: Common,
    flow: Flow,
    transfers: Transfers,
    joining: Joining,
    parking: Parking,
}

/// Who began the call.
#[derive(Debug)]
enum Flow {
    User(Box<FromUser>),
    Phone(FromPhone),
    Gateway(Box<FromGateway>),
}

impl Call {
    /// A user calls: `offer` is Meta's session description, `record.opened` the time of the webhook.
    #[must_use]
    pub fn from_user(
        now: Now,
        record: CallRecord,
        times: CallTimes,
        offer: String,
        reception: Reception,
        crossed: Option<CrossedLeg>,
    ) -> Self {
        let mut common = Common::new(record, times, from_user::META_SIDE);
        let flow = FromUser::begin(&mut common, now, offer, reception, crossed);
        let flow = Flow::User(Box::new(flow));
        Self::of(common, flow)
    }

    /// A user calls and nobody is to be rung: the call is rejected at Meta and recorded with this cause.
    #[must_use]
    pub fn turned_away(now: Now, record: CallRecord, times: CallTimes, cause: HangupCause) -> Self {
        let mut common = Common::new(record, times, from_user::META_SIDE);
        let flow = Flow::User(Box::new(FromUser::turned_away(now)));
        common.end(now, cause);
        Self::of(common, flow)
    }

    /// A phone calls a user; the phone's INVITE waits for our answer.
    #[must_use]
    pub fn from_phone(
        record: CallRecord,
        times: CallTimes,
        offer: Option<String>,
        answer_on: AnswerOn,
    ) -> Self {
        let mut common = Common::new(record, times, MetaSide::Untouched);
        let flow = Flow::Phone(FromPhone::begin(&mut common, offer, answer_on));
        Self::of(common, flow)
    }

    fn of(common: Common, flow: Flow) -> Self {
        let (transfers, joining, parking) = (Transfers::default(), Joining::default(), Parking::default());
        Self { common, flow, transfers, joining, parking }
    }

    /// The gateway calls back: `agent` is rung first, then the user.
    #[must_use]
    pub fn from_gateway(
        record: CallRecord,
        times: CallTimes,
        agent: crate::id::Endpoint,
        answer_on: AnswerOn,
    ) -> Self {
        let mut common = Common::new(record, times, MetaSide::Untouched);
        let flow = Flow::Gateway(Box::new(FromGateway::begin(&mut common, agent, answer_on)));
        Self::of(common, flow)
    }

    /// Tells the call what happened.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        self.common.note_stage(now, &input);
        match self.common.phase {
            Phase::Over => {}
            _ if matches!(input, Input::MediaClosed(_)) => self.media_closed(now, input),
            Phase::Ending => self.handle_while_ending(now, input),
            Phase::SettingUp | Phase::Bridged => self.handle_while_up(now, input),
        }
    }

    /// Tells the call that time passed; early or extra calls do nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.common.due_timer(now) {
            match (timer, &mut self.flow) {
                (Timer::TerminateWait, _) => self.common.give_up_waiting(now),
                (Timer::MaxDuration, _) => self.common.end(now, HangupCause::TooLong),
                (Timer::MediaSetup, _) => {
                    self.common.end(now, HangupCause::MediaFailed(MediaFailure::Ice));
                }
                (Timer::TransferRing | Timer::TransferorFarewell, _) => {
                    self.transfers.timer(&mut self.common, now, timer);
                }
                (Timer::Parked, _) => {
                    let targets = self.parking.timed_out(&mut self.common);
                    self.transfers.send(&mut self.common, now, targets, HangupCause::NotFetched);
                }
                (timer, Flow::User(flow)) => flow.timer(&mut self.common, now, timer),
                (timer, Flow::Phone(flow)) => flow.timer(&mut self.common, now, timer),
                (timer, Flow::Gateway(flow)) => flow.timer(&mut self.common, now, timer),
            }
        }
    }

    /// When the next timer is due, and which.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.common.next_timer()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.common.poll_output()
    }

    /// Gives a dialling phone to the same user's own call (rule 8); this attempt then ends.
    pub fn hand_over(&mut self, now: Now) -> Option<CrossedLeg> {
        match &mut self.flow {
            Flow::Phone(flow) => flow.hand_over(&mut self.common, now),
            Flow::User(_) | Flow::Gateway(_) => None,
        }
    }

    /// A call that we began gives way to the same user's own call (rule 8): whom to ring first for that one.
    pub fn give_way(&mut self, now: Now) -> Option<crate::id::Endpoint> {
        match &self.flow {
            Flow::Gateway(flow) => flow.give_way(&mut self.common, now),
            Flow::User(_) | Flow::Phone(_) => None,
        }
    }

    /// What is known so far.
    #[must_use]
    pub fn record(&self) -> &CallRecord {
        &self.common.record
    }

    /// Why the call ended, once it has.
    #[must_use]
    pub fn cause(&self) -> Option<HangupCause> {
        self.common.cause()
    }

    /// Whether the last output was given out and the call can be forgotten.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.common.phase == Phase::Over
    }

    /// Whether both sides talk.
    #[must_use]
    pub fn is_bridged(&self) -> bool {
        self.common.phase == Phase::Bridged
    }

    /// Whether the call counts as up: not yet ended by either side.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.common.phase, Phase::SettingUp | Phase::Bridged)
    }

    /// Whether the gateway answers the call itself, for nobody.
    #[must_use]
    pub fn is_attended(&self) -> bool {
        matches!(&self.flow, Flow::User(flow) if flow.is_attended())
    }

    /// How a leg of the ring plan rings; `None` for others.
    #[must_use]
    pub fn alert(&self, fork: Fork) -> Option<&Alert> {
        match &self.flow {
            Flow::User(flow) => flow.alert(fork),
            Flow::Phone(_) | Flow::Gateway(_) => None,
        }
    }

    /// The phone leg that talks, or will.
    #[must_use]
    pub fn talking_leg(&self) -> Option<Fork> {
        self.common.leg
    }

    /// Whether the attempt was refused because the user is calling us at this moment.
    #[must_use]
    pub fn is_crossing(&self) -> bool {
        matches!(&self.flow, Flow::Phone(flow) if flow.is_crossing())
    }

    fn media_closed(&mut self, now: Now, input: Input) {
        if let Input::MediaClosed(closing) = input {
            self.common.media_closed(closing);
        }
        if self.common.phase == Phase::Ending {
            self.common.finish_if_quiet(now);
        } else {
            self.common.end(now, HangupCause::MediaFailed(MediaFailure::Panic));
        }
    }

    fn handle_while_ending(&mut self, now: Now, input: Input) {
        match input {
            Input::MetaTerminated(termination) => {
                self.common.note_termination(&termination);
                self.common.finish_if_quiet(now);
            }
            // Picked up and hung up at once: Meta counts it, so we do.
            Input::UserAccepted(at) => self.common.mark_connected(at),
            Input::Reserved(_) => {
                self.common.hold_place();
                self.common.finish_if_quiet(now);
            }
            // Answered before our CANCEL was carried out: nobody else would end that dialog.
            Input::PhoneAnswered { fork, .. } => {
                if let Some(cause) = self.common.cause() {
                    self.common.push(Output::HangUp(fork, LegEnd::Verdict(cause.verdict())));
                }
            }
            input => self.common.handle_while_ending(now, input),
        }
    }

    fn handle_while_up(&mut self, now: Now, input: Input) {
        let Some(input) = self.hear_as_attendant(now, input) else { return };
        let Some(input) = self.handle_features(now, input) else { return };
        let common = &mut self.common;
        match input {
            Input::MediaFailed(failure) => common.end(now, HangupCause::MediaFailed(failure)),
            Input::MediaRefused(refusal) => {
                common.media = MediaState::Closed;
                common.end(now, HangupCause::MediaRefused(refusal));
            }
            Input::MetaAnswerRefused => {
                common.end(now, HangupCause::MediaRefused(MediaRefusal::MetaOffer));
            }
            Input::PhoneAnswerRefused => common.end(now, HangupCause::PhoneMediaRefused),
            Input::MediaStalled => common.end(now, HangupCause::NoMedia),
            Input::Ordered(Order::Stop) => common.end(now, HangupCause::Stopping),
            Input::Ordered(Order::HangUp) => common.end(now, HangupCause::Ordered),
            Input::Ordered(Order::Panic) => common.end(now, HangupCause::Panic),
            Input::PhoneAckMissed => common.end(now, HangupCause::PhoneLost),
            Input::PhoneExpired(fork) => {
                common.set_leg(fork, LegState::Gone);
                common.end(now, HangupCause::SessionExpired);
            }
            Input::PhoneConfirmed(_, dialog) => common.push(Output::SaveDialog(dialog)),
            Input::PhoneCancelled(fork) => {
                common.set_leg(fork, LegState::Gone);
                common.end(now, HangupCause::PhoneCancelled);
            }
            // Who has handed the call over has nothing to say any more.
            Input::PhoneReoffered(fork, _) if common.leg != Some(fork) => {
                common.push(Output::RefuseReoffer(fork));
            }
            Input::PhoneReanswered(fork, _) if common.leg != Some(fork) => {}
            Input::PhoneReoffered(_, sdp) => common.push(Output::AnswerReoffer(sdp)),
            Input::PhoneReofferAnswered(sdp) => common.push(Output::AnswerPhoneReoffer(Some(sdp))),
            Input::PhoneReofferRefused => common.push(Output::AnswerPhoneReoffer(None)),
            Input::PhoneReanswered(_, sdp) => common.push(Output::ApplyPhoneReanswer(sdp)),
            Input::PhoneHungUp(fork) if common.leg == Some(fork) => {
                common.set_leg(fork, LegState::Gone);
                common.end(now, HangupCause::PhoneHungUp);
            }
            input if common.phase == Phase::Bridged => self.handle_while_bridged(now, input),
            input => match &mut self.flow {
                Flow::User(flow) => flow.handle(common, now, input),
                Flow::Phone(flow) => flow.handle(common, now, input),
                Flow::Gateway(flow) => flow.handle(common, now, input),
            },
        }
    }

    /// A call that the gateway has answered itself is not like one with a phone.
    fn hear_as_attendant(&mut self, now: Now, input: Input) -> Option<Input> {
        match &mut self.flow {
            Flow::User(flow) => match flow.attendant() {
                Some(attendant) => attendant.handle(&mut self.common, now, input),
                None => Some(input),
            },
            Flow::Phone(_) | Flow::Gateway(_) => Some(input),
        }
    }

    fn handle_while_bridged(&mut self, now: Now, input: Input) {
        let common = &mut self.common;
        match input {
            Input::MetaTerminated(termination) => {
                common.note_termination(&termination);
                common.end(now, Common::meta_cause(&termination, HangupCause::UserHungUp));
            }
            Input::UserAccepted(at) => common.mark_connected(at),
            Input::GraphConnected(call) => {
                common.learn_wa_call(call);
                common.graph_replied(ActionKind::Connect);
            }
            Input::WaCallLearnt(call) => common.learn_wa_call(call),
            Input::GraphDone(kind) | Input::GraphFailed(kind, _) => common.graph_replied(kind),
            // A second phone that answered after the first: the user agent's fork, ended there.
            Input::PhoneAnswered { fork, .. } if common.leg != Some(fork) => {
                common.set_leg(fork, LegState::Gone);
                common.push(Output::HangUp(fork, LegEnd::CompletedElsewhere));
            }
            _ => {}
        }
    }
}
