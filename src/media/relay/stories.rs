//! Two phones with each other, in virtual time: what one says, the other hears, and nothing else of it.

use super::*;
use crate::codec::{EncoderSettings, SpeechDecoder, SpeechEncoder};
use crate::media::Clip;
use crate::media::world::{codec_sdp, payload_type};
use crate::rtp::{PacketKind, RtpHeader, RtpPacket, TelephoneEvent, packet_kind};
use crate::time::Wall;

const PHONES: [&str; 2] = ["10.0.0.7:4000", "10.0.0.8:4000"];
const OURS: [(&str, &str); 2] = [("10.0.0.1:30000", "10.0.0.1:30001"), ("10.0.0.1:30002", "10.0.0.1:30003")];

/// A phone: its codec, its encoder and what it has heard.
struct Phone {
    codec: AudioCodec,
    encoder: SpeechEncoder,
    at: SocketAddr,
    header: RtpHeader,
    samples: usize,
    heard: Vec<(Duration, Vec<u8>)>,
}

impl Phone {
    fn new(codec: AudioCodec, at: &str, ssrc: u32) -> Self {
        let header = RtpHeader {
            marker: true,
            payload_type: payload_type(codec),
            seq: SeqNo(65_530),
            timestamp: RtpTime(u32::MAX - 1000),
            ssrc: Ssrc(ssrc),
        };
        let encoder = SpeechEncoder::new(codec, &EncoderSettings::default()).unwrap();
        Self { codec, encoder, at: at.parse().unwrap(), header, samples: 0, heard: Vec::new() }
    }

    /// The next 20 ms of a tone of that frequency.
    fn say(&mut self, hz: f32) -> Vec<u8> {
        let rate = self.codec.rate();
        let turn = std::f32::consts::TAU * hz / rate.hz() as f32;
        let tone = |at: usize| ((at as f32 * turn).sin() * 8000.0) as i16;
        let samples: Vec<i16> = (self.samples..self.samples + rate.frame()).map(tone).collect();
        self.samples += rate.frame();
        let mut payload = [0; 400];
        let length = self.encoder.encode(&samples, &mut payload).unwrap();
        let packet = [&self.header.to_bytes()[..], &payload[..length]].concat();
        self.header.seq = self.header.seq.next();
        self.header.timestamp = self.header.timestamp.plus(self.codec.ticks(rate.frame()));
        self.header.marker = false;
        packet
    }

    fn packets(&self) -> Vec<RtpPacket<'_>> {
        let rtp = self.heard.iter().filter(|(_, bytes)| packet_kind(bytes) == PacketKind::Rtp);
        rtp.map(|(_, bytes)| RtpPacket::parse(bytes).unwrap()).collect()
    }

    /// How loud what it heard is at a frequency, the last half of it.
    fn level(&self, hz: f32) -> f32 {
        let (mut decoder, mut sound) = (SpeechDecoder::new(self.codec).unwrap(), Vec::new());
        let mut samples = [0; 2000];
        for packet in self.packets().iter().filter(|it| it.header.payload_type == payload_type(self.codec)) {
            let count = decoder.decode(packet.payload, &mut samples).unwrap();
            sound.extend_from_slice(&samples[..count]);
        }
        let half = &sound[sound.len() / 2..];
        let turn = f64::from(std::f32::consts::TAU * hz / self.codec.rate().hz() as f32);
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (at, sample) in half.iter().enumerate() {
            sine += f64::from(*sample) * (turn * at as f64).sin();
            cosine += f64::from(*sample) * (turn * at as f64).cos();
        }
        (20.0 * (2.0 * sine.hypot(cosine) / half.len() as f64 / 8000.0).log10()) as f32
    }
}

struct Desk {
    relay: Relay,
    start: Now,
    now: Now,
    phones: [Phone; 2],
    reports: Vec<RelayReport>,
    /// RTCP packets that each got.
    told: [usize; 2],
}

const PCMU: AudioCodec = AudioCodec::Pcmu;
const CALLER: Seat = Seat::Caller;
const CALLEE: Seat = Seat::Callee;

fn settings() -> RelaySettings {
    let pair = |(rtp, rtcp): (&str, &str)| (rtp.parse().unwrap(), rtcp.parse().unwrap());
    RelaySettings {
        addresses: OURS.map(pair),
        identity: crate::media::world::identity(0),
        fingerprint_case: FingerprintCase::Lower,
        random: Random::from_number(7),
    }
}

