//! Comfort noise between speech (RFC 3389): what a phone says of its room made audible, and ours said to it.

/// Reflection coefficients that are used; RFC 3389 §4 advises 5 to 12, more are ignored.
const ORDER: usize = 12;
/// Levels that are believed, in dBov without their minus sign: nobody's room is louder than -30.
const LEVELS: std::ops::RangeInclusive<u8> = 30..=90;
/// The sharpest resonance.
const SHARPEST: f32 = 0.95;
/// A room that changes by less, in dB, is not told again.
const CHANGE: u8 = 3;
/// How far the level moves towards a new one per sample of 8 kHz: most of the way in 20 ms.
const GLIDE: f32 = 0.012;

/// Noise of a level and, if one was told, a spectrum.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    seed: u32,
    /// Root mean square, now and wanted.
    level: f32,
    target: f32,
    reflection: [f32; ORDER],
    memory: [f32; ORDER],
    /// What white noise must be scaled by to come out of the filter with a level of 1.
    gain: f32,
    active: bool,
}

impl ComfortNoise {
    /// Silent until a payload comes; `seed` starts its noise.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self {
            seed,
            level: 0.0,
            target: 0.0,
            reflection: [0.0; ORDER],
            memory: [0.0; ORDER],
            gain: 1.0,
            active: false,
        }
    }

    /// Takes a payload: one byte of level, then the spectrum's reflection coefficients (RFC 3389 §3).
    pub fn hear(&mut self, payload: &[u8]) {
        let Some((level, coefficients)) = payload.split_first() else { return };
        let level = (level & 0x7f).clamp(*LEVELS.start(), *LEVELS.end());
        self.target = 32_768.0 * 10.0_f32.powf(-f32::from(level) / 20.0);
        let mut reflection = [0.0; ORDER];
        for (place, index) in reflection.iter_mut().zip(coefficients) {
            // RFC 3389 §3.2; 255 is reserved, and no room rings.
            let coefficient = 258.0 * (f32::from(*index) - 127.0) / 32_768.0;
            *place = coefficient.clamp(-SHARPEST, SHARPEST);
        }
        if reflection != self.reflection || !self.active {
            // What another filter has left in its memory would come out as a knock.
            self.memory = [0.0; ORDER];
            self.reflection = reflection;
            self.gain = reflection.iter().map(|it| 1.0 - it * it).product::<f32>().sqrt();
        }
        if !self.active {
            self.level = self.target;
            self.active = true;
        }
    }

    /// Speech is back.
    pub const fn rest(&mut self) {
        self.active = false;
    }

    /// True from a payload until speech comes back.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.active
    }

    /// The next samples at `rate`.
    pub fn fill(&mut self, samples: &mut [i16], rate: u32) {
        let glide = GLIDE * 8000.0 / rate as f32;
        for sample in samples {
            self.level += (self.target - self.level) * glide;
            let mut forward = self.white() * self.gain;
            // The all-pole lattice; each stage hands its backward error to the next sample.
            for stage in (0..ORDER).rev() {
                forward -= self.reflection[stage] * self.memory[stage];
                if stage + 1 < ORDER {
                    self.memory[stage + 1] = self.memory[stage] + self.reflection[stage] * forward;
                }
            }
            self.memory[0] = forward;
            *sample = (forward * self.level).clamp(-32_768.0, 32_767.0) as i16;
        }
    }

    /// Uniform noise with a root mean square of 1.
    fn white(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from((self.seed >> 16) as u16) / 32_768.0 - 1.0) * 1.732
    }
}

/// The user's room, and what was said of it to the phone.
#[derive(Clone, Copy, Debug)]
pub struct ComfortTold {
    /// The room in dBov: what is heard between words.
    room: f32,
    level: Option<u8>,
}

impl Default for ComfortTold {
    fn default() -> Self {
        Self { room: -60.0, level: None }
    }
}

impl ComfortTold {
    /// Takes note of 20 ms of `dbov`: down quickly, up by a tenth of a decibel, so that speech is no room.
    pub fn listen(&mut self, dbov: f32) {
        let lower = dbov < self.room;
        self.room += if lower { (dbov - self.room) * 0.3 } else { (dbov - self.room).min(0.1) };
    }

