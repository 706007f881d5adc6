//! Emergency numbers: known before any other rule of the dial plan, and never dialled into WhatsApp (rule 10).

use std::collections::BTreeSet;

use crate::id::{Endpoint, PhoneName, TrunkName};

/// The numbers by country, each row with its source.
///
/// More than emergency numbers in the narrow sense, where a country has short codes that people dial in distress: one
/// too many costs nothing, for none of them is a WhatsApp user's.
const TABLE: &str = include_str!("../../config/emergency/numbers.csv");

/// What somebody dials who asks for help by the name of the service (RFC 5031 §4.2).
pub const SERVICE: &str = "urn:service:sos";

/// Which numbers are emergency numbers, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmergencyPlan {
    /// Digits without `+`.
    pub numbers: BTreeSet<String>,
    /// Who takes them; `None`: they are refused.
    pub route: Option<EmergencyRoute>,
    /// The number that the service is shown, to call back; `None`: the caller's own.
    pub caller: Option<String>,
    /// Whether a phone's name that is also such a number is the phone or the emergency.
    pub extensions: Extensions,
}

/// Who takes emergency calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmergencyRoute {
    /// A trunk, which gets the number as it was dialled.
    Trunk(TrunkName),
    /// A phone: the gate or a guard, where the house has to call for help itself.
    Phone(PhoneName),
}

/// Who is meant by digits that are a phone's name and an emergency number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extensions {
    /// The phone.
    #[default]
    Win,
    /// The emergency service.
    Yield,
}

impl EmergencyPlan {
    /// The numbers alone; they are refused.
    #[must_use]
    pub fn refusing(numbers: impl IntoIterator<Item = String>) -> Self {
        Self { numbers: numbers.into_iter().collect(), ..Self::default() }
    }

    /// Whether `digits` are such a number.
    #[must_use]
    pub fn has(&self, digits: &str) -> bool {
        self.numbers.contains(digits.trim_start_matches('+'))
    }

    /// Where who asks for the [`SERVICE`] goes.
    ///
    /// By 112 or 911, which mobile phones know everywhere (3GPP TS 22.101 §10.1), or by the first number there is.
    #[must_use]
    pub fn way_to_service(&self, caller: &Endpoint) -> Option<Endpoint> {
        let usual = ["112", "911"].into_iter().find(|number| self.has(number));
        let number = usual.or_else(|| self.numbers.first().map(String::as_str))?;
        self.way(caller, number)
    }

    /// Where `digits` of `caller` go; `None`: nowhere. Nobody's call goes back to where it comes from: it would circle.
    #[must_use]
    pub fn way(&self, caller: &Endpoint, digits: &str) -> Option<Endpoint> {
        let number = digits.trim_start_matches('+').to_owned();
        match (self.route.as_ref()?, caller) {
            (EmergencyRoute::Trunk(trunk), Endpoint::Trunk(from, _)) if trunk == from => None,
            (EmergencyRoute::Phone(phone), Endpoint::Phone(from)) if phone == from => None,
            (EmergencyRoute::Trunk(trunk), _) => Some(Endpoint::Trunk(trunk.clone(), number)),
            (EmergencyRoute::Phone(phone), _) => Some(Endpoint::Phone(phone.clone())),
        }
    }
}

/// The emergency numbers of a country (ISO 3166, two letters in either case); `None` if it is not in the table.
#[must_use]
pub fn of_country(country: &str) -> Option<Vec<&'static str>> {
    rows()
        .find(|(name, _)| name.eq_ignore_ascii_case(country))
        .map(|(_, numbers)| numbers.split(' ').collect())
}

/// The countries of the table.
pub fn countries() -> impl Iterator<Item = &'static str> {
    rows().map(|(country, _)| country)
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = TABLE.lines().skip(1).filter(|line| !line.is_empty());
    lines.filter_map(|line| {
        let mut fields = line.splitn(3, ',');
        Some((fields.next()?, fields.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_country_short_numbers_and_a_source() {
        let mut seen = BTreeSet::new();
        for line in TABLE.lines().skip(1) {
            let fields: Vec<&str> = line.splitn(3, ',').collect();
            let [country, numbers, source] = fields[..] else { panic!("{line}") };
            assert!(country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase()), "{line}");
            assert!(seen.insert(country), "{country} stands twice");
            assert!(source.len() > 10, "{country} has no source");
            for number in numbers.split(' ') {
                assert!(
                    (2..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()),
                    "{line}"
                );
            }
        }
        assert!(seen.len() > 200);
        assert_eq!(of_country("de"), Some(vec!["110", "112"]));
        assert_eq!(of_country("XX"), None);
    }
}
