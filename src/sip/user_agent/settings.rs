//! What the user agent is told at birth.

use std::net::SocketAddr;
use std::time::Duration;

use crate::id::PhoneName;
use crate::masked::Secret;

use super::super::alert::AlertForms;
use super::super::defence::DefenceSettings;
use super::super::digest::DigestAlgorithm;
use super::super::flow::{Flow, Transport};
use super::super::registrar::Limits;
use super::super::registrar::keepalive::{KeepAlive, KeepAliveOf};
use super::super::srtp::SrtpSetting;
use super::super::transaction::Timers;
use super::super::trunk::TrunkPeer;

/// A phone that may register and call.
#[derive(Clone, Debug)]
pub struct PhoneAccount {
    /// User part of its address of record and its digest user name.
    pub name: PhoneName,
    /// What people call it; not sent anywhere.
    pub display: String,
    /// The one algorithm it is challenged with (rule 22).
    pub algorithm: DigestAlgorithm,
    /// Hash of `name:realm:password` by that algorithm, lower-case hexadecimal.
    pub ha1: Secret<String>,
    /// How its sound is protected.
    pub srtp: SrtpSetting,
    /// Who sees it, and what it sees of mailboxes.
    pub lamps: PhoneLamps,
    /// How it is told to ring.
    pub alerts: AlertForms,
}

/// Who may watch a phone (RFC 4235 §3.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchedBy {
    /// Every phone that is registered here.
    #[default]
    Phones,
    /// The phone itself only.
    Nobody,
    /// These phones.
    Only(Vec<PhoneName>),
}

/// How a phone is told what waits in its mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessagesBy {
    /// It subscribes.
    #[default]
    Subscription,
    /// It is told unasked (RFC 3842 §3.1 knows no such thing, many phones do).
    Unasked,
}

/// The lamps of a phone, and the lamps of others that show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhoneLamps {
    /// Who may watch it.
    pub watched_by: WatchedBy,
    /// Whether watchers see whom it talks with.
    pub shows_peer: bool,
    /// Its mailboxes.
    pub mailboxes: Vec<String>,
    /// How it is told of them.
    pub messages_by: MessagesBy,
    /// Whether it may take calls of phones that it watches: it is told what they are called.
    pub takes_over: bool,
}

/// What a phone does that is asked to look for a new configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resync {
    /// It fetches its configuration, and restarts only if it has to.
    #[default]
    Fetch,
    /// It restarts once it is idle: what phones need that know no other way.
    Restart,
}

/// What subscriptions are granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Shorter wishes (except 0) get 423.
    pub min: Duration,
    /// Longer wishes, and none, get this.
    pub max: Duration,
    /// Subscriptions of one phone; one more ends the oldest.
    pub per_phone: usize,
}

impl PhoneAccount {
    /// A phone of which nothing else is said.
    #[must_use]
    pub fn new(name: PhoneName, algorithm: DigestAlgorithm, ha1: Secret<String>) -> Self {
        let (srtp, lamps) = (SrtpSetting::default(), PhoneLamps::default());
        Self { name, display: String::new(), algorithm, ha1, srtp, lamps, alerts: AlertForms::default() }
    }

    /// See [`super::super::registrar::SavedBinding::proof`].
    pub(super) fn proof(&self) -> u16 {
        let hash = DigestAlgorithm::Sha256.hash(&format!("binding:{}", self.ha1.expose()));
        hash.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }
}

/// A place of ours that peers send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// How messages come.
    pub transport: Transport,
    /// The local address of its flows.
    pub local: SocketAddr,
    /// What stands in Via and Contact.
    pub advertised: SocketAddr,
}

