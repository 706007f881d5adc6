//! The state of a business number's rules: what each limit has left, what Meta restricts, whom nobody reaches, how many
//! of the users' calls are picked up. The command line and the API show the same.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::store::{RestrictionLine, Store, StoreError};
use crate::config::NumberPolicy;
use crate::id::PhoneNumberId;
use crate::policy::{Rules, Trend};
use crate::time::Now;
use crate::user::UserId;

/// The span of rates and counts.
const DAY: Duration = Duration::from_hours(24);
/// Unanswered runs of users who were not called for longer are no longer shown.
const RUNS_KEPT: Duration = Duration::from_hours(24 * 90);
/// So many runs are shown.
const RUNS: u32 = 100;

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Use {
    /// So many.
    pub used: u32,
    /// Of so many; null where the limit is switched off.
    pub max: Option<u32>,
    /// In a rolling window of so many seconds.
    pub window_seconds: u64,
}

/// How many of the users' calls were picked up in the last 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PickUpState {
    /// Calls that came.
    pub calls: u32,
    /// Those that somebody answered; with `pickup_voicemail` also those that our voicemail took.
    pub answered: u32,
    /// In a hundred; null without calls.
    pub percent: Option<u32>,
    /// In a hundred in the week before; null without calls.
    pub before_percent: Option<u32>,
    /// `rising`, `steady` or `falling`.
    pub trend: &'static str,
    /// Whether it is below the bar of the configuration.
    pub alarm: bool,
}

/// What Meta restricts or warns of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RestrictionState {
    /// Meta's word.
    pub kind: String,
    /// When Meta told, RFC 3339.
    pub at: String,
    /// When it ends, RFC 3339.
    pub until: Option<String>,
    /// What Meta says about it.
    pub reason: Option<String>,
}

impl From<RestrictionLine> for RestrictionState {
    fn from(line: RestrictionLine) -> Self {
        let until = line.until.map(|it| it.to_string());
        Self { kind: line.kind, at: line.at.to_string(), until, reason: line.reason }
    }
}

/// A user who did not take the last two calls or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunState {
    /// The user, covered unless the reader may see it.
    pub user: String,
    /// Calls that rang and were not taken, since the last that was.
    pub unanswered: u32,
    /// Whether somebody decided to call on.
    pub overridden: bool,
}

/// The rules of one business number at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RulesState {
    /// The label of the number.
    pub number: String,
    /// Connected business-initiated calls.
    pub connected: Use,
    /// Places held by calls that are not answered yet.
    pub reserved: u32,
    /// Business-initiated calls begun.
    pub started: Use,
    /// Calls at once, both directions, at most.
    pub concurrent_max: u32,
    /// Whether Meta offers no calls to users for numbers of this country.
    pub country_blocked: bool,
    /// Calls stop after so many unanswered in a row; null: they do not.
    pub unanswered_stop: Option<u32>,
    /// Users who did not take the last two calls or more, those called last first.
    pub unanswered: Vec<RunState>,
    /// The users' calls.
    pub pickup: PickUpState,
    /// Meta's restrictions and warnings, newest first.
    pub restrictions: Vec<RestrictionState>,
}

impl RulesState {
    /// Reads it; `cover` writes a user as the reader may see it.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn read(
        store: &Store,
        (label, id): (&str, &PhoneNumberId),
        (number, rules): (&NumberPolicy, &Rules),
        cover: impl Fn(&UserId) -> String,
        now: Now,
    ) -> Result<Self, StoreError> {
        let (at, window) = (now.wall, number.cap_per_number.window);
        let used = store.cap_use(id, window, now).await?;
        let alarm = number.guards.pickup;
        let (day, week) = store.pick_up_rates(id, alarm.counts, at).await?;
        let runs = store.runs(id, at - RUNS_KEPT, RUNS).await?;
        let restrictions = store.restrictions(id, at).await?;
        let run = |(user, run): (UserId, super::store::Run)| RunState {
            user: cover(&user),
            unanswered: run.unanswered,
            overridden: run.overridden,
        };
        let of = |used, max, window: Duration| Use { used, max, window_seconds: window.as_secs() };
        Ok(Self {
            number: label.to_owned(),
            connected: of(used.connected, rules.per_number.map(|it| it.max), window),
            reserved: used.reserved,
            started: of(used.started, Some(number.max_initiations), DAY),
            concurrent_max: number.max_concurrent,
            country_blocked: rules.country.at(at).is_some(),
            unanswered_stop: number.guards.unanswered_stop,
            unanswered: runs.into_iter().map(run).collect(),
            pickup: PickUpState {
                calls: day.calls,
                answered: day.answered,
                percent: day.percent(),
                before_percent: week.percent(),
                trend: Trend::of(day, week).as_str(),
                alarm: alarm.is_due(day),
            },
            restrictions: restrictions.into_iter().map(Into::into).collect(),
        })
    }
}
