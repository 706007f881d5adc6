//! Which of the far end's sections can be used, by how it is protected, and the lines that protect ours.

use super::super::crypto::{Crypto, cryptos};
use super::super::protection::{Leave, Profile, Protection, ProtectionRule};
use super::super::session::{Attribute, Media, Session};
use super::super::transport::{LocalTransport, RemoteTransport, Setup};
use super::AudioRefusal;

/// The section's name in our offers to browsers, and what they hear it as.
const MID: &str = "0";
const STREAM: &str = "cordboard audio";

/// With what our descriptions can protect a leg, and what its far end may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalKeying {
    /// What the far end may offer or answer.
    pub rule: ProtectionRule,
    /// A line for each suite, best first; empty: no SDES.
    pub crypto: Vec<Crypto>,
    /// ICE and DTLS; `None`: neither.
    pub dtls: Option<LocalTransport>,
    /// Who we are in the DTLS connection that stands: it stays (RFC 8842 §5.3).
    pub role: Option<Setup>,
}

/// How a leg is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keying {
    /// Not at all.
    #[default]
    Clear,
    /// SRTP by keys in both descriptions.
    Sdes {
        /// With what we encrypt.
        ours: Crypto,
        /// With what the far end does.
        theirs: Crypto,
    },
    /// SRTP by DTLS over ICE.
    Dtls(RemoteTransport),
}

impl Keying {
    /// In which way a section that led to it was written.
    pub(super) fn said_in(&self, media: &Media) -> Protection {
        match self {
            Self::Clear => Protection::Clear,
            Self::Sdes { .. } if media.protocol.to_ascii_uppercase().contains("SAVP") => Protection::Sdes,
            Self::Sdes { .. } => Protection::BestEffort,
            Self::Dtls(_) => Protection::Dtls,
        }
    }
}

/// How the far end's section wants to be protected.
pub(super) enum Theirs {
    Clear,
    Sdes(Vec<Crypto>),
    Dtls(RemoteTransport),
}

impl Theirs {
    pub(super) const fn is_dtls(&self) -> bool {
        matches!(self, Self::Dtls(_))
    }

    /// What follows from the far end's offer.
    pub(super) fn answered(self, local: &LocalKeying) -> Result<Keying, AudioRefusal> {
        match self {
            Self::Clear => Ok(Keying::Clear),
            Self::Sdes(lines) => {
                let both = lines.into_iter().find_map(|theirs| {
                    let ours = local.crypto.iter().find(|it| it.suite == theirs.suite)?;
                    Some((Crypto { tag: theirs.tag, ..ours.clone() }, theirs))
                });
                let (ours, theirs) = both.ok_or(AudioRefusal::NoCrypto)?;
                Ok(Keying::Sdes { ours, theirs })
            }
            Self::Dtls(_) if local.dtls.is_none() => Err(AudioRefusal::Encrypted),
            Self::Dtls(peer) => Ok(Keying::Dtls(peer)),
        }
    }

    /// What follows from the far end's answer: it takes one of our lines by its tag.
    pub(super) fn agreed(self, local: &LocalKeying) -> Result<Keying, AudioRefusal> {
        let Self::Sdes(lines) = self else { return self.answered(local) };
        let both = lines.into_iter().find_map(|theirs| {
            let ours = local.crypto.iter().find(|it| (it.tag, it.suite) == (theirs.tag, theirs.suite))?;
            Some((ours.clone(), theirs))
        });
        let (ours, theirs) = both.ok_or(AudioRefusal::NoCrypto)?;
        Ok(Keying::Sdes { ours, theirs })
    }
}

