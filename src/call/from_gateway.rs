//! The gateway calls back: first the agent's phone, then, once somebody is there, the user (rules 7-10).
//!
//! The same gate as for a phone that dials: nothing reaches Meta before policy has allowed it. The place under the
//! caps is not held while the agent's phone rings.

use crate::call::Offer;
use crate::call::cause::HangupCause;
use crate::call::common::{Common, LegState, MediaState, MetaSide, Phase, Timer, graph_cause};
use crate::call::from_phone::AnswerOn;
use crate::call::input::{ActionKind, Fork, ForkFailure, Input};
use crate::call::output::{Gate, Output, Sound};
use crate::id::Endpoint;
use crate::time::{Now, Wall};
use crate::whatsapp::{Action, Failure, Meaning};

/// The agent's leg.
const AGENT: Fork = Fork(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is open yet.
    Opening,
    /// The agent's phone rings.
    Ringing,
    /// The agent is there; policy is asked.
    Asking,
    /// Meta is asked to ring the user.
    Dialling,
}

#[derive(Debug)]
pub(super) struct FromGateway {
    agent: Endpoint,
    answer_on: AnswerOn,
    stage: Stage,
    record_open: bool,
    meta_sdp: String,
    phone_sdp: String,
    rang: bool,
    spoke: bool,
    ringback: bool,
    accepted: Option<Wall>,
}

impl FromGateway {
    pub(super) fn begin(common: &mut Common, agent: Endpoint, answer_on: AnswerOn) -> Self {
        common.open_media(Offer::Ours, Offer::Ours);
        Self {
            agent,
            answer_on,
            stage: Stage::Opening,
            record_open: false,
            meta_sdp: String::new(),
            phone_sdp: String::new(),
            rang: false,
            spoke: false,
            ringback: false,
            accepted: None,
        }
    }

    pub(super) fn handle(&mut self, common: &mut Common, now: Now, input: Input) {
        match input {
            Input::RecordOpened => self.record_open = true,
            Input::RecordRefused | Input::ReservationFailed => common.end(now, HangupCause::StoreDown),
            Input::MediaOpened { meta_sdp, phone_sdp } => {
                common.media = MediaState::Open;
                (self.meta_sdp, self.phone_sdp) = (meta_sdp, phone_sdp);
            }
            Input::PhoneRang(..) => common.reached(now, "agent_rang"),
            Input::PhoneAnswered { fork: AGENT, sdp, dialog } if self.stage == Stage::Ringing => {
                self.stage = Stage::Asking;
                common.stop_timer(Timer::RingStep);
                common.leg = Some(AGENT);
                common.set_leg(AGENT, LegState::Answered);
                common.record.endpoint = Some(self.agent.clone());
                common.record.sip_call_id = Some(dialog.call_id.clone());
                common.reached(now, "agent_answered");
                common.push(Output::ApplyPhoneAnswer(sdp));
                common.push(Output::SaveDialog(dialog));
                common.push(Output::Reserve);
            }
            Input::PhoneFailed(AGENT, failure) if self.stage == Stage::Ringing => {
                common.set_leg(AGENT, LegState::Gone);
                common.end(now, agent_cause(failure));
            }
            Input::Reserved(_) if self.stage == Stage::Asking => self.reserved(common, now),
            Input::Denied(denial) => {
                common.until = denial.until;
                common.end(now, HangupCause::Denied(denial.reason));
            }
            input => self.handle_user(common, now, input),
        }
        self.advance(common, now);
    }

    /// What the user's side says; as in a call that a phone dialled.
    fn handle_user(&mut self, common: &mut Common, now: Now, input: Input) {
        match input {
            Input::GraphConnected(call) => common.connecting(call),
            Input::WaCallLearnt(call) => common.learn_wa_call(call),
            Input::GraphFailed(kind, failure) => graph_failed(common, now, kind, &failure),
            Input::UserAnswerReceived(sdp) => common.user_described(now, sdp),
            Input::DtlsUp => common.set_gate(Gate::Comfort),
            Input::UserRang => {
                common.note_rang(now);
                common.reached(now, "rang");
                self.rang = true;
                if !self.ringback {
                    self.ringback = true;
                    common.push(Output::PlayToPhone(Sound::Ringback));
                }
            }
            Input::UserSpoke => self.spoke = true,
            Input::UserAccepted(at) => {
                self.accepted.get_or_insert(at);
                common.mark_connected(at);
                common.reached(now, "user_accepted");
            }
            Input::UserRejected => common.end(now, HangupCause::UserRejected),
            Input::MetaTerminated(termination) => {
                common.note_termination(&termination);
                common.end(now, Common::meta_cause(&termination, HangupCause::UserUnanswered));
            }
            _ => {}
        }
    }

