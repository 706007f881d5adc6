//! Phones and trunks over TCP, TLS and WebSocket: one connection per phone, and what its end means.

use super::*;
use crate::sip::user_agent::Listener;

const TCP: &str = "192.0.2.1:5060";
pub(super) const TLS: &str = "192.0.2.1:5061";
const URI: &str = "sip:gw.example.com";

pub(super) fn streams() -> Settings {
    let mut settings = settings();
    for (transport, address) in
        [(Transport::Tcp, TCP), (Transport::Tls, TLS), (Transport::Wss, "192.0.2.1:443")]
    {
        let local = address.parse().unwrap();
        settings.listeners.push(Listener { transport, local, advertised: local });
    }
    settings
}

pub(super) fn on(transport: Transport, local: &str, remote: &str) -> Flow {
    Flow { transport, local: local.parse().unwrap(), remote: remote.parse().unwrap() }
}

fn tcp(remote: &str) -> Flow {
    on(Transport::Tcp, TCP, remote)
}

impl Rig {
    pub(super) fn send_on(&mut self, flow: Flow, text: &str) {
        self.ua.handle_message(self.now, flow, text.as_bytes());
    }

    fn sent(&mut self) -> Vec<(Flow, String)> {
        std::iter::from_fn(|| self.ua.poll_transmit())
            .map(|(flow, bytes)| (flow, String::from_utf8(bytes).expect("text")))
            .collect()
    }

    /// The flow and first line of everything sent since the last look.
    fn lines(&mut self) -> Vec<(Flow, String)> {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        self.sent().iter().map(|(flow, text)| (*flow, first(text))).collect()
    }

    /// Registers phone 1001 on `flow`, as the same device each time.
    pub(super) fn register_on(&mut self, flow: Flow, number: u32) {
        let scheme = flow.transport.in_via();
        let message = |rig: &mut Self, number: u32, lines: &str| {
            let port = flow.remote.port();
            rig.request("REGISTER", URI, "1001", number, lines, "")
                .replace(&format!("To: <{URI}>"), "To: <sip:1001@gw.example.com>")
                .replace("SIP/2.0/UDP", &format!("SIP/2.0/{scheme}"))
                .replace("10.0.0.5:5060>", &format!("10.0.0.5:{port};transport=tcp>"))
                .replace("Call-ID: c1001", "Call-ID: device")
        };
        let text = message(self, number, "");
        self.send_on(flow, &text);
        let challenge = self.one();
        let lines = Self::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 1);
        let text = message(self, number + 1, &lines);
        self.send_on(flow, &text);
        let answered = self.lines();
        assert_eq!(answered, [(flow, "SIP/2.0 200 OK".to_owned())]);
    }

    /// Calls phone 1001, which rings on `flow`; the INVITE.
    fn ring_on(&mut self, flow: Flow) -> (LegId, Heard) {
        let leg = self.call(Endpoint::Phone("1001".into()));
        let invite = self.one();
        assert_eq!(
            (invite.what().as_str(), invite.to.as_str()),
            ("INVITE", flow.remote.to_string().as_str())
        );
        self.send_on(flow, &invite.answer(180, "p1", "", ""));
        assert!(matches!(self.events().as_slice(), [Event::Ringing { .. }]));
        (leg, invite)
    }
}

const CONTACT: &str = "Contact: <sip:1001@10.0.0.5:40001;transport=tcp>\r\n";

#[test]
fn a_phone_is_called_on_the_connection_it_registered_on_and_nothing_is_sent_twice() {
    for (transport, local, contact) in [
        (Transport::Tcp, TCP, "<sip:192.0.2.1:5060;transport=tcp>"),
        (Transport::Tls, TLS, "<sip:192.0.2.1:5061;transport=tls>"),
        (Transport::Wss, "192.0.2.1:443", "<sip:192.0.2.1:443;transport=ws>"),
    ] {
        let mut rig = Rig::with(streams());
        let flow = on(transport, local, PHONE);
        rig.register_on(flow, 1);
        rig.events();
        let leg = rig.call(Endpoint::Phone("1001".into()));
        let (sent_on, text) = rig.sent().remove(0);
        assert_eq!(sent_on, flow);
        assert!(text.contains(&format!("Via: SIP/2.0/{} {local};rport;", transport.in_via())), "{text}");
        assert!(text.contains(&format!("Contact: {contact}\r\n")), "{text}");
        rig.wait(31_999);
        assert_eq!(rig.lines(), []);
        rig.wait(1);
        let failure = LegFailure::Timeout;
        assert_eq!(rig.events(), [Event::Failed { leg, failure }]);
    }
}

