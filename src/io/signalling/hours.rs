//! Who takes a user's call at this hour.

use super::BusinessNumber;
use crate::call::{Overflow, RingPlan};
use crate::id::Endpoint;
use crate::policy::{Opening, OpeningHours};
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
}

impl BusinessNumber {
    /// Who rings at this hour; `None`: nobody, the number is closed.
    pub(super) fn plan_at(&self, now: Wall) -> Option<RingPlan> {
        let Some(Hours { open, closed }) = &self.hours else { return Some(self.ring.clone()) };
        if let Opening::Open { .. } = open.at(now) {
            return Some(self.ring.clone());
        }
        match closed {
            WhenClosed::Reject => None,
            WhenClosed::Overflow => {
                Some(RingPlan { steps: Vec::new(), overflow: self.ring.overflow.clone() })
            }
            WhenClosed::Ring(target) => {
                let overflow = Overflow { target: target.clone(), kept: std::time::Duration::ZERO };
                Some(RingPlan { steps: Vec::new(), overflow: Some(overflow) })
            }
        }
    }
}
