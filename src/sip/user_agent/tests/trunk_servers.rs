//! Trunks of several servers: which is called, who comes next, and who is up.

use super::*;
use crate::sip::trunk::{ProbeSettings, TrunkChange, TrunkLimits, TrunkServer, Urgency};

const FIRST: &str = "198.51.100.9:5060";
const SECOND: &str = "198.51.100.10:5060";

fn servers() -> Vec<TrunkServer> {
    let server =
        |address: &str, priority| TrunkServer { address: address.parse().unwrap(), priority, weight: 100 };
    vec![server(FIRST, 10), server(SECOND, 20)]
}

fn rig(change: impl FnOnce(&mut TrunkPeer)) -> Rig {
    let mut settings = settings();
    settings.trunks[0].servers = servers();
    change(&mut settings.trunks[0]);
    let mut rig = Rig::with(settings);
    rig.ua.start_trunks(rig.now);
    rig
}

fn trunk() -> Endpoint {
    Endpoint::Trunk("pbx".into(), "200".to_owned())
}

fn try_call(rig: &mut Rig) -> Result<LegId, InviteRefusal> {
    let caller = CallerIdentity { number: "1".to_owned(), display: String::new() };
    let (sdp, headers) = (SDP.to_owned(), Vec::new());
    rig.ua.invite(rig.now, Invite { target: trunk(), caller, facts: CallFacts::default(), sdp, headers })
}

fn changed(change: TrunkChange) -> Event {
    Event::Trunk { trunk: "pbx".into(), change }
}

#[test]
fn rule_2_a_server_that_fails_a_call_is_followed_by_the_next_one_in_the_same_call() {
    for status in [408, 500, 502, 503, 504] {
        let mut rig = rig(|_| {});
        let leg = rig.call(trunk());
        let invite = rig.one();
        assert_eq!(invite.to, FIRST);
        rig.send(FIRST, &invite.answer(status, "a", "", ""));
        let heard = rig.heard();
        assert_eq!(heard.iter().map(Heard::what).collect::<Vec<_>>(), ["ACK", "INVITE"], "{status}");
        let second = &heard[1];
        assert_eq!((second.to.as_str(), second.uri()), (SECOND, "sip:200@198.51.100.10:5060"));
        assert_eq!(second.header("CSeq"), "2 INVITE");
        assert_eq!(second.header("Call-ID"), invite.header("Call-ID"));
        assert_eq!(rig.events(), []);
        rig.send(SECOND, &second.answer(200, "b", "Contact: <sip:200@198.51.100.10>\r\n", SDP));
        assert_eq!(rig.one().what(), "ACK");
        assert!(matches!(rig.events().as_slice(), [Event::Answered { leg: up, .. }] if *up == leg));
        rig.ua.hang_up(rig.now, leg, None);
        assert_eq!(rig.one().header("CSeq"), "3 BYE");
    }
}

#[test]
fn what_the_called_side_itself_decides_is_not_asked_elsewhere() {
    for status in [404, 486, 480, 603, 488, 302] {
        let mut rig = rig(|_| {});
        let leg = rig.call(trunk());
        let invite = rig.one();
        rig.send(FIRST, &invite.answer(status, "a", "", ""));
        assert_eq!(rig.one().what(), "ACK");
        assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(status) }]);
    }
}

#[test]
fn rule_2_a_silent_server_is_given_up_after_two_seconds_and_a_late_answer_of_it_is_ended() {
    let mut rig = rig(|_| {});
    let leg = rig.call(trunk());
    let silent = rig.heard().remove(0);
    rig.wait(1999);
    assert!(rig.heard().iter().all(|it| it.to == FIRST));
    rig.wait(1);
    let heard = rig.heard();
    let second = heard.iter().find(|it| it.to == SECOND).expect("the next server");
    rig.send(FIRST, &silent.answer(200, "late", "Contact: <sip:200@198.51.100.9>\r\n", SDP));
    assert_eq!(rig.whats(), ["ACK", "BYE"]);
    assert_eq!(rig.events(), []);
    rig.send(SECOND, &second.answer(200, "b", "", SDP));
    assert_eq!(rig.whats(), ["ACK"]);
    assert!(matches!(rig.events().as_slice(), [Event::Answered { leg: up, .. }] if *up == leg));
    // The server that was silent comes last in the next call.
    rig.call(trunk());
    assert_eq!(rig.one().to, SECOND);
}

