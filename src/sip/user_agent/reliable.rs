//! Provisional answers that are known to arrive (RFC 3262): ours to callers that ask for it, and those we get.

use std::time::Instant;

use crate::id::LegId;
use crate::time::Now;

use super::super::dialog::Dialog;
use super::super::flow::Flow;
use super::super::message::{Head, Headers, Method, Name, Request, Response};
use super::super::transaction::{ClientKey, Resend};
use super::inbound::add_body;
use super::incoming::Incoming;
use super::leg::{Called, Owner, Stage};
use super::{Event, Refusal, Sent, UserAgent};

/// The option tag.
const TAG: &str = "100rel";
/// More places of different tags behind one INVITE than any forking proxy has.
const MOST_PLACES: usize = 16;

/// What the caller thinks of reliable provisional answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// It knows nothing of them.
    None,
    /// It takes them: early media is worth one.
    Supported,
    /// It takes nothing else.
    Required,
}

impl Wish {
    fn of(headers: &Headers) -> Self {
        let lists = |name| headers.words(&name).iter().any(|word| word == TAG);
        match (lists(Name::Require), lists(Name::Supported)) {
            (true, _) => Self::Required,
            (false, true) => Self::Supported,
            _ => Self::None,
        }
    }
}

/// How a caller is told of progress.
#[derive(Debug)]
pub(super) struct Progress {
    wish: Wish,
    /// The number of the last reliable answer; 0 before the first.
    last: u32,
    unconfirmed: Option<Unconfirmed>,
    /// What comes after it.
    next: Option<Option<String>>,
    /// The call is to be answered as soon as the caller knows the session (RFC 3262 §3).
    accept: Option<String>,
    /// The answer to the offer went out reliably: the 200 needs none.
    said: Option<String>,
}

/// A reliable answer that waits for its PRACK.
#[derive(Debug)]
struct Unconfirmed {
    bytes: Vec<u8>,
    described: Option<String>,
    resend: Resend,
    deadline: Instant,
}

impl Progress {
    pub(super) fn new(invite: &Request) -> Self {
        let wish = Wish::of(&invite.headers);
        Self { wish, last: 0, unconfirmed: None, next: None, accept: None, said: None }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.unconfirmed.as_ref().map(|it| it.resend.next.min(it.deadline))
    }
}

/// What a provisional answer to our INVITE turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progressed {
    News,
    /// It came before, or one before it was lost and comes again.
    Repeated,
}

/// A place that answers our INVITE provisionally and reliably.
#[derive(Debug)]
pub(super) struct Place {
    tag: String,
    pub(super) dialog: Dialog,
    last: u32,
}

impl Place {
    pub(super) fn is(&self, tag: &str) -> bool {
        self.tag == tag
    }
}

impl UserAgent {
    /// Sends a provisional answer reliably if the caller wants that.
    ///
    /// `false`: it has to go the ordinary way.
    pub(super) fn ring_reliably(&mut self, now: Now, leg: LegId, sdp: Option<&String>) -> bool {
        let Some(called) = self.called(leg) else { return false };
        let offered =
            super::super::message::sdp_of(&called.invite.request.headers, &called.invite.request.body)
                .is_some();
        let progress = &mut called.progress;
        let reliably = match progress.wish {
            Wish::None => false,
            Wish::Supported => sdp.is_some(),
            Wish::Required => true,
        };
        if !reliably {
            return false;
        }
        if !offered {
            // The first reliable answer would have to hold our offer (RFC 3261 §13.2.1); 100 must do.
            return true;
        }
        if progress.unconfirmed.is_some() {
            progress.next = Some(sdp.cloned());
            return true;
        }
        // The offer is answered once; what follows only rings (RFC 6337 §3.1.1).
        let sdp = if progress.said.is_none() { sdp.cloned() } else { None };
        self.send_reliably(now, leg, sdp);
        true
    }

    fn send_reliably(&mut self, now: Now, leg: LegId, sdp: Option<String>) {
        let first = 1 + self.random.below(1 << 30);
        let (status, phrase) = if sdp.is_some() { (183, "Session Progress") } else { (180, "Ringing") };
        let Some((server, mut response)) = self.answer_to_invite(leg, status, phrase) else { return };
        let timers = self.settings.timers;
        let Some(called) = self.called(leg) else { return };
        let progress = &mut called.progress;
        progress.last = if progress.last == 0 { first } else { progress.last + 1 };
        response.headers.push(Name::Require, TAG);
        response.headers.push(Name::RSeq, progress.last.to_string());
        add_body(&mut response, sdp.clone());
        let bytes = self.respond(now, &server, &response);
        if let Some(called) = self.called(leg) {
            called.ringing = None;
            called.progress.unconfirmed = Some(Unconfirmed {
                bytes,
                described: sdp,
                resend: Resend::new(now.mono, &timers, false),
                deadline: now.mono + timers.give_up(),
            });
        }
        self.rearm(leg);
    }

    /// Whether the 200 has to wait until the caller knows the session; it is sent then.
    pub(super) fn accept_waits(&mut self, leg: LegId, sdp: &str) -> bool {
        let Some(called) = self.called(leg) else { return false };
        let waits = called.progress.unconfirmed.as_ref().is_some_and(|it| it.described.is_some());
        if waits {
            called.progress.accept = Some(sdp.to_owned());
        }
        waits
    }

