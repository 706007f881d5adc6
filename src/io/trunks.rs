//! Trunks of the configuration as the user agent wants them.

use std::time::Duration;

use crate::config::{ProbeConfig, TrunkConfig, TrunkTransport};
use crate::sip::trunk::{Login, ProbeSettings, RegisterSettings, TrunkLimits, TrunkServer};
use crate::sip::{Transport, TrunkPeer};

/// One trunk.
pub(super) fn peer(trunk: &TrunkConfig) -> TrunkPeer {
    let server = |it: &crate::config::ServerConfig| TrunkServer {
        address: it.address,
        priority: it.priority,
        weight: it.weight,
    };
    TrunkPeer {
        name: trunk.name.clone(),
        servers: trunk.servers.iter().map(server).collect(),
        transport: match trunk.transport {
            TrunkTransport::Udp => Transport::Udp,
            TrunkTransport::Tcp => Transport::Tcp,
            TrunkTransport::Tls => Transport::Tls,
        },
        sources: trunk.sources.clone(),
        domain: trunk.domain.clone(),
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
