//! Who sends, as far as bans and limits can tell senders apart.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// One sender: an IPv4 address, or the /64 of an IPv6 address.
///
/// Whoever has one address of a /64 has all of them (RFC 6177), so a single one is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The sender behind an address; an IPv4 address in IPv6 clothes is the IPv4 address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }

    /// Its bytes, for a signature.
    #[must_use]
    pub fn octets(self) -> Vec<u8> {
        match self.0 {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// Reads an address, or what [`Source`] prints.
impl FromStr for Source {
    type Err = std::net::AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix("/64").unwrap_or(text).parse().map(Self::of)
    }
}

/// Which addresses may speak at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// If there are some, only these.
    pub allow: Vec<IpNet>,
    /// Never these, whatever `allow` says.
    pub deny: Vec<IpNet>,
}

/// What an [`Acl`] says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It may speak.
    Allowed,
    /// There is a list of those who may, and it is not on it.
    Missing,
    /// It may not.
    Denied,
}

impl Acl {
    /// Looks an address up.
    #[must_use]
    pub fn judge(&self, address: IpAddr) -> Listed {
        let address = address.to_canonical();
        let on = |list: &[IpNet]| list.iter().any(|net| net.contains(&address));
        if on(&self.deny) {
            Listed::Denied
        } else if self.allow.is_empty() || on(&self.allow) {
            Listed::Allowed
        } else {
            Listed::Missing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_sender_is_an_ipv4_address_or_a_64_of_ipv6() {
        assert_eq!(Source::of(ip("::ffff:203.0.113.7")), Source::of(ip("203.0.113.7")));
        assert_eq!(Source::of(ip("2001:db8:1:2::7")), Source::of(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(Source::of(ip("2001:db8:1:2::7")), Source::of(ip("2001:db8:1:3::7")));
        for text in ["203.0.113.7", "2001:db8:1:2::/64"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn denied_wins_over_allowed_and_an_empty_list_allows_all() {
        let nets = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect();
        let acl = Acl { allow: nets(&["10.0.0.0/8"]), deny: nets(&["10.9.0.0/16"]) };
        assert_eq!(acl.judge(ip("10.1.2.3")), Listed::Allowed);
        assert_eq!(acl.judge(ip("::ffff:10.1.2.3")), Listed::Allowed);
        assert_eq!(acl.judge(ip("10.9.2.3")), Listed::Denied);
        assert_eq!(acl.judge(ip("192.0.2.1")), Listed::Missing);
        assert_eq!(Acl::default().judge(ip("192.0.2.1")), Listed::Allowed);
    }
}
