//! What Meta says of a number, its account, the app and the token, for whoever looks for what is wrong.
//!
//! The account of number `N` is `2045N`, the app is always the same. The app's own token is its id, a bar, and the
//! app secret.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::control::{Answer, read};
use super::graph::{admit, refuse};
use super::graph_error::GraphError;
use super::meta::Meta;
use super::voicemail;
use crate::masked::Secret;

/// The app.
const APP: &str = "700700700700700";

/// What is true of every number here; `POST /sim/account` replaces it, `{}` makes everything well.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Account {
    /// `TIER_2K`, …
    tier: String,
    /// `CLOUD_API`, `ON_PREMISE`, `NOT_APPLICABLE`
    platform: String,
    /// The number also runs in the phone app.
    coexistence: bool,
    /// `CONNECTED`, …
    status: String,
    /// `GREEN`, `YELLOW`, `RED`
    quality: String,
    /// `SANDBOX` for test numbers.
    mode: String,
    /// Whether the older name of the limit is the only one.
    old_names: bool,
    /// When the token ends, Unix seconds; 0 for never.
    token_ends: i64,
    /// What the token may do.
    scopes: Vec<String>,
    /// Whether the account tells the app.
    subscribed: bool,
    /// What the app is told of.
    fields: Vec<String>,
    /// Where; `None`: where webhooks really go.
    callback: Option<String>,
    /// `errors` of the number's health.
    health: Vec<Value>,
}

impl Default for Account {
    fn default() -> Self {
        let words = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Self {
            tier: "TIER_2K".into(),
            platform: "CLOUD_API".into(),
            coexistence: false,
            status: "CONNECTED".into(),
            quality: "GREEN".into(),
            mode: "LIVE".into(),
            old_names: false,
            token_ends: 0,
            scopes: words(&["whatsapp_business_management", "whatsapp_business_messaging"]),
            subscribed: true,
            fields: words(&["calls", "messages", "account_update", "account_settings_update"]),
            callback: None,
            health: Vec::new(),
        }
    }
}

#[derive(Clone)]
struct Records {
    meta: Meta,
    account: Arc<Mutex<Account>>,
    /// `Bearer` of the app itself.
    app_token: Secret<String>,
    webhook: String,
}

