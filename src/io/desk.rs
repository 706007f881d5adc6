//! What the administrator's HTTP offers to people at desks: `/dnd`, `/callbacks`.
//!
//! `GET /dnd` lists, `PUT /dnd?phone=1001` and `DELETE /dnd?phone=1001` set. A page in a browser on the same machine
//! can do none of it: reading needs our consent, and so do PUT and DELETE (CORS).
//!
//! `PUT /callbacks?call=ID&from=1001` rings phone 1001, then the user who made that missed call; `call=next` takes the
//! oldest one that this phone may call back, with `group=desk` the oldest of that group's queue. The answer is JSON, or a sentence that says why not.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::calling_back::{self, NotBegun, Which};
use super::signalling::{Disturb, DisturbSet, Question};
use super::store::Store;
use crate::id::{CallId, PhoneName};
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
struct Whose {
    phone: String,
}

/// The routes.
pub fn router(questions: Questions, store: Store) -> Router {
    let dnd = Router::new().route("/dnd", get(list).put(on).delete(off)).with_state(questions.clone());
    let callbacks = Router::new().route("/callbacks", put(call_back)).with_state((questions, store));
    dnd.merge(callbacks)
}

/// A callback that was begun, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackRow {
    /// The new call, as `calls` will show it.
    pub call: String,
    /// The missed call.
    pub missed: String,
    /// Whom, covered.
    pub user: String,
    /// Whose phone rings first.
    pub from: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Back {
    call: String,
    from: String,
    /// Of whose queue the next one is taken.
    group: Option<String>,
}

async fn call_back(
    State((questions, store)): State<(Questions, Store)>,
    Query(back): Query<Back>,
) -> Response {
    let which = match (back.call.as_str(), back.group) {
        ("next", None) => Some(Which::Next),
        ("next", Some(group)) => Some(Which::NextOf(group)),
        (id, _) => CallId::parse(id).map(Which::One),
    };
    let Some(which) = which else {
        return (StatusCode::BAD_REQUEST, "call is no id of a call, nor \"next\"\n").into_response();
    };
    match calling_back::call_back(&questions, &store, which, back.from.as_str().into()).await {
        Ok(begun) => {
            let record = &begun.missed.record;
            let (call, missed) = (begun.call.to_string(), record.id.to_string());
            let row = CallbackRow { call, missed, user: record.user.to_string(), from: back.from };
            (StatusCode::ACCEPTED, Json(row)).into_response()
        }
        Err(why) => (status(&why), format!("{why}\n")).into_response(),
    }
}

fn status(why: &NotBegun) -> StatusCode {
    match why {
        NotBegun::NoPhone | NotBegun::NoGroup | NotBegun::NothingMissed => StatusCode::NOT_FOUND,
        NotBegun::NotAllowed(_) | NotBegun::NotAMember => StatusCode::FORBIDDEN,
        NotBegun::Claimed(_) | NotBegun::Settled | NotBegun::Refused(_) => StatusCode::CONFLICT,
        NotBegun::Store(_) | NotBegun::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn list(State(questions): State<Questions>) -> Response {
    let (answer, rows) = oneshot::channel();
    let _ = questions.send(Question::Undisturbed(answer));
    let Ok(rows) = rows.await else { return gone() };
    Json(rows.into_iter().map(DisturbRow::from).collect::<Vec<_>>()).into_response()
}

async fn on(State(questions): State<Questions>, Query(whose): Query<Whose>) -> Response {
    set(&questions, &whose.phone, Disturb::Not).await
}

async fn off(State(questions): State<Questions>, Query(whose): Query<Whose>) -> Response {
    set(&questions, &whose.phone, Disturb::Welcome).await
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
