//! Writes what the user hears as a WAV file whose time is the call's time: what did not arrive is silence.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};

use super::voice::HEARD_RATE;

/// The longest hole that is written out; beyond it the recording is joined.
const LONGEST_HOLE: u64 = HEARD_RATE as u64 * 120;

/// One recording.
pub(super) struct Recorder {
    file: WavWriter<BufWriter<File>>,
    written: u64,
    origin: Option<(u32, u64)>,
    unwrapped: i64,
    last: u32,
}

impl Recorder {
    /// Creates the file: mono, 16 bit, 16 kHz.
    pub(super) fn create(path: &Path) -> Result<Self, hound::Error> {
        let spec = WavSpec {
            channels: 1,
            sample_rate: HEARD_RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        Ok(Self { file: WavWriter::create(path, spec)?, written: 0, origin: None, unwrapped: 0, last: 0 })
    }

    /// Adds a decoded frame at its place by 48 kHz timestamp; `since_answer` places the first one.
    pub(super) fn frame(&mut self, timestamp: u32, since_answer: std::time::Duration, pcm: &[i16]) {
        let (_, start) = *self.origin.get_or_insert_with(|| {
            self.last = timestamp;
            let samples = since_answer.as_millis().min(600_000) * u128::from(HEARD_RATE) / 1000;
            (timestamp, u64::try_from(samples).unwrap_or(0))
        });
        let step = i64::from(timestamp.wrapping_sub(self.last));
        self.unwrapped += if step >= 0x8000_0000 { step - 0x1_0000_0000 } else { step };
        self.last = timestamp;
        let Ok(place) = u64::try_from(self.unwrapped / 3 + i64::try_from(start).unwrap_or(0)) else { return };
        // A frame whose slot has passed is dropped: order and time are kept.
        if place + 160 < self.written {
            return;
        }
        let hole = place.saturating_sub(self.written);
        if hole <= LONGEST_HOLE {
            for _ in 0..hole {
                self.sample(0);
            }
        }
        for sample in pcm {
            self.sample(*sample);
        }
    }

    fn sample(&mut self, sample: i16) {
        if self.file.write_sample(sample).is_ok() {
            self.written += 1;
        }
    }

    /// Ends the file properly.
    pub(super) fn finish(self) {
        if let Err(error) = self.file.finalize() {
            tracing::warn!(%error, "a recording could not be finished");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn holes_are_silence_late_frames_are_dropped_and_the_length_is_the_calls_time() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("heard.wav");
        let mut recorder = Recorder::create(&path).expect("file");
        let first = u32::MAX - 500;
        recorder.frame(first, Duration::from_millis(100), &[1; 320]);
        recorder.frame(first.wrapping_add(960), Duration::ZERO, &[2; 320]);
        recorder.frame(first.wrapping_add(960 * 4), Duration::ZERO, &[3; 320]);
        recorder.frame(first.wrapping_add(960 * 2), Duration::ZERO, &[4; 320]);
        recorder.frame(first.wrapping_add(960 * 5), Duration::ZERO, &[5; 320]);
        recorder.finish();
        let samples: Vec<i16> =
            hound::WavReader::open(&path).expect("wav").samples().map(|s| s.expect("s")).collect();
        assert_eq!(samples.len(), 1600 + 6 * 320);
        let runs: Vec<i16> = samples.chunks(160).map(|c| c[0]).collect();
        assert_eq!(runs, [vec![0; 10], vec![1, 1, 2, 2, 0, 0, 0, 0, 3, 3, 5, 5]].concat());
    }
}
