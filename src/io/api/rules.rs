//! `/v1/numbers`: what WhatsApp's rules and the house's allow now, by business number.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::ask::Which;
use super::problem::Problem;
use super::token::Caller;
use crate::config::ApiScope;
use crate::io::rules_state::RulesState;
use crate::io::signalling::now;
use crate::user::UserId;

/// A business number.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NumberView {
    /// Its label in the configuration.
    label: String,
    /// Graph's id of it.
    phone_number_id: String,
    /// Its digits, with the country code.
    display_number: String,
}

/// The business numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NumberList {
    /// In the order of the configuration.
    numbers: Vec<NumberView>,
}

/// The business numbers of this gateway.
#[utoipa::path(get, path = "/v1/numbers", tag = "rules",
    responses((status = 200, description = "All of them", body = NumberList)))]
pub(super) async fn numbers(State(api): State<Api>, caller: Caller) -> Result<Json<NumberList>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let view = |it: &super::ApiNumber| NumberView {
        label: it.config.label.to_string(),
        phone_number_id: it.config.phone_number_id.to_string(),
        // The business's own number is no secret.
        display_number: it.config.display_number.digits().to_owned(),
    };
    Ok(Json(NumberList { numbers: api.numbers().iter().map(view).collect() }))
}

/// How much of a cap is used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Limits {
    /// Connected business-initiated calls in the window; null where the cap is switched off.
    max: Option<u32>,
    /// The window in seconds.
    window_seconds: u64,
    /// Calls that were picked up inside the window.
    connected: u32,
    /// Places held by calls that are not answered yet.
    reserved: u32,
    /// Places that are left; null where the cap is switched off.
    left: Option<u32>,
}

/// How much of the cap of a business number is used.
#[utoipa::path(get, path = "/v1/numbers/{number}/limits", tag = "rules",
    params(("number" = String, Path, description = "The label of a business number")),
    responses((status = 200, description = "The cap per number", body = Limits)))]
pub(super) async fn limits(
    State(api): State<Api>,
    caller: Caller,
    Which(label): Which<String>,
) -> Result<Json<Limits>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let number = api.number(&label)?;
    // Without a cap the day is still worth a look.
    let window = number.config.cap_per_number.window;
    let used = api.store().cap_use(&number.config.phone_number_id, window, now()).await?;
    let max = number.rules.per_number.map(|it| it.max);
    Ok(Json(Limits {
        max,
        window_seconds: window.as_secs(),
        connected: used.connected,
        reserved: used.reserved,
        left: max.map(|max| max.saturating_sub(used.connected + used.reserved)),
    }))
}

/// Everything about the rules of a business number: limits, restrictions, unanswered runs, pick-up rate.
#[utoipa::path(get, path = "/v1/numbers/{number}/rules", tag = "rules",
    params(("number" = String, Path, description = "The label of a business number")),
    responses((status = 200, description = "The state of its rules", body = RulesState)))]
pub(super) async fn state(
    State(api): State<Api>,
    caller: Caller,
    Which(label): Which<String>,
) -> Result<Json<RulesState>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let number = api.number(&label)?;
    let known = (&number.config.policy(), &number.rules);
    let cover = |user: &UserId| caller.cover().user(user);
    let state = RulesState::read(api.store(), (&label, &number.config.phone_number_id), known, cover, now());
    Ok(Json(state.await?))
}

/// How many restrictions were forgotten.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct FreedView {
    /// Lines that held until now.
    lifted: u64,
}

/// Meta has lifted what it had restricted: forgets it. Meta goes on deciding by itself.
#[utoipa::path(delete, path = "/v1/numbers/{number}/restrictions", tag = "rules",
    params(("number" = String, Path, description = "The label of a business number")),
    responses((status = 200, description = "They are forgotten", body = FreedView)))]
pub(super) async fn lift(
    State(api): State<Api>,
    caller: Caller,
    Which(label): Which<String>,
) -> Result<Json<FreedView>, Problem> {
    caller.needs(ApiScope::WriteRules)?;
    let number = api.number(&label)?;
    let lifted = api.store().lift_restrictions(&number.config.phone_number_id, now().wall).await?;
    tracing::info!(number = label, lifted, by = caller.name, "restrictions were forgotten by the API");
    Ok(Json(FreedView { lifted }))
}
