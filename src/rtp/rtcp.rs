//! RTCP reports (RFC 3550 §6); with `xr` the only files that name the RTCP library.
//!
//! The library writes packets and reads the bodies of the four it is asked for; the walk over the
//! compound is ours, because one unknown feedback packet must not hide the report beside it.

use std::time::{Duration, Instant};

use rtc_rtcp::Packet;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::{marshal, unmarshal};
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;

use super::xr::{Extended, extended_report, read_extended};
use super::{RtpTime, Ssrc};
use crate::time::{Now, Wall};

/// Seconds since 1900 in 32.32 fixed point (RFC 3550 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// From wall time.
    #[must_use]
    pub fn from_wall(wall: Wall) -> Self {
        let millis = u64::try_from(wall.millis()).unwrap_or(0);
        let seconds = (millis / 1000).wrapping_add(2_208_988_800);
        Self((seconds << 32) | (((millis % 1000) << 32) / 1000))
    }

    /// The middle 32 bits: 65536ths of a second, the unit of LSR and DLSR.
    #[must_use]
    pub const fn middle(self) -> u32 {
        ((self.0 >> 16) & 0xffff_ffff) as u32
    }
}

/// NTP time on the monotonic clock: finer than a millisecond, and no step of the wall clock can make a
/// round trip negative (RFC 3550 §4 asks for no more).
#[derive(Clone, Copy, Debug)]
pub struct NtpClock {
    wall: NtpTime,
    mono: Instant,
}

impl NtpClock {
    /// Set to the wall time of this moment.
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self { wall: NtpTime::from_wall(now.wall), mono: now.mono }
    }

    /// The time at `mono`.
    #[must_use]
    pub fn at(&self, mono: Instant) -> NtpTime {
        let elapsed = mono.saturating_duration_since(self.mono);
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(self.wall.0.wrapping_add(elapsed.as_secs() << 32).wrapping_add(fraction))
    }
}

/// One reception report block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The stream reported on.
    pub ssrc: Ssrc,
    /// Loss since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the start, less those that came twice; 24 bits on the wire.
    pub total_lost: i32,
    /// Extended highest sequence number.
    pub highest_seq: u32,
    /// Interarrival jitter in ticks of the stream's clock.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time, 0 if none.
    pub last_sr: u32,
    /// Since that report, in 65536ths of a second.
    pub delay_since_sr: u32,
}

impl ReportBlock {
    /// The round trip seen by the sender of the stream (RFC 3550 §6.4.1); `None` without a sender
    /// report in it, or when the clocks give a negative one.
    #[must_use]
    pub fn round_trip(&self, now: NtpTime) -> Option<Duration> {
        if self.last_sr == 0 {
            return None;
        }
        round_trip(now, self.last_sr, self.delay_since_sr)
    }
}

/// What clocks of a millisecond's resolution may be off, in 65536ths of a second.
const ROUNDING: i32 = 66;

/// Now, less when the report left, less how long the far end kept it.
pub(super) fn round_trip(now: NtpTime, left: u32, kept: u32) -> Option<Duration> {
    let span = now.middle().wrapping_sub(left).wrapping_sub(kept).cast_signed();
    // Beyond a minute it is nonsense; a little below zero, the ends' rounding on a fast network.
    let span = if (-ROUNDING..0).contains(&span) { 0 } else { u64::try_from(span).ok()? };
    (span < 60 << 16).then(|| Duration::from_micros((span * 1_000_000) >> 16))
}

/// What a sender report says of our stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderFacts {
    /// Wall time of the report.
    pub ntp: NtpTime,
    /// The same moment on the stream's clock.
    pub rtp: RtpTime,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

/// A received report: who sent it, what it sends, how it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedReport {
    /// Sender of the report.
    pub ssrc: Ssrc,
    /// Its own stream, if it sends one.
    pub sender: Option<NtpTime>,
    /// Its view of the stream asked for, if it tells.
    pub block: Option<ReportBlock>,
}

/// What a compound packet said.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RtcpFacts {
    /// Sender and receiver reports in it.
    pub reports: Vec<ReceivedReport>,
    /// Sources that said good-bye.
    pub byes: Vec<Ssrc>,
    /// What extended reports say (RFC 3611).
    pub extended: Vec<Extended>,
}

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpError {
    /// A packet claims more bytes than there are, or there are none.
    Short,
    /// Not version 2.
    Version,
    /// A report's body does not hold what its header says.
    Body,
}

/// Bytes of a report block on the wire.
const BLOCK: usize = 24;

