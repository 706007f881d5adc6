//! Calls that are up.

use super::*;

pub(super) const HELD: &str =
    "v=0\r\no=- 1 2 IN IP4 203.0.113.7\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n";

/// A call from the trunk, up and acknowledged.
pub(super) fn up(rig: &mut Rig) -> (LegId, Heard) {
    let (leg, _) = rig.trunk_calls(SDP);
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    let ok = rig.one();
    let ack = rig.within(&ok, "ACK", 1, "", "");
    rig.send(TRUNK, &ack);
    assert!(matches!(rig.events().as_slice(), [Event::Confirmed { .. }]));
    (leg, ok)
}

#[test]
fn hold_by_re_invite_and_by_update_is_passed_on_answered_and_acknowledged() {
    for method in ["INVITE", "UPDATE"] {
        let mut rig = Rig::new();
        let (leg, ok) = up(&mut rig);
        let text = rig.within(&ok, method, 2, SDP_LINE, HELD);
        rig.send(TRUNK, &text);
        assert_eq!(rig.events(), [Event::Reoffered { leg, sdp: Some(HELD.to_owned()) }]);
        rig.heard();
        rig.ua.answer_reoffer(rig.now, leg, Ok(SDP.to_owned()));
        let answer = rig.one();
        assert_eq!(
            (answer.what(), answer.header("Contact")),
            (format!("200 {method}"), "<sip:192.0.2.1:5060>")
        );
        if method == "INVITE" {
            rig.wait(500);
            assert_eq!(rig.one().what(), "200 INVITE");
            let ack = rig.within(&ok, "ACK", 2, "", "");
            rig.send(TRUNK, &ack);
        }
        rig.wait(40_000);
        assert_eq!((rig.whats(), rig.events()), (vec![], vec![]));
        assert_eq!(rig.ua.figures().legs, 1);
    }
}

#[test]
fn an_update_without_an_offer_is_answered_inside_and_an_empty_re_invite_asks_for_ours() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let text = rig.within(&ok, "UPDATE", 2, "Contact: <sip:new@198.51.100.9:5099>\r\n", "");
    rig.send(TRUNK, &text);
    assert_eq!((rig.whats(), rig.events()), (vec!["200 UPDATE".to_owned()], vec![]));
    let text = rig.within(&ok, "INVITE", 3, "", "");
    rig.send(TRUNK, &text);
    rig.heard();
    assert_eq!(rig.events(), [Event::Reoffered { leg, sdp: None }]);
    rig.ua.answer_reoffer(rig.now, leg, Ok(SDP.to_owned()));
    rig.heard();
    let ack = rig.within(&ok, "ACK", 3, SDP_LINE, HELD);
    rig.send(TRUNK, &ack);
    assert_eq!(rig.events(), [Event::Reanswered { leg, sdp: HELD.to_owned() }]);
    rig.ua.hang_up(rig.now, leg, None);
    let bye = rig.one();
    assert_eq!((bye.uri(), bye.to.as_str()), ("sip:new@198.51.100.9:5099", "198.51.100.9:5099"));
}

#[test]
fn a_second_re_invite_while_one_waits_is_500_with_retry_after_and_one_before_the_ack_is_491() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let first = rig.within(&ok, "INVITE", 2, SDP_LINE, HELD);
    rig.send(TRUNK, &first);
    rig.heard();
    let second = rig.within(&ok, "INVITE", 3, SDP_LINE, HELD);
    rig.send(TRUNK, &second);
    let later = rig.one();
    assert_eq!(later.what(), "500 INVITE");
    assert!(later.header("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds <= 10));
    rig.ua.answer_reoffer(rig.now, leg, Ok(SDP.to_owned()));
    rig.heard();
    let third = rig.within(&ok, "INVITE", 4, SDP_LINE, HELD);
    rig.send(TRUNK, &third);
    assert_eq!(rig.one().what(), "491 INVITE");
    // An UPDATE crosses our offer only if our 200 held one.
    let update = rig.within(&ok, "UPDATE", 5, SDP_LINE, HELD);
    rig.send(TRUNK, &update);
    assert_eq!(rig.events().len(), 2);
}

#[test]
fn a_refused_re_invite_leaves_the_call_as_it_was() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let text = rig.within(&ok, "INVITE", 2, SDP_LINE, HELD);
    rig.send(TRUNK, &text);
    rig.heard();
    rig.ua.answer_reoffer(rig.now, leg, Err(488));
    assert_eq!(rig.one().what(), "488 INVITE");
    rig.send(TRUNK, &text.replace("INVITE sip", "ACK sip").replace("2 INVITE", "2 ACK"));
    rig.wait(40_000);
    assert_eq!((rig.whats(), rig.ua.figures().legs), (vec![], 1));
}

