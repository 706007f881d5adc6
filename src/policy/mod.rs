//! Who may call whom, and how often: rules and facts in, one decision out; no clock, no store.
//!
//! Every cap and permission is decided by [`decide()`] and nowhere else, every permission request by
//! [`decide_request()`]. The store reads the facts, calls them and writes the reservation in one
//! transaction, which makes them exact under concurrency.
//! Before that a [`TollGuard`] caps what phones may dial at all, whatever it costs whom.

mod country;
mod decide;
mod facts;
mod hours;
mod permission;
mod pickup;
mod picture;
mod request;
mod rules;
mod toll;

pub use country::{CountryRow, CountryTable, Unavailable};
pub use decide::{CapName, CapWarning, Decision, Denial, DenialReason, Grant, Maker, Stands, decide};
pub use facts::{Attempt, Facts, InFlight, Restriction};
pub use hours::{Opening, OpeningHours, Overlap, Span};
pub use permission::{LedgerEntry, LedgerSource, Permission, fold};
pub use pickup::{PickUp, PickUpAlarm, PickedUpBy, Trend};
pub use picture::picture;
pub use request::{
    Ask, AskDenial, AskFacts, AskReason, PermissionRequest, REQUEST_LIFE, RequestKind, RequestState,
    decide_request, last_request_state,
};
pub use rules::{Cap, Hours, RequestRules, Rules};
pub use toll::{CallCaps, CapReached, TollCaps, TollGuard};
