//! The WebRTC side of a call: one socket, one audio stream, ICE, DTLS and SRTP, without doing any I/O.
//!
//! Signalling gives it Meta's SDP and takes ours; the owner of the socket feeds it datagrams and time
//! and sends what it asks to. The order is fixed (reference §12.4, §12.5): checks begin with the remote
//! description, DTLS once a pair is nominated *and* [`WebRtcLeg::start_dtls`] was called, RTP once DTLS
//! has proven the certificate.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::dtls::{DtlsEndpoint, DtlsFailure, DtlsOutput, DtlsRole, Identity};
use super::ice::{Ice, IceEvent, IceRole};
use super::shield::{Behind, Opened};
use super::srtp::{Srtp, SrtpProfile};
use crate::random::Random;
use crate::rtp::Ssrc;
use crate::sdp::webrtc::{
    FingerprintCase, LocalTransport, LocalWebRtc, RemoteTransport, RemoteWebRtc, Setup, WebRtcRefusal,
    read_webrtc, write_answer, write_offer,
};

/// Datagrams of a DTLS client that was faster than our permission to begin; a ClientHello is one or two.
const MAX_EARLY: usize = 4;
/// The largest of them that is kept.
const MAX_EARLY_BYTES: usize = 2048;

/// What a leg is made of.
#[derive(Clone, Debug)]
pub struct WebRtcSettings {
    /// What the leg's own UDP socket is bound to.
    pub local: SocketAddr,
    /// The addresses that the SDP names, as the far end sees the socket; best first, may be empty.
    pub candidates: Vec<SocketAddr>,
    /// The process's certificate.
    pub identity: Arc<Identity>,
    /// The one SSRC of the call.
    pub ssrc: Ssrc,
    /// Its RTCP name.
    pub cname: String,
    /// How the hash name is written in our SDP.
    pub fingerprint_case: FingerprintCase,
}

/// What happened on the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEvent {
    /// ICE has a nominated pair.
    IceConnected,
    /// DTLS is up, the certificate is the announced one: RTP can flow.
    DtlsUp,
    /// There will be no keys.
    DtlsFailed(DtlsFailure),
    /// No ICE pair within 20 s.
    IceFailed,
    /// 30 s without an answer to consent checks (RFC 7675): the leg has stopped sending.
    ConsentLost,
    /// The peer closed the DTLS connection.
    Closed,
}

/// What a datagram turned out to be; media is decrypted and valid until the next call.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing for the caller: STUN, DTLS, or something that was refused.
    Nothing,
    /// An RTP packet in the clear.
    Rtp(&'a [u8]),
    /// A compound RTCP packet in the clear.
    Rtcp(&'a [u8]),
}

/// What a datagram claims to be by its first bytes (RFC 7983 §7, RFC 5761 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Other,
}

