//! Whether the far end is still there: what is asked, and what the answers mean (RFC 5057 §5.1).

use super::*;

/// A call to the phone that is up, and the question.
fn asked(rig: &mut Rig) -> (LegId, Heard) {
    let (leg, _, ack) = rig.answered_call();
    rig.ua.ask(rig.now, leg);
    let options = rig.one();
    assert_eq!((options.what().as_str(), options.to.as_str()), ("OPTIONS", PHONE));
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(options.header(name), ack.header(name), "within the dialogue");
    }
    (leg, options)
}

#[test]
fn f4_a_muted_phone_keeps_its_call_by_any_answer_that_is_not_the_end_of_the_dialogue() {
    for status in [200, 401, 404, 405, 486, 488, 500, 501, 503, 603] {
        let mut rig = Rig::new();
        let (leg, options) = asked(&mut rig);
        rig.send(PHONE, &options.answer(status, "", "", ""));
        rig.wait(60_000);
        assert_eq!((rig.events(), rig.ua.legs.len()), (vec![], 1), "{status}");
        rig.heard();
        rig.ua.ask(rig.now, leg);
        assert_eq!(rig.one().header("CSeq"), "3 OPTIONS", "it is asked again the next time");
    }
}

#[test]
fn f4_a_phone_that_knows_nothing_of_the_call_any_more_ends_it_at_once() {
    for status in [408, 481] {
        let mut rig = Rig::new();
        let (leg, options) = asked(&mut rig);
        rig.send(PHONE, &options.answer(status, "", "", ""));
        let bye = rig.one();
        assert_eq!((bye.what().as_str(), bye.header("CSeq")), ("BYE", "3 BYE"));
        assert_eq!(bye.header("Reason"), "SIP;cause=408;text=\"No answer within the call\"");
        assert_eq!((rig.events(), rig.ua.figures().legs), (vec![Event::Vanished { leg }], 0));
    }
}

#[test]
fn f5_a_phone_that_answers_nothing_for_ten_seconds_ends_the_call() {
    let mut rig = Rig::new();
    let (leg, _) = asked(&mut rig);
    rig.ua.ask(rig.now, leg);
    rig.wait(9_999);
    assert_eq!(rig.whats(), ["OPTIONS"; 4], "sent again after 0.5, 1.5, 3.5 and 7.5 s; asked once");
    assert_eq!(rig.events(), []);
    rig.wait(1);
    assert_eq!((rig.whats(), rig.events()), (vec!["BYE".to_owned()], vec![Event::Vanished { leg }]));
}

#[test]
fn f6_a_phone_out_of_reach_is_asked_again_every_second_and_may_come_back_in_time() {
    let mut rig = Rig::new();
    let (_, _) = asked(&mut rig);
    for _ in 0..5 {
        rig.ua.handle_unreachable(rig.now, PHONE.parse().unwrap());
        assert_eq!(rig.whats(), Vec::<String>::new());
        rig.wait(1_000);
        rig.ua.handle_unreachable(rig.now, PHONE.parse().unwrap());
        assert_eq!(rig.whats(), ["OPTIONS"]);
    }
    rig.wait(1_000);
    let options = rig.one();
    rig.send(PHONE, &options.answer(200, "", "", ""));
    rig.wait(60_000);
    assert_eq!((rig.events(), rig.ua.figures().legs), (vec![], 1));
}

#[test]
fn nobody_is_asked_while_our_200_waits_for_its_ack_or_after_the_end() {
    let mut rig = Rig::new();
    let (leg, _) = rig.trunk_calls(SDP);
    rig.ua.ask(rig.now, leg);
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    rig.ua.ask(rig.now, leg);
    rig.ua.ask(rig.now, LegId(99));
    assert_eq!(rig.whats(), ["200 INVITE"]);
}
