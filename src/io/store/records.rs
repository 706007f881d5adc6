//! Call records: a row opens before the first outward act and closes once.

use sqlx::Row;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};

use super::users::{self, Ids};
use super::writer::{Operation, Outlives, Write};
use super::{Store, StoreError, events, missed, recordings, reservations};
use crate::call::{CallDirection, CallRecord};
use crate::id::{CallId, Endpoint, NumberLabel, WaCallId};
use crate::masked::Masked;
use crate::time::Wall;
use crate::whatsapp::Termination;

/// So many call ids are taken from the file at once.
const ID_BLOCK: u32 = 64;

/// Whether closing a record closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It did; counters and events may follow.
    Now,
    /// It was closed before; nothing has changed.
    Before,
}

/// Which records to list; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Of this business number.
    pub number: Option<NumberLabel>,
    /// Opened at or after this.
    pub since: Option<Wall>,
    /// Opened before this.
    pub until: Option<Wall>,
    /// Of this direction.
    pub direction: Option<CallDirection>,
    /// Only calls that are up, or only those that are over.
    pub ended: Option<bool>,
    /// Older than this one: where the page before ended.
    pub before: Option<(Wall, CallId)>,
}

impl Store {
    /// A call id that was never given before, in rising order within a process.
    ///
    /// # Errors
    /// As every write; most calls do not touch the file.
    pub async fn next_call_id(&self) -> Result<CallId, StoreError> {
        let mut ids = self.0.ids.lock().await;
        if ids.is_empty() {
            let last = self.0.writer.submit(TakeIds).await?;
            *ids = last + 1 - u64::from(ID_BLOCK)..last + 1;
        }
        ids.next().map(CallId).ok_or(StoreError::Busy)
    }

    /// Opens a record. Opening it again updates it, unless it is closed.
    ///
    /// # Errors
    /// As every write.
    pub async fn open_record(&self, record: &CallRecord) -> Result<(), StoreError> {
        self.0.writer.submit(OpenRecord(Box::new(record.clone()))).await
    }

    /// Opens the record of a call whose webhook the inbox still keeps as unhandled.
    ///
    /// It outlives the process at once and does not wait for the disk: after a loss of power the inbox
    /// tells of the call. Mark the event as handled only afterwards.
    ///
    /// # Errors
    /// As every write.
    pub async fn open_record_of_event(&self, record: &CallRecord) -> Result<(), StoreError> {
        self.0.writer.submit(OpenRecordOfEvent(OpenRecord(Box::new(record.clone())))).await
    }

    /// Keeps a call's SIP dialog, as JSON, so that its phone gets BYE after a crash.
    ///
    /// # Errors
    /// As every write.
    pub async fn save_dialog(&self, call: CallId, json: String) -> Result<(), StoreError> {
        self.0.writer.submit(SetText { call, column: Column::Dialog, text: json }).await
    }

