//! Folders, names, addresses and port ranges of this machine.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::Finding;
use crate::config::{Config, NumberConfig, RealmConfig};
use crate::io::dns::Dns;
use crate::io::recording::{free_bytes, is_writable};
use crate::io::sounds::Sounds;

/// Less is a disk that is full tomorrow.
const LITTLE: u64 = 512 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at everything that needs no peer but DNS.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let mut all = folders(config);
    if let Err(fault) = Sounds::load(&config.sounds, &config.recording.consent) {
        all.push(
            Finding::fault("sounds", "[sounds]", fault.to_string()).mend("cordboard check names the file"),
        );
    }
    all.extend(names(config).await);
    for (key, realm) in [("media.outside", &config.media.outside), ("media.inside", &config.media.inside)] {
        all.extend(realm_bound(key, realm).await);
    }
    all.push(advertised(&config.media.outside, &config.graph.base));
    let kernels = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    for (key, realm) in
        [("media.outside.ports", &config.media.outside), ("media.inside.ports", &config.media.inside)]
    {
        all.extend(shared_ports(key, &realm.ports, &kernels, &reserved));
    }
    all
}

fn folders(config: &Config) -> Vec<Finding> {
    let store = config.store.path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut folders = vec![("store.path", store)];
    if config.recording.enabled {
        folders.push(("recording.directory", &config.recording.directory));
    }
    if config.numbers.iter().any(NumberConfig::takes_messages) {
        folders.push(("voicemail.directory", &config.voicemail.directory));
    }
    folders.into_iter().map(|(key, folder)| folder_of(key, folder)).collect()
}

fn folder_of(key: &str, folder: &Path) -> Finding {
    let place = format!("{key}, {}", folder.display());
    if let Err(error) = is_writable(folder) {
        let remedy = "run this as the user of the gateway (sudo -u cordboard cordboard doctor); \
                      install -d -m 700 -o cordboard makes the folder";
        return Finding::fault("folder", place, format!("cannot be written: {error}")).mend(remedy);
    }
    match free_bytes(folder) {
        Ok(free) if free < LITTLE => {
            let found = format!("{} MiB are free", free / 1024 / 1024);
            Finding::warning("folder", place, found)
                .mend("make room: without it no call is taken, or none recorded")
        }
        Ok(free) => Finding::good("folder", place, format!("can be written, {} GiB free", free >> 30)),
        Err(error) => Finding::unknown("folder", place, error.to_string()),
    }
}

/// Whether DNS knows Graph and the trunks.
async fn names(config: &Config) -> Vec<Finding> {
    let mut all = Vec::new();
    let host = config.graph.base.split_once("://").map_or("", |(_, rest)| rest);
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:443") };
    let looked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host(host.clone())).await;
    let place = format!("graph.base, {host}");
    let trouble = match looked {
        Ok(Ok(mut found)) => found.next().is_none().then(|| "has no address".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("no name server answers".to_owned()),
    };
    all.push(match trouble {
        None => Finding::good("dns", place, "is known"),
        Some(trouble) => {
            Finding::fault("dns", place, trouble).mend("cat /etc/resolv.conf; resolvectl status")
        }
    });
    let (answers, _unheard) = mpsc::unbounded_channel();
    let dns = Dns::new(config.sip.dns.servers.clone(), answers);
    for trunk in &config.trunks {
        for named in crate::io::trunks::peer(config, trunk).named {
            let place = format!("trunk {}, {}", trunk.name, named.sought.host);
            all.push(match dns.search(named.sought).await {
                Ok(found) => Finding::good("dns", place, format!("{} servers", found.servers.len())),
                Err(_) => Finding::fault("dns", place, "DNS knows no server of this name").mend(
                    "the trunk's address; NAPTR, SRV, A and AAAA are asked; [sip.dns] servers says whom",
                ),
            });
        }
    }
    all
}

async fn realm_bound(key: &str, realm: &RealmConfig) -> Option<Finding> {
    let error = UdpSocket::bind(SocketAddr::new(realm.bind, 0)).await.err()?;
    let place = format!("{key}.bind = {}", realm.bind);
    Some(Finding::fault("media", place, error.to_string()).mend("ip address lists what this machine has"))
}

