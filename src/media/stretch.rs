//! Time-stretching of speech: a pitch period is taken out or said twice, at any rate (WSOLA, Verhelst and
//! Roelands 1993; the cut points as in NetEQ's accelerate and pre-emptive expand, own making).

use std::ops::Range;

/// Shortest and longest piece that is taken out or put in, in 400ths of a second: 2.5 ms and 15 ms.
const SHORTEST: usize = 1;
const LONGEST: usize = 6;
/// Length of the seam and of what is compared before it, likewise: 5 ms each.
const SEAM: usize = 2;
/// Sound up to this far below the speaker's loudest is a pause: any cut in it is unheard.
const QUIET: f32 = 0.01;
/// A root mean square below this is a pause whatever the speaker's level is (-56 dBov).
const SILENT: f32 = 52.0;
/// Loudness forgotten per frame: half of it in 3 s.
const FORGET: f32 = 0.9954;

/// How much the ear may notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Only in pauses: there is no hurry.
    Pauses,
    /// Only where the signal repeats itself nearly exactly, and in pauses.
    Unheard,
    /// Wherever it repeats itself at all: the delay is worse than a little roughness.
    Quick,
}

impl Care {
    const fn likeness(self) -> f32 {
        match self {
            Self::Pauses => f32::INFINITY,
            Self::Unheard => 0.9,
            Self::Quick => 0.5,
        }
    }
}

/// Takes out and puts in pieces of speech, knowing how loud the speaker is.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Samples in a 400th of a second.
    unit: usize,
    /// Mean square of the loudest frame of the last seconds.
    loudest: f32,
}

/// A piece as long as the signal's period, or so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    lag: usize,
    likeness: f32,
}

impl Stretch {
    /// For `rate` samples a second.
    #[must_use]
    pub const fn new(rate: u32) -> Self {
        Self { unit: rate as usize / 400, loudest: 0.0 }
    }

    /// Samples that must stand before the place of a change.
    #[must_use]
    pub const fn history(&self) -> usize {
        (LONGEST + SEAM) * self.unit
    }

    /// Samples that must stand behind it.
    #[must_use]
    pub const fn ahead(&self) -> usize {
        (LONGEST + SEAM) * self.unit
    }

    /// Takes note of how loud the speaker is.
    pub fn heard(&mut self, frame: &[i16]) {
        self.loudest = power(frame).max(self.loudest * FORGET);
    }

    /// Takes a piece of at most `most` samples out of `sound` at `place`; tells how many samples it had.
    pub fn shorten(&self, sound: &mut Vec<i16>, place: usize, most: usize, care: Care) -> usize {
        let most = most.min(LONGEST * self.unit).min(sound.len().saturating_sub(place + SEAM * self.unit));
        let seam = SEAM * self.unit;
        if place < seam {
            return 0;
        }
        let Some(found) = self.find(sound, place, most, |at, lag| at + lag, care) else { return 0 };
        fade(sound, place..place + seam, place + found.lag, found.likeness);
        sound.copy_within(place + seam + found.lag.., place + seam);
        sound.truncate(sound.len() - found.lag);
        found.lag
    }

    /// Says a piece of at most `most` samples that ends at `place` once more; tells how many samples it has.
    pub fn lengthen(&self, sound: &mut Vec<i16>, place: usize, most: usize, care: Care) -> usize {
        let seam = SEAM * self.unit;
        let most = most.min(LONGEST * self.unit).min(place.saturating_sub(seam));
        if sound.len() < place + seam {
            return 0;
        }
        let Some(found) = self.find(sound, place, most, |at, lag| at - lag, care) else { return 0 };
        let old = sound.len();
        sound.resize(old + found.lag, 0);
        // What follows moves back; the seam goes from it to the piece's second time.
        sound.copy_within(place..old, place + found.lag);
        sound.copy_within(place + found.lag..place + found.lag + seam, place);
        // The piece before `place` again, its first samples under the seam.
        let longer = found.lag.max(seam);
        for at in seam..longer {
            sound[place + at] = sound[place + at - found.lag];
        }
        fade(sound, place..place + seam, place - found.lag, found.likeness);
        found.lag
    }

