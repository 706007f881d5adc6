//! RTP and RTCP as bytes and values (RFC 3550, RFC 4733): no clock, no socket, no allocation per packet.

mod dtmf;
pub mod fuzz;
mod packet;
mod reception;
mod rtcp;

pub use dtmf::{Event, EventError, TelephoneEvent};
pub use packet::{PacketKind, RtpError, RtpHeader, RtpPacket, packet_kind};
pub use reception::{Arrival, Reception};
pub use rtcp::{
    NtpTime, ReceivedReport, ReportBlock, RtcpError, RtcpFacts, SenderFacts, read_rtcp, write_bye,
    write_report,
};

/// The synchronisation source of one RTP stream (RFC 3550 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ssrc(pub u32);

/// An RTP sequence number; wraps at 2^16 (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How far `self` lies after `earlier` on the circle, negative if it lies before; -32768 to 32767.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// An RTP time stamp in ticks of the stream's clock; wraps at 2^32 (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// This time moved by `ticks`, over the wrap.
    #[must_use]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// How many ticks `self` lies after `earlier` on the circle, negative if it lies before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// An RTP payload type, 0 to 127 (RFC 3551 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PayloadType(pub u8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_and_time_compare_over_their_wraps() {
        assert_eq!(SeqNo(2).since(SeqNo(65_534)), 4);
        assert_eq!(SeqNo(65_534).since(SeqNo(2)), -4);
        assert_eq!(SeqNo(65_535).next(), SeqNo(0));
        assert_eq!(RtpTime(100).since(RtpTime(u32::MAX - 99)), 200);
        assert_eq!(RtpTime(u32::MAX).plus(160), RtpTime(159));
    }
}
