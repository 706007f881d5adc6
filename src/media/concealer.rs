//! What stands in for speech that did not come: the last pitch period, fading into the room's noise.

use crate::codec::FRAME_SAMPLES;

/// 60 ms: as long as the longest repetition lasts.
const HISTORY: usize = 480;
/// Shortest and longest pitch period looked for: 200 Hz to 50 Hz at 8 kHz.
const PITCH: std::ops::RangeInclusive<usize> = 40..=160;
/// Full strength this long, then a straight fade to nothing at [`HISTORY`] samples.
const HOLD: usize = 80;
/// Samples over which resumed speech is faded in.
const SEAM: usize = 32;

/// Extends speech over a loss or a silence of the sender (the idea of G.711 appendix I, own making).
#[derive(Clone, Debug)]
pub struct Concealer {
    history: [i16; HISTORY],
    /// Estimated level of the room behind the speaker, in sample units.
    noise: f32,
    pitch: usize,
    /// Samples invented since the last real one.
    invented: usize,
    seed: u32,
}

impl Concealer {
    /// A concealer that has heard silence; `seed` starts its noise.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self { history: [0; HISTORY], noise: 8.0, pitch: 0, invented: 0, seed }
    }

    /// Takes note of real speech and smooths its beginning after an invention.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.invented > 0 {
            let mut tail = [0; SEAM];
            self.invent(&mut tail);
            for (at, (sample, old)) in samples.iter_mut().zip(tail).enumerate() {
                let share = at as f32 / SEAM as f32;
                *sample = (f32::from(*sample) * share + f32::from(old) * (1.0 - share)) as i16;
            }
            self.invented = 0;
        }
        self.note_noise(samples);
        if samples.len() >= HISTORY {
            self.history.copy_from_slice(&samples[samples.len() - HISTORY..]);
        } else {
            self.history.copy_within(samples.len().., 0);
            self.history[HISTORY - samples.len()..].copy_from_slice(samples);
        }
    }

    /// Forgets the speech (not the room): what follows is noise only.
    pub fn forget(&mut self) {
        self.history = [0; HISTORY];
        self.invented = HISTORY;
    }

    /// Invents the next samples.
    pub fn invent(&mut self, samples: &mut [i16]) {
        if self.invented == 0 {
            self.pitch = self.find_pitch();
        }
        for sample in samples {
            let strength = match self.invented {
                0..HOLD => 1.0,
                HOLD..HISTORY => (HISTORY - self.invented) as f32 / (HISTORY - HOLD) as f32,
                _ => 0.0,
            };
            let speech = if strength > 0.0 {
                f32::from(self.history[HISTORY - self.pitch + self.invented % self.pitch])
            } else {
                0.0
            };
            *sample = (speech * strength + self.white() * self.noise * (1.0 - strength)) as i16;
            self.invented = (self.invented + 1).min(HISTORY);
        }
    }

    /// True once speech has faded away and only the room is left.
    #[must_use]
    pub const fn is_faded(&self) -> bool {
        self.invented >= HISTORY
    }

    /// Uniform noise with a root mean square of 1.
    fn white(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from((self.seed >> 16) as u16) / 32_768.0 - 1.0) * 1.732
    }

    /// Follows the quietest moments: down quickly, up by a tenth of a decibel a frame.
    fn note_noise(&mut self, samples: &[i16]) {
        if samples.len() < FRAME_SAMPLES / 2 {
            return;
        }
        let energy: f32 = samples.iter().map(|it| f32::from(*it) * f32::from(*it)).sum();
        let rms = (energy / samples.len() as f32).sqrt();
        self.noise = if rms < self.noise { self.noise.mul_add(0.7, rms * 0.3) } else { self.noise * 1.01 };
        // Between the last bit and -55 dB: never digital silence, never a hiss.
        self.noise = self.noise.clamp(2.0, 58.0);
    }

    fn find_pitch(&self) -> usize {
        let window = &self.history[HISTORY - FRAME_SAMPLES..];
        let mut best = (f32::MIN, *PITCH.end());
        for lag in PITCH {
            let earlier = &self.history[HISTORY - FRAME_SAMPLES - lag..HISTORY - lag];
            let (mut product, mut energy) = (0.0_f32, 1.0_f32);
            for (now, then) in window.iter().zip(earlier) {
                product += f32::from(*now) * f32::from(*then);
                energy += f32::from(*then) * f32::from(*then);
            }
            let likeness = product / energy.sqrt();
            // A multiple of the period must be clearly better to win over the period itself.
            if likeness > best.0 * if best.0 > 0.0 { 1.02 } else { 1.0 } {
                best = (likeness, lag);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::level_dbov;

    fn vowel(at: usize) -> i16 {
        let t = at as f32 / 8000.0;
        (1..8).map(|h| (t * 125.0 * h as f32 * std::f32::consts::TAU).sin() * 4000.0 / h as f32).sum::<f32>()
            as i16
    }

    fn fed() -> Concealer {
        let mut concealer = Concealer::new(1);
        for frame in 0..10 {
            let mut samples: [i16; 160] = std::array::from_fn(|at| vowel(frame * 160 + at));
            concealer.heard(&mut samples);
        }
        concealer
    }

    #[test]
    fn a_vowel_goes_on_with_its_pitch_for_a_while() {
        let mut concealer = fed();
        let mut invented = [0; HOLD];
        concealer.invent(&mut invented);
        let error: Vec<i16> = invented.iter().enumerate().map(|(at, it)| it - vowel(1600 + at)).collect();
        assert!(level_dbov(&error) < level_dbov(&invented) - 15.0);
    }

    #[test]
    fn a_long_loss_fades_into_noise_that_is_never_digital_silence() {
        let mut concealer = fed();
        let mut frame = [0; 160];
        let mut levels = Vec::new();
        for _ in 0..6 {
            concealer.invent(&mut frame);
            levels.push(level_dbov(&frame));
        }
        assert!(levels[0] > -20.0 && levels[1] < levels[0] && levels[2] < levels[1], "{levels:?}");
        assert!(levels[3..].iter().all(|it| (-90.0..-50.0).contains(it)), "{levels:?}");
        assert!(concealer.is_faded());
    }

    #[test]
    fn resumed_speech_starts_without_a_step() {
        let mut concealer = fed();
        let mut gap = [0; 160];
        concealer.invent(&mut gap);
        let mut speech: [i16; 160] = std::array::from_fn(|at| vowel(5000 + at));
        let untouched = speech;
        concealer.heard(&mut speech);
        assert!((i32::from(speech[0]) - i32::from(gap[159])).abs() < 4000);
        assert_eq!(speech[SEAM..], untouched[SEAM..]);
    }
}
