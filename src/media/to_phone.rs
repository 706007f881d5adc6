//! The pipe from the user to the phone: Opus in, G.711 out, on arrival, the sender's timing kept.
//!
//! Loss is repaired from the redundancy of the next packet or concealed, for as long as the phone can
//! still play it; the phone's own jitter buffer does the rest.

use std::time::{Duration, Instant};

use super::digits::Digits;
use super::frames::Frames;
use super::line::SLOT;
use super::reorder::{Place, Reorder};
use super::summary::DirectionSummary;
use super::to_meta::PhoneFormat;
use super::voice::VoiceDetector;
use crate::codec::{FRAME_SAMPLES, MAX_OPUS_SAMPLES, OpusDecoder, OpusError};
use crate::rtp::{
    Arrival, NtpTime, PayloadType, Reception, RtpHeader, RtpPacket, RtpTime, SenderFacts, SeqNo, Ssrc,
    TelephoneEvent,
};

/// Ticks of a 20 ms frame on Meta's clock.
const FRAME_TICKS: i32 = 960;
/// Lost frames up to this are repaired: what lies further back the phone has already bridged itself.
const REPAIRED: i32 = 3;
/// A jump of the sender's clock beyond this is a new start.
const LONGEST_JUMP: i32 = 48_000;

/// What the stream towards the phone looks like.
#[derive(Clone, Copy, Debug)]
pub struct PhoneLine {
    /// Codec and payload types, as we send them.
    pub format: PhoneFormat,
    /// Samples per packet: the phone's ptime.
    pub packet_samples: usize,
}

impl PhoneLine {
    /// With the packet length the phone asked for; odd ones become 20 ms.
    #[must_use]
    pub fn new(format: PhoneFormat, ptime: Duration) -> Self {
        let samples = ptime.as_millis() * 8;
        let packet_samples = match usize::try_from(samples) {
            Ok(samples @ (80 | 160 | 240 | 320 | 480)) => samples,
            _ => FRAME_SAMPLES,
        };
        Self { format, packet_samples }
    }
}

/// The pipe; see the module's words.
#[derive(Debug)]
pub struct ToPhone {
    decoder: OpusDecoder,
    opus: PayloadType,
    telephone_event: Option<PayloadType>,
    reception: Reception,
    reorder: Reorder,
    digits: Digits,
    next_report: Option<Instant>,
    /// The sender's time of the next sample, and ours.
    next: Option<RtpTime>,
    next_out: RtpTime,
    out: Option<PhoneLine>,
    sending: bool,
    ssrc: Ssrc,
    seq: SeqNo,
    marker: bool,
    codes: Vec<u8>,
    last_sent: Option<Instant>,
    voice: VoiceDetector,
    figures: DirectionSummary,
}

impl ToPhone {
    /// A pipe that decodes, but sends nothing until it knows what the phone takes.
    ///
    /// # Errors
    /// [`OpusError::Memory`] if libopus cannot make its state.
    pub fn new(
        opus: PayloadType,
        telephone_event: Option<PayloadType>,
        ssrc: Ssrc,
        seq: SeqNo,
        first: RtpTime,
    ) -> Result<Self, OpusError> {
        Ok(Self {
            decoder: OpusDecoder::new()?,
            opus,
            telephone_event,
            reception: Reception::new(48_000),
            reorder: Reorder::default(),
            digits: Digits::default(),
            next_report: None,
            next: None,
            next_out: first,
            out: None,
            sending: false,
            ssrc,
            seq,
            marker: true,
            codes: Vec::with_capacity(MAX_OPUS_SAMPLES),
            last_sent: None,
            voice: VoiceDetector::new(),
            figures: DirectionSummary::default(),
        })
    }

    /// What Meta sends, once its answer is known.
    pub const fn set_source(&mut self, opus: PayloadType, telephone_event: Option<PayloadType>) {
        self.opus = opus;
        self.telephone_event = telephone_event;
    }

    /// What the phone takes from now on, and whether it wants anything (hold).
    pub fn set_out(&mut self, out: PhoneLine, sending: bool) {
        if self.out.map(|it| it.format) != Some(out.format) {
            self.codes.clear();
            self.marker = true;
        }
        self.out = Some(out);
        if self.sending != sending {
            self.sending = sending;
            self.codes.clear();
            self.next = None;
        }
    }

