//! What people say of calls: outcomes and notes, only ever added.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::events::{EventKind, NewEvent, tell};
use super::users::Ids;
use super::writer::Write;
use super::{Store, StoreError};
use crate::call::record::CallNote;
use crate::id::{CallId, PhoneName};
use crate::masked::Masked;
use crate::time::Wall;

/// So many calls are asked for at once at most; SQLite binds no more than 32,766 values.
const BATCH: usize = 500;

impl Store {
    /// Adds a note to a call.
    ///
    /// Gives whether there is such a call.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_call(&self, call: CallId, note: &CallNote) -> Result<bool, StoreError> {
        self.0.writer.submit(NoteCall { call, note: note.clone() }).await
    }

    /// Adds a note to the last call that a phone had with a user, if it began after `since`; gives which.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_last_call(
        &self,
        phone: &PhoneName,
        since: Wall,
        note: &CallNote,
    ) -> Result<Option<CallId>, StoreError> {
        self.0.writer.submit(NoteLastCall { phone: phone.clone(), since, note: note.clone() }).await
    }

    /// The notes of calls, each call's oldest first; calls without notes are not in it.
    ///
    /// # Errors
    /// As every read.
    pub async fn notes(&self, calls: &[CallId]) -> Result<BTreeMap<CallId, Vec<CallNote>>, StoreError> {
        let mut found: BTreeMap<CallId, Vec<CallNote>> = BTreeMap::new();
        for batch in calls.chunks(BATCH) {
            let mut query = QueryBuilder::new("SELECT * FROM call_note WHERE call IN (");
            let mut ids = query.separated(", ");
            for call in batch {
                ids.push_bind(call.0.cast_signed());
            }
            query.push(") ORDER BY id");
            for row in &query.build().fetch_all(self.readers()).await? {
                let call = CallId(row.try_get::<i64, _>("call")?.cast_unsigned());
                found.entry(call).or_default().push(read(row)?);
            }
        }
        Ok(found)
    }
}

fn read(row: &SqliteRow) -> Result<CallNote, sqlx::Error> {
    Ok(CallNote {
        at: Wall(row.try_get("at")?),
        author: row.try_get("author")?,
        outcome: row.try_get("outcome")?,
        text: row.try_get::<Option<String>, _>("text")?.map(Masked::new),
    })
}

struct NoteCall {
    call: CallId,
    note: CallNote,
}

impl Write for NoteCall {
    type Output = bool;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let outcome = sqlx::query(
            "INSERT INTO call_note (call, at, author, outcome, text)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM call WHERE id = ?1)",
        )
        .bind(self.call.0.cast_signed())
        .bind(self.note.at.millis())
        .bind(&self.note.author)
        .bind(self.note.outcome.as_deref())
        .bind(self.note.text.as_ref().map(|it| it.expose().as_str()))
        .execute(&mut *db)
        .await?;
        if outcome.rows_affected() == 0 {
            return Ok(false);
        }
        // The text may hold anything; whoever may read it asks for it.
        let told = serde_json::json!({ "outcome": self.note.outcome, "author": self.note.author });
        let number: String = sqlx::query("SELECT number FROM call WHERE id = ?1")
            .bind(self.call.0.cast_signed())
            .fetch_one(&mut *db)
            .await?
            .try_get(0)?;
        let (kind, number, detail) = (EventKind::CallNoted, Some(number.as_str()), Some(told.to_string()));
        let (at, call, ids) = (self.note.at, Some(self.call), Ids::default());
        tell(db, NewEvent { at, kind, number, call, ids, detail }).await?;
        Ok(true)
    }
}

struct NoteLastCall {
    phone: PhoneName,
    since: Wall,
    note: CallNote,
}

impl Write for NoteLastCall {
    type Output = Option<CallId>;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Option<CallId>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT id FROM call WHERE endpoint_kind = 'phone' AND endpoint_name = ?1 AND opened >= ?2
             ORDER BY opened DESC, id DESC LIMIT 1",
        )
        .bind(self.phone.as_str())
        .bind(self.since.millis())
        .fetch_optional(&mut *db)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let call = CallId(row.try_get::<i64, _>(0)?.cast_unsigned());
        let noted = NoteCall { call, note: self.note.clone() }.apply(db).await?;
        Ok(noted.then_some(call))
    }
}
