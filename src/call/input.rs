//! What happened: everything a call can be told, as past participles.

use std::time::Duration;

use crate::call::desk::DeskMedia;
use crate::call::parking::ParkingOrder;
use crate::call::transfer::TransferTarget;
use crate::id::{Endpoint, LegId, WaCallId};
use crate::policy::{Denial, Grant};
use crate::sip::{DialogSnapshot, ReferralId};
use crate::time::Wall;
use crate::whatsapp::{Action, Failure, Termination};

/// One of the phone legs of a call, counted from 0 in the order in which they were invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fork(pub u8);

/// Why a leg towards a phone or trunk came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkFailure {
    /// A final answer of 300 or above.
    Status(u16),
    /// No final answer in time.
    TimedOut,
    /// Not registered, or the network refused the packet.
    Unreachable,
    /// We cancelled it ourselves.
    Cancelled,
    /// A trunk said nothing at all for two seconds (rule 2).
    Silent,
}

/// Why the media engine could not open a call's ports or read an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaRefusal {
    /// The port range is used up.
    NoPorts,
    /// Meta's session description cannot be used.
    MetaOffer,
    /// The phone's session description cannot be used: no common codec, no audio.
    PhoneOffer,
    /// The phone offers plain RTP, and its setting demands encryption.
    PhoneUnencrypted,
    /// The phone's SRTP keys stand in SIP that others can read.
    PhoneReadableKeys,
    /// The phone wants encryption of a kind that we cannot do, or that its setting forbids.
    PhoneEncryption,
    /// The engine is stopping or a worker is gone.
    Unavailable,
}

/// Why the leg to Meta's relay broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaFailure {
    /// No ICE pair worked.
    Ice,
    /// The DTLS handshake failed.
    Dtls,
    /// The fingerprint in the handshake is not the one of the session description.
    Fingerprint,
    /// Consent checks went unanswered (RFC 7675).
    Consent,
    /// A bug of ours in the media path.
    Panic,
}

/// Which way audio flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Towards {
    /// From the phone to the WhatsApp user.
    User,
    /// From the WhatsApp user to the phone.
    Phone,
}

/// What the media engine knows when a call's ports are closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaClosing {
    /// How the pipes ran, as they print themselves.
    pub line: String,
    /// Packets, loss, gaps and delay as a JSON object.
    pub quality_json: String,
}

/// Which Graph action a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Ring a user.
    Connect,
    /// Bring up ICE and DTLS.
    PreAccept,
    /// Answer.
    Accept,
    /// Decline.
    Reject,
    /// Hang up.
    Terminate,
}

impl ActionKind {
    /// The kind of `action`.
    #[must_use]
    pub const fn of(action: &Action) -> Self {
        match action {
            Action::Connect { .. } => Self::Connect,
            Action::PreAccept { .. } => Self::PreAccept,
            Action::Accept { .. } => Self::Accept,
            Action::Reject { .. } => Self::Reject,
            Action::Terminate { .. } => Self::Terminate,
        }
    }
}

/// Why the product itself wants the call to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The process stops and ends its calls.
    Stop,
    /// Somebody who looks after the gateway ends this call.
    HangUp,
    /// A bug of ours was caught in this call.
    Panic,
}

