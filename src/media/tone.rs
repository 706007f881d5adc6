//! Tones: call progress by country (ITU-T E.180), keypad pairs (ITU-T Q.23), any cadence from a text.
//!
//! Phases are counted in whole 2^32nds of a turn, so they never drift and never jump; every edge is a ramp.

use std::f32::consts::{PI, TAU};

use crate::rtp::Event;

/// Power of a call progress tone in dBm0, all its frequencies together (E.180: -10 ± 5).
const PROGRESS_DBM0: f32 = -15.0;
/// The same for a tone that plays for minutes under nobody's speech.
const SOFT_DBM0: f32 = -30.0;
/// The column of a key is this much louder than its row (ETSI ES 201 235-2: 1 to 4 dB).
const PRE_EMPHASIS_DB: f32 = 2.0;
/// What a phone may say about a key's power without making it too loud, or too weak to be understood.
const KEY_VOLUMES: std::ops::RangeInclusive<u8> = 6..=24;
/// Every edge is a raised cosine of this many thousandths of a second: shorter clicks, longer smears keys.
const RAMP_MILLIS: u32 = 4;
/// A full-scale sine (ITU-T G.711, for 16-bit samples).
#[expect(clippy::approx_constant, reason = "decibels, not a circle")]
const FULL_SCALE_DBM0: f32 = 3.14;
/// No step of a cadence is longer.
const LONGEST_STEP_MILLIS: u32 = 20_000;
/// No cadence has more steps.
const MOST_STEPS: usize = 32;

const ROWS: [u16; 4] = [697, 770, 852, 941];
const COLUMNS: [u16; 4] = [1209, 1336, 1477, 1633];

/// Row and column of a key in hertz (Q.23).
#[must_use]
pub fn key_pair(event: Event) -> [u16; 2] {
    let (row, column) = match event.digit() {
        '1' => (0, 0),
        '2' => (0, 1),
        '3' => (0, 2),
        'A' => (0, 3),
        '4' => (1, 0),
        '5' => (1, 1),
        '6' => (1, 2),
        'B' => (1, 3),
        '7' => (2, 0),
        '8' => (2, 1),
        '9' => (2, 2),
        'C' => (2, 3),
        '*' => (3, 0),
        '0' => (3, 1),
        '#' => (3, 2),
        _ => (3, 3),
    };
    [ROWS[row], COLUMNS[column]]
}

/// The key of a row and a column, each counted from 0 at the lowest frequency.
#[must_use]
pub fn key_at(row: usize, column: usize) -> Option<Event> {
    let keys = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
    keys.get(row).and_then(|it| it.get(column)).copied().and_then(Event::from_digit)
}

/// The peak in sample units of a sine with `dbm0` (0 dBm0 is 1 mW at the reference point).
fn peak(dbm0: f32) -> f32 {
    32_767.0 * 10.0_f32.powf((dbm0 - FULL_SCALE_DBM0) / 20.0)
}

/// One sine.
#[derive(Clone, Copy, Debug, Default)]
struct Oscillator {
    phase: u32,
    step: u32,
    peak: f32,
}

impl Oscillator {
    fn new(hertz: u16, rate: u32, peak: f32) -> Self {
        let step = (u64::from(hertz) << 32) / u64::from(rate.max(1));
        Self { phase: 0, step: (step & u64::from(u32::MAX)) as u32, peak }
    }

    fn next(&mut self) -> f32 {
        let sample = (self.phase as f32 * (TAU / 4_294_967_296.0)).sin() * self.peak;
        self.phase = self.phase.wrapping_add(self.step);
        sample
    }
}

/// The strength of an edge, from 0 at its outer end to 1.
fn ramp(at: u32, length: u32) -> f32 {
    if at >= length { 1.0 } else { 0.5 - 0.5 * (PI * at as f32 / length as f32).cos() }
}

/// A part of a cadence: up to two frequencies at once, or silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// 0: none.
    hertz: [u16; 2],
    /// 0: without end.
    millis: u32,
}

impl Step {
    const fn is_silent(self) -> bool {
        self.hertz[0] == 0
    }
}

/// What a call progress tone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The far end rings.
    Ringback,
    /// The far end is busy.
    Busy,
    /// The call cannot be carried.
    Congestion,
}

