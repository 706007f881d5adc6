//! The gateway without its shell: user agent, calls and bridges joined as `io::signalling` joins them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordboard::call::{
    ActionKind, AnswerOn, Call, CallDirection, CallRecord, CallTimes, Fork, ForkFailure, HangupCause, Input,
    LegEnd, Output, PreAcceptWhen, Reception, RingPlan, TransferTarget,
};
use cordboard::dialplan::dialable;
use cordboard::id::{CallId, Endpoint, LegId, WaCallId};
use cordboard::io::signalling::translate;
use cordboard::masked::Secret;
use cordboard::media::{Bridge, BridgePort, BridgeSettings, Order, Report};
use cordboard::policy::Attempt;
use cordboard::random::Random;
use cordboard::sdp::webrtc::FingerprintCase;
use cordboard::sip::alert::AlertForms;
use cordboard::sip::trunk::CallFacts;
use cordboard::sip::{
    CallerIdentity, CallerOrigin, DigestAlgorithm, Event, Flow, Invite, PhoneAccount, PhoneLamps, Settings,
    UserAgent,
};
use cordboard::time::{Now, Wall};
use cordboard::user::{Msisdn, UserId};
use cordboard::whatsapp::{Action, CallEvent, CallEventKind};

use super::ledger::Ledger;
use super::{DOMAIN, GATEWAY, NUMBER, PASSWORD, identity};

/// What the gateway wants carried.
pub enum Sent {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Graph(CallId, Action),
    Stored(CallId, Input),
}

pub struct Live {
    pub call: Call,
    pub bridge: Option<Bridge>,
    legs: BTreeMap<Fork, LegId>,
    port: Option<u16>,
    graph: Option<ActionKind>,
}

pub struct Gateway {
    pub agent: UserAgent,
    pub calls: BTreeMap<CallId, Live>,
    pub ledger: Ledger,
    pub ring: RingPlan,
    pub pre_accept: PreAcceptWhen,
    pub answer_on: AnswerOn,
    pub times: CallTimes,
    pub dead_after: Duration,
    /// What was done that no rule allows.
    pub violations: Vec<String>,
    /// Every report of media, for questions about when.
    pub reports: Vec<(Instant, CallId, Report)>,
    by_wa: BTreeMap<WaCallId, CallId>,
    by_leg: BTreeMap<LegId, (CallId, Fork)>,
    tombs: BTreeSet<WaCallId>,
    ports: BTreeMap<u16, CallId>,
    inputs: VecDeque<(CallId, Input)>,
    outbox: VecDeque<Sent>,
    random: Random,
    last_id: u64,
}

pub fn phone_address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

pub fn webrtc_address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

impl Gateway {
    pub fn new(mut random: Random, phones: &[&str]) -> Self {
        let mut settings = Settings::new(DOMAIN, GATEWAY.parse().unwrap());
        for name in phones {
            settings.phones.push(PhoneAccount {
                name: (*name).into(),
                display: String::new(),
                algorithm: DigestAlgorithm::Md5,
                ha1: Secret::new(DigestAlgorithm::Md5.ha1(name, DOMAIN, PASSWORD)),
                srtp: cordboard::sip::SrtpSetting::default(),
                lamps: PhoneLamps::default(),
                alerts: AlertForms::default(),
            });
        }
        Self {
            agent: UserAgent::new(settings, random.split()),
            calls: BTreeMap::new(),
            ledger: Ledger::new(),
            ring: RingPlan::together(phones.iter().map(|name| Endpoint::Phone((*name).into())).collect()),
            pre_accept: PreAcceptWhen::AtOnce,
            answer_on: AnswerOn::Accepted,
            times: CallTimes::default(),
            dead_after: Duration::from_secs(60),
            violations: Vec::new(),
            reports: Vec::new(),
            by_wa: BTreeMap::new(),
            by_leg: BTreeMap::new(),
            tombs: BTreeSet::new(),
            ports: BTreeMap::new(),
            inputs: VecDeque::new(),
            outbox: VecDeque::new(),
            random,
            last_id: 0,
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().flat_map(|live| {
            [live.call.poll_timeout().map(|(at, _)| at), live.bridge.as_ref().and_then(Bridge::poll_timeout)]
        });
        calls.chain([self.agent.poll_timeout()]).flatten().min()
    }

    pub fn poll_sent(&mut self) -> Option<Sent> {
        self.outbox.pop_front()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.agent.handle_timeout(now);
        let ids: Vec<CallId> = self.calls.keys().copied().collect();
        for id in ids {
            let Some(live) = self.calls.get_mut(&id) else { continue };
            if live.call.poll_timeout().is_some_and(|(at, _)| at <= now.mono) {
                live.call.handle_timeout(now);
            }
            if let Some(bridge) = &mut live.bridge
                && bridge.poll_timeout().is_some_and(|at| at <= now.mono)
            {
                bridge.handle_timeout(now);
            }
            self.drain_bridge(now, id);
        }
        self.settle(now);
    }

    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let own: SocketAddr = GATEWAY.parse().unwrap();
        if to == own {
            self.agent.handle_message(now, Flow::udp(to, from), bytes);
            // As the switchboard does: what is due comes before what was received.
            return self.handle_timeout(now);
        }
        let (even, port) = match to.port() {
            port if to.ip() == webrtc_address(0).ip() => (port, BridgePort::WebRtc),
            port if port.is_multiple_of(2) => (port, BridgePort::Rtp),
            port => (port - 1, BridgePort::Rtcp),
        };
        // What comes after the end finds no socket.
        let Some(id) = self.ports.get(&even).copied() else { return };
        if let Some(bridge) = self.calls.get_mut(&id).and_then(|live| live.bridge.as_mut()) {
            bridge.handle_datagram(now, port, from, bytes);
            self.drain_bridge(now, id);
        }
        self.settle(now);
    }

