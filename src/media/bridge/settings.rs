//! What every bridge of a worker has alike, and its sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::media::dtls::Identity;
use crate::random::Random;
use crate::sdp::webrtc::FingerprintCase;

/// What a bridge needs besides the call's own wishes.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// What the WhatsApp leg's socket is bound to.
    pub webrtc_local: SocketAddr,
    /// Its addresses as the outside sees them, best first.
    pub webrtc_candidates: Vec<SocketAddr>,
    /// The process's certificate.
    pub identity: Arc<Identity>,
    /// How the hash name is written.
    pub fingerprint_case: FingerprintCase,
    /// The SIP leg's even port, as the phone sees it.
    pub rtp: SocketAddr,
    /// Its odd port.
    pub rtcp: SocketAddr,
    /// Randomness of this call.
    pub random: Random,
}
