//! The SIP side put together: sockets, certificates and the user agent's settings of a configuration.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::sync::watch;

use super::app::AppError;
use super::certificates::{CertificateFiles, Listening, reload_when_changed};
use super::signalling::mailbox_of;
use super::sip::{BindError, ConnectionLimits, Door, SocketSettings, Sockets, TrunkTls};
use super::tls::{ClientCertificates, client_config};
use crate::config::{self, Config, ServerAt, StreamTransport, TrunkConfig, TrunkTransport};
use crate::id::{Endpoint, TrunkName};
use crate::sip::{self, DigestAlgorithm, Listener, PhoneAccount, PhoneLamps, Transport};

/// Takes every address of `[sip]`.
pub(super) fn bind_sockets(config: &Config) -> Result<Sockets, AppError> {
    let connections = &config.sip.connections;
    let count = |it: u32| usize::try_from(it).unwrap_or(usize::MAX);
    let (trunks, named_trunks) = trunks(config)?;
    let settings = SocketSettings {
        udp: config.sip.udp.iter().map(|it| it.listen).collect(),
        streams: config.sip.streams.iter().map(|(kind, it)| (transport(*kind), it.listen)).collect(),
        tls: certificate(config)?,
        trunks,
        named_trunks,
        door: door(config),
        limits: ConnectionLimits {
            all: count(connections.max),
            per_address: count(connections.max_per_address),
            idle: connections.idle,
            connect: connections.connect,
            message: count(connections.max_message),
        },
    };
    Sockets::bind(settings).map_err(|BindError { transport, address, source }| {
        let key = match transport {
            Transport::Udp => "sip.listen",
            Transport::Tcp => "sip.tcp",
            Transport::Tls => "sip.tls",
            Transport::Ws => "sip.ws",
            Transport::Wss => "sip.wss",
        };
        AppError::Listen { key, address, source }
    })
}

fn certificate(config: &Config) -> Result<Option<watch::Receiver<Arc<rustls::ServerConfig>>>, AppError> {
    let Some(tls) = &config.sip.tls else { return Ok(None) };
    let files = CertificateFiles {
        listening: Listening::Sip,
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        clients: match tls.clients.clone() {
            config::ClientCertificates::Unasked => ClientCertificates::Unasked,
            config::ClientCertificates::Optional(ca) => ClientCertificates::Optional(ca),
            config::ClientCertificates::Required(ca) => ClientCertificates::Required(ca),
        },
    };
    reload_when_changed(files).map(Some).map_err(AppError::SipTls)
}

pub(super) const fn digest_of(algorithm: config::PasswordAlgorithm) -> DigestAlgorithm {
    match algorithm {
        config::PasswordAlgorithm::Md5 => DigestAlgorithm::Md5,
        config::PasswordAlgorithm::Sha256 => DigestAlgorithm::Sha256,
        config::PasswordAlgorithm::Sha512_256 => DigestAlgorithm::Sha512_256,
    }
}

/// Who may connect, as far as the file says; where trunks by name are comes from DNS.
fn door(config: &Config) -> Door {
    let networks = config.trunks.iter().filter_map(|it| it.sources.clone()).flatten().collect();
    let mut door = Door::new(config.sip.defence.clone(), networks);
    for trunk in &config.trunks {
        let addresses = trunk.servers.iter().filter_map(|it| match it.at {
            ServerAt::Address(address) => Some(address.ip()),
            ServerAt::Name { .. } => None,
        });
        door.set_trunk(&trunk.name, addresses);
    }
    door
}

type ByAddress = HashMap<std::net::SocketAddr, TrunkTls>;
type ByName = HashMap<TrunkName, TrunkTls>;

