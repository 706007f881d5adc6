//! Why a call ended and whose doing it was: the one verdict table of the product.
//!
//! Each [`HangupCause`] has one [`Verdict`]: what the phone is told, what the records and metrics
//! say, and what an operator should do. A test prints the table into the README.

use crate::call::input::{MediaFailure, MediaRefusal};
use crate::policy::DenialReason;
use crate::whatsapp::Meaning;

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HangupCause {
    /// The user ended the conversation.
    UserHungUp,
    /// The user gave up before anybody answered, or Meta's window closed.
    UserCancelled,
    /// The user declined.
    UserRejected,
    /// The user did not answer.
    UserUnanswered,
    /// The phone ended the conversation.
    PhoneHungUp,
    /// The phone gave up before the user answered.
    PhoneCancelled,
    /// Every phone was busy.
    PhoneBusy,
    /// A person declined the call on the phone.
    PhoneDeclined,
    /// Nobody answered inside Meta's accept window.
    PhoneUnanswered,
    /// No phone is registered and no trunk answers.
    PhoneUnreachable,
    /// The phone or PBX refused with another status.
    PhoneFailed,
    /// The phone offers no codec that we have.
    PhoneMediaRefused,
    /// The phone answered and then fell silent in signalling: no ACK.
    PhoneLost,
    /// The user called at the same moment; the phone talks on that call.
    Crossed,
    /// A rule forbids the call.
    Denied(DenialReason),
    /// The dialled digits lead nowhere.
    NotDialable,
    /// The phone may not use this business number.
    NotAllowed,
    /// An emergency number was dialled (rule 10).
    Emergency,
    /// Meta refused or ended the call with this meaning.
    Meta(Meaning),
    /// Meta took our offer and never answered it.
    MetaSilent,
    /// Graph did not reply in time.
    GraphTimedOut,
    /// Graph cannot be reached.
    GraphUnreachable,
    /// Graph's reply makes no sense.
    GraphUnreadable,
    /// Ports or session descriptions failed before media began.
    MediaRefused(MediaRefusal),
    /// The leg to Meta's relay broke.
    MediaFailed(MediaFailure),
    /// Nobody sent media any more (rule 20).
    NoMedia,
    /// The longest allowed call was reached (rule 20).
    TooLong,
    /// The store cannot be written.
    StoreDown,
    /// The product is stopping.
    Stopping,
    /// The process died during the call; found at the next start (rule 27).
    Orphaned,
    /// A bug of ours, caught in this call alone.
    Panic,
}

/// Whose doing the end of a call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The WhatsApp user.
    User,
    /// The phone, its user, or the PBX.
    Phone,
    /// Meta.
    Meta,
    /// A rule, Meta's or the house's.
    Policy,
    /// This product or its machine.
    Us,
}

impl Fault {
    /// The word in records and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Phone => "phone",
            Self::Meta => "meta",
            Self::Policy => "policy",
            Self::Us => "us",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The word in records and metric labels.
    pub label: &'static str,
    /// Whose doing it was.
    pub fault: Fault,
    /// The status for a phone whose INVITE is refused.
    pub sip: u16,
    /// The reason phrase, short enough for a phone's display (rule 9).
    pub phrase: &'static str,
    /// The Q.850 cause of the Reason header (RFC 3326).
    pub q850: u8,
    /// What the operator should do; also the text of `Warning: 399`.
    pub advice: &'static str,
}

use Fault::{Meta, Phone, Policy, Us, User};

