//! The OpenAPI description: what the handlers say of themselves, and what holds for all of them.
//!
//! Which problems a request may be answered with follows from its shape: a path has variables, a body can be too long,
//! what changes something can carry an `Idempotency-Key`. So no handler repeats them.

use serde_json::{Map, Value, json};

use super::problem::Kind;
use crate::io::store::EventKind;

/// The version that utoipa's types describe, as far as we use them.
const VERSION: &str = "3.1.0";

/// Completes what the routes say.
pub(super) fn complete(routes: &utoipa::openapi::OpenApi) -> Value {
    let mut all = serde_json::to_value(routes).expect("a description without maps of other keys than text");
    all["openapi"] = VERSION.into();
    for (_, item) in all["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_one(method, operation);
        }
    }
    all["webhooks"] = webhooks();
    all
}

fn complete_one(method: &str, operation: &mut Value) {
    let changes = method != "get";
    if changes {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let own = parameters.into_iter().chain([idempotency_key()]);
        operation["parameters"] = own.collect();
    }
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let has = |place: &str| parameters.iter().any(|it| it["in"] == place);
    let body = operation.get("requestBody").is_some();
    let kinds = [
        (has("query") || has("header") || body, Kind::BadRequest),
        (true, Kind::NoToken),
        (true, Kind::NoScope),
        (has("path"), Kind::NotFound),
        (changes, Kind::Conflict),
        (body, Kind::TooLong),
        (body, Kind::NotJson),
        (has("query") || changes, Kind::Senseless),
        (true, Kind::Busy),
    ];
    let responses = operation["responses"].as_object_mut().expect("every operation has responses");
    for (_, kind) in kinds.into_iter().filter(|(may, _)| *may) {
        let (status, title) = (kind.status().to_string(), kind.title());
        responses.entry(status).or_insert_with(|| problem(title));
    }
}

/// A response that is a problem document.
fn problem(title: &str) -> Value {
    let document = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    json!({ "description": title, "content": { "application/problem+json": document } })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "With the same key the same request is done once in 24 hours",
        "schema": { "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$" },
    })
}

/// What is posted to the receivers of `[[api.hook]]`, by kind of event; the stream and the list tell the same.
fn webhooks() -> Value {
    let header = |name: &str, text: &str| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "header", "required": true, "description": text, "schema": schema })
    };
    let headers = [
        header("webhook-id", "The same at every try: receivers know repetitions by it"),
        header("webhook-timestamp", "When this try was made, seconds since 1970"),
        header(
            "webhook-signature",
            "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body` (standardwebhooks.com)",
        ),
    ];
    let hook = |kind: &EventKind| {
        let event = json!({ "schema": { "$ref": "#/components/schemas/EventView" } });
        let post = json!({
            "summary": kind.explained(),
            "parameters": headers,
            "requestBody": { "required": true, "content": { "application/json": event } },
            "responses": {
                "2XX": { "description": "Taken" },
                "4XX": { "description": "Given up, but for 401, 403, 404, 408, 425 and 429" },
                "5XX": { "description": "Tried again, for 24 hours" },
            },
        });
        (kind.as_str().to_owned(), json!({ "post": post }))
    };
    EventKind::ALL.iter().map(hook).collect::<Map<_, _>>().into()
}
