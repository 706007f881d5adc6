//! Somebody who speaks and presses keys: a packet every 20 ms, in G.711 or Opus.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use cordboard::codec::{
    EncoderSettings, G711, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder, OpusEncoder, SampleRate,
    level_dbov,
};
use cordboard::rtp::{Event, PayloadType, RtpHeader, RtpPacket, RtpTime, SeqNo, Ssrc, TelephoneEvent};

pub const TICK: Duration = Duration::from_millis(20);
pub const OPUS: PayloadType = PayloadType(111);
pub const KEYS_TO_META: PayloadType = PayloadType(126);
pub const KEYS_TO_PHONE: PayloadType = PayloadType(101);

/// A packet that somebody heard.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Duration,
    pub header: RtpHeader,
    pub payload: Vec<u8>,
}

impl Heard {
    pub fn read(at: Duration, bytes: &[u8]) -> Self {
        let packet = RtpPacket::parse(bytes).expect("an RTP packet");
        Self { at, header: packet.header, payload: packet.payload.to_vec() }
    }
}

enum Codec {
    MuLaw,
    Opus(Box<OpusEncoder>),
}

pub struct Voice {
    pub speaking: bool,
    pub header: RtpHeader,
    codec: Codec,
    event_type: PayloadType,
    ticks: u32,
    sample: usize,
    next: Option<Instant>,
    keys: VecDeque<Event>,
    /// The key under the finger: which, and how many reports went out.
    pressed: Option<(Event, u16)>,
}

/// Reports of a key while it is down; the last one goes out three times.
const REPORTS: u16 = 5;

impl Voice {
    pub fn of_phone(ssrc: u32) -> Self {
        Self::new(Codec::MuLaw, PayloadType(0), KEYS_TO_PHONE, ssrc)
    }

    pub fn of_user(ssrc: u32) -> Self {
        let settings = EncoderSettings { expected_loss: 10, ..EncoderSettings::default() };
        let encoder = OpusEncoder::new(SampleRate::Narrow, &settings).expect("memory");
        Self::new(Codec::Opus(Box::new(encoder)), OPUS, KEYS_TO_META, ssrc)
    }

    fn new(codec: Codec, payload_type: PayloadType, event_type: PayloadType, ssrc: u32) -> Self {
        let ticks = if matches!(codec, Codec::MuLaw) { 160 } else { 960 };
        let header = RtpHeader {
            marker: true,
            payload_type,
            seq: SeqNo(65_500),
            timestamp: RtpTime(u32::MAX - 20_000),
            ssrc: Ssrc(ssrc),
        };
        let (keys, pressed) = (VecDeque::new(), None);
        Self { speaking: false, header, codec, event_type, ticks, sample: 0, next: None, keys, pressed }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.extend(keys.chars().map(|key| Event::from_digit(key).expect("a key")));
    }

    fn is_active(&self) -> bool {
        self.speaking || self.pressed.is_some() || !self.keys.is_empty()
    }

    /// The line is down.
    pub fn stop(&mut self) {
        self.next = None;
    }

    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.is_active().then(|| self.next.unwrap_or(now))
    }

    /// What is to be sent now; the media clock runs on while nothing is said.
    pub fn tick(&mut self, now: Instant) -> Option<Vec<u8>> {
        let due = self.next.unwrap_or(now);
        if !self.is_active() || due > now {
            return None;
        }
        let missed = u32::try_from((now - due).as_millis() / TICK.as_millis()).unwrap_or(0);
        self.header.timestamp = self.header.timestamp.plus(missed.wrapping_mul(self.ticks));
        self.sample += missed as usize * 160;
        self.next = Some(due + TICK * (missed + 1));
        if self.pressed.is_none() {
            self.pressed = self.keys.pop_front().map(|key| (key, 0));
        }
        let packet = self.say();
        self.header.seq = self.header.seq.next();
        self.sample += 160;
        Some(packet)
    }

    fn say(&mut self) -> Vec<u8> {
        let mut header = self.header;
        if let Some((event, step)) = self.pressed {
            let end = step + 1 >= REPORTS;
            let duration = (step + 1).min(REPORTS) * 160;
            header.payload_type = self.event_type;
            header.marker = step == 0;
            let report = TelephoneEvent { event, end, volume: 10, duration };
            let over = step + 1 == REPORTS + 2;
            self.pressed = (!over).then_some((event, step + 1));
            if over {
                self.header.timestamp = self.header.timestamp.plus(self.ticks * u32::from(REPORTS + 2));
                self.header.marker = true;
            }
            return [header.to_bytes().as_slice(), &report.to_bytes()].concat();
        }
        let mut packet = header.to_bytes().to_vec();
        let frame: [i16; 160] = std::array::from_fn(|at| speech(self.sample + at));
        match &mut self.codec {
            Codec::MuLaw => {
                let mut codes = [0; 160];
                G711::MuLaw.encode(&frame, &mut codes);
                packet.extend(codes);
            }
            Codec::Opus(encoder) => {
                let mut out = [0; MAX_OPUS_PACKET];
                let length = encoder.encode(&frame, &mut out).expect("a frame");
                packet.extend(&out[..length]);
            }
        }
        self.header.timestamp = self.header.timestamp.plus(self.ticks);
        self.header.marker = false;
        packet
    }
}

