//! Keys pressed in the sound itself: found by Goertzel's algorithm within the limits of ITU-T Q.24, and muted.
//!
//! A window of 15 ms is looked at every 5 ms. A key is what holds one row and one column for five looks in a
//! row, with next to nothing beside them, no second harmonics, and both frequencies steady within 2.2 %: the
//! phase of each filter moves on between two looks by exactly what the frequency says. Speech can look like
//! a key for a moment, hardly ever for 35 ms.

use std::f32::consts::{PI, TAU};

use super::tone::{key_at, key_pair};
use crate::rtp::{Event, RtpTime, TelephoneEvent};

const WINDOW_MILLIS: u32 = 15;
const HOP_MILLIS: u32 = 5;
/// So many looks that agree make a key: 40 ms of tone always do, 23 ms never (Q.24).
const AGREED: usize = 5;
/// From the first look that may be a key on, nothing of it is let through.
const SUSPECTED: usize = 1;
/// So many looks without the key release it: an interruption of 10 ms does not, a pause of 40 ms does (Q.24).
const MISSED: u32 = 5;
/// A row or column weaker than this, in dBm0, is no key (RFC 4733 §2.3.4: -36 must be understood, -55 must not).
const WEAKEST_DBM0: f32 = -43.0;
/// How much stronger a row may be than its column, and a column than its row: 8 and 4 dB (Q.24, AT&T), and
/// what a frequency at the edge of its band loses in the window.
const ROW_STRONGER: f32 = 11.0;
const COLUMN_STRONGER: f32 = 3.6;
/// The next strongest row or column stays below this share of the strongest.
const RUNNER_UP: f32 = 0.25;
/// Share of row and column in everything that is heard: in one look, whose window may not be full of it …
const SHARE_OF_A_LOOK: f32 = 0.62;
/// … and in the looks that make a key, set right for frequencies beside the middle of their filters.
const SHARE_OF_A_KEY: f32 = 0.88;
/// The weakest look of a key has this share of the strongest one's row and column: a key is switched, a vowel
/// swells. It also tells 23 ms from 40, because windows that are partly empty are weak. …
const STEADY: f32 = 0.7;
/// … The quieter of the two is disturbed by what the other leaves in its filter.
const STEADY_BESIDE: f32 = 0.5;
/// Of row and column together, the most that their second harmonics may have.
const SECOND_HARMONICS: f32 = 0.04;
/// Between the 1.5 % that must be taken and the 3.5 % that must not (Q.24).
const TOLERANCE: f32 = 0.022;
const FREQUENCIES: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
/// Power of a full-scale sine in dBm0 (ITU-T G.711).
#[expect(clippy::approx_constant, reason = "decibels, not a circle")]
const FULL_SCALE_DBM0: f32 = 3.14;

/// Goertzel's, for one frequency.
#[derive(Clone, Copy, Debug)]
struct Filter {
    coefficient: f32,
    sine: f32,
    /// By how much the sine turns from sample to sample.
    angle: f32,
}

/// What a filter says of a window: power as the energy of the sine in it, and phase.
#[derive(Clone, Copy, Debug, Default)]
struct Response {
    power: f32,
    phase: f32,
}

/// One look that may be a key.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// Row and column, counted from 0.
    key: (usize, usize),
    responses: [Response; 2],
    total: f32,
}

/// A key that is held.
#[derive(Clone, Copy, Debug)]
struct Held {
    key: (usize, usize),
    event: Event,
    volume: u8,
    /// Where it began and where it was last found, in samples.
    start: u64,
    last: u64,
    missed: u32,
}

/// Listens to one side's decoded sound.
#[derive(Clone, Debug)]
pub struct Detector {
    rate: u32,
    window: usize,
    hop: usize,
    filters: [Filter; 8],
    weakest: f32,
    /// The last window and what has come of the next hop.
    heard: Vec<f32>,
    looks: [Look; AGREED],
    agreed: usize,
    held: Option<Held>,
    /// Samples heard so far.
    clock: u64,
}

