//! Trunks of the configuration as the user agent wants them.

use std::time::Duration;

use super::sip_start::digest_of;
use crate::config::{Config, ProbeConfig, ServerAt, TrunkConfig, TrunkTransport};
use crate::masked::Secret;
use crate::sip::locate::{Families, Sought};
use crate::sip::trunk::{
    CallerProof, LocateSettings, Login, NamedServer, ProbeSettings, RegisterSettings, Sources, TrunkLimits,
    TrunkServer,
};
use crate::sip::{Transport, TrunkPeer};

/// Says which trunks are believed by their address alone though a datagram can be forged, and may call at our cost.
pub(super) fn warn_of_forgery(config: &Config) {
    let forgeable = |trunk: &&TrunkConfig| trunk.transport == TrunkTransport::Udp && trunk.auth.is_none();
    for trunk in config.trunks.iter().filter(forgeable) {
        let dials = config.numbers.iter().flat_map(|it| &it.dial).any(|it| it.trunks.contains(&trunk.name));
        if dials {
            tracing::warn!(
                trunk = %trunk.name,
                "calls to WhatsApp are taken from this trunk by its address alone, which a datagram can forge; where \
                 others can send into that network set auth, or transport = \"tls\""
            );
        }
    }
}

/// One trunk.
pub(super) fn peer(config: &Config, trunk: &TrunkConfig) -> TrunkPeer {
    let transport = match trunk.transport {
        TrunkTransport::Udp => Some(Transport::Udp),
        TrunkTransport::Tcp => Some(Transport::Tcp),
        TrunkTransport::Tls => Some(Transport::Tls),
        TrunkTransport::Auto => None,
    };
    let (mut servers, mut named) = (Vec::new(), Vec::new());
    for server in &trunk.servers {
        let (priority, weight) = (server.priority, server.weight);
        match &server.at {
            ServerAt::Address(address) => servers.push(TrunkServer { address: *address, priority, weight }),
            ServerAt::Name { host, port } => {
                let sought =
                    Sought { host: host.clone(), port: *port, transport, families: families(config) };
                named.push(NamedServer { sought, priority, weight });
            }
        }
    }
    let name = named.first().map(|it| it.sought.host.clone());
    TrunkPeer {
        name: trunk.name.clone(),
        servers,
        named,
        locating: LocateSettings { patience: config.sip.dns.wait, stale: config.sip.dns.stale },
        transport: transport.unwrap_or_default(),
        sources: trunk.sources.clone().map_or(Sources::Servers, Sources::Networks),
        domain: trunk.domain.clone().or(name),
        proof: trunk.auth.as_ref().map(|it| CallerProof {
            user: it.user.clone(),
            algorithm: digest_of(it.algorithm),
            ha1: Secret::new(digest_of(it.algorithm).ha1(&it.user, &config.sip.realm, it.password.expose())),
        }),
        login: trunk.login.as_ref().map(|it| Login { user: it.user.clone(), password: it.password.clone() }),
        register: trunk
            .register
            .as_ref()
            .map(|it| RegisterSettings { expires: it.expires, ..RegisterSettings::new(&it.user) }),
        probe: trunk.probe.enabled.then(|| probe(trunk.probe)),
        limits: TrunkLimits { calls: trunk.max_calls, per_second: trunk.max_calls_per_second },
        numbering: trunk.numbers.clone(),
        presentation: trunk.caller,
        fact_headers: trunk.headers.clone(),
        srtp: trunk.srtp,
    }
}

/// The addresses that we can send from.
fn families(config: &Config) -> Families {
    let own = |v4: bool| config.sip.udp.iter().any(|it| it.advertised.is_ipv4() == v4);
    match (own(true), own(false)) {
        (true, true) => Families::Both,
        (false, true) => Families::V6,
        _ => Families::V4,
    }
}

fn probe(probe: ProbeConfig) -> ProbeSettings {
    let known = ProbeSettings::default();
    ProbeSettings {
        every: probe.every,
        recheck: known.recheck.min(probe.every),
        // An answer must have come before the next question.
        patience: known.patience.min(probe.every.saturating_sub(Duration::from_millis(500))),
        down_after: probe.down_after,
        up_after: probe.up_after,
    }
}
