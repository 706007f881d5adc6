//! A leg as the watchers of its phone see it, whatever kind of call it belongs to.

use crate::id::LegId;

use super::super::subscription::dialog_info::{DialogName, DialogState, Direction, Peer, WatchedDialog};
use super::UserAgent;
use super::change::CallIdOf;
use super::leg::{Leg, Stage};

/// What only lamps need to know of a leg.
#[derive(Clone, Debug, Default)]
pub(super) struct LampFacts {
    /// Something rings.
    pub(super) rang: bool,
    /// Who is at the other side.
    pub(super) peer: Option<Peer>,
}

impl LampFacts {
    pub(super) fn with(number: &str, display: &str) -> Self {
        let peer = Peer { number: number.to_owned(), display: display.to_owned() };
        Self { rang: false, peer: Some(peer) }
    }
}

/// Whether a watcher is told what calls are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// It may take them over.
    Told,
    Hidden,
}

impl Leg {
    pub(super) fn watched(&self, leg: LegId, shows_peer: bool, names: Names) -> WatchedDialog {
        let ringing = if self.lamp.rang { DialogState::Early } else { DialogState::Trying };
        let (direction, state) = match &self.stage {
            Stage::Calling(_) => (Direction::Recipient, ringing),
            Stage::Called(_) => (Direction::Initiator, ringing),
            Stage::Up(up) if up.call_id_of == CallIdOf::Them => {
                (Direction::Initiator, DialogState::Confirmed)
            }
            Stage::Up(_) => (Direction::Recipient, DialogState::Confirmed),
        };
        let peer = self.lamp.peer.clone().filter(|_| shows_peer);
        let name = if names == Names::Told { self.name() } else { None };
        WatchedDialog { leg, direction, state, peer, name }
    }

    /// By what others can take this call's place. Of a phone's own call that nobody has answered there is none
    /// (RFC 3891 §3), nor of one that does not ring yet.
    fn name(&self) -> Option<DialogName> {
        let theirs = match &self.stage {
            Stage::Calling(calling) => calling.tags.first()?,
            Stage::Called(_) => return None,
            Stage::Up(up) => &up.dialog.remote_tag,
        };
        Some(DialogName {
            call_id: self.call_id.clone(),
            local_tag: theirs.clone(),
            remote_tag: self.local_tag.clone(),
        })
    }
}

impl UserAgent {
    /// A leg has begun or come further: whoever watches its phone is told.
    pub(super) fn watch_leg(&mut self, leg: LegId) {
        if let Some(phone) = self.legs.get(&leg).and_then(|leg| leg.phone.as_ref()) {
            self.watching.note_phone(phone);
        }
    }

    /// Something rings at one end of a leg.
    pub(super) fn note_ringing(&mut self, leg: LegId) {
        let Some(state) = self.legs.get_mut(&leg) else { return };
        if !std::mem::replace(&mut state.lamp.rang, true) {
            self.watch_leg(leg);
        }
    }
}
