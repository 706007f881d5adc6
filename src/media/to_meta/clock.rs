//! Phones whose clock is not ours: set back, or slower than the line.

use std::time::{Duration, Instant};

use super::ToMeta;
use crate::codec::MAX_FRAME_SAMPLES;
use crate::media::frames::Frames;
use crate::media::line::SLOT;

/// Frames over which the smallest lag is taken: above one slot, the sender's clock runs behind.
pub(super) const LAG_WINDOW: u32 = 50;
/// Lag that is made good at once.
const MOST_INSERTED: Duration = Duration::from_millis(200);

impl ToMeta {
    /// Tells a sender whose clock stood still from a late burst: it stays behind at its normal pace.
    pub(super) fn is_set_back(&mut self, now: Instant, marker: bool) -> bool {
        let (since, count) = self.late_since.get_or_insert((now, 0));
        *count += 1;
        let span = now.saturating_duration_since(*since);
        marker || (*count > 2 && span >= Duration::from_millis(8) * *count && span >= SLOT * 2)
    }

    /// Inserts a frame when the sender has been more than a slot behind the clock for a while.
    pub(super) fn watch_lag(&mut self, now: Instant, lag: Duration, out: &mut Frames) {
        self.smallest_lag = self.smallest_lag.min(lag);
        self.lag_count += 1;
        if self.lag_count < LAG_WINDOW {
            return;
        }
        let mut surplus = self.smallest_lag.min(MOST_INSERTED);
        while surplus > SLOT {
            let mut storage = [0; MAX_FRAME_SAMPLES];
            let frame = &mut storage[..self.rate.frame()];
            self.concealer.invent(frame);
            self.figures.concealed += 1;
            self.encode(now, frame, None, out);
            surplus -= SLOT;
        }
        self.lag_count = 0;
        self.smallest_lag = Duration::MAX;
    }
}
