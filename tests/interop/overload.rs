//! A gateway at its limit: what callers hear, and that running calls do not notice.

use serde_json::json;

use crate::rig::gateway::{Setup, sample, scrape};
use crate::rig::program::wait_until;
use crate::rig::simulator::assert_unbroken;
use crate::rig::sip::{SipPeer, header, is_answer, offer};
use crate::rig::sound::{USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record, sipp};

const OTHER_USER: &str = "5521955500999";

/// Whether `/metrics` says that new calls are treated like this now.
fn is_in_state(world: &World, state: &str) -> bool {
    let series = format!("cordboard_media_capacity_state{{kind=\"{state}\"}} ");
    scrape(&world.layout).lines().any(|line| line.starts_with(&series) && sample(line) == Some(1.0))
}

#[test]
fn at_the_limit_phones_get_503_with_retry_after_users_are_rejected_and_the_running_call_goes_on() {
    // One call is all that fits into one percent of a processor.
    let setup =
        Setup { ring: r#""trunk:pbx/200""#, media: "economy_at = 1\nrefuse_at = 1", ..Setup::default() };
    let mut world = World::start(&setup);
    world.meta.set_user(OTHER_USER, &json!({}));
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
    let call = world.meta.place_call(USER);
    call.talk(50);
    assert!(is_in_state(&world, "refusing"));

    let peer = SipPeer::trunk(&mut world.ports, &world.layout.sip);
    let (uri, rtp) = (world.uri_of(&format!("8{OTHER_USER}")), world.ports.take(2));
    let body = offer(&peer.own, rtp);
    peer.request("INVITE", &uri, "toomuch", "three", "Content-Type: application/sdp\r\n", &body);
    let refused = peer.wait("503", |text| is_answer(text, 503, "INVITE"));
    peer.request("ACK", &uri, "toomuch", "three", "", "");
    let seconds: u32 = header(&refused, "Retry-After").and_then(|it| it.parse().ok()).unwrap_or(0);
    assert!((1..=10).contains(&seconds), "{refused}");
    let reason = header(&refused, "Reason").unwrap_or_default();
    assert!(reason.starts_with("Q.850") && reason.contains("cause=42"), "{refused}");

    let rejected = world.meta.place_call(OTHER_USER);
    rejected.wait_over();
    let record = world.closed_record(&rejected.id);
    assert_record(&record, "user_initiated", false, "us");
    assert_eq!(record["cause"], "overloaded", "{record:#}");

    call.talk(50);
    call.act("hangup", &json!({}));
    let told = call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario, and nobody else's INVITE");
    assert_unbroken(&told);
    assert_heard(&call.heard, USER_HZ);
    let text = scrape(&world.layout);
    let counted = |line: &&str| line.starts_with("cordboard_refused_total") && line.contains("overloaded");
    assert_eq!(text.lines().find(counted).and_then(sample), Some(1.0));
    wait_until("calls are taken again", || is_in_state(&world, "normal"));
    world.assert_no_violations();
}
