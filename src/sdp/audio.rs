//! The audio section of a SIP leg: offer and answer (RFC 3264), plain or encrypted.
//!
//! Phones differ most here, so reading forgives much: static payload types without `rtpmap`, hold
//! by address 0.0.0.0 as in RFC 2543, several sections, RTCP on its own address.

mod keying;
mod opus;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use self::keying::{Guard, choose};
pub use self::keying::{Keying, LocalKeying};
pub use self::opus::OpusWishes;
use self::opus::OurOpus;
use super::crypto::{Crypto, cryptos};
use super::protection::{Protection, ProtectionRule};
use super::session::{Attribute, Connection, Media, Origin, Session};
pub use crate::codec::AudioCodec;
use crate::rtp::PayloadType;

/// Our events in offers: 101 at 8 kHz is what most phones use themselves, the other stands beside Opus (rule 18).
const OUR_EVENTS: [EventFormat; 2] = [
    EventFormat { payload_type: PayloadType(101), clock: 8000 },
    EventFormat { payload_type: PayloadType(110), clock: 48_000 },
];
/// RFC 3389 §5: comfort noise beside a codec with a clock of 8 kHz.
const COMFORT_NOISE: PayloadType = PayloadType(13);
/// Packet length where nobody says otherwise, and the only one that we ask for.
const PTIME: Duration = Duration::from_millis(20);
/// Packet lengths that we are willing to send.
const PTIME_RANGE: std::ops::RangeInclusive<u64> = 10..=60;

/// The payload type in our offers: RFC 3551's, and for Opus what browsers use.
const fn our_type(codec: AudioCodec) -> PayloadType {
    match codec {
        AudioCodec::Pcmu => PayloadType(0),
        AudioCodec::Pcma => PayloadType(8),
        AudioCodec::G722 => PayloadType(9),
        AudioCodec::Opus => PayloadType(111),
    }
}

/// The codec of a payload type: by its `rtpmap`, or by RFC 3551's table where there is none.
pub(super) fn codec_of(media: &Media, format: PayloadType) -> Option<AudioCodec> {
    AudioCodec::ALL.into_iter().find(|codec| match media.rtpmap(format) {
        Some(map) => {
            let name = map.encoding.eq_ignore_ascii_case(codec.name());
            // G.722 samples at 16 kHz, and some phones say so (RFC 3551 §4.5.2 tells them not to).
            let clock = map.clock == codec.clock() || (*codec == AudioCodec::G722 && map.clock == 16_000);
            name && clock && map.channels == codec.channels()
        }
        None => *codec != AudioCodec::Opus && format == our_type(*codec),
    })
}

/// Telephone events (RFC 4733) as one side writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFormat {
    /// Their payload type.
    pub payload_type: PayloadType,
    /// Ticks a second of their durations: 8000 or 48,000.
    pub clock: u32,
}

/// The events to send beside `codec`: on its own clock, else at 8 kHz.
fn events_beside(codec: AudioCodec, events: &[EventFormat]) -> Option<EventFormat> {
    let on = |clock| events.iter().copied().find(|it| it.clock == clock);
    on(codec.clock()).or_else(|| on(8000))
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
    /// Audio, but only encrypted (`RTP/SAVP`, `UDP/TLS/RTP/SAVPF`), and that is not wanted.
    Encrypted,
    /// Plain RTP, where encryption is required.
    Unencrypted,
    /// Keys that everybody on the way could read: the signalling is not encrypted (RFC 4568 §8.3).
    ReadableKeys,
    /// Encrypted by keys in the description, and no `a=crypto` line that we can do.
    NoCrypto,
    /// Encrypted by DTLS, without fingerprint or ICE that we can use.
    NoDtls,
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
    /// RFC 4733 events that we can write, in its order.
    pub telephone_events: Vec<EventFormat>,
    /// RFC 3389 comfort noise on its static payload type.
    pub comfort_noise: bool,
    /// What it wishes of Opus, if that is among its formats.
    pub opus: OpusWishes,
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
    /// Bits a second of Opus that we ask for.
    pub opus_bitrate: u32,
    /// How it is protected.
    pub keying: LocalKeying,
}

