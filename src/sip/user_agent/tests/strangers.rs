//! What somebody gets who may not be who the datagram says: never more than was sent.

use super::*;

const STRANGER: &str = "203.0.113.99:5060";

/// Sends the same datagram so often, and fails if more bytes come back than were sent at any moment; the answers.
fn exchange(rig: &mut Rig, text: &str, times: usize) -> Vec<String> {
    let (mut sent, mut got, mut answers) = (0, 0, Vec::new());
    for _ in 0..times {
        rig.send(STRANGER, text);
        sent += text.len();
        while let Some((_, bytes)) = rig.ua.poll_transmit() {
            got += bytes.len();
            answers.push(String::from_utf8(bytes).expect("text"));
        }
        assert!(got <= sent, "{got} bytes for {sent}: {text}");
    }
    answers
}

/// The least that is a request: short names, short values, nothing that may be missing.
fn least(method: &str) -> String {
    format!(
        "{method} sip:a@b SIP/2.0\r\nv:SIP/2.0/UDP h;branch=z9hG4bK1\r\nf:<sip:a@b>;tag=1\r\nt:<sip:a@b>\r\n\
         i:1\r\nCSeq:1 {method}\r\nm:<sip:a@b>\r\n\r\n"
    )
}

#[test]
fn no_stranger_gets_more_bytes_than_it_sends_whatever_it_asks() {
    for method in ["OPTIONS", "REGISTER", "INVITE", "SUBSCRIBE", "BYE", "REFER", "MESSAGE", "INFO", "NOTIFY"]
    {
        let mut rig = Rig::new();
        let answers = exchange(&mut rig, &least(method), 20);
        assert!(!answers.is_empty(), "{method}: who repeats its question is answered");
    }
    let mut rig = Rig::new();
    let broken = least("OPTIONS").replace("CSeq:1", "CSeq:x");
    assert!(!exchange(&mut rig, &broken, 20).is_empty());
    // Others who are named so by a forger pay for themselves only.
    let figures = rig.ua.figures();
    rig.send("203.0.113.98:5060", &least("REGISTER"));
    assert_eq!((rig.whats(), rig.ua.figures().muted), (vec![], figures.muted + 1));
}

#[test]
fn a_phone_whose_first_register_is_shorter_than_the_challenge_is_challenged_when_it_repeats_it() {
    let mut rig = Rig::new();
    let text = least("REGISTER");
    // Within the seven times that a phone sends it (RFC 3261 §17.1.2.2), and no request is as short as this one.
    let answers = exchange(&mut rig, &text, 3);
    let [challenge] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(challenge.starts_with("SIP/2.0 401 ") && challenge.contains("nonce="), "{challenge}");
}

#[test]
fn an_ordinary_options_of_a_stranger_is_answered_at_once_and_one_of_a_trunk_in_full() {
    let mut rig = Rig::new();
    let text = rig.request("OPTIONS", "sip:gw.example.com", "x", 1, "", "");
    let plain = |line: &&str| !line.starts_with("Allow") && !line.starts_with("User-Agent");
    let text: String = text.split_inclusive('\n').filter(plain).collect();
    rig.send(STRANGER, &text);
    let short = rig.one();
    assert_eq!((short.what().as_str(), short.header("Allow-Events")), ("200 OPTIONS", ""));
    rig.send(TRUNK, &rig_text(&text));
    let full = rig.one();
    assert!(full.header("Allow").contains("INVITE") && !full.header("Server").is_empty(), "{}", full.text);
    // On a stream nobody can claim to be somebody else.
    assert_eq!(rig.ua.figures().muted, 0);
}

fn rig_text(text: &str) -> String {
    text.replace("branch=z9hG4bKp", "branch=z9hG4bKt")
}