    /// The piece after which the signal is most like itself; none if it is not like itself enough.
    fn find(
        &self,
        sound: &[i16],
        place: usize,
        most: usize,
        other: impl Fn(usize, usize) -> usize,
        care: Care,
    ) -> Option<Found> {
        let seam = SEAM * self.unit;
        let shortest = SHORTEST * self.unit;
        if most < shortest {
            return None;
        }
        let here = &sound[place - seam..place + seam];
        let compare = |lag: usize| {
            let from = other(place - seam, lag);
            likeness(here, &sound[from..from + 2 * seam])
        };
        let mut best = Found { lag: most, likeness: f32::MIN };
        for lag in (shortest..=most).rev().step_by(2) {
            let likeness = compare(lag);
            // A shorter piece must be clearly better: the longer one saves the next change.
            if likeness > best.likeness + 0.02 {
                best = Found { lag, likeness };
            }
        }
        for lag in [best.lag.saturating_sub(1), best.lag + 1] {
            let likeness = if (shortest..=most).contains(&lag) { compare(lag) } else { f32::MIN };
            if likeness > best.likeness {
                best = Found { lag, likeness };
            }
        }
        let from = other(place - seam, best.lag);
        let there = &sound[from..from + 2 * seam];
        let loudness = power(here).max(power(there));
        let pause = loudness < (self.loudest * QUIET).max(SILENT * SILENT);
        (pause || best.likeness >= care.likeness()).then_some(best)
    }
}

/// Fades `sound[seam]` over to what begins at `to`, with the power that both have.
fn fade(sound: &mut [i16], seam: Range<usize>, to: usize, likeness: f32) {
    let length = seam.len();
    let likeness = likeness.clamp(0.0, 1.0);
    for step in 0..length {
        let share = (step as f32 + 1.0) / (length as f32 + 1.0);
        let rest = 1.0 - share;
        // Two signals that are not alike add in power, alike ones in amplitude.
        let gain = (share * share + rest * rest + 2.0 * likeness * share * rest).sqrt().recip();
        let mixed = f32::from(sound[seam.start + step]) * rest + f32::from(sound[to + step]) * share;
        sound[seam.start + step] = (mixed * gain).clamp(-32_768.0, 32_767.0) as i16;
    }
}

fn power(samples: &[i16]) -> f32 {
    let energy: f32 = samples.iter().map(|it| f32::from(*it) * f32::from(*it)).sum();
    energy / samples.len().max(1) as f32
}

