//! A WhatsApp user calls the business: ring the phones, `pre_accept`, `accept` (rules 1-6).

use crate::call::Offer;
use crate::call::cause::HangupCause;
use crate::call::common::{Common, LegState, MetaSide, Phase, Timer, graph_cause};
use crate::call::input::{ActionKind, Fork, ForkFailure, Input};
use crate::call::output::{LegEnd, Output};
use crate::id::Endpoint;
use crate::time::{Now, Wall};
use crate::whatsapp::Action;

/// When `pre_accept` is sent (rule 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreAcceptWhen {
    /// Before the phones ring: ICE and DTLS are up when one answers.
    AtOnce,
    /// When the first phone rings, so that `reject` before it still triggers Meta's voicemail.
    Ringing,
}

/// A phone that was already dialling this user, taken over from the outbound attempt (rule 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossedLeg {
    /// Who was dialling.
    pub endpoint: Endpoint,
    /// The phone's offer, unless it left that to us.
    pub offer: Option<String>,
}

/// How a user's call is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingPlan {
    /// All that can ring now; they ring at the same time.
    pub targets: Vec<Endpoint>,
    /// When `pre_accept` goes.
    pub pre_accept: PreAcceptWhen,
    /// The last moment for a phone to answer, so that `accept` still fits Meta's window (rule 2).
    pub accept_by: Wall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Unsent,
    Sent,
    Done,
}

#[derive(Debug)]
pub(super) struct FromUser {
    plan: RingPlan,
    crossed: Option<CrossedLeg>,
    record_open: bool,
    rang: bool,
    invited: bool,
    pre_accept: Step,
    accept: Step,
    dtls_started: bool,
    meta_sdp: String,
    phone_sdp: String,
    worst: Option<HangupCause>,
}

impl FromUser {
    pub(super) fn begin(
        common: &mut Common,
        now: Now,
        offer: String,
        plan: RingPlan,
        crossed: Option<CrossedLeg>,
    ) -> Self {
        common.set_timer(Timer::AcceptWindow, now.mono + plan.accept_by.since(now.wall));
        let phone = match &crossed {
            Some(CrossedLeg { offer: Some(offer), .. }) => Offer::Theirs(offer.clone()),
            _ => Offer::Ours,
        };
        if crossed.is_some() {
            common.legs.push(LegState::Calling);
            common.leg = Some(Fork(0));
        }
        if plan.targets.is_empty() && crossed.is_none() {
            common.end(now, HangupCause::PhoneUnreachable);
        } else {
            common.open_media(Offer::Theirs(offer), phone);
        }
        Self::waiting(plan, crossed)
    }

    /// For a call that ends as it begins.
    pub(super) fn turned_away(now: Now) -> Self {
        let plan = RingPlan { targets: Vec::new(), pre_accept: PreAcceptWhen::AtOnce, accept_by: now.wall };
        Self::waiting(plan, None)
    }

    fn waiting(plan: RingPlan, crossed: Option<CrossedLeg>) -> Self {
        Self {
            plan,
            crossed,
            record_open: false,
            rang: false,
            invited: false,
            pre_accept: Step::Unsent,
            accept: Step::Unsent,
            dtls_started: false,
            meta_sdp: String::new(),
            phone_sdp: String::new(),
            worst: None,
        }
    }

    pub(super) fn handle(&mut self, common: &mut Common, now: Now, input: Input) {
        match input {
            Input::RecordOpened => self.record_open = true,
            Input::RecordRefused => common.end(now, HangupCause::StoreDown),
            Input::MediaOpened { meta_sdp, phone_sdp } => {
                common.media = super::common::MediaState::Open;
                (self.meta_sdp, self.phone_sdp) = (meta_sdp, phone_sdp);
            }
            Input::GraphDone(kind) => self.graph_done(common, now, kind),
            Input::GraphFailed(kind, failure) => {
                common.graph_replied(kind);
                common.end(now, graph_cause(&failure));
            }
            Input::PhoneRang(_, _) => {
                self.rang = true;
                common.record.rang.get_or_insert(now.wall);
                common.reached(now, "rang");
            }
            Input::PhoneAnswered { fork, sdp, dialog } => {
                self.phone_answered(common, now, fork, &sdp);
                if common.leg == Some(fork) {
                    common.record.sip_call_id = Some(dialog.call_id.clone());
                    common.push(Output::SaveDialog(dialog));
                }
            }
            Input::PhoneFailed(fork, failure) => self.phone_failed(common, now, fork, failure),
            Input::MetaTerminated(termination) => {
                common.note_termination(&termination);
                common.end(now, Common::meta_cause(&termination, HangupCause::UserCancelled));
            }
            _ => {}
        }
        self.advance(common, now);
    }

