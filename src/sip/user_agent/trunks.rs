//! What is known of each trunk, and the requests that find it out: REGISTER and OPTIONS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::id::TrunkName;
use crate::time::Now;

use super::super::caller_id::dialable;
use super::super::message::uri::is_call_for_help;
use super::super::message::{Headers, Method, Name, NameAddr, Request, Response};
use super::super::transaction::ClientKey;
use super::super::trunk::{
    Attempt, Gate, Location, Lookups, NumberOf, Probed, Registration, RegistrationState, Remembered,
    ServerState, Servers, TrunkChange, TrunkPeer, TrunkStatus, Urgency, retry_after,
};
use super::incoming::{Incoming, dialled};
use super::leg::{Cancel, Owner};
use super::{ALLOW, Event, InviteRefusal, Timer, UserAgent};

/// One trunk as it is now.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) servers: Servers,
    /// Where those of its servers are that are given by name.
    pub(super) locations: Vec<Location>,
    pub(super) lookups: Lookups,
    /// Servers that take no TCP connection, until when that is believed.
    pub(super) no_stream: BTreeMap<SocketAddr, Instant>,
    /// What each server has challenged us with.
    pub(super) remembered: BTreeMap<SocketAddr, Remembered>,
    pub(super) login_refused: bool,
    pub(super) failovers: u64,
    gate: Gate,
    turned_away: u64,
    pub(super) registration: Option<Registration>,
    /// Call-ID and number of our REGISTER: all of a trunk's are one series (RFC 3261 §10.2).
    call_id: String,
    cseq: u32,
    /// The REGISTER and the OPTIONS that are out.
    registering: Option<ClientKey>,
    probing: BTreeMap<SocketAddr, ClientKey>,
}

impl Line {
    pub(super) fn new(peer: &TrunkPeer) -> Self {
        Self {
            servers: Servers::new(&peer.servers, peer.transport, peer.probe),
            locations: peer.named.iter().map(|it| Location::new(it.clone(), peer.locating)).collect(),
            lookups: Lookups::default(),
            no_stream: BTreeMap::new(),
            remembered: BTreeMap::new(),
            login_refused: false,
            failovers: 0,
            gate: Gate::new(peer.limits),
            turned_away: 0,
            registration: None,
            call_id: String::new(),
            cseq: 0,
            registering: None,
            probing: BTreeMap::new(),
        }
    }
}

impl UserAgent {
    /// Begins to register with trunks and to watch their servers.
    pub fn start_trunks(&mut self, now: Now) {
        for at in 0..self.lines.len() {
            let settings = self.settings.trunks[at].register.clone();
            let line = &mut self.lines[at];
            line.servers.start(now.mono, &mut self.random);
            for location in &mut line.locations {
                location.start(now.mono);
            }
            line.call_id = self.random.hex(16);
            line.registration = settings.map(|it| Registration::new(now.mono, it, &mut self.random));
            self.schedule_trunk(at);
        }
    }

    /// Gives every registration with a trunk back; [`UserAgent::has_left_trunks`] says when that is done.
    pub fn leave_trunks(&mut self, now: Now) {
        for at in 0..self.lines.len() {
            self.forget_register(at);
            let Some(registration) = &mut self.lines[at].registration else { continue };
            let farewell = registration.leave();
            if let Some(attempt) = farewell {
                self.send_register(now, at, attempt);
            }
            self.schedule_trunk(at);
        }
    }

    /// Whether nobody has to be told any more that we go.
    #[must_use]
    pub fn has_left_trunks(&self) -> bool {
        self.lines.iter().filter_map(|line| line.registration.as_ref()).all(Registration::is_over)
    }

    /// Every trunk as it is now, in the order of the settings.
    pub fn trunks(&self) -> impl Iterator<Item = TrunkStatus> {
        self.settings.trunks.iter().zip(&self.lines).map(|(peer, line)| TrunkStatus {
            name: peer.name.clone(),
            servers: line.servers.states().collect(),
            registration: peer
                .register
                .as_ref()
                .map(|_| line.registration.as_ref().map_or(RegistrationState::Trying, Registration::state)),
            login_refused: line.login_refused,
            calls: line.gate.calls(),
            turned_away: line.turned_away,
            failovers: line.failovers,
            names: line.locations.iter().map(|it| (it.named().sought.host.clone(), it.state())).collect(),
            lookups: line.lookups,
        })
    }

