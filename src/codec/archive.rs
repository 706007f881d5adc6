//! Opus as a recorder needs it: both sides of a call in one packet, at 16 kHz.

use super::CodecError;

/// Samples a second and channel of a recording.
pub const ARCHIVE_RATE: u32 = 16_000;
/// Samples a channel of a stereo frame, 20 ms.
pub const ARCHIVE_FRAME: usize = 320;
/// The largest packet the encoder writes.
pub const MAX_ARCHIVE_PACKET: usize = 2 * 1275;

/// Behind a telephone codec, 1 sounds like 10; it costs half of what 3 does, where the pitch search begins.
const COMPLEXITY: i32 = 1;

/// Two streams of Opus, one a channel, and none for both: [`ArchiveEncoder`] says why.
pub const ARCHIVE_STREAMS: u8 = 2;
/// The stream of each channel.
pub const ARCHIVE_MAPPING: [u8; 2] = [0, 1];

/// Encodes 20 ms frames of two people, one a channel.
///
/// Each channel has a stream of its own in the packet (RFC 7845 §5.1.1.2). As a stereo pair, which libopus codes
/// as sum and difference, one person was heard in the other's channel 18 dB down at 32 kbit/s while both
/// spoke, and cost as much.
pub struct ArchiveEncoder {
    encoder: opus::MSEncoder,
    channels: ArchiveChannels,
}

/// Who is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveChannels {
    /// Both, left and right.
    Two,
    /// The left one alone.
    Left,
}

impl std::fmt::Debug for ArchiveEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArchiveEncoder")
    }
}

impl ArchiveEncoder {
    /// For `bitrate` bits a second, all channels together. Nothing is left out of a pause: what libopus takes for
    /// noise may be music on hold.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new(bitrate: u32, channels: ArchiveChannels) -> Result<Self, CodecError> {
        let (streams, mapping): (u8, &[u8]) = match channels {
            ArchiveChannels::Two => (ARCHIVE_STREAMS, &ARCHIVE_MAPPING),
            ArchiveChannels::Left => (1, &[0]),
        };
        let make = || -> opus::Result<opus::MSEncoder> {
            let mut encoder =
                opus::MSEncoder::new(ARCHIVE_RATE, streams, 0, mapping, opus::Application::Voip)?;
            encoder.set_complexity(COMPLEXITY)?;
            encoder.set_signal(opus::Signal::Voice)?;
            encoder.set_bitrate(opus::Bitrate::Bits(i32::try_from(bitrate).unwrap_or(i32::MAX)))?;
            Ok(encoder)
        };
        make().map(|encoder| Self { encoder, channels }).map_err(|_| CodecError::Memory)
    }

    /// Encodes one frame of interleaved samples, left first, and tells its length in `out`.
    ///
    /// # Errors
    /// [`CodecError::Frame`] if libopus refuses, which a 20 ms frame and a sound buffer exclude.
    pub fn encode(
        &mut self,
        frame: &[i16; 2 * ARCHIVE_FRAME],
        out: &mut [u8; MAX_ARCHIVE_PACKET],
    ) -> Result<usize, CodecError> {
        let encoded = match self.channels {
            ArchiveChannels::Two => self.encoder.encode(frame, out),
            ArchiveChannels::Left => {
                let mut left = [0; ARCHIVE_FRAME];
                for (sample, both) in left.iter_mut().zip(frame.chunks_exact(2)) {
                    *sample = both[0];
                }
                self.encoder.encode(&left, out)
            }
        };
        encoded.map_err(|_| CodecError::Frame)
    }

    /// Samples a channel by which the encoder lags.
    #[must_use]
    pub fn look_ahead(&mut self) -> usize {
        self.encoder.get_lookahead().ok().and_then(|it| usize::try_from(it).ok()).unwrap_or(0)
    }
}

/// Decodes what [`ArchiveEncoder`] made.
pub struct ArchiveDecoder(opus::MSDecoder);

impl std::fmt::Debug for ArchiveDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArchiveDecoder")
    }
}

impl ArchiveDecoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`CodecError::Memory`] if libopus cannot make its state.
    pub fn new() -> Result<Self, CodecError> {
        opus::MSDecoder::new(ARCHIVE_RATE, ARCHIVE_STREAMS, 0, &ARCHIVE_MAPPING)
            .map(Self)
            .map_err(|_| CodecError::Memory)
    }

    /// Decodes a packet of 20 ms to interleaved samples.
    ///
    /// # Errors
    /// [`CodecError::Packet`] if it breaks RFC 6716 or holds more.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16; 2 * ARCHIVE_FRAME]) -> Result<usize, CodecError> {
        self.0.decode(packet, out, false).map_err(|_| CodecError::Packet)
    }
}
