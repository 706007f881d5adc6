//! The ledger of what users said about being called. Lines are only ever added.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::events::{EventKind, NewEvent, tell};
use super::users::{self, Ids};
use super::writer::Write;
use super::{Store, StoreError};
use crate::id::PhoneNumberId;
use crate::policy::{LedgerEntry, Permission, fold};
use crate::time::Wall;
use crate::user::UserId;
use crate::whatsapp::{PermissionReply, ReplySource};

/// The source of lines that repeat what Meta reports live; they are written only if they change anything.
const LIVE: &str = "live";

/// One line of the ledger, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionLine {
    /// When it was said.
    pub at: Wall,
    /// What was said.
    pub permission: Permission,
    /// `user_action`, `automatic`, `live`, `operator`, …
    pub source: String,
    /// Id of the message or call it belongs to.
    pub context: Option<String>,
}

impl Store {
    /// Whether the number may call the user, by what the ledger holds; an end in the past is not judged.
    ///
    /// # Errors
    /// As every read.
    pub async fn permission(&self, number: &PhoneNumberId, user: &UserId) -> Result<Permission, StoreError> {
        let lines = self.permission_log(number, user).await?;
        Ok(fold(&lines.iter().map(PermissionLine::entry).collect::<Vec<_>>()))
    }

    /// Everything said about a user, in the order in which it arrived.
    ///
    /// # Errors
    /// As every read.
    pub async fn permission_log(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
    ) -> Result<Vec<PermissionLine>, StoreError> {
        let mut db = self.readers().acquire().await?;
        let ids = users::ids(&mut db, user).await?;
        Ok(lines(&mut db, number, &ids).await?)
    }

    /// Adds a line by hand (`operator`) or from Meta's live answer (`live`).
    ///
    /// A live answer that says what already holds is not written.
    ///
    /// # Errors
    /// As every write.
    pub async fn set_permission(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
        permission: Permission,
        source: &str,
        at: Wall,
    ) -> Result<(), StoreError> {
        let line = PermissionLine { at, permission, source: source.to_owned(), context: None };
        self.0.writer.submit(AddLine { number: number.clone(), user: user.clone(), line }).await
    }

    /// Adds what a user's reply says. Doing so twice changes nothing.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_reply(&self, reply: &PermissionReply) -> Result<(), StoreError> {
        let line = PermissionLine {
            at: reply.at,
            permission: reply.into(),
            source: reply.source.as_str().to_owned(),
            context: reply.context.clone(),
        };
        let write = AddLine { number: reply.number.clone(), user: reply.user.clone(), line };
        self.0.writer.submit(write).await
    }
}

impl PermissionLine {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let (kind, until): (String, Option<i64>) = (row.try_get("kind")?, row.try_get("until")?);
        // A word that nobody knows permits nothing.
        let permission = Permission::parse(&kind, until.map(Wall)).unwrap_or(Permission::None);
        let at = Wall(row.try_get("at")?);
        Ok(Self { at, permission, source: row.try_get("source")?, context: row.try_get("context")? })
    }

    fn entry(&self) -> LedgerEntry {
        let automatic = self.source == ReplySource::Automatic.as_str();
        LedgerEntry {
            at: self.at,
            permission: self.permission,
            source: if automatic { ReplySource::Automatic } else { ReplySource::UserAction },
        }
    }
}

async fn lines(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
) -> Result<Vec<PermissionLine>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT at, kind, until, source, context FROM permission_log
         WHERE number = ?1 AND (phone = ?2 OR bsuid = ?3) ORDER BY id",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .fetch_all(db)
    .await?;
    rows.iter().map(PermissionLine::read).collect()
}

/// What holds now, read inside a transaction.
pub(super) async fn current(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
) -> Result<Permission, sqlx::Error> {
    let lines = lines(db, number, ids).await?;
    Ok(fold(&lines.iter().map(PermissionLine::entry).collect::<Vec<_>>()))
}

struct AddLine {
    number: PhoneNumberId,
    user: UserId,
    line: PermissionLine,
}

impl Write for AddLine {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        users::remember(db, &self.user).await?;
        let ids = users::ids(db, &self.user).await?;
        let line = &self.line;
        let before = current(db, &self.number, &ids).await?;
        if line.source == LIVE && before == line.permission {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO permission_log (number, phone, bsuid, at, kind, until, source, context)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(self.number.as_str())
        .bind(ids.phone.as_deref())
        .bind(ids.bsuid.as_deref())
        .bind(line.at.millis())
        .bind(line.permission.as_str())
        .bind(line.permission.until().map(Wall::millis))
        .bind(&line.source)
        .bind(line.context.as_deref())
        .execute(&mut *db)
        .await?;
        let now = current(db, &self.number, &ids).await?;
        if now == before {
            return Ok(());
        }
        let (kind, number) = (EventKind::PermissionChanged, Some(self.number.as_str()));
        let (state, until) = (now.as_str(), now.until().map(|it| it.to_string()));
        let told = serde_json::json!({ "state": state, "until": until, "source": line.source });
        tell(db, NewEvent { at: line.at, kind, number, call: None, ids, detail: Some(told.to_string()) })
            .await
    }
}
