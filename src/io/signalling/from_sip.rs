//! SIP events: to the call they belong to, or into a new call.

use std::time::Duration;

use super::outputs::refuse;
use super::switchboard::{Parts, Switchboard};
use super::translate;
use crate::call::{Call, CallDirection, CallRecord, CodeRefusal, Fork, HangupCause};
use crate::dialplan::Dialled;
use crate::id::{Endpoint, LegId, PhoneNumberId, TrunkName};
use crate::media::{CapacityState, Order, RelayOrder};
use crate::policy::CapReached;
use crate::sip::trunk::RegistrationFailure;
use crate::sip::{CallerIdentity, CallerOrigin, Event, TrunkChange};
use crate::time::Now;
use crate::user::UserId;

/// Seconds over which those are spread who were refused for want of capacity.
const RETRY_WITHIN: u32 = 10;

/// A phone's INVITE that waits for an answer.
#[derive(Debug)]
pub(in crate::io) struct Dial {
    pub(super) leg: LegId,
    pub(super) endpoint: Endpoint,
    pub(super) sdp: Option<String>,
    pub(super) sip_call_id: String,
    /// Who it is, as others are shown.
    pub(super) caller: CallerIdentity,
}

impl Switchboard {
    pub(super) fn handle_sip_event(&mut self, now: Now, event: Event) {
        if self.ends_notice(now, &event) {
            return;
        }
        match event {
            Event::Invited { leg, from, dialled, sdp, call_id, replaces } => {
                let caller = CallerIdentity { number: from.number.clone(), display: from.display };
                let endpoint = match from.origin {
                    CallerOrigin::Phone(name) => Endpoint::Phone(name),
                    CallerOrigin::Trunk(name) => Endpoint::Trunk(name, from.number),
                };
                let dial = Dial { leg, endpoint, sdp, sip_call_id: call_id, caller };
                match replaces {
                    Some(replaced) => self.took_over(now, dial, replaced),
                    None => self.dialled(now, dial, &dialled),
                }
            }
            Event::Reoffered { leg, .. } if !self.by_leg.contains_key(&leg) => {
                self.parts.agent.answer_reoffer(now, leg, Err(481));
            }
            Event::Referred { leg, referral } => {
                self.referred(now, leg, &referral);
            }
            Event::Digit { leg, digit, millis } => {
                self.digit_told(leg, digit, Duration::from_millis(millis.into()));
            }
            Event::DigitRefused { leg, digit, millis } => {
                self.key_refused(leg, digit, Duration::from_millis(millis.into()));
            }
            Event::Registered { phone } => tracing::info!(%phone, "registered"),
            Event::Trunk { trunk, change } => {
                log_trunk(&trunk, change);
                self.tell_of_trunk(now, &trunk);
                if change == TrunkChange::Moved {
                    self.moved.push(trunk);
                }
            }
            Event::Unregistered { phone } => tracing::info!(%phone, "no longer registered"),
            Event::Ringing { leg, .. }
            | Event::Answered { leg, .. }
            | Event::Failed { leg, .. }
            | Event::Confirmed { leg, .. }
            | Event::Cancelled { leg }
            | Event::HungUp { leg, .. }
            | Event::AckTimeout { leg }
            | Event::Reoffered { leg, .. }
            | Event::Reanswered { leg, .. }
            | Event::ReofferRefused { leg, .. }
            | Event::Expired { leg } => {
                let known = self.by_leg.get(&leg).copied();
                if let Some((id, _)) = known
                    && matches!(event, Event::Answered { .. } | Event::Ringing { sdp: Some(_), .. })
                {
                    self.tell_rule(id, leg);
                }
                if let Some((id, fork)) = known
                    && let Some(input) = translate::from_sip(fork, event)
                {
                    self.feed(now, id, input);
                }
            }
        }
    }

    /// A key by INFO: the media says it to the other side.
    fn digit_told(&self, leg: LegId, digit: char, duration: Duration) {
        let Some((id, fork)) = self.by_leg.get(&leg).copied() else { return };
        match self.desks.get(&id).map(|desk| desk.call.seat_of(fork)) {
            Some(Some(seat)) => {
                self.parts.media.order_relay(id, RelayOrder::Digit { seat, digit, duration });
            }
            Some(None) => {}
            None => self.parts.media.order(id, Order::Digit { digit, duration }),
        }
    }

