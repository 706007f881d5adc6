//! What Meta demands of a business SDP (reference §12.3): read strictly, refused with the documented codes.

use std::fmt::Write as _;

/// Which half of the offer/answer exchange the business wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// With `connect`.
    Offer,
    /// With `pre_accept` and `accept`.
    Answer,
}

/// `a=setup` of the business (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// The business is the DTLS client.
    Active,
    /// The business is the DTLS server.
    Passive,
    /// The business leaves it to us.
    ActPass,
}

/// The business's side of a call, as its SDP states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Business {
    /// The first half of the ICE credentials.
    pub(super) ufrag: String,
    /// SHA-256 of the certificate that the DTLS handshake must show.
    pub(super) fingerprint: [u8; 32],
    /// Who starts DTLS.
    pub(super) setup: Setup,
    /// The name of the audio section.
    pub(super) mid: String,
    /// Payload type of Opus.
    pub(super) opus: u8,
    /// Payload type of telephone-event/8000; Meta uses 126 where the business names none.
    pub(super) telephone_event: u8,
    /// Payload types of the m-line with their rtpmap, in order, for our answer.
    pub(super) formats: Vec<(u8, String)>,
    /// Whether `a=ice-options:trickle` was there; Meta's answer echoes it.
    pub(super) trickle: bool,
}

/// Why an SDP is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SdpFault {
    /// Code 100, invalid parameter: the text is no SDP that Meta reads.
    Malformed(String),
    /// Code 138008, subcode 2593093, "SDP Validation error".
    Invalid(String),
}

impl SdpFault {
    /// What stands in `error_data.details`.
    pub(super) fn details(&self) -> &str {
        match self {
            Self::Malformed(text) | Self::Invalid(text) => text,
        }
    }
}

fn malformed(text: &str) -> SdpFault {
    SdpFault::Malformed(text.to_owned())
}

fn invalid(text: impl Into<String>) -> SdpFault {
    SdpFault::Invalid(text.into())
}

/// Reads and judges what the business sent.
///
/// # Errors
///
/// The first rule of reference §12.3 that the text breaks.
pub(super) fn read_business(sdp: &str, half: Half) -> Result<Business, SdpFault> {
    let lines = split_lines(sdp)?;
    let media: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("m=")).collect();
    let [media] = media[..] else {
        return Err(malformed("exactly one media section is allowed, and it must be audio"));
    };
    let formats = read_formats(media, &lines)?;
    let opus = formats
        .iter()
        .find(|(_, map)| map.eq_ignore_ascii_case("opus/48000/2"))
        .map(|(pt, _)| *pt)
        .ok_or_else(|| malformed("opus/48000/2 must be among the payload types"))?;
    let telephone_event = formats
        .iter()
        .find(|(_, map)| map.to_ascii_lowercase().starts_with("telephone-event/"))
        .map_or(126, |(pt, _)| *pt);
    check_media_rules(&lines)?;
    let mid = attribute(&lines, "mid").ok_or_else(|| malformed("a=mid is missing"))?.to_owned();
    if half == Half::Answer && mid != super::offer::MID {
        return Err(malformed("the answer must repeat the offer's a=mid:audio"));
    }
    if let Some(group) = attribute(&lines, "group") {
        let mut words = group.split(' ');
        if words.next() != Some("BUNDLE") || words.next() != Some(mid.as_str()) || words.next().is_some() {
            return Err(malformed("a=group:BUNDLE must name the one mid"));
        }
    }
    let setup = read_setup(&lines, half)?;
    let (ufrag, _) = read_credentials(&lines)?;
    Ok(Business {
        ufrag,
        fingerprint: read_fingerprint(&lines)?,
        setup,
        mid,
        opus,
        telephone_event,
        formats,
        trickle: attributes(&lines, "ice-options").any(|v| v.split(' ').any(|w| w == "trickle")),
    })
}

fn split_lines(sdp: &str) -> Result<Vec<&str>, SdpFault> {
    if !sdp.ends_with("\r\n") {
        return Err(malformed("every SDP line, the last one too, must end with CRLF"));
    }
    let lines: Vec<&str> = sdp.trim_end_matches("\r\n").split("\r\n").collect();
    if lines.iter().any(|line| line.contains(['\r', '\n'])) {
        return Err(malformed("every SDP line must end with CRLF, not with a lone CR or LF"));
    }
    if lines.iter().any(|line| line.as_bytes().get(1) != Some(&b'=')) {
        return Err(malformed("an SDP line is not of the form type=value"));
    }
    if lines.first() != Some(&"v=0") || !lines.get(1).is_some_and(|l| l.starts_with("o=")) {
        return Err(malformed("SDP must begin with v=0 and o="));
    }
    for needed in ["s=", "t="] {
        if !lines.iter().any(|line| line.starts_with(needed)) {
            return Err(SdpFault::Malformed(format!("the {needed} line is missing")));
        }
    }
    Ok(lines)
}