/// Another codec that the far end has kept in its answer: it may go over to it at any time (RFC 3264 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The codec.
    pub codec: AudioCodec,
    /// With which we send it.
    pub payload_type: PayloadType,
    /// With which it comes.
    pub receive_payload_type: PayloadType,
    /// With which we send events beside it, if the far end takes them.
    pub telephone_event: Option<EventFormat>,
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
    /// The far end's other codecs; none where we answered, for we answer with one.
    pub alternatives: Vec<Alternative>,
    /// With which we send events, if the far end takes them.
    pub telephone_event: Option<EventFormat>,
    /// With which they may come.
    pub receive_telephone_events: [Option<EventFormat>; 2],
    /// Comfort noise may go both ways instead of silence.
    pub comfort_noise: bool,
    /// What the far end wishes of Opus.
    pub opus: OpusWishes,
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
    /// How the packets are protected.
    pub keying: Keying,
    /// In which of our ways that was said.
    pub protection: Protection,
}

impl RemoteAudio {
    /// Reads the first audio section that can be used.
    ///
    /// # Errors
    /// [`AudioRefusal`] for what stands in the way.
    pub fn read(sdp: &str) -> Result<Self, AudioRefusal> {
        let session = Session::parse(sdp).map_err(|_| AudioRefusal::NotSdp)?;
        let (index, theirs) = choose(&session, ProtectionRule::ANY)?;
        Self::of(&session, &session.media[index], theirs.is_dtls())
    }

    /// Where ICE finds the way, the address in the description says nothing.
    fn of(session: &Session, media: &Media, by_ice: bool) -> Result<Self, AudioRefusal> {
        let nowhere = by_ice.then(|| Origin::default().address);
        let ip = session.address(media).filter(|ip| !ip.is_multicast()).or(nowhere);
        let ip = ip.ok_or(AudioRefusal::NoAddress)?;
        let rtp = SocketAddr::new(ip, media.port);
        let rtcp_mux = media.has("rtcp-mux");
        let next = SocketAddr::new(ip, media.port.saturating_add(1));
        let rtcp = if rtcp_mux { rtp } else { media.rtcp(ip).filter(|a| a.port() != 0).unwrap_or(next) };
        let direction = direction_of(session, media);
        let millis = |name| {
            let millis = session.value(media, name)?.split('.').next()?.parse::<u64>().ok();
            millis.filter(|&it| it != 0)
        };
        let ptime = millis("ptime").unwrap_or(20).min(millis("maxptime").unwrap_or(u64::MAX));
        let ptime = Duration::from_millis(ptime.clamp(*PTIME_RANGE.start(), *PTIME_RANGE.end()));
        let formats: Vec<_> =
            media.payload_types().filter_map(|format| Some((format, codec_of(media, format)?))).collect();
        let opus = formats.iter().find(|(_, codec)| *codec == AudioCodec::Opus);
        Ok(Self {
            rtp,
            rtcp,
            rtcp_mux,
            direction: if ip.is_unspecified() && !by_ice { direction.deaf() } else { direction },
            opus: opus.map_or_else(OpusWishes::default, |(format, _)| OpusWishes::of(media, *format)),
            formats,
            telephone_events: media.payload_types().filter_map(|format| events_of(media, format)).collect(),
            comfort_noise: media.payload_types().any(|format| format == COMFORT_NOISE),
            ptime,
            voip_metrics: wants_metrics(session, media),
            origin: session.origin,
        })
    }
}

/// The events of our offers.
fn our_events(local: &LocalAudio) -> &'static [EventFormat] {
    if local.codecs.contains(&AudioCodec::Opus) { &OUR_EVENTS } else { &OUR_EVENTS[..1] }
}

/// Our offer of plain RTP.
#[must_use]
pub fn write_offer(local: &LocalAudio) -> String {
    write_offer_as(local, Protection::Clear)
}

/// Our offer.
#[must_use]
pub fn write_offer_as(local: &LocalAudio, protection: Protection) -> String {
    let (guard, protocol) = Guard::offering(&local.keying, protection);
    let formats: Vec<_> = local.codecs.iter().map(|&codec| (our_type(codec), codec)).collect();
    let ours = Ours {
        formats: &formats,
        events: our_events(local),
        comfort_noise: false,
        direction: Direction::SendRecv,
        protocol,
        mux: local.rtp == local.rtcp || matches!(guard, Guard::Dtls { .. }),
        voip_metrics: local.voip_metrics,
        guard,
    };
    session(local, vec![section(local, &ours)], &ours).to_string()
}

