//! What happens in a call that is up: ACK, BYE, INFO, and the requests that belong to no call any more.

use crate::id::LegId;
use crate::time::Now;

use super::super::dialog::{Dialog, DialogSnapshot, Order};
use super::super::message::{Method, Name, sdp_of};
use super::super::transaction::ServerKey;
use super::incoming::Incoming;
use super::leg::{Leg, Owner, Stage, Up};
use super::{ALLOW, Event, Reason, Refusal, Timer, UserAgent};

impl UserAgent {
    /// Ends a call at whatever stage: BYE when up, CANCEL when calling, 480 when called.
    ///
    /// After `accept` the BYE waits for the ACK (RFC 3261 §15).
    pub fn hang_up(&mut self, now: Now, leg: LegId, reason: Option<Reason>) {
        match self.legs.get_mut(&leg).map(|leg| &mut leg.stage) {
            None => {}
            Some(Stage::Calling(_)) => {
                let reason = reason.unwrap_or(Reason {
                    protocol: "SIP",
                    cause: 487,
                    text: "Request Terminated".to_owned(),
                });
                self.cancel(now, leg, reason);
            }
            Some(Stage::Called(_)) => {
                let refusal = Refusal { reason, ..Refusal::status(480, "Temporarily Unavailable") };
                self.refuse(now, leg, refusal);
            }
            Some(Stage::Up(up)) if up.unacked.as_ref().is_some_and(|unacked| unacked.initial) => {
                up.hang_up = Some(reason);
            }
            Some(Stage::Up(up)) => {
                let mut dialog = up.dialog.clone();
                self.end_pending(now, leg);
                self.bye(now, &mut dialog, reason);
                self.remove_leg(leg);
            }
        }
    }

    /// Ends a call of a process that died, as well as can be: one BYE, nobody waits for the answer.
    pub fn end_orphan(&mut self, now: Now, snapshot: &DialogSnapshot, reason: Reason) {
        let mut dialog = Dialog::from_snapshot(snapshot);
        self.bye(now, &mut dialog, Some(reason));
    }

    pub(super) fn bye(&mut self, now: Now, dialog: &mut Dialog, reason: Option<Reason>) {
        let mut bye = dialog.next_request(Method::Bye);
        if let Some(reason) = reason {
            bye.headers.push(Name::Reason, reason.to_string());
        }
        bye.headers.push(Name::UserAgent, self.settings.product.clone());
        self.send_request(now, dialog.next_hop(), bye, Owner::Nobody);
    }

    /// The leg a request with a To tag belongs to, and whether the peer's tag is right too.
    fn leg_of(&self, incoming: &Incoming) -> Option<LegId> {
        let tag = incoming.head.to.tag()?.to_owned();
        let leg = *self.dialogs.get(&(incoming.head.call_id.clone(), tag))?;
        let remote = incoming.head.from.tag().unwrap_or("");
        match &self.legs.get(&leg)?.stage {
            Stage::Up(up) => (up.dialog.remote_tag == remote).then_some(leg),
            Stage::Called(called) => (called.invite.head.from.tag().unwrap_or("") == remote).then_some(leg),
            Stage::Calling(_) => Some(leg),
        }
    }

