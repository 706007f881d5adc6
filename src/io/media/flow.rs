//! The packet counters of a worker's calls, the live ones included: told every second, and at a call's end.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::media::DirectionSummary;

/// How many counters there are.
const COUNTERS: usize = 11;

/// What was counted of one direction; only goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flow {
    /// RTP packets received.
    pub packets_in: u64,
    /// Their payload bytes.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Their payload bytes.
    pub bytes_out: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Packets that could not be used.
    pub refused: u64,
    /// Frames restored from redundancy.
    pub recovered: u64,
    /// Frames invented.
    pub concealed: u64,
    /// Frames of comfort noise.
    pub comfort: u64,
}

impl Flow {
    const fn counters(&self) -> [u64; COUNTERS] {
        let Self { packets_in, bytes_in, packets_out, bytes_out, lost, .. } = *self;
        let Self { late, duplicates, refused, recovered, concealed, comfort, .. } = *self;
        [
            packets_in,
            bytes_in,
            packets_out,
            bytes_out,
            lost,
            late,
            duplicates,
            refused,
            recovered,
            concealed,
            comfort,
        ]
    }

    const fn of(counters: [u64; COUNTERS]) -> Self {
        let [packets_in, bytes_in, packets_out, bytes_out, lost, rest @ ..] = counters;
        let [late, duplicates, refused, recovered, concealed, comfort] = rest;
        Self {
            packets_in,
            bytes_in,
            packets_out,
            bytes_out,
            lost,
            late,
            duplicates,
            refused,
            recovered,
            concealed,
            comfort,
        }
    }

    /// Adds what another worker counted.
    pub(super) fn merge(&mut self, other: &Self) {
        let (mine, theirs) = (self.counters(), other.counters());
        *self = Self::of(std::array::from_fn(|at| mine[at] + theirs[at]));
    }
}

impl From<&DirectionSummary> for Flow {
    fn from(figures: &DirectionSummary) -> Self {
        Self {
            packets_in: figures.packets_in,
            bytes_in: figures.bytes_in,
            packets_out: figures.packets_out,
            bytes_out: figures.bytes_out,
            lost: figures.lost,
            late: figures.late,
            duplicates: figures.duplicates,
            refused: figures.refused,
            recovered: figures.recovered,
            concealed: figures.concealed,
            comfort: figures.comfort,
        }
    }
}

/// A [`Flow`] that one thread writes and others read.
#[derive(Debug, Default)]
pub(super) struct SharedFlow([AtomicU64; COUNTERS]);

impl SharedFlow {
    /// Adds what a call has counted since it was `told` of last. A count that went back, as loss does when
    /// a late packet comes, waits until it is ahead again: a counter never falls.
    pub(super) fn add(&self, told: &mut Flow, now: &Flow) {
        let (before, now) = (told.counters(), now.counters());
        for (at, shared) in self.0.iter().enumerate() {
            shared.fetch_add(now[at].saturating_sub(before[at]), Ordering::Relaxed);
        }
        *told = Flow::of(std::array::from_fn(|at| now[at].max(before[at])));
    }

    pub(super) fn read(&self) -> Flow {
        Flow::of(std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_of_several_calls_never_falls_though_loss_does() {
        let (shared, mut one, mut two) = (SharedFlow::default(), Flow::default(), Flow::default());
        let lost = |lost| Flow { lost, comfort: 7, ..Flow::default() };
        shared.add(&mut one, &lost(5));
        shared.add(&mut two, &lost(1));
        shared.add(&mut one, &lost(3));
        assert_eq!(shared.read(), Flow { lost: 6, comfort: 14, ..Flow::default() });
        shared.add(&mut one, &lost(8));
        assert_eq!(shared.read().lost, 9);
        let mut sum = Flow { packets_in: 2, ..shared.read() };
        sum.merge(&shared.read());
        assert_eq!((sum.lost, sum.packets_in, sum.comfort), (18, 2, 28));
    }
}
