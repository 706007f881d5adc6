//! Transfer: the phone that talks hands the user to another phone or trunk (rule 24).
//!
//! The WhatsApp side notices another voice and nothing else. Until the new phone has answered, the one that
//! asked keeps the call; should it be gone by then and the new one fail, it is rung once more. The new phone is rung,
//! or it has been talked to already in a call between desks (attended), or it calls by itself (INVITE with Replaces).

use std::time::Duration;

use crate::call::cause::HangupCause;
use crate::call::common::{Common, LegState, Phase, Timer};
use crate::call::input::{Fork, ForkFailure, Input, TakeOver};
use crate::call::output::{LegEnd, Output, Sound};
use crate::call::parking::ParkingOrder;
use crate::id::{Endpoint, LegId};
use crate::sip::{ReferralId, Telling};
use crate::time::Now;

/// How long the new phone may ring.
const RING: Duration = Duration::from_secs(40);
/// How long the phone that asked has for its own BYE once it was told of the success.
const FAREWELL: Duration = Duration::from_secs(2);
/// More legs in one call than its numbers can name.
pub(super) const MOST_LEGS: usize = 200;
/// A leg that no call has.
const NOBODY: Fork = Fork(u8::MAX);

/// Where a call is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferTarget {
    /// A phone or a number behind a trunk, to be rung.
    Ring(Endpoint),
    /// Whom the one that asks has talked to, or rings, in another call.
    Join(Joined),
    /// A parking place.
    Park(ParkingOrder),
    /// Nowhere: a status for the one that asked.
    Refused(u16),
}

/// A leg of another call that is to come here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The leg.
    pub leg: LegId,
    /// Who is there.
    pub with: Endpoint,
    /// How far it is.
    pub reached: Reached,
}

/// How far the leg of a consultation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It talks.
    Answered,
    /// It rings.
    Ringing,
}

/// What one call knows of its transfers.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    going_on: Option<Transfer>,
    /// Who has handed the call over and has not hung up yet.
    leaving: Option<Fork>,
}

#[derive(Debug)]
struct Transfer {
    by: Fork,
    /// Who is told how it goes; `None` for a call that goes back.
    id: Option<ReferralId>,
    /// Whom to ring again if the one that asked is gone and the new one fails.
    back: Option<Endpoint>,
    asker: Asker,
    target: Endpoint,
    stage: Stage,
    /// Why the call ends if nobody takes it and nobody is left.
    vain: HangupCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Present,
    Gone,
}

/// How far the new one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Media makes an offer: for an INVITE, or for a leg that is up already.
    Offering(Option<Fork>),
    /// It rings.
    Ringing(Fork),
    /// It rings for another call, whose offer it has: once it has answered it gets ours.
    RingingForAnother(Fork),
    /// It has our offer within its old call.
    Reoffering(Fork),
    /// Media answers its own offer.
    Answering(Fork),
}

impl Stage {
    /// The new one's leg.
    pub(super) const fn fork(self) -> Option<Fork> {
        match self {
            Self::Offering(fork) => fork,
            Self::Ringing(fork)
            | Self::RingingForAnother(fork)
            | Self::Reoffering(fork)
            | Self::Answering(fork) => Some(fork),
        }
    }
}

