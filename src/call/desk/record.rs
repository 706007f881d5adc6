//! The one record of a call between desks.

use crate::id::{CallId, Endpoint};
use crate::time::Wall;

/// What is known of a call between desks; its row opens before the first outward act and closes once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskRecord {
    /// Our id; numbers of these calls and of WhatsApp calls are never the same.
    pub id: CallId,
    /// Who called, or has that one's place now.
    pub caller: Endpoint,
    /// Who was called, or has that one's place now.
    pub callee: Endpoint,
    /// When the caller's INVITE came.
    pub opened: Wall,
    /// When the callee began to ring.
    pub rang: Option<Wall>,
    /// When it was answered.
    pub answered: Option<Wall>,
    /// When it ended; `None` while it is up.
    pub ended: Option<Wall>,
    /// Why it ended: the label of a `HangupCause`.
    pub cause: Option<String>,
    /// Whose doing the end was: `phone`, `policy`, `us`.
    pub fault: Option<String>,
    /// The Call-ID of the caller's INVITE.
    pub sip_call_id: String,
    /// How the media ran, as it prints itself.
    pub media: Option<String>,
    /// Packets, loss, gaps and delay per direction: a JSON object.
    pub quality_json: Option<String>,
}

impl DeskRecord {
    /// A record of a call of which only the parties are known.
    #[must_use]
    pub fn new(id: CallId, caller: Endpoint, callee: Endpoint, opened: Wall, sip_call_id: String) -> Self {
        Self {
            id,
            caller,
            callee,
            opened,
            rang: None,
            answered: None,
            ended: None,
            cause: None,
            fault: None,
            sip_call_id,
            media: None,
            quality_json: None,
        }
    }
}
