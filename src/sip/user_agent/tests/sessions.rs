//! Session timers (RFC 4028).

use super::in_call::up;
use super::*;

const TIMER: &str = "Supported: timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";

/// A call from the trunk whose INVITE has these lines, up and acknowledged; our 200.
fn up_with(rig: &mut Rig, lines: &str) -> (LegId, Heard) {
    let lines = format!("{lines}{SDP_LINE}");
    let text = rig.request("INVITE", "sip:85521955500123@192.0.2.1", "200", 1, &lines, SDP);
    rig.send(TRUNK, &text);
    rig.heard();
    let events = rig.events();
    let [Event::Invited { leg, .. }] = events.as_slice() else { panic!("{events:?}") };
    rig.ua.accept(rig.now, *leg, SDP.to_owned());
    let ok = rig.one();
    let ack = rig.within(&ok, "ACK", 1, "", "");
    rig.send(TRUNK, &ack);
    rig.events();
    (*leg, ok)
}

/// A call to the phone, answered with these lines.
fn answered_with(rig: &mut Rig, lines: &str) -> (LegId, Heard) {
    rig.register("1001", PHONE);
    let leg = rig.call(Endpoint::Phone("1001".into()));
    let invite = rig.one();
    let lines = format!("Contact: <sip:1001@10.0.0.5:40001>\r\n{lines}");
    rig.send(PHONE, &invite.answer(200, "p1", &lines, SDP));
    let ack = rig.one();
    rig.events();
    (leg, ack)
}

#[test]
fn our_invite_asks_for_half_an_hour_and_leaves_the_refresher_to_the_phone() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    rig.call(Endpoint::Phone("1001".into()));
    let invite = rig.one();
    assert_eq!((invite.header("Session-Expires"), invite.header("Min-SE")), ("1800", ""));
    assert_eq!(invite.header("Supported"), "100rel, timer, replaces, norefersub");
}

#[test]
fn a_caller_without_timers_gets_none_and_the_call_lasts() {
    let mut rig = Rig::new();
    let (_, ok) = up(&mut rig);
    assert_eq!((ok.header("Session-Expires"), ok.header("Require")), ("", ""));
    rig.wait(7_200_000);
    assert_eq!((rig.whats(), rig.ua.figures().legs), (vec![], 1));
}

#[test]
fn who_refreshes_is_as_the_table_of_rfc_4028_says() {
    for (lines, granted, required) in [
        ("Supported: timer\r\n", "1800;refresher=uac", "timer"),
        ("Supported: timer\r\nSession-Expires: 600\r\n", "600;refresher=uac", "timer"),
        ("Supported: timer\r\nSession-Expires: 7200;refresher=uac\r\n", "1800;refresher=uac", "timer"),
        ("Supported: timer\r\nx: 600 ; refresher=UAS\r\n", "600;refresher=uas", ""),
        // A proxy wants the end of a session whose caller knows nothing of it.
        ("Session-Expires: 600\r\n", "600;refresher=uas", ""),
        ("Supported: timer\r\nSession-Expires: 600\r\nMin-SE: 3600\r\n", "3600;refresher=uac", "timer"),
    ] {
        let (_, ok) = up_with(&mut Rig::new(), lines);
        assert_eq!((ok.header("Session-Expires"), ok.header("Require")), (granted, required), "{lines}");
    }
}

#[test]
fn an_interval_below_ours_is_422_with_the_least_we_take() {
    let mut rig = Rig::new();
    for (method, lines) in [("INVITE", SDP_LINE), ("UPDATE", "")] {
        let lines = format!("Supported: timer\r\nSession-Expires: 60\r\n{lines}");
        let text = rig.request(method, "sip:8552195@192.0.2.1", "200", 1, &lines, SDP);
        rig.send(TRUNK, &text);
        let refusal = rig.one();
        assert_eq!((refusal.what(), refusal.header("Min-SE")), (format!("422 {method}"), "90"));
    }
    assert_eq!(rig.events(), []);
}

#[test]
fn a_caller_that_stops_refreshing_is_ended_32_s_before_the_end_with_its_own_event() {
    let mut rig = Rig::new();
    let (leg, ok) = up_with(&mut rig, "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n");
    rig.wait(500_000);
    // A refresh without an offer counts as one with it.
    let lines = format!("{TIMER}Session-Expires: 600;refresher=uac\r\n");
    let text = rig.within(&ok, "UPDATE", 2, &lines, "");
    rig.send(TRUNK, &text);
    let refreshed = rig.one();
    assert_eq!(
        (refreshed.what().as_str(), refreshed.header("Session-Expires")),
        ("200 UPDATE", "600;refresher=uac")
    );
    rig.wait(567_999);
    assert_eq!((rig.whats(), rig.events()), (vec![], vec![]));
    rig.wait(1);
    let bye = rig.one();
    assert_eq!(bye.header("Reason"), "SIP;cause=408;text=\"Session expired\"");
    assert_eq!(rig.events(), [Event::Expired { leg }]);
    assert_eq!((rig.ua.figures().legs, rig.ua.figures().expired_sessions), (0, 1));
}