fn sdp(codec: AudioCodec, direction: &str, at: usize) -> String {
    codec_sdp(codec, direction, 20).replace("10.0.0.7", &PHONES[at][..8])
}

impl Desk {
    /// A call that both have agreed on.
    fn talking(caller: AudioCodec, callee: AudioCodec) -> Self {
        let mut desk = Self::offered(caller, callee);
        desk.order(RelayOrder::TakeAnswer { seat: CALLEE, sdp: sdp(callee, "sendrecv", 1) });
        desk.order(RelayOrder::Describe { seat: CALLER });
        desk
    }

    fn offered(caller: AudioCodec, callee: AudioCodec) -> Self {
        let now = Now { mono: Instant::now(), wall: Wall::from_secs(1_790_000_000) };
        let settings = settings();
        let spec = RelaySpec {
            offer: Some(sdp(caller, "sendrecv", 0)),
            codecs: AudioCodec::ALL.to_vec(),
            rule: ProtectionRule::default(),
            caller_way: Protection::Clear,
            ways: vec![Protection::Clear],
            dead_after: Duration::from_secs(60),
            encoder: EncoderSettings::default(),
            hold_audio: Some(Clip::new(tone_of(700.0, 8000), tone_of(700.0, 16_000))),
        };
        let (relay, opened) = Relay::open(now, settings, spec).unwrap();
        let phones = [Phone::new(caller, PHONES[0], 7), Phone::new(callee, PHONES[1], 8)];
        Self { relay, start: now, now, phones, reports: vec![opened], told: [0; 2] }
    }

    fn order(&mut self, order: RelayOrder) -> &mut Self {
        self.relay.handle_order(self.now, order);
        self.drain();
        self
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.relay.poll_transmit() {
            let at = self.now.mono - self.start.mono;
            if transmit.port.carries == Carries::Rtcp {
                self.told[transmit.port.seat.index()] += 1;
            }
            if let Some(phone) = self.phones.iter_mut().find(|it| it.at == transmit.to) {
                phone.heard.push((at, transmit.bytes.to_vec()));
            }
        }
        self.reports.extend(std::iter::from_fn(|| self.relay.poll_report()));
    }

    fn arrives(&mut self, seat: Seat, from: SocketAddr, bytes: &[u8]) {
        let port = RelayPort { seat, carries: Carries::Rtp };
        self.relay.handle_arrival(self.now, self.now.mono, port, from, bytes);
        self.drain();
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        while let Some(due) = self.relay.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.after(due.saturating_duration_since(self.now.mono));
            self.relay.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.after(end - self.now.mono);
    }

    /// Both speak for so many slots of 20 ms: the caller 400 Hz, the callee 1 kHz.
    fn talk(&mut self, slots: usize) -> &mut Self {
        for _ in 0..slots {
            for (seat, hz) in [(CALLER, 400.0), (CALLEE, 1000.0)] {
                self.speaks(seat, hz);
            }
            self.pass(Duration::from_millis(20));
        }
        self
    }

    fn speaks(&mut self, seat: Seat, hz: f32) {
        let phone = &mut self.phones[seat.index()];
        let (packet, from) = (phone.say(hz), phone.at);
        self.arrives(seat, from, &packet);
    }

    fn phone(&self, seat: Seat) -> &Phone {
        &self.phones[seat.index()]
    }

    #[track_caller]
    fn described(&self) -> &str {
        let sdp = self.reports.iter().rev().find_map(|report| match report {
            RelayReport::Described { sdp, .. }
            | RelayReport::ReofferAnswered { sdp, .. }
            | RelayReport::NextAnswered { sdp }
            | RelayReport::NextOffered { sdp, .. }
            | RelayReport::Opened { sdp, .. } => Some(sdp),
            _ => None,
        });
        sdp.expect("a description")
    }
}

fn tone_of(hz: f32, rate: u32) -> Vec<i16> {
    let turn = std::f32::consts::TAU * hz / rate as f32;
    (0..rate as usize).map(|at| ((at as f32 * turn).sin() * 8000.0) as i16).collect()
}

/// One source, sequence +1 throughout, time stamps that go with the packets.
#[track_caller]
fn assert_line(phone: &Phone) {
    let packets = phone.packets();
    for pair in packets.windows(2) {
        let (one, two) = (pair[0].header, pair[1].header);
        assert_eq!((one.ssrc, one.seq.next()), (two.ssrc, two.seq));
        assert!(two.timestamp.since(one.timestamp) >= 0);
    }
    assert!(packets.iter().all(|it| ![7, 8].contains(&it.header.ssrc.0)), "our own source");
}

