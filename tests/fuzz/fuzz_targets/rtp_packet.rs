//! Any datagram as RTP, RTCP and a telephone event.
#![no_main]

use cordboard::rtp::{RtpPacket, Ssrc, TelephoneEvent, packet_kind, read_rtcp};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = packet_kind(bytes);
    let _ = read_rtcp(bytes, Ssrc(1));
    if let Ok(packet) = RtpPacket::parse(bytes) {
        let _ = TelephoneEvent::parse(packet.payload);
    }
});
