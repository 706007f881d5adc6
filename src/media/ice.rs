//! Full ICE (RFC 8445) for one component on one socket, and consent (RFC 7675).
//!
//! The only file that names `is`. The library nominates the first pair that answers (its first check
//! carries no USE-CANDIDATE, so this is regular nomination) and may later move to a better one. Here a
//! nomination counts when the peer has confirmed it, or has had half a second to do so, and it is final:
//! all other pairs are dropped then, because Meta's relay must not see the pair change during a call
//! (reference §12.4).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket, TransId};
use is::{Candidate, CandidateKind, IceAgent, IceAgentEvent, IceCreds, Protocol};

use crate::random::Random;
use crate::sdp::webrtc::RemoteTransport;

/// Pace of checks (RFC 8445 §14.2 demands at least 5 ms and proposes 50).
const PACE: Duration = Duration::from_millis(20);
/// Between consent checks: RFC 7675 §5.1 proposes 5 s.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// Without an answer for this long there is no consent to send (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// After the first check of a pair.
const FIRST_SETUP_INTERVAL: Duration = Duration::from_millis(100);
/// Between its later ones, until a pair is nominated. RFC 8445 §14.3 would double from 500 ms; browsers
/// send every 50 ms, because a caller must not wait for seconds when three packets are lost.
const SETUP_INTERVAL: Duration = Duration::from_millis(200);
/// Checks in a row that may go unanswered before the library drops a pair: more than [`DEADLINE`] holds,
/// and fewer than 120, because the library shifts a number by this many bits.
const SETUP_CHECKS: usize = 110;
/// The first interval of a connected pair, doubling up to [`CONSENT_INTERVAL`].
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
/// The same once connected; more than [`CONSENT`] holds, so that the rule of RFC 7675 decides and not
/// the library's.
const CONSENT_CHECKS: usize = 14;
/// How long a pair may take to be nominated; Meta hangs up after 20 s without media.
const DEADLINE: Duration = Duration::from_secs(20);
/// Candidate pairs at most: ours is one socket, a peer has a few addresses.
const MAX_PAIRS: usize = 24;
/// How long a peer may take to confirm a nomination, at least; two round trips if they are longer. Some
/// agents answer the first nominating check with a check of their own, so it is repeated before; and
/// for one that never answers it, the pair is proven anyway.
const CONFIRMATION: Duration = Duration::from_millis(500);
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

/// Who decides on the pair (RFC 8445 §6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRole {
    /// We do: we offered, or the far end is ICE-lite.
    Controlling,
    /// The far end does.
    Controlled,
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
pub struct Ice {
    agent: IceAgent,
    local: SocketAddr,
    stage: Stage,
    /// The pair that the library has chosen, and when it counts without the peer's confirmation.
    chosen: Option<(SocketAddr, Instant)>,
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
        agent.set_initial_stun_rto(FIRST_SETUP_INTERVAL);
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

    /// Who decides, if we should not: to be said before the checks begin. An ICE-lite peer never does.
    pub fn set_role(&mut self, role: IceRole, remote: &RemoteTransport) {
        self.agent.set_controlling(role == IceRole::Controlling || remote.ice_lite);
    }

    /// Begins checks towards `remote`; the socket's own address family only, so that the other family's
    /// candidates cost nothing.
    pub fn start(&mut self, now: Instant, remote: &RemoteTransport) {
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
            if let Some((remote, _)) = self.chosen {
                self.connect(now, remote);
                self.slow_down();
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
            _ => {}
        }
        if let (Stage::Checking(_), Some((remote, at))) = (self.stage, self.chosen)
            && now >= at
        {
            self.connect(now, remote);
            self.drop_other_pairs();
        }
        if self.stage != Stage::Over && self.timeout.is_some_and(|at| now >= at) {
            self.advance(now);
        }
    }

    /// A STUN message to be sent.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let transmit = self.agent.poll_transmit()?;
        if self.stage == Stage::Over {
            return None;
        }
        let message = StunMessage::parse(&transmit.contents).ok().filter(StunMessage::use_candidate);
        if let Some(message) =
            message.filter(|_| self.chosen.is_some_and(|(remote, _)| remote == transmit.destination))
        {
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
            Stage::Checking(since) => {
                self.chosen.map_or(since + DEADLINE, |(_, at)| at.min(since + DEADLINE))
            }
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
                self.slow_down();
            } else if matches!(self.stage, Stage::Checking(_)) {
                let round_trip = self.agent.nominated_pair_rtt().unwrap_or(CONFIRMATION);
                self.chosen = Some((destination, now + CONFIRMATION.max(2 * round_trip)));
                self.nominating.clear();
            }
        }
    }

    fn connect(&mut self, now: Instant, remote: SocketAddr) {
        match self.stage {
            Stage::Checking(_) => self.event = Some(IceEvent::Connected),
            Stage::Connected { remote: current, .. } if current != remote && !self.agent.controlling() => {}
            _ => return,
        }
        self.chosen = None;
        self.nominating = Vec::new();
        let answers = self.agent.nominated_pair_responses_received().unwrap_or(0);
        self.stage = Stage::Connected { remote, heard: now, answers };
    }

    fn note_consent(&mut self, now: Instant) {
        if let Stage::Connected { heard, answers, .. } = &mut self.stage {
            let total = self.agent.nominated_pair_responses_received();
            if let Some(total) = total.filter(|total| total > answers) {
                (*heard, *answers) = (now, total);
                self.slow_down();
            }
        }
    }

    /// From the pace of a set-up to the pace of consent.
    fn slow_down(&mut self) {
        self.agent.set_initial_stun_rto(FIRST_INTERVAL);
        self.agent.set_max_stun_rto(CONSENT_INTERVAL);
        self.agent.set_max_stun_retransmits(CONSENT_CHECKS);
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

/// Without the library's agent, which would print both passwords.
impl std::fmt::Debug for Ice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ice").field("local", &self.local).field("stage", &self.stage).finish_non_exhaustive()
    }
}

