//! The messages of RFC 4475 through the whole user agent: each gets the verdict the RFC asks for.

use super::*;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A call reaches the application.
    Call,
    /// Answered with this status.
    Answer(u16),
    /// Not usable, counted, not answered.
    Drop(FaultKind),
    /// Refused with this status and counted as unusable.
    Refuse(u16, FaultKind),
    /// A response to no request of ours.
    Stray,
}

use crate::sip::message::FaultKind;
use Verdict::{Answer, Call, Drop, Refuse, Stray};

macro_rules! message {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../../tests/data/sip/rfc4475/", $name, ".dat")).as_slice())
    };
}

/// Section, message, verdict. Where the RFC leaves a choice, the reason for ours stands beside it.
fn table() -> Vec<((&'static str, &'static [u8]), Verdict)> {
    vec![
        (message!("wsinv"), Answer(481)), // a To tag of no dialog of ours                                        // 3.1.1.1
        (message!("intmeth"), Answer(501)), // 3.1.1.2
        (message!("esc01"), Call),        // 3.1.1.3
        (message!("escnull"), Answer(401)), // 3.1.1.4
        (message!("esc02"), Answer(501)), // 3.1.1.5: RE%47IST%45R is not REGISTER
        (message!("lwsdisp"), Answer(200)), // 3.1.1.6
        (message!("longreq"), Call),      // 3.1.1.7
        (message!("dblreq"), Answer(401)), // 3.1.1.8: the rest of the datagram is ignored
        (message!("semiuri"), Answer(200)), // 3.1.1.9
        (message!("transports"), Answer(200)), // 3.1.1.10
        (message!("mpart01"), Answer(405)), // 3.1.1.11: MESSAGE is not offered
        (message!("unreason"), Stray),    // 3.1.1.12
        (message!("noreason"), Stray),    // 3.1.1.13
        (message!("badinv01"), Refuse(400, FaultKind::Via)), // 3.1.2.1
        (message!("clerr"), Refuse(400, FaultKind::ContentLength)), // 3.1.2.2
        (message!("ncl"), Refuse(400, FaultKind::ContentLength)), // 3.1.2.3
        (message!("scalar02"), Refuse(400, FaultKind::CSeq)), // 3.1.2.4
        (message!("scalarlg"), Drop(FaultKind::CSeq)), // 3.1.2.5
        (message!("quotbal"), Refuse(400, FaultKind::Address)), // 3.1.2.6
        (message!("ltgtruri"), Refuse(400, FaultKind::RequestUri)), // 3.1.2.7
        (message!("lwsruri"), Refuse(400, FaultKind::RequestUri)), // 3.1.2.8
        (message!("lwsstart"), Call),     // 3.1.2.9: liberal, there is one way to read it
        (message!("trws"), Answer(200)),  // 3.1.2.10: liberal
        (message!("escruri"), Refuse(400, FaultKind::RequestUri)), // 3.1.2.11
        (message!("baddate"), Call),      // 3.1.2.12: Date is not used
        (message!("regbadct"), Answer(401)), // 3.1.2.13: who it is comes first, see the registrar
        (message!("badaspec"), Answer(200)), // 3.1.2.14: liberal
        (message!("baddn"), Answer(200)), // 3.1.2.15: liberal
        (message!("badvers"), Refuse(505, FaultKind::Version)), // 3.1.2.16
        (message!("mismatch01"), Refuse(400, FaultKind::MethodMismatch)), // 3.1.2.17
        (message!("mismatch02"), Refuse(400, FaultKind::MethodMismatch)), // 3.1.2.18: 400 or 501
        (message!("bigcode"), Drop(FaultKind::StartLine)), // 3.1.2.19
        (message!("badbranch"), Answer(200)), // 3.2.1
        (message!("insuf"), Refuse(400, FaultKind::MissingHeader)), // 3.3.1
        (message!("unkscm"), Answer(416)), // 3.3.2
        (message!("novelsc"), Answer(416)), // 3.3.3
        (message!("unksm2"), Answer(400)), // 3.3.4: no address of record in To
        (message!("bext01"), Answer(420)), // 3.3.5
        (message!("invut"), Answer(415)), // 3.3.6
        (message!("regaut01"), Answer(401)), // 3.3.7
        (message!("multi01"), Refuse(400, FaultKind::DuplicateHeader)), // 3.3.8
        (message!("mcl01"), Refuse(400, FaultKind::ContentLength)), // 3.3.9
        (message!("bcast"), Stray),       // 3.3.10
        (message!("zeromf"), Answer(200)), // 3.3.11: an OPTIONS may end here
        (message!("cparam01"), Answer(401)), // 3.3.12
        (message!("cparam02"), Answer(401)), // 3.3.13
        (message!("regescrt"), Answer(401)), // 3.3.14
        (message!("sdp01"), Answer(406)), // 3.3.15
        (message!("inv2543"), Call),      // 3.4.1
    ]
}

