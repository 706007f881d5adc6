//! Scanners, guessers and floods against the whole user agent (security rows S1 to S3, rule 23).

use std::collections::BTreeSet;

use super::*;
use crate::sip::defence::{Dropped, Ground};

const URI: &str = "sip:gw.example.com";

fn register_text(rig: &mut Rig, who: &str, number: u32, lines: &str) -> String {
    rig.request("REGISTER", URI, who, number, lines, "")
        .replace(&format!("To: <{URI}>"), &format!("To: <sip:{who}@gw.example.com>"))
}

/// One guess as svcrack makes it: a request, a challenge, a password. How many answers came.
fn guess(rig: &mut Rig, from: &str, who: &str, password: &str) -> usize {
    let text = register_text(rig, who, 1, "");
    rig.send(from, &text);
    let challenged = rig.heard();
    let Some(challenge) = challenged.first() else { return 0 };
    let lines = Rig::credentials(challenge, who, password, "REGISTER", URI, 1);
    let text = register_text(rig, who, 2, &lines);
    rig.send(from, &text);
    1 + rig.heard().len()
}

/// What an answer shows of whether a name exists: everything but nonce, branch, tags and the name itself.
fn shape(heard: &Heard, who: &str) -> String {
    let text = heard.text.replace(who, "NAME");
    let lines =
        text.lines().filter(|line| !["Via:", "v:", "To:", "t:"].iter().any(|it| line.starts_with(it)));
    lines.map(|line| line.split("nonce=").next().unwrap_or("").to_owned() + "\n").collect()
}

#[test]
fn s1_a_search_through_1000_names_by_any_method_finds_none_and_ends_in_silence() {
    for method in ["REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE", "BYE"] {
        let mut settings = settings();
        settings.phones.iter_mut().for_each(|phone| phone.algorithm = DigestAlgorithm::Md5);
        let mut rig = Rig::with(settings);
        let (mut shapes, mut answers) = (BTreeSet::new(), 0);
        for number in 800..1800 {
            let who = number.to_string();
            let text = match method {
                "REGISTER" => register_text(&mut rig, &who, 1, ""),
                "OPTIONS" => rig.request(method, &format!("sip:{who}@gw.example.com"), "100", 1, "", ""),
                _ => rig.request(method, &format!("sip:{who}@gw.example.com"), &who, 1, "", ""),
            };
            rig.send(OTHER, &text);
            for heard in rig.heard() {
                shapes.insert(shape(&heard, &who));
                answers += 1;
            }
            rig.wait(1);
        }
        assert_eq!(shapes.len(), 1, "{method}: {shapes:?}");
        assert_eq!(answers, 21, "{method}: twenty, and one through the keyhole in a second");
        assert_eq!(rig.ua.bans(rig.now)[0].ground, Ground::Searching);
    }
}

#[test]
fn s2_of_100_000_guesses_ten_are_verified_and_the_phone_registers_from_elsewhere() {
    let mut rig = Rig::new();
    let mut answers = 0;
    for number in 0..100_000 {
        answers += guess(&mut rig, OTHER, "1001", &format!("guess{number}"));
        rig.wait(1);
        // The right one among them does not help any more.
        if number > 10 && number % 1000 == 0 {
            answers += guess(&mut rig, OTHER, "1001", "s3cret");
        }
    }
    assert_eq!(rig.ua.figures().bad_credentials, 10);
    assert_eq!(answers, 20);
    assert_eq!(rig.events(), []);
    rig.register("1001", PHONE);
    let bans = rig.ua.bans(rig.now);
    assert_eq!(bans.len(), 2, "the user there, and for going on the address: {bans:?}");
}

#[test]
fn rule_23_a_user_is_banned_at_an_address_and_its_neighbours_are_not() {
    let mut rig = Rig::new();
    rig.register("1002", "203.0.113.8:40003");
    (0..12).for_each(|number| {
        guess(&mut rig, OTHER, "1001", &format!("guess{number}"));
    });
    assert_eq!(rig.ua.figures().bad_credentials, 10);
    assert_eq!(guess(&mut rig, OTHER, "1001", "s3cret"), 0, "not heard");
    assert_eq!(guess(&mut rig, "203.0.113.8:40003", "1002", "s3cret"), 2, "the office goes on");
    rig.wait(300_000);
    assert_eq!(guess(&mut rig, OTHER, "1001", "s3cret"), 2, "the ban is over");
    assert!(matches!(rig.events().as_slice(), [.., Event::Registered { .. }]));
}

