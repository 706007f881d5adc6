//! The grammar of a session description (RFC 8866), without any opinion on what it offers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::rtp::PayloadType;

/// Longest text that is looked at, in bytes; Meta's offers are near 1.5 kB, a browser's near 10 kB.
pub(super) const MAX_TEXT: usize = 64 * 1024;
/// Most `m=` sections that are looked at.
const MAX_MEDIA: usize = 32;
/// Most attributes of one section that are kept.
const MAX_ATTRIBUTES: usize = 512;

/// Why a text is not a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// It does not begin with `v=0`.
    NoVersion,
    /// An `m=` line without kind, port, protocol and format.
    BadMediaLine,
    /// Longer than 64 KiB, or more sections or attributes than anybody sends.
    TooLong,
}

/// A session description: the session's lines, then one [`Media`] for each `m=` line.
///
/// Lines that decide nothing here (`b=`, `t=`, `e=`, …) are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The `o=` line.
    pub origin: Origin,
    /// The session's `c=` address; [`None`] if there is none or it is a host name.
    pub connection: Option<IpAddr>,
    /// `a=` lines before the first `m=` line.
    pub attributes: Vec<Attribute>,
    /// The sections, in order.
    pub media: Vec<Media>,
}

/// The `o=` line: which session this is, and which version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Stays the same for the life of the session; 0 where the peer wrote no number.
    pub session_id: u64,
    /// Goes up by one with each change (RFC 3264 §8).
    pub version: u64,
    /// The address in the line, of no consequence for media.
    pub address: IpAddr,
}

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `image`, …
    pub kind: String,
    /// The port; 0 means that the section is refused or removed.
    pub port: u16,
    /// `RTP/AVP`, `UDP/TLS/RTP/SAVPF`, …
    pub protocol: String,
    /// Formats in order of preference; for RTP these are payload types.
    pub formats: Vec<String>,
    /// The section's own `c=` address.
    pub connection: Option<IpAddr>,
    /// The section's `a=` lines.
    pub attributes: Vec<Attribute>,
}

/// An `a=` line: `name` or `name:value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// What stands before the first colon.
    pub name: String,
    /// What stands after it.
    pub value: Option<String>,
}

/// The value of an `a=rtpmap` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// Encoding name as written; compare without regard to case.
    pub encoding: &'a str,
    /// Clock rate in Hz.
    pub clock: u32,
    /// Channels; 1 where the line does not say.
    pub channels: u8,
}

impl Session {
    /// Reads a description; lines may end with CRLF or LF, and odd lines are passed over.
    ///
    /// # Errors
    /// [`SdpError`] if the text is not SDP at all or is too large.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_TEXT {
            return Err(SdpError::TooLong);
        }
        let mut lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some("v=0") {
            return Err(SdpError::NoVersion);
        }
        let mut session =
            Self { origin: Origin::default(), connection: None, attributes: Vec::new(), media: Vec::new() };
        for line in lines {
            let Some((key, value)) = line.split_once('=') else { continue };
            if key == "m" {
                if session.media.len() == MAX_MEDIA {
                    return Err(SdpError::TooLong);
                }
                session.media.push(Media::parse(value)?);
                continue;
            }
            match (key, session.media.last_mut()) {
                ("c", Some(media)) => media.connection = media.connection.or(parse_connection(value)),
                ("c", None) => session.connection = parse_connection(value),
                ("a", Some(media)) => keep(&mut media.attributes, value)?,
                ("a", None) => keep(&mut session.attributes, value)?,
                ("o", None) => session.origin = Origin::parse(value),
                _ => {}
            }
        }
        Ok(session)
    }

    /// The value of `name` in `media`, or else in the session's own lines.
    #[must_use]
    pub fn value<'a>(&'a self, media: &'a Media, name: &str) -> Option<&'a str> {
        media.value(name).or_else(|| find(&self.attributes, name)?.value.as_deref())
    }

    /// Whether `media` or the session carries the line `a=name`, with or without a value.
    #[must_use]
    pub fn has(&self, media: &Media, name: &str) -> bool {
        media.has(name) || find(&self.attributes, name).is_some()
    }

    /// The address that `media` is to be sent to: its own `c=` line, or else the session's.
    #[must_use]
    pub fn address(&self, media: &Media) -> Option<IpAddr> {
        media.connection.or(self.connection)
    }
}

/// Prints with CRLF after every line and `t=0 0`.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { session_id, version, address } = self.origin;
        write!(f, "v=0\r\no=- {session_id} {version} {}\r\ns=-\r\n", Connection(address))?;
        if let Some(address) = self.connection {
            write!(f, "c={}\r\n", Connection(address))?;
        }
        f.write_str("t=0 0\r\n")?;
        self.attributes.iter().try_for_each(|attribute| attribute.fmt(f))?;
        self.media.iter().try_for_each(|media| media.fmt(f))
    }
}