#[test]
fn a_re_invite_taken_back_is_487_and_the_call_goes_on() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let text = rig.within(&ok, "INVITE", 2, SDP_LINE, HELD);
    rig.send(TRUNK, &text);
    rig.heard();
    rig.send(TRUNK, &text.replace("INVITE sip", "CANCEL sip").replace("2 INVITE", "2 CANCEL"));
    assert_eq!(rig.whats(), ["200 CANCEL", "487 INVITE"]);
    rig.ua.answer_reoffer(rig.now, leg, Ok(SDP.to_owned()));
    assert_eq!((rig.whats(), rig.ua.figures().legs), (vec![], 1));
}

#[test]
fn a_bye_ends_the_call_once_says_why_and_is_answered_again_when_repeated() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let text = rig.within(&ok, "BYE", 2, "Reason: Q.850 ;cause=16 ;text=\"Terminated\"\r\n", "");
    for events in [vec![Event::HungUp { leg, reason: Some("Terminated".to_owned()) }], vec![]] {
        rig.send(TRUNK, &text);
        assert_eq!((rig.one().what(), rig.events()), ("200 BYE".to_owned(), events));
    }
    let other = rig.within(&ok, "BYE", 3, "", "");
    rig.send(TRUNK, &other);
    assert_eq!(rig.one().what(), "481 BYE");
}

#[test]
fn a_bye_during_a_re_invite_ends_both() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let text = rig.within(&ok, "INVITE", 2, SDP_LINE, HELD);
    rig.send(TRUNK, &text);
    rig.heard();
    rig.events();
    let text = rig.within(&ok, "BYE", 3, "", "");
    rig.send(TRUNK, &text);
    assert_eq!(rig.whats(), ["200 BYE", "487 INVITE"]);
    assert_eq!(rig.events(), [Event::HungUp { leg, reason: None }]);
}

#[test]
fn a_request_with_the_wrong_tags_or_an_old_number_touches_nothing() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    for (from, to, number, what) in
        [(";tag=f200", ";tag=x", 2, "481 BYE"), ("tag=", "tag=x", 2, "481 BYE"), ("~", "~", 1, "500 BYE")]
    {
        let text = rig.within(&ok, "BYE", number, "", "").replace(from, to);
        rig.send(TRUNK, &text);
        assert_eq!(rig.one().what(), what);
    }
    assert_eq!(rig.events(), []);
    rig.ua.hang_up(rig.now, leg, None);
    assert_eq!(rig.one().what(), "BYE");
}

#[test]
fn a_called_phone_that_hangs_up_ends_the_call_and_may_hold_before() {
    let mut rig = Rig::new();
    let (leg, _, ack) = rig.answered_call();
    let text = rig.within_back(&ack, "INVITE", 100, SDP_LINE, HELD);
    rig.send(PHONE, &text);
    rig.heard();
    assert_eq!(rig.events(), [Event::Reoffered { leg, sdp: Some(HELD.to_owned()) }]);
    rig.ua.answer_reoffer(rig.now, leg, Ok(SDP.to_owned()));
    rig.heard();
    let text = rig.within_back(&ack, "BYE", 101, "", "");
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "200 BYE");
    assert_eq!(rig.events(), [Event::HungUp { leg, reason: None }]);
}

#[test]
fn digits_by_info_are_read_in_both_formats() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    for (number, kind, body, expected) in [
        (2, "application/dtmf-relay", "Signal=5\r\nDuration=250\r\n", Some(('5', 250))),
        (3, "application/dtmf-relay", "Signal= 11\nDuration= 99999999999\n", Some(('#', 160))),
        (4, "application/dtmf", "*", Some(('*', 160))),
        (5, "application/dtmf-relay", "Signal=Z\r\n", None),
        (7, "application/dtmf-relay", "Signal=12\r\nDuration=100\r\n", Some(('A', 100))),
    ] {
        let text = rig.within(&ok, "INFO", number, &format!("Content-Type: {kind}\r\n"), body);
        rig.send(TRUNK, &text);
        assert_eq!(rig.one().what(), "200 INFO");
        let expected: Vec<Event> =
            expected.into_iter().map(|(digit, millis)| Event::Digit { leg, digit, millis }).collect();
        assert_eq!(rig.events(), expected);
    }
    let text = rig.within(&ok, "INFO", 8, "Content-Type: application/media_control+xml\r\n", "<x/>");
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "415 INFO");
}

