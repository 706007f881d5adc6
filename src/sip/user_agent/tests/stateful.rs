//! Peers that break the rules of a call's states, by seed: wrong CSeq, ACK without INVITE, BYE glare, re-INVITE within
//! re-INVITE, forked answers, and whatever else stands in the wrong place (RFC 3261 §12 to §17).

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::sip::message::Method;

/// Stories by this many seeds; each makes a dozen and a half of wrong or right moves.
const SEEDS: u64 = 1500;

/// A far end that says what it likes, and what it has seen of us.
struct Peer {
    rig: Rig,
    random: Random,
    at: &'static str,
    call_id: String,
    /// From as it writes it, its tag included.
    own: String,
    /// To as it writes it, our tag included once it is known.
    ours: String,
    number: u32,
    branch: u32,
    leg: LegId,
    /// Requests of ours.
    asked: Vec<Heard>,
    /// What it has said.
    said: Vec<String>,
    /// Final answers of ours by call, branch and method.
    finals: BTreeMap<(String, String, String), BTreeSet<u16>>,
    /// Legs of which an end was told.
    ended: BTreeSet<LegId>,
    /// We have hung up; what is still told of the call is for nobody.
    let_go: bool,
    /// Offers that wait for us.
    offered: bool,
    seed: u64,
}

impl Peer {
    /// A call that we make to a phone which has answered.
    fn called(seed: u64) -> Self {
        let mut rig = Rig::new();
        let (leg, invite, ack) = rig.answered_call();
        let (own, ours) = (ack.header("To").to_owned(), ack.header("From").to_owned());
        let call_id = ack.header("Call-ID").to_owned();
        let mut peer = Self::new(seed, rig, PHONE, (call_id, own, ours), leg);
        peer.asked.push(invite);
        peer
    }

    /// A call from a trunk that nobody has answered yet.
    fn calling(seed: u64) -> Self {
        let mut rig = Rig::new();
        let body = if seed.is_multiple_of(4) { "" } else { SDP };
        let (leg, text) = rig.trunk_calls(body);
        let ours = "<sip:85521955500123@192.0.2.1>".to_owned();
        let parsed = parse(text.as_bytes()).expect("readable");
        let names = (parsed.head.call_id.clone(), parsed.head.from.to_string(), ours);
        let mut peer = Self::new(seed, rig, TRUNK, names, leg);
        peer.said.push(text);
        peer
    }

    fn new(seed: u64, rig: Rig, at: &'static str, names: (String, String, String), leg: LegId) -> Self {
        let (call_id, own, ours) = names;
        Self {
            rig,
            random: Random::from_number(seed),
            at,
            call_id,
            own,
            ours,
            number: 10,
            branch: 0,
            leg,
            asked: Vec::new(),
            said: Vec::new(),
            finals: BTreeMap::new(),
            ended: BTreeSet::new(),
            let_go: false,
            offered: false,
            seed,
        }
    }

    fn say(&mut self, text: String) {
        self.rig.send(self.at, &text);
        self.said.push(text);
        self.look();
    }

    /// A request with the next number, or with one that is wrong.
    fn request(&mut self, method: &str, lines: &str, body: &str) -> String {
        let number = match self.random.below(8) {
            0 => self.number.saturating_sub(self.random.below(10)),
            1 => (1 << 31) - 1 - self.random.below(2),
            _ => {
                self.number += 1;
                self.number
            }
        };
        let ours = match self.random.below(12) {
            0 => format!("{};tag=wrong", self.ours.split(";tag").next().unwrap_or("")),
            1 => self.ours.split(";tag").next().unwrap_or("").to_owned(),
            _ => self.ours.clone(),
        };
        self.numbered(method, number, &ours, lines, body)
    }

    fn numbered(&mut self, method: &str, number: u32, ours: &str, lines: &str, body: &str) -> String {
        self.branch += 1;
        let kind = if body.is_empty() { "" } else { SDP_LINE };
        format!(
            "{method} sip:192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKs{}\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {ours}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nContact: <sip:200@{}>\r\n\
             {lines}{kind}Content-Length: {}\r\n\r\n{body}",
            self.at,
            self.branch,
            self.own,
            self.call_id,
            self.at,
            body.len()
        )
    }

