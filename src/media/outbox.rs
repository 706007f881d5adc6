//! Datagrams waiting to be sent, in storage that is used again and again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::order::Side;

/// One of a bridge's three UDP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BridgePort {
    /// The WhatsApp leg's: STUN, DTLS, SRTP and SRTCP.
    WebRtc,
    /// The SIP leg's even one.
    Rtp,
    /// The SIP leg's odd one.
    Rtcp,
}

/// A datagram to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a, P = BridgePort> {
    /// From which port.
    pub port: P,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
    /// For media made from a received packet: where it goes and when that packet was received.
    pub transit: Option<(Side, Instant)>,
}

#[derive(Debug)]
struct Entry<P> {
    port: P,
    to: SocketAddr,
    end: usize,
    transit: Option<(Side, Instant)>,
}

/// A queue of datagrams.
#[derive(Debug)]
pub struct Outbox<P = BridgePort> {
    bytes: Vec<u8>,
    entries: VecDeque<Entry<P>>,
    start: usize,
}

impl<P> Default for Outbox<P> {
    fn default() -> Self {
        Self { bytes: Vec::new(), entries: VecDeque::new(), start: 0 }
    }
}

impl<P> Outbox<P> {
    /// Puts a datagram at the end.
    pub fn push(&mut self, port: P, to: SocketAddr, bytes: &[u8], transit: Option<(Side, Instant)>) {
        if self.entries.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.entries.push_back(Entry { port, to, end: self.bytes.len(), transit });
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Transmit<'_, P>> {
        let Entry { port, to, end, transit } = self.entries.pop_front()?;
        let bytes = &self.bytes[self.start..end];
        self.start = end;
        Some(Transmit { port, to, bytes, transit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_leave_in_order_and_the_storage_is_used_again() {
        let to = "127.0.0.1:9".parse().unwrap();
        let mut outbox: Outbox = Outbox::default();
        outbox.push(BridgePort::Rtp, to, b"one", None);
        outbox.push(BridgePort::Rtcp, to, b"", None);
        assert_eq!(outbox.pop().unwrap().bytes, b"one");
        outbox.push(BridgePort::WebRtc, to, b"three", None);
        assert_eq!(outbox.pop().unwrap().bytes, b"");
        assert_eq!(outbox.pop().unwrap().bytes, b"three");
        assert_eq!(outbox.pop(), None);
        outbox.push(BridgePort::Rtp, to, b"four", None);
        assert_eq!(outbox.bytes, b"four");
    }
}
