//! A bridge between a simulated user and a simulated phone in virtual time, for the stories beside it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::dtls::Identity;
use super::srtp::Srtp;
use super::webrtc_leg::{Received, WebRtcLeg, WebRtcSettings};
use super::*;
use crate::codec::{
    AudioCodec, EncoderSettings, G711, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder, OpusEncoder,
    SampleRate, SpeechDecoder, SpeechEncoder,
};
use crate::random::Random;
use crate::rtp::{PacketKind, PayloadType, RtpHeader, RtpPacket, RtpTime, SeqNo, Ssrc, packet_kind};
use crate::sdp::protection::{Protection, ProtectionRule};
use crate::sdp::webrtc::FingerprintCase;
use crate::time::{Now, Wall};

pub(super) const OURS: &str = "192.0.2.1:40000";
pub(super) const USERS: &str = "192.0.2.99:3480";
pub(super) const PHONE: &str = "10.0.0.7:4000";
const RTP: &str = "10.0.0.1:30000";
const RTCP: &str = "10.0.0.1:30001";

/// A packet that somebody heard.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) at: Duration,
    pub(super) header: RtpHeader,
    pub(super) payload: Vec<u8>,
}

/// Phone and user speak by themselves as long as these say so.
pub(super) struct Voice {
    pub(super) speaking: bool,
    /// What it says, sample by sample at 8 kHz.
    pub(super) sound: fn(usize) -> i16,
    pub(super) header: RtpHeader,
    pub(super) sample: usize,
    pub(super) next: Instant,
}

impl Voice {
    fn new(now: Instant, payload_type: u8, ssrc: u32) -> Self {
        let header = RtpHeader {
            marker: true,
            payload_type: PayloadType(payload_type),
            seq: SeqNo(65_500),
            timestamp: RtpTime(u32::MAX - 20_000),
            ssrc: Ssrc(ssrc),
        };
        Self { speaking: false, sound: speech, header, sample: 0, next: now }
    }

    /// What it says at any rate; a sound of its own is told at 8 kHz only.
    fn sound_at(&self, at: usize, rate: SampleRate) -> i16 {
        match rate {
            SampleRate::Narrow => (self.sound)(at),
            SampleRate::Wide => speech_at(at, rate),
        }
    }
}

pub(super) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Something like speech: voiced syllables of 240 ms with pauses of 60 ms, at 8 kHz.
pub(super) fn speech(at: usize) -> i16 {
    speech_at(at, SampleRate::Narrow)
}

/// The same at any rate; at 16 kHz it reaches beyond 4 kHz.
pub(super) fn speech_at(at: usize, rate: SampleRate) -> i16 {
    let t = at as f32 / rate.hz() as f32;
    let syllable = (t / 0.3).fract();
    let strength = if syllable < 0.8 { (syllable / 0.8 * std::f32::consts::PI).sin() } else { 0.0 };
    let pitch = 130.0 + 15.0 * (t * 2.0).sin();
    let voice: f32 =
        (1..14).map(|h| (t * pitch * h as f32 * std::f32::consts::TAU).sin() / (h as f32).sqrt()).sum();
    (voice * strength * 3000.0) as i16
}

/// One side's line to the bridge.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    pub(super) loss_percent: u32,
    pub(super) duplicate_percent: u32,
    /// Each packet is late by less than this.
    pub(super) jitter_ms: u32,
}

