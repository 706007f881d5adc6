//! Transfers asked for by REFER, and calls that take another's place.

use super::in_call::up;
use super::*;

const TO: &str = "Refer-To: <sip:1002@gw.example.com>\r\nReferred-By: <sip:200@pbx>\r\n";

fn refer(rig: &mut Rig, ok: &Heard, number: u32, lines: &str) {
    let text = rig.within(ok, "REFER", number, lines, "");
    rig.send(TRUNK, &text);
}

#[test]
fn a_refer_is_passed_on_taken_on_with_202_and_told_of_until_its_end() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    refer(&mut rig, &ok, 2, TO);
    let referral = Referral {
        id: ReferralId(2),
        dialled: "1002".to_owned(),
        replaces: None,
        referred_by: Some("<sip:200@pbx>".to_owned()),
    };
    assert_eq!((rig.whats(), rig.events()), (vec![], vec![Event::Referred { leg, referral }]));
    rig.ua.answer_referral(rig.now, leg, ReferralId(2), Ok(()));
    rig.ua.tell_referral(rig.now, leg, ReferralId(2), (180, "Ringing"), Telling::More);
    rig.ua.tell_referral(rig.now, leg, ReferralId(2), (200, "OK"), Telling::Last);
    rig.ua.tell_referral(rig.now, leg, ReferralId(2), (200, "OK"), Telling::Last);
    let heard = rig.heard();
    let whats: Vec<_> = heard.iter().map(Heard::what).collect();
    assert_eq!(whats, ["202 REFER", "NOTIFY", "NOTIFY", "NOTIFY"]);
    for (notify, state, line) in [
        (&heard[1], "active;expires=180", "SIP/2.0 100 Trying\r\n"),
        (&heard[2], "active;expires=180", "SIP/2.0 180 Ringing\r\n"),
        (&heard[3], "terminated;reason=noresource", "SIP/2.0 200 OK\r\n"),
    ] {
        assert_eq!((notify.header("Event"), notify.header("Subscription-State")), ("refer", state));
        assert_eq!(notify.header("Content-Type"), "message/sipfrag;version=2.0");
        assert!(notify.text.ends_with(&format!("\r\n\r\n{line}")), "{}", notify.text);
    }
    // The call itself goes on until somebody ends it.
    assert_eq!(rig.ua.figures().legs, 1);
}

#[test]
fn a_second_transfer_of_a_call_is_named_and_one_that_wants_silence_gets_it() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    refer(&mut rig, &ok, 2, TO);
    rig.ua.answer_referral(rig.now, leg, ReferralId(2), Err(603));
    assert_eq!(rig.one().what(), "603 REFER");
    refer(&mut rig, &ok, 3, TO);
    rig.ua.answer_referral(rig.now, leg, ReferralId(3), Ok(()));
    assert_eq!(rig.heard()[1].header("Event"), "refer;id=3");
    refer(&mut rig, &ok, 4, &format!("Refer-Sub: false\r\n{TO}"));
    rig.ua.answer_referral(rig.now, leg, ReferralId(4), Ok(()));
    let accepted = rig.one();
    assert_eq!((accepted.what().as_str(), accepted.header("Refer-Sub")), ("202 REFER", "false"));
}

#[test]
fn a_refer_that_cannot_be_meant_is_refused_at_once() {
    let mut rig = Rig::new();
    let (_, ok) = up(&mut rig);
    for (number, lines, what) in [
        (2, "", "400 REFER"),
        (3, "Refer-To: <sip:1@h>, <sip:2@h>\r\n", "400 REFER"),
        (4, "Refer-To: <sip:1@h;method=BYE>\r\n", "501 REFER"),
        (5, "Refer-To: <http://h/>\r\n", "416 REFER"),
        (6, "Refer-To: <sip:1@h?Replaces=nothing>\r\n", "400 REFER"),
    ] {
        refer(&mut rig, &ok, number, lines);
        assert_eq!((rig.one().what().as_str(), rig.events()), (what, vec![]), "{lines}");
    }
    refer(&mut rig, &ok, 7, "r: <tel:+5521955500123;phone-context=x>\r\n");
    let events = rig.events();
    let [Event::Referred { referral, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(referral.dialled, "+5521955500123");
}

#[test]
fn a_bye_while_a_refer_waits_answers_both() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    refer(&mut rig, &ok, 2, TO);
    rig.events();
    let bye = rig.within(&ok, "BYE", 3, "", "");
    rig.send(TRUNK, &bye);
    assert_eq!(rig.whats(), ["200 BYE", "487 REFER"]);
    assert_eq!(rig.events(), [Event::HungUp { leg, reason: None }]);
    rig.ua.answer_referral(rig.now, leg, ReferralId(2), Ok(()));
    assert_eq!(rig.whats(), Vec::<String>::new());
}

#[test]
fn an_attended_transfer_names_the_call_whose_place_it_takes_in_either_order_of_tags() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let tag = |value: &str| value.split(";tag=").nth(1).expect("a tag").to_owned();
    let (ours, theirs, call_id) =
        (tag(ok.header("To")), tag(ok.header("From")), ok.header("Call-ID").to_owned());
    for (number, to_tag, from_tag) in [(2, &ours, &theirs), (3, &theirs, &ours)] {
        let to = format!(
            "Refer-To: \"C\" <sip:1002@gw.example.com?Replaces={call_id}%3Bto-tag%3D{to_tag}%3Bfrom-tag%3D{from_tag}&X=y>\r\n"
        );
        refer(&mut rig, &ok, number, &to);
        let events = rig.events();
        let [Event::Referred { referral, .. }] = events.as_slice() else { panic!("{events:?}") };
        let replaces = referral.replaces.clone().expect("Replaces");
        assert_eq!(rig.ua.leg_named(&replaces), Some(leg));
        assert_eq!(rig.ua.leg_named(&Replaces { from_tag: "x".to_owned(), ..replaces.clone() }), None);
        assert_eq!(Replaces::parse(&replaces.to_string()), Some(replaces));
    }
}