    /// A request within a call.
    pub(super) fn handle_in_dialog(&mut self, now: Now, incoming: Incoming) {
        let Some(leg) = self.leg_of(&incoming) else {
            if incoming.request.method == Method::Subscribe && self.refresh_watch(now, &incoming) {
                return;
            }
            return self.answer_stateless(&incoming, 481, "Call/Transaction Does Not Exist", Vec::new());
        };
        let up = match self.legs.get_mut(&leg).map(|leg| &mut leg.stage) {
            Some(Stage::Up(up)) => up,
            Some(Stage::Called(_)) if incoming.request.method == Method::Bye => {
                return self.bye_before_answer(now, leg, &incoming);
            }
            Some(Stage::Called(_)) if incoming.request.method == Method::Prack => {
                return self.handle_prack(now, leg, &incoming);
            }
            // An early dialog: whatever else it wants has to wait until the call is answered.
            _ => {
                return match incoming.request.method {
                    Method::Options => self.answer_options(&incoming),
                    // It tells who is on the line now (PBXs do when a call is passed on) and offers nothing.
                    Method::Update if incoming.request.body.is_empty() => self.answer_early_update(&incoming),
                    _ => self.answer_later(&incoming),
                };
            }
        };
        if up.dialog.take_number(incoming.head.cseq.number) == Order::Old {
            return self.answer_stateless(&incoming, 500, "Out of Order", Vec::new());
        }
        // A phone that lost its connection speaks on a new one. Nobody forges the source of a stream.
        if up.dialog.pinned && incoming.flow.transport.is_reliable() {
            up.dialog.flow = incoming.flow;
        }
        match incoming.request.method {
            Method::Bye => self.handle_bye(now, leg, &incoming),
            Method::Invite | Method::Update => self.handle_reoffer(now, leg, incoming),
            Method::Info => self.handle_info(now, leg, &incoming),
            Method::Options => self.answer_options(&incoming),
            Method::Refer => self.handle_refer(leg, incoming),
            // Nothing of a call can be watched by asking for it; 481 would end the call (RFC 5057 §5.1).
            Method::Subscribe => self.answer_stateless(&incoming, 489, "Bad Event", Vec::new()),
            // It confirms ringing that our 200 has overtaken.
            Method::Prack => self.answer_stateless(&incoming, 200, "OK", Vec::new()),
            _ => self.answer_stateless(&incoming, 405, "Method Not Allowed", Vec::new()),
        }
    }

    fn answer_early_update(&mut self, incoming: &Incoming) {
        let contact = self.contact(incoming.flow, &incoming.request.uri);
        let headers = vec![(Name::Contact, contact), (Name::Allow, ALLOW.to_owned())];
        self.answer_stateless(incoming, 200, "OK", headers);
    }

    /// 500 with Retry-After: come again in a moment (RFC 3261 §14.2).
    pub(super) fn answer_later(&mut self, incoming: &Incoming) {
        let seconds = self.random.below(11).to_string();
        let headers = vec![(Name::RetryAfter, seconds)];
        self.answer_stateless(incoming, 500, "Server Internal Error", headers);
    }

    fn handle_bye(&mut self, now: Now, leg: LegId, incoming: &Incoming) {
        let Some(key) = self.begin(incoming) else { return };
        self.respond(now, &key, &incoming.answer(200, "OK", ""));
        self.end_pending(now, leg);
        self.remove_leg(leg);
        let reason = incoming.request.headers.get(&Name::Reason).map(Reason::text_of);
        self.events.push_back(Event::HungUp { leg, reason });
    }

    /// Requests of theirs that wait for us will not be answered as they wished: the call is over.
    pub(super) fn end_pending(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let (reoffer, referrals) = (up.reoffer.take(), up.take_referrals());
        for (incoming, server) in reoffer.into_iter().chain(referrals) {
            self.end_reoffer(now, &incoming, &server);
        }
    }

    /// A caller may end an early dialog by BYE instead of CANCEL (RFC 3261 §15).
    fn bye_before_answer(&mut self, now: Now, leg: LegId, incoming: &Incoming) {
        let Some(key) = self.begin(incoming) else { return };
        self.respond(now, &key, &incoming.answer(200, "OK", ""));
        self.refuse(now, leg, Refusal::status(487, "Request Terminated"));
        self.events.push_back(Event::Cancelled { leg });
    }

    fn handle_info(&mut self, now: Now, leg: LegId, incoming: &Incoming) {
        let Some(key) = self.begin(incoming) else { return };
        let kind = incoming.request.headers.get(&Name::ContentType).unwrap_or("").to_ascii_lowercase();
        let body = String::from_utf8_lossy(&incoming.request.body).into_owned();
        let digit = match kind.split(';').next().map(str::trim) {
            Some("application/dtmf-relay") => read_dtmf_relay(&body),
            Some("application/dtmf") => read_digit(body.trim()).map(|digit| (digit, DEFAULT_MILLIS)),
            _ if incoming.request.body.is_empty() => None,
            _ => {
                let mut response = incoming.answer(415, "Unsupported Media Type", "");
                response.headers.push(Name::Accept, "application/dtmf-relay, application/dtmf");
                self.respond(now, &key, &response);
                return;
            }
        };
        self.respond(now, &key, &incoming.answer(200, "OK", ""));
        if let Some((digit, millis)) = digit {
            self.events.push_back(Event::Digit { leg, digit, millis });
        }
    }