#[test]
fn phones_that_share_a_codec_hear_each_others_packets_as_they_are_and_learn_no_address() {
    for codec in AudioCodec::ALL {
        let mut desk = Desk::talking(codec, codec);
        let answer = desk.described().to_owned();
        assert!(answer.contains("10.0.0.1") && !answer.contains("10.0.0.8"), "{answer}");
        let said: Vec<Vec<u8>> = (0..40)
            .map(|_| {
                let packet = desk.phones[0].say(400.0);
                desk.arrives(CALLER, PHONES[0].parse().unwrap(), &packet);
                desk.pass(Duration::from_millis(20));
                packet[12..].to_vec()
            })
            .collect();
        let heard: Vec<&[u8]> = desk.phone(CALLEE).packets().iter().map(|it| it.payload).collect();
        assert_eq!(heard, said, "{codec:?}");
        assert_line(desk.phone(CALLEE));
        assert_eq!(desk.relay.summary().codecs, format!("{}/{} as it is", codec.name(), codec.clock()));
        assert_eq!(desk.relay.summary().heard[1].passed, 40);
    }
}

#[test]
fn phones_that_share_no_codec_hear_each_other_all_the_same() {
    for caller in AudioCodec::ALL {
        for callee in AudioCodec::ALL.into_iter().filter(|it| *it != caller) {
            let mut desk = Desk::talking(caller, callee);
            desk.talk(60);
            let (back, forth) = (desk.phone(CALLER).level(1000.0), desk.phone(CALLEE).level(400.0));
            assert!(back.abs() < 2.0 && forth.abs() < 2.0, "{caller:?} {callee:?}: {back} and {forth} dB");
            for seat in Seat::BOTH {
                assert_line(desk.phone(seat));
                assert!(desk.phone(seat).packets().len() >= 59, "{caller:?} {callee:?}");
            }
        }
    }
}

#[test]
fn the_callee_is_offered_what_the_caller_speaks_first_and_the_rest_after_it() {
    let desk = Desk::offered(AudioCodec::G722, PCMU);
    let RelayReport::Opened { sdp, .. } = &desk.reports[0] else { panic!("{:?}", desk.reports) };
    assert!(sdp.contains("RTP/AVP 9 0 8 111"), "{sdp}");
    let offer =
        "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n";
    let spec = RelaySpec {
        offer: Some(offer.to_owned()),
        codecs: vec![PCMU],
        rule: ProtectionRule::default(),
        caller_way: Protection::Clear,
        ways: vec![Protection::Clear],
        dead_after: Duration::from_secs(60),
        encoder: EncoderSettings::default(),
        hold_audio: None,
    };
    let settings = settings();
    let refused = Relay::open(desk.now, settings, spec).err();
    assert_eq!(refused, Some(AudioRefusal::NoCommonCodec));
}

#[test]
fn a_phone_that_goes_over_to_another_codec_of_its_answer_is_followed_and_so_is_its_way_back() {
    let mut desk = Desk::offered(PCMU, PCMU);
    let both = sdp(PCMU, "sendrecv", 1)
        .replace("RTP/AVP 0 101", "RTP/AVP 0 9 101")
        .replace("a=rtpmap:101", "a=rtpmap:9 G722/8000\r\na=rtpmap:101");
    desk.order(RelayOrder::TakeAnswer { seat: CALLEE, sdp: both })
        .order(RelayOrder::Describe { seat: CALLER });
    desk.talk(30);
    desk.phones[0].heard.clear();
    let (at, ssrc) = (PHONES[1], 8);
    for codec in [AudioCodec::G722, PCMU] {
        let before = desk.phones[1].header;
        desk.phones[1] = Phone::new(codec, at, ssrc);
        desk.phones[1].header = RtpHeader { payload_type: payload_type(codec), ..before };
        // Not sooner: who goes to and fro is not followed.
        desk.pass(Duration::from_secs(1));
        desk.talk(60);
        let heard = desk.phone(CALLEE).packets();
        assert_eq!(heard.last().expect("a packet").header.payload_type, payload_type(codec), "as it speaks");
        assert!(desk.phone(CALLEE).level(400.0) > -6.0, "{codec:?}");
        assert!(desk.phone(CALLER).level(1000.0) > -6.0, "{codec:?}");
    }
}

