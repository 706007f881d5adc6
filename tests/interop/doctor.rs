//! `cordboard doctor` on a real gateway and the stand-in for Meta: well, and with one thing wrong at a time.

use serde_json::{Value, json};

use crate::rig::gateway::{Setup, cordboard, run};
use crate::rig::{World, baresip};

/// Runs the doctor; its exit status and what it found.
fn examine(world: &World) -> (Option<i32>, Value) {
    let output = run(cordboard(&["doctor", "--json", "--config"]).arg(world.layout.config()), "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&said).unwrap_or_else(|error| {
        panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code(), report)
}

/// The checks of a report that are as bad as `severity`.
fn checks(report: &Value, severity: &str) -> Vec<String> {
    let findings = report["findings"].as_array().expect("findings");
    let bad = findings.iter().filter(|it| it["severity"] == severity);
    bad.map(|it| it["check"].as_str().expect("a check").to_owned()).collect()
}

#[test]
fn b19_a_gateway_that_is_well_has_no_fault_and_each_thing_that_goes_wrong_is_named_with_what_to_do() {
    let mut world = World::start(&Setup::default());
    let phone = world.phone(baresip::OnRing::Answer);
    let (status, report) = examine(&world);
    assert_eq!((status, checks(&report, "fault")), (Some(0), Vec::new()), "{report:#}");
    let good = checks(&report, "good");
    for check in [
        "clock",
        "gateway",
        "sip",
        "ring_plan",
        "token",
        "number",
        "tier",
        "account",
        "subscription",
        "settings",
        "webhook",
        "webhook_post",
        "certificate",
        "folder",
        "dns",
    ] {
        assert!(good.iter().any(|it| it == check), "{check} was not looked at: {report:#}");
    }
    // One thing wrong at a time, at Meta.
    for (account, check, remedy) in [
        (json!({ "tier": "TIER_250" }), "tier", "verify the business"),
        (json!({ "tier": "TIER_250", "old_names": true }), "tier", "verify the business"),
        (json!({ "coexistence": true }), "coexistence", "Cloud API alone"),
        (json!({ "platform": "ON_PREMISE" }), "platform", "Cloud API"),
        (json!({ "subscribed": false }), "account", "/subscribed_apps"),
        (
            json!({ "fields": ["messages", "account_update", "account_settings_update"] }),
            "subscription",
            "fields calls",
        ),
        (json!({ "fields": [] }), "subscription", "callback URL"),
        (json!({ "scopes": ["whatsapp_business_management"] }), "token", "whatsapp_business_messaging"),
        (
            json!({ "callback": format!("http://{}/other", world.layout.webhook) }),
            "webhook",
            "webhook.listen",
        ),
    ] {
        world.meta.ask("POST", "/sim/account", &account);
        let (status, report) = examine(&world);
        assert_eq!(
            (status, checks(&report, "fault")),
            (Some(1), vec![check.to_owned()]),
            "{account}: {report:#}"
        );
        assert_eq!(report["findings"][0]["check"], check, "the worst comes first: {report:#}");
        let told = report["findings"][0]["remedy"].as_str().expect("a remedy");
        assert!(told.contains(remedy), "{account}: {told}");
    }
    world.meta.ask("POST", "/sim/account", &json!({}));
    // And here.
    let set = run(cordboard(&["dnd", "on", "1001", "--config"]).arg(world.layout.config()), "");
    assert!(set.status.success());
    assert_eq!(checks(&examine(&world).1, "fault"), ["ring_plan"]);
    let output = run(cordboard(&["doctor", "--config"]).arg(world.layout.config()), "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.starts_with("FAULT    ring_plan: number support: no phone of its plan can be rung: 1001 is not"),
        "{said}"
    );
    assert!(said.contains("\n         -> the phone's account"), "{said}");
    assert!(said.contains("1 fault, "), "{said}");
    drop(phone);
}

#[test]
fn a_gateway_that_does_not_run_and_a_port_that_somebody_else_has_are_told() {
    let mut world = World::start(&Setup::default());
    world.gateway.program.signal(libc::SIGTERM);
    world.gateway.program.wait_exit();
    let squatter = std::net::UdpSocket::bind(&world.layout.sip).expect("the gateway has left its port");
    let (status, report) = examine(&world);
    assert_eq!(status, Some(1));
    let mut faults = checks(&report, "fault");
    faults.sort_unstable();
    assert_eq!(faults, ["gateway", "listen"], "{report:#}");
    // From here nobody can tell whether a firewall is in the way, or nobody listens.
    assert!(checks(&report, "warning").iter().any(|it| it == "webhook"), "{report:#}");
    drop(squatter);
}

#[test]
fn a_file_that_is_wrong_is_the_first_thing_to_mend() {
    let world = World::start(&Setup::default());
    let text = std::fs::read_to_string(world.layout.config()).expect("written");
    let broken = world.layout.folder.join("broken.toml");
    std::fs::write(&broken, text.replace("realm = ", "relam = ")).expect("the test's folder can be written");
    let output = run(cordboard(&["doctor", "--json", "--config"]).arg(&broken), "");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1));
    assert!(checks(&report, "fault").iter().all(|it| it == "file"), "{report:#}");
    let place = report["findings"][0]["place"].as_str().expect("a key");
    assert!(place.contains("sip.re") && place.contains("(line "), "{place}");
}
