use super::*;

fn local() -> LocalAudio {
    LocalAudio {
        session_id: 42,
        version: 1,
        rtp: "192.0.2.10:30000".parse().unwrap(),
        rtcp: "192.0.2.10:30001".parse().unwrap(),
        codecs: vec![AudioCodec::Pcmu, AudioCodec::Pcma],
        opus_bitrate: 20_000,
        keying: LocalKeying::default(),
        voip_metrics: false,
    }
}

fn sdp(connection: &str, media: &str) -> String {
    format!("v=0\r\no=phone 77 3 IN IP4 192.0.2.99\r\ns=call\r\nc=IN {connection}\r\nt=0 0\r\n{media}")
}

const PHONE: &str = "m=audio 16384 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\na=ptime:30\r\n";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn events(payload_type: u8, clock: u32) -> EventFormat {
    EventFormat { payload_type: PayloadType(payload_type), clock }
}

fn all() -> LocalAudio {
    let codecs = vec![AudioCodec::Opus, AudioCodec::G722, AudioCodec::Pcmu, AudioCodec::Pcma];
    LocalAudio { codecs, ..local() }
}

#[test]
fn our_offer_is_exact() {
    let expected = "v=0\r\no=- 42 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(write_offer(&local()), expected);
}

#[test]
fn rtcp_elsewhere_is_said_and_on_the_same_port_is_asked_for() {
    let odd = LocalAudio { rtcp: address("[2001:db8::5]:9"), ..local() };
    assert!(write_offer(&odd).contains("a=rtcp:9 IN IP6 2001:db8::5\r\n"));
    let shared = LocalAudio { rtcp: local().rtp, ..local() };
    assert!(write_offer(&shared).contains("a=rtcp-mux\r\n"));
    let muxed = sdp("IP4 192.0.2.99", "m=audio 5000 RTP/AVP 0\r\na=rtcp-mux\r\n");
    let agreed = read_answer(&shared, &muxed).unwrap();
    assert!(agreed.rtcp_mux && agreed.remote_rtcp == address("192.0.2.99:5000"));
    let unasked = read_answer(&local(), &muxed).unwrap();
    assert!(!unasked.rtcp_mux && unasked.remote_rtcp == address("192.0.2.99:5001"));
}

#[test]
fn an_answer_fixes_codec_numbers_addresses_and_packet_length() {
    let agreed = read_answer(&local(), &sdp("IP4 192.0.2.99", PHONE)).unwrap();
    assert_eq!(
        (agreed.codec, agreed.payload_type, agreed.receive_payload_type),
        (AudioCodec::Pcma, PayloadType(8), PayloadType(8))
    );
    assert_eq!(
        (agreed.telephone_event, agreed.receive_telephone_events),
        (Some(events(96, 8000)), [Some(events(101, 8000)), None])
    );
    assert_eq!(
        (agreed.remote_rtp, agreed.remote_rtcp),
        (address("192.0.2.99:16384"), address("192.0.2.99:16385"))
    );
    assert_eq!((agreed.direction, agreed.ptime), (Direction::SendRecv, Duration::from_millis(30)));
}

#[test]
fn an_offer_is_answered_with_one_codec_and_its_own_numbers() {
    let (answer, agreed) = answer_offer(&local(), &sdp("IP4 192.0.2.99", PHONE)).unwrap();
    let expected = "v=0\r\no=- 42 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 30000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n\
        a=fmtp:96 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(answer, expected);
    assert_eq!(
        (agreed.receive_payload_type, agreed.receive_telephone_events),
        (PayloadType(8), [Some(events(96, 8000)), None])
    );
    let only_mulaw = LocalAudio { codecs: vec![AudioCodec::Pcmu], ..local() };
    assert_eq!(
        answer_offer(&only_mulaw, &sdp("IP4 192.0.2.99", PHONE)).unwrap().1.payload_type,
        PayloadType(0)
    );
}

