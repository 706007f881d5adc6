//! Calls we make.

use super::*;

fn phone() -> Endpoint {
    Endpoint::Phone("1001".into())
}

fn trunk() -> Endpoint {
    Endpoint::Trunk("pbx".into(), "200".to_owned())
}

fn taken_elsewhere() -> Reason {
    Reason::completed_elsewhere()
}

#[test]
fn rule_21_and_26_a_phone_is_rung_on_its_flow_with_a_dialable_and_displayable_caller() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    let leg = rig.call(phone());
    let invite = rig.one();
    assert_eq!((invite.what().as_str(), invite.to.as_str()), ("INVITE", PHONE));
    assert_eq!(invite.uri(), "sip:1001@10.0.0.5:40001");
    assert!(invite.header("From").starts_with("\"Zoe 'Z'\" <sip:5521955500123@gw.example.com>;tag="));
    assert_eq!(invite.header("To"), "<sip:1001@gw.example.com>");
    assert_eq!(invite.header("P-Called-Party-ID"), "<sip:551140000000@gw.example.com>");
    assert_eq!(invite.header("P-Asserted-Identity"), "");
    rig.send(PHONE, &invite.answer(100, "", "", ""));
    assert_eq!(rig.events(), []);
    rig.send(PHONE, &invite.answer(180, "p1", "", ""));
    assert_eq!(rig.events(), [Event::Ringing { leg, sdp: None, status: 180 }]);
    rig.wait(60_000);
    assert_eq!(rig.whats(), Vec::<String>::new());
}

#[test]
fn rule_5_every_2xx_is_acked_at_once_and_again_with_each_repetition() {
    let mut rig = Rig::new();
    let (_, invite, ack) = rig.answered_call();
    assert_eq!((ack.uri(), ack.to.as_str()), ("sip:1001@10.0.0.5:40001", PHONE));
    assert_eq!((ack.header("CSeq"), ack.header("Call-ID")), ("1 ACK", invite.header("Call-ID")));
    assert_ne!(ack.parsed.head.via.branch(), invite.parsed.head.via.branch());
    rig.wait(500);
    rig.send(PHONE, &invite.answer(200, "p1", "Contact: <sip:1001@10.0.0.5:40001>\r\n", SDP));
    assert_eq!(rig.one().text, ack.text);
    assert_eq!(rig.events(), []);
}

#[test]
fn rule_5_a_second_answer_from_a_fork_is_acked_and_ended_and_the_first_call_stays_up() {
    let mut rig = Rig::new();
    let (leg, invite, _) = rig.answered_call();
    rig.send(PHONE, &invite.answer(200, "p2", "Contact: <sip:other@10.0.0.6>\r\n", SDP));
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["ACK", "BYE"]);
    assert!(heard.iter().all(|it| it.header("To").ends_with(";tag=p2") && it.uri() == "sip:other@10.0.0.6"));
    assert_eq!(rig.events(), []);
    rig.send(PHONE, &heard[1].answer(200, "", "", ""));
    rig.ua.hang_up(rig.now, leg, None);
    assert!(rig.one().header("To").ends_with(";tag=p1"));
}

#[test]
fn rule_5_of_two_bindings_the_first_to_answer_wins_and_the_other_is_cancelled_with_a_reason() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    rig.register("1001", OTHER);
    let leg = rig.call(phone());
    let invites = rig.heard();
    assert_eq!(invites.len(), 2);
    let at = |who: &str| invites.iter().find(|it| it.to == who).expect("rung");
    for who in [PHONE, OTHER] {
        rig.send(who, &at(who).answer(180, who.split('.').next_back().expect("part"), "", ""));
    }
    rig.send(OTHER, &at(OTHER).answer(200, "win", "", SDP));
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["ACK", "CANCEL"]);
    let cancel = &heard[1];
    assert_eq!((cancel.to.as_str(), cancel.header("CSeq")), (PHONE, "1 CANCEL"));
    assert_eq!(cancel.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"");
    assert_eq!(cancel.header("Via"), at(PHONE).header("Via"));
    assert_eq!((cancel.header("To"), cancel.uri()), (at(PHONE).header("To"), at(PHONE).uri()));
    rig.send(PHONE, &cancel.answer(200, "x", "", ""));
    rig.send(PHONE, &at(PHONE).answer(487, "lose", "", ""));
    assert_eq!(rig.one().what(), "ACK");
    let events = rig.events();
    assert!(matches!(events.last(), Some(Event::Answered { leg: it, .. }) if *it == leg), "{events:?}");
    rig.wait(70_000);
    assert_eq!((rig.events(), rig.ua.figures().transactions, rig.ua.figures().legs), (vec![], 0, 1));
}

