//! `/v1/numbers/{number}/users/{user}`: what a user allows, by which way, and asking for it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Body, Which};
use super::problem::{Kind, Problem, Verdicts};
use super::token::Caller;
use super::view::{UserView, time};
use super::{Api, ApiNumber};
use crate::call::{HangupCause, Verdict};
use crate::config::ApiScope;
use crate::id::CallId;
use crate::io::asking::{self, AskFailure};
use crate::io::signalling::now;
use crate::io::store::{PermissionLine, RequestLine};
use crate::policy::{Ask, Attempt, Decision, LedgerSource, Permission, RequestState, Stands, decide_request};
use crate::time::Wall;
use crate::user::{Bsuid, Msisdn, UserId};

/// The user that a request names: a number with its country code or a business-scoped id.
pub(super) fn user(text: &str) -> Result<UserId, Problem> {
    UserId::from_parts(Msisdn::parse(text), Bsuid::parse(text)).ok_or_else(|| {
        Kind::NotFound
            .because("a user is a number with its country code, 5521955500123, or an id like BR.2099")
    })
}

/// Whether a user may be called.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PermissionView {
    /// The user.
    user: UserView,
    /// `none`, `temporary`, `permanent`, `declined` or `revoked`.
    state: String,
    /// When a temporary one ends, RFC 3339.
    until: Option<String>,
    /// Whether it holds now.
    holds: bool,
}

impl PermissionView {
    fn new(user: &UserId, permission: Permission, now: Wall, caller: &Caller) -> Self {
        Self {
            user: UserView::new(user, caller.cover()),
            state: permission.as_str().to_owned(),
            until: permission.until().map(time),
            holds: permission.holds(now),
        }
    }
}

/// Whether something is possible now, by all rules.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Possible {
    /// Whether it is.
    now: bool,
    /// The rule that says no, a label of the verdict table.
    rule: Option<String>,
    /// What that rule says.
    why: Option<String>,
    /// When that rule would say yes, where time alone brings it, RFC 3339.
    from: Option<String>,
    /// Whether only calls that are not answered yet stand in the way.
    in_flight: bool,
    /// For a request: `free_form` or `template`.
    form: Option<String>,
}

impl Possible {
    fn yes(form: Option<&str>) -> Self {
        let form = form.map(str::to_owned);
        Self { now: true, rule: None, why: None, from: None, in_flight: false, form }
    }

    fn no(cause: HangupCause, until: Option<Wall>, in_flight: bool) -> Self {
        let Verdict { label, advice, .. } = cause.verdict();
        let (rule, why) = (Some(label.to_owned()), Some(advice.to_owned()));
        Self { now: false, rule, why, from: until.map(time), in_flight, form: None }
    }
}

/// One permission request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RequestView {
    /// `free_form` or `template`.
    form: String,
    /// `under_way`, `open`, `answered`, `superseded` or `lapsed`.
    state: String,
    /// When it was sent, RFC 3339.
    sent_at: String,
    /// When Meta took it, RFC 3339.
    taken_at: Option<String>,
    /// When the user answered, RFC 3339.
    answered_at: Option<String>,
    /// When it can be answered no more, RFC 3339.
    lapses_at: Option<String>,
}

impl From<&RequestLine> for RequestView {
    fn from(line: &RequestLine) -> Self {
        let lapses = match line.state {
            RequestState::Open { lapses } | RequestState::Answered { lapses } => Some(time(lapses)),
            _ => None,
        };
        Self {
            form: line.kind.clone(),
            state: line.state.as_str().to_owned(),
            sent_at: time(line.request.sent),
            taken_at: line.request.taken.map(time),
            answered_at: line.request.answered.map(time),
            lapses_at: lapses,
        }
    }
}

/// All that is known of calling a user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PairView {
    #[serde(flatten)]
    permission: PermissionView,
    /// By which way the user said so last: `request`, `user_call`, `profile`, `automatic`, `live`, `refusal`, `operator`.
    source: Option<String>,
    /// Whether the user may be called.
    call: Possible,
    /// Whether the user may be asked.
    ask: Possible,
    /// Calls that rang and were not taken, since the last that was.
    unanswered: u32,
    /// Whether somebody decided to call on.
    overridden: bool,
    /// What was asked, newest first.
    requests: Vec<RequestView>,
}

/// What is known of calling a user: the permission, whether all rules allow a call and a request, what was asked.
#[utoipa::path(get, path = "/v1/numbers/{number}/users/{user}/permission", tag = "permissions",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id")),
    responses((status = 200, description = "The state of the pair", body = PairView)))]