/// Everything the user agent needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host part of our addresses of record.
    pub domain: String,
    /// The digest realm; part of every stored hash.
    pub realm: String,
    /// What stands in our Via and Contact over UDP.
    pub advertised: SocketAddr,
    /// The UDP socket our own requests to trunks leave from.
    pub local: SocketAddr,
    /// Every other place where we listen.
    pub listeners: Vec<Listener>,
    /// What stands in User-Agent and Server.
    pub product: String,
    /// The phones.
    pub phones: Vec<PhoneAccount>,
    /// The trunks.
    pub trunks: Vec<TrunkPeer>,
    /// Registrations shorter than this get 423.
    pub min_expires: Duration,
    /// Longer ones are cut to this.
    pub max_expires: Duration,
    /// For phones that name no time.
    pub default_expires: Duration,
    /// Calls whose far end knows session timers end when it has not been heard of for so long (RFC 4028).
    pub session_expires: Duration,
    /// Who asks for shorter ones gets 422.
    pub min_session_expires: Duration,
    /// What phones do that are asked to look for a new configuration.
    pub resync: Resync,
    /// How long a digest nonce may be used.
    pub nonce_life: Duration,
    /// Base timers of RFC 3261.
    pub timers: Timers,
    /// A trunk that answers nothing at all for this long is given up (rule 2).
    pub no_provisional: Duration,
    /// Busy lamps and message waiting.
    pub watching: WatchLimits,
    /// Bindings per phone.
    pub max_bindings: usize,
    /// How the ways to phones are kept open.
    pub keep_alive: KeepAlive,
    /// Requests being answered at one time; more get 503.
    pub max_transactions: usize,
    /// Calls up or being set up at one time; more get 503.
    pub max_legs: usize,
    /// Whom to hear.
    pub defence: DefenceSettings,
}

impl Settings {
    /// The usual values for a user agent at `advertised`, without phones and trunks.
    #[must_use]
    pub fn new(domain: &str, advertised: SocketAddr) -> Self {
        Self {
            domain: domain.to_owned(),
            realm: domain.to_owned(),
            advertised,
            local: advertised,
            listeners: Vec::new(),
            product: "Cordboard".to_owned(),
            phones: Vec::new(),
            trunks: Vec::new(),
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(3600),
            default_expires: Duration::from_secs(300),
            session_expires: Duration::from_secs(1800),
            min_session_expires: Duration::from_secs(90),
            resync: Resync::default(),
            nonce_life: Duration::from_secs(300),
            timers: Timers::default(),
            no_provisional: Duration::from_secs(2),
            watching: WatchLimits {
                min: Duration::from_secs(60),
                max: Duration::from_secs(600),
                per_phone: 128,
            },
            max_bindings: 8,
            keep_alive: KeepAlive { of: KeepAliveOf::Nobody, ..KeepAlive::default() },
            // What is answered stays for 32 s: 3,000 registrations a second, and no more than some 150 MB.
            max_transactions: 100_000,
            max_legs: 5_000,
            defence: DefenceSettings::default(),
        }
    }

    fn all_listeners(&self) -> impl Iterator<Item = Listener> + Clone {
        let first = Listener { transport: Transport::Udp, local: self.local, advertised: self.advertised };
        std::iter::once(first).chain(self.listeners.iter().copied())
    }

    /// Where a flow's peer can reach us besides on the flow: the listener it came by, or one like it.
    pub(super) fn listener_of(&self, flow: Flow) -> Option<Listener> {
        let alike = |it: &Listener| it.transport == flow.transport;
        let family = |it: &Listener| it.advertised.is_ipv4() == flow.remote.is_ipv4();
        let mut likes = self.all_listeners().filter(alike);
        likes
            .clone()
            .find(|it| it.local == flow.local)
            .or_else(|| likes.clone().find(family))
            .or_else(|| likes.next())
    }

    /// What stands as our address in what is sent on a flow.
    pub(super) fn advertised_on(&self, flow: Flow) -> SocketAddr {
        self.listener_of(flow).map_or(self.advertised, |it| it.advertised)
    }

    /// The way to a peer that we know by its address.
    pub(super) fn flow_to(&self, transport: Transport, remote: SocketAddr) -> Flow {
        if transport.is_reliable() {
            return Flow::dialled(transport, remote);
        }
        let fits = |it: &Listener| it.transport == Transport::Udp && it.local.is_ipv4() == remote.is_ipv4();
        let local = self.all_listeners().find(fits).map_or(self.local, |it| it.local);
        Flow::udp(local, remote)
    }

    /// Our UDP sockets.
    pub(super) fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        self.all_listeners().filter(|it| it.transport == Transport::Udp).map(|it| it.local)
    }

    pub(super) const fn limits(&self) -> Limits {
        Limits {
            min: self.min_expires,
            max: self.max_expires,
            default: self.default_expires,
            per_phone: self.max_bindings,
            keep_alive: self.keep_alive,
        }
    }
}
