//! Counters of the media engine: written by one worker each, read by anybody, without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::flow::{Flow, SharedFlow};
use crate::media::Histogram;

const BUCKETS: usize = Histogram::BOUNDS.len() + 1;

/// A histogram that one thread writes and others read.
#[derive(Debug, Default)]
pub(super) struct SharedHistogram {
    counts: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl SharedHistogram {
    pub(super) fn add(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let at = Histogram::BOUNDS.iter().position(|bound| micros <= u64::from(*bound));
        self.counts[at.unwrap_or(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        let counts = std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed));
        Histogram::from_counts(counts, self.micros.load(Ordering::Relaxed))
    }
}

/// What one worker counts.
#[derive(Debug, Default)]
pub(super) struct WorkerFigures {
    pub(super) calls: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) behind: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) send_errors: AtomicU64,
    pub(super) to_meta: SharedHistogram,
    pub(super) to_phone: SharedHistogram,
    /// The worst delay of a timer in the last whole second, in microseconds.
    pub(super) lag: AtomicU64,
    pub(super) flow_to_meta: SharedFlow,
    pub(super) flow_to_phone: SharedFlow,
}

/// The engine's figures at one moment, all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaFigures {
    /// Calls per worker now.
    pub calls: Vec<u64>,
    /// Calls opened so far.
    pub opened: u64,
    /// Calls refused: no ports, or an offer that cannot be used.
    pub refused: u64,
    /// Bridges that panicked; each is a bug of ours.
    pub panics: u64,
    /// Times a worker did something more than 10 ms after it was due.
    pub behind: u64,
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the kernel did not take.
    pub send_errors: u64,
    /// From the kernel's receive stamp to after the send, phone to user.
    pub to_meta: Histogram,
    /// The same, user to phone.
    pub to_phone: Histogram,
    /// How late each worker served its timers at worst, in the last second.
    pub lag: Vec<Duration>,
    /// Packets from phones to users, live calls included.
    pub flow_to_meta: Flow,
    /// Packets from users to phones, live calls included.
    pub flow_to_phone: Flow,
    /// WhatsApp-leg ports free and resting.
    pub outside_ports: (usize, usize),
    /// SIP-leg port pairs free and resting.
    pub inside_ports: (usize, usize),
}

impl MediaFigures {
    pub(super) fn add(&mut self, worker: &WorkerFigures) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.calls.push(read(&worker.calls));
        self.opened += read(&worker.opened);
        self.refused += read(&worker.refused);
        self.panics += read(&worker.panics);
        self.behind += read(&worker.behind);
        self.received += read(&worker.received);
        self.sent += read(&worker.sent);
        self.send_errors += read(&worker.send_errors);
        self.to_meta.merge(&worker.to_meta.read());
        self.to_phone.merge(&worker.to_phone.read());
        self.lag.push(Duration::from_micros(read(&worker.lag)));
        self.flow_to_meta.merge(&worker.flow_to_meta.read());
        self.flow_to_phone.merge(&worker.flow_to_phone.read());
    }
}
