//! Busy lamps, presence and message waiting: SUBSCRIBE and NOTIFY.

use super::*;
use crate::sip::Messages;
use crate::sip::message::Request;
use crate::sip::user_agent::settings::{MessagesBy, WatchedBy};

const WATCHED: &str = "sip:1002@gw.example.com";

fn lamp_settings(change: impl FnOnce(&mut [PhoneAccount])) -> Settings {
    let mut settings = settings();
    settings.defence.strangers = 1000;
    for phone in &mut settings.phones {
        phone.lamps.mailboxes = vec![phone.name.to_string()];
    }
    change(&mut settings.phones);
    settings
}

fn rig() -> Rig {
    Rig::with(lamp_settings(|_| {}))
}

/// Sends a SUBSCRIBE of 1001 with right credentials; what came back.
fn subscribe(rig: &mut Rig, uri: &str, lines: &str) -> Vec<Heard> {
    subscribe_in(rig, uri, 1, lines, "")
}

/// The same within the subscription whose To tag is given.
fn subscribe_in(rig: &mut Rig, uri: &str, number: u32, lines: &str, tag: &str) -> Vec<Heard> {
    let message = |rig: &mut Rig, number: u32, lines: &str| {
        let text = rig.request("SUBSCRIBE", uri, "1001", number, lines, "");
        let to = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
        text.replace(&format!("To: <{uri}>\r\n"), &format!("To: <{uri}>{to}\r\n"))
            .replace("Call-ID: c1001", "Call-ID: watch")
    };
    let text = message(rig, number, lines);
    rig.send(PHONE, &text);
    let challenge = rig.one();
    assert_eq!(challenge.what(), "401 SUBSCRIBE");
    let proof = Rig::credentials(&challenge, "1001", "s3cret", "SUBSCRIBE", uri, 1);
    let text = message(rig, number + 1, &format!("{lines}{proof}"));
    rig.send(PHONE, &text);
    rig.heard()
}

fn body(heard: &Heard) -> String {
    match &heard.parsed.message {
        Message::Request(Request { body, .. }) => String::from_utf8_lossy(body).into_owned(),
        Message::Response(_) => panic!("a response"),
    }
}

fn states(heard: &Heard) -> String {
    let text = body(heard);
    let scope = if text.contains("state=\"full\"") { "full" } else { "partial" };
    let version = text.split("version=\"").nth(2).and_then(|rest| rest.split('"').next()).unwrap_or("?");
    let mut out = format!("{version} {scope}");
    for dialog in text.split("<dialog id=").skip(1) {
        let state = dialog.split("<state>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or("?");
        let direction = if dialog.contains("direction=\"initiator\"") { "initiator" } else { "recipient" };
        out.push_str(&format!(" {direction} {state}"));
    }
    out
}

fn answer_notify(rig: &mut Rig, heard: &Heard, status: u16) {
    assert_eq!(heard.what(), "NOTIFY");
    rig.send(&heard.to.clone(), &heard.answer(status, "", "", ""));
}

/// 1001 watches 1002 and knows that nothing is going on; the tag of our side.
fn watching(rig: &mut Rig) -> String {
    let heard = subscribe(rig, WATCHED, "Event: dialog\r\nExpires: 300\r\n");
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["200 SUBSCRIBE", "NOTIFY"]);
    assert_eq!(heard[0].header("Expires"), "300");
    assert_eq!(states(&heard[1]), "0 full");
    answer_notify(rig, &heard[1], 200);
    let to = heard[0].header("To").to_owned();
    to.split(";tag=").nth(1).expect("tag").to_owned()
}

/// The one NOTIFY among what was sent, answered with 200.
fn told(rig: &mut Rig) -> Heard {
    let mut heard = rig.heard();
    heard.retain(|it| it.what() == "NOTIFY");
    assert_eq!(heard.len(), 1, "{:?}", heard.iter().map(|it| it.text.clone()).collect::<Vec<_>>());
    answer_notify(rig, &heard[0], 200);
    heard.remove(0)
}

