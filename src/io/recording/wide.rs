//! From 8 to 16 kHz: the telephone's band, unchanged, in twice as many samples.

/// Samples on each side that a new one is made of; the signal lags by so many at 8 kHz, 1 ms.
const REACH: usize = 8;
const TAPS: usize = 2 * REACH;

/// Doubles the rate of one stream by a half-band filter.
#[derive(Debug)]
pub(super) struct Widener {
    taps: [f32; TAPS],
    past: [f32; TAPS],
}

impl Default for Widener {
    fn default() -> Self {
        // A sinc at the points halfway between samples, under a Hann window.
        let tap = |at: usize| {
            let x = at as f32 - REACH as f32 + 0.5;
            let turn = std::f32::consts::PI * x;
            turn.sin() / turn * (0.5 + 0.5 * (turn / (REACH as f32 + 0.5)).cos())
        };
        let taps: [f32; TAPS] = std::array::from_fn(tap);
        // So that silence between loud samples stays level.
        let sum: f32 = taps.iter().sum();
        Self { taps: taps.map(|it| it / sum), past: [0.0; TAPS] }
    }
}

impl Widener {
    /// Appends two samples for each of `narrow`.
    pub(super) fn widen(&mut self, narrow: &[i16], wide: &mut Vec<i16>) {
        for sample in narrow {
            self.past.copy_within(1.., 0);
            self.past[TAPS - 1] = f32::from(*sample);
            let between: f32 = self.past.iter().zip(&self.taps).map(|(it, tap)| it * tap).sum();
            wide.push(self.past[REACH - 1] as i16);
            wide.push(between.round() as i16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How loud `frequency` is in `samples`, relative to full scale.
    fn level(samples: &[i16], rate: f32, frequency: f32) -> f32 {
        let (mut sine, mut cosine) = (0.0_f64, 0.0_f64);
        for (at, sample) in samples.iter().enumerate() {
            let turn = f64::from(std::f32::consts::TAU * frequency / rate) * at as f64;
            sine += f64::from(*sample) * turn.sin();
            cosine += f64::from(*sample) * turn.cos();
        }
        (2.0 * sine.hypot(cosine) / samples.len() as f64 / 32_768.0) as f32
    }

    #[test]
    fn the_band_of_a_telephone_passes_and_its_mirror_image_does_not() {
        for frequency in [300.0_f32, 1000.0, 2000.0, 3000.0] {
            let tone = |at: usize| {
                ((std::f32::consts::TAU * frequency * at as f32 / 8000.0).sin() * 16_384.0) as i16
            };
            let narrow: Vec<i16> = (0..1600).map(tone).collect();
            let mut wide = Vec::new();
            Widener::default().widen(&narrow, &mut wide);
            assert_eq!(wide.len(), 3200);
            let steady = &wide[200..2200 + 200];
            let kept = 20.0 * (level(steady, 16_000.0, frequency) / 0.5).log10();
            let image = 20.0 * (level(steady, 16_000.0, 8000.0 - frequency) / 0.5).log10();
            assert!(kept.abs() < 0.3, "{frequency} Hz: {kept} dB");
            assert!(image < -30.0, "{frequency} Hz: {image} dB in the mirror");
        }
    }
}