/// Reads a compound packet (or a reduced-size one, RFC 5506) and picks the blocks about `ours`.
///
/// Packet types other than SR, RR, BYE and XR are skipped.
///
/// # Errors
/// [`RtcpError`]; nothing of a broken compound is used.
pub fn read_rtcp(bytes: &[u8], ours: Ssrc) -> Result<RtcpFacts, RtcpError> {
    let mut facts = RtcpFacts::default();
    let mut rest = bytes;
    if rest.is_empty() {
        return Err(RtcpError::Short);
    }
    while !rest.is_empty() {
        let header = rest.first_chunk::<4>().ok_or(RtcpError::Short)?;
        if header[0] >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let length = (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1) * 4;
        let (packet, after) = rest.split_at_checked(length).ok_or(RtcpError::Short)?;
        read_one(packet, usize::from(header[0] & 0x1f), header[1], ours, &mut facts)?;
        rest = after;
    }
    Ok(facts)
}

fn read_one(
    packet: &[u8],
    count: usize,
    kind: u8,
    ours: Ssrc,
    facts: &mut RtcpFacts,
) -> Result<(), RtcpError> {
    let needed = match kind {
        200 => 28 + count * BLOCK,
        201 => 8 + count * BLOCK,
        203 => 4 + count * 4,
        // An extra: one that cannot be read does not cost the report beside it.
        207 => {
            read_extended(packet, &mut facts.extended);
            return Ok(());
        }
        _ => return Ok(()),
    };
    // The library's readers take the count on trust.
    if packet.len() < needed {
        return Err(RtcpError::Body);
    }
    let mut body = packet;
    for read in unmarshal(&mut body).map_err(|_| RtcpError::Body)? {
        let any = read.as_any();
        if let Some(report) = any.downcast_ref::<SenderReport>() {
            facts.reports.push(ReceivedReport {
                ssrc: Ssrc(report.ssrc),
                sender: Some(NtpTime(report.ntp_time)),
                block: block_about(&report.reports, ours),
            });
        } else if let Some(report) = any.downcast_ref::<ReceiverReport>() {
            facts.reports.push(ReceivedReport {
                ssrc: Ssrc(report.ssrc),
                sender: None,
                block: block_about(&report.reports, ours),
            });
        } else if let Some(bye) = any.downcast_ref::<Goodbye>() {
            facts.byes.extend(bye.sources.iter().copied().map(Ssrc));
        }
    }
    Ok(())
}

/// The block about our stream, by its SSRC, or as the only one: Meta's relay rewrites our SSRC before
/// the receiver sees it (reference §12.6), and a leg carries one stream.
fn block_about(blocks: &[ReceptionReport], ours: Ssrc) -> Option<ReportBlock> {
    let only = || <&[ReceptionReport; 1]>::try_from(blocks).ok().map(|[block]| block);
    blocks.iter().find(|block| block.ssrc == ours.0).or_else(only).map(|block| ReportBlock {
        ssrc: ours,
        fraction_lost: block.fraction_lost,
        // 24 bits, signed (RFC 3550 §6.4.1).
        total_lost: (block.total_lost << 8).cast_signed() >> 8,
        highest_seq: block.last_sequence_number,
        jitter: block.jitter,
        last_sr: block.last_sender_report,
        delay_since_sr: block.delay,
    })
}

/// What a compound of ours says.
#[derive(Clone, Copy, Debug)]
pub struct OurReport<'a> {
    /// Our source.
    pub ssrc: Ssrc,
    /// Our stream; `None`: nothing was sent lately, and the report is an RR (RFC 3550 §6.4).
    pub sender: Option<SenderFacts>,
    /// How the far end's stream arrives.
    pub block: Option<ReportBlock>,
    /// Our name, the same in every report (RFC 7022).
    pub cname: &'a str,
    /// Extended report blocks, for far ends that take them.
    pub extended: &'a [Extended],
}

impl OurReport<'_> {
    /// SR or RR, then SDES with the CNAME (RFC 3550 §6.1), then XR.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = compound(&[report(self.ssrc, self.sender, self.block)]);
        bytes.extend(description(self.ssrc, self.cname));
        if !self.extended.is_empty() {
            bytes.extend(compound(&[extended_report(self.ssrc, self.extended)]));
        }
        bytes
    }

    /// The last compound of the stream: the same and BYE (RFC 3550 §6.6).
    #[must_use]
    pub fn write_bye(&self) -> Vec<u8> {
        let mut bytes = self.write();
        let bye = Goodbye { sources: vec![self.ssrc.0], ..Goodbye::default() };
        bytes.extend(compound(&[Box::new(bye)]));
        bytes
    }
}

