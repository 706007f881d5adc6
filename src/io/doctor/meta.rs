//! What Meta has and says of the business numbers. Judging is pure; only `examine` asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::Finding;
use crate::config::{Config, NumberConfig};
use crate::io::graph::{GraphClient, SettingsError};
use crate::io::number_settings;
use crate::io::signalling::now;
use crate::time::Wall;
use crate::whatsapp::MetaVoicemail;

/// What Meta told.
pub(super) struct Told {
    pub(super) findings: Vec<Finding>,
    /// Where Meta posts the webhooks of our apps.
    pub(super) callbacks: BTreeSet<String>,
}

/// A token that ends sooner than this deserves a word.
const TOKEN_SOON: Duration = Duration::from_hours(24 * 14);
/// Meta's stamps decide when a call must be accepted: beyond the first a clock is worth a look, beyond the
/// second calls are given up too early or too late (call-handling rule 2).
const SKEW: Duration = Duration::from_secs(2);
const TOO_MUCH_SKEW: Duration = Duration::from_secs(10);

/// Asks Meta about everything that the file names.
pub(super) async fn examine(config: &Config, graph: &GraphClient) -> Told {
    let mut told = Told { findings: Vec::new(), callbacks: BTreeSet::new() };
    let base = &config.graph.base;
    match graph.clock().await {
        Ok(theirs) => told.findings.extend(clock(theirs, now().wall)),
        Err(error) => {
            let fault = Finding::fault("graph", base, format!("cannot be reached: {error}"));
            told.findings.push(fault.mend("the way out: DNS, firewall, proxy; no call works without it"));
            return told;
        }
    }
    let mut apps = BTreeMap::new();
    for number in &config.numbers {
        one(config, graph, number, &mut told, &mut apps).await;
    }
    for (app, token_of) in apps {
        subscriptions(config, graph, &app, token_of, &mut told).await;
    }
    told
}

/// One number: its token, what it is, what is set.
async fn one<'c>(
    config: &'c Config,
    graph: &GraphClient,
    number: &'c NumberConfig,
    told: &mut Told,
    apps: &mut BTreeMap<String, &'c NumberConfig>,
) {
    let label = number.label.as_str();
    match graph.token_facts(&number.access_token).await {
        Ok(facts) => {
            told.findings.extend(token(label, &facts, now().wall));
            if let Some(app) = text(&facts["app_id"]) {
                subscribed_app(graph, number, &facts, &app, told).await;
                apps.entry(app).or_insert(number);
            }
        }
        Err(error) => told.findings.push(refused("token", label, &error)),
    }
    match graph.number_facts(&number.phone_number_id, &number.access_token).await {
        Ok(facts) => told.findings.extend(identity(number, &facts)),
        Err(error) => told.findings.push(refused("number", label, &error)),
    }
    match graph.number_limit(&number.phone_number_id, &number.access_token).await {
        Ok(limit) => told.findings.push(tier(label, &limit)),
        Err(error) => told.findings.push(refused("tier", label, &error)),
    }
    match graph.health(&number.phone_number_id, &number.access_token).await {
        Ok(health) => told.findings.extend(entities(label, &health)),
        Err(error) => told.findings.push(refused("health", label, &error)),
    }
    match number_settings::show(graph, number).await {
        Ok(calling) => told.findings.extend(settings(number, config.calls.accept_window, &calling)),
        Err(error) => {
            let unknown = Finding::unknown("settings", label, error.to_string());
            told.findings.push(unknown.mend("the token needs whatsapp_business_management to read them"));
        }
    }
    if let Ok(drift) = number_settings::diff(graph, number, now().wall).await
        && !drift.is_empty()
    {
        let paths: Vec<&str> = drift.iter().map(|it| it.path).collect();
        let found = format!("Meta differs from the file in {}", paths.join(", "));
        let warning = Finding::warning("drift", label, found);
        told.findings
            .push(warning.mend("cordboard settings diff shows it, cordboard settings apply ends it"));
    }
    let rules = crate::io::parts::rules(&number.policy(), &config.policy, config.calls.reservation_life);
    told.findings.extend(country(label, rules.country.at(now().wall).is_some()));
}

