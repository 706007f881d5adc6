//! The user's voice: WAV files to Opus the way WhatsApp codes it, and back. The only file here that names libopus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use opus::{Application, Bandwidth, Bitrate, Channels, Decoder, Encoder};

/// The rate at which what is heard is decoded and recorded.
pub(crate) const HEARD_RATE: u32 = 16_000;

/// Average bitrate of Meta's side (reference §12.6).
const BITRATE: i32 = 20_000;
/// The loss the user's encoder prepares for, in per cent: at 0, libopus writes no redundancy at all, and what
/// `useinbandfec=1` promises could not be tried.
const EXPECTED_LOSS: i32 = 5;

/// Opus frames of 20 ms, encoded once and shared by every call that speaks them.
#[derive(Debug)]
pub(crate) struct Clip {
    frames: Vec<Box<[u8]>>,
}

impl Clip {
    /// The frame at a place; `None` after the end.
    pub(crate) fn frame(&self, at: usize) -> Option<&[u8]> {
        self.frames.get(at).map(AsRef::as_ref)
    }

    /// Number of frames.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}

/// Why a WAV file cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VoiceError {
    /// The file cannot be read as WAV.
    #[error("{path}: {source}; give a WAV file with 16-bit PCM")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: hound::Error,
    },
    /// Not mono 16-bit at a rate of Opus.
    #[error(
        "{path}: {channels} channel(s), {bits} bit, {rate} Hz; convert it to mono, 16 bit, 8000, 16000 or 48000 Hz"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Channels found.
        channels: u16,
        /// Bits a sample.
        bits: u16,
        /// Samples a second.
        rate: u32,
    },
    /// libopus refused.
    #[error("libopus: {0}")]
    Codec(#[from] opus::Error),
}

/// Reads and encodes a file.
pub(crate) fn load(path: &Path) -> Result<Clip, VoiceError> {
    let unreadable = |source| VoiceError::Unreadable { path: path.to_owned(), source };
    let mut reader = hound::WavReader::open(path).map_err(unreadable)?;
    let spec = reader.spec();
    let plain =
        spec.channels == 1 && spec.bits_per_sample == 16 && spec.sample_format == hound::SampleFormat::Int;
    if !plain || !matches!(spec.sample_rate, 8_000 | 16_000 | 48_000) {
        let (channels, bits, rate) = (spec.channels, spec.bits_per_sample, spec.sample_rate);
        return Err(VoiceError::Format { path: path.to_owned(), channels, bits, rate });
    }
    let samples = reader.samples::<i16>().collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    encode(&samples, spec.sample_rate)
}

/// Encodes samples into frames; the last one is filled up with silence.
pub(crate) fn encode(samples: &[i16], rate: u32) -> Result<Clip, VoiceError> {
    let mut encoder = Encoder::new(rate, Channels::Mono, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Bits(BITRATE))?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(EXPECTED_LOSS)?;
    encoder.set_max_bandwidth(Bandwidth::Wideband)?;
    let size = usize::try_from(rate / 50).unwrap_or(960);
    let mut frames = Vec::with_capacity(samples.len() / size + 1);
    let mut frame = vec![0_i16; size];
    for chunk in samples.chunks(size) {
        frame.fill(0);
        frame[..chunk.len()].copy_from_slice(chunk);
        frames.push(encoder.encode_vec(&frame, 1275)?.into_boxed_slice());
    }
    Ok(Clip { frames })
}

/// Two seconds of a quiet room, real encoder output: what a silent user sends over and over.
pub(super) fn room() -> Arc<Clip> {
    static ROOM: OnceLock<Arc<Clip>> = OnceLock::new();
    ROOM.get_or_init(|| {
        let mut state = 1_u32;
        let samples: Vec<i16> = (0..2 * HEARD_RATE)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                i16::try_from(state >> 29).unwrap_or(0) - 4
            })
            .collect();
        Arc::new(encode(&samples, HEARD_RATE).expect("a fixed signal at a rate that libopus knows"))
    })
    .clone()
}

/// Clips by file, so that forty users who speak the same file cost one encoding.
#[derive(Debug, Default)]
pub(super) struct Voices(Mutex<BTreeMap<PathBuf, (SystemTime, Arc<Clip>)>>);

