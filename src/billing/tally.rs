//! The running account: calls in, what each costs out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::card::RateCard;
use super::market::Market;
use super::money::{Money, Pulses, Rate};
use crate::call::{CallDirection, CallRecord};
use crate::time::Wall;

/// A calendar month in the time zone of the account; prints as `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// The year.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
}

impl Month {
    /// Reads `2026-11`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits = |it: &str, length| it.len() == length && it.bytes().all(|b| b.is_ascii_digit());
        let month = Self {
            year: year.parse().ok().filter(|_| digits(year, 4))?,
            month: month.parse().ok().filter(|_| digits(month, 2))?,
        };
        (1..=12).contains(&month.month).then_some(month)
    }

    /// The month of a moment.
    #[must_use]
    pub fn of(at: Wall, zone: &TimeZone) -> Self {
        Self::of_day(day(at, zone))
    }

    fn of_day(day: Date) -> Self {
        Self { year: day.year(), month: day.month() }
    }

    /// The month after.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { year: self.year, month: self.month + 1 }
        }
    }

    /// Its first moment.
    #[must_use]
    pub fn begins(self, zone: &TimeZone) -> Wall {
        let first = Date::new(self.year, self.month, 1).ok();
        let begins = first.and_then(|it| it.to_zoned(zone.clone()).ok());
        begins.map_or(Wall(0), |it| Wall(it.timestamp().as_millisecond()))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

fn day(at: Wall, zone: &TimeZone) -> Date {
    let stamp = Timestamp::from_millisecond(at.millis()).unwrap_or(Timestamp::UNIX_EPOCH);
    zone.to_datetime(stamp).date()
}

/// Why a call costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// The user called.
    UserInitiated,
    /// Nobody picked up.
    NotConnected,
    /// It is not over.
    StillUp,
}

/// Whose clock measured the connected time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// `duration` of Meta's `terminate`: what is billed.
    ByMeta,
    /// Ours, because Meta's `terminate` never came: an estimate.
    ByUs,
}

/// Where the rate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It stands in the card, for this market and tier.
    Exactly,
    /// The card has fewer tiers for this market: the last one that is known.
    LastTier,
    /// The card does not know the market: the rate of all others.
    Otherwise,
}

/// What one call costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// In which month it counts.
    pub month: Month,
    /// The user's market.
    pub market: Market,
    /// Its connected time.
    pub pulses: Pulses,
    /// Whose clock that is.
    pub timed: Timed,
    /// The tier of the month, from 1.
    pub tier: usize,
    /// Per minute.
    pub rate: Rate,
    /// Where the rate comes from.
    pub listed: Listed,
    /// What it costs.
    pub cost: Money,
}

impl Charge {
    /// Whether the card and Meta's own clock have the last word; otherwise it is an estimate.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.timed == Timed::ByMeta && self.listed == Listed::Exactly
    }
}

/// What a call costs, or why nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bill {
    /// Nothing.
    Free(Free),
    /// This.
    Charged(Charge),
    /// It was before the first card, or the card has no rate for anybody.
    Unrated(Pulses),
}

/// The running account of one business portfolio.
#[derive(Clone, Debug)]
pub struct Tally {
    card: Arc<RateCard>,
    zone: TimeZone,
    months: BTreeMap<(Month, Market), Pulses>,
}

impl Tally {
    /// An empty account by a card, with months in the time zone of the WhatsApp Business account.
    #[must_use]
    pub const fn new(card: Arc<RateCard>, zone: TimeZone) -> Self {
        Self { card, zone, months: BTreeMap::new() }
    }

    /// The time zone of its months.
    #[must_use]
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The card it goes by.
    #[must_use]
    pub fn card(&self) -> &RateCard {
        &self.card
    }

    /// What a call costs, after all that were billed before it. Give it the calls in their order, from the
    /// first of their month on: tiers are reached in that order.
    pub fn bill(&mut self, record: &CallRecord) -> Bill {
        let (started, connected, timed) = match connected(record) {
            Ok(known) => known,
            Err(free) => return Bill::Free(free),
        };
        let pulses = Pulses::of(connected);
        let day = day(started, &self.zone);
        let market = self.card.markets.of(&record.user).clone();
        let month = Month::of_day(day);
        let sum = self.months.entry((month, market.clone())).or_default();
        *sum += pulses;
        let own = self.card.rates(day, &market).map(|found| (found, Listed::Exactly));
        let others = || {
            let found = self.card.rates(day, self.card.markets.otherwise())?;
            Some((found, Listed::Otherwise))
        };
        let Some(((card, rates), listed)) = own.or_else(others) else { return Bill::Unrated(pulses) };
        // Meta: a call that crosses the limit is priced at the lower rate as a whole.
        let tier = card.tier(*sum);
        let Some(rate) = rates.get(tier).or(rates.last()).copied() else { return Bill::Unrated(pulses) };
        let listed = if listed == Listed::Exactly && tier >= rates.len() { Listed::LastTier } else { listed };
        let cost = rate.cost(pulses);
        Bill::Charged(Charge { month, market, pulses, timed, tier: tier + 1, rate, listed, cost })
    }
}

/// When the user picked up, for how long, and by whose clock.
fn connected(record: &CallRecord) -> Result<(Wall, Duration, Timed), Free> {
    if record.direction == CallDirection::UserInitiated {
        return Err(Free::UserInitiated);
    }
    let ended = record.ended.ok_or(Free::StillUp)?;
    if let Some(seconds) = record.meta_duration {
        let started = record.meta_start.or(record.answered).unwrap_or(record.opened);
        return Ok((started, Duration::from_secs(seconds.into()), Timed::ByMeta));
    }
    let answered = record.answered.ok_or(Free::NotConnected)?;
    Ok((answered, ended.since(answered), Timed::ByUs))
}

#[cfg(test)]
mod tests;