    /// Takes in what we sent and what we told.
    fn look(&mut self) {
        for heard in self.rig.heard() {
            match &heard.parsed.message {
                Message::Request(_) => self.asked.push(heard),
                Message::Response(response) => {
                    let head = &heard.parsed.head;
                    if head.cseq.method == Method::Invite && response.status > 100 && head.to.tag().is_some()
                    {
                        self.ours = heard.header("To").to_owned();
                    }
                    if response.status >= 200 {
                        let branch = head.via.branch().unwrap_or("").to_owned();
                        let key = (head.call_id.clone(), branch, head.cseq.method.as_str().to_owned());
                        self.finals.entry(key).or_default().insert(response.status);
                    }
                }
            }
        }
        for event in self.rig.events() {
            let leg = match event {
                Event::Reoffered { leg, .. } if self.let_go => {
                    self.rig.ua.answer_reoffer(self.rig.now, leg, Err(481));
                    continue;
                }
                Event::Reoffered { leg, .. } => {
                    self.offered |= leg == self.leg;
                    leg
                }
                Event::Invited { leg, .. } => {
                    assert!(!self.ended.contains(&leg));
                    self.rig.ua.refuse(self.rig.now, leg, Refusal::status(486, "Busy"));
                    self.ended.insert(leg);
                    continue;
                }
                Event::Failed { leg, .. }
                | Event::Cancelled { leg }
                | Event::HungUp { leg, .. }
                | Event::AckTimeout { leg }
                | Event::Expired { leg }
                | Event::Vanished { leg } => {
                    assert!(self.ended.insert(leg), "seed {}: {leg:?} ended twice", self.seed);
                    continue;
                }
                Event::Ringing { leg, .. }
                | Event::Answered { leg, .. }
                | Event::Confirmed { leg, .. }
                | Event::Reanswered { leg, .. }
                | Event::ReofferRefused { leg, .. }
                | Event::Digit { leg, .. }
                | Event::DigitRefused { leg, .. }
                | Event::Referred { leg, .. } => leg,
                _ => continue,
            };
            assert!(!self.ended.contains(&leg) || self.let_go, "seed {}: {event:?} after the end", self.seed);
        }
    }

    fn wrong_move(&mut self) {
        match self.random.below(15) {
            0 => {
                let text = self.request("ACK", "", "");
                self.say(text);
            }
            1 | 2 => {
                let body = if self.random.below(3) == 0 { "" } else { SDP };
                let text = self.request("INVITE", "", body);
                self.say(text);
                // Another one before there is an answer.
                if self.random.below(2) == 0 {
                    let text = self.request("INVITE", "", SDP);
                    self.say(text);
                }
            }
            3 => {
                let text = self.request("UPDATE", "", SDP);
                self.say(text);
            }
            4 if self.random.below(3) == 0 => {
                let text = self.request("BYE", "", "");
                self.say(text);
            }
            5 => {
                let method = ["INFO", "OPTIONS", "MESSAGE", "NOTIFY", "SUBSCRIBE", "PUBLISH", "ODD"];
                let at = self.random.below(7) as usize;
                let text = self.request(method[at], "", "");
                self.say(text);
            }
            6 => {
                let text = self.request("REFER", "Refer-To: <sip:1002@gw.example.com>\r\n", "");
                self.say(text);
            }
            7 => {
                let text = self.request("PRACK", "RAck: 7 1 INVITE\r\n", "");
                self.say(text);
            }
            8 => {
                // CANCEL of something that was said: of an INVITE perhaps, and perhaps too late.
                let of = self.any_said();
                if let Some(of) = of {
                    let first = of.split(' ').next().unwrap_or("").to_owned();
                    let text =
                        of.replacen(&first, "CANCEL", 1).replace(&format!(" {first}\r\n"), " CANCEL\r\n");
                    let head = text.split("\r\n\r\n").next().unwrap_or("").to_owned();
                    let head: Vec<&str> = head.lines().filter(|it| !it.starts_with("Content-")).collect();
                    self.say(head.join("\r\n") + "\r\nContent-Length: 0\r\n\r\n");
                }
            }
            9 | 10 => self.answer_something(),
            11 => {
                if let Some(again) = self.any_said() {
                    self.say(again);
                }
            }
            12 => {
                // An answer to a request that we never made.
                let branch = self.random.below(1000);
                let text = format!(
                    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKn{branch}\r\nFrom: {}\r\nTo: {}\r\n\
                     Call-ID: {}\r\nCSeq: {branch} INVITE\r\nContent-Length: 0\r\n\r\n",
                    self.ours, self.own, self.call_id
                );
                self.say(text);
            }
            13 => {
                // The method of the CSeq is another one.
                let text = self.request("BYE", "", "").replace(" BYE\r\n", " INVITE\r\n");
                self.say(text);
            }
            _ => {
                // As the RFC wants it: the ACK of the last 200.
                let (number, ours) = (self.number, self.ours.clone());
                let text = self.numbered("ACK", number, &ours, "", "");
                self.say(text);
            }
        }
    }

