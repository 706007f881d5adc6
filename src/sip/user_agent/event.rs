//! What the user agent tells and what it is asked: values only.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::{Endpoint, LegId, PhoneName, TrunkName};
use crate::masked::Masked;

use super::super::dialog::DialogSnapshot;
use super::super::message::FaultKind;
use super::super::message::uri::{quote, unquote};
use super::super::trunk::{CallFacts, TrunkChange};
use super::refer::Referral;

/// Who a call comes from, as the called phone shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// A number that can be dialled back (rule 26).
    pub number: String,
    /// A name; any script, it is reduced to what old phones show.
    pub display: String,
}

impl fmt::Debug for CallerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallerIdentity").field(&Masked::new(&self.number)).finish()
    }
}

/// A call to be made.
#[derive(Clone)]
pub struct Invite {
    /// Whom to ring.
    pub target: Endpoint,
    /// Who rings.
    pub caller: CallerIdentity,
    /// What the call is about: phones are shown the business number, trunks what their settings say.
    pub facts: CallFacts,
    /// The offer.
    pub sdp: String,
    /// Further headers; what is no header name is left out.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite").field("target", &self.target.to_string()).finish_non_exhaustive()
    }
}

/// Why a call cannot even be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteRefusal {
    /// The phone has no live binding.
    NotRegistered,
    /// No phone or trunk of that name is configured.
    Unknown,
    /// As many calls are up as may be.
    Overloaded,
    /// The trunk takes no more calls at this moment.
    TrunkFull,
    /// Every server of the trunk is down.
    TrunkDown,
    /// It must be encrypted, and the keys would stand in signalling that others can read.
    ReadableKeys,
}

/// How a call that was tried came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegFailure {
    /// Refused with that status, 300 to 699.
    Status(u16),
    /// Nobody answered within 64 T1.
    Timeout,
    /// The network said that nobody is there.
    Unreachable,
    /// We cancelled it.
    Cancelled,
    /// A trunk that did not even say 100 in the configured time.
    NoProvisional,
}

/// Why a request was sent (RFC 3326): one value of the Reason header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `SIP` or `Q.850`.
    pub protocol: &'static str,
    /// The cause in that protocol.
    pub cause: u16,
    /// A text for people; may be empty.
    pub text: String,
}

impl Reason {
    /// Somebody else took the call (rule 5): the phone shows no missed call.
    #[must_use]
    pub fn completed_elsewhere() -> Self {
        Self { protocol: "SIP", cause: 200, text: "Call completed elsewhere".to_owned() }
    }

    /// The words to show of a received Reason header: its text, or else the whole value.
    #[must_use]
    pub fn text_of(value: &str) -> String {
        let text = super::super::message::uri::split_outside_quotes(value, b';')
            .into_iter()
            .flatten()
            .find_map(|piece| piece.trim().strip_prefix("text=").map(unquote));
        text.unwrap_or_else(|| value.to_owned())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};cause={}", self.protocol, self.cause)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ";text={}", quote(&self.text)) }
    }
}

/// A refusal of a call from a phone or a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 300 to 699.
    pub status: u16,
    /// What the phone shows.
    pub phrase: String,
    /// Why, for machines.
    pub reason: Option<Reason>,
    /// Text of a Warning with code 399.
    pub warning: Option<String>,
    /// When to try again, in seconds.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal with nothing but a status.
    #[must_use]
    pub fn status(status: u16, phrase: &str) -> Self {
        Self { status, phrase: phrase.to_owned(), reason: None, warning: None, retry_after: None }
    }
}

/// Where a call to us comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerOrigin {
    /// A phone that proved who it is.
    Phone(PhoneName),
    /// A trunk, known by its address.
    Trunk(TrunkName),
}

