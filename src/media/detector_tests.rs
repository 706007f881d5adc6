use super::*;
use crate::random::Random;

const RATES: [u32; 2] = [8000, 16_000];
const KEYS: &str = "0123456789*#ABCD";

/// Two sines, made independently of `media::tone`.
#[derive(Clone, Copy)]
struct Pair {
    hertz: [f32; 2],
    /// dBm0 of row and column.
    level: [f32; 2],
}

impl Pair {
    fn of(key: char) -> Self {
        let hertz = key_pair(Event::from_digit(key).unwrap()).map(f32::from);
        Self { hertz, level: [-13.0, -11.0] }
    }

    fn sample(self, at: usize, rate: u32) -> f32 {
        let sine = |hertz: f32, level: f32| {
            let peak = 32_767.0 * 10.0_f32.powf((level - FULL_SCALE_DBM0) / 20.0);
            peak * ((f64::from(hertz) * at as f64 / f64::from(rate)).fract() as f32 * TAU).sin()
        };
        sine(self.hertz[0], self.level[0]) + sine(self.hertz[1], self.level[1])
    }
}

/// `pair` for `on` ms after `offset` samples of silence, then `off` ms of silence.
fn press(pair: Pair, offset: usize, on: f32, off: f32, rate: u32) -> Vec<i16> {
    let samples = |millis: f32| (millis * rate as f32 / 1000.0) as usize;
    let mut sound = vec![0; offset];
    sound.extend((0..samples(on)).map(|at| pair.sample(at, rate) as i16));
    sound.resize(sound.len() + samples(off), 0);
    sound
}

fn add_noise(sound: &mut [i16], dbm0: f32, seed: u64) {
    let mut random = Random::from_number(seed);
    let rms = 32_767.0 / 2.0_f32.sqrt() * 10.0_f32.powf((dbm0 - FULL_SCALE_DBM0) / 20.0);
    for sample in sound {
        let uniform = random.below(65_536) as f32 / 32_768.0 - 1.0;
        *sample = sample.saturating_add((uniform * 3.0_f32.sqrt() * rms) as i16);
    }
}

/// The keys with their lengths in ms, and the sound that is left.
fn detect(sound: &[i16], rate: u32) -> (Vec<(char, u16)>, Vec<i16>) {
    let mut detector = Detector::new(rate);
    let mut left = sound.to_vec();
    let mut keys: Vec<(RtpTime, char, u16, bool)> = Vec::new();
    for packet in left.chunks_mut(rate as usize / 50) {
        detector.hear(packet, |name, report| match keys.last_mut().filter(|it| it.0 == name) {
            Some(key) => {
                assert!(!key.3 && report.duration >= key.2, "a report after the end, or a shorter one");
                (key.2, key.3) = (report.duration, report.end);
            }
            None => keys.push((name, report.event.digit(), report.duration, report.end)),
        });
    }
    (keys.into_iter().map(|(_, key, duration, _)| (key, duration / 8)).collect(), left)
}

fn digits(sound: &[i16], rate: u32) -> String {
    detect(sound, rate).0.into_iter().map(|it| it.0).collect()
}

#[test]
fn all_keys_are_heard_at_every_level_that_rfc_4733_wants_understood() {
    for rate in RATES {
        for total in [0.0, -6.0, -12.0, -25.0, -36.0] {
            for (at, key) in KEYS.chars().enumerate() {
                let pair = Pair { level: [total - 4.0, total - 2.0], ..Pair::of(key) };
                let sound = press(pair, at * 7, 60.0, 100.0, rate);
                assert_eq!(digits(&sound, rate), key.to_string(), "{total} dBm0 at {rate} Hz");
            }
        }
        for key in KEYS.chars() {
            let pair = Pair { level: [-58.0, -58.0], ..Pair::of(key) };
            assert_eq!(digits(&press(pair, 0, 200.0, 100.0, rate), rate), "", "-55 dBm0 is nobody's key");
        }
    }
}

