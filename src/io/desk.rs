//! What the administrator's HTTP offers to people at desks: `/dnd`, `/callbacks`, `/calls`.
//!
//! `GET /dnd` lists, `PUT /dnd?phone=1001` and `DELETE /dnd?phone=1001` set. A page in a browser on the same machine
//! can do none of it: reading needs our consent, and so do PUT and DELETE (CORS).
//!
//! `PUT /callbacks?call=ID&from=1001` rings phone 1001, then the user who made that missed call; `call=next` takes the
//! oldest one that this phone may call back, with `group=desk` the oldest of that group's queue.
//! `PUT /calls?user=5521955500123&from=1001&number=support` rings phone 1001, then the user; `DELETE /calls?call=ID` ends
//! a call at both sides. The answer is JSON, or a sentence that says why not.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::calling_back::{self, NotBegun, Which};
use super::signalling::{Disturb, DisturbSet, Origination, Question};
use super::store::Store;
use crate::config::NumberConfig;
use crate::id::{CallId, NumberLabel, PhoneName, PhoneNumberId};
use crate::time::Wall;
use crate::user::{Bsuid, Msisdn, UserId};

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
pub fn router(questions: Questions, store: Store, numbers: &[NumberConfig]) -> Router {
    let labels = numbers.iter().map(|it| (it.label.clone(), it.phone_number_id.clone())).collect();
    let calls = Router::new()
        .route("/calls", put(begin).delete(end))
        .with_state(Numbers { questions: questions.clone(), labels });
    let dnd = Router::new().route("/dnd", get(list).put(on).delete(off)).with_state(questions.clone());
    let callbacks = Router::new().route("/callbacks", put(call_back)).with_state((questions, store));
    dnd.merge(callbacks).merge(calls)
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

/// The business numbers by their labels, and who calls from them.
#[derive(Clone)]
struct Numbers {
    questions: Questions,
    labels: Arc<[(NumberLabel, PhoneNumberId)]>,
}

impl Numbers {
    /// The number of this label; without one, the only number.
    fn find(&self, label: Option<&str>) -> Option<PhoneNumberId> {
        let wanted = match (label, &*self.labels) {
            (Some(label), all) => all.iter().find(|(it, _)| it.as_str() == label),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        wanted.map(|(_, id)| id.clone())
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Wish {
    user: String,
    from: String,
    number: Option<String>,
}

/// A call that was begun, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BegunRow {
    /// The call, as `calls` will show it.
    pub call: String,
    /// Whom, covered.
    pub user: String,
    /// Whose phone rings first.
    pub from: String,
}

async fn begin(State(numbers): State<Numbers>, Query(wish): Query<Wish>) -> Response {
    let user = UserId::from_parts(Msisdn::parse(&wish.user), Bsuid::parse(&wish.user));
    let (Some(user), number) = (user, numbers.find(wish.number.as_deref())) else {
        let text = "a user is a number with its country code, 5521955500123, or an id like BR.2099\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let Some(number) = number else {
        return (StatusCode::NOT_FOUND, "say which business number calls, by its label\n").into_response();
    };
    let whom = user.to_string();
    let wanted = Origination { number, user, agent: wish.from.as_str().into() };
    match calling_back::originate(&numbers.questions, wanted).await {
        Ok(call) => {
            let row = BegunRow { call: call.to_string(), user: whom, from: wish.from };
            (StatusCode::ACCEPTED, Json(row)).into_response()
        }
        Err(why) => (status(&why), format!("{why}\n")).into_response(),
    }
}

#[derive(Clone, Debug, Deserialize)]
struct WhichCall {
    call: String,
}

/// A call that is being ended, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndingRow {
    /// The call.
    pub call: String,
}

async fn end(State(numbers): State<Numbers>, Query(which): Query<WhichCall>) -> Response {
    let Some(id) = CallId::parse(&which.call) else {
        return (StatusCode::BAD_REQUEST, "call is no id of a call\n").into_response();
    };
    let (answer, known) = oneshot::channel();
    let _ = numbers.questions.send(Question::HangUp(id, answer));
    match known.await {
        Ok(true) => (StatusCode::ACCEPTED, Json(EndingRow { call: which.call })).into_response(),
        Ok(false) => (StatusCode::NOT_FOUND, "there is no such call now\n").into_response(),
        Err(_) => gone(),
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
