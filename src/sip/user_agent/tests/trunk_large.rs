//! Calls to trunks that no datagram can carry.

use super::*;

/// A description that stays too large however it is shortened.
fn large() -> String {
    let more: String =
        (0..40).map(|at| format!("a=x-of-a-vendor:{at} 0123456789012345678901234567\r\n")).collect();
    format!("{SDP}{more}")
}

fn call(rig: &mut Rig) -> LegId {
    let target = Endpoint::Trunk("pbx".into(), "200".to_owned());
    let caller = CallerIdentity { number: "1".to_owned(), display: String::new() };
    let facts = CallFacts::default();
    let invite = Invite { target, caller, facts, sdp: large(), headers: Vec::new() };
    rig.ua.invite(rig.now, invite).expect("a call")
}

fn sent(rig: &mut Rig) -> Vec<(Transport, Heard)> {
    std::iter::from_fn(|| rig.ua.poll_transmit())
        .map(|(flow, bytes)| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            (flow.transport, Heard { to: flow.remote.to_string(), parsed: parse(&bytes).expect("SIP"), text })
        })
        .collect()
}

fn stream() -> Flow {
    Flow::dialled(Transport::Tcp, TRUNK.parse().unwrap())
}

#[test]
fn an_invite_that_is_too_large_for_a_datagram_goes_by_tcp_and_its_call_by_datagrams() {
    let mut rig = Rig::new();
    let leg = call(&mut rig);
    let [(Transport::Tcp, invite)] = &sent(&mut rig)[..] else { panic!("one INVITE by TCP") };
    assert!(invite.header("Via").starts_with("SIP/2.0/TCP 192.0.2.1"), "{}", invite.text);
    assert_eq!(invite.header("Contact"), "<sip:192.0.2.1:5060>", "where datagrams come");
    let ok = invite.answer(200, "a", "Contact: <sip:200@198.51.100.9>\r\n", SDP);
    rig.ua.handle_message(rig.now, stream(), ok.as_bytes());
    let [(Transport::Udp, ack)] = &sent(&mut rig)[..] else { panic!("one ACK by UDP") };
    assert_eq!(ack.what(), "ACK");
    assert!(matches!(rig.events().as_slice(), [Event::Answered { .. }]));
    rig.ua.handle_closed(rig.now, stream());
    rig.ua.hang_up(rig.now, leg, None);
    let [(Transport::Udp, bye)] = &sent(&mut rig)[..] else { panic!("one BYE by UDP") };
    assert_eq!(bye.what(), "BYE");
}

#[test]
fn a_server_without_tcp_gets_the_large_invite_by_udp_and_is_not_asked_again_for_ten_minutes() {
    let mut rig = Rig::new();
    let leg = call(&mut rig);
    sent(&mut rig);
    rig.ua.handle_closed(rig.now, stream());
    let [(Transport::Udp, invite)] = &sent(&mut rig)[..] else { panic!("one INVITE by UDP") };
    assert_eq!((invite.what().as_str(), invite.header("CSeq")), ("INVITE", "2 INVITE"));
    assert!(invite.text.len() > 1300 && rig.events().is_empty());
    rig.send(TRUNK, &invite.answer(200, "a", "Contact: <sip:200@198.51.100.9>\r\n", SDP));
    assert!(matches!(rig.events().as_slice(), [Event::Answered { leg: up, .. }] if *up == leg));
    rig.ua.hang_up(rig.now, leg, None);
    sent(&mut rig);
    call(&mut rig);
    assert_eq!(sent(&mut rig)[0].0, Transport::Udp);
    rig.wait(600_000);
    sent(&mut rig);
    call(&mut rig);
    assert_eq!(sent(&mut rig)[0].0, Transport::Tcp);
}

#[test]
fn a_connection_that_does_not_open_in_time_is_followed_by_udp_before_the_server_is_given_up() {
    let mut rig = Rig::new();
    let leg = call(&mut rig);
    sent(&mut rig);
    rig.wait(1999);
    assert_eq!(sent(&mut rig).len(), 0);
    rig.wait(1);
    assert!(matches!(sent(&mut rig)[..], [(Transport::Udp, _)]));
    rig.wait(1999);
    assert_eq!(rig.events(), []);
    rig.wait(1);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::NoProvisional }]);
}

#[test]
fn what_can_be_made_small_enough_stays_a_datagram() {
    let mut rig = Rig::new();
    rig.call(Endpoint::Trunk("pbx".into(), "200".to_owned()));
    assert!(matches!(sent(&mut rig)[..], [(Transport::Udp, _)]));
}

#[test]
fn a_password_that_is_refused_is_refused_also_when_the_request_that_carries_it_fell_back_to_udp() {
    let mut settings = settings();
    let password = Secret::new("wrong".to_owned());
    settings.trunks[0].login = Some(crate::sip::trunk::Login { user: "acme".to_owned(), password });
    let mut rig = Rig::with(settings);
    let leg = call(&mut rig);
    let ask = "WWW-Authenticate: Digest realm=\"isp\", nonce=\"n\", qop=\"auth\"\r\n";
    let first = sent(&mut rig).remove(0).1;
    rig.ua.handle_message(rig.now, stream(), first.answer(401, "a", ask, "").as_bytes());
    let heard = sent(&mut rig);
    assert_eq!(
        heard.iter().map(|(by, it)| (*by, it.what())).collect::<Vec<_>>(),
        [(Transport::Tcp, "ACK".to_owned()), (Transport::Tcp, "INVITE".to_owned()),]
    );
    rig.ua.handle_closed(rig.now, stream());
    let second = sent(&mut rig).remove(0).1;
    assert!(second.header("Authorization").contains("username=\"acme\""), "{}", second.text);
    rig.send(TRUNK, &second.answer(401, "b", ask, ""));
    assert_eq!(rig.whats(), ["ACK"]);
    let refused = Event::Trunk { trunk: "pbx".into(), change: crate::sip::TrunkChange::LoginRefused };
    let failed = Event::Failed { leg, failure: LegFailure::Status(401) };
    assert_eq!(rig.events(), [refused, failed]);
}