pub(super) struct World {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) bridge: Bridge,
    pub(super) user: WebRtcLeg,
    pub(super) phone_path: Path,
    pub(super) user_path: Path,
    pub(super) phone: Voice,
    pub(super) user_voice: Voice,
    /// Milliseconds of speech in the phone's packets.
    pub(super) ptime: usize,
    pub(super) phone_address: SocketAddr,
    /// What the phone was offered.
    pub(super) offers: Vec<(Protection, String)>,
    /// The phone's end of SRTP.
    pub(super) shield: Option<Srtp>,
    pub(super) user_heard: Vec<Heard>,
    pub(super) phone_heard: Vec<Heard>,
    pub(super) user_rtcp: Vec<Vec<u8>>,
    pub(super) phone_rtcp: Vec<Vec<u8>>,
    /// Where the last report to the phone went.
    pub(super) phone_rtcp_to: Option<SocketAddr>,
    pub(super) reports: Vec<(Duration, Report)>,
    /// What the phone speaks, and the rate of everything that is said.
    pub(super) codec: AudioCodec,
    pub(super) phone_encoder: SpeechEncoder,
    pub(super) encoder: OpusEncoder,
    random: Random,
    under_way: BTreeMap<(Instant, u64), (BridgePort, SocketAddr, Vec<u8>)>,
    count: u64,
}

fn opus_encoder(rate: SampleRate, expected_loss: u8) -> OpusEncoder {
    let settings = EncoderSettings { expected_loss, ..EncoderSettings::default() };
    OpusEncoder::new(rate, &settings).unwrap()
}

pub(super) fn identity(which: usize) -> Arc<Identity> {
    static IDENTITIES: [OnceLock<Arc<Identity>>; 2] = [OnceLock::new(), OnceLock::new()];
    Arc::clone(IDENTITIES[which].get_or_init(|| Arc::new(Identity::generate().unwrap())))
}

pub(super) fn phone_sdp(direction: &str, ptime: usize) -> String {
    codec_sdp(AudioCodec::Pcmu, direction, ptime)
}

/// The payload type of `codec` in all descriptions here.
pub(super) const fn payload_type(codec: AudioCodec) -> PayloadType {
    PayloadType(match codec {
        AudioCodec::Pcmu => 0,
        AudioCodec::Pcma => 8,
        AudioCodec::G722 => 9,
        AudioCodec::Opus => 111,
    })
}

/// A phone's description with one codec; events beside Opus stand on its clock.
pub(super) fn codec_sdp(codec: AudioCodec, direction: &str, ptime: usize) -> String {
    let PayloadType(number) = payload_type(codec);
    let (name, clock) = (codec.name(), codec.clock());
    let (events, channels) = if codec == AudioCodec::Opus { (110, "/2") } else { (101, "") };
    let fmtp = if codec == AudioCodec::Opus { "a=fmtp:111 useinbandfec=1\r\n" } else { "" };
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP {number} {events}\r\na=rtpmap:{number} {name}/{clock}{channels}\r\n{fmtp}\
         a=rtpmap:{events} telephone-event/{clock}\r\na=ptime:{ptime}\r\na={direction}\r\n"
    )
}

impl World {
    /// Both legs described, the phone answered, the gate shut, nothing under way.
    pub(super) fn new(seed: u64) -> Self {
        Self::with(seed, AudioCodec::Pcmu, 20)
    }

    /// The same with another codec and packet length of the phone.
    pub(super) fn with(seed: u64, codec: AudioCodec, ptime: usize) -> Self {
        Self::build(seed, codec, ptime, None, &codec_sdp(codec, "sendrecv", ptime))
    }

    /// The same with another answer of the phone, and something to play while it holds the call.
    pub(super) fn opened(seed: u64, hold_audio: Option<Clip>, phone_answer: &str) -> Self {
        Self::build(seed, AudioCodec::Pcmu, 20, hold_audio, phone_answer)
    }

    /// Both sides may talk, and the phone speaks Opus but has never heard of telephone events.
    pub(super) fn up_without_events(seed: u64) -> Self {
        let answer = codec_sdp(AudioCodec::Opus, "sendrecv", 20)
            .replace(" 111 110", " 111")
            .replace("a=rtpmap:110 telephone-event/48000\r\n", "");
        Self::build(seed, AudioCodec::Opus, 20, None, &answer).answered()
    }