#[test]
fn a_phone_that_goes_to_and_fro_between_codecs_is_followed_once_a_second_at_most() {
    let mut desk = Desk::offered(PCMU, PCMU);
    let both = sdp(PCMU, "sendrecv", 1)
        .replace("RTP/AVP 0 101", "RTP/AVP 0 9 101")
        .replace("a=rtpmap:101", "a=rtpmap:9 G722/8000\r\na=rtpmap:101");
    desk.order(RelayOrder::TakeAnswer { seat: CALLEE, sdp: both })
        .order(RelayOrder::Describe { seat: CALLER });
    for slot in 0..150 {
        let codec = if slot % 2 == 0 { PCMU } else { AudioCodec::G722 };
        desk.phones[1].header.payload_type = payload_type(codec);
        desk.talk(1);
    }
    let packets = desk.phone(CALLEE).packets();
    let types: Vec<u8> = packets.iter().map(|it| it.header.payload_type.0).collect();
    let changes = types.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((1..=3).contains(&changes), "{changes} in three seconds");
}

#[test]
fn rule_16_who_is_held_hears_hold_audio_and_then_the_other_again_and_its_own_session_is_untouched() {
    for (caller, callee) in [(PCMU, PCMU), (AudioCodec::Opus, AudioCodec::Pcma)] {
        let mut desk = Desk::talking(caller, callee);
        desk.talk(25);
        let offer = sdp(caller, "sendonly", 0);
        desk.order(RelayOrder::AnswerReoffer { seat: CALLER, sdp: Some(offer) });
        assert!(desk.described().contains("a=recvonly"), "{}", desk.described());
        for _ in 0..100 {
            desk.speaks(CALLEE, 1000.0);
            desk.pass(Duration::from_millis(20));
        }
        assert!(desk.phone(CALLEE).level(700.0) > -3.0, "{}", desk.phone(CALLEE).level(700.0));
        let before = desk.phone(CALLER).packets().len();
        assert!(before <= 26, "who holds hears nothing: {before}");
        desk.order(RelayOrder::AnswerReoffer { seat: CALLER, sdp: Some(sdp(caller, "sendrecv", 0)) });
        desk.phones[1].heard.clear();
        desk.talk(50);
        assert!(desk.phone(CALLEE).level(400.0).abs() < 2.0 && desk.phone(CALLEE).level(700.0) < -30.0);
        assert!(desk.phone(CALLER).packets().len() > before + 40);
        assert_line(desk.phone(CALLEE));
    }
}

/// The caller, who speaks Opus, presses a key for 120 ms.
fn press(desk: &mut Desk, key: char) {
    for step in 1..=8_u16 {
        let phone = &mut desk.phones[0];
        let report = TelephoneEvent {
            event: Event::from_digit(key).unwrap(),
            end: step > 5,
            volume: 10,
            duration: step.min(6) * 960,
        };
        let header = RtpHeader { payload_type: crate::rtp::PayloadType(110), ..phone.header };
        phone.header.seq = phone.header.seq.next();
        let bytes = [&header.to_bytes()[..], &report.to_bytes()].concat();
        let from = phone.at;
        desk.arrives(CALLER, from, &bytes);
        desk.pass(Duration::from_millis(20));
    }
}

#[test]
fn a_key_reaches_the_other_phone_as_an_event_on_its_clock_or_as_a_tone() {
    let mut desk = Desk::talking(AudioCodec::Opus, PCMU);
    desk.talk(10);
    press(&mut desk, '5');
    desk.pass(Duration::from_millis(200));
    let packets = desk.phone(CALLEE).packets();
    let keys: Vec<_> = packets.iter().filter(|it| it.header.payload_type.0 == 101).collect();
    let last = TelephoneEvent::parse(keys.last().expect("a key").payload).unwrap();
    assert_eq!((last.event.digit(), last.end, last.duration), ('5', true, 960));
    assert!(keys.iter().all(|it| it.header.timestamp == keys[0].header.timestamp));
    assert_line(desk.phone(CALLEE));
    // Somebody who takes no events hears it.
    let mut desk = Desk::offered(PCMU, PCMU);
    let deaf =
        sdp(PCMU, "sendrecv", 1).replace("a=rtpmap:101 telephone-event/8000\r\n", "").replace(" 101", "");
    desk.order(RelayOrder::TakeAnswer { seat: CALLEE, sdp: deaf })
        .order(RelayOrder::Describe { seat: CALLER });
    desk.order(RelayOrder::Digit { seat: CALLER, digit: '5', duration: Duration::from_millis(400) });
    desk.pass(Duration::from_millis(600));
    assert!(desk.phone(CALLEE).level(770.0) > -30.0 && desk.phone(CALLEE).level(1336.0) > -30.0);
}

