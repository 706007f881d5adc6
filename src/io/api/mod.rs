//! The API for programs of the company: `/v1`, described by OpenAPI, with bearer tokens and problem documents.
//!
//! | file | holds |
//! | --- | --- |
//! | `token` | bearer tokens and their scopes |
//! | `ask`, `problem` | what a request brings, and what is said when it cannot be done |
//! | `once` | requests that are done once however often they are sent |
//! | `view` | calls and users as they are shown |
//! | `calls`, `originate`, `notes`, `records` | calls live and past, new ones, missed ones, what is said of them |
//! | `rules`, `permissions`, `settings` | what may be done by business number and user, and what Meta holds |
//! | `voicemails` | voice messages |
//! | `gateway`, `events` | phones, trunks, bans; what happened |
//! | `description` | OpenAPI, completed by what holds for every request |
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
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::{Kind, Problem};
use self::token::Tokens;
use super::asking::Asking;
use super::graph::GraphClient;
use super::signalling::{self, Question};
use super::store::{EventId, Store};
use crate::config::{ApiConfig, Config, GroupConfig, NumberConfig, RecordsConfig};
use crate::id::{NumberLabel, PhoneName, PhoneNumberId};
use crate::policy::Rules;
use crate::time::Wall;

mod ask;
mod calls;
mod description;
mod events;
mod gateway;
mod hooks;
mod notes;
mod once;
mod originate;
mod permissions;
mod problem;
mod records;
mod rules;
mod settings;
mod token;
mod view;
mod voicemails;

#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod group_stories;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::io) use tests::{config as config_of_tests, number_of_tests};

pub use hooks::{Hook, HookFigures, Hooks, HooksSetupError};
pub use voicemails::Mailbox;

/// No request of this API is long.
const BODY_LIMIT: usize = 64 * 1024;
/// Requests at once; more are told to come again.
const AT_ONCE: usize = 64;
/// Streams of events at once.
const STREAMS: usize = 64;
/// How long signalling may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the API knows of a business number.
#[derive(Clone, Debug)]
pub struct ApiNumber {
    /// As the file describes it.
    pub config: NumberConfig,
    /// Its rules, but for its hours.
    pub rules: Rules,
}

impl ApiNumber {
    /// What is allowed at this hour.
    fn rules_at(&self, now: Wall) -> Rules {
        let open = self.config.hours.as_ref().filter(|_| self.config.guards.hold_outside_hours);
        Rules { hours: signalling::hold(open.map(|it| &it.hours), now), ..self.rules.clone() }
    }
}

/// What the API is given.
#[derive(Debug)]
pub struct ApiParts {
    /// The database.
    pub store: Store,
    /// The way to signalling.
    pub questions: mpsc::UnboundedSender<Question>,
    /// The way to Meta.
    pub graph: Arc<GraphClient>,
    /// The business numbers of the file.
    pub numbers: Vec<ApiNumber>,
    /// The phones of the file.
    pub phones: Vec<PhoneName>,
    /// Its groups.
    pub groups: Vec<GroupConfig>,
    /// What is made of call records.
    pub records: RecordsConfig,
    /// Who may ask for what.
    pub tokens: Tokens,
    /// The files of voice messages.
    pub mailbox: Option<Mailbox>,
}

impl ApiParts {
    /// What a configuration says, and the ways to the rest of the gateway.
    #[must_use]
    pub fn new(
        config: &Config,
        tokens: Tokens,
        store: Store,
        questions: mpsc::UnboundedSender<Question>,
        graph: Arc<GraphClient>,
    ) -> Self {
        let number = |number: &NumberConfig| ApiNumber {
            config: number.clone(),
            rules: super::parts::rules(&number.policy(), &config.policy, config.calls.reservation_life),
        };
        Self {
            store,
            questions,
            graph,
            numbers: config.numbers.iter().map(number).collect(),
            phones: config.phones.iter().map(|phone| phone.name.clone()).collect(),
            groups: config.groups.clone(),
            records: config.records.clone(),
            tokens,
            mailbox: None,
        }
    }
}

/// What every request can reach.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: ApiParts,
    places: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// The newest event, as long as somebody waits for it.
    newest: watch::Receiver<EventId>,
}

