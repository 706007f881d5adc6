//! What to do: everything a call can ask for, as imperatives.

use crate::call::cause::Verdict;
use crate::call::input::Fork;
use crate::call::parking::ParkingPlace;
use crate::call::record::CallRecord;
use crate::call::voicemail::Spoken;
use crate::id::{Endpoint, LegId, WaCallId};
use crate::sip::{DialogSnapshot, ReferralId, Telling};
use crate::time::Wall;
use crate::whatsapp::Action;

/// Whose session description comes first on one side of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// We make it.
    Ours,
    /// The far side made it.
    Theirs(String),
}

/// How far the gate towards Meta is open (rules 4, 6 and 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// No RTP, RTCP or DTMF.
    Shut,
    /// Comfort frames only; the agent is not heard yet.
    Comfort,
    /// The agent is heard.
    Open,
}

/// Why a leg is ended, for the phone's Reason header (RFC 3326).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEnd {
    /// Another phone took the call (rule 5).
    CompletedElsewhere,
    /// The call ended with this verdict.
    Verdict(Verdict),
    /// The phone has handed the call over.
    Transferred,
    /// The phone has parked the call there.
    Parked(ParkingPlace),
}

/// What the user hears instead of the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Another phone rings.
    Ringback,
    /// Nobody is there for now.
    Hold,
}

/// What a call asks the shell to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write the record's row before anything goes out.
    OpenRecord(Box<CallRecord>),
    /// Keep what is known so far: after a crash the record says that the call was answered, and by whom.
    KeepRecord(Box<CallRecord>),
    /// Keep Meta's id, so that a restart can end the call.
    NoteWaCall(WaCallId),
    /// Keep the dialog, so that a restart can send BYE (rule 27).
    SaveDialog(Box<DialogSnapshot>),
    /// Close the record; the call is over and its last output is out.
    CloseRecord(Box<CallRecord>),

    /// Read permission and caps, decide, and hold a place.
    Reserve,
    /// The user picked up: the held place is a connected call.
    MarkConnected(Wall),
    /// Meta's own start time, which wins over ours.
    CorrectStart(Wall),
    /// The user's phone rings: a call that is not taken now counts in the unanswered run.
    MarkRang(Wall),
    /// The user did not pick up: give the place back.
    Release,
    /// Meta never had this call: give the place back, as if nobody had dialled.
    Withdraw,

    /// Open ports and session descriptions on both sides.
    OpenMedia {
        /// The side towards Meta.
        meta: Offer,
        /// The side towards the phone.
        phone: Offer,
    },
    /// Use Meta's answer.
    ApplyMetaAnswer(String),
    /// DTLS may start.
    StartDtls,
    /// Set the gate towards Meta.
    SetGate(Gate),
    /// Use the phone's answer.
    ApplyPhoneAnswer(String),
    /// Answer a new offer of the phone inside the gateway (invariant 6); `None`: make an offer.
    AnswerReoffer(Option<String>),
    /// Use the phone's answer to our offer in a 200.
    ApplyPhoneReanswer(String),
    /// Make an offer for a phone that may take the place of the one that talks.
    OfferNextPhone,
    /// That phone answered: it talks from now on.
    TakeNextPhone(String),
    /// Describe our answer to the offer of a phone that wants to come in; nothing changes yet.
    AnswerNextPhone(String),
    /// That phone talks from now on.
    SwitchToNextPhone,
    /// That phone will not come.
    DropNextPhone,
    /// The phone has let the call go: nothing is sent there.
    LeavePhone,
    /// Let the user hear something, over and over.
    Play(Sound),
    /// Let the user hear the phone again.
    StopPlaying,
    /// Let the user hear something once; tell when it has come to its end.
    Speak(Spoken),
    /// Record what the user says from now on.
    TakeMessage,
    /// Let the phone hear something, over and over.
    PlayToPhone(Sound),
    /// Let the phone hear the user again.
    StopPlayingToPhone,
    /// Close the ports.
    CloseMedia,

    /// Post an action to Graph.
    Post(Action),

    /// Ring a phone or a number behind a trunk.
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
    /// Ask the phone whether it is still in the call.
    AskPhone(Fork),
    /// Make an offer within a leg that is up.
    Reoffer(Fork, String),
    /// A leg of another call, or one that just came, is this call's under that name.
    Adopt(Fork, LegId),
    /// The adopted leg stays: the other call has lost it for good.
    KeepLeg(Fork),
    /// The adopted leg goes back to its call, or is ended if that is over.
    GiveBack(Fork),
    /// Tell the calling phone that the user rings; with early media if there is a session description.
    Ring(Option<String>),
    /// Answer a calling phone.
    AcceptPhone(Fork, String),
    /// Refuse a calling phone, with the time from which a new try makes sense if it is known.
    RefusePhone(Fork, Verdict, Option<Wall>),
    /// Tell who asked for it that the call is parked, and where.
    TellParked(Fork, ReferralId, ParkingPlace),
    /// Let the phone hear where its call is parked.
    TellPlace(ParkingPlace),
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
    /// Refuse a new offer of a phone that does not talk.
    RefuseReoffer(Fork),
    /// Answer the phone's re-INVITE or UPDATE; `None`: 488, the old session stays.
    AnswerPhoneReoffer(Option<String>),
}

