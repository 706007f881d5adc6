//! Parking: a call without a phone, until one fetches it or nobody does.
//!
//! The user hears hold audio meanwhile, in the same line. A call that nobody fetches rings at the phone that parked
//! it, then at the overflow; while it rings there it can still be fetched.

use std::time::Duration;

use crate::call::common::{Common, LegState, Timer};
use crate::call::input::Fork;
use crate::call::output::{LegEnd, Output, Sound};
use crate::id::Endpoint;
use crate::time::Now;

/// A place where a call can be parked: what is dialled to fetch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParkingPlace(pub u16);

/// Where a call is to be parked, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkingOrder {
    /// The place, which is free.
    pub place: ParkingPlace,
    /// When it goes back.
    pub timeout: Duration,
    /// Who gets it if the phone that parked it does not take it back.
    pub overflow: Option<Endpoint>,
}

/// A call that is or was parked.
#[derive(Debug)]
struct Parked {
    order: ParkingOrder,
    by: Option<Endpoint>,
    /// Who parked it by a code within the call and is told where it stands.
    listening: Option<Fork>,
}

/// What one call knows of being parked.
#[derive(Debug, Default)]
pub(super) struct Parking {
    parked: Option<Parked>,
}

impl Parking {
    /// Where the call stands.
    pub(super) fn place(&self) -> Option<ParkingPlace> {
        self.parked.as_ref().map(|it| it.order.place)
    }

    /// Who parked it.
    pub(super) fn by(&self) -> Option<&Endpoint> {
        self.parked.as_ref().and_then(|it| it.by.as_ref())
    }

    /// The phone that talks lets the call go; it ends its own leg.
    pub(super) fn park(&mut self, common: &mut Common, now: Now, order: ParkingOrder) {
        common.push(Output::LeavePhone);
        self.stand(common, now, order, None);
    }

    /// The phone that talks lets the call go by a code: it is told the place, then hung up on.
    pub(super) fn park_and_tell(&mut self, common: &mut Common, now: Now, fork: Fork, order: ParkingOrder) {
        common.push(Output::TellPlace(order.place));
        self.stand(common, now, order, Some(fork));
    }

    fn stand(&mut self, common: &mut Common, now: Now, order: ParkingOrder, listening: Option<Fork>) {
        common.leg = None;
        common.reached(now, "parked");
        common.push(Output::Play(Sound::Hold));
        common.set_timer(Timer::Parked, now.mono + order.timeout);
        self.parked = Some(Parked { order, by: common.record.endpoint.clone(), listening });
    }

    /// The phone that parked the call by a code has heard the place.
    pub(super) fn told(&mut self, common: &mut Common) {
        let Some(parked) = &mut self.parked else { return };
        let Some(fork) = parked.listening.take() else { return };
        common.push(Output::LeavePhone);
        common.set_leg(fork, LegState::Gone);
        common.push(Output::HangUp(fork, LegEnd::Parked(parked.order.place)));
    }

    /// Whether `fork` is the phone that parked the call and hangs up by itself.
    pub(super) fn leaves(&mut self, common: &mut Common, fork: Fork) -> bool {
        let Some(parked) = self.parked.as_mut().filter(|it| it.listening == Some(fork)) else { return false };
        parked.listening = None;
        common.set_leg(fork, LegState::Gone);
        common.push(Output::LeavePhone);
        true
    }

    /// Nobody has fetched it: who is asked now, and who after that.
    pub(super) fn timed_out(&mut self, common: &mut Common) -> Vec<Endpoint> {
        self.told(common);
        let Some(parked) = &self.parked else { return Vec::new() };
        parked.by.clone().into_iter().chain(parked.order.overflow.clone()).collect()
    }

    /// Who wanted to fetch it does not come: it waits once more.
    pub(super) fn wait_again(&self, common: &mut Common, now: Now) {
        if let Some(parked) = &self.parked {
            common.push(Output::Play(Sound::Hold));
            common.set_timer(Timer::Parked, now.mono + parked.order.timeout);
        }
    }

    /// A phone has the call.
    pub(super) fn end(&mut self, common: &mut Common) {
        common.stop_timer(Timer::Parked);
        if let Some(fork) = self.parked.take().and_then(|it| it.listening) {
            common.set_leg(fork, LegState::Gone);
            common.push(Output::HangUp(fork, LegEnd::Transferred));
        }
    }
}
