//! The table of metrics against what fills it and what is built on it: no row is forgotten, no name invented.

use std::collections::BTreeSet;
use std::fs;

use cordboard::metrics::table::TABLE;

use crate::sources::{find_word, root, sources};

/// (Handle, name) of each row, out of the table's text.
fn rows() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("src/metrics/table.rs")).unwrap();
    let rows = text.split_once("\ntable! {").unwrap().1;
    let mut found = Vec::new();
    for row in rows.split(';') {
        let Some((head, tail)) = row.split_once(" = \"") else { continue };
        let handle = head.trim().split(':').next().unwrap().trim().to_owned();
        found.push((handle, tail.split('"').next().unwrap().to_owned()));
    }
    assert_eq!(found.len(), TABLE.len(), "every row is read");
    found
}

#[test]
fn every_metric_of_the_table_is_filled_by_something() {
    let shipped: Vec<_> = sources("src/io").into_iter().collect();
    let mut empty = Vec::new();
    for (handle, name) in rows() {
        let filled = shipped.iter().any(|it| find_word(&it.shipped, &handle).next().is_some());
        if !filled {
            empty.push(format!("{name} ({handle})"));
        }
    }
    assert!(empty.is_empty(), "nothing in src/io fills {empty:?}: fill it or take the row out");
}

/// Names of ours in a text, without the endings that Prometheus adds.
fn names_in(text: &str) -> BTreeSet<String> {
    let letters = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("cordboard_") {
        let name: String = text[at..].chars().take_while(|c| letters(*c)).collect();
        let known = |name: &str| TABLE.iter().any(|it| it.name == name);
        let plain = ["_total", "_bucket", "_count", "_sum"].iter().find_map(|it| name.strip_suffix(it));
        found.insert(plain.filter(|it| known(it)).unwrap_or(&name).to_owned());
    }
    found
}

#[test]
fn alert_rules_and_the_dashboard_ask_for_metrics_that_exist() {
    for path in ["config/prometheus/cordboard.rules.yml", "config/grafana/cordboard.json"] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let names = names_in(&text);
        assert!(names.len() > 5, "{path}: {names:?}");
        let unknown: Vec<_> =
            names.iter().filter(|name| !TABLE.iter().any(|it| it.name == name.as_str())).collect();
        assert!(unknown.is_empty(), "{path} asks for {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_json_with_a_question_in_every_panel() {
    let text = fs::read_to_string(root().join("config/grafana/cordboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 8);
    for panel in panels {
        let asks = panel["targets"].as_array().is_some_and(|it| !it.is_empty());
        assert!(asks && panel["title"].is_string() && panel["fieldConfig"]["defaults"]["unit"].is_string());
    }
}
