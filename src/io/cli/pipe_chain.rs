//! `cordboard pipe-chain`: recorded packets through one of the gateway's pipes on a virtual clock.
//!
//! For those who judge the gateway under loss and jitter: the same packets with the same arrival times can be
//! given to another receiver. What leaves the pipe is heard behind a phone's fixed buffer of 60 ms (rule 13).

use std::fmt::Write as _;
use std::io::BufRead as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::codec_chain::write;
use super::{Exit, complain, say};
use crate::codec::{
    AudioCodec, CodecError, EncoderSettings, FRAME_SAMPLES, G711, MAX_OPUS_SAMPLES, OpusDecoder, SampleRate,
};
use crate::media::concealer::Concealer;
use crate::media::format::{PhoneFormat, PhoneLine};
use crate::media::frames::Frames;
use crate::media::stream::Stream;
use crate::media::to_meta::{LineSettings, ToMeta};
use crate::media::to_phone::ToPhone;
use crate::media::{DirectionSummary, Timing};
use crate::rtp::{PayloadType, RtpHeader, RtpPacket, RtpTime, SeqNo, Ssrc};

/// The rate of both listeners.
const HEARD_RATE: u32 = 8000;
/// What a phone that knows nothing of the network waits for.
const PHONE_BUFFER: Duration = Duration::from_millis(60);
/// How long the pipe runs on after the last packet.
const AFTER: Duration = Duration::from_millis(500);
const OPUS: PayloadType = PayloadType(111);
const PCMU: PayloadType = PayloadType(0);