    fn build(
        seed: u64,
        codec: AudioCodec,
        ptime: usize,
        hold_audio: Option<Clip>,
        phone_answer: &str,
    ) -> Self {
        let start = Instant::now();
        let now = Now { mono: start, wall: Wall(1_790_000_000_000) };
        let mut random = Random::from_number(seed);
        let settings = BridgeSettings {
            webrtc_local: OURS.parse().unwrap(),
            webrtc_candidates: vec![OURS.parse().unwrap()],
            identity: identity(0),
            fingerprint_case: FingerprintCase::Lower,
            rtp: RTP.parse().unwrap(),
            rtcp: RTCP.parse().unwrap(),
            random: random.split(),
        };
        let mut spec = OpenSpec::new(MetaSide::Offer, PhoneSide::Offer);
        spec.dead_after = Duration::from_secs(30);
        spec.voip_metrics = true;
        spec.hold_audio = hold_audio;
        spec.rule = ProtectionRule::ANY;
        spec.ways = vec![Protection::Clear, Protection::BestEffort, Protection::Sdes];
        let (mut bridge, opened) = Bridge::open(now, settings, &spec).unwrap();
        let Report::Opened { meta_sdp, offers, .. } = opened else { panic!("{opened:?}") };
        let mut user = WebRtcLeg::new(
            WebRtcSettings {
                local: USERS.parse().unwrap(),
                candidates: vec![USERS.parse().unwrap()],
                identity: identity(1),
                ssrc: Ssrc(77),
                cname: "user".to_owned(),
                fingerprint_case: FingerprintCase::Lower,
            },
            random.split(),
        );
        let answer = user.answer(start, &meta_sdp).unwrap();
        user.start_dtls(start);
        bridge.handle_order(now, Order::ApplyMetaAnswer { sdp: answer });
        bridge.handle_order(now, Order::StartDtls);
        bridge.handle_order(now, Order::ApplyPhoneAnswer { sdp: phone_answer.to_owned() });
        Self {
            start,
            now: start,
            bridge,
            user,
            phone_path: Path::default(),
            user_path: Path::default(),
            phone: Voice::new(start, payload_type(codec).0, 55),
            user_voice: Voice::new(start, 111, 77),
            ptime,
            phone_address: PHONE.parse().unwrap(),
            offers,
            shield: None,
            user_heard: Vec::new(),
            phone_heard: Vec::new(),
            user_rtcp: Vec::new(),
            phone_rtcp: Vec::new(),
            phone_rtcp_to: None,
            reports: Vec::new(),
            codec,
            phone_encoder: SpeechEncoder::new(codec, &EncoderSettings::default()).unwrap(),
            encoder: opus_encoder(codec.rate(), 10),
            random,
            under_way: BTreeMap::new(),
            count: 0,
        }
    }

    /// A call that is up: keys there, gate open, everybody silent, nothing remembered.
    pub(super) fn up(seed: u64) -> Self {
        Self::up_with(seed, AudioCodec::Pcmu, 20)
    }

    /// The same with another codec and packet length of the phone.
    pub(super) fn up_with(seed: u64, codec: AudioCodec, ptime: usize) -> Self {
        Self::with(seed, codec, ptime).answered()
    }

