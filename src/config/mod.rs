//! The one configuration file: what an administrator may write, and what is told back when it is wrong.
//!
//! The structures are plain data; `io::app` turns them into the settings of the modules. Reading never
//! stops at the first fault: [`Config::read`] returns all of them, each with key, line and remedy.
//! `config/gateway.example.toml` shows every key; a test compares it with this code.

mod api;
mod check;
mod defence;
mod dns;
mod emergency;
mod fault;
mod features;
mod hours;
mod lamps;
mod needed;
mod peers;
mod policy;
mod rates;
mod reader;
mod recording;
mod records;
mod ring_plan;
mod ringing;
mod secret;
mod sections;
mod setting;
mod sip;
mod sounds;
mod toll;
mod trunk;
mod trunk_words;
mod voicemail;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::api::{ApiConfig, ApiScope, HookConfig, TokenConfig, TokenDigest};
pub use self::dns::{DnsConfig, ServerAt};
pub use self::fault::{ConfigFaults, Fault};
pub use self::features::{FeaturesConfig, ParkingConfig};
pub use self::hours::{ClosedTarget, HoursConfig, MetaSettings};
pub use self::needed::Records;
pub use self::policy::{AskConfig, GuardsConfig, NumberPolicy, PolicyConfig, TemplateConfig};
pub use self::reader::KeyUse;
pub use self::recording::{Consent, RecordingConfig, RecordingFormat};
pub use self::records::{RecordsConfig, read_moment};
pub use self::ring_plan::{GroupConfig, OVERFLOW_KEPT, RingOrder, RingPlanConfig, RingStepConfig};
pub use self::secret::{Machine, Surroundings};
pub use self::sip::{
    ClientCertificates, ConnectionsConfig, KeyTelling, ListenAt, SipConfig, SipTlsConfig, StreamTransport,
    TrunkTransport,
};
pub use self::sounds::{RefusalsConfig, SoundSource, SoundsConfig};
pub use self::trunk::{LoginConfig, ProbeConfig, RegisterConfig, ServerConfig, TrunkConfig};
pub use self::voicemail::{LastTarget, VoiceConfig, VoicemailConfig};

use crate::codec::{AudioCodec, EncoderSettings};
use crate::dialplan::EmergencyPlan;
use crate::id::{NumberLabel, PhoneName, PhoneNumberId, TrunkName};
use crate::masked::Secret;
use crate::policy::TollCaps;
use crate::sip::PhoneLamps;
use crate::sip::SrtpSetting;
use crate::sip::alert::AlertForms;
use crate::user::Msisdn;

/// The whole file.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where records and permissions are kept.
    pub store: StoreConfig,
    /// Metrics and health.
    pub admin: AdminConfig,
    /// Where Meta's webhooks arrive.
    pub webhook: WebhookConfig,
    /// How Meta's Graph API is reached.
    pub graph: GraphConfig,
    /// The SIP side.
    pub sip: SipConfig,
    /// Media threads, addresses and ports.
    pub media: MediaConfig,
    /// Limits that hold for every call.
    pub calls: CallsConfig,
    /// Numbers that never reach WhatsApp.
    pub emergency: EmergencyPlan,
    /// What phones dial to have something done.
    pub features: FeaturesConfig,
    /// Data about Meta's rules.
    pub policy: PolicyConfig,
    /// Whether and how calls are recorded.
    pub recording: RecordingConfig,
    /// What users say to nobody.
    pub voicemail: VoicemailConfig,
    /// What is made of call records.
    pub records: RecordsConfig,
    /// What is played into calls.
    pub sounds: SoundsConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where programs of the company ask; `None`: nowhere.
    pub api: Option<ApiConfig>,
    /// The phones that may register.
    pub phones: Vec<PhoneConfig>,
    /// The PBXs and providers that need no registration.
    pub trunks: Vec<TrunkConfig>,
    /// Who belongs together, in the order of the file.
    pub groups: Vec<GroupConfig>,
    /// The WhatsApp business numbers.
    pub numbers: Vec<NumberConfig>,
    /// What works but is worth a look.
    pub warnings: Vec<Fault>,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The SQLite file; it is created if it is not there.
    pub path: PathBuf,
    /// How sure a write must be before it counts.
    pub synchronous: Synchronous,
    /// How long handled webhooks are remembered, so that a late duplicate does nothing.
    pub keep_events: Duration,
}