impl Protocol {
    fn of(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, _, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

/// The WebRTC leg of one call.
pub struct WebRtcLeg {
    description: LocalWebRtc,
    identity: Arc<Identity>,
    remote: Option<RemoteWebRtc>,
    peer: Option<RemoteTransport>,
    ice: Ice,
    /// Known with the remote description.
    role: Option<DtlsRole>,
    dtls_allowed: bool,
    dtls: Option<Box<dyn DtlsEndpoint>>,
    /// When it wants to be called, at hand: every packet of the call asks for it.
    dtls_due: Option<Instant>,
    early: Vec<Vec<u8>>,
    srtp: Option<Srtp>,
    sent: BytesMut,
    received: BytesMut,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<LegEvent>,
}

impl WebRtcLeg {
    /// A leg that has said nothing yet.
    #[must_use]
    pub fn new(settings: WebRtcSettings, mut random: Random) -> Self {
        let WebRtcSettings { local, candidates, identity, ssrc, cname, fingerprint_case } = settings;
        let ice = Ice::new(local, &candidates, &mut random);
        let (ufrag, pwd) = ice.credentials();
        let description = LocalWebRtc {
            // RFC 8866 §5.2 wants a number that many parsers hold in 63 bits.
            session_id: random.next_u64() >> 2,
            transport: LocalTransport {
                ufrag: ufrag.to_owned(),
                pwd: pwd.to_owned(),
                fingerprint: identity.fingerprint(),
                candidates,
                fingerprint_case,
            },
            ssrc,
            cname,
        };
        Self {
            description,
            identity,
            remote: None,
            peer: None,
            ice,
            role: None,
            dtls_allowed: false,
            dtls: None,
            dtls_due: None,
            early: Vec::new(),
            srtp: None,
            sent: BytesMut::new(),
            received: BytesMut::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Our offer of a business-initiated call; the same text every time.
    pub fn offer(&mut self) -> String {
        write_offer(&self.description)
    }

    /// Takes Meta's offer, begins ICE, and gives the answer for both `pre_accept` and `accept`.
    ///
    /// # Errors
    /// [`WebRtcRefusal`] if the offer cannot be used; the leg is unchanged then.
    pub fn answer(&mut self, now: Instant, offer: &str) -> Result<String, WebRtcRefusal> {
        let remote = read_webrtc(offer)?;
        let answer = write_answer(&self.description, &remote);
        self.start(now, remote);
        Ok(answer)
    }

    /// Takes Meta's answer to [`Self::offer`] and begins ICE.
    ///
    /// # Errors
    /// [`WebRtcRefusal`] if the answer cannot be used; the leg is unchanged then.
    pub fn apply_answer(&mut self, now: Instant, answer: &str) -> Result<(), WebRtcRefusal> {
        let remote = read_webrtc(answer)?;
        self.start(now, remote);
        Ok(())
    }

    fn start(&mut self, now: Instant, remote: RemoteWebRtc) {
        // Rule of reference §11 and invariant 6: the leg is never renegotiated; a repeated webhook
        // must not disturb it.
        if self.remote.is_some() {
            return;
        }
        // Reference §12.4: whoever offered, Meta is ICE-lite.
        self.connect(now, remote.transport.clone(), IceRole::Controlling);
        self.remote = Some(remote);
    }

    /// Our ICE and DTLS, for a description that is written elsewhere.
    #[must_use]
    pub const fn local(&self) -> &LocalTransport {
        &self.description.transport
    }

    /// Who we are in the DTLS connection, once the far end has described itself.
    #[must_use]
    pub fn setup(&self) -> Option<Setup> {
        self.role.map(|role| if role == DtlsRole::Client { Setup::Active } else { Setup::Passive })
    }

    /// Begins ICE with a far end that is described elsewhere; a second time does nothing.
    pub fn connect(&mut self, now: Instant, peer: RemoteTransport, role: IceRole) {
        if self.peer.is_some() {
            return;
        }
        self.role = Some(match peer.setup.reply() {
            Setup::Passive => DtlsRole::Server,
            Setup::Active | Setup::ActPass => DtlsRole::Client,
        });
        self.ice.set_role(role, &peer);
        self.ice.start(now, &peer);
        self.peer = Some(peer);
        self.drain_ice(now);
    }

    /// What the far end's SDP says.
    #[must_use]
    pub const fn remote(&self) -> Option<&RemoteWebRtc> {
        self.remote.as_ref()
    }

    /// The nominated remote address, while there is consent to send to it.
    #[must_use]
    pub const fn remote_address(&self) -> Option<SocketAddr> {
        self.ice.remote()
    }

    /// How packets are protected, once DTLS is up.
    #[must_use]
    pub fn profile(&self) -> Option<SrtpProfile> {
        self.srtp.as_ref().map(Srtp::profile)
    }

    /// Allows DTLS from now on: Meta has our SDP, so it can check our certificate.
    pub fn start_dtls(&mut self, now: Instant) {
        self.dtls_allowed = true;
        self.begin_dtls(now);
    }

    /// Takes a datagram of the leg's socket.
    pub fn handle_datagram<'a>(
        &'a mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Received<'a> {
        match Protocol::of(datagram) {
            Protocol::Stun => {
                self.ice.handle_datagram(now, from, datagram);
                self.drain_ice(now);
                Received::Nothing
            }
            Protocol::Dtls if self.ice.accepts(from) => {
                self.take_dtls(now, datagram);
                Received::Nothing
            }
            kind @ (Protocol::Rtp | Protocol::Rtcp) if self.ice.accepts(from) => {
                self.take_media(kind, datagram)
            }
            _ => Received::Nothing,
        }
    }

    /// The same as [`Self::handle_datagram`], with the packet handed over.
    pub fn open(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Behind<'static> {
        let rtcp = match self.handle_datagram(now, from, datagram) {
            Received::Nothing => return Behind::Nothing,
            Received::Rtp(_) => false,
            Received::Rtcp(_) => true,
        };
        let packet = Opened::Decrypted(std::mem::take(&mut self.received));
        if rtcp { Behind::Rtcp(packet) } else { Behind::Rtp(packet) }
    }

    fn take_media(&mut self, kind: Protocol, datagram: &[u8]) -> Received<'_> {
        let Some(srtp) = &mut self.srtp else { return Received::Nothing };
        let clear = match kind {
            Protocol::Rtcp => srtp.unprotect_rtcp(datagram),
            _ => srtp.unprotect_rtp(datagram),
        };
        let Some(clear) = clear else { return Received::Nothing };
        self.received = clear;
        match kind {
            Protocol::Rtcp => Received::Rtcp(&self.received),
            _ => Received::Rtp(&self.received),
        }
    }

    /// An RTP packet of ours, encrypted, and where it goes; [`None`] until DTLS is up.
    pub fn protect_rtp(&mut self, packet: &[u8]) -> Option<(SocketAddr, &[u8])> {
        let remote = self.ice.remote()?;
        self.sent = self.srtp.as_mut()?.protect_rtp(packet)?;
        Some((remote, &self.sent))
    }

    /// A compound RTCP packet of ours, encrypted, and where it goes; [`None`] until DTLS is up.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Option<(SocketAddr, &[u8])> {
        let remote = self.ice.remote()?;
        self.sent = self.srtp.as_mut()?.protect_rtcp(packet)?;
        Some((remote, &self.sent))
    }

    /// A STUN or DTLS datagram to be sent.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<LegEvent> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.ice.poll_timeout(), self.dtls_due].into_iter().flatten().min()
    }

    /// Lets time pass; early and extra calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now);
        self.drain_ice(now);
        if let Some(dtls) = self.dtls.as_mut().filter(|_| self.dtls_due.is_some_and(|at| now >= at)) {
            dtls.handle_timeout(now);
            self.drain_dtls();
        }
    }

