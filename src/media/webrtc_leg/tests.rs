//! Two of our legs against each other: both full ICE and both controlling at first, so that every story
//! also settles a role conflict.

use std::time::Duration;

use super::network::*;
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
