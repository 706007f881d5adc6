//! What is known at the moment of an attempt.

use super::permission::Permission;
use crate::id::{CallId, PhoneNumberId};
use crate::time::Wall;
use crate::user::UserId;

/// A business-initiated call that somebody wants to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The business number that calls.
    pub number: PhoneNumberId,
    /// The user to be called.
    pub user: UserId,
    /// The call it would be.
    pub call: CallId,
}

/// What the store knows about a business number and a user, without the attempt itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What the user said last.
    pub permission: Permission,
    /// When business-initiated calls of the number were picked up, newest first; the newest `max` of
    /// the cap are enough.
    pub connected_number: Vec<Wall>,
    /// The same for calls to this user.
    pub connected_pair: Vec<Wall>,
    /// When the number's calls were started, newest first; only the one at place `max` of the cap is
    /// needed, so that is all there is: `None` if there were fewer.
    pub initiation_at_cap: Option<Wall>,
    /// Reservations of the number that are neither connected nor released.
    pub in_flight: Vec<InFlight>,
    /// Calls of the number that are up, both directions, without those in flight.
    pub up: u32,
    /// Those of them that are with this user.
    pub up_with_user: u32,
    /// Calls to this user that rang and were not taken, since the last that was, or since Meta took the
    /// permission for them.
    pub unanswered: u32,
    /// Whether somebody has decided, with a reason, to go on after the last of them.
    pub overridden: bool,
    /// Until when Meta said that the pair's limit is reached (138012, `limit_expiration_time`).
    pub meta_hold: Option<Wall>,
    /// Meta's restriction of the number's business-initiated calls.
    pub restriction: Option<Restriction>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            permission: Permission::None,
            connected_number: Vec::new(),
            connected_pair: Vec::new(),
            initiation_at_cap: None,
            in_flight: Vec::new(),
            up: 0,
            up_with_user: 0,
            unanswered: 0,
            overridden: false,
            meta_hold: None,
            restriction: None,
        }
    }
}

/// A restriction that Meta laid upon a number (reference §16.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// When it ends, if Meta said so.
    pub until: Option<Wall>,
}

impl Restriction {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(self, now: Wall) -> bool {
        self.until.is_none_or(|it| now < it)
    }
}

/// A reservation whose call may still connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// When it was made.
    pub reserved: Wall,
    /// Whether it is for the same user as the attempt.
    pub same_user: bool,
    /// Whether its call has an open record: then it counts however old it is.
    pub record_open: bool,
}
