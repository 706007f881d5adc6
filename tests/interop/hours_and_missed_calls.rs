//! What happens when nobody is there: hours, do-not-disturb, what Meta is told of them, missed calls, calling back.

use serde_json::{Value, json};

use crate::rig::gateway::{Setup, cordboard, run};
use crate::rig::{USER, World, baresip};

/// Open for an hour of a day long ago, and otherwise never.
const CLOSED: &str = r#"hours = { time_zone = "Europe/Berlin", holidays = ["2020-01-01 09:00-10:00"] }"#;

/// Runs a command on the gateway's configuration; its exit status and what it said.
fn command(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(cordboard(arguments).arg("--config").arg(world.layout.config()), "");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

/// Runs a command that must go well.
fn done(world: &World, arguments: &[&str]) -> String {
    let (status, said) = command(world, arguments);
    assert_eq!(status, Some(0), "{arguments:?}: {said}");
    said
}

#[test]
fn a_user_who_calls_a_closed_number_is_rejected_and_no_phone_rings() {
    let mut world = World::start(&Setup { number: CLOSED, ..Setup::default() });
    let phone = world.phone(baresip::OnRing::Answer);
    let call = world.meta.place_call(USER);
    let record = world.closed_record(&call.id);
    assert_eq!((&record["cause"], &record["fault"]), (&json!("closed"), &json!("policy")), "{record:#}");
    assert_eq!(record["payload"], "*** 7", "covered: {record:#}");
    drop(phone);
    world.assert_no_violations();
}

#[test]
fn b13_settings_that_differ_at_meta_are_shown_and_mended_and_then_differ_no_more() {
    let number = r#"hours = { time_zone = "Europe/Berlin", monday = ["09:00-12:00", "13:00-17:00"], holidays = ["2099-12-25"] }
settings = { calls = true, call_icon = false, countries = ["DE", "BR"], callback_permission = true, hours = true }"#;
    let world = World::start(&Setup { number, ..Setup::default() });
    let (status, said) = command(&world, &["settings", "diff"]);
    assert_eq!(status, Some(1), "{said}");
    for line in
        ["- DEFAULT", "+ DISABLE_ALL", "- always open", "+ MONDAY 0900-1200", "+ 2099-12-25 closed 0000-2359"]
    {
        assert!(said.contains(line), "{line} is missing: {said}");
    }
    let said = done(&world, &["settings", "apply"]);
    assert!(said.contains("written (4 at Meta differed)"), "{said}");
    assert!(done(&world, &["settings", "diff"]).contains("Meta has what the file wants"));
    let shown: Value = serde_json::from_str(&done(&world, &["settings", "show"])).expect("JSON");
    assert_eq!(shown["calling"]["call_hours"]["weekly_operating_hours"][1]["open_time"], "1300", "{shown:#}");
}

#[test]
fn hours_that_meta_cannot_hold_are_refused_before_anything_is_sent() {
    let number = r#"hours = { time_zone = "UTC", monday = ["08:00-09:00", "10:00-11:00", "12:00-13:00"] }
settings = { calls = true, hours = true }"#;
    let world = World::start(&Setup { number, ..Setup::default() });
    let (status, said) = command(&world, &["settings", "apply"]);
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("MONDAY has 3 spans; Meta takes two a day"), "{said}");
}

#[test]
fn a_phone_that_is_not_to_be_disturbed_does_not_ring_and_rings_again_when_it_is() {
    let mut world = World::start(&Setup::default());
    let _phone = world.phone(baresip::OnRing::Answer);
    assert!(done(&world, &["dnd", "on", "1001"]).contains("1001 is not disturbed"));
    assert!(done(&world, &["dnd"]).contains("1001"));
    let missed = world.meta.place_call(USER);
    assert_eq!(world.closed_record(&missed.id)["cause"], "phone_unreachable");
    assert!(done(&world, &["dnd", "on", "1009"]).contains("there is no [[phone]]"));
    done(&world, &["dnd", "off", "1001"]);
    let call = world.meta.place_call(USER);
    call.talk(20);
    call.act("hangup", &Value::Null);
    assert_eq!(world.closed_record(&call.id)["cause"], "user_hung_up");
    world.assert_no_violations();
}

#[test]
fn a_missed_call_is_called_back_by_one_command_and_then_off_the_list() {
    let mut world = World::start(&Setup::default());
    let missed = world.meta.place_call(USER).id;
    let id = world.closed_record(&missed)["id"].as_str().expect("an id").to_owned();
    assert!(done(&world, &["missed"]).contains("no: none"), "no permission yet");
    let phone = world.phone(baresip::OnRing::Answer);
    let (status, said) = command(&world, &["callback", &id, "--from", "1001"]);
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("does not allow calls"), "{said}");
    world.meta.set_user(USER, &json!({}));
    done(&world, &["permission", "set", "--user", USER, "--state", "permanent"]);
    let said = done(&world, &["callback", "next", "--from", "1001"]);
    assert!(said.contains("1001 rings, then the user ***23"), "{said}");
    let calls = || world.meta.calls();
    let back = crate::rig::program::wait_for("the user's phone rings", crate::rig::program::PATIENCE, || {
        let all = calls();
        let found = all.iter().find(|it| it["call"] != json!(missed))?;
        found["call"].as_str().map(str::to_owned)
    });
    let call = world.meta.call(&back);
    call.talk(40);
    call.act("hangup", &Value::Null);
    let record = world.closed_record(&back);
    assert_eq!(
        (&record["direction"], &record["cause"]),
        (&json!("business_initiated"), &json!("user_hung_up"))
    );
    assert_eq!(record["endpoint"], "phone 1001", "{record:#}");
    assert_eq!(record["dialling"]["permission"], "permanent", "{record:#}");
    assert_eq!(done(&world, &["missed"]).trim(), "no missed calls");
    assert!(done(&world, &["missed", "--all"]).contains("done: call "));
    drop(phone);
    world.assert_no_violations();
}
