//! A seeded network in virtual time, and a leg on it, for the stories above this file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::super::*;

/// Something with addresses on the network.
pub(super) trait Host {
    fn take(&mut self, now: Instant, packet: &Packet);
    fn send(&mut self) -> Option<Packet>;
    fn wake_at(&mut self) -> Option<Instant>;
    fn wake(&mut self, now: Instant);
    fn has(&self, address: SocketAddr) -> bool;
}

/// A datagram under way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// Looks at a datagram, may change it, and says whether it arrives.
pub(super) type Rule = Box<dyn FnMut(Instant, &mut Packet) -> bool>;

/// Two hosts and what happens to datagrams between them.
pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) delay: Duration,
    pub(super) loss_percent: u32,
    pub(super) rule: Rule,
    random: Random,
    under_way: BTreeMap<(Instant, u64), Packet>,
    count: u64,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            delay: Duration::from_millis(15),
            loss_percent: 0,
            rule: Box::new(|_, _| true),
            random: Random::from_number(seed),
            under_way: BTreeMap::new(),
            count: 0,
        }
    }

    /// Puts a datagram on its way, whoever claims to have sent it.
    pub(super) fn post(&mut self, mut packet: Packet) {
        self.count += 1;
        if !(self.rule)(self.now, &mut packet) || self.random.below(100) < self.loss_percent {
            return;
        }
        let jitter = if self.loss_percent == 0 { 0 } else { self.random.below(20) };
        let at = self.now + self.delay + Duration::from_millis(jitter.into());
        self.under_way.insert((at, self.count), packet);
    }

    fn collect(&mut self, hosts: &mut [&mut dyn Host]) {
        for host in hosts {
            while let Some(packet) = host.send() {
                self.post(packet);
            }
        }
    }

    /// Runs both hosts for `span`.
    pub(super) fn run<'a>(&mut self, one: &'a mut dyn Host, two: &'a mut dyn Host, span: Duration) {
        let end = self.now + span;
        let mut hosts = [one, two];
        let mut steps = 0;
        loop {
            self.collect(&mut hosts);
            let arrival = self.under_way.keys().next().map(|&(at, _)| at);
            let wake = hosts.iter_mut().filter_map(|host| host.wake_at()).min();
            let next = [arrival, wake].into_iter().flatten().min().map(|at| at.max(self.now));
            let Some(next) = next.filter(|&at| at <= end) else { break };
            steps += 1;
            assert!(steps < 200_000, "somebody asks to be woken again and again");
            self.now = next;
            while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= next) {
                let packet = entry.remove();
                if let Some(host) = hosts.iter_mut().find(|host| host.has(packet.to)) {
                    host.take(next, &packet);
                }
            }
            for host in &mut hosts {
                if host.wake_at().is_some_and(|at| at <= next) {
                    host.wake(next);
                }
            }
        }
        self.now = end;
    }
}

/// A leg, its addresses, and all that came out of it.
pub(super) struct LegHost {
    pub(super) leg: WebRtcLeg,
    pub(super) address: SocketAddr,
    pub(super) events: Vec<LegEvent>,
    pub(super) media: Vec<Vec<u8>>,
}

impl LegHost {
    pub(super) fn new(address: &str, seed: u64) -> Self {
        Self::with(address, seed, FingerprintCase::Lower)
    }

    pub(super) fn with(address: &str, seed: u64, fingerprint_case: FingerprintCase) -> Self {
        let address = address.parse().unwrap();
        let settings = WebRtcSettings {
            local: address,
            candidates: vec![address],
            identity: identity(seed),
            ssrc: Ssrc(9),
            cname: "cordboard".to_owned(),
            fingerprint_case,
        };
        let leg = WebRtcLeg::new(settings, Random::from_number(seed));
        Self { leg, address, events: Vec::new(), media: Vec::new() }
    }

    /// Sends one RTP packet through the network; whether the leg would.
    pub(super) fn speak(&mut self, network: &mut Network, seq: u16) -> bool {
        let from = self.address;
        let Some((to, bytes)) = self.leg.protect_rtp(&speech(9, seq)) else { return false };
        let bytes = bytes.to_vec();
        network.post(Packet { from, to, bytes });
        true
    }
}

impl Host for LegHost {
    fn take(&mut self, now: Instant, packet: &Packet) {
        match self.leg.handle_datagram(now, packet.from, &packet.bytes) {
            Received::Nothing => {}
            Received::Rtp(clear) | Received::Rtcp(clear) => self.media.push(clear.to_vec()),
        }
    }

    fn send(&mut self) -> Option<Packet> {
        self.events.extend(std::iter::from_fn(|| self.leg.poll_event()));
        let (to, bytes) = self.leg.poll_transmit()?;
        Some(Packet { from: self.address, to, bytes })
    }

    fn wake_at(&mut self) -> Option<Instant> {
        self.leg.poll_timeout()
    }

    fn wake(&mut self, now: Instant) {
        self.leg.handle_timeout(now);
    }

    fn has(&self, address: SocketAddr) -> bool {
        self.address == address
    }
}

/// One of two identities, made once: two sides never share one.
pub(super) fn identity(seed: u64) -> Arc<Identity> {
    static IDENTITIES: [OnceLock<Arc<Identity>>; 2] = [OnceLock::new(), OnceLock::new()];
    let slot = &IDENTITIES[usize::from(seed.is_multiple_of(2))];
    Arc::clone(slot.get_or_init(|| Arc::new(Identity::generate().unwrap())))
}

/// An RTP packet with some payload.
pub(super) fn speech(ssrc: u32, seq: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend(seq.to_be_bytes());
    packet.extend(u32::from(seq).wrapping_mul(960).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(b"forty milliseconds of truth");
    packet
}

/// A receiver report.
pub(super) fn report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet
}
