//! Phones whose people do not want to be disturbed.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::writer::Write;
use super::{Store, StoreError};
use crate::id::PhoneName;
use crate::time::Wall;

impl Store {
    /// Keeps that a phone does not want to be rung (`since` that moment), or does again (`None`).
    ///
    /// # Errors
    /// As every write.
    pub async fn set_do_not_disturb(&self, phone: &PhoneName, since: Option<Wall>) -> Result<(), StoreError> {
        self.0.writer.submit(SetDoNotDisturb { phone: phone.clone(), since }).await
    }

    /// Who does not want to be rung, since when.
    ///
    /// # Errors
    /// As every read.
    pub async fn do_not_disturb(&self) -> Result<Vec<(PhoneName, Wall)>, StoreError> {
        let rows = sqlx::query("SELECT phone, since FROM do_not_disturb ORDER BY phone")
            .fetch_all(self.readers())
            .await?;
        let read =
            |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get::<String, _>(0)?.into(), Wall(row.try_get(1)?)));
        Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
    }
}

struct SetDoNotDisturb {
    phone: PhoneName,
    since: Option<Wall>,
}

impl Write for SetDoNotDisturb {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let query = match self.since {
            Some(since) => sqlx::query(
                "INSERT INTO do_not_disturb (phone, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )
            .bind(self.phone.as_str())
            .bind(since.millis()),
            None => sqlx::query("DELETE FROM do_not_disturb WHERE phone = ?1").bind(self.phone.as_str()),
        };
        query.execute(db).await.map(drop)
    }
}
