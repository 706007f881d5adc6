//! The SIP leg's media end: what was agreed, how it is protected, and where its packets come from and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::dtls::Identity;
use super::format::{PhoneFormat, PhoneLine};
use super::ice::IceRole;
use super::latch::{Latch, Source};
use super::leg_reports::Metrics;
use super::outbox::BridgePort;
use super::shield::{Behind, Opened, Shield};
use super::srtp::SrtpProfile;
use super::webrtc_leg::{LegEvent, WebRtcLeg, WebRtcSettings};
use crate::random::Random;
use crate::rtp::{PayloadType, RtpPacket, Ssrc};
use crate::sdp::audio::{self, Alternative, AudioCodec, AudioRefusal, Keying, LocalAudio, Negotiated};
use crate::sdp::crypto::{Crypto, CryptoSuite};
use crate::sdp::protection::{Protection, ProtectionRule};
use crate::sdp::webrtc::FingerprintCase;

/// RFC 3389 on its static payload type.
const COMFORT_NOISE: PayloadType = PayloadType(13);
/// Whoever goes to and fro between codecs more often than this is not followed.
const BETWEEN_SWITCHES: Duration = Duration::from_secs(1);

/// What the leg's keys are made of.
#[derive(Clone, Debug)]
pub struct KeyMaker {
    /// The process's certificate.
    pub identity: Arc<Identity>,
    /// How its hash is named.
    pub fingerprint_case: FingerprintCase,
    /// Where keys are drawn from.
    pub random: Random,
}

impl KeyMaker {
    /// A line for every suite.
    fn lines(&mut self) -> Vec<Crypto> {
        (1..).zip(CryptoSuite::ALL).map(|(tag, suite)| Crypto::fresh(tag, suite, &mut self.random)).collect()
    }

    /// ICE and DTLS on the RTP port.
    fn transport(&mut self, rtp: SocketAddr) -> WebRtcLeg {
        let settings = WebRtcSettings {
            local: rtp,
            candidates: vec![rtp],
            identity: Arc::clone(&self.identity),
            ssrc: Ssrc(0),
            cname: String::new(),
            fingerprint_case: self.fingerprint_case,
        };
        WebRtcLeg::new(settings, self.random.split())
    }
}

/// What a datagram brought.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A packet of the phone's stream.
    Rtp(Opened<'a>),
    /// A report of the phone.
    Rtcp(Opened<'a>),
    /// Nothing to listen to.
    Nothing,
    /// Not the phone's, or not provably.
    Foreign,
}

/// Whether the pipes have been set to what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pipes {
    AsBefore,
    Set,
}

/// One RTP session with a phone or trunk; renegotiated as often as the phone likes.
#[derive(Debug)]
pub struct RtpLeg {
    local: LocalAudio,
    said: Option<String>,
    /// What was said in each of several ways at once, until one is answered.
    offered: Vec<(Protection, String)>,
    agreed: Option<Negotiated>,
    latch: Option<Latch>,
    /// Where reports come from: a NAT need not map that port beside the one of the sound (RFC 4961).
    reports_from: Option<SocketAddr>,
    /// The far end has gone over to another codec of its answer, and whether the pipes know.
    switched: Option<(Instant, Pipes)>,
    /// Whose place it has taken.
    before: Option<SocketAddr>,
    keys: KeyMaker,
    shield: Shield,
    /// ICE and DTLS that our description names, until somebody takes them.
    prepared: Option<Box<WebRtcLeg>>,
    sealed: BytesMut,
}

impl RtpLeg {
    /// A leg that has agreed on nothing; its keys are drawn anew, whatever `local` says of them.
    #[must_use]
    pub fn new(mut local: LocalAudio, mut keys: KeyMaker) -> Self {
        local.keying.crypto = keys.lines();
        local.keying.dtls = None;
        local.keying.role = None;
        Self {
            local,
            said: None,
            offered: Vec::new(),
            agreed: None,
            latch: None,
            reports_from: None,
            switched: None,
            before: None,
            keys,
            shield: Shield::Clear,
            prepared: None,
            sealed: BytesMut::new(),
        }
    }