/// A tone with its cadence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tone {
    steps: Vec<Step>,
    soft: bool,
}

/// Why a text is no tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToneFault {
    /// Not `HERTZ/MILLISECONDS`, not `HERTZ+HERTZ/MILLISECONDS`, or more than 32 of them.
    Step,
    /// A frequency outside of 100 to 3,400 Hz.
    Frequency,
    /// A step of more than 20 s, or one without end that is not the only one.
    Span,
    /// Silence only.
    Silent,
}

impl Tone {
    /// The tone of a country (ISO 3166, two letters in either case), or E.180's own for others.
    #[must_use]
    pub fn of(signal: Signal, country: &str) -> Self {
        let plan = PLANS.iter().find(|it| it.country.eq_ignore_ascii_case(country)).unwrap_or(&E_180);
        let text = match signal {
            Signal::Ringback => plan.ringback,
            Signal::Busy => plan.busy,
            Signal::Congestion => plan.congestion,
        };
        // A test reads every row of the table.
        Self::read(text).unwrap_or(Self { steps: Vec::new(), soft: false })
    }

    /// Tells somebody on hold that the call is still there: two soft notes every 5 s.
    #[must_use]
    pub fn hold() -> Self {
        let note = |hertz, millis| Step { hertz: [hertz, 0], millis };
        Self { steps: vec![note(523, 180), note(0, 60), note(659, 240), note(0, 4520)], soft: true }
    }

    /// Says that an announcement follows, or that a call cannot be had (ITU-T E.180, special information tone).
    #[must_use]
    pub fn special_information() -> Self {
        let note = |hertz, millis| Step { hertz: [hertz, 0], millis };
        Self { steps: vec![note(950, 330), note(1400, 330), note(1800, 330), note(0, 1000)], soft: false }
    }

    /// Says that what was asked for is done: two short notes.
    #[must_use]
    pub fn done() -> Self {
        let note = |hertz, millis| Step { hertz: [hertz, 0], millis };
        Self {
            steps: vec![note(0, 200), note(523, 120), note(0, 60), note(784, 180), note(0, 200)],
            soft: false,
        }
    }

    /// Says that a call is recorded: the frequency of the "beep" that telephone recorders have, once.
    #[must_use]
    pub fn recorded() -> Self {
        Self { steps: vec![Step { hertz: [1400, 0], millis: 400 }], soft: false }
    }

    /// Reads `425/1000,0/4000` or `440+480/2000,0/4000`; `425/0` never stops.
    ///
    /// # Errors
    /// [`ToneFault`] for the first step that is wrong.
    pub fn read(text: &str) -> Result<Self, ToneFault> {
        let steps = text.split(',').map(|it| read_step(it.trim())).collect::<Result<Vec<_>, _>>()?;
        if steps.len() > MOST_STEPS {
            return Err(ToneFault::Step);
        }
        if steps.len() > 1 && steps.iter().any(|it| it.millis == 0) {
            return Err(ToneFault::Span);
        }
        if steps.iter().all(|it| it.is_silent()) {
            return Err(ToneFault::Silent);
        }
        Ok(Self { steps, soft: false })
    }

    /// One round of the cadence at `rate`; played again and again it has no seam.
    #[must_use]
    pub fn render(&self, rate: u32) -> Vec<i16> {
        let edge = rate * RAMP_MILLIS / 1000;
        let mut samples = Vec::new();
        for step in &self.steps {
            // Whole hertz have whole turns in a second.
            let endless = step.millis == 0;
            let length = if endless { rate } else { rate * step.millis / 1000 };
            let tones = step.hertz.iter().filter(|it| **it != 0).count().max(1);
            let level = if self.soft { SOFT_DBM0 } else { PROGRESS_DBM0 };
            let each = peak(10.0f32.mul_add(-(tones as f32).log10(), level));
            let mut voices = step.hertz.map(|it| Oscillator::new(it, rate, if it == 0 { 0.0 } else { each }));
            samples.extend((0..length).map(|at| {
                let strength = if endless { 1.0 } else { ramp(at, edge) * ramp(length - 1 - at, edge) };
                (voices.iter_mut().map(Oscillator::next).sum::<f32>() * strength) as i16
            }));
        }
        samples
    }
}

