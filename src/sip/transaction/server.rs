//! Their requests: answered once, the answer repeated as often as asked (RFC 3261 §17.2, RFC 6026 §8.5).

use std::time::{Duration, Instant};

use super::super::flow::Transport;
use super::super::message::{Head, Method, Request};
use super::{Resend, Timers};

/// What a retransmission, an ACK or a CANCEL is matched by (RFC 3261 §17.2.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey(String);

impl ServerKey {
    /// The key of `request`; an ACK and a CANCEL get the key of their INVITE with `method` INVITE.
    ///
    /// Without the magic cookie the older rules hold: Request-URI, From tag, Call-ID, CSeq number, top Via.
    #[must_use]
    pub fn of(request: &Request, head: &Head, method: &Method) -> Self {
        let method = method.as_str();
        let port = head.via.port.unwrap_or(5060);
        let host = head.via.host.to_ascii_lowercase();
        Self(match head.via.branch() {
            Some(branch) => format!("{branch}\n{host}:{port}\n{method}"),
            None => format!(
                "\n{}\n{}\n{}\n{}\n{}\n{method}",
                request.uri,
                head.from.tag().unwrap_or(""),
                head.call_id,
                head.cseq.number,
                head.via
            ),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Trying or Proceeding: no final answer yet.
    Proceeding,
    /// A final answer was sent (a refusal, for an INVITE) and is repeated.
    Completed,
    /// The refusal was ACKed; further ACKs are absorbed.
    Confirmed,
    /// A 2xx to an INVITE was sent; whoever sent it repeats it.
    Accepted,
}

/// What the passing of time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing.
    Nothing,
    /// Send the last answer again.
    Resend,
    /// The transaction is over and may be forgotten.
    Over,
}

/// One server transaction.
#[derive(Clone, Debug)]
pub struct Server {
    invite: bool,
    transport: Transport,
    state: State,
    answer: Option<Vec<u8>>,
    resend: Option<Resend>,
    deadline: Option<Instant>,
    timers: Timers,
}

impl Server {
    /// A transaction for a request that just came.
    #[must_use]
    pub fn new(timers: Timers, transport: Transport, method: &Method) -> Self {
        let invite = *method == Method::Invite;
        let state = State::Proceeding;
        Self { invite, transport, state, answer: None, resend: None, deadline: None, timers }
    }

    /// Whether no final answer was given yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.state == State::Proceeding
    }

    /// The caller sends `bytes` now; they answer with `status`. Nothing happens after a final answer.
    pub fn answered(&mut self, now: Instant, status: u16, bytes: Vec<u8>) {
        if !self.is_pending() {
            return;
        }
        if status < 200 {
            self.answer = Some(bytes);
            return;
        }
        // Timer J: over a stream nobody asks again. Timers H and L hold over every transport.
        let absorbs = self.invite || !self.transport.is_reliable();
        self.deadline = Some(now + if absorbs { self.timers.give_up() } else { Duration::ZERO });
        if self.invite && status < 300 {
            self.state = State::Accepted;
            self.answer = None;
        } else {
            self.state = State::Completed;
            self.answer = Some(bytes);
            let repeats = self.invite && !self.transport.is_reliable();
            self.resend = repeats.then(|| Resend::new(now, &self.timers, true));
        }
    }

    /// The request came again: what to send, if anything.
    #[must_use]
    pub fn repeated(&self) -> Option<&[u8]> {
        if self.state == State::Confirmed { None } else { self.answer.as_deref() }
    }

    /// An ACK came on the transaction's own branch.
    pub fn acked(&mut self, now: Instant) {
        if self.state == State::Completed && self.invite {
            self.state = State::Confirmed;
            self.resend = None;
            let linger = if self.transport.is_reliable() { Duration::ZERO } else { self.timers.t4 };
            self.deadline = Some(now + linger);
        }
    }

    /// When [`Server::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let resend = self.resend.as_ref().map(|resend| resend.next);
        [resend, self.deadline].into_iter().flatten().min()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Tick {
        if self.deadline.is_some_and(|at| at <= now) {
            return Tick::Over;
        }
        let due = self.resend.as_mut().is_some_and(|resend| resend.take(now));
        if due { Tick::Resend } else { Tick::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::message::{Message, Parsed, parse};
    use super::*;

    fn key(via: &str, method: &str, count_as: &Method) -> ServerKey {
        let text = format!(
            "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: x\r\nCSeq: 4 {method}\r\n\r\n"
        );
        let Ok(Parsed { message: Message::Request(request), head }) = parse(text.as_bytes()) else {
            panic!()
        };
        ServerKey::of(&request, &head, count_as)
    }

    #[test]
    fn an_ack_and_a_cancel_find_their_invite_in_both_generations_of_the_standard() {
        for via in ["h;branch=z9hG4bK7", "h", "h;branch=z9hG4bK"] {
            let invite = key(via, "INVITE", &Method::Invite);
            assert_eq!(key(via, "ACK", &Method::Invite), invite);
            assert_eq!(key(via, "CANCEL", &Method::Invite), invite);
            assert_ne!(key(via, "CANCEL", &Method::Cancel), invite);
        }
        assert_ne!(
            key("h;branch=z9hG4bK7", "INVITE", &Method::Invite),
            key("g;branch=z9hG4bK7", "INVITE", &Method::Invite)
        );
    }

    #[test]
    fn a_refusal_is_repeated_until_acked_and_given_up_after_64_t1() {
        let zero = Instant::now();
        let mut server = Server::new(Timers::default(), Transport::Udp, &Method::Invite);
        server.answered(zero, 100, b"trying".to_vec());
        assert_eq!(server.repeated(), Some(&b"trying"[..]));
        assert_eq!(server.poll_timeout(), None);
        server.answered(zero, 486, b"busy".to_vec());
        let mut sent = Vec::new();
        let mut unacked = server.clone();
        loop {
            let at = unacked.poll_timeout().unwrap();
            match unacked.handle_timeout(at) {
                Tick::Resend => sent.push((at - zero).as_millis()),
                Tick::Over => break,
                Tick::Nothing => {}
            }
        }
        assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        server.acked(zero);
        assert_eq!(server.repeated(), None);
        assert_eq!(server.handle_timeout(zero + Duration::from_secs(5)), Tick::Over);
    }

    #[test]
    fn over_a_stream_a_refusal_is_sent_once_and_waits_for_its_ack_and_another_answer_is_forgotten_at_once() {
        let zero = Instant::now();
        let mut server = Server::new(Timers::default(), Transport::Tls, &Method::Invite);
        server.answered(zero, 486, b"busy".to_vec());
        assert_eq!(server.poll_timeout(), Some(zero + Duration::from_secs(32)));
        server.acked(zero);
        assert_eq!(server.handle_timeout(zero), Tick::Over);
        let mut server = Server::new(Timers::default(), Transport::Tls, &Method::Bye);
        server.answered(zero, 200, b"ok".to_vec());
        assert_eq!(server.handle_timeout(zero), Tick::Over);
    }

    #[test]
    fn after_a_2xx_a_repeated_invite_is_absorbed_without_an_answer() {
        let zero = Instant::now();
        let mut server = Server::new(Timers::default(), Transport::Udp, &Method::Invite);
        server.answered(zero, 100, b"trying".to_vec());
        server.answered(zero, 200, b"ok".to_vec());
        assert_eq!(server.repeated(), None);
        assert_eq!(server.poll_timeout(), Some(zero + Duration::from_secs(32)));
    }

    #[test]
    fn another_request_repeats_its_answer_for_64_t1() {
        let zero = Instant::now();
        let mut server = Server::new(Timers::default(), Transport::Udp, &Method::Bye);
        assert_eq!(server.repeated(), None);
        server.answered(zero, 200, b"ok".to_vec());
        server.answered(zero, 500, b"late".to_vec());
        assert_eq!(server.repeated(), Some(&b"ok"[..]));
        assert_eq!(server.handle_timeout(zero + Duration::from_millis(31_999)), Tick::Nothing);
        assert_eq!(server.handle_timeout(zero + Duration::from_secs(32)), Tick::Over);
    }
}
