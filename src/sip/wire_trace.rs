//! Messages as a trace log may show them: who talks, what is pressed and what a password could be guessed from is
//! covered; what an administrator looks for (methods, addresses, tags, branches) stays.

use crate::masked::{mask_digits, mask_keys};

/// Instead of what is covered.
const COVER: &str = "***";
/// The same where quotation marks belong.
const QUOTED_COVER: &str = "\"***\"";

/// What becomes of a header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// Nothing in it is anybody's.
    Plain,
    /// An address: the name before it is covered.
    Address,
    /// Credentials: what was computed from the password is covered.
    Digest,
    /// All of it is covered.
    Whole,
}

impl Care {
    fn of(name: &str) -> Self {
        let name = name.trim().to_ascii_lowercase();
        match name.as_str() {
            "from"
            | "f"
            | "to"
            | "t"
            | "contact"
            | "m"
            | "reply-to"
            | "refer-to"
            | "r"
            | "referred-by"
            | "b"
            | "p-asserted-identity"
            | "p-preferred-identity"
            | "p-called-party-id"
            | "p-associated-uri"
            | "remote-party-id"
            | "diversion"
            | "history-info" => Self::Address,
            "authorization" | "proxy-authorization" | "authentication-info" => Self::Digest,
            "user-to-user" | "subject" | "s" | "identity" | "y" => Self::Whole,
            // What Meta says of the user and of the call button.
            _ if name.starts_with("x-wa-") => Self::Whole,
            _ => Self::Plain,
        }
    }

    fn apply(self, value: &str) -> String {
        match self {
            Self::Plain => value.to_owned(),
            Self::Whole => format!(" {COVER}"),
            Self::Address => cover_names(value),
            Self::Digest => cover_parameters(value, &["response", "rspauth", "cnonce"]),
        }
    }
}

/// The text of a message, covered.
#[must_use]
pub fn mask_message(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = match text.find("\r\n\r\n").map(|at| at + 4) {
        Some(at) => text.split_at(at),
        None => (text.as_ref(), ""),
    };
    let mut out = String::with_capacity(text.len());
    let mut care = Care::Plain;
    for line in head.split_inclusive('\n') {
        let content = line.trim_end_matches(['\r', '\n']);
        if content.starts_with([' ', '\t']) {
            // It goes on with the header before; where a name was cut in two nothing is left to find it by.
            out.push_str(if care == Care::Plain { content } else { " ***" });
        } else {
            match content.split_once(':') {
                Some((name, value)) if !name.contains(' ') => {
                    care = Care::of(name);
                    out.push_str(name);
                    out.push(':');
                    out.push_str(&care.apply(value));
                }
                _ => {
                    care = Care::Plain;
                    out.push_str(content);
                }
            }
        }
        out.push_str(&line[content.len()..]);
    }
    out.push_str(&cover_body(head, body));
    mask_digits(&mask_scoped(&mask_keys(&out)))
}

/// Keys that somebody presses are covered, and the names in a dialogue's description (RFC 4235).
fn cover_body(head: &str, body: &str) -> String {
    let lower = head.to_ascii_lowercase();
    if lower.contains("application/dtmf") {
        return if body.trim().is_empty() { body.to_owned() } else { COVER.to_owned() };
    }
    if lower.contains("+xml") { cover_parameters(body, &["display"]) } else { body.to_owned() }
}

/// `"Ann" <sip:…>, Bob <sip:…>`: what stands before `<`, and every quoted text.
fn cover_names(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find(['"', '<']) {
        let (before, from) = rest.split_at(at);
        if from.starts_with('"') {
            out.push_str(before);
            out.push_str(QUOTED_COVER);
            rest = &from[end_of_quoted(from)..];
            continue;
        }
        // Between two addresses stand the parameters of the first one and the name of the second.
        let kept = before.rfind(',').map_or(0, |comma| comma + 1);
        let (parameters, name) = before.split_at(kept);
        out.push_str(parameters);
        out.push_str(if name.trim().is_empty() || name.contains(COVER) { name } else { " *** " });
        let end = from.find('>').map_or(from.len(), |end| end + 1);
        out.push_str(&from[..end]);
        rest = &from[end..];
    }
    out.push_str(rest);
    out
}

