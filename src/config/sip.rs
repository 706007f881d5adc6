//! `[sip]`: where phones and trunks reach us, by which transports, and how long a registration holds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::defence::defence;
use super::dns::{DnsConfig, dns};
use super::lamps;
use super::reader::Section;
use super::ringing;
use super::sections::{HOUR, Listens, MINUTE, pem, secs};
use super::setting::{Setting, words};
use crate::sip::registrar::keepalive::KeepAlive;
use crate::sip::{DefenceSettings, Resync, WatchLimits};

/// `[sip]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipConfig {
    /// The UDP sockets; not empty. The first one is meant where only one can be named.
    pub udp: Vec<ListenAt>,
    /// The listeners of every other transport.
    pub streams: Vec<(StreamTransport, ListenAt)>,
    /// What the secure ones of them show.
    pub tls: Option<SipTlsConfig>,
    /// How many connections, how long, how large.
    pub connections: ConnectionsConfig,
    /// The host part of our addresses of record.
    pub domain: String,
    /// The digest realm; the HA1 of every phone depends on it.
    pub realm: String,
    /// How long a trunk may stay silent before the next target is tried.
    pub trunk_no_answer: Duration,
    /// The shortest registration that is granted.
    pub min_expires: Duration,
    /// The registration that is granted to a phone that asks for none.
    pub default_expires: Duration,
    /// The longest registration that is granted.
    pub max_expires: Duration,
    /// The session interval that calls ask for (RFC 4028).
    pub session_expires: Duration,
    /// The shortest that others may ask for.
    pub min_session_expires: Duration,
    /// What phones do that are asked to look for a new configuration.
    pub resync: Resync,
    /// How long a digest nonce may be used.
    pub nonce_life: Duration,
    /// Whether phones are told our version.
    pub show_version: bool,
    /// `[sip.dns]`
    pub dns: DnsConfig,
    /// `[sip.defence]`
    pub defence: DefenceSettings,
    /// `[sip.keep_alive]`
    pub keep_alive: KeepAlive,
    /// `[sip.lamps]`
    pub lamps: WatchLimits,
}

/// A socket, and the address under which peers reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAt {
    /// The local address.
    pub listen: SocketAddr,
    /// What stands in Via and Contact.
    pub advertised: SocketAddr,
}

/// A transport that has connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamTransport {
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket inside TLS.
    Wss,
}

impl StreamTransport {
    /// The key of its listeners.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// How calls to a trunk travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
    /// As DNS says of its name (RFC 3263 §4.1).
    Auto,
}

words!(TrunkTransport, "\"udp\", \"tcp\", \"tls\" or \"auto\"",
    "auto" => TrunkTransport::Auto, "udp" => TrunkTransport::Udp, "tcp" => TrunkTransport::Tcp, "tls" => TrunkTransport::Tls);

/// How keys are told on a SIP leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTelling {
    /// As telephone events where the far end takes them, else by INFO where it says that it takes those, else as tones.
    Auto,
    /// As tones only, whatever the far end says.
    Inband,
    /// By SIP INFO (`application/dtmf-relay`), as tones if the far end refuses those.
    Info,
}

words!(KeyTelling, "\"auto\", \"inband\" or \"info\"",
    "auto" => KeyTelling::Auto, "inband" => KeyTelling::Inband, "info" => KeyTelling::Info);

/// The certificate of the secure listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipTlsConfig {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whether callers show a certificate of their own.
    pub clients: ClientCertificates,
}

/// Whether those who connect by TLS show a certificate of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Unasked,
    /// They are asked; one that is shown must be vouched for by this file.
    Optional(PathBuf),
    /// Nobody gets in without.
    Required(PathBuf),
}

/// The word for whether a client certificate must be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    Optional,
    Required,
}

words!(Demand, "\"optional\" or \"required\"", "optional" => Demand::Optional, "required" => Demand::Required);

/// `[sip.connections]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionsConfig {
    /// Connections at one time.
    pub max: u32,
    /// Of them from one address.
    pub max_per_address: u32,
    /// A connection that nothing needs is closed after so much silence.
    pub idle: Duration,
    /// How long a connection to a trunk may take to open.
    pub connect: Duration,
    /// Bytes of the longest message.
    pub max_message: u32,
}

/// One address, or several.
struct Addresses(Vec<SocketAddr>);

