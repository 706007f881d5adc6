//! The one decision about business-initiated calls.

use std::time::Duration;

use super::facts::{Attempt, Facts};
use super::permission::Permission;
use super::rules::{Cap, Hours, Rules};
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
    /// Caps that this call brings to their warning mark.
    pub warnings: Vec<CapWarning>,
}

/// A cap that is nearly used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapWarning {
    /// Which.
    pub cap: CapName,
    /// How many places are taken, this call included.
    pub used: u32,
    /// How many there are.
    pub max: u32,
}

/// A cap by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapName {
    /// Connected calls of the business number.
    Number,
    /// Connected calls with one user.
    Pair,
    /// Calls at once.
    Concurrent,
}

impl CapName {
    /// A short name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Pair => "pair",
            Self::Concurrent => "concurrent",
        }
    }
}

/// Why an attempt may not go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The rule that says no.
    pub reason: DenialReason,
    /// The first moment at which that rule would say yes, where time alone brings it.
    pub until: Option<Wall>,
    /// What stands in the way.
    pub stands: Stands,
}

/// What stands in the way of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// What is known for certain.
    Fact,
    /// Places held by calls that are not answered yet: in a moment it may be otherwise.
    Reservation,
}

/// Whose rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Meta would refuse the call too.
    Meta,
    /// The house is stricter than Meta, by configuration.
    House,
    /// Nobody's: the facts could not be read.
    Nobody,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $maker:ident;)*) => {
        /// The rule that says no.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DenialReason {
            $($(#[$doc])* $name,)*
        }

        impl DenialReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A short name for metrics, logs and records; a closed set.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }

            /// Whose rule it is.
            #[must_use]
            pub const fn maker(self) -> Maker {
                match self {
                    $(Self::$name => Maker::$maker,)*
                }
            }
        }
    };
}

reasons! {
    /// The user never gave leave, or declined.
    NoPermission = "no_permission", Meta;
    /// The user's leave is over.
    PermissionExpired = "permission_expired", Meta;
    /// The user, or Meta after four unanswered calls, took the leave back.
    PermissionRevoked = "permission_revoked", Meta;
    /// The business number has used up its connected calls.
    NumberCap = "number_cap", House;
    /// The business number has used up its connected calls with this user.
    PairCap = "pair_cap", Meta;
    /// A call with this user is up or being set up.
    OneCallPerPair = "one_call_per_pair", Meta;
    /// The business number has too many calls at once.
    Concurrent = "concurrent", Meta;
    /// The business number has started too many calls.
    Initiations = "initiations", Meta;
    /// The business number's country has no such calls.
    CountryBlocked = "country_blocked", Meta;
    /// Meta restricted the number for its quality.
    Restricted = "restricted", Meta;
    /// The user's number is barred by the administrator.
    Barred = "barred", House;
    /// The user did not take the last calls: one more may cost the permission.
    Unanswered = "unanswered_streak", House;
    /// It is outside business hours, and calls wait for them.
    OutsideHours = "outside_hours", House;
    /// The store could not be asked; said by whoever asked it.
    StoreDown = "store_down", Nobody;
}

/// Judges an attempt.
///
/// The rules are asked in a fixed order and the first that says no is named: the administrator's bars,
/// country, Meta's restriction, permission, one call per pair, pair cap, number cap, calls at once, calls
/// started, and last what the house holds back: unanswered runs and business hours. Reservations in flight
/// count as if they were connected, since each may be a moment later.
#[must_use]
pub fn decide(rules: &Rules, facts: &Facts, attempt: &Attempt, now: Now) -> Decision {
    let now = now.wall;
    let flight = Flight::of(rules, facts, now);
    match refusal(rules, facts, flight, attempt, now) {
        Some(denial) => Decision::Deny(denial),
        None => Decision::Allow(Grant {
            attempt: attempt.clone(),
            at: now,
            lapses: now + rules.reservation_life,
            warnings: warnings(rules, facts, flight, now),
        }),
    }
}

/// Reservations that count.
#[derive(Clone, Copy)]
struct Flight {
    all: usize,
    with_user: usize,
}

impl Flight {
    fn of(rules: &Rules, facts: &Facts, now: Wall) -> Self {
        let live =
            |it: &&super::facts::InFlight| it.record_open || now < it.reserved + rules.reservation_life;
        let live = facts.in_flight.iter().filter(live);
        Self { all: live.clone().count(), with_user: live.filter(|it| it.same_user).count() }
    }
}

