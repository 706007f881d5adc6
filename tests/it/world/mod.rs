//! The whole stack on a virtual clock: calls, user agent and bridges between scripted phones and a simulated Meta.

pub mod gateway;
mod ledger;
mod line;
pub mod meta;
pub mod network;
pub mod phone;
pub mod sip_text;
pub mod voice;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cordboard::call::ActionKind;
use cordboard::media::dtls::Identity;
use cordboard::random::Random;
use cordboard::time::{Now, Wall};

use gateway::{Gateway, Sent};
use meta::Meta;
use network::{Arrival, Network};
use phone::Phone;

pub const GATEWAY: &str = "192.0.2.1:5060";
pub const DOMAIN: &str = "gw.example.com";
pub const NUMBER: &str = "108911";
pub const PASSWORD: &str = "s3cret";
pub const USER: &str = "5521955500123";

pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Two certificates, made once: two sides never share one.
pub fn identity(which: usize) -> Arc<Identity> {
    static IDENTITIES: [OnceLock<Arc<Identity>>; 2] = [OnceLock::new(), OnceLock::new()];
    Arc::clone(IDENTITIES[which].get_or_init(|| Arc::new(Identity::generate().expect("a certificate"))))
}

pub struct World {
    pub start: Instant,
    pub now: Now,
    pub gateway: Gateway,
    pub phones: Vec<Phone>,
    pub meta: Meta,
    pub net: Network,
}

impl World {
    /// A world of that many registered phones: 1001, 1002, …
    pub fn new(seed: u64, phones: usize) -> Self {
        let mut world = Self::unregistered(seed, phones);
        for at in 0..phones {
            world.phones[at].register(world.now.mono);
        }
        world.run(ms(100));
        assert!(world.phones.iter().all(|it| it.registered));
        world
    }

    pub fn unregistered(seed: u64, phones: usize) -> Self {
        let start = Instant::now();
        let now = Now { mono: start, wall: Wall::from_secs(1_790_000_000) };
        let mut random = Random::from_number(seed);
        let names: Vec<String> = (1..=phones).map(|at| format!("{}", 1000 + at)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let phones = names.iter().enumerate().map(|(at, name)| Phone::new(name, at, &mut random)).collect();
        Self {
            start,
            now,
            gateway: Gateway::new(random.split(), &names),
            phones,
            meta: Meta::new(start, random.split()),
            net: Network::new(random.split()),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.now.mono - self.start
    }

    /// Runs for `span`.
    pub fn run(&mut self, span: Duration) {
        self.run_while(span, |_| true);
    }

    /// Runs until `done`, at most for `span`; whether it came to that.
    pub fn run_until(&mut self, span: Duration, done: impl Fn(&Self) -> bool) -> bool {
        self.run_while(span, |world| !done(world))
    }

    fn run_while(&mut self, span: Duration, go_on: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.mono + span;
        let mut standing = (self.now.mono, 0);
        while go_on(self) {
            self.collect();
            let now = self.now.mono;
            let phones = self.phones.iter().filter_map(|it| it.poll_timeout(now)).min();
            let wakes = [self.net.next(), self.gateway.poll_timeout(), phones, self.meta.poll_timeout(now)];
            let Some(next) = wakes.into_iter().flatten().min().map(|at| at.max(now)).filter(|at| *at <= end)
            else {
                self.now = self.now.after(end - now);
                return false;
            };
            standing = if next == standing.0 { (next, standing.1 + 1) } else { (next, 0) };
            assert!(standing.1 < 10_000, "time stands still: {wakes:?} at {now:?}");
            self.now = self.now.after(next - now);
            while let Some(arrival) = self.net.take_due(self.now.mono) {
                self.take(arrival);
                self.collect();
            }
            self.gateway.handle_timeout(self.now);
            self.collect();
            for phone in &mut self.phones {
                phone.handle_timeout(self.now.mono);
            }
            self.meta.handle_timeout(self.now);
        }
        true
    }

    fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Datagram { from, to, bytes } => self.take_datagram(from, to, &bytes),
            Arrival::Graph(call, action) => {
                let reply = self.meta.carry_out(self.now, call, &action);
                let reply = Arrival::GraphReply(call, ActionKind::of(&action), reply);
                self.net.deliver(self.now.mono, self.meta.latency / 2, reply);
            }
            Arrival::GraphReply(call, kind, input) => {
                self.meta.note_reply(self.now, kind, call);
                self.gateway.handle_graph(self.now, call, kind, input);
            }
            Arrival::Webhook(event) => self.gateway.handle_webhook(self.now, event),
            Arrival::Stored(call, input) => self.gateway.handle_stored(self.now, call, input),
        }
    }

    fn take_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let at = self.elapsed();
        let now = self.now.mono;
        if let Some(phone) = self.phones.iter_mut().find(|it| it.has(to)) {
            phone.handle_datagram(now, at, to, from, bytes);
        } else if !self.meta.handle_datagram(self.now, from, to, bytes) {
            self.gateway.handle_datagram(self.now, from, to, bytes);
        }
    }

    /// Puts what everybody has to send on its way.
    fn collect(&mut self) {
        let now = self.now.mono;
        while let Some(sent) = self.gateway.poll_sent() {
            match sent {
                Sent::Datagram { from, to, bytes } => self.post(from, to, bytes),
                Sent::Graph(call, action) => {
                    self.net.deliver(now, self.meta.latency / 2, Arrival::Graph(call, action));
                }
                Sent::Stored(call, input) => self.net.deliver(now, ms(1), Arrival::Stored(call, input)),
            }
        }
        for at in 0..self.phones.len() {
            while let Some((from, to, bytes)) = self.phones[at].poll_transmit() {
                self.post(from, to, bytes);
            }
        }
        while let Some((from, to, bytes)) = self.meta.poll_transmit() {
            self.post(from, to, bytes);
        }
        while let Some(webhook) = self.meta.poll_webhook() {
            self.net.post(now, self.net.webhooks, &Arrival::Webhook(webhook));
        }
    }

    fn post(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let gateway: SocketAddr = GATEWAY.parse().unwrap();
        let path = if from == gateway || to == gateway {
            self.net.sip
        } else if self.meta.has(from) || self.meta.has(to) {
            self.net.meta_media
        } else {
            self.net.phone_media
        };
        self.net.post(self.now.mono, path, &Arrival::Datagram { from, to, bytes });
    }

    /// Everything is over: one record per call, Meta agrees, nobody holds anything.
    #[track_caller]
    pub fn assert_clean(&mut self, calls: usize) {
        // Longer than any transaction lives (64 T1) and than the record waits for `terminate`.
        self.run(Duration::from_secs(70));
        assert_eq!(self.gateway.leftovers(), [""; 0]);
        assert_eq!(self.gateway.violations, [""; 0]);
        assert_eq!(self.gateway.ledger.closed.len(), calls, "records");
        let nameless = self.gateway.ledger.closed.iter().find(|it| it.cause.is_none() || it.ended.is_none());
        assert!(nameless.is_none(), "{nameless:?}");
        assert_eq!(self.meta.violations, [""; 0]);
        assert_eq!(self.meta.live(), [""; 0], "calls that Meta still has");
        for phone in &self.phones {
            assert_eq!(phone.live(), [""; 0], "calls that phone {} still has", phone.name);
        }
    }
}