    fn called(&mut self, leg: LegId) -> Option<&mut Called> {
        match self.legs.get_mut(&leg).map(|leg| &mut leg.stage) {
            Some(Stage::Called(called)) => Some(called),
            _ => None,
        }
    }

    /// PRACK of a caller whose call is not answered yet.
    pub(super) fn handle_prack(&mut self, now: Now, leg: LegId, incoming: &Incoming) {
        let Some(called) = self.called(leg) else { return };
        let invite = called.invite.head.cseq.number;
        let named = read_rack(&incoming.request.headers);
        let progress = &mut called.progress;
        let fits = named == Some((progress.last, invite)) && progress.last != 0;
        if !fits || progress.unconfirmed.is_none() {
            return self.answer_for_good(now, incoming, 481, "Call/Transaction Does Not Exist", Vec::new());
        }
        if !incoming.request.body.is_empty() {
            // Our answer closed the exchange; a new offer has to wait for the 200 (RFC 3262 §5).
            return self.answer_for_good(now, incoming, 488, "Not Acceptable Here", Vec::new());
        }
        if let Some(confirmed) = progress.unconfirmed.take() {
            progress.said = confirmed.described.or(progress.said.take());
        }
        let (accept, next) = (progress.accept.take(), progress.next.take());
        let Some(key) = self.begin(incoming) else { return };
        self.respond(now, &key, &incoming.answer(200, "OK", ""));
        self.rearm(leg);
        match (accept, next) {
            (Some(sdp), _) => self.accept(now, leg, sdp),
            (None, Some(sdp)) => self.ring(now, leg, sdp),
            (None, None) => {}
        }
    }

    /// Sends a reliable answer again, or gives the caller up after 64 T1 (RFC 3262 §3).
    pub(super) fn tick_progress(&mut self, now: Now, leg: LegId) {
        let Some(called) = self.called(leg) else { return };
        let to = called.invite.answer_to();
        let Some(unconfirmed) = &mut called.progress.unconfirmed else { return };
        if now.mono >= unconfirmed.deadline {
            self.figures.ack_timeouts += 1;
            self.refuse(now, leg, Refusal::status(504, "No PRACK"));
            self.events.push_back(Event::AckTimeout { leg });
            return;
        }
        if unconfirmed.resend.take(now.mono) {
            let bytes = unconfirmed.bytes.clone();
            self.figures.resent += 1;
            self.transmit(to, bytes);
        }
    }

    /// Confirms a reliable provisional answer to an INVITE of ours.
    pub(super) fn confirm_progress(
        &mut self,
        now: Now,
        flow: Flow,
        key: &ClientKey,
        response: &Response,
        head: &Head,
    ) -> Progressed {
        let required = response.headers.words(&Name::Require).iter().any(|word| word == TAG);
        let number = response.headers.get(&Name::RSeq).and_then(|text| text.trim().parse::<u32>().ok());
        let (Some(number), Some(tag)) = (number.filter(|_| required), head.to.tag()) else {
            return Progressed::News;
        };
        let product = self.settings.product.clone();
        let Some(Sent { owner: Owner::Invite(fork), client, flow: sent_on, datagrams, .. }) =
            self.sent.get_mut(key)
        else {
            return Progressed::News;
        };
        let known = fork.places.iter().position(|place| place.tag == tag);
        let at = match known {
            Some(at) if number != fork.places[at].last.saturating_add(1) => return Progressed::Repeated,
            Some(at) => at,
            None if fork.places.len() >= MOST_PLACES => return Progressed::Repeated,
            None => {
                let flow = if fork.pinned { flow } else { datagrams.unwrap_or(*sent_on) };
                let dialog = Dialog::from_answer(client.request(), response, head, flow, fork.pinned);
                fork.places.push(Place { tag: tag.to_owned(), dialog, last: number });
                fork.places.len() - 1
            }
        };
        let place = &mut fork.places[at];
        place.last = number;
        let mut prack = place.dialog.next_request(Method::Prack);
        prack.headers.push(Name::RAck, format!("{number} {} INVITE", head.cseq.number));
        prack.headers.push(Name::UserAgent, product);
        let hop = place.dialog.next_hop();
        self.send_request(now, hop, prack, Owner::Nobody);
        Progressed::News
    }
}

impl Called {
    /// What the caller was told reliably in answer to this same offer.
    pub(super) fn answered_early(&self, offer: &str) -> Option<String> {
        let request = &self.invite.request;
        let first = super::super::message::sdp_of(&request.headers, &request.body)?;
        self.progress.said.clone().filter(|_| first == offer)
    }

    /// The description for the 200: none if the caller has it for certain (RFC 3261 §13.2.1).
    pub(super) fn still_to_say(&self, sdp: String) -> Option<String> {
        self.progress.said.is_none().then_some(sdp)
    }
}

/// Reads RAck: the number of the answer, the number and the method of what it answers (RFC 3262 §7.2).
fn read_rack(headers: &Headers) -> Option<(u32, u32)> {
    let mut words = headers.get(&Name::RAck)?.split_ascii_whitespace();
    let numbers = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next()? == "INVITE" && words.next().is_none()).then_some(numbers)
}
