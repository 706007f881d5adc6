//! `cordboard codec-chain`: a file through the codecs of one direction alone, for those who judge the gateway.
//!
//! No packet, clock or network is involved: what a call scores below this, the gateway took.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Exit, complain};
use crate::codec::{
    CodecError, EncoderSettings, FRAME_SAMPLES, G711, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder,
    OpusEncoder, SampleRate,
};
use crate::simulator::voice::{Clip, Ear, HEARD_RATE, VoiceError, load};

/// The rate of a phone.
const PHONE_RATE: u32 = 8000;

/// Sends a WAV file (mono, 16 bit) through the codecs of one direction, without packets or time.
#[derive(Debug, Args)]
pub struct CodecChainArgs {
    /// Which way: to-phone takes 8, 16 or 48 kHz and writes 8 kHz, to-user takes 8 kHz and writes 16 kHz;
    /// to-user-linear is to-user for samples that have been through a phone's codec already.
    #[arg(long, value_enum)]
    direction: Direction,
    /// Write the packets that come to the gateway here, too: one JSON object a line, 20 ms each.
    #[arg(long, value_name = "PACKETS.jsonl")]
    packets: Option<PathBuf>,
    /// The speech.
    #[arg(value_name = "IN.wav")]
    input: PathBuf,
    /// What is left of it.
    #[arg(value_name = "OUT.wav")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(clippy::enum_variant_names, reason = "they are words of the command line: to-phone, to-user")]
enum Direction {
    ToPhone,
    ToUser,
    ToUserLinear,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChainError {
    #[error(transparent)]
    Voice(#[from] VoiceError),
    #[error("libopus: {0:?}")]
    Codec(CodecError),
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: hound::Error },
    #[error("{path}: {source}", path = path.display())]
    Packets { path: PathBuf, source: std::io::Error },
    #[error("{path}: {rate} Hz, {channels} channel(s), {bits} bit; a phone's file is mono, 16 bit, 8000 Hz", path = path.display())]
    Format { path: PathBuf, rate: u32, channels: u16, bits: u16 },
}

impl From<CodecError> for ChainError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

pub(super) fn codec_chain(args: &CodecChainArgs) -> Exit {
    match through(args) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(error);
            Exit::Usage
        }
    }
}

fn through(args: &CodecChainArgs) -> Result<(), ChainError> {
    match args.direction {
        Direction::ToPhone => {
            let clip = load(&args.input)?;
            let packets = (0..clip.len()).filter_map(|at| clip.frame(at));
            write_packets(args.packets.as_deref(), 960, packets)?;
            write(&args.output, PHONE_RATE, &to_phone(&clip)?)
        }
        Direction::ToUser => {
            let mut samples = read_phone(&args.input)?;
            let codes: Vec<u8> = samples.iter().map(|it| G711::MuLaw.code(*it)).collect();
            write_packets(args.packets.as_deref(), 160, codes.chunks_exact(FRAME_SAMPLES))?;
            for (sample, code) in samples.iter_mut().zip(codes) {
                *sample = G711::MuLaw.sample(code);
            }
            write(&args.output, HEARD_RATE, &to_user(&samples)?)
        }
        Direction::ToUserLinear => write(&args.output, HEARD_RATE, &to_user(&read_phone(&args.input)?)?),
    }
}

/// Numbers and prints packets whose time stamps are `ticks` apart.
fn write_packets<'a>(
    path: Option<&Path>,
    ticks: usize,
    packets: impl Iterator<Item = &'a [u8]>,
) -> Result<(), ChainError> {
    let Some(path) = path else { return Ok(()) };
    let mut lines = String::new();
    for (seq, payload) in packets.enumerate() {
        let line = serde_json::json!({ "seq": seq, "ts": seq * ticks, "payload": hex::encode(payload) });
        let _ = writeln!(lines, "{line}");
    }
    std::fs::write(path, lines).map_err(|source| ChainError::Packets { path: path.to_owned(), source })
}

/// What the user said, as the gateway decodes it and the phone hears it.
fn to_phone(clip: &Clip) -> Result<Vec<i16>, ChainError> {
    let (mut decoder, mut pcm) = (OpusDecoder::new(SampleRate::Narrow)?, [0; MAX_OPUS_SAMPLES]);
    let mut heard = Vec::with_capacity(clip.len() * FRAME_SAMPLES);
    for packet in (0..clip.len()).filter_map(|at| clip.frame(at)) {
        let count = decoder.decode(packet, &mut pcm)?;
        heard.extend(pcm.iter().take(count).map(|sample| through_pcmu(*sample)));
    }
    Ok(heard)
}

/// What the gateway decoded from a phone, as it encodes it and the user hears it.
fn to_user(samples: &[i16]) -> Result<Vec<i16>, ChainError> {
    let mut encoder = OpusEncoder::new(SampleRate::Narrow, &EncoderSettings::default())?;
    let mut ear = Ear::new()?;
    let mut packet = [0; MAX_OPUS_PACKET];
    let mut heard = Vec::with_capacity(samples.len() * 2);
    for chunk in samples.chunks(FRAME_SAMPLES) {
        let mut frame = [0; FRAME_SAMPLES];
        frame[..chunk.len()].copy_from_slice(chunk);
        let length = encoder.encode(&frame, &mut packet)?;
        let (_, pcm) = ear.hear(packet.get(..length).unwrap_or_default()).ok_or(CodecError::Packet)?;
        heard.extend_from_slice(pcm);
    }
    Ok(heard)
}

