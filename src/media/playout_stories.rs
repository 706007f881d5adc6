//! Stories of both pipes with a buffer in the way: drift, jitter, outages, stalls, mute, loss, in virtual time.

use std::time::{Duration, Instant};

use super::format::{EventFormat, PhoneFormat, PhoneLine};
use super::frames::Frames;
use super::jitter::{Jitter, Timing};
use super::jitter_buffer::Carries;
use super::player::{Decode, Played, Player, PlayerSettings};
use super::stream::Stream;
use super::summary::DirectionSummary;
use super::to_meta::{LineSettings, ToMeta};
use super::to_phone::ToPhone;
use crate::codec::{
    AudioCodec, EncoderSettings, G711, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder, OpusEncoder,
    SampleRate, SpeechEncoder, level_dbov,
};
use crate::random::Random;
use crate::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTime, SeqNo, Ssrc};

const OPUS: PayloadType = PayloadType(111);
const KEYS: PayloadType = PayloadType(126);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Something like speech: voiced syllables of 240 ms with pauses of 60 ms.
fn speech(rate: u32, at: usize) -> i16 {
    let t = at as f32 / rate as f32;
    let syllable = (t / 0.3).fract();
    let strength = if syllable < 0.8 { (syllable / 0.8 * std::f32::consts::PI).sin() } else { 0.0 };
    let pitch = 130.0 + 15.0 * (t * 2.0).sin();
    let voice: f32 =
        (1..14).map(|h| (t * pitch * h as f32 * std::f32::consts::TAU).sin() / (h as f32).sqrt()).sum();
    (voice * strength * 3000.0) as i16
}

/// Which pipe, and what the phone speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToPhone,
    ToMeta(AudioCodec),
}

const BOTH: [Way; 2] = [Way::ToPhone, Way::ToMeta(AudioCodec::Pcmu)];

enum Pipe {
    ToPhone(Box<ToPhone>),
    ToMeta(Box<ToMeta>),
}

enum Speaker {
    User(Box<OpusEncoder>),
    Phone(AudioCodec, Box<SpeechEncoder>),
}

/// A packet that somebody heard.
struct Heard {
    at: Duration,
    header: RtpHeader,
    payload: Vec<u8>,
}

/// A pipe with a sender before it and a listener behind it.
struct Path {
    pipe: Pipe,
    speaker: Speaker,
    start: Instant,
    now: Instant,
    /// The next packet: its number, and its header.
    sent: u64,
    header: RtpHeader,
    random: Random,
    under_way: Vec<(Instant, Vec<u8>)>,
    /// Of every packet sent: did it arrive, and can it restore the one before it?
    fates: Vec<(bool, bool)>,
    heard: Vec<Heard>,
    depths: Vec<(Duration, Duration)>,
}

