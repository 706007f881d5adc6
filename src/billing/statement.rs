//! Costs by month and market: what a bill of Meta's shows.

use std::collections::BTreeMap;

use super::market::Market;
use super::money::{Money, Pulses};
use super::tally::{Bill, Month};

/// What calls to one market cost in one month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Calls that were picked up.
    pub calls: u64,
    /// Those of them whose cost is an estimate: no duration from Meta, or no rate of their own.
    pub estimated: u64,
    /// Their connected time.
    pub pulses: Pulses,
    /// Their cost.
    pub cost: Money,
}

/// Costs by month and market.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// In order.
    pub rows: BTreeMap<(Month, Market), Sum>,
    /// Calls for which no card has a rate.
    pub unrated: u64,
}

impl Statement {
    /// Adds a call.
    pub fn add(&mut self, bill: &Bill) {
        let charge = match bill {
            Bill::Free(_) => return,
            Bill::Unrated(_) => {
                self.unrated += 1;
                return;
            }
            Bill::Charged(charge) => charge,
        };
        let sum = self.rows.entry((charge.month, charge.market.clone())).or_default();
        sum.calls += 1;
        sum.estimated += u64::from(!charge.is_exact());
        sum.pulses += charge.pulses;
        sum.cost += charge.cost;
    }

    /// All rows together.
    #[must_use]
    pub fn total(&self) -> Sum {
        self.rows.values().fold(Sum::default(), |all, row| Sum {
            calls: all.calls + row.calls,
            estimated: all.estimated + row.estimated,
            pulses: all.pulses + row.pulses,
            cost: all.cost + row.cost,
        })
    }
}
