//! The control API `/sim/…`: who calls whom, and how the world misbehaves. The table stands in the module's page.

use std::path::PathBuf;

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::call::{Accepted, Call, DtlsChoice, Ending, Phase, Reply, User};
use super::faults::Faults;
use super::media::{Command, now};
use super::meta::{Meta, Placing, Problem};
use super::rules::{Limits, Permission};

pub(super) type Answer = Result<Json<Value>, Problem>;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(json!({ "error": { "what": self.what, "do": self.remedy } }))).into_response()
    }
}

/// The routes.
pub(super) fn routes(meta: Meta) -> Router {
    Router::new()
        .route("/sim/calls", get(list).post(place))
        .route("/sim/calls/{id}", get(show))
        .route("/sim/calls/{id}/{deed}", post(deed))
        .route("/sim/users", get(users))
        .route("/sim/users/{id}", get(user).post(set_user))
        .route("/sim/users/{id}/permission-reply", post(permission_reply))
        .route("/sim/users/{id}/message", post(user_writes))
        .route("/sim/messages", get(messages))
        .route("/sim/numbers/{id}", post(set_number))
        .route("/sim/limits", get(limits).post(set_limits))
        .route("/sim/faults", get(faults).post(set_faults))
        .route("/sim/violations", get(violations))
        .route("/sim/webhooks", get(webhooks))
        .route("/sim/replay", post(replay))
        .with_state(meta)
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(400, error.to_string(), "send the JSON object that `cordboard simulate` documents")
    })
}

pub(super) fn no_call() -> Problem {
    Problem::new(404, "no such call", "GET /sim/calls lists them")
}

async fn place(Shared(meta): Shared<Meta>, body: Bytes) -> Answer {
    let placing: Placing = read(&body)?;
    let call = meta.place(placing).await?;
    Ok(Json(json!({ "call": call })))
}

async fn list(Shared(meta): Shared<Meta>) -> Json<Value> {
    let brief = |call: &Call| {
        json!({ "call": call.id, "number": call.number, "direction": call.direction.word(),
            "state": call.phase.word(), "started_ms": call.started.millis(), "user_id": call.user.scoped,
            "violations": call.violations.len(), "biz_opaque_callback_data": call.opaque })
    };
    let mut calls: Vec<Value> = meta.with(|state| state.calls.values().map(brief).collect());
    calls.sort_by_key(|call| call["started_ms"].as_i64());
    Json(json!({ "calls": calls }))
}

