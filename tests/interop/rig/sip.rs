//! A SIP peer that says exactly what a test wants: datagrams out, datagrams in.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::gateway::TRUNK_IP;
use super::ports::Ports;
use super::program::PATIENCE;

/// A UDP socket that speaks SIP with the gateway.
pub(crate) struct SipPeer {
    socket: UdpSocket,
    pub(crate) own: String,
    gateway: String,
}

impl SipPeer {
    /// A peer on the trunk's address.
    pub(crate) fn trunk(ports: &mut Ports, gateway: &str) -> Self {
        Self::at(TRUNK_IP, ports, gateway)
    }

    /// A stranger on loopback.
    pub(crate) fn stranger(ports: &mut Ports, gateway: &str) -> Self {
        Self::at("127.0.0.1", ports, gateway)
    }

    fn at(ip: &str, ports: &mut Ports, gateway: &str) -> Self {
        let own = format!("{ip}:{}", ports.take(1));
        let socket = UdpSocket::bind(&own).expect("a leased port is free");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket takes a time-out");
        Self { socket, own, gateway: gateway.to_owned() }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, &self.gateway).expect("loopback takes datagrams");
    }

    /// Sends a request: start line and own headers, with the rest filled in.
    pub(crate) fn request(&self, method: &str, uri: &str, call: &str, branch: &str, more: &str, body: &str) {
        let own = &self.own;
        let to = if more.starts_with("To:") { String::new() } else { format!("To: <{uri}>\r\n") };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: \"Peer\" <sip:300@{own}>;tag=peer\r\n{to}{more}Call-ID: {call}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:300@{own}>\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(text.as_bytes());
    }

    /// The next message that a test looks for; others are passed over.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.look(PATIENCE, &wanted).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
    }

    /// A message that a test looks for, if it comes in time.
    pub(crate) fn look(&self, patience: Duration, wanted: &impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + patience;
        let mut bytes = vec![0; 65_536];
        while Instant::now() < deadline {
            if let Ok((length, _)) = self.socket.recv_from(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if wanted(&text) {
                    return Some(text);
                }
            }
        }
        None
    }

    /// Fails unless the gateway answers an OPTIONS, as a living one does.
    pub(crate) fn assert_alive(&self, call: &str) {
        self.request("OPTIONS", &format!("sip:{}", self.gateway), call, call, "", "");
        self.wait("an answer to OPTIONS", |text| text.starts_with("SIP/2.0 ") && text.contains(call));
    }
}

/// Whether a message is an answer with this status to a request of this method.
pub(crate) fn is_answer(text: &str, status: u16, method: &str) -> bool {
    text.starts_with(&format!("SIP/2.0 {status} "))
        && header(text, "CSeq").is_some_and(|cseq| cseq.ends_with(method))
}

/// The value of a header, by its long name.
pub(crate) fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// An SDP offer of PCMU with nobody behind its port.
pub(crate) fn offer(own: &str, port: u16) -> String {
    let ip = own.split(':').next().unwrap_or(own);
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
    )
}

/// Whether whoever listens there by UDP answers an OPTIONS.
pub(crate) fn answers_options(at: &str) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket takes a time-out");
    let own = socket.local_addr().expect("bound");
    let text = format!(
        "OPTIONS sip:{at} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKprobe;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:probe@{own}>;tag=p\r\nTo: <sip:{at}>\r\nCall-ID: probe-{own}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let mut buffer = [0; 2000];
    socket.send_to(text.as_bytes(), at).is_ok() && socket.recv(&mut buffer).is_ok()
}
