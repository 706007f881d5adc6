//! Calls we make: INVITE to every binding of a phone or to a trunk, until one answers (RFC 3261 §13.2).

use crate::id::{Endpoint, LegId, PhoneName};
use crate::sdp::protection::Protection;
use crate::time::Now;

use super::super::dialog::Dialog;
use super::super::flow::Flow;
use super::super::message::name::is_token;
use super::super::message::uri::escape_user;
use super::super::message::{CSeq, Head, Headers, Method, Name, Request, Response, sdp_of};
use super::super::transaction::ClientKey;
use super::super::transaction::client::cancel_of;
use super::super::trunk::{CallFacts, Tried, Urgency};
use super::change::CallIdOf;
use super::lamps::LampFacts;
use super::leg::{Calling, Cancel, Fork, Leg, Owner, Stage, Up};
use super::reliable::Progressed;
use super::session::{SessionExpires, granted, min_se};
use super::{
    ALLOW, CallerIdentity, Event, Invite, InviteRefusal, LegFailure, Reason, SUPPORTED, Timer, UserAgent,
};

/// More 2xx of different tags than any forking proxy sends.
const MAX_ANSWERS: usize = 16;

/// One place to send an INVITE to.
pub(super) struct Target {
    pub(super) uri: String,
    pub(super) to: String,
    pub(super) flow: Flow,
    /// The way there from `flow` on, for Route.
    pub(super) routes: Vec<String>,
    pub(super) pinned: bool,
    /// Which trunk, and the host part of addresses there; `None` for a phone.
    pub(super) trunk: Option<(usize, String)>,
}

/// What every INVITE of a call has in common.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) caller: CallerIdentity,
    pub(super) facts: CallFacts,
    pub(super) sdp: String,
    /// The same offer in several ways; empty: there is only the one.
    pub(super) offers: Vec<(Protection, String)>,
    headers: Vec<(Name, String)>,
}

impl Wish {
    /// What is to be said to `invite`'s target.
    pub(super) fn of(invite: Invite, offers: Vec<(Protection, String)>) -> (Endpoint, Self) {
        // What the protocol itself needs is not for the caller to write.
        let free =
            |name: &Name| matches!(name, Name::Other(text) if is_token(text)) || *name == Name::Subject;
        let headers = invite.headers.into_iter().map(|(name, value)| (Name::parse(&name), value));
        let wish = Self {
            caller: invite.caller,
            facts: invite.facts,
            sdp: invite.sdp,
            offers,
            headers: headers.filter(|(name, _)| free(name)).collect(),
        };
        (invite.target, wish)
    }
}

impl UserAgent {
    /// Calls a phone, on all its bindings at once, or a trunk.
    ///
    /// # Errors
    /// See [`InviteRefusal`]; nothing is sent then.
    pub fn invite(&mut self, now: Now, invite: Invite) -> Result<LegId, InviteRefusal> {
        self.invite_as(now, invite, Vec::new())
    }

    pub(super) fn invite_wish(
        &mut self,
        now: Now,
        target: Endpoint,
        mut wish: Wish,
    ) -> Result<LegId, InviteRefusal> {
        if self.legs.len() >= self.settings.max_legs && wish.facts.urgency == Urgency::Ordinary {
            return Err(InviteRefusal::Overloaded);
        }
        match target {
            Endpoint::Phone(name) => {
                // A call that is tried with another offer has them already.
                let alerts = self.alert_headers(&name, &wish.facts.alert);
                wish.headers.retain(|(name, _)| alerts.iter().all(|(other, _)| other != name));
                wish.headers.extend(alerts);
                self.invite_phone(now, &name, &wish)
            }
            Endpoint::Trunk(name, number) => self.invite_trunk(now, &name, number, wish),
        }
    }

