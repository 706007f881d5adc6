//! Stories of phones whose sound is encrypted by keys in the session descriptions (RFC 4568).

use std::net::SocketAddr;

use super::srtp::{Srtp, SrtpKeys};
use super::world::*;
use super::*;
use crate::codec::level_dbov;
use crate::masked::Secret;
use crate::rtp::{PayloadType, RtpHeader, RtpTime, SeqNo, Ssrc};
use crate::sdp::audio::AudioRefusal;
use crate::sdp::crypto::{Crypto, CryptoSuite, cryptos};
use crate::sdp::protection::{Leave, Protection, ProtectionRule};
use crate::sdp::session::Session;

const FOREIGN: &str = "203.0.113.9:9";

fn key(tag: u32, suite: CryptoSuite, fill: u8) -> Crypto {
    Crypto { tag, suite, key: Secret::new((0..suite.key_length()).map(|at| fill ^ at as u8).collect()) }
}

/// The phone's description with one key.
fn description(protocol: &str, line: &Crypto) -> String {
    phone_sdp("sendrecv", 20)
        .replace("RTP/AVP", protocol)
        .replace("a=sendrecv", &format!("a=crypto:{line}\r\na=sendrecv"))
}

/// The keys in a description of ours.
fn ours(sdp: &str) -> Vec<Crypto> {
    cryptos(&Session::parse(sdp).unwrap().media[0])
}

fn reanswered(world: &World) -> String {
    let answer = world.reports.iter().rev().find_map(|(_, report)| match report {
        Report::PhoneReofferAnswered { sdp } => Some(sdp.clone()),
        _ => None,
    });
    answer.expect("an answer to the phone's offer")
}

/// The phone offers an encrypted session with `line`; what we answer is its other key.
fn reoffer(world: &mut World, line: &Crypto) -> Crypto {
    world.order(Order::AnswerPhoneReoffer { sdp: Some(description("RTP/SAVP", line)) });
    let answered = reanswered(world);
    assert!(answered.contains("m=audio 30000 RTP/SAVP 0"), "{answered}");
    let [answer] = ours(&answered).try_into().unwrap();
    answer
}

fn phones(line: &Crypto, answer: &Crypto) -> Srtp {
    Srtp::new(SrtpKeys::from_lines(line, answer)).unwrap()
}

/// A call that is up and encrypted, both sides talking.
fn encrypted(seed: u64, suite: CryptoSuite) -> (World, Crypto, Crypto) {
    let mut world = World::up(seed);
    let line = key(1, suite, 7);
    let answer = reoffer(&mut world, &line);
    world.shield = Some(phones(&line, &answer));
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(2000));
    (world, line, answer)
}

/// Both have heard each other since the user had heard `user` packets and the phone `phone`.
fn assert_talking(world: &World, (user, phone): (usize, usize)) {
    assert!(level_dbov(&decode_opus(&world.user_heard[user..])) > -30.0);
    assert!(world.phone_heard.len() > phone + 40);
}

fn heard(world: &World) -> (usize, usize) {
    (world.user_heard.len(), world.phone_heard.len())
}

#[test]
fn each_suite_carries_speech_and_reports_both_ways_over_the_wrap_of_the_sequence_number() {
    for (seed, suite) in (40..).zip(CryptoSuite::ALL) {
        let (mut world, ..) = encrypted(seed, suite);
        // The phone's numbers began at 65,500; its reports and ours come every few seconds.
        world.run(millis(8000));
        assert_talking(&world, (0, 0));
        assert_unbroken(&world.user_heard, millis(40), millis(60));
        assert!(!world.phone_rtcp.is_empty(), "{suite:?}");
    }
}

