//! Who may open a connection at all: decided before a handshake costs anything.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::id::TrunkName;
use crate::sip::{DefenceSettings, Transport};

/// The access lists, and the trunks that they never keep out.
#[derive(Clone, Debug, Default)]
pub struct Door {
    rules: DefenceSettings,
    networks: Vec<IpNet>,
    trunks: BTreeMap<TrunkName, Vec<IpAddr>>,
}

impl Door {
    /// The access lists of these settings; trunks call from `networks`, too.
    #[must_use]
    pub const fn new(rules: DefenceSettings, networks: Vec<IpNet>) -> Self {
        Self { rules, networks, trunks: BTreeMap::new() }
    }

    /// A trunk is at these addresses now.
    pub fn set_trunk(&mut self, trunk: &TrunkName, addresses: impl IntoIterator<Item = IpAddr>) {
        self.trunks.insert(trunk.clone(), addresses.into_iter().map(|it| it.to_canonical()).collect());
    }

    /// Whether a connection is taken.
    #[must_use]
    pub fn lets_in(&self, transport: Transport, from: IpAddr) -> bool {
        let address = from.to_canonical();
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        let friend = within(&self.networks)
            || within(&self.rules.trusted)
            || self.trunks.values().flatten().any(|it| *it == address);
        self.rules.lets_in(transport, from, friend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_a_transport_keeps_everybody_out_but_those_on_it_and_trunks() {
        let mut rules = DefenceSettings::default();
        rules.by_transport.insert(Transport::Tls, vec!["192.168.0.0/16".parse().unwrap()]);
        rules.acl.deny = vec!["192.168.9.0/24".parse().unwrap()];
        let mut door = Door::new(rules, vec!["198.51.100.0/28".parse().unwrap()]);
        door.set_trunk(&"isp".into(), ["203.0.113.5".parse().unwrap()]);
        let may = |transport, from: &str| door.lets_in(transport, from.parse().unwrap());
        assert!(may(Transport::Tls, "192.168.1.1") && may(Transport::Tls, "::ffff:192.168.1.1"));
        assert!(!may(Transport::Tls, "192.0.2.1") && !may(Transport::Tls, "192.168.9.1"));
        assert!(may(Transport::Tls, "203.0.113.5") && may(Transport::Tls, "198.51.100.3"));
        assert!(may(Transport::Tcp, "192.0.2.1"), "another transport has no list");
    }
}
