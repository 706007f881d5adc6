//! How fast something may happen: a bucket that a rate fills and events empty.

use std::time::{Duration, Instant};

/// So many events a second in the long run, and `burst` of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events a second; at least one.
    pub per_second: u32,
    /// Events that may come at once after a rest.
    pub burst: u32,
}

impl Rate {
    /// The rate times `factor`.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        Self { per_second: self.per_second.saturating_mul(factor), burst: self.burst.saturating_mul(factor) }
    }

    /// The time that one event takes up.
    fn each(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// Keeps a [`Rate`] with one time stamp: when the bucket will be full again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    full_at: Instant,
}

impl Pace {
    /// A full bucket.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether `cost` events may happen now; if so, they have.
    pub fn take(&mut self, now: Instant, rate: Rate, cost: u32) -> bool {
        let full_at = self.full_at.max(now) + rate.each().saturating_mul(cost);
        if full_at.duration_since(now) > rate.each().saturating_mul(rate.burst) {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let zero = Instant::now();
        let (rate, mut pace) = (Rate { per_second: 10, burst: 3 }, Pace::new(zero));
        let at = |millis| zero + Duration::from_millis(millis);
        assert_eq!([0; 4].map(|_| pace.take(zero, rate, 1)), [true, true, true, false]);
        assert!(!pace.take(at(99), rate, 1));
        assert!(pace.take(at(100), rate, 1) && !pace.take(at(100), rate, 1));
        // A rest fills it up, and no further.
        assert_eq!([0; 4].map(|_| pace.take(at(60_000), rate, 1)), [true, true, true, false]);
        assert!(!pace.take(at(120_000), rate, 4) && pace.take(at(120_000), rate, 3));
    }
}
