//! What phones have done with a call besides talking: picked up, parked, fetched, handed over.

use super::common::{LegState, Phase, Timer};
use super::joining::{Joined, Joiner};
use super::parking::{ParkingOrder, ParkingPlace};
use super::transfer::MOST_LEGS;
use super::{Call, Flow, Fork, Input, Output, TransferTarget};
use crate::id::Endpoint;
use crate::sip::ReferralId;
use crate::time::Now;

impl Call {
    /// Who rings for this call at this moment, in the order in which they began to.
    pub fn ringing(&self) -> impl Iterator<Item = &Endpoint> {
        let from_user = match &self.flow {
            Flow::User(flow) if self.common.phase == Phase::SettingUp && self.common.leg.is_none() => {
                Some(flow)
            }
            _ => None,
        };
        from_user.into_iter().flat_map(|flow| flow.ringing(&self.common))
    }

    /// Where the call is parked, until a phone has it again.
    #[must_use]
    pub fn parked_at(&self) -> Option<ParkingPlace> {
        self.parking.place().filter(|_| self.is_live())
    }

    /// Who parked it.
    #[must_use]
    pub fn parked_by(&self) -> Option<&Endpoint> {
        self.parking.by()
    }

    /// A phone whose INVITE waits wants the call: one that rings elsewhere, or that is parked. The new leg's
    /// name; `None` if the call is not to be had.
    pub fn join(&mut self, now: Now, joiner: Joiner) -> Option<Fork> {
        if !self.joining.is_idle() || self.common.legs.len() >= MOST_LEGS {
            return None;
        }
        let fork = match &mut self.flow {
            Flow::User(flow) if self.common.phase == Phase::SettingUp => {
                flow.let_in(&mut self.common, joiner.endpoint.clone())?
            }
            _ => {
                let parked = self.common.phase == Phase::Bridged && self.common.leg.is_none();
                self.parking.place().filter(|_| parked)?;
                self.transfers.call_back(&mut self.common);
                self.common.stop_timer(Timer::Parked);
                self.common.legs.push(LegState::Calling);
                Fork(u8::try_from(self.common.legs.len() - 1).ok()?)
            }
        };
        self.common.reached(now, "joined");
        self.joining.begin(&mut self.common, fork, joiner);
        Some(fork)
    }

    /// Takes what concerns phones that come and go; everything else comes back.
    pub(super) fn handle_features(&mut self, now: Now, input: Input) -> Option<Input> {
        let input = match self.joining.handle(&mut self.common, input) {
            Joined::Nothing => return None,
            Joined::Other(input) => input,
            Joined::Takes(fork, sdp) => {
                self.taken_by(now, fork, sdp);
                return None;
            }
            Joined::StaysAway => {
                self.not_taken(now);
                return None;
            }
            Joined::StaysAwayFor(input) => {
                self.not_taken(now);
                input
            }
        };
        let input = match input {
            Input::PhoneReferred { fork, id, target: TransferTarget::Park(order) } => {
                self.park_by_referral(now, fork, id, order);
                return None;
            }
            Input::PhoneParked(fork, order) => {
                if self.can_be_parked_by(fork) {
                    self.parking.park_and_tell(&mut self.common, now, fork, order);
                }
                return None;
            }
            Input::PlaceTold => {
                self.parking.told(&mut self.common);
                return None;
            }
            Input::PhoneHungUp(fork) | Input::PhoneExpired(fork) | Input::PhoneVanished(fork)
                if self.parking.leaves(&mut self.common, fork) =>
            {
                return None;
            }
            input => input,
        };
        let input = self.transfers.handle(&mut self.common, now, input);
        if self.parking.place().is_some() && self.common.leg.is_some() {
            self.parking.end(&mut self.common);
        }
        input
    }

    fn can_be_parked_by(&self, fork: Fork) -> bool {
        let talks = self.common.phase == Phase::Bridged && self.common.leg == Some(fork);
        talks && self.transfers.is_idle() && self.joining.is_idle()
    }

    fn park_by_referral(&mut self, now: Now, fork: Fork, id: ReferralId, order: ParkingOrder) {
        if !self.can_be_parked_by(fork) {
            return self.common.push(Output::AnswerReferral(fork, id, Err(491)));
        }
        self.common.push(Output::AnswerReferral(fork, id, Ok(())));
        self.common.push(Output::TellParked(fork, id, order.place));
        self.parking.park(&mut self.common, now, order);
        self.transfers.see_off(&mut self.common, now, fork);
    }

    fn taken_by(&mut self, now: Now, fork: Fork, sdp: String) {
        let common = &mut self.common;
        match &mut self.flow {
            Flow::User(flow) if common.phase == Phase::SettingUp => flow.picked_up(common, now, fork, sdp),
            _ => {
                common.push(Output::StopPlaying);
                common.set_leg(fork, LegState::Answered);
                common.push(Output::AcceptPhone(fork, sdp));
                common.reached(now, "fetched");
                let row = Box::new(common.record.clone());
                common.push(Output::KeepRecord(row));
                self.parking.end(common);
            }
        }
    }

    /// Who wanted the call does not come: whoever rings rings on, and a parked call waits once more.
    fn not_taken(&mut self, now: Now) {
        if self.common.phase == Phase::Bridged && self.common.leg.is_none() {
            self.parking.wait_again(&mut self.common, now);
        }
    }
}
