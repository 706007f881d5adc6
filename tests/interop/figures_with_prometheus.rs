//! Prometheus reads the figures: its linter and its server.

use std::process::Command;

use serde_json::{Value, json};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{Setup, run, scrape};
use crate::rig::program::{PATIENCE, Program, wait_for};
use crate::rig::{USER, World, http};

/// The figures of a gateway that has had a call, so that every family has samples.
fn world_after_a_call() -> World {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    world.closed_record(&call.id);
    drop(phone);
    world
}

#[test]
fn promtool_has_nothing_to_say_about_a_live_scrape_and_prometheus_stores_it() {
    let mut world = world_after_a_call();
    let output = run(Command::new("promtool").args(["check", "metrics"]), &scrape(&world.layout));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "promtool: {}: {said}", output.status);

    let at = format!("127.0.0.1:{}", world.ports.take(1));
    let config = world.folder().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: cordboard\n  static_configs:\n  - targets: ['{}']\n",
        world.layout.admin
    );
    std::fs::write(&config, text).expect("the test's folder can be written");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", world.folder().join("prometheus").display()));
    command.arg(format!("--web.listen-address={at}"));
    let _prometheus = Program::start("prometheus", world.folder(), &mut command);
    let up = wait_for("prometheus has scraped the gateway", PATIENCE, || value(&at, "up"));
    assert_eq!(up, "1");
    let count = value(&at, "count({__name__=~\"cordboard_.*\"})").expect("figures of ours");
    assert!(count.parse::<u32>().is_ok_and(|series| series > 20), "{count} series");
}

/// The value of the first sample of an instant query.
fn value(at: &str, query: &str) -> Option<String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = http::request("GET", at, &format!("/api/v1/query?query={encoded}"), &[], b"")?;
    let told: Value = serde_json::from_str(&answer.body).ok()?;
    told["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
}
