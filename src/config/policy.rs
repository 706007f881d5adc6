//! `[policy]`, `[number.guards]` and `[number.ask]`: how Meta's rules are kept, and how users are asked.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::CapConfig;
use super::peers::Digits;
use super::reader::Section;
use super::secret::plain;
use crate::policy::{CountryRow, CountryTable, PickUpAlarm, PickedUpBy};
use crate::time::Wall;
use crate::user::Msisdn;

/// The table that is built in.
const COUNTRIES: &str = include_str!("../../config/countries.toml");

/// The word for it.
const BUILT_IN: &str = "built-in";

/// `[policy]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyConfig {
    /// Where Meta offers no business-initiated calls.
    pub countries: CountryTable,
}

/// `[number.guards]`: where the house stops before Meta does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardsConfig {
    /// No further call after so many unanswered in a row; `None` does not stop.
    pub unanswered_stop: Option<u32>,
    /// A warning is due at this percentage of a cap.
    pub warn_at: u32,
    /// When the pick-up rate of users' calls is too low.
    pub pickup: PickUpAlarm,
    /// Whether calls to users wait for the number's hours.
    pub hold_outside_hours: bool,
}

/// `[number.ask]`: permission requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskConfig {
    /// What a free-form request says.
    pub text: String,
    /// The approved template for users whose window is shut, with its language.
    pub template: Option<TemplateConfig>,
    /// What a phone dials before a user's number to ask; `None` where phones cannot.
    pub code: Option<String>,
}

/// What decides about calls and requests of one business number, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberPolicy {
    /// Its telephone number.
    pub display_number: Msisdn,
    /// At most so many connected calls to all users.
    pub cap_per_number: CapConfig,
    /// At most so many connected calls to one user.
    pub cap_per_pair: CapConfig,
    /// At most so many calls at once, both directions.
    pub max_concurrent: u32,
    /// At most so many business-initiated calls begun in 24 hours.
    pub max_initiations: u32,
    /// Beginnings of users' numbers that are never called.
    pub never_call: Vec<String>,
    /// Where the house stops before Meta does.
    pub guards: GuardsConfig,
    /// How users are asked.
    pub ask: AskConfig,
}

/// A message template at Meta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateConfig {
    /// Its name.
    pub name: String,
    /// Its language, exactly as it was created: `en` and `en_US` are two.
    pub language: String,
}

/// `[policy]`
pub(super) fn policy(section: &mut Section<'_, '_, '_>) -> Option<PolicyConfig> {
    let own = section.or("countries", PathBuf::from(BUILT_IN))?;
    if own.as_os_str() == BUILT_IN {
        let countries = countries(COUNTRIES).expect("a test reads the table that is built in");
        return Some(PolicyConfig { countries });
    }
    let path = section.resolve(&own);
    let remedy = "start from config/countries.toml, which explains itself".to_owned();
    match section.surroundings().read_file(&path) {
        Ok(text) => match countries(&text) {
            Ok(countries) => return Some(PolicyConfig { countries }),
            Err(what) => section.fault_of("countries", format!("{}: {what}", path.display()), remedy),
        },
        Err(error) => {
            let problem = format!("{} cannot be read: {}", path.display(), plain(&error));
            section.fault_of("countries", problem, remedy);
        }
    }
    None
}

/// Reads a table of countries; `Err` says which row is wrong.
fn countries(text: &str) -> Result<CountryTable, String> {
    let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let rows = table.get_ref().get("country").and_then(|it| it.get_ref().as_array());
    let rows = rows.ok_or_else(|| "there is no [[country]]".to_owned())?;
    let read = |(at, row): (usize, &toml::Spanned<DeValue<'_>>)| {
        row.get_ref().as_table().and_then(country).ok_or_else(|| {
            format!(
                "[[country]] no. {} needs countries, a code of digits, and dates as \"2026-03-01\"",
                at + 1
            )
        })
    };
    Ok(CountryTable { rows: rows.iter().enumerate().map(read).collect::<Result<_, _>>()? })
}

fn country(row: &DeTable<'_>) -> Option<CountryRow> {
    let text = |key: &str| row.get(key).map(|it| it.get_ref().as_str());
    let list = |key: &str| match row.get(key) {
        None => Some(Vec::new()),
        Some(list) => {
            list.get_ref().as_array()?.iter().map(|it| it.get_ref().as_str().map(str::to_owned)).collect()
        }
    };
    let day = |key: &str| match text(key) {
        None => Some(None),
        Some(text) => date(text?).map(Some),
    };
    let digits = |it: &String| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    let (countries, except): (Vec<String>, Vec<String>) = (list("countries")?, list("except")?);
    let code = text("code")??.to_owned();
    if countries.is_empty() || !digits(&code) || !except.iter().all(digits) {
        return None;
    }
    Some(CountryRow {
        countries,
        code,
        except,
        from: day("from")?.unwrap_or(Wall(i64::MIN)),
        until: day("until")?,
    })
}

