//! ICE and DTLS in a session description (RFC 8839, RFC 8842): the same lines towards Meta and towards browsers.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use super::session::{Media, Session};
use super::webrtc::WebRtcRefusal;

/// Most candidates that are kept; Meta sends two.
const MAX_CANDIDATES: usize = 16;
/// Longest `ice-ufrag` that is taken: the two fragments of a check's user name must fit 128 bytes.
const MAX_UFRAG: usize = 96;
/// Longest `ice-pwd` (RFC 8839 §5.4).
const MAX_PWD: usize = 256;

/// Who opens the DTLS connection (RFC 4145, RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The writer of this SDP is the DTLS client.
    Active,
    /// The writer of this SDP is the DTLS server.
    Passive,
    /// The answerer chooses; belongs into offers.
    ActPass,
}

impl Setup {
    /// The word of `a=setup`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }

    /// What we answer, or do, when the far end said `self`: client unless it insists on being the client.
    #[must_use]
    pub const fn reply(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive | Self::ActPass => Self::Active,
        }
    }
}

/// The hash name's case in `a=fingerprint`: Meta writes `sha-256`, one vendor asks for `SHA-256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FingerprintCase {
    /// `sha-256`, as Meta itself writes it.
    #[default]
    Lower,
    /// `SHA-256`.
    Upper,
}

/// What the far end's section says of ICE and DTLS. Prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    /// `a=ice-pwd`, padding included.
    pub pwd: String,
    /// The SHA-256 hash of its DTLS certificate.
    pub fingerprint: [u8; 32],
    /// `a=setup`; [`Setup::ActPass`] where the line is missing.
    pub setup: Setup,
    /// Whether it is an ICE-lite agent, which never sends checks.
    pub ice_lite: bool,
    /// UDP addresses of component 1, best priority first.
    pub candidates: Vec<SocketAddr>,
}

/// What our section says of ICE and DTLS. Prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalTransport {
    /// Our `a=ice-ufrag`.
    pub ufrag: String,
    /// Our `a=ice-pwd`.
    pub pwd: String,
    /// The SHA-256 hash of our DTLS certificate.
    pub fingerprint: [u8; 32],
    /// Our addresses as the far end sees them, best first; may be empty.
    pub candidates: Vec<SocketAddr>,
    /// How the hash name is written.
    pub fingerprint_case: FingerprintCase,
}

impl fmt::Debug for RemoteTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTransport")
            .field("setup", &self.setup)
            .field("ice_lite", &self.ice_lite)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTransport").field("candidates", &self.candidates).finish_non_exhaustive()
    }
}

impl RemoteTransport {
    /// Reads the lines of `media`, or else of the session.
    ///
    /// # Errors
    /// [`WebRtcRefusal`] names the first thing that is missing or wrong.
    pub(super) fn read(session: &Session, media: &Media) -> Result<Self, WebRtcRefusal> {
        let fingerprint = read_fingerprint(session, media)?;
        let (ufrag, pwd) = read_credentials(session, media)?;
        Ok(Self {
            ufrag,
            pwd,
            fingerprint,
            setup: read_setup(session.value(media, "setup"))?,
            ice_lite: session.has(media, "ice-lite"),
            candidates: read_candidates(session, media),
        })
    }
}

impl LocalTransport {
    /// Adds the lines to a section.
    pub(super) fn write(&self, media: &mut Media, setup: Setup) {
        media.set("ice-ufrag", &self.ufrag);
        media.set("ice-pwd", &self.pwd);
        for (index, address) in (0_u32..).zip(self.candidates.iter().take(MAX_CANDIDATES)) {
            // RFC 8445 §5.1.2.1: host type preference 126, local preference falling, component 1.
            let priority = (126 << 24) | ((65_535 - index) << 8) | 255;
            let (ip, port, foundation) = (address.ip(), address.port(), index + 1);
            media.set("candidate", format_args!("{foundation} 1 udp {priority} {ip} {port} typ host"));
        }
        media.set("fingerprint", print_fingerprint(&self.fingerprint, self.fingerprint_case));
        media.set("setup", setup.word());
    }
}