    /// Keys there, gate open.
    pub(super) fn answered(self) -> Self {
        let mut world = self;
        // Both sides begin as controlling, and a lost race costs a retransmission or two.
        world.run(millis(2000));
        assert!(world.told(&Report::DtlsUp).is_some());
        world.order(Order::SetStage(Stage::Open));
        world
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn clock(&self) -> Now {
        Now { mono: self.now, wall: Wall(1_790_000_000_000) + self.elapsed() }
    }

    pub(super) fn order(&mut self, order: Order) {
        self.bridge.handle_order(self.clock(), order);
        self.drain();
    }

    /// Runs the world, a millisecond at a time.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now += millis(1);
            self.speak();
            while let Some(entry) = self.under_way.first_entry().filter(|it| it.key().0 <= self.now) {
                let (port, from, bytes) = entry.remove();
                let clock = Now { mono: self.now, wall: Wall(1_790_000_000_000) + (self.now - self.start) };
                self.bridge.handle_datagram(clock, port, from, &bytes);
                self.drain();
            }
            if self.bridge.poll_timeout().is_some_and(|at| at <= self.now) {
                self.bridge.handle_timeout(self.clock());
            }
            if self.user.poll_timeout().is_some_and(|at| at <= self.now) {
                self.user.handle_timeout(self.now);
            }
            self.drain();
        }
    }

    fn speak(&mut self) {
        let rate = self.codec.rate();
        if self.phone.next <= self.now {
            self.phone.next += millis(self.ptime as u64);
            let start = self.phone.sample;
            self.phone.sample += rate.samples(self.ptime);
            if self.phone.speaking {
                let samples: Vec<i16> =
                    (start..self.phone.sample).map(|at| self.phone.sound_at(at, rate)).collect();
                let mut payload = vec![0; samples.len()];
                let length = self.phone_encoder.encode(&samples, &mut payload).unwrap();
                self.phone_sends(&payload[..length], self.codec.ticks(samples.len()));
            }
        }
        if self.user_voice.next <= self.now {
            self.user_voice.next += millis(20);
            if self.user_voice.speaking {
                let start = self.user_voice.sample;
                let frame: Vec<i16> =
                    (start..start + rate.frame()).map(|at| self.user_voice.sound_at(at, rate)).collect();
                let mut packet = [0; MAX_OPUS_PACKET];
                let length = self.encoder.encode(&frame, &mut packet).unwrap();
                self.user_sends(&packet[..length], 960);
            }
            self.user_voice.sample += rate.frame();
        }
    }

    /// The phone goes on with another codec, by its own re-offer.
    pub(super) fn change_codec(&mut self, codec: AudioCodec) {
        self.order(Order::AnswerPhoneReoffer { sdp: Some(codec_sdp(codec, "sendrecv", self.ptime)) });
        self.change_voice(codec);
    }

    /// What the phone sends from now on.
    pub(super) fn change_voice(&mut self, codec: AudioCodec) {
        if codec.rate() != self.codec.rate() {
            self.encoder = opus_encoder(codec.rate(), 10);
            for voice in [&mut self.phone, &mut self.user_voice] {
                voice.sample = codec.rate().samples(voice.sample * 1000 / self.codec.rate().hz() as usize);
            }
        }
        self.phone_encoder = SpeechEncoder::new(codec, &EncoderSettings::default()).unwrap();
        self.codec = codec;
        self.phone.header.payload_type = payload_type(codec);
        self.phone.header.marker = true;
    }

    /// The phone sends a packet whose time stamp then moves on by `ticks`.
    pub(super) fn phone_sends(&mut self, payload: &[u8], ticks: u32) {
        let mut packet = self.phone.header.to_bytes().to_vec();
        packet.extend(payload);
        let header = &mut self.phone.header;
        header.seq = header.seq.next();
        header.timestamp = header.timestamp.plus(ticks);
        header.marker = false;
        if let Some(shield) = &mut self.shield {
            packet = shield.protect_rtp(&packet).unwrap().to_vec();
        }
        self.post(BridgePort::Rtp, self.phone_address, &packet, self.phone_path);
    }

    /// The user likewise.
    pub(super) fn user_sends(&mut self, payload: &[u8], ticks: u32) {
        let mut packet = self.user_voice.header.to_bytes().to_vec();
        packet.extend(payload);
        let header = &mut self.user_voice.header;
        header.seq = header.seq.next();
        header.timestamp = header.timestamp.plus(ticks);
        header.marker = false;
        if let Some((_, sealed)) = self.user.protect_rtp(&packet) {
            let sealed = sealed.to_vec();
            self.post(BridgePort::WebRtc, USERS.parse().unwrap(), &sealed, self.user_path);
        }
    }

    pub(super) fn post(&mut self, port: BridgePort, from: SocketAddr, bytes: &[u8], path: Path) {
        if self.random.below(100) < path.loss_percent {
            return;
        }
        let copies = 1 + u32::from(self.random.below(100) < path.duplicate_percent);
        for _ in 0..copies {
            let late = millis(self.random.below(path.jitter_ms.max(1)).into());
            self.post_after(late, port, from, bytes);
        }
    }

    /// Something that takes its time.
    pub(super) fn post_after(&mut self, late: Duration, port: BridgePort, from: SocketAddr, bytes: &[u8]) {
        self.count += 1;
        self.under_way.insert((self.now + late, self.count), (port, from, bytes.to_vec()));
    }

    fn drain(&mut self) {
        loop {
            let at = self.elapsed();
            while let Some(report) = self.bridge.poll_report() {
                self.reports.push((at, report));
            }
            let mut quiet = true;
            while let Some(transmit) = self.bridge.poll_transmit() {
                quiet = false;
                let mut bytes = transmit.bytes.to_vec();
                if let (Some(shield), BridgePort::Rtp | BridgePort::Rtcp) = (&mut self.shield, transmit.port)
                {
                    let clear = match packet_kind(&bytes) {
                        PacketKind::Rtcp => shield.unprotect_rtcp(&bytes),
                        _ => shield.unprotect_rtp(&bytes),
                    };
                    bytes = clear.expect("the phone can decrypt all that comes").to_vec();
                }
                match transmit.port {
                    BridgePort::WebRtc => {
                        match self.user.handle_datagram(self.now, OURS.parse().unwrap(), &bytes) {
                            Received::Nothing => {}
                            Received::Rtp(packet) => note(at, packet, &mut self.user_heard),
                            Received::Rtcp(packet) => self.user_rtcp.push(packet.to_vec()),
                        }
                    }
                    BridgePort::Rtp => {
                        assert_eq!(transmit.to, self.phone_address);
                        assert_eq!(packet_kind(&bytes), PacketKind::Rtp);
                        note(at, &bytes, &mut self.phone_heard);
                    }
                    BridgePort::Rtcp => {
                        self.phone_rtcp_to = Some(transmit.to);
                        self.phone_rtcp.push(bytes);
                    }
                }
            }
            while let Some((to, bytes)) = self.user.poll_transmit() {
                quiet = false;
                if to == OURS.parse::<SocketAddr>().unwrap() {
                    self.post(BridgePort::WebRtc, USERS.parse().unwrap(), &bytes, Path::default());
                }
            }
            while self.user.poll_event().is_some() {}
            if quiet {
                return;
            }
        }
    }

    pub(super) fn told(&self, report: &Report) -> Option<Duration> {
        self.reports.iter().find(|(_, it)| it == report).map(|(at, _)| *at)
    }
}

