//! Rate cards: prices per minute by market and tier, each from its first day on.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::market::{Market, Markets};
use super::money::{Pulses, Rate};

/// One card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its first day.
    pub from: Date,
    /// Up to so many minutes of a month each tier goes; one more tier lies above the last.
    pub tiers: Vec<u64>,
    /// Rates by market, the first tier first; never empty.
    pub rates: BTreeMap<Market, Vec<Rate>>,
}

impl Card {
    /// The tier, from 0, that so many pulses of a month have reached: 50,000 minutes are the first, a pulse more
    /// is the second.
    #[must_use]
    pub fn tier(&self, month: Pulses) -> usize {
        self.tiers.iter().filter(|minutes| month.0 > *minutes * Pulses::PER_MINUTE).count()
    }
}

/// All cards and the countries they speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateCard {
    /// The currency of all rates, `USD`.
    pub currency: String,
    /// Who belongs where.
    pub markets: Markets,
    cards: Vec<Card>,
}

impl RateCard {
    /// From cards in any order.
    #[must_use]
    pub fn new(currency: String, markets: Markets, mut cards: Vec<Card>) -> Self {
        cards.sort_by_key(|it| it.from);
        Self { currency, markets, cards }
    }

    /// The card and the rates of a market on a day: of the newest card that knows the market.
    #[must_use]
    pub fn rates(&self, day: Date, market: &Market) -> Option<(&Card, &[Rate])> {
        let begun = self.cards.iter().rev().filter(|it| it.from <= day);
        begun.filter_map(|card| Some((card, card.rates.get(market)?.as_slice()))).next()
    }
}