impl Setting for Addresses {
    const WANTED: &'static str = "an IP address with a port, or a list of them";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let Some(items) = value.as_array() else { return SocketAddr::read(value).map(|it| Self(vec![it])) };
        let all = items.iter().map(|it| SocketAddr::read(it.get_ref())).collect::<Option<Vec<_>>>()?;
        (!all.is_empty()).then_some(Self(all))
    }
    fn write(&self) -> String {
        match self.0.as_slice() {
            [one] => one.write(),
            all => format!("[{}]", all.iter().map(Setting::write).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Reads the section.
pub(super) fn sip(section: &mut Section<'_, '_, '_>, listens: &mut Listens) -> Option<SipConfig> {
    let udp = section.or("listen", Addresses(vec![(Ipv4Addr::UNSPECIFIED, 5060).into()]));
    let written = section.optional::<Addresses>("advertised", "\"192.168.1.10:5060\"");
    let streams = streams(section);
    let tls = tls(section, &streams);
    let connections = section.part("connections", connections);
    for at in udp.iter().flat_map(|it| &it.0) {
        listens.sip.push(("sip.listen", *at));
    }
    for (transport, at) in streams.iter().flatten() {
        let key = match transport {
            StreamTransport::Tcp => "sip.tcp",
            StreamTransport::Tls => "sip.tls",
            StreamTransport::Ws => "sip.ws",
            StreamTransport::Wss => "sip.wss",
        };
        listens.sip.push((key, *at));
    }
    let (udp, streams) = advertise(section, udp, written, streams).unzip();
    let domain = section.optional::<String>("domain", "\"pbx.example.com\"");
    // A phone's HA1 holds the realm: a default that never changes keeps old passwords good.
    let realm = section.or("realm", "cordboard".to_owned());
    let silent = section.or("trunk_no_answer", secs(2));
    let why = "the calling user waits about 30 s in all";
    let trunk_no_answer =
        section.within("trunk_no_answer", silent, &(Duration::from_millis(500)..=secs(20)), why);
    let (min_expires, default_expires, max_expires) = expires(section);
    let (session_expires, min_session_expires) = sessions(section);
    let restart = section.or("resync_restarts", false);
    let nonce_life = section.or("nonce_life", secs(5 * MINUTE));
    let show_version = section.or("show_version", false);
    let dns = section.part("dns", dns);
    let defence = section.part("defence", defence);
    let keep_alive = section.part("keep_alive", ringing::keep_alive);
    let lamps = section.part("lamps", lamps::limits);
    let (domain, udp) = (domain?, udp?);
    let first: Option<&ListenAt> = udp.first();
    Some(SipConfig {
        domain: domain.or_else(|| first.map(|it| it.advertised.ip().to_string()))?,
        udp,
        streams: streams?,
        tls: tls?,
        connections: connections?,
        realm: realm?,
        trunk_no_answer: trunk_no_answer?,
        min_expires: min_expires?,
        default_expires: default_expires?,
        max_expires: max_expires?,
        session_expires: session_expires?,
        min_session_expires: min_session_expires?,
        resync: if restart? { Resync::Restart } else { Resync::Fetch },
        nonce_life: nonce_life?,
        show_version: show_version?,
        dns: dns?,
        defence: defence?,
        keep_alive: keep_alive?,
        lamps: lamps?,
    })
}

/// What calls ask for, and the least that others may ask for.
fn sessions(section: &mut Section<'_, '_, '_>) -> (Option<Duration>, Option<Duration>) {
    // RFC 4028 §4 recommends half an hour, §5 forbids less than 90 s.
    let least = Duration::from_secs(90);
    let limits = least..=Duration::from_hours(24);
    let why = "RFC 4028 allows no shorter session than 90 s";
    let wanted = section.or("session_expires", Duration::from_mins(30));
    let wanted = section.within("session_expires", wanted, &limits, why);
    let shortest = section.or("min_session_expires", least);
    (wanted, section.within("min_session_expires", shortest, &limits, why))
}

type Streams = Vec<(StreamTransport, SocketAddr)>;
type Advertised = Vec<(StreamTransport, ListenAt)>;

fn streams(section: &mut Section<'_, '_, '_>) -> Option<Streams> {
    let kinds = [
        ("tcp", StreamTransport::Tcp, "\"0.0.0.0:5060\""),
        ("tls", StreamTransport::Tls, "\"0.0.0.0:5061\""),
        ("ws", StreamTransport::Ws, "\"127.0.0.1:5066\""),
        ("wss", StreamTransport::Wss, "\"0.0.0.0:5067\""),
    ];
    // All are read before the first bad one ends it, so that all faults show.
    let read = kinds.map(|(key, kind, example)| (kind, section.optional::<Addresses>(key, example)));
    let mut found = Vec::new();
    for (kind, addresses) in read {
        found.extend(addresses?.into_iter().flat_map(|it| it.0).map(|at| (kind, at)));
    }
    Some(found)
}

fn tls(section: &mut Section<'_, '_, '_>, streams: &Option<Streams>) -> Option<Option<SipTlsConfig>> {
    let mut file = |key, example: &str| {
        if section.has(key) {
            pem(section, key, example).map(Some)
        } else {
            section.optional::<PathBuf>(key, example)
        }
    };
    let certificate = file("certificate", "\"/etc/cordboard/fullchain.pem\"");
    let key = file("key", "\"/etc/cordboard/privkey.pem\"");
    let client_ca = file("client_ca", "\"/etc/cordboard/phones-ca.pem\"");
    let demand = section.or("client_certificate", Demand::Optional);
    let secure = |(kind, _): &(StreamTransport, SocketAddr)| {
        matches!(kind, StreamTransport::Tls | StreamTransport::Wss)
    };
    let needed =
        streams.as_ref().and_then(|it| it.iter().find(|it| secure(it))).map(|(kind, _)| kind.as_str());
    let (certificate, key, client_ca, demand) = (certificate?, key?, client_ca?, demand?);
    let (Some(certificate), Some(key)) = (certificate.clone(), key.clone()) else {
        let (missing, example) = match certificate {
            None => ("certificate", "\"/etc/cordboard/fullchain.pem\""),
            Some(_) => ("key", "\"/etc/cordboard/privkey.pem\""),
        };
        let Some(needed) = needed else { return Some(None) };
        let problem = format!("must be there, because {needed} needs a certificate and its key");
        section.fault_of(missing, problem, format!("in [sip]: {missing} = {example}"));
        return None;
    };
    let clients = match (client_ca, demand) {
        (None, Demand::Optional) => ClientCertificates::Unasked,
        (Some(ca), Demand::Optional) => ClientCertificates::Optional(ca),
        (Some(ca), Demand::Required) => ClientCertificates::Required(ca),
        (None, Demand::Required) => {
            let problem = "nothing says which client certificates are good".to_owned();
            let remedy = "client_ca = \"/etc/cordboard/phones-ca.pem\"".to_owned();
            section.fault_of("client_certificate", problem, remedy);
            return None;
        }
    };
    Some(Some(SipTlsConfig { certificate, key, clients }))
}

/// Gives every socket the address that peers reach it by: of its own family, and the port it listens on; the port of
/// `advertised` counts for UDP.
fn advertise(
    section: &mut Section<'_, '_, '_>,
    udp: Option<Addresses>,
    written: Option<Option<Addresses>>,
    streams: Option<Streams>,
) -> Option<(Vec<ListenAt>, Advertised)> {
    let (udp, written, streams) = (udp?.0, written?.map_or_else(Vec::new, |it| it.0), streams?);
    let remedy = "advertised = \"192.168.1.10:5060\"  (this machine, as phones see it)";
    if let Some(wrong) = written.iter().find(|it| it.ip().is_unspecified()) {
        let problem = format!("{wrong} is every address and no address: phones could not call it");
        section.fault_of("advertised", problem, remedy.to_owned());
        return None;
    }
    let outside = |listen: SocketAddr| {
        let told = written.iter().find(|it| it.is_ipv4() == listen.is_ipv4()).copied();
        told.or(Some(listen).filter(|it| !it.ip().is_unspecified()))
    };
    let unreachable = udp.iter().chain(streams.iter().map(|(_, at)| at)).find(|at| outside(**at).is_none());
    if let Some(listen) = unreachable {
        let problem = format!("must be there, because {listen} names no address that a phone could call");
        section.fault_of("advertised", problem, format!("in [sip]: {remedy}"));
        return None;
    }
    let udp = udp.into_iter().filter_map(|listen| Some(ListenAt { listen, advertised: outside(listen)? }));
    let streams = streams.into_iter().filter_map(|(kind, listen)| {
        let advertised = SocketAddr::new(outside(listen)?.ip(), listen.port());
        Some((kind, ListenAt { listen, advertised }))
    });
    Some((udp.collect(), streams.collect()))
}

fn connections(section: &mut Section<'_, '_, '_>) -> Option<ConnectionsConfig> {
    let max = section.or("max", 4000);
    let max = section.within("max", max, &(1..=100_000), "each takes a descriptor and some 30 kB");
    // An office behind one NAT is one address (call-handling rule 23).
    let per_address = section.or("max_per_address", 1000);
    let idle = section.or("idle", secs(2 * MINUTE));
    let why = "a phone needs time to register, and nobody should hold connections for nothing";
    let idle = section.within("idle", idle, &(secs(5)..=secs(HOUR)), why);
    let connect = section.or("connect", secs(2));
    let why = "the calling user waits about 30 s in all";
    let connect = section.within("connect", connect, &(Duration::from_millis(100)..=secs(20)), why);
    let message = section.or("max_message", 65_536);
    let why = "an ordinary call needs 3,000, one with encryption and ICE 10,000";
    let max_message = section.within("max_message", message, &(8192..=1_048_576), why);
    Some(ConnectionsConfig {
        max: max?,
        max_per_address: per_address?,
        idle: idle?,
        connect: connect?,
        max_message: max_message?,
    })
}

/// The shortest, the usual and the longest registration.
fn expires(section: &mut Section<'_, '_, '_>) -> (Option<Duration>, Option<Duration>, Option<Duration>) {
    let min_expires = section.or("min_expires", secs(MINUTE));
    let default_expires = section.or("default_expires", secs(5 * MINUTE));
    let max_expires = section.or("max_expires", secs(HOUR));
    if let (Some(min), Some(default), Some(max)) = (min_expires, default_expires, max_expires)
        && !(secs(1) <= min && min <= default && default <= max)
    {
        let problem = "the three registration times must grow: min_expires, default_expires, max_expires";
        let remedy = "min_expires = \"1m\", default_expires = \"5m\", max_expires = \"1h\"".to_owned();
        section.fault_of("default_expires", problem.to_owned(), remedy);
    }
    (min_expires, default_expires, max_expires)
}
