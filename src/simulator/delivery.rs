//! Webhook delivery as Meta does it (reference §9.2, §9.3): signed, at least once, in no promised order, and on
//! demand late, twice, never, batched, wrongly ordered or wrongly signed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::media::now;
use crate::masked::Secret;

/// Meta gives one attempt about 20 s.
const ATTEMPT: Duration = Duration::from_secs(20);

/// A webhook held back for reordering is let go after this.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// How many webhooks are kept for `POST /sim/replay`.
const KEPT: usize = 2_000;

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Dose {
    /// `true`: always; `false`: never.
    Always(bool),
    /// The next so many times.
    Times(u32),
}

impl Default for Dose {
    fn default() -> Self {
        Self::Always(false)
    }
}

impl Dose {
    /// Whether it strikes now; counts down.
    pub(super) fn strike(&mut self) -> bool {
        match self {
            Self::Always(false) | Self::Times(0) => false,
            Self::Always(true) => true,
            Self::Times(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// The misbehaviour of webhooks, part of `POST /sim/faults`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WebhookFaults {
    /// Each webhook is sent twice.
    pub(super) webhook_duplicate: Dose,
    /// `connect` is held until a later webhook of the same call was delivered (at most 10 s).
    pub(super) webhook_reorder: Dose,
    /// Each webhook is late by this.
    pub(super) webhook_delay_ms: u64,
    /// Webhooks are not sent at all.
    pub(super) webhook_drop: Dose,
    /// Webhooks are signed with a wrong secret, and not repeated.
    pub(super) webhook_bad_signature: Dose,
    /// Webhooks are collected for this long and sent as one body with several entries and changes.
    pub(super) webhook_batch_ms: u64,
}

/// One change of one entry: what a webhook tells.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The call it belongs to, for order; empty for none.
    pub(super) call: String,
    /// `connect`, `RINGING`, `terminate`, `call_permission_reply`, …
    pub(super) event: String,
    /// `calls` or `messages`.
    pub(super) field: &'static str,
    /// The WhatsApp Business Account.
    pub(super) account: String,
    /// The `value` object.
    pub(super) value: Value,
}

/// What became of a webhook, for `GET /sim/webhooks`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sent {
    /// Its place in the list, for `POST /sim/replay`.
    pub(super) webhook: usize,
    /// The calls it tells of.
    pub(super) calls: Vec<String>,
    /// The events in it.
    pub(super) events: Vec<String>,
    /// Unix ms of the first attempt.
    pub(super) at_ms: i64,
    /// HTTP status of each attempt; 0 is no answer.
    pub(super) statuses: Vec<u16>,
    /// Unix ms when it was answered 200.
    pub(super) taken_ms: Option<i64>,
    /// From sending to the answer 200, of the attempt that got it.
    pub(super) took_ms: Option<u64>,
    /// What was done to it: `duplicate`, `drop`, `bad_signature`, `replay`, …
    pub(super) faults: Vec<&'static str>,
    #[serde(skip)]
    body: Bytes,
}

/// Where webhooks go.
pub(super) struct Target {
    /// The callback URL.
    pub(super) url: String,
    /// Signs the bodies.
    pub(super) app_secret: Secret<String>,
    /// First distance of repeats; doubled each time.
    pub(super) retry: Duration,
}

struct State {
    faults: WebhookFaults,
    sent: VecDeque<Sent>,
    next: usize,
    held: BTreeMap<String, Vec<Change>>,
    busy: BTreeMap<String, VecDeque<Change>>,
    batch: Vec<Change>,
}

/// The sender of webhooks; cheap to clone.
#[derive(Clone)]
pub(super) struct Delivery(Arc<Inner>);

struct Inner {
    target: Target,
    client: reqwest::Client,
    state: Mutex<State>,
    taken: mpsc::UnboundedSender<(String, String, i64)>,
}

/// `X-Hub-Signature-256` of a body.
pub(super) fn signature(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    format!("sha256={}", hex::encode(tag.as_ref()))
}

/// The body of a webhook: changes of one account share an entry, but a batch is spread over two entries so that a
/// reader that looks at the first one only is found out.
pub(super) fn body(changes: &[Change]) -> Value {
    let half = changes.len().div_ceil(2).max(1);
    let entries: Vec<Value> = changes
        .chunks(half)
        .map(|part| {
            let list: Vec<Value> =
                part.iter().map(|change| json!({ "field": change.field, "value": change.value })).collect();
            json!({ "id": part.first().map(|change| change.account.as_str()), "changes": list })
        })
        .collect();
    json!({ "object": "whatsapp_business_account", "entry": entries })
}

impl Delivery {
    /// A sender; every webhook that was answered 200 is told as (call, event, Unix ms).
    pub(super) fn new(
        target: Target,
        taken: mpsc::UnboundedSender<(String, String, i64)>,
    ) -> reqwest::Result<Self> {
        // A business's endpoint is reached directly; a proxy of the environment would only stand in the way.
        let client = reqwest::Client::builder().no_proxy().timeout(ATTEMPT).build()?;
        let state = State {
            faults: WebhookFaults::default(),
            sent: VecDeque::new(),
            next: 0,
            held: BTreeMap::new(),
            busy: BTreeMap::new(),
            batch: Vec::new(),
        };
        Ok(Self(Arc::new(Inner { target, client, state: Mutex::new(state), taken })))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().expect("no panic while the lock is held"))
    }

