//! A WhatsApp user calls the business: ring the phones, `pre_accept`, `accept` (rules 1-6).

use crate::call::Offer;
use crate::call::cause::HangupCause;
use crate::call::common::{Common, LegState, MetaSide, Phase, Timer, graph_cause};
use crate::call::input::{ActionKind, Fork, ForkFailure, Input};
use crate::call::output::{LegEnd, Output};
use crate::call::ring_plan::{Hunt, RingPlan};
use crate::call::voicemail::{Answering, Attendant};
use crate::id::Endpoint;
use crate::sip::alert::Alert;
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
pub struct Reception {
    /// Who rings; empty if none of them can ring now.
    pub plan: RingPlan,
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
    hunt: Hunt,
    pre_accept_when: PreAcceptWhen,
    crossed: Option<CrossedLeg>,
    /// The phone that has picked the call up and waits for its answer.
    picked_up: Option<Fork>,
    record_open: bool,
    rang: bool,
    invited: bool,
    pre_accept: Step,
    accept: Step,
    dtls_started: bool,
    meta_sdp: String,
    phone_sdp: String,
    /// What is left to do when nobody takes the call.
    answering: Option<Answering>,
    /// Who has taken it then.
    attendant: Option<Attendant>,
}

impl FromUser {
    pub(super) fn begin(
        common: &mut Common,
        now: Now,
        offer: String,
        reception: Reception,
        crossed: Option<CrossedLeg>,
    ) -> Self {
        common.set_timer(Timer::AcceptWindow, now.mono + reception.accept_by.since(now.wall));
        let phone = match &crossed {
            Some(CrossedLeg { offer: Some(offer), .. }) => Offer::Theirs(offer.clone()),
            _ => Offer::Ours,
        };
        if crossed.is_some() {
            common.legs.push(LegState::Calling);
            common.leg = Some(Fork(0));
        }
        let nobody = reception.plan.targets().next().is_none() && reception.plan.answering.is_none();
        if nobody && crossed.is_none() {
            common.end(now, HangupCause::PhoneUnreachable);
        } else {
            common.open_media(Offer::Theirs(offer), phone);
        }
        Self::waiting(reception, crossed)
    }

    /// For a call that ends as it begins.
    pub(super) fn turned_away(now: Now) -> Self {
        let (plan, pre_accept) = (RingPlan::default(), PreAcceptWhen::AtOnce);
        Self::waiting(Reception { plan, pre_accept, accept_by: now.wall }, None)
    }

    fn waiting(reception: Reception, crossed: Option<CrossedLeg>) -> Self {
        Self {
            answering: reception.plan.answering,
            attendant: None,
            hunt: Hunt::new(reception.plan, reception.accept_by),
            pre_accept_when: reception.pre_accept,
            crossed,
            picked_up: None,
            record_open: false,
            rang: false,
            invited: false,
            pre_accept: Step::Unsent,
            accept: Step::Unsent,
            dtls_started: false,
            meta_sdp: String::new(),
            phone_sdp: String::new(),
        }
    }

    pub(super) const fn is_attended(&self) -> bool {
        self.attendant.is_some()
    }

    /// Who answers for nobody, once nobody else will.
    pub(super) fn attendant(&mut self) -> Option<&mut Attendant> {
        self.attendant.as_mut()
    }

