//! Media of one bridged call.

pub mod dtls;
pub mod ice;
pub mod srtp;
pub mod webrtc_leg;