impl HangupCause {
    /// This cause's row.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Denied(reason) => denied(reason),
            Self::Meta(meaning) => meta(meaning),
            Self::MediaRefused(refusal) => media_refused(refusal),
            Self::MediaFailed(failure) => media_failed(failure),
            Self::PhoneHungUp
            | Self::PhoneCancelled
            | Self::PhoneBusy
            | Self::PhoneDeclined
            | Self::PhoneUnanswered
            | Self::PhoneUnreachable
            | Self::PhoneFailed
            | Self::PhoneMediaRefused
            | Self::PhoneLost => phone(self),
            other => plain(other),
        }
    }

    /// Every cause once, in the order of the table.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::UserHungUp,
            Self::UserCancelled,
            Self::UserRejected,
            Self::UserUnanswered,
            Self::PhoneHungUp,
            Self::PhoneCancelled,
            Self::PhoneBusy,
            Self::PhoneDeclined,
            Self::PhoneUnanswered,
            Self::PhoneUnreachable,
            Self::PhoneFailed,
            Self::PhoneMediaRefused,
            Self::PhoneLost,
            Self::Crossed,
            Self::NotDialable,
            Self::NotAllowed,
            Self::Emergency,
            Self::MetaSilent,
            Self::GraphTimedOut,
            Self::GraphUnreachable,
            Self::GraphUnreadable,
            Self::NoMedia,
            Self::TooLong,
            Self::StoreDown,
            Self::Stopping,
            Self::Orphaned,
            Self::Panic,
        ];
        all.extend(DenialReason::ALL.iter().map(|reason| Self::Denied(*reason)));
        all.extend(Meaning::ALL.iter().map(|meaning| Self::Meta(*meaning)));
        all.extend(
            [
                MediaRefusal::NoPorts,
                MediaRefusal::MetaOffer,
                MediaRefusal::PhoneOffer,
                MediaRefusal::Unavailable,
            ]
            .map(Self::MediaRefused),
        );
        all.extend(
            [
                MediaFailure::Ice,
                MediaFailure::Dtls,
                MediaFailure::Fingerprint,
                MediaFailure::Consent,
                MediaFailure::Panic,
            ]
            .map(Self::MediaFailed),
        );
        all
    }
}

const fn row(
    label: &'static str,
    fault: Fault,
    sip: u16,
    phrase: &'static str,
    q850: u8,
    advice: &'static str,
) -> Verdict {
    Verdict { label, fault, sip, phrase, q850, advice }
}

const fn plain(cause: HangupCause) -> Verdict {
    use HangupCause as C;
    match cause {
        C::UserHungUp => row("user_hung_up", User, 480, "User hung up", 16, "Nothing: an ordinary end."),
        C::UserCancelled => row(
            "user_cancelled",
            User,
            487,
            "User gave up",
            16,
            "Call back; look at the ring targets if many give up.",
        ),
        C::UserRejected => row(
            "user_rejected",
            User,
            486,
            "User declined",
            21,
            "Four misses in a row lose the permission: wait.",
        ),
        C::UserUnanswered => row(
            "user_unanswered",
            User,
            480,
            "No answer",
            19,
            "Four misses in a row lose the permission: wait.",
        ),
        C::Crossed => row(
            "crossed",
            User,
            487,
            "User calls you",
            16,
            "Nothing: the phone talks on the user's own call.",
        ),
        C::NotDialable => row(
            "not_dialable",
            Policy,
            404,
            "Number unknown",
            1,
            "Dial prefix and country code; see `dial` of the number.",
        ),
        C::NotAllowed => row(
            "not_allowed",
            Policy,
            403,
            "Not allowed here",
            21,
            "Add the phone or trunk to `dial` of the business number.",
        ),
        C::Emergency => row(
            "emergency",
            Policy,
            403,
            "No emergency calls",
            21,
            "WhatsApp reaches no emergency service: use another line.",
        ),
        C::MetaSilent => row(
            "meta_silent",
            Meta,
            503,
            "WhatsApp no answer",
            102,
            "Check that webhooks of the field `calls` arrive.",
        ),
        C::GraphTimedOut => row(
            "graph_timed_out",
            Meta,
            503,
            "WhatsApp too slow",
            102,
            "Check the way out to Graph; Meta's status page.",
        ),
        C::GraphUnreachable => row(
            "graph_unreachable",
            Meta,
            503,
            "WhatsApp down",
            38,
            "Check DNS, the firewall and the way out to Graph.",
        ),
        C::GraphUnreadable => row(
            "graph_unreadable",
            Meta,
            503,
            "WhatsApp error",
            38,
            "Compare `graph.version` with Meta's supported versions.",
        ),
        C::NoMedia => {
            row("no_media", Us, 480, "No audio", 31, "Check the media addresses and UDP ports on both sides.")
        }
        C::TooLong => row(
            "too_long",
            Policy,
            480,
            "Call too long",
            31,
            "Raise `calls.max_duration` if such calls are meant.",
        ),
        C::StoreDown => {
            row("store_down", Us, 503, "Database down", 41, "Check the disk and the store's file.")
        }
        C::Stopping => row("stopping", Us, 503, "Restarting", 41, "Nothing: the gateway was stopped."),
        C::Orphaned => row(
            "orphaned",
            Us,
            503,
            "Restarted",
            41,
            "The process died during the call: look for the reason.",
        ),
        // `verdict` sends every other cause elsewhere; what is left is our own fault.
        _ => {
            row("panic", Us, 500, "Gateway error", 41, "A bug of ours: report it with the log of this call.")
        }
    }
}

