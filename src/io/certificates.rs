//! The certificates of our listeners follow their files, so that a renewal needs no restart (fault F23).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::io::tls::{ClientCertificates, TlsSetupError, certificates, server_config};

/// What a listener shows, as it is at the moment.
pub type Certificate = watch::Receiver<Arc<ServerConfig>>;

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listening {
    /// TLS and WSS of SIP.
    Sip,
    /// Meta's webhooks.
    Webhook,
    /// The API.
    Api,
}

impl Listening {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Webhook => "webhook",
            Self::Api => "api",
        }
    }
}

/// When each certificate in use ends, since 1970; a process has one listener of each kind.
static ENDS: Mutex<BTreeMap<Listening, Duration>> = Mutex::new(BTreeMap::new());

/// When the certificates in use end, since 1970.
#[must_use]
pub fn ends() -> Vec<(&'static str, Duration)> {
    let ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    ends.iter().map(|(listening, end)| (listening.as_str(), *end)).collect()
}

/// What the configuration is read from.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// For whom.
    pub listening: Listening,
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether callers show one of their own.
    pub clients: ClientCertificates,
}

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Reads the files, and again whenever they have changed; the new certificate counts for new connections.
///
/// Files that cannot be used change nothing: certificate and key are rarely replaced in the same instant.
///
/// # Errors
/// The files cannot be used now.
pub fn reload_when_changed(files: CertificateFiles) -> Result<Certificate, TlsSetupError> {
    let listener = files.listening.as_str();
    let first = Arc::new(files.read()?);
    let mut watched = Watched { seen: files.stamp(), warned: None, files };
    let (config, readers) = watch::channel(first);
    tokio::spawn(async move {
        while !config.is_closed() {
            tokio::time::sleep(LOOK).await;
            // A disk may hang; a thread of its own hangs with it.
            let looked = tokio::task::spawn_blocking(move || {
                let looked = watched.look();
                (watched, looked)
            });
            let Ok((back, looked)) = looked.await else { return };
            watched = back;
            match looked {
                Looked::Same => {}
                Looked::Changed(changed) => {
                    let _ = config.send(Arc::new(*changed));
                    tracing::info!(listener, "a certificate was changed");
                }
                Looked::Unusable(error) => {
                    tracing::error!(listener, %error, "a changed certificate cannot be used: the old one stays");
                }
            }
        }
    });
    Ok(readers)
}

/// The files and what was last seen of them.
struct Watched {
    files: CertificateFiles,
    seen: Stamp,
    /// What was already complained of.
    warned: Option<Stamp>,
}

/// What a look at the files shows.
#[derive(Debug)]
enum Looked {
    Same,
    Changed(Box<ServerConfig>),
    Unusable(TlsSetupError),
}

impl Watched {
    fn look(&mut self) -> Looked {
        let stamp = self.files.stamp();
        if stamp == self.seen {
            return Looked::Same;
        }
        match self.files.read() {
            Ok(config) => {
                self.seen = stamp;
                Looked::Changed(Box::new(config))
            }
            Err(_) if self.warned == Some(stamp) => Looked::Same,
            Err(error) => {
                self.warned = Some(stamp);
                Looked::Unusable(error)
            }
        }
    }
}

/// When each file was last written.
type Stamp = [Option<SystemTime>; 3];

impl CertificateFiles {
    fn read(&self) -> Result<ServerConfig, TlsSetupError> {
        let mut config = server_config(&self.certificate, &self.key, &self.clients)?;
        if self.listening != Listening::Sip {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        if let Some(end) = self.end() {
            ENDS.lock().unwrap_or_else(PoisonError::into_inner).insert(self.listening, end);
        }
        Ok(config)
    }

    /// When the leaf ends, since 1970.
    fn end(&self) -> Option<Duration> {
        let chain = certificates(&self.certificate).ok()?;
        let (_, leaf) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        u64::try_from(leaf.validity().not_after.timestamp()).ok().map(Duration::from_secs)
    }

    fn stamp(&self) -> Stamp {
        let written = |path: &Path| std::fs::metadata(path).and_then(|it| it.modified()).ok();
        let authorities = match &self.clients {
            ClientCertificates::Unasked => None,
            ClientCertificates::Optional(path) | ClientCertificates::Required(path) => written(path),
        };
        [written(&self.certificate), written(&self.key), authorities]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_pair_is_taken_up_once_and_a_broken_one_is_told_once_and_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str, age: u64| {
            std::fs::write(at(name), text).expect("written");
            let file = std::fs::File::options().write(true).open(at(name)).expect("open");
            // The clock of a file system is coarse: each version gets a time of its own.
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(age)).expect("set");
        };
        let issue = |age: u64| {
            let made = rcgen::generate_simple_self_signed(vec!["gw.example.com".to_owned()]).expect("made");
            write("certificate.pem", &made.cert.pem(), age);
            write("key.pem", &made.signing_key.serialize_pem(), age);
        };
        issue(1);
        let files = CertificateFiles {
            listening: Listening::Webhook,
            certificate: at("certificate.pem"),
            key: at("key.pem"),
            clients: ClientCertificates::Unasked,
        };
        let mut watched = Watched { seen: files.stamp(), warned: None, files };
        assert!(matches!(watched.look(), Looked::Same));
        write("certificate.pem", "-----BEGIN", 2);
        assert!(matches!(watched.look(), Looked::Unusable(_)));
        assert!(matches!(watched.look(), Looked::Same));
        let of_webhook = || ends().into_iter().find(|(listener, _)| *listener == "webhook");
        issue(3);
        let Looked::Changed(config) = watched.look() else { panic!("a new pair") };
        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
        // rcgen's certificates end on 1 January 4096.
        assert_eq!(of_webhook().map(|(_, end)| end.as_secs()), Some(67_090_118_400));
        assert!(matches!(watched.look(), Looked::Same));
    }
}
