//! What the administrator's HTTP offers to people at desks: `/dnd`.
//!
//! `GET /dnd` lists, `PUT /dnd?phone=1001` and `DELETE /dnd?phone=1001` set. A page in a browser on the same machine
//! can do none of it: reading needs our consent, and so do PUT and DELETE (CORS).

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::signalling::{Disturb, DisturbSet, Question};
use crate::id::PhoneName;
use crate::time::Wall;

type Questions = mpsc::UnboundedSender<Question>;

/// A phone that is not to be disturbed, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisturbRow {
    /// The phone.
    pub phone: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl From<(PhoneName, Wall)> for DisturbRow {
    fn from((phone, since): (PhoneName, Wall)) -> Self {
        Self { phone: phone.to_string(), since: since.to_string() }
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Which {
    phone: String,
}

/// The routes.
pub fn router(questions: Questions) -> Router {
    Router::new().route("/dnd", get(list).put(on).delete(off)).with_state(questions)
}

async fn list(State(questions): State<Questions>) -> Response {
    let (answer, rows) = oneshot::channel();
    let _ = questions.send(Question::Undisturbed(answer));
    let Ok(rows) = rows.await else { return gone() };
    Json(rows.into_iter().map(DisturbRow::from).collect::<Vec<_>>()).into_response()
}

async fn on(State(questions): State<Questions>, Query(which): Query<Which>) -> Response {
    set(&questions, &which.phone, Disturb::Not).await
}

async fn off(State(questions): State<Questions>, Query(which): Query<Which>) -> Response {
    set(&questions, &which.phone, Disturb::Welcome).await
}

async fn set(questions: &Questions, phone: &str, disturb: Disturb) -> Response {
    let (answer, set) = oneshot::channel();
    let _ = questions.send(Question::SetDisturb(phone.into(), disturb, answer));
    match set.await {
        Ok(DisturbSet::Kept) => StatusCode::NO_CONTENT.into_response(),
        Ok(DisturbSet::UnknownPhone) => {
            (StatusCode::NOT_FOUND, "there is no [[phone]] of this name\n").into_response()
        }
        Err(_) => gone(),
    }
}

fn gone() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n").into_response()
}
