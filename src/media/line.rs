//! The one stream towards Meta: sequence +1 exactly, time stamps by elapsed media time (rule 11).

use std::time::{Duration, Instant};

use super::digits::Saying;
use super::frames::Frames;
use crate::rtp::{NtpTime, PayloadType, RtpHeader, RtpTime, SenderFacts, SeqNo, Ssrc};

/// The length of a slot: one Opus frame.
pub const SLOT: Duration = Duration::from_millis(20);
/// Ticks of Opus' 48 kHz clock in a slot.
const SLOT_TICKS: u32 = 960;

/// Slots of 20 ms, counted from the first packet; every packet fills the next one.
#[derive(Debug)]
pub struct Line {
    ssrc: Ssrc,
    payload_type: PayloadType,
    seq: SeqNo,
    first: RtpTime,
    /// When slot 0 was sent.
    epoch: Option<Instant>,
    slot: u32,
    last_sent: Option<Instant>,
    marker: bool,
    packets: u64,
    bytes: u64,
    longest_gap: Duration,
}

impl Line {
    /// A line that has not begun; the marker is set on its first packet.
    #[must_use]
    pub const fn new(ssrc: Ssrc, payload_type: PayloadType, seq: SeqNo, first: RtpTime) -> Self {
        Self {
            ssrc,
            payload_type,
            seq,
            first,
            epoch: None,
            slot: 0,
            last_sent: None,
            marker: true,
            packets: 0,
            bytes: 0,
            longest_gap: Duration::ZERO,
        }
    }

    /// Begins: slot 0 is now.
    pub const fn begin(&mut self, now: Instant) {
        if self.epoch.is_none() {
            self.epoch = Some(now);
        }
    }

    /// True once it has begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.epoch.is_some()
    }

    /// When the next packet is due by the clock; `None` before the line began.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.epoch.map(|epoch| epoch + SLOT * self.slot)
    }

    /// The time stamp of the next slot.
    #[must_use]
    pub const fn timestamp(&self) -> RtpTime {
        self.first.plus(self.slot.wrapping_mul(SLOT_TICKS))
    }

    /// When the last packet left.
    #[must_use]
    pub const fn last_sent(&self) -> Option<Instant> {
        self.last_sent
    }

    /// The next packet starts a new piece of sound.
    pub const fn mark(&mut self) {
        self.marker = true;
    }

    /// Leaves the next slot out: its packet was lost on the way to us.
    pub const fn leave_hole(&mut self) {
        self.slot = self.slot.saturating_add(1);
    }

    /// Leaves slots out, up to the one that is due now: after a stop of this process nobody needs them.
    pub fn skip_to(&mut self, now: Instant) {
        if let Some(due) = self.due() {
            let slots = now.saturating_duration_since(due).as_millis() / SLOT.as_millis();
            self.slot = self.slot.saturating_add(u32::try_from(slots).unwrap_or(0));
            self.marker = true;
        }
    }

    /// Fills the next slot with an Opus frame.
    pub fn speak(&mut self, now: Instant, frame: &[u8], arrived: Option<Instant>, out: &mut Frames) {
        let header = RtpHeader {
            marker: std::mem::take(&mut self.marker),
            payload_type: self.payload_type,
            seq: self.seq,
            timestamp: self.timestamp(),
            ssrc: self.ssrc,
        };
        self.send(now, &header, frame, arrived, out);
    }

    /// Fills the next slot with a report of a key; its time stamp is that of the key's start.
    pub fn say(&mut self, now: Instant, payload_type: PayloadType, saying: &Saying, out: &mut Frames) {
        let header = RtpHeader {
            marker: saying.first,
            payload_type,
            seq: self.seq,
            timestamp: saying.start,
            ssrc: self.ssrc,
        };
        // What follows the key is a new piece of sound.
        self.marker = true;
        self.send(now, &header, &saying.report.to_bytes(), None, out);
    }

    fn send(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        payload: &[u8],
        arrived: Option<Instant>,
        out: &mut Frames,
    ) {
        out.push(header, payload, arrived);
        if let Some(before) = self.last_sent.replace(now) {
            self.longest_gap = self.longest_gap.max(now.saturating_duration_since(before));
        }
        self.seq = self.seq.next();
        self.slot = self.slot.saturating_add(1);
        self.packets += 1;
        self.bytes += payload.len() as u64;
    }

    /// What a sender report says now; `None` before the first packet.
    #[must_use]
    pub fn facts(&self, now: Instant, ntp: NtpTime) -> Option<SenderFacts> {
        let epoch = self.epoch.filter(|_| self.packets > 0)?;
        let ticks = now.saturating_duration_since(epoch).as_micros() * 48 / 1000;
        Some(SenderFacts {
            ntp,
            rtp: self.first.plus((ticks & u128::from(u32::MAX)) as u32),
            packets: (self.packets & u64::from(u32::MAX)) as u32,
            octets: (self.bytes & u64::from(u32::MAX)) as u32,
        })
    }

    /// Packets, payload bytes and the longest time between two packets.
    #[must_use]
    pub const fn figures(&self) -> (u64, u64, Duration) {
        (self.packets, self.bytes, self.longest_gap)
    }

    /// Our source towards Meta.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }
}
