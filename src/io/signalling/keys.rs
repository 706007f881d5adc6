//! Keys that a phone or trunk has by SIP INFO: a user's, or those of another desk.

use std::collections::BTreeMap;
use std::time::Duration;

use super::switchboard::Switchboard;
use crate::config::KeyTelling;
use crate::id::{CallId, Endpoint, LegId, PhoneName, Seat, TrunkName};
use crate::media::{KeyWay, Order, RelayOrder};
use crate::sip::KeysByInfo;
use crate::time::Now;

/// The configuration's words on keys.
#[derive(Clone, Debug, Default)]
pub struct KeyChoices {
    /// Of each phone.
    pub phones: BTreeMap<PhoneName, KeyTelling>,
    /// Of each trunk.
    pub trunks: BTreeMap<TrunkName, KeyTelling>,
}

impl KeyChoices {
    fn of(&self, endpoint: Option<&Endpoint>) -> KeyTelling {
        let own = match endpoint {
            Some(Endpoint::Phone(name)) => self.phones.get(name),
            Some(Endpoint::Trunk(name, _)) => self.trunks.get(name),
            None => None,
        };
        own.copied().unwrap_or(KeyTelling::Auto)
    }
}

/// The way of the keys of one call: what is configured, by what the far end says of itself.
const fn way(wanted: KeyTelling, by_info: KeysByInfo) -> KeyWay {
    match (wanted, by_info) {
        (KeyTelling::Inband, _) | (_, KeysByInfo::Refused) => KeyWay::WithSound,
        (KeyTelling::Info, _) => KeyWay::Told,
        (KeyTelling::Auto, KeysByInfo::Taken) => KeyWay::EventsElseTold,
        (KeyTelling::Auto, KeysByInfo::Unknown) => KeyWay::WithSound,
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

impl Switchboard {
    /// How keys reach whoever talks in this call.
    pub(super) fn key_way(&self, id: CallId) -> KeyWay {
        let Some(live) = self.calls.get(&id) else { return KeyWay::default() };
        let leg = live.call.talking_leg().and_then(|fork| live.legs.get(&fork));
        let by_info = leg.map_or(KeysByInfo::Unknown, |leg| self.parts.agent.keys_by_info(*leg));
        way(self.parts.keys.of(live.call.record().endpoint.as_ref()), by_info)
    }

    /// The user has pressed a key that goes by signalling.
    pub(super) fn key_pressed(&mut self, now: Now, id: CallId, digit: char, duration: Duration) {
        let talking = self.calls.get(&id).and_then(|live| live.call.talking_leg());
        if let Some(leg) = talking.and_then(|fork| self.leg(id, fork)) {
            self.parts.agent.send_digit(now, leg, digit, millis(duration));
        }
    }

    /// How keys reach each seat of a call between desks, told to the media when it changes: with the first answer, with
    /// whoever takes a seat, and with a refusal.
    pub(super) fn tell_desk_key_ways(&mut self, id: CallId) {
        let Some(desk) = self.desks.get(&id).filter(|it| it.call.is_up()) else { return };
        let (agent, keys) = (&self.parts.agent, &self.parts.keys);
        let ways = Seat::BOTH.map(|seat| {
            let leg = desk.legs.get(&desk.call.leg_at(seat));
            let by_info = leg.map_or(KeysByInfo::Unknown, |leg| agent.keys_by_info(*leg));
            way(keys.of(Some(desk.call.party(seat))), by_info)
        });
        for (seat, way) in Seat::BOTH.into_iter().zip(ways) {
            if desk.key_ways[seat.index()] != way {
                self.parts.media.order_relay(id, RelayOrder::SetKeyWay { seat, way });
            }
        }
        if let Some(desk) = self.desks.get_mut(&id) {
            desk.key_ways = ways;
        }
    }

    /// A desk has pressed a key that goes to the other one by signalling.
    pub(super) fn desk_key_pressed(
        &mut self,
        now: Now,
        id: CallId,
        to: Seat,
        (digit, duration): (char, Duration),
    ) {
        let leg = self.desks.get(&id).and_then(|desk| desk.legs.get(&desk.call.leg_at(to)).copied());
        if let Some(leg) = leg {
            self.parts.agent.send_digit(now, leg, digit, millis(duration));
        }
    }

    /// The far end would not have a key by INFO: this one and all others go with the sound.
    pub(super) fn key_refused(&self, leg: LegId, digit: char, duration: Duration) {
        let Some((id, fork)) = self.by_leg.get(&leg).copied() else { return };
        tracing::info!(call = %id, "the far end takes no keys by INFO: they are sent with the sound");
        match self.desks.get(&id).map(|desk| desk.call.seat_of(fork)) {
            Some(Some(seat)) => {
                self.parts.media.order_relay(id, RelayOrder::DigitWithSound { seat, digit, duration });
            }
            Some(None) => {}
            None => self.parts.media.order(id, Order::DigitToPhone { digit, duration }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_tells_keys_as_configured_and_else_by_what_the_far_end_says_of_itself() {
        use KeyTelling::{Auto, Inband, Info};
        use KeysByInfo::{Refused, Taken, Unknown};
        let all = [Auto, Inband, Info].map(|wanted| [Unknown, Taken, Refused].map(|it| way(wanted, it)));
        let (sound, told) = (KeyWay::WithSound, KeyWay::Told);
        assert_eq!(all, [[sound, KeyWay::EventsElseTold, sound], [sound; 3], [told, told, sound]]);
    }

    #[test]
    fn each_phone_and_trunk_has_a_word_of_its_own() {
        let choices = KeyChoices {
            phones: [("1001".into(), KeyTelling::Info)].into(),
            trunks: [("pbx".into(), KeyTelling::Inband)].into(),
        };
        let of = |endpoint: &Endpoint| choices.of(Some(endpoint));
        assert_eq!(of(&Endpoint::Phone("1001".into())), KeyTelling::Info);
        assert_eq!(of(&Endpoint::Phone("1002".into())), KeyTelling::Auto);
        assert_eq!(of(&Endpoint::Trunk("pbx".into(), "2".to_owned())), KeyTelling::Inband);
        assert_eq!(choices.of(None), KeyTelling::Auto);
    }
}
