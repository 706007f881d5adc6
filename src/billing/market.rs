//! Which market a user belongs to: by the longest beginning of the number, else by the country of the scoped id.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::user::{Bsuid, UserId};

/// A market of the rate card, as the card names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Market(Arc<str>);

impl Market {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Market {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Countries and the beginnings of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markets {
    by_prefix: BTreeMap<String, Market>,
    by_country: BTreeMap<String, Market>,
    otherwise: Market,
}

impl Markets {
    /// From the market of each country (ISO 3166, two letters), the countries' calling codes, and the market of
    /// everybody else.
    #[must_use]
    pub fn new(
        by_country: BTreeMap<String, Market>,
        codes: &BTreeMap<String, Vec<String>>,
        otherwise: Market,
    ) -> Self {
        let market = |country: &String| by_country.get(country).unwrap_or(&otherwise).clone();
        let by_prefix = codes
            .iter()
            .flat_map(|(country, codes)| codes.iter().map(move |code| (code.clone(), market(country))))
            .collect();
        Self { by_prefix, by_country, otherwise }
    }

    /// The market of a user; the number goes before the id, as Meta bills by country code.
    #[must_use]
    pub fn of(&self, user: &UserId) -> &Market {
        let by_number = user.phone().and_then(|it| self.of_digits(it.digits()));
        let by_id = || user.scoped().and_then(|it| self.of_country(it));
        by_number.or_else(by_id).unwrap_or(&self.otherwise)
    }

    fn of_digits(&self, digits: &str) -> Option<&Market> {
        (1..=digits.len()).rev().find_map(|length| self.by_prefix.get(&digits[..length]))
    }

    fn of_country(&self, id: &Bsuid) -> Option<&Market> {
        let (country, _) = id.as_str().split_once('.')?;
        self.by_country.get(&country.to_ascii_uppercase())
    }

    /// The market of everybody who has no other.
    #[must_use]
    pub const fn otherwise(&self) -> &Market {
        &self.otherwise
    }
}
