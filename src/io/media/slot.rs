//! What a call's sockets lead to: a bridge to WhatsApp, or a relay between desks.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::flow::Flow;
use crate::id::Seat;
use crate::media::relay::Carries;
use crate::media::{Bridge, BridgePort, Order, Relay, RelayOrder, RelayPort, RelayReport, Report, Side};
use crate::time::Now;

/// Sockets of a call at most.
pub(super) const SOCKETS: usize = 4;

/// The media of one call.
#[derive(Debug)]
pub(super) enum Media {
    /// The outside port, then the inside pair.
    Bridge(Box<Bridge>),
    /// Two inside pairs, the caller's first.
    Relay(Box<Relay>),
}

/// A datagram to send.
pub(super) struct Outgoing<'a> {
    pub(super) socket: usize,
    pub(super) to: SocketAddr,
    pub(super) bytes: &'a [u8],
    pub(super) transit: Option<(Side, Instant)>,
}

const BRIDGE_PORTS: [BridgePort; 3] = [BridgePort::WebRtc, BridgePort::Rtp, BridgePort::Rtcp];

const fn relay_port(socket: usize) -> RelayPort {
    let seat = if socket < 2 { Seat::Caller } else { Seat::Callee };
    let carries = if socket.is_multiple_of(2) { Carries::Rtp } else { Carries::Rtcp };
    RelayPort { seat, carries }
}

impl Media {
    pub(super) fn handle_arrival(
        &mut self,
        now: Now,
        arrived: Instant,
        socket: usize,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        match self {
            Self::Bridge(bridge) => {
                if let Some(port) = BRIDGE_PORTS.get(socket) {
                    bridge.handle_arrival(now, arrived, *port, from, bytes);
                }
            }
            Self::Relay(relay) => relay.handle_arrival(now, arrived, relay_port(socket), from, bytes),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        match self {
            Self::Bridge(bridge) => bridge.handle_timeout(now),
            Self::Relay(relay) => relay.handle_timeout(now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Bridge(bridge) => bridge.poll_timeout(),
            Self::Relay(relay) => relay.poll_timeout(),
        }
    }

    pub(super) fn close(&mut self, now: Now) {
        match self {
            Self::Bridge(bridge) => bridge.handle_order(now, Order::Close),
            Self::Relay(relay) => relay.handle_order(now, RelayOrder::Close),
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Outgoing<'_>> {
        match self {
            Self::Bridge(bridge) => bridge.poll_transmit().map(|it| {
                let socket = match it.port {
                    BridgePort::WebRtc => 0,
                    BridgePort::Rtp => 1,
                    BridgePort::Rtcp => 2,
                };
                Outgoing { socket, to: it.to, bytes: it.bytes, transit: it.transit }
            }),
            Self::Relay(relay) => relay.poll_transmit().map(|it| {
                let socket = it.port.seat.index() * 2 + usize::from(it.port.carries == Carries::Rtcp);
                Outgoing { socket, to: it.to, bytes: it.bytes, transit: it.transit }
            }),
        }
    }

    pub(super) fn poll_report(&mut self) -> Option<Report> {
        match self {
            Self::Bridge(bridge) => bridge.poll_report(),
            Self::Relay(relay) => relay.poll_report().map(Report::Relay),
        }
    }

    /// Packets of WhatsApp calls are counted by leg; those between desks only as datagrams.
    pub(super) fn flows(&self) -> Option<[Flow; 2]> {
        match self {
            Self::Bridge(bridge) => {
                let (to_phone, to_meta) = bridge.directions();
                Some([Flow::from(&to_phone), Flow::from(&to_meta)])
            }
            Self::Relay(_) => None,
        }
    }

    pub(super) fn note_transit(&mut self, towards: Side, delay: Duration) {
        if let Self::Bridge(bridge) = self {
            bridge.note_transit(towards, delay);
        }
    }

    /// What is told of media that is gone without a word.
    pub(super) fn lost(&self) -> Report {
        match self {
            Self::Bridge(_) => Report::Closed(Box::default()),
            Self::Relay(_) => Report::Relay(RelayReport::Closed(Box::default())),
        }
    }
}

/// Whether it is the last report of a call.
pub(super) const fn is_last(report: &Report) -> bool {
    matches!(report, Report::Closed(_) | Report::Relay(RelayReport::Closed(_)))
}