    /// Keeps Meta's id of a call, so that Meta gets `terminate` after a crash.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_wa_call(&self, call: CallId, id: &WaCallId) -> Result<(), StoreError> {
        self.0.writer.submit(SetText { call, column: Column::WaCall, text: id.to_string() }).await
    }

    /// Keeps what Meta says about a call's time, also after its record was closed; for a
    /// business-initiated call the start corrects what the caps count.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_termination(&self, call: CallId, told: &Termination) -> Result<(), StoreError> {
        self.0.writer.submit(NoteTermination { call, told: told.clone() }).await
    }

    /// Closes a record and ends its reservation. The first close wins, whatever comes later.
    ///
    /// # Errors
    /// As every write.
    pub async fn close_record(&self, record: &CallRecord) -> Result<Closed, StoreError> {
        self.0.writer.submit(CloseRecord(Box::new(record.clone()))).await
    }

    /// The records that are open, oldest first, with their dialogs: at a start, what a crash left over.
    ///
    /// # Errors
    /// As every read.
    pub async fn open_records(&self) -> Result<Vec<(CallRecord, Option<String>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM call LEFT JOIN recording ON recording.call = call.id
             WHERE ended IS NULL ORDER BY id",
        )
        .fetch_all(self.readers())
        .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push((read(row)?, row.try_get("dialog")?));
        }
        Ok(found)
    }

    /// Up to `limit` records, newest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn calls(&self, limit: u32, filter: &CallFilter) -> Result<Vec<CallRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM call LEFT JOIN recording ON recording.call = call.id
             WHERE opened >= ?1 AND opened < ?2 AND (?3 IS NULL OR number = ?3)
               AND (?4 IS NULL OR (ended IS NOT NULL) = ?4) AND (?5 IS NULL OR direction = ?5)
               AND (?7 IS NULL OR (opened, id) < (?7, ?8))
             ORDER BY opened DESC, id DESC LIMIT ?6",
        )
        .bind(filter.since.map_or(i64::MIN, Wall::millis))
        .bind(filter.until.map_or(i64::MAX, Wall::millis))
        .bind(filter.number.as_ref().map(NumberLabel::as_str))
        .bind(filter.ended)
        .bind(filter.direction.map(CallDirection::as_str))
        .bind(limit)
        .bind(filter.before.map(|(opened, _)| opened.millis()))
        .bind(filter.before.map(|(_, id)| id.0.cast_signed()))
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Up to `limit` records, oldest first, after the one that was opened at `after`: page by page, however many
    /// there are.
    ///
    /// # Errors
    /// As every read.
    pub async fn calls_after(
        &self,
        after: Option<(Wall, CallId)>,
        limit: u32,
        filter: &CallFilter,
    ) -> Result<Vec<CallRecord>, StoreError> {
        let since = filter.since.map_or(i64::MIN, Wall::millis);
        let (opened, id) =
            after.map_or((since, i64::MIN), |(at, id)| (at.millis().max(since), id.0.cast_signed()));
        let rows = sqlx::query(
            "SELECT * FROM call LEFT JOIN recording ON recording.call = call.id
             WHERE (opened, id) > (?1, ?2) AND opened < ?3 AND (?4 IS NULL OR number = ?4)
               AND (?5 IS NULL OR (ended IS NOT NULL) = ?5) AND (?6 IS NULL OR direction = ?6)
             ORDER BY opened, id LIMIT ?7",
        )
        .bind(opened)
        .bind(id)
        .bind(filter.until.map_or(i64::MAX, Wall::millis))
        .bind(filter.number.as_ref().map(NumberLabel::as_str))
        .bind(filter.ended)
        .bind(filter.direction.map(CallDirection::as_str))
        .bind(limit)
        .bind(filter.until.map(Wall::millis))
        .bind(filter.direction.map(CallDirection::as_str))
        .bind(filter.before.map(|(opened, _)| opened.millis()))
        .bind(filter.before.map(|(_, id)| id.0.cast_signed()))
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// One record.
    ///
    /// # Errors
    /// As every read.
    pub async fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        let row =
            sqlx::query("SELECT * FROM call LEFT JOIN recording ON recording.call = call.id WHERE id = ?1")
                .bind(id.0.cast_signed())
                .fetch_optional(self.readers())
                .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }
}

/// Keeps what a decision about a call was made on; part of the reservation.
pub(super) async fn note_dialling(
    db: &mut SqliteConnection,
    call: CallId,
    picture: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE call SET dialling = ?2 WHERE id = ?1")
        .bind(call.0.cast_signed())
        .bind(picture)
        .execute(db)
        .await
        .map(drop)
}

