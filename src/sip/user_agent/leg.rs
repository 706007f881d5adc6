//! A leg: one INVITE, sent or received, and the dialog it becomes.

use std::time::{Duration, Instant};

use crate::id::{LegId, PhoneName};

use super::super::dialog::Dialog;
use super::super::flow::Flow;
use super::super::transaction::{ClientKey, Resend, ServerKey};
use super::event::{LegFailure, Reason};
use super::failover::NextServer;
use super::incoming::Incoming;

/// Whose request it is.
#[derive(Debug)]
pub(super) enum Owner {
    /// An INVITE that makes a call.
    Invite(Fork),
    /// A REGISTER with the trunk at that place of the settings.
    Register(usize),
    /// An OPTIONS to a server of that trunk.
    Probe(usize),
    /// BYE or CANCEL: nobody waits for the answer.
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
}

impl Fork {
    pub(super) const fn new(leg: LegId, pinned: bool) -> Self {
        Self { leg, cancel: Cancel::Unwanted, pinned, acks: Vec::new(), early: None }
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
}

impl Up {
    pub(super) fn new(dialog: Dialog) -> Self {
        Self { dialog, unacked: None, reoffer: None, hang_up: None }
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
            Stage::Called(called) => called.ringing.as_ref().map(|(_, at)| *at),
            Stage::Up(up) => up.unacked.as_ref().map(|unacked| unacked.resend.next.min(unacked.deadline)),
        }
    }
}
