//! A simulated Meta: Graph, webhooks, and a WebRTC peer for each call.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard::call::{ActionKind, Input};
use cordboard::id::{CallId, WaCallId};
use cordboard::media::webrtc_leg::{LegEvent, Received, WebRtcLeg, WebRtcSettings};
use cordboard::random::Random;
use cordboard::rtp::Ssrc;
use cordboard::sdp::webrtc::FingerprintCase;
use cordboard::time::{Now, Wall};
use cordboard::user::{Msisdn, UserId};
use cordboard::whatsapp::{Action, CallEvent, CallEventKind, Failure, Meaning, Outcome, Termination};

use super::voice::{Heard, Voice};
use super::{NUMBER, identity};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Offered,
    PreAccepted,
    Dialling,
    Talking,
    Ended,
}

/// What a called user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    Ring,
    PickUp,
    TellAccepted,
    Reject,
}

/// How a called user behaves; times count from the one before.
#[derive(Clone, Copy, Debug)]
pub struct Callee {
    pub connect_after: Duration,
    pub ring_after: Option<Duration>,
    pub answer_after: Option<Duration>,
    /// `ACCEPTED` after picking up; `None`: never.
    pub accepted_after: Option<Duration>,
    pub reject_after: Option<Duration>,
    /// Whether the user speaks from picking up on.
    pub speaks: bool,
}

impl Default for Callee {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            connect_after: ms(200),
            ring_after: Some(ms(500)),
            answer_after: Some(ms(2000)),
            accepted_after: Some(ms(50)),
            reject_after: None,
            speaks: false,
        }
    }
}

pub struct MetaCall {
    pub user: UserId,
    pub state: State,
    pub voice: Voice,
    pub heard: Vec<Heard>,
    /// When RTCP came.
    pub rtcp: Vec<Duration>,
    /// When each action came.
    pub actions: Vec<(Duration, &'static str)>,
    pub dtls_up: Option<Duration>,
    /// When the reply to `accept` was with the gateway.
    pub accept_known: Option<Duration>,
    pub picked_up: Option<Duration>,
    by_user: bool,
    leg: WebRtcLeg,
    address: SocketAddr,
    sdp: Option<String>,
    opaque: Option<String>,
    start: Option<Wall>,
    stopped: bool,
}

pub struct Meta {
    /// A Graph round trip.
    pub latency: Duration,
    pub callee: Callee,
    pub calls: BTreeMap<WaCallId, MetaCall>,
    /// What the gateway did against the rules of Meta.
    pub violations: Vec<String>,
    /// Graph requests that fail, by action.
    pub broken: Vec<(&'static str, Failure)>,
    start: Instant,
    names: BTreeMap<CallId, WaCallId>,
    by_address: BTreeMap<SocketAddr, WaCallId>,
    plan: Vec<(Instant, WaCallId, Step)>,
    outbox: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    webhooks: VecDeque<CallEvent>,
    random: Random,
}

fn refused(action: &Action, code: i64) -> Input {
    let failure = Failure::Refused { meaning: Meaning::from_code(code), http: 400, until: None };
    Input::GraphFailed(ActionKind::of(action), failure)
}

impl Meta {
    pub fn new(start: Instant, random: Random) -> Self {
        Self {
            latency: Duration::from_millis(60),
            callee: Callee::default(),
            calls: BTreeMap::new(),
            violations: Vec::new(),
            broken: Vec::new(),
            start,
            names: BTreeMap::new(),
            by_address: BTreeMap::new(),
            plan: Vec::new(),
            outbox: VecDeque::new(),
            webhooks: VecDeque::new(),
            random,
        }
    }

    fn begin(&mut self, user: UserId, by_user: bool) -> (WaCallId, &mut MetaCall) {
        let count = u16::try_from(self.calls.len()).unwrap();
        let id: WaCallId = format!("wacid.{count}").into();
        let address = SocketAddr::from(([192, 0, 2, 99], 10_000 + count));
        let settings = WebRtcSettings {
            local: address,
            candidates: vec![address],
            identity: identity(1),
            ssrc: Ssrc(77),
            cname: "user".to_owned(),
            fingerprint_case: FingerprintCase::Lower,
        };
        let call = MetaCall {
            user,
            state: if by_user { State::Offered } else { State::Dialling },
            voice: Voice::of_user(77),
            heard: Vec::new(),
            rtcp: Vec::new(),
            actions: Vec::new(),
            dtls_up: None,
            accept_known: None,
            picked_up: None,
            by_user,
            leg: WebRtcLeg::new(settings, self.random.split()),
            address,
            sdp: None,
            opaque: None,
            start: None,
            stopped: false,
        };
        self.by_address.insert(address, id.clone());
        self.calls.insert(id.clone(), call);
        let call = self.calls.get_mut(&id).expect("just put there");
        (id, call)
    }

