//! One direction of a call between desks: packets on with a new header, decoded only where the codecs differ.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::codec::{
    AudioCodec, CodecError, EncoderSettings, MAX_FRAME_SAMPLES, OpusDecoder, RateChange, SpeechDecoder,
};
use crate::media::announcer::Announcer;
use crate::media::clip::{Clip, Repeat};
use crate::media::digits::{Digits, Sounding};
use crate::media::format::{PhoneFormat, PhoneLine};
use crate::media::frames::Frames;
use crate::media::line::SLOT;
use crate::media::order::KeyWay;
use crate::media::pacer::Spacing;
use crate::media::packetizer::Packetizer;
use crate::media::reorder::{Place, Reorder};
use crate::media::stream::{Sound, Stream};
use crate::media::summary::DirectionSummary;
use crate::media::tone::KeyTone;
use crate::rtp::{
    Arrival, Event, NtpTime, PayloadType, Reception, RtpPacket, RtpTime, SenderFacts, Ssrc, TelephoneEvent,
};

/// RFC 3389 on its static payload type.
const COMFORT_NOISE: PayloadType = PayloadType(13);
/// A jump of the sender's clock beyond a second is a new start.
const LONGEST_JUMP: u32 = 1;
/// Samples of the longest packet that is decoded: 120 ms at 16 kHz.
const MAX_SAMPLES: usize = MAX_FRAME_SAMPLES * 6;
/// After a stop longer than this, slots are left out, not filled.
const LONGEST_FILL: Duration = Duration::from_millis(500);

/// See the module's words.
#[derive(Debug)]
pub(super) struct Way {
    /// What comes.
    source: Option<PhoneFormat>,
    /// What goes.
    out: Option<(PhoneLine, Packetizer)>,
    /// Whether anything is wanted there (hold).
    sending: bool,
    takes_comfort: bool,
    reception: Reception,
    reorder: Reorder,
    decoder: Option<SpeechDecoder>,
    change: RateChange,
    changed: Vec<i16>,
    /// The sender's time of the next sample.
    next: Option<RtpTime>,
    stream: Stream,
    digits: Digits,
    next_report: Option<Instant>,
    key_way: KeyWay,
    /// Keys for signalling, with their length in ticks of 8 kHz.
    told: VecDeque<(Event, u16)>,
    key_tone: KeyTone,
    announcer: Announcer,
    /// When the next 20 ms of a clip are due.
    next_slot: Option<Instant>,
    settings: EncoderSettings,
    figures: DirectionSummary,
}

impl Way {
    pub(super) fn new(stream: Stream, settings: EncoderSettings) -> Self {
        Self {
            source: None,
            out: None,
            sending: false,
            takes_comfort: false,
            reception: Reception::new(8000),
            reorder: Reorder::default(),
            decoder: None,
            change: RateChange::default(),
            changed: Vec::new(),
            next: None,
            stream,
            digits: Digits::default(),
            next_report: None,
            key_way: KeyWay::default(),
            told: VecDeque::new(),
            key_tone: KeyTone::new(8000),
            announcer: Announcer::default(),
            next_slot: None,
            settings,
            figures: DirectionSummary::default(),
        }
    }

    /// What comes from now on.
    pub(super) fn set_source(&mut self, source: PhoneFormat) -> Result<(), CodecError> {
        if self.source.is_none_or(|before| before.codec != source.codec) {
            self.decoder = None;
            self.change = RateChange::default();
            self.next = None;
        }
        self.source = Some(source);
        self.reception.set_clock(source.codec.clock());
        self.prepare()
    }

    /// Somebody else speaks: nothing of the one before belongs to it.
    pub(super) fn forget_source(&mut self) {
        self.reorder.reset();
        self.digits.restart();
        self.next = None;
    }

    /// What goes from now on, and whether it is wanted.
    pub(super) fn set_out(
        &mut self,
        line: PhoneLine,
        sending: bool,
        takes_comfort: bool,
    ) -> Result<(), CodecError> {
        let codec = line.format.codec;
        let same = self.out.as_ref().is_some_and(|(before, _)| {
            before.format.codec == codec && before.wishes == line.wishes && before.ptime == line.ptime
        });
        self.drop_speech();
        if same {
            if let Some((before, _)) = &mut self.out {
                *before = line;
            }
        } else {
            self.out = Some((line, Packetizer::new(&line, &self.settings)?));
            self.stream.set_clock(codec.clock());
            self.key_tone = KeyTone::new(codec.rate().hz());
            self.change = RateChange::default();
        }
        // A listener that comes back, or a new one, is placed by our own clock.
        self.next = None;
        self.sending = sending;
        self.takes_comfort = takes_comfort;
        self.prepare()
    }