fn read_setup(value: Option<&str>) -> Result<Setup, WebRtcRefusal> {
    let Some(value) = value else { return Ok(Setup::ActPass) };
    [Setup::Active, Setup::Passive, Setup::ActPass]
        .into_iter()
        .find(|setup| value.eq_ignore_ascii_case(setup.word()))
        .ok_or(WebRtcRefusal::BadSetup)
}

fn read_credentials(session: &Session, media: &Media) -> Result<(String, String), WebRtcRefusal> {
    let (Some(ufrag), Some(pwd)) = (session.value(media, "ice-ufrag"), session.value(media, "ice-pwd"))
    else {
        return Err(WebRtcRefusal::NoIce);
    };
    // RFC 8839 allows letters, digits, `+` and `/`; Meta pads with `=`, so anything printable is taken,
    // except the colon, which parts the two fragments in a check's user name.
    let fits =
        |text: &str, max| (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !fits(ufrag, MAX_UFRAG) || ufrag.contains(':') || !fits(pwd, MAX_PWD) {
        return Err(WebRtcRefusal::BadIce);
    }
    Ok((ufrag.to_owned(), pwd.to_owned()))
}

fn read_fingerprint(session: &Session, media: &Media) -> Result<[u8; 32], WebRtcRefusal> {
    let of_session = session.attributes.iter().filter(|a| a.name.eq_ignore_ascii_case("fingerprint"));
    let lines = media.values("fingerprint").chain(of_session.filter_map(|a| a.value.as_deref()));
    let mut refusal = if media.protocol.to_ascii_uppercase().contains("TLS") {
        WebRtcRefusal::NoFingerprint
    } else {
        WebRtcRefusal::NoDtls
    };
    for line in lines {
        let Some((hash, value)) = line.split_once(char::is_whitespace) else { continue };
        if hash.eq_ignore_ascii_case("sha-256") {
            return parse_fingerprint(value.trim()).ok_or(WebRtcRefusal::BadFingerprint);
        }
        refusal = WebRtcRefusal::WeakFingerprint;
    }
    Err(refusal)
}

fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut fingerprint = [0; 32];
    let mut parts = text.split(':');
    for byte in &mut fingerprint {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(fingerprint)
}

fn print_fingerprint(fingerprint: &[u8; 32], case: FingerprintCase) -> String {
    let mut text = String::from(match case {
        FingerprintCase::Lower => "sha-256",
        FingerprintCase::Upper => "SHA-256",
    });
    for (index, byte) in fingerprint.iter().enumerate() {
        let separator = if index == 0 { ' ' } else { ':' };
        let _ = write!(text, "{separator}{byte:02X}");
    }
    text
}

/// Candidate lines, best first; without any, the plain address of the `m=` and `c=` lines.
fn read_candidates(session: &Session, media: &Media) -> Vec<SocketAddr> {
    let mut found: Vec<(u32, SocketAddr)> =
        media.values("candidate").filter_map(parse_candidate).take(MAX_CANDIDATES).collect();
    if found.is_empty() && media.port != 9 {
        found.extend(session.address(media).map(|ip| (0, SocketAddr::new(ip, media.port))));
    }
    found.retain(|(_, address)| is_usable(address));
    found.sort_by_key(|&(priority, _)| std::cmp::Reverse(priority));
    let mut addresses: Vec<SocketAddr> = Vec::with_capacity(found.len());
    for (_, address) in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// `foundation component transport priority address port typ …`; TCP and mDNS names give [`None`].
fn parse_candidate(line: &str) -> Option<(u32, SocketAddr)> {
    let mut fields = line.split_whitespace().skip(1);
    let component = fields.next()?;
    let transport = fields.next()?;
    let priority = fields.next()?.parse().ok()?;
    let ip: IpAddr = fields.next()?.parse().ok()?;
    let port = fields.next()?.parse().ok()?;
    (component == "1" && transport.eq_ignore_ascii_case("udp")).then(|| (priority, SocketAddr::new(ip, port)))
}

fn is_usable(address: &SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}
