//! The gateway dies or is stopped in the middle of a call: both sides learn of it, and the record is closed.

use std::time::{Duration, Instant};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{Gateway, Setup};
use crate::rig::{USER, World};

#[test]
fn a_call_that_was_up_at_kill_9_is_ended_at_both_sides_after_the_restart() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    world.gateway.program.signal(libc::SIGKILL);
    world.gateway.program.wait_exit();
    assert!(call.told()["terminate"].is_null(), "Meta does not know yet");
    world.gateway = Gateway::start(&world.layout);
    let restarted = Instant::now();
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert!(restarted.elapsed() < Duration::from_secs(10), "rule 27: within 10 s");
    let record = world.closed_record(&call.id);
    assert_eq!(record["direction"], "user_initiated", "{record:#}");
    assert!(!record["answered"].is_null(), "{record:#}");
    assert_eq!(record["fault"], "us", "{record:#}");
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
