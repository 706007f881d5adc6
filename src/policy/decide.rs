//! The one decision about business-initiated calls.

use std::time::Duration;

use super::country::BusinessCountry;
use super::facts::{Attempt, Facts};
use super::permission::Permission;
use super::rules::{Cap, Rules};
use crate::time::{Now, Wall};

/// Whether an attempt may go ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow(Grant),
    /// It may not.
    Deny(Denial),
}

/// Leave to make one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// For which attempt.
    pub attempt: Attempt,
    /// When it was given.
    pub at: Wall,
    /// When its place is given to others if nothing more is heard of the call.
    pub lapses: Wall,
}

/// Why an attempt may not go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The rule that says no.
    pub reason: DenialReason,
    /// The first moment at which that rule would say yes, where time alone brings it.
    pub until: Option<Wall>,
}

/// The rule that says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DenialReason {
    /// The user never gave leave, or took it back.
    NoPermission,
    /// The user's leave is over.
    PermissionExpired,
    /// The business number has used up its connected calls.
    NumberCap,
    /// The business number has used up its connected calls with this user.
    PairCap,
    /// A call with this user is up or being set up.
    OneCallPerPair,
    /// The business number has too many calls at once.
    Concurrent,
    /// The business number has started too many calls.
    Initiations,
    /// The business number's country has no such calls, or the user's number is barred.
    CountryBlocked,
    /// The store could not be asked; said by whoever asked it.
    StoreDown,
}

impl DenialReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::NoPermission,
        Self::PermissionExpired,
        Self::NumberCap,
        Self::PairCap,
        Self::OneCallPerPair,
        Self::Concurrent,
        Self::Initiations,
        Self::CountryBlocked,
        Self::StoreDown,
    ];

    /// A short name for metrics, logs and records; a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoPermission => "no_permission",
            Self::PermissionExpired => "permission_expired",
            Self::NumberCap => "number_cap",
            Self::PairCap => "pair_cap",
            Self::OneCallPerPair => "one_call_per_pair",
            Self::Concurrent => "concurrent",
            Self::Initiations => "initiations",
            Self::CountryBlocked => "country_blocked",
            Self::StoreDown => "store_down",
        }
    }
}

/// Judges an attempt.
///
/// The rules are asked in a fixed order and the first that says no is named: country, permission,
/// one call per pair, pair cap, number cap, calls at once, calls started. Reservations in flight
/// count as if they were connected, since each may be a moment later.
#[must_use]
pub fn decide(rules: &Rules, facts: &Facts, attempt: &Attempt, now: Now) -> Decision {
    let now = now.wall;
    match refusal(rules, facts, attempt, now) {
        Some(denial) => Decision::Deny(denial),
        None => {
            Decision::Allow(Grant { attempt: attempt.clone(), at: now, lapses: now + rules.reservation_life })
        }
    }
}

fn refusal(rules: &Rules, facts: &Facts, attempt: &Attempt, now: Wall) -> Option<Denial> {
    let deny = |reason, until| Some(Denial { reason, until });
    let digits = attempt.user.phone().map_or("", |it| it.digits());
    let barred = |prefix: &String| !prefix.is_empty() && digits.starts_with(prefix.as_str());
    if rules.business == BusinessCountry::Unserved || rules.barred_prefixes.iter().any(barred) {
        return deny(DenialReason::CountryBlocked, None);
    }
    match facts.permission {
        Permission::Permanent => {}
        Permission::Temporary { until } if now < until => {}
        Permission::Temporary { .. } => return deny(DenialReason::PermissionExpired, None),
        Permission::None | Permission::Declined => return deny(DenialReason::NoPermission, None),
    }
    let live = |it: &&super::facts::InFlight| it.record_open || now < it.reserved + rules.reservation_life;
    let in_flight = facts.in_flight.iter().filter(live).count();
    let in_flight_pair = facts.in_flight.iter().filter(live).filter(|it| it.same_user).count();
    if in_flight_pair > 0 || facts.up_with_user > 0 {
        return deny(DenialReason::OneCallPerPair, None);
    }
    for (cap, connected, in_flight, reason) in [
        (rules.per_pair, &facts.connected_pair, in_flight_pair, DenialReason::PairCap),
        (rules.per_number, &facts.connected_number, in_flight, DenialReason::NumberCap),
    ] {
        if let Some(Full { until }) = cap.and_then(|it| it.full(connected, in_flight, now)) {
            return deny(reason, until);
        }
    }
    let up = usize::try_from(facts.up).unwrap_or(usize::MAX);
    if rules.concurrent.is_some_and(|max| up.saturating_add(in_flight) >= max as usize) {
        return deny(DenialReason::Concurrent, None);
    }
    let cap = rules.initiations?;
    let frees = facts.initiation_at_cap.map(|it| leaves(it, cap.window));
    match frees {
        _ if cap.max == 0 => deny(DenialReason::Initiations, None),
        Some(frees) if now < frees => deny(DenialReason::Initiations, Some(frees)),
        _ => None,
    }
}

/// A cap has no place left.
struct Full {
    /// When the next place frees up, if that is only a matter of time.
    until: Option<Wall>,
}

/// The first moment at which something that happened at `start` is out of the window.
fn leaves(start: Wall, window: Duration) -> Wall {
    start + window
}

impl Cap {
    fn full(self, connected: &[Wall], in_flight: usize, now: Wall) -> Option<Full> {
        let max = self.max as usize;
        let mut inside: Vec<Wall> =
            connected.iter().map(|it| leaves(*it, self.window)).filter(|it| now < *it).collect();
        if inside.len().saturating_add(in_flight) < max {
            return None;
        }
        // The window must shrink to `max - 1`: the call at that place, counted from the newest, is the
        // last one that has to leave.
        inside.sort_unstable_by(|one, other| other.cmp(one));
        let until = max.checked_sub(1).and_then(|place| inside.get(place)).copied();
        Some(Full { until })
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
