//! Parsing an INVITE with typed access to its headers, by us and by rsipstack, in the same run; and what a
//! registration and a call cost the user agent: `scripts/bench --sip`.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cordboard::masked::Secret;
use cordboard::random::Random;
use cordboard::sip::digest::authorize;
use cordboard::sip::message::{Message, Name, NameAddr, SipUri, parse};
use cordboard::sip::{DigestAlgorithm, Event, Flow, PhoneAccount, Settings, TrunkPeer, UserAgent};
use cordboard::time::{Now, Wall};
use cordboard_bench_sip::invite;
use divan::black_box;
use rsipstack::sip as theirs;

static INVITE: LazyLock<String> = LazyLock::new(invite);

fn main() {
    println!("an INVITE of {} bytes", INVITE.len());
    divan::main();
    if !std::env::args().any(|it| it == "--list" || it == "--test") {
        user_agent();
    }
}

/// Request-URI, both ends, Via, CSeq, Call-ID, Contact, Max-Forwards, credentials; what else we check we check, too.
#[divan::bench(sample_size = 100)]
fn a_ours() {
    let parsed = parse(black_box(INVITE.as_bytes())).expect("an INVITE");
    let Message::Request(request) = &parsed.message else { panic!("a request") };
    let (head, headers) = (&parsed.head, &request.headers);
    let target = SipUri::parse(&request.uri).expect("a URI");
    let (from, to) = (head.from.sip().expect("a URI"), head.to.sip().expect("a URI"));
    let contact = NameAddr::parse(headers.get(&Name::Contact).expect("there")).expect("an address");
    let device = contact.sip().expect("a URI");
    let hops: u8 = headers.get(&Name::MaxForwards).expect("there").parse().expect("a number");
    let credentials = headers.get(&Name::Authorization).expect("there");
    black_box((&target, &from, &to, &contact, &device, hops, credentials, &request.body));
    black_box((&head.via, &head.cseq, &head.call_id));
}

/// The same of rsipstack.
#[divan::bench(sample_size = 100)]
fn b_rsipstack() {
    use theirs::prelude::*;
    let message = theirs::SipMessage::try_from(black_box(INVITE.as_bytes())).expect("an INVITE");
    let theirs::SipMessage::Request(request) = &message else { panic!("a request") };
    let via = request.via_header().expect("there").typed().expect("a Via");
    let from = request.from_header().expect("there").typed().expect("an address");
    let to = request.to_header().expect("there").typed().expect("an address");
    let cseq = request.cseq_header().expect("there").typed().expect("a CSeq");
    let contact = request.contact_header().expect("there").typed().expect("an address");
    let hops: u8 = request.max_forwards_header().expect("there").value().parse().expect("a number");
    let credentials = request.authorization_header().expect("there");
    let call_id = request.call_id_header().expect("there");
    black_box((&request.uri, &from, &to, &contact, hops, credentials, &request.body));
    black_box((&via, &cseq, call_id));
}

const US: &str = "192.0.2.1:5060";
const TRUNK: &str = "198.51.100.9:5060";
const MANY: usize = 20_000;

/// The user agent, its clock, and how long it has worked.
struct Timed {
    agent: UserAgent,
    now: Now,
    worked: Duration,
}

impl Timed {
    /// Gives it a datagram; what it sent.
    fn hear(&mut self, from: SocketAddr, text: &str) -> Vec<Vec<u8>> {
        let start = Instant::now();
        self.agent.handle_message(
            self.now,
            Flow::udp(US.parse().expect("an address"), from),
            text.as_bytes(),
        );
        let sent: Vec<Vec<u8>> =
            std::iter::from_fn(|| self.agent.poll_transmit().map(|(_, bytes)| bytes)).collect();
        self.worked += start.elapsed();
        sent
    }

    /// Time passes.
    fn wait(&mut self, span: Duration) {
        let start = Instant::now();
        self.now = self.now.after(span);
        self.agent.handle_timeout(self.now);
        self.worked += start.elapsed();
    }
}

