//! Where Meta does not offer business-initiated calls (reference §16.1): US, CA, EG, VN, NG.

/// Whether business-initiated calls exist for a business number; the user's country does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusinessCountry {
    /// They do.
    Served,
    /// They do not; Meta would answer 138013.
    Unserved,
}

/// Egypt, Vietnam, Nigeria.
const UNSERVED: &[&str] = &["20", "84", "234"];

/// Area codes under +1 that are neither the United States nor Canada.
const OTHERS_UNDER_ONE: &[&str] = &[
    "242", "246", "264", "268", "284", "340", "345", "441", "473", "649", "658", "664", "670", "671", "684",
    "721", "758", "767", "784", "787", "809", "829", "849", "868", "869", "876", "939",
];

impl BusinessCountry {
    /// Judges the business number as it is displayed, with or without `+`, spaces and dashes.
    #[must_use]
    pub fn of(display_number: &str) -> Self {
        let digits: String = display_number.chars().filter(char::is_ascii_digit).collect();
        let north_america = digits
            .strip_prefix('1')
            .is_some_and(|rest| !OTHERS_UNDER_ONE.iter().any(|area| rest.starts_with(area)));
        if north_america || UNSERVED.iter().any(|code| digits.starts_with(code)) {
            Self::Unserved
        } else {
            Self::Served
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_countries_are_not_served_and_their_neighbours_are() {
        for number in ["+1 415 555 0100", "14165550100", "201555000100", "+84 1 5550 0100", "2345550100"] {
            assert_eq!(BusinessCountry::of(number), BusinessCountry::Unserved, "{number}");
        }
        for number in ["+1 876 555 0100", "+49 30 5550 0010", "211555000100", "2335550100", "855550100", ""] {
            assert_eq!(BusinessCountry::of(number), BusinessCountry::Served, "{number}");
        }
    }
}
