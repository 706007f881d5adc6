//! A call between desks: phones of this gateway and numbers behind trunks, without WhatsApp (rule 25).
//!
//! A B2BUA like [`super::Call`], as plain a state machine, and much simpler: nobody but the two has a say. Each
//! seat has its own session with us, so hold, refresh and codec changes of one stay between it and us, and either
//! seat can be given to somebody else while the one across talks on.

mod record;
#[cfg(test)]
mod tests;
mod transfer;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use transfer::Transfer;

use crate::call::cause::HangupCause;
use crate::call::input::{Fork, ForkFailure, Input, MediaClosing, MediaFailure, MediaRefusal, Order};
use crate::call::output::LegEnd;
use crate::call::transfer::Reached;
use crate::id::{Endpoint, Seat};
use crate::time::Now;

pub use record::DeskRecord;
pub use words::{DeskMedia, DeskOrder, DeskOutput, DeskTimes};

/// Where the call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    SettingUp,
    /// Both have agreed.
    Up,
    Ending,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LegState {
    /// An INVITE of ours is out.
    Ringing,
    /// Its own INVITE waits for an answer.
    Calling,
    Up,
    /// Another call tries to take it; it is that call's for now.
    Lent,
    /// It belongs to another call that may want it back.
    Borrowed,
    Gone,
}

/// What our description for the caller is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Nothing,
    EarlyMedia,
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    Closed,
    Opening,
    Open,
    Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The callee has rung long enough.
    Ring,
    /// The longest call is over (rule 20).
    MaxDuration,
    /// Whom the call is to go to has rung long enough.
    TransferRing,
    /// Who has handed the call over did not hang up by itself.
    Farewell,
}

/// One call between desks.
#[derive(Debug)]
pub struct DeskCall {
    record: DeskRecord,
    times: DeskTimes,
    offer: Option<String>,
    phase: Phase,
    ports: Ports,
    legs: Vec<LegState>,
    seats: [Fork; 2],
    awaited: Awaited,
    cause: Option<HangupCause>,
    timers: BTreeMap<Timer, Instant>,
    outputs: VecDeque<DeskOutput>,
    transfer: Option<Transfer>,
    /// Who has handed its seat over and has not hung up yet.
    leaving: Option<(Seat, Fork)>,
}

impl DeskCall {
    /// Somebody's INVITE, as leg 0, waits for the answer of `record.callee`.
    #[must_use]
    pub fn new(record: DeskRecord, times: DeskTimes, offer: Option<String>) -> Self {
        let mut call = Self {
            record,
            times,
            offer,
            phase: Phase::SettingUp,
            ports: Ports::Closed,
            legs: vec![LegState::Calling, LegState::Gone],
            seats: [Fork(0), Fork(1)],
            awaited: Awaited::Nothing,
            cause: None,
            timers: BTreeMap::new(),
            outputs: VecDeque::new(),
            transfer: None,
            leaving: None,
        };
        call.push(DeskOutput::OpenRecord(Box::new(call.record.clone())));
        call
    }

