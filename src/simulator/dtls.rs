//! DTLS and SRTP of one call, by the `rtc` family: a stack that is not the gateway's own (design: libraries).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest;
use bytes::BytesMut;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Offered;
use rtc_srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use super::stun::Crypto;

/// Every call has its own endpoint, so the address by which the crate tells associations apart is a constant.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);

/// Which end of the handshake we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We send the ClientHello.
    Client,
    /// We wait for it.
    Server,
}

/// The certificate of the stand-in and the two configurations made from it, once per process.
pub(super) struct Identity {
    /// SHA-256 of the certificate, for the SDP.
    pub(super) fingerprint: [u8; 32],
    /// The cryptography that everything here uses.
    pub(super) crypto: Crypto,
    server: Arc<HandshakeConfig>,
    client: Arc<HandshakeConfig>,
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

impl Identity {
    /// A fresh self-signed P-256 certificate.
    pub(super) fn generate() -> io::Result<Self> {
        let crypto = rtc_stun::crypto::default_provider().map_err(failed)?;
        let certificate =
            Certificate::generate_self_signed(vec!["whatsapp-stand-in".to_owned()], crypto.crypto())
                .map_err(failed)?;
        let der = certificate.certificate.first().ok_or_else(|| failed("no certificate was made"))?;
        let fingerprint = sha256(der);
        let build = |client: bool| {
            ConfigBuilder::default()
                .with_crypto_provider(crypto.clone())
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(vec![
                    Offered::Srtp_Aes128_Cm_Hmac_Sha1_80,
                    Offered::Srtp_Aead_Aes_128_Gcm,
                ])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Request)
                // Self-signed by nature: the fingerprint of the SDP is compared after the handshake.
                .with_insecure_skip_verify(true)
                .build(client, Some(PEER))
                .map(Arc::new)
                .map_err(failed)
        };
        Ok(Self { fingerprint, server: build(false)?, client: build(true)?, crypto })
    }
}

/// How a handshake ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DtlsFault {
    /// The certificate is not the one of the SDP.
    WrongFingerprint,
    /// No SRTP profile in common, or the library gave up.
    Failed(String),
}

/// One association.
pub(super) struct Dtls {
    endpoint: Endpoint,
    role: Role,
    expected: [u8; 32],
    crypto: Crypto,
    up: bool,
}

impl Dtls {
    /// Begins; as a client the ClientHello is ready for [`Self::poll_transmit`] at once.
    pub(super) fn new(
        identity: &Identity,
        role: Role,
        expected: [u8; 32],
        now: Instant,
    ) -> Result<Self, DtlsFault> {
        let server = (role == Role::Server).then(|| identity.server.clone());
        let mut endpoint = Endpoint::new(PEER, Default::default(), server);
        if role == Role::Client {
            endpoint.connect(now, PEER, identity.client.clone(), None).map_err(Self::gave_up)?;
        }
        Ok(Self { endpoint, role, expected, crypto: identity.crypto.clone(), up: false })
    }

    fn gave_up(error: impl std::fmt::Display) -> DtlsFault {
        DtlsFault::Failed(error.to_string())
    }

    /// One datagram of the peer; the keys, once, when the handshake is complete.
    pub(super) fn read(&mut self, now: Instant, bytes: &[u8]) -> Result<Option<Srtp>, DtlsFault> {
        let events = match self.endpoint.read(now, PEER, None, BytesMut::from(bytes)) {
            Ok(events) => events,
            // Once up, nothing that arrives may end the call but the peer's own alert, which we do not need.
            Err(_) if self.up => return Ok(None),
            Err(error) => return Err(Self::gave_up(error)),
        };
        let complete = events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        if !complete || self.up {
            return Ok(None);
        }
        self.up = true;
        self.keys().map(Some)
    }

    fn keys(&self) -> Result<Srtp, DtlsFault> {
        let state =
            self.endpoint.get_connection_state(PEER).ok_or_else(|| Self::gave_up("no association"))?;
        let shown =
            state.peer_certificates.first().ok_or_else(|| Self::gave_up("no certificate was shown"))?;
        if sha256(shown) != self.expected {
            return Err(DtlsFault::WrongFingerprint);
        }
        let profile = match state.srtp_protection_profile() {
            Offered::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Offered::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            _ => return Err(Self::gave_up("no SRTP profile in common")),
        };
        let mut config = Config { profile, ..Config::default() };
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())
            .map_err(Self::gave_up)?
            .into_bytes();
        config
            .set_session_keys_from_keying_material(&material, self.role == Role::Client)
            .map_err(Self::gave_up)?;
        Srtp::new(&config, &self.crypto).map_err(Self::gave_up)
    }

    /// What to send to the peer.
    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// When a flight is to be repeated.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER).filter(|_| !self.up)
    }

    /// Repeats a flight that is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFault> {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(PEER, now).map_err(Self::gave_up)?;
        }
        Ok(())
    }
}

/// The keys of one call, both directions.
pub(super) struct Srtp {
    ours: Context,
    theirs: Context,
    profile: ProtectionProfile,
}

impl Srtp {
    fn new(config: &Config, crypto: &Crypto) -> Result<Self, String> {
        let (keys, profile) = (&config.keys, config.profile);
        let ours = Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            profile,
            None,
            None,
            crypto.crypto(),
        )
        .map_err(|error| error.to_string())?;
        let theirs = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(srtp_replay_protection(256)),
            Some(srtcp_replay_protection(256)),
            crypto.crypto(),
        )
        .map_err(|error| error.to_string())?;
        Ok(Self { ours, theirs, profile })
    }

    /// The negotiated profile, for the call's report.
    pub(super) fn profile(&self) -> &'static str {
        match self.profile {
            ProtectionProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            _ => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    /// An RTP packet for the wire.
    pub(super) fn protect_rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.ours.encrypt_rtp(packet).ok()
    }

    /// An RTCP packet for the wire.
    pub(super) fn protect_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.ours.encrypt_rtcp(packet).ok()
    }

    /// An RTP packet off the wire; `None` if it does not authenticate or was seen before.
    pub(super) fn open_rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.theirs.decrypt_rtp(packet).ok()
    }

    /// An RTCP packet off the wire, likewise.
    pub(super) fn open_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.theirs.decrypt_rtcp(packet).ok()
    }
}
