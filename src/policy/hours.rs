//! When a business number takes calls: weekly hours, holidays, a time zone. No clock: `now` is an argument.
//!
//! Hours are times on the wall of the business: "09:00-17:00" is the same in summer and in winter, and an hour that
//! a change of the clocks skips or repeats is skipped or repeated.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use crate::time::Wall;
use crate::whatsapp::settings::{CallHours, Day, HolidayHours, Minutes, WeeklyHours};

/// From one minute of a day to another, the second one not included; `1440` is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    from: u16,
    to: u16,
}

const DAY_END: u16 = 24 * 60;

impl Span {
    /// The whole day.
    pub const WHOLE_DAY: Self = Self { from: 0, to: DAY_END };

    /// From a minute to a later one of the same day.
    #[must_use]
    pub fn new(from: u16, to: u16) -> Option<Self> {
        (from < to && to <= DAY_END).then_some(Self { from, to })
    }

    /// Reads `09:00-17:30`; `24:00` is the end of the day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        Self::new(minute(from.trim())?, minute(to.trim())?)
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |it: &str| it.len() == 2 && it.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY_END).then_some(all)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// The hours of a business number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpeningHours {
    zone: TimeZone,
    /// Monday first; the spans of a day in order, none meets another.
    week: [Vec<Span>; 7],
    /// Days with hours of their own, mostly none.
    holidays: BTreeMap<Date, Vec<Span>>,
}

/// Whether a number is open at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is, until then; `None`: for more than a year.
    Open {
        /// The first moment of being closed.
        until: Option<Wall>,
    },
    /// It is not, until then; `None`: for more than a year.
    Closed {
        /// The first moment of being open.
        until: Option<Wall>,
    },
}

/// Two spans of one day share a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap(pub Span, pub Span);

/// How far ahead the next change is looked for: a year and a day of leap.
const HORIZON: usize = 367;

impl OpeningHours {
    /// Hours of a week, Monday first, and of single days.
    ///
    /// # Errors
    /// The first two spans of a day that overlap.
    pub fn new(
        zone: TimeZone,
        week: [Vec<Span>; 7],
        holidays: BTreeMap<Date, Vec<Span>>,
    ) -> Result<Self, Overlap> {
        let mut hours = Self { zone, week, holidays };
        for day in hours.week.iter_mut().chain(hours.holidays.values_mut()) {
            day.sort_unstable();
            if let Some(pair) = day.windows(2).find(|pair| pair[1].from < pair[0].to) {
                return Err(Overlap(pair[0], pair[1]));
            }
        }
        Ok(hours)
    }

    /// Whether the number is open.
    #[must_use]
    pub fn at(&self, now: Wall) -> Opening {
        let stamp = Timestamp::from_millisecond(now.millis()).unwrap_or(Timestamp::UNIX_EPOCH);
        let local = self.zone.to_datetime(stamp);
        let open = self.is_open(local);
        // The next change on the wall, at the first moment at which it shows there ...
        let until = self.changes(local.date()).filter(|(_, opens)| *opens != open);
        let until = until.flat_map(|(at, _)| self.moments(at)).find(|it| *it > now);
        // ... unless the clocks change before, into an hour in which it is otherwise.
        let jump = self.zone.following(stamp).next().map(|it| it.timestamp());
        let jump = jump.filter(|it| self.is_open(self.zone.to_datetime(*it)) != open);
        let jump = jump.map(|it| Wall(it.as_millisecond()));
        let until = [until, jump].into_iter().flatten().min();
        if open { Opening::Open { until } } else { Opening::Closed { until } }
    }