    /// Does what has become possible; rule 3 keeps Graph requests one after another.
    fn advance(&mut self, common: &mut Common, now: Now) {
        if common.phase != Phase::SettingUp || !self.record_open || self.meta_sdp.is_empty() {
            return;
        }
        let Some(call) = common.wa_call().cloned() else { return };
        let due = self.plan.pre_accept == PreAcceptWhen::AtOnce || self.rang;
        if due && common.leg.is_none_or(|_| self.crossed.is_some()) && self.pre_accept == Step::Unsent {
            self.pre_accept = Step::Sent;
            common.post(Action::PreAccept { call: call.clone(), sdp: self.meta_sdp.clone() });
        }
        if !self.invited && self.crossed.is_none() {
            self.invite_all(common, now);
        }
        let answered = common.leg.is_some();
        if answered && self.accept == Step::Unsent && self.pre_accept != Step::Sent {
            self.accept = Step::Sent;
            let opaque = Some(common.record.id.to_string());
            common.post(Action::Accept { call, sdp: self.meta_sdp.clone(), opaque });
        }
    }

    fn invite_all(&mut self, common: &mut Common, now: Now) {
        self.invited = true;
        common.reached(now, "invited");
        for (index, target) in self.plan.targets.clone().into_iter().enumerate() {
            let fork = Fork(u8::try_from(index).unwrap_or(u8::MAX));
            common.legs.push(LegState::Ringing);
            common.push(Output::Invite { fork, target, sdp: self.phone_sdp.clone() });
        }
    }

    fn graph_done(&mut self, common: &mut Common, now: Now, kind: ActionKind) {
        match kind {
            ActionKind::PreAccept => self.pre_accept = Step::Done,
            ActionKind::Accept => self.accept = Step::Done,
            _ => {}
        }
        if matches!(kind, ActionKind::PreAccept | ActionKind::Accept) && !self.dtls_started {
            // Not before: Meta needs our fingerprint, or the first ClientHello is lost (rule 4).
            self.dtls_started = true;
            common.push(Output::StartDtls);
        }
        if kind == ActionKind::Accept && common.phase == Phase::SettingUp {
            if let Some(crossed) = &self.crossed {
                common.set_leg(Fork(0), LegState::Answered);
                common.record.endpoint = Some(crossed.endpoint.clone());
                common.push(Output::AcceptPhone(self.phone_sdp.clone()));
            }
            common.bridge(now);
        }
        common.graph_replied(kind);
    }

    fn phone_answered(&mut self, common: &mut Common, now: Now, fork: Fork, sdp: &str) {
        if common.leg.is_some() {
            common.set_leg(fork, LegState::Gone);
            common.push(Output::HangUp(fork, LegEnd::CompletedElsewhere));
            return;
        }
        common.leg = Some(fork);
        common.set_leg(fork, LegState::Answered);
        common.record.rang.get_or_insert(now.wall);
        common.record.endpoint = self.plan.targets.get(usize::from(fork.0)).cloned();
        common.reached(now, "phone_answered");
        common.push(Output::ApplyPhoneAnswer(sdp.to_owned()));
        for index in 0..common.legs.len() {
            let other = Fork(u8::try_from(index).unwrap_or(u8::MAX));
            if other != fork && common.legs[index] == LegState::Ringing {
                common.legs[index] = LegState::Gone;
                common.push(Output::Cancel(other, LegEnd::CompletedElsewhere));
            }
        }
    }

    fn phone_failed(&mut self, common: &mut Common, now: Now, fork: Fork, failure: ForkFailure) {
        if common.leg_state(fork).is_none_or(|state| *state != LegState::Ringing) {
            return;
        }
        common.set_leg(fork, LegState::Gone);
        let cause = fork_cause(failure);
        // The answer of a person says more than a dead line: it names the cause of the whole hunt.
        if self.worst.is_none_or(|worst| weight(cause) > weight(worst)) {
            self.worst = Some(cause);
        }
        let ringing = common.legs.contains(&LegState::Ringing);
        if !ringing && common.leg.is_none() {
            common.end(now, self.worst.unwrap_or(HangupCause::PhoneUnreachable));
        }
    }

    pub(super) fn timer(&mut self, common: &mut Common, now: Now, timer: Timer) {
        if timer == Timer::AcceptWindow && self.accept != Step::Sent {
            common.end(now, HangupCause::PhoneUnanswered);
        }
    }
}

/// Why the call ends if this was the last leg.
fn fork_cause(failure: ForkFailure) -> HangupCause {
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

const fn weight(cause: HangupCause) -> u8 {
    match cause {
        HangupCause::PhoneDeclined => 5,
        HangupCause::PhoneBusy => 4,
        HangupCause::PhoneUnanswered => 3,
        HangupCause::PhoneMediaRefused => 2,
        HangupCause::PhoneFailed => 1,
        _ => 0,
    }
}

/// A user's call as Meta announced it: the side that `reject` ends.
pub(super) const META_SIDE: MetaSide = MetaSide::Offered;
