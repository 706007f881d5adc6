//! Message to bytes, and making a request small enough for one datagram.

use super::super::flow::Transport;
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

    /// The bytes as they travel over `transport`.
    #[must_use]
    pub fn to_wire(&self, transport: Transport) -> Vec<u8> {
        if transport.is_reliable() { self.to_bytes() } else { self.to_datagram() }
    }

    /// The bytes for a datagram: above [`MAX_DATAGRAM`] with compact names, then without optional
    /// headers, then without what its session description says twice.
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
        if bytes.len() > MAX_DATAGRAM && shorten_sdp(&smaller.headers, &mut smaller.body) {
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

    /// The bytes as they travel over `transport`; what is too large for a datagram is made smaller, like a request.
    #[must_use]
    pub fn to_wire(&self, transport: Transport) -> Vec<u8> {
        let mut bytes = self.to_bytes();
        if transport.is_reliable() || bytes.len() <= MAX_DATAGRAM {
            return bytes;
        }
        let mut smaller = self.clone();
        bytes = smaller.to_short_bytes();
        for name in [Name::Server].iter().chain(&EXPENDABLE) {
            if bytes.len() <= MAX_DATAGRAM {
                return bytes;
            }
            smaller.headers.remove(name);
            bytes = smaller.to_short_bytes();
        }
        if bytes.len() > MAX_DATAGRAM && shorten_sdp(&smaller.headers, &mut smaller.body) {
            bytes = smaller.to_short_bytes();
        }
        bytes
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

/// What a session description means without saying it: the fixed payload types of RFC 3551 table 4, the direction
/// and the packet time that hold where none stands (RFC 4566 §6, RFC 3551 §4.2).
const IMPLIED: [&str; 6] = [
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:13 CN/8000",
    "a=sendrecv",
    "a=ptime:20",
];

/// Takes the lines out of a session description that say nothing new; `false` if there are none.
fn shorten_sdp(headers: &Headers, body: &mut Vec<u8>) -> bool {
    let kind = headers.get(&Name::ContentType).map(super::media_type_of);
    let Some(text) = str::from_utf8(body).ok().filter(|_| kind.as_deref() == Some("application/sdp")) else {
        return false;
    };
    // A direction at session level holds for the media below it and must stay with them.
    let before_media = text.find("\nm=").unwrap_or(0);
    let directed = text.get(..before_media).is_some_and(|head| {
        ["\na=inactive", "\na=sendonly", "\na=recvonly"].iter().any(|line| head.contains(line))
    });
    let implied = |line: &str| {
        let line = line.trim_end();
        IMPLIED.iter().any(|it| it.eq_ignore_ascii_case(line)) && !(directed && line == "a=sendrecv")
    };
    let kept: String = text.split_inclusive('\n').filter(|line| !implied(line)).collect();
    let shorter = kept.len() < body.len();
    *body = kept.into_bytes();
    shorter
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

    #[test]
    fn a_session_description_too_large_for_a_datagram_loses_what_goes_without_saying() {
        let sdp = |direction: &str| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{direction}m=audio 4000 RTP/AVP 0 8 9 96\r\n\
                 a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\n\
                 a=rtpmap:96 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\na=x:{}\r\n",
                "y".repeat(1080)
            )
        };
        let mut headers = Headers::new();
        headers.push(Name::Via, "SIP/2.0/UDP h;branch=z9hG4bK1");
        headers.push(Name::ContentType, "application/sdp");
        headers.push(Name::Server, "u".repeat(60));
        let mut response =
            Response { status: 200, phrase: "OK".to_owned(), headers, body: sdp("").into_bytes() };
        let text = String::from_utf8(response.to_wire(Transport::Udp)).expect("text");
        assert!(text.len() <= MAX_DATAGRAM, "{}", text.len());
        assert!(text.contains("RTP/AVP 0 8 9 96\r\na=rtpmap:96 telephone-event/8000\r\na=x:"), "{text}");
        assert!(String::from_utf8(response.to_wire(Transport::Tcp)).expect("text").contains("a=ptime:20"));
        // A direction of the whole session is taken back for the media below it.
        response.body = sdp("a=inactive\r\n").into_bytes();
        let text = String::from_utf8(response.to_wire(Transport::Udp)).expect("text");
        assert!(text.contains("a=sendrecv\r\n") && !text.contains("PCMU"), "{text}");
    }
}
