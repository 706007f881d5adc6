//! The header values that every message carries: Via, From, To, Call-ID, CSeq.

use std::fmt;
use std::net::SocketAddr;

use super::parse::FaultKind;
use super::uri::{NameAddr, Params, parse_host_port, parse_ip, parse_number};
use super::{Headers, Method, Name};

/// What every branch of RFC 3261 begins with (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One value of Via (RFC 3261 §20.42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// The transport as written, `UDP`.
    pub transport: String,
    /// Host or address the sender calls itself.
    pub host: String,
    /// Its port, if written.
    pub port: Option<u16>,
    /// `branch`, `rport`, `received`, …
    pub params: Params,
}

impl Via {
    /// Reads one value, white space around every mark allowed (RFC 4475 §3.1.1.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !protocol.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" {
            return None;
        }
        let rest = rest.trim_start();
        let (transport, rest) = rest.split_once(|c: char| c.is_whitespace())?;
        let (sent_by, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = parse_host_port(sent_by)?;
        let params = if params.is_empty() { Params::default() } else { Params::parse(params)? };
        let usable = super::name::is_token(transport);
        usable.then(|| Self { transport: transport.to_owned(), host, port, params })
    }

    /// The branch, if it follows RFC 3261: the magic cookie and something behind it.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        let branch = self.params.get("branch")?;
        (branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE)).then_some(branch)
    }

    /// Notes where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn note_source(&mut self, source: SocketAddr) {
        let asked = self.params.has("rport");
        if asked {
            self.params.set("rport", Some(source.port().to_string()));
        }
        if asked || parse_ip(&self.host) != Some(source.ip()) {
            self.params.set("received", Some(source.ip().to_string()));
        }
    }

    /// Where a response goes.
    ///
    /// To where the request came from; only a sender that is plainly not behind a NAT and did not ask for
    /// `rport` gets its answer on the port it named (RFC 3261 §18.2.2). `maddr` is ignored on purpose: it
    /// would make us a reflector.
    #[must_use]
    pub fn reply_to(&self, source: SocketAddr) -> SocketAddr {
        if self.params.has("rport") || parse_ip(&self.host) != Some(source.ip()) {
            return source;
        }
        SocketAddr::new(source.ip(), self.port.unwrap_or(5060))
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

/// Sequence number and method (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method it counts for.
    pub method: Method,
}

impl CSeq {
    /// Reads the header value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let number: u32 = parse_number(words.next()?)?;
        let method = words.next().filter(|word| super::name::is_token(word))?;
        let valid = number < 1 << 31 && words.next().is_none();
        valid.then(|| Self { number, method: Method::parse(method) })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method.as_str())
    }
}

/// What must be readable for a message to be handled at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The topmost Via.
    pub via: Via,
    /// How many Via values there are.
    pub vias: usize,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Call-ID; compares byte by byte.
    pub call_id: String,
    /// CSeq.
    pub cseq: CSeq,
}

impl Head {
    /// Reads and checks the five headers, each of which stands exactly once (Via: at least once).
    ///
    /// # Errors
    /// Names the first header that is missing, double or malformed.
    pub fn read(headers: &Headers) -> Result<Self, FaultKind> {
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq, Name::MaxForwards, Name::ContentType] {
            if headers.all(&name).count() > 1 {
                return Err(FaultKind::DuplicateHeader);
            }
        }
        let vias = headers.list(&Name::Via);
        let mut parsed = Vec::with_capacity(vias.len());
        for via in &vias {
            parsed.push(Via::parse(via).ok_or(FaultKind::Via)?);
        }
        let count = parsed.len();
        let via = parsed.into_iter().next().ok_or(FaultKind::MissingHeader)?;
        let one = |name: Name| headers.get(&name).ok_or(FaultKind::MissingHeader);
        let from = NameAddr::parse(one(Name::From)?).ok_or(FaultKind::Address)?;
        let to = NameAddr::parse(one(Name::To)?).ok_or(FaultKind::Address)?;
        let call_id = one(Name::CallId)?;
        if call_id.is_empty() || call_id.contains(|c: char| c.is_whitespace()) {
            return Err(FaultKind::CallId);
        }
        let cseq = CSeq::parse(one(Name::CSeq)?).ok_or(FaultKind::CSeq)?;
        if let Some(hops) = headers.get(&Name::MaxForwards) {
            parse_number::<u8>(hops).ok_or(FaultKind::MaxForwards)?;
        }
        Ok(Self { via, vias: count, from, to, call_id: call_id.to_owned(), cseq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_is_read_through_all_its_white_space() {
        let via = Via::parse("SIP  / 2.0  / TCP     spindle.example.com : 5070  ;  branch  =   z9hG4bK9ikj8")
            .unwrap();
        assert_eq!(
            (via.transport.as_str(), via.host.as_str(), via.port),
            ("TCP", "spindle.example.com", Some(5070))
        );
        assert_eq!(via.branch(), Some("z9hG4bK9ikj8"));
        assert_eq!(Via::parse(&via.to_string()), Some(via));
    }

    #[test]
    fn a_branch_of_the_cookie_alone_is_none() {
        assert_eq!(Via::parse("SIP/2.0/UDP h;branch=z9hG4bK").unwrap().branch(), None);
        assert_eq!(Via::parse("SIP/2.0/UDP 192.0.2.15;;,;,,"), None);
    }

    #[test]
    fn a_response_goes_to_the_source_unless_the_sender_is_plainly_reachable_elsewhere() {
        let source: SocketAddr = "192.0.2.7:40000".parse().unwrap();
        let to = |via: &str| Via::parse(via).unwrap().reply_to(source).to_string();
        assert_eq!(to("SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa"), "192.0.2.7:40000");
        assert_eq!(to("SIP/2.0/UDP 192.0.2.7:5062;rport;branch=z9hG4bKa"), "192.0.2.7:40000");
        assert_eq!(to("SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKa"), "192.0.2.7:5062");
        let mut via = Via::parse("SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKa").unwrap();
        via.note_source(source);
        assert_eq!(via.to_string(), "SIP/2.0/UDP 10.0.0.1;rport=40000;branch=z9hG4bKa;received=192.0.2.7");
    }

    #[test]
    fn a_sequence_number_stays_below_two_to_the_thirty_first() {
        assert_eq!(CSeq::parse("0009   INVITE").unwrap().number, 9);
        assert!(CSeq::parse("2147483647 BYE").is_some());
        for bad in
            ["2147483648 BYE", "36893488147419103232 REGISTER", "-1 BYE", "1", "1 BYE x", "BYE 1", "+1 BYE"]
        {
            assert_eq!(CSeq::parse(bad), None, "{bad}");
        }
    }
}
