//! How many connections there may be, in all and from one place.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// How many, how long, how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at one time, handshakes included.
    pub all: usize,
    /// Of them from one IPv4 address, or one IPv6 network of 64 bits.
    pub per_address: usize,
    /// A connection that nothing needs is closed after so much silence.
    pub idle: Duration,
    /// How long a connection of our own may take to open, TLS included.
    pub connect: Duration,
    /// Bytes of the longest message.
    pub message: usize,
}

/// Who holds how many connections.
#[derive(Debug, Default)]
pub(super) struct Census {
    all: usize,
    by_place: HashMap<IpAddr, usize>,
}

impl Census {
    /// Counts a peer's connection in; `false`: there are too many.
    pub(super) fn enter(&mut self, ip: IpAddr, limits: &ConnectionLimits) -> bool {
        let here = self.by_place.get(&place(ip)).copied().unwrap_or(0);
        let room = self.all < limits.all && here < limits.per_address;
        if room {
            self.enter_anyway(ip);
        }
        room
    }

    /// Counts a connection of our own in: there are as many as there are trunks.
    pub(super) fn enter_anyway(&mut self, ip: IpAddr) {
        self.all += 1;
        *self.by_place.entry(place(ip)).or_default() += 1;
    }

    pub(super) fn leave(&mut self, ip: IpAddr) {
        self.all = self.all.saturating_sub(1);
        if let Some(here) = self.by_place.get_mut(&place(ip)) {
            *here -= 1;
            if *here == 0 {
                self.by_place.remove(&place(ip));
            }
        }
    }
}

/// Somebody with IPv6 has a network of 64 bits to choose addresses from.
fn place(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_its_share_and_what_is_left_can_be_had_again() {
        let limits = ConnectionLimits {
            all: 3,
            per_address: 2,
            idle: Duration::ZERO,
            connect: Duration::ZERO,
            message: 0,
        };
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut census = Census::default();
        assert!(census.enter(ip("2001:db8::1"), &limits) && census.enter(ip("2001:db8::2"), &limits));
        assert!(!census.enter(ip("2001:db8::3"), &limits), "the same network");
        assert!(census.enter(ip("192.0.2.1"), &limits));
        assert!(!census.enter(ip("192.0.2.2"), &limits), "three in all");
        census.leave(ip("2001:db8::1"));
        assert!(census.enter(ip("192.0.2.2"), &limits));
    }
}
