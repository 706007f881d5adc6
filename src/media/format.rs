//! What a phone sends and takes: codec, payload types, packet length.

use std::time::Duration;

use crate::codec::{AudioCodec, Bandwidth, EncoderSettings, Redundancy};
use crate::rtp::PayloadType;
pub use crate::sdp::audio::{EventFormat, OpusWishes};

/// Whether Opus packets may go from one leg to the other without being decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// When both sides speak Opus.
    Allowed,
    /// Somebody needs every sample: a recording, a playout buffer.
    Forbidden,
}

/// What flows one way on the SIP leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneFormat {
    /// The codec; the pipe runs at its rate.
    pub codec: AudioCodec,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Telephone events: as they may come, or the one way in which we write them.
    pub events: [Option<EventFormat>; 2],
}

impl PhoneFormat {
    /// How a packet of `payload_type` writes events; `None` if it holds none.
    #[must_use]
    pub fn events_of(&self, payload_type: PayloadType) -> Option<EventFormat> {
        self.events.into_iter().flatten().find(|it| it.payload_type == payload_type)
    }

    /// True if keys can come as events, in either clock.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.events.iter().any(Option::is_some)
    }

    /// How we write events.
    #[must_use]
    pub fn events(&self) -> Option<EventFormat> {
        self.events[0]
    }
}

/// What the stream towards the phone looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneLine {
    /// Codec and payload types, as we send them.
    pub format: PhoneFormat,
    /// The length of our packets: 10, 20, 30, 40 or 60 ms.
    pub ptime: Duration,
    /// What the phone wishes of Opus.
    pub wishes: OpusWishes,
}

impl PhoneLine {
    /// With the packet length the phone asked for; what the codec cannot do becomes 20 ms.
    #[must_use]
    pub fn new(format: PhoneFormat, ptime: Duration) -> Self {
        let known = match ptime.as_millis() {
            // Opus has no frame of 30 ms (RFC 6716 §2.1.4).
            30 => format.codec != AudioCodec::Opus,
            10 | 20 | 40 | 60 => true,
            _ => false,
        };
        let ptime = if known { ptime } else { Duration::from_millis(20) };
        Self { format, ptime, wishes: OpusWishes::default() }
    }

    /// How Opus is encoded for this phone: `settings` as far as it wishes no less.
    #[must_use]
    pub fn settings(&self, settings: &EncoderSettings) -> EncoderSettings {
        let OpusWishes { max_average_bitrate, max_playback_rate, in_band_fec } = self.wishes;
        EncoderSettings {
            bitrate: settings.bitrate.min(max_average_bitrate.unwrap_or(u32::MAX)),
            redundancy: if in_band_fec { settings.redundancy } else { Redundancy::Off },
            bandwidth: match max_playback_rate {
                ..=8000 => Bandwidth::Narrow,
                8001..=12_000 if settings.bandwidth == Bandwidth::Wide => Bandwidth::Medium,
                _ => settings.bandwidth,
            },
            ..*settings
        }
    }

    /// True if Opus packets of `bitrate` bits a second and 20 ms may go to this phone as they are.
    #[must_use]
    pub fn takes_opus(&self, bitrate: u32) -> bool {
        self.format.codec == AudioCodec::Opus
            && self.ptime == Duration::from_millis(20)
            && self.wishes.max_average_bitrate.is_none_or(|most| most >= bitrate)
    }

    /// The length of our packets in milliseconds.
    #[must_use]
    pub const fn millis(&self) -> usize {
        self.ptime.as_millis() as usize
    }
}

impl PhoneLine {
    /// How the pipes of a call with this phone run, for its record; `bitrate` is Meta's.
    #[must_use]
    pub fn route(&self, bitrate: u32) -> String {
        let codec = self.format.codec;
        let (name, clock, millis) = (codec.name(), codec.clock(), self.millis());
        let (to_phone, to_meta) = match codec {
            AudioCodec::Opus if self.takes_opus(bitrate) => ("pass-through", "pass-through, comfort"),
            AudioCodec::Opus => ("redundancy, plc", "pass-through, comfort"),
            _ => ("redundancy, plc", "relay, comfort"),
        };
        format!(
            "opus/48000 → {to_phone} → {name}/{clock} {millis} ms; {name}/{clock} → {to_meta} → opus/48000 20 ms"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(wishes: OpusWishes) -> PhoneLine {
        let format =
            PhoneFormat { codec: AudioCodec::Opus, payload_type: PayloadType(96), events: [None, None] };
        PhoneLine { wishes, ..PhoneLine::new(format, Duration::from_millis(20)) }
    }

    #[test]
    fn the_phones_wishes_lower_what_we_would_send_and_never_raise_it() {
        let ours = EncoderSettings::default();
        let modest =
            OpusWishes { max_average_bitrate: Some(12_000), max_playback_rate: 8000, in_band_fec: true };
        let told = line(modest).settings(&ours);
        assert_eq!((told.bitrate, told.bandwidth), (12_000, Bandwidth::Narrow));
        assert_eq!(told.redundancy, Redundancy::InBand);
        let rich = OpusWishes { max_average_bitrate: Some(510_000), ..OpusWishes::default() };
        let told = line(rich).settings(&ours);
        assert_eq!((told.bitrate, told.bandwidth), (ours.bitrate, Bandwidth::Wide));
        assert_eq!(told.redundancy, Redundancy::Off, "it did not say that it uses copies");
        assert!(line(rich).takes_opus(20_000) && !line(modest).takes_opus(20_000));
    }
}
