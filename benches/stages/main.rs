//! What each stage of a packet's way takes, and the whole pipe: `cargo bench --bench stages`.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cordboard::codec::{
    AudioCodec, EncoderSettings, FRAME_SAMPLES, G711, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder,
    OpusEncoder, SampleRate,
};
use cordboard::io::bench::sound::{FRAMES, Sound};
use cordboard::io::media::sys::{Batch, stamp_datagrams};
use cordboard::media::format::{PhoneFormat, PhoneLine};
use cordboard::media::frames::Frames;
use cordboard::media::reorder::Reorder;
use cordboard::media::srtp::{Srtp, SrtpKeys, SrtpProfile};
use cordboard::media::stream::Stream;
use cordboard::media::to_meta::{LineSettings, ToMeta};
use cordboard::media::to_phone::ToPhone;
use cordboard::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTime, SeqNo, Ssrc};
use divan::{Bencher, black_box};

static SOUND: LazyLock<Sound> = LazyLock::new(Sound::new);
const FRAME: Duration = Duration::from_millis(20);

fn main() {
    divan::main();
}

/// Packet number `at` of a stream.
fn packet(payload_type: u8, at: usize, ticks: u32, payload: &[u8]) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType(payload_type),
        seq: SeqNo((at & 0xffff) as u16),
        timestamp: RtpTime((at as u32).wrapping_mul(ticks)),
        ssrc: Ssrc(5),
    };
    [&header.to_bytes()[..], payload].concat()
}

fn opus_packet(at: usize) -> Vec<u8> {
    packet(111, at, 960, &SOUND.user[at % FRAMES])
}

fn phone_packet(at: usize) -> Vec<u8> {
    packet(0, at, 160, &SOUND.phone[at % FRAMES])
}

/// Numbers for packets that must not repeat.
fn counter() -> impl FnMut() -> usize {
    let mut next = 0;
    move || {
        next += 1;
        next
    }
}

fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
    let (one, other) = (one.expect("a port"), other.expect("a port"));
    one.connect(other.local_addr().expect("bound")).expect("connected");
    other.set_nonblocking(true).expect("a socket that does not block");
    stamp_datagrams(other.as_raw_fd()).expect("time stamps");
    (one, other)
}

/// One packet and one empty look, as a media thread does it.
#[divan::bench]
fn receive(bencher: Bencher<'_, '_>) {
    let (sender, receiver) = pair();
    let bytes = phone_packet(0);
    let mut batch = Batch::new();
    bencher
        .with_inputs(|| sender.send(&bytes).expect("sent"))
        .bench_local_values(|_| black_box(batch.receive(&receiver)).expect("received"));
}

#[divan::bench]
fn send(bencher: Bencher<'_, '_>) {
    let (sender, receiver) = pair();
    let (bytes, to) = (phone_packet(0), receiver.local_addr().expect("bound"));
    let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
    drop(sender);
    let mut drain = [0; 2048];
    bencher
        .with_inputs(|| while receiver.recv(&mut drain).is_ok() {})
        .bench_local_values(|()| free.send_to(&bytes, to));
}

fn srtp() -> (Srtp, Srtp) {
    let profile = SrtpProfile::Aes128CmSha1_80;
    let side = |client| {
        let keys = SrtpKeys::from_exported(profile, &[7; 60], client).expect("60 bytes are 2 x (16 + 14)");
        Srtp::new(keys).expect("sound keys")
    };
    (side(true), side(false))
}

#[divan::bench]
fn srtp_protect(bencher: Bencher<'_, '_>) {
    let (mut ours, mut next) = (srtp().0, counter());
    bencher
        .with_inputs(|| opus_packet(next()))
        .bench_local_refs(|packet| ours.protect_rtp(packet).expect("an RTP packet"));
}

#[divan::bench]
fn srtp_unprotect(bencher: Bencher<'_, '_>) {
    let ((mut ours, mut theirs), mut next) = (srtp(), counter());
    bencher
        .with_inputs(|| ours.protect_rtp(&opus_packet(next())).expect("an RTP packet"))
        .bench_local_refs(|sealed| theirs.unprotect_rtp(sealed).expect("a sealed packet"));
}

