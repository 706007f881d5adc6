//! Meta's business rules of calling (reference §8, §16), by code of the stand-in's own: the gateway's policy is
//! judged against this, so it shares nothing with it. Pure: `now` is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Wall;

const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// The numbers of the rules; `POST /sim/limits` changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    /// Connected business-initiated calls of one pair in 24 h (138012).
    pub(super) pair_calls: usize,
    /// Business-initiated attempts of one number in 24 h (138005).
    pub(super) initiations: usize,
    /// Calls of one number at once (138002).
    pub(super) concurrent: usize,
    /// Unanswered in a row before the user is told.
    pub(super) unanswered_notice: u32,
    /// Unanswered in a row before the permission ends.
    pub(super) unanswered_revoke: u32,
    /// `call_permissions` queries of one number in one second (613).
    pub(super) queries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pair_calls: 100,
            initiations: 10_000,
            concurrent: 1_000,
            unanswered_notice: 2,
            unanswered_revoke: 4,
            queries: 5,
        }
    }
}

/// What the user allows a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Permission {
    /// Nothing.
    #[default]
    None,
    /// Until this moment.
    Temporary(Wall),
    /// Until revoked.
    Permanent,
}

impl Permission {
    /// The word of `call_permissions` (reference §4).
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::None => "no_permission",
            Self::Temporary(_) => "temporary",
            Self::Permanent => "permanent",
        }
    }
}

/// Why Meta refuses a `connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 138002.
    Concurrent,
    /// 138003.
    PairBusy,
    /// 138005.
    Initiations,
    /// 138006.
    NoPermission,
    /// 138012; the pair may call again at this time.
    PairLimit(Wall),
    /// 138014.
    Paused,
}

impl Refusal {
    /// The number of the error.
    const fn code(self) -> u32 {
        match self {
            Self::Concurrent => 138_002,
            Self::PairBusy => 138_003,
            Self::Initiations => 138_005,
            Self::NoPermission => 138_006,
            Self::PairLimit(_) => 138_012,
            Self::Paused => 138_014,
        }
    }
}

/// What an unanswered call led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing.
    None,
    /// The user sees the message that asks to reconsider.
    Notice,
    /// The permission has ended; the webhook is `reject`, `automatic`.
    Revoked,
}

/// A business number and a user.
pub(super) type PairKey = (String, String);

#[derive(Debug, Default)]
struct Pair {
    permission: Permission,
    connected: VecDeque<Wall>,
    unanswered: u32,
    active: u32,
    notices: u32,
    requests: VecDeque<Wall>,
    /// Until when the user may be written to without a template.
    window: Option<Wall>,
    refused: u32,
}

#[derive(Debug, Default)]
struct Number {
    initiations: VecDeque<Wall>,
    active: usize,
    queries: VecDeque<Wall>,
    /// Too many users complained: no calls and no requests until then.
    paused: Option<Wall>,
}

/// What a pair's rules look like, for `GET /sim/users/{id}` and `call_permissions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PairView {
    /// `no_permission`, `temporary` or `permanent`.
    pub(super) permission: &'static str,
    /// When a temporary permission ends, Unix ms.
    pub(super) expires_ms: Option<i64>,
    /// Connected business-initiated calls in the last 24 h.
    pub(super) connected: usize,
    /// When the oldest of them leaves the window, if the limit is reached, Unix ms.
    pub(super) limit_expires_ms: Option<i64>,
    /// Unanswered in a row.
    pub(super) unanswered: u32,
    /// Times the user was asked to reconsider.
    pub(super) notices: u32,
    /// Permission requests in the last 24 h.
    pub(super) requests_day: usize,
    /// Permission requests in the last 7 days.
    pub(super) requests_week: usize,
    /// The code that a call would be refused with now.
    pub(super) no_call: Option<u32>,
    /// The code that a permission request would be refused with now.
    pub(super) no_request: Option<u32>,
    /// How many calls and requests these rules have refused so far.
    pub(super) refused: u32,
}

/// The ledger of all pairs and numbers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The numbers in force.
    pub(super) limits: Limits,
    pairs: BTreeMap<PairKey, Pair>,
    numbers: BTreeMap<String, Number>,
}

fn forget(times: &mut VecDeque<Wall>, now: Wall, window: Duration) {
    while times.front().is_some_and(|at| now.since(*at) >= window) {
        times.pop_front();
    }
}

impl Ledger {
    fn pair(&mut self, pair: &PairKey) -> &mut Pair {
        self.pairs.entry(pair.clone()).or_default()
    }