fn loopback(like: SocketAddr) -> std::net::IpAddr {
    if like.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::webrtc::Setup;

    const US: &str = "192.0.2.1:40000";
    const RELAY: &str = "203.0.113.49:3480";

    /// An ICE-lite agent like Meta's relays: it only answers.
    struct Relay(IceAgent);

    impl Relay {
        fn answer(&mut self, now: Instant, request: &[u8]) -> Option<Vec<u8>> {
            let (source, destination) = (US.parse().unwrap(), RELAY.parse().unwrap());
            let message = StunMessage::parse(request).unwrap();
            self.0.handle_packet(now, StunPacket { proto: Protocol::Udp, source, destination, message });
            self.0.poll_transmit().map(|transmit| transmit.contents.into())
        }
    }

    fn meet(now: Instant) -> (Ice, Relay) {
        let mut ice = Ice::new(US.parse().unwrap(), &[], &mut Random::from_number(1));
        let mut relay = IceAgent::new(IceCreds { ufrag: "relay".to_owned(), pass: "padded==".to_owned() });
        relay.set_ice_lite(true);
        relay.add_local_candidate(Candidate::host(RELAY.parse().unwrap(), Protocol::Udp).unwrap());
        let (ufrag, pass) = ice.credentials();
        relay.set_remote_credentials(IceCreds { ufrag: ufrag.to_owned(), pass: pass.to_owned() });
        let remote = RemoteTransport {
            ufrag: "relay".to_owned(),
            pwd: "padded==".to_owned(),
            fingerprint: [0; 32],
            setup: Setup::ActPass,
            ice_lite: true,
            candidates: vec!["[2001:db8::1]:3480".parse().unwrap(), RELAY.parse().unwrap()],
        };
        ice.start(now, &remote);
        (ice, Relay(relay))
    }

    fn nominates(message: &[u8]) -> bool {
        StunMessage::parse(message).unwrap().use_candidate()
    }

    #[test]
    fn a_relay_is_checked_then_nominated_then_connected() {
        let now = Instant::now();
        let (mut ice, mut relay) = meet(now);
        let (to, check) = ice.poll_transmit().unwrap();
        assert_eq!((to, ice.poll_transmit()), (RELAY.parse().unwrap(), None), "IPv4 only, one check");
        assert!(!nominates(&check), "regular nomination: the first check does not nominate");
        assert!(StunMessage::parse(&check).unwrap().ice_controlling().is_some());
        ice.handle_datagram(now, to, &relay.answer(now, &check).unwrap());
        let (_, nomination) = ice.poll_transmit().unwrap();
        assert!(nominates(&nomination), "at once, without waiting for the pace");
        assert_eq!((ice.poll_event(), ice.remote()), (None, None));
        ice.handle_datagram(now, to, &relay.answer(now, &nomination).unwrap());
        assert_eq!((ice.poll_event(), ice.remote()), (Some(IceEvent::Connected), Some(to)));
    }

    #[test]
    fn a_nomination_without_an_answer_is_repeated_and_counts_after_half_a_second_or_two_round_trips() {
        for (round_trip, wait) in [(10, 500), (300, 600)] {
            let began = Instant::now();
            let (mut ice, mut relay) = meet(began);
            let (to, check) = ice.poll_transmit().unwrap();
            let now = began + Duration::from_millis(round_trip);
            ice.handle_datagram(now, to, &relay.answer(began, &check).unwrap());
            let at = now + Duration::from_millis(wait);
            let mut nominations = 0;
            while ice.poll_timeout().unwrap() < at {
                ice.handle_timeout(ice.poll_timeout().unwrap());
                nominations +=
                    std::iter::from_fn(|| ice.poll_transmit()).filter(|(_, m)| nominates(m)).count();
            }
            assert!(nominations >= 3, "{nominations}");
            ice.handle_timeout(at - Duration::from_nanos(1));
            assert_eq!(ice.poll_event(), None);
            ice.handle_timeout(at);
            assert_eq!((ice.poll_event(), ice.remote()), (Some(IceEvent::Connected), Some(to)));
        }
    }

    #[test]
    fn consent_lasts_30_s_from_the_last_answer_and_is_asked_for_every_5_s() {
        let mut now = Instant::now();
        let (mut ice, mut relay) = meet(now);
        let mut checks = 0;
        let end = now + Duration::from_secs(120);
        while now < end {
            while let Some((to, check)) = ice.poll_transmit() {
                checks += 1;
                ice.handle_datagram(now, to, &relay.answer(now, &check).unwrap());
            }
            now = ice.poll_timeout().unwrap().max(now);
            ice.handle_timeout(now);
        }
        assert_eq!(ice.poll_event(), Some(IceEvent::Connected));
        assert!((24..=32).contains(&checks), "{checks} checks in 120 s");
        let silent = std::iter::from_fn(|| {
            while ice.poll_transmit().is_some() {}
            let at = ice.poll_timeout()?;
            ice.handle_timeout(at);
            Some(at)
        });
        let lost = silent.last().unwrap();
        assert_eq!((ice.poll_event(), ice.remote()), (Some(IceEvent::ConsentLost), None));
        let silence = lost - now;
        assert!(silence > Duration::from_secs(24) && silence <= Duration::from_secs(30), "{silence:?}");
    }
}
