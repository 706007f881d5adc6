use super::super::super::crypto::CryptoSuite;
use super::super::{AudioCodec, LocalAudio, answer_offer, read_answer, write_offer_as};
use super::*;
use crate::random::Random;
use crate::sdp::transport::FingerprintCase;

fn keying(rule: ProtectionRule) -> LocalKeying {
    let mut random = Random::from_number(5);
    LocalKeying {
        rule,
        crypto: (1..).zip(CryptoSuite::ALL).map(|(tag, it)| Crypto::fresh(tag, it, &mut random)).collect(),
        dtls: Some(LocalTransport {
            ufrag: "Gw4t".to_owned(),
            pwd: "R3placeWith22orMoreChars".to_owned(),
            fingerprint: [0xAB; 32],
            candidates: vec!["192.0.2.10:30000".parse().unwrap()],
            fingerprint_case: FingerprintCase::Lower,
        }),
        role: None,
    }
}

fn local(rule: ProtectionRule) -> LocalAudio {
    LocalAudio {
        session_id: 42,
        version: 1,
        rtp: "192.0.2.10:30000".parse().unwrap(),
        rtcp: "192.0.2.10:30001".parse().unwrap(),
        codecs: vec![AudioCodec::Pcmu, AudioCodec::Opus],
        opus_bitrate: 20_000,
        voip_metrics: false,
        keying: keying(rule),
    }
}

const REQUIRED: ProtectionRule = ProtectionRule { clear: Leave::Refused, ..ProtectionRule::ANY };
const OFF: ProtectionRule =
    ProtectionRule { sdes: Leave::Refused, dtls: Leave::Refused, ..ProtectionRule::ANY };
const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

fn sdp(media: &str) -> String {
    format!("v=0\r\no=phone 77 3 IN IP4 192.0.2.99\r\ns=call\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\n{media}")
}

fn line(tag: u32, suite: &str, more: &str) -> String {
    format!("a=crypto:{tag} {suite} inline:{KEY}{more}\r\n")
}

/// The body of a captured message.
fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").expect("a body").1
}

#[test]
fn what_baresip_1_0_0_offers_is_answered_as_it_is_written_and_judged_by_the_rule() {
    let mand = body(include_str!("../../../../tests/data/sip/baresip_1.0.0_invite_srtp_mand.txt"));
    let best = body(include_str!("../../../../tests/data/sip/baresip_1.0.0_invite_srtp.txt"));
    let feedback = body(include_str!("../../../../tests/data/sip/baresip_1.0.0_invite_srtp_mandf.txt"));
    for (offer, protocol) in [(mand, "RTP/SAVP"), (best, "RTP/AVP"), (feedback, "RTP/SAVPF")] {
        let (answer, agreed) = answer_offer(&local(REQUIRED), offer).unwrap();
        assert!(answer.contains(&format!("m=audio 30000 {protocol} 0 101\r\n")), "{answer}");
        let Keying::Sdes { ours, theirs } = &agreed.keying else { panic!("{agreed:?}") };
        assert_eq!((ours.tag, theirs.suite), (1, CryptoSuite::AesCm128HmacSha1_80));
        assert!(answer.contains(&format!("a=crypto:{ours}\r\n")) && ours.key != theirs.key);
    }
    let refusal = |rule, offer| answer_offer(&local(rule), offer).unwrap_err();
    assert_eq!(refusal(OFF, mand), AudioRefusal::Encrypted);
    assert_eq!(refusal(ProtectionRule::default(), mand), AudioRefusal::ReadableKeys);
    let (answer, agreed) = answer_offer(&local(OFF), best).unwrap();
    assert_eq!(agreed.keying, Keying::Clear);
    assert!(!answer.contains("crypto"), "{answer}");
    // DTLS without ICE, as baresip does it when it is not told to use ICE.
    let dtls = body(include_str!("../../../../tests/data/sip/baresip_1.0.0_invite_dtls_srtp.txt"));
    assert_eq!(refusal(REQUIRED, dtls), AudioRefusal::NoDtls);
}

#[test]
fn s6_plain_rtp_is_refused_where_encryption_is_required() {
    let plain = sdp("m=audio 5000 RTP/AVP 0\r\n");
    assert_eq!(answer_offer(&local(REQUIRED), &plain).unwrap_err(), AudioRefusal::Unencrypted);
    assert_eq!(read_answer(&local(REQUIRED), &plain).unwrap_err(), AudioRefusal::Unencrypted);
    let useless = sdp(&format!("m=audio 5000 RTP/AVP 0\r\n{}", line(1, "F8_128_HMAC_SHA1_80", "")));
    assert_eq!(answer_offer(&local(REQUIRED), &useless).unwrap_err(), AudioRefusal::NoCrypto);
}

