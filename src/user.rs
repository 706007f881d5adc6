//! Who the WhatsApp user is: by phone number, by business-scoped id, or both.

use std::fmt;

use crate::masked::Masked;

/// A phone number in E.164 digits without `+`, as Meta's webhooks write it (`wa_id`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msisdn(String);

impl Msisdn {
    /// Accepts 5 to 15 digits, with or without a leading `+`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let plausible = (5..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        plausible.then(|| Self(digits.to_owned()))
    }

    /// The digits, unmasked: for a wire or the store only.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Masked::new(&self.0), f)
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Masked::new(&self.0), f)
    }
}

/// A business-scoped user id, shape `BR.20995511223344556677` (reference §2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bsuid(String);

impl Bsuid {
    /// Accepts two letters, a dot and up to 128 letters or digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (country, rest) = text.split_once('.')?;
        let plausible = country.len() == 2
            && country.bytes().all(|b| b.is_ascii_alphabetic())
            && (1..=128).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        plausible.then(|| Self(text.to_owned()))
    }

    /// The id, unmasked: for a wire or the store only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bsuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Masked::new(&self.0), f)
    }
}

impl fmt::Display for Bsuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Masked::new(&self.0), f)
    }
}

/// How a user is addressed: at least one of the two ids is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserId {
    /// By phone number only.
    Phone(Msisdn),
    /// By business-scoped id only: a username user whose number Meta hides.
    Scoped(Bsuid),
    /// By both.
    Both(Msisdn, Bsuid),
}

impl UserId {
    /// From what a webhook carried; `None` if it named nobody.
    #[must_use]
    pub fn from_parts(phone: Option<Msisdn>, scoped: Option<Bsuid>) -> Option<Self> {
        match (phone, scoped) {
            (Some(phone), Some(scoped)) => Some(Self::Both(phone, scoped)),
            (Some(phone), None) => Some(Self::Phone(phone)),
            (None, Some(scoped)) => Some(Self::Scoped(scoped)),
            (None, None) => None,
        }
    }

    /// The phone number, where Meta showed it.
    #[must_use]
    pub const fn phone(&self) -> Option<&Msisdn> {
        match self {
            Self::Phone(phone) | Self::Both(phone, _) => Some(phone),
            Self::Scoped(_) => None,
        }
    }

    /// The business-scoped id, where Meta showed it.
    #[must_use]
    pub const fn scoped(&self) -> Option<&Bsuid> {
        match self {
            Self::Scoped(scoped) | Self::Both(_, scoped) => Some(scoped),
            Self::Phone(_) => None,
        }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(phone) | Self::Both(phone, _) => phone.fmt(f),
            Self::Scoped(scoped) => scoped.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_with_or_without_plus_and_prints_masked() {
        let number = Msisdn::parse("+5521955500123").expect("valid");
        assert_eq!(number.digits(), "5521955500123");
        assert_eq!(format!("{number} {number:?}"), "***23 ***23");
        assert!(
            Msisdn::parse("12a45").is_none()
                && Msisdn::parse("").is_none()
                && Msisdn::parse("1234567890123456").is_none()
        );
    }

    #[test]
    fn a_scoped_id_has_a_country_and_a_tail() {
        assert!(Bsuid::parse("BR.20995511223344556677").is_some());
        assert!(Bsuid::parse("BR20995511223344556677").is_none() && Bsuid::parse("B1.2").is_none());
    }

    #[test]
    fn a_user_needs_at_least_one_id() {
        assert_eq!(UserId::from_parts(None, None), None);
        let both = UserId::from_parts(Msisdn::parse("5521955500123"), Bsuid::parse("BR.2099")).expect("both");
        assert!(both.phone().is_some() && both.scoped().is_some());
    }
}
