//! Stories: the user agent against scripted peers on a virtual clock.

mod alive;
mod calls_in;
mod calls_out;
mod changing;
mod defended;
mod in_call;
mod keys;
mod lossy;
mod protected;
mod referring;
mod registering;
mod reliably;
mod restarting;
mod rules;
mod sessions;
mod stateful;
mod strangers;
mod streams;
mod topology;
mod torture;
mod torture_ipv6;
mod trunk_callers;
mod trunk_large;
mod trunk_login;
mod trunk_names;
mod trunk_registering;
mod trunk_servers;
mod watching;
mod ways;

use std::time::{Duration, Instant};

use super::*;
use crate::id::Endpoint;
use crate::masked::Secret;
use crate::sip::TrunkPeer;
use crate::sip::alert::AlertForms;
use crate::sip::digest::{DigestAlgorithm, authorize};
use crate::sip::flow::Transport;
use crate::sip::message::Parsed;
use crate::sip::trunk::CallFacts;
use crate::time::Wall;

pub(super) const US: &str = "192.0.2.1:5060";
pub(super) const PHONE: &str = "203.0.113.7:40001";
pub(super) const OTHER: &str = "203.0.113.8:40002";
pub(super) const TRUNK: &str = "198.51.100.9:5060";
pub(super) const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 203.0.113.7\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// One datagram the user agent sent, read back.
pub(super) struct Heard {
    pub(super) to: String,
    pub(super) parsed: Parsed,
    pub(super) text: String,
}

impl Heard {
    /// `INVITE` or `200 INVITE`.
    pub(super) fn what(&self) -> String {
        match &self.parsed.message {
            Message::Request(request) => request.method.as_str().to_owned(),
            Message::Response(response) => {
                format!("{} {}", response.status, self.parsed.head.cseq.method.as_str())
            }
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.parsed.message.headers().get(&Name::parse(name)).unwrap_or("")
    }

    pub(super) fn uri(&self) -> &str {
        match &self.parsed.message {
            Message::Request(request) => &request.uri,
            Message::Response(_) => panic!("a response has no URI"),
        }
    }

    /// A peer's answer to this request.
    pub(super) fn answer(&self, status: u16, tag: &str, lines: &str, body: &str) -> String {
        let to = self.header("To");
        let to =
            if to.contains(";tag=") || status == 100 { to.to_owned() } else { format!("{to};tag={tag}") };
        let vias: Vec<String> =
            self.parsed.message.headers().all(&Name::Via).map(|via| format!("Via: {via}\r\n")).collect();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "SIP/2.0 {status} X\r\n{}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{lines}{kind}Content-Length: {}\r\n\r\n{body}",
            vias.concat(),
            self.header("From"),
            self.header("Call-ID"),
            self.header("CSeq"),
            body.len(),
        )
    }
}

/// The user agent, its clock, and what came out of it.
pub(super) struct Rig {
    pub(super) ua: UserAgent,
    pub(super) now: Now,
    branch: u32,
}