fn country(label: &str, blocked: bool) -> Option<Finding> {
    let found = "business-initiated calls do not exist for numbers of this country; users can call it";
    let remedy = "nothing can be done; take dial away from the number, or use a number of another country";
    blocked.then(|| Finding::warning("country", label, found).mend(remedy))
}

/// Whether Meta's and our own clock agree.
fn clock(theirs: Wall, ours: Wall) -> Option<Finding> {
    let skew = if theirs > ours { theirs.since(ours) } else { ours.since(theirs) };
    // Meta's Date header counts whole seconds.
    let place = "the clock of this machine";
    let found = format!("{} s away from Meta's", skew.as_secs());
    let remedy = "timedatectl set-ntp true: webhooks are judged by Meta's time stamps";
    Some(match skew {
        _ if skew > TOO_MUCH_SKEW => Finding::fault("clock", place, found).mend(remedy),
        _ if skew > SKEW => Finding::warning("clock", place, found).mend(remedy),
        _ => Finding::good("clock", place, "agrees with Meta's"),
    })
}

/// What the token is good for (`debug_token`).
fn token(label: &str, facts: &Value, now: Wall) -> Vec<Finding> {
    let mut all = Vec::new();
    let anew = "Business settings, system users: make a token without an end for this app, with \
                whatsapp_business_messaging and whatsapp_business_management, and put it behind access_token";
    if facts["is_valid"].as_bool() == Some(false) {
        let said = text(&facts["error"]["message"]).unwrap_or_else(|| "Meta calls it invalid".to_owned());
        return vec![Finding::fault("token", label, said).mend(anew)];
    }
    match facts["expires_at"].as_i64() {
        Some(0) | None => {}
        Some(at) if Wall::from_secs(at) <= now => {
            all.push(Finding::fault("token", label, format!("ended at {}", Wall::from_secs(at))).mend(anew));
        }
        Some(at) if Wall::from_secs(at).since(now) < TOKEN_SOON => {
            all.push(Finding::warning("token", label, format!("ends at {}", Wall::from_secs(at))).mend(anew));
        }
        Some(_) => {}
    }
    let scopes: Vec<&str> =
        facts["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !scopes.contains(&"whatsapp_business_messaging") {
        let found = "lacks whatsapp_business_messaging: no call can be accepted or made";
        all.push(Finding::fault("token", label, found).mend(anew));
    }
    if !scopes.contains(&"whatsapp_business_management") {
        let found = "lacks whatsapp_business_management: settings and warnings of Meta's stay unknown";
        all.push(Finding::warning("token", label, found).mend(anew));
    }
    if all.is_empty() {
        all.push(Finding::good("token", label, "valid, with what calls need"));
    }
    all
}

/// Whether the account tells our app anything.
async fn subscribed_app(
    graph: &GraphClient,
    number: &NumberConfig,
    facts: &Value,
    app: &str,
    told: &mut Told,
) {
    let label = number.label.as_str();
    let scopes = facts["granular_scopes"].as_array().cloned().unwrap_or_default();
    let ours = |it: &&Value| {
        it["scope"] == "whatsapp_business_management" || it["scope"] == "whatsapp_business_messaging"
    };
    let accounts: BTreeSet<String> = scopes
        .iter()
        .filter(ours)
        .flat_map(|it| it["target_ids"].as_array().cloned().unwrap_or_default())
        .filter_map(|it| text(&it))
        .collect();
    if accounts.is_empty() {
        let unknown = Finding::unknown("account", label, "the token does not tell which accounts it is for");
        told.findings.push(unknown.mend(format!("see that app {app} is subscribed to the number's account")));
    }
    // A token may be for many accounts: the number's own is the one that lists it.
    for account in accounts {
        let known = graph.numbers_of(&account, &number.access_token).await.unwrap_or_default();
        if !known.is_empty() && !known.contains(&number.phone_number_id) {
            continue;
        }
        match graph.subscribed_apps(&account, &number.access_token).await {
            Ok(found) => told.findings.push(account_tells(label, &account, app, &found)),
            Err(error) => told.findings.push(refused("account", label, &error)),
        }
    }
}

