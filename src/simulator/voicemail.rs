//! Meta's own voicemail: what a user said to nobody arrives as an audio message whose id is the call's, and its sound
//! is fetched from the Graph (reference §5.3).

use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::text_value;
use super::control::{Answer, no_call, read};
use super::delivery::Change;
use super::graph_error::GraphError;
use super::media::now;
use super::meta::{Meta, Problem};

/// The routes of both sides.
pub(super) fn routes(meta: Meta) -> Router {
    Router::new()
        .route("/sim/calls/{id}/voicemail", post(leave))
        .route("/{version}/{media}/file", get(file))
        .with_state(meta)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaving {
    /// An Ogg/Opus file.
    file: PathBuf,
    /// Whether what is announced is another sound than what is served, until it is left again.
    #[serde(default)]
    altered: bool,
}

/// The user of a call that is over has said something to Meta's voicemail.
async fn leave(Shared(meta): Shared<Meta>, Path(id): Path<String>, body: Bytes) -> Answer {
    let leaving: Leaving = read(&body)?;
    let sound = tokio::fs::read(&leaving.file).await.map_err(|error| {
        Problem::new(400, format!("{}: {error}", leaving.file.display()), "name an Ogg/Opus file")
    })?;
    let announced = if leaving.altered { digest(&SHA256, b"another") } else { digest(&SHA256, &sound) };
    let at = now().wall;
    let change = meta.with(|state| {
        let call = state.calls.get(&id).cloned().ok_or_else(no_call)?;
        let number = state.numbers.get(&call.number).cloned().ok_or_else(no_call)?;
        // Meta's media ids are digits.
        let media = format!("{:015}", state.random.next_u64() % 1_000_000_000_000_000);
        state.sounds.insert(media.clone(), sound);
        let mut value = text_value(&number, &call.user, &id, at);
        let message = &mut value["messages"][0];
        if let Some(message) = message.as_object_mut() {
            message.remove("text");
        }
        message["type"] = "audio".into();
        message["audio"] = json!({ "id": media, "mime_type": "audio/ogg; codecs=opus", "voice": true,
            "sha256": STANDARD.encode(announced) });
        Ok::<_, Problem>(Change {
            call: format!("voicemail {id}"),
            event: "audio".to_owned(),
            field: "messages",
            account: format!("2045{}", number.id),
            value,
        })
    })?;
    meta.0.delivery.post(change);
    Ok(Json(json!({ "done": true })))
}

fn is_welcome(meta: &Meta, headers: &HeaderMap) -> Result<(), GraphError> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match token.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(given) if given == meta.0.token.expose() => Ok(()),
        _ => Err(GraphError::new(190, "the access token is missing or wrong")),
    }
}

/// Where a sound is.
pub(super) fn place(meta: &Meta, version: &str, media: &str, headers: &HeaderMap) -> Response {
    if let Err(error) = is_welcome(meta, headers) {
        return super::graph::refuse(meta, &error);
    }
    let told =
        meta.with(|state| state.sounds.get(media).map(|it| (it.len(), hex::encode(digest(&SHA256, it)))));
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok()).unwrap_or_default();
    match told {
        Some((size, sha256)) => Json(json!({
            "messaging_product": "whatsapp",
            "url": format!("http://{host}/{version}/{media}/file"),
            "mime_type": "audio/ogg; codecs=opus",
            "file_size": size,
            "sha256": sha256,
            "id": media,
        }))
        .into_response(),
        None => super::graph::refuse(meta, &GraphError::parameter("there is no media of this id")),
    }
}

/// The sound itself.
async fn file(
    Shared(meta): Shared<Meta>,
    Path((_, media)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(error) = is_welcome(&meta, &headers) {
        return super::graph::refuse(&meta, &error);
    }
    match meta.with(|state| state.sounds.get(&media).cloned()) {
        Some(sound) => ([(header::CONTENT_TYPE, "audio/ogg")], sound).into_response(),
        None => (StatusCode::NOT_FOUND, Json(Value::Null)).into_response(),
    }
}