/// A compound of SR (or RR, if nothing was sent) and SDES with the CNAME.
#[must_use]
pub fn write_report(
    ssrc: Ssrc,
    sender: Option<SenderFacts>,
    block: Option<ReportBlock>,
    cname: &str,
) -> Vec<u8> {
    OurReport { ssrc, sender, block, cname, extended: &[] }.write()
}

fn compound(packets: &[Box<dyn Packet>]) -> Vec<u8> {
    marshal(packets).map(|bytes| bytes.to_vec()).unwrap_or_default()
}

fn report(ssrc: Ssrc, sender: Option<SenderFacts>, block: Option<ReportBlock>) -> Box<dyn Packet> {
    let reports = block
        .iter()
        .map(|block| ReceptionReport {
            ssrc: block.ssrc.0,
            fraction_lost: block.fraction_lost,
            total_lost: block.total_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff,
            last_sequence_number: block.highest_seq,
            jitter: block.jitter,
            last_sender_report: block.last_sr,
            delay: block.delay_since_sr,
        })
        .collect();
    match sender {
        Some(facts) => Box::new(SenderReport {
            ssrc: ssrc.0,
            ntp_time: facts.ntp.0,
            rtp_time: facts.rtp.0,
            packet_count: facts.packets,
            octet_count: facts.octets,
            reports,
            ..SenderReport::default()
        }),
        None => Box::new(ReceiverReport { ssrc: ssrc.0, reports, ..ReceiverReport::default() }),
    }
}