const fn phone(cause: HangupCause) -> Verdict {
    use HangupCause as C;
    match cause {
        C::PhoneHungUp => row("phone_hung_up", Phone, 480, "Phone hung up", 16, "Nothing: an ordinary end."),
        C::PhoneCancelled => {
            row("phone_cancelled", Phone, 487, "Cancelled", 16, "Nothing: the caller gave up.")
        }
        C::PhoneBusy => {
            row("phone_busy", Phone, 486, "Busy", 17, "Add a ring target to the business number.")
        }
        C::PhoneDeclined => row("phone_declined", Phone, 603, "Declined", 21, "Nothing: somebody declined."),
        C::PhoneUnanswered => row(
            "phone_unanswered",
            Phone,
            480,
            "No answer",
            19,
            "Meta watches the pick-up rate: add ring targets.",
        ),
        C::PhoneUnreachable => row(
            "phone_unreachable",
            Phone,
            480,
            "Phone offline",
            20,
            "No ring target is registered or answers; see `/readyz`.",
        ),
        C::PhoneMediaRefused => {
            row("phone_media_refused", Phone, 488, "No common codec", 88, "Enable PCMU or PCMA on the phone.")
        }
        C::PhoneLost => row(
            "phone_lost",
            Phone,
            480,
            "Phone lost",
            102,
            "The phone's ACK never came: check NAT and firewall.",
        ),
        _ => row(
            "phone_failed",
            Phone,
            480,
            "Phone error",
            41,
            "Look at the phone's or PBX's status in the log.",
        ),
    }
}

const fn denied(reason: DenialReason) -> Verdict {
    use DenialReason as D;
    match reason {
        D::NoPermission => row(
            "no_permission",
            Policy,
            403,
            "No permission",
            21,
            "Send the user a call permission request first.",
        ),
        D::PermissionExpired => row(
            "permission_expired",
            Policy,
            403,
            "Permission over",
            21,
            "The seven days are over: ask the user again.",
        ),
        D::NumberCap => row(
            "number_cap",
            Policy,
            403,
            "Daily limit",
            21,
            "The number's cap per 24 h is reached; `cap_per_number`.",
        ),
        D::PairCap => {
            row("pair_cap", Policy, 403, "User limit", 21, "Meta allows no more calls to this user in 24 h.")
        }
        D::OneCallPerPair => {
            row("pair_busy", Policy, 486, "Already in call", 17, "A call with this user is up.")
        }
        D::Concurrent => row(
            "concurrent_cap",
            Policy,
            503,
            "Lines full",
            34,
            "Meta's concurrent calls of the number are used up.",
        ),
        D::Initiations => row(
            "initiation_cap",
            Policy,
            403,
            "Dial limit",
            21,
            "Meta's 10,000 attempts per 24 h are used up.",
        ),
        D::CountryBlocked => row(
            "country_blocked",
            Policy,
            403,
            "Country blocked",
            21,
            "Meta offers no outbound calls for numbers of this country.",
        ),
        D::StoreDown => {
            row("store_down", Us, 503, "Database down", 41, "Check the disk and the store's file.")
        }
    }
}

