//! Finding the servers of a name (RFC 3263): which questions DNS is asked, and what its answers mean.
//!
//! NAPTR says which transports a domain serves, SRV which servers, A and AAAA where they are. The machine asks no
//! resolver itself and knows no clock; whoever drives it does the asking.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::flow::Transport;
use super::trunk::TrunkServer;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// A domain or a host, without a final dot.
    pub host: String,
    /// With a port it is a host, and neither NAPTR nor SRV are asked (RFC 3263 §4.2).
    pub port: Option<u16>,
    /// `None`: NAPTR decides, or the first of UDP, TCP and TLS that has SRV records (RFC 3263 §4.1).
    pub transport: Option<Transport>,
    /// Which addresses we could send to.
    pub families: Families,
}

/// Kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Both,
}

/// A kind of DNS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// Naming authority pointer (RFC 3403).
    Naptr,
    /// Server selection (RFC 2782).
    Srv,
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
}

/// One question to a resolver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The name asked for, without a final dot.
    pub name: String,
    /// What of it.
    pub kind: RecordKind,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A transport that a domain serves.
    Naptr {
        /// Lower ones come first.
        order: u16,
        /// Lower ones come first among those of the same order.
        preference: u16,
        /// `s`: the replacement has SRV records.
        flags: String,
        /// `SIP+D2U`, `SIP+D2T` or `SIPS+D2T`.
        service: String,
        /// The name to ask next.
        replacement: String,
    },
    /// A server.
    Srv {
        /// Lower ones come first.
        priority: u16,
        /// Its share among those of the same priority.
        weight: u16,
        /// Where it listens.
        port: u16,
        /// Its name; empty if the service is expressly not offered.
        target: String,
    },
    /// An address.
    Address(IpAddr),
}

/// What a resolver knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records; none if the name has none of that kind.
    pub records: Vec<Record>,
    /// How long that holds.
    pub ttl: Duration,
}

/// The servers of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// How they are spoken to.
    pub transport: Transport,
    /// Where they are; not empty.
    pub servers: Vec<TrunkServer>,
    /// How long that holds.
    pub ttl: Duration,
}

/// Why no server was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocateFailure {
    /// DNS says that there is none, and for how long it will say so.
    Nowhere(Duration),
    /// No resolver gave an answer.
    Unanswered,
}

/// Servers of one name; more would be no redundancy but an attack.
const MAX_SERVERS: usize = 16;
/// Where a part of the answer is missing, the rest is asked for again so soon.
const INCOMPLETE: Duration = Duration::from_secs(30);
/// For how long a silence about the life of an answer counts.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A transport that may be tried, and the name of its SRV records.
type Way = (Transport, String);

#[derive(Debug)]
enum Step {
    Naptr,
    Srv(Way),
    Addresses { transport: Transport, hosts: Vec<Host> },
    Over(Result<Located, LocateFailure>),
}

/// A server whose address is asked for.
#[derive(Clone, Debug)]
struct Host {
    name: String,
    port: u16,
    priority: u16,
    weight: u16,
}

/// One search.
#[derive(Debug)]
pub struct Locator {
    sought: Sought,
    step: Step,
    /// Further transports, the next one first.
    ways: VecDeque<Way>,
    to_ask: VecDeque<Question>,
    asked: BTreeSet<Question>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
    ttl: Duration,
    unanswered: bool,
}

impl Locator {
    /// Begins a search.
    #[must_use]
    pub fn new(sought: Sought) -> Self {
        let mut it = Self {
            sought,
            step: Step::Naptr,
            ways: VecDeque::new(),
            to_ask: VecDeque::new(),
            asked: BTreeSet::new(),
            addresses: BTreeMap::new(),
            ttl: LONGEST,
            unanswered: false,
        };
        match (it.sought.port, it.sought.transport) {
            (Some(port), transport) => it.ask_host(transport.unwrap_or_default(), port),
            (None, Some(transport)) => {
                it.ways.push_back((transport, it.service(transport)));
                it.next_way();
            }
            (None, None) => it.ask(it.sought.host.clone(), RecordKind::Naptr),
        }
        it
    }

