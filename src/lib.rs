//! Cordboard puts WhatsApp Business calls on SIP desk phones and PBX trunks.
//!
//! The map, from what knows least to what knows most; a module may use what stands above it,
//! never what stands below (`tests/it/tidy.rs` holds the exact table).
//!
//! | layer | modules | rule |
//! | --- | --- | --- |
//! | words | [`id`] [`user`] [`masked`] [`time`] [`random`] | newtypes without logic |
//! | protocols | [`rtp`] [`codec`] [`sdp`] [`sip`] [`whatsapp`] | bytes and `now` in, values out; no clock, no socket |
//! | domain | [`dialplan`] [`policy`] [`media`] [`call`] [`billing`] | what the product decides; pure state machines |
//! | surface | [`config`] [`metrics`] | what an administrator writes and reads |
//! | world | [`io`] [`simulator`] | the only places that await, own sockets and read clocks |
//!
//! `call` and `media` never use each other: they meet in `io::signalling` as values.

pub mod billing;
pub mod call;
pub mod codec;
pub mod config;
pub mod dialplan;
pub mod id;
pub mod io;
pub mod masked;
pub mod media;
pub mod metrics;
pub mod policy;
pub mod random;
pub mod rtp;
pub mod sdp;
pub mod simulator;
pub mod sip;
pub mod time;
pub mod user;
pub mod whatsapp;