#[test]
fn a_codec_may_come_under_another_number_and_a_static_number_may_mean_another_codec() {
    let text = sdp(
        "IP4 192.0.2.99",
        "m=audio 9000 RTP/AVP 0 97\r\na=rtpmap:0 G729/8000\r\na=rtpmap:97 pcmu/8000/1\r\n",
    );
    assert_eq!(RemoteAudio::read(&text).unwrap().formats, [(PayloadType(97), AudioCodec::Pcmu)]);
    let wide = sdp("IP4 192.0.2.99", "m=audio 9000 RTP/AVP 97\r\na=rtpmap:97 PCMU/16000\r\n");
    assert_eq!(answer_offer(&local(), &wide).unwrap_err(), AudioRefusal::NoCommonCodec);
}

#[test]
fn every_form_of_hold_is_seen_and_answered_by_its_mirror() {
    let cases = [
        ("IP4 192.0.2.99", "a=sendonly\r\n", Direction::SendOnly, "a=recvonly\r\n"),
        ("IP4 192.0.2.99", "a=inactive\r\n", Direction::Inactive, "a=inactive\r\n"),
        ("IP4 192.0.2.99", "a=recvonly\r\n", Direction::RecvOnly, "a=sendonly\r\n"),
        ("IP4 192.0.2.99", "", Direction::SendRecv, "a=sendrecv\r\n"),
        ("IP4 0.0.0.0", "", Direction::SendOnly, "a=recvonly\r\n"),
        ("IP4 0.0.0.0", "a=recvonly\r\n", Direction::Inactive, "a=inactive\r\n"),
        ("IP6 ::", "a=sendrecv\r\n", Direction::SendOnly, "a=recvonly\r\n"),
    ];
    for (connection, line, theirs, ours) in cases {
        let offer = sdp(connection, &format!("m=audio 5000 RTP/AVP 0\r\n{line}"));
        assert_eq!(RemoteAudio::read(&offer).unwrap().direction, theirs, "{connection} {line}");
        let (answer, agreed) = answer_offer(&local(), &offer).unwrap();
        assert!(answer.ends_with(ours), "{connection} {line}: {answer}");
        assert_eq!(agreed.direction, theirs.reversed());
    }
    let at_session = sdp("IP4 192.0.2.99", "a=sendonly\r\nm=audio 5000 RTP/AVP 0\r\n");
    assert_eq!(RemoteAudio::read(&at_session).unwrap().direction, Direction::SendOnly);
}

#[test]
fn other_sections_are_refused_in_their_place() {
    let offer = sdp(
        "IP4 192.0.2.99",
        "m=video 6000 RTP/AVP 96 97\r\na=rtpmap:96 H264/90000\r\nm=audio 7000 RTP/SAVP 0\r\n\
         m=audio 5000 RTP/AVPF 0\r\nc=IN IP6 2001:db8::7\r\na=rtcp:5009\r\nm=image 8000 udptl t38\r\n",
    );
    let (answer, agreed) = answer_offer(&local(), &offer).unwrap();
    let lines: Vec<_> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96 97",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 30000 RTP/AVPF 0",
            "m=image 0 udptl t38"
        ]
    );
    assert_eq!(
        (agreed.remote_rtp, agreed.remote_rtcp),
        (address("[2001:db8::7]:5000"), address("[2001:db8::7]:5009"))
    );
}

#[test]
fn rtcp_is_where_the_phone_says() {
    let named = sdp("IP4 192.0.2.99", "m=audio 5000 RTP/AVP 0\r\na=rtcp:53020 IN IP4 198.51.100.3\r\n");
    assert_eq!(RemoteAudio::read(&named).unwrap().rtcp, address("198.51.100.3:53020"));
    let muxed = sdp("IP4 192.0.2.99", "m=audio 5000 RTP/AVP 0\r\na=rtcp:53020\r\na=rtcp-mux\r\n");
    let (answer, agreed) = answer_offer(&local(), &muxed).unwrap();
    assert!(agreed.rtcp_mux && agreed.remote_rtcp == agreed.remote_rtp && answer.contains("a=rtcp-mux\r\n"));
    let last = sdp("IP4 192.0.2.99", "m=audio 65535 RTP/AVP 0\r\n");
    assert_eq!(RemoteAudio::read(&last).unwrap().rtcp.port(), 65_535);
}