#[test]
fn a_lamp_follows_a_call_of_the_watched_phone_from_ringing_to_its_end() {
    let mut rig = rig();
    rig.register("1002", OTHER);
    watching(&mut rig);
    rig.wait(5000);
    let leg = rig.call(Endpoint::Phone("1002".into()));
    let invite = rig.one();
    rig.wait(0);
    let notify = told(&mut rig);
    assert_eq!(states(&notify), "1 full recipient trying");
    assert_eq!((notify.to.as_str(), notify.uri()), (PHONE, "sip:1001@10.0.0.5:5060"));
    assert_eq!(notify.header("Event"), "dialog");
    assert_eq!(notify.header("Subscription-State"), "active;expires=295");
    assert_eq!(notify.header("Content-Type"), "application/dialog-info+xml");
    // Ringing and the answer within a second are told together, a second after the last NOTIFY.
    rig.send(OTHER, &invite.answer(180, "p2", "", ""));
    rig.wait(500);
    assert_eq!(rig.whats(), [] as [&str; 0]);
    rig.wait(500);
    assert_eq!(states(&told(&mut rig)), "2 full recipient early");
    rig.send(OTHER, &invite.answer(200, "p2", "Contact: <sip:1002@10.0.0.5:40002>\r\n", SDP));
    rig.wait(1000);
    assert_eq!(states(&told(&mut rig)), "3 full recipient confirmed");
    // Whoever the user is: no watcher sees a number that nobody allowed it to see.
    assert!(!notify.text.contains("5521955500123"));
    rig.wait(2000);
    rig.ua.hang_up(rig.now, leg, None);
    rig.wait(0);
    assert_eq!(states(&told(&mut rig)), "4 full recipient terminated");
    assert!(rig.ua.figures().subscriptions == 1 && rig.ua.figures().lost_watchers == 0);
}

/// What a phone reads out of a lamp's document: the value of an attribute of its only call.
fn attribute(document: &str, name: &str) -> Option<String> {
    let dialog = document.split("<dialog ").nth(1)?.split('>').next()?;
    Some(dialog.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?.to_owned())
}

#[test]
fn a_phone_that_may_take_calls_over_is_told_their_names_and_picks_one_up_by_what_its_lamp_says() {
    for trusted in [true, false] {
        let mut rig = Rig::with(lamp_settings(|phones| phones[0].lamps.takes_over = trusted));
        rig.register("1002", OTHER);
        watching(&mut rig);
        rig.wait(5000);
        let leg = rig.call(Endpoint::Phone("1002".into()));
        let invite = rig.one();
        rig.wait(0);
        assert_eq!(attribute(&body(&told(&mut rig)), "call-id"), None, "nothing rings yet");
        rig.send(OTHER, &invite.answer(180, "p2", "", ""));
        rig.events();
        rig.wait(1000);
        let document = body(&told(&mut rig));
        let name = ["call-id", "local-tag", "remote-tag"].map(|it| attribute(&document, it));
        if !trusted {
            assert_eq!(name, [None, None, None], "{document}");
            continue;
        }
        let [Some(id), Some(theirs), Some(ours)] = name else { panic!("{document}") };
        assert_eq!((id.as_str(), theirs.as_str()), (invite.header("Call-ID"), "p2"));
        // Phones differ in whose tag they take for which.
        for (number, (to, from)) in [(1, (&theirs, &ours)), (3, (&ours, &theirs))] {
            let uri = "sip:1002@gw.example.com";
            let lines = format!("Replaces: {id};to-tag={to};from-tag={from}\r\n{SDP_LINE}");
            let text = rig.request("INVITE", uri, "1001", number, &lines, SDP);
            let text = text.replace("Call-ID: c1001", &format!("Call-ID: pick{number}"));
            rig.send(PHONE, &text);
            let challenge =
                rig.heard().into_iter().find(|it| it.what() == "401 INVITE").expect("a challenge");
            let proof = Rig::credentials(&challenge, "1001", "s3cret", "INVITE", uri, 1);
            let text = rig.request("INVITE", uri, "1001", number + 1, &format!("{proof}{lines}"), SDP);
            rig.send(PHONE, &text.replace("Call-ID: c1001", &format!("Call-ID: pick{number}")));
            let events = rig.events();
            assert!(
                matches!(events.as_slice(), [Event::Invited { replaces: Some(replaced), .. }] if *replaced == leg),
                "{events:?}"
            );
            rig.heard();
        }
    }
}

