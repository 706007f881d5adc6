//! What the end of a connection means, and where calls go on (RFC 3261 §17.1.4 and §18.4, RFC 5626 §5.3).

use crate::id::PhoneName;
use crate::time::Now;

use super::super::flow::Flow;
use super::super::transaction::{ClientKey, ServerKey};
use super::leg::{Cancel, Leg, Owner, Stage};
use super::{Event, LegFailure, Sent, Timer, UserAgent};

impl UserAgent {
    /// The headers of a message came on a stream, and nothing says where its body ends: it is refused.
    pub fn handle_endless(&mut self, flow: Flow, bytes: &[u8]) {
        self.figures.received += 1;
        let kind = super::super::message::FaultKind::ContentLength;
        let request = match super::parse(bytes) {
            Ok(parsed) => match parsed.message {
                super::Message::Request(request) => Some(Box::new(request)),
                super::Message::Response(_) => None,
            },
            Err(fault) => fault.request,
        };
        self.handle_fault(flow, super::super::message::Fault { kind, request }, bytes.len());
    }

    /// A stream has closed, or could not be opened, or had closed before something was to be sent on it.
    ///
    /// What is bound to it is not rung; what waits for an answer on it has failed; a call that is up goes on, and
    /// its next request takes the flow on which the phone registers next, or a new stream to the trunk.
    pub fn handle_closed(&mut self, now: Now, flow: Flow) {
        for phone in self.registrar.close(flow) {
            self.unregistered(phone);
        }
        self.schedule.set(&Timer::Registrar, self.registrar.poll_timeout());
        self.lose_watchers(flow);
        let on_it = |sent: &Sent| sent.flow == flow && sent.client.is_pending();
        let lost: Vec<ClientKey> =
            self.sent.iter().filter(|(_, sent)| on_it(sent)).map(|(key, _)| key.clone()).collect();
        for key in lost {
            self.lose_way(now, &key);
        }
        let unanswered: Vec<ServerKey> =
            self.answering.iter().filter(|(_, it)| it.to == flow).map(|(key, _)| key.clone()).collect();
        for key in unanswered {
            self.lose_asker(&key);
        }
        for leg in self.legs.values_mut() {
            if let Stage::Up(up) = &mut leg.stage
                && up.dialog.flow == flow
            {
                up.dialog.lose_flow();
                let hop = up.dialog.flow;
                if let Some(unacked) = up.unacked.as_mut().filter(|unacked| unacked.to == flow) {
                    unacked.to = hop;
                }
            }
        }
    }

    /// The way of a request of ours is gone.
    fn lose_way(&mut self, now: Now, key: &ClientKey) {
        let Some(sent) = self.sent.get(key) else { return };
        if sent.client.is_unheard() && self.fall_back(now, key) {
            return;
        }
        let Some(sent) = self.sent.get_mut(key) else { return };
        let ringing = match &mut sent.owner {
            Owner::Invite(fork) if !sent.client.is_unheard() => Some(fork),
            _ => None,
        };
        let Some(fork) = ringing else {
            return self.lose(now, key, LegFailure::Unreachable);
        };
        // It rings there, and no CANCEL gets through. Should it answer after all, on a new connection, it has the
        // call if that still waits, and is hung up on otherwise.
        let leg = fork.leg;
        fork.cancel = Cancel::Sent;
        sent.client.limit(now.mono);
        self.schedule.set(&Timer::Client(key.clone()), sent.client.poll_timeout());
        self.fork_ended(now, leg, key, LegFailure::Unreachable);
    }

    /// Nobody hears the answer to a request of theirs, unless the sender says where it listens.
    fn lose_asker(&mut self, key: &ServerKey) {
        let Some(answering) = self.answering.get_mut(key) else { return };
        let Some(leg) = answering.leg else { return };
        let Some(Leg { stage: Stage::Called(called), .. }) = self.legs.get_mut(&leg) else { return };
        if called.pinned {
            // The phone's own transaction has failed with the connection: its user has seen the call end.
            self.remove_leg(leg);
            self.forget_server(key);
            self.events.push_back(Event::Cancelled { leg });
        } else {
            answering.to = answering.to.answering_anew(&called.invite.head.via);
            called.invite.flow = answering.to;
        }
    }

    /// A phone that was on the flow `left` is now on `flow`: its calls follow.
    pub(super) fn move_calls(&mut self, phone: &PhoneName, left: Flow, flow: Flow) {
        self.move_watchers(phone, left, flow);
        let theirs = |leg: &&mut Leg| leg.phone.as_ref() == Some(phone);
        for leg in self.legs.values_mut().filter(theirs) {
            if let Stage::Up(up) = &mut leg.stage
                && up.dialog.flow == left
            {
                up.dialog.flow = flow;
                if let Some(unacked) = up.unacked.as_mut().filter(|unacked| unacked.to == left) {
                    unacked.to = flow;
                }
            }
        }
    }

    /// The flows that something needs: a binding, a call, a request without its answer.
    ///
    /// A connection that is none of them may be closed when it is silent.
    pub fn flows_in_use(&self) -> impl Iterator<Item = Flow> {
        let bindings = self.registrar.iter().map(|(_, binding)| binding.flow);
        let sent = self.sent.values().map(|sent| sent.flow);
        let answering = self.answering.values().map(|answering| answering.to);
        let legs = self.legs.values().filter_map(|leg| match &leg.stage {
            Stage::Up(up) => Some(up.dialog.next_hop()),
            Stage::Called(called) => Some(called.invite.flow),
            Stage::Calling(_) => None,
        });
        bindings.chain(sent).chain(answering).chain(legs)
    }
}
