//! The audio section towards Meta: what its offers and answers say, and what ours must look like
//! (reference §12.1 to §12.3).

use super::session::{Connection, Media, Origin, Session};
pub use super::transport::{FingerprintCase, LocalTransport, RemoteTransport, Setup};
use crate::rtp::{PayloadType, Ssrc};

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

/// What the far end's audio section says. Prints without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteWebRtc {
    /// ICE and DTLS.
    pub transport: RemoteTransport,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalWebRtc {
    /// The number in our `o=` line.
    pub session_id: u64,
    /// ICE and DTLS.
    pub transport: LocalTransport,
    /// The one SSRC of the call.
    pub ssrc: Ssrc,
    /// Its RTCP name.
    pub cname: String,
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
    let transport = RemoteTransport::read(&session, media)?;
    let number = |name| media.parameter(opus, name).and_then(|value| value.parse().ok());
    Ok(RemoteWebRtc {
        transport,
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
        setup: remote.transport.setup.reply(),
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
    local.transport.write(&mut media, section.setup);
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

#[cfg(test)]
mod tests;
