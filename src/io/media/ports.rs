//! UDP ports of a realm: handed out in turn, rested after use, bound for the call.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use super::sys::stamp_datagrams;

/// 200 packets of a busy moment fit, with the kernel's own overhead.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// Ports that another program holds are passed over, so many at most.
const ATTEMPTS: usize = 64;

/// Addresses and ports on one side of the gateway (rule 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// What sockets are bound to.
    pub bind: IpAddr,
    /// As the other side sees it, best first; empty: the same as `bind`.
    pub advertised: Vec<IpAddr>,
    /// Ports to use; `0..=0` takes whatever the kernel gives.
    pub ports: RangeInclusive<u16>,
}

impl Realm {
    /// The addresses to name in SDP with a port.
    #[must_use]
    pub fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        if self.advertised.is_empty() {
            return vec![SocketAddr::new(self.bind, port)];
        }
        self.advertised.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
    }
}

/// How many neighbouring ports a leg takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// One: RTP and RTCP share it.
    One,
    /// An even one for RTP and the odd one after it for RTCP (RFC 3550 §11).
    Pair,
}

impl Width {
    const fn step(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Pair => 2,
        }
    }
}

/// The ports of one realm.
#[derive(Debug)]
pub(super) struct Ports {
    realm: Realm,
    width: Width,
    quarantine: Duration,
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
}

impl Ports {
    /// All ports of the realm that fit; `start` (a random number) is where the round begins.
    #[must_use]
    pub(super) fn new(realm: Realm, width: Width, quarantine: Duration, start: u32) -> Self {
        let step = width.step();
        let first = realm.ports.start().next_multiple_of(step);
        let last = *realm.ports.end();
        let mut free: VecDeque<u16> = (first..=last)
            .step_by(usize::from(step))
            .filter(|port| *port != 0 && port.checked_add(step - 1).is_some_and(|end| end <= last))
            .collect();
        if !free.is_empty() {
            let by = start as usize % free.len();
            free.rotate_left(by);
        }
        Self { realm, width, quarantine, free, resting: VecDeque::new() }
    }

    /// The realm.
    #[must_use]
    pub(super) const fn realm(&self) -> &Realm {
        &self.realm
    }

    /// Takes the next port or pair and binds it. `None`: every port is in use, rests or is refused.
    pub(super) fn take(&mut self, now: Instant) -> Option<Vec<UdpSocket>> {
        self.wake(now);
        if *self.realm.ports.end() == 0 {
            return self.bind(0).ok();
        }
        for _ in 0..ATTEMPTS.min(self.free.len()) {
            let port = self.free.pop_front()?;
            match self.bind(port) {
                Ok(sockets) => return Some(sockets),
                Err(_) => self.free.push_back(port),
            }
        }
        None
    }

    fn bind(&self, port: u16) -> io::Result<Vec<UdpSocket>> {
        (0..self.width.step())
            .map(|at| bind(SocketAddr::new(self.realm.bind, if port == 0 { 0 } else { port + at })))
            .collect()
    }

    /// Gives a port back; it rests before it is used again.
    pub(super) fn give_back(&mut self, now: Instant, port: u16) {
        if *self.realm.ports.end() != 0 {
            self.resting.push_back((now + self.quarantine, port));
        }
    }

    /// Lets ports return that have rested long enough.
    fn wake(&mut self, now: Instant) {
        while self.resting.front().is_some_and(|(until, _)| *until <= now) {
            self.free.extend(self.resting.pop_front().map(|(_, port)| port));
        }
    }

    /// Ports or pairs that can be taken now, and those that rest.
    #[must_use]
    pub(super) fn left(&mut self, now: Instant) -> (usize, usize) {
        self.wake(now);
        (self.free.len(), self.resting.len())
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The kernel may give less than asked for; a smaller buffer still works.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    // Without stamps only the delay figures suffer.
    let _ = stamp_datagrams(socket.as_raw_fd());
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(ports: RangeInclusive<u16>) -> Realm {
        Realm { bind: "127.0.0.1".parse().unwrap(), advertised: Vec::new(), ports }
    }

    /// A range of `count` ports of which the first is free now.
    fn free_range(count: u16) -> RangeInclusive<u16> {
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port().min(60_000).next_multiple_of(2);
        port..=port + count - 1
    }

    #[test]
    fn rule_15_a_pair_is_an_even_port_and_the_odd_one_after_it() {
        let even = free_range(42);
        let odd = even.start() + 1..=even.start() + 41;
        let mut ports = Ports::new(realm(odd), Width::Pair, Duration::ZERO, 3);
        assert_eq!(ports.left(Instant::now()).0, 20);
        let pair = ports.take(Instant::now()).unwrap();
        let (rtp, rtcp) = (pair[0].local_addr().unwrap().port(), pair[1].local_addr().unwrap().port());
        assert_eq!((rtp % 2, rtcp), (0, rtp + 1));
    }

    #[test]
    fn rule_15_a_port_rests_after_use_and_comes_back_at_the_end_of_the_queue() {
        let (now, minute, second) = (Instant::now(), Duration::from_secs(60), Duration::from_secs(1));
        let both = |ports: &mut Ports, now| Some((ports.take(now)?, ports.take(now)?));
        let both_free = (0..50).find_map(|_| {
            let mut ports = Ports::new(realm(free_range(2)), Width::One, minute, 0);
            let (one, two) = both(&mut ports, now)?;
            Some((ports, one[0].local_addr().unwrap().port(), two[0].local_addr().unwrap().port()))
        });
        let (mut ports, one, two) = both_free.expect("no program takes two neighbours fifty times");
        assert!(ports.take(now).is_none(), "exhausted");
        ports.give_back(now, two);
        ports.give_back(now + second, one);
        assert!(ports.take(now + minute - Duration::from_nanos(1)).is_none());
        assert_eq!(ports.left(now + minute), (1, 1), "a scrape sees it without a call");
        let (first, then) = both(&mut ports, now + minute + second).unwrap();
        assert_eq!(first[0].local_addr().unwrap().port(), two, "who came first is handed out first");
        assert_eq!(then[0].local_addr().unwrap().port(), one);
    }

    #[test]
    fn a_port_that_another_program_holds_is_passed_over() {
        let range = free_range(20);
        let held = std::net::UdpSocket::bind(("127.0.0.1", *range.start())).unwrap();
        let mut ports = Ports::new(realm(range), Width::One, Duration::ZERO, 0);
        let taken = ports.take(Instant::now()).unwrap();
        assert_ne!(taken[0].local_addr().unwrap(), held.local_addr().unwrap());
        assert_eq!(ports.left(Instant::now()), (19, 0));
    }

    #[test]
    fn a_range_that_ends_at_the_last_port_holds_no_half_pair() {
        let mut ports = Ports::new(realm(65_533..=65_535), Width::Pair, Duration::ZERO, 0);
        assert_eq!(ports.left(Instant::now()).0, 1);
    }
}
