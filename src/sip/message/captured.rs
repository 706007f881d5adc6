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
