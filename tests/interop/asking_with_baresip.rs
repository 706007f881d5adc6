//! Meta's rules as a person at a desk phone meets them: refused with a reason, asking, rung back, stopped in time.
//! The phone is baresip; Meta is the product's own stand-in, which keeps the rules by itself.

use serde_json::{Value, json};

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{Setup, cordboard, records, run};
use crate::rig::program::wait_until;
use crate::rig::simulator::NUMBER_ID;
use crate::rig::{USER, World, assert_record};

/// What a command of the product says, both ways.
fn said(world: &World, words: &[&str]) -> String {
    let output = run(cordboard(words).arg("--config").arg(world.layout.config()), "");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Dials and gives what the phone showed when the call came to nothing.
fn refused(world: &World, phone: &mut Phone, digits: &str) -> String {
    let mark = phone.mark();
    phone.order("dial", &world.uri_of(digits));
    phone.wait("CALL_CLOSED", mark)["param"].as_str().unwrap_or_default().to_owned()
}

fn started(world: &World) -> usize {
    world.meta.calls().iter().filter(|call| call["direction"] == "BUSINESS_INITIATED").count()
}

#[test]
fn b5_who_may_not_call_asks_by_dialling_and_is_rung_when_the_user_accepts() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({ "permission": "none" }));
    let shown = refused(&world, &mut phone, &format!("8{USER}"));
    assert!(shown.contains("403") && shown.contains("Ask first: dial *74"), "{shown}");
    // Nobody has written: without a template there is no way to ask.
    let shown = refused(&world, &mut phone, &format!("*748{USER}"));
    assert!(shown.contains("403 No open chat"), "{shown}");
    world.meta.order(&format!("/sim/users/{USER}/message"), &json!({ "number": NUMBER_ID }));
    let show = ["permission", "show", "--user", USER];
    wait_until("the window is open", || said(&world, &show).contains("ask now: yes, free_form"));
    let shown = refused(&world, &mut phone, &format!("*748{USER}"));
    assert!(shown.contains("603 Request sent"), "{shown}");
    let sent = world.meta.messages();
    assert_eq!(sent.len(), 1, "{sent:#?}");
    assert_eq!(sent[0]["body"]["interactive"]["type"], "call_permission_request");
    // Once a day: the second one does not reach Meta.
    let shown = refused(&world, &mut phone, &format!("*748{USER}"));
    assert!(shown.contains("403 Asked today"), "{shown}");
    assert_eq!(world.meta.messages().len(), 1);
    let mark = phone.mark();
    let accept = json!({ "number": NUMBER_ID, "response": "accept", "context": sent[0]["id"] });
    world.meta.order(&format!("/sim/users/{USER}/permission-reply"), &accept);
    phone.wait("CALL_ESTABLISHED", mark);
    let call = world.meta.wait_call(USER);
    wait_until("the user has answered", || call.told()["state"] == "in_progress");
    call.talk(50);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", mark);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "user");
    let told = said(&world, &show);
    assert!(told.contains("temporary until") && told.contains("last request: free_form"), "{told}");
    world.assert_no_violations();
}

#[test]
fn b9_the_third_miss_stops_and_the_fourth_costs_the_permission() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Wait);
    world.meta.set_user(USER, &json!({ "answer_after_ms": null, "ring_after_ms": 10 }));
    let miss = |world: &World, phone: &mut Phone| {
        let (before, mark) = (started(world), phone.mark());
        phone.order("dial", &world.uri_of(&format!("8{USER}")));
        phone.wait("CALL_RINGING", mark);
        phone.order("hangup", "");
        wait_until("the call is over at Meta", || {
            world.meta.calls().iter().all(|call| call["state"] == "ended") && started(world) == before + 1
        });
        // Only then may the same user be called again.
        wait_until("its record is closed", || {
            records(&world.layout).iter().all(|record| !record["ended"].is_null())
        });
    };
    for _ in 0..3 {
        miss(&world, &mut phone);
    }
    let show = ["permission", "show", "--user", USER];
    wait_until("three misses are counted", || said(&world, &show).contains("unanswered in a row: 3"));
    let shown = refused(&world, &mut phone, &format!("8{USER}"));
    assert!(shown.contains("403 Missed 3 times"), "{shown}");
    assert_eq!(started(&world), 3, "nothing reached Meta");
    said(&world, &["permission", "override", "--user", USER, "--reason", "asked for it by mail"]);
    miss(&world, &mut phone);
    wait_until("Meta has taken the permission", || said(&world, &show).contains("revoked"));
    let shown = refused(&world, &mut phone, &format!("8{USER}"));
    assert!(shown.contains("403 Ask first"), "{shown}");
    assert_eq!(started(&world), 4);
    world.assert_no_violations();
}

#[test]
fn a_pause_for_bad_quality_is_obeyed_also_if_its_webhook_never_comes() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Wait);
    world.meta.set_user(USER, &json!({}));
    world.meta.set_faults(&json!({ "webhook_drop": true }));
    world.meta.order(&format!("/sim/numbers/{NUMBER_ID}"), &json!({ "paused_for_ms": 600_000 }));
    let shown = refused(&world, &mut phone, &format!("8{USER}"));
    assert!(shown.contains("Calling paused"), "Meta's own word: {shown}");
    wait_until("it is kept", || said(&world, &["rules"]).contains("RESTRICTED_BUSINESS_INITIATED_CALLING"));
    world.meta.set_faults(&json!({ "graph_error": { "action": "connect", "code": 100, "times": 1 } }));
    let shown = refused(&world, &mut phone, &format!("8{USER}"));
    assert!(shown.contains("403 Calling paused"), "said here, not there: {shown}");
    assert_eq!(started(&world), 0);
    let told: Value = serde_json::from_str(&said(&world, &["rules", "--json"])).expect("JSON");
    assert_eq!(told["restrictions"].as_array().map(Vec::len), Some(1), "{told:#}");
}

#[test]
fn metas_word_corrects_a_ledger_that_allows_too_much() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Wait);
    world.meta.set_user(USER, &json!({ "permission": "none" }));
    said(&world, &["permission", "set", "--user", USER, "--state", "permanent"]);
    let shown = refused(&world, &mut phone, &format!("8{USER}"));
    assert!(shown.contains("403 No permission"), "{shown}");
    let show = ["permission", "show", "--user", USER];
    wait_until("the ledger is corrected", || said(&world, &show).contains(": none"));
    let log = said(&world, &["permission", "log", "--user", USER]);
    assert!(log.contains("refusal"), "{log}");
    let metrics = crate::rig::gateway::scrape(&world.layout);
    assert!(
        metrics.contains("cordboard_permission_drift_total{number=\"support\",kind=\"meta_refuses\"} 1"),
        "{metrics}"
    );
}
