//! What the far end of a leg says of our stream, over the whole call.

use std::time::Duration;

use super::quality::{LISTENERS_BUFFER, Rating, Share, StreamQuality};
use crate::rtp::{Extended, NtpTime, ReportBlock, Ssrc, VoipMetrics};

/// The loss that libopus prepares for while no receiver report came, in per cent (rule 12).
const UNREPORTED: u8 = 5;
/// More redundancy than for this loss helps nobody at 20 kbit/s.
const MOST_EXPECTED: u8 = 30;
/// The encoder is told of a change from so many points on: each step changes its rate for the speech.
const NOTICEABLE: u8 = 2;
/// Packets (10 s of 20 ms) that have to arrive whole before redundancy rests: in telephone band at 20 kbit/s it costs
/// 0.1 to 0.16 of PESQ and a quarter of the encoder's time, which nobody has to pay on a path that loses nothing.
const CLEAN: u64 = 500;
/// Each loss after a rest makes the next rest come later, up to this.
const CLEAN_AFTER_RELAPSES: u64 = CLEAN * 8;
/// So many more packets than we had sent by then may be told of: reports and packets pass each other.
const SLACK: i64 = 100;
/// Late packets and duplicates take no more than this from a count of lost ones; a far end whose count
/// falls further has begun anew.
const FALL: i64 = 8;

/// The mean of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mean {
    sum: Duration,
    count: u32,
}

impl Mean {
    /// One more.
    pub fn add(&mut self, span: Duration) {
        self.sum = self.sum.saturating_add(span);
        self.count = self.count.saturating_add(1);
    }

    /// The mean; `None` of nothing.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }
}

/// The reports of one far end about one stream of ours.
#[derive(Clone, Debug)]
pub struct Reported {
    reports: u32,
    round_trips: Mean,
    last_round_trip: Option<Duration>,
    jitters: Mean,
    last_jitter: Option<Duration>,
    /// The counter of the last report, and how many packets we had sent by then.
    last_lost: i64,
    sent: u64,
    lost: i64,
    metrics: Option<VoipMetrics>,
    /// Smoothed loss in 256ths of a 256th.
    loss: u32,
    expected: u8,
    /// How many packets we had sent when the first report without loss came since the last with loss.
    clean_since: Option<u64>,
    /// Packets without loss after which redundancy rests.
    clean_enough: u64,
}

impl Default for Reported {
    fn default() -> Self {
        Self {
            reports: 0,
            round_trips: Mean::default(),
            last_round_trip: None,
            jitters: Mean::default(),
            last_jitter: None,
            last_lost: 0,
            sent: 0,
            lost: 0,
            metrics: None,
            loss: u32::from(UNREPORTED) * 65_536 / 100,
            expected: UNREPORTED,
            clean_since: None,
            clean_enough: CLEAN,
        }
    }
}

impl Reported {
    /// Takes a report block about our stream of `sent` packets so far, whose clock runs at `clock` hertz.
    pub fn note(&mut self, now: NtpTime, block: &ReportBlock, clock: u32, sent: u64) {
        if let Some(round_trip) = block.round_trip(now) {
            self.note_round_trip(round_trip);
        }
        let jitter = Duration::from_micros(u64::from(block.jitter) * 1_000_000 / u64::from(clock.max(1)));
        self.jitters.add(jitter);
        self.last_jitter = Some(jitter);
        self.note_lost(block.total_lost.into(), sent);
        self.smooth(block.fraction_lost);
        self.rest(block.fraction_lost, sent);
        self.reports += 1;
    }

    fn note_round_trip(&mut self, round_trip: Duration) {
        self.round_trips.add(round_trip);
        self.last_round_trip = Some(round_trip);
    }

    /// Adds up what a far end lost that may begin to count anew in the middle of a call.
    fn note_lost(&mut self, total: i64, sent: u64) {
        let change = total - self.last_lost;
        let possible =
            i64::try_from(sent.saturating_sub(self.sent)).unwrap_or(i64::MAX).saturating_add(SLACK);
        if (-FALL..=possible).contains(&change) {
            self.lost += change;
        } else if (-FALL..=possible).contains(&total) {
            self.lost += total;
        } else {
            return;
        }
        self.last_lost = total;
        self.sent = sent;
    }