/// How sure a write of the store must be before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// On the disk: survives a power cut.
    Full,
    /// With the operating system: survives a crash of the program only.
    Normal,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// `/metrics`, `/healthz` and `/readyz`.
    pub listen: SocketAddr,
}

/// `[webhook]`
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where the HTTP or HTTPS server listens.
    pub listen: SocketAddr,
    /// The path that was given to Meta as callback URL.
    pub path: String,
    /// The word that Meta's verification handshake must bring.
    pub verify_token: Secret<String>,
    /// The app secrets that sign webhooks; several while one is being changed, or for several apps.
    pub app_secrets: Vec<Secret<String>>,
    /// Our own certificate; `None` behind a proxy that has one.
    pub tls: Option<TlsConfig>,
}

/// `[webhook.tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, PEM; the folder of the configuration file is already put in front.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// `[graph]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphConfig {
    /// Scheme and host, without a slash at the end.
    pub base: String,
    /// `v25.0`
    pub version: String,
    /// How long one request may take.
    pub timeout: Duration,
}

/// `[media]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// Media threads; 0 means one per processor core.
    pub workers: u32,
    /// A call without any media for so long ends.
    pub dead_after: Duration,
    /// A phone that was heard and has sent nothing for so long is asked whether it is still in the call.
    pub ask_after: Duration,
    /// Comfort noise towards WhatsApp begins after so much silence from the phone.
    pub comfort_after: Duration,
    /// Who keeps the time of what is heard, for phones and trunks that say nothing else.
    pub timing: MediaTiming,
    /// How long a WebRTC port rests after a call.
    pub quarantine: Duration,
    /// Busy percentage of the least busy thread from which new calls are encoded with less effort.
    pub economy_at: u32,
    /// Busy percentage of the least busy thread from which new calls are refused.
    pub refuse_at: u32,
    /// New calls are also refused while every thread is later than this.
    pub refuse_lag: Duration,
    /// What is offered to phones and trunks, and taken of their offers; best first, not empty.
    pub codecs: Vec<AudioCodec>,
    /// How Opus is encoded.
    pub opus: EncoderSettings,
    /// Towards WhatsApp.
    pub outside: RealmConfig,
    /// Towards phones and trunks.
    pub inside: RealmConfig,
}

/// Who keeps the time of what is heard (call-handling rule 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaTiming {
    /// The sender, until the path turns out to be poor; then a buffer of ours.
    Auto,
    /// The sender: no delay is added.
    Relay,
    /// A buffer of ours, from the start.
    Playout,
}

/// `[media.outside]` and `[media.inside]`: one side of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmConfig {
    /// The address of the sockets.
    pub bind: IpAddr,
    /// The addresses that stand in SDP, the preferred one first; not empty.
    pub advertised: Vec<IpAddr>,
    /// The UDP ports: one per call outside, an even and an odd one per call inside.
    pub ports: RangeInclusive<u16>,
}

/// `[calls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallsConfig {
    /// A user's call must be accepted so soon after its webhook.
    pub accept_window: Duration,
    /// How long a user's phone may ring when a phone here calls.
    pub ring_user: Duration,
    /// A call that lasts so long is ended.
    pub max_duration: Duration,
    /// A reservation against a cap lapses after so long if the call's end was never seen.
    pub reservation_life: Duration,
    /// How long running calls may go on after SIGTERM before they are ended at both sides.
    pub drain: Duration,
    /// How many calls may be dialled.
    pub toll: TollCaps,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important message that is written.
    pub level: LogLevel,
    /// How messages are written.
    pub format: LogFormat,
}

