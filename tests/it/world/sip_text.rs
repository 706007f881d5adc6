//! SIP as a phone of few lines reads and writes it: text, without the gateway's own parser.

use std::net::SocketAddr;

/// The first header of that name, or nothing.
pub fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let head = text.split("\r\n\r\n").next().unwrap_or("");
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("")
}

pub fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The method of a request, or nothing for a response.
pub fn method(text: &str) -> &str {
    if text.starts_with("SIP/2.0") { "" } else { text.split(' ').next().unwrap_or("") }
}

pub fn status(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Number and method of CSeq.
pub fn cseq(text: &str) -> (u32, &str) {
    let (number, method) = header(text, "CSeq").split_once(' ').unwrap_or(("0", ""));
    (number.parse().unwrap_or(0), method)
}

pub fn tag(value: &str) -> Option<&str> {
    value.split_once(";tag=").map(|(_, tag)| tag.split(';').next().unwrap_or(tag))
}

/// The URI in `<…>`.
pub fn uri(value: &str) -> &str {
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(uri, _)| uri)
}

/// A parameter of a challenge.
pub fn quoted<'a>(value: &'a str, name: &str) -> &'a str {
    let start = value.find(&format!("{name}=\"")).map_or(0, |at| at + name.len() + 2);
    value[start..].split('"').next().unwrap_or("")
}

/// Where the other side wants its RTP.
pub fn media_of(sdp: &str) -> Option<SocketAddr> {
    let host = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?;
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
    format!("{host}:{port}").parse().ok()
}

/// The direction that a description states.
pub fn direction_of(sdp: &str) -> &str {
    let known = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let stated = sdp.lines().filter_map(|line| line.strip_prefix("a=")).find(|it| known.contains(it));
    stated.unwrap_or("sendrecv")
}

/// A phone's description of itself.
pub fn describe(media: SocketAddr, version: u32, direction: &str) -> String {
    let (host, port) = (media.ip(), media.port());
    format!(
        "v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=ptime:20\r\na={direction}\r\n"
    )
}

/// A response to `request`; `to_tag` is added where To has none yet.
pub fn respond(request: &str, status: u16, to_tag: &str, contact: &str, body: &str) -> String {
    let head = request.split("\r\n\r\n").next().unwrap_or("");
    let vias: String =
        head.lines().filter(|line| line.starts_with("Via: ")).map(|line| format!("{line}\r\n")).collect();
    let to = header(request, "To");
    let to = if tag(to).is_some() { to.to_owned() } else { format!("{to};tag={to_tag}") };
    let (from, call_id, number) =
        (header(request, "From"), header(request, "Call-ID"), header(request, "CSeq"));
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {status} X\r\n{vias}From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {number}\r\n\
         Contact: {contact}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