    /// A user calls the business.
    pub fn user_calls(&mut self, now: Now, digits: &str) -> WaCallId {
        let user = UserId::Phone(Msisdn::parse(digits).expect("digits"));
        let (id, call) = self.begin(user, true);
        let offer = call.leg.offer();
        let kind = CallEventKind::UserCalled {
            offer,
            name: None,
            username: None,
            cta_payload: None,
            deeplink_payload: None,
        };
        self.tell(now, &id, kind);
        id
    }

    pub fn call(&self, id: &WaCallId) -> &MetaCall {
        &self.calls[id]
    }

    pub fn call_mut(&mut self, id: &WaCallId) -> &mut MetaCall {
        self.calls.get_mut(id).expect("a call")
    }

    /// The call that began last.
    pub fn latest(&self) -> WaCallId {
        format!("wacid.{}", self.calls.len() - 1).into()
    }

    pub fn live(&self) -> Vec<String> {
        let live = self.calls.iter().filter(|(_, it)| it.state != State::Ended);
        live.map(|(id, it)| format!("{id}: {:?} {:?}", it.state, it.actions)).collect()
    }

    fn tell(&mut self, now: Now, id: &WaCallId, kind: CallEventKind) {
        let call = &self.calls[id];
        let (user, opaque) = (Some(call.user.clone()), call.opaque.clone());
        // Meta's stamps are whole seconds.
        let at = Wall::from_secs(now.wall.secs());
        let number = NUMBER.into();
        self.webhooks.push_back(CallEvent { number, call: id.clone(), at, user, opaque, kind });
    }

    pub fn carry_out(&mut self, now: Now, from: CallId, action: &Action) -> Input {
        let kind = ActionKind::of(action);
        if let Action::Connect { user, offer, opaque } = action {
            return self.connect(now, from, user, offer, opaque, action);
        }
        let id = action.call().expect("all but connect name it").clone();
        self.names.insert(from, id.clone());
        let at = now.mono - self.start;
        if let Some(place) = self.broken.iter().position(|(name, _)| *name == action.name()) {
            return Input::GraphFailed(kind, self.broken.remove(place).1);
        }
        let Some(call) = self.calls.get_mut(&id) else { return refused(action, 138_006) };
        call.actions.push((at, action.name()));
        if call.state == State::Ended {
            return refused(action, 138_006);
        }
        match action {
            Action::PreAccept { sdp, .. } | Action::Accept { sdp, .. } => {
                if call.sdp.as_ref().is_some_and(|before| before != sdp) {
                    self.violations.push(format!("{id}: accept with another SDP than pre_accept"));
                }
                if call.sdp.is_none() {
                    call.leg.apply_answer(now.mono, sdp).expect("an answer");
                    call.leg.start_dtls(now.mono);
                    call.sdp = Some(sdp.clone());
                }
                call.state = State::PreAccepted;
                if let Action::Accept { opaque, .. } = action {
                    call.state = State::Talking;
                    call.start = Some(now.wall);
                    call.opaque.clone_from(opaque);
                }
            }
            Action::Reject { .. } if call.state != State::Offered => {
                self.violations.push(format!("{id}: reject in {:?}", call.state));
                return refused(action, 138_006);
            }
            Action::Reject { .. } | Action::Terminate { .. } => self.end(now, &id),
            Action::Connect { .. } => {}
        }
        Input::GraphDone(kind)
    }

    fn connect(
        &mut self,
        now: Now,
        from: CallId,
        user: &UserId,
        offer: &str,
        opaque: &str,
        action: &Action,
    ) -> Input {
        if let Some(place) = self.broken.iter().position(|(name, _)| *name == "connect") {
            return Input::GraphFailed(ActionKind::Connect, self.broken.remove(place).1);
        }
        if self.calls.values().any(|it| it.user == *user && it.state != State::Ended) {
            return refused(action, 138_003);
        }
        let (id, call) = self.begin(user.clone(), false);
        let answer = call.leg.answer(now.mono, offer).expect("an offer");
        call.leg.start_dtls(now.mono);
        call.opaque = Some(opaque.to_owned());
        call.sdp = Some(answer);
        self.names.insert(from, id.clone());
        self.plan.push((now.mono + self.callee.connect_after, id.clone(), Step::Connect));
        Input::GraphConnected(id)
    }

    pub fn note_reply(&mut self, now: Now, kind: ActionKind, from: CallId) {
        let at = now.mono - self.start;
        if let Some(call) = self.names.get(&from).and_then(|id| self.calls.get_mut(id))
            && kind == ActionKind::Accept
        {
            call.accept_known = Some(at);
        }
    }