/// Something like speech: voiced syllables of 240 ms with pauses of 60 ms, at 8 kHz.
fn speech(at: usize) -> i16 {
    let t = at as f32 / 8000.0;
    let syllable = (t / 0.3).fract();
    let strength = if syllable < 0.8 { (syllable / 0.8 * std::f32::consts::PI).sin() } else { 0.0 };
    let pitch = 130.0 + 15.0 * (t * 2.0).sin();
    let voice: f32 =
        (1..14).map(|h| (t * pitch * h as f32 * std::f32::consts::TAU).sin() / (h as f32).sqrt()).sum();
    (voice * strength * 3000.0) as i16
}

/// How loud a WhatsApp user hears it.
pub fn opus_level(heard: &[Heard]) -> f32 {
    let mut decoder = OpusDecoder::new(SampleRate::Narrow).expect("memory");
    let mut out = [0; MAX_OPUS_SAMPLES];
    let mut samples = Vec::new();
    for it in heard.iter().filter(|it| it.header.payload_type == OPUS) {
        let count = decoder.decode(&it.payload, &mut out).expect("Opus");
        samples.extend(&out[..count]);
    }
    level_dbov(&samples)
}

/// How loud a phone hears it.
pub fn g711_level(heard: &[Heard]) -> f32 {
    let speech = heard.iter().filter(|it| it.header.payload_type == PayloadType(0));
    let samples: Vec<i16> =
        speech.flat_map(|it| it.payload.iter().map(|code| G711::MuLaw.sample(*code))).collect();
    level_dbov(&samples)
}

/// The keys in a stream, each once however often it is reported.
pub fn keys(heard: &[Heard], payload_type: PayloadType) -> String {
    let mut stamps = Vec::new();
    let mut keys = String::new();
    for it in heard.iter().filter(|it| it.header.payload_type == payload_type) {
        let report = TelephoneEvent::parse(&it.payload).expect("a key");
        if !stamps.contains(&it.header.timestamp) {
            stamps.push(it.header.timestamp);
            keys.push(report.event.digit());
        }
    }
    keys
}

/// Rule 11: one source, sequence +1 exactly, time stamps a frame off elapsed time at most, no gap over 60 ms.
#[track_caller]
pub fn assert_unbroken(heard: &[Heard]) {
    let first = heard.first().expect("something was heard");
    assert!(first.header.seq.0 < 1 << 15);
    for pair in heard.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(after.header.ssrc, first.header.ssrc);
        assert_eq!(after.header.seq, before.header.seq.next(), "at {:?}", after.at);
        let gap = after.at - before.at;
        assert!(gap <= Duration::from_millis(60), "silent from {:?} to {:?}", before.at, after.at);
    }
    for it in heard.iter().filter(|it| it.header.payload_type == OPUS) {
        let media = i64::from(it.header.timestamp.since(first.header.timestamp)) / 48;
        let elapsed = i64::try_from((it.at - first.at).as_millis()).unwrap();
        // A slot's packet leaves when its speech is there: up to the jitter buffer's two frames late.
        assert!((-41..=65).contains(&(elapsed - media)), "{media} ms of media after {elapsed} ms");
    }
}
