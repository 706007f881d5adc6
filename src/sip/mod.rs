//! The SIP side without sockets: messages, transactions, dialogs, digest, registrar and the user agent.
//!
//! Bytes and the time go in, bytes and [`Event`]s come out; everything is decided by what came in and by
//! the seed. RFC 3261 with 3311 (UPDATE), 3326 (Reason), 3581 (rport), 6026 (accepted transactions),
//! 7616 and 8760 (digest); the parser is written for the torture messages of RFC 4475.

pub mod caller_id;
pub mod dialog;
pub mod digest;
pub mod flow;
pub mod fuzz;
pub mod message;
pub mod registrar;
pub mod transaction;
pub mod user_agent;

pub use dialog::DialogSnapshot;
pub use digest::DigestAlgorithm;
pub use flow::Flow;
pub use registrar::SavedBinding;
pub use transaction::Timers;
pub use user_agent::{
    Caller, CallerIdentity, CallerOrigin, Event, Invite, InviteRefusal, LegFailure, PhoneAccount, Reason,
    Refusal, Settings, SipFigures, TrunkPeer, UserAgent,
};
