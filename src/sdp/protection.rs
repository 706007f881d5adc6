//! Whether the sound of a SIP leg is encrypted, and who hands out the keys: SDES (RFC 4568) or DTLS-SRTP (RFC 5763).

use std::net::IpAddr;

use super::session::{Media, Session};

/// How an offer of ours asks for protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// Plain RTP: `RTP/AVP`.
    Clear,
    /// Encryption if the far end likes: `RTP/AVP` with `a=crypto`. No RFC says so and most phones do; who does not
    /// know the attribute passes over it.
    BestEffort,
    /// Encryption or nothing: `RTP/SAVP` with `a=crypto`.
    Sdes,
    /// What browsers do: `UDP/TLS/RTP/SAVPF` with ICE.
    Dtls,
}

/// Whether something may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// It may.
    #[default]
    Given,
    /// It may not.
    Refused,
    /// The keys would be readable: signalling is not encrypted.
    Readable,
}

/// What a far end may offer or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectionRule {
    /// Plain RTP.
    pub clear: Leave,
    /// Keys in the session description.
    pub sdes: Leave,
    /// Keys by DTLS.
    pub dtls: Leave,
    /// Where its signalling comes from, if it is known: plain packets from there are believed before a stranger's
    /// (call-handling rule 14).
    pub home: Option<IpAddr>,
}

impl Default for ProtectionRule {
    /// For who is not known: anything but keys that others can read.
    fn default() -> Self {
        Self { sdes: Leave::Readable, ..Self::ANY }
    }
}

impl ProtectionRule {
    /// Everything.
    pub const ANY: Self = Self { clear: Leave::Given, sdes: Leave::Given, dtls: Leave::Given, home: None };

    /// Whether an answer keeps the rule. What is no answer at all is for others to refuse.
    #[must_use]
    pub fn admits(self, answer: &str) -> bool {
        let Ok(session) = Session::parse(answer) else { return true };
        let mut in_use =
            session.media.iter().filter(|it| it.kind.eq_ignore_ascii_case("audio") && it.port != 0);
        let Some(media) = in_use.next() else { return true };
        let leave = match Profile::of(&session, media) {
            Profile::Clear if media.has("crypto") => {
                return self.sdes == Leave::Given || self.clear == Leave::Given;
            }
            Profile::Clear => self.clear,
            Profile::Sdes => self.sdes,
            Profile::Dtls => self.dtls,
            Profile::Other => return true,
        };
        leave == Leave::Given
    }
}

/// What the protocol of an audio section says (RFC 3551, RFC 3711 §8, RFC 5124, RFC 5764 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// `RTP/AVP`, `RTP/AVPF`.
    Clear,
    /// `RTP/SAVP`, `RTP/SAVPF`.
    Sdes,
    /// `UDP/TLS/RTP/SAVP`, `UDP/TLS/RTP/SAVPF`; also the former with a fingerprint and no key, as of old.
    Dtls,
    /// Something else.
    Other,
}

impl Profile {
    pub(super) fn of(session: &Session, media: &Media) -> Self {
        let is = |names: [&str; 2]| names.iter().any(|name| media.protocol.eq_ignore_ascii_case(name));
        if is(["RTP/AVP", "RTP/AVPF"]) {
            Self::Clear
        } else if is(["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"]) {
            Self::Dtls
        } else if is(["RTP/SAVP", "RTP/SAVPF"]) {
            let by_certificate = session.has(media, "fingerprint") && !media.has("crypto");
            if by_certificate { Self::Dtls } else { Self::Sdes }
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(protocol: &str, more: &str) -> String {
        format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 {protocol} 0\r\n{more}")
    }

    #[test]
    fn an_answer_in_the_clear_is_none_where_encryption_is_required() {
        let required = ProtectionRule { clear: Leave::Refused, ..ProtectionRule::ANY };
        assert!(!required.admits(&answer("RTP/AVP", "")));
        assert!(required.admits(&answer("RTP/SAVP", "a=crypto:1 x\r\n")));
        assert!(required.admits(&answer("RTP/AVP", "a=crypto:1 x\r\n")));
        assert!(required.admits(&answer("UDP/TLS/RTP/SAVPF", "")));
        assert!(required.admits("v=0\r\nm=audio 0 RTP/AVP 0\r\n"), "a refusal is one for other reasons");
        assert!(ProtectionRule::default().admits(&answer("RTP/AVP", "")));
        assert!(!ProtectionRule::default().admits(&answer("RTP/SAVP", "a=crypto:1 x\r\n")));
    }
}