fn attributes<'a>(lines: &'a [&'a str], name: &'a str) -> impl Iterator<Item = &'a str> {
    lines.iter().filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

fn attribute<'a>(lines: &'a [&'a str], name: &'a str) -> Option<&'a str> {
    attributes(lines, name).next()
}

fn has_flag(lines: &[&str], name: &str) -> bool {
    lines.iter().any(|line| line.strip_prefix("a=") == Some(name))
}

fn read_formats(media: &str, lines: &[&str]) -> Result<Vec<(u8, String)>, SdpFault> {
    let words: Vec<&str> = media.split(' ').collect();
    let [kind, port, protocol, payloads @ ..] = &words[..] else {
        return Err(malformed("the m= line is incomplete"));
    };
    if *kind != "audio" || port.parse::<u16>().is_err() {
        return Err(malformed("the media section must be audio with a port number"));
    }
    if !matches!(*protocol, "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "RTP/SAVPF") {
        return Err(malformed("the media protocol must be UDP/TLS/RTP/SAVPF"));
    }
    if *port == "0" {
        return Err(malformed("the audio section is disabled (port 0)"));
    }
    let mut formats = Vec::new();
    for payload in payloads {
        let pt: u8 = payload.parse().map_err(|_| malformed("a payload type is not a number"))?;
        let map = attributes(lines, "rtpmap")
            .find_map(|value| value.split_once(' ').filter(|(number, _)| number == payload))
            .map(|(_, map)| map.trim().to_owned())
            .ok_or_else(|| invalid(format!("payload type {pt} has no a=rtpmap of a supported codec")))?;
        let lower = map.to_ascii_lowercase();
        match lower.as_str() {
            "opus/48000/2" | "telephone-event/8000" => formats.push((pt, map)),
            _ if lower.starts_with("telephone-event/") => {
                return Err(invalid("telephone-event must have the clock 8000"));
            }
            _ if lower.starts_with("opus/") => return Err(invalid("Opus must be written opus/48000/2")),
            _ => return Err(invalid(format!("codec {map} is not supported on this number"))),
        }
    }
    Ok(formats)
}

fn check_media_rules(lines: &[&str]) -> Result<(), SdpFault> {
    if has_flag(lines, "ice-lite") {
        return Err(invalid("a=ice-lite: the business must be a full ICE agent"));
    }
    if ["sendonly", "recvonly", "inactive"].iter().any(|flag| has_flag(lines, flag)) {
        return Err(invalid("the media direction must be sendrecv"));
    }
    if !has_flag(lines, "rtcp-mux") {
        return Err(invalid("a=rtcp-mux is missing"));
    }
    if attribute(lines, "crypto").is_some() {
        return Err(invalid("a=crypto: this number uses DTLS, not SDES"));
    }
    if attribute(lines, "ptime").is_some_and(|value| value.trim() != "20") {
        return Err(invalid("a=ptime must be 20"));
    }
    if attribute(lines, "maxptime").and_then(|v| v.trim().parse::<u32>().ok()).is_some_and(|v| v < 20) {
        return Err(invalid("a=maxptime must not be below 20"));
    }
    let mut sources: Vec<&str> =
        attributes(lines, "ssrc").filter_map(|value| value.split(' ').next()).collect();
    sources.sort_unstable();
    sources.dedup();
    if sources.len() > 1 {
        return Err(invalid("only one SSRC is allowed"));
    }
    Ok(())
}

fn read_setup(lines: &[&str], half: Half) -> Result<Setup, SdpFault> {
    match (half, attribute(lines, "setup")) {
        (Half::Offer, Some("actpass")) => Ok(Setup::ActPass),
        (Half::Offer, _) => Err(invalid("a=setup of an offer must be actpass")),
        (Half::Answer, Some("active")) => Ok(Setup::Active),
        (Half::Answer, Some("passive")) => Ok(Setup::Passive),
        (Half::Answer, _) => Err(invalid("a=setup of an answer must be active or passive")),
    }
}

fn read_credentials(lines: &[&str]) -> Result<(String, String), SdpFault> {
    let is_ice = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    let ufrag = attribute(lines, "ice-ufrag").ok_or_else(|| malformed("a=ice-ufrag is missing"))?;
    let pwd = attribute(lines, "ice-pwd").ok_or_else(|| malformed("a=ice-pwd is missing"))?;
    if !(4..=256).contains(&ufrag.len()) || !is_ice(ufrag) {
        return Err(malformed("a=ice-ufrag must be 4 to 256 ICE characters"));
    }
    if !(22..=256).contains(&pwd.len()) || !is_ice(pwd) {
        return Err(malformed("a=ice-pwd must be 22 to 256 ICE characters"));
    }
    Ok((ufrag.to_owned(), pwd.to_owned()))
}