    /// Grants, changes or takes a permission.
    pub(super) fn permit(&mut self, pair: &PairKey, permission: Permission) {
        let pair = self.pair(pair);
        pair.permission = permission;
        pair.unanswered = 0;
    }

    /// Grants for 7 days; gives the end of the permission.
    pub(super) fn permit_for_a_week(&mut self, pair: &PairKey, now: Wall) -> Wall {
        let until = now + WEEK;
        self.permit(pair, Permission::Temporary(until));
        until
    }

    /// The user's own call grants for 7 days and never shortens what there is; gives the end of what it granted.
    pub(super) fn permit_by_call(&mut self, pair: &PairKey, now: Wall) -> Wall {
        let until = now + WEEK;
        let entry = self.pair(pair);
        entry.permission = match entry.permission {
            Permission::Permanent => Permission::Permanent,
            Permission::Temporary(end) => Permission::Temporary(end.max(until)),
            Permission::None => Permission::Temporary(until),
        };
        until
    }

    /// The user wrote or called, or took a call.
    pub(super) fn open_window(&mut self, pair: &PairKey, now: Wall) {
        let until = now + DAY;
        let window = &mut self.pair(pair).window;
        *window = (*window).max(Some(until));
    }

    /// Whether the user may be written to without a template.
    pub(super) fn window_is_open(&mut self, pair: &PairKey, now: Wall) -> bool {
        self.pair(pair).window.is_some_and(|until| now < until)
    }

    /// Too many users complained: the number neither calls nor asks until then.
    pub(super) fn pause(&mut self, number: &str, until: Wall) {
        self.numbers.entry(number.to_owned()).or_default().paused = Some(until);
    }

    fn is_paused(&self, number: &str, now: Wall) -> bool {
        self.numbers.get(number).and_then(|it| it.paused).is_some_and(|until| now < until)
    }

    /// The permission that holds now.
    pub(super) fn permission(&self, pair: &PairKey, now: Wall) -> Permission {
        match self.pairs.get(pair).map(|pair| pair.permission).unwrap_or_default() {
            Permission::Temporary(until) if until <= now => Permission::None,
            permission => permission,
        }
    }

    /// A business-initiated attempt; if allowed it counts as an initiation and keeps the pair busy.
    pub(super) fn connect(&mut self, pair: &PairKey, now: Wall) -> Result<(), Refusal> {
        let verdict = self.may_connect(pair, now);
        let entry = self.pair(pair);
        if verdict.is_err() {
            entry.refused += 1;
            return verdict;
        }
        entry.active += 1;
        let number = self.numbers.entry(pair.0.clone()).or_default();
        number.initiations.push_back(now);
        number.active += 1;
        Ok(())
    }

    fn may_connect(&mut self, pair: &PairKey, now: Wall) -> Result<(), Refusal> {
        let limits = self.limits;
        let permission = self.permission(pair, now);
        if self.is_paused(&pair.0, now) {
            return Err(Refusal::Paused);
        }
        let number = self.numbers.entry(pair.0.clone()).or_default();
        forget(&mut number.initiations, now, DAY);
        if number.initiations.len() >= limits.initiations {
            return Err(Refusal::Initiations);
        }
        if number.active >= limits.concurrent {
            return Err(Refusal::Concurrent);
        }
        let entry = self.pairs.entry(pair.clone()).or_default();
        if entry.active > 0 {
            return Err(Refusal::PairBusy);
        }
        if permission == Permission::None {
            return Err(Refusal::NoPermission);
        }
        forget(&mut entry.connected, now, DAY);
        if entry.connected.len() >= limits.pair_calls {
            return Err(Refusal::PairLimit(entry.connected.front().map_or(now, |oldest| *oldest + DAY)));
        }
        Ok(())
    }

    /// A user places a call; false if the number has no room (the user sees a failure, no webhook is sent).
    pub(super) fn user_calls(&mut self, pair: &PairKey) -> bool {
        let concurrent = self.limits.concurrent;
        let number = self.numbers.entry(pair.0.clone()).or_default();
        if number.active >= concurrent {
            return false;
        }
        number.active += 1;
        self.pair(pair).active += 1;
        true
    }

    /// Any call of the pair ended.
    pub(super) fn ended(&mut self, pair: &PairKey) {
        if let Some(number) = self.numbers.get_mut(&pair.0) {
            number.active = number.active.saturating_sub(1);
        }
        let pair = self.pair(pair);
        pair.active = pair.active.saturating_sub(1);
    }