    /// Whether a call to the trunk can be tried: a server of it is up, or DNS may yet name one.
    #[must_use]
    pub fn is_trunk_usable(&self, name: &TrunkName) -> bool {
        let at = self.settings.trunks.iter().position(|it| it.name == *name);
        at.is_some_and(|at| self.lines[at].servers.is_any_up() || self.lines[at].may_be_located())
    }

    /// The trunk whose call this is, by the address it comes from.
    ///
    /// Of several trunks at one address (two accounts with one provider) it is the one whose account is called.
    pub(super) fn trunk_from(&self, incoming: &Incoming) -> Option<usize> {
        let source = incoming.flow.remote.ip();
        let called = dialled(&incoming.request);
        let secure = incoming.flow.transport.is_secure();
        let fitting = || {
            let all = self.settings.trunks.iter().enumerate();
            all.filter(|(at, it)| self.comes_from(*at, source) && (secure || !it.transport.is_secure()))
        };
        let account = |trunk: &TrunkPeer| trunk.register.as_ref().is_some_and(|it| it.user == called);
        fitting().find(|(_, trunk)| account(trunk)).or_else(|| fitting().next()).map(|(at, _)| at)
    }

    /// What the caller has dialled: of a trunk that calls our account, the number stands in To.
    pub(super) fn dialled_from(&self, trunk: Option<usize>, request: &Request) -> String {
        let dialled = dialled(request);
        // The name of a service is no number to be rewritten.
        let trunk = trunk.filter(|_| !is_call_for_help(&dialled));
        let Some(trunk) = trunk.map(|at| &self.settings.trunks[at]) else { return dialled };
        let ours = |number: &str| trunk.numbering.inward(NumberOf::Called, number);
        if trunk.register.as_ref().is_none_or(|it| it.user != dialled) {
            return ours(&dialled);
        }
        let called = [Name::PCalledPartyId, Name::To]
            .iter()
            .filter_map(|name| request.headers.get(name).and_then(NameAddr::parse))
            .map(|it| it.user_text())
            .find(|it| !it.is_empty());
        called.map_or(dialled, |called| ours(&called))
    }

    /// A call over a trunk begins; it counts until [`UserAgent::leave_trunk`].
    pub(super) fn enter_trunk(&mut self, now: Now, at: usize) -> Result<(), InviteRefusal> {
        let line = &mut self.lines[at];
        line.gate.enter(now.mono).map_err(|_| {
            line.turned_away += 1;
            InviteRefusal::TrunkFull
        })
    }

    /// As [`UserAgent::enter_trunk`], for a call that we make.
    pub(super) fn enter_trunk_for(
        &mut self,
        now: Now,
        at: usize,
        urgency: Urgency,
    ) -> Result<(), InviteRefusal> {
        match urgency {
            Urgency::Ordinary => self.enter_trunk(now, at),
            Urgency::Emergency => {
                self.lines[at].gate.enter_urgently();
                Ok(())
            }
        }
    }

    pub(super) fn leave_trunk(&mut self, trunk: Option<usize>) {
        if let Some(at) = trunk {
            self.lines[at].gate.leave();
        }
    }

    pub(super) fn schedule_trunk(&mut self, at: usize) {
        let line = &self.lines[at];
        let registration = line.registration.as_ref().and_then(Registration::poll_timeout);
        let names = line.locations.iter().filter_map(Location::poll_timeout).min();
        let next = [registration, line.servers.poll_timeout(), names].into_iter().flatten().min();
        self.schedule.set(&Timer::Trunk(at), next);
    }

    pub(super) fn tick_trunk(&mut self, now: Now, at: usize) {
        self.tick_names(now, at);
        while let Some(server) = self.lines[at].servers.overdue(now.mono) {
            self.forget_probe(at, server);
            self.probed(now, at, server, Probed::Silent);
        }
        while let Some(server) = self.lines[at].servers.take_probe(now.mono) {
            self.send_probe(now, at, server);
        }
        self.tick_registration(now, at);
        self.schedule_trunk(at);
    }

