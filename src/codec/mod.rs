//! Speech codecs: frames in, samples out and back; the only folder that names a codec library.
//!
//! Speech is mono at the phone codec's own [`SampleRate`]. Opus is decoded to and encoded from that
//! rate by libopus itself, so there is no resampler between a WhatsApp user and any phone.

mod archive;
mod g711;
mod g722;
mod opus;
mod rate;
mod speech;

pub use archive::{
    ARCHIVE_FRAME, ARCHIVE_MAPPING, ARCHIVE_RATE, ARCHIVE_STREAMS, ArchiveChannels, ArchiveDecoder,
    ArchiveEncoder, MAX_ARCHIVE_PACKET,
};
pub use g711::G711;
pub use g722::{G722Decoder, G722Encoder};
pub use opus::{
    Bandwidth, Dtx, EncoderSettings, MAX_OPUS_PACKET, MAX_OPUS_SAMPLES, OpusDecoder, OpusEncoder, Redundancy,
};
pub use rate::RateChange;
pub use speech::{SpeechDecoder, SpeechEncoder};

/// Samples of a 20 ms frame at 8 kHz.
pub const FRAME_SAMPLES: usize = SampleRate::Narrow.frame();
/// Samples of a 20 ms frame at the highest rate.
pub const MAX_FRAME_SAMPLES: usize = SampleRate::Wide.frame();

/// How often a second speech is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleRate {
    /// 8 kHz: telephone speech.
    Narrow,
    /// 16 kHz: wide-band speech.
    Wide,
}

impl SampleRate {
    /// In hertz.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Narrow => 8000,
            Self::Wide => 16_000,
        }
    }

    /// Samples in so many milliseconds.
    #[must_use]
    pub const fn samples(self, millis: usize) -> usize {
        millis * (self.hz() as usize / 1000)
    }

    /// Samples of a frame of 20 ms.
    #[must_use]
    pub const fn frame(self) -> usize {
        self.samples(20)
    }
}

/// A codec of the SIP side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// G.711 µ-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.722 at 64 kbit/s, static payload type 9.
    G722,
    /// Opus (RFC 7587), a dynamic payload type.
    Opus,
}

impl AudioCodec {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// The encoding name of `a=rtpmap` (RFC 3551 §6, RFC 7587 §7).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// RTP clock in Hz: 8000 for G.722 although it samples at 16 kHz (RFC 3551 §4.5.2).
    #[must_use]
    pub const fn clock(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            Self::Opus => 48_000,
        }
    }

    /// Channels in `a=rtpmap`: 2 for Opus whatever it carries (RFC 7587 §7).
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
            Self::Opus => 2,
        }
    }

    /// The rate at which a pipe with this codec on its phone side runs.
    #[must_use]
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::Narrow,
            Self::G722 | Self::Opus => SampleRate::Wide,
        }
    }

    /// Ticks of the RTP clock in so many samples of [`Self::rate`].
    #[must_use]
    pub const fn ticks(self, samples: usize) -> u32 {
        (samples as u64 * self.clock() as u64 / self.rate().hz() as u64) as u32
    }

    /// Samples of [`Self::rate`] in so many ticks of the RTP clock.
    #[must_use]
    pub const fn samples(self, ticks: u32) -> usize {
        (ticks as u64 * self.rate().hz() as u64 / self.clock() as u64) as usize
    }
}

/// Why a codec refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The state could not be made.
    Memory,
    /// The packet breaks its codec's rules, or is longer than the storage for it.
    Packet,
    /// A frame of a length that the codec has not.
    Frame,
}

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

    #[test]
    fn twenty_milliseconds_are_the_ticks_of_each_standard() {
        let ticks = AudioCodec::ALL.map(|codec| codec.ticks(codec.rate().frame()));
        assert_eq!(ticks, [160, 160, 160, 960]);
        let samples = AudioCodec::ALL.map(|codec| codec.samples(codec.clock() / 50));
        assert_eq!(samples, [160, 160, 320, 320]);
    }
}
