//! Two of our legs against each other: both full ICE and both controlling at first, so that every story
//! also settles a role conflict.

mod foreign;
mod garbage;
mod network;

use std::time::Duration;

use self::network::*;
use super::*;

const ONE: &str = "192.0.2.1:40000";
const TWO: &str = "192.0.2.2:40002";
const UP: [LegEvent; 2] = [LegEvent::IceConnected, LegEvent::DtlsUp];

/// `one` offers and so becomes the DTLS server, `two` answers and is the client.
fn introduced(network: &Network, edit: impl Fn(String) -> String) -> (LegHost, LegHost) {
    let (mut one, mut two) = (LegHost::new(ONE, 1), LegHost::new(TWO, 2));
    let answer = two.leg.answer(network.now, &edit(one.leg.offer())).unwrap();
    one.leg.apply_answer(network.now, &edit(answer)).unwrap();
    (one, two)
}

fn allow(network: &Network, one: &mut LegHost, two: &mut LegHost) {
    one.leg.start_dtls(network.now);
    two.leg.start_dtls(network.now);
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn two_legs_meet_and_talk_both_ways() {
    let mut network = Network::new(1);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(1000));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..]));
    assert_eq!(one.leg.remote_address(), Some(two.address));
    assert!(one.speak(&mut network, 1) && two.speak(&mut network, 2));
    let (to, sealed) = one.leg.protect_rtcp(&report(9)).unwrap();
    let bytes = sealed.to_vec();
    network.post(Packet { from: one.address, to, bytes });
    network.run(&mut one, &mut two, millis(100));
    assert_eq!(one.media, [speech(9, 2)]);
    assert_eq!(two.media, [speech(9, 1), report(9)]);
}

fn is_dtls(packet: &Packet) -> bool {
    Protocol::of(&packet.bytes) == Protocol::Dtls
}

fn is_stun(packet: &Packet) -> bool {
    Protocol::of(&packet.bytes) == Protocol::Stun
}

#[test]
fn dtls_waits_for_ice_and_for_permission_and_rtp_waits_for_dtls() {
    let mut network = Network::new(2);
    network.rule = Box::new(|_, packet| {
        assert!(is_stun(packet), "nothing but STUN before start_dtls");
        true
    });
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    assert!(!one.speak(&mut network, 1));
    network.run(&mut one, &mut two, millis(3000));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..1], &UP[..1]));
    assert!(!one.speak(&mut network, 1), "connected but without keys");
    assert!(one.leg.protect_rtcp(&report(1)).is_none());

    network.rule = Box::new(|_, _| true);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(200));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..]));
}

#[test]
fn permission_before_ice_starts_dtls_as_soon_as_a_pair_is_nominated() {
    let mut network = Network::new(3);
    network.rule = Box::new(|_, packet| is_stun(packet));
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(0));
    assert!(two.events.is_empty());
    network.run(&mut one, &mut two, millis(2000));
    assert_eq!(two.events, UP[..1]);
    assert!(two.leg.dtls.is_some());
}

#[test]
fn a_client_that_does_not_wait_is_answered_without_its_retransmission() {
    let mut network = Network::new(4);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    network.run(&mut one, &mut two, millis(1000));
    two.leg.start_dtls(network.now);
    network.run(&mut one, &mut two, millis(100));
    network.rule = Box::new(|_, packet| !(packet.bytes[0] == 22 && packet.bytes[13] == 1));
    one.leg.start_dtls(network.now);
    network.run(&mut one, &mut two, millis(100));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..]));
}

#[test]
fn a_lost_client_hello_costs_a_fifth_of_a_second() {
    let mut network = Network::new(5);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    network.run(&mut one, &mut two, millis(1000));
    let mut lost = false;
    network.rule = Box::new(move |_, packet| !is_dtls(packet) || std::mem::replace(&mut lost, true));
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(150));
    assert_eq!(two.events, UP[..1]);
    network.run(&mut one, &mut two, millis(250));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..]));
}

