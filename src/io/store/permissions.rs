//! The ledger of what users said about being called. Lines are only ever added.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::events::{EventKind, NewEvent, tell};
use super::users::{self, Ids};
use super::writer::Write;
use super::{Store, StoreError, requests};
use crate::id::PhoneNumberId;
use crate::policy::{LedgerEntry, LedgerSource, Permission, fold};
use crate::time::Wall;
use crate::user::UserId;
use crate::whatsapp::{PermissionReply, ReplySource};

/// One line of the ledger, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionLine {
    /// When it was said.
    pub at: Wall,
    /// What was said.
    pub permission: Permission,
    /// By which way.
    pub source: LedgerSource,
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

    /// Adds a line by hand or from Meta's live answer; gives whether that changed what holds.
    ///
    /// What Meta answered (`Live`, `Refusal`) is not written if it holds already.
    ///
    /// # Errors
    /// As every write.
    pub async fn set_permission(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
        permission: Permission,
        source: LedgerSource,
        at: Wall,
    ) -> Result<Drift, StoreError> {
        let line = PermissionLine { at, permission, source, context: None };
        self.0.writer.submit(AddLine { number: number.clone(), user: user.clone(), line }).await
    }

    /// Adds what a user's reply says, and marks the request it answers. Doing so twice changes nothing.
    ///
    /// Gives who waits to be rung now that the user has granted, if somebody does; only once.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_reply(&self, reply: &PermissionReply) -> Result<Option<String>, StoreError> {
        self.0.writer.submit(AddReply(reply.clone())).await
    }
}

/// Whether a line changed what holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// What it says held already.
    Same,
    /// The ledger held something else.
    Corrected,
}

impl PermissionLine {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let (kind, until): (String, Option<i64>) = (row.try_get("kind")?, row.try_get("until")?);
        // A word that nobody knows permits nothing.
        let permission = Permission::parse(&kind, until.map(Wall)).unwrap_or(Permission::None);
        let source: String = row.try_get("source")?;
        let source = LedgerSource::parse(&source, permission);
        Ok(Self { at: Wall(row.try_get("at")?), permission, source, context: row.try_get("context")? })
    }

    fn entry(&self) -> LedgerEntry {
        LedgerEntry { at: self.at, permission: self.permission, source: self.source }
    }
}

async fn lines(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
) -> Result<Vec<PermissionLine>, sqlx::Error> {
    // With OR the planner walks over all that was ever said to the number.
    let rows = sqlx::query(
        "SELECT at, kind, until, source, context FROM permission_log
         WHERE id IN (SELECT id FROM permission_log WHERE number = ?1 AND phone = ?2 UNION ALL
                      SELECT id FROM permission_log WHERE number = ?1 AND bsuid = ?3) ORDER BY id",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .fetch_all(db)
    .await?;
    rows.iter().map(PermissionLine::read).collect()
}

/// What the ledger says of a pair, read inside a transaction.
pub(super) struct Held {
    pub(super) permission: Permission,
    /// When Meta last took the permission for unanswered calls.
    pub(super) run_ended: Option<Wall>,
}

pub(super) async fn held(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
) -> Result<Held, sqlx::Error> {
    let lines = lines(db, number, ids).await?;
    let taken = lines.iter().filter(|it| it.source == LedgerSource::Automatic).map(|it| it.at).max();
    let permission = fold(&lines.iter().map(PermissionLine::entry).collect::<Vec<_>>());
    Ok(Held { permission, run_ended: taken })
}

struct AddLine {
    number: PhoneNumberId,
    user: UserId,
    line: PermissionLine,
}

impl Write for AddLine {
    type Output = Drift;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Drift, sqlx::Error> {
        users::remember(db, &self.user).await?;
        let ids = users::ids(db, &self.user).await?;
        let line = &self.line;
        let known = lines(db, &self.number, &ids).await?;
        let before = fold(&known.iter().map(PermissionLine::entry).collect::<Vec<_>>());
        let drift = if before == line.permission { Drift::Same } else { Drift::Corrected };
        let repeats = match line.source {
            LedgerSource::Live => drift == Drift::Same,
            // A permission that has run out, or that nobody gave, is none already.
            LedgerSource::Refusal => !before.holds(line.at),
            // A webhook that is told again, or a write that nobody knew the outcome of.
            LedgerSource::Operator => false,
            _ => known.contains(line),
        };
        if repeats {
            return Ok(Drift::Same);
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
        .bind(line.source.as_str())
        .bind(line.context.as_deref())
        .execute(&mut *db)
        .await?;
        let now = held(db, &self.number, &ids).await?.permission;
        if now != before {
            let (kind, number) = (EventKind::PermissionChanged, Some(self.number.as_str()));
            let (state, until) = (now.as_str(), now.until().map(|it| it.to_string()));
            let told = serde_json::json!({ "state": state, "until": until, "source": line.source.as_str() });
            let detail = Some(told.to_string());
            tell(db, NewEvent { at: line.at, kind, number, call: None, ids, detail }).await?;
        }
        Ok(drift)
    }
}

struct AddReply(PermissionReply);

impl Write for AddReply {
    type Output = Option<String>;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
        let reply = &self.0;
        let (permission, source) = (Permission::from(reply), LedgerSource::from(reply));
        let line = PermissionLine { at: reply.at, permission, source, context: reply.context.clone() };
        let add = AddLine { number: reply.number.clone(), user: reply.user.clone(), line };
        add.apply(db).await?;
        if reply.source == ReplySource::UserAction
            && let Some(message) = &reply.context
        {
            let asked = requests::answered(db, message, reply.at).await?;
            if asked {
                self.tell_of_answer(db, permission).await?;
            }
        }
        if !permission.holds(reply.at) {
            return Ok(None);
        }
        let ids = users::ids(db, &reply.user).await?;
        requests::take_waiting(db, &reply.number, &ids, reply.at).await
    }
}

impl AddReply {
    async fn tell_of_answer(&self, db: &mut SqliteConnection, answer: Permission) -> Result<(), sqlx::Error> {
        let (at, number) = (self.0.at, Some(self.0.number.as_str()));
        let ids = users::ids(db, &self.0.user).await?;
        let until = answer.until().map(|it| it.to_string());
        let told = serde_json::json!({ "state": answer.as_str(), "until": until });
        let (kind, detail) = (EventKind::PermissionAnswered, Some(told.to_string()));
        tell(db, NewEvent { at, kind, number, call: None, ids, detail }).await
    }
}