#[test]
fn rule_23_a_phone_on_its_own_flow_is_heard_whatever_others_do_at_its_address() {
    let mut rig = Rig::new();
    rig.register("1001", PHONE);
    for number in 0..200 {
        guess(&mut rig, "203.0.113.7:666", "1001", &format!("guess{number}"));
    }
    assert_eq!(guess(&mut rig, "203.0.113.7:666", "1001", "s3cret"), 0);
    let text = register_text(&mut rig, "1001", 1, "");
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "401 REGISTER");
    let all = rig.ua.bans(rig.now);
    assert!(
        all.iter().all(|ban| ban.user.is_some()),
        "an address with a live binding is never banned: {all:?}"
    );
}

#[test]
fn rule_23_forged_senders_ban_nobody() {
    let mut rig = Rig::new();
    // Wrong credentials in the name of PHONE, with a nonce that was sent to somebody else.
    let text = register_text(&mut rig, "1001", 1, "");
    rig.send(OTHER, &text);
    let challenge = rig.one();
    for number in 1..1000 {
        let lines = Rig::credentials(&challenge, "1001", "wrong", "REGISTER", URI, number);
        let text = register_text(&mut rig, "1001", number + 1, &lines);
        rig.send(PHONE, &text);
        rig.wait(10);
    }
    assert_eq!((rig.ua.figures().bad_credentials, rig.ua.bans(rig.now).len()), (0, 0));
    rig.heard();
    rig.register("1001", PHONE);
    // A live binding: nothing that is forged even raises a doubt.
    for number in 0..1000 {
        let text = register_text(&mut rig, &format!("x{number}"), 1, "");
        rig.send(PHONE, &text);
        rig.send(PHONE, "garbage");
        rig.wait(10);
    }
    assert!(rig.ua.bans(rig.now).is_empty());
}

#[test]
fn rule_23_in_an_office_whose_address_was_forged_the_first_phone_that_registers_ends_the_doubt() {
    let mut rig = Rig::new();
    for number in 0..100 {
        let text = register_text(&mut rig, &format!("x{number}"), 1, "");
        rig.send("203.0.113.7:666", &text);
    }
    rig.heard();
    assert_eq!(rig.ua.bans(rig.now).len(), 1);
    // The phone sends its REGISTER again, as every phone does, and comes through the keyhole.
    let text = register_text(&mut rig, "1001", 1, "");
    let mut challenge = None;
    for _ in 0..3 {
        rig.wait(1000);
        rig.send(PHONE, &text);
        challenge = challenge.or_else(|| rig.heard().pop());
    }
    let lines = Rig::credentials(&challenge.expect("a challenge"), "1001", "s3cret", "REGISTER", URI, 1);
    let text = register_text(&mut rig, "1001", 2, &lines);
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "200 REGISTER");
    assert!(rig.ua.bans(rig.now).is_empty());
}

#[test]
fn a_scanner_by_its_own_words_gets_no_answer_at_all() {
    let mut rig = Rig::new();
    for number in 0..10 {
        let uri = format!("sip:{number}@gw.example.com");
        let text = rig.request("OPTIONS", &uri, "100", 1, "", "");
        rig.send(OTHER, &text.replace("Rig T46U 108.86.0.20", "Friendly-Scanner"));
    }
    assert_eq!(rig.whats(), Vec::<String>::new());
    let figures = rig.ua.defence_figures(rig.now);
    assert_eq!(figures.dropped.get(&Dropped::Scanner), Some(&10));
    assert_eq!(rig.ua.bans(rig.now)[0].ground, Ground::Scanning);
}

