//! The gateway dies or is stopped in the middle of a call: both sides learn of it, and the record is closed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{Gateway, Setup};
use crate::rig::{USER, World, sipp};

/// Rule 27: both sides must know within this time of the restart.
const RULE_27: Duration = Duration::from_secs(10);

fn kill(gateway: &mut Gateway) {
    gateway.program.signal(libc::SIGKILL);
    gateway.program.wait_exit();
}

fn assert_orphaned(record: &Value, direction: &str) {
    assert_eq!(record["direction"], direction, "{record:#}");
    assert!(!record["answered"].is_null() && !record["endpoint"].is_null(), "{record:#}");
    assert_eq!((&record["fault"], &record["cause"]), (&json!("us"), &json!("orphaned")), "{record:#}");
}

/// Kills the gateway in the middle of a call; after its restart both sides learn of the end.
fn end_by_kill(world: &mut World, phone: &mut Phone, id: &str) {
    kill(&mut world.gateway);
    let call = world.meta.call(id);
    assert!(call.told()["terminate"].is_null(), "Meta does not know yet");
    world.gateway = Gateway::start(&world.layout);
    let restarted = Instant::now();
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert!(restarted.elapsed() < RULE_27, "rule 27: {:?}", restarted.elapsed());
    world.assert_no_violations();
}

#[test]
fn a_call_that_was_up_at_kill_9_is_ended_at_both_sides_after_the_restart() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let id = {
        let call = world.meta.place_call(USER);
        phone.wait("CALL_ESTABLISHED", 0);
        call.talk(50);
        call.id
    };
    end_by_kill(&mut world, &mut phone, &id);
    assert_orphaned(&world.closed_record(&id), "user_initiated");
}

#[test]
fn a_call_of_a_phone_that_was_up_at_kill_9_is_ended_at_both_sides_after_the_restart() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let id = {
        let call = world.meta.wait_call(USER);
        phone.wait("CALL_ESTABLISHED", 0);
        call.talk(50);
        call.id
    };
    end_by_kill(&mut world, &mut phone, &id);
    assert_orphaned(&world.closed_record(&id), "business_initiated");
}

#[test]
fn a_trunk_that_talked_at_kill_9_gets_a_bye_after_the_restart() {
    let mut world = World::start(&Setup { ring: r#""trunk:pbx/200""#, ..Setup::default() });
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
    let id = {
        let call = world.meta.place_call(USER);
        call.talk(50);
        call.id
    };
    kill(&mut world.gateway);
    world.gateway = Gateway::start(&world.layout);
    let restarted = Instant::now();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario: INVITE, ACK, BYE");
    world.meta.call(&id).wait_over();
    assert!(restarted.elapsed() < RULE_27, "{:?}", restarted.elapsed());
    assert_orphaned(&world.closed_record(&id), "user_initiated");
    world.assert_no_violations();
}

#[test]
fn sigterm_ends_the_call_at_both_sides_and_the_program_with_status_0() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    world.gateway.program.signal(libc::SIGTERM);
    assert!(world.gateway.program.wait_exit().success(), "a stop is not a failure");
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert!(!record["answered"].is_null(), "{record:#}");
    assert_eq!(record["fault"], "us", "{record:#}");
    world.assert_no_violations();
}
