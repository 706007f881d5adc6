//! A seat of a call between desks goes to somebody else: by REFER, by REFER with Replaces, by INVITE with Replaces.
//!
//! The one across hears ringing, then another voice. Until the newcomer has answered, the one that asked keeps its seat.

use std::time::Duration;

use super::{DeskCall, DeskMedia, DeskOrder, DeskOutput, LegState, Phase, Timer, status_of};
use crate::call::cause::HangupCause;
use crate::call::input::{Fork, ForkFailure, Input, TakeOver};
use crate::call::output::{LegEnd, Sound};
use crate::call::transfer::{Joined, Reached, Stage, TransferTarget, told};
use crate::id::{Endpoint, Seat};
use crate::sip::{ReferralId, Telling};
use crate::time::Now;

/// How long the newcomer may ring.
const RING: Duration = Duration::from_secs(40);
/// How long the one that asked has for its own BYE once it was told of the success.
const FAREWELL: Duration = Duration::from_secs(2);
/// More legs in one call than its numbers can name.
const MOST_LEGS: usize = 200;

/// A seat that changes hands.
#[derive(Debug)]
pub(super) struct Transfer {
    seat: Seat,
    by: Fork,
    /// Who is told how it goes; `None` for an INVITE that took the seat by itself.
    id: Option<ReferralId>,
    target: Endpoint,
    stage: Stage,
}

impl DeskCall {
    /// The seat for which somebody is rung in a transfer.
    #[must_use]
    pub fn newcomers_seat(&self) -> Option<Seat> {
        self.transfer.as_ref().map(|it| it.seat)
    }

    /// Takes what concerns a transfer; everything else comes back.
    pub(super) fn hear_of_transfer(&mut self, now: Now, input: Input) -> Option<Input> {
        let stage = self.transfer.as_ref().map(|it| it.stage);
        match (input, stage) {
            (Input::PhoneReferred { fork, id, target }, _) => self.referred(fork, id, target),
            (Input::PhoneTookOver(newcomer), _) => self.taken_over(newcomer),
            (Input::Desk(DeskMedia::NextOffered(sdp)), Some(Stage::Offering(fork))) => {
                self.next_offered(now, fork, sdp);
            }
            (Input::Desk(DeskMedia::NextAnswered(sdp)), Some(Stage::Answering(fork))) => {
                self.push(DeskOutput::Accept(fork, sdp));
                self.seated(now, fork);
            }
            (Input::Desk(DeskMedia::NextRefused), Some(Stage::Answering(fork))) => {
                self.set_leg(fork, LegState::Gone);
                self.transfer = None;
                let verdict = HangupCause::PhoneMediaRefused.verdict();
                self.push(DeskOutput::Refuse(fork, verdict, None));
            }
            (Input::Desk(DeskMedia::NextRefused), _) => self.taken_back(now),
            (Input::PhoneRang(fork, _), Some(Stage::Ringing(rings) | Stage::RingingForAnother(rings)))
                if fork == rings =>
            {
                self.tell((180, "Ringing"), Telling::More);
            }
            (Input::PhoneAnswered { fork, sdp, dialog }, Some(Stage::Ringing(rings))) if fork == rings => {
                let seat = self.transfer.as_ref().map_or(Seat::Callee, |it| it.seat);
                self.push(DeskOutput::SaveDialog(seat, dialog));
                self.media(DeskOrder::TakeNext(seat, sdp));
                self.seated(now, fork);
            }
            (Input::PhoneAnswered { fork, .. }, Some(Stage::RingingForAnother(rings))) if fork == rings => {
                self.timers.remove(&Timer::TransferRing);
                self.offer_to(Some(fork));
            }
            (Input::PhoneReanswered(fork, sdp), Some(Stage::Reoffering(joins))) if fork == joins => {
                let seat = self.transfer.as_ref().map_or(Seat::Callee, |it| it.seat);
                self.media(DeskOrder::TakeNext(seat, sdp));
                self.push(DeskOutput::Keep(fork));
                self.seated(now, fork);
            }
            (Input::PhoneOfferRefused(fork, status), Some(Stage::Reoffering(joins))) if fork == joins => {
                self.failed(now, ForkFailure::Status(status));
            }
            (Input::PhoneFailed(fork, failure), Some(stage)) if stage.fork() == Some(fork) => {
                self.failed(now, failure);
            }
            (
                Input::PhoneHungUp(fork)
                | Input::PhoneExpired(fork)
                | Input::PhoneVanished(fork)
                | Input::PhoneCancelled(fork),
                Some(stage),
            ) if stage.fork() == Some(fork) => {
                self.failed(now, ForkFailure::Status(480));
            }
            (Input::PhoneHungUp(fork) | Input::PhoneExpired(fork) | Input::PhoneVanished(fork), _)
                if self.leaving.is_some_and(|(_, it)| it == fork) =>
            {
                self.leaving = None;
                self.timers.remove(&Timer::Farewell);
                self.set_leg(fork, LegState::Gone);
            }
            // Rule 24: who asked may hang up at once; the one across waits for the newcomer.
            (Input::PhoneHungUp(fork) | Input::PhoneExpired(fork) | Input::PhoneVanished(fork), Some(_))
                if self.asked(fork) =>
            {
                self.set_leg(fork, LegState::Gone);
            }
            (other, _) => return Some(other),
        }
        None
    }

