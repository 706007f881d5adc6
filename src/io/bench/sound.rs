//! The speech that a bench is measured with, ready in both codecs.

use crate::codec::{FRAME_SAMPLES, G711};
use crate::simulator::voice;

/// Frames before the speech begins again: 4 s.
pub const FRAMES: usize = 200;

/// The same speech as the phones and the users send it.
#[derive(Debug)]
pub struct Sound {
    /// PCMU, 20 ms each.
    pub phone: Vec<[u8; FRAME_SAMPLES]>,
    /// Opus as Meta sends it: wide band, 20 kbit/s, 20 ms each.
    pub user: Vec<Vec<u8>>,
}

impl Sound {
    /// Encodes it, which takes a moment.
    ///
    /// # Panics
    /// If libopus has no memory for an encoder.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default should cost nothing")]
    pub fn new() -> Self {
        let phone = (0..FRAMES)
            .map(|frame| {
                let samples: [i16; FRAME_SAMPLES] =
                    std::array::from_fn(|at| speech(frame * FRAME_SAMPLES + at, 8000.0));
                let mut codes = [0; FRAME_SAMPLES];
                G711::MuLaw.encode(&samples, &mut codes);
                codes
            })
            .collect();
        let samples: Vec<i16> = (0..FRAMES * 320).map(|at| speech(at, 16_000.0)).collect();
        let clip = voice::encode(&samples, voice::HEARD_RATE).expect("libopus has memory");
        let user = (0..FRAMES).filter_map(|at| Some(clip.frame(at)?.to_vec())).collect();
        Self { phone, user }
    }
}

/// Voiced syllables of 240 ms with pauses of 60 ms, and a little noise.
fn speech(at: usize, rate: f32) -> i16 {
    let t = at as f32 / rate;
    let syllable = (t / 0.3).fract();
    let strength = if syllable < 0.8 { (syllable / 0.8 * std::f32::consts::PI).sin() } else { 0.0 };
    let pitch = 130.0 + 15.0 * (t * 2.0).sin();
    let voice: f32 =
        (1..24).map(|h| (t * pitch * h as f32 * std::f32::consts::TAU).sin() / (h as f32).sqrt()).sum();
    let noise = ((at as u32).wrapping_mul(2_654_435_761) >> 24) as f32 - 128.0;
    (voice * strength * 2500.0 + noise * 0.3) as i16
}
