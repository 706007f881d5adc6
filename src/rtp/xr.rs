//! RTCP extended reports (RFC 3611): VoIP metrics, and round trips for receivers that send nothing.

use std::time::Duration;

use rtc_rtcp::Packet;
use rtc_rtcp::extended_report::{
    DLRRReport, DLRRReportBlock, ExtendedReport, ReceiverReferenceTimeReportBlock, VoIPMetricsReportBlock,
};
use rtc_rtcp::packet::unmarshal;

use super::Ssrc;
use super::rtcp::{NtpTime, round_trip};

/// What stands in a field of eight bits that its sender cannot fill (RFC 3611 §4.7).
const UNAVAILABLE: u8 = 127;

/// One block of an extended report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// How its sender hears a stream (§4.7).
    VoipMetrics(VoipMetrics),
    /// A receiver's clock, to be given back (§4.4).
    ReferenceTime {
        /// Who asks.
        ssrc: Ssrc,
        /// Its time.
        ntp: NtpTime,
    },
    /// A clock given back (§4.5).
    Returned {
        /// Whose clock.
        to: Ssrc,
        /// The middle 32 bits of its time.
        last: u32,
        /// How long it was kept, in 65536ths of a second.
        delay: u32,
    },
}

impl Extended {
    /// The round trip of a clock of ours that came back; `None` for anything else.
    #[must_use]
    pub fn round_trip(&self, ours: Ssrc, now: NtpTime) -> Option<Duration> {
        match self {
            Self::Returned { to, last, delay } if *to == ours && *last != 0 => round_trip(now, *last, *delay),
            _ => None,
        }
    }
}

/// The VoIP metrics of one stream (RFC 3611 §4.7); rates and densities in 256ths, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VoipMetrics {
    /// The stream reported on.
    pub ssrc: Ssrc,
    /// Packets that never came.
    pub loss_rate: u8,
    /// Packets that came too late for the jitter buffer.
    pub discard_rate: u8,
    /// Loss within bursts.
    pub burst_density: u8,
    /// Loss within gaps.
    pub gap_density: u8,
    /// Mean burst.
    pub burst_duration: u16,
    /// Mean gap.
    pub gap_duration: u16,
    /// Network round trip, 0 if unknown.
    pub round_trip: u16,
    /// Inside the reporting end: jitter buffer, decoder, encoder.
    pub end_system_delay: u16,
    /// Packets received in a row that end a burst.
    pub gmin: u8,
    /// R factor, 0 to 100.
    pub r_factor: Option<u8>,
    /// Listening quality in tenths, 10 to 50.
    pub mos_lq: Option<u8>,
    /// Conversational quality in tenths, 10 to 50.
    pub mos_cq: Option<u8>,
    /// Concealment and jitter buffer as bits: PLC 2, adaptive 2, rate 4.
    pub rx_config: u8,
    /// Jitter buffer now.
    pub jb_nominal: u16,
    /// Jitter buffer, the most it was.
    pub jb_maximum: u16,
    /// Jitter buffer, the most it can be.
    pub jb_abs_max: u16,
}

/// A packet of type 207 with these blocks.
pub(super) fn extended_report(ssrc: Ssrc, blocks: &[Extended]) -> Box<dyn Packet> {
    let reports = blocks.iter().map(|block| -> Box<dyn Packet> {
        match *block {
            Extended::VoipMetrics(metrics) => Box::new(block_of(&metrics)),
            Extended::ReferenceTime { ntp, .. } => {
                Box::new(ReceiverReferenceTimeReportBlock { ntp_timestamp: ntp.0 })
            }
            Extended::Returned { to, last, delay } => Box::new(DLRRReportBlock {
                reports: vec![DLRRReport { ssrc: to.0, last_rr: last, dlrr: delay }],
            }),
        }
    });
    Box::new(ExtendedReport { sender_ssrc: ssrc.0, reports: reports.collect() })
}

fn block_of(metrics: &VoipMetrics) -> VoIPMetricsReportBlock {
    VoIPMetricsReportBlock {
        ssrc: metrics.ssrc.0,
        loss_rate: metrics.loss_rate,
        discard_rate: metrics.discard_rate,
        burst_density: metrics.burst_density,
        gap_density: metrics.gap_density,
        burst_duration: metrics.burst_duration,
        gap_duration: metrics.gap_duration,
        round_trip_delay: metrics.round_trip,
        end_system_delay: metrics.end_system_delay,
        signal_level: UNAVAILABLE,
        noise_level: UNAVAILABLE,
        rerl: UNAVAILABLE,
        gmin: metrics.gmin,
        rfactor: metrics.r_factor.unwrap_or(UNAVAILABLE),
        ext_rfactor: UNAVAILABLE,
        mos_lq: metrics.mos_lq.unwrap_or(UNAVAILABLE),
        mos_cq: metrics.mos_cq.unwrap_or(UNAVAILABLE),
        rx_config: metrics.rx_config,
        reserved: 0,
        jb_nominal: metrics.jb_nominal,
        jb_maximum: metrics.jb_maximum,
        jb_abs_max: metrics.jb_abs_max,
    }
}

fn metrics_of(block: &VoIPMetricsReportBlock) -> VoipMetrics {
    let score = |value: u8| Some(value).filter(|it| (10..=50).contains(it));
    VoipMetrics {
        ssrc: Ssrc(block.ssrc),
        loss_rate: block.loss_rate,
        discard_rate: block.discard_rate,
        burst_density: block.burst_density,
        gap_density: block.gap_density,
        burst_duration: block.burst_duration,
        gap_duration: block.gap_duration,
        round_trip: block.round_trip_delay,
        end_system_delay: block.end_system_delay,
        gmin: block.gmin,
        r_factor: Some(block.rfactor).filter(|it| *it <= 100),
        mos_lq: score(block.mos_lq),
        mos_cq: score(block.mos_cq),
        rx_config: block.rx_config,
        jb_nominal: block.jb_nominal,
        jb_maximum: block.jb_maximum,
        jb_abs_max: block.jb_abs_max,
    }
}

