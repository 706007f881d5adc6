//! Who may call whom, and how often: rules and facts in, one decision out; no clock, no store.
//!
//! Every cap and permission is decided by [`decide()`] and nowhere else. The store reads the facts,
//! calls it and writes the reservation in one transaction, which makes it exact under concurrency.
//! Before that a [`TollGuard`] caps what phones may dial at all, whatever it costs whom.

mod country;
mod decide;
mod facts;
mod hours;
mod permission;
mod picture;
mod rules;
mod toll;

pub use country::BusinessCountry;
pub use decide::{Decision, Denial, DenialReason, Grant, decide};
pub use facts::{Attempt, Facts, InFlight};
pub use hours::{Opening, OpeningHours, Overlap, Span};
pub use permission::{LedgerEntry, Permission, fold};
pub use picture::picture;
pub use rules::{Cap, Rules};
pub use toll::{CallCaps, CapReached, TollCaps, TollGuard};
