//! Calls that somebody begins from a desk or a program: the agent's phone first, then the user.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::signalling::{Originated, Origination, Question, QueueOf, now};
use super::store::{Claim, Store, StoreError};
use crate::call::{HangupCause, MissedCall};
use crate::id::{CallId, PhoneName};
use crate::policy::Permission;

type Questions = mpsc::UnboundedSender<Question>;

/// For so long a missed call is the claimer's alone: the agent's phone, the user's phone, and a breath.
const LEASE: Duration = Duration::from_secs(180);

/// Which missed call is called back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The oldest that the phone may call back.
    Next,
    /// The oldest of a group's queue.
    NextOf(String),
    /// This one.
    One(CallId),
}

/// A callback that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The new call.
    pub call: CallId,
    /// The one that was missed.
    pub missed: Box<MissedCall>,
}

/// Why nobody is called.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotBegun {
    /// The configuration has no such phone.
    #[error("there is no [[phone]] of this name")]
    NoPhone,
    /// The configuration has no such group.
    #[error("there is no [[group]] of this name")]
    NoGroup,
    /// Only who belongs to a group takes from its queue.
    #[error("this phone does not belong to the group")]
    NotAMember,
    /// There is no such missed call, or none in the queue.
    #[error("there is no such missed call, or none that may be called back")]
    NothingMissed,
    /// Another phone has claimed it.
    #[error("{0} is calling back already")]
    Claimed(String),
    /// It is off the list.
    #[error("somebody has talked to the user since")]
    Settled,
    /// The user does not allow calls.
    #[error("the user does not allow calls (permission: {}): ask for it first", .0.as_str())]
    NotAllowed(Permission),
    /// The gateway does not begin it.
    #[error("{}: {}", .0.verdict().phrase, .0.verdict().advice)]
    Refused(HangupCause),
    /// The store did not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Signalling did not answer.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Rings a phone, then the user.
///
/// # Errors
/// [`NotBegun::Refused`] or [`NotBegun::Stopping`].
pub async fn originate(questions: &Questions, wanted: Origination) -> Result<CallId, NotBegun> {
    let (answer, originated) = oneshot::channel();
    let _ = questions.send(Question::Originate(wanted, answer));
    match originated.await {
        Ok(Originated::Begun(call)) => Ok(call),
        Ok(Originated::Refused(cause)) => Err(NotBegun::Refused(cause)),
        Err(_) => Err(NotBegun::Stopping),
    }
}

/// Calls back a missed call from a phone; nobody else can at the same time.
///
/// # Errors
/// [`NotBegun`].
pub async fn call_back(
    questions: &Questions,
    store: &Store,
    which: Which,
    from: PhoneName,
) -> Result<Begun, NotBegun> {
    let (answer, queue) = oneshot::channel();
    let group = match &which {
        Which::NextOf(group) => Some(group.clone()),
        Which::Next | Which::One(_) => None,
    };
    let _ = questions.send(Question::QueueOf(from.clone(), group, answer));
    let queue = match queue.await.map_err(|_| NotBegun::Stopping)? {
        QueueOf::Numbers(numbers) => numbers,
        QueueOf::NoPhone => return Err(NotBegun::NoPhone),
        QueueOf::NoGroup => return Err(NotBegun::NoGroup),
        QueueOf::NotAMember => return Err(NotBegun::NotAMember),
    };
    let at = now().wall;
    let claim = match which {
        Which::Next | Which::NextOf(_) => store.claim_next_missed(&queue, from.as_str(), at, LEASE).await?,
        Which::One(call) => store.claim_missed(call, from.as_str(), at, LEASE).await?,
    };
    let missed = match claim {
        Claim::Taken(missed) => missed,
        Claim::Busy(who) => return Err(NotBegun::Claimed(who)),
        Claim::Settled => return Err(NotBegun::Settled),
        Claim::NotAllowed(missed) => return Err(NotBegun::NotAllowed(missed.permission)),
        Claim::None => return Err(NotBegun::NothingMissed),
    };
    let (number, user) = (missed.record.phone_number_id.clone(), missed.record.user.clone());
    let call = originate(questions, Origination { number, user, agent: from }).await?;
    Ok(Begun { call, missed })
}
