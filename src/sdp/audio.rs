//! The audio section of a SIP leg: plain RTP, offer and answer (RFC 3264).
//!
//! Phones differ most here, so reading forgives much: static payload types without `rtpmap`, hold
//! by address 0.0.0.0 as in RFC 2543, several sections, RTCP on its own address.

use std::net::SocketAddr;
use std::time::Duration;

use super::session::{Attribute, Connection, Media, Origin, Session};
pub use crate::codec::AudioCodec;
use crate::rtp::PayloadType;

/// The payload type of our events in offers; what most phones use themselves.
const OUR_EVENTS: PayloadType = PayloadType(101);
/// Packet length where nobody says otherwise, and the only one that we ask for.
const PTIME: Duration = Duration::from_millis(20);
/// Packet lengths that we are willing to send.
const PTIME_RANGE: std::ops::RangeInclusive<u64> = 10..=60;

const fn static_type(codec: AudioCodec) -> PayloadType {
    match codec {
        AudioCodec::Pcmu => PayloadType(0),
        AudioCodec::Pcma => PayloadType(8),
        AudioCodec::G722 => PayloadType(9),
        AudioCodec::Opus => PayloadType(107),
    }
}

/// The codec of a payload type: by its `rtpmap`, or by RFC 3551's table where there is none.
fn codec_of(media: &Media, format: PayloadType) -> Option<AudioCodec> {
    [AudioCodec::Pcmu, AudioCodec::Pcma].into_iter().find(|codec| match media.rtpmap(format) {
        Some(map) => {
            map.encoding.eq_ignore_ascii_case(codec.name())
                && map.clock == codec.clock()
                && map.channels == codec.channels()
        }
        None => format == static_type(*codec),
    })
}

/// Which way audio flows, seen by the side that says so (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// It only sends: it has put us on hold, perhaps with music.
    SendOnly,
    /// It only listens.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The same flow seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::SendRecv | Self::Inactive => self,
        }
    }

    /// Whether the side that says so sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the side that says so listens.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same without listening.
    const fn deaf(self) -> Self {
        match self {
            Self::SendRecv | Self::SendOnly => Self::SendOnly,
            Self::RecvOnly | Self::Inactive => Self::Inactive,
        }
    }
}

/// Why an offer or answer of the SIP side cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioRefusal {
    /// Not SDP, or too large.
    NotSdp,
    /// No audio section.
    NoAudio,
    /// The audio section is refused or removed (port 0).
    Refused,
    /// Audio, but only encrypted (`RTP/SAVP`, `UDP/TLS/RTP/SAVPF`).
    Encrypted,
    /// No codec that we know, or none that we offered.
    NoCommonCodec,
    /// No `c=` line with an IP address of one receiver.
    NoAddress,
}

/// What the far end's audio section says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAudio {
    /// Where it wants RTP; the address is unspecified under hold of the old kind.
    pub rtp: SocketAddr,
    /// Where it wants RTCP.
    pub rtcp: SocketAddr,
    /// Whether it can take RTCP on the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// As the far end means it; `c=0.0.0.0` counts as not listening.
    pub direction: Direction,
    /// The formats that we know, in its order.
    pub formats: Vec<(PayloadType, AudioCodec)>,
    /// RFC 4733 events at 8 kHz.
    pub telephone_event: Option<PayloadType>,
    /// The packet length that it wants to receive.
    pub ptime: Duration,
    /// It takes VoIP metrics (RFC 3611 §5.1, `a=rtcp-xr:voip-metrics`).
    pub voip_metrics: bool,
    /// The session's id and version, to tell a changed offer from a refresh.
    pub origin: Origin,
}

/// What our audio section says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAudio {
    /// The id in our `o=` line, the same for the whole dialog.
    pub session_id: u64,
    /// Goes up by one with each changed description (RFC 3264 §8).
    pub version: u64,
    /// Where we want RTP.
    pub rtp: SocketAddr,
    /// Where we want RTCP; the same as `rtp` asks for `rtcp-mux`.
    pub rtcp: SocketAddr,
    /// What we can code, best first.
    pub codecs: Vec<AudioCodec>,
    /// We want VoIP metrics, and send them to who wants them too.
    pub voip_metrics: bool,
}

/// What both sides have agreed on, seen from our side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The one codec.
    pub codec: AudioCodec,
    /// With which we send it.
    pub payload_type: PayloadType,
    /// With which it comes.
    pub receive_payload_type: PayloadType,
    /// With which we send events, if the far end takes them.
    pub telephone_event: Option<PayloadType>,
    /// With which they come.
    pub receive_telephone_event: Option<PayloadType>,
    /// Where RTP goes.
    pub remote_rtp: SocketAddr,
    /// Where RTCP goes; the same as `remote_rtp` with `rtcp_mux`.
    pub remote_rtcp: SocketAddr,
    /// RTCP shares the RTP port, both ways.
    pub rtcp_mux: bool,
    /// Ours.
    pub direction: Direction,
    /// The packet length that we send.
    pub ptime: Duration,
    /// Both sides want VoIP metrics.
    pub voip_metrics: bool,
}

