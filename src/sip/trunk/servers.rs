//! The servers of a trunk: in which order they are tried, and which of them are up.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::random::Random;

use super::super::flow::Transport;

/// One server of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Lower ones are tried first.
    pub priority: u16,
    /// The share of calls among servers of the same priority (RFC 2782).
    pub weight: u16,
}

/// How a trunk's servers are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// From one OPTIONS to the next while all is well.
    pub every: Duration,
    /// The same while answers are missing.
    pub recheck: Duration,
    /// An answer counts if it comes so soon.
    pub patience: Duration,
    /// So many missing answers in a row, and the server is down.
    pub down_after: u32,
    /// So many answers in a row, and it is up again.
    pub up_after: u32,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            recheck: Duration::from_secs(5),
            patience: Duration::from_secs(4),
            down_after: 3,
            up_after: 2,
        }
    }
}

/// What the last answers say of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Calls go there.
    Up,
    /// No call goes there until it answers again.
    Down,
}

/// What came of an OPTIONS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Probed {
    /// An answer that shows that it serves.
    Served,
    /// An answer that shows that it does not.
    NotServing,
    /// Nothing came in time.
    Silent,
    /// The network says that nobody is there.
    Unreachable,
}

/// A server that failed a call comes last for so long.
const SHUN: Duration = Duration::from_secs(30);

/// A server with what is known of it.
#[derive(Clone, Debug)]
struct Watched {
    server: TrunkServer,
    transport: Transport,
    /// The place of its name among those of the trunk; the server's own priority comes second.
    rank: u16,
    state: ServerState,
    /// It has answered an OPTIONS once; before that its silence says nothing, for some PBXs never answer one.
    answers: bool,
    misses: u32,
    hits: u32,
    /// It comes last until then.
    shunned: Option<Instant>,
    probe: Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Never,
    At(Instant),
    /// Sent; a missing answer is noted at that time.
    Out(Instant),
}

impl Watched {
    const fn new((rank, server): (u16, TrunkServer), transport: Transport) -> Self {
        Self {
            server,
            transport,
            rank,
            state: ServerState::Up,
            answers: false,
            misses: 0,
            hits: 0,
            shunned: None,
            probe: Probe::Never,
        }
    }

    const fn rank(&self) -> (u16, u16) {
        (self.rank, self.server.priority)
    }
}

/// A server that is given by its address: its priority is its rank.
pub(in crate::sip) const fn fixed(server: TrunkServer) -> (u16, TrunkServer) {
    (server.priority, server)
}

/// The servers of one trunk.
#[derive(Clone, Debug)]
pub(in crate::sip) struct Servers {
    list: Vec<Watched>,
    probing: Option<ProbeSettings>,
}

impl Servers {
    pub(in crate::sip) fn new(
        servers: &[TrunkServer],
        transport: Transport,
        probing: Option<ProbeSettings>,
    ) -> Self {
        let all = servers.iter().map(|it| Watched::new(fixed(*it), transport));
        Self { list: all.collect(), probing }
    }

    /// What DNS says now: servers that stay keep what is known of them, new ones are looked after at once.
    pub(in crate::sip) fn replace(
        &mut self,
        now: Instant,
        wanted: impl IntoIterator<Item = (u16, TrunkServer, Transport)>,
    ) {
        let mut before = std::mem::take(&mut self.list);
        for (rank, server, transport) in wanted {
            if self.list.iter().any(|it| it.server.address == server.address) {
                continue;
            }
            let same = |it: &Watched| it.server.address == server.address && it.transport == transport;
            let watched = match before.iter().position(same) {
                Some(at) => Watched { server, rank, ..before.swap_remove(at) },
                None => {
                    let mut new = Watched::new((rank, server), transport);
                    if self.probing.is_some() {
                        new.probe = Probe::At(now);
                    }
                    new
                }
            };
            self.list.push(watched);
        }
    }

    /// How a server is spoken to.
    pub(in crate::sip) fn transport_of(&self, address: SocketAddr) -> Option<Transport> {
        self.list.iter().find(|it| it.server.address == address).map(|it| it.transport)
    }

