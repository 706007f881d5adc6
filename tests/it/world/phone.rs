//! A scripted SIP phone: registers with digest, rings, answers, declines, dials, holds, speaks, presses keys.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard::random::Random;
use cordboard::rtp::{PacketKind, packet_kind};
use cordboard::sip::DigestAlgorithm;
use cordboard::sip::digest::authorize;

pub use super::line::{Line, State};
use super::sip_text::{
    body, cseq, describe, direction_of, header, media_of, method, quoted, respond, tag, uri,
};
use super::voice::{Heard, Voice};
use super::{DOMAIN, GATEWAY, PASSWORD};

/// What the phone does when it is called.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    Answer {
        after: Duration,
    },
    Decline {
        after: Duration,
        status: u16,
    },
    Ring,
    /// As if it were unplugged.
    Silent,
}

struct Resend {
    bytes: String,
    next: Instant,
    interval: Duration,
    most: Duration,
    until: Instant,
}

pub struct Phone {
    pub name: String,
    pub registered: bool,
    pub manner: Manner,
    /// By Call-ID, in the order of the calls.
    pub lines: BTreeMap<u32, Line>,
    pub voice: Voice,
    pub heard: Vec<Heard>,
    /// The port its RTP leaves from, if a NAT changes it.
    pub media_source: Option<SocketAddr>,
    sip: SocketAddr,
    media: SocketAddr,
    calls: BTreeMap<String, u32>,
    resends: BTreeMap<String, Resend>,
    outbox: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    random: Random,
}

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

impl Phone {
    pub fn new(name: &str, at: usize, random: &mut Random) -> Self {
        let host = [10, 0, 0, 7 + u8::try_from(at).unwrap()];
        Self {
            name: name.to_owned(),
            registered: false,
            manner: Manner::Ring,
            lines: BTreeMap::new(),
            voice: Voice::of_phone(55),
            heard: Vec::new(),
            media_source: None,
            sip: SocketAddr::from((host, 5060)),
            media: SocketAddr::from((host, 4000)),
            calls: BTreeMap::new(),
            resends: BTreeMap::new(),
            outbox: VecDeque::new(),
            random: random.split(),
        }
    }

    pub fn line(&self) -> &Line {
        self.lines.values().next_back().expect("a call")
    }

    /// The newest call's state.
    pub fn state(&self) -> Option<State> {
        self.lines.values().next_back().map(|it| it.state)
    }

    pub fn live(&self) -> Vec<String> {
        let live = self.lines.values().filter(|it| it.state != State::Over);
        live.map(|it| format!("{:?} {:?}", it.state, it.log)).collect()
    }

    pub fn has(&self, address: SocketAddr) -> bool {
        let rtcp = SocketAddr::new(self.media.ip(), self.media.port() + 1);
        [self.sip, self.media, rtcp].contains(&address) || self.media_source == Some(address)
    }

    fn say(&mut self, text: &str) {
        let to = GATEWAY.parse().unwrap();
        self.outbox.push_back((self.sip, to, text.as_bytes().to_vec()));
    }

