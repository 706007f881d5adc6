//! How webhooks ended, as plain counters that `/metrics` reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;

use crate::io::spans::{SharedSpans, Spans};

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident $label:literal $status:ident;)*) => {
        /// How one request ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum WebhookOutcome { $($(#[$doc])* $name,)* }

        impl WebhookOutcome {
            /// Every outcome.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A short name for metrics; a closed set.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }
        }
    };
}

outcomes! {
    /// Signed, readable and durable.
    Accepted "accepted" OK;
    /// The verification handshake succeeded.
    Verified "verified" OK;
    /// The verification handshake came with a wrong token.
    BadToken "bad_token" FORBIDDEN;
    /// Not signed with any of our app secrets.
    BadSignature "bad_signature" UNAUTHORIZED;
    /// Longer than Meta's bodies get.
    TooLarge "too_large" PAYLOAD_TOO_LARGE;
    /// The body did not arrive in time.
    TooSlow "too_slow" REQUEST_TIMEOUT;
    /// The connection broke within the body.
    Broken "broken" BAD_REQUEST;
    /// Signed, but not Meta's JSON.
    Unreadable "unreadable" BAD_REQUEST;
    /// Too many bodies at once.
    Overloaded "overloaded" SERVICE_UNAVAILABLE;
    /// The store is down, full or slow.
    StoreDown "store_down" SERVICE_UNAVAILABLE;
}

/// Counters of the endpoint.
#[derive(Debug, Default)]
pub struct WebhookCounters {
    outcomes: [AtomicU64; WebhookOutcome::ALL.len()],
    new: AtomicU64,
    repeated: AtomicU64,
    ignored: AtomicU64,
    flawed: AtomicU64,
    times: SharedSpans,
}

/// What [`WebhookCounters`] hold at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookFigures {
    /// Requests by how they ended.
    pub outcomes: Vec<(WebhookOutcome, u64)>,
    /// Events passed on.
    pub new: u64,
    /// Events that were known already.
    pub repeated: u64,
    /// Events that nothing acts on.
    pub ignored: u64,
    /// Items that were skipped because they are broken.
    pub flawed: u64,
    /// Signed requests by the time from their headers to their answer.
    pub times: Spans,
}

impl WebhookCounters {
    /// Counts a request.
    pub(super) fn count(&self, outcome: WebhookOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests ended so.
    #[must_use]
    pub fn of(&self, outcome: WebhookOutcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    pub(super) fn received(&self, new: usize, repeated: usize) {
        add(&self.new, new);
        add(&self.repeated, repeated);
    }

    pub(super) fn ignored(&self, count: usize) {
        add(&self.ignored, count);
    }

    pub(super) fn flawed(&self, count: usize) {
        add(&self.flawed, count);
    }

    pub(super) fn took(&self, time: Duration) {
        self.times.add(time);
    }

    /// All of them.
    #[must_use]
    pub fn figures(&self) -> WebhookFigures {
        let read = |it: &AtomicU64| it.load(Ordering::Relaxed);
        WebhookFigures {
            outcomes: WebhookOutcome::ALL.iter().map(|it| (*it, self.of(*it))).collect(),
            new: read(&self.new),
            repeated: read(&self.repeated),
            ignored: read(&self.ignored),
            flawed: read(&self.flawed),
            times: self.times.read(),
        }
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter_and_every_signed_request_a_time() {
        let counters = WebhookCounters::default();
        for outcome in WebhookOutcome::ALL {
            counters.count(*outcome);
        }
        counters.took(Duration::from_millis(1));
        counters.took(Duration::from_secs(9));
        let figures = counters.figures();
        assert!(figures.outcomes.iter().all(|(_, count)| *count == 1));
        assert_eq!((figures.times.count(), figures.times.sum), (2, Duration::from_millis(9001)));
    }
}
