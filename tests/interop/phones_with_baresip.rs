//! The desk phone is baresip; Meta is the product's own stand-in.

use serde_json::{Value, json};

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{Setup, sample, scrape};
use crate::rig::program::wait_until;
use crate::rig::simulator::{MetaCall, assert_unbroken};
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record};

/// Two seconds and a half of talking.
const TALK: u64 = 125;

/// Both sides heard the other, nothing was lost, no rule was broken.
fn assert_good_talk(world: &World, call: &MetaCall<'_>, phone: &mut Phone) {
    assert_unbroken(&call.told());
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    assert_eq!(phone.received().1, 0, "packets lost towards the phone");
    world.assert_no_violations();
}

#[test]
fn a_user_calls_the_phone_answers_both_are_heard_and_the_user_hangs_up() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert_record(&record, "user_initiated", true, "user");
    assert_good_talk(&world, &call, &mut phone);
}

/// Rule 6, by the record's own stages: audio both ways within one Graph round trip plus 60 ms of the phone's 200.
fn assert_first_audio_in_time(record: &Value, graph_delay_ms: i64) {
    let stage = |name: &str| {
        record["stages"][name].as_i64().unwrap_or_else(|| panic!("no stage {name}: {:#}", record["stages"]))
    };
    let answered = stage("phone_answered");
    // One request, not two after each other; the rest is what a busy machine needs to carry it out.
    let round_trip = stage("accepted") - answered;
    assert!((graph_delay_ms..graph_delay_ms + 200).contains(&round_trip), "{:#}", record["stages"]);
    for first in ["first_audio_to_user", "first_audio_to_phone"] {
        let took = stage(first) - answered;
        assert!(took <= round_trip + 60, "{first} came {took} ms after the 200: {:#}", record["stages"]);
    }
    // The user's voice may come when Meta has accepted and its reply is still under way; ours must wait for it.
    assert!(stage("first_audio_to_user") >= stage("accepted"), "{:#}", record["stages"]);
}

/// A phone is lifted when the media path is up already; the record of the call.
fn pick_up_after_ringing(graph_delay_ms: i64) -> Value {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Wait);
    world.meta.set_faults(&json!({ "graph_delay_ms": graph_delay_ms }));
    let call = world.meta.place_call(USER);
    phone.wait("CALL_INCOMING", 0);
    wait_until("DTLS is up", || !call.told()["stages"]["dtls_up"].is_null());
    phone.order("accept", "");
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_good_talk(&world, &call, &mut phone);
    world.closed_record(&call.id)
}

#[test]
fn rule_6_both_hear_each_other_within_60_ms_of_the_accept() {
    assert_first_audio_in_time(&pick_up_after_ringing(0), 0);
}

#[test]
fn rule_6_both_hear_each_other_within_60_ms_of_a_slow_accept() {
    assert_first_audio_in_time(&pick_up_after_ringing(300), 300);
}

#[test]
fn nothing_is_sent_before_a_slow_graph_has_accepted() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_faults(&json!({ "graph_delay_ms": 300 }));
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_good_talk(&world, &call, &mut phone);
}

#[test]
fn a_phone_hangs_up_on_a_user_who_called() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    phone.order("hangup", "");
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "phone");
    world.assert_no_violations();
}

#[test]
fn a_phone_calls_a_user_who_answers_and_the_phone_hangs_up() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let call = world.meta.wait_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "phone");
    assert_good_talk(&world, &call, &mut phone);
}

#[test]
fn a_user_hangs_up_on_a_phone_that_called() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let call = world.meta.wait_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "user");
    world.assert_no_violations();
}

#[test]
fn a_phone_that_speaks_a_law_is_understood() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_with(OnRing::Answer, "PCMA", crate::rig::gateway::PASSWORD).registered();
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_good_talk(&world, &call, &mut phone);
}

/// The record tells how the call's media ran.
fn assert_codec(record: &Value, words: &str) {
    assert!(record["media"].as_str().is_some_and(|media| media.contains(words)), "{words}: {record:#}");
}

/// Packets of one direction that went on as they came.
fn passed(record: &Value, way: &str) -> u64 {
    record["quality"][way]["passed"].as_u64().unwrap_or(0)
}

#[test]
fn a_phone_that_speaks_g722_is_understood_and_the_record_says_so() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_with(OnRing::Answer, "G722", crate::rig::gateway::PASSWORD).registered();
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_good_talk(&world, &call, &mut phone);
    assert_codec(&world.closed_record(&call.id), "G722/8000 20 ms");
}

#[test]
fn a_phone_that_speaks_opus_is_passed_through_and_the_record_says_so() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_with(OnRing::Answer, "opus", crate::rig::gateway::PASSWORD).registered();
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_good_talk(&world, &call, &mut phone);
    let record = world.closed_record(&call.id);
    assert_codec(&record, "pass-through → opus/48000 20 ms");
    for way in ["to_phone", "to_meta"] {
        assert!(passed(&record, way) > TALK / 2, "{way}: {record:#}");
    }
}

#[test]
fn a_phone_changes_digits_with_the_user_beside_opus() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_with(OnRing::Answer, "opus", crate::rig::gateway::PASSWORD).registered();
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    phone.order("sndcode", "7");
    wait_until("the user hears the digit", || call.told()["digits"] == "7");
    call.act("digits", &json!({ "digits": "8" }));
    wait_until("the phone hears the digit", || phone.digits(0) == "8");
    assert_unbroken(&call.told());
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    world.assert_no_violations();
}

