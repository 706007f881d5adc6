//! Transfer: the phone that talks hands the user to another phone or trunk (rule 24).
//!
//! The WhatsApp side notices another voice and nothing else. Until the new phone has answered, the one that
//! asked keeps the call; should it be gone by then and the new one fail, it is rung once more.

use std::time::Duration;

use crate::call::cause::HangupCause;
use crate::call::common::{Common, LegState, Phase, Timer};
use crate::call::input::{Fork, ForkFailure, Input};
use crate::call::output::{LegEnd, Output, Sound};
use crate::call::parking::ParkingOrder;
use crate::id::Endpoint;
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
    /// A parking place.
    Park(ParkingOrder),
    /// Nowhere: a status for the one that asked.
    Refused(u16),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Media makes an offer for the new phone.
    Offering,
    /// It rings.
    Ringing(Fork),
}

impl Transfer {
    fn is_to(&self, fork: Fork) -> bool {
        self.stage == Stage::Ringing(fork)
    }
}

impl Transfers {
    /// Takes what concerns a transfer; everything else comes back.
    pub(super) fn handle(&mut self, common: &mut Common, now: Now, input: Input) -> Option<Input> {
        match input {
            Input::PhoneReferred { fork, id, target } => self.referred(common, fork, id, target),
            Input::NextPhoneOffered(sdp) => self.offered(common, now, sdp),
            Input::NextPhoneRefused => self.taken_back(common, now),
            Input::PhoneRang(fork, sdp) => {
                let Some(transfer) = self.going_on.as_ref().filter(|it| it.is_to(fork)) else {
                    return Some(Input::PhoneRang(fork, sdp));
                };
                transfer.tell(common, (180, "Ringing"), Telling::More);
            }
            Input::PhoneAnswered { fork, sdp, dialog } => {
                if !self.going_on.as_ref().is_some_and(|it| it.is_to(fork)) {
                    return Some(Input::PhoneAnswered { fork, sdp, dialog });
                }
                common.record.sip_call_id = Some(dialog.call_id.clone());
                common.push(Output::TakeNextPhone(sdp));
                common.push(Output::SaveDialog(dialog));
                self.answered(common, now, fork);
            }
            Input::PhoneFailed(fork, failure) => {
                if !self.going_on.as_ref().is_some_and(|it| it.is_to(fork)) {
                    return Some(Input::PhoneFailed(fork, failure));
                }
                self.failed(common, now, failure);
            }
            Input::PhoneHungUp(fork) if self.leaves(common, fork) => {}
            Input::PhoneExpired(fork) if self.leaves(common, fork) => {}
            other => return Some(other),
        }
        None
    }

    fn referred(&mut self, common: &mut Common, fork: Fork, id: ReferralId, target: TransferTarget) {
        let talks = common.phase == Phase::Bridged && common.leg == Some(fork);
        let answer = match target {
            TransferTarget::Refused(status) => Err(status),
            // Taken before it comes here; what does not talk has nothing to park.
            TransferTarget::Park(_) => Err(491),
            // Before both talk, and while another transfer goes on, there is nothing to hand over.
            TransferTarget::Ring(_) if !talks || self.going_on.is_some() => Err(491),
            TransferTarget::Ring(_) if common.legs.len() >= MOST_LEGS => Err(603),
            TransferTarget::Ring(target) => Ok(target),
        };
        common.push(Output::AnswerReferral(fork, id, answer.as_ref().map(|_| ()).map_err(|status| *status)));
        let Ok(target) = answer else { return };
        let back = common.record.endpoint.clone();
        let (asker, stage, vain) = (Asker::Present, Stage::Offering, HangupCause::TransferFailed);
        self.going_on = Some(Transfer { by: fork, id: Some(id), back, asker, target, stage, vain });
        common.push(Output::OfferNextPhone);
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
        let (by, asker, stage) = (NOBODY, Asker::Gone, Stage::Offering);
        self.going_on = Some(Transfer { by, id: None, back: targets.next(), asker, target, stage, vain });
        common.push(Output::OfferNextPhone);
    }

    /// Somebody else has a call that was sent.
    pub(super) fn call_back(&mut self, common: &mut Common) {
        let Some(transfer) = self.going_on.take() else { return };
        common.stop_timer(Timer::TransferRing);
        if let Stage::Ringing(fork) = transfer.stage {
            common.set_leg(fork, LegState::Gone);
            common.push(Output::Cancel(fork, LegEnd::CompletedElsewhere));
        }
        common.push(Output::DropNextPhone);
    }

    /// `fork` has let the call go and is given a moment for its own BYE.
    pub(super) fn see_off(&mut self, common: &mut Common, now: Now, fork: Fork) {
        self.leaving = Some(fork);
        common.set_timer(Timer::TransferorFarewell, now.mono + FAREWELL);
    }

    fn offered(&mut self, common: &mut Common, now: Now, sdp: String) {
        let Some(transfer) = self.going_on.as_mut().filter(|it| it.stage == Stage::Offering) else { return };
        let fork = Fork(u8::try_from(common.legs.len()).unwrap_or(u8::MAX));
        common.legs.push(LegState::Ringing);
        transfer.stage = Stage::Ringing(fork);
        common.push(Output::Invite { fork, target: transfer.target.clone(), sdp });
        common.push(Output::Play(Sound::Ringback));
        common.set_timer(Timer::TransferRing, now.mono + RING);
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
        if transfer.asker == Asker::Present {
            self.see_off(common, now, transfer.by);
        }
    }

    fn failed(&mut self, common: &mut Common, now: Now, failure: ForkFailure) {
        let Some(transfer) = self.going_on.take() else { return };
        common.stop_timer(Timer::TransferRing);
        if let Stage::Ringing(fork) = transfer.stage {
            common.set_leg(fork, LegState::Gone);
        }
        common.push(Output::DropNextPhone);
        common.push(Output::StopPlaying);
        transfer.tell(common, told(failure), Telling::Last);
        match (transfer.asker, transfer.back) {
            // The one that asked keeps the call.
            (Asker::Present, _) => {}
            (Asker::Gone, Some(target)) => {
                let (by, vain, stage) = (transfer.by, transfer.vain, Stage::Offering);
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

/// The status line that tells who asked why it failed.
const fn told(failure: ForkFailure) -> (u16, &'static str) {
    match failure {
        ForkFailure::Status(486 | 600) => (486, "Busy Here"),
        ForkFailure::Status(603 | 607) => (603, "Decline"),
        ForkFailure::Status(status) => (status, "Failed"),
        ForkFailure::TimedOut => (408, "Request Timeout"),
        ForkFailure::Unreachable | ForkFailure::Silent => (480, "Temporarily Unavailable"),
        ForkFailure::Cancelled => (487, "Request Terminated"),
    }
}
