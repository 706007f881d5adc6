//! WhatsApp's WebRTC side is aiortc, another ICE, DTLS, SRTP and Opus than ours; the phone is baresip.

use serde_json::{Value, json};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::Setup;
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record};

fn with_aiortc() -> Setup {
    Setup { aiortc: true, ..Setup::default() }
}

fn assert_nothing_lost(told: &Value) {
    assert_eq!(told["rtp"]["lost"], 0, "packets lost towards the user: {told}");
    assert_eq!(told["violations"], json!([]), "{told}");
}

#[test]
fn a_user_on_aiortc_calls_the_phone() {
    let mut world = World::start(&with_aiortc());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(150);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    assert_nothing_lost(&call.wait_over());
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    assert_eq!(phone.received().1, 0, "packets lost towards the phone");
}

#[test]
fn the_phone_calls_a_user_on_aiortc() {
    let mut world = World::start(&with_aiortc());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let call = world.meta.wait_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(150);
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    assert_nothing_lost(&call.wait_over());
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "phone");
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    assert_eq!(phone.received().1, 0, "packets lost towards the phone");
}