    pub fn handle_stored(&mut self, now: Now, id: CallId, input: Input) {
        if matches!(input, Input::Reserved(_)) && !self.calls.contains_key(&id) {
            self.ledger.release(id);
        }
        self.inputs.push_back((id, input));
        self.settle(now);
    }

    pub fn handle_graph(&mut self, now: Now, id: CallId, kind: ActionKind, input: Input) {
        if let Some(live) = self.calls.get_mut(&id) {
            assert_eq!(live.graph.take(), Some(kind));
        }
        self.inputs.push_back((id, input));
        self.settle(now);
    }

    fn settle(&mut self, now: Now) {
        loop {
            while let Some(event) = self.agent.poll_event() {
                self.handle_sip_event(now, event);
            }
            while let Some((id, input)) = self.inputs.pop_front() {
                if let Some(live) = self.calls.get_mut(&id) {
                    live.call.handle_input(now, input);
                }
            }
            let ids: Vec<CallId> = self.calls.keys().copied().collect();
            let mut quiet = true;
            for id in ids {
                while let Some(output) = self.calls.get_mut(&id).and_then(|live| live.call.poll_output()) {
                    quiet = false;
                    self.carry_out(now, id, output);
                }
                if self.calls.get(&id).is_some_and(|live| live.call.is_over()) {
                    self.forget(id);
                }
            }
            if quiet && self.inputs.is_empty() {
                break;
            }
        }
        while let Some((flow, bytes)) = self.agent.poll_transmit() {
            self.outbox.push_back(Sent::Datagram { from: flow.local, to: flow.remote, bytes });
        }
    }

    fn forget(&mut self, id: CallId) {
        let Some(live) = self.calls.remove(&id) else { return };
        if live.graph.is_some() {
            self.violations.push(format!("{id} is over while Graph still works for it"));
        }
        self.by_leg.retain(|_, (call, _)| *call != id);
        if let Some(wa_call) = &live.call.record().wa_call {
            self.by_wa.remove(wa_call);
            self.tombs.insert(wa_call.clone());
        }
    }

    /// What is still held though no call is left.
    pub fn leftovers(&self) -> Vec<String> {
        let figures = self.agent.figures();
        let counts = [
            ("calls", self.calls.len()),
            ("ports", self.ports.len()),
            ("names at Meta", self.by_wa.len()),
            ("legs in the book", self.by_leg.len()),
            ("legs of the agent", figures.legs),
            ("transactions", figures.transactions),
            ("open records", self.ledger.open.len()),
        ];
        counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect()
    }

