//! The sections that may stand several times: phones, trunks and business numbers.

use std::time::Duration;

use toml::de::DeValue;

use super::hours::{HoursConfig, hours, settings};
use super::lamps;
use super::policy::{NumberPolicy, ask, guards};
use super::reader::Section;
use super::ring_plan::{PlanDraft, RingPlanConfig, plan};
use super::ringing;
use super::sections::own_codecs;
use super::setting::{Setting, words};
use super::voicemail::voice;
use super::{
    AnswerOn, CapConfig, DialConfig, KeyTelling, MediaTiming, NumberConfig, PasswordAlgorithm, PhoneConfig,
    PreAccept,
};
use crate::id::{Endpoint, NumberLabel, PhoneName, PhoneNumberId};
use crate::sip::{ReadableKeys, SrtpSetting, SrtpUse};
use crate::user::Msisdn;

words!(PasswordAlgorithm, "\"md5\", \"sha-256\" or \"sha-512-256\"",
    "md5" => PasswordAlgorithm::Md5, "sha-256" => PasswordAlgorithm::Sha256,
    "sha-512-256" => PasswordAlgorithm::Sha512_256);
words!(PreAccept, "\"at_once\" or \"ringing\"",
    "at_once" => PreAccept::AtOnce, "ringing" => PreAccept::Ringing);
words!(AnswerOn, "\"accepted\" or \"speech\"",
    "accepted" => AnswerOn::Accepted, "speech" => AnswerOn::Speech);

words!(SrtpUse, "\"auto\", \"off\", \"optional\", \"required\" or \"dtls\"",
    "auto" => SrtpUse::Auto, "off" => SrtpUse::Off, "optional" => SrtpUse::Optional,
    "required" => SrtpUse::Required, "dtls" => SrtpUse::Dtls);

/// `srtp` and `srtp_keys_in_clear` of a phone or trunk.
pub(super) fn srtp(section: &mut Section<'_, '_, '_>) -> Option<SrtpSetting> {
    let wanted = section.or("srtp", SrtpUse::Auto);
    // RFC 4568 §8.3: keys in a description are as safe as the signalling that carries it.
    let readable = section.or("srtp_keys_in_clear", false);
    let readable = if readable? { ReadableKeys::Allowed } else { ReadableKeys::Never };
    Some(SrtpSetting { wanted: wanted?, readable })
}

/// A name that may stand in SIP addresses, metrics and file names alike.
pub(super) struct Name(pub(super) String);