/// The least important message that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// A peer broke a rule and we coped.
    Warn,
    /// A call's few facts.
    Info,
    /// Every input and output of a call.
    Debug,
    /// Wire text, masked.
    Trace,
}

impl LogLevel {
    /// The word that the log library knows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[[phone]]`
#[derive(Clone, Debug)]
pub struct PhoneConfig {
    /// The user part of its address, `1001`.
    pub name: PhoneName,
    /// What other phones show.
    pub display: String,
    /// The digest algorithm it is challenged with.
    pub algorithm: PasswordAlgorithm,
    /// H(name:realm:password) in lower-case hexadecimal.
    pub ha1: Secret<String>,
    /// How its sound is protected.
    pub srtp: SrtpSetting,
    /// It may take over calls of others by INVITE with Replaces (RFC 3891).
    pub take_over: bool,
    /// VoIP metrics of RTCP-XR are offered to it (RFC 3611 §4.7).
    pub rtcp_xr: bool,
    /// Who keeps time in its calls; `None`: as `[media]` says.
    pub timing: Option<MediaTiming>,
    /// Who may watch it, and its mailboxes.
    pub lamps: PhoneLamps,
    /// Its codecs, best first; `None`: as `[media]` says.
    pub codecs: Option<Vec<AudioCodec>>,
    /// How keys are told.
    pub dtmf: KeyTelling,
    /// How it is told to ring.
    pub alerts: AlertForms,
}

/// The digest algorithm of a phone (RFC 8760).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordAlgorithm {
    /// MD5: every phone knows it.
    Md5,
    /// SHA-256: newer phones only.
    Sha256,
    /// SHA-512/256: few phones.
    Sha512_256,
}

impl PasswordAlgorithm {
    /// The word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha-256",
            Self::Sha512_256 => "sha-512-256",
        }
    }

    /// How many hexadecimal digits its HA1 has.
    #[must_use]
    pub const fn ha1_digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 | Self::Sha512_256 => 64,
        }
    }
}

/// `[[number]]`: one WhatsApp business number.
#[derive(Clone, Debug)]
pub struct NumberConfig {
    /// What the administrator calls it; stands in records and metrics.
    pub label: NumberLabel,
    /// Its Graph id.
    pub phone_number_id: PhoneNumberId,
    /// Its telephone number.
    pub display_number: Msisdn,
    /// The token for Graph.
    pub access_token: Secret<String>,
    /// Who rings when a user calls.
    pub ring: RingPlanConfig,
    /// Which tone its calls ring with, unless a step says another.
    pub alert: Option<String>,
    /// When `pre_accept` is sent.
    pub pre_accept: PreAccept,
    /// What counts as the user's answer.
    pub answer_on: AnswerOn,
    /// At most so many connected calls to all users.
    pub cap_per_number: CapConfig,
    /// At most so many connected calls to one user.
    pub cap_per_pair: CapConfig,
    /// At most so many calls at once, both directions.
    pub max_concurrent: u32,
    /// At most so many business-initiated calls begun in 24 hours.
    pub max_initiations: u32,
    /// Beginnings of users' numbers, with country code, that are never called.
    pub never_call: Vec<String>,
    /// Where the house stops before Meta does.
    pub guards: GuardsConfig,
    /// How users are asked for permission.
    pub ask: AskConfig,
    /// Whether its calls are recorded where `[recording]` is enabled.
    pub record: bool,
    /// When it takes calls; `None`: always.
    pub hours: Option<HoursConfig>,
    /// What Meta is to hold of it.
    pub settings: MetaSettings,
    /// What it says by itself.
    pub voice: VoiceConfig,
    /// How phones call users through this number; `None` if they cannot.
    pub dial: Option<DialConfig>,
}

/// When `pre_accept` is sent (call-handling rule 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreAccept {
    /// As soon as the user calls: the quickest speech.
    AtOnce,
    /// At the first 18x of a phone: a `reject` before that still reaches Meta's own voicemail.
    Ringing,
}

/// What counts as the user's answer to a call from here (call-handling rule 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOn {
    /// Meta's `ACCEPTED` only; it may come late.
    Accepted,
    /// `ACCEPTED` or sustained speech after `RINGING`, whichever comes first.
    Speech,
}

