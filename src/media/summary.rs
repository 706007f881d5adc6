//! What is told of a call's media when it ends: packets, loss, gaps, delay, per direction.

use std::time::Duration;

use serde_json::{Value, json};

use super::quality::{Rating, StreamQuality};

/// A histogram of delays with fixed bounds; adding to it neither allocates nor locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum_micros: u64,
}

impl Histogram {
    /// Upper bounds of the buckets in microseconds; the last bucket has none.
    pub const BOUNDS: [u32; 17] =
        [25, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000];

    /// From counts per bucket and the sum of all delays in microseconds.
    #[must_use]
    pub const fn from_counts(counts: [u64; Self::BOUNDS.len() + 1], sum_micros: u64) -> Self {
        Self { counts, sum_micros }
    }

    /// Adds one delay.
    pub fn add(&mut self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let at = Self::BOUNDS.iter().position(|bound| micros <= u64::from(*bound));
        self.counts[at.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }

    /// What was added since `earlier`, an older state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at]));
        Self { counts, sum_micros: self.sum_micros.saturating_sub(earlier.sum_micros) }
    }

    /// How many delays were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All delays together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros)
    }

    /// Counts per bucket, the one without an upper bound last.
    #[must_use]
    pub const fn counts(&self) -> &[u64; Self::BOUNDS.len() + 1] {
        &self.counts
    }

    /// The delay that `share` (0 to 1) of all stay under, interpolated in its bucket; `None` when empty.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * total as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (at, count) in self.counts.iter().enumerate() {
            let upper = Self::BOUNDS.get(at).map_or(lower, |bound| f64::from(*bound));
            if *count > 0 && below + *count as f64 >= wanted {
                let part = ((wanted - below) / *count as f64).clamp(0.0, 1.0);
                return Some(Duration::from_secs_f64((lower + (upper - lower) * part) / 1e6));
            }
            below += *count as f64;
            lower = upper;
        }
        Some(Duration::from_secs_f64(lower / 1e6))
    }
}

/// How one direction kept time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlayoutSummary {
    /// The delay against the quickest packet that 95 % of the last 300 stayed within.
    pub jitter_p95: Duration,
    /// How much delay the buffer adds now; `None` while there is none.
    pub depth: Option<Duration>,
    /// How much it aims at.
    pub target: Option<Duration>,
    /// The most it added.
    pub deepest: Option<Duration>,
    /// Times a piece of speech was taken out to get there, ...
    pub shortened: u64,
    /// ... and put in.
    pub lengthened: u64,
}

impl PlayoutSummary {
    fn to_json(self) -> Value {
        let millis = |span: Duration| span.as_secs_f64() * 1000.0;
        json!({
            "jitter_p95_ms": millis(self.jitter_p95), "depth_ms": self.depth.map(millis),
            "target_ms": self.target.map(millis), "deepest_ms": self.deepest.map(millis),
            "shortened": self.shortened, "lengthened": self.lengthened,
        })
    }
}

/// One direction of a call: what came in on one leg and what went out on the other.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DirectionSummary {
    /// RTP packets received.
    pub packets_in: u64,
    /// Their payload bytes.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Their payload bytes.
    pub bytes_out: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Packets dropped because their time was over.
    pub late: u64,
    /// Packets that could not be used: foreign source, unknown payload type, broken payload.
    pub refused: u64,
    /// Opus packets that went on as they came.
    pub passed: u64,
    /// Frames invented from the speech before them.
    pub concealed: u64,
    /// Frames restored from Opus redundancy.
    pub recovered: u64,
    /// Frames of comfort noise.
    pub comfort: u64,
    /// Frames left out because the sender's clock ran ahead.
    pub skipped: u64,
    /// Keys passed on.
    pub digits: u64,
    /// The longest time between two packets sent.
    pub longest_gap: Duration,
    /// Interarrival jitter of what came in, at the end.
    pub jitter: Duration,
    /// Who kept time, and how.
    pub playout: PlayoutSummary,
    /// The receiver's round trip to us, from its last report.
    pub round_trip: Option<Duration>,
    /// Loss the receiver reported, over the whole call, in packets.
    pub reported_lost: Option<u32>,
    /// Jitter the receiver reported last.
    pub reported_jitter: Option<Duration>,
    /// From the kernel's receive stamp to after the send, for packets that came in and went out.
    pub transit: Histogram,
    /// The incoming stream as we have it.
    pub received: StreamQuality,
    /// The outgoing stream as its receiver reports it; `None` without a report (rule 19).
    pub delivered: Option<StreamQuality>,
    /// What the listener at the end of both hears; `None` unless both far ends report.
    pub heard: Option<Rating>,
}

