//! Session descriptions (RFC 8866): read liberally, written exactly.
//!
//! [`session`] knows the grammar, [`webrtc`] the one audio section towards Meta, [`audio`] the
//! audio section of a SIP leg and its offer/answer (RFC 3264), [`protection`] and [`crypto`] what keeps its
//! sound from others, [`narrow`] what one phone is shown of an offer.

pub mod audio;
pub mod crypto;
pub mod fuzz;
pub mod narrow;
pub mod protection;
pub mod session;
pub mod transport;
pub mod webrtc;
