//! Deadlines by key: one per key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A set of deadlines; setting, removing and finding the earliest cost a tree step each.
#[derive(Clone, Debug)]
pub struct Schedule<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Schedule<K> {
    /// Sets, moves or (with `None`) removes the deadline of `key`.
    pub fn set(&mut self, key: &K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_key.insert(key.clone(), at),
            None => self.by_key.remove(key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key.clone()));
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn earliest(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one deadline that has passed.
    pub fn take_due(&mut self, now: Instant) -> Option<K> {
        if self.earliest()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_moves_and_is_taken_once_and_not_a_nanosecond_early() {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let mut schedule = Schedule::default();
        schedule.set(&"a", Some(at(10)));
        schedule.set(&"b", Some(at(5)));
        schedule.set(&"a", Some(at(3)));
        assert_eq!(schedule.earliest(), Some(at(3)));
        assert_eq!(schedule.take_due(at(3) - Duration::from_nanos(1)), None);
        assert_eq!(schedule.take_due(at(3)), Some("a"));
        schedule.set(&"b", None);
        assert_eq!((schedule.take_due(at(99)), schedule.earliest()), (None, None));
    }
}
