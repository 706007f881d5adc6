//! Permission requests: their limits, decided and counted in one transaction, and what became of them.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::events::{EventKind, NewEvent, tell};
use super::users::{self, Ids};
use super::writer::{Operation, Write};
use super::{Store, StoreError, guards, permissions};
use crate::id::PhoneNumberId;
use crate::policy::{
    Ask, AskDenial, AskFacts, PermissionRequest, REQUEST_LIFE, RequestKind, RequestState, Rules,
    decide_request, last_request_state,
};
use crate::time::Wall;
use crate::user::UserId;

/// More requests of one pair than this are not read: the limits look back over two.
const READ: u32 = 16;

/// The name of a request in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub i64);

/// One request, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// What the store knows of it.
    pub request: PermissionRequest,
    /// What became of it.
    pub state: RequestState,
    /// `free_form` or `template`.
    pub kind: String,
}

impl Store {
    /// Decides whether a user may be asked now and, if so, takes the place under the limits before
    /// anything is sent. `ring` is who is to be rung when the user accepts.
    ///
    /// # Errors
    /// As every write.
    pub async fn ask(
        &self,
        rules: &Rules,
        ask: &Ask,
        ring: Option<&str>,
        now: Wall,
    ) -> Result<Result<(RequestId, RequestKind), AskDenial>, StoreError> {
        let ring = ring.map(str::to_owned);
        self.0.writer.submit(NewRequest { rules: rules.clone(), ask: ask.clone(), ring, now }).await
    }

    /// Meta took the request under this message id.
    ///
    /// # Errors
    /// As every write.
    pub async fn request_taken(&self, id: RequestId, message: &str, at: Wall) -> Result<(), StoreError> {
        self.0.writer.submit(Taken { id, message: Some(message.to_owned()), at }).await
    }

    /// Meta refused the request: it counts for nothing.
    ///
    /// # Errors
    /// As every write.
    pub async fn request_refused(&self, id: RequestId) -> Result<(), StoreError> {
        self.0.writer.submit(Taken { id, message: None, at: Wall(0) }).await
    }

    /// The requests sent to a user, newest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn requests(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
        now: Wall,
    ) -> Result<Vec<RequestLine>, StoreError> {
        let mut db = self.readers().acquire().await?;
        let ids = users::ids(&mut db, user).await?;
        let rows = rows(&mut db, number, &ids).await?;
        let line = |(newer, row): (usize, &SqliteRow)| {
            let time = |name: &str| row.try_get::<Option<i64>, _>(name).map(|it| it.map(Wall));
            let sent = Wall(row.try_get("sent")?);
            let request = PermissionRequest { sent, taken: time("taken")?, answered: time("answered")? };
            let state = last_request_state(&request, newer, now);
            Ok(RequestLine { request, state, kind: row.try_get("kind")? })
        };
        rows.iter().enumerate().map(line).collect()
    }

    /// What is known about asking a user, for people; [`Store::ask`] decides by the same.
    ///
    /// # Errors
    /// As every read.
    pub async fn ask_facts(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
        now: Wall,
    ) -> Result<AskFacts, StoreError> {
        let mut db = self.readers().acquire().await?;
        let ids = users::ids(&mut db, user).await?;
        Ok(facts(&mut db, number, &ids, now).await?)
    }
}

