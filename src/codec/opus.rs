//! Opus by libopus, mono at the rate of the pipe: the only file that names it.

use super::{CodecError, SampleRate};

/// The largest packet the encoder writes: 20 ms at Meta's 20 kbit/s is 50 bytes, this is far more.
pub const MAX_OPUS_PACKET: usize = 400;
/// Samples of the longest packet the decoder takes: 120 ms at 16 kHz (RFC 6716 §2.1.4).
pub const MAX_OPUS_SAMPLES: usize = SampleRate::Wide.samples(120);

/// Bits a second of silence: a room's noise takes 12 to 14 bytes a frame instead of 33 to 46.
const SILENT_BITRATE: i32 = 8000;

/// Whether packets carry a copy of the frame before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redundancy {
    /// In-band forward error correction (RFC 6716 §2.1.7).
    InBand,
    /// None.
    Off,
}

/// Whether silence is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtx {
    /// A byte instead of a frame while nobody speaks, but for one in 400 ms (RFC 6716 §2.1.9).
    On,
    /// A packet for every frame.
    Off,
}

/// The highest audio frequencies that are coded (RFC 6716 §2, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bandwidth {
    /// 4 kHz.
    Narrow,
    /// 6 kHz.
    Medium,
    /// 8 kHz.
    Wide,
}

/// How libopus encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// 0 (least work) to 10.
    pub complexity: u8,
    /// Bits a second; the far end's `maxaveragebitrate` lowers it.
    pub bitrate: u32,
    /// Copies of earlier frames.
    pub redundancy: Redundancy,
    /// The loss in per cent that redundancy is made for while no receiver report came.
    pub expected_loss: u8,
    /// An upper limit; the rate of the pipe is another one.
    pub bandwidth: Bandwidth,
    /// Silence.
    pub dtx: Dtx,
}

/// Measured on speech at 8 kHz with redundancy, µs per 20 ms: complexity 3 takes 60, 5 and 6 take 74, 10 takes 90.
impl Default for EncoderSettings {
    fn default() -> Self {
        Self {
            // Behind G.711, 5 scores the same PESQ as 10; 3 scores 0.02 less.
            complexity: 5,
            // Meta's own limit.
            bitrate: 20_000,
            // A third more work; a frame lost alone comes back nearly whole.
            redundancy: Redundancy::InBand,
            // What a mobile user loses now and then (call-handling rule 12). At 8 kHz that is enough for
            // copies; at 16 kHz and 20 kbit/s libopus makes them from 6 % on, at the price of the
            // frequencies above 6 kHz, so wide-band speech stays wide until loss is reported.
            expected_loss: 5,
            // Beyond it there is nothing: the pipe runs at 16 kHz at most.
            bandwidth: Bandwidth::Wide,
            // Saves a sixth of the work, but what WhatsApp makes of lines that fall silent is not known.
            dtx: Dtx::Off,
        }
    }
}

/// Encodes frames of speech.
pub struct OpusEncoder(opus::Encoder);

impl std::fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusEncoder")
    }
}

impl OpusEncoder {
    /// For speech sampled at `rate`.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(rate: SampleRate, settings: &EncoderSettings) -> Result<Self, CodecError> {
        let make = || -> opus::Result<opus::Encoder> {
            let mut encoder = opus::Encoder::new(rate.hz(), opus::Channels::Mono, opus::Application::Voip)?;
            encoder.set_complexity(i32::from(settings.complexity.min(10)))?;
            encoder.set_signal(opus::Signal::Voice)?;
            encoder.set_inband_fec(settings.redundancy == Redundancy::InBand)?;
            encoder.set_packet_loss_perc(i32::from(settings.expected_loss.min(100)))?;
            encoder.set_bitrate(opus::Bitrate::Bits(i32::try_from(settings.bitrate).unwrap_or(i32::MAX)))?;
            encoder.set_max_bandwidth(match settings.bandwidth {
                Bandwidth::Narrow => opus::Bandwidth::Narrowband,
                Bandwidth::Medium => opus::Bandwidth::Mediumband,
                Bandwidth::Wide => opus::Bandwidth::Wideband,
            })?;
            encoder.set_dtx(settings.dtx == Dtx::On)?;
            Ok(encoder)
        };
        make().map(Self).map_err(|_| CodecError::Memory)
    }

    /// What the far end reports as loss, from which libopus decides how much redundancy to send.
    pub fn expect_loss(&mut self, percent: u8) {
        // Only a value outside 0..=100 is refused.
        let _ = self.0.set_packet_loss_perc(i32::from(percent.min(100)));
    }

    /// Trades work for sound from the next frame on; 0 (least work) to 10.
    pub fn set_complexity(&mut self, complexity: u8) {
        // Only a value outside 0..=10 is refused.
        let _ = self.0.set_complexity(i32::from(complexity.min(10)));
    }

    /// From the next frame on encodes silence: least work, few bits, no copies, which nobody would miss.
    pub fn set_silent(&mut self) {
        let _ = self.0.set_complexity(0);
        let _ = self.0.set_inband_fec(false);
        let _ = self.0.set_bitrate(opus::Bitrate::Bits(SILENT_BITRATE));
    }

    /// From the next frame on encodes speech again, as `settings` say.
    pub fn set_speaking(&mut self, settings: &EncoderSettings) {
        self.set_complexity(settings.complexity);
        let _ = self.0.set_inband_fec(settings.redundancy == Redundancy::InBand);
        let bits = i32::try_from(settings.bitrate).unwrap_or(i32::MAX);
        let _ = self.0.set_bitrate(opus::Bitrate::Bits(bits));
    }

    /// Encodes one frame of 10, 20, 40 or 60 ms and tells its length in `out`.
    ///
    /// # Errors
    /// [`CodecError::Frame`] if libopus refuses, which such a frame and a sound buffer exclude.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        self.0.encode(frame, out).map_err(|_| CodecError::Frame)
    }

    /// Forgets what was said and keeps the settings.
    pub fn reset(&mut self) {
        let _ = self.0.reset_state();
    }

    /// Samples by which the encoder lags.
    #[must_use]
    pub fn look_ahead(&mut self) -> usize {
        self.0.get_lookahead().ok().and_then(|it| usize::try_from(it).ok()).unwrap_or(0)
    }
}

