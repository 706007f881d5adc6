//! The SIP side without sockets: messages, transactions, dialogs, digest, registrar and the user agent.
//!
//! Bytes and the time go in, bytes and [`Event`]s come out; everything is decided by what came in and by
//! the seed. RFC 3261 with 3311 (UPDATE), 3326 (Reason), 3581 (rport), 6026 (accepted transactions),
//! 3327 (Path), 5626 and 7118 (streams, WebSocket), 6665 with 4235 and 3842 (busy lamps, message waiting), 7616 and 8760 (digest); the parser is written for the torture messages of RFC 4475.

pub mod alert;
pub mod caller_id;
pub mod defence;
pub mod dialog;
pub mod digest;
pub mod flow;
pub mod framer;
pub mod fuzz;
pub mod locate;
pub mod message;
pub mod registrar;
pub mod srtp;
pub mod subscription;
pub mod transaction;
pub mod trunk;
pub mod user_agent;
pub mod wire_trace;

pub use defence::{Defence, DefenceFigures, DefenceSettings};
pub use dialog::DialogSnapshot;
pub use digest::DigestAlgorithm;
pub use flow::{Flow, Transport};
pub use framer::{Frame, Framer, PONG, StreamFault};
pub use registrar::SavedBinding;
pub use srtp::{ReadableKeys, SrtpSetting, SrtpUse};
pub use subscription::message_summary::Messages;
pub use transaction::Timers;
pub use trunk::{TrunkChange, TrunkPeer, TrunkStatus};
pub use user_agent::{
    Caller, CallerIdentity, CallerOrigin, Event, Invite, InviteRefusal, KeysByInfo, LegFailure, Listener,
    Lookup, LookupId, MessagesBy, PhoneAccount, PhoneLamps, Reason, Referral, ReferralId, Refusal, Replaces,
    Resync, Settings, SipFigures, Telling, UserAgent, WatchLimits, WatchedBy,
};