/// A rolling cap on connected business-initiated calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapConfig {
    /// Whether it is kept.
    pub enabled: bool,
    /// So many calls.
    pub max: u32,
    /// In any window of this length.
    pub window: Duration,
}

/// `[number.dial]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialConfig {
    /// Phones dial this, then the user's number with its country code.
    pub prefix: String,
    /// The phones that may.
    pub phones: Vec<PhoneName>,
    /// The trunks that may.
    pub trunks: Vec<TrunkName>,
}

impl NumberConfig {
    /// What decides about its calls.
    #[must_use]
    pub fn policy(&self) -> NumberPolicy {
        NumberPolicy {
            display_number: self.display_number.clone(),
            cap_per_number: self.cap_per_number,
            cap_per_pair: self.cap_per_pair,
            max_concurrent: self.max_concurrent,
            max_initiations: self.max_initiations,
            never_call: self.never_call.clone(),
            guards: self.guards,
            ask: self.ask.clone(),
        }
    }
}

impl Config {
    /// Reads the file and everything it names.
    ///
    /// # Errors
    /// Every fault of the file, in its order.
    pub fn read(path: &Path) -> Result<Self, ConfigFaults> {
        Self::parse(&text_of(path)?, path, &Machine).0
    }

    /// Reads `text` as the file at `path`, with every key that the program asked for.
    ///
    /// # Errors
    /// Every fault of the file, in its order.
    pub fn parse(
        text: &str,
        path: &Path,
        surroundings: &dyn Surroundings,
    ) -> (Result<Self, ConfigFaults>, Vec<KeyUse>) {
        let Reading { draft, faults, warnings, keys } = read(text, path, surroundings);
        let result = match draft.and_then(sections::Draft::complete) {
            Some(config) if faults.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(ConfigFaults { file: path.to_owned(), faults, warnings }),
        };
        (result, keys)
    }
}

impl AdminConfig {
    /// Reads where a running gateway answers its administrator, whatever else is wrong in the file.
    ///
    /// # Errors
    /// The faults of that section.
    pub fn read(path: &Path) -> Result<Self, ConfigFaults> {
        let Reading { draft, mut faults, .. } = read(&text_of(path)?, path, &Machine);
        faults.retain(|fault| fault.key == "syntax" || fault.key.starts_with("admin"));
        match draft.and_then(|draft| draft.admin) {
            Some(admin) if faults.is_empty() => Ok(admin),
            _ => Err(ConfigFaults { file: path.to_owned(), faults, warnings: Vec::new() }),
        }
    }
}

/// What came of reading a text.
struct Reading {
    draft: Option<sections::Draft>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    keys: Vec<KeyUse>,
}

fn text_of(path: &Path) -> Result<String, ConfigFaults> {
    Machine.read_file(path).map_err(|error| {
        let problem = format!("the file cannot be read: {}", secret::plain(&error));
        let remedy = "start from config/gateway.example.toml, which explains every key".to_owned();
        ConfigFaults::unreadable(path, problem, remedy)
    })
}

fn read(text: &str, path: &Path, surroundings: &dyn Surroundings) -> Reading {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut reader = reader::Reader::new(text, folder, surroundings);
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    // What follows a syntax error is guesswork: its faults would only confuse.
    let mut draft = None;
    if errors.is_empty() {
        let read = sections::read(&mut reader, table.get_ref());
        check::compare(&mut reader, &read);
        draft = Some(read);
    } else {
        reader.syntax(&errors);
    }
    let reader::Reader { mut faults, mut warnings, keys, .. } = reader;
    faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
    warnings.sort_by_key(|warning| warning.line.unwrap_or(usize::MAX));
    Reading { draft, faults, warnings, keys }
}

/// Reads a time as the file writes it, `25s` or `7d`, for the command line.
#[must_use]
pub fn read_span(text: &str) -> Option<Duration> {
    setting::read_span(text)
}
