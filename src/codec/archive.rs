//! Opus as a recorder needs it: both sides of a call in one stereo stream at 16 kHz.

use super::OpusError;

/// Samples a second and channel of a recording.
pub const ARCHIVE_RATE: u32 = 16_000;
/// Samples a channel of a stereo frame, 20 ms.
pub const ARCHIVE_FRAME: usize = 320;
/// The largest packet the encoder writes.
pub const MAX_ARCHIVE_PACKET: usize = 1275;

/// Behind a telephone codec, 1 sounds like 10; it costs half of what 3 does, where the pitch search begins.
const COMPLEXITY: i32 = 1;

/// Encodes 20 ms frames of two people, one a channel.
pub struct ArchiveEncoder(opus::Encoder);

impl std::fmt::Debug for ArchiveEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArchiveEncoder")
    }
}

impl ArchiveEncoder {
    /// For `bitrate` bits a second, both sides together.
    ///
    /// The speech mode of Opus is asked for because it keeps the sides apart: at 32 kbit/s one is heard in
    /// the other's channel 38 dB down while both talk and not at all otherwise; the music mode, 30 dB down.
    ///
    /// # Errors
    /// [`OpusError::Memory`] if libopus cannot make its state.
    pub fn new(bitrate: u32) -> Result<Self, OpusError> {
        let make = || -> opus::Result<opus::Encoder> {
            let mut encoder =
                opus::Encoder::new(ARCHIVE_RATE, opus::Channels::Stereo, opus::Application::Voip)?;
            encoder.set_complexity(COMPLEXITY)?;
            encoder.set_signal(opus::Signal::Voice)?;
            encoder.set_bitrate(opus::Bitrate::Bits(i32::try_from(bitrate).unwrap_or(i32::MAX)))?;
            Ok(encoder)
        };
        make().map(Self).map_err(|_| OpusError::Memory)
    }

    /// Encodes one frame of interleaved samples, left first, and tells its length in `out`.
    ///
    /// # Errors
    /// [`OpusError::Frame`] if libopus refuses, which a 20 ms frame and a sound buffer exclude.
    pub fn encode(
        &mut self,
        frame: &[i16; 2 * ARCHIVE_FRAME],
        out: &mut [u8; MAX_ARCHIVE_PACKET],
    ) -> Result<usize, OpusError> {
        self.0.encode(frame, out).map_err(|_| OpusError::Frame)
    }

    /// Samples a channel by which the encoder lags.
    #[must_use]
    pub fn look_ahead(&mut self) -> usize {
        self.0.get_lookahead().ok().and_then(|it| usize::try_from(it).ok()).unwrap_or(0)
    }
}

/// Decodes what [`ArchiveEncoder`] made.
pub struct ArchiveDecoder(opus::Decoder);

impl std::fmt::Debug for ArchiveDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArchiveDecoder")
    }
}

impl ArchiveDecoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`OpusError::Memory`] if libopus cannot make its state.
    pub fn new() -> Result<Self, OpusError> {
        opus::Decoder::new(ARCHIVE_RATE, opus::Channels::Stereo).map(Self).map_err(|_| OpusError::Memory)
    }

    /// Decodes a packet of 20 ms to interleaved samples.
    ///
    /// # Errors
    /// [`OpusError::Packet`] if it breaks RFC 6716 or holds more.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16; 2 * ARCHIVE_FRAME]) -> Result<usize, OpusError> {
        self.0.decode(packet, out, false).map_err(|_| OpusError::Packet)
    }
}

/// Decodes one side of a call to 16 kHz mono, with all that a recorder's patience allows.
pub struct SideDecoder(opus::Decoder);

impl std::fmt::Debug for SideDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SideDecoder")
    }
}

impl SideDecoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`OpusError::Memory`] if libopus cannot make its state.
    pub fn new() -> Result<Self, OpusError> {
        opus::Decoder::new(ARCHIVE_RATE, opus::Channels::Mono).map(Self).map_err(|_| OpusError::Memory)
    }

    /// Decodes a packet into `out`, which takes 120 ms, and tells how many samples it held.
    ///
    /// # Errors
    /// [`OpusError::Packet`] if it breaks RFC 6716 or is empty.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Result<usize, OpusError> {
        if packet.is_empty() {
            return Err(OpusError::Packet);
        }
        self.0.decode(packet, out, false).map_err(|_| OpusError::Packet)
    }

    /// Fills `out`, a multiple of 2.5 ms, with what was lost: from the redundancy of the packet after it where
    /// there is any, else invented.
    ///
    /// # Errors
    /// [`OpusError::Packet`] if `next` breaks RFC 6716 or the length is none of libopus's.
    pub fn restore(&mut self, next: &[u8], out: &mut [i16]) -> Result<(), OpusError> {
        self.0.decode(next, out, !next.is_empty()).map(|_| ()).map_err(|_| OpusError::Packet)
    }
}
