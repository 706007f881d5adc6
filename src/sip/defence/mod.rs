//! Who is not heard: scanners, guessers and floods, without ever silencing an office (call-handling rule 23).
//!
//! A UDP sender's address can be forged, so evidence comes in two kinds. *Proof* is a wrong password on a
//! nonce of ours: it went to that address and came back. Ten of them ban the user at that source, and three
//! such bans the source. Everything else (names that nobody proves, broken messages, a scanner's User-Agent)
//! only makes the source *doubted*: nothing is answered there but what carries a nonce of ours, belongs to a
//! call, or comes through the keyhole of one challenge in two seconds. So whoever forges an address silences
//! nobody there: the first phone that proves itself ends the doubt. Trunks and addresses with live bindings or
//! calls are never banned and never doubted.
//!
//! Which names exist plays no part in any of this: the table of bans is no oracle either.

mod bans;
mod pace;
mod recent;
mod settings;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::masked::Masked;

use super::flow::Transport;

pub use bans::{Ban, Ground, Placed};
pub use pace::Rate;
pub use settings::{DefenceSettings, SCANNERS};
pub use source::{Acl, Source};

use bans::{Bans, Standing};
use pace::Pace;
pub(in crate::sip) use recent::Recent;
use source::Listed;

/// Trunks and sources that have proved themselves may send so many times as much.
const TRUSTED: u32 = 50;
/// A source whose users are banned is banned whole with the how many-th.
const BANNED_USERS: usize = 3;
/// Seconds between two messages of a doubted source that are answered without a proof.
const KEYHOLE: u32 = 2;
/// Messages for a banned user that a stubborn phone sends: what is faster is hammering.
const STUBBORN: Rate = Rate { per_second: 1, burst: 100 };
/// Messages of all strangers together that are read at all.
const STRANGERS: Rate = Rate { per_second: 10_000, burst: 10_000 };
/// Where too much comes from is looked up so often at most: who is at home there is trusted.
const LOOK_UP: Duration = Duration::from_secs(1);
/// And so long.
const AT_HOME: Duration = Duration::from_secs(60);
/// A message costs one, and one more for each so many bytes: long ones take longer to read.
const BYTES: usize = 2048;
/// A scanner's User-Agent weighs as much as so many broken messages.
const SCANNER: usize = 4;
/// Names are kept up to here: they are only told, never used.
const NAME: usize = 64;
/// Bans that are told in the log at once, and after that how often.
const TOLD: Rate = Rate { per_second: 1, burst: 20 };
/// So many bans of users wait to be told at most.
const MOST_PLACED: usize = 64;

/// What is done with a datagram before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is read.
    Welcome,
    /// It is read, and dropped unless it proves itself.
    Doubted,
    /// It is not read.
    Dropped,
}

/// Why something was dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// The access list does not let the address in.
    Denied,
    /// The source sends too much.
    TooFast,
    /// All strangers together send too much.
    Flood,
    /// The source is banned.
    BannedSource,
    /// The user is banned at that source.
    BannedUser,
    /// The source is doubted and the message proves nothing.
    Doubted,
    /// A scanner by its own words.
    Scanner,
}

impl Dropped {
    /// Every reason, in order.
    pub const ALL: [Self; 7] = [
        Self::Denied,
        Self::TooFast,
        Self::Flood,
        Self::BannedSource,
        Self::BannedUser,
        Self::Doubted,
        Self::Scanner,
    ];

    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::TooFast => "too_fast",
            Self::Flood => "flood",
            Self::BannedSource => "banned_source",
            Self::BannedUser => "banned_user",
            Self::Doubted => "doubted",
            Self::Scanner => "scanner",
        }
    }
}

/// What makes a source doubted, bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion<'a> {
    /// It asked for a name and has not proved to be it.
    Name(&'a str),
    /// A message that could not be read.
    Garbage,
    /// A scanner's User-Agent.
    Scanner,
}

/// Counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefenceFigures {
    /// What was dropped without an answer.
    pub dropped: BTreeMap<Dropped, u64>,
    /// Bans that began.
    pub bans: BTreeMap<Ground, u64>,
    /// Bans of whole sources that hold now.
    pub sources: usize,
    /// Bans of users at sources that hold now.
    pub users: usize,
}

/// What a source did lately.
#[derive(Debug)]
struct Seen {
    pace: Pace,
    trusted: Pace,
    keyhole: Pace,
    stubborn: Pace,
    names: VecDeque<(u64, Instant)>,
    garbage: VecDeque<Instant>,
    looked_up: Option<Instant>,
}