    fn dialled(&mut self, now: Now, dial: Dial, digits: &str) {
        // Before any cap, and while the gateway drains: somebody needs help.
        if let Dialled::Emergency(Some(way)) = self.parts.dialplan.resolve(&dial.endpoint, digits)
            && self.stopping.is_none()
        {
            return self.call_for_help(now, dial, way);
        }
        if !self.is_closing() && self.dialled_to_ask(&dial.endpoint, dial.leg, digits) {
            return;
        }
        let cause = if self.is_closing() {
            HangupCause::Stopping
        } else {
            let dialled = self.parts.dialplan.resolve(&dial.endpoint, digits);
            let capped = self.toll_cap(now, &dial.endpoint, &dialled);
            match dialled {
                Dialled::User(..) | Dialled::Desk(_) if capped.is_some() => {
                    capped.unwrap_or(HangupCause::AllCapped)
                }
                Dialled::User(..) | Dialled::Desk(_)
                    if self.parts.media.judge() == CapacityState::Refusing =>
                {
                    HangupCause::Overloaded
                }
                Dialled::User(number, user) => return self.call_user(now, dial, &number, user),
                Dialled::Desk(target) => return self.call_desk(now, dial, target),
                Dialled::Emergency(_) => HangupCause::Emergency,
                Dialled::Feature(wish) => return self.do_feature(now, dial, &wish),
                Dialled::UnknownCode => HangupCause::Code(CodeRefusal::Unknown),
                Dialled::NotAllowed => HangupCause::NotAllowed,
                Dialled::Unknown => HangupCause::NotDialable,
            }
        };
        self.turn_dial_away(now, &dial, cause);
    }

    /// Refuses a dial attempt that is no call.
    pub(super) fn turn_dial_away(&mut self, now: Now, dial: &Dial, cause: HangupCause) {
        let verdict = cause.verdict();
        tracing::info!(from = %dial.endpoint, cause = verdict.label, "a dial attempt was refused");
        *self.figures.refused_dials.entry(verdict.label).or_default() += 1;
        let mut refusal = refuse(cause, now);
        if cause == HangupCause::Overloaded {
            // Those who were refused together should not come back together.
            refusal.retry_after = Some(1 + self.parts.random.below(RETRY_WITHIN));
        }
        self.refuse_aloud(now, dial.leg, verdict, refusal);
    }

    /// Why what was dialled may not be called now, though it might at another time; counts it if it may.
    pub(super) fn toll_cap(&mut self, now: Now, from: &Endpoint, dialled: &Dialled) -> Option<HangupCause> {
        if !matches!(dialled, Dialled::User(..) | Dialled::Desk(_)) {
            return None;
        }
        // The call that asks is there already.
        self.count_toll(now, from, 1)
    }

    /// The same for a call of which `asking` legs are there already.
    pub(super) fn count_toll(&mut self, now: Now, from: &Endpoint, asking: usize) -> Option<HangupCause> {
        let Parts { agent, toll, .. } = &mut self.parts;
        let others = |many: usize| u32::try_from(many.saturating_sub(asking)).unwrap_or(u32::MAX);
        let phone = match from {
            Endpoint::Phone(name) => Some((name, others(agent.legs_of(name)))),
            Endpoint::Trunk(..) => None,
        };
        let reached = toll.begin(now.mono, phone, others(agent.figures().legs)).err()?;
        tracing::warn!(%from, ?reached, "a cap on dialling is reached");
        Some(match reached {
            CapReached::Phone => HangupCause::PhoneCapped,
            CapReached::Together => HangupCause::AllCapped,
        })
    }

    pub(super) fn call_user(&mut self, now: Now, dial: Dial, number_id: &PhoneNumberId, user: UserId) {
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

/// One line for an operator: what must be acted on is an error, what passes by itself a warning.
fn log_trunk(trunk: &TrunkName, change: TrunkChange) {
    match change {
        TrunkChange::Moved => tracing::info!(%trunk, "DNS says where a trunk's servers are"),
        TrunkChange::ServerUp(server) => tracing::info!(%trunk, %server, "a trunk's server answers again"),
        TrunkChange::ServerDown(server) => {
            tracing::warn!(%trunk, %server, "a trunk's server does not answer OPTIONS: it gets no calls");
        }
        TrunkChange::Registered(server) => tracing::info!(%trunk, %server, "registered with a trunk"),
        TrunkChange::NotRegistered(RegistrationFailure::Login) | TrunkChange::LoginRefused => {
            tracing::error!(%trunk, "a trunk refuses our login: check its user and password");
        }
        TrunkChange::NotRegistered(RegistrationFailure::Refused(status)) => {
            tracing::warn!(%trunk, status, "a trunk refuses our registration; it is tried again");
        }
        TrunkChange::NotRegistered(RegistrationFailure::Silent) => {
            tracing::warn!(%trunk, "no server of a trunk takes our registration; it is tried again");
        }
    }
}
