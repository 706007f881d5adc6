//! Bodies of the fuzz targets for media packets; the same code replays their seeds in the tests.

use super::{OurReport, RtpPacket, SenderFacts, Ssrc, TelephoneEvent, packet_kind, read_rtcp};

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

/// Reads `bytes` as RTCP; what was read must be written and read back as the same.
///
/// # Panics
/// If it is not: that is the bug a fuzzer looks for.
pub fn rtcp(bytes: &[u8]) {
    let Ok(facts) = read_rtcp(bytes, Ssrc(1)) else { return };
    for report in &facts.reports {
        let sender =
            report.sender.map(|ntp| SenderFacts { ntp, rtp: Default::default(), packets: 0, octets: 0 });
        let (ssrc, block) = (report.ssrc, report.block);
        let written = OurReport { ssrc, sender, block, cname: "gw", extended: &facts.extended }.write();
        let again = read_rtcp(&written, Ssrc(1)).expect("our own report can be read");
        assert_eq!(again.reports, [*report], "reading after writing is the identity");
        assert_eq!(again.extended.len(), facts.extended.len());
    }
}
