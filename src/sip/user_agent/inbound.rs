//! Calls to us: from phones by digest, from trunks by address (RFC 3261 §13.3).

use std::time::Instant;

use crate::id::LegId;
use crate::time::Now;

use super::super::dialog::Dialog;
use super::super::message::uri::{quote, user_of};
use super::super::message::{Method, Name, NameAddr, Response, sdp_of};
use super::super::transaction::{Resend, ServerKey};
use super::super::trunk::{CallFacts, NumberOf, Numbering};
use super::change::CallIdOf;
use super::incoming::Incoming;
use super::lamps::LampFacts;
use super::leg::{Called, Leg, RINGING_EVERY, Stage, Unacked, Up};
use super::reliable::Progress;
use super::{ALLOW, Caller, CallerOrigin, Event, Refusal, SUPPORTED, UserAgent};

impl UserAgent {
    /// A new call: who is it, 100, and the event.
    pub(super) fn handle_invite(&mut self, now: Now, incoming: Incoming) {
        // A registered phone may share its address with a trunk (one PBX, one NAT): it stays a phone.
        let claimed = incoming.head.from.user_text();
        let phone = self.registrar.knows(now.mono, incoming.flow, &claimed);
        let trunk = self.trunk_from(&incoming).filter(|_| !phone);
        let origin = match trunk.and_then(|at| self.settings.trunks.get(at)) {
            Some(trunk) => CallerOrigin::Trunk(trunk.name.clone()),
            None => {
                let Some(phone) = self.authenticate(now, &incoming, &claimed) else { return };
                CallerOrigin::Phone(phone)
            }
        };
        if self.legs.len() >= self.settings.max_legs {
            return self.refuse_overload(&incoming);
        }
        let replaces = match self.replaced_by(&incoming.request.headers) {
            Ok(replaces) => replaces,
            Err((status, phrase)) => return self.answer_stateless(&incoming, status, phrase, Vec::new()),
        };
        if trunk.is_some_and(|at| self.enter_trunk(now, at).is_err()) {
            return self.refuse_overload(&incoming);
        }
        let Some(server) = self.begin(&incoming) else { return self.leave_trunk(trunk) };
        let leg = self.next_leg();
        if let Some(answering) = self.answering.get_mut(&server) {
            answering.leg = Some(leg);
        }
        self.respond(now, &server, &incoming.answer(100, "Trying", ""));
        let local_tag = self.random.hex(8);
        let call_id = incoming.head.call_id.clone();
        let phone = match &origin {
            CallerOrigin::Phone(name) => Some(name.clone()),
            CallerOrigin::Trunk(_) => None,
        };
        let numbering = trunk.map(|at| &self.settings.trunks[at].numbering);
        let dialled = self.dialled_from(trunk, &incoming.request);
        let event = Event::Invited {
            leg,
            from: caller(&incoming, origin, numbering),
            dialled: dialled.clone(),
            sdp: sdp_of(&incoming.request.headers, &incoming.request.body),
            call_id: call_id.clone(),
            replaces,
        };
        self.dialogs.insert((call_id.clone(), local_tag.clone()), leg);
        let (progress, told) = (Progress::new(&incoming.request), Vec::new());
        let pinned = phone.is_some() && Self::is_direct(&incoming);
        let (ringing, described) = (None, false);
        let called = Called { invite: incoming, server, pinned, ringing, progress, described, told };
        let stage = Stage::Called(Box::new(called));
        let lamp = LampFacts::with(&dialled, "");
        self.legs.insert(leg, Leg { call_id, local_tag, phone, trunk, lamp, stage });
        self.watch_leg(leg);
        self.events.push_back(event);
    }

