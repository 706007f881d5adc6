//! Security row S4: whoever sends whatever, no call goes where the administrator has not opened a way.
//!
//! The user agent hears each script; what it tells is resolved by the dial plan as `io::signalling` does it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard::dialplan::{DialEntry, DialPlan, Dialled, EmergencyPlan, FeatureCodes, TrunkEntry};
use cordboard::id::{Endpoint, PhoneName, PhoneNumberId, TrunkName};
use cordboard::masked::Secret;
use cordboard::random::Random;
use cordboard::sip::digest::authorize;
use cordboard::sip::trunk::CallFacts;
use cordboard::sip::{
    CallerIdentity, CallerOrigin, DigestAlgorithm, Event, Flow, Invite, PhoneAccount, Settings, TrunkPeer,
    UserAgent,
};
use cordboard::time::{Now, Wall};

const US: &str = "192.0.2.1:5060";
const STRANGER: &str = "203.0.113.66:5060";
const TRUNK: &str = "198.51.100.9:5060";
const OTHER_TRUNK: &str = "198.51.100.10:5060";
const PHONE: &str = "203.0.113.7:40001";
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 203.0.113.7\r\ns=-\r\nc=IN IP4 203.0.113.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// Phone 1001 may dial WhatsApp (8) and trunk `b` (0); phone 1002 nothing, both trunks nothing.
struct House {
    agent: UserAgent,
    plan: DialPlan,
    now: Now,
    /// Every datagram that left, by where it went.
    sent: Vec<(SocketAddr, String)>,
    number: u32,
}

impl House {
    fn new() -> Self {
        let mut settings = Settings::new("gw.example.com", address(US));
        for name in ["1001", "1002"] {
            let ha1 = Secret::new(DigestAlgorithm::Md5.ha1(name, "gw.example.com", "s3cret"));
            let algorithm = DigestAlgorithm::Md5;
            settings.phones.push(PhoneAccount::new(name.into(), algorithm, ha1));
        }
        settings.trunks.push(TrunkPeer::at("a", address(TRUNK)));
        settings.trunks.push(TrunkPeer::at("b", address(OTHER_TRUNK)));
        let phones: Vec<PhoneName> = vec!["1001".into(), "1002".into()];
        let entry = DialEntry {
            number: PhoneNumberId::from("1000"),
            prefix: "8".to_owned(),
            phones: vec!["1001".into()],
            trunks: Vec::new(),
        };
        // Every script is to be judged by what it asks for.
        settings.defence.enabled = false;
        let trunk =
            |prefix: &str, name: &str| TrunkEntry { prefix: prefix.to_owned(), trunk: TrunkName::from(name) };
        let plan = DialPlan {
            entries: vec![entry],
            phones,
            trunks: vec![trunk("0", "b"), trunk("9", "a")],
            transit: Vec::new(),
            emergency: EmergencyPlan { numbers: ["112".to_owned()].into(), ..EmergencyPlan::default() },
            features: FeatureCodes::default(),
        };
        let now = Now { mono: Instant::now(), wall: Wall::from_secs(1_790_000_000) };
        let agent = UserAgent::new(settings, Random::from_number(4));
        let mut house = Self { agent, plan, now, sent: Vec::new(), number: 0 };
        house.register("1001");
        house
    }

