//! The gateway itself and what is around it: whether it runs, who rings, who holds its ports if it does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::Finding;
use crate::config::{Config, NumberConfig};
use crate::id::Endpoint;
use crate::io::gateway_state::{PhoneRow, TrunkRow};

const PATIENCE: Duration = Duration::from_secs(2);
/// A datagram may be lost.
const TRIES: u32 = 3;

/// Asks the running gateway; looks at its ports if there is none.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let admin = reachable(config.admin.listen);
    let client = Client::builder().no_proxy().timeout(PATIENCE).build();
    let Ok(client) = client else { return Vec::new() };
    let ask = async |path: &str| client.get(format!("http://{admin}{path}")).send().await.ok();
    let ready = match ask("/readyz").await {
        Some(response) => response.json::<Value>().await.ok().filter(|it| it["ready"].is_boolean()),
        None => None,
    };
    let Some(ready) = ready else {
        let found = format!("does not answer at {admin} (admin.listen)");
        let remedy = "systemctl start cordboard; journalctl -u cordboard says why it is not there";
        let mut all = vec![Finding::fault("gateway", "the gateway", found).mend(remedy)];
        all.extend(ports(config).await);
        return all;
    };
    let mut all = vec![readiness(&ready)];
    all.extend(sip_answers(config).await);
    match ask("/phones").await {
        Some(response) => {
            let phones: Vec<PhoneRow> = response.json().await.unwrap_or_default();
            all.extend(config.numbers.iter().map(|it| who_rings(it, &phones)));
        }
        None => all.push(Finding::unknown("phones", "the phones", "the gateway did not list them")),
    }
    if let Some(response) = ask("/trunks").await {
        let trunks: Vec<TrunkRow> = response.json().await.unwrap_or_default();
        all.extend(trunks.iter().map(trunk));
    }
    all
}

/// A listener on every address answers on loopback too.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn readiness(ready: &Value) -> Finding {
    if ready["ready"] == true {
        return Finding::good("gateway", "the gateway", "runs and takes calls");
    }
    let parts = ["threads", "store", "sip", "webhook"];
    let down: Vec<&str> = parts.into_iter().filter(|it| ready[*it] == "down").collect();
    let found = match down.as_slice() {
        [] => "takes no new calls: it is being stopped".to_owned(),
        down => format!("takes no new calls: {} is down", down.join(", ")),
    };
    Finding::fault("gateway", "the gateway", found)
        .mend("journalctl -u cordboard; the store's disk, if it is the store")
}

/// Whether anybody is rung when a user calls.
fn who_rings(number: &NumberConfig, phones: &[PhoneRow]) -> Finding {
    let place = format!("number {}", number.label);
    let mut targets = number.ring.targets().peekable();
    if targets.peek().is_none() {
        return Finding::warning(
            "ring_plan",
            place,
            "its plan rings nobody: every call of a user is rejected",
        )
        .mend("ring = [\"phone:1001\"] of the number, or an overflow");
    }
    let (mut away, mut trunk) = (Vec::new(), false);
    for target in targets {
        match target {
            Endpoint::Trunk(..) => trunk = true,
            Endpoint::Phone(name) => match phones.iter().find(|it| it.name == name.as_str()) {
                Some(phone) if phone.registered && phone.do_not_disturb_since.is_none() => {
                    return Finding::good("ring_plan", place, format!("phone {name} can be rung"));
                }
                Some(phone) if phone.registered => away.push(format!("{name} is not to be disturbed")),
                _ => away.push(format!("{name} is not registered")),
            },
        }
    }
    let found = away.join(", ");
    if trunk {
        return Finding::good("ring_plan", place, "a trunk can be rung");
    }
    Finding::fault("ring_plan", place, format!("no phone of its plan can be rung: {found}")).mend(
        "the phone's account: server, user, password, and SIP's port open; cordboard phones, cordboard dnd",
    )
}

fn trunk(row: &TrunkRow) -> Finding {
    let place = format!("trunk {}", row.name);
    if row.servers.is_empty() {
        return Finding::fault("trunk", place, "has no server: DNS knows none of its name")
            .mend("its address in the file; [sip.dns] servers");
    }
    if row.servers.iter().any(|it| it.up) {
        return Finding::good("trunk", place, row.state.clone());
    }
    Finding::fault("trunk", place, format!("no server of it answers ({})", row.state))
        .mend("is it on, and do the firewalls let SIP through both ways? probe = { enabled = false } if it answers no OPTIONS")
}