#[test]
fn an_invite_with_replaces_names_the_leg_and_a_wrong_one_is_refused() {
    let mut rig = Rig::new();
    let (leg, _, ack) = rig.answered_call();
    let tag = |value: &str| value.split(";tag=").nth(1).expect("a tag").to_owned();
    let (ours, theirs, call_id) =
        (tag(ack.header("From")), tag(ack.header("To")), ack.header("Call-ID").to_owned());
    for (number, value, what) in [
        (1, format!("{call_id};to-tag={ours};from-tag={theirs}"), "100 INVITE"),
        (2, format!("{call_id};to-tag={ours};from-tag=x"), "481 INVITE"),
        (3, format!("{call_id};to-tag={ours};from-tag={theirs};early-only"), "486 INVITE"),
        (4, "gibberish".to_owned(), "400 INVITE"),
    ] {
        let lines = format!("Require: replaces\r\nReplaces: {value}\r\n{SDP_LINE}");
        let text = rig.request("INVITE", "sip:1@192.0.2.1", "200", number, &lines, SDP);
        rig.send(TRUNK, &text);
        assert_eq!(rig.one().what(), what, "{value}");
        match rig.events().as_slice() {
            [Event::Invited { replaces, .. }] => assert_eq!(*replaces, Some(leg)),
            other => assert!(what != "100 INVITE" && other.is_empty(), "{other:?}"),
        }
    }
}

#[test]
fn an_early_dialog_of_ours_can_be_replaced_and_one_of_theirs_cannot() {
    let mut rig = Rig::new();
    let leg = rig.call(Endpoint::Trunk("pbx".into(), "200".to_owned()));
    let invite = rig.one();
    rig.send(TRUNK, &invite.answer(180, "rings", "", ""));
    rig.events();
    let tag = |value: &str| value.split(";tag=").nth(1).expect("a tag").to_owned();
    let (ours, call_id) = (tag(invite.header("From")), invite.header("Call-ID").to_owned());
    let theirs = "rings";
    for (number, value, what) in [
        (1, format!("{call_id};to-tag={ours};from-tag={theirs};early-only"), "100 INVITE"),
        (2, format!("{call_id};to-tag={ours};from-tag=x"), "481 INVITE"),
    ] {
        let lines = format!("Replaces: {value}\r\n{SDP_LINE}");
        let text = rig.request("INVITE", "sip:1@192.0.2.1", "201", number, &lines, SDP);
        rig.send(TRUNK, &text);
        assert_eq!(rig.one().what(), what, "{value}");
        match rig.events().as_slice() {
            [Event::Invited { replaces, leg: newcomer, .. }] => {
                assert_eq!(*replaces, Some(leg));
                assert_eq!(rig.ua.peer_of(*newcomer), rig.ua.peer_of(leg));
            }
            other => assert!(what != "100 INVITE" && other.is_empty(), "{other:?}"),
        }
    }
}

#[test]
fn an_invite_that_would_take_the_place_of_two_calls_or_of_one_that_we_have_not_answered_is_refused() {
    let mut rig = Rig::new();
    let (_, _, ack) = rig.answered_call();
    let tag = |value: &str| value.split(";tag=").nth(1).expect("a tag").to_owned();
    let value = format!(
        "{};to-tag={};from-tag={}",
        ack.header("Call-ID"),
        tag(ack.header("From")),
        tag(ack.header("To"))
    );
    let two = format!("Replaces: {value}\r\nReplaces: {value}\r\n{SDP_LINE}");
    let text = rig.request("INVITE", "sip:1@192.0.2.1", "200", 1, &two, SDP);
    rig.send(TRUNK, &text);
    assert_eq!((rig.one().what().as_str(), rig.events()), ("400 INVITE", vec![]));
    // Somebody else's call to us, which waits for our answer: only whoever has begun it may move it (RFC 3891 §3).
    let waiting = rig.request("INVITE", "sip:2@192.0.2.1", "201", 1, SDP_LINE, SDP);
    rig.send(TRUNK, &waiting);
    let events = rig.events();
    let [Event::Invited { leg, .. }] = events.as_slice() else { panic!("{events:?}") };
    rig.heard();
    rig.ua.ring(rig.now, *leg, None);
    let ringing = rig.one();
    let value = format!(
        "{};to-tag={};from-tag={}",
        ringing.header("Call-ID"),
        tag(ringing.header("To")),
        tag(ringing.header("From"))
    );
    for early in ["", ";early-only"] {
        let lines = format!("Replaces: {value}{early}\r\n{SDP_LINE}");
        let text = rig.request("INVITE", "sip:3@192.0.2.1", "202", 1, &lines, SDP);
        rig.send(TRUNK, &text);
        assert_eq!((rig.one().what().as_str(), rig.events()), ("481 INVITE", vec![]), "{early}");
    }
}
