//! The bans there are: of a user at a source, and of whole sources.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::source::Source;

/// Why somebody is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// Wrong passwords, each with a nonce of ours that had made the way there and back.
    Guessing,
    /// Asked for many names and proved to be none of them.
    Searching,
    /// A tool that looks for gateways to abuse, or messages that are none.
    Scanning,
    /// Went on without a pause while a user of it was banned.
    Hammering,
}

impl Ground {
    /// Every ground, in order.
    pub const ALL: [Self; 4] = [Self::Guessing, Self::Searching, Self::Scanning, Self::Hammering];

    /// The word in metrics and lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guessing => "guessing",
            Self::Searching => "searching",
            Self::Scanning => "scanning",
            Self::Hammering => "hammering",
        }
    }

    /// Whether the sender's address cannot have been forged; a doubted source keeps a way to prove itself.
    #[must_use]
    pub const fn is_proof(self) -> bool {
        matches!(self, Self::Guessing)
    }
}

/// A ban as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is not heard.
    pub source: Source,
    /// As whom; `None`: as nobody at all.
    pub user: Option<String>,
    /// Why.
    pub ground: Ground,
    /// How long still.
    pub left: Duration,
    /// The how many-th ban in a row it is.
    pub times: u32,
    /// Messages dropped because of it.
    pub dropped: u64,
}

/// A ban of a user that has just begun.
#[derive(Clone, PartialEq, Eq)]
pub struct Placed {
    /// Who is not heard.
    pub source: Source,
    /// As whom: whatever was claimed.
    pub user: String,
    /// Why.
    pub ground: Ground,
    /// How long.
    pub left: Duration,
    /// Bans since the last one that was told, which are not.
    pub untold: u64,
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Placed({}, {})", self.source, self.ground.as_str())
    }
}

#[derive(Clone, Debug)]
struct Term {
    ground: Ground,
    until: Instant,
    length: Duration,
    times: u32,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Terms {
    whole: Option<Term>,
    users: BTreeMap<String, Term>,
}

/// How a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is against it.
    Free,
    /// Only what proves itself is heard.
    Doubted,
    /// Nothing is heard.
    Banned,
}

/// Every ban, and for a while those that are over: who comes back is banned for longer.
#[derive(Debug)]
pub struct Bans {
    first: Duration,
    longest: Duration,
    capacity: usize,
    terms: BTreeMap<Source, Terms>,
}

