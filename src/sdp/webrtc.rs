//! The audio section towards Meta: what its offers and answers say, and what ours must look like
//! (reference §12.1 to §12.3).

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use super::session::{Connection, Media, Origin, Session};
use crate::rtp::{PayloadType, Ssrc};

/// Most candidates that are kept; Meta sends two.
const MAX_CANDIDATES: usize = 16;
/// Longest `ice-ufrag` that is taken: the two fragments of a check's user name must fit 128 bytes.
const MAX_UFRAG: usize = 96;
/// Longest `ice-pwd` (RFC 8839 §5.4).
const MAX_PWD: usize = 256;

/// The payload types of our offers, the ones that Meta's own offers use.
const OUR_OPUS: PayloadType = PayloadType(111);
const OUR_EVENTS: PayloadType = PayloadType(126);

/// What Meta is told about the Opus that we want: wide-band mono speech with forward error correction.
const OPUS_PARAMETERS: &str =
    "minptime=20;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000;maxaveragebitrate=20000";

/// Why an offer or answer of the WebRTC side cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebRtcRefusal {
    /// Not SDP, or too large.
    NotSdp,
    /// No audio section that is in use.
    NoAudio,
    /// More than the one audio section.
    SeveralSections,
    /// No `opus/48000` among the formats.
    NoOpus,
    /// Keys in the SDP or none at all (`RTP/SAVP` or `RTP/AVP`): not a DTLS section.
    NoDtls,
    /// No fingerprint.
    NoFingerprint,
    /// Fingerprints, but none by SHA-256.
    WeakFingerprint,
    /// A SHA-256 fingerprint that is not 32 bytes of hexadecimal.
    BadFingerprint,
    /// No `ice-ufrag` or no `ice-pwd`.
    NoIce,
    /// An `ice-ufrag` or `ice-pwd` of impossible length or characters.
    BadIce,
    /// An `a=setup` that opens no connection (`holdconn`) or is unknown.
    BadSetup,
}

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

/// What the far end's audio section says. Prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteWebRtc {
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
    /// `a=mid`, empty where there is none.
    pub mid: String,
    /// The profile of the `m=` line, to be echoed.
    pub protocol: String,
    /// Opus' payload type.
    pub opus: PayloadType,
    /// RFC 4733 events: payload type and clock rate, 8000 if there is a choice.
    pub telephone_event: Option<(PayloadType, u32)>,
    /// Opus `maxaveragebitrate` in bit/s: the most that the far end wants to receive.
    pub max_average_bitrate: Option<u32>,
    /// Opus `maxplaybackrate` in Hz: what the far end can play.
    pub max_playback_rate: Option<u32>,
    /// Whether the far end uses in-band forward error correction.
    pub in_band_fec: bool,
    /// The first `a=ssrc`.
    pub ssrc: Option<Ssrc>,
}

/// What our audio section says. The same values write the same SDP, byte for byte. Prints without the
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalWebRtc {
    /// The number in our `o=` line.
    pub session_id: u64,
    /// Our `a=ice-ufrag`.
    pub ufrag: String,
    /// Our `a=ice-pwd`.
    pub pwd: String,
    /// The SHA-256 hash of our DTLS certificate.
    pub fingerprint: [u8; 32],
    /// Our addresses as the far end sees them, best first; may be empty.
    pub candidates: Vec<SocketAddr>,
    /// The one SSRC of the call.
    pub ssrc: Ssrc,
    /// Its RTCP name.
    pub cname: String,
    /// How the hash name is written.
    pub fingerprint_case: FingerprintCase,
}

impl fmt::Debug for RemoteWebRtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWebRtc")
            .field("setup", &self.setup)
            .field("ice_lite", &self.ice_lite)
            .field("candidates", &self.candidates)
            .field("mid", &self.mid)
            .field("protocol", &self.protocol)
            .field("opus", &self.opus)
            .field("telephone_event", &self.telephone_event)
            .field("max_average_bitrate", &self.max_average_bitrate)
            .field("max_playback_rate", &self.max_playback_rate)
            .field("in_band_fec", &self.in_band_fec)
            .field("ssrc", &self.ssrc)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalWebRtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWebRtc")
            .field("session_id", &self.session_id)
            .field("candidates", &self.candidates)
            .field("ssrc", &self.ssrc)
            .finish_non_exhaustive()
    }
}