/// The keys that a seat is to be told by signalling.
fn told(desk: &Desk, to: Seat) -> String {
    let of = |report: &RelayReport| match report {
        RelayReport::KeyPressed { seat, digit, duration } if *seat == to => {
            assert!((80..=200).contains(&duration.as_millis()), "{duration:?}");
            Some(*digit)
        }
        _ => None,
    };
    desk.reports.iter().filter_map(of).collect()
}

#[test]
fn rule_18_who_has_keys_by_signalling_is_told_those_of_the_other_desk_however_they_came() {
    let duration = Duration::from_millis(160);
    for way in [KeyWay::Told, KeyWay::EventsElseTold, KeyWay::WithSound] {
        let mut desk = Desk::talking(AudioCodec::Opus, PCMU);
        desk.order(RelayOrder::SetKeyWay { seat: CALLEE, way }).talk(10);
        press(&mut desk, '5');
        desk.order(RelayOrder::Digit { seat: CALLER, digit: '#', duration });
        // The other way round nothing has changed.
        desk.order(RelayOrder::Digit { seat: CALLEE, digit: '9', duration });
        desk.pass(Duration::from_millis(600));
        let events = |desk: &mut Desk, seat: Seat, number: u8| {
            desk.phone(seat).packets().iter().filter(|it| it.header.payload_type.0 == number).count()
        };
        let by_signalling = if way == KeyWay::Told { "5#" } else { "" };
        assert_eq!((told(&desk, CALLEE).as_str(), told(&desk, CALLER).as_str()), (by_signalling, ""));
        assert_eq!(events(&mut desk, CALLEE, 101) > 0, way != KeyWay::Told, "{way:?}");
        assert!(events(&mut desk, CALLER, 110) > 0);
        assert_line(desk.phone(CALLEE));
        let before = desk.phone(CALLEE).packets().len();
        desk.talk(20);
        assert!(desk.phone(CALLEE).packets().len() > before + 15, "speech goes on");
    }
}

#[test]
fn a_key_that_a_desk_would_not_have_by_signalling_goes_with_the_sound_and_so_do_those_after_it() {
    let duration = Duration::from_millis(160);
    let mut desk = Desk::talking(PCMU, PCMU);
    desk.order(RelayOrder::SetKeyWay { seat: CALLEE, way: KeyWay::Told });
    desk.order(RelayOrder::DigitWithSound { seat: CALLEE, digit: '1', duration });
    desk.pass(Duration::from_millis(500));
    desk.order(RelayOrder::Digit { seat: CALLER, digit: '2', duration });
    desk.pass(Duration::from_millis(500));
    let packets = desk.phone(CALLEE).packets();
    let keys = packets.iter().filter(|it| it.header.payload_type.0 == 101);
    let mut digits: Vec<char> =
        keys.map(|it| TelephoneEvent::parse(it.payload).unwrap().event.digit()).collect();
    digits.dedup();
    assert_eq!((digits, told(&desk, CALLEE).as_str()), (vec!['1', '2'], ""));
}

