//! Stories of a phone behind a NAT that maps each port as it likes.

use std::net::SocketAddr;
use std::time::Duration;

use super::world::*;
use super::*;
use crate::sdp::protection::ProtectionRule;

const SOUND: &str = "198.51.100.20:61234";
const REPORTS: &str = "198.51.100.20:30117";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A receiver report without a word in it (RFC 3550 §6.4.2).
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 55];

#[test]
fn rule_14_reports_go_where_the_phones_own_come_from_though_the_nat_maps_them_elsewhere_than_beside_its_sound()
 {
    let mut world = World::up(70);
    world.phone_address = at(SOUND);
    world.phone.speaking = true;
    world.run(millis(40));
    world.user_voice.speaking = true;
    world.run(Duration::from_secs(10));
    assert_eq!(world.phone_rtcp_to, Some(at("198.51.100.20:61235")), "nobody knows better yet");
    world.post(BridgePort::Rtcp, at(REPORTS), &REPORT, Path::default());
    world.run(Duration::from_secs(10));
    assert_eq!(world.phone_rtcp_to, Some(at(REPORTS)));
    // Another host's reports move nothing.
    world.post(BridgePort::Rtcp, at("203.0.113.9:9"), &REPORT, Path::default());
    world.run(Duration::from_secs(10));
    assert_eq!(world.phone_rtcp_to, Some(at(REPORTS)));
    // The NAT maps anew: the next report tells.
    world.post(BridgePort::Rtcp, at("198.51.100.20:40000"), &REPORT, Path::default());
    world.run(Duration::from_secs(10));
    assert_eq!(world.phone_rtcp_to, Some(at("198.51.100.20:40000")));
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

#[test]
fn rule_14_who_floods_the_port_before_the_phone_has_spoken_hears_nothing_and_is_not_heard() {
    let mut world = World::up(71);
    let home = Some(at(PHONE).ip());
    world.order(Order::SetPhoneRule(ProtectionRule { home, ..ProtectionRule::ANY }));
    world.order(Order::ApplyPhoneAnswer { sdp: phone_sdp("sendrecv", 20) });
    world.user_voice.speaking = true;
    let mut packet = world.phone.header.to_bytes().to_vec();
    packet.extend([0x55; 160]);
    for _ in 0..20 {
        // World asserts that everything for the phone goes to the phone.
        world.post(BridgePort::Rtp, at("203.0.113.66:9999"), &packet, Path::default());
        world.run(Duration::from_millis(20));
    }
    assert!(world.phone_heard.len() > 15, "it is sent where its description says");
    assert_eq!(world.bridge.summary().to_meta.refused, 20);
    world.phone.speaking = true;
    for _ in 0..100 {
        world.post(BridgePort::Rtp, at("203.0.113.66:9999"), &packet, Path::default());
        world.run(Duration::from_millis(20));
    }
    assert_eq!(world.bridge.summary().to_meta.refused, 120);
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}
