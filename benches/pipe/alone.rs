//! libopus and nothing else, and the other stages one by one.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cordboard::codec::{
    AudioCodec, EncoderSettings, FRAME_SAMPLES, G711, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder,
    OpusEncoder, SampleRate,
};
use cordboard::media::format::{PhoneFormat, PhoneLine};
use cordboard::media::frames::Frames;
use cordboard::media::stream::Stream;
use cordboard::media::to_meta::{LineSettings, ToMeta};
use cordboard::media::to_phone::ToPhone;
use cordboard::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTime, SeqNo, Ssrc};

use crate::process::cpu_here;
use crate::sound::{FRAMES, Sound};

fn encoder() -> OpusEncoder {
    OpusEncoder::new(SampleRate::Narrow, &EncoderSettings::default()).expect("memory")
}

fn decoder() -> OpusDecoder {
    OpusDecoder::new(SampleRate::Narrow).expect("memory")
}

/// Processor time of libopus for `calls` calls of `seconds` each: the gateway's encoder and decoder
/// settings, the same frames, the calls in turn as in a server.
pub(crate) fn libopus(sound: &Sound, calls: usize, seconds: usize) -> Duration {
    let mut encoders: Vec<_> = (0..calls).map(|_| encoder()).collect();
    let mut decoders: Vec<_> = (0..calls).map(|_| decoder()).collect();
    let frames: Vec<[i16; FRAME_SAMPLES]> = sound
        .phone
        .iter()
        .map(|codes| {
            let mut samples = [0; FRAME_SAMPLES];
            G711::MuLaw.decode(codes, &mut samples);
            samples
        })
        .collect();
    let (mut packet, mut samples) = ([0; MAX_OPUS_PACKET], [0; MAX_OPUS_SAMPLES]);
    let start = cpu_here();
    for frame in 0..seconds * 50 {
        for (call, (encoder, decoder)) in encoders.iter_mut().zip(&mut decoders).enumerate() {
            let at = (frame + call * 7) % FRAMES;
            let _ = black_box(encoder.encode(&frames[at], &mut packet));
            let _ = black_box(decoder.decode(&sound.user[at], &mut samples));
        }
    }
    cpu_here().saturating_sub(start)
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
pub(crate) fn stages(sound: &Sound) -> Vec<(&'static str, f64)> {
    const TIMES: u32 = 4000;
    let (mut samples, mut codes) = ([0; FRAME_SAMPLES], [0; FRAME_SAMPLES]);
    let (mut packet, mut decoded) = ([0; MAX_OPUS_PACKET], [0; MAX_OPUS_SAMPLES]);
    let mut encoder = encoder();
    let mut decoder = decoder();
    let mut all = vec![
        ("G.711 decode", micros(TIMES, |at| G711::MuLaw.decode(&sound.phone[at], black_box(&mut samples)))),
        ("G.711 encode", micros(TIMES, |_| G711::MuLaw.encode(black_box(&samples), &mut codes))),
    ];
    let speech: Vec<_> = sound
        .phone
        .iter()
        .map(|codes| {
            let mut samples = [0; FRAME_SAMPLES];
            G711::MuLaw.decode(codes, &mut samples);
            samples
        })
        .collect();
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
    all.push(("pipe phone to user, all", to_meta(sound, TIMES)));
    all.push(("pipe user to phone, all", to_phone(sound, TIMES)));
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
    PhoneFormat { codec: AudioCodec::Pcmu, payload_type: PayloadType(0), telephone_event: None }
}

fn to_meta(sound: &Sound, times: u32) -> f64 {
    let mut pipe = ToMeta::new(LineSettings {
        ssrc: Ssrc(1),
        opus: PayloadType(111),
        telephone_event: PayloadType(126),
        encoder: EncoderSettings::default(),
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

fn to_phone(sound: &Sound, times: u32) -> f64 {
    let mut pipe = ToPhone::new(
        PayloadType(111),
        None,
        Stream::new(Ssrc(1), SeqNo(0), RtpTime(0)),
        EncoderSettings::default(),
    )
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