    fn advance(&mut self, common: &mut Common, now: Now) {
        if common.phase != Phase::SettingUp {
            return;
        }
        if self.stage == Stage::Opening && self.record_open && !self.phone_sdp.is_empty() {
            self.stage = Stage::Ringing;
            common.legs.push(LegState::Ringing);
            common.reached(now, "invited");
            let (target, sdp) = (self.agent.clone(), self.phone_sdp.clone());
            common.push(Output::Invite { fork: AGENT, target, sdp });
            common.set_timer(Timer::RingStep, now.mono + common.times.agent_ring);
        }
        self.answer_if_due(common, now);
    }

    fn reserved(&mut self, common: &mut Common, now: Now) {
        self.stage = Stage::Dialling;
        common.hold_place();
        common.reached(now, "reserved");
        let (user, opaque) = (common.record.user.clone(), common.record.id.to_string());
        common.placed = true;
        common.post(Action::Connect { user, offer: self.meta_sdp.clone(), opaque });
        common.set_timer(Timer::AnswerWait, now.mono + common.times.answer_wait);
    }

    fn answer_if_due(&mut self, common: &mut Common, now: Now) {
        if self.stage != Stage::Dialling || !common.dtls_up {
            return;
        }
        let by_speech = self.answer_on == AnswerOn::Speech && self.rang && self.spoke;
        if self.accepted.is_none() && !by_speech {
            return;
        }
        common.mark_connected(self.accepted.unwrap_or(now.wall));
        common.reached(now, "phone_answered");
        if self.ringback {
            common.push(Output::StopPlayingToPhone);
        }
        common.bridge(now);
    }

    pub(super) fn timer(&mut self, common: &mut Common, now: Now, timer: Timer) {
        match timer {
            Timer::RingStep => common.end(now, HangupCause::PhoneUnanswered),
            Timer::AnswerWait => common.end(now, HangupCause::MetaSilent),
            Timer::UserRing => common.end(now, HangupCause::UserUnanswered),
            Timer::CrossWait => common.end(now, HangupCause::Meta(Meaning::AlreadyInCall)),
            _ => {}
        }
    }

    /// Gives way to the same user's own call (rule 8): who is to be rung first for it. [`None`] once the user has
    /// taken this one.
    pub(super) fn give_way(&self, common: &mut Common, now: Now) -> Option<Endpoint> {
        if common.phase != Phase::SettingUp || self.accepted.is_some() {
            return None;
        }
        common.end(now, HangupCause::Crossed);
        Some(self.agent.clone())
    }
}

fn graph_failed(common: &mut Common, now: Now, kind: ActionKind, failure: &Failure) {
    common.graph_replied(kind);
    if kind != ActionKind::Connect {
        return;
    }
    if let Failure::Refused { meaning: Meaning::AlreadyInCall, .. } = failure {
        // Most likely the user is calling us at this moment: wait for that call (rule 8).
        (common.meta, common.placed) = (MetaSide::Ended, false);
        common.stop_timer(Timer::AnswerWait);
        common.set_timer(Timer::CrossWait, now.mono + common.times.cross_wait);
        return;
    }
    if let Failure::Refused { until, .. } = failure {
        // Meta never made this call, so there is nothing to terminate.
        common.meta = MetaSide::Ended;
        common.placed = false;
        common.until = *until;
    }
    common.end(now, graph_cause(failure));
}

/// Why the agent did not come.
const fn agent_cause(failure: ForkFailure) -> HangupCause {
    match failure {
        ForkFailure::Status(486 | 600) => HangupCause::PhoneBusy,
        ForkFailure::Status(403 | 603 | 607) => HangupCause::PhoneDeclined,
        ForkFailure::Status(408 | 480) | ForkFailure::TimedOut | ForkFailure::Cancelled => {
            HangupCause::PhoneUnanswered
        }
        ForkFailure::Status(488 | 606 | 415) => HangupCause::PhoneMediaRefused,
        ForkFailure::Status(_) => HangupCause::PhoneFailed,
        ForkFailure::Unreachable | ForkFailure::Silent => HangupCause::PhoneUnreachable,
    }
}