/// Adds the blocks of a packet of type 207 that we know; one that cannot be read ends the reading.
pub(super) fn read_extended(packet: &[u8], found: &mut Vec<Extended>) {
    let Some((header, mut rest)) = packet.split_first_chunk::<8>() else { return };
    let ssrc = Ssrc(u32::from_be_bytes([header[4], header[5], header[6], header[7]]));
    while let Some(start) = rest.first_chunk::<4>() {
        let length = (usize::from(u16::from_be_bytes([start[2], start[3]])) + 1) * 4;
        let Some((block, after)) = rest.split_at_checked(length) else { return };
        // The library reads whole packets, and one odd block of another type would cost all of them.
        if matches!(start[0], 4 | 5 | 7) && read_block(ssrc, header, block, found).is_none() {
            return;
        }
        rest = after;
    }
}

fn read_block(ssrc: Ssrc, header: &[u8; 8], block: &[u8], found: &mut Vec<Extended>) -> Option<()> {
    let words = u16::try_from(block.len() / 4 + 1).ok()?.to_be_bytes();
    let mut alone = vec![0x80, 207, words[0], words[1]];
    alone.extend(&header[4..]);
    alone.extend(block);
    let packets = unmarshal(&mut alone.as_slice()).ok()?;
    let report = packets.first()?.as_any().downcast_ref::<ExtendedReport>()?;
    for block in report.reports.iter().map(|it| it.as_any()) {
        if let Some(block) = block.downcast_ref::<VoIPMetricsReportBlock>() {
            found.push(Extended::VoipMetrics(metrics_of(block)));
        } else if let Some(block) = block.downcast_ref::<ReceiverReferenceTimeReportBlock>() {
            found.push(Extended::ReferenceTime { ssrc, ntp: NtpTime(block.ntp_timestamp) });
        } else if let Some(block) = block.downcast_ref::<DLRRReportBlock>() {
            let returned =
                |it: &DLRRReport| Extended::Returned { to: Ssrc(it.ssrc), last: it.last_rr, delay: it.dlrr };
            found.extend(block.reports.iter().map(returned));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{OurReport, read_rtcp};
    use super::*;

    fn metrics() -> VoipMetrics {
        VoipMetrics {
            ssrc: Ssrc(0x0102_0304),
            loss_rate: 0x0d,
            discard_rate: 0x02,
            burst_density: 0x80,
            gap_density: 0x01,
            burst_duration: 120,
            gap_duration: 4000,
            round_trip: 84,
            end_system_delay: 63,
            gmin: 16,
            r_factor: Some(84),
            mos_lq: Some(42),
            mos_cq: None,
            rx_config: 0b1110_0000,
            jb_nominal: 40,
            jb_maximum: 80,
            jb_abs_max: 200,
        }
    }

    fn ours(extended: &[Extended]) -> Vec<u8> {
        OurReport { ssrc: Ssrc(0xdead_beef), sender: None, block: None, cname: "gw", extended }.write()
    }

    #[test]
    fn voip_metrics_are_written_as_the_standard_says_and_read_back() {
        let bytes = ours(&[Extended::VoipMetrics(metrics())]);
        // RFC 3611 §2, §4.7, by hand.
        let expected = [
            "80cf000a deadbeef 07000008 01020304",
            "0d028001 00780fa0 0054003f 7f7f7f10 547f2a7f e0000028 005000c8",
        ];
        let tail = hex::encode(&bytes[bytes.len() - 44..]);
        assert_eq!(tail, expected.concat().replace(' ', ""));
        assert_eq!(read_rtcp(&bytes, Ssrc(1)).unwrap().extended, [Extended::VoipMetrics(metrics())]);
    }

    #[test]
    fn a_clock_that_comes_back_is_a_round_trip_and_somebody_elses_is_not() {
        let now = NtpTime(100 << 32);
        let asked = Extended::ReferenceTime { ssrc: Ssrc(0xdead_beef), ntp: now };
        let back = Extended::Returned { to: Ssrc(0xdead_beef), last: now.middle(), delay: 65_536 };
        let read = read_rtcp(&ours(&[asked, back]), Ssrc(1)).unwrap().extended;
        assert_eq!(read, [asked, back]);
        let later = NtpTime((101 << 32) + (1 << 31));
        assert_eq!(read[1].round_trip(Ssrc(0xdead_beef), later), Some(Duration::from_millis(500)));
        assert_eq!(read[1].round_trip(Ssrc(5), later), None);
        assert_eq!(read[0].round_trip(Ssrc(0xdead_beef), later), None);
    }

    #[test]
    fn a_block_that_nobody_knows_is_skipped_and_a_broken_one_costs_no_report() {
        let mut bytes = ours(&[Extended::VoipMetrics(metrics())]);
        let at = bytes.len() - 36;
        // A loss run length block of one word before the metrics.
        bytes.splice(at..at, [1, 0, 0, 1, 9, 9, 9, 9]);
        bytes[at - 5] += 2;
        assert_eq!(read_rtcp(&bytes, Ssrc(1)).unwrap().extended, [Extended::VoipMetrics(metrics())]);
        bytes[at + 3] = 200;
        let facts = read_rtcp(&bytes, Ssrc(1)).unwrap();
        assert_eq!((facts.reports.len(), facts.extended.len()), (1, 0));
    }
}
