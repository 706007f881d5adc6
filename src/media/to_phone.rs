//! The pipe from the user to the phone: Opus in, the phone's codec out, on arrival, the sender's timing kept.
//!
//! Opus is decoded straight to the rate of the phone's codec; `ToPhone::push` is where every sample
//! for the phone passes. Loss is repaired from the redundancy of the next packet or concealed, for as
//! long as the phone can still play it; the phone's own jitter buffer does the rest.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::announcer::Announcer;
use super::comfort::ComfortTold;
use super::detector::Detector;
use super::digits::Digits;
use super::format::{Passing, PhoneLine};
use super::frames::Frames;
use super::jitter::Timing;
use super::line::SLOT;
use super::order::KeyWay;
use super::pacer::Spacing;
use super::packetizer::Packetizer;
use super::player::Played;
use super::playout::{PACE, Playout, UserVoice, Way, carries};
use super::reorder::{Place, Reorder};
use super::stream::{Sound, Stream};
use super::summary::DirectionSummary;
use super::tone::KeyTone;
use super::voice::VoiceDetector;
use crate::codec::{
    CodecError, EncoderSettings, MAX_FRAME_SAMPLES, MAX_OPUS_SAMPLES, OpusDecoder, SampleRate,
};
use crate::rtp::{
    Arrival, Event, NtpTime, PayloadType, Reception, RtpPacket, RtpTime, SenderFacts, Ssrc, TelephoneEvent,
};

mod inserted;
mod passing;

/// Ticks of a 20 ms frame on Meta's clock.
const FRAME_TICKS: i32 = 960;
/// Lost frames up to this are repaired: what lies further back the phone has already bridged itself.
const REPAIRED: i32 = 3;
/// A jump of the sender's clock beyond this is a new start.
const LONGEST_JUMP: i32 = 48_000;
/// After a stop longer than this, playout begins anew.
const LONGEST_STOP: Duration = Duration::from_millis(500);

/// The pipe; see the module's words.
#[derive(Debug)]
pub struct ToPhone {
    /// At the rate of the phone's codec, at 8 kHz while that is not known.
    rate: SampleRate,
    decoder: OpusDecoder,
    opus: PayloadType,
    telephone_event: Option<PayloadType>,
    reception: Reception,
    reorder: Reorder,
    digits: Digits,
    next_report: Option<Instant>,
    playout: Playout,
    /// When the next frame is to be played from the buffer.
    due: Option<Instant>,
    key_tone: KeyTone,
    key_way: KeyWay,
    /// Keys to be told by signalling.
    told: VecDeque<(Event, u16)>,
    /// The user has pressed a key: what leaks of the next ones is muted.
    has_keys: bool,
    detector: Detector,
    announcer: Announcer,
    /// When the next 20 ms of a clip are due.
    next_slot: Option<Instant>,
    takes_comfort: bool,
    comfort: ComfortTold,
    /// The sender's time of the next sample.
    next: Option<RtpTime>,
    settings: EncoderSettings,
    out: Option<(PhoneLine, Packetizer)>,
    sending: bool,
    /// Nothing was sent for a while: the time stamp is set by our clock before something is.
    stale: bool,
    stream: Stream,
    passing: Passing,
    /// Packets went by that the decoder has not heard.
    deaf: bool,
    voice: VoiceDetector,
    figures: DirectionSummary,
}

