//! Feature codes, carried out: who dials one has something done instead of somebody called.

use super::Reply;
use super::availability::Disturb;
use super::callbacks::GroupQueue;
use super::from_sip::Dial;
use super::switchboard::{Live, Switchboard};
use crate::call::{CodeRefusal, HangupCause, Input, Joiner, ParkingOrder, ParkingPlace};
use crate::dialplan::{Feature, Neighbours, Reach, Wish};
use crate::id::{CallId, Endpoint};
use crate::media::{Order, Repeat, Side};
use crate::time::Now;

/// What features are allowed, by the configuration.
#[derive(Clone, Debug)]
pub struct FeatureRules {
    /// Who belongs together.
    pub neighbours: Neighbours,
    /// Whose ringing calls a phone may take.
    pub pick_up_by: Reach,
    /// Whose parked calls a phone may fetch.
    pub retrieve_by: Reach,
    /// Where calls are parked.
    pub places: std::ops::RangeInclusive<u16>,
    /// How long they wait.
    pub park_timeout: std::time::Duration,
    /// Who gets those that nobody fetches.
    pub park_overflow: Option<Endpoint>,
    /// What may become of a call; phones dial the places.
    pub outcomes: Vec<String>,
    /// Who calls back whose users, in the order of the file; phones dial the places.
    pub queues: Vec<GroupQueue>,
}

impl Switchboard {
    /// Does what a phone has dialled a code for.
    pub(super) fn do_feature(&mut self, now: Now, dial: Dial, wish: &Wish) {
        let argument = wish.argument.as_deref();
        let found = match wish.feature {
            Feature::PickUpGroup | Feature::PickUp => self.call_to_pick_up(&dial.endpoint, argument),
            Feature::Retrieve => self.parked_call(&dial.endpoint, argument),
            Feature::Park => return self.park_other_call(now, &dial, argument),
            Feature::DisturbNot => return self.disturb_by_code(now, &dial, Disturb::Not),
            Feature::DisturbAgain => return self.disturb_by_code(now, &dial, Disturb::Welcome),
            Feature::CallBackNext => return self.call_back_next(now, dial, argument),
            Feature::Messages => return self.play_messages(dial),
            Feature::Outcome => return self.note_outcome(now, dial, argument),
        };
        match found {
            Ok(id) => self.join(now, id, dial, wish.feature),
            Err(cause) => self.turn_dial_away(now, &dial, cause),
        }
    }

    /// The call that has rung longest among those that `taker` may have; of one phone, if it is named.
    fn call_to_pick_up(&self, taker: &Endpoint, named: Option<&str>) -> Result<CallId, HangupCause> {
        let rules = &self.parts.feature_rules;
        let named = named.map(|name| Endpoint::Phone(name.into()));
        let rings = |owner: &Endpoint| named.as_ref().is_none_or(|named| named == owner);
        let mut refusal = HangupCause::Code(CodeRefusal::NothingRings);
        for (id, live) in &self.calls {
            for owner in live.call.ringing().filter(|it| rings(it)) {
                if rules.neighbours.let_take(rules.pick_up_by, taker, owner) {
                    return Ok(*id);
                }
                if named.is_some() {
                    refusal = HangupCause::Code(CodeRefusal::NotYours);
                }
            }
        }
        Err(refusal)
    }

    fn parked_call(&self, taker: &Endpoint, place: Option<&str>) -> Result<CallId, HangupCause> {
        let rules = &self.parts.feature_rules;
        let place = place.and_then(|it| it.parse().ok()).map(ParkingPlace);
        let found = self.calls.iter().find(|(_, live)| place.is_some() && live.call.parked_at() == place);
        let (id, live) = found.ok_or(HangupCause::Code(CodeRefusal::NothingParked))?;
        let by = live.call.parked_by();
        let allowed = by.is_none_or(|by| rules.neighbours.let_take(rules.retrieve_by, taker, by));
        if allowed { Ok(*id) } else { Err(HangupCause::Code(CodeRefusal::NotYours)) }
    }

