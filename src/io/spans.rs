//! Spans of our own work in buckets: written by many, read at a scrape, without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds; one more bucket is above them.
pub const BOUNDS_US: [u32; 13] =
    [250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// What was measured up to one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spans {
    /// Spans per bucket, the one without an upper bound last.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Spans {
    /// How many spans there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// (Upper bound in seconds, spans in this bucket alone), the last bound infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|micros| f64::from(*micros) / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts)
    }
}

/// Counters behind [`Spans`].
#[derive(Debug, Default)]
pub struct SharedSpans {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    micros: AtomicU64,
}

impl SharedSpans {
    /// One more.
    pub fn add(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.iter().position(|bound| micros <= u64::from(*bound));
        self.counts[at.unwrap_or(BOUNDS_US.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was measured so far.
    #[must_use]
    pub fn read(&self) -> Spans {
        Spans {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_stands_in_the_bucket_whose_bound_it_does_not_pass() {
        let shared = SharedSpans::default();
        for micros in [250, 251, 5_000_000, 5_000_001] {
            shared.add(Duration::from_micros(micros));
        }
        let spans = shared.read();
        assert_eq!((spans.count(), spans.sum), (4, Duration::from_micros(10_000_502)));
        let filled: Vec<(f64, u64)> = spans.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.000_25, 1), (0.000_5, 1), (5.0, 1), (f64::INFINITY, 1)]);
    }
}
