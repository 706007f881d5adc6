//! `/v1/numbers`: what WhatsApp's rules and the house's allow now, by business number and user.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::ask::{Body, Which};
use super::problem::{Kind, Problem};
use super::token::Caller;
use super::view::{UserView, time};
use crate::config::ApiScope;
use crate::io::signalling::now;
use crate::io::store::PermissionLine;
use crate::policy::{LedgerSource, Permission};
use crate::time::Wall;
use crate::user::{Bsuid, Msisdn, UserId};

/// A business number.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NumberView {
    /// Its label in the configuration.
    label: String,
    /// Graph's id of it.
    phone_number_id: String,
    /// Its digits, with the country code.
    display_number: String,
}

/// The business numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NumberList {
    /// In the order of the configuration.
    numbers: Vec<NumberView>,
}

/// The business numbers of this gateway.
#[utoipa::path(get, path = "/v1/numbers", tag = "rules", responses(
    (status = 200, description = "All of them", body = NumberList),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn numbers(State(api): State<Api>, caller: Caller) -> Result<Json<NumberList>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let view = |it: &super::ApiNumber| NumberView {
        label: it.label.to_string(),
        phone_number_id: it.id.to_string(),
        // The business's own number is no secret.
        display_number: it.display.digits().to_owned(),
    };
    Ok(Json(NumberList { numbers: api.numbers().iter().map(view).collect() }))
}

/// How much of a cap is used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Limits {
    /// Connected business-initiated calls in the window; null where the cap is switched off.
    max: Option<u32>,
    /// The window in seconds.
    window_seconds: u64,
    /// Calls that were picked up inside the window.
    connected: u32,
    /// Places held by calls that are not answered yet.
    reserved: u32,
    /// Places that are left; null where the cap is switched off.
    left: Option<u32>,
}

/// How much of the cap of a business number is used.
#[utoipa::path(get, path = "/v1/numbers/{number}/limits", tag = "rules",
    params(("number" = String, Path, description = "The label of a business number")),
    responses(
    (status = 200, description = "The cap per number", body = Limits),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such number", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn limits(
    State(api): State<Api>,
    caller: Caller,
    Which(label): Which<String>,
) -> Result<Json<Limits>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let number = api.number(&label)?;
    // Without a cap the day is still worth a look.
    let window = number.cap.map_or(std::time::Duration::from_hours(24), |it| it.window);
    let used = api.store().cap_use(&number.id, window, now()).await?;
    let max = number.cap.map(|it| it.max);
    Ok(Json(Limits {
        max,
        window_seconds: window.as_secs(),
        connected: used.connected,
        reserved: used.reserved,
        left: max.map(|max| max.saturating_sub(used.connected + used.reserved)),
    }))
}

/// Whether a user may be called.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PermissionView {
    /// The user.
    user: UserView,
    /// `none`, `temporary`, `permanent`, `declined` or `revoked`.
    state: String,
    /// When a temporary one ends, RFC 3339.
    until: Option<String>,
    /// Whether it holds now.
    holds: bool,
}

impl PermissionView {
    fn new(user: &UserId, permission: Permission, now: Wall, caller: &Caller) -> Self {
        let holds = permission.holds(now);
        Self {
            user: UserView::new(user, caller.cover()),
            state: permission.as_str().to_owned(),
            until: permission.until().map(time),
            holds,
        }
    }
}

/// The user that a path names: a number with its country code or a business-scoped id.
pub(super) fn user(text: &str) -> Result<UserId, Problem> {
    UserId::from_parts(Msisdn::parse(text), Bsuid::parse(text)).ok_or_else(|| {
        Kind::NotFound
            .because("a user is a number with its country code, 5521955500123, or an id like BR.2099")
    })
}

/// What is known of a user's permission.
#[utoipa::path(get, path = "/v1/numbers/{number}/users/{user}/permission", tag = "rules",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id")),
    responses(
    (status = 200, description = "The permission", body = PermissionView),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such number or user", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn permission(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
) -> Result<Json<PermissionView>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let (number, user) = (api.number(&label)?, user(&whom)?);
    let permission = api.store().permission(&number.id, &user).await?;
    Ok(Json(PermissionView::new(&user, permission, now().wall, &caller)))
}

