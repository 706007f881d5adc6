//! The one stream towards the phone: sequence +1 exactly, time stamps on the clock of the phone's codec.

use std::time::{Duration, Instant};

use super::frames::Frames;
use super::pacer::{Pacer, Spacing};
use crate::rtp::{NtpTime, PayloadType, RtpHeader, RtpTime, SenderFacts, SeqNo, Ssrc};

/// A packet of sound.
#[derive(Clone, Copy, Debug)]
pub struct Sound<'a> {
    /// When the packet that it was made from was received.
    pub arrived: Instant,
    /// Of the codec.
    pub payload_type: PayloadType,
    /// A new piece of sound begins.
    pub marker: bool,
    /// How long it lasts, on the codec's clock.
    pub ticks: u32,
    /// The codec's bytes.
    pub payload: &'a [u8],
}

/// Where the stream stands.
#[derive(Debug)]
pub struct Stream {
    ssrc: Ssrc,
    seq: SeqNo,
    clock: u32,
    /// The time stamp of the next sample.
    next: RtpTime,
    marker: bool,
    last_sent: Option<Instant>,
    /// [`Self::next`] as it was after the last packet.
    next_then: RtpTime,
    /// Packets and bytes under this source, for sender reports.
    packets: u64,
    bytes: u64,
    /// Those under earlier sources.
    before: (u64, u64),
    longest_gap: Duration,
    /// What the last packet lasts: `next` is its end.
    last_ticks: u32,
    pacer: Pacer,
}

impl Stream {
    /// A stream that has not begun; the marker is set on its first packet.
    #[must_use]
    pub fn new(ssrc: Ssrc, seq: SeqNo, first: RtpTime) -> Self {
        Self {
            ssrc,
            seq,
            clock: 8000,
            next: first,
            marker: true,
            last_sent: None,
            next_then: first,
            packets: 0,
            bytes: 0,
            before: (0, 0),
            longest_gap: Duration::ZERO,
            last_ticks: 0,
            pacer: Pacer::default(),
        }
    }

    /// Time stamps run at `clock` hertz from now on. A stream that has begun goes on under another
    /// source, because time stamps of two rates cannot be compared (RFC 7160 §4.1).
    pub const fn set_clock(&mut self, clock: u32) {
        if self.clock == clock {
            return;
        }
        self.clock = clock;
        self.marker = true;
        if self.packets > 0 {
            self.ssrc = Ssrc(self.ssrc.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            self.before = (self.before.0 + self.packets, self.before.1 + self.bytes);
            (self.packets, self.bytes) = (0, 0);
        }
    }

    /// Leaves out so many ticks; the next packet carries the marker.
    pub const fn leave_out(&mut self, ticks: u32) {
        self.next = self.next.plus(ticks);
        self.marker = true;
    }

    /// Time goes on by so many ticks that somebody else accounts for.
    pub const fn pass_over(&mut self, ticks: u32) {
        self.next = self.next.plus(ticks);
    }

    /// Sets the time stamp by our clock: what comes next follows the last packet, that lasted `slot`, as late as
    /// it is. Doing so again before a packet is sent changes nothing.
    pub fn catch_up(&mut self, now: Instant, slot: Duration) {
        let Some(before) = self.last_sent else { return };
        let elapsed = now.saturating_duration_since(before).saturating_sub(slot);
        let due = self.next_then.plus(self.ticks(elapsed));
        if due.since(self.next) > 0 {
            self.next = due;
        }
        self.marker = true;
    }

    /// Ticks of our clock in `span`.
    #[must_use]
    pub fn ticks(&self, span: Duration) -> u32 {
        u32::try_from(span.as_micros() * u128::from(self.clock) / 1_000_000).unwrap_or(u32::MAX)
    }

    /// Packets that were lost on their way to us stay lost to the phone, which repairs them itself.
    pub const fn lose(&mut self, packets: u16) {
        self.seq = SeqNo(self.seq.0.wrapping_add(packets));
    }

    /// Sends a packet of sound, at its distance from the one before.
    pub fn speak(&mut self, now: Instant, spacing: Spacing, sound: &Sound<'_>, out: &mut Frames) {
        let header = RtpHeader {
            marker: std::mem::take(&mut self.marker) || sound.marker,
            payload_type: sound.payload_type,
            seq: self.seq,
            timestamp: self.next,
            ssrc: self.ssrc,
        };
        self.next = self.next.plus(sound.ticks);
        self.last_ticks = sound.ticks;
        self.send(now, spacing, &header, sound.payload, Some(sound.arrived), out);
    }

    /// Sends a report of a key that began at `start`; what follows the key is a new piece of sound.
    pub fn say(
        &mut self,
        now: Instant,
        payload_type: PayloadType,
        start: RtpTime,
        first: bool,
        report: [u8; 4],
        out: &mut Frames,
    ) {
        let header =
            RtpHeader { marker: first, payload_type, seq: self.seq, timestamp: start, ssrc: self.ssrc };
        self.marker = true;
        self.last_ticks = 0;
        self.send(now, Spacing::Free, &header, &report, None, out);
    }

    fn send(
        &mut self,
        now: Instant,
        spacing: Spacing,
        header: &RtpHeader,
        payload: &[u8],
        arrived: Option<Instant>,
        out: &mut Frames,
    ) {
        let leaves = self.pacer.place(now, spacing, header, payload, arrived, out);
        self.next_then = self.next;
        self.seq = self.seq.next();
        self.packets += 1;
        self.bytes += payload.len() as u64;
        if let Some(before) = self.last_sent.replace(leaves) {
            self.longest_gap = self.longest_gap.max(leaves.saturating_duration_since(before));
        }
    }

    /// When a packet waits to leave.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.pacer.due()
    }

    /// Lets go what is due.
    pub fn release(&mut self, now: Instant, out: &mut Frames) {
        self.pacer.release(now, out);
    }

    /// The time stamp of the next sample.
    #[must_use]
    pub const fn timestamp(&self) -> RtpTime {
        self.next
    }

    /// When the last packet left.
    #[must_use]
    pub const fn last_sent(&self) -> Option<Instant> {
        self.last_sent
    }

    /// Ticks a second.
    #[must_use]
    pub const fn clock(&self) -> u32 {
        self.clock
    }

    /// Our source towards the phone.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// What a sender report says now; `None` before the first packet of this source.
    #[must_use]
    pub fn facts(&self, now: Instant, ntp: NtpTime) -> Option<SenderFacts> {
        let before = self.last_sent.filter(|_| self.packets > 0)?;
        let since = self.ticks(now.saturating_duration_since(before));
        Some(SenderFacts {
            ntp,
            rtp: self.next.plus(self.last_ticks.wrapping_neg()).plus(since),
            packets: (self.packets & u64::from(u32::MAX)) as u32,
            octets: (self.bytes & u64::from(u32::MAX)) as u32,
        })
    }

    /// Packets, payload bytes and the longest time between two packets.
    #[must_use]
    pub const fn figures(&self) -> (u64, u64, Duration) {
        (self.before.0 + self.packets, self.before.1 + self.bytes, self.longest_gap)
    }
}