    fn invite_phone(&mut self, now: Now, name: &PhoneName, wish: &Wish) -> Result<LegId, InviteRefusal> {
        if !self.settings.phones.iter().any(|phone| phone.name == *name) {
            return Err(InviteRefusal::Unknown);
        }
        let to = format!("<sip:{}@{}>", escape_user(name.as_str()), self.settings.domain);
        let places = self.places_of(now.mono, name).into_iter();
        let targets: Vec<Target> = places
            .map(|place| Target {
                uri: place.uri,
                to: to.clone(),
                flow: place.flow,
                // Behind a proxy the recorded route leads to the phone, not the way its REGISTER came.
                pinned: place.routes.is_empty(),
                routes: place.routes,
                trunk: None,
            })
            .collect();
        if targets.is_empty() {
            return Err(InviteRefusal::NotRegistered);
        }
        let srtp = self.srtp_of(Some(name), None);
        let offered: Vec<(Target, String)> = targets
            .into_iter()
            .filter_map(|target| {
                let sdp = wish.offer_to(srtp, target.flow.transport)?.to_owned();
                Some((target, sdp))
            })
            .collect();
        if offered.is_empty() {
            return Err(InviteRefusal::ReadableKeys);
        }
        let leg = self.next_leg();
        let (call_id, local_tag) = (self.random.hex(16), self.random.hex(8));
        let mut open = Vec::new();
        for (target, sdp) in offered {
            let request = self.build_invite(wish, &target, (&call_id, &local_tag), (1, sdp));
            let fork = Fork::new(leg, target.pinned);
            open.push(self.send_request(now, target.flow, request, Owner::Invite(fork)));
        }
        let forks = open.len();
        let calling = Calling {
            forks,
            open,
            cancelled: false,
            failure: None,
            no_provisional: None,
            tags: Vec::new(),
            next: None,
        };
        self.dialogs.insert((call_id.clone(), local_tag.clone()), leg);
        let stage = Stage::Calling(calling);
        let lamp = LampFacts::with(&wish.caller.number, &wish.caller.display);
        let phone = Some(name.clone());
        self.legs.insert(leg, Leg { call_id, local_tag, phone, trunk: None, lamp, stage });
        self.watch_leg(leg);
        Ok(leg)
    }