#[test]
fn packet_lengths_stay_within_reason() {
    for (line, millis) in
        [("a=ptime:20", 20), ("a=ptime:1000", 60), ("a=ptime:0", 20), ("a=ptime:x", 20), ("a=ptime:5", 10)]
    {
        let text = sdp("IP4 192.0.2.99", &format!("m=audio 5000 RTP/AVP 0\r\n{line}\r\n"));
        assert_eq!(RemoteAudio::read(&text).unwrap().ptime, Duration::from_millis(millis), "{line}");
    }
}

#[test]
fn what_makes_an_audio_section_unusable_is_named() {
    let refusal =
        |connection: &str, media: &str| answer_offer(&local(), &sdp(connection, media)).unwrap_err();
    assert_eq!(answer_offer(&local(), "x").unwrap_err(), AudioRefusal::NotSdp);
    assert_eq!(refusal("IP4 192.0.2.9", ""), AudioRefusal::NoAudio);
    assert_eq!(refusal("IP4 192.0.2.9", "m=video 1 RTP/AVP 0\r\n"), AudioRefusal::NoAudio);
    assert_eq!(refusal("IP4 192.0.2.9", "m=audio 0 RTP/AVP 0\r\n"), AudioRefusal::Refused);
    assert_eq!(refusal("IP4 192.0.2.9", "m=audio 9 RTP/SAVP 0\r\n"), AudioRefusal::ReadableKeys);
    assert_eq!(refusal("IP4 192.0.2.9", "m=audio 9 RTP/AVP 18\r\n"), AudioRefusal::NoCommonCodec);
    assert_eq!(refusal("IP4 pbx.example", "m=audio 9 RTP/AVP 0\r\n"), AudioRefusal::NoAddress);
    assert_eq!(refusal("IP4 224.2.1.1/127", "m=audio 9 RTP/AVP 0\r\n"), AudioRefusal::NoAddress);
}

#[test]
fn a_new_version_changes_the_origin_line_only() {
    let next = LocalAudio { version: 2, ..local() };
    assert_eq!(write_offer(&next), write_offer(&local()).replacen("42 1", "42 2", 1));
    assert_eq!(RemoteAudio::read(&write_offer(&next)).unwrap().origin.version, 2);
}

#[test]
fn rule_18_an_offer_of_every_codec_names_opus_as_its_standard_wants_and_events_on_both_clocks() {
    let expected = "m=audio 30000 RTP/AVP 111 9 0 8 101 110\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;useinbandfec=1\r\n\
        a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtpmap:110 telephone-event/48000\r\n\
        a=fmtp:110 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    let offer = write_offer(&all());
    assert!(offer.ends_with(expected), "{offer}");
}

#[test]
fn an_answer_with_opus_brings_its_wishes_and_its_own_numbers() {
    let media = "m=audio 5000 RTP/AVP 96 97\r\na=rtpmap:96 OPUS/48000/2\r\n\
        a=fmtp:96 maxaveragebitrate=12000; maxplaybackrate=8000;useinbandfec=1; stereo=1\r\n\
        a=rtpmap:97 telephone-event/48000\r\na=ptime:60\r\na=maxptime:40\r\n";
    let agreed = read_answer(&all(), &sdp("IP4 192.0.2.99", media)).unwrap();
    assert_eq!(
        (agreed.codec, agreed.payload_type, agreed.receive_payload_type),
        (AudioCodec::Opus, PayloadType(96), PayloadType(111))
    );
    assert_eq!(agreed.telephone_event, Some(events(97, 48_000)));
    assert_eq!(agreed.receive_telephone_events, [None, Some(events(110, 48_000))]);
    let wishes = OpusWishes { max_average_bitrate: Some(12_000), max_playback_rate: 8000, in_band_fec: true };
    assert_eq!((agreed.opus, agreed.ptime), (wishes, Duration::from_millis(40)));
}