    /// Probing begins: every server soon, but not all at the same moment.
    pub(in crate::sip) fn start(&mut self, now: Instant, random: &mut Random) {
        if self.probing.is_none() {
            return;
        }
        for watched in &mut self.list {
            watched.probe = Probe::At(now + Duration::from_millis(random.below(1000).into()));
        }
    }

    /// The servers that a call may be sent to, in the order in which they are tried (RFC 2782).
    pub(in crate::sip) fn order(&self, now: Instant, random: &mut Random) -> Vec<SocketAddr> {
        let shunned = |it: &Watched| it.shunned.is_some_and(|until| now < until);
        let mut left: Vec<&Watched> =
            self.list.iter().filter(|watched| watched.state == ServerState::Up).collect();
        left.sort_by_key(|it| (shunned(it), it.rank()));
        let mut order = Vec::with_capacity(left.len());
        while let Some(first) = left.first() {
            let rank = (shunned(first), first.rank());
            let equals = left.iter().take_while(|it| (shunned(it), it.rank()) == rank).count();
            // A weight of 0 keeps a small chance, as RFC 2782 asks for.
            let weight = |it: &Watched| u32::from(it.server.weight) * 100 + 1;
            let total: u32 = left.iter().take(equals).map(|it| weight(it)).sum();
            let mut draw = random.below(total);
            let at = left.iter().take(equals).position(|it| {
                let hit = draw < weight(it);
                draw = draw.saturating_sub(weight(it));
                hit
            });
            order.push(left.remove(at.unwrap_or(0)).server.address);
        }
        order
    }

    /// Every address, the most preferred first, whatever its state.
    pub(in crate::sip) fn addresses(&self) -> Vec<SocketAddr> {
        let mut all: Vec<&Watched> = self.list.iter().collect();
        all.sort_by_key(|it| it.rank());
        all.into_iter().map(|it| it.server.address).collect()
    }

    /// Whether any server may be called.
    pub(in crate::sip) fn is_any_up(&self) -> bool {
        self.list.iter().any(|it| it.state == ServerState::Up)
    }

