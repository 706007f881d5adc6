//! A phone that falls silent: who is told of it, and when (faults F4 and F5).

use std::time::Duration;

use super::world::{PHONE, Path, World, millis, phone_sdp};
use super::*;
use crate::rtp::{Ssrc, write_report};

fn told(world: &World) -> usize {
    world.reports.iter().filter(|(_, it)| *it == Report::PhoneFellSilent).count()
}

/// The user talks all the time, the phone for a second.
fn fallen_silent(seed: u64) -> World {
    let mut world = World::up(seed);
    world.user_voice.speaking = true;
    world.phone.speaking = true;
    world.run(millis(1000));
    world.phone.speaking = false;
    world
}

#[test]
fn f4_a_phone_that_was_heard_and_falls_silent_is_told_of_after_fifteen_seconds_again_and_again() {
    let mut world = fallen_silent(41);
    world.run(millis(14_900));
    assert_eq!(told(&world), 0);
    world.run(millis(200));
    assert_eq!(told(&world), 1, "though the user still talks");
    world.run(millis(15_000));
    assert_eq!(told(&world), 2);
    world.phone.speaking = true;
    world.run(millis(20_000));
    assert_eq!(told(&world), 2, "it talks again");
}

#[test]
fn a_phone_that_nobody_has_heard_yet_and_one_that_holds_the_call_may_be_silent() {
    let mut world = World::up(42);
    world.user_voice.speaking = true;
    world.run(Duration::from_secs(40));
    assert_eq!(told(&world), 0);
    let mut world = fallen_silent(43);
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("inactive", 20)) });
    world.run(Duration::from_secs(40));
    assert_eq!(told(&world), 0);
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("sendrecv", 20)) });
    world.run(millis(14_900));
    assert_eq!(told(&world), 0, "it has just spoken in signalling");
    world.run(millis(200));
    assert_eq!(told(&world), 1);
}

#[test]
fn a_muted_phone_that_goes_on_reporting_is_not_silent() {
    let mut world = fallen_silent(44);
    let report = write_report(Ssrc(5), None, None, "phone");
    let mut from: std::net::SocketAddr = PHONE.parse().unwrap();
    from.set_port(from.port() + 1);
    for _ in 0..8 {
        world.run(Duration::from_secs(5));
        world.post(BridgePort::Rtcp, from, &report, Path::default());
    }
    assert_eq!(told(&world), 0);
}
