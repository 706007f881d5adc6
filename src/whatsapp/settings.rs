//! The calling settings of a business number at Meta: `GET` and `POST /{PHONE_NUMBER_ID}/settings` (reference §5).
//!
//! What the administrator's file names is wanted, the rest is Meta's own: [`Wanted::drift`] compares, and
//! [`Wanted::bodies`] mends, one group of settings per request, because Meta may refuse mixed ones.

use std::fmt;

use serde_json::{Value, json};

/// A minute of a day; prints as Meta's `HHMM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minutes(pub u16);

impl Minutes {
    /// Reads `0930`, and `09:30` as one of Meta's samples has it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.replacen(':', "", 1);
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse::<u16>().ok()?;
        (number / 100 < 24 && number % 100 < 60).then_some(Self(number / 100 * 60 + number % 100))
    }
}

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Day {
    /// The first.
    Monday,
    /// The second.
    Tuesday,
    /// The third.
    Wednesday,
    /// The fourth.
    Thursday,
    /// The fifth.
    Friday,
    /// The sixth.
    Saturday,
    /// The seventh.
    Sunday,
}

impl Day {
    /// The week, Monday first.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    /// Meta's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Monday => "MONDAY",
            Self::Tuesday => "TUESDAY",
            Self::Wednesday => "WEDNESDAY",
            Self::Thursday => "THURSDAY",
            Self::Friday => "FRIDAY",
            Self::Saturday => "SATURDAY",
            Self::Sunday => "SUNDAY",
        }
    }
}

/// An entry of `weekly_operating_hours`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeeklyHours {
    /// `day_of_week`
    pub day: Day,
    /// `open_time`
    pub open: Minutes,
    /// `close_time`
    pub close: Minutes,
}

/// An entry of `holiday_schedule`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HolidayHours {
    /// `date`, `2027-01-01`.
    pub date: String,
    /// `start_time` of being closed.
    pub start: Minutes,
    /// `end_time` of being closed.
    pub end: Minutes,
}

/// `call_hours` that are enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallHours {
    /// `timezone_id`
    pub zone: String,
    /// `weekly_operating_hours`
    pub weekly: Vec<WeeklyHours>,
    /// `holiday_schedule`
    pub holidays: Vec<HolidayHours>,
}

impl CallHours {
    fn body(&self) -> Value {
        let weekly: Vec<Value> = self
            .weekly
            .iter()
            .map(|it| {
                json!({ "day_of_week": it.day.word(), "open_time": it.open.to_string(),
                        "close_time": it.close.to_string() })
            })
            .collect();
        let holidays: Vec<Value> = self
            .holidays
            .iter()
            .map(|it| json!({ "date": it.date, "start_time": it.start.to_string(), "end_time": it.end.to_string() }))
            .collect();
        json!({ "status": "ENABLED", "timezone_id": self.zone, "weekly_operating_hours": weekly,
                "holiday_schedule": holidays })
    }

    /// In a form in which order and Meta's two spellings make no difference.
    fn lines(&self) -> Vec<String> {
        let mut weekly: Vec<_> = self.weekly.clone();
        weekly.sort_unstable();
        let mut holidays: Vec<_> = self.holidays.clone();
        holidays.sort_unstable();
        let mut lines = vec![self.zone.clone()];
        lines.extend(weekly.iter().map(|it| format!("{} {}-{}", it.day.word(), it.open, it.close)));
        lines.extend(holidays.iter().map(|it| format!("{} closed {}-{}", it.date, it.start, it.end)));
        lines
    }

