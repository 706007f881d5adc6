//! What a phone whose INVITE waits can be let hear and shown before it gets its answer.

use crate::id::LegId;

use super::super::message::uri::{escape_user, quote};
use super::super::message::{Name, sdp_of};
use super::UserAgent;
use super::incoming::dialled;
use super::leg::{Called, Leg, Stage};

impl UserAgent {
    /// The offer of an INVITE that nothing was described to yet; `None` also if there is no offer.
    #[must_use]
    pub fn open_offer(&self, leg: LegId) -> Option<String> {
        let called = self.waiting(leg).filter(|it| !it.described)?;
        sdp_of(&called.invite.request.headers, &called.invite.request.body)
    }

    /// Shows a text in the place of the called party's name, with the answers that follow (RFC 3325).
    pub fn show(&mut self, leg: LegId, text: &str) {
        let Some(called) = self.waiting(leg) else { return };
        let number = escape_user(&dialled(&called.invite.request));
        let identity = format!("{} <sip:{number}@{}>", quote(text), self.settings.domain);
        if let Some(Leg { stage: Stage::Called(called), .. }) = self.legs.get_mut(&leg) {
            called.told.push((Name::PAssertedIdentity, identity));
        }
    }

    /// Whether an INVITE waits for our final answer still: its caller may have given up.
    #[must_use]
    pub fn awaits_answer(&self, leg: LegId) -> bool {
        self.waiting(leg).is_some()
    }

    fn waiting(&self, leg: LegId) -> Option<&Called> {
        match &self.legs.get(&leg)?.stage {
            Stage::Called(called) => Some(called),
            _ => None,
        }
    }
}
