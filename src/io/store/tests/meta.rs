//! Meta's rules of business-initiated calls, as plainly as they can be written: lists that are counted anew each time.
//!
//! It shares no line with `policy` and none with the stand-in for Meta. Source: reference §8, §16.

use std::collections::BTreeMap;

/// What a user allows a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Never,
    Until(i64),
    Always,
}

/// Why Meta refuses a call or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Concurrent = 138_002,
    PairBusy = 138_003,
    Initiations = 138_005,
    NoPermission = 138_006,
    RequestLimit = 138_009,
    PairLimit = 138_012,
    Country = 138_013,
    Paused = 138_014,
    NotNeeded = 138_017,
}

/// The numbers of the rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) pair_calls: usize,
    pub(super) initiations: usize,
    pub(super) concurrent: usize,
    /// The window of the three above, in milliseconds.
    pub(super) day: i64,
    /// How long a temporary permission lasts, and the long window of requests.
    pub(super) week: i64,
    pub(super) misses: u32,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Dialling,
    Ringing,
    Talking,
}

/// A call at Meta.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) number: usize,
    pub(super) user: usize,
    pub(super) by_business: bool,
    pub(super) stage: Stage,
}

/// What Meta tells by webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Granted { until: Option<i64>, by_call: bool },
    Declined,
    Revoked { automatic: bool },
    Restricted { until: i64 },
}

#[derive(Clone, Debug)]
struct Pair {
    leave: Leave,
    picked_up: Vec<i64>,
    requests: Vec<i64>,
    misses: u32,
}

/// Meta, as far as calls go.
#[derive(Debug)]
pub(super) struct Meta {
    limits: Limits,
    pairs: BTreeMap<(usize, usize), Pair>,
    started: BTreeMap<usize, Vec<i64>>,
    paused: BTreeMap<usize, i64>,
    blocked: Vec<usize>,
    pub(super) calls: BTreeMap<u64, Call>,
    /// Webhooks that are to be delivered.
    pub(super) outbox: Vec<(usize, usize, i64, Told)>,
}

impl Meta {
    /// A Meta that offers no business-initiated calls for the numbers of `blocked`.
    pub(super) fn new(limits: Limits, blocked: Vec<usize>) -> Self {
        Self {
            limits,
            pairs: BTreeMap::new(),
            started: BTreeMap::new(),
            paused: BTreeMap::new(),
            blocked,
            calls: BTreeMap::new(),
            outbox: Vec::new(),
        }
    }

    fn pair(&mut self, number: usize, user: usize) -> &mut Pair {
        let fresh = || Pair { leave: Leave::Never, picked_up: Vec::new(), requests: Vec::new(), misses: 0 };
        self.pairs.entry((number, user)).or_insert_with(fresh)
    }

    fn is_paused(&self, number: usize, now: i64) -> bool {
        self.paused.get(&number).is_some_and(|until| now < *until)
    }

    fn allowed(&mut self, number: usize, user: usize, now: i64) -> bool {
        match self.pair(number, user).leave {
            Leave::Never => false,
            Leave::Until(end) => now < end,
            Leave::Always => true,
        }
    }

    /// Whether a call may start now.
    pub(super) fn may_call(&mut self, number: usize, user: usize, now: i64) -> Result<(), Code> {
        let Limits { pair_calls, initiations, concurrent, day, .. } = self.limits;
        let within = |list: &[i64]| list.iter().filter(|at| now - **at < day).count();
        if self.blocked.contains(&number) {
            return Err(Code::Country);
        }
        if self.is_paused(number, now) {
            return Err(Code::Paused);
        }
        if !self.allowed(number, user, now) {
            return Err(Code::NoPermission);
        }
        if self.calls.values().any(|call| (call.number, call.user) == (number, user)) {
            return Err(Code::PairBusy);
        }
        if within(&self.pair(number, user).picked_up) >= pair_calls {
            return Err(Code::PairLimit);
        }
        if self.calls.values().filter(|call| call.number == number).count() >= concurrent {
            return Err(Code::Concurrent);
        }
        if self.started.get(&number).is_some_and(|list| within(list) >= initiations) {
            return Err(Code::Initiations);
        }
        Ok(())
    }

    /// `connect`
    pub(super) fn connect(&mut self, id: u64, number: usize, user: usize, now: i64) -> Result<(), Code> {
        self.may_call(number, user, now)?;
        self.started.entry(number).or_default().push(now);
        self.calls.insert(id, Call { number, user, by_business: true, stage: Stage::Dialling });
        Ok(())
    }

