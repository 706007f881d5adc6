//! Busy lamps and message waiting: `[sip.lamps]`, and what a `[[phone]]` says of them.

use std::time::Duration;

use toml::de::DeValue;

use super::peers::Name;
use super::reader::{Reader, Section};
use super::sections::{Draft, HOUR, MINUTE, secs};
use super::setting::{Setting, words};
use crate::id::PhoneName;
use crate::sip::{MessagesBy, PhoneLamps, WatchLimits, WatchedBy};

words!(MessagesBy, "\"subscribe\" or \"unasked\"",
    "subscribe" => MessagesBy::Subscription, "unasked" => MessagesBy::Unasked);

impl Setting for WatchedBy {
    const WANTED: &'static str = "\"phones\", \"nobody\" or a list of phones";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        if let Some(items) = value.as_array() {
            let phones = items.iter().map(|it| Name::read(it.get_ref()).map(|it| PhoneName::from(it.0)));
            return phones.collect::<Option<Vec<_>>>().map(Self::Only);
        }
        match value.as_str()? {
            "phones" => Some(Self::Phones),
            "nobody" => Some(Self::Nobody),
            _ => None,
        }
    }
    fn write(&self) -> String {
        match self {
            Self::Phones => "\"phones\"".to_owned(),
            Self::Nobody => "\"nobody\"".to_owned(),
            Self::Only(phones) => {
                let each = phones.iter().map(|phone| format!("\"{phone}\""));
                format!("[{}]", each.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// What a `[[phone]]` says.
pub(super) fn of_phone(section: &mut Section<'_, '_, '_>) -> Option<PhoneLamps> {
    let watched_by = section.or("watched_by", WatchedBy::Phones);
    let shows_peer = section.or("show_peer", false);
    let mailboxes = section.list::<Name>("mailboxes", Some(Vec::new()), "[\"1001\", \"sales\"]");
    let messages_by = section.or("messages", MessagesBy::Subscription);
    Some(PhoneLamps {
        watched_by: watched_by?,
        shows_peer: shows_peer?,
        mailboxes: mailboxes?.into_iter().map(|it| it.0).collect(),
        messages_by: messages_by?,
        takes_over: false,
    })
}

/// `[sip.lamps]`
pub(super) fn limits(section: &mut Section<'_, '_, '_>) -> Option<WatchLimits> {
    let min = section.or("min_expires", secs(MINUTE));
    let max = section.or("max_expires", secs(10 * MINUTE));
    let why = "a phone asks again that often, for each of its lamps";
    let min = section.within("min_expires", min, &(secs(10)..=secs(HOUR)), why);
    let max = section.within("max_expires", max, &(secs(MINUTE)..=Duration::from_hours(24)), why);
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let problem = "the longest subscription is shorter than the shortest".to_owned();
        section.fault_of("max_expires", problem, format!("max_expires = {}  (or more)", min.write()));
    }
    let per_phone = section.or("max_per_phone", 128);
    let why = "three side panels have 180 keys";
    let per_phone = section.within("max_per_phone", per_phone, &(1..=1000), why);
    Some(WatchLimits { min: min?, max: max?, per_phone: usize::try_from(per_phone?).ok()? })
}

/// Complains of watchers that do not exist.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    let known: Vec<&PhoneName> = draft.phones.iter().filter_map(|it| it.name.as_ref()).collect();
    for (at, phone) in draft.phones.iter().enumerate() {
        let Some(WatchedBy::Only(phones)) = phone.config.as_ref().map(|it| &it.lamps.watched_by) else {
            continue;
        };
        for name in phones.iter().filter(|name| !known.contains(name)) {
            let problem = format!("there is no [[phone]] with name = \"{name}\"");
            let remedy = "name phones of this file, or write watched_by = \"phones\"".to_owned();
            reader.fault_at(&format!("phone[{}].watched_by", at + 1), problem, remedy);
        }
    }
}
