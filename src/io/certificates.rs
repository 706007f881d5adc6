//! The certificate of our listeners follows its files, so that a renewal needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::io::tls::{ClientCertificates, TlsSetupError, server_config};

/// What the configuration is read from.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
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
pub fn reload_when_changed(
    files: CertificateFiles,
) -> Result<watch::Receiver<Arc<ServerConfig>>, TlsSetupError> {
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
                    tracing::info!("the SIP certificate was changed");
                }
                Looked::Unusable(error) => {
                    tracing::error!(%error, "the changed SIP certificate cannot be used: the old one stays");
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
        server_config(&self.certificate, &self.key, &self.clients)
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
            certificate: at("certificate.pem"),
            key: at("key.pem"),
            clients: ClientCertificates::Unasked,
        };
        let mut watched = Watched { seen: files.stamp(), warned: None, files };
        assert!(matches!(watched.look(), Looked::Same));
        write("certificate.pem", "-----BEGIN", 2);
        assert!(matches!(watched.look(), Looked::Unusable(_)));
        assert!(matches!(watched.look(), Looked::Same));
        issue(3);
        assert!(matches!(watched.look(), Looked::Changed(_)));
        assert!(matches!(watched.look(), Looked::Same));
    }
}