#[test]
fn an_offer_of_opus_is_answered_with_its_number_and_the_events_of_its_clock() {
    let media = "m=audio 5000 RTP/AVP 121 0 101 102\r\na=rtpmap:121 opus/48000/2\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=rtpmap:102 telephone-event/48000\r\n";
    let (answer, agreed) = answer_offer(&all(), &sdp("IP4 192.0.2.99", media)).unwrap();
    assert!(answer.contains("m=audio 30000 RTP/AVP 121 102\r\na=rtpmap:121 opus/48000/2\r\na=fmtp:121 max"));
    assert_eq!(agreed.telephone_event, Some(events(102, 48_000)));
    assert_eq!(agreed.opus, OpusWishes::default());
    // Rule 18: a phone that has events at 8 kHz only beside Opus gets those.
    let (answer, agreed) =
        answer_offer(&all(), &sdp("IP4 192.0.2.99", &media.replace("/48000\r\n", "/16000\r\n"))).unwrap();
    assert!(answer.contains("RTP/AVP 121 101\r\n"), "{answer}");
    assert_eq!(agreed.telephone_event, Some(events(101, 8000)));
}

#[test]
fn g722_is_known_by_its_number_its_clock_of_8000_and_the_wrong_clock_of_16000() {
    for line in ["", "a=rtpmap:9 G722/8000\r\n", "a=rtpmap:9 g722/16000\r\n"] {
        let offer = sdp("IP4 192.0.2.99", &format!("m=audio 5000 RTP/AVP 9\r\n{line}"));
        let (answer, agreed) = answer_offer(&all(), &offer).unwrap();
        assert_eq!((agreed.codec, agreed.payload_type), (AudioCodec::G722, PayloadType(9)));
        assert!(answer.contains("a=rtpmap:9 G722/8000\r\n"), "RFC 3551 section 4.5.2");
    }
    let mono = sdp("IP4 192.0.2.99", "m=audio 5000 RTP/AVP 96\r\na=rtpmap:96 opus/48000\r\n");
    assert_eq!(answer_offer(&all(), &mono).unwrap_err(), AudioRefusal::NoCommonCodec, "RFC 7587 section 7");
}

#[test]
fn voip_metrics_are_agreed_on_only_if_both_sides_name_them() {
    let wanting = LocalAudio { voip_metrics: true, ..local() };
    let offer = write_offer(&wanting);
    assert!(offer.contains("a=rtcp-xr:voip-metrics\r\n") && !write_offer(&local()).contains("rtcp-xr"));
    let plain = sdp("IP4 192.0.2.99", PHONE);
    let naming = plain.clone() + "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,jitt voip-metrics\r\n";
    let other = plain.clone() + "a=rtcp-xr:stat-summary\r\n";
    for (local, remote, agreed) in [
        (wanting.clone(), &naming, true),
        (wanting.clone(), &plain, false),
        (wanting, &other, false),
        (local(), &naming, false),
    ] {
        assert_eq!(read_answer(&local, remote).unwrap().voip_metrics, agreed);
        let (answer, negotiated) = answer_offer(&local, remote).unwrap();
        assert_eq!((negotiated.voip_metrics, answer.contains("a=rtcp-xr:voip-metrics")), (agreed, agreed));
    }
}

#[test]
fn an_answer_with_several_codecs_begins_with_the_first_and_keeps_the_others() {
    let answer = sdp(
        "IP4 192.0.2.99",
        "m=audio 5000 RTP/AVP 8 96 0 101 102\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=rtpmap:102 telephone-event/48000\r\n",
    );
    let agreed = read_answer(&all(), &answer).unwrap();
    assert_eq!(agreed.codec, AudioCodec::Pcma);
    let others: Vec<_> = agreed.alternatives.iter().map(|it| (it.codec, it.payload_type.0)).collect();
    assert_eq!(others, [(AudioCodec::Opus, 96), (AudioCodec::Pcmu, 0)]);
    let opus = agreed.alternatives[0];
    assert_eq!((opus.receive_payload_type, opus.telephone_event.unwrap().clock), (PayloadType(111), 48_000));
    let one = LocalAudio { codecs: vec![AudioCodec::Pcma], ..all() };
    assert_eq!(read_answer(&one, &answer).unwrap().alternatives, [], "what was not offered cannot come");
    assert_eq!(answer_offer(&all(), &answer).unwrap().1.alternatives, [], "we answer with one");
}