impl Setting for Name {
    const WANTED: &'static str = "a name of letters, digits, '.', '_' or '-'";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let text = value.as_str()?;
        ((1..=64).contains(&text.len()) && text.chars().all(plain)).then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// What a phone can dial.
pub(super) struct Digits(pub(super) String);

impl Setting for Digits {
    const WANTED: &'static str = "made of the digits 0 to 9 and *, in quotes";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let dialable = text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit() || b == b'*');
        dialable.then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// A telephone number with its country code.
pub(super) struct Number(pub(super) Msisdn);

impl Setting for Number {
    const WANTED: &'static str = "a telephone number with its country code, 5 to 15 digits, in quotes";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Msisdn::parse(value.as_str()?).map(Self)
    }
    fn write(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl Setting for Endpoint {
    const WANTED: &'static str = "\"phone:NAME\" or \"trunk:NAME/NUMBER\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()?.split_once(':')? {
            ("phone", name) if !name.is_empty() => Some(Self::Phone(name.into())),
            ("trunk", rest) => {
                let (name, number) = rest.split_once('/')?;
                let user_part = |b: u8| b.is_ascii_alphanumeric() || b"+*#._-".contains(&b);
                (!name.is_empty() && !number.is_empty() && number.bytes().all(user_part))
                    .then(|| Self::Trunk(name.into(), number.to_owned()))
            }
            _ => None,
        }
    }
    fn write(&self) -> String {
        match self {
            Self::Phone(name) => format!("\"phone:{name}\""),
            Self::Trunk(name, number) => format!("\"trunk:{name}/{number}\""),
        }
    }
}

/// The Graph id of a business number.
struct GraphId(String);

impl Setting for GraphId {
    const WANTED: &'static str = "a Graph id: digits in quotes (not the telephone number)";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let id = (5..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        id.then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// A phone as far as it could be read.
pub(super) struct PhoneDraft {
    pub(super) name: Option<PhoneName>,
    pub(super) config: Option<PhoneConfig>,
}

/// A business number as far as it could be read.
pub(super) struct NumberDraft {
    pub(super) label: Option<NumberLabel>,
    pub(super) phone_number_id: Option<PhoneNumberId>,
    pub(super) display_number: Option<Msisdn>,
    pub(super) plan: PlanDraft,
    pub(super) cap_per_pair: Option<CapConfig>,
    pub(super) policy: Option<NumberPolicy>,
    pub(super) dial: Option<Option<DialConfig>>,
    pub(super) hours: Option<Option<HoursConfig>>,
    /// All but who rings, which takes the groups to be known.
    pub(super) config: Option<NumberConfig>,
}

/// `[[phone]]`
pub(super) fn phone(section: &mut Section<'_, '_, '_>) -> PhoneDraft {
    let name = section.required::<Name>("name", "\"1001\"").map(|it| PhoneName::from(it.0));
    let display = section.optional::<String>("display", "\"Front desk\"");
    // One challenge by default: old phones choke on several, and all know MD5 (call-handling rule 22).
    let algorithm = section.or("algorithm", PasswordAlgorithm::Md5);
    let ha1 = section.secret("ha1");
    if let (Some(ha1), Some(algorithm)) = (&ha1, algorithm) {
        let hex = ha1.expose().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if ha1.expose().len() != algorithm.ha1_digits() || !hex {
            let word = algorithm.as_str();
            let problem = format!(
                "the secret is no HA1 for {word}: that is {} digits of 0-9 and a-f",
                algorithm.ha1_digits()
            );
            let user = name.as_ref().map_or("1001", PhoneName::as_str);
            let remedy =
                format!("make it with: cordboard password --algorithm {word} --user {user} --realm REALM");
            section.fault_of("ha1", problem, remedy);
        }
    }
    let srtp = srtp(section);
    let take_over = section.or("take_over", false);
    let rtcp_xr = section.or("rtcp_xr", false);
    let timing = section.optional::<MediaTiming>("timing", "\"playout\"");
    let lamps = lamps::of_phone(section);
    let codecs = own_codecs(section);
    let dtmf = section.or("dtmf", KeyTelling::Auto);
    let alerts = ringing::of_phone(section);
    let config = (|| {
        let name = name.clone()?;
        let display = display?.unwrap_or_else(|| name.to_string());
        Some(PhoneConfig {
            display,
            algorithm: algorithm?,
            ha1: ha1?,
            srtp: srtp?,
            take_over: take_over?,
            rtcp_xr: rtcp_xr?,
            timing: timing?,
            alerts: alerts?,
            lamps: {
                let mut lamps = lamps?;
                if lamps.mailboxes.is_empty() {
                    lamps.mailboxes.push(name.to_string());
                }
                lamps
            },
            codecs: codecs?,
            dtmf: dtmf?,
            name,
        })
    })();
    PhoneDraft { name, config }
}

/// `[[number]]`
pub(super) fn number(section: &mut Section<'_, '_, '_>) -> NumberDraft {
    let label = section.required::<Name>("label", "\"support\"").map(|it| it.0.into());
    let phone_number_id = section.required::<GraphId>("phone_number_id", "\"108911223344556\"");
    let phone_number_id = phone_number_id.map(|it| it.0.into());
    let display_number = section.required::<Number>("display_number", "\"493055500010\"").map(|it| it.0);
    let access_token = section.secret("access_token");
    let plan = plan(section);
    let alert = section.optional::<Name>("alert", "\"support\"");
    let pre_accept = section.or("pre_accept", PreAccept::AtOnce);
    // Meta: ACCEPTED usually arrives after the call is up (calling/business-initiated-calls, reference §9.7).
    let answer_on = section.or("answer_on", AnswerOn::Speech);
    // A vendor's reading of Meta's limit, stricter than Meta's own (reference §16.4); on because the
    // product's owner asked for it.
    let cap_per_number = section.part("cap_per_number", cap);
    // Meta: 100 connected calls per pair and 24 h (calling/user-call-permissions, reference §1, §16.4).
    let cap_per_pair = section.part("cap_per_pair", cap);
    // Meta: 1,000 calls at once (calling/troubleshooting, reference §8); over it the user gets an error.
    let max_concurrent = section.or("max_concurrent", 1000);
    // Meta: 10,000 new calls in 24 h (calling/business-initiated-calls, reference §8).
    let max_initiations = section.or("max_initiations", 10_000);
    let never_call = section.list::<Digits>("never_call", Some(Vec::new()), "[\"88\", \"979\"]");
    let never_call = never_call.map(|list| list.into_iter().map(|it| it.0).collect::<Vec<_>>());
    let guards = section.part("guards", guards);
    let ask = section.part("ask", ask);
    let record = section.or("record", true);
    let dial = if section.has("dial") { section.part("dial", dial).map(Some) } else { Some(None) };
    let policy = (|| {
        Some(NumberPolicy {
            display_number: display_number.clone()?,
            cap_per_number: cap_per_number?,
            cap_per_pair: cap_per_pair?,
            max_concurrent: max_concurrent?,
            max_initiations: max_initiations?,
            never_call: never_call.clone()?,
            guards: guards?,
            ask: ask.clone()?,
        })
    })();
    let hours = if section.has("hours") { section.part("hours", hours).map(Some) } else { Some(None) };
    let settings = section.part("settings", settings);
    let voice = voice(section);
    let config = (|| {
        Some(NumberConfig {
            label: NumberLabel::clone(label.as_ref()?),
            phone_number_id: PhoneNumberId::clone(phone_number_id.as_ref()?),
            display_number: display_number.clone()?,
            access_token: access_token?,
            ring: RingPlanConfig::default(),
            alert: alert?.map(|it| it.0),
            pre_accept: pre_accept?,
            answer_on: answer_on?,
            cap_per_number: cap_per_number?,
            cap_per_pair: cap_per_pair?,
            max_concurrent: max_concurrent?,
            max_initiations: max_initiations?,
            never_call: never_call?,
            guards: guards?,
            ask: ask?,
            record: record?,
            hours: hours.clone()?,
            settings: settings?,
            voice: voice?,
            dial: dial.clone()?,
        })
    })();
    NumberDraft { label, phone_number_id, display_number, plan, cap_per_pair, policy, dial, hours, config }
}

fn cap(section: &mut Section<'_, '_, '_>) -> Option<CapConfig> {
    let enabled = section.or("enabled", true);
    let max = section.or("max", 100);
    let window = section.or("window", Duration::from_hours(24));
    let limits = Duration::from_mins(1)..=Duration::from_hours(24 * 31);
    let window = section.within("window", window, &limits, "Meta counts over 24 hours");
    Some(CapConfig { enabled: enabled?, max: max?, window: window? })
}

fn dial(section: &mut Section<'_, '_, '_>) -> Option<DialConfig> {
    let prefix = section.required::<Digits>("prefix", "\"8\"").map(|it| it.0);
    let phones = section.list::<Name>("phones", Some(Vec::new()), "[\"1001\"]");
    let trunks = section.list::<Name>("trunks", Some(Vec::new()), "[\"pbx\"]");
    let phones = phones.map(|list| list.into_iter().map(|it| it.0.into()).collect());
    let trunks = trunks.map(|list| list.into_iter().map(|it| it.0.into()).collect());
    Some(DialConfig { prefix: prefix?, phones: phones?, trunks: trunks? })
}
