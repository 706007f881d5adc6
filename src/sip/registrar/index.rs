//! What is found without a look at every phone: whose binding is due next, and which phones are at an address.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::id::PhoneName;

use super::super::defence::Source;
use super::super::flow::Flow;
use super::Binding;
use super::keepalive::KeepAlive;

/// Kept in step with the bindings of each phone by [`Index::put`].
#[derive(Debug, Default)]
pub(super) struct Index {
    due: BTreeSet<(Instant, PhoneName)>,
    at: BTreeMap<Source, BTreeSet<PhoneName>>,
    /// What stands of a phone in the others.
    known: BTreeMap<PhoneName, (Instant, BTreeSet<Source>)>,
}

impl Index {
    /// These are all bindings of the phone now.
    pub(super) fn put(&mut self, phone: &PhoneName, bindings: &[Binding], keep_alive: &KeepAlive) {
        let next = bindings.iter().map(|it| it.next(keep_alive)).min();
        let sources: BTreeSet<Source> = bindings.iter().map(|it| source_of(it.flow)).collect();
        let new = next.map(|next| (next, sources));
        if self.known.get(phone) == new.as_ref() {
            return;
        }
        if let Some((next, sources)) = self.known.remove(phone) {
            self.due.remove(&(next, phone.clone()));
            for source in sources {
                if let Some(there) = self.at.get_mut(&source) {
                    there.remove(phone);
                    if there.is_empty() {
                        self.at.remove(&source);
                    }
                }
            }
        }
        if let Some((next, sources)) = new {
            self.due.insert((next, phone.clone()));
            for source in &sources {
                self.at.entry(*source).or_default().insert(phone.clone());
            }
            self.known.insert(phone.clone(), (next, sources));
        }
    }

    /// When a binding ends, or its way is to be tried.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The phones for which that time has come.
    pub(super) fn due(&self, now: Instant) -> Vec<PhoneName> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, phone)| phone.clone()).collect()
    }

    /// The phones that have a binding there, dead or alive.
    pub(super) fn at(&self, source: Source) -> impl Iterator<Item = &PhoneName> {
        self.at.get(&source).into_iter().flatten()
    }

    /// The phones that have a binding where the flow leads to.
    pub(super) fn near(&self, flow: Flow) -> impl Iterator<Item = &PhoneName> {
        self.at(source_of(flow))
    }
}

fn source_of(flow: Flow) -> Source {
    Source::of(flow.remote.ip())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::message::{Message, Parsed, parse};
    use super::super::keepalive::KeepAliveOf;
    use super::super::{Limits, Line, Registrar};
    use super::*;
    use crate::random::Random;

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn flow(host: u32, port: u32) -> Flow {
        let remote = ([192, 0, 2, host as u8 + 1], 5060 + port as u16).into();
        Flow::udp("192.0.2.99:5060".parse().unwrap(), remote)
    }

    fn register(it: &mut Registrar, now: Instant, random: &mut Random, number: u32) {
        let phone: PhoneName = NAMES[random.below(5) as usize].into();
        let flow = flow(random.below(3), random.below(3));
        let contact = match random.below(4) {
            0 => format!("sip:x@{}", flow.remote),
            1 => "sip:x@10.0.0.7".to_owned(),
            at => format!("sip:x@10.0.0.{at};transport=udp"),
        };
        let path = if random.below(5) == 0 { "Path: <sip:192.0.2.50;lr>\r\n" } else { "" };
        let (instance, expires) = (random.below(3), [0, 60, 60, 100, 300][random.below(5) as usize]);
        let text = format!(
            "REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@r>;tag=1\r\nTo: <sip:a@r>\r\n\
             Call-ID: x{}\r\nCSeq: {number} REGISTER\r\n{path}\
             Contact: <{contact}>;+sip.instance=\"<urn:uuid:{instance}>\";expires={expires}\r\n\r\n",
            random.below(2)
        );
        let Ok(Parsed { message: Message::Request(request), head }) = parse(text.as_bytes()) else {
            panic!()
        };
        let _ = it.register(now, &phone, flow, &request, &head);
    }

    /// Everything that the index answers, found by a look at every binding.
    fn compare(it: &Registrar, now: Instant) {
        let all: Vec<(&PhoneName, &Binding)> =
            it.bindings.iter().flat_map(|(phone, all)| all.iter().map(move |it| (phone, it))).collect();
        let next = all.iter().map(|(_, binding)| binding.next(&it.limits.keep_alive)).min();
        assert_eq!(it.poll_timeout(), next);
        assert_eq!((it.index.due.len(), it.index.known.len()), (it.bindings.len(), it.bindings.len()));
        for (host, port) in (0..4).flat_map(|host| (0..4).map(move |port| (host, port))) {
            let (flow, source) = (flow(host, port), source_of(flow(host, port)));
            let alive = |it: &Binding| it.expires > now && it.line == Line::Open;
            let lives = all.iter().any(|(_, it)| alive(it) && source_of(it.flow) == source);
            assert_eq!(it.lives_at(now, source), lives);
            for name in NAMES {
                let mine = |phone: &PhoneName, it: &Binding| it.path.is_empty() || phone.as_str() == name;
                let known = all.iter().any(|(phone, it)| alive(it) && it.flow == flow && mine(phone, it));
                assert_eq!(it.knows(now, flow, name), known);
            }
        }
    }

    #[test]
    fn whatever_phones_do_it_finds_what_a_look_at_every_binding_finds() {
        let seconds = Duration::from_secs;
        let mut done = [0; 4];
        for seed in 0..60 {
            let mut random = Random::from_number(seed);
            let keep_alive = KeepAlive { of: KeepAliveOf::BehindNat, lost_after: 1, ..KeepAlive::default() };
            let (min, max, default) = (seconds(60), seconds(300), seconds(100));
            let mut it = Registrar::new(Limits { min, max, default, per_phone: 3, keep_alive });
            let mut now = Instant::now();
            for number in 1..120 {
                let act = random.below(8);
                match act {
                    0 => {
                        let flow = flow(random.below(3), random.below(3));
                        done[0] += it.close(flow).len();
                    }
                    1..4 => {
                        now += seconds(random.below(40).into());
                        done[1] += it.handle_timeout(now).len();
                        let (probes, gone) = it.take_pulses(now);
                        (done[2], done[3]) = (done[2] + probes.len(), done[3] + gone.len());
                        for probe in probes.iter().filter(|_| random.below(2) > 0) {
                            it.answered(now, &probe.phone, probe.id);
                        }
                    }
                    _ => register(&mut it, now, &mut random, number),
                }
                compare(&it, now);
            }
        }
        assert!(done.iter().all(|many| *many > 5), "each of these happened: {done:?}");
    }
}
