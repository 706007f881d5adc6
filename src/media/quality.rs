//! How a call sounds, computed: the E-model of ITU-T G.107 (06/2015) on its narrow-band scale.
//!
//! Echo, noise and loudness are taken as G.107's defaults, so a clean G.711 path is R 93.2. What is not
//! known is not rated: there is no perfect call without reports (rule 19).

use std::time::Duration;

/// R of a path without delay, loss and coding, with G.107's default values (§7.7).
const R_DEFAULT: f64 = 93.2;
/// A delay up to this is not noticed (`mT` of G.107 table 1, default class of users).
const UNNOTICED_MS: f64 = 100.0;
/// Sound in one packet; most phones' and always Meta's.
const PACKET: Duration = Duration::from_millis(20);
/// The jitter buffer of a listener who does not tell of it (rule 13 models a phone's as this).
pub const LISTENERS_BUFFER: Duration = Duration::from_millis(60);
/// A stream shorter than a second is not rated.
const LEAST_PACKETS: u64 = 50;

/// A share of packets in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share(u32);

impl Share {
    /// `part` of `whole`; nothing of nothing is nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Self {
        let millionths = (part.min(whole).saturating_mul(1_000_000)).checked_div(whole).unwrap_or(0);
        Self(u32::try_from(millionths).unwrap_or(1_000_000))
    }

    /// From a field of RTCP in 256ths.
    #[must_use]
    pub fn of_256(part: u8) -> Self {
        Self::of(part.into(), 256)
    }

    /// In per cent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// 0 to 1.
    #[must_use]
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// For a field of RTCP in 256ths.
    #[must_use]
    pub fn in_256ths(self) -> u8 {
        u8::try_from(u64::from(self.0) * 256 / 1_000_000).unwrap_or(u8::MAX)
    }

    const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// What a codec does to speech, on the narrow-band scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// `Ie`: without loss.
    pub coding: f64,
    /// `Bpl`: how well it bears loss; higher is better.
    pub robustness: f64,
    /// What the encoder must hear ahead.
    pub look_ahead: Duration,
}

/// Name in `rtpmap`, `Ie`, `Bpl`, look-ahead in microseconds.
///
/// * G.711 with concealment: G.113 (11/2007) appendix I, tables I.1 and I.4. Without concealment `Bpl`
///   would be 4.3; phones of this century conceal.
/// * G.722 has values on the wide-band scale only (`Ie,wb` 13 of 129, G.113 appendix IV). Its narrow-band
///   equivalent is taken as no worse and no better than G.711: a direct path loses nothing, and its
///   concealment (G.722 appendices III, IV) is of the same kind. So wide-band calls are never rated better
///   than narrow-band ones; that keeps all calls on one scale.
/// * Opus: Al-Ahmadi, Počta, Melvin, "Instrumental estimation of E-model parameters for Opus" (2021), narrow
///   band at 11 kbit/s, random loss, without redundancy: the highest rate they measured there, below ours.
const CODECS: &[(&str, f64, f64, u64)] = &[
    ("PCMU", 0.0, 25.1, 0),
    ("PCMA", 0.0, 25.1, 0),
    ("G722", 0.0, 25.1, 1_500),
    ("opus", 2.03, 15.95, 6_500),
];

impl Impairment {
    /// Of a codec by its encoding name; `None` for codecs that nobody has measured.
    #[must_use]
    pub fn of(encoding: &str) -> Option<Self> {
        let (_, coding, robustness, micros) =
            CODECS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(encoding))?;
        let look_ahead = Duration::from_micros(*micros);
        Some(Self { coding: *coding, robustness: *robustness, look_ahead })
    }

    /// `Ie,eff` of G.107 §7.4: coding and loss together; `burst_percent` is `BurstR` in hundredths.
    #[must_use]
    pub fn with_loss(&self, loss: Share, burst_percent: u32) -> f64 {
        let burst_ratio = f64::from(burst_percent.max(100)) / 100.0;
        let percent = loss.percent();
        self.coding + (95.0 - self.coding) * percent / (percent / burst_ratio + self.robustness)
    }
}

/// `Idd` of G.107 §7.3: what pure delay costs.
#[must_use]
pub fn delay_impairment(delay: Duration) -> f64 {
    let millis = delay.as_secs_f64() * 1000.0;
    if millis <= UNNOTICED_MS {
        return 0.0;
    }
    let x = (millis / UNNOTICED_MS).log2();
    let sixth = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0)
}