#[divan::bench]
fn rtp_header(bencher: Bencher<'_, '_>) {
    let bytes = opus_packet(1);
    bencher.bench_local(|| RtpPacket::parse(black_box(&bytes)).is_ok());
}

/// A packet in its turn.
#[divan::bench]
fn reorder(bencher: Bencher<'_, '_>) {
    let (mut reorder, mut next, now) = (Reorder::default(), counter(), Instant::now());
    let bytes = opus_packet(0);
    bencher
        .with_inputs(|| SeqNo((next() & 0xffff) as u16))
        .bench_local_values(|seq| reorder.place(now, now, seq, &bytes));
}

#[divan::bench]
fn opus_decode(bencher: Bencher<'_, '_>) {
    let (mut decoder, mut next) = (OpusDecoder::new(SampleRate::Narrow).expect("memory"), counter());
    let mut out = [0; MAX_OPUS_SAMPLES];
    bencher
        .with_inputs(|| &SOUND.user[next() % FRAMES])
        .bench_local_values(|packet| decoder.decode(packet, &mut out).expect("our own packet"));
}

/// By complexity: what the gateway saves under pressure.
#[divan::bench(args = [1, 3, 5, 10])]
fn opus_encode(bencher: Bencher<'_, '_>, complexity: u8) {
    let settings = EncoderSettings { complexity, ..EncoderSettings::default() };
    let mut encoder = OpusEncoder::new(SampleRate::Narrow, &settings).expect("memory");
    let mut next = counter();
    let mut out = [0; MAX_OPUS_PACKET];
    let speech: Vec<[i16; FRAME_SAMPLES]> = SOUND
        .phone
        .iter()
        .map(|codes| {
            let mut samples = [0; FRAME_SAMPLES];
            G711::MuLaw.decode(codes, &mut samples);
            samples
        })
        .collect();
    bencher
        .with_inputs(|| &speech[next() % FRAMES])
        .bench_local_values(|frame| encoder.encode(frame, &mut out).expect("20 ms"));
}

#[divan::bench]
fn g711_decode(bencher: Bencher<'_, '_>) {
    let mut samples = [0; FRAME_SAMPLES];
    bencher.bench_local(|| G711::MuLaw.decode(black_box(&SOUND.phone[0]), black_box(&mut samples)));
}

#[divan::bench]
fn g711_encode(bencher: Bencher<'_, '_>) {
    let (samples, mut codes) = ([900; FRAME_SAMPLES], [0; FRAME_SAMPLES]);
    bencher.bench_local(|| G711::MuLaw.encode(black_box(&samples), black_box(&mut codes)));
}

fn pcmu() -> PhoneFormat {
    PhoneFormat { codec: AudioCodec::Pcmu, payload_type: PayloadType(0), events: [None; 2] }
}

/// A packet of a phone to a packet for Meta, without SRTP and sockets.
#[divan::bench]
fn pipe_to_meta(bencher: Bencher<'_, '_>) {
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
    let (mut frames, mut now, mut next) = (Frames::default(), Instant::now(), counter());
    pipe.set_format(pcmu()).expect("memory");
    pipe.set_open(true);
    pipe.begin(now, &mut frames);
    bencher.with_inputs(|| phone_packet(next())).bench_local_refs(|packet| {
        now += FRAME;
        frames.clear();
        pipe.receive(now, now, packet, &mut frames);
    });
}

/// A packet of a user to a packet for a phone, without SRTP and sockets.
#[divan::bench]
fn pipe_to_phone(bencher: Bencher<'_, '_>) {
    let stream = Stream::new(Ssrc(1), SeqNo(0), RtpTime(0));
    let encoder = EncoderSettings::default();
    let mut pipe = ToPhone::new(PayloadType(111), None, stream, encoder).expect("memory");
    let (mut frames, mut now, mut next) = (Frames::default(), Instant::now(), counter());
    pipe.set_out(PhoneLine::new(pcmu(), FRAME), true).expect("memory");
    bencher.with_inputs(|| opus_packet(next())).bench_local_refs(|packet| {
        now += FRAME;
        frames.clear();
        pipe.receive(now, now, packet, &mut frames);
    });
}