#[test]
fn a_phone_called_by_sips_gets_a_contact_to_call_back_by_sips() {
    let mut rig = Rig::with(streams());
    let flow = on(Transport::Tls, TLS, PHONE);
    rig.register_on(flow, 1);
    let lines = format!("{SDP_LINE}Contact: <sips:1001@10.0.0.5>\r\n");
    let text = rig.request("INVITE", "sips:85521955500123@gw.example.com", "1001", 9, "", "");
    rig.send_on(flow, &text);
    let challenge = rig.one();
    let uri = "sips:85521955500123@gw.example.com";
    let lines = lines + &Rig::credentials(&challenge, "1001", "s3cret", "INVITE", uri, 1);
    let text = rig.request("INVITE", uri, "1001", 10, &lines, SDP);
    rig.send_on(flow, &text);
    let events = rig.events();
    let [.., Event::Invited { leg, .. }] = events.as_slice() else { panic!("{events:?}") };
    rig.ua.ring(rig.now, *leg, None);
    let ringing = rig.heard().pop().expect("180");
    assert_eq!(ringing.header("Contact"), "<sips:192.0.2.1:5061>");
}

#[test]
fn a_phone_whose_connection_closed_is_not_rung_and_its_call_goes_on_where_it_registers_next() {
    let mut rig = Rig::with(streams());
    rig.register_on(tcp(PHONE), 1);
    rig.events();
    let (leg, invite) = rig.ring_on(tcp(PHONE));
    rig.send_on(tcp(PHONE), &invite.answer(200, "p1", CONTACT, SDP));
    assert_eq!(rig.one().what(), "ACK");
    rig.events();

    rig.ua.handle_closed(rig.now, tcp(PHONE));
    assert_eq!(rig.events(), [Event::Unregistered { phone: "1001".into() }]);
    assert!(!rig.ua.is_registered(&"1001".into()));

    let back = tcp("203.0.113.7:40999");
    rig.register_on(back, 3);
    assert_eq!(rig.events(), [Event::Registered { phone: "1001".into() }]);
    rig.ua.hang_up(rig.now, leg, None);
    let sent = rig.lines();
    assert_eq!(sent, [(back, "BYE sip:1001@10.0.0.5:40001;transport=tcp SIP/2.0".to_owned())]);
}

#[test]
fn a_phone_that_speaks_in_its_call_on_a_new_connection_is_answered_and_asked_there() {
    let mut rig = Rig::with(streams());
    rig.register_on(tcp(PHONE), 1);
    let leg = rig.call(Endpoint::Phone("1001".into()));
    let invite = rig.one();
    rig.send_on(tcp(PHONE), &invite.answer(200, "p1", CONTACT, SDP));
    let ack = rig.one();
    rig.ua.handle_closed(rig.now, tcp(PHONE));
    let back = tcp("203.0.113.7:40999");
    let options = rig.within_back(&ack, "OPTIONS", 7, "", "");
    rig.send_on(back, &options);
    assert_eq!(rig.lines(), [(back, "SIP/2.0 200 OK".to_owned())]);
    rig.ua.hang_up(rig.now, leg, None);
    assert_eq!(rig.lines()[0].0, back);
}

#[test]
fn a_ringing_phone_whose_connection_closes_is_unreachable_and_hung_up_on_should_it_answer_after_all() {
    let mut rig = Rig::with(streams());
    rig.register_on(tcp(PHONE), 1);
    rig.events();
    let (leg, invite) = rig.ring_on(tcp(PHONE));
    rig.ua.handle_closed(rig.now, tcp(PHONE));
    let gone = Event::Unregistered { phone: "1001".into() };
    assert_eq!(rig.events(), [gone, Event::Failed { leg, failure: LegFailure::Unreachable }]);
    let back = tcp("203.0.113.7:40999");
    rig.send_on(back, &invite.answer(200, "p1", CONTACT, SDP));
    let sent: Vec<(Flow, String)> = rig.lines();
    assert!(sent.iter().all(|(flow, _)| *flow == back), "{sent:?}");
    let methods: Vec<&str> = sent.iter().filter_map(|(_, line)| line.split(' ').next()).collect();
    assert_eq!(methods, ["ACK", "BYE"]);
    assert_eq!(rig.events(), []);
}

#[test]
fn of_two_ringing_phones_the_one_that_came_back_on_another_connection_can_still_take_the_call() {
    let mut rig = Rig::with(streams());
    rig.register_on(tcp(PHONE), 1);
    rig.events();
    rig.register("1001", OTHER);
    let leg = rig.call(Endpoint::Phone("1001".into()));
    let invites = rig.heard();
    let over_tcp = invites.iter().find(|it| it.to == PHONE).expect("an INVITE");
    rig.send_on(tcp(PHONE), &over_tcp.answer(180, "p1", "", ""));
    rig.events();
    rig.ua.handle_closed(rig.now, tcp(PHONE));
    assert_eq!(rig.events(), [], "the other one still rings");
    let back = tcp("203.0.113.7:40999");
    rig.send_on(back, &over_tcp.answer(200, "p1", CONTACT, SDP));
    let events = rig.events();
    assert!(matches!(events.as_slice(), [Event::Answered { leg: it, .. }] if *it == leg), "{events:?}");
    assert_eq!(rig.lines()[0].0, back);
}

