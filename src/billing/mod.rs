//! What Meta charges for calls: pulses, markets, monthly tiers, cost (reference §17). No clock, no store.
//!
//! A call of a user is free. A call to a user costs by its connected time in pulses of six seconds, rounded up,
//! at the rate of the user's market and of the tier that the month's minutes to this market have reached.
//! [`Tally::bill`] is given the calls in their order and keeps nothing but a count per month and market.

mod card;
mod market;
mod money;
mod statement;
mod tally;

pub use card::{Card, RateCard};
pub use market::{Market, Markets};
pub use money::{Money, Pulses, Rate};
pub use statement::{Statement, Sum};
pub use tally::{Bill, Charge, Free, Listed, Month, Tally, Timed};