#[test]
fn s7_a_hundred_thousand_packets_that_do_not_authenticate_reach_nobody_and_move_nothing() {
    let (mut world, ..) = encrypted(45, CryptoSuite::AesCm128HmacSha1_80);
    let before = heard(&world);
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType(0),
        seq: world.phone.header.seq,
        timestamp: RtpTime(9),
        ssrc: Ssrc(55),
    };
    let foreign: SocketAddr = FOREIGN.parse().unwrap();
    let clock = crate::time::Now { mono: world.now, wall: crate::time::Wall(1_790_000_000_000) };
    for count in 0..100_000_u32 {
        let mut packet = RtpHeader {
            seq: SeqNo(header.seq.0.wrapping_add((count % 64) as u16)),
            // Half of them under numbers that were never seen.
            ssrc: if count % 2 == 0 { header.ssrc } else { Ssrc(count) },
            ..header
        }
        .to_bytes()
        .to_vec();
        packet.extend([count as u8; 170]);
        let from = if count % 4 < 2 { foreign } else { PHONE.parse().unwrap() };
        world.bridge.handle_datagram(clock, BridgePort::Rtp, from, &packet);
    }
    assert_eq!(world.bridge.summary().to_meta.refused, 100_000);
    world.run(millis(1000));
    assert_talking(&world, before);
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

#[test]
fn f21_a_phone_that_moves_is_followed_by_its_key_and_a_copy_of_its_packets_is_not() {
    let (mut world, ..) = encrypted(46, CryptoSuite::AeadAes128Gcm);
    world.run(millis(200));
    let moved: SocketAddr = "198.51.100.7:61000".parse().unwrap();
    world.phone.speaking = false;
    world.user_voice.speaking = false;
    world.run(millis(100));
    // A packet that was heard, sent again by somebody else.
    let mut copy = world.phone.header.to_bytes().to_vec();
    copy.extend([0xFF; 160]);
    let sealed = world.shield.as_mut().unwrap().protect_rtp(&copy).unwrap().to_vec();
    world.post(BridgePort::Rtp, PHONE.parse().unwrap(), &sealed, Path::default());
    world.run(millis(20));
    world.post(BridgePort::Rtp, FOREIGN.parse().unwrap(), &sealed, Path::default());
    world.phone.header.seq = world.phone.header.seq.next();
    world.user_voice.speaking = true;
    let before = heard(&world);
    // World asserts that everything still goes to the phone.
    world.run(millis(500));
    assert!(world.phone_heard.len() > before.1 + 20);
    world.user_voice.speaking = false;
    world.run(millis(100));
    world.phone_address = moved;
    world.phone.speaking = true;
    world.run(millis(40));
    world.user_voice.speaking = true;
    let before = heard(&world);
    world.run(millis(1000));
    assert_talking(&world, before);
}

#[test]
fn rule_17_a_refresh_with_the_same_keys_goes_unheard_and_another_key_of_theirs_brings_one_of_ours() {
    let (mut world, line, answer) = encrypted(47, CryptoSuite::AesCm128HmacSha1_80);
    let before = heard(&world);
    assert!(reoffer(&mut world, &line) == answer, "unchanged");
    world.run(millis(1000));
    assert_talking(&world, before);
    let fresh = key(2, line.suite, 99);
    let changed = reoffer(&mut world, &fresh);
    assert!(changed.tag == 2 && changed.key != answer.key);
    world.shield = Some(phones(&fresh, &changed));
    let before = heard(&world);
    world.run(millis(1000));
    assert_talking(&world, before);
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

#[test]
fn a_phone_takes_one_of_our_lines_by_its_tag() {
    for (seed, at, way, protocol) in [
        (48, 0, Protection::BestEffort, "RTP/AVP"),
        (49, 1, Protection::Sdes, "RTP/SAVP"),
        (50, 3, Protection::Sdes, "RTP/SAVP"),
    ] {
        let mut world = World::up(seed);
        let (_, offer) = world.offers.iter().find(|(it, _)| *it == way).unwrap().clone();
        assert!(offer.contains(&format!("m=audio 30000 {protocol} 111 9 0 8")), "{offer}");
        let lines = ours(&offer);
        assert_eq!(lines.len(), CryptoSuite::ALL.len());
        let line = key(lines[at].tag, lines[at].suite, 3);
        world.order(Order::ApplyPhoneAnswer { sdp: description(protocol, &line) });
        world.shield = Some(phones(&line, &lines[at]));
        world.phone.speaking = true;
        world.user_voice.speaking = true;
        world.run(millis(1000));
        assert_talking(&world, (0, 0));
        // An empty re-INVITE is answered by an offer with the same keys.
        world.order(Order::AnswerPhoneReoffer { sdp: None });
        let again = reanswered(&world);
        assert!(again.contains(&format!(" {protocol} ")) && ours(&again) == lines, "{again}");
    }
}

#[test]
fn a_refresh_that_repeats_our_answer_is_answered_under_the_phones_own_tag() {
    let mut world = World::up(54);
    // Of our own lines, tag 1 is of another suite.
    let line = key(1, CryptoSuite::AesCm128HmacSha1_32, 7);
    let answer = reoffer(&mut world, &line);
    world.shield = Some(phones(&line, &answer));
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(1000));
    world.order(Order::ApplyPhoneReanswer { sdp: description("RTP/SAVP", &line) });
    assert!(!world.reports.iter().any(|(_, report)| matches!(report, Report::PhoneAnswerRefused(_))));
    let before = heard(&world);
    world.run(millis(1000));
    assert_talking(&world, before);
}

