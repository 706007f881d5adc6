//! Stories of the media of a call that is up: hold, mute, keys, strangers, silence.

use std::net::SocketAddr;
use std::time::Duration;

use cordboard::call::HangupCause;
use cordboard::id::WaCallId;
use cordboard::media::Report;
use cordboard::rtp::{PayloadType, RtpHeader, RtpTime, SeqNo, Ssrc};

use crate::world::gateway::label;
use crate::world::network::Path;
use crate::world::phone::{Manner, State};
use crate::world::voice::{KEYS_TO_META, KEYS_TO_PHONE, assert_unbroken, g711_level, keys, opus_level};
use crate::world::{USER, World, ms};

/// A user's call that the phone has answered; both speak.
fn talking(seed: u64) -> (World, WaCallId) {
    let mut world = World::new(seed, 1);
    world.phones[0].manner = Manner::Answer { after: ms(800) };
    world.phones[0].voice.speaking = true;
    let id = world.meta.user_calls(world.now, USER);
    let up = world.run_until(Duration::from_secs(10), |it| it.meta.call(&id).heard.len() > 25);
    assert!(up);
    world.meta.call_mut(&id).voice.speaking = true;
    world.run(Duration::from_secs(1));
    (world, id)
}

#[test]
fn rule_11_hold_and_resume_by_reinvite_leave_metas_line_unbroken() {
    let (mut world, id) = talking(1);
    for (hold, answer) in [("sendonly", "recvonly"), ("inactive", "inactive")] {
        world.phones[0].reinvite(world.now.mono, hold);
        world.phones[0].voice.speaking = false;
        world.run(Duration::from_secs(3));
        assert_eq!(world.phones[0].line().status, 200);
        assert_eq!(world.phones[0].line().answered_direction, answer);
        let heard = world.phones[0].heard.len();
        world.run(Duration::from_secs(2));
        assert_eq!(world.phones[0].heard.len(), heard, "nothing is sent to a phone that holds");
        world.phones[0].reinvite(world.now.mono, "sendrecv");
        world.phones[0].voice.speaking = true;
        world.run(Duration::from_secs(2));
        assert_eq!(world.phones[0].line().answered_direction, "sendrecv");
        assert!(world.phones[0].heard.len() > heard + 50, "the user is heard again");
    }
    let call = world.meta.call(&id);
    assert_unbroken(&call.heard);
    assert!(opus_level(&call.heard[call.heard.len() - 50..]) > -30.0);
    let actions: Vec<&str> = call.actions.iter().map(|(_, name)| *name).collect();
    assert_eq!(actions, ["pre_accept", "accept"], "Meta is never told of a hold");
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
}

#[test]
fn rule_16_a_phone_that_holds_for_minutes_in_silence_keeps_its_call() {
    let (mut world, id) = talking(2);
    world.phones[0].reinvite(world.now.mono, "inactive");
    world.phones[0].voice.speaking = false;
    world.meta.call_mut(&id).voice.speaking = false;
    world.run(Duration::from_secs(180));
    assert_eq!(world.phones[0].state(), Some(State::Up));
    assert_unbroken(&world.meta.call(&id).heard);
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
}

#[test]
fn rule_16_music_of_the_pbx_on_hold_reaches_the_user() {
    let (mut world, id) = talking(3);
    world.phones[0].reinvite(world.now.mono, "sendonly");
    world.run(Duration::from_secs(1));
    let heard = world.meta.call(&id).heard.len();
    world.run(Duration::from_secs(2));
    assert!(opus_level(&world.meta.call(&id).heard[heard..]) > -30.0);
    assert_unbroken(&world.meta.call(&id).heard);
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
}

#[test]
fn rule_14_a_phone_that_is_muted_for_a_minute_keeps_its_call_and_is_heard_again() {
    let (mut world, id) = talking(4);
    world.phones[0].voice.speaking = false;
    world.run(Duration::from_secs(60));
    world.phones[0].voice.speaking = true;
    let heard = world.meta.call(&id).heard.len();
    world.run(Duration::from_secs(2));
    let call = world.meta.call(&id);
    assert_unbroken(&call.heard);
    assert!(opus_level(&call.heard[heard..]) > -30.0);
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
}