impl Detector {
    /// For samples at `rate`, 8 or 16 kHz.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let (window, hop) = ((rate * WINDOW_MILLIS / 1000) as usize, (rate * HOP_MILLIS / 1000) as usize);
        let weakest = 32_767.0 * 10.0_f32.powf((WEAKEST_DBM0 - FULL_SCALE_DBM0) / 20.0);
        let mut heard = Vec::with_capacity(window + hop);
        heard.resize(window, 0.0);
        Self {
            rate,
            window,
            hop,
            filters: FREQUENCIES.map(|hertz| Filter::new(hertz, rate)),
            weakest: weakest * weakest * window as f32 / 2.0,
            heard,
            looks: [Look::default(); AGREED],
            agreed: 0,
            held: None,
            clock: 0,
        }
    }

    /// True while a key is held.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the next samples, mutes what belongs to a key, and tells of it as RFC 4733 would: a report when the
    /// key is sure, one for each call while it is held, and the last one with the end bit.
    ///
    /// The time stamp is that of the key's start and serves as its name.
    pub fn hear(&mut self, samples: &mut [i16], mut tell: impl FnMut(RtpTime, TelephoneEvent)) {
        let mut done = 0;
        while done < samples.len() {
            let room = self.window + self.hop - self.heard.len();
            let end = samples.len().min(done + room);
            let silenced = self.is_muting();
            self.heard.extend(samples[done..end].iter().map(|it| f32::from(*it)));
            self.clock += (end - done) as u64;
            if self.heard.len() == self.window + self.hop {
                self.heard.copy_within(self.hop.., 0);
                self.heard.truncate(self.window);
                self.look(&mut tell);
            }
            if self.is_muting() {
                // What came before the suspicion is muted too as far as it is still here, with a short edge.
                let from = if silenced { done } else { end.saturating_sub(self.window) };
                fade_out(&mut samples[from..end], if silenced { 0 } else { self.hop / 2 });
            } else if silenced {
                fade_in(&mut samples[done..end]);
            }
            done = end;
        }
        if let Some(held) = &self.held {
            tell(held.name(), held.report(self.rate, false));
        }
    }

    const fn is_muting(&self) -> bool {
        self.held.is_some() || self.agreed >= SUSPECTED
    }

    /// Looks at the window that is full now.
    fn look(&mut self, tell: &mut impl FnMut(RtpTime, TelephoneEvent)) {
        let look = self.see();
        if let Some(held) = &mut self.held {
            match look {
                Some(look) if look.key == held.key => {
                    held.missed = 0;
                    held.last = self.clock;
                }
                _ => held.missed += 1,
            }
        }
        self.agreed = match look {
            None => 0,
            Some(look) => {
                let goes_on = self.agreed > 0 && self.follows(&look);
                self.looks.rotate_left(1);
                self.looks[AGREED - 1] = look;
                if goes_on { (self.agreed + 1).min(AGREED) } else { 1 }
            }
        };
        let other = self.held.is_none_or(|held| held.key != self.looks[AGREED - 1].key);
        if self.agreed == AGREED && other && self.is_key() {
            self.release(tell);
            self.press();
        } else if self.held.is_some_and(|held| held.missed >= MISSED) {
            self.release(tell);
        }
    }

    fn press(&mut self) {
        let Look { key, responses: [row, column], .. } = self.looks[AGREED - 1];
        let Some(event) = key_at(key.0, key.1) else { return };
        let mean = (row.power + column.power) * 2.0 / self.window as f32;
        let dbm0 = 10.0 * (mean / (32_767.0 * 32_767.0)).log10() + FULL_SCALE_DBM0;
        // A window that is two thirds full is taken for the first.
        let reach = (AGREED - 1) * self.hop + self.window * 2 / 3;
        let start = self.clock.saturating_sub(reach as u64);
        let volume = (-dbm0).clamp(0.0, 63.0) as u8;
        self.held = Some(Held { key, event, volume, start, last: self.clock, missed: 0 });
    }

    fn release(&mut self, tell: &mut impl FnMut(RtpTime, TelephoneEvent)) {
        if let Some(held) = self.held.take() {
            tell(held.name(), held.report(self.rate, true));
        }
    }

    /// The row and column that rule the window, if two do.
    fn see(&self) -> Option<Look> {
        let total: f32 = self.heard.iter().map(|it| it * it).sum();
        if total < 2.0 * self.weakest {
            return None;
        }
        let responses = self.respond(self.filters);
        let (row, column) = (strongest(&responses[..4])?, strongest(&responses[4..])?);
        let (low, high) = (responses[row], responses[4 + column]);
        let sound = low.power.min(high.power) >= self.weakest
            && low.power <= high.power * ROW_STRONGER
            && high.power <= low.power * COLUMN_STRONGER
            && low.power + high.power >= total * SHARE_OF_A_LOOK;
        sound.then_some(Look { key: (row, column), responses: [low, high], total })
    }

    /// All filters side by side: one after the other, each would wait for its own recursion.
    fn respond<const N: usize>(&self, filters: [Filter; N]) -> [Response; N] {
        let (mut one, mut two) = ([0.0_f32; N], [0.0_f32; N]);
        let coefficients = filters.map(|it| it.coefficient);
        for sample in &self.heard {
            let next: [f32; N] = std::array::from_fn(|at| sample + coefficients[at] * one[at] - two[at]);
            two = one;
            one = next;
        }
        std::array::from_fn(|at| {
            let (one, two, filter) = (one[at], two[at], filters[at]);
            let (re, im) = (one - two * filter.coefficient / 2.0, two * filter.sine);
            Response { power: (re * re + im * im) * 2.0 / self.window as f32, phase: im.atan2(re) }
        })
    }

    /// By how much row and column are off, in hertz, between two looks.
    fn deviation(&self, before: &Look, after: &Look) -> [f32; 2] {
        let filters = [self.filters[after.key.0], self.filters[4 + after.key.1]];
        std::array::from_fn(|at| {
            let turned = after.responses[at].phase - before.responses[at].phase;
            let beside = (turned - filters[at].angle * self.hop as f32).rem_euclid(TAU);
            let beside = if beside > PI { beside - TAU } else { beside };
            beside / TAU * (1000 / HOP_MILLIS) as f32
        })
    }

    /// True if the look shows the same two sines as the one before it; coarse, one step is short.
    fn follows(&self, look: &Look) -> bool {
        let before = &self.looks[AGREED - 1];
        let nominal = pair_of(look.key);
        before.key == look.key
            && self
                .deviation(before, look)
                .iter()
                .zip(nominal)
                .all(|(off, hertz)| off.abs() <= hertz.mul_add(TOLERANCE, 12.0))
    }

    /// True if row and column are as strong in all looks.
    fn is_steady(&self) -> bool {
        let range = |at: usize| {
            let powers = self.looks.iter().map(|it| it.responses[at].power);
            powers.fold((f32::MAX, 0.0_f32), |(least, most), it| (least.min(it), most.max(it)))
        };
        let ((row_least, row), (column_least, column)) = (range(0), range(1));
        let (for_row, for_column) =
            if row > column { (STEADY, STEADY_BESIDE) } else { (STEADY_BESIDE, STEADY) };
        row_least >= row * for_row && column_least >= column * for_column
    }

    /// True if the last looks together are a key.
    fn is_key(&self) -> bool {
        let key = self.looks[AGREED - 1].key;
        let nominal = pair_of(key);
        let mut off = [0.0_f32; 2];
        for pair in self.looks.windows(2) {
            let step = self.deviation(&pair[0], &pair[1]);
            off = std::array::from_fn(|at| off[at] + step[at] / (AGREED - 1) as f32);
        }
        if (0..2).any(|at| off[at].abs() > nominal[at] * TOLERANCE) || !self.is_steady() {
            return false;
        }
        // The first window may be partly before the key, the last one partly behind it.
        let inner = &self.looks[1..AGREED - 1];
        let total: f32 = inner.iter().map(|it| it.total).sum();
        let power: [f32; 2] = std::array::from_fn(|at| inner.iter().map(|it| it.responses[at].power).sum());
        let window = self.window as f32 / self.rate as f32;
        let righted: f32 = (0..2).map(|at| power[at] / main_lobe(off[at] * window)).sum();
        if righted < total * SHARE_OF_A_KEY {
            return false;
        }
        let last = &self.looks[AGREED - 1].responses;
        let actual: [f32; 2] = std::array::from_fn(|at| nominal[at] + off[at]);
        // Twice a row may stand beside a column: there the column itself would be found.
        let apart = |double: f32| (double - actual[1]).abs() * window > 1.1;
        let doubles = actual.map(|hertz| hertz * 2.0);
        let heard = self.respond(doubles.map(|it| Filter::new(it, self.rate)));
        let harmonics: f32 =
            doubles.into_iter().zip(heard).filter(|(it, _)| apart(*it)).map(|(_, it)| it.power).sum();
        harmonics <= (last[0].power + last[1].power) * SECOND_HARMONICS
    }
}

