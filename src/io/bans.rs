//! `/bans` of the administrator's HTTP: who is banned, and an end to it.
//!
//! `GET` lists; `DELETE ?source=203.0.113.7[&user=1001]` lifts. A page in a browser on the same machine cannot
//! do either: reading needs our consent, and so does a DELETE (CORS).

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::signalling::Question;
use crate::sip::defence::{Ban, Source};

/// A ban as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BanRow {
    /// An IPv4 address or the /64 of an IPv6 address.
    pub source: String,
    /// The user that is banned there; `None`: everybody.
    pub user: Option<String>,
    /// `guessing`, `searching`, `scanning` or `hammering`.
    pub ground: String,
    /// Seconds left.
    pub seconds_left: u64,
    /// The how many-th ban in a row.
    pub times: u32,
    /// Messages dropped because of it.
    pub dropped: u64,
}

impl From<Ban> for BanRow {
    fn from(ban: Ban) -> Self {
        Self {
            source: ban.source.to_string(),
            user: ban.user,
            ground: ban.ground.as_str().to_owned(),
            seconds_left: ban.left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
            times: ban.times,
            dropped: ban.dropped,
        }
    }
}

/// How many bans were lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// Bans that held until now.
    pub lifted: usize,
}

/// Whose bans are to end.
#[derive(Clone, Debug, Deserialize)]
struct Whose {
    source: String,
    user: Option<String>,
}

/// The routes.
pub fn router(questions: mpsc::UnboundedSender<Question>) -> Router {
    Router::new().route("/bans", get(list).delete(lift)).with_state(questions)
}

async fn list(State(questions): State<mpsc::UnboundedSender<Question>>) -> Response {
    let (answer, bans) = oneshot::channel();
    let _ = questions.send(Question::Bans(answer));
    let Ok(bans) = bans.await else { return gone() };
    Json(bans.into_iter().map(BanRow::from).collect::<Vec<_>>()).into_response()
}

async fn lift(
    State(questions): State<mpsc::UnboundedSender<Question>>,
    Query(whose): Query<Whose>,
) -> Response {
    let Ok(source) = whose.source.parse::<Source>() else {
        return (StatusCode::BAD_REQUEST, "source is no IP address\n").into_response();
    };
    let (answer, lifted) = oneshot::channel();
    let _ = questions.send(Question::LiftBan(source, whose.user, answer));
    let Ok(lifted) = lifted.await else { return gone() };
    Json(Lifted { lifted }).into_response()
}

fn gone() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n").into_response()
}
