//! Dialogs: who talks to whom, along which route, with which numbers (RFC 3261 §12).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::flow::{Flow, Transport};
use super::message::{Head, Headers, Method, Name, NameAddr, Request, Response, SipUri};

/// So many requests a process may have sent within a call after its dialogue was kept: refreshes, keys, questions
/// whether anybody is there. A number that the peer has seen is refused, a gap is none of its business (RFC 3261
/// §12.2.2).
const UNSEEN: u32 = 10_000;

/// What is needed to end a call of a process that died: enough to send a BYE.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialogSnapshot {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty if it gave none (RFC 2543).
    pub remote_tag: String,
    /// Our URI.
    pub local_uri: String,
    /// The peer's URI.
    pub remote_uri: String,
    /// Where requests are addressed to: the peer's Contact.
    pub remote_target: String,
    /// The route set in the order of our Route headers.
    pub route_set: Vec<String>,
    /// The number of our last request.
    pub local_cseq: u32,
    /// Where requests are sent.
    pub flow: Flow,
}

/// Shows no numbers: URIs of a call hold them.
impl fmt::Debug for DialogSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialogSnapshot").field("call_id", &self.call_id).field("flow", &self.flow).finish()
    }
}

/// One established dialog.
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    pub(super) call_id: String,
    pub(super) local_tag: String,
    pub(super) remote_tag: String,
    pub(super) local_uri: String,
    pub(super) remote_uri: String,
    pub(super) remote_target: String,
    pub(super) route_set: Vec<String>,
    pub(super) local_cseq: u32,
    pub(super) remote_cseq: Option<u32>,
    pub(super) flow: Flow,
    /// Requests stay on the flow whatever Contact says: the peer is a phone, perhaps behind a NAT (rule 21).
    pub(super) pinned: bool,
}

/// How a request in a dialog relates to the ones before it (RFC 3261 §12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    New,
    Old,
}

impl Dialog {
    /// The dialog that a 2xx to our INVITE makes.
    pub(super) fn from_answer(
        invite: &Request,
        response: &Response,
        head: &Head,
        flow: Flow,
        pinned: bool,
    ) -> Self {
        let target = contact_of(&response.headers).unwrap_or_else(|| invite.uri.clone());
        let mut route_set: Vec<String> =
            response.headers.list(&Name::RecordRoute).into_iter().map(str::to_owned).collect();
        route_set.reverse();
        Self {
            call_id: head.call_id.clone(),
            local_tag: head.from.tag().unwrap_or("").to_owned(),
            remote_tag: head.to.tag().unwrap_or("").to_owned(),
            local_uri: head.from.uri.clone(),
            remote_uri: head.to.uri.clone(),
            remote_target: target,
            route_set,
            local_cseq: head.cseq.number,
            remote_cseq: None,
            flow,
            pinned,
        }
    }

    /// The dialog that our 2xx to their INVITE makes.
    pub(super) fn from_invite(
        invite: &Request,
        head: &Head,
        local_tag: &str,
        flow: Flow,
        pinned: bool,
    ) -> Self {
        Self {
            call_id: head.call_id.clone(),
            local_tag: local_tag.to_owned(),
            remote_tag: head.from.tag().unwrap_or("").to_owned(),
            local_uri: head.to.uri.clone(),
            remote_uri: head.from.uri.clone(),
            remote_target: contact_of(&invite.headers).unwrap_or_else(|| head.from.uri.clone()),
            route_set: invite.headers.list(&Name::RecordRoute).into_iter().map(str::to_owned).collect(),
            local_cseq: 0,
            remote_cseq: Some(head.cseq.number),
            flow,
            pinned,
        }
    }

    /// The dialog of a process that died.
    pub(super) fn from_snapshot(snapshot: &DialogSnapshot) -> Self {
        Self {
            call_id: snapshot.call_id.clone(),
            local_tag: snapshot.local_tag.clone(),
            remote_tag: snapshot.remote_tag.clone(),
            local_uri: snapshot.local_uri.clone(),
            remote_uri: snapshot.remote_uri.clone(),
            remote_target: snapshot.remote_target.clone(),
            route_set: snapshot.route_set.clone(),
            local_cseq: snapshot.local_cseq.saturating_add(UNSEEN),
            remote_cseq: None,
            flow: snapshot.flow,
            pinned: true,
        }
    }

    /// What a restart needs.
    pub(super) fn snapshot(&self) -> DialogSnapshot {
        DialogSnapshot {
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: self.remote_tag.clone(),
            local_uri: self.local_uri.clone(),
            remote_uri: self.remote_uri.clone(),
            remote_target: self.remote_target.clone(),
            route_set: self.route_set.clone(),
            local_cseq: self.local_cseq,
            flow: self.next_hop(),
        }
    }