/// Where a quoted string ends; `text` begins with its quotation mark.
fn end_of_quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `name="value"` and `name=value` for each of these names.
fn cover_parameters(text: &str, names: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    'next: while !rest.is_empty() {
        let begins = out.chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-');
        for name in names.iter().filter(|_| begins) {
            let same = rest.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name));
            let Some(value) = rest.get(name.len()..).filter(|_| same) else { continue };
            let Some(value) = value.trim_start().strip_prefix('=') else { continue };
            let value = value.trim_start();
            let end = if value.starts_with('"') {
                end_of_quoted(value)
            } else {
                value.find([',', ' ', '\r', '\n', '>', '/']).unwrap_or(value.len())
            };
            out.push_str(name);
            out.push('=');
            out.push_str(QUOTED_COVER);
            rest = &value[end..];
            continue 'next;
        }
        let Some(c) = rest.chars().next() else { break };
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Business-scoped ids of users: two capitals, a dot and ten or more letters or digits (reference: BSUID).
fn mask_scoped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut at) = (0, 0);
    while at + 3 < bytes.len() {
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let country =
            bytes[at].is_ascii_uppercase() && bytes[at + 1].is_ascii_uppercase() && bytes[at + 2] == b'.';
        let length = bytes[at + 3..].iter().take_while(|it| it.is_ascii_alphanumeric()).count();
        if begins && country && length >= 10 {
            out.push_str(&text[copied..at + 3]);
            out.push_str(COVER);
            at += 3 + length;
            copied = at;
        } else {
            at += 1;
        }
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(lines: &str, body: &str) -> String {
        mask_message(format!("INVITE sip:1001@10.0.0.5:5060 SIP/2.0\r\n{lines}\r\n{body}").as_bytes())
    }

    #[test]
    fn names_of_people_are_covered_wherever_addresses_stand_and_the_rest_stays() {
        let lines = "Via: SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKabc\r\n\
            From: \"Zoë \\\"Z\\\" Silva, <x>\" <sip:5521955500123@gw>;tag=a1\r\n\
            t:  Ann Lee  <sip:1001@gw>\r\n\
            P-Asserted-Identity: Ann <sip:1001@gw>, \"Bob\" <tel:+5521955500123>\r\n\
            Contact: <sip:1001@10.0.0.5:5060>\r\nUser-Agent: Yealink \"T46\"\r\n";
        let told = masked(lines, "");
        for name in ["Zo", "Silva", "Ann", "Lee", "Bob", "5521955500123"] {
            assert!(!told.contains(name), "{name} in {told}");
        }
        for kept in [
            "branch=z9hG4bKabc",
            ";tag=a1",
            "From: \"***\" <sip:***23@gw>",
            "t: *** <sip:1001@gw>",
            "Contact: <sip:1001@10.0.0.5:5060>",
            "Yealink \"T46\"",
            "*** <sip:1001@gw>, \"***\" <tel:+***23>",
        ] {
            assert!(told.contains(kept), "{kept} not in {told}");
        }
    }

    #[test]
    fn what_a_password_could_be_guessed_from_is_covered() {
        let lines = "Authorization: Digest username=\"1001\", realm=\"gw\", nonce=\"n0\", uri=\"sip:gw\", \
            Response=\"6629fae49393a05397450978507c4ef1\", cnonce=\"c0\",qop=auth, nc=00000001\r\n\
            Proxy-Authorization: Digest response=0123456789abcdef,opaque=\"x\"\r\n\
            Authentication-Info: rspauth=\"6629fae4\"\r\n";
        let told = masked(lines, "");
        for secret in ["6629fae4", "0123456789abcdef", "\"c0\""] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
        for kept in ["username=\"1001\"", "realm=\"gw\"", "nonce=\"n0\"", "uri=\"sip:gw\"", "opaque=\"x\""] {
            assert!(told.contains(kept), "{kept} not in {told}");
        }
    }

    #[test]
    fn keys_that_are_pressed_are_covered() {
        for (kind, body) in [
            ("application/dtmf-relay", "Signal=7\r\nDuration=160\r\n"),
            ("Application/DTMF", "7"),
            ("application/dtmf", "*"),
        ] {
            let told = masked(&format!("Content-Type: {kind}\r\n"), body);
            assert!(told.ends_with("\r\n\r\n***"), "{told}");
        }
    }

    #[test]
    fn what_whatsapp_says_of_users_is_covered() {
        let lines = "X-WA-User-Id: US.13491208655302741918\r\nX-WA-Payload: order 7 of Ann\r\n\
            User-to-User: 6869;encoding=hex\r\nFrom: <sip:US.abcdefghij0123@gw>;tag=1\r\n\
            Subject: about\r\n Ann\r\n";
        let told = masked(lines, "");
        for secret in ["1349", "1918", "order", "Ann", "6869", "abcdefghij", "about"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
        assert!(told.contains("From: <sip:US.***@gw>;tag=1"), "{told}");
    }

    #[test]
    fn session_descriptions_stay_but_for_their_keys_and_names_in_dialogue_descriptions_go() {
        let sdp = "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\na=sendrecv\r\n";
        let told = masked("Content-Type: application/sdp\r\n", sdp);
        assert!(told.contains("a=sendrecv") && !told.contains("c2VjcmV0"), "{told}");
        let xml = "<identity display=\"Ann Lee\">sip:1002@gw</identity>";
        let told = masked("Content-Type: application/dialog-info+xml\r\n", xml);
        assert!(told.contains("<identity display=\"***\">sip:1002@gw</identity>"), "{told}");
    }

    #[test]
    fn nonsense_is_covered_without_harm() {
        for bytes in
            [&b""[..], b"\xff\xfe", b"From:", b"From: \"", b"a b:c\r\n x\r\n\r\n", b"f: <\"\\", b"AB."]
        {
            let _ = mask_message(bytes);
        }
    }
}