    /// Takes a decrypted packet from Meta.
    pub fn receive(&mut self, now: Instant, arrived: Instant, bytes: &[u8], out: &mut Frames) {
        let Ok(packet) = RtpPacket::parse(bytes) else {
            self.figures.refused += 1;
            return;
        };
        let header = packet.header;
        self.figures.packets_in += 1;
        self.figures.bytes_in += packet.payload.len() as u64;
        if header.payload_type != self.opus && Some(header.payload_type) != self.telephone_event {
            self.figures.refused += 1;
        }
        match self.reception.note(arrived, header.ssrc, header.seq, header.timestamp) {
            Arrival::Duplicate => return,
            Arrival::Restarted => {
                self.reorder.reset();
                self.digits.restart();
                self.next = None;
            }
            Arrival::Ahead { .. } | Arrival::Behind => {}
        }
        loop {
            match self.reorder.place(now, arrived, header.seq, bytes) {
                Place::Now { missing } => self.deliver(now, arrived, &packet, missing, out),
                Place::AfterHeld => {
                    self.deliver_held(now, out);
                    continue;
                }
                Place::Held => {}
                Place::Late => self.figures.late += 1,
            }
            break;
        }
        self.deliver_ready(now, out);
    }

    fn deliver_held(&mut self, now: Instant, out: &mut Frames) {
        if let Some((held, missing)) = self.reorder.take() {
            if let Ok(packet) = RtpPacket::parse(held.bytes()) {
                self.deliver(now, held.arrived, &packet, missing, out);
            }
            self.reorder.give_back(held);
        }
        self.deliver_ready(now, out);
    }

    fn deliver_ready(&mut self, now: Instant, out: &mut Frames) {
        if let Some(held) = self.reorder.ready() {
            if let Ok(packet) = RtpPacket::parse(held.bytes()) {
                self.deliver(now, held.arrived, &packet, 0, out);
            }
            self.reorder.give_back(held);
        }
    }

    fn deliver(
        &mut self,
        now: Instant,
        arrived: Instant,
        packet: &RtpPacket<'_>,
        missing: u16,
        out: &mut Frames,
    ) {
        if Some(packet.header.payload_type) == self.telephone_event {
            if let Ok(report) = TelephoneEvent::parse(packet.payload) {
                let idle = !self.digits.is_active();
                self.digits.hear(now, packet.header.timestamp, report);
                // The key stands on the sender's audio clock; speech after it is a new piece.
                self.next = None;
                if idle && self.digits.is_active() {
                    self.codes.clear();
                    self.catch_up(now);
                    self.next_report = Some(now);
                    self.say(now, out);
                }
            }
        } else if packet.header.payload_type == self.opus {
            self.speech(now, arrived, packet, missing, out);
        }
    }

    fn speech(
        &mut self,
        now: Instant,
        arrived: Instant,
        packet: &RtpPacket<'_>,
        missing: u16,
        out: &mut Frames,
    ) {
        if self.voice.spoke() && (!self.sending || self.digits.is_active()) {
            self.next = None;
            return;
        }
        let stamp = packet.header.timestamp;
        match self.next.map(|next| stamp.since(next)) {
            Some(0) => {}
            Some(apart @ 1..=LONGEST_JUMP) => self.bridge(now, apart, packet.payload, missing, out),
            // A clock that was set back or far ahead, or the first packet: placed by our own clock.
            _ => self.catch_up(now),
        }
        let mut samples = [0; MAX_OPUS_SAMPLES];
        let Ok(count) = self.decoder.decode(packet.payload, &mut samples) else {
            self.figures.refused += 1;
            return;
        };
        self.next = Some(stamp.plus(count as u32 * 6));
        self.voice.hear(&samples[..count], 8000);
        self.push(now, arrived, &samples[..count], out);
    }

    /// Repairs or leaves out what lies between the last packet and this one.
    fn bridge(&mut self, now: Instant, apart: i32, payload: &[u8], missing: u16, out: &mut Frames) {
        let frames = apart / FRAME_TICKS;
        // Without a missing sequence number the sender was silent on purpose.
        if missing == 0 || frames > REPAIRED || apart % FRAME_TICKS != 0 {
            self.leave_out(apart.unsigned_abs() / 6);
            return;
        }
        for left in (0..frames).rev() {
            let mut frame = [0; FRAME_SAMPLES];
            let repaired = if left == 0 && OpusDecoder::has_redundancy(payload) {
                self.figures.recovered += 1;
                self.decoder.recover(payload, &mut frame)
            } else {
                self.figures.concealed += 1;
                self.decoder.conceal(&mut frame)
            };
            if repaired.is_ok() {
                self.push(now, now, &frame, out);
            }
        }
    }

