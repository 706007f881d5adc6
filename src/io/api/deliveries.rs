//! Events as a receiver meets them: signed, in order, again until they are taken, and never again after that.

use std::collections::VecDeque;
use std::sync::Arc;

use aws_lc_rs::hmac;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::sync::Mutex;

use super::hooks::{Hook, Hooks, Pace};
use super::tests::Desk;
use super::*;
use crate::call::CallRecord;
use crate::config::HookConfig;
use crate::io::signalling::now;
use crate::io::store::EventId;
use crate::masked::Secret;

const KEY: &str = "the receiver's own key";
/// For whatever must happen: longer only on a machine that does nothing at all.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses that a test can wait for; the real ones are counted in `hooks`.
const BRISK: Pace = Pace {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(2),
    give_up: Duration::from_hours(24),
};

/// One post that came.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    id: String,
    kind: String,
    phone: Option<String>,
}

impl Came {
    fn place(&self) -> EventId {
        EventId(self.id.strip_prefix("evt_").expect("the form").parse().expect("a number"))
    }
}

#[derive(Clone)]
struct Desired {
    /// What the next posts are answered; `otherwise` when it is empty.
    answers: Arc<Mutex<VecDeque<u16>>>,
    otherwise: u16,
    came: mpsc::UnboundedSender<Came>,
}

/// A receiver on loopback that checks each signature.
struct Receiver {
    url: String,
    came: mpsc::UnboundedReceiver<Came>,
}

impl Receiver {
    async fn start(answers: &[u16], otherwise: u16) -> Self {
        let (told, came) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let desired = Desired { answers, otherwise, came: told };
        let router = Router::new().route("/", post(take)).with_state(desired);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, came }
    }

    async fn next(&mut self) -> Came {
        tokio::time::timeout(PATIENCE, self.came.recv()).await.expect("in time").expect("open")
    }

    fn hook(&self, name: &str, events: &[&str]) -> Hook {
        Hook::new(&HookConfig {
            name: name.into(),
            url: self.url.clone(),
            secret: Secret::new(KEY.to_owned()),
            events: events.iter().map(|it| (*it).to_owned()).collect(),
            identities: name == "trusted",
        })
        .at_pace(BRISK)
    }
}

async fn take(Extract(desired): Extract<Desired>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    let (id, time, tag) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let tag = STANDARD.decode(tag.strip_prefix("v1,").expect("the version")).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    hmac::verify(&key, format!("{id}.{time}.{body}").as_bytes(), &tag).expect("signed: id, time, body");
    let told: Value = serde_json::from_str(&body).expect("JSON");
    let kind = told["type"].as_str().expect("a kind").to_owned();
    let phone = told["call"]["user"]["phone"].as_str().map(str::to_owned);
    let answer = desired.answers.lock().await.pop_front().unwrap_or(desired.otherwise);
    let _ = desired.came.send(Came { id, kind, phone });
    StatusCode::from_u16(answer).expect("a status")
}

fn deliver(desk: &Desk, hooks: Vec<Hook>) -> Hooks {
    let deliveries = Hooks::default();
    deliveries.start(&desk.api, hooks).expect("TLS");
    deliveries
}

/// A call that begins and ends at once: `call.started`, `call.ended`, `call.missed`.
async fn missed_call(desk: &Desk, id: u64, at: Wall) {
    let record = desk.open_call(id, at.millis()).await;
    let over = CallRecord { ended: Some(Wall(at.millis() + 5)), ..record };
    desk.store.close_record(&over).await.expect("closed");
}

/// A receiver keeps its place from its first day on: what was before is not its business.
async fn known(desk: &Desk, names: &[&str]) {
    for name in names {
        desk.store.hook_place(name).await.expect("a place");
    }
}