#[test]
fn rule_5_the_loser_that_answers_while_it_is_cancelled_gets_ack_and_bye() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    rig.register("1001", OTHER);
    rig.call(phone());
    let invites = rig.heard();
    for invite in &invites {
        rig.send(&invite.to, &invite.answer(200, "t", "", SDP));
    }
    assert_eq!(rig.whats(), ["ACK", "ACK", "BYE"]);
    assert_eq!(rig.events().len(), 1);
}

#[test]
fn a_cancel_waits_for_the_first_provisional_answer() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    let leg = rig.call(phone());
    let invite = rig.one();
    rig.ua.cancel(rig.now, leg, taken_elsewhere());
    assert_eq!(rig.whats(), Vec::<String>::new());
    rig.send(PHONE, &invite.answer(180, "p1", "", ""));
    assert_eq!(rig.one().what(), "CANCEL");
    assert_eq!(rig.events(), []);
    rig.send(PHONE, &invite.answer(487, "p1", "", ""));
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Cancelled }]);
}

#[test]
fn a_200_that_crosses_the_cancel_is_acked_and_ended_and_the_call_counts_as_cancelled() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    let leg = rig.call(phone());
    let invite = rig.one();
    rig.send(PHONE, &invite.answer(180, "p1", "", ""));
    rig.ua.cancel(rig.now, leg, taken_elsewhere());
    rig.send(PHONE, &invite.answer(200, "p1", "Contact: <sip:1001@10.0.0.5>\r\n", SDP));
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["CANCEL", "ACK", "BYE"]);
    assert_eq!(heard[2].header("CSeq"), "2 BYE");
    assert_eq!(rig.events().last(), Some(&Event::Failed { leg, failure: LegFailure::Cancelled }));
    assert_eq!(rig.ua.figures().legs, 0);
}

#[test]
fn a_phone_that_ignores_the_cancel_is_given_up_after_64_t1() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    let leg = rig.call(phone());
    let invite = rig.one();
    rig.send(PHONE, &invite.answer(180, "p1", "", ""));
    rig.ua.cancel(rig.now, leg, taken_elsewhere());
    rig.events();
    rig.wait(31_999);
    assert_eq!(rig.events(), []);
    rig.wait(1);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Cancelled }]);
}

#[test]
fn rule_2_a_trunk_that_says_nothing_for_two_seconds_is_given_up_and_ended_should_it_wake_up() {
    let mut rig = Rig::new();
    let leg = rig.call(trunk());
    let invite = rig.one();
    assert_eq!((invite.to.as_str(), invite.uri()), (TRUNK, "sip:200@198.51.100.9:5060"));
    assert_eq!(invite.header("P-Asserted-Identity"), "\"Zoe 'Z'\" <sip:5521955500123@gw.example.com>");
    rig.wait(1999);
    assert_eq!(rig.events(), []);
    rig.wait(1);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::NoProvisional }]);
    rig.heard();
    rig.send(TRUNK, &invite.answer(180, "t", "", ""));
    assert_eq!(rig.one().what(), "CANCEL");
    rig.send(TRUNK, &invite.answer(200, "t", "", SDP));
    assert_eq!(rig.whats(), ["ACK", "BYE"]);
    assert_eq!(rig.events(), []);
}

#[test]
fn a_trunk_that_said_100_may_take_its_time() {
    let mut rig = Rig::new();
    let leg = rig.call(trunk());
    let invite = rig.one();
    rig.send(TRUNK, &invite.answer(100, "", "", ""));
    rig.wait(100_000);
    rig.send(TRUNK, &invite.answer(183, "t", "", SDP));
    assert_eq!(rig.events(), [Event::Ringing { leg, sdp: Some(SDP.to_owned()), status: 183 }]);
    rig.send(TRUNK, &invite.answer(503, "t", "", ""));
    assert_eq!(rig.one().what(), "ACK");
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(503) }]);
}