    fn any_said(&mut self) -> Option<String> {
        let most = u32::try_from(self.said.len()).expect("few").max(1);
        self.said.get(self.random.below(most) as usize).cloned()
    }

    /// An answer to a request of ours: a final one after a final one, a fork's, a provisional one too late.
    fn answer_something(&mut self) {
        let most = u32::try_from(self.asked.len()).expect("few").max(1);
        let status = [100, 180, 183, 200, 200, 200, 302, 404, 408, 481, 487, 491, 500, 503, 603];
        let status = status[self.random.below(15) as usize];
        let tag = format!("fork{}", self.random.below(3));
        let at = self.random.below(most) as usize;
        let Some(heard) = self.asked.get(at).filter(|it| it.what() != "ACK") else { return };
        let body = if heard.what() == "INVITE" && (status == 200 || status == 183) { SDP } else { "" };
        let mut text = heard.answer(status, &tag, &format!("Contact: <sip:200@{}>\r\n", self.at), body);
        if self.random.below(3) == 0 {
            text = text.replace(";tag=p1", &format!(";tag={tag}"));
        }
        self.say(text);
    }

    fn our_move(&mut self) {
        let (now, leg) = (self.rig.now, self.leg);
        match self.random.below(9) {
            0 => self.rig.ua.ring(now, leg, None),
            1 => self.rig.ua.accept(now, leg, SDP.to_owned()),
            2 if self.random.below(3) == 0 => self.rig.ua.refuse(now, leg, Refusal::status(486, "Busy")),
            // Both hang up at once, if the peer's next move is a BYE.
            3 if self.random.below(3) == 0 => {
                self.rig.ua.hang_up(now, leg, None);
                let text = self.request("BYE", "", "");
                self.let_go = true;
                self.say(text);
            }
            4 => self.rig.ua.reoffer(now, leg, SDP.replace("PCMU", "PCMA")),
            5 if self.offered => {
                self.offered = false;
                self.rig.ua.answer_reoffer(now, leg, Ok(SDP.to_owned()));
            }
            6 if self.offered => {
                self.offered = false;
                self.rig.ua.answer_reoffer(now, leg, Err(488));
            }
            _ => {
                let millis = u64::from(self.random.below(900));
                self.rig.wait(millis);
            }
        }
        self.look();
    }

    /// Everybody goes home: nothing of the story is left.
    fn finish(mut self) {
        let now = self.rig.now;
        let options = self.rig.request("OPTIONS", "sip:gw.example.com", "300", 1, "", "");
        self.rig.send(OTHER, &options);
        let alive = self.rig.heard().iter().any(|heard| heard.what() == "200 OPTIONS");
        assert!(alive, "seed {}: no answer to OPTIONS", self.seed);
        self.rig.ua.hang_up(now, self.leg, None);
        self.look();
        self.rig.wait(400_000);
        self.rig.heard();
        let figures = self.rig.ua.figures();
        let Rig { ua, .. } = &self.rig;
        let left: Vec<String> = ua.sent.keys().map(|key| format!("{key:?}")).collect();
        let open: Vec<String> = ua.answering.keys().map(|key| format!("{key:?}")).collect();
        assert_eq!((figures.legs, left, open), (0, Vec::new(), Vec::new()), "seed {}", self.seed);
        assert_eq!(self.rig.ua.poll_timeout(), None, "seed {}: a timer is left", self.seed);
        for ((_, branch, method), statuses) in &self.finals {
            let (yes, no) = (statuses.iter().any(|it| *it < 300), statuses.iter().any(|it| *it >= 300));
            let both = method == "INVITE" && yes && no;
            assert!(!both, "seed {}: {branch} was taken and refused: {statuses:?}", self.seed);
            let ours_alone = statuses.iter().all(|it| *it < 700);
            assert!(ours_alone, "seed {}: {statuses:?}", self.seed);
        }
    }
}

fn story(seed: u64) {
    let mut peer = if seed.is_multiple_of(2) { Peer::called(seed) } else { Peer::calling(seed) };
    for _ in 0..8 + peer.random.below(16) {
        if peer.random.below(3) == 0 {
            peer.our_move();
        } else {
            peer.wrong_move();
        }
    }
    peer.finish();
}

#[test]
fn whatever_a_peer_says_at_the_wrong_time_every_call_ends_once_and_nothing_is_left() {
    for seed in 0..SEEDS {
        story(seed);
    }
}