/// What a registration (REGISTER, 401, REGISTER, 200) and a call (INVITE, 100, 200, ACK, BYE, 200) cost, with the
/// traffic of 1,000 a second before them still remembered.
fn user_agent() {
    let mut settings = Settings::new("gw.example.com", US.parse().expect("an address"));
    for number in 0..2000 {
        let (name, algorithm) = (format!("p{number}"), DigestAlgorithm::Md5);
        let ha1 = Secret::new(algorithm.ha1(&name, "gw.example.com", "s3cret"));
        settings.phones.push(PhoneAccount::new(name.as_str().into(), algorithm, ha1));
    }
    settings.trunks.push(TrunkPeer::at("pbx", TRUNK.parse().expect("an address")));
    let now = Now { mono: Instant::now(), wall: Wall::from_secs(1_790_000_000) };
    let agent = UserAgent::new(settings, Random::from_number(1));
    let mut timed = Timed { agent, now, worked: Duration::ZERO };
    (0..MANY).for_each(|number| register(&mut timed, number));
    tell("registration", &mut timed);
    (0..MANY).for_each(|number| call(&mut timed, number));
    tell("call", &mut timed);
}

fn tell(what: &str, timed: &mut Timed) {
    let each = timed.worked.as_secs_f64() / MANY as f64;
    println!("a {what:<14} {:>6.1} us of one core: {:>7.0} a second", 1e6 * each, 1.0 / each);
    timed.worked = Duration::ZERO;
}

fn register(timed: &mut Timed, number: usize) {
    let name = format!("p{}", number % 2000);
    let from = SocketAddr::from(([203, 0, (number / 200 % 10) as u8, (number % 200) as u8], 5060));
    let text = |cseq: usize, lines: &str| {
        format!(
            "REGISTER sip:gw.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{number}r{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{name}@gw.example.com>;tag=t{number}\r\nTo: <sip:{name}@gw.example.com>\r\n\
             Call-ID: r{number}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{name}@{from}>\r\nExpires: 600\r\n\
             User-Agent: baresip v1.0.0 (x86_64/linux)\r\n{lines}Content-Length: 0\r\n\r\n"
        )
    };
    let challenge = timed.hear(from, &text(1, ""));
    let challenge = String::from_utf8(challenge.concat()).expect("text");
    let nonce = challenge.split("nonce=\"").nth(1).and_then(|it| it.split('"').next()).expect("a challenge");
    let (uri, realm) = ("sip:gw.example.com", "gw.example.com");
    let value = authorize(DigestAlgorithm::Md5, &name, "s3cret", (realm, nonce), ("REGISTER", uri), 1);
    let answer = timed.hear(from, &text(2, &format!("Authorization: {value}\r\n")));
    assert!(answer.concat().starts_with(b"SIP/2.0 200"), "registered");
    while timed.agent.poll_event().is_some() {}
    while timed.agent.poll_unsaved(timed.now).is_some() {}
    timed.wait(Duration::from_millis(1));
}

fn call(timed: &mut Timed, number: usize) {
    let from: SocketAddr = TRUNK.parse().expect("an address");
    let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let text = |method: &str, cseq: usize, tag: &str, body: &str| {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:85521955500123@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{number}{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:200@{from}>;tag=f{number}\r\nTo: <sip:85521955500123@192.0.2.1>{tag}\r\n\
             Call-ID: c{number}\r\nCSeq: {cseq} {method}\r\nContact: <sip:200@{from}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    timed.hear(from, &text("INVITE", 1, "", sdp));
    let Some(Event::Invited { leg, .. }) = timed.agent.poll_event() else { panic!("a call") };
    let start = Instant::now();
    timed.agent.accept(timed.now, leg, sdp.to_owned());
    let (_, ok) = timed.agent.poll_transmit().expect("a 200");
    timed.worked += start.elapsed();
    let ok = String::from_utf8(ok).expect("text");
    let tag =
        ok.lines().find(|it| it.starts_with("To:")).and_then(|it| it.split(";tag=").nth(1)).expect("a tag");
    let tag = format!(";tag={tag}");
    timed.hear(from, &text("ACK", 1, &tag, ""));
    let answer = timed.hear(from, &text("BYE", 2, &tag, ""));
    assert!(answer.concat().starts_with(b"SIP/2.0 200"), "the call is over");
    while timed.agent.poll_event().is_some() {}
    timed.wait(Duration::from_millis(1));
}
