//! Calls to trunks that are too large for a datagram go by TCP, and by UDP after all where there is no TCP (RFC 3261
//! §18.1.1).

use std::time::{Duration, Instant};

use crate::time::Now;

use super::super::flow::{Flow, Transport};
use super::super::message::print::MAX_DATAGRAM;
use super::super::message::value::MAGIC_COOKIE;
use super::super::message::{Method, Request};
use super::super::transaction::ClientKey;
use super::{Sent, UserAgent};

/// A server without TCP is not asked for it again so soon.
const NO_STREAM: Duration = Duration::from_mins(10);

impl UserAgent {
    /// The flow for a request, and the one for the rest of its call if that is another.
    ///
    /// What can be made small enough for a datagram is.
    pub(super) fn wide_enough(
        &self,
        now: Now,
        trunk: Option<usize>,
        flow: Flow,
        request: &Request,
    ) -> (Flow, Option<Flow>) {
        let Some(line) = trunk.and_then(|at| self.lines.get(at)) else { return (flow, None) };
        let refused = line.no_stream.get(&flow.remote).is_some_and(|until: &Instant| now.mono < *until);
        // Within a call the way is settled.
        let within = request.headers.get(&super::Name::To).is_some_and(|to| to.contains(";tag="));
        let datagram = flow.transport == Transport::Udp && request.method == Method::Invite;
        if !datagram || refused || within || !self.is_large(flow, request) {
            return (flow, None);
        }
        (Flow::dialled(Transport::Tcp, flow.remote), Some(flow))
    }

    /// Whether the request is too large for a datagram, its Via included, when all is left out that can be.
    fn is_large(&self, flow: Flow, request: &Request) -> bool {
        let mut whole = request.clone();
        // As long as a real one.
        let branch = format!("{MAGIC_COOKIE}{}", "0".repeat(20));
        self.dress(&mut whole, flow, &branch);
        whole.to_datagram().len() > MAX_DATAGRAM
    }

    /// A stream that was taken for its width alone carries nothing: the request goes out as a datagram, however
    /// large; `false`: it was no such request.
    pub(super) fn fall_back(&mut self, now: Now, key: &ClientKey) -> bool {
        let Some(Sent { flow, datagrams: Some(_), trunk: Some(at), client, tried, .. }) = self.sent.get(key)
        else {
            return false;
        };
        if !client.is_unheard() {
            return false;
        }
        // What the server had asked for before counts as before.
        let (remote, at, tried) = (flow.remote, *at, *tried);
        self.lines[at].no_stream.insert(remote, now.mono + NO_STREAM);
        tracing::info!(trunk = %self.settings.trunks[at].name, %remote, "no TCP there: a large INVITE goes by UDP");
        let again = self.send_again(now, key, at, tried);
        if again {
            self.sent.remove(key);
            self.schedule.set(&super::Timer::Client(key.clone()), None);
        }
        again
    }
}
