//! Phones over TCP, TLS and WebSocket, trunks over TCP: baresip, SIPp, and a WebSocket client that says what a
//! browser phone says.

use std::net::TcpStream;

use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{Setup, sample, scrape};
use crate::rig::program::{PATIENCE, wait_until};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sip::{header, is_answer};
use crate::rig::sound::{OTHER_HZ, PHONE_HZ, USER_HZ, assert_heard, tenths_of};
use crate::rig::{USER, World, assert_record, sipp};

/// Two seconds and a half of talking.
const TALK: u64 = 125;

/// The open connections of a transport, by `/metrics`.
fn connections(world: &World, transport: &str) -> f64 {
    let name = format!("cordboard_sip_connections{{kind=\"{transport}\"}}");
    let text = scrape(&world.layout);
    text.lines().find(|line| line.starts_with(&name)).and_then(sample).unwrap_or(0.0)
}

fn a_user_calls_a_phone_over(transport: &str) {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_over(transport, OnRing::Answer);
    assert_eq!(connections(&world, transport), 1.0, "the phone has one connection");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_unbroken(&call.told());
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    world.assert_no_violations();
    assert_nothing_resent(&world);
}

fn a_phone_calls_a_user_over(transport: &str) {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_over(transport, OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    let registrar = world.registrar(transport).to_owned();
    phone.order("dial", &format!("sip:8{USER}@{registrar};transport={transport}"));
    let call = world.meta.wait_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "phone");
    assert_heard(&phone.heard(), USER_HZ);
    world.assert_no_violations();
    assert_nothing_resent(&world);
}

fn assert_nothing_resent(world: &World) {
    let text = scrape(&world.layout);
    let resent = text.lines().find(|line| line.starts_with("cordboard_sip_events_total{kind=\"resent\"}"));
    assert_eq!(resent.and_then(sample), Some(0.0), "nothing is sent twice over a stream");
}

#[test]
fn a_phone_over_tcp_is_called_on_its_connection() {
    a_user_calls_a_phone_over("tcp");
}

#[test]
fn a_phone_over_tcp_calls_on_its_connection() {
    a_phone_calls_a_user_over("tcp");
}

#[test]
fn a_phone_inside_tls_is_called_on_its_connection() {
    a_user_calls_a_phone_over("tls");
}

#[test]
fn a_phone_inside_tls_calls_on_its_connection() {
    a_phone_calls_a_user_over("tls");
}

#[test]
fn a_phone_inside_tls_holds_a_user_and_hands_the_call_to_another_phone() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone_over("tls", OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("hold", "");
    call.talk(TALK);
    phone.order("resume", "");
    call.talk(TALK);
    let registrar = world.registrar("tls").to_owned();
    phone.order("transfer", &format!("sip:1002@{registrar};transport=tls"));
    other.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_CLOSED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    other.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_unbroken(&call.told());
    let (first, _) = tenths_of(&call.heard, PHONE_HZ);
    let (second, _) = tenths_of(&call.heard, OTHER_HZ);
    assert!(first >= 20 && second >= 10, "{first} and {second} tenths of a second");
    world.assert_no_violations();
}

#[test]
fn a_trunk_over_tcp_is_called_on_a_connection_of_ours() {
    let setup = Setup { ring: r#""trunk:pbx/200""#, trunk: "transport = \"tcp\"", ..Setup::default() };
    let mut world = World::start(&setup);
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk_over("t1", &folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
    wait_until("SIPp listens", || TcpStream::connect(&world.layout.trunk).is_ok());
    let call = world.meta.place_call(USER);
    call.talk(150);
    call.act("hangup", &json!({}));
    let told = call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_unbroken(&told);
    assert_heard(&call.heard, USER_HZ);
    world.assert_no_violations();
}

#[test]
fn a_trunk_over_tcp_that_is_not_there_ends_the_call_at_once() {
    let setup = Setup { ring: r#""trunk:pbx/200""#, trunk: "transport = \"tcp\"", ..Setup::default() };
    let world = World::start(&setup);
    let call = world.meta.place_call(USER);
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert_record(&record, "user_initiated", false, "phone");
    assert_eq!(record["cause"], "phone_unreachable", "{record:#}");
}

/// A browser phone as JsSIP is one: no address of its own, one WebSocket for everything.
struct Browser {
    socket: WebSocket<TcpStream>,
    numbers: u32,
}

impl Browser {
    fn connect(at: &str) -> Self {
        let stream = TcpStream::connect(at).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
        let mut request = format!("ws://{at}/").into_client_request().expect("a request");
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
        let (socket, _) = tungstenite::client(request, stream).expect("the gateway agrees");
        Self { socket, numbers: 0 }
    }

    fn send(&mut self, text: String) {
        self.socket.send(Message::text(text)).expect("the gateway takes it");
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.socket.read().unwrap_or_else(|error| panic!("waiting for {what}: {error}")) {
                Message::Text(text) if wanted(&text) => return text.to_string(),
                _ => {}
            }
        }
    }

    fn register(&mut self, authorization: &str) {
        self.numbers += 1;
        let number = self.numbers;
        self.send(format!(
            "REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKreg{number}\r\n\
             Max-Forwards: 69\r\nFrom: <sip:1001@127.0.0.1>;tag=65bnmj.34asd\r\nTo: <sip:1001@127.0.0.1>\r\n\
             Call-ID: aiuy7k9njasd\r\nCSeq: {number} REGISTER\r\n\
             Contact: <sip:1001@df7jal23ls0d.invalid;transport=ws>;expires=300\r\n{authorization}\r\n"
        ));
    }
}

#[test]
fn a_browser_phone_registers_by_websocket_and_rings_on_it() {
    let world = World::start(&Setup::default());
    let mut browser = Browser::connect(&world.layout.ws);
    browser.register("");
    let challenge = browser.wait("a challenge", |text| is_answer(text, 401, "REGISTER"));
    let field = |name: &str| {
        let value = header(&challenge, "WWW-Authenticate").expect("a challenge");
        let start = value.find(&format!("{name}=\"")).expect("the field") + name.len() + 2;
        value[start..].split('"').next().expect("its end").to_owned()
    };
    let line = cordboard::sip::digest::authorize(
        cordboard::sip::DigestAlgorithm::Md5,
        "1001",
        crate::rig::gateway::PASSWORD,
        (&field("realm"), &field("nonce")),
        ("REGISTER", "sip:127.0.0.1"),
        1,
    );
    browser.register(&format!("Authorization: {line}\r\n"));
    browser.wait("the registration", |text| is_answer(text, 200, "REGISTER"));
    let call = world.meta.place_call(USER);
    let invite = browser.wait("the call", |text| text.starts_with("INVITE "));
    assert!(invite.starts_with("INVITE sip:1001@df7jal23ls0d.invalid;transport=ws SIP/2.0\r\n"), "{invite}");
    assert!(header(&invite, "Via").expect("a Via").starts_with("SIP/2.0/WS 127.0.0.1:"), "{invite}");
    assert!(header(&invite, "Contact").expect("a Contact").ends_with(";transport=ws>"), "{invite}");
    let copied = |name: &str| format!("{name}: {}\r\n", header(&invite, name).expect("it stands there"));
    browser.send(format!(
        "SIP/2.0 486 Busy Here\r\n{}{}{};tag=b\r\n{}{}\r\n",
        copied("Via"),
        copied("From"),
        copied("To").trim_end(),
        copied("Call-ID"),
        copied("CSeq")
    ));
    browser.wait("the ACK", |text| text.starts_with("ACK "));
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert_eq!(record["cause"], "phone_busy", "{record:#}");
}