fn note(at: Duration, bytes: &[u8], heard: &mut Vec<Heard>) {
    let packet = RtpPacket::parse(bytes).unwrap();
    heard.push(Heard { at, header: packet.header, payload: packet.payload.to_vec() });
}

/// Rule 11: one source, sequence +1 exactly, time stamps of slots by elapsed time, a packet at least
/// every 60 ms. `early` and `late` bound the time between a slot's packet and its slot.
pub(super) fn assert_unbroken(heard: &[Heard], early: Duration, late: Duration) {
    let first = &heard[0];
    assert!(first.header.seq.0 < 1 << 15 && first.header.marker);
    let mut slot = None;
    for pair in heard.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(after.header.ssrc, first.header.ssrc);
        assert_eq!(after.header.seq, before.header.seq.next(), "at {:?}", after.at);
        assert!(after.at - before.at <= millis(60), "silent from {:?} to {:?}", before.at, after.at);
    }
    for it in heard.iter().filter(|it| it.header.payload_type == PayloadType(111)) {
        let ticks = it.header.timestamp.since(first.header.timestamp);
        assert_eq!(ticks % 960, 0, "at {:?}", it.at);
        assert!(slot.is_none_or(|before| ticks > before), "time went back at {:?}", it.at);
        slot = Some(ticks);
        let due = first.at + millis(ticks.unsigned_abs() as u64 / 48);
        assert!(it.at + early >= due && it.at <= due + late, "slot due {due:?} came {:?}", it.at);
    }
}