    /// A phone that has a call on another of its lines dials the code: that call is parked, and the phone hears
    /// and sees where.
    fn park_other_call(&mut self, now: Now, dial: &Dial, place: Option<&str>) {
        let talks =
            |it: &Live| it.call.is_bridged() && it.call.record().endpoint.as_ref() == Some(&dial.endpoint);
        let own =
            self.calls.iter().find_map(|(id, it)| Some((*id, it.call.talking_leg().filter(|_| talks(it))?)));
        let parked = own
            .ok_or(HangupCause::Code(CodeRefusal::NothingToPark))
            .and_then(|own| Ok((own, self.parking_order(place)?)));
        match parked {
            Ok(((id, fork), order)) => {
                let place = order.place;
                tracing::info!(call = %id, place = place.0, by = %dial.endpoint, "a call is parked by a feature code");
                self.feed(now, id, Input::PhoneParked(fork, order));
                if self.calls.get(&id).and_then(|it| it.call.parked_at()) != Some(place) {
                    return self.turn_dial_away(now, dial, HangupCause::Code(CodeRefusal::NothingToPark));
                }
                self.confirm(
                    now,
                    dial.leg,
                    &format!("Parked on {}", place.0),
                    self.parts.sounds.number(place.0),
                );
            }
            Err(cause) => self.turn_dial_away(now, dial, cause),
        }
    }

    /// Lets a phone whose INVITE waits into a call.
    fn join(&mut self, now: Now, id: CallId, dial: Dial, feature: Feature) {
        let Dial { leg, endpoint, sdp, sip_call_id, caller } = dial;
        let Some(live) = self.calls.get_mut(&id) else { return };
        let joiner =
            Joiner { endpoint: endpoint.clone(), offer: sdp.clone(), sip_call_id: sip_call_id.clone() };
        let Some(fork) = live.call.join(now, joiner) else {
            // Somebody else is about to take it.
            let gone = if feature == Feature::Retrieve {
                HangupCause::Code(CodeRefusal::NothingParked)
            } else {
                HangupCause::Code(CodeRefusal::NothingRings)
            };
            let dial = Dial { leg, endpoint, sdp, sip_call_id, caller };
            return self.turn_dial_away(now, &dial, gone);
        };
        tracing::info!(call = %id, %feature, by = %endpoint, "a phone takes a call by a feature code");
        live.legs.insert(fork, leg);
        self.by_leg.insert(leg, (id, fork));
        // Its offer is judged by its own rule of protection.
        self.tell_rule(id, leg);
        self.touch(id);
    }

    /// Lets a phone that parked a call hear where it stands.
    pub(super) fn tell_place(&self, id: CallId, place: ParkingPlace) {
        match self.parts.sounds.number(place.0) {
            Some(clip) => {
                self.parts.media.order(id, Order::Play { towards: Side::Phone, clip, repeat: Repeat::Once });
            }
            None => {
                let _ = self.replies_in.send((id, Reply::Input(Input::PlaceTold)));
            }
        }
    }

    /// The codes that the phone of a call may press while it talks.
    pub(super) fn codes_within(&self, id: CallId) -> Vec<String> {
        let endpoint = self.calls.get(&id).and_then(|live| live.call.record().endpoint.as_ref());
        let code = self.parts.dialplan.features.code(Feature::Park);
        match endpoint {
            Some(Endpoint::Phone(_)) => code.into_iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// The phone of a call has pressed a code.
    pub(super) fn code_pressed(&mut self, now: Now, id: CallId, code: &str) {
        let wish = self.parts.dialplan.features.read(code);
        let talking = self.calls.get(&id).and_then(|live| live.call.talking_leg());
        let (Some(Feature::Park), Some(fork)) = (wish.map(|it| it.feature), talking) else { return };
        match self.parking_order(None) {
            Ok(order) => {
                tracing::info!(call = %id, place = order.place.0, "a phone parks the call by keys");
                self.feed(now, id, Input::PhoneParked(fork, order));
            }
            Err(cause) => tracing::info!(call = %id, cause = cause.verdict().label, "a call was not parked"),
        }
    }

    /// Where a call is to be parked: at the named place, or at the lowest that is free.
    pub(super) fn parking_order(&self, named: Option<&str>) -> Result<ParkingOrder, HangupCause> {
        let rules = &self.parts.feature_rules;
        let is_free =
            |place: &ParkingPlace| self.calls.values().all(|it| it.call.parked_at() != Some(*place));
        let mut places = rules.places.clone().map(ParkingPlace);
        let place = match named {
            Some(named) => {
                let named = named.parse().ok().filter(|it| rules.places.contains(it)).map(ParkingPlace);
                named.filter(is_free)
            }
            None => places.find(is_free),
        };
        let place = place.ok_or(HangupCause::Code(CodeRefusal::NoParkingPlace))?;
        let (timeout, overflow) = (rules.park_timeout, rules.park_overflow.clone());
        Ok(ParkingOrder { place, timeout, overflow })
    }
}
