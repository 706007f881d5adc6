//! Calls to us.

use super::*;

const DIALLED: &str = "sip:85521955500123@gw.example.com";

#[test]
fn a_phone_calls_with_digest_and_hears_100_180_200() {
    let mut rig = Rig::new();
    let text = rig.request("INVITE", DIALLED, "1001", 1, SDP_LINE, SDP);
    rig.send(PHONE, &text);
    let challenge = rig.one();
    assert_eq!(challenge.what(), "401 INVITE");
    // The ACK of a challenge belongs to nothing we remember.
    rig.send(PHONE, &text.replace("INVITE ", "ACK ").replace("1 INVITE", "1 ACK"));
    let lines = Rig::credentials(&challenge, "1001", "s3cret", "INVITE", DIALLED, 1) + SDP_LINE;
    let text = rig.request("INVITE", DIALLED, "1001", 2, &lines, SDP);
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "100 INVITE");
    let events = rig.events();
    let [Event::Invited { leg, from, dialled, sdp, call_id, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(from.origin, CallerOrigin::Phone("1001".into()));
    assert_eq!((dialled.as_str(), sdp.as_deref(), call_id.as_str()), ("85521955500123", Some(SDP), "c1001"));
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "100 INVITE");
    rig.ua.ring(rig.now, *leg, None);
    let ringing = rig.one();
    assert_eq!((ringing.what().as_str(), ringing.to.as_str()), ("180 INVITE", PHONE));
    rig.ua.accept(rig.now, *leg, SDP.to_owned());
    let ok = rig.one();
    assert_eq!(ok.header("To"), ringing.header("To"));
    let ack = rig.within(&ok, "ACK", 2, "", "");
    rig.send(PHONE, &ack);
    let events = rig.events();
    let [Event::Confirmed { dialog, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (dialog.remote_target.as_str(), dialog.flow.remote.to_string()),
        ("sip:1001@10.0.0.5:5060", PHONE.to_owned())
    );
    rig.wait(100_000);
    assert_eq!(rig.whats(), Vec::<String>::new());
    rig.ua.hang_up(rig.now, *leg, Some(Reason { protocol: "Q.850", cause: 16, text: String::new() }));
    let bye = rig.one();
    assert_eq!((bye.what().as_str(), bye.to.as_str(), bye.uri()), ("BYE", PHONE, "sip:1001@10.0.0.5:5060"));
    assert_eq!(bye.header("Reason"), "Q.850;cause=16");
}

#[test]
fn an_invite_whose_content_type_has_spaces_around_the_slash_is_not_refused_with_415() {
    let mut rig = Rig::new();
    let lines = "c: application / sdp\r\nAccept: application / *\r\n";
    let text = rig.request("INVITE", "sip:85521955500123@192.0.2.1", "200", 1, lines, SDP);
    rig.send(TRUNK, &text);
    assert_eq!(rig.one().what(), "100 INVITE");
    let events = rig.events();
    let [Event::Invited { sdp, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(sdp.as_deref(), Some(SDP));
}

#[test]
fn an_offer_of_a_device_that_forgets_to_say_what_it_is_is_read_and_another_body_is_not() {
    for (body, what) in [(SDP, "100 INVITE"), ("hello", "415 INVITE")] {
        let mut rig = Rig::new();
        let text = rig.request("INVITE", "sip:85521955500123@192.0.2.1", "200", 1, "", body);
        rig.send(TRUNK, &text);
        assert_eq!(rig.one().what(), what);
        let events = rig.events();
        let sdp = events.iter().find_map(|event| match event {
            Event::Invited { sdp, .. } => sdp.as_deref(),
            _ => None,
        });
        assert_eq!(sdp, Some(SDP).filter(|_| what == "100 INVITE"));
    }
}

#[test]
fn a_captured_response_cannot_dial_another_number() {
    let mut rig = Rig::new();
    let text = rig.request("INVITE", DIALLED, "1001", 1, SDP_LINE, SDP);
    rig.send(PHONE, &text);
    let lines = Rig::credentials(&rig.one(), "1001", "s3cret", "INVITE", DIALLED, 1) + SDP_LINE;
    let text = rig.request("INVITE", "sip:8900123456@gw.example.com", "1001", 2, &lines, SDP);
    rig.send(OTHER, &text);
    assert_eq!(rig.one().what(), "401 INVITE");
    assert_eq!(rig.events(), []);
}

#[test]
fn a_200_is_repeated_until_acked_and_a_lost_ack_ends_the_call_after_64_t1() {
    let mut rig = Rig::new();
    let (leg, text) = rig.trunk_calls(SDP);
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    rig.heard();
    rig.send(TRUNK, &text);
    assert_eq!(rig.whats(), Vec::<String>::new());
    let start = rig.now.mono;
    let mut sent = Vec::new();
    while rig.ua.figures().ack_timeouts == 0 {
        rig.wait(500);
        sent.extend(rig.heard().iter().map(|it| (it.what(), (rig.now.mono - start).as_millis())));
    }
    let times: Vec<u128> = sent.iter().filter(|(what, _)| what == "200 INVITE").map(|(_, at)| *at).collect();
    assert_eq!(times, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(sent.last(), Some(&("BYE".to_owned(), 32_000)));
    assert_eq!(rig.events(), [Event::AckTimeout { leg }]);
}

#[test]
fn who_hangs_up_before_the_ack_sends_bye_after_it() {
    let mut rig = Rig::new();
    let (leg, _) = rig.trunk_calls(SDP);
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    let ok = rig.one();
    rig.ua.hang_up(rig.now, leg, None);
    assert_eq!(rig.whats(), Vec::<String>::new());
    let ack = rig.within(&ok, "ACK", 1, "", "");
    rig.send(TRUNK, &ack);
    assert_eq!(rig.one().what(), "BYE");
    assert!(matches!(rig.events().as_slice(), [Event::Confirmed { .. }]));
    assert_eq!(rig.ua.figures().legs, 0);
}

#[test]
fn a_caller_that_gives_up_gets_200_and_487_and_the_487_is_repeated_until_acked() {
    let mut rig = Rig::new();
    let (leg, text) = rig.trunk_calls(SDP);
    let cancel = text.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    rig.send(TRUNK, &cancel);
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["200 CANCEL", "487 INVITE"]);
    assert_eq!(heard[0].header("To"), heard[1].header("To"));
    assert_eq!(rig.events(), [Event::Cancelled { leg }]);
    rig.wait(500);
    assert_eq!(rig.one().what(), "487 INVITE");
    let ack = text.replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK");
    rig.send(TRUNK, &ack);
    rig.wait(40_000);
    assert_eq!(rig.whats(), Vec::<String>::new());
    assert_eq!((rig.ua.figures().transactions, rig.ua.figures().legs), (0, 0));
    rig.send(TRUNK, &cancel);
    assert_eq!(rig.one().what(), "481 CANCEL");
}

#[test]
fn a_cancel_that_comes_after_the_200_changes_nothing() {
    let mut rig = Rig::new();
    let (leg, text) = rig.trunk_calls(SDP);
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    rig.heard();
    rig.send(TRUNK, &text.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"));
    assert_eq!(rig.one().what(), "200 CANCEL");
    assert_eq!(rig.events(), []);
}

#[test]
fn rule_9_a_denial_carries_phrase_reason_and_warning() {
    let mut rig = Rig::new();
    let (leg, _) = rig.trunk_calls(SDP);
    let refusal = Refusal {
        status: 403,
        phrase: "No permission\r\nX: y".to_owned(),
        reason: Some(Reason { protocol: "Q.850", cause: 21, text: "Call rejected".to_owned() }),
        warning: Some("per-number cap".to_owned()),
        retry_after: Some(7),
    };
    rig.ua.refuse(rig.now, leg, refusal);
    let denial = rig.one();
    assert!(denial.text.starts_with("SIP/2.0 403 No permission  X: y\r\n"), "{}", denial.text);
    assert_eq!(denial.header("Reason"), "Q.850;cause=21;text=\"Call rejected\"");
    assert_eq!(denial.header("Warning"), "399 192.0.2.1:5060 \"per-number cap\"");
    assert_eq!(denial.header("Retry-After"), "7");
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_the_ack_brings_the_answer() {
    let mut rig = Rig::new();
    let (leg, _) = rig.trunk_calls("");
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    let ok = rig.one();
    let ack = rig.within(&ok, "ACK", 1, SDP_LINE, SDP);
    rig.send(TRUNK, &ack);
    let events = rig.events();
    assert!(matches!(events.as_slice(), [Event::Confirmed { .. }, Event::Reanswered { .. }]), "{events:?}");
}

#[test]
fn a_trunk_caller_is_named_by_its_asserted_identity() {
    let mut rig = Rig::new();
    let lines = format!("P-Asserted-Identity: \"Ann\" <tel:+15550100>\r\n{SDP_LINE}");
    let text = rig.request("INVITE", "sip:+552199@192.0.2.1", "anonymous", 1, &lines, SDP);
    rig.send(TRUNK, &text);
    let events = rig.events();
    let [Event::Invited { from, dialled, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (from.number.as_str(), from.display.as_str(), dialled.as_str()),
        ("+15550100", "Ann", "+552199")
    );
}

#[test]
fn the_same_call_on_two_paths_is_482_once_and_a_route_is_recorded() {
    let mut rig = Rig::new();
    let (_, text) = rig.trunk_calls(SDP);
    rig.send(TRUNK, &text.replace("branch=z9hG4bK", "branch=z9hG4bKother"));
    assert_eq!(rig.one().what(), "482 INVITE");
    assert_eq!(rig.events(), []);
}

#[test]
fn record_route_comes_back_and_leads_our_bye() {
    let mut rig = Rig::new();
    let lines = format!("Record-Route: <sip:198.51.100.20:5062;lr>, <sip:198.51.100.21;lr>\r\n{SDP_LINE}");
    let text = rig.request("INVITE", DIALLED, "200", 1, &lines, SDP);
    rig.send(TRUNK, &text);
    let events = rig.events();
    let [Event::Invited { leg, .. }] = events.as_slice() else { panic!("{events:?}") };
    rig.heard();
    rig.ua.accept(rig.now, *leg, SDP.to_owned());
    let ok = rig.one();
    assert!(ok.text.contains("Record-Route: <sip:198.51.100.20:5062;lr>, <sip:198.51.100.21;lr>\r\n"));
    let ack = rig.within(&ok, "ACK", 1, "", "");
    rig.send(TRUNK, &ack);
    rig.ua.hang_up(rig.now, *leg, None);
    let bye = rig.one();
    assert_eq!((bye.to.as_str(), bye.header("Route")), ("198.51.100.20:5062", "<sip:198.51.100.20:5062;lr>"));
}

#[test]
fn too_many_calls_at_once_are_503_and_the_memory_stays_bounded() {
    let mut rig = Rig::with(Settings { max_transactions: 2, ..settings() });
    for (number, what) in [(1, "100 INVITE"), (2, "100 INVITE"), (3, "503 INVITE")] {
        let text = rig.request("INVITE", DIALLED, "200", number, SDP_LINE, SDP);
        rig.send(TRUNK, &text);
        assert_eq!(rig.one().what(), what);
    }
    assert_eq!((rig.ua.figures().overloads, rig.ua.figures().legs), (1, 2));
}

#[test]
fn strangers_leave_nothing_behind() {
    let mut rig = Rig::new();
    for number in 1..200 {
        let text = rig.request("INVITE", DIALLED, "x", number, SDP_LINE, SDP);
        rig.send(OTHER, &text);
        let text = rig.request("OPTIONS", DIALLED, "x", number, "", "");
        rig.send(OTHER, &text);
    }
    assert_eq!(rig.ua.figures().transactions, 0);
    assert_eq!(rig.ua.poll_timeout(), None);
}

#[test]
fn a_registered_phone_on_the_trunks_address_is_still_a_phone() {
    let mut rig = Rig::new();
    let shared = "198.51.100.9:40007";
    rig.register("1001", shared);
    let text = rig.request("INVITE", DIALLED, "1001", 1, SDP_LINE, SDP);
    rig.send(shared, &text);
    assert_eq!(rig.one().what(), "401 INVITE");
    rig.send("198.51.100.9:40008", &text.replace("branch=z9hG4bK", "branch=z9hG4bKo"));
    assert_eq!(rig.one().what(), "100 INVITE");
}

#[test]
fn a_phone_that_ends_its_to_with_an_empty_parameter_gets_an_answer_that_can_be_read() {
    let mut rig = Rig::new();
    let uri = "sip:85521955500123@192.0.2.1";
    let text = rig
        .request("OPTIONS", uri, "pbx", 1, "", "")
        .replace(&format!("To: <{uri}>"), &format!("To: <{uri}>; "));
    assert!(text.contains(">; \r\n"), "{text}");
    rig.send(TRUNK, &text);
    let to = rig.one().header("To").to_owned();
    assert!(to.starts_with(&format!("<{uri}>;tag=")), "{to}");
}
