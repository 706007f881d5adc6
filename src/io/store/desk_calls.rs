//! Records of calls between desks: a row opens before the first outward act and closes once.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::writer::{Operation, Write};
use super::{Closed, Store, StoreError};
use crate::call::desk::DeskRecord;
use crate::id::{CallId, Endpoint, Seat};
use crate::time::Wall;

impl Store {
    /// Opens the record of a call between desks. Opening it again updates it, unless it is closed.
    ///
    /// # Errors
    /// As every write.
    pub async fn open_desk_call(&self, record: &DeskRecord) -> Result<(), StoreError> {
        self.0.writer.submit(Upsert { record: Box::new(record.clone()), close: false }).await.map(drop)
    }

    /// Closes it. The first close wins, whatever comes later.
    ///
    /// # Errors
    /// As every write.
    pub async fn close_desk_call(&self, record: &DeskRecord) -> Result<Closed, StoreError> {
        self.0.writer.submit(Upsert { record: Box::new(record.clone()), close: true }).await
    }

    /// Keeps the SIP dialog of one of the two, as JSON, so that it gets BYE after a crash.
    ///
    /// # Errors
    /// As every write.
    pub async fn save_desk_dialog(&self, call: CallId, seat: Seat, json: String) -> Result<(), StoreError> {
        self.0.writer.submit(SaveDialog { call, seat, json }).await
    }

    /// The records that are open, oldest first, with the dialogs of caller and callee: what a crash left over.
    ///
    /// # Errors
    /// As every read.
    pub async fn open_desk_calls(&self) -> Result<Vec<(DeskRecord, [Option<String>; 2])>, StoreError> {
        let rows = sqlx::query("SELECT * FROM desk_call WHERE ended IS NULL ORDER BY id")
            .fetch_all(self.readers())
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push((read(row)?, [row.try_get("caller_dialog")?, row.try_get("callee_dialog")?]));
        }
        Ok(found)
    }

    /// Up to `limit` records, newest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn desk_calls(&self, limit: u32) -> Result<Vec<DeskRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM desk_call ORDER BY opened DESC, id DESC LIMIT ?1")
            .bind(limit)
            .fetch_all(self.readers())
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn read(row: &SqliteRow) -> Result<DeskRecord, sqlx::Error> {
    let wall = |name: &str| row.try_get::<Option<i64>, _>(name).map(|it| it.map(Wall));
    let endpoint = |who: &str| -> Result<Endpoint, sqlx::Error> {
        let kind: String = row.try_get(format!("{who}_kind").as_str())?;
        let name: String = row.try_get(format!("{who}_name").as_str())?;
        let number: Option<String> = row.try_get(format!("{who}_number").as_str())?;
        Ok(match kind.as_str() {
            "trunk" => Endpoint::Trunk(name.into(), number.unwrap_or_default()),
            _ => Endpoint::Phone(name.into()),
        })
    };
    Ok(DeskRecord {
        id: CallId(row.try_get::<i64, _>("id")?.cast_unsigned()),
        caller: endpoint("caller")?,
        callee: endpoint("callee")?,
        opened: Wall(row.try_get("opened")?),
        rang: wall("rang")?,
        answered: wall("answered")?,
        ended: wall("ended")?,
        cause: row.try_get("cause")?,
        fault: row.try_get("fault")?,
        sip_call_id: row.try_get("sip_call_id")?,
        media: row.try_get("media")?,
        quality_json: row.try_get("quality")?,
    })
}

struct Upsert {
    record: Box<DeskRecord>,
    close: bool,
}

impl Write for Upsert {
    type Output = Closed;
    const OPERATION: Operation = Operation::Open;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Closed, sqlx::Error> {
        let record = &self.record;
        let parts = |endpoint: &Endpoint| match endpoint {
            Endpoint::Phone(name) => ("phone", name.as_str().to_owned(), None),
            Endpoint::Trunk(name, number) => ("trunk", name.as_str().to_owned(), Some(number.clone())),
        };
        let (caller, callee) = (parts(&record.caller), parts(&record.callee));
        // A record without an end would stay open for ever; its last known moment stands in.
        let last = [Some(record.opened), record.rang, record.answered].into_iter().flatten().max();
        let ended = record.ended.or(last).filter(|_| self.close);
        let written = sqlx::query(
            "INSERT INTO desk_call (id, caller_kind, caller_name, caller_number, callee_kind, callee_name,
                                    callee_number, opened, rang, answered, ended, cause, fault, sip_call_id,
                                    media, quality)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (id) DO UPDATE SET
                caller_kind = ?2, caller_name = ?3, caller_number = ?4, callee_kind = ?5, callee_name = ?6,
                callee_number = ?7, rang = IFNULL(?9, rang), answered = IFNULL(?10, answered), ended = ?11,
                cause = IFNULL(?12, cause), fault = IFNULL(?13, fault), media = IFNULL(?15, media),
                quality = IFNULL(?16, quality)
             WHERE ended IS NULL",
        )
        .bind(record.id.0.cast_signed())
        .bind(caller.0)
        .bind(caller.1)
        .bind(caller.2)
        .bind(callee.0)
        .bind(callee.1)
        .bind(callee.2)
        .bind(record.opened.millis())
        .bind(record.rang.map(Wall::millis))
        .bind(record.answered.map(Wall::millis))
        .bind(ended.map(Wall::millis))
        .bind(record.cause.as_deref())
        .bind(record.fault.as_deref())
        .bind(record.sip_call_id.as_str())
        .bind(record.media.as_deref())
        .bind(record.quality_json.as_deref())
        .execute(db)
        .await?
        .rows_affected();
        Ok(if written > 0 { Closed::Now } else { Closed::Before })
    }
}

struct SaveDialog {
    call: CallId,
    seat: Seat,
    json: String,
}

impl Write for SaveDialog {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let query = match self.seat {
            Seat::Caller => "UPDATE desk_call SET caller_dialog = ?2 WHERE id = ?1",
            Seat::Callee => "UPDATE desk_call SET callee_dialog = ?2 WHERE id = ?1",
        };
        sqlx::query(query).bind(self.call.0.cast_signed()).bind(&self.json).execute(db).await.map(drop)
    }
}