impl Voices {
    /// The clip of a file; encodes it if the file is new or has changed. Blocks: not for an async task.
    pub(super) fn clip(&self, path: &Path) -> Result<Arc<Clip>, VoiceError> {
        let changed = std::fs::metadata(path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut known = self.0.lock().expect("no panic while the lock is held");
        if let Some((_, clip)) = known.get(path).filter(|(at, _)| *at == changed) {
            return Ok(clip.clone());
        }
        let clip = Arc::new(load(path)?);
        known.insert(path.to_owned(), (changed, clip.clone()));
        Ok(clip)
    }
}

/// What a received frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameShape {
    /// Length by the TOC byte, 48 kHz samples.
    pub(super) samples: usize,
    /// Whether the frame is stereo.
    pub(super) stereo: bool,
}

/// One call's ear.
pub(crate) struct Ear {
    decoder: Decoder,
    pcm: Vec<i16>,
}

impl Ear {
    /// A decoder at [`HEARD_RATE`].
    pub(crate) fn new() -> Result<Self, VoiceError> {
        Ok(Self { decoder: Decoder::new(HEARD_RATE, Channels::Mono)?, pcm: vec![0; 1920] })
    }

    /// Decodes a frame; `None` if it is not Opus.
    pub(crate) fn hear(&mut self, frame: &[u8]) -> Option<(FrameShape, &[i16])> {
        if frame.is_empty() {
            return None;
        }
        let samples = opus::packet::get_nb_samples(frame, 48_000).ok()?;
        let stereo = matches!(opus::packet::get_nb_channels(frame).ok()?, Channels::Stereo);
        let length = self.decoder.decode(frame, &mut self.pcm, false).ok()?;
        Some((FrameShape { samples, stereo }, self.pcm.get(..length)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, millis: u32) -> Vec<i16> {
        (0..rate * millis / 1000)
            .map(|i| (f64::from(i) * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin() * 8000.0)
            .map(|sample| sample as i16)
            .collect()
    }

    fn power(pcm: &[i16]) -> f64 {
        pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len() as f64
    }

    #[test]
    fn every_rate_becomes_mono_20_ms_frames_of_about_20_kbit_that_sound_again() {
        for rate in [8_000, 16_000, 48_000] {
            let clip = encode(&tone(rate, 1010), rate).expect("encoded");
            assert_eq!(clip.len(), 51);
            let bytes: usize = clip.frames.iter().map(|f| f.len()).sum();
            assert!((1_000..3_500).contains(&bytes), "{bytes} bytes at {rate}");
            let mut ear = Ear::new().expect("decoder");
            let mut loud = 0;
            for frame in &clip.frames {
                let (shape, pcm) = ear.hear(frame).expect("opus");
                assert_eq!((shape, pcm.len()), (FrameShape { samples: 960, stereo: false }, 320));
                loud += usize::from(power(pcm) > 4_000_000.0);
            }
            assert!(loud > 45, "{loud} loud frames at {rate}");
        }
    }

    #[test]
    fn the_room_is_quiet_and_never_empty() {
        let mut ear = Ear::new().expect("decoder");
        for at in 0..room().len() {
            let clip = room();
            let (_, pcm) = ear.hear(clip.frame(at).expect("frame")).expect("opus");
            assert!(pcm.iter().all(|s| s.abs() < 100));
        }
    }

    #[test]
    fn a_file_is_encoded_once_and_a_stereo_file_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.wav");
        let mut spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let write = |spec| {
            let mut writer = hound::WavWriter::create(&path, spec).expect("writer");
            tone(8_000, 100).into_iter().for_each(|s| writer.write_sample(s).expect("sample"));
            writer.finalize().expect("file");
        };
        write(spec);
        let voices = Voices::default();
        let (one, two) = (voices.clip(&path).expect("clip"), voices.clip(&path).expect("clip"));
        assert!(Arc::ptr_eq(&one, &two));
        spec.channels = 2;
        write(spec);
        let text = load(&path).expect_err("stereo").to_string();
        assert!(text.contains("2 channel(s)") && text.contains("mono"), "{text}");
    }

    #[test]
    fn garbage_is_not_heard() {
        let mut ear = Ear::new().expect("decoder");
        assert!(ear.hear(&[]).is_none() && ear.hear(&[0xff, 0xff, 0xff]).is_none());
    }
}
