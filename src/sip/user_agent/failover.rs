//! Calls to trunks: to the best server that is up, and to the next one when that fails (call-handling rule 2).

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::id::{LegId, TrunkName};
use crate::time::Now;

use super::super::caller_id::dialable;
use super::super::message::uri::SipUri;
use super::super::transaction::ClientKey;
use super::super::trunk::{NumberOf, Urgency};
use super::leg::{Calling, Fork, Leg, Owner, Stage};
use super::outbound::{Target, Wish};
use super::{Event, InviteRefusal, LegFailure, Timer, UserAgent};

/// What is left to try of a call to a trunk.
#[derive(Debug)]
pub(super) struct NextServer {
    trunk: usize,
    number: String,
    wish: Wish,
    /// The servers that were not tried, the best first.
    left: VecDeque<SocketAddr>,
    /// DNS is asked where the servers are.
    awaits_name: bool,
    /// The CSeq of the next INVITE: another server that shares a memory with the first takes it for a new one.
    cseq: u32,
}

impl UserAgent {
    /// Calls a number behind a trunk.
    pub(super) fn invite_trunk(
        &mut self,
        now: Now,
        name: &TrunkName,
        number: String,
        wish: Wish,
    ) -> Result<LegId, InviteRefusal> {
        let trunk = self.settings.trunks.iter().position(|it| it.name == *name);
        let trunk = trunk.ok_or(InviteRefusal::Unknown)?;
        let urgency = wish.facts.urgency;
        let mut left: VecDeque<SocketAddr> =
            self.lines[trunk].servers.order(now.mono, &mut self.random).into();
        if left.is_empty() && urgency == Urgency::Emergency {
            // What OPTIONS said may be wrong, and there is nobody else to ask.
            left = self.lines[trunk].servers.addresses().into();
        }
        let awaits_name = left.is_empty() && self.seek_servers(now, trunk);
        if left.is_empty() && !awaits_name {
            return Err(InviteRefusal::TrunkDown);
        }
        let peer = &self.settings.trunks[trunk];
        // While DNS is asked, it may yet name a transport that nobody can listen to.
        let known = left.front().and_then(|it| self.lines[trunk].servers.transport_of(*it));
        let readable = wish.offer_to(peer.srtp, known.unwrap_or(peer.transport)).is_none();
        if readable && !awaits_name {
            return Err(InviteRefusal::ReadableKeys);
        }
        self.enter_trunk_for(now, trunk, urgency)?;
        let leg = self.next_leg();
        let (call_id, local_tag) = (self.random.hex(16), self.random.hex(8));
        let next = Some(Box::new(NextServer { trunk, number, wish, left, awaits_name, cseq: 1 }));
        let calling = Calling {
            forks: 1,
            open: Vec::new(),
            cancelled: false,
            failure: None,
            no_provisional: None,
            tags: Vec::new(),
            next,
        };
        self.dialogs.insert((call_id.clone(), local_tag.clone()), leg);
        let stage = Stage::Calling(calling);
        self.legs.insert(
            leg,
            Leg {
                call_id,
                local_tag,
                phone: None,
                trunk: Some(trunk),
                lamp: super::lamps::LampFacts::default(),
                stage,
            },
        );
        if awaits_name {
            self.await_name(now, leg, trunk);
        } else {
            self.send_to_next_server(now, leg);
        }
        Ok(leg)
    }

