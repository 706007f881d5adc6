//! The Graph API as far as calling goes: `/{version}/{PHONE_NUMBER_ID}/calls`, `/call_permissions`, `/messages`
//! (permission requests only).

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::business::{Done, Request};
use super::graph_error::GraphError;
use super::media::now;
use super::meta::{Meta, padded};

/// The routes.
pub(super) fn routes(meta: Meta) -> Router {
    Router::new()
        .route("/{version}/{number}/calls", post(calls))
        .route("/{version}/{number}/call_permissions", get(call_permissions))
        .route("/{version}/{number}/messages", post(messages))
        .with_state(meta)
}

/// Whom the query is about.
#[derive(Deserialize)]
struct Whom {
    user_wa_id: Option<String>,
    recipient: Option<String>,
}

async fn calls(
    Shared(meta): Shared<Meta>,
    Path((version, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = match admit(&meta, &version, &number, &headers).and_then(|()| read::<Request>(&body)) {
        Ok(request) => request,
        Err(error) => return refuse(&meta, &error),
    };
    let action = request.action.clone().unwrap_or_default();
    let work = {
        let meta = meta.clone();
        async move {
            match meta.act(&number, request).await? {
                Done::Success => Ok(json!({ "messaging_product": "whatsapp", "success": true })),
                Done::Connected(id, change, user) => {
                    let first = meta.with(|state| {
                        let by_chance = state.random.below(4) == 0;
                        state.faults.connect_webhook_first.unwrap_or(by_chance)
                    });
                    let reply = json!({ "messaging_product": "whatsapp", "calls": [ { "id": id } ] });
                    if first {
                        meta.0.delivery.post_and_wait(change).await;
                        meta.play_the_user(&id, &user);
                    } else {
                        tokio::spawn(async move {
                            // The reply goes out first.
                            tokio::time::sleep(Duration::from_millis(10)).await;
                            meta.0.delivery.post(change);
                            meta.play_the_user(&id, &user);
                        });
                    }
                    Ok(reply)
                }
            }
        }
    };
    misbehave(&meta, &action, work).await
}

async fn call_permissions(
    Shared(meta): Shared<Meta>,
    Path((version, number)): Path<(String, String)>,
    headers: HeaderMap,
    Query(whom): Query<Whom>,
) -> Response {
    if let Err(error) = admit(&meta, &version, &number, &headers) {
        return refuse(&meta, &error);
    }
    let work = async { meta.permissions(&number, whom.user_wa_id.as_deref(), whom.recipient.as_deref()) };
    misbehave(&meta, "call_permissions", work).await
}

async fn messages(
    Shared(meta): Shared<Meta>,
    Path((version, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = async {
        admit(&meta, &version, &number, &headers)?;
        let request: Value = read(&body)?;
        if request["interactive"]["type"].as_str() != Some("call_permission_request") {
            return Err(GraphError::parameter("the stand-in takes call_permission_request messages only"));
        }
        let (to, recipient) = (request["to"].as_str(), request["recipient"].as_str());
        if to.is_none() && recipient.is_none() {
            return Err(GraphError::parameter("to or recipient is required"));
        }
        meta.with(|state| {
            let user = state.user(to, recipient).clone();
            let pair = (number.clone(), user.key().to_owned());
            state
                .ledger
                .request(&pair, now().wall)
                .map_err(|code| GraphError::new(code, "no call permission request is possible now"))?;
            let id = format!("wamid.{}", padded(&mut state.random, 19));
            Ok(json!({ "messaging_product": "whatsapp",
                "contacts": [ { "input": to.or(recipient), "wa_id": user.phone, "user_id": user.scoped } ],
                "messages": [ { "id": id } ] }))
        })
    };
    let answer = work.await;
    reply(&meta, answer)
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, GraphError> {
    serde_json::from_slice(body)
        .map_err(|error| GraphError::parameter(format!("the body is not valid JSON: {error}")))
}

pub(super) fn admit(meta: &Meta, version: &str, number: &str, headers: &HeaderMap) -> Result<(), GraphError> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if given != meta.0.token.expose() {
        return Err(GraphError::new(190, "the access token is missing or wrong"));
    }
    let versioned =
        version.strip_prefix('v').is_some_and(|rest| rest.split('.').all(|n| n.parse::<u16>().is_ok()));
    if !versioned {
        return Err(GraphError::parameter("the path must begin with a version such as v25.0"));
    }
    if !meta.with(|state| state.numbers.contains_key(number)) {
        let details = "object does not exist, or the token has no permission for it";
        return Err(GraphError { subcode: Some(33), ..GraphError::parameter(details) });
    }
    Ok(())
}

/// Carries out `work` with the latency, the errors and the lost answers that were asked for.
async fn misbehave(
    meta: &Meta,
    action: &str,
    work: impl Future<Output = Result<Value, GraphError>>,
) -> Response {
    let (delay, error, drops) = meta.with(|state| {
        let faults = &mut state.faults;
        (Duration::from_millis(faults.graph_delay_ms / 2), faults.error(action), faults.drops(action))
    });
    tokio::time::sleep(delay).await;
    if let Some((code, http)) = error {
        let mut error = GraphError::new(code, "an error that POST /sim/faults asked for");
        error.http = http.unwrap_or(error.http);
        tokio::time::sleep(delay).await;
        return refuse(meta, &error);
    }
    if drops != Some(false) {
        let answer = work.await;
        if drops.is_none() {
            tokio::time::sleep(delay).await;
            return reply(meta, answer);
        }
    }
    // The client gives up first, and its connection takes this task along.
    std::future::pending().await
}

fn reply(meta: &Meta, answer: Result<Value, GraphError>) -> Response {
    match answer {
        Ok(body) => Json(body).into_response(),
        Err(error) => refuse(meta, &error),
    }
}

pub(super) fn refuse(meta: &Meta, error: &GraphError) -> Response {
    let trace = meta.with(|state| state.random.token(23));
    tracing::info!(code = error.code, details = error.details, "a Graph request is refused");
    let status = StatusCode::from_u16(error.http).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(error.body(&trace))).into_response()
}
