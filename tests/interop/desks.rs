//! Calls between desks: phone to phone, phone to trunk, trunk to phone, and who hears whom.

use serde_json::Value;

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{self, Setup};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::sound::{OTHER_HZ, PHONE_HZ, assert_heard, tenths_of};
use crate::rig::{World, sipp};

/// The closed record of the newest call between desks.
fn closed_desk_call(world: &World) -> Value {
    wait_for("the record of a call between desks is closed", PATIENCE, || {
        gateway::desk_calls(&world.layout).into_iter().find(|it| !it["ended"].is_null())
    })
}

/// Lets two phones talk for some seconds.
fn talk(phones: [&mut Phone; 2]) {
    for phone in phones {
        let before = phone.received().0;
        wait_for("a phone hears three seconds", PATIENCE, || {
            (phone.received().0 >= before + 150).then_some(())
        });
    }
}

#[test]
fn rule_25_two_phones_talk_whatever_their_codecs_are() {
    for (one, two, route) in [
        ("PCMU", "PCMU", "PCMU/8000 as it is"),
        ("opus", "opus", "opus/48000 as it is"),
        ("PCMA", "G722", "PCMA/8000 → G722/8000; G722/8000 → PCMA/8000"),
        ("opus", "PCMU", "opus/48000 → PCMU/8000; PCMU/8000 → opus/48000"),
    ] {
        let mut world = World::start(&Setup::default());
        let mut phone = world.phone_with(OnRing::Answer, one, gateway::PASSWORD).registered();
        let mut other = world.other_phone(OnRing::Answer, two);
        phone.order("dial", &world.uri_of("1002"));
        other.wait("CALL_ESTABLISHED", 0);
        phone.wait("CALL_ESTABLISHED", 0);
        talk([&mut phone, &mut other]);
        phone.order("hangup", "");
        other.wait("CALL_CLOSED", 0);
        phone.wait("CALL_CLOSED", 0);
        assert_heard(&phone.heard(), OTHER_HZ);
        assert_heard(&other.heard(), PHONE_HZ);
        let record = closed_desk_call(&world);
        assert_eq!((&record["caller"], &record["callee"]), (&"phone 1001".into(), &"phone 1002".into()));
        assert_eq!(
            (&record["cause"], &record["media"]),
            (&"phone_hung_up".into(), &route.into()),
            "{record:#}"
        );
        assert!(world.meta.calls().is_empty(), "WhatsApp has nothing to do with it");
        let scraped = gateway::scrape(&world.layout);
        assert!(scraped.contains(r#"cordboard_desk_calls_total{cause="phone_hung_up",fault="phone"} 1"#));
    }
}

#[test]
fn a_phone_that_is_held_by_another_hears_hold_audio_and_then_the_other_again() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    phone.order("dial", &world.uri_of("1002"));
    other.wait("CALL_ESTABLISHED", 0);
    talk([&mut phone, &mut other]);
    phone.order("hold", "");
    let before = other.received().0;
    wait_for("hold audio is heard", PATIENCE, || (other.received().0 >= before + 150).then_some(()));
    phone.order("resume", "");
    talk([&mut phone, &mut other]);
    other.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    other.wait("CALL_CLOSED", 0);
    let (theirs, loud) = tenths_of(&other.heard(), PHONE_HZ);
    assert!(theirs >= 30 && loud >= theirs + 5, "{theirs} tenths of the phone, {loud} of anything");
}

#[test]
fn rule_18_a_phone_that_has_only_info_gets_another_phones_keys_by_it() {
    let mut world = World::start(&Setup { front_desk: "dtmf = \"info\"", ..Setup::default() });
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    other.order("dial", &world.uri_of("1001"));
    other.wait("CALL_ESTABLISHED", 0);
    talk([&mut phone, &mut other]);
    for (many, key) in [(1, '7'), (2, '#')] {
        // baresip holds a key down until it is told 0x04.
        other.order("sndcode", &format!("{key}\u{4}"));
        wait_for("the phone is told of the key", PATIENCE, || (phone.digits(0).len() >= many).then_some(()));
    }
    assert_eq!(phone.digits(0), "7#");
    assert!(phone.output().contains("Signal=#"), "{}", phone.output());
    talk([&mut phone, &mut other]);
    phone.order("hangup", "");
    other.wait("CALL_CLOSED", 0);
}

#[test]
fn a_phone_dials_a_number_behind_a_trunk_and_hears_its_echo() {
    let mut world = World::start(&Setup {
        trunk: "[trunk.numbers]\nform = \"00\"\ncountry = \"49\"",
        ..Setup::default()
    });
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
    let mut phone = world.phone(OnRing::Answer);
    phone.order("dial", &world.uri_of("0+4930123456"));
    phone.wait("CALL_ESTABLISHED", 0);
    let before = phone.received().0;
    wait_for("the echo is heard", PATIENCE, || (phone.received().0 >= before + 150).then_some(()));
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_heard(&phone.heard(), PHONE_HZ);
    let messages = std::fs::read_to_string(folder.join("sipp-messages.log")).expect("SIPp's log");
    assert!(messages.contains("INVITE sip:004930123456@"), "the trunk's own form of the number");
    assert_eq!(closed_desk_call(&world)["callee"], "trunk pbx");
}

#[test]
fn a_trunk_calls_a_phone_which_shows_who_it_is() {
    let mut world = World::start(&Setup::default());
    let folder = world.folder().to_owned();
    let mut other = world.other_phone(OnRing::Wait, "PCMA");
    let mut trunk =
        sipp::trunk_caller(&folder, &world.layout, &mut world.ports, "trunk_calls_phone.xml", "1002");
    let ringing = other.wait("CALL_INCOMING", 0);
    assert!(ringing["peeruri"].as_str().is_some_and(|it| it.contains("sip:300@")), "{ringing}");
    other.order("accept", "");
    other.wait("CALL_CLOSED", 0);
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_heard(&other.heard(), OTHER_HZ);
    let record = closed_desk_call(&world);
    assert_eq!(
        (&record["caller"], &record["callee"]),
        (&"trunk pbx".into(), &"phone 1002".into()),
        "{record:#}"
    );
}

#[test]
fn rule_s4_a_trunk_reaches_no_trunk() {
    let mut world = World::start(&Setup::default());
    let folder = world.folder().to_owned();
    let mut trunk =
        sipp::trunk_caller(&folder, &world.layout, &mut world.ports, "trunk_dials_trunk.xml", "0900");
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert!(gateway::desk_calls(&world.layout).is_empty());
}

#[test]
fn a_caller_is_told_that_the_other_phone_declined_and_one_that_gives_up_stops_the_ringing() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Wait, "PCMU");
    phone.order("dial", &world.uri_of("1002"));
    other.wait("CALL_INCOMING", 0);
    other.order("hangup", "");
    let closed = phone.wait("CALL_CLOSED", 0);
    assert!(closed["param"].as_str().is_some_and(|it| it.starts_with("486")), "{closed}");
    assert_eq!(closed_desk_call(&world)["cause"], "phone_busy");
    let (mark, theirs) = (phone.mark(), other.mark());
    phone.order("dial", &world.uri_of("1002"));
    other.wait("CALL_INCOMING", theirs);
    phone.order("hangup", "");
    other.wait("CALL_CLOSED", theirs);
    phone.wait("CALL_CLOSED", mark);
    phone.order("dial", &world.uri_of("1003"));
    wait_for("a number of nobody is refused", PATIENCE, || {
        let told = phone.output();
        told.contains("SIP/2.0 404 Number unknown").then_some(())
    });
}
