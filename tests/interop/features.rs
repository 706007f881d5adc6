//! Feature codes with real phones: who hears whom, and what WhatsApp sees of it.

use serde_json::json;

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{Setup, cordboard, run};
use crate::rig::simulator::{MetaCall, assert_unbroken};
use crate::rig::sound::{OTHER_HZ, PHONE_HZ, USER_HZ, assert_heard, tenths_of};
use crate::rig::{USER, World, assert_record};

/// Two seconds and a half of talking.
const TALK: u64 = 125;

/// Both phones in one group, and a hold audio that no voice has.
fn desk() -> Setup {
    let number = r#"
[[group]]
name = "desk"
members = ["phone:1001", "phone:1002"]
[sounds]
hold = "tone:1700/500"
"#;
    Setup { number, ..Setup::default() }
}

/// A phone that waits for somebody to take its calls stops ringing; baresip 1.0 does not show the Reason.
fn answered_elsewhere(phone: &mut Phone) {
    phone.wait("CALL_INCOMING", 0);
    phone.wait("CALL_CLOSED", 0);
}

/// Phone 1001 talked with the user and has parked the call.
fn park(world: &World, call: &MetaCall<'_>, phone: &mut Phone) {
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("transfer", &world.uri_of("*68"));
    phone.wait("CALL_CLOSED", 0);
    call.talk(TALK);
}

#[test]
fn a_call_that_rings_on_another_desk_is_picked_up_by_the_groups_code_and_by_that_phones_name() {
    for code in ["*8", "**1001"] {
        let mut world = World::start(&desk());
        let mut phone = world.phone(OnRing::Wait);
        let mut other = world.other_phone(OnRing::Answer, "PCMA");
        let call = world.meta.place_call(USER);
        phone.wait("CALL_INCOMING", 0);
        other.order("dial", &world.uri_of(code));
        other.wait("CALL_ESTABLISHED", 0);
        answered_elsewhere(&mut phone);
        call.talk(TALK);
        other.order("hangup", "");
        other.wait("CALL_CLOSED", 0);
        call.wait_over();
        assert_heard(&other.heard(), USER_HZ);
        assert_heard(&call.heard, OTHER_HZ);
        assert_unbroken(&call.told());
        let record = world.closed_record(&call.id);
        assert_record(&record, "user_initiated", true, "phone");
        assert!(record["endpoint"].as_str().is_some_and(|it| it.contains("1002")), "{record:#}");
        world.assert_no_violations();
    }
}

#[test]
fn a_call_is_parked_by_transfer_and_fetched_by_another_phone_while_the_user_hears_hold_audio() {
    let mut world = World::start(&desk());
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMA");
    let call = world.meta.place_call(USER);
    park(&world, &call, &mut phone);
    let mark = other.mark();
    other.order("dial", &world.uri_of("*85702"));
    other.wait("CALL_CLOSED", mark);
    let mark = other.mark();
    other.order("dial", &world.uri_of("*85701"));
    other.wait("CALL_ESTABLISHED", mark);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    other.wait("CALL_CLOSED", mark);
    call.wait_over();
    assert_heard(&other.heard(), USER_HZ);
    for (hz, who) in [(PHONE_HZ, "the phone"), (1700.0, "hold audio"), (OTHER_HZ, "the other phone")] {
        let (theirs, loud) = tenths_of(&call.heard, hz);
        assert!(theirs >= 10, "{who}: {theirs} of {loud} loud tenths of a second");
    }
    assert_unbroken(&call.told());
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    world.assert_no_violations();
}

#[test]
fn a_code_that_does_not_exist_and_a_code_with_nothing_to_take_are_refused_with_their_verdict() {
    let mut world = World::start(&desk());
    let mut phone = world.phone(OnRing::Answer);
    for (code, phrase) in [("*99", "No such code"), ("*8", "Nothing rings"), ("*85701", "Nothing parked")] {
        let mark = phone.mark();
        phone.order("dial", &world.uri_of(code));
        let closed = phone.wait("CALL_CLOSED", mark);
        assert!(closed.to_string().contains(phrase), "{code}: {closed:#}");
    }
    assert_eq!(world.meta.calls(), Vec::<serde_json::Value>::new());
}

#[test]
fn b15_a_phone_says_what_became_of_its_last_call_by_dialling_and_a_wrong_place_is_refused() {
    let mut world = World::start(&desk());
    let mut phone = world.phone(OnRing::Answer);
    phone.order("dial", &world.uri_of("*802"));
    phone.wait("CALL_CLOSED", 0);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &serde_json::Value::Null);
    let id = world.closed_record(&call.id)["id"].as_str().expect("an id").to_owned();
    phone.order("dial", &world.uri_of("*809"));
    phone.order("dial", &world.uri_of("*802"));
    let shown = crate::rig::program::wait_for("the outcome is noted", crate::rig::program::PATIENCE, || {
        let output = run(cordboard(&["calls", "show", &id, "--config"]).arg(world.layout.config()), "");
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        (!shown["outcome"].is_null()).then_some(shown)
    });
    assert_eq!(
        (&shown["outcome"], &shown["notes"][0]["author"]),
        (&json!("follow_up"), &json!("1001")),
        "{shown:#}"
    );
    assert_eq!(shown["notes"].as_array().map(Vec::len), Some(1), "a wrong place notes nothing: {shown:#}");
    world.assert_no_violations();
}

#[test]
fn a_phone_hears_why_it_is_refused_before_it_is() {
    let number = "[sounds.refusals]\nenabled = true\n";
    let mut world = World::start(&Setup { number, ..Setup::default() });
    let mut phone = world.phone(OnRing::Answer);
    phone.order("dial", &world.uri_of("*99"));
    let closed = phone.wait("CALL_CLOSED", 0);
    assert!(closed.to_string().contains("No such code"), "{closed:#}");
    assert!(phone.output().contains("SIP/2.0 183"), "early media: {}", phone.output());
    // Three rising notes: 950, 1400 and 1800 Hz, a third of a second each.
    for hz in [950.0, 1400.0, 1800.0] {
        let (notes, loud) = tenths_of(&phone.heard(), hz);
        assert!(notes >= 2, "{hz} Hz: {notes} of {loud} loud tenths of a second");
    }
    assert_eq!(world.meta.calls(), Vec::<serde_json::Value>::new());
}
