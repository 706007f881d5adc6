//! The endpoint that Meta calls: signature, then the store, then 200; acting comes afterwards.
//!
//! | answer | when |
//! | --- | --- |
//! | 200 | everything readable is durable, or nothing in it concerns us |
//! | 400 | signed, but not readable |
//! | 401 | not signed with any of our app secrets; nothing was read |
//! | 403 | verification handshake with a wrong token |
//! | 408 | the body did not arrive in time |
//! | 413 | longer than Meta's 3 MB |
//! | 503 | the store is down or full, or too many at once: Meta tries again |

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, mpsc};

use super::store::{InboxId, Store, StoreError};
use crate::masked::Secret;
use crate::time::{Now, Wall};
use crate::whatsapp::webhook::{Signature, parse, verify_any};
use crate::whatsapp::{Batch, Event};

mod counters;

pub use counters::{WebhookCounters, WebhookFigures, WebhookOutcome};

/// Meta's largest payload (reference §9.2).
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// How long the request line and headers may take; a TLS handshake too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a body may take; Meta gives up on an attempt after about 20 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the store may take before Meta is told to come again. What it stores later is not lost.
const STORE_TIMEOUT: Duration = Duration::from_secs(8);
/// Long bodies being read at once; bounds the memory that strangers can occupy. Meta's bodies are short
/// as a rule and never wait behind long ones.
const LONG_AT_ONCE: usize = 32;
/// A body announced to be no longer than this is short.
const SHORT: usize = 64 * 1024;

/// An event on its way to whoever acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where the inbox keeps it until it was acted on; `None` while the store is down, and Meta will tell it again.
    pub inbox: Option<InboxId>,
    /// What Meta told.
    pub event: Event,
    /// When the last byte of the webhook came: what a caller waits for counts from here.
    pub arrived: Now,
}

/// What the endpoint needs.
#[derive(Clone)]
pub struct WebhookState(Arc<Shared>);

struct Shared {
    verify_token: Secret<String>,
    app_secrets: Vec<Secret<String>>,
    store: Store,
    events: mpsc::UnboundedSender<Delivery>,
    counters: Arc<WebhookCounters>,
    places: Semaphore,
    body_timeout: Duration,
}

impl WebhookState {
    /// `app_secrets`: any one of them may have signed, so that a secret can be rotated. `events` gets what is
    /// new, once it is durable.
    #[must_use]
    pub fn new(
        verify_token: Secret<String>,
        app_secrets: Vec<Secret<String>>,
        store: Store,
        events: mpsc::UnboundedSender<Delivery>,
        counters: Arc<WebhookCounters>,
    ) -> Self {
        Self::with_body_timeout(verify_token, app_secrets, store, events, counters, BODY_TIMEOUT)
    }

    fn with_body_timeout(
        verify_token: Secret<String>,
        app_secrets: Vec<Secret<String>>,
        store: Store,
        events: mpsc::UnboundedSender<Delivery>,
        counters: Arc<WebhookCounters>,
        body_timeout: Duration,
    ) -> Self {
        let places = Semaphore::new(LONG_AT_ONCE);
        Self(Arc::new(Shared { verify_token, app_secrets, store, events, counters, places, body_timeout }))
    }
}

/// The routes: GET and POST on `path`, which begins with a slash; everything else is 404.
pub fn router(path: &str, state: WebhookState) -> Router {
    Router::new().route(path, get(verify_endpoint).post(receive)).with_state(state)
}

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct WebhookServer {
    handle: axum_server::Handle<SocketAddr>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl WebhookServer {
    /// Takes no new connections, lets the open ones finish for `grace`, and returns when all are gone.
    pub async fn stop(self, grace: Duration) {
        self.handle.graceful_shutdown(Some(grace));
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the webhook server failed"),
            Err(error) => tracing::error!(%error, "the webhook server broke off"),
        }
    }

    /// Whether it still runs, for `/readyz`.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}

/// Serves `router` on `listener`, over TLS if a configuration is given (see [`super::tls::tls_config`]), else in
/// plain text behind a proxy. Headers that dawdle are cut off.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
) -> std::io::Result<WebhookServer> {
    serve_with(listener, tls, router, HEADER_TIMEOUT)
}

fn serve_with(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    header_timeout: Duration,
) -> std::io::Result<WebhookServer> {
    let handle = axum_server::Handle::new();
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .http1_only()
        .first_request_timeout(header_timeout);
    server.http_builder().http1().header_read_timeout(header_timeout);
    let service = router.into_make_service();
    let task = match tls {
        None => tokio::spawn(server.serve(service)),
        Some(config) => {
            let acceptor =
                RustlsAcceptor::new(RustlsConfig::from_config(config)).handshake_timeout(header_timeout);
            tokio::spawn(server.acceptor(acceptor).serve(service))
        }
    };
    Ok(WebhookServer { handle, task })
}

#[derive(serde::Deserialize)]
struct Handshake {
    #[serde(rename = "hub.mode", default)]
    mode: String,
    #[serde(rename = "hub.verify_token", default)]
    token: String,
    #[serde(rename = "hub.challenge", default)]
    challenge: String,
}

