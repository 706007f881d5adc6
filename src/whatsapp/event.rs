//! What webhooks tell, as values.

use std::fmt;
use std::time::Duration;

use super::account::AccountNotice;
use super::error::Meaning;
use super::sound::KeptSound;
use crate::id::{PhoneNumberId, WaCallId};
use crate::masked::Masked;
use crate::time::Wall;
use crate::user::UserId;

/// One thing a webhook told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something happened to a call (field `calls`, reference §9.5-9.8).
    Call(CallEvent),
    /// A user granted, declined or lost a permission (field `messages`, reference §9.11).
    Permission(PermissionReply),
    /// A user wrote something; what it says is not read (field `messages`).
    Wrote(UserMessage),
    /// Meta warns of the account's quality, or restricts it (reference §9.13).
    Account(AccountNotice),
    /// Anything else: the webhook field, and behind a slash what it was.
    Other {
        /// `messages`, `account_update/ACCOUNT_RESTRICTION`, `calls/call_created`, …
        field: String,
    },
}

/// Something that happened to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEvent {
    /// The business number concerned.
    pub number: PhoneNumberId,
    /// Meta's id of the call.
    pub call: WaCallId,
    /// Meta's time stamp, whole seconds; when we received it, if Meta wrote none that can be read.
    pub at: Wall,
    /// The WhatsApp user, as far as Meta names one.
    pub user: Option<UserId>,
    /// `biz_opaque_callback_data`, as we sent it with `connect` or `accept`.
    pub opaque: Option<String>,
    /// What happened.
    pub kind: CallEventKind,
}

/// What happened to a call.
#[derive(Clone, PartialEq, Eq)]
pub enum CallEventKind {
    /// A user calls the business: `connect` with an SDP offer.
    UserCalled {
        /// Meta's SDP offer, verbatim.
        offer: String,
        /// The user's profile name.
        name: Option<Masked<String>>,
        /// The user's username.
        username: Option<Masked<String>>,
        /// The payload of the call button; the user could have written anything into it.
        cta_payload: Option<String>,
        /// The payload of the deep link; the user could have written anything into it.
        deeplink_payload: Option<String>,
    },
    /// Meta applied our offer: `connect` with an SDP answer. The user has *not* answered yet.
    Answered {
        /// Meta's SDP answer, verbatim.
        sdp: String,
    },
    /// Status `RINGING`.
    Rang,
    /// Status `ACCEPTED`; may come late or never.
    Accepted,
    /// Status `REJECTED`; a `terminate` follows.
    Rejected,
    /// `terminate`: the call is over, whoever ended it.
    Terminated(Termination),
}

/// SDP carries ICE passwords, payloads what users wrote: both print as lengths.
impl fmt::Debug for CallEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserCalled { offer, name, .. } => {
                write!(f, "UserCalled {{ offer: {} bytes, name: {name:?} }}", offer.len())
            }
            Self::Answered { sdp } => write!(f, "Answered {{ sdp: {} bytes }}", sdp.len()),
            Self::Rang => f.write_str("Rang"),
            Self::Accepted => f.write_str("Accepted"),
            Self::Rejected => f.write_str("Rejected"),
            Self::Terminated(termination) => fmt::Debug::fmt(termination, f),
        }
    }
}

impl CallEventKind {
    /// The word Meta uses for it: the `event` of `calls[]`, the `status` of `statuses[]`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::UserCalled { .. } | Self::Answered { .. } => "connect",
            Self::Rang => "RINGING",
            Self::Accepted => "ACCEPTED",
            Self::Rejected => "REJECTED",
            Self::Terminated(_) => "terminate",
        }
    }
}

/// How Meta judges a call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `COMPLETED`; an unanswered call is completed too.
    Completed,
    /// `FAILED`; the errors say why.
    Failed,
}

/// What `terminate` tells (reference §9.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Meta's judgement.
    pub outcome: Outcome,
    /// When the call was picked up, if it was.
    pub start: Option<Wall>,
    /// When it ended, if it was picked up.
    pub end: Option<Wall>,
    /// How long it was up, in whole seconds; billing counts this. `None`: not picked up.
    pub duration: Option<Duration>,
    /// Why it failed.
    pub errors: Vec<Meaning>,
}

