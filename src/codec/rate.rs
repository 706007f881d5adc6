//! Between 8 and 16 kHz, by a half-band filter: where two phones share no codec and no rate.

use super::SampleRate;

/// Samples on each side that a new one is made of; the sound lags by so many of the lower rate, 2 ms.
const REACH: usize = 16;
const TAPS: usize = 2 * REACH;

/// Changes the rate of one stream; what comes in pieces goes out without a seam.
#[derive(Debug)]
pub struct RateChange {
    /// Weights of the samples around a point halfway between two.
    taps: [f32; TAPS],
    /// The newest samples of the lower rate, or every second one of the higher.
    past: [f32; TAPS],
    /// Those between them, of the higher rate.
    between: [f32; REACH],
    /// The first of a pair whose second has not come.
    odd: Option<i16>,
}

impl Default for RateChange {
    fn default() -> Self {
        // A sinc at the points halfway between samples, under a Hann window.
        let tap = |at: usize| {
            let x = at as f32 - REACH as f32 + 0.5;
            let turn = std::f32::consts::PI * x;
            turn.sin() / turn * (0.5 + 0.5 * (turn / (REACH as f32 + 0.5)).cos())
        };
        let taps: [f32; TAPS] = std::array::from_fn(tap);
        // So that a constant stays what it is.
        let sum: f32 = taps.iter().sum();
        Self { taps: taps.map(|it| it / sum), past: [0.0; TAPS], between: [0.0; REACH], odd: None }
    }
}

impl RateChange {
    /// Turns `samples` of one rate into those of another in `out`, which is cleared first.
    pub fn change(&mut self, from: SampleRate, to: SampleRate, samples: &[i16], out: &mut Vec<i16>) {
        out.clear();
        match (from, to) {
            (SampleRate::Narrow, SampleRate::Wide) => self.widen(samples, out),
            (SampleRate::Wide, SampleRate::Narrow) => self.narrow(samples, out),
            _ => out.extend_from_slice(samples),
        }
    }

    fn widen(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for sample in samples {
            let halfway = self.halfway(f32::from(*sample));
            out.push(rounded(self.past[REACH - 1]));
            out.push(rounded(halfway));
        }
    }

    fn narrow(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for sample in samples {
            let Some(first) = self.odd.take() else {
                self.odd = Some(*sample);
                continue;
            };
            self.between.copy_within(1.., 0);
            self.between[REACH - 1] = f32::from(first);
            let halfway = self.halfway(f32::from(*sample));
            // The sample whose neighbours the filter stands on.
            out.push(rounded(f32::midpoint(self.between[0], halfway)));
        }
    }

    /// Takes a sample and gives the point in the middle of those it knows.
    fn halfway(&mut self, sample: f32) -> f32 {
        self.past.copy_within(1.., 0);
        self.past[TAPS - 1] = sample;
        self.past.iter().zip(&self.taps).map(|(it, tap)| it * tap).sum()
    }
}

fn rounded(value: f32) -> i16 {
    value.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use SampleRate::{Narrow, Wide};

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

    fn changed(from: SampleRate, to: SampleRate, frequency: f32) -> Vec<i16> {
        let turn = std::f32::consts::TAU * frequency / from.hz() as f32;
        let tone: Vec<i16> =
            (0..from.frame() * 20).map(|at| ((at as f32 * turn).sin() * 16_384.0) as i16).collect();
        let (mut change, mut all, mut piece) = (RateChange::default(), Vec::new(), Vec::new());
        // Pieces of odd lengths, as jitter and packet lengths make them.
        for samples in tone.chunks(33) {
            change.change(from, to, samples, &mut piece);
            all.extend_from_slice(&piece);
        }
        all
    }

    #[test]
    fn a_telephones_band_passes_both_ways_and_its_mirror_image_does_not() {
        for frequency in [300.0_f32, 1000.0, 2000.0, 3000.0, 3400.0] {
            let wide = changed(Narrow, Wide, frequency);
            assert_eq!(wide.len(), 6400);
            let steady = &wide[400..6000];
            let kept = 20.0 * (level(steady, 16_000.0, frequency) / 0.5).log10();
            let image = 20.0 * (level(steady, 16_000.0, 8000.0 - frequency) / 0.5).log10();
            assert!(kept.abs() < 0.5 && image < -30.0, "{frequency} Hz: {kept} dB, mirror {image} dB");
            let narrow = changed(Wide, Narrow, frequency);
            assert_eq!(narrow.len(), 3200);
            let kept = 20.0 * (level(&narrow[200..3000], 8000.0, frequency) / 0.5).log10();
            assert!(kept.abs() < 0.5, "{frequency} Hz: {kept} dB");
        }
    }

    #[test]
    fn what_lies_above_the_telephones_band_does_not_fold_into_it() {
        for frequency in [5000.0_f32, 6000.0, 7000.0] {
            let narrow = changed(Wide, Narrow, frequency);
            let folded = 20.0 * (level(&narrow[200..3000], 8000.0, 8000.0 - frequency) / 0.5).log10();
            assert!(folded < -40.0, "{frequency} Hz comes back at {folded} dB");
        }
    }

    #[test]
    fn the_same_rate_is_left_alone() {
        assert_eq!(changed(Wide, Wide, 500.0).len(), 6400);
        let (mut change, mut out) = (RateChange::default(), vec![9]);
        change.change(Narrow, Narrow, &[1, 2, 3], &mut out);
        assert_eq!(out, [1, 2, 3]);
    }
}