#[test]
fn the_servers_last_flight_is_repeated_when_it_was_lost() {
    let mut network = Network::new(6);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    network.run(&mut one, &mut two, millis(1000));
    let (mut lost, server) = (false, one.address);
    // The server's last flight is the first of its datagrams that begins with ChangeCipherSpec (20).
    network.rule = Box::new(move |_, packet| {
        let last = packet.from == server && packet.bytes[0] == 20;
        !last || std::mem::replace(&mut lost, true)
    });
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(150));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..1]));
    network.run(&mut one, &mut two, millis(400));
    assert_eq!(two.events, UP);
}

#[test]
fn a_network_that_loses_every_fifth_packet_only_delays() {
    let mut slow = 0;
    for seed in 0..40 {
        let mut network = Network::new(seed);
        network.loss_percent = 20;
        let (mut one, mut two) = introduced(&network, |sdp| sdp);
        allow(&network, &mut one, &mut two);
        network.run(&mut one, &mut two, Duration::from_secs(12));
        // The library draws its own randomness, so a seed does not fix what is lost: one handshake in a
        // thousand needs its seventh try, after more than 12 s.
        slow += usize::from((one.events.as_slice(), two.events.as_slice()) != (&UP[..], &UP[..]));
        assert!(UP.starts_with(&one.events) && UP.starts_with(&two.events), "seed {seed}: nothing fails");
    }
    assert!(slow <= 2, "{slow} of 40 took more than 12 s");
}

#[test]
fn s8_another_certificate_than_the_announced_one_gives_no_keys() {
    let mut network = Network::new(7);
    let swap = |sdp: String| {
        let at = sdp.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
        let wrong = if &sdp[at..at + 2] == "00" { "01" } else { "00" };
        format!("{}{wrong}{}", &sdp[..at], &sdp[at + 2..])
    };
    let (mut one, mut two) = introduced(&network, swap);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, Duration::from_secs(5));
    let failed = LegEvent::DtlsFailed(DtlsFailure::FingerprintMismatch);
    assert_eq!(two.events, [LegEvent::IceConnected, failed]);
    assert!(!one.events.contains(&LegEvent::DtlsUp));
    assert!(!two.speak(&mut network, 1) && !one.speak(&mut network, 1));
}

#[test]
fn checks_under_a_wrong_password_change_nothing_and_ice_fails_after_20_s() {
    let mut network = Network::new(8);
    network.rule = Box::new(|_, packet| {
        assert!(is_stun(packet));
        // A success response would mean that somebody believed a check.
        assert!(packet.bytes[0] == 0, "{:?}", &packet.bytes[..2]);
        true
    });
    let spoil = |sdp: String| sdp.replace("a=ice-pwd:", "a=ice-pwd:x");
    let (mut one, mut two) = introduced(&network, spoil);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(19_999));
    assert!(one.events.is_empty() && two.events.is_empty());
    network.run(&mut one, &mut two, millis(1));
    assert_eq!(
        (one.events.as_slice(), two.events.as_slice()),
        (&[LegEvent::IceFailed][..], &[LegEvent::IceFailed][..])
    );
    assert_eq!(one.leg.poll_timeout(), None, "it is over");
}

#[test]
fn s8_consent_holds_while_checks_are_answered_and_is_lost_30_s_after_the_last_answer() {
    let mut network = Network::new(9);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, Duration::from_secs(600));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..]));

    let cut = network.now;
    network.rule = Box::new(|_, _| false);
    network.run(&mut one, &mut two, millis(24_900));
    assert!(one.speak(&mut network, 1), "up to 5 s may lie between the last answer and the cut");
    network.run(&mut one, &mut two, millis(5_200));
    assert_eq!(one.events[2..], [LegEvent::ConsentLost]);
    assert!(network.now - cut < Duration::from_secs(31));
    assert!(!one.speak(&mut network, 2) && one.leg.protect_rtcp(&report(1)).is_none());
    network.run(&mut one, &mut two, millis(60_000));
    assert_eq!((one.events.len(), two.events.len()), (3, 3), "said once");
    assert_eq!(one.leg.poll_transmit(), None);
}

