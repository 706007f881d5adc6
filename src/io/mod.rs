//! The world: the only place that awaits, owns sockets and reads clocks.

pub mod media;