impl Bans {
    /// Nobody is banned. The first ban lasts `first`, each further one twice as long, up to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration, capacity: usize) -> Self {
        Self { first, longest, capacity, terms: BTreeMap::new() }
    }

    /// How a source stands; counts what is dropped.
    pub fn standing(&mut self, now: Instant, source: Source) -> Standing {
        let Some(term) = self.terms.get_mut(&source).and_then(|terms| terms.whole.as_mut()) else {
            return Standing::Free;
        };
        if term.until <= now {
            Standing::Free
        } else if term.ground.is_proof() {
            term.dropped += 1;
            Standing::Banned
        } else {
            Standing::Doubted
        }
    }

    /// Counts a message of a doubted source that proved nothing.
    pub fn note_dropped(&mut self, source: Source) {
        if let Some(term) = self.terms.get_mut(&source).and_then(|terms| terms.whole.as_mut()) {
            term.dropped += 1;
        }
    }

    /// Whether the user is banned at the source; counts what is dropped.
    pub fn is_banned(&mut self, now: Instant, source: Source, user: &str) -> bool {
        let term = self.terms.get_mut(&source).and_then(|terms| terms.users.get_mut(user));
        let Some(term) = term.filter(|term| term.until > now) else { return false };
        term.dropped += 1;
        true
    }

    /// Users of the source that are banned now.
    #[must_use]
    pub fn users(&self, now: Instant, source: Source) -> usize {
        let users = self.terms.get(&source).map(|terms| terms.users.values());
        users.into_iter().flatten().filter(|term| term.until > now).count()
    }

    /// Begins a ban and says how long it is; the address was looked at by whoever asks (rule 23).
    pub fn place(&mut self, now: Instant, source: Source, user: Option<&str>, ground: Ground) -> Duration {
        self.make_room(now);
        let terms = self.terms.entry(source).or_default();
        let before = match user {
            None => terms.whole.as_ref(),
            Some(user) => terms.users.get(user),
        };
        // Who stayed away for as long as the ban was begins anew.
        let again = before.filter(|term| now < term.until + term.length);
        let times = again.map_or(0, |term| term.times) + 1;
        let length = self.first.saturating_mul(1 << times.saturating_sub(1).min(20)).min(self.longest);
        let term = Term { ground, until: now + length, length, times, dropped: 0 };
        match user {
            None => terms.whole = Some(term),
            Some(user) => {
                terms.users.insert(user.to_owned(), term);
            }
        }
        length
    }

    /// Takes away what is over and forgiven, and if that is not enough, the ban that would end first.
    fn make_room(&mut self, now: Instant) {
        let all = |terms: &BTreeMap<Source, Terms>| {
            terms.values().map(|terms| terms.users.len() + usize::from(terms.whole.is_some())).sum::<usize>()
        };
        if all(&self.terms) < self.capacity {
            return;
        }
        let keep = |term: &Term| now < term.until + term.length;
        self.retain(|_, _, term| keep(term));
        if all(&self.terms) >= self.capacity
            && let Some((_, source, user)) = self
                .terms
                .iter()
                .flat_map(|(source, terms)| {
                    let whole = terms.whole.iter().map(|term| (term.until, *source, None));
                    let users =
                        terms.users.iter().map(|(user, term)| (term.until, *source, Some(user.clone())));
                    whole.chain(users)
                })
                .min()
        {
            self.retain(|at, of, _| at != source || of != user.as_deref());
        }
    }

    fn retain(&mut self, keep: impl Fn(Source, Option<&str>, &Term) -> bool) {
        self.terms.retain(|source, terms| {
            terms.whole = terms.whole.take().filter(|term| keep(*source, None, term));
            terms.users.retain(|user, term| keep(*source, Some(user), term));
            terms.whole.is_some() || !terms.users.is_empty()
        });
    }

    /// Ends the doubt about a source that has proved itself; a ban stays.
    pub fn believe(&mut self, now: Instant, source: Source) -> bool {
        let whole = self.terms.get_mut(&source).map(|terms| &mut terms.whole);
        let term = whole.and_then(|whole| whole.take_if(|term| !term.ground.is_proof()));
        term.is_some_and(|term| term.until > now)
    }

    /// Ends the bans of a source, or of one user there; says how many held.
    pub fn lift(&mut self, now: Instant, source: Source, user: Option<&str>) -> usize {
        let hit = |at: Source, of: Option<&str>| at == source && (user.is_none() || of == user);
        let held = self.list(now).iter().filter(|ban| hit(ban.source, ban.user.as_deref())).count();
        self.retain(|at, of, _| !hit(at, of));
        held
    }

    /// The bans that hold.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Ban> {
        let ban = |source: Source, user: Option<&String>, term: &Term| Ban {
            source,
            user: user.cloned(),
            ground: term.ground,
            left: term.until.saturating_duration_since(now),
            times: term.times,
            dropped: term.dropped,
        };
        let all = self.terms.iter().flat_map(|(source, terms)| {
            let whole = terms.whole.iter().map(|term| ban(*source, None, term));
            whole.chain(terms.users.iter().map(|(user, term)| ban(*source, Some(user), term)))
        });
        all.filter(|ban| !ban.left.is_zero()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of([192, 0, 2, last].into())
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_ban_ends_on_time_doubles_for_who_comes_back_and_is_forgiven_after_its_own_length() {
        let (zero, it) = (Instant::now(), source(1));
        let mut bans = Bans::new(5 * MINUTE, 15 * MINUTE, 10);
        let at = |minutes: u32| zero + MINUTE * minutes;
        assert_eq!(bans.place(at(0), it, Some("1001"), Ground::Guessing), 5 * MINUTE);
        let last = at(5).checked_sub(Duration::from_nanos(1)).unwrap();
        assert!(bans.is_banned(last, it, "1001") && !bans.is_banned(at(5), it, "1001"));
        assert!(!bans.is_banned(at(1), it, "1002") && !bans.is_banned(at(1), source(2), "1001"));
        assert_eq!(bans.place(at(9), it, Some("1001"), Ground::Guessing), 10 * MINUTE);
        assert_eq!(bans.place(at(20), it, Some("1001"), Ground::Guessing), 15 * MINUTE, "the longest");
        assert_eq!(bans.place(at(50), it, Some("1001"), Ground::Guessing), 5 * MINUTE, "forgiven");
        assert_eq!(bans.standing(at(50), it), Standing::Free, "the source itself is heard");
    }

    #[test]
    fn doubt_ends_with_a_proof_and_a_proven_ban_does_not() {
        let now = Instant::now();
        let mut bans = Bans::new(MINUTE, MINUTE, 10);
        bans.place(now, source(1), None, Ground::Searching);
        bans.place(now, source(2), None, Ground::Guessing);
        assert_eq!(bans.standing(now, source(1)), Standing::Doubted);
        assert_eq!(bans.standing(now, source(2)), Standing::Banned);
        assert!(bans.believe(now, source(1)) && !bans.believe(now, source(2)));
        assert_eq!(bans.standing(now, source(1)), Standing::Free);
        assert_eq!(bans.standing(now, source(2)), Standing::Banned);
        assert_eq!((bans.lift(now, source(2), None), bans.list(now)), (1, Vec::new()));
    }

    #[test]
    fn a_full_table_lets_go_of_what_ends_first() {
        let now = Instant::now();
        let mut bans = Bans::new(MINUTE, MINUTE, 3);
        for last in 1..=5 {
            bans.place(now + Duration::from_secs(last.into()), source(last), None, Ground::Scanning);
        }
        let left: Vec<Source> = bans.list(now).iter().map(|ban| ban.source).collect();
        assert_eq!(left, [source(3), source(4), source(5)]);
    }

    #[test]
    fn one_user_can_be_lifted_alone() {
        let now = Instant::now();
        let mut bans = Bans::new(MINUTE, MINUTE, 10);
        bans.place(now, source(1), Some("1001"), Ground::Guessing);
        bans.place(now, source(1), Some("1002"), Ground::Guessing);
        assert_eq!(bans.users(now, source(1)), 2);
        assert_eq!(bans.lift(now, source(1), Some("1001")), 1);
        assert!(!bans.is_banned(now, source(1), "1001") && bans.is_banned(now, source(1), "1002"));
    }
}
