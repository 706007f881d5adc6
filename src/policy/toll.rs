//! What a stolen password can cost at most: calls of one phone, and of all, at once, in a minute and in a day.
//!
//! Toll fraud comes in bursts at night: a guessed password, then hundreds of calls to whoever pays the guesser. The
//! caps here hold whatever is dialled and before anything is asked of the store or of Meta. They are kept in memory:
//! a restart forgets what was begun before it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::id::PhoneName;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// How many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCaps {
    /// Up or being set up.
    pub at_once: u32,
    /// Begun in any minute.
    pub per_minute: u32,
    /// Begun in any 24 hours.
    pub per_day: u32,
}

/// The caps on dialling out; calls that come in are never refused by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TollCaps {
    /// Of each phone.
    pub per_phone: CallCaps,
    /// Of all phones and trunks together.
    pub together: CallCaps,
}

impl Default for TollCaps {
    fn default() -> Self {
        Self {
            per_phone: CallCaps { at_once: 10, per_minute: 20, per_day: 500 },
            together: CallCaps { at_once: 2000, per_minute: 1000, per_day: 50_000 },
        }
    }
}

/// Whose cap was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapReached {
    /// That of the phone.
    Phone,
    /// That of all.
    Together,
}

/// Counts what is dialled.
#[derive(Debug)]
pub struct TollGuard {
    caps: TollCaps,
    phones: BTreeMap<PhoneName, VecDeque<Instant>>,
    together: VecDeque<Instant>,
}

impl TollGuard {
    /// Nobody has dialled yet.
    #[must_use]
    pub const fn new(caps: TollCaps) -> Self {
        Self { caps, phones: BTreeMap::new(), together: VecDeque::new() }
    }

    /// Whether a call may begin, which is counted if so; a refused one counts for nothing.
    ///
    /// `phone` is who dials, with how many calls it has already; `None` for a trunk, which has caps of its own.
    /// `up` is how many calls there are at all.
    ///
    /// # Errors
    /// The cap that is reached.
    pub fn begin(
        &mut self,
        now: Instant,
        phone: Option<(&PhoneName, u32)>,
        up: u32,
    ) -> Result<(), CapReached> {
        forget(&mut self.together, now);
        if is_reached(self.caps.together, &self.together, now, up) {
            return Err(CapReached::Together);
        }
        if let Some((name, up)) = phone {
            let begun = self.phones.entry(name.clone()).or_default();
            forget(begun, now);
            if is_reached(self.caps.per_phone, begun, now, up) {
                return Err(CapReached::Phone);
            }
            begun.push_back(now);
        }
        self.together.push_back(now);
        Ok(())
    }
}

fn forget(begun: &mut VecDeque<Instant>, now: Instant) {
    while begun.front().is_some_and(|at| now.saturating_duration_since(*at) >= DAY) {
        begun.pop_front();
    }
}

fn is_reached(caps: CallCaps, begun: &VecDeque<Instant>, now: Instant, up: u32) -> bool {
    let old = begun.partition_point(|at| now.saturating_duration_since(*at) >= MINUTE);
    let reached = |many: usize, cap: u32| many >= cap as usize;
    up >= caps.at_once || reached(begun.len() - old, caps.per_minute) || reached(begun.len(), caps.per_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(per_phone: (u32, u32, u32), together: (u32, u32, u32)) -> TollGuard {
        let caps = |(at_once, per_minute, per_day)| CallCaps { at_once, per_minute, per_day };
        TollGuard::new(TollCaps { per_phone: caps(per_phone), together: caps(together) })
    }

    #[test]
    fn s4_a_phone_begins_so_many_calls_in_any_minute_and_in_any_day_to_the_nanosecond() {
        let mut guard = guard((9, 2, 3), (9, 99, 99));
        let (start, phone) = (Instant::now(), PhoneName::from("1001"));
        let mut dial = |millis: u64| guard.begin(start + Duration::from_millis(millis), Some((&phone, 0)), 0);
        assert_eq!((dial(0), dial(1000)), (Ok(()), Ok(())));
        assert_eq!(dial(59_999), Err(CapReached::Phone));
        assert_eq!(dial(60_000), Ok(()), "the first is a minute old");
        assert_eq!(dial(200_000), Err(CapReached::Phone), "three in a day");
        assert_eq!(dial(86_399_999), Err(CapReached::Phone));
        assert_eq!(dial(86_400_000), Ok(()), "the first is a day old");
    }

    #[test]
    fn s4_a_phone_has_so_many_calls_at_once_and_its_neighbour_is_not_asked_for_it() {
        let mut guard = guard((2, 99, 99), (4, 99, 99));
        let (now, phone, other) = (Instant::now(), PhoneName::from("1001"), PhoneName::from("1002"));
        assert_eq!(guard.begin(now, Some((&phone, 1)), 1), Ok(()));
        assert_eq!(guard.begin(now, Some((&phone, 2)), 2), Err(CapReached::Phone));
        assert_eq!(guard.begin(now, Some((&other, 0)), 2), Ok(()));
        assert_eq!(guard.begin(now, Some((&other, 1)), 4), Err(CapReached::Together));
        assert_eq!(guard.begin(now, None, 3), Ok(()), "a trunk has no cap of a phone");
        assert_eq!(guard.begin(now, None, 4), Err(CapReached::Together));
    }

    #[test]
    fn s4_five_hundred_phones_together_begin_no_more_than_all_may() {
        let mut guard = guard((9, 9, 9), (9, 30, 100));
        let start = Instant::now();
        let begun = (0..50_000_u32).filter(|number| {
            let phone = PhoneName::from(format!("{}", number % 500).as_str());
            guard.begin(start + Duration::from_secs(u64::from(*number)), Some((&phone, 0)), 0).is_ok()
        });
        assert_eq!(begun.count(), 100);
    }
}
