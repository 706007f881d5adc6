//! The RTP header: a borrowed view to read, twelve bytes to write (RFC 3550 §5.1).

use super::{PayloadType, RtpTime, SeqNo, Ssrc};

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// Shorter than its header, contributing sources or extension say.
    Short,
    /// Not version 2.
    Version,
    /// The padding count is zero or longer than the payload.
    Padding,
}

/// What a datagram on a multiplexed port carries (RFC 7983, RFC 5761 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Media.
    Rtp,
    /// A control report.
    Rtcp,
    /// Neither (STUN, DTLS, keep-alive bytes, garbage).
    Other,
}

/// Tells RTP, RTCP and everything else apart by the first two bytes.
#[must_use]
pub fn packet_kind(bytes: &[u8]) -> PacketKind {
    match bytes {
        [first, second, ..] if first >> 6 == 2 => {
            if (192..=223).contains(second) {
                PacketKind::Rtcp
            } else {
                PacketKind::Rtp
            }
        }
        _ => PacketKind::Other,
    }
}

/// The fixed header of a packet without contributing sources or extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// The marker bit: first packet after silence, first packet of an event.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// Sequence number.
    pub seq: SeqNo,
    /// Time of the first sample.
    pub timestamp: RtpTime,
    /// Source.
    pub ssrc: Ssrc,
}

impl RtpHeader {
    /// Bytes of the fixed header.
    pub const SIZE: usize = 12;

    /// Writes the header; the payload follows it.
    pub fn write(&self, out: &mut [u8; Self::SIZE]) {
        out[0] = 0x80;
        out[1] = (u8::from(self.marker) << 7) | (self.payload_type.0 & 0x7f);
        out[2..4].copy_from_slice(&self.seq.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        self.write(&mut out);
        out
    }
}

/// A received packet: its header and its payload without extension and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The fixed header.
    pub header: RtpHeader,
    /// The media bytes; may be empty (a keep-alive).
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`RtpError`] if the bytes break RFC 3550 §5.1 (A.1 names the same checks).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let (fixed, mut rest) = bytes.split_first_chunk::<{ RtpHeader::SIZE }>().ok_or(RtpError::Short)?;
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        rest = rest.get(usize::from(fixed[0] & 0x0f) * 4..).ok_or(RtpError::Short)?;
        if fixed[0] & 0x10 != 0 {
            let (extension, after) = rest.split_first_chunk::<4>().ok_or(RtpError::Short)?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            rest = after.get(words * 4..).ok_or(RtpError::Short)?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*rest.last().ok_or(RtpError::Padding)?);
            if padding == 0 || padding > rest.len() {
                return Err(RtpError::Padding);
            }
            rest = &rest[..rest.len() - padding];
        }
        Ok(Self {
            header: RtpHeader {
                marker: fixed[1] & 0x80 != 0,
                payload_type: PayloadType(fixed[1] & 0x7f),
                seq: SeqNo(u16::from_be_bytes([fixed[2], fixed[3]])),
                timestamp: RtpTime(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
                ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            },
            payload: rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> RtpHeader {
        RtpHeader {
            marker: true,
            payload_type: PayloadType(111),
            seq: SeqNo(0x1234),
            timestamp: RtpTime(0xdead_beef),
            ssrc: Ssrc(0x0102_0304),
        }
    }

    #[test]
    fn a_written_header_has_the_bytes_of_the_standard_and_reads_back() {
        let bytes = header().to_bytes();
        assert_eq!(bytes, [0x80, 0xef, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4]);
        assert_eq!(RtpPacket::parse(&bytes).unwrap(), RtpPacket { header: header(), payload: &[] });
    }

    #[test]
    fn contributing_sources_extension_and_padding_are_not_payload() {
        let mut bytes = header().to_bytes().to_vec();
        bytes[0] = 0x80 | 0x20 | 0x10 | 1;
        bytes.extend([9, 9, 9, 9]);
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 0x7f, 0, 0]);
        bytes.extend([b'a', b'b', 0, 0, 3]);
        assert_eq!(RtpPacket::parse(&bytes).unwrap().payload, b"ab");
    }

    #[test]
    fn broken_lengths_are_refused() {
        let good = header().to_bytes();
        assert_eq!(RtpPacket::parse(&good[..11]), Err(RtpError::Short));
        let mut sources = good;
        sources[0] = 0x83;
        assert_eq!(RtpPacket::parse(&sources), Err(RtpError::Short));
        let mut extension = good.to_vec();
        extension[0] = 0x90;
        extension.extend([0, 0, 0xff, 0xff, 1]);
        assert_eq!(RtpPacket::parse(&extension), Err(RtpError::Short));
        for count in [0, 4] {
            let mut padded = good.to_vec();
            padded[0] = 0xa0;
            padded.extend([1, 2, count]);
            assert_eq!(RtpPacket::parse(&padded), Err(RtpError::Padding));
        }
        let mut version = good;
        version[0] = 0x40;
        assert_eq!(RtpPacket::parse(&version), Err(RtpError::Version));
    }

    #[test]
    fn the_second_byte_tells_rtcp_from_rtp_and_the_first_from_the_rest() {
        assert_eq!(packet_kind(&[0x80, 200]), PacketKind::Rtcp);
        assert_eq!(packet_kind(&[0x80, 111]), PacketKind::Rtp);
        assert_eq!(packet_kind(&[0x80, 0x80 | 111]), PacketKind::Rtp);
        assert_eq!(packet_kind(&[22, 254]), PacketKind::Other);
        assert_eq!(packet_kind(&[0x80]), PacketKind::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                prop_assert!(packet.payload.len() + RtpHeader::SIZE <= bytes.len());
            }
        }
    }
}
