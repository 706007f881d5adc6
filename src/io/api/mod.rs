//! The API for programs of the company: `/v1`, described by OpenAPI, with bearer tokens and problem documents.
//!
//! | file | holds |
//! | --- | --- |
//! | `token` | bearer tokens and their scopes |
//! | `ask`, `problem` | what a request brings, and what is said when it cannot be done |
//! | `once` | requests that are done once however often they are sent |
//! | `view` | calls and users as they are shown |
//! | `calls`, `voicemails`, `rules`, `gateway`, `events` | the resources |
//! | `hooks` | events posted to receivers, signed, in order, until they are taken |
//!
//! It waits for the store and for signalling, never the other way round.
#![expect(unused_qualifications, reason = "utoipa's macros qualify what they name")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Uri;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::{Semaphore, mpsc, oneshot};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::{Kind, Problem};
use self::token::Tokens;
use super::signalling::Question;
use super::store::Store;
use crate::config::{ApiConfig, NumberConfig};
use crate::id::{NumberLabel, PhoneName, PhoneNumberId};
use crate::policy::Cap;
use crate::user::Msisdn;

mod ask;
mod calls;
mod events;
mod gateway;
mod hooks;
mod once;
mod problem;
mod rules;
mod token;
mod view;
mod voicemails;

#[cfg(test)]
mod tests;

pub use hooks::{Hook, HookFigures, Hooks, HooksSetupError};
pub use voicemails::Mailbox;

/// No request of this API is long.
const BODY_LIMIT: usize = 64 * 1024;
/// Requests at once; more are told to come again.
const AT_ONCE: usize = 64;
/// How long signalling may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the API knows of a business number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiNumber {
    /// What the administrator calls it.
    pub label: NumberLabel,
    /// Graph's id of it.
    pub id: PhoneNumberId,
    /// Its telephone number.
    pub display: Msisdn,
    /// The cap on connected business-initiated calls; `None` where it is switched off.
    pub cap: Option<Cap>,
}

impl From<&NumberConfig> for ApiNumber {
    fn from(number: &NumberConfig) -> Self {
        let cap = &number.cap_per_number;
        Self {
            label: number.label.clone(),
            id: number.phone_number_id.clone(),
            display: number.display_number.clone(),
            cap: cap.enabled.then_some(Cap { max: cap.max, window: cap.window }),
        }
    }
}

/// What the API is given.
#[derive(Debug)]
pub struct ApiParts {
    /// The database.
    pub store: Store,
    /// The way to signalling.
    pub questions: mpsc::UnboundedSender<Question>,
    /// The business numbers of the file.
    pub numbers: Vec<ApiNumber>,
    /// The phones of the file.
    pub phones: Vec<PhoneName>,
    /// Who may ask for what.
    pub tokens: Tokens,
    /// The files of voice messages.
    pub mailbox: Option<Mailbox>,
}

/// What every request can reach.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: ApiParts,
    places: Arc<Semaphore>,
}

impl Api {
    /// An API over `parts`.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        Self(Arc::new(Shared { parts, places: Arc::new(Semaphore::new(AT_ONCE)) }))
    }

    fn tokens(&self) -> &Tokens {
        &self.0.parts.tokens
    }

    fn store(&self) -> &Store {
        &self.0.parts.store
    }

    fn mailbox(&self) -> Option<&Mailbox> {
        self.0.parts.mailbox.as_ref()
    }

    fn numbers(&self) -> &[ApiNumber] {
        &self.0.parts.numbers
    }

    fn phones(&self) -> &[PhoneName] {
        &self.0.parts.phones
    }

    /// The business number with this label.
    fn number(&self, label: &str) -> Result<&ApiNumber, Problem> {
        self.numbers().iter().find(|it| it.label.as_str() == label).ok_or_else(|| {
            let known: Vec<&str> = self.numbers().iter().map(|it| it.label.as_str()).collect();
            Kind::NotFound
                .because(format!("no business number has this label; there are: {}", known.join(", ")))
        })
    }

    /// The label of a business number by either of its names.
    fn label(&self, name: &NumberLabel) -> String {
        let id = PhoneNumberId::from(name.as_str());
        self.numbers().iter().find(|it| it.id == id).map_or(name, |it| &it.label).to_string()
    }

    /// Asks signalling and waits for its answer.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Problem> {
        let (answer, told) = oneshot::channel();
        let _ = self.0.parts.questions.send(question(answer));
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Kind::Busy.because("signalling did not answer; it is overloaded or stopping")),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cordboard",
        description = "Calls between WhatsApp users and the phones of a company: what they are, what rules hold, \
                       what happened. Errors are problem documents (RFC 9457). A POST with an `Idempotency-Key` \
                       is done once in 24 hours however often it is sent.",
        license(name = "MIT OR Apache-2.0")
    ),
    security(("token" = [])),
    modifiers(&BearerTokens),
    tags(
        (name = "calls", description = "Calls, live and past."),
        (name = "rules", description = "What WhatsApp's rules and the house's allow now."),
        (name = "gateway", description = "Phones, trunks and bans."),
        (name = "events", description = "What happened, in order.")
    )
)]
struct Description;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The routes and their description.
fn routes() -> (Router<Api>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(calls::list))
        .routes(routes!(calls::show))
        .routes(routes!(calls::hang_up))
        .routes(routes!(rules::numbers))
        .routes(routes!(rules::limits))
        .routes(routes!(rules::permission, rules::set_permission))
        .routes(routes!(rules::permission_log))
        .routes(routes!(gateway::phones))
        .routes(routes!(gateway::trunks))
        .routes(routes!(gateway::bans, gateway::lift))
        .routes(routes!(voicemails::list))
        .routes(routes!(voicemails::delete))
        .routes(routes!(voicemails::audio))
        .routes(routes!(voicemails::heard))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .split_for_parts()
}

/// The OpenAPI description as JSON.
///
/// # Errors
/// Never for what is compiled in; serde's word for it otherwise.
pub fn description() -> Result<String, serde_json::Error> {
    routes().1.to_pretty_json()
}

/// Everything under `/v1`.
pub fn router(api: Api) -> Router {
    let (routes, description) = routes();
    let described = get(async move || Json(description));
    routes
        .layer(middleware::from_fn_with_state(api.clone(), once::once))
        .layer(middleware::from_fn_with_state(api.clone(), token::authenticate))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(api.clone(), one_of_many))
        .route("/v1/openapi.json", described)
        .method_not_allowed_fallback(async || Kind::NotAllowed.because("see the Allow header"))
        .fallback(async |uri: Uri| {
            let path = uri.path();
            Kind::NotFound.because(format!("there is nothing at {path}; see /v1/openapi.json"))
        })
        .with_state(api)
}

/// A flood of requests waits outside, not in memory.
async fn one_of_many(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Ok(_place) = Arc::clone(&api.0.places).try_acquire_owned() else {
        return Kind::Busy.because("too many requests at once").into_response();
    };
    next.run(request).await
}

/// Serves the API where the configuration wants it.
///
/// # Errors
/// The listener or the certificate cannot be used.
pub(super) fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    api: Api,
) -> std::io::Result<(SocketAddr, super::webhook::WebhookServer)> {
    let address = listener.local_addr()?;
    Ok((address, super::webhook::serve(listener, tls, router(api))?))
}

impl ApiConfig {
    /// The tokens of the file.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        Tokens::new(self.tokens.clone())
    }
}
