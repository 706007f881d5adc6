//! A SIP message, owned: start line, header fields in their order, body (RFC 3261 §7).

#[cfg(test)]
mod captured;
pub mod name;
mod params;
pub mod parse;
pub mod print;
pub mod uri;
pub mod value;

pub use name::Name;
pub use parse::{Fault, FaultKind, Parsed, parse};
pub use uri::{NameAddr, Params, SipUri};
pub use value::{CSeq, Head, Via};

/// A request method; case matters (RFC 3261 §7.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// INVITE
    Invite,
    /// ACK
    Ack,
    /// BYE
    Bye,
    /// CANCEL
    Cancel,
    /// REGISTER
    Register,
    /// OPTIONS
    Options,
    /// INFO (RFC 6086)
    Info,
    /// UPDATE (RFC 3311)
    Update,
    /// PRACK (RFC 3262)
    Prack,
    /// REFER (RFC 3515)
    Refer,
    /// SUBSCRIBE (RFC 6665)
    Subscribe,
    /// NOTIFY (RFC 6665)
    Notify,
    /// A method of a registered extension that this product does not offer (MESSAGE, PUBLISH, …).
    Known(&'static str),
    /// Anything else, as written.
    Other(String),
}

const KNOWN: [&str; 2] = ["MESSAGE", "PUBLISH"];

impl Method {
    /// Reads a method; the caller has checked that it is a token.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "REGISTER" => Self::Register,
            "OPTIONS" => Self::Options,
            "INFO" => Self::Info,
            "UPDATE" => Self::Update,
            "PRACK" => Self::Prack,
            "REFER" => Self::Refer,
            "SUBSCRIBE" => Self::Subscribe,
            "NOTIFY" => Self::Notify,
            _ => KNOWN
                .into_iter()
                .find(|known| *known == text)
                .map_or_else(|| Self::Other(text.to_owned()), Self::Known),
        }
    }

    /// The method as it stands in the message.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Prack => "PRACK",
            Self::Refer => "REFER",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Known(text) => text,
            Self::Other(text) => text,
        }
    }
}

/// One header field: a line, unfolded and trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: Name,
    /// Its value; several values of a list may stand in one.
    pub value: String,
}

/// The header fields in their order; Content-Length is not among them, the body knows its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// No header fields yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The first line of that name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&str> {
        self.0.iter().find(|header| header.name == *name).map(|header| header.value.as_str())
    }

    /// Every line of that name.
    pub fn all<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |header| header.name == *name).map(|header| header.value.as_str())
    }

    /// Every value of a comma-separated header, over all its lines; a line with an open quote counts as one.
    #[must_use]
    pub fn list(&self, name: &Name) -> Vec<&str> {
        let mut out = Vec::new();
        for line in self.0.iter().filter(|header| header.name == *name).map(|header| header.value.as_str()) {
            match uri::split_outside_quotes(line, b',') {
                Some(values) => out.extend(values.into_iter().map(str::trim)),
                None => out.push(line),
            }
        }
        out
    }

    /// The lower-case words of a comma-separated header such as Require, empty ones left out.
    #[must_use]
    pub fn words(&self, name: &Name) -> Vec<String> {
        self.list(name).into_iter().filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect()
    }

    /// Appends a line; line breaks in `value` are taken out, so no header can smuggle another in.
    pub fn push(&mut self, name: Name, value: impl Into<String>) {
        let mut value: String = value.into();
        if has_line_break(&value) {
            value = value.replace(['\r', '\n'], " ");
        }
        if self.0.capacity() == 0 {
            self.0.reserve(USUAL);
        }
        self.0.push(Header { name, value });
    }

    /// Appends to the last line what stood folded under it (RFC 3261 §7.3.1).
    fn continue_last(&mut self, text: &str) {
        if let Some(Header { value, .. }) = self.0.last_mut() {
            let separator = if value.is_empty() || text.is_empty() { "" } else { " " };
            value.push_str(separator);
            value.extend(text.chars().map(|c| if matches!(c, '\r' | '\n') { ' ' } else { c }));
        }
    }

    /// Takes every line of that name away.
    pub fn remove(&mut self, name: &Name) {
        self.0.retain(|header| header.name != *name);
    }

    /// Replaces every line of that name by one.
    pub fn set(&mut self, name: Name, value: impl Into<String>) {
        self.remove(&name);
        self.push(name, value);
    }

    /// The lines in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }

    /// Replaces the value of the first line of that name, if there is one.
    pub fn replace_first(&mut self, name: &Name, value: String) {
        if let Some(header) = self.0.iter_mut().find(|header| header.name == *name) {
            header.value = value;
        }
    }
}

