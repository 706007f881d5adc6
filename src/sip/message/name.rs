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
                $(
                    if text.eq_ignore_ascii_case($text)
                        || (!$compact.is_empty() && text.eq_ignore_ascii_case($compact))
                    {
                        return Self::$variant;
                    }
                )*
                Self::Other(text.to_owned())
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
    };
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
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

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