#[test]
fn every_torture_message_gets_its_verdict() {
    let table = table();
    assert_eq!(table.len(), 49);
    for ((name, bytes), expected) in table {
        let mut rig = Rig::new();
        rig.send_bytes(TRUNK, bytes);
        // A refusal repeats the damaged headers, so it is not read back here.
        let answers: Vec<String> = std::iter::from_fn(|| rig.ua.poll_transmit())
            .map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned())
            .collect();
        let statuses: Vec<u16> = answers
            .iter()
            .map(|text| {
                let rest = text.strip_prefix("SIP/2.0 ").unwrap_or_else(|| panic!("{name}: {text}"));
                rest[..3].parse().unwrap()
            })
            .collect();
        let figures = rig.ua.figures();
        let fault = figures.faults.keys().next().copied();
        let verdict = match (statuses.as_slice(), fault, rig.events().as_slice()) {
            ([100], None, [Event::Invited { .. }]) => Call,
            ([status], None, []) => Answer(*status),
            ([status], Some(fault), []) => Refuse(*status, fault),
            ([], Some(fault), []) => Drop(fault),
            ([], None, []) if figures.stray_responses == 1 => Stray,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(verdict, expected, "{name}");
        if fault.is_some() {
            assert!(answers.iter().all(|text| text.len() <= bytes.len()), "{name}: larger than the question");
        }
    }
}

#[test]
fn every_readable_torture_message_prints_and_reads_back_the_same() {
    let mut read = 0;
    for ((_, bytes), _) in table() {
        crate::sip::fuzz::message(bytes);
        read += usize::from(parse(bytes).is_ok());
    }
    assert_eq!(read, 33);
}

#[test]
fn the_tortuous_invite_is_understood_down_to_its_details() {
    let parsed = parse(message!("wsinv").1).expect("valid");
    assert_eq!(parsed.head.vias, 3);
    assert_eq!((parsed.head.to.tag(), parsed.head.from.tag()), (Some("1918181833n"), Some("98asjd8")));
    assert_eq!(parsed.head.from.display, "J Rosenberg \\\"");
    assert_eq!(
        parsed.message.headers().get(&Name::Other("NewFangledHeader".to_owned())),
        Some("newfangled value continued newfangled value")
    );
    let parsed = parse(message!("intmeth").1).expect("valid");
    assert_eq!(parsed.head.to.display, "BEL:\u{7} NUL:\u{0} DEL:\u{7f}");
    assert_eq!(parsed.head.from.params.unquoted("fromParam''~+*_!.-%").as_deref(), Some("работающий"));
    let Message::Response(response) = parse(message!("unreason").1).expect("valid").message else { panic!() };
    assert_eq!(response.phrase, "= 2**3 * 5**2 но сто девяносто девять - простое");
    let Message::Request(request) = parse(message!("mpart01").1).expect("valid").message else { panic!() };
    assert_eq!(request.body.len(), 553);
}

#[test]
fn a_contact_with_headers_is_refused_bare_and_taken_in_brackets_once_the_phone_is_known() {
    for (contact, status) in [
        ("sip:1001@10.0.0.5?Route=%3Csip:sip.example.com%3E", "400 REGISTER"),
        ("<sip:1001@10.0.0.5?Route=%3Csip:sip.example.com%3E>", "200 REGISTER"),
        ("sip:+19725552222@gw1.example.net;unknownparam", "200 REGISTER"),
    ] {
        let mut rig = Rig::new();
        let uri = "sip:gw.example.com";
        let text = |rig: &mut Rig, number, lines: &str| {
            rig.request("REGISTER", uri, "1001", number, lines, "")
                .replace(&format!("To: <{uri}>"), "To: sip:1001@gw.example.com")
                .replace("<sip:1001@10.0.0.5:5060>", contact)
        };
        let first = text(&mut rig, 1, "");
        rig.send(PHONE, &first);
        let lines = Rig::credentials(&rig.one(), "1001", "s3cret", "REGISTER", uri, 1);
        let second = text(&mut rig, 2, &lines);
        rig.send(PHONE, &second);
        assert_eq!(rig.one().what(), status, "{contact}");
        // Escaped headers of a Contact never reach a request of ours.
        assert!(rig.ua.registrations().all(|(_, binding)| binding.contact.headers.is_none()));
    }
}

#[test]
fn garbage_is_counted_and_never_answered_with_more_than_it_was() {
    let mut rig = Rig::new();
    for bytes in [&b"\r\n\r\n"[..], b"\r\n", b"", b"\0\0\0\0"] {
        rig.send_bytes(OTHER, bytes);
    }
    assert_eq!((rig.ua.figures().keepalives, rig.heard().len()), (4, 0));
    let tiny = "X x: SIP/2.0\r\nv:x\r\n\r\n";
    rig.send(OTHER, tiny);
    assert_eq!((rig.heard().len(), rig.ua.figures().muted), (0, 1));
    let mut random = Random::from_number(9);
    for _ in 0..500 {
        let mut bytes = vec![0; random.below(200) as usize + 1];
        random.fill(&mut bytes);
        rig.send_bytes(OTHER, &bytes);
    }
    assert_eq!(rig.heard().len(), 0);
    rig.send(OTHER, "ACK sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nX: 0123456789012345678901234567890\r\n\r\n");
    assert_eq!(rig.heard().len(), 0);
}