/// The guard at the door.
#[derive(Debug)]
pub struct Defence {
    settings: DefenceSettings,
    trunks: BTreeSet<IpAddr>,
    trunk_networks: Vec<IpNet>,
    seen: Recent<Source, Seen>,
    /// Until when sources that have proved themselves may send more; forged senders cannot push them out.
    proven: Recent<Source, Instant>,
    failures: Recent<(Source, String), VecDeque<Instant>>,
    /// Failures of a source under whatever name: guessing one password for many names is guessing too.
    spread: Recent<Source, VecDeque<Instant>>,
    bans: Bans,
    strangers: Option<Pace>,
    requests: Option<Pace>,
    told: Option<(Pace, u64)>,
    placed: Vec<Placed>,
    figures: DefenceFigures,
}

impl Defence {
    /// Nobody is banned; `trunks` never will be.
    #[must_use]
    pub fn new(settings: DefenceSettings, trunks: impl IntoIterator<Item = IpAddr>) -> Self {
        let many = settings.max_sources;
        Self {
            trunks: trunks.into_iter().map(|it| it.to_canonical()).collect(),
            trunk_networks: Vec::new(),
            seen: Recent::new(many),
            proven: Recent::new(many),
            failures: Recent::new(many),
            spread: Recent::new(many),
            bans: Bans::new(settings.ban, settings.ban_max, many),
            strangers: None,
            requests: None,
            told: None,
            placed: Vec::new(),
            figures: DefenceFigures::default(),
            settings,
        }
    }

    /// Trunks also call from these networks.
    pub fn befriend_networks(&mut self, networks: impl IntoIterator<Item = IpNet>) {
        self.trunk_networks.extend(networks);
    }

    /// Trunks are at these addresses now.
    pub fn set_trunks(&mut self, trunks: impl IntoIterator<Item = IpAddr>) {
        self.trunks = trunks.into_iter().map(|it| it.to_canonical()).collect();
    }

    /// Whether the address may come by the transport; who may not is counted.
    pub fn lets_in(&mut self, transport: Transport, from: IpAddr) -> bool {
        let may = self.settings.lets_in(transport, from, self.is_friend(from));
        if !may {
            self.drop(Dropped::Denied);
        }
        may
    }

    /// Judges a datagram of `size` bytes before it is read.
    ///
    /// `home` as in [`Defence::suspect`]: who is at home may send more, whatever others send in that name.
    pub fn admit(
        &mut self,
        now: Instant,
        from: IpAddr,
        size: usize,
        home: impl FnOnce() -> bool,
    ) -> Admission {
        let friend = self.is_friend(from);
        match self.settings.acl.judge(from) {
            Listed::Allowed => {}
            Listed::Missing if friend => {}
            Listed::Missing | Listed::Denied => return self.drop(Dropped::Denied),
        }
        if !self.settings.enabled {
            return Admission::Welcome;
        }
        let source = Source::of(from);
        let standing = if friend { Standing::Free } else { self.bans.standing(now, source) };
        if standing == Standing::Banned {
            return self.drop(Dropped::BannedSource);
        }
        let cost = u32::try_from(1 + size / BYTES).unwrap_or(u32::MAX);
        let mut trusted = friend || self.proven.get(&source).is_some_and(|until| *until > now);
        let mut fits = self.take(now, source, trusted, cost);
        if !fits && !trusted && self.may_look_up(now, source) && home() {
            *self.proven.touch(source, || now) = now + AT_HOME;
            trusted = true;
            fits = self.take(now, source, trusted, cost);
        }
        if !fits {
            return self.drop(Dropped::TooFast);
        }
        let strangers = self.strangers.get_or_insert_with(|| Pace::new(now));
        if !trusted && !strangers.take(now, STRANGERS, cost) {
            return self.drop(Dropped::Flood);
        }
        if standing == Standing::Doubted { Admission::Doubted } else { Admission::Welcome }
    }

    fn take(&mut self, now: Instant, source: Source, trusted: bool, cost: u32) -> bool {
        let rate = self.settings.rate;
        let seen = self.seen(now, source);
        // A bucket of its own: what strangers have sent in its name is not held against it.
        if trusted {
            seen.trusted.take(now, rate.times(TRUSTED), cost)
        } else {
            seen.pace.take(now, rate, cost)
        }
    }

