//! What stands between the SIP leg's packets and the network: nothing, or SRTP under the keys of either way.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Instant;

use bytes::BytesMut;

use super::srtp::{Srtp, SrtpKeys};
use super::webrtc_leg::WebRtcLeg;
use crate::rtp::{PacketKind, packet_kind};
use crate::sdp::audio::{AudioRefusal, Keying};

/// The protection of one SIP leg.
#[derive(Debug, Default)]
pub enum Shield {
    /// Plain RTP.
    #[default]
    Clear,
    /// SRTP by keys in the session descriptions.
    Sdes(Box<Srtp>),
    /// SRTP by DTLS, over the pair that ICE found.
    Dtls(Box<WebRtcLeg>),
}

/// A packet in the clear.
#[derive(Debug)]
pub enum Opened<'a> {
    /// As it came.
    Plain(&'a [u8]),
    /// Decrypted.
    Decrypted(BytesMut),
}

impl Deref for Opened<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Decrypted(bytes) => bytes,
        }
    }
}

/// What a datagram turned out to be behind the shield.
#[derive(Debug)]
pub enum Behind<'a> {
    /// An RTP packet, from whom it claims to be unless the shield is down.
    Rtp(Opened<'a>),
    /// A compound RTCP packet, likewise.
    Rtcp(Opened<'a>),
    /// The shield's own business.
    Nothing,
    /// Forged, replayed, or not encrypted though it should be.
    Foreign,
}

impl Shield {
    /// Goes over to what was agreed. A leg by DTLS is `prepared`, and not prepared again while it stands.
    ///
    /// # Errors
    /// [`AudioRefusal`] if it cannot be done; what stood before stays.
    pub fn agree(&mut self, keying: &Keying, prepared: Option<Box<WebRtcLeg>>) -> Result<(), AudioRefusal> {
        match (keying, &mut *self) {
            (Keying::Clear, _) => *self = Self::Clear,
            (Keying::Sdes { ours, theirs }, Self::Sdes(srtp)) => {
                srtp.rekey(SrtpKeys::from_lines(ours, theirs)).ok_or(AudioRefusal::NoCrypto)?;
            }
            (Keying::Sdes { ours, theirs }, _) => {
                let srtp = Srtp::new(SrtpKeys::from_lines(ours, theirs)).ok_or(AudioRefusal::NoCrypto)?;
                *self = Self::Sdes(Box::new(srtp));
            }
            (Keying::Dtls(_), Self::Dtls(_)) => {}
            (Keying::Dtls(_), _) => *self = Self::Dtls(prepared.ok_or(AudioRefusal::NoDtls)?),
        }
        Ok(())
    }

    /// Looks at a datagram.
    pub fn open<'a>(&mut self, now: Instant, from: SocketAddr, bytes: &'a [u8]) -> Behind<'a> {
        let kind = packet_kind(bytes);
        match self {
            Self::Clear => match kind {
                PacketKind::Rtp => Behind::Rtp(Opened::Plain(bytes)),
                PacketKind::Rtcp => Behind::Rtcp(Opened::Plain(bytes)),
                _ => Behind::Nothing,
            },
            Self::Sdes(srtp) => {
                let found = match kind {
                    PacketKind::Rtp => srtp.unprotect_rtp(bytes).map(Opened::Decrypted).map(Behind::Rtp),
                    PacketKind::Rtcp => srtp.unprotect_rtcp(bytes).map(Opened::Decrypted).map(Behind::Rtcp),
                    _ => Some(Behind::Nothing),
                };
                found.unwrap_or(Behind::Foreign)
            }
            Self::Dtls(leg) => leg.open(now, from, bytes),
        }
    }
}
