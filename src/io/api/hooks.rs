//! Events posted to receivers: signed, in order, tried again until they are taken.
//!
//! Deliveries follow the Standard Webhooks specification (standardwebhooks.com): `webhook-id` is the same at every
//! try, so that a receiver knows repetitions; `webhook-signature` is HMAC-SHA256 over `id.timestamp.body`.
//! A receiver that is down keeps its place in the store and gets what it missed, as long as events are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, StatusCode};

use super::Api;
use super::events::{BATCH, BEAT, EventView};
use super::token::Cover;
use crate::config::HookConfig;
use crate::io::signalling::now;
use crate::io::store::{EventId, StoreError, StoredEvent};
use crate::masked::Secret;
use crate::time::Wall;

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often an event is tried, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// The pause after the first failure; it doubles up to the longest.
    pub(super) first: Duration,
    pub(super) longest: Duration,
    /// An event is given up after so long.
    pub(super) give_up: Duration,
}

impl Pace {
    /// Seconds at first, for a receiver that restarts; minutes for one that is away for the night.
    const USUAL: Self = Self {
        first: Duration::from_secs(1),
        longest: Duration::from_mins(5),
        give_up: Duration::from_hours(24),
    };

    fn pause_after(self, pause: Duration) -> Duration {
        (pause * 2).min(self.longest)
    }

    fn is_over(self, began: Wall, now: Wall) -> bool {
        now.since(began) > self.give_up
    }
}

/// A receiver of events.
#[derive(Debug)]
pub struct Hook {
    name: String,
    url: String,
    key: hmac::Key,
    events: Vec<String>,
    cover: Cover,
    pace: Pace,
}

impl Hook {
    /// The receiver that the configuration describes.
    #[must_use]
    pub fn new(config: &HookConfig) -> Self {
        Self {
            name: config.name.clone(),
            url: config.url.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key_of(&config.secret)),
            events: config.events.clone(),
            cover: if config.identities { Cover::Open } else { Cover::Masked },
            pace: Pace::USUAL,
        }
    }

    /// The same receiver in a world whose seconds are shorter.
    #[cfg(test)]
    pub(super) fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    fn wants(&self, kind: &str) -> bool {
        self.events.is_empty()
            || self.events.iter().any(|it| kind == it || (it.ends_with('.') && kind.starts_with(it)))
    }

    fn signature(&self, id: &str, timestamp: i64, body: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }
}

/// `whsec_` and base64, as the specification's own tools write it, or the bytes of any other text.
fn key_of(secret: &Secret<String>) -> Vec<u8> {
    let text = secret.expose();
    let coded = text.strip_prefix("whsec_").and_then(|it| STANDARD.decode(it).ok());
    coded.unwrap_or_else(|| text.clone().into_bytes())
}

/// The client that delivers events cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct HooksSetupError(#[source] reqwest::Error);

/// What became of deliveries, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookFigures {
    /// Taken.
    pub delivered: u64,
    /// Tries that failed and are repeated.
    pub failed: u64,
    /// Events that a receiver refused for good or did not take in time.
    pub given_up: u64,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

/// All receivers; one that is slow keeps no other waiting.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Arc<Counters>);

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// Try again.
    Later,
    /// Never.
    Refused,
}

impl Outcome {
    fn of(status: StatusCode) -> Self {
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        match status {
            _ if status.is_success() => Self::Taken,
            // A receiver whose key is being changed, or that is being moved, will want what it missed.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Self::Later,
            _ if passing.contains(&status) || status.is_server_error() || status.is_redirection() => {
                Self::Later
            }
            _ => Self::Refused,
        }
    }
}

impl Hooks {
    /// Begins to deliver.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn start(&self, api: &Api, hooks: Vec<Hook>) -> Result<(), HooksSetupError> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("cordboard/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(HooksSetupError)?;
        for hook in hooks {
            tokio::spawn(deliver_all(api.clone(), client.clone(), hook, Arc::clone(&self.0)));
        }
        Ok(())
    }

    /// The counters.
    #[must_use]
    pub fn figures(&self) -> HookFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HookFigures {
            delivered: read(&self.0.delivered),
            failed: read(&self.0.failed),
            given_up: read(&self.0.given_up),
        }
    }
}

