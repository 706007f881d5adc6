//! What one receiver knows of one stream: order, loss and jitter (RFC 3550 §6.4.1, A.1, A.3, A.8).

use std::time::{Duration, Instant};

use super::{Bursts, ReportBlock, RtpTime, SeqNo, Ssrc};

/// Where a packet stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first packet of this source, or the first after it restarted.
    Restarted,
    /// After everything seen so far; the number of packets missing before it.
    Ahead {
        /// How many sequence numbers were skipped.
        missing: u16,
    },
    /// Older than the newest seen, for the first time.
    Behind,
    /// Seen before.
    Duplicate,
}

/// Packets further apart than this come from a sender that started anew (`MAX_DROPOUT` of RFC 3550 A.1).
const MAX_DROPOUT: i16 = 3000;
/// Packets further back than this likewise; 64 are remembered to tell late from duplicate.
const MAX_MISORDER: i16 = 100;

/// The statistics of one received stream, from which report blocks are made.
#[derive(Clone, Debug)]
pub struct Reception {
    clock: u32,
    ssrc: Option<Ssrc>,
    base: u32,
    highest: u32,
    /// Bit n: `highest - n` has arrived.
    seen: u64,
    received: u64,
    duplicates: u64,
    /// Duplicates of this source.
    repeated: u64,
    prior_expected: u64,
    prior_received: u64,
    lost_before_restart: u64,
    expected_before_restart: u64,
    /// The fates of the packets that have left `seen`.
    bursts: Bursts,
    transit: Option<(Instant, RtpTime)>,
    /// Jitter times 16, in ticks of the clock (A.8).
    jitter16: u64,
    last_report: Option<(u32, Instant)>,
}

impl Reception {
    /// Of a stream whose time stamps run at `clock` hertz.
    #[must_use]
    pub fn new(clock: u32) -> Self {
        Self {
            clock,
            ssrc: None,
            base: 0,
            highest: 0,
            seen: 0,
            received: 0,
            duplicates: 0,
            repeated: 0,
            prior_expected: 0,
            prior_received: 0,
            lost_before_restart: 0,
            expected_before_restart: 0,
            bursts: Bursts::default(),
            transit: None,
            jitter16: 0,
            last_report: None,
        }
    }

    /// Takes note of a packet and says where it stands.
    pub fn note(&mut self, now: Instant, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Arrival {
        let newest = SeqNo((self.highest & 0xffff) as u16);
        let step = seq.since(newest);
        let arrival = if self.ssrc != Some(ssrc) || !(-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
            self.restart(ssrc, seq);
            Arrival::Restarted
        } else if step > 0 {
            let step = step.unsigned_abs();
            Self::settle(&mut self.bursts, self.seen, self.highest.wrapping_sub(self.base), step);
            self.highest = self.highest.wrapping_add(u32::from(step));
            self.seen = self.seen.checked_shl(u32::from(step)).unwrap_or(0) | 1;
            Arrival::Ahead { missing: step - 1 }
        } else {
            let bit = 1_u64.checked_shl(u32::from(step.unsigned_abs())).unwrap_or(0);
            if self.seen & bit != 0 {
                self.duplicates += 1;
                self.repeated += 1;
                return Arrival::Duplicate;
            }
            self.seen |= bit;
            Arrival::Behind
        };
        self.received += 1;
        self.note_jitter(now, timestamp, arrival);
        arrival
    }

    /// Notes the fates of what `step` newer packets push out of `seen`; `known`: the newest packet's
    /// number since the first one.
    fn settle(bursts: &mut Bursts, seen: u64, known: u32, step: u16) {
        for gone in 0..step {
            // Bit 63 goes first; beyond the window nothing has come at all.
            let came = 63_u32.checked_sub(gone.into()).map(|bit| (bit, seen >> bit & 1 == 1));
            match came {
                Some((bit, came)) if bit <= known => bursts.note(came),
                Some(_) => {}
                None => bursts.note(false),
            }
        }
    }

    /// How loss clusters, of all sources so far.
    #[must_use]
    pub fn bursts(&self) -> Bursts {
        let mut bursts = self.bursts;
        if self.ssrc.is_some() {
            Self::settle(&mut bursts, self.seen, self.highest.wrapping_sub(self.base), 64);
        }
        bursts
    }

    /// The stream's time stamps run at `clock` hertz from now on.
    pub fn set_clock(&mut self, clock: u32) {
        if clock != self.clock && clock > 0 {
            self.jitter16 = self.jitter16 * u64::from(clock) / u64::from(self.clock.max(1));
            self.clock = clock;
            self.transit = None;
        }
    }

    fn restart(&mut self, ssrc: Ssrc, seq: SeqNo) {
        self.lost_before_restart = self.lost();
        self.expected_before_restart += self.expected();
        self.bursts = self.bursts();
        if self.ssrc != Some(ssrc) {
            // Another source has another path and another clock.
            self.jitter16 = 0;
        }
        self.ssrc = Some(ssrc);
        // One cycle up, so that packets before the first one do not run below zero.
        self.base = 0x1_0000 | u32::from(seq.0);
        self.highest = self.base;
        self.seen = 1;
        self.received = 0;
        self.repeated = 0;
        self.prior_expected = 0;
        self.prior_received = 0;
        self.transit = None;
        self.last_report = None;
    }

    fn note_jitter(&mut self, now: Instant, timestamp: RtpTime, arrival: Arrival) {
        if let (Some((before, stamp)), Arrival::Ahead { .. }) = (self.transit, arrival) {
            let elapsed = ticks(now.saturating_duration_since(before), self.clock);
            let media = i64::from(timestamp.since(stamp));
            // A silence or a jump of the sender's clock is no network jitter.
            if media > 0 && media < i64::from(self.clock) {
                let difference = elapsed.saturating_sub(media).unsigned_abs();
                self.jitter16 = self.jitter16 + difference.min(1 << 32) - ((self.jitter16 + 8) >> 4);
            }
        }
        if !matches!(arrival, Arrival::Behind) {
            self.transit = Some((now, timestamp));
        }
    }

    /// The source being received.
    #[must_use]
    pub const fn ssrc(&self) -> Option<Ssrc> {
        self.ssrc
    }

    /// Packets that never came, since the first one.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_before_restart + self.expected().saturating_sub(self.received)
    }

