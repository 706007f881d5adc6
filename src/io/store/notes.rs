//! What people say of calls: outcomes and notes, only ever added.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::writer::Write;
use super::{Store, StoreError};
use crate::call::record::CallNote;
use crate::id::CallId;
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
        .execute(db)
        .await?;
        Ok(outcome.rows_affected() > 0)
    }
}
