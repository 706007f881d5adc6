//! Message to bytes, and making a request small enough for one datagram.

use super::{Headers, Message, Name, Request, Response};

/// What fits one datagram without fragments on every path (RFC 3261 §18.1.1).
pub const MAX_DATAGRAM: usize = 1300;

/// What may be left out of a request that is too large; nothing depends on it.
const EXPENDABLE: [Name; 5] =
    [Name::UserAgent, Name::Allow, Name::Supported, Name::PCalledPartyId, Name::Subject];

impl Request {
    /// The bytes for the wire, header names in full.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.print(Name::as_str)
    }

    /// The bytes for a datagram: above [`MAX_DATAGRAM`] with compact names, then without optional headers.
    #[must_use]
    pub fn to_datagram(&self) -> Vec<u8> {
        let bytes = self.to_bytes();
        if bytes.len() <= MAX_DATAGRAM {
            return bytes;
        }
        let mut smaller = self.clone();
        let mut bytes = smaller.print(Name::shortest);
        for name in &EXPENDABLE {
            if bytes.len() <= MAX_DATAGRAM {
                break;
            }
            smaller.headers.remove(name);
            bytes = smaller.print(Name::shortest);
        }
        bytes
    }

    fn print(&self, spell: fn(&Name) -> &str) -> Vec<u8> {
        let start = format!("{} {} SIP/2.0", self.method.as_str(), self.uri);
        print(&start, &self.headers, &self.body, spell)
    }
}

impl Response {
    /// The bytes for the wire, header names in full.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        print(&self.start_line(), &self.headers, &self.body, Name::as_str)
    }

    /// The bytes for the wire, header names as short as they get.
    #[must_use]
    pub fn to_short_bytes(&self) -> Vec<u8> {
        print(&self.start_line(), &self.headers, &self.body, Name::shortest)
    }

    fn start_line(&self) -> String {
        format!("SIP/2.0 {} {}", self.status, self.phrase)
    }
}

impl Message {
    /// The bytes for the wire, header names in full.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

fn print(start: &str, headers: &Headers, body: &[u8], spell: fn(&Name) -> &str) -> Vec<u8> {
    let mut out = String::with_capacity(512);
    out.push_str(start);
    out.push_str("\r\n");
    for header in headers.iter() {
        out.push_str(spell(&header.name));
        out.push_str(": ");
        out.push_str(&header.value);
        out.push_str("\r\n");
    }
    out.push_str(spell(&Name::ContentLength));
    out.push_str(": ");
    out.push_str(&body.len().to_string());
    out.push_str("\r\n\r\n");
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::super::Method;
    use super::*;

    #[test]
    fn a_request_too_large_first_gets_short_names_then_loses_what_is_optional() {
        let mut headers = Headers::new();
        headers.push(Name::Via, "SIP/2.0/UDP h;branch=z9hG4bK1");
        headers.push(Name::UserAgent, "u".repeat(200));
        headers.push(Name::CallId, "x");
        headers.push(Name::ContentType, "application/sdp");
        let mut request =
            Request { method: Method::Invite, uri: "sip:a@b".to_owned(), headers, body: vec![b'x'; 900] };
        assert!(String::from_utf8_lossy(&request.to_datagram()).contains("Call-ID: x"));
        request.body = vec![b'x'; 985];
        let text = String::from_utf8_lossy(&request.to_datagram()).into_owned();
        assert!(text.contains("\r\ni: x") && text.contains("User-Agent"), "{text}");
        request.body = vec![b'x'; 1200];
        let bytes = request.to_datagram();
        assert!(bytes.len() <= MAX_DATAGRAM && !String::from_utf8_lossy(&bytes).contains("User-Agent"));
    }
}
