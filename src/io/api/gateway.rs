//! `/v1/phones`, `/v1/trunks`, `/v1/bans`: who is there, and who is kept out.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::ask::Ask;
use super::problem::{Kind, Problem};
use super::token::Caller;
use crate::config::ApiScope;
use crate::io::bans::BanRow;
use crate::io::signalling::Question;
use crate::sip::defence::Source;
use crate::sip::trunk::ServerState;

/// A phone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PhoneView {
    /// Its name in the configuration.
    name: String,
    /// Whether it is registered.
    registered: bool,
}

/// The phones.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PhoneList {
    /// In the order of the configuration.
    phones: Vec<PhoneView>,
}

/// The phones of this gateway.
#[utoipa::path(get, path = "/v1/phones", tag = "gateway", responses(
    (status = 200, description = "All of them", body = PhoneList),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn phones(State(api): State<Api>, caller: Caller) -> Result<Json<PhoneList>, Problem> {
    caller.needs(ApiScope::ReadGateway)?;
    let figures = api.ask(Question::Figures).await?;
    let view = |name: &crate::id::PhoneName| PhoneView {
        name: name.to_string(),
        registered: figures.registered.contains(name),
    };
    Ok(Json(PhoneList { phones: api.phones().iter().map(view).collect() }))
}

/// A trunk.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrunkView {
    /// Its name in the configuration.
    name: String,
    /// How it fares, in a word or two.
    state: String,
    /// Its servers, best first, and whether each is up.
    servers: Vec<ServerView>,
    /// Calls up or being set up.
    calls: u32,
}

/// A server of a trunk.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServerView {
    /// Address and port.
    address: String,
    /// Whether it answers.
    up: bool,
}

/// The trunks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrunkList {
    /// In the order of the configuration.
    trunks: Vec<TrunkView>,
}

/// The trunks of this gateway.
#[utoipa::path(get, path = "/v1/trunks", tag = "gateway", responses(
    (status = 200, description = "All of them", body = TrunkList),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn trunks(State(api): State<Api>, caller: Caller) -> Result<Json<TrunkList>, Problem> {
    caller.needs(ApiScope::ReadGateway)?;
    let trunks = api.ask(Question::Trunks).await?;
    let server = |(address, state): &(std::net::SocketAddr, ServerState)| ServerView {
        address: address.to_string(),
        up: *state == ServerState::Up,
    };
    let view = |it: &crate::sip::TrunkStatus| TrunkView {
        name: it.name.to_string(),
        state: it.as_text().to_owned(),
        servers: it.servers.iter().map(server).collect(),
        calls: it.calls,
    };
    Ok(Json(TrunkList { trunks: trunks.iter().map(view).collect() }))
}

/// The bans that hold.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BanList {
    /// All of them.
    bans: Vec<BanRow>,
}

/// Who is banned from the SIP side.
#[utoipa::path(get, path = "/v1/bans", tag = "gateway", responses(
    (status = 200, description = "The bans that hold", body = BanList),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn bans(State(api): State<Api>, caller: Caller) -> Result<Json<BanList>, Problem> {
    caller.needs(ApiScope::ReadGateway)?;
    let bans = api.ask(Question::Bans).await?;
    Ok(Json(BanList { bans: bans.into_iter().map(BanRow::from).collect() }))
}

/// Whose bans end.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    /// An IPv4 address, or any of an IPv6 /64.
    source: String,
    /// Only the ban of this user there.
    user: Option<String>,
}

/// How many bans ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct LiftedView {
    /// Bans that held until now.
    lifted: usize,
}

/// Ends the bans of an address, or of one user there.
#[utoipa::path(delete, path = "/v1/bans", tag = "gateway", params(Whose,
    ("Idempotency-Key" = Option<String>, Header, description = "Done once under this key")), responses(
    (status = 200, description = "Done", body = LiftedView),
    (status = 400, description = "The address cannot be read", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The same request is being done", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The key came with another request", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn lift(
    State(api): State<Api>,
    caller: Caller,
    Ask(whose): Ask<Whose>,
) -> Result<Json<LiftedView>, Problem> {
    caller.needs(ApiScope::WriteGateway)?;
    let source: Source =
        whose.source.parse().map_err(|_| Kind::BadRequest.because("source is no IP address"))?;
    let lifted = api.ask(|answer| Question::LiftBan(source, whose.user, answer)).await?;
    tracing::info!(%source, lifted, by = caller.name, "bans were lifted by the API");
    Ok(Json(LiftedView { lifted }))
}