    /// Every server with its state.
    pub(in crate::sip) fn states(&self) -> impl Iterator<Item = (SocketAddr, ServerState)> {
        self.list.iter().map(|it| (it.server.address, it.state))
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Watched> {
        self.list.iter_mut().find(|it| it.server.address == address)
    }

    /// A request to the server came to nothing: it comes last for a while, and is looked after at once.
    pub(in crate::sip) fn disappointed(
        &mut self,
        now: Instant,
        address: SocketAddr,
        retry_after: Option<Duration>,
    ) {
        let probing = self.probing.is_some();
        let Some(watched) = self.find(address) else { return };
        watched.shunned = Some(now + retry_after.unwrap_or(SHUN));
        if probing && !matches!(watched.probe, Probe::Out(_)) {
            watched.probe = Probe::At(now);
        }
    }

    /// The server answered a request of ours sensibly.
    pub(in crate::sip) fn heard(&mut self, address: SocketAddr) {
        if let Some(watched) = self.find(address) {
            watched.shunned = None;
        }
    }

    /// A server whose OPTIONS is due; the caller sends it now.
    pub(in crate::sip) fn take_probe(&mut self, now: Instant) -> Option<SocketAddr> {
        let patience = self.probing?.patience;
        let due = self.list.iter_mut().find(|it| matches!(it.probe, Probe::At(at) if at <= now))?;
        due.probe = Probe::Out(now + patience);
        Some(due.server.address)
    }

    /// A server whose answer is overdue; the caller notes it by [`Servers::probed`].
    pub(in crate::sip) fn overdue(&self, now: Instant) -> Option<SocketAddr> {
        let late = self.list.iter().find(|it| matches!(it.probe, Probe::Out(until) if until <= now))?;
        Some(late.server.address)
    }

    /// An OPTIONS was answered, or was not; the new state, if it changed.
    pub(in crate::sip) fn probed(
        &mut self,
        now: Instant,
        address: SocketAddr,
        outcome: Probed,
        random: &mut Random,
    ) -> Option<ServerState> {
        let settings = self.probing?;
        let watched = self.find(address)?;
        if !matches!(watched.probe, Probe::Out(_)) {
            return None;
        }
        let before = watched.state;
        let served = outcome == Probed::Served;
        watched.answers |= matches!(outcome, Probed::Served | Probed::NotServing);
        if outcome == Probed::Silent && !watched.answers {
            watched.misses = 0;
            watched.state = ServerState::Up;
        } else if served {
            watched.misses = 0;
            watched.hits = watched.hits.saturating_add(1);
            watched.shunned = None;
            if watched.hits >= settings.up_after {
                watched.state = ServerState::Up;
            }
        } else {
            watched.hits = 0;
            watched.misses = watched.misses.saturating_add(1);
            if watched.misses >= settings.down_after {
                watched.state = ServerState::Down;
            }
        }
        let calm = (served || !watched.answers) && watched.state == ServerState::Up;
        let pause = if calm { settings.every } else { settings.recheck };
        // A tenth of jitter: the gateways of a company should not ask in step.
        let jitter = pause.mul_f64(f64::from(random.below(100)) / 1000.0);
        watched.probe = Probe::At(now + pause - jitter);
        (watched.state != before).then_some(watched.state)
    }

    /// When there is something to send or to miss.
    pub(in crate::sip) fn poll_timeout(&self) -> Option<Instant> {
        let at = |probe: Probe| match probe {
            Probe::Never => None,
            Probe::At(at) | Probe::Out(at) => Some(at),
        };
        self.list.iter().filter_map(|it| at(it.probe)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16, priority: u16, weight: u16) -> TrunkServer {
        TrunkServer { address: SocketAddr::from(([192, 0, 2, 1], port)), priority, weight }
    }

    fn ports(order: &[SocketAddr]) -> Vec<u16> {
        order.iter().map(SocketAddr::port).collect()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn servers_are_tried_by_priority_and_share_calls_by_weight() {
        let servers =
            Servers::new(&[server(3, 20, 0), server(1, 10, 75), server(2, 10, 25)], Transport::Udp, None);
        let mut random = Random::from_number(3);
        let now = Instant::now();
        let mut first = [0; 2];
        for _ in 0..1000 {
            let order = ports(&servers.order(now, &mut random));
            assert_eq!((order.len(), order[2]), (3, 3));
            first[usize::from(order[0] - 1)] += 1;
        }
        assert!((700..800).contains(&first[0]), "{first:?}");
    }

    #[test]
    fn a_server_that_failed_a_call_comes_last_for_half_a_minute_or_as_long_as_it_asks() {
        let mut servers = Servers::new(&[server(1, 10, 0), server(2, 20, 0)], Transport::Udp, None);
        let mut random = Random::from_number(1);
        let now = Instant::now();
        let address = server(1, 0, 0).address;
        servers.disappointed(now, address, None);
        assert_eq!(ports(&servers.order(now + seconds(29), &mut random)), [2, 1]);
        assert_eq!(ports(&servers.order(now + seconds(30), &mut random)), [1, 2]);
        servers.disappointed(now, address, Some(seconds(5)));
        assert_eq!(ports(&servers.order(now + seconds(5), &mut random)), [1, 2]);
        servers.disappointed(now, address, None);
        servers.heard(address);
        assert_eq!(ports(&servers.order(now, &mut random)), [1, 2]);
    }

    #[test]
    fn three_missing_answers_take_a_server_down_and_two_answers_bring_it_back() {
        let mut servers = Servers::new(&[server(1, 10, 0)], Transport::Udp, Some(ProbeSettings::default()));
        let mut random = Random::from_number(1);
        let mut now = Instant::now();
        servers.start(now, &mut random);
        let mut changes = Vec::new();
        for outcome in [
            Probed::Served,
            Probed::Silent,
            Probed::NotServing,
            Probed::Silent,
            Probed::Served,
            Probed::Served,
        ] {
            now = servers.poll_timeout().expect("goes on");
            let address = servers.take_probe(now).expect("due");
            assert_eq!(servers.take_probe(now), None);
            if outcome == Probed::Silent {
                now = servers.poll_timeout().expect("waits");
                assert_eq!(servers.overdue(now - Duration::from_nanos(1)), None);
                assert_eq!(servers.overdue(now), Some(address));
            }
            changes.push(servers.probed(now, address, outcome, &mut random));
        }
        let (down, up) = (Some(ServerState::Down), Some(ServerState::Up));
        assert_eq!(changes, [None, None, None, down, None, up]);
        assert!(servers.is_any_up());
        // A late answer to a probe that was given up says nothing.
        assert_eq!(servers.probed(now, server(1, 0, 0).address, Probed::Silent, &mut random), None);
    }

    #[test]
    fn a_server_that_never_answered_an_options_is_not_judged_by_its_silence_but_by_the_network() {
        let settings = ProbeSettings { down_after: 1, ..ProbeSettings::default() };
        let mut servers = Servers::new(&[server(1, 10, 0)], Transport::Udp, Some(settings));
        let mut random = Random::from_number(1);
        let mut now = Instant::now();
        servers.start(now, &mut random);
        let mut changes = Vec::new();
        for outcome in [Probed::Silent, Probed::Unreachable, Probed::Silent, Probed::Served, Probed::Silent] {
            now = servers.poll_timeout().expect("goes on");
            let address = servers.take_probe(now).expect("due");
            changes.push(servers.probed(now, address, outcome, &mut random));
        }
        let (down, up) = (Some(ServerState::Down), Some(ServerState::Up));
        assert_eq!(changes, [None, down, up, None, down]);
    }

    #[test]
    fn a_server_that_is_down_gets_no_calls_and_is_looked_at_every_few_seconds() {
        let settings = ProbeSettings { down_after: 1, ..ProbeSettings::default() };
        let mut servers = Servers::new(&[server(1, 10, 0), server(2, 20, 0)], Transport::Udp, Some(settings));
        let mut random = Random::from_number(1);
        let now = Instant::now();
        servers.disappointed(now, server(1, 0, 0).address, None);
        let address = servers.take_probe(now).expect("looked after at once");
        servers.probed(now + seconds(4), address, Probed::NotServing, &mut random);
        assert_eq!(ports(&servers.order(now, &mut random)), [2]);
        let next = servers.poll_timeout().expect("again") - (now + seconds(4));
        assert!(next > Duration::from_millis(4400) && next <= seconds(5), "{next:?}");
    }

    #[test]
    fn a_server_that_dns_still_names_keeps_its_state_and_a_new_one_is_looked_after_at_once() {
        let settings = ProbeSettings { down_after: 1, ..ProbeSettings::default() };
        let both = [server(1, 10, 0), server(2, 20, 0)];
        let mut servers = Servers::new(&both, Transport::Udp, Some(settings));
        let mut random = Random::from_number(1);
        let now = Instant::now();
        servers.disappointed(now, both[1].address, None);
        let address = servers.take_probe(now).expect("looked after at once");
        servers.probed(now, address, Probed::NotServing, &mut random);
        let named = [server(3, 0, 5), server(2, 1, 5)].map(|it| (10, it, Transport::Tcp));
        let moved = [named[0], (10, named[1].1, Transport::Udp)];
        servers.replace(now, moved);
        assert_eq!(ports(&servers.order(now, &mut random)), [3], "2 is still down, 1 is gone");
        assert_eq!(servers.take_probe(now), Some(named[0].1.address));
        assert_eq!(servers.transport_of(named[0].1.address), Some(Transport::Tcp));
        servers.replace(now, named);
        assert_eq!(ports(&servers.order(now, &mut random)), [3, 2], "over TCP nothing is known of it");
    }
}
