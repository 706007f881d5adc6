//! What a phone dials for itself: emergency numbers, do-not-disturb, the next in the callback queue.

use serde_json::json;

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{self, Setup, cordboard, run};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, sipp};

/// Runs a command that must go well.
fn done(world: &World, arguments: &[&str]) -> String {
    let output = run(cordboard(arguments).arg("--config").arg(world.layout.config()), "");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    said
}

#[test]
fn rule_10_an_emergency_call_goes_to_the_trunk_with_the_houses_number_whatever_caps_say() {
    let number = "[emergency]\nroute = \"trunk:pbx\"\ncaller = \"493055500099\"\n";
    let calls = "per_phone = { at_once = 1, per_minute = 1, per_day = 1 }";
    let trunk = "max_calls = 1";
    for dialled in ["112", "8112"] {
        let mut world = World::start(&Setup { number, calls, trunk, ..Setup::default() });
        let folder = world.folder().to_owned();
        let mut phone = world.phone(OnRing::Answer);
        // The only call that this phone may make in a day leads nowhere.
        phone.order("dial", &world.uri_of("01"));
        phone.wait("CALL_CLOSED", 0);
        let mark = phone.mark();
        phone.order("dial", &world.uri_of("01"));
        phone.wait("CALL_CLOSED", mark);
        wait_for("the phone is capped", PATIENCE, || {
            phone.output().contains("403 Too many calls").then_some(())
        });
        let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
        let mark = phone.mark();
        phone.order("dial", &world.uri_of(dialled));
        phone.wait("CALL_ESTABLISHED", mark);
        let before = phone.received().0;
        wait_for("the echo is heard", PATIENCE, || (phone.received().0 >= before + 100).then_some(()));
        phone.order("hangup", "");
        phone.wait("CALL_CLOSED", mark);
        assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
        assert_heard(&phone.heard(), PHONE_HZ);
        let messages = std::fs::read_to_string(folder.join("sipp-messages.log")).expect("SIPp's log");
        assert!(messages.contains("INVITE sip:112@"), "{messages}");
        assert!(messages.contains("Priority: emergency") && messages.contains("493055500099@"), "{messages}");
        assert!(world.meta.calls().is_empty(), "never into WhatsApp");
        assert_eq!(gateway::desk_calls(&world.layout)[0]["callee"], "trunk pbx");
    }
}

#[test]
fn a_phone_is_not_disturbed_by_its_own_code_over_a_restart_until_it_dials_the_other_one() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    phone.order("dial", &world.uri_of("*78"));
    phone.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_CLOSED", 0);
    assert!(done(&world, &["dnd"]).contains("1001"));
    let missed = world.meta.place_call(USER);
    assert_eq!(world.closed_record(&missed.id)["cause"], "phone_unreachable");
    world.gateway.program.signal(libc::SIGTERM);
    world.gateway.program.wait_exit();
    world.gateway = gateway::Gateway::start(&world.layout);
    assert!(done(&world, &["dnd"]).contains("1001"), "it outlives a restart");
    let mark = phone.mark();
    phone.order("dial", &world.uri_of("*79"));
    phone.wait("CALL_CLOSED", mark);
    assert!(!done(&world, &["dnd"]).contains("1001"));
    let call = world.meta.place_call(USER);
    call.talk(40);
    call.act("hangup", &json!({}));
    assert_eq!(world.closed_record(&call.id)["cause"], "user_hung_up");
    world.assert_no_violations();
}

#[test]
fn a_phone_calls_back_the_next_in_the_queue_by_its_code_and_a_second_one_finds_nobody() {
    let mut world = World::start(&Setup { ring: r#""phone:1001", "phone:1002""#, ..Setup::default() });
    let missed = world.meta.place_call(USER).id;
    world.closed_record(&missed);
    world.meta.set_user(USER, &json!({ "answer_after_ms": 3000 }));
    done(&world, &["permission", "set", "--user", USER, "--state", "permanent"]);
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    phone.order("dial", &world.uri_of("*75"));
    let call = world.meta.wait_call(USER);
    other.order("dial", &world.uri_of("*75"));
    let closed = other.wait("CALL_CLOSED", 0);
    assert!(closed.to_string().contains("Nobody to call"), "{closed:#}");
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(75);
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    assert_heard(&phone.heard(), USER_HZ);
    assert_eq!(world.closed_record(&call.id)["endpoint"], "phone 1001");
    assert_eq!(done(&world, &["missed"]).trim(), "no missed calls");
    world.assert_no_violations();
}

#[test]
fn b14_a_group_shares_a_queue_by_command_and_code_and_who_is_outside_takes_nobody() {
    let groups = r#"[[group]]
name = "front"
members = ["phone:1001"]
[[group]]
name = "back"
members = ["phone:1002"]
callbacks = ["support"]
"#;
    // 1002 is neither rung by the number nor dials through it: the group alone makes the queue its own.
    let mut world = World::start(&Setup { ring: r#""phone:1001""#, number: groups, ..Setup::default() });
    let missed = world.meta.place_call(USER).id;
    world.closed_record(&missed);
    assert!(done(&world, &["missed", "--group", "back"]).contains("no: none"));
    assert_eq!(done(&world, &["missed", "--group", "front"]).trim(), "no missed calls");
    world.meta.set_user(USER, &json!({ "answer_after_ms": 3000 }));
    done(&world, &["permission", "set", "--user", USER, "--state", "permanent"]);
    let mut outside = world.phone(OnRing::Answer);
    let mut member = world.other_phone(OnRing::Answer, "PCMU");
    for (code, why) in [("*752", "Not your group"), ("*753", "No such code")] {
        let mark = outside.mark();
        outside.order("dial", &world.uri_of(code));
        let closed = outside.wait("CALL_CLOSED", mark);
        assert!(closed.to_string().contains(why), "{code}: {closed:#}");
    }
    let refused = ["callback", "next", "--from", "1001", "--group", "back", "--config"];
    let refused = run(cordboard(&refused).arg(world.layout.config()), "");
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("does not belong to the group"), "{refused}");
    member.order("dial", &world.uri_of("*752"));
    let call = world.meta.wait_call(USER);
    member.wait("CALL_ESTABLISHED", 0);
    call.talk(40);
    member.order("hangup", "");
    member.wait("CALL_CLOSED", 0);
    assert_eq!(world.closed_record(&call.id)["endpoint"], "phone 1002");
    assert_eq!(done(&world, &["missed", "--group", "back"]).trim(), "no missed calls");
    world.assert_no_violations();
}