    /// The call alone waits for DNS, and not for long.
    fn await_name(&mut self, now: Now, leg: LegId, trunk: usize) {
        self.lines[trunk].lookups.waited += 1;
        let until = now.mono + self.settings.trunks[trunk].locating.patience;
        if let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) {
            calling.no_provisional = Some(until);
        }
        self.schedule.set(&Timer::Leg(leg), Some(until));
    }

    /// Calls that waited for DNS go on, or fail if there is nothing to wait for.
    pub(super) fn resume_calls(&mut self, now: Now, trunk: usize) {
        let waits = |leg: &Leg| match &leg.stage {
            Stage::Calling(Calling { next: Some(next), .. }) => next.trunk == trunk && next.awaits_name,
            _ => false,
        };
        let waiting: Vec<LegId> =
            self.legs.iter().filter(|(_, leg)| waits(leg)).map(|(leg, _)| *leg).collect();
        for leg in waiting {
            let order = self.lines[trunk].servers.order(now.mono, &mut self.random);
            if order.is_empty() && self.lines[trunk].may_be_located() {
                continue;
            }
            let Some(Leg { stage: Stage::Calling(Calling { next: Some(next), .. }), .. }) =
                self.legs.get_mut(&leg)
            else {
                continue;
            };
            next.awaits_name = false;
            next.left = order.into();
            if !self.send_to_next_server(now, leg) {
                self.remove_leg(leg);
                self.events.push_back(Event::Failed { leg, failure: LegFailure::Unreachable });
            }
        }
    }

    /// Goes on to the next server after a failure that is the server's own; `false`: the call has failed.
    ///
    /// What the called side itself has decided (busy, declined, not found) is no reason to ask elsewhere.
    pub(super) fn try_next_server(&mut self, now: Now, leg: LegId, failure: LegFailure) -> bool {
        let servers_fault = match failure {
            LegFailure::Status(408 | 500..600)
            | LegFailure::Timeout
            | LegFailure::Unreachable
            | LegFailure::NoProvisional => true,
            LegFailure::Status(_) | LegFailure::Cancelled => false,
        };
        if !servers_fault || !self.send_to_next_server(now, leg) {
            return false;
        }
        let trunk = self.legs.get(&leg).and_then(|leg| leg.trunk);
        if let Some(line) = trunk.and_then(|at| self.lines.get_mut(at)) {
            line.failovers += 1;
        }
        tracing::info!(%leg, ?failure, "a trunk's server failed a call, the next one is asked");
        true
    }

    fn send_to_next_server(&mut self, now: Now, leg: LegId) -> bool {
        let Some(state) = self.legs.get_mut(&leg) else { return false };
        let Stage::Calling(Calling { next: Some(next), .. }) = &mut state.stage else { return false };
        let Some(server) = next.left.pop_front() else { return false };
        let cseq = next.cseq;
        next.cseq += 1;
        let ids = (state.call_id.clone(), state.local_tag.clone());
        let Some(Leg { stage: Stage::Calling(Calling { next: Some(next), .. }), .. }) = self.legs.get(&leg)
        else {
            return false;
        };
        let trunk = next.trunk;
        let target = self.trunk_target(trunk, &next.number, server);
        let srtp = self.settings.trunks[trunk].srtp;
        let Some(sdp) = next.wish.offer_to(srtp, target.flow.transport).map(str::to_owned) else {
            return false;
        };
        let request = self.build_invite(&next.wish, &target, (&ids.0, &ids.1), (cseq, sdp));
        let branch = self.new_branch();
        let owner = Owner::Invite(Fork::new(leg, false));
        let key = self.send_as(now, target.flow, request, owner, branch, Some(trunk));
        let until = now.mono + self.settings.no_provisional;
        if let Some(Leg { stage: Stage::Calling(calling), .. }) = self.legs.get_mut(&leg) {
            calling.open = vec![key];
            calling.no_provisional = Some(until);
        }
        self.schedule.set(&Timer::Leg(leg), Some(until));
        true
    }

    fn trunk_target(&self, trunk: usize, number: &str, server: SocketAddr) -> Target {
        let peer = &self.settings.trunks[trunk];
        let host = peer.domain.clone().unwrap_or_else(|| server.to_string());
        let number = peer.numbering.outward(NumberOf::Called, number);
        let uri = format!("sip:{}@{host}", dialable(&number));
        let flow = self.flow_to_server(trunk, server);
        let uri = match flow.transport.in_uri() {
            Some(word) => format!("{uri};transport={word}"),
            None => uri,
        };
        Target {
            to: format!("<{uri}>"),
            uri,
            flow,
            routes: Vec::new(),
            pinned: false,
            trunk: Some((trunk, host)),
        }
    }

    /// The server that a request went to has let us down.
    pub(super) fn shun_server_of(&mut self, now: Now, key: &ClientKey) {
        let Some(sent) = self.sent.get(key) else { return };
        let (remote, Some(at)) = (sent.flow.remote, sent.trunk) else { return };
        self.lines[at].servers.disappointed(now.mono, remote, None);
        self.schedule_trunk(at);
    }

    /// Where a trunk that we register with shall send its calls; the same for all its servers.
    pub(super) fn own_uri(&self, trunk: usize) -> Option<SipUri> {
        let peer = self.settings.trunks.get(trunk)?;
        let user = dialable(&peer.register.as_ref()?.user);
        let flow = self.flow_to_server(trunk, self.lines[trunk].servers.addresses().first().copied()?);
        let own = self.contact(flow, "sip:");
        SipUri::parse(&own.trim_matches(['<', '>']).replacen("sip:", &format!("sip:{user}@"), 1))
    }
}

impl NextServer {
    /// An INVITE with that number was sent.
    pub(super) fn counted(&mut self, number: u32) {
        self.cseq = self.cseq.max(number + 1);
    }
}
