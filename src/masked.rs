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

/// Wire text whose session description shows no key: what follows `inline:` (RFC 4568) and `a=ice-pwd:` is covered.
#[must_use]
pub fn mask_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let key = if lower.starts_with("a=crypto:") { lower.find("inline:").map(|at| at + 7) } else { None };
        let secret = key.or_else(|| lower.starts_with("a=ice-pwd:").then_some(10));
        match secret {
            Some(at) => {
                let end = line.trim_end_matches(['\r', '\n']).len();
                out.push_str(&line[..at]);
                out.push_str("***");
                out.push_str(&line[end..]);
            }
            None => out.push_str(line),
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
    fn keys_of_a_session_description_are_covered_in_wire_text() {
        let text = "m=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0|2^20\r\n\
            A=CRYPTO:2 x Inline:dG9v;inline:b25l\na=ice-pwd:secret\na=sendrecv\r\n";
        let expected = "m=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***\r\n\
            A=CRYPTO:2 x Inline:***\na=ice-pwd:***\na=sendrecv\r\n";
        assert_eq!(mask_keys(text), expected);
    }

    #[test]
    fn long_digit_runs_are_covered_in_wire_text_and_short_ones_are_not() {
        assert_eq!(mask_digits("sip:+5521955500123@10.0.0.1:5060"), "sip:+***23@10.0.0.1:5060");
        assert_eq!(mask_digits("CSeq: 102 INVITE 1234567"), "CSeq: 102 INVITE ***67");
    }
}
