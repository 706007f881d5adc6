//! Where to send: symmetric RTP with care (call-handling rule 14).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Silence after which another port of the same host may take over.
const SILENCE: Duration = Duration::from_secs(2);
/// So long a stranger has to be the only one who sends: a far end that talks does so every 20 ms.
const PATIENCE: Duration = Duration::from_millis(500);

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
///
/// Of plain RTP anybody can send the right payload type to a port that is open (RTPbleed). So who sends from where the
/// session description or the signalling itself says is believed at once and whenever it comes; a stranger only after
/// it has been alone for a while, which is what a far end with media on a host of its own needs.
#[derive(Clone, Copy, Debug)]
pub struct Latch {
    signalled: SocketAddr,
    /// Where the signalling comes from: of a far end behind a NAT, the only address that is known.
    home: Option<IpAddr>,
    /// The far end whose place was taken: what it still sends must not be taken for the new one's.
    shunned: Option<SocketAddr>,
    learnt: Option<(SocketAddr, Instant)>,
    /// A stranger, and since when it has been the only one who sends.
    alone: Option<(SocketAddr, Instant)>,
}

impl Latch {
    /// Opens for a new offer or answer.
    #[must_use]
    pub const fn new(signalled: SocketAddr) -> Self {
        Self { signalled, home: None, shunned: None, learnt: None, alone: None }
    }

    /// The same for a far end whose signalling comes from there; where that is not known nobody is a stranger.
    #[must_use]
    pub const fn near(mut self, home: Option<IpAddr>) -> Self {
        self.home = home;
        self
    }

    /// The same, deaf to whom somebody else takes the place of.
    #[must_use]
    pub const fn shunning(mut self, shunned: Option<SocketAddr>) -> Self {
        self.shunned = shunned;
        self
    }

    /// A new offer or answer: if the address in it changed, everything is open again.
    pub fn signal(&mut self, signalled: SocketAddr) {
        if self.signalled != signalled {
            *self = Self::new(signalled).near(self.home).shunning(self.shunned);
        }
    }

    /// Whether `from` is a host that the far end has named, or speaks SIP from.
    fn is_near(&self, from: SocketAddr) -> bool {
        let Some(home) = self.home else { return true };
        let ip = from.ip().to_canonical();
        ip == home || ip == self.signalled.ip().to_canonical()
    }

    /// Judges the source of a plausible packet.
    pub fn judge(&mut self, now: Instant, from: SocketAddr) -> Source {
        if self.shunned == Some(from) && from != self.signalled {
            return Source::Foreign;
        }
        match self.learnt {
            Some((known, _)) if known == from => {
                self.learnt = Some((known, now));
                return Source::Known;
            }
            Some((known, at)) => {
                let silent = now.saturating_duration_since(at) >= SILENCE;
                // The signalled address always wins: nobody else can have told it to us.
                let wins = from == self.signalled || (self.is_near(from) && !self.is_near(known));
                if !(wins || silent && known.ip() == from.ip()) {
                    return Source::Foreign;
                }
            }
            None if self.is_near(from) => {}
            None => match self.alone {
                Some((stranger, since)) if stranger == from => {
                    if now.saturating_duration_since(since) < PATIENCE {
                        return Source::Foreign;
                    }
                }
                // Two of them prove nothing; the second is listened to when the first has nothing more to say.
                Some((_, since)) if now.saturating_duration_since(since) < 2 * PATIENCE => {
                    return Source::Foreign;
                }
                _ => {
                    self.alone = Some((from, now));
                    return Source::Foreign;
                }
            },
        }
        self.alone = None;
        self.learnt = Some((from, now));
        Source::Moved
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
        let mut latch = Latch::new(at("10.0.0.5:4000")).shunning(Some(at("198.51.100.7:61000")));
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

    /// A phone behind a NAT, by its SIP: the address in its session description is of no use.
    fn behind_nat() -> Latch {
        Latch::new(at("192.168.1.20:4000")).near(Some("198.51.100.7".parse().unwrap()))
    }

    #[test]
    fn rule_14_a_phone_behind_a_nat_is_heard_from_its_first_packet_on() {
        let now = Instant::now();
        let mut latch = behind_nat();
        assert_eq!(latch.judge(now, at("198.51.100.7:61000")), Source::Moved);
        assert_eq!(latch.target(), Some(at("198.51.100.7:61000")));
        assert_eq!(latch.judge(now, at("198.51.100.7:61002")), Source::Foreign, "one port at a time");
    }

    #[test]
    fn rule_14_a_stranger_who_sends_first_gets_nothing_and_is_not_heard_once_the_phone_sends() {
        let now = Instant::now();
        for phone in ["198.51.100.7:61000", "192.168.1.20:4000", "192.168.1.20:4444"] {
            let mut latch = behind_nat();
            for sent in 0..20 {
                let stranger = latch.judge(now + Duration::from_millis(sent * 20), at("203.0.113.9:9"));
                assert_eq!(stranger, Source::Foreign);
                assert_eq!(latch.target(), Some(at("192.168.1.20:4000")));
            }
            assert_eq!(latch.judge(now + Duration::from_millis(400), at(phone)), Source::Moved);
            assert_eq!(latch.judge(now + Duration::from_secs(60), at("203.0.113.9:9")), Source::Foreign);
            assert_eq!(latch.target(), Some(at(phone)));
        }
    }

    #[test]
    fn rule_14_a_stranger_who_is_alone_for_half_a_second_is_heard_until_the_phone_sends() {
        let now = Instant::now();
        let mut latch = behind_nat();
        assert_eq!(latch.judge(now, at("203.0.113.9:9")), Source::Foreign);
        let almost = now + PATIENCE - Duration::from_nanos(1);
        assert_eq!(latch.judge(almost, at("203.0.113.9:9")), Source::Foreign);
        assert_eq!(latch.judge(now + PATIENCE, at("203.0.113.9:9")), Source::Moved);
        assert_eq!(latch.judge(now + PATIENCE, at("203.0.113.10:9")), Source::Foreign, "a second stranger");
        assert_eq!(latch.judge(now + PATIENCE, at("198.51.100.7:61000")), Source::Moved, "the phone");
        assert_eq!(latch.judge(now + PATIENCE, at("203.0.113.9:9")), Source::Foreign);
    }

    #[test]
    fn rule_14_of_two_strangers_the_second_is_listened_to_only_when_the_first_is_gone() {
        let now = Instant::now();
        let mut latch = behind_nat();
        latch.judge(now, at("203.0.113.9:9"));
        assert_eq!(latch.judge(now + PATIENCE, at("203.0.113.10:9")), Source::Foreign);
        assert_eq!(latch.judge(now + 2 * PATIENCE, at("203.0.113.10:9")), Source::Foreign);
        assert_eq!(latch.judge(now + 3 * PATIENCE, at("203.0.113.10:9")), Source::Moved);
    }
}