    /// A user calls; false if the number has no room for it, and then nobody is told.
    pub(super) fn user_calls(&mut self, id: u64, number: usize, user: usize) -> bool {
        let room = self.calls.values().filter(|call| call.number == number).count() < self.limits.concurrent;
        let free = !self.calls.values().any(|call| (call.number, call.user) == (number, user));
        if room && free {
            self.calls.insert(id, Call { number, user, by_business: false, stage: Stage::Ringing });
        }
        room && free
    }

    /// The user's phone rings.
    pub(super) fn ring(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.stage = Stage::Ringing;
        }
    }

    /// Somebody takes the call: the requests are free again, and if the business called, it counts.
    pub(super) fn pick_up(&mut self, id: u64, now: i64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.stage = Stage::Talking;
        let call = *call;
        let pair = self.pair(call.number, call.user);
        pair.requests.clear();
        if call.by_business {
            pair.picked_up.push(now);
            pair.misses = 0;
        }
    }

    /// The call ends. Rung and not taken, it is a miss; the fourth in a row costs the permission. The user's
    /// own call grants a week.
    pub(super) fn end(&mut self, id: u64, now: i64) {
        let Some(call) = self.calls.remove(&id) else { return };
        let (most, week) = (self.limits.misses, self.limits.week);
        let pair = self.pair(call.number, call.user);
        if !call.by_business {
            let until = now + week;
            pair.leave = match pair.leave {
                Leave::Always => Leave::Always,
                Leave::Until(end) => Leave::Until(end.max(until)),
                Leave::Never => Leave::Until(until),
            };
            let told = Told::Granted { until: Some(until), by_call: true };
            self.outbox.push((call.number, call.user, now, told));
        } else if call.stage == Stage::Ringing {
            pair.misses += 1;
            if pair.misses >= most {
                (pair.misses, pair.leave) = (0, Leave::Never);
                self.outbox.push((call.number, call.user, now, Told::Revoked { automatic: true }));
            }
        }
    }

    /// Whether a request may be sent now.
    pub(super) fn may_ask(&mut self, number: usize, user: usize, now: i64) -> Result<(), Code> {
        let Limits { day, week, .. } = self.limits;
        if self.blocked.contains(&number) {
            return Err(Code::Country);
        }
        if self.is_paused(number, now) {
            return Err(Code::Paused);
        }
        let pair = self.pair(number, user);
        if pair.leave == Leave::Always {
            return Err(Code::NotNeeded);
        }
        let within = |span: i64| pair.requests.iter().filter(|at| now - **at < span).count();
        if within(day) >= 1 || within(week) >= 2 { Err(Code::RequestLimit) } else { Ok(()) }
    }

    /// A request message.
    pub(super) fn request(&mut self, number: usize, user: usize, now: i64) -> Result<(), Code> {
        self.may_ask(number, user, now)?;
        self.pair(number, user).requests.push(now);
        Ok(())
    }

    /// The user decides, by a request or in the business profile.
    pub(super) fn decide(&mut self, number: usize, user: usize, leave: Leave, asked: bool, now: i64) {
        self.pair(number, user).leave = leave;
        let told = match leave {
            Leave::Always => Told::Granted { until: None, by_call: false },
            Leave::Until(end) => Told::Granted { until: Some(end), by_call: false },
            Leave::Never if asked => Told::Declined,
            Leave::Never => Told::Revoked { automatic: false },
        };
        self.outbox.push((number, user, now, told));
    }

    /// Too many users complained.
    pub(super) fn pause(&mut self, number: usize, until: i64, now: i64) {
        self.paused.insert(number, until);
        self.outbox.push((number, 0, now, Told::Restricted { until }));
    }

    /// The moments at which something changes by itself, for a clock that looks for edges.
    pub(super) fn edges(&self) -> Vec<i64> {
        let Limits { day, week, .. } = self.limits;
        let mut edges: Vec<i64> = self.started.values().flatten().map(|at| at + day).collect();
        for pair in self.pairs.values() {
            edges.extend(pair.picked_up.iter().map(|at| at + day));
            edges.extend(pair.requests.iter().flat_map(|at| [at + day, at + week]));
            if let Leave::Until(end) = pair.leave {
                edges.push(end);
            }
        }
        edges.extend(self.paused.values());
        edges
    }

    /// Forgets what no rule looks back to, so that a long history stays quick.
    pub(super) fn forget(&mut self, now: i64) {
        let Limits { day, week, .. } = self.limits;
        for list in self.started.values_mut() {
            list.retain(|at| now - at < day);
        }
        for pair in self.pairs.values_mut() {
            pair.picked_up.retain(|at| now - at < day);
            pair.requests.retain(|at| now - at < week);
        }
    }
}
