//! Reading Meta's JSON without insisting on its types: numbers come as strings, strings as arrays.

use std::time::Duration;

use serde_json::Value;

use crate::time::Wall;
use crate::user::{Bsuid, Msisdn, UserId};

/// Above this many, a time stamp is taken for milliseconds (as seconds it would be the year 5138).
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A text that is there and not empty; a number counts as its digits, an array as its first text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => items.iter().find_map(text),
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    }
}

/// A whole number, written as a number or as digits in a string.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Array(items) => items.iter().find_map(integer),
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    // Everything Meta counts fits 2^53; beyond that a float is no count.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

/// A yes or no, written as such or in words.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(word) if word.eq_ignore_ascii_case("true") => Some(true),
        Value::String(word) if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A point of time in Unix seconds (milliseconds are recognised), positive.
pub(super) fn time(value: &Value) -> Option<Wall> {
    let number = integer(value).filter(|it| *it > 0)?;
    Some(if number >= MILLISECONDS_FROM { Wall(number) } else { Wall::from_secs(number) })
}

/// A span in whole seconds, not negative.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    u64::try_from(integer(value)?).ok().filter(|it| *it <= u64::from(u32::MAX)).map(Duration::from_secs)
}

/// The user behind two fields, either of which may be empty, absent, or hold the other kind of id.
pub(super) fn user(phone: &Value, scoped: &Value) -> Option<UserId> {
    let (one, other) = (text(phone), text(scoped));
    let both = [one.as_deref(), other.as_deref()];
    let number = both.iter().flatten().find_map(|it| Msisdn::parse(it));
    let bsuid = both.iter().flatten().find_map(|it| Bsuid::parse(it));
    UserId::from_parts(number, bsuid)
}

/// The items of an array; anything else has none.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_come_as_numbers_strings_floats_or_arrays() {
        for form in [json!(124), json!("124"), json!(124.0), json!(["124"]), json!(" 124 ")] {
            assert_eq!(integer(&form), Some(124), "{form}");
        }
        assert_eq!(integer(&json!("soon")), None);
        assert_eq!(integer(&json!(1e300)), None);
    }

    #[test]
    fn a_time_stamp_may_be_in_seconds_or_milliseconds_but_not_negative() {
        assert_eq!(time(&json!("1791900000")), Some(Wall(1_791_900_000_000)));
        assert_eq!(time(&json!(1_791_900_000_123_i64)), Some(Wall(1_791_900_000_123)));
        assert_eq!(time(&json!(-5)), None);
        assert_eq!(seconds(&json!(-5)), None);
        assert_eq!(seconds(&json!("99999999999999")), None);
    }

    #[test]
    fn a_scoped_id_in_the_phone_field_is_still_a_scoped_id() {
        let user = user(&json!("BR.2099"), &json!("")).expect("somebody");
        assert!(user.phone().is_none() && user.scoped().is_some());
    }
}
