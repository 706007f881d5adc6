//! What stands in for speech that did not come: the last pitch period, fading into the room's noise.

use crate::codec::SampleRate;

/// Milliseconds of speech remembered: as long as the longest repetition lasts.
const HISTORY: usize = 60;
/// [`HISTORY`] at the highest rate.
const STORAGE: usize = SampleRate::Wide.samples(HISTORY);
/// Shortest and longest pitch period looked for, in samples at 8 kHz: 200 Hz to 50 Hz.
const PITCH: std::ops::RangeInclusive<usize> = 40..=160;
/// Full strength for so many milliseconds, then a straight fade to nothing at [`HISTORY`].
const HOLD: usize = 10;
/// Milliseconds of the newest speech for which a likeness is looked for. Speech changes its pitch while it goes
/// on: over the last 20 ms the best lag is that of 10 ms ago, which the ear hears as a break.
const WINDOW: usize = 8;
/// Milliseconds over which resumed speech is faded in: a wrong sound is worse than a quick change.
const SEAM: usize = 2;
/// [`SEAM`] at the highest rate.
const SEAM_STORAGE: usize = SampleRate::Wide.samples(SEAM);
/// The longest pitch period at the highest rate.
const CYCLE_STORAGE: usize = *PITCH.end() * SampleRate::Wide.samples(1) / SampleRate::Narrow.samples(1) + 1;

/// Extends speech over a loss or a silence of the sender (the idea of G.711 appendix I, own making).
#[derive(Clone, Debug)]
pub struct Concealer {
    rate: SampleRate,
    /// The newest sample last; as much of it as [`HISTORY`] takes at this rate is in use.
    history: [i16; STORAGE],
    /// Estimated level of the room behind the speaker, in sample units.
    noise: f32,
    /// What is repeated, [`Self::pitch`] samples of it.
    cycle: [i16; CYCLE_STORAGE],
    /// Samples of a pitch period.
    pitch: usize,
    /// Samples invented since the last real one.
    invented: usize,
    seed: u32,
}

impl Concealer {
    /// A concealer that has heard silence; `seed` starts its noise.
    #[must_use]
    pub const fn new(seed: u32, rate: SampleRate) -> Self {
        Self {
            rate,
            history: [0; STORAGE],
            noise: 8.0,
            cycle: [0; CYCLE_STORAGE],
            pitch: 1,
            invented: 0,
            seed,
        }
    }

    /// Goes on at another rate: the speech is forgotten, the room is not.
    pub fn set_rate(&mut self, rate: SampleRate) {
        if self.rate != rate {
            self.rate = rate;
            self.forget();
        }
    }

