//! DTLS 1.2 of one leg: the handshake that proves the far end's certificate and yields SRTP keys.
//!
//! The only file that names `dimpl`; the leg knows [`DtlsEndpoint`] only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use dimpl::{Dtls, DtlsCertificate, Output};
use subtle::ConstantTimeEq;

use super::srtp::{SrtpKeys, SrtpProfile};

/// First retransmission; it doubles with each. RFC 6347 §4.2.4.1 proposes 1 s and allows less where
/// the round trip is known to be short, as it is once ICE has measured it.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(200);
/// Retransmissions of one flight, over 51 s: the deadline ends it first.
const RETRANSMISSIONS: usize = 8;
/// The whole handshake; Meta hangs up after 20 s without media.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// The largest datagram that is taken, and room for one of ours (1,150 bytes at most).
const DATAGRAM: usize = 2048;
/// Received records that the library holds for reassembly.
const QUEUE: usize = 30;
/// Room for a peer's certificate. The library panics if it does not fit, so the room is all that the
/// queue can hold.
const HANDSHAKE_ROOM: usize = DATAGRAM * QUEUE;

/// Who we are towards every WebRTC peer: one certificate (ECDSA P-256) and one checked configuration.
///
/// Made once per process, because checking the cryptography costs more than a whole call.
pub struct Identity {
    config: Arc<dimpl::Config>,
    certificate: DtlsCertificate,
    fingerprint: [u8; 32],
}

/// An [`Identity`] could not be made: the cryptography library failed its own checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DTLS certificate or configuration could not be made")]
pub struct IdentityError;

impl Identity {
    /// A fresh certificate and the configuration that all legs share.
    ///
    /// # Errors
    /// [`IdentityError`] if the cryptography library is broken on this machine.
    pub fn generate() -> Result<Self, IdentityError> {
        let certificate =
            dimpl::certificate::generate_self_signed_certificate().map_err(|_| IdentityError)?;
        let config = dimpl::Config::builder()
            .flight_start_rto(FIRST_RETRANSMISSION)
            .flight_retries(RETRANSMISSIONS)
            .handshake_timeout(HANDSHAKE)
            // ICE has already proven the peer's address: a cookie would only cost a round trip.
            .use_server_cookie(false)
            .max_queue_rx(QUEUE)
            .build()
            .map_err(|_| IdentityError)?;
        let fingerprint = sha_256(&certificate.certificate);
        Ok(Self { config: Arc::new(config), certificate, fingerprint })
    }

    /// The SHA-256 hash of the certificate, for `a=fingerprint`.
    #[must_use]
    pub const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Begins a handshake with the peer whose certificate has the hash `expected`.
    #[must_use]
    pub fn start(&self, role: DtlsRole, expected: [u8; 32], now: Instant) -> Box<dyn DtlsEndpoint> {
        let mut dtls = Dtls::new_12(Arc::clone(&self.config), self.certificate.clone(), now);
        dtls.set_active(role == DtlsRole::Client);
        let mut endpoint =
            Endpoint { dtls, role, expected, progress: Progress::Handshake, connected: false, timeout: None };
        endpoint.feed(now, None);
        Box::new(endpoint)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Which side opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// We send the ClientHello.
    Client,
    /// We wait for it.
    Server,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsFailure {
    /// The peer's certificate is not the one that its SDP announced.
    FingerprintMismatch,
    /// The handshake ended without an SRTP profile that both sides know.
    NoSrtpProfile,
    /// Nothing, or not enough, came back within 20 s.
    TimedOut,
    /// The peer closed the connection during the handshake.
    Closed,
    /// The peer broke the protocol or sent a fatal alert.
    Handshake,
}

/// What a DTLS endpoint has to say.
#[derive(Debug)]
pub enum DtlsOutput {
    /// To be sent to the peer.
    Datagram(Vec<u8>),
    /// Connected, the certificate is the announced one, and these are the keys.
    Keys(SrtpKeys),
    /// There will be no keys; the endpoint is of no further use.
    Failed(DtlsFailure),
    /// The connected peer said goodbye (`close_notify`).
    Closed,
}

/// A DTLS back end, one connection, without sockets or clocks.
pub trait DtlsEndpoint: Send {
    /// Takes a datagram of the peer.
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]);
    /// Lets time pass; early and extra calls do nothing.
    fn handle_timeout(&mut self, now: Instant);
    /// What came of it; to be called until [`None`] after each of the above.
    fn poll_output(&mut self) -> Option<DtlsOutput>;
    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
}