    /// Replaces the faults in force.
    pub(super) fn set_faults(&self, faults: WebhookFaults) {
        self.with(|state| state.faults = faults);
    }

    /// The faults in force.
    pub(super) fn faults(&self) -> WebhookFaults {
        self.with(|state| state.faults.clone())
    }

    /// What was sent so far.
    pub(super) fn sent(&self) -> Vec<Sent> {
        self.with(|state| state.sent.iter().cloned().collect())
    }

    /// Sends a change, in the order of its call unless a fault says otherwise.
    pub(super) fn post(&self, change: Change) {
        let mut now_due = vec![change];
        let batch = self.with(|state| {
            let change = &now_due[0];
            if change.event == "connect" && state.faults.webhook_reorder.strike() {
                state.held.entry(change.call.clone()).or_default().append(&mut now_due);
                return 0;
            }
            if let Some(held) = state.held.remove(&change.call) {
                now_due.extend(held);
            }
            if state.faults.webhook_batch_ms > 0 {
                let first = state.batch.is_empty();
                state.batch.append(&mut now_due);
                return if first { state.faults.webhook_batch_ms } else { 0 };
            }
            0
        });
        if batch > 0 {
            let this = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(batch)).await;
                let changes = this.with(|state| std::mem::take(&mut state.batch));
                this.attempt_all(changes).await;
            });
        }
        if now_due.is_empty() {
            self.let_go_later();
        }
        for change in now_due {
            self.enqueue(change);
        }
    }

    /// Like [`Self::post`], but returns when the webhook was answered or given up for the first time.
    pub(super) async fn post_and_wait(&self, change: Change) {
        self.attempt_all(vec![change]).await;
    }

    fn let_go_later(&self) {
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LONGEST_HOLD).await;
            for change in this.with(|state| std::mem::take(&mut state.held)).into_values().flatten() {
                this.enqueue(change);
            }
        });
    }

    /// One webhook of a call at a time; a webhook that has to be repeated no longer holds up the next.
    fn enqueue(&self, change: Change) {
        let call = change.call.clone();
        let start = self.with(|state| match state.busy.get_mut(&call) {
            Some(queue) => {
                queue.push_back(change.clone());
                false
            }
            None => {
                state.busy.insert(call.clone(), VecDeque::new());
                true
            }
        });
        if !start {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let mut next = Some(change);
            while let Some(change) = next {
                this.attempt_all(vec![change]).await;
                next = this.with(|state| {
                    let follower = state.busy.get_mut(&call).and_then(VecDeque::pop_front);
                    if follower.is_none() {
                        state.busy.remove(&call);
                    }
                    follower
                });
            }
        });
    }

    /// Applies the faults to one body and makes the first attempt; repeats go on in the background.
    async fn attempt_all(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let bytes = Bytes::from(body(&changes).to_string());
        let (calls, events) =
            changes.iter().map(|change| (change.call.clone(), change.event.clone())).unzip();
        let (index, delay, faults) = self.with(|state| {
            let mut faults = Vec::new();
            let struck = &mut state.faults;
            for (name, strikes) in [
                ("drop", struck.webhook_drop.strike()),
                ("duplicate", struck.webhook_duplicate.strike()),
                ("bad_signature", struck.webhook_bad_signature.strike()),
            ] {
                if strikes {
                    faults.push(name);
                }
            }
            let delay = struck.webhook_delay_ms;
            (state.keep(calls, events, faults.clone(), bytes.clone()), delay, faults)
        });
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if faults.contains(&"drop") {
            return;
        }
        let forged = faults.contains(&"bad_signature");
        self.deliver(index, bytes.clone(), forged).await;
        if faults.contains(&"duplicate") {
            self.deliver(index, bytes, forged).await;
        }
    }

    async fn deliver(&self, index: usize, body: Bytes, forged: bool) {
        if self.attempt(index, &body, forged).await || forged {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let mut wait = this.0.target.retry;
            for _ in 0..9 {
                tokio::time::sleep(wait).await;
                if this.attempt(index, &body, false).await {
                    return;
                }
                wait = (wait * 2).min(Duration::from_secs(600));
            }
            tracing::warn!(index, "a webhook was never taken");
        });
    }

    /// One POST; true if it was answered 200.
    async fn attempt(&self, index: usize, body: &Bytes, forged: bool) -> bool {
        let secret = if forged {
            b"not the app secret".as_slice()
        } else {
            self.0.target.app_secret.expose().as_bytes()
        };
        let started = std::time::Instant::now();
        let response = self
            .0
            .client
            .post(&self.0.target.url)
            .header("Content-Type", "application/json")
            .header("User-Agent", "facebookexternalua")
            .header("X-Hub-Signature-256", signature(secret, body))
            .body(body.clone())
            .send()
            .await;
        let status = response.map_or(0, |response| response.status().as_u16());
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let at = now().wall.millis();
        let taken = self.with(|state| {
            let sent = state.sent.iter_mut().find(|sent| sent.webhook == index)?;
            sent.statuses.push(status);
            if status != 200 || sent.taken_ms.is_some() {
                return None;
            }
            (sent.taken_ms, sent.took_ms) = (Some(at), Some(took));
            Some((sent.calls.clone(), sent.events.clone()))
        });
        if let Some((calls, events)) = taken {
            for (call, event) in calls.into_iter().zip(events) {
                // Nobody listens any more when the program ends.
                let _gone = self.0.taken.send((call, event, at));
            }
        }
        status == 200
    }

    /// Sends a stored webhook again, byte by byte, however old it is; its new place in the list.
    pub(super) fn replay(&self, webhook: usize, forged: bool) -> Option<usize> {
        let (index, body) = self.with(|state| {
            let old = state.sent.iter().find(|sent| sent.webhook == webhook)?.clone();
            let mut faults = vec!["replay"];
            if forged {
                faults.push("bad_signature");
            }
            Some((state.keep(old.calls, old.events, faults, old.body.clone()), old.body))
        })?;
        let this = self.clone();
        tokio::spawn(async move { this.attempt(index, &body, forged).await });
        Some(index)
    }
}

impl State {
    fn keep(
        &mut self,
        calls: Vec<String>,
        events: Vec<String>,
        faults: Vec<&'static str>,
        body: Bytes,
    ) -> usize {
        let webhook = self.next;
        self.next += 1;
        if self.sent.len() == KEPT {
            self.sent.pop_front();
        }
        let at_ms = now().wall.millis();
        let (statuses, taken_ms, took_ms) = (Vec::new(), None, None);
        self.sent.push_back(Sent {
            webhook,
            calls,
            events,
            at_ms,
            statuses,
            taken_ms,
            took_ms,
            faults,
            body,
        });
        webhook
    }
}
