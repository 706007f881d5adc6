//! Who calls and about what, in the headers that a trunk wants.

use std::fmt;

use crate::masked::Masked;

use super::super::alert::Alert;
use super::super::message::Name;
use super::super::message::name::is_token;

/// Whom From shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromShows {
    /// The caller.
    #[default]
    Caller,
    /// The account that we have with the trunk.
    Account,
}

/// Which header names the caller beside From (RFC 3325).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerHeader {
    /// P-Asserted-Identity: among those who trust each other, a PBX for example.
    #[default]
    Asserted,
    /// P-Preferred-Identity: a provider decides itself what it asserts.
    Preferred,
    /// None.
    Nothing,
}

/// How a trunk is told who calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// Whom From shows.
    pub from: FromShows,
    /// Where the caller stands besides.
    pub header: CallerHeader,
    /// The trunk shall show the called side nobody: `Privacy: id` (RFC 3325 §9.3), and From is anonymous.
    pub privacy: bool,
    /// The business number that the user had called stands in Diversion (RFC 5806).
    pub diversion: bool,
}

/// What User-to-User carries (RFC 7433, RFC 7434).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserToUser {
    /// It is not sent.
    #[default]
    Nothing,
    /// Meta's id of the call.
    WaCall,
    /// The payload of the call button or the link.
    Payload,
}

/// The name of a header that is ours to define: a token that begins with `X-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomHeader(String);

impl CustomHeader {
    /// Takes a name of up to 64 characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ours = text.len() > 2 && text.get(..2).is_some_and(|it| it.eq_ignore_ascii_case("x-"));
        (ours && text.len() <= 64 && is_token(text)).then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In which headers a trunk is told what a call is about; `None`: it is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactHeaders {
    /// Meta's id of the call (`wacid.…`).
    pub wa_call: Option<CustomHeader>,
    /// The user's business-scoped id.
    pub user_id: Option<CustomHeader>,
    /// The payload of the call button or the link.
    pub payload: Option<CustomHeader>,
    /// The business number, E.164 with `+`.
    pub business_number: Option<CustomHeader>,
    /// What User-to-User carries.
    pub user_to_user: UserToUser,
}

/// What a call may pass by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing.
    #[default]
    Ordinary,
    /// The limits of a trunk and of the gateway, and what OPTIONS said of a server: somebody needs help (rule 10).
    Emergency,
}

/// What is known of a call besides who calls.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CallFacts {
    /// Meta's id of the call.
    pub wa_call: Option<String>,
    /// The user's business-scoped id.
    pub user_id: Option<String>,
    /// What the call button or the link carried; the user could have written anything into it.
    pub payload: Option<Masked<String>>,
    /// The business number, digits of E.164.
    pub business_number: Option<String>,
    /// How it rings; phones only.
    pub alert: Alert,
    /// What it may pass by.
    pub urgency: Urgency,
}

/// Shows nothing of the user.
impl fmt::Debug for CallFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFacts").field("wa_call", &self.wa_call).finish_non_exhaustive()
    }
}

/// The longest value of a header of ours; the INVITE must fit into a datagram.
const LONGEST: usize = 256;
/// The longest user information (RFC 7434 §4.3, Q.931 §4.5.30).
const LONGEST_USER_INFORMATION: usize = 128;
/// The protocol discriminator of user information in IA5 characters (Q.931 table 4-26).
const IA5: u8 = 0x04;

impl FactHeaders {
    /// The headers that tell `facts`.
    #[must_use]
    pub fn tell(&self, facts: &CallFacts) -> Vec<(Name, String)> {
        let payload = facts.payload.as_ref().map(|it| it.expose().as_str());
        let business = facts.business_number.as_ref().map(|digits| format!("+{digits}"));
        let told = [
            (&self.wa_call, facts.wa_call.as_deref()),
            (&self.user_id, facts.user_id.as_deref()),
            (&self.payload, payload),
            (&self.business_number, business.as_deref()),
        ];
        let mut headers: Vec<(Name, String)> = told
            .into_iter()
            .filter_map(|(header, value)| Some((header.as_ref()?, value.filter(|it| !it.is_empty())?)))
            .map(|(header, value)| (Name::Other(header.as_str().to_owned()), escaped(value, LONGEST)))
            .collect();
        let information = match self.user_to_user {
            UserToUser::Nothing => None,
            // Half an id names nobody.
            UserToUser::WaCall => facts.wa_call.as_deref().filter(|it| it.len() <= LONGEST_USER_INFORMATION),
            UserToUser::Payload => payload,
        };
        if let Some(information) = information.filter(|it| !it.is_empty()) {
            let mut bytes = vec![IA5];
            bytes.extend_from_slice(escaped(information, LONGEST_USER_INFORMATION).as_bytes());
            headers.push((Name::UserToUser, format!("{};encoding=hex", hex::encode_upper(bytes))));
        }
        headers
    }
}