/// A transmission rating, R in hundredths, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rating(u16);

impl Rating {
    fn less(impairments: f64) -> Self {
        Self(((R_DEFAULT - impairments).clamp(0.0, 100.0) * 100.0).round() as u16)
    }

    /// From an R factor of RTCP-XR, 0 to 100.
    #[must_use]
    pub fn of_r_factor(r_factor: u8) -> Self {
        Self(u16::from(r_factor.min(100)) * 100)
    }

    /// From a MOS of RTCP-XR in tenths: the R that gives it.
    #[must_use]
    pub fn of_mos_tenths(tenths: u8) -> Self {
        let wanted = f64::from(tenths) / 10.0;
        // The curve rises from R 6.5 on; below it lies no MOS but 1.
        (0..=10_000).step_by(10).map(Self).find(|it| it.mos() >= wanted).unwrap_or(Self(10_000))
    }

    /// R, 0 to 100.
    #[must_use]
    pub fn r(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// The mean opinion score, 1 to 4.5 (G.107 annex B).
    #[must_use]
    pub fn mos(self) -> f64 {
        let r = self.r();
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
    }

    /// R for a field of RTCP-XR.
    #[must_use]
    pub fn r_factor(self) -> u8 {
        u8::try_from((self.0 + 50) / 100).unwrap_or(100)
    }

    /// The MOS in tenths, for a field of RTCP-XR.
    #[must_use]
    pub fn mos_tenths(self) -> u8 {
        (self.mos() * 10.0).round() as u8
    }
}

/// One stream as its receiver has it: ours by our own count, the far end's by its reports.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StreamQuality {
    /// The codec's encoding name; empty: nothing was agreed.
    pub codec: &'static str,
    /// Packets that the receiver should have had.
    pub packets: u64,
    /// Never came.
    pub loss: Share,
    /// Came too late to be played.
    pub discarded: Share,
    /// Lost, but brought back by redundancy.
    pub recovered: Share,
    /// `BurstR` in hundredths, where the receiver told it; random loss is assumed otherwise.
    pub burst_percent: Option<u32>,
    /// Smoothed interarrival jitter, mean over the call.
    pub jitter: Option<Duration>,
    /// To the far end of this leg and back, mean over the call.
    pub round_trip: Option<Duration>,
    /// The receiver's own delay: its jitter buffer.
    pub playout: Duration,
    /// The receiver's own rating of the conversation, if it sent one.
    pub told: Option<Rating>,
}

impl StreamQuality {
    fn impairment(&self) -> Option<f64> {
        if self.packets < LEAST_PACKETS {
            return None;
        }
        let missing = self.loss.plus(self.discarded).less(self.recovered);
        Some(Impairment::of(self.codec)?.with_loss(missing, self.burst_percent.unwrap_or(100)))
    }