    /// Sends now and again until `key` is settled.
    fn insist(&mut self, now: Instant, key: String, text: &str, most: Duration) {
        self.say(text);
        let (next, until) = (now + T1, now + T1 * 64);
        self.resends.insert(key, Resend { bytes: text.to_owned(), next, interval: T1, most, until });
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.name, self.sip)
    }

    fn via(&mut self) -> String {
        format!(
            "Via: SIP/2.0/UDP {};rport;branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n",
            self.sip,
            self.random.hex(6)
        )
    }

    fn credentials(challenge: &str, name: &str, method: &str, target: &str) -> String {
        let value = header(challenge, "WWW-Authenticate");
        let place = (quoted(value, "realm"), quoted(value, "nonce"));
        let value = authorize(DigestAlgorithm::Md5, name, PASSWORD, place, (method, target), 1);
        format!("Authorization: {value}\r\n")
    }

    pub fn register(&mut self, now: Instant) {
        self.send_register(now, 1, "");
    }

    fn send_register(&mut self, now: Instant, number: u32, lines: &str) {
        let (via, name, contact) = (self.via(), self.name.clone(), self.contact());
        let text = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\n{via}From: <sip:{name}@{DOMAIN}>;tag=r\r\nTo: <sip:{name}@{DOMAIN}>\r\n\
             Call-ID: reg{name}\r\nCSeq: {number} REGISTER\r\nContact: {contact}\r\nExpires: 3600\r\n\
             User-Agent: Desk T46U 108.86.0.20\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER, MESSAGE, SUBSCRIBE, PUBLISH\r\n\
             Allow-Events: talk, hold, conference, refer, check-sync, dialog, message-summary\r\n{lines}\
             Content-Length: 0\r\n\r\n"
        );
        self.insist(now, format!("{number} REGISTER reg{name}"), &text, T2);
    }

    /// Calls a user; the number of the call.
    pub fn dial(&mut self, now: Instant, digits: &str) -> u32 {
        let (call_id, own_tag) = (self.random.hex(8), self.random.hex(4));
        let target = format!("sip:{digits}@{DOMAIN}");
        let line = Line {
            ours: format!("<sip:{}@{DOMAIN}>;tag={own_tag}", self.name),
            theirs: format!("<{target}>"),
            target,
            number: 0,
            ..Line::new(State::Dialling)
        };
        let id = self.keep(call_id.clone(), line);
        self.send_invite(now, &call_id, "");
        id
    }

    fn keep(&mut self, call_id: String, line: Line) -> u32 {
        let id = u32::try_from(self.lines.len()).unwrap();
        self.calls.insert(call_id, id);
        self.lines.insert(id, line);
        id
    }

    fn line_of(&mut self, call_id: &str) -> Option<&mut Line> {
        self.lines.get_mut(self.calls.get(call_id)?)
    }

    fn send_invite(&mut self, now: Instant, call_id: &str, lines: &str) {
        let (via, contact, media) = (self.via(), self.contact(), self.media);
        let line = self.line_of(call_id).expect("a call");
        line.number += 1;
        line.version += 1;
        let sdp = describe(media, line.version, line.direction);
        let text = format!(
            "INVITE {} SIP/2.0\r\n{via}From: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {} INVITE\r\nContact: {contact}\r\n\
             {lines}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            line.target,
            line.ours,
            line.theirs,
            line.number,
            sdp.len()
        );
        line.invite.clone_from(&text);
        let key = format!("{} INVITE {call_id}", line.number);
        self.insist(now, key, &text, T1 * 64);
    }

    /// A request in a call that is up.
    fn within(&mut self, call_id: &str, method: &str, lines: &str, content: &str) -> String {
        let via = self.via();
        let line = self.line_of(call_id).expect("a call");
        if method != "ACK" {
            line.number += 1;
        }
        format!(
            "{method} {} SIP/2.0\r\n{via}From: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {} {method}\r\n{lines}\
             Content-Length: {}\r\n\r\n{content}",
            line.target,
            line.ours,
            line.theirs,
            line.number,
            content.len()
        )
    }

    fn newest(&self) -> String {
        let id = self.lines.keys().next_back().expect("a call");
        self.calls.iter().find(|(_, of)| *of == id).map(|(call_id, _)| call_id.clone()).expect("its Call-ID")
    }

    /// Offers another direction: `sendonly` is hold.
    pub fn reinvite(&mut self, now: Instant, direction: &'static str) {
        let call_id = self.newest();
        let line = self.line_of(&call_id).expect("a call");
        (line.direction, line.status) = (direction, 0);
        self.send_invite(now, &call_id, "");
    }

    /// A key by INFO.
    pub fn info(&mut self, now: Instant, key: char) {
        let call_id = self.newest();
        let content = format!("Signal={key}\r\nDuration=160\r\n");
        let text = self.within(&call_id, "INFO", "Content-Type: application/dtmf-relay\r\n", &content);
        let number = cseq(&text).0;
        self.insist(now, format!("{number} INFO {call_id}"), &text, T2);
    }

    /// Ends the newest call, whatever its state.
    pub fn hang_up(&mut self, now: Instant) {
        if !self.lines.is_empty() {
            let call_id = self.newest();
            self.end(now, &call_id);
        }
    }

    fn end(&mut self, now: Instant, call_id: &str) {
        let Some(line) = self.line_of(call_id) else { return };
        match line.state {
            State::Over => {}
            State::Ringing => self.finish(now, call_id, 486),
            State::Dialling => {
                line.cancel = true;
                if line.heard_provisional {
                    self.send_cancel(now, call_id);
                }
            }
            State::Up => {
                line.state = State::Over;
                let text = self.within(call_id, "BYE", "", "");
                let number = cseq(&text).0;
                self.insist(now, format!("{number} BYE {call_id}"), &text, T2);
            }
        }
    }

    fn send_cancel(&mut self, now: Instant, call_id: &str) {
        let line = self.line_of(call_id).expect("a call");
        let invite = line.invite.clone();
        let via = header(&invite, "Via");
        let text = format!(
            "CANCEL {} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\n\
             CSeq: {} CANCEL\r\nContent-Length: 0\r\n\r\n",
            line.target,
            line.ours,
            header(&invite, "To"),
            line.number
        );
        let key = format!("{} CANCEL {call_id}", line.number);
        self.insist(now, key, &text, T2);
    }

    /// Answers the INVITE finally, until it is acknowledged.
    fn finish(&mut self, now: Instant, call_id: &str, status: u16) {
        let (contact, media) = (self.contact(), self.media);
        let line = self.line_of(call_id).expect("a call");
        line.due = None;
        let sdp = if status == 200 { describe(media, 1, "sendrecv") } else { String::new() };
        line.state = if status == 200 { State::Up } else { State::Over };
        line.reply = respond(&line.invite, status, "phone", &contact, &sdp);
        let (reply, number) = (line.reply.clone(), cseq(&line.invite).0);
        self.insist(now, format!("{number} ACK {call_id}"), &reply, T2);
    }

    pub fn handle_datagram(
        &mut self,
        now: Instant,
        at: Duration,
        to: SocketAddr,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        if to != self.sip {
            if packet_kind(bytes) == PacketKind::Rtp {
                assert!(self.state().is_some(), "speech from {from} without a call");
                self.heard.push(Heard::read(at, bytes));
            }
            return;
        }
        let text = String::from_utf8(bytes.to_vec()).expect("SIP is text");
        let call_id = header(&text, "Call-ID").to_owned();
        let is_request = !method(&text).is_empty();
        let (number, of) = cseq(&text);
        let what = if is_request {
            method(&text).to_owned()
        } else {
            format!("{} {of}", super::sip_text::status(&text))
        };
        if let Some(line) = self.line_of(&call_id) {
            line.log.push((at, what));
        }
        if is_request {
            self.hear_request(now, at, &call_id, &text);
        } else {
            if super::sip_text::status(&text) >= 200 || of == "INVITE" {
                self.resends.remove(&format!("{number} {of} {call_id}"));
            }
            match of {
                "REGISTER" => self.hear_register(now, &text),
                "INVITE" => self.hear_invite_reply(now, &call_id, &text),
                _ => {}
            }
        }
    }

    fn hear_register(&mut self, now: Instant, text: &str) {
        match super::sip_text::status(text) {
            200 => self.registered = true,
            401 if cseq(text).0 == 1 => {
                let target = format!("sip:{DOMAIN}");
                let lines = Self::credentials(text, &self.name, "REGISTER", &target);
                self.send_register(now, 2, &lines);
            }
            other => assert_eq!(other, 401, "a registration is taken"),
        }
    }

    fn hear_request(&mut self, now: Instant, at: Duration, call_id: &str, text: &str) {
        let contact = self.contact();
        match method(text) {
            "INVITE" => self.hear_invite(now, at, call_id, text),
            "ACK" => {
                self.resends.remove(&format!("{} ACK {call_id}", cseq(text).0));
            }
            "CANCEL" => {
                let known = self.line_of(call_id).is_some();
                self.say(&respond(text, if known { 200 } else { 481 }, "phone", &contact, ""));
                if let Some(line) = self.line_of(call_id).filter(|it| it.state == State::Ringing) {
                    header(text, "Reason").clone_into(&mut line.reason);
                    self.finish(now, call_id, 487);
                }
            }
            "BYE" => {
                let known = self.line_of(call_id).is_some();
                self.say(&respond(text, if known { 200 } else { 481 }, "phone", &contact, ""));
                if let Some(line) = self.line_of(call_id) {
                    assert_eq!(tag(header(text, "To")), tag(&line.ours), "the BYE is for our dialog");
                    line.state = State::Over;
                    header(text, "Reason").clone_into(&mut line.reason);
                    // A 200 of ours that was not acknowledged needs no ACK any more.
                    self.resends.retain(|key, _| !key.ends_with(&format!("ACK {call_id}")));
                }
            }
            _ => self.say(&respond(text, 200, "phone", &contact, "")),
        }
    }

    fn hear_invite(&mut self, now: Instant, at: Duration, call_id: &str, text: &str) {
        let (manner, contact) = (self.manner, self.contact());
        if matches!(manner, Manner::Silent) {
            return;
        }
        if let Some(line) = self.line_of(call_id) {
            let reply = line.reply.clone();
            return self.say(&reply);
        }
        let busy = self.lines.values().any(|it| it.state != State::Over);
        let reply = respond(text, 180, "phone", &contact, "");
        let due = match manner {
            Manner::Answer { after } | Manner::Decline { after, .. } => Some(now + after),
            Manner::Ring | Manner::Silent => None,
        };
        let line = Line {
            log: vec![(at, "INVITE".to_owned())],
            remote_media: media_of(body(text)),
            ours: header(&reply, "To").to_owned(),
            theirs: header(text, "From").to_owned(),
            target: uri(header(text, "Contact")).to_owned(),
            number: 100,
            invite: text.to_owned(),
            reply: reply.clone(),
            due,
            ..Line::new(State::Ringing)
        };
        self.keep(call_id.to_owned(), line);
        if busy { self.finish(now, call_id, 486) } else { self.say(&reply) }
    }

    fn hear_invite_reply(&mut self, now: Instant, call_id: &str, text: &str) {
        let (status, number) = (super::sip_text::status(text), cseq(text).0);
        let name = self.name.clone();
        let Some(line) = self.line_of(call_id) else { return };
        if number != line.number && status >= 200 && line.state != State::Up {
            return self.acknowledge(call_id, text);
        }
        match status {
            100..200 => {
                line.heard_provisional = true;
                if let Some(media) = media_of(body(text)) {
                    line.remote_media = Some(media);
                }
                let (cancel, key) = (line.cancel, format!("{} CANCEL {call_id}", line.number));
                if cancel && !self.resends.contains_key(&key) {
                    self.send_cancel(now, call_id);
                }
            }
            200..300 => self.hear_ok(now, call_id, text),
            401 if line.state == State::Dialling && line.number == 1 => {
                let (target, cancel) = (line.target.clone(), line.cancel);
                self.acknowledge(call_id, text);
                let lines = Self::credentials(text, &name, "INVITE", &target);
                if cancel {
                    self.line_of(call_id).expect("a call").state = State::Over;
                } else {
                    self.send_invite(now, call_id, &lines);
                }
            }
            _ => {
                line.status = status;
                header(text, "Reason").clone_into(&mut line.reason);
                if line.state == State::Dialling {
                    line.state = State::Over;
                }
                self.acknowledge(call_id, text);
            }
        }
    }

    fn hear_ok(&mut self, now: Instant, call_id: &str, text: &str) {
        let line = self.line_of(call_id).expect("a call");
        let repeated = !line.ack.is_empty() && cseq(&line.ack).0 == cseq(text).0;
        if repeated {
            let ack = line.ack.clone();
            return self.say(&ack);
        }
        header(text, "To").clone_into(&mut line.theirs);
        uri(header(text, "Contact")).clone_into(&mut line.target);
        line.status = 200;
        line.remote_media = media_of(body(text));
        direction_of(body(text)).clone_into(&mut line.answered_direction);
        let (first, cancel) = (line.state == State::Dialling, line.cancel);
        if first {
            line.state = State::Up;
        }
        let ack = self.within(call_id, "ACK", "", "");
        self.say(&ack);
        self.line_of(call_id).expect("a call").ack = ack;
        if first && cancel {
            self.end(now, call_id);
        }
    }

    /// ACK of a refusal, on the branch of its INVITE.
    fn acknowledge(&mut self, call_id: &str, text: &str) {
        let line = self.line_of(call_id).expect("a call");
        let (number, target) = (cseq(text).0, line.target.clone());
        let (via, from, to) = (header(text, "Via"), header(text, "From"), header(text, "To"));
        let via = via.split(";received").next().unwrap_or(via);
        let ack = format!(
            "ACK {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n"
        );
        self.say(&ack);
    }

    fn talking(&self) -> Option<SocketAddr> {
        let line = self.lines.values().find(|it| matches!(it.state, State::Up | State::Dialling))?;
        let hears = matches!(line.direction, "sendrecv" | "sendonly");
        line.remote_media.filter(|_| hears)
    }

    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = self.lines.values().filter_map(|it| it.due);
        let resends = self.resends.values().map(|it| it.next);
        let voice = self.talking().and_then(|_| self.voice.poll_timeout(now));
        due.chain(resends).chain(voice).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, id)| self.lines[id].due.is_some_and(|at| at <= now))
            .map(|(call_id, _)| call_id.clone())
            .collect();
        for call_id in due {
            match self.manner {
                Manner::Decline { status, .. } => self.finish(now, &call_id, status),
                _ => self.finish(now, &call_id, 200),
            }
        }
        let mut again = Vec::new();
        self.resends.retain(|_, it| it.until > now);
        for it in self.resends.values_mut().filter(|it| it.next <= now) {
            it.interval = (it.interval * 2).min(it.most);
            it.next = now + it.interval;
            again.push(it.bytes.clone());
        }
        for text in again {
            self.say(&text);
        }
        match self.talking() {
            Some(to) => {
                if let Some(packet) = self.voice.tick(now) {
                    self.outbox.push_back((self.media_source.unwrap_or(self.media), to, packet));
                }
            }
            None => self.voice.stop(),
        }
    }

    /// Sends speech to where the call's speech goes, from anywhere.
    pub fn forge(&mut self, from: SocketAddr, packet: Vec<u8>) {
        let to = self.talking().expect("a call");
        self.outbox.push_back((from, to, packet));
    }

    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }
}
