//! Media of one bridged call.

pub mod dtls;
pub mod ice;
pub mod srtp;
pub mod webrtc_leg;

mod concealer;
mod digits;
mod frames;
mod latch;
mod line;
mod reorder;
mod summary;
mod to_meta;
mod to_phone;

pub use summary::{DirectionSummary, Histogram, Summary};
