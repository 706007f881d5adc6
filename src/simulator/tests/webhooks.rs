//! Webhooks and Graph answers that go wrong on demand.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::business::World;
use crate::simulator::sdp::tests::good_answer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_the_same_body_twice() {
    let mut world = World::new(|_| {}).await;
    world.told("faults", json!({ "webhook_duplicate": 1 })).await;
    world.place(json!({})).await;
    assert_eq!(world.body().await, world.body().await);
    assert!(world.is_quiet().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reordered_means_terminate_before_connect() {
    let mut world = World::new(|_| {}).await;
    world.told("faults", json!({ "webhook_reorder": true })).await;
    let call = world.place(json!({})).await;
    assert!(world.is_quiet().await, "connect is held");
    world.told(&format!("calls/{call}/hangup"), json!({})).await;
    world.event("terminate").await;
    world.event("connect").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_signature_is_refused_and_not_repeated() {
    let mut world = World::new(|_| {}).await;
    world.told("faults", json!({ "webhook_bad_signature": 1 })).await;
    let call = world.place(json!({})).await;
    world.told(&format!("calls/{call}/hangup"), json!({})).await;
    world.event("terminate").await;
    assert_eq!(world.forged, 1);
    assert!(world.is_quiet().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_webhook_can_be_replayed_when_it_is_stale() {
    let mut world = World::new(|_| {}).await;
    world.told("faults", json!({ "webhook_drop": 1 })).await;
    let call = world.place(json!({})).await;
    assert!(world.is_quiet().await);
    world.told(&format!("calls/{call}/hangup"), json!({})).await;
    world.event("terminate").await;
    world.told("replay", json!({ "call": call, "event": "connect" })).await;
    assert_eq!(world.event("connect").await["id"], json!(call));
    assert_eq!(world.post("replay", json!({ "call": "wacid.unknown" })).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_not_answered_200_is_repeated() {
    let mut world = World::new(|_| {}).await;
    for _ in 0..2 {
        world.answers.send(StatusCode::SERVICE_UNAVAILABLE).expect("open");
    }
    world.place(json!({})).await;
    let first = world.body().await;
    assert_eq!(first, world.body().await);
    assert_eq!(first, world.body().await);
    assert!(world.is_quiet().await, "taken at the third time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_has_several_entries_and_changes() {
    let mut world = World::new(|_| {}).await;
    world.told("faults", json!({ "webhook_batch_ms": 100 })).await;
    for _ in 0..3 {
        world.place(json!({})).await;
    }
    let body = world.body().await;
    let entries = body["entry"].as_array().expect("entries");
    let changes: Vec<usize> = entries.iter().map(|e| e["changes"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(changes, [2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_webhook_is_late_and_a_connect_may_come_before_its_reply() {
    let mut world = World::new(|_| {}).await;
    world.told("users/5521955500123", json!({ "permission": "permanent", "ring_after_ms": null })).await;
    let offer = good_answer().replace("active", "actpass");
    let request = json!({ "action": "connect", "to": "5521955500123", "session": { "sdp_type": "offer", "sdp": offer } });
    world.told("faults", json!({ "connect_webhook_first": true, "webhook_delay_ms": 100 })).await;
    let start = std::time::Instant::now();
    let (_, reply) = world.graph(request).await;
    assert!(start.elapsed() >= Duration::from_millis(100), "the reply waited for the webhook");
    assert_eq!(world.event("connect").await["id"], reply["calls"][0]["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graph_errors_latency_and_lost_answers_come_as_ordered() {
    let mut world = World::new(|_| {}).await;
    let call = world.place(json!({})).await;
    world.event("connect").await;
    world.told("faults", json!({ "graph_error": { "action": "accept", "code": 138_004, "times": 1 }, "graph_delay_ms": 80 })).await;
    let start = std::time::Instant::now();
    let (status, error) = world.action("accept", &call, Some(&good_answer())).await;
    assert_eq!((status, &error["error"]["code"]), (500, &json!(138_004)));
    assert!(start.elapsed() >= Duration::from_millis(80));
    world
        .told("faults", json!({ "graph_drop": { "action": "accept", "processed": true, "times": 1 } }))
        .await;
    let lost =
        tokio::time::timeout(Duration::from_millis(200), world.action("accept", &call, Some(&good_answer())))
            .await;
    assert!(lost.is_err(), "no answer");
    let (_, error) = world.action("accept", &call, Some(&good_answer())).await;
    let details = error["error"]["error_data"]["details"].as_str().expect("details");
    assert!(details.contains("already in progress"), "it was carried out: {details}");
    assert_eq!(world.post("faults", json!({ "webhok": 1 })).await.0, 400);
}
