//! What signalling asks of a call's media and what media tells: values only.

use std::time::Duration;

use super::clip::{Clip, Repeat};
use super::dtls::DtlsFailure;
use super::jitter::Timing;
use super::relay::RelayReport;
use super::summary::Summary;
use crate::codec::{AudioCodec, EncoderSettings};
use crate::sdp::audio::AudioRefusal;
use crate::sdp::protection::{Protection, ProtectionRule};
use crate::sdp::webrtc::WebRtcRefusal;

/// Who describes the WhatsApp leg first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaSide {
    /// Meta did: the user called; we answer.
    Answer {
        /// Meta's offer.
        offer: String,
    },
    /// We do: the business calls.
    Offer,
}

/// Who describes the SIP leg first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhoneSide {
    /// We do: the phone is called.
    Offer,
    /// The phone did: it calls.
    Answer {
        /// The phone's offer.
        offer: String,
    },
}

/// How to open the media of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSpec {
    /// The WhatsApp leg.
    pub meta: MetaSide,
    /// The SIP leg.
    pub phone: PhoneSide,
    /// What we offer or take on the SIP leg, best first.
    pub codecs: Vec<AudioCodec>,
    /// VoIP metrics of RTCP-XR are exchanged with a phone or trunk that wants them.
    pub voip_metrics: bool,
    /// No media from either side for this long, while the call is open and not on hold: [`Report::Stalled`].
    pub dead_after: Duration,
    /// The phone was heard and then, while the call is open and not on hold, sends neither RTP nor RTCP for this
    /// long: [`Report::PhoneFellSilent`].
    pub ask_after: Duration,
    /// The generator takes over towards Meta when nothing was sent for this long.
    pub comfort_after: Duration,
    /// Who keeps the time of what goes out, both ways.
    pub timing: Timing,
    /// How libopus encodes, towards Meta and towards phones with Opus.
    pub encoder: EncoderSettings,
    /// What the phone may offer and answer, as far as it is known who it is.
    pub rule: ProtectionRule,
    /// In which ways the leg is described to phones that are called, the first one for who is not known.
    pub ways: Vec<Protection>,
    /// What the user hears while the phone holds the call and sends nothing; `None`: comfort noise.
    pub hold_audio: Option<Clip>,
}

impl OpenSpec {
    /// With the defaults: every codec, the best sound first, dead after 60 s, comfort after 60 ms.
    #[must_use]
    pub fn new(meta: MetaSide, phone: PhoneSide) -> Self {
        Self {
            meta,
            phone,
            voip_metrics: false,
            codecs: vec![AudioCodec::Opus, AudioCodec::G722, AudioCodec::Pcmu, AudioCodec::Pcma],
            dead_after: Duration::from_secs(60),
            ask_after: Duration::from_secs(15),
            comfort_after: Duration::from_millis(60),
            timing: Timing::Auto,
            encoder: EncoderSettings::default(),
            rule: ProtectionRule::default(),
            ways: vec![Protection::Clear],
            hold_audio: None,
        }
    }
}

/// What may flow towards Meta (rules 4, 6, 7); towards the phone audio always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No RTP and no RTCP. A call never returns to this stage once it has left it.
    Shut,
    /// Comfort frames; the phone's speech is dropped.
    Comfort,
    /// The phone's speech.
    Open,
}

/// How keys of the user reach the phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyWay {
    /// With the sound: as telephone events where they were agreed on, else as tones.
    #[default]
    WithSound,
    /// As telephone events where they were agreed on, else as [`Report::KeyPressed`].
    EventsElseTold,
    /// As [`Report::KeyPressed`], for who says them by signalling (SIP INFO).
    Told,
}