#[test]
fn keys_of_45_ms_with_pauses_of_45_ms_are_heard_once_each_wherever_they_begin() {
    for rate in RATES {
        for offset in 0..40 {
            let mut sound = vec![0; offset * 9];
            for key in KEYS.chars().chain("5588".chars()) {
                sound.extend(press(Pair::of(key), 0, 45.0, 45.0, rate));
            }
            sound.extend([0; 800]);
            assert_eq!(digits(&sound, rate), format!("{KEYS}5588"), "offset {offset}");
        }
    }
}

#[test]
fn forty_milliseconds_are_a_key_and_twenty_three_are_none() {
    for rate in RATES {
        for key in KEYS.chars() {
            for offset in 0..40 {
                let heard = |on| digits(&press(Pair::of(key), offset * 3, on, 100.0, rate), rate);
                assert_eq!(heard(40.0), key.to_string(), "offset {offset}");
                assert_eq!(heard(20.0), "", "offset {offset}");
                assert_eq!(heard(23.0), "", "offset {offset}");
            }
        }
    }
}

#[test]
fn an_interruption_of_ten_milliseconds_does_not_make_two_keys() {
    for offset in 0..40 {
        let mut sound = press(Pair::of('7'), offset, 60.0, 10.0, 8000);
        sound.extend(press(Pair::of('7'), 0, 60.0, 100.0, 8000));
        assert_eq!(digits(&sound, 8000), "7", "offset {offset}");
    }
}

