//! `[number.hours]`: when a business number takes calls, and what becomes of the others; `[number.settings]`:
//! what Meta is to hold of the number.

use std::collections::BTreeMap;

use jiff::civil::Date;
use toml::de::DeValue;

use super::check::endpoint_fault;
use super::reader::{Reader, Section};
use super::records::Zone;
use super::sections::Draft;
use super::setting::Setting;
use crate::id::Endpoint;
use crate::policy::{OpeningHours, Overlap, Span};

/// `[number.hours]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoursConfig {
    /// When it is open.
    pub hours: OpeningHours,
    /// What becomes of a user's call at other times.
    pub closed: ClosedTarget,
}

/// Who takes the calls of a number that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClosedTarget {
    /// Nobody: they are rejected, and missed.
    Reject,
    /// The number's overflow.
    Overflow,
    /// This phone or number behind a trunk.
    Target(Endpoint),
    /// The gateway takes a message.
    Voicemail,
    /// The gateway plays the number's announcement and hangs up.
    Announcement,
}

impl Setting for ClosedTarget {
    const WANTED: &'static str =
        "\"reject\", \"overflow\", \"voicemail\", \"announcement\", \"phone:NAME\" or \"trunk:NAME/NUMBER\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "reject" => Some(Self::Reject),
            "overflow" => Some(Self::Overflow),
            "voicemail" => Some(Self::Voicemail),
            "announcement" => Some(Self::Announcement),
            _ => Endpoint::read(value).map(Self::Target),
        }
    }
    fn write(&self) -> String {
        match self {
            Self::Reject => "\"reject\"".to_owned(),
            Self::Overflow => "\"overflow\"".to_owned(),
            Self::Target(target) => target.write(),
            Self::Voicemail => "\"voicemail\"".to_owned(),
            Self::Announcement => "\"announcement\"".to_owned(),
        }
    }
}

impl Setting for Span {
    const WANTED: &'static str = "a span of a day like \"09:00-17:00\" (\"24:00\" is its end)";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

/// A day with hours of its own: a date alone, or with the spans in which it is open.
struct Holiday(Date, Vec<Span>);

impl Setting for Holiday {
    const WANTED: &'static str = "a day like \"2026-12-25\", or with hours, \"2026-12-24 09:00-12:00\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let mut words = value.as_str()?.split_whitespace();
        let date = words.next().filter(|it| it.len() == 10)?.parse().ok()?;
        let spans = words.map(Span::parse).collect::<Option<_>>()?;
        Some(Self(date, spans))
    }
    fn write(&self) -> String {
        let spans = self.1.iter().map(|it| format!(" {it}")).collect::<String>();
        format!("\"{}{spans}\"", self.0)
    }
}

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

pub(super) fn hours(section: &mut Section<'_, '_, '_>) -> Option<HoursConfig> {
    let zone = section.required::<Zone>("time_zone", "\"Europe/Berlin\"");
    let days =
        DAYS.map(|day| section.list::<Span>(day, Some(Vec::new()), "[\"09:00-12:00\", \"13:00-17:00\"]"));
    let example = "[\"2026-12-25\", \"2026-12-24 09:00-12:00\"]";
    let holidays = section.list::<Holiday>("holidays", Some(Vec::new()), example);
    let closed = section.or("closed", ClosedTarget::Reject);
    let mut week: [Vec<Span>; 7] = Default::default();
    for (spans, day) in week.iter_mut().zip(days) {
        *spans = day?;
    }
    let mut own = BTreeMap::new();
    for Holiday(date, spans) in holidays? {
        if own.insert(date, spans).is_some() {
            let problem = format!("{date} stands twice");
            section.fault_of("holidays", problem, format!("holidays = {example}"));
        }
    }
    let closes = week.iter().any(|day| day.as_slice() != [Span::WHOLE_DAY]) || !own.is_empty();
    if week.iter().all(Vec::is_empty) && own.values().all(Vec::is_empty) {
        let problem = "no day has hours: the number would never be open".to_owned();
        section.fault_of("monday", problem, "monday = [\"09:00-17:00\"]".to_owned());
    } else if !closes {
        let problem = "the number is always open: hours have nothing to say".to_owned();
        section.fault_of("time_zone", problem, "remove [number.hours]".to_owned());
    }
    match OpeningHours::new(zone?.0, week, own) {
        Ok(hours) => Some(HoursConfig { hours, closed: closed? }),
        Err(Overlap(first, second)) => {
            let problem = format!("{first} and {second} of the same day overlap");
            let remedy = "join them, or let the second one begin where the first one ends".to_owned();
            section.fault_of("time_zone", problem, remedy);
            None
        }
    }
}

/// Looks for closed targets that are not there.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    for (index, number) in draft.numbers.iter().enumerate() {
        let key = format!("number[{}].hours.closed", index + 1);
        let Some(Some(HoursConfig { closed, .. })) = &number.hours else { continue };
        match closed {
            ClosedTarget::Target(target) => {
                if let Some((problem, remedy)) = endpoint_fault(draft, target) {
                    reader.fault_at(&key, problem, remedy);
                }
            }
            ClosedTarget::Overflow if !number.plan.has_overflow() => {
                let problem = "the number has no overflow".to_owned();
                reader.fault_at(
                    &key,
                    problem,
                    "overflow = \"trunk:pbx/299\", or closed = \"reject\"".to_owned(),
                );
            }
            ClosedTarget::Overflow
            | ClosedTarget::Reject
            | ClosedTarget::Voicemail
            | ClosedTarget::Announcement => {}
        }
    }
}

/// `[number.settings]`: what is not named stays as it is at Meta.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaSettings {
    /// Whether the number takes and makes calls.
    pub calls: Option<bool>,
    /// Whether chats show the call button.
    pub call_icon: Option<bool>,
    /// The users' countries in which it is shown; empty for all.
    pub countries: Option<Vec<String>>,
    /// Whether a user who calls may be called back for a week.
    pub callback_permission: Option<bool>,
    /// Whether Meta is to keep the number's hours.
    pub hours: bool,
}

/// The two letters of a country.
struct Country(String);

impl Setting for Country {
    const WANTED: &'static str = "the two capital letters of a country, like \"DE\" (ISO 3166)";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())).then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

pub(super) fn settings(section: &mut Section<'_, '_, '_>) -> Option<MetaSettings> {
    let calls = section.optional::<bool>("calls", "true");
    let call_icon = section.optional::<bool>("call_icon", "true");
    let countries = if section.has("countries") {
        let all = section.list::<Country>("countries", None, "[\"DE\", \"BR\"]");
        all.map(|all| Some(all.into_iter().map(|it| it.0).collect()))
    } else {
        section.optional::<String>("countries", "[\"DE\", \"BR\"]").map(|_| None)
    };
    let callback_permission = section.optional::<bool>("callback_permission", "true");
    let hours = section.optional::<bool>("hours", "true");
    Some(MetaSettings {
        calls: calls?,
        call_icon: call_icon?,
        countries: countries?,
        callback_permission: callback_permission?,
        hours: hours?.unwrap_or(false),
    })
}
