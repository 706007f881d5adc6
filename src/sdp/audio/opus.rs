//! The `fmtp` parameters of Opus (RFC 7587 §6.1): what a far end wishes, and what we do.

use std::fmt;

use super::super::session::Media;
use crate::rtp::PayloadType;

/// What the far end wishes of the Opus that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusWishes {
    /// Bits a second at most; `None`: it does not mind.
    pub max_average_bitrate: Option<u32>,
    /// Hertz of its playback: higher frequencies are wasted.
    pub max_playback_rate: u32,
    /// It uses redundancy.
    pub in_band_fec: bool,
}

impl Default for OpusWishes {
    /// What holds without an `fmtp` line.
    fn default() -> Self {
        Self { max_average_bitrate: None, max_playback_rate: 48_000, in_band_fec: false }
    }
}

/// The bit rates that the parameter may have (RFC 7587 §6.1); others are read as the nearest.
const BITRATES: std::ops::RangeInclusive<u32> = 6000..=510_000;

impl OpusWishes {
    /// Reads the parameters of `format`; what is not understood counts as not there.
    pub(super) fn of(media: &Media, format: PayloadType) -> Self {
        let number = |name| media.parameter(format, name).and_then(|it| it.parse::<u32>().ok());
        let bitrate = number("maxaveragebitrate");
        Self {
            max_average_bitrate: bitrate.map(|it| it.clamp(*BITRATES.start(), *BITRATES.end())),
            max_playback_rate: number("maxplaybackrate").unwrap_or(48_000),
            in_band_fec: number("useinbandfec") == Some(1),
        }
    }
}

/// What we write: mono, no more than the WhatsApp side may get, redundancy welcome.
pub(super) struct OurOpus {
    /// Bits a second: Meta's `maxaveragebitrate`, so that what comes can go on as it is.
    pub(super) max_average_bitrate: u32,
}

impl fmt::Display for OurOpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bitrate = self.max_average_bitrate;
        write!(
            f,
            "maxaveragebitrate={bitrate};maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;useinbandfec=1"
        )
    }
}
