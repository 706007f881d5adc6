//! A leg: one INVITE, sent or received, and the dialog it becomes.

use std::time::{Duration, Instant};

use crate::id::{LegId, PhoneName};

use super::super::dialog::Dialog;
use super::super::flow::Flow;
use super::super::message::{Headers, Name};
use super::super::transaction::{ClientKey, Resend, ServerKey};
use super::alive::Asked;
use super::change::{CallIdOf, OurChange, SentAck, Updates};
use super::digits::{Key, Keys};
use super::event::{LegFailure, Reason};
use super::failover::NextServer;
use super::incoming::Incoming;
use super::lamps::LampFacts;
use super::refer::Told;
use super::reliable::{Place, Progress};
use super::session::SessionTimer;
use super::watching::WatchId;

/// Whose request it is.
#[derive(Debug)]
pub(super) enum Owner {
    /// An INVITE that makes a call.
    Invite(Fork),
    /// A REGISTER with the trunk at that place of the settings.
    Register(usize),
    /// An OPTIONS to a server of that trunk.
    Probe(usize),
    /// A re-INVITE or UPDATE; with the ACK of its 2xx.
    Change { leg: LegId, ack: SentAck },
    /// An OPTIONS that keeps the way to a binding of that phone open.
    Pulse(PhoneName, u64),
    /// An OPTIONS within the call.
    Alive(LegId),
    /// A key by INFO.
    Digit(LegId, Key),
    /// A NOTIFY of that subscription.
    Watch(WatchId),
    /// BYE, CANCEL, PRACK, NOTIFY of a transfer: nobody waits for the answer.
    Nobody,
}

/// One of the places a call was sent to.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) leg: LegId,
    pub(super) cancel: Cancel,
    /// The peer is a phone and stays on its flow.
    pub(super) pinned: bool,
    /// The ACK of every 2xx by the tag it brought: each is sent again with each repetition.
    pub(super) acks: Vec<(String, Flow, Vec<u8>)>,
    /// The last session description of a provisional answer.
    pub(super) early: Option<String>,
    /// Where reliable provisional answers came from.
    pub(super) places: Vec<Place>,
    /// How often the INVITE was sent anew because a session timer was too short.
    pub(super) retries: u8,
}

impl Fork {
    pub(super) const fn new(leg: LegId, pinned: bool) -> Self {
        Self {
            leg,
            cancel: Cancel::Unwanted,
            pinned,
            acks: Vec::new(),
            early: None,
            places: Vec::new(),
            retries: 0,
        }
    }
}

/// How far the taking back of an INVITE is.
#[derive(Clone, Debug)]
pub(super) enum Cancel {
    Unwanted,
    /// Wanted, but no provisional answer came yet (RFC 3261 §9.1).
    Wanted(Option<Reason>),
    Sent,
}

/// A leg by its stage.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) call_id: String,
    pub(super) local_tag: String,
    /// The phone at the other end, if it is one.
    pub(super) phone: Option<PhoneName>,
    /// The trunk at the other end, by its place in the settings.
    pub(super) trunk: Option<usize>,
    pub(super) lamp: LampFacts,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    Calling(Calling),
    Called(Box<Called>),
    Up(Box<Up>),
}

/// We call and nobody has answered.
#[derive(Debug)]
pub(super) struct Calling {
    /// The forks that may still answer.
    pub(super) open: Vec<ClientKey>,
    /// Every fork there was.
    pub(super) forks: usize,
    pub(super) cancelled: bool,
    /// The best failure so far.
    pub(super) failure: Option<LegFailure>,
    pub(super) no_provisional: Option<Instant>,
    /// The tags of those that ring: early dialogs by which others may name this call.
    pub(super) tags: Vec<String>,
    /// What the next server of the trunk needs to be told.
    pub(super) next: Option<Box<NextServer>>,
}

/// We are called and have not answered.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) invite: Incoming,
    pub(super) server: ServerKey,
    pub(super) pinned: bool,
    /// The last ringing answer and when it is repeated: a lost 180 is a silent phone.
    pub(super) ringing: Option<(Vec<u8>, Instant)>,
    /// What the caller was told reliably.
    pub(super) progress: Progress,
    /// The caller was sent a session description.
    pub(super) described: bool,
    /// What the caller is told of the call, besides the answer.
    pub(super) told: Vec<(Name, String)>,
}

/// How often ringing is repeated (RFC 3261 §13.3.1.1).
pub(super) const RINGING_EVERY: Duration = Duration::from_secs(60);

/// The call is answered.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) dialog: Dialog,
    /// Our 200 that waits for its ACK.
    pub(super) unacked: Option<Unacked>,
    /// Their offer that waits for our answer.
    pub(super) reoffer: Option<(Incoming, ServerKey)>,
    /// BYE as soon as the ACK is there (RFC 3261 §15).
    pub(super) hang_up: Option<Option<Reason>>,
    /// What we described last.
    pub(super) said: Option<String>,
    /// What they described last.
    pub(super) heard: Option<String>,
    pub(super) call_id_of: CallIdOf,
    pub(super) updates: Updates,
    /// Keys that are told by INFO.
    pub(super) keys: Keys,
    /// Our own offers and refreshes.
    pub(super) change: OurChange,
    pub(super) session: Option<SessionTimer>,
    /// Whether they are still there, as long as no answer came.
    pub(super) asked: Option<Asked>,
    /// Transfers that are told of.
    pub(super) referrals: Vec<Told>,
    /// There was a REFER: later ones are named in NOTIFY.
    pub(super) referred: bool,
}

impl Up {
    /// A call that is answered; `headers` are those of the peer's INVITE or 2xx.
    pub(super) fn new(dialog: Dialog, call_id_of: CallIdOf, headers: &Headers) -> Self {
        Self {
            dialog,
            unacked: None,
            reoffer: None,
            hang_up: None,
            said: None,
            heard: None,
            call_id_of,
            updates: Updates::of(headers),
            keys: Keys::of(headers),
            change: OurChange::default(),
            session: None,
            asked: None,
            referrals: Vec::new(),
            referred: false,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let unacked = self.unacked.as_ref().map(|unacked| unacked.resend.next.min(unacked.deadline));
        let session = self.session.map(|it| it.refresh_at.map_or(it.expires_at, |at| at.min(it.expires_at)));
        let asked = self.asked.map(|asked| asked.poll_timeout());
        [unacked, session, asked, self.change.not_before].into_iter().flatten().min()
    }
}

/// A 200 to an INVITE, sent again until it is acknowledged.
#[derive(Debug)]
pub(super) struct Unacked {
    pub(super) number: u32,
    pub(super) initial: bool,
    /// The 200 holds an offer; the ACK must hold the answer.
    pub(super) offered: bool,
    pub(super) to: Flow,
    pub(super) bytes: Vec<u8>,
    pub(super) resend: Resend,
    pub(super) deadline: Instant,
}

impl Leg {
    /// When time has something to do with this leg.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Calling(calling) => calling.no_provisional,
            Stage::Called(called) => {
                let ringing = called.ringing.as_ref().map(|(_, at)| *at);
                [ringing, called.progress.poll_timeout()].into_iter().flatten().min()
            }
            Stage::Up(up) => up.poll_timeout(),
        }
    }
}
