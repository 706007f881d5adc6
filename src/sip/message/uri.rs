//! Addresses: `sip:` URIs, parameters, and the name-addr of From, To and Contact.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::name::is_token;
pub(super) use super::params::halves;
pub use super::params::{Params, cut, split_outside_quotes};

/// A `sip:` or `sips:` URI (RFC 3261 §19.1); the parts stay escaped as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SipUri {
    /// `sips:` rather than `sip:`.
    pub secure: bool,
    /// What stands before the `@`, a password included.
    pub user: Option<String>,
    /// Host name or address, IPv6 in brackets.
    pub host: String,
    /// Port, if written.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params,
    /// What stands after the `?`, without it.
    pub headers: Option<String>,
}

impl SipUri {
    /// Reads a URI; `None` for another scheme or a malformed one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = Parts::of(text)?;
        Some(Self {
            secure: parts.secure,
            user: parts.user.map(str::to_owned),
            host: parts.host.to_owned(),
            port: parts.port,
            params: Params::parse(parts.params)?,
            headers: parts.headers.map(str::to_owned),
        })
    }

    /// Whether [`SipUri::parse`] can read the text; costs no memory.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        Parts::of(text).is_some_and(|parts| Params::is_valid(parts.params))
    }

    /// Whether the text is also fit for a Request-URI: without escaped headers (RFC 3261 §19.1.1).
    pub(super) fn is_valid_target(text: &str) -> bool {
        Parts::of(text).is_some_and(|parts| parts.headers.is_none() && Params::is_valid(parts.params))
    }

    /// The user part without a password and with its escapes undone; empty if there is none.
    #[must_use]
    pub fn user_text(&self) -> String {
        let user = self.user.as_deref().unwrap_or("");
        unescape(user.split_once(':').map_or(user, |(user, _)| user))
    }

    /// The socket address, if the host is an IP address; port 5060 unless written.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(parse_ip(&self.host)?, self.port.unwrap_or(5060)))
    }

    /// The same URI fit for a Request-URI: no escaped headers, no `method` parameter (RFC 3261 §19.1.1).
    #[must_use]
    pub fn as_request_uri(&self) -> Self {
        let mut uri = self.clone();
        uri.headers = None;
        uri.params.remove("method");
        uri
    }

    /// A key under which two URIs that mean the same device compare equal in practice.
    #[must_use]
    pub fn key(&self) -> String {
        format!(
            "{}@{}:{}",
            self.user.as_deref().unwrap_or(""),
            self.host.to_ascii_lowercase(),
            self.port.unwrap_or(5060)
        )
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)?;
        if let Some(headers) = &self.headers {
            write!(f, "?{headers}")?;
        }
        Ok(())
    }
}

/// The parts of a URI where they stand in its text.
struct Parts<'a> {
    secure: bool,
    user: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    params: &'a str,
    headers: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Cuts a URI; the parameters are not looked at.
    fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = halves(text, b':')?;
        let secure = if scheme.eq_ignore_ascii_case("sip") {
            false
        } else if scheme.eq_ignore_ascii_case("sips") {
            true
        } else {
            return None;
        };
        if !is_plain(rest) {
            return None;
        }
        // The user part may hold `?`, `;` and `/` unescaped (RFC 4475 §3.1.1.2), so `@` is looked for first.
        let (user, rest) = match rest.bytes().rposition(|b| b == b'@') {
            Some(at) => (Some(rest.get(..at)?), rest.get(at + 1..)?),
            None => (None, rest),
        };
        let (rest, headers) = match halves(rest, b'?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (host_port, params) = halves(rest, b';').unwrap_or((rest, ""));
        let (host, port) = parse_host_port(host_port)?;
        (user != Some("")).then_some(Self { secure, user, host, port, params, headers })
    }
}

/// Whether a text holds no white space, no control character, no bracket and no quote.
fn is_plain(text: &str) -> bool {
    // No early end, so that the compiler looks at many bytes at once.
    let odd = |b: u8| (b <= b' ') | (b == 0x7f) | (b == b'<') | (b == b'>') | (b == b'"');
    !text.bytes().fold(false, |found, b| found | odd(b))
        && (text.is_ascii() || !text.contains(|c: char| c.is_whitespace() || c.is_control()))
}

