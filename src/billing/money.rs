//! Pulses, rates and money: whole numbers, because money is exact.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// Started pulses of six seconds (Meta: calling/pricing; reference §17).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pulses(pub u64);

impl Pulses {
    /// So many pulses are a minute.
    pub const PER_MINUTE: u64 = 10;
    const MILLIS: u128 = 6000;

    /// The pulses that connected time has begun: 56 s are 10, 60 s are 10, 61 s are 11.
    #[must_use]
    pub fn of(connected: Duration) -> Self {
        Self(u64::try_from(connected.as_millis().div_ceil(Self::MILLIS)).unwrap_or(u64::MAX))
    }
}

impl Add for Pulses {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Pulses {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// A price per minute in millionths of the card's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u32);

impl Rate {
    /// Reads `0.0108`: digits with at most six after the point.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 6 {
            return None;
        }
        let part = format!("{part:0<6}").parse::<u32>().ok()?;
        whole.parse::<u32>().ok()?.checked_mul(1_000_000)?.checked_add(part).map(Self)
    }

    /// What pulses cost: a tenth of the rate each.
    #[must_use]
    pub fn cost(self, pulses: Pulses) -> Money {
        Money(pulses.0.saturating_mul(self.0.into()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Money(u64::from(self.0) * 10).fmt(f)
    }
}

/// An amount in ten-millionths of the card's currency: a pulse of a rate of millionths is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub u64);

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Prints exactly, with at least four places: `0.0108`, `0.00108`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = format!("{:07}", self.0 % 10_000_000);
        let kept = places.trim_end_matches('0').len().max(4);
        write!(f, "{}.{}", self.0 / 10_000_000, &places[..kept])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b17_a_started_pulse_counts_whole_and_56_seconds_are_ten() {
        let pulses = |millis| Pulses::of(Duration::from_millis(millis)).0;
        assert_eq!(pulses(56_000), 10);
        assert_eq!([pulses(0), pulses(1), pulses(6000), pulses(6001)], [0, 1, 1, 2]);
        assert_eq!([pulses(60_000), pulses(61_000)], [10, 11]);
    }

    #[test]
    fn a_rate_reads_exactly_and_a_cost_prints_exactly() {
        let rate = Rate::parse("0.0108").expect("a rate");
        assert_eq!(rate, Rate(10_800));
        assert_eq!(rate.cost(Pulses(10)).to_string(), "0.0108");
        assert_eq!(rate.cost(Pulses(1)).to_string(), "0.00108");
        assert_eq!(
            (rate.to_string().as_str(), Money(123_456_789_000).to_string().as_str()),
            ("0.0108", "12345.6789")
        );
        assert_eq!(Rate::parse("1"), Some(Rate(1_000_000)));
        for wrong in ["", ".", "0.", ".1", "-0.1", "0,01", "0.0000001", "1e3", "9999"] {
            assert_eq!(Rate::parse(wrong), None, "{wrong}");
        }
    }
}
