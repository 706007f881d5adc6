//! Transactions: retransmission, absorption and time-outs (RFC 3261 §17, RFC 6026); over a stream time-outs only.

pub mod client;
pub mod schedule;
pub mod server;

use std::time::{Duration, Instant};

use super::message::{Head, Method, Request};

pub use client::{Client, ClientKey};
pub use schedule::Schedule;
pub use server::{Server, ServerKey};

/// The base timers (RFC 3261 table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate; the first retransmission interval.
    pub t1: Duration,
    /// The longest retransmission interval of everything but an INVITE.
    pub t2: Duration,
    /// How long a message stays in the network.
    pub t4: Duration,
}

impl Default for Timers {
    /// 500 ms, 4 s, 5 s.
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// Timers B, D, F, H, J, L and M: 64 T1.
    #[must_use]
    pub fn give_up(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

/// A message sent again at growing intervals until something stops it.
#[derive(Clone, Debug)]
pub struct Resend {
    interval: Duration,
    longest: Option<Duration>,
    /// When it is sent next.
    pub next: Instant,
}

impl Resend {
    /// First after T1, then doubling; up to T2 if `capped`.
    #[must_use]
    pub fn new(now: Instant, timers: &Timers, capped: bool) -> Self {
        Self { interval: timers.t1, longest: capped.then_some(timers.t2), next: now + timers.t1 }
    }

    /// From now on at the longest interval (a request that was answered provisionally, RFC 3261 §17.1.2.2).
    pub fn slow_down(&mut self, now: Instant) {
        if let Some(longest) = self.longest {
            self.interval = longest;
            self.next = self.next.max(now);
        }
    }

    /// Whether it is due; if so, sets the next time.
    pub fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.interval = self.interval.saturating_mul(2);
        if let Some(longest) = self.longest {
            self.interval = self.interval.min(longest);
        }
        self.next = now + self.interval;
        true
    }
}

/// What makes two INVITEs the same call attempt on different paths (RFC 3261 §8.2.2.2).
#[must_use]
pub fn merge_key(request: &Request, head: &Head) -> Option<String> {
    let fresh = head.to.tag().is_none() && !matches!(request.method, Method::Ack | Method::Cancel);
    let tag = head.from.tag()?;
    fresh.then(|| format!("{tag}\n{}\n{}", head.call_id, head.cseq))
}
