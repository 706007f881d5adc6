//! Our own registration with trunks.

use super::*;
use crate::sip::trunk::{Login, RegisterSettings, RegistrationFailure, TrunkChange, TrunkServer};

const SECOND: &str = "198.51.100.10:5060";

fn rig() -> Rig {
    let mut settings = settings();
    let trunk = &mut settings.trunks[0];
    trunk.servers.push(TrunkServer { address: SECOND.parse().unwrap(), priority: 20, weight: 100 });
    trunk.domain = Some("isp.example.net".to_owned());
    trunk.register = Some(RegisterSettings::new("acme"));
    trunk.login = Some(Login { user: "acme-auth".to_owned(), password: Secret::new("secret".to_owned()) });
    let mut rig = Rig::with(settings);
    rig.ua.start_trunks(rig.now);
    rig.wait(500);
    rig
}

const ASK: &str = "WWW-Authenticate: Digest realm=\"isp\", nonce=\"n\", qop=\"auth\"\r\n";

fn changed(change: TrunkChange) -> Event {
    Event::Trunk { trunk: "pbx".into(), change }
}

/// Answers a REGISTER with a challenge and the next one with 200.
fn take(rig: &mut Rig, register: &Heard, seconds: u32) -> Heard {
    let from = register.to.clone();
    rig.send(&from, &register.answer(401, "r", ASK, ""));
    let again = rig.one();
    let lines = format!("Contact: <sip:acme@192.0.2.1:5060>;expires={seconds}\r\n");
    rig.send(&from, &again.answer(200, "r", &lines, ""));
    again
}

#[test]
fn a_registration_is_made_with_credentials_kept_fresh_and_given_back() {
    let mut rig = rig();
    let register = rig.one();
    assert_eq!((register.what().as_str(), register.to.as_str()), ("REGISTER", TRUNK));
    assert_eq!(register.uri(), "sip:isp.example.net");
    assert_eq!(register.header("To"), "<sip:acme@isp.example.net>");
    assert!(register.header("From").starts_with("<sip:acme@isp.example.net>;tag="));
    assert_eq!(register.header("Contact"), "<sip:acme@192.0.2.1:5060>");
    assert_eq!((register.header("Expires"), register.header("CSeq")), ("600", "1 REGISTER"));
    let again = take(&mut rig, &register, 120);
    assert_eq!((again.header("CSeq"), again.header("Call-ID")), ("2 REGISTER", register.header("Call-ID")));
    assert!(again.header("Authorization").contains("username=\"acme-auth\""));
    assert_eq!(rig.events(), [changed(TrunkChange::Registered(TRUNK.parse().unwrap()))]);
    assert_eq!(rig.ua.trunks().next().map(|it| it.as_text()), Some("up"));

    rig.wait(110_000);
    let refresh = rig.heard().remove(0);
    assert_eq!(refresh.header("CSeq"), "3 REGISTER");
    assert!(refresh.header("Authorization").contains("nc=00000002"), "no second round trip");
    rig.send(TRUNK, &refresh.answer(200, "r", "Expires: 3600\r\n", ""));
    assert_eq!(rig.events(), []);

    rig.ua.leave_trunks(rig.now);
    assert!(!rig.ua.has_left_trunks());
    let farewell = rig.one();
    assert_eq!((farewell.header("Expires"), farewell.to.as_str()), ("0", TRUNK));
    rig.send(TRUNK, &farewell.answer(401, "r", ASK, ""));
    let farewell = rig.one();
    assert_eq!(farewell.header("Expires"), "0");
    rig.send(TRUNK, &farewell.answer(200, "r", "", ""));
    assert!(rig.ua.has_left_trunks());
    rig.wait(7_200_000);
    assert_eq!((rig.whats(), rig.ua.figures().transactions), (vec![], 0));
}

#[test]
fn a_silent_server_is_followed_by_the_next_and_all_silent_by_a_pause() {
    let mut rig = rig();
    assert_eq!(rig.heard().first().map(|it| it.to.clone()).as_deref(), Some(TRUNK));
    rig.wait(8000);
    let second = rig.heard().into_iter().find(|it| it.to == SECOND).expect("the next server");
    assert_eq!(second.header("CSeq"), "2 REGISTER");
    rig.wait(8000);
    assert_eq!(rig.events(), [changed(TrunkChange::NotRegistered(RegistrationFailure::Silent))]);
    assert_eq!(rig.ua.trunks().next().map(|it| it.as_text()), Some("not registered"));
    rig.heard();
    rig.wait(2400);
    assert_eq!(rig.whats(), Vec::<String>::new());
    rig.wait(2600);
    let register = rig.heard().remove(0);
    take(&mut rig, &register, 600);
    let server = register.to.parse().unwrap();
    assert_eq!(rig.events(), [changed(TrunkChange::Registered(server))]);
}

#[test]
fn a_server_that_wants_a_longer_time_gets_it_in_the_same_round() {
    let mut rig = rig();
    let register = rig.one();
    rig.send(TRUNK, &register.answer(423, "r", "Min-Expires: 1800\r\n", ""));
    let longer = rig.one();
    assert_eq!((longer.header("Expires"), longer.header("CSeq")), ("1800", "2 REGISTER"));
    take(&mut rig, &longer, 1800);
    assert_eq!(rig.events(), [changed(TrunkChange::Registered(TRUNK.parse().unwrap()))]);
}

#[test]
fn a_wrong_password_is_told_once_and_not_tried_in_a_loop() {
    let mut rig = rig();
    let mut sent = std::collections::BTreeSet::new();
    for _ in 0..600 {
        for register in rig.heard() {
            sent.insert(register.header("CSeq").to_owned());
            let from = register.to.clone();
            rig.send(&from, &register.answer(401, "r", ASK, ""));
        }
        rig.wait(1000);
    }
    let events = rig.events();
    assert_eq!(events[0], changed(TrunkChange::LoginRefused));
    assert_eq!(events[1], changed(TrunkChange::NotRegistered(RegistrationFailure::Login)));
    assert_eq!(events.len(), 2, "{events:?}");
    // Two servers, two requests each, in a round; at most five rounds in ten minutes.
    assert!(sent.len() <= 20, "{sent:?}");
    assert_eq!(rig.ua.trunks().next().map(|it| it.as_text()), Some("login refused"));
}

#[test]
fn a_call_to_our_account_carries_the_dialled_number_in_to() {
    let mut rig = rig();
    rig.heard();
    let kind = "P-Asserted-Identity: <sip:+4930123@isp>\r\n".to_owned() + SDP_LINE;
    let text = rig
        .request("INVITE", "sip:acme@192.0.2.1", "200", 1, &kind, SDP)
        .replace("To: <sip:acme@192.0.2.1>", "To: <sip:+493055500010@isp.example.net>");
    rig.send(TRUNK, &text);
    match rig.events().as_slice() {
        [Event::Invited { dialled, from, .. }] => {
            assert_eq!((dialled.as_str(), from.number.as_str()), ("+493055500010", "+4930123"));
        }
        other => panic!("{other:?}"),
    }
}
