//! SRTP and SRTCP of one leg (RFC 3711, RFC 7714) under keys that DTLS exported (RFC 5764) or that stood in both
//! session descriptions (RFC 4568).
//!
//! The only file that names `rtc-srtp`.

use bytes::BytesMut;
use rtc_srtp::context::Context;
use rtc_srtp::crypto;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::masked::Secret;
use crate::sdp::crypto::{Crypto, CryptoSuite};

/// How far behind the newest packet a late one may be, in packets: 2.5 s of 20 ms audio.
const RTP_WINDOW: usize = 128;
/// The same for RTCP.
const RTCP_WINDOW: usize = 64;
/// Most streams of one peer that are remembered under one key; Meta has one, a phone may begin one with each resume.
const MAX_STREAMS: usize = 64;
/// The shortest RTP header.
const RTP_HEADER: usize = 12;
/// The fixed part of an RTCP packet: header and SSRC.
const RTCP_HEADER: usize = 8;

/// How packets are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpProfile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (RFC 5764).
    Aes128CmSha1_80,
    /// `SRTP_AES128_CM_HMAC_SHA1_32` (RFC 5764): SRTCP keeps the tag of ten bytes.
    Aes128CmSha1_32,
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714).
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (RFC 7714).
    AeadAes256Gcm,
}

impl SrtpProfile {
    /// The name in IANA's registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }

    /// Whether the E flag of an SRTCP packet is set: it begins the index, which stands before AES-CM's tag of
    /// ten bytes (RFC 3711 §3.4) and behind GCM's (RFC 7714 §9.3).
    fn says_encrypted(self, packet: &[u8]) -> bool {
        let tail = match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 4,
        };
        packet.len().checked_sub(tail).and_then(|at| packet.get(at)).is_some_and(|flag| flag & 0x80 != 0)
    }

    const fn of_library(self) -> ProtectionProfile {
        match self {
            Self::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Self::Aes128CmSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            Self::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Self::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        }
    }
}

impl From<CryptoSuite> for SrtpProfile {
    fn from(suite: CryptoSuite) -> Self {
        match suite {
            CryptoSuite::AesCm128HmacSha1_80 => Self::Aes128CmSha1_80,
            CryptoSuite::AesCm128HmacSha1_32 => Self::Aes128CmSha1_32,
            CryptoSuite::AeadAes128Gcm => Self::AeadAes128Gcm,
            CryptoSuite::AeadAes256Gcm => Self::AeadAes256Gcm,
        }
    }
}

/// Master key and salt of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey {
    key: Secret<Vec<u8>>,
    salt: Secret<Vec<u8>>,
}

/// The keys of both directions, as one side of the DTLS connection sees them.
#[derive(Clone, Debug)]
pub struct SrtpKeys {
    profile: SrtpProfile,
    outgoing: MasterKey,
    incoming: MasterKey,
}

impl SrtpKeys {
    /// Cuts DTLS' exported material into keys (RFC 5764 §4.2); [`None`] if its length is wrong.
    #[must_use]
    pub fn from_exported(profile: SrtpProfile, material: &[u8], we_are_client: bool) -> Option<Self> {
        let (key, salt) = (profile.of_library().key_len(), profile.of_library().salt_len());
        if material.len() != 2 * (key + salt) {
            return None;
        }
        let (client_key, rest) = material.split_at(key);
        let (server_key, rest) = rest.split_at(key);
        let (client_salt, server_salt) = rest.split_at(salt);
        let master = |key: &[u8], salt: &[u8]| MasterKey {
            key: Secret::new(key.to_vec()),
            salt: Secret::new(salt.to_vec()),
        };
        let (client, server) = (master(client_key, client_salt), master(server_key, server_salt));
        let (outgoing, incoming) = if we_are_client { (client, server) } else { (server, client) };
        Some(Self { profile, outgoing, incoming })
    }

    /// The keys of two `a=crypto` lines of one suite.
    #[must_use]
    pub fn from_lines(ours: &Crypto, theirs: &Crypto) -> Self {
        let master = |line: &Crypto| {
            let (key, salt) = line.key.expose().split_at(line.suite.key_and_salt().0);
            MasterKey { key: Secret::new(key.to_vec()), salt: Secret::new(salt.to_vec()) }
        };
        Self { profile: ours.suite.into(), outgoing: master(ours), incoming: master(theirs) }
    }
}

/// Both directions of one leg's SRTP and SRTCP.
pub struct Srtp {
    keys: SrtpKeys,
    outgoing: Context,
    incoming: Inbound,
    /// Under the key before, for what is under way while it changes.
    before: Option<Inbound>,
}

