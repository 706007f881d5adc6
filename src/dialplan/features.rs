//! Feature codes: what a phone dials to have something done instead of somebody called.
//!
//! To add a code: a variant of [`Feature`], its row in `ROWS`, and an arm where `io::signalling` carries codes
//! out. The configuration, its checks and the in-call keys follow from the row.

use std::collections::BTreeMap;
use std::fmt;

/// What a code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Takes the call that rings at a member of the phone's groups.
    PickUpGroup,
    /// Takes the call that rings at a certain phone.
    PickUp,
    /// Puts a call where any phone can fetch it.
    Park,
    /// Fetches a parked call.
    Retrieve,
    /// No ring plan rings the phone any more.
    DisturbNot,
    /// Ring plans ring it again.
    DisturbAgain,
    /// Calls back the user who called in vain and has waited longest; behind the code, of the group at this place.
    CallBackNext,
    /// Plays the voice messages of the phone's business numbers.
    Messages,
    /// Says what became of the phone's last call with a user.
    Outcome,
}

/// What is dialled behind a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// Something, or nothing.
    Optional,
    /// Something.
    Required,
}

/// One row of the table.
#[derive(Debug)]
struct Row {
    feature: Feature,
    key: &'static str,
    code: &'static str,
    argument: Argument,
}

/// Every code with its key of `[features]` and its default. Those of Asterisk's distributions where these agree:
/// administrators and printed key labels know them.
const ROWS: [Row; 9] = [
    Row { feature: Feature::PickUpGroup, key: "pick_up_group", code: "*8", argument: Argument::None },
    Row { feature: Feature::PickUp, key: "pick_up", code: "**", argument: Argument::Required },
    Row { feature: Feature::Park, key: "park", code: "*68", argument: Argument::Optional },
    Row { feature: Feature::Retrieve, key: "retrieve", code: "*85", argument: Argument::Required },
    Row { feature: Feature::DisturbNot, key: "disturb_not", code: "*78", argument: Argument::None },
    Row { feature: Feature::DisturbAgain, key: "disturb_again", code: "*79", argument: Argument::None },
    Row { feature: Feature::CallBackNext, key: "call_back_next", code: "*75", argument: Argument::Optional },
    Row { feature: Feature::Messages, key: "messages", code: "*97", argument: Argument::None },
    Row { feature: Feature::Outcome, key: "outcome", code: "*80", argument: Argument::Required },
];

impl Feature {
    /// Every feature, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.feature)
    }

    fn row(self) -> &'static Row {
        // A test looks every variant up.
        ROWS.iter().find(|row| row.feature == self).unwrap_or(&ROWS[0])
    }

    /// Its key in `[features]`.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.row().key
    }

    /// Its code where the file says nothing.
    #[must_use]
    pub fn default_code(self) -> &'static str {
        self.row().code
    }

    /// What is dialled behind its code.
    #[must_use]
    pub fn argument(self) -> Argument {
        self.row().argument
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// A code as it was dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What for.
    pub feature: Feature,
    /// What stood behind the code; never empty.
    pub argument: Option<String>,
}

/// The codes of a gateway; a feature without one is switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureCodes(BTreeMap<Feature, String>);

impl Default for FeatureCodes {
    fn default() -> Self {
        Self(Feature::all().map(|it| (it, it.default_code().to_owned())).collect())
    }
}

impl FeatureCodes {
    /// The given codes and no others.
    #[must_use]
    pub fn new(codes: impl IntoIterator<Item = (Feature, String)>) -> Self {
        Self(codes.into_iter().filter(|(_, code)| !code.is_empty()).collect())
    }

    /// No codes at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// The code of a feature.
    #[must_use]
    pub fn code(&self, feature: Feature) -> Option<&str> {
        self.0.get(&feature).map(String::as_str)
    }

    /// Every code that is switched on.
    pub fn iter(&self) -> impl Iterator<Item = (Feature, &str)> {
        self.0.iter().map(|(feature, code)| (*feature, code.as_str()))
    }

