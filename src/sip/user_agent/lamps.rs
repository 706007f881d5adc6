//! A leg as the watchers of its phone see it, whatever kind of call it belongs to.

use crate::id::LegId;

use super::super::subscription::dialog_info::{DialogState, Direction, Peer, WatchedDialog};
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

impl Leg {
    pub(super) fn watched(&self, leg: LegId, shows_peer: bool) -> WatchedDialog {
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
        WatchedDialog { leg, direction, state, peer }
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
