//! `[[trunk]]`: a PBX or provider, its servers, and how it wants to be spoken to.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::dns::ServerAt;
use super::peers::{Digits, Name, srtp};
use super::reader::Section;
use super::sections::{own_codecs, pem};
use super::trunk_words;
use super::{KeyTelling, MediaTiming, PasswordAlgorithm, TrunkTransport};
use crate::codec::AudioCodec;
use crate::id::TrunkName;
use crate::masked::Secret;
use crate::sip::trunk::{FactHeaders, Numbering, Presentation};
use crate::sip::{ReadableKeys, SrtpSetting, SrtpUse};

/// `[[trunk]]`
#[derive(Clone, Debug)]
pub struct TrunkConfig {
    /// What the administrator calls it.
    pub name: TrunkName,
    /// Where INVITEs go, the first one first; not empty.
    pub servers: Vec<ServerConfig>,
    /// How they go.
    pub transport: TrunkTransport,
    /// The name its certificate must bear; `None`: its own name, or its address.
    pub tls_name: Option<String>,
    /// Who may vouch for its certificate, PEM; `None`: the system's authorities.
    pub ca: Option<PathBuf>,
    /// The certificate that we show there, PEM, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Who may call us in its name; `None`: its servers, wherever DNS moves them.
    pub sources: Option<Vec<IpNet>>,
    /// The host part of addresses there; `None`: the name or the address of the server.
    pub domain: Option<String>,
    /// How its calls prove that they are its own; `None`: by where they come from alone.
    pub auth: Option<AuthConfig>,
    /// How we prove who we are.
    pub login: Option<LoginConfig>,
    /// Whether and how we register.
    pub register: Option<RegisterConfig>,
    /// How its servers are watched.
    pub probe: ProbeConfig,
    /// At most so many calls at once, both directions.
    pub max_calls: Option<u32>,
    /// At most so many new calls in a second, both directions.
    pub max_calls_per_second: Option<u32>,
    /// The administrator's word that nothing behind it reaches the public telephone network.
    ///
    /// Meta: no PSTN on any leg (calling/integration-patterns, reference §16.8).
    pub voip_only: bool,
    /// What phones dial before a number behind it; `None`: they cannot.
    pub dial_prefix: Option<String>,
    /// The other trunks that its calls may go to.
    pub transit: Vec<TrunkName>,
    /// Its REFER is followed.
    pub refer: bool,
    /// How its sound is protected.
    pub srtp: SrtpSetting,
    /// VoIP metrics of RTCP-XR are offered to it (RFC 3611 §4.7).
    pub rtcp_xr: bool,
    /// Who keeps time in its calls; `None`: as `[media]` says.
    pub timing: Option<MediaTiming>,
    /// Its codecs, best first; `None`: as `[media]` says.
    pub codecs: Option<Vec<AudioCodec>>,
    /// How keys are told.
    pub dtmf: KeyTelling,
    /// How it writes numbers.
    pub numbers: Numbering,
    /// How it is told who calls.
    pub caller: Presentation,
    /// How it is told what a call is about.
    pub headers: FactHeaders,
}

/// One server of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub at: ServerAt,
    /// Lower ones are tried first.
    pub priority: u16,
    /// Its share of calls among servers of the same priority.
    pub weight: u16,
}

/// `[trunk.auth]`
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The user name that the trunk gives.
    pub user: String,
    /// The password.
    pub password: Secret<String>,
    /// What it is challenged with.
    pub algorithm: PasswordAlgorithm,
}

/// `[trunk.login]`
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// The user name that the trunk's digest knows.
    pub user: String,
    /// The password.
    pub password: Secret<String>,
}

/// `[trunk.register]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterConfig {
    /// The user part of our address there.
    pub user: String,
    /// How long a registration is asked for.
    pub expires: Duration,
}

