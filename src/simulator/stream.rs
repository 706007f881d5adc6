//! Watches the one RTP stream of the business for what Meta's relay and the WhatsApp client cannot bear
//! (reference §12.6): a second SSRC, a broken sequence, timestamps that leave the elapsed time, gaps.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Ticks of one 20 ms frame at 48 kHz.
pub(super) const FRAME_TICKS: u32 = 960;

/// The longest silence on the wire that is no gap.
const GAP: Duration = Duration::from_millis(60);

/// Transit is compared over this many packets, about one second.
const WINDOW: u32 = 50;

/// How far the smallest transit may move from one window to the next: one frame, and a little for clocks.
const MAX_STEP_MS: f64 = 22.0;

/// The parts of an RTP header (RFC 3550 §5.1) that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Payload type.
    pub(super) payload_type: u8,
    /// Marker bit.
    pub(super) marker: bool,
    /// Sequence number.
    pub(super) sequence: u16,
    /// Timestamp.
    pub(super) timestamp: u32,
    /// Source.
    pub(super) ssrc: u32,
}

impl Header {
    /// The header and the payload of a decrypted packet; `None` if the bytes are no RTP packet.
    pub(super) fn split(packet: &[u8]) -> Option<(Self, &[u8])> {
        let (fixed, mut rest) = packet.split_first_chunk::<12>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        rest = rest.get(usize::from(fixed[0] & 0x0f) * 4..)?;
        if fixed[0] & 0x10 != 0 {
            let (head, tail) = rest.split_first_chunk::<4>()?;
            rest = tail.get(usize::from(u16::from_be_bytes([head[2], head[3]])) * 4..)?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*rest.last()?);
            rest = rest.get(..rest.len().checked_sub(padding)?)?;
        }
        let header = Self {
            payload_type: fixed[1] & 0x7f,
            marker: fixed[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        Some((header, rest))
    }

    /// The twelve bytes of a header without extension.
    pub(super) fn write(&self, packet: &mut Vec<u8>) {
        packet.extend_from_slice(&[0x80, u8::from(self.marker) << 7 | self.payload_type]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// What was counted, as `GET /sim/calls/{id}` shows it under `rtp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counted {
    /// RTP packets that authenticated.
    pub(super) received: u64,
    /// Sequence numbers skipped and never filled.
    pub(super) lost: u64,
    /// Times that more than 60 ms passed without a packet.
    pub(super) gaps_over_60ms: u64,
    /// The longest such time, any length.
    pub(super) max_gap_ms: u64,
    /// Every source seen, in order of appearance; more than one is a violation.
    pub(super) ssrcs: Vec<u32>,
    /// Packets whose sequence number was not the last one plus 1.
    pub(super) seq_breaks: u64,
    /// Times that the timestamps left the elapsed time by more than a frame.
    pub(super) timestamp_breaks: u64,
}

/// A rule that one packet broke.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Breach {
    /// A source other than the first.
    SecondSsrc(u32),
    /// The step from the last sequence number, +1 being right.
    Sequence(i32),
    /// Timestamp went back or stood still between audio frames.
    TimestampBack(i64),
    /// Timestamps moved against the clock by this many milliseconds.
    TimestampDrift(f64),
    /// No packet for this long.
    Gap(Duration),
}

impl Breach {
    /// For the violation list.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::SecondSsrc(ssrc) => format!("second business SSRC {ssrc:#010x}"),
            Self::Sequence(step) => format!("sequence number went {step:+} instead of +1"),
            Self::TimestampBack(ticks) => format!("audio timestamp went {ticks:+} ticks"),
            Self::TimestampDrift(ms) => format!("timestamps left the elapsed time by {ms:+.1} ms"),
            Self::Gap(gap) => format!("no packet for {} ms", gap.as_millis()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    sequence: u16,
    timestamp: u32,
}

/// The watch over one call's stream.
#[derive(Debug, Default)]
pub(super) struct StreamCheck {
    counted: Counted,
    last: Option<Last>,
    last_audio: Option<u32>,
    origin: Option<(Instant, u32)>,
    unwrapped: i64,
    base: Option<f64>,
    window: (u32, f64),
}

impl StreamCheck {
    /// What was counted so far.
    pub(super) const fn counted(&self) -> &Counted {
        &self.counted
    }

    /// When the last packet came.
    pub(super) fn last_packet(&self) -> Option<Instant> {
        self.last.map(|last| last.at)
    }

    /// One authenticated packet; `audio` is false for RFC 4733 events, whose timestamp stands still.
    pub(super) fn packet(&mut self, now: Instant, header: Header, audio: bool) -> Vec<Breach> {
        let mut breaches = Vec::new();
        self.counted.received += 1;
        if !self.counted.ssrcs.contains(&header.ssrc) {
            if !self.counted.ssrcs.is_empty() {
                breaches.push(Breach::SecondSsrc(header.ssrc));
            }
            // A peer that sprays sources must not fill our memory.
            if self.counted.ssrcs.len() < 32 {
                self.counted.ssrcs.push(header.ssrc);
            }
        }
        if self.counted.ssrcs.first() != Some(&header.ssrc) {
            return breaches;
        }
        if let Some(last) = self.last {
            self.follow(now, header, last, audio, &mut breaches);
            // A late packet is judged, but does not move the line.
            if header.sequence.wrapping_sub(last.sequence) > 0x8000 {
                return breaches;
            }
        } else {
            self.origin = Some((now, header.timestamp));
        }
        self.last = Some(Last { at: now, sequence: header.sequence, timestamp: header.timestamp });
        if audio {
            self.last_audio = Some(header.timestamp);
            breaches.extend(self.transit(now));
        }
        breaches
    }

    fn follow(&mut self, now: Instant, header: Header, last: Last, audio: bool, breaches: &mut Vec<Breach>) {
        let gap = now.saturating_duration_since(last.at);
        self.counted.max_gap_ms =
            self.counted.max_gap_ms.max(u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
        if gap > GAP {
            self.counted.gaps_over_60ms += 1;
            breaches.push(Breach::Gap(gap));
        }
        let forward = header.sequence.wrapping_sub(last.sequence);
        if forward != 1 {
            self.counted.seq_breaks += 1;
            let step = if forward > 0x8000 { i32::from(forward) - 0x1_0000 } else { i32::from(forward) };
            breaches.push(Breach::Sequence(step));
            match step {
                2.. => self.counted.lost += u64::from(forward) - 1,
                ..0 => self.counted.lost = self.counted.lost.saturating_sub(1),
                _ => {}
            }
            if step <= 0 {
                return;
            }
        }
        self.unwrapped += signed(header.timestamp.wrapping_sub(last.timestamp));
        if let Some(previous) = self.last_audio.filter(|_| audio) {
            let step = signed(header.timestamp.wrapping_sub(previous));
            if step <= 0 {
                self.counted.timestamp_breaks += 1;
                breaches.push(Breach::TimestampBack(step));
            }
        }
    }

    /// Compares arrival with timestamp. The smallest value of a window is free of queueing, so a change of it is
    /// the sender's doing.
    fn transit(&mut self, now: Instant) -> Option<Breach> {
        let (start, _) = self.origin?;
        let elapsed = now.saturating_duration_since(start).as_secs_f64() * 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "media time of a call stays far below 2^52 ticks")]
        let transit = elapsed - self.unwrapped as f64 / 48.0;
        let (count, smallest) = self.window;
        let smallest = if count == 0 { transit } else { smallest.min(transit) };
        if count + 1 < WINDOW {
            self.window = (count + 1, smallest);
            return None;
        }
        self.window = (0, 0.0);
        let base = *self.base.get_or_insert(smallest);
        let step = smallest - base;
        if step.abs() > MAX_STEP_MS {
            self.base = Some(smallest);
            self.counted.timestamp_breaks += 1;
            return Some(Breach::TimestampDrift(-step));
        }
        // Two honest clocks drift apart slowly; follow them.
        self.base = Some(base + step * 0.1);
        None
    }
}

/// A 32-bit difference as a signed number.
fn signed(difference: u32) -> i64 {
    let value = i64::from(difference);
    if value >= 0x8000_0000 { value - 0x1_0000_0000 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sender {
        check: StreamCheck,
        now: Instant,
        header: Header,
    }

    impl Sender {
        fn new() -> Self {
            let header = Header {
                payload_type: 111,
                marker: false,
                sequence: 65_500,
                timestamp: u32::MAX - 5_000,
                ssrc: 7,
            };
            Self { check: StreamCheck::default(), now: Instant::now(), header }
        }

        fn send(&mut self) -> Vec<Breach> {
            let breaches = self.check.packet(self.now, self.header, true);
            self.now += Duration::from_millis(20);
            self.header.sequence = self.header.sequence.wrapping_add(1);
            self.header.timestamp = self.header.timestamp.wrapping_add(FRAME_TICKS);
            breaches
        }

        fn good(&mut self, packets: usize) {
            for _ in 0..packets {
                assert_eq!(self.send(), []);
            }
        }
    }

    #[test]
    fn a_clean_stream_over_both_wraps_has_no_breach() {
        let mut sender = Sender::new();
        sender.good(500);
        let counted = sender.check.counted();
        assert_eq!((counted.received, counted.lost, counted.max_gap_ms), (500, 0, 20));
    }

    #[test]
    fn a_second_source_is_named_once() {
        let mut sender = Sender::new();
        sender.good(3);
        sender.header.ssrc = 8;
        assert_eq!(sender.send(), [Breach::SecondSsrc(8)]);
        assert_eq!(sender.send(), []);
        assert_eq!(sender.check.counted().ssrcs, [7, 8]);
    }

    #[test]
    fn a_skipped_number_is_a_break_and_a_loss_until_the_late_packet_comes() {
        let mut sender = Sender::new();
        sender.good(3);
        let late = sender.header;
        sender.header.sequence = sender.header.sequence.wrapping_add(1);
        sender.header.timestamp = sender.header.timestamp.wrapping_add(FRAME_TICKS);
        assert_eq!(sender.send(), [Breach::Sequence(2)]);
        assert_eq!(sender.check.counted().lost, 1);
        assert_eq!(sender.check.packet(sender.now, late, true), [Breach::Sequence(-1)]);
        assert_eq!((sender.check.counted().lost, sender.check.counted().seq_breaks), (0, 2));
        sender.good(1);
    }

    #[test]
    fn sixty_milliseconds_are_no_gap_and_one_more_is() {
        for (millis, gaps) in [(60, 0), (61, 1)] {
            let mut sender = Sender::new();
            sender.good(2);
            sender.now += Duration::from_millis(millis - 20);
            let breaches = sender.send();
            assert_eq!(breaches.len(), gaps, "{breaches:?}");
            assert_eq!(sender.check.counted().max_gap_ms, millis);
        }
    }

    #[test]
    fn a_splice_one_frame_off_is_borne_and_two_frames_are_not() {
        for (frames, breaks) in [(1, 0), (2, 1)] {
            let mut sender = Sender::new();
            sender.good(120);
            sender.header.timestamp = sender.header.timestamp.wrapping_add(frames * FRAME_TICKS);
            for _ in 0..120 {
                sender.send();
            }
            assert_eq!(sender.check.counted().timestamp_breaks, breaks, "{frames} frames");
        }
    }

    #[test]
    fn jitter_on_the_way_is_not_the_senders_fault() {
        let mut sender = Sender::new();
        for i in 0..400_u64 {
            let jitter = Duration::from_millis(i * 7 % 35);
            assert_eq!(sender.check.packet(sender.now + jitter, sender.header, true), []);
            sender.now += Duration::from_millis(20);
            sender.header.sequence = sender.header.sequence.wrapping_add(1);
            sender.header.timestamp = sender.header.timestamp.wrapping_add(FRAME_TICKS);
        }
    }

    #[test]
    fn a_timestamp_that_stands_still_is_named_for_audio_only() {
        let mut sender = Sender::new();
        sender.good(2);
        sender.header.timestamp = sender.header.timestamp.wrapping_sub(FRAME_TICKS);
        assert_eq!(sender.check.packet(sender.now, sender.header, false), []);
        sender.header.sequence = sender.header.sequence.wrapping_add(1);
        assert_eq!(sender.check.packet(sender.now, sender.header, true), [Breach::TimestampBack(0)]);
    }

    #[test]
    fn a_header_reads_as_it_was_written_and_bad_bytes_are_none() {
        let header = Header { payload_type: 126, marker: true, sequence: 9, timestamp: 48, ssrc: 5 };
        let mut packet = Vec::new();
        header.write(&mut packet);
        packet.extend_from_slice(b"abc");
        assert_eq!(Header::split(&packet), Some((header, &b"abc"[..])));
        assert_eq!(Header::split(&packet[..11]), None);
        packet[0] = 0xbf;
        assert_eq!(Header::split(&packet), None);
    }
}
