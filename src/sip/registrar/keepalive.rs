//! Keeping the way to a phone behind a NAT open, and noticing that it is gone (RFC 5626 §4.4 and §5.3, RFC 6223).
//!
//! A NAT forgets an address after 30 s of silence or more; a datagram from us before that keeps it. An OPTIONS is
//! answered by every phone that is still there, so its silence tells.

use std::time::{Duration, Instant};

use crate::id::PhoneName;

use super::super::flow::{Flow, Transport};
use super::{Binding, Line, Registrar};

/// Who is kept reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAliveOf {
    /// Phones whose Contact names another address than their datagrams come from.
    BehindNat,
    /// Every phone on UDP.
    Everybody,
    /// Nobody.
    Nobody,
}

/// With what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAliveBy {
    /// A request that is answered.
    Options,
    /// Two line ends, which nobody answers.
    LineEnds,
}

/// How phones are kept reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Who.
    pub of: KeepAliveOf,
    /// With what.
    pub by: KeepAliveBy,
    /// How often.
    pub every: Duration,
    /// After so many OPTIONS in a row without an answer the phone counts as gone, until it answers or registers.
    pub lost_after: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            of: KeepAliveOf::BehindNat,
            by: KeepAliveBy::Options,
            every: Duration::from_secs(25),
            lost_after: 3,
        }
    }
}

/// What is known of one way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    /// When it is tried next.
    pub(super) next: Instant,
    /// The last try waits for its answer.
    pub(super) waiting: bool,
    /// Tries in a row without an answer.
    missed: u32,
    /// A phone that never answered one is not judged by them: some know no OPTIONS.
    answers: bool,
}

/// What a try means to whoever wants to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Unchanged,
    Lost,
}

impl Pulse {
    pub(super) const fn starting(next: Instant) -> Self {
        Self { next, waiting: false, missed: 0, answers: false }
    }

    /// The same way, with a fresh start: the phone has just been heard.
    pub(super) const fn heard(self, next: Instant) -> Self {
        Self { next, waiting: false, missed: 0, ..self }
    }

    /// A try begins; what the silence after the last one means.
    pub(super) fn beat(&mut self, now: Instant, settings: &KeepAlive) -> Judgement {
        self.next = now + settings.every;
        let silent = self.waiting;
        self.waiting = settings.by == KeepAliveBy::Options;
        if !silent || !self.answers {
            return Judgement::Unchanged;
        }
        self.missed += 1;
        if self.missed == settings.lost_after { Judgement::Lost } else { Judgement::Unchanged }
    }

    /// The phone answered.
    pub(super) const fn answered(&mut self) {
        self.waiting = false;
        self.missed = 0;
        self.answers = true;
    }
}

/// A way to a phone that is to be kept open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whose.
    pub phone: PhoneName,
    /// Which of its bindings.
    pub id: u64,
    /// Its Contact.
    pub uri: String,
    /// The way.
    pub flow: Flow,
}

impl Registrar {
    /// The ways that are to be kept open now, and the phones that cannot be called any more for want of answers.
    pub fn take_pulses(&mut self, now: Instant) -> (Vec<Probe>, Vec<PhoneName>) {
        let settings = self.limits.keep_alive;
        let (mut probes, mut gone) = (Vec::new(), Vec::new());
        for phone in self.index.due(now) {
            let mine = vec![phone.clone()];
            gone.extend(self.change_all(mine, |bindings| {
                let due =
                    |it: &&mut Binding| it.wants_pulse(&settings) && it.pulse.next <= now && it.expires > now;
                for it in bindings.iter_mut().filter(due) {
                    if it.pulse.beat(now, &settings) == Judgement::Lost {
                        it.line = Line::Closed;
                    }
                    let uri = it.contact.as_request_uri().to_string();
                    probes.push(Probe { phone: phone.clone(), id: it.id, uri, flow: it.flow });
                }
            }));
        }
        (probes, gone)
    }

    /// A phone answered; says whether it can be called again.
    pub fn answered(&mut self, now: Instant, phone: &PhoneName, id: u64) -> bool {
        let before = !self.alive(now, phone).is_empty();
        let all = self.bindings.get_mut(phone).into_iter().flatten();
        for it in all.filter(|it| it.id == id) {
            it.pulse.answered();
            it.line = Line::Open;
        }
        !before && !self.alive(now, phone).is_empty()
    }
}

impl Binding {
    /// When it ends or is to be tried, whichever is first.
    pub(super) fn next(&self, settings: &KeepAlive) -> Instant {
        let pulse = Some(self.pulse.next).filter(|_| self.wants_pulse(settings));
        pulse.map_or(self.expires, |at| at.min(self.expires))
    }

    fn wants_pulse(&self, settings: &KeepAlive) -> bool {
        let direct = self.flow.transport == Transport::Udp && self.path.is_empty();
        direct
            && match settings.of {
                KeepAliveOf::Nobody => false,
                KeepAliveOf::Everybody => true,
                KeepAliveOf::BehindNat => self.contact.socket() != Some(self.flow.remote),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_that_used_to_answer_is_lost_after_three_tries_in_vain_and_one_that_never_did_is_not() {
        let (settings, zero) = (KeepAlive::default(), Instant::now());
        let mut silent = Pulse::starting(zero);
        let mut known = Pulse::starting(zero);
        known.beat(zero, &settings);
        known.answered();
        let judged: Vec<Judgement> = (1..6).map(|_| known.beat(zero, &settings)).collect();
        let [a, b, c, d, e] = judged[..] else { panic!() };
        assert_eq!((a, b, c), (Judgement::Unchanged, Judgement::Unchanged, Judgement::Unchanged));
        assert_eq!((d, e), (Judgement::Lost, Judgement::Unchanged));
        assert!((0..9).all(|_| silent.beat(zero, &settings) == Judgement::Unchanged));
        assert_eq!(known.next, zero + Duration::from_secs(25));
        // Whoever registers again begins anew: it takes three more tries in vain.
        let mut again = known.heard(zero);
        let judged: Vec<Judgement> = (0..4).map(|_| again.beat(zero, &settings)).collect();
        assert_eq!(judged[..3], [Judgement::Unchanged; 3]);
        assert_eq!(judged[3], Judgement::Lost);
    }
}
