//! libopus and nothing else, and the other stages one by one.

use std::hint::black_box;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cordboard::codec::{
    AudioCodec, EncoderSettings, FRAME_SAMPLES, G711, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder,
    OpusEncoder, SampleRate,
};
use cordboard::io::bench::far_ends::{FRAME, offset};
use cordboard::io::bench::sound::{FRAMES, Sound};
use cordboard::media::format::{PhoneFormat, PhoneLine};
use cordboard::media::frames::Frames;
use cordboard::media::stream::Stream;
use cordboard::media::to_meta::{LineSettings, ToMeta};
use cordboard::media::to_phone::ToPhone;
use cordboard::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTime, SeqNo, Ssrc};

use crate::process;

fn encoder(settings: &EncoderSettings) -> OpusEncoder {
    OpusEncoder::new(SampleRate::Narrow, settings).expect("memory")
}

fn decoder() -> OpusDecoder {
    OpusDecoder::new(SampleRate::Narrow).expect("memory")
}

/// The engine lets packets gather for so long from so many calls on (`io::media::worker`).
const GATHER: Duration = Duration::from_millis(1);
const MANY: usize = 8;

/// One encoder and one decoder per call with the gateway's settings, fed with the same frames.
struct Libopus<'a> {
    sound: &'a Sound,
    speech: Vec<[i16; FRAME_SAMPLES]>,
    calls: Vec<(OpusEncoder, OpusDecoder)>,
    packet: [u8; MAX_OPUS_PACKET],
    samples: [i16; MAX_OPUS_SAMPLES],
}

impl<'a> Libopus<'a> {
    fn new(sound: &'a Sound, settings: &EncoderSettings, calls: usize) -> Self {
        Self {
            sound,
            speech: decoded_speech(sound),
            calls: (0..calls).map(|_| (encoder(settings), decoder())).collect(),
            packet: [0; MAX_OPUS_PACKET],
            samples: [0; MAX_OPUS_SAMPLES],
        }
    }

    /// The 20 ms of one call, both directions.
    fn work(&mut self, call: usize, frame: usize) {
        let at = (frame + call * 7) % FRAMES;
        let (encoder, decoder) = &mut self.calls[call];
        let _ = black_box(encoder.encode(&self.speech[at], &mut self.packet));
        let _ = black_box(decoder.decode(&self.sound.user[at], &mut self.samples));
    }
}

fn decoded_speech(sound: &Sound) -> Vec<[i16; FRAME_SAMPLES]> {
    let decode = |codes: &[u8; FRAME_SAMPLES]| {
        let mut samples = [0; FRAME_SAMPLES];
        G711::MuLaw.decode(codes, &mut samples);
        samples
    };
    sound.phone.iter().map(decode).collect()
}

/// Processor time of libopus for `calls` calls of `seconds` each, one frame after the other without a
/// pause, the calls in turn: its code and tables stay in the processor's caches.
pub(crate) fn one_after_the_other(
    sound: &Sound,
    settings: &EncoderSettings,
    calls: usize,
    seconds: usize,
) -> Duration {
    let mut libopus = Libopus::new(sound, settings, calls);
    let start = process::thread_clock();
    for frame in 0..seconds * 50 {
        for call in 0..calls {
            libopus.work(call, frame);
        }
    }
    process::thread_clock().saturating_sub(start)
}

/// The same work at the moments at which the engine gets it: every call has its own place in the 20 ms
/// (that of the far ends), one pinned thread sleeps in between and gathers what comes close together
/// as a media worker does.
///
/// The thread's clock is read around the work of a wake-up, so that sleeping and waking are not
/// counted: what is dearer than one after the other is libopus with cold caches.
pub(crate) fn at_the_pace_of_calls(
    sound: &Sound,
    settings: &EncoderSettings,
    calls: usize,
    seconds: usize,
) -> Duration {
    let paced = move || {
        process::pin_here();
        let mut libopus = Libopus::new(sound, settings, calls);
        let start = Instant::now();
        let mut due: Vec<(Instant, usize)> = (0..calls).map(|call| (start + offset(call + 1), 0)).collect();
        let (mut spent, mut woken) = (Duration::ZERO, start);
        loop {
            if calls >= MANY {
                sleep(GATHER.saturating_sub(woken.elapsed()));
            }
            let Some(next) = due.iter().filter(|(_, frame)| *frame < seconds * 50).map(|it| it.0).min()
            else {
                return spent;
            };
            sleep(next.saturating_duration_since(Instant::now()));
            woken = Instant::now();
            let before = process::thread_clock();
            for (call, (at, frame)) in due.iter_mut().enumerate() {
                if *at <= woken && *frame < seconds * 50 {
                    libopus.work(call, *frame);
                    (*at, *frame) = (*at + FRAME, *frame + 1);
                }
            }
            spent += process::thread_clock().saturating_sub(before);
        }
    };
    std::thread::scope(|scope| scope.spawn(paced).join().expect("libopus does not panic"))
}

