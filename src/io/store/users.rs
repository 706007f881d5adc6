//! A user has up to two ids; rows are found by either.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::user::{Bsuid, Msisdn, UserId};

/// The ids under which a user's rows may stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) phone: Option<String>,
    pub(super) bsuid: Option<String>,
}

impl Ids {
    /// The ids as they stand in `user`, without looking anything up.
    pub(super) fn of(user: &UserId) -> Self {
        Self {
            phone: user.phone().map(|it| it.digits().to_owned()),
            bsuid: user.scoped().map(|it| it.as_str().to_owned()),
        }
    }

    /// The user behind two columns.
    pub(super) fn user(&self) -> Option<UserId> {
        let phone = self.phone.as_deref().and_then(Msisdn::parse);
        let scoped = self.bsuid.as_deref().and_then(Bsuid::parse);
        UserId::from_parts(phone, scoped)
    }
}

/// Remembers that two ids are one user's; the newest pairing replaces older ones of either id.
pub(super) async fn remember(db: &mut SqliteConnection, user: &UserId) -> Result<(), sqlx::Error> {
    let UserId::Both(phone, scoped) = user else { return Ok(()) };
    sqlx::query(
        "INSERT OR REPLACE INTO user_pair (phone, bsuid) SELECT ?1, ?2
         WHERE NOT EXISTS (SELECT 1 FROM user_pair WHERE phone = ?1 AND bsuid = ?2)",
    )
    .bind(phone.digits())
    .bind(scoped.as_str())
    .execute(db)
    .await
    .map(drop)
}

/// Both ids of a user, the missing one from an earlier pairing.
pub(super) async fn ids(db: &mut SqliteConnection, user: &UserId) -> Result<Ids, sqlx::Error> {
    let mut ids = Ids::of(user);
    if let UserId::Both(..) = user {
        return Ok(ids);
    }
    let row = sqlx::query("SELECT phone, bsuid FROM user_pair WHERE phone = ?1 OR bsuid = ?2")
        .bind(ids.phone.as_deref())
        .bind(ids.bsuid.as_deref())
        .fetch_optional(db)
        .await?;
    if let Some(row) = row {
        ids = Ids { phone: Some(row.try_get(0)?), bsuid: Some(row.try_get(1)?) };
    }
    Ok(ids)
}
