//! Phones behind a proxy (Path, RFC 3327), and phones with several flows (outbound, RFC 5626 §6).

use super::super::flow::Flow;
use super::super::message::{Head, Headers, Name, NameAddr, Request};
use super::Refusal;

/// More proxies than stand before any registrar.
const MOST_HOPS: usize = 8;
/// Longer values would not leave room for a call in a datagram.
const LONGEST: usize = 1024;

/// The proxies that a REGISTER came through, in the order of Route: the one next to us first.
pub(super) fn read(headers: &Headers) -> Result<Vec<String>, Refusal> {
    let values = headers.list(&Name::Path);
    let size: usize = values.iter().map(|value| value.len()).sum();
    let usable = |value: &&str| NameAddr::parse(value).is_some_and(|it| it.sip().is_some());
    if values.len() > MOST_HOPS || size > LONGEST || !values.iter().all(usable) {
        return Err(Refusal::BadPath);
    }
    Ok(values.into_iter().map(str::to_owned).collect())
}

/// Whether each flow of a device is a binding of its own.
///
/// The phone wants it, and whoever is next to it can tell that a flow is gone: we, on a stream, or a proxy that says
/// so by `ob`. Datagrams would need STUN on the same port (§4.4.2), which is not offered.
pub fn is_outbound(request: &Request, head: &Head, flow: Flow) -> bool {
    let wanted = request.headers.words(&Name::Supported).iter().any(|word| word == "outbound");
    let path = request.headers.list(&Name::Path);
    let kept_by_proxy = || {
        let nearest = path.last().and_then(|value| NameAddr::parse(value)).and_then(|it| it.sip());
        nearest.is_some_and(|uri| uri.params.has("ob"))
    };
    wanted && if head.vias == 1 { flow.transport.is_reliable() } else { kept_by_proxy() }
}