#[test]
fn a_flood_of_broken_messages_is_answered_twenty_times_and_then_no_more() {
    let mut rig = Rig::new();
    let broken = rig
        .request("OPTIONS", "sip:gw.example.com", "100", 1, "", "")
        .replace("Max-Forwards: 70", "Max-Forwards: x");
    (0..1000).for_each(|_| rig.send(OTHER, &broken));
    assert_eq!(rig.whats(), vec!["400 OPTIONS"; 20]);
}

#[test]
fn a_call_goes_on_while_its_address_is_attacked_from() {
    let mut rig = Rig::new();
    let (leg, _, ack) = rig.answered_call();
    rig.wait(3_600_000);
    assert!(!rig.ua.is_registered(&"1001".into()), "only the call is left at the address");
    rig.events();
    for number in 0..1000 {
        let text = register_text(&mut rig, &format!("x{number}"), 1, "User-Agent: friendly-scanner\r\n");
        rig.send("203.0.113.7:666", &text);
        guess(&mut rig, "203.0.113.7:666", &format!("100{}", number % 4), "wrong");
    }
    assert!(rig.ua.bans(rig.now).iter().all(|ban| ban.user.is_some()));
    rig.heard();
    let bye = rig.within_back(&ack, "BYE", 1, "", "");
    rig.send(PHONE, &bye);
    assert_eq!(rig.one().what(), "200 BYE");
    assert_eq!(rig.events(), [Event::HungUp { leg, reason: None }]);
}

#[test]
fn too_many_new_requests_get_503_with_retry_after_and_calls_go_on() {
    let mut settings = settings();
    settings.defence.new_requests = 50;
    let mut rig = Rig::with(settings);
    let (_, _, ack) = rig.answered_call();
    let mut answers = Vec::new();
    for number in 0..200 {
        let text = rig.request("INVITE", "sip:85521955500123@192.0.2.1", "200", number, SDP_LINE, SDP);
        rig.send(TRUNK, &text);
        answers.extend(rig.heard());
    }
    let refused: Vec<&Heard> = answers.iter().filter(|it| it.what() == "503 INVITE").collect();
    assert!(refused.len() >= 150, "{}", refused.len());
    let waits: BTreeSet<u32> = refused.iter().map(|it| it.header("Retry-After").parse().unwrap()).collect();
    assert!(waits.len() > 5 && waits.iter().all(|it| (1..=10).contains(it)), "{waits:?}");
    let bye = rig.within_back(&ack, "BYE", 1, "", "");
    rig.send(PHONE, &bye);
    assert_eq!(rig.one().what(), "200 BYE");
}

#[test]
fn s3_a_captured_answer_to_a_challenge_is_refused_a_thousand_times_of_a_thousand() {
    let mut rig = Rig::new();
    let text = register_text(&mut rig, "1001", 1, "");
    rig.send(PHONE, &text);
    let lines = Rig::credentials(&rig.one(), "1001", "s3cret", "REGISTER", URI, 1);
    let text = register_text(&mut rig, "1001", 2, &lines);
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "200 REGISTER");
    for number in 0..1000 {
        let text = register_text(&mut rig, "1001", number + 3, &lines);
        // Where it was captured, and anywhere else.
        rig.send(if number % 2 == 0 { PHONE } else { OTHER }, &text);
        let answer = rig.one();
        assert_eq!(answer.what(), "401 REGISTER");
        assert!(answer.header("WWW-Authenticate").contains("stale=true"));
        rig.wait(20);
    }
}

#[test]
fn a_phone_that_kept_the_nonce_of_the_last_process_is_told_to_try_again_at_once() {
    let mut before = Rig::new();
    let text = register_text(&mut before, "1001", 1, "");
    before.send(PHONE, &text);
    let old = before.one();
    let mut settings = settings();
    settings.realm = "gw.example.com".to_owned();
    let mut rig = Rig::with(settings);
    rig.ua.nonces = Nonces::new(Random::from_number(99), Duration::from_secs(300));
    let lines = Rig::credentials(&old, "1001", "s3cret", "REGISTER", URI, 1);
    let text = register_text(&mut rig, "1001", 2, &lines);
    rig.send(PHONE, &text);
    assert!(rig.one().header("WWW-Authenticate").contains("stale=true"));
}