/// Reads the answer to [`write_offer`] of the same `local`.
///
/// # Errors
/// [`AudioRefusal`] if the answer refuses the audio or takes nothing that was offered.
pub fn read_answer(local: &LocalAudio, sdp: &str) -> Result<Negotiated, AudioRefusal> {
    let theirs = Session::parse(sdp).map_err(|_| AudioRefusal::NotSdp)?;
    let (chosen, protected) = choose(&theirs, local.keying.rule)?;
    let by_ice = protected.is_dtls();
    let remote = RemoteAudio::of(&theirs, &theirs.media[chosen], by_ice)?;
    let keying = protected.agreed(&local.keying)?;
    let offered = |&&(_, codec): &&(PayloadType, AudioCodec)| local.codecs.contains(&codec);
    let mut formats = remote.formats.iter().filter(offered).map(|&(payload_type, codec)| Alternative {
        codec,
        payload_type,
        receive_payload_type: our_type(codec),
        telephone_event: events_beside(codec, &remote.telephone_events),
    });
    let first = formats.next().ok_or(AudioRefusal::NoCommonCodec)?;
    let alternatives = formats.filter(|it| it.codec != first.codec).collect();
    let rtcp_mux = by_ice || remote.rtcp_mux && local.rtp == local.rtcp;
    // An answerer that claims rtcp-mux unasked gets RTCP where it would be without.
    let unmuxed = SocketAddr::new(remote.rtp.ip(), remote.rtp.port().saturating_add(1));
    Ok(Negotiated {
        codec: first.codec,
        payload_type: first.payload_type,
        receive_payload_type: first.receive_payload_type,
        alternatives,
        telephone_event: first.telephone_event,
        receive_telephone_events: OUR_EVENTS
            .map(|ours| remote.telephone_events.iter().any(|it| it.clock == ours.clock).then_some(ours)),
        // Our offers have none, so that phones do not leave their silence out.
        comfort_noise: false,
        opus: remote.opus,
        remote_rtp: remote.rtp,
        remote_rtcp: if remote.rtcp_mux && !rtcp_mux { unmuxed } else { remote.rtcp },
        rtcp_mux,
        direction: remote.direction.reversed(),
        ptime: remote.ptime,
        voip_metrics: local.voip_metrics && remote.voip_metrics,
        protection: keying.said_in(&theirs.media[chosen]),
        keying,
    })
}

/// Reads the answer to `said`, which we said as an offer though it may have been an answer before: a session
/// refresh repeats it (RFC 4028 §7.4), with the payload types of whoever offered first.
///
/// # Errors
/// As [`read_answer`].
pub fn read_answer_to(local: &LocalAudio, said: &str, sdp: &str) -> Result<Negotiated, AudioRefusal> {
    let mut local = Cow::Borrowed(local);
    let lines = lines_of(said);
    if !lines.is_empty() {
        local.to_mut().keying.crypto = lines;
    }
    let mut agreed = read_answer(&local, sdp)?;
    let Ok(ours) = RemoteAudio::read(said) else { return Ok(agreed) };
    let said = |of: AudioCodec| ours.formats.iter().find(|(_, codec)| *codec == of).map(|(it, _)| *it);
    agreed.receive_payload_type = said(agreed.codec).unwrap_or(agreed.receive_payload_type);
    for it in &mut agreed.alternatives {
        it.receive_payload_type = said(it.codec).unwrap_or(it.receive_payload_type);
    }
    for event in agreed.receive_telephone_events.iter_mut().flatten() {
        if let Some(said) = ours.telephone_events.iter().find(|it| it.clock == event.clock) {
            *event = *said;
        }
    }
    Ok(agreed)
}

/// The keys in a description of ours, under the tags that it gave them.
fn lines_of(said: &str) -> Vec<Crypto> {
    Session::parse(said).map(|session| session.media.iter().flat_map(cryptos).collect()).unwrap_or_default()
}

