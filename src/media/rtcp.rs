//! Reports about a leg: when to send them, and as what.

use std::time::{Duration, Instant};

use crate::random::Random;
use crate::rtp::{Extended, NtpTime, SenderFacts, Ssrc};

/// The mean time between reports (RFC 3550 §6.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// The first report comes soon, so that short calls have figures too; between two parties it may come at
/// once (§6.2).
const FIRST: Duration = Duration::from_secs(1);

/// Reports of one leg.
#[derive(Debug)]
pub struct ReportClock {
    random: Random,
    next: Option<Instant>,
    ever_sent: bool,
    /// Packets sent by the last report and by the one before it.
    sent: [u64; 2],
    /// The far end's clock, to be given back (RFC 3611 §4.5).
    reference: Option<(Ssrc, u32, Instant)>,
}

impl ReportClock {
    /// A clock that stands.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { random, next: None, ever_sent: false, sent: [0; 2], reference: None }
    }

    /// Starts it, if it stands.
    pub fn start(&mut self, now: Instant) {
        if self.next.is_none() {
            self.next = Some(now + self.spread(FIRST));
        }
    }

    /// Between half and one and a half (RFC 3550 §6.3.1), so that calls do not report in step. Nobody
    /// reconsiders between two parties, so nothing is divided by e - 3/2.
    fn spread(&mut self, mean: Duration) -> Duration {
        mean / 2 + mean * self.random.below(1000) / 1000
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
        self.next = Some(now + self.spread(INTERVAL));
        self.ever_sent = true;
        true
    }

    /// True once a report was sent.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.ever_sent
    }

    /// The sender's part of a report that is about to leave: only who has sent something since the
    /// report before the last one is a sender (RFC 3550 §6.4).
    pub fn sender(&mut self, facts: Option<SenderFacts>) -> Option<SenderFacts> {
        let sent = facts.map_or(0, |facts| facts.packets.into());
        let lately = sent != self.sent[1];
        self.sent = [sent, self.sent[0]];
        facts.filter(|_| lately)
    }

    /// Takes the clocks in an extended report.
    pub fn note_extended(&mut self, now: Instant, blocks: &[Extended]) {
        for block in blocks {
            if let Extended::ReferenceTime { ssrc, ntp } = block {
                self.reference = Some((*ssrc, ntp.middle(), now));
            }
        }
    }

    /// The clock to be given back, if the far end asked.
    #[must_use]
    pub fn returned(&self, now: Instant) -> Option<Extended> {
        let (to, last, at) = self.reference?;
        let since = now.saturating_duration_since(at).as_micros();
        let delay = u32::try_from((since << 16) / 1_000_000).unwrap_or(u32::MAX);
        Some(Extended::Returned { to, last, delay })
    }
}

/// Our clock, for a far end that will not learn it from a sender report.
#[must_use]
pub const fn reference(ssrc: Ssrc, ntp: NtpTime) -> Extended {
    Extended::ReferenceTime { ssrc, ntp }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpTime;

    #[test]
    fn reports_come_soon_at_first_and_then_every_five_seconds_more_or_less() {
        let start = Instant::now();
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let mut clock = ReportClock::new(Random::from_number(seed));
            assert!(!clock.take_due(start));
            clock.start(start);
            let first = clock.due().unwrap();
            assert!((500..=1500).contains(&(first - start).as_millis()));
            firsts.insert(first);
            assert!(!clock.take_due(first - Duration::from_nanos(1)));
            let mut now = first;
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
        assert!(firsts.len() > 15, "calls that begin together do not report together");
    }

    #[test]
    fn who_has_sent_nothing_for_two_reports_is_no_sender() {
        let mut clock = ReportClock::new(Random::from_number(1));
        let facts = |packets| Some(SenderFacts { ntp: NtpTime(1), rtp: RtpTime(1), packets, octets: 1 });
        assert_eq!(clock.sender(None), None);
        assert!(clock.sender(facts(50)).is_some());
        assert!(clock.sender(facts(50)).is_some(), "something was sent before the last report");
        assert!(clock.sender(facts(50)).is_none());
        assert!(clock.sender(facts(51)).is_some());
    }

    #[test]
    fn a_clock_is_given_back_with_the_time_it_was_kept() {
        let start = Instant::now();
        let mut clock = ReportClock::new(Random::from_number(1));
        assert_eq!(clock.returned(start), None);
        clock.note_extended(start, &[reference(Ssrc(7), NtpTime(0x0001_0002_0003_0004))]);
        let back = clock.returned(start + Duration::from_millis(500));
        assert_eq!(back, Some(Extended::Returned { to: Ssrc(7), last: 0x0002_0003, delay: 32_768 }));
    }
}
