//! The reports of one leg, both ways: what we say of its stream, what it says of ours.

use std::time::{Duration, Instant};

use super::quality::{Share, StreamQuality};
use super::reported::{Mean, Reported};
use super::rtcp::{ReportClock, reference};
use super::summary::DirectionSummary;
use crate::random::Random;
use crate::rtp::{Extended, GMIN, NtpTime, OurReport, Reception, RtcpFacts, SenderFacts, Ssrc, VoipMetrics};

/// Milliseconds of sound in a packet, for figures that RFC 3611 wants as time.
const PACKET_MS: u32 = 20;
/// Standard concealment, a fixed jitter buffer (RFC 3611 §4.7.6): relay timing has none at all.
const RX_CONFIG: u8 = 0b1110_0000;
/// Our encoder's look-ahead and one turn of the media thread.
const END_SYSTEM_DELAY_MS: u16 = 8;

/// Whether a far end takes VoIP metrics (RFC 3611 §5.1, `a=rtcp-xr:voip-metrics`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Metrics {
    /// It never said so.
    #[default]
    Unwanted,
    /// Agreed on.
    Agreed,
}

/// When a report leaves: one moment on the clocks it names.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For intervals.
    pub mono: Instant,
    /// For the wire.
    pub ntp: NtpTime,
}

/// Reports of one leg.
#[derive(Debug)]
pub struct LegReports {
    /// When they leave.
    pub clock: ReportClock,
    /// What the far end says of our stream.
    pub reported: Reported,
    /// The jitter of its stream at each of our reports.
    jitters: Mean,
}

impl LegReports {
    /// Nothing heard, nothing due.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self { clock: ReportClock::new(random), reported: Reported::default(), jitters: Mean::default() }
    }

    /// Takes a compound of the far end; `clock` is that of our stream `ours`, of which `sent` packets left,
    /// and `reception` is how the far end's own stream arrives.
    pub fn hear(
        &mut self,
        at: Moment,
        facts: &RtcpFacts,
        ours: Ssrc,
        (clock, sent): (u32, u64),
        reception: &mut Reception,
    ) {
        for report in &facts.reports {
            if let Some(ntp) = report.sender {
                reception.note_sender_report(at.mono, report.ssrc, ntp.middle());
            }
            if let Some(block) = &report.block {
                self.reported.note(at.ntp, block, clock, sent);
            }
        }
        self.reported.note_extended(at.ntp, ours, &facts.extended);
        self.clock.note_extended(at.mono, &facts.extended);
    }

    /// The report that is due; `received` is the far end's stream as we rate it.
    pub fn write(
        &mut self,
        at: Moment,
        ours: Ssrc,
        facts: Option<SenderFacts>,
        (reception, received): (&mut Reception, &StreamQuality),
        (cname, metrics): (&str, Metrics),
    ) -> Vec<u8> {
        self.jitters.add(reception.jitter());
        let sender = self.clock.sender(facts);
        let mut extended = Vec::new();
        if metrics == Metrics::Agreed {
            if let Some(ssrc) = reception.ssrc() {
                extended.push(Extended::VoipMetrics(voip_metrics(ssrc, reception, received)));
            }
            if sender.is_none() {
                extended.push(reference(ours, at.ntp));
            }
        }
        extended.extend(self.clock.returned(at.mono));
        let block = reception.report(at.mono);
        OurReport { ssrc: ours, sender, block, cname, extended: &extended }.write()
    }

    /// The last words of a stream.
    pub fn write_bye(
        &mut self,
        at: Moment,
        ours: Ssrc,
        facts: Option<SenderFacts>,
        reception: &mut Reception,
        cname: &str,
    ) -> Vec<u8> {
        let (sender, block) = (self.clock.sender(facts), reception.report(at.mono));
        OurReport { ssrc: ours, sender, block, cname, extended: &[] }.write_bye()
    }

    /// How we hear the far end's stream: by our own count, the round trip by its reports.
    #[must_use]
    pub fn received(
        &self,
        codec: &'static str,
        reception: &Reception,
        figures: &DirectionSummary,
    ) -> StreamQuality {
        let sent = reception.sent();
        StreamQuality {
            codec,
            packets: sent,
            loss: Share::of(reception.lost(), sent),
            discarded: Share::of(figures.late, sent),
            recovered: Share::of(figures.recovered, sent),
            burst_percent: Some(reception.bursts().ratio_percent()),
            jitter: (sent > 1).then(|| self.jitters.get().unwrap_or(reception.jitter())),
            round_trip: self.reported.round_trip(),
            playout: Duration::ZERO,
            told: None,
        }
    }

    /// Adds what the far end reported to the figures of the direction that ends there.
    pub fn fill(&self, figures: &mut DirectionSummary, codec: &'static str) {
        figures.round_trip = self.reported.last_round_trip();
        figures.reported_lost = self.reported.lost();
        figures.reported_jitter = self.reported.last_jitter();
        figures.delivered = self.reported.quality(codec);
    }
}

fn voip_metrics(ssrc: Ssrc, reception: &Reception, received: &StreamQuality) -> VoipMetrics {
    let bursts = reception.bursts().figures();
    let millis = |packets: u32| u16::try_from(packets.saturating_mul(PACKET_MS)).unwrap_or(u16::MAX);
    let round_trip = received.round_trip.map_or(0, |it| u16::try_from(it.as_millis()).unwrap_or(u16::MAX));
    let conversational = received.conversational();
    VoipMetrics {
        ssrc,
        loss_rate: received.loss.in_256ths(),
        discard_rate: received.discarded.in_256ths(),
        burst_density: bursts.burst_density,
        gap_density: bursts.gap_density,
        burst_duration: millis(bursts.burst_length),
        gap_duration: millis(bursts.gap_length),
        round_trip,
        end_system_delay: END_SYSTEM_DELAY_MS,
        gmin: GMIN,
        r_factor: conversational.map(super::quality::Rating::r_factor),
        mos_lq: received.listening().map(super::quality::Rating::mos_tenths),
        mos_cq: conversational.map(super::quality::Rating::mos_tenths),
        rx_config: RX_CONFIG,
        jb_nominal: 0,
        jb_maximum: 0,
        jb_abs_max: 0,
    }
}