/// `[trunk.probe]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Whether OPTIONS are sent at all.
    pub enabled: bool,
    /// From one to the next.
    pub every: Duration,
    /// So many missing answers take a server out of service.
    pub down_after: u32,
    /// So many answers bring it back.
    pub up_after: u32,
}

/// A trunk as far as it could be read.
pub(super) struct TrunkDraft {
    pub(super) name: Option<TrunkName>,
    pub(super) sources: Option<Vec<IpNet>>,
    pub(super) voip_only: Option<bool>,
    pub(super) transit: Option<Vec<TrunkName>>,
    pub(super) registers: bool,
    pub(super) numbers: Option<Numbering>,
    pub(super) config: Option<TrunkConfig>,
}

/// Priority and weight of the server that stands under `address`.
const FIRST: (u16, u16) = (10, 100);

/// `[[trunk]]`
pub(super) fn trunk(section: &mut Section<'_, '_, '_>) -> TrunkDraft {
    let name = section.required::<Name>("name", "\"pbx\"").map(|it| TrunkName::from(it.0));
    let servers = servers(section);
    let sources = sources(section);
    let transport = transport(section, servers.as_deref());
    let tls_name = section.optional::<String>("tls_name", "\"pbx.example.com\"");
    let ca = if section.has("ca") {
        pem(section, "ca", "\"/etc/cordboard/pbx.pem\"").map(Some)
    } else {
        section.optional::<PathBuf>("ca", "\"/etc/cordboard/pbx.pem\"")
    };
    let identity = identity(section);
    let domain = section.optional::<Name>("domain", "\"sip.example.net\"");
    let auth = if section.has("auth") { section.part("auth", auth).map(Some) } else { Some(None) };
    let login = if section.has("login") { section.part("login", login).map(Some) } else { Some(None) };
    let account = login.as_ref().and_then(|it| it.as_ref()).map(|it| it.user.clone());
    let registers = section.has("register");
    let register =
        if registers { section.part("register", |it| register(it, account)).map(Some) } else { Some(None) };
    let probe = section.part("probe", probe);
    let (max_calls, rate) = limits(section);
    // Meta: no PSTN on any leg (calling/integration-patterns, reference §16.8). Only the
    // administrator can know what is behind a trunk, so it has to be said.
    let voip_only = section.or("voip_only", false);
    let dial_prefix = section.optional::<Digits>("dial_prefix", "\"0\"");
    // From trunk to trunk somebody else's calls would go out at our cost, so each way is opened by name.
    let transit = section.list::<Name>("transit", Some(Vec::new()), "[\"lab\"]");
    let transit = transit.map(|list| list.into_iter().map(|it| it.0.into()).collect::<Vec<TrunkName>>());
    // Who can make us call could dial at our cost, so a trunk does not transfer unasked (call-handling rule 24).
    let refer = section.or("refer", false);
    let srtp = srtp(section);
    if let (Some(srtp), Some(TrunkTransport::Udp | TrunkTransport::Tcp)) = (srtp, transport)
        && srtp == (SrtpSetting { wanted: SrtpUse::Required, readable: ReadableKeys::Never })
    {
        let problem = "no call could ever go there: its keys would stand in SIP that others can read";
        let remedy = "transport = \"tls\", or srtp_keys_in_clear = true where nobody can listen";
        section.fault_of("srtp", problem.to_owned(), remedy.to_owned());
    }
    let rtcp_xr = section.or("rtcp_xr", false);
    let timing = section.optional::<MediaTiming>("timing", "\"playout\"");
    let codecs = own_codecs(section);
    let dtmf = section.or("dtmf", KeyTelling::Auto);
    let numbers = section.part("numbers", trunk_words::numbers);
    let has_account = registers || section.has("login");
    let caller = section.part("caller", |it| trunk_words::caller(it, has_account));
    let headers = section.part("headers", trunk_words::headers);
    let known = known_sources(servers.as_deref(), sources.as_ref());
    let config = (|| {
        Some(TrunkConfig {
            name: name.clone()?,
            servers: servers?,
            transport: transport?,
            tls_name: tls_name?,
            ca: ca?,
            identity: identity?,
            sources: sources?,
            domain: domain?.map(|it| it.0),
            auth: auth?,
            login: login?,
            register: register?,
            probe: probe?,
            max_calls: max_calls?,
            max_calls_per_second: rate?,
            voip_only: voip_only?,
            dial_prefix: dial_prefix?.map(|it| it.0).filter(|it| !it.is_empty()),
            transit: transit.clone()?,
            refer: refer?,
            srtp: srtp?,
            rtcp_xr: rtcp_xr?,
            timing: timing?,
            codecs: codecs?,
            dtmf: dtmf?,
            numbers: numbers.clone()?,
            caller: caller?,
            headers: headers?,
        })
    })();
    TrunkDraft { name, sources: known, voip_only, transit, registers, numbers, config }
}

