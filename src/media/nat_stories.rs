//! Stories of a phone behind a NAT that maps each port as it likes.

use std::net::SocketAddr;
use std::time::Duration;

use super::world::*;
use super::*;

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