#[test]
fn s8_nothing_from_a_foreign_address_is_taken_for_media() {
    let mut network = Network::new(10);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(1000));
    let sealed = two.leg.protect_rtp(&speech(9, 1)).unwrap().1.to_vec();
    let foreign = "203.0.113.66:40002".parse().unwrap();
    assert_eq!(one.leg.handle_datagram(network.now, foreign, &sealed), Received::Nothing);
    assert_eq!(
        one.leg.handle_datagram(network.now, two.address, &speech(9, 1)),
        Received::Nothing,
        "in the clear"
    );
    assert_eq!(one.leg.handle_datagram(network.now, two.address, &sealed), Received::Rtp(&speech(9, 1)));
    assert_eq!(one.leg.handle_datagram(network.now, two.address, &sealed), Received::Nothing, "replayed");
}

#[test]
fn a_peer_behind_an_unknown_address_is_found_by_its_checks() {
    let mut network = Network::new(11);
    let (mut one, mut two) = (LegHost::new(ONE, 1), LegHost::new(TWO, 2));
    let hide = |sdp: String| {
        sdp.lines().filter(|l| !l.starts_with("a=candidate")).fold(String::new(), |s, l| s + l + "\r\n")
    };
    let answer = two.leg.answer(network.now, &one.leg.offer()).unwrap();
    one.leg.apply_answer(network.now, &hide(answer)).unwrap();
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(2000));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..]));
    assert_eq!(one.leg.remote_address(), Some(two.address));
}

#[test]
fn a_leg_behind_address_translation_is_reached() {
    let mut network = Network::new(12);
    let (outside, inside): (SocketAddr, SocketAddr) =
        ("198.51.100.7:6000".parse().unwrap(), TWO.parse().unwrap());
    network.rule = Box::new(move |_, packet| {
        if packet.from == inside {
            packet.from = outside;
        }
        if packet.to == outside {
            packet.to = inside;
            return true;
        }
        packet.to != inside
    });
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(3000));
    assert_eq!((one.events.as_slice(), two.events.as_slice()), (&UP[..], &UP[..]));
    assert_eq!(one.leg.remote_address(), Some(outside));
}

#[test]
fn candidates_of_the_other_family_cost_no_packet_and_no_time() {
    let mut took = Vec::new();
    for extra in ["", "a=candidate:9 1 udp 2147483647 2001:db8::66 3480 typ host\r\na=setup:"] {
        let mut network = Network::new(13);
        network.rule = Box::new(|_, packet| {
            assert!(packet.to.is_ipv4());
            true
        });
        let add = |sdp: String| if extra.is_empty() { sdp } else { sdp.replace("a=setup:", extra) };
        let (mut one, mut two) = introduced(&network, add);
        allow(&network, &mut one, &mut two);
        let began = network.now;
        while two.events != UP {
            network.run(&mut one, &mut two, millis(1));
        }
        took.push(network.now - began);
    }
    assert_eq!(took[0], took[1]);
}

#[test]
fn the_pair_does_not_move_during_a_call() {
    let mut network = Network::new(14);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(1000));
    let before = (one.leg.remote_address(), two.leg.remote_address());
    // The same peer's checks begin to come from somewhere else as well.
    let (elsewhere, inside): (SocketAddr, SocketAddr) =
        ("198.51.100.9:7000".parse().unwrap(), TWO.parse().unwrap());
    network.rule = Box::new(move |_, packet| {
        if is_stun(packet) && packet.from == inside {
            packet.from = elsewhere;
        } else if packet.to == elsewhere {
            assert!(packet.bytes[0] != 0, "the controlling side does not even check the new pair");
            packet.to = inside;
        }
        true
    });
    network.run(&mut one, &mut two, millis(20_000));
    assert_eq!((one.leg.remote_address(), two.leg.remote_address()), before);
}

