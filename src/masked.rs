//! Values that must not be read in a log: phone numbers and names are masked, secrets hidden.

use std::fmt;

use zeroize::Zeroize;

/// A personal value that prints with all but its last two characters covered.
///
/// `Display` and `Debug` both mask, so a value can only leave unmasked by [`Masked::expose`],
/// which is easy to search for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Masked<T>(T);

impl<T> Masked<T> {
    /// Covers `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for a wire or the store, never for a log, a metric or an error.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<str>> fmt::Display for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.0.as_ref()))
    }
}

impl<T: AsRef<str>> fmt::Debug for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.0.as_ref()))
    }
}

/// `text` with all but its last two characters covered; four characters or fewer are covered whole.
#[must_use]
pub fn mask(text: &str) -> String {
    let count = text.chars().count();
    let open = if count > 4 { 2 } else { 0 };
    let tail: String = text.chars().skip(count - open).collect();
    format!("***{tail}")
}

/// Wire text with every run of seven or more digits covered, for trace logs of SIP and JSON.
#[must_use]
pub fn mask_digits(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut digits = String::new();
    for c in text.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if digits.len() >= 7 {
            out.push_str(&mask(&digits));
        } else {
            out.push_str(&digits);
        }
        digits.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

/// A secret (token, password, key) that never prints and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Hides `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The secret itself, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_number_shows_its_last_two_digits_only() {
        let number = Masked::new("5521955500123".to_owned());
        assert_eq!(format!("{number} {number:?}"), "***23 ***23");
        assert_eq!(mask("1234"), "***");
    }

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", Secret::new("token".to_owned())), "Secret(***)");
    }

    #[test]
    fn long_digit_runs_are_covered_in_wire_text_and_short_ones_are_not() {
        assert_eq!(mask_digits("sip:+5521955500123@10.0.0.1:5060"), "sip:+***23@10.0.0.1:5060");
        assert_eq!(mask_digits("CSeq: 102 INVITE 1234567"), "CSeq: 102 INVITE ***67");
    }
}