/// A display name, a URI of any scheme and parameters: the shape of From, To, Contact, Route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name without its quotes; empty if there is none.
    pub display: String,
    /// The URI as written, without angle brackets.
    pub uri: String,
    /// The parameters of the header, not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// Reads one address; `None` if it is malformed.
    ///
    /// Liberal where it is unambiguous (RFC 4475 §3.1.2.14, §3.1.2.15): white space inside the angle
    /// brackets, a display name that should have been quoted.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let (display, rest) = if text.starts_with('"') {
            let end = end_of_quoted(text)?;
            let rest = text.get(end..)?.trim_ascii_start();
            if !rest.starts_with('<') {
                return None;
            }
            (unquote(text.get(..end)?), rest)
        } else if let Some(at) = text.find('<') {
            let display = text.get(..at)?.trim_ascii();
            if display.contains(['"', '>']) {
                return None;
            }
            (display.to_owned(), text.get(at..)?)
        } else {
            (String::new(), text)
        };
        let (uri, params) = if let Some(inner) = rest.strip_prefix('<') {
            let (uri, after) = halves(inner, b'>')?;
            let after = after.trim_ascii();
            if !after.is_empty() && !after.starts_with(';') {
                return None;
            }
            (uri.trim_ascii(), after.strip_prefix(';').unwrap_or(""))
        } else {
            let (uri, params) = halves(rest, b';').unwrap_or((rest, ""));
            // Without brackets these would belong to nobody (RFC 3261 §20.10).
            if uri.contains(['?', ',']) {
                return None;
            }
            (uri.trim_ascii(), params)
        };
        let (scheme, opaque) = halves(uri, b':')?;
        let is_sip = scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
        let usable = if is_sip {
            SipUri::is_valid(uri)
        } else {
            is_token(scheme) && !opaque.is_empty() && !uri.contains(char::is_whitespace)
        };
        if !usable {
            return None;
        }
        Some(Self { display, uri: uri.to_owned(), params: Params::parse(params)? })
    }

    /// The `tag`, if any (RFC 3261 §19.3).
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// The URI, if it is a `sip:` or `sips:` one.
    #[must_use]
    pub fn sip(&self) -> Option<SipUri> {
        SipUri::parse(&self.uri)
    }

    /// The user part of the URI: of `sip:`, `sips:` or `tel:`; empty if there is none.
    #[must_use]
    pub fn user_text(&self) -> String {
        user_of(&self.uri)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.display.is_empty() {
            write!(f, "{} ", quote(&self.display))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

/// The user part of a `sip:`, `sips:` or `tel:` URI, escapes undone; empty if there is none.
#[must_use]
pub fn user_of(uri: &str) -> String {
    if let Some(sip) = SipUri::parse(uri) {
        return sip.user_text();
    }
    let (scheme, rest) = uri.split_once(':').unwrap_or(("", ""));
    if is_call_for_help(uri) {
        return HELP.to_owned();
    }
    if scheme.eq_ignore_ascii_case("tel") {
        return unescape(rest.split_once(';').map_or(rest, |(number, _)| number));
    }
    String::new()
}

/// The emergency service, by its name (RFC 5031 §4.2).
const HELP: &str = "urn:service:sos";

/// Whether a Request-URI asks for the emergency service, or one of those below it (`urn:service:sos.police`).
#[must_use]
pub fn is_call_for_help(uri: &str) -> bool {
    let Some((name, rest)) = uri.split_at_checked(HELP.len()) else { return false };
    name.eq_ignore_ascii_case(HELP) && (rest.is_empty() || rest.starts_with('.'))
}

/// Reads `host`, `host:port`, `[v6]` or `[v6]:port`, white space around the colon allowed.
#[must_use]
pub fn parse_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = text.trim_ascii();
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')?;
        let rest = text.get(end + 1..)?.trim_ascii();
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port),
            None if rest.is_empty() => None,
            None => return None,
        };
        (text.get(..=end)?, port)
    } else {
        match halves(text, b':') {
            Some((host, port)) => (host.trim_ascii(), Some(port)),
            None => (text, None),
        }
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let valid = if host.starts_with('[') {
        parse_ip(host).is_some()
    } else {
        !host.is_empty() && host.bytes().all(plain)
    };
    let port = match port {
        Some(port) => Some(parse_number(port.trim_ascii())?),
        None => None,
    };
    valid.then_some((host, port))
}

