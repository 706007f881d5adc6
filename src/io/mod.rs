//! The world: the only place that awaits, reads clocks and owns sockets.

pub mod admin;
pub mod cli;
pub mod systemd;
