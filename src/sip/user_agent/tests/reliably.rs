//! Provisional answers that are confirmed (RFC 3262).

use super::*;

/// A call from the trunk whose INVITE has these lines.
fn calls_with(rig: &mut Rig, lines: &str, body: &str) -> (LegId, String) {
    let kind = if body.is_empty() { "" } else { SDP_LINE };
    let text =
        rig.request("INVITE", "sip:85521955500123@192.0.2.1", "200", 1, &format!("{lines}{kind}"), body);
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "100 INVITE");
    match rig.events().as_slice() {
        [Event::Invited { leg, .. }] => (*leg, text),
        other => panic!("{other:?}"),
    }
}

fn prack(rig: &mut Rig, provisional: &Heard, number: u32) -> String {
    let lines = format!("RAck: {} 1 INVITE\r\n", provisional.header("RSeq"));
    rig.within(provisional, "PRACK", number, &lines, "")
}

#[test]
fn early_media_to_a_caller_that_takes_it_is_repeated_until_confirmed_and_the_200_waits_for_that() {
    let mut rig = Rig::new();
    let (leg, _) = calls_with(&mut rig, "Supported: 100rel\r\n", SDP);
    rig.ua.ring(rig.now, leg, None);
    let ringing = rig.one();
    assert_eq!((ringing.what().as_str(), ringing.header("RSeq")), ("180 INVITE", ""));
    rig.ua.ring(rig.now, leg, Some(SDP.to_owned()));
    let early = rig.one();
    assert_eq!((early.what().as_str(), early.header("Require")), ("183 INVITE", "100rel"));
    assert!(early.header("RSeq").parse::<u32>().is_ok_and(|number| number > 0) && early.text.ends_with(SDP));
    rig.wait(3_500);
    assert_eq!(rig.whats(), ["183 INVITE"; 3]);
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    assert_eq!(rig.whats(), Vec::<String>::new());
    let text = prack(&mut rig, &early, 2);
    rig.send(TRUNK, &text);
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["200 PRACK", "200 INVITE"]);
    // The offer is answered once for certain.
    assert_eq!(heard[1].header("Content-Type"), "");
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "200 PRACK");
    let ack = rig.within(&heard[1], "ACK", 1, "", "");
    rig.send(TRUNK, &ack);
    assert!(matches!(rig.events().as_slice(), [Event::Confirmed { .. }]));
    rig.wait(60_000);
    assert_eq!(rig.whats(), Vec::<String>::new());
}

#[test]
fn a_caller_that_requires_it_gets_one_reliable_answer_after_the_other() {
    let mut rig = Rig::new();
    let (leg, _) = calls_with(&mut rig, "Require: 100rel\r\n", SDP);
    rig.ua.ring(rig.now, leg, None);
    let first = rig.one();
    assert_eq!((first.what().as_str(), first.header("Require")), ("180 INVITE", "100rel"));
    rig.ua.ring(rig.now, leg, Some(SDP.to_owned()));
    assert_eq!(rig.whats(), Vec::<String>::new());
    let wrong = prack(&mut rig, &first, 2).replace(" 1 INVITE", " 7 INVITE");
    rig.send(TRUNK, &wrong);
    assert_eq!(rig.one().what(), "481 PRACK");
    let text = prack(&mut rig, &first, 3);
    rig.send(TRUNK, &text);
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["200 PRACK", "183 INVITE"]);
    let number = |it: &Heard| it.header("RSeq").parse::<u32>().expect("a number");
    assert_eq!(number(&heard[1]), number(&first) + 1);
}

#[test]
fn without_an_offer_nothing_reliable_is_sent_and_a_200_overtakes_a_bare_ringing() {
    let mut rig = Rig::new();
    let (leg, _) = calls_with(&mut rig, "Require: 100rel\r\n", "");
    rig.ua.ring(rig.now, leg, None);
    assert_eq!(rig.whats(), Vec::<String>::new());
    let mut rig = Rig::new();
    let (leg, _) = calls_with(&mut rig, "Require: 100rel\r\n", SDP);
    rig.ua.ring(rig.now, leg, None);
    let ringing = rig.one();
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    assert!(rig.one().text.ends_with(SDP));
    let text = prack(&mut rig, &ringing, 2);
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "200 PRACK");
}

#[test]
fn a_caller_that_never_confirms_is_refused_after_64_t1_and_a_cancel_stops_the_repetitions() {
    let mut rig = Rig::new();
    let (leg, _) = calls_with(&mut rig, "Require: 100rel\r\n", SDP);
    rig.ua.ring(rig.now, leg, None);
    rig.wait(31_999);
    assert_eq!(rig.whats(), ["180 INVITE"; 7]);
    rig.wait(1);
    assert_eq!((rig.one().what().as_str(), rig.events()), ("504 INVITE", vec![Event::AckTimeout { leg }]));
    assert_eq!(rig.ua.figures().legs, 0);
    let mut rig = Rig::new();
    let (leg, text) = calls_with(&mut rig, "Require: 100rel\r\n", SDP);
    rig.ua.ring(rig.now, leg, Some(SDP.to_owned()));
    rig.heard();
    rig.send(TRUNK, &text.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"));
    assert_eq!(
        (rig.whats(), rig.events()),
        (vec!["200 CANCEL".to_owned(), "487 INVITE".to_owned()], vec![Event::Cancelled { leg }])
    );
}

#[test]
fn a_reliable_answer_to_our_invite_is_confirmed_once_on_its_route_and_the_bye_counts_on() {
    let mut rig = Rig::new();
    let leg = rig.call(Endpoint::Trunk("pbx".into(), "200".to_owned()));
    let invite = rig.one();
    let lines = |number: u32| {
        format!(
            "Require: 100rel\r\nRSeq: {number}\r\nContact: <sip:200@198.51.100.9:5066>\r\n\
             Record-Route: <sip:198.51.100.20:5062;lr>\r\n"
        )
    };
    for (number, sent, events) in [(700, 1, 1), (700, 0, 0), (702, 0, 0), (701, 1, 1)] {
        rig.send(TRUNK, &invite.answer(183, "t", &lines(number), SDP));
        let pracks = rig.heard();
        assert_eq!((pracks.len(), rig.events().len()), (sent, events), "{number}");
        if let Some(prack) = pracks.first() {
            assert_eq!((prack.what().as_str(), prack.uri()), ("PRACK", "sip:200@198.51.100.9:5066"));
            assert_eq!(prack.header("RAck"), format!("{number} 1 INVITE"));
            assert_eq!(prack.header("Route"), "<sip:198.51.100.20:5062;lr>");
            assert_eq!(prack.to, "198.51.100.20:5062");
            rig.send(TRUNK, &prack.answer(200, "", "", ""));
        }
    }
    // The answer came in the 183; the 200 has none.
    rig.send(TRUNK, &invite.answer(200, "t", &lines(702), ""));
    assert_eq!(rig.one().what(), "ACK");
    assert!(matches!(rig.events().as_slice(), [Event::Answered { sdp, .. }] if sdp == SDP));
    rig.ua.hang_up(rig.now, leg, None);
    assert_eq!(rig.one().header("CSeq"), "4 BYE");
}