/// Answers the far end's offer: one codec, its first that we know; every other section is refused.
///
/// # Errors
/// [`AudioRefusal`] if there is nothing to agree on (SIP 488).
pub fn answer_offer(local: &LocalAudio, offer: &str) -> Result<(String, Negotiated), AudioRefusal> {
    let theirs = Session::parse(offer).map_err(|_| AudioRefusal::NotSdp)?;
    let (chosen, protected) = choose(&theirs, local.keying.rule)?;
    let by_ice = protected.is_dtls();
    let remote = RemoteAudio::of(&theirs, &theirs.media[chosen], by_ice)?;
    let keying = protected.answered(&local.keying)?;
    let known = |&&(_, codec): &&(PayloadType, AudioCodec)| local.codecs.contains(&codec);
    let &(payload_type, codec) = remote.formats.iter().find(known).ok_or(AudioRefusal::NoCommonCodec)?;
    let direction = remote.direction.reversed();
    let events = events_beside(codec, &remote.telephone_events);
    let ours = Ours {
        formats: &[(payload_type, codec)],
        events: events.as_slice(),
        comfort_noise: remote.comfort_noise && codec.clock() == 8000,
        direction,
        protocol: &theirs.media[chosen].protocol,
        mux: remote.rtcp_mux || by_ice,
        voip_metrics: local.voip_metrics && remote.voip_metrics,
        guard: Guard::answering(&local.keying, &keying, &theirs.media[chosen]),
    };
    let sections = theirs
        .media
        .iter()
        .enumerate()
        .map(|(index, media)| if index == chosen { section(local, &ours) } else { media.refused() });
    let answer = session(local, sections.collect(), &ours).to_string();
    let (comfort_noise, voip_metrics) = (ours.comfort_noise, ours.voip_metrics);
    let negotiated = Negotiated {
        codec,
        payload_type,
        receive_payload_type: payload_type,
        alternatives: Vec::new(),
        telephone_event: events,
        receive_telephone_events: [events, None],
        comfort_noise,
        opus: remote.opus,
        remote_rtp: remote.rtp,
        remote_rtcp: remote.rtcp,
        rtcp_mux: remote.rtcp_mux || by_ice,
        direction,
        ptime: remote.ptime,
        voip_metrics,
        protection: keying.said_in(&theirs.media[chosen]),
        keying,
    };
    Ok((answer, negotiated))
}

/// What our section differs in.
struct Ours<'a> {
    formats: &'a [(PayloadType, AudioCodec)],
    events: &'a [EventFormat],
    comfort_noise: bool,
    direction: Direction,
    protocol: &'a str,
    mux: bool,
    voip_metrics: bool,
    guard: Guard<'a>,
}

fn section(local: &LocalAudio, ours: &Ours<'_>) -> Media {
    let events = ours.events.iter().map(|it| it.payload_type);
    let types = ours.formats.iter().map(|&(format, _)| format).chain(events);
    let types: Vec<_> = types.chain(ours.comfort_noise.then_some(COMFORT_NOISE)).collect();
    let mut media = Media::new("audio", local.rtp.port(), ours.protocol, &types);
    for &(PayloadType(format), codec) in ours.formats {
        let (name, clock) = (codec.name(), codec.clock());
        if codec == AudioCodec::Opus {
            let parameters = OurOpus { max_average_bitrate: local.opus_bitrate };
            media.set("rtpmap", format_args!("{format} {name}/{clock}/{}", codec.channels()));
            media.set("fmtp", format_args!("{format} {parameters}"));
        } else {
            media.set("rtpmap", format_args!("{format} {name}/{clock}"));
        }
    }
    for EventFormat { payload_type: PayloadType(format), clock } in ours.events {
        media.set("rtpmap", format_args!("{format} telephone-event/{clock}"));
        media.set("fmtp", format_args!("{format} 0-16"));
    }
    if ours.comfort_noise {
        media.set("rtpmap", format_args!("{} CN/8000", COMFORT_NOISE.0));
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
    ours.guard.write(&mut media);
    media.flag(ours.direction.word());
    media
}

fn session(local: &LocalAudio, media: Vec<Media>, ours: &Ours<'_>) -> Session {
    let address = local.rtp.ip();
    let origin = Origin { session_id: local.session_id, version: local.version, address };
    Session { origin, connection: Some(address), attributes: ours.guard.session_lines(), media }
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

fn events_of(media: &Media, format: PayloadType) -> Option<EventFormat> {
    let map = media.rtpmap(format)?;
    let known = map.encoding.eq_ignore_ascii_case("telephone-event") && matches!(map.clock, 8000 | 48_000);
    known.then_some(EventFormat { payload_type: format, clock: map.clock })
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