/// SDES with the CNAME, by hand: the library fills its end with a padding count where RFC 3550 §6.5 wants
/// null octets.
fn description(ssrc: Ssrc, cname: &str) -> Vec<u8> {
    let name = &cname.as_bytes()[..cname.len().min(255)];
    // At least one null octet ends the list of items.
    let chunk = (4 + 2 + name.len() + 1).next_multiple_of(4);
    let mut bytes = vec![0x81, 202, 0, u8::try_from(chunk / 4).unwrap_or(u8::MAX)];
    bytes.extend(ssrc.0.to_be_bytes());
    bytes.extend([1, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    bytes.extend(name);
    bytes.resize(4 + chunk, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: Ssrc = Ssrc(0x1111_2222);

    fn sender() -> SenderFacts {
        SenderFacts { ntp: NtpTime(0x0102_0304_0506_0708), rtp: RtpTime(99), packets: 5, octets: 400 }
    }

    fn block() -> ReportBlock {
        ReportBlock {
            ssrc: OURS,
            fraction_lost: 26,
            total_lost: 9,
            highest_seq: 70_000,
            ..ReportBlock::default()
        }
    }

    #[test]
    fn a_report_reads_back_and_starts_with_the_sender_report() {
        let bytes = write_report(Ssrc(5), Some(sender()), Some(block()), "gw");
        assert_eq!(bytes[1], 200);
        assert_eq!(bytes.len() % 4, 0);
        let facts = read_rtcp(&bytes, OURS).unwrap();
        assert_eq!(
            facts.reports,
            [ReceivedReport { ssrc: Ssrc(5), sender: Some(sender().ntp), block: Some(block()) }]
        );
    }

    #[test]
    fn a_report_about_the_ssrc_that_metas_relay_gave_us_is_about_us() {
        let rewritten = ReportBlock { ssrc: Ssrc(0x99), ..block() };
        let bytes = write_report(Ssrc(5), None, Some(rewritten), "relay");
        assert_eq!(read_rtcp(&bytes, OURS).unwrap().reports[0].block, Some(block()));
    }

    #[test]
    fn a_silent_side_sends_a_receiver_report_and_the_last_compound_says_bye() {
        let ours =
            OurReport { ssrc: Ssrc(5), sender: None, block: Some(block()), cname: "gw", extended: &[] };
        let bytes = ours.write_bye();
        assert_eq!(bytes[1], 201);
        let facts = read_rtcp(&bytes, OURS).unwrap();
        assert_eq!(facts.byes, [Ssrc(5)]);
        assert_eq!(facts.reports[0].block, Some(block()));
    }

    #[test]
    fn an_unknown_packet_in_the_compound_does_not_hide_the_report() {
        let mut bytes = vec![0x8f, 206, 0, 2, 0, 0, 0, 5, 0, 0, 0, 6];
        bytes.extend(write_report(Ssrc(5), None, Some(block()), "gw"));
        assert_eq!(read_rtcp(&bytes, OURS).unwrap().reports.len(), 1);
    }

    #[test]
    fn a_round_trip_is_now_minus_the_report_minus_the_delay() {
        let at = NtpTime::from_wall(Wall(1_790_000_000_000));
        let report =
            ReportBlock { last_sr: at.middle(), delay_since_sr: 65_536 / 4, ..ReportBlock::default() };
        let now = NtpTime::from_wall(Wall(1_790_000_000_300));
        let round_trip = report.round_trip(now).unwrap().as_millis();
        assert!((49..=50).contains(&round_trip), "{round_trip}");
        assert_eq!(report.round_trip(at), None, "a negative round trip is nonsense");
        assert_eq!(ReportBlock::default().round_trip(now), None);
    }

    #[test]
    fn a_round_trip_below_the_clocks_resolution_is_zero_and_not_lost() {
        let clock = NtpClock::new(Now { mono: Instant::now(), wall: Wall(1_790_000_000_000) });
        let start = clock.mono;
        let sent = clock.at(start).middle();
        // 300 us on the wire, and the far end claims to have kept it for longer than that.
        let block = ReportBlock { last_sr: sent, delay_since_sr: 60, ..ReportBlock::default() };
        assert_eq!(block.round_trip(clock.at(start + Duration::from_micros(300))), Some(Duration::ZERO));
        let later = block.round_trip(clock.at(start + Duration::from_micros(2300))).unwrap().as_micros();
        assert!((1350..=1400).contains(&later), "{later}");
    }

    #[test]
    fn ntp_time_goes_with_the_monotonic_clock() {
        let clock = NtpClock::new(Now { mono: Instant::now(), wall: Wall(1_790_000_000_250) });
        assert_eq!(clock.at(clock.mono), NtpTime::from_wall(Wall(1_790_000_000_250)));
        let later = clock.at(clock.mono + Duration::from_millis(1_750));
        assert_eq!(later.0 >> 32, NtpTime::from_wall(Wall(1_790_000_002_000)).0 >> 32);
        assert!(later.0.wrapping_sub(NtpTime::from_wall(Wall(1_790_000_002_000)).0).cast_signed().abs() < 4);
    }

    #[test]
    fn the_bytes_on_the_wire_are_those_of_the_standard() {
        // RFC 3550 §6.4.1 and §6.5, by hand; the cumulative loss is -2 in 24 bits.
        let block = ReportBlock {
            ssrc: Ssrc(0x0102_0304),
            fraction_lost: 0x40,
            total_lost: -2,
            highest_seq: 0x0001_fffe,
            jitter: 0x20,
            last_sr: 0x0a0b_0c0d,
            delay_since_sr: 0x0001_8000,
        };
        let bytes = write_report(Ssrc(0xdead_beef), Some(sender()), Some(block), "gateway");
        let expected = [
            "81c8000c deadbeef 0102030405060708 00000063 00000005 00000190",
            "01020304 40fffffe 0001fffe 00000020 0a0b0c0d 00018000",
            "81ca0004 deadbeef 01 07 67617465776179 000000",
        ];
        let expected = hex::decode(expected.concat().replace(' ', "")).unwrap();
        assert_eq!(hex::encode(&bytes), hex::encode(&expected));
        assert_eq!(read_rtcp(&bytes, Ssrc(0x0102_0304)).unwrap().reports[0].block, Some(block));
    }

    proptest! {
        #[test]
        fn any_extended_report_is_read_or_skipped(
            kinds in proptest::collection::vec((0_u8..9, 0_u8..12, any::<u8>()), 0..5)
        ) {
            let mut bytes = vec![0x80, 207, 0, 0, 0, 0, 0, 9];
            for (kind, words, fill) in kinds {
                bytes.extend([kind, 0, 0, words]);
                bytes.extend(std::iter::repeat_n(fill, usize::from(words) * 4));
            }
            bytes[3] = (bytes.len() / 4 - 1) as u8;
            let mut compound = write_report(Ssrc(5), None, Some(block()), "gw");
            compound.extend(&bytes);
            prop_assert_eq!(read_rtcp(&compound, OURS).unwrap().reports.len(), 1);
            super::super::fuzz::rtcp(&compound);
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            count in 0_u8..32, kind in 200_u8..208, body in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let words = body.len() / 4;
            let mut bytes = vec![0x80 | count, kind, 0, words as u8];
            bytes.extend(&body[..words * 4]);
            super::super::fuzz::rtcp(&bytes);
            super::super::fuzz::rtcp(&body);
            bytes[0] |= 0x20;
            super::super::fuzz::rtcp(&bytes);
        }
    }
}