/// Reads digits only (`u16::from_str` would take a `+`).
pub(in crate::sip) fn parse_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The address in a host part; IPv6 with or without brackets.
#[must_use]
pub fn parse_ip(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// The byte after the closing quote of the quoted string that begins `text`.
pub(super) fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `text` as a quoted string (RFC 3261 §25.1).
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        if c != '\r' && c != '\n' {
            out.push(c);
        }
    }
    out.push('"');
    out
}

/// A quoted string without quotes and escapes; anything else unchanged.
#[must_use]
pub fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(c);
            escaped = false;
        }
    }
    out
}

/// Undoes `%41` escapes; a malformed escape stays as written, bytes that are not UTF-8 are replaced.
#[must_use]
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let code = (b == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        if let Some(code) = code.and_then(|code| hex::decode(code).ok()) {
            out.extend_from_slice(&code);
            at += 3;
        } else {
            out.push(b);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `text` fit for the user part of a URI: everything outside the unreserved set escaped.
#[must_use]
pub fn escape_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([b]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_reads_and_prints_back() {
        for text in [
            "sip:1001@192.0.2.1:5070;transport=udp;ob",
            "sips:[2001:db8::1]:5061",
            "sip:sips%3Auser%40example.com@example.net",
            "sip:user;par=u%40example.net@example.com",
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
            "sip:host.example.com?Route=%3Csip:x%3E",
        ] {
            assert_eq!(SipUri::parse(text).map(|uri| uri.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_malformed_uri_is_refused() {
        for text in [
            "sip:",
            "sip:@host",
            "sip:a@",
            "sip:a@h:99999",
            "sip:a@h:+1",
            "sip:a b@h",
            "mailto:a@h",
            "sip:a@[::1",
        ] {
            assert_eq!(SipUri::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_display_name_keeps_its_escapes_apart() {
        let addr =
            NameAddr::parse("\"J Rosenberg \\\\\\\"\"   <sip:jdrosen@example.com> ; tag = 98asjd8").unwrap();
        assert_eq!(addr.display, "J Rosenberg \\\"");
        assert_eq!(addr.tag(), Some("98asjd8"));
        assert_eq!(NameAddr::parse(&addr.to_string()), Some(addr));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        assert_eq!(NameAddr::parse("\"Mr. J. User <sip:j.user@example.com>"), None);
        assert_eq!(NameAddr::parse("sip:user@example.com?Route=%3Csip:sip.example.com%3E"), None);
        assert_eq!(NameAddr::parse("\"Joe\" <sip:joe@example.org>;;;;"), None);
        assert_eq!(NameAddr::parse("<sip:a@b"), None);
    }

    #[test]
    fn what_is_clear_though_wrong_is_taken() {
        assert_eq!(NameAddr::parse("Bell, Alexander <sip:a@b>;tag=43").unwrap().display, "Bell, Alexander");
        assert_eq!(
            NameAddr::parse("\"W\" < sip:t.watson@example.org >").unwrap().uri,
            "sip:t.watson@example.org"
        );
        assert_eq!(NameAddr::parse("sip:a@b;tag=1;").unwrap().tag(), Some("1"));
    }

    #[test]
    fn the_user_is_the_number_in_every_scheme() {
        assert_eq!(user_of("tel:+5521955500123;phone-context=x"), "+5521955500123");
        assert_eq!(user_of("sip:%2B5521:secret@h"), "+5521");
        assert_eq!(user_of("isbn:2983792873"), "");
        assert_eq!(unescape("%4"), "%4");
        assert_eq!(escape_user("+1 2#"), "+1%202%23");
    }
}
