//! The SIP endpoint: hides retransmission, ACK, 100, digest and CANCEL matching from whoever makes calls.

mod change;
mod credentials;
mod digits;
mod event;
mod failover;
mod flows;
mod guard;
mod identity;
mod in_dialog;
mod inbound;
mod incoming;
mod lamps;
mod large;
mod leg;
mod locating;
mod notifying;
mod outbound;
mod protection;
mod refer;
mod register;
mod reliable;
mod reoffer;
mod session;
mod settings;
mod showing;
mod trunks;
mod watching;
mod ways;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::id::{LegId, PhoneName};
use crate::masked::{mask_digits, mask_keys};
use crate::random::Random;
use crate::time::Now;

use super::defence::{Admission, Defence};
use super::digest::Nonces;
use super::flow::Flow;
use super::message::{Head, Message, Name, Request, Response, parse};
use super::registrar::{Binding, Registrar};
use super::transaction::{Client, ClientKey, Schedule, Server, ServerKey, client, server};
use super::trunk::{Probed, Tried};

pub use digits::KeysByInfo;
pub use event::{
    Caller, CallerIdentity, CallerOrigin, Event, Invite, InviteRefusal, LegFailure, Reason, Refusal,
    SipFigures,
};
pub use locating::{Lookup, LookupId};
pub use refer::{Referral, ReferralId, Replaces, Telling};
pub use settings::{Listener, MessagesBy, PhoneAccount, PhoneLamps, Settings, WatchLimits, WatchedBy};

use incoming::Incoming;
use leg::{Leg, Owner};
use trunks::Line;
use watching::{WatchId, Watching};

/// What we understand, for Allow.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, REGISTER, SUBSCRIBE";
/// The extensions we understand, for Supported and Require: RFC 3262, RFC 4028, RFC 3891, RFC 4488.
const SUPPORTED: &str = "100rel, timer, replaces, norefersub";

/// What has a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Client(ClientKey),
    Server(ServerKey),
    Leg(LegId),
    Registrar,
    Trunk(usize),
    Watch(WatchId),
}

/// A request of ours on its way.
#[derive(Debug)]
struct Sent {
    client: Client,
    flow: Flow,
    /// It went on a stream only because it is too large for a datagram; the call itself stays on this flow.
    datagrams: Option<Flow>,
    owner: Owner,
    /// The trunk it went to, by its place in the settings.
    trunk: Option<usize>,
    tried: Tried,
}

/// A request of theirs being answered.
#[derive(Debug)]
struct Answering {
    server: Server,
    /// Where the answers go.
    to: Flow,
    /// The leg the request belongs to, if it is an INVITE.
    leg: Option<LegId>,
    /// See [`super::transaction::merge_key`].
    merge: Option<String>,
}

/// The user agent: one per process, without a socket of its own.
#[derive(Debug)]
pub struct UserAgent {
    settings: Settings,
    /// Where each phone stands in the settings, by name: known and unknown ones are looked up as fast.
    accounts: BTreeMap<String, usize>,
    random: Random,
    nonces: Nonces,
    defence: Defence,
    registrar: Registrar,
    /// What is known of each trunk of the settings, in their order.
    lines: Vec<Line>,
    legs: BTreeMap<LegId, Leg>,
    /// Legs by Call-ID and our tag.
    dialogs: BTreeMap<(String, String), LegId>,
    sent: BTreeMap<ClientKey, Sent>,
    answering: BTreeMap<ServerKey, Answering>,
    merges: BTreeMap<String, ServerKey>,
    watching: Watching,
    /// The last time that we were told: what changed is told to watchers as soon as it goes on.
    seen: Option<Instant>,
    schedule: Schedule<Timer>,
    transmits: VecDeque<(Flow, Vec<u8>)>,
    events: VecDeque<Event>,
    lookups: VecDeque<Lookup>,
    figures: SipFigures,
    last_leg: u64,
}