async fn deliver_all(api: Api, client: Client, hook: Hook, counters: Arc<Counters>) {
    let mut place = loop {
        match api.store().hook_place(&hook.name).await {
            Ok(place) => break place,
            Err(StoreError::Closed) => return,
            Err(_) => tokio::time::sleep(hook.pace.first).await,
        }
    };
    loop {
        let events = match api.store().events_after(place, BATCH).await {
            Ok(events) => events,
            Err(StoreError::Closed) => return,
            Err(_) => Vec::new(),
        };
        if events.is_empty() {
            tokio::time::sleep(BEAT).await;
            continue;
        }
        for event in events {
            let id = event.id;
            if hook.wants(&event.kind) {
                deliver(&api, &client, &hook, &counters, event).await;
            }
            place = id;
        }
        if let Err(error) = api.store().hook_reached(&hook.name, place).await {
            tracing::warn!(hook = hook.name, %error, "a receiver's place was not kept: it may see events twice");
        }
    }
}

/// Tries until the receiver takes the event, refuses it, or its time is over.
async fn deliver(api: &Api, client: &Client, hook: &Hook, counters: &Counters, event: StoredEvent) {
    let (place, began) = (event.id, event.at);
    let mut pause = hook.pace.first;
    loop {
        let outcome = attempt(api, client, hook, &event).await;
        match outcome {
            Outcome::Taken => {
                counters.delivered.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Outcome::Later if !hook.pace.is_over(began, now().wall) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                // What was taken before must not come again after a crash.
                let before = EventId(place.0.saturating_sub(1));
                let _ = api.store().hook_reached(&hook.name, before).await;
                tracing::debug!(
                    hook = hook.name,
                    event = place.0,
                    ?pause,
                    "a receiver did not take an event"
                );
                tokio::time::sleep(pause).await;
                pause = hook.pace.pause_after(pause);
            }
            Outcome::Later | Outcome::Refused => {
                counters.given_up.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    hook = hook.name,
                    event = place.0,
                    ?outcome,
                    "an event was given up for a receiver"
                );
                return;
            }
        }
    }
}

async fn attempt(api: &Api, client: &Client, hook: &Hook, event: &StoredEvent) -> Outcome {
    let Ok(view) = EventView::new(api, event.clone(), hook.cover).await else { return Outcome::Later };
    let Ok(body) = serde_json::to_string(&view) else { return Outcome::Refused };
    let (id, timestamp) = (format!("evt_{}", view.id), now().wall.secs());
    let sent = client
        .post(&hook.url)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", hook.signature(&id, timestamp, &body))
        .body(body)
        .send()
        .await;
    match sent {
        Ok(response) => Outcome::of(response.status()),
        // Errors of reqwest show the address, which may hold a key.
        Err(error) => {
            tracing::debug!(hook = hook.name, error = %error.without_url(), "a receiver was not reached");
            Outcome::Later
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(events: &[&str], secret: &str) -> Hook {
        Hook::new(&HookConfig {
            name: "crm".into(),
            url: "https://crm.example.com/".into(),
            secret: Secret::new(secret.to_owned()),
            events: events.iter().map(|it| (*it).to_owned()).collect(),
            identities: false,
        })
    }

    /// The example of the Standard Webhooks specification's reference libraries.
    #[test]
    fn the_signature_agrees_with_the_vector_of_standard_webhooks() {
        let hook = hook(&[], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature =
            hook.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_receiver_gets_the_kinds_it_wants() {
        assert!(hook(&[], "s").wants("call.ended"));
        let picky = hook(&["call.", "permission.changed"], "s");
        assert!(picky.wants("call.ended") && picky.wants("permission.changed"));
        assert!(!picky.wants("permission.asked") && !picky.wants("caller"));
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_given_up() {
        let of = |code: u16| Outcome::of(StatusCode::from_u16(code).expect("a status"));
        assert_eq!([of(200), of(204)], [Outcome::Taken; 2]);
        assert_eq!([of(301), of(401), of(404), of(408), of(429), of(500), of(503)], [Outcome::Later; 7]);
        assert_eq!([of(400), of(410), of(422)], [Outcome::Refused; 3]);
    }

    #[test]
    fn the_pause_doubles_up_to_five_minutes_and_a_day_is_the_end() {
        let pace = Pace::USUAL;
        let pauses: Vec<u64> = std::iter::successors(Some(pace.first), |it| Some(pace.pause_after(*it)))
            .map(|it| it.as_secs())
            .take(11)
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(pace.is_over(Wall(0), Wall(86_400_001)) && !pace.is_over(Wall(0), Wall(86_400_000)));
    }
}