    /// From the speaker's mouth to the end of the receiver's jitter buffer; needs a round trip.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        let look_ahead = Impairment::of(self.codec)?.look_ahead;
        Some(self.round_trip? / 2 + PACKET + look_ahead + self.playout)
    }

    /// Listening quality: coding and loss without delay.
    #[must_use]
    pub fn listening(&self) -> Option<Rating> {
        self.impairment().map(Rating::less)
    }

    /// Conversational quality of this stream alone; unknown without a round trip.
    #[must_use]
    pub fn conversational(&self) -> Option<Rating> {
        self.told.or_else(|| Some(Rating::less(self.impairment()? + delay_impairment(self.delay()?))))
    }

    /// What the listener at the end of `self` and then `next` hears: the impairments of both streams
    /// (G.113 §5.3 adds them up) and the delay of both, with `inside` between them.
    #[must_use]
    pub fn heard_after(&self, inside: Duration, next: &Self) -> Option<Rating> {
        let delay = self.delay()? + inside + next.delay()?;
        Some(Rating::less(self.impairment()? + next.impairment()? + delay_impairment(delay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn stream(codec: &'static str, lost: u64) -> StreamQuality {
        StreamQuality {
            codec,
            packets: 1000,
            loss: Share::of(lost, 1000),
            round_trip: Some(millis(40)),
            ..StreamQuality::default()
        }
    }

    #[test]
    fn a_mos_follows_the_curve_of_annex_b() {
        // Table B.1 of G.107: lower limits of user satisfaction.
        for (r, mos) in [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0)] {
            assert!(
                (Rating::of_r_factor(r).mos() - mos).abs() < 0.01,
                "{r}: {}",
                Rating::of_r_factor(r).mos()
            );
        }
        assert!((Rating::less(0.0).mos() - 4.41).abs() < 0.005);
        assert!((Rating::of_mos_tenths(36).r() - 70.0).abs() < 0.3);
        assert_eq!(Rating::less(500.0).mos(), 1.0);
    }

    #[test]
    fn delay_costs_nothing_up_to_a_tenth_of_a_second_and_much_beyond_a_fifth() {
        assert_eq!(delay_impairment(millis(100)), 0.0);
        // Computed by hand from §7.3: X = 1 and X = 2.
        assert!((delay_impairment(millis(200)) - 3.0).abs() < 0.1, "{}", delay_impairment(millis(200)));
        assert!((delay_impairment(millis(400)) - 24.1).abs() < 0.3, "{}", delay_impairment(millis(400)));
        let steps: Vec<f64> = (1..40).map(|it| delay_impairment(millis(it * 25))).collect();
        assert!(steps.is_sorted());
    }

    #[test]
    fn loss_costs_what_the_standard_says_and_bursts_cost_more() {
        let pcmu = Impairment::of("pcmu").unwrap();
        let (one, five) = (Share::of(1, 100), Share::of(5, 100));
        assert!((pcmu.with_loss(one, 100) - 95.0 / 26.1).abs() < 1e-6);
        assert!((pcmu.with_loss(five, 100) - 475.0 / 30.1).abs() < 1e-6);
        assert!((pcmu.with_loss(five, 200) - 475.0 / 27.6).abs() < 1e-6);
        assert!(Impairment::of("opus").unwrap().with_loss(Share::default(), 100) > 2.0);
        assert_eq!(Impairment::of("g729"), None);
    }

    #[test]
    fn a_clean_pcmu_stream_is_above_four_point_two_and_a_lossy_one_far_below() {
        let mos = |lost| stream("PCMU", lost).conversational().unwrap().mos();
        assert!(mos(0) > 4.2);
        assert!(mos(0) > mos(10) && mos(10) > mos(50) && mos(50) < 4.0 && mos(200) < 2.8, "{}", mos(200));
    }

    #[test]
    fn rule_19_without_a_round_trip_there_is_listening_quality_only_and_without_packets_nothing() {
        let deaf = StreamQuality { round_trip: None, ..stream("PCMU", 0) };
        assert!(deaf.listening().is_some());
        assert_eq!((deaf.conversational(), deaf.delay()), (None, None));
        let short = StreamQuality { packets: 49, ..stream("PCMU", 0) };
        assert_eq!((short.listening(), short.conversational()), (None, None));
        assert_eq!(StreamQuality { codec: "", ..stream("PCMU", 0) }.listening(), None);
        assert_eq!(stream("opus", 0).heard_after(Duration::ZERO, &deaf), None);
    }

    #[test]
    fn what_is_heard_at_the_end_is_worse_than_either_stream_alone() {
        let (opus, pcmu) = (stream("opus", 20), stream("PCMU", 20));
        let heard = opus.heard_after(millis(1), &pcmu).unwrap();
        assert!(heard < opus.conversational().unwrap() && heard < pcmu.conversational().unwrap());
        let late = StreamQuality { playout: millis(300), ..pcmu };
        assert!(opus.heard_after(millis(1), &late).unwrap() < heard);
    }

    #[test]
    fn what_redundancy_brought_back_was_not_lost_and_what_came_too_late_was() {
        let lost = stream("opus", 50);
        let better = StreamQuality { recovered: Share::of(40, 1000), ..lost.clone() };
        let worse = StreamQuality { discarded: Share::of(40, 1000), ..lost.clone() };
        assert!(better.listening() > lost.listening() && lost.listening() > worse.listening());
    }

    #[test]
    fn the_receivers_own_rating_wins() {
        let told = StreamQuality { told: Some(Rating::of_r_factor(60)), ..stream("PCMU", 0) };
        assert_eq!(told.conversational().map(Rating::r_factor), Some(60));
    }

    #[test]
    fn shares_go_to_rtcp_and_back() {
        assert_eq!((Share::of_256(64).percent(), Share::of(1, 4).in_256ths()), (25.0, 64));
        assert_eq!((Share::of(5, 0), Share::of(9, 3).ratio()), (Share::default(), 1.0));
        assert_eq!(Share::of(1, 1).in_256ths(), 255);
    }
}
