//! Parameters, and how a text is cut at marks outside quoted strings and angle brackets.

use std::fmt;

use memchr::memchr3;

/// The parameters after a URI, an address or a Via, in their order; values as written, quotes included.
///
/// Kept as the text they print as, `;a=b;c`: most are only read once or never.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Params(String);

impl Params {
    /// Reads `a=b;c` (white space around the marks allowed); `None` on an empty or malformed parameter.
    ///
    /// One empty parameter at the very end is forgiven: some phones write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut out = String::new();
        if !text.is_empty() {
            out.reserve(text.len() + 1);
            each(text, |name, value| push(&mut out, name, value))?;
        }
        Some(Self(out))
    }

    /// Whether [`Params::parse`] can read the text.
    pub(super) fn is_valid(text: &str) -> bool {
        each(text, |_, _| ()).is_some()
    }

    /// Whether the parameter is there, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The value as written; `None` if there is no such parameter or no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1
    }

    /// The value without its quotes.
    #[must_use]
    pub fn unquoted(&self, name: &str) -> Option<String> {
        self.get(name).map(super::uri::unquote)
    }

    /// Sets or replaces a parameter.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let (mut out, mut found) = (String::with_capacity(self.0.len() + name.len() + 16), false);
        for (known, old) in self.iter() {
            if !found && known.eq_ignore_ascii_case(name) {
                found = true;
                push(&mut out, known, value);
            } else {
                push(&mut out, known, old);
            }
        }
        if !found {
            push(&mut out, name, value);
        }
        self.0 = out;
    }

    /// Takes a parameter away.
    pub fn remove(&mut self, name: &str) {
        if self.has(name) {
            let mut out = String::with_capacity(self.0.len());
            let kept = self.iter().filter(|(known, _)| !known.eq_ignore_ascii_case(name));
            kept.for_each(|(known, value)| push(&mut out, known, value));
            self.0 = out;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.0.strip_prefix(';');
        std::iter::from_fn(move || {
            let (piece, after) = cut(rest?, b';')?;
            rest = after;
            Some(match halves(piece, b'=') {
                Some((name, value)) => (name, Some(value)),
                None => (piece, None),
            })
        })
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn push(out: &mut String, name: &str, value: Option<&str>) {
    out.push(';');
    out.push_str(name);
    if let Some(value) = value {
        out.push('=');
        out.push_str(value);
    }
}

/// Gives every parameter of a text; `None` if one of them is malformed.
fn each<'a>(text: &'a str, mut give: impl FnMut(&'a str, Option<&'a str>)) -> Option<()> {
    let mut rest = Some(text);
    while let Some(all) = rest {
        let (piece, after) = cut(all, b';')?;
        rest = after;
        let piece = piece.trim_ascii();
        if piece.is_empty() && rest.is_none() {
            break;
        }
        let (name, value) = match halves(piece, b'=') {
            Some((name, value)) => (name.trim_ascii(), Some(value.trim_ascii())),
            None => (piece, None),
        };
        let odd = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | ',');
        if !super::name::is_token(name) && (name.is_empty() || name.contains(odd)) {
            return None;
        }
        give(name, value);
    }
    Some(())
}

/// The text up to the first `mark` outside quoted strings and angle brackets, and what stands behind the mark,
/// if there is one; `None` if a quote stays open.
#[must_use]
pub fn cut(text: &str, mark: u8) -> Option<(&str, Option<&str>)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr3(mark, b'"', b'<', rest)) {
        at += found;
        match bytes.get(at) {
            Some(b'"') => at = past_quoted(bytes, at)?,
            Some(b'<') => at = past_brackets(bytes, at)?,
            _ => return Some((text.get(..at)?, text.get(at + 1..))),
        }
    }
    Some((text, None))
}

/// What stands before and after the first `mark`, an ASCII character; for texts too short for a faster search.
pub(super) fn halves(text: &str, mark: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b == mark)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The place after the closing quote of the quoted string that begins at `at`.
fn past_quoted(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The place after the bracket that closes the one at `at`; the end of the text if none does.
fn past_brackets(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut at, mut depth) = (at, 0_u32);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr3(b'"', b'<', b'>', rest)) {
        at += found;
        match bytes.get(at) {
            Some(b'"') => {
                at = past_quoted(bytes, at)?;
                continue;
            }
            Some(b'<') => depth += 1,
            _ => depth -= 1,
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
    Some(bytes.len())
}

/// Splits at `mark` outside quoted strings and angle brackets; `None` if a quote stays open.
#[must_use]
pub fn split_outside_quotes(text: &str, mark: u8) -> Option<Vec<&str>> {
    let (mut out, mut rest) = (Vec::new(), Some(text));
    while let Some(all) = rest {
        let (piece, after) = cut(all, mark)?;
        out.push(piece);
        rest = after;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_inside_quotes_or_brackets_cuts_nothing() {
        assert_eq!(cut("a;b", b';'), Some(("a", Some("b"))));
        assert_eq!(cut("a;", b';'), Some(("a", Some(""))));
        assert_eq!(cut("\"a;\\\";\" <b;<c;>;>;d", b';'), Some(("\"a;\\\";\" <b;<c;>;>", Some("d"))));
        assert_eq!(cut("<\";>\";>,x", b','), Some(("<\";>\";>", Some("x"))));
        assert_eq!(cut("a>;b", b';'), Some(("a>", Some("b"))), "a bracket that closes nothing is text");
        assert_eq!(cut("<a;b", b';'), Some(("<a;b", None)), "one that stays open holds all the rest");
        for open in ["\"a;b", "a;\"", "\"a\\\"", "<\"a>;b"] {
            assert_eq!(split_outside_quotes(open, b';'), None, "{open}");
        }
        assert_eq!(split_outside_quotes("é;ü;", b';'), Some(vec!["é", "ü", ""]));
    }

    #[test]
    fn a_parameter_is_found_set_and_taken_away_without_regard_to_case() {
        let mut params = Params::parse(" Tag = a ; lr; x=\"1;2\" ;").unwrap();
        assert_eq!(params.to_string(), ";Tag=a;lr;x=\"1;2\"");
        assert_eq!((params.get("tag"), params.get("lr"), params.has("LR")), (Some("a"), None, true));
        assert_eq!(params.unquoted("X").as_deref(), Some("1;2"));
        params.set("TAG", Some("b"));
        params.set("new", None);
        params.remove("lr");
        assert_eq!(params.to_string(), ";Tag=b;x=\"1;2\";new");
        for bad in [";", "=1", "a b=1", "a;;b", "\"a\"=1", "a,b"] {
            assert_eq!(Params::parse(bad), None, "{bad}");
            assert!(!Params::is_valid(bad), "{bad}");
        }
        assert_eq!(Params::parse(""), Some(Params::default()));
    }
}