/// What happened to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The record's row is in the store.
    RecordOpened,
    /// The store could not open the record.
    RecordRefused,
    /// Policy allows the call and holds a place for it.
    Reserved(Grant),
    /// Policy forbids the call.
    Denied(Denial),
    /// The permission or the caps could not be read.
    ReservationFailed,

    /// Ports are open; these are our session descriptions towards Meta and the phone.
    MediaOpened {
        /// Towards Meta.
        meta_sdp: String,
        /// Towards the phone.
        phone_sdp: String,
    },
    /// The engine could not open the call.
    MediaRefused(MediaRefusal),
    /// ICE nominated a pair.
    IceConnected,
    /// DTLS is up and keys are known.
    DtlsUp,
    /// The leg to Meta's relay broke.
    MediaFailed(MediaFailure),
    /// The user's audio was voiced for a while.
    UserSpoke,
    /// The first audio packet went out.
    FirstAudio(Towards),
    /// What was to be played to the user once has come to its end.
    SoundPlayed,
    /// The recorder has ended a message: the user was silent for long, or the disk is full.
    MessageEnded,
    /// Nobody sent media for the configured time (rule 20).
    MediaStalled,
    /// The phone sends neither sound nor reports any more: it is muted, or it is gone.
    PhoneFellSilent,
    /// The phone's answer could not be used.
    PhoneAnswerRefused,
    /// Meta's answer could not be used.
    MetaAnswerRefused,
    /// Our answer to the phone's new offer.
    PhoneReofferAnswered(String),
    /// The phone's new offer could not be used; the old session stays.
    PhoneReofferRefused,
    /// Our answer to the offer of a phone that wants to come in.
    NextPhoneAnswered(String),
    /// Our offer for a phone that may take the place of the one that talks.
    NextPhoneOffered(String),
    /// That phone's answer could not be used; the one that talked does so still.
    NextPhoneRefused,
    /// Ports are closed.
    MediaClosed(MediaClosing),

    /// Graph carried out an action.
    GraphDone(ActionKind),
    /// Graph took the `connect` and named the call.
    GraphConnected(WaCallId),
    /// A webhook told Meta's id of a call whose `connect` has no reply yet, or never got one.
    WaCallLearnt(WaCallId),
    /// Graph did not carry out an action.
    GraphFailed(ActionKind, Failure),

    /// `connect` webhook of a business-initiated call: Meta's answer.
    UserAnswerReceived(String),
    /// `RINGING`.
    UserRang,
    /// `ACCEPTED`, at Meta's time.
    UserAccepted(Wall),
    /// `REJECTED`.
    UserRejected,
    /// `terminate`.
    MetaTerminated(Termination),

    /// A phone rings; with its early session description if it sent one.
    PhoneRang(Fork, Option<String>),
    /// A phone answered; its ACK is already out.
    PhoneAnswered {
        /// Which leg.
        fork: Fork,
        /// Its session description.
        sdp: String,
        /// What a restart needs to end the dialog.
        dialog: Box<DialogSnapshot>,
    },
    /// The phone confirmed our 200.
    PhoneConfirmed(Fork, Box<DialogSnapshot>),
    /// A leg came to nothing.
    PhoneFailed(Fork, ForkFailure),
    /// A phone took its own INVITE back.
    PhoneCancelled(Fork),
    /// The phone hung up.
    PhoneHungUp(Fork),
    /// The phone never confirmed our 200.
    PhoneAckMissed,
    /// Nobody refreshed the phone's session (RFC 4028); its BYE is already out.
    PhoneExpired(Fork),
    /// The phone knows nothing of the call any more, or nobody answers there; its BYE is already out.
    PhoneVanished(Fork),
    /// The phone offers a new session (hold, refresh, codec), or asks for our offer.
    PhoneReoffered(Fork, Option<String>),
    /// The phone answered an offer of ours within the call.
    PhoneReanswered(Fork, String),
    /// The phone did not take an offer of ours within the call; its old session stays.
    PhoneOfferRefused(Fork, u16),
    /// Somebody else's INVITE wants the place of a leg (RFC 3891).
    PhoneTookOver(TakeOver),
    /// A phone asks for the call to be transferred.
    PhoneReferred {
        /// Who asks.
        fork: Fork,
        /// To name the transfer in what it is told.
        id: ReferralId,
        /// Where to, by the dial plan.
        target: TransferTarget,
    },

    /// The phone that talks pressed the code that parks the call.
    PhoneParked(Fork, ParkingOrder),
    /// A phone that parked the call has heard where it stands.
    PlaceTold,
    /// Another call tries to take a leg of this one.
    LegLent(Fork),
    /// It has given the leg back.
    LegReturned(Fork),
    /// It keeps the leg.
    LegTaken(Fork),
    /// The media of a call between desks told something.
    Desk(DeskMedia),

    /// The product wants the call to end.
    Ordered(Order),
}

/// An INVITE with Replaces: who, instead of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// Its leg, which waits for an answer.
    pub leg: LegId,
    /// Who it is.
    pub endpoint: Endpoint,
    /// Whose place it wants.
    pub replaced: Fork,
    /// Its offer.
    pub offer: String,
}

