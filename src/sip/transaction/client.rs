//! Our requests: sent until answered or given up (RFC 3261 §17.1, RFC 6026 §8.4).

use std::time::{Duration, Instant};

use super::super::flow::Transport;
use super::super::message::{Head, Method, Name, NameAddr, Request, Response};
use super::{Resend, Timers};

/// What a response is matched by: the branch of our Via and the method of CSeq (RFC 3261 §17.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKey {
    /// The branch.
    pub branch: String,
    /// The method.
    pub method: Method,
}

/// How long a re-INVITE waits for its end after a provisional answer: what proxies wait at least (Timer C,
/// RFC 3261 §16.6 item 11).
const CHANGE: Duration = Duration::from_secs(181);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calling or Trying: nothing heard yet.
    Sent,
    Proceeding,
    /// A final answer came; repetitions of it are absorbed.
    Completed,
    /// A 2xx to an INVITE came; more of them may.
    Accepted,
    Terminated,
}

/// What a response means to whoever sent the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// News: handle it.
    News,
    /// A repetition, already dealt with.
    Nothing,
}

/// What the passing of time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing.
    Nothing,
    /// Send the request again.
    Resend,
    /// Nobody answered; the transaction is over.
    TimedOut,
    /// The transaction is over and may be forgotten.
    Over,
}

/// One client transaction.
#[derive(Clone, Debug)]
pub struct Client {
    request: Request,
    bytes: Vec<u8>,
    ack: Option<Vec<u8>>,
    transport: Transport,
    state: State,
    resend: Option<Resend>,
    deadline: Option<Instant>,
    timers: Timers,
}

impl Client {
    /// A transaction whose request the caller sends now.
    #[must_use]
    pub fn new(now: Instant, timers: Timers, transport: Transport, request: Request) -> Self {
        let invite = request.method == Method::Invite;
        let bytes = request.to_wire(transport);
        let resend = (!transport.is_reliable()).then(|| Resend::new(now, &timers, !invite));
        Self {
            request,
            bytes,
            ack: None,
            transport,
            state: State::Sent,
            resend,
            deadline: Some(now + timers.give_up()),
            timers,
        }
    }

    /// The bytes of the request.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Whether no response has come at all.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.state == State::Sent
    }

    /// Whether no final response has come.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Sent | State::Proceeding)
    }

    fn is_within_call(&self) -> bool {
        let to = self.request.headers.get(&Name::To).and_then(NameAddr::parse);
        to.is_some_and(|to| to.tag().is_some())
    }

    /// An answer came. [`Client::ack`] then says whether something has to be sent back.
    pub fn receive(&mut self, now: Instant, response: &Response, head: &Head) -> Heard {
        let invite = self.request.method == Method::Invite;
        match (self.state, response.status) {
            (State::Terminated, _) => Heard::Nothing,
            (State::Sent | State::Proceeding, ..200) => {
                self.state = State::Proceeding;
                if invite {
                    // Timer B stops: a phone may ring as long as the caller lets it. Within a call nobody
                    // can let go of a re-INVITE that is never answered, so that has an end.
                    self.resend = None;
                    self.deadline = self.is_within_call().then(|| now + CHANGE);
                } else if let Some(resend) = &mut self.resend {
                    resend.slow_down(now);
                }
                Heard::News
            }
            (State::Sent | State::Proceeding, 200..300) if invite => {
                self.state = State::Accepted;
                self.resend = None;
                self.deadline = Some(now + self.timers.give_up());
                Heard::News
            }
            (State::Sent | State::Proceeding, _) => {
                self.state = State::Completed;
                self.resend = None;
                self.deadline = Some(now + self.linger());
                if invite {
                    self.ack = Some(ack_of(&self.request, head).to_wire(self.transport));
                }
                Heard::News
            }
            (State::Accepted, 200..300) => Heard::News,
            (State::Completed | State::Accepted, _) => Heard::Nothing,
        }
    }

    /// How long repetitions of a final answer are absorbed: timers D and K, which are zero where nothing repeats.
    fn linger(&self) -> Duration {
        match self.request.method {
            _ if self.transport.is_reliable() => Duration::ZERO,
            Method::Invite => self.timers.give_up(),
            _ => self.timers.t4,
        }
    }

    /// The ACK to send after a final answer that refused an INVITE, for each time it comes.
    #[must_use]
    pub fn ack(&self, response: &Response) -> Option<&[u8]> {
        if response.status >= 300 { self.ack.as_deref() } else { None }
    }

    /// From now on the answer must come within 64 T1 (after a CANCEL, RFC 3261 §9.1).
    pub fn limit(&mut self, now: Instant) {
        if self.state == State::Proceeding {
            self.deadline = Some(now + self.timers.give_up());
        }
    }

    /// When [`Client::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let resend = self.resend.as_ref().map(|resend| resend.next);
        [resend, self.deadline].into_iter().flatten().min()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Tick {
        if self.deadline.is_some_and(|at| at <= now) {
            let pending = self.is_pending();
            self.state = State::Terminated;
            self.resend = None;
            self.deadline = None;
            return if pending { Tick::TimedOut } else { Tick::Over };
        }
        let due = self.resend.as_mut().is_some_and(|resend| resend.take(now));
        if due { Tick::Resend } else { Tick::Nothing }
    }
}

/// The ACK of a refused INVITE: the INVITE's Request-URI, Via, Route and From, the answer's To (RFC 3261 §17.1.1.3).
#[must_use]
pub fn ack_of(invite: &Request, head: &Head) -> Request {
    let mut ack = like(invite, Method::Ack, &head.cseq.number.to_string());
    ack.headers.set(Name::To, head.to.to_string());
    ack
}