    /// ACK: of a refusal on its own branch, of a 200 in its dialog. Never answered.
    pub(super) fn handle_ack(&mut self, now: Now, incoming: &Incoming) {
        let key = ServerKey::of(&incoming.request, &incoming.head, &Method::Invite);
        if let Some(answering) = self.answering.get_mut(&key) {
            answering.server.acked(now.mono);
            let timeout = answering.server.poll_timeout();
            self.schedule.set(&Timer::Server(key), timeout);
        }
        let Some(leg) = self.leg_of(incoming) else { return };
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        if up.unacked.as_ref().is_none_or(|unacked| unacked.number != incoming.head.cseq.number) {
            return;
        }
        let Some(unacked) = up.unacked.take() else { return };
        if unacked.initial {
            let dialog = up.dialog.snapshot();
            self.events.push_back(Event::Confirmed { leg, dialog });
        }
        let answer = sdp_of(&incoming.request.headers, &incoming.request.body);
        if let Some(sdp) = answer.filter(|_| unacked.offered) {
            up.heard = Some(sdp.clone());
            self.events.push_back(Event::Reanswered { leg, sdp });
        }
        if let Some(reason) = up.hang_up.take() {
            return self.hang_up(now, leg, reason);
        }
        self.advance_change(now, leg);
        self.rearm(leg);
    }

    pub(super) fn tick_leg(&mut self, now: Now, leg: LegId) {
        match self.legs.get_mut(&leg).map(|leg| &mut leg.stage) {
            None => {}
            Some(Stage::Calling(_)) => self.give_up(now, leg),
            Some(Stage::Called(_)) => {
                self.ring_again(now, leg);
                self.tick_progress(now, leg);
                self.rearm(leg);
            }
            Some(Stage::Up(up)) => {
                let overdue = up.unacked.as_ref().is_some_and(|unacked| now.mono >= unacked.deadline);
                let expired = up.session.is_some_and(|session| now.mono >= session.expires_at);
                let due = up.unacked.as_mut().and_then(|unacked| {
                    unacked.resend.take(now.mono).then(|| (unacked.to, unacked.bytes.clone()))
                });
                if overdue {
                    return self.ack_timed_out(now, leg);
                }
                if expired {
                    return self.end_session(now, leg);
                }
                if let Some((to, bytes)) = due {
                    self.transmit(to, bytes);
                }
                self.advance_change(now, leg);
                self.rearm(leg);
            }
        }
    }

    /// A 200 without an ACK for 64 T1 ends the call (RFC 3261 §13.3.1.4).
    fn ack_timed_out(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let Up { dialog, hang_up, .. } = &mut **up;
        let (mut dialog, asked) = (dialog.clone(), hang_up.take());
        let silence = Reason { protocol: "SIP", cause: 408, text: "No ACK".to_owned() };
        let reason = asked.clone().flatten().unwrap_or(silence);
        self.figures.ack_timeouts += 1;
        self.end_pending(now, leg);
        self.bye(now, &mut dialog, Some(reason));
        self.remove_leg(leg);
        // Whoever has hung up already wants to hear no more of the call.
        if asked.is_none() {
            self.events.push_back(Event::AckTimeout { leg });
        }
    }
}

/// For devices that name no duration.
const DEFAULT_MILLIS: u32 = 160;

fn read_digit(text: &str) -> Option<char> {
    // Some devices send the event number of RFC 4733 instead of the key.
    match text {
        "10" => return Some('*'),
        "11" => return Some('#'),
        "12" => return Some('A'),
        "13" => return Some('B'),
        "14" => return Some('C'),
        "15" => return Some('D'),
        _ => {}
    }
    let mut chars = text.chars();
    let digit = chars.next()?.to_ascii_uppercase();
    (chars.next().is_none() && "0123456789*#ABCD".contains(digit)).then_some(digit)
}

fn read_dtmf_relay(body: &str) -> Option<(char, u32)> {
    let mut digit = None;
    let mut millis = DEFAULT_MILLIS;
    for line in body.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        match name.trim().to_ascii_lowercase().as_str() {
            "signal" => digit = read_digit(value.trim()),
            "duration" => millis = value.trim().parse().unwrap_or(DEFAULT_MILLIS).clamp(40, 6000),
            _ => {}
        }
    }
    digit.map(|digit| (digit, millis))
}
