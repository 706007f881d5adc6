//! Reports about a leg: when to send them and what the far end's say.

use std::time::{Duration, Instant};

use super::summary::DirectionSummary;
use crate::random::Random;
use crate::rtp::{NtpTime, ReportBlock};

/// The mean time between reports (RFC 3550 §6.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// The first report comes soon, so that short calls have figures too.
const FIRST: Duration = Duration::from_secs(1);
/// More redundancy than for this loss helps nobody at 20 kbit/s.
const MOST_EXPECTED: u8 = 30;

/// Reports of one leg.
#[derive(Debug)]
pub struct ReportClock {
    random: Random,
    next: Option<Instant>,
    ever_sent: bool,
    round_trip: Option<Duration>,
    lost: Option<u32>,
    jitter: Option<Duration>,
    /// Smoothed loss in 256ths.
    loss: Option<u16>,
}

impl ReportClock {
    /// A clock that stands.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { random, next: None, ever_sent: false, round_trip: None, lost: None, jitter: None, loss: None }
    }

    /// Starts it, if it stands.
    pub fn start(&mut self, now: Instant) {
        self.next.get_or_insert(now + FIRST);
    }

    /// When the next report is due.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.next
    }

    /// True if a report is due now; sets the time of the one after it.
    pub fn take_due(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|due| due > now) {
            return false;
        }
        // Between half and one and a half (RFC 3550 §6.3.1), so that calls do not report in step.
        self.next = Some(now + INTERVAL / 2 + INTERVAL * self.random.below(1000) / 1000);
        self.ever_sent = true;
        true
    }

    /// True once a report was sent.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.ever_sent
    }

    /// Takes the far end's view of our stream; `clock` is the stream's, in hertz.
    pub fn note(&mut self, now: NtpTime, block: &ReportBlock, clock: u32) {
        self.round_trip = block.round_trip(now).or(self.round_trip);
        self.lost = Some(block.total_lost);
        let micros = u64::from(block.jitter) * 1_000_000 / u64::from(clock);
        self.jitter = Some(Duration::from_micros(micros));
        let fresh = u16::from(block.fraction_lost);
        self.loss = Some(self.loss.map_or(fresh, |before| (before * 3 + fresh) / 4));
    }

    /// The loss to prepare for, in per cent; `None` while nothing was reported.
    #[must_use]
    pub fn expected_loss(&self) -> Option<u8> {
        let percent = (u32::from(self.loss?) * 100).div_ceil(256);
        // Never below one: that would switch the redundancy off until it is too late.
        Some(u8::try_from(percent).unwrap_or(MOST_EXPECTED).clamp(1, MOST_EXPECTED))
    }

    /// Adds what was reported to the figures of the direction.
    pub const fn fill(&self, figures: &mut DirectionSummary) {
        figures.round_trip = self.round_trip;
        figures.reported_lost = self.lost;
        figures.reported_jitter = self.jitter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_soon_at_first_and_then_every_five_seconds_more_or_less() {
        let start = Instant::now();
        let mut clock = ReportClock::new(Random::from_number(1));
        assert!(!clock.take_due(start));
        clock.start(start);
        assert!(!clock.take_due(start + FIRST - Duration::from_nanos(1)));
        let mut now = start + FIRST;
        let mut spans = Vec::new();
        for _ in 0..200 {
            assert!(clock.take_due(now));
            spans.push(clock.due().unwrap() - now);
            now = clock.due().unwrap();
        }
        assert!(spans.iter().all(|it| (2500..=7500).contains(&it.as_millis())));
        let mean = spans.iter().sum::<Duration>() / 200;
        assert!((4500..5500).contains(&mean.as_millis()), "{mean:?}");
    }

    #[test]
    fn rule_12_the_expected_loss_follows_the_reports_and_never_reaches_zero() {
        let mut clock = ReportClock::new(Random::from_number(1));
        assert_eq!(clock.expected_loss(), None);
        let report = |fraction_lost| ReportBlock { fraction_lost, ..ReportBlock::default() };
        clock.note(NtpTime::default(), &report(51), 48_000);
        assert_eq!(clock.expected_loss(), Some(20));
        clock.note(NtpTime::default(), &report(0), 48_000);
        assert_eq!(clock.expected_loss(), Some(15));
        for _ in 0..40 {
            clock.note(NtpTime::default(), &report(0), 48_000);
        }
        assert_eq!(clock.expected_loss(), Some(1));
        clock.note(NtpTime::default(), &report(255), 48_000);
        assert_eq!(clock.expected_loss(), Some(25));
    }
}
