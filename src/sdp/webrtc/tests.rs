use std::net::SocketAddr;

use super::*;

/// The shape of 2026 (reference §12.1), with IPv6 first by priority and a padded password.
const NEW: &str = "v=0\r\no=- 1791900000123 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE audio\r\n\
a=msid-semantic: WMS 3f0c2a10-1111-4222-8333-944455566677\r\na=ice-lite\r\n\
m=audio 3480 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 203.0.113.49\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
a=candidate:1177000111 1 udp 2122260223 203.0.113.49 3480 typ host generation 0 network-cost 50\r\n\
a=candidate:2288000222 1 udp 2122262783 2001:db8:f312:131:face:b00c:0:1 3480 typ host generation 0 network-cost 50\r\n\
a=ice-ufrag:Qx7TnLr2Vb9KsD4w\r\na=ice-pwd:9dX1s+0Zk2Yw7aQmUo3e1A==\r\n\
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:FF\r\n\
a=setup:actpass\r\na=mid:audio\r\na=sendrecv\r\na=msid:3f0c2a10-1111-4222-8333-944455566677 WhatsAppTrack1\r\n\
a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1\r\n\
a=rtpmap:126 telephone-event/8000\r\na=maxptime:20\r\na=ptime:20\r\na=ssrc:1047000001 cname:WhatsAppAudioStream1\r\n";

/// The shape of 2024: unpadded credentials, fragment behind the candidate, header extensions.
const OLD: &str = "v=0\no=- 1718000000001 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0\na=ice-lite\n\
m=audio 3482 UDP/TLS/RTP/SAVPF 96 9 0 8 110 126\nc=IN IP4 203.0.113.50\na=rtcp:9 IN IP4 0.0.0.0\n\
a=candidate:3 1 UDP 2122260223 203.0.113.50 3482 typ host generation 0 ufrag 6O0H network-cost 50\n\
a=ice-ufrag:6O0H\na=ice-pwd:TYCbtfOrBMPpfxFRgSbnuuTI\na=ice-options:trickle\n\
a=fingerprint:SHA-256 00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:ff\n\
a=setup:active\na=mid:0\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n\
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\na=sendrecv\na=rtcp-mux\n\
a=rtpmap:96 OPUS/48000/2\na=fmtp:96 minptime=10;useinbandfec=1\na=rtpmap:110 telephone-event/48000\n\
a=rtpmap:126 telephone-event/8000\na=ssrc:7 mslabel:x\na=ssrc:7 label:y\n";