    fn tick_registration(&mut self, now: Now, at: usize) {
        let Some(registration) = &self.lines[at].registration else { return };
        if registration.is_overdue(now.mono) {
            self.forget_register(at);
            return self.register_lost(now, at);
        }
        let servers = self.registrars(now, at);
        let before = self.registration_of(at);
        let Some(registration) = &mut self.lines[at].registration else { return };
        let attempt = registration.handle_timeout(now.mono, &servers);
        self.registration_moved(at, before);
        if let Some(attempt) = attempt {
            self.send_register(now, at, attempt);
        }
    }

    /// The servers to register at: those that are up, or all of them when none is.
    fn registrars(&mut self, now: Now, at: usize) -> Vec<SocketAddr> {
        let up = self.lines[at].servers.order(now.mono, &mut self.random);
        if up.is_empty() { self.lines[at].servers.addresses() } else { up }
    }

    fn registration_of(&self, at: usize) -> Option<RegistrationState> {
        self.lines[at].registration.as_ref().map(Registration::state)
    }

    /// Tells of a registration that is not as it was.
    fn registration_moved(&mut self, at: usize, before: Option<RegistrationState>) {
        let after = self.registration_of(at);
        let change = match after {
            _ if before == after => return,
            Some(RegistrationState::Registered(server)) => TrunkChange::Registered(server),
            Some(RegistrationState::Failed(failure)) => TrunkChange::NotRegistered(failure),
            _ => return,
        };
        let trunk = self.settings.trunks[at].name.clone();
        self.events.push_back(Event::Trunk { trunk, change });
    }

