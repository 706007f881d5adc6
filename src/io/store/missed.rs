//! Missed calls: written with the record's end, settled by the next conversation with the user.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::events::{EventKind, NewEvent, tell};
use super::users::{self, Ids};
use super::writer::Write;
use super::{Store, StoreError, permissions, records, voicemail};
use crate::call::record::{CallRecord, MissedCall};
use crate::id::{CallId, PhoneNumberId};
use crate::policy::Permission;
use crate::time::Wall;

/// So many candidates are looked at for one that may be called back.
const LOOKED_AT: u32 = 200;

/// Which missed calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissedFilter {
    /// Of these business numbers; `None`: of any.
    pub numbers: Option<Vec<PhoneNumberId>>,
    /// Those that are settled, too.
    pub settled: bool,
    /// Later than this one: where the page before ended.
    pub after: Option<(Wall, CallId)>,
}

/// What became of the wish to call back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the claimer's for as long as the lease lasts.
    Taken(Box<MissedCall>),
    /// Somebody else calls back at this moment.
    Busy(String),
    /// The user has not allowed calls, or not any more; nobody has claimed it.
    NotAllowed(Box<MissedCall>),
    /// It was settled before.
    Settled,
    /// There is no such missed call; for a queue: none that may be called back now.
    None,
}

impl Store {
    /// Up to `limit` missed calls with what the users allow, oldest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn missed(&self, limit: u32, filter: &MissedFilter) -> Result<Vec<MissedCall>, StoreError> {
        let mut db = self.readers().acquire().await?;
        let numbers = filter.numbers.as_ref().map(|all| {
            serde_json::json!(all.iter().map(PhoneNumberId::as_str).collect::<Vec<_>>()).to_string()
        });
        let rows = sqlx::query(
            "SELECT call.*, recording.*, missed.claimed_by, missed.claimed_at, missed.settled, missed.settled_by
             FROM missed JOIN call ON call.id = missed.call LEFT JOIN recording ON recording.call = call.id
             WHERE (?1 IS NULL OR missed.number IN (SELECT value FROM json_each(?1))) AND (?2 OR missed.settled IS NULL)
               AND (?4 IS NULL OR (missed.at, missed.call) > (?4, ?5))
             ORDER BY missed.at, missed.call LIMIT ?3",
        )
        .bind(numbers)
        .bind(filter.settled)
        .bind(limit)
        .bind(filter.after.map(|(at, _)| at.millis()))
        .bind(filter.after.map(|(_, call)| call.0.cast_signed()))
        .fetch_all(&mut *db)
        .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(read(&mut db, row).await?);
        }
        Ok(found)
    }

    /// Claims a missed call for `by`; the same one may claim it again.
    ///
    /// # Errors
    /// As every write.
    pub async fn claim_missed(
        &self,
        call: CallId,
        by: &str,
        now: Wall,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        self.0.writer.submit(ClaimOne { call, by: by.to_owned(), now, lease }).await
    }

    /// Claims the oldest missed call of these numbers whose user may be called now and that nobody else has.
    ///
    /// # Errors
    /// As every write.
    pub async fn claim_next_missed(
        &self,
        numbers: &[PhoneNumberId],
        by: &str,
        now: Wall,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        let (numbers, by) = (numbers.to_vec(), by.to_owned());
        self.0.writer.submit(ClaimNext { numbers, by, now, lease }).await
    }

    /// Takes a missed call off the list; gives whether it was on it.
    ///
    /// # Errors
    /// As every write.
    pub async fn settle_missed(&self, call: CallId, by: &str, now: Wall) -> Result<bool, StoreError> {
        self.0.writer.submit(Settle { call, by: by.to_owned(), now }).await
    }
}