/// What comes, under one key: each stream that has authenticated with its own roll-over counter and replay window, the
/// one heard last first.
///
/// The library makes room, and fixes its replay window, for every SSRC that it is shown; a forger must not be able to
/// make it do either, and what it has made room for it keeps.
struct Inbound {
    profile: SrtpProfile,
    key: MasterKey,
    rtp_streams: Vec<(u32, Context)>,
    rtcp_streams: Vec<(u32, Context)>,
}

impl Inbound {
    fn new(profile: SrtpProfile, key: &MasterKey) -> Option<Self> {
        // Keys that the library refuses are found now.
        context(profile, key)?;
        Some(Self { profile, key: key.clone(), rtp_streams: Vec::new(), rtcp_streams: Vec::new() })
    }

    fn rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let stream = be_u32(packet, 8)?;
        let fresh = || context(self.profile, &self.key);
        open(&mut self.rtp_streams, stream, fresh, |context| context.decrypt_rtp(packet).ok())
    }

    fn rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        if !self.profile.says_encrypted(packet) {
            return None;
        }
        let stream = be_u32(packet, 4)?;
        let fresh = || context(self.profile, &self.key);
        open(&mut self.rtcp_streams, stream, fresh, |context| context.decrypt_rtcp(packet).ok())
    }
}

/// Decrypts a packet of `stream`. A stream that is new and authenticates takes, where there are too many, the place of
/// the one heard of longest ago.
fn open(
    streams: &mut Vec<(u32, Context)>,
    stream: u32,
    fresh: impl FnOnce() -> Option<Context>,
    decrypt: impl FnOnce(&mut Context) -> Option<BytesMut>,
) -> Option<BytesMut> {
    if let Some(at) = streams.iter().position(|(known, _)| *known == stream) {
        let clear = decrypt(&mut streams[at].1)?;
        streams[..=at].rotate_right(1);
        return Some(clear);
    }
    let mut context = fresh()?;
    let clear = decrypt(&mut context)?;
    streams.truncate(MAX_STREAMS - 1);
    streams.insert(0, (stream, context));
    Some(clear)
}

impl Srtp {
    /// Ready to protect and unprotect; [`None`] if the library refuses the keys.
    #[must_use]
    pub fn new(keys: SrtpKeys) -> Option<Self> {
        let outgoing = context(keys.profile, &keys.outgoing)?;
        let incoming = Inbound::new(keys.profile, &keys.incoming)?;
        Some(Self { keys, outgoing, incoming, before: None })
    }

    /// Goes over to other keys, each direction for itself: the roll-over counter and the replay window go on
    /// under a key that stays, and begin anew with another one (call-handling rule 17). [`None`] if the library
    /// refuses the keys; nothing has changed then.
    pub fn rekey(&mut self, keys: SrtpKeys) -> Option<()> {
        let same_profile = keys.profile == self.keys.profile;
        let outgoing = if same_profile && keys.outgoing == self.keys.outgoing {
            None
        } else {
            Some(context(keys.profile, &keys.outgoing)?)
        };
        if !same_profile || keys.incoming != self.keys.incoming {
            let fresh = Inbound::new(keys.profile, &keys.incoming)?;
            self.before = Some(std::mem::replace(&mut self.incoming, fresh));
        }
        if let Some(outgoing) = outgoing {
            self.outgoing = outgoing;
        }
        self.keys = keys;
        Some(())
    }

    /// Which profile is in use.
    #[must_use]
    pub const fn profile(&self) -> SrtpProfile {
        self.keys.profile
    }

    /// An RTP packet to be sent, encrypted; [`None`] if it is no RTP packet.
    pub fn protect_rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outgoing.encrypt_rtp(packet).ok()
    }

    /// A compound RTCP packet to be sent, encrypted; [`None`] if it is no RTCP packet.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outgoing.encrypt_rtcp(packet).ok()
    }

    /// A received packet in the clear; [`None`] if it is forged, replayed, too old or malformed.
    pub fn unprotect_rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        if packet.len() < RTP_HEADER {
            return None;
        }
        match self.incoming.rtp(packet) {
            Some(clear) => {
                self.before = None;
                Some(clear)
            }
            None => self.before.as_mut()?.rtp(packet),
        }
    }

    /// A received compound RTCP packet in the clear; [`None`] as in [`Self::unprotect_rtp`].
    ///
    /// Of AES-CM, the library takes a packet whose E flag is clear (RFC 3711 §3.4) without looking at its
    /// tag; nobody who agreed on SRTP sends RTCP in the clear, so such a packet is forged.
    pub fn unprotect_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        if packet.len() < RTCP_HEADER {
            return None;
        }
        self.incoming.rtcp(packet).or_else(|| self.before.as_mut()?.rtcp(packet))
    }
}

