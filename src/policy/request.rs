//! Asking a user for permission: whether it is possible now, in which form, and what became of a request.

use std::time::Duration;

use super::facts::Restriction;
use super::permission::Permission;
use super::rules::{Cap, Rules};
use crate::id::PhoneNumberId;
use crate::time::Wall;
use crate::user::UserId;

/// A permission request that somebody wants to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The business number that asks.
    pub number: PhoneNumberId,
    /// Who is asked.
    pub user: UserId,
    /// Whether the number has a template for users whose conversation window is shut.
    pub template: bool,
}

/// In which form a request goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// An interactive message, inside the customer service window (reference §6.1).
    FreeForm,
    /// A template, at any time (reference §6.2).
    Template,
}

impl RequestKind {
    /// The word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FreeForm => "free_form",
            Self::Template => "template",
        }
    }
}

/// What the store knows about asking one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskFacts {
    /// What the user said last; `None` is nothing.
    pub permission: Option<Permission>,
    /// When requests went out to the user, newest first, without those that Meta refused; those that
    /// are under way count.
    pub sent: Vec<Wall>,
    /// When a call between the two was last picked up, in either direction: it frees the limits.
    pub connected: Option<Wall>,
    /// Until when the customer service window is open (reference §16.6).
    pub window: Option<Wall>,
    /// Until when Meta said that no request is possible (138009).
    pub meta_hold: Option<Wall>,
    /// Meta's restriction: no requests while it holds.
    pub restriction: Option<Restriction>,
}

/// Why a request may not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskDenial {
    /// The rule that says no.
    pub reason: AskReason,
    /// From when on it would say yes, where time alone brings it.
    pub until: Option<Wall>,
}

/// The rule that says no to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AskReason {
    /// The permission is permanent: just call (138017).
    Needless,
    /// One in 24 hours (138009).
    ShortLimit,
    /// Two in 7 days (138009).
    LongLimit,
    /// Meta restricted the number's calling: it may not ask either.
    Restricted,
    /// Business-initiated calls, and so requests, do not exist for numbers of this country.
    CountryBlocked,
    /// The conversation window is shut, and the number has no template.
    NoTemplate,
}

impl AskReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Needless,
        Self::ShortLimit,
        Self::LongLimit,
        Self::Restricted,
        Self::CountryBlocked,
        Self::NoTemplate,
    ];

    /// A short name for metrics, logs and records; a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Needless => "ask_needless",
            Self::ShortLimit => "ask_day_limit",
            Self::LongLimit => "ask_week_limit",
            Self::Restricted => "ask_restricted",
            Self::CountryBlocked => "ask_country",
            Self::NoTemplate => "ask_no_template",
        }
    }
}

/// Judges whether a user may be asked at `now`, and in which form.
///
/// A free-form request is preferred while the window is open: it needs no approval of Meta's.
///
/// # Errors
/// The rule that says no.
pub fn decide_request(
    rules: &Rules,
    facts: &AskFacts,
    ask: &Ask,
    now: Wall,
) -> Result<RequestKind, AskDenial> {
    let deny = |reason, until| Err(AskDenial { reason, until });
    if let Some(until) = rules.country.at(now) {
        return deny(AskReason::CountryBlocked, until);
    }
    if let Some(restriction) = facts.restriction.filter(|it| it.holds(now)) {
        return deny(AskReason::Restricted, restriction.until);
    }
    if facts.permission == Some(Permission::Permanent) {
        return deny(AskReason::Needless, None);
    }
    // A connected call frees both limits.
    let counts = |at: &&Wall| facts.connected.is_none_or(|it| **at >= it);
    let sent: Vec<Wall> = facts.sent.iter().filter(counts).copied().collect();
    let requests = &rules.requests;
    for (cap, reason) in [(requests.long, AskReason::LongLimit), (requests.short, AskReason::ShortLimit)] {
        if let Some(until) = full(cap, &sent, now) {
            return deny(reason, until);
        }
    }
    if let Some(until) = facts.meta_hold.filter(|it| now < *it) {
        return deny(AskReason::ShortLimit, Some(until));
    }
    match facts.window.is_some_and(|it| now < it) {
        true => Ok(RequestKind::FreeForm),
        false if ask.template => Ok(RequestKind::Template),
        false => deny(AskReason::NoTemplate, None),
    }
}

/// Whether the cap is full, and when it is no longer.
fn full(cap: Cap, sent: &[Wall], now: Wall) -> Option<Option<Wall>> {
    let mut leave: Vec<Wall> = sent.iter().map(|at| *at + cap.window).filter(|it| now < *it).collect();
    if leave.len() < cap.max as usize {
        return None;
    }
    leave.sort_unstable_by(|one, other| other.cmp(one));
    Some(cap.max.checked_sub(1).and_then(|place| leave.get(place as usize)).copied())
}

/// One request as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionRequest {
    /// When it was sent.
    pub sent: Wall,
    /// When Meta took it; `None` while it is under way.
    pub taken: Option<Wall>,
    /// When the user answered it.
    pub answered: Option<Wall>,
}

/// What became of a request (reference §16.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// On its way to Meta.
    UnderWay,
    /// The user can answer it, until then.
    Open {
        /// When it lapses.
        lapses: Wall,
    },
    /// The user has answered; the answer can be changed until then.
    Answered {
        /// When it lapses.
        lapses: Wall,
    },
    /// A newer one took its place.
    Superseded,
    /// Seven days after the answer, or after it was sent without one.
    Lapsed,
}

impl RequestState {
    /// A word for people and for the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "under_way",
            Self::Open { .. } => "open",
            Self::Answered { .. } => "answered",
            Self::Superseded => "superseded",
            Self::Lapsed => "lapsed",
        }
    }
}

/// How long a request lives after its answer, or without one (reference §16.2).
pub const REQUEST_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// The state at `now` of a request after which `newer` ones were sent.
#[must_use]
pub fn last_request_state(request: &PermissionRequest, newer: usize, now: Wall) -> RequestState {
    let lapses = request.answered.or(request.taken).unwrap_or(request.sent) + REQUEST_LIFE;
    if newer > 0 {
        RequestState::Superseded
    } else if now >= lapses {
        RequestState::Lapsed
    } else if request.answered.is_some() {
        RequestState::Answered { lapses }
    } else if request.taken.is_some() {
        RequestState::Open { lapses }
    } else {
        RequestState::UnderWay
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
