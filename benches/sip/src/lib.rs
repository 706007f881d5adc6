//! The messages that are measured.

/// An INVITE of baresip 1.0.0 as it arrives behind a proxy: 1.26 kB, thirteen kinds of headers, a session description.
#[must_use]
pub fn invite() -> String {
    let captured = include_str!("../../../tests/data/sip/baresip_1.0.0_invite.txt").replace("\r\n", "\n");
    let (head, body) = captured.split_once("\n\n").expect("a head and a body");
    let body = body.replace('\n', "\r\n");
    let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
    lines.insert(1, "Record-Route: <sip:192.0.2.40;lr;ftag=7a93e45babef220b>".to_owned());
    lines.insert(2, "Via: SIP/2.0/UDP 192.0.2.40:5060;branch=z9hG4bK3a7d.5b1c9c07.0".to_owned());
    for line in &mut lines {
        if line.starts_with("Content-Length") {
            *line = format!("Content-Length: {}", body.len());
        }
    }
    lines.join("\r\n") + "\r\n\r\n" + &body
}
