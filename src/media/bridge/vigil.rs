//! Whether the phone is still heard: one that died leaves its call, and the bill for it, to WhatsApp.

use std::time::{Duration, Instant};

/// How long the phone has been silent, in RTP and RTCP.
///
/// Silence proves nothing: a muted phone may send no comfort noise and no reports. It only makes somebody ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vigil {
    after: Duration,
    /// Heard last, or asked for last; `None` until the phone was heard.
    since: Option<Instant>,
}

impl Vigil {
    pub(super) const fn new(after: Duration) -> Self {
        Self { after, since: None }
    }

    pub(super) const fn heard(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// It has spoken in signalling, or was silent because it held the call.
    pub(super) fn excused(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }

    /// Another phone, which nobody has heard.
    pub(super) const fn begin_anew(&mut self) {
        self.since = None;
    }

    /// When [`Self::take_due`] has something.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.after)
    }

    /// Whether somebody should ask now; the next time is as far away again.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            self.since = Some(now);
        }
        due
    }
}
