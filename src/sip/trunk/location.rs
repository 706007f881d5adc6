//! What is known of where a trunk's name is: fresh, stale, or nothing; and when DNS is asked again.
//!
//! A name is asked for ahead of its end, so that no call waits for it. While no resolver answers, the old answer
//! goes on being used (RFC 8767); that a name does not exist is remembered, too (RFC 2308).

use std::time::{Duration, Instant};

use super::super::locate::{LocateFailure, Located, Sought};
use super::servers::TrunkServer;

/// A server of a trunk that is given by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedServer {
    /// What DNS is asked for.
    pub sought: Sought,
    /// Lower ones are tried first; among its own servers SRV decides.
    pub priority: u16,
    /// Its share where SRV gives none.
    pub weight: u16,
}

/// How long answers of DNS are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocateSettings {
    /// A call waits so long for a name of which nothing is known.
    pub patience: Duration,
    /// An answer is used so long after its end while no resolver answers (RFC 8767 §5).
    pub stale: Duration,
}

impl Default for LocateSettings {
    fn default() -> Self {
        Self { patience: Duration::from_secs(2), stale: Duration::from_secs(86_400) }
    }
}

/// How well a name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameState {
    /// Its servers are known.
    Fresh,
    /// The servers that are known should have been asked for again; no resolver answers.
    Stale,
    /// Nobody has answered yet.
    Unknown,
    /// DNS says that there are none.
    Nowhere,
}

/// An answer holds for no less: some names have a life of 0 s.
const SHORTEST: Duration = Duration::from_secs(5);
/// An answer is asked for again after no more.
const LONGEST: Duration = Duration::from_hours(24);
/// A "no" is remembered for no more (RFC 2308 §5 speaks of hours, but a mistake in a zone should not last).
const LONGEST_NO: Duration = Duration::from_mins(5);
/// After so long without an answer the next try comes; doubled with each further one (RFC 9520 §3.2).
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Known {
    located: Located,
    fresh_until: Instant,
    usable_until: Instant,
    /// `fresh_until` has passed.
    stale: bool,
}

/// One name.
#[derive(Debug)]
pub(in crate::sip) struct Location {
    named: NamedServer,
    stale: Duration,
    known: Option<Known>,
    /// DNS says until then that there is nothing.
    nowhere_until: Option<Instant>,
    /// When to ask; `None` before the start.
    next: Option<Instant>,
    asking: bool,
    failures: u32,
    failed_at: Option<Instant>,
}

impl Location {
    pub(in crate::sip) fn new(named: NamedServer, settings: LocateSettings) -> Self {
        Self {
            named,
            stale: settings.stale,
            known: None,
            nowhere_until: None,
            next: None,
            asking: false,
            failures: 0,
            failed_at: None,
        }
    }

    /// Begins to ask.
    pub(in crate::sip) fn start(&mut self, now: Instant) {
        self.next = Some(now);
    }

    pub(in crate::sip) fn named(&self) -> &NamedServer {
        &self.named
    }

    /// A call needs the name: it is asked for now, if nobody has failed to answer in the last second.
    pub(in crate::sip) fn hurry(&mut self, now: Instant) {
        let earliest = self.failed_at.map_or(now, |at| at + SHORTEST_PAUSE);
        if let Some(next) = self.next.filter(|_| self.known.is_none() && self.nowhere_until.is_none()) {
            self.next = Some(next.min(earliest.max(now)));
        }
    }

    /// Whether a call may wait for an answer.
    pub(in crate::sip) fn is_open(&self) -> bool {
        self.known.is_none() && self.nowhere_until.is_none() && self.next.is_some()
    }

    /// What to ask for now; the answer is told by [`Location::answered`], whatever it is.
    pub(in crate::sip) fn take_question(&mut self, now: Instant) -> Option<Sought> {
        if self.asking || self.next.is_none_or(|at| at > now) {
            return None;
        }
        self.asking = true;
        Some(self.named.sought.clone())
    }

