//! The ways to phones: proxies before us, several flows of one phone, NATs, and how a call rings.

use super::*;
use crate::sip::alert::{Alert, Answering};
use crate::sip::registrar::keepalive::{KeepAlive, KeepAliveBy, KeepAliveOf};

const PROXY: &str = "198.51.100.20:5060";
const URI: &str = "sip:gw.example.com";

/// A REGISTER of 1001 from `from` with right credentials; the answer.
fn register(rig: &mut Rig, flow: Flow, number: u32, contact: &str, lines: &str) -> Heard {
    let message = |rig: &mut Rig, number: u32, lines: &str| {
        rig.request("REGISTER", URI, "1001", number, lines, "")
            .replace(&format!("To: <{URI}>"), "To: <sip:1001@gw.example.com>")
            .replace("<sip:1001@10.0.0.5:5060>", contact)
            .replace("Call-ID: c1001", "Call-ID: reg")
    };
    let text = message(rig, number, lines);
    rig.ua.handle_message(rig.now, flow, text.as_bytes());
    let challenge = rig.one();
    let proof = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 1);
    let text = message(rig, number + 1, &format!("{lines}{proof}"));
    rig.ua.handle_message(rig.now, flow, text.as_bytes());
    rig.one()
}

fn udp(from: &str) -> Flow {
    Flow::udp(US.parse().unwrap(), from.parse().unwrap())
}

fn tcp(port: u16) -> Flow {
    Flow { transport: Transport::Tcp, local: US.parse().unwrap(), remote: ([203, 0, 113, 7], port).into() }
}

#[test]
fn a_phone_behind_a_proxy_is_called_along_the_path_that_it_registered_by() {
    let mut rig = Rig::new();
    let path = "Path: <sip:198.51.100.20;lr>, <sip:edge.example.net;lr;ob>\r\n";
    let ok =
        register(&mut rig, udp(PROXY), 1, "<sip:1001@10.0.0.5:5060>", &format!("Supported: path\r\n{path}"));
    assert_eq!((ok.what().as_str(), ok.header("Supported")), ("200 REGISTER", "path, outbound"));
    assert!(
        ok.text.contains("Path: <sip:198.51.100.20;lr>\r\nPath: <sip:edge.example.net;lr;ob>\r\n"),
        "{}",
        ok.text
    );
    rig.call(Endpoint::Phone("1001".into()));
    let invite = rig.one();
    assert_eq!((invite.to.as_str(), invite.uri()), (PROXY, "sip:1001@10.0.0.5:5060"));
    assert!(invite.text.contains("Route: <sip:198.51.100.20;lr>\r\nRoute: <sip:edge.example.net;lr;ob>\r\n"));
    // What follows takes the way that the proxies have recorded.
    let lines = "Contact: <sip:1001@10.0.0.5:5060>\r\nRecord-Route: <sip:198.51.100.20:5070;lr>\r\n";
    rig.send(PROXY, &invite.answer(200, "p1", lines, SDP));
    let ack = rig.one();
    assert_eq!((ack.what().as_str(), ack.to.as_str()), ("ACK", "198.51.100.20:5070"));
    assert_eq!(ack.header("Route"), "<sip:198.51.100.20:5070;lr>");
}

#[test]
fn a_path_survives_a_restart_and_a_phone_that_knows_no_path_is_told_of_none() {
    let mut rig = Rig::new();
    let path = "Path: <sip:198.51.100.20;lr>\r\n";
    let ok = register(&mut rig, udp(PROXY), 1, "<sip:1001@10.0.0.5:5060>", path);
    assert_eq!((ok.what().as_str(), ok.header("Path")), ("200 REGISTER", ""));
    let (_, saved) = rig.ua.poll_unsaved(rig.now).expect("a change");
    let mut next = Rig::new();
    assert_eq!(next.ua.restore_bindings(next.now, saved), 1);
    next.call(Endpoint::Phone("1001".into()));
    assert_eq!(next.one().header("Route"), "<sip:198.51.100.20;lr>");
    for path in ["Path: <tel:+1>\r\n".to_owned(), format!("Path: {}<sip:a;lr>\r\n", "<sip:a;lr>, ".repeat(8))]
    {
        let mut rig = Rig::new();
        assert_eq!(register(&mut rig, udp(PROXY), 1, "<sip:1001@h>", &path).what(), "400 REGISTER");
    }
}