    /// Judges the number of a request from the peer, and remembers it if it is new.
    pub(super) fn take_number(&mut self, number: u32) -> Order {
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Order::Old;
        }
        self.remote_cseq = Some(number);
        Order::New
    }

    /// Notes the Contact of a target refresh request (RFC 3261 §12.2.2).
    pub(super) fn refresh_target(&mut self, headers: &Headers, source: Flow) {
        if let Some(contact) = contact_of(headers) {
            self.remote_target = contact;
        }
        if self.pinned {
            self.flow = source;
        }
    }

    /// A request of ours in this dialog with the next number; Via is the caller's business.
    pub(super) fn next_request(&mut self, method: Method) -> Request {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.request(method, self.local_cseq)
    }

    /// A request of ours in this dialog with that number: an ACK repeats its INVITE's.
    pub(super) fn request(&self, method: Method, number: u32) -> Request {
        let mut headers = Headers::new();
        let mut uri = self.remote_target.clone();
        let mut routes = self.route_set.clone();
        let strict = routes.first().and_then(|first| NameAddr::parse(first)).and_then(|first| first.sip());
        if let Some(first) = strict.filter(|first| !first.params.has("lr")) {
            // A strict router of RFC 2543 wants itself in the Request-URI (RFC 3261 §12.2.1.1).
            routes.remove(0);
            routes.push(format!("<{uri}>"));
            uri = first.as_request_uri().to_string();
        }
        for route in routes {
            headers.push(Name::Route, route);
        }
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, tagged(&self.local_uri, &self.local_tag));
        headers.push(Name::To, tagged(&self.remote_uri, &self.remote_tag));
        headers.push(Name::CallId, self.call_id.clone());
        headers.push(Name::CSeq, format!("{number} {}", method.as_str()));
        Request { method, uri, headers, body: Vec::new() }
    }

    /// Where the next request goes: a phone's flow; towards a trunk the first route or the target.
    pub(super) fn next_hop(&self) -> Flow {
        if self.pinned {
            return self.flow;
        }
        let hop = match self.route_set.first() {
            Some(first) => NameAddr::parse(first).and_then(|first| first.sip()),
            None => SipUri::parse(&self.remote_target),
        };
        hop.and_then(|uri| self.flow_to(&uri)).unwrap_or(self.flow)
    }

    /// The way to an address that the peer named; `None` to stay where the dialog is.
    fn flow_to(&self, hop: &SipUri) -> Option<Flow> {
        let wanted = Transport::of_uri(hop).unwrap_or(self.flow.transport);
        // What began inside TLS never goes on outside of it.
        let secure = self.flow.transport.is_secure();
        let transport = if secure && !wanted.is_secure() { self.flow.transport } else { wanted };
        // A name would need DNS, and a private address told by a public peer is a NAT's leak.
        let port = hop.port.unwrap_or(transport.default_port());
        let remote = SocketAddr::new(hop.socket()?.ip(), port);
        if !is_sendable(remote, self.flow.remote) {
            return None;
        }
        match transport {
            Transport::Udp if self.flow.transport == Transport::Udp => Some(Flow { remote, ..self.flow }),
            // A stream that is open to the same host is the best way there (RFC 5923). From a stream to datagrams
            // there is no way back: nobody said that they would pass.
            Transport::Udp | Transport::Ws | Transport::Wss => None,
            _ if transport == self.flow.transport && remote.ip() == self.flow.remote.ip() => None,
            Transport::Tcp | Transport::Tls => Some(Flow::dialled(transport, remote)),
        }
    }

    /// The stream that the dialog is on has closed: the next request opens one to where the peer says it listens.
    ///
    /// A phone's calls wait for it to come back.
    pub(super) fn lose_flow(&mut self) {
        if self.pinned {
            return;
        }
        let contact = SipUri::parse(&self.remote_target).and_then(|uri| {
            let port = uri.port.unwrap_or(self.flow.transport.default_port());
            Some(SocketAddr::new(uri.socket()?.ip(), port))
        });
        let known = self.flow.remote;
        let remote = contact
            .filter(|remote| is_sendable(*remote, known))
            .unwrap_or_else(|| SocketAddr::new(known.ip(), self.flow.transport.default_port()));
        self.flow = Flow::dialled(self.flow.transport, remote);
    }
}

fn is_sendable(remote: SocketAddr, known: SocketAddr) -> bool {
    let private = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    };
    let unusable = remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast();
    let same_family = remote.is_ipv4() == known.is_ipv4();
    same_family && !unusable && (private(known.ip()) || !private(remote.ip()))
}

fn tagged(uri: &str, tag: &str) -> String {
    if tag.is_empty() { format!("<{uri}>") } else { format!("<{uri}>;tag={tag}") }
}

