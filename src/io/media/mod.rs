//! The media engine: threads with sockets and clocks around [`crate::media::Bridge`].
//!
//! A call lives on one thread from its opening to its end; packets never change threads, take no
//! lock, write no log and allocate nothing here. Orders come by channel, reports leave by channel.

mod figures;
mod flow;
mod load;
mod ports;
mod relaying;
mod slot;
pub mod sys;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use self::figures::WorkerFigures;
use self::ports::{Ports, Width};
use self::worker::{Command, Shared, WAKE, Worker, lock};
use crate::id::CallId;
use crate::media::dtls::Identity;
use crate::media::tap::Inlet;
use crate::media::{
    Capacity, CapacityLimits, CapacityState, OpenRefusal, OpenSpec, Order, RelayOrder, RelaySpec, Report,
    WorkerLoad,
};
use crate::random::Random;
use crate::sdp::webrtc::FingerprintCase;

#[cfg(test)]
mod loopback;

pub use self::figures::{MediaFigures, WorkerShown};
pub use self::flow::Flow;
pub use self::ports::Realm;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// Threads; 0 means one per processor.
    pub workers: usize,
    /// Towards Meta.
    pub outside: Realm,
    /// Towards phones and trunks.
    pub inside: Realm,
    /// How long a port rests after use.
    pub quarantine: Duration,
    /// How the name of the fingerprint's hash is written towards Meta.
    pub fingerprint_case: FingerprintCase,
    /// When new calls get less effort, and when they are refused.
    pub limits: CapacityLimits,
}

impl MediaSettings {
    /// With the defaults: a thread per processor, 60 s of quarantine, lower-case `sha-256`, default limits.
    #[must_use]
    pub fn new(outside: Realm, inside: Realm) -> Self {
        Self {
            workers: 0,
            outside,
            inside,
            quarantine: Duration::from_secs(60),
            fingerprint_case: FingerprintCase::Lower,
            limits: CapacityLimits::default(),
        }
    }
}

/// The engine; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct MediaEngine(Arc<Engine>);

#[derive(Debug)]
struct Engine {
    workers: Vec<Line>,
    shared: Arc<Shared>,
    capacity: Mutex<Capacity>,
    reports: UnboundedSender<(CallId, Report)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The way to one worker.
#[derive(Debug)]
struct Line {
    commands: Sender<Command>,
    waker: Waker,
    figures: Arc<WorkerFigures>,
}

impl Line {
    fn send(&self, command: Command) -> bool {
        self.commands.send(command).is_ok() && self.waker.wake().is_ok()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for line in &self.workers {
            line.send(Command::Stop);
        }
    }
}

impl MediaEngine {
    /// Starts the threads; `reports` gets everything that every call's media tells.
    ///
    /// # Errors
    /// The kernel refused threads or pollers, or the cryptography library is broken.
    pub fn start(
        settings: MediaSettings,
        mut seed: Random,
        reports: UnboundedSender<(CallId, Report)>,
    ) -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if settings.workers == 0 { processors } else { settings.workers };
        let MediaSettings { outside, inside, quarantine, fingerprint_case, limits, .. } = settings;
        let shared = Arc::new(Shared {
            outside: Mutex::new(Ports::new(outside, Width::One, quarantine, seed.next_u32())),
            inside: Mutex::new(Ports::new(inside, Width::Pair, quarantine, seed.next_u32())),
            calls: Mutex::new(BTreeMap::new()),
            identity: Arc::new(Identity::generate().map_err(io::Error::other)?),
            fingerprint_case,
        });
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for at in 0..count {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (commands, receiver) = channel();
            let figures = Arc::new(WorkerFigures::default());
            let worker = Worker {
                index: at,
                poll,
                commands: receiver,
                reports: reports.clone(),
                shared: Arc::clone(&shared),
                figures: Arc::clone(&figures),
                random: seed.split(),
            };
            threads.push(std::thread::Builder::new().name(format!("media-{at}")).spawn(move || {
                // More threads than processors share them as the kernel likes.
                if count <= processors && sys::pin_to_processor(at).is_err() {
                    debug!(worker = at, "this media thread could not be pinned to a processor");
                }
                worker.run();
            })?);
            workers.push(Line { commands, waker, figures });
        }
        let capacity = Mutex::new(Capacity::new(limits));
        Ok(Self(Arc::new(Engine { workers, shared, capacity, reports, threads: Mutex::new(threads) })))
    }

