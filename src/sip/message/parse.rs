//! Bytes to message: strict where two readings are possible, liberal everywhere else (RFC 4475).

use std::borrow::Cow;

use memchr::memchr;

use super::name::{is_of_token, is_token};
use super::uri::{SipUri, halves, parse_number};
use super::value::Head;
use super::{Headers, Message, Method, Name, Request, Response};

/// More header lines than any device sends; beyond it a message is garbage.
const MAX_LINES: usize = 512;

/// Why a datagram is not a usable message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The first line is neither a request line nor a status line.
    NotSip,
    /// A SIP version other than 2.0 (answered with 505).
    Version,
    /// The start line is damaged.
    StartLine,
    /// The Request-URI is damaged, bracketed or has escaped headers.
    RequestUri,
    /// A header line without a name or a colon, or too many lines.
    HeaderLine,
    /// The empty line after the headers is missing.
    NoEmptyLine,
    /// Content-Length is damaged, contradictory or larger than the datagram.
    ContentLength,
    /// Via, From, To, Call-ID or CSeq is missing.
    MissingHeader,
    /// A header that may stand once stands twice.
    DuplicateHeader,
    /// A Via is damaged.
    Via,
    /// From or To is damaged.
    Address,
    /// Call-ID is damaged.
    CallId,
    /// CSeq is damaged.
    CSeq,
    /// CSeq names another method than the request line.
    MethodMismatch,
    /// Max-Forwards is no number from 0 to 255.
    MaxForwards,
}

impl FaultKind {
    /// Every kind, in order.
    pub const ALL: [Self; 15] = [
        Self::NotSip,
        Self::Version,
        Self::StartLine,
        Self::RequestUri,
        Self::HeaderLine,
        Self::NoEmptyLine,
        Self::ContentLength,
        Self::MissingHeader,
        Self::DuplicateHeader,
        Self::Via,
        Self::Address,
        Self::CallId,
        Self::CSeq,
        Self::MethodMismatch,
        Self::MaxForwards,
    ];

    /// The word that stands in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSip => "not_sip",
            Self::Version => "version",
            Self::StartLine => "start_line",
            Self::RequestUri => "request_uri",
            Self::HeaderLine => "header_line",
            Self::NoEmptyLine => "no_empty_line",
            Self::ContentLength => "content_length",
            Self::MissingHeader => "missing_header",
            Self::DuplicateHeader => "duplicate_header",
            Self::Via => "via",
            Self::Address => "address",
            Self::CallId => "call_id",
            Self::CSeq => "cseq",
            Self::MethodMismatch => "method_mismatch",
            Self::MaxForwards => "max_forwards",
        }
    }
}

/// A message that cannot be used, with what could be read of a request so that it can be refused politely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The request as far as it was read; `None` for responses and for what is no request at all.
    pub request: Option<Box<Request>>,
}

/// A usable message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The message.
    pub message: Message,
    /// Its checked head.
    pub head: Head,
}

enum StartLine {
    Request { method: Method, uri: String, fault: Option<FaultKind> },
    Response { status: u16, phrase: String },
}

/// Reads one datagram.
///
/// # Errors
/// A [`Fault`] names the first thing wrong, the more basic first.
pub fn parse(datagram: &[u8]) -> Result<Parsed, Fault> {
    let blank = datagram.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let mut rest = Unread::new(datagram.get(blank..).unwrap_or_default());
    let line = rest.line().unwrap_or_else(|| rest.all());
    let start = read_start_line(&line).map_err(|kind| Fault { kind, request: None })?;
    let mut lines = read_headers(&mut rest);
    let mut fault = lines.fault;
    let rest = rest.bytes;
    let body = match content_length(&mut lines.headers, rest.len()) {
        Ok(length) => rest.get(..length).unwrap_or_default().to_vec(),
        Err(kind) => {
            fault = fault.or(Some(kind));
            Vec::new()
        }
    };
    let headers = lines.headers;
    let head = Head::read(&headers);
    match start {
        StartLine::Request { method, uri, fault: start_fault } => {
            let request = Request { method, uri, headers, body };
            let mismatch = |head: &Head| head.cseq.method != request.method;
            let kind = match (start_fault.or(fault), &head) {
                (Some(kind), _) => Some(kind),
                (None, Err(kind)) => Some(*kind),
                (None, Ok(head)) if mismatch(head) => Some(FaultKind::MethodMismatch),
                (None, Ok(_)) => None,
            };
            match (kind, head) {
                (None, Ok(head)) => Ok(Parsed { message: Message::Request(request), head }),
                (kind, _) => Err(Fault {
                    kind: kind.unwrap_or(FaultKind::StartLine),
                    request: Some(Box::new(request)),
                }),
            }
        }
        StartLine::Response { status, phrase } => {
            let head = fault.map_or(head, Err).map_err(|kind| Fault { kind, request: None })?;
            Ok(Parsed { message: Message::Response(Response { status, phrase, headers, body }), head })
        }
    }
}

