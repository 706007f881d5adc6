//! What the defence is told at birth.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::super::flow::Transport;
use super::pace::Rate;
use super::source::{Acl, Listed};

/// Whom to hear, how fast, and when to stop hearing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefenceSettings {
    /// Whether anybody is banned or slowed down; the access list holds in any case.
    pub enabled: bool,
    /// Which addresses may speak at all; trunks may always, unless they are denied.
    pub acl: Acl,
    /// If there are some for a transport, only these and trunks may come by it.
    pub by_transport: BTreeMap<Transport, Vec<IpNet>>,
    /// Never banned, and trusted with as many messages as a trunk.
    pub trusted: Vec<IpNet>,
    /// Words in a User-Agent that name a scanner, in lower case.
    pub scanners: Vec<String>,
    /// Wrong passwords for one user from one source within `window` before the pair is banned.
    pub failures: usize,
    /// Names that nobody proved, or broken messages, from one source within `window` before it is doubted.
    pub strangers: usize,
    /// See `failures` and `strangers`.
    pub window: Duration,
    /// How long the first ban lasts; each further one doubles.
    pub ban: Duration,
    /// The longest ban.
    pub ban_max: Duration,
    /// Messages of one source that proved nothing yet; trunks and registered phones may send fifty times as many.
    pub rate: Rate,
    /// New requests of all sources together, per second; more get 503.
    pub new_requests: u32,
    /// Sources that are remembered at one time.
    pub max_sources: usize,
}

impl DefenceSettings {
    /// Whether an address may come by a transport at all; a `friend` is a trunk, or whom the administrator trusts.
    #[must_use]
    pub fn lets_in(&self, transport: Transport, from: IpAddr, friend: bool) -> bool {
        let from = from.to_canonical();
        let only = self.by_transport.get(&transport).map_or(&[][..], Vec::as_slice);
        let listed = only.is_empty() || only.iter().any(|net| net.contains(&from));
        match self.acl.judge(from) {
            Listed::Denied => false,
            Listed::Missing => friend,
            Listed::Allowed => listed || friend,
        }
    }
}

/// User-Agents of tools that look for gateways to abuse.
pub const SCANNERS: [&str; 10] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sip-scan",
    "sipcli",
    "sundayddr",
    "vaxsipuseragent",
    "pplsip",
    "siparmyknife",
    "iwar/",
];

impl Default for DefenceSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            acl: Acl::default(),
            by_transport: BTreeMap::new(),
            trusted: Vec::new(),
            scanners: SCANNERS.iter().map(|it| (*it).to_owned()).collect(),
            failures: 10,
            strangers: 20,
            window: Duration::from_secs(300),
            ban: Duration::from_secs(300),
            ban_max: Duration::from_secs(86_400),
            rate: Rate { per_second: 200, burst: 1000 },
            new_requests: 10_000,
            max_sources: 16_384,
        }
    }
}
