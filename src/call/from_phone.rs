//! A desk phone calls a WhatsApp user: reserve, `connect`, ring, answer on `ACCEPTED` (rules 7-10).

use crate::call::Offer;
use crate::call::cause::HangupCause;
use crate::call::common::{Common, LegState, MediaState, MetaSide, Phase, Timer, graph_cause};
use crate::call::from_user::CrossedLeg;
use crate::call::input::{ActionKind, Fork, Input};
use crate::call::output::{Gate, Output};
use crate::time::{Now, Wall};
use crate::whatsapp::{Action, Failure, Meaning};

/// What counts as the user's answer (rule 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOn {
    /// Only Meta's `ACCEPTED`.
    Accepted,
    /// `ACCEPTED`, or sustained voiced audio from the user after `RINGING`.
    Speech,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permit {
    Unasked,
    Asked,
    Granted,
}

#[derive(Debug)]
pub(super) struct FromPhone {
    answer_on: AnswerOn,
    offer: Option<String>,
    permit: Permit,
    phone_sdp: String,
    early: bool,
    rang: bool,
    spoke: bool,
    accepted: Option<Wall>,
    crossing: bool,
}

impl FromPhone {
    pub(super) fn begin(common: &mut Common, offer: Option<String>, answer_on: AnswerOn) -> Self {
        common.legs.push(LegState::Calling);
        common.leg = Some(Fork(0));
        Self {
            answer_on,
            offer,
            permit: Permit::Unasked,
            phone_sdp: String::new(),
            early: false,
            rang: false,
            spoke: false,
            accepted: None,
            crossing: false,
        }
    }

    pub(super) fn handle(&mut self, common: &mut Common, now: Now, input: Input) {
        match input {
            Input::RecordOpened if self.permit == Permit::Unasked => {
                self.permit = Permit::Asked;
                common.push(Output::Reserve);
            }
            Input::RecordRefused | Input::ReservationFailed => common.end(now, HangupCause::StoreDown),
            Input::Reserved(_) if self.permit == Permit::Asked => self.reserved(common, now),
            Input::Denied(denial) => {
                common.until = denial.until;
                common.end(now, HangupCause::Denied(denial.reason));
            }
            Input::MediaOpened { meta_sdp, phone_sdp } => {
                self.media_opened(common, now, meta_sdp, phone_sdp);
            }
            Input::GraphConnected(call) => common.connecting(call),
            Input::WaCallLearnt(call) => common.learn_wa_call(call),
            Input::GraphFailed(kind, failure) => self.graph_failed(common, now, kind, &failure),
            Input::UserAnswerReceived(sdp) => common.user_described(now, sdp),
            Input::DtlsUp => common.set_gate(Gate::Comfort),
            Input::UserRang => self.user_rang(common, now),
            Input::UserSpoke => self.user_spoke(common),
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
            Input::PhoneHungUp(_) => {
                common.set_leg(Fork(0), LegState::Gone);
                common.end(now, HangupCause::PhoneHungUp);
            }
            _ => {}
        }
        self.answer_if_due(common, now);
    }

    fn reserved(&mut self, common: &mut Common, now: Now) {
        self.permit = Permit::Granted;
        common.hold_place();
        common.reached(now, "reserved");
        let phone = self.offer.clone().map_or(Offer::Ours, Offer::Theirs);
        common.open_media(Offer::Ours, phone);
    }

    fn media_opened(&mut self, common: &mut Common, now: Now, meta_sdp: String, phone_sdp: String) {
        common.media = MediaState::Open;
        self.phone_sdp = phone_sdp;
        let (user, opaque) = (common.record.user.clone(), common.record.id.to_string());
        common.placed = true;
        common.post(Action::Connect { user, offer: meta_sdp, opaque });
        common.set_timer(Timer::AnswerWait, now.mono + common.times.answer_wait);
    }

    fn graph_failed(&mut self, common: &mut Common, now: Now, kind: ActionKind, failure: &Failure) {
        common.graph_replied(kind);
        if kind != ActionKind::Connect {
            return;
        }
        if matches!(failure, Failure::Refused { .. }) {
            // Meta never made this call, so there is nothing to terminate.
            common.meta = MetaSide::Ended;
            common.placed = false;
        }
        if let Failure::Refused { meaning: Meaning::AlreadyInCall, .. } = failure {
            // Most likely the user is calling us at this moment: wait for that call (rule 8).
            self.crossing = true;
            common.stop_timer(Timer::AnswerWait);
            common.set_timer(Timer::CrossWait, now.mono + common.times.cross_wait);
            return;
        }
        if let Failure::Refused { until, .. } = failure {
            common.until = *until;
        }
        common.end(now, graph_cause(failure));
    }

    fn user_rang(&mut self, common: &mut Common, now: Now) {
        common.note_rang(now);
        common.reached(now, "rang");
        if !self.rang && !self.early {
            self.rang = true;
            common.push(Output::Ring(None));
        }
        self.rang = true;
    }

    /// Voice before the answer is early media, unless the number takes it for the answer.
    fn user_spoke(&mut self, common: &mut Common) {
        self.spoke = true;
        if self.answer_on == AnswerOn::Accepted && !self.early && self.offer.is_some() {
            self.early = true;
            common.push(Output::Ring(Some(self.phone_sdp.clone())));
        }
    }

    fn answer_if_due(&mut self, common: &mut Common, now: Now) {
        if common.phase != Phase::SettingUp || !common.dtls_up {
            return;
        }
        let by_speech = self.answer_on == AnswerOn::Speech && self.rang && self.spoke;
        if self.accepted.is_none() && !by_speech {
            return;
        }
        // Counted at the earlier of the two signs; Meta's `start_time` corrects it.
        common.mark_connected(self.accepted.unwrap_or(now.wall));
        common.set_leg(Fork(0), LegState::Answered);
        common.reached(now, "phone_answered");
        common.push(Output::AcceptPhone(Fork(0), self.phone_sdp.clone()));
        common.bridge(now);
    }

    pub(super) fn timer(&mut self, common: &mut Common, now: Now, timer: Timer) {
        match timer {
            Timer::AnswerWait => common.end(now, HangupCause::MetaSilent),
            Timer::UserRing => common.end(now, HangupCause::UserUnanswered),
            Timer::CrossWait => common.end(now, HangupCause::Meta(Meaning::AlreadyInCall)),
            _ => {}
        }
    }

    /// Gives the dialling phone to the user's own call (rule 8); `None` once it is answered or hears early media.
    pub(super) fn hand_over(&mut self, common: &mut Common, now: Now) -> Option<CrossedLeg> {
        let calling = common.legs.first() == Some(&LegState::Calling);
        if common.phase != Phase::SettingUp || !calling || self.early {
            return None;
        }
        let endpoint = common.record.endpoint.clone()?;
        common.legs.clear();
        common.end(now, HangupCause::Crossed);
        Some(CrossedLeg { endpoint, offer: self.offer.clone() })
    }

    /// Whether this attempt was refused because the user is calling us, and waits for that call.
    pub(super) fn is_crossing(&self) -> bool {
        self.crossing
    }
}
