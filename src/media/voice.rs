//! Whether somebody speaks: a sound that is loud for a while and not made of one or two steady tones.
//!
//! Before Meta tells that the user picked up, media may already flow (rule 7), and what is heard first may be
//! a ringback tone: 425 Hz, 440 with 480 Hz, 400 with 450 Hz. Such a tone has nearly all its power on two
//! lines of the spectrum, or, while an Opus decoder that came late or lost a packet still distorts it, close
//! around them. Of speech both hold less: there are more harmonics, and they move with the pitch.

use std::f32::consts::TAU;

use crate::codec::level_dbov;

/// What is looked at, in Hz: call progress tones lie below 2 kHz.
const RATE: usize = 4000;
/// So long a sound is judged: 200 ms, hence lines 5 Hz apart.
const WINDOW: usize = RATE / 5;
/// A level is taken over 20 ms.
const FRAME: usize = RATE / 50;
/// Louder than this is a voice, not a room.
const VOICED_DBOV: f32 = -45.0;
/// So many quiet frames in a row end a sound; one is a consonant.
const PAUSE: u8 = 2;
/// Share of the power from which a sound is a tone. Measured through Opus at 20 kbit/s, with decoders that came
/// late or lost packets: tones 0.88 and more; of 76 words of seven synthetic voices, the least tonal 200 ms of
/// each word 0.81 and less.
const TONAL: f32 = 0.85;
/// The lines from 50 Hz on.
const FIRST_LINE: usize = 10;
const LINES: usize = WINDOW / 2 - FIRST_LINE;
/// Where ringback tones lie, distorted ones as well: 350 to 550 Hz.
const RINGBACK: std::ops::RangeInclusive<usize> = 70 - FIRST_LINE..=110 - FIRST_LINE;
/// A tone between two lines shows on so many to each side (Hann window).
const LOBE: usize = 2;

/// Listens until somebody has spoken for 200 ms; uses nothing after that.
#[derive(Debug)]
pub struct VoiceDetector {
    window: Box<[f32; WINDOW]>,
    filled: usize,
    quiet: u8,
    /// Sum and number of the samples that make the next one at 4 kHz.
    pending: (i32, u32),
    frame: [i16; FRAME],
    in_frame: usize,
    spoke: bool,
}

impl VoiceDetector {
    /// Nothing was heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            window: Box::new([0.0; WINDOW]),
            filled: 0,
            quiet: 0,
            pending: (0, 0),
            frame: [0; FRAME],
            in_frame: 0,
            spoke: false,
        }
    }

    /// Whether somebody has spoken since the beginning.
    #[must_use]
    pub const fn spoke(&self) -> bool {
        self.spoke
    }

    /// Listens on: samples at `rate` Hz, a multiple of 4000.
    pub fn hear(&mut self, samples: &[i16], rate: usize) {
        let together = u32::try_from(rate / RATE).unwrap_or(1).max(1);
        for sample in samples {
            if self.spoke {
                return;
            }
            self.pending = (self.pending.0 + i32::from(*sample), self.pending.1 + 1);
            if self.pending.1 >= together {
                let mean = self.pending.0 / together.cast_signed();
                self.pending = (0, 0);
                self.frame[self.in_frame] = mean as i16;
                self.in_frame += 1;
                if self.in_frame == FRAME {
                    self.in_frame = 0;
                    self.take_frame();
                }
            }
        }
    }

    fn take_frame(&mut self) {
        if level_dbov(&self.frame) >= VOICED_DBOV {
            self.quiet = 0;
        } else {
            self.quiet = self.quiet.saturating_add(1);
        }
        if self.quiet >= PAUSE || (self.quiet > 0 && self.filled == 0) {
            self.filled = 0;
            return;
        }
        let place = &mut self.window[self.filled..self.filled + FRAME];
        place.iter_mut().zip(&self.frame).for_each(|(to, from)| *to = f32::from(*from));
        self.filled += FRAME;
        if self.filled == WINDOW {
            self.spoke = tonality(&self.window) < TONAL;
            // A tone is judged again when half of it is new.
            self.window.copy_within(WINDOW / 2.., 0);
            self.filled = WINDOW / 2;
        }
    }
}

impl Default for VoiceDetector {
    fn default() -> Self {
        Self::new()
    }
}

/// The share of the power that lies on the two strongest lines or in the band of ringback tones.
fn tonality(samples: &[f32; WINDOW]) -> f32 {
    let mut windowed = [0.0; WINDOW];
    for (at, (to, from)) in windowed.iter_mut().zip(samples).enumerate() {
        *to = from * (0.5 - 0.5 * (TAU * at as f32 / WINDOW as f32).cos());
    }
    let total: f32 = windowed.iter().map(|it| it * it).sum();
    let mut lines: [f32; LINES] = std::array::from_fn(|at| power(&windowed, FIRST_LINE + at));
    let band: f32 = lines[RINGBACK].iter().sum();
    let two = take_strongest(&mut lines) + take_strongest(&mut lines);
    // Half of a real signal's power lies at negative frequencies (Parseval).
    2.0 * two.max(band) / (total * WINDOW as f32).max(1.0)
}