fn servers(section: &mut Section<'_, '_, '_>) -> Option<Vec<ServerConfig>> {
    let first = section.required::<ServerAt>("address", "\"192.168.1.20:5060\"");
    let (priority, weight) = FIRST;
    let mut servers = vec![ServerConfig { at: first?, priority, weight }];
    for more in section.each("servers", server) {
        servers.push(more?);
    }
    let twice = servers.iter().enumerate().find(|(at, it)| servers[..*at].iter().any(|b| b.at == it.at));
    if let Some((_, server)) = twice {
        let problem = format!("{} stands twice", server.at);
        section.fault_of("servers", problem, "name each server of a trunk once".to_owned());
        return None;
    }
    Some(servers)
}

fn server(section: &mut Section<'_, '_, '_>) -> Option<ServerConfig> {
    let at = section.required::<ServerAt>("address", "\"192.168.1.21:5060\"");
    let priority = section.or("priority", 20);
    let limits = 0..=u32::from(u16::MAX);
    let priority = section.within("priority", priority, &limits, "it has 16 bits (RFC 2782)");
    let weight = section.or("weight", 100);
    let weight = section.within("weight", weight, &limits, "it has 16 bits (RFC 2782)");
    Some(ServerConfig {
        at: at?,
        priority: u16::try_from(priority?).ok()?,
        weight: u16::try_from(weight?).ok()?,
    })
}

/// How calls travel there; only DNS can leave that open.
fn transport(section: &mut Section<'_, '_, '_>, servers: Option<&[ServerConfig]>) -> Option<TrunkTransport> {
    let transport = section.or("transport", TrunkTransport::Udp);
    let address = servers.and_then(|all| all.iter().find(|it| matches!(it.at, ServerAt::Address(_))));
    if let (Some(TrunkTransport::Auto), Some(server)) = (transport, address) {
        let problem = format!("\"auto\" asks DNS, and {} is no name", server.at);
        section.fault_of("transport", problem, "transport = \"udp\", \"tcp\" or \"tls\"".to_owned());
    }
    transport
}

/// What we show to a trunk that asks for a certificate of ours.
fn identity(section: &mut Section<'_, '_, '_>) -> Option<Option<(PathBuf, PathBuf)>> {
    let mut file = |key, example: &str| {
        if section.has(key) {
            pem(section, key, example).map(Some)
        } else {
            section.optional::<PathBuf>(key, example)
        }
    };
    let certificate = file("certificate", "\"/etc/cordboard/client.pem\"");
    let key = file("key", "\"/etc/cordboard/client-key.pem\"");
    match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some(Some((certificate, key))),
        (None, None) => Some(None),
        (one, _) => {
            let (there, missing) =
                if one.is_some() { ("certificate", "key") } else { ("key", "certificate") };
            let problem = format!("must be there, because {there} is");
            section.fault_of(missing, problem, format!("{missing} = \"/etc/cordboard/client.pem\""));
            None
        }
    }
}