/// The audio section in use that is protected best; of equals the first.
pub(super) fn choose(session: &Session, rule: ProtectionRule) -> Result<(usize, Theirs), AudioRefusal> {
    let mut refusal = AudioRefusal::NoAudio;
    let mut clear = None;
    for (index, media) in session.media.iter().enumerate() {
        if !media.kind.eq_ignore_ascii_case("audio") {
            continue;
        }
        if media.port == 0 {
            refusal = AudioRefusal::Refused;
            continue;
        }
        match read(session, media, rule) {
            Ok(Theirs::Clear) => clear = clear.or(Some(index)),
            Ok(theirs) => return Ok((index, theirs)),
            Err(why) => refusal = why,
        }
    }
    clear.map(|index| (index, Theirs::Clear)).ok_or(refusal)
}

fn read(session: &Session, media: &Media, rule: ProtectionRule) -> Result<Theirs, AudioRefusal> {
    let sdes = || match (rule.sdes, cryptos(media)) {
        (Leave::Given, lines) if lines.is_empty() => Err(AudioRefusal::NoCrypto),
        (Leave::Given, lines) => Ok(Theirs::Sdes(lines)),
        (Leave::Readable, _) => Err(AudioRefusal::ReadableKeys),
        (Leave::Refused, _) => Err(AudioRefusal::Encrypted),
    };
    match Profile::of(session, media) {
        Profile::Clear => {
            let encrypted = if media.has("crypto") { sdes() } else { Err(AudioRefusal::Unencrypted) };
            encrypted.or_else(|why| if rule.clear == Leave::Given { Ok(Theirs::Clear) } else { Err(why) })
        }
        Profile::Sdes => sdes(),
        Profile::Dtls if rule.dtls == Leave::Given => {
            RemoteTransport::read(session, media).map(Theirs::Dtls).map_err(|_| AudioRefusal::NoDtls)
        }
        Profile::Dtls | Profile::Other => Err(AudioRefusal::Encrypted),
    }
}

/// What protects our section.
pub(super) enum Guard<'a> {
    Clear,
    Sdes(&'a [Crypto]),
    Dtls { local: &'a LocalTransport, setup: Setup, mid: Option<&'a str> },
}

impl<'a> Guard<'a> {
    /// In an offer, and the protocol that goes with it.
    pub(super) fn offering(local: &'a LocalKeying, protection: Protection) -> (Self, &'static str) {
        match (protection, &local.dtls) {
            (Protection::BestEffort, _) => (Self::Sdes(&local.crypto), "RTP/AVP"),
            (Protection::Sdes, _) => (Self::Sdes(&local.crypto), "RTP/SAVP"),
            (Protection::Dtls, Some(dtls)) => {
                let guard = Self::Dtls { local: dtls, setup: Setup::ActPass, mid: Some(MID) };
                (guard, "UDP/TLS/RTP/SAVPF")
            }
            (Protection::Clear | Protection::Dtls, _) => (Self::Clear, "RTP/AVP"),
        }
    }

    /// In an answer.
    pub(super) fn answering(local: &'a LocalKeying, keying: &'a Keying, theirs: &'a Media) -> Self {
        match (keying, &local.dtls) {
            (Keying::Sdes { ours, .. }, _) => Self::Sdes(std::slice::from_ref(ours)),
            (Keying::Dtls(peer), Some(dtls)) => {
                let setup = local.role.unwrap_or(peer.setup.reply());
                Self::Dtls { local: dtls, setup, mid: theirs.value("mid") }
            }
            (Keying::Clear | Keying::Dtls(_), _) => Self::Clear,
        }
    }

    pub(super) fn write(&self, media: &mut Media) {
        match self {
            Self::Clear => {}
            Self::Sdes(lines) => lines.iter().for_each(|line| media.set("crypto", line)),
            Self::Dtls { local, setup, mid } => {
                if let Some(mid) = mid {
                    media.set("mid", mid);
                }
                media.set("msid", STREAM);
                local.write(media, *setup);
            }
        }
    }

    /// Lines of the session: a browser's only section is a bundle of its own (RFC 8843).
    pub(super) fn session_lines(&self) -> Vec<Attribute> {
        match self {
            Self::Dtls { mid: Some(mid), .. } => {
                vec![Attribute { name: "group".to_owned(), value: Some(format!("BUNDLE {mid}")) }]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