    /// Reads what Meta has; what makes no sense is left out, so that it shows as a difference.
    fn read(hours: &Value) -> Self {
        let time = |it: &Value| it.as_str().and_then(Minutes::parse);
        let items = |key: &str| hours[key].as_array().cloned().unwrap_or_default();
        let weekly = items("weekly_operating_hours");
        let weekly = weekly.iter().filter_map(|it| {
            let word = it["day_of_week"].as_str()?.to_ascii_uppercase();
            let day = Day::ALL.into_iter().find(|day| day.word() == word)?;
            Some(WeeklyHours { day, open: time(&it["open_time"])?, close: time(&it["close_time"])? })
        });
        let holidays = items("holiday_schedule");
        // Meta's table and its sample disagree on the names of these keys.
        let either = |it: &Value, one: &str, other: &str| time(&it[one]).or_else(|| time(&it[other]));
        let holidays = holidays.iter().filter_map(|it| {
            Some(HolidayHours {
                date: it["date"].as_str()?.to_owned(),
                start: either(it, "start_time", "open_time")?,
                end: either(it, "end_time", "close_time")?,
            })
        });
        let zone = hours["timezone_id"].as_str().unwrap_or_default().to_owned();
        Self { zone, weekly: weekly.collect(), holidays: holidays.collect() }
    }
}

/// What the administrator wants of a number; `None` leaves Meta's own alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `status`: whether the number takes and makes calls.
    pub calls: Option<bool>,
    /// `call_icon_visibility`: whether chats show the call button.
    pub icon: Option<bool>,
    /// `call_icons.restrict_to_user_countries`; empty for all.
    pub countries: Option<Vec<String>>,
    /// `callback_permission_status`: whether a user who calls may be called back.
    pub callback_permission: Option<bool>,
    /// `call_hours`; the inner `None` is "always open".
    pub hours: Option<Option<CallHours>>,
}

/// One setting in which Meta and the file differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The path under `calling`.
    pub path: &'static str,
    /// What the file wants, a line per part.
    pub wanted: Vec<String>,
    /// What Meta has; empty if it says nothing.
    pub found: Vec<String>,
}

impl Wanted {
    /// Where Meta's `calling` differs from what is wanted.
    #[must_use]
    pub fn drift(&self, calling: &Value) -> Vec<Drift> {
        let mut all = Vec::new();
        let mut compare = |path, wanted: Vec<String>, found: Vec<String>| {
            if wanted != found {
                all.push(Drift { path, wanted, found });
            }
        };
        let word = |value: &Value| value.as_str().map(str::to_ascii_uppercase).into_iter().collect();
        if let Some(calls) = self.calls {
            compare("status", vec![switch(calls).to_owned()], word(&calling["status"]));
        }
        if let Some(icon) = self.icon {
            // One page of Meta's prints it with a space.
            let found: Vec<String> = word(&calling["call_icon_visibility"]);
            let found = found.into_iter().map(|it| it.replace(' ', "_")).collect();
            compare("call_icon_visibility", vec![visibility(icon).to_owned()], found);
        }
        if let Some(countries) = &self.countries {
            let found = calling["call_icons"]["restrict_to_user_countries"].as_array();
            let mut found: Vec<String> = found
                .into_iter()
                .flatten()
                .filter_map(|it| Some(it.as_str()?.to_ascii_uppercase()))
                .collect();
            let mut wanted = countries.clone();
            found.sort_unstable();
            wanted.sort_unstable();
            compare("call_icons.restrict_to_user_countries", wanted, found);
        }
        if let Some(callback) = self.callback_permission {
            let found = word(&calling["callback_permission_status"]);
            compare("callback_permission_status", vec![switch(callback).to_owned()], found);
        }
        if let Some(hours) = &self.hours {
            let found = &calling["call_hours"];
            let enabled = found["status"].as_str().is_some_and(|it| it.eq_ignore_ascii_case("enabled"));
            let always = || vec!["always open".to_owned()];
            let found = if enabled { CallHours::read(found).lines() } else { always() };
            compare("call_hours", hours.as_ref().map_or_else(always, CallHours::lines), found);
        }
        all
    }

    /// The bodies of the requests that mend these differences.
    #[must_use]
    pub fn bodies(&self, drift: &[Drift]) -> Vec<Value> {
        drift.iter().filter_map(|it| Some(json!({ "calling": self.body(it.path)? }))).collect()
    }