fn local() -> LocalWebRtc {
    let mut fingerprint = [0xAB; 32];
    fingerprint[31] = 0x09;
    LocalWebRtc {
        session_id: 5501,
        transport: LocalTransport {
            ufrag: "Gw4t".to_owned(),
            pwd: "R3placeWith22orMoreChars".to_owned(),
            fingerprint,
            candidates: vec!["198.51.100.20:40122".parse().unwrap(), "[2001:db8::9]:40122".parse().unwrap()],
            fingerprint_case: FingerprintCase::Lower,
        },
        ssrc: Ssrc(773_311),
        cname: "gw".to_owned(),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn expected_fingerprint() -> [u8; 32] {
    let mut bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    bytes[31] = 0xFF;
    bytes
}

#[test]
fn metas_offer_of_2026_is_read_with_its_padded_password_and_ipv6_first() {
    let remote = read_webrtc(NEW).unwrap();
    assert_eq!(
        (remote.transport.ufrag.as_str(), remote.transport.pwd.as_str()),
        ("Qx7TnLr2Vb9KsD4w", "9dX1s+0Zk2Yw7aQmUo3e1A==")
    );
    assert_eq!(remote.transport.fingerprint, expected_fingerprint());
    assert_eq!(
        (remote.transport.setup, remote.transport.ice_lite, remote.mid.as_str()),
        (Setup::ActPass, true, "audio")
    );
    let ipv6 = address("[2001:db8:f312:131:face:b00c:0:1]:3480");
    assert_eq!(remote.transport.candidates, [ipv6, address("203.0.113.49:3480")]);
    assert_eq!((remote.opus, remote.telephone_event), (PayloadType(111), Some((PayloadType(126), 8000))));
    assert_eq!((remote.max_average_bitrate, remote.max_playback_rate), (Some(20_000), Some(16_000)));
    assert_eq!((remote.in_band_fec, remote.ssrc), (true, Some(Ssrc(1_047_000_001))));
}

#[test]
fn metas_answer_of_2024_is_read_with_its_own_numbers_and_role() {
    let remote = read_webrtc(OLD).unwrap();
    assert_eq!(
        (remote.transport.ufrag.as_str(), remote.transport.pwd.as_str()),
        ("6O0H", "TYCbtfOrBMPpfxFRgSbnuuTI")
    );
    assert_eq!(remote.transport.fingerprint, expected_fingerprint());
    assert_eq!((remote.transport.setup, remote.mid.as_str()), (Setup::Active, "0"));
    assert_eq!((remote.opus, remote.telephone_event), (PayloadType(96), Some((PayloadType(126), 8000))));
    assert_eq!((remote.max_average_bitrate, remote.ssrc), (None, Some(Ssrc(7))));
}

#[test]
fn the_answer_is_the_one_that_the_reference_aims_for() {
    let answer = write_answer(&local(), &read_webrtc(NEW).unwrap());
    let expected = format!(
        "v=0\r\no=- 5501 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE audio\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=mid:audio\r\n\
         a=sendrecv\r\na=rtcp-mux\r\na=ice-ufrag:Gw4t\r\na=ice-pwd:R3placeWith22orMoreChars\r\n\
         a=candidate:1 1 udp 2130706431 198.51.100.20 40122 typ host\r\n\
         a=candidate:2 1 udp 2130706175 2001:db8::9 40122 typ host\r\n\
         a=fingerprint:sha-256 {}09\r\na=setup:active\r\na=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 minptime=20;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000;maxaveragebitrate=20000\r\n\
         a=ptime:20\r\na=maxptime:20\r\na=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-16\r\n\
         a=ssrc:773311 cname:gw\r\n",
        "AB:".repeat(31)
    );
    assert_eq!(answer, expected);
}

#[test]
fn an_answer_echoes_mid_and_payload_types_and_takes_the_role_that_is_left() {
    let answer = write_answer(&local(), &read_webrtc(OLD).unwrap());
    let back = read_webrtc(&answer).unwrap();
    assert_eq!((back.opus, back.telephone_event), (PayloadType(96), Some((PayloadType(126), 8000))));
    assert_eq!((back.mid.as_str(), back.transport.setup), ("0", Setup::Passive));
    assert!(!answer.contains("transport-cc") && !answer.contains("extmap") && !answer.contains("trickle"));
    assert_eq!(answer.matches("a=fingerprint:").count(), 1);

    let mut offer = read_webrtc(NEW).unwrap();
    (offer.telephone_event, offer.mid) = (None, String::new());
    let answer = write_answer(&local(), &offer);
    assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"));
    assert!(!answer.contains("telephone-event") && !answer.contains("BUNDLE") && !answer.contains("a=mid"));
}

#[test]
fn an_offer_leaves_the_role_open_and_can_spell_the_hash_in_capitals() {
    let mut upper = local();
    upper.transport.fingerprint_case = FingerprintCase::Upper;
    let offer = write_offer(&upper);
    assert!(offer.contains("a=setup:actpass\r\n") && offer.contains("a=fingerprint:SHA-256 AB:"));
    let back = read_webrtc(&offer).unwrap();
    assert_eq!(
        (back.transport.setup, back.transport.fingerprint, back.transport.ice_lite),
        (Setup::ActPass, local().transport.fingerprint, false)
    );
    assert_eq!((back.transport.candidates, back.mid.as_str()), (local().transport.candidates, "audio"));
    assert_eq!((back.opus, back.telephone_event), (PayloadType(111), Some((PayloadType(126), 8000))));
    assert_eq!(write_offer(&local()), write_offer(&local()), "the same values print the same text");
}

#[test]
fn what_makes_a_section_unusable_is_named() {
    let refusal = |from: &str, to: &str| read_webrtc(&NEW.replacen(from, to, 1)).unwrap_err();
    assert_eq!(read_webrtc("hello"), Err(WebRtcRefusal::NotSdp));
    assert_eq!(refusal("m=audio 3480", "m=audio 0"), WebRtcRefusal::NoAudio);
    assert_eq!(refusal("m=audio", "m=video"), WebRtcRefusal::NoAudio);
    assert_eq!(
        read_webrtc(&format!("{NEW}m=video 9 UDP/TLS/RTP/SAVPF 97\r\n")),
        Err(WebRtcRefusal::SeveralSections)
    );
    assert_eq!(refusal("opus/48000/2", "PCMU/8000"), WebRtcRefusal::NoOpus);
    assert_eq!(refusal("a=fingerprint", "a=fingertip"), WebRtcRefusal::NoFingerprint);
    assert_eq!(refusal("fingerprint:sha-256", "fingerprint:sha-1"), WebRtcRefusal::WeakFingerprint);
    assert_eq!(refusal(":1E:FF", ":1E"), WebRtcRefusal::BadFingerprint);
    assert_eq!(refusal(":1E:FF", ":1E:FF:00"), WebRtcRefusal::BadFingerprint);
    assert_eq!(refusal(":1E:FF", ":+E:FF"), WebRtcRefusal::BadFingerprint);
    assert_eq!(refusal("a=ice-pwd", "a=pwd"), WebRtcRefusal::NoIce);
    assert_eq!(refusal("Qx7TnLr2Vb9KsD4w", &"x".repeat(97)), WebRtcRefusal::BadIce);
    assert_eq!(refusal("Qx7TnLr2Vb9KsD4w", "a:b"), WebRtcRefusal::BadIce);
    assert_eq!(refusal("setup:actpass", "setup:holdconn"), WebRtcRefusal::BadSetup);
    let sdes = NEW.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVP").replace("a=fingerprint", "a=x");
    assert_eq!(read_webrtc(&sdes), Err(WebRtcRefusal::NoDtls));
}

#[test]
fn several_fingerprints_are_read_by_the_sha_256_one_and_session_lines_count_too() {
    let line = NEW.lines().find(|line| line.starts_with("a=fingerprint")).unwrap();
    let moved = NEW.replacen(&format!("{line}\r\n"), "", 1).replacen(
        "a=ice-lite",
        &format!("a=fingerprint:sha-512 00:11\r\n{line}\r\na=ice-lite"),
        1,
    );
    assert_eq!(read_webrtc(&moved).unwrap().transport.fingerprint, expected_fingerprint());
}

#[test]
fn candidates_that_cannot_be_reached_over_udp_are_passed_over() {
    let mut text = NEW.replace("a=candidate:1177000111 1 udp", "a=candidate:1 2 udp");
    text.push_str("a=candidate:1 1 tcp 9 203.0.113.1 9 typ host tcptype active\r\na=candidate:1 1 udp 9 x.local 9 typ host\r\n");
    text.push_str("a=candidate:1 1 udp 9 0.0.0.0 9 typ host\r\na=candidate:garbage\r\n");
    let ipv6 = address("[2001:db8:f312:131:face:b00c:0:1]:3480");
    assert_eq!(read_webrtc(&text).unwrap().transport.candidates, [ipv6]);

    let bare: String = NEW.split_inclusive('\n').filter(|line| !line.starts_with("a=candidate")).collect();
    assert_eq!(read_webrtc(&bare).unwrap().transport.candidates, [address("203.0.113.49:3480")]);
}

#[test]
fn passwords_do_not_print() {
    let printed = format!("{:?} {:?}", read_webrtc(NEW).unwrap(), local());
    assert!(!printed.contains("9dX1s") && !printed.contains("R3place"), "{printed}");
}
