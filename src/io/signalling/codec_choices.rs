//! Which codecs each phone and trunk is offered, and how keys are told to it.

use std::collections::BTreeMap;

use crate::codec::AudioCodec;
use crate::id::{Endpoint, PhoneName, TrunkName};
use crate::sdp::narrow::{Narrowing, narrow};

/// The configuration's words on codecs and keys.
#[derive(Clone, Debug)]
pub struct CodecChoices {
    /// For everybody else.
    pub general: Narrowing,
    /// Phones with a word of their own.
    pub phones: BTreeMap<PhoneName, Narrowing>,
    /// Trunks likewise.
    pub trunks: BTreeMap<TrunkName, Narrowing>,
}

impl CodecChoices {
    /// For a call with this phone or trunk.
    #[must_use]
    pub fn of(&self, endpoint: &Endpoint) -> &Narrowing {
        let own = match endpoint {
            Endpoint::Phone(name) => self.phones.get(name),
            Endpoint::Trunk(name, _) => self.trunks.get(name),
        };
        own.unwrap_or(&self.general)
    }

    /// Everything that anybody may be offered: a call is described once for all whom it rings.
    #[must_use]
    pub fn all(&self) -> Vec<AudioCodec> {
        let mut all = self.general.codecs.clone();
        for own in self.phones.values().chain(self.trunks.values()) {
            let more: Vec<AudioCodec> = own.codecs.iter().copied().filter(|it| !all.contains(it)).collect();
            all.extend(more);
        }
        all
    }

    /// An offer, ours or theirs, as it is to be with this phone or trunk.
    #[must_use]
    pub fn narrowed(&self, endpoint: Option<&Endpoint>, offer: String) -> String {
        let Some(endpoint) = endpoint else { return offer };
        let own = self.of(endpoint);
        let plain = self.phones.is_empty() && self.trunks.is_empty();
        if plain && own.events { offer } else { narrow(&offer, own) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_described_with_all_codecs_and_shown_to_each_with_its_own() {
        let narrowing = |codecs: &[AudioCodec]| Narrowing { codecs: codecs.to_vec(), events: true };
        let choices = CodecChoices {
            general: narrowing(&[AudioCodec::Opus, AudioCodec::Pcmu]),
            phones: [("1001".into(), narrowing(&[AudioCodec::G722]))].into(),
            trunks: [("pbx".into(), narrowing(&[AudioCodec::Pcma, AudioCodec::Pcmu]))].into(),
        };
        let (opus, g722, pcmu, pcma) =
            (AudioCodec::Opus, AudioCodec::G722, AudioCodec::Pcmu, AudioCodec::Pcma);
        assert_eq!(choices.all(), [opus, pcmu, g722, pcma]);
        assert_eq!(choices.of(&Endpoint::Phone("1001".into())).codecs, [g722]);
        assert_eq!(choices.of(&Endpoint::Phone("1002".into())).codecs, [opus, pcmu]);
        assert_eq!(choices.of(&Endpoint::Trunk("pbx".into(), "2".to_owned())).codecs, [pcma, pcmu]);
    }
}