    /// How a call that comes now is to be treated.
    #[must_use]
    pub fn judge(&self) -> CapacityState {
        let loads = self.loads();
        let mut capacity = lock(&self.0.capacity);
        let before = capacity.state();
        let state = capacity.judge(Instant::now(), &loads);
        if state != before {
            let (from, to) = (before.as_str(), state.as_str());
            let calls: u32 = loads.iter().map(|load| load.calls).sum();
            match state {
                CapacityState::Refusing => {
                    warn!(from, calls, "the media threads are full: new calls are refused");
                }
                _ => {
                    info!(from, to, calls, "the effort for new calls changes with the load");
                }
            }
        }
        state
    }

    fn loads(&self) -> Vec<WorkerLoad> {
        self.0.workers.iter().map(|line| line.figures.load()).collect()
    }

    /// Opens the media of a call on the first worker with room, or the least loaded one if all are busy; the answer is a report, [`Report::Opened`] or [`Report::Refused`]. A call that is open
    /// already is left alone.
    pub fn open(&self, call: CallId, spec: OpenSpec) {
        self.start_call(call, Command::Open(call, Box::new(spec)));
    }

    fn start_call(&self, call: CallId, command: Command) {
        let line = {
            let mut calls = lock(&self.0.shared.calls);
            if calls.contains_key(&call) {
                warn!(%call, "the media of this call is open already");
                return;
            }
            let chosen = lock(&self.0.capacity).place(&self.loads());
            let Some((at, line)) = chosen.and_then(|at| Some((at, self.0.workers.get(at)?))) else { return };
            calls.insert(call, at);
            line.figures.calls.fetch_add(1, Ordering::Relaxed);
            line
        };
        if !line.send(command) {
            lock(&self.0.shared.calls).remove(&call);
            line.figures.calls.fetch_sub(1, Ordering::Relaxed);
            let _ = self.0.reports.send((call, Report::Refused(OpenRefusal::Stopping)));
        }
    }

    /// Opens the media of a call between desks, likewise; the answer is a [`Report::Relay`] or [`Report::Refused`].
    pub fn open_relay(&self, call: CallId, spec: RelaySpec) {
        self.start_call(call, Command::OpenRelay(call, Box::new(spec)));
    }

    /// Passes an order to the media of a call between desks.
    pub fn order_relay(&self, call: CallId, order: RelayOrder) {
        self.tell(call, Command::OrderRelay(call, order));
    }

    /// Passes an order to a call's media; for a call that has none (any more) it does nothing.
    pub fn order(&self, call: CallId, order: Order) {
        self.tell(call, Command::Order(call, order));
    }

    /// Lets a recorder hear a call; without media of that name, the recording is over at once.
    pub fn record(&self, call: CallId, inlet: Inlet) {
        self.tell(call, Command::Record(call, inlet));
    }

    fn tell(&self, call: CallId, command: Command) {
        let at = lock(&self.0.shared.calls).get(&call).copied();
        if let Some(line) = at.and_then(|at| self.0.workers.get(at)) {
            line.send(command);
        }
    }

    /// The figures of all workers.
    #[must_use]
    pub fn figures(&self) -> MediaFigures {
        let mut figures = MediaFigures::default();
        for line in &self.0.workers {
            figures.add(&line.figures);
        }
        (figures.state, figures.call_cost, figures.capacity) = {
            let capacity = lock(&self.0.capacity);
            (capacity.state(), capacity.cost(), capacity.calls(self.0.workers.len()))
        };
        let now = Instant::now();
        figures.outside_ports = lock(&self.0.shared.outside).left(now);
        figures.inside_ports = lock(&self.0.shared.inside).left(now);
        figures
    }

    /// Closes every call and ends the threads; returns when they are gone.
    pub fn stop(&self) {
        for line in &self.0.workers {
            line.send(Command::Stop);
        }
        for thread in lock(&self.0.threads).drain(..) {
            if thread.join().is_err() {
                warn!("a media thread ended by a panic");
            }
        }
    }
}
