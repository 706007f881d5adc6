//! Header names: the ones we know by a word of their own, the rest as written.

macro_rules! names {
    ($($variant:ident $text:literal $compact:literal),* $(,)?) => {
        /// The name of a header field; known names compare without regard to case or compact form.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Name {
            $(#[doc = $text] $variant,)*
            /// Any other name, as it was written.
            Other(String),
        }

        impl Name {
            /// Recognises the long and the compact form in any case (RFC 3261 §7.3.1, §7.3.3).
            #[must_use]
            pub fn parse(text: &str) -> Self {
                let known = if text.len() == 1 {
                    COMPACT.iter().position(|known| known.eq_ignore_ascii_case(text))
                } else {
                    PLACES.find(&LONG, text)
                };
                known.and_then(|at| KNOWN.get(at)).cloned().unwrap_or_else(|| Self::Other(text.to_owned()))
            }

            /// The long form, in the usual case.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// The shortest form that means the same.
            #[must_use]
            pub fn shortest(&self) -> &str {
                match self {
                    $(Self::$variant => if $compact.is_empty() { $text } else { $compact },)*
                    Self::Other(text) => text,
                }
            }
        }

        static KNOWN: [Name; LONG.len()] = [$(Name::$variant),*];
        static LONG: [&str; [$($text),*].len()] = [$($text),*];
        static COMPACT: [&str; LONG.len()] = [$($compact),*];
        static PLACES: Places<{ [$($text),*].len() }> = Places::of([$($text),*]);
    };
}

/// Buckets of names by length and first letter; every message asks for a dozen of them.
struct Places<const N: usize> {
    /// The place of the last name of a bucket, plus one; 0 where there is none.
    last: [u8; 256],
    /// The same for the one before it in its bucket.
    before: [u8; N],
}

impl<const N: usize> Places<N> {
    const fn of(names: [&str; N]) -> Self {
        let mut places = Self { last: [0; 256], before: [0; N] };
        let mut at = 0;
        while at < N {
            let bucket = bucket(names[at].as_bytes());
            places.before[at] = places.last[bucket];
            at += 1;
            places.last[bucket] = at as u8;
        }
        places
    }

    fn find(&self, names: &[&str; N], text: &str) -> Option<usize> {
        let mut next = self.last.get(bucket(text.as_bytes()))?;
        loop {
            let at = usize::from(*next).checked_sub(1)?;
            let name = names.get(at)?;
            if *name == text || name.eq_ignore_ascii_case(text) {
                return Some(at);
            }
            next = self.before.get(at)?;
        }
    }
}

const fn bucket(name: &[u8]) -> usize {
    match name {
        [] => 0,
        [first, ..] => (name.len() << 5 | (*first & 0x1f) as usize) & 0xff,
    }
}

names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq" "",
    Contact "Contact" "m",
    MaxForwards "Max-Forwards" "",
    Route "Route" "",
    RecordRoute "Record-Route" "",
    Path "Path" "",
    ContentType "Content-Type" "c",
    ContentLength "Content-Length" "l",
    ContentEncoding "Content-Encoding" "e",
    Expires "Expires" "",
    MinExpires "Min-Expires" "",
    Authorization "Authorization" "",
    ProxyAuthorization "Proxy-Authorization" "",
    WwwAuthenticate "WWW-Authenticate" "",
    ProxyAuthenticate "Proxy-Authenticate" "",
    Allow "Allow" "",
    Accept "Accept" "",
    Supported "Supported" "k",
    Require "Require" "",
    ProxyRequire "Proxy-Require" "",
    Unsupported "Unsupported" "",
    UserAgent "User-Agent" "",
    Server "Server" "",
    Reason "Reason" "",
    Warning "Warning" "",
    RetryAfter "Retry-After" "",
    PAssertedIdentity "P-Asserted-Identity" "",
    PPreferredIdentity "P-Preferred-Identity" "",
    Privacy "Privacy" "",
    Diversion "Diversion" "",
    UserToUser "User-to-User" "",
    PCalledPartyId "P-Called-Party-ID" "",
    Subject "Subject" "s",
    Event "Event" "o",
    AllowEvents "Allow-Events" "u",
    ReferTo "Refer-To" "r",
    ReferredBy "Referred-By" "b",
    ReferSub "Refer-Sub" "",
    Replaces "Replaces" "",
    SubscriptionState "Subscription-State" "",
    SessionExpires "Session-Expires" "x",
    MinSe "Min-SE" "",
    RSeq "RSeq" "",
    RAck "RAck" "",
}

/// Whether `text` is a token (RFC 3261 §25.1), not empty.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_of_token)
}

/// Whether the byte may stand in a token.
pub(super) fn is_of_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).is_some_and(|it| *it)
}

/// Which bytes may stand in a token.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let (mut at, marks) = (0, b"-.!%*_+`'~");
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case_and_in_its_compact_form() {
        assert_eq!(Name::parse("cAlL-iD"), Name::CallId);
        assert_eq!(Name::parse("I"), Name::CallId);
        assert_eq!(Name::parse("X-Odd").as_str(), "X-Odd");
        assert_eq!(Name::parse(""), Name::Other(String::new()));
    }

    #[test]
    fn a_token_has_no_separators() {
        assert!(is_token("!interesting-Method0123456789_*+`.%indeed'~"));
        assert!(!is_token("a b") && !is_token("") && !is_token("a:b") && !is_token("<a>"));
    }
}
