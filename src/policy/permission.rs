//! A user's permission to be called, and the ledger it follows from.

use crate::time::Wall;
use crate::whatsapp::{LivePermission, LiveStatus, PermissionReply, PermissionResponse, ReplySource};

/// Whether a business number may call a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Nothing was ever said.
    None,
    /// Until a moment, at which it is over.
    Temporary {
        /// The first moment at which it no longer holds.
        until: Wall,
    },
    /// Until revoked.
    Permanent,
    /// Declined: the user was asked and said no.
    Declined,
    /// Taken back, by the user or, after four unanswered calls, by Meta.
    Revoked,
}

impl Permission {
    /// The word that stands in the store and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Temporary { .. } => "temporary",
            Self::Permanent => "permanent",
            Self::Declined => "declined",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word back; a temporary permission needs its end.
    #[must_use]
    pub fn parse(word: &str, until: Option<Wall>) -> Option<Self> {
        match (word, until) {
            ("none", _) => Some(Self::None),
            ("temporary", Some(until)) => Some(Self::Temporary { until }),
            ("permanent", _) => Some(Self::Permanent),
            ("declined", _) => Some(Self::Declined),
            ("revoked", _) => Some(Self::Revoked),
            _ => None,
        }
    }

    /// When it ends, for a temporary one.
    #[must_use]
    pub const fn until(self) -> Option<Wall> {
        match self {
            Self::Temporary { until } => Some(until),
            Self::None | Self::Permanent | Self::Declined | Self::Revoked => None,
        }
    }

    /// Whether a call may be made at `now` as far as the user's word goes.
    #[must_use]
    pub fn holds(self, now: Wall) -> bool {
        match self {
            Self::Permanent => true,
            Self::Temporary { until } => now < until,
            Self::None | Self::Declined | Self::Revoked => false,
        }
    }
}

/// What a reply says; a `reject` that no request asked for takes back what there was.
impl From<&PermissionReply> for Permission {
    fn from(reply: &PermissionReply) -> Self {
        match (reply.response, LedgerSource::from(reply)) {
            (PermissionResponse::Granted { until: Some(until) }, _) => Self::Temporary { until },
            (PermissionResponse::Granted { until: None }, _) => Self::Permanent,
            (PermissionResponse::Declined, LedgerSource::Request) => Self::Declined,
            (PermissionResponse::Declined, _) => Self::Revoked,
        }
    }
}

/// What Meta reports now. Whether a call may start now is [`LivePermission::can_start`], not this.
impl From<&LivePermission> for Permission {
    fn from(live: &LivePermission) -> Self {
        match (live.status, live.expires) {
            (LiveStatus::Permanent, _) => Self::Permanent,
            (LiveStatus::Temporary, Some(until)) => Self::Temporary { until },
            (LiveStatus::Temporary | LiveStatus::NoPermission, _) => Self::None,
        }
    }
}

/// By which way a line came into the ledger (reference §16.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerSource {
    /// The user answered a request.
    Request,
    /// The user's own call, with callback permission switched on.
    UserCall,
    /// The user opened the business profile.
    Profile,
    /// A rule of Meta's: four unanswered calls in a row.
    Automatic,
    /// Meta's answer to `call_permissions`.
    Live,
    /// Meta's refusal of a call (138006).
    Refusal,
    /// The administrator.
    Operator,
}

impl LedgerSource {
    /// Every way.
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::UserCall,
        Self::Profile,
        Self::Automatic,
        Self::Live,
        Self::Refusal,
        Self::Operator,
    ];

    /// The word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::UserCall => "user_call",
            Self::Profile => "profile",
            Self::Automatic => "automatic",
            Self::Live => "live",
            Self::Refusal => "refusal",
            Self::Operator => "operator",
        }
    }

    /// Reads the word back. Lines of older versions say `user_action`, and `automatic` of grants too;
    /// what nobody knows counts as the user's word.
    #[must_use]
    pub fn parse(word: &str, permission: Permission) -> Self {
        let granted = matches!(permission, Permission::Temporary { .. } | Permission::Permanent);
        match word {
            "automatic" if granted => Self::UserCall,
            _ => Self::ALL.into_iter().find(|it| it.as_str() == word).unwrap_or(Self::Request),
        }
    }
}