pub(super) async fn permission(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
) -> Result<Json<PairView>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let (number, user) = (api.number(&label)?, user(&whom)?);
    let (id, at) = (&number.config.phone_number_id, now());
    let rules = number.rules_at(at.wall);
    let attempt = Attempt { number: id.clone(), user: user.clone(), call: CallId(0) };
    let (facts, decision) = api.store().judge(&rules, &attempt, at).await?;
    let call = match decision {
        Decision::Allow(_) => Possible::yes(None),
        Decision::Deny(denial) => {
            let in_flight = denial.stands == Stands::Reservation;
            Possible::no(HangupCause::Denied(denial.reason), denial.until, in_flight)
        }
    };
    let ask = Ask { number: id.clone(), user: user.clone(), template: number.config.ask.template.is_some() };
    let known = api.store().ask_facts(id, &user, at.wall).await?;
    let ask = match decide_request(&rules, &known, &ask, at.wall) {
        Ok(form) => Possible::yes(Some(form.as_str())),
        Err(denial) => Possible::no(HangupCause::AskDenied(denial.reason), denial.until, false),
    };
    let log = api.store().permission_log(id, &user).await?;
    let requests = api.store().requests(id, &user, at.wall).await?;
    Ok(Json(PairView {
        permission: PermissionView::new(&user, facts.permission, at.wall, &caller),
        source: log.last().map(|it| it.source.as_str().to_owned()),
        call,
        ask,
        unanswered: facts.unanswered,
        overridden: facts.overridden,
        requests: requests.iter().map(RequestView::from).collect(),
    }))
}

/// A permission known from elsewhere. Meta keeps its own account and decides in the end.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPermission {
    /// The new state.
    state: StateWord,
    /// When a temporary permission ends, seconds since 1970; Meta's own last seven days.
    #[schema(minimum = 0, maximum = 253402300799i64)]
    until: Option<i64>,
}

/// A state of a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// Nothing is known.
    None,
    /// Until a moment.
    Temporary,
    /// Until revoked.
    Permanent,
    /// The user does not want to be called.
    Declined,
}

/// Year 9999 is the last that RFC 3339 can write.
const LAST: i64 = 253_402_300_799;

/// Writes what is known of a user's permission from elsewhere into the ledger.
#[utoipa::path(put, path = "/v1/numbers/{number}/users/{user}/permission", tag = "permissions",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id")),
    request_body = NewPermission,
    responses((status = 200, description = "What holds now", body = PermissionView)))]
pub(super) async fn set_permission(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
    Body(new): Body<NewPermission>,
) -> Result<Json<PermissionView>, Problem> {
    caller.needs(ApiScope::WriteRules)?;
    let (number, user) = (&api.number(&label)?.config.phone_number_id, user(&whom)?);
    let at = now().wall;
    if new.until.is_some_and(|it| !(0..=LAST).contains(&it)) {
        return Err(Kind::Senseless.because("`until` is seconds since 1970"));
    }
    let until = new.until.map(Wall::from_secs);
    let permission = match (new.state, until) {
        (StateWord::Temporary, Some(until)) if until <= at => {
            return Err(Kind::Senseless.because("`until` lies in the past"));
        }
        // Meta: 7 days (calling/user-call-permissions, reference §1).
        (StateWord::Temporary, until) => {
            Permission::Temporary { until: until.unwrap_or(at + std::time::Duration::from_hours(24 * 7)) }
        }
        (_, Some(_)) => return Err(Kind::Senseless.because("`until` belongs to a temporary permission only")),
        (StateWord::None, None) => Permission::None,
        (StateWord::Permanent, None) => Permission::Permanent,
        (StateWord::Declined, None) => Permission::Declined,
    };
    api.store().set_permission(number, &user, permission, LedgerSource::Operator, at).await?;
    tracing::info!(%user, by = caller.name, state = permission.as_str(), "a permission was set by the API");
    let holds = api.store().permission(number, &user).await?;
    Ok(Json(PermissionView::new(&user, holds, at, &caller)))
}

/// One line of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PermissionEntry {
    /// When it was said, RFC 3339.
    at: String,
    /// `none`, `temporary`, `permanent`, `declined` or `revoked`.
    state: String,
    /// When it ends, RFC 3339.
    until: Option<String>,
    /// By which way: `request`, `user_call`, `profile`, `automatic`, `live`, `refusal`, `operator`.
    source: String,
    /// Id of the message or call it belongs to.
    context: Option<String>,
}

impl From<&PermissionLine> for PermissionEntry {
    fn from(line: &PermissionLine) -> Self {
        Self {
            at: time(line.at),
            state: line.permission.as_str().to_owned(),
            until: line.permission.until().map(time),
            source: line.source.as_str().to_owned(),
            context: line.context.clone(),
        }
    }
}