#[test]
fn of_a_plain_and_an_encrypted_section_the_encrypted_one_is_taken_wherever_it_stands() {
    let plain = "m=audio 5000 RTP/AVP 0\r\n";
    let safe = format!("m=audio 5002 RTP/SAVP 0\r\n{}", line(4, "AES_CM_128_HMAC_SHA1_32", "|2^31"));
    for (offer, order) in [
        (sdp(&format!("{plain}{safe}")), ["m=audio 0 RTP/AVP 0", "m=audio 30000 RTP/SAVP 0"]),
        (sdp(&format!("{safe}{plain}")), ["m=audio 30000 RTP/SAVP 0", "m=audio 0 RTP/AVP 0"]),
    ] {
        let (answer, agreed) = answer_offer(&local(ProtectionRule::ANY), &offer).unwrap();
        let sections: Vec<&str> = answer.lines().filter(|it| it.starts_with("m=")).collect();
        assert_eq!(sections, order);
        assert_eq!(agreed.remote_rtp.port(), 5002);
        assert!(answer.contains("a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:"), "{answer}");
        let (answer, _) = answer_offer(&local(OFF), &offer).unwrap();
        assert!(answer.contains("m=audio 30000 RTP/AVP 0") && answer.contains("m=audio 0 RTP/SAVP 0"));
    }
}

#[test]
fn the_first_line_that_can_be_done_is_taken_and_its_tag_is_kept() {
    let lines = [
        line(1, "AES_CM_128_HMAC_SHA1_80", "|2^20|1:4"),
        line(2, "AES_192_CM_HMAC_SHA1_80", ""),
        line(3, "AES_CM_128_HMAC_SHA1_80", " KDR=4"),
        line(7, "aes_cm_128_hmac_sha1_80", "|2^31 WSH=128 -X-OWN"),
        line(8, "AES_CM_128_HMAC_SHA1_32", ""),
    ];
    let offer = sdp(&format!("m=audio 5000 RTP/SAVP 0\r\n{}", lines.concat()));
    let (answer, _) = answer_offer(&local(REQUIRED), &offer).unwrap();
    let found: Vec<&str> = answer.lines().filter(|it| it.starts_with("a=crypto")).collect();
    assert!(
        matches!(found[..], [one] if one.starts_with("a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:")),
        "{found:?}"
    );
    let none = sdp(&format!("m=audio 5000 RTP/SAVP 0\r\n{}", lines[..3].concat()));
    assert_eq!(answer_offer(&local(REQUIRED), &none).unwrap_err(), AudioRefusal::NoCrypto);
}

#[test]
fn an_offer_to_a_browser_is_answered_by_its_own_rules() {
    let offer = write_offer_as(&local(REQUIRED), Protection::Dtls);
    for wanted in [
        "a=group:BUNDLE 0\r\n",
        "m=audio 30000 UDP/TLS/RTP/SAVPF 0 111 101 110\r\n",
        "a=rtcp-mux\r\n",
        "a=mid:0\r\n",
        "a=ice-ufrag:Gw4t\r\n",
        "a=candidate:1 1 udp 2130706431 192.0.2.10 30000 typ host\r\n",
        "a=fingerprint:sha-256 AB:AB:",
        "a=setup:actpass\r\n",
    ] {
        assert!(offer.contains(wanted), "{wanted} in {offer}");
    }
    let (answer, agreed) = answer_offer(&local(ProtectionRule::ANY), &offer).unwrap();
    assert!(answer.contains("a=setup:active\r\n") && answer.contains("a=group:BUNDLE 0\r\n"), "{answer}");
    assert!(agreed.rtcp_mux && matches!(agreed.keying, Keying::Dtls(_)));
    // In the connection that stands nobody changes sides.
    let mut standing = local(ProtectionRule::ANY);
    standing.keying.role = Some(Setup::Passive);
    let (answer, _) = answer_offer(&standing, &offer).unwrap();
    assert!(answer.contains("a=setup:passive\r\n"), "{answer}");
    let agreed = read_answer(&local(REQUIRED), &answer).unwrap();
    assert!(agreed.rtcp_mux && matches!(agreed.keying, Keying::Dtls(_)));
    assert_eq!(answer_offer(&local(OFF), &offer).unwrap_err(), AudioRefusal::Encrypted);
}

#[test]
fn what_jssip_3_13_8_in_chromium_says_is_read_and_answered() {
    let offer = body(include_str!("../../../../tests/data/sip/jssip_3.13.8_invite.txt"));
    let (answer, agreed) = answer_offer(&local(ProtectionRule::default()), offer).unwrap();
    assert!(answer.contains("m=audio 30000 UDP/TLS/RTP/SAVPF 111 110\r\n"), "{answer}");
    assert!(answer.contains("a=mid:0\r\n") && !answer.contains("transport-cc"), "{answer}");
    let Keying::Dtls(peer) = &agreed.keying else { panic!("{agreed:?}") };
    // Four over UDP, of both families; those over TCP are passed over.
    assert_eq!((peer.candidates.len(), peer.setup), (4, Setup::ActPass));
    let held = body(include_str!("../../../../tests/data/sip/jssip_3.13.8_hold.txt"));
    let (answer, _) = answer_offer(&local(ProtectionRule::default()), held).unwrap();
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    let taken = body(include_str!("../../../../tests/data/sip/jssip_3.13.8_200_to_invite.txt"));
    let agreed = read_answer(&local(REQUIRED), taken).unwrap();
    assert!(matches!(&agreed.keying, Keying::Dtls(peer) if peer.setup == Setup::Active));
    assert_eq!(agreed.direction, super::super::Direction::SendRecv);
}