    /// Tells the call what happened.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        match (self.phase, input) {
            (Phase::Over, _) => {}
            (_, Input::Desk(DeskMedia::Closed(closing))) => self.closed(now, closing),
            (Phase::Ending, input) => self.handle_while_ending(&input),
            (_, input) => {
                if let Some(input) = self.hear_of_transfer(now, input) {
                    self.handle_while_up(now, input);
                }
            }
        }
    }

    /// Tells the call that time passed; early or extra calls do nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, timer)) = self.next_timer().filter(|(at, _)| *at <= now.mono) {
            debug_assert!(at <= now.mono);
            self.timers.remove(&timer);
            match timer {
                Timer::Ring => self.end(now, HangupCause::PhoneUnanswered),
                Timer::MaxDuration => self.end(now, HangupCause::TooLong),
                Timer::TransferRing => self.transfer_rang_out(now),
                Timer::Farewell => self.say_farewell(),
            }
        }
    }

    fn next_timer(&self) -> Option<(Instant, Timer)> {
        self.timers.iter().map(|(timer, at)| (*at, *timer)).min()
    }

    /// When the next timer is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<DeskOutput> {
        self.outputs.pop_front()
    }

    /// What is known so far.
    #[must_use]
    pub const fn record(&self) -> &DeskRecord {
        &self.record
    }

    /// Why the call ended, once it has.
    #[must_use]
    pub const fn cause(&self) -> Option<HangupCause> {
        self.cause
    }

    /// Whether the last output was given out and the call can be forgotten.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over && self.outputs.is_empty()
    }

    /// Whether the call counts as up: not yet ended by either side.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::SettingUp | Phase::Up)
    }

    /// Whether both talk.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// The seat that a leg has, if any.
    #[must_use]
    pub fn seat_of(&self, fork: Fork) -> Option<Seat> {
        Seat::BOTH.into_iter().find(|seat| self.seats[seat.index()] == fork)
    }

    /// The leg that has a seat.
    #[must_use]
    pub const fn leg_at(&self, seat: Seat) -> Fork {
        self.seats[seat.index()]
    }

    /// Who has a seat.
    #[must_use]
    pub const fn party(&self, seat: Seat) -> &Endpoint {
        match seat {
            Seat::Caller => &self.record.caller,
            Seat::Callee => &self.record.callee,
        }
    }

    /// How far a leg is that another call wants; `None`: it cannot be had now.
    #[must_use]
    pub fn reached(&self, fork: Fork) -> Option<Reached> {
        match self.leg(fork) {
            _ if self.transfer.is_some() => None,
            LegState::Up => Some(Reached::Answered),
            LegState::Ringing => Some(Reached::Ringing),
            _ => None,
        }
    }

    fn push(&mut self, output: DeskOutput) {
        self.outputs.push_back(output);
    }

    fn media(&mut self, order: DeskOrder) {
        self.push(DeskOutput::Media(order));
    }

    fn leg(&self, fork: Fork) -> LegState {
        self.legs.get(usize::from(fork.0)).copied().unwrap_or(LegState::Gone)
    }

    fn set_leg(&mut self, fork: Fork, state: LegState) {
        if let Some(leg) = self.legs.get_mut(usize::from(fork.0)) {
            *leg = state;
        }
    }

    fn add_leg(&mut self, state: LegState) -> Fork {
        let fork = Fork(u8::try_from(self.legs.len()).unwrap_or(u8::MAX));
        self.legs.push(state);
        fork
    }

    fn handle_while_up(&mut self, now: Now, input: Input) {
        match input {
            Input::RecordOpened if self.ports == Ports::Closed => {
                self.ports = Ports::Opening;
                let offer = self.offer.clone();
                self.push(DeskOutput::OpenMedia(offer));
            }
            Input::RecordRefused => self.end(now, HangupCause::StoreDown),
            Input::MediaRefused(MediaRefusal::PhoneOffer) => {
                self.ports = Ports::Closed;
                self.end(now, HangupCause::PhoneMediaRefused);
            }
            Input::MediaRefused(refusal) => {
                self.ports = Ports::Closed;
                self.end(now, HangupCause::MediaRefused(refusal));
            }
            Input::MediaFailed(failure) => self.end(now, HangupCause::MediaFailed(failure)),
            Input::Desk(told) => self.hear_media(now, told),
            Input::PhoneRang(fork, sdp) if fork == self.seats[1] => self.rang(now, sdp),
            Input::PhoneAnswered { fork, sdp, dialog } => {
                if fork == self.seats[1] && self.leg(fork) == LegState::Ringing {
                    self.push(DeskOutput::SaveDialog(Seat::Callee, dialog));
                    self.media(DeskOrder::TakeAnswer(Seat::Callee, sdp));
                    self.answered(now, fork);
                } else {
                    self.set_leg(fork, LegState::Gone);
                    self.push(DeskOutput::HangUp(fork, LegEnd::CompletedElsewhere));
                }
            }
            Input::PhoneFailed(fork, failure) if fork == self.seats[1] => {
                self.set_leg(fork, LegState::Gone);
                self.end_as(now, cause_of(failure), status_of(failure));
            }
            Input::PhoneConfirmed(fork, dialog) => {
                if let Some(seat) = self.seat_of(fork) {
                    self.push(DeskOutput::SaveDialog(seat, dialog));
                }
            }
            Input::PhoneReoffered(fork, sdp) => match self.seat_of(fork) {
                Some(seat) if self.phase == Phase::Up => self.media(DeskOrder::AnswerReoffer(seat, sdp)),
                _ => self.push(DeskOutput::AnswerReoffer(fork, None)),
            },
            Input::PhoneReanswered(fork, sdp) => {
                if let Some(seat) = self.seat_of(fork) {
                    self.media(DeskOrder::TakeAnswer(seat, sdp));
                }
            }
            Input::LegLent(fork) => self.set_leg(fork, LegState::Lent),
            Input::LegReturned(fork) => self.returned(now, fork),
            Input::LegTaken(fork) => {
                self.set_leg(fork, LegState::Gone);
                self.end(now, HangupCause::Transferred);
            }
            input => self.hear_end(now, &input),
        }
    }

    /// What ends the call, if it comes from somebody who has a seat.
    fn hear_end(&mut self, now: Now, input: &Input) {
        let (fork, cause) = match input {
            Input::PhoneCancelled(fork) => (*fork, HangupCause::PhoneCancelled),
            Input::PhoneHungUp(fork) => (*fork, HangupCause::PhoneHungUp),
            Input::PhoneExpired(fork) => (*fork, HangupCause::SessionExpired),
            Input::PhoneVanished(fork) => (*fork, HangupCause::PhoneVanished),
            Input::PhoneAckMissed => (self.seats[0], HangupCause::PhoneLost),
            Input::Ordered(Order::Stop) => return self.end(now, HangupCause::Stopping),
            Input::Ordered(Order::Panic) => return self.end(now, HangupCause::Panic),
            _ => return,
        };
        self.set_leg(fork, LegState::Gone);
        if self.seat_of(fork).is_some() {
            self.end(now, cause);
        }
    }

    fn hear_media(&mut self, now: Now, told: DeskMedia) {
        match told {
            DeskMedia::Opened(sdp) if self.ports == Ports::Opening => {
                self.ports = Ports::Open;
                self.set_leg(Fork(1), LegState::Ringing);
                let target = self.record.callee.clone();
                self.push(DeskOutput::Invite { fork: Fork(1), target, sdp });
                self.timers.insert(Timer::Ring, now.mono + self.times.ring);
            }
            DeskMedia::Described(Seat::Caller, sdp) => {
                let fork = self.seats[0];
                match std::mem::replace(&mut self.awaited, Awaited::Nothing) {
                    Awaited::EarlyMedia => self.push(DeskOutput::Ring(fork, Some(sdp))),
                    Awaited::Answer => {
                        self.set_leg(fork, LegState::Up);
                        self.push(DeskOutput::Accept(fork, sdp));
                    }
                    Awaited::Nothing => {}
                }
            }
            DeskMedia::AnswerRefused(_) => self.end(now, HangupCause::PhoneMediaRefused),
            DeskMedia::ReofferAnswered(seat, sdp) => {
                self.push(DeskOutput::AnswerReoffer(self.seats[seat.index()], Some(sdp)));
            }
            DeskMedia::ReofferRefused(seat) => {
                self.push(DeskOutput::AnswerReoffer(self.seats[seat.index()], None));
            }
            DeskMedia::Stalled => self.end(now, HangupCause::NoMedia),
            _ => {}
        }
    }

    /// The callee rings; what it lets the caller hear needs an answer to the caller's offer.
    fn rang(&mut self, now: Now, sdp: Option<String>) {
        if self.phase != Phase::SettingUp || self.leg(self.seats[1]) != LegState::Ringing {
            return;
        }
        self.record.rang.get_or_insert(now.wall);
        match sdp.filter(|_| self.offer.is_some()) {
            Some(sdp) => {
                self.awaited = Awaited::EarlyMedia;
                self.media(DeskOrder::TakeAnswer(Seat::Callee, sdp));
                self.media(DeskOrder::Describe(Seat::Caller));
            }
            None => self.push(DeskOutput::Ring(self.seats[0], None)),
        }
    }

    /// Somebody sits across from the caller.
    fn answered(&mut self, now: Now, fork: Fork) {
        self.timers.remove(&Timer::Ring);
        self.set_leg(fork, LegState::Up);
        self.record.rang.get_or_insert(now.wall);
        self.record.answered = Some(now.wall);
        self.phase = Phase::Up;
        if let Some(longest) = self.times.max_duration {
            self.timers.insert(Timer::MaxDuration, now.mono + longest);
        }
        self.awaited = Awaited::Answer;
        self.media(DeskOrder::Describe(Seat::Caller));
        self.push(DeskOutput::KeepRecord(Box::new(self.record.clone())));
    }

    /// The call that had tried to take a leg has given it back.
    fn returned(&mut self, now: Now, fork: Fork) {
        if self.leg(fork) == LegState::Lent {
            let rings = self.phase == Phase::SettingUp;
            self.set_leg(fork, if rings { LegState::Ringing } else { LegState::Up });
        } else if self.seat_of(fork).is_some() {
            self.end(now, HangupCause::PhoneHungUp);
        }
    }

    fn end(&mut self, now: Now, cause: HangupCause) {
        self.end_as(now, cause, None);
    }

    /// Ends the call on both sides, whatever state it is in.
    fn end_as(&mut self, now: Now, cause: HangupCause, status: Option<u16>) {
        if !self.is_live() {
            return;
        }
        let verdict = cause.verdict();
        self.phase = Phase::Ending;
        self.cause = Some(cause);
        self.record.ended = Some(now.wall);
        self.record.cause = Some(verdict.label.to_owned());
        self.record.fault = Some(verdict.fault.as_str().to_owned());
        self.timers.clear();
        self.transfer = None;
        let how = match cause {
            HangupCause::Transferred => LegEnd::Transferred,
            _ => LegEnd::Verdict(verdict),
        };
        for at in 0..self.legs.len() {
            let fork = Fork(u8::try_from(at).unwrap_or(u8::MAX));
            match std::mem::replace(&mut self.legs[at], LegState::Gone) {
                LegState::Ringing => self.push(DeskOutput::Cancel(fork, how)),
                LegState::Calling => self.push(DeskOutput::Refuse(fork, verdict, status)),
                LegState::Up => self.push(DeskOutput::HangUp(fork, how)),
                LegState::Borrowed => self.push(DeskOutput::GiveBack(fork)),
                LegState::Lent | LegState::Gone => {}
            }
        }
        self.close_media();
        self.finish_if_quiet();
    }

    fn close_media(&mut self) {
        if self.ports == Ports::Open {
            self.ports = Ports::Closing;
            self.media(DeskOrder::Close);
        }
    }

    fn handle_while_ending(&mut self, input: &Input) {
        match *input {
            // Opened too late: close again, and only then is the call over.
            Input::Desk(DeskMedia::Opened(_)) => {
                self.ports = Ports::Open;
                self.close_media();
            }
            Input::MediaRefused(_) => self.ports = Ports::Closed,
            // Answered before our CANCEL was carried out: nobody else would end that dialog.
            Input::PhoneAnswered { fork, .. } => {
                if let Some(cause) = self.cause {
                    self.push(DeskOutput::HangUp(fork, LegEnd::Verdict(cause.verdict())));
                }
            }
            _ => {}
        }
        self.finish_if_quiet();
    }

    fn closed(&mut self, now: Now, closing: MediaClosing) {
        self.ports = Ports::Closed;
        self.record.media = Some(closing.line).filter(|line| !line.is_empty());
        self.record.quality_json = Some(closing.quality_json).filter(|json| !json.is_empty());
        if self.is_live() {
            self.end(now, HangupCause::MediaFailed(MediaFailure::Panic));
        }
        self.finish_if_quiet();
    }

    fn finish_if_quiet(&mut self) {
        if self.phase == Phase::Ending && self.ports == Ports::Closed {
            self.phase = Phase::Over;
            self.push(DeskOutput::CloseRecord(Box::new(self.record.clone())));
        }
    }
}

/// Why a call came to nothing, by what the callee's side said.
const fn cause_of(failure: ForkFailure) -> HangupCause {
    match failure {
        ForkFailure::Status(486 | 600) => HangupCause::PhoneBusy,
        ForkFailure::Status(603 | 607) => HangupCause::PhoneDeclined,
        ForkFailure::Status(408 | 480) | ForkFailure::TimedOut => HangupCause::PhoneUnanswered,
        ForkFailure::Status(488 | 606) => HangupCause::PhoneMediaRefused,
        ForkFailure::Status(300..400) => HangupCause::PhoneForwards,
        ForkFailure::Status(_) | ForkFailure::Cancelled => HangupCause::PhoneFailed,
        ForkFailure::Unreachable | ForkFailure::Silent => HangupCause::PhoneUnreachable,
    }
}

/// The far side's own status where the caller can make something of it: a PBX tells a wrong number from a full
/// trunk by it. A redirection or a question for a password is between us and the trunk.
fn status_of(failure: ForkFailure) -> Option<u16> {
    match failure {
        ForkFailure::Status(status @ (400 | 402..=406 | 408..=699)) => Some(status),
        _ => None,
    }
}