#[test]
fn frequencies_within_one_and_a_half_percent_are_taken_and_beyond_three_and_a_half_they_are_not() {
    let mut wrong = Vec::new();
    for rate in RATES {
        for key in KEYS.chars() {
            for (low, high) in [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)] {
                let moved = |share: f32| {
                    let pair = Pair::of(key);
                    let hertz = [pair.hertz[0] * (1.0 + low * share), pair.hertz[1] * (1.0 + high * share)];
                    digits(&press(Pair { hertz, ..pair }, 11, 80.0, 100.0, rate), rate)
                };
                if moved(0.015) != key.to_string() {
                    wrong.push(format!("{key} {low} {high} is not heard"));
                }
                if !moved(0.035).is_empty() {
                    wrong.push(format!("{key} {low} {high} is heard"));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_column_may_be_four_decibels_louder_or_eight_quieter_than_its_row() {
    for rate in RATES {
        for key in KEYS.chars() {
            for (twist, heard) in [(4.0, true), (-8.0, true), (9.0, false), (-14.0, false)] {
                let pair = Pair { level: [-16.0, -16.0 + twist], ..Pair::of(key) };
                let text = digits(&press(pair, 5, 60.0, 100.0, rate), rate);
                assert_eq!(!text.is_empty(), heard, "{key} with a twist of {twist} dB");
            }
        }
    }
}

#[test]
fn keys_are_heard_through_noise_fifteen_decibels_below_them() {
    for rate in RATES {
        let (mut heard, mut pressed) = (0, 0);
        for seed in 0..20 {
            for key in KEYS.chars() {
                let mut sound = press(Pair::of(key), 13, 50.0, 50.0, rate);
                add_noise(&mut sound, -9.0 - 15.0, seed);
                pressed += 1;
                heard += u32::from(digits(&sound, rate) == key.to_string());
            }
        }
        assert!(heard * 1000 >= pressed * 995, "{heard} of {pressed}");
    }
}

#[test]
fn the_length_is_told_within_a_hop_or_two_and_a_held_key_lasts() {
    for rate in RATES {
        for (offset, millis) in [(0, 50_u16), (31, 100), (77, 333), (5, 2000)] {
            let sound = press(Pair::of('8'), offset, f32::from(millis), 100.0, rate);
            let (keys, _) = detect(&sound, rate);
            assert_eq!(keys.len(), 1);
            assert!(keys[0].1.abs_diff(millis) <= 8, "{} ms of {millis}", keys[0].1);
        }
    }
}

#[test]
fn what_is_left_of_a_key_is_too_short_to_be_one() {
    for rate in RATES {
        for offset in 0..80 {
            let sound = press(Pair::of('3'), offset * rate as usize / 4000, 100.0, 100.0, rate);
            let (_, left) = detect(&sound, rate);
            let first = left.iter().position(|it| it.unsigned_abs() > 300);
            let last = left.iter().rposition(|it| it.unsigned_abs() > 300);
            let span = first.zip(last).map_or(0, |(first, last)| (last - first) as u32 * 1000 / rate);
            assert!(span <= 17, "{span} ms are left, offset {offset}");
            assert_eq!(digits(&left, rate), "");
        }
    }
}

/// Speech for the ear of a detector: voiced syllables with moving pitch and two or three strong formants,
/// vowels of women and children with few harmonics, and fricatives between them.
fn chatter(seconds: usize, seed: u64, rate: u32) -> Vec<i16> {
    let mut random = Random::from_number(seed);
    let mut between = |from: f32, to: f32| from + (to - from) * random.below(10_000) as f32 / 10_000.0;
    let mut sound = Vec::with_capacity(seconds * rate as usize);
    while sound.len() < seconds * rate as usize {
        let length = (between(0.06, 0.35) * rate as f32) as usize;
        let (pitch, glide) = (between(85.0, 420.0), between(-0.25, 0.25));
        let formants = [between(250.0, 950.0), between(850.0, 2500.0), between(2300.0, 3400.0)];
        let widths = [between(70.0, 130.0), between(90.0, 180.0), between(100.0, 250.0)];
        let gains = [1.0, between(0.1, 0.7), between(0.02, 0.3)];
        let loud = between(800.0, 6000.0);
        let noise = between(0.0, 400.0);
        let mut phase = 0.0_f32;
        for at in 0..length {
            let share = at as f32 / length as f32;
            let now = pitch * (1.0 + glide * share);
            phase = (phase + now / rate as f32).fract();
            let envelope = (share * PI).sin();
            let mut voice = 0.0;
            let mut harmonic = 1.0_f32;
            while harmonic * now < 3600.0 {
                let strength: f32 = (0..3)
                    .map(|it| {
                        gains[it]
                            / (1.0 + (2.0 * (harmonic * now - formants[it]) / widths[it]).powi(2)).sqrt()
                    })
                    .sum();
                voice += strength * (phase * harmonic * TAU).sin();
                harmonic += 1.0;
            }
            let hiss = between(-1.0, 1.0) * noise;
            sound.push((voice * envelope * loud + hiss) as i16);
        }
        let pause = (between(0.0, 0.12) * rate as f32) as usize;
        sound.extend((0..pause).map(|_| (between(-1.0, 1.0) * 20.0) as i16));
    }
    sound
}

#[test]
fn four_minutes_of_speech_press_no_key_and_lose_next_to_nothing() {
    for rate in RATES {
        let (mut muted, mut all) = (0, 0);
        for seed in 0..4 {
            let sound = chatter(60, seed, rate);
            let (keys, left) = detect(&sound, rate);
            assert_eq!(keys, [], "seed {seed}");
            muted += sound.iter().zip(&left).filter(|(a, b)| a != b).count();
            all += sound.len();
        }
        assert!(muted * 200 < all, "{} of 10,000 samples are muted for nothing", muted * 10_000 / all);
    }
}

#[test]
fn a_single_sine_music_and_silence_are_no_keys() {
    for hertz in FREQUENCIES {
        let pair = Pair { hertz: [hertz, hertz * 1.5], level: [-10.0, -80.0] };
        assert_eq!(digits(&press(pair, 0, 300.0, 100.0, 8000), 8000), "");
    }
    let chord = Pair { hertz: [698.5, 1318.5], level: [-15.0, -15.0] };
    let third = Pair { hertz: [880.0, 1760.0], level: [-15.0, -25.0] };
    let music: Vec<i16> =
        (0..16_000).map(|at| (chord.sample(at, 8000) + third.sample(at, 8000)) as i16).collect();
    assert_eq!(digits(&music, 8000), "");
    assert_eq!(digits(&[0; 8000], 8000), "");
}