    /// Tells the caller that it rings (180), or lets it hear something (183 with a session description).
    ///
    /// A caller that takes reliable answers gets early media so, one that requires them everything (RFC 3262).
    pub fn ring(&mut self, now: Now, leg: LegId, sdp: Option<String>) {
        self.note_ringing(leg);
        if let Some(Leg { stage: Stage::Called(called), .. }) = self.legs.get_mut(&leg) {
            called.described |= sdp.is_some();
        }
        if self.ring_reliably(now, leg, sdp.as_ref()) {
            return;
        }
        let (status, phrase) = if sdp.is_some() { (183, "Session Progress") } else { (180, "Ringing") };
        let Some((server, mut response)) = self.answer_to_invite(leg, status, phrase) else { return };
        add_body(&mut response, sdp);
        let bytes = self.respond(now, &server, &response);
        let at = now.mono + RINGING_EVERY;
        if let Some(Leg { stage: Stage::Called(called), .. }) = self.legs.get_mut(&leg) {
            called.ringing = Some((bytes, at));
        }
        self.rearm(leg);
    }

    /// Tells a trunk that calls what its call is about, with the answers that follow; a phone is told nothing.
    pub fn describe(&mut self, leg: LegId, facts: &CallFacts) {
        let Some(Leg { stage: Stage::Called(called), trunk: Some(at), .. }) = self.legs.get_mut(&leg) else {
            return;
        };
        called.told = self.settings.trunks[*at].fact_headers.tell(facts);
    }

    /// Answers the call; the 200 is repeated until it is acknowledged.
    pub fn accept(&mut self, now: Now, leg: LegId, sdp: String) {
        if self.accept_waits(leg, &sdp) {
            return;
        }
        let Some((server, mut response)) = self.answer_to_invite(leg, 200, "OK") else { return };
        response.headers.push(Name::Allow, ALLOW);
        response.headers.push(Name::Supported, SUPPORTED);
        response.headers.push(Name::Server, self.settings.product.clone());
        let Some(Leg { stage: Stage::Called(called), .. }) = self.legs.get(&leg) else { return };
        let session = self.settings.grant_session(now, &called.invite.request, &mut response);
        add_body(&mut response, called.still_to_say(sdp.clone()));
        let bytes = self.respond(now, &server, &response);
        let Some(state) = self.legs.get_mut(&leg) else { return };
        let Stage::Called(called) = &state.stage else { return };
        let invite = &called.invite;
        let headers = &invite.request.headers;
        let dialog =
            Dialog::from_invite(&invite.request, &invite.head, &state.local_tag, invite.flow, called.pinned);
        let mut up = Up::new(dialog, CallIdOf::Them, headers);
        up.said = Some(sdp);
        up.heard = sdp_of(headers, &invite.request.body);
        up.session = session;
        let offered = up.heard.is_none();
        up.unacked = Some(self.settings.unacked(now.mono, invite, bytes, true, offered));
        state.stage = Stage::Up(Box::new(up));
        self.watch_leg(leg);
        self.rearm(leg);
    }

    /// Refuses the call; the leg is gone.
    pub fn refuse(&mut self, now: Now, leg: LegId, refusal: Refusal) {
        let status = refusal.status.clamp(300, 699);
        let Some((server, mut response)) = self.answer_to_invite(leg, status, &refusal.phrase) else {
            return;
        };
        let to = self.answering.get(&server).map(|it| it.to);
        if let Some(reason) = refusal.reason {
            response.headers.push(Name::Reason, reason.to_string());
        }
        if let Some((warning, to)) = refusal.warning.zip(to) {
            let agent = self.settings.advertised_on(to);
            response.headers.push(Name::Warning, format!("399 {agent} {}", quote(&warning)));
        }
        if let Some(seconds) = refusal.retry_after {
            response.headers.push(Name::RetryAfter, seconds.to_string());
        }
        self.respond(now, &server, &response);
        self.remove_leg(leg);
    }

    /// The start of an answer to an INVITE that was not finally answered.
    pub(super) fn answer_to_invite(
        &self,
        leg: LegId,
        status: u16,
        phrase: &str,
    ) -> Option<(ServerKey, Response)> {
        let state = self.legs.get(&leg)?;
        let Stage::Called(called) = &state.stage else { return None };
        let phrase = phrase.replace(['\r', '\n'], " ");
        let mut response = called.invite.answer(status, phrase.trim(), &state.local_tag);
        if status < 300 {
            let invite = &called.invite;
            response.headers.push(Name::Contact, self.contact(invite.flow, &invite.request.uri));
            for (name, value) in &called.told {
                response.headers.push(name.clone(), value.clone());
            }
        }
        Some((called.server.clone(), response))
    }