#[test]
fn a_call_that_the_watched_phone_makes_has_it_as_initiator_and_a_peer_is_shown_where_that_is_configured() {
    let mut rig = Rig::with(lamp_settings(|phones| {
        phones[0].lamps.shows_peer = true;
        phones[0].lamps.watched_by = WatchedBy::Nobody;
    }));
    // A phone may watch itself.
    let heard = subscribe(&mut rig, "sip:1001@gw.example.com", "Event: dialog;id=4\r\nExpires: 300\r\n");
    assert_eq!(heard[1].header("Event"), "dialog;id=4");
    answer_notify(&mut rig, &heard[1], 200);
    rig.wait(2000);
    let uri = "sip:85521955500123@gw.example.com";
    let text = rig.request("INVITE", uri, "1001", 1, SDP_LINE, SDP);
    rig.send(PHONE, &text);
    let challenge = rig.one();
    let proof = Rig::credentials(&challenge, "1001", "s3cret", "INVITE", uri, 2);
    let text = rig.request("INVITE", uri, "1001", 2, &format!("{proof}{SDP_LINE}"), SDP);
    rig.send(PHONE, &text);
    rig.wait(0);
    let notify = told(&mut rig);
    assert_eq!(states(&notify), "1 full initiator trying");
    assert!(body(&notify).contains("<identity>sip:85521955500123@gw.example.com</identity>"));
}

#[test]
fn who_may_not_watch_and_who_asks_for_nobody_get_the_same_answer() {
    for (uri, watched_by, status) in [
        (WATCHED, WatchedBy::Nobody, "403 SUBSCRIBE"),
        (WATCHED, WatchedBy::Only(vec!["1003".into()]), "403 SUBSCRIBE"),
        ("sip:1009@gw.example.com", WatchedBy::Phones, "403 SUBSCRIBE"),
        (WATCHED, WatchedBy::Only(vec!["1001".into()]), "200 SUBSCRIBE"),
    ] {
        let mut rig = Rig::with(lamp_settings(|phones| phones[1].lamps.watched_by = watched_by));
        assert_eq!(subscribe(&mut rig, uri, "Event: dialog\r\n")[0].what(), status, "{uri}");
    }
    // The messages of another are nobody's business, whatever may be watched.
    assert_eq!(subscribe(&mut rig(), WATCHED, "Event: message-summary\r\n")[0].what(), "403 SUBSCRIBE");
}

#[test]
fn what_cannot_be_watched_like_that_is_refused_with_what_would_do() {
    for (lines, status, header, value) in [
        ("", "489 SUBSCRIBE", "Allow-Events", "dialog, message-summary, presence"),
        ("Event: conference\r\n", "489 SUBSCRIBE", "Allow-Events", "dialog, message-summary, presence"),
        ("Event: dialog\r\nExpires: 59\r\n", "423 SUBSCRIBE", "Min-Expires", "60"),
        ("Event: dialog\r\nAccept: text/plain\r\n", "406 SUBSCRIBE", "Accept", "application/dialog-info+xml"),
    ] {
        let mut rig = rig();
        let heard = subscribe(&mut rig, WATCHED, lines);
        assert_eq!((heard[0].what().as_str(), heard[0].header(header)), (status, value), "{lines}");
        assert_eq!((heard.len(), rig.ua.figures().subscriptions), (1, 0));
    }
    let heard = subscribe(&mut rig(), WATCHED, "o: dialog\r\nExpires: 86400\r\n");
    assert_eq!(heard[0].header("Expires"), "600");
}

#[test]
fn a_subscription_is_refreshed_ends_by_expires_zero_and_by_itself() {
    let mut rig = rig();
    let tag = watching(&mut rig);
    rig.wait(200_000);
    let heard = subscribe_in(&mut rig, WATCHED, 5, "Event: dialog\r\nExpires: 300\r\n", &tag);
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["200 SUBSCRIBE", "NOTIFY"]);
    assert_eq!((states(&heard[1]), heard[1].header("CSeq")), ("1 full".to_owned(), "2 NOTIFY"));
    answer_notify(&mut rig, &heard[1], 200);
    let heard = subscribe_in(&mut rig, WATCHED, 7, "Event: dialog\r\nExpires: 0\r\n", &tag);
    assert_eq!(heard[1].header("Subscription-State"), "terminated;reason=timeout");
    answer_notify(&mut rig, &heard[1], 200);
    assert_eq!(rig.ua.figures().subscriptions, 0);
    // It is over: whoever refreshes it has to begin again.
    let text = rig.request("SUBSCRIBE", WATCHED, "1001", 9, "Event: dialog\r\n", "");
    let text = text.replace("1002@gw.example.com>\r\n", &format!("1002@gw.example.com>;tag={tag}\r\n"));
    rig.send(PHONE, &text.replace("Call-ID: c1001", "Call-ID: watch"));
    assert_eq!(rig.one().what(), "481 SUBSCRIBE");
    watching(&mut rig);
    rig.wait(299_999);
    assert_eq!(rig.whats(), [] as [&str; 0]);
    rig.wait(1);
    assert_eq!(rig.one().header("Subscription-State"), "terminated;reason=timeout");
    assert_eq!(rig.ua.figures().subscriptions, 0);
}

