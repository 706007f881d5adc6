//! The pipe from the phone to the user: speech of any packet length in, one Opus packet every 20 ms out.
//!
//! Speech is decoded and encoded at the rate of the phone's codec: `ToMeta::speech` is where the phone's
//! samples appear, as they came, `ToMeta::encode` where every frame of 20 ms passes that the user hears.
//!
//! Work is done on arrival and the sender's timing is kept. When nothing came for a while a 20 ms
//! generator fills the slots: the end of the speech, fading, then the room's noise, both through the
//! encoder (rule 12). Speech that returns takes the slot after the last one sent (rule 11).

mod clock;
mod inserted;
mod keys;
mod passing;
mod played;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::inserted::Ear;
use self::passing::Passage;
use super::announcer::Announcer;
use super::comfort::ComfortNoise;
use super::concealer::Concealer;
use super::detector::Detector;
use super::digits::Digits;
use super::format::PhoneFormat;
use super::frames::Frames;
use super::jitter::Timing;
use super::line::{Line, SLOT};
use super::playout::Playout;
use super::reorder::{Place, Reorder};
use super::silence::{SilenceWatch, Worth};
use super::summary::DirectionSummary;
use crate::codec::{
    AudioCodec, CodecError, EncoderSettings, MAX_FRAME_SAMPLES, MAX_OPUS_PACKET, OpusEncoder, SampleRate,
    SpeechDecoder,
};
use crate::rtp::{Arrival, PayloadType, Reception, RtpPacket, RtpTime, SeqNo, Ssrc};

/// Samples of 200 ms at the highest rate, far above any packet length in use.
const LONGEST_PACKET: usize = SampleRate::Wide.samples(200);
/// A gap of up to so many milliseconds is concealed sample by sample; beyond it the stream is set anew.
const LONGEST_GAP: usize = 60;
/// Milliseconds: what is older comes from a clock that jumped.
const OLDEST: usize = 2000;
/// The generator begins this much before its limit, so that the gap on the wire stays below it also when the
/// thread is woken late: with 5 ms, every pause of a phone on a busy machine could become a gap.
const HEAD_START: Duration = Duration::from_millis(10);
/// Frames that came at once leave at this distance (rule 13).
const PACE: Duration = Duration::from_millis(5);
/// A frame further before its slot is left out: the sender's clock runs ahead, and rule 11 allows one frame.
const AHEAD: Duration = SLOT;
/// Speech after comfort is placed within half a slot of its time, so that the phone's jitter has room on both
/// sides: a first frame further ahead is left out, since comfort has filled most of its time.
const AHEAD_AFTER_COMFORT: Duration = Duration::from_millis(10);
/// After a stop longer than this, slots are skipped, not filled.
const LONGEST_FILL: Duration = Duration::from_millis(500);

/// What the stream towards Meta looks like.
#[derive(Clone, Copy, Debug)]
pub struct LineSettings {
    /// Our one source.
    pub ssrc: Ssrc,
    /// Opus in Meta's SDP.
    pub opus: PayloadType,
    /// Telephone events in Meta's SDP.
    pub telephone_event: PayloadType,
    /// How libopus encodes; the bitrate follows `maxaveragebitrate` of Meta's SDP.
    pub encoder: EncoderSettings,
    /// The generator takes over when nothing was sent for this long.
    pub comfort_after: Duration,
    /// First sequence number, below 2^15.
    pub first_seq: SeqNo,
    /// First time stamp.
    pub first_timestamp: RtpTime,
    /// Seed of the comfort noise.
    pub noise: u32,
}

