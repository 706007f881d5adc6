//! Requests that are done once however often they are sent: what each Idempotency-Key was answered.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::writer::Write;
use super::{Store, StoreError};
use crate::time::Wall;

/// SHA-256 of a request's method, path and body.
pub type Fingerprint = [u8; 32];

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: it is claimed now, the request may be done.
    New,
    /// The same request was answered so.
    Answered(u16, String),
    /// The same request is being done, or the gateway died while it was.
    Unanswered,
    /// The key came with another request before.
    Other,
}

impl Store {
    /// Claims a key of a token for a request.
    ///
    /// # Errors
    /// As every write.
    pub async fn ask_once(
        &self,
        token: &str,
        key: &str,
        fingerprint: Fingerprint,
        at: Wall,
    ) -> Result<Asked, StoreError> {
        let write = Claim { token: token.to_owned(), key: key.to_owned(), fingerprint, at };
        self.0.writer.submit(write).await
    }

    /// Keeps what the request of a key was answered; `None` gives the key back: nothing was done.
    ///
    /// # Errors
    /// As every write.
    pub async fn asked(
        &self,
        token: &str,
        key: &str,
        answer: Option<(u16, String)>,
    ) -> Result<(), StoreError> {
        self.0.writer.submit(Answer { token: token.to_owned(), key: key.to_owned(), answer }).await
    }
}

struct Claim {
    token: String,
    key: String,
    fingerprint: Fingerprint,
    at: Wall,
}

impl Write for Claim {
    type Output = Asked;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Asked, sqlx::Error> {
        let claimed = sqlx::query(
            "INSERT INTO asked (token, key, fingerprint, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )
        .bind(&self.token)
        .bind(&self.key)
        .bind(&self.fingerprint[..])
        .bind(self.at.millis())
        .execute(&mut *db)
        .await?;
        if claimed.rows_affected() > 0 {
            return Ok(Asked::New);
        }
        let row = sqlx::query("SELECT fingerprint, status, body FROM asked WHERE token = ?1 AND key = ?2")
            .bind(&self.token)
            .bind(&self.key)
            .fetch_one(db)
            .await?;
        if row.try_get::<Vec<u8>, _>("fingerprint")? != self.fingerprint {
            return Ok(Asked::Other);
        }
        let (status, body): (Option<u16>, Option<String>) = (row.try_get("status")?, row.try_get("body")?);
        Ok(status.zip(body).map_or(Asked::Unanswered, |(status, body)| Asked::Answered(status, body)))
    }
}

struct Answer {
    token: String,
    key: String,
    answer: Option<(u16, String)>,
}

impl Write for Answer {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let query = match &self.answer {
            Some((status, body)) => {
                sqlx::query("UPDATE asked SET status = ?3, body = ?4 WHERE token = ?1 AND key = ?2")
                    .bind(&self.token)
                    .bind(&self.key)
                    .bind(*status)
                    .bind(body)
            }
            None => sqlx::query("DELETE FROM asked WHERE token = ?1 AND key = ?2")
                .bind(&self.token)
                .bind(&self.key),
        };
        query.execute(db).await.map(drop)
    }
}
