//! The trunk is SIPp with RTP echo, or a peer that says exactly what the test wants.

use serde_json::json;

use crate::rig::gateway::Setup;
use crate::rig::program::wait_until;
use crate::rig::simulator::assert_unbroken;
use crate::rig::sip::{SipPeer, header, is_answer, offer};
use crate::rig::sound::{USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record, sipp};

fn ringing_the_trunk() -> Setup {
    Setup { ring: r#""trunk:pbx/200""#, ..Setup::default() }
}

#[test]
fn a_user_talks_to_an_echo_behind_the_trunk() {
    let mut world = World::start(&ringing_the_trunk());
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
    let call = world.meta.place_call(USER);
    call.talk(150);
    call.act("hangup", &json!({}));
    let told = call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_unbroken(&told);
    assert_heard(&call.heard, USER_HZ);
    world.assert_no_violations();
}

#[test]
fn a_second_answer_from_behind_the_trunk_gets_an_ack_and_a_bye() {
    let mut world = World::start(&ringing_the_trunk());
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers_twice.xml", 1);
    let call = world.meta.place_call(USER);
    call.talk(100);
    assert!(call.told()["terminate"].is_null(), "the first answer's call goes on");
    call.act("hangup", &json!({}));
    call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    world.assert_no_violations();
}

#[test]
fn an_answer_that_crosses_the_cancel_gets_an_ack_and_a_bye() {
    let mut world = World::start(&ringing_the_trunk());
    let folder = world.folder().to_owned();
    let scenario = "trunk_answers_while_cancelled.xml";
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, scenario, 1);
    let call = world.meta.place_call(USER);
    // The first 18x is what makes a CANCEL possible.
    let messages = folder.join("sipp-messages.log");
    wait_until("the trunk rings", || {
        std::fs::read_to_string(&messages).is_ok_and(|text| text.contains("SIP/2.0 180"))
    });
    call.act("hangup", &json!({}));
    call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_record(&world.closed_record(&call.id), "user_initiated", false, "user");
    world.assert_no_violations();
}

#[test]
fn a_busy_trunk_ends_the_call_at_meta() {
    let mut world = World::start(&ringing_the_trunk());
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_busy.xml", 1);
    let call = world.meta.place_call(USER);
    call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_record(&world.closed_record(&call.id), "user_initiated", false, "phone");
    world.assert_no_violations();
}

#[test]
fn a_trunk_that_says_nothing_is_given_up_long_before_the_accept_window() {
    let world = World::start(&ringing_the_trunk());
    let silent = std::net::UdpSocket::bind(&world.layout.trunk).expect("a leased port is free");
    let call = world.meta.place_call(USER);
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert!(record["answered"].is_null(), "{record:#}");
    drop(silent);
    world.assert_no_violations();
}

#[test]
fn an_odd_phone_is_challenged_and_its_call_goes_through() {
    let mut world = World::start(&Setup::default());
    world.meta.set_user(USER, &json!({ "answer_after_ms": 300 }));
    let folder = world.folder().to_owned();
    let digits = format!("8{USER}");
    let mut caller = sipp::caller(&folder, &world.layout, &mut world.ports, "caller_odd.xml", &digits);
    let call = world.meta.wait_call(USER);
    assert!(caller.wait_exit().success(), "SIPp saw its whole scenario");
    let told = call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "phone");
    assert_unbroken(&told);
    assert_heard(&call.heard, USER_HZ);
    world.assert_no_violations();
}

#[test]
fn a_retransmitted_invite_makes_one_call_and_its_cancel_ends_it() {
    let mut world = World::start(&Setup::default());
    world.meta.set_user(USER, &json!({ "answer_after_ms": 15_000 }));
    let peer = SipPeer::trunk(&mut world.ports, &world.layout.sip);
    let (uri, rtp) = (world.uri_of(&format!("8{USER}")), world.ports.take(2));
    let (body, more) = (offer(&peer.own, rtp), "Content-Type: application/sdp\r\n");
    for _ in 0..3 {
        peer.request("INVITE", &uri, "repeated", "one", more, &body);
    }
    let ringing =
        peer.wait("a ringing", |text| is_answer(text, 180, "INVITE") || is_answer(text, 183, "INVITE"));
    assert!(header(&ringing, "To").is_some_and(|to| to.contains("tag=")), "{ringing}");
    assert_eq!(world.meta.calls().len(), 1, "one INVITE, however often it is sent, is one call");
    peer.request("CANCEL", &uri, "repeated", "one", "", "");
    peer.wait("487 for the INVITE", |text| is_answer(text, 487, "INVITE"));
    peer.request("ACK", &uri, "repeated", "one", "", "");
    let call = world.meta.wait_call(USER);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", false, "phone");
    assert_eq!(world.meta.calls().len(), 1, "nothing else came of it");
    world.assert_no_violations();
}

#[test]
fn a_stranger_at_another_address_is_not_the_trunk() {
    let mut world = World::start(&Setup::default());
    world.meta.set_user(USER, &json!({}));
    let peer = SipPeer::stranger(&mut world.ports, &world.layout.sip);
    let uri = world.uri_of(&format!("8{USER}"));
    let body = offer(&peer.own, 9);
    peer.request("INVITE", &uri, "stranger", "two", "Content-Type: application/sdp\r\n", &body);
    let answer =
        peer.wait("a refusal", |text| text.starts_with("SIP/2.0 ") && !is_answer(text, 100, "INVITE"));
    let status = answer.split_whitespace().nth(1).unwrap_or_default().to_owned();
    assert!(["401", "403", "407"].contains(&status.as_str()), "{answer}");
    peer.request("ACK", &uri, "stranger", "two", "", "");
    assert!(world.meta.calls().is_empty(), "Meta must not see the attempt");
}