impl Input {
    /// A short word for the debug log, without personal data.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RecordOpened => "record opened",
            Self::RecordRefused => "record refused",
            Self::Reserved(_) => "reserved",
            Self::Denied(_) => "denied",
            Self::ReservationFailed => "reservation failed",
            Self::MediaOpened { .. } => "media opened",
            Self::MediaRefused(_) => "media refused",
            Self::IceConnected => "ice connected",
            Self::DtlsUp => "dtls up",
            Self::MediaFailed(_) => "media failed",
            Self::UserSpoke => "user spoke",
            Self::FirstAudio(Towards::User) => "first audio to user",
            Self::FirstAudio(Towards::Phone) => "first audio to phone",
            Self::SoundPlayed => "sound played",
            Self::MessageEnded => "message ended",
            Self::MediaStalled => "media stalled",
            Self::PhoneFellSilent => "phone fell silent",
            Self::PhoneAnswerRefused => "phone's answer refused",
            Self::MetaAnswerRefused => "meta's answer refused",
            Self::PhoneReofferAnswered(_) => "re-offer answered",
            Self::PhoneReofferRefused => "re-offer refused",
            Self::MediaClosed(_) => "media closed",
            Self::GraphDone(_) => "graph done",
            Self::GraphConnected(_) => "graph connected",
            Self::WaCallLearnt(_) => "wa call learnt",
            Self::GraphFailed(..) => "graph failed",
            Self::UserAnswerReceived(_) => "meta's answer received",
            Self::UserRang => "user rang",
            Self::UserAccepted(_) => "user accepted",
            Self::UserRejected => "user rejected",
            Self::MetaTerminated(_) => "meta terminated",
            Self::PhoneRang(..) => "phone rang",
            Self::PhoneAnswered { .. } => "phone answered",
            Self::PhoneConfirmed(..) => "phone confirmed",
            Self::PhoneFailed(..) => "phone failed",
            Self::PhoneCancelled(_) => "phone cancelled",
            Self::PhoneHungUp(_) => "phone hung up",
            Self::PhoneAckMissed => "phone's ack missed",
            Self::NextPhoneOffered(_) => "next phone offered",
            Self::NextPhoneAnswered(_) => "next phone answered",
            Self::PhoneParked(..) => "phone parked",
            Self::PlaceTold => "place told",
            Self::NextPhoneRefused => "next phone refused",
            Self::PhoneOfferRefused(..) => "phone refused offer",
            Self::PhoneTookOver(_) => "phone took over",
            Self::LegLent(_) => "leg lent",
            Self::LegReturned(_) => "leg returned",
            Self::LegTaken(_) => "leg taken",
            Self::Desk(_) => "desk media",
            Self::PhoneReferred { .. } => "phone referred",
            Self::PhoneVanished(_) => "phone vanished",
            Self::PhoneExpired(_) => "phone's session expired",
            Self::PhoneReoffered(..) => "phone re-offered",
            Self::PhoneReanswered(..) => "phone re-answered",
            Self::Ordered(_) => "ordered",
        }
    }
}

/// The times that a call lives by, from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTimes {
    /// How long Meta may take to send its answer to our offer.
    pub answer_wait: Duration,
    /// How long a WhatsApp user may ring.
    pub user_ring: Duration,
    /// How long an agent's phone rings before the user is called back.
    pub agent_ring: Duration,
    /// After both sides agreed: how long ICE and DTLS may take.
    pub media_setup: Duration,
    /// How long a crossed inbound call may take to show up after 138003 (rule 8).
    pub cross_wait: Duration,
    /// How long the record waits for Meta's `terminate` after our end of the call.
    pub terminate_wait: Duration,
    /// The longest call (rule 20); `None` for no limit.
    pub max_duration: Option<Duration>,
}

impl Default for CallTimes {
    fn default() -> Self {
        Self {
            answer_wait: Duration::from_secs(15),
            user_ring: Duration::from_secs(60),
            agent_ring: Duration::from_secs(30),
            media_setup: Duration::from_secs(10),
            cross_wait: Duration::from_secs(3),
            terminate_wait: Duration::from_secs(5),
            max_duration: Some(Duration::from_secs(4 * 3600)),
        }
    }
}
