//! `cordboard codec-chain`: a file through the codecs of one direction alone, for those who judge the gateway.
//!
//! No packet, clock or network is involved: what a call scores below this, the gateway took.

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
    /// Which way: to-phone takes 8, 16 or 48 kHz and writes 8 kHz, to-user takes 8 kHz and writes 16 kHz.
    #[arg(long, value_enum)]
    direction: Direction,
    /// The speech.
    #[arg(value_name = "IN.wav")]
    input: PathBuf,
    /// What is left of it.
    #[arg(value_name = "OUT.wav")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Direction {
    ToPhone,
    ToUser,
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
    #[error("{path}: {rate} Hz, {channels} channel(s), {bits} bit; a phone's file is mono, 16 bit, 8000 Hz", path = path.display())]
    Format { path: PathBuf, rate: u32, channels: u16, bits: u16 },
}

impl From<CodecError> for ChainError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

pub(super) fn codec_chain(args: &CodecChainArgs) -> Exit {
    let done = match args.direction {
        Direction::ToPhone => load(&args.input)
            .map_err(ChainError::from)
            .and_then(|clip| write(&args.output, PHONE_RATE, &to_phone(&clip)?)),
        Direction::ToUser => {
            read_phone(&args.input).and_then(|samples| write(&args.output, HEARD_RATE, &to_user(&samples)?))
        }
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(error);
            Exit::Usage
        }
    }
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

/// What the phone said, as the gateway encodes it and the user hears it.
fn to_user(samples: &[i16]) -> Result<Vec<i16>, ChainError> {
    let mut encoder = OpusEncoder::new(SampleRate::Narrow, &EncoderSettings::default())?;
    let mut ear = Ear::new()?;
    let mut packet = [0; MAX_OPUS_PACKET];
    let mut heard = Vec::with_capacity(samples.len() * 2);
    for chunk in samples.chunks(FRAME_SAMPLES) {
        let mut frame = [0; FRAME_SAMPLES];
        for (to, from) in frame.iter_mut().zip(chunk) {
            *to = through_pcmu(*from);
        }
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

    fn through(direction: Direction, rate: u32) -> (Exit, u32, Vec<i16>) {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in.wav"), folder.path().join("out.wav"));
        write(&input, rate, &tone(rate, 1010)).unwrap();
        let exit = codec_chain(&CodecChainArgs { direction, input, output: output.clone() });
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
        ] {
            let (exit, got, samples) = through(direction, rate);
            assert_eq!((exit, got), (Exit::Done, heard_rate));
            assert_eq!(samples.len(), 51 * heard_rate as usize / 50, "51 frames of 20 ms");
            let middle = level_dbov(&samples[samples.len() / 4..samples.len() / 2]);
            assert!((middle - said).abs() < 2.0, "{direction:?} from {rate} Hz: {middle} instead of {said}");
        }
    }

    #[test]
    fn a_phone_does_not_speak_wide_band() {
        assert_eq!(through(Direction::ToUser, 16_000).0, Exit::Usage);
        assert_eq!(through(Direction::ToPhone, 44_100).0, Exit::Usage);
    }
}
