//! Calls that are over, or ended before they began: a late `connect` of theirs rings nobody, and a late
//! `terminate` still corrects their record.

use std::collections::{HashMap, VecDeque};

use crate::id::{CallId, WaCallId};
use crate::whatsapp::Termination;

/// What is remembered of a call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tomb {
    /// It has a record of ours.
    Recorded(CallId),
    /// Meta's `terminate` came before its `connect`.
    Unborn(Termination),
}

/// The newest calls that are over.
#[derive(Debug, Default)]
pub(super) struct Graveyard {
    tombs: HashMap<WaCallId, Tomb>,
    order: VecDeque<WaCallId>,
}

impl Graveyard {
    /// More than the calls of an hour at one a second; the store's inbox remembers for a week.
    const KEPT: usize = 4096;

    pub(super) fn bury(&mut self, call: WaCallId, tomb: Tomb) {
        if self.tombs.insert(call.clone(), tomb).is_none() {
            self.order.push_back(call);
        }
        if self.order.len() > Self::KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.tombs.remove(&oldest);
        }
    }

    pub(super) fn look_up(&self, call: &WaCallId) -> Option<&Tomb> {
        self.tombs.get(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graveyard_is_bounded_and_keeps_the_newest() {
        let mut graveyard = Graveyard::default();
        for n in 0..=Graveyard::KEPT {
            graveyard.bury(format!("wacid.{n}").into(), Tomb::Recorded(CallId(n as u64)));
        }
        assert!(graveyard.look_up(&"wacid.0".into()).is_none());
        let newest = graveyard.look_up(&format!("wacid.{}", Graveyard::KEPT).into());
        assert_eq!(newest, Some(&Tomb::Recorded(CallId(Graveyard::KEPT as u64))));
        assert_eq!(graveyard.tombs.len(), graveyard.order.len());
    }
}