#[test]
fn hold_and_resume_never_reach_whatsapp() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    for order in ["hold", "resume"] {
        let mark = phone.mark();
        phone.order(order, "");
        // The answer to the phone's re-INVITE.
        phone.wait("CALL_REMOTE_SDP", mark);
        call.talk(TALK);
    }
    assert!(phone.seen("CALL_CLOSED", 0).is_none(), "the call survives hold and resume");
    assert_unbroken(&call.told());
    phone.order("hangup", "");
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "phone");
    assert_heard(&call.heard, PHONE_HZ);
    world.assert_no_violations();
}

#[test]
fn digits_pressed_on_either_side_arrive_at_the_other() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    for digit in ["1", "9", "#"] {
        let before = call.told()["digits"].as_str().map_or(0, str::len);
        phone.order("sndcode", digit);
        wait_until("the user hears the digit", || {
            call.told()["digits"].as_str().is_some_and(|heard| heard.len() > before)
        });
    }
    assert_eq!(call.told()["digits"], "19#");
    call.act("digits", &json!({ "digits": "04*" }));
    wait_until("the phone hears the digits", || phone.digits(0).len() >= 3);
    assert_eq!(phone.digits(0), "04*");
    assert_unbroken(&call.told());
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    world.assert_no_violations();
}

#[test]
fn rule_18_a_phone_that_has_only_info_gets_the_users_keys_by_it() {
    let mut world = World::start(&Setup { phone: "dtmf = \"info\"", ..Setup::default() });
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    call.act("digits", &json!({ "digits": "04*" }));
    wait_until("the phone hears the digits", || phone.digits(0).len() >= 3);
    assert_eq!(phone.digits(0), "04*");
    assert!(phone.output().contains("Signal=*"), "{}", phone.output());
    call.talk(50);
    assert_unbroken(&call.told());
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    world.assert_no_violations();
}

#[test]
fn a_phone_that_declines_ends_the_call_at_meta() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Wait);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_INCOMING", 0);
    phone.order("hangup", "");
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", false, "phone");
    world.assert_no_violations();
}

#[test]
fn a_user_who_gives_up_stops_the_ringing() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Wait);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_INCOMING", 0);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", false, "user");
    world.assert_no_violations();
}

#[test]
fn the_phone_shows_who_calls() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Wait);
    let call = world.meta.place_call(USER);
    let ringing = phone.wait("CALL_INCOMING", 0);
    let caller = ringing["peeruri"].as_str().unwrap_or_default().to_owned();
    assert!(caller.contains(USER), "the caller's number: {ringing}");
    wait_until("the phone shows the caller's name", || phone.output().contains("Ana"));
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
}

#[test]
fn all_phones_of_a_name_ring_and_the_losers_stop() {
    let mut world = World::start(&Setup::default());
    let mut winner = world.phone(OnRing::Wait);
    let mut loser = world.phone(OnRing::Wait);
    let call = world.meta.place_call(USER);
    winner.wait("CALL_INCOMING", 0);
    loser.wait("CALL_INCOMING", 0);
    winner.order("accept", "");
    winner.wait("CALL_ESTABLISHED", 0);
    loser.wait("CALL_CLOSED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    winner.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_good_talk(&world, &call, &mut winner);
}

#[test]
fn a_user_who_declines_is_told_to_the_phone() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({ "reject": true }));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    phone.wait("CALL_CLOSED", 0);
    let call = world.meta.wait_call(USER);
    call.wait_over();
    assert!(phone.seen("CALL_ESTABLISHED", 0).is_none(), "a declined call is not answered");
    assert_record(&world.closed_record(&call.id), "business_initiated", false, "user");
    world.assert_no_violations();
}

#[test]
fn a_phone_that_gives_up_ends_the_ringing_at_the_user() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({ "answer_after_ms": 15_000 }));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let call = world.meta.wait_call(USER);
    phone.wait("CALL_RINGING", 0);
    phone.order("hangup", "");
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", false, "phone");
    world.assert_no_violations();
}

#[test]
fn nobody_is_dialled_without_permission() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({ "permission": "none" }));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let closed = phone.wait("CALL_CLOSED", 0);
    let words = closed["param"].as_str().unwrap_or_default();
    assert!(words.contains("403") || words.contains("603"), "the phone was told: {closed}");
    assert_eq!(world.meta.calls(), Vec::<Value>::new(), "Meta must not see the attempt");
}

#[test]
fn an_emergency_number_never_reaches_whatsapp() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    for digits in ["112", "8112"] {
        let mark = phone.mark();
        phone.order("dial", &world.uri_of(digits));
        phone.wait("CALL_CLOSED", mark);
    }
    assert_eq!(world.meta.calls(), Vec::<Value>::new(), "Meta must not see the attempt");
}

#[test]
fn a_wrong_password_is_refused() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_with(OnRing::Answer, "PCMU", "wrong");
    // baresip tries again at once and again, until it is banned and gets no more answers (rule 23).
    wait_until("the phone is refused", || {
        let refused = "cordboard_sip_events_total{kind=\"bad_credentials\"}";
        scrape(&world.layout)
            .lines()
            .find(|line| line.starts_with(refused))
            .and_then(sample)
            .is_some_and(|times| times > 0.0)
    });
    assert!(phone.seen("REGISTER_OK", 0).is_none(), "a phone with a wrong password is registered");
    assert!(!phone.output().contains("} 200 OK ("), "a phone with a wrong password is registered");
}