#[test]
fn rule_14_media_follows_the_nats_port_and_a_stranger_cannot_take_it() {
    let mut world = World::new(5, 1);
    world.phones[0].manner = Manner::Answer { after: ms(500) };
    world.phones[0].voice.speaking = true;
    let nat: SocketAddr = "10.0.0.7:62001".parse().unwrap();
    world.phones[0].media_source = Some(nat);
    let id = world.meta.user_calls(world.now, USER);
    world.run(Duration::from_secs(2));
    world.meta.call_mut(&id).voice.speaking = true;
    world.run(Duration::from_secs(2));
    let (phone, user) = (world.phones[0].heard.len(), world.meta.call(&id).heard.len());
    assert!(phone > 50 && opus_level(&world.meta.call(&id).heard) > -30.0);
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType(0),
        seq: SeqNo(1),
        timestamp: RtpTime(0),
        ssrc: Ssrc(666),
    };
    for _ in 0..50 {
        let packet = [header.to_bytes().as_slice(), &[0x80; 160]].concat();
        world.phones[0].forge("203.0.113.66:9000".parse().unwrap(), packet);
        world.run(ms(20));
    }
    assert!(world.phones[0].heard.len() >= phone + 49, "speech still goes to the phone");
    assert_unbroken(&world.meta.call(&id).heard[user..]);
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
}

#[test]
fn rule_18_keys_cross_both_ways_exactly_once_though_a_third_of_the_packets_is_lost() {
    for seed in 0..6 {
        let (mut world, id) = talking(100 + seed);
        world.net.phone_media = Path { loss_percent: 30, ..Path::clean(5) };
        world.phones[0].voice.press("19*0#5");
        world.run(Duration::from_secs(2));
        world.net.phone_media = Path::clean(5);
        world.run(ms(500));
        assert_eq!(keys(&world.meta.call(&id).heard, KEYS_TO_META), "19*0#5", "seed {seed}");
        assert_unbroken(&world.meta.call(&id).heard);
        world.net.meta_media = Path { loss_percent: 30, ..Path::clean(20) };
        world.meta.call_mut(&id).voice.press("8642#");
        world.run(Duration::from_secs(2));
        world.net.meta_media = Path::clean(20);
        world.run(ms(500));
        assert_eq!(keys(&world.phones[0].heard, KEYS_TO_PHONE), "8642#", "seed {seed}");
        world.phones[0].hang_up(world.now.mono);
        world.assert_clean(1);
    }
}

#[test]
fn rule_18_keys_by_sip_info_reach_the_user_once_though_the_info_is_repeated() {
    let (mut world, id) = talking(6);
    world.net.sip = Path { duplicate_percent: 100, ..Path::clean(5) };
    for key in "7#".chars() {
        world.phones[0].info(world.now.mono, key);
        world.run(ms(600));
    }
    assert_eq!(keys(&world.meta.call(&id).heard, KEYS_TO_META), "7#");
    world.net.sip = Path::clean(5);
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
}

#[test]
fn rule_20_a_call_without_media_from_either_side_ends_with_its_own_cause() {
    let (mut world, id) = talking(7);
    world.phones[0].voice.speaking = false;
    world.meta.call_mut(&id).voice.speaking = false;
    world.net.phone_media = Path { loss_percent: 100, ..Path::clean(5) };
    // RTCP and consent checks still come: only media counts.
    let quiet = world.elapsed();
    let over = world.run_until(Duration::from_secs(90), |it| it.phones[0].state() == Some(State::Over));
    assert!(over, "still up after {:?}", world.elapsed() - quiet);
    let took = world.elapsed() - quiet;
    assert!((ms(59_000)..ms(62_000)).contains(&took), "{took:?}");
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::NoMedia));
    assert!(world.gateway.reports.iter().any(|(.., report)| *report == Report::Stalled));
}

#[test]
fn loss_and_jitter_on_both_media_paths_leave_the_line_unbroken_and_speech_in_it() {
    let (mut world, id) = talking(8);
    world.net.phone_media = Path::rough(5, 15);
    world.net.meta_media = Path::rough(5, 25);
    world.run(Duration::from_secs(8));
    assert!(g711_level(&world.phones[0].heard) > -30.0);
    let made = world.meta.call(&id).heard.len();
    assert!(made > 300, "{made}");
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
}
