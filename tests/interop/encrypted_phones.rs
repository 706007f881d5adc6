//! Phones whose sound is encrypted by keys in the session description (SDES): baresip, and who must not be heard.

use serde_json::json;

use crate::rig::baresip::OnRing;
use crate::rig::gateway::Setup;
use crate::rig::simulator::assert_unbroken;
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record, sipp};

/// Two seconds and a half of talking.
const TALK: u64 = 125;

const REQUIRED: Setup = Setup {
    phone: "srtp = \"required\"",
    front_desk: "",
    trunk: "",
    probe: "enabled = false",
    ring: r#""phone:1001""#,
    media: "",
    calls: "",
    number: "",
    recording: "",
    api: false,
    aiortc: false,
};

fn a_user_calls(setup: &Setup, transport: &str, encryption: &str) {
    let mut world = World::start(setup);
    let mut phone = world.encrypted_phone(transport, OnRing::Answer, encryption);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    for order in ["hold", "resume"] {
        let mark = phone.mark();
        phone.order(order, "");
        // The answer to the phone's re-INVITE.
        phone.wait("CALL_REMOTE_SDP", mark);
        call.talk(50);
    }
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_unbroken(&call.told());
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    world.assert_no_violations();
    assert_no_keys(&world);
}

fn a_phone_calls(setup: &Setup, transport: &str, encryption: &str) {
    let mut world = World::start(setup);
    let mut phone = world.encrypted_phone(transport, OnRing::Answer, encryption);
    world.meta.set_user(USER, &json!({}));
    let registrar = world.registrar(transport).to_owned();
    phone.order("dial", &format!("sip:8{USER}@{registrar};transport={transport}"));
    let call = world.meta.wait_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "phone");
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    world.assert_no_violations();
    assert_no_keys(&world);
}

fn assert_no_keys(world: &World) {
    let log = world.gateway.program.output();
    assert!(!log.contains("inline:") && !log.contains("ice-pwd"), "no key and no password in the log");
}

#[test]
fn a_phone_that_insists_on_srtp_is_called_inside_tls() {
    a_user_calls(&REQUIRED, "tls", "srtp-mand");
}

#[test]
fn a_phone_that_insists_on_srtp_calls_inside_tls() {
    a_phone_calls(&REQUIRED, "tls", "srtp-mand");
}

#[test]
fn a_phone_that_likes_srtp_is_called_with_the_best_that_both_can() {
    a_user_calls(&Setup { phone: "srtp = \"optional\"", ..REQUIRED }, "tls", "srtp");
}

#[test]
fn a_phone_that_likes_srtp_calls_without_a_word_in_the_configuration() {
    a_phone_calls(&Setup { phone: "", ..REQUIRED }, "tls", "srtp");
}

#[test]
fn a_phone_without_srtp_is_called_in_the_clear_where_srtp_is_optional() {
    a_user_calls(&Setup { phone: "srtp = \"optional\"", ..REQUIRED }, "tls", "");
}

#[test]
fn keys_stand_in_clear_sip_only_if_told_so() {
    a_phone_calls(
        &Setup { phone: "srtp = \"required\"\nsrtp_keys_in_clear = true", ..REQUIRED },
        "udp",
        "srtp-mand",
    );
}

/// A phone dials a user in vain; what it is told.
fn refused(setup: &Setup, transport: &str, encryption: &str) -> String {
    let mut world = World::start(setup);
    let mut phone = world.encrypted_phone(transport, OnRing::Answer, encryption);
    world.meta.set_user(USER, &json!({}));
    let registrar = world.registrar(transport).to_owned();
    phone.order("dial", &format!("sip:8{USER}@{registrar};transport={transport}"));
    let closed = phone.wait("CALL_CLOSED", 0);
    closed["param"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn s6_a_plain_phone_that_must_encrypt_is_refused_with_a_reason() {
    assert_eq!(refused(&REQUIRED, "tls", ""), "488 SRTP required");
}

#[test]
fn s6_a_phone_that_shows_its_keys_to_everybody_is_told_to_use_tls() {
    assert_eq!(refused(&Setup { phone: "", ..REQUIRED }, "udp", "srtp-mand"), "488 SRTP needs TLS");
}

#[test]
fn s6_a_plain_phone_that_must_encrypt_is_not_called_in_the_clear() {
    let mut world = World::start(&REQUIRED);
    let phone = world.encrypted_phone("tls", OnRing::Answer, "");
    let call = world.meta.place_call(USER);
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert_eq!(record["cause"], "phone_media_refused", "{record:#}");
    drop(phone);
}

#[test]
fn of_odd_crypto_lines_the_first_that_can_be_done_is_taken() {
    let mut world = World::start(&Setup { phone: "srtp_keys_in_clear = true", ..REQUIRED });
    world.meta.set_user(USER, &json!({ "answer_after_ms": 300 }));
    let (folder, digits) = (world.folder().to_owned(), format!("8{USER}"));
    let mut caller = sipp::caller(&folder, &world.layout, &mut world.ports, "caller_odd_crypto.xml", &digits);
    let call = world.meta.wait_call(USER);
    assert!(caller.wait_exit().success(), "SIPp saw its whole scenario");
    call.wait_over();
    assert_no_keys(&world);
}
