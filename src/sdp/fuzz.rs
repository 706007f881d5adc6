//! Body of the fuzz target for session descriptions; the same code replays its seeds in the tests.

use super::audio::{AudioCodec, LocalAudio, LocalKeying, answer_offer, read_answer};
use super::crypto::{Crypto, CryptoSuite};
use super::protection::ProtectionRule;
use super::session::{MAX_TEXT, Session};
use super::transport::{FingerprintCase, LocalTransport};
use super::webrtc::read_webrtc;
use crate::random::Random;

/// Reads any text as a description of Meta's, of a phone's offer and of a phone's answer; what was read must
/// print and read back as the same description.
///
/// # Panics
/// If it does not, or if our answer to it cannot be read.
pub fn description(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut random = Random::from_number(1);
    let keying = LocalKeying {
        rule: ProtectionRule::ANY,
        crypto: (1..).zip(CryptoSuite::ALL).map(|(tag, it)| Crypto::fresh(tag, it, &mut random)).collect(),
        dtls: Some(LocalTransport {
            ufrag: "abcd".to_owned(),
            pwd: "0123456789012345678901".to_owned(),
            fingerprint: [7; 32],
            candidates: vec![([10, 0, 0, 1], 30_000).into()],
            fingerprint_case: FingerprintCase::Lower,
        }),
        role: None,
    };
    let local = LocalAudio {
        session_id: 1,
        version: 1,
        rtp: ([10, 0, 0, 1], 30_000).into(),
        rtcp: ([10, 0, 0, 1], 30_001).into(),
        codecs: AudioCodec::ALL.to_vec(),
        voip_metrics: true,
        opus_bitrate: 20_000,
        keying,
    };
    if let Ok(session) = Session::parse(text) {
        let printed = session.to_string();
        // What was taken out of a text of the greatest length may print longer than it.
        if printed.len() <= MAX_TEXT {
            assert_eq!(Session::parse(&printed), Ok(session), "print after parse is the identity");
        }
    }
    let _ = read_webrtc(text);
    let _ = read_answer(&local, text);
    if let Ok((answer, _)) = answer_offer(&local, text) {
        Session::parse(&answer).expect("our answer can be read");
    }
}
