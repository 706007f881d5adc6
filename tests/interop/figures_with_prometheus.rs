//! Prometheus reads the figures: its linter and its server.

use std::process::Command;

use serde_json::{Value, json};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{Setup, run, sample, scrape};
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

    assert_filled(&scrape(&world.layout));

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

/// Families that an ordinary call leaves empty: their labels are only known once it has happened, or configured.
const RARE: &[&str] = &[
    "cordboard_call_denials",
    "cordboard_cap_warnings",
    "cordboard_permission_drift",
    "cordboard_permission_requests",
    "cordboard_desk_calls",
    // Of the week before: a new gateway has none.
    "cordboard_pickup_ratio_week",
    // Only where Meta's `terminate` never came.
    "cordboard_calls_untimed",
    "cordboard_graph_errors",
    "cordboard_refused",
    "cordboard_sip_parse_errors",
    // Only of trunks that are given by name.
    "cordboard_dns_lookups",
    "cordboard_dns_waits",
    "cordboard_dns_names_stale",
    "cordboard_dns_names_unknown",
    // Only of trunks that want us to register.
    "cordboard_trunk_registered",
];

/// What one ordinary call must have moved.
const MOVED: &[&str] = &[
    "cordboard_calls_total",
    "cordboard_call_talk_seconds_count",
    "cordboard_call_setup_seconds_count",
    "cordboard_webhook_duration_seconds_count",
    "cordboard_webhook_age_seconds_count",
    "cordboard_graph_request_duration_seconds_count",
    "cordboard_store_duration_seconds_count",
    "cordboard_media_packets_total",
    "cordboard_media_transit_seconds_count",
    "cordboard_media_loss_ratio_count",
    "cordboard_media_jitter_seconds_count",
    "cordboard_media_ports",
];

fn assert_filled(scraped: &str) {
    let sum = |name: &str| {
        let lines = scraped
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let values: Vec<f64> = lines.filter_map(sample).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>())
    };
    for metric in cordboard::metrics::table::TABLE {
        let endings = ["", "_total", "_count"];
        let there = endings.iter().any(|ending| sum(&format!("{}{ending}", metric.name)).is_some());
        assert!(there || RARE.contains(&metric.name), "{} has no sample", metric.name);
    }
    for name in MOVED {
        assert!(sum(name).is_some_and(|it| it > 0.0), "{name}: {:?}", sum(name));
    }
}

#[test]
fn promtool_has_nothing_to_say_about_the_alert_rules_and_their_tests_pass() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus");
    for arguments in [["check", "rules", "cordboard.rules.yml"], ["test", "rules", "cordboard.tests.yml"]] {
        let output = run(Command::new("promtool").args(arguments).current_dir(folder), "");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("SUCCESS"), "promtool {arguments:?}: {said}");
    }
}

/// The value of the first sample of an instant query.
fn value(at: &str, query: &str) -> Option<String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = http::request("GET", at, &format!("/api/v1/query?query={encoded}"), &[], b"")?;
    let told: Value = serde_json::from_str(&answer.body).ok()?;
    told["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
}
