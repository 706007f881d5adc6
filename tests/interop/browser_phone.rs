//! A browser as the desk phone: JsSIP in Chromium, over secure WebSocket, sound by DTLS-SRTP over ICE.

use serde_json::json;

use crate::rig::browser::{BrowserPhone, BrowserSettings};
use crate::rig::gateway::{PASSWORD, Setup};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record};

const OTHER_USER: &str = "5521955500124";
/// Three seconds of talking.
const TALK: u64 = 150;

/// Fails unless the browser has heard a second of the user and hardly anything else.
fn assert_browser_heard(phone: &mut BrowserPhone) {
    let (ours, loud, packets, lost) = phone.heard(USER_HZ);
    assert!(
        ours >= 10 && ours * 10 >= loud * 8,
        "{ours} of {loud} tenths are the user's; {packets} packets, {lost} lost"
    );
}

#[test]
fn a_browser_phone_is_called_and_calls_with_sound_both_ways_and_holds_a_call() {
    let world = World::start(&Setup::default());
    let socket = format!("wss://{}/", world.layout.wss);
    let settings = BrowserSettings { name: "1001", password: PASSWORD, socket: &socket, hz: PHONE_HZ };
    let mut phone = BrowserPhone::start(world.folder(), &settings);

    let call = world.meta.place_call(USER);
    phone.wait("confirmed", 0);
    call.talk(TALK);
    assert_browser_heard(&mut phone);
    // A browser tells of its hold before it asks for it, and resumes nothing while the answer is due.
    for (order, done) in [("hold", "held"), ("unhold", "resumed")] {
        let mark = phone.mark();
        phone.order(json!({ "act": order }));
        phone.wait(done, mark);
    }
    let _ = phone.heard(USER_HZ);
    call.talk(TALK);
    assert_browser_heard(&mut phone);
    call.act("hangup", &json!({}));
    phone.wait("ended", 0);
    let told = call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_unbroken(&told);
    assert_heard(&call.heard, PHONE_HZ);

    world.meta.set_user(OTHER_USER, &json!({}));
    let mark = phone.mark();
    phone.order(json!({ "act": "call", "target": format!("sip:8{OTHER_USER}@127.0.0.1") }));
    let call = world.meta.wait_call(OTHER_USER);
    phone.wait("confirmed", mark);
    let _ = phone.heard(USER_HZ);
    call.talk(TALK);
    assert_browser_heard(&mut phone);
    phone.order(json!({ "act": "hangup" }));
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert_record(&record, "business_initiated", true, "phone");
    assert!(record["media"].as_str().is_some_and(|it| it.contains("; phone by SRTP_")), "{record:#}");
    assert_heard(&call.heard, PHONE_HZ);
    world.assert_no_violations();
    let log = world.gateway.program.output();
    assert!(!log.contains("ice-pwd"), "no password in the log");
}