pub(super) fn settings() -> Settings {
    let mut settings = Settings::new("gw.example.com", US.parse().unwrap());
    for (name, algorithm) in [("1001", DigestAlgorithm::Md5), ("1002", DigestAlgorithm::Sha256)] {
        settings.phones.push(PhoneAccount {
            name: name.into(),
            display: String::new(),
            algorithm,
            ha1: Secret::new(algorithm.ha1(name, "gw.example.com", "s3cret")),
            srtp: crate::sip::SrtpSetting::default(),
            lamps: PhoneLamps::default(),
            alerts: AlertForms::default(),
        });
    }
    settings.trunks.push(TrunkPeer::at("pbx", TRUNK.parse().unwrap()));
    settings
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    pub(super) fn with(settings: Settings) -> Self {
        let now = Now { mono: Instant::now(), wall: Wall::from_secs(1_790_000_000) };
        Self { ua: UserAgent::new(settings, Random::from_number(1)), now, branch: 0 }
    }

    pub(super) fn send(&mut self, from: &str, text: &str) {
        self.send_bytes(from, text.as_bytes());
    }

    pub(super) fn send_bytes(&mut self, from: &str, bytes: &[u8]) {
        let flow = Flow::udp(US.parse().unwrap(), from.parse().unwrap());
        self.ua.handle_message(self.now, flow, bytes);
    }

    /// Lets time pass, waking the user agent exactly when it asked to be woken.
    pub(super) fn wait(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        while let Some(at) = self.ua.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            self.ua.handle_timeout(self.now);
            assert!(self.ua.poll_timeout().is_none_or(|next| next > at), "a deadline was not dealt with");
        }
        self.now = self.now.after(end.mono - self.now.mono);
    }

    pub(super) fn heard(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.ua.poll_transmit())
            .map(|(flow, bytes)| Heard {
                to: flow.remote.to_string(),
                parsed: parse(&bytes).unwrap_or_else(|fault| {
                    panic!("we sent garbage, {:?}: {}", fault.kind, String::from_utf8_lossy(&bytes))
                }),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            })
            .collect()
    }

    /// The one datagram sent since the last look.
    pub(super) fn one(&mut self) -> Heard {
        let mut heard = self.heard();
        let all: Vec<String> = heard.iter().map(Heard::what).collect();
        assert_eq!(all.len(), 1, "expected one datagram: {all:?}");
        heard.remove(0)
    }

    /// What was sent since the last look, in short.
    pub(super) fn whats(&mut self) -> Vec<String> {
        self.heard().iter().map(Heard::what).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.ua.poll_event()).collect()
    }

    /// A request outside a dialog with a new branch; `lines` hold further headers.
    pub(super) fn request(
        &mut self,
        method: &str,
        uri: &str,
        who: &str,
        number: u32,
        lines: &str,
        body: &str,
    ) -> String {
        self.branch += 1;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bKp{}\r\nMax-Forwards: 70\r\n\
             From: <sip:{who}@gw.example.com>;tag=f{who}\r\nTo: <{uri}>\r\nCall-ID: c{who}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:{who}@10.0.0.5:5060>\r\n\
             User-Agent: Rig T46U 108.86.0.20\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER, MESSAGE, SUBSCRIBE, PUBLISH\r\n\
             Allow-Events: talk, hold, conference, refer, check-sync, dialog, message-summary\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            self.branch,
            body.len()
        )
    }

    /// The Authorization line that answers a challenge.
    pub(super) fn credentials(
        challenge: &Heard,
        who: &str,
        password: &str,
        method: &str,
        uri: &str,
        nc: u32,
    ) -> String {
        let value = challenge.header("WWW-Authenticate").to_owned();
        let field = |name: &str| {
            let start = value.find(&format!("{name}=\"")).expect("field") + name.len() + 2;
            value[start..].split('"').next().expect("end").to_owned()
        };
        let algorithm =
            if value.contains("SHA-256") { DigestAlgorithm::Sha256 } else { DigestAlgorithm::Md5 };
        let (realm, nonce) = (field("realm"), field("nonce"));
        format!(
            "Authorization: {}\r\n",
            authorize(algorithm, who, password, (&realm, &nonce), (method, uri), nc)
        )
    }

    /// Registers a phone from `from` with digest.
    pub(super) fn register(&mut self, who: &str, from: &str) {
        let uri = "sip:gw.example.com";
        let port = from.rsplit(':').next().expect("port");
        let message = |rig: &mut Self, number: u32, lines: &str| {
            rig.request("REGISTER", uri, who, number, lines, "")
                .replace(&format!("To: <{uri}>"), &format!("To: <sip:{who}@gw.example.com>"))
                .replace("10.0.0.5:5060>", &format!("10.0.0.5:{port}>"))
                .replace(&format!("Call-ID: c{who}"), &format!("Call-ID: reg{who}{port}"))
        };
        let text = message(self, 1, "");
        self.send(from, &text);
        let challenge = self.one();
        assert_eq!(challenge.what(), "401 REGISTER");
        let lines = Self::credentials(&challenge, who, "s3cret", "REGISTER", uri, 1);
        let text = message(self, 2, &lines);
        self.send(from, &text);
        assert_eq!(self.one().what(), "200 REGISTER");
        assert_eq!(self.events(), [Event::Registered { phone: who.into() }]);
    }

    pub(super) fn call(&mut self, target: Endpoint) -> LegId {
        let caller =
            CallerIdentity { number: "5521955500123".to_owned(), display: "Zoë \"Z\" 🎉".to_owned() };
        let invite = Invite {
            target,
            caller,
            facts: CallFacts { business_number: Some("551140000000".to_owned()), ..CallFacts::default() },
            sdp: SDP.to_owned(),
            headers: Vec::new(),
        };
        self.ua.invite(self.now, invite).expect("a call")
    }

    /// Calls phone 1001 at [`PHONE`] and lets it answer; the leg, the INVITE and the ACK.
    pub(super) fn answered_call(&mut self) -> (LegId, Heard, Heard) {
        self.register("1001", PHONE);
        let leg = self.call(Endpoint::Phone("1001".into()));
        let invite = self.one();
        self.send(PHONE, &invite.answer(200, "p1", "Contact: <sip:1001@10.0.0.5:40001>\r\n", SDP));
        let ack = self.one();
        assert_eq!(ack.what(), "ACK");
        assert!(matches!(self.events().as_slice(), [Event::Answered { .. }]));
        (leg, invite, ack)
    }

    /// A call from the trunk up to the event; the leg and the INVITE's text.
    pub(super) fn trunk_calls(&mut self, body: &str) -> (LegId, String) {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = self.request("INVITE", "sip:85521955500123@192.0.2.1", "200", 1, kind, body);
        self.send(TRUNK, &text);
        assert_eq!(self.one().what(), "100 INVITE");
        match self.events().as_slice() {
            [Event::Invited { leg, .. }] => (*leg, text),
            other => panic!("{other:?}"),
        }
    }

    /// A request of the caller within the call that `ok` (our answer) made.
    pub(super) fn within(
        &mut self,
        ok: &Heard,
        method: &str,
        number: u32,
        lines: &str,
        body: &str,
    ) -> String {
        self.branch += 1;
        format!(
            "{method} sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bKd{}\r\n\
             Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            self.branch,
            ok.header("From"),
            ok.header("To"),
            ok.header("Call-ID"),
            body.len()
        )
    }

    /// A request of the called phone within the call that `ack` (ours) confirmed: From and To change sides.
    pub(super) fn within_back(
        &mut self,
        ack: &Heard,
        method: &str,
        number: u32,
        lines: &str,
        body: &str,
    ) -> String {
        self.within(ack, method, number, lines, body)
            .replace("\r\nFrom: ", "\r\nX: ")
            .replace("\r\nTo: ", "\r\nFrom: ")
            .replace("\r\nX: ", "\r\nTo: ")
    }
}

pub(super) const SDP_LINE: &str = "Content-Type: application/sdp\r\n";
