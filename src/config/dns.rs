//! `[sip.dns]`, and addresses that may be names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::de::DeValue;

use super::reader::Section;
use super::setting::Setting;

/// `[sip.dns]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Whom to ask; empty: whom the system asks.
    pub servers: Vec<SocketAddr>,
    /// A call waits so long for a name of which nothing is known.
    pub wait: Duration,
    /// An old answer is used for so long while no name server answers.
    pub stale: Duration,
}

/// Where a server is: an address, or a name that DNS knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAt {
    /// An address.
    Address(SocketAddr),
    /// A name.
    Name {
        /// The name, without a final dot.
        host: String,
        /// With a port it is a host; without one it is a domain, whose servers DNS names.
        port: Option<u16>,
    },
}

impl std::fmt::Display for ServerAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name { host, port: Some(port) } => write!(f, "{host}:{port}"),
            Self::Name { host, port: None } => f.write_str(host),
        }
    }
}

impl Setting for ServerAt {
    const WANTED: &'static str = "an IP address with a port, or a name with or without one";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() != 0).then_some(Self::Address(address));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|it| *it != 0)?)),
            None => (text, None),
        };
        let host = host.trim_end_matches('.');
        // An address without its port is a mistake, not a name.
        let numeric = host.rsplit('.').next().is_some_and(|it| it.bytes().all(|b| b.is_ascii_digit()));
        (is_host_name(host) && !numeric).then(|| Self::Name { host: host.to_ascii_lowercase(), port })
    }
    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

/// Letters, digits, `-` and `_` in labels of up to 63 characters (RFC 1123 §2.1).
fn is_host_name(text: &str) -> bool {
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(fits)
}

/// A name server; its port is 53 unless it is written.
struct NameServer(SocketAddr);

impl Setting for NameServer {
    const WANTED: &'static str = "the IP address of a name server, with or without a port";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let plain = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
        text.parse().ok().filter(|it: &SocketAddr| it.port() != 0).or_else(plain).map(Self)
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// Reads the section.
pub(super) fn dns(section: &mut Section<'_, '_, '_>) -> Option<DnsConfig> {
    let servers = section.list::<NameServer>("servers", Some(Vec::new()), "[\"192.168.1.1\"]");
    let wait = section.or("wait", Duration::from_secs(2));
    let span = Duration::from_millis(100)..=Duration::from_secs(10);
    let wait = section.within("wait", wait, &span, "the calling user hears nothing meanwhile");
    let stale = section.or("stale", Duration::from_hours(24));
    let span = Duration::ZERO..=Duration::from_hours(24 * 7);
    let stale = section.within("stale", stale, &span, "RFC 8767 speaks of one to three days");
    let servers = servers?.into_iter().map(|it| it.0).collect();
    Some(DnsConfig { servers, wait: wait?, stale: stale? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Setting>(text: &str) -> Option<T> {
        T::read(DeValue::parse(text).expect("TOML").get_ref())
    }

    #[test]
    fn a_server_is_an_address_or_a_name_and_prints_as_it_was_written() {
        for text in
            ["192.0.2.1:5060", "[2001:db8::1]:5060", "sip.example.net", "pbx", "pbx-1.example.net:5070"]
        {
            let written = format!("\"{text}\"");
            assert_eq!(read::<ServerAt>(&written).expect(text).write(), written);
        }
        let name = ServerAt::Name { host: "sip.example.net".to_owned(), port: None };
        assert_eq!(read::<ServerAt>("\"SIP.example.net.\""), Some(name));
        for wrong in
            ["192.0.2.1", "192.0.2.1:0", "a..b", "-a.net", "a b", "", "a:70000", "sip:a.net", "2001:db8::1"]
        {
            assert_eq!(read::<ServerAt>(&format!("\"{wrong}\"")), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_server_listens_at_port_53() {
        let port = |text: &str| read::<NameServer>(text).map(|it| it.0.port());
        assert_eq!(
            [port("\"192.0.2.1\""), port("\"[::1]:5353\""), port("\"dns\"")],
            [Some(53), Some(5353), None]
        );
    }
}
