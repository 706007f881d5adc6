//! A call that is changed while it is up: re-INVITE and UPDATE (RFC 3261 §14, RFC 3311).

use crate::id::LegId;
use crate::time::Now;

use super::super::message::{Method, Name, sdp_of};
use super::super::transaction::ServerKey;
use super::inbound::add_body;
use super::incoming::Incoming;
use super::leg::{Leg, Stage};
use super::{ALLOW, Event, SUPPORTED, UserAgent};

impl UserAgent {
    /// A re-INVITE or UPDATE with a new number: passed on, or refused where two exchanges would cross.
    pub(super) fn handle_reoffer(&mut self, now: Now, leg: LegId, incoming: Incoming) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let sdp = sdp_of(&incoming.request.headers, &incoming.request.body);
        let update = incoming.request.method == Method::Update;
        if update && sdp.is_none() {
            return self.refresh(now, leg, &incoming);
        }
        if up.reoffer.is_some() {
            return self.answer_later(now, &incoming);
        }
        // Our own offer is on its way, or our 200 not yet acknowledged: glare (RFC 3261 §14.2).
        let glare = match &up.unacked {
            Some(unacked) => !update || unacked.offered,
            None => false,
        };
        if glare || up.change.crosses(&incoming.request.method) {
            return self.answer_for_good(now, &incoming, 491, "Request Pending", Vec::new());
        }
        let Some(server) = self.begin(&incoming) else { return };
        if let Some(answering) = self.answering.get_mut(&server) {
            answering.leg = Some(leg);
        }
        if !update {
            self.respond(now, &server, &incoming.answer(100, "Trying", ""));
        }
        if let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) {
            up.reoffer = Some((incoming, server));
        }
        self.events.push_back(Event::Reoffered { leg, sdp });
    }

    /// An UPDATE without an offer only asks whether we are still there.
    fn refresh(&mut self, now: Now, leg: LegId, incoming: &Incoming) {
        let Some(key) = self.begin(incoming) else { return };
        let mut response = incoming.answer(200, "OK", "");
        response.headers.push(Name::Contact, self.contact(incoming.flow, &incoming.request.uri));
        let session = self.settings.grant_session(now, &incoming.request, &mut response);
        if let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) {
            up.dialog.refresh_target(&incoming.request.headers, incoming.flow);
            up.refreshed(session);
        }
        self.respond(now, &key, &response);
        self.rearm(leg);
    }

    /// An UPDATE before the call is answered (RFC 3311 §5.2): PBXs say so who is called meanwhile.
    ///
    /// Without an offer it is answered here. One with the offer that was answered already gets the same answer again,
    /// one with a new offer comes back when the call is up; while the first answer is still owed neither side may
    /// offer.
    pub(super) fn handle_early_update(&mut self, now: Now, leg: LegId, incoming: &Incoming) {
        let Some(stage) = self.legs.get(&leg).map(|leg| &leg.stage) else { return };
        let offer = sdp_of(&incoming.request.headers, &incoming.request.body);
        let said = match (stage, &offer) {
            (_, None) => None,
            (Stage::Called(called), Some(offer)) => match called.answered_early(offer) {
                Some(said) => Some(said),
                None => return self.answer_later(now, incoming),
            },
            _ => return self.answer_for_good(now, incoming, 491, "Request Pending", Vec::new()),
        };
        let Some(key) = self.begin(incoming) else { return };
        let mut response = incoming.answer(200, "OK", "");
        response.headers.push(Name::Contact, self.contact(incoming.flow, &incoming.request.uri));
        response.headers.push(Name::Allow, ALLOW);
        add_body(&mut response, said);
        self.respond(now, &key, &response);
    }

    /// Answers what [`Event::Reoffered`] asked: a session description, or the status that refuses it.
    ///
    /// A refusal leaves the call as it was.
    pub fn answer_reoffer(&mut self, now: Now, leg: LegId, answer: Result<String, u16>) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let Some((incoming, server)) = up.reoffer.take() else { return };
        match answer {
            Ok(sdp) => {
                up.dialog.refresh_target(&incoming.request.headers, incoming.flow);
                up.said = Some(sdp.clone());
                if let Some(offer) = sdp_of(&incoming.request.headers, &incoming.request.body) {
                    up.heard = Some(offer);
                }
                let mut response = incoming.answer(200, "OK", "");
                up.session = self.settings.grant_session(now, &incoming.request, &mut response);
                response.headers.push(Name::Contact, self.contact(incoming.flow, &incoming.request.uri));
                response.headers.push(Name::Allow, ALLOW);
                response.headers.push(Name::Supported, SUPPORTED);
                add_body(&mut response, Some(sdp));
                let bytes = self.respond(now, &server, &response);
                if incoming.request.method == Method::Invite {
                    self.await_ack(now, leg, &incoming, bytes);
                }
            }
            Err(status) => {
                let phrase = if status == 491 { "Request Pending" } else { "Not Acceptable Here" };
                let response = incoming.answer(status.clamp(400, 699), phrase, "");
                self.respond(now, &server, &response);
            }
        }
        self.advance_change(now, leg);
        self.rearm(leg);
    }

    fn await_ack(&mut self, now: Now, leg: LegId, incoming: &Incoming, bytes: Vec<u8>) {
        let offered = sdp_of(&incoming.request.headers, &incoming.request.body).is_none();
        let unacked = self.settings.unacked(now.mono, incoming, bytes, false, offered);
        if let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) {
            up.unacked = Some(unacked);
        }
    }

    /// The peer takes its re-INVITE back.
    pub(super) fn cancel_reoffer(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        if let Some((incoming, server)) = up.reoffer.take() {
            self.end_reoffer(now, &incoming, &server);
        }
    }

    /// 487: the re-INVITE will not be answered any more.
    pub(super) fn end_reoffer(&mut self, now: Now, incoming: &Incoming, server: &ServerKey) {
        let response = incoming.answer(487, "Request Terminated", "");
        self.respond(now, server, &response);
    }
}