    /// A business-initiated call was picked up: it counts, and ends a run of unanswered ones. Any connected call
    /// also frees the permission requests; a call that the user placed does only that (`counts` false).
    pub(super) fn connected(&mut self, pair: &PairKey, now: Wall, counts: bool) {
        let pair = self.pair(pair);
        pair.requests.clear();
        pair.window = pair.window.max(Some(now + DAY));
        if counts {
            pair.connected.push_back(now);
            pair.unanswered = 0;
        }
    }

    /// A business-initiated call rang and was not taken.
    pub(super) fn unanswered(&mut self, pair: &PairKey) -> Consequence {
        let limits = self.limits;
        let pair = self.pair(pair);
        pair.unanswered += 1;
        if pair.unanswered >= limits.unanswered_revoke {
            pair.permission = Permission::None;
            pair.unanswered = 0;
            return Consequence::Revoked;
        }
        if pair.unanswered == limits.unanswered_notice {
            pair.notices += 1;
            return Consequence::Notice;
        }
        Consequence::None
    }

    /// A `call_permissions` query; false if it comes too fast (613).
    pub(super) fn query(&mut self, number: &str, now: Wall) -> bool {
        let most = self.limits.queries;
        let number = self.numbers.entry(number.to_owned()).or_default();
        forget(&mut number.queries, now, Duration::from_secs(1));
        if number.queries.len() >= most {
            return false;
        }
        number.queries.push_back(now);
        true
    }

    /// A permission request message; `Err` is the code that refuses it (138009, 138014, 138017).
    pub(super) fn request(&mut self, pair: &PairKey, now: Wall) -> Result<(), u32> {
        let verdict = self.may_request(pair, now);
        let pair = self.pair(pair);
        match verdict {
            Ok(()) => pair.requests.push_back(now),
            Err(_) => pair.refused += 1,
        }
        verdict
    }

    fn may_request(&mut self, pair: &PairKey, now: Wall) -> Result<(), u32> {
        if self.is_paused(&pair.0, now) {
            return Err(138_014);
        }
        if self.permission(pair, now) == Permission::Permanent {
            return Err(138_017);
        }
        let pair = self.pair(pair);
        forget(&mut pair.requests, now, WEEK);
        let today = pair.requests.iter().filter(|at| now.since(**at) < DAY).count();
        if today >= 1 || pair.requests.len() >= 2 {
            return Err(138_009);
        }
        Ok(())
    }

