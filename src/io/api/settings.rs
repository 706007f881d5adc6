//! What Meta holds of a business number, where that differs from the configuration, and an end to it.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::ask::Which;
use super::problem::{Kind, Problem};
use super::token::Caller;
use crate::config::ApiScope;
use crate::io::graph::SettingsError;
use crate::io::number_settings::{self, SettingsTrouble};
use crate::io::signalling::now;
use crate::whatsapp::settings::Drift;

impl From<SettingsTrouble> for Problem {
    fn from(trouble: SettingsTrouble) -> Self {
        let kind = match &trouble {
            SettingsTrouble::Hours(_) => Kind::Conflict,
            SettingsTrouble::Meta(SettingsError::Unreachable(_)) => Kind::MetaAway,
            SettingsTrouble::Meta(_) | SettingsTrouble::Kept(_) => Kind::MetaRefused,
        };
        kind.because(trouble.to_string())
    }
}

/// The calling settings of a number at Meta.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingsView {
    /// What stands under `calling`, in Meta's own words.
    #[schema(value_type = Option<Object>)]
    calling: Value,
}

/// One setting that differs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DriftView {
    /// Where it stands in Meta's settings.
    path: String,
    /// What the configuration wants, a line a value.
    file: Vec<String>,
    /// What Meta has.
    meta: Vec<String>,
}

/// Where Meta differs from the configuration.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DriftList {
    /// Empty where Meta has what the configuration wants.
    drift: Vec<DriftView>,
}

impl From<Vec<Drift>> for DriftList {
    fn from(drift: Vec<Drift>) -> Self {
        let view = |it: Drift| DriftView { path: it.path.to_owned(), file: it.wanted, meta: it.found };
        Self { drift: drift.into_iter().map(view).collect() }
    }
}

/// The calling settings of a number as Meta has them.
#[utoipa::path(get, path = "/v1/numbers/{number}/settings", tag = "settings",
    params(("number" = String, Path, description = "The label of a business number")),
    responses(
    (status = 200, description = "What Meta has", body = SettingsView),
    (status = 502, description = "Meta refused", body = Problem, content_type = "application/problem+json"),
    (status = 504, description = "Meta cannot be reached", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Which(label): Which<String>,
) -> Result<Json<SettingsView>, Problem> {
    caller.needs(ApiScope::ReadSettings)?;
    let number = api.number(&label)?;
    Ok(Json(SettingsView { calling: number_settings::show(api.graph(), &number.config).await? }))
}

/// Where Meta differs from `[number.settings]` and `[number.hours]`.
#[utoipa::path(get, path = "/v1/numbers/{number}/settings/drift", tag = "settings",
    params(("number" = String, Path, description = "The label of a business number")),
    responses(
    (status = 200, description = "What differs", body = DriftList),
    (status = 409, description = "The hours do not fit Meta's form", body = Problem, content_type = "application/problem+json"),
    (status = 502, description = "Meta refused", body = Problem, content_type = "application/problem+json"),
    (status = 504, description = "Meta cannot be reached", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn drift(
    State(api): State<Api>,
    caller: Caller,
    Which(label): Which<String>,
) -> Result<Json<DriftList>, Problem> {
    caller.needs(ApiScope::ReadSettings)?;
    let number = api.number(&label)?;
    Ok(Json(number_settings::diff(api.graph(), &number.config, now().wall).await?.into()))
}

/// Writes what differs to Meta and reads it back; the answer is what differed.
#[utoipa::path(post, path = "/v1/numbers/{number}/settings/apply", tag = "settings",
    params(("number" = String, Path, description = "The label of a business number")),
    responses(
    (status = 200, description = "Meta has what the configuration wants", body = DriftList),
    (status = 502, description = "Meta refused", body = Problem, content_type = "application/problem+json"),
    (status = 504, description = "Meta cannot be reached", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn apply(
    State(api): State<Api>,
    caller: Caller,
    Which(label): Which<String>,
) -> Result<Json<DriftList>, Problem> {
    caller.needs(ApiScope::WriteSettings)?;
    let number = api.number(&label)?;
    let drift = number_settings::apply(api.graph(), &number.config, now().wall).await?;
    tracing::info!(
        number = label,
        written = drift.len(),
        by = caller.name,
        "Meta's settings are as the file wants"
    );
    Ok(Json(drift.into()))
}