impl Transfers {
    /// Takes what concerns a transfer; everything else comes back.
    pub(super) fn handle(&mut self, common: &mut Common, now: Now, input: Input) -> Option<Input> {
        let stage = self.going_on.as_ref().map(|it| it.stage);
        let fork_of_new = stage.and_then(Stage::fork);
        match (input, stage) {
            (Input::PhoneReferred { fork, id, target }, _) => self.referred(common, fork, id, target),
            (Input::PhoneTookOver(newcomer), _) if common.phase == Phase::Bridged => {
                self.taken_over(common, newcomer);
            }
            (Input::NextPhoneOffered(sdp), Some(Stage::Offering(fork))) => {
                self.offered(common, now, fork, sdp);
            }
            (Input::NextPhoneOffered(_), _) => {}
            (Input::NextPhoneAnswered(sdp), Some(Stage::Answering(fork))) => {
                common.push(Output::SwitchToNextPhone);
                common.push(Output::AcceptPhone(fork, sdp));
                self.answered(common, now, fork);
            }
            (Input::NextPhoneRefused, Some(Stage::Answering(fork))) => {
                self.going_on = None;
                common.set_leg(fork, LegState::Gone);
                common.push(Output::RefusePhone(fork, HangupCause::PhoneMediaRefused.verdict(), None));
            }
            (Input::NextPhoneRefused, _) if common.phase == Phase::Bridged => self.taken_back(common, now),
            (Input::PhoneRang(fork, _), Some(Stage::Ringing(_) | Stage::RingingForAnother(_)))
                if fork_of_new == Some(fork) =>
            {
                self.tell(common, (180, "Ringing"), Telling::More);
            }
            (Input::PhoneAnswered { fork, sdp, dialog }, Some(Stage::Ringing(rings))) if fork == rings => {
                common.record.sip_call_id = Some(dialog.call_id.clone());
                common.push(Output::TakeNextPhone(sdp));
                common.push(Output::SaveDialog(dialog));
                self.answered(common, now, fork);
            }
            (Input::PhoneAnswered { fork, .. }, Some(Stage::RingingForAnother(rings))) if fork == rings => {
                self.offer_to(common, Some(fork));
            }
            (Input::PhoneReanswered(fork, sdp), Some(Stage::Reoffering(joins))) if fork == joins => {
                common.push(Output::TakeNextPhone(sdp));
                common.push(Output::KeepLeg(fork));
                self.answered(common, now, fork);
            }
            (Input::PhoneOfferRefused(fork, status), Some(Stage::Reoffering(joins))) if fork == joins => {
                self.failed(common, now, ForkFailure::Status(status));
            }
            (Input::PhoneFailed(fork, failure), Some(_)) if fork_of_new == Some(fork) => {
                self.failed(common, now, failure);
            }
            (
                Input::PhoneHungUp(fork)
                | Input::PhoneExpired(fork)
                | Input::PhoneVanished(fork)
                | Input::PhoneCancelled(fork),
                Some(_),
            ) if fork_of_new == Some(fork) => {
                self.failed(common, now, ForkFailure::Status(480));
            }
            (Input::PhoneHungUp(fork) | Input::PhoneExpired(fork) | Input::PhoneVanished(fork), _)
                if self.leaves(common, fork) => {}
            (other, _) => return Some(other),
        }
        None
    }

    fn referred(&mut self, common: &mut Common, fork: Fork, id: ReferralId, target: TransferTarget) {
        let talks = common.phase == Phase::Bridged && common.leg == Some(fork);
        let answer = match &target {
            TransferTarget::Refused(status) => Err(*status),
            // Taken before it comes here; what does not talk has nothing to park.
            TransferTarget::Park(_) => Err(491),
            // Before both talk, and while another transfer goes on, there is nothing to hand over.
            _ if !talks || self.going_on.is_some() => Err(491),
            _ if common.legs.len() >= MOST_LEGS => Err(603),
            _ => Ok(()),
        };
        common.push(Output::AnswerReferral(fork, id, answer));
        if answer.is_err() {
            return;
        }
        let (target, joined) = match target {
            TransferTarget::Ring(target) => (target, None),
            TransferTarget::Join(joined) => (joined.with.clone(), Some(joined)),
            TransferTarget::Park(_) | TransferTarget::Refused(_) => return,
        };
        let back = common.record.endpoint.clone();
        let (asker, stage, vain) = (Asker::Present, Stage::Offering(None), HangupCause::TransferFailed);
        self.going_on = Some(Transfer { by: fork, id: Some(id), back, asker, target, stage, vain });
        let Some(Joined { leg, reached, .. }) = joined else { return self.offer_to(common, None) };
        let joins = add_leg(common, LegState::Borrowed);
        common.push(Output::Adopt(joins, leg));
        match reached {
            Reached::Answered => self.offer_to(common, Some(joins)),
            Reached::Ringing => {
                self.set_stage(Stage::RingingForAnother(joins));
                common.push(Output::Play(Sound::Ringback));
            }
        }
    }

    /// Whether nothing is handed over at this moment.
    pub(super) const fn is_idle(&self) -> bool {
        self.going_on.is_none()
    }

