//! DNS: asks the resolvers what [`crate::sip::locate`] wants to know. Nobody waits for it but the task that asks.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::sip::locate::{Answer, LocateFailure, Located, Locator, Question, Record, RecordKind, Sought};
use crate::sip::{Lookup, LookupId};

/// How an answer finds its way back.
pub type LookupAnswer = (LookupId, Result<Located, LocateFailure>);

/// One question may take so long: a resolver that is slow is better than none. Lost datagrams are sent again
/// meanwhile.
const QUESTION: Duration = Duration::from_secs(12);
/// A whole search of several questions may take so long.
const SEARCH: Duration = Duration::from_secs(40);
/// For how long a "no" without a life of its own holds.
const NO: Duration = Duration::from_secs(60);

/// The way to DNS.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Whom to ask; empty: whom the system asks.
    servers: Vec<SocketAddr>,
    answers: mpsc::UnboundedSender<LookupAnswer>,
}

impl Dns {
    /// Asks these name servers, or those of `/etc/resolv.conf` if there are none.
    #[must_use]
    pub const fn new(servers: Vec<SocketAddr>, answers: mpsc::UnboundedSender<LookupAnswer>) -> Self {
        Self { servers, answers }
    }

    /// Begins a search; its answer comes through the channel, whatever it is.
    pub fn begin(&self, lookup: Lookup) {
        let it = self.clone();
        tokio::spawn(async move {
            let host = lookup.sought.host.clone();
            let answer = it.search(lookup.sought).await;
            match &answer {
                Ok(found) => {
                    tracing::debug!(host, transport = found.transport.as_str(), servers = found.servers.len(), life = ?found.ttl, "DNS answered");
                }
                Err(LocateFailure::Nowhere(life)) => {
                    tracing::warn!(host, ?life, "DNS knows no server of this name");
                }
                Err(LocateFailure::Unanswered) => tracing::warn!(host, "no name server answers"),
            }
            let _ = it.answers.send((lookup.id, answer));
        });
    }

    /// Searches for servers of a name.
    ///
    /// # Errors
    /// There are none, or nobody answers.
    pub async fn search(&self, sought: Sought) -> Result<Located, LocateFailure> {
        match tokio::time::timeout(SEARCH, self.locate(sought)).await {
            Ok(answer) => answer,
            Err(_) => Err(LocateFailure::Unanswered),
        }
    }

    async fn locate(&self, sought: Sought) -> Result<Located, LocateFailure> {
        let servers = self.servers.clone();
        // Made anew for each search, which is rare: the system's settings may have changed. It reads files.
        let made = tokio::task::spawn_blocking(move || resolver(&servers)).await;
        let resolver = match made {
            Ok(Ok(resolver)) => resolver,
            Ok(Err(error)) => {
                tracing::error!(%error, "no name servers: see /etc/resolv.conf, or set servers in [sip.dns]");
                return Err(LocateFailure::Unanswered);
            }
            Err(_) => return Err(LocateFailure::Unanswered),
        };
        let mut locator = Locator::new(sought);
        let mut asked = JoinSet::new();
        loop {
            while let Some(question) = locator.poll_question() {
                let resolver = resolver.clone();
                asked.spawn(async move { (ask(&resolver, &question).await, question) });
            }
            if let Some(outcome) = locator.outcome() {
                return outcome.clone();
            }
            let Some(Ok((answer, question))) = asked.join_next().await else {
                return Err(LocateFailure::Unanswered);
            };
            locator.handle_answer(&question, answer);
        }
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let (config, mut options) = if servers.is_empty() {
        read_system_conf()?
    } else {
        let server = |address: &SocketAddr| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].into_iter();
            let connections = connections.map(|mut it| {
                it.port = address.port();
                it
            });
            NameServerConfig::new(address.ip(), true, connections.collect())
        };
        (ResolverConfig::from_name_servers(servers.iter().map(server).collect()), ResolverOpts::default())
    };
    // How long an answer is used is decided elsewhere.
    options.cache_size = 0;
    options.timeout = QUESTION;
    options.attempts = 1;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
}

/// `None`: nobody answered.
async fn ask(resolver: &TokioResolver, question: &Question) -> Option<Answer> {
    let kind = match question.kind {
        RecordKind::Naptr => RecordType::NAPTR,
        RecordKind::Srv => RecordType::SRV,
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
    };
    let mut name = Name::from_utf8(&question.name).ok()?;
    // A single word may be completed by the system's search list; a domain is what it is.
    name.set_fqdn(question.name.contains('.'));
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            let records = lookup.answers();
            let ttl = records.iter().map(|it| it.ttl).min().unwrap_or(0);
            let records = records.iter().filter_map(|it| record(&it.data)).collect();
            Some(Answer { records, ttl: Duration::from_secs(ttl.into()) })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let ttl = none.negative_ttl.map_or(NO, |it| Duration::from_secs(it.into()));
            Some(Answer { records: Vec::new(), ttl })
        }
        Err(error) => {
            tracing::debug!(name = question.name, ?kind, %error, "DNS");
            None
        }
    }
}