const fn through_pcmu(sample: i16) -> i16 {
    G711::MuLaw.sample(G711::MuLaw.code(sample))
}

fn read_phone(path: &Path) -> Result<Vec<i16>, ChainError> {
    let failed = |source| ChainError::File { path: path.to_owned(), source };
    let mut reader = hound::WavReader::open(path).map_err(failed)?;
    let spec = reader.spec();
    let whole = spec.sample_format == hound::SampleFormat::Int;
    if (spec.channels, spec.bits_per_sample, spec.sample_rate, whole) != (1, 16, PHONE_RATE, true) {
        let (rate, channels, bits) = (spec.sample_rate, spec.channels, spec.bits_per_sample);
        return Err(ChainError::Format { path: path.to_owned(), rate, channels, bits });
    }
    reader.samples::<i16>().collect::<Result<_, _>>().map_err(failed)
}

pub(super) fn write(path: &Path, rate: u32, samples: &[i16]) -> Result<(), ChainError> {
    let failed = |source| ChainError::File { path: path.to_owned(), source };
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).map_err(failed)?;
    samples.iter().try_for_each(|sample| wav.write_sample(*sample)).map_err(failed)?;
    wav.finalize().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::level_dbov;

    fn tone(rate: u32, millis: u32) -> Vec<i16> {
        let step = std::f32::consts::TAU * 500.0 / rate as f32;
        (0..rate * millis / 1000).map(|at| ((at as f32 * step).sin() * 8000.0) as i16).collect()
    }

    fn heard(direction: Direction, rate: u32) -> (Exit, u32, Vec<i16>) {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in.wav"), folder.path().join("out.wav"));
        write(&input, rate, &tone(rate, 1010)).unwrap();
        let exit = codec_chain(&CodecChainArgs { direction, packets: None, input, output: output.clone() });
        let Ok(mut wav) = hound::WavReader::open(output) else { return (exit, 0, Vec::new()) };
        (exit, wav.spec().sample_rate, wav.samples::<i16>().map(Result::unwrap).collect())
    }

    #[test]
    fn a_tone_keeps_its_level_both_ways_and_the_last_frame_is_whole() {
        let said = level_dbov(&tone(8000, 500));
        for (direction, rate, heard_rate) in [
            (Direction::ToPhone, 8000, 8000),
            (Direction::ToPhone, 16_000, 8000),
            (Direction::ToPhone, 48_000, 8000),
            (Direction::ToUser, 8000, 16_000),
            (Direction::ToUserLinear, 8000, 16_000),
        ] {
            let (exit, got, samples) = heard(direction, rate);
            assert_eq!((exit, got), (Exit::Done, heard_rate));
            assert_eq!(samples.len(), 51 * heard_rate as usize / 50, "51 frames of 20 ms");
            let middle = level_dbov(&samples[samples.len() / 4..samples.len() / 2]);
            assert!((middle - said).abs() < 2.0, "{direction:?} from {rate} Hz: {middle} instead of {said}");
        }
    }

    #[test]
    fn the_packets_are_those_that_come_to_the_gateway_and_opus_ones_carry_redundancy() {
        let folder = tempfile::tempdir().unwrap();
        let [input, output, packets] =
            ["in.wav", "out.wav", "packets.jsonl"].map(|it| folder.path().join(it));
        write(&input, 8000, &tone(8000, 1000)).unwrap();
        for (direction, ticks) in [(Direction::ToPhone, 960), (Direction::ToUser, 160)] {
            let (packets, input, output) = (Some(packets.clone()), input.clone(), output.clone());
            let args = CodecChainArgs { direction, packets, input, output };
            assert_eq!(codec_chain(&args), Exit::Done);
            let text = std::fs::read_to_string(args.packets.unwrap()).unwrap();
            let lines: Vec<serde_json::Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), 50);
            let mut with_redundancy = 0;
            for (at, line) in lines.iter().enumerate() {
                assert_eq!(
                    (line["seq"].as_u64(), line["ts"].as_u64()),
                    (Some(at as u64), Some(at as u64 * ticks))
                );
                let payload = hex::decode(line["payload"].as_str().unwrap()).unwrap();
                match direction {
                    Direction::ToPhone => {
                        with_redundancy += usize::from(OpusDecoder::has_redundancy(&payload));
                    }
                    _ => assert_eq!(payload.len(), 160),
                }
            }
            // libopus leaves it out where the encoder takes a frame for unimportant.
            assert_eq!(with_redundancy >= 25, direction == Direction::ToPhone, "{with_redundancy} of 50");
        }
    }

    #[test]
    fn a_phone_does_not_speak_wide_band() {
        assert_eq!(heard(Direction::ToUser, 16_000).0, Exit::Usage);
        assert_eq!(heard(Direction::ToPhone, 44_100).0, Exit::Usage);
    }
}