impl std::fmt::Debug for Srtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Srtp").field("profile", &self.keys.profile).finish_non_exhaustive()
    }
}

fn context(profile: SrtpProfile, master: &MasterKey) -> Option<Context> {
    let provider = crypto::default_provider().ok()?;
    Context::new(
        master.key.expose(),
        master.salt.expose(),
        profile.of_library(),
        Some(srtp_replay_protection(RTP_WINDOW)),
        Some(srtcp_replay_protection(RTCP_WINDOW)),
        provider.crypto(),
    )
    .ok()
}

fn be_u32(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILES: [SrtpProfile; 4] = [
        SrtpProfile::Aes128CmSha1_80,
        SrtpProfile::Aes128CmSha1_32,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
    ];

    fn pair(profile: SrtpProfile) -> (Srtp, Srtp) {
        let length = 2 * (profile.of_library().key_len() + profile.of_library().salt_len());
        let material: Vec<u8> = (0..length).map(|i| u8::try_from(i).unwrap()).collect();
        let side = |client| Srtp::new(SrtpKeys::from_exported(profile, &material, client).unwrap()).unwrap();
        (side(true), side(false))
    }

    fn rtp(ssrc: u32, seq: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 111];
        packet.extend(seq.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend(b"speech");
        packet
    }

    fn rtcp(ssrc: u32) -> Vec<u8> {
        let mut packet = vec![0x80, 201, 0, 1];
        packet.extend(ssrc.to_be_bytes());
        packet
    }

    #[test]
    fn a_forger_cannot_make_rtcp_believed_by_calling_it_unencrypted() {
        for profile in PROFILES {
            let (_, mut server) = pair(profile);
            let forged = [rtcp(7), vec![0; 32]].concat();
            assert!(server.unprotect_rtcp(&forged).is_none(), "{profile:?}");
        }
    }

    #[test]
    fn what_one_side_protects_the_other_reads_in_every_profile_and_both_directions() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let sealed = client.protect_rtp(&rtp(1, 1)).unwrap();
            assert!(!sealed.ends_with(b"speech"));
            assert_eq!(server.unprotect_rtp(&sealed).unwrap(), rtp(1, 1));
            let sealed = server.protect_rtcp(&rtcp(2)).unwrap();
            assert_eq!(client.unprotect_rtcp(&sealed).unwrap(), rtcp(2));
        }
    }

    #[test]
    fn a_replayed_packet_is_refused_and_a_reordered_one_is_not() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            let sealed: Vec<_> =
                (65_530..=65_535).chain(0..6).map(|seq| client.protect_rtp(&rtp(1, seq)).unwrap()).collect();
            for index in [0, 2, 1, 3, 4, 5, 7, 6, 8] {
                assert!(server.unprotect_rtp(&sealed[index]).is_some(), "{profile:?} packet {index}");
                assert!(server.unprotect_rtp(&sealed[index]).is_none(), "{profile:?} replay {index}");
            }
            let report = client.protect_rtcp(&rtcp(1)).unwrap();
            assert!(server.unprotect_rtcp(&report).is_some());
            assert!(server.unprotect_rtcp(&report).is_none());
        }
    }

    #[test]
    fn forged_packets_take_no_memory_and_do_not_move_the_replay_window() {
        let (mut client, mut server) = pair(SrtpProfile::Aes128CmSha1_80);
        for ssrc in 0..1000 {
            let mut forged = client.protect_rtp(&rtp(ssrc, 40_000)).unwrap();
            *forged.last_mut().unwrap() ^= 1;
            assert!(server.unprotect_rtp(&forged).is_none());
        }
        assert!(server.incoming.rtp_streams.is_empty());
        let (mut client, _) = pair(SrtpProfile::Aes128CmSha1_80);
        assert!(server.unprotect_rtp(&client.protect_rtp(&rtp(7, 3)).unwrap()).is_some());
    }

    #[test]
    fn a_peer_that_begins_a_thousand_streams_is_heard_in_each_and_they_take_no_more_room_than_the_limit() {
        for profile in PROFILES {
            let (mut client, mut server) = pair(profile);
            // One that goes on all the time keeps its place, and its replay window.
            let old = client.protect_rtp(&rtp(5000, 1)).unwrap();
            for ssrc in 0..1000 {
                let seq = 1 + u16::try_from(ssrc).unwrap();
                let steady = client.protect_rtp(&rtp(5000, seq)).unwrap();
                assert!(server.unprotect_rtp(&steady).is_some(), "{profile:?} {ssrc}");
                let fresh = client.protect_rtp(&rtp(ssrc, 1)).unwrap();
                assert!(server.unprotect_rtp(&fresh).is_some(), "{profile:?} {ssrc}");
                assert!(server.unprotect_rtp(&fresh).is_none(), "{profile:?} {ssrc} again");
                let report = client.protect_rtcp(&rtcp(ssrc)).unwrap();
                assert!(server.unprotect_rtcp(&report).is_some());
            }
            assert!(server.unprotect_rtp(&old).is_none(), "{profile:?}: it was played before");
            assert_eq!(server.incoming.rtp_streams.len(), MAX_STREAMS);
            assert_eq!(server.incoming.rtcp_streams.len(), MAX_STREAMS);
        }
    }

    #[test]
    fn the_packet_of_libsrtps_own_check_comes_out() {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let key = bytes("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let line = Crypto { tag: 1, suite: CryptoSuite::AesCm128HmacSha1_80, key: Secret::new(key) };
        let (mut us, mut them) =
            [(); 2].map(|()| Srtp::new(SrtpKeys::from_lines(&line, &line)).unwrap()).into();
        let header = "800f1234decafbadcafebabe";
        let plain = bytes(&format!("{header}{}", "ab".repeat(16)));
        let sealed = bytes(&format!("{header}4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"));
        assert_eq!(us.protect_rtp(&plain).unwrap(), sealed);
        assert_eq!(them.unprotect_rtp(&sealed).unwrap(), plain);
    }

    fn lines(suite: CryptoSuite, ours: u8, theirs: u8) -> SrtpKeys {
        let line = |fill| Crypto { tag: 1, suite, key: Secret::new(vec![fill; suite.key_length()]) };
        SrtpKeys::from_lines(&line(ours), &line(theirs))
    }

    #[test]
    fn rule_17_the_roll_over_counter_is_kept_with_the_key_and_begins_anew_with_another() {
        for suite in CryptoSuite::ALL {
            let mut phone = Srtp::new(lines(suite, 1, 2)).unwrap();
            let mut us = Srtp::new(lines(suite, 2, 1)).unwrap();
            let mut sealed = Vec::new();
            for seq in (65_500..=65_535).chain(0..100) {
                sealed = phone.protect_rtp(&rtp(7, seq)).unwrap().to_vec();
                assert!(us.unprotect_rtp(&sealed).is_some(), "{suite:?} {seq}");
            }
            us.rekey(lines(suite, 2, 1)).unwrap();
            assert!(us.unprotect_rtp(&sealed).is_none(), "the window is still there");
            assert!(us.unprotect_rtp(&phone.protect_rtp(&rtp(7, 100)).unwrap()).is_some(), "{suite:?}");
            // Another key: what was under way is still understood, then the counter is 0 on both sides.
            let late = phone.protect_rtp(&rtp(7, 101)).unwrap();
            us.rekey(lines(suite, 2, 3)).unwrap();
            assert!(us.unprotect_rtp(&late).is_some(), "{suite:?}");
            let mut anew = Srtp::new(lines(suite, 3, 2)).unwrap();
            assert!(us.unprotect_rtp(&anew.protect_rtp(&rtp(7, 102)).unwrap()).is_some());
            assert!(
                us.unprotect_rtp(&phone.protect_rtp(&rtp(7, 103)).unwrap()).is_none(),
                "the old key is over"
            );
            let ours = us.protect_rtp(&rtp(9, 1)).unwrap();
            assert!(anew.unprotect_rtp(&ours).is_some(), "our own key has stayed");
        }
    }

    #[test]
    fn short_and_odd_packets_are_refused() {
        let (mut client, mut server) = pair(SrtpProfile::AeadAes128Gcm);
        for length in 0..60 {
            for first in [0x80, 0x8F, 0x90, 0xB0, 0xFF] {
                let packet = vec![first; length];
                assert!(server.unprotect_rtp(&packet).is_none());
                assert!(server.unprotect_rtcp(&packet).is_none());
                let _ = (client.protect_rtp(&packet), client.protect_rtcp(&packet));
            }
        }
        assert!(SrtpKeys::from_exported(SrtpProfile::AeadAes128Gcm, &[0; 60], true).is_none());
    }
}
