//! `/phones` of the administrator's HTTP: what a phone can be asked for by command.
//!
//! `PUT /phones/resync?name=1001` makes it look for a new configuration. A page in a browser on the same machine
//! cannot: a PUT needs our consent (CORS).

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::signalling::Question;

/// At how many places a phone was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Where it is registered.
    pub places: usize,
}

#[derive(Clone, Debug, Deserialize)]
struct Which {
    name: String,
}

/// The routes.
pub fn router(questions: mpsc::UnboundedSender<Question>) -> Router {
    Router::new().route("/phones/resync", put(resync)).with_state(questions)
}

async fn resync(
    State(questions): State<mpsc::UnboundedSender<Question>>,
    Query(which): Query<Which>,
) -> Response {
    let (answer, places) = oneshot::channel();
    let _ = questions.send(Question::Resync(which.name.into(), answer));
    match places.await {
        Ok(places) => Json(Asked { places }).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n").into_response(),
    }
}