async fn verify_endpoint(
    State(WebhookState(shared)): State<WebhookState>,
    query: Query<Handshake>,
) -> Response {
    let expected = shared.verify_token.expose().as_bytes();
    let good = bool::from(expected.ct_eq(query.token.as_bytes())) && !expected.is_empty();
    if good && query.mode == "subscribe" {
        shared.counters.count(WebhookOutcome::Verified);
        // Plain text, so that a challenge can never be a page.
        return ([(header::CONTENT_TYPE, "text/plain")], query.0.challenge).into_response();
    }
    tracing::warn!("the webhook's verification came with a wrong token");
    answer(&shared, WebhookOutcome::BadToken)
}

async fn receive(
    State(WebhookState(shared)): State<WebhookState>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let started = Instant::now();
    let Some(signature) = headers.get("x-hub-signature-256").and_then(|it| it.to_str().ok()) else {
        return answer(&shared, WebhookOutcome::BadSignature);
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|it| it > BODY_LIMIT) {
        return answer(&shared, WebhookOutcome::TooLarge);
    }
    let body = match read_body(&shared, request.into_body(), announced).await {
        Ok(body) => body,
        Err(outcome) => return answer(&shared, outcome),
    };
    let arrived = Now { mono: Instant::now(), wall: wall_now() };
    let secrets = shared.app_secrets.iter().map(|it| it.expose().as_bytes());
    if verify_any(secrets, &body, signature) == Signature::Bad {
        return answer(&shared, WebhookOutcome::BadSignature);
    }
    let batch = match parse(&body, arrived.wall) {
        Ok(batch) => batch,
        Err(error) => {
            tracing::warn!(%error, bytes = body.len(), "a signed webhook cannot be read");
            return answer(&shared, WebhookOutcome::Unreadable);
        }
    };
    note(&shared.counters, &batch);
    let outcome = store(&shared, batch.events, arrived).await;
    shared.counters.took(started.elapsed());
    answer(&shared, outcome)
}

async fn read_body(shared: &Shared, body: Body, announced: Option<usize>) -> Result<Bytes, WebhookOutcome> {
    let short = announced.is_some_and(|it| it <= SHORT);
    let _place =
        if short { None } else { Some(shared.places.try_acquire().map_err(|_| WebhookOutcome::Overloaded)?) };
    match tokio::time::timeout(shared.body_timeout, axum::body::to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(WebhookOutcome::TooLarge),
        Ok(Err(_)) => Err(WebhookOutcome::Broken),
        Err(_) => Err(WebhookOutcome::TooSlow),
    }
}

/// axum tells "longer than the limit" from "the connection broke" only by the error inside.
fn is_too_long(error: &axum::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if error.to_string() == "length limit exceeded" {
            return true;
        }
        source = error.source();
    }
    false
}

fn note(counters: &WebhookCounters, batch: &Batch) {
    for flaw in &batch.flaws {
        tracing::warn!(flaw = flaw.label(), "an item of a webhook was skipped");
    }
    counters.flawed(batch.flaws.len());
    for event in &batch.events {
        if let Event::Other { field } = event {
            counters.ignored(1);
            tracing::info!(%field, "a webhook told something that nothing acts on");
        }
    }
}

/// In a task of its own: neither a caller that hangs up nor our own patience may come between storing
/// an event and passing it on.
async fn store(shared: &Arc<Shared>, events: Vec<Event>, arrived: Now) -> WebhookOutcome {
    let known = events.iter().filter(|it| it.key().is_some()).count();
    if known == 0 {
        return WebhookOutcome::Accepted;
    }
    let owned = Arc::clone(shared);
    let task = tokio::spawn(async move {
        let new = match owned.store.receive(&events, arrived.wall).await {
            Ok(new) => new,
            Err(error) => {
                // A user who calls cannot wait for the disk (R15): what belongs to calls is acted on now, and again
                // without harm when Meta tells it again because of our 503.
                for event in events.into_iter().filter(|it| matches!(it, Event::Call(_))) {
                    let _ = owned.events.send(Delivery { inbox: None, event, arrived });
                }
                return Err(error);
            }
        };
        owned.counters.received(new.len(), known - new.len());
        for (inbox, event) in new {
            // Nobody listens during shutdown: the inbox keeps it for the next start.
            let _ = owned.events.send(Delivery { inbox: Some(inbox), event, arrived });
        }
        Ok::<(), StoreError>(())
    });
    match tokio::time::timeout(STORE_TIMEOUT, task).await {
        Ok(Ok(Ok(()))) => WebhookOutcome::Accepted,
        Ok(Ok(Err(error))) => {
            tracing::error!(%error, "a webhook could not be stored");
            WebhookOutcome::StoreDown
        }
        Ok(Err(_)) | Err(_) => WebhookOutcome::StoreDown,
    }
}

fn answer(shared: &Shared, outcome: WebhookOutcome) -> Response {
    shared.counters.count(outcome);
    let status = outcome.status();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return (status, [(header::RETRY_AFTER, "5")]).into_response();
    }
    status.into_response()
}

fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall(0) + since
}

#[cfg(test)]
mod tests;
