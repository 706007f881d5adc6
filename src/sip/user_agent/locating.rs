//! Trunks given by name: DNS is asked ahead, and what it says moves their servers.

use std::net::{IpAddr, SocketAddr};

use crate::id::TrunkName;
use crate::time::Now;

use super::super::defence::Defence;
use super::super::flow::Flow;
use super::super::locate::{LocateFailure, Located, Sought};
use super::super::trunk::{Location, Registration, Sources, TrunkChange, fixed};
use super::trunks::Line;
use super::{Event, Settings, UserAgent};

/// Which name of which trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupId {
    trunk: usize,
    name: usize,
}

/// Something to ask DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// To be told with the answer.
    pub id: LookupId,
    /// What is looked for.
    pub sought: Sought,
}

/// Whom trunks make friends, as far as that is known without DNS.
pub(super) fn defence(settings: &Settings) -> Defence {
    let servers = settings.trunks.iter().flat_map(|it| &it.servers).map(|it| it.address.ip());
    let mut defence = Defence::new(settings.defence.clone(), servers);
    for trunk in &settings.trunks {
        if let Sources::Networks(networks) = &trunk.sources {
            defence.befriend_networks(networks.iter().copied());
        }
    }
    defence
}

impl Line {
    /// Whether DNS may yet say where a server is.
    pub(super) fn may_be_located(&self) -> bool {
        self.locations.iter().any(Location::is_open)
    }
}

impl UserAgent {
    /// The next thing to ask DNS; [`UserAgent::handle_located`] takes the answer, whatever it is.
    pub fn poll_lookup(&mut self) -> Option<Lookup> {
        self.lookups.pop_front()
    }

    /// DNS answered, or did not.
    pub fn handle_located(&mut self, now: Now, id: LookupId, answer: Result<Located, LocateFailure>) {
        let LookupId { trunk, name } = id;
        let Some(line) = self.lines.get_mut(trunk) else { return };
        let Some(location) = line.locations.get_mut(name) else { return };
        match &answer {
            Ok(_) => line.lookups.found += 1,
            Err(LocateFailure::Nowhere(_)) => line.lookups.nowhere += 1,
            Err(LocateFailure::Unanswered) => line.lookups.unanswered += 1,
        }
        let moved = location.answered(now.mono, answer);
        if moved {
            self.relocate(now, trunk);
        }
        self.resume_calls(now, trunk);
        self.schedule_trunk(trunk);
    }

    /// Where the servers of a trunk are, as far as that is known.
    #[must_use]
    pub fn servers_of(&self, trunk: &TrunkName) -> Vec<SocketAddr> {
        let at = self.settings.trunks.iter().position(|it| it.name == *trunk);
        at.map_or_else(Vec::new, |at| self.lines[at].servers.addresses())
    }

    /// Asks for names whose time has come.
    pub(super) fn tick_names(&mut self, now: Now, trunk: usize) {
        let mut moved = false;
        for (name, location) in self.lines[trunk].locations.iter_mut().enumerate() {
            moved |= location.handle_timeout(now.mono);
            if let Some(sought) = location.take_question(now.mono) {
                self.lookups.push_back(Lookup { id: LookupId { trunk, name }, sought });
            }
        }
        if moved {
            self.relocate(now, trunk);
        }
    }

    /// A call wants a server and none is known; whether DNS may name one.
    pub(super) fn seek_servers(&mut self, now: Now, trunk: usize) -> bool {
        let line = &mut self.lines[trunk];
        if !line.may_be_located() {
            return false;
        }
        for location in &mut line.locations {
            location.hurry(now.mono);
        }
        self.tick_names(now, trunk);
        self.schedule_trunk(trunk);
        true
    }

    /// The servers of a trunk are others than before.
    fn relocate(&mut self, now: Now, trunk: usize) {
        let (peer, line) = (&self.settings.trunks[trunk], &mut self.lines[trunk]);
        let named = line.locations.iter().flat_map(|it| {
            let transport = it.located().map_or(peer.transport, |it| it.transport);
            it.servers().map(move |(rank, server)| (rank, server, transport))
        });
        let fixed = peer.servers.iter().map(|it| {
            let (rank, server) = fixed(*it);
            (rank, server, peer.transport)
        });
        let wanted: Vec<_> = fixed.chain(named).collect();
        line.servers.replace(now.mono, wanted);
        if let Some(registration) = &mut line.registration {
            Registration::hurry(registration, now.mono);
        }
        let all = self.lines.iter().flat_map(|it| it.servers.addresses()).map(|it| it.ip());
        self.defence.set_trunks(all);
        let trunk = peer.name.clone();
        self.events.push_back(Event::Trunk { trunk, change: TrunkChange::Moved });
    }

    /// Whether a trunk's calls come from there.
    pub(super) fn comes_from(&self, trunk: usize, source: IpAddr) -> bool {
        match &self.settings.trunks[trunk].sources {
            Sources::Servers => self.lines[trunk].servers.states().any(|(it, _)| it.ip() == source),
            Sources::Networks(networks) => networks.iter().any(|it| it.contains(&source)),
        }
    }

    /// The way to a server of a trunk.
    pub(super) fn flow_to_server(&self, trunk: usize, server: SocketAddr) -> Flow {
        let known = self.lines[trunk].servers.transport_of(server);
        self.settings.flow_to(known.unwrap_or(self.settings.trunks[trunk].transport), server)
    }
}