/// A permission known from elsewhere. Meta keeps its own account and decides in the end.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPermission {
    /// The new state.
    state: StateWord,
    /// When a temporary permission ends, seconds since 1970; Meta's own last seven days.
    until: Option<i64>,
}

/// A state of a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// Nothing is known.
    None,
    /// Until a moment.
    Temporary,
    /// Until revoked.
    Permanent,
    /// The user does not want to be called.
    Declined,
}

/// Writes what is known of a user's permission from elsewhere into the ledger.
#[utoipa::path(put, path = "/v1/numbers/{number}/users/{user}/permission", tag = "rules",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id"),
           ("Idempotency-Key" = Option<String>, Header, description = "Done once under this key")),
    request_body = NewPermission,
    responses(
    (status = 200, description = "What holds now", body = PermissionView),
    (status = 400, description = "The body cannot be read", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such number or user", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The same request is being done", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is too long", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The body makes no sense", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn set_permission(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
    Body(new): Body<NewPermission>,
) -> Result<Json<PermissionView>, Problem> {
    caller.needs(ApiScope::WriteRules)?;
    let (number, user) = (api.number(&label)?, user(&whom)?);
    let at = now().wall;
    let until = new.until.map(Wall::from_secs);
    let permission = match (new.state, until) {
        (StateWord::Temporary, Some(until)) if until <= at => {
            return Err(Kind::Senseless.because("`until` lies in the past"));
        }
        // Meta: 7 days (calling/user-call-permissions, reference §1).
        (StateWord::Temporary, until) => {
            Permission::Temporary { until: until.unwrap_or(at + std::time::Duration::from_hours(24 * 7)) }
        }
        (_, Some(_)) => return Err(Kind::Senseless.because("`until` belongs to a temporary permission only")),
        (StateWord::None, None) => Permission::None,
        (StateWord::Permanent, None) => Permission::Permanent,
        (StateWord::Declined, None) => Permission::Declined,
    };
    api.store().set_permission(&number.id, &user, permission, LedgerSource::Operator, at).await?;
    tracing::info!(%user, by = caller.name, state = permission.as_str(), "a permission was set by the API");
    let holds = api.store().permission(&number.id, &user).await?;
    Ok(Json(PermissionView::new(&user, holds, at, &caller)))
}

/// One line of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PermissionEntry {
    /// When it was said, RFC 3339.
    at: String,
    /// `none`, `temporary`, `permanent`, `declined` or `revoked`.
    state: String,
    /// When it ends, RFC 3339.
    until: Option<String>,
    /// By which way: `request`, `user_call`, `profile`, `automatic`, `live`, `refusal`, `operator`.
    source: String,
    /// Id of the message or call it belongs to.
    context: Option<String>,
}

impl From<&PermissionLine> for PermissionEntry {
    fn from(line: &PermissionLine) -> Self {
        Self {
            at: time(line.at),
            state: line.permission.as_str().to_owned(),
            until: line.permission.until().map(time),
            source: line.source.as_str().to_owned(),
            context: line.context.clone(),
        }
    }
}

/// Everything that was ever said about a user's permission.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PermissionLog {
    /// Oldest first.
    entries: Vec<PermissionEntry>,
}

/// Everything that was ever said about a user's permission.
#[utoipa::path(get, path = "/v1/numbers/{number}/users/{user}/permission/log", tag = "rules",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id")),
    responses(
    (status = 200, description = "The ledger's lines", body = PermissionLog),
    (status = 401, description = "No good token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The scope is missing", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such number or user", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Busy", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn permission_log(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
) -> Result<Json<PermissionLog>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let (number, user) = (api.number(&label)?, user(&whom)?);
    let lines = api.store().permission_log(&number.id, &user).await?;
    Ok(Json(PermissionLog { entries: lines.iter().map(PermissionEntry::from).collect() }))
}
