//! The world: the only place that awaits, owns sockets and reads clocks.

pub mod admin;
pub mod cli;
pub mod store;
pub mod systemd;
