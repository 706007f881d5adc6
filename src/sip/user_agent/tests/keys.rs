//! Keys that we tell by INFO.

use super::in_call::up;
use super::*;
use crate::sip::KeysByInfo;

/// The body of an INFO of ours.
fn keys(heard: &Heard) -> String {
    assert_eq!(
        (heard.what().as_str(), heard.header("Content-Type")),
        ("INFO", "application/dtmf-relay"),
        "{}",
        heard.text
    );
    heard.text.split("\r\n\r\n").nth(1).expect("a body").to_owned()
}

#[test]
fn rule_18_keys_go_by_info_one_after_another_in_the_dialogs_order() {
    let mut rig = Rig::new();
    let (leg, _) = up(&mut rig);
    for (digit, millis) in [('5', 250), ('#', 100), ('A', 160)] {
        rig.ua.send_digit(rig.now, leg, digit, millis);
    }
    let mut numbers = Vec::new();
    for expected in
        ["Signal=5\r\nDuration=250\r\n", "Signal=#\r\nDuration=100\r\n", "Signal=A\r\nDuration=160\r\n"]
    {
        let info = rig.one();
        assert_eq!(keys(&info), expected);
        // The next one waits for the answer, which is late: the same one comes again.
        rig.wait(500);
        assert_eq!(keys(&rig.one()), expected);
        numbers.push(
            info.header("CSeq").split(' ').next().and_then(|it| it.parse::<u32>().ok()).expect("a number"),
        );
        rig.send(TRUNK, &info.answer(200, "t", "", ""));
    }
    assert!(rig.heard().is_empty());
    assert!(numbers.windows(2).all(|it| it[1] == it[0] + 1), "{numbers:?}");
    assert_eq!(rig.events(), []);
}

#[test]
fn who_refuses_keys_by_info_is_told_none_any_more_and_none_is_lost() {
    for status in [405, 415, 501] {
        let mut rig = Rig::new();
        let (leg, _) = up(&mut rig);
        rig.ua.send_digit(rig.now, leg, '1', 160);
        rig.ua.send_digit(rig.now, leg, '2', 160);
        let info = rig.one();
        rig.send(TRUNK, &info.answer(status, "t", "", ""));
        let refused = ['1', '2'].map(|digit| Event::DigitRefused { leg, digit, millis: 160 });
        assert_eq!((rig.events(), rig.ua.keys_by_info(leg)), (refused.to_vec(), KeysByInfo::Refused));
        assert!(rig.heard().is_empty());
    }
}

#[test]
fn info_in_allow_alone_says_nothing_and_dtmf_relay_in_accept_beside_it_does() {
    for (more, known) in [
        ("", KeysByInfo::Unknown),
        ("Allow: INVITE, ACK, BYE, INFO\r\n", KeysByInfo::Unknown),
        ("Accept: application/sdp, application/dtmf-relay\r\n", KeysByInfo::Unknown),
        ("Allow: INVITE, INFO\r\nAccept: application/sdp, Application/DTMF-Relay;q=1\r\n", KeysByInfo::Taken),
    ] {
        let mut rig = Rig::new();
        rig.register("1001", PHONE);
        let leg = rig.call(Endpoint::Phone("1001".into()));
        let invite = rig.one();
        let contact = format!("Contact: <sip:1001@10.0.0.5:40001>\r\n{more}");
        rig.send(PHONE, &invite.answer(200, "p1", &contact, SDP));
        assert!(matches!(rig.events().as_slice(), [Event::Answered { .. }]));
        assert_eq!(rig.ua.keys_by_info(leg), known, "{more}");
    }
}