impl DirectionSummary {
    /// Rates what is heard at the end, once both streams are known.
    pub fn rate(&mut self) {
        let inside = self.transit.quantile(0.5).unwrap_or_default();
        let delivered = self.delivered.as_ref();
        self.heard = delivered.and_then(|delivered| self.received.heard_after(inside, delivered));
    }

    /// As a JSON object, for records.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let micros = |share| self.transit.quantile(share).map(|it| it.as_micros().min(1 << 40) as u64);
        let millis = |span: Duration| span.as_secs_f64() * 1000.0;
        json!({
            "packets_in": self.packets_in, "bytes_in": self.bytes_in,
            "packets_out": self.packets_out, "bytes_out": self.bytes_out,
            "lost": self.lost, "duplicates": self.duplicates, "late": self.late, "refused": self.refused,
            "passed": self.passed, "concealed": self.concealed, "recovered": self.recovered, "comfort": self.comfort,
            "skipped": self.skipped, "digits": self.digits,
            "longest_gap_ms": millis(self.longest_gap), "jitter_ms": millis(self.jitter),
            "playout": self.playout.to_json(),
            "round_trip_ms": self.round_trip.map(millis),
            "reported_lost": self.reported_lost,
            "reported_jitter_ms": self.reported_jitter.map(millis),
            "received": stream(&self.received),
            "delivered": self.delivered.as_ref().map(stream),
            "heard": self.heard.map(rating),
            "transit_p50_us": micros(0.5), "transit_p99_us": micros(0.99), "transit_count": self.transit.count(),
        })
    }
}

/// Two digits behind the point are more than anybody can hear.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn rating(rating: Rating) -> Value {
    json!({ "r": rounded(rating.r()), "mos": rounded(rating.mos()) })
}

fn stream(quality: &StreamQuality) -> Value {
    let millis = |span: Duration| rounded(span.as_secs_f64() * 1000.0);
    json!({
        "codec": quality.codec, "packets": quality.packets,
        "loss_percent": rounded(quality.loss.percent()),
        "discard_percent": rounded(quality.discarded.percent()),
        "recovered_percent": rounded(quality.recovered.percent()),
        "burst_ratio": quality.burst_percent.map(|it| f64::from(it) / 100.0),
        "jitter_ms": quality.jitter.map(millis),
        "round_trip_ms": quality.round_trip.map(millis),
        "delay_ms": quality.delay().map(millis),
        "listening": quality.listening().map(rating),
        "conversational": quality.conversational().map(rating),
    })
}

/// The media of one call, told once when it is closed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Summary {
    /// How the pipes ran, `opus/48000 → plc → PCMU/8000 20 ms`.
    pub codecs: String,
    /// From the user to the phone.
    pub to_phone: DirectionSummary,
    /// From the phone to the user.
    pub to_meta: DirectionSummary,
}

impl Summary {
    /// The JSON object of the call record.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "to_phone": self.to_phone.to_json(), "to_meta": self.to_meta.to_json() }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_delays() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in (0..1000).map(|it| it % 100) {
            histogram.add(Duration::from_micros(micros));
        }
        histogram.add(Duration::from_secs(1));
        let median = histogram.quantile(0.5).unwrap().as_micros();
        assert!((45..=55).contains(&median), "{median}");
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_millis(50)), "the last bound is all we know");
        assert_eq!(histogram.count(), 1001);
    }

    #[test]
    fn merging_adds_counts_and_sums() {
        let (mut one, mut two) = (Histogram::default(), Histogram::default());
        one.add(Duration::from_micros(10));
        two.add(Duration::from_micros(30));
        one.merge(&two);
        assert_eq!((one.count(), one.sum()), (2, Duration::from_micros(40)));
        assert_eq!(one.counts()[..2], [1, 1]);
    }

    #[test]
    fn the_record_gets_a_json_object() {
        let text = Summary::default().to_json();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["to_meta"]["lost"], 0);
        assert!(value["to_phone"]["round_trip_ms"].is_null());
        assert!(value["to_phone"]["delivered"].is_null() && value["to_phone"]["heard"].is_null());
        assert!(value["to_phone"]["received"]["conversational"].is_null(), "rule 19");
    }
}