/// The CANCEL of an INVITE (RFC 3261 §9.1).
#[must_use]
pub fn cancel_of(invite: &Request, head_number: u32) -> Request {
    like(invite, Method::Cancel, &head_number.to_string())
}

/// A request that travels the same way as `invite`.
fn like(invite: &Request, method: Method, number: &str) -> Request {
    let mut headers = super::super::message::Headers::new();
    for header in invite.headers.iter() {
        match header.name {
            Name::Via | Name::From | Name::To | Name::CallId | Name::Route | Name::MaxForwards => {
                headers.push(header.name.clone(), header.value.clone());
            }
            _ => {}
        }
    }
    headers.push(Name::CSeq, format!("{number} {}", method.as_str()));
    Request { method, uri: invite.uri.clone(), headers, body: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::super::message::{Message, Parsed, parse};
    use super::*;

    fn request(method: &str) -> Request {
        let text = format!(
            "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 4 {method}\r\nRoute: <sip:r;lr>\r\n\r\n"
        );
        let Ok(Parsed { message: Message::Request(request), .. }) = parse(text.as_bytes()) else { panic!() };
        request
    }

    fn answer(status: u16, method: &str) -> (Response, Head) {
        let text = format!(
            "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\n\
             To: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 4 {method}\r\n\r\n"
        );
        let Ok(Parsed { message: Message::Response(response), head }) = parse(text.as_bytes()) else {
            panic!()
        };
        (response, head)
    }

    /// Milliseconds after the start at which the request is sent again, until the transaction ends.
    fn sendings(client: &mut Client, zero: Instant) -> (Vec<u128>, Tick) {
        let mut out = Vec::new();
        loop {
            let at = client.poll_timeout().expect("ends");
            match client.handle_timeout(at) {
                Tick::Resend => out.push((at - zero).as_millis()),
                Tick::Nothing => {}
                end => return (out, end),
            }
        }
    }

    #[test]
    fn an_invite_nobody_answers_is_sent_seven_times_and_given_up_after_64_t1() {
        let zero = Instant::now();
        let mut client = Client::new(zero, Timers::default(), Transport::Udp, request("INVITE"));
        let (sent, end) = sendings(&mut client, zero);
        assert_eq!(sent, [500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(end, Tick::TimedOut);
    }

    #[test]
    fn another_request_is_sent_at_most_every_t2() {
        let zero = Instant::now();
        let mut client = Client::new(zero, Timers::default(), Transport::Udp, request("BYE"));
        let (sent, end) = sendings(&mut client, zero);
        assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!(end, Tick::TimedOut);
    }

    #[test]
    fn a_refused_invite_is_acked_each_time_on_the_same_branch_and_route_with_the_tag_of_the_answer() {
        let zero = Instant::now();
        let mut client = Client::new(zero, Timers::default(), Transport::Udp, request("INVITE"));
        let (response, head) = answer(486, "INVITE");
        assert_eq!(client.receive(zero, &response, &head), Heard::News);
        let ack = String::from_utf8(client.ack(&response).expect("ack").to_vec()).unwrap();
        assert!(ack.starts_with("ACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"), "{ack}");
        assert!(
            ack.contains("To: <sip:a@b>;tag=2\r\n")
                && ack.contains("CSeq: 4 ACK")
                && ack.contains("Route: <sip:r;lr>")
        );
        assert_eq!(client.receive(zero, &response, &head), Heard::Nothing);
        assert!(client.ack(&response).is_some());
        assert_eq!(client.poll_timeout(), Some(zero + Duration::from_secs(32)));
    }

    #[test]
    fn over_a_stream_nothing_is_sent_twice_and_nothing_lingers() {
        let zero = Instant::now();
        for method in ["INVITE", "BYE"] {
            let mut client = Client::new(zero, Timers::default(), Transport::Tcp, request(method));
            assert_eq!(sendings(&mut client, zero), (vec![], Tick::TimedOut));
            let mut client = Client::new(zero, Timers::default(), Transport::Tcp, request(method));
            let (response, head) = answer(486, method);
            assert_eq!(client.receive(zero, &response, &head), Heard::News);
            assert_eq!(client.ack(&response).is_some(), method == "INVITE");
            assert_eq!(client.handle_timeout(zero), Tick::Over);
        }
    }

    #[test]
    fn after_a_provisional_answer_an_invite_waits_without_end_and_a_second_2xx_is_still_news() {
        let zero = Instant::now();
        let mut client = Client::new(zero, Timers::default(), Transport::Udp, request("INVITE"));
        let (ringing, head) = answer(180, "INVITE");
        client.receive(zero, &ringing, &head);
        assert_eq!(client.poll_timeout(), None);
        let (ok, head) = answer(200, "INVITE");
        assert_eq!(client.receive(zero, &ok, &head), Heard::News);
        assert_eq!(client.receive(zero, &ok, &head), Heard::News);
        assert_eq!(client.ack(&ok), None);
        assert_eq!(client.handle_timeout(zero + Duration::from_secs(32)), Tick::Over);
    }

    #[test]
    fn a_reinvite_that_gets_nothing_but_provisional_answers_ends_after_three_minutes_without_one() {
        let zero = Instant::now();
        let mut reinvite = request("INVITE");
        reinvite.headers.set(Name::To, "<sip:a@b>;tag=2");
        let mut client = Client::new(zero, Timers::default(), Transport::Udp, reinvite);
        let (progress, head) = answer(183, "INVITE");
        client.receive(zero, &progress, &head);
        client.receive(zero + Duration::from_secs(100), &progress, &head);
        let end = zero + Duration::from_secs(281);
        assert_eq!(client.poll_timeout(), Some(end));
        assert_eq!(client.handle_timeout(end), Tick::TimedOut);
    }
}
