//! Speech for the phone, cut into packets of the length that it asked for.

use std::time::Duration;

use super::format::PhoneLine;
use crate::codec::{AudioCodec, CodecError, EncoderSettings, MAX_OPUS_PACKET, SpeechEncoder};

/// Samples that may come at once: the longest packet of Opus.
const STORAGE: usize = crate::codec::MAX_OPUS_SAMPLES * 2;

/// The phone's encoder and what waits to fill a packet.
#[derive(Debug)]
pub struct Packetizer {
    encoder: SpeechEncoder,
    codec: AudioCodec,
    /// Samples of a packet.
    packet: usize,
    /// Samples that are not encoded yet: of Opus, which encodes whole packets.
    pcm: Vec<i16>,
    /// Encoded bytes, those before `taken` already given away.
    codes: Vec<u8>,
    taken: usize,
    /// Bytes of a packet; only of codecs that have a byte for every sample or two.
    packet_bytes: usize,
}

impl Packetizer {
    /// A packetizer for what was agreed; `settings` are for Opus.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(line: &PhoneLine, settings: &EncoderSettings) -> Result<Self, CodecError> {
        let codec = line.format.codec;
        Ok(Self {
            encoder: SpeechEncoder::new(codec, &line.settings(settings))?,
            codec,
            packet: codec.rate().samples(line.millis()),
            pcm: Vec::with_capacity(if codec == AudioCodec::Opus { STORAGE } else { 0 }),
            codes: Vec::with_capacity(STORAGE / 2),
            taken: 0,
            packet_bytes: line.millis() * 8,
        })
    }

    /// Another packet length; what waits stays.
    pub const fn set_length(&mut self, line: &PhoneLine) {
        self.packet = self.codec.rate().samples(line.millis());
        self.packet_bytes = line.millis() * 8;
    }

    /// Takes samples of the codec's rate; too many to store are dropped.
    pub fn push(&mut self, samples: &[i16]) {
        if let SpeechEncoder::Opus(_) = self.encoder {
            if self.pcm.len() + samples.len() <= STORAGE {
                self.pcm.extend_from_slice(samples);
            }
            return;
        }
        let start = self.codes.len();
        self.codes.resize(start + samples.len(), 0);
        let length = self.encoder.encode(samples, &mut self.codes[start..]).unwrap_or(0);
        self.codes.truncate(start + length);
    }

    /// The payload of the next packet, if there is enough for one.
    pub fn packet(&mut self) -> Option<&[u8]> {
        if let SpeechEncoder::Opus(encoder) = &mut self.encoder {
            if self.pcm.len() < self.packet {
                return None;
            }
            self.codes.resize(MAX_OPUS_PACKET, 0);
            let length = encoder.encode(&self.pcm[..self.packet], &mut self.codes);
            self.pcm.drain(..self.packet);
            return length.ok().map(|length| &self.codes[..length]);
        }
        let start = self.taken;
        if start + self.packet_bytes > self.codes.len() {
            self.codes.drain(..start);
            self.taken = 0;
            return None;
        }
        self.taken += self.packet_bytes;
        Some(&self.codes[start..self.taken])
    }

    /// Ticks of the RTP clock in a packet.
    #[must_use]
    pub const fn ticks(&self) -> u32 {
        self.codec.ticks(self.packet)
    }

    /// How long a packet lasts.
    #[must_use]
    pub const fn length(&self) -> Duration {
        Duration::from_millis(self.packet as u64 * 1000 / self.codec.rate().hz() as u64)
    }

    /// Forgets what waits and tells its ticks.
    pub fn clear(&mut self) -> u32 {
        let samples = match self.codec {
            AudioCodec::Opus => self.pcm.len(),
            AudioCodec::G722 => (self.codes.len() - self.taken) * 2,
            AudioCodec::Pcmu | AudioCodec::Pcma => self.codes.len() - self.taken,
        };
        self.pcm.clear();
        self.codes.clear();
        self.taken = 0;
        self.codec.ticks(samples)
    }

    /// Trades work for sound; only of Opus.
    pub fn set_complexity(&mut self, complexity: u8) {
        if let SpeechEncoder::Opus(encoder) = &mut self.encoder {
            encoder.set_complexity(complexity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::PhoneFormat;
    use super::*;
    use crate::rtp::PayloadType;

    fn packetizer(codec: AudioCodec, millis: u64) -> Packetizer {
        let format = PhoneFormat { codec, payload_type: PayloadType(0), events: [None, None] };
        let line = PhoneLine::new(format, Duration::from_millis(millis));
        Packetizer::new(&line, &EncoderSettings::default()).unwrap()
    }

    #[test]
    fn packets_are_as_long_as_was_asked_whatever_comes_in_and_no_sample_is_lost() {
        for codec in AudioCodec::ALL {
            for millis in [10, 20, 30, 40, 60] {
                let mut packetizer = packetizer(codec, millis);
                let expected = if codec == AudioCodec::Opus && millis == 30 { 20 } else { millis };
                assert_eq!(packetizer.length(), Duration::from_millis(expected), "{codec:?}");
                let (mut packets, mut bytes) = (0, 0);
                for n in 0..60 {
                    packetizer.push(&vec![100; codec.rate().samples([20, 40, 60][n % 3])]);
                    while let Some(payload) = packetizer.packet() {
                        packets += 1;
                        bytes += payload.len();
                    }
                }
                assert_eq!(packets, 2400 / expected, "{codec:?} {millis}");
                assert_eq!(packetizer.ticks(), codec.clock() / 1000 * expected as u32);
                assert!(codec == AudioCodec::Opus || bytes == 2400 * 8);
                assert_eq!(packetizer.clear(), 0);
            }
        }
    }

    #[test]
    fn what_waits_is_told_in_ticks_when_it_is_forgotten() {
        for codec in AudioCodec::ALL {
            let mut packetizer = packetizer(codec, 60);
            packetizer.push(&vec![100; codec.rate().samples(70)]);
            assert!(packetizer.packet().is_some());
            assert_eq!(packetizer.clear(), codec.clock() / 100, "{codec:?}");
            assert!(packetizer.packet().is_none());
        }
    }
}