/// What is left of a datagram.
struct Unread<'a> {
    bytes: &'a [u8],
    /// The same as text, if all of it is UTF-8.
    text: Option<&'a str>,
}

impl<'a> Unread<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, text: str::from_utf8(bytes).ok() }
    }

    /// The next line without its end (CRLF, or LF alone); `None` at the end of the bytes.
    fn line(&mut self) -> Option<Cow<'a, str>> {
        let end = memchr(b'\n', self.bytes)?;
        let kept = if end > 0 && self.bytes.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
        let line = match self.text {
            Some(text) => Cow::Borrowed(text.get(..kept)?),
            None => text_of(self.bytes.get(..kept)?),
        };
        self.bytes = self.bytes.get(end + 1..)?;
        self.text = self.text.and_then(|text| text.get(end + 1..));
        Some(line)
    }

    /// Everything.
    fn all(&self) -> Cow<'a, str> {
        text_of(self.bytes)
    }
}

/// UTF-8 if it is that; otherwise every byte is taken for the Latin-1 character old devices mean.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
    }
}

fn read_start_line(line: &str) -> Result<StartLine, FaultKind> {
    if line.get(..4).is_some_and(|four| four.eq_ignore_ascii_case("SIP/")) {
        return read_status_line(line);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(uri)) = (words.next(), words.next()) else { return Err(FaultKind::NotSip) };
    let Some(version) = words.next_back() else { return Err(FaultKind::NotSip) };
    let is_sip = version.get(..4).is_some_and(|four| four.eq_ignore_ascii_case("SIP/"));
    if !is_sip || !is_token(method) {
        return Err(FaultKind::NotSip);
    }
    let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some(FaultKind::Version)
    } else if words.next().is_some() || !is_request_uri(uri) {
        Some(FaultKind::RequestUri)
    } else {
        None
    };
    Ok(StartLine::Request { method: Method::parse(method), uri: uri.to_owned(), fault })
}

fn is_request_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = halves(uri, b':') else { return false };
    if !is_token(scheme) || rest.is_empty() || uri.contains(['<', '>', '"']) {
        return false;
    }
    let is_sip = scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    !is_sip || SipUri::is_valid_target(uri)
}

fn read_status_line(line: &str) -> Result<StartLine, FaultKind> {
    let (version, rest) = line.split_once(' ').ok_or(FaultKind::StartLine)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(FaultKind::Version);
    }
    let rest = rest.trim_start();
    let (status, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
    let status: u16 = parse_number(status.trim_end()).ok_or(FaultKind::StartLine)?;
    if !(100..700).contains(&status) {
        return Err(FaultKind::StartLine);
    }
    Ok(StartLine::Response { status, phrase: phrase.trim().to_owned() })
}

struct Lines {
    headers: Headers,
    fault: Option<FaultKind>,
}

fn read_headers(rest: &mut Unread<'_>) -> Lines {
    let mut headers = Headers::new();
    let mut fault = None;
    // Whether a folded line has something to continue.
    let mut open = false;
    for _ in 0..MAX_LINES {
        let Some(line) = rest.line() else {
            // The last line may have lost its end; it is read so that a refusal can name the request.
            if let Some((name, value)) = field_of(&rest.all()) {
                headers.push(Name::parse(name), value);
            }
            rest.bytes = &[];
            return Lines { headers, fault: fault.or(Some(FaultKind::NoEmptyLine)) };
        };
        if line.is_empty() {
            return Lines { headers, fault };
        }
        if matches!(line.as_bytes().first(), Some(b' ' | b'\t')) {
            if open {
                headers.continue_last(line.trim());
            } else {
                fault = fault.or(Some(FaultKind::HeaderLine));
            }
            continue;
        }
        let field = field_of(&line);
        open = field.is_some();
        match field {
            Some((name, value)) => headers.push(Name::parse(name), value),
            None => fault = fault.or(Some(FaultKind::HeaderLine)),
        }
    }
    Lines { headers, fault: fault.or(Some(FaultKind::HeaderLine)) }
}

