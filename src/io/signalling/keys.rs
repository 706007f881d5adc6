//! Keys of a user that a phone or trunk has by SIP INFO.

use std::collections::BTreeMap;
use std::time::Duration;

use super::switchboard::Switchboard;
use crate::config::KeyTelling;
use crate::id::{CallId, Endpoint, LegId, PhoneName, TrunkName};
use crate::media::{KeyWay, Order};
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
            let millis = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
            self.parts.agent.send_digit(now, leg, digit, millis);
        }
    }

    /// The far end would not have a key by INFO: this one and all others go with the sound.
    pub(super) fn key_refused(&self, leg: LegId, digit: char, duration: Duration) {
        let Some((id, _)) = self.by_leg.get(&leg).copied() else { return };
        tracing::info!(call = %id, "the far end takes no keys by INFO: they are sent with the sound");
        self.parts.media.order(id, Order::DigitToPhone { digit, duration });
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
