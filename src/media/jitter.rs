//! How unevenly a stream arrives: the delay of its packets against the quickest one, forgotten after seconds.
//!
//! RFC 3550's interarrival jitter is a smoothed mean; what a buffer must bridge is nearly the worst delay of
//! the last seconds. So the transit times of the last 500 packets are kept as they are.

use std::time::{Duration, Instant};

use crate::rtp::{RtpTime, SeqNo, Ssrc};

/// Packets remembered: 10 s at 20 ms. Long enough to know the worst of a bad path, short enough to forget it.
const WINDOW: usize = 500;
/// Among so many latest packets the quickest is looked for: 2 s, so that a path that became longer, or a phone
/// whose clock stood still while it was mute, is taken for what it is after 2 s.
const BASE_WINDOW: usize = 100;
/// A sender whose clock moved against ours by more than this started anew.
const LONGEST_JUMP: i64 = 1_000_000;
/// Packets further apart or further back than this likewise (`MAX_DROPOUT`, `MAX_MISORDER` of RFC 3550 A.1).
const MAX_DROPOUT: i16 = 3000;
const MAX_MISORDER: i16 = 100;
/// Jitter above this is more than a phone with a fixed buffer can take (rule 13).
const POOR: Duration = Duration::from_millis(40);
/// How many packets lie between two looks at the path, ...
const LOOK_EVERY: u32 = 50;
/// ... how many must be known before the first, ...
const KNOWN: usize = 200;
/// ... and how many looks in a row must find it poor: a stall or a phone's stopped clock lasts for two.
const POOR_LOOKS: u8 = 3;

/// Who keeps the time of what goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Timing {
    /// Relay, and playout from the moment the path is known to be poor.
    #[default]
    Auto,
    /// The sender does: work is done on arrival.
    Relay,
    /// We do: an adaptive buffer stands in the way.
    Playout,
}

/// A packet's place in a stream without wraps and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Goes up by one for every packet sent.
    pub seq: i64,
    /// Ticks of the stream's clock since its first packet.
    pub ticks: i64,
}

/// The packet with the highest sequence number.
#[derive(Clone, Copy, Debug)]
struct Newest {
    ssrc: Ssrc,
    seq: SeqNo,
    timestamp: RtpTime,
    place: Place,
    arrived: i64,
}

/// Places packets and measures their delay.
#[derive(Clone, Debug)]
pub struct Jitter {
    clock: i64,
    start: Option<Instant>,
    newest: Option<Newest>,
    /// Arrival minus media time, in microseconds; only differences mean something.
    transits: [i32; WINDOW],
    count: usize,
    at: usize,
    base: i32,
    since_look: u32,
    poor_looks: u8,
}

impl Jitter {
    /// Of a stream whose time stamps run at `clock` hertz.
    #[must_use]
    pub fn new(clock: u32) -> Self {
        Self {
            clock: i64::from(clock.max(1)),
            start: None,
            newest: None,
            transits: [0; WINDOW],
            count: 0,
            at: 0,
            base: 0,
            since_look: 0,
            poor_looks: 0,
        }
    }

