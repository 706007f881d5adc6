//! What a caller can be told aloud, and how the API says the same.

use super::{CodeRefusal, HangupCause, Verdict};
use crate::call::input::{MediaFailure, MediaRefusal};
use crate::policy::{AskReason, DenialReason};
use crate::whatsapp::Meaning;

macro_rules! announcements {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $http:literal, $text:literal;)*) => {
        /// What a caller can be told aloud; the sound of a key is a file of the administrator's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Announcement {
            $($(#[$doc])* $name,)*
        }

        impl Announcement {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The key: the name of the sound.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// What it says, in English.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status of an API request that ends so (RFC 9110 §15).
            #[must_use]
            pub const fn http(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }
        }
    };
}

announcements! {
    /// An ordinary end.
    Ended = "ended", 200, "The call has ended.";
    /// The user must give leave first.
    NoPermission = "no_permission", 403, "This person has not allowed calls from us yet.";
    /// A request is on its way.
    Asked = "asked", 202, "The request has been sent. Your phone rings when the person accepts.";
    /// The user was asked as often as is allowed.
    AskedTooOften = "asked_too_often", 429, "This person has been asked already. Please wait.";
    /// A limit is reached.
    Limit = "limit", 429, "The limit of calls is reached for now.";
    /// All lines are in use.
    LinesFull = "lines_full", 503, "All lines are in use. Please try again.";
    /// A call with the user is up.
    Busy = "busy", 409, "The line is busy.";
    /// Nobody answered.
    NoAnswer = "no_answer", 408, "Nobody answers.";
    /// Somebody declined.
    Declined = "declined", 409, "The call was declined.";
    /// The user did not take the last calls.
    Unanswered = "unanswered", 403, "This person did not take the last calls. Somebody has to decide before the next one.";
    /// The user cannot be reached on WhatsApp.
    NotOnWhatsApp = "not_on_whatsapp", 404, "This number cannot be called on WhatsApp.";
    /// The digits lead nowhere.
    WrongNumber = "wrong_number", 404, "This number is not known.";
    /// Calls are not allowed from here, or to there.
    NotAllowed = "not_allowed", 403, "This call is not allowed.";
    /// Emergency numbers cannot be reached.
    Emergency = "emergency", 403, "Emergency services cannot be reached from here. Use another line.";
    /// Closed.
    Closed = "closed", 403, "Calls wait for business hours.";
    /// Something is down that will come back.
    TryLater = "try_later", 503, "The service is not available at the moment. Please try again later.";
    /// Something is broken that somebody must mend.
    Fault = "fault", 500, "The call failed. Please tell the administrator.";
}

/// A problem of the API (RFC 9457).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The `type`, a reference below the API's address: `/problems/` and this.
    pub kind: &'static str,
    /// The `title`.
    pub title: &'static str,
    /// The `status`.
    pub status: u16,
    /// The `detail`: what to do.
    pub detail: &'static str,
}

