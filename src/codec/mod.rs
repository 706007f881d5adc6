//! Speech codecs: frames in, samples out and back; the only folder that names a codec library.
//!
//! Everything here runs at 8 kHz mono: Opus is decoded to and encoded from that rate by libopus
//! itself, so there is no resampler between a WhatsApp user and a G.711 phone.

mod g711;
mod opus;

pub use g711::G711;
pub use opus::{MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder, OpusEncoder, OpusError};

/// Samples of a 20 ms frame at 8 kHz.
pub const FRAME_SAMPLES: usize = 160;

/// The level of a frame in decibels below full scale (0 is a full-scale square wave, silence is -127).
#[must_use]
pub fn level_dbov(samples: &[i16]) -> f32 {
    let energy: f32 = samples.iter().map(|it| f32::from(*it) * f32::from(*it)).sum();
    if energy < 1.0 || samples.is_empty() {
        return -127.0;
    }
    let mean = energy / samples.len() as f32;
    (10.0 * (mean / (32_768.0 * 32_768.0)).log10()).max(-127.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_relative_to_full_scale() {
        assert!(level_dbov(&[32_767, -32_767]).abs() < 0.01);
        assert!((level_dbov(&[328; 160]) + 40.0).abs() < 0.1);
        assert!(level_dbov(&[0; 160]) <= -127.0);
        assert!(level_dbov(&[]) <= -127.0);
    }
}