    fn leave_out(&mut self, samples: u32) {
        self.next_out = self.next_out.plus(samples + self.codes.len() as u32);
        self.codes.clear();
        self.marker = true;
    }

    /// Sets our time stamp by our own clock after a splice.
    fn catch_up(&mut self, now: Instant) {
        if let Some(before) = self.last_sent {
            let elapsed = now.saturating_duration_since(before).saturating_sub(SLOT).as_micros() / 125;
            self.leave_out(u32::try_from(elapsed).unwrap_or(0));
        }
    }

    fn push(&mut self, now: Instant, arrived: Instant, samples: &[i16], out: &mut Frames) {
        let Some(line) = self.out.filter(|_| self.sending && !self.digits.is_active()) else { return };
        let start = self.codes.len();
        self.codes.resize(start + samples.len(), 0);
        line.format.codec.encode(samples, &mut self.codes[start..]);
        let whole = self.codes.len() / line.packet_samples * line.packet_samples;
        let mut at = 0;
        while at < whole {
            let end = at + line.packet_samples;
            let header = RtpHeader {
                marker: std::mem::take(&mut self.marker),
                payload_type: line.format.payload_type,
                seq: self.seq,
                timestamp: self.next_out,
                ssrc: self.ssrc,
            };
            out.push(&header, &self.codes[at..end], Some(arrived));
            self.next_out = self.next_out.plus(line.packet_samples as u32);
            self.sent(now, line.packet_samples);
            at = end;
        }
        self.codes.drain(..whole);
    }

    fn sent(&mut self, now: Instant, bytes: usize) {
        self.seq = self.seq.next();
        self.figures.packets_out += 1;
        self.figures.bytes_out += bytes as u64;
        if let Some(before) = self.last_sent.replace(now) {
            let gap = now.saturating_duration_since(before);
            self.figures.longest_gap = self.figures.longest_gap.max(gap);
        }
    }

    fn say(&mut self, now: Instant, out: &mut Frames) {
        while let Some(due) = self.next_report.filter(|due| *due <= now) {
            let Some(saying) = self.digits.say(now, self.next_out) else {
                self.next_report = None;
                return;
            };
            self.next_report = Some(due + SLOT);
            self.next_out = self.next_out.plus(FRAME_SAMPLES as u32);
            self.marker = true;
            let line = self.out.filter(|_| self.sending);
            let Some(payload_type) = line.and_then(|it| it.format.telephone_event) else { continue };
            let header = RtpHeader {
                marker: saying.first,
                payload_type,
                seq: self.seq,
                timestamp: saying.start,
                ssrc: self.ssrc,
            };
            out.push(&header, &saying.report.to_bytes(), None);
            self.sent(now, 4);
        }
    }

    /// When the pipe wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.reorder.deadline(), self.next_report].into_iter().flatten().min()
    }

    /// Does what is due; an early or extra call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Frames) {
        if self.reorder.deadline().is_some_and(|deadline| deadline <= now) {
            self.deliver_held(now, out);
        }
        self.say(now, out);
    }

    /// True once the user has spoken for 200 ms.
    #[must_use]
    pub const fn user_spoke(&self) -> bool {
        self.voice.spoke()
    }

    /// True once speech has gone out to the phone.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.last_sent.is_some()
    }

    /// Our source towards the phone.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// What a sender report says now; `None` before the first packet.
    #[must_use]
    pub fn facts(&self, now: Instant, ntp: NtpTime) -> Option<SenderFacts> {
        let before = self.last_sent?;
        let since = now.saturating_duration_since(before).as_micros() / 125;
        Some(SenderFacts {
            ntp,
            rtp: self.next_out.plus((since & u128::from(u32::MAX)) as u32),
            packets: (self.figures.packets_out & u64::from(u32::MAX)) as u32,
            octets: (self.figures.bytes_out & u64::from(u32::MAX)) as u32,
        })
    }

    /// How Meta's stream arrives, for our receiver reports.
    pub const fn reception(&mut self) -> &mut Reception {
        &mut self.reception
    }

    /// The figures of this direction so far.
    #[must_use]
    pub fn figures(&self) -> DirectionSummary {
        DirectionSummary {
            lost: self.reception.lost(),
            duplicates: self.reception.duplicates(),
            jitter: self.reception.jitter(),
            digits: self.digits.heard(),
            ..self.figures.clone()
        }
    }
}