pub(super) fn read(row: &SqliteRow) -> Result<CallRecord, sqlx::Error> {
    let wall = |name: &str| row.try_get::<Option<i64>, _>(name).map(|it| it.map(Wall));
    let damaged = |what: &str| sqlx::Error::Decode(format!("a call record without {what}").into());
    let ids = Ids { phone: row.try_get("phone")?, bsuid: row.try_get("bsuid")? };
    let direction: String = row.try_get("direction")?;
    Ok(CallRecord {
        id: CallId(row.try_get::<i64, _>("id")?.cast_unsigned()),
        wa_call: row.try_get::<Option<String>, _>("wa_call")?.map(WaCallId::from),
        number: row.try_get::<String, _>("number")?.into(),
        phone_number_id: row.try_get::<String, _>("phone_number_id")?.into(),
        direction: CallDirection::parse(&direction).ok_or_else(|| damaged("a direction"))?,
        user: ids.user().ok_or_else(|| damaged("a user"))?,
        user_name: row.try_get::<Option<String>, _>("user_name")?.map(Masked::new),
        endpoint: read_endpoint(row)?,
        opened: Wall(row.try_get("opened")?),
        rang: wall("rang")?,
        answered: wall("answered")?,
        ended: wall("ended")?,
        cause: row.try_get("cause")?,
        fault: row.try_get("fault")?,
        meta_start: wall("meta_start")?,
        meta_end: wall("meta_end")?,
        meta_duration: row.try_get("meta_duration")?,
        sip_call_id: row.try_get("sip_call_id")?,
        media: row.try_get("media")?,
        stages_json: row.try_get("stages")?,
        quality_json: row.try_get("quality")?,
        recording: recordings::read(row)?,
        payload: row.try_get::<Option<String>, _>("payload")?.map(Masked::new),
        dialling_json: row.try_get("dialling")?,
    })
}

fn read_endpoint(row: &SqliteRow) -> Result<Option<Endpoint>, sqlx::Error> {
    let kind: Option<String> = row.try_get("endpoint_kind")?;
    let name: Option<String> = row.try_get("endpoint_name")?;
    let number: Option<String> = row.try_get("endpoint_number")?;
    Ok(match (kind.as_deref(), name) {
        (Some("phone"), Some(name)) => Some(Endpoint::Phone(name.into())),
        (Some("trunk"), Some(name)) => Some(Endpoint::Trunk(name.into(), number.unwrap_or_default())),
        _ => None,
    })
}

struct TakeIds;

impl Write for TakeIds {
    type Output = u64;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let row = sqlx::query("UPDATE counter SET value = value + ?1 WHERE name = 'call' RETURNING value")
            .bind(ID_BLOCK)
            .fetch_one(db)
            .await?;
        Ok(row.try_get::<i64, _>(0)?.cast_unsigned())
    }
}

/// What stands in both statements below, in this order.
fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    record: &'q CallRecord,
    ids: Ids,
    ended: Option<Wall>,
) -> Query<'q, Sqlite, SqliteArguments> {
    let (kind, name, number) = match &record.endpoint {
        Some(Endpoint::Phone(name)) => (Some("phone"), Some(name.as_str()), None),
        Some(Endpoint::Trunk(name, number)) => (Some("trunk"), Some(name.as_str()), Some(number.as_str())),
        None => (None, None, None),
    };
    query
        .bind(record.id.0.cast_signed())
        .bind(record.wa_call.as_ref().map(WaCallId::as_str))
        .bind(record.number.as_str())
        .bind(record.phone_number_id.as_str())
        .bind(record.direction.as_str())
        .bind(ids.phone)
        .bind(ids.bsuid)
        .bind(record.user_name.as_ref().map(|it| it.expose().as_str()))
        .bind(kind)
        .bind(name)
        .bind(number)
        .bind(record.opened.millis())
        .bind(record.rang.map(Wall::millis))
        .bind(record.answered.map(Wall::millis))
        .bind(ended.map(Wall::millis))
        .bind(record.cause.as_deref())
        .bind(record.fault.as_deref())
        .bind(record.meta_start.map(Wall::millis))
        .bind(record.meta_end.map(Wall::millis))
        .bind(record.meta_duration)
        .bind(record.sip_call_id.as_deref())
        .bind(record.media.as_deref())
        .bind(record.stages_json.as_deref())
        .bind(record.quality_json.as_deref())
        .bind(record.payload.as_ref().map(|it| it.expose().as_str()))
}