impl RemoteAudio {
    /// Reads the first audio section that can be used.
    ///
    /// # Errors
    /// [`AudioRefusal`] for what stands in the way.
    pub fn read(sdp: &str) -> Result<Self, AudioRefusal> {
        let session = Session::parse(sdp).map_err(|_| AudioRefusal::NotSdp)?;
        let index = usable_section(&session)?;
        Self::of(&session, &session.media[index])
    }

    fn of(session: &Session, media: &Media) -> Result<Self, AudioRefusal> {
        let ip = session.address(media).filter(|ip| !ip.is_multicast()).ok_or(AudioRefusal::NoAddress)?;
        let rtp = SocketAddr::new(ip, media.port);
        let rtcp_mux = media.has("rtcp-mux");
        let next = SocketAddr::new(ip, media.port.saturating_add(1));
        let rtcp = if rtcp_mux { rtp } else { media.rtcp(ip).filter(|a| a.port() != 0).unwrap_or(next) };
        let direction = direction_of(session, media);
        let ptime =
            session.value(media, "ptime").and_then(|value| value.split('.').next()?.parse::<u64>().ok());
        let ptime = ptime.filter(|&millis| millis != 0).map_or(PTIME, |millis| {
            Duration::from_millis(millis.clamp(*PTIME_RANGE.start(), *PTIME_RANGE.end()))
        });
        Ok(Self {
            rtp,
            rtcp,
            rtcp_mux,
            direction: if ip.is_unspecified() { direction.deaf() } else { direction },
            formats: media.payload_types().filter_map(|pt| Some((pt, codec_of(media, pt)?))).collect(),
            telephone_event: media.payload_types().find(|&format| is_events(media, format)),
            ptime,
            voip_metrics: wants_metrics(session, media),
            origin: session.origin,
        })
    }
}

/// Our offer.
#[must_use]
pub fn write_offer(local: &LocalAudio) -> String {
    let formats: Vec<_> = local.codecs.iter().map(|&codec| (static_type(codec), codec)).collect();
    let ours = Ours {
        formats: &formats,
        events: Some(OUR_EVENTS),
        direction: Direction::SendRecv,
        protocol: "RTP/AVP",
        mux: local.rtp == local.rtcp,
        voip_metrics: local.voip_metrics,
    };
    session(local, vec![section(local, &ours)]).to_string()
}

/// Reads the answer to [`write_offer`] of the same `local`.
///
/// # Errors
/// [`AudioRefusal`] if the answer refuses the audio or takes nothing that was offered.
pub fn read_answer(local: &LocalAudio, sdp: &str) -> Result<Negotiated, AudioRefusal> {
    let remote = RemoteAudio::read(sdp)?;
    let offered = |&&(_, codec): &&(PayloadType, AudioCodec)| local.codecs.contains(&codec);
    let &(payload_type, codec) = remote.formats.iter().find(offered).ok_or(AudioRefusal::NoCommonCodec)?;
    let rtcp_mux = remote.rtcp_mux && local.rtp == local.rtcp;
    // An answerer that claims rtcp-mux unasked gets RTCP where it would be without.
    let unmuxed = SocketAddr::new(remote.rtp.ip(), remote.rtp.port().saturating_add(1));
    Ok(Negotiated {
        codec,
        payload_type,
        receive_payload_type: static_type(codec),
        telephone_event: remote.telephone_event,
        receive_telephone_event: remote.telephone_event.map(|_| OUR_EVENTS),
        remote_rtp: remote.rtp,
        remote_rtcp: if remote.rtcp_mux && !rtcp_mux { unmuxed } else { remote.rtcp },
        rtcp_mux,
        direction: remote.direction.reversed(),
        ptime: remote.ptime,
        voip_metrics: local.voip_metrics && remote.voip_metrics,
    })
}