/// Keeps the list; part of writing a record. A conversation settles what the user called in vain before.
pub(super) async fn follow(
    db: &mut SqliteConnection,
    record: &CallRecord,
    ended: Option<Wall>,
    ids: &Ids,
) -> Result<(), sqlx::Error> {
    let number = record.phone_number_id.as_str();
    if let (Some(at), true) = (ended, record.is_missed_once_over()) {
        let listed = sqlx::query(
            "INSERT INTO missed (call, number, phone, bsuid, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )
        .bind(record.id.0.cast_signed())
        .bind(number)
        .bind(ids.phone.as_deref())
        .bind(ids.bsuid.as_deref())
        .bind(record.opened.millis())
        .execute(&mut *db)
        .await?;
        if listed.rows_affected() == 0 {
            return Ok(());
        }
        let (kind, number, call) = (EventKind::CallMissed, Some(record.number.as_str()), Some(record.id));
        tell(db, NewEvent { at, kind, number, call, ids: Ids::default(), detail: None }).await
    } else if let Some(at) = record.talked_at() {
        sqlx::query(
            "UPDATE missed SET settled = ?4, settled_by = ?5
             WHERE call IN (SELECT call FROM missed WHERE settled IS NULL AND number = ?1 AND phone = ?2 UNION ALL
                            SELECT call FROM missed WHERE settled IS NULL AND number = ?1 AND bsuid = ?3)
               AND at <= ?6",
        )
        .bind(number)
        .bind(ids.phone.as_deref())
        .bind(ids.bsuid.as_deref())
        .bind(at.millis())
        .bind(format!("call {}", record.id))
        .bind(record.opened.millis())
        .execute(db)
        .await
        .map(drop)
    } else {
        Ok(())
    }
}

async fn read(db: &mut SqliteConnection, row: &SqliteRow) -> Result<MissedCall, sqlx::Error> {
    let record = records::read(row)?;
    let ids = users::ids(db, &record.user).await?;
    let permission = permissions::held(db, &record.phone_number_id, &ids).await?.permission;
    let wall = |name: &str| row.try_get::<Option<i64>, _>(name).map(|it| it.map(Wall));
    let pair = |at: Option<Wall>, by: Option<String>| at.zip(by);
    let voicemails = voicemail::of_call(db, record.id).await?;
    Ok(MissedCall {
        claimed: pair(wall("claimed_at")?, row.try_get("claimed_by")?),
        settled: pair(wall("settled")?, row.try_get("settled_by")?),
        permission,
        record,
        voicemails,
    })
}

fn callable(permission: Permission, now: Wall) -> bool {
    match permission {
        Permission::Permanent => true,
        Permission::Temporary { until } => now < until,
        _ => false,
    }
}

const ONE: &str = "SELECT call.*, recording.*, missed.claimed_by, missed.claimed_at, missed.settled,
           missed.settled_by
    FROM missed JOIN call ON call.id = missed.call LEFT JOIN recording ON recording.call = call.id
    WHERE missed.call = ?1";

async fn claim(db: &mut SqliteConnection, call: CallId, by: &str, now: Wall) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE missed SET claimed_by = ?2, claimed_at = ?3 WHERE call = ?1")
        .bind(call.0.cast_signed())
        .bind(by)
        .bind(now.millis())
        .execute(db)
        .await
        .map(drop)
}

struct ClaimOne {
    call: CallId,
    by: String,
    now: Wall,
    lease: Duration,
}

impl Write for ClaimOne {
    type Output = Claim;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Claim, sqlx::Error> {
        let row = sqlx::query(ONE).bind(self.call.0.cast_signed()).fetch_optional(&mut *db).await?;
        let Some(row) = row else { return Ok(Claim::None) };
        let missed = read(db, &row).await?;
        if missed.settled.is_some() {
            return Ok(Claim::Settled);
        }
        if let Some((at, by)) = &missed.claimed
            && *by != self.by
            && *at + self.lease > self.now
        {
            return Ok(Claim::Busy(by.clone()));
        }
        if !callable(missed.permission, self.now) {
            return Ok(Claim::NotAllowed(Box::new(missed)));
        }
        claim(db, self.call, &self.by, self.now).await?;
        Ok(Claim::Taken(Box::new(missed)))
    }
}

struct ClaimNext {
    numbers: Vec<PhoneNumberId>,
    by: String,
    now: Wall,
    lease: Duration,
}

impl Write for ClaimNext {
    type Output = Claim;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Claim, sqlx::Error> {
        let candidates = sqlx::query(
            "SELECT call, number FROM missed
             WHERE settled IS NULL AND (claimed_at IS NULL OR claimed_at <= ?1 OR claimed_by = ?2)
             ORDER BY at LIMIT ?3",
        )
        .bind((self.now - self.lease).millis())
        .bind(&self.by)
        .bind(LOOKED_AT)
        .fetch_all(&mut *db)
        .await?;
        for candidate in &candidates {
            let number: String = candidate.try_get("number")?;
            if !self.numbers.iter().any(|it| it.as_str() == number) {
                continue;
            }
            let id: i64 = candidate.try_get("call")?;
            let Some(row) = sqlx::query(ONE).bind(id).fetch_optional(&mut *db).await? else { continue };
            let missed = read(db, &row).await?;
            if callable(missed.permission, self.now) {
                claim(db, missed.record.id, &self.by, self.now).await?;
                return Ok(Claim::Taken(Box::new(missed)));
            }
        }
        Ok(Claim::None)
    }
}

struct Settle {
    call: CallId,
    by: String,
    now: Wall,
}

impl Write for Settle {
    type Output = bool;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let outcome = sqlx::query(
            "UPDATE missed SET settled = ?2, settled_by = ?3 WHERE call = ?1 AND settled IS NULL",
        )
        .bind(self.call.0.cast_signed())
        .bind(self.now.millis())
        .bind(&self.by)
        .execute(db)
        .await?;
        Ok(outcome.rows_affected() > 0)
    }
}
