//! The world: the only place that awaits, owns sockets and reads clocks.

pub mod admin;
pub mod cli;
pub mod graph;
pub mod media;
pub mod store;
pub mod systemd;
pub mod webhook;