/// Header lines of a usual message.
const USUAL: usize = 16;

fn has_line_break(text: &str) -> bool {
    memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_some()
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The Request-URI as written; any scheme.
    pub uri: String,
    /// Header fields.
    pub headers: Headers,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub phrase: String,
    /// Header fields.
    pub headers: Headers,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
}

/// Either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// Its header fields.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }
}

/// The type and subtype of a Content-Type or Accept value, in lower case, without parameters.
///
/// White space may stand around the slash (RFC 3261 §25.1, `SLASH`).
#[must_use]
pub fn media_type_of(value: &str) -> String {
    let kind = value.split_once(';').map_or(value, |(kind, _)| kind);
    kind.split_whitespace().collect::<String>().to_ascii_lowercase()
}

/// The session description of a body: the body itself, or the `application/sdp` part of a multipart one.
///
/// `None` if there is no body or none of that type; text that is not UTF-8 is read with replacements.
#[must_use]
pub fn sdp_of(headers: &Headers, body: &[u8]) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    // A body without a word on its kind is what such bodies are (RFC 3261 §7.4.1 wants the word).
    let kind = headers.get(&Name::ContentType).or(body.starts_with(b"v=0").then_some("application/sdp"))?;
    let params = kind.split_once(';').map_or("", |(_, params)| params);
    let media_type = media_type_of(kind);
    let text = String::from_utf8_lossy(body).into_owned();
    if media_type == "application/sdp" {
        return Some(text);
    }
    if !media_type.starts_with("multipart/") {
        return None;
    }
    let boundary = format!("--{}", Params::parse(params)?.unquoted("boundary")?);
    text.split(boundary.as_str()).skip(1).find_map(|part| {
        let normal = part.replace("\r\n", "\n");
        let (head, content) = normal.split_once("\n\n")?;
        let is_sdp = head.lines().any(|line| {
            let Some((name, value)) = line.split_once(':') else { return false };
            Name::parse(name.trim()) == Name::ContentType && media_type_of(value) == "application/sdp"
        });
        is_sdp.then(|| content.trim_end().replace('\n', "\r\n") + "\r\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_cannot_smuggle_a_line() {
        let mut headers = Headers::new();
        headers.push(Name::Subject, "a\r\nVia: x");
        assert_eq!(headers.get(&Name::Subject), Some("a  Via: x"));
    }

    #[test]
    fn a_list_is_read_over_lines_and_commas_but_not_inside_quotes_or_brackets() {
        let mut headers = Headers::new();
        headers.push(Name::Contact, "\"a, b\" <sip:a@b,c>;q=1 , <sip:d@e>");
        headers.push(Name::Contact, "<sip:f@g>");
        assert_eq!(headers.list(&Name::Contact).len(), 3);
    }

    #[test]
    fn spaces_around_the_slash_of_a_media_type_mean_nothing() {
        assert_eq!(media_type_of(" Application / SDP ; charset=x"), "application/sdp");
        let mut headers = Headers::new();
        headers.push(Name::ContentType, "application / sdp");
        assert_eq!(sdp_of(&headers, b"v=0\r\n").as_deref(), Some("v=0\r\n"));
    }

    #[test]
    fn the_session_description_is_found_inside_a_multipart_body() {
        let mut headers = Headers::new();
        headers.push(Name::ContentType, "multipart/mixed; boundary=\"xx\"");
        let body = b"--xx\r\nContent-Type: application/isup\r\n\r\nzzz\r\n--xx\r\nc: application/sdp\r\n\r\nv=0\r\ns=-\r\n--xx--\r\n";
        assert_eq!(sdp_of(&headers, body).as_deref(), Some("v=0\r\ns=-\r\n"));
    }
}
