//! What shows only when sections are compared: names that nobody has, ports that meet, caps that mislead.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::hours;
use super::lamps;
use super::reader::Reader;
use super::sections::Draft;
use super::{emergency, features, ring_plan, voicemail};
use crate::id::{Endpoint, PhoneName, TrunkName};
use crate::sip::trunk::{NumberOf, Numbering};

/// Compares everything with everything.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    duplicates(reader, draft);
    ring_plan::compare(reader, draft);
    lamps::compare(reader, draft);
    emergency::compare(reader, draft);
    voicemail::compare(reader, draft);
    features::compare(reader, draft);
    hours::compare(reader, draft);
    dial_rules(reader, draft);
    transits(reader, draft);
    sockets(reader, draft);
    advice(reader, draft);
}

/// Complains of each value that stands under two keys.
pub(super) fn unique<T: Ord + std::fmt::Display>(
    reader: &mut Reader<'_>,
    what: &str,
    values: impl Iterator<Item = (String, Option<T>)>,
) {
    let mut seen: BTreeMap<T, String> = BTreeMap::new();
    for (key, value) in values {
        let Some(value) = value else { continue };
        if let Some(first) = seen.get(&value) {
            let problem = format!("\"{value}\" is already the {what} of {first}");
            reader.fault_at(&key, problem, "give each its own, or remove one of the two".to_owned());
        } else {
            seen.insert(value, key);
        }
    }
}

fn duplicates(reader: &mut Reader<'_>, draft: &Draft) {
    if draft.numbers.is_empty() {
        let remedy = "[[number]] with label, phone_number_id, display_number and access_token";
        reader.fault_at("number", "there is no business number".to_owned(), remedy.to_owned());
    }
    let numbers = || draft.numbers.iter().enumerate();
    unique(reader, "label", numbers().map(|(i, it)| (format!("number[{}].label", i + 1), it.label.clone())));
    let ids =
        numbers().map(|(i, it)| (format!("number[{}].phone_number_id", i + 1), it.phone_number_id.clone()));
    unique(reader, "phone_number_id", ids);
    let telephone = |it: &crate::user::Msisdn| it.digits().to_owned();
    let shown = numbers().map(|(i, it)| {
        (format!("number[{}].display_number", i + 1), it.display_number.as_ref().map(telephone))
    });
    unique(reader, "display_number", shown);
    let phones = draft.phones.iter().enumerate();
    unique(reader, "name", phones.map(|(i, it)| (format!("phone[{}].name", i + 1), it.name.clone())));
    let trunks = || draft.trunks.iter().enumerate();
    unique(reader, "name", trunks().map(|(i, it)| (format!("trunk[{}].name", i + 1), it.name.clone())));
    // Two accounts with one provider are told apart by which of them is called.
    let sources = trunks().filter(|(_, it)| !it.registers).flat_map(|(i, it)| {
        let addresses = it.sources.iter().flatten();
        addresses.map(move |source| (format!("trunk[{}].sources", i + 1), Some(*source)))
    });
    unique(reader, "source address", sources);
}

/// What is wrong with using `name` as a trunk, if anything.
fn trunk_fault(draft: &Draft, name: &TrunkName) -> Option<(String, String)> {
    let Some(trunk) = draft.trunks.iter().find(|it| it.name.as_ref() == Some(name)) else {
        let known: Vec<&str> =
            draft.trunks.iter().filter_map(|it| it.name.as_ref()).map(TrunkName::as_str).collect();
        return Some((format!("there is no [[trunk]] with name = \"{name}\""), choices(&known, "[[trunk]]")));
    };
    // Meta: no PSTN on any leg (calling/integration-patterns, reference §16.8).
    (trunk.voip_only == Some(false)).then(|| {
        let problem = format!(
            "trunk \"{name}\" is not declared voip_only: Meta forbids that a WhatsApp call reaches the telephone network"
        );
        let remedy = format!(
            "if nothing behind \"{name}\" reaches the PSTN, write voip_only = true in its [[trunk]]; else use another target"
        );
        (problem, remedy)
    })
}

fn phone_fault(draft: &Draft, name: &str) -> Option<(String, String)> {
    let known: Vec<&str> =
        draft.phones.iter().filter_map(|it| it.name.as_ref()).map(PhoneName::as_str).collect();
    let missing = !known.contains(&name);
    missing.then(|| (format!("there is no [[phone]] with name = \"{name}\""), choices(&known, "[[phone]]")))
}

pub(super) fn choices(known: &[&str], section: &str) -> String {
    if known.is_empty() {
        return format!("add a {section} section for it");
    }
    format!("one of {}; or add a {section} section for it", known.join(", "))
}

/// What is wrong with ringing `target`, if anything.
pub(super) fn endpoint_fault(draft: &Draft, target: &Endpoint) -> Option<(String, String)> {
    match target {
        Endpoint::Phone(name) => phone_fault(draft, name.as_str()),
        Endpoint::Trunk(name, _) => trunk_fault(draft, name),
    }
}

