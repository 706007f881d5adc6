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
    /// Declined or revoked.
    Declined,
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
            _ => None,
        }
    }

    /// When it ends, for a temporary one.
    #[must_use]
    pub const fn until(self) -> Option<Wall> {
        match self {
            Self::Temporary { until } => Some(until),
            Self::None | Self::Permanent | Self::Declined => None,
        }
    }
}

impl From<&PermissionReply> for Permission {
    fn from(reply: &PermissionReply) -> Self {
        match reply.response {
            PermissionResponse::Granted { until: Some(until) } => Self::Temporary { until },
            PermissionResponse::Granted { until: None } => Self::Permanent,
            PermissionResponse::Declined => Self::Declined,
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

/// One line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// When it was said, not when it arrived: replies come late and out of order.
    pub at: Wall,
    /// What was said.
    pub permission: Permission,
    /// Who said it: the user, or a rule of Meta's.
    pub source: ReplySource,
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
        (Permission::Permanent, Permission::Temporary { .. }, ReplySource::Automatic) => {
            Permission::Permanent
        }
        (
            Permission::Temporary { until: old },
            Permission::Temporary { until: new },
            ReplySource::Automatic,
        ) => Permission::Temporary { until: old.max(new) },
        (_, said, _) => said,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at: i64, permission: Permission) -> LedgerEntry {
        LedgerEntry { at: Wall(at), permission, source: ReplySource::UserAction }
    }

    fn automatic(at: i64, permission: Permission) -> LedgerEntry {
        LedgerEntry { source: ReplySource::Automatic, ..said(at, permission) }
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
        assert_eq!(fold(&[said(1, Permission::Permanent), automatic(2, WEEK)]), Permission::Permanent);
        assert_eq!(fold(&[said(1, WEEK), automatic(2, short)]), WEEK);
        assert_eq!(fold(&[said(1, short), automatic(2, WEEK)]), WEEK);
        assert_eq!(fold(&[said(1, Permission::Declined), automatic(2, WEEK)]), WEEK);
    }

    #[test]
    fn four_unanswered_calls_end_even_a_permanent_permission() {
        let entries = [said(1, Permission::Permanent), automatic(2, Permission::Declined)];
        assert_eq!(fold(&entries), Permission::Declined);
    }

    #[test]
    fn a_word_reads_back_and_a_temporary_one_needs_its_end() {
        for permission in [Permission::None, WEEK, Permission::Permanent, Permission::Declined] {
            assert_eq!(Permission::parse(permission.as_str(), permission.until()), Some(permission));
        }
        assert_eq!(Permission::parse("temporary", None), None);
    }
}