impl Origin {
    fn parse(value: &str) -> Self {
        let mut fields = value.split_whitespace().skip(1);
        let mut number = || fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
        let (session_id, version) = (number(), number());
        let address = fields.nth(2).and_then(|field| field.parse().ok());
        Self { session_id, version, address: address.unwrap_or(Self::default().address) }
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self { session_id: 0, version: 0, address: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }
}

impl Media {
    /// A section without addresses and attributes.
    #[must_use]
    pub fn new(kind: &str, port: u16, protocol: &str, formats: &[PayloadType]) -> Self {
        Self {
            kind: kind.to_owned(),
            port,
            protocol: protocol.to_owned(),
            formats: formats.iter().map(|format| format.0.to_string()).collect(),
            connection: None,
            attributes: Vec::new(),
        }
    }

    fn parse(value: &str) -> Result<Self, SdpError> {
        let mut fields = value.split_whitespace();
        let (Some(kind), Some(port), Some(protocol)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(SdpError::BadMediaLine);
        };
        let port = port.split('/').next().and_then(|port| port.parse().ok()).ok_or(SdpError::BadMediaLine)?;
        let formats: Vec<String> = fields.map(str::to_owned).collect();
        if formats.is_empty() {
            return Err(SdpError::BadMediaLine);
        }
        let (kind, protocol) = (kind.to_owned(), protocol.to_owned());
        Ok(Self { kind, port, protocol, formats, connection: None, attributes: Vec::new() })
    }

    /// The same section as an answer that refuses it (RFC 3264 §6).
    #[must_use]
    pub fn refused(&self) -> Self {
        Self { port: 0, connection: None, attributes: Vec::new(), ..self.clone() }
    }

    /// The formats that are payload types, in order.
    pub fn payload_types(&self) -> impl Iterator<Item = PayloadType> + '_ {
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(|&n| n < 128).map(PayloadType)
    }

    /// The value of the first `a=name:value` line.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)?.value.as_deref()
    }

    /// The values of all `a=name:value` lines.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes
            .iter()
            .filter(move |attribute| attribute.name.eq_ignore_ascii_case(name))
            .filter_map(|attribute| attribute.value.as_deref())
    }

    /// Whether there is a line `a=name`, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        find(&self.attributes, name).is_some()
    }

    /// What `a=rtpmap` says of a payload type.
    #[must_use]
    pub fn rtpmap(&self, format: PayloadType) -> Option<RtpMap<'_>> {
        let mut parts = self.of_format("rtpmap", format)?.split('/');
        let encoding = parts.next()?.trim();
        let clock = parts.next()?.trim().parse().ok()?;
        let channels = parts.next().map_or(Some(1), |channels| channels.trim().parse().ok())?;
        Some(RtpMap { encoding, clock, channels })
    }

    /// The value of parameter `name` in the `a=fmtp` line of a payload type.
    #[must_use]
    pub fn parameter(&self, format: PayloadType, name: &str) -> Option<&str> {
        self.of_format("fmtp", format)?.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn of_format<'a>(&'a self, attribute: &'a str, format: PayloadType) -> Option<&'a str> {
        self.values(attribute).find_map(|value| {
            let (number, rest) = value.trim().split_once(char::is_whitespace)?;
            (number.parse() == Ok(format.0)).then(|| rest.trim())
        })
    }

    /// Adds `a=name`.
    pub fn flag(&mut self, name: &str) {
        self.attributes.push(Attribute { name: name.to_owned(), value: None });
    }

    /// Adds `a=name:value`.
    pub fn set(&mut self, name: &str, value: impl fmt::Display) {
        self.attributes.push(Attribute { name: name.to_owned(), value: Some(value.to_string()) });
    }

    /// The address in an `a=rtcp:port [IN IP4 address]` line (RFC 3605); `default` for its absent part.
    #[must_use]
    pub fn rtcp(&self, default: IpAddr) -> Option<SocketAddr> {
        let mut fields = self.value("rtcp")?.split_whitespace();
        let port = fields.next()?.parse().ok()?;
        let address = fields.nth(2).and_then(|field| field.parse().ok());
        Some(SocketAddr::new(address.unwrap_or(default), port))
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {} {}", self.kind, self.port, self.protocol)?;
        self.formats.iter().try_for_each(|format| write!(f, " {format}"))?;
        f.write_str("\r\n")?;
        if let Some(address) = self.connection {
            write!(f, "c={}\r\n", Connection(address))?;
        }
        self.attributes.iter().try_for_each(|attribute| attribute.fmt(f))
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "a={}:{value}\r\n", self.name),
            None => write!(f, "a={}\r\n", self.name),
        }
    }
}

