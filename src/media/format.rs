//! What a phone sends and takes: codec, payload types, packet length.

use std::time::Duration;

use crate::codec::AudioCodec;
use crate::rtp::PayloadType;

/// What flows one way on the SIP leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneFormat {
    /// The codec; the pipe runs at its rate.
    pub codec: AudioCodec,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// Telephone events.
    pub telephone_event: Option<EventFormat>,
}

/// How telephone events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFormat {
    /// Their payload type.
    pub payload_type: PayloadType,
    /// Ticks a second of their durations: 8000 or 48,000; their time stamps are those of the audio.
    pub clock: u32,
}

impl PhoneFormat {
    /// True if `payload_type` is that of the events.
    #[must_use]
    pub fn is_event(&self, payload_type: PayloadType) -> bool {
        self.telephone_event.is_some_and(|it| it.payload_type == payload_type)
    }
}

/// What the stream towards the phone looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneLine {
    /// Codec and payload types, as we send them.
    pub format: PhoneFormat,
    /// The length of our packets: 10, 20, 30, 40 or 60 ms.
    pub ptime: Duration,
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
        Self { format, ptime: if known { ptime } else { Duration::from_millis(20) } }
    }

    /// The length of our packets in milliseconds.
    #[must_use]
    pub const fn millis(&self) -> usize {
        self.ptime.as_millis() as usize
    }
}
