//! Trunks given by name: nothing waits for DNS but the call concerned, and that not for long.

use super::*;
use crate::sip::locate::{Families, LocateFailure, Located, Sought};
use crate::sip::trunk::{LocateSettings, NameState, NamedServer, RegisterSettings, TrunkChange, TrunkServer};

const FIRST: &str = "198.51.100.21:5060";
const SECOND: &str = "198.51.100.22:5060";

fn named(host: &str) -> TrunkPeer {
    let sought = Sought { host: host.to_owned(), port: None, transport: None, families: Families::V4 };
    let mut trunk = TrunkPeer::at("isp", TRUNK.parse().unwrap());
    trunk.servers.clear();
    trunk.named = vec![NamedServer { sought, priority: 10, weight: 100 }];
    trunk.domain = Some(host.to_owned());
    trunk
}

/// The trunk `pbx` by its address, and the trunk `isp` by its name.
fn named_rig(change: impl FnOnce(&mut TrunkPeer)) -> Rig {
    let mut settings = settings();
    let mut isp = named("isp.example.net");
    change(&mut isp);
    settings.trunks.push(isp);
    let mut rig = Rig::with(settings);
    rig.ua.start_trunks(rig.now);
    rig.wait(0);
    rig
}

fn located(servers: &[&str], ttl: u64) -> Located {
    let server = |(at, address): (usize, &&str)| TrunkServer {
        address: address.parse().unwrap(),
        priority: u16::try_from(at).unwrap(),
        weight: 10,
    };
    let servers = servers.iter().enumerate().map(server).collect();
    Located { transport: Transport::Udp, servers, ttl: Duration::from_secs(ttl) }
}

fn isp() -> Endpoint {
    Endpoint::Trunk("isp".into(), "200".to_owned())
}

fn answer(rig: &mut Rig, answer: Result<Located, LocateFailure>) {
    let lookup = rig.ua.poll_lookup().expect("DNS is asked");
    rig.ua.handle_located(rig.now, lookup.id, answer);
}

fn state(rig: &Rig) -> NameState {
    rig.ua.trunks().find(|it| it.name.as_str() == "isp").expect("there").names[0].1
}

fn moved() -> Event {
    Event::Trunk { trunk: "isp".into(), change: TrunkChange::Moved }
}

#[test]
fn a_trunk_by_name_is_called_at_the_server_that_dns_prefers_and_then_at_the_next() {
    let mut rig = named_rig(|_| {});
    answer(&mut rig, Ok(located(&[FIRST, SECOND], 300)));
    assert_eq!(rig.events(), [moved()]);
    let leg = rig.call(isp());
    let invite = rig.one();
    assert_eq!((invite.to.as_str(), invite.uri()), (FIRST, "sip:200@isp.example.net"));
    rig.send(FIRST, &invite.answer(503, "a", "", ""));
    let second = rig.heard().remove(1);
    assert_eq!((second.to.as_str(), second.uri()), (SECOND, "sip:200@isp.example.net"));
    rig.send(SECOND, &second.answer(200, "b", "Contact: <sip:200@198.51.100.22>\r\n", SDP));
    assert!(matches!(rig.events().as_slice(), [Event::Answered { leg: up, .. }] if *up == leg));
    // Its own calls come from there, too, and from nowhere else.
    let invite = rig.request("INVITE", "sip:8552195550123@192.0.2.1", "300", 1, SDP_LINE, SDP);
    rig.heard();
    rig.send(SECOND, &invite);
    assert!(matches!(rig.events().as_slice(), [Event::Invited { .. }]));
    rig.heard();
    let stranger = rig.request("INVITE", "sip:8552195550123@192.0.2.1", "301", 1, SDP_LINE, SDP);
    rig.send("198.51.100.23:5060", &stranger);
    assert_eq!(rig.one().what(), "401 INVITE");
}

#[test]
fn while_dns_is_silent_for_ten_seconds_fifty_other_calls_are_set_up_at_once() {
    let mut rig = named_rig(|_| {});
    let slow = rig.ua.poll_lookup().expect("DNS is asked");
    let waiting = rig.call(isp());
    assert_eq!(rig.whats(), Vec::<String>::new(), "this call alone waits");
    let began = rig.now.mono;
    let mut legs = Vec::new();
    for _ in 0..50 {
        let leg = rig.call(Endpoint::Trunk("pbx".into(), "200".to_owned()));
        let invite = rig.one();
        rig.send(TRUNK, &invite.answer(200, "a", "Contact: <sip:200@198.51.100.9>\r\n", SDP));
        assert_eq!(rig.one().what(), "ACK");
        legs.push(leg);
    }
    let answered: Vec<LegId> = rig
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Answered { leg, .. } => leg,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((answered, rig.now.mono), (legs, began), "no time has passed");
    rig.wait(1999);
    assert_eq!(rig.events(), []);
    rig.wait(1);
    assert_eq!(rig.events(), [Event::Failed { leg: waiting, failure: LegFailure::NoProvisional }]);
    rig.wait(8000);
    rig.ua.handle_located(rig.now, slow.id, Ok(located(&[FIRST], 300)));
    assert_eq!(rig.events(), [moved()]);
    rig.call(isp());
    assert!(rig.heard().iter().any(|it| it.to == FIRST), "late, and good for the next call");
    assert_eq!(rig.ua.trunks().nth(1).map(|it| (it.lookups.waited, it.lookups.found)), Some((1, 1)));
}

