//! Ports that no other test takes: blocks below the system's ephemeral range, leased by a listener.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Ports per block; `scripts/rig/ports.py` follows the same rule, so both can run at once.
const BLOCK: u16 = 256;
const LOWEST: u16 = 10_240;
const HIGHEST: u16 = 32_768;

/// 255 neighbouring ports on loopback, ours as long as the value lives.
pub(crate) struct Ports {
    next: u16,
    end: u16,
    /// The listener on the block's last port is the lease: a second one cannot be had.
    _lease: TcpListener,
}

impl Ports {
    /// Leases a block, starting the search at a place that differs from process to process.
    pub(crate) fn lease() -> Self {
        let blocks = (HIGHEST - LOWEST) / BLOCK;
        let start = u16::try_from(seed() % u64::from(blocks)).expect("a remainder of a u16");
        (0..blocks)
            .map(|step| LOWEST + (start + step) % blocks * BLOCK)
            .find_map(Self::try_lease)
            .expect("a free block of ports below the ephemeral range")
    }

    fn try_lease(base: u16) -> Option<Self> {
        let lease = TcpListener::bind((Ipv4Addr::LOCALHOST, base + BLOCK - 1)).ok()?;
        let free = (base..base + BLOCK - 1).all(|port| {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
                && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        free.then_some(Self { next: base, end: base + BLOCK - 1, _lease: lease })
    }

    /// The first of `count` neighbouring ports; it is even.
    pub(crate) fn take(&mut self, count: u16) -> u16 {
        let first = self.next + self.next % 2;
        assert!(first + count <= self.end, "a test takes more than {BLOCK} ports");
        self.next = first + count;
        first
    }

    /// A range as the configuration writes it.
    pub(crate) fn range(&mut self, count: u16) -> String {
        let first = self.take(count);
        format!("{first}-{}", first + count - 1)
    }
}

fn seed() -> u64 {
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| u64::from(since.subsec_nanos()));
    nanos ^ u64::from(std::process::id()).wrapping_mul(0x9E37_79B9)
}