    pub(super) fn handle(&mut self, common: &mut Common, now: Now, input: Input) {
        match input {
            // A user's call is answered while the store is down, too; its record is written down later (R15).
            Input::RecordOpened | Input::RecordRefused => self.record_open = true,
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
        let due = self.pre_accept_when == PreAcceptWhen::AtOnce || self.rang;
        if due && common.leg.is_none_or(|_| self.crossed.is_some()) && self.pre_accept == Step::Unsent {
            self.pre_accept = Step::Sent;
            common.post(Action::PreAccept { call: call.clone(), sdp: self.meta_sdp.clone() });
        }
        if !self.invited && self.crossed.is_none() && common.leg.is_none() {
            self.invited = true;
            common.reached(now, "invited");
            self.ring_next(common, now);
        }
        let answered = common.leg.is_some() || self.attendant.is_some();
        if answered && self.accept == Step::Unsent && self.pre_accept != Step::Sent {
            self.accept = Step::Sent;
            let opaque = Some(common.record.id.to_string());
            common.post(Action::Accept { call, sdp: self.meta_sdp.clone(), opaque });
        }
    }

    /// How a leg of the plan rings.
    pub(super) fn alert(&self, fork: Fork) -> Option<&Alert> {
        self.hunt.alert(fork)
    }

    /// It is the turn of the next in the plan: who is not among them stops ringing, the others ring on.
    fn ring_next(&mut self, common: &mut Common, now: Now) {
        common.stop_timer(Timer::RingStep);
        let Some(round) = self.hunt.next(now.wall) else {
            return self.take_or_end(common, now);
        };
        let mut missing = round.targets;
        for index in 0..common.legs.len() {
            let fork = Fork(u8::try_from(index).unwrap_or(u8::MAX));
            if common.legs[index] != LegState::Ringing {
                continue;
            }
            if let Some(at) = missing.iter().position(|it| Some(it) == self.hunt.target(fork)) {
                missing.remove(at);
            } else {
                // Not "elsewhere": whoever let it ring shall see a missed call.
                let verdict = HangupCause::PhoneUnanswered.verdict();
                common.legs[index] = LegState::Gone;
                common.push(Output::Cancel(fork, LegEnd::Verdict(verdict)));
            }
        }
        for target in missing {
            let fork = self.hunt.rings(target.clone(), round.alert.clone());
            common.legs.push(LegState::Ringing);
            common.push(Output::Invite { fork, target, sdp: self.phone_sdp.clone() });
        }
        if let Some(ends) = round.ends {
            common.set_timer(Timer::RingStep, now.mono + ends.since(now.wall));
        }
    }

    /// The plan is at its end: the gateway takes the call itself, if it is to.
    fn take_or_end(&mut self, common: &mut Common, now: Now) {
        let Some(answering) = self.answering.take() else {
            return common.end(now, self.hunt.cause());
        };
        for index in 0..common.legs.len() {
            if common.legs[index] == LegState::Ringing {
                common.legs[index] = LegState::Gone;
                let fork = Fork(u8::try_from(index).unwrap_or(u8::MAX));
                common.push(Output::Cancel(fork, LegEnd::Verdict(HangupCause::PhoneUnanswered.verdict())));
            }
        }
        self.attendant = Some(Attendant::new(answering, self.hunt.cause()));
        self.advance(common, now);
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
                common.record.endpoint = Some(crossed.endpoint.clone());
            }
            if let Some(fork) = self.crossed.as_ref().map(|_| Fork(0)).or(self.picked_up) {
                common.set_leg(fork, LegState::Answered);
                common.push(Output::AcceptPhone(fork, self.phone_sdp.clone()));
            }
            common.bridge(now);
            if let Some(attendant) = &mut self.attendant {
                attendant.accepted(common, now);
            }
        }
        common.graph_replied(kind);
    }

    fn phone_answered(&mut self, common: &mut Common, now: Now, fork: Fork, sdp: &str) {
        if common.leg.is_some() || self.attendant.is_some() {
            common.set_leg(fork, LegState::Gone);
            common.push(Output::HangUp(fork, LegEnd::CompletedElsewhere));
            return;
        }
        common.leg = Some(fork);
        common.stop_timer(Timer::RingStep);
        common.set_leg(fork, LegState::Answered);
        common.record.rang.get_or_insert(now.wall);
        common.record.endpoint = self.hunt.target(fork).cloned();
        common.reached(now, "phone_answered");
        common.push(Output::ApplyPhoneAnswer(sdp.to_owned()));
        Self::take_back(common, fork);
    }

    /// Nobody but `fork` rings any more.
    fn take_back(common: &mut Common, fork: Fork) {
        for index in 0..common.legs.len() {
            let other = Fork(u8::try_from(index).unwrap_or(u8::MAX));
            if other != fork && common.legs[index] == LegState::Ringing {
                common.legs[index] = LegState::Gone;
                common.push(Output::Cancel(other, LegEnd::CompletedElsewhere));
            }
        }
    }

    /// Who rings at this moment.
    pub(super) fn ringing<'a>(&'a self, common: &'a Common) -> impl Iterator<Item = &'a Endpoint> {
        let forks = common.legs.iter().enumerate().filter(|(_, state)| **state == LegState::Ringing);
        forks.filter_map(|(at, _)| self.hunt.target(Fork(u8::try_from(at).ok()?)))
    }

    /// Makes room for a phone that wants to take the call from those it rings at.
    pub(super) fn let_in(&mut self, common: &mut Common, endpoint: Endpoint) -> Option<Fork> {
        // Behind a phone that dialled at the same moment, legs and hunt count apart; and it has the call.
        let free = common.leg.is_none() && self.attendant.is_none();
        let open = common.phase == Phase::SettingUp && free && self.crossed.is_none();
        (open && self.ringing(common).next().is_some()).then(|| {
            common.legs.push(LegState::Calling);
            self.hunt.rings(endpoint, Alert::default())
        })
    }

    /// A phone has picked the call up: it is answered when Meta has taken `accept`.
    pub(super) fn picked_up(&mut self, common: &mut Common, now: Now, fork: Fork, sdp: String) {
        common.stop_timer(Timer::RingStep);
        common.record.rang.get_or_insert(now.wall);
        common.reached(now, "phone_answered");
        self.picked_up = Some(fork);
        self.phone_sdp = sdp;
        Self::take_back(common, fork);
        self.advance(common, now);
    }

    fn phone_failed(&mut self, common: &mut Common, now: Now, fork: Fork, failure: ForkFailure) {
        if common.leg_state(fork).is_none_or(|state| *state != LegState::Ringing) {
            return;
        }
        common.set_leg(fork, LegState::Gone);
        self.hunt.failed(fork, failure);
        let ringing = common.legs.contains(&LegState::Ringing);
        if !ringing && common.leg.is_none() {
            common.reached(now, "next_step");
            self.ring_next(common, now);
        }
    }

    pub(super) fn timer(&mut self, common: &mut Common, now: Now, timer: Timer) {
        match timer {
            Timer::RingStep if common.leg.is_none() => {
                self.hunt.unanswered();
                common.reached(now, "next_step");
                self.ring_next(common, now);
            }
            Timer::Attendant => {
                if let Some(attendant) = &self.attendant {
                    attendant.timer(common, now);
                }
            }
            Timer::AcceptWindow if self.accept != Step::Sent && self.attendant.is_none() => {
                self.hunt.unanswered();
                let nobody = common.leg.is_none();
                if nobody && self.answering.is_some() {
                    return self.take_or_end(common, now);
                }
                common.end(now, if nobody { self.hunt.cause() } else { HangupCause::PhoneUnanswered });
            }
            _ => {}
        }
    }
}

/// A user's call as Meta announced it: the side that `reject` ends.
pub(super) const META_SIDE: MetaSide = MetaSide::Offered;