    /// Up at once, for redundancy that comes late is none; down slowly, for loss comes back.
    fn smooth(&mut self, fraction: u8) {
        let fresh = u32::from(fraction) * 256;
        self.loss = if fresh > self.loss { (self.loss + fresh * 3) / 4 } else { (self.loss * 7 + fresh) / 8 };
        let percent = u8::try_from((self.loss * 100).div_ceil(65_536)).unwrap_or(MOST_EXPECTED);
        // Zero would switch the redundancy off until it is too late: that takes a path that stays clean.
        let percent = percent.clamp(1, MOST_EXPECTED);
        if percent.abs_diff(self.expected) >= NOTICEABLE || [1, MOST_EXPECTED].contains(&percent) {
            self.expected = percent;
        }
    }

    /// Expects nothing once a path has lost nothing for long enough; the first loss after that is expected to come back.
    fn rest(&mut self, fraction: u8, sent: u64) {
        let clean = self.clean_since.map_or(0, |since| sent.saturating_sub(since)) >= self.clean_enough;
        if fraction > 0 {
            self.clean_since = None;
            if clean {
                self.clean_enough = (self.clean_enough * 2).min(CLEAN_AFTER_RELAPSES);
            }
        } else if clean {
            (self.loss, self.expected) = (0, 0);
        } else {
            self.clean_since.get_or_insert(sent);
        }
    }

    /// Takes the blocks of an extended report; `ours` is the stream's source.
    pub fn note_extended(&mut self, now: NtpTime, ours: Ssrc, blocks: &[Extended]) {
        for block in blocks {
            if let Some(round_trip) = block.round_trip(ours, now) {
                self.note_round_trip(round_trip);
            }
            if let Extended::VoipMetrics(metrics) = block
                && metrics.ssrc == ours
            {
                self.metrics = Some(*metrics);
            }
        }
    }

    /// The loss to prepare for, in per cent.
    #[must_use]
    pub const fn expected_loss(&self) -> u8 {
        self.expected
    }

    /// The mean round trip.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trips.get()
    }

    /// The last round trip.
    #[must_use]
    pub const fn last_round_trip(&self) -> Option<Duration> {
        self.last_round_trip
    }

    /// The jitter of the last report.
    #[must_use]
    pub const fn last_jitter(&self) -> Option<Duration> {
        self.last_jitter
    }

    /// Packets lost, as far as was reported; `None` without a report.
    #[must_use]
    pub fn lost(&self) -> Option<u32> {
        (self.reports > 0).then(|| u32::try_from(self.lost.max(0)).unwrap_or(u32::MAX))
    }

    /// How the far end hears our stream; `None` without a report (rule 19).
    #[must_use]
    pub fn quality(&self, codec: &'static str) -> Option<StreamQuality> {
        let lost = u64::from(self.lost()?);
        let metrics = self.metrics.as_ref();
        let told = metrics.and_then(|it| {
            it.mos_cq.map(Rating::of_mos_tenths).or_else(|| it.r_factor.map(Rating::of_r_factor))
        });
        let playout = metrics.map(|it| Duration::from_millis(it.end_system_delay.into()));
        Some(StreamQuality {
            codec,
            packets: self.sent,
            loss: Share::of(lost, self.sent),
            discarded: metrics.map_or_else(Share::default, |it| Share::of_256(it.discard_rate)),
            recovered: Share::default(),
            burst_percent: metrics.and_then(burst_percent),
            jitter: self.jitters.get(),
            round_trip: self.round_trip(),
            playout: playout.filter(|it| !it.is_zero()).unwrap_or(LISTENERS_BUFFER),
            told,
        })
    }

    /// The far end's last VoIP metrics.
    #[must_use]
    pub const fn metrics(&self) -> Option<&VoipMetrics> {
        self.metrics.as_ref()
    }
}