/// Mean time of one call of `work` in microseconds.
fn micros(times: u32, mut work: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    for at in 0..times as usize {
        work(at % FRAMES);
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}

/// Name and microseconds per 20 ms frame of every stage.
pub(crate) fn stages(sound: &Sound, settings: &EncoderSettings) -> Vec<(&'static str, f64)> {
    const TIMES: u32 = 4000;
    let (mut samples, mut codes) = ([0; FRAME_SAMPLES], [0; FRAME_SAMPLES]);
    let (mut packet, mut decoded) = ([0; MAX_OPUS_PACKET], [0; MAX_OPUS_SAMPLES]);
    let mut encoder = encoder(settings);
    let mut decoder = decoder();
    let mut all = vec![
        ("G.711 decode", micros(TIMES, |at| G711::MuLaw.decode(&sound.phone[at], black_box(&mut samples)))),
        ("G.711 encode", micros(TIMES, |_| G711::MuLaw.encode(black_box(&samples), &mut codes))),
    ];
    let speech = decoded_speech(sound);
    all.push((
        "Opus encode",
        micros(TIMES, |at| {
            let _ = black_box(encoder.encode(&speech[at], &mut packet));
        }),
    ));
    all.push((
        "Opus decode",
        micros(TIMES, |at| {
            let _ = black_box(decoder.decode(&sound.user[at], &mut decoded));
        }),
    ));
    let whole = phone_packet(&sound.phone[0], 0);
    all.push((
        "RTP header read",
        micros(TIMES * 20, |_| {
            let _ = black_box(RtpPacket::parse(black_box(&whole)));
        }),
    ));
    all.push(("pipe phone to user, all", to_meta(sound, settings, TIMES)));
    all.push(("pipe user to phone, all", to_phone(sound, settings, TIMES)));
    all
}

fn header(payload_type: u8, at: usize, ticks: u32) -> RtpHeader {
    RtpHeader {
        marker: false,
        payload_type: PayloadType(payload_type),
        seq: SeqNo(at as u16),
        timestamp: RtpTime((at as u32).wrapping_mul(ticks)),
        ssrc: Ssrc(5),
    }
}

fn phone_packet(codes: &[u8], at: usize) -> Vec<u8> {
    [&header(0, at, 160).to_bytes()[..], codes].concat()
}

fn pcmu() -> PhoneFormat {
    PhoneFormat { codec: AudioCodec::Pcmu, payload_type: PayloadType(0), events: [None, None] }
}

fn to_meta(sound: &Sound, settings: &EncoderSettings, times: u32) -> f64 {
    let mut pipe = ToMeta::new(LineSettings {
        ssrc: Ssrc(1),
        opus: PayloadType(111),
        telephone_event: PayloadType(126),
        encoder: *settings,
        comfort_after: Duration::from_millis(60),
        first_seq: SeqNo(0),
        first_timestamp: RtpTime(0),
        noise: 1,
    })
    .expect("memory");
    let mut frames = Frames::default();
    let mut now = Instant::now();
    pipe.set_format(pcmu()).expect("memory");
    pipe.set_open(true);
    pipe.begin(now, &mut frames);
    let packets: Vec<_> = (0..times as usize).map(|at| phone_packet(&sound.phone[at % FRAMES], at)).collect();
    let mut packets = packets.iter();
    micros(times, |_| {
        now += Duration::from_millis(20);
        frames.clear();
        pipe.receive(now, now, packets.next().expect("as many as times"), &mut frames);
    })
}

fn to_phone(sound: &Sound, settings: &EncoderSettings, times: u32) -> f64 {
    let mut pipe =
        ToPhone::new(PayloadType(111), None, Stream::new(Ssrc(1), SeqNo(0), RtpTime(0)), *settings)
            .expect("memory");
    let mut frames = Frames::default();
    let mut now = Instant::now();
    pipe.set_out(PhoneLine::new(pcmu(), Duration::from_millis(20)), true).expect("memory");
    let packets: Vec<_> = (0..times as usize)
        .map(|at| [&header(111, at, 960).to_bytes()[..], &sound.user[at % FRAMES]].concat())
        .collect();
    let mut packets = packets.iter();
    micros(times, |_| {
        now += Duration::from_millis(20);
        frames.clear();
        pipe.receive(now, now, packets.next().expect("as many as times"), &mut frames);
    })
}
