//! The SIP leg's media end: what was agreed, and where its packets come from and go.

use std::net::SocketAddr;
use std::time::Instant;

use super::format::{PhoneFormat, PhoneLine};
use super::latch::{Latch, Source};
use super::leg_reports::Metrics;
use crate::rtp::{PayloadType, RtpPacket};
use crate::sdp::audio::{self, AudioRefusal, LocalAudio, Negotiated};

/// RFC 3389 on its static payload type.
const COMFORT_NOISE: PayloadType = PayloadType(13);

/// One RTP session with a phone or trunk; renegotiated as often as the phone likes.
#[derive(Debug)]
pub struct RtpLeg {
    local: LocalAudio,
    said: Option<String>,
    agreed: Option<Negotiated>,
    latch: Option<Latch>,
    /// Whose place it has taken.
    before: Option<SocketAddr>,
}

impl RtpLeg {
    /// A leg that has agreed on nothing.
    #[must_use]
    pub const fn new(local: LocalAudio) -> Self {
        Self { local, said: None, agreed: None, latch: None, before: None }
    }

    /// A leg with another phone on the same ports, for a session of its own that nothing was said in.
    #[must_use]
    pub fn successor(&self, session_id: u64) -> Self {
        Self::new(LocalAudio { session_id, version: 1, ..self.local.clone() })
    }

    /// Takes the place of `before`, whose late packets are nobody's from now on.
    pub fn succeed(&mut self, before: &Self) {
        self.before = before.rtp_target();
        if let Some(agreed) = &self.agreed {
            self.latch = Some(Latch::shunning(agreed.remote_rtp, self.before));
        }
    }

    /// Our offer; the same text again unless something changed.
    pub fn offer(&mut self) -> String {
        self.describe(|local| Ok((audio::write_offer(local), ()))).map(|(sdp, ())| sdp).unwrap_or_default()
    }

    /// Answers an offer of the phone.
    ///
    /// # Errors
    /// [`AudioRefusal`]; what was agreed before stays.
    pub fn answer(&mut self, offer: &str) -> Result<String, AudioRefusal> {
        let (sdp, agreed) = self.describe(|local| audio::answer_offer(local, offer))?;
        self.agree(agreed);
        Ok(sdp)
    }

    /// Takes the phone's answer.
    ///
    /// # Errors
    /// [`AudioRefusal`]; what was agreed before stays.
    pub fn apply(&mut self, answer: &str) -> Result<(), AudioRefusal> {
        let said = self.said.as_deref().unwrap_or_default();
        let agreed = audio::read_answer_to(&self.local, said, answer)?;
        self.agree(agreed);
        Ok(())
    }

    /// Writes a description; its version goes up only if the text differs from the last one (RFC 3264 §8).
    fn describe<T>(
        &mut self,
        write: impl Fn(&LocalAudio) -> Result<(String, T), AudioRefusal>,
    ) -> Result<(String, T), AudioRefusal> {
        let mut written = write(&self.local)?;
        if self.said.as_ref().is_some_and(|said| *said != written.0) {
            self.local.version += 1;
            written = write(&self.local)?;
        }
        self.said = Some(written.0.clone());
        Ok(written)
    }

    fn agree(&mut self, agreed: Negotiated) {
        match &mut self.latch {
            Some(latch) => latch.signal(agreed.remote_rtp),
            None => self.latch = Some(Latch::shunning(agreed.remote_rtp, self.before)),
        }
        self.agreed = Some(agreed);
    }

    /// Judges an RTP packet's source; only a packet of an agreed payload type can move the address.
    pub fn judge(&mut self, now: Instant, from: SocketAddr, packet: &RtpPacket<'_>) -> Source {
        let (Some(agreed), Some(latch)) = (&self.agreed, &mut self.latch) else { return Source::Foreign };
        let payload_type = packet.header.payload_type;
        let plausible = payload_type == agreed.receive_payload_type
            || agreed.receive_telephone_events.iter().flatten().any(|it| it.payload_type == payload_type)
            || payload_type == COMFORT_NOISE;
        if plausible { latch.judge(now, from) } else { Source::Foreign }
    }

    /// True if RTCP from `from` can be the phone's: it comes from a host that we send to.
    #[must_use]
    pub fn trusts(&self, from: SocketAddr) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| {
            agreed.remote_rtcp.ip() == from.ip() || self.rtp_target().is_some_and(|it| it.ip() == from.ip())
        })
    }

    /// Where RTP goes.
    #[must_use]
    pub fn rtp_target(&self) -> Option<SocketAddr> {
        self.latch.as_ref().and_then(Latch::target)
    }

    /// Where RTCP goes: beside the RTP that was learnt, as far as the signalled one differs from it.
    #[must_use]
    pub fn rtcp_target(&self) -> Option<SocketAddr> {
        let agreed = self.agreed.as_ref()?;
        let rtp = self.rtp_target()?;
        if agreed.rtcp_mux {
            return Some(rtp);
        }
        if rtp == agreed.remote_rtp {
            return Some(agreed.remote_rtcp).filter(|it| !it.ip().is_unspecified() && it.port() != 0);
        }
        rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port))
    }

    /// True if RTCP shares the RTP port.
    #[must_use]
    pub fn is_muxed(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.rtcp_mux)
    }

    /// The codec's encoding name; empty while nothing is agreed.
    #[must_use]
    pub fn codec_name(&self) -> &'static str {
        self.agreed.as_ref().map_or("", |agreed| agreed.codec.name())
    }

    /// The RTP clock of both streams in hertz; for G.722 it is 8000 too (RFC 3551 §4.5.2).
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.agreed.as_ref().map_or(8000, |agreed| agreed.codec.clock())
    }

    /// Whether the phone takes VoIP metrics.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let agreed = self.agreed.as_ref().is_some_and(|agreed| agreed.voip_metrics);
        if agreed { Metrics::Agreed } else { Metrics::Unwanted }
    }

    /// What the phone sends.
    #[must_use]
    pub fn incoming(&self) -> Option<PhoneFormat> {
        self.agreed.as_ref().map(|agreed| PhoneFormat {
            codec: agreed.codec,
            payload_type: agreed.receive_payload_type,
            events: agreed.receive_telephone_events,
        })
    }

    /// What we send.
    #[must_use]
    pub fn outgoing(&self) -> Option<PhoneLine> {
        self.agreed.as_ref().map(|agreed| {
            let format = PhoneFormat {
                codec: agreed.codec,
                payload_type: agreed.payload_type,
                events: [agreed.telephone_event, None],
            };
            PhoneLine { wishes: agreed.opus, ..PhoneLine::new(format, agreed.ptime) }
        })
    }

    /// True if the phone takes comfort noise (RFC 3389).
    #[must_use]
    pub fn takes_comfort_noise(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.comfort_noise)
    }

    /// True if the phone may send speech.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.direction.receives())
    }

    /// True if the phone wants speech.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.direction.sends())
    }

    /// True if the phone has put the call on hold.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.agreed.is_some() && !(self.hears() && self.speaks())
    }
}