    /// Packets that were sent, as far as the sequence numbers tell.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.expected_before_restart + self.expected()
    }

    /// Packets that came more than once.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Smoothed interarrival jitter.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        let ticks = self.jitter16 >> 4;
        Duration::from_micros(ticks.saturating_mul(1_000_000) / u64::from(self.clock.max(1)))
    }

    fn expected(&self) -> u64 {
        if self.ssrc.is_none() { 0 } else { u64::from(self.highest.wrapping_sub(self.base)) + 1 }
    }

    /// Takes note of a sender report: the middle 32 bits of its NTP time.
    pub fn note_sender_report(&mut self, now: Instant, ssrc: Ssrc, middle_ntp: u32) {
        if self.ssrc == Some(ssrc) {
            self.last_report = Some((middle_ntp, now));
        }
    }

    /// The report block for the sender; starts a new interval. `None` before the first packet.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let ssrc = self.ssrc?;
        let expected = self.expected();
        let expected_since = expected.saturating_sub(self.prior_expected);
        // A.3 counts what came twice as received, so that the sum of both ends' counters agrees.
        let received = self.received + self.repeated;
        let received_since = received.saturating_sub(self.prior_received);
        self.prior_expected = expected;
        self.prior_received = received;
        let lost_since = expected_since.saturating_sub(received_since);
        let fraction = (lost_since * 256).checked_div(expected_since).unwrap_or(0);
        let (last_sr, delay) = self.last_report.map_or((0, 0), |(middle, at)| {
            let since = now.saturating_duration_since(at);
            (middle, u32::try_from((since.as_micros() << 16) / 1_000_000).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            total_lost: i32::try_from(expected.cast_signed() - received.cast_signed()).unwrap_or(i32::MAX),
            highest_seq: self.highest.wrapping_sub(0x1_0000),
            jitter: u32::try_from(self.jitter16 >> 4).unwrap_or(u32::MAX),
            last_sr,
            delay_since_sr: delay,
        })
    }
}