/// `text` without anything that could end a header or that an old PBX cannot read: letters, digits and `-._~:/+=@`
/// stand as they are, everything else as `%41` of its UTF-8 bytes (RFC 3986 §2.1); cut where it gets too long.
fn escaped(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let mut bytes = [0; 4];
        let plain = c.is_ascii_alphanumeric() || "-._~:/+=@".contains(c);
        let piece = if plain {
            c.to_string()
        } else {
            c.encode_utf8(&mut bytes).bytes().map(|b| format!("%{b:02X}")).collect()
        };
        if out.len() + piece.len() > longest {
            break;
        }
        out.push_str(&piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(payload: &str) -> CallFacts {
        CallFacts {
            wa_call: Some("wacid.HBgN+/=".to_owned()),
            user_id: Some("BR.2099".to_owned()),
            payload: Some(Masked::new(payload.to_owned())),
            business_number: Some("493055500010".to_owned()),
            ..CallFacts::default()
        }
    }

    fn headers() -> FactHeaders {
        let name = |text: &str| CustomHeader::parse(text);
        FactHeaders {
            wa_call: name("X-Call"),
            user_id: name("X-User"),
            payload: name("X-Payload"),
            business_number: name("X-Number"),
            user_to_user: UserToUser::Nothing,
        }
    }

    fn lines(headers: &FactHeaders, facts: &CallFacts) -> Vec<String> {
        headers.tell(facts).into_iter().map(|(name, value)| format!("{}: {value}", name.as_str())).collect()
    }

    #[test]
    fn each_fact_stands_in_its_own_header_if_it_is_known_and_wanted() {
        assert_eq!(
            lines(&headers(), &facts("order=7")),
            ["X-Call: wacid.HBgN+/=", "X-User: BR.2099", "X-Payload: order=7", "X-Number: +493055500010"]
        );
        let only_number =
            FactHeaders { business_number: CustomHeader::parse("x-n"), ..FactHeaders::default() };
        assert_eq!(lines(&only_number, &facts("a")), ["x-n: +493055500010"]);
        assert_eq!(lines(&headers(), &CallFacts::default()), Vec::<String>::new());
    }

    #[test]
    fn what_a_user_wrote_into_a_payload_cannot_leave_its_header_and_is_bounded() {
        let told = lines(&headers(), &facts("a\r\nVia: x, \"é\";y<z>%"));
        assert_eq!(told[2], "X-Payload: a%0D%0AVia:%20x%2C%20%22%C3%A9%22%3By%3Cz%3E%25");
        let told = lines(&headers(), &facts(&"é".repeat(500)));
        assert_eq!(told[2].len(), "X-Payload: ".len() + LONGEST - LONGEST % 6);
    }

    #[test]
    fn user_to_user_is_hexadecimal_behind_the_discriminator_of_text() {
        let call = FactHeaders { user_to_user: UserToUser::WaCall, ..FactHeaders::default() };
        let mut known = facts("");
        known.wa_call = Some("wacid.A=".to_owned());
        assert_eq!(lines(&call, &known), ["User-to-User: 0477616369642E413D;encoding=hex"]);
        known.wa_call = Some("w".repeat(129));
        assert_eq!(lines(&call, &known), Vec::<String>::new());
        let payload = FactHeaders { user_to_user: UserToUser::Payload, ..FactHeaders::default() };
        let told = lines(&payload, &facts(&"a".repeat(500)));
        assert_eq!(told[0].len(), "User-to-User: ;encoding=hex".len() + 2 * (1 + LONGEST_USER_INFORMATION));
        assert_eq!(lines(&payload, &facts("")), Vec::<String>::new());
    }

    #[test]
    fn only_a_header_of_our_own_kind_can_be_named() {
        assert!(CustomHeader::parse("X-WA-Call-ID").is_some() && CustomHeader::parse("x-a").is_some());
        for wrong in ["", "X-", "Via", "X-a b", "X-a:", "X-\r\nVia", &format!("X-{}", "a".repeat(63))] {
            assert_eq!(CustomHeader::parse(wrong), None, "{wrong:?}");
        }
    }
}