#[test]
fn one_look_is_a_subscription_that_is_over_at_once() {
    let mut rig = rig();
    let heard = subscribe(&mut rig, WATCHED, "Event: dialog\r\nExpires: 0\r\n");
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["200 SUBSCRIBE", "NOTIFY"]);
    assert!(heard[1].header("Subscription-State").starts_with("terminated") && states(&heard[1]) == "0 full");
    assert_eq!(rig.ua.figures().subscriptions, 0);
}

#[test]
fn a_watcher_that_never_answers_or_knows_nothing_of_it_is_dropped() {
    let mut rig = rig();
    subscribe(&mut rig, WATCHED, "Event: dialog\r\nExpires: 300\r\n");
    rig.wait(40_000);
    let sent = rig.whats();
    assert!(sent.len() == 10 && sent.iter().all(|it| it == "NOTIFY"), "{sent:?}");
    assert_eq!((rig.ua.figures().subscriptions, rig.ua.figures().lost_watchers), (0, 1));
    let heard = subscribe(&mut rig, WATCHED, "Event: dialog\r\nExpires: 300\r\n");
    answer_notify(&mut rig, &heard[1], 481);
    assert_eq!((rig.ua.figures().subscriptions, rig.ua.figures().lost_watchers), (0, 2));
    assert_eq!(rig.ua.poll_timeout().map(|at| at > rig.now.mono), Some(true));
}

#[test]
fn many_changes_are_few_notifies() {
    let mut rig = rig();
    rig.register("1002", OTHER);
    watching(&mut rig);
    rig.wait(10_000);
    let mut notifies = 0;
    for _ in 0..100 {
        let leg = rig.call(Endpoint::Phone("1002".into()));
        rig.ua.hang_up(rig.now, leg, None);
        rig.wait(100);
        for heard in rig.heard().iter().filter(|it| it.what() == "NOTIFY") {
            notifies += 1;
            answer_notify(&mut rig, heard, 200);
        }
    }
    assert!((1..=11).contains(&notifies), "{notifies} in ten seconds");
}

#[test]
fn a_long_list_of_calls_is_told_by_its_changes_and_one_that_asks_again_gets_all() {
    let mut rig = rig();
    rig.register("1002", OTHER);
    let tag = watching(&mut rig);
    for _ in 0..6 {
        rig.call(Endpoint::Phone("1002".into()));
    }
    rig.wait(1000);
    assert_eq!(states(&told(&mut rig)).split(' ').nth(1), Some("partial"));
    rig.wait(2000);
    rig.call(Endpoint::Phone("1002".into()));
    rig.wait(0);
    assert_eq!(states(&told(&mut rig)), "2 partial recipient trying");
    let heard = subscribe_in(&mut rig, WATCHED, 5, "Event: dialog\r\nExpires: 300\r\n", &tag);
    let all = heard.iter().find(|it| it.what() == "NOTIFY").expect("everything");
    assert_eq!(states(all).matches("recipient").count(), 7);
}

#[test]
fn one_subscription_too_many_ends_the_oldest() {
    let mut settings = lamp_settings(|_| {});
    settings.watching.per_phone = 2;
    let mut rig = Rig::with(settings);
    for call in ["a", "b", "c"] {
        let text = rig.request("SUBSCRIBE", WATCHED, "1001", 1, "Event: dialog\r\n", "");
        rig.send(PHONE, &text.replace("Call-ID: c1001", &format!("Call-ID: {call}")));
        let proof = Rig::credentials(&rig.one(), "1001", "s3cret", "SUBSCRIBE", WATCHED, 1);
        let text = rig.request("SUBSCRIBE", WATCHED, "1001", 2, &format!("Event: dialog\r\n{proof}"), "");
        rig.send(PHONE, &text.replace("Call-ID: c1001", &format!("Call-ID: {call}")));
        let heard = rig.heard();
        let over = heard.iter().filter(|it| it.header("Subscription-State").starts_with("terminated"));
        let over: Vec<&str> = over.map(|it| it.header("Call-ID")).collect();
        assert_eq!(over, if call == "c" { vec!["a"] } else { vec![] });
    }
    assert_eq!(rig.ua.figures().subscriptions, 2);
}

