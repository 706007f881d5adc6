//! Session descriptions (RFC 8866): read liberally, written exactly.
//!
//! [`session`] knows the grammar, [`webrtc`] the one audio section towards Meta, [`audio`] the
//! audio section of a SIP leg and its offer/answer (RFC 3264).

pub mod audio;
pub mod fuzz;
pub mod session;
pub mod webrtc;
