//! `[api]`: where programs of the company talk to the gateway, by which tokens, and what they are told.

use std::net::SocketAddr;

use super::TlsConfig;
use super::reader::Section;
use super::sections::{Listens, tls};
use super::setting::{Setting, words};
use crate::masked::Secret;

/// `[api]`; there is no API without `listen`.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Where the HTTP or HTTPS server listens.
    pub listen: SocketAddr,
    /// Its certificate; `None` on this machine or behind a proxy that has one.
    pub tls: Option<TlsConfig>,
    /// Who may ask for what.
    pub tokens: Vec<TokenConfig>,
    /// Who is told of events.
    pub hooks: Vec<HookConfig>,
}

/// `[[api.token]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Whose it is; stands in the log beside what was done with it.
    pub name: String,
    /// SHA-256 of the token: the file does not give it away.
    pub sha256: TokenDigest,
    /// What it is good for.
    pub scopes: Vec<ApiScope>,
}

/// SHA-256 of a bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDigest(pub [u8; 32]);

impl Setting for TokenDigest {
    const WANTED: &'static str = "64 hexadecimal digits, as `cordboard token` prints them";
    fn read(value: &toml::de::DeValue<'_>) -> Option<Self> {
        let mut digest = [0; 32];
        hex::decode_to_slice(value.as_str()?.trim(), &mut digest).ok()?;
        Some(Self(digest))
    }
    fn write(&self) -> String {
        hex::encode(self.0).write()
    }
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiScope {
    /// Calls, live and past, and events.
    ReadCalls,
    /// To hang up, to call, to note.
    WriteCalls,
    /// Permissions, limits and streaks.
    ReadRules,
    /// To correct a permission, to ask for one.
    WriteRules,
    /// Phones, trunks and bans.
    ReadGateway,
    /// To lift bans, to set do-not-disturb.
    WriteGateway,
    /// What Meta holds of the numbers.
    ReadSettings,
    /// To write the settings of the file to Meta.
    WriteSettings,
    /// Users' numbers, ids and names in full; covered without it.
    Identities,
}

impl ApiScope {
    /// Every scope, as the file writes them.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::ReadCalls, "calls:read"),
        (Self::WriteCalls, "calls:write"),
        (Self::ReadRules, "rules:read"),
        (Self::WriteRules, "rules:write"),
        (Self::ReadGateway, "gateway:read"),
        (Self::WriteGateway, "gateway:write"),
        (Self::ReadSettings, "settings:read"),
        (Self::WriteSettings, "settings:write"),
        (Self::Identities, "identities"),
    ];

    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(it, _)| *it == self).map_or("", |(_, word)| word)
    }
}

words!(ApiScope, "calls:read, calls:write, rules:read, rules:write, gateway:read, gateway:write, \
    settings:read, settings:write or identities, in quotes",
    "calls:read" => ApiScope::ReadCalls, "calls:write" => ApiScope::WriteCalls,
    "rules:read" => ApiScope::ReadRules, "rules:write" => ApiScope::WriteRules,
    "gateway:read" => ApiScope::ReadGateway, "gateway:write" => ApiScope::WriteGateway,
    "settings:read" => ApiScope::ReadSettings, "settings:write" => ApiScope::WriteSettings,
    "identities" => ApiScope::Identities);

/// `[[api.hook]]`
#[derive(Clone, Debug)]
pub struct HookConfig {
    /// What the administrator calls it; where it has got to is kept under this name.
    pub name: String,
    /// Where events are posted to.
    pub url: String,
    /// Signs every delivery.
    pub secret: Secret<String>,
    /// Kinds of events, or their beginnings (`call.`); all if it is empty.
    pub events: Vec<String>,
    /// Whether users' numbers, ids and names are sent in full.
    pub identities: bool,
}

/// A name for people and metrics.
struct ShortName(String);

impl Setting for ShortName {
    const WANTED: &'static str = "1 to 40 letters, digits, - or _, in quotes";
    fn read(value: &toml::de::DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ((1..=40).contains(&text.len()) && text.chars().all(good)).then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// Reads the section; `Some(None)` if the file has none.
#[expect(clippy::option_option, reason = "the outer one is a fault, as everywhere in this module")]
pub(super) fn api(section: &mut Section<'_, '_, '_>, listens: &mut Listens) -> Option<Option<ApiConfig>> {
    let listen = section.optional::<SocketAddr>("listen", "\"127.0.0.1:9781\"");
    listens.api = listen.flatten();
    let own_tls = if section.has("tls") { section.part("tls", tls).map(Some) } else { Some(None) };
    let tokens: Option<Vec<_>> = section.each("token", token).into_iter().collect();
    let hooks: Option<Vec<_>> = section.each("hook", hook).into_iter().collect();
    let (tokens, hooks, own_tls) = (tokens?, hooks?, own_tls?);
    let Some(listen) = listen? else {
        if !tokens.is_empty() {
            let problem = "there are tokens, but nothing listens".to_owned();
            section.fault_of("listen", problem, "listen = \"127.0.0.1:9781\"".to_owned());
            return None;
        }
        if hooks.is_empty() {
            return Some(None);
        }
        let problem =
            "there are hooks, but no [api] listen; receivers ask there for what they missed".to_owned();
        section.fault_of("listen", problem, "listen = \"127.0.0.1:9781\"".to_owned());
        return None;
    };
    if tokens.is_empty() {
        let problem = "nobody could use the API: there is no [[api.token]]".to_owned();
        let remedy = "run `cordboard token` and put what it prints below [api]".to_owned();
        section.fault_of("listen", problem, remedy);
        return None;
    }
    Some(Some(ApiConfig { listen, tls: own_tls, tokens, hooks }))
}

fn token(section: &mut Section<'_, '_, '_>) -> Option<TokenConfig> {
    let name = section.required::<ShortName>("name", "\"crm\"");
    let sha256 = section.required::<TokenDigest>("sha256", "\"…\"  (`cordboard token` makes one)");
    let scopes = section.list::<ApiScope>("scopes", None, "[\"calls:read\"]");
    if scopes.as_ref().is_some_and(Vec::is_empty) {
        let problem = "a token without a scope may do nothing".to_owned();
        section.fault_of("scopes", problem, "scopes = [\"calls:read\"]".to_owned());
        return None;
    }
    Some(TokenConfig { name: name?.0, sha256: sha256?, scopes: scopes? })
}

fn hook(section: &mut Section<'_, '_, '_>) -> Option<HookConfig> {
    let name = section.required::<ShortName>("name", "\"crm\"");
    let url = section.required::<String>("url", "\"https://crm.example.com/cordboard\"");
    let mut good = true;
    if let Some(url) = &url {
        let local =
            ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|it| url.starts_with(it));
        if !url.starts_with("https://") && !local {
            let problem = format!("{url:?} is no https address: events tell who calls whom");
            let remedy = "url = \"https://crm.example.com/cordboard\"  (plain http only to this machine)";
            section.fault_of("url", problem, remedy.to_owned());
            good = false;
        }
    }
    let secret = section.secret("secret");
    let events = section.list("events", Some(Vec::<String>::new()), "[\"call.\", \"permission.changed\"]");
    let identities = section.or("identities", false);
    good.then_some(HookConfig {
        name: name?.0,
        url: url?,
        secret: secret?,
        events: events?,
        identities: identities?,
    })
}
