//! Where a sender's time stamps lie on the time line of a recording.
//!
//! The sender's clock and ours run apart by some parts in a million and its packets come late by some
//! milliseconds, never early: the packet that came quickest of the last seconds tells where its clock stands.

use std::time::Duration;

use crate::codec::{ARCHIVE_RATE, AudioCodec};
use crate::media::tap::Heard;
use crate::rtp::{RtpTime, Ssrc};

/// The quickest packet is looked for in so many seconds: at 200 ppm, the clocks part by 2 ms meanwhile.
const WINDOW: usize = 10;
/// A time stamp further than 2 s from where it should be is a new start of the sender's clock.
const LONGEST_JUMP: i64 = 2 * ARCHIVE_RATE as i64;

/// A place in what one sender said, in samples; each restart of a sender is a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) epoch: u32,
    pub(super) sample: i64,
}

/// One sender's clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    source: Option<(Ssrc, AudioCodec)>,
    epoch: u32,
    /// The last time stamp, and where it lies since the epoch began, in ticks.
    last: (RtpTime, i64),
    /// Second of arrival and the quickest packet in it: time line minus sender's clock.
    quickest: [Option<(u64, i64)>; WINDOW],
    /// Where the epoch before this one lay at its end.
    before: i64,
}

/// A moment since the beginning of the recording in samples.
pub(super) fn samples(at: Duration) -> i64 {
    let samples = at.as_micros().saturating_mul(u128::from(ARCHIVE_RATE)) / 1_000_000;
    i64::try_from(samples).unwrap_or(i64::MAX)
}

impl Clock {
    /// Takes note of a packet and tells its place in what the sender said.
    pub(super) fn place(&mut self, heard: &Heard<'_>) -> Place {
        let arrived = samples(heard.at);
        let source = Some((heard.ssrc, heard.codec));
        let per_tick = |ticks: i64| ticks * i64::from(ARCHIVE_RATE) / i64::from(heard.codec.clock());
        let mut ticks = self.last.1 + i64::from(heard.timestamp.since(self.last.0));
        let off = arrived - per_tick(ticks) - self.offset(self.epoch);
        if self.source != source || off.abs() > LONGEST_JUMP {
            self.before = self.offset(self.epoch);
            self.source = source;
            self.epoch += 1;
            self.quickest = [None; WINDOW];
            // Room below zero for what overtook this packet.
            ticks = 0;
        }
        self.last = (heard.timestamp, ticks);
        let sample = per_tick(ticks);
        self.note(heard.at.as_secs(), arrived - sample);
        Place { epoch: self.epoch, sample }
    }

    fn note(&mut self, second: u64, transit: i64) {
        let slot = &mut self.quickest[(second % WINDOW as u64) as usize];
        *slot = match *slot {
            Some((of, least)) if of == second => Some((of, least.min(transit))),
            _ => Some((second, transit)),
        };
        for slot in &mut self.quickest {
            *slot = slot.filter(|(of, _)| of + WINDOW as u64 > second);
        }
    }

    /// Where an epoch's sample 0 lies on the time line.
    pub(super) fn offset(&self, epoch: u32) -> i64 {
        if epoch != self.epoch {
            return self.before;
        }
        self.quickest.iter().flatten().map(|(_, transit)| *transit).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Side;
    use crate::rtp::SeqNo;

    fn heard(micros: u64, timestamp: u32) -> Heard<'static> {
        Heard {
            side: Side::Phone,
            codec: AudioCodec::Pcmu,
            at: Duration::from_micros(micros),
            ssrc: Ssrc(7),
            seq: SeqNo(0),
            timestamp: RtpTime(timestamp),
            payload: &[0; 160],
        }
    }

    #[test]
    fn the_quickest_packet_sets_the_clock_and_late_ones_move_nothing() {
        let mut clock = Clock::default();
        let first = u32::MAX - 799;
        for (at, late) in [7_000, 40_000, 0, 25_000].into_iter().enumerate() {
            let at = at as u64;
            let place =
                clock.place(&heard(1_000_000 + at * 20_000 + late, first.wrapping_add(160 * at as u32)));
            assert_eq!(place, Place { epoch: 1, sample: 320 * at.cast_signed() });
        }
        assert_eq!(clock.offset(1), 16_000, "as the third packet says, which came at once");
    }

    #[test]
    fn a_clock_that_runs_away_is_followed_within_its_window() {
        for drift in [-200_i64, 200] {
            let mut clock = Clock::default();
            let mut worst = 0;
            for at in 0..360_000_u64 {
                let micros = at * 20_000;
                let drifted = micros.saturating_add_signed(micros.cast_signed() * drift / 1_000_000);
                clock.place(&heard(drifted, (at * 160) as u32));
                let wanted = samples(Duration::from_micros(drifted)) - 320 * at.cast_signed();
                worst = worst.max((clock.offset(1) - wanted).abs());
            }
            // Two hours put the clocks 1.4 s apart; the error is what they part by in the window.
            assert!(worst <= 33, "{drift} ppm: {worst} samples");
        }
    }

    #[test]
    fn a_restart_of_the_sender_is_placed_by_its_arrival() {
        let mut clock = Clock::default();
        clock.place(&heard(0, 1000));
        clock.place(&heard(20_000, 1160));
        let place = clock.place(&heard(40_000, 900_000));
        assert_eq!((place, clock.offset(2)), (Place { epoch: 2, sample: 0 }, 640));
        assert_eq!(clock.offset(1), 0, "what is left of the old clock stays where it was");
    }
}