fn account_tells(label: &str, account: &str, app: &str, subscribed: &[String]) -> Finding {
    if subscribed.iter().any(|it| it == app) {
        return Finding::good("account", label, format!("account {account} tells app {app}"));
    }
    let found = format!("account {account} does not tell app {app}: no webhook of the number comes");
    let remedy = format!("POST /{account}/subscribed_apps with the token of the number");
    Finding::fault("account", label, found).mend(remedy)
}

/// What our app is told of, and where: asked with each app secret of the file.
async fn subscriptions(
    config: &Config,
    graph: &GraphClient,
    app: &str,
    number: &NumberConfig,
    told: &mut Told,
) {
    let mut last = None;
    for secret in &config.webhook.app_secrets {
        match graph.app_subscriptions(app, secret).await {
            Ok(list) => {
                let (findings, callback) = subscription(app, &config.webhook.path, &list);
                told.findings.extend(findings);
                told.callbacks.extend(callback);
                return;
            }
            Err(error) => last = Some(error),
        }
    }
    let place = format!("app {app} of number {}", number.label);
    told.findings.push(match last {
        Some(SettingsError::Refused { said, .. }) => {
            let found = format!("Meta does not take webhook.app_secrets as the secret of this app: {said}");
            let remedy = "App settings, Basic: copy the app secret; without it every webhook is answered 401";
            Finding::fault("app_secret", place, found).mend(remedy)
        }
        Some(error) => Finding::unknown("subscription", place, error.to_string()),
        None => Finding::unknown("subscription", place, "webhook.app_secrets is empty"),
    });
}

/// Fields without which something never arrives, and what that is.
const FIELDS: [(&str, &str); 2] = [
    ("calls", "no call of a user rings, and no call to a user is answered"),
    ("messages", "answers to permission requests and voice messages never come"),
];
/// Fields that tell what can be found out otherwise.
const MORE_FIELDS: [(&str, &str); 2] = [
    ("account_update", "Meta's warnings and restrictions come by e-mail only"),
    ("account_settings_update", "settings that are changed at Meta are seen only when they are asked for"),
];

/// What `GET /{APP_ID}/subscriptions` says; gives the callback URL, too.
fn subscription(app: &str, path: &str, list: &Value) -> (Vec<Finding>, Option<String>) {
    let place = format!("app {app}");
    let mend = "App dashboard, WhatsApp, Configuration: callback URL, verify token, and the fields calls and messages";
    let list = list.as_array().cloned().unwrap_or_default();
    let Some(ours) = list.iter().find(|it| it["object"] == "whatsapp_business_account") else {
        let found = "has no webhook for WhatsApp accounts: nothing that happens at Meta comes here";
        return (vec![Finding::fault("subscription", place, found).mend(mend)], None);
    };
    let mut all = Vec::new();
    if ours["active"].as_bool() == Some(false) {
        all.push(Finding::fault("subscription", &place, "its webhook is switched off").mend(mend));
    }
    let name = |it: &Value| text(&it["name"]).or_else(|| text(it));
    let fields: Vec<String> = ours["fields"].as_array().into_iter().flatten().filter_map(name).collect();
    for (field, why) in FIELDS {
        if !fields.iter().any(|it| it == field) {
            all.push(
                Finding::fault("subscription", &place, format!("field {field} is missing: {why}")).mend(mend),
            );
        }
    }
    for (field, why) in MORE_FIELDS {
        if !fields.iter().any(|it| it == field) {
            let found = format!("field {field} is missing: {why}");
            all.push(Finding::warning("subscription", &place, found).mend(mend));
        }
    }
    let callback = text(&ours["callback_url"]);
    if let Some(url) = callback.as_deref().filter(|it| !path_of(it).ends_with(path)) {
        let found = format!("posts to {url}, whose path is not webhook.path = {path:?}");
        let remedy = "right if a proxy in front rewrites the path; else make them the same";
        all.push(Finding::warning("callback", &place, found).mend(remedy));
    }
    if all.is_empty() {
        let to = callback.as_deref().unwrap_or("an unknown address");
        all.push(Finding::good("subscription", place, format!("calls and messages are posted to {to}")));
    }
    (all, callback)
}

