//! Media of one bridged call: two legs, two pipes, and the bridge that joins them; and of a call between desks.
//!
//! [`Bridge`] is the whole: datagrams, orders and time in, datagrams and reports out. The WhatsApp
//! leg is a [`webrtc_leg::WebRtcLeg`]; the values of [`order`] are all that signalling sees of it.

pub mod bridge;
pub mod capacity;
pub mod dtls;
pub mod fuzz;
pub mod ice;
pub mod order;
pub mod srtp;
pub mod webrtc_leg;

pub mod announcer;
pub mod clip;
pub mod code_watch;
pub mod comfort;
pub mod concealer;
pub mod detector;
pub mod digits;
pub mod format;
pub mod frames;
pub mod hold;
pub mod jitter;
pub mod jitter_buffer;
pub mod latch;
pub mod leg_reports;
pub mod line;
pub mod outbox;
pub mod pacer;
pub mod packetizer;
pub mod player;
pub mod playout;
pub mod quality;
pub mod relay;
pub mod reorder;
pub mod reported;
pub mod rtcp;
pub mod rtp_leg;
pub mod shield;
pub mod silence;
pub mod stream;
pub mod stretch;
pub mod summary;
pub mod tap;
pub mod to_meta;
pub mod to_phone;
pub mod tone;
pub mod voice;

#[cfg(test)]
mod browser_stories;
#[cfg(test)]
mod codec_stories;
#[cfg(test)]
mod key_stories;
#[cfg(test)]
mod matrix_stories;
#[cfg(test)]
mod nat_stories;
#[cfg(test)]
mod playout_stories;
#[cfg(test)]
mod quality_stories;
#[cfg(test)]
mod sound_stories;
#[cfg(test)]
mod srtp_stories;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod succession_stories;
#[cfg(test)]
mod vigil_stories;
#[cfg(test)]
mod world;

pub use bridge::{Bridge, BridgeSettings};
pub use capacity::{Capacity, CapacityLimits, CapacityState, WorkerLoad};
pub use clip::{Clip, Repeat};
pub use jitter::Timing;
pub use order::{KeyWay, LegFailure, MetaSide, OpenRefusal, OpenSpec, Order, PhoneSide, Report, Side, Stage};
pub use outbox::{BridgePort, Transmit};
pub use quality::{Rating, StreamQuality};
pub use relay::{Relay, RelayOrder, RelayPort, RelayReport, RelaySettings, RelaySpec, RelaySummary};
pub use summary::{DirectionSummary, Histogram, Summary};