/// What we name in SDP must be something that Meta's relays can send to.
fn advertised(outside: &RealmConfig, graph: &str) -> Finding {
    let place = "media.outside.advertised";
    let simulated = ["127.", "localhost", "[::1]"].iter().any(|it| graph.contains(&format!("://{it}")));
    let unreachable: Vec<String> = outside
        .advertised
        .iter()
        .filter(|it| it.is_unspecified() || (it.is_loopback() && !simulated))
        .map(ToString::to_string)
        .collect();
    if !unreachable.is_empty() {
        let found = format!("{} is no address that WhatsApp can reach", unreachable.join(", "));
        return Finding::fault("media", place, found)
            .mend("the public address of this machine, or of the NAT before it");
    }
    let private = |it: &IpAddr| matches!(it, IpAddr::V4(it) if it.is_private());
    if outside.advertised.iter().all(private) {
        let found = "is private: calls work as long as the NAT lets UDP out and its answers in";
        return Finding::good("media", place, found);
    }
    Finding::good("media", place, "can be reached, if the firewall lets UDP through")
}

/// The kernel lends ports of its own range to whatever asks: a call could find its port taken.
fn shared_ports(key: &str, ports: &RangeInclusive<u16>, kernels: &str, reserved: &str) -> Option<Finding> {
    let mut range = kernels.split_whitespace().filter_map(|it| it.parse::<u16>().ok());
    let (low, high) = (range.next()?, range.next()?);
    let (from, to) = ((*ports.start()).max(low), (*ports.end()).min(high));
    let is_kept = |port: u16| {
        reserved.trim().split(',').any(|part| {
            let (one, other) = part.split_once('-').unwrap_or((part, part));
            let (Ok(one), Ok(other)) = (one.parse::<u16>(), other.parse::<u16>()) else { return false };
            (one..=other).contains(&port)
        })
    };
    if from > to || (from..=to).all(is_kept) {
        return None;
    }
    let found = format!("{from}-{to} is also what the kernel lends to other programs ({low}-{high})");
    let remedy = format!("sysctl -w net.ipv4.ip_local_reserved_ports={from}-{to}, and into /etc/sysctl.d/");
    Some(Finding::warning("media", key, found).mend(remedy))
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_port_range_that_the_kernel_lends_is_told_unless_it_is_kept_from_it() {
        let of = |ports, reserved| shared_ports("media.outside.ports", &ports, "32768\t60999\n", reserved);
        assert_eq!(of(20000..=29999, "\n"), None);
        let found = of(30000..=39999, "\n").expect("they overlap");
        assert!(found.remedy.expect("a remedy").contains("ip_local_reserved_ports=32768-39999"));
        assert_eq!(of(40000..=40010, "80,40000-40010\n"), None);
        assert!(of(40000..=40010, "80,40000-40009\n").is_some());
        assert_eq!(shared_ports("x", &(1..=2), "", ""), None, "no such file");
    }

    #[test]
    fn loopback_is_for_the_stand_in_only() {
        let of = |address: &str, graph| {
            let advertised = vec![address.parse().expect("an address")];
            let bind = "0.0.0.0".parse().expect("an address");
            super::advertised(&RealmConfig { bind, advertised, ports: 20000..=20010 }, graph).severity
        };
        assert_eq!(of("127.0.0.1", "https://graph.facebook.com"), Severity::Fault);
        assert_eq!(of("127.0.0.1", "http://127.0.0.1:8000"), Severity::Good);
        assert_eq!(of("0.0.0.0", "http://127.0.0.1:8000"), Severity::Fault);
        assert_eq!(of("203.0.113.7", "https://graph.facebook.com"), Severity::Good);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_ne!(folder_of("store.path", folder.path()).severity, Severity::Fault);
        let file = folder.path().join("a-file");
        std::fs::write(&file, "").expect("written");
        assert_eq!(folder_of("store.path", &file.join("below")).severity, Severity::Fault);
    }
}