/// What trunks behind TLS must show, and what we show them.
fn trunks(config: &Config) -> Result<(ByAddress, ByName), AppError> {
    let (mut found, mut named) = (HashMap::new(), HashMap::new());
    let secure = |it: &&TrunkConfig| matches!(it.transport, TrunkTransport::Tls | TrunkTransport::Auto);
    for trunk in config.trunks.iter().filter(secure) {
        let identity =
            trunk.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let config = client_config(trunk.ca.as_deref(), identity).map_err(AppError::SipTls)?;
        let written = trunk.tls_name.clone().and_then(|it| ServerName::try_from(it).ok());
        for server in &trunk.servers {
            match &server.at {
                ServerAt::Address(address) => {
                    let own = ServerName::IpAddress(address.ip().into());
                    let name = written.clone().unwrap_or(own);
                    found.insert(*address, TrunkTls { name, config: config.clone() });
                }
                // The name that was asked for, not the one that DNS answered with (RFC 5922 §4).
                ServerAt::Name { host, .. } => {
                    let own = ServerName::try_from(host.clone()).ok();
                    let Some(name) = written.clone().or(own) else { continue };
                    named
                        .entry(trunk.name.clone())
                        .or_insert_with(|| TrunkTls { name, config: config.clone() });
                }
            }
        }
    }
    Ok((found, named))
}

/// Where we listen, for people.
pub(super) fn told(sockets: &Sockets) -> String {
    let words = sockets.addresses().map(|(transport, at)| format!("{} {at}", transport.as_str()));
    words.collect::<Vec<_>>().join(", ")
}

const fn transport(kind: StreamTransport) -> Transport {
    match kind {
        StreamTransport::Tcp => Transport::Tcp,
        StreamTransport::Tls => Transport::Tls,
        StreamTransport::Ws => Transport::Ws,
        StreamTransport::Wss => Transport::Wss,
    }
}

/// Besides its own, a phone has the mailboxes of the numbers that ring it.
fn lamps(config: &Config, phone: &config::PhoneConfig) -> PhoneLamps {
    let mut lamps = PhoneLamps { takes_over: phone.take_over, ..phone.lamps.clone() };
    let own = Endpoint::Phone(phone.name.clone());
    let rung = |it: &&config::NumberConfig| it.ring.steps.iter().any(|step| step.targets.contains(&own));
    lamps.mailboxes.extend(config.numbers.iter().filter(rung).map(|it| mailbox_of(&it.label)));
    lamps
}

/// What the user agent is told.
pub(super) fn settings(config: &Config, sockets: &Sockets) -> sip::Settings {
    let advertised = config.sip.udp.iter().chain(config.sip.streams.iter().map(|(_, it)| it));
    // The sockets stand in the order of the configuration.
    let mut listeners: Vec<Listener> = sockets
        .addresses()
        .zip(advertised)
        .map(|((transport, local), at)| Listener { transport, local, advertised: at.advertised })
        .collect();
    let first = listeners.remove(0);
    let mut settings = sip::Settings::new(&config.sip.domain, first.advertised);
    settings.realm.clone_from(&config.sip.realm);
    settings.local = first.local;
    settings.listeners = listeners;
    settings.min_expires = config.sip.min_expires;
    settings.max_expires = config.sip.max_expires;
    settings.default_expires = config.sip.default_expires;
    settings.session_expires = config.sip.session_expires;
    settings.min_session_expires = config.sip.min_session_expires;
    settings.resync = config.sip.resync;
    settings.nonce_life = config.sip.nonce_life;
    if config.sip.show_version {
        settings.product = concat!("Cordboard/", env!("CARGO_PKG_VERSION")).to_owned();
    }
    settings.defence = config.sip.defence.clone();
    settings.watching = config.sip.lamps;
    settings.keep_alive = config.sip.keep_alive;
    settings.no_provisional = config.sip.trunk_no_answer;
    let phone = |phone: &config::PhoneConfig| PhoneAccount {
        name: phone.name.clone(),
        display: phone.display.clone(),
        algorithm: digest_of(phone.algorithm),
        ha1: phone.ha1.clone(),
        srtp: phone.srtp,
        lamps: lamps(config, phone),
        alerts: phone.alerts.clone(),
    };
    settings.phones = config.phones.iter().map(phone).collect();
    super::trunks::warn_of_forgery(config);
    settings.trunks = config.trunks.iter().map(|it| super::trunks::peer(config, it)).collect();
    settings
}
