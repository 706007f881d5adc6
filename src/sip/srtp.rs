//! How the sound of a phone or trunk is protected: what the administrator wants, and what the way there allows.

use super::flow::Transport;
use crate::sdp::protection::{Leave, Protection, ProtectionRule};

/// What the administrator wants of a phone or trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SrtpUse {
    /// What the phone offers; we offer browsers DTLS and others plain RTP.
    #[default]
    Auto,
    /// Plain RTP only.
    Off,
    /// SDES where both can, plain RTP where not.
    Optional,
    /// SDES, or DTLS if the phone offers that; no call without.
    Required,
    /// DTLS, both ways; no call without.
    Dtls,
}

/// Whether keys may stand in signalling that others can read (RFC 4568 §8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadableKeys {
    /// Only inside TLS.
    #[default]
    Never,
    /// The administrator says so.
    Allowed,
}

/// Both of one phone or trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrtpSetting {
    /// What is wanted.
    pub wanted: SrtpUse,
    /// Where keys may stand.
    pub readable: ReadableKeys,
}

impl SrtpSetting {
    /// Every way in which offers may be asked for.
    #[must_use]
    pub const fn ways(self) -> &'static [Protection] {
        match self.wanted {
            SrtpUse::Auto => &[Protection::Clear, Protection::Dtls],
            SrtpUse::Off => &[Protection::Clear],
            SrtpUse::Optional => &[Protection::Clear, Protection::BestEffort],
            SrtpUse::Required => &[Protection::Sdes],
            SrtpUse::Dtls => &[Protection::Dtls],
        }
    }

    /// How an offer that travels by `transport` asks; `None`: none may go there.
    #[must_use]
    pub fn offer_over(self, transport: Transport) -> Option<Protection> {
        let hidden = self.hides(transport);
        match self.wanted {
            SrtpUse::Auto if matches!(transport, Transport::Ws | Transport::Wss) => Some(Protection::Dtls),
            SrtpUse::Optional if hidden => Some(Protection::BestEffort),
            SrtpUse::Auto | SrtpUse::Off | SrtpUse::Optional => Some(Protection::Clear),
            SrtpUse::Required => hidden.then_some(Protection::Sdes),
            SrtpUse::Dtls => Some(Protection::Dtls),
        }
    }

    /// What may come by `transport`.
    #[must_use]
    pub fn rule_over(self, transport: Transport) -> ProtectionRule {
        let given = |given: bool| if given { Leave::Given } else { Leave::Refused };
        let sdes = match self.wanted {
            SrtpUse::Off | SrtpUse::Dtls => Leave::Refused,
            _ if !self.hides(transport) => Leave::Readable,
            _ => Leave::Given,
        };
        ProtectionRule {
            clear: given(!matches!(self.wanted, SrtpUse::Required | SrtpUse::Dtls)),
            sdes,
            dtls: given(self.wanted != SrtpUse::Off),
            home: None,
        }
    }

    fn hides(self, transport: Transport) -> bool {
        transport.is_secure() || self.readable == ReadableKeys::Allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_keys_never_stand_in_clear_signalling_unless_told_so() {
        let wants = |wanted| SrtpSetting { wanted, readable: ReadableKeys::Never };
        for transport in [Transport::Udp, Transport::Tcp, Transport::Ws] {
            assert_eq!(wants(SrtpUse::Optional).offer_over(transport), Some(Protection::Clear));
            assert_eq!(wants(SrtpUse::Required).offer_over(transport), None);
            for wanted in [SrtpUse::Auto, SrtpUse::Optional, SrtpUse::Required] {
                assert_eq!(wants(wanted).rule_over(transport).sdes, Leave::Readable);
            }
        }
        let told = SrtpSetting { wanted: SrtpUse::Required, readable: ReadableKeys::Allowed };
        assert_eq!(told.offer_over(Transport::Udp), Some(Protection::Sdes));
        assert_eq!(told.rule_over(Transport::Udp).sdes, Leave::Given);
        assert_eq!(wants(SrtpUse::Required).offer_over(Transport::Tls), Some(Protection::Sdes));
    }

    #[test]
    fn browsers_are_offered_dtls_by_themselves_and_nobody_else_is() {
        let auto = SrtpSetting::default();
        for (transport, offer) in [
            (Transport::Udp, Protection::Clear),
            (Transport::Tls, Protection::Clear),
            (Transport::Ws, Protection::Dtls),
            (Transport::Wss, Protection::Dtls),
        ] {
            assert_eq!(auto.offer_over(transport), Some(offer));
            assert_eq!(auto.rule_over(transport).clear, Leave::Given);
        }
        let off = SrtpSetting { wanted: SrtpUse::Off, ..auto };
        assert_eq!(off.offer_over(Transport::Wss), Some(Protection::Clear));
        assert_eq!(off.rule_over(Transport::Wss).dtls, Leave::Refused);
    }

    #[test]
    fn what_is_required_admits_nothing_in_the_clear() {
        for wanted in [SrtpUse::Required, SrtpUse::Dtls] {
            let rule = SrtpSetting { wanted, readable: ReadableKeys::Never }.rule_over(Transport::Tls);
            assert_eq!((rule.clear, rule.dtls), (Leave::Refused, Leave::Given));
        }
    }

    #[test]
    fn every_offer_that_may_be_asked_for_is_among_the_ways() {
        for wanted in [SrtpUse::Auto, SrtpUse::Off, SrtpUse::Optional, SrtpUse::Required, SrtpUse::Dtls] {
            for readable in [ReadableKeys::Never, ReadableKeys::Allowed] {
                let setting = SrtpSetting { wanted, readable };
                let offers = Transport::ALL.into_iter().filter_map(|it| setting.offer_over(it));
                assert!(offers.into_iter().all(|it| setting.ways().contains(&it)), "{setting:?}");
            }
        }
    }
}