#[test]
fn we_refresh_by_update_where_it_is_taken_and_the_session_begins_anew() {
    let mut rig = Rig::new();
    let (_, ack) = answered_with(&mut rig, "Allow: INVITE, UPDATE\r\nSession-Expires: 200;refresher=uac\r\n");
    rig.wait(99_999);
    assert_eq!(rig.whats(), Vec::<String>::new());
    for _ in 0..3 {
        rig.wait(1);
        let update = rig.one();
        assert_eq!((update.what().as_str(), update.to.as_str()), ("UPDATE", PHONE));
        assert_eq!(update.header("Session-Expires"), "200;refresher=uac");
        assert_eq!((update.header("To"), update.header("Content-Type")), (ack.header("To"), ""));
        rig.send(PHONE, &update.answer(200, "", "Session-Expires: 200;refresher=uac\r\n", ""));
        rig.wait(99_999);
    }
    assert_eq!((rig.whats(), rig.ua.figures().legs), (vec![], 1));
}

#[test]
fn we_refresh_by_re_invite_with_what_was_said_before_and_an_unchanged_answer_is_no_news() {
    let mut rig = Rig::new();
    let (leg, _) = answered_with(&mut rig, "Session-Expires: 200\r\n");
    rig.wait(100_000);
    let again = rig.one();
    assert_eq!((again.what().as_str(), again.header("CSeq")), ("INVITE", "2 INVITE"));
    assert!(again.text.ends_with(SDP), "{}", again.text);
    let ok = again.answer(200, "", "Session-Expires: 200;refresher=uac\r\n", SDP);
    rig.send(PHONE, &ok);
    assert_eq!((rig.one().what().as_str(), rig.events()), ("ACK", vec![]));
    rig.send(PHONE, &ok);
    assert_eq!((rig.one().what().as_str(), rig.events()), ("ACK", vec![]));
    rig.wait(100_000);
    let changed = SDP.replace("4000", "4002");
    let again = rig.one();
    rig.send(PHONE, &again.answer(200, "", "Session-Expires: 200\r\n", &changed));
    assert_eq!(rig.events(), [Event::Reanswered { leg, sdp: changed }]);
}

#[test]
fn a_phone_that_has_forgotten_the_call_or_died_ends_it() {
    for dead in [false, true] {
        let mut rig = Rig::new();
        let (leg, _) = answered_with(&mut rig, "Allow: UPDATE\r\nSession-Expires: 200;refresher=uac\r\n");
        rig.wait(100_000);
        let update = rig.one();
        if dead {
            rig.wait(32_000);
        } else {
            rig.send(PHONE, &update.answer(481, "", "", ""));
        }
        assert_eq!(rig.events(), [Event::Expired { leg }]);
        assert_eq!(rig.whats().last().map(String::as_str), Some("BYE"));
    }
}

#[test]
fn a_phone_that_lists_update_and_refuses_it_is_refreshed_by_re_invite_at_once() {
    let mut rig = Rig::new();
    answered_with(&mut rig, "Allow: INVITE, UPDATE\r\nSession-Expires: 200;refresher=uac\r\n");
    rig.wait(100_000);
    let update = rig.one();
    rig.send(PHONE, &update.answer(405, "", "", ""));
    assert_eq!(rig.one().what(), "INVITE");
}

#[test]
fn a_refresh_that_is_refused_is_tried_again_and_at_last_the_session_ends() {
    let mut rig = Rig::new();
    let (leg, _) = answered_with(&mut rig, "Allow: UPDATE\r\nSession-Expires: 90;refresher=uac\r\n");
    rig.wait(45_000);
    let update = rig.one();
    rig.send(PHONE, &update.answer(500, "", "Retry-After: 4\r\n", ""));
    rig.wait(4_000);
    let update = rig.one();
    assert_eq!(update.what(), "UPDATE");
    rig.send(PHONE, &update.answer(500, "", "", ""));
    // 90 s less a third of it.
    rig.wait(11_000);
    assert_eq!(rig.whats().last().map(String::as_str), Some("BYE"));
    assert_eq!(rig.events(), [Event::Expired { leg }]);
}

#[test]
fn an_invite_that_is_too_brief_for_somebody_is_sent_again_once_with_the_interval_it_wants() {
    let mut rig = Rig::with(Settings { session_expires: Duration::from_secs(120), ..settings() });
    let leg = rig.call(Endpoint::Trunk("pbx".into(), "200".to_owned()));
    let invite = rig.one();
    assert_eq!(invite.header("Session-Expires"), "120");
    rig.send(TRUNK, &invite.answer(422, "t", "Min-SE: 900\r\n", ""));
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["ACK", "INVITE"]);
    let again = &heard[1];
    assert_eq!(
        (again.header("CSeq"), again.header("Session-Expires"), again.header("Min-SE")),
        ("2 INVITE", "900", "900")
    );
    assert_eq!(
        (again.header("Call-ID"), again.header("From"), again.header("To")),
        (invite.header("Call-ID"), invite.header("From"), invite.header("To"))
    );
    assert_eq!(rig.events(), []);
    // Taken back, the CANCEL carries the number of the INVITE that is out.
    rig.send(TRUNK, &again.answer(180, "t2", "", ""));
    rig.ua.cancel(rig.now, leg, Reason::completed_elsewhere());
    assert_eq!(rig.one().header("CSeq"), "2 CANCEL");
    rig.send(TRUNK, &again.answer(487, "t2", "", ""));
    assert!(matches!(rig.events().as_slice(), [Event::Ringing { .. }, Event::Failed { .. }]));
}
