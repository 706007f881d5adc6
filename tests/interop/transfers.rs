//! A phone hands a WhatsApp call to another: who hears whom, before and after, and what WhatsApp sees of it.

use serde_json::json;

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::Setup;
use crate::rig::simulator::{MetaCall, assert_unbroken};
use crate::rig::sound::{OTHER_HZ, PHONE_HZ, USER_HZ, assert_heard, tenths_of};
use crate::rig::{USER, World, assert_record, sipp};

/// Two seconds and a half of talking.
const TALK: u64 = 125;

/// The user heard both phones, one after the other, in one line.
fn assert_user_heard_both(world: &World, call: &MetaCall<'_>) {
    assert_unbroken(&call.told());
    let (first, loud) = tenths_of(&call.heard, PHONE_HZ);
    let (second, _) = tenths_of(&call.heard, OTHER_HZ);
    assert!(first >= 10 && second >= 10, "{first} and {second} of {loud} loud tenths of a second");
    world.assert_no_violations();
}

/// Phone 1001 talks with the user and hands the call to 1002, which has answered when this is over.
fn hand_over(world: &World, call: &MetaCall<'_>, phone: &mut Phone, other: &mut Phone) {
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("transfer", &world.uri_of("1002"));
    other.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_CLOSED", 0);
    call.talk(TALK);
}

#[test]
fn a_phone_hands_a_user_to_another_phone_and_is_free_while_they_talk_on() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    let call = world.meta.place_call(USER);
    hand_over(&world, &call, &mut phone, &mut other);
    call.act("hangup", &json!({}));
    other.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&other.heard(), USER_HZ);
    assert_user_heard_both(&world, &call);
    let record = world.closed_record(&call.id);
    assert_record(&record, "user_initiated", true, "user");
    assert!(record["endpoint"].as_str().is_some_and(|it| it.contains("1002")), "{record:#}");
}

#[test]
fn a_call_that_a_phone_dialled_is_handed_to_a_phone_with_another_codec() {
    for codec in ["PCMA", "G722", "opus"] {
        let mut world = World::start(&Setup::default());
        let mut phone = world.phone(OnRing::Answer);
        let mut other = world.other_phone(OnRing::Answer, codec);
        world.meta.set_user(USER, &json!({}));
        phone.order("dial", &world.uri_of(&format!("8{USER}")));
        let call = world.meta.wait_call(USER);
        hand_over(&world, &call, &mut phone, &mut other);
        other.order("hangup", "");
        // The recording is whole when the phone has closed the call.
        other.wait("CALL_CLOSED", 0);
        call.wait_over();
        assert_heard(&other.heard(), USER_HZ);
        assert_user_heard_both(&world, &call);
        assert_record(&world.closed_record(&call.id), "business_initiated", true, "phone");
    }
}

/// A trunk that transfers by this scenario, and a phone 1002.
fn transferring(trunk: &'static str) -> Setup {
    Setup { ring: r#""trunk:pbx/200""#, trunk, ..Setup::default() }
}

#[test]
fn a_trunk_whose_transfers_come_to_nothing_keeps_the_call() {
    let mut world = World::start(&transferring("refer = true"));
    let folder = world.folder().to_owned();
    let mut other = world.other_phone(OnRing::Wait, "PCMU");
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_refers_in_vain.xml", 1);
    let call = world.meta.place_call(USER);
    other.wait("CALL_INCOMING", 0);
    other.order("hangup", "");
    other.wait("CALL_CLOSED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    let told = call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_unbroken(&told);
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    world.assert_no_violations();
}

#[test]
fn rule_24_a_trunk_transfers_only_where_the_administrator_allows_it() {
    let mut world = World::start(&transferring(""));
    let folder = world.folder().to_owned();
    let mut other = world.other_phone(OnRing::Wait, "PCMU");
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_refers_unasked.xml", 1);
    let call = world.meta.place_call(USER);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert!(other.seen("CALL_INCOMING", 0).is_none(), "nobody is rung");
}

#[test]
fn rule_24_the_bye_after_202_never_ends_the_whatsapp_leg_and_the_phone_that_is_rung_gets_it() {
    let mut world = World::start(&transferring("refer = true"));
    let folder = world.folder().to_owned();
    let mut other = world.other_phone(OnRing::Wait, "PCMU");
    let scenario = "trunk_refers_and_leaves.xml";
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, scenario, 1);
    let call = world.meta.place_call(USER);
    other.wait("CALL_INCOMING", 0);
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    // The user hears that it rings.
    call.talk(50);
    other.order("accept", "");
    other.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    other.wait("CALL_CLOSED", 0);
    let told = call.wait_over();
    assert_unbroken(&told);
    assert_heard(&other.heard(), USER_HZ);
    let (theirs, _) = tenths_of(&call.heard, OTHER_HZ);
    assert!(theirs >= 10, "{theirs} tenths of a second of the phone");
    world.assert_no_violations();
}
