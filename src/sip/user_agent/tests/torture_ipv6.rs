//! The messages of RFC 5118 through the whole user agent: each gets the verdict the RFC asks for.

use super::*;
use crate::sip::message::{FaultKind, SipUri};

macro_rules! message {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/data/sip/rfc5118/", $name, ".dat")).as_slice()
    };
}

/// The statuses that a message is answered with, and what was wrong with it; a call counts as 100.
fn verdict(bytes: &[u8]) -> (Vec<u16>, Option<FaultKind>) {
    let mut rig = Rig::new();
    rig.send_bytes(TRUNK, bytes);
    let answers = std::iter::from_fn(|| rig.ua.poll_transmit());
    let statuses = answers
        .map(|(_, bytes)| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.strip_prefix("SIP/2.0 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or_default()
        })
        .collect();
    let calls = rig.events().iter().filter(|it| matches!(it, Event::Invited { .. })).count();
    assert!(calls == 0 || statuses == [100], "{statuses:?}");
    (statuses, rig.ua.figures().faults.keys().next().copied())
}

#[test]
fn every_ipv6_torture_message_gets_its_verdict() {
    for (section, bytes, status, fault) in [
        ("4.1", message!("ipv6-good"), 401, None),
        ("4.2", message!("ipv6-bad"), 400, Some(FaultKind::RequestUri)),
        // The port went into the address, which is one all the same; that nobody meant it shows only when it is used.
        ("4.3", message!("port-ambiguous"), 401, None),
        ("4.4", message!("port-unambiguous"), 401, None),
        ("4.5", message!("via-received-param-with-delim"), 481, None),
        ("4.5", message!("via-received-param-no-delim"), 200, None),
        ("4.6", message!("ipv6-in-sdp"), 100, None),
        ("4.7", message!("mult-ip-in-header"), 481, None),
        ("4.8", message!("mult-ip-in-sdp"), 100, None),
        ("4.9", message!("ipv4-mapped-ipv6"), 100, None),
        // Three colons are what the grammar of RFC 3261 made of two; no address can be read from them.
        ("4.10", message!("ipv6-bug-abnf-3-colons"), 400, Some(FaultKind::RequestUri)),
        ("4.10", message!("ipv6-correct-abnf-2-colons"), 200, None),
    ] {
        assert_eq!(verdict(bytes), (vec![status], fault), "{section}");
        crate::sip::fuzz::message(bytes);
    }
}

#[test]
fn what_the_ipv6_torture_messages_say_is_read_as_it_is_meant() {
    let read = |bytes: &[u8]| parse(bytes).expect("valid");
    let uri = |bytes: &[u8]| match read(bytes).message {
        Message::Request(request) => SipUri::parse(&request.uri).expect("a SIP URI"),
        Message::Response(_) => panic!("a request"),
    };
    let place = |bytes: &[u8]| (uri(bytes).socket().map(|it| it.to_string()), uri(bytes).port);
    assert_eq!(place(message!("port-ambiguous")), (Some("[2001:db8::10:5070]:5060".to_owned()), None));
    assert_eq!(place(message!("port-unambiguous")), (Some("[2001:db8::10]:5070".to_owned()), Some(5070)));
    for (bytes, received) in [
        (message!("via-received-param-with-delim"), "[2001:db8::9:255]"),
        (message!("via-received-param-no-delim"), "2001:db8::9:255"),
    ] {
        let via = read(bytes).head.via;
        assert_eq!((via.params.get("received"), via.branch().is_some()), (Some(received), true));
    }
    let parsed = read(message!("mult-ip-in-header"));
    assert_eq!((parsed.head.vias, parsed.head.via.port), (3, Some(6050)));
    let mapped = read(message!("ipv4-mapped-ipv6")).head;
    assert_eq!((mapped.vias, mapped.via.port), (2, Some(19_823)));
}