#[test]
fn a_call_fails_when_the_last_server_has_failed_it() {
    let mut rig = rig(|_| {});
    let leg = rig.call(trunk());
    rig.ua.handle_unreachable(rig.now, FIRST.parse().unwrap());
    let heard = rig.heard();
    let second = heard.iter().find(|it| it.to == SECOND).expect("the next server");
    rig.send(SECOND, &second.answer(503, "b", "", ""));
    assert_eq!(rig.whats(), ["ACK"]);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(503) }]);
    assert_eq!(rig.ua.figures().legs, 0);
    assert_eq!(rig.ua.trunks().next().map(|it| (it.calls, it.failovers)), Some((0, 1)));
}

#[test]
fn a_call_that_was_taken_back_is_not_tried_elsewhere() {
    let mut rig = rig(|_| {});
    let leg = rig.call(trunk());
    let invite = rig.one();
    rig.send(FIRST, &invite.answer(100, "", "", ""));
    rig.ua.cancel(rig.now, leg, Reason::completed_elsewhere());
    assert_eq!(rig.one().what(), "CANCEL");
    rig.send(FIRST, &invite.answer(503, "a", "", ""));
    assert_eq!(rig.whats(), ["ACK"]);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Cancelled }]);
}

#[test]
fn a_server_that_misses_three_options_is_down_gets_no_calls_and_comes_back_by_itself() {
    let mut rig = rig(|trunk| trunk.probe = Some(ProbeSettings::default()));
    rig.wait(1000);
    let probes = rig.heard();
    let asked: std::collections::BTreeSet<&str> = probes.iter().map(|it| it.to.as_str()).collect();
    assert_eq!(asked, [FIRST, SECOND].into());
    assert!(probes.iter().all(|it| it.what() == "OPTIONS"));
    let mut events = Vec::new();
    // The first server answers once and then no more; the second answers even 404.
    let mut answer = |rig: &mut Rig, heard: Vec<Heard>, first_lives: bool| {
        for probe in heard.into_iter().filter(|it| it.what() == "OPTIONS") {
            if probe.to == SECOND {
                rig.send(SECOND, &probe.answer(404, "o", "", ""));
            } else if first_lives {
                rig.send(FIRST, &probe.answer(200, "o", "", ""));
            }
        }
        events.extend(rig.events());
    };
    answer(&mut rig, probes, true);
    for _ in 0..600 {
        rig.wait(100);
        let heard = rig.heard();
        answer(&mut rig, heard, false);
    }
    assert_eq!(rig.ua.trunks().next().map(|it| it.as_text()), Some("up, a server is down"));
    rig.call(trunk());
    let heard = rig.heard();
    let invite = heard.iter().find(|it| it.what() == "INVITE").expect("a call");
    assert_eq!(invite.to, SECOND);
    rig.send(SECOND, &invite.answer(486, "x", "", ""));
    rig.events();
    rig.heard();
    for _ in 0..110 {
        rig.wait(100);
        let heard = rig.heard();
        answer(&mut rig, heard, true);
    }
    let first = FIRST.parse().unwrap();
    assert_eq!(events, [changed(TrunkChange::ServerDown(first)), changed(TrunkChange::ServerUp(first))]);
    rig.call(trunk());
    assert!(rig.heard().iter().any(|it| it.what() == "INVITE" && it.to == FIRST));
}