    fn hear(&mut self, from: &str, text: &str) {
        self.agent.handle_message(self.now, Flow::udp(address(US), address(from)), text.as_bytes());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some((flow, bytes)) = self.agent.poll_transmit() {
            self.sent.push((flow.remote, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }

    fn register(&mut self, name: &str) {
        let text = |number: u32, lines: &str| {
            format!(
                "REGISTER sip:gw.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5;rport;branch=z9hG4bKr{number}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{name}@gw.example.com>;tag=r\r\nTo: <sip:{name}@gw.example.com>\r\n\
                 Call-ID: reg\r\nCSeq: {number} REGISTER\r\nContact: <sip:{name}@10.0.0.5:40001>\r\n\
                 User-Agent: Desk T46U 108.86.0.20\r\n\
                 Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER, MESSAGE, SUBSCRIBE, PUBLISH\r\n\
                 Allow-Events: talk, hold, conference, refer, check-sync, dialog, message-summary\r\n{lines}\
                 Content-Length: 0\r\n\r\n"
            )
        };
        self.hear(PHONE, &text(1, ""));
        let challenge = self.sent.pop().expect("a challenge").1;
        let nonce = challenge.split("nonce=\"").nth(1).and_then(|it| it.split('"').next()).expect("a nonce");
        let realm = ("gw.example.com", nonce);
        let asked = ("REGISTER", "sip:gw.example.com");
        let value = authorize(DigestAlgorithm::Md5, name, "s3cret", realm, asked, 1);
        self.hear(PHONE, &text(2, &format!("Authorization: {value}\r\n")));
        assert!(self.sent.pop().expect("an answer").1.starts_with("SIP/2.0 200"));
        while self.agent.poll_event().is_some() {}
    }

    fn request(&mut self, method: &str, uri: &str, from: &str, lines: &str) -> String {
        self.number += 1;
        let number = self.number;
        let body = if method == "INVITE" { SDP } else { "" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let contact = if lines.contains("Contact:") { "" } else { "Contact: <sip:x@198.51.100.9:5060>\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9:5060;rport;branch=z9hG4bKa{number}\r\n\
             Max-Forwards: 70\r\nFrom: {from};tag=a{number}\r\nTo: <sip:x@gw.example.com>\r\nCall-ID: abuse-{number}\r\n\
             CSeq: 1 {method}\r\n{contact}{lines}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Where what was told would lead; fails if that is outside.
    fn judge(&mut self, script: &str) {
        while let Some(event) = self.agent.poll_event() {
            let (caller, dialled) = match event {
                Event::Invited { from, dialled, leg, .. } => {
                    let caller = match from.origin {
                        CallerOrigin::Phone(name) => Endpoint::Phone(name),
                        CallerOrigin::Trunk(name) => Endpoint::Trunk(name, from.number),
                    };
                    self.agent.hang_up(self.now, leg, None);
                    (caller, dialled)
                }
                Event::Referred { referral, .. } => {
                    (Endpoint::Trunk("a".into(), String::new()), referral.dialled)
                }
                _ => continue,
            };
            match self.plan.resolve(&caller, &dialled) {
                Dialled::User(..) | Dialled::Desk(Endpoint::Trunk(..)) => {
                    panic!("{caller:?} would be put through to {dialled}: {script}")
                }
                // Phones may be called by trunks: that costs nobody anything.
                Dialled::Desk(Endpoint::Phone(_))
                | Dialled::Emergency(_)
                | Dialled::Feature(_)
                | Dialled::UnknownCode
                | Dialled::NotAllowed
                | Dialled::Unknown => {}
            }
        }
        self.drain();
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// What a Request-URI, a Contact or a Refer-To can name that costs money.
fn targets() -> Vec<String> {
    let mut targets = Vec::new();
    for digits in
        ["0015551234567", "90015551234567", "85521955500123", "+15551234567", "00112", "1900", "0%30"]
    {
        targets.push(format!("sip:{digits}@gw.example.com"));
        targets.push(format!("sip:{digits}@198.51.100.10"));
        targets.push(format!("sips:{digits}@198.51.100.10:5061;transport=tls"));
        targets.push(format!("sip:{digits}@192.0.2.1;maddr=198.51.100.10"));
        targets.push(format!("sip:{digits};phone-context=gw@gw.example.com;user=phone"));
        targets.push(format!("tel:{digits}"));
        targets.push(format!("sip:1001@gw.example.com;target={digits}"));
    }
    targets
}

/// Who it claims to be, and where it says that the call comes from or goes to.
fn claims() -> Vec<(&'static str, &'static str)> {
    vec![
        ("<sip:1001@gw.example.com>", ""),
        ("<sip:200@198.51.100.9>", ""),
        ("<sip:1001@gw.example.com>", "P-Asserted-Identity: <sip:1001@gw.example.com>\r\n"),
        ("\"1001\" <sip:1001@gw.example.com>", "Remote-Party-ID: <sip:1001@gw.example.com>;screen=yes\r\n"),
        ("<sip:200@198.51.100.9>", "Diversion: <sip:1001@gw.example.com>;reason=unconditional\r\n"),
        ("<sip:200@198.51.100.9>", "Route: <sip:198.51.100.10;lr>\r\n"),
        ("<sip:200@198.51.100.9>", "Referred-By: <sip:1001@gw.example.com>\r\n"),
        ("<sip:200@198.51.100.9>", "Contact: <sip:0015551234567@198.51.100.10>\r\n"),
        (
            "<sip:200@198.51.100.9>",
            "X-WA-Number: 1000\r\nHistory-Info: <sip:1001@gw.example.com>;index=1\r\n",
        ),
        (
            "<sip:1001@gw.example.com>",
            "Authorization: Digest username=\"1001\", realm=\"gw.example.com\", nonce=\"00\", uri=\"sip:x\", response=\"00\"\r\n",
        ),
    ]
}

#[test]
fn s4_of_more_than_five_hundred_scripts_of_abuse_none_places_a_call() {
    let mut house = House::new();
    let mut scripts = 0;
    for target in targets() {
        for (from, lines) in claims() {
            for sender in [STRANGER, TRUNK] {
                let text = house.request("INVITE", &target, from, lines);
                house.hear(sender, &text);
                house.judge(&text);
                scripts += 1;
            }
        }
        // Out of the blue: somebody else is to call.
        for method in ["REFER", "NOTIFY", "MESSAGE", "SUBSCRIBE", "OPTIONS"] {
            let lines = format!("Refer-To: <{target}>\r\nEvent: refer\r\n");
            let text = house.request(method, "sip:1001@gw.example.com", "<sip:1001@gw.example.com>", &lines);
            for sender in [STRANGER, TRUNK, PHONE] {
                house.hear(sender, &text);
                house.judge(&text);
                scripts += 1;
            }
        }
        house.now = house.now.after(Duration::from_millis(500));
        house.agent.handle_timeout(house.now);
        house.drain();
    }
    assert!(scripts > 500, "{scripts}");
    let placed: Vec<&String> =
        house.sent.iter().map(|(_, text)| text).filter(|text| text.starts_with("INVITE ")).collect();
    assert!(placed.is_empty(), "{placed:?}");
}

#[test]
fn s4_a_phone_that_answers_with_a_redirection_or_a_foreign_contact_sends_no_call_anywhere() {
    for target in targets() {
        for status in [300, 301, 302, 305, 380, 200] {
            let mut house = House::new();
            let invite = Invite {
                target: Endpoint::Phone("1001".into()),
                caller: CallerIdentity { number: "5521955500123".to_owned(), display: String::new() },
                facts: CallFacts::default(),
                sdp: SDP.to_owned(),
                headers: Vec::new(),
            };
            let leg = house.agent.invite(house.now, invite).expect("a call");
            house.drain();
            let text = house.sent.pop().expect("an INVITE").1;
            let kept =
                |line: &&str| ["Via", "From", "Call-ID", "CSeq", "To"].iter().any(|it| line.starts_with(it));
            let head: Vec<&str> = text.lines().filter(kept).collect();
            let head = head.join("\r\n").replace("\r\nTo: <sip:1001@10.0.0.5:40001>", "");
            let to = text.lines().find(|it| it.starts_with("To:")).expect("To");
            let head = head.replace(&format!("{to}\r\n"), "");
            let body = if status == 200 { SDP } else { "" };
            let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
            let answer = format!(
                "SIP/2.0 {status} X\r\n{head}\r\n{to};tag=z\r\nContact: <{target}>\r\nDiversion: <{target}>\r\n{kind}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            house.hear(PHONE, &answer);
            house.agent.hang_up(house.now, leg, None);
            house.drain();
            let mut went: BTreeMap<SocketAddr, Vec<&str>> = BTreeMap::new();
            for (to, text) in &house.sent {
                went.entry(*to).or_default().push(text.split(' ').next().unwrap_or(""));
            }
            // A phone stays on its flow whatever it names, and is not called anew.
            assert!(went.keys().all(|to| *to == address(PHONE)), "{status} {target}: {went:?}");
            assert!(went.values().flatten().all(|method| *method != "INVITE"), "{status} {target}: {went:?}");
        }
    }
}