#[test]
fn message_waiting_is_told_to_the_phone_whose_mailbox_it_is() {
    let mut rig = Rig::with(lamp_settings(|phones| phones[0].lamps.mailboxes.push("sales".to_owned())));
    let uri = "sip:1001@gw.example.com";
    let heard = subscribe(&mut rig, uri, "Event: message-summary\r\nExpires: 300\r\n");
    assert!(
        body(&heard[1]).starts_with("Messages-Waiting: no\r\nMessage-Account: sip:1001@gw.example.com\r\n")
    );
    answer_notify(&mut rig, &heard[1], 200);
    rig.wait(2000);
    rig.ua.set_messages(rig.now, "sales", Messages { new: 1, old: 4 });
    let notify = told(&mut rig);
    assert!(body(&notify).contains("Messages-Waiting: yes\r\n") && body(&notify).contains("1/4 (0/0)"));
    assert_eq!(notify.header("Content-Type"), "application/simple-message-summary");
    rig.wait(2000);
    // What is not new is not told, nor what is in a mailbox of somebody else.
    rig.ua.set_messages(rig.now, "sales", Messages { new: 1, old: 4 });
    rig.ua.set_messages(rig.now, "1002", Messages { new: 9, old: 0 });
    assert_eq!(rig.whats(), [] as [&str; 0]);
    rig.wait(40_000);
    // Some phones ask under the mailbox's own name.
    let heard = subscribe(&mut rig, "sip:sales@gw.example.com", "Event: message-summary\r\n");
    assert!(body(&heard[1]).contains("1/4 (0/0)"));
}

#[test]
fn a_phone_that_wants_it_is_told_of_messages_unasked_when_it_comes_and_when_they_change() {
    let mut rig = Rig::with(lamp_settings(|phones| phones[1].lamps.messages_by = MessagesBy::Unasked));
    rig.ua.set_messages(rig.now, "1002", Messages { new: 2, old: 0 });
    assert_eq!(rig.whats(), [] as [&str; 0]);
    let text = rig.request("REGISTER", "sip:gw.example.com", "1002", 1, "", "");
    let text = text.replace("To: <sip:gw.example.com>", "To: <sip:1002@gw.example.com>");
    rig.send(OTHER, &text);
    let proof = Rig::credentials(&rig.one(), "1002", "s3cret", "REGISTER", "sip:gw.example.com", 1);
    let text = rig.request("REGISTER", "sip:gw.example.com", "1002", 2, &proof, "");
    rig.send(OTHER, &text.replace("To: <sip:gw.example.com>", "To: <sip:1002@gw.example.com>"));
    let heard = rig.heard();
    assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["200 REGISTER", "NOTIFY"]);
    assert_eq!((heard[1].to.as_str(), heard[1].uri()), (OTHER, "sip:1002@10.0.0.5:5060"));
    assert!(body(&heard[1]).contains("2/0 (0/0)") && heard[1].header("Event") == "message-summary");
    answer_notify(&mut rig, &heard[1], 200);
    rig.ua.set_messages(rig.now, "1002", Messages::default());
    assert!(body(&told(&mut rig)).starts_with("Messages-Waiting: no"));
    assert_eq!(rig.ua.ask_to_resync(rig.now, &"1002".into()), 1);
    assert_eq!(told(&mut rig).header("Event"), "check-sync;reboot=false");
    rig.ua.settings.resync = Resync::Restart;
    rig.ua.ask_to_resync(rig.now, &"1002".into());
    assert_eq!(told(&mut rig).header("Event"), "check-sync;reboot=true", "where the settings say so");
    assert_eq!(rig.ua.ask_to_resync(rig.now, &"1001".into()), 0);
}

#[test]
fn presence_tells_whether_the_phone_is_there_and_talks() {
    let mut rig = rig();
    let heard = subscribe(&mut rig, WATCHED, "Event: presence\r\nExpires: 600\r\n");
    assert!(body(&heard[1]).contains("<basic>closed</basic>"));
    answer_notify(&mut rig, &heard[1], 200);
    rig.wait(2000);
    rig.register("1002", OTHER);
    rig.wait(0);
    assert!(body(&told(&mut rig)).contains("<basic>open</basic>"));
    rig.wait(2000);
    rig.call(Endpoint::Phone("1002".into()));
    let invite = rig.one();
    rig.wait(0);
    assert!(body(&told(&mut rig)).contains("on-the-phone"));
    rig.wait(2000);
    rig.send(OTHER, &invite.answer(486, "p2", "", ""));
    rig.wait(0);
    assert!(!body(&told(&mut rig)).contains("on-the-phone"));
    rig.wait(296_000);
    assert!(body(&told(&mut rig)).contains("<basic>closed</basic>"));
}
