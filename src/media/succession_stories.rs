//! Stories of a call that goes from one phone to another: the user hears one line throughout.

use std::net::SocketAddr;
use std::time::Duration;

use super::world::*;
use super::*;
use crate::codec::{AudioCodec, level_dbov};
use crate::media::tone::Tone;
use crate::rtp::Ssrc;

pub(super) const OTHER: &str = "10.0.0.8:5000";

/// The other phone's description with one codec.
pub(super) fn others(codec: AudioCodec, direction: &str) -> String {
    codec_sdp(codec, direction, 20).replace("10.0.0.7", "10.0.0.8").replace("m=audio 4000", "m=audio 5000")
}

/// What the bridge offers the other phone.
fn offered(world: &World) -> String {
    let offer = world.reports.iter().rev().find_map(|(_, report)| match report {
        Report::NextOffered { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    offer.expect("an offer for the other phone")
}

/// From now on the other phone is the one that talks.
pub(super) fn change_phone(world: &mut World, codec: AudioCodec) {
    world.phone_address = OTHER.parse().expect("an address");
    world.phone.header.ssrc = Ssrc(56);
    world.phone.header.marker = true;
    world.change_voice(codec);
}

/// Both talked for a second; the other phone was offered the call.
fn about_to_change(seed: u64) -> World {
    let mut world = World::up(seed);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(1000));
    world.order(Order::OfferToNext);
    world
}

#[test]
fn invariant_6_another_phone_takes_over_and_the_user_hears_one_unbroken_line() {
    for (seed, codec) in
        [(31, AudioCodec::Pcmu), (32, AudioCodec::Pcma), (33, AudioCodec::G722), (34, AudioCodec::Opus)]
    {
        let mut world = about_to_change(seed);
        assert!(offered(&world).contains("a=sendrecv"));
        world.run(millis(500));
        world.order(Order::TakeNext { sdp: others(codec, "sendrecv") });
        change_phone(&mut world, codec);
        let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
        world.run(millis(2000));
        assert_unbroken(&world.user_heard, millis(40), millis(60));
        assert!(level_dbov(&decode_opus(&world.user_heard[user + 10..])) > -30.0, "{codec:?}");
        // World asserts that everything goes to the other phone; it goes on in the same stream.
        assert!(world.phone_heard.len() > phone + 90, "{codec:?}");
    }
}

#[test]
fn the_phone_that_talks_notices_nothing_of_an_offer_to_another_and_goes_on_when_that_fails() {
    let mut world = about_to_change(35);
    let described = offered(&world);
    world.run(millis(500));
    world.order(Order::DropNext);
    // Too late: it was given up.
    world.order(Order::TakeNext { sdp: others(AudioCodec::Pcmu, "sendrecv") });
    world.order(Order::OfferToNext);
    let session = |sdp: &str| sdp.lines().find_map(|line| line.strip_prefix("o=- ")).map(str::to_owned);
    assert_ne!(session(&described), session(&offered(&world)), "each attempt is a session of its own");
    world.order(Order::TakeNext { sdp: "v=0\r\n".to_owned() });
    assert!(world.reports.iter().any(|(_, report)| matches!(report, Report::NextRefused(_))));
    let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[user..])) > -30.0);
    assert!(world.phone_heard.len() > phone + 45);
    assert_unbroken(&world.user_heard, millis(20), millis(20));
}

#[test]
fn the_phone_that_was_left_is_not_heard_though_it_goes_on_and_the_new_one_may_be_behind_a_nat() {
    let mut world = about_to_change(36);
    world.order(Order::TakeNext { sdp: others(AudioCodec::Pcmu, "sendrecv") });
    let refused = world.bridge.summary().to_meta.refused;
    // It does not know yet, and its packets are the first to come.
    let left: SocketAddr = PHONE.parse().expect("an address");
    let mut packet = world.phone.header.to_bytes().to_vec();
    packet.extend([0x00; 160]);
    change_phone(&mut world, AudioCodec::Pcmu);
    world.phone.speaking = false;
    for _ in 0..10 {
        world.post(BridgePort::Rtp, left, &packet, Path::default());
        world.run(millis(20));
    }
    assert_eq!(world.bridge.summary().to_meta.refused, refused + 10);
    // The address it told is not the one its packets come from.
    world.phone_address = "198.51.100.20:61234".parse().expect("an address");
    world.phone.speaking = true;
    world.user_voice.speaking = false;
    world.run(millis(40));
    world.user_voice.speaking = true;
    let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[user..])) > -30.0);
    assert!(world.phone_heard.len() > phone + 45);
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

