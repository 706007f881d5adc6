//! Both sides of a call on one time line, in stereo frames of 20 ms.

use std::time::Duration;

use super::clock::samples;
use super::side::{SideFigures, SideLine};
use crate::codec::{ARCHIVE_FRAME, ARCHIVE_RATE};
use crate::media::Side;
use crate::media::tap::Heard;

/// How long packets are waited for: jitter, reordering and losses are over by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Two samples for each moment: the user's left, the phone's right.
pub(super) type Frame = [i16; 2 * ARCHIVE_FRAME];

/// Both sides of one call.
#[derive(Debug)]
pub(super) struct TimeLine {
    user: SideLine,
    phone: SideLine,
    left: Vec<i16>,
    right: Vec<i16>,
    /// Samples that have left as frames.
    written: i64,
}

impl TimeLine {
    pub(super) fn new() -> Self {
        let (left, right) = (Vec::with_capacity(ARCHIVE_FRAME), Vec::with_capacity(ARCHIVE_FRAME));
        Self { user: SideLine::new(), phone: SideLine::new(), left, right, written: 0 }
    }

    pub(super) fn hear(&mut self, heard: &Heard<'_>) {
        match heard.side {
            Side::Meta => self.user.hear(heard),
            Side::Phone => self.phone.hear(heard),
        }
    }

    /// The next frame, once it is [`PATIENCE`] old at `now`, counted from the beginning.
    pub(super) fn next(&mut self, now: Duration) -> Option<Frame> {
        self.next_until(samples(now.saturating_sub(PATIENCE)))
    }

    /// The next frame of a call that ended at `end`.
    pub(super) fn next_last(&mut self, end: Duration) -> Option<Frame> {
        self.next_until(samples(end) + (ARCHIVE_FRAME as u64).cast_signed() - 1)
    }

    fn next_until(&mut self, until: i64) -> Option<Frame> {
        let end = self.written + (ARCHIVE_FRAME as u64).cast_signed();
        if end > until {
            return None;
        }
        self.left.clear();
        self.right.clear();
        self.user.take(end, &mut self.left);
        self.phone.take(end, &mut self.right);
        self.written = end;
        let mut frame = [0; 2 * ARCHIVE_FRAME];
        for (at, both) in frame.chunks_exact_mut(2).enumerate() {
            both[0] = self.left.get(at).copied().unwrap_or(0);
            both[1] = self.right.get(at).copied().unwrap_or(0);
        }
        Some(frame)
    }

    /// How long the recording is.
    pub(super) fn length(&self) -> Duration {
        Duration::from_micros(self.written.unsigned_abs() * 1_000_000 / u64::from(ARCHIVE_RATE))
    }

    /// What became of the packets of both sides.
    pub(super) fn figures(&self) -> SideFigures {
        let (user, phone) = (self.user.figures(), self.phone.figures());
        SideFigures {
            late: user.late + phone.late,
            restored: user.restored + phone.restored,
            broken: user.broken + phone.broken,
        }
    }
}
