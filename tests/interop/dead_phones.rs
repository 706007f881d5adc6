//! F4: who dies at the desk in the middle of a call ends it for WhatsApp, too. Nobody hangs up.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::baresip::OnRing;
use crate::rig::gateway::Setup;
use crate::rig::program::wait_for;
use crate::rig::{USER, World, assert_record};

/// F4: both sides know within this time.
const F4: Duration = Duration::from_secs(30);

#[test]
fn f4_a_phone_killed_in_a_call_ends_it_at_meta_within_thirty_seconds_though_the_user_talks_on() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    phone.kill();
    let killed = Instant::now();
    let told = wait_for("Meta was told of the end", F4, || {
        let told = call.told();
        (!told["terminate"].is_null()).then_some(told)
    });
    assert!(killed.elapsed() > Duration::from_secs(10), "no answer for so long: {told:#}");
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert_record(&record, "user_initiated", true, "phone");
    assert_eq!(record["cause"], json!("phone_vanished"), "{record:#}");
    world.assert_no_violations();
}