/// The path of a URL, without its query.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

/// What Meta says the number is (requirement B19).
fn identity(number: &NumberConfig, facts: &Value) -> Vec<Finding> {
    let (label, mut all) = (number.label.as_str(), Vec::new());
    let digits: String = text(&facts["display_phone_number"])
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    if !digits.is_empty() && digits != number.display_number.digits() {
        let found = format!("Meta knows phone_number_id {} as +{digits}", number.phone_number_id);
        let remedy =
            "display_number and phone_number_id must name the same number: WhatsApp Manager lists both";
        all.push(Finding::fault("number", label, found).mend(remedy));
    }
    if facts["is_on_biz_app"].as_bool() == Some(true) {
        let found = "also runs in the WhatsApp Business app (coexistence): Meta offers no calls by API there";
        let remedy = "take it out of the app, so that the Cloud API alone has it";
        all.push(Finding::fault("coexistence", label, found).mend(remedy));
    }
    if let Some(platform) = text(&facts["platform_type"]).filter(|it| it != "CLOUD_API") {
        let found = format!("is on {platform}; calls exist on the Cloud API only");
        all.push(Finding::fault("platform", label, found).mend("register the number with the Cloud API"));
    }
    if let Some(status) = text(&facts["status"]).filter(|it| it != "CONNECTED") {
        let found = format!("Meta's status of it is {status}");
        all.push(Finding::fault("number", label, found).mend("WhatsApp Manager, Phone numbers, says why"));
    }
    match text(&facts["quality_rating"]).as_deref() {
        Some("RED") => {
            let found = "its quality is low (RED): a pause of calls may follow";
            let remedy = "cordboard rules; write and call less, and only whoever wants it";
            all.push(Finding::warning("quality", label, found).mend(remedy));
        }
        Some("YELLOW") => all.push(Finding::warning("quality", label, "its quality is medium (YELLOW)")),
        _ => {}
    }
    if all.is_empty() {
        all.push(Finding::good("number", label, format!("+{digits}, on the Cloud API alone")));
    }
    all
}

/// Calling needs a limit of 2,000 users a day (138015); reference §16.1. Test numbers are exempt.
fn tier(label: &str, limit: &Value) -> Finding {
    let word = text(&limit["whatsapp_business_manager_messaging_limit"])
        .or_else(|| text(&limit["messaging_limit_tier"]));
    let test = limit["account_mode"] == "SANDBOX";
    let Some(word) = word else {
        return Finding::unknown("tier", label, "Meta does not tell its messaging limit")
            .mend("WhatsApp Manager, Insights: calling needs 2,000 users a day");
    };
    let users = match word.strip_prefix("TIER_").unwrap_or(&word) {
        "UNLIMITED" => Some(u32::MAX),
        count => match count.strip_suffix('K') {
            Some(thousands) => thousands.parse::<u32>().ok().map(|it| it.saturating_mul(1000)),
            None => count.parse().ok(),
        },
    };
    match users {
        Some(users) if users >= 2000 => {
            Finding::good("tier", label, format!("may write to enough users a day ({word})"))
        }
        _ if test => Finding::good("tier", label, format!("a test number, which needs no limit ({word})")),
        Some(users) => {
            let found =
                format!("may write to {users} users a day; Meta enables calling from 2,000 on (138015)");
            let remedy = "verify the business and write to more users; Meta raises the limit by itself";
            Finding::fault("tier", label, found).mend(remedy)
        }
        None => Finding::warning(
            "tier",
            label,
            format!("its messaging limit is {word}; calling needs 2,000 users a day"),
        )
        .mend("write to users first: Meta sets a limit then"),
    }
}

/// Codes that only say that no SIP server is set, which is right in Graph mode (reference §7.3).
const OF_SIP: [i64; 2] = [138_024, 138_025];

