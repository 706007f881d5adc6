//! Proving to a trunk who we are: 401 and 407 to any request of ours (RFC 3261 §22).

use crate::time::Now;

use super::super::flow::Flow;
use super::super::message::{Name, Request, Response};
use super::super::transaction::ClientKey;
use super::super::trunk::{Next, Tried, TrunkChange};
use super::leg::{Cancel, Leg, Owner, Stage};
use super::outbound::number_of;
use super::{Event, Timer, UserAgent};

impl UserAgent {
    /// The trunk that a request of ours goes to, by its leg or else by the address of a server.
    pub(super) fn trunk_of(&self, request: &Request, flow: Flow) -> Option<usize> {
        let call_id = request.headers.get(&Name::CallId)?.to_owned();
        let from = request.headers.get(&Name::From).and_then(super::super::message::NameAddr::parse);
        let tag = from.as_ref().and_then(|from| from.tag()).unwrap_or("").to_owned();
        match self.dialogs.get(&(call_id, tag)).and_then(|leg| self.legs.get(leg)) {
            Some(leg) => leg.trunk,
            None => self.lines.iter().position(|it| it.servers.transport_of(flow.remote).is_some()),
        }
    }

    /// Puts credentials on a request to a trunk that has asked for them before.
    pub(super) fn authorize(&mut self, trunk: Option<usize>, flow: Flow, request: &mut Request) -> Tried {
        let Some(at) = trunk else { return Tried::Nothing };
        let Some(login) = self.settings.trunks.get(at).and_then(|it| it.login.as_ref()) else {
            return Tried::Nothing;
        };
        let Some(remembered) = self.lines[at].remembered.get_mut(&flow.remote) else {
            return Tried::Nothing;
        };
        let cnonce = self.random.hex(8);
        let (method, uri) = (request.method.as_str().to_owned(), request.uri.clone());
        let carried = remembered.authorize(login, &cnonce, (&method, &uri), &mut request.headers);
        if carried { Tried::Remembered } else { Tried::Nothing }
    }

    /// Deals with a 401 or 407 by sending the request again with credentials; `true`: that is done.
    ///
    /// A second challenge to credentials that answered the first is a wrong password, and the end of it.
    pub(super) fn challenged(&mut self, now: Now, key: &ClientKey, response: &Response) -> bool {
        let Some(sent) = self.sent.get(key) else { return false };
        let Some(at) = sent.trunk else { return false };
        if !matches!(response.status, 401 | 407) {
            let proven = sent.tried != Tried::Nothing && (200..300).contains(&response.status);
            if proven {
                self.lines[at].login_refused = false;
            }
            return false;
        }
        if self.settings.trunks[at].login.is_none() {
            return false;
        }
        let (flow, tried) = (sent.flow, sent.tried);
        match self.lines[at].remembered.entry(flow.remote).or_default().take(response, tried) {
            Next::Again(tried) => self.send_again(now, key, at, tried),
            Next::Refused => {
                self.login_refused(at);
                false
            }
        }
    }

    fn login_refused(&mut self, at: usize) {
        let line = &mut self.lines[at];
        if !line.login_refused {
            line.login_refused = true;
            let trunk = self.settings.trunks[at].name.clone();
            self.events.push_back(Event::Trunk { trunk, change: TrunkChange::LoginRefused });
        }
    }

    /// The same request once more, with the next number and on a branch of its own (RFC 3261 §22.2).
    pub(super) fn send_again(&mut self, now: Now, key: &ClientKey, at: usize, tried: Tried) -> bool {
        let Some(sent) = self.sent.get_mut(key) else { return false };
        if matches!(&sent.owner, Owner::Invite(fork) if !matches!(fork.cancel, Cancel::Unwanted)) {
            // It is being taken back: no sense in making it good.
            return false;
        }
        let owner = std::mem::replace(&mut sent.owner, Owner::Nobody);
        let (flow, mut request) = (sent.datagrams.unwrap_or(sent.flow), sent.client.request().clone());
        let number = number_of(&request) + 1;
        for name in [Name::Via, Name::Authorization, Name::ProxyAuthorization] {
            request.headers.remove(&name);
        }
        request.headers.replace_first(&Name::CSeq, format!("{number} {}", request.method.as_str()));
        let leg = match &owner {
            Owner::Invite(fork) => Some(fork.leg),
            _ => self.leg_of_request(&request),
        };
        let (registers, probes) = (matches!(owner, Owner::Register(_)), matches!(owner, Owner::Probe(_)));
        let branch = self.new_branch();
        let again = self.send_as(now, flow, request, owner, branch, Some(at));
        if registers {
            self.note_register(at, again.clone(), number);
        }
        if probes {
            self.note_probe(at, flow.remote, again.clone());
        }
        if let Some(sent) = self.sent.get_mut(&again) {
            sent.tried = tried;
        }
        let Some(leg) = leg else { return true };
        match self.legs.get_mut(&leg) {
            Some(Leg { stage: Stage::Calling(calling), .. }) => {
                calling.open.iter_mut().filter(|open| *open == key).for_each(|open| *open = again.clone());
                if let Some(next) = &mut calling.next {
                    next.counted(number);
                }
                // The server is alive; it has as much time again for the second try.
                calling.no_provisional = Some(now.mono + self.settings.no_provisional);
                self.schedule.set(&Timer::Leg(leg), calling.no_provisional);
            }
            Some(Leg { stage: Stage::Up(up), .. }) => {
                up.dialog.local_cseq = up.dialog.local_cseq.max(number);
                up.change.sent_again(key, &again);
            }
            _ => {}
        }
        true
    }

    fn leg_of_request(&self, request: &Request) -> Option<crate::id::LegId> {
        let call_id = request.headers.get(&Name::CallId)?.to_owned();
        let from = super::super::message::NameAddr::parse(request.headers.get(&Name::From)?)?;
        self.dialogs.get(&(call_id, from.tag()?.to_owned())).copied()
    }
}