#[test]
fn rule_27_an_orphan_of_a_dead_process_gets_a_bye_on_its_flow_from_its_snapshot() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    let leg = rig.call(Endpoint::Phone("1001".into()));
    let invite = rig.one();
    rig.send(
        PHONE,
        &invite.answer(
            200,
            "p1",
            "Contact: <sip:1001@10.0.0.5:40001>\r\nRecord-Route: <sip:r1;lr>, <sip:r2;lr>\r\n",
            SDP,
        ),
    );
    let events = rig.events();
    let [Event::Answered { dialog, .. }] = events.as_slice() else { panic!("{events:?}") };
    let json = serde_json::to_string(dialog).unwrap();
    rig.heard();
    rig.ua.hang_up(rig.now, leg, None);
    let expected = rig.one();
    let mut after = Rig::new();
    let reason = Reason { protocol: "Q.850", cause: 41, text: "Restart".to_owned() };
    after.ua.end_orphan(after.now, &serde_json::from_str(&json).unwrap(), reason);
    let bye = after.one();
    for name in ["From", "To", "Call-ID", "CSeq"] {
        assert_eq!(bye.header(name), expected.header(name));
    }
    let routes: Vec<_> = bye.parsed.message.headers().all(&Name::Route).collect();
    assert_eq!(
        (bye.uri(), bye.to.as_str(), routes),
        (expected.uri(), PHONE, vec!["<sip:r2;lr>", "<sip:r1;lr>"])
    );
    after.wait(32_000);
    assert_eq!(after.ua.figures().transactions, 0);
}

#[test]
fn what_belongs_to_no_call_is_481_and_what_we_do_not_offer_is_405_501_or_420() {
    let mut rig = Rig::new();
    for (method, lines, what) in [
        ("BYE", "", "481 BYE"),
        ("UPDATE", "", "481 UPDATE"),
        ("REFER", "", "403 REFER"),
        ("SUBSCRIBE", "", "401 SUBSCRIBE"),
        ("HELLO", "", "501 HELLO"),
        ("INVITE", "Require: precondition, timer\r\n", "420 INVITE"),
        ("OPTIONS", "", "200 OPTIONS"),
    ] {
        let text = rig.request(method, "sip:x@gw.example.com", "x", 1, lines, "");
        rig.send(OTHER, &text);
        let answer = rig.one();
        assert_eq!(answer.what(), what);
        if matches!(method, "HELLO" | "OPTIONS") {
            assert_eq!(answer.header("Allow"), ALLOW);
        }
    }
    let text = rig
        .request("INVITE", "sip:x@gw.example.com", "x", 1, SDP_LINE, SDP)
        .replace("Forwards: 70", "Forwards: 0");
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "483 INVITE");
    let text = rig.request("OPTIONS", "sip:x@gw.example.com", "x", 1, "", "");
    rig.send(OTHER, &text);
    let options = rig.one();
    assert_eq!(options.header("Accept"), "application/sdp");
    assert_eq!(options.header("Supported"), SUPPORTED);
}

#[test]
fn an_update_before_the_answer_that_offers_nothing_is_taken_and_one_that_does_has_to_wait() {
    // Theirs to us, and ours to them: PBXs tell in either who is on the line now.
    let mut rig = Rig::new();
    let (leg, _) = rig.trunk_calls(SDP);
    rig.ua.ring(rig.now, leg, None);
    let ringing = rig.one();
    for (number, lines, body, what) in
        [(2, "P-Asserted-Identity: <sip:7@pbx>\r\n", "", "200 UPDATE"), (3, SDP_LINE, SDP, "500 UPDATE")]
    {
        let text = rig.within(&ringing, "UPDATE", number, lines, body);
        rig.send(TRUNK, &text);
        let answer = rig.one();
        assert_eq!((answer.what().as_str(), rig.events()), (what, vec![]));
        assert_eq!(answer.header("Contact").is_empty(), what != "200 UPDATE");
    }
    assert_eq!(rig.ua.figures().legs, 1);
}