    /// A call without a phone rings at the first of `targets`, then at the second; `vain` is why it ends if
    /// nobody takes it.
    pub(super) fn send(&mut self, common: &mut Common, now: Now, targets: Vec<Endpoint>, vain: HangupCause) {
        let mut targets = targets.into_iter();
        let Some(target) = targets.next() else { return common.end(now, vain) };
        let (by, asker, stage) = (NOBODY, Asker::Gone, Stage::Offering(None));
        self.going_on = Some(Transfer { by, id: None, back: targets.next(), asker, target, stage, vain });
        common.push(Output::OfferNextPhone);
    }

    /// Somebody else has a call that was sent.
    pub(super) fn call_back(&mut self, common: &mut Common) {
        let Some(transfer) = self.going_on.take() else { return };
        common.stop_timer(Timer::TransferRing);
        if let Some(fork) = transfer.stage.fork() {
            match common.leg_state(fork).copied() {
                Some(LegState::Borrowed) => common.push(Output::GiveBack(fork)),
                Some(LegState::Ringing) => common.push(Output::Cancel(fork, LegEnd::CompletedElsewhere)),
                _ => {}
            }
            common.set_leg(fork, LegState::Gone);
        }
        common.push(Output::DropNextPhone);
    }

    /// `fork` has let the call go and is given a moment for its own BYE.
    pub(super) fn see_off(&mut self, common: &mut Common, now: Now, fork: Fork) {
        self.leaving = Some(fork);
        common.set_timer(Timer::TransferorFarewell, now.mono + FAREWELL);
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(transfer) = &mut self.going_on {
            transfer.stage = stage;
        }
    }

    fn offer_to(&mut self, common: &mut Common, fork: Option<Fork>) {
        self.set_stage(Stage::Offering(fork));
        common.push(Output::OfferNextPhone);
    }

    fn offered(&mut self, common: &mut Common, now: Now, joins: Option<Fork>, sdp: String) {
        if let Some(fork) = joins {
            self.set_stage(Stage::Reoffering(fork));
            return common.push(Output::Reoffer(fork, sdp));
        }
        let fork = add_leg(common, LegState::Ringing);
        self.set_stage(Stage::Ringing(fork));
        let Some(transfer) = &self.going_on else { return };
        common.push(Output::Invite { fork, target: transfer.target.clone(), sdp });
        common.push(Output::Play(Sound::Ringback));
        common.set_timer(Timer::TransferRing, now.mono + RING);
    }

    /// INVITE with Replaces (RFC 3891) names the phone that talks.
    fn taken_over(&mut self, common: &mut Common, newcomer: TakeOver) {
        let TakeOver { leg, endpoint, replaced, offer } = newcomer;
        let ready = common.leg == Some(replaced) && self.going_on.is_none() && common.legs.len() < MOST_LEGS;
        let fork = add_leg(common, LegState::Calling);
        common.push(Output::Adopt(fork, leg));
        if !ready {
            common.set_leg(fork, LegState::Gone);
            return common.push(Output::RefusePhone(fork, HangupCause::PhoneUnreachable.verdict(), None));
        }
        self.going_on = Some(Transfer {
            by: replaced,
            id: None,
            back: None,
            asker: Asker::Present,
            target: endpoint,
            stage: Stage::Answering(fork),
            vain: HangupCause::TransferFailed,
        });
        common.push(Output::AnswerNextPhone(offer));
    }

    fn answered(&mut self, common: &mut Common, now: Now, fork: Fork) {
        let Some(transfer) = self.going_on.take() else { return };
        common.stop_timer(Timer::TransferRing);
        common.push(Output::StopPlaying);
        common.set_leg(fork, LegState::Answered);
        common.leg = Some(fork);
        common.record.endpoint = Some(transfer.target.clone());
        common.reached(now, "transferred");
        let row = Box::new(common.record.clone());
        common.push(Output::KeepRecord(row));
        transfer.tell(common, (200, "OK"), Telling::Last);
        match (transfer.asker, transfer.stage) {
            (Asker::Present, Stage::Answering(_)) => {
                common.set_leg(transfer.by, LegState::Gone);
                common.push(Output::HangUp(transfer.by, LegEnd::CompletedElsewhere));
            }
            (Asker::Present, _) => self.see_off(common, now, transfer.by),
            (Asker::Gone, _) => {}
        }
    }

