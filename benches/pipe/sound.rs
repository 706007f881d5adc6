//! The speech that everything here is measured with, ready in both codecs.

use cordboard::codec::{FRAME_SAMPLES, G711};

/// Frames before the speech begins again: 4 s.
pub(crate) const FRAMES: usize = 200;

/// The same speech as the phones and the users send it.
pub(crate) struct Sound {
    /// PCMU, 20 ms each.
    pub(crate) phone: Vec<[u8; FRAME_SAMPLES]>,
    /// Opus as Meta sends it: wide band, 20 kbit/s, 20 ms each.
    pub(crate) user: Vec<Vec<u8>>,
}

impl Sound {
    pub(crate) fn new() -> Self {
        let phone = (0..FRAMES)
            .map(|frame| {
                let samples: [i16; FRAME_SAMPLES] =
                    std::array::from_fn(|at| speech(frame * FRAME_SAMPLES + at, 8000.0));
                let mut codes = [0; FRAME_SAMPLES];
                G711::MuLaw.encode(&samples, &mut codes);
                codes
            })
            .collect();
        let mut encoder = opus::Encoder::new(16_000, opus::Channels::Mono, opus::Application::Voip)
            .expect("libopus has memory");
        encoder.set_bitrate(opus::Bitrate::Bits(20_000)).expect("a sound bitrate");
        encoder.set_inband_fec(true).expect("redundancy is known");
        encoder.set_packet_loss_perc(5).expect("a sound percentage");
        let user = (0..FRAMES)
            .map(|frame| {
                let samples: [i16; 320] = std::array::from_fn(|at| speech(frame * 320 + at, 16_000.0));
                let mut packet = [0; 400];
                let length = encoder.encode(&samples, &mut packet).expect("a frame of 20 ms");
                packet[..length].to_vec()
            })
            .collect();
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