/// The pipe; see the module's words.
#[derive(Debug)]
pub struct ToMeta {
    settings: LineSettings,
    line: Line,
    /// That of the phone's codec, 8 kHz while it is not known.
    rate: SampleRate,
    encoder: OpusEncoder,
    format: Option<PhoneFormat>,
    decoder: SpeechDecoder,
    passage: Passage,
    reception: Reception,
    reorder: Reorder,
    playout: Playout,
    concealer: Concealer,
    digits: Digits,
    /// Keys in the phone's sound.
    ear: Ear,
    detector: Detector,
    announcer: Announcer,
    comfort: ComfortNoise,
    silence: SilenceWatch,
    /// Speech not sent yet; whole frames have an entry in `due`.
    pcm: Vec<i16>,
    due: VecDeque<(Instant, Instant)>,
    last_due: Option<Instant>,
    /// The time stamp of the next sample; `None`: the next packet sets it.
    next: Option<RtpTime>,
    late_since: Option<(Instant, u32)>,
    open: bool,
    /// The generator has taken over and keeps the clock.
    generating: bool,
    /// What was sent last was not the phone's.
    spliced: bool,
    smallest_lag: Duration,
    lag_count: u32,
    figures: DirectionSummary,
    spoke: bool,
}

impl ToMeta {
    /// A pipe whose line has not begun and whose gate is shut.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(settings: LineSettings) -> Result<Self, CodecError> {
        let rate = SampleRate::Narrow;
        Ok(Self {
            line: Line::new(settings.ssrc, settings.opus, settings.first_seq, settings.first_timestamp),
            rate,
            encoder: OpusEncoder::new(rate, &settings.encoder)?,
            format: None,
            decoder: SpeechDecoder::new(AudioCodec::Pcmu)?,
            passage: Passage::default(),
            reception: Reception::new(8000),
            reorder: Reorder::default(),
            playout: Playout::of_phone(AudioCodec::Pcmu),
            concealer: Concealer::new(settings.noise, rate),
            digits: Digits::default(),
            ear: Ear::Shut,
            detector: Detector::new(rate.hz()),
            announcer: Announcer::default(),
            comfort: ComfortNoise::new(!settings.noise),
            silence: SilenceWatch::default(),
            pcm: Vec::with_capacity(2 * LONGEST_PACKET),
            due: VecDeque::with_capacity(16),
            last_due: None,
            next: None,
            late_since: None,
            open: false,
            generating: false,
            spliced: false,
            smallest_lag: Duration::MAX,
            lag_count: 0,
            figures: DirectionSummary::default(),
            spoke: false,
            settings,
        })
    }

    /// Who keeps the time of what the user hears.
    pub const fn set_timing(&mut self, timing: Timing) {
        self.playout.set_timing(timing);
    }

    /// What Meta's description says; without effect once the line has begun.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn set_line(
        &mut self,
        opus: PayloadType,
        telephone_event: PayloadType,
        bitrate: u32,
    ) -> Result<(), CodecError> {
        if self.line.has_begun() {
            return Ok(());
        }
        let encoder = EncoderSettings { bitrate, ..self.settings.encoder };
        if encoder != self.settings.encoder {
            self.encoder = OpusEncoder::new(self.rate, &encoder)?;
            self.silence = SilenceWatch::default();
        }
        self.settings = LineSettings { opus, telephone_event, encoder, ..self.settings };
        let LineSettings { ssrc, first_seq, first_timestamp, .. } = self.settings;
        self.line = Line::new(ssrc, opus, first_seq, first_timestamp);
        Ok(())
    }

    /// Begins to send, with a comfort frame at once.
    pub fn begin(&mut self, now: Instant, out: &mut Frames) {
        if !self.line.has_begun() {
            self.line.begin(now);
            self.fill(now, out);
        }
    }

    /// Opens or shuts the way for the phone's speech; shut, the user hears comfort noise.
    pub fn set_open(&mut self, open: bool) {
        if self.open != open {
            self.open = open;
            self.drop_speech();
            self.concealer.forget();
            // Nobody's speech is waited for now: the next slot is filled when it is due.
            self.generating = true;
        }
    }

    /// What the phone sends from now on. Another rate brings another encoder; the line goes on.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn set_format(&mut self, format: PhoneFormat) -> Result<(), CodecError> {
        if self.format == Some(format) {
            return Ok(());
        }
        if self.format.map(|it| it.codec) != Some(format.codec) {
            self.stop_passing();
            if format.codec == AudioCodec::Opus {
                self.passage.prepare();
            }
            let rate = format.codec.rate();
            self.decoder = SpeechDecoder::new(format.codec)?;
            if rate != self.rate {
                self.encoder = OpusEncoder::new(rate, &self.settings.encoder)?;
                self.concealer.set_rate(rate);
                self.rate = rate;
                self.silence = SilenceWatch::default();
                self.detector = Detector::new(rate.hz());
            }
            self.reception.set_clock(format.codec.clock());
            self.playout.restart(Playout::of_phone(format.codec));
        }
        self.format = Some(format);
        // Whoever speaks Opus knows events, and Opus that is only passed on has no sound to listen to.
        let reports = format.has_events() || format.codec == AudioCodec::Opus;
        self.ear = if reports { Ear::Shut } else { Ear::Reports };
        self.drop_speech();
        Ok(())
    }

    /// The user's side reports loss: libopus prepares for it.
    pub fn expect_loss(&mut self, percent: u8) {
        self.settings.encoder.expected_loss = percent;
        self.encoder.expect_loss(percent);
    }

    /// Trades work for sound from the next frame on: 0 (least work) to 10.
    pub fn set_complexity(&mut self, complexity: u8) {
        self.settings.encoder.complexity = complexity;
        if !self.silence.is_silent() {
            self.encoder.set_complexity(complexity);
        }
    }

    /// The loss that libopus prepares for, in per cent.
    #[must_use]
    pub const fn expected_loss(&self) -> u8 {
        self.settings.encoder.expected_loss
    }

    fn drop_speech(&mut self) {
        self.playout.reset();
        self.stop_passing();
        self.pcm.clear();
        self.due.clear();
        self.next = None;
        self.late_since = None;
    }

    /// Takes a packet from the phone.
    pub fn receive(&mut self, now: Instant, arrived: Instant, bytes: &[u8], out: &mut Frames) {
        let (Ok(packet), Some(format)) = (RtpPacket::parse(bytes), self.format) else {
            self.figures.refused += 1;
            return;
        };
        self.digits.let_go(now);
        let header = packet.header;
        self.figures.packets_in += 1;
        self.figures.bytes_in += packet.payload.len() as u64;
        let known = header.payload_type == format.payload_type
            || format.events_of(header.payload_type).is_some()
            || header.payload_type == COMFORT_NOISE;
        if !known {
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
        if self.is_buffered(now, arrived, &packet, format, out) {
            return;
        }
        loop {
            match self.reorder.place(now, arrived, header.seq, bytes) {
                Place::Now { .. } => self.deliver(now, arrived, &packet, out),
                Place::AfterHeld => {
                    self.deliver_held(now, out);
                    continue;
                }
                Place::Held => {}
                Place::Late => self.figures.late += 1,
            }
            break;
        }
        if let Some(held) = self.reorder.ready() {
            self.deliver_bytes(now, held.arrived, held.bytes(), out);
            self.reorder.give_back(held);
        }
    }

    fn deliver_held(&mut self, now: Instant, out: &mut Frames) {
        if let Some((held, _)) = self.reorder.take() {
            self.deliver_bytes(now, held.arrived, held.bytes(), out);
            self.reorder.give_back(held);
        }
        if let Some(held) = self.reorder.ready() {
            self.deliver_bytes(now, held.arrived, held.bytes(), out);
            self.reorder.give_back(held);
        }
    }

    fn deliver_bytes(&mut self, now: Instant, arrived: Instant, bytes: &[u8], out: &mut Frames) {
        if let Ok(packet) = RtpPacket::parse(bytes) {
            self.deliver(now, arrived, &packet, out);
        }
    }

    fn deliver(&mut self, now: Instant, arrived: Instant, packet: &RtpPacket<'_>, out: &mut Frames) {
        let Some(format) = self.format else { return };
        if !self.open || !self.line.has_begun() {
            return;
        }
        if let Some(events) = format.events_of(packet.header.payload_type) {
            self.hear_key(now, packet, events, out);
        } else if packet.header.payload_type == COMFORT_NOISE {
            self.pause(packet.payload);
        } else if packet.header.payload_type == format.payload_type {
            let idle = !self.digits.is_active();
            if !idle && self.ear != Ear::Reports {
                return;
            }
            if format.codec == AudioCodec::Opus {
                self.opus_speech(now, arrived, packet, out);
            } else {
                self.speech(now, arrived, packet, format.codec);
            }
            self.begin_key(now, idle, out);
            self.flush(now, out);
        }
    }

    fn speech(&mut self, now: Instant, arrived: Instant, packet: &RtpPacket<'_>, codec: AudioCodec) {
        let mut decoded = [0; LONGEST_PACKET];
        let storage = &mut decoded[..self.rate.samples(200)];
        let count = match self.decoder.decode(packet.payload, storage) {
            Ok(count) if count > 0 => count,
            _ => {
                // An empty packet keeps a port open.
                self.figures.refused += u64::from(!packet.payload.is_empty());
                return;
            }
        };
        let mut samples = &mut decoded[..count];
        if !self.admit(now, samples) {
            return;
        }
        let stamp = packet.header.timestamp;
        let apart = self.next.map_or(0, |next| stamp.since(next));
        let distance = codec.samples(apart.unsigned_abs());
        let mut from = stamp;
        if apart < 0 && distance < self.rate.samples(OLDEST) {
            if distance < count {
                samples = &mut samples[distance..];
                from = stamp.plus(apart.unsigned_abs());
            } else if !self.is_set_back(now, packet.header.marker) {
                self.figures.late += 1;
                return;
            } else {
                self.pcm.clear();
                self.due.clear();
            }
        } else if apart > 0 && distance <= self.rate.samples(LONGEST_GAP) {
            let mut invented = [0; SampleRate::Wide.samples(LONGEST_GAP)];
            let gap = &mut invented[..distance];
            self.concealer.invent(gap);
            self.figures.concealed += gap.len().div_ceil(self.rate.frame()) as u64;
            self.queue(now, arrived, gap, Duration::ZERO);
            self.last_due = None;
        } else if apart != 0 {
            // The sender's clock jumped: an unfinished frame has no continuation.
            self.pcm.truncate(self.due.len() * self.rate.frame());
            self.line.mark();
        }
        self.late_since = None;
        self.concealer.heard(samples);
        let taken = samples.len();
        self.queue(now, arrived, samples, SLOT);
        self.next = Some(from.plus(codec.ticks(taken)));
        // Half a frame is waited for as long as a whole one.
        self.generating = false;
    }

    /// Puts samples behind those that wait; whole frames become due `apart` from each other.
    fn queue(&mut self, now: Instant, arrived: Instant, samples: &[i16], apart: Duration) {
        if self.pcm.len() + samples.len() > self.rate.samples(400) {
            // A flood: nobody listens a second behind.
            self.figures.late += 1;
            return;
        }
        self.pcm.extend_from_slice(samples);
        let mut due = now;
        while (self.due.len() + 1) * self.rate.frame() <= self.pcm.len() {
            let at = self.last_due.map_or(due, |last| due.max(last + PACE));
            self.due.push_back((at, arrived));
            self.last_due = if apart.is_zero() { None } else { Some(at) };
            due += apart;
        }
    }

    /// Sends the frames that are due.
    fn flush(&mut self, now: Instant, out: &mut Frames) {
        if self.passage.is_open() {
            return self.flush_passed(now, out);
        }
        while let Some((_, arrived)) = self.due.pop_front_if(|(due, _)| *due <= now) {
            let mut storage = [0; MAX_FRAME_SAMPLES];
            let frame = &mut storage[..self.rate.frame()];
            frame.copy_from_slice(&self.pcm[..frame.len()]);
            self.pcm.drain(..frame.len());
            let Some(due) = self.line.due() else { return };
            let ahead = if self.spliced { AHEAD_AFTER_COMFORT } else { AHEAD };
            if due > now + ahead {
                self.figures.skipped += 1;
                continue;
            }
            self.watch_lag(now, now.saturating_duration_since(due), out);
            if std::mem::take(&mut self.spliced) {
                self.line.mark();
            }
            self.spoke = true;
            self.encode(now, frame, Some(arrived), out);
        }
    }

    /// Fills the next slot from what was heard last, or with the room's noise.
    fn fill(&mut self, now: Instant, out: &mut Frames) {
        self.stop_passing();
        let mut storage = [0; MAX_FRAME_SAMPLES];
        let frame = &mut storage[..self.rate.frame()];
        let kept = self.pcm.len().min(frame.len());
        frame[..kept].copy_from_slice(&self.pcm[..kept]);
        self.pcm.clear();
        self.invent(&mut frame[kept..]);
        let codec = self.format.map_or(AudioCodec::Pcmu, |it| it.codec);
        self.next = self.next.map(|next| next.plus(codec.ticks(frame.len() - kept)));
        self.generating = true;
        self.spliced = true;
        self.encode(now, frame, None, out);
    }

    /// Sends 20 ms at [`Self::rate`] in the next slot.
    fn encode(&mut self, now: Instant, frame: &[i16], arrived: Option<Instant>, out: &mut Frames) {
        match self.silence.look(frame) {
            Some(Worth::Silence) => self.encoder.set_silent(),
            Some(Worth::Speech) => self.encoder.set_speaking(&self.settings.encoder),
            None => {}
        }
        let mut packet = [0; MAX_OPUS_PACKET];
        match self.encoder.encode(frame, &mut packet) {
            Ok(length) => self.line.speak(now, &packet[..length], arrived, out),
            Err(_) => self.figures.refused += 1,
        }
    }

    /// When the pipe wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let generator = if self.digits.is_active() {
            self.line.due()
        } else if self.playout.is_playing() && self.plays() {
            // Overdue frames are paced, so that what waits in the socket can be read between them.
            self.line.due().map(|due| self.line.last_sent().map_or(due, |sent| due.max(sent + PACE)))
        } else if let Some((due, _)) = self.due.front() {
            Some(*due)
        } else {
            self.generator_due()
        };
        [self.reorder.deadline(), generator.filter(|_| self.line.has_begun())].into_iter().flatten().min()
    }

    fn generator_due(&self) -> Option<Instant> {
        if self.generating {
            return self.line.due();
        }
        self.line
            .last_sent()
            .map(|sent| sent + self.settings.comfort_after.saturating_sub(HEAD_START).max(SLOT))
    }

    /// Does what is due; an early or extra call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Frames) {
        self.digits.let_go(now);
        if self.reorder.deadline().is_some_and(|deadline| deadline <= now) {
            self.deliver_held(now, out);
        }
        let Some(due) = self.line.due() else { return };
        if now.saturating_duration_since(due) > LONGEST_FILL {
            self.line.skip_to(now);
        }
        if self.digits.is_active() && self.line.due().is_some_and(|due| due <= now) {
            self.say(now, out);
        }
        if self.playout.is_playing() && self.plays() {
            return self.play(now, out);
        }
        self.flush(now, out);
        if self.due.is_empty() && !self.digits.is_active() && self.generator_due().is_some_and(|at| at <= now)
        {
            while self.line.due().is_some_and(|due| due <= now) {
                self.fill(now, out);
            }
            self.generating = true;
        }
    }

    /// The rate at which this direction runs.
    #[must_use]
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    /// True once the phone's own speech has gone out.
    #[must_use]
    pub const fn has_spoken(&self) -> bool {
        self.spoke
    }

    /// The stream towards Meta, for its sender reports.
    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.line
    }

    /// How the phone's stream arrives, for our receiver reports.
    pub const fn reception(&mut self) -> &mut Reception {
        &mut self.reception
    }

    /// How it has arrived so far.
    #[must_use]
    pub const fn received(&self) -> &Reception {
        &self.reception
    }

    /// The figures of this direction so far.
    #[must_use]
    pub fn figures(&self) -> DirectionSummary {
        let (packets_out, bytes_out, longest_gap) = self.line.figures();
        let played = self.playout.figures();
        DirectionSummary {
            packets_out,
            bytes_out,
            longest_gap,
            playout: self.playout.summary(),
            late: self.figures.late + played.late,
            refused: self.figures.refused + played.refused,
            concealed: self.figures.concealed + played.concealed,
            recovered: self.figures.recovered + played.recovered,
            skipped: self.figures.skipped + played.skipped,
            lost: self.reception.lost(),
            duplicates: self.reception.duplicates(),
            jitter: self.reception.jitter(),
            digits: self.digits.heard(),
            ..self.figures.clone()
        }
    }
}

/// RFC 3389 on its static payload type: a pause, not speech.
const COMFORT_NOISE: PayloadType = PayloadType(13);