/// Whether the gateway's SIP sockets answer.
async fn sip_answers(config: &Config) -> Vec<Finding> {
    let mut all = Vec::new();
    for at in &config.sip.udp {
        let (listen, place) = (reachable(at.listen), format!("sip.listen, udp {}", at.listen));
        all.push(match options(listen).await {
            Ok(true) => Finding::good("sip", place, "answers"),
            Ok(false) => Finding::warning("sip", place, "does not answer OPTIONS")
                .mend("sip.defence may not let UDP in from this machine; else a firewall (nft list ruleset)"),
            Err(error) => Finding::unknown("sip", place, error.to_string()),
        });
    }
    for (transport, at) in &config.sip.streams {
        let place = format!("sip.{}, {}", transport.as_str(), at.listen);
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(reachable(at.listen))).await;
        all.push(match connected {
            Ok(Ok(_)) => Finding::good("sip", place, "takes connections"),
            Ok(Err(error)) => Finding::fault("sip", place, error.to_string())
                .mend("restart the gateway if the file was changed; journalctl -u cordboard"),
            Err(_) => Finding::warning("sip", place, "does not answer").mend("a firewall: nft list ruleset"),
        });
    }
    all
}

/// Sends OPTIONS and waits for any answer (RFC 3261 §11).
async fn options(to: SocketAddr) -> std::io::Result<bool> {
    let any: IpAddr = if to.is_ipv4() { to.ip() } else { Ipv6Addr::UNSPECIFIED.into() };
    let any = if to.ip().is_loopback() { any } else { unspecified(to) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    let own = socket.local_addr()?;
    let word = getrandom::u32().unwrap_or(7);
    let request = format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{word:08x};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:doctor@{own}>;tag={word:08x}\r\nTo: <sip:{to}>\r\nCall-ID: {word:08x}@{own}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let mut answer = [0; 2048];
    for _ in 0..TRIES {
        socket.send(request.as_bytes()).await?;
        match tokio::time::timeout(PATIENCE / TRIES, socket.recv(&mut answer)).await {
            Ok(Ok(length)) => return Ok(answer[..length].starts_with(b"SIP/2.0 ")),
            // Nobody listens (ICMP), or nothing came.
            Ok(Err(_)) => return Ok(false),
            Err(_) => {}
        }
    }
    Ok(false)
}

fn unspecified(like: SocketAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Whether the listeners of the file could be opened: nobody else has them, and the addresses are this machine's.
async fn ports(config: &Config) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut tcp = vec![("admin.listen", config.admin.listen), ("webhook.listen", config.webhook.listen)];
    tcp.extend(config.api.as_ref().map(|it| ("api.listen", it.listen)));
    for (transport, at) in &config.sip.streams {
        tcp.push((transport.as_str(), at.listen));
    }
    for (key, address) in tcp {
        all.extend(unusable(key, address, TcpListener::bind(address).await.map(drop)));
    }
    for at in &config.sip.udp {
        all.extend(unusable("sip.listen", at.listen, UdpSocket::bind(at.listen).await.map(drop)));
    }
    all
}

fn unusable(key: &str, address: SocketAddr, bound: std::io::Result<()>) -> Option<Finding> {
    let error = bound.err()?;
    let remedy = match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program listens there: ss -lntup says which",
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: ip address lists what it has"
        }
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        _ => "the system's own words stand above",
    };
    Some(Finding::fault("listen", format!("{key} = {address}"), error.to_string()).mend(remedy))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Severity;
    use super::*;

    #[test]
    fn a_gateway_that_is_not_ready_says_which_part_is_down() {
        let not = json!({ "ready": false, "threads": "up", "store": "down", "sip": "up", "webhook": "up" });
        assert_eq!(readiness(&not).found, "takes no new calls: store is down");
        let leaving = json!({ "ready": false, "threads": "up", "store": "up", "sip": "up", "webhook": "up" });
        assert!(readiness(&leaving).found.contains("being stopped"));
        assert_eq!(readiness(&json!({ "ready": true })).severity, Severity::Good);
    }

    #[test]
    fn a_trunk_without_a_server_that_answers_is_a_fault() {
        let row = |servers: Vec<bool>| {
            let server = |up| crate::io::gateway_state::ServerRow { address: "192.0.2.7:5060".into(), up };
            let servers = servers.into_iter().map(server).collect();
            trunk(&TrunkRow { name: "pbx".into(), state: "down".into(), servers, calls: 0 }).severity
        };
        assert_eq!(row(vec![false, true]), Severity::Good);
        assert_eq!([row(vec![false, false]), row(vec![])], [Severity::Fault; 2]);
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_and_an_address_of_nobody_are_told_apart() {
        let held = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = held.local_addr().expect("bound");
        let taken = unusable("sip.listen", address, UdpSocket::bind(address).await.map(drop)).expect("held");
        assert!(taken.remedy.expect("a remedy").contains("ss -lntup"));
        // TEST-NET-1 is nobody's (RFC 5737).
        let foreign: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let foreign =
            unusable("sip.listen", foreign, UdpSocket::bind(foreign).await.map(drop)).expect("nobody's");
        assert!(foreign.remedy.expect("a remedy").contains("ip address"));
        assert!(!options(address).await.expect("sent"), "a socket that answers nothing");
    }
}
