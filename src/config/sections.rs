//! Each section of the file: its keys, their defaults, and why they are what they are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;

use super::api::{ApiConfig, api};
use super::emergency::emergency;
use super::features::{FeaturesConfig, features};
use super::peers::{NumberDraft, PhoneDraft, number, phone};
use super::policy::{PolicyConfig, policy};
use super::reader::{Reader, Section};
use super::recording::{RecordingConfig, recording};
use super::records::{RecordsConfig, records};
use super::ring_plan::{GroupDraft, group};
use super::secret::plain;
use super::setting::{Setting, words};
use super::sip::{SipConfig, sip};
use super::sounds::{SoundsConfig, sounds};
use super::trunk::{TrunkDraft, trunk};
use super::voicemail::{VoicemailConfig, voicemail};
use super::{
    AdminConfig, CallsConfig, Config, GraphConfig, LogConfig, LogFormat, LogLevel, MediaConfig, MediaTiming,
    NumberConfig, RealmConfig, StoreConfig, Synchronous, TlsConfig, WebhookConfig,
};
use crate::codec::{AudioCodec, Bandwidth, Dtx, EncoderSettings, Redundancy};
use crate::dialplan::EmergencyPlan;

words!(Synchronous, "\"full\" or \"normal\"", "full" => Synchronous::Full, "normal" => Synchronous::Normal);
words!(MediaTiming, "\"auto\", \"relay\" or \"playout\"",
    "auto" => MediaTiming::Auto, "relay" => MediaTiming::Relay, "playout" => MediaTiming::Playout);
words!(LogFormat, "\"text\" or \"json\"", "text" => LogFormat::Text, "json" => LogFormat::Json);
words!(LogLevel, "error, warn, info, debug or trace, in quotes",
    "error" => LogLevel::Error, "warn" => LogLevel::Warn, "info" => LogLevel::Info,
    "debug" => LogLevel::Debug, "trace" => LogLevel::Trace);

words!(AudioCodec, "\"opus\", \"g722\", \"pcmu\" or \"pcma\"",
    "opus" => AudioCodec::Opus, "g722" => AudioCodec::G722,
    "pcmu" => AudioCodec::Pcmu, "pcma" => AudioCodec::Pcma);
words!(Bandwidth, "\"narrow\" (4 kHz), \"medium\" (6 kHz) or \"wide\" (8 kHz)",
    "narrow" => Bandwidth::Narrow, "medium" => Bandwidth::Medium, "wide" => Bandwidth::Wide);

/// What was read of the file; a part is `None` if something in it is wrong.
///
/// Names, addresses and references stand beside the parts, so that they can be compared even
/// where another key of the same part is wrong.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) store: Option<StoreConfig>,
    pub(super) admin: Option<AdminConfig>,
    pub(super) webhook: Option<WebhookConfig>,
    pub(super) graph: Option<GraphConfig>,
    pub(super) sip: Option<SipConfig>,
    pub(super) media: Option<MediaConfig>,
    pub(super) calls: Option<CallsConfig>,
    pub(super) emergency: Option<EmergencyPlan>,
    pub(super) features: Option<FeaturesConfig>,
    pub(super) policy: Option<PolicyConfig>,
    pub(super) recording: Option<RecordingConfig>,
    pub(super) voicemail: Option<VoicemailConfig>,
    pub(super) records: Option<RecordsConfig>,
    pub(super) sounds: Option<SoundsConfig>,
    pub(super) log: Option<LogConfig>,
    #[expect(
        clippy::option_option,
        reason = "the outer one is a fault, the inner one an API that nobody wants"
    )]
    pub(super) api: Option<Option<ApiConfig>>,
    pub(super) phones: Vec<PhoneDraft>,
    pub(super) trunks: Vec<TrunkDraft>,
    pub(super) groups: Vec<GroupDraft>,
    pub(super) numbers: Vec<NumberDraft>,
    pub(super) listens: Listens,
}

