//! What the administrator's HTTP offers to people at desks: `/dnd`, `/callbacks`.
//!
//! `GET /dnd` lists, `PUT /dnd?phone=1001` and `DELETE /dnd?phone=1001` set. A page in a browser on the same machine
//! can do none of it: reading needs our consent, and so do PUT and DELETE (CORS).
//!
//! `PUT /callbacks?call=ID&from=1001` rings phone 1001, then the user who made that missed call; `call=next` takes the
//! oldest one that this phone may call back. The answer is JSON, or a sentence that says why not.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::signalling::{Disturb, DisturbSet, Originated, Origination, Question, now};
use super::store::{Claim, Store};
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
struct Which {
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
}

/// For so long a missed call is the claimer's alone: the agent's phone, the user's phone, and a breath.
const LEASE: Duration = Duration::from_secs(180);

async fn call_back(
    State((questions, store)): State<(Questions, Store)>,
    Query(back): Query<Back>,
) -> Response {
    match begin(&questions, &store, &back).await {
        Ok(row) => (StatusCode::ACCEPTED, Json(row)).into_response(),
        Err(refusal) => refusal,
    }
}

async fn begin(questions: &Questions, store: &Store, back: &Back) -> Result<CallbackRow, Response> {
    let say = |status: StatusCode, text: String| (status, format!("{text}\n")).into_response();
    let from = PhoneName::from(back.from.as_str());
    let (answer, queue) = oneshot::channel();
    let _ = questions.send(Question::QueueOf(from.clone(), answer));
    let queue = queue.await.map_err(|_| gone())?;
    let queue =
        queue.ok_or_else(|| say(StatusCode::NOT_FOUND, "there is no [[phone]] of this name".into()))?;
    let at = now().wall;
    let claim = if back.call == "next" {
        store.claim_next_missed(&queue, from.as_str(), at, LEASE).await
    } else {
        let wrong = || say(StatusCode::BAD_REQUEST, "call is no id of a call, nor \"next\"".into());
        store.claim_missed(CallId::parse(&back.call).ok_or_else(wrong)?, from.as_str(), at, LEASE).await
    };
    let missed = match claim {
        Ok(Claim::Taken(missed)) => missed,
        Ok(Claim::Busy(who)) => {
            return Err(say(StatusCode::CONFLICT, format!("{who} is calling back already")));
        }
        Ok(Claim::Settled) => {
            return Err(say(StatusCode::CONFLICT, "somebody has talked to the user since".into()));
        }
        Ok(Claim::NotAllowed(missed)) => {
            let said = missed.permission.as_str();
            let text = format!("the user does not allow calls (permission: {said}): ask for it first");
            return Err(say(StatusCode::FORBIDDEN, text));
        }
        Ok(Claim::None) => {
            return Err(say(
                StatusCode::NOT_FOUND,
                "there is no such missed call, or none that may be called back".into(),
            ));
        }
        Err(error) => return Err(say(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    };
    let record = &missed.record;
    let wanted =
        Origination { number: record.phone_number_id.clone(), user: record.user.clone(), agent: from };
    let (answer, originated) = oneshot::channel();
    let _ = questions.send(Question::Originate(wanted, answer));
    match originated.await.map_err(|_| gone())? {
        Originated::Begun(call) => Ok(CallbackRow {
            call: call.to_string(),
            missed: record.id.to_string(),
            user: record.user.to_string(),
            from: back.from.clone(),
        }),
        Originated::Refused(cause) => {
            let verdict = cause.verdict();
            Err(say(StatusCode::CONFLICT, format!("{}: {}", verdict.phrase, verdict.advice)))
        }
    }
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