/// Reads Meta's offer or answer, in the shape of 2024 as in the one of 2026 (reference §12.1).
///
/// # Errors
/// [`WebRtcRefusal`] names the first thing that makes the section unusable.
pub fn read_webrtc(sdp: &str) -> Result<RemoteWebRtc, WebRtcRefusal> {
    let session = Session::parse(sdp).map_err(|_| WebRtcRefusal::NotSdp)?;
    let media = match session.media.as_slice() {
        [media] if media.kind == "audio" && media.port != 0 => media,
        [] | [_] => return Err(WebRtcRefusal::NoAudio),
        _ => return Err(WebRtcRefusal::SeveralSections),
    };
    let opus = media.payload_types().find(|&format| is_opus(media, format)).ok_or(WebRtcRefusal::NoOpus)?;
    let fingerprint = read_fingerprint(&session, media)?;
    let (ufrag, pwd) = read_credentials(&session, media)?;
    let number = |name| media.parameter(opus, name).and_then(|value| value.parse().ok());
    Ok(RemoteWebRtc {
        ufrag,
        pwd,
        fingerprint,
        setup: read_setup(session.value(media, "setup"))?,
        ice_lite: session.has(media, "ice-lite"),
        candidates: read_candidates(&session, media),
        mid: media.value("mid").unwrap_or_default().to_owned(),
        protocol: media.protocol.clone(),
        opus,
        telephone_event: read_events(media),
        max_average_bitrate: number("maxaveragebitrate"),
        max_playback_rate: number("maxplaybackrate"),
        in_band_fec: media.parameter(opus, "useinbandfec") == Some("1"),
        ssrc: media.value("ssrc").and_then(|v| v.split_whitespace().next()?.parse().ok()).map(Ssrc),
    })
}

/// Our answer to `remote`'s offer: its mid and payload types, one fingerprint, never `transport-cc`.
#[must_use]
pub fn write_answer(local: &LocalWebRtc, remote: &RemoteWebRtc) -> String {
    let section = Section {
        setup: remote.setup.reply(),
        mid: &remote.mid,
        protocol: &remote.protocol,
        opus: remote.opus,
        events: remote.telephone_event,
    };
    write(local, &section)
}

/// Our offer of a business-initiated call.
#[must_use]
pub fn write_offer(local: &LocalWebRtc) -> String {
    let section = Section {
        setup: Setup::ActPass,
        mid: "audio",
        protocol: "UDP/TLS/RTP/SAVPF",
        opus: OUR_OPUS,
        events: Some((OUR_EVENTS, 8000)),
    };
    write(local, &section)
}

/// What differs between an offer and the answers.
struct Section<'a> {
    setup: Setup,
    mid: &'a str,
    protocol: &'a str,
    opus: PayloadType,
    events: Option<(PayloadType, u32)>,
}

/// Prints the section in the order of reference §12.3, "Answer to aim for".
fn write(local: &LocalWebRtc, section: &Section<'_>) -> String {
    let unspecified = Origin::default().address;
    let opus = section.opus.0;
    let formats: Vec<_> =
        [section.opus].into_iter().chain(section.events.map(|(format, _)| format)).collect();
    let mut media = Media::new("audio", 9, section.protocol, &formats);
    media.connection = Some(unspecified);
    media.set("rtcp", format_args!("9 {}", Connection(unspecified)));
    if !section.mid.is_empty() {
        media.set("mid", section.mid);
    }
    media.flag("sendrecv");
    media.flag("rtcp-mux");
    media.set("ice-ufrag", &local.ufrag);
    media.set("ice-pwd", &local.pwd);
    for (index, address) in (0_u32..).zip(local.candidates.iter().take(MAX_CANDIDATES)) {
        // RFC 8445 §5.1.2.1: host type preference 126, local preference falling, component 1.
        let priority = (126 << 24) | ((65_535 - index) << 8) | 255;
        let (ip, port, foundation) = (address.ip(), address.port(), index + 1);
        media.set("candidate", format_args!("{foundation} 1 udp {priority} {ip} {port} typ host"));
    }
    media.set("fingerprint", print_fingerprint(&local.fingerprint, local.fingerprint_case));
    media.set("setup", section.setup.word());
    media.set("rtpmap", format_args!("{opus} opus/48000/2"));
    media.set("fmtp", format_args!("{opus} {OPUS_PARAMETERS}"));
    media.set("ptime", 20);
    media.set("maxptime", 20);
    if let Some((PayloadType(events), clock)) = section.events {
        media.set("rtpmap", format_args!("{events} telephone-event/{clock}"));
        media.set("fmtp", format_args!("{events} 0-16"));
    }
    media.set("ssrc", format_args!("{} cname:{}", local.ssrc.0, local.cname));
    let mut session = Session {
        origin: Origin { session_id: local.session_id, version: 1, address: unspecified },
        connection: None,
        attributes: Vec::new(),
        media: vec![media],
    };
    if !section.mid.is_empty() {
        let value = Some(format!("BUNDLE {}", section.mid));
        session.attributes.push(super::session::Attribute { name: "group".to_owned(), value });
    }
    session.to_string()
}

fn is_opus(media: &Media, format: PayloadType) -> bool {
    media.rtpmap(format).is_some_and(|map| map.encoding.eq_ignore_ascii_case("opus") && map.clock == 48_000)
}

fn read_events(media: &Media) -> Option<(PayloadType, u32)> {
    let events = media.payload_types().filter_map(|format| {
        let map = media.rtpmap(format)?;
        map.encoding.eq_ignore_ascii_case("telephone-event").then_some((format, map.clock))
    });
    events.filter(|&(_, clock)| clock != 0).min_by_key(|&(_, clock)| clock)
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

#[cfg(test)]
mod tests;
