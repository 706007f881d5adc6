//! Why a call ended and whose doing it was: the one verdict table of the product.
//!
//! Each [`HangupCause`] has one [`Verdict`]: what the phone is told, what the records and metrics
//! say, and what an operator should do. A test prints the table into the README.

mod announcement;
mod code;
mod sip_mode;
mod table;

pub use announcement::{Announcement, Problem};
pub use code::CodeRefusal;

use crate::call::input::{MediaFailure, MediaRefusal};
use crate::policy::{AskReason, DenialReason};
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
    /// The phone is no longer heard of: nobody refreshed the session (RFC 4028).
    SessionExpired,
    /// The phone handed the call over and hung up; nobody took it, and the phone did not come back.
    TransferFailed,
    /// The call was parked; nobody fetched it or took it back.
    NotFetched,
    /// The call's other side talks on in another call (attended transfer), to which its phone was handed.
    Transferred,
    /// The user called at the same moment; the phone talks on that call.
    Crossed,
    /// A rule forbids the call.
    Denied(DenialReason),
    /// The phone asked for a permission request: it is sent, and the phone rings when the user accepts.
    Asked,
    /// A rule forbids the permission request.
    AskDenied(AskReason),
    /// The dialled digits lead nowhere.
    NotDialable,
    /// The phone may not use this business number.
    NotAllowed,
    /// The phone has, or has begun, as many calls as it may.
    PhoneCapped,
    /// All phones and trunks together have, or have begun, as many calls as they may.
    AllCapped,
    /// An emergency number was dialled (rule 10).
    Emergency,
    /// What a feature code was dialled for cannot be done.
    Code(CodeRefusal),
    /// Nobody took the call; the gateway answered it for a message.
    Voicemail,
    /// Nobody took the call; the gateway answered it and said so.
    Announced,
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
    /// The user called outside the number's hours.
    Closed,
    /// The longest allowed call was reached (rule 20).
    TooLong,
    /// The store cannot be written.
    StoreDown,
    /// The media threads are full.
    Overloaded,
    /// The product is stopping.
    Stopping,
    /// Somebody who looks after the gateway ended it, by the API.
    Ordered,
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

