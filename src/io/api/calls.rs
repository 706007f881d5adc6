//! `/v1/calls`: calls, live and past, and an end to live ones.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::ask::{Ask, Which};
use super::problem::{Kind, Problem};
use super::token::Caller;
use super::view::CallView;
use crate::call::{CallDirection, CallRecord};
use crate::config::ApiScope;
use crate::id::CallId;
use crate::io::signalling::Question;
use crate::io::store::CallFilter;
use crate::time::Wall;

/// So many items make a page unless the request says otherwise.
const PAGE: u32 = 50;
/// So many items make the longest page.
const LONGEST_PAGE: u32 = 500;

/// Which calls.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of the business number with this label.
    number: Option<String>,
    /// Who started it.
    direction: Option<DirectionWord>,
    /// `live` or `ended`.
    state: Option<LifeWord>,
    /// Opened at or after this, milliseconds since 1970.
    #[param(minimum = 0, maximum = 253402300799999i64)]
    since: Option<i64>,
    /// Opened before this, milliseconds since 1970.
    #[param(minimum = 0, maximum = 253402300799999i64)]
    until: Option<i64>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Who started a call.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DirectionWord {
    /// The WhatsApp user.
    UserInitiated,
    /// The business.
    BusinessInitiated,
}

impl From<DirectionWord> for CallDirection {
    fn from(word: DirectionWord) -> Self {
        match word {
            DirectionWord::UserInitiated => Self::UserInitiated,
            DirectionWord::BusinessInitiated => Self::BusinessInitiated,
        }
    }
}

/// Whether a call is up.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LifeWord {
    /// It is, or it is being set up.
    Live,
    /// It is over.
    Ended,
}

/// A page of calls, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallPage {
    /// The calls.
    calls: Vec<CallView>,
    /// `cursor` of the next page; null on the last one.
    next: Option<String>,
}

/// The place after which the next page begins.
pub(super) fn cursor_of(record: &CallRecord) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{}", record.opened.millis(), record.id))
}

/// The place that a cursor names.
pub(super) fn place(cursor: &str) -> Result<(Wall, CallId), Problem> {
    read_place(cursor).ok_or_else(|| Kind::Senseless.because("cursor is not one that was given out"))
}

fn read_place(cursor: &str) -> Option<(Wall, CallId)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (opened, id) = text.split_once('.')?;
    let id = CallId::parse(id).filter(|it| i64::try_from(it.0).is_ok())?;
    Some((Wall(opened.parse().ok()?), id))
}

/// A page's length, checked.
pub(super) fn page_length(limit: Option<u32>) -> Result<u32, Problem> {
    match limit {
        None => Ok(PAGE),
        Some(limit) if (1..=LONGEST_PAGE).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Kind::BadRequest.because(format!("limit = {limit} is not between 1 and {LONGEST_PAGE}")))
        }
    }
}

/// A moment in milliseconds since 1970 that RFC 3339 can write.
pub(super) fn moment(name: &str, millis: Option<i64>) -> Result<Option<Wall>, Problem> {
    match millis {
        Some(wrong) if !(0..=253_402_300_799_999).contains(&wrong) => {
            Err(Kind::BadRequest.because(format!("{name} = {wrong} is no moment in milliseconds since 1970")))
        }
        millis => Ok(millis.map(Wall)),
    }
}

/// Calls, newest first.
#[utoipa::path(get, path = "/v1/calls", tag = "calls", params(Wanted), responses(
    (status = 200, description = "A page of calls", body = CallPage),
    (status = 404, description = "No such number", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ask(wanted): Ask<Wanted>,
) -> Result<Json<CallPage>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let limit = page_length(wanted.limit)?;
    let number =
        wanted.number.as_deref().map(|it| api.number(it).map(|it| it.config.label.clone())).transpose()?;
    let before = wanted.cursor.as_deref().map(place).transpose()?;
    let filter = CallFilter {
        number,
        since: moment("since", wanted.since)?,
        until: moment("until", wanted.until)?,
        direction: wanted.direction.map(CallDirection::from),
        ended: wanted.state.map(|it| matches!(it, LifeWord::Ended)),
        before,
    };
    // One more than wanted: whether there is a next page.
    let mut records = api.store().calls(limit + 1, &filter).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = if more { records.last().map(cursor_of) } else { None };
    let cover = caller.cover();
    Ok(Json(CallPage { calls: records.iter().map(|it| CallView::new(it, cover)).collect(), next }))
}

/// The id of a call as a request writes it.
pub(super) fn call_id(text: &str) -> Result<CallId, Problem> {
    // Ids are whole numbers of SQLite, which knows no larger ones.
    let id = CallId::parse(text).filter(|it| i64::try_from(it.0).is_ok());
    id.ok_or_else(|| Kind::NotFound.because("no call has this id: 16 hexadecimal digits"))
}

/// The call that a path names.
pub(super) async fn find(api: &Api, id: &str) -> Result<CallRecord, Problem> {
    let call = api.store().call(call_id(id)?).await?;
    call.ok_or_else(|| Kind::NotFound.because("no call has this id"))
}

/// One call.
#[utoipa::path(get, path = "/v1/calls/{id}", tag = "calls",
    params(("id" = String, Path, description = "Our id of the call, 16 hexadecimal digits")),
    responses(
    (status = 200, description = "The call", body = CallView),
    (status = 404, description = "No such call", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
) -> Result<Json<CallView>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let record = find(&api, &id).await?;
    Ok(Json(CallView::new(&record, caller.cover())))
}

/// That a call is being ended; it is over when its event says so.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ending {
    /// The call.
    id: String,
    /// Always `ending`.
    state: String,
}

/// Ends a live call on both sides.
#[utoipa::path(post, path = "/v1/calls/{id}/hangup", tag = "calls",
    params(("id" = String, Path, description = "Our id of the call")),
    responses(
    (status = 202, description = "Both sides are being told", body = Ending),
    (status = 404, description = "No such call", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The call is over", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn hang_up(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
) -> Result<(axum::http::StatusCode, Json<Ending>), Problem> {
    caller.needs(ApiScope::WriteCalls)?;
    let record = find(&api, &id).await?;
    if !api.ask(|answer| Question::HangUp(record.id, answer)).await? {
        return Err(Kind::Conflict.because("the call is over"));
    }
    tracing::info!(call = %record.id, by = caller.name, "a call is ended by the API");
    Ok((axum::http::StatusCode::ACCEPTED, Json(Ending { id: record.id.to_string(), state: "ending".into() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_rubbish_leads_nowhere() {
        let cursor = URL_SAFE_NO_PAD.encode(format!("{}.{}", 1_791_900_000_123_i64, CallId(77)));
        assert_eq!(read_place(&cursor), Some((Wall(1_791_900_000_123), CallId(77))));
        for rubbish in ["", "x", "AAAA", "====", "MS4y"] {
            assert_eq!(read_place(rubbish), None, "{rubbish}");
        }
    }
}
