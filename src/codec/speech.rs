//! The phone side's codecs behind one face: payloads to samples at the codec's own rate and back.

use super::{
    AudioCodec, CodecError, EncoderSettings, G711, G722Decoder, G722Encoder, OpusDecoder, OpusEncoder,
};

/// Decodes what a phone sends.
#[derive(Debug)]
pub enum SpeechDecoder {
    /// No state.
    G711(G711),
    /// 0.4 kB of state.
    G722(Box<G722Decoder>),
    /// 18 kB of state.
    Opus(OpusDecoder),
}

impl SpeechDecoder {
    /// A decoder that has heard nothing.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(codec: AudioCodec) -> Result<Self, CodecError> {
        Ok(match codec {
            AudioCodec::Pcmu => Self::G711(G711::MuLaw),
            AudioCodec::Pcma => Self::G711(G711::ALaw),
            AudioCodec::G722 => Self::G722(Box::default()),
            AudioCodec::Opus => Self::Opus(OpusDecoder::new(codec.rate())?),
        })
    }

    /// Decodes a payload and tells how many samples of the codec's rate it held.
    ///
    /// # Errors
    /// [`CodecError::Packet`] if it is empty, broken or longer than `samples`.
    pub fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, CodecError> {
        match self {
            _ if payload.is_empty() => Err(CodecError::Packet),
            Self::G711(law) => {
                let out = samples.get_mut(..payload.len()).ok_or(CodecError::Packet)?;
                law.decode(payload, out);
                Ok(payload.len())
            }
            Self::G722(decoder) => decoder.decode(payload, samples),
            Self::Opus(decoder) => decoder.decode(payload, samples),
        }
    }
}

/// Encodes what a phone gets.
#[derive(Debug)]
pub enum SpeechEncoder {
    /// No state.
    G711(G711),
    /// 0.4 kB of state.
    G722(Box<G722Encoder>),
    /// 32 kB of state.
    Opus(OpusEncoder),
}

impl SpeechEncoder {
    /// An encoder that has heard nothing; `settings` are for Opus.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(codec: AudioCodec, settings: &EncoderSettings) -> Result<Self, CodecError> {
        Ok(match codec {
            AudioCodec::Pcmu => Self::G711(G711::MuLaw),
            AudioCodec::Pcma => Self::G711(G711::ALaw),
            AudioCodec::G722 => Self::G722(Box::default()),
            AudioCodec::Opus => Self::Opus(OpusEncoder::new(codec.rate(), settings)?),
        })
    }

    /// Encodes samples of the codec's rate and tells how many bytes they became.
    ///
    /// # Errors
    /// [`CodecError::Frame`] if the codec has no frame of this length or `payload` is too short.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        match self {
            Self::G711(law) => {
                let out = payload.get_mut(..samples.len()).ok_or(CodecError::Frame)?;
                law.encode(samples, out);
                Ok(samples.len())
            }
            Self::G722(encoder) => encoder.encode(samples, payload),
            Self::Opus(encoder) => encoder.encode(samples, payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::level_dbov;

    #[test]
    fn every_codec_carries_a_tone_at_its_own_rate() {
        for codec in AudioCodec::ALL {
            let hz = codec.rate().hz() as f32;
            let tone = |at: usize| ((at as f32 * 500.0 / hz * std::f32::consts::TAU).sin() * 8000.0) as i16;
            let mut encoder = SpeechEncoder::new(codec, &EncoderSettings::default()).unwrap();
            let mut decoder = SpeechDecoder::new(codec).unwrap();
            let (mut payload, mut samples) = ([0; 400], [0; 2000]);
            let frame = codec.rate().frame();
            for n in 0..20 {
                let said: Vec<i16> = (n * frame..(n + 1) * frame).map(tone).collect();
                let length = encoder.encode(&said, &mut payload).unwrap();
                assert_eq!(decoder.decode(&payload[..length], &mut samples), Ok(frame), "{codec:?}");
            }
            let level = level_dbov(&samples[..frame]);
            assert!((level + 15.25).abs() < 1.5, "{codec:?}: {level}");
            assert_eq!(decoder.decode(&[], &mut samples), Err(CodecError::Packet));
        }
    }
}