#[test]
fn a_proxy_that_is_a_trunk_as_well_keeps_its_calls_and_its_phones_apart() {
    let mut rig = Rig::new();
    register(&mut rig, udp(TRUNK), 1, "<sip:1001@10.0.0.5:5060>", "Path: <sip:198.51.100.9;lr>\r\n");
    rig.events();
    let text = rig.request("INVITE", "sip:85521955500123@192.0.2.1", "200", 1, SDP_LINE, SDP);
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "100 INVITE");
    let text = rig.request("INVITE", "sip:85521955500123@192.0.2.1", "1001", 7, SDP_LINE, SDP);
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "401 INVITE");
}

#[test]
fn each_flow_of_an_outbound_phone_is_a_binding_and_a_call_takes_one_that_is_open() {
    let mut rig = Rig::new();
    let contact =
        |flow: u32| format!("<sip:1001@10.0.0.5;transport=tcp>;+sip.instance=\"<urn:uuid:1>\";reg-id={flow}");
    let ok = register(&mut rig, tcp(40_001), 1, &contact(1), "Supported: path, outbound\r\n");
    assert_eq!(ok.header("Require"), "outbound");
    assert!(
        ok.header("Contact").contains(";+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires="),
        "{}",
        ok.text
    );
    register(&mut rig, tcp(40_002), 3, &contact(2), "Supported: path, outbound\r\n");
    assert_eq!(rig.ua.figures().bindings, 2);
    rig.events();
    // One call, one INVITE: on the flow that registered last, and after its end on the other.
    rig.call(Endpoint::Phone("1001".into()));
    assert_eq!(rig.one().to, "203.0.113.7:40002");
    rig.ua.handle_closed(rig.now, tcp(40_002));
    assert!(!rig.events().iter().any(|it| matches!(it, Event::Unregistered { .. })));
    rig.call(Endpoint::Phone("1001".into()));
    assert_eq!(rig.one().to, "203.0.113.7:40001");
    // The same over UDP would need STUN: there the newer one takes the place of the older.
    let ok = register(&mut rig, udp(PHONE), 5, &contact(3), "Supported: outbound\r\n");
    assert_eq!(ok.header("Require"), "");
}

/// A rig whose phone at [`PHONE`] says that it is 10.0.0.5.
fn behind_nat(by: KeepAliveBy) -> Rig {
    let mut settings = settings();
    settings.max_expires = Duration::from_secs(3600);
    settings.keep_alive = KeepAlive { of: KeepAliveOf::BehindNat, by, ..KeepAlive::default() };
    let mut rig = Rig::with(settings);
    register(&mut rig, udp(PHONE), 1, "<sip:1001@10.0.0.5:5060>;expires=3600", "");
    rig.events();
    rig
}

#[test]
fn a_phone_behind_a_nat_is_asked_now_and_then_and_missed_when_it_stops_to_answer() {
    let mut rig = behind_nat(KeepAliveBy::Options);
    rig.wait(24_999);
    assert_eq!(rig.whats(), [] as [&str; 0]);
    rig.wait(1);
    let options = rig.one();
    assert_eq!((options.what().as_str(), options.to.as_str()), ("OPTIONS", PHONE));
    // Any answer will do: it is there.
    rig.send(PHONE, &options.answer(501, "o", "", ""));
    rig.wait(25_000);
    rig.heard();
    rig.wait(74_999);
    assert_eq!(rig.events(), []);
    rig.wait(1);
    assert_eq!(rig.events(), [Event::Unregistered { phone: "1001".into() }]);
    assert!(!rig.ua.is_registered(&"1001".into()));
    rig.heard();
    // It answers the next one, and is back without a REGISTER.
    rig.wait(25_000);
    let heard = rig.heard();
    let options = heard.iter().rev().find(|it| it.what() == "OPTIONS").expect("still asked");
    rig.send(PHONE, &options.answer(200, "o", "", ""));
    assert_eq!(rig.events(), [Event::Registered { phone: "1001".into() }]);
    assert_eq!(rig.ua.figures().lost_ways, 1);
}