/// Normalised cross-correlation: 1 for the same, 0 for strangers.
fn likeness(one: &[i16], two: &[i16]) -> f32 {
    let (mut product, mut first, mut second) = (0.0_f32, 1.0_f32, 1.0_f32);
    for (a, b) in one.iter().zip(two) {
        let (a, b) = (f32::from(*a), f32::from(*b));
        product += a * b;
        first += a * a;
        second += b * b;
    }
    product / (first * second).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 2] = [8000, 16_000];

    /// A voice with harmonics, gliding a little.
    fn voice(rate: u32, pitch: f32) -> Vec<i16> {
        let mut phase = 0.0_f32;
        (0..rate as usize * 2)
            .map(|at| {
                let t = at as f32 / rate as f32;
                phase += pitch * (1.0 + 0.03 * (t * 3.0).sin()) / rate as f32 * std::f32::consts::TAU;
                let sum: f32 = (1..10).map(|h| (phase * h as f32).sin() / h as f32).sum();
                (sum * 5000.0) as i16
            })
            .collect()
    }

    fn noise(rate: u32, amplitude: f32) -> Vec<i16> {
        let mut seed = 7_u32;
        (0..rate as usize * 2)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((f32::from((seed >> 16) as u16) / 32_768.0 - 1.0) * amplitude) as i16
            })
            .collect()
    }

    /// The largest step between neighbours, and the largest change of that step: what is heard as a click.
    fn roughness(sound: &[i16]) -> (i32, i32) {
        let step = |pair: &[i16]| i32::from(pair[1]) - i32::from(pair[0]);
        let steps = sound.windows(2).map(|it| step(it).abs()).max().unwrap();
        let bends = sound.windows(3).map(|it| (step(&it[1..]) - step(&it[..2])).abs()).max().unwrap();
        (steps, bends)
    }

    /// The period in samples, by the autocorrelation of a tenth of a second in the middle.
    fn period(sound: &[i16], rate: u32) -> usize {
        let (rate, from) = (rate as usize, sound.len() / 2);
        let window = &sound[from..from + rate / 10];
        let score = |lag: usize| likeness(window, &sound[from + lag..from + lag + rate / 10]);
        let most = (rate / 400..rate / 60).map(score).fold(0.0, f32::max);
        // Multiples of the period are as like; the first peak is the period.
        (rate / 400..rate / 60).find(|lag| score(*lag) > 0.9 * most && score(*lag) >= score(lag + 1)).unwrap()
    }

    type Change = fn(&Stretch, &mut Vec<i16>, usize, Care) -> usize;

    /// Changes a second of speech every 20 ms; what comes out and how many samples longer or shorter it is.
    fn change(rate: u32, sound: &[i16], care: Care, how: Change) -> (Vec<i16>, usize) {
        let mut stretch = Stretch::new(rate);
        let frame = rate as usize / 50;
        let mut out: Vec<i16> = sound[..2 * frame].to_vec();
        let mut changed = 0;
        for chunk in sound[2 * frame..].chunks_exact(frame) {
            stretch.heard(chunk);
            let place = out.len();
            out.extend(chunk);
            changed += how(&stretch, &mut out, place, care);
        }
        (out, changed)
    }

    fn shorten(stretch: &Stretch, sound: &mut Vec<i16>, place: usize, care: Care) -> usize {
        stretch.shorten(sound, place, usize::MAX, care)
    }

    fn lengthen(stretch: &Stretch, sound: &mut Vec<i16>, place: usize, care: Care) -> usize {
        stretch.lengthen(sound, place, usize::MAX, care)
    }

    #[test]
    fn a_voice_becomes_faster_or_slower_without_a_click_at_its_level_and_pitch() {
        for rate in RATES {
            for pitch in [70.0, 110.0, 220.0, 350.0] {
                let said = voice(rate, pitch);
                let (step, bend) = roughness(&said);
                for (how, sign) in
                    [(shorten as fn(&Stretch, &mut Vec<i16>, usize, Care) -> usize, -1), (lengthen, 1)]
                {
                    let (heard, changed) = change(rate, &said, Care::Unheard, how);
                    let case = format!("{rate} Hz, pitch {pitch}, {sign}");
                    let expected = said.len().cast_signed() + sign * changed.cast_signed();
                    assert_eq!(heard.len().cast_signed(), expected, "{case}");
                    assert!(changed > said.len() / 8, "{case}: {changed} samples");
                    let (new_step, new_bend) = roughness(&heard);
                    assert!(new_step <= step + step / 20, "{case}: step {new_step} instead of {step}");
                    assert!(new_bend <= bend + bend / 4, "{case}: bend {new_bend} instead of {bend}");
                    let level = 10.0 * (power(&heard) / power(&said)).log10();
                    assert!(level.abs() < 0.3, "{case}: {level} dB");
                    let (old, new) = (period(&said, rate), period(&heard, rate));
                    assert!(old.abs_diff(new) <= 1 + old / 20, "{case}: period {new} instead of {old}");
                }
            }
        }
    }

    #[test]
    fn noise_and_consonants_are_left_alone_unless_it_is_urgent_or_they_are_the_pause() {
        for rate in RATES {
            let loud = noise(rate, 8000.0);
            assert_eq!(change(rate, &loud, Care::Unheard, shorten).1, 0);
            assert_eq!(change(rate, &loud, Care::Unheard, lengthen).1, 0);
            let said = voice(rate, 120.0);
            assert_eq!(change(rate, &said, Care::Pauses, shorten).1, 0, "a voice is no pause");
            let room = noise(rate, 60.0);
            for (how, care) in
                [(shorten as Change, Care::Unheard), (lengthen, Care::Unheard), (shorten, Care::Pauses)]
            {
                let (heard, changed) = change(rate, &room, care, how);
                assert!(changed > room.len() / 4, "{changed} of {}", room.len());
                let level = 10.0 * (power(&heard) / power(&room)).log10();
                assert!(level.abs() < 0.5, "{level} dB");
            }
        }
    }

    #[test]
    fn no_more_is_changed_than_was_asked_for() {
        let said = voice(8000, 200.0);
        let stretch = Stretch::new(8000);
        for most in [0, 19, 39, 41, 60, 200] {
            let (mut shorter, mut longer) = (said[..400].to_vec(), said[..400].to_vec());
            assert!(stretch.shorten(&mut shorter, 200, most, Care::Unheard) <= most);
            assert!(stretch.lengthen(&mut longer, 200, most, Care::Unheard) <= most);
        }
        let mut tiny = said[..50].to_vec();
        assert_eq!(stretch.shorten(&mut tiny, 45, 100, Care::Quick), 0);
        assert_eq!(stretch.lengthen(&mut tiny, 45, 100, Care::Quick), 0);
        assert_eq!(stretch.shorten(&mut tiny, 0, 100, Care::Quick), 0);
    }
}