    /// Takes note of real speech and smooths its beginning after an invention.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.invented > 0 {
            let mut storage = [0; SEAM_STORAGE];
            let tail = &mut storage[..self.rate.samples(SEAM)];
            self.invent(tail);
            let length = tail.len() as f32;
            for (at, (sample, old)) in samples.iter_mut().zip(tail).enumerate() {
                let share = at as f32 / length;
                *sample = (f32::from(*sample) * share + f32::from(*old) * (1.0 - share)) as i16;
            }
            self.invented = 0;
        }
        self.note_noise(samples);
        if samples.len() >= STORAGE {
            self.history.copy_from_slice(&samples[samples.len() - STORAGE..]);
        } else {
            self.history.copy_within(samples.len().., 0);
            self.history[STORAGE - samples.len()..].copy_from_slice(samples);
        }
    }

    /// Forgets the speech (not the room): what follows is noise only.
    pub fn forget(&mut self) {
        self.history = [0; STORAGE];
        self.invented = self.length();
    }

    /// Samples of [`HISTORY`] at this rate.
    const fn length(&self) -> usize {
        self.rate.samples(HISTORY)
    }

    /// Invents the next samples.
    pub fn invent(&mut self, samples: &mut [i16]) {
        if self.invented == 0 {
            self.take_cycle();
        }
        let (hold, length) = (self.rate.samples(HOLD), self.length());
        for sample in samples {
            let strength = if self.invented < hold {
                1.0
            } else {
                (length - self.invented) as f32 / (length - hold) as f32
            };
            let speech = if strength > 0.0 { f32::from(self.cycle[self.invented % self.pitch]) } else { 0.0 };
            *sample = (speech * strength + self.white() * self.noise * (1.0 - strength)) as i16;
            self.invented = (self.invented + 1).min(length);
        }
    }

    /// True once speech has faded away and only the room is left.
    #[must_use]
    pub const fn is_faded(&self) -> bool {
        self.invented >= self.length()
    }

    /// Uniform noise with a root mean square of 1.
    fn white(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from((self.seed >> 16) as u16) / 32_768.0 - 1.0) * 1.732
    }

    /// Follows the quietest moments: down quickly, up by a tenth of a decibel a frame.
    fn note_noise(&mut self, samples: &[i16]) {
        if samples.len() < self.rate.samples(10) {
            return;
        }
        let energy: f32 = samples.iter().map(|it| f32::from(*it) * f32::from(*it)).sum();
        let rms = (energy / samples.len() as f32).sqrt();
        self.noise = if rms < self.noise { self.noise.mul_add(0.7, rms * 0.3) } else { self.noise * 1.01 };
        // Between the last bit and -55 dB: never digital silence, never a hiss.
        self.noise = self.noise.clamp(2.0, 58.0);
    }

    /// Takes the last pitch period; its last quarter goes over into what stood before its first sample, so that it
    /// can be said again and again without a step.
    fn take_cycle(&mut self) {
        self.pitch = self.find_pitch();
        let (start, seam) = (STORAGE - self.pitch, self.pitch / 4);
        let cycle = &mut self.cycle[..self.pitch];
        cycle.copy_from_slice(&self.history[start..]);
        let before = &self.history[start - seam..start];
        for (at, (sample, old)) in cycle.iter_mut().rev().zip(before.iter().rev()).enumerate() {
            let share = (at as f32 + 0.5) / seam as f32;
            *sample = (f32::from(*sample) * share + f32::from(*old) * (1.0 - share)) as i16;
        }
    }

    /// The lag of the best likeness of the last [`WINDOW`], in samples: searched at 8 kHz, refined at the own rate.
    fn find_pitch(&self) -> usize {
        let scale = self.rate.hz() as usize / 8000;
        let mut best = (f32::MIN, *PITCH.end());
        for lag in PITCH {
            let likeness = self.likeness(lag * scale, scale);
            // A multiple of the period must be clearly better to win over the period itself.
            if likeness > best.0 * if best.0 > 0.0 { 1.02 } else { 1.0 } {
                best = (likeness, lag);
            }
        }
        let coarse = best.1 * scale;
        (coarse + 1 - scale..coarse + scale)
            .map(|lag| (self.likeness(lag, 1), lag))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(coarse, |(_, lag)| lag)
    }

    /// How like the last [`WINDOW`] is to what stood `lag` samples before, looking at every `step`th sample.
    fn likeness(&self, lag: usize, step: usize) -> f32 {
        let start = STORAGE - self.rate.samples(WINDOW);
        let window = &self.history[start..];
        let earlier = &self.history[start - lag..STORAGE - lag];
        let (mut product, mut energy) = (0.0_f32, 1.0_f32);
        for (now, then) in window.iter().zip(earlier).step_by(step) {
            product += f32::from(*now) * f32::from(*then);
            energy += f32::from(*then) * f32::from(*then);
        }
        product / energy.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::level_dbov;

    const RATES: [SampleRate; 2] = [SampleRate::Narrow, SampleRate::Wide];

    fn vowel(rate: SampleRate, at: usize) -> i16 {
        let t = at as f32 / rate.hz() as f32;
        (1..8).map(|h| (t * 125.0 * h as f32 * std::f32::consts::TAU).sin() * 4000.0 / h as f32).sum::<f32>()
            as i16
    }

    fn vowels(rate: SampleRate, from: usize, count: usize) -> Vec<i16> {
        (from..from + count).map(|at| vowel(rate, at)).collect()
    }

    fn fed(rate: SampleRate) -> Concealer {
        let mut concealer = Concealer::new(1, rate);
        for frame in 0..10 {
            concealer.heard(&mut vowels(rate, frame * rate.frame(), rate.frame()));
        }
        concealer
    }

    #[test]
    fn a_vowel_goes_on_with_its_pitch_for_a_while() {
        for rate in RATES {
            let mut concealer = fed(rate);
            let mut invented = vec![0; rate.samples(HOLD)];
            concealer.invent(&mut invented);
            let said = vowels(rate, rate.frame() * 10, invented.len());
            let error: Vec<i16> = invented.iter().zip(said).map(|(a, b)| a - b).collect();
            assert!(level_dbov(&error) < level_dbov(&invented) - 15.0, "{rate:?}");
        }
    }

    #[test]
    fn a_voice_that_swells_is_repeated_without_a_step() {
        for rate in RATES {
            // 100 Hz, a third louder with every period, and lost at its peak.
            let count = rate.samples(60);
            let mut said: Vec<i16> = (0..count)
                .map(|at| (at as f32 - count as f32) * 100.0 / rate.hz() as f32)
                .map(|periods| {
                    ((periods * std::f32::consts::TAU).cos() * 1.33_f32.powf(periods) * 12e3) as i16
                })
                .collect();
            let mut concealer = Concealer::new(1, rate);
            concealer.heard(&mut said);
            let mut invented = vec![0; rate.samples(30)];
            concealer.invent(&mut invented);
            let step = |samples: &[i16]| samples.windows(2).map(|it| (it[1] - it[0]).abs()).max();
            let (most, limit) = (step(&invented).unwrap(), step(&said).unwrap() * 11 / 10);
            assert!(most <= limit, "{rate:?}: {most}, {limit}");
        }
    }

    #[test]
    fn a_long_loss_fades_into_noise_that_is_never_digital_silence() {
        for rate in RATES {
            let mut concealer = fed(rate);
            let mut frame = vec![0; rate.frame()];
            let mut levels = Vec::new();
            for _ in 0..6 {
                concealer.invent(&mut frame);
                levels.push(level_dbov(&frame));
            }
            assert!(levels[0] > -20.0 && levels[1] < levels[0] && levels[2] < levels[1], "{levels:?}");
            assert!(levels[3..].iter().all(|it| (-90.0..-50.0).contains(it)), "{levels:?}");
            assert!(concealer.is_faded());
        }
    }

    #[test]
    fn resumed_speech_starts_without_a_step() {
        for rate in RATES {
            let mut concealer = fed(rate);
            let mut gap = vec![0; rate.frame()];
            concealer.invent(&mut gap);
            let untouched = vowels(rate, 5000, rate.frame());
            let mut speech = untouched.clone();
            concealer.heard(&mut speech);
            assert!((i32::from(speech[0]) - i32::from(*gap.last().unwrap())).abs() < 4000);
            let seam = rate.samples(SEAM);
            assert_eq!(speech[seam..], untouched[seam..]);
        }
    }

    #[test]
    fn a_change_of_rate_forgets_the_speech_and_keeps_the_room() {
        let mut concealer = fed(SampleRate::Narrow);
        for _ in 0..20 {
            concealer.heard(&mut [30; 160]);
        }
        let room = concealer.noise;
        concealer.set_rate(SampleRate::Wide);
        let mut frame = [0; 320];
        concealer.invent(&mut frame);
        assert!(concealer.is_faded());
        let expected = 20.0 * (room / 32_768.0).log10();
        assert!((level_dbov(&frame) - expected).abs() < 1.0, "{} {expected}", level_dbov(&frame));
    }
}
