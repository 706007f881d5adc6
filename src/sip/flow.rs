//! A flow: the transport and the pair of addresses two ends talk over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::message::{SipUri, Via};

/// How messages travel (RFC 3261 §18, RFC 7118).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// One datagram, one message.
    #[default]
    Udp,
    /// A stream; messages end where Content-Length says.
    Tcp,
    /// A stream inside TLS.
    Tls,
    /// One WebSocket message, one SIP message.
    Ws,
    /// A WebSocket inside TLS.
    Wss,
}

impl Transport {
    /// Every transport, in order.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Whether what was sent arrives, or the connection ends: nothing is sent twice then (RFC 3261 §17).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether nobody on the way can read it.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The word in Via.
    #[must_use]
    pub const fn in_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of a URI's `transport` parameter; UDP is what is meant without one.
    ///
    /// `tls` is deprecated (RFC 3261 §26.2.2) and what every phone and PBX writes and understands.
    #[must_use]
    pub const fn in_uri(self) -> Option<&'static str> {
        match self {
            Self::Udp => None,
            Self::Tcp => Some("tcp"),
            Self::Tls => Some("tls"),
            Self::Ws | Self::Wss => Some("ws"),
        }
    }

    /// The word in files, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The port that is meant where none is written (RFC 3261 §19.1.2, RFC 7118 §9).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// What a URI asks for; `None` if it leaves the choice (RFC 3263 §4.1).
    #[must_use]
    pub fn of_uri(uri: &SipUri) -> Option<Self> {
        let word = uri.params.get("transport").map(str::to_ascii_lowercase);
        match (word.as_deref(), uri.secure) {
            (Some("tls"), _) | (Some("tcp") | None, true) => Some(Self::Tls),
            (Some("ws"), true) | (Some("wss"), _) => Some(Self::Wss),
            (Some("udp"), false) => Some(Self::Udp),
            (Some("tcp"), false) => Some(Self::Tcp),
            (Some("ws"), false) => Some(Self::Ws),
            _ => None,
        }
    }
}

/// Our address and the peer's; a reply on the same flow passes every NAT the request passed.
///
/// A stream that we open ourselves has the local port 0: it leaves from whichever port the system gives, and it
/// can be opened again. A stream that the peer opened cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// How messages travel.
    #[serde(default)]
    pub transport: Transport,
    /// The local socket address: of the UDP socket, or of the listener that took the connection.
    pub local: SocketAddr,
    /// The peer's address as seen here.
    pub remote: SocketAddr,
}

impl Flow {
    /// Datagrams between two sockets.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, local, remote }
    }

    /// A stream that we open to `remote`, or have open.
    #[must_use]
    pub const fn dialled(transport: Transport, remote: SocketAddr) -> Self {
        let local = match remote {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { transport, local: SocketAddr::new(local, 0), remote }
    }

    /// Whether it is a stream that we open.
    #[must_use]
    pub const fn is_dialled(&self) -> bool {
        self.transport.is_reliable() && self.local.port() == 0
    }

    /// Where the answer to a request goes that came on this flow with `via` on top (RFC 3261 §18.2.2).
    ///
    /// A stream takes it back; a datagram goes where [`Via::reply_to`] says.
    #[must_use]
    pub fn answering(self, via: &Via) -> Self {
        if self.transport.is_reliable() {
            return self;
        }
        Self { remote: via.reply_to(self.remote), ..self }
    }

    /// The same for a stream that has closed: a new one to where the sender says it listens.
    #[must_use]
    pub fn answering_anew(self, via: &Via) -> Self {
        let port = via.port.unwrap_or(self.transport.default_port());
        Self::dialled(self.transport, SocketAddr::new(self.remote.ip(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Option<Transport> {
        Transport::of_uri(&SipUri::parse(text).unwrap())
    }

    #[test]
    fn a_uri_asks_for_a_transport_by_its_parameter_or_its_scheme_or_leaves_the_choice() {
        assert_eq!(uri("sip:a@h"), None);
        assert_eq!(uri("sip:a@h;transport=udp"), Some(Transport::Udp));
        assert_eq!(uri("sip:a@h;transport=TCP"), Some(Transport::Tcp));
        assert_eq!(uri("sip:a@h;transport=tls"), Some(Transport::Tls));
        assert_eq!(uri("sips:a@h"), Some(Transport::Tls));
        assert_eq!(uri("sips:a@h;transport=tcp"), Some(Transport::Tls));
        assert_eq!(uri("sip:a@h;transport=ws"), Some(Transport::Ws));
        assert_eq!(uri("sips:a@h;transport=ws"), Some(Transport::Wss));
        assert_eq!(uri("sip:a@h;transport=sctp"), None);
    }

    #[test]
    fn an_answer_stays_on_its_stream_and_a_new_stream_goes_to_where_the_sender_listens() {
        let flow = Flow {
            transport: Transport::Tcp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.7:40000".parse().unwrap(),
        };
        let via = Via::parse("SIP/2.0/TCP 192.0.2.7:5070;branch=z9hG4bKa").unwrap();
        assert_eq!(flow.answering(&via), flow);
        let anew = flow.answering_anew(&via);
        assert_eq!((anew.remote.to_string(), anew.is_dialled()), ("192.0.2.7:5070".to_owned(), true));
        let udp = Flow { transport: Transport::Udp, ..flow };
        assert_eq!(udp.answering(&via).remote.to_string(), "192.0.2.7:5070");
    }

    #[test]
    fn a_flow_kept_before_there_were_streams_is_read_as_udp() {
        let kept = r#"{"local":"192.0.2.1:5060","remote":"192.0.2.2:5060"}"#;
        let flow: Flow = serde_json::from_str(kept).unwrap();
        assert_eq!(flow.transport, Transport::Udp);
        assert!(serde_json::to_string(&flow).unwrap().contains(r#""transport":"udp""#));
    }
}