    fn asked(&self, fork: Fork) -> bool {
        self.transfer.as_ref().is_some_and(|it| it.by == fork && it.id.is_some())
    }

    fn referred(&mut self, fork: Fork, id: ReferralId, target: TransferTarget) {
        let seat = self.seat_of(fork).filter(|_| self.phase == Phase::Up);
        let answer = match (&target, seat) {
            (TransferTarget::Refused(status), _) => Err(*status),
            // Only calls with a user are parked.
            (TransferTarget::Park(_), _) => Err(403),
            (_, None) => Err(491),
            _ if self.transfer.is_some() || self.leg(fork) != LegState::Up => Err(491),
            _ if self.legs.len() >= MOST_LEGS => Err(603),
            _ => Ok(()),
        };
        self.push(DeskOutput::AnswerReferral(fork, id, answer));
        let (Ok(()), Some(seat)) = (answer, seat) else { return };
        let (target, joined) = match target {
            TransferTarget::Ring(target) => (target, None),
            TransferTarget::Join(joined) => (joined.with.clone(), Some(joined)),
            TransferTarget::Park(_) | TransferTarget::Refused(_) => return,
        };
        let stage = Stage::Offering(None);
        self.transfer = Some(Transfer { seat, by: fork, id: Some(id), target, stage });
        match joined {
            None => self.offer_to(None),
            Some(Joined { leg, reached, .. }) => {
                let joins = self.add_leg(LegState::Borrowed);
                self.push(DeskOutput::Adopt(joins, leg));
                match reached {
                    Reached::Answered => self.offer_to(Some(joins)),
                    Reached::Ringing => {
                        self.set_stage(Stage::RingingForAnother(joins));
                        self.media(DeskOrder::Play(seat.other(), Sound::Ringback));
                    }
                }
            }
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(transfer) = &mut self.transfer {
            transfer.stage = stage;
        }
    }

    fn offer_to(&mut self, fork: Option<Fork>) {
        self.set_stage(Stage::Offering(fork));
        if let Some(seat) = self.transfer.as_ref().map(|it| it.seat) {
            self.media(DeskOrder::OfferNext(seat));
        }
    }

    fn next_offered(&mut self, now: Now, fork: Option<Fork>, sdp: String) {
        if let Some(fork) = fork {
            self.set_stage(Stage::Reoffering(fork));
            return self.push(DeskOutput::Reoffer(fork, sdp));
        }
        let fork = self.add_leg(LegState::Ringing);
        self.set_stage(Stage::Ringing(fork));
        let Some(transfer) = &self.transfer else { return };
        let (target, across) = (transfer.target.clone(), transfer.seat.other());
        self.push(DeskOutput::Invite { fork, target, sdp });
        self.media(DeskOrder::Play(across, Sound::Ringback));
        self.timers.insert(Timer::TransferRing, now.mono + RING);
    }

    /// The newcomer has the seat.
    fn seated(&mut self, now: Now, fork: Fork) {
        self.timers.remove(&Timer::TransferRing);
        self.tell((200, "OK"), Telling::Last);
        let Some(Transfer { seat, by, id, target, .. }) = self.transfer.take() else { return };
        self.media(DeskOrder::StopPlaying(seat.other()));
        self.set_leg(fork, LegState::Up);
        self.seats[seat.index()] = fork;
        match seat {
            Seat::Caller => self.record.caller = target,
            Seat::Callee => self.record.callee = target,
        }
        self.push(DeskOutput::KeepRecord(Box::new(self.record.clone())));
        match (self.leg(by), id) {
            (LegState::Up, Some(_)) => {
                self.leaving = Some((seat, by));
                self.timers.insert(Timer::Farewell, now.mono + FAREWELL);
            }
            (LegState::Up, None) => {
                self.set_leg(by, LegState::Gone);
                self.push(DeskOutput::HangUp(by, LegEnd::CompletedElsewhere));
            }
            (LegState::Ringing, _) => {
                self.set_leg(by, LegState::Gone);
                self.push(DeskOutput::Cancel(by, LegEnd::CompletedElsewhere));
            }
            _ => {}
        }
        if self.phase == Phase::SettingUp {
            self.answered(now, fork);
        }
    }

    fn failed(&mut self, now: Now, failure: ForkFailure) {
        self.tell(told(failure), Telling::Last);
        self.timers.remove(&Timer::TransferRing);
        let Some(Transfer { seat, by, stage, .. }) = self.transfer.take() else { return };
        if let Some(fork) = stage.fork() {
            if self.leg(fork) == LegState::Borrowed {
                self.push(DeskOutput::GiveBack(fork));
            }
            self.set_leg(fork, LegState::Gone);
        }
        self.media(DeskOrder::DropNext);
        self.media(DeskOrder::StopPlaying(seat.other()));
        if self.leg(by) == LegState::Gone {
            self.end_as(now, HangupCause::TransferFailed, status_of(failure));
        }
    }

    /// The newcomer has answered with what cannot be used: who had the seat has it again, if it is there.
    fn taken_back(&mut self, now: Now) {
        let Some((seat, by)) = self.leaving.take() else {
            return self.end(now, HangupCause::PhoneMediaRefused);
        };
        self.timers.remove(&Timer::Farewell);
        let newcomer = std::mem::replace(&mut self.seats[seat.index()], by);
        self.set_leg(newcomer, LegState::Gone);
        let verdict = HangupCause::PhoneMediaRefused.verdict();
        self.push(DeskOutput::HangUp(newcomer, LegEnd::Verdict(verdict)));
    }

    /// INVITE with Replaces (RFC 3891): whose place it is to take has it, or rings for it.
    fn taken_over(&mut self, newcomer: TakeOver) {
        let TakeOver { leg, endpoint, replaced, offer } = newcomer;
        let fork = self.add_leg(LegState::Calling);
        self.push(DeskOutput::Adopt(fork, leg));
        let seat = self.seat_of(replaced);
        let ready = matches!(self.leg(replaced), LegState::Up | LegState::Ringing)
            && self.ports == super::Ports::Open;
        match seat.filter(|_| ready && self.transfer.is_none() && self.legs.len() < MOST_LEGS) {
            Some(seat) => {
                let stage = Stage::Answering(fork);
                self.transfer = Some(Transfer { seat, by: replaced, id: None, target: endpoint, stage });
                self.media(DeskOrder::AnswerNext(seat, offer));
            }
            None => {
                self.set_leg(fork, LegState::Gone);
                let verdict = HangupCause::PhoneUnreachable.verdict();
                self.push(DeskOutput::Refuse(fork, verdict, Some(491)));
            }
        }
    }

    pub(super) fn transfer_rang_out(&mut self, now: Now) {
        let Some(Stage::Ringing(fork)) = self.transfer.as_ref().map(|it| it.stage) else { return };
        self.set_leg(fork, LegState::Gone);
        self.push(DeskOutput::Cancel(fork, LegEnd::Verdict(HangupCause::PhoneUnanswered.verdict())));
        self.failed(now, ForkFailure::TimedOut);
    }

    pub(super) fn say_farewell(&mut self) {
        if let Some((_, fork)) = self.leaving.take() {
            self.set_leg(fork, LegState::Gone);
            self.push(DeskOutput::HangUp(fork, LegEnd::Transferred));
        }
    }

    /// Tells who asked for a transfer how it goes, if it is still there.
    fn tell(&mut self, status: (u16, &'static str), telling: Telling) {
        let Some(Transfer { by, id: Some(id), .. }) = &self.transfer else { return };
        let (fork, id) = (*by, *id);
        if self.leg(fork) == LegState::Up {
            self.push(DeskOutput::TellReferral { fork, id, status, telling });
        }
    }
}
