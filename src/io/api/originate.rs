//! Calls that a program begins, and missed calls: who called in vain, and calling them back.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ask::{Ask, Body, Which};
use super::calls::{call_id, cursor_of, page_length, place};
use super::permissions::user;
use super::problem::{Kind, Problem, Verdicts};
use super::token::Caller;
use super::view::{CallView, time};
use super::{Api, PATIENCE};
use crate::call::MissedCall;
use crate::config::ApiScope;
use crate::id::CallId;
use crate::io::calling_back::{self, NotBegun};
use crate::io::signalling::{Origination, now};
use crate::io::store::MissedFilter;
use crate::time::Wall;

/// A call to a WhatsApp user.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCall {
    /// The label of the business number that calls.
    number: String,
    /// The user: a number with its country code, or a business-scoped id.
    user: String,
    /// The phone of the configuration that rings first.
    phone: String,
}

/// A call that was begun: the phone rings, and once somebody is there, the user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BegunView {
    /// Our id of the call; its record and its events tell what becomes of it.
    id: String,
    /// The missed call that is called back.
    missed: Option<String>,
}

/// Begins a call: rings a phone, then the user. Whether the user may be called is decided when the phone is there.
#[utoipa::path(post, path = "/v1/calls", tag = "calls", request_body = NewCall, responses(
    (status = 202, description = "The phone is being rung", body = BegunView),
    Verdicts,
))]
pub(super) async fn originate(
    State(api): State<Api>,
    caller: Caller,
    Body(new): Body<NewCall>,
) -> Result<(StatusCode, Json<BegunView>), Problem> {
    caller.needs(ApiScope::WriteCalls)?;
    let number = api.number(&new.number)?.config.phone_number_id.clone();
    let (user, agent) = (user(&new.user)?, api.phone(&new.phone)?.clone());
    let wanted = Origination { number, user, agent };
    let begun = tokio::time::timeout(PATIENCE, calling_back::originate(api.questions(), wanted)).await;
    let id = begun.map_err(|_| Problem::from(NotBegun::Stopping))??;
    tracing::info!(call = %id, by = caller.name, "a call is begun by the API");
    Ok(begun_view(&api, id, None).await)
}

/// The record is written before the phone rings, but not before we are told: whoever asks for it next finds it.
async fn begun_view(api: &Api, id: CallId, missed: Option<CallId>) -> (StatusCode, Json<BegunView>) {
    const BEATS: u32 = 50;
    for _ in 0..BEATS {
        if !matches!(api.store().call(id).await, Ok(None)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let view = BegunView { id: id.to_string(), missed: missed.map(|it| it.to_string()) };
    (StatusCode::ACCEPTED, Json(view))
}

/// Which missed calls.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedMissed {
    /// Of the business number with this label.
    number: Option<String>,
    /// Those that are settled, too.
    all: Option<bool>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Somebody at a moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Doing {
    /// When, RFC 3339.
    at: String,
    /// Who or what: a phone, a token's name, `call ` and the id of a call.
    by: String,
}

/// A user's call that nobody took.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MissedView {
    /// The call.
    call: CallView,
    /// `none`, `temporary`, `permanent`, `declined` or `revoked`.
    permission: String,
    /// Whether the user may be called back now.
    callable: bool,
    /// When a temporary permission ends, RFC 3339.
    permission_until: Option<String>,
    /// Seconds until then, 0 once it is over.
    permission_seconds_left: Option<u64>,
    /// Who calls back at this moment.
    claimed: Option<Doing>,
    /// Why it is off the list.
    settled: Option<Doing>,
}

impl MissedView {
    fn new(missed: &MissedCall, caller: &Caller, now: Wall) -> Self {
        let doing =
            |it: &Option<(Wall, String)>| it.as_ref().map(|(at, by)| Doing { at: time(*at), by: by.clone() });
        let until = missed.permission.until();
        Self {
            call: CallView::new(&missed.record, caller.cover()),
            permission: missed.permission.as_str().to_owned(),
            callable: missed.permission.holds(now),
            permission_until: until.map(time),
            permission_seconds_left: until.map(|it| it.since(now).as_secs()),
            claimed: doing(&missed.claimed),
            settled: doing(&missed.settled),
        }
    }
}

/// A page of missed calls, oldest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MissedPage {
    /// The missed calls.
    missed: Vec<MissedView>,
    /// `cursor` of the next page; null on the last one.
    next: Option<String>,
}