fn read_fingerprint(lines: &[&str]) -> Result<[u8; 32], SdpFault> {
    let found: Vec<&str> = attributes(lines, "fingerprint").collect();
    let [one] = found[..] else {
        return Err(invalid(format!("exactly one a=fingerprint line is allowed, {} found", found.len())));
    };
    let parsed = one.split_once(' ').filter(|(hash, _)| hash.eq_ignore_ascii_case("sha-256")).and_then(
        |(_, bytes)| {
            let pairs: Vec<u8> = bytes
                .trim()
                .split(':')
                .map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok() } else { None })
                .collect::<Option<_>>()?;
            <[u8; 32]>::try_from(pairs).ok()
        },
    );
    parsed.ok_or_else(|| invalid("a=fingerprint must be sha-256 with 32 bytes"))
}

/// A fingerprint as SDP writes it: upper-case pairs with colons.
pub(super) fn print_fingerprint(bytes: &[u8; 32]) -> String {
    bytes.iter().enumerate().fold(String::with_capacity(95), |mut text, (i, byte)| {
        let _infallible = write!(text, "{}{byte:02X}", if i == 0 { "" } else { ":" });
        text
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The answer that reference §12.3 advises.
    pub(in crate::simulator) fn good_answer() -> String {
        let fingerprint = print_fingerprint(&[0xAB; 32]);
        format!(
            "v=0\r\no=- 5501 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE audio\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=mid:audio\r\na=sendrecv\r\na=rtcp-mux\r\na=ice-ufrag:Gw4t\r\na=ice-pwd:R3placeWith22orMoreChars\r\n\
             a=candidate:1 1 udp 2130706431 198.51.100.20 40122 typ host\r\na=fingerprint:sha-256 {fingerprint}\r\n\
             a=setup:active\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=20;useinbandfec=1\r\na=ptime:20\r\n\
             a=maxptime:20\r\na=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-16\r\na=ssrc:773311 cname:gw\r\n"
        )
    }

    fn refusal(from: &str, to: &str, half: Half) -> SdpFault {
        let broken = good_answer().replace(from, to);
        assert_ne!(broken, good_answer(), "{from} is in the model answer");
        read_business(&broken, half).expect_err("must be refused")
    }

    #[test]
    fn the_advised_answer_is_taken_as_it_is() {
        let business = read_business(&good_answer(), Half::Answer).expect("good");
        assert_eq!((business.opus, business.telephone_event), (111, 126));
        assert_eq!((business.setup, business.ufrag.as_str()), (Setup::Active, "Gw4t"));
        assert_eq!(business.fingerprint, [0xAB; 32]);
    }

    #[test]
    fn the_hash_name_may_be_upper_case() {
        let text = good_answer().replace("sha-256", "SHA-256");
        assert!(read_business(&text, Half::Answer).is_ok());
    }

    #[test]
    fn each_rule_of_the_reference_refuses_its_breach() {
        let print = print_fingerprint(&[0xAB; 32]);
        let second_print = format!("a=fingerprint:sha-256 {print}\r\na=fingerprint:sha-512 {print}\r\n");
        let cases: &[(&str, &str, bool)] = &[
            ("\r\nt=0 0", "\nt=0 0", false),
            ("a=ssrc:773311 cname:gw\r\n", "a=ssrc:773311 cname:gw", false),
            ("a=setup:active", "a=setup:actpass", true),
            ("a=ptime:20", "a=ptime:40", true),
            ("m=audio 9", "m=video 9", false),
            ("m=audio 9", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=audio 9", false),
            ("opus/48000/2", "opus/16000/1", true),
            ("111 126", "111 126 0", true),
            ("telephone-event/8000", "telephone-event/48000", true),
            ("a=sendrecv", "a=recvonly", true),
            ("a=sendrecv", "a=ice-lite", true),
            ("a=rtcp-mux\r\n", "", true),
            ("a=mid:audio", "a=mid:0", false),
            ("R3placeWith22orMoreChars", "short", false),
            ("cname:gw\r\n", "cname:gw\r\na=ssrc:9 cname:gw\r\n", true),
            (&format!("a=fingerprint:sha-256 {print}\r\n"), &second_print, true),
            (&format!("a=fingerprint:sha-256 {print}\r\n"), "", true),
        ];
        for (from, to, is_138008) in cases {
            let fault = refusal(from, to, Half::Answer);
            assert_eq!(matches!(fault, SdpFault::Invalid(_)), *is_138008, "{from:?} -> {to:?}: {fault:?}");
        }
    }

    #[test]
    fn an_offer_must_leave_the_dtls_role_open() {
        let offer = good_answer().replace("setup:active", "setup:actpass");
        assert_eq!(read_business(&offer, Half::Offer).map(|b| b.setup), Ok(Setup::ActPass));
        assert!(read_business(&good_answer(), Half::Offer).is_err());
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        let text = good_answer();
        for cut in 0..text.len() {
            let _verdict = read_business(&format!("{}\r\n", &text[..cut]), Half::Answer);
            let _verdict = read_business(&text[cut..], Half::Answer);
        }
    }
}
