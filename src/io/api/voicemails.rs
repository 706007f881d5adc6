//! `/v1/voicemails`: what users said to nobody.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::ask::{Ask, Which};
use super::calls::page_length;
use super::problem::{Kind, Problem};
use super::token::{Caller, Cover};
use super::view::{UserView, time};
use crate::call::voicemail::{VoiceMessage, VoicemailId};
use crate::config::ApiScope;
use crate::io::signalling::{MessageBell, now};
use crate::io::store::VoicemailFilter;
use crate::io::voicemail::Cabinet;

/// The files and the lamps of voice messages.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Where the files stand.
    pub cabinet: Cabinet,
    /// Who is told when messages change.
    pub bell: MessageBell,
}

/// A voice message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VoicemailView {
    /// Its id, as text.
    id: String,
    /// The id of the missed call; null if Meta told of one that is not among the records.
    call: Option<String>,
    /// The label of the business number.
    number: String,
    /// Who left it.
    user: Option<UserView>,
    /// When, RFC 3339.
    at: String,
    /// `gateway`, or `meta` for Meta's own voicemail.
    source: String,
    /// How long it is, where that is known.
    seconds: Option<u32>,
    /// Whether its sound can be fetched; what Meta has recorded comes a little later.
    available: bool,
    /// When it was heard first, RFC 3339.
    heard: Option<String>,
    /// Who heard it: a token's name, a phone, an operator.
    heard_by: Option<String>,
}

impl VoicemailView {
    fn new(message: &VoiceMessage, cover: Cover) -> Self {
        let heard = message.heard.as_ref();
        Self {
            id: message.id.0.to_string(),
            call: message.call.map(|it| it.to_string()),
            number: message.number.to_string(),
            user: message.user.as_ref().map(|it| UserView::new(it, cover)),
            at: time(message.at),
            source: message.source.as_str().to_owned(),
            seconds: message.seconds,
            available: message.file.is_some(),
            heard: heard.map(|(at, _)| time(*at)),
            heard_by: heard.map(|(_, by)| by.clone()),
        }
    }
}

/// Which messages.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Of the business number with this label.
    number: Option<String>,
    /// Only those that nobody has heard.
    unheard: Option<bool>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of voice messages, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VoicemailPage {
    /// The messages.
    voicemails: Vec<VoicemailView>,
    /// `cursor` of the next page; null on the last one.
    next: Option<String>,
}

/// SQLite's whole numbers end at 2^63 - 1.
fn number(text: &str) -> Option<VoicemailId> {
    text.parse::<i64>().ok().and_then(|it| u64::try_from(it).ok()).map(VoicemailId)
}

/// Voice messages, newest first.
#[utoipa::path(get, path = "/v1/voicemails", tag = "calls", params(Wanted), responses(
    (status = 200, description = "A page of messages", body = VoicemailPage),
    (status = 404, description = "No such number", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ask(wanted): Ask<Wanted>,
) -> Result<Json<VoicemailPage>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let limit = page_length(wanted.limit)?;
    let label =
        wanted.number.as_deref().map(|it| api.number(it).map(|it| it.config.label.clone())).transpose()?;
    let before = match wanted.cursor.as_deref() {
        Some(cursor) => Some(
            number(cursor).ok_or_else(|| Kind::Senseless.because("cursor is not one that was given out"))?,
        ),
        None => None,
    };
    let filter =
        VoicemailFilter { number: label, call: None, unheard: wanted.unheard.unwrap_or(false), before };
    let mut messages = api.store().voicemails(&filter, limit + 1).await?;
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    let next = if more { messages.last().map(|it| it.id.0.to_string()) } else { None };
    let cover = caller.cover();
    Ok(Json(VoicemailPage {
        voicemails: messages.iter().map(|it| VoicemailView::new(it, cover)).collect(),
        next,
    }))
}

async fn find(api: &Api, id: &str) -> Result<VoiceMessage, Problem> {
    let nothing = || Kind::NotFound.because("no voice message has this id");
    api.store().voicemail(number(id).ok_or_else(nothing)?).await?.ok_or_else(nothing)
}

/// The sound of a message. A voice tells who speaks: it needs the scope `identities`, too.
#[utoipa::path(get, path = "/v1/voicemails/{id}/audio", tag = "calls",
    params(("id" = String, Path, description = "The message")),
    responses(
    (status = 200, description = "The sound", body = Vec<u8>, content_type = "audio/ogg"),
    (status = 404, description = "No such message, or Meta has its sound still", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn audio(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
) -> Result<Response, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    caller.needs(ApiScope::Identities)?;
    let message = find(&api, &id).await?;
    let nothing = || Kind::NotFound.because("the sound of this message is not here");
    let mailbox = api.mailbox().ok_or_else(nothing)?;
    let read = mailbox.cabinet.read(&message).await;
    let bytes = read.map_err(|error| {
        tracing::error!(%error, "the file of a voice message cannot be read");
        nothing()
    })?;
    tracing::info!(voicemail = message.id.0, by = caller.name, "a voice message is fetched by the API");
    Ok(([(header::CONTENT_TYPE, "audio/ogg")], bytes.ok_or_else(nothing)?).into_response())
}

/// Marks a message as heard; the lamps of the phones follow.
#[utoipa::path(post, path = "/v1/voicemails/{id}/heard", tag = "calls",
    params(("id" = String, Path, description = "The message")),
    responses(
    (status = 200, description = "The message as it is now", body = VoicemailView),
    (status = 404, description = "No such message", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn heard(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
) -> Result<Json<VoicemailView>, Problem> {
    caller.needs(ApiScope::WriteCalls)?;
    let message = find(&api, &id).await?;
    api.store().voicemail_heard(message.id, &caller.name, now().wall).await?;
    ring(&api).await?;
    Ok(Json(VoicemailView::new(&find(&api, &id).await?, caller.cover())))
}

/// Deletes a message and its sound.
#[utoipa::path(delete, path = "/v1/voicemails/{id}", tag = "calls",
    params(("id" = String, Path, description = "The message")),
    responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "No such message", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(ApiScope::WriteCalls)?;
    let message = find(&api, &id).await?;
    let deleted = api.store().delete_voicemail(message.id).await?;
    let file = deleted.and_then(|it| it.file);
    if let (Some(file), Some(mailbox)) = (file, api.mailbox()) {
        mailbox.cabinet.remove(Path::new(&file)).await;
    }
    tracing::info!(voicemail = message.id.0, by = caller.name, "a voice message is deleted by the API");
    ring(&api).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn ring(api: &Api) -> Result<(), Problem> {
    match api.mailbox() {
        Some(mailbox) => Ok(mailbox.bell.ring(api.store()).await?),
        None => Ok(()),
    }
}