/// An address as `IN IP4 …` or `IN IP6 …`, as `c=`, `o=` and `a=rtcp` write it.
pub(super) struct Connection(pub(super) IpAddr);

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.0.is_ipv4() { "IP4" } else { "IP6" };
        write!(f, "IN {family} {}", self.0)
    }
}

fn parse_connection(value: &str) -> Option<IpAddr> {
    // Multicast carries "/ttl" behind the address; it is read, and refused later for what it is.
    value.split_whitespace().nth(2)?.split('/').next()?.parse().ok()
}

fn keep(attributes: &mut Vec<Attribute>, text: &str) -> Result<(), SdpError> {
    if attributes.len() == MAX_ATTRIBUTES {
        return Err(SdpError::TooLong);
    }
    attributes.push(match text.split_once(':') {
        Some((name, value)) => {
            Attribute { name: name.trim().to_owned(), value: Some(value.trim().to_owned()) }
        }
        None => Attribute { name: text.trim().to_owned(), value: None },
    });
    Ok(())
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Session {
        let mut media = Media::new("audio", 4000, "RTP/AVP", &[PayloadType(0), PayloadType(101)]);
        media.connection = Some("2001:db8::7".parse().unwrap());
        media.set("rtpmap", "101 telephone-event/8000");
        media.set("fmtp", "101 0-16; foo=bar");
        media.flag("sendrecv");
        Session {
            origin: Origin { session_id: 7, version: 2, address: "192.0.2.1".parse().unwrap() },
            connection: Some("192.0.2.1".parse().unwrap()),
            attributes: vec![Attribute { name: "ice-lite".to_owned(), value: None }],
            media: vec![media.clone(), media.refused()],
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let text = example().to_string();
        assert_eq!(Session::parse(&text), Ok(example()));
        assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])), "every line ends with CRLF");
    }

    #[test]
    fn line_ends_may_be_bare_and_odd_lines_are_passed_over() {
        let text = "v=0\nnonsense\no=x y z\nk=what\n\n a=tool:x y \nm=audio 49170/2 RTP/AVP 0\nc=IN IP4 224.2.1.1/127\n";
        let session = Session::parse(text).unwrap();
        assert_eq!(session.origin, Origin::default());
        assert_eq!(session.media[0].port, 49170);
        assert_eq!(session.address(&session.media[0]), Some("224.2.1.1".parse().unwrap()));
        assert_eq!(session.value(&session.media[0], "tool"), Some("x y"));
    }

    #[test]
    fn text_that_is_not_sdp_is_refused() {
        assert_eq!(Session::parse(""), Err(SdpError::NoVersion));
        assert_eq!(Session::parse("{\"sdp\":1}"), Err(SdpError::NoVersion));
        assert_eq!(Session::parse("v=0\nm=audio x RTP/AVP 0"), Err(SdpError::BadMediaLine));
        assert_eq!(Session::parse("v=0\nm=audio 9 RTP/AVP"), Err(SdpError::BadMediaLine));
        assert_eq!(
            Session::parse(&format!("v=0\n{}", "m=audio 9 RTP/AVP 0\n".repeat(33))),
            Err(SdpError::TooLong)
        );
        assert_eq!(Session::parse(&format!("v=0\n{}", "a=x\n".repeat(513))), Err(SdpError::TooLong));
    }

    #[test]
    fn rtpmap_and_fmtp_belong_to_their_payload_type() {
        let session = example();
        let media = &session.media[0];
        let event = RtpMap { encoding: "telephone-event", clock: 8000, channels: 1 };
        assert_eq!(media.rtpmap(PayloadType(101)), Some(event));
        assert_eq!(media.rtpmap(PayloadType(10)), None);
        assert_eq!(media.parameter(PayloadType(101), "FOO"), Some("bar"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_reads_prints_and_reads_back_the_same(
            text in "(?s)(v=0\n)?.{0,200}",
            tail in "([mcao]=[ -~]{0,40}\n|m=(audio|video) [0-9]{1,5} RTP/S?AVPF?( [0-9]{1,3}){1,4}\r\n\
                     |[co]=(x 1 2 )?IN IP(4 192.0.2.1|6 2001:db8::1)(/127)?\r\n|a=(rtpmap|fmtp|rtcp):[ -~]{0,20}\n){0,20}",
        ) {
            if let Ok(session) = Session::parse(&format!("v=0\n{tail}{text}")) {
                for media in &session.media {
                    let _ = (media.rtpmap(PayloadType(0)), media.rtcp(Ipv4Addr::LOCALHOST.into()));
                }
                prop_assert_eq!(Session::parse(&session.to_string()), Ok(session));
            }
        }
    }
}