impl UserAgent {
    /// A user agent to which nobody is registered yet.
    #[must_use]
    pub fn new(settings: Settings, mut random: Random) -> Self {
        let nonces = Nonces::new(random.split(), settings.nonce_life);
        let registrar = Registrar::new(settings.limits());
        let lines = settings.trunks.iter().map(Line::new).collect();
        let defence = locating::defence(&settings);
        let named = settings.phones.iter().enumerate();
        let accounts = named.map(|(at, phone)| (phone.name.as_str().to_owned(), at)).collect();
        Self {
            settings,
            accounts,
            random,
            nonces,
            defence,
            registrar,
            lines,
            legs: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            sent: BTreeMap::new(),
            answering: BTreeMap::new(),
            merges: BTreeMap::new(),
            watching: Watching::default(),
            seen: None,
            schedule: Schedule::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            lookups: VecDeque::new(),
            figures: SipFigures::default(),
            last_leg: 0,
        }
    }

    /// Our UDP sockets.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.settings.sockets().collect()
    }

    /// A datagram came, or a whole message on a stream.
    pub fn handle_message(&mut self, now: Now, flow: Flow, datagram: &[u8]) {
        self.figures.received += 1;
        self.seen = Some(now.mono);
        if !self.defence.lets_in(flow.transport, flow.remote.ip()) {
            return;
        }
        let admission = self.admit(now, flow.remote.ip(), datagram.len());
        if admission == Admission::Dropped {
            return;
        }
        if datagram.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | 0)) {
            self.figures.keepalives += 1;
            return;
        }
        trace("received", flow, datagram);
        match parse(datagram) {
            Ok(parsed) => match parsed.message {
                Message::Request(request) => {
                    let incoming = Incoming { request, head: parsed.head, flow };
                    if self.is_heard(now, admission, &incoming) {
                        self.handle_request(now, incoming);
                    }
                }
                Message::Response(response) => self.handle_response(now, flow, &response, &parsed.head),
            },
            Err(fault) if self.is_fault_heard(now, admission, flow) => {
                self.handle_fault(flow, fault, datagram.len());
            }
            Err(fault) => *self.figures.faults.entry(fault.kind).or_default() += 1,
        }
    }

    /// The network said that nobody listens at `remote` (ICMP); what was sent there has failed.
    pub fn handle_unreachable(&mut self, now: Now, remote: SocketAddr) {
        let lost: Vec<ClientKey> = self
            .sent
            .iter()
            .filter(|(_, sent)| sent.flow.remote == remote && sent.client.is_unheard())
            .map(|(key, _)| key.clone())
            .collect();
        for key in lost {
            self.lose(now, &key, LegFailure::Unreachable);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(Flow, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`UserAgent::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let changed = self.seen.filter(|_| self.watching.has_changed());
        [self.schedule.earliest(), changed].into_iter().flatten().min()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.seen = Some(now.mono);
        self.tell_watchers(now);
        while let Some(timer) = self.schedule.take_due(now.mono) {
            match timer {
                Timer::Client(key) => self.tick_client(now, &key),
                Timer::Server(key) => self.tick_server(now, &key),
                Timer::Leg(leg) => self.tick_leg(now, leg),
                Timer::Trunk(at) => self.tick_trunk(now, at),
                Timer::Watch(id) => self.tick_watch(now, id),
                Timer::Registrar => {
                    for phone in self.registrar.handle_timeout(now.mono) {
                        self.unregistered(phone);
                    }
                    self.keep_ways_open(now);
                    self.tell_watchers(now);
                    self.schedule.set(&Timer::Registrar, self.registrar.poll_timeout());
                }
            }
        }
    }

    /// Whether the phone had a binding when time last passed.
    #[must_use]
    pub fn is_registered(&self, phone: &PhoneName) -> bool {
        self.registrar.is_reachable(phone)
    }

    /// Every binding.
    pub fn registrations(&self) -> impl Iterator<Item = (&PhoneName, &Binding)> {
        self.registrar.iter()
    }

    /// How many calls a phone has, begun by whomever.
    #[must_use]
    pub fn legs_of(&self, phone: &PhoneName) -> usize {
        self.legs.values().filter(|leg| leg.phone.as_ref() == Some(phone)).count()
    }

    /// Counters and sizes.
    #[must_use]
    pub fn figures(&self) -> SipFigures {
        SipFigures {
            bindings: self.registrar.iter().count(),
            legs: self.legs.len(),
            subscriptions: self.watching.subscriptions.len(),
            transactions: self.sent.len() + self.answering.len(),
            ..self.figures.clone()
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: Vec<u8>) {
        trace("sent", flow, &bytes);
        self.figures.sent += 1;
        self.transmits.push_back((flow, bytes));
    }

    fn next_leg(&mut self) -> LegId {
        self.last_leg += 1;
        LegId(self.last_leg)
    }

    /// Sends a request of ours in a transaction of its own and tells its key; adds Via.
    fn send_request(&mut self, now: Now, flow: Flow, request: Request, owner: Owner) -> ClientKey {
        let branch = self.new_branch();
        self.send_on_branch(now, flow, request, owner, branch)
    }

    fn send_on_branch(
        &mut self,
        now: Now,
        flow: Flow,
        request: Request,
        owner: Owner,
        branch: String,
    ) -> ClientKey {
        let trunk = self.trunk_of(&request, flow);
        self.send_as(now, flow, request, owner, branch, trunk)
    }

    /// Sends a request to a trunk or to a phone; a trunk that has challenged us gets its credentials at once.
    fn send_as(
        &mut self,
        now: Now,
        flow: Flow,
        mut request: Request,
        owner: Owner,
        branch: String,
        trunk: Option<usize>,
    ) -> ClientKey {
        let tried = self.authorize(trunk, flow, &mut request);
        let (flow, datagrams) = self.wide_enough(now, trunk, flow, &request);
        self.dress(&mut request, flow, &branch);
        let key = ClientKey { branch, method: request.method.clone() };
        let client = Client::new(now.mono, self.settings.timers, flow.transport, request);
        self.transmit(flow, client.bytes().to_vec());
        self.schedule.set(&Timer::Client(key.clone()), client.poll_timeout());
        self.sent.insert(key.clone(), Sent { client, flow, datagrams, owner, trunk, tried });
        key
    }

    fn new_branch(&mut self) -> String {
        format!("{}{}", super::message::value::MAGIC_COOKIE, self.random.hex(10))
    }

    /// Puts our Via on top of a request.
    fn dress(&self, request: &mut Request, flow: Flow, branch: &str) {
        let (transport, own) = (flow.transport.in_via(), self.settings.advertised_on(flow));
        let via = format!("SIP/2.0/{transport} {own};rport;branch={branch}");
        let mut headers = super::message::Headers::new();
        headers.push(Name::Via, via);
        for header in request.headers.iter() {
            headers.push(header.name.clone(), header.value.clone());
        }
        request.headers = headers;
    }

    fn handle_response(&mut self, now: Now, flow: Flow, response: &Response, head: &Head) {
        // More than one Via: it was meant for somebody before us (RFC 3261 §8.1.3.3).
        let ours = head.vias == 1 && head.via.branch().is_some();
        let branch = head.via.branch().unwrap_or("").to_owned();
        let key = ClientKey { branch, method: head.cseq.method.clone() };
        let Some(sent) = self.sent.get_mut(&key).filter(|_| ours) else {
            self.figures.stray_responses += 1;
            return;
        };
        let heard = sent.client.receive(now.mono, response, head);
        let ack = sent.client.ack(response).map(<[u8]>::to_vec);
        let (timeout, to) = (sent.client.poll_timeout(), sent.flow);
        self.schedule.set(&Timer::Client(key.clone()), timeout);
        if let Some(ack) = ack {
            self.transmit(to, ack);
        }
        if heard == client::Heard::Nothing || self.challenged(now, &key, response) {
            return;
        }
        self.note_server(now, &key, response);
        match self.sent.get(&key).map(|sent| &sent.owner) {
            Some(Owner::Invite(_)) => self.hear_invite(now, flow, &key, response, head),
            Some(Owner::Change { .. }) => self.hear_change(now, &key, response, head),
            Some(Owner::Register(at)) => self.hear_register(now, *at, response),
            Some(Owner::Probe(at)) => self.hear_probe(now, *at, to.remote, response),
            Some(Owner::Watch(id)) => self.hear_watcher(now, *id, response),
            Some(Owner::Digit(leg, key)) => self.hear_digit(now, *leg, *key, response),
            Some(Owner::Pulse(phone, id)) => self.hear_pulse(now, phone.clone(), *id),
            Some(Owner::Nobody) | None => {}
        }
    }

    fn tick_client(&mut self, now: Now, key: &ClientKey) {
        let Some(sent) = self.sent.get_mut(key) else { return };
        match sent.client.handle_timeout(now.mono) {
            client::Tick::Nothing => {}
            client::Tick::Resend => {
                let (flow, bytes) = (sent.flow, sent.client.bytes().to_vec());
                self.figures.resent += 1;
                self.transmit(flow, bytes);
            }
            client::Tick::TimedOut => return self.lose(now, key, LegFailure::Timeout),
            client::Tick::Over => {
                self.sent.remove(key);
                return;
            }
        }
        let timeout = self.sent.get(key).and_then(|sent| sent.client.poll_timeout());
        self.schedule.set(&Timer::Client(key.clone()), timeout);
    }

    /// A request of ours will never be answered.
    fn lose(&mut self, now: Now, key: &ClientKey, failure: LegFailure) {
        self.schedule.set(&Timer::Client(key.clone()), None);
        let Some(Sent { owner, flow, trunk, .. }) = self.sent.remove(key) else { return };
        if let Some(line) = trunk.and_then(|at| self.lines.get_mut(at)) {
            line.servers.disappointed(now.mono, flow.remote, None);
        }
        match owner {
            Owner::Invite(fork) => self.fork_ended(now, fork.leg, key, failure),
            Owner::Register(at) => self.register_lost(now, at),
            Owner::Probe(at) => {
                let gone = failure == LegFailure::Unreachable;
                self.probed(now, at, flow.remote, if gone { Probed::Unreachable } else { Probed::Silent });
            }
            Owner::Change { leg, .. } => self.change_lost(now, leg, key),
            Owner::Watch(id) => self.watcher_lost(id, flow, failure),
            // A dialog that answers nothing ends by itself.
            Owner::Digit(..) | Owner::Pulse(..) | Owner::Nobody => {}
        }
    }

    fn tick_server(&mut self, now: Now, key: &ServerKey) {
        let Some(answering) = self.answering.get_mut(key) else { return };
        match answering.server.handle_timeout(now.mono) {
            server::Tick::Nothing => {}
            server::Tick::Resend => {
                let (to, bytes) = (answering.to, answering.server.repeated().map(<[u8]>::to_vec));
                if let Some(bytes) = bytes {
                    self.transmit(to, bytes);
                }
            }
            server::Tick::Over => return self.forget_server(key),
        }
        let timeout = self.answering.get(key).and_then(|answering| answering.server.poll_timeout());
        self.schedule.set(&Timer::Server(key.clone()), timeout);
    }

    fn forget_server(&mut self, key: &ServerKey) {
        if let Some(merge) = self.answering.remove(key).and_then(|answering| answering.merge) {
            self.merges.remove(&merge);
        }
        self.schedule.set(&Timer::Server(key.clone()), None);
    }
}

fn trace(what: &str, flow: Flow, bytes: &[u8]) {
    let transport = flow.transport.as_str();
    tracing::trace!(transport, remote = %flow.remote, "{what}\n{}", mask_digits(&mask_keys(&String::from_utf8_lossy(bytes))));
}
