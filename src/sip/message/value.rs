//! The header values that every message carries: Via, From, To, Call-ID, CSeq.

use std::fmt;
use std::net::SocketAddr;

use super::parse::FaultKind;
use super::uri::{NameAddr, Params, cut, halves, parse_host_port, parse_ip, parse_number};
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
        let (transport, host, port, params) = parts_of_via(text)?;
        let params = Params::parse(params)?;
        Some(Self { transport: transport.to_owned(), host: host.to_owned(), port, params })
    }

    /// Whether [`Via::parse`] can read the text; costs no memory.
    fn is_valid(text: &str) -> bool {
        parts_of_via(text).is_some_and(|(_, _, _, params)| Params::is_valid(params))
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
            self.params.set("rport", Some(&source.port().to_string()));
        }
        if asked || parse_ip(&self.host) != Some(source.ip()) {
            self.params.set("received", Some(&source.ip().to_string()));
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

fn halves_at_space(text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b.is_ascii_whitespace())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Transport, host, port and parameters where they stand; the parameters are not looked at.
fn parts_of_via(text: &str) -> Option<(&str, &str, Option<u16>, &str)> {
    let (protocol, rest) = halves(text, b'/')?;
    let (version, rest) = halves(rest, b'/')?;
    if !protocol.trim_ascii().eq_ignore_ascii_case("SIP") || version.trim_ascii() != "2.0" {
        return None;
    }
    let (transport, rest) = halves_at_space(rest.trim_ascii_start())?;
    let (sent_by, params) = halves(rest, b';').unwrap_or((rest, ""));
    let (host, port) = parse_host_port(sent_by)?;
    super::name::is_token(transport).then_some((transport, host, port, params))
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
        let Needed { from, to, call_id, cseq, hops } = Needed::find(headers)?;
        let (mut first, mut vias) = (None, 0);
        for line in headers.all(&Name::Via) {
            let mut rest = Some(line);
            while let Some(all) = rest {
                let (value, after) = cut(all, b',').ok_or(FaultKind::Via)?;
                rest = after;
                vias += 1;
                if first.is_none() {
                    first = Some(Via::parse(value.trim_ascii()).ok_or(FaultKind::Via)?);
                } else if !Via::is_valid(value.trim_ascii()) {
                    return Err(FaultKind::Via);
                }
            }
        }
        let via = first.ok_or(FaultKind::MissingHeader)?;
        let from = NameAddr::parse(from.ok_or(FaultKind::MissingHeader)?).ok_or(FaultKind::Address)?;
        let to = NameAddr::parse(to.ok_or(FaultKind::MissingHeader)?).ok_or(FaultKind::Address)?;
        let call_id = call_id.ok_or(FaultKind::MissingHeader)?;
        if call_id.is_empty() || call_id.contains(char::is_whitespace) {
            return Err(FaultKind::CallId);
        }
        let cseq = CSeq::parse(cseq.ok_or(FaultKind::MissingHeader)?).ok_or(FaultKind::CSeq)?;
        if let Some(hops) = hops {
            parse_number::<u8>(hops).ok_or(FaultKind::MaxForwards)?;
        }
        Ok(Self { via, vias, from, to, call_id: call_id.to_owned(), cseq })
    }
}

/// The lines that may stand once.
#[derive(Default)]
struct Needed<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
    call_id: Option<&'a str>,
    cseq: Option<&'a str>,
    hops: Option<&'a str>,
}

impl<'a> Needed<'a> {
    fn find(headers: &'a Headers) -> Result<Self, FaultKind> {
        let (mut found, mut content_type) = (Self::default(), None);
        for header in headers.iter() {
            let slot = match header.name {
                Name::From => &mut found.from,
                Name::To => &mut found.to,
                Name::CallId => &mut found.call_id,
                Name::CSeq => &mut found.cseq,
                Name::MaxForwards => &mut found.hops,
                Name::ContentType => &mut content_type,
                _ => continue,
            };
            if slot.replace(header.value.as_str()).is_some() {
                return Err(FaultKind::DuplicateHeader);
            }
        }
        Ok(found)
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