    fn failed(&mut self, common: &mut Common, now: Now, failure: ForkFailure) {
        let Some(transfer) = self.going_on.take() else { return };
        common.stop_timer(Timer::TransferRing);
        if let Some(fork) = transfer.stage.fork() {
            if common.leg_state(fork).is_some_and(|state| *state == LegState::Borrowed) {
                common.push(Output::GiveBack(fork));
            }
            common.set_leg(fork, LegState::Gone);
        }
        common.push(Output::DropNextPhone);
        common.push(Output::StopPlaying);
        transfer.tell(common, told(failure), Telling::Last);
        match (transfer.asker, transfer.back) {
            // The one that asked keeps the call.
            (Asker::Present, _) => {}
            (Asker::Gone, Some(target)) => {
                let (by, vain, stage) = (transfer.by, transfer.vain, Stage::Offering(None));
                let asker = Asker::Gone;
                self.going_on = Some(Transfer { by, id: None, back: None, asker, target, stage, vain });
                common.push(Output::OfferNextPhone);
            }
            (Asker::Gone, None) => common.end(now, transfer.vain),
        }
    }

    /// The new phone has answered with what cannot be used: the old one talks on, if it is there.
    fn taken_back(&mut self, common: &mut Common, now: Now) {
        let talks = common.leg;
        match self.leaving.take() {
            Some(by) => {
                common.stop_timer(Timer::TransferorFarewell);
                common.leg = Some(by);
            }
            None => return common.end(now, HangupCause::PhoneMediaRefused),
        }
        if let Some(fork) = talks {
            common.set_leg(fork, LegState::Gone);
            let verdict = HangupCause::PhoneMediaRefused.verdict();
            common.push(Output::HangUp(fork, LegEnd::Verdict(verdict)));
        }
    }

    /// Whether it is the end of a leg that a transfer leaves behind, and not of the call (rule 24).
    fn leaves(&mut self, common: &mut Common, fork: Fork) -> bool {
        if self.leaving == Some(fork) {
            self.leaving = None;
            common.stop_timer(Timer::TransferorFarewell);
            common.set_leg(fork, LegState::Gone);
            return true;
        }
        match &mut self.going_on {
            Some(transfer) if transfer.by == fork && common.leg == Some(fork) => {
                transfer.asker = Asker::Gone;
                common.set_leg(fork, LegState::Gone);
                true
            }
            _ => false,
        }
    }

    fn tell(&self, common: &mut Common, status: (u16, &'static str), telling: Telling) {
        if let Some(transfer) = &self.going_on {
            transfer.tell(common, status, telling);
        }
    }

    pub(super) fn timer(&mut self, common: &mut Common, now: Now, timer: Timer) {
        match timer {
            Timer::TransferRing => {
                let stage = self.going_on.as_ref().map(|transfer| transfer.stage);
                if let Some(Stage::Ringing(fork)) = stage {
                    common
                        .push(Output::Cancel(fork, LegEnd::Verdict(HangupCause::PhoneUnanswered.verdict())));
                    self.failed(common, now, ForkFailure::TimedOut);
                }
            }
            Timer::TransferorFarewell => {
                if let Some(fork) = self.leaving.take() {
                    common.set_leg(fork, LegState::Gone);
                    common.push(Output::HangUp(fork, LegEnd::Transferred));
                }
            }
            _ => {}
        }
    }
}

impl Transfer {
    fn tell(&self, common: &mut Common, status: (u16, &'static str), telling: Telling) {
        if let (Some(id), Asker::Present) = (self.id, self.asker) {
            common.push(Output::TellReferral { fork: self.by, id, status, telling });
        }
    }
}

fn add_leg(common: &mut Common, state: LegState) -> Fork {
    let fork = Fork(u8::try_from(common.legs.len()).unwrap_or(u8::MAX));
    common.legs.push(state);
    fork
}

/// The status line that tells who asked why it failed.
pub(super) const fn told(failure: ForkFailure) -> (u16, &'static str) {
    match failure {
        ForkFailure::Status(486 | 600) => (486, "Busy Here"),
        ForkFailure::Status(603 | 607) => (603, "Decline"),
        ForkFailure::Status(status) => (status, "Failed"),
        ForkFailure::TimedOut => (408, "Request Timeout"),
        ForkFailure::Unreachable | ForkFailure::Silent => (480, "Temporarily Unavailable"),
        ForkFailure::Cancelled => (487, "Request Terminated"),
    }
}
