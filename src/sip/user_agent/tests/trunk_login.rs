//! Trunks that ask who we are: every method, every algorithm, and a password that is wrong.

use super::*;
use crate::sip::digest::Credentials;
use crate::sip::trunk::{Login, TrunkChange};

fn rig() -> Rig {
    let mut settings = settings();
    let password = Secret::new("pa\"ss".to_owned());
    settings.trunks[0].login = Some(Login { user: "acme".to_owned(), password });
    Rig::with(settings)
}

fn call(rig: &mut Rig) -> (LegId, Heard) {
    let leg = rig.call(Endpoint::Trunk("pbx".into(), "200".to_owned()));
    (leg, rig.one())
}

fn challenge(nonce: &str, algorithm: &str, more: &str) -> String {
    format!("Digest realm=\"isp\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{more}")
}

/// Whether the request carries the right response for `method`; and its nonce count.
fn proven(heard: &Heard, header: &str, algorithm: DigestAlgorithm, method: &str) -> Option<String> {
    let value = heard.header(header);
    let credentials = Credentials::parse(value)?;
    let ha1 = algorithm.ha1("acme", "isp", "pa\"ss");
    assert!(credentials.matches(algorithm, &ha1, method), "{value}");
    assert_eq!(credentials.uri(), heard.uri());
    value.split("nc=").nth(1).map(|rest| rest[..8].to_owned())
}

#[test]
fn an_invite_that_is_challenged_goes_again_with_credentials_in_each_algorithm() {
    for (word, algorithm, status, ask, answer) in [
        ("MD5", DigestAlgorithm::Md5, 401, "WWW-Authenticate", "Authorization"),
        ("SHA-256", DigestAlgorithm::Sha256, 407, "Proxy-Authenticate", "Proxy-Authorization"),
        ("SHA-512-256", DigestAlgorithm::Sha512_256, 407, "Proxy-Authenticate", "Proxy-Authorization"),
    ] {
        let mut rig = rig();
        let (leg, invite) = call(&mut rig);
        assert_eq!(invite.header(answer), "");
        let lines = format!("{ask}: {}\r\n", challenge("n1", word, ""));
        rig.send(TRUNK, &invite.answer(status, "c", &lines, ""));
        let heard = rig.heard();
        assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["ACK", "INVITE"]);
        let again = &heard[1];
        assert_eq!(proven(again, answer, algorithm, "INVITE").as_deref(), Some("00000001"));
        assert_eq!((again.header("CSeq"), again.header("Call-ID")), ("2 INVITE", invite.header("Call-ID")));
        assert_eq!(again.header("To"), invite.header("To"));
        assert_ne!(again.parsed.head.via.branch(), invite.parsed.head.via.branch());
        rig.send(TRUNK, &again.answer(200, "a", "Contact: <sip:200@198.51.100.9>\r\n", SDP));
        let ack = rig.one();
        assert_eq!((ack.header(answer), ack.header("CSeq")), (again.header(answer), "2 ACK"));
        assert!(matches!(rig.events().as_slice(), [Event::Answered { .. }]));
        // The BYE carries credentials at once, with the next count; challenged anew, it goes again.
        rig.ua.hang_up(rig.now, leg, None);
        let bye = rig.one();
        assert_eq!(proven(&bye, answer, algorithm, "BYE").as_deref(), Some("00000002"));
        let lines = format!("{ask}: {}\r\n", challenge("n2", word, ", stale=true"));
        rig.send(TRUNK, &bye.answer(status, "a", &lines, ""));
        let again = rig.one();
        assert_eq!(proven(&again, answer, algorithm, "BYE").as_deref(), Some("00000001"));
        assert_eq!((bye.header("CSeq"), again.header("CSeq")), ("3 BYE", "4 BYE"));
        rig.send(TRUNK, &again.answer(200, "a", "", ""));
        rig.wait(60_000);
        assert_eq!(rig.ua.figures().transactions, 0);
    }
}

#[test]
fn a_wrong_password_is_one_clear_error_and_no_loop() {
    let mut rig = rig();
    let lines = |nonce: &str| format!("WWW-Authenticate: {}\r\n", challenge(nonce, "MD5", ""));
    for round in 0..2 {
        let (leg, mut invite) = call(&mut rig);
        let mut tries = 0;
        loop {
            rig.send(TRUNK, &invite.answer(401, "c", &lines(&format!("n{round}{tries}")), ""));
            let mut heard = rig.heard();
            assert_eq!(heard.remove(0).what(), "ACK");
            let Some(again) = heard.pop() else { break };
            invite = again;
            tries += 1;
        }
        assert_eq!(tries, 1);
        let failed = Event::Failed { leg, failure: LegFailure::Status(401) };
        let told = Event::Trunk { trunk: "pbx".into(), change: TrunkChange::LoginRefused };
        // Told once, not with each call.
        assert_eq!(rig.events(), if round == 0 { vec![told, failed] } else { vec![failed] });
        assert_eq!(rig.ua.trunks().next().map(|it| it.as_text()), Some("login refused"));
    }
    let (_, invite) = call(&mut rig);
    rig.send(TRUNK, &invite.answer(401, "c", &lines("good"), ""));
    let again = rig.heard().pop().expect("tried");
    rig.send(TRUNK, &again.answer(200, "a", "", SDP));
    assert_eq!(rig.ua.trunks().next().map(|it| it.as_text()), Some("up"));
}

#[test]
fn a_challenge_to_an_invite_that_was_taken_back_is_not_answered() {
    let mut rig = rig();
    let (leg, invite) = call(&mut rig);
    rig.send(TRUNK, &invite.answer(100, "", "", ""));
    rig.ua.cancel(rig.now, leg, Reason::completed_elsewhere());
    let cancel = rig.one();
    assert_eq!((cancel.what().as_str(), cancel.header("CSeq")), ("CANCEL", "1 CANCEL"));
    let lines = format!("WWW-Authenticate: {}\r\n", challenge("n", "MD5", ""));
    rig.send(TRUNK, &invite.answer(401, "c", &lines, ""));
    assert_eq!(rig.whats(), ["ACK"]);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Cancelled }]);
}

#[test]
fn the_cancel_of_an_invite_that_went_again_carries_its_number() {
    let mut rig = rig();
    let (leg, invite) = call(&mut rig);
    let lines = format!("WWW-Authenticate: {}\r\n", challenge("n", "MD5", ""));
    rig.send(TRUNK, &invite.answer(401, "c", &lines, ""));
    let again = rig.heard().pop().expect("tried");
    rig.send(TRUNK, &again.answer(180, "a", "", ""));
    rig.ua.cancel(rig.now, leg, Reason::completed_elsewhere());
    let cancel = rig.one();
    assert_eq!(cancel.header("CSeq"), "2 CANCEL");
    assert_eq!(cancel.parsed.head.via.branch(), again.parsed.head.via.branch());
    assert_eq!(cancel.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"");
}

#[test]
fn a_trunk_without_a_login_that_asks_for_one_fails_the_call() {
    let mut rig = Rig::new();
    let (leg, invite) = call(&mut rig);
    let lines = format!("WWW-Authenticate: {}\r\n", challenge("n", "MD5", ""));
    rig.send(TRUNK, &invite.answer(401, "c", &lines, ""));
    assert_eq!(rig.whats(), ["ACK"]);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(401) }]);
}
