//! What a call between desks is told and asks for, besides what every call with phones has in common.

use std::time::Duration;

use super::DeskRecord;
use crate::call::cause::Verdict;
use crate::call::input::{Fork, MediaClosing};
use crate::call::output::{LegEnd, Sound};
use crate::id::{Endpoint, LegId, Seat};
use crate::sip::{DialogSnapshot, ReferralId, Telling};

/// What the media of a call between desks told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskMedia {
    /// Ports are open; our offer for the callee.
    Opened(String),
    /// How a seat is described to: the answer to its offer, or our offer.
    Described(Seat, String),
    /// A seat's answer cannot be used.
    AnswerRefused(Seat),
    /// Our answer to a seat's new offer.
    ReofferAnswered(Seat, String),
    /// A seat's new offer cannot be used; its old session stays.
    ReofferRefused(Seat),
    /// Our offer for somebody who may take a seat.
    NextOffered(String),
    /// Our answer to somebody who has taken a seat.
    NextAnswered(String),
    /// The newcomer's description cannot be used; who has the seat keeps it.
    NextRefused,
    /// Both have been silent for too long (rule 20).
    Stalled,
    /// Ports are closed.
    Closed(MediaClosing),
}

/// What a call between desks asks of its media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskOrder {
    /// Use a seat's answer.
    TakeAnswer(Seat, String),
    /// Describe us to a seat.
    Describe(Seat),
    /// Answer a seat's new offer; the other one notices nothing.
    AnswerReoffer(Seat, Option<String>),
    /// Make an offer for somebody who may take a seat.
    OfferNext(Seat),
    /// That one answered: the seat is its own.
    TakeNext(Seat, String),
    /// Give a seat to somebody by that one's own offer.
    AnswerNext(Seat, String),
    /// Nobody takes the seat.
    DropNext,
    /// Let a seat hear something, over and over.
    Play(Seat, Sound),
    /// Let a seat hear the other one again.
    StopPlaying(Seat),
    /// Close the ports.
    Close,
}

/// What a call between desks asks the shell to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskOutput {
    /// Write the record's row before anything goes out.
    OpenRecord(Box<DeskRecord>),
    /// Keep what is known so far.
    KeepRecord(Box<DeskRecord>),
    /// Close the record; the call is over and its last output is out.
    CloseRecord(Box<DeskRecord>),
    /// Keep the dialog of a seat, so that a restart can send BYE (rule 27).
    SaveDialog(Seat, Box<DialogSnapshot>),
    /// Open ports; the caller's offer if it made one.
    OpenMedia(Option<String>),
    /// For the media.
    Media(DeskOrder),
    /// Ring somebody.
    Invite {
        /// The name of the new leg.
        fork: Fork,
        /// Whom.
        target: Endpoint,
        /// Our offer.
        sdp: String,
    },
    /// Take an INVITE back.
    Cancel(Fork, LegEnd),
    /// Send BYE.
    HangUp(Fork, LegEnd),
    /// Tell the caller that it rings; with early media if there is a session description.
    Ring(Fork, Option<String>),
    /// Answer who called.
    Accept(Fork, String),
    /// Refuse who called: with this status if there is one, else with the verdict's.
    Refuse(Fork, Verdict, Option<u16>),
    /// Make an offer within a leg that is up.
    Reoffer(Fork, String),
    /// Answer a new offer; `None`: 488, the old session stays.
    AnswerReoffer(Fork, Option<String>),
    /// A leg of another call, or one that just came, is this call's under that name.
    Adopt(Fork, LegId),
    /// The adopted leg stays: the other call has lost it for good.
    Keep(Fork),
    /// The adopted leg goes back to its call, or is ended if that is over.
    GiveBack(Fork),
    /// Take a transfer on, or refuse it with a status.
    AnswerReferral(Fork, ReferralId, Result<(), u16>),
    /// Tell who asked for a transfer how it goes.
    TellReferral {
        /// Who asked.
        fork: Fork,
        /// Which transfer.
        id: ReferralId,
        /// The status line.
        status: (u16, &'static str),
        /// Whether it goes on.
        telling: Telling,
    },
}

impl DeskOutput {
    /// A short word for the debug log, without personal data.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OpenRecord(_) => "open record",
            Self::KeepRecord(_) => "keep record",
            Self::CloseRecord(_) => "close record",
            Self::SaveDialog(..) => "save dialog",
            Self::OpenMedia(_) => "open media",
            Self::Media(order) => order.name(),
            Self::Invite { .. } => "invite",
            Self::Cancel(..) => "cancel",
            Self::HangUp(..) => "hang up",
            Self::Ring(..) => "ring",
            Self::Accept(..) => "accept",
            Self::Refuse(..) => "refuse",
            Self::Reoffer(..) => "re-offer",
            Self::AnswerReoffer(..) => "answer re-offer",
            Self::Adopt(..) => "adopt",
            Self::Keep(_) => "keep",
            Self::GiveBack(_) => "give back",
            Self::AnswerReferral(..) => "answer referral",
            Self::TellReferral { .. } => "tell referral",
        }
    }
}

impl DeskOrder {
    const fn name(&self) -> &'static str {
        match self {
            Self::TakeAnswer(..) => "media takes answer",
            Self::Describe(_) => "media describes",
            Self::AnswerReoffer(..) => "media answers re-offer",
            Self::OfferNext(_) => "media offers to next",
            Self::TakeNext(..) => "media takes next",
            Self::AnswerNext(..) => "media answers next",
            Self::DropNext => "media drops next",
            Self::Play(..) => "media plays",
            Self::StopPlaying(_) => "media stops playing",
            Self::Close => "close media",
        }
    }
}

/// The times that a call between desks lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskTimes {
    /// How long the callee may ring.
    pub ring: Duration,
    /// The longest call (rule 20); `None` for no limit.
    pub max_duration: Option<Duration>,
}

impl Default for DeskTimes {
    fn default() -> Self {
        // The caller's patience is the limit; RFC 3261 §16.6 lets an INVITE ring for three minutes.
        Self { ring: Duration::from_secs(180), max_duration: Some(Duration::from_secs(4 * 3600)) }
    }
}
