//! Full ICE (RFC 8445) for one component on one socket, and consent (RFC 7675).
//!
//! The only file that names `is`. The library nominates the first pair that answers (its first check
//! carries no USE-CANDIDATE, so this is regular nomination) and may later move to a better one. Here a
//! nomination counts when the peer has confirmed it, and it is final: all other pairs are dropped then,
//! because Meta's relay must not see the pair change during a call (reference §12.4).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket, TransId};
use is::{Candidate, CandidateKind, IceAgent, IceAgentEvent, IceCreds, Protocol};

use crate::random::Random;
use crate::sdp::webrtc::RemoteWebRtc;

/// Pace of checks (RFC 8445 §14.2 demands at least 5 ms and proposes 50).
const PACE: Duration = Duration::from_millis(20);
/// Between consent checks: RFC 7675 §5.1 proposes 5 s.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// Without an answer for this long there is no consent to send (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// Longest wait between two checks of a pair that has not answered yet. The library doubles from 250 ms;
/// a caller must not wait 4 s more because three packets were lost.
const SETUP_INTERVAL: Duration = Duration::from_millis(500);
/// Checks in a row that may go unanswered before the library drops a pair; more than [`DEADLINE`] holds.
const SETUP_CHECKS: usize = 48;
/// The same once connected; more than [`CONSENT`] holds, so that the rule of RFC 7675 decides and not
/// the library's.
const CONSENT_CHECKS: usize = 14;
/// How long a pair may take to be nominated; Meta hangs up after 20 s without media.
const DEADLINE: Duration = Duration::from_secs(20);
/// Candidate pairs at most: ours is one socket, a peer has a few addresses.
const MAX_PAIRS: usize = 24;
/// Addresses from which checks of the peer may come; the library remembers each for the whole call.
const MAX_SOURCES: u64 = 64;
/// Nominating checks that may be under way at once.
const MAX_NOMINATING: usize = 16;

/// What ICE found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceEvent {
    /// A pair is nominated and the peer knows it.
    Connected,
    /// No pair within 20 s.
    Failed,
    /// 30 s without an answer on the nominated pair: nothing may be sent any more.
    ConsentLost,
}

/// How far ICE has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No remote description yet.
    Idle,
    /// Checks since this moment.
    Checking(Instant),
    /// A nominated pair, and when it last answered.
    Connected { remote: SocketAddr, heard: Instant, answers: u64 },
    /// Failed or without consent.
    Over,
}

/// The ICE agent of one leg.
#[derive(Debug)]
pub struct Ice {
    agent: IceAgent,
    local: SocketAddr,
    stage: Stage,
    /// The pair that the library has chosen and the peer has not confirmed yet.
    chosen: Option<SocketAddr>,
    /// Checks with USE-CANDIDATE for `chosen` that have no answer yet.
    nominating: Vec<TransId>,
    event: Option<IceEvent>,
    timeout: Option<Instant>,
}

impl Ice {
    /// An agent for the socket bound to `local`, controlling as the one that starts the checks.
    ///
    /// `advertised` stands in for `local` where the socket is bound to every address.
    #[must_use]
    pub fn new(local: SocketAddr, advertised: &[SocketAddr], random: &mut Random) -> Self {
        let creds = IceCreds { ufrag: random.token(8), pass: random.token(24) };
        let mut agent = IceAgent::new(creds);
        agent.set_controlling(true);
        agent.set_control_tie_breaker(random.next_u64());
        agent.set_timing_advance(PACE);
        agent.set_max_stun_rto(SETUP_INTERVAL);
        agent.set_max_stun_retransmits(SETUP_CHECKS);
        agent.set_max_candidate_pairs(MAX_PAIRS);
        let same_family = advertised.iter().find(|a| a.is_ipv4() == local.is_ipv4()).map(SocketAddr::ip);
        let stand_ins = [Some(local.ip()), same_family, Some(loopback(local))];
        let base = stand_ins.into_iter().flatten().find_map(|ip| {
            let address = SocketAddr::new(ip, local.port());
            Some((address, Candidate::host(address, Protocol::Udp).ok()?))
        });
        let (local, candidate) = base.expect("loopback is a valid host candidate");
        agent.add_local_candidate(candidate);
        Self {
            agent,
            local,
            stage: Stage::Idle,
            chosen: None,
            nominating: Vec::new(),
            event: None,
            timeout: None,
        }
    }

    /// Our `ice-ufrag` and `ice-pwd`.
    #[must_use]
    pub fn credentials(&self) -> (&str, &str) {
        let creds = self.agent.local_credentials();
        (&creds.ufrag, &creds.pass)
    }

    /// Begins checks towards `remote`; the socket's own address family only, so that the other family's
    /// candidates cost nothing.
    pub fn start(&mut self, now: Instant, remote: &RemoteWebRtc) {
        self.agent.set_remote_credentials(IceCreds { ufrag: remote.ufrag.clone(), pass: remote.pwd.clone() });
        for (index, &address) in (0_u32..).zip(&remote.candidates) {
            if address.is_ipv4() == self.local.is_ipv4() {
                // The list is in the peer's order of priority: the numbers only have to fall.
                let priority = (126 << 24) | ((65_535 - index.min(65_535)) << 8) | 255;
                self.agent.add_remote_candidate(Candidate::from_parts(
                    index.to_string(),
                    1,
                    Protocol::Udp,
                    priority,
                    address,
                    CandidateKind::Host,
                    None,
                    None,
                    None,
                ));
            }
        }
        self.stage = Stage::Checking(now);
        self.advance(now);
    }

