//! The matrix: what can happen to the SIP side of a call, by every pair of codecs, and what WhatsApp sees of it.
//!
//! A phone and a trunk are the same here: a session description and packets. In every cell the user's side has one
//! source, sequence +1, time stamps that follow elapsed time within a frame, and no gap over 60 ms.

use super::succession_stories::{change_phone, others};
use super::world::*;
use super::*;
use crate::codec::{AudioCodec, level_dbov};
use crate::rtp::Ssrc;

/// A way of a call to another phone or trunk.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// REFER: it is rung with our offer.
    Blind,
    /// REFER with Replaces: it was on the line with somebody else, and answers our re-INVITE.
    Attended,
    /// The same while it still rang: the user hears ringing, and the one that asked has gone.
    SemiAttended,
    /// INVITE with Replaces: it makes the offer.
    TakeOver,
}

/// How a phone holds: the direction it offers, and a connection address of its own.
const HOLDS: [(&str, &str); 3] = [("sendonly", ""), ("inactive", ""), ("sendrecv", "0.0.0.0")];

fn talking(seed: u64, codec: AudioCodec) -> World {
    let mut world = World::up_with(seed, codec, 20);
    (world.phone.speaking, world.user_voice.speaking) = (true, true);
    world.run(millis(600));
    world
}

#[track_caller]
fn assert_cell(world: &World, what: &dyn std::fmt::Debug) {
    assert_unbroken(&world.user_heard, millis(40), millis(60));
    let sources: std::collections::BTreeSet<u32> =
        world.user_heard.iter().map(|it| it.header.ssrc.0).collect();
    assert_eq!(sources.len(), 1, "{what:?}");
    // A frame of the 48 kHz clock.
    let (first, last) = (&world.user_heard[0], &world.user_heard[world.user_heard.len() - 1]);
    let ticks = i64::from(last.header.timestamp.since(first.header.timestamp));
    let elapsed = i64::try_from((last.at - first.at).as_micros()).unwrap() * 48 / 1000;
    assert!((ticks - elapsed).abs() <= 960 + 48, "{what:?}: {ticks} ticks in {elapsed}");
}

/// Both hear each other from here on.
#[track_caller]
fn assert_talk(world: &mut World, what: &dyn std::fmt::Debug) {
    let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
    world.run(millis(800));
    assert!(level_dbov(&decode_opus(&world.user_heard[user + 10..])) > -30.0, "{what:?}: the user hears");
    assert!(world.phone_heard.len() > phone + 30, "{what:?}: the phone hears");
}

fn hold_and_resume(world: &mut World, codec: AudioCodec, sdp: &dyn Fn(AudioCodec, &str) -> String) {
    for (direction, address) in HOLDS {
        let what = (codec, direction, address);
        let mut held = sdp(codec, direction);
        if !address.is_empty() {
            held = held
                .lines()
                .map(|line| {
                    if line.starts_with("c=") {
                        format!("c=IN IP4 {address}\r\n")
                    } else {
                        format!("{line}\r\n")
                    }
                })
                .collect();
        }
        world.order(Order::AnswerPhoneReoffer { sdp: Some(held) });
        world.phone.speaking = false;
        world.run(millis(400));
        let before = world.phone_heard.len();
        world.run(millis(400));
        assert_eq!(world.phone_heard.len(), before, "{what:?}: who holds hears nothing");
        world.order(Order::AnswerPhoneReoffer { sdp: Some(sdp(codec, "sendrecv")) });
        world.phone.speaking = true;
        assert_talk(world, &what);
        assert_cell(world, &what);
    }
}

fn go(world: &mut World, way: Way, codec: AudioCodec) {
    let sdp = others(codec, "sendrecv");
    match way {
        Way::Blind | Way::Attended | Way::SemiAttended => {
            if let Way::Attended = way {
                // Who asks has the user on hold meanwhile.
                world.order(Order::AnswerPhoneReoffer { sdp: Some(codec_sdp(world.codec, "sendonly", 20)) });
                world.phone.speaking = false;
                world.run(millis(300));
            }
            if let Way::SemiAttended = way {
                world.phone.speaking = false;
                world.run(millis(2000));
            }
            world.order(Order::OfferToNext);
            world.run(millis(100));
            world.order(Order::TakeNext { sdp });
        }
        Way::TakeOver => world.order(Order::AnswerNext { offer: sdp }),
    }
    change_phone(world, codec);
    world.phone.speaking = true;
}

#[test]
fn invariant_6_hold_and_resume_in_every_way_and_codec_leave_the_users_line_whole() {
    for (at, codec) in AudioCodec::ALL.into_iter().enumerate() {
        let mut world = talking(500 + at as u64, codec);
        hold_and_resume(&mut world, codec, &|codec, direction| codec_sdp(codec, direction, 20));
    }
}

#[test]
fn invariant_6_every_transfer_between_every_pair_of_codecs_leaves_the_users_line_whole() {
    for (at, before) in AudioCodec::ALL.into_iter().enumerate() {
        for (to, after) in AudioCodec::ALL.into_iter().enumerate() {
            for way in [Way::Blind, Way::Attended, Way::SemiAttended, Way::TakeOver] {
                let what = (before, way, after);
                let mut world = talking(600 + 10 * at as u64 + to as u64, before);
                go(&mut world, way, after);
                assert_talk(&mut world, &what);
                assert_cell(&world, &what);
            }
        }
    }
}

#[test]
fn invariant_6_who_got_the_call_holds_it_and_hands_it_on_and_the_line_is_still_one() {
    for (at, codec) in AudioCodec::ALL.into_iter().enumerate() {
        let mut world = talking(700 + at as u64, AudioCodec::Pcmu);
        go(&mut world, Way::Attended, codec);
        assert_talk(&mut world, &codec);
        hold_and_resume(&mut world, codec, &others);
        // And back to the first phone, with another codec than it had.
        world.order(Order::OfferToNext);
        world.order(Order::TakeNext { sdp: codec_sdp(AudioCodec::Pcma, "sendrecv", 20) });
        world.phone_address = PHONE.parse().expect("an address");
        world.phone.header.ssrc = Ssrc(57);
        world.change_voice(AudioCodec::Pcma);
        assert_talk(&mut world, &codec);
        assert_cell(&world, &codec);
    }
}