/// Runs recorded packets through a pipe and writes what the far end hears, mono, 16 bit, 8000 Hz.
#[derive(Debug, Args)]
pub struct PipeChainArgs {
    /// One JSON object a line, sorted by `seq`: {"at_ms": 20.0, "seq": 1, "ts": 960, "payload": "78…"};
    /// `at_ms` is null for a packet that was lost.
    #[arg(long = "in", value_name = "PACKETS.jsonl")]
    input: PathBuf,
    /// How the pipe keeps time.
    #[arg(long, value_enum, default_value = "relay")]
    timing: ChainTiming,
    /// to-phone takes Opus (48 kHz time stamps), to-meta takes PCMU (8 kHz).
    #[arg(long, value_enum)]
    direction: ChainDirection,
    /// What the far end hears.
    #[arg(long, value_name = "OUT.wav")]
    out: PathBuf,
    /// Writes the depth of the buffer over time, a line every 20 ms: seconds, depth and target in milliseconds.
    #[arg(long, value_name = "DEPTH.csv")]
    depth: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChainTiming {
    Relay,
    Playout,
    Auto,
}

impl From<ChainTiming> for Timing {
    fn from(timing: ChainTiming) -> Self {
        match timing {
            ChainTiming::Relay => Self::Relay,
            ChainTiming::Playout => Self::Playout,
            ChainTiming::Auto => Self::Auto,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChainDirection {
    ToPhone,
    ToMeta,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum PipeError {
    #[error("{path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: {source}", path = path.display())]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{path}, line {line}: the payload is not hexadecimal", path = path.display())]
    Payload { path: PathBuf, line: usize },
    #[error("{path}: no packet arrives", path = path.display())]
    Empty { path: PathBuf },
    #[error("libopus: {0:?}")]
    Codec(CodecError),
    #[error(transparent)]
    Wav(#[from] super::codec_chain::ChainError),
}

impl From<CodecError> for PipeError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

#[derive(Debug, Deserialize)]
struct Entry {
    at_ms: Option<f64>,
    seq: u16,
    ts: u32,
    payload: String,
}

/// A packet as it arrives.
#[derive(Clone, Debug)]
struct Sent {
    at: Duration,
    bytes: Vec<u8>,
}

/// A packet as it leaves the pipe.
#[derive(Clone, Debug)]
struct Left {
    at: Duration,
    timestamp: RtpTime,
    payload: Vec<u8>,
}

pub(super) fn pipe_chain(args: &PipeChainArgs) -> Exit {
    match run(args) {
        Ok(report) => {
            say(report);
            Exit::Done
        }
        Err(error) => {
            complain(error);
            Exit::Usage
        }
    }
}

fn run(args: &PipeChainArgs) -> Result<String, PipeError> {
    let sent = read(args)?;
    let mut chain = Chain::new(args)?;
    chain.run(&sent);
    let heard = match args.direction {
        ChainDirection::ToPhone => hear_g711(&chain.left),
        ChainDirection::ToMeta => hear_opus(&chain.left)?,
    };
    write(&args.out, HEARD_RATE, &heard.samples)?;
    if let Some(path) = &args.depth {
        std::fs::write(path, &chain.depths)
            .map_err(|source| PipeError::Unreadable { path: path.clone(), source })?;
    }
    let figures = chain.pipe.figures();
    Ok(serde_json::json!({
        "packets_in": figures.packets_in, "packets_out": figures.packets_out,
        "lost": figures.lost, "late": figures.late, "concealed": figures.concealed,
        "recovered": figures.recovered, "comfort": figures.comfort, "skipped": figures.skipped,
        "listener_missing_ms": heard.missing / 8,
        "jitter_p95_ms": millis(figures.playout.jitter_p95),
        "depth_ms": figures.playout.depth.map(millis), "target_ms": figures.playout.target.map(millis),
        "deepest_ms": figures.playout.deepest.map(millis),
        "shortened": figures.playout.shortened, "lengthened": figures.playout.lengthened,
        "longest_gap_ms": millis(figures.longest_gap),
        // When the first sample of the file is heard, on the clock of `at_ms`.
        "heard_from_ms": chain.left.first().map(|it| millis(it.at + PHONE_BUFFER)),
    })
    .to_string())
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1000.0
}

fn read(args: &PipeChainArgs) -> Result<Vec<Sent>, PipeError> {
    let path = || args.input.clone();
    let unreadable = |source| PipeError::Unreadable { path: path(), source };
    let file = std::fs::File::open(&args.input).map_err(unreadable)?;
    let payload_type = match args.direction {
        ChainDirection::ToPhone => OPUS,
        ChainDirection::ToMeta => PCMU,
    };
    let mut sent = Vec::new();
    for (at, line) in std::io::BufReader::new(file).lines().enumerate() {
        let text = line.map_err(unreadable)?;
        if text.trim().is_empty() {
            continue;
        }
        let entry: Entry = serde_json::from_str(&text).map_err(|source| PipeError::Line {
            path: path(),
            line: at + 1,
            source,
        })?;
        let payload =
            hex::decode(&entry.payload).map_err(|_| PipeError::Payload { path: path(), line: at + 1 })?;
        let Some(millis) = entry.at_ms.filter(|it| *it >= 0.0) else { continue };
        let header = RtpHeader {
            marker: sent.is_empty(),
            payload_type,
            seq: SeqNo(entry.seq),
            timestamp: RtpTime(entry.ts),
            ssrc: Ssrc(1),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(payload);
        sent.push(Sent { at: Duration::from_secs_f64(millis / 1000.0), bytes });
    }
    if sent.is_empty() {
        return Err(PipeError::Empty { path: path() });
    }
    sent.sort_by_key(|it| it.at);
    Ok(sent)
}

/// One pipe, its packets and its clock.
struct Chain {
    pipe: Pipe,
    start: Instant,
    frames: Frames,
    left: Vec<Left>,
    depths: String,
}

enum Pipe {
    ToPhone(Box<ToPhone>),
    ToMeta(Box<ToMeta>),
}

impl Pipe {
    fn new(direction: ChainDirection) -> Result<Self, CodecError> {
        let format = PhoneFormat { codec: AudioCodec::Pcmu, payload_type: PCMU, events: [None, None] };
        match direction {
            ChainDirection::ToPhone => {
                let mut pipe = ToPhone::new(
                    OPUS,
                    None,
                    Stream::new(Ssrc(2), SeqNo(0), RtpTime(0)),
                    EncoderSettings::default(),
                )?;
                pipe.set_out(PhoneLine::new(format, Duration::from_millis(20)), true)?;
                Ok(Self::ToPhone(Box::new(pipe)))
            }
            ChainDirection::ToMeta => {
                let mut pipe = ToMeta::new(LineSettings {
                    ssrc: Ssrc(2),
                    opus: OPUS,
                    telephone_event: PayloadType(126),
                    encoder: EncoderSettings::default(),
                    comfort_after: Duration::from_millis(60),
                    first_seq: SeqNo(0),
                    first_timestamp: RtpTime(0),
                    noise: 1,
                })?;
                pipe.set_format(format)?;
                pipe.set_open(true);
                Ok(Self::ToMeta(Box::new(pipe)))
            }
        }
    }

    fn receive(&mut self, now: Instant, bytes: &[u8], out: &mut Frames) {
        match self {
            Self::ToPhone(pipe) => pipe.receive(now, now, bytes, out),
            Self::ToMeta(pipe) => pipe.receive(now, now, bytes, out),
        }
    }

    fn begin(&mut self, now: Instant, out: &mut Frames) {
        if let Self::ToMeta(pipe) = self {
            pipe.begin(now, out);
        }
    }

    const fn set_timing(&mut self, timing: Timing) {
        match self {
            Self::ToPhone(pipe) => pipe.set_timing(timing),
            Self::ToMeta(pipe) => pipe.set_timing(timing),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::ToPhone(pipe) => pipe.poll_timeout(),
            Self::ToMeta(pipe) => pipe.poll_timeout(),
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Frames) {
        match self {
            Self::ToPhone(pipe) => pipe.handle_timeout(now, out),
            Self::ToMeta(pipe) => pipe.handle_timeout(now, out),
        }
    }

    fn figures(&self) -> DirectionSummary {
        match self {
            Self::ToPhone(pipe) => pipe.figures(),
            Self::ToMeta(pipe) => pipe.figures(),
        }
    }
}

impl Chain {
    fn new(args: &PipeChainArgs) -> Result<Self, CodecError> {
        let mut pipe = Pipe::new(args.direction)?;
        pipe.set_timing(args.timing.into());
        let depths = "seconds,depth_ms,target_ms\n".to_owned();
        Ok(Self { pipe, start: Instant::now(), frames: Frames::default(), left: Vec::new(), depths })
    }

    fn run(&mut self, sent: &[Sent]) {
        let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return };
        self.pipe.begin(self.start + first.at, &mut self.frames);
        self.drain(first.at);
        let end = self.start + last.at + AFTER;
        let mut arrivals = sent.iter().peekable();
        loop {
            let due = self.pipe.poll_timeout().filter(|due| *due <= end);
            let arrival = arrivals.peek().map(|it| self.start + it.at);
            match (arrival, due) {
                (Some(at), due) if due.is_none_or(|due| at <= due) => {
                    let Some(packet) = arrivals.next() else { return };
                    self.pipe.receive(at, &packet.bytes, &mut self.frames);
                    self.drain(packet.at);
                }
                (_, Some(due)) => {
                    self.pipe.handle_timeout(due, &mut self.frames);
                    self.drain(due.saturating_duration_since(self.start));
                }
                _ => return,
            }
        }
    }

    fn drain(&mut self, at: Duration) {
        if self.frames.is_empty() {
            return;
        }
        let playout = self.pipe.figures().playout;
        if let (Some(depth), Some(target)) = (playout.depth, playout.target) {
            let _ = writeln!(self.depths, "{:.3},{},{}", at.as_secs_f64(), millis(depth), millis(target));
        }
        for (bytes, _) in self.frames.iter() {
            if let Ok(packet) = RtpPacket::parse(bytes) {
                let timestamp = packet.header.timestamp;
                self.left.push(Left { at, timestamp, payload: packet.payload.to_vec() });
            }
        }
        self.frames.clear();
    }
}

/// What the far end hears and how many samples it had to invent.
struct HeardSound {
    samples: Vec<i16>,
    missing: usize,
}

/// A phone's place for a packet: `None` if it comes too late; the first packet sets the clock.
fn places(left: &[Left], clock: u32) -> impl Iterator<Item = (u64, &Left)> {
    let first = left.first();
    left.iter().filter_map(move |it| {
        let first = first?;
        let ticks = u64::try_from(it.timestamp.since(first.timestamp)).ok()?;
        let play = first.at + PHONE_BUFFER + Duration::from_micros(ticks * 1_000_000 / u64::from(clock));
        (it.at <= play).then_some((ticks, it))
    })
}

/// A phone with a fixed buffer, which repeats the last pitch period where nothing came.
fn hear_g711(left: &[Left]) -> HeardSound {
    let mut placed: Vec<_> = places(left, HEARD_RATE).collect();
    placed.sort_by_key(|(ticks, _)| *ticks);
    let mut concealer = Concealer::new(1, SampleRate::Narrow);
    let mut heard = HeardSound { samples: Vec::new(), missing: 0 };
    for (ticks, packet) in placed {
        let start = usize::try_from(ticks).unwrap_or(usize::MAX);
        let from = heard.samples.len();
        if start < from {
            continue;
        }
        heard.samples.resize(start, 0);
        concealer.invent(&mut heard.samples[from..]);
        heard.missing += start - from;
        let mut samples: Vec<i16> = packet.payload.iter().map(|code| G711::MuLaw.sample(*code)).collect();
        concealer.heard(&mut samples);
        heard.samples.extend(samples);
    }
    heard
}

/// A WhatsApp client with a fixed buffer, which repairs from redundancy or lets libopus conceal.
fn hear_opus(left: &[Left]) -> Result<HeardSound, PipeError> {
    let mut placed: Vec<_> = places(left, 48_000).collect();
    placed.sort_by_key(|(ticks, _)| *ticks);
    let (mut decoder, mut out) = (OpusDecoder::new(SampleRate::Narrow)?, [0; MAX_OPUS_SAMPLES]);
    let mut heard = HeardSound { samples: Vec::new(), missing: 0 };
    for (ticks, packet) in placed {
        let slot = usize::try_from(ticks / 960).unwrap_or(usize::MAX);
        let mut frame = [0; FRAME_SAMPLES];
        while heard.samples.len() / FRAME_SAMPLES < slot {
            if heard.samples.len() / FRAME_SAMPLES + 1 == slot {
                decoder.recover(&packet.payload, &mut frame)?;
            } else {
                decoder.conceal(&mut frame)?;
            }
            heard.samples.extend(frame);
            heard.missing += FRAME_SAMPLES;
        }
        let count = decoder.decode(&packet.payload, &mut out)?;
        heard.samples.extend(&out[..count]);
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{MAX_OPUS_PACKET, OpusEncoder, level_dbov};

    const FRAMES: usize = 100;

    fn tone(at: usize) -> i16 {
        ((at as f32 * 500.0 * std::f32::consts::TAU / 8000.0).sin() * 8000.0) as i16
    }

    /// Packets of a tone; `arrive` says when the packet of a number does.
    fn packets(direction: ChainDirection, arrive: impl Fn(usize) -> Option<f64>) -> String {
        let mut encoder = OpusEncoder::new(SampleRate::Narrow, &EncoderSettings::default()).unwrap();
        let mut lines = String::new();
        for n in 0..FRAMES {
            let frame: [i16; FRAME_SAMPLES] = std::array::from_fn(|at| tone(n * FRAME_SAMPLES + at));
            let (ts, payload) = match direction {
                ChainDirection::ToPhone => {
                    let mut packet = [0; MAX_OPUS_PACKET];
                    let length = encoder.encode(&frame, &mut packet).unwrap();
                    (n * 960, hex::encode(&packet[..length]))
                }
                ChainDirection::ToMeta => {
                    (n * 160, hex::encode(frame.map(|sample| G711::MuLaw.code(sample))))
                }
            };
            let at = arrive(n).map_or("null".to_owned(), |at| at.to_string());
            writeln!(lines, r#"{{"at_ms":{at},"seq":{n},"ts":{ts},"payload":"{payload}"}}"#).unwrap();
        }
        lines
    }

    fn through(
        direction: ChainDirection,
        timing: ChainTiming,
        lines: &str,
    ) -> (Exit, Result<String, String>, Vec<i16>) {
        let folder = tempfile::tempdir().unwrap();
        let (input, out) = (folder.path().join("in.jsonl"), folder.path().join("out.wav"));
        std::fs::write(&input, lines).unwrap();
        let args = PipeChainArgs { input, timing, direction, out: out.clone(), depth: None };
        let report = run(&args).map_err(|error| error.to_string());
        let samples = hound::WavReader::open(&out)
            .map(|mut wav| wav.samples::<i16>().map(Result::unwrap).collect())
            .unwrap_or_default();
        (pipe_chain(&args), report, samples)
    }

    #[test]
    fn a_tone_that_arrives_in_time_is_heard_whole_and_at_its_level() {
        let said: Vec<i16> = (0..8000).map(tone).collect();
        for direction in [ChainDirection::ToPhone, ChainDirection::ToMeta] {
            let lines = packets(direction, |n| Some(n as f64 * 20.0));
            let (exit, report, heard) = through(direction, ChainTiming::Relay, &lines);
            assert_eq!(exit, Exit::Done);
            assert!(report.unwrap().contains("\"listener_missing_ms\":0"));
            assert!(heard.len() >= FRAMES * FRAME_SAMPLES);
            let apart = level_dbov(&heard[4000..12_000]) - level_dbov(&said);
            assert!(apart.abs() < 2.0, "{direction:?}: {apart} dB");
        }
    }

    #[test]
    fn what_is_lost_or_comes_after_the_phones_60_ms_is_told() {
        let lines = packets(ChainDirection::ToPhone, |n| match n {
            // The path was quiet for longer than a phone waits, and than a relay repairs.
            30..36 => None,
            60..70 => Some(1400.0),
            _ => Some(n as f64 * 20.0),
        });
        let (_, report, heard) = through(ChainDirection::ToPhone, ChainTiming::Relay, &lines);
        let report: serde_json::Value = serde_json::from_str(&report.unwrap()).unwrap();
        assert_eq!(report["lost"], 6);
        // The newest three of the burst are in time: they do not queue behind those that are late.
        assert_eq!(report["listener_missing_ms"], 6 * 20 + 7 * 20);
        assert_eq!(heard.len(), FRAMES * FRAME_SAMPLES);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let (exit, report, _) = through(ChainDirection::ToMeta, ChainTiming::Relay, "\n{\"at_ms\":1}\n");
        assert_eq!(exit, Exit::Usage);
        assert!(report.unwrap_err().contains("line 2"));
        let (exit, report, _) = through(ChainDirection::ToMeta, ChainTiming::Relay, "");
        assert_eq!((exit, report.unwrap_err().contains("no packet")), (Exit::Usage, true));
    }
}
