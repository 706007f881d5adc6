//! Counters of the media engine: written by one worker each, read by anybody, without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::flow::{Flow, SharedFlow};
use crate::media::{CapacityState, Histogram, WorkerLoad};

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
    /// Calls that were opened for speech.
    pub(super) talking: AtomicU64,
    /// The last measurement of the load; written as one thing, read as several: a reader may see halves of two.
    pub(super) measured: AtomicU64,
    pub(super) permille: AtomicU64,
    pub(super) measured_talking: AtomicU64,
    pub(super) lag_micros: AtomicU64,
    pub(super) worst_lag_micros: AtomicU64,
    pub(super) cpu_micros: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) send_errors: AtomicU64,
    pub(super) to_meta: SharedHistogram,
    pub(super) to_phone: SharedHistogram,
    pub(super) flow_to_meta: SharedFlow,
    pub(super) flow_to_phone: SharedFlow,
}

impl WorkerFigures {
    /// The load as last measured, with the calls of now.
    pub(super) fn load(&self) -> WorkerLoad {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let small = |counter: &AtomicU64| u32::try_from(read(counter)).unwrap_or(u32::MAX);
        let calls = small(&self.calls);
        let measured = read(&self.measured);
        // A thread without calls sleeps and measures nothing: what it measured last is of the past.
        if calls == 0 {
            return WorkerLoad { measured, ..WorkerLoad::default() };
        }
        WorkerLoad {
            utilisation: read(&self.permille) as f64 / 1000.0,
            lag: Duration::from_micros(read(&self.lag_micros)),
            talking: small(&self.measured_talking).min(calls),
            calls,
            measured,
        }
    }
}

/// What an administrator sees of one worker's load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerShown {
    /// Share of the last second in which it was awake, 0 to 1.
    pub utilisation: f64,
    /// The most belated thing of the last half minute.
    pub worst_lag: Duration,
    /// Processor time of the thread since its start, as of its last measurement.
    pub cpu: Duration,
}

/// The engine's figures at one moment, all workers together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaFigures {
    /// Calls per worker now.
    pub calls: Vec<u64>,
    /// Load per worker.
    pub workers: Vec<WorkerShown>,
    /// How a call that comes now is treated.
    pub state: CapacityState,
    /// What a talking call costs, as a share of a processor.
    pub call_cost: f64,
    /// Calls that all workers carry before new ones are refused, as far as is known.
    pub capacity: u64,
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
        self.workers.push(WorkerShown {
            utilisation: worker.load().utilisation,
            worst_lag: Duration::from_micros(read(&worker.worst_lag_micros)),
            cpu: Duration::from_micros(read(&worker.cpu_micros)),
        });
        self.opened += read(&worker.opened);
        self.refused += read(&worker.refused);
        self.panics += read(&worker.panics);
        self.behind += read(&worker.behind);
        self.received += read(&worker.received);
        self.sent += read(&worker.sent);
        self.send_errors += read(&worker.send_errors);
        self.to_meta.merge(&worker.to_meta.read());
        self.to_phone.merge(&worker.to_phone.read());
        self.flow_to_meta.merge(&worker.flow_to_meta.read());
        self.flow_to_phone.merge(&worker.flow_to_phone.read());
    }
}