    /// The next question; those that are out at the same time may be answered in any order.
    pub fn poll_question(&mut self) -> Option<Question> {
        let question = self.to_ask.pop_front()?;
        self.asked.insert(question.clone());
        Some(question)
    }

    /// A question was answered, or was not.
    pub fn handle_answer(&mut self, question: &Question, answer: Option<Answer>) {
        if !self.asked.remove(question) {
            return;
        }
        if let Some(answer) = &answer {
            self.ttl = self.ttl.min(answer.ttl);
        } else {
            self.unanswered = true;
        }
        let silent = answer.is_none();
        let records = answer.map(|it| it.records).unwrap_or_default();
        match &self.step {
            // Some resolvers never answer for a kind of record as old as NAPTR.
            Step::Naptr => self.hear_naptr(&records),
            // The domain itself may be a web server: nothing but a "no" makes it the host.
            Step::Srv(_) if silent => self.step = Step::Over(Err(LocateFailure::Unanswered)),
            Step::Srv((transport, _)) => self.hear_srv(*transport, records),
            Step::Addresses { .. } => self.hear_addresses(question, &records),
            Step::Over(_) => {}
        }
    }

    /// What came of it, once that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<&Result<Located, LocateFailure>> {
        match &self.step {
            Step::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn ask(&mut self, name: String, kind: RecordKind) {
        let question = Question { name, kind };
        if !self.to_ask.contains(&question) {
            self.to_ask.push_back(question);
        }
    }

    /// The name of a transport's SRV records (RFC 3263 §4.2).
    fn service(&self, transport: Transport) -> String {
        let host = &self.sought.host;
        match transport {
            Transport::Udp => format!("_sip._udp.{host}"),
            Transport::Tcp => format!("_sip._tcp.{host}"),
            Transport::Tls => format!("_sips._tcp.{host}"),
            // RFC 7118 knows no SRV records of its own.
            Transport::Ws => format!("_ws._tcp.{host}"),
            Transport::Wss => format!("_wss._tcp.{host}"),
        }
    }

    fn hear_naptr(&mut self, records: &[Record]) {
        let mut offered: Vec<(u16, u16, Way)> = records
            .iter()
            .filter_map(|record| match record {
                Record::Naptr { order, preference, flags, service, replacement }
                    if flags.eq_ignore_ascii_case("s") && !replacement.is_empty() =>
                {
                    Some((*order, *preference, (transport_of(service)?, replacement.clone())))
                }
                _ => None,
            })
            .collect();
        offered.sort_by_key(|(order, preference, _)| (*order, *preference));
        self.ways = offered.into_iter().map(|(_, _, way)| way).collect();
        if self.ways.is_empty() {
            let usual = [Transport::Udp, Transport::Tcp, Transport::Tls];
            self.ways = usual.into_iter().map(|it| (it, self.service(it))).collect();
        }
        self.next_way();
    }

    /// The next transport; after the last one the domain itself is the host (RFC 3263 §4.2).
    fn next_way(&mut self) {
        if let Some(way) = self.ways.pop_front() {
            self.ask(way.1.clone(), RecordKind::Srv);
            self.step = Step::Srv(way);
            return;
        }
        let transport = self.sought.transport.unwrap_or_default();
        self.ask_host(transport, transport.default_port());
    }

    fn ask_host(&mut self, transport: Transport, port: u16) {
        let host = Host { name: self.sought.host.clone(), port, priority: 0, weight: 0 };
        self.ask_addresses(transport, vec![host]);
    }

    fn hear_srv(&mut self, transport: Transport, records: Vec<Record>) {
        let mut hosts = Vec::new();
        let mut refused = false;
        for record in records {
            let Record::Srv { priority, weight, port, target } = record else { continue };
            if target.is_empty() {
                refused = true;
            } else if port != 0 && hosts.len() < MAX_SERVERS {
                hosts.push(Host { name: target.to_ascii_lowercase(), port, priority, weight });
            }
        }
        if !hosts.is_empty() {
            return self.ask_addresses(transport, hosts);
        }
        if refused && self.ways.is_empty() {
            // "." as the target: the service is decidedly not there (RFC 2782).
            self.step = Step::Over(Err(LocateFailure::Nowhere(self.ttl)));
            return;
        }
        self.next_way();
    }

    fn ask_addresses(&mut self, transport: Transport, hosts: Vec<Host>) {
        for host in &hosts {
            if self.sought.families != Families::V6 {
                self.ask(host.name.clone(), RecordKind::A);
            }
            if self.sought.families != Families::V4 {
                self.ask(host.name.clone(), RecordKind::Aaaa);
            }
        }
        self.step = Step::Addresses { transport, hosts };
    }

    fn hear_addresses(&mut self, question: &Question, records: &[Record]) {
        let found = self.addresses.entry(question.name.clone()).or_default();
        found.extend(records.iter().filter_map(|record| match record {
            Record::Address(ip) if !ip.is_unspecified() && !ip.is_multicast() => Some(*ip),
            _ => None,
        }));
        if !self.to_ask.is_empty() || !self.asked.is_empty() {
            return;
        }
        let Step::Addresses { transport, hosts } = &self.step else { return };
        let transport = *transport;
        let servers = servers(hosts, &self.addresses);
        if servers.is_empty() && self.unanswered {
            self.step = Step::Over(Err(LocateFailure::Unanswered));
        } else if servers.is_empty() && !self.ways.is_empty() {
            self.next_way();
        } else if servers.is_empty() {
            self.step = Step::Over(Err(LocateFailure::Nowhere(self.ttl)));
        } else {
            let ttl = if self.unanswered { self.ttl.min(INCOMPLETE) } else { self.ttl };
            self.step = Step::Over(Ok(Located { transport, servers, ttl }));
        }
    }
}

/// The transport of a NAPTR service, as far as a trunk can use it (RFC 3263 §4.1).
fn transport_of(service: &str) -> Option<Transport> {
    match service.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Some(Transport::Udp),
        "SIP+D2T" => Some(Transport::Tcp),
        "SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    }
}

/// Every address once; those of one host share its weight.
fn servers(hosts: &[Host], addresses: &BTreeMap<String, Vec<IpAddr>>) -> Vec<TrunkServer> {
    let mut servers: Vec<TrunkServer> = Vec::new();
    for host in hosts {
        let found = addresses.get(&host.name).map_or(&[][..], Vec::as_slice);
        let share = u16::try_from(found.len()).unwrap_or(u16::MAX).max(1);
        for ip in found {
            let address = SocketAddr::new(*ip, host.port);
            let weight = if host.weight == 0 { 0 } else { (host.weight / share).max(1) };
            if servers.len() < MAX_SERVERS && !servers.iter().any(|it| it.address == address) {
                servers.push(TrunkServer { address, priority: host.priority, weight });
            }
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn naptr(order: u16, service: &str, replacement: &str) -> Record {
        Record::Naptr {
            order,
            preference: 50,
            flags: "s".to_owned(),
            service: service.to_owned(),
            replacement: replacement.to_owned(),
        }
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Record {
        Record::Srv { priority, weight, port, target: target.to_owned() }
    }

    fn ip(text: &str) -> Record {
        Record::Address(text.parse().expect("an address"))
    }

    /// A zone: what is not in it does not exist for a minute, and what has no records is not answered.
    type Zone<'a> = &'a [(&'a str, RecordKind, &'a [Record])];

    /// Searches in a zone whose records hold for five minutes: the outcome and every question.
    fn search(sought: Sought, zone: Zone<'_>) -> (Result<Located, LocateFailure>, Vec<String>) {
        let mut it = Locator::new(sought);
        let mut asked = Vec::new();
        while let Some(question) = it.poll_question() {
            asked.push(format!("{:?} {}", question.kind, question.name));
            let entry = zone.iter().find(|(name, kind, _)| *name == question.name && *kind == question.kind);
            let answer = match entry {
                Some((_, _, [])) => None,
                Some((_, _, records)) => Some(Answer { records: records.to_vec(), ttl: seconds(300) }),
                None => Some(Answer { records: Vec::new(), ttl: seconds(600) }),
            };
            it.handle_answer(&question, answer);
        }
        (it.outcome().expect("it ends").clone(), asked)
    }

    fn any(transport: Option<Transport>, port: Option<u16>) -> Sought {
        Sought { host: "example.net".to_owned(), port, transport, families: Families::V4 }
    }

    fn shown(located: &Located) -> Vec<String> {
        let all = located.servers.iter();
        all.map(|it| format!("{} {} {}", it.address, it.priority, it.weight)).collect()
    }

    use RecordKind::{A, Aaaa, Naptr, Srv};

    #[test]
    fn naptr_leads_to_srv_and_srv_to_addresses_as_in_the_example_of_rfc_3263() {
        let zone: Zone<'_> = &[
            (
                "example.net",
                Naptr,
                &[
                    naptr(100, "SIP+D2U", "_sip._udp.example.net"),
                    naptr(50, "SIPS+D2T", "_sips._tcp.example.net"),
                    naptr(90, "SIP+D2T", "_sip._tcp.example.net"),
                    naptr(1, "SIP+D2S", "_sip._sctp.example.net"),
                ],
            ),
            (
                "_sips._tcp.example.net",
                Srv,
                &[srv(0, 1, 5061, "s1.example.net"), srv(5, 2, 5062, "S2.example.net")],
            ),
            ("s1.example.net", A, &[ip("192.0.2.1")]),
            ("s2.example.net", A, &[ip("192.0.2.2")]),
        ];
        let (outcome, asked) = search(any(None, None), zone);
        let located = outcome.expect("found");
        assert_eq!((located.transport, located.ttl), (Transport::Tls, seconds(300)));
        assert_eq!(shown(&located), ["192.0.2.1:5061 0 1", "192.0.2.2:5062 5 2"]);
        assert_eq!(
            asked,
            ["Naptr example.net", "Srv _sips._tcp.example.net", "A s1.example.net", "A s2.example.net"]
        );
    }

    #[test]
    fn without_naptr_srv_is_asked_for_each_transport_and_without_srv_the_domain_is_the_host() {
        let zone: Zone<'_> = &[
            ("_sip._tcp.example.net", Srv, &[srv(1, 0, 5070, "a.example.net")]),
            ("a.example.net", A, &[ip("192.0.2.7")]),
        ];
        let (outcome, asked) = search(any(None, None), zone);
        let located = outcome.expect("found");
        assert_eq!(
            (located.transport, shown(&located)),
            (Transport::Tcp, vec!["192.0.2.7:5070 1 0".to_owned()])
        );
        assert_eq!(
            asked[..3],
            ["Naptr example.net", "Srv _sip._udp.example.net", "Srv _sip._tcp.example.net"]
        );
        let host: Zone<'_> = &[("example.net", A, &[ip("192.0.2.9")])];
        let (outcome, asked) = search(any(Some(Transport::Tls), None), host);
        assert_eq!(shown(&outcome.expect("found")), ["192.0.2.9:5061 0 0"]);
        assert_eq!(asked, ["Srv _sips._tcp.example.net", "A example.net"]);
        let (outcome, asked) = search(any(Some(Transport::Udp), Some(5099)), host);
        assert_eq!(shown(&outcome.expect("found")), ["192.0.2.9:5099 0 0"]);
        assert_eq!(asked, ["A example.net"], "a port makes it a host");
    }

    #[test]
    fn both_families_are_asked_and_the_addresses_of_a_host_share_its_weight() {
        let zone: Zone<'_> = &[
            (
                "_sip._udp.example.net",
                Srv,
                &[srv(1, 60, 5060, "a.example.net"), srv(1, 40, 5060, "b.example.net")],
            ),
            ("a.example.net", A, &[ip("192.0.2.1"), ip("192.0.2.2")]),
            ("a.example.net", Aaaa, &[ip("2001:db8::1")]),
            ("b.example.net", A, &[ip("192.0.2.3"), ip("0.0.0.0")]),
        ];
        let sought = Sought { families: Families::Both, ..any(Some(Transport::Udp), None) };
        let (outcome, _) = search(sought, zone);
        assert_eq!(
            shown(&outcome.expect("found")),
            ["192.0.2.1:5060 1 20", "192.0.2.2:5060 1 20", "[2001:db8::1]:5060 1 20", "192.0.2.3:5060 1 40"]
        );
    }

    #[test]
    fn what_is_nowhere_is_told_apart_from_what_nobody_answers() {
        let (outcome, _) = search(any(None, None), &[]);
        assert_eq!(outcome, Err(LocateFailure::Nowhere(seconds(600))));
        let gone: Zone<'_> = &[("_sip._udp.example.net", Srv, &[srv(0, 0, 0, "")])];
        let (outcome, asked) = search(any(Some(Transport::Udp), None), gone);
        assert_eq!((outcome, asked.len()), (Err(LocateFailure::Nowhere(seconds(300))), 1));
        let silent: Zone<'_> =
            &[("_sip._udp.example.net", Srv, &[]), ("example.net", A, &[ip("192.0.2.80")])];
        let (outcome, _) = search(any(Some(Transport::Udp), None), silent);
        assert_eq!(outcome, Err(LocateFailure::Unanswered), "not the web server of the domain");
        let shy: Zone<'_> = &[("example.net", Naptr, &[]), ("example.net", A, &[ip("192.0.2.9")])];
        let (outcome, _) = search(any(None, None), shy);
        assert_eq!(outcome.expect("without NAPTR").ttl, INCOMPLETE);
        let half: Zone<'_> = &[
            (
                "_sip._udp.example.net",
                Srv,
                &[srv(1, 0, 5060, "a.example.net"), srv(2, 0, 5060, "b.example.net")],
            ),
            ("a.example.net", A, &[ip("192.0.2.1")]),
            ("b.example.net", A, &[]),
        ];
        let (outcome, _) = search(any(Some(Transport::Udp), None), half);
        let located = outcome.expect("the half that is known");
        assert_eq!((located.servers.len(), located.ttl), (1, INCOMPLETE));
    }

    #[test]
    fn a_flood_of_records_is_cut_and_a_foreign_answer_changes_nothing() {
        let many: Vec<Record> = (0..100).map(|it| srv(it, 0, 5060, &format!("h{it}.example.net"))).collect();
        let mut it = Locator::new(any(Some(Transport::Udp), None));
        let question = it.poll_question().expect("SRV");
        let foreign = Question { name: "h1.example.net".to_owned(), kind: A };
        it.handle_answer(&foreign, Some(Answer { records: vec![ip("192.0.2.66")], ttl: seconds(1) }));
        it.handle_answer(&question, Some(Answer { records: many, ttl: seconds(60) }));
        let mut asked = 0;
        while let Some(question) = it.poll_question() {
            asked += 1;
            let records = (0..9).map(|n| ip(&format!("192.0.2.{}", asked * 9 + n))).collect();
            it.handle_answer(&question, Some(Answer { records, ttl: seconds(60) }));
        }
        assert_eq!(asked, MAX_SERVERS);
        let located = it.outcome().expect("over").clone().expect("found");
        assert_eq!((located.servers.len(), located.ttl), (MAX_SERVERS, seconds(60)));
    }
}
