//! `/v1/phones`, `/v1/trunks`, `/v1/bans`: who is there, who is not to be disturbed, and who is kept out.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::ask::{Ask, Which};
use super::problem::{Kind, Problem};
use super::token::Caller;
use crate::config::ApiScope;
use crate::io::bans::BanRow;
use crate::io::gateway_state::{self, PhoneRow, TrunkRow};
use crate::io::signalling::{Disturb, DisturbSet, Question};
use crate::sip::defence::Source;

/// The phones.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PhoneList {
    /// In the order of the configuration.
    phones: Vec<PhoneRow>,
}

/// The phones of this gateway.
#[utoipa::path(get, path = "/v1/phones", tag = "gateway",
    responses((status = 200, description = "All of them", body = PhoneList)))]
pub(super) async fn phones(State(api): State<Api>, caller: Caller) -> Result<Json<PhoneList>, Problem> {
    caller.needs(ApiScope::ReadGateway)?;
    let figures = api.ask(Question::Figures).await?;
    let undisturbed = api.ask(Question::Undisturbed).await?;
    Ok(Json(PhoneList { phones: gateway_state::phones(api.phones(), &figures, &undisturbed) }))
}

/// Whether a phone is rung.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DisturbView {
    /// The phone.
    phone: String,
    /// Whether no ring plan rings it.
    do_not_disturb: bool,
}

/// No ring plan rings this phone any more, until it is switched off; restarts do not matter.
#[utoipa::path(put, path = "/v1/phones/{phone}/dnd", tag = "gateway",
    params(("phone" = String, Path, description = "The name of a phone")),
    responses((status = 200, description = "It is not disturbed", body = DisturbView)))]
pub(super) async fn dnd_on(
    State(api): State<Api>,
    caller: Caller,
    Which(phone): Which<String>,
) -> Result<Json<DisturbView>, Problem> {
    disturb(&api, &caller, phone, Disturb::Not).await
}

/// The phone is rung again.
#[utoipa::path(delete, path = "/v1/phones/{phone}/dnd", tag = "gateway",
    params(("phone" = String, Path, description = "The name of a phone")),
    responses((status = 200, description = "It may be rung", body = DisturbView)))]
pub(super) async fn dnd_off(
    State(api): State<Api>,
    caller: Caller,
    Which(phone): Which<String>,
) -> Result<Json<DisturbView>, Problem> {
    disturb(&api, &caller, phone, Disturb::Welcome).await
}

async fn disturb(
    api: &Api,
    caller: &Caller,
    phone: String,
    disturb: Disturb,
) -> Result<Json<DisturbView>, Problem> {
    caller.needs(ApiScope::WriteGateway)?;
    let name = api.phone(&phone)?.clone();
    match api.ask(|answer| Question::SetDisturb(name, disturb, answer)).await? {
        DisturbSet::Kept => Ok(Json(DisturbView { phone, do_not_disturb: disturb == Disturb::Not })),
        DisturbSet::UnknownPhone => Err(Kind::NotFound.because("there is no [[phone]] of this name")),
    }
}

/// At how many places a phone was asked.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ResyncView {
    /// Where it is registered; 0: nowhere, nobody was asked.
    places: usize,
}

/// Makes a phone fetch its configuration, which most phones do by a restart once they are idle.
#[utoipa::path(post, path = "/v1/phones/{phone}/resync", tag = "gateway",
    params(("phone" = String, Path, description = "The name of a phone")),
    responses((status = 200, description = "It was asked", body = ResyncView)))]
pub(super) async fn resync(
    State(api): State<Api>,
    caller: Caller,
    Which(phone): Which<String>,
) -> Result<Json<ResyncView>, Problem> {
    caller.needs(ApiScope::WriteGateway)?;
    let name = api.phone(&phone)?.clone();
    let places = api.ask(|answer| Question::Resync(name, answer)).await?;
    Ok(Json(ResyncView { places }))
}

/// The trunks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrunkList {
    /// In the order of the configuration.
    trunks: Vec<TrunkRow>,
}

/// The trunks of this gateway.
#[utoipa::path(get, path = "/v1/trunks", tag = "gateway",
    responses((status = 200, description = "All of them", body = TrunkList)))]
pub(super) async fn trunks(State(api): State<Api>, caller: Caller) -> Result<Json<TrunkList>, Problem> {
    caller.needs(ApiScope::ReadGateway)?;
    let trunks = api.ask(Question::Trunks).await?;
    Ok(Json(TrunkList { trunks: trunks.iter().map(TrunkRow::from).collect() }))
}

/// The bans that hold.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BanList {
    /// All of them.
    bans: Vec<BanRow>,
}

/// Who is banned from the SIP side.
#[utoipa::path(get, path = "/v1/bans", tag = "gateway",
    responses((status = 200, description = "The bans that hold", body = BanList)))]
pub(super) async fn bans(State(api): State<Api>, caller: Caller) -> Result<Json<BanList>, Problem> {
    caller.needs(ApiScope::ReadGateway)?;
    let bans = api.ask(Question::Bans).await?;
    Ok(Json(BanList { bans: bans.into_iter().map(BanRow::from).collect() }))
}

/// Whose bans end.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    /// An IPv4 address, or any of an IPv6 /64.
    source: String,
    /// Only the ban of this user there.
    user: Option<String>,
}

/// How many bans ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct LiftedView {
    /// Bans that held until now.
    lifted: usize,
}

/// Ends the bans of an address, or of one user there.
#[utoipa::path(delete, path = "/v1/bans", tag = "gateway", params(Whose),
    responses((status = 200, description = "Done", body = LiftedView)))]
pub(super) async fn lift(
    State(api): State<Api>,
    caller: Caller,
    Ask(whose): Ask<Whose>,
) -> Result<Json<LiftedView>, Problem> {
    caller.needs(ApiScope::WriteGateway)?;
    let source: Source =
        whose.source.parse().map_err(|_| Kind::Senseless.because("source is no IP address"))?;
    let lifted = api.ask(|answer| Question::LiftBan(source, whose.user, answer)).await?;
    tracing::info!(%source, lifted, by = caller.name, "bans were lifted by the API");
    Ok(Json(LiftedView { lifted }))
}