#[test]
fn a_phone_that_never_answered_is_not_missed_and_one_that_is_reachable_is_not_asked() {
    let mut rig = behind_nat(KeepAliveBy::Options);
    rig.wait(600_000);
    assert_eq!((rig.events(), rig.ua.is_registered(&"1001".into())), (vec![], true));
    let mut settings = settings();
    settings.keep_alive = KeepAlive::default();
    let mut rig = Rig::with(settings);
    register(&mut rig, udp(PHONE), 1, "<sip:1001@203.0.113.7:40001>", "");
    rig.wait(100_000);
    assert_eq!(rig.whats(), [] as [&str; 0]);
}

#[test]
fn a_phone_with_two_ways_that_are_both_silent_is_called_on_the_one_that_answers_again() {
    const OTHER: &str = "203.0.113.7:40777";
    let mut rig = behind_nat(KeepAliveBy::Options);
    register(&mut rig, udp(OTHER), 3, "<sip:1001@10.0.0.6:5060>;expires=3600", "");
    rig.events();
    rig.wait(25_000);
    for options in rig.heard() {
        rig.send(&options.to, &options.answer(200, "o", "", ""));
    }
    rig.wait(100_000);
    assert_eq!(rig.events(), [Event::Unregistered { phone: "1001".into() }]);
    let late = rig.heard().into_iter().rev().find(|it| it.to == OTHER).expect("still asked");
    rig.send(OTHER, &late.answer(200, "o", "", ""));
    assert_eq!(rig.events(), [Event::Registered { phone: "1001".into() }]);
    let ways: Vec<Flow> = rig.ua.registrations().map(|(_, it)| it.flow).collect();
    assert_eq!(ways, [udp(OTHER)]);
}

#[test]
fn a_path_that_leaves_no_room_for_a_call_is_refused_and_one_that_just_fits_is_taken() {
    for (size, status) in [(1024, "200 REGISTER"), (1025, "400 REGISTER")] {
        let mut rig = Rig::new();
        let hop = |name: usize| format!("<sip:{};lr>", "a".repeat(name));
        let path = format!("Path: {}\r\n", hop(size - hop(0).len()));
        let ok = register(&mut rig, udp(PROXY), 1, "<sip:1001@10.0.0.5:5060>", &path);
        assert_eq!(ok.what(), status, "{size}");
    }
}

#[test]
fn line_ends_keep_a_nat_open_where_a_phone_knows_no_options() {
    let mut rig = behind_nat(KeepAliveBy::LineEnds);
    rig.wait(75_000);
    let sent: Vec<(Flow, Vec<u8>)> = std::iter::from_fn(|| rig.ua.poll_transmit()).collect();
    assert_eq!(sent, vec![(udp(PHONE), b"\r\n\r\n".to_vec()); 3]);
}

#[test]
fn a_phone_is_told_which_tone_to_ring_with_and_a_trunk_is_not() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    for (target, alert, line) in [
        (Endpoint::Phone("1001".into()), "support", "<http://cordboard.invalid>;info=support"),
        (Endpoint::Trunk("pbx".into(), "200".to_owned()), "support", ""),
    ] {
        let alert = Alert { name: Some(alert.to_owned()), answering: Answering::ByPerson };
        let invite = Invite {
            target,
            caller: CallerIdentity { number: "1".to_owned(), display: String::new() },
            facts: CallFacts { alert, ..CallFacts::default() },
            sdp: SDP.to_owned(),
            headers: Vec::new(),
        };
        rig.ua.invite(rig.now, invite).expect("a call");
        assert_eq!(rig.one().header("Alert-Info"), line);
    }
}
