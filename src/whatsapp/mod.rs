//! What Meta says and what one may say to Meta: bytes in, values out; no clock, no socket.
//!
//! | file | holds |
//! | --- | --- |
//! | [`event`] | what webhooks tell, as values |
//! | [`webhook`] | signed body to events |
//! | [`mod@print`] | an event back to a webhook body, the form in which the store keeps it |
//! | [`action`] | the five actions of `POST /calls` |
//! | [`message`] | permission requests, call buttons and call links |
//! | [`account`] | Meta's warnings and restrictions |
//! | [`meta_voicemail`] | which calls Meta's own voicemail takes |
//! | [`permission`] | the answer of `GET /call_permissions` |
//! | [`settings`] | the calling settings of a number, and where they differ from the file |
//! | [`sound`] | sounds that Meta keeps |
//! | [`error`] | Graph's codes and their meanings, and how a request may end |

pub mod account;
pub mod action;
pub mod error;
pub mod event;
pub mod fuzz;
pub mod message;
pub mod meta_voicemail;
pub mod permission;
pub mod print;
pub mod settings;
pub mod sound;
pub mod webhook;

mod json;

pub use account::{AccountNotice, Notice};
pub use action::{Action, Reply};
pub use error::{Failure, Meaning, Refusal};
pub use event::{
    CallEvent, CallEventKind, Event, Outcome, PermissionReply, PermissionResponse, ReplySource, Termination,
    UserMessage,
};
pub use message::{Message, MessageFault, MessageKind, call_link, message_id};
pub use meta_voicemail::MetaVoicemail;
pub use permission::{LivePermission, LiveStatus};
pub use sound::{KeptSound, SoundDigest};
pub use webhook::{Batch, Flaw, Signature, WebhookError};