/// What a WhatsApp user would hear, by libopus, a frame per packet, at 8 kHz.
pub(super) fn decode_opus(heard: &[Heard]) -> Vec<i16> {
    decode_opus_at(heard, SampleRate::Narrow)
}

/// The same at another rate.
pub(super) fn decode_opus_at(heard: &[Heard], rate: SampleRate) -> Vec<i16> {
    let mut decoder = OpusDecoder::new(rate).unwrap();
    let mut out = [0; MAX_OPUS_SAMPLES];
    let mut samples = Vec::new();
    for it in heard.iter().filter(|it| it.header.payload_type == PayloadType(111)) {
        let count = decoder.decode(&it.payload, &mut out).unwrap();
        samples.extend(&out[..count]);
    }
    samples
}

/// What a phone with `codec` would hear, at the codec's rate.
pub(super) fn decode_phone(heard: &[Heard], codec: AudioCodec) -> Vec<i16> {
    let (mut decoder, mut out) = (SpeechDecoder::new(codec).unwrap(), [0; MAX_OPUS_SAMPLES]);
    let speech = heard.iter().filter(|it| it.header.payload_type == payload_type(codec));
    speech.fold(Vec::new(), |mut samples, it| {
        let count = decoder.decode(&it.payload, &mut out).unwrap();
        samples.extend(&out[..count]);
        samples
    })
}

/// What a phone with PCMU would hear.
pub(super) fn decode_g711(heard: &[Heard]) -> Vec<i16> {
    heard.iter().flat_map(|it| it.payload.iter().map(|code| G711::MuLaw.sample(*code))).collect()
}

/// The delay in samples at which `heard` is most like `said`, and how like it is (1: the same).
pub(super) fn likeness(said: &[i16], heard: &[i16], most: usize) -> (usize, f32) {
    let compare = |delay: usize| {
        let (mut product, mut one, mut two) = (0.0_f64, 1.0_f64, 1.0_f64);
        for (a, b) in said.iter().zip(heard.iter().skip(delay)) {
            product += f64::from(*a) * f64::from(*b);
            one += f64::from(*a).powi(2);
            two += f64::from(*b).powi(2);
        }
        (product / (one * two).sqrt()) as f32
    };
    (0..most).map(|delay| (delay, compare(delay))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

/// `said` through libopus with the gateway's settings and nothing else: what the pipe is measured against.
pub(super) fn libopus_alone(said: &[i16], expected_loss: u8) -> Vec<i16> {
    libopus_alone_at(said, expected_loss, SampleRate::Narrow)
}

/// The same at another rate.
pub(super) fn libopus_alone_at(said: &[i16], expected_loss: u8, rate: SampleRate) -> Vec<i16> {
    let mut encoder = opus_encoder(rate, expected_loss);
    let mut decoder = OpusDecoder::new(rate).unwrap();
    let (mut packet, mut out) = ([0; MAX_OPUS_PACKET], [0; MAX_OPUS_SAMPLES]);
    let mut heard = Vec::new();
    for frame in said.chunks_exact(rate.frame()) {
        let length = encoder.encode(frame, &mut packet).unwrap();
        let count = decoder.decode(&packet[..length], &mut out).unwrap();
        heard.extend(&out[..count]);
    }
    heard
}