    /// Takes note of a packet that is no duplicate; `None` if it belongs to a clock that the sender has left.
    pub fn note(&mut self, arrived: Instant, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Option<Place> {
        let arrived = self.since_start(arrived);
        let place = self.place(arrived, ssrc, seq, timestamp)?;
        if self.newest.is_none_or(|it| place.seq > it.place.seq) {
            self.newest = Some(Newest { ssrc, seq, timestamp, place, arrived });
        }
        self.note_transit(arrived - self.micros(place.ticks));
        Some(place)
    }

    fn place(&self, arrived: i64, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Option<Place> {
        let Some(newest) = self.newest else { return Some(Place { seq: 0, ticks: 0 }) };
        let step = seq.since(newest.seq);
        let elapsed = arrived - newest.arrived;
        let ticks = i64::from(timestamp.since(newest.timestamp));
        let same = ssrc == newest.ssrc && (-MAX_MISORDER..=MAX_DROPOUT).contains(&step);
        let jumped = ssrc != newest.ssrc || (elapsed - self.micros(ticks)).abs() > LONGEST_JUMP;
        if same && step < 0 && jumped {
            return None;
        }
        // Where the sender's clock says nothing, ours does: the path is taken to be as long as before.
        let ticks = if jumped { (elapsed * self.clock / 1_000_000).max(1) } else { ticks };
        let step = if same { i64::from(step) } else { 1 };
        Some(Place { seq: newest.place.seq + step, ticks: newest.place.ticks + ticks })
    }

    /// Counts a packet that was lost, but could have been restored at `arrived`, as one that came then: the
    /// buffer learns to wait for redundancy where packets are lost.
    pub fn note_restorable(&mut self, arrived: Instant, ticks: i64) {
        let arrived = self.since_start(arrived);
        self.note_transit(arrived - self.micros(ticks));
    }

    fn note_transit(&mut self, transit: i64) {
        let transit = i32::try_from(transit).unwrap_or(if transit < 0 { i32::MIN / 2 } else { i32::MAX / 2 });
        self.transits[self.at] = transit;
        self.at = (self.at + 1) % WINDOW;
        self.count = (self.count + 1).min(WINDOW);
        self.since_look += 1;
        let base_window = self.count.min(BASE_WINDOW);
        let recent = (1..=base_window).map(|back| self.transits[(self.at + WINDOW - back) % WINDOW]);
        // The whole look back is needed only when the quickest may have left the window.
        self.base = if transit <= self.base && self.count > 1 {
            transit
        } else if self.count <= 1 || self.at.is_multiple_of(5) {
            recent.min().unwrap_or(transit)
        } else {
            self.base
        };
    }

    fn since_start(&mut self, at: Instant) -> i64 {
        let start = *self.start.get_or_insert(at);
        match at.checked_duration_since(start) {
            Some(after) => micros(after),
            None => -micros(start.saturating_duration_since(at)),
        }
    }

    /// Our clock at `at` less the path of the quickest packet: the media time that such a packet has now, in
    /// microseconds.
    #[must_use]
    pub fn quickest_at(&self, at: Instant) -> i64 {
        let since = self.start.map_or(0, |start| match at.checked_duration_since(start) {
            Some(after) => micros(after),
            None => -micros(start.saturating_duration_since(at)),
        });
        since - i64::from(self.base)
    }

    /// Ticks of the stream's clock in microseconds.
    #[must_use]
    pub const fn micros(&self, ticks: i64) -> i64 {
        ticks * 1_000_000 / self.clock
    }

    /// Microseconds in ticks of the stream's clock.
    #[must_use]
    pub const fn ticks(&self, micros: i64) -> i64 {
        micros * self.clock / 1_000_000
    }

    /// How many packets are known, 500 at most.
    #[must_use]
    pub const fn known(&self) -> usize {
        self.count
    }

    /// The delay against the quickest packet that `percent` of the last packets stayed within.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        if self.count == 0 {
            return Duration::ZERO;
        }
        let mut sorted = self.transits;
        let sorted = &mut sorted[..self.count];
        let at = (self.count * percent / 100).min(self.count - 1);
        let (_, transit, _) = sorted.select_nth_unstable(at);
        let late = i64::from(*transit) - i64::from(self.base);
        Duration::from_micros(u64::try_from(late).unwrap_or(0))
    }

