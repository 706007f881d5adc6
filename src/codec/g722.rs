//! G.722 at 64 kbit/s by `audio-codec`: the only file that names it.

use audio_codec::g722;
use audio_codec::{Decoder as _, Encoder as _};

use super::CodecError;

/// Encodes 16 kHz speech, a byte for every two samples.
pub struct G722Encoder(g722::G722Encoder);

impl std::fmt::Debug for G722Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("G722Encoder")
    }
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self(g722::G722Encoder::new())
    }
}

impl G722Encoder {
    /// Encodes an even number of samples and tells how many bytes they became.
    ///
    /// # Errors
    /// [`CodecError::Frame`] for an odd number of samples, or when `codes` is too short.
    pub fn encode(&mut self, samples: &[i16], codes: &mut [u8]) -> Result<usize, CodecError> {
        if !samples.len().is_multiple_of(2) {
            return Err(CodecError::Frame);
        }
        self.0.encode_into(samples, codes).map_err(|_| CodecError::Frame)
    }
}

/// Decodes to 16 kHz speech.
pub struct G722Decoder(g722::G722Decoder);

impl std::fmt::Debug for G722Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("G722Decoder")
    }
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self(g722::G722Decoder::new())
    }
}

impl G722Decoder {
    /// Decodes a payload and tells how many samples it held: two for each byte.
    ///
    /// # Errors
    /// [`CodecError::Packet`] when `samples` is too short for it.
    pub fn decode(&mut self, codes: &[u8], samples: &mut [i16]) -> Result<usize, CodecError> {
        if codes.len() * 2 > samples.len() {
            return Err(CodecError::Packet);
        }
        self.0.decode_into(codes, samples).map_err(|_| CodecError::Packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(at: usize) -> i16 {
        let t = at as f32 / 16_000.0;
        let tone = |hz: f32, strength: f32| (t * hz * std::f32::consts::TAU).sin() * strength;
        (tone(300.0, 6000.0) + tone(1700.0, 2000.0) + tone(5000.0, 1000.0)) as i16
    }

    #[test]
    fn both_bands_come_through_with_the_filters_delay_of_22_samples() {
        let said: Vec<i16> = (0..8000).map(sound).collect();
        let (mut encoder, mut decoder) = (G722Encoder::default(), G722Decoder::default());
        let (mut codes, mut heard) = (vec![0; 4000], vec![0; 8000]);
        assert_eq!(encoder.encode(&said, &mut codes), Ok(4000));
        assert_eq!(decoder.decode(&codes, &mut heard), Ok(8000));
        let error = |delay: usize| -> f64 {
            (4000..7900).map(|at| (f64::from(said[at]) - f64::from(heard[at + delay])).powi(2)).sum()
        };
        let (best, _) = (0..60).map(|at| (at, error(at))).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        let power: f64 = said[4000..7900].iter().map(|it| f64::from(*it).powi(2)).sum();
        assert_eq!(best, 22);
        assert!(error(best) < power / 1000.0, "{} dB", 10.0 * (power / error(best)).log10());
    }

    #[test]
    fn an_odd_frame_and_short_storage_are_refused() {
        let (mut encoder, mut decoder) = (G722Encoder::default(), G722Decoder::default());
        assert_eq!(encoder.encode(&[0; 3], &mut [0; 4]), Err(CodecError::Frame));
        assert_eq!(encoder.encode(&[0; 8], &mut [0; 3]), Err(CodecError::Frame));
        assert_eq!(decoder.decode(&[0; 4], &mut [0; 7]), Err(CodecError::Packet));
    }
}
