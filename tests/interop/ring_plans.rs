//! Ring plans with real phones: the first does not take the call, the second does.

use serde_json::json;

use crate::rig::baresip::OnRing;
use crate::rig::gateway::Setup;
use crate::rig::simulator::assert_unbroken;
use crate::rig::sound::{OTHER_HZ, USER_HZ, assert_heard, tenths_of};
use crate::rig::{USER, World, assert_record};

const STEPS: &str = r#"
[[number.step]]
targets = ["phone:1001"]
ring = "4s"
[[number.step]]
targets = ["group:backups"]
[[group]]
name = "backups"
members = ["phone:1002"]
"#;

/// Whether the first phone declines or lets it ring, the second one talks with the user.
fn the_second_phone_gets_the_call(declines: bool) {
    let mut world = World::start(&Setup { ring: "", number: STEPS, ..Setup::default() });
    let mut first = world.phone(OnRing::Wait);
    let mut second = world.other_phone(OnRing::Answer, "PCMU");
    let call = world.meta.place_call(USER);
    first.wait("CALL_INCOMING", 0);
    assert!(second.seen("CALL_INCOMING", 0).is_none(), "its turn has not come");
    if declines {
        first.order("hangup", "");
    }
    second.wait("CALL_ESTABLISHED", 0);
    first.wait("CALL_CLOSED", 0);
    call.talk(100);
    call.act("hangup", &json!({}));
    second.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_heard(&second.heard(), USER_HZ);
    let (theirs, _) = tenths_of(&call.heard, OTHER_HZ);
    assert!(theirs >= 10, "{theirs} tenths of a second of the second phone");
    assert_unbroken(&call.told());
    world.assert_no_violations();
    let record = world.closed_record(&call.id);
    assert_record(&record, "user_initiated", true, "user");
    assert!(record["endpoint"].as_str().is_some_and(|it| it.contains("1002")), "{record:#}");
}

#[test]
fn a_phone_that_declines_makes_way_for_the_next_step_at_once() {
    the_second_phone_gets_the_call(true);
}

#[test]
fn a_phone_that_nobody_picks_up_makes_way_when_its_time_is_over() {
    the_second_phone_gets_the_call(false);
}