impl Api {
    /// An API over `parts`.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let newest = events::watch_newest(parts.store.clone());
        let (places, streams) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(STREAMS)));
        Self(Arc::new(Shared { parts, places, streams, newest }))
    }

    fn tokens(&self) -> &Tokens {
        &self.0.parts.tokens
    }

    fn store(&self) -> &Store {
        &self.0.parts.store
    }

    /// A place for a stream of events, and what tells it that there are new ones.
    fn stream(&self) -> Option<(OwnedSemaphorePermit, watch::Receiver<EventId>)> {
        let place = Arc::clone(&self.0.streams).try_acquire_owned().ok()?;
        Some((place, self.0.newest.clone()))
    }

    fn mailbox(&self) -> Option<&Mailbox> {
        self.0.parts.mailbox.as_ref()
    }

    fn graph(&self) -> &GraphClient {
        &self.0.parts.graph
    }

    fn questions(&self) -> &mpsc::UnboundedSender<Question> {
        &self.0.parts.questions
    }

    fn records(&self) -> &RecordsConfig {
        &self.0.parts.records
    }

    fn numbers(&self) -> &[ApiNumber] {
        &self.0.parts.numbers
    }

    fn phones(&self) -> &[PhoneName] {
        &self.0.parts.phones
    }

    /// The phone with this name.
    fn phone(&self, name: &str) -> Result<&PhoneName, Problem> {
        let found = self.phones().iter().find(|it| it.as_str() == name);
        found.ok_or_else(|| Kind::NotFound.because("there is no [[phone]] of this name"))
    }

    /// The business numbers whose users a group calls back.
    fn queue_of(&self, group: &str) -> Result<Vec<PhoneNumberId>, Problem> {
        let groups = &self.0.parts.groups;
        let found = groups.iter().find(|it| it.name == group).ok_or_else(|| {
            let known: Vec<&str> = groups.iter().map(|it| it.name.as_str()).collect();
            Kind::NotFound
                .because(format!("there is no [[group]] of this name; there are: {}", known.join(", ")))
        })?;
        let number = |label: &NumberLabel| self.number(label.as_str());
        found.callbacks.iter().map(|it| Ok(number(it)?.config.phone_number_id.clone())).collect()
    }

    /// The business number with this label.
    fn number(&self, label: &str) -> Result<&ApiNumber, Problem> {
        self.numbers().iter().find(|it| it.config.label.as_str() == label).ok_or_else(|| {
            let known: Vec<&str> = self.numbers().iter().map(|it| it.config.label.as_str()).collect();
            Kind::NotFound
                .because(format!("no business number has this label; there are: {}", known.join(", ")))
        })
    }

    /// The label of a business number by either of its names.
    fn label(&self, name: &NumberLabel) -> String {
        let id = PhoneNumberId::from(name.as_str());
        let found = self.numbers().iter().find(|it| it.config.phone_number_id == id);
        found.map_or(name, |it| &it.config.label).to_string()
    }

    /// Who asks users for permission in the name of a number.
    fn asking(&self, number: &ApiNumber) -> Asking {
        let config = &number.config;
        Asking {
            store: self.store().clone(),
            graph: Arc::clone(&self.0.parts.graph),
            number: config.phone_number_id.clone(),
            token: config.access_token.clone(),
            rules: number.rules.clone(),
            words: config.ask.clone(),
        }
    }

    /// Asks signalling and waits for its answer.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Problem> {
        let (answer, told) = oneshot::channel();
        let _ = self.questions().send(question(answer));
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
                       what happened, and new ones. Errors are problem documents (RFC 9457); where a rule, Meta or \
                       a phone says no, the type is `/problems/` and a label of the verdict table. A request that \
                       changes something and has an `Idempotency-Key` is done once in 24 hours however often it is \
                       sent. Users' numbers, ids and names are covered without the scope `identities`.",
        license(name = "MIT OR Apache-2.0")
    ),
    security(("token" = [])),
    modifiers(&BearerTokens),
    components(schemas(problem::Problem, events::EventView)),
    tags(
        (name = "calls", description = "Calls, live and past, new ones, and missed ones. Scopes `calls:read`, `calls:write`."),
        (name = "permissions", description = "What a user allows, and asking for it. Scopes `rules:read`, `rules:write`."),
        (name = "rules", description = "What WhatsApp's rules and the house's allow now. Scopes `rules:read`, `rules:write`."),
        (name = "settings", description = "What Meta holds of the numbers. Scopes `settings:read`, `settings:write`."),
        (name = "gateway", description = "Phones, trunks and bans. Scopes `gateway:read`, `gateway:write`."),
        (name = "events", description = "What happened, in order. Scope `calls:read`.")
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
fn routes() -> (Router<Api>, Value) {
    let (routes, description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(calls::list, originate::originate))
        .routes(routes!(calls::show))
        .routes(routes!(calls::hang_up))
        .routes(routes!(notes::list, notes::add))
        .routes(routes!(notes::outcomes))
        .routes(routes!(records::export))
        .routes(routes!(originate::missed))
        .routes(routes!(originate::dismiss))
        .routes(routes!(originate::queue, originate::call_back))
        .routes(routes!(rules::numbers))
        .routes(routes!(rules::limits))
        .routes(routes!(rules::state))
        .routes(routes!(rules::lift))
        .routes(routes!(permissions::permission, permissions::set_permission))
        .routes(routes!(permissions::permission_log))
        .routes(routes!(permissions::request))
        .routes(routes!(permissions::override_run))
        .routes(routes!(settings::show))
        .routes(routes!(settings::drift))
        .routes(routes!(settings::apply))
        .routes(routes!(gateway::phones))
        .routes(routes!(gateway::dnd_on, gateway::dnd_off))
        .routes(routes!(gateway::resync))
        .routes(routes!(gateway::trunks))
        .routes(routes!(gateway::bans, gateway::lift))
        .routes(routes!(voicemails::list))
        .routes(routes!(voicemails::delete))
        .routes(routes!(voicemails::audio))
        .routes(routes!(voicemails::heard))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .split_for_parts();
    (routes, description::complete(&description))
}

/// The OpenAPI description.
#[must_use]
pub fn description() -> Value {
    routes().1
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
    tls: Option<super::certificates::Certificate>,
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