    fn body(&self, path: &str) -> Option<Value> {
        Some(match path {
            "status" => json!({ "status": switch(self.calls?) }),
            "call_icon_visibility" => json!({ "call_icon_visibility": visibility(self.icon?) }),
            "call_icons.restrict_to_user_countries" => {
                json!({ "call_icons": { "restrict_to_user_countries": self.countries.as_ref()? } })
            }
            "callback_permission_status" => {
                json!({ "callback_permission_status": switch(self.callback_permission?) })
            }
            "call_hours" => {
                let closed = || json!({ "status": "DISABLED" });
                json!({ "call_hours": self.hours.as_ref()?.as_ref().map_or_else(closed, CallHours::body) })
            }
            _ => return None,
        })
    }
}

const fn switch(on: bool) -> &'static str {
    if on { "ENABLED" } else { "DISABLED" }
}

const fn visibility(shown: bool) -> &'static str {
    if shown { "DEFAULT" } else { "DISABLE_ALL" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours() -> CallHours {
        let weekly = |day, open, close| WeeklyHours { day, open: Minutes(open), close: Minutes(close) };
        let holiday = HolidayHours { date: "2027-01-01".into(), start: Minutes(0), end: Minutes(1439) };
        CallHours {
            zone: "America/Sao_Paulo".into(),
            weekly: vec![weekly(Day::Monday, 480, 720), weekly(Day::Monday, 780, 1080)],
            holidays: vec![holiday],
        }
    }

    #[test]
    fn what_was_written_reads_back_without_a_difference() {
        let wanted = Wanted {
            calls: Some(true),
            icon: Some(false),
            countries: Some(vec!["DE".into(), "BR".into()]),
            callback_permission: Some(true),
            hours: Some(Some(hours())),
        };
        let everything = wanted.drift(&Value::Null);
        assert_eq!(everything.len(), 5);
        let mut at_meta = json!({});
        for body in wanted.bodies(&everything) {
            let group = body["calling"].as_object().expect("an object");
            assert_eq!(group.len(), 1, "one group a request");
            for (key, value) in group {
                at_meta[key] = value.clone();
            }
        }
        assert_eq!(wanted.drift(&at_meta), []);
        assert_eq!(at_meta["call_hours"]["weekly_operating_hours"][0]["open_time"], "0800");
    }

    #[test]
    fn metas_other_spellings_are_no_difference_and_order_is_none_either() {
        let wanted = Wanted { hours: Some(Some(hours())), icon: Some(false), ..Wanted::default() };
        let at_meta = json!({ "call_icon_visibility": "DISABLE ALL", "call_hours": {
            "status": "enabled", "timezone_id": "America/Sao_Paulo",
            "weekly_operating_hours": [
                { "day_of_week": "MONDAY", "open_time": "13:00", "close_time": "18:00" },
                { "day_of_week": "monday", "open_time": "08:00", "close_time": "12:00" } ],
            "holiday_schedule": [ { "date": "2027-01-01", "open_time": "0000", "close_time": "2359" } ] } });
        assert_eq!(wanted.drift(&at_meta), []);
    }

    #[test]
    fn what_the_file_does_not_name_is_metas_own_and_a_difference_names_both_sides() {
        assert_eq!(Wanted::default().drift(&json!({ "status": "DISABLED" })), []);
        let wanted = Wanted { calls: Some(true), hours: Some(None), ..Wanted::default() };
        let at_meta =
            json!({ "status": "DISABLED", "call_hours": { "status": "ENABLED", "timezone_id": "UTC" } });
        let drift = wanted.drift(&at_meta);
        assert_eq!(drift[0].wanted, ["ENABLED"]);
        assert_eq!(
            (&drift[1].wanted[..], &drift[1].found[..]),
            (&["always open".to_owned()][..], &["UTC".to_owned()][..])
        );
        assert_eq!(
            wanted.bodies(&drift[1..]),
            [json!({ "calling": { "call_hours": { "status": "DISABLED" } } })]
        );
    }

    #[test]
    fn a_time_of_day_is_four_digits_of_a_clock() {
        assert_eq!(
            (Minutes::parse("0930"), Minutes::parse("09:30")),
            (Some(Minutes(570)), Some(Minutes(570)))
        );
        for wrong in ["930", "2400", "0960", "09:3", "", "0a30"] {
            assert_eq!(Minutes::parse(wrong), None, "{wrong}");
        }
    }
}
