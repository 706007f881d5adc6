//! Who takes a user's call at this hour.

use super::BusinessNumber;
use crate::call::{Answering, Overflow, RingPlan};
use crate::id::Endpoint;
use crate::policy::{self, Opening, OpeningHours};
use crate::time::Wall;

/// The hours of a business number.
#[derive(Clone, Debug)]
pub struct Hours {
    /// When it is open.
    pub open: OpeningHours,
    /// What becomes of a user's call at other times.
    pub closed: WhenClosed,
}

/// What becomes of a user's call to a number that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhenClosed {
    /// It is rejected at Meta, and missed.
    Reject,
    /// The plan's overflow takes it.
    Overflow,
    /// This one takes it.
    Ring(Endpoint),
    /// The gateway takes it.
    Answer(Answering),
}

/// Whether calls to users wait for these hours; `None`: they wait for none.
#[must_use]
pub fn hold(open: Option<&OpeningHours>, now: Wall) -> policy::Hours {
    match open.map(|it| it.at(now)) {
        Some(Opening::Closed { until }) => policy::Hours::Held { opens: until },
        _ => policy::Hours::Unheld,
    }
}

impl BusinessNumber {
    /// Whether calls to users wait at this hour.
    pub(super) fn hold_at(&self, now: Wall) -> policy::Hours {
        hold(self.hours.as_ref().map(|it| &it.open).filter(|_| self.hold_outside_hours), now)
    }

    /// Who rings at this hour; `None`: nobody, the number is closed.
    pub(super) fn plan_at(&self, now: Wall) -> Option<RingPlan> {
        let Some(Hours { open, closed }) = &self.hours else { return Some(self.ring.clone()) };
        if let Opening::Open { .. } = open.at(now) {
            return Some(self.ring.clone());
        }
        match closed {
            WhenClosed::Reject => None,
            WhenClosed::Overflow => Some(RingPlan { steps: Vec::new(), ..self.ring.clone() }),
            WhenClosed::Ring(target) => {
                let overflow = Overflow { target: target.clone(), kept: std::time::Duration::ZERO };
                Some(RingPlan { overflow: Some(overflow), ..RingPlan::default() })
            }
            WhenClosed::Answer(answering) => Some(RingPlan::answered_by_us(*answering)),
        }
    }
}
