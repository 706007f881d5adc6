//! What the user agent knows and the [defence](super::super::defence) asks: who is at home, what belongs to a call.

use std::net::IpAddr;

use crate::id::PhoneName;
use crate::time::Now;

use super::super::defence::{Admission, Ban, DefenceFigures, Placed, Source, Suspicion};
use super::super::flow::Flow;
use super::super::message::{Method, Name};
use super::super::transaction::ServerKey;
use super::incoming::Incoming;
use super::leg::{Leg, Stage};
use super::{Registrar, UserAgent};

impl UserAgent {
    /// The bans that hold.
    #[must_use]
    pub fn bans(&self, now: Now) -> Vec<Ban> {
        self.defence.bans(now.mono)
    }

    /// Bans of users that began since this was last asked; told at a bounded pace.
    pub fn take_placed_bans(&mut self) -> Vec<Placed> {
        self.defence.take_placed()
    }

    /// Ends the bans of a source, or of one user there; says how many held.
    pub fn lift_ban(&mut self, now: Now, source: Source, user: Option<&str>) -> usize {
        self.defence.lift(now.mono, source, user)
    }

    /// What the defence has counted.
    #[must_use]
    pub fn defence_figures(&self, now: Now) -> DefenceFigures {
        self.defence.figures(now.mono)
    }

    /// What to do with a datagram before it is read.
    pub(super) fn admit(&mut self, now: Now, from: IpAddr, size: usize) -> Admission {
        let Self { defence, registrar, legs, .. } = self;
        defence.admit(now.mono, from, size, || is_home(now, registrar, legs.values(), from))
    }

    /// Whether a request that could be read is looked at.
    pub(super) fn is_heard(&mut self, now: Now, admission: Admission, incoming: &Incoming) -> bool {
        let from = incoming.flow.remote.ip();
        let fresh = incoming.head.to.tag().is_none();
        let agent = incoming.request.headers.get(&Name::UserAgent);
        if fresh && self.defence.is_scanner(from, agent) {
            self.suspect(now, from, Suspicion::Scanner);
            return false;
        }
        admission == Admission::Welcome
            || self.is_of_a_call(incoming)
            || self.credentials(incoming).is_some_and(|it| self.nonces.is_ours(&it, Source::of(from)))
            || self.defence.keyhole(now.mono, from)
    }

    /// Whether a message that could not be read is answered.
    pub(super) fn is_fault_heard(&mut self, now: Now, admission: Admission, flow: Flow) -> bool {
        let from = flow.remote.ip();
        if admission == Admission::Doubted {
            self.defence.drop_doubted(from);
            return false;
        }
        self.suspect(now, from, Suspicion::Garbage);
        true
    }

    fn is_of_a_call(&self, incoming: &Incoming) -> bool {
        let tag = incoming.head.to.tag().unwrap_or("").to_owned();
        let invite = || ServerKey::of(&incoming.request, &incoming.head, &Method::Invite);
        self.dialogs.contains_key(&(incoming.head.call_id.clone(), tag))
            || matches!(incoming.request.method, Method::Ack | Method::Cancel)
                && self.answering.contains_key(&invite())
    }

    /// Whether the user is not banned where the request comes from; a phone's own flow always is.
    pub(super) fn is_user_heard(
        &mut self,
        now: Now,
        incoming: &Incoming,
        user: &str,
        phone: Option<&PhoneName>,
    ) -> bool {
        let settled = phone.is_some_and(|phone| self.registrar.is_on(now.mono, phone, incoming.flow));
        let from = incoming.flow.remote.ip();
        let Self { defence, registrar, legs, .. } = self;
        settled || defence.hears(now.mono, from, user, || is_home(now, registrar, legs.values(), from))
    }

    /// A name was asked for and is not proved (yet).
    pub(super) fn note_name(&mut self, now: Now, incoming: &Incoming, name: &str) {
        self.suspect(now, incoming.flow.remote.ip(), Suspicion::Name(name));
    }

    /// A wrong password with a nonce that had been sent to where it comes from (rule 23).
    pub(super) fn note_failure(&mut self, now: Now, incoming: &Incoming, user: &str) {
        self.figures.bad_credentials += 1;
        let from = incoming.flow.remote.ip();
        let Self { defence, registrar, legs, .. } = self;
        defence.failed(now.mono, from, user, || is_home(now, registrar, legs.values(), from));
    }

    /// A phone has proved who it is.
    pub(super) fn note_proof(&mut self, now: Now, incoming: &Incoming, user: &str) {
        let until = now.mono + self.settings.max_expires;
        self.defence.proved(now.mono, incoming.flow.remote.ip(), user, until);
    }

    fn suspect(&mut self, now: Now, from: IpAddr, what: Suspicion<'_>) {
        let Self { defence, registrar, legs, .. } = self;
        defence.suspect(now.mono, from, what, || is_home(now, registrar, legs.values(), from));
    }
}

/// Whether a live binding or a call is at the address: rule 23 lets nobody ban it.
fn is_home<'l>(
    now: Now,
    registrar: &Registrar,
    mut legs: impl Iterator<Item = &'l Leg>,
    from: IpAddr,
) -> bool {
    let source = Source::of(from);
    let is_there = |leg: &Leg| match &leg.stage {
        Stage::Calling(_) => false,
        Stage::Called(called) => Source::of(called.invite.flow.remote.ip()) == source,
        Stage::Up(up) => Source::of(up.dialog.next_hop().remote.ip()) == source,
    };
    registrar.lives_at(now.mono, source) || legs.any(is_there)
}
