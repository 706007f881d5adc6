//! RTP's numbers (RFC 3550).

/// Synchronisation source: who sends a stream (RFC 3550 §5.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

/// Sequence number of a packet in its stream; wraps (RFC 3550 §5.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(pub u16);

/// Media time stamp in ticks of the stream's clock; wraps (RFC 3550 §5.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RtpTime(pub u32);

/// Payload type, 0 to 127 (RFC 3550 §5.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(pub u8);
