//! Security row S5: of one side's addresses, names and programs nothing stands in what the other side is sent.

use super::*;

/// What each side must not learn of the other. The number and the name of the caller are meant to be seen.
const ALPHA: [&str; 8] = [
    "10.1.1.",
    "alpha.internal",
    "AlphaPhone",
    "alpha-call-id",
    "alphatag",
    "z9hG4bKalpha",
    "alpha-session",
    "alpha-secret-header",
];
const BETA: [&str; 8] = [
    "10.2.2.",
    "beta.internal",
    "BetaPBX",
    "beta-call-id",
    "betatag",
    "z9hG4bKbeta",
    "beta-session",
    "beta-secret-header",
];

const OURS: &str =
    "v=0\r\no=- 7 7 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";

fn theirs(side: &str, host: &str) -> String {
    format!(
        "v=0\r\no={side}-session 1 1 IN IP4 {host}\r\ns={side}-session\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    )
}

/// A rig whose messages to each side are kept.
struct Watched {
    rig: Rig,
    to_alpha: Vec<String>,
    to_beta: Vec<String>,
}

impl Watched {
    fn collect(&mut self) -> Vec<Heard> {
        let heard = self.rig.heard();
        for it in &heard {
            if it.to == TRUNK {
                self.to_alpha.push(it.text.clone());
            } else {
                self.to_beta.push(it.text.clone());
            }
        }
        heard
    }

    fn alpha_says(&mut self, number: u32, method: &str, cseq: u32, to_tag: &str, body: &str) {
        let kind = if body.is_empty() { "" } else { SDP_LINE };
        let branch = if method == "ACK" || method == "CANCEL" { "INVITE" } else { method };
        let text = format!(
            "{method} sip:85521955500123@192.0.2.1 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 10.1.1.9:5060;branch=z9hG4bKalpha{number}{branch}{cseq};rport\r\n\
             Via: SIP/2.0/UDP proxy.alpha.internal:5060;branch=z9hG4bKalphaproxy{number}\r\n\
             Record-Route: <sip:10.1.1.8;lr>, <sip:edge.alpha.internal;lr>\r\n\
             Max-Forwards: 70\r\nFrom: \"Alpha\" <sip:200@pbx.alpha.internal>;tag=alphatag{number}\r\n\
             To: <sip:85521955500123@192.0.2.1>{to_tag}\r\nCall-ID: alpha-call-id-{number}@10.1.1.9\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:200@10.1.1.9:5060>\r\nUser-Agent: AlphaPhone/1.0\r\n\
             X-Internal: alpha-secret-header\r\nP-Asserted-Identity: <sip:200@alpha.internal>\r\n\
             Reason: SIP;cause=200;text=\"alpha-secret-header\"\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.rig.send(TRUNK, &text);
    }

    fn beta_answers(&mut self, invite: &Heard, status: u16, body: &str) {
        let lines = "Contact: <sip:1001@10.2.2.7:40001>\r\nRecord-Route: <sip:proxy.beta.internal;lr>\r\n\
                     Server: BetaPBX/2.0\r\nX-Internal: beta-secret-header\r\nWarning: 399 beta.internal \"beta-session\"\r\n\
                     Reason: Q.850;cause=17;text=\"beta-secret-header\"\r\n";
        let text = invite.answer(status, "betatag", lines, body);
        self.rig.send(PHONE, &text);
    }

    /// The trunk calls in, a phone is called; how it ends depends on the number.
    fn call(&mut self, number: u32) {
        self.alpha_says(number, "INVITE", 1, "", &theirs("alpha", "10.1.1.9"));
        self.collect();
        let inbound = match self.rig.events().as_slice() {
            [Event::Invited { leg, .. }] => *leg,
            other => panic!("{number}: {other:?}"),
        };
        let caller = CallerIdentity { number: "200".to_owned(), display: "Alpha".to_owned() };
        let target = Endpoint::Phone("1001".into());
        let (facts, sdp) = (CallFacts::default(), OURS.to_owned());
        let invite = Invite { target, caller, facts, sdp, headers: Vec::new() };
        let outbound = self.rig.ua.invite(self.rig.now, invite).expect("a call");
        let invite = self.collect().into_iter().find(|it| it.what() == "INVITE").expect("rings");
        self.beta_answers(&invite, 183, &theirs("beta", "10.2.2.7"));
        self.rig.ua.ring(self.rig.now, inbound, Some(OURS.to_owned()));
        let to_tag = self
            .collect()
            .iter()
            .find(|it| it.what() == "183 INVITE" || it.what() == "180 INVITE")
            .map_or_else(String::new, |it| {
                it.parsed.head.to.tag().map_or_else(String::new, |tag| format!(";tag={tag}"))
            });
        match number % 4 {
            0 => {
                // The phone sends us elsewhere; that is where no call goes, and nothing of it is told.
                self.beta_answers(&invite, if number.is_multiple_of(8) { 302 } else { 486 }, "");
                self.collect();
                self.rig.ua.refuse(self.rig.now, inbound, Refusal::status(486, "Busy"));
                self.collect();
                self.alpha_says(number, "ACK", 1, &to_tag, "");
            }
            1 => {
                self.alpha_says(number, "CANCEL", 1, "", "");
                self.rig.ua.cancel(self.rig.now, outbound, Reason::completed_elsewhere());
                self.collect();
                self.beta_answers(&invite, 487, "");
                self.collect();
                self.alpha_says(number, "ACK", 1, &to_tag, "");
            }
            _ => {
                self.beta_answers(&invite, 200, &theirs("beta", "10.2.2.7"));
                let ack = self.collect().into_iter().find(|it| it.what() == "ACK").expect("an ACK");
                self.rig.ua.accept(self.rig.now, inbound, OURS.to_owned());
                self.collect();
                self.alpha_says(number, "ACK", 1, &to_tag, "");
                // Hold and resume of one side are our own to the other.
                self.alpha_says(number, "INVITE", 2, &to_tag, &theirs("alpha", "10.1.1.9"));
                self.rig.ua.answer_reoffer(self.rig.now, inbound, Ok(OURS.to_owned()));
                self.rig.ua.reoffer(self.rig.now, outbound, OURS.to_owned());
                for heard in self.collect() {
                    if heard.what() == "INVITE" {
                        self.beta_answers(&heard, 200, &theirs("beta", "10.2.2.7"));
                    }
                }
                self.collect();
                self.alpha_says(number, "ACK", 2, &to_tag, "");
                if number.is_multiple_of(2) {
                    let bye = self.rig.within_back(&ack, "BYE", 9, "User-Agent: BetaPBX/2.0\r\n", "");
                    self.rig.send(PHONE, &bye);
                    self.rig.ua.hang_up(self.rig.now, inbound, None);
                } else {
                    self.alpha_says(number, "BYE", 3, &to_tag, "");
                    self.rig.ua.hang_up(self.rig.now, outbound, None);
                }
            }
        }
        for heard in self.collect() {
            if heard.what() == "BYE" || heard.what() == "CANCEL" {
                let text = heard.answer(200, "x", "", "");
                self.rig.send(if heard.to == TRUNK { TRUNK } else { PHONE }, &text);
            }
        }
        self.rig.events();
    }
}

#[test]
fn s5_of_10_000_messages_none_names_the_other_sides_addresses_names_calls_or_programs() {
    let mut watched = Watched { rig: Rig::new(), to_alpha: Vec::new(), to_beta: Vec::new() };
    watched.rig.register("1001", PHONE);
    let mut number = 0;
    while watched.to_alpha.len() + watched.to_beta.len() < 10_000 {
        watched.call(number);
        number += 1;
        // Calls of seconds: the phone stays registered.
        watched.rig.wait(20);
        watched.collect();
        assert!(number < 5000, "too few messages came of the calls");
    }
    assert!(watched.to_alpha.len() > 3000 && watched.to_beta.len() > 3000);
    for (messages, secrets) in [(&watched.to_alpha, BETA), (&watched.to_beta, ALPHA)] {
        for text in messages {
            for secret in secrets {
                assert!(!text.contains(secret), "{secret} stands in:\n{text}");
            }
        }
    }
}
