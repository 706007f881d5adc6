//! Opus at 8 kHz mono by libopus: the only file that names it.

use super::FRAME_SAMPLES;

/// The largest packet the encoder writes: 20 ms at Meta's 20 kbit/s is 50 bytes, this is far more.
pub const MAX_OPUS_PACKET: usize = 400;
/// Samples of the longest packet the decoder takes: 120 ms at 8 kHz (RFC 6716 §2.1.4).
pub const MAX_OPUS_SAMPLES: usize = 960;

const RATE: u32 = 8000;
/// Behind G.711, 5 scores the same PESQ as 10 at two thirds of the work.
const COMPLEXITY: i32 = 5;

/// Why libopus refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpusError {
    /// The state could not be made.
    Memory,
    /// The packet breaks RFC 6716, or is longer than 120 ms.
    Packet,
    /// A frame of a length that Opus has not.
    Frame,
}

/// Encodes 20 ms frames of 8 kHz speech.
pub struct OpusEncoder(opus::Encoder);

impl std::fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusEncoder")
    }
}

impl OpusEncoder {
    /// For speech at `bitrate` bits a second with in-band error correction.
    ///
    /// # Errors
    /// [`OpusError::Memory`] if libopus cannot make its state.
    pub fn new(bitrate: u32, expected_loss_percent: u8) -> Result<Self, OpusError> {
        let make = || -> opus::Result<opus::Encoder> {
            let mut encoder = opus::Encoder::new(RATE, opus::Channels::Mono, opus::Application::Voip)?;
            encoder.set_complexity(COMPLEXITY)?;
            encoder.set_signal(opus::Signal::Voice)?;
            encoder.set_inband_fec(true)?;
            encoder.set_packet_loss_perc(i32::from(expected_loss_percent.min(100)))?;
            encoder.set_bitrate(opus::Bitrate::Bits(i32::try_from(bitrate).unwrap_or(i32::MAX)))?;
            Ok(encoder)
        };
        make().map(Self).map_err(|_| OpusError::Memory)
    }

    /// What the far end reports as loss, from which libopus decides how much redundancy to send.
    pub fn expect_loss(&mut self, percent: u8) {
        // Only a value outside 0..=100 is refused.
        let _ = self.0.set_packet_loss_perc(i32::from(percent.min(100)));
    }

    /// Encodes one frame and tells its length in `out`.
    ///
    /// # Errors
    /// [`OpusError::Frame`] if libopus refuses, which a 20 ms frame and a sound buffer exclude.
    pub fn encode(&mut self, frame: &[i16; FRAME_SAMPLES], out: &mut [u8]) -> Result<usize, OpusError> {
        self.0.encode(frame, out).map_err(|_| OpusError::Frame)
    }

    /// Samples by which the encoder lags.
    #[must_use]
    pub fn look_ahead(&mut self) -> usize {
        self.0.get_lookahead().ok().and_then(|it| usize::try_from(it).ok()).unwrap_or(0)
    }
}

/// Decodes packets of any shape to 8 kHz mono.
pub struct OpusDecoder(opus::Decoder);

impl std::fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusDecoder")
    }
}

