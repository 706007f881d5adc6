//! Two user agents over a network that loses, doubles and delays datagrams, by seed.

use super::*;

/// A net between a gateway (with a phone account) and another user agent that plays the trunk.
struct Net {
    ends: [UserAgent; 2],
    addresses: [SocketAddr; 2],
    now: Now,
    random: Random,
    /// Percent of the datagrams that are lost.
    loss: u32,
    /// Arrival time, order of sending, receiver, bytes.
    air: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    events: [Vec<Event>; 2],
}

impl Net {
    fn new(seed: u64, loss: u32) -> Self {
        let addresses: [SocketAddr; 2] = [US.parse().unwrap(), TRUNK.parse().unwrap()];
        let end = |own: usize, peer: usize| {
            let mut settings = Settings::new("gw.example.com", addresses[own]);
            settings.no_provisional = Duration::from_secs(20);

            settings.trunks.push(TrunkPeer::at("peer", addresses[peer]));
            UserAgent::new(settings, Random::from_number(seed * 2 + own as u64))
        };
        Self {
            ends: [end(0, 1), end(1, 0)],
            addresses,
            now: Now { mono: Instant::now(), wall: Wall(0) },
            random: Random::from_number(seed),
            loss,
            air: BTreeMap::new(),
            sent: 0,
            events: [Vec::new(), Vec::new()],
        }
    }

    fn drain(&mut self) {
        for own in [0, 1] {
            while let Some((_, bytes)) = self.ends[own].poll_transmit() {
                let copies = if self.random.below(100) < 10 { 2 } else { 1 };
                for _ in 0..copies {
                    self.sent += 1;
                    if self.random.below(100) >= self.loss {
                        let delay = Duration::from_millis(u64::from(5 + self.random.below(120)));
                        self.air.insert((self.now.mono + delay, self.sent), (1 - own, bytes.clone()));
                    }
                }
            }
            while let Some(event) = self.ends[own].poll_event() {
                self.events[own].push(event);
            }
        }
    }

    /// Runs until `until` holds or a minute and a half has passed; whether it held.
    fn run(&mut self, until: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.mono + Duration::from_secs(90);
        loop {
            self.drain();
            if until(self) {
                return true;
            }
            let next = self.air.keys().next().map(|(at, _)| *at);
            let timers = self.ends.iter().filter_map(UserAgent::poll_timeout).min();
            let Some(at) = [next, timers].into_iter().flatten().min().filter(|at| *at <= end) else {
                return false;
            };
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= self.now.mono) {
                let (to, bytes) = entry.remove();
                let flow = Flow::udp(self.addresses[to], self.addresses[1 - to]);
                self.ends[to].handle_message(self.now, flow, &bytes);
            }
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
    }

    fn legs(&self) -> [usize; 2] {
        [self.ends[0].figures().legs, self.ends[1].figures().legs]
    }
}

fn invite() -> Invite {
    Invite {
        target: Endpoint::Trunk("peer".into(), "200".to_owned()),
        caller: CallerIdentity { number: "1".to_owned(), display: String::new() },
        facts: CallFacts::default(),
        sdp: SDP.to_owned(),
        headers: Vec::new(),
    }
}

fn count(events: &[Event], which: fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| which(event)).count()
}

/// A whole call: ring, answer, hold, hang up by either side. The log of what each side saw.
fn whole_call(seed: u64, loss: u32) -> (String, u64) {
    let mut net = Net::new(seed, loss);
    let caller = net.ends[0].invite(net.now, invite()).expect("a call");
    let rung = net.run(|net| net.events[1].iter().any(|event| matches!(event, Event::Invited { .. })));
    assert!(rung, "seed {seed}: {:?}", net.events);
    let Some(Event::Invited { leg: callee, .. }) = net.events[1].first().cloned() else { panic!() };
    net.ends[1].ring(net.now, callee, None);
    net.run(|_| false);
    net.ends[1].accept(net.now, callee, SDP.to_owned());
    let up = net.run(|net| {
        count(&net.events[0], |event| matches!(event, Event::Answered { .. })) == 1
            && count(&net.events[1], |event| matches!(event, Event::Confirmed { .. })) == 1
    });
    assert!(up, "seed {seed}: {:?}", net.events);
    let who = usize::from(seed.is_multiple_of(2));
    net.ends[who].hang_up(net.now, if who == 0 { caller } else { callee }, None);
    net.run(|_| false);
    assert_eq!(net.legs(), [0, 0], "seed {seed}");
    assert_eq!(count(&net.events[1 - who], |event| matches!(event, Event::HungUp { .. })), 1, "seed {seed}");
    assert!(
        net.ends.iter().all(|end| end.figures().transactions == 0 && end.poll_timeout().is_none()),
        "seed {seed}"
    );
    assert!(net.ends.iter().all(|end| end.figures().faults.is_empty()), "seed {seed}");
    (format!("{:?}", net.events), net.sent)
}

#[test]
fn every_call_comes_up_and_ends_once_though_a_third_of_the_datagrams_is_lost() {
    for seed in 1..=120 {
        whole_call(seed, 30);
    }
}

#[test]
fn the_same_seed_gives_the_same_call_to_the_datagram() {
    assert_eq!(whole_call(7, 20), whole_call(7, 20));
}

#[test]
fn cancel_and_answer_at_any_distance_leave_both_sides_without_a_call() {
    for seed in 1..=120 {
        let mut net = Net::new(seed, 15);
        let caller = net.ends[0].invite(net.now, invite()).expect("a call");
        if !net.run(|net| !net.events[1].is_empty()) {
            continue;
        }
        let Some(Event::Invited { leg: callee, .. }) = net.events[1].first().cloned() else { panic!() };
        net.ends[1].ring(net.now, callee, None);
        net.run(|net| !net.events[0].is_empty());
        // Both decide within the same round trip, in either order.
        if seed.is_multiple_of(2) {
            net.ends[1].accept(net.now, callee, SDP.to_owned());
            net.drain();
            net.ends[0].cancel(net.now, caller, Reason::completed_elsewhere());
        } else {
            net.ends[0].cancel(net.now, caller, Reason::completed_elsewhere());
            net.drain();
            net.ends[1].accept(net.now, callee, SDP.to_owned());
        }
        net.run(|_| false);
        net.run(|_| false);
        assert_eq!(net.legs(), [0, 0], "seed {seed}: {:?}", net.events);
        let ends = |event: &Event| {
            matches!(
                event,
                Event::Failed { .. }
                    | Event::Cancelled { .. }
                    | Event::HungUp { .. }
                    | Event::AckTimeout { .. }
            )
        };
        assert_eq!(count(&net.events[0], ends), 1, "seed {seed}: {:?}", net.events);
        assert_eq!(count(&net.events[1], ends), 1, "seed {seed}: {:?}", net.events);
    }
}