impl Held {
    const fn name(&self) -> RtpTime {
        RtpTime((self.start & u32::MAX as u64) as u32)
    }

    fn report(&self, rate: u32, end: bool) -> TelephoneEvent {
        let ticks = (self.last - self.start) * 8000 / u64::from(rate);
        let duration = u16::try_from(ticks).unwrap_or(u16::MAX);
        TelephoneEvent { event: self.event, end, volume: self.volume, duration }
    }
}

impl Filter {
    fn new(hertz: f32, rate: u32) -> Self {
        let angle = TAU * hertz / rate as f32;
        Self { coefficient: 2.0 * angle.cos(), sine: angle.sin(), angle }
    }
}

fn pair_of(key: (usize, usize)) -> [f32; 2] {
    key_at(key.0, key.1).map_or([0.0; 2], |event| key_pair(event).map(f32::from))
}

/// What a filter has left of the power of a sine that is `beside` its middle, in turns per window.
fn main_lobe(beside: f32) -> f32 {
    let x = PI * beside;
    if x.abs() < 0.01 { 1.0 } else { (x.sin() / x).powi(2) }
}

/// The strongest of four, if the others are far behind.
fn strongest(responses: &[Response]) -> Option<usize> {
    let (best, top) = responses.iter().enumerate().max_by(|a, b| a.1.power.total_cmp(&b.1.power))?;
    let alone = |(at, it): (usize, &Response)| at == best || it.power <= top.power * RUNNER_UP;
    responses.iter().enumerate().all(alone).then_some(best)
}

/// Silence with an edge of `edge` samples at its beginning.
fn fade_out(samples: &mut [i16], edge: usize) {
    for (at, sample) in samples.iter_mut().enumerate() {
        *sample = if at < edge {
            (i32::from(*sample) * (edge - at).cast_signed() as i32 / edge.cast_signed() as i32) as i16
        } else {
            0
        };
    }
}

/// What follows a suspicion that came to nothing begins softly.
fn fade_in(samples: &mut [i16]) {
    let edge = samples.len().cast_signed() as i32;
    for (at, sample) in samples.iter_mut().enumerate() {
        *sample = (i32::from(*sample) * at.cast_signed() as i32 / edge) as i16;
    }
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
