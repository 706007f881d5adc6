//! A network by seed: datagrams, Graph and webhooks under way, some late, some twice, some never.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard::call::{ActionKind, Input};
use cordboard::id::CallId;
use cordboard::random::Random;
use cordboard::whatsapp::{Action, CallEvent};

/// What one kind of traffic suffers.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub delay: Duration,
    /// Each datagram is later than that by less than this; later ones overtake.
    pub jitter: Duration,
    pub loss_percent: u32,
    pub duplicate_percent: u32,
}

impl Path {
    pub const fn clean(delay_ms: u64) -> Self {
        let delay = Duration::from_millis(delay_ms);
        Self { delay, jitter: Duration::ZERO, loss_percent: 0, duplicate_percent: 0 }
    }

    pub const fn rough(loss_percent: u32, jitter_ms: u64) -> Self {
        let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(jitter_ms));
        Self { delay, jitter, loss_percent, duplicate_percent: 10 }
    }
}

/// Something that arrives.
#[derive(Clone, Debug)]
pub enum Arrival {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Graph(CallId, Action),
    GraphReply(CallId, ActionKind, Input),
    Webhook(CallEvent),
    Stored(CallId, Input),
}

pub struct Network {
    pub sip: Path,
    pub phone_media: Path,
    pub meta_media: Path,
    pub webhooks: Path,
    random: Random,
    under_way: BTreeMap<(Instant, u64), Arrival>,
    count: u64,
}

impl Network {
    pub fn new(random: Random) -> Self {
        Self {
            sip: Path::clean(5),
            phone_media: Path::clean(5),
            meta_media: Path::clean(20),
            webhooks: Path::clean(40),
            random,
            under_way: BTreeMap::new(),
            count: 0,
        }
    }

    /// Surely, after `delay`.
    pub fn deliver(&mut self, now: Instant, delay: Duration, arrival: Arrival) {
        self.count += 1;
        self.under_way.insert((now + delay, self.count), arrival);
    }

    /// As the path likes.
    pub fn post(&mut self, now: Instant, path: Path, arrival: &Arrival) {
        let copies = 1 + u32::from(self.random.below(100) < path.duplicate_percent);
        for _ in 0..copies {
            if self.random.below(100) < path.loss_percent {
                continue;
            }
            let most = u32::try_from(path.jitter.as_millis()).unwrap_or(0);
            let late = Duration::from_millis(self.random.below(most).into());
            self.deliver(now, path.delay + late, arrival.clone());
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    pub fn take_due(&mut self, now: Instant) -> Option<Arrival> {
        let entry = self.under_way.first_entry().filter(|it| it.key().0 <= now)?;
        Some(entry.remove())
    }
}
