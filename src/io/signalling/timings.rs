//! Who keeps time in whose calls.

use std::collections::BTreeMap;

use crate::id::{Endpoint, PhoneName, TrunkName};
use crate::media::Timing;

/// The configuration's words on timing.
#[derive(Clone, Debug, Default)]
pub struct Timings {
    /// For everybody else.
    pub general: Timing,
    /// Phones with a word of their own.
    pub phones: BTreeMap<PhoneName, Timing>,
    /// Trunks likewise.
    pub trunks: BTreeMap<TrunkName, Timing>,
}

impl Timings {
    /// For a call with this phone or trunk; `None` while several ring.
    #[must_use]
    pub fn of(&self, endpoint: Option<&Endpoint>) -> Timing {
        let own = match endpoint {
            Some(Endpoint::Phone(name)) => self.phones.get(name),
            Some(Endpoint::Trunk(name, _)) => self.trunks.get(name),
            None => None,
        };
        own.copied().unwrap_or(self.general)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phones_own_word_goes_before_the_general_one() {
        let timings = Timings {
            general: Timing::Relay,
            phones: [("1001".into(), Timing::Playout)].into(),
            trunks: [("pbx".into(), Timing::Auto)].into(),
        };
        let phone = |name: &str| timings.of(Some(&Endpoint::Phone(name.into())));
        assert_eq!((phone("1001"), phone("1002")), (Timing::Playout, Timing::Relay));
        assert_eq!(timings.of(Some(&Endpoint::Trunk("pbx".into(), "200".to_owned()))), Timing::Auto);
        assert_eq!(timings.of(None), Timing::Relay);
    }
}