    /// Reads what was dialled: the longest code that it is, or begins with where something may follow.
    #[must_use]
    pub fn read(&self, dialled: &str) -> Option<Wish> {
        let wish = |(feature, code): (Feature, &str)| {
            let rest = dialled.strip_prefix(code)?;
            let fits = match feature.argument() {
                Argument::None => rest.is_empty(),
                Argument::Optional => true,
                Argument::Required => !rest.is_empty(),
            };
            let argument = Some(rest.to_owned()).filter(|it| !it.is_empty());
            fits.then_some((code.len(), Wish { feature, argument }))
        };
        self.iter().filter_map(wish).max_by_key(|(length, _)| *length).map(|(_, wish)| wish)
    }
}

/// Whether somebody could dial digits that mean `code` of `feature` as well as what `prefix` begins.
#[must_use]
pub fn meets_prefix(feature: Feature, code: &str, prefix: &str) -> bool {
    // Behind an empty prefix numbers begin with a digit.
    let behind =
        code.starts_with(prefix) && (!prefix.is_empty() || code.starts_with(|c: char| c.is_ascii_digit()));
    behind || (feature.argument() != Argument::None && prefix.starts_with(code))
}

/// Whether two codes can be meant by the same digits.
#[must_use]
pub fn codes_meet((one, code): (Feature, &str), (other, second): (Feature, &str)) -> bool {
    let within = |feature: Feature, short: &str, long: &str| {
        feature.argument() != Argument::None && long.len() > short.len() && long.starts_with(short)
    };
    code == second || within(one, code, second) || within(other, second, code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialled: &str) -> Option<(Feature, Option<String>)> {
        FeatureCodes::default().read(dialled).map(|it| (it.feature, it.argument))
    }

    #[test]
    fn a_code_is_read_with_what_stands_behind_it() {
        assert_eq!(read("*8"), Some((Feature::PickUpGroup, None)));
        assert_eq!(read("**1002"), Some((Feature::PickUp, Some("1002".into()))));
        assert_eq!(read("*75"), Some((Feature::CallBackNext, None)));
        assert_eq!(read("*752"), Some((Feature::CallBackNext, Some("2".into()))), "of the second group");
        assert_eq!(read("*68"), Some((Feature::Park, None)));
        assert_eq!(read("*68702"), Some((Feature::Park, Some("702".into()))));
        assert_eq!(read("*85702"), Some((Feature::Retrieve, Some("702".into()))));
        assert_eq!(read("*803"), Some((Feature::Outcome, Some("3".into()))));
        for nothing in ["*", "**", "*85", "*81", "*785", "8", "", "#8"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_feature_without_a_code_is_off() {
        let codes = FeatureCodes::new([(Feature::Park, "#7".to_owned()), (Feature::PickUp, String::new())]);
        assert_eq!(codes.read("#7").map(|it| it.feature), Some(Feature::Park));
        assert_eq!((codes.read("**1002"), codes.code(Feature::PickUp)), (None, None));
        assert_eq!(FeatureCodes::none().read("*8"), None);
    }

    #[test]
    fn every_feature_has_a_row_and_no_two_defaults_meet() {
        let rows: Vec<_> = Feature::all().collect();
        assert!(rows.iter().all(|it| it.row().feature == *it));
        for (at, one) in rows.iter().enumerate() {
            for other in &rows[at + 1..] {
                let clash = codes_meet((*one, one.default_code()), (*other, other.default_code()));
                assert!(!clash && one.key() != other.key(), "{one} and {other}");
            }
        }
    }

    #[test]
    fn codes_and_prefixes_meet_where_digits_could_mean_both() {
        assert!(codes_meet((Feature::Park, "*6"), (Feature::Retrieve, "*68")));
        assert!(!codes_meet((Feature::PickUpGroup, "*8"), (Feature::Retrieve, "*85")));
        assert!(meets_prefix(Feature::Park, "68", "6") && meets_prefix(Feature::Park, "6", "68"));
        assert!(meets_prefix(Feature::Park, "68", "") && !meets_prefix(Feature::Park, "*68", ""));
        assert!(
            meets_prefix(Feature::PickUpGroup, "*8", "*") && !meets_prefix(Feature::PickUpGroup, "*8", "*81")
        );
    }
}