impl HangupCause {
    /// What the caller can be told aloud.
    #[must_use]
    pub const fn announcement(self) -> Announcement {
        use Announcement as A;
        match self {
            Self::UserHungUp | Self::PhoneHungUp | Self::Crossed | Self::TooLong | Self::Transferred => {
                A::Ended
            }
            Self::UserCancelled | Self::PhoneCancelled => A::Ended,
            Self::UserRejected | Self::PhoneDeclined => A::Declined,
            Self::UserUnanswered | Self::PhoneUnanswered | Self::TransferFailed => A::NoAnswer,
            Self::PhoneBusy => A::Busy,
            Self::PhoneUnreachable | Self::PhoneFailed | Self::PhoneLost | Self::SessionExpired => {
                A::TryLater
            }
            Self::NotDialable => A::WrongNumber,
            Self::Code(refusal) => match refusal {
                CodeRefusal::NotYours => A::NotAllowed,
                CodeRefusal::NoParkingPlace => A::Busy,
                CodeRefusal::Unknown
                | CodeRefusal::NothingRings
                | CodeRefusal::NothingToPark
                | CodeRefusal::NothingParked
                | CodeRefusal::NothingToNote
                | CodeRefusal::NoSuchOutcome
                | CodeRefusal::NobodyToCallBack
                | CodeRefusal::NoMessages => A::WrongNumber,
            },
            Self::Voicemail | Self::Announced => A::NoAnswer,
            Self::NotAllowed => A::NotAllowed,
            Self::NotFetched => A::NoAnswer,
            Self::PhoneCapped | Self::AllCapped => A::Limit,
            Self::Closed => A::Closed,
            Self::Ordered => A::Ended,
            Self::Emergency => A::Emergency,
            Self::Asked => A::Asked,
            Self::AskDenied(reason) => asking(reason),
            Self::Denied(reason) => denied(reason),
            Self::Meta(meaning) => meta(meaning),
            Self::MetaSilent | Self::GraphTimedOut | Self::GraphUnreachable | Self::GraphUnreadable => {
                A::TryLater
            }
            Self::StoreDown | Self::Stopping | Self::Orphaned => A::TryLater,
            Self::Overloaded => A::LinesFull,
            Self::MediaRefused(MediaRefusal::NoPorts) => A::LinesFull,
            Self::MediaRefused(_) | Self::PhoneMediaRefused | Self::NoMedia | Self::Panic => A::Fault,
            Self::MediaFailed(MediaFailure::Consent) => A::TryLater,
            Self::MediaFailed(_) => A::Fault,
        }
    }

    /// How the API says it.
    #[must_use]
    pub const fn problem(self) -> Problem {
        let Verdict { label, phrase, advice, .. } = self.verdict();
        Problem { kind: label, title: phrase, status: self.announcement().http(), detail: advice }
    }
}

const fn denied(reason: DenialReason) -> Announcement {
    use Announcement as A;
    use DenialReason as D;
    match reason {
        D::NoPermission | D::PermissionExpired | D::PermissionRevoked => A::NoPermission,
        D::NumberCap | D::PairCap | D::Initiations => A::Limit,
        D::OneCallPerPair => A::Busy,
        D::Concurrent => A::LinesFull,
        D::CountryBlocked | D::Barred | D::Restricted => A::NotAllowed,
        D::Unanswered => A::Unanswered,
        D::OutsideHours => A::Closed,
        D::StoreDown => A::TryLater,
    }
}

const fn asking(reason: AskReason) -> Announcement {
    use Announcement as A;
    match reason {
        AskReason::ShortLimit | AskReason::LongLimit => A::AskedTooOften,
        AskReason::Needless | AskReason::Restricted | AskReason::CountryBlocked | AskReason::NoTemplate => {
            A::NotAllowed
        }
    }
}

const fn meta(meaning: Meaning) -> Announcement {
    use Announcement as A;
    use Meaning as M;
    match meaning {
        M::NoPermission | M::NoConversation => A::NoPermission,
        M::PermissionRequestLimit => A::AskedTooOften,
        M::DailyCallLimit | M::CallRateLimit => A::Limit,
        M::ConcurrentCallsLimit => A::LinesFull,
        M::AlreadyInCall => A::Busy,
        M::NotCallable | M::Undeliverable => A::NotOnWhatsApp,
        M::CountryUnavailable | M::NotOnAllowList | M::PausedForQuality | M::PermanentPermissionExists => {
            A::NotAllowed
        }
        M::Throttled
        | M::PermissionQueryLimit
        | M::TemporaryFault
        | M::ConnectionError
        | M::ConnectTimeout => A::TryLater,
        M::ClientSetupFailed | M::RelayUnreachable => A::NoAnswer,
        M::NoMediaReceived | M::NoMediaSent | M::NoMediaSignals => A::Ended,
        M::TokenInvalid
        | M::AccessDenied
        | M::InvalidParameter
        | M::SdpInvalid
        | M::PaymentMissing
        | M::CallingNotEnabled
        | M::NotSubscribed
        | M::MessagingLimitTooLow
        | M::NoSipServer
        | M::NumberInSipMode
        | M::CallButtonUnsupported
        | M::TemplateMissing
        | M::WindowShut
        | M::Unknown(_) => A::Fault,
    }
}