/// Every socket that the file asks for.
#[derive(Default)]
pub(super) struct Listens {
    pub(super) admin: Option<SocketAddr>,
    pub(super) webhook: Option<SocketAddr>,
    pub(super) api: Option<SocketAddr>,
    pub(super) sip: Vec<(&'static str, SocketAddr)>,
    pub(super) outside: Option<(IpAddr, RangeInclusive<u16>)>,
    pub(super) inside: Option<(IpAddr, RangeInclusive<u16>)>,
}

impl Draft {
    /// The configuration, if every part of it is good.
    pub(super) fn complete(self) -> Option<Config> {
        let numbers = self
            .numbers
            .into_iter()
            .map(|it| Some(NumberConfig { ring: it.plan.resolve(&self.groups)?, ..it.config? }));
        let numbers = numbers.collect::<Option<_>>()?;
        Some(Config {
            store: self.store?,
            admin: self.admin?,
            webhook: self.webhook?,
            graph: self.graph?,
            sip: self.sip?,
            media: self.media?,
            calls: self.calls?,
            emergency: self.emergency?,
            features: self.features?,
            policy: self.policy?,
            recording: self.recording?,
            voicemail: self.voicemail?,
            records: self.records?,
            sounds: self.sounds?,
            log: self.log?,
            api: self.api?,
            phones: self.phones.into_iter().map(|it| it.config).collect::<Option<_>>()?,
            trunks: self.trunks.into_iter().map(|it| it.config).collect::<Option<_>>()?,
            groups: self.groups.into_iter().map(GroupDraft::complete).collect::<Option<_>>()?,
            numbers,
            warnings: Vec::new(),
        })
    }
}

/// Reads the whole tree.
pub(super) fn read(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Draft {
    let mut root = Section::root(reader, table);
    let mut draft = Draft::default();
    draft.store = root.part("store", store);
    draft.admin = root.part("admin", |it| admin(it, &mut draft.listens));
    draft.webhook = root.part("webhook", |it| webhook(it, &mut draft.listens));
    draft.graph = root.part("graph", graph);
    draft.sip = root.part("sip", |it| sip(it, &mut draft.listens));
    draft.media = root.part("media", |it| media(it, &mut draft.listens));
    draft.calls = root.part("calls", calls);
    draft.emergency = root.part("emergency", emergency);
    draft.features = root.part("features", features);
    draft.policy = root.part("policy", policy);
    draft.recording = root.part("recording", recording);
    draft.voicemail = root.part("voicemail", voicemail);
    draft.records = root.part("records", records);
    draft.sounds = root.part("sounds", sounds);
    draft.log = root.part("log", log);
    draft.api = root.part("api", |it| api(it, &mut draft.listens));
    draft.phones = root.each("phone", phone);
    draft.trunks = root.each("trunk", trunk);
    draft.groups = root.each("group", group);
    draft.numbers = root.each("number", number);
    root.finish();
    draft
}

pub(super) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn store(section: &mut Section<'_, '_, '_>) -> Option<StoreConfig> {
    let path = section.or("path", PathBuf::from("/var/lib/cordboard/cordboard.db"));
    let synchronous = section.or("synchronous", Synchronous::Full);
    // Meta: webhooks are repeated for up to 7 days (calling/faq, reference §9.3).
    let keep = section.or("keep_events", secs(8 * DAY));
    let why = "Meta repeats webhooks for up to 7 days";
    let keep_events = section.within("keep_events", keep, &(secs(7 * DAY)..=secs(365 * DAY)), why);
    Some(StoreConfig { path: section.resolve(&path?), synchronous: synchronous?, keep_events: keep_events? })
}

fn admin(section: &mut Section<'_, '_, '_>, listens: &mut Listens) -> Option<AdminConfig> {
    listens.admin = section.or("listen", local(9780));
    Some(AdminConfig { listen: listens.admin? })
}

fn webhook(section: &mut Section<'_, '_, '_>, listens: &mut Listens) -> Option<WebhookConfig> {
    listens.webhook = section.or("listen", local(8080));
    let path: Option<String> = section.or("path", "/webhook".to_owned());
    if let Some(wrong) =
        path.as_ref().filter(|it| !it.starts_with('/') || it.contains(['{', '}', '?', '#', ' ']))
    {
        let remedy =
            "path = \"/webhook\"  (what follows the host name in the callback URL at Meta)".to_owned();
        section.fault_of("path", format!("{wrong:?} is not the path of a URL"), remedy);
    }
    let verify_token = section.secret("verify_token");
    let app_secrets = section.secrets("app_secrets");
    let tls = if section.has("tls") { section.part("tls", tls).map(Some) } else { Some(None) };
    Some(WebhookConfig {
        listen: listens.webhook?,
        path: path?,
        verify_token: verify_token?,
        app_secrets: app_secrets?,
        tls: tls?,
    })
}

pub(super) fn tls(section: &mut Section<'_, '_, '_>) -> Option<TlsConfig> {
    let certificate = pem(section, "certificate", "\"/etc/cordboard/fullchain.pem\"");
    let key = pem(section, "key", "\"/etc/cordboard/privkey.pem\"");
    Some(TlsConfig { certificate: certificate?, key: key? })
}

/// A PEM file that can be read now.
pub(super) fn pem(section: &mut Section<'_, '_, '_>, key: &'static str, example: &str) -> Option<PathBuf> {
    let path = section.required::<PathBuf>(key, example)?;
    let path = section.resolve(&path);
    let remedy = format!("{key} = {example}  (a PEM file that the user of cordboard can read)");
    match section.surroundings().read_file(&path) {
        Ok(text) if text.contains("-----BEGIN") => return Some(path),
        Ok(_) => section.fault_of(key, format!("{} is not a PEM file", path.display()), remedy),
        Err(error) => {
            section.fault_of(key, format!("{} cannot be read: {}", path.display(), plain(&error)), remedy);
        }
    }
    None
}

fn graph(section: &mut Section<'_, '_, '_>) -> Option<GraphConfig> {
    let base: Option<String> = section.or("base", "https://graph.facebook.com".to_owned());
    if let Some(base) = &base {
        let local =
            ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|it| base.starts_with(it));
        if (!base.starts_with("https://") && !local) || base.ends_with('/') {
            let problem = format!("{base:?} is not an https address without a slash at the end");
            let remedy =
                "base = \"https://graph.facebook.com\"  (plain http only for the simulator on 127.0.0.1)";
            section.fault_of("base", problem, remedy.to_owned());
        }
    }
    // Meta: versions live about two years; v25.0 until 2028-07 (reference §2).
    let version: Option<String> = section.or("version", "v25.0".to_owned());
    let shape = |it: &str| {
        let (major, minor) = it.strip_prefix('v')?.split_once('.')?;
        Some(major.parse::<u32>().ok()? >= 17 && minor.parse::<u32>().is_ok())
    };
    if let Some(wrong) = version.as_deref().filter(|it| shape(it) != Some(true)) {
        // Meta: calling needs v17.0 or later (calling/faq, reference §2).
        let problem = format!("{wrong:?} is not a Graph version from v17.0 on");
        section.fault_of("version", problem, "version = \"v25.0\"".to_owned());
    }
    let timeout = section.or("timeout", secs(10));
    let why = "a call must be accepted about 30 s after its webhook";
    let timeout = section.within("timeout", timeout, &(secs(1)..=secs(20)), why);
    Some(GraphConfig { base: base?, version: version?, timeout: timeout? })
}

fn media(section: &mut Section<'_, '_, '_>, listens: &mut Listens) -> Option<MediaConfig> {
    let workers = section.or("workers", 0);
    let workers = section.within("workers", workers, &(0..=256), "more threads than cores only cost");
    let dead_after = section.or("dead_after", secs(MINUTE));
    let why = "a muted phone may be silent for long, a dead one should not block its user";
    let dead_after = section.within("dead_after", dead_after, &(secs(5)..=secs(HOUR)), why);
    let ask = section.or("ask_after", secs(15));
    let why = "an answer may take 10 s more, and WhatsApp bills the call until then";
    let ask_after = section.within("ask_after", ask, &(secs(5)..=secs(HOUR)), why);
    // No gap towards WhatsApp over 60 ms (call-handling rule 11).
    let comfort = section.or("comfort_after", Duration::from_millis(60));
    let limits = Duration::from_millis(20)..=Duration::from_millis(60);
    let comfort_after =
        section.within("comfort_after", comfort, &limits, "WhatsApp should never hear a gap over 60 ms");
    let timing = section.or("timing", MediaTiming::Auto);
    // Meta's relays know calls by our address and port: one used again at once would meet the old call.
    let quarantine = section.or("quarantine", secs(MINUTE));
    let (economy_at, refuse_at, refuse_lag) = overload(section);
    let codecs = codecs(section);
    let opus = section.part("opus", opus);
    let outside = section.part("outside", |it| realm(it, 40_000..=40_999, &mut listens.outside));
    let inside = section.part("inside", |it| realm(it, 41_000..=42_999, &mut listens.inside));
    Some(MediaConfig {
        workers: workers?,
        dead_after: dead_after?,
        ask_after: ask_after?,
        comfort_after: comfort_after?,
        timing: timing?,
        quarantine: quarantine?,
        economy_at: economy_at?,
        refuse_at: refuse_at?,
        refuse_lag: refuse_lag?,
        codecs: codecs?,
        opus: opus?,
        outside: outside?,
        inside: inside?,
    })
}

/// When new calls get less, and when they are refused.
fn overload(section: &mut Section<'_, '_, '_>) -> (Option<u32>, Option<u32>, Option<Duration>) {
    let economy = section.or("economy_at", 60);
    let economy = section.within("economy_at", economy, &(1..=100), "it is a percentage");
    let refuse = section.or("refuse_at", 85);
    let refuse = section.within("refuse_at", refuse, &(1..=100), "it is a percentage");
    if let (Some(economy), Some(refuse)) = (economy, refuse)
        && economy > refuse
    {
        let problem = "new calls would be refused (refuse_at) before they are encoded with less effort";
        let remedy = format!("economy_at = {refuse}  (or a larger refuse_at)");
        section.fault_of("economy_at", problem.to_owned(), remedy);
    }
    let lag = section.or("refuse_lag", Duration::from_millis(60));
    let limits = Duration::from_millis(5)..=secs(1);
    let lag = section.within("refuse_lag", lag, &limits, "a phone's own buffer hides about 60 ms");
    (economy, refuse, lag)
}

/// The best sound first: Opus goes through as it is, G.722 keeps its 7 kHz, and every phone has one of the others.
fn codecs(section: &mut Section<'_, '_, '_>) -> Option<Vec<AudioCodec>> {
    let all = vec![AudioCodec::Opus, AudioCodec::G722, AudioCodec::Pcmu, AudioCodec::Pcma];
    let codecs = section.list("codecs", Some(all), CODECS)?;
    distinct(section, codecs)
}

/// The codecs of one phone or trunk; without them those of `[media]`.
pub(super) fn own_codecs(section: &mut Section<'_, '_, '_>) -> Option<Option<Vec<AudioCodec>>> {
    if !section.has("codecs") {
        return section.optional::<AudioCodec>("codecs", CODECS).and(Some(None));
    }
    let codecs = section.list("codecs", None, CODECS)?;
    distinct(section, codecs).map(Some)
}

const CODECS: &str = "[\"opus\", \"g722\", \"pcmu\", \"pcma\"]";

fn distinct(section: &mut Section<'_, '_, '_>, codecs: Vec<AudioCodec>) -> Option<Vec<AudioCodec>> {
    let twice = codecs.iter().enumerate().find(|(at, codec)| codecs[..*at].contains(codec));
    let problem = match twice {
        _ if codecs.is_empty() => "must not be empty: no phone could talk".to_owned(),
        Some((_, codec)) => format!("{} stands twice", codec.write()),
        None => return Some(codecs),
    };
    section.fault_of("codecs", problem, format!("codecs = {CODECS}"));
    None
}

fn opus(section: &mut Section<'_, '_, '_>) -> Option<EncoderSettings> {
    let default = EncoderSettings::default();
    let complexity = section.or("complexity", u32::from(default.complexity));
    let complexity = section.within("complexity", complexity, &(0..=10), "libopus knows no other");
    let bitrate = section.or("bitrate", default.bitrate);
    let why = "below, speech suffers; above, WhatsApp's own limit of 20000 is far away";
    let bitrate = section.within("bitrate", bitrate, &(8000..=64_000), why);
    let redundancy = section.or("redundancy", default.redundancy == Redundancy::InBand);
    let expected_loss = section.or("expected_loss", u32::from(default.expected_loss));
    let expected_loss = section.within("expected_loss", expected_loss, &(0..=50), "it is a percentage");
    let bandwidth = section.or("bandwidth", default.bandwidth);
    let dtx = section.or("dtx", default.dtx == Dtx::On);
    Some(EncoderSettings {
        complexity: u8::try_from(complexity?).ok()?,
        bitrate: bitrate?,
        redundancy: if redundancy? { Redundancy::InBand } else { Redundancy::Off },
        expected_loss: u8::try_from(expected_loss?).ok()?,
        bandwidth: bandwidth?,
        dtx: if dtx? { Dtx::On } else { Dtx::Off },
    })
}

fn realm(
    section: &mut Section<'_, '_, '_>,
    ports: RangeInclusive<u16>,
    listen: &mut Option<(IpAddr, RangeInclusive<u16>)>,
) -> Option<RealmConfig> {
    let bind = section.or("bind", IpAddr::from(Ipv4Addr::UNSPECIFIED));
    let example = "[\"203.0.113.10\"]";
    let named = bind.filter(|it| !it.is_unspecified());
    let advertised = if named.is_some() && !section.has("advertised") {
        section.optional::<IpAddr>("advertised", example).map(|_| named.into_iter().collect::<Vec<_>>())
    } else {
        section.list::<IpAddr>("advertised", None, example)
    };
    if let Some(list) = &advertised
        && (list.is_empty() || list.iter().any(IpAddr::is_unspecified))
    {
        let problem = "must name the addresses under which the other side reaches this machine".to_owned();
        section.fault_of("advertised", problem, format!("advertised = {example}"));
    }
    let ports = section.or("ports", ports);
    *listen = bind.zip(ports.clone());
    Some(RealmConfig { bind: bind?, advertised: advertised?, ports: ports? })
}

fn calls(section: &mut Section<'_, '_, '_>) -> Option<CallsConfig> {
    // Meta: 30 to 60 s from the webhook (calling/reference, calling/user-initiated-calls; reference §10).
    let window = section.or("accept_window", secs(25));
    let why = "Meta gives a call up 30 to 60 s after its webhook";
    let accept_window = section.within("accept_window", window, &(secs(5)..=secs(55)), why);
    // Meta: how long a user's phone rings is not published (reference §10).
    let ring_user = section.or("ring_user", secs(MINUTE));
    let ring_user =
        section.within("ring_user", ring_user, &(secs(10)..=secs(5 * MINUTE)), "somebody is waiting");
    // Meta: no maximum (calling/faq, reference §1); this one is for a forgotten receiver.
    let max_duration = section.or("max_duration", secs(4 * HOUR));
    let max_duration =
        section.within("max_duration", max_duration, &(secs(10)..=secs(7 * DAY)), "it ends forgotten calls");
    let life = section.or("reservation_life", secs(5 * MINUTE));
    if let (Some(life), Some(ring)) = (life, ring_user)
        && life < ring + secs(30)
    {
        let problem = "a reservation must outlive the ringing (ring_user) by 30 s or more".to_owned();
        section.fault_of("reservation_life", problem, "reservation_life = \"5m\"".to_owned());
    }
    let drain = section.or("drain", secs(DAY));
    let why = "what is longer is a gateway that does not stop";
    let drain = section.within("drain", drain, &(Duration::ZERO..=secs(DAY)), why);
    let toll = super::toll::toll(section);
    Some(CallsConfig {
        accept_window: accept_window?,
        ring_user: ring_user?,
        max_duration: max_duration?,
        reservation_life: life?,
        drain: drain?,
        toll: toll?,
    })
}

fn log(section: &mut Section<'_, '_, '_>) -> Option<LogConfig> {
    let level = section.or("level", LogLevel::Info);
    let format = section.or("format", LogFormat::Text);
    Some(LogConfig { level: level?, format: format? })
}