fn ticks(span: Duration, clock: u32) -> i64 {
    i64::try_from(span.as_micros() * u128::from(clock) / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc(7);

    fn feed(reception: &mut Reception, start: Instant, seqs: impl IntoIterator<Item = u16>) -> Vec<Arrival> {
        seqs.into_iter().map(|seq| reception.note(start, SSRC, SeqNo(seq), RtpTime(0))).collect()
    }

    #[test]
    fn order_loss_and_duplicates_are_told_apart_over_the_wrap() {
        let mut reception = Reception::new(8000);
        let arrivals = feed(&mut reception, Instant::now(), [65_534, 65_535, 1, 0, 1, 3]);
        assert_eq!(
            arrivals,
            [
                Arrival::Restarted,
                Arrival::Ahead { missing: 0 },
                Arrival::Ahead { missing: 1 },
                Arrival::Behind,
                Arrival::Duplicate,
                Arrival::Ahead { missing: 1 },
            ]
        );
        assert_eq!((reception.lost(), reception.duplicates()), (1, 1));
    }

    #[test]
    fn a_report_tells_loss_since_the_last_report_and_in_all() {
        let start = Instant::now();
        let mut reception = Reception::new(8000);
        feed(&mut reception, start, (0..100).filter(|n| n % 4 != 3));
        let first = reception.report(start).unwrap();
        assert_eq!((first.fraction_lost, first.total_lost, first.highest_seq), (62, 24, 98));
        feed(&mut reception, start, 100..150);
        let second = reception.report(start).unwrap();
        assert_eq!((second.fraction_lost, second.total_lost), (5, 25));
    }

    #[test]
    fn a_source_that_starts_anew_is_no_loss() {
        let mut reception = Reception::new(8000);
        feed(&mut reception, Instant::now(), [10, 11, 40_000, 40_001]);
        assert_eq!(reception.lost(), 0);
        assert_eq!(reception.note(Instant::now(), Ssrc(8), SeqNo(3), RtpTime(0)), Arrival::Restarted);
    }

    #[test]
    fn jitter_is_the_smoothed_difference_of_transit_times() {
        let start = Instant::now();
        let mut reception = Reception::new(8000);
        for n in 0..400_u32 {
            let late = Duration::from_millis(if n % 2 == 0 { 0 } else { 10 });
            let at = start + Duration::from_millis(20) * n + late;
            reception.note(at, SSRC, SeqNo(n as u16), RtpTime(n * 160));
        }
        let jitter = reception.jitter().as_millis();
        assert!((9..=10).contains(&jitter), "{jitter}");
    }

    #[test]
    fn another_clock_keeps_loss_and_the_time_that_jitter_is() {
        let start = Instant::now();
        let mut reception = Reception::new(8000);
        let note = |reception: &mut Reception, n: u32, clock: u32| {
            let late = Duration::from_millis(if n.is_multiple_of(2) { 0 } else { 10 });
            let at = start + Duration::from_millis(20) * n + late;
            reception.note(at, SSRC, SeqNo(n as u16), RtpTime(n * (clock / 50)));
        };
        (0..400).filter(|n| n % 100 != 7).for_each(|n| note(&mut reception, n, 8000));
        let before = reception.jitter();
        reception.set_clock(48_000);
        (400..410).for_each(|n| note(&mut reception, n, 48_000));
        assert_eq!(reception.lost(), 4);
        assert!(reception.jitter().abs_diff(before) < Duration::from_millis(1), "{:?}", reception.jitter());
    }

    #[test]
    fn duplicates_make_the_reported_loss_negative_and_our_own_never() {
        let start = Instant::now();
        let mut reception = Reception::new(8000);
        feed(&mut reception, start, [1, 2, 3, 3, 3, 4]);
        let block = reception.report(start).unwrap();
        assert_eq!((block.total_lost, block.fraction_lost), (-2, 0));
        assert_eq!((reception.lost(), reception.sent()), (0, 4));
    }

    #[test]
    fn the_fate_of_every_packet_is_known_once_and_late_ones_are_not_lost() {
        let mut reception = Reception::new(8000);
        // 10 comes late, 20 to 22 never, and the wrap is in the middle.
        let first = 65_530_u16;
        let order = (0..10).chain([11, 10]).chain(12..20).chain(23..200);
        feed(&mut reception, Instant::now(), order.map(|n| first.wrapping_add(n)));
        let bursts = reception.bursts();
        assert_eq!((bursts.counts(), reception.sent()), ((200, 3), 200));
        assert_eq!(bursts.figures().burst_length, 3);
        // A jump beyond the window, then another source.
        feed(&mut reception, Instant::now(), [first.wrapping_add(299)]);
        assert_eq!((reception.bursts().counts(), reception.lost()), ((300, 102), 102));
        reception.note(Instant::now(), Ssrc(8), SeqNo(3), RtpTime(0));
        assert_eq!((reception.bursts().counts(), reception.sent()), ((301, 102), 301));
    }

    #[test]
    fn jitter_is_counted_in_ticks_of_the_streams_own_clock() {
        let start = Instant::now();
        for clock in [8000_u32, 48_000] {
            let mut reception = Reception::new(8000);
            reception.set_clock(clock);
            for n in 0..400_u32 {
                let late = Duration::from_millis(if n % 2 == 0 { 0 } else { 10 });
                let at = start + Duration::from_millis(20) * n + late;
                reception.note(at, SSRC, SeqNo(n as u16), RtpTime(n * clock / 50));
            }
            let block = reception.report(start).unwrap();
            let millis = block.jitter * 1000 / clock;
            assert!((9..=10).contains(&millis) && (9..=10).contains(&reception.jitter().as_millis()));
        }
    }

    #[test]
    fn the_delay_since_the_last_sender_report_is_in_65536ths_of_a_second() {
        let start = Instant::now();
        let mut reception = Reception::new(8000);
        feed(&mut reception, start, [1]);
        reception.note_sender_report(start, SSRC, 0xaaaa_bbbb);
        let block = reception.report(start + Duration::from_millis(1500)).unwrap();
        assert_eq!((block.last_sr, block.delay_since_sr), (0xaaaa_bbbb, 98_304));
    }
}