    pub(super) fn build_invite(
        &self,
        wish: &Wish,
        target: &Target,
        (call_id, tag): (&str, &str),
        (number_of_request, sdp): (u32, String),
    ) -> Request {
        let mut headers = Headers::new();
        let identity = match &target.trunk {
            Some((at, host)) => self.settings.identity_for_trunk(&self.settings.trunks[*at], host, wish),
            None => self.settings.identity_for_phone(wish),
        };
        for route in &target.routes {
            headers.push(Name::Route, route.clone());
        }
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, format!("{};tag={tag}", identity.from));
        headers.push(Name::To, target.to.clone());
        headers.push(Name::CallId, call_id);
        headers.push(Name::CSeq, format!("{number_of_request} INVITE"));
        headers.push(Name::Contact, self.contact(target.flow, &target.uri));
        for (name, value) in identity.headers {
            headers.push(name, value);
        }
        headers.push(Name::Allow, ALLOW);
        headers.push(Name::Supported, SUPPORTED);
        self.settings.ask_for_session(&mut headers);
        headers.push(Name::UserAgent, self.settings.product.clone());
        for (name, value) in &wish.headers {
            headers.push(name.clone(), value.clone());
        }
        headers.push(Name::ContentType, "application/sdp");
        Request { method: Method::Invite, uri: target.uri.clone(), headers, body: sdp.into_bytes() }
    }

    /// Takes an unanswered call back; nothing happens if it is answered or over.
    ///
    /// A CANCEL goes out to each place that has answered provisionally, or as soon as it does; a 200 that
    /// crosses it is acknowledged and ended. [`Event::Failed`] with [`LegFailure::Cancelled`] ends it.
    pub fn cancel(&mut self, now: Now, leg: LegId, reason: Reason) {
        let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) else { return };
        calling.cancelled = true;
        calling.no_provisional = None;
        let (open, reason) = (calling.open.clone(), Some(reason));
        self.schedule.set(&Timer::Leg(leg), None);
        if open.is_empty() {
            // DNS is still asked where to send it.
            self.remove_leg(leg);
            self.events.push_back(Event::Failed { leg, failure: LegFailure::Cancelled });
        }
        for key in open {
            self.cancel_fork(now, &key, reason.clone());
        }
    }

    fn cancel_fork(&mut self, now: Now, key: &ClientKey, reason: Option<Reason>) {
        let Some(sent) = self.sent.get_mut(key) else { return };
        let Owner::Invite(fork) = &mut sent.owner else { return };
        if matches!(fork.cancel, Cancel::Sent) || !sent.client.is_pending() {
            return;
        }
        if sent.client.is_unheard() {
            fork.cancel = Cancel::Wanted(reason);
            return;
        }
        fork.cancel = Cancel::Sent;
        sent.client.limit(now.mono);
        let number = number_of(sent.client.request());
        let mut cancel = cancel_of(sent.client.request(), number);
        if let Some(reason) = reason {
            cancel.headers.push(Name::Reason, reason.to_string());
        }
        let flow = sent.flow;
        self.schedule.set(&Timer::Client(key.clone()), sent.client.poll_timeout());
        // A CANCEL keeps the branch and the Via of its INVITE.
        let cancel_key = ClientKey { branch: key.branch.clone(), method: Method::Cancel };
        let client = super::Client::new(now.mono, self.settings.timers, flow.transport, cancel);
        self.transmit(flow, client.bytes().to_vec());
        self.schedule.set(&Timer::Client(cancel_key.clone()), client.poll_timeout());
        let sent = super::Sent {
            client,
            flow,
            datagrams: None,
            owner: Owner::Nobody,
            trunk: None,
            tried: Tried::Nothing,
        };
        self.sent.insert(cancel_key, sent);
    }

    /// News from one of the places a call was sent to.
    pub(super) fn hear_invite(
        &mut self,
        now: Now,
        flow: Flow,
        key: &ClientKey,
        response: &Response,
        head: &Head,
    ) {
        match response.status {
            ..200 => {
                // What comes again has been told before; a lost one comes again (RFC 3262 §4).
                if self.confirm_progress(now, flow, key, response, head) == Progressed::News {
                    self.hear_provisional(now, key, response, head.to.tag());
                }
            }
            422 if self.ask_for_longer(now, key, response) => {}
            200..300 => self.hear_answer(now, flow, key, response, head),
            status => {
                let Some(leg) = self.leg_of_fork(key) else { return };
                self.fork_ended(now, leg, key, LegFailure::Status(status));
            }
        }
    }

    fn leg_of_fork(&self, key: &ClientKey) -> Option<LegId> {
        match &self.sent.get(key)?.owner {
            Owner::Invite(fork) => Some(fork.leg),
            _ => None,
        }
    }

    fn hear_provisional(&mut self, now: Now, key: &ClientKey, response: &Response, tag: Option<&str>) {
        let Some(sent) = self.sent.get_mut(key) else { return };
        let Owner::Invite(fork) = &mut sent.owner else { return };
        let leg = fork.leg;
        if let Cancel::Wanted(reason) = &fork.cancel {
            let reason = reason.clone();
            return self.cancel_fork(now, key, reason);
        }
        let transport = sent.flow.transport;
        let sdp = sdp_of(&response.headers, &response.body);
        if sdp.is_some() {
            fork.early.clone_from(&sdp);
        }
        let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) else { return };
        calling.no_provisional = None;
        if let Some(tag) =
            tag.filter(|tag| calling.tags.len() < MAX_ANSWERS && !calling.tags.iter().any(|it| it == tag))
        {
            calling.tags.push(tag.to_owned());
        }
        let (told, forks) = (response.status > 100 && !calling.cancelled, calling.forks);
        self.schedule.set(&Timer::Leg(leg), None);
        if told {
            self.note_ringing(leg);
            // Early media of several phones at once would be a choir.
            let sdp = sdp.filter(|sdp| forks == 1 && self.admits(leg, transport, sdp));
            self.events.push_back(Event::Ringing { leg, sdp, status: response.status });
        }
    }

    fn hear_answer(&mut self, now: Now, source: Flow, key: &ClientKey, response: &Response, head: &Head) {
        let Some(sent) = self.sent.get_mut(key) else { return };
        let Owner::Invite(fork) = &mut sent.owner else { return };
        let (leg, tag) = (fork.leg, head.to.tag().unwrap_or("").to_owned());
        if let Some((_, to, ack)) = fork.acks.iter().find(|(known, ..)| *known == tag) {
            let (to, ack) = (*to, ack.clone());
            return self.transmit(to, ack);
        }
        if fork.acks.len() >= MAX_ANSWERS {
            return;
        }
        let flow = if fork.pinned { source } else { sent.datagrams.unwrap_or(sent.flow) };
        let mut dialog = Dialog::from_answer(sent.client.request(), response, head, flow, fork.pinned);
        if let Some(place) = fork.places.iter().find(|place| place.is(&tag)) {
            dialog.local_cseq = dialog.local_cseq.max(place.dialog.local_cseq);
        }
        let sdp = sdp_of(&response.headers, &response.body).or_else(|| fork.early.clone());
        let said = String::from_utf8_lossy(&sent.client.request().body).into_owned();
        let hop = dialog.next_hop();
        let mut ack = dialog.request(Method::Ack, head.cseq.number);
        // The ACK of a 2xx carries the credentials of its INVITE (RFC 3261 §13.2.2.4).
        for name in [Name::Authorization, Name::ProxyAuthorization] {
            for value in sent.client.request().headers.all(&name) {
                ack.headers.push(name.clone(), value);
            }
        }
        let branch = self.new_branch();
        self.dress(&mut ack, hop, &branch);
        let ack = ack.to_wire(hop.transport);
        if let Some(super::Sent { owner: Owner::Invite(fork), .. }) = self.sent.get_mut(key) {
            fork.acks.push((tag, hop, ack.clone()));
        }
        self.transmit(hop, ack);
        let wanted = match self.legs.get(&leg) {
            // A trunk's server that was given up meanwhile has lost the call, too.
            Some(Leg { stage: Stage::Calling(calling), trunk, .. }) => {
                !calling.cancelled && (trunk.is_none() || calling.open.contains(key))
            }
            _ => false,
        };
        match sdp {
            Some(sdp) if wanted && !self.admits(leg, flow.transport, &sdp) => {
                let reason = Reason { protocol: "SIP", cause: 488, text: "SRTP is required".to_owned() };
                self.bye(now, &mut dialog, Some(reason));
                self.fork_ended(now, leg, key, LegFailure::Status(488));
            }
            Some(sdp) if wanted => {
                let mut up = Up::new(dialog, CallIdOf::Us, &response.headers);
                (up.said, up.heard) = (Some(said), Some(sdp.clone()));
                up.session = granted(now, response);
                self.win(now, leg, key, up, sdp);
            }
            Some(_) => {
                self.bye(now, &mut dialog, Some(Reason::completed_elsewhere()));
                self.fork_ended(now, leg, key, LegFailure::Cancelled);
            }
            None => {
                let reason =
                    Reason { protocol: "SIP", cause: 488, text: "No session description".to_owned() };
                self.bye(now, &mut dialog, Some(reason));
                self.fork_ended(now, leg, key, LegFailure::Status(488));
            }
        }
    }

    /// The first usable answer: the leg is up, the other places are told so.
    fn win(&mut self, now: Now, leg: LegId, winner: &ClientKey, up: Up, sdp: String) {
        let Some(state) = self.legs.get_mut(&leg) else { return };
        let Stage::Calling(calling) = &mut state.stage else { return };
        let losers: Vec<ClientKey> = calling.open.iter().filter(|key| *key != winner).cloned().collect();
        let snapshot = up.dialog.snapshot();
        state.stage = Stage::Up(Box::new(up));
        self.watch_leg(leg);
        self.rearm(leg);
        for key in losers {
            self.cancel_fork(now, &key, Some(Reason::completed_elsewhere()));
        }
        self.events.push_back(Event::Answered { leg, sdp, dialog: snapshot });
    }

    /// 422: the same INVITE once more, with an interval that everybody on the way can bear (RFC 4028 §7.3).
    fn ask_for_longer(&mut self, now: Now, key: &ClientKey, response: &Response) -> bool {
        let Some(super::Sent { owner: Owner::Invite(fork), client, .. }) = self.sent.get(key) else {
            return false;
        };
        if fork.retries > 0 || !matches!(fork.cancel, Cancel::Unwanted) {
            return false;
        }
        let (mut request, least) = (client.request().clone(), min_se(&response.headers));
        let asked = SessionExpires::read(&request.headers).map_or(least, |asked| asked.interval.max(least));
        let next = number_of(&request) + 1;
        // Credentials are made for one request: the next gets its own.
        for name in [Name::Via, Name::Authorization, Name::ProxyAuthorization] {
            request.headers.remove(&name);
        }
        request.headers.set(Name::CSeq, format!("{next} INVITE"));
        request.headers.set(Name::SessionExpires, asked.as_secs().to_string());
        request.headers.set(Name::MinSe, least.as_secs().to_string());
        self.send_invite_again(now, key, request)
    }

    /// Sends the INVITE of one place anew in the place of an answered one; the call does not notice.
    fn send_invite_again(&mut self, now: Now, key: &ClientKey, request: Request) -> bool {
        let Some(super::Sent { owner: Owner::Invite(fork), flow, datagrams, .. }) = self.sent.get(key) else {
            return false;
        };
        let (leg, flow) = (fork.leg, datagrams.unwrap_or(*flow));
        let again = Fork { retries: fork.retries + 1, ..Fork::new(leg, fork.pinned) };
        let number = number_of(&request);
        let fresh = self.send_request(now, flow, request, Owner::Invite(again));
        let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) else { return true };
        for open in calling.open.iter_mut().filter(|open| *open == key) {
            *open = fresh.clone();
        }
        if let Some(next) = &mut calling.next {
            next.counted(number);
        }
        true
    }

    /// One place will not answer any more; when it was the last one, the call has failed.
    pub(super) fn fork_ended(&mut self, now: Now, leg: LegId, key: &ClientKey, failure: LegFailure) {
        let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) else { return };
        if !calling.open.contains(key) {
            return;
        }
        calling.open.retain(|open| open != key);
        calling.failure = Some(calling.failure.map_or(failure, |known| better(known, failure)));
        let everywhere = matches!(failure, LegFailure::Status(600..));
        let (open, cancelled) = (calling.open.clone(), calling.cancelled);
        if open.is_empty() && !cancelled && self.try_next_server(now, leg, failure) {
            return;
        }
        let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) else { return };
        if open.is_empty() {
            let cancelled = calling.cancelled.then_some(LegFailure::Cancelled);
            let failure = cancelled.or(calling.failure).unwrap_or(failure);
            self.remove_leg(leg);
            self.events.push_back(Event::Failed { leg, failure });
        } else if everywhere {
            for key in open {
                self.cancel_fork(now, &key, None);
            }
        }
    }

    /// A trunk kept silent for too long: it is given up, and taken back should it wake up.
    pub(super) fn give_up(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) else { return };
        let open = calling.open.clone();
        if !calling.cancelled && open.iter().any(|key| self.fall_back(now, key)) {
            return;
        }
        let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) else { return };
        let open = std::mem::take(&mut calling.open);
        for key in open {
            self.shun_server_of(now, &key);
            self.cancel_fork(now, &key, None);
        }
        if self.try_next_server(now, leg, LegFailure::NoProvisional) {
            return;
        }
        self.remove_leg(leg);
        self.events.push_back(Event::Failed { leg, failure: LegFailure::NoProvisional });
    }

    pub(super) fn remove_leg(&mut self, leg: LegId) {
        self.watch_leg(leg);
        if let Some(state) = self.legs.remove(&leg) {
            self.dialogs.remove(&(state.call_id, state.local_tag));
            self.leave_trunk(state.trunk);
        }
        self.schedule.set(&Timer::Leg(leg), None);
    }
}

/// The number that the answers to a request of ours carry.
pub(super) fn number_of(request: &Request) -> u32 {
    request.headers.get(&Name::CSeq).and_then(CSeq::parse).map_or(1, |cseq| cseq.number)
}

/// Which of two failures says more: a person's decision over a machine's, anything over silence.
fn better(one: LegFailure, other: LegFailure) -> LegFailure {
    let rank = |failure: LegFailure| match failure {
        LegFailure::Status(600..) => 0,
        LegFailure::Status(486) => 1,
        LegFailure::Status(400..500) => 2,
        LegFailure::Status(300..400) => 3,
        LegFailure::Status(_) => 4,
        LegFailure::Cancelled => 5,
        LegFailure::Timeout => 6,
        LegFailure::Unreachable => 7,
        LegFailure::NoProvisional => 8,
    };
    if rank(other) < rank(one) { other } else { one }
}
