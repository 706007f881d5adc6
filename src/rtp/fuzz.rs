//! Bodies of the fuzz targets for media packets; the same code replays their seeds in the tests.

use super::{RtpPacket, Ssrc, TelephoneEvent, packet_kind, read_rtcp};

/// Reads any datagram as RTP and its payload as a telephone event.
///
/// # Panics
/// If a telephone event that was read is written as another.
pub fn packet(bytes: &[u8]) {
    let _ = packet_kind(bytes);
    let Ok(packet) = RtpPacket::parse(bytes) else { return };
    assert!(packet.payload.len() + 12 <= bytes.len(), "a payload lies within its packet");
    if let Ok(event) = TelephoneEvent::parse(packet.payload) {
        let again = TelephoneEvent::parse(&event.to_bytes()).expect("a written event can be read");
        assert_eq!(event, again, "writing after reading is the identity");
    }
}

/// Reads any datagram as compound RTCP, for a stream of ours that it may or may not speak of.
pub fn rtcp(bytes: &[u8]) {
    let _ = read_rtcp(bytes, Ssrc(1));
    let of_ours = bytes.get(8..12).and_then(|it| it.try_into().ok()).map(u32::from_be_bytes);
    if let Some(ssrc) = of_ours {
        let _ = read_rtcp(bytes, Ssrc(ssrc));
    }
}
