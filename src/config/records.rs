//! `[records]`: what is made of call records besides keeping them.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::peers::Name;
use super::rates;
use super::reader::Section;
use super::secret::plain;
use super::setting::Setting;
use crate::billing::RateCard;
use crate::time::Wall;

/// `[records]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsConfig {
    /// What may become of a call; a phone names them by their place, from 1.
    pub outcomes: Vec<String>,
    /// What Meta charges.
    pub rates: Arc<RateCard>,
    /// In whose months Meta counts: the time zone of the WhatsApp Business account.
    pub billing_zone: TimeZone,
}

/// A time zone of the IANA database.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Zone(pub(super) TimeZone);

impl Setting for Zone {
    const WANTED: &'static str = "a time zone like \"Europe/Berlin\" or \"UTC\" (IANA)";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let name = value.as_str()?;
        TimeZone::get(name).ok().filter(|it| it.iana_name().is_some() || name == "UTC").map(Self)
    }
    fn write(&self) -> String {
        self.0.iana_name().unwrap_or("UTC").to_owned().write()
    }
}

/// Reads a moment, `2026-11-01T08:00:00Z`, or the beginning of a day, `2026-11-01`, of a time zone.
#[must_use]
pub fn read_moment(text: &str, zone: &TimeZone) -> Option<Wall> {
    let moment = text.parse::<Timestamp>().ok();
    let day = || text.parse::<Date>().ok()?.to_zoned(zone.clone()).ok().map(|it| it.timestamp());
    let strict = text.len() > 10 || text.len() == 10 && text.matches('-').count() == 2;
    moment.or_else(day).filter(|_| strict).map(|it| Wall(it.as_millisecond()))
}

/// More keys than a phone has, and the list is no list any more.
const MOST_OUTCOMES: usize = 50;

pub(super) fn records(section: &mut Section<'_, '_, '_>) -> Option<RecordsConfig> {
    let known = ["resolved", "follow_up", "no_answer", "wrong_person", "spam"];
    let example = "[\"resolved\", \"follow_up\"]";
    let outcomes =
        section.list::<Name>("outcomes", Some(known.map(|it| Name(it.to_owned())).into()), example);
    let outcomes = outcomes.map(|all| all.into_iter().map(|it| it.0).collect::<Vec<_>>());
    if let Some(outcomes) = &outcomes {
        let twice = outcomes.iter().enumerate().find(|(at, it)| outcomes[..*at].contains(it));
        let problem = match twice {
            Some((_, outcome)) => Some(format!("{outcome:?} stands twice")),
            None if outcomes.len() > MOST_OUTCOMES => Some(format!("more than {MOST_OUTCOMES} outcomes")),
            None => None,
        };
        if let Some(problem) = problem {
            section.fault_of("outcomes", problem, format!("outcomes = {example}"));
        }
    }
    let rates = section.optional::<PathBuf>("rates", "\"rates.toml\"");
    let rates = match rates {
        Some(Some(path)) => card_of(section, &path),
        Some(None) => Some(rates::built_in()),
        None => None,
    };
    let zone = section.or("billing_zone", Zone(TimeZone::UTC));
    Some(RecordsConfig { outcomes: outcomes?, rates: Arc::new(rates?), billing_zone: zone?.0 })
}

fn card_of(section: &mut Section<'_, '_, '_>, path: &std::path::Path) -> Option<RateCard> {
    let path = section.resolve(path);
    let shown = path.display();
    let problem = match section.surroundings().read_file(&path) {
        Ok(text) => match rates::read(&text) {
            Ok(card) => return Some(card),
            Err(problem) => format!("{shown}: {problem}"),
        },
        Err(error) => format!("{shown} cannot be read: {}", plain(&error)),
    };
    let remedy = "mend it, start from config/rates.toml, or leave the key out for the card that is built in";
    section.fault_of("rates", problem, remedy.to_owned());
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_exact_or_the_beginning_of_a_day_there() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let read = |text| read_moment(text, &berlin).map(|it| it.to_string());
        assert_eq!(read("2026-11-01").as_deref(), Some("2026-10-31T23:00:00.000Z"));
        assert_eq!(read("2026-11-01T08:00:00Z").as_deref(), Some("2026-11-01T08:00:00.000Z"));
        assert_eq!(read("2026-07-01T08:00:00+02:00").as_deref(), Some("2026-07-01T06:00:00.000Z"));
        for wrong in ["yesterday", "2026-13-01", "01.11.2026", "", "2026-11"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
