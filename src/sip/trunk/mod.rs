//! Trunks: PBXs and providers that calls come from and go to, without a socket and without a clock.
//!
//! A trunk is one name for one or several servers. Calls to it go to the best server that is up, and to the next
//! one when that fails; whether a server is up is learnt from OPTIONS. We may register with it, and prove by digest
//! who we are; calls from it are known by their source address.

mod challenge;
mod gate;
mod identity;
mod location;
mod numbers;
mod registration;
mod servers;

use std::net::SocketAddr;

use ipnet::IpNet;

use super::digest::DigestAlgorithm;
use super::flow::Transport;
use super::srtp::SrtpSetting;
use crate::id::TrunkName;
use crate::masked::Secret;

pub use challenge::{Login, Tried};
pub use gate::TrunkLimits;
pub use identity::{
    CallFacts, CallerHeader, CustomHeader, FactHeaders, FromShows, Presentation, Urgency, UserToUser,
};
pub use location::{LocateSettings, NameState, NamedServer};
pub use numbers::{NumberForm, NumberOf, NumberPattern, NumberRule, NumberWay, Numbering, RuleFault};
pub use registration::{RegisterSettings, RegistrationFailure, RegistrationState};
pub use servers::{ProbeSettings, ServerState, TrunkServer};

pub(super) use challenge::{Next, Remembered};
pub(super) use gate::Gate;
pub(super) use location::Location;
pub(super) use registration::{Attempt, Registration, retry_after};
pub(super) use servers::{Probed, Servers, fixed};

/// A PBX or provider.
#[derive(Clone, Debug)]
pub struct TrunkPeer {
    /// What the administrator calls it.
    pub name: TrunkName,
    /// Where calls to it are sent.
    pub servers: Vec<TrunkServer>,
    /// Where else, as DNS says; one of the two lists is not empty.
    pub named: Vec<NamedServer>,
    /// How long what DNS says is used.
    pub locating: LocateSettings,
    /// How they are sent; for a name without a transport of its own as DNS says. What comes from its addresses is the trunk's over every transport, but only inside TLS
    /// if this is TLS.
    pub transport: Transport,
    /// Whose calls are taken for the trunk's, without digest.
    pub sources: Sources,
    /// The host part of our and its addresses there; by default the server's address.
    pub domain: Option<String>,
    /// How its calls prove that they are its own; `None`: by where they come from alone.
    pub proof: Option<CallerProof>,
    /// How we prove who we are, if it asks.
    pub login: Option<Login>,
    /// Whether and how we register.
    pub register: Option<RegisterSettings>,
    /// Whether and how its servers are watched.
    pub probe: Option<ProbeSettings>,
    /// How many calls it takes.
    pub limits: TrunkLimits,
    /// How it writes numbers.
    pub numbering: Numbering,
    /// How it is told who calls.
    pub presentation: Presentation,
    /// How it is told what a call is about.
    pub fact_headers: FactHeaders,
    /// How its sound is protected.
    pub srtp: SrtpSetting,
}

/// What a trunk's INVITE has to prove by digest. The source of a datagram can be forged, and a call costs.
#[derive(Clone, Debug)]
pub struct CallerProof {
    /// The user name.
    pub user: String,
    /// The one algorithm it is challenged with (rule 22).
    pub algorithm: DigestAlgorithm,
    /// Hash of `user:realm:password` by that algorithm, lower-case hexadecimal.
    pub ha1: Secret<String>,
}

/// Where a trunk's own calls come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// From the addresses of its servers, and wherever DNS moves them.
    Servers,
    /// From these networks.
    Networks(Vec<IpNet>),
}

impl TrunkPeer {
    /// A trunk of one server that is known by its address and asks nothing.
    #[must_use]
    pub fn at(name: &str, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            servers: vec![TrunkServer { address, priority: 10, weight: 100 }],
            named: Vec::new(),
            locating: LocateSettings::default(),
            transport: Transport::Udp,
            sources: Sources::Servers,
            domain: None,
            proof: None,
            login: None,
            register: None,
            probe: None,
            limits: TrunkLimits::default(),
            numbering: Numbering::default(),
            presentation: Presentation::default(),
            fact_headers: FactHeaders::default(),
            srtp: SrtpSetting::default(),
        }
    }

    /// What the trunk calls us: the user that registers or logs in.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        let registered = self.register.as_ref().map(|it| it.user.as_str());
        registered.or(self.login.as_ref().map(|it| it.user.as_str()))
    }
}

/// What changed about a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkChange {
    /// A server answers again, or for the first time after it was missed.
    ServerUp(SocketAddr),
    /// A server has missed too many answers: no call goes there.
    ServerDown(SocketAddr),
    /// DNS says something else of where its servers are.
    Moved,
    /// We are registered there.
    Registered(SocketAddr),
    /// We are not registered, or not any more.
    NotRegistered(RegistrationFailure),
    /// It refuses our credentials, though they answer its challenge.
    LoginRefused,
}

/// What is known of a trunk at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkStatus {
    /// Which.
    pub name: TrunkName,
    /// Its servers.
    pub servers: Vec<(SocketAddr, ServerState)>,
    /// Our registration; `None` if it needs none.
    pub registration: Option<RegistrationState>,
    /// It refuses our credentials.
    pub login_refused: bool,
    /// Calls up or being set up, both directions.
    pub calls: u32,
    /// Calls turned away because the trunk was full, both directions, since the start.
    pub turned_away: u64,
    /// Calls that went on to another server, since the start.
    pub failovers: u64,
    /// Its names, and how well each is known.
    pub names: Vec<(String, NameState)>,
    /// What came of asking DNS for them, since the start.
    pub lookups: Lookups,
}

/// What came of asking DNS for the names of a trunk, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Servers were found.
    pub found: u64,
    /// DNS says that there are none.
    pub nowhere: u64,
    /// No resolver answered.
    pub unanswered: u64,
    /// Calls that waited for an answer.
    pub waited: u64,
}

impl TrunkStatus {
    /// Whether calls to it can be tried.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let may_be = self.servers.is_empty() && self.names.iter().any(|(_, it)| *it == NameState::Unknown);
        may_be || self.servers.iter().any(|(_, state)| *state == ServerState::Up)
    }

    /// One word or two for an operator.
    #[must_use]
    pub fn as_text(&self) -> &'static str {
        let some_down = self.servers.iter().any(|(_, state)| *state == ServerState::Down);
        match self.registration {
            _ if !self.is_usable() => "down",
            _ if self.login_refused => "login refused",
            Some(RegistrationState::Failed(_) | RegistrationState::Trying | RegistrationState::Ended) => {
                "not registered"
            }
            _ if some_down => "up, a server is down",
            _ => "up",
        }
    }
}