impl HangupCause {
    /// This cause's row.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        table::verdict(self)
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
            Self::SessionExpired,
            Self::TransferFailed,
            Self::NotFetched,
            Self::Transferred,
            Self::Crossed,
            Self::Asked,
            Self::NotDialable,
            Self::NotAllowed,
            Self::PhoneCapped,
            Self::AllCapped,
            Self::Emergency,
        ];
        all.extend(CodeRefusal::ALL.map(Self::Code));
        all.extend([
            Self::Voicemail,
            Self::Announced,
            Self::MetaSilent,
            Self::GraphTimedOut,
            Self::GraphUnreachable,
            Self::GraphUnreadable,
            Self::NoMedia,
            Self::Closed,
            Self::TooLong,
            Self::StoreDown,
            Self::Overloaded,
            Self::Stopping,
            Self::Ordered,
            Self::Orphaned,
            Self::Panic,
        ]);
        all.extend(DenialReason::ALL.iter().map(|reason| Self::Denied(*reason)));
        all.extend(AskReason::ALL.map(Self::AskDenied));
        all.extend(Meaning::ALL.iter().map(|meaning| Self::Meta(*meaning)));
        all.extend(
            [
                MediaRefusal::NoPorts,
                MediaRefusal::MetaOffer,
                MediaRefusal::PhoneOffer,
                MediaRefusal::PhoneUnencrypted,
                MediaRefusal::PhoneReadableKeys,
                MediaRefusal::PhoneEncryption,
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

/// The table as Markdown, for the README. The API's problem type is `/problems/` and the label.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "| label | whose doing | SIP | phrase | Q.850 | HTTP | announcement | what to do |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for cause in HangupCause::all() {
        let Verdict { label, fault, sip, phrase, q850, advice } = cause.verdict();
        let code = match cause {
            HangupCause::Meta(meaning) => format!(" ({})", meaning.code()),
            _ => String::new(),
        };
        let fault = fault.as_str();
        let said = cause.announcement();
        let (http, key) = (said.http(), said.key());
        let row = format!(
            "| `{label}`{code} | {fault} | {sip} | {phrase} | {q850} | {http} | `{key}` | {advice} |\n"
        );
        out.push_str(&row);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_9_denials_never_look_like_a_dead_line_and_outages_always_do() {
        for reason in DenialReason::ALL.iter().copied() {
            let verdict = HangupCause::Denied(reason).verdict();
            match reason {
                DenialReason::StoreDown | DenialReason::Concurrent => assert_eq!(verdict.sip, 503),
                DenialReason::OneCallPerPair => assert_eq!((verdict.sip, verdict.q850), (486, 17)),
                _ => assert_eq!((verdict.sip, verdict.q850), (403, 21), "{reason:?}"),
            }
        }
        for reason in AskReason::ALL {
            assert_eq!(HangupCause::AskDenied(reason).verdict().sip, 403);
        }
        for cause in [
            HangupCause::GraphTimedOut,
            HangupCause::GraphUnreachable,
            HangupCause::MetaSilent,
            HangupCause::Overloaded,
        ] {
            assert_eq!(cause.verdict().sip, 503);
        }
    }

    /// The calling codes of the reference's table §7.2, and those of the messages that ask for permission.
    const REFERENCE: &[i64] = &[
        100, 613, 131_009, 131_026, 131_030, 131_044, 131_055, 132_001, 138_000, 138_001, 138_002, 138_003,
        138_004, 138_005, 138_006, 138_007, 138_008, 138_009, 138_011, 138_012, 138_013, 138_014, 138_015,
        138_017, 138_018, 138_019, 138_020, 138_021, 138_022, 138_023, 138_024, 138_025,
    ];

    #[test]
    fn every_code_of_the_reference_has_a_row_and_every_row_all_its_columns() {
        for code in REFERENCE {
            let cause = HangupCause::Meta(Meaning::from_code(*code));
            assert_ne!(cause.verdict().label, "meta_unknown", "{code} has no row");
        }
        for cause in HangupCause::all() {
            let (verdict, problem) = (cause.verdict(), cause.problem());
            assert_eq!((problem.kind, problem.title), (verdict.label, verdict.phrase));
            assert!((200..600).contains(&problem.status), "{cause:?}");
            assert!(!cause.announcement().key().is_empty() && !verdict.advice.is_empty(), "{cause:?}");
        }
    }

    /// Calling enabled, the webhook subscribed, a messaging limit of 2,000, a payment method, no SIP mode, a number of a
    /// country with such calls: whoever lacks one is told which, and what to do.
    #[test]
    fn b19_a_prerequisite_that_is_missing_is_named_with_its_remedy() {
        let prerequisites = [
            (138_000, "Enable calling"),
            (138_018, "Subscribe the app"),
            (138_015, "messaging limit of 2,000"),
            (131_044, "payment method"),
            (131_055, "sip.status"),
            (138_013, "country"),
        ];
        for (code, remedy) in prerequisites {
            let verdict = HangupCause::Meta(Meaning::from_code(code)).verdict();
            assert!(verdict.advice.contains(remedy), "{code}: {}", verdict.advice);
            assert_ne!(verdict.sip, 503, "{code}: a PBX would try elsewhere");
        }
    }

    #[test]
    fn one_label_means_one_thing() {
        let mut rows = std::collections::BTreeMap::new();
        for cause in HangupCause::all() {
            let verdict = cause.verdict();
            let known = rows.entry(verdict.label).or_insert(verdict);
            assert_eq!(*known, verdict, "{cause:?}");
        }
    }

    #[test]
    fn every_verdict_fits_a_phone_and_a_header() {
        for cause in HangupCause::all() {
            let verdict = cause.verdict();
            assert!((300..700).contains(&verdict.sip), "{cause:?}");
            assert!(verdict.phrase.len() <= 18 && verdict.phrase.is_ascii(), "{}", verdict.phrase);
            assert!((1..=127).contains(&verdict.q850), "{cause:?}");
            assert!(verdict.advice.is_ascii() && !verdict.advice.contains(['"', '\\']), "{}", verdict.advice);
            assert!(verdict.label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", verdict.label);
        }
    }
}
