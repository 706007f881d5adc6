//! `/voicemails` of the administrator's HTTP, for `cordboard voicemail`: a list, the sound of one, heard, delete.

use std::path::Path;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Cabinet;
use crate::call::voicemail::{VoiceMessage, VoicemailId};
use crate::io::signalling::{MessageBell, now};
use crate::io::store::{Store, StoreError, VoicemailFilter};

/// No list is longer.
const MOST: u32 = 500;

/// A message, as JSON; its user is covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// Its place.
    pub id: u64,
    /// The missed call.
    pub call: Option<String>,
    /// The business number.
    pub number: String,
    /// Who left it, covered.
    pub user: Option<String>,
    /// When, RFC 3339.
    pub at: String,
    /// `gateway` or `meta`.
    pub source: String,
    /// How long it is, where that is known.
    pub seconds: Option<u32>,
    /// The file below `voicemail.directory`; null: Meta has it still.
    pub file: Option<String>,
    /// When it was heard first.
    pub heard: Option<String>,
    /// Who heard it.
    pub heard_by: Option<String>,
}

impl From<&VoiceMessage> for MessageRow {
    fn from(message: &VoiceMessage) -> Self {
        let heard = message.heard.as_ref();
        Self {
            id: message.id.0,
            call: message.call.map(|it| it.to_string()),
            number: message.number.to_string(),
            user: message.user.as_ref().map(ToString::to_string),
            at: message.at.to_string(),
            source: message.source.as_str().to_owned(),
            seconds: message.seconds,
            file: message.file.clone(),
            heard: heard.map(|(at, _)| at.to_string()),
            heard_by: heard.map(|(_, by)| by.clone()),
        }
    }
}

#[derive(Clone, Debug)]
struct Desk {
    store: Store,
    cabinet: Cabinet,
    bell: MessageBell,
}

#[derive(Clone, Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    unheard: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Which {
    id: u64,
    #[serde(default)]
    by: Option<String>,
}

/// The routes.
pub fn router(store: Store, cabinet: Cabinet, bell: MessageBell) -> Router {
    Router::new()
        .route("/voicemails", get(list).delete(delete))
        .route("/voicemails/audio", get(audio))
        .route("/voicemails/heard", put(heard))
        .with_state(Desk { store, cabinet, bell })
}

async fn list(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Response {
    let filter = VoicemailFilter { unheard: wanted.unheard, ..VoicemailFilter::default() };
    match desk.store.voicemails(&filter, MOST).await {
        Ok(messages) => Json(messages.iter().map(MessageRow::from).collect::<Vec<_>>()).into_response(),
        Err(error) => down(&error),
    }
}

async fn audio(State(desk): State<Desk>, Query(which): Query<Which>) -> Response {
    let message = match desk.store.voicemail(VoicemailId(which.id)).await {
        Ok(Some(message)) => message,
        Ok(None) => return nobody(),
        Err(error) => return down(&error),
    };
    match desk.cabinet.read(&message).await {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, "audio/ogg")], bytes).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "its sound is not here\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn heard(State(desk): State<Desk>, Query(which): Query<Which>) -> Response {
    let by = which.by.as_deref().unwrap_or("operator");
    match desk.store.voicemail_heard(VoicemailId(which.id), by, now().wall).await {
        Ok(true) => done(&desk).await,
        Ok(false) => nobody(),
        Err(error) => down(&error),
    }
}

async fn delete(State(desk): State<Desk>, Query(which): Query<Which>) -> Response {
    match desk.store.delete_voicemail(VoicemailId(which.id)).await {
        Ok(Some(message)) => {
            if let Some(file) = &message.file {
                desk.cabinet.remove(Path::new(file)).await;
            }
            done(&desk).await
        }
        Ok(None) => nobody(),
        Err(error) => down(&error),
    }
}

/// The lamps follow.
async fn done(desk: &Desk) -> Response {
    match desk.bell.ring(&desk.store).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => down(&error),
    }
}

fn nobody() -> Response {
    (StatusCode::NOT_FOUND, "there is no such voice message\n").into_response()
}

fn down(error: &StoreError) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}