#[test]
fn a_trunk_whose_servers_are_all_down_is_refused_at_once() {
    let down_at_once = ProbeSettings { down_after: 1, ..ProbeSettings::default() };
    let mut rig = rig(|trunk| trunk.probe = Some(down_at_once));
    assert!(rig.ua.is_trunk_usable(&"pbx".into()));
    rig.wait(1000);
    for probe in rig.heard() {
        let from = probe.to.clone();
        rig.send(&from, &probe.answer(503, "o", "", ""));
    }
    assert!(!rig.ua.is_trunk_usable(&"pbx".into()) && !rig.ua.is_trunk_usable(&"other".into()));
    assert_eq!(try_call(&mut rig), Err(InviteRefusal::TrunkDown));
    assert_eq!(rig.ua.trunks().next().map(|it| it.as_text()), Some("down"));
    assert_eq!(rig.whats(), Vec::<String>::new());
}

#[test]
fn a_trunk_takes_as_many_calls_as_it_may_both_ways_and_one_more_when_one_is_over() {
    let mut rig = rig(|trunk| trunk.limits = TrunkLimits { calls: Some(2), per_second: None });
    let leg = rig.call(trunk());
    let out = rig.one();
    let (inbound, _) = rig.trunk_calls(SDP);
    assert_eq!(try_call(&mut rig), Err(InviteRefusal::TrunkFull));
    let third = rig.request("INVITE", "sip:9@192.0.2.1", "201", 1, SDP_LINE, SDP);
    rig.send(TRUNK, &third);
    let refusal = rig.one();
    assert_eq!(refusal.what(), "503 INVITE");
    assert!(!refusal.header("Retry-After").is_empty());
    assert_eq!(rig.ua.trunks().next().map(|it| (it.calls, it.turned_away)), Some((2, 2)));
    rig.ua.refuse(rig.now, inbound, Refusal::status(486, "Busy Here"));
    rig.send(FIRST, &out.answer(486, "a", "", ""));
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(486) }]);
    assert_eq!(rig.ua.trunks().next().map(|it| it.calls), Some(0));
    assert!(try_call(&mut rig).is_ok());
}

#[test]
fn a_trunk_takes_so_many_new_calls_a_second() {
    let mut rig = rig(|trunk| trunk.limits = TrunkLimits { calls: None, per_second: Some(2) });
    assert!(try_call(&mut rig).is_ok() && try_call(&mut rig).is_ok());
    assert_eq!(try_call(&mut rig), Err(InviteRefusal::TrunkFull));
    rig.wait(500);
    assert!(try_call(&mut rig).is_ok());
}

#[test]
fn rule_10_an_emergency_call_passes_by_the_trunks_limits_and_what_options_said() {
    let mut settings = settings();
    settings.trunks[0].servers = servers();
    settings.trunks[0].limits = TrunkLimits { calls: Some(1), per_second: Some(1) };
    settings.trunks[0].probe = Some(ProbeSettings { down_after: 1, ..ProbeSettings::default() });
    settings.max_legs = 1;
    let mut rig = Rig::with(settings);
    rig.ua.start_trunks(rig.now);
    rig.call(trunk());
    rig.wait(1000);
    for probe in rig.heard().into_iter().filter(|it| it.what() == "OPTIONS") {
        rig.send(&probe.to.clone(), &probe.answer(503, "o", "", ""));
    }
    assert!(!rig.ua.is_trunk_usable(&"pbx".into()));
    assert_eq!(try_call(&mut rig), Err(InviteRefusal::Overloaded));
    let caller = CallerIdentity { number: "1001".to_owned(), display: String::new() };
    let target = Endpoint::Trunk("pbx".into(), "112".to_owned());
    let facts = CallFacts { urgency: Urgency::Emergency, ..CallFacts::default() };
    let headers = vec![("Priority".to_owned(), "emergency".to_owned())];
    let invite = Invite { target, caller, facts, sdp: SDP.to_owned(), headers };
    rig.ua.invite(rig.now, invite).expect("help is called whatever the limits are");
    let heard = rig.heard();
    let invite = heard.iter().find(|it| it.what() == "INVITE").expect("an INVITE");
    assert_eq!((invite.uri(), invite.header("Priority")), ("sip:112@198.51.100.9:5060", "emergency"));
    assert!(invite.header("From").contains("sip:1001@"), "who calls is shown");
}