#[test]
fn a_repeated_description_disturbs_nothing() {
    let mut network = Network::new(15);
    let (mut one, mut two) = (LegHost::new(ONE, 1), LegHost::new(TWO, 2));
    let offer = one.leg.offer();
    assert_eq!(offer, one.leg.offer());
    let answer = two.leg.answer(network.now, &offer).unwrap();
    assert_eq!(answer, two.leg.answer(network.now, &offer).unwrap(), "the same for pre_accept and accept");
    one.leg.apply_answer(network.now, &answer).unwrap();
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(1000));
    one.leg.apply_answer(network.now, &answer).unwrap();
    two.leg.answer(network.now, &offer).unwrap();
    assert_eq!(two.leg.answer(network.now, "v=0"), Err(WebRtcRefusal::NoAudio));
    network.run(&mut one, &mut two, millis(1000));
    assert!(one.speak(&mut network, 1));
    network.run(&mut one, &mut two, millis(100));
    assert_eq!((one.events.as_slice(), two.media.len()), (&UP[..], 1));
}

#[test]
fn a_socket_bound_to_every_address_works_under_its_advertised_one() {
    let mut network = Network::new(16);
    let settings = WebRtcSettings {
        local: "0.0.0.0:40000".parse().unwrap(),
        candidates: vec!["[2001:db8::1]:40000".parse().unwrap(), ONE.parse().unwrap()],
        identity: identity(1),
        ssrc: Ssrc(1),
        cname: "c".to_owned(),
        fingerprint_case: FingerprintCase::Lower,
    };
    let leg = WebRtcLeg::new(settings, Random::from_number(1));
    let mut one = LegHost { leg, address: ONE.parse().unwrap(), events: Vec::new(), media: Vec::new() };
    let mut two = LegHost::new(TWO, 2);
    let answer = two.leg.answer(network.now, &one.leg.offer()).unwrap();
    one.leg.apply_answer(network.now, &answer).unwrap();
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(1000));
    assert_eq!(one.events, UP);
}

#[test]
fn a_replayed_check_from_ever_new_addresses_is_remembered_64_times_only() {
    let mut network = Network::new(17);
    let check = std::rc::Rc::new(std::cell::RefCell::new(None));
    let copy = std::rc::Rc::clone(&check);
    network.rule = Box::new(move |_, packet| {
        if packet.to == ONE.parse::<SocketAddr>().unwrap() && packet.bytes[0] == 0 {
            copy.borrow_mut().get_or_insert_with(|| packet.clone());
        }
        true
    });
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(1000));
    let check = check.take().unwrap();
    let answered = |one: &mut LegHost, port: u16| {
        let from = SocketAddr::new("203.0.113.66".parse().unwrap(), port);
        one.take(network.now, &Packet { from, ..check.clone() });
        std::iter::from_fn(|| one.leg.poll_transmit()).filter(|(to, _)| *to == from).count()
    };
    assert_eq!((1..=60).filter(|&port| answered(&mut one, port) > 0).count(), 60);
    assert_eq!((100..=999).filter(|&port| answered(&mut one, port) > 0).count(), 3, "and two itself is one");
    assert_eq!(one.leg.remote_address(), Some(two.address));
}

#[test]
fn a_leg_prints_no_key_and_no_password() {
    let mut network = Network::new(18);
    let (mut one, mut two) = introduced(&network, |sdp| sdp);
    allow(&network, &mut one, &mut two);
    network.run(&mut one, &mut two, millis(1000));
    let printed = format!("{:?} {:?}", one.leg, one.leg.ice);
    assert!(
        one.leg.profile().is_some() && !printed.contains(&one.leg.description.transport.pwd),
        "{printed}"
    );
}