/// Users' calls that nobody took, and whether they may be called back.
#[utoipa::path(get, path = "/v1/missed", tag = "calls", params(WantedMissed), responses(
    (status = 200, description = "A page of missed calls", body = MissedPage),
    (status = 404, description = "No such number", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn missed(
    State(api): State<Api>,
    caller: Caller,
    Ask(wanted): Ask<WantedMissed>,
) -> Result<Json<MissedPage>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let limit = page_length(wanted.limit)?;
    let number = wanted.number.as_deref().map(|it| api.number(it)).transpose()?;
    let filter = MissedFilter {
        numbers: number.map(|it| vec![it.config.phone_number_id.clone()]),
        settled: wanted.all.unwrap_or(false),
        after: wanted.cursor.as_deref().map(place).transpose()?,
    };
    page(&api, &caller, &filter, limit).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    filter: &MissedFilter,
    limit: u32,
) -> Result<Json<MissedPage>, Problem> {
    let mut calls = api.store().missed(limit + 1, filter).await?;
    let more = calls.len() > limit as usize;
    calls.truncate(limit as usize);
    let next = if more { calls.last().map(|it| cursor_of(&it.record)) } else { None };
    let at = now().wall;
    Ok(Json(MissedPage { missed: calls.iter().map(|it| MissedView::new(it, caller, at)).collect(), next }))
}

/// Whose queue.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedQueue {
    /// The group of the configuration.
    group: String,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The callback queue of a group: whom its phones are to call back, oldest first.
#[utoipa::path(get, path = "/v1/callbacks", tag = "calls", params(WantedQueue), responses(
    (status = 200, description = "A page of the queue", body = MissedPage),
    (status = 404, description = "No such group", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn queue(
    State(api): State<Api>,
    caller: Caller,
    Ask(wanted): Ask<WantedQueue>,
) -> Result<Json<MissedPage>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let limit = page_length(wanted.limit)?;
    let filter = MissedFilter {
        numbers: Some(api.queue_of(&wanted.group)?),
        settled: false,
        after: wanted.cursor.as_deref().map(place).transpose()?,
    };
    page(&api, &caller, &filter, limit).await
}

/// Who calls back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCallback {
    /// The phone that rings first; it must be one that the call's number rings, that dials through it, or that belongs
    /// to a group with the number's callbacks.
    phone: String,
    /// The missed call; without one, the oldest that this phone may call back.
    missed: Option<String>,
    /// Without a missed call: the oldest in the queue of this group, to which the phone must belong.
    group: Option<String>,
}

/// Calls back: rings the phone, then the user who called in vain. Nobody else can at the same time.
#[utoipa::path(post, path = "/v1/callbacks", tag = "calls", request_body = NewCallback, responses(
    (status = 202, description = "The phone is being rung", body = BegunView),
    Verdicts,
))]
pub(super) async fn call_back(
    State(api): State<Api>,
    caller: Caller,
    Body(new): Body<NewCallback>,
) -> Result<(StatusCode, Json<BegunView>), Problem> {
    caller.needs(ApiScope::WriteCalls)?;
    let from = api.phone(&new.phone)?.clone();
    let which = match (new.missed.as_deref(), new.group) {
        (None, None) => calling_back::Which::Next,
        (None, Some(group)) => calling_back::Which::NextOf(group),
        (Some(id), None) => calling_back::Which::One(call_id(id)?),
        (Some(_), Some(_)) => {
            return Err(Kind::Senseless.because("a missed call is named, or a group whose next one it is"));
        }
    };
    let begun = calling_back::call_back(api.questions(), api.store(), which, from);
    let begun = tokio::time::timeout(PATIENCE, begun).await;
    let begun = begun.map_err(|_| Problem::from(NotBegun::Stopping))??;
    tracing::info!(call = %begun.call, by = caller.name, "a missed call is called back by the API");
    Ok(begun_view(&api, begun.call, Some(begun.missed.record.id)).await)
}

/// That a missed call is off the list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Dismissed {
    /// The missed call.
    id: String,
    /// Always `settled`.
    state: String,
}

/// Takes a missed call off the list: it was dealt with in another way.
#[utoipa::path(post, path = "/v1/missed/{id}/dismiss", tag = "calls",
    params(("id" = String, Path, description = "Our id of the missed call")),
    responses((status = 200, description = "It is off the list", body = Dismissed)))]
pub(super) async fn dismiss(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
) -> Result<Json<Dismissed>, Problem> {
    caller.needs(ApiScope::WriteCalls)?;
    let call = call_id(&id)?;
    if !api.store().settle_missed(call, &caller.name, now().wall).await? {
        return Err(Kind::NotFound.because("this call is not on the list of missed calls"));
    }
    Ok(Json(Dismissed { id: call.to_string(), state: "settled".into() }))
}