/// Name and value of a header line; `None` if no token stands before its colon.
fn field_of(line: &str) -> Option<(&str, &str)> {
    let end = line.bytes().position(|b| !is_of_token(b))?;
    let value = line.get(end..)?.trim_ascii_start().strip_prefix(':')?;
    (end > 0).then_some((line.get(..end)?, value.trim_ascii()))
}

/// The length of the body in a datagram of which `available` bytes are left (RFC 3261 §18.3).
fn content_length(headers: &mut Headers, available: usize) -> Result<usize, FaultKind> {
    let (first, same) = {
        let mut lengths = headers.all(&Name::ContentLength).map(parse_number::<usize>);
        let Some(first) = lengths.next() else { return Ok(available) };
        (first, lengths.all(|length| length == first))
    };
    headers.remove(&Name::ContentLength);
    first.filter(|length| same && *length <= available).ok_or(FaultKind::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\n\
        To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n";

    fn kind(text: &str) -> Option<FaultKind> {
        parse(text.as_bytes()).err().map(|fault| fault.kind)
    }

    #[test]
    fn the_body_ends_where_content_length_says_and_may_not_reach_beyond_the_datagram() {
        let with = |length: &str| parse(format!("{SMALL}Content-Length: {length}\r\n\r\nbody").as_bytes());
        let Ok(Parsed { message: Message::Request(request), .. }) = with("2") else { panic!("parses") };
        assert_eq!(request.body, b"bo");
        for bad in ["5", "-1", "x", "", "99999999999999999999999", "+2"] {
            assert_eq!(with(bad).err().map(|fault| fault.kind), Some(FaultKind::ContentLength), "{bad}");
        }
        assert_eq!(
            kind(&format!("{SMALL}l: 2\r\nContent-Length: 3\r\n\r\nbody")),
            Some(FaultKind::ContentLength)
        );
    }

    #[test]
    fn bare_line_feeds_and_leading_blank_lines_are_forgiven() {
        assert_eq!(kind(&format!("\r\n\r\n{}\n", SMALL.replace("\r\n", "\n"))), None);
    }

    #[test]
    fn a_message_cut_before_its_empty_line_is_a_fault_that_still_names_the_request() {
        let fault = parse(SMALL.as_bytes()).expect_err("cut");
        assert_eq!(fault.kind, FaultKind::NoEmptyLine);
        assert_eq!(fault.request.expect("request").headers.get(&Name::CallId), Some("x"));
    }

    #[test]
    fn what_is_no_sip_is_said_so_and_has_no_request_to_refuse() {
        for bytes in ["GET / HTTP/1.1\r\n\r\n", "hello", "", "\0\0\0\0", "a b\r\n\r\n"] {
            let fault = parse(bytes.as_bytes()).expect_err("not sip");
            assert_eq!((fault.kind, fault.request), (FaultKind::NotSip, None), "{bytes}");
        }
    }

    #[test]
    fn ten_thousand_header_lines_are_refused() {
        assert_eq!(kind(&format!("{SMALL}{}\r\n", "X: y\r\n".repeat(10_000))), Some(FaultKind::HeaderLine));
    }

    /// Pieces of messages, so that random input goes deep into the parser.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(SMALL.as_bytes().to_vec()),
            Just(b"SIP/2.0 200 OK\r\n".to_vec()),
            Just(b"INVITE sip:a@b SIP/2.0\r\n".to_vec()),
            Just(b"v: SIP / 2.0 / UDP h:1 ;branch=z9hG4bKa , SIP/2.0/TCP [::1]\r\n".to_vec()),
            Just(b"f: \"a\\\"b\" <sip:c@d>;tag=2\r\nt: sip:x@y\r\ni: q@r\r\nCSeq: 7 INVITE\r\n".to_vec()),
            Just(b"Contact: *\r\n folded\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..12),
            "[ -~]{0,20}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_and_what_it_reads_prints_and_reads_back_the_same(bytes in pieces()) {
            super::super::super::fuzz::message(&bytes);
        }

        #[test]
        fn a_damaged_message_never_panics(at in 0_usize..200, byte in any::<u8>()) {
            let mut bytes = format!("{SMALL}Content-Length: 0\r\n\r\n").into_bytes();
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
            super::super::super::fuzz::message(&bytes);
        }
    }
}