/// What Meta's `health_status` complains of.
fn entities(label: &str, health: &Value) -> Vec<Finding> {
    let mut all = Vec::new();
    for entity in health["entities"].as_array().into_iter().flatten() {
        let kind = text(&entity["entity_type"]).unwrap_or_default();
        for error in entity["errors"].as_array().into_iter().flatten() {
            let code = error["error_code"].as_i64().unwrap_or(0);
            if OF_SIP.contains(&code) {
                continue;
            }
            let said = text(&error["error_description"]).unwrap_or_default();
            let finding = Finding::warning("health", label, format!("{kind}: {said} ({code})"));
            let remedy = text(&error["possible_solution"]);
            all.push(Finding { remedy, ..finding });
        }
    }
    all
}

/// What the calling settings of a number keep from working; `window` is how long phones ring at most.
pub(in crate::io) fn settings(number: &NumberConfig, window: Duration, calling: &Value) -> Vec<Finding> {
    let (label, mut all) = (number.label.as_str(), Vec::new());
    let is = |value: &Value, word: &str| value.as_str().is_some_and(|it| it.eq_ignore_ascii_case(word));
    if !is(&calling["status"], "ENABLED") {
        let remedy = "settings = { calls = true } of the number, then cordboard settings apply";
        all.push(Finding::fault("settings", label, "calling is not enabled at Meta (138000)").mend(remedy));
    }
    if is(&calling["sip"]["status"], "ENABLED") {
        let found = "SIP is enabled at Meta: calls go to its SIP servers and never come here";
        let remedy = "POST /{PHONE_NUMBER_ID}/settings with calling.sip.status = DISABLED";
        all.push(Finding::fault("settings", label, found).mend(remedy));
    }
    let hidden = is(&calling["call_icon_visibility"], "DISABLE_ALL")
        || is(&calling["call_icon_visibility"], "DISABLE ALL");
    if hidden && number.settings.call_icon != Some(false) {
        let remedy = "settings = { call_icon = true } of the number, then cordboard settings apply; \
                      Meta hides it itself where too few calls are picked up";
        all.push(Finding::warning("settings", label, "chats show no call button").mend(remedy));
    }
    for one in calling["restrictions"]["restrictions_list"].as_array().into_iter().flatten() {
        let kind = text(&one["type"]).unwrap_or_default();
        let reason = text(&one["reason"]).map(|it| format!(": {it}")).unwrap_or_default();
        let until = one["expiration"]
            .as_i64()
            .map(|it| format!(", until {}", Wall::from_secs(it)))
            .unwrap_or_default();
        let remedy = "cordboard rules; nothing but time, and fewer complaints, ends it";
        all.push(
            Finding::fault("restricted", label, format!("Meta restricts it: {kind}{reason}{until}"))
                .mend(remedy),
        );
    }
    all.extend(voicemail(number, window, calling));
    if all.is_empty() {
        all.push(Finding::good("settings", label, "calling is enabled, through Graph"));
    }
    all
}

/// Meta's own voicemail takes calls that phones here still ring for (reference §5.3).
fn voicemail(number: &NumberConfig, window: Duration, calling: &Value) -> Option<Finding> {
    let meta = MetaVoicemail::read(calling);
    let timeout = meta.takes_after?;
    let ring = number.ring.longest(window);
    if timeout >= ring {
        return None;
    }
    let found = format!(
        "Meta's own voicemail takes a call after {} s, the phones of the ring plan ring up to {} s: it takes calls that \
         somebody would have answered",
        timeout.as_secs(),
        ring.as_secs()
    );
    let remedy = "a longer timeout_seconds at Meta (up to 30), shorter steps here, or Meta's voicemail off and overflow = \"voicemail\"";
    Some(Finding::warning("meta_voicemail", number.label.as_str(), found).mend(remedy))
}

fn refused(check: &'static str, label: &str, error: &SettingsError) -> Finding {
    match error {
        SettingsError::Refused { code: 190, said } => {
            Finding::fault(check, label, format!("the token is refused: {said}"))
                .mend("make a new token for the system user, and put it behind access_token")
        }
        SettingsError::Refused { code: 100, said } => {
            Finding::fault(check, label, format!("Meta says: {said}"))
                .mend("is phone_number_id right, and is the number assigned to the token's system user?")
        }
        other => Finding::unknown(check, label, other.to_string()),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
