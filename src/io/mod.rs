//! The world: the only place that awaits, owns sockets and reads clocks.

pub mod admin;
pub mod api;
pub mod app;
pub mod asking;
pub mod bans;
pub mod bench;
pub mod chart;
pub mod cli;
pub mod desk;
pub mod dns;
pub mod export;
pub mod graph;
mod listeners;
pub mod media;
pub mod phones;
pub mod recording;
pub mod signalling;
pub mod sip;
mod sip_start;
pub mod sounds;
pub mod spans;
pub mod store;
pub mod systemd;
pub mod tls;
mod trunks;
pub mod voicemail;
pub mod webhook;