    fn send_register(&mut self, now: Now, at: usize, attempt: Attempt) {
        let Some(contact) = self.own_uri(at) else { return };
        let (peer, line) = (&self.settings.trunks[at], &mut self.lines[at]);
        let Some(registration) = &line.registration else { return };
        let host = peer.domain.clone().unwrap_or_else(|| attempt.server.to_string());
        let user = dialable(&registration.settings().user);
        let own_contact = format!("<{contact}>");
        line.cseq += 1;
        let own = format!("<sip:{user}@{host}>");
        let mut headers = Headers::new();
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, format!("{own};tag={}", self.random.hex(8)));
        headers.push(Name::To, own);
        headers.push(Name::CallId, line.call_id.clone());
        headers.push(Name::CSeq, format!("{} REGISTER", line.cseq));
        headers.push(Name::Contact, own_contact);
        headers.push(Name::Expires, attempt.expires.as_secs().to_string());
        headers.push(Name::Allow, ALLOW);
        headers.push(Name::UserAgent, self.settings.product.clone());
        let uri = format!("sip:{host}");
        let request = Request { method: Method::Register, uri, headers, body: Vec::new() };
        let flow = self.flow_to_server(at, attempt.server);
        let branch = self.new_branch();
        let key = self.send_as(now, flow, request, Owner::Register(at), branch, Some(at));
        self.lines[at].registering = Some(key);
    }

    /// A final answer to our REGISTER that is no challenge we could answer.
    pub(super) fn hear_register(&mut self, now: Now, at: usize, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(contact) = self.own_uri(at) else { return };
        self.with_registration(now, at, |registration, random| match response.status {
            401 | 407 => registration.login_refused(now.mono, random),
            _ => registration.answered(now.mono, response, &contact, random),
        });
    }

    pub(super) fn register_lost(&mut self, now: Now, at: usize) {
        self.with_registration(now, at, |registration, random| registration.lost(now.mono, random));
    }

    fn with_registration(
        &mut self,
        now: Now,
        at: usize,
        act: impl FnOnce(&mut Registration, &mut crate::random::Random) -> Option<Attempt>,
    ) {
        let before = self.registration_of(at);
        self.lines[at].registering = None;
        let Some(registration) = &mut self.lines[at].registration else { return };
        let attempt = act(registration, &mut self.random);
        self.registration_moved(at, before);
        if let Some(attempt) = attempt {
            self.send_register(now, at, attempt);
        }
        self.schedule_trunk(at);
    }

    /// The number that the next REGISTER must pass: one that was sent again with credentials has used it.
    pub(super) fn note_register(&mut self, at: usize, key: ClientKey, number: u32) {
        let line = &mut self.lines[at];
        line.cseq = line.cseq.max(number);
        line.registering = Some(key);
    }

    fn forget_register(&mut self, at: usize) {
        if let Some(key) = self.lines[at].registering.take() {
            self.sent.remove(&key);
            self.schedule.set(&Timer::Client(key), None);
        }
    }

    fn send_probe(&mut self, now: Now, at: usize, server: SocketAddr) {
        let peer = &self.settings.trunks[at];
        let host = peer.domain.clone().unwrap_or_else(|| server.to_string());
        let mut headers = Headers::new();
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, format!("<sip:{}>;tag={}", self.settings.domain, self.random.hex(8)));
        headers.push(Name::To, format!("<sip:{host}>"));
        headers.push(Name::CallId, self.random.hex(16));
        headers.push(Name::CSeq, "1 OPTIONS");
        let flow = self.flow_to_server(at, server);
        headers.push(Name::Contact, self.contact(flow, "sip:"));
        headers.push(Name::Accept, "application/sdp");
        headers.push(Name::UserAgent, self.settings.product.clone());
        let request =
            Request { method: Method::Options, uri: format!("sip:{host}"), headers, body: Vec::new() };
        let branch = self.new_branch();
        let key = self.send_as(now, flow, request, Owner::Probe(at), branch, Some(at));
        self.lines[at].probing.insert(server, key);
    }

    /// An OPTIONS was sent again with credentials.
    pub(super) fn note_probe(&mut self, at: usize, server: SocketAddr, key: ClientKey) {
        self.lines[at].probing.insert(server, key);
    }

    fn forget_probe(&mut self, at: usize, server: SocketAddr) {
        if let Some(key) = self.lines[at].probing.remove(&server) {
            self.sent.remove(&key);
            self.schedule.set(&Timer::Client(key), None);
        }
    }

    /// Any answer shows that a server lives, but for those that say it cannot serve.
    pub(super) fn hear_probe(&mut self, now: Now, at: usize, server: SocketAddr, response: &Response) {
        if response.status < 200 {
            return;
        }
        self.lines[at].probing.remove(&server);
        let serving = !matches!(response.status, 408 | 500 | 502 | 503 | 504);
        self.probed(now, at, server, if serving { Probed::Served } else { Probed::NotServing });
    }

    pub(super) fn probed(&mut self, now: Now, at: usize, server: SocketAddr, outcome: Probed) {
        let line = &mut self.lines[at];
        let changed = line.servers.probed(now.mono, server, outcome, &mut self.random);
        if let Some(state) = changed {
            let change = match state {
                ServerState::Up => TrunkChange::ServerUp(server),
                ServerState::Down => TrunkChange::ServerDown(server),
            };
            if let (ServerState::Up, Some(registration)) = (state, &mut line.registration) {
                registration.hurry(now.mono);
            }
            let trunk = self.settings.trunks[at].name.clone();
            self.events.push_back(Event::Trunk { trunk, change });
        }
        self.schedule_trunk(at);
    }

    /// What an answer says of the server it came from, whatever the request was.
    pub(super) fn note_server(&mut self, now: Now, key: &ClientKey, response: &Response) {
        let Some(sent) = self.sent.get(key) else { return };
        let (remote, Some(at)) = (sent.flow.remote, sent.trunk) else { return };
        // What comes after the call was given up came too late to speak for the server.
        let too_late = matches!(&sent.owner, Owner::Invite(fork) if !matches!(fork.cancel, Cancel::Unwanted));
        if too_late || matches!(sent.owner, Owner::Probe(_)) {
            return;
        }
        match response.status {
            503 => {
                let longest = Duration::from_mins(5);
                let asked = retry_after(response).map(|it| it.min(longest));
                self.lines[at].servers.disappointed(now.mono, remote, asked);
            }
            ..500 | 600.. => self.lines[at].servers.heard(remote),
            _ => {}
        }
        self.schedule_trunk(at);
    }
}