impl Records {
    fn account(&self) -> Account {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_own(&self, headers: &HeaderMap, token: &Secret<String>) -> Result<(), GraphError> {
        let given = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        match given.and_then(|it| it.strip_prefix("Bearer ")) {
            Some(given) if given == token.expose() => Ok(()),
            _ => Err(GraphError::new(190, "the access token is missing or wrong")),
        }
    }
}

/// The routes; webhooks go to `webhook`, signed with `secret`.
pub(super) fn routes(meta: Meta, webhook: &str, secret: &Secret<String>) -> Router {
    let records = Records {
        meta,
        account: Arc::default(),
        app_token: Secret::new(format!("{APP}|{}", secret.expose())),
        webhook: webhook.to_owned(),
    };
    Router::new()
        .route("/sim/account", get(show).post(change))
        .route("/{version}/debug_token", get(debug_token))
        .route("/{version}/{id}", get(node))
        .route("/{version}/{id}/subscriptions", get(subscriptions))
        .route("/{version}/{id}/subscribed_apps", get(subscribed_apps))
        .route("/{version}/{id}/phone_numbers", get(phone_numbers))
        .with_state(records)
}

async fn show(Shared(records): Shared<Records>) -> Json<Value> {
    Json(json!(records.account()))
}

async fn change(Shared(records): Shared<Records>, body: Bytes) -> Answer {
    let account: Account = read(&body)?;
    *records.account.lock().unwrap_or_else(PoisonError::into_inner) = account;
    Ok(Json(json!({ "done": true })))
}

#[derive(Deserialize)]
struct Fields {
    fields: Option<String>,
}

/// A number, or a sound.
async fn node(
    Shared(records): Shared<Records>,
    Path((version, id)): Path<(String, String)>,
    Query(wanted): Query<Fields>,
    headers: HeaderMap,
) -> Response {
    let meta = &records.meta;
    let Some(digits) = meta.with(|state| state.numbers.get(&id).map(|it| it.digits.clone())) else {
        return voicemail::place(meta, &version, &id, &headers);
    };
    if let Err(error) = admit(meta, &version, &id, &headers) {
        return refuse(meta, &error);
    }
    let account = records.account();
    let mut all = json!({
        "display_phone_number": format!("+{digits}"),
        "platform_type": account.platform,
        "is_on_biz_app": account.coexistence,
        "status": account.status,
        "quality_rating": account.quality,
        "account_mode": account.mode,
        "messaging_limit_tier": account.tier,
        "health_status": { "can_send_message": "AVAILABLE", "entities": [
            { "entity_type": "PHONE_NUMBER", "id": id, "can_send_message": "AVAILABLE", "errors": account.health } ] },
    });
    if !account.old_names {
        all["whatsapp_business_manager_messaging_limit"] = json!(account.tier);
    }
    let mut told = Map::from_iter([("id".to_owned(), json!(id))]);
    for field in wanted.fields.as_deref().unwrap_or("display_phone_number").split(',') {
        let Some(value) = all.get(field) else {
            let details = format!("Tried accessing nonexisting field ({field})");
            return refuse(meta, &GraphError::parameter(details));
        };
        told.insert(field.to_owned(), value.clone());
    }
    Json(Value::Object(told)).into_response()
}

async fn debug_token(
    Shared(records): Shared<Records>,
    Path(_): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let token = &records.meta.0.token;
    if let Err(error) = records.is_own(&headers, token) {
        return refuse(&records.meta, &error);
    }
    if asked.input_token != *token.expose() {
        let error = json!({ "code": 190, "message": "Invalid OAuth access token." });
        return Json(json!({ "data": { "is_valid": false, "error": error, "scopes": [] } })).into_response();
    }
    let account = records.account();
    let accounts: Vec<String> =
        records.meta.with(|state| state.numbers.keys().map(|it| format!("2045{it}")).collect());
    let granular: Vec<Value> =
        account.scopes.iter().map(|it| json!({ "scope": it, "target_ids": accounts })).collect();
    let data = json!({
        "app_id": APP, "type": "SYSTEM_USER", "application": "Cordboard", "is_valid": true,
        "expires_at": account.token_ends, "scopes": account.scopes, "granular_scopes": granular,
    });
    Json(json!({ "data": data })).into_response()
}

#[derive(Deserialize)]
struct Asked {
    input_token: String,
}

async fn subscriptions(
    Shared(records): Shared<Records>,
    Path((_, app)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if app != APP {
        return refuse(&records.meta, &GraphError::parameter("there is no app of this id"));
    }
    if let Err(error) = records.is_own(&headers, &records.app_token) {
        return refuse(&records.meta, &error);
    }
    let account = records.account();
    if account.fields.is_empty() {
        return Json(json!({ "data": [] })).into_response();
    }
    let fields: Vec<Value> =
        account.fields.iter().map(|it| json!({ "name": it, "version": "v25.0" })).collect();
    let callback = account.callback.unwrap_or(records.webhook);
    let one = json!({ "object": "whatsapp_business_account", "callback_url": callback, "active": true, "fields": fields });
    Json(json!({ "data": [one] })).into_response()
}

async fn subscribed_apps(
    Shared(records): Shared<Records>,
    Path(_): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(error) = records.is_own(&headers, &records.meta.0.token) {
        return refuse(&records.meta, &error);
    }
    let app = json!({ "whatsapp_business_api_data": { "id": APP, "name": "Cordboard" } });
    let apps: Vec<Value> = records.account().subscribed.then_some(app).into_iter().collect();
    Json(json!({ "data": apps })).into_response()
}

async fn phone_numbers(
    Shared(records): Shared<Records>,
    Path((_, account)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(error) = records.is_own(&headers, &records.meta.0.token) {
        return refuse(&records.meta, &error);
    }
    let ids: Vec<Value> = records.meta.with(|state| {
        let own = state.numbers.keys().filter(|it| account == format!("2045{it}"));
        own.map(|it| json!({ "id": it })).collect()
    });
    Json(json!({ "data": ids })).into_response()
}