    fn drain_bridge(&mut self, now: Now, id: CallId) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let (Some(bridge), Some(port)) = (&mut live.bridge, live.port) else { return };
        while let Some(transmit) = bridge.poll_transmit() {
            let from = match transmit.port {
                BridgePort::WebRtc => webrtc_address(port),
                BridgePort::Rtp => phone_address(port),
                BridgePort::Rtcp => phone_address(port + 1),
            };
            let (to, bytes) = (transmit.to, transmit.bytes.to_vec());
            self.outbox.push_back(Sent::Datagram { from, to, bytes });
        }
        let mut closed = false;
        while let Some(report) = bridge.poll_report() {
            closed |= matches!(report, Report::Closed(_));
            self.reports.push((now.mono, id, report.clone()));
            if let Some(input) = translate::from_media(report) {
                self.inputs.push_back((id, input));
            }
        }
        if closed {
            live.bridge = None;
            live.port = None;
            self.ports.remove(&port);
        }
    }

    fn order(&mut self, now: Now, id: CallId, order: Order) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        if let Some(bridge) = &mut live.bridge {
            bridge.handle_order(now, order);
            self.drain_bridge(now, id);
        } else if order == Order::Close {
            self.violations.push(format!("{id} closes media that is not open"));
        }
    }

    fn carry_out(&mut self, now: Now, id: CallId, output: Output) {
        match output {
            Output::OpenRecord(record) => {
                let reply = self.ledger.open_record(*record);
                self.outbox.push_back(Sent::Stored(id, reply));
            }
            Output::NoteWaCall(wa_call) => {
                self.by_wa.insert(wa_call, id);
            }
            Output::CloseRecord(record) => self.ledger.close_record(*record),
            Output::Reserve => {
                let user = self.calls[&id].call.record().user.clone();
                let reply = self.ledger.reserve(&Attempt { number: NUMBER.into(), user, call: id }, now);
                self.outbox.push_back(Sent::Stored(id, reply));
            }
            Output::MarkConnected(at) | Output::CorrectStart(at) => self.ledger.connected(id, at),
            Output::Release | Output::Withdraw => self.ledger.release(id),
            Output::MarkRang(_) => {}
            Output::OpenMedia { meta, phone } => {
                let mut spec = translate::open_spec(meta, phone);
                spec.dead_after = self.dead_after;
                self.open_media(now, id, &spec);
            }
            Output::Post(action) => {
                let live = self.calls.get_mut(&id).expect("its output");
                if let Some(before) = live.graph.replace(ActionKind::of(&action)) {
                    self.violations.push(format!("{id} posts {} during {before:?}", action.name()));
                }
                self.outbox.push_back(Sent::Graph(id, action));
            }
            other => match translate::to_media(other) {
                Ok(order) => self.order(now, id, order),
                Err(output) => self.carry_out_on_leg(now, id, output),
            },
        }
    }

    fn open_media(&mut self, now: Now, id: CallId, spec: &cordboard::media::OpenSpec) {
        let port = (30_000..).step_by(2).find(|port| !self.ports.contains_key(port)).expect("a port");
        let settings = BridgeSettings {
            webrtc_local: webrtc_address(port),
            webrtc_candidates: vec![webrtc_address(port)],
            identity: Arc::clone(&identity(0)),
            fingerprint_case: FingerprintCase::Lower,
            rtp: phone_address(port),
            rtcp: phone_address(port + 1),
            random: self.random.split(),
        };
        let report = match Bridge::open(now, settings, spec) {
            Ok((bridge, report)) => {
                let live = self.calls.get_mut(&id).expect("its output");
                (live.bridge, live.port) = (Some(bridge), Some(port));
                self.ports.insert(port, id);
                report
            }
            Err(refusal) => Report::Refused(refusal),
        };
        self.inputs.extend(translate::from_media(report).map(|input| (id, input)));
        self.drain_bridge(now, id);
    }

    fn carry_out_on_leg(&mut self, now: Now, id: CallId, output: Output) {
        let leg = |fork: Fork| self.calls.get(&id).and_then(|live| live.legs.get(&fork)).copied();
        let first = leg(Fork(0));
        match output {
            Output::Invite { fork, target, sdp } => self.invite(now, id, fork, target, sdp),
            Output::Cancel(fork, end) => {
                if let Some(leg) = leg(fork) {
                    self.agent.cancel(now, leg, translate::reason(end));
                }
            }
            Output::HangUp(fork, end) => {
                if let Some(leg) = leg(fork) {
                    self.agent.hang_up(now, leg, Some(translate::reason(end)));
                }
            }
            Output::AskPhone(fork) => {
                if let Some(leg) = leg(fork) {
                    self.agent.ask(now, leg);
                }
            }
            Output::Ring(sdp) => self.agent.ring(now, first.expect("a leg"), sdp),
            Output::AcceptPhone(fork, sdp) => self.agent.accept(now, leg(fork).expect("a leg"), sdp),
            Output::RefusePhone(fork, verdict, until) => {
                self.agent.refuse(now, leg(fork).expect("a leg"), translate::refusal(verdict, until, now));
            }
            Output::AnswerReferral(fork, referral, answer) => {
                self.agent.answer_referral(now, leg(fork).expect("a leg"), referral, answer);
            }
            Output::TellReferral { fork, id: referral, status, telling } => {
                self.agent.tell_referral(now, leg(fork).expect("a leg"), referral, status, telling);
            }
            Output::RefuseReoffer(fork) => {
                self.agent.answer_reoffer(now, leg(fork).expect("a leg"), Err(488));
            }
            Output::AnswerPhoneReoffer(sdp) => {
                let talking = self.calls[&id].call.talking_leg().and_then(leg).expect("a leg");
                self.agent.answer_reoffer(now, talking, sdp.ok_or(488));
            }
            _ => {}
        }
    }

    fn invite(&mut self, now: Now, id: CallId, fork: Fork, target: Endpoint, sdp: String) {
        let number = dialable(&self.calls[&id].call.record().user);
        let caller = CallerIdentity { number, display: "Zoë".to_owned() };
        let invite = Invite { target, caller, facts: CallFacts::default(), sdp, headers: Vec::new() };
        match self.agent.invite(now, invite) {
            Ok(leg) => {
                self.by_leg.insert(leg, (id, fork));
                self.calls.get_mut(&id).expect("its output").legs.insert(fork, leg);
            }
            Err(_) => {
                self.inputs.push_back((id, Input::PhoneFailed(fork, ForkFailure::Unreachable)));
            }
        }
    }

    fn handle_sip_event(&mut self, now: Now, event: Event) {
        let leg = match &event {
            Event::Invited { leg, from, dialled, sdp, call_id, .. } => {
                let CallerOrigin::Phone(name) = from.origin.clone() else { panic!("no trunks here") };
                let user = UserId::Phone(Msisdn::parse(dialled).expect("digits"));
                let direction = CallDirection::BusinessInitiated;
                let id = self.next_id();
                let mut record = CallRecord::new(id, "sales".into(), NUMBER.into(), direction, user);
                record.opened = now.wall;
                record.endpoint = Some(Endpoint::Phone(name));
                record.sip_call_id = Some(call_id.clone());
                let call = Call::from_phone(record, self.times, sdp.clone(), self.answer_on);
                self.admit(id, call, Some(*leg));
                return;
            }
            Event::Digit { leg, digit, millis } => {
                let duration = Duration::from_millis((*millis).into());
                if let Some((id, _)) = self.by_leg.get(leg).copied() {
                    self.order(now, id, Order::Digit { digit: *digit, duration });
                }
                return;
            }
            Event::DigitRefused { .. }
            | Event::Registered { .. }
            | Event::Unregistered { .. }
            | Event::Trunk { .. } => return,
            Event::Ringing { leg, .. }
            | Event::Answered { leg, .. }
            | Event::Failed { leg, .. }
            | Event::Confirmed { leg, .. }
            | Event::Cancelled { leg }
            | Event::HungUp { leg, .. }
            | Event::AckTimeout { leg }
            | Event::Reoffered { leg, .. }
            | Event::Reanswered { leg, .. }
            | Event::ReofferRefused { leg, .. }
            | Event::Expired { leg }
            | Event::Vanished { leg } => *leg,
            Event::Referred { leg, referral } => {
                let (id, fork) = self.by_leg[leg];
                let target = TransferTarget::Ring(Endpoint::Phone(referral.dialled.as_str().into()));
                self.inputs.push_back((id, Input::PhoneReferred { fork, id: referral.id, target }));
                return;
            }
        };
        match self.by_leg.get(&leg).copied() {
            Some((id, fork)) => self.inputs.extend(translate::from_sip(fork, event).map(|it| (id, it))),
            None if matches!(event, Event::Reoffered { .. }) => {
                self.agent.answer_reoffer(now, leg, Err(481));
            }
            None => {}
        }
    }

    fn next_id(&mut self) -> CallId {
        self.last_id += 1;
        CallId(self.last_id)
    }

    fn admit(&mut self, id: CallId, call: Call, leg: Option<LegId>) {
        if let Some(leg) = leg {
            self.by_leg.insert(leg, (id, Fork(0)));
        }
        if let Some(wa_call) = &call.record().wa_call {
            self.by_wa.insert(wa_call.clone(), id);
        }
        let legs = leg.map(|leg| (Fork(0), leg)).into_iter().collect();
        self.calls.insert(id, Live { call, bridge: None, legs, port: None, graph: None });
    }

    pub fn handle_webhook(&mut self, now: Now, event: CallEvent) {
        if !self.ledger.receive(&event) {
            return;
        }
        let known = self.by_wa.get(&event.call).copied().or_else(|| {
            let id = CallId::parse(event.opaque.as_deref()?)?;
            self.calls.contains_key(&id).then_some(id)
        });
        if let CallEventKind::UserCalled { offer, .. } = event.kind {
            if known.is_none() && !self.tombs.contains(&event.call) {
                self.user_called(now, event.call, event.user.expect("a user"), event.at, offer);
            }
            return self.settle(now);
        }
        let Some(id) = known else {
            self.tombs.insert(event.call);
            return;
        };
        if self.calls[&id].call.record().wa_call.is_none() {
            self.by_wa.insert(event.call.clone(), id);
            self.inputs.push_back((id, Input::WaCallLearnt(event.call)));
        }
        let input = match event.kind {
            CallEventKind::Answered { sdp } => Input::UserAnswerReceived(sdp),
            CallEventKind::Rang => Input::UserRang,
            CallEventKind::Accepted => Input::UserAccepted(event.at),
            CallEventKind::Rejected => Input::UserRejected,
            CallEventKind::Terminated(termination) => Input::MetaTerminated(termination),
            CallEventKind::UserCalled { .. } => return,
        };
        self.inputs.push_back((id, input));
        self.settle(now);
    }

    fn user_called(&mut self, now: Now, wa_call: WaCallId, user: UserId, at: Wall, offer: String) {
        let crossed = self.take_crossing_phone(now, &user);
        let id = self.next_id();
        let direction = CallDirection::UserInitiated;
        let mut record = CallRecord::new(id, "sales".into(), NUMBER.into(), direction, user);
        (record.wa_call, record.opened) = (Some(wa_call), now.wall);
        let usable = |it: &Endpoint| matches!(it, Endpoint::Phone(name) if self.agent.is_registered(name));
        let rings = crossed.is_none() && self.ring.targets().any(usable);
        let plan = if rings { self.ring.clone() } else { RingPlan::default() };
        let reception =
            Reception { plan, pre_accept: self.pre_accept, accept_by: at + Duration::from_secs(24) };
        let leg = crossed.as_ref().map(|(_, leg)| *leg);
        let call = Call::from_user(now, record, self.times, offer, reception, crossed.map(|(it, _)| it));
        self.admit(id, call, leg);
    }

    fn take_crossing_phone(
        &mut self,
        now: Now,
        user: &UserId,
    ) -> Option<(cordboard::call::CrossedLeg, LegId)> {
        let (_, live) = self.calls.iter_mut().find(|(_, live)| {
            let record = live.call.record();
            let ours = record.direction == CallDirection::BusinessInitiated && record.user == *user;
            ours && live.call.is_live() && !live.call.is_bridged()
        })?;
        let crossed = live.call.hand_over(now)?;
        let leg = live.legs.remove(&Fork(0))?;
        self.by_leg.remove(&leg);
        Some((crossed, leg))
    }

    /// The cause of the last call that ended.
    pub fn last_cause(&self) -> &str {
        self.ledger.closed.last().and_then(|it| it.cause.as_deref()).unwrap_or("none")
    }
}

/// The word for a cause that stands in records.
pub fn label(cause: HangupCause) -> &'static str {
    cause.verdict().label
}

/// Rule 5's reason, as a phone reads it.
pub fn elsewhere() -> String {
    translate::reason(LegEnd::CompletedElsewhere).to_string()
}