    fn may_look_up(&mut self, now: Instant, source: Source) -> bool {
        let looked_up = &mut self.seen(now, source).looked_up;
        let may = looked_up.is_none_or(|at| at + LOOK_UP <= now);
        if may {
            *looked_up = Some(now);
        }
        may
    }

    fn drop(&mut self, why: Dropped) -> Admission {
        *self.figures.dropped.entry(why).or_default() += 1;
        Admission::Dropped
    }

    /// Trunks, and whom the administrator trusts.
    fn is_friend(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&from));
        self.trunks.contains(&from) || within(&self.trunk_networks) || within(&self.settings.trusted)
    }

    fn seen(&mut self, now: Instant, source: Source) -> &mut Seen {
        self.seen.touch(source, || Seen {
            pace: Pace::new(now),
            trusted: Pace::new(now),
            keyhole: Pace::new(now),
            stubborn: Pace::new(now),
            names: VecDeque::new(),
            garbage: VecDeque::new(),
            looked_up: None,
        })
    }

    /// Whether a message of a doubted source that proves nothing is answered all the same: now and then one
    /// is, so that a phone there can begin to prove itself.
    pub fn keyhole(&mut self, now: Instant, from: IpAddr) -> bool {
        let rate = Rate { per_second: 1, burst: KEYHOLE };
        let open = self.seen(now, Source::of(from)).keyhole.take(now, rate, KEYHOLE);
        if !open {
            self.drop_doubted(from);
        }
        open
    }

    /// Counts a message of a doubted source that is not answered.
    pub fn drop_doubted(&mut self, from: IpAddr) {
        self.bans.note_dropped(Source::of(from));
        self.drop(Dropped::Doubted);
    }

    /// Whether a User-Agent names a scanner; counts it as dropped.
    pub fn is_scanner(&mut self, from: IpAddr, user_agent: Option<&str>) -> bool {
        if !self.settings.enabled || self.is_friend(from) {
            return false;
        }
        let Some(agent) = user_agent.map(str::to_ascii_lowercase) else { return false };
        let scanner = self.settings.scanners.iter().any(|word| agent.contains(word.as_str()));
        if scanner {
            self.drop(Dropped::Scanner);
        }
        scanner
    }

    /// Whether more new requests come than can be served: they get 503, what belongs to calls goes on.
    pub fn is_overloaded(&mut self, now: Instant) -> bool {
        let most = self.settings.new_requests;
        let requests = self.requests.get_or_insert_with(|| Pace::new(now));
        self.settings.enabled && !requests.take(now, Rate { per_second: most, burst: most }, 1)
    }

    /// Something that anybody could have forged; enough of it makes the source doubted.
    ///
    /// `home` tells whether a live binding or a call is at the address; it is asked only when it matters.
    pub fn suspect(&mut self, now: Instant, from: IpAddr, what: Suspicion<'_>, home: impl FnOnce() -> bool) {
        if !self.settings.enabled || self.is_friend(from) {
            return;
        }
        let source = Source::of(from);
        let (limit, window) = (self.settings.strangers, self.settings.window);
        let seen = self.seen(now, source);
        let ground = match what {
            Suspicion::Name(name) => {
                let name = digest_of(name);
                if !seen.names.iter().any(|(known, _)| *known == name) {
                    push(&mut seen.names, limit, (name, now));
                }
                let many = seen.names.len() >= limit;
                let lately = seen.names.front().is_some_and(|(_, at)| now.duration_since(*at) < window);
                (many && lately).then_some(Ground::Searching)
            }
            Suspicion::Garbage | Suspicion::Scanner => {
                let weight = if what == Suspicion::Scanner { SCANNER } else { 1 };
                (0..weight).for_each(|_| push(&mut seen.garbage, limit, now));
                is_full(&seen.garbage, limit, now, window).then_some(Ground::Scanning)
            }
        };
        if let Some(ground) = ground {
            self.doubt(now, source, ground, home);
        }
    }

    fn doubt(&mut self, now: Instant, source: Source, ground: Ground, home: impl FnOnce() -> bool) {
        let seen = self.seen(now, source);
        seen.names.clear();
        seen.garbage.clear();
        if !home() && self.bans.standing(now, source) == Standing::Free {
            self.ban(now, source, None, ground);
        }
    }

    /// Whether the user is heard at this source; counts what is dropped.
    pub fn hears(&mut self, now: Instant, from: IpAddr, user: &str, home: impl FnOnce() -> bool) -> bool {
        let source = Source::of(from);
        if !self.settings.enabled || !self.bans.is_banned(now, source, name_of(user)) {
            return true;
        }
        self.drop(Dropped::BannedUser);
        if !self.is_friend(from) && !self.seen(now, source).stubborn.take(now, STUBBORN, 1) {
            self.doubt(now, source, Ground::Hammering, home);
        }
        false
    }

    /// A wrong password on a nonce that was sent to this very source: proof (rule 23).
    pub fn failed(&mut self, now: Instant, from: IpAddr, user: &str, home: impl FnOnce() -> bool) {
        if !self.settings.enabled || self.is_friend(from) {
            return;
        }
        let source = Source::of(from);
        let (limit, window) = (self.settings.failures, self.settings.window);
        let key = (source, name_of(user).to_owned());
        let times = self.failures.touch(key.clone(), VecDeque::new);
        push(times, limit, now);
        if is_full(times, limit, now, window) {
            self.failures.remove(&key);
            self.ban(now, source, Some(&key.1), Ground::Guessing);
        }
        let limit = limit.saturating_mul(BANNED_USERS);
        let times = self.spread.touch(source, VecDeque::new);
        push(times, limit, now);
        let spread = is_full(times, limit, now, window);
        if (spread || self.bans.users(now, source) >= BANNED_USERS) && !home() {
            self.spread.remove(&source);
            self.ban(now, source, None, Ground::Guessing);
        }
    }

    /// Somebody proved to be `user`; until `until` the source may send more.
    pub fn proved(&mut self, now: Instant, from: IpAddr, user: &str, until: Instant) {
        let source = Source::of(from);
        self.failures.remove(&(source, name_of(user).to_owned()));
        let trusted = self.proven.touch(source, || until);
        *trusted = until.max(*trusted);
        if self.bans.believe(now, source) {
            tracing::info!(%source, "the source is no longer doubted: a phone there proved itself");
        }
        let seen = self.seen(now, source);
        seen.names.clear();
        seen.garbage.clear();
    }

    fn ban(&mut self, now: Instant, source: Source, user: Option<&str>, ground: Ground) {
        let length = self.bans.place(now, source, user, ground);
        *self.figures.bans.entry(ground).or_default() += 1;
        let (pace, untold) = self.told.get_or_insert_with(|| (Pace::new(now), 0));
        if !pace.take(now, TOLD, 1) {
            *untold += 1;
            return;
        }
        let untold = std::mem::take(untold);
        if let Some(user) = user.filter(|_| self.placed.len() < MOST_PLACED) {
            let (user, left) = (user.to_owned(), length);
            self.placed.push(Placed { source, user, ground, left, untold });
        }
        let (user, seconds) = (user.map(|user| Masked::new(user.to_owned())), length.as_secs());
        let ground = ground.as_str();
        let user = user.as_ref().map(tracing::field::display);
        tracing::warn!(%source, user, ground, seconds, untold, "banned");
    }

    /// Bans of users that began, no more often than the log tells of bans.
    pub fn take_placed(&mut self) -> Vec<Placed> {
        std::mem::take(&mut self.placed)
    }

    /// The bans that hold.
    #[must_use]
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        self.bans.list(now)
    }

    /// Ends the bans of a source, or of one user there, and what led to them; says how many held.
    pub fn lift(&mut self, now: Instant, source: Source, user: Option<&str>) -> usize {
        self.seen.remove(&source);
        self.spread.remove(&source);
        self.bans.lift(now, source, user)
    }

    /// Counters, and how many bans hold.
    #[must_use]
    pub fn figures(&self, now: Instant) -> DefenceFigures {
        let bans = self.bans.list(now);
        let users = bans.iter().filter(|ban| ban.user.is_some()).count();
        DefenceFigures { sources: bans.len() - users, users, ..self.figures.clone() }
    }
}

/// The part of a claimed name that is remembered.
fn name_of(user: &str) -> &str {
    let end = user.char_indices().nth(NAME).map_or(user.len(), |(at, _)| at);
    user.get(..end).unwrap_or(user)
}

/// Tells names apart; a collision costs a scanner nothing but one name more.
fn digest_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Adds to the last `limit` of something.
fn push<T>(list: &mut VecDeque<T>, limit: usize, item: T) {
    while list.len() >= limit.max(1) {
        list.pop_front();
    }
    list.push_back(item);
}

/// Whether `limit` things happened within `window`.
fn is_full(times: &VecDeque<Instant>, limit: usize, now: Instant, window: Duration) -> bool {
    times.len() >= limit && times.front().is_some_and(|at| now.duration_since(*at) < window)
}
