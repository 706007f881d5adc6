//! TLS of our own: certificates and keys from files, for whoever calls us and towards trunks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

/// The certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file cannot be read, or holds no PEM of that kind.
    #[error("cannot read {what} from {path}")]
    Pem {
        /// `a certificate` or `a private key`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind nobody supports.
    #[error("the certificate and its key cannot be used")]
    Pair(#[source] rustls::Error),
    /// Nothing in the file can vouch for anybody.
    #[error("{path} holds no certificate that can be trusted")]
    Authorities {
        /// Which file.
        path: PathBuf,
    },
}

/// Whether those who call us by TLS show a certificate of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Unasked,
    /// They are asked; one that is shown must be good.
    Optional(PathBuf),
    /// Nobody gets in without.
    Required(PathBuf),
}

/// TLS 1.2 and 1.3 for a listener, without ALPN: SIP phones offer none.
///
/// # Errors
/// A file cannot be read, or certificate and key do not belong together.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    clients: &ClientCertificates,
) -> Result<ServerConfig, TlsSetupError> {
    let chain = certificates(certificate)?;
    let secret = private_key(key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Pair)?;
    let (ca, optional) = match clients {
        ClientCertificates::Unasked => {
            return builder
                .with_no_client_auth()
                .with_single_cert(chain, secret)
                .map_err(TlsSetupError::Pair);
        }
        ClientCertificates::Optional(ca) => (ca, true),
        ClientCertificates::Required(ca) => (ca, false),
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
    let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|_| TlsSetupError::Authorities { path: ca.clone() })?;
    builder.with_client_cert_verifier(verifier).with_single_cert(chain, secret).map_err(TlsSetupError::Pair)
}

/// TLS towards a trunk: it must show a certificate for its name that `ca` vouches for, or one that stands in `ca`
/// itself; without `ca` the system's authorities count. `identity` is what we show if we are asked: a chain and its key.
///
/// # Errors
/// The file cannot be read, or nothing in it can be trusted.
pub fn client_config(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let (roots, pinned) = match ca {
        Some(ca) => (roots(ca)?, certificates(ca)?),
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            (roots, Vec::new())
        }
    };
    let path = || ca.map_or_else(|| PathBuf::from("the system"), Path::to_owned);
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_| TlsSetupError::Authorities { path: path() })?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Pair)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedOrVouched { pinned, chain }));
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((own, key)) => builder
            .with_client_auth_cert(certificates(own)?, private_key(key)?)
            .map_err(TlsSetupError::Pair)?,
    };
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|source| TlsSetupError::Pem {
        what: "a certificate",
        path: path.to_owned(),
        source,
    })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsSetupError::Pem {
        what: "a private key",
        path: path.to_owned(),
        source,
    })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 { Err(TlsSetupError::Authorities { path: path.to_owned() }) } else { Ok(roots) }
}

/// What a PBX shows is good if an authority vouches for it by name, or if it is byte for byte what the administrator
/// has put into the file: PBXs sign their own certificates, which no chain can check.
#[derive(Debug)]
struct PinnedOrVouched {
    pinned: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for PinnedOrVouched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|it| it == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