    /// A decoder only where one is needed.
    fn prepare(&mut self) -> Result<(), CodecError> {
        let (Some(source), Some((line, _))) = (self.source, &self.out) else { return Ok(()) };
        if source.codec == line.format.codec {
            self.decoder = None;
        } else if self.decoder.is_none() {
            self.decoder = Some(SpeechDecoder::new(source.codec)?);
        }
        Ok(())
    }

    /// How speech runs here; empty while it is not known.
    pub(super) fn route(&self) -> String {
        let (Some(source), Some((line, _))) = (self.source, &self.out) else { return String::new() };
        let name = |codec: AudioCodec| format!("{}/{}", codec.name(), codec.clock());
        let (from, to) = (source.codec, line.format.codec);
        if from == to { format!("{} as it is", name(to)) } else { format!("{} → {}", name(from), name(to)) }
    }

    pub(super) fn refuse(&mut self) {
        self.figures.refused += 1;
    }

    /// Takes a packet that has come from the right place.
    pub(super) fn receive(&mut self, now: Instant, arrived: Instant, bytes: &[u8], out: &mut Frames) {
        let Ok(packet) = RtpPacket::parse(bytes) else { return self.refuse() };
        let header = packet.header;
        self.figures.packets_in += 1;
        self.figures.bytes_in += packet.payload.len() as u64;
        match self.reception.note(arrived, header.ssrc, header.seq, header.timestamp) {
            Arrival::Duplicate => return,
            Arrival::Restarted => self.forget_source(),
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
        let Some(source) = self.source else { return };
        let payload_type = packet.header.payload_type;
        if let Some(events) = source.events_of(payload_type) {
            if let Ok(report) = TelephoneEvent::parse(packet.payload) {
                let idle = !self.digits.is_active();
                self.digits.hear(now, packet.header.timestamp, report.rescaled(events.clock, 8000));
                self.begin_key(now, idle, out);
            }
        } else if payload_type == source.payload_type {
            self.speech(now, arrived, packet, (source.codec, missing), out);
        } else if payload_type == COMFORT_NOISE {
            self.room(now, arrived, packet, out);
        } else {
            self.figures.refused += 1;
        }
    }

    /// True if the sender's speech is what is to be heard now.
    fn is_heard(&self) -> bool {
        self.sending && self.out.is_some() && !self.digits.is_active() && !self.announcer.is_playing()
    }

    fn speech(
        &mut self,
        now: Instant,
        arrived: Instant,
        packet: &RtpPacket<'_>,
        (codec, missing): (AudioCodec, u16),
        out: &mut Frames,
    ) {
        if !self.is_heard() {
            self.next = None;
            return;
        }
        let Some(ticks) = ticks(codec, packet.payload) else { return self.refuse() };
        let stamp = packet.header.timestamp;
        match self.next.map(|next| stamp.since(next)) {
            Some(0) => {}
            Some(apart) if apart > 0 && apart.unsigned_abs() <= codec.clock() * LONGEST_JUMP => {
                let dropped = self.drop_speech();
                let apart = u64::from(apart.unsigned_abs()) * u64::from(self.stream.clock());
                self.stream.pass_over((apart / u64::from(codec.clock())) as u32 + dropped);
                // What was lost on the way to us stays lost: the far end repairs it with its own means.
                self.stream.lose(missing);
            }
            _ => self.catch_up(now),
        }
        self.next = Some(stamp.plus(ticks));
        if self.decoder.is_some() {
            return self.transcode(now, arrived, codec, packet.payload, out);
        }
        let Some((line, _)) = &self.out else { return };
        let (payload_type, marker) = (line.format.payload_type, packet.header.marker);
        self.figures.passed += 1;
        let sound = Sound { arrived, payload_type, marker, ticks, payload: packet.payload };
        self.stream.speak(now, Spacing::Arrived, &sound, out);
    }

    fn transcode(
        &mut self,
        now: Instant,
        arrived: Instant,
        codec: AudioCodec,
        payload: &[u8],
        out: &mut Frames,
    ) {
        let mut samples = [0; MAX_SAMPLES];
        let decoded = self.decoder.as_mut().map(|decoder| decoder.decode(payload, &mut samples));
        let (Some(Ok(count)), Some((line, _))) = (decoded, &self.out) else { return self.refuse() };
        let (from, to) = (codec.rate(), line.format.codec.rate());
        let mut changed = std::mem::take(&mut self.changed);
        self.change.change(from, to, &samples[..count], &mut changed);
        self.announcer.blend(&mut changed, to.hz());
        self.emit(now, arrived, &changed, out);
        self.changed = changed;
    }

    /// The sender leaves its silence out and tells of its room (RFC 3389).
    fn room(&mut self, now: Instant, arrived: Instant, packet: &RtpPacket<'_>, out: &mut Frames) {
        if !self.is_heard() || !self.takes_comfort || self.decoder.is_some() {
            return;
        }
        let sound =
            Sound { arrived, payload_type: COMFORT_NOISE, marker: false, ticks: 0, payload: packet.payload };
        self.figures.comfort += 1;
        self.stream.speak(now, Spacing::Free, &sound, out);
    }

    fn emit(&mut self, now: Instant, arrived: Instant, samples: &[i16], out: &mut Frames) {
        if !self.sending {
            return;
        }
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

    fn drop_speech(&mut self) -> u32 {
        self.out.as_mut().map_or(0, |(_, packetizer)| packetizer.clear())
    }

    fn catch_up(&mut self, now: Instant) {
        self.drop_speech();
        self.stream.catch_up(now, SLOT);
    }

    /// A key that came by signalling, with its length in ticks of 8 kHz.
    pub(super) fn press(&mut self, now: Instant, event: Event, duration: u16, out: &mut Frames) {
        let idle = !self.digits.is_active();
        self.digits.press(now, event, duration);
        self.begin_key(now, idle, out);
    }

    fn begin_key(&mut self, now: Instant, was_idle: bool, out: &mut Frames) {
        self.next = None;
        if was_idle && self.digits.is_active() {
            self.catch_up(now);
            self.next_report = Some(now);
            self.say(now, out);
        }
    }

    /// How keys reach the listener from now on.
    pub(super) const fn set_key_way(&mut self, way: KeyWay) {
        self.key_way = way;
    }

    /// A key that is to be told by signalling, and how long it was pressed.
    pub(super) fn take_told(&mut self) -> Option<(char, Duration)> {
        let (event, ticks) = self.told.pop_front()?;
        Some((event.digit(), Duration::from_millis(u64::from(ticks) / 8)))
    }

    fn tells_keys(&self) -> bool {
        let agreed = || self.out.as_ref().is_some_and(|(line, _)| line.format.events().is_some());
        match self.key_way {
            KeyWay::WithSound => false,
            KeyWay::EventsElseTold => !agreed(),
            KeyWay::Told => true,
        }
    }

    /// Says or sounds the key for every step that is due, or hands it over when it is released.
    fn say(&mut self, now: Instant, out: &mut Frames) {
        while let Some(due) = self.next_report.filter(|due| *due <= now) {
            self.next_report = Some(due + SLOT);
            if self.tells_keys() {
                self.told.extend(self.digits.tell(now));
                if !self.digits.is_active() {
                    self.next_report = None;
                }
                continue;
            }
            let events =
                self.out.as_ref().filter(|_| self.sending).and_then(|(line, _)| line.format.events());
            let Some(events) = events else {
                if !self.sound_key(now, out) {
                    self.next_report = None;
                }
                continue;
            };
            let Some(saying) = self.digits.say(now, self.stream.timestamp()) else {
                self.next_report = None;
                return;
            };
            self.stream.leave_out(self.stream.ticks(SLOT));
            let report = saying.report.rescaled(8000, events.clock).to_bytes();
            self.stream.say(now, events.payload_type, saying.start, saying.first, report, out);
        }
    }

    /// 20 ms of a key's tone, for who takes no reports; false when all keys are over.
    fn sound_key(&mut self, now: Instant, out: &mut Frames) -> bool {
        match self.digits.sound(now) {
            None => return false,
            Some(Sounding::Press(event, volume)) => self.key_tone.press(event, volume),
            Some(Sounding::Hold) => {}
            Some(Sounding::Release) => self.key_tone.release(),
        }
        let mut storage = [0; MAX_FRAME_SAMPLES];
        let frame = &mut storage[..self.frame()];
        self.key_tone.fill(frame);
        self.emit(now, now, frame, out);
        true
    }

    /// Samples of 20 ms at the listener's rate.
    fn frame(&self) -> usize {
        self.out.as_ref().map_or(160, |(line, _)| line.format.codec.rate().frame())
    }

    pub(super) fn announce(&mut self, now: Instant, clip: Clip, repeat: Repeat, out: &mut Frames) {
        self.announcer.play(clip, repeat);
        self.take_over(now, out);
    }

    pub(super) fn stop_announcing(&mut self) {
        self.announcer.stop();
        self.hand_back();
    }

    /// Plays a clip for as long as the other side holds the call.
    pub(super) fn play_on_hold(&mut self, now: Instant, clip: Clip, out: &mut Frames) {
        self.announcer.hold(clip);
        self.take_over(now, out);
    }

    pub(super) fn stop_on_hold(&mut self) {
        self.announcer.resume();
        self.hand_back();
    }

    fn take_over(&mut self, now: Instant, out: &mut Frames) {
        if self.announcer.is_playing() && self.next_slot.is_none() {
            self.catch_up(now);
            self.next_slot = Some(now);
            self.play_due(now, out);
        }
    }

    fn hand_back(&mut self) {
        if !self.announcer.is_playing() && self.next_slot.take().is_some() {
            self.next = None;
        }
    }

    fn play_due(&mut self, now: Instant, out: &mut Frames) {
        while let Some(due) = self.next_slot.filter(|due| *due <= now) {
            let late = now.saturating_duration_since(due);
            if late > LONGEST_FILL {
                self.stream.leave_out(self.stream.ticks(late));
                self.next_slot = Some(now);
                continue;
            }
            self.next_slot = Some(due + SLOT);
            if self.digits.is_active() {
                continue;
            }
            let (mut storage, length) = ([0; MAX_FRAME_SAMPLES], self.frame());
            let rate = if length == MAX_FRAME_SAMPLES { 16_000 } else { 8000 };
            self.announcer.fill(&mut storage[..length], rate);
            self.emit(now, now, &storage[..length], out);
            self.hand_back();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.reorder.deadline(), self.next_report, self.stream.due(), self.next_slot]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Frames) {
        if self.reorder.deadline().is_some_and(|deadline| deadline <= now) {
            self.deliver_held(now, out);
        }
        self.stream.release(now, out);
        self.say(now, out);
        self.play_due(now, out);
    }

    pub(super) const fn ssrc(&self) -> Ssrc {
        self.stream.ssrc()
    }

    pub(super) const fn has_sent(&self) -> bool {
        self.stream.last_sent().is_some()
    }

    pub(super) const fn clock(&self) -> u32 {
        self.stream.clock()
    }

    pub(super) fn facts(&self, now: Instant, ntp: NtpTime) -> Option<SenderFacts> {
        self.stream.facts(now, ntp)
    }

    pub(super) const fn reception(&mut self) -> &mut Reception {
        &mut self.reception
    }

    pub(super) const fn received(&self) -> &Reception {
        &self.reception
    }

    pub(super) fn figures(&self) -> DirectionSummary {
        let (packets_out, bytes_out, longest_gap) = self.stream.figures();
        DirectionSummary {
            packets_out,
            bytes_out,
            longest_gap,
            lost: self.reception.lost(),
            duplicates: self.reception.duplicates(),
            jitter: self.reception.jitter(),
            digits: self.digits.heard(),
            ..self.figures.clone()
        }
    }
}

/// How long a payload lasts on its codec's clock; `None` if it cannot be told.
fn ticks(codec: AudioCodec, payload: &[u8]) -> Option<u32> {
    match codec {
        // A byte for every tick: G.722 has two samples in each and counts them as one (RFC 3551 §4.5.2).
        AudioCodec::Pcmu | AudioCodec::Pcma | AudioCodec::G722 => {
            u32::try_from(payload.len()).ok().filter(|length| *length > 0)
        }
        AudioCodec::Opus => OpusDecoder::ticks(payload),
    }
}
