//! The few RTCP packets (RFC 3550 §6) that the user's client sends and reads.

use crate::time::Wall;

/// Middle 32 bits of an NTP time and its fraction, from the wall clock.
fn ntp(at: Wall) -> (u32, u32) {
    let millis = at.millis().max(0);
    let seconds = u32::try_from((millis / 1000 + 2_208_988_800) & 0xffff_ffff).unwrap_or(0);
    let fraction = u32::try_from(((millis % 1000) * 4_294_967_296 / 1000) & 0xffff_ffff).unwrap_or(0);
    (seconds, fraction)
}

/// What the receiver half of a report says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// The business's stream.
    pub(super) ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub(super) fraction: u8,
    /// Lost since the beginning.
    pub(super) lost: u32,
    /// Highest sequence number with its cycles.
    pub(super) highest: u32,
    /// Jitter in timestamp units.
    pub(super) jitter: u32,
    /// Middle bits of the last sender report, 0 if none came.
    pub(super) last_sr: u32,
    /// Time since then in 1/65536 s.
    pub(super) delay: u32,
}

/// What the sender half says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken {
    /// Our stream.
    pub(super) ssrc: u32,
    /// RTP time of this moment.
    pub(super) timestamp: u32,
    /// Packets sent.
    pub(super) packets: u32,
    /// Payload bytes sent.
    pub(super) octets: u32,
}

/// A compound packet: SR with at most one report block, and SDES with the CNAME of the SDP.
pub(super) fn write_report(at: Wall, spoken: Spoken, heard: Option<Heard>) -> Vec<u8> {
    let mut packet = Vec::with_capacity(96);
    let words: u16 = if heard.is_some() { 12 } else { 6 };
    packet.extend_from_slice(&[0x80 | u8::from(heard.is_some()), 200]);
    packet.extend_from_slice(&words.to_be_bytes());
    let (seconds, fraction) = ntp(at);
    for word in [spoken.ssrc, seconds, fraction, spoken.timestamp, spoken.packets, spoken.octets] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    if let Some(heard) = heard {
        let lost = u32::from(heard.fraction) << 24 | heard.lost.min(0x7f_ffff);
        for word in [heard.ssrc, lost, heard.highest, heard.jitter, heard.last_sr, heard.delay] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
    }
    let cname = b"WhatsAppAudioStream1";
    packet.extend_from_slice(&[0x81, 202, 0, 7]);
    packet.extend_from_slice(&spoken.ssrc.to_be_bytes());
    packet.extend_from_slice(&[1, 20]);
    packet.extend_from_slice(cname);
    packet.extend_from_slice(&[0, 0]);
    packet
}

/// BYE, sent when the user hangs up.
pub(super) fn write_bye(at: Wall, spoken: Spoken) -> Vec<u8> {
    let mut packet = write_report(at, spoken, None);
    packet.extend_from_slice(&[0x81, 203, 0, 1]);
    packet.extend_from_slice(&spoken.ssrc.to_be_bytes());
    packet
}

/// What a compound packet of the business held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Middle 32 bits of the sender report's time.
    pub(super) sender_report: Option<u32>,
    /// Fraction lost that the business reports of our stream.
    pub(super) reported_fraction: Option<u8>,
    /// Whether a BYE was in it.
    pub(super) bye: bool,
}

/// Reads a decrypted compound packet; stops at the first part that does not fit.
pub(super) fn read(mut bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
        let Some(body) = rest.get(..length).filter(|_| head[0] >> 6 == 2) else { break };
        let block = match head[1] {
            200 => {
                seen.sender_report = body.get(6..10).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
                body.get(24..48)
            }
            201 => body.get(4..28),
            203 => {
                seen.bye = true;
                None
            }
            _ => None,
        };
        if let Some(block) = block.filter(|_| head[0] & 0x1f > 0) {
            seen.reported_fraction = block.get(4).copied();
        }
        bytes = rest.get(length..).unwrap_or_default();
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: Spoken = Spoken { ssrc: 1, timestamp: 960, packets: 2, octets: 100 };

    #[test]
    fn a_report_is_well_formed_by_the_rtcp_crate_and_reads_back() {
        let heard =
            Heard { ssrc: 9, fraction: 64, lost: 3, highest: 70_000, jitter: 5, last_sr: 6, delay: 7 };
        let packet = write_report(Wall(1_791_900_000_500), SPOKEN, Some(heard));
        let parts = rtc_rtcp::packet::unmarshal(&mut packet.as_slice()).expect("well formed");
        assert_eq!(parts.len(), 2);
        let seen = read(&packet);
        assert_eq!((seen.reported_fraction, seen.bye), (Some(64), false));
        assert_eq!(seen.sender_report.map(|middle| middle & 0xffff), Some(0x8000));
    }

    #[test]
    fn a_bye_is_seen_and_cut_bytes_are_harmless() {
        let packet = write_bye(Wall(0), SPOKEN);
        assert!(read(&packet).bye);
        for cut in 0..packet.len() {
            let _seen = read(&packet[..cut]);
        }
    }
}
