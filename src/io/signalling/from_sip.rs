//! SIP events: to the call they belong to, or into a new call.

use std::time::Duration;

use super::outputs::refuse;
use super::switchboard::Switchboard;
use crate::call::{Call, CallDirection, CallRecord, Fork, ForkFailure, HangupCause, Input};
use crate::dialplan::Dialled;
use crate::id::{Endpoint, LegId, PhoneNumberId};
use crate::media::Order;
use crate::sip::{CallerOrigin, Event, LegFailure};
use crate::time::Now;
use crate::user::UserId;

/// A phone's INVITE that waits for an answer.
struct Dial {
    leg: LegId,
    endpoint: Endpoint,
    sdp: Option<String>,
    sip_call_id: String,
}

impl Switchboard {
    pub(super) fn handle_sip_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Invited { leg, from, dialled, sdp, call_id } => {
                let endpoint = match from.origin {
                    CallerOrigin::Phone(name) => Endpoint::Phone(name),
                    CallerOrigin::Trunk(name) => Endpoint::Trunk(name, from.number),
                };
                let dial = Dial { leg, endpoint, sdp, sip_call_id: call_id };
                self.dialled(now, dial, &dialled);
            }
            Event::Ringing { leg, sdp, .. } => self.feed_leg(now, leg, |fork| Input::PhoneRang(fork, sdp)),
            Event::Answered { leg, sdp, dialog } => {
                self.feed_leg(now, leg, |fork| Input::PhoneAnswered { fork, sdp, dialog: Box::new(dialog) });
            }
            Event::Failed { leg, failure } => {
                self.feed_leg(now, leg, |fork| Input::PhoneFailed(fork, fork_failure(failure)));
            }
            Event::Confirmed { leg, dialog } => {
                self.feed_leg(now, leg, |_| Input::PhoneConfirmed(Box::new(dialog)));
            }
            Event::Cancelled { leg } => self.feed_leg(now, leg, |_| Input::PhoneCancelled),
            Event::HungUp { leg, .. } => self.feed_leg(now, leg, Input::PhoneHungUp),
            Event::AckTimeout { leg } => self.feed_leg(now, leg, |_| Input::PhoneAckMissed),
            Event::Reoffered { leg, sdp } => self.reoffered(now, leg, sdp),
            Event::Reanswered { leg, sdp } => self.feed_leg(now, leg, |_| Input::PhoneReanswered(sdp)),
            Event::Registered { phone } => tracing::info!(%phone, "registered"),
            Event::Unregistered { phone } => tracing::info!(%phone, "no longer registered"),
            Event::Digit { leg, digit, millis } => self.pressed(leg, digit, millis),
        }
    }

    fn feed_leg(&mut self, now: Now, leg: LegId, input: impl FnOnce(Fork) -> Input) {
        if let Some((id, fork)) = self.by_leg.get(&leg).copied() {
            self.feed(now, id, input(fork));
        }
    }

    /// A digit by INFO goes to Meta as the phone's own telephone-event would.
    fn pressed(&self, leg: LegId, digit: char, millis: u32) {
        if let Some((id, _)) = self.by_leg.get(&leg) {
            let duration = Duration::from_millis(millis.into());
            self.parts.media.order(*id, Order::Digit { digit, duration });
        }
    }

    fn reoffered(&mut self, now: Now, leg: LegId, sdp: Option<String>) {
        if self.by_leg.contains_key(&leg) {
            self.feed_leg(now, leg, |_| Input::PhoneReoffered(sdp));
        } else {
            self.parts.agent.answer_reoffer(now, leg, Err(481));
        }
    }

    fn dialled(&mut self, now: Now, dial: Dial, digits: &str) {
        let cause = if self.is_closing() {
            HangupCause::Stopping
        } else {
            match self.parts.dialplan.resolve(&dial.endpoint, digits) {
                Dialled::User(number, user) => return self.call_user(now, dial, &number, user),
                Dialled::Emergency => HangupCause::Emergency,
                Dialled::NotAllowed => HangupCause::NotAllowed,
                Dialled::Unknown => HangupCause::NotDialable,
            }
        };
        let verdict = cause.verdict();
        tracing::info!(from = %dial.endpoint, cause = verdict.label, "a dial attempt was refused");
        *self.figures.refused_dials.entry(verdict.label).or_default() += 1;
        self.parts.agent.refuse(now, dial.leg, refuse(cause, now));
    }

    fn call_user(&mut self, now: Now, dial: Dial, number_id: &PhoneNumberId, user: UserId) {
        let Some(number) = self.number_of(number_id) else {
            return self.parts.agent.refuse(now, dial.leg, refuse(HangupCause::NotDialable, now));
        };
        let id = self.next_call_id(now);
        let config = &self.parts.numbers[number];
        let (label, answer_on) = (config.label.clone(), config.answer_on);
        let mut record =
            CallRecord::new(id, label, config.id.clone(), CallDirection::BusinessInitiated, user);
        record.opened = now.wall;
        record.endpoint = Some(dial.endpoint);
        record.sip_call_id = Some(dial.sip_call_id);
        let call = Call::from_phone(record, self.parts.times, dial.sdp, answer_on);
        self.admit(call, number, None);
        self.by_leg.insert(dial.leg, (id, Fork(0)));
        if let Some(live) = self.calls.get_mut(&id) {
            live.legs.insert(Fork(0), dial.leg);
        }
    }
}

fn fork_failure(failure: LegFailure) -> ForkFailure {
    match failure {
        LegFailure::Status(status) => ForkFailure::Status(status),
        LegFailure::Timeout => ForkFailure::TimedOut,
        LegFailure::Unreachable => ForkFailure::Unreachable,
        LegFailure::Cancelled => ForkFailure::Cancelled,
        LegFailure::NoProvisional => ForkFailure::Silent,
    }
}
