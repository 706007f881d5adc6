//! Bodies of the fuzz targets; the same code runs under proptest.

use super::{OurReport, SenderFacts, Ssrc, read_rtcp};

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