    /// A leg with another phone on the same ports, for a session of its own that nothing was said in.
    #[must_use]
    pub fn successor(&mut self, session_id: u64, rule: ProtectionRule) -> Self {
        let mut local = LocalAudio { session_id, version: 1, ..self.local.clone() };
        local.keying.rule = rule;
        let random = self.keys.random.split();
        Self::new(local, KeyMaker { random, ..self.keys.clone() })
    }

    /// Takes the place of `before`, whose late packets are nobody's from now on.
    pub fn succeed(&mut self, before: &Self) {
        self.before = before.rtp_target();
        if let Some(agreed) = &self.agreed {
            self.latch = Some(Latch::shunning(agreed.remote_rtp, self.before));
        }
    }

    /// What is offered or taken from now on, best first.
    pub fn prefer(&mut self, codecs: Vec<AudioCodec>) {
        self.local.codecs = codecs;
    }

    /// What we said last, if anything.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        self.said.clone()
    }

    /// What the phone may offer and answer from now on.
    pub const fn set_rule(&mut self, rule: ProtectionRule) {
        self.local.keying.rule = rule;
    }

    /// Our first offer in each of several ways, for phones that differ; the first of them counts if the answer
    /// does not tell.
    pub fn offers(&mut self, ways: &[Protection]) -> Vec<(Protection, String)> {
        if ways.contains(&Protection::Dtls) {
            self.prepare();
        }
        self.offered = ways.iter().map(|way| (*way, audio::write_offer_as(&self.local, *way))).collect();
        self.said = self.offered.first().map(|(_, sdp)| sdp.clone());
        self.offered.clone()
    }

    /// Our offer, protected as the leg is; the same text again unless something changed.
    pub fn offer(&mut self) -> String {
        let protection = self.agreed.as_ref().map_or(Protection::Clear, |agreed| agreed.protection);
        let written = self.describe(|local| Ok((audio::write_offer_as(local, protection), ())));
        written.map(|(sdp, ())| sdp).unwrap_or_default()
    }

    /// Answers an offer of the phone.
    ///
    /// # Errors
    /// [`AudioRefusal`]; what was agreed before stays.
    pub fn answer(&mut self, now: Instant, offer: &str) -> Result<String, AudioRefusal> {
        if offer.contains("fingerprint:") {
            self.prepare();
        }
        let (_, wanted) = audio::answer_offer(&self.local, offer)?;
        self.allow(&wanted)?;
        // Under a new key of theirs ours is new, too: who took the old one's place knows no roll-over counter.
        if let (Keying::Sdes { theirs: new, .. }, Some(Keying::Sdes { theirs: old, .. })) =
            (&wanted.keying, self.agreed.as_ref().map(|it| &it.keying))
            && new.key != old.key
        {
            self.local.keying.crypto = self.keys.lines();
        }
        let (sdp, agreed) = self.describe(|local| audio::answer_offer(local, offer))?;
        self.agree(now, agreed, IceRole::Controlled)?;
        Ok(sdp)
    }

    /// Takes the phone's answer.
    ///
    /// # Errors
    /// [`AudioRefusal`]; what was agreed before stays.
    pub fn apply(&mut self, now: Instant, answer: &str) -> Result<(), AudioRefusal> {
        let said = self.said.clone().unwrap_or_default();
        let agreed = audio::read_answer_to(&self.local, &said, answer)?;
        self.allow(&agreed)?;
        if let Some((_, sdp)) = self.offered.iter().find(|(way, _)| *way == agreed.protection) {
            self.said = Some(sdp.clone());
        }
        self.agree(now, agreed, IceRole::Controlling)
    }

    /// Begins nothing yet, but names ICE and a certificate in our descriptions.
    fn prepare(&mut self) {
        if self.local.keying.dtls.is_none() {
            let leg = self.keys.transport(self.local.rtp);
            self.local.keying.dtls = Some(leg.local().clone());
            self.prepared = Some(Box::new(leg));
        }
    }

    /// The connection of DTLS and its ICE stand for the life of the leg; another one would be another leg.
    fn allow(&self, wanted: &Negotiated) -> Result<(), AudioRefusal> {
        let Some(Keying::Dtls(standing)) = self.agreed.as_ref().map(|agreed| &agreed.keying) else {
            return Ok(());
        };
        match &wanted.keying {
            Keying::Dtls(peer)
                if (&peer.ufrag, peer.fingerprint) == (&standing.ufrag, standing.fingerprint) =>
            {
                Ok(())
            }
            _ => Err(AudioRefusal::NoDtls),
        }
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

    fn agree(&mut self, now: Instant, agreed: Negotiated, ice: IceRole) -> Result<(), AudioRefusal> {
        self.shield.agree(&agreed.keying, self.prepared.take())?;
        if let (Keying::Dtls(peer), Shield::Dtls(leg)) = (&agreed.keying, &mut self.shield) {
            leg.connect(now, peer.clone(), ice);
            leg.start_dtls(now);
            self.local.keying.role = leg.setup();
        } else {
            self.local.keying.dtls = None;
        }
        match &mut self.latch {
            Some(latch) => {
                latch.signal(agreed.remote_rtp);
                let before = self.agreed.as_ref().map(|it| it.remote_rtcp);
                self.reports_from = self.reports_from.filter(|_| before == Some(agreed.remote_rtcp));
            }
            None => self.latch = Some(Latch::shunning(agreed.remote_rtp, self.before)),
        }
        self.agreed = Some(agreed);
        Ok(())
    }

    /// Takes a datagram of either port.
    ///
    /// The source of what is encrypted is proven by its key, so the address follows it; of plain RTP only a packet
    /// of an agreed payload type can move the address, and not far (call-handling rule 14).
    pub fn receive<'a>(
        &mut self,
        now: Instant,
        port: BridgePort,
        from: SocketAddr,
        bytes: &'a [u8],
    ) -> Heard<'a> {
        let Some(agreed) = &mut self.agreed else { return Heard::Foreign };
        match self.shield.open(now, from, bytes) {
            Behind::Rtp(packet) if port == BridgePort::Rtp => {
                let Some(latch) = &mut self.latch else { return Heard::Foreign };
                let Ok(parsed) = RtpPacket::parse(&packet) else { return Heard::Foreign };
                let payload_type = parsed.header.payload_type;
                let other = if expects(agreed, payload_type) {
                    None
                } else {
                    let calm = self.switched.is_none_or(|(at, _)| now >= at + BETWEEN_SWITCHES);
                    let other =
                        agreed.alternatives.iter().position(|it| it.receive_payload_type == payload_type);
                    let Some(other) = other.filter(|_| calm) else { return Heard::Foreign };
                    Some(other)
                };
                let source = match self.shield {
                    Shield::Clear => latch.judge(now, from),
                    Shield::Sdes(_) => latch.follow(now, from),
                    Shield::Dtls(_) => Source::Known,
                };
                if source == Source::Foreign {
                    return Heard::Foreign;
                }
                if let Some(other) = other {
                    go_over(agreed, other);
                    self.switched = Some((now, Pipes::AsBefore));
                }
                Heard::Rtp(packet)
            }
            Behind::Rtcp(packet) if !matches!(self.shield, Shield::Clear) || self.trusts(from) => {
                self.reports_from = Some(from).filter(|_| port == BridgePort::Rtcp);
                Heard::Rtcp(packet)
            }
            Behind::Rtp(_) | Behind::Rtcp(_) | Behind::Nothing => Heard::Nothing,
            Behind::Foreign => Heard::Foreign,
        }
    }

    /// True once after the far end has gone over to another codec of its answer: both ways go on in that one.
    pub fn take_switch(&mut self) -> bool {
        match &mut self.switched {
            Some((_, pipes)) => std::mem::replace(pipes, Pipes::Set) == Pipes::AsBefore,
            None => false,
        }
    }

    /// True if plain RTCP from `from` can be the phone's: it comes from a host that we send to.
    fn trusts(&self, from: SocketAddr) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| {
            agreed.remote_rtcp.ip() == from.ip() || self.rtp_target().is_some_and(|it| it.ip() == from.ip())
        })
    }

    /// A packet as it leaves, and where to; `None` while there is no way or no key.
    pub fn seal_rtp<'a>(&'a mut self, packet: &'a [u8]) -> Option<(SocketAddr, &'a [u8])> {
        let to = self.rtp_target();
        match &mut self.shield {
            Shield::Clear => Some((to?, packet)),
            Shield::Sdes(srtp) => {
                self.sealed = srtp.protect_rtp(packet)?;
                Some((to?, &self.sealed))
            }
            Shield::Dtls(leg) => leg.protect_rtp(packet),
        }
    }

    /// A report as it leaves, from which port and where to.
    pub fn seal_rtcp<'a>(&'a mut self, compound: &'a [u8]) -> Option<(BridgePort, SocketAddr, &'a [u8])> {
        let to = self.rtcp_target();
        let port = if self.is_muxed() { BridgePort::Rtp } else { BridgePort::Rtcp };
        match &mut self.shield {
            Shield::Clear => Some((port, to?, compound)),
            Shield::Sdes(srtp) => {
                self.sealed = srtp.protect_rtcp(compound)?;
                Some((port, to?, &self.sealed))
            }
            Shield::Dtls(leg) => {
                let (to, sealed) = leg.protect_rtcp(compound)?;
                Some((BridgePort::Rtp, to, sealed))
            }
        }
    }

    /// STUN or DTLS to be sent from the RTP port.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let Shield::Dtls(leg) = &mut self.shield else { return None };
        leg.poll_transmit()
    }

    /// What happened to ICE and DTLS.
    pub fn poll_event(&mut self) -> Option<LegEvent> {
        let Shield::Dtls(leg) = &mut self.shield else { return None };
        leg.poll_event()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Shield::Dtls(leg) = &self.shield else { return None };
        leg.poll_timeout()
    }

    /// Lets time pass; early and extra calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Shield::Dtls(leg) = &mut self.shield
            && leg.poll_timeout().is_some_and(|due| due <= now)
        {
            leg.handle_timeout(now);
        }
    }

    /// How its packets are protected; for the record.
    #[must_use]
    pub fn protection(&self) -> Option<&'static str> {
        match &self.shield {
            Shield::Clear => None,
            Shield::Sdes(srtp) => Some(srtp.profile().name()),
            Shield::Dtls(leg) => leg.profile().map(SrtpProfile::name),
        }
    }

    /// Where RTP goes.
    #[must_use]
    pub fn rtp_target(&self) -> Option<SocketAddr> {
        if let Shield::Dtls(leg) = &self.shield {
            return leg.remote_address();
        }
        self.latch.as_ref().and_then(Latch::target)
    }

    /// Where RTCP goes: where the phone's own comes from; before any came, beside the RTP that was learnt, as far as
    /// the signalled one differs from it.
    #[must_use]
    pub fn rtcp_target(&self) -> Option<SocketAddr> {
        let agreed = self.agreed.as_ref()?;
        let rtp = self.rtp_target()?;
        if agreed.rtcp_mux {
            return Some(rtp);
        }
        if let Some(from) = self.reports_from.filter(|it| it.ip() == rtp.ip()) {
            return Some(from);
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

    /// True if no phone is there: nothing was agreed on.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.agreed.is_none()
    }

    /// True if the phone has put the call on hold.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.agreed.is_some() && !(self.hears() && self.speaks())
    }
}

/// The far end speaks another codec of its answer, and so do we from now on; it may go back.
fn go_over(agreed: &mut Negotiated, other: usize) {
    let before = Alternative {
        codec: agreed.codec,
        payload_type: agreed.payload_type,
        receive_payload_type: agreed.receive_payload_type,
        telephone_event: agreed.telephone_event,
    };
    let new = std::mem::replace(&mut agreed.alternatives[other], before);
    agreed.codec = new.codec;
    agreed.payload_type = new.payload_type;
    agreed.receive_payload_type = new.receive_payload_type;
    agreed.telephone_event = new.telephone_event;
}

/// Whether packets of `payload_type` were agreed on.
fn expects(agreed: &Negotiated, payload_type: PayloadType) -> bool {
    payload_type == agreed.receive_payload_type
        || agreed.receive_telephone_events.iter().flatten().any(|it| it.payload_type == payload_type)
        || payload_type == COMFORT_NOISE
}