/// Writes a whole record, closed (`ended` given) or open; a closed one is left alone. What the record
/// does not know keeps what the row knows. Gives whether anything was written.
async fn upsert(
    db: &mut SqliteConnection,
    record: &CallRecord,
    ended: Option<Wall>,
) -> Result<bool, sqlx::Error> {
    users::remember(db, &record.user).await?;
    let ids = users::ids(db, &record.user).await?;
    let before = events::Progress::of(db, record.id).await?;
    let query = sqlx::query(
        "INSERT INTO call (id, wa_call, number, phone_number_id, direction, phone, bsuid, user_name,
                           endpoint_kind, endpoint_name, endpoint_number, opened, rang, answered, ended,
                           cause, fault, meta_start, meta_end, meta_duration, sip_call_id, media, stages, quality,
                           payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                 ?22, ?23, ?24, ?25)
         ON CONFLICT (id) DO UPDATE SET
            wa_call = IFNULL(?2, wa_call), phone = IFNULL(?6, phone), bsuid = IFNULL(?7, bsuid),
            user_name = IFNULL(?8, user_name), endpoint_kind = IFNULL(?9, endpoint_kind),
            endpoint_name = IFNULL(?10, endpoint_name),
            endpoint_number = CASE WHEN ?9 IS NULL THEN endpoint_number ELSE ?11 END,
            rang = IFNULL(?13, rang), answered = IFNULL(?14, answered), ended = ?15,
            cause = IFNULL(?16, cause), fault = IFNULL(?17, fault), meta_start = IFNULL(?18, meta_start),
            meta_end = IFNULL(?19, meta_end), meta_duration = IFNULL(?20, meta_duration),
            sip_call_id = IFNULL(?21, sip_call_id), media = IFNULL(?22, media), stages = IFNULL(?23, stages),
            quality = IFNULL(?24, quality), payload = IFNULL(?25, payload)
         WHERE ended IS NULL",
    );
    let written = bind(query, record, ids.clone(), ended).execute(&mut *db).await?.rows_affected() > 0;
    if written {
        before.tell(db, record, ended).await?;
        missed::follow(db, record, ended, &ids).await?;
    }
    Ok(written)
}

struct OpenRecord(Box<CallRecord>);

impl Write for OpenRecord {
    type Output = ();
    const OPERATION: Operation = Operation::Open;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        upsert(db, &self.0, None).await.map(drop)
    }
}

struct OpenRecordOfEvent(OpenRecord);

impl Write for OpenRecordOfEvent {
    type Output = ();
    const OPERATION: Operation = Operation::Open;
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        self.0.apply(db).await
    }
}

struct CloseRecord(Box<CallRecord>);

impl Write for CloseRecord {
    type Output = Closed;
    const OPERATION: Operation = Operation::Close;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Closed, sqlx::Error> {
        let record = &self.0;
        // A record without an end would stay open for ever; its last known moment stands in.
        let last = [Some(record.opened), record.rang, record.answered].into_iter().flatten().max();
        let written = upsert(db, record, record.ended.or(last)).await?;
        reservations::end(db, record.id).await?;
        Ok(if written { Closed::Now } else { Closed::Before })
    }
}

#[derive(Clone, Copy)]
enum Column {
    Dialog,
    WaCall,
}

struct SetText {
    call: CallId,
    column: Column,
    text: String,
}

impl Write for SetText {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let query = match self.column {
            Column::Dialog => "UPDATE call SET dialog = ?2 WHERE id = ?1",
            Column::WaCall => "UPDATE call SET wa_call = ?2 WHERE id = ?1",
        };
        let outcome = sqlx::query(query).bind(self.call.0.cast_signed()).bind(&self.text).execute(db).await?;
        if outcome.rows_affected() == 0 {
            tracing::error!(call = %self.call, "something was to be kept for a call that has no record");
        }
        Ok(())
    }
}

struct NoteTermination {
    call: CallId,
    told: Termination,
}

impl Write for NoteTermination {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let (call, start) = (self.call.0.cast_signed(), self.told.start.map(Wall::millis));
        sqlx::query(
            "UPDATE call SET meta_start = IFNULL(?2, meta_start), meta_end = IFNULL(?3, meta_end),
                             meta_duration = IFNULL(?4, meta_duration) WHERE id = ?1",
        )
        .bind(call)
        .bind(start)
        .bind(self.told.end.map(Wall::millis))
        .bind(self.told.duration.map(|it| it.as_secs().cast_signed()))
        .execute(&mut *db)
        .await?;
        sqlx::query("UPDATE reservation SET connected = ?2 WHERE call = ?1 AND ?2 IS NOT NULL")
            .bind(call)
            .bind(start)
            .execute(db)
            .await
            .map(drop)
    }
}