#[test]
fn another_phone_takes_a_seat_and_the_one_across_hears_one_unbroken_line() {
    let mut desk = Desk::talking(PCMU, PCMU);
    desk.talk(25);
    let third = Phone::new(AudioCodec::G722, "10.0.0.9:4000", 9);
    let offer = codec_sdp(AudioCodec::G722, "sendrecv", 20).replace("10.0.0.7", "10.0.0.9");
    desk.order(RelayOrder::AnswerNext { seat: CALLEE, offer });
    assert!(desk.described().contains("m=audio 30002") && desk.described().contains("G722"));
    let old = std::mem::replace(&mut desk.phones[1], third);
    let mut old = old;
    for _ in 0..50 {
        let stray = old.say(2000.0);
        desk.arrives(CALLEE, old.at, &stray);
        desk.talk(1);
    }
    assert_line(desk.phone(CALLER));
    assert!(desk.phone(CALLER).level(1000.0).abs() < 2.0 && desk.phone(CALLER).level(2000.0) < -30.0);
    assert!(desk.phone(CALLEE).level(400.0).abs() < 2.0);
    // An answer that nothing can be made of leaves everything as it is.
    desk.order(RelayOrder::OfferToNext { seat: CALLEE });
    let none = sdp(PCMU, "sendrecv", 1)
        .replace("RTP/AVP 0", "RTP/AVP 18")
        .replace("rtpmap:0 PCMU", "rtpmap:18 G729");
    desk.order(RelayOrder::TakeNext { seat: CALLEE, sdp: none });
    assert!(matches!(desk.reports.last(), Some(RelayReport::NextRefused(_))), "{:?}", desk.reports.last());
    let before = desk.phone(CALLER).packets().len();
    desk.talk(10);
    assert_eq!(desk.phone(CALLER).packets().len(), before + 10);
}

#[test]
fn loss_stays_loss_and_neighbours_that_changed_places_change_back() {
    let mut desk = Desk::talking(PCMU, PCMU);
    for n in 0..60 {
        let packet = desk.phones[0].say(400.0);
        let from = desk.phones[0].at;
        match n {
            20 => {}
            40 => {
                let next = desk.phones[0].say(400.0);
                desk.arrives(CALLER, from, &next);
                desk.arrives(CALLER, from, &packet);
            }
            _ => desk.arrives(CALLER, from, &packet),
        }
        desk.pass(Duration::from_millis(20));
    }
    let packets = desk.phone(CALLEE).packets();
    let steps: Vec<_> = packets
        .windows(2)
        .map(|it| {
            (it[1].header.seq.since(it[0].header.seq), it[1].header.timestamp.since(it[0].header.timestamp))
        })
        .collect();
    assert_eq!(steps.iter().filter(|it| **it == (1, 160)).count(), steps.len() - 1, "{steps:?}");
    assert_eq!(steps.iter().filter(|it| **it == (2, 320)).count(), 1, "{steps:?}");
    assert_eq!(desk.relay.summary().heard[1].lost, 1);
}

#[test]
fn rule_20_a_call_of_two_silent_phones_is_reported_dead_and_a_held_one_is_not() {
    let mut desk = Desk::talking(PCMU, PCMU);
    desk.talk(5).order(RelayOrder::AnswerReoffer { seat: CALLEE, sdp: Some(sdp(PCMU, "inactive", 1)) });
    desk.pass(Duration::from_secs(300));
    assert!(!desk.reports.contains(&RelayReport::Stalled));
    desk.order(RelayOrder::AnswerReoffer { seat: CALLEE, sdp: Some(sdp(PCMU, "sendrecv", 1)) });
    desk.pass(Duration::from_secs(59));
    assert!(!desk.reports.contains(&RelayReport::Stalled));
    desk.pass(Duration::from_secs(2));
    assert!(desk.reports.contains(&RelayReport::Stalled));
    desk.order(RelayOrder::Close);
    assert!(matches!(desk.reports.last(), Some(RelayReport::Closed(_))));
    assert_eq!(desk.relay.poll_timeout(), None);
}

#[test]
fn rule_14_a_stranger_is_not_heard_by_the_other_phone() {
    let mut desk = Desk::talking(PCMU, PCMU);
    desk.talk(10);
    let before = desk.phone(CALLEE).packets().len();
    let mut stranger = Phone::new(PCMU, "203.0.113.9:9", 66);
    for _ in 0..10 {
        let packet = stranger.say(500.0);
        desk.arrives(CALLER, stranger.at, &packet);
    }
    assert_eq!(desk.phone(CALLEE).packets().len(), before);
    assert_eq!(desk.relay.summary().heard[1].refused, 10);
}

#[test]
fn both_phones_are_told_how_their_speech_arrives_and_the_record_has_both_ways() {
    let mut desk = Desk::talking(PCMU, AudioCodec::Pcma);
    desk.talk(400);
    let summary = desk.relay.summary();
    assert_eq!([summary.heard[0].packets_in, summary.heard[1].packets_in], [400, 400]);
    assert!(desk.told[0] > 0 && desk.told[1] > 0, "reports to both: {:?}", desk.told);
    let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
    assert_eq!(json["to_callee"]["received"]["codec"], "PCMU");
    assert_eq!(json["to_caller"]["received"]["codec"], "PCMA");
}