impl OpusDecoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`OpusError::Memory`] if libopus cannot make its state.
    pub fn new() -> Result<Self, OpusError> {
        opus::Decoder::new(RATE, opus::Channels::Mono).map(Self).map_err(|_| OpusError::Memory)
    }

    /// Decodes a packet and tells how many samples it held.
    ///
    /// # Errors
    /// [`OpusError::Packet`] if it breaks RFC 6716 or is empty.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16; MAX_OPUS_SAMPLES]) -> Result<usize, OpusError> {
        if packet.is_empty() {
            return Err(OpusError::Packet);
        }
        self.0.decode(packet, out, false).map_err(|_| OpusError::Packet)
    }

    /// Restores the 20 ms before `next` from the redundancy in it; libopus conceals if there is none.
    ///
    /// # Errors
    /// [`OpusError::Packet`] if `next` breaks RFC 6716.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16; FRAME_SAMPLES]) -> Result<(), OpusError> {
        if next.is_empty() {
            return self.conceal(out);
        }
        self.0.decode(next, out, true).map(|_| ()).map_err(|_| OpusError::Packet)
    }

    /// Invents 20 ms that were lost; fades by itself when called again and again.
    ///
    /// # Errors
    /// [`OpusError::Frame`] if libopus refuses, which a 20 ms frame excludes.
    pub fn conceal(&mut self, out: &mut [i16; FRAME_SAMPLES]) -> Result<(), OpusError> {
        self.0.decode(&[], out, false).map(|_| ()).map_err(|_| OpusError::Frame)
    }

    /// True if `packet` carries redundancy for the frame before it (RFC 6716 §2.1.7, §4.2.4).
    #[must_use]
    pub fn has_redundancy(packet: &[u8]) -> bool {
        // SILK and hybrid only; the LBRR flag follows the VAD flags of the first channel, one per
        // 20 ms (RFC 6716 §4.2.3). Packets with several frames keep their flags elsewhere.
        let [toc, first, ..] = packet else { return false };
        let config = toc >> 3;
        if config > 15 || toc & 3 != 0 {
            return false;
        }
        let vad_flags = if config < 12 {
            match config & 3 {
                0 | 1 => 1,
                2 => 2,
                _ => 3,
            }
        } else {
            1
        };
        first & (0x80 >> vad_flags) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::level_dbov;
    use proptest::prelude::*;

    /// Something voiced: a gliding pulse train through two resonances.
    fn speech(frame: usize) -> [i16; FRAME_SAMPLES] {
        std::array::from_fn(|at| {
            let t = (frame * FRAME_SAMPLES + at) as f32 / 8000.0;
            let pitch = 120.0 + 20.0 * (t * 3.0).sin();
            let envelope = 0.6 + 0.4 * (t * 12.0).sin();
            let voice: f32 =
                (1..12).map(|h| (t * pitch * h as f32 * std::f32::consts::TAU).sin() / h as f32).sum();
            (voice * envelope * 6000.0) as i16
        })
    }

    #[test]
    fn speech_keeps_its_level_through_encoder_and_decoder() {
        let mut encoder = OpusEncoder::new(20_000, 5).unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        let (mut packet, mut out) = ([0; MAX_OPUS_PACKET], [0; MAX_OPUS_SAMPLES]);
        let (mut sent, mut heard, mut bytes) = (Vec::new(), Vec::new(), 0);
        for frame in 0..100 {
            let samples = speech(frame);
            let length = encoder.encode(&samples, &mut packet).unwrap();
            bytes += length;
            let count = decoder.decode(&packet[..length], &mut out).unwrap();
            assert_eq!(count, FRAME_SAMPLES);
            sent.extend(samples);
            heard.extend(&out[..count]);
        }
        let difference = level_dbov(&heard[8000..]) - level_dbov(&sent[8000..]);
        assert!(difference.abs() < 2.5, "level moved by {difference} dB");
        assert!((3500..6000).contains(&bytes), "{bytes} bytes in 2 s is not 20 kbit/s");
        assert_eq!(encoder.look_ahead(), 52, "6.5 ms");
    }

    #[test]
    fn a_lost_frame_comes_back_from_the_next_one_and_better_than_concealed() {
        let mut encoder = OpusEncoder::new(20_000, 10).unwrap();
        let packets: Vec<Vec<u8>> = (0..60)
            .map(|frame| {
                let mut packet = [0; MAX_OPUS_PACKET];
                let length = encoder.encode(&speech(frame), &mut packet).unwrap();
                packet[..length].to_vec()
            })
            .collect();
        assert!(OpusDecoder::has_redundancy(&packets[28]));
        let error = |recover: bool| {
            let (mut whole, mut lossy) = (OpusDecoder::new().unwrap(), OpusDecoder::new().unwrap());
            let (mut out, mut frame) = ([0; MAX_OPUS_SAMPLES], [0; FRAME_SAMPLES]);
            for packet in &packets[..27] {
                whole.decode(packet, &mut out).unwrap();
                lossy.decode(packet, &mut out).unwrap();
            }
            whole.decode(&packets[27], &mut out).unwrap();
            if recover {
                lossy.recover(&packets[28], &mut frame).unwrap();
            } else {
                lossy.conceal(&mut frame).unwrap();
            }
            out.iter().zip(&frame).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
        };
        assert!(error(true) < 0.5 * error(false), "{} {}", error(true), error(false));
    }

    #[test]
    fn concealment_fades() {
        let mut encoder = OpusEncoder::new(20_000, 5).unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        let (mut packet, mut out, mut frame) =
            ([0; MAX_OPUS_PACKET], [0; MAX_OPUS_SAMPLES], [0; FRAME_SAMPLES]);
        for n in 0..20 {
            let length = encoder.encode(&speech(n), &mut packet).unwrap();
            decoder.decode(&packet[..length], &mut out).unwrap();
        }
        let before = level_dbov(&out[..FRAME_SAMPLES]);
        for _ in 0..30 {
            decoder.conceal(&mut frame).unwrap();
        }
        assert!(level_dbov(&frame) < before - 12.0, "{before} {}", level_dbov(&frame));
    }

    proptest! {
        #[test]
        fn any_packet_is_decoded_or_refused(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut decoder = OpusDecoder::new().unwrap();
            let (mut out, mut frame) = ([0; MAX_OPUS_SAMPLES], [0; FRAME_SAMPLES]);
            let _ = decoder.recover(&packet, &mut frame);
            let _ = decoder.decode(&packet, &mut out);
            let _ = OpusDecoder::has_redundancy(&packet);
        }
    }
}
