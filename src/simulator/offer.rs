//! The SDP that the stand-in writes: both shapes of Meta's offer (reference §12.1) and its answer (§12.2).

use std::net::SocketAddr;

use serde::Deserialize;

use super::sdp::{Business, print_fingerprint};

/// The name of Meta's audio section.
pub(super) const MID: &str = "audio";

/// An IPv6 candidate of the documentation prefix: always first by priority, never reachable.
const UNREACHABLE_V6: &str = "2001:db8:f312:131:face:b00c:0:1";

/// Which generation of Meta's offer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    /// Live traffic of 2025 and 2026: `=` in `ice-pwd`, no header extensions.
    #[default]
    New,
    /// 2024: header extensions, `mslabel`/`label`, credentials after the candidates.
    Old,
}

/// Our side of one call, for the SDP.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    /// Where media is received: the one socket of the stand-in.
    pub(super) media: SocketAddr,
    /// First half of the ICE credentials; names the call on the shared socket.
    pub(super) ufrag: String,
    /// Second half; ends in `=` in the new shape.
    pub(super) pwd: String,
    /// SHA-256 of our certificate.
    pub(super) fingerprint: [u8; 32],
    /// The stream that the user's voice has.
    pub(super) ssrc: u32,
    /// `actpass`, `active` or `passive`.
    pub(super) setup: &'static str,
    /// Milliseconds since 1970; Meta writes them as the session id.
    pub(super) session: i64,
    /// The media stream id.
    pub(super) stream: String,
}

fn top(ours: &Ours, formats: &str) -> String {
    let family = if ours.media.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (ours.media.ip(), ours.media.port());
    format!(
        "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {MID}\r\na=msid-semantic: WMS {}\r\n\
         a=ice-lite\r\nm=audio {port} UDP/TLS/RTP/SAVPF {formats}\r\nc=IN {family} {ip}\r\na=rtcp:9 IN IP4 0.0.0.0\r\n",
        ours.session, ours.stream
    )
}

fn candidates(ours: &Ours) -> String {
    let (ip, port) = (ours.media.ip(), ours.media.port());
    let tail = "typ host generation 0 network-cost 50";
    format!(
        "a=candidate:1177000111 1 udp 2122260223 {ip} {port} {tail}\r\n\
         a=candidate:2288000222 1 udp 2122262783 {UNREACHABLE_V6} {port} {tail}\r\n"
    )
}

/// The offer of a user-initiated call.
pub(super) fn write_offer(ours: &Ours, shape: Shape) -> String {
    let Ours { ufrag, pwd, ssrc, setup, stream, .. } = ours;
    let fingerprint = print_fingerprint(&ours.fingerprint);
    let security = format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\n"
    );
    let opening = format!("{}{}{security}a=mid:{MID}\r\n", top(ours, "111 126"), candidates(ours));
    match shape {
        Shape::New => format!(
            "{opening}a=sendrecv\r\na=msid:{stream} WhatsAppTrack1\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
             a=rtcp-fb:111 transport-cc\r\na=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;\
             sprop-maxcapturerate=16000;useinbandfec=1\r\na=rtpmap:126 telephone-event/8000\r\na=maxptime:20\r\n\
             a=ptime:20\r\na=ssrc:{ssrc} cname:WhatsAppAudioStream1\r\n"
        ),
        Shape::Old => format!(
            "{opening}a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
             a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
             a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=sendrecv\r\n\
             a=msid:{stream} WhatsAppTrack1\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
             a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:126 telephone-event/8000\r\na=maxptime:20\r\na=ptime:20\r\n\
             a=ssrc:{ssrc} cname:WhatsAppAudioStream1\r\na=ssrc:{ssrc} msid:{stream} WhatsAppTrack1\r\n\
             a=ssrc:{ssrc} mslabel:{stream}\r\na=ssrc:{ssrc} label:WhatsAppTrack1\r\n"
        ),
    }
}