async fn show(Shared(meta): Shared<Meta>, Path(id): Path<String>) -> Answer {
    let call = meta.with(|state| state.calls.get(&id).cloned()).ok_or_else(no_call)?;
    let live = if call.report.is_none() { meta.0.media.report(call.line).await } else { None };
    // The call may have ended while media was asked.
    let call = meta.with(|state| state.calls.get(&id).cloned()).ok_or_else(no_call)?;
    Ok(Json(call.view(if call.report.is_some() { None } else { live.as_ref() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Speaking {
    wav: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    digits: String,
}

async fn deed(Shared(meta): Shared<Meta>, Path((id, deed)): Path<(String, String)>, body: Bytes) -> Answer {
    let (line, phase) =
        meta.with(|state| state.calls.get(&id).map(|call| (call.line, call.phase))).ok_or_else(no_call)?;
    let done = match deed.as_str() {
        "hangup" => meta.finish(&id, Ending::User),
        "answer" => meta.pick_up(&id),
        "reject" => meta.decline(&id),
        "ring" => meta.ring(&id),
        "speak" => {
            let speaking: Speaking = read(&body)?;
            let sound = meta.sound(Some(&speaking.wav), None, 0).await?;
            if let Some(clip) = sound.clip {
                meta.0.media.send(line, Command::Speak(clip));
            }
            phase != Phase::Ended
        }
        "digits" => {
            let keys: Keys = read(&body)?;
            if keys.digits.chars().any(|digit| super::digits::event_of(digit).is_none()) {
                return Err(Problem::new(400, "a digit is no key", "use 0 to 9, *, # and A to D"));
            }
            meta.0.media.send(line, Command::Press(keys.digits));
            phase != Phase::Ended
        }
        _ => {
            let remedy = "use hangup, answer, reject, ring, speak or digits";
            return Err(Problem::new(404, format!("nobody can {deed} a call"), remedy));
        }
    };
    if done {
        return Ok(Json(json!({ "done": true })));
    }
    let what = format!("the call is {}, so {deed} does nothing", phase.word());
    Err(Problem::new(409, what, "look at GET /sim/calls/{id} first"))
}

/// The body of `POST /sim/users/{id}`: what is absent stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserChange {
    number: Option<String>,
    permission: Option<String>,
    name: Option<String>,
    username: Option<String>,
    callable: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    ring_after_ms: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    answer_after_ms: Option<Option<u64>>,
    reject: Option<bool>,
    accepted: Option<Accepted>,
    #[serde(default, deserialize_with = "given")]
    speak: Option<Option<PathBuf>>,
    #[serde(default, deserialize_with = "given")]
    record: Option<Option<PathBuf>>,
    #[serde(default, deserialize_with = "given")]
    dtls_role: Option<Option<DtlsChoice>>,
}

/// Tells `null` (take it away) from absent (leave it).
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Phone digits or scoped id, by the shape of the text.
fn whom(id: &str) -> (Option<&str>, Option<&str>) {
    let digits = id.trim_start_matches('+');
    if digits.bytes().all(|b| b.is_ascii_digit()) { (Some(digits), None) } else { (None, Some(id)) }
}

fn user_view(meta: &Meta, user: &User) -> Value {
    let at = now().wall;
    let permissions: serde_json::Map<String, Value> = meta.with(|state| {
        let numbers: Vec<String> = state.numbers.keys().cloned().collect();
        let view = |number: String| {
            let view = state.ledger.view(&(number.clone(), user.key().to_owned()), at);
            (number, json!(view))
        };
        numbers.into_iter().map(view).collect()
    });
    json!({ "phone": user.phone, "user_id": user.scoped, "name": user.name, "username": user.username,
        "callable": user.callable, "ring_after_ms": user.ring_after_ms, "answer_after_ms": user.answer_after_ms,
        "reject": user.reject, "speak": user.speak, "record": user.record, "numbers": permissions })
}

async fn users(Shared(meta): Shared<Meta>) -> Json<Value> {
    let users: Vec<User> = meta.with(|state| state.users.values().cloned().collect());
    Json(json!({ "users": users.iter().map(|user| user_view(&meta, user)).collect::<Vec<_>>() }))
}

async fn user(Shared(meta): Shared<Meta>, Path(id): Path<String>) -> Json<Value> {
    let (phone, scoped) = whom(&id);
    let user = meta.with(|state| state.user(phone, scoped).clone());
    Json(user_view(&meta, &user))
}

async fn set_user(Shared(meta): Shared<Meta>, Path(id): Path<String>, body: Bytes) -> Answer {
    let change: UserChange = read(&body)?;
    let at = now().wall;
    let (phone, scoped) = whom(&id);
    let user = meta.with(|state| {
        let user = state.user(phone, scoped);
        put(&mut user.name, change.name);
        user.username = change.username.or(user.username.take());
        put(&mut user.callable, change.callable);
        put(&mut user.ring_after_ms, change.ring_after_ms);
        put(&mut user.answer_after_ms, change.answer_after_ms);
        put(&mut user.reject, change.reject);
        put(&mut user.accepted, change.accepted);
        put(&mut user.speak, change.speak);
        put(&mut user.record, change.record);
        put(&mut user.dtls_role, change.dtls_role);
        let user = user.clone();
        let Some(permission) = &change.permission else { return Ok(user) };
        let numbers: Vec<String> = match &change.number {
            Some(number) if state.numbers.contains_key(number) => vec![number.clone()],
            Some(_) => {
                return Err(Problem::new(
                    404,
                    "no such business number",
                    "use a phone_number_id of --number",
                ));
            }
            None => state.numbers.keys().cloned().collect(),
        };
        for number in numbers {
            let pair = (number, user.key().to_owned());
            match permission.as_str() {
                "none" => state.ledger.permit(&pair, Permission::None),
                "permanent" => state.ledger.permit(&pair, Permission::Permanent),
                "temporary" => {
                    state.ledger.permit_for_a_week(&pair, at);
                }
                _ => {
                    let remedy = "use none, temporary or permanent";
                    return Err(Problem::new(400, format!("{permission} is no permission"), remedy));
                }
            }
        }
        Ok(user)
    })?;
    Ok(Json(user_view(&meta, &user)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyRequest {
    number: String,
    response: String,
    #[serde(default)]
    permanent: bool,
    context: Option<String>,
}

/// The user answers a permission request, or changes the permission in the profile: the rules change and the
/// webhook goes out.
async fn permission_reply(Shared(meta): Shared<Meta>, Path(id): Path<String>, body: Bytes) -> Answer {
    let request: ReplyRequest = read(&body)?;
    let (phone, scoped) = whom(&id);
    let at = now().wall;
    let change = meta.with(|state| {
        let number = state.numbers.get(&request.number).cloned();
        let number = number.ok_or_else(|| {
            Problem::new(404, "no such business number", "use a phone_number_id of --number")
        })?;
        let user = state.user(phone, scoped).clone();
        let pair = (number.id.clone(), user.key().to_owned());
        let granted = match (request.response.as_str(), request.permanent) {
            ("accept", true) => {
                state.ledger.permit(&pair, Permission::Permanent);
                Some(None)
            }
            ("accept", false) => Some(Some(state.ledger.permit_for_a_week(&pair, at))),
            ("reject", _) => {
                state.ledger.permit(&pair, Permission::None);
                None
            }
            _ => {
                return Err(Problem::new(
                    400,
                    "response is neither accept nor reject",
                    "use accept or reject",
                ));
            }
        };
        let reply = Reply { granted, automatic: false, context: request.context };
        Ok(meta.reply_change(state, &number, &user, &reply))
    })?;
    meta.0.delivery.post(change);
    Ok(Json(json!({ "done": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberChange {
    calling: Option<bool>,
    callback_permission: Option<bool>,
    paused_for_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Writing {
    number: String,
}

/// The user writes something: the window opens and the webhook goes out.
async fn user_writes(Shared(meta): Shared<Meta>, Path(id): Path<String>, body: Bytes) -> Answer {
    let writing: Writing = read(&body)?;
    let (phone, scoped) = whom(&id);
    let at = now().wall;
    let change = meta.with(|state| {
        let number = state.numbers.get(&writing.number).cloned();
        let number = number.ok_or_else(|| {
            Problem::new(404, "no such business number", "use a phone_number_id of --number")
        })?;
        let user = state.user(phone, scoped).clone();
        let pair = (number.id.clone(), user.key().to_owned());
        state.ledger.open_window(&pair, at);
        Ok(meta.text_change(state, &number, &user, at))
    })?;
    meta.0.delivery.post(change);
    Ok(Json(json!({ "done": true })))
}

/// What the business wrote to users.
async fn messages(Shared(meta): Shared<Meta>) -> Json<Value> {
    Json(json!({ "messages": meta.with(|state| state.messages.clone()) }))
}

async fn set_number(Shared(meta): Shared<Meta>, Path(id): Path<String>, body: Bytes) -> Answer {
    let change: NumberChange = read(&body)?;
    let at = now().wall;
    if let Some(millis) = change.paused_for_ms {
        let until = at + std::time::Duration::from_millis(millis);
        let change = meta.with(|state| {
            state.ledger.pause(&id, until);
            meta.pause_change(&id, until)
        });
        meta.0.delivery.post(change);
    }
    meta.with(|state| {
        let number = state.numbers.get_mut(&id);
        let number = number.ok_or_else(|| {
            Problem::new(404, "no such business number", "use a phone_number_id of --number")
        })?;
        put(&mut number.calling, change.calling);
        put(&mut number.callback_permission, change.callback_permission);
        Ok(Json(json!({ "number": number.id, "calling": number.calling,
            "callback_permission": number.callback_permission })))
    })
}

async fn limits(Shared(meta): Shared<Meta>) -> Json<Value> {
    Json(json!(meta.with(|state| state.ledger.limits)))
}

async fn set_limits(Shared(meta): Shared<Meta>, body: Bytes) -> Answer {
    let limits: Limits = read(&body)?;
    meta.with(|state| state.ledger.limits = limits);
    Ok(Json(json!(limits)))
}

async fn faults(Shared(meta): Shared<Meta>) -> Json<Value> {
    let graph = meta.with(|state| state.faults.clone());
    Json(json!(Faults { graph, webhook: meta.0.delivery.faults() }))
}

async fn set_faults(Shared(meta): Shared<Meta>, body: Bytes) -> Answer {
    let body: Value = read(&body)?;
    let faults = Faults::read(&body)
        .map_err(|what| Problem::new(400, what, "send a JSON object of faults; {} takes all back"))?;
    let view = json!(faults);
    meta.with(|state| state.faults = faults.graph);
    meta.0.delivery.set_faults(faults.webhook);
    Ok(Json(view))
}

async fn violations(Shared(meta): Shared<Meta>) -> Json<Value> {
    let list: Vec<Value> = meta.with(|state| {
        let each = |call: &Call| {
            let id = call.id.clone();
            let one = move |(at, what): &(crate::time::Wall, String)| {
                json!({ "call": id, "at_ms": at.millis(), "what": what })
            };
            call.violations.iter().map(one).collect::<Vec<_>>()
        };
        state.calls.values().flat_map(each).collect()
    });
    Json(json!({ "violations": list }))
}

async fn webhooks(Shared(meta): Shared<Meta>) -> Json<Value> {
    Json(json!({ "webhooks": meta.0.delivery.sent() }))
}

/// Which webhook to send again: by number, or the last one of a call and event; none of them: the very last.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    webhook: Option<usize>,
    call: Option<String>,
    event: Option<String>,
    #[serde(default)]
    bad_signature: bool,
}

async fn replay(Shared(meta): Shared<Meta>, body: Bytes) -> Answer {
    let asked: Replay = read(&body)?;
    let fits =
        |list: &[String], wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| list.contains(wanted));
    let index = asked.webhook.or_else(|| {
        let sent = meta.0.delivery.sent();
        let found =
            sent.iter().rev().find(|sent| fits(&sent.calls, &asked.call) && fits(&sent.events, &asked.event));
        found.map(|sent| sent.webhook)
    });
    let again = index.and_then(|index| meta.0.delivery.replay(index, asked.bad_signature));
    let again = again.ok_or_else(|| Problem::new(404, "no such webhook", "GET /sim/webhooks lists them"))?;
    Ok(Json(json!({ "webhook": again })))
}