    fn drain_ice(&mut self, now: Instant) {
        while let Some(transmit) = self.ice.poll_transmit() {
            self.transmits.push_back(transmit);
        }
        match self.ice.poll_event() {
            Some(IceEvent::Connected) => {
                self.events.push_back(LegEvent::IceConnected);
                self.begin_dtls(now);
            }
            Some(IceEvent::Failed) => self.stop(LegEvent::IceFailed),
            Some(IceEvent::ConsentLost) => self.stop(LegEvent::ConsentLost),
            None => {}
        }
    }

    /// Nothing more is sent, DTLS retransmissions included.
    fn stop(&mut self, event: LegEvent) {
        (self.dtls, self.dtls_due) = (None, None);
        self.early = Vec::new();
        self.transmits.clear();
        self.events.push_back(event);
    }

    fn begin_dtls(&mut self, now: Instant) {
        let (true, None, Some(peer), Some(role)) = (self.dtls_allowed, &self.dtls, &self.peer, self.role)
        else {
            return;
        };
        if self.ice.remote().is_none() {
            return;
        }
        self.dtls = Some(self.identity.start(role, peer.fingerprint, now));
        self.drain_dtls();
        for datagram in std::mem::take(&mut self.early) {
            self.take_dtls(now, &datagram);
        }
    }

    fn take_dtls(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_datagram(now, datagram);
            self.drain_dtls();
        } else if self.early.len() < MAX_EARLY && datagram.len() <= MAX_EARLY_BYTES {
            // A client that does not wait would otherwise begin again only after its own time-out.
            self.early.push(datagram.to_vec());
        }
    }

    fn drain_dtls(&mut self) {
        let Some(remote) = self.ice.remote() else { return };
        while let Some(output) = self.dtls.as_mut().and_then(|dtls| dtls.poll_output()) {
            match output {
                DtlsOutput::Datagram(datagram) => self.transmits.push_back((remote, datagram)),
                DtlsOutput::Keys(keys) => {
                    self.srtp = Srtp::new(keys);
                    self.events.push_back(match self.srtp {
                        Some(_) => LegEvent::DtlsUp,
                        None => LegEvent::DtlsFailed(DtlsFailure::NoSrtpProfile),
                    });
                }
                DtlsOutput::Failed(failure) => self.events.push_back(LegEvent::DtlsFailed(failure)),
                DtlsOutput::Closed => self.events.push_back(LegEvent::Closed),
            }
        }
        self.dtls_due = self.dtls.as_ref().and_then(|dtls| dtls.poll_timeout());
    }
}

impl std::fmt::Debug for WebRtcLeg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebRtcLeg")
            .field("remote", &self.ice.remote())
            .field("srtp", &self.srtp)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