/// Whether a user's number behind this prefix would be taken for that of a stranger.
fn reads_prefix_as_number(draft: &Draft, trunk: &TrunkName, prefix: &str) -> bool {
    let trunk = draft.trunks.iter().find(|it| it.name.as_ref() == Some(trunk));
    let Some(numbers) = trunk.and_then(|it| it.numbers.as_ref()) else { return false };
    let (user, form) = ("14155550100", Numbering { rules: Vec::new(), ..numbers.clone() });
    let dialled = format!("{prefix}{user}");
    let read = form.inward(NumberOf::Called, &dialled);
    read != dialled && read != format!("+{user}")
}

/// The ways from trunk to trunk lead somewhere.
fn transits(reader: &mut Reader<'_>, draft: &Draft) {
    let known: Vec<&str> =
        draft.trunks.iter().filter_map(|it| it.name.as_ref()).map(TrunkName::as_str).collect();
    for (index, trunk) in draft.trunks.iter().enumerate() {
        for name in trunk.transit.iter().flatten().filter(|name| !known.contains(&name.as_str())) {
            let problem = format!("there is no [[trunk]] with name = \"{name}\"");
            reader.fault_at(&format!("trunk[{}].transit", index + 1), problem, choices(&known, "[[trunk]]"));
        }
    }
}

fn dial_rules(reader: &mut Reader<'_>, draft: &Draft) {
    // Who may dial which prefix, to find two numbers that one phone could not tell apart.
    let mut taken: Vec<(String, String, usize)> = Vec::new();
    for (index, number) in draft.numbers.iter().enumerate() {
        let Some(Some(dial)) = &number.dial else { continue };
        let key = |name: &str| format!("number[{}].dial.{name}", index + 1);
        for name in &dial.phones {
            if let Some((problem, remedy)) = phone_fault(draft, name.as_str()) {
                reader.fault_at(&key("phones"), problem, remedy);
            }
        }
        for name in &dial.trunks {
            if let Some((problem, remedy)) = trunk_fault(draft, name) {
                reader.fault_at(&key("trunks"), problem, remedy);
            }
            if reads_prefix_as_number(draft, name, &dial.prefix) {
                let problem = format!(
                    "trunk \"{name}\" reads what begins like this as a number of its own country ([trunk.numbers]): \
                     its callers would reach a stranger"
                );
                reader.warn_at(&key("prefix"), problem, "prefix = \"8\"".to_owned());
            }
        }
        if dial.phones.is_empty() && dial.trunks.is_empty() {
            let problem = "nobody may dial this prefix".to_owned();
            reader.fault_at(
                &key("prefix"),
                problem,
                "add phones = [\"1001\"] or trunks = [\"pbx\"]".to_owned(),
            );
        }
        let mut emergency = draft.emergency.iter().flat_map(|it| &it.numbers);
        if let Some(number) = emergency.find(|it| dial.prefix.starts_with(it.as_str())) {
            let problem =
                format!("every number behind this prefix begins with the emergency number {number}");
            reader.fault_at(&key("prefix"), problem, "prefix = \"8\"".to_owned());
        }
        let phones = dial.phones.iter().map(|it| format!("phone {it}"));
        let sources: Vec<String> = phones.chain(dial.trunks.iter().map(|it| format!("trunk {it}"))).collect();
        let clash = taken.iter().find(|(source, prefix, other)| {
            *other != index && sources.contains(source) && ambiguous(prefix, &dial.prefix)
        });
        if let Some((source, prefix, other)) = clash {
            let problem = format!(
                "{source} cannot tell this prefix, \"{}\", from \"{prefix}\" of number[{}]",
                dial.prefix,
                other + 1
            );
            let remedy = "give each business number its own prefix, for example \"81\" and \"82\"".to_owned();
            reader.fault_at(&key("prefix"), problem, remedy);
        }
        taken.extend(sources.into_iter().map(|source| (source, dial.prefix.clone(), index)));
    }
}

/// Whether digits exist that both prefixes claim; a country code never begins with 0.
fn ambiguous(a: &str, b: &str) -> bool {
    let rest = a.strip_prefix(b).or_else(|| b.strip_prefix(a));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| ('1'..='9').contains(&c)))
}

