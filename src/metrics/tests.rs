//! What a scrape looks like, and what Prometheus' own linter thinks of it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::label::{
    CallEnd, GraphAction, GraphOutcome, GraphRequest, Leg, LegWay, OfAction, OfLeg, OfNumber, OfWebhook, Way,
    Word,
};
use super::table::{
    BUILD_INFO, CALL_TALK, CALLS, CAP_USED, CPU, GRAPH, GRAPH_DURATION, MEDIA_MOS, MEDIA_PACKETS,
    MEDIA_TRANSIT, WEBHOOKS,
};
use super::*;
use crate::call::Fault;
use crate::call::record::CallDirection;

fn end(cause: &'static str) -> CallEnd {
    CallEnd {
        number: "support".into(),
        direction: CallDirection::UserInitiated,
        cause: Word(cause),
        fault: Fault::User,
    }
}

fn scrape(registry: &Registry) -> String {
    let mut scrape = Scrape::default();
    scrape.gauge(&CAP_USED, &OfNumber { number: "support".into() }, 12.0);
    scrape.gauge(&BUILD_INFO, &label::Build { version: Word("0.1.0") }, 1.0);
    scrape.total(&CPU, &(), 1.25);
    for worker in [3.0, 4.0] {
        scrape.total(&MEDIA_PACKETS, &LegWay { leg: Leg::Phone, way: Way::In }, worker);
    }
    let buckets = [(0.001, 5), (0.003, 2)];
    for _ in 0..2 {
        let spans = Duration::from_millis(9);
        scrape.distribution(&MEDIA_TRANSIT, &OfLeg { leg: Leg::WhatsApp }, &buckets, spans);
    }
    scrape.total(&WEBHOOKS, &OfWebhook { outcome: Word("new") }, 1.0);
    registry.render(scrape)
}

fn filled() -> Registry {
    let registry = Registry::new(&["support".into()]);
    registry.count(&CALLS, &end("user_hung_up"));
    registry.count(&CALLS, &end("user_hung_up"));
    registry.count(&CALLS, &end("missed"));
    let accept = OfAction { action: GraphAction::Accept };
    registry.observe(&GRAPH_DURATION, &accept, Duration::from_millis(3));
    registry.measure(&MEDIA_MOS, &LegWay { leg: Leg::Phone, way: Way::Out }, 4.31);
    let request = GraphRequest { action: GraphAction::Accept, outcome: GraphOutcome::TimedOut };
    registry.count(&GRAPH, &request);
    registry
}

#[test]
fn events_and_figures_stand_in_one_scrape() {
    let text = scrape(&filled());
    for line in [
        "# TYPE cordboard_calls_total counter",
        "# HELP cordboard_calls_total Calls that ended, by what ended them and whose doing it was.",
        r#"cordboard_calls_total{number="support",direction="user_initiated",cause="user_hung_up",fault="user"} 2"#,
        r#"cordboard_calls_total{number="support",direction="user_initiated",cause="missed",fault="user"} 1"#,
        "# TYPE cordboard_cap_used gauge",
        r#"cordboard_cap_used{number="support"} 12.0"#,
        r#"cordboard_graph_request_duration_seconds_bucket{le="0.005",action="accept"} 1"#,
        r#"cordboard_graph_request_duration_seconds_bucket{le="0.002",action="accept"} 0"#,
        r#"cordboard_media_mos_bucket{le="4.34",leg="phone",way="out"} 1"#,
        r#"cordboard_media_mos_bucket{le="4.2",leg="phone",way="out"} 0"#,
        r#"cordboard_graph_requests_total{action="accept",outcome="timed_out"} 1"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}

#[test]
fn workers_are_summed() {
    let text = scrape(&filled());
    for line in [
        r#"cordboard_media_packets_total{leg="phone",way="in"} 7.0"#,
        r#"cordboard_media_transit_seconds_bucket{le="0.001",leg="whatsapp"} 10"#,
        r#"cordboard_media_transit_seconds_bucket{le="0.003",leg="whatsapp"} 14"#,
        r#"cordboard_media_transit_seconds_bucket{le="+Inf",leg="whatsapp"} 14"#,
        r#"cordboard_media_transit_seconds_count{leg="whatsapp"} 14"#,
        r#"cordboard_media_transit_seconds_sum{leg="whatsapp"} 0.018"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_can_be_known_beforehand_starts_at_zero() {
    let text = Registry::new(&["support".into(), "sales".into()]).render(Scrape::default());
    for line in [
        r#"cordboard_graph_requests_total{action="connect",outcome="refused"} 0"#,
        r#"cordboard_panics_total{part="media"} 0"#,
        r#"cordboard_call_talk_seconds_count{number="sales",direction="business_initiated"} 0"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("cordboard_calls_total{"), "causes are open");
    assert_eq!(CALL_TALK.metric.labels, ["number", "direction"]);
}

#[test]
fn the_table_keeps_prometheus_conventions() {
    let mut seen = std::collections::BTreeSet::new();
    for metric in TABLE {
        let name = metric.name;
        assert!(seen.insert(name), "{name} stands twice");
        assert!(name.starts_with("cordboard_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(
            !metric.help.is_empty() && !metric.help.ends_with('.'),
            "{name}: the library adds the full stop"
        );
        if matches!(metric.kind, Kind::Histogram(_) | Kind::Distribution) {
            let units = ["_seconds", "_ratio", "_mos"];
            assert!(units.iter().any(|it| name.ends_with(it)), "{name}: spans are in seconds");
        }
        if let Kind::Histogram(bounds) = metric.kind {
            assert!(bounds.is_sorted(), "{name}");
        }
        for label in metric.labels {
            assert!(!["le", "quantile", "job", "instance"].contains(label), "{name}: {label} is taken");
        }
    }
}

#[test]
fn promtool_finds_nothing_to_say() {
    // Every metric of the table, so that none escapes the linter.
    let mut scrape = Scrape::default();
    for metric in TABLE {
        let series = Series(metric.labels.iter().map(|name| (*name, "x".to_owned())).collect());
        let value = match metric.kind {
            Kind::Total | Kind::Gauge => Value::Number(1.0),
            Kind::Distribution => Value::Buckets { sum: 0.5, buckets: vec![(1.0, 1)] },
            Kind::Counter | Kind::Histogram(_) => continue,
        };
        let figures = Figures { kind: metric.kind, series: [(series, value)].into() };
        scrape.figures.insert(metric.name, figures);
    }
    let text = filled().render(scrape);
    for metric in TABLE {
        let open = metric.kind == Kind::Counter && metric.spaces.contains(&Space::Other);
        assert!(open || text.contains(metric.name), "{} is not in the scrape", metric.name);
    }
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        // scripts/test installs it; `cargo test` alone should not need it.
        let _ = writeln!(std::io::stderr(), "promtool is not installed: its check was left out");
        return;
    };
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("promtool reads");
    let said = promtool.wait_with_output().expect("promtool ends");
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && words.is_empty(), "promtool: {words}\n{text}");
}
