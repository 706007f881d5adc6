//! Where to send: symmetric RTP with care (call-handling rule 14).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Silence after which another port of the same host may take over.
const SILENCE: Duration = Duration::from_secs(2);

/// What a packet's source means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The far end.
    Known,
    /// The far end, seen at this address for the first time: its stream may start anew.
    Moved,
    /// Somebody else: the packet is not ours.
    Foreign,
}

/// The far end's address: signalled, then learnt from what arrives.
#[derive(Clone, Copy, Debug)]
pub struct Latch {
    signalled: SocketAddr,
    /// The far end whose place was taken: what it still sends must not be taken for the new one's.
    shunned: Option<SocketAddr>,
    learnt: Option<(SocketAddr, Instant)>,
}

impl Latch {
    /// Opens for a new offer or answer.
    #[must_use]
    pub const fn new(signalled: SocketAddr) -> Self {
        Self { signalled, shunned: None, learnt: None }
    }

    /// The same, deaf to whom somebody else takes the place of.
    #[must_use]
    pub const fn shunning(signalled: SocketAddr, shunned: Option<SocketAddr>) -> Self {
        Self { signalled, shunned, learnt: None }
    }

    /// A new offer or answer: if the address in it changed, everything is open again.
    pub fn signal(&mut self, signalled: SocketAddr) {
        if self.signalled != signalled {
            *self = Self::shunning(signalled, self.shunned);
        }
    }

    /// Judges the source of a plausible packet.
    pub fn judge(&mut self, now: Instant, from: SocketAddr) -> Source {
        if self.shunned == Some(from) && from != self.signalled {
            return Source::Foreign;
        }
        match &mut self.learnt {
            Some((known, at)) if *known == from => {
                *at = now;
                Source::Known
            }
            Some((known, at)) => {
                let silent = now.saturating_duration_since(*at) >= SILENCE;
                // The signalled address always wins: nobody else can have told it to us.
                if from == self.signalled || (silent && known.ip() == from.ip()) {
                    self.learnt = Some((from, now));
                    Source::Moved
                } else {
                    Source::Foreign
                }
            }
            None => {
                self.learnt = Some((from, now));
                Source::Moved
            }
        }
    }

    /// Takes the source of a packet that only the far end can have made: it may come from anywhere.
    pub fn follow(&mut self, now: Instant, from: SocketAddr) -> Source {
        let known = self.learnt.is_some_and(|(known, _)| known == from);
        self.learnt = Some((from, now));
        if known { Source::Known } else { Source::Moved }
    }

    /// Where to send; `None` while the signalled address is no address and nothing has arrived.
    #[must_use]
    pub fn target(&self) -> Option<SocketAddr> {
        let signalled = Some(self.signalled).filter(|it| !it.ip().is_unspecified() && it.port() != 0);
        self.learnt.map(|(address, _)| address).or(signalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rule_14_the_first_packet_fixes_the_address_and_strangers_are_ignored() {
        let now = Instant::now();
        let mut latch = Latch::new(at("10.0.0.5:4000"));
        assert_eq!(latch.target(), Some(at("10.0.0.5:4000")));
        assert_eq!(latch.judge(now, at("198.51.100.7:61000")), Source::Moved);
        assert_eq!(latch.target(), Some(at("198.51.100.7:61000")));
        assert_eq!(latch.judge(now + Duration::from_secs(60), at("203.0.113.9:9")), Source::Foreign);
        assert_eq!(latch.judge(now, at("198.51.100.7:61000")), Source::Known);
    }

    #[test]
    fn rule_14_the_signalled_address_takes_over_from_a_stranger_who_came_first() {
        let now = Instant::now();
        let mut latch = Latch::new(at("10.0.0.5:4000"));
        assert_eq!(latch.judge(now, at("203.0.113.9:9")), Source::Moved);
        assert_eq!(latch.judge(now, at("10.0.0.5:4000")), Source::Moved);
        assert_eq!(latch.judge(now, at("203.0.113.9:9")), Source::Foreign);
    }

    #[test]
    fn rule_14_whose_place_was_taken_is_not_heard_any_more_though_it_goes_on_sending() {
        let now = Instant::now();
        let mut latch = Latch::shunning(at("10.0.0.5:4000"), Some(at("198.51.100.7:61000")));
        assert_eq!(latch.judge(now, at("198.51.100.7:61000")), Source::Foreign);
        assert_eq!(latch.judge(now, at("198.51.100.7:61008")), Source::Moved);
        latch.signal(at("10.0.0.6:4000"));
        assert_eq!(latch.judge(now, at("198.51.100.7:61000")), Source::Foreign);
        latch.signal(at("198.51.100.7:61000"));
        assert_eq!(latch.judge(now, at("198.51.100.7:61000")), Source::Moved);
    }

    #[test]
    fn rule_14_the_same_host_may_change_its_port_only_after_a_silence() {
        let now = Instant::now();
        let mut latch = Latch::new(at("0.0.0.0:0"));
        assert_eq!(latch.target(), None);
        latch.judge(now, at("198.51.100.7:61000"));
        let almost = now + SILENCE - Duration::from_nanos(1);
        assert_eq!(latch.judge(almost, at("198.51.100.7:61002")), Source::Foreign);
        assert_eq!(latch.judge(now + SILENCE, at("198.51.100.7:61002")), Source::Moved);
    }

    #[test]
    fn rule_14_who_authenticates_may_come_from_anywhere_at_once() {
        let now = Instant::now();
        let mut latch = Latch::new(at("10.0.0.5:4000"));
        assert_eq!(latch.follow(now, at("198.51.100.7:61000")), Source::Moved);
        assert_eq!(latch.follow(now, at("198.51.100.7:61000")), Source::Known);
        assert_eq!(latch.follow(now, at("203.0.113.9:9")), Source::Moved);
        assert_eq!(latch.target(), Some(at("203.0.113.9:9")));
    }

    #[test]
    fn rule_14_a_new_address_in_signalling_opens_the_latch_and_the_same_one_does_not() {
        let now = Instant::now();
        let mut latch = Latch::new(at("10.0.0.5:4000"));
        latch.judge(now, at("198.51.100.7:61000"));
        latch.signal(at("10.0.0.5:4000"));
        assert_eq!(latch.target(), Some(at("198.51.100.7:61000")));
        latch.signal(at("10.0.0.6:4000"));
        assert_eq!(latch.target(), Some(at("10.0.0.6:4000")));
    }
}
