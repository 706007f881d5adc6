//! Messages of real programs, as they were on the wire.

use super::{Head, Message, Name, Parsed, parse, sdp_of};

fn read(bytes: &[u8]) -> (Message, Head) {
    crate::sip::fuzz::message(bytes);
    let Parsed { message, head } = parse(bytes).expect("a real phone's message is readable");
    (message, head)
}

#[test]
fn baresip_1_0_0_is_understood() {
    let (register, head) = read(include_bytes!("../../../tests/data/sip/baresip_1.0.0_register.txt"));
    assert_eq!((head.to.user_text(), head.cseq.method.as_str()), ("1001".to_owned(), "REGISTER"));
    let credentials =
        register.headers().get(&Name::Authorization).and_then(crate::sip::digest::Credentials::parse);
    assert_eq!(credentials.map(|it| it.username).as_deref(), Some("1001"));
    for (bytes, direction) in [
        (&include_bytes!("../../../tests/data/sip/baresip_1.0.0_invite.txt")[..], "a=sendrecv"),
        (&include_bytes!("../../../tests/data/sip/baresip_1.0.0_hold.txt")[..], "a=sendonly"),
        (&include_bytes!("../../../tests/data/sip/baresip_1.0.0_200_to_invite.txt")[..], "a=sendrecv"),
    ] {
        let (message, head) = read(bytes);
        let body = match &message {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        };
        assert!(sdp_of(message.headers(), body).is_some_and(|sdp| sdp.contains(direction)));
        assert_eq!(head.cseq.method.as_str(), "INVITE");
    }
    // Refer-To is what the user typed, letter for letter.
    let (refer, head) = read(include_bytes!("../../../tests/data/sip/baresip_1.0.0_refer.txt"));
    let to = refer.headers().get(&Name::ReferTo).and_then(super::NameAddr::parse).and_then(|it| it.sip());
    assert!(
        to.and_then(|it| it.headers).is_some_and(|it| it.starts_with("Replaces=e672b91a2e7e1b02%3Bto-tag"))
    );
    assert_eq!(head.cseq.method.as_str(), "REFER");
    let (_, ringing) = read(include_bytes!("../../../tests/data/sip/baresip_1.0.0_180_to_invite.txt"));
    assert!(ringing.to.tag().is_some() && ringing.via.params.has("received"));
    for bytes in [
        &include_bytes!("../../../tests/data/sip/baresip_1.0.0_ack.txt")[..],
        &include_bytes!("../../../tests/data/sip/baresip_1.0.0_bye.txt")[..],
    ] {
        assert!(read(bytes).1.to.tag().is_some());
    }
}

/// Loose routing with a value (`lr=on`), comments within comments in Server, compact names where the request had them.
#[test]
fn kamailio_5_6_3_is_understood() {
    let routed = |message: &Message| {
        let route = message.headers().get(&Name::RecordRoute).and_then(super::NameAddr::parse);
        route.and_then(|it| it.sip()).is_some_and(|uri| uri.params.has("lr"))
    };
    let (invite, head) = read(include_bytes!("../../../tests/data/sip/kamailio_5.6.3_invite.txt"));
    assert!(routed(&invite) && head.vias == 2);
    assert_eq!(head.to.user_text(), "85521955500123", "our account is called, the number stands in To");
    let (answer, head) = read(include_bytes!("../../../tests/data/sip/kamailio_5.6.3_200_to_invite.txt"));
    assert!(routed(&answer) && head.vias == 1 && head.to.tag().is_some());
    for (bytes, header) in [
        (
            &include_bytes!("../../../tests/data/sip/kamailio_5.6.3_401_to_register.txt")[..],
            Name::WwwAuthenticate,
        ),
        (
            &include_bytes!("../../../tests/data/sip/kamailio_5.6.3_407_to_invite.txt")[..],
            Name::ProxyAuthenticate,
        ),
    ] {
        let (message, _) = read(bytes);
        assert!(message.headers().get(&header).is_some_and(|it| it.contains("realm=\"pbx.test\"")));
    }
    let (granted, _) = read(include_bytes!("../../../tests/data/sip/kamailio_5.6.3_200_to_register.txt"));
    let contact = granted.headers().get(&Name::Contact).and_then(super::NameAddr::parse);
    assert_eq!(contact.as_ref().and_then(|it| it.params.get("expires")), Some("60"));
    read(include_bytes!("../../../tests/data/sip/kamailio_5.6.3_100_to_invite.txt"));
    for bytes in [
        &include_bytes!("../../../tests/data/sip/kamailio_5.6.3_ack.txt")[..],
        &include_bytes!("../../../tests/data/sip/kamailio_5.6.3_bye.txt")[..],
    ] {
        assert_eq!(read(bytes).1.vias, 2);
    }
}

#[test]
fn jssip_3_13_8_in_chromium_is_understood() {
    let (register, head) = read(include_bytes!("../../../tests/data/sip/jssip_3.13.8_register.txt"));
    assert_eq!((head.to.user_text(), head.via.params.has("branch")), ("1001".to_owned(), true));
    let contact = register.headers().get(&Name::Contact).expect("a Contact");
    assert!(contact.contains(".invalid;transport=ws>;+sip.ice;reg-id=1;+sip.instance="), "{contact}");
    for (bytes, direction) in [
        (&include_bytes!("../../../tests/data/sip/jssip_3.13.8_invite.txt")[..], "a=sendrecv"),
        (&include_bytes!("../../../tests/data/sip/jssip_3.13.8_hold.txt")[..], "a=sendonly"),
        (&include_bytes!("../../../tests/data/sip/jssip_3.13.8_200_to_invite.txt")[..], "a=sendrecv"),
    ] {
        let (message, head) = read(bytes);
        let body = match &message {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        };
        assert!(sdp_of(message.headers(), body).is_some_and(|sdp| sdp.contains(direction)));
        assert_eq!(head.cseq.method.as_str(), "INVITE");
    }
}
