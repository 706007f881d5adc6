//! What signalling asks of the media of a call between desks and what that tells: values only.

use std::time::Duration;

use super::super::clip::{Clip, Repeat};
use super::super::order::KeyWay;
use super::super::summary::DirectionSummary;
use crate::codec::{AudioCodec, EncoderSettings};
use crate::id::Seat;
use crate::sdp::audio::AudioRefusal;
use crate::sdp::protection::{Protection, ProtectionRule};

/// How to open the media of a call between desks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySpec {
    /// The caller's offer; `None`: it wants ours.
    pub offer: Option<String>,
    /// What we offer or take, best first.
    pub codecs: Vec<AudioCodec>,
    /// What the caller may offer and answer.
    pub rule: ProtectionRule,
    /// How we offer to a caller that made no offer.
    pub caller_way: Protection,
    /// In which ways we are described to who is called, the first one for who is not known.
    pub ways: Vec<Protection>,
    /// No media from either side for this long, while nobody holds: [`RelayReport::Stalled`].
    pub dead_after: Duration,
    /// How libopus encodes where the two share no codec.
    pub encoder: EncoderSettings,
    /// What one hears while the other holds the call and sends nothing.
    pub hold_audio: Option<Clip>,
}

/// An order to the media of a call between desks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayOrder {
    /// Who answers or offers next in a call that it has come to may do this.
    SetRule(ProtectionRule),
    /// An answer to our offer, early or final, or another phone's.
    TakeAnswer {
        /// Whose.
        seat: Seat,
        /// The SDP.
        sdp: String,
    },
    /// Describe us to a seat: the answer to its offer, or our offer if it made none
    /// ([`RelayReport::Described`]).
    Describe {
        /// To whom.
        seat: Seat,
    },
    /// A re-INVITE or UPDATE: [`RelayReport::ReofferAnswered`] or [`RelayReport::ReofferRefused`]. The other seat
    /// notices nothing.
    AnswerReoffer {
        /// Whose.
        seat: Seat,
        /// The offer; `None`: it had none, and the report carries ours.
        sdp: Option<String>,
    },
    /// Describes us to somebody who may take a seat ([`RelayReport::NextOffered`]).
    OfferToNext {
        /// Which seat.
        seat: Seat,
    },
    /// Its answer: it has the seat from now on.
    TakeNext {
        /// Which seat.
        seat: Seat,
        /// The SDP.
        sdp: String,
    },
    /// Somebody takes a seat by an offer of its own ([`RelayReport::NextAnswered`]).
    AnswerNext {
        /// Which seat.
        seat: Seat,
        /// The SDP.
        offer: String,
    },
    /// Nobody takes the seat.
    DropNext,
    /// Plays a clip instead of the other seat's speech.
    Play {
        /// To whom.
        seat: Seat,
        /// What.
        clip: Clip,
        /// How often.
        repeat: Repeat,
    },
    /// Breaks off what is played.
    StopPlaying {
        /// To whom.
        seat: Seat,
    },
    /// A key of a seat that came by signalling (SIP INFO); the other one gets a telephone event or a tone.
    Digit {
        /// Whose key.
        seat: Seat,
        /// `0`-`9`, `*`, `#`, `A`-`D`; anything else is ignored.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
    },
    /// How the keys of the seat across reach a seat from now on.
    SetKeyWay {
        /// Who gets them.
        seat: Seat,
        /// In which way.
        way: KeyWay,
    },
    /// A key that a seat would not have by signalling: it and all after it go with the sound.
    DigitWithSound {
        /// Who gets it.
        seat: Seat,
        /// `0`-`9`, `*`, `#`, `A`-`D`; anything else is ignored.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
    },
    /// Ends the media: RTCP BYE both ways, then [`RelayReport::Closed`].
    Close,
}

/// What the media of a call between desks tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayReport {
    /// It is open; our offer for the callee.
    Opened {
        /// The SDP.
        sdp: String,
        /// The same in each of [`RelaySpec::ways`].
        offers: Vec<(Protection, String)>,
    },
    /// How a seat is described to.
    Described {
        /// To whom.
        seat: Seat,
        /// The SDP: an answer if the seat made an offer.
        sdp: String,
    },
    /// The answer of a seat cannot be used.
    AnswerRefused {
        /// Whose.
        seat: Seat,
        /// Why.
        refusal: AudioRefusal,
    },
    /// Our answer to a seat's re-INVITE, or our offer for an empty one.
    ReofferAnswered {
        /// To whom.
        seat: Seat,
        /// The SDP.
        sdp: String,
    },
    /// A seat's re-INVITE cannot be used (488); nothing has changed.
    ReofferRefused {
        /// Whose.
        seat: Seat,
    },
    /// Our offer to somebody who may take the seat.
    NextOffered {
        /// The SDP.
        sdp: String,
        /// The same in each of [`RelaySpec::ways`].
        offers: Vec<(Protection, String)>,
    },
    /// Our answer to somebody who has taken it.
    NextAnswered {
        /// The SDP.
        sdp: String,
    },
    /// The newcomer's description cannot be used; who has the seat keeps it.
    NextRefused(AudioRefusal),
    /// A key that a seat is to be told by signalling ([`RelayOrder::SetKeyWay`]).
    KeyPressed {
        /// Who gets it.
        seat: Seat,
        /// The key.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
    },
    /// Both have been silent for `dead_after`, told once.
    Stalled,
    /// The media is closed; its ports go into quarantine.
    Closed(Box<RelaySummary>),
}

/// The media of one call between desks, told once when it is closed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RelaySummary {
    /// How it ran, `PCMA/8000 as it is` or `opus/48000 ↔ PCMU/8000`.
    pub codecs: String,
    /// What each seat heard: the caller, then the callee.
    pub heard: [DirectionSummary; 2],
}

impl RelaySummary {
    /// The JSON object of the call's record.
    #[must_use]
    pub fn to_json(&self) -> String {
        let [to_caller, to_callee] = &self.heard;
        serde_json::json!({ "to_caller": to_caller.to_json(), "to_callee": to_callee.to_json() }).to_string()
    }
}