fn sources(section: &mut Section<'_, '_, '_>) -> Option<Option<Vec<IpNet>>> {
    if !section.has("sources") {
        return section.optional::<IpNet>("sources", "").and(Some(None));
    }
    let sources = section.list::<IpNet>("sources", None, "[\"192.168.1.20\"]");
    if sources.as_ref().is_some_and(Vec::is_empty) {
        let remedy = "sources = [\"192.168.1.20\"]  (or leave it out: the addresses of its servers)";
        let problem = "must not be empty: nobody could call from this trunk".to_owned();
        section.fault_of("sources", problem, remedy.to_owned());
    }
    sources.map(Some)
}

/// Whose calls are the trunk's, as far as the file alone says.
fn known_sources(
    servers: Option<&[ServerConfig]>,
    sources: Option<&Option<Vec<IpNet>>>,
) -> Option<Vec<IpNet>> {
    if let Some(written) = sources? {
        return Some(written.clone());
    }
    let mut own: Vec<IpNet> = servers?
        .iter()
        .filter_map(|it| match it.at {
            ServerAt::Address(address) => Some(IpNet::from(address.ip())),
            ServerAt::Name { .. } => None,
        })
        .collect();
    own.sort_unstable();
    own.dedup();
    Some(own)
}

fn auth(section: &mut Section<'_, '_, '_>) -> Option<AuthConfig> {
    let user = section.required::<String>("user", "\"pbx\"");
    let password = section.secret("password");
    let algorithm = section.or("algorithm", PasswordAlgorithm::Md5);
    Some(AuthConfig { user: user?, password: password?, algorithm: algorithm? })
}

fn login(section: &mut Section<'_, '_, '_>) -> Option<LoginConfig> {
    let user = section.required::<String>("user", "\"acme\"");
    let password = section.secret("password");
    Some(LoginConfig { user: user?, password: password? })
}

fn register(section: &mut Section<'_, '_, '_>, account: Option<String>) -> Option<RegisterConfig> {
    let user = section.optional::<String>("user", "\"acme\"")?.or(account);
    let expires = section.or("expires", Duration::from_mins(10));
    let limits = Duration::from_mins(1)..=Duration::from_hours(24);
    let why = "a provider forgets us within it, or is asked for nothing";
    let expires = section.within("expires", expires, &limits, why);
    if user.is_none() {
        let problem = "must be there, because the trunk has no login whose name could stand for it";
        section.fault_of("user", problem.to_owned(), "register = { user = \"acme\" }".to_owned());
    }
    Some(RegisterConfig { user: user?, expires: expires? })
}

fn probe(section: &mut Section<'_, '_, '_>) -> Option<ProbeConfig> {
    let enabled = section.or("enabled", true);
    let every = section.or("every", Duration::from_secs(30));
    let limits = Duration::from_secs(5)..=Duration::from_hours(1);
    let every = section.within("every", every, &limits, "oftener is a load, seldomer finds nothing out");
    let down_after = section.or("down_after", 3);
    let down_after = section.within("down_after", down_after, &(1..=100), "it counts missing answers");
    let up_after = section.or("up_after", 2);
    let up_after = section.within("up_after", up_after, &(1..=100), "it counts answers");
    Some(ProbeConfig { enabled: enabled?, every: every?, down_after: down_after?, up_after: up_after? })
}

fn limits(section: &mut Section<'_, '_, '_>) -> (Option<Option<u32>>, Option<Option<u32>>) {
    let mut limit = |key: &'static str, example: &str| {
        let limit = section.optional::<u32>(key, example)?;
        if limit == Some(0) {
            let remedy = format!("{key} = {example}, or leave it out for no limit");
            section.fault_of(key, "no call would ever pass".to_owned(), remedy);
            return None;
        }
        Some(limit)
    };
    (limit("max_calls", "30"), limit("max_calls_per_second", "10"))
}