/// Whether two sockets on the same port would get in each other's way.
fn meet(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

fn sockets(reader: &mut Reader<'_>, draft: &Draft) {
    let listens = &draft.listens;
    if let (Some(admin), Some(webhook)) = (listens.admin, listens.webhook)
        && admin.port() == webhook.port()
        && meet(admin.ip(), webhook.ip())
    {
        let problem = format!("{webhook} is already taken by admin.listen ({admin})");
        let remedy = "listen on different ports, for example 9780 for admin and 8080 for webhook".to_owned();
        reader.fault_at("webhook.listen", problem, remedy);
    }
    let shown = |range: &std::ops::RangeInclusive<u16>| format!("{}-{}", range.start(), range.end());
    if let (Some((outside, a)), Some((inside, b))) = (&listens.outside, &listens.inside)
        && meet(*outside, *inside)
        && a.start() <= b.end()
        && b.start() <= a.end()
    {
        let problem = format!("the ports {} meet those of media.outside, {}", shown(b), shown(a));
        let remedy =
            "[media.outside] ports = \"40000-40999\" and [media.inside] ports = \"41000-42999\"".to_owned();
        reader.fault_at("media.inside.ports", problem, remedy);
    }
    let tcp =
        [("admin.listen", listens.admin), ("webhook.listen", listens.webhook), ("api.listen", listens.api)];
    if let Some(api) = listens.api {
        let others = tcp.iter().filter(|(key, _)| *key != "api.listen");
        for (other, taken) in others.filter_map(|(key, at)| Some((key, (*at)?))) {
            if taken.port() == api.port() && meet(taken.ip(), api.ip()) {
                let problem = format!("{api} is already taken by {other} ({taken})");
                reader.fault_at("api.listen", problem, "give each listener a port of its own".to_owned());
            }
        }
    }
    for (key, at) in listens.sip.iter().filter(|(key, _)| *key != "sip.listen") {
        let own = listens.sip.iter().filter(|(it, _)| it != key && *it != "sip.listen");
        let others =
            own.map(|(key, at)| (*key, *at)).chain(tcp.iter().filter_map(|(key, at)| Some((*key, (*at)?))));
        for (other, taken) in others {
            if taken.port() == at.port() && meet(taken.ip(), at.ip()) {
                let problem = format!("{at} is already taken by {other} ({taken})");
                reader.fault_at(key, problem, "give each listener a port of its own".to_owned());
                break;
            }
        }
    }
    let udp = listens.sip.iter().filter(|(key, _)| *key == "sip.listen").map(|(_, at)| *at);
    for (sip, (name, realm)) in udp.flat_map(|sip| {
        [("outside", &listens.outside), ("inside", &listens.inside)].map(|realm| (sip, realm))
    }) {
        if let Some((bind, ports)) = realm
            && meet(*bind, sip.ip())
            && ports.contains(&sip.port())
        {
            let problem = format!("the ports {} hold the SIP port, {sip}", shown(ports));
            let remedy = "keep media ports away from sip.listen, for example from 40000 upwards".to_owned();
            reader.fault_at(&format!("media.{name}.ports"), problem, remedy);
        }
    }
}

/// What works but is worth a look.
fn advice(reader: &mut Reader<'_>, draft: &Draft) {
    if let Some(Some(api)) = &draft.api
        && api.tls.is_none()
        && !api.listen.ip().is_loopback()
    {
        let problem = format!("{} takes tokens in plain text from other machines", api.listen);
        let remedy = "listen = \"127.0.0.1:9781\" behind a proxy with TLS, or [api] tls = { … }".to_owned();
        reader.warn_at("api.listen", problem, remedy);
    }
    if let Some(admin) = draft.listens.admin.filter(|it| !it.ip().is_loopback()) {
        let problem = format!("{admin} shows figures of calls to everybody who can reach it");
        let remedy =
            "listen = \"127.0.0.1:9780\", or let a firewall admit only the Prometheus server".to_owned();
        reader.warn_at("admin.listen", problem, remedy);
    }
    let bare = draft.webhook.as_ref().filter(|it| it.tls.is_none() && !it.listen.ip().is_loopback());
    if let Some(webhook) = bare {
        let problem =
            format!("{} speaks plain HTTP beyond this machine; Meta calls HTTPS only", webhook.listen);
        let remedy =
            "tls = { certificate = \"fullchain.pem\", key = \"privkey.pem\" }, or a proxy on this machine";
        reader.warn_at("webhook.listen", problem, remedy.to_owned());
    }
    for (index, number) in draft.numbers.iter().enumerate() {
        if number.cap_per_pair.is_some_and(|it| it.enabled && it.max > 100) {
            // Meta: 138012 (calling/user-call-permissions, reference §16.4).
            let problem = "Meta itself stops at 100 connected calls per user and 24 h".to_owned();
            reader.warn_at(
                &format!("number[{}].cap_per_pair.max", index + 1),
                problem,
                "max = 100".to_owned(),
            );
        }
        let countries = draft.policy.as_ref().map(|it| &it.countries);
        let blocked = number.display_number.as_ref().zip(countries).map(|(it, table)| table.of(it.digits()));
        // What is over at some day is a matter of the clock, and there is none here.
        let for_good = blocked.is_some_and(|it| it.0.iter().any(|(_, until)| until.is_none()));
        if let (true, Some(Some(_))) = (for_good, &number.dial) {
            let problem = "Meta offers no business-initiated calls for numbers of this country".to_owned();
            let remedy = "remove dial; users can still call this number".to_owned();
            reader.warn_at(&format!("number[{}].dial.prefix", index + 1), problem, remedy);
        }
    }
}