    /// What holds for a pair now.
    pub(super) fn view(&mut self, pair: &PairKey, now: Wall) -> PairView {
        let permission = self.permission(pair, now);
        let most = self.limits.pair_calls;
        let no_call = self.may_connect(pair, now).err().map(Refusal::code);
        let no_request = self.may_request(pair, now).err();
        let pair = self.pair(pair);
        forget(&mut pair.connected, now, DAY);
        forget(&mut pair.requests, now, WEEK);
        let full = pair.connected.len() >= most;
        PairView {
            permission: permission.status(),
            expires_ms: if let Permission::Temporary(until) = permission {
                Some(until.millis())
            } else {
                None
            },
            connected: pair.connected.len(),
            limit_expires_ms: pair.connected.front().filter(|_| full).map(|oldest| (*oldest + DAY).millis()),
            unanswered: pair.unanswered,
            notices: pair.notices,
            requests_day: pair.requests.iter().filter(|at| now.since(**at) < DAY).count(),
            requests_week: pair.requests.len(),
            no_call,
            no_request,
            refused: pair.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Wall = Wall(1_791_900_000_000);

    fn pair() -> PairKey {
        ("108911223344556".to_owned(), "5521955500123".to_owned())
    }

    fn permitted() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.permit(&pair(), Permission::Permanent);
        ledger
    }

    fn call(ledger: &mut Ledger, at: Wall) -> Result<(), Refusal> {
        ledger.connect(&pair(), at)?;
        ledger.connected(&pair(), at, true);
        ledger.ended(&pair());
        Ok(())
    }

    #[test]
    fn a_hundred_connected_calls_are_allowed_and_the_next_only_when_the_oldest_is_a_day_old() {
        let mut ledger = permitted();
        for second in 0..100 {
            assert_eq!(call(&mut ledger, T0 + Duration::from_secs(second)), Ok(()));
        }
        let later = T0 + Duration::from_secs(3600);
        assert_eq!(call(&mut ledger, later), Err(Refusal::PairLimit(T0 + DAY)));
        assert_eq!(ledger.view(&pair(), later).limit_expires_ms, Some((T0 + DAY).millis()));
        assert_eq!(call(&mut ledger, Wall((T0 + DAY).millis() - 1)), Err(Refusal::PairLimit(T0 + DAY)));
        assert_eq!(call(&mut ledger, T0 + DAY), Ok(()));
        assert!(call(&mut ledger, T0 + DAY).is_err(), "the second oldest is a second younger");
    }

    #[test]
    fn two_unanswered_give_a_notice_and_four_end_even_a_permanent_permission() {
        let mut ledger = permitted();
        let run: Vec<_> = (0..4).map(|_| ledger.unanswered(&pair())).collect();
        assert_eq!(run, [Consequence::None, Consequence::Notice, Consequence::None, Consequence::Revoked]);
        assert_eq!(ledger.connect(&pair(), T0), Err(Refusal::NoPermission));
    }

    #[test]
    fn a_connected_call_ends_the_run() {
        let mut ledger = permitted();
        for _ in 0..3 {
            ledger.unanswered(&pair());
        }
        assert_eq!(call(&mut ledger, T0), Ok(()));
        assert_eq!(ledger.unanswered(&pair()), Consequence::None);
    }

    #[test]
    fn a_temporary_permission_ends_by_the_millisecond() {
        let mut ledger = Ledger::default();
        let until = ledger.permit_for_a_week(&pair(), T0);
        assert_eq!(until.since(T0), WEEK);
        assert_eq!(ledger.permission(&pair(), Wall(until.millis() - 1)), Permission::Temporary(until));
        assert_eq!(ledger.connect(&pair(), until), Err(Refusal::NoPermission));
    }

    #[test]
    fn a_pair_has_one_call_at_a_time_whoever_placed_it() {
        let mut ledger = permitted();
        assert!(ledger.user_calls(&pair()));
        assert_eq!(ledger.connect(&pair(), T0), Err(Refusal::PairBusy));
        ledger.ended(&pair());
        assert_eq!(ledger.connect(&pair(), T0), Ok(()));
        assert_eq!(ledger.connect(&pair(), T0), Err(Refusal::PairBusy));
    }

    #[test]
    fn concurrency_and_initiations_are_the_numbers_own() {
        let mut ledger = permitted();
        ledger.limits.concurrent = 1;
        ledger.limits.initiations = 1;
        let other = (pair().0, "4930555".to_owned());
        assert!(ledger.user_calls(&other));
        assert_eq!(ledger.connect(&pair(), T0), Err(Refusal::Concurrent));
        assert!(!ledger.user_calls(&pair()), "a user gets no room either");
        ledger.ended(&other);
        assert_eq!(call(&mut ledger, T0), Ok(()));
        assert_eq!(call(&mut ledger, T0), Err(Refusal::Initiations));
        assert_eq!(call(&mut ledger, T0 + DAY), Ok(()));
    }

    #[test]
    fn one_request_a_day_two_a_week_and_any_connected_call_starts_anew() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.request(&pair(), T0), Ok(()));
        assert_eq!(ledger.request(&pair(), T0), Err(138_009));
        assert_eq!(ledger.request(&pair(), T0 + DAY), Ok(()));
        assert_eq!(ledger.request(&pair(), T0 + DAY * 2), Err(138_009));
        ledger.connected(&pair(), T0 + DAY * 2, false);
        assert_eq!(ledger.request(&pair(), T0 + DAY * 2), Ok(()));
        ledger.permit(&pair(), Permission::Permanent);
        assert_eq!(ledger.request(&pair(), T0 + DAY * 9), Err(138_017));
    }

    #[test]
    fn a_pause_forbids_calls_and_requests_and_a_users_call_opens_the_window_and_shortens_nothing() {
        let mut ledger = permitted();
        ledger.pause("108911223344556", T0 + DAY);
        assert_eq!(call(&mut ledger, T0), Err(Refusal::Paused));
        assert_eq!(ledger.request(&pair(), T0), Err(138_014));
        assert_eq!(call(&mut ledger, T0 + DAY), Ok(()));
        ledger.permit_by_call(&pair(), T0);
        assert_eq!(ledger.permission(&pair(), T0), Permission::Permanent);
        let other = ("1".to_owned(), "4930555".to_owned());
        assert!(!ledger.window_is_open(&other, T0));
        ledger.open_window(&other, T0);
        assert!(ledger.window_is_open(&other, Wall((T0 + DAY).millis() - 1)));
        assert!(!ledger.window_is_open(&other, T0 + DAY));
    }

    #[test]
    fn queries_are_five_a_second() {
        let mut ledger = Ledger::default();
        assert!((0..5).all(|_| ledger.query("1", T0)));
        assert!(!ledger.query("1", T0 + Duration::from_millis(999)) && ledger.query("2", T0));
        assert!(ledger.query("1", T0 + Duration::from_secs(1)));
    }
}