    /// Time passed; `true`: what was known is known no more.
    pub(in crate::sip) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.nowhere_until.is_some_and(|until| until <= now) {
            self.nowhere_until = None;
        }
        if let Some(known) = &mut self.known {
            known.stale = known.fresh_until <= now;
        }
        let over = self.known.as_ref().is_some_and(|it| it.usable_until <= now);
        if over {
            self.known = None;
        }
        over
    }

    /// DNS answered, or did not; `true`: the servers may have changed.
    pub(in crate::sip) fn answered(&mut self, now: Instant, answer: Result<Located, LocateFailure>) -> bool {
        self.asking = false;
        match answer {
            Ok(located) => {
                let life = located.ttl.clamp(SHORTEST, LONGEST);
                let same = self.known.as_ref().is_some_and(|it| it.located.servers == located.servers);
                let fresh_until = now + life;
                let usable_until = fresh_until + self.stale;
                self.known = Some(Known { located, fresh_until, usable_until, stale: false });
                (self.nowhere_until, self.failures, self.failed_at) = (None, 0, None);
                // A fifth of its life is left for those who answer slowly.
                self.next = Some(now + life.mul_f64(0.8));
                !same
            }
            Err(LocateFailure::Nowhere(ttl)) => {
                (self.failures, self.failed_at) = (0, None);
                // What was promised holds until its end.
                if let Some(known) = self.known.as_ref().filter(|it| it.fresh_until > now) {
                    self.next = Some(known.fresh_until);
                    return false;
                }
                let until = now + ttl.clamp(SHORTEST, LONGEST_NO);
                (self.nowhere_until, self.next) = (Some(until), Some(until));
                self.known.take().is_some()
            }
            Err(LocateFailure::Unanswered) => {
                let pause = SHORTEST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
                self.failures = self.failures.saturating_add(1);
                self.failed_at = Some(now);
                self.next = Some(now + pause);
                false
            }
        }
    }

    /// The answer that counts.
    pub(in crate::sip) fn located(&self) -> Option<&Located> {
        self.known.as_ref().map(|it| &it.located)
    }

    /// The servers with the place that the name has among those of its trunk.
    pub(in crate::sip) fn servers(&self) -> impl Iterator<Item = (u16, TrunkServer)> {
        let of_srv = |it: &TrunkServer| it.priority != 0 || it.weight != 0;
        let servers = self.located().map_or(&[][..], |it| it.servers.as_slice());
        servers.iter().map(move |it| {
            let weight = if of_srv(it) { it.weight } else { self.named.weight };
            (self.named.priority, TrunkServer { weight, ..*it })
        })
    }

    /// As it was when time last passed.
    pub(in crate::sip) fn state(&self) -> NameState {
        match &self.known {
            Some(known) if known.stale => NameState::Stale,
            Some(_) => NameState::Fresh,
            None if self.nowhere_until.is_some() => NameState::Nowhere,
            None => NameState::Unknown,
        }
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Instant> {
        let ask = self.next.filter(|_| !self.asking);
        let end = self.known.as_ref().map(|it| if it.stale { it.usable_until } else { it.fresh_until });
        [ask, end, self.nowhere_until].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::flow::Transport;
    use super::super::super::locate::Families;
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    struct Rig {
        it: Location,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            let sought = Sought {
                host: "example.net".to_owned(),
                port: None,
                transport: None,
                families: Families::V4,
            };
            let named = NamedServer { sought, priority: 10, weight: 100 };
            let settings = LocateSettings { stale: seconds(3600), ..LocateSettings::default() };
            let (mut it, now) = (Location::new(named, settings), Instant::now());
            it.start(now);
            Self { it, now }
        }

        /// Waits for the next question; the seconds that passed.
        fn wait(&mut self) -> Duration {
            let began = self.now;
            loop {
                self.now = self.it.poll_timeout().expect("goes on").max(self.now);
                self.it.handle_timeout(self.now);
                if self.it.take_question(self.now).is_some() {
                    assert_eq!(self.it.take_question(self.now), None, "asked once");
                    return self.now - began;
                }
            }
        }

        fn found(&mut self, last: u8, ttl: u64) -> bool {
            let address = ([192, 0, 2, last], 5060).into();
            let servers = vec![TrunkServer { address, priority: 1, weight: 1 }];
            let located = Located { transport: Transport::Udp, servers, ttl: seconds(ttl) };
            self.it.answered(self.now, Ok(located))
        }

        fn fails(&mut self, failure: LocateFailure) -> bool {
            self.it.answered(self.now, Err(failure))
        }

        fn state(&self) -> NameState {
            self.it.state()
        }
    }

    #[test]
    fn a_name_is_asked_for_ahead_of_its_end_and_only_a_change_is_news() {
        let mut rig = Rig::new();
        assert!(rig.it.is_open());
        assert_eq!(rig.wait(), Duration::ZERO);
        assert!(rig.found(1, 100));
        assert_eq!(rig.wait(), seconds(80));
        assert_eq!(rig.state(), NameState::Fresh);
        assert!(!rig.found(1, 100));
        rig.wait();
        assert!(rig.found(2, 0), "a life of 0 s is 5 s here");
        assert_eq!(rig.wait(), seconds(4));
    }

    #[test]
    fn while_no_resolver_answers_the_old_answer_is_used_and_at_last_forgotten() {
        let mut rig = Rig::new();
        rig.wait();
        rig.found(1, 100);
        let known = rig.now;
        rig.wait();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(!rig.fails(LocateFailure::Unanswered));
            pauses.push(rig.wait().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(rig.state(), NameState::Stale);
        assert_eq!(rig.it.servers().count(), 1);
        rig.now = known + seconds(3700) - Duration::from_nanos(1);
        assert!(!rig.it.handle_timeout(rig.now));
        rig.now = known + seconds(3700);
        assert!(rig.it.handle_timeout(rig.now), "RFC 8767: not for ever");
        assert_eq!((rig.state(), rig.it.servers().count()), (NameState::Unknown, 0));
    }

    #[test]
    fn that_there_is_nothing_is_remembered_but_what_was_promised_holds_until_its_end() {
        let mut rig = Rig::new();
        rig.wait();
        rig.found(1, 100);
        rig.wait();
        assert!(!rig.fails(LocateFailure::Nowhere(seconds(60))));
        assert_eq!((rig.state(), rig.wait()), (NameState::Fresh, seconds(20)));
        assert!(rig.fails(LocateFailure::Nowhere(seconds(60))), "an answer, not a silence");
        assert_eq!(rig.state(), NameState::Nowhere);
        assert!(!rig.it.is_open());
        rig.it.hurry(rig.now);
        assert_eq!(rig.wait(), seconds(60), "no call makes DNS repeat its no");
        rig.fails(LocateFailure::Nowhere(seconds(86_400)));
        assert_eq!(rig.wait(), seconds(300));
        assert!(rig.found(3, 60));
    }

    #[test]
    fn a_call_hastens_the_next_try_but_not_within_a_second_of_the_last() {
        let mut rig = Rig::new();
        for _ in 0..6 {
            rig.wait();
            rig.fails(LocateFailure::Unanswered);
        }
        rig.it.hurry(rig.now);
        assert_eq!(rig.wait(), seconds(1));
        rig.fails(LocateFailure::Unanswered);
        rig.now += seconds(3);
        rig.it.hurry(rig.now);
        assert_eq!(rig.wait(), Duration::ZERO);
    }
}
