//! The world: the only place that awaits, owns sockets and reads clocks.

pub mod graph;
pub mod store;
pub mod webhook;