    fn is_open(&self, at: DateTime) -> bool {
        let minute = u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs());
        self.spans(at.date()).iter().any(|it| it.from <= minute && minute < it.to)
    }

    fn spans(&self, day: Date) -> &[Span] {
        let week = || &self.week[usize::from(day.weekday().to_monday_zero_offset().unsigned_abs())];
        self.holidays.get(&day).unwrap_or_else(week)
    }

    /// When it opens (`true`) and closes from the beginning of `day` on; a day that ends open and is followed
    /// by one that begins open is no change.
    fn changes(&self, day: Date) -> impl Iterator<Item = (DateTime, bool)> {
        let days = std::iter::successors(Some(day), |day| day.tomorrow().ok()).take(HORIZON);
        let end =
            day.saturating_add(i64::try_from(HORIZON).unwrap_or(0).days()).to_datetime(Time::midnight());
        let mut until = None::<DateTime>;
        let mut pending = days.flat_map(|day| self.spans(day).iter().map(move |span| (day, *span)));
        let mut queued: Option<(DateTime, bool)> = None;
        std::iter::from_fn(move || {
            if let Some(change) = queued.take() {
                return Some(change);
            }
            loop {
                let Some((day, span)) = pending.next() else {
                    // What goes on beyond the horizon does not end there.
                    return until.take().filter(|at| *at < end).map(|at| (at, false));
                };
                let (from, to) = (wall(day, span.from), wall(day, span.to));
                if until == Some(from) {
                    until = Some(to);
                    continue;
                }
                let closed = until.replace(to);
                let opens = (from, true);
                return match closed {
                    Some(at) => {
                        queued = Some(opens);
                        Some((at, false))
                    }
                    None => Some(opens),
                };
            }
        })
    }

    /// When a time shows on the wall: once, or twice when the clocks go back over it; a time that they skip is
    /// the one that they show then.
    fn moments(&self, at: DateTime) -> impl Iterator<Item = Wall> + use<> {
        let ambiguous = self.zone.to_ambiguous_zoned(at);
        let twice = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
        let second = twice.then(|| ambiguous.clone().later().ok()).flatten();
        let first = ambiguous.compatible().ok();
        first.into_iter().chain(second).map(|it| Wall(it.timestamp().as_millisecond()))
    }

    /// Its time zone.
    #[must_use]
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The hours as Meta writes them (reference §5.1): two spans a day, twenty holidays, none of them past.
    ///
    /// # Errors
    /// Which of Meta's limits they do not fit, for the administrator.
    pub fn for_meta(&self, now: Wall) -> Result<CallHours, String> {
        let zone = self.zone.iana_name().unwrap_or("UTC").to_owned();
        let mut weekly = Vec::new();
        for (index, spans) in self.week.iter().enumerate() {
            let day = Day::ALL[index];
            if spans.len() > 2 {
                return Err(format!("{} has {} spans; Meta takes two a day", day.word(), spans.len()));
            }
            weekly.extend(spans.iter().map(|it| WeeklyHours {
                day,
                open: Minutes(it.from),
                close: Minutes(it.to.min(DAY_END - 1)),
            }));
        }
        if weekly.is_empty() {
            return Err("no day has hours; Meta wants at least one".to_owned());
        }
        let stamp = Timestamp::from_millisecond(now.millis()).unwrap_or(Timestamp::UNIX_EPOCH);
        let today = self.zone.to_datetime(stamp).date();
        let coming = self.holidays.range(today..);
        let holidays: Vec<HolidayHours> = coming
            .flat_map(|(date, spans)| {
                closed_spans(spans).into_iter().map(|it| HolidayHours {
                    date: date.to_string(),
                    start: Minutes(it.from),
                    end: Minutes(it.to.min(DAY_END - 1)),
                })
            })
            .collect();
        if holidays.len() > 20 {
            return Err(format!("{} coming holidays; Meta takes 20", holidays.len()));
        }
        Ok(CallHours { zone, weekly, holidays })
    }
}

/// Meta's holidays say when a number is closed (its sample has New Year's Day from 0000 to 2359).
fn closed_spans(open: &[Span]) -> Vec<Span> {
    let mut from = 0;
    let mut closed = Vec::new();
    for span in open {
        closed.extend(Span::new(from, span.from));
        from = span.to;
    }
    closed.extend(Span::new(from, DAY_END));
    closed
}

fn wall(day: Date, minute: u16) -> DateTime {
    if minute == DAY_END {
        return day.tomorrow().unwrap_or(day).to_datetime(Time::midnight());
    }
    let (hour, minute) = (i8::try_from(minute / 60).unwrap_or(0), i8::try_from(minute % 60).unwrap_or(0));
    day.at(hour, minute, 0, 0)
}

#[cfg(test)]
mod tests;