/// Midnight UTC of `2026-03-01`.
fn date(text: &str) -> Option<Wall> {
    let mut parts = text.splitn(3, '-').map(|it| it.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days of the civil calendar counted from 1970-01-01, years beginning in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    Some(Wall::from_secs(days * 86_400))
}

/// `[number.guards]`
pub(super) fn guards(section: &mut Section<'_, '_, '_>) -> Option<GuardsConfig> {
    // Meta: the user is asked to reconsider after 2, the permission ends after 4 (calling/user-call-permissions,
    // reference §16.5).
    let stop = section.or("unanswered_stop", 3);
    let why = "0 does not stop; Meta takes the permission after 4";
    let stop = section.within("unanswered_stop", stop, &(0..=4), why);
    let warn_at = section.or("warn_at", 80);
    let warn_at = section.within("warn_at", warn_at, &(1..=101), "it is a percentage; 101 never warns");
    let below = section.or("pickup_below", 70);
    let below = section.within("pickup_below", below, &(0..=100), "it is a percentage; 0 never alarms");
    let min_calls = section.or("pickup_min_calls", 20);
    let voicemail = section.or("pickup_voicemail", false);
    let counts = voicemail.map(|it| if it { PickedUpBy::Anybody } else { PickedUpBy::People });
    let hold_outside_hours = section.or("hold_outside_hours", false);
    Some(GuardsConfig {
        unanswered_stop: stop.map(|it| (it > 0).then_some(it))?,
        warn_at: warn_at?,
        pickup: PickUpAlarm { below: below?, min_calls: min_calls?, counts: counts? },
        hold_outside_hours: hold_outside_hours?,
    })
}

/// `[number.ask]`
pub(super) fn ask(section: &mut Section<'_, '_, '_>) -> Option<AskConfig> {
    let text = section.or("text", "May we call you?".to_owned());
    if let Some(long) = text.as_ref().filter(|it| it.chars().count() > 1024) {
        // Meta: the body of an interactive message (reference §6.1).
        let problem = format!("has {} characters; WhatsApp takes 1024", long.chars().count());
        section.fault_of("text", problem, "text = \"May we call you?\"".to_owned());
    }
    let template =
        if section.has("template") { section.part("template", template).map(Some) } else { Some(None) };
    let code = section.or("code", Digits("*74".to_owned()));
    // An empty code would take every number for a question.
    let code = code.map(|it| Some(it.0).filter(|it| !it.is_empty()));
    Some(AskConfig { text: text?, template: template?, code: code? })
}

fn template(section: &mut Section<'_, '_, '_>) -> Option<TemplateConfig> {
    let name = section.required::<String>("name", "\"may_we_call\"");
    let language = section.required::<String>("language", "\"en_US\"");
    Some(TemplateConfig { name: name?, language: language? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b18_the_table_that_is_built_in_blocks_five_countries_and_no_neighbour() {
        let table = countries(COUNTRIES).expect("readable");
        let now = date("2026-10-10").expect("a date");
        for number in ["+1 415 555 0100", "14165550100", "201555000100", "+84 1 5550 0100", "2345550100"] {
            assert!(table.of(number).at(now).is_some(), "{number}");
        }
        for number in ["+1 876 555 0100", "+49 30 5550 0010", "211555000100", "2335550100", "855550100", ""] {
            assert_eq!(table.of(number).at(now), None, "{number}");
        }
        let turkish = table.of("+90 212 555 0100");
        assert_eq!(turkish.at(now), None, "no longer on Meta's list");
        assert!(turkish.at(date("2025-10-10").expect("a date")).is_some());
    }

    #[test]
    fn a_date_is_midnight_utc() {
        assert_eq!(date("1970-01-01"), Some(Wall(0)));
        assert_eq!(date("2026-03-01"), Some(Wall::from_secs(1_772_323_200)));
        for wrong in ["2026-13-01", "2026-1", "soon", "2026-02-32"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_table_with_a_broken_row_names_it() {
        let good = "[[country]]\ncountries = [\"XX\"]\ncode = \"99\"\n";
        assert!(countries(good).is_ok());
        for wrong in
            ["code = \"9x\"", "code = 9", "until = \"soon\"\ncode = \"9\"", "except = [\"\"]\ncode = \"9\""]
        {
            let text = format!("{good}[[country]]\ncountries = [\"YY\"]\n{wrong}\n");
            assert!(countries(&text).is_err_and(|it| it.contains("no. 2")), "{wrong}");
        }
        assert!(countries("").is_err());
    }
}