impl Path {
    fn new(way: Way, timing: Timing) -> Self {
        let (start, settings) = (Instant::now(), EncoderSettings::default());
        let format = |codec| PhoneFormat {
            codec,
            payload_type: PayloadType(0),
            events: [Some(EventFormat { payload_type: PayloadType(101), clock: 8000 }), None],
        };
        let mut frames = Frames::default();
        let (pipe, speaker, payload_type) = match way {
            Way::ToPhone => {
                let stream = Stream::new(Ssrc(2), SeqNo(0), RtpTime(0));
                let mut pipe = ToPhone::new(OPUS, Some(KEYS), stream, settings).unwrap();
                pipe.set_out(PhoneLine::new(format(AudioCodec::Pcmu), millis(20)), true).unwrap();
                pipe.set_timing(timing);
                let encoder = OpusEncoder::new(SampleRate::Narrow, &settings).unwrap();
                (Pipe::ToPhone(Box::new(pipe)), Speaker::User(Box::new(encoder)), OPUS)
            }
            Way::ToMeta(codec) => {
                let mut pipe = ToMeta::new(LineSettings {
                    ssrc: Ssrc(2),
                    opus: OPUS,
                    telephone_event: KEYS,
                    encoder: settings,
                    comfort_after: millis(60),
                    first_seq: SeqNo(7),
                    first_timestamp: RtpTime(u32::MAX - 48_000),
                    noise: 1,
                })
                .unwrap();
                pipe.set_timing(timing);
                pipe.set_format(format(codec)).unwrap();
                pipe.set_open(true);
                pipe.begin(start, &mut frames);
                let encoder = SpeechEncoder::new(codec, &settings).unwrap();
                (Pipe::ToMeta(Box::new(pipe)), Speaker::Phone(codec, Box::new(encoder)), PayloadType(0))
            }
        };
        let header = RtpHeader {
            marker: true,
            payload_type,
            seq: SeqNo(65_500),
            timestamp: RtpTime(u32::MAX - 20_000),
            ssrc: Ssrc(1),
        };
        let mut path = Self {
            pipe,
            speaker,
            start,
            now: start,
            sent: 0,
            header,
            random: Random::from_number(5),
            under_way: Vec::new(),
            fates: Vec::new(),
            heard: Vec::new(),
            depths: Vec::new(),
        };
        path.take(&mut frames);
        path
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn payload(&mut self) -> (Vec<u8>, u32) {
        match &mut self.speaker {
            Speaker::User(encoder) => {
                let from = self.sent as usize * 160;
                let frame: Vec<i16> = (from..from + 160).map(|at| speech(8000, at)).collect();
                let mut packet = [0; MAX_OPUS_PACKET];
                let length = encoder.encode(&frame, &mut packet).unwrap();
                (packet[..length].to_vec(), 960)
            }
            Speaker::Phone(codec, encoder) => {
                let samples = codec.rate().frame();
                let from = self.sent as usize * samples;
                let frame: Vec<i16> =
                    (from..from + samples).map(|at| speech(codec.rate().hz(), at)).collect();
                let mut packet = [0; MAX_OPUS_PACKET];
                let length = encoder.encode(&frame, &mut packet).unwrap();
                (packet[..length].to_vec(), codec.ticks(samples))
            }
        }
    }

    /// The sender speaks 20 ms; the packet is on its way for `late`, or lost.
    fn speak(&mut self, late: Option<Duration>) {
        let (payload, ticks) = self.payload();
        let restores = self.header.payload_type == OPUS && OpusDecoder::has_redundancy(&payload);
        self.fates.push((late.is_some(), restores));
        let mut bytes = self.header.to_bytes().to_vec();
        bytes.extend(payload);
        self.header.seq = self.header.seq.next();
        self.header.timestamp = self.header.timestamp.plus(ticks);
        self.header.marker = false;
        self.sent += 1;
        if let Some(late) = late {
            self.under_way.push((self.now + late, bytes));
        }
    }

    /// Runs for `frames` packets of 20 ms, each late by what `late` says of its number.
    fn run(&mut self, frames: u64, mut late: impl FnMut(u64, &mut Random) -> Option<Duration>) {
        for _ in 0..frames {
            let number = self.sent;
            let mut random = self.random.clone();
            let late = late(number, &mut random);
            self.random = random;
            self.speak(late);
            for _ in 0..20 {
                self.now += millis(1);
                self.arrive();
                self.tick();
            }
        }
    }

    /// The sender is silent for so many milliseconds and its clock runs on.
    fn silence(&mut self, count: u64) {
        for _ in 0..count {
            self.now += millis(1);
            self.arrive();
            self.tick();
        }
        let ticks = if self.header.payload_type == OPUS { 48 } else { 8 };
        self.header.timestamp = self.header.timestamp.plus(count as u32 * ticks);
    }

    fn arrive(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.under_way.extract_if(.., |(at, _)| *at <= now).collect();
        let mut frames = Frames::default();
        for (at, bytes) in due {
            match &mut self.pipe {
                Pipe::ToPhone(pipe) => pipe.receive(now, at, &bytes, &mut frames),
                Pipe::ToMeta(pipe) => pipe.receive(now, at, &bytes, &mut frames),
            }
            self.take(&mut frames);
        }
    }

    fn tick(&mut self) {
        let mut frames = Frames::default();
        let due = match &self.pipe {
            Pipe::ToPhone(pipe) => pipe.poll_timeout(),
            Pipe::ToMeta(pipe) => pipe.poll_timeout(),
        };
        if due.is_some_and(|due| due <= self.now) {
            match &mut self.pipe {
                Pipe::ToPhone(pipe) => pipe.handle_timeout(self.now, &mut frames),
                Pipe::ToMeta(pipe) => pipe.handle_timeout(self.now, &mut frames),
            }
            self.take(&mut frames);
        }
    }

    fn take(&mut self, frames: &mut Frames) {
        let at = self.elapsed();
        if let Some(depth) = self.figures().playout.depth.filter(|_| !frames.is_empty()) {
            self.depths.push((at, depth));
        }
        for (bytes, _) in frames.iter() {
            let packet = RtpPacket::parse(bytes).unwrap();
            self.heard.push(Heard { at, header: packet.header, payload: packet.payload.to_vec() });
        }
        frames.clear();
    }

    fn figures(&self) -> DirectionSummary {
        match &self.pipe {
            Pipe::ToPhone(pipe) => pipe.figures(),
            Pipe::ToMeta(pipe) => pipe.figures(),
        }
    }

    fn depth(&self) -> Duration {
        self.figures().playout.depth.unwrap()
    }

    /// What the listener hears from a packet on.
    fn sound(&self, from: usize) -> Vec<i16> {
        let mut decoder = OpusDecoder::new(SampleRate::Narrow).unwrap();
        let mut out = [0; MAX_OPUS_SAMPLES];
        let mut samples = Vec::new();
        for it in &self.heard[from..] {
            match it.header.payload_type {
                OPUS => {
                    let count = decoder.decode(&it.payload, &mut out).unwrap();
                    samples.extend(&out[..count]);
                }
                PayloadType(0) => samples.extend(it.payload.iter().map(|code| G711::MuLaw.sample(*code))),
                _ => {}
            }
        }
        samples
    }

    /// Rule 11 towards Meta, and the same towards a phone once the buffer plays: a packet every 20 ms without
    /// an end, no gap over 60 ms, sequence +1, time stamps by elapsed time.
    fn assert_unbroken(&self, from: usize, late: Duration) {
        let first = &self.heard[from];
        let clock = if first.header.payload_type == OPUS { 48 } else { 8 };
        for pair in self.heard[from..].windows(2) {
            let [before, after] = pair else { unreachable!() };
            assert_eq!(after.header.seq, before.header.seq.next());
            assert!(after.at - before.at <= millis(60), "silent from {:?} to {:?}", before.at, after.at);
            let ticks = after.header.timestamp.since(first.header.timestamp);
            let due = first.at + millis(u64::try_from(ticks).unwrap() / clock);
            assert!(after.at + millis(20) >= due && after.at <= due + late, "{due:?} came {:?}", after.at);
        }
    }
}

/// Between `least` and `most` milliseconds late, as a bad path makes packets.
fn between(random: &mut Random, least: u32, most: u32) -> Option<Duration> {
    Some(Duration::from_micros(u64::from(least * 1000 + random.below((most - least) * 1000))))
}

const fn in_time(_: u64, _: &mut Random) -> Option<Duration> {
    Some(Duration::ZERO)
}

#[test]
fn rule_13_speech_through_the_buffer_keeps_its_level_at_every_rate() {
    for way in [
        Way::ToPhone,
        Way::ToMeta(AudioCodec::Pcmu),
        Way::ToMeta(AudioCodec::G722),
        Way::ToMeta(AudioCodec::Opus),
    ] {
        let mut path = Path::new(way, Timing::Playout);
        path.run(300, in_time);
        let figures = path.figures();
        assert_eq!((figures.lost, figures.late, figures.concealed, figures.refused), (0, 0, 0, 0), "{way:?}");
        let said: Vec<i16> = (0..32_000).map(|at| speech(8000, at)).collect();
        let level = level_dbov(&path.sound(50)[..32_000]) - level_dbov(&said);
        assert!(level.abs() < 1.5, "{way:?}: {level} dB");
        assert!(path.depth() <= millis(50), "{way:?}: {:?}", path.depth());
        path.assert_unbroken(5, millis(20));
    }
}

#[test]
fn rule_13_jitter_of_sixty_milliseconds_costs_nothing_after_two_seconds_and_is_forgotten_in_ten() {
    for way in BOTH {
        let mut path = Path::new(way, Timing::Playout);
        path.run(100, |_, random| between(random, 30, 90));
        let learnt = path.figures();
        path.run(1400, |_, random| between(random, 30, 90));
        let figures = path.figures();
        assert_eq!(figures.late, learnt.late, "{way:?}");
        assert_eq!(figures.concealed, learnt.concealed, "{way:?}");
        assert!(path.depth() < millis(90), "{way:?}: {:?}", path.depth());
        path.run(500, |_, _| Some(millis(60)));
        assert!(path.depth() < millis(60), "{way:?}: {:?}", path.depth());
        path.assert_unbroken(10, millis(20));
    }
}

#[test]
fn rule_13_an_outage_of_200_ms_loses_nothing_and_its_delay_is_gone_after_two_seconds() {
    for way in BOTH {
        let mut path = Path::new(way, Timing::Playout);
        path.run(400, in_time);
        let (before, figures) = (path.depth(), path.figures());
        path.run(10, |n, _| Some(millis(200 - (n - 400) * 20)));
        path.run(100, in_time);
        let after = path.figures();
        assert!(after.playout.deepest.unwrap() > millis(150), "{way:?}: {:?}", after.playout);
        assert!(path.depth() <= before + millis(15), "{way:?}: {:?} after {before:?}", path.depth());
        assert_eq!((after.late, after.skipped), (figures.late, figures.skipped), "{way:?}");
        path.assert_unbroken(5, millis(20));
    }
}

#[test]
fn rule_13_a_stall_of_our_own_thread_adds_no_delay() {
    for way in BOTH {
        let mut path = Path::new(way, Timing::Playout);
        path.run(200, in_time);
        let before = path.depth();
        // Packets wait in the socket with the kernel's stamps while nobody calls the pipe.
        for _ in 0..10 {
            path.speak(Some(Duration::ZERO));
            path.now += millis(20);
        }
        path.arrive();
        path.run(100, in_time);
        assert!(path.depth() <= before + millis(10), "{way:?}: {:?} after {before:?}", path.depth());
        let late = path.heard.last().unwrap();
        let first = &path.heard[5];
        let clock = if first.header.payload_type == OPUS { 48 } else { 8 };
        let ticks = late.header.timestamp.since(first.header.timestamp).unsigned_abs();
        let behind = (late.at - first.at).as_millis() as i64 - i64::from(ticks / clock);
        assert!(behind.abs() <= 20, "{way:?}: {behind} ms");
        assert_eq!(path.figures().concealed, 0, "{way:?}: what waited in the socket was used");
    }
}

#[test]
fn rule_11_a_muted_phone_leaves_comfort_noise_and_comes_back_whole() {
    for clock_stands in [false, true] {
        let mut path = Path::new(Way::ToMeta(AudioCodec::Pcmu), Timing::Playout);
        path.run(200, in_time);
        for pause in [100, 700, 30_000] {
            let stamp = path.header.timestamp;
            path.silence(pause);
            if clock_stands {
                path.header.timestamp = stamp;
            }
            path.header.marker = true;
            let (from, refused) = (path.heard.len(), path.figures().late);
            path.run(200, in_time);
            assert_eq!(path.figures().late, refused);
            assert!(path.depth() < millis(60), "{:?} after {pause} ms", path.depth());
            assert!(level_dbov(&path.sound(from)[8000..]) > -25.0);
        }
        assert!(path.figures().comfort > 1000);
        path.assert_unbroken(0, millis(20));
    }
}

#[test]
fn loss_is_restored_from_redundancy_or_concealed_and_every_frame_is_accounted_for() {
    for (percent, burst) in [(3, 1), (5, 1), (10, 1), (5, 3)] {
        for way in BOTH {
            let mut path = Path::new(way, Timing::Playout);
            let mut left = 0;
            let mut lost = 0;
            path.run(1500, |n, random| {
                if left == 0 && n > 50 && random.below(100 * burst) < percent {
                    left = burst;
                }
                if left == 0 || n > 1480 {
                    return Some(millis(0));
                }
                left -= 1;
                lost += 1;
                None
            });
            let figures = path.figures();
            let case = format!("{way:?}, {percent} %, bursts of {burst}");
            assert_eq!(figures.lost, lost, "{case}");
            assert_eq!(figures.concealed + figures.recovered, lost, "{case}");
            assert_eq!(figures.late, 0, "{case}");
            let restorable = path.fates.windows(2).filter(|it| !it[0].0 && it[1].0 && it[1].1).count() as u64;
            assert_eq!(figures.recovered, restorable, "{case}");
            assert_eq!(way == Way::ToPhone, restorable > 0, "{case}");
            let said: Vec<i16> = (0..200_000).map(|at| speech(8000, at)).collect();
            let level = level_dbov(&path.sound(50)[..200_000]) - level_dbov(&said);
            assert!(level.abs() < 2.0, "{case}: {level} dB");
            path.assert_unbroken(5, millis(20));
        }
    }
}

#[test]
fn rule_13_auto_relays_a_good_path_and_plays_a_poor_one_without_a_break() {
    for way in BOTH {
        let mut path = Path::new(way, Timing::Auto);
        path.run(500, |_, random| between(random, 0, 30));
        assert_eq!(path.figures().playout.depth, None, "{way:?}: 30 ms a phone can take");
        path.run(600, |_, random| between(random, 0, 80));
        let figures = path.figures();
        assert!(figures.playout.depth.is_some_and(|it| it < millis(120)), "{way:?}: {:?}", figures.playout);
        let seqs: Vec<u16> = path.heard.iter().map(|it| it.header.seq.0).collect();
        assert!(seqs.windows(2).all(|it| it[1] == it[0].wrapping_add(1)), "{way:?}");
        let late = path.heard.iter().rposition(|it| it.header.marker).unwrap_or(0);
        path.run(500, |_, random| between(random, 0, 80));
        path.assert_unbroken(late.max(path.heard.len() - 900), millis(20));
        let calm = path.figures();
        path.run(2000, in_time);
        assert!(path.figures().playout.depth.is_some(), "{way:?}: there is no way back");
        assert_eq!(path.figures().late, calm.late, "{way:?}");
        if way != Way::ToPhone {
            path.assert_unbroken(0, millis(60));
        }
    }
}

#[test]
fn rule_13_relay_stays_relay_whatever_the_path_does() {
    let mut path = Path::new(Way::ToPhone, Timing::Relay);
    path.run(600, |_, random| between(random, 0, 200));
    let playout = path.figures().playout;
    assert_eq!(playout.depth, None);
    assert!(playout.jitter_p95 > millis(150), "measured all the same: {:?}", playout.jitter_p95);
}

#[test]
fn a_sender_that_starts_anew_goes_on_without_a_gap_or_more_delay() {
    for way in BOTH {
        let mut path = Path::new(way, Timing::Playout);
        path.run(200, in_time);
        let before = path.depth();
        let restarts: [fn(&mut RtpHeader); 4] = [
            |it| it.timestamp = RtpTime(0),
            |it| it.timestamp = it.timestamp.plus(1 << 31),
            |it| it.seq = SeqNo(it.seq.0.wrapping_add(20_000)),
            |it| *it = RtpHeader { ssrc: Ssrc(it.ssrc.0 + 1), seq: SeqNo(0), timestamp: RtpTime(0), ..*it },
        ];
        for restart in restarts {
            restart(&mut path.header);
            path.run(200, in_time);
            assert!(path.depth() <= before + millis(10), "{way:?}: {:?} after {before:?}", path.depth());
        }
        let figures = path.figures();
        assert_eq!((figures.concealed, figures.late, figures.refused), (0, 0, 0), "{way:?}");
        path.assert_unbroken(5, millis(20));
    }
}

#[test]
fn reordering_and_duplicates_are_put_right_in_the_buffer() {
    for way in BOTH {
        let mut path = Path::new(way, Timing::Playout);
        path.run(100, in_time);
        for n in 0..400_u64 {
            // Every third packet is overtaken by the next one; every fifth comes twice.
            path.run(1, |_, _| Some(millis(if n % 3 == 0 { 25 } else { 0 })));
            if n % 5 == 0
                && let Some((at, bytes)) = path.under_way.last().cloned()
            {
                path.under_way.push((at + millis(3), bytes));
            }
        }
        let figures = path.figures();
        assert_eq!((figures.lost, figures.late, figures.concealed), (0, 0, 0), "{way:?}");
        path.assert_unbroken(5, millis(20));
    }
}

/// Samples as they are: eight hours through a codec would tell no more.
#[derive(Default)]
struct Plain {
    invented: u64,
}

impl Decode for Plain {
    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Option<usize> {
        let (pairs, _) = payload.as_chunks::<2>();
        for (sample, pair) in out.iter_mut().zip(pairs) {
            *sample = i16::from_be_bytes(*pair);
        }
        Some(pairs.len())
    }

