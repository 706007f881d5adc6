//! What was recorded of which call; told by the recorder, mostly after the call's record was closed.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::writer::Write;
use super::{Store, StoreError};
use crate::call::record::RecordingLine;
use crate::id::CallId;

impl Store {
    /// Keeps what is known of a call's recording; the last word counts.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_recording(&self, call: CallId, line: &RecordingLine) -> Result<(), StoreError> {
        self.0.writer.submit(NoteRecording { call, line: line.clone() }).await
    }
}

/// The recording of a row of calls joined with recordings.
pub(super) fn read(row: &SqliteRow) -> Result<Option<RecordingLine>, sqlx::Error> {
    let Some(seconds) = row.try_get::<Option<u32>, _>("recording_secs")? else { return Ok(None) };
    Ok(Some(RecordingLine {
        file: row.try_get("recording_file")?,
        seconds,
        ended: row.try_get("recording_ended")?,
    }))
}

struct NoteRecording {
    call: CallId,
    line: RecordingLine,
}

impl Write for NoteRecording {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO recording (call, recording_file, recording_secs, recording_ended)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (call) DO UPDATE SET recording_file = ?2, recording_secs = ?3, recording_ended = ?4",
        )
        .bind(self.call.0.cast_signed())
        .bind(&self.line.file)
        .bind(self.line.seconds)
        .bind(&self.line.ended)
        .execute(db)
        .await
        .map(drop)
    }
}