/// The URI of the first Contact, fit for a Request-URI.
fn contact_of(headers: &Headers) -> Option<String> {
    let first = headers.list(&Name::Contact).into_iter().next()?;
    Some(NameAddr::parse(first)?.sip()?.as_request_uri().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(route_set: &[&str], target: &str) -> Dialog {
        Dialog {
            call_id: "x".to_owned(),
            local_tag: "l".to_owned(),
            remote_tag: "r".to_owned(),
            local_uri: "sip:us@h".to_owned(),
            remote_uri: "sip:them@h".to_owned(),
            remote_target: target.to_owned(),
            route_set: route_set.iter().map(|route| (*route).to_owned()).collect(),
            local_cseq: 1,
            remote_cseq: None,
            flow: Flow::udp("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap()),
            pinned: false,
        }
    }

    #[test]
    fn a_loose_route_stands_in_route_headers_and_a_strict_one_in_the_request_uri() {
        let bye = dialog(&["<sip:192.0.2.9;lr>"], "sip:them@192.0.2.3").next_request(Method::Bye);
        assert_eq!(
            (bye.uri.as_str(), bye.headers.get(&Name::Route)),
            ("sip:them@192.0.2.3", Some("<sip:192.0.2.9;lr>"))
        );
        assert_eq!(bye.headers.get(&Name::CSeq), Some("2 BYE"));
        let bye = dialog(&["<sip:192.0.2.9>"], "sip:them@192.0.2.3").next_request(Method::Bye);
        assert_eq!(
            (bye.uri.as_str(), bye.headers.get(&Name::Route)),
            ("sip:192.0.2.9", Some("<sip:them@192.0.2.3>"))
        );
    }

    #[test]
    fn a_trunk_is_reached_on_its_route_or_contact_but_not_on_a_leaked_private_address_or_a_name() {
        let hop = |routes: &[&str], target: &str| dialog(routes, target).next_hop().remote.to_string();
        assert_eq!(hop(&["<sip:192.0.2.9:5070;lr>"], "sip:a@192.0.2.3"), "192.0.2.9:5070");
        assert_eq!(hop(&[], "sip:a@192.0.2.3:5080"), "192.0.2.3:5080");
        assert_eq!(hop(&[], "sip:a@10.0.0.3:5080"), "192.0.2.2:5060");
        assert_eq!(hop(&[], "sip:a@pbx.example.com"), "192.0.2.2:5060");
        assert_eq!(hop(&[], "sip:a@0.0.0.0"), "192.0.2.2:5060");
    }

    #[test]
    fn a_stream_to_the_same_host_is_used_again_and_another_host_gets_one_of_its_own() {
        let accepted = |transport| Flow {
            transport,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.2:40000".parse().unwrap(),
        };
        let hop =
            |transport, target: &str| Dialog { flow: accepted(transport), ..dialog(&[], target) }.next_hop();
        let tcp = accepted(Transport::Tcp);
        assert_eq!(hop(Transport::Tcp, "sip:a@192.0.2.2:5070;transport=tcp"), tcp);
        assert_eq!(hop(Transport::Tcp, "sip:a@192.0.2.2"), tcp);
        let dialled = |transport, remote: &str| Flow::dialled(transport, remote.parse().unwrap());
        assert_eq!(hop(Transport::Tcp, "sip:a@192.0.2.3"), dialled(Transport::Tcp, "192.0.2.3:5060"));
        assert_eq!(
            hop(Transport::Tls, "sip:a@192.0.2.3;transport=udp"),
            dialled(Transport::Tls, "192.0.2.3:5061")
        );
        assert_eq!(hop(Transport::Udp, "sips:a@192.0.2.3"), dialled(Transport::Tls, "192.0.2.3:5061"));
        let mut lost = Dialog { flow: tcp, ..dialog(&[], "sip:a@192.0.2.2:5070;transport=tcp") };
        lost.lose_flow();
        assert_eq!(lost.next_hop(), dialled(Transport::Tcp, "192.0.2.2:5070"));
        let mut phone = Dialog { flow: tcp, pinned: true, ..dialog(&[], "sip:a@192.0.2.2:5070") };
        phone.lose_flow();
        assert_eq!(phone.next_hop(), tcp);
    }

    #[test]
    fn a_request_with_a_number_seen_before_is_old() {
        let mut dialog = dialog(&[], "sip:a@h");
        assert_eq!(
            [dialog.take_number(5), dialog.take_number(5), dialog.take_number(4), dialog.take_number(9)],
            [Order::New, Order::Old, Order::Old, Order::New]
        );
    }

    #[test]
    fn a_snapshot_survives_json_and_its_debug_form_shows_no_uri() {
        let snapshot = dialog(&["<sip:192.0.2.9;lr>"], "sip:5521955500123@192.0.2.3").snapshot();
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<DialogSnapshot>(&json).unwrap(), snapshot);
        assert!(!format!("{snapshot:?}").contains("5521955500123"));
    }
}