#[test]
fn a_line_that_was_not_offered_is_no_answer() {
    let mut world = World::up(51);
    let wrong = key(1, CryptoSuite::AeadAes128Gcm, 3);
    world.order(Order::ApplyPhoneAnswer { sdp: description("RTP/SAVP", &wrong) });
    let refused = Report::PhoneAnswerRefused(AudioRefusal::NoCrypto);
    assert!(world.reports.iter().any(|(_, report)| *report == refused), "tag 1 is of another suite");
}

#[test]
fn s6_a_phone_that_must_encrypt_cannot_go_back_to_plain_rtp_and_plain_packets_are_nobodys() {
    let (mut world, line, _) = encrypted(52, CryptoSuite::AesCm128HmacSha1_32);
    let required = ProtectionRule { clear: Leave::Refused, ..ProtectionRule::ANY };
    world.order(Order::SetPhoneRule(required));
    let (_, offer) = world.offers.iter().find(|(way, _)| *way == Protection::Sdes).unwrap().clone();
    let taken = ours(&offer).into_iter().find(|it| it.suite == line.suite).unwrap();
    let line = Crypto { tag: taken.tag, ..line };
    world.order(Order::ApplyPhoneAnswer { sdp: description("RTP/SAVP", &line) });
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("sendrecv", 20)) });
    let refused = Report::PhoneReofferRefused(AudioRefusal::Unencrypted);
    assert!(world.reports.iter().any(|(_, report)| *report == refused));
    let before = heard(&world);
    world.run(millis(1000));
    assert_talking(&world, before);
    // A plain packet from the phone's own address.
    let refused = world.bridge.summary().to_meta.refused;
    let mut plain = world.phone.header.to_bytes().to_vec();
    plain.extend([0xFF; 160]);
    world.post(BridgePort::Rtp, PHONE.parse().unwrap(), &plain, Path::default());
    world.run(millis(20));
    assert_eq!(world.bridge.summary().to_meta.refused, refused + 1);
}

#[test]
fn another_phone_gets_keys_of_its_own() {
    let (mut world, ..) = encrypted(53, CryptoSuite::AesCm128HmacSha1_80);
    world.order(Order::OfferToNext);
    let offers = world.reports.iter().rev().find_map(|(_, report)| match report {
        Report::NextOffered { offers, .. } => Some(offers.clone()),
        _ => None,
    });
    let of = |offers: &[(Protection, String)]| {
        let (_, sdp) = offers.iter().find(|(way, _)| *way == Protection::Sdes).unwrap();
        ours(sdp)
    };
    let (first, next) = (of(&world.offers), of(&offers.unwrap()));
    assert!(first.iter().zip(&next).all(|(one, other)| one.suite == other.suite && one.key != other.key));
}