#[test]
fn a_phone_that_takes_over_by_its_own_offer_is_answered_and_talks_at_once() {
    let mut world = about_to_change(37);
    world.order(Order::AnswerNext { offer: others(AudioCodec::G722, "sendrecv") });
    let answer = world.reports.iter().find_map(|(_, report)| match report {
        Report::NextAnswered { sdp } => Some(sdp.clone()),
        _ => None,
    });
    assert!(answer.is_some_and(|sdp| sdp.contains("G722/8000")));
    change_phone(&mut world, AudioCodec::G722);
    let user = world.user_heard.len();
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[user + 10..])) > -30.0);
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

#[test]
fn between_a_phone_that_left_and_one_that_comes_late_the_user_hears_a_line_that_is_alive() {
    let mut world = about_to_change(38);
    world.phone.speaking = false;
    world.run(Duration::from_secs(20));
    assert_eq!(world.told(&Report::Stalled), None);
    world.order(Order::TakeNext { sdp: others(AudioCodec::Pcma, "sendrecv") });
    change_phone(&mut world, AudioCodec::Pcma);
    world.phone.speaking = true;
    let user = world.user_heard.len();
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[user + 10..])) > -30.0);
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

#[test]
fn invariant_6_a_parked_user_hears_one_unbroken_line_and_is_fetched_into_it_after_minutes_of_silence() {
    let mut world = about_to_change(39);
    let hold = Clip::of(&Tone::read("500/200").expect("a tone"));
    world.order(Order::LeavePhone);
    world.order(Order::Play { towards: Side::Meta, clip: hold, repeat: Repeat::Forever });
    world.user_voice.speaking = false;
    let refused = world.bridge.summary().to_meta.refused;
    world.run(millis(200));
    let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
    // The phone does not know yet, and the user is muted for longer than a dead call lives.
    world.run(Duration::from_secs(70));
    assert_eq!((world.told(&Report::Stalled), world.phone_heard.len()), (None, phone));
    assert!(world.bridge.summary().to_meta.refused > refused + 3000, "what it still sends is nobody's");
    assert!(level_dbov(&decode_opus(&world.user_heard[user..])) > -25.0, "hold audio");
    world.order(Order::PrepareNext { offer: others(AudioCodec::Pcma, "sendrecv") });
    world.run(millis(100));
    world.order(Order::SwitchToNext);
    world.order(Order::StopPlaying { towards: Side::Meta });
    change_phone(&mut world, AudioCodec::Pcma);
    world.user_voice.speaking = true;
    let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
    world.run(millis(2000));
    assert!(level_dbov(&decode_opus(&world.user_heard[user + 10..])) > -30.0);
    assert!(world.phone_heard.len() > phone + 90);
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

#[test]
fn a_phone_that_was_prepared_and_does_not_come_changes_nothing() {
    let mut world = about_to_change(40);
    world.order(Order::PrepareNext { offer: "v=0\r\n".to_owned() });
    assert!(world.reports.iter().any(|(_, report)| matches!(report, Report::NextRefused(_))));
    world.order(Order::SwitchToNext);
    world.order(Order::PrepareNext { offer: others(AudioCodec::G722, "sendrecv") });
    world.order(Order::DropNext);
    world.order(Order::SwitchToNext);
    let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[user..])) > -30.0);
    assert!(world.phone_heard.len() > phone + 45);
}