/// A message of a user, as far as calls are concerned: it opens the conversation window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMessage {
    /// Id of the message (`wamid.…`), not empty.
    pub id: String,
    /// The business number that it was written to.
    pub number: PhoneNumberId,
    /// Who wrote.
    pub user: UserId,
    /// When.
    pub at: Wall,
    /// What the user has said to Meta's voicemail. The id of the message is the call's then (`wacid.…`, reference §5.3).
    pub voicemail: Option<KeptSound>,
}

/// A user's word about being called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionReply {
    /// Id of the message (`wamid.…`), by which a repetition is known; may be empty.
    pub id: String,
    /// The business number that may or may not call.
    pub number: PhoneNumberId,
    /// The user.
    pub user: UserId,
    /// When the user said so.
    pub at: Wall,
    /// What the user said.
    pub response: PermissionResponse,
    /// Whether a person or a rule of Meta's said it.
    pub source: ReplySource,
    /// Id of the request (`wamid.…`) or of the call (`wacid.…`) it belongs to.
    pub context: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionResponse {
    /// The business may call.
    Granted {
        /// Until when; `None` means until revoked.
        until: Option<Wall>,
    },
    /// The business may not call.
    Declined,
}

/// Who is behind a permission reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplySource {
    /// The user pressed something.
    UserAction,
    /// Meta: the callback permission of a user's call, or the end after 4 unanswered calls.
    Automatic,
}

impl ReplySource {
    /// Meta's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserAction => "user_action",
            Self::Automatic => "automatic",
        }
    }
}

impl Event {
    /// By what a repetition of the same event is known (reference §9.3); `None` for [`Event::Other`].
    ///
    /// Calls by (id, event or status); replies by message id, or by content where Meta sent none.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Call(event) => Some(call_key(&event.call, event.kind.word())),
            Self::Permission(reply) if reply.id.is_empty() => {
                let user = reply.user.scoped().map_or_else(
                    || reply.user.phone().map_or("", crate::user::Msisdn::digits),
                    crate::user::Bsuid::as_str,
                );
                let word = match reply.response {
                    PermissionResponse::Granted { .. } => "accept",
                    PermissionResponse::Declined => "reject",
                };
                Some(format!("permission {} {user} {} {word}", reply.number, reply.at.millis()))
            }
            Self::Permission(reply) => Some(format!("permission {} {}", reply.number, reply.id)),
            Self::Wrote(message) => Some(format!("message {} {}", message.number, message.id)),
            Self::Account(notice) => Some(notice.key()),
            Self::Other { .. } => None,
        }
    }
}

/// The key of a call's event; `word` as in [`CallEventKind::word`].
#[must_use]
pub fn call_key(call: &WaCallId, word: &str) -> String {
    format!("call {call} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Msisdn;

    fn reply(id: &str) -> PermissionReply {
        PermissionReply {
            id: id.into(),
            number: "108911223344556".into(),
            user: UserId::Phone(Msisdn::parse("5521955500123").expect("digits")),
            at: Wall::from_secs(1_791_899_000),
            response: PermissionResponse::Declined,
            source: ReplySource::Automatic,
            context: None,
        }
    }

    #[test]
    fn a_reply_without_a_message_id_is_known_by_what_it_says() {
        let first = Event::Permission(reply(""));
        let other = Event::Permission(PermissionReply { at: Wall::from_secs(1_791_899_001), ..reply("") });
        assert_eq!(first.key(), Event::Permission(reply("")).key());
        assert_ne!(first.key(), other.key());
        assert_ne!(first.key(), Event::Permission(reply("wamid.A")).key());
    }

    #[test]
    fn no_sdp_and_no_payload_is_printed() {
        let kind = CallEventKind::UserCalled {
            offer: "a=ice-pwd:secret".into(),
            name: Some(Masked::new("Ana Maria".into())),
            username: None,
            cta_payload: Some("my PIN".into()),
            deeplink_payload: None,
        };
        assert_eq!(format!("{kind:?}"), "UserCalled { offer: 16 bytes, name: Some(***ia) }");
        assert_eq!(
            format!("{:?}", CallEventKind::Answered { sdp: "a=ice-pwd:x".into() }),
            "Answered { sdp: 11 bytes }"
        );
    }
}