/// `BurstR` out of burst and gap densities: within a burst the mean run of lost packets is at least that
/// of random loss at the burst's density.
fn burst_percent(metrics: &VoipMetrics) -> Option<u32> {
    let (density, loss) = (u32::from(metrics.burst_density), u32::from(metrics.loss_rate));
    (density > 0).then(|| (100 * (256 - loss) / (256 - density)).max(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fraction_lost: u8, total_lost: i32) -> ReportBlock {
        ReportBlock { fraction_lost, total_lost, ..ReportBlock::default() }
    }

    /// After reports of a tenth of a second each.
    fn after(fractions: &[u8]) -> u8 {
        let mut reported = Reported::default();
        for fraction in fractions {
            reported.note(NtpTime::default(), &block(*fraction, 0), 48_000, 0);
        }
        reported.expected_loss()
    }

    #[test]
    fn rule_12_the_expected_loss_is_five_unreported_rises_at_once_and_falls_slowly() {
        assert_eq!(after(&[]), 5);
        assert_eq!(after(&[51]), 17, "three quarters of the way to 20");
        assert_eq!(after(&[51, 51]), 19);
        assert_eq!(after(&[0]), 5, "one report is no proof");
        assert_eq!(after(&[51, 51, 0]), 17);
        assert_eq!(after(&[0; 40]), 1);
        assert_eq!(after(&[255; 9]), 30);
    }

    #[test]
    fn redundancy_rests_on_a_path_that_loses_nothing_for_ten_seconds_and_less_readily_after_a_relapse() {
        let mut reported = Reported::default();
        let mut sent = 0;
        let mut hear = |fraction: u8, seconds: u64| {
            let mut rested = None;
            for second in 0..seconds {
                sent += 50;
                reported.note(NtpTime::default(), &block(fraction, 0), 48_000, sent);
                if reported.expected_loss() == 0 {
                    rested.get_or_insert(second);
                }
            }
            (reported.expected_loss(), rested)
        };
        assert_eq!(hear(0, 10).1, None, "the first report says nothing of what was before it");
        assert_eq!(hear(0, 30), (0, Some(0)));
        assert_eq!(hear(3, 1).0, 1, "one packet in a hundred: at once");
        assert_eq!(hear(0, 20).1, None);
        assert_eq!(hear(0, 1), (0, Some(0)), "twice as long as before");
        for relapse in 0..6 {
            assert_eq!(hear(3, 1).0, 1);
            let longest = [40, 80, 80, 80, 80, 80][relapse];
            assert_eq!(hear(0, 100).1, Some(longest));
        }
    }

    #[test]
    fn the_encoder_is_not_told_of_every_wobble() {
        let mut reported = Reported::default();
        let mut told = Vec::new();
        for n in 0..60 {
            // 4.3 to 5.5 %, as random loss of 5 % comes in reports of 250 packets.
            reported.note(NtpTime::default(), &block([11, 14, 12, 13][n % 4], 0), 48_000, 0);
            told.push(reported.expected_loss());
        }
        told.dedup();
        assert_eq!(told, [5]);
    }

    #[test]
    fn a_far_end_that_begins_to_count_anew_is_added_up() {
        let mut reported = Reported::default();
        let mut tell = |lost, sent| reported.note(NtpTime::default(), &block(0, lost), 8000, sent);
        tell(40, 500);
        tell(38, 1000);
        // After a re-INVITE it knows nothing of what was before.
        tell(2, 1010);
        tell(12, 1500);
        // Nonsense is not believed.
        tell(8_000_000, 1600);
        assert_eq!(reported.lost(), Some(50));
        let quality = reported.quality("PCMU").unwrap();
        assert_eq!((quality.packets, quality.loss), (1500, Share::of(50, 1500)));
    }

    #[test]
    fn rule_19_without_reports_nothing_is_known() {
        let mut reported = Reported::default();
        assert_eq!((reported.lost(), reported.quality("PCMU")), (None, None));
        // Metrics without a report block do not say how many packets there were.
        let metrics = VoipMetrics { ssrc: Ssrc(3), r_factor: Some(90), ..VoipMetrics::default() };
        reported.note_extended(NtpTime::default(), Ssrc(3), &[Extended::VoipMetrics(metrics)]);
        assert_eq!(reported.quality("PCMU"), None);
    }

    #[test]
    fn voip_metrics_tell_of_discards_bursts_the_buffer_and_a_rating() {
        let mut reported = Reported::default();
        reported.note(NtpTime::default(), &block(5, 20), 8000, 1000);
        let metrics = VoipMetrics {
            ssrc: Ssrc(3),
            loss_rate: 5,
            discard_rate: 8,
            burst_density: 128,
            end_system_delay: 90,
            mos_cq: Some(36),
            ..VoipMetrics::default()
        };
        let foreign = VoipMetrics { ssrc: Ssrc(4), ..metrics };
        reported.note_extended(NtpTime::default(), Ssrc(3), &[Extended::VoipMetrics(foreign)]);
        assert_eq!(reported.quality("PCMU").unwrap().told, None);
        reported.note_extended(NtpTime::default(), Ssrc(3), &[Extended::VoipMetrics(metrics)]);
        let quality = reported.quality("PCMU").unwrap();
        assert_eq!((quality.discarded, quality.burst_percent), (Share::of(8, 256), Some(196)));
        assert_eq!(quality.playout, Duration::from_millis(90));
        assert!((quality.conversational().unwrap().mos() - 3.6).abs() < 0.02);
    }
}