    /// The user, or Meta, ends a call.
    pub fn hang_up(&mut self, now: Now, id: &WaCallId) {
        if self.calls[id].state != State::Ended {
            self.end(now, id);
        }
    }

    fn end(&mut self, now: Now, id: &WaCallId) {
        let call = self.calls.get_mut(id).expect("a call");
        call.state = State::Ended;
        call.voice.speaking = false;
        let (start, end) = (call.start, call.start.map(|_| now.wall));
        let duration = call.start.map(|start| Duration::from_secs(now.wall.since(start).as_secs()));
        let outcome = Outcome::Completed;
        let termination = Termination { outcome, start, end, duration, errors: Vec::new() };
        self.plan.retain(|(_, of, _)| of != id);
        self.tell(now, id, CallEventKind::Terminated(termination));
    }

    fn step(&mut self, now: Now, id: &WaCallId, step: Step) {
        let callee = self.callee;
        let mut then = |after: Option<Duration>, step| {
            self.plan.extend(after.map(|after| (now.mono + after, id.clone(), step)));
        };
        match step {
            Step::Connect => {
                then(callee.ring_after, Step::Ring);
                let sdp = self.calls[id].sdp.clone().expect("since connect");
                self.tell(now, id, CallEventKind::Answered { sdp });
            }
            Step::Ring => {
                then(callee.reject_after, Step::Reject);
                then(callee.answer_after, Step::PickUp);
                self.tell(now, id, CallEventKind::Rang);
            }
            Step::PickUp => {
                then(callee.accepted_after, Step::TellAccepted);
                let call = self.calls.get_mut(id).expect("a call");
                call.state = State::Talking;
                call.start = Some(now.wall);
                call.picked_up = Some(now.mono - self.start);
                call.voice.speaking |= callee.speaks;
            }
            Step::TellAccepted => self.tell(now, id, CallEventKind::Accepted),
            Step::Reject => {
                self.tell(now, id, CallEventKind::Rejected);
                self.end(now, id);
            }
        }
    }

    pub fn has(&self, address: SocketAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Whether the datagram was for Meta.
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> bool {
        let Some(id) = self.by_address.get(&to) else { return false };
        let call = self.calls.get_mut(id).expect("a call");
        let at = now.mono - self.start;
        let is_media = matches!(bytes.first(), Some(128..=191));
        if is_media && call.by_user && call.accept_known.is_none() {
            self.violations.push(format!("{id}: media before the reply to accept"));
        }
        if call.stopped {
            return true;
        }
        match call.leg.handle_datagram(now.mono, from, bytes) {
            Received::Nothing => {}
            Received::Rtp(packet) => {
                if !call.by_user || call.accept_known.is_some() {
                    call.heard.push(Heard::read(at, packet));
                }
            }
            Received::Rtcp(_) => call.rtcp.push(at),
        }
        self.drain(now, &to);
        true
    }

    fn drain(&mut self, now: Now, address: &SocketAddr) {
        let Some(call) = self.by_address.get(address).and_then(|id| self.calls.get_mut(id)) else { return };
        while let Some((to, bytes)) = call.leg.poll_transmit() {
            self.outbox.push_back((*address, to, bytes));
        }
        while let Some(event) = call.leg.poll_event() {
            if event == LegEvent::DtlsUp {
                call.dtls_up = Some(now.mono - self.start);
            }
        }
    }

    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let calls = self.calls.values().filter(|it| !it.stopped).flat_map(|it| {
            let voice = it.dtls_up.and_then(|_| it.voice.poll_timeout(now));
            [it.leg.poll_timeout(), voice]
        });
        calls.flatten().chain(self.plan.iter().map(|(at, ..)| *at)).min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(at) = self.plan.iter().position(|(at, ..)| *at <= now.mono) {
            let (_, id, step) = self.plan.remove(at);
            self.step(now, &id, step);
        }
        for call in self.calls.values_mut().filter(|it| !it.stopped) {
            // The relay closes its socket with the call.
            call.stopped = call.state == State::Ended;
            if call.leg.poll_timeout().is_some_and(|at| at <= now.mono) {
                call.leg.handle_timeout(now.mono);
            }
            while let Some((to, bytes)) = call.leg.poll_transmit() {
                self.outbox.push_back((call.address, to, bytes));
            }
            while let Some(event) = call.leg.poll_event() {
                if event == LegEvent::DtlsUp {
                    call.dtls_up = Some(now.mono - self.start);
                }
            }
            if call.dtls_up.is_some()
                && let Some(packet) = call.voice.tick(now.mono)
                && let Some((to, sealed)) = call.leg.protect_rtp(&packet)
            {
                self.outbox.push_back((call.address, to, sealed.to_vec()));
            }
        }
    }

    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }

    pub fn poll_webhook(&mut self) -> Option<CallEvent> {
        self.webhooks.pop_front()
    }
}
