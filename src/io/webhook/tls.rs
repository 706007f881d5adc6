//! The endpoint's own TLS, for installations without a proxy in front.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
}

/// Reads a certificate chain (leaf first) and its key from PEM files. Meta refuses self-signed ones (reference §9.2).
///
/// # Errors
/// A file cannot be read, or the two do not belong together.
pub fn tls_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsSetupError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsSetupError::Pem { what, path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(failed("a certificate", certificate))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(failed("a private key", key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|it| it.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(TlsSetupError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