const fn media_refused(refusal: MediaRefusal) -> Verdict {
    match refusal {
        MediaRefusal::NoPorts => {
            row("no_ports", Us, 503, "No ports left", 34, "Widen the port range of the realm in `[media]`.")
        }
        MediaRefusal::MetaOffer => row(
            "meta_sdp",
            Meta,
            488,
            "WhatsApp SDP",
            88,
            "Report it with the masked session description of the log.",
        ),
        MediaRefusal::PhoneOffer => {
            row("phone_media_refused", Phone, 488, "No common codec", 88, "Enable PCMU or PCMA on the phone.")
        }
        MediaRefusal::Unavailable => {
            row("media_down", Us, 503, "Gateway busy", 41, "A media worker is gone: restart; report it.")
        }
    }
}

const fn media_failed(failure: MediaFailure) -> Verdict {
    match failure {
        MediaFailure::Ice => row(
            "ice_failed",
            Us,
            503,
            "No media path",
            27,
            "Open outbound UDP to Meta's relays; check `advertised`.",
        ),
        MediaFailure::Dtls => row(
            "dtls_failed",
            Us,
            503,
            "No secure media",
            27,
            "Check the clock; report it with the log of this call.",
        ),
        MediaFailure::Fingerprint => row(
            "fingerprint_mismatch",
            Meta,
            503,
            "No secure media",
            27,
            "Somebody stands between us and Meta's relay.",
        ),
        MediaFailure::Consent => {
            row("consent_lost", Meta, 480, "Path lost", 27, "The path to Meta's relay broke for 30 s.")
        }
        MediaFailure::Panic => row(
            "media_panic",
            Us,
            500,
            "Gateway error",
            41,
            "A bug of ours: report it with the log of this call.",
        ),
    }
}

const fn meta(meaning: Meaning) -> Verdict {
    use Meaning as M;
    match meaning {
        M::NoPermission | M::PermissionRequestLimit | M::PermanentPermissionExists | M::NoConversation => {
            meta_permission(meaning)
        }
        M::NotCallable => row(
            "meta_not_callable",
            Meta,
            404,
            "Not on WhatsApp",
            1,
            "The user has no WhatsApp or an old client.",
        ),
        M::AlreadyInCall => {
            row("meta_pair_busy", Meta, 486, "Already in call", 17, "A call with this user is up.")
        }
        M::DailyCallLimit => row(
            "meta_pair_cap",
            Meta,
            403,
            "User limit",
            21,
            "Meta allows no more calls to this user in 24 h.",
        ),
        M::CountryUnavailable => row(
            "meta_country",
            Meta,
            403,
            "Country blocked",
            21,
            "Meta offers no outbound calls for numbers of this country.",
        ),
        M::CallingNotEnabled
        | M::NotSubscribed
        | M::MessagingLimitTooLow
        | M::NumberInSipMode
        | M::NoSipServer => meta_setup(meaning),
        M::ConcurrentCallsLimit => {
            row("meta_concurrent", Meta, 503, "Lines full", 34, "Meta's concurrent calls are used up.")
        }
        M::CallRateLimit => {
            row("meta_call_rate", Meta, 503, "Dial limit", 42, "Meta's attempts per 24 h are used up.")
        }
        M::PausedForQuality => row(
            "meta_paused",
            Meta,
            503,
            "Calling paused",
            42,
            "Meta paused calling: too many users complained.",
        ),
        M::Throttled | M::PermissionQueryLimit => {
            row("meta_throttled", Meta, 503, "WhatsApp busy", 42, "Too many Graph requests: slow down.")
        }
        M::TemporaryFault | M::ConnectionError => {
            row("meta_fault", Meta, 503, "WhatsApp error", 41, "Meta has a fault that may pass; try again.")
        }
        M::TokenInvalid | M::AccessDenied => row(
            "meta_token",
            Us,
            500,
            "Token refused",
            41,
            "Renew `access_token`; it needs whatsapp_business_messaging.",
        ),
        M::InvalidParameter => {
            row("meta_parameter", Us, 500, "WhatsApp refused", 41, "Report it with the log of this call.")
        }
        M::SdpInvalid => {
            row("meta_sdp_refused", Us, 488, "WhatsApp SDP", 88, "Report it with the log of this call.")
        }
        M::NotOnAllowList => row(
            "meta_allow_list",
            Policy,
            403,
            "Test number",
            21,
            "Add the user to the test number's allow list.",
        ),
        M::PaymentMissing => row(
            "meta_payment",
            Policy,
            403,
            "Payment missing",
            21,
            "Add a payment method to the account at Meta.",
        ),
        M::ConnectTimeout => row(
            "meta_connect_timeout",
            Us,
            408,
            "WhatsApp timeout",
            102,
            "Check outbound UDP and `advertised`.",
        ),
        _ => meta_client(meaning),
    }
}