/// Answers the far end's offer: one codec, its first that we know; every other section is refused.
///
/// # Errors
/// [`AudioRefusal`] if there is nothing to agree on (SIP 488).
pub fn answer_offer(local: &LocalAudio, offer: &str) -> Result<(String, Negotiated), AudioRefusal> {
    let theirs = Session::parse(offer).map_err(|_| AudioRefusal::NotSdp)?;
    let chosen = usable_section(&theirs)?;
    let remote = RemoteAudio::of(&theirs, &theirs.media[chosen])?;
    let known = |&&(_, codec): &&(PayloadType, AudioCodec)| local.codecs.contains(&codec);
    let &(payload_type, codec) = remote.formats.iter().find(known).ok_or(AudioRefusal::NoCommonCodec)?;
    let direction = remote.direction.reversed();
    let ours = Ours {
        formats: &[(payload_type, codec)],
        events: remote.telephone_event,
        direction,
        protocol: &theirs.media[chosen].protocol,
        mux: remote.rtcp_mux,
        voip_metrics: local.voip_metrics && remote.voip_metrics,
    };
    let sections = theirs
        .media
        .iter()
        .enumerate()
        .map(|(index, media)| if index == chosen { section(local, &ours) } else { media.refused() });
    let answer = session(local, sections.collect()).to_string();
    let negotiated = Negotiated {
        codec,
        payload_type,
        receive_payload_type: payload_type,
        telephone_event: remote.telephone_event,
        receive_telephone_event: remote.telephone_event,
        remote_rtp: remote.rtp,
        remote_rtcp: remote.rtcp,
        rtcp_mux: remote.rtcp_mux,
        direction,
        ptime: remote.ptime,
        voip_metrics: ours.voip_metrics,
    };
    Ok((answer, negotiated))
}

/// What our section differs in.
struct Ours<'a> {
    formats: &'a [(PayloadType, AudioCodec)],
    events: Option<PayloadType>,
    direction: Direction,
    protocol: &'a str,
    mux: bool,
    voip_metrics: bool,
}

fn section(local: &LocalAudio, ours: &Ours<'_>) -> Media {
    let types: Vec<_> = ours.formats.iter().map(|&(format, _)| format).chain(ours.events).collect();
    let mut media = Media::new("audio", local.rtp.port(), ours.protocol, &types);
    for &(PayloadType(format), codec) in ours.formats {
        media.set("rtpmap", format_args!("{format} {}/{}", codec.name(), codec.clock()));
    }
    if let Some(PayloadType(events)) = ours.events {
        media.set("rtpmap", format_args!("{events} telephone-event/8000"));
        media.set("fmtp", format_args!("{events} 0-16"));
    }
    media.set("ptime", PTIME.as_millis());
    if ours.mux {
        media.flag("rtcp-mux");
    } else if local.rtcp != SocketAddr::new(local.rtp.ip(), local.rtp.port().saturating_add(1)) {
        media.set("rtcp", format_args!("{} {}", local.rtcp.port(), Connection(local.rtcp.ip())));
    }
    if ours.voip_metrics {
        media.set("rtcp-xr", "voip-metrics");
    }
    media.attributes.push(Attribute { name: ours.direction.word().to_owned(), value: None });
    media
}

fn session(local: &LocalAudio, media: Vec<Media>) -> Session {
    let address = local.rtp.ip();
    let origin = Origin { session_id: local.session_id, version: local.version, address };
    Session { origin, connection: Some(address), attributes: Vec::new(), media }
}

/// The first audio section over plain RTP that is in use.
fn usable_section(session: &Session) -> Result<usize, AudioRefusal> {
    let mut refusal = AudioRefusal::NoAudio;
    for (index, media) in session.media.iter().enumerate() {
        if !media.kind.eq_ignore_ascii_case("audio") {
            continue;
        }
        let plain = ["RTP/AVP", "RTP/AVPF"].iter().any(|name| media.protocol.eq_ignore_ascii_case(name));
        match (plain, media.port) {
            (true, 1..) => return Ok(index),
            (_, 0) => refusal = AudioRefusal::Refused,
            (false, _) => refusal = AudioRefusal::Encrypted,
        }
    }
    Err(refusal)
}

/// The attribute may stand for the session or for the section, with other formats beside it.
fn wants_metrics(session: &Session, media: &Media) -> bool {
    let lists = |line: &Attribute| {
        line.name.eq_ignore_ascii_case("rtcp-xr")
            && line
                .value
                .as_ref()
                .is_some_and(|it| it.split_ascii_whitespace().any(|it| it == "voip-metrics"))
    };
    media.attributes.iter().chain(&session.attributes).any(lists)
}

fn is_events(media: &Media, format: PayloadType) -> bool {
    let map = media.rtpmap(format);
    map.is_some_and(|map| map.encoding.eq_ignore_ascii_case("telephone-event") && map.clock == 8000)
}

fn direction_of(session: &Session, media: &Media) -> Direction {
    let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    let in_lines = |lines: &[Attribute]| {
        lines.iter().find_map(|line| all.into_iter().find(|d| line.name.eq_ignore_ascii_case(d.word())))
    };
    in_lines(&media.attributes).or_else(|| in_lines(&session.attributes)).unwrap_or(Direction::SendRecv)
}

#[cfg(test)]
mod tests;