fn refusal(rules: &Rules, facts: &Facts, flight: Flight, attempt: &Attempt, now: Wall) -> Option<Denial> {
    let deny = |reason, until| Some(Denial { reason, until, stands: Stands::Fact });
    let digits = attempt.user.phone().map_or("", |it| it.digits());
    let barred = |prefix: &String| !prefix.is_empty() && digits.starts_with(prefix.as_str());
    if rules.barred_prefixes.iter().any(barred) {
        return deny(DenialReason::Barred, None);
    }
    if let Some(until) = rules.country.at(now) {
        return deny(DenialReason::CountryBlocked, until);
    }
    if let Some(restriction) = facts.restriction.filter(|it| it.holds(now)) {
        return deny(DenialReason::Restricted, restriction.until);
    }
    if !facts.permission.holds(now) {
        return deny(
            match facts.permission {
                Permission::Temporary { .. } => DenialReason::PermissionExpired,
                Permission::Revoked => DenialReason::PermissionRevoked,
                _ => DenialReason::NoPermission,
            },
            None,
        );
    }
    caps(rules, facts, flight, now).or_else(|| {
        let stop = rules.unanswered_stop.is_some_and(|most| facts.unanswered >= most);
        if stop && !facts.overridden {
            return deny(DenialReason::Unanswered, None);
        }
        match rules.hours {
            Hours::Held { opens } => deny(DenialReason::OutsideHours, opens),
            Hours::Unheld => None,
        }
    })
}

fn caps(rules: &Rules, facts: &Facts, flight: Flight, now: Wall) -> Option<Denial> {
    let deny = |reason, until, full_without: bool| {
        let stands = if full_without { Stands::Fact } else { Stands::Reservation };
        Some(Denial { reason, until, stands })
    };
    if flight.with_user > 0 || facts.up_with_user > 0 {
        return deny(DenialReason::OneCallPerPair, None, facts.up_with_user > 0);
    }
    if let Some(until) = facts.meta_hold.filter(|it| now < *it) {
        return deny(DenialReason::PairCap, Some(until), true);
    }
    for (cap, connected, in_flight, reason) in [
        (rules.per_pair, &facts.connected_pair, flight.with_user, DenialReason::PairCap),
        (rules.per_number, &facts.connected_number, flight.all, DenialReason::NumberCap),
    ] {
        if let Some(Full { until }) = cap.and_then(|it| it.full(connected, in_flight, now)) {
            let without = cap.is_some_and(|it| it.full(connected, 0, now).is_some());
            return deny(reason, until, without);
        }
    }
    let up = usize::try_from(facts.up).unwrap_or(usize::MAX);
    if rules.concurrent.is_some_and(|max| up.saturating_add(flight.all) >= max as usize) {
        let without = rules.concurrent.is_some_and(|max| up >= max as usize);
        return deny(DenialReason::Concurrent, None, without);
    }
    let cap = rules.initiations?;
    let frees = facts.initiation_at_cap.map(|it| leaves(it, cap.window));
    match frees {
        _ if cap.max == 0 => deny(DenialReason::Initiations, None, true),
        Some(frees) if now < frees => deny(DenialReason::Initiations, Some(frees), true),
        _ => None,
    }
}

/// The caps that one more call brings exactly to their mark, so that each is told of once on the way up.
fn warnings(rules: &Rules, facts: &Facts, flight: Flight, now: Wall) -> Vec<CapWarning> {
    let inside = |cap: &Cap, times: &[Wall]| times.iter().filter(|it| now < leaves(**it, cap.window)).count();
    let number = rules.per_number.map(|cap| (cap.max, inside(&cap, &facts.connected_number) + flight.all));
    let pair = rules.per_pair.map(|cap| (cap.max, inside(&cap, &facts.connected_pair) + flight.with_user));
    let up = rules.concurrent.map(|max| (max, flight.all + usize::try_from(facts.up).unwrap_or(usize::MAX)));
    let due = |(cap, used): (CapName, Option<(u32, usize)>)| {
        let (max, used) = used?;
        let used = u32::try_from(used).unwrap_or(u32::MAX).saturating_add(1);
        let mark = u64::from(max).saturating_mul(u64::from(rules.warn_at)).div_ceil(100);
        (u64::from(used) == mark).then_some(CapWarning { cap, used, max })
    };
    let caps = [(CapName::Number, number), (CapName::Pair, pair), (CapName::Concurrent, up)];
    caps.into_iter().filter_map(due).collect()
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
