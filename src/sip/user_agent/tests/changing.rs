//! Offers of ours within a call, and offers that meet (RFC 3261 §14).

use super::in_call::{HELD, up};
use super::*;

const NEW: &str =
    "v=0\r\no=- 9 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\na=sendrecv\r\n";

#[test]
fn our_offer_in_a_call_is_answered_and_acknowledged_each_time_the_200_comes() {
    let mut rig = Rig::new();
    let (leg, _) = up(&mut rig);
    rig.ua.reoffer(rig.now, leg, NEW.to_owned());
    let invite = rig.one();
    assert!(invite.text.ends_with(NEW), "{}", invite.text);
    rig.send(TRUNK, &invite.answer(100, "", "", ""));
    let ok = invite.answer(200, "", "Contact: <sip:200@198.51.100.77:5070>\r\n", SDP);
    for events in [vec![Event::Reanswered { leg, sdp: SDP.to_owned() }], vec![]] {
        rig.send(TRUNK, &ok);
        let ack = rig.one();
        // The 200 moved the far end, and its ACK goes there.
        assert_eq!((ack.what().as_str(), ack.uri()), ("ACK", "sip:200@198.51.100.77:5070"));
        assert_eq!((ack.header("CSeq"), ack.to.as_str()), ("1 ACK", "198.51.100.77:5070"));
        assert_eq!(rig.events(), events);
    }
    rig.wait(40_000);
    assert_eq!((rig.whats(), rig.ua.figures().legs), (vec![], 1));
}

#[test]
fn an_offer_waits_for_the_exchange_that_is_under_way() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let hold = rig.within(&ok, "INVITE", 2, SDP_LINE, HELD);
    rig.send(TRUNK, &hold);
    rig.heard();
    rig.ua.reoffer(rig.now, leg, NEW.to_owned());
    assert_eq!(rig.whats(), Vec::<String>::new());
    rig.ua.answer_reoffer(rig.now, leg, Ok(SDP.to_owned()));
    assert_eq!(rig.whats(), ["200 INVITE"]);
    let ack = rig.within(&ok, "ACK", 2, "", "");
    rig.send(TRUNK, &ack);
    assert_eq!(rig.whats(), ["INVITE"]);
}

/// Ours meets theirs: both get 491; milliseconds until ours goes out again.
fn glare(rig: &mut Rig, leg: LegId, peer: &str, theirs: &str) -> u128 {
    rig.ua.reoffer(rig.now, leg, NEW.to_owned());
    let ours = rig.one();
    rig.send(peer, theirs);
    assert_eq!(rig.one().what(), "491 INVITE");
    rig.send(peer, &ours.answer(491, "", "", ""));
    assert_eq!(rig.one().what(), "ACK");
    let start = rig.now.mono;
    loop {
        rig.wait(10);
        if let Some(again) = rig.heard().into_iter().find(|it| it.what() == "INVITE") {
            assert!(again.text.ends_with(NEW));
            rig.send(peer, &again.answer(200, "", "", SDP));
            rig.heard();
            rig.events();
            return (rig.now.mono - start).as_millis();
        }
        assert!((rig.now.mono - start).as_secs() < 5, "never sent again");
    }
}

#[test]
fn after_a_glare_the_owner_of_the_call_id_waits_2_to_4_s_and_the_other_less_than_2() {
    let mut spans = Vec::new();
    for _ in 0..20 {
        let mut rig = Rig::with(settings());
        let (leg, ok) = up(&mut rig);
        let theirs = rig.within(&ok, "INVITE", 2, SDP_LINE, HELD);
        // Another number of pauses drawn before makes another pause.
        for _ in 0..spans.len() {
            rig.ua.random.below(7);
        }
        spans.push(glare(&mut rig, leg, TRUNK, &theirs));
    }
    assert!(spans.iter().all(|span| *span <= 2010), "{spans:?}");
    assert!(spans.iter().any(|span| *span > 1000) && spans.iter().any(|span| *span < 1000), "{spans:?}");
    let mut rig = Rig::new();
    let (leg, _, ack) = rig.answered_call();
    let theirs = rig.within_back(&ack, "INVITE", 100, SDP_LINE, HELD);
    let span = glare(&mut rig, leg, PHONE, &theirs);
    assert!((2100..=4010).contains(&span), "{span}");
}