/// How far the connection has come.
enum Progress {
    /// No verdict on the certificate yet.
    Handshake,
    /// The certificate is the announced one.
    Verified,
    /// The keys are out; only retransmissions of the last flight and `close_notify` can follow.
    Up,
    /// Something went wrong that has not been said yet.
    Failing(DtlsFailure),
    /// Nothing more comes.
    Done,
}

/// `dimpl` as a [`DtlsEndpoint`].
struct Endpoint {
    dtls: Dtls,
    role: DtlsRole,
    expected: [u8; 32],
    progress: Progress,
    connected: bool,
    timeout: Option<Instant>,
}

impl Endpoint {
    fn feed(&mut self, now: Instant, datagram: Option<&[u8]>) {
        if matches!(self.progress, Progress::Failing(_) | Progress::Done) {
            return;
        }
        let mut outcome = self.dtls.handle_timeout(now);
        if let (Ok(()), Some(datagram)) = (&outcome, datagram.filter(|datagram| datagram.len() <= DATAGRAM)) {
            outcome = self.dtls.handle_packet(datagram);
        }
        if let Err(error) = outcome {
            // The keys do not depend on the connection any more: an error after them ends nothing.
            self.progress = match (&self.progress, error) {
                (Progress::Up, _) => Progress::Done,
                (_, dimpl::Error::Timeout(_)) => Progress::Failing(DtlsFailure::TimedOut),
                (_, dimpl::Error::ConnectionClosed) => Progress::Failing(DtlsFailure::Closed),
                (_, error) => {
                    tracing::debug!(%error, "DTLS handshake failed");
                    Progress::Failing(DtlsFailure::Handshake)
                }
            };
        }
    }

    fn fail(&mut self, failure: DtlsFailure) -> DtlsOutput {
        self.progress = Progress::Done;
        self.timeout = None;
        DtlsOutput::Failed(failure)
    }

    fn verify(&mut self, certificate: &[u8]) {
        let matches: bool = sha_256(certificate).ct_eq(&self.expected).into();
        self.progress =
            if matches { Progress::Verified } else { Progress::Failing(DtlsFailure::FingerprintMismatch) };
    }

    fn export(&mut self, material: &[u8], profile: dimpl::SrtpProfile) -> DtlsOutput {
        if !matches!(self.progress, Progress::Verified) {
            return self.fail(DtlsFailure::FingerprintMismatch);
        }
        let profile = match profile {
            dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmSha1_80),
            dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
            dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
            _ => None,
        };
        let we_are_client = self.role == DtlsRole::Client;
        match profile.and_then(|profile| SrtpKeys::from_exported(profile, material, we_are_client)) {
            Some(keys) => {
                self.progress = Progress::Up;
                DtlsOutput::Keys(keys)
            }
            None => self.fail(DtlsFailure::NoSrtpProfile),
        }
    }
}

impl DtlsEndpoint for Endpoint {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.feed(now, Some(datagram));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.feed(now, None);
    }

    fn poll_output(&mut self) -> Option<DtlsOutput> {
        let mut room =
            vec![0; if matches!(self.progress, Progress::Handshake) { HANDSHAKE_ROOM } else { DATAGRAM }];
        loop {
            if let Progress::Failing(failure) = self.progress {
                return Some(self.fail(failure));
            }
            if matches!(self.progress, Progress::Done) {
                self.timeout = None;
                return None;
            }
            match self.dtls.poll_output(&mut room) {
                Output::Packet(datagram) => return Some(DtlsOutput::Datagram(datagram.to_vec())),
                Output::BufferTooSmall { needed } => room.resize(needed, 0),
                Output::PeerCert(certificate) => {
                    let certificate = certificate.to_vec();
                    self.verify(&certificate);
                }
                Output::KeyingMaterial(material, profile) => return Some(self.export(&material, profile)),
                Output::CloseNotify => {
                    let up = matches!(self.progress, Progress::Up);
                    let closed = self.fail(DtlsFailure::Closed);
                    return Some(if up { DtlsOutput::Closed } else { closed });
                }
                Output::Connected => self.connected = true,
                Output::Timeout(_) if self.connected && matches!(self.progress, Progress::Verified) => {
                    self.progress = Progress::Failing(DtlsFailure::NoSrtpProfile);
                }
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return None;
                }
                // Application data has no meaning here.
                _ => {}
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

fn sha_256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}