/// The answer of a business-initiated call: payload types and `trickle` mirrored from the offer.
pub(super) fn write_answer(ours: &Ours, business: &Business) -> String {
    let Ours { ufrag, pwd, ssrc, setup, stream, .. } = ours;
    let fingerprint = print_fingerprint(&ours.fingerprint);
    let formats: Vec<String> = business.formats.iter().map(|(pt, _)| pt.to_string()).collect();
    let maps: String = business.formats.iter().map(|(pt, map)| format!("a=rtpmap:{pt} {map}\r\n")).collect();
    let trickle = if business.trickle { "a=ice-options:trickle\r\n" } else { "" };
    let opening = top(ours, &formats.join(" "))
        .replace(&format!("a=group:BUNDLE {MID}\r\n"), &format!("a=group:BUNDLE {}\r\n", business.mid));
    format!(
        "{opening}{}a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n{trickle}a=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:{setup}\r\na=mid:{}\r\na=sendrecv\r\na=msid:{stream} WhatsAppTrack1\r\na=rtcp-mux\r\n{maps}\
         a=fmtp:{} maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1\r\n\
         a=maxptime:20\r\na=ptime:20\r\na=ssrc:{ssrc} cname:WhatsAppAudioStream1\r\n",
        candidates(ours),
        business.mid,
        business.opus
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::sdp::{Half, read_business, tests::good_answer};

    fn ours() -> Ours {
        Ours {
            media: "127.0.0.1:3480".parse().expect("address"),
            ufrag: "Qx7TnLr2Vb9KsD4w".to_owned(),
            pwd: "9dX1s+0Zk2Yw7aQmUo3e1A==".to_owned(),
            fingerprint: [7; 32],
            ssrc: 1_047_000_001,
            setup: "actpass",
            session: 1_791_900_000_123,
            stream: "3f0c2a10".to_owned(),
        }
    }

    #[test]
    fn the_new_shape_has_the_padded_password_and_the_unreachable_candidate_ahead() {
        let offer = write_offer(&ours(), Shape::New);
        assert!(offer.contains("a=ice-pwd:9dX1s+0Zk2Yw7aQmUo3e1A==\r\n") && !offer.contains("a=extmap"));
        assert!(offer.contains("2122262783 2001:db8:f312:131:face:b00c:0:1 3480"));
        assert!(offer.contains("2122260223 127.0.0.1 3480"));
        assert!(
            offer.lines().position(|l| l == "a=ice-lite") < offer.lines().position(|l| l.starts_with("m="))
        );
    }

    #[test]
    fn the_old_shape_has_extensions_and_labels() {
        let offer = write_offer(&ours(), Shape::Old);
        assert!(
            offer.contains("a=extmap:3 ") && offer.contains(" mslabel:") && offer.contains("minptime=10;")
        );
        assert_eq!(offer.matches("m=audio").count(), 1);
    }

    #[test]
    fn every_line_ends_with_crlf_and_is_an_sdp_line() {
        let business = read_business(&good_answer(), Half::Answer).expect("good");
        let answer = write_answer(&ours(), &business);
        for text in [write_offer(&ours(), Shape::New), write_offer(&ours(), Shape::Old), answer] {
            assert!(text.ends_with("\r\n"));
            assert!(
                text.trim_end().split("\r\n").all(|l| l.as_bytes()[1] == b'=' && !l.contains('\n')),
                "{text}"
            );
        }
    }

    #[test]
    fn the_answer_mirrors_the_offers_numbers() {
        let offer = good_answer()
            .replace("setup:active", "setup:actpass")
            .replace("111", "96")
            .replace("126", "101")
            .replace("audio\r\nm=", "0\r\nm=")
            .replace("a=mid:audio", "a=mid:0");
        let business = read_business(&offer, Half::Offer).expect("offer");
        let answer = write_answer(&Ours { setup: "passive", ..ours() }, &business);
        assert!(answer.contains("SAVPF 96 101\r\n") && answer.contains("a=rtpmap:96 opus/48000/2\r\n"));
        assert!(
            answer.contains("a=mid:0\r\n")
                && answer.contains("BUNDLE 0\r\n")
                && answer.contains("a=setup:passive")
        );
    }
}