/// Who calls us.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// Where the call comes from.
    pub origin: CallerOrigin,
    /// The number or name the caller goes by: a phone's own name, a trunk's P-Asserted-Identity or From.
    pub number: String,
    /// The display name; may be empty.
    pub display: String,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("origin", &self.origin)
            .field("number", &Masked::new(&self.number))
            .finish()
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// Our call rings, or makes progress; `sdp` is early media.
    Ringing {
        /// Which call.
        leg: LegId,
        /// An early answer.
        sdp: Option<String>,
        /// 101 to 199.
        status: u16,
    },
    /// Our call was answered; the ACK is already sent.
    Answered {
        /// Which call.
        leg: LegId,
        /// The answer to our offer.
        sdp: String,
        /// For a restart.
        dialog: DialogSnapshot,
    },
    /// Our call came to nothing; the leg is gone.
    Failed {
        /// Which call.
        leg: LegId,
        /// How.
        failure: LegFailure,
    },
    /// Somebody calls; 100 is already sent. Ask for `ring`, `accept` or `refuse`.
    Invited {
        /// The new leg.
        leg: LegId,
        /// Who.
        from: Caller,
        /// The user part of the Request-URI.
        dialled: String,
        /// The offer; without one the answer to `accept`'s offer comes as `Reanswered`.
        sdp: Option<String>,
        /// The Call-ID, for records.
        call_id: String,
        /// The leg whose place it takes (RFC 3891); that one is for us to end.
        replaces: Option<LegId>,
    },
    /// Our 200 was acknowledged.
    Confirmed {
        /// Which call.
        leg: LegId,
        /// For a restart.
        dialog: DialogSnapshot,
    },
    /// The caller gave up before we accepted; the leg is gone.
    Cancelled {
        /// Which call.
        leg: LegId,
    },
    /// The peer sent BYE; the leg is gone.
    HungUp {
        /// Which call.
        leg: LegId,
        /// The Reason header's text or value.
        reason: Option<String>,
    },
    /// Our 200 was never acknowledged; BYE is sent, the leg is gone.
    AckTimeout {
        /// Which call.
        leg: LegId,
    },
    /// A new offer in the dialog, or (`None`) the request that we make one. Ask for `answer_reoffer`.
    Reoffered {
        /// Which call.
        leg: LegId,
        /// The offer.
        sdp: Option<String>,
    },
    /// The answer to an offer of ours: in the ACK of our 200, or in the 200 to our re-INVITE.
    Reanswered {
        /// Which call.
        leg: LegId,
        /// The answer.
        sdp: String,
    },
    /// Our offer within the call was not taken; the old session stays.
    ReofferRefused {
        /// Which call.
        leg: LegId,
        /// 400 to 699.
        status: u16,
    },
    /// The far end wants the call to be transferred. Ask for `answer_referral`.
    Referred {
        /// Which call.
        leg: LegId,
        /// Where to.
        referral: Referral,
    },
    /// Nobody refreshed the session (RFC 4028); BYE is sent, the leg is gone.
    Expired {
        /// Which call.
        leg: LegId,
    },
    /// The far end was asked whether it is still there, and it is not; BYE is sent, the leg is gone.
    Vanished {
        /// Which call.
        leg: LegId,
    },
    /// A digit by INFO.
    Digit {
        /// Which call.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long it was pressed.
        millis: u32,
    },
    /// The far end takes no keys by INFO: this one it has not had.
    DigitRefused {
        /// Which call.
        leg: LegId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long it was pressed.
        millis: u32,
    },
    /// A phone has a new binding.
    Registered {
        /// Which phone.
        phone: PhoneName,
    },
    /// A phone's last binding ended.
    Unregistered {
        /// Which phone.
        phone: PhoneName,
    },
    /// A trunk, or what it thinks of us, is not as it was.
    Trunk {
        /// Which trunk.
        trunk: TrunkName,
        /// What changed.
        change: TrunkChange,
    },
}

/// Names the event and its leg only: the rest holds numbers and session descriptions.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ringing { leg, sdp, status } => {
                write!(f, "Ringing({leg}, {status}, sdp: {})", sdp.is_some())
            }
            Self::Answered { leg, .. } => write!(f, "Answered({leg})"),
            Self::Failed { leg, failure } => write!(f, "Failed({leg}, {failure:?})"),
            Self::Invited { leg, from, sdp, .. } => {
                write!(f, "Invited({leg}, {from:?}, sdp: {})", sdp.is_some())
            }
            Self::Confirmed { leg, .. } => write!(f, "Confirmed({leg})"),
            Self::Cancelled { leg } => write!(f, "Cancelled({leg})"),
            Self::HungUp { leg, reason } => write!(f, "HungUp({leg}, reason: {})", reason.is_some()),
            Self::AckTimeout { leg } => write!(f, "AckTimeout({leg})"),
            Self::Reoffered { leg, sdp } => write!(f, "Reoffered({leg}, sdp: {})", sdp.is_some()),
            Self::Reanswered { leg, .. } => write!(f, "Reanswered({leg})"),
            Self::ReofferRefused { leg, status } => write!(f, "ReofferRefused({leg}, {status})"),
            Self::Referred { leg, referral } => write!(f, "Referred({leg}, {referral:?})"),
            Self::Expired { leg } => write!(f, "Expired({leg})"),
            Self::Vanished { leg } => write!(f, "Vanished({leg})"),
            Self::Digit { leg, .. } => write!(f, "Digit({leg})"),
            Self::DigitRefused { leg, .. } => write!(f, "DigitRefused({leg})"),
            Self::Registered { phone } => write!(f, "Registered({phone})"),
            Self::Unregistered { phone } => write!(f, "Unregistered({phone})"),
            Self::Trunk { trunk, change } => write!(f, "Trunk({trunk}, {change:?})"),
        }
    }
}

/// Counters since the start, and what is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipFigures {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Keep-alives: datagrams of nothing but line ends.
    pub keepalives: u64,
    /// Datagrams that were no usable message, by what was wrong.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Requests that were repetitions.
    pub repeated: u64,
    /// Responses that belong to no request of ours.
    pub stray_responses: u64,
    /// Challenges sent.
    pub challenges: u64,
    /// Credentials that were wrong though the nonce had made the round trip (rule 23).
    pub bad_credentials: u64,
    /// Requests refused for overload.
    pub overloads: u64,
    /// Refusals not sent because they would have been larger than what caused them.
    pub muted: u64,
    /// Requests of ours sent again.
    pub resent: u64,
    /// Our answers to a call that were never acknowledged.
    pub ack_timeouts: u64,
    /// Calls ended because nobody refreshed their session.
    pub expired_sessions: u64,
    /// NOTIFYs sent to watchers, and to phones unasked.
    pub notifies: u64,
    /// Watchers that answered no NOTIFY, or wanted no more.
    pub lost_watchers: u64,
    /// Keep-alives sent to phones.
    pub pulses: u64,
    /// Phones that stopped answering them.
    pub lost_ways: u64,
    /// Subscriptions now.
    pub subscriptions: usize,
    /// Live bindings now.
    pub bindings: usize,
    /// Calls now.
    pub legs: usize,
    /// Transactions now, both kinds.
    pub transactions: usize,
}