fn read_step(text: &str) -> Result<Step, ToneFault> {
    let (tones, millis) = text.split_once('/').ok_or(ToneFault::Step)?;
    let millis: u32 = millis.parse().map_err(|_| ToneFault::Step)?;
    if millis > LONGEST_STEP_MILLIS {
        return Err(ToneFault::Span);
    }
    let mut hertz = [0; 2];
    let (first, second) = tones.split_once('+').map_or((tones, None), |(a, b)| (a, Some(b)));
    for (place, text) in hertz.iter_mut().zip([Some(first), second]) {
        let Some(text) = text else { continue };
        *place = text.parse().map_err(|_| ToneFault::Step)?;
    }
    let audible = |it: &u16| (100..=3400).contains(it);
    let sound =
        if second.is_some() { hertz.iter().all(audible) } else { hertz[0] == 0 || audible(&hertz[0]) };
    if sound { Ok(Step { hertz, millis }) } else { Err(ToneFault::Frequency) }
}

/// A key's tone for as long as it is pressed, without a click at either end.
#[derive(Clone, Copy, Debug)]
pub struct KeyTone {
    rate: u32,
    voices: [Oscillator; 2],
    /// Where it stands on its ramp, in samples; it falls while the key is not held.
    strength: u32,
    held: bool,
}

impl KeyTone {
    /// Silent, for samples at `rate`.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { rate, voices: [Oscillator::default(); 2], strength: 0, held: false }
    }

    /// A key goes down; `volume` is that of RFC 4733 §2.3.4: dBm0 without its minus sign.
    pub fn press(&mut self, event: Event, volume: u8) {
        let total = -f32::from(volume.clamp(*KEY_VOLUMES.start(), *KEY_VOLUMES.end()));
        let row = total - 10.0 * (1.0 + 10.0_f32.powf(PRE_EMPHASIS_DB / 10.0)).log10();
        let [low, high] = key_pair(event);
        self.voices = [
            Oscillator::new(low, self.rate, peak(row)),
            Oscillator::new(high, self.rate, peak(row + PRE_EMPHASIS_DB)),
        ];
        self.strength = 0;
        self.held = true;
    }

    /// The key goes up: what follows is the falling edge, then silence.
    pub const fn release(&mut self) {
        self.held = false;
    }

    /// The next samples.
    pub fn fill(&mut self, samples: &mut [i16]) {
        let edge = self.rate * RAMP_MILLIS / 1000;
        for sample in samples {
            self.strength =
                if self.held { (self.strength + 1).min(edge) } else { self.strength.saturating_sub(1) };
            let [row, column] = &mut self.voices;
            *sample = ((row.next() + column.next()) * ramp(self.strength, edge)) as i16;
        }
    }
}

/// The tones of a country.
struct Plan {
    country: &'static str,
    ringback: &'static str,
    busy: &'static str,
    congestion: &'static str,
}

const fn plan(country: &'static str, ringback: &'static str, busy: &'static str, full: &'static str) -> Plan {
    Plan { country, ringback, busy, congestion: full }
}

/// What E.180 recommends to everybody.
const E_180: Plan = plan("", "425/1000,0/4000", "425/500,0/500", "425/250,0/250");