impl ToPhone {
    /// A pipe that decodes, but sends nothing until it knows what the phone takes; `settings` are for
    /// phones with Opus.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(
        opus: PayloadType,
        telephone_event: Option<PayloadType>,
        stream: Stream,
        settings: EncoderSettings,
    ) -> Result<Self, CodecError> {
        let rate = SampleRate::Narrow;
        Ok(Self {
            rate,
            decoder: OpusDecoder::new(rate)?,
            opus,
            telephone_event,
            reception: Reception::new(48_000),
            reorder: Reorder::default(),
            digits: Digits::default(),
            next_report: None,
            playout: Playout::of_user(rate),
            due: None,
            key_tone: KeyTone::new(rate.hz()),
            key_way: KeyWay::default(),
            told: VecDeque::new(),
            has_keys: false,
            detector: Detector::new(rate.hz()),
            announcer: Announcer::default(),
            next_slot: None,
            takes_comfort: false,
            comfort: ComfortTold::default(),
            next: None,
            settings,
            out: None,
            sending: false,
            stale: false,
            stream,
            passing: Passing::Allowed,
            deaf: false,
            voice: VoiceDetector::new(),
            figures: DirectionSummary::default(),
        })
    }

    /// Who keeps the time of what the phone hears.
    pub const fn set_timing(&mut self, timing: Timing) {
        self.playout.set_timing(timing);
    }

    /// What Meta sends, once its answer is known.
    pub const fn set_source(&mut self, opus: PayloadType, telephone_event: Option<PayloadType>) {
        self.opus = opus;
        self.telephone_event = telephone_event;
    }

    /// What the phone takes from now on, and whether it wants anything (hold).
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn set_out(&mut self, line: PhoneLine, sending: bool) -> Result<(), CodecError> {
        let codec = line.format.codec;
        match &mut self.out {
            Some((before, packetizer)) if before.format.codec == codec && before.wishes == line.wishes => {
                if before.format != line.format {
                    self.stream.leave_out(packetizer.clear());
                }
                packetizer.set_length(&line);
                *before = line;
            }
            out => {
                if let Some((_, packetizer)) = out {
                    self.stream.leave_out(packetizer.clear());
                }
                *out = Some((line, Packetizer::new(&line, &self.settings)?));
                self.stream.set_clock(codec.clock());
            }
        }
        if self.rate != codec.rate() {
            self.decoder = OpusDecoder::new(codec.rate())?;
            self.rate = codec.rate();
            self.playout.restart(Playout::of_user(self.rate));
            self.key_tone = KeyTone::new(self.rate.hz());
            self.detector = Detector::new(self.rate.hz());
        }
        if self.sending != sending {
            self.sending = sending;
            self.stale = true;
            self.drop_speech();
            self.next = None;
        }
        Ok(())
    }

    /// Trades work for sound from the next frame on, 0 to 10; only of phones with Opus.
    pub fn set_complexity(&mut self, complexity: u8) {
        self.settings.complexity = complexity;
        if let Some((_, packetizer)) = &mut self.out {
            packetizer.set_complexity(complexity);
        }
    }

    /// Whether Opus may go through undecoded.
    pub const fn set_passing(&mut self, passing: Passing) {
        self.passing = passing;
    }

    /// Forgets what waits to fill a packet and tells its ticks.
    fn drop_speech(&mut self) -> u32 {
        self.out.as_mut().map_or(0, |(_, packetizer)| packetizer.clear())
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
        if self.is_buffered(now, arrived, &packet, out) {
            return;
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

    /// Takes the packet into the buffer, if one stands in the way.
    fn is_buffered(
        &mut self,
        now: Instant,
        arrived: Instant,
        packet: &RtpPacket<'_>,
        out: &mut Frames,
    ) -> bool {
        if !self.plays() {
            return false;
        }
        if packet.header.payload_type != self.opus {
            if self.playout.is_playing() {
                self.deliver(now, arrived, packet, 0, out);
            }
            return self.playout.is_playing();
        }
        match self.playout.hear(arrived, packet, carries(packet.payload)) {
            Way::Relay => return false,
            Way::Buffered => {}
            Way::BufferedFirst => {
                self.deliver_held(now, out);
                self.reorder.reset();
                self.next = None;
            }
        }
        if self.due.is_none() {
            let next = self.stream.last_sent().map_or(now, |sent| sent + SLOT);
            if next + SLOT < now {
                self.catch_up(now);
            }
            self.due = Some(next.max(now));
        }
        true
    }

    /// True if the user's speech goes to the phone now.
    fn plays(&self) -> bool {
        self.sending && self.out.is_some() && !self.digits.is_active()
    }

    /// Plays the frame that is due.
    fn play(&mut self, now: Instant, out: &mut Frames) {
        let Some(due) = self.due.filter(|due| *due <= now) else { return };
        let plays = self.plays();
        let Some(player) = self.playout.player().filter(|_| plays) else {
            self.due = None;
            self.playout.reset();
            return;
        };
        let mut storage = [0; MAX_FRAME_SAMPLES];
        let frame = &mut storage[..self.rate.frame()];
        if std::mem::take(&mut self.deaf) {
            self.decoder.reset();
        }
        let mut voice = UserVoice { decoder: &mut self.decoder, frame: frame.len() };
        let played = player.play(due, &mut voice, frame);
        if played == Played::Speech {
            self.voice.hear(frame, self.rate.hz() as usize);
        }
        self.push(now, now, frame, out);
        self.due = Some(due + SLOT);
        if now.saturating_duration_since(due) > LONGEST_STOP {
            self.catch_up(now);
            self.due = Some(now + SLOT);
        }
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
                self.playout.reset();
                self.digits.hear(now, packet.header.timestamp, report);
                self.has_keys = true;
                // The key stands on the sender's audio clock; speech after it is a new piece.
                self.next = None;
                if idle && self.digits.is_active() {
                    self.drop_speech();
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
        if let Some(payload_type) = self.passes() {
            return self.pass(now, arrived, packet, missing, payload_type, out);
        }
        if std::mem::take(&mut self.deaf) {
            self.decoder.reset();
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
        // Meta's clock runs at 48 kHz whatever is decoded (RFC 7587 §4.1).
        self.next = Some(stamp.plus(count as u32 * (48_000 / self.rate.hz())));
        let samples = &mut samples[..count];
        self.voice.hear(samples, self.rate.hz() as usize);
        if self.is_pause(packet.payload, samples) {
            self.pause(now, arrived, count, out);
            return;
        }
        self.push(now, arrived, samples, out);
    }

    /// Repairs or leaves out what lies between the last packet and this one.
    fn bridge(&mut self, now: Instant, apart: i32, payload: &[u8], missing: u16, out: &mut Frames) {
        let frames = apart / FRAME_TICKS;
        // Without a missing sequence number the sender was silent on purpose.
        if missing == 0 || frames > REPAIRED || apart % FRAME_TICKS != 0 {
            let clock = u64::from(self.stream.clock());
            self.leave_out((u64::from(apart.unsigned_abs()) * clock / 48_000) as u32);
            return;
        }
        for left in (0..frames).rev() {
            let mut storage = [0; MAX_FRAME_SAMPLES];
            let frame = &mut storage[..self.rate.frame()];
            let repaired = if left == 0 && OpusDecoder::has_redundancy(payload) {
                self.figures.recovered += 1;
                self.decoder.recover(payload, frame)
            } else {
                self.figures.concealed += 1;
                self.decoder.conceal(frame)
            };
            if repaired.is_ok() {
                self.push(now, now, frame, out);
            }
        }
    }

    fn leave_out(&mut self, ticks: u32) {
        let dropped = self.drop_speech();
        self.stream.leave_out(ticks.wrapping_add(dropped));
    }

    /// Sets our time stamp by our own clock after a splice.
    fn catch_up(&mut self, now: Instant) {
        self.drop_speech();
        self.stream.catch_up(now, SLOT);
    }

    fn freshen(&mut self, now: Instant) {
        if std::mem::take(&mut self.stale) {
            self.catch_up(now);
        }
    }

    /// Takes the user's samples for the phone, at [`Self::rate`].
    fn push(&mut self, now: Instant, arrived: Instant, samples: &mut [i16], out: &mut Frames) {
        if self.digits.is_active() || self.announcer.is_playing() {
            self.next = None;
            return;
        }
        self.prepare(samples);
        self.emit(now, arrived, samples, out);
    }

    /// Sends samples to the phone, whoever they come from.
    fn emit(&mut self, now: Instant, arrived: Instant, samples: &[i16], out: &mut Frames) {
        if !self.sending {
            return;
        }
        self.freshen(now);
        let Some((line, packetizer)) = &mut self.out else { return };
        packetizer.push(samples);
        let (ticks, payload_type) = (packetizer.ticks(), line.format.payload_type);
        // A little faster than they play, so that a sender whose clock is fast finds nobody waiting.
        let split = Spacing::Split(packetizer.length() * 7 / 8);
        let mut spacing = Spacing::Arrived;
        while let Some(payload) = packetizer.packet() {
            let sound = Sound { arrived, payload_type, marker: false, ticks, payload };
            self.stream.speak(now, spacing, &sound, out);
            spacing = split;
        }
    }

    fn say(&mut self, now: Instant, out: &mut Frames) {
        while let Some(due) = self.next_report.filter(|due| *due <= now) {
            if self.tells_keys() {
                self.next_report = self.tell_key(now).then_some(due + SLOT);
                continue;
            }
            if self.wants_tones() {
                self.next_report = self.sound_key(now, out).then_some(due + SLOT);
                continue;
            }
            if self.sending {
                self.freshen(now);
            }
            let Some(saying) = self.digits.say(now, self.stream.timestamp()) else {
                self.next_report = None;
                return;
            };
            self.next_report = Some(due + SLOT);
            let line = self.out.as_ref().filter(|_| self.sending);
            // Time in which nothing is sent is made good by the clock when something is.
            let Some(events) = line.and_then(|(it, _)| it.format.events()) else { continue };
            self.stream.leave_out(self.stream.ticks(SLOT));
            let report = saying.report.rescaled(8000, events.clock).to_bytes();
            self.stream.say(now, events.payload_type, saying.start, saying.first, report, out);
        }
    }

    /// When the pipe wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Overdue frames are paced.
        let paced = self.stream.last_sent().map(|sent| sent + PACE);
        let play = self.due.map(|due| paced.map_or(due, |paced| due.max(paced)));
        let waiting = [self.reorder.deadline(), self.next_report, play, self.stream.due(), self.next_slot];
        waiting.into_iter().flatten().min()
    }

    /// Does what is due; an early or extra call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Frames) {
        if self.reorder.deadline().is_some_and(|deadline| deadline <= now) {
            self.deliver_held(now, out);
        }
        self.stream.release(now, out);
        self.play(now, out);
        self.say(now, out);
        self.announce_due(now, out);
    }

    /// True once the user has spoken for 200 ms.
    #[must_use]
    pub const fn user_spoke(&self) -> bool {
        self.voice.spoke()
    }

    /// True once speech has gone out to the phone.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.stream.last_sent().is_some()
    }

    /// Our source towards the phone.
    #[must_use]
    pub const fn ssrc(&self) -> Ssrc {
        self.stream.ssrc()
    }

    /// Ticks a second of our time stamps towards the phone.
    #[must_use]
    pub const fn clock(&self) -> u32 {
        self.stream.clock()
    }

    /// The rate at which this direction runs.
    #[must_use]
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    /// What a sender report says now; `None` before the first packet.
    #[must_use]
    pub fn facts(&self, now: Instant, ntp: NtpTime) -> Option<SenderFacts> {
        self.stream.facts(now, ntp)
    }

    /// How Meta's stream arrives, for our receiver reports.
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
        let (packets_out, bytes_out, longest_gap) = self.stream.figures();
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
            comfort: self.figures.comfort + played.waited,
            skipped: self.figures.skipped + played.skipped,
            lost: self.reception.lost(),
            duplicates: self.reception.duplicates(),
            jitter: self.reception.jitter(),
            digits: self.digits.heard(),
            ..self.figures.clone()
        }
    }
}