#[test]
fn a_call_that_waits_for_dns_goes_on_with_the_answer_and_fails_with_a_no() {
    let mut rig = named_rig(|_| {});
    let first = rig.call(isp());
    rig.wait(700);
    answer(&mut rig, Ok(located(&[FIRST], 300)));
    assert_eq!((rig.one().to.as_str(), rig.events()), (FIRST, vec![moved()]));
    rig.ua.cancel(rig.now, first, Reason { protocol: "SIP", cause: 200, text: String::new() });

    let mut rig = named_rig(|_| {});
    let leg = rig.call(isp());
    answer(&mut rig, Err(LocateFailure::Nowhere(Duration::from_secs(60))));
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Unreachable }]);
    assert_eq!((state(&rig), rig.ua.figures().legs), (NameState::Nowhere, 0));
    assert!(!rig.ua.is_trunk_usable(&"isp".into()), "a no is remembered");
    rig.wait(60_000);
    assert!(rig.ua.poll_lookup().is_some() && rig.ua.is_trunk_usable(&"isp".into()));
}

#[test]
fn a_call_that_is_taken_back_while_dns_is_asked_is_over_at_once() {
    let mut rig = named_rig(|_| {});
    let leg = rig.call(isp());
    rig.ua.cancel(rig.now, leg, Reason { protocol: "SIP", cause: 200, text: String::new() });
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Cancelled }]);
    answer(&mut rig, Ok(located(&[FIRST], 300)));
    assert_eq!((rig.whats(), rig.ua.figures().legs), (vec![], 0));
}

#[test]
fn f22_with_dns_in_a_black_hole_the_last_answer_is_used_and_an_unknown_name_fails_in_time() {
    let mut rig =
        named_rig(|it| it.locating = LocateSettings { stale: Duration::from_secs(3600), ..it.locating });
    answer(&mut rig, Ok(located(&[FIRST], 60)));
    rig.events();
    for _ in 0..40 {
        rig.wait(10_000);
        while let Some(lookup) = rig.ua.poll_lookup() {
            rig.ua.handle_located(rig.now, lookup.id, Err(LocateFailure::Unanswered));
        }
    }
    assert_eq!(state(&rig), NameState::Stale);
    rig.call(isp());
    assert!(rig.heard().iter().all(|it| it.to == FIRST), "no call waits while something is known");
    rig.wait(3_600_000);
    rig.events();
    assert_eq!(state(&rig), NameState::Unknown);
    let began = rig.now.mono;
    let leg = rig.call(isp());
    rig.wait(2000);
    let failed = Event::Failed { leg, failure: LegFailure::NoProvisional };
    assert_eq!((rig.events(), rig.now.mono - began), (vec![failed], Duration::from_secs(2)));
}

#[test]
fn a_registration_goes_to_where_dns_says_and_follows_when_that_moves() {
    let mut rig = named_rig(|it| it.register = Some(RegisterSettings::new("acme")));
    rig.wait(500);
    rig.events();
    assert_eq!(rig.whats(), Vec::<String>::new());
    answer(&mut rig, Ok(located(&[FIRST], 60)));
    rig.wait(0);
    let register = rig.one();
    assert_eq!((register.to.as_str(), register.uri()), (FIRST, "sip:isp.example.net"));
    let contact = "Contact: <sip:acme@192.0.2.1:5060>;expires=100\r\n";
    rig.send(FIRST, &register.answer(200, "r", contact, ""));
    rig.wait(48_000);
    answer(&mut rig, Ok(located(&[SECOND], 60)));
    rig.wait(52_000);
    assert_eq!(rig.heard().last().map(|it| it.to.clone()).as_deref(), Some(SECOND));
}

#[test]
fn a_name_that_asks_for_tcp_is_called_by_tcp() {
    let mut rig = named_rig(|_| {});
    answer(&mut rig, Ok(Located { transport: Transport::Tcp, ..located(&[FIRST], 300) }));
    rig.call(isp());
    let (flow, bytes) = rig.ua.poll_transmit().expect("an INVITE");
    assert_eq!(flow, Flow::dialled(Transport::Tcp, FIRST.parse().unwrap()));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.starts_with("INVITE sip:200@isp.example.net;transport=tcp SIP/2.0\r\n"), "{text}");
}
