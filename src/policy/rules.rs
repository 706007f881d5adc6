//! What the administrator and Meta allow.

use std::time::Duration;

use super::country::Unavailable;
use crate::time::Wall;

const DAY: Duration = Duration::from_secs(86_400);

/// At most `max` of something in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// How many; 0 forbids.
    pub max: u32,
    /// The length of the sliding window. A start leaves it exactly `window` later, to the millisecond.
    pub window: Duration,
}

/// The rules for business-initiated calls of one business number; `None` switches a rule off.
///
/// The defaults are Meta's limits (reference §8), and the per-number cap of 100 on top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Connected calls of the business number: a rule of the house (reference §16.4).
    pub per_number: Option<Cap>,
    /// Connected calls of the business number with one user.
    pub per_pair: Option<Cap>,
    /// Calls started by the business number, answered or not.
    pub initiations: Option<Cap>,
    /// Calls of the business number at once, both directions.
    pub concurrent: Option<u32>,
    /// How long a reservation holds its place if nothing more is heard of its call.
    ///
    /// It guards against a crash only and must be longer than any phone rings: a call with an open
    /// record keeps its place anyway.
    pub reservation_life: Duration,
    /// When Meta offers no business-initiated calls in the business number's country.
    pub country: Unavailable,
    /// Beginnings of users' numbers (E.164 digits) that are never called: the administrator's choice.
    pub barred_prefixes: Vec<String>,
    /// After so many unanswered calls in a row no further one is made before somebody decides: Meta
    /// takes the permission after four (reference §16.5). A rule of the house.
    pub unanswered_stop: Option<u32>,
    /// Whether calls wait for business hours, and what the clock says. A rule of the house.
    pub hours: Hours,
    /// At this percentage of a cap a warning is due; over 100 there is none.
    pub warn_at: u32,
    /// How often one user may be asked for permission.
    pub requests: RequestRules,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            per_number: Some(Cap { max: 100, window: DAY }),
            per_pair: Some(Cap { max: 100, window: DAY }),
            initiations: Some(Cap { max: 10_000, window: DAY }),
            concurrent: Some(1000),
            reservation_life: Duration::from_secs(180),
            country: Unavailable::default(),
            barred_prefixes: Vec::new(),
            unanswered_stop: Some(3),
            hours: Hours::Unheld,
            warn_at: 80,
            requests: RequestRules::default(),
        }
    }
}

/// What business hours mean for a call to a user; who knows the calendar says it at each attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hours {
    /// It is open, or calls do not wait for hours.
    #[default]
    Unheld,
    /// It is closed and calls wait.
    Held {
        /// When it opens, if that is known.
        opens: Option<Wall>,
    },
}

/// How often one user may be asked (reference §16.3): both limits count from the last connected call on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// The short window: one in 24 hours.
    pub short: Cap,
    /// The long window: two in 7 days.
    pub long: Cap,
}

impl Default for RequestRules {
    fn default() -> Self {
        Self { short: Cap { max: 1, window: DAY }, long: Cap { max: 2, window: DAY * 7 } }
    }
}