impl Output {
    /// A short word for the debug log, without personal data.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OpenRecord(_) => "open record",
            Self::KeepRecord(_) => "keep record",
            Self::NoteWaCall(_) => "note wa call",
            Self::SaveDialog(_) => "save dialog",
            Self::CloseRecord(_) => "close record",
            Self::Reserve => "reserve",
            Self::MarkConnected(_) => "mark connected",
            Self::CorrectStart(_) => "correct start",
            Self::MarkRang(_) => "mark rang",
            Self::Release => "release",
            Self::Withdraw => "withdraw",
            Self::OpenMedia { .. } => "open media",
            Self::ApplyMetaAnswer(_) => "apply meta's answer",
            Self::StartDtls => "start dtls",
            Self::SetGate(Gate::Shut) => "shut gate",
            Self::SetGate(Gate::Comfort) => "gate to comfort",
            Self::SetGate(Gate::Open) => "open gate",
            Self::ApplyPhoneAnswer(_) => "apply phone's answer",
            Self::AnswerReoffer(_) => "answer re-offer",
            Self::ApplyPhoneReanswer(_) => "apply phone's re-answer",
            Self::OfferNextPhone => "offer to next phone",
            Self::TakeNextPhone(_) => "take next phone",
            Self::AnswerNextPhone(_) => "answer next phone",
            Self::SwitchToNextPhone => "switch to next phone",
            Self::DropNextPhone => "drop next phone",
            Self::LeavePhone => "leave phone",
            Self::TellParked(..) => "tell parked",
            Self::TellPlace(..) => "tell place",
            Self::Play(_) => "play",
            Self::Speak(_) => "speak",
            Self::TakeMessage => "take message",
            Self::PlayToPhone(_) => "play to phone",
            Self::StopPlayingToPhone => "stop playing to phone",
            Self::StopPlaying => "stop playing",
            Self::CloseMedia => "close media",
            Self::Post(_) => "post",
            Self::Invite { .. } => "invite",
            Self::Cancel(..) => "cancel",
            Self::HangUp(..) => "hang up",
            Self::AskPhone(_) => "ask phone",
            Self::Reoffer(..) => "re-offer",
            Self::Adopt(..) => "adopt",
            Self::KeepLeg(_) => "keep leg",
            Self::GiveBack(_) => "give back",
            Self::Ring(_) => "ring",
            Self::AcceptPhone(..) => "accept phone",
            Self::RefusePhone(..) => "refuse phone",
            Self::AnswerReferral(..) => "answer referral",
            Self::TellReferral { .. } => "tell referral",
            Self::RefuseReoffer(_) => "refuse re-offer",
            Self::AnswerPhoneReoffer(_) => "answer phone's re-offer",
        }
    }
}
