//! What the administrator and Meta allow.

use std::time::Duration;

use super::country::BusinessCountry;

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
    /// Connected calls of the business number.
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
    /// Whether Meta offers business-initiated calls in the business number's country.
    pub business: BusinessCountry,
    /// Beginnings of users' numbers (E.164 digits) that are never called: the administrator's choice.
    pub barred_prefixes: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            per_number: Some(Cap { max: 100, window: DAY }),
            per_pair: Some(Cap { max: 100, window: DAY }),
            initiations: Some(Cap { max: 10_000, window: DAY }),
            concurrent: Some(1000),
            reservation_life: Duration::from_secs(180),
            business: BusinessCountry::Served,
            barred_prefixes: Vec::new(),
        }
    }
}