#[test]
fn a_caller_whose_connection_closes_before_the_answer_has_given_up() {
    let mut rig = Rig::with(streams());
    rig.register_on(tcp(PHONE), 1);
    let uri = "sip:85521955500123@gw.example.com";
    let text = rig.request("INVITE", uri, "1001", 9, "", "");
    rig.send_on(tcp(PHONE), &text);
    let lines = Rig::credentials(&rig.one(), "1001", "s3cret", "INVITE", uri, 1);
    let text = rig.request("INVITE", uri, "1001", 10, &(lines + SDP_LINE), SDP);
    rig.send_on(tcp(PHONE), &text);
    let events = rig.events();
    let [.., Event::Invited { leg, .. }] = events.as_slice() else { panic!("{events:?}") };
    rig.ua.handle_closed(rig.now, tcp(PHONE));
    let gone = Event::Unregistered { phone: "1001".into() };
    assert_eq!(rig.events(), [gone, Event::Cancelled { leg: *leg }]);
    rig.heard();
    rig.ua.ring(rig.now, *leg, None);
    assert_eq!((rig.lines(), rig.ua.figures().legs), (vec![], 0));
}

#[test]
fn a_trunk_by_tls_is_called_on_a_stream_of_ours_and_known_only_inside_tls() {
    let mut settings = streams();
    settings.trunks[0].transport = Transport::Tls;
    settings.trunks[0].servers[0].address = "198.51.100.9:5061".parse().unwrap();
    let mut rig = Rig::with(settings);
    let leg = rig.call(Endpoint::Trunk("pbx".into(), "200".to_owned()));
    let (flow, text) = rig.sent().remove(0);
    assert_eq!(flow, Flow::dialled(Transport::Tls, "198.51.100.9:5061".parse().unwrap()));
    assert!(text.starts_with("INVITE sip:200@198.51.100.9:5061;transport=tls SIP/2.0\r\n"), "{text}");
    assert!(text.contains("Contact: <sip:192.0.2.1:5061;transport=tls>\r\n"), "{text}");
    rig.ua.handle_closed(rig.now, flow);
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Unreachable }]);

    let invite = rig.request("INVITE", "sip:1@192.0.2.1", "200", 1, SDP_LINE, SDP);
    rig.send(TRUNK, &invite);
    assert_eq!(rig.one().what(), "401 INVITE", "the address of a datagram can be forged");
    let invite = rig.request("INVITE", "sip:1@192.0.2.1", "200", 1, SDP_LINE, SDP);
    rig.send_on(on(Transport::Tls, TLS, "198.51.100.9:50000"), &invite);
    assert_eq!(rig.one().what(), "100 INVITE");
}

#[test]
fn the_answer_to_a_trunk_whose_connection_closed_goes_to_where_it_listens() {
    let mut rig = Rig::with(streams());
    let flow = tcp("198.51.100.9:50000");
    let invite = rig
        .request("INVITE", "sip:85521955500123@192.0.2.1", "200", 1, SDP_LINE, SDP)
        .replace("Via: SIP/2.0/UDP 10.0.0.5:5060", "Via: SIP/2.0/TCP 198.51.100.9:5070");
    rig.send_on(flow, &invite);
    let events = rig.events();
    let [Event::Invited { leg, .. }] = events.as_slice() else { panic!("{events:?}") };
    rig.heard();
    rig.ua.handle_closed(rig.now, flow);
    assert_eq!(rig.events(), []);
    rig.ua.accept(rig.now, *leg, SDP.to_owned());
    let anew = Flow::dialled(Transport::Tcp, "198.51.100.9:5070".parse().unwrap());
    assert_eq!(rig.lines(), [(anew, "SIP/2.0 200 OK".to_owned())]);
}

#[test]
fn a_request_without_an_end_is_refused_on_its_connection() {
    let mut rig = Rig::with(streams());
    let text = rig.request("OPTIONS", "sip:192.0.2.1", "x", 1, "", "").replace("Content-Length: 0\r\n", "");
    rig.ua.handle_endless(tcp(PHONE), text.as_bytes());
    assert_eq!(rig.lines(), [(tcp(PHONE), "SIP/2.0 400 Bad Content-Length".to_owned())]);
}

#[test]
fn connections_are_in_use_while_a_phone_is_bound_to_them_or_a_call_needs_them() {
    let mut rig = Rig::with(streams());
    assert_eq!(rig.ua.flows_in_use().count(), 0);
    rig.register_on(tcp(PHONE), 1);
    assert!(rig.ua.flows_in_use().all(|flow| flow == tcp(PHONE)));
    let other = tcp(OTHER);
    let text = rig.request("OPTIONS", "sip:192.0.2.1", "x", 1, "", "");
    rig.send_on(other, &text);
    rig.wait(300_000);
    assert_eq!(rig.ua.flows_in_use().count(), 0);
}
