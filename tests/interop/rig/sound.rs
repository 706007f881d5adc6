//! Voices that cannot be mistaken for each other: two pitches, and an ear for them.

use std::path::{Path, PathBuf};

/// The pitch of the WhatsApp user's voice.
pub(crate) const USER_HZ: f64 = 440.0;
/// The pitch of the phone's voice.
pub(crate) const PHONE_HZ: f64 = 1000.0;

/// The pitch of another phone's voice.
pub(crate) const OTHER_HZ: f64 = 700.0;

/// The pitch of a PBX's voice.
pub(crate) const TRUNK_HZ: f64 = 1300.0;

/// Writes a voice-like tone: it swells and fades three times a second, as syllables do.
pub(crate) fn write_voice(path: &Path, rate: u32, hz: f64, seconds: u32) {
    write_voice_with(path, 1, rate, hz, seconds);
}

/// The same on several channels.
pub(crate) fn write_voice_with(path: &Path, channels: u16, rate: u32, hz: f64, seconds: u32) {
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).expect("the test's folder can be written");
    for index in 0..rate * seconds {
        let at = f64::from(index) / f64::from(rate);
        let swell = 0.6 + 0.4 * (std::f64::consts::TAU * 3.0 * at).sin();
        let sample = 9000.0 * swell * (std::f64::consts::TAU * hz * at).sin();
        #[expect(clippy::cast_possible_truncation, reason = "at most 9000")]
        let sample = sample as i16;
        for _ in 0..channels {
            wav.write_sample(sample).expect("the test's folder can be written");
        }
    }
    wav.finalize().expect("the test's folder can be written");
}

/// How many tenths of a second of a recording are mostly this pitch, of all that are not silent.
pub(crate) fn tenths_of(path: &Path, hz: f64) -> (usize, usize) {
    let mut wav = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = wav.spec();
    let samples: Vec<f64> = wav
        .samples::<i16>()
        .step_by(usize::from(spec.channels))
        .map_while(Result::ok)
        .map(f64::from)
        .collect();
    let block = usize::try_from(spec.sample_rate / 10).expect("a rate");
    let loud: Vec<&[f64]> =
        samples.chunks_exact(block).filter(|block| power(block) > 100.0 * 100.0).collect();
    let ours = loud.iter().filter(|block| tone(block, hz, f64::from(spec.sample_rate)) > 0.6 * power(block));
    (ours.count(), loud.len())
}

/// Fails unless a recording holds at least a second of this pitch and hardly anything else.
pub(crate) fn assert_heard(path: &Path, hz: f64) {
    let (ours, loud) = tenths_of(path, hz);
    assert!(
        ours >= 10 && ours * 10 >= loud * 8,
        "{}: {ours} of {loud} loud tenths of a second are {hz} Hz",
        path.display()
    );
}

/// The two channels of a file, each as a file beside it.
pub(crate) fn split(path: &Path) -> [PathBuf; 2] {
    let mut wav = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = wav.spec();
    assert_eq!(spec.channels, 2, "{}", path.display());
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a whole file")).collect();
    [0, 1].map(|channel| {
        let path = path.with_extension(format!("{channel}.wav"));
        let spec = hound::WavSpec { channels: 1, ..spec };
        let mut wav = hound::WavWriter::create(&path, spec).expect("the test's folder can be written");
        for sample in samples.iter().skip(channel).step_by(2) {
            wav.write_sample(*sample).expect("the test's folder can be written");
        }
        wav.finalize().expect("the test's folder can be written");
        path
    })
}

fn power(block: &[f64]) -> f64 {
    block.iter().map(|sample| sample * sample).sum::<f64>() / length(block)
}

/// The power at one frequency (Goertzel).
fn tone(block: &[f64], hz: f64, rate: f64) -> f64 {
    let twice = 2.0 * (std::f64::consts::TAU * hz / rate).cos();
    let (one, two) = block.iter().fold((0.0, 0.0), |(one, two), sample| (sample + twice * one - two, one));
    let squared = one * one + two * two - twice * one * two;
    2.0 * squared / (length(block) * length(block))
}

#[expect(clippy::cast_precision_loss, reason = "thousands of samples")]
fn length(block: &[f64]) -> f64 {
    block.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ear_tells_the_two_voices_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("voice.wav");
        write_voice(&path, 8000, PHONE_HZ, 2);
        assert_heard(&path, PHONE_HZ);
        let (ours, loud) = tenths_of(&path, USER_HZ);
        assert_eq!((ours, loud), (0, 20));
    }
}