#[test]
fn a_dead_phone_is_a_timeout_and_an_unreachable_one_is_said_at_once() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    let leg = rig.call(phone());
    rig.wait(32_000);
    assert_eq!(rig.whats(), ["INVITE"; 7]);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Timeout }]);
    let leg = rig.call(phone());
    rig.ua.handle_unreachable(rig.now, PHONE.parse().unwrap());
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Unreachable }]);
}

#[test]
fn of_two_refusals_the_busy_one_is_told_and_a_global_one_ends_the_rest() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    rig.register("1001", OTHER);
    let leg = rig.call(phone());
    let invites = rig.heard();
    rig.send(&invites[0].to.clone(), &invites[0].answer(486, "a", "", ""));
    rig.send(&invites[1].to.clone(), &invites[1].answer(480, "b", "", ""));
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(486) }]);
    rig.heard();
    let leg = rig.call(phone());
    let invites = rig.heard();
    rig.send(&invites[1].to.clone(), &invites[1].answer(180, "b", "", ""));
    rig.send(&invites[0].to.clone(), &invites[0].answer(603, "a", "", ""));
    assert_eq!(rig.whats(), ["ACK", "CANCEL"]);
    rig.send(&invites[1].to.clone(), &invites[1].answer(487, "b", "", ""));
    assert_eq!(rig.events().last(), Some(&Event::Failed { leg, failure: LegFailure::Status(603) }));
}

#[test]
fn an_answer_without_a_session_description_takes_the_early_one_or_ends() {
    let mut rig = Rig::new();
    let leg = rig.call(trunk());
    let invite = rig.one();
    rig.send(TRUNK, &invite.answer(183, "t", "", SDP));
    rig.send(TRUNK, &invite.answer(200, "t", "", ""));
    assert!(matches!(rig.events().last(), Some(Event::Answered { sdp, .. }) if sdp == SDP));
    rig.ua.hang_up(rig.now, leg, None);
    rig.heard();
    let leg = rig.call(trunk());
    let invite = rig.one();
    rig.send(TRUNK, &invite.answer(200, "t", "", ""));
    assert_eq!(rig.whats(), ["ACK", "BYE"]);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(488) }]);
}

#[test]
fn what_cannot_be_called_is_refused_without_a_packet() {
    let mut rig = Rig::new();
    let invite = |target| Invite {
        target,
        caller: CallerIdentity { number: String::new(), display: String::new() },
        facts: CallFacts::default(),
        sdp: SDP.to_owned(),
        headers: vec![("Via".to_owned(), "x".to_owned()), ("X-A".to_owned(), "b\r\nX-B: c".to_owned())],
    };
    assert_eq!(rig.ua.invite(rig.now, invite(phone())), Err(InviteRefusal::NotRegistered));
    assert_eq!(rig.ua.invite(rig.now, invite(Endpoint::Phone("9".into()))), Err(InviteRefusal::Unknown));
    assert_eq!(rig.whats(), Vec::<String>::new());
    rig.ua.invite(rig.now, invite(trunk())).expect("a call");
    let heard = rig.one();
    assert_eq!((heard.header("X-A"), heard.header("X-B"), heard.parsed.head.vias), ("b  X-B: c", "", 1));
    assert!(heard.header("From").starts_with("\"anonymous\" <sip:anonymous@gw.example.com>"));
}

#[test]
fn a_response_that_is_not_for_us_is_counted_and_dropped() {
    let mut rig = Rig::new();
    let leg = rig.call(trunk());
    let invite = rig.one();
    let ok = invite.answer(200, "t", "", SDP);
    rig.send(TRUNK, &ok.replacen("Via: ", "Via: SIP/2.0/UDP 192.0.2.200;branch=z9hG4bKq\r\nVia: ", 1));
    rig.send(TRUNK, &ok.replace("branch=z9hG4bK", "branch=z9hG4bKx"));
    assert_eq!((rig.events(), rig.ua.figures().stray_responses), (vec![], 2));
    rig.ua.hang_up(rig.now, leg, None);
}