/// An order to the media of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Meta's answer to our offer; a second one is ignored.
    ApplyMetaAnswer {
        /// The SDP.
        sdp: String,
    },
    /// DTLS may start; it does so as soon as ICE has a pair.
    StartDtls,
    /// Opens the gate towards Meta.
    SetStage(Stage),
    /// Another phone answered: who keeps time from now on. What plays from a buffer already goes on so.
    SetTiming(Timing),
    /// Who answers next may do this: for [`Self::ApplyPhoneAnswer`], [`Self::TakeNext`] and [`Self::AnswerNext`].
    SetPhoneRule(ProtectionRule),
    /// The phone's answer to our offer: an early one, the final one, or another phone's.
    ApplyPhoneAnswer {
        /// The SDP.
        sdp: String,
    },
    /// A re-INVITE or UPDATE; answered by [`Report::PhoneReofferAnswered`] or [`Report::PhoneReofferRefused`].
    AnswerPhoneReoffer {
        /// The phone's offer; `None`: it had none, and the report carries ours.
        sdp: Option<String>,
    },
    /// The phone's answer to the offer made for an empty re-INVITE.
    ApplyPhoneReanswer {
        /// The SDP.
        sdp: String,
    },
    /// A key of the phone that came by signalling (SIP INFO); said to Meta as a telephone event.
    Digit {
        /// `0`-`9`, `*`, `#`, `A`-`D`; anything else is ignored.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
    },
    /// How the user's keys reach the phone from now on.
    SetKeyWay(KeyWay),
    /// A key of the user that the phone would not have by signalling: it goes with the sound.
    DigitToPhone {
        /// `0`-`9`, `*`, `#`, `A`-`D`; anything else is ignored.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
    },
    /// Takes these codes out of the keys that the phone presses ([`Report::CodePressed`]); none: all keys are the
    /// user's.
    LookForCodes(Vec<String>),
    /// Describes a leg to another phone, which may take the place of the one that talks
    /// ([`Report::NextOffered`]); that one notices nothing.
    OfferToNext,
    /// The other phone's answer: from now on it is the phone.
    TakeNext {
        /// The SDP.
        sdp: String,
    },
    /// Another phone takes the place of the one that talks, by its own offer ([`Report::NextAnswered`]).
    AnswerNext {
        /// The SDP.
        offer: String,
    },
    /// Describes our answer to another phone's offer ([`Report::NextAnswered`]); nothing changes until
    /// [`Order::SwitchToNext`].
    PrepareNext {
        /// The SDP.
        offer: String,
    },
    /// The phone that was prepared is the phone from now on.
    SwitchToNext,
    /// The phone has let the call go and no other has it: nobody is heard and nothing is sent there.
    LeavePhone,
    /// The other phone will not come.
    DropNext,
    /// Plays a clip instead of the other side's speech; [`Report::Played`] when it has come to its end.
    Play {
        /// To whom.
        towards: Side,
        /// What.
        clip: Clip,
        /// How often.
        repeat: Repeat,
    },
    /// Breaks off what is played; there is no report.
    StopPlaying {
        /// To whom.
        towards: Side,
    },
    /// Ends the media: RTCP BYE both ways, then [`Report::Closed`].
    Close,
}

/// One of the two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The WhatsApp user's.
    Meta,
    /// The SIP phone's.
    Phone,
}

/// Why media could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenRefusal {
    /// Meta's offer cannot be used.
    Meta(WebRtcRefusal),
    /// The phone's offer cannot be used (SIP 488).
    Phone(AudioRefusal),
    /// No free port in a realm's range.
    NoPorts,
    /// The kernel refused sockets, or memory for a codec was not to be had.
    NoResources,
    /// The engine is stopping.
    Stopping,
}

/// Why a leg died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegFailure {
    /// ICE found no pair in time.
    Ice,
    /// DTLS failed.
    Dtls(DtlsFailure),
    /// The peer stopped answering consent checks.
    ConsentLost,
    /// The peer closed DTLS.
    Closed,
    /// Our own code panicked; the media of this call is gone.
    Panicked,
}

/// What the media of one call tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Both descriptions are ready: for Meta (offer or answer) and for the phone (offer or answer).
    Opened {
        /// For Graph.
        meta_sdp: String,
        /// For SIP.
        phone_sdp: String,
        /// Our offer to the phone in each of [`OpenSpec::ways`]; empty if the phone offered.
        offers: Vec<(Protection, String)>,
    },
    /// Nothing was opened.
    Refused(OpenRefusal),
    /// ICE has a pair.
    IceConnected,
    /// Keys are there.
    DtlsUp,
    /// The WhatsApp leg died.
    LegFailed(LegFailure),
    /// The user has spoken for 200 ms, told once (rule 7).
    UserSpoke,
    /// The first real audio has left towards this side, told once per side.
    FirstAudio {
        /// Where to.
        towards: Side,
    },
    /// The phone has pressed a code, which the user does not hear.
    CodePressed(String),
    /// The user has pressed a key, and it is to be told by signalling ([`KeyWay`]).
    KeyPressed {
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
    },
    /// A clip of [`Order::Play`] has come to its end.
    Played {
        /// To whom.
        towards: Side,
    },
    /// No media from either side for `dead_after` (rule 20), told once.
    Stalled,
    /// The phone has sent nothing for `ask_after`; told again after each such time.
    PhoneFellSilent,
    /// Meta's answer cannot be used.
    MetaAnswerRefused(WebRtcRefusal),
    /// The phone's answer cannot be used.
    PhoneAnswerRefused(AudioRefusal),
    /// Our answer to the phone's re-offer, or our offer for its empty re-INVITE.
    PhoneReofferAnswered {
        /// The SDP.
        sdp: String,
    },
    /// Our offer to another phone.
    NextOffered {
        /// The SDP.
        sdp: String,
        /// The same in each of [`OpenSpec::ways`].
        offers: Vec<(Protection, String)>,
    },
    /// Our answer to another phone, which is the phone from now on.
    NextAnswered {
        /// The SDP.
        sdp: String,
    },
    /// The other phone's description cannot be used; the one that talks goes on.
    NextRefused(AudioRefusal),
    /// The phone's re-offer cannot be used (488); nothing changed.
    PhoneReofferRefused(AudioRefusal),
    /// The media is closed; its ports go into quarantine.
    Closed(Box<Summary>),
    /// The media of a call between desks.
    Relay(RelayReport),
}

impl Report {
    /// How it was, at the end.
    #[must_use]
    pub fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Closed(summary) => Some(summary),
            _ => None,
        }
    }
}