/// The power of one line, by Goertzel's recurrence.
fn power(samples: &[f32; WINDOW], line: usize) -> f32 {
    let twice_cosine = 2.0 * (TAU * line as f32 / WINDOW as f32).cos();
    let (mut last, mut before) = (0.0_f32, 0.0_f32);
    for sample in samples {
        (last, before) = (twice_cosine * last + (sample - before), last);
    }
    last * last + before * before - twice_cosine * last * before
}

/// Takes the strongest line and what it shows beside it out of the spectrum.
fn take_strongest(lines: &mut [f32; LINES]) -> f32 {
    let strongest = (0..LINES).max_by(|a, b| lines[*a].total_cmp(&lines[*b])).unwrap_or(0);
    let lobe = strongest.saturating_sub(LOBE)..(strongest + LOBE + 1).min(LINES);
    lines[lobe].iter_mut().map(std::mem::take).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Whether `seconds` of a sound count as speech, at each rate a phone may have.
    fn spoke(seconds: f32, sound: impl Fn(f32) -> f32) -> bool {
        let verdicts = [8000, 16_000].map(|rate| {
            let (mut detector, mut random) = (VoiceDetector::new(), Random::from_number(7));
            let samples: Vec<i16> = (0..(seconds * rate as f32) as usize)
                .map(|at| {
                    // A codec's noise, some 25 dB below a loud tone.
                    let noise = random.below(801) as f32 - 400.0;
                    let clean = sound(at as f32 / rate as f32);
                    if clean == 0.0 { 0 } else { (clean + noise) as i16 }
                })
                .collect();
            samples.chunks(rate / 50).for_each(|frame| detector.hear(frame, rate));
            detector.spoke()
        });
        assert_eq!(verdicts[0], verdicts[1], "the rate makes no difference");
        verdicts[0]
    }

    fn sine(hertz: f32, seconds: f32) -> f32 {
        (TAU * hertz * seconds).sin()
    }

    #[test]
    fn a_ringback_tone_of_425_hz_is_nobody_speaking_in_any_cadence() {
        for (on, off) in [(1.0, 4.0), (0.4, 0.2), (1.0, 0.0), (0.25, 0.25), (1.2, 4.7)] {
            let ringback = |t: f32| if t % (on + off) < on { 8000.0 * sine(425.0, t) } else { 0.0 };
            assert!(!spoke(12.0, ringback), "{on} s on, {off} s off");
        }
    }

    #[test]
    fn two_steady_tones_are_nobody_speaking() {
        for (low, high) in [(440.0, 480.0), (400.0, 450.0), (350.0, 440.0), (697.0, 1209.0), (941.0, 1633.0)]
        {
            assert!(!spoke(4.0, |t| 5000.0 * (sine(low, t) + sine(high, t))), "{low} and {high} Hz");
        }
        assert!(!spoke(4.0, |t| 8000.0 * sine(400.0, t) * (0.6 + 0.4 * sine(16.0, t))), "Japan");
    }

    #[test]
    fn a_ringback_tone_that_a_late_decoder_distorts_is_nobody_speaking() {
        // Opus repeats what it heard 25 ms ago, where the two tones beat: many lines 40 Hz apart.
        let distorted = |t: f32| {
            let beat = 1.0 + 0.9 * sine(40.0, t) + 0.5 * sine(80.0, t);
            2500.0 * beat * (sine(440.0, t) + sine(480.0, t))
        };
        assert!(!spoke(4.0, distorted));
    }

    #[test]
    fn a_voice_of_any_pitch_is_speech_after_200_ms_and_not_before() {
        for pitch in [90.0, 130.0, 220.0, 300.0] {
            let voice = |t: f32| {
                let moving = t + 0.006 * sine(2.5, t);
                (1..12_u8).map(f32::from).map(|h| 4000.0 * sine(pitch * h, moving) / h).sum::<f32>()
            };
            assert!(spoke(0.3, voice), "{pitch} Hz");
            assert!(!spoke(0.19, voice), "{pitch} Hz");
        }
    }

    #[test]
    fn a_word_after_a_ringback_tone_is_heard() {
        let both = |t: f32| {
            if t < 1.0 {
                8000.0 * sine(425.0, t)
            } else {
                (1..9_u8).map(f32::from).map(|h| 3000.0 * sine(150.0 * h, t)).sum()
            }
        };
        assert!(!spoke(1.0, both));
        assert!(spoke(1.5, both));
    }

    #[test]
    fn clicks_and_a_quiet_room_are_nobody_speaking() {
        assert!(!spoke(4.0, |t| if t % 0.4 < 0.06 {
            9000.0 * sine(133.0, t * (1.0 + t % 0.4))
        } else {
            0.0
        }));
        let mut random = VoiceDetector::new();
        let room: Vec<i16> = (0..16_000_i16).map(|at| at.wrapping_mul(7919) % 60).collect();
        random.hear(&room, 8000);
        assert!(!random.spoke());
    }
}
