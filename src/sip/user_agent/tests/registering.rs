//! REGISTER and digest.

use super::*;

const URI: &str = "sip:gw.example.com";

fn register_text(rig: &mut Rig, who: &str, number: u32, lines: &str) -> String {
    rig.request("REGISTER", URI, who, number, lines, "")
        .replace(&format!("To: <{URI}>"), &format!("To: <sip:{who}@gw.example.com>"))
}

#[test]
fn a_phone_registers_with_either_algorithm_and_its_binding_ends_on_time() {
    for (who, algorithm) in [("1001", "MD5"), ("1002", "SHA-256")] {
        let mut rig = Rig::new();
        let text = register_text(&mut rig, who, 1, "");
        rig.send(PHONE, &text);
        let challenge = rig.one();
        assert!(challenge.header("WWW-Authenticate").contains(&format!("algorithm={algorithm}")));
        assert!(challenge.header("Via").contains(";rport=40001;branch=z9hG4bKp1;received=203.0.113.7"));
        rig.register(who, PHONE);
        assert!(rig.ua.is_registered(&who.into()));
        rig.wait(299_999);
        assert_eq!(rig.events(), []);
        rig.wait(1);
        assert_eq!(rig.events(), [Event::Unregistered { phone: who.into() }]);
        assert!(!rig.ua.is_registered(&who.into()));
    }
}

#[test]
fn known_and_unknown_phones_get_the_same_answers_whatever_they_send() {
    let shape = |who: &str, lines: &str| {
        let mut rig = Rig::new();
        let text = register_text(&mut rig, who, 1, "");
        rig.send(PHONE, &text);
        let challenge = rig.one();
        let lines =
            lines.replace("CREDENTIALS", &Rig::credentials(&challenge, who, "wrong", "REGISTER", URI, 1));
        let text = register_text(&mut rig, who, 2, &lines);
        rig.send(PHONE, &text);
        let again = rig.one();
        let words = |heard: &Heard| {
            let value = heard.header("WWW-Authenticate");
            (heard.what(), heard.text.len(), value.contains("stale"), value.contains("MD5"))
        };
        (words(&challenge), words(&again), rig.ua.figures().bad_credentials)
    };
    for lines in ["", "CREDENTIALS", "Authorization: Digest username=\"x\"\r\n"] {
        let known = [shape("1001", lines), shape("1002", lines)];
        let unknown = ["1003", "1004", "1005", "1006", "1007", "1008"].map(|who| shape(who, lines));
        assert!(unknown.iter().all(|it| known.contains(it)), "{unknown:?} {known:?}");
        // Both algorithms are drawn, so neither gives a name away.
        assert!(known.iter().all(|it| unknown.contains(it)));
    }
}

#[test]
fn credentials_work_once_and_a_repeated_count_gets_a_new_nonce_with_stale() {
    let mut rig = Rig::new();
    let text = register_text(&mut rig, "1001", 1, "");
    rig.send(PHONE, &text);
    let challenge = rig.one();
    let lines = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 1);
    let text = register_text(&mut rig, "1001", 2, &lines);
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "200 REGISTER");
    // The same datagram again is a retransmission and is answered the same.
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "200 REGISTER");
    assert_eq!(rig.ua.figures().repeated, 1);
    // The same credentials in another request are a replay.
    let text = register_text(&mut rig, "1001", 3, &lines);
    rig.send(OTHER, &text);
    let again = rig.one();
    assert_eq!(again.what(), "401 REGISTER");
    assert!(again.header("WWW-Authenticate").contains("stale=true"));
    assert_ne!(again.header("WWW-Authenticate"), challenge.header("WWW-Authenticate"));
    // The next count of the old nonce is good.
    let lines = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 2);
    let text = register_text(&mut rig, "1001", 4, &lines);
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "200 REGISTER");
    assert_eq!(rig.ua.figures().bad_credentials, 0);
}

#[test]
fn an_old_nonce_is_stale_and_a_wrong_password_is_not() {
    let mut rig = Rig::new();
    let text = register_text(&mut rig, "1001", 1, "");
    rig.send(PHONE, &text);
    let challenge = rig.one();
    let wrong = Rig::credentials(&challenge, "1001", "guess", "REGISTER", URI, 1);
    let text = register_text(&mut rig, "1001", 2, &wrong);
    rig.send(PHONE, &text);
    assert!(!rig.one().header("WWW-Authenticate").contains("stale"));
    assert_eq!(rig.ua.figures().bad_credentials, 1);
    rig.wait(300_000);
    let right = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 2);
    let text = register_text(&mut rig, "1001", 3, &right);
    rig.send(PHONE, &text);
    assert!(rig.one().header("WWW-Authenticate").contains("stale=true"));
    // Stale is said to right credentials only: it must not tell a guesser that the nonce was the problem.
    let text = register_text(&mut rig, "1001", 4, &wrong);
    rig.send(PHONE, &text);
    assert!(!rig.one().header("WWW-Authenticate").contains("stale"));
    assert_eq!(rig.ua.figures().bad_credentials, 2);
}

#[test]
fn one_phone_cannot_register_as_another() {
    let mut rig = Rig::new();
    let text = register_text(&mut rig, "1001", 1, "");
    rig.send(PHONE, &text);
    let challenge = rig.one();
    let lines = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 1);
    let text = register_text(&mut rig, "1001", 2, &lines).replace("To: <sip:1001@", "To: <sip:1002@");
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "401 REGISTER");
    assert_eq!(rig.events(), []);
}

#[test]
fn a_brief_wish_is_423_with_the_shortest_time() {
    let mut rig = Rig::new();
    let text = register_text(&mut rig, "1001", 1, "");
    rig.send(PHONE, &text);
    let lines = Rig::credentials(&rig.one(), "1001", "s3cret", "REGISTER", URI, 1);
    let text = register_text(&mut rig, "1001", 2, &format!("{lines}Expires: 10\r\n"));
    rig.send(PHONE, &text);
    let answer = rig.one();
    assert_eq!((answer.what().as_str(), answer.header("Min-Expires")), ("423 REGISTER", "60"));
}