fn record(data: &RData) -> Option<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let plain = |name: &Name| name.to_utf8().trim_end_matches('.').to_owned();
    match data {
        RData::A(it) => Some(Record::Address(it.0.into())),
        RData::AAAA(it) => Some(Record::Address(it.0.into())),
        RData::SRV(it) => Some(Record::Srv {
            priority: it.priority,
            weight: it.weight,
            port: it.port,
            target: plain(&it.target),
        }),
        RData::NAPTR(it) => Some(Record::Naptr {
            order: it.order,
            preference: it.preference,
            flags: text(&it.flags),
            service: text(&it.services),
            replacement: plain(&it.replacement),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::UdpSocket;
    use tokio::sync::Notify;

    use super::*;
    use crate::sip::Transport;
    use crate::sip::locate::Families;

    /// A question's name and type as they stand in the datagram.
    fn read_question(datagram: &[u8]) -> (String, u16, usize) {
        let (mut labels, mut at) = (Vec::new(), 12);
        while datagram[at] != 0 {
            let length = usize::from(datagram[at]);
            labels.push(String::from_utf8_lossy(&datagram[at + 1..=at + length]).into_owned());
            at += 1 + length;
        }
        let kind = u16::from_be_bytes([datagram[at + 1], datagram[at + 2]]);
        (labels.join("."), kind, at + 5)
    }

    fn name(text: &str) -> Vec<u8> {
        let labels = text.split('.').filter(|it| !it.is_empty());
        let mut bytes: Vec<u8> = labels
            .flat_map(|it| [&[u8::try_from(it.len()).expect("short")], it.as_bytes()].concat())
            .collect();
        bytes.push(0);
        bytes
    }

    /// A zone of one server by SRV; `_sip._udp.gone.example` does not exist.
    fn answer(datagram: &[u8]) -> Vec<u8> {
        let (asked, kind, end) = read_question(datagram);
        let records: Vec<(u16, Vec<u8>)> = match (asked.to_ascii_lowercase().as_str(), kind) {
            ("_sip._udp.pbx.example", 33) => vec![
                (33, [&[0, 1, 0, 2, 0x13, 0xc4][..], &name("one.pbx.example")].concat()),
                (33, [&[0, 9, 0, 2, 0x13, 0xc5][..], &name("two.pbx.example")].concat()),
            ],
            ("one.pbx.example", 1) => vec![(1, vec![192, 0, 2, 1])],
            ("two.pbx.example", 1) => vec![(1, vec![192, 0, 2, 2])],
            _ => Vec::new(),
        };
        let code = if records.is_empty() { 3 } else { 0 };
        let count = u8::try_from(records.len()).expect("few");
        let mut reply =
            [&datagram[..2], &[0x84, code, 0, 1, 0, count, 0, 0, 0, 0], &datagram[12..end]].concat();
        for (kind, data) in records {
            let length = u16::try_from(data.len()).expect("short").to_be_bytes();
            reply.extend([0xc0, 12]);
            reply.extend(kind.to_be_bytes());
            reply.extend([0, 1, 0, 0, 0, 90]);
            reply.extend(length);
            reply.extend(data);
        }
        reply
    }

    /// A name server on loopback that answers when it may.
    async fn name_server(may: Option<Arc<Notify>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            if let Some(may) = may {
                may.notified().await;
            }
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let _ = socket.send_to(&answer(&buffer[..length]), from).await;
            }
        });
        address
    }

    fn sought(host: &str) -> Sought {
        let transport = Some(Transport::Udp);
        Sought { host: host.to_owned(), port: None, transport, families: Families::V4 }
    }

    #[tokio::test]
    async fn a_name_is_found_through_a_real_name_server_and_what_is_nowhere_is_told() {
        let server = name_server(None).await;
        let dns = Dns::new(vec![server], mpsc::unbounded_channel().0);
        let located = dns.locate(sought("pbx.example")).await.expect("found");
        let shown: Vec<String> = located
            .servers
            .iter()
            .map(|it| format!("{} {} {}", it.address, it.priority, it.weight))
            .collect();
        assert_eq!(shown, ["192.0.2.1:5060 1 2", "192.0.2.2:5061 9 2"]);
        assert_eq!((located.transport, located.ttl), (Transport::Udp, Duration::from_secs(90)));
        let gone = dns.locate(sought("gone.example")).await;
        assert_eq!(gone, Err(LocateFailure::Nowhere(NO)));
    }

    #[tokio::test]
    async fn an_answer_that_comes_late_is_an_answer() {
        let may = Arc::new(Notify::new());
        let server = name_server(Some(Arc::clone(&may))).await;
        let (answers_in, mut answers) = mpsc::unbounded_channel();
        let dns = Dns::new(vec![server], answers_in);
        let slow = dns.locate(sought("pbx.example"));
        tokio::pin!(slow);
        // It is asked, and nobody answers yet.
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut slow).await.is_err());
        assert!(answers.try_recv().is_err());
        may.notify_one();
        assert_eq!(slow.await.expect("found").servers.len(), 2);
    }
}
