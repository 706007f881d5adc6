//! Exports of a real store.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::config::Records;
use crate::id::CallId;
use crate::io::store::{StoreSettings, Synchronous};
use crate::time::Wall;
use crate::user::{Msisdn, UserId};

const DAY: i64 = 86_400_000;
/// 2026-11-01.
const NOVEMBER: i64 = 1_793_491_200_000;

async fn fresh() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = StoreSettings { synchronous: Synchronous::Normal, ..StoreSettings::default() };
    let store = Store::open(&directory.path().join("test.db"), settings).await.expect("a store");
    (directory, store)
}

/// What the shipped card makes of it, in UTC.
fn tally() -> Tally {
    let text = "[[number]]\nlabel = \"support\"\nphone_number_id = \"108911223344556\"\n";
    let path = std::path::Path::new("/nowhere/gateway.toml");
    let records = Records::parse(text, path, &crate::config::Machine).expect("good");
    Tally::new(Arc::clone(&records.records.rates), records.records.billing_zone)
}

fn call(id: u64, opened: i64, seconds: Option<u32>) -> CallRecord {
    let user = UserId::Phone(Msisdn::parse("4930555").expect("digits"));
    let (number, direction) = ("108911223344556".into(), CallDirection::BusinessInitiated);
    CallRecord {
        opened: Wall(opened),
        answered: seconds.map(|_| Wall(opened + 5000)),
        ended: Some(Wall(opened + 90_000)),
        meta_start: seconds.map(|_| Wall(opened + 5000)),
        meta_duration: seconds,
        cause: Some("user_hung_up".into()),
        ..CallRecord::new(CallId(id), "support".into(), number, direction, user)
    }
}

async fn exported(store: &Store, filter: &CallFilter, format: Format) -> String {
    let mut out = Vec::new();
    export(store, filter, tally(), (format, Cover::Masked), &mut out).await.expect("exported");
    String::from_utf8(out).expect("UTF-8")
}

#[tokio::test]
async fn a_line_of_csv_has_what_a_call_cost_and_what_became_of_it() {
    let (_directory, store) = fresh().await;
    store.close_record(&call(1, NOVEMBER, Some(56))).await.expect("kept");
    let note = |outcome: &str| CallNote {
        at: Wall(NOVEMBER),
        author: "1001".into(),
        outcome: Some(outcome.into()),
        text: None,
    };
    assert!(store.note_call(CallId(1), &note("follow_up")).await.expect("kept"));
    assert!(store.note_call(CallId(1), &note("resolved")).await.expect("kept"));
    assert!(!store.note_call(CallId(2), &note("resolved")).await.expect("nothing to keep it for"));
    let text = exported(&store, &CallFilter::default(), Format::Csv).await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("id,wa_call,") && lines[0].ends_with("charge.cost,charge.currency"));
    assert!(lines[1].starts_with("0000000000000001,,,support,"), "{text}");
    assert!(lines[1].ends_with(",resolved,germany,10,1,0.0108,0.0108,USD"), "{text}");
    assert!(!text.contains("4930555"), "covered unless asked for");
}

#[tokio::test]
async fn pages_join_without_a_gap_and_filters_keep_the_tiers_of_all() {
    let (_directory, store) = fresh().await;
    // More than two pages, many of them in the same millisecond.
    for id in 1..=1203 {
        let opened = NOVEMBER + i64::try_from(id / 10).expect("small") * 1000;
        store.close_record(&call(id, opened, Some(6))).await.expect("kept");
    }
    let text = exported(&store, &CallFilter::default(), Format::JsonLines).await;
    let ids: Vec<String> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let expected: Vec<String> = (1..=1203).map(|id| CallId(id).to_string()).collect();
    assert_eq!(ids, expected);
    let some = CallFilter { since: Some(Wall(NOVEMBER + 100_000)), ..CallFilter::default() };
    assert_eq!(exported(&store, &some, Format::JsonLines).await.lines().count(), 204);
    let none = CallFilter { direction: Some(CallDirection::UserInitiated), ..CallFilter::default() };
    assert_eq!(exported(&store, &none, Format::JsonLines).await, "");
}

#[tokio::test]
async fn the_tier_of_a_call_counts_the_calls_of_its_month_that_are_not_shown() {
    let (_directory, store) = fresh().await;
    let africa = |id, opened| CallRecord {
        user: UserId::Phone(Msisdn::parse("2125550100").expect("digits")),
        ..call(id, opened, Some(50_000 * 60))
    };
    store.close_record(&africa(1, NOVEMBER)).await.expect("kept");
    store.close_record(&africa(2, NOVEMBER + DAY)).await.expect("kept");
    let second = CallFilter { since: Some(Wall(NOVEMBER + DAY)), ..CallFilter::default() };
    let line: Value =
        serde_json::from_str(&exported(&store, &second, Format::JsonLines).await).expect("one line");
    assert_eq!((&line["charge"]["tier"], &line["charge"]["rate"]), (&json!(2), &json!("0.0084")));
}

#[test]
fn what_users_wrote_stays_a_field_and_is_no_formula() {
    assert_eq!(quoted("Ana, \"A\"\r\nB"), "\"Ana, \"\"A\"\"\r\nB\"");
    assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
    assert_eq!(quoted("-1+2"), "\"'-1+2\"");
    assert_eq!((quoted("+4930555").as_str(), quoted("Ana").as_str()), ("+4930555", "Ana"));
}