    /// Where packets go: the nominated remote address, while there is consent.
    #[must_use]
    pub const fn remote(&self) -> Option<SocketAddr> {
        match self.stage {
            Stage::Connected { remote, .. } => Some(remote),
            _ => None,
        }
    }

    /// Whether a packet from `from` may be looked at: the nominated address, or one that checks proved.
    #[must_use]
    pub fn accepts(&self, from: SocketAddr) -> bool {
        match self.stage {
            Stage::Connected { remote, .. } if remote == from => true,
            Stage::Over => false,
            _ => self.agent.has_viable_remote_candidate(from),
        }
    }

    /// Takes a STUN message; what does not authenticate changes nothing.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(message) = StunMessage::parse(datagram) else { return };
        let transaction = message.is_successful_binding_response().then(|| message.trans_id());
        let packet = StunPacket { proto: Protocol::Udp, source: from, destination: self.local, message };
        let full = self.agent.stats().discovered_recv_count >= MAX_SOURCES && !self.accepts(from);
        if full || self.stage == Stage::Over || !self.agent.handle_packet(now, packet) {
            return;
        }
        self.drain_events(now);
        if let Some(position) = self.nominating.iter().position(|&id| Some(id) == transaction) {
            self.nominating.swap_remove(position);
            if let Some(remote) = self.chosen {
                self.connect(now, remote);
            }
        }
        self.note_consent(now);
        self.drop_other_pairs();
        self.advance(now);
    }

    /// Lets time pass; early and extra calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Idle | Stage::Over => {}
            Stage::Checking(since) if now >= since + DEADLINE => self.end(IceEvent::Failed),
            Stage::Connected { heard, .. } if now >= heard + CONSENT => self.end(IceEvent::ConsentLost),
            _ if self.timeout.is_some_and(|at| now >= at) => self.advance(now),
            _ => {}
        }
    }

    /// A STUN message to be sent.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let transmit = self.agent.poll_transmit()?;
        if self.stage == Stage::Over {
            return None;
        }
        let message = StunMessage::parse(&transmit.contents).ok().filter(StunMessage::use_candidate);
        if let Some(message) = message.filter(|_| self.chosen == Some(transmit.destination)) {
            if self.nominating.len() == MAX_NOMINATING {
                self.nominating.remove(0);
            }
            self.nominating.push(message.trans_id());
        }
        Some((transmit.destination, transmit.contents.into()))
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        self.event.take()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end = match self.stage {
            Stage::Idle | Stage::Over => return None,
            Stage::Checking(since) => since + DEADLINE,
            Stage::Connected { heard, .. } => heard + CONSENT,
        };
        Some(self.timeout.map_or(end, |at| at.min(end)))
    }

    /// The round trip of the last answered check on the nominated pair.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.agent.nominated_pair_rtt()
    }

    fn advance(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
        self.drain_events(now);
        self.timeout = self.agent.poll_timeout();
    }

    fn drain_events(&mut self, now: Instant) {
        while let Some(event) = self.agent.poll_event() {
            let IceAgentEvent::NominatedSend { destination, .. } = event else { continue };
            if !self.agent.controlling() {
                // The peer's own nomination needs no confirmation.
                self.connect(now, destination);
            } else if matches!(self.stage, Stage::Checking(_)) && self.chosen != Some(destination) {
                self.chosen = Some(destination);
                self.nominating.clear();
            }
        }
    }

    fn connect(&mut self, now: Instant, remote: SocketAddr) {
        match self.stage {
            Stage::Checking(_) => {
                self.event = Some(IceEvent::Connected);
                self.agent.set_max_stun_rto(CONSENT_INTERVAL);
                self.agent.set_max_stun_retransmits(CONSENT_CHECKS);
            }
            Stage::Connected { remote: current, .. } if current != remote && !self.agent.controlling() => {}
            _ => return,
        }
        self.chosen = Some(remote);
        let answers = self.agent.nominated_pair_responses_received().unwrap_or(0);
        self.stage = Stage::Connected { remote, heard: now, answers };
    }

    fn note_consent(&mut self, now: Instant) {
        if let Stage::Connected { heard, answers, .. } = &mut self.stage {
            let total = self.agent.nominated_pair_responses_received();
            if let Some(total) = total.filter(|total| total > answers) {
                (*heard, *answers) = (now, total);
            }
        }
    }

    /// Makes our own nomination final; a controlled agent follows the peer's.
    fn drop_other_pairs(&mut self) {
        let Some(remote) = self.remote().filter(|_| self.agent.controlling()) else { return };
        let others: Vec<_> = self.agent.remote_candidates().filter(|c| c.addr() != remote).collect();
        for other in &others {
            self.agent.invalidate_candidate(other);
        }
    }

    fn end(&mut self, event: IceEvent) {
        self.stage = Stage::Over;
        self.event = Some(event);
        self.timeout = None;
    }
}

fn loopback(like: SocketAddr) -> std::net::IpAddr {
    if like.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() }
}