/// Everything that was ever said about a user's permission.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PermissionLog {
    /// Oldest first.
    entries: Vec<PermissionEntry>,
}

/// Everything that was ever said about a user's permission.
#[utoipa::path(get, path = "/v1/numbers/{number}/users/{user}/permission/log", tag = "permissions",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id")),
    responses((status = 200, description = "The ledger's lines", body = PermissionLog)))]
pub(super) async fn permission_log(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
) -> Result<Json<PermissionLog>, Problem> {
    caller.needs(ApiScope::ReadRules)?;
    let (number, user) = (api.number(&label)?, user(&whom)?);
    let lines = api.store().permission_log(&number.config.phone_number_id, &user).await?;
    Ok(Json(PermissionLog { entries: lines.iter().map(PermissionEntry::from).collect() }))
}

/// A permission request. Inside the conversation window it is a plain message, outside of it the template of
/// `[number.ask]`; the limits are asked first.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Why you want to call, by default what `[number.ask]` says; a template has its own words.
    #[schema(max_length = 1024)]
    text: Option<String>,
    /// What stands for `{{1}}`, `{{2}}`, … in the template.
    #[serde(default)]
    #[schema(max_items = 20)]
    parameters: Vec<String>,
    /// The phone that rings when the user accepts, and is connected then.
    ring: Option<String>,
}

/// A request that went out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RequestedView {
    /// `free_form` or `template`.
    form: String,
    /// Meta's id of the message.
    message: String,
}

/// Asks a user for the permission to call.
#[utoipa::path(post, path = "/v1/numbers/{number}/users/{user}/requests", tag = "permissions",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id")),
    request_body = NewRequest,
    responses((status = 201, description = "Meta has taken it", body = RequestedView), Verdicts))]
pub(super) async fn request(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
    Body(new): Body<NewRequest>,
) -> Result<(StatusCode, Json<RequestedView>), Problem> {
    caller.needs(ApiScope::WriteRules)?;
    let (number, user) = (api.number(&label)?, user(&whom)?);
    if new.text.as_ref().is_some_and(|it| it.is_empty() || it.chars().count() > 1024) {
        return Err(Kind::Senseless.because("the text has 1 to 1024 characters (Meta's limit)"));
    }
    if new.parameters.len() > 20 {
        return Err(Kind::Senseless.because("a template takes at most 20 parameters here"));
    }
    let ring = new.ring.as_deref().map(|it| api.phone(it)).transpose()?;
    let question = asking::Question {
        user,
        text: new.text,
        parameters: new.parameters,
        ring: ring.map(|it| format!("phone:{it}")),
    };
    let asked = api.asking(number).ask(&question, now().wall).await?;
    tracing::info!(user = %question.user, by = caller.name, "a permission request was sent by the API");
    let view = RequestedView { form: asked.kind.as_str().to_owned(), message: asked.message };
    Ok((StatusCode::CREATED, Json(view)))
}

impl From<AskFailure> for Problem {
    fn from(failure: AskFailure) -> Self {
        if let AskFailure::Store(error) = failure {
            return error.into();
        }
        Self::of(failure.cause(), failure.until())
    }
}

/// A decision to call on after unanswered calls.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOverride {
    /// Why; it is kept.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Decides to call on after unanswered calls: one more call may be made.
#[utoipa::path(post, path = "/v1/numbers/{number}/users/{user}/override", tag = "permissions",
    params(("number" = String, Path, description = "The label of a business number"),
           ("user" = String, Path, description = "A number with its country code, or a business-scoped id")),
    request_body = NewOverride,
    responses((status = 200, description = "It is kept", body = RunView)))]
pub(super) async fn override_run(
    State(api): State<Api>,
    caller: Caller,
    Which((label, whom)): Which<(String, String)>,
    Body(new): Body<NewOverride>,
) -> Result<Json<RunView>, Problem> {
    caller.needs(ApiScope::WriteRules)?;
    let (ApiNumber { config, .. }, user) = (api.number(&label)?, user(&whom)?);
    if !(1..=500).contains(&new.reason.chars().count()) {
        return Err(Kind::Senseless.because("a reason has 1 to 500 characters"));
    }
    let reason = format!("{}: {}", caller.name, new.reason);
    api.store().override_run(&config.phone_number_id, &user, &reason, now().wall).await?;
    tracing::info!(%user, by = caller.name, "one more call was allowed by the API");
    let run = api.store().run(&config.phone_number_id, &user).await?;
    Ok(Json(RunView { unanswered: run.unanswered, overridden: run.overridden }))
}

/// An unanswered run.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RunView {
    /// Calls that rang and were not taken, since the last that was.
    unanswered: u32,
    /// Whether somebody decided to call on; false where nothing was unanswered.
    overridden: bool,
}