    /// The payload to send, at the beginning of a pause and when the room has changed.
    pub fn tell(&mut self) -> Option<[u8; 1]> {
        let level = ((-self.room).clamp(0.0, 127.0) as u8).clamp(*LEVELS.start(), *LEVELS.end());
        if self.level.is_some_and(|told| told.abs_diff(level) < CHANGE) {
            return None;
        }
        self.level = Some(level);
        Some([level])
    }

    /// Speech is back: the next pause is told anew.
    pub const fn forget(&mut self) {
        self.level = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::level_dbov;

    fn noise(payload: &[u8], rate: u32) -> Vec<i16> {
        let mut noise = ComfortNoise::new(7);
        noise.hear(payload);
        let mut samples = vec![0; rate as usize];
        noise.fill(&mut samples, rate);
        samples
    }

    #[test]
    fn the_noise_has_the_level_that_was_told_with_and_without_a_spectrum() {
        for rate in [8000, 16_000] {
            for level in [35, 50, 70] {
                for spectrum in [&[][..], &[60, 140, 127][..], &[200, 90, 150, 127, 100][..]] {
                    let payload: Vec<u8> = std::iter::once(level).chain(spectrum.iter().copied()).collect();
                    let heard = level_dbov(&noise(&payload, rate));
                    assert!((heard + f32::from(level)).abs() < 1.0, "{heard} for -{level} {spectrum:?}");
                }
            }
        }
    }

    #[test]
    fn a_spectrum_colours_the_noise() {
        // How alike neighbouring samples are is minus the first reflection coefficient.
        let alike = |samples: &[i16]| {
            let product: f32 = samples.windows(2).map(|it| f32::from(it[0]) * f32::from(it[1])).sum();
            product / samples.iter().map(|it| f32::from(*it).powi(2)).sum::<f32>()
        };
        assert!(alike(&noise(&[40], 8000)).abs() < 0.05);
        assert!((alike(&noise(&[40, 27], 8000)) - 0.787).abs() < 0.05);
        assert!((alike(&noise(&[40, 227], 8000)) + 0.787).abs() < 0.05);
    }

    #[test]
    fn any_payload_makes_bounded_noise() {
        let mut random = crate::random::Random::from_number(3);
        let mut noise = ComfortNoise::new(1);
        for _ in 0..200 {
            let payload: Vec<u8> = (0..random.below(40)).map(|_| random.next_u32() as u8).collect();
            noise.hear(&payload);
            let mut samples = [0; 160];
            noise.fill(&mut samples, 8000);
            assert!(level_dbov(&samples) < -12.0, "{payload:?}");
        }
    }

    #[test]
    fn a_new_level_is_glided_to_and_the_first_one_stands_at_once() {
        let mut noise = ComfortNoise::new(5);
        noise.hear(&[40]);
        let mut samples = [0; 160];
        noise.fill(&mut samples, 8000);
        assert!((level_dbov(&samples) + 40.0).abs() < 1.5);
        noise.hear(&[60]);
        noise.fill(&mut samples, 8000);
        assert!((-58.0..-42.0).contains(&level_dbov(&samples)));
        noise.fill(&mut samples, 8000);
        noise.fill(&mut samples, 8000);
        assert!((level_dbov(&samples) + 60.0).abs() < 1.5);
        noise.rest();
        assert!(!noise.is_active());
    }

    #[test]
    fn a_room_is_told_at_the_start_of_a_pause_and_when_it_changes() {
        let mut told = ComfortTold::default();
        let hear = |told: &mut ComfortTold, dbov: f32, frames: usize| {
            (0..frames).for_each(|_| told.listen(dbov));
        };
        hear(&mut told, -20.0, 40);
        assert_eq!(told.tell(), Some([56]), "speech is hardly heard as a room");
        hear(&mut told, -70.0, 20);
        assert_eq!(told.tell(), Some([69]));
        hear(&mut told, -55.0, 20);
        assert_eq!(told.tell(), None);
        hear(&mut told, -55.0, 200);
        assert_eq!(told.tell(), Some([55]));
        told.forget();
        assert_eq!(told.tell(), Some([55]));
        hear(&mut told, -127.0, 50);
        assert_eq!(told.tell(), Some([90]), "never digital silence");
    }
}
