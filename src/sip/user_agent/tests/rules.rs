//! Rules of call handling on phones that no other story tells whole.

use super::*;
use crate::sip::message::print::MAX_DATAGRAM;

const URI: &str = "sip:gw.example.com";

fn register_text(rig: &mut Rig, who: &str, number: u32, lines: &str) -> String {
    rig.request("REGISTER", URI, who, number, lines, "")
        .replace(&format!("To: <{URI}>"), &format!("To: <sip:{who}@gw.example.com>"))
}

#[test]
fn rule_22_each_phone_gets_one_challenge_in_its_own_algorithm_and_no_other_is_taken() {
    for (who, own, other) in [
        ("1001", DigestAlgorithm::Md5, DigestAlgorithm::Sha256),
        ("1002", DigestAlgorithm::Sha256, DigestAlgorithm::Md5),
    ] {
        let mut rig = Rig::new();
        for (algorithm, status) in [(other, "401 REGISTER"), (own, "200 REGISTER")] {
            let text = register_text(&mut rig, who, 1, "");
            rig.send(PHONE, &text);
            let challenge = rig.one();
            let asked: Vec<&str> = challenge.parsed.message.headers().all(&Name::WwwAuthenticate).collect();
            let [asked] = asked.as_slice() else { panic!("{who}: one challenge, not {asked:?}") };
            assert!(asked.contains(&format!("algorithm={}", own.as_str())), "{who}: {asked}");
            assert_eq!(asked.matches("algorithm=").count(), 1, "{who}: {asked}");
            let nonce = asked.split("nonce=\"").nth(1).and_then(|it| it.split('"').next()).unwrap();
            let realm = ("gw.example.com", nonce);
            let value = authorize(algorithm, who, "s3cret", realm, ("REGISTER", URI), 1);
            let text = register_text(&mut rig, who, 2, &format!("Authorization: {value}\r\n"));
            rig.send(PHONE, &text);
            assert_eq!(rig.one().what(), status, "{who} answers in {}", algorithm.as_str());
        }
    }
}

#[test]
fn rule_21_what_is_too_large_for_a_datagram_is_made_smaller_and_reaches_the_phone_on_its_flow() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    // As many codecs as are ever offered, each with what goes without saying.
    let said = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\na=ptime:20\r\na=sendrecv\r\n";
    let sdp = format!("{SDP}{said}a=x:{}\r\n", "y".repeat(650));
    let caller = CallerIdentity { number: "5521955500123".to_owned(), display: "Zoë".to_owned() };
    let (target, facts) = (Endpoint::Phone("1001".into()), CallFacts::default());
    let invite = Invite { target, caller, facts, sdp: sdp.clone(), headers: Vec::new() };
    let leg = rig.ua.invite(rig.now, invite).expect("a call");
    let invite = rig.one();
    assert!(sdp.len() + 600 > MAX_DATAGRAM, "the story is about a large one");
    assert!(invite.text.len() <= MAX_DATAGRAM, "{} bytes", invite.text.len());
    assert_eq!(invite.to, PHONE);
    rig.send(PHONE, &invite.answer(200, "p1", "Contact: <sip:1001@10.0.0.5:40001>\r\n", SDP));
    assert!(matches!(rig.events().as_slice(), [Event::Answered { leg: it, .. }] if *it == leg));
}