    /// True once the path has shown itself to be poor; to be asked after every packet.
    pub fn is_poor(&mut self) -> bool {
        if self.since_look >= LOOK_EVERY && self.count >= KNOWN {
            self.since_look = 0;
            self.poor_looks = if self.percentile(95) > POOR { self.poor_looks.saturating_add(1) } else { 0 };
        }
        self.poor_looks >= POOR_LOOKS
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc(9);

    struct Sender {
        jitter: Jitter,
        start: Instant,
        sent: u32,
        seq: SeqNo,
        timestamp: RtpTime,
    }

    impl Sender {
        fn new(seq: u16, timestamp: u32) -> Self {
            let (jitter, start) = (Jitter::new(8000), Instant::now());
            Self { jitter, start, sent: 0, seq: SeqNo(seq), timestamp: RtpTime(timestamp) }
        }

        /// A packet every 20 ms, so many milliseconds late.
        fn send(&mut self, late: u64) -> Option<Place> {
            let at = self.start + Duration::from_millis(20) * self.sent + Duration::from_millis(late);
            let place = self.jitter.note(at, SSRC, self.seq, self.timestamp);
            self.sent += 1;
            self.seq = self.seq.next();
            self.timestamp = self.timestamp.plus(160);
            place
        }
    }

    #[test]
    fn places_go_on_over_both_wraps_and_a_first_time_stamp_of_zero() {
        for (seq, timestamp) in [(65_000, u32::MAX - 80_000), (0, 0), (1 << 15, 1 << 31)] {
            let mut sender = Sender::new(seq, timestamp);
            for n in 0..1000_i64 {
                assert_eq!(sender.send(0), Some(Place { seq: n, ticks: n * 160 }));
            }
        }
    }

    #[test]
    fn a_restart_by_source_by_time_stamp_or_by_sequence_number_goes_on_where_our_clock_is() {
        let restarts: [fn(&mut Sender); 3] = [
            |it| it.timestamp = it.timestamp.plus(1_000_000),
            |it| it.timestamp = RtpTime(0),
            |it| it.seq = SeqNo(40_000),
        ];
        for restart in restarts {
            let mut sender = Sender::new(3, 5_000_000);
            for _ in 0..100 {
                sender.send(0);
            }
            restart(&mut sender);
            for n in 100..200_i64 {
                assert_eq!(sender.send(0), Some(Place { seq: n, ticks: n * 160 }));
            }
        }
        let mut sender = Sender::new(3, 5_000_000);
        sender.send(0);
        let at = sender.start + Duration::from_millis(20);
        let other = sender.jitter.note(at, Ssrc(10), SeqNo(77), RtpTime(0));
        assert_eq!(other, Some(Place { seq: 1, ticks: 160 }));
    }

    #[test]
    fn a_straggler_of_the_time_before_a_restart_has_no_place() {
        let mut sender = Sender::new(10, 0);
        sender.send(0);
        sender.timestamp = RtpTime(3_000_000_000);
        sender.seq = SeqNo(12);
        assert!(sender.send(0).is_some());
        let at = sender.start + Duration::from_millis(45);
        assert_eq!(sender.jitter.note(at, SSRC, SeqNo(11), RtpTime(160)), None);
    }

    #[test]
    fn percentiles_are_of_the_delay_against_the_quickest_and_forgotten_after_ten_seconds() {
        let mut sender = Sender::new(0, 0);
        for n in 0..300_u64 {
            sender.send(10 + (n * 7) % 60);
        }
        let (p50, p95) = (sender.jitter.percentile(50), sender.jitter.percentile(95));
        assert!(
            (29..=31).contains(&p50.as_millis()) && (56..=58).contains(&p95.as_millis()),
            "{p50:?} {p95:?}"
        );
        for _ in 0..500 {
            sender.send(10);
        }
        assert_eq!(sender.jitter.percentile(100), Duration::ZERO);
    }

    #[test]
    fn a_path_is_poor_above_forty_milliseconds_and_not_for_one_stall() {
        let poor = |late: fn(u64) -> u64| {
            let mut sender = Sender::new(0, 0);
            (0..1000).position(|n| {
                sender.send(late(n));
                sender.jitter.is_poor()
            })
        };
        assert_eq!(poor(|n| (n * 13) % 40), None);
        assert!(poor(|n| (n * 13) % 60).is_some_and(|n| n < 320));
        assert_eq!(poor(|n| if (500..510).contains(&n) { 200 - (n - 500) * 20 } else { 0 }), None);
        // A phone whose clock stood still for 400 ms: every packet after it seems late.
        assert_eq!(poor(|n| if n > 500 { 400 } else { 0 }), None);
    }
}