impl From<&PermissionReply> for LedgerSource {
    fn from(reply: &PermissionReply) -> Self {
        match (reply.source, reply.response, &reply.context) {
            (ReplySource::Automatic, PermissionResponse::Granted { .. }, _) => Self::UserCall,
            (ReplySource::Automatic, PermissionResponse::Declined, _) => Self::Automatic,
            (ReplySource::UserAction, _, Some(_)) => Self::Request,
            (ReplySource::UserAction, _, None) => Self::Profile,
        }
    }
}

/// One line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// When it was said, not when it arrived: replies come late and out of order.
    pub at: Wall,
    /// What was said.
    pub permission: Permission,
    /// By which way.
    pub source: LedgerSource,
}

/// What holds after all that was said, given in the order of arrival.
///
/// The newest word counts, of two at the same moment the one that arrived last; except that the
/// temporary permission Meta gives by itself for a user's call never shortens what there is.
#[must_use]
pub fn fold(entries: &[LedgerEntry]) -> Permission {
    let mut ordered: Vec<&LedgerEntry> = entries.iter().collect();
    ordered.sort_by_key(|it| it.at);
    ordered.into_iter().fold(Permission::None, |held, entry| match (held, entry.permission, entry.source) {
        (Permission::Permanent, Permission::Temporary { .. }, LedgerSource::UserCall) => {
            Permission::Permanent
        }
        (
            Permission::Temporary { until: old },
            Permission::Temporary { until: new },
            LedgerSource::UserCall,
        ) => Permission::Temporary { until: old.max(new) },
        (_, said, _) => said,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at: i64, permission: Permission) -> LedgerEntry {
        LedgerEntry { at: Wall(at), permission, source: LedgerSource::Request }
    }

    fn by_call(at: i64, permission: Permission) -> LedgerEntry {
        LedgerEntry { source: LedgerSource::UserCall, ..said(at, permission) }
    }

    const WEEK: Permission = Permission::Temporary { until: Wall(900) };

    #[test]
    fn the_newest_word_counts_whatever_arrives_last() {
        assert_eq!(fold(&[]), Permission::None);
        assert_eq!(fold(&[said(1, WEEK), said(2, Permission::Declined)]), Permission::Declined);
        assert_eq!(fold(&[said(2, Permission::Declined), said(1, WEEK)]), Permission::Declined);
        assert_eq!(fold(&[said(1, Permission::Permanent), said(2, WEEK)]), WEEK);
        assert_eq!(
            fold(&[said(1, Permission::Declined), said(1, Permission::Permanent)]),
            Permission::Permanent
        );
    }

    #[test]
    fn the_permission_of_a_users_call_never_shortens_what_there_is() {
        let short = Permission::Temporary { until: Wall(500) };
        assert_eq!(fold(&[said(1, Permission::Permanent), by_call(2, WEEK)]), Permission::Permanent);
        assert_eq!(fold(&[said(1, WEEK), by_call(2, short)]), WEEK);
        assert_eq!(fold(&[said(1, short), by_call(2, WEEK)]), WEEK);
        assert_eq!(fold(&[said(1, Permission::Declined), by_call(2, WEEK)]), WEEK);
    }

    #[test]
    fn four_unanswered_calls_end_even_a_permanent_permission() {
        let automatic = LedgerEntry { source: LedgerSource::Automatic, ..said(2, Permission::Revoked) };
        assert_eq!(fold(&[said(1, Permission::Permanent), automatic]), Permission::Revoked);
    }

    #[test]
    fn a_word_reads_back_and_a_temporary_one_needs_its_end() {
        let all = [Permission::None, WEEK, Permission::Permanent, Permission::Declined, Permission::Revoked];
        for permission in all {
            assert_eq!(Permission::parse(permission.as_str(), permission.until()), Some(permission));
        }
        assert_eq!(Permission::parse("temporary", None), None);
        for source in LedgerSource::ALL {
            assert_eq!(LedgerSource::parse(source.as_str(), Permission::Revoked), source);
        }
        assert_eq!(LedgerSource::parse("user_action", WEEK), LedgerSource::Request);
        assert_eq!(LedgerSource::parse("automatic", WEEK), LedgerSource::UserCall);
    }

    #[test]
    fn a_permission_holds_until_its_end_and_not_at_it() {
        assert!(WEEK.holds(Wall(899)) && !WEEK.holds(Wall(900)));
        assert!(Permission::Permanent.holds(Wall(i64::MAX)) && !Permission::Revoked.holds(Wall(0)));
    }
}