/// Waits until the receiver's place is `wanted` or later; it is written after the answer has come.
async fn reached(desk: &Desk, name: &str, wanted: EventId) {
    let there = async {
        while desk.store.hook_place(name).await.expect("read") < wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.expect("the place is kept");
}

#[tokio::test]
async fn an_event_comes_again_under_its_own_id_until_it_is_taken_and_the_next_one_waits() {
    let desk = Desk::open().await;
    known(&desk, &["crm"]).await;
    missed_call(&desk, 1, now().wall).await;
    let mut receiver = Receiver::start(&[200, 503, 429, 404], 200).await;
    let hooks = deliver(&desk, vec![receiver.hook("crm", &["call."])]);
    let first = receiver.next().await;
    assert_eq!(first.kind, "call.started");
    let second = receiver.next().await;
    assert_eq!((second.kind.as_str(), second.phone.as_deref()), ("call.ended", Some("***23")), "covered");
    for _ in 0..3 {
        assert_eq!(receiver.next().await, second, "one id, by which repetitions are known");
    }
    let third = receiver.next().await;
    assert_eq!(third.kind, "call.missed");
    assert!(first.place() < second.place() && second.place() < third.place());
    reached(&desk, "crm", third.place()).await;
    let figures = hooks.figures();
    assert_eq!((figures.delivered, figures.failed, figures.given_up), (3, 3, 0));
}

#[tokio::test]
async fn what_was_taken_before_a_failure_is_kept_as_taken_while_the_failure_lasts() {
    let desk = Desk::open().await;
    known(&desk, &["crm"]).await;
    missed_call(&desk, 1, now().wall).await;
    let mut receiver = Receiver::start(&[200], 503).await;
    deliver(&desk, vec![receiver.hook("crm", &[])]);
    let first = receiver.next().await;
    let refused = receiver.next().await;
    reached(&desk, "crm", first.place()).await;
    let place = desk.store.hook_place("crm").await.expect("read");
    assert!(place < refused.place(), "and what was not taken is not: {place:?}");
    // Whoever comes after a crash gets it first.
    let mut after = Receiver::start(&[], 200).await;
    deliver(&desk, vec![after.hook("crm", &[])]);
    assert_eq!(after.next().await, refused);
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_what_it_missed_of_its_kinds_and_nothing_twice() {
    let desk = Desk::open().await;
    missed_call(&desk, 1, now().wall).await;
    known(&desk, &["crm"]).await;
    missed_call(&desk, 2, now().wall).await;
    let mut before = Receiver::start(&[], 200).await;
    deliver(&desk, vec![before.hook("crm", &["call.ended"])]);
    let seen = before.next().await;
    assert_eq!(seen.kind, "call.ended", "no other kind was wanted");
    let newest = desk.store.newest_event().await.expect("read");
    assert!(newest > seen.place());
    // What nobody wanted is behind it, too.
    reached(&desk, "crm", newest).await;
    missed_call(&desk, 3, now().wall).await;
    let mut after = Receiver::start(&[], 200).await;
    deliver(&desk, vec![after.hook("crm", &["call.ended"])]);
    let next = after.next().await;
    assert_eq!(next.kind, "call.ended");
    assert!(next.place() > newest, "a restart goes on where the last one ended: {next:?}");
}

#[tokio::test]
async fn one_receiver_that_is_down_keeps_no_other_waiting_and_only_who_may_sees_users() {
    let desk = Desk::open().await;
    known(&desk, &["down", "trusted"]).await;
    missed_call(&desk, 1, now().wall).await;
    let down = Receiver::start(&[], 503).await;
    let mut trusted = Receiver::start(&[], 200).await;
    deliver(&desk, vec![down.hook("down", &[]), trusted.hook("trusted", &[])]);
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let came = trusted.next().await;
        assert_eq!(came.phone.as_deref(), Some("5521955500123"));
        kinds.push(came.kind);
    }
    assert_eq!(kinds, ["call.started", "call.ended", "call.missed"]);
}

#[tokio::test]
async fn an_event_that_is_refused_for_good_or_too_old_to_be_tried_again_makes_way_for_the_next() {
    let desk = Desk::open().await;
    known(&desk, &["crm"]).await;
    // A day and a minute ago: one try is left to them.
    missed_call(&desk, 1, now().wall - Duration::from_mins(24 * 60 + 1)).await;
    missed_call(&desk, 2, now().wall).await;
    let mut receiver = Receiver::start(&[503, 503, 503, 422, 503], 200).await;
    let hooks = deliver(&desk, vec![receiver.hook("crm", &["call.started", "call.ended"])]);
    let mut came = Vec::new();
    for _ in 0..5 {
        came.push(receiver.next().await);
    }
    let kinds: Vec<&str> = came.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["call.started", "call.ended", "call.started", "call.started", "call.ended"]);
    assert_ne!(came[0].id, came[2].id);
    assert_eq!(came[2], came[3], "only what is young is tried again");
    let newest = desk.store.newest_event().await.expect("read");
    assert_eq!(came[4].place().0 + 1, newest.0);
    assert_eq!(receiver.next().await, came[4]);
    reached(&desk, "crm", newest).await;
    let figures = hooks.figures();
    assert_eq!((figures.delivered, figures.failed, figures.given_up), (1, 2, 3));
}