    fn restore(&mut self, _: &[u8], _: &mut [i16]) -> bool {
        false
    }

    fn invent(&mut self, out: &mut [i16]) {
        self.invented += 1;
        out.fill(0);
    }
}

/// The largest step of a signal, and the largest change of its step.
fn roughness(sound: &[i16]) -> (i32, i32) {
    let step = |pair: &[i16]| i32::from(pair[1]) - i32::from(pair[0]);
    let steps = sound.windows(2).map(|it| step(it).abs()).max().unwrap_or(0);
    let bends = sound.windows(3).map(|it| (step(&it[1..]) - step(&it[..2])).abs()).max().unwrap_or(0);
    (steps, bends)
}

#[test]
fn eight_hours_of_drift_of_200_ppm_make_no_click_and_move_the_delay_by_less_than_10_ms() {
    // Three seconds of speech, said over and over; its ends fit.
    let said: Vec<i16> = (0..24_000).map(|at| speech(8000, at)).collect();
    let payloads: Vec<Vec<u8>> =
        said.chunks(160).map(|it| it.iter().flat_map(|sample| sample.to_be_bytes()).collect()).collect();
    let (step, bend) = roughness(&[said.clone(), said].concat());
    for drift in [-200_i64, 200] {
        let start = Instant::now();
        let settings = PlayerSettings { rate: 8000, clock: 8000, grain: 8, floor: millis(30) };
        let mut player = Player::new(settings, Jitter::new(8000));
        let (mut decode, mut out, mut tail) = (Plain::default(), [0; 160], [0; 2]);
        let (mut seq, mut timestamp) = (SeqNo(0), RtpTime(0));
        let (mut sent, mut settled, mut invented) = (0_i64, None, 0);
        for frame in 0..8 * 3600 * 50_i64 {
            let at = Duration::from_millis(frame as u64 * 20 + 7);
            // The sender's 20 ms are as much longer or shorter than ours.
            while sent * (20_000_000 + 20 * drift) / 1000 <= at.as_micros() as i64 {
                let arrived = start + Duration::from_micros((sent * (20_000_000 + 20 * drift) / 1000) as u64);
                let header =
                    RtpHeader { marker: false, payload_type: PayloadType(0), seq, timestamp, ssrc: Ssrc(1) };
                let payload = &payloads[sent as usize % payloads.len()];
                player.insert(arrived, &RtpPacket { header, payload }, Carries::Itself);
                (seq, timestamp, sent) = (seq.next(), timestamp.plus(160), sent + 1);
            }
            let played = player.play(start + at, &mut decode, &mut out);
            let whole = [tail.as_slice(), &out].concat();
            tail = [out[158], out[159]];
            if frame == 500 {
                (settled, invented) = (player.depth(), decode.invented);
            }
            if let Some(settled) = settled {
                assert_eq!(played, Played::Speech);
                let (new_step, new_bend) = roughness(&whole);
                assert!(new_step <= step + step / 20 && new_bend <= bend + bend / 4, "a click at {at:?}");
                let moved = player.depth().unwrap().abs_diff(settled);
                assert!(moved <= millis(10), "{drift} ppm: {moved:?} after {at:?}");
            }
        }
        assert_eq!(decode.invented, invented, "nothing had to be invented");
        let figures = player.figures();
        assert!(figures.shortened + figures.lengthened > 300, "{figures:?}");
        assert_eq!((figures.late, figures.skipped), (0, 0));
    }
}