    /// CANCEL: answered for itself, and the INVITE with 487 if there was time (RFC 3261 §9.2).
    pub(super) fn handle_cancel(&mut self, now: Now, incoming: &Incoming) {
        let key = ServerKey::of(&incoming.request, &incoming.head, &Method::Invite);
        let Some(answering) = self.answering.get(&key) else {
            return self.answer_stateless(incoming, 481, "Call/Transaction Does Not Exist", Vec::new());
        };
        let (leg, pending) = (answering.leg, answering.server.is_pending());
        let tag = leg.and_then(|leg| self.legs.get(&leg)).map(|leg| leg.local_tag.clone());
        match tag {
            Some(tag) => {
                let response = incoming.answer(200, "OK", &tag);
                let to = incoming.answer_to();
                self.transmit(to, response.to_wire(to.transport));
            }
            None => self.answer_stateless(incoming, 200, "OK", Vec::new()),
        }
        let Some(leg) = leg.filter(|_| pending) else { return };
        if let Some((server, response)) = self.answer_to_invite(leg, 487, "Request Terminated") {
            self.respond(now, &server, &response);
            self.remove_leg(leg);
            self.events.push_back(Event::Cancelled { leg });
        } else {
            // A re-INVITE is taken back: the call itself goes on.
            self.cancel_reoffer(now, leg);
        }
    }

    /// Sends ringing once more.
    pub(super) fn ring_again(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Called(called), .. }) = self.legs.get_mut(&leg) else { return };
        let Some((bytes, at)) = called.ringing.as_mut().filter(|(_, at)| *at <= now.mono) else { return };
        *at = now.mono + RINGING_EVERY;
        let (bytes, to) = (bytes.clone(), called.invite.answer_to());
        self.transmit(to, bytes);
    }
}

impl super::Settings {
    pub(super) fn unacked(
        &self,
        now: Instant,
        invite: &Incoming,
        bytes: Vec<u8>,
        initial: bool,
        offered: bool,
    ) -> Unacked {
        Unacked {
            number: invite.head.cseq.number,
            initial,
            offered,
            to: invite.answer_to(),
            bytes,
            resend: Resend::new(now, &self.timers, true),
            deadline: now + self.timers.give_up(),
        }
    }
}

pub(super) fn add_body(response: &mut Response, sdp: Option<String>) {
    if let Some(sdp) = sdp {
        response.headers.push(Name::ContentType, "application/sdp");
        response.body = sdp.into_bytes();
    }
}

/// Who calls: a phone by its account, a trunk's caller by P-Asserted-Identity (RFC 3325) or From.
fn caller(incoming: &Incoming, origin: CallerOrigin, numbering: Option<&Numbering>) -> Caller {
    let asserted =
        incoming.request.headers.list(&Name::PAssertedIdentity).into_iter().find_map(NameAddr::parse);
    // Who does not want to be known is not: From says so already (RFC 3323 §4.2, RFC 3325 §9.3).
    let withheld = incoming.request.headers.get(&Name::Privacy).is_some_and(|value| {
        let mut words = value.split([';', ',']).map(str::trim);
        words.any(|word| ["id", "user", "header", "critical"].iter().any(|it| word.eq_ignore_ascii_case(it)))
    });
    let (number, display) = match (&origin, asserted.filter(|_| !withheld)) {
        (CallerOrigin::Phone(name), _) => (name.as_str().to_owned(), incoming.head.from.display.clone()),
        (CallerOrigin::Trunk(_), Some(asserted)) => (user_of(&asserted.uri), asserted.display),
        (CallerOrigin::Trunk(_), None) => {
            (incoming.head.from.user_text(), incoming.head.from.display.clone())
        }
    };
    let number = match numbering {
        Some(numbering) => numbering.inward(NumberOf::Caller, &number),
        None => number,
    };
    Caller { origin, number, display }
}