/// ITU-T E.180 supplement 2, as far as two frequencies at once can say it: an amplitude-modulated tone
/// stands as its two side tones.
const PLANS: [Plan; 43] = [
    plan("AT", "420/1000,0/5000", "420/400,0/400", "420/200,0/200"),
    plan("AU", "413+438/400,0/200,413+438/400,0/2000", "425/375,0/375", "425/375,0/375"),
    plan("BE", "425/1000,0/3000", "425/500,0/500", "425/167,0/167"),
    plan("BG", "425/1000,0/4000", "425/500,0/500", "425/250,0/250"),
    plan("BR", "425/1000,0/4000", "425/250,0/250", "425/250,0/250,425/750,0/250"),
    plan("CA", "440+480/2000,0/4000", "480+620/500,0/500", "480+620/250,0/250"),
    plan("CH", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"),
    plan("CL", "400/1000,0/3000", "400/500,0/500", "400/200,0/200"),
    plan("CN", "450/1000,0/4000", "450/350,0/350", "450/700,0/700"),
    plan("CZ", "425/1000,0/4000", "425/330,0/330", "425/165,0/165"),
    plan("DE", "425/1000,0/4000", "425/480,0/480", "425/240,0/240"),
    plan("DK", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"),
    plan("EE", "425/1000,0/4000", "425/300,0/300", "425/200,0/200"),
    plan("ES", "425/1500,0/3000", "425/200,0/200", "425/200,0/200,425/200,0/200,425/200,0/600"),
    plan("FI", "425/1000,0/4000", "425/300,0/300", "425/200,0/200"),
    plan("FR", "440/1500,0/3500", "440/500,0/500", "440/250,0/250"),
    plan("GB", "400+450/400,0/200,400+450/400,0/2000", "400/375,0/375", "400/400,0/350,400/225,0/525"),
    plan("GR", "425/1000,0/4000", "425/300,0/300", "425/200,0/200"),
    plan("HK", "440+480/400,0/200,440+480/400,0/3000", "480+620/500,0/500", "480+620/250,0/250"),
    plan("HU", "425/1250,0/3750", "425/300,0/300", "425/300,0/300"),
    plan("ID", "425/1000,0/4000", "425/500,0/500", "425/250,0/250"),
    plan("IL", "414/1000,0/3000", "414/500,0/500", "414/250,0/250"),
    plan("IN", "375+425/400,0/200,375+425/400,0/2000", "400/750,0/750", "400/250,0/250"),
    plan("IT", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"),
    plan("JP", "384+416/1000,0/2000", "400/500,0/500", "400/500,0/500"),
    plan("KR", "440+480/1000,0/2000", "480+620/500,0/500", "480+620/300,0/200"),
    plan("LT", "425/1000,0/4000", "425/350,0/350", "425/200,0/200"),
    plan("MX", "425/1000,0/4000", "425/250,0/250", "425/250,0/250"),
    plan("MY", "425/400,0/200,425/400,0/2000", "425/500,0/500", "425/500,0/500"),
    plan("NL", "425/1000,0/4000", "425/500,0/500", "425/250,0/250"),
    plan("NO", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"),
    plan("NZ", "400+450/400,0/200,400+450/400,0/2000", "400/500,0/500", "400/250,0/250"),
    plan("PH", "425+480/1000,0/4000", "480+620/500,0/500", "480+620/250,0/250"),
    plan("PL", "425/1000,0/4000", "425/500,0/500", "425/500,0/500"),
    plan("PT", "425/1000,0/5000", "425/500,0/500", "425/200,0/200"),
    plan("RU", "425/1000,0/4000", "425/350,0/350", "425/175,0/175"),
    plan("SE", "425/1000,0/5000", "425/250,0/250", "425/250,0/750"),
    plan("SG", "401+449/400,0/200,401+449/400,0/2000", "425/750,0/750", "425/250,0/250"),
    plan("TH", "400/1000,0/4000", "400/500,0/500", "400/300,0/300"),
    plan("TR", "450/2000,0/4000", "450/500,0/500", "450/200,0/200,450/200,0/200,450/200,0/200,450/600,0/200"),
    plan("TW", "440+480/1000,0/2000", "480+620/500,0/500", "480+620/250,0/250"),
    plan("US", "440+480/2000,0/4000", "480+620/500,0/500", "480+620/250,0/250"),
    plan("ZA", "383+417/400,0/200,383+417/400,0/2000", "400/500,0/500", "400/250,0/250"),
];

/// The countries whose tones are known.
pub fn countries() -> impl Iterator<Item = &'static str> {
    PLANS.iter().map(|it| it.country)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::level_dbov;

    const RATES: [u32; 2] = [8000, 16_000];

    /// The power at `hertz` in dBm0, by correlation with a sine.
    fn power(samples: &[i16], hertz: f32, rate: u32) -> f32 {
        let (mut re, mut im) = (0.0_f64, 0.0_f64);
        for (at, sample) in samples.iter().enumerate() {
            let angle = f64::from(TAU * hertz / rate as f32) * at as f64;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        let amplitude = 2.0 * re.hypot(im) / samples.len() as f64;
        20.0 * (amplitude as f32 / 32_767.0).log10() + FULL_SCALE_DBM0
    }

    #[test]
    fn every_country_has_three_tones_in_alphabetical_order_and_nobody_is_listed_twice() {
        assert!(countries().is_sorted_by(|a, b| a < b));
        for plan in PLANS.iter().chain([&E_180]) {
            for text in [plan.ringback, plan.busy, plan.congestion] {
                assert!(Tone::read(text).is_ok(), "{} {text}", plan.country);
            }
        }
        assert_eq!(Tone::of(Signal::Busy, "de"), Tone::read("425/480,0/480").unwrap());
        assert_eq!(Tone::of(Signal::Ringback, "XX"), Tone::read(E_180.ringback).unwrap());
    }

    #[test]
    fn a_ringback_has_its_frequencies_level_and_cadence_at_both_rates() {
        let tone = Tone::of(Signal::Ringback, "US");
        for rate in RATES {
            let samples = tone.render(rate);
            assert_eq!(samples.len(), rate as usize * 6);
            let (on, off) = samples.split_at(rate as usize * 2);
            assert!(off.iter().all(|it| *it == 0));
            for hertz in [440.0, 480.0] {
                let level = power(&on[..rate as usize], hertz, rate);
                assert!((level + 18.0).abs() < 0.3, "{level} dBm0 at {hertz}");
            }
            assert!((level_dbov(&on[..rate as usize]) + 15.0 + 3.01 + FULL_SCALE_DBM0).abs() < 0.3);
        }
    }

    /// The steepest step between two samples, and what the frequencies alone would do.
    fn steepest(samples: &[i16]) -> i32 {
        samples.windows(2).map(|it| (i32::from(it[1]) - i32::from(it[0])).abs()).max().unwrap_or_default()
    }

    #[test]
    fn no_edge_and_no_seam_of_a_tone_clicks() {
        for tone in [Tone::of(Signal::Busy, "DE"), Tone::hold(), Tone::read("425/0").unwrap()] {
            for rate in RATES {
                let mut samples = tone.render(rate);
                let again = samples.clone();
                samples.extend(again);
                let top =
                    samples.iter().map(|it| f32::from(it.unsigned_abs().cast_signed())).fold(0.0, f32::max);
                let natural = top * TAU * 660.0 / rate as f32;
                assert!((steepest(&samples) as f32) < natural + 2.0, "{}", steepest(&samples));
            }
        }
    }

    #[test]
    fn a_key_has_its_pair_with_the_column_two_decibels_up_and_the_power_that_was_said() {
        for rate in RATES {
            for digit in "0123456789*#ABCD".chars() {
                let event = Event::from_digit(digit).unwrap();
                let mut tone = KeyTone::new(rate);
                tone.press(event, 10);
                let mut samples = vec![0; rate as usize / 2];
                tone.fill(&mut samples);
                let [row, column] = key_pair(event).map(|it| power(&samples[400..], f32::from(it), rate));
                assert!((column - row - 2.0).abs() < 0.4, "{digit}: {row} {column}");
                let total = 10.0 * (10.0_f32.powf(row / 10.0) + 10.0_f32.powf(column / 10.0)).log10();
                assert!((total + 10.0).abs() < 0.4, "{digit}: {total}");
                tone.release();
                tone.fill(&mut samples);
                assert!(samples[rate as usize / 200..].iter().all(|it| *it == 0));
                assert!(steepest(&samples) < 20_000);
            }
        }
    }

    #[test]
    fn pairs_and_places_name_the_same_keys() {
        for (row, low) in ROWS.into_iter().enumerate() {
            for (column, high) in COLUMNS.into_iter().enumerate() {
                assert_eq!(key_pair(key_at(row, column).unwrap()), [low, high]);
            }
        }
    }

    #[test]
    fn what_is_no_tone_is_told_apart() {
        for (text, fault) in [
            ("", ToneFault::Step),
            ("425", ToneFault::Step),
            ("425/x", ToneFault::Step),
            ("425+/200", ToneFault::Step),
            ("5/200", ToneFault::Frequency),
            ("425+0/200", ToneFault::Frequency),
            ("425/20001", ToneFault::Span),
            ("425/0,0/100", ToneFault::Span),
            ("0/500", ToneFault::Silent),
        ] {
            assert_eq!(Tone::read(text), Err(fault), "{text}");
        }
    }
}