/// Decodes packets of any shape to mono at the rate of the pipe.
pub struct OpusDecoder {
    decoder: opus::Decoder,
    frame: usize,
}

impl std::fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusDecoder")
    }
}

impl OpusDecoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(rate: SampleRate) -> Result<Self, CodecError> {
        let decoder = opus::Decoder::new(rate.hz(), opus::Channels::Mono).map_err(|_| CodecError::Memory)?;
        Ok(Self { decoder, frame: rate.frame() })
    }

    /// Decodes a packet and tells how many samples it held.
    ///
    /// # Errors
    /// [`CodecError::Packet`] if it breaks RFC 6716, is empty, or is longer than `out`.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        if packet.is_empty() {
            return Err(CodecError::Packet);
        }
        self.decoder.decode(packet, out, false).map_err(|_| CodecError::Packet)
    }

    /// Restores the 20 ms before `next` from the redundancy in it; libopus conceals if there is none.
    ///
    /// # Errors
    /// [`CodecError::Packet`] if `next` breaks RFC 6716 or `out` is shorter than 20 ms.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> Result<(), CodecError> {
        if next.is_empty() {
            return self.conceal(out);
        }
        let out = out.get_mut(..self.frame).ok_or(CodecError::Packet)?;
        self.decoder.decode(next, out, true).map(|_| ()).map_err(|_| CodecError::Packet)
    }

    /// Invents what was lost, 20 ms or 10 ms if `out` has no room for more; fades when called again and again.
    ///
    /// # Errors
    /// [`CodecError::Frame`] if `out` is shorter than 20 ms and not 10 ms.
    pub fn conceal(&mut self, out: &mut [i16]) -> Result<(), CodecError> {
        let length = out.len().min(self.frame);
        let out = out.get_mut(..length).ok_or(CodecError::Frame)?;
        self.decoder.decode(&[], out, false).map(|_| ()).map_err(|_| CodecError::Frame)
    }

    /// Forgets what was heard.
    pub fn reset(&mut self) {
        let _ = self.decoder.reset_state();
    }

    /// Ticks of 48 kHz in a packet, at most 120 ms; `None` if it breaks RFC 6716.
    #[must_use]
    pub fn ticks(packet: &[u8]) -> Option<u32> {
        let samples = opus::packet::get_nb_samples(packet, 48_000).ok()?;
        u32::try_from(samples).ok().filter(|it| (1..=5760).contains(it))
    }

    /// True for one mono frame of 20 ms, by the first byte (RFC 6716 §3.1).
    #[must_use]
    pub fn is_mono_frame(packet: &[u8]) -> bool {
        let Some(toc) = packet.first() else { return false };
        let long = match toc >> 3 {
            config @ 0..12 => config % 4 == 1,
            config @ 12..16 => config % 2 == 1,
            config => config % 4 == 3,
        };
        long && toc & 0b111 == 0
    }

    /// True if a single frame says that it holds no voice (RFC 6716 §4.2.3); CELT frames never say so.
    #[must_use]
    pub fn is_quiet(packet: &[u8]) -> bool {
        matches!(packet, [toc, first, ..] if toc >> 3 < 16 && toc & 3 == 0 && first & 0x80 == 0)
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
    use crate::codec::{FRAME_SAMPLES, level_dbov};
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

    fn encoder(expected_loss: u8) -> OpusEncoder {
        let settings = EncoderSettings { expected_loss, ..EncoderSettings::default() };
        OpusEncoder::new(SampleRate::Narrow, &settings).unwrap()
    }

    #[test]
    fn speech_keeps_its_level_through_encoder_and_decoder() {
        let mut encoder = encoder(5);
        let mut decoder = OpusDecoder::new(SampleRate::Narrow).unwrap();
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
        let mut encoder = encoder(10);
        let packets: Vec<Vec<u8>> = (0..60)
            .map(|frame| {
                let mut packet = [0; MAX_OPUS_PACKET];
                let length = encoder.encode(&speech(frame), &mut packet).unwrap();
                packet[..length].to_vec()
            })
            .collect();
        assert!(OpusDecoder::has_redundancy(&packets[28]));
        let error = |recover: bool| {
            let (mut whole, mut lossy) = (
                OpusDecoder::new(SampleRate::Narrow).unwrap(),
                OpusDecoder::new(SampleRate::Narrow).unwrap(),
            );
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
        let mut encoder = encoder(5);
        let mut decoder = OpusDecoder::new(SampleRate::Narrow).unwrap();
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

    #[test]
    fn wide_band_speech_gets_copies_when_loss_is_reported_and_telephone_speech_from_the_start() {
        for (rate, loss, copies) in
            [(SampleRate::Narrow, 5, true), (SampleRate::Wide, 5, false), (SampleRate::Wide, 10, true)]
        {
            let mut encoder = OpusEncoder::new(rate, &EncoderSettings::default()).unwrap();
            encoder.expect_loss(loss);
            let mut packet = [0; MAX_OPUS_PACKET];
            let redundant = (0..50).filter(|frame| {
                let half = speech(*frame);
                let wide: Vec<i16> = half.iter().flat_map(|it| [*it, *it]).collect();
                let samples = if rate == SampleRate::Wide { &wide[..] } else { &half[..] };
                let length = encoder.encode(samples, &mut packet).unwrap();
                OpusDecoder::has_redundancy(&packet[..length])
            });
            let count = redundant.count();
            assert_eq!(count > 25, copies, "{rate:?} with {loss} %: {count} of 50");
        }
    }

    #[test]
    fn a_lower_complexity_takes_effect_in_a_running_encoder() {
        let (mut high, mut low) = (encoder(5), encoder(5));
        let (mut one, mut two) = ([0; MAX_OPUS_PACKET], [0; MAX_OPUS_PACKET]);
        let mut differ = |frames: std::ops::Range<usize>, high: &mut OpusEncoder, low: &mut OpusEncoder| {
            frames.fold(false, |differed, n| {
                let lengths = (high.encode(&speech(n), &mut one), low.encode(&speech(n), &mut two));
                differed || lengths.0 != lengths.1 || one != two
            })
        };
        assert!(!differ(0..25, &mut high, &mut low));
        low.set_complexity(0);
        assert!(differ(25..50, &mut high, &mut low));
    }

    #[test]
    fn the_first_byte_tells_mono_frames_of_twenty_milliseconds() {
        let mono = (0..=255_u8).filter(|toc| OpusDecoder::is_mono_frame(&[*toc, 0]));
        let configs: Vec<u8> = mono.map(|toc| toc >> 3).collect();
        assert_eq!(configs, [1, 5, 9, 13, 15, 19, 23, 27, 31]);
        for config in configs {
            assert_eq!(OpusDecoder::ticks(&[config << 3, 0]), Some(960));
        }
        assert_eq!(OpusDecoder::ticks(&[0b0000_1001, 0, 0]), Some(1920), "two frames");
        assert!(!OpusDecoder::is_mono_frame(&[]) && OpusDecoder::ticks(&[]).is_none());
    }

    #[test]
    fn silence_says_that_it_is_quiet_and_speech_that_it_is_not() {
        let (mut encoder, mut packet) = (encoder(5), [0; MAX_OPUS_PACKET]);
        for n in 0..30 {
            encoder.encode(&speech(n), &mut packet).unwrap();
        }
        assert!(!OpusDecoder::is_quiet(&packet));
        for _ in 0..100 {
            encoder.encode(&[0; FRAME_SAMPLES], &mut packet).unwrap();
        }
        assert!(OpusDecoder::is_quiet(&packet));
    }

    proptest! {
        #[test]
        fn any_packet_is_decoded_or_refused(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut decoder = OpusDecoder::new(SampleRate::Narrow).unwrap();
            let (mut out, mut frame) = ([0; MAX_OPUS_SAMPLES], [0; FRAME_SAMPLES]);
            let _ = decoder.recover(&packet, &mut frame);
            let _ = decoder.decode(&packet, &mut out);
            let _ = OpusDecoder::has_redundancy(&packet);
        }
    }
}