async fn rows(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query(
        "SELECT kind, sent, taken, answered FROM permission_request
         WHERE id IN (SELECT id FROM permission_request WHERE number = ?1 AND phone = ?2 UNION ALL
                      SELECT id FROM permission_request WHERE number = ?1 AND bsuid = ?3)
           AND refused = 0 ORDER BY sent DESC, id DESC LIMIT ?4",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .bind(READ)
    .fetch_all(db)
    .await
}

async fn facts(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
    now: Wall,
) -> Result<AskFacts, sqlx::Error> {
    let sent = rows(db, number, ids).await?;
    let sent = sent.iter().map(|row| row.try_get("sent").map(Wall)).collect::<Result<_, _>>()?;
    Ok(AskFacts {
        permission: Some(permissions::held(db, number, ids).await?.permission),
        sent,
        connected: guards::last_talk(db, number, ids).await?,
        window: guards::window(db, number, ids).await?,
        meta_hold: guards::hold(db, number, ids, guards::Hold::Requests, now).await?,
        restriction: guards::restriction(db, number, now).await?,
    })
}

/// Marks the request that a message of this id was; gives whether it was one, not answered so before.
pub(super) async fn answered(
    db: &mut SqliteConnection,
    message: &str,
    at: Wall,
) -> Result<bool, sqlx::Error> {
    let marked =
        sqlx::query("UPDATE permission_request SET answered = ?2 WHERE message = ?1 AND answered IS NOT ?2")
            .bind(message)
            .bind(at.millis())
            .execute(db)
            .await?;
    Ok(marked.rows_affected() > 0)
}

/// Who waits to be rung because the user has granted at `at`; nobody afterwards, and nobody whose request has lapsed.
pub(super) async fn take_waiting(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
    at: Wall,
) -> Result<Option<String>, sqlx::Error> {
    let rows = sqlx::query(
        "UPDATE permission_request SET rung = 1
         WHERE id IN (SELECT id FROM permission_request WHERE number = ?1 AND phone = ?2 UNION ALL
                      SELECT id FROM permission_request WHERE number = ?1 AND bsuid = ?3)
           AND refused = 0 AND rung = 0 AND ring IS NOT NULL AND COALESCE(answered, taken, sent) > ?4
         RETURNING sent, ring",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .bind((at - REQUEST_LIFE).millis())
    .fetch_all(db)
    .await?;
    let newest = rows.iter().max_by_key(|row| row.try_get::<i64, _>("sent").unwrap_or(0));
    newest.map(|row| row.try_get("ring")).transpose()
}

struct NewRequest {
    rules: Rules,
    ask: Ask,
    ring: Option<String>,
    now: Wall,
}

impl Write for NewRequest {
    type Output = Result<(RequestId, RequestKind), AskDenial>;
    const OPERATION: Operation = Operation::Reserve;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Self::Output, sqlx::Error> {
        users::remember(db, &self.ask.user).await?;
        let ids = users::ids(db, &self.ask.user).await?;
        let facts = facts(db, &self.ask.number, &ids, self.now).await?;
        let kind = match decide_request(&self.rules, &facts, &self.ask, self.now) {
            Ok(kind) => kind,
            Err(denial) => return Ok(Err(denial)),
        };
        let row = sqlx::query(
            "INSERT INTO permission_request (number, phone, bsuid, kind, sent, ring)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
        )
        .bind(self.ask.number.as_str())
        .bind(ids.phone)
        .bind(ids.bsuid)
        .bind(kind.as_str())
        .bind(self.now.millis())
        .bind(self.ring.as_deref())
        .fetch_one(db)
        .await?;
        Ok(Ok((RequestId(row.try_get(0)?), kind)))
    }
}

struct Taken {
    id: RequestId,
    /// `None`: Meta refused it.
    message: Option<String>,
    at: Wall,
}

impl Write for Taken {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let query = match &self.message {
            Some(message) => {
                sqlx::query("UPDATE permission_request SET taken = ?2, message = ?3 WHERE id = ?1")
                    .bind(self.id.0)
                    .bind(self.at.millis())
                    .bind(message)
            }
            None => sqlx::query("UPDATE permission_request SET refused = 1 WHERE id = ?1").bind(self.id.0),
        };
        let known = query.execute(&mut *db).await?.rows_affected() > 0;
        if self.message.is_none() || !known {
            return Ok(());
        }
        let row = sqlx::query("SELECT number, phone, bsuid, kind FROM permission_request WHERE id = ?1")
            .bind(self.id.0)
            .fetch_one(&mut *db)
            .await?;
        let (number, form): (String, String) = (row.try_get("number")?, row.try_get("kind")?);
        let ids = Ids { phone: row.try_get("phone")?, bsuid: row.try_get("bsuid")? };
        let detail = Some(serde_json::json!({ "form": form }).to_string());
        let (at, kind, number) = (self.at, EventKind::PermissionRequested, Some(number.as_str()));
        tell(db, NewEvent { at, kind, number, call: None, ids, detail }).await
    }
}
