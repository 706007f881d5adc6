//! Media of one bridged call: two legs, two pipes, and the bridge that joins them.
//!
//! [`Bridge`] is the whole: datagrams, orders and time in, datagrams and reports out. The WhatsApp
//! leg is a [`webrtc_leg::WebRtcLeg`]; the values of [`order`] are all that signalling sees of it.

pub mod bridge;
pub mod dtls;
pub mod fuzz;
pub mod ice;
pub mod order;
pub mod srtp;
pub mod webrtc_leg;

pub mod concealer;
pub mod digits;
pub mod frames;
pub mod latch;
pub mod line;
pub mod outbox;
pub mod reorder;
pub mod rtcp;
pub mod rtp_leg;
pub mod summary;
pub mod to_meta;
pub mod to_phone;
pub mod voice;

#[cfg(test)]
mod stories;
#[cfg(test)]
mod world;

pub use bridge::{Bridge, BridgeSettings};
pub use order::{LegFailure, MetaSide, OpenRefusal, OpenSpec, Order, PhoneSide, Report, Side, Stage};
pub use outbox::{BridgePort, Transmit};
pub use summary::{DirectionSummary, Histogram, Summary};