const fn meta_permission(meaning: Meaning) -> Verdict {
    use Meaning as M;
    match meaning {
        M::NoConversation => row(
            "meta_no_conversation",
            Policy,
            403,
            "No conversation",
            21,
            "Exchange messages first, then ask for permission.",
        ),
        M::PermissionRequestLimit => row(
            "meta_request_limit",
            Policy,
            403,
            "Asked too often",
            21,
            "One request in 24 h and two in 7 days.",
        ),
        M::PermanentPermissionExists => row(
            "meta_permission_exists",
            Policy,
            403,
            "Already allowed",
            21,
            "The permission is permanent: just call.",
        ),
        _ => row(
            "meta_no_permission",
            Policy,
            403,
            "No permission",
            21,
            "Send the user a call permission request first.",
        ),
    }
}

const fn meta_setup(meaning: Meaning) -> Verdict {
    use Meaning as M;
    match meaning {
        M::CallingNotEnabled => row(
            "meta_not_enabled",
            Policy,
            403,
            "Calling is off",
            21,
            "Enable calling in the number's settings at Meta.",
        ),
        M::NotSubscribed => row(
            "meta_not_subscribed",
            Policy,
            403,
            "Not subscribed",
            21,
            "Subscribe the app to the webhook field `calls`.",
        ),
        M::MessagingLimitTooLow => row(
            "meta_tier",
            Policy,
            403,
            "Tier too low",
            21,
            "Calling needs a messaging limit of 2,000 per day.",
        ),
        M::NoSipServer => {
            row("meta_no_sip_server", Policy, 403, "No SIP server", 21, "Only of interest in SIP mode.")
        }
        _ => row(
            "meta_sip_mode",
            Us,
            500,
            "Number in SIP mode",
            41,
            "Disable `sip.status` of the number at Meta.",
        ),
    }
}

/// What the user's client reported, and codes nobody has described.
const fn meta_client(meaning: Meaning) -> Verdict {
    use Meaning as M;
    match meaning {
        M::ClientSetupFailed => {
            row("client_setup_failed", User, 480, "User's app failed", 41, "Nothing here: the user's client.")
        }
        M::RelayUnreachable => {
            row("client_no_relay", User, 480, "User offline", 41, "Nothing here: the user's network.")
        }
        M::NoMediaReceived => row(
            "user_heard_nothing",
            Us,
            480,
            "User heard nothing",
            31,
            "Our media did not arrive: check UDP and `advertised`.",
        ),
        M::NoMediaSent => {
            row("user_sent_nothing", User, 480, "User was silent", 31, "Nothing here: the user's client.")
        }
        M::NoMediaSignals => {
            row("no_media_signals", Meta, 480, "No media", 31, "Meta saw no media on either side.")
        }
        M::CallButtonUnsupported | M::Undeliverable | M::TemplateMissing => row(
            "meta_message",
            Meta,
            500,
            "WhatsApp refused",
            41,
            "An error of the messages API; no call should see it.",
        ),
        _ => row(
            "meta_unknown",
            Meta,
            500,
            "WhatsApp error",
            41,
            "A code nobody has described: see the log for it.",
        ),
    }
}
