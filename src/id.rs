//! The names of things: newtypes without logic.

use std::fmt;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text, unchanged.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Meta's name of a call, `wacid.…`; opaque, may end in `=` (reference §2).
    WaCallId
}
text_id! {
    /// The Graph id of a business number (`PHONE_NUMBER_ID`); digits, but not the E.164 number (reference §2).
    PhoneNumberId
}
text_id! {
    /// What the administrator calls a business number; stands in metrics and logs.
    NumberLabel
}
text_id! {
    /// The user part of a registered phone's address of record.
    PhoneName
}
text_id! {
    /// What the administrator calls a trunk; stands in metrics and logs.
    TrunkName
}

/// Our own name of a call: unique in one store, in the order of creation.
///
/// Prints as 16 hexadecimal digits; that form stands in records, logs and Meta's
/// `biz_opaque_callback_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl CallId {
    /// Reads the printed form back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One SIP leg of the user agent: an INVITE sent or received and the dialog it became.
///
/// Unique in one process and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg{}", self.0)
    }
}

/// Where a business number's calls may go and come from on the SIP side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A phone registered here.
    Phone(PhoneName),
    /// A number behind a trunk; the text is the user part of the Request-URI.
    Trunk(TrunkName, String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(name) => write!(f, "phone {name}"),
            Self::Trunk(name, _) => write!(f, "trunk {name}"),
        }
    }
}

/// One of the two places of a call between desks: phones and trunks, without WhatsApp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seat {
    /// Who called, or who took that one's place.
    Caller,
    /// Who was called, or who took that one's place.
    Callee,
}

impl Seat {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Caller, Self::Callee];

    /// The place across.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }

    /// 0 or 1, for a pair of things.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_reads_back_as_it_prints() {
        let id = CallId(0x00ab_cdef);
        assert_eq!(CallId::parse(&id.to_string()), Some(id));
        assert_eq!(CallId::parse("7f"), None);
        assert_eq!(CallId::parse("zzzzzzzzzzzzzzzz"), None);
    }
}