#[test]
fn a_peer_that_answers_491_for_ever_is_given_up_and_the_call_goes_on() {
    let mut rig = Rig::new();
    let (leg, _) = up(&mut rig);
    rig.ua.reoffer(rig.now, leg, NEW.to_owned());
    let mut sent = std::collections::BTreeSet::new();
    for _ in 0..20 {
        for heard in rig.heard() {
            if heard.what() == "INVITE" {
                sent.insert(heard.header("CSeq").to_owned());
                rig.send(TRUNK, &heard.answer(491, "", "", ""));
            }
        }
        rig.wait(2_000);
    }
    assert_eq!((sent.len(), rig.events()), (9, vec![Event::ReofferRefused { leg, status: 491 }]));
    assert_eq!(rig.ua.figures().legs, 1);
}

#[test]
fn a_refused_offer_is_told_and_a_lost_one_ends_the_call() {
    let mut rig = Rig::new();
    let (leg, _) = up(&mut rig);
    rig.ua.reoffer(rig.now, leg, NEW.to_owned());
    let invite = rig.one();
    rig.send(TRUNK, &invite.answer(488, "", "", ""));
    assert_eq!(
        (rig.whats(), rig.events()),
        (vec!["ACK".to_owned()], vec![Event::ReofferRefused { leg, status: 488 }])
    );
    rig.ua.reoffer(rig.now, leg, NEW.to_owned());
    rig.wait(32_000);
    assert_eq!(rig.whats().last().map(String::as_str), Some("BYE"));
    assert_eq!(rig.events(), [Event::Expired { leg }]);
}

#[test]
fn a_200_that_crosses_our_bye_is_still_acknowledged() {
    let mut rig = Rig::new();
    let (leg, _) = up(&mut rig);
    rig.ua.reoffer(rig.now, leg, NEW.to_owned());
    let invite = rig.one();
    rig.ua.hang_up(rig.now, leg, None);
    assert_eq!(rig.one().what(), "BYE");
    rig.send(TRUNK, &invite.answer(200, "", "", SDP));
    let ack = rig.one();
    assert_eq!((ack.what().as_str(), ack.header("CSeq")), ("ACK", "1 ACK"));
    assert_ne!(ack.parsed.head.via.branch(), invite.parsed.head.via.branch());
    assert_eq!(rig.events(), []);
}

#[test]
fn everything_else_is_answered_while_a_re_invite_of_theirs_waits() {
    let mut rig = Rig::new();
    let (leg, ok) = up(&mut rig);
    let hold = rig.within(&ok, "INVITE", 2, SDP_LINE, HELD);
    rig.send(TRUNK, &hold);
    rig.heard();
    rig.events();
    for (number, method, lines, body, what) in [
        (3, "OPTIONS", "", "", "200 OPTIONS"),
        (4, "INFO", "Content-Type: application/dtmf\r\n", "5", "200 INFO"),
        (5, "UPDATE", "", "", "200 UPDATE"),
        (6, "REFER", "Refer-To: <sip:1002@gw.example.com>\r\n", "", "202 REFER"),
    ] {
        let text = rig.within(&ok, method, number, lines, body);
        rig.send(TRUNK, &text);
        if method == "REFER" {
            rig.ua.answer_referral(rig.now, leg, ReferralId(6), Ok(()));
        }
        assert_eq!(rig.heard()[0].what(), what);
    }
    rig.ua.answer_reoffer(rig.now, leg, Ok(SDP.to_owned()));
    assert_eq!(rig.one().what(), "200 INVITE");
}
