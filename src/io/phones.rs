//! `/phones` and `/trunks` of the administrator's HTTP: who is there, and what a phone can be asked for by command.
//!
//! `GET` lists both. `PUT /phones/resync?name=1001` makes a phone look for a new configuration. A page in a browser
//! on the same machine can do none of it: reading needs our consent, and so does a PUT (CORS).

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::gateway_state::{self, TrunkRow};
use super::signalling::Question;
use crate::id::PhoneName;

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
pub fn router(questions: mpsc::UnboundedSender<Question>, names: Vec<PhoneName>) -> Router {
    let list = Router::new().route("/phones", get(phones)).with_state((questions.clone(), Arc::from(names)));
    let asked = Router::new().route("/phones/resync", put(resync)).route("/trunks", get(trunks));
    list.merge(asked.with_state(questions))
}

type Known = (mpsc::UnboundedSender<Question>, Arc<[PhoneName]>);

async fn phones(State((questions, names)): State<Known>) -> Response {
    let (answer, figures) = oneshot::channel();
    let _ = questions.send(Question::Figures(answer));
    let (answer, undisturbed) = oneshot::channel();
    let _ = questions.send(Question::Undisturbed(answer));
    match (figures.await, undisturbed.await) {
        (Ok(figures), Ok(undisturbed)) => {
            Json(gateway_state::phones(&names, &figures, &undisturbed)).into_response()
        }
        _ => gone(),
    }
}

async fn trunks(State(questions): State<mpsc::UnboundedSender<Question>>) -> Response {
    let (answer, trunks) = oneshot::channel();
    let _ = questions.send(Question::Trunks(answer));
    let Ok(trunks) = trunks.await else { return gone() };
    Json(trunks.iter().map(TrunkRow::from).collect::<Vec<_>>()).into_response()
}

fn gone() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n").into_response()
}

async fn resync(
    State(questions): State<mpsc::UnboundedSender<Question>>,
    Query(which): Query<Which>,
) -> Response {
    let (answer, places) = oneshot::channel();
    let _ = questions.send(Question::Resync(which.name.into(), answer));
    match places.await {
        Ok(places) => Json(Asked { places }).into_response(),
        Err(_) => gone(),
    }
}
