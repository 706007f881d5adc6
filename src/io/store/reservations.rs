//! Caps, exactly: the facts are read, the decision is made and its reservation is written in one
//! IMMEDIATE transaction, between which no other process writes.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::events::{EventKind, NewEvent, tell};
use super::users::{self, Ids};
use super::writer::{Operation, Write};
use super::{Store, StoreError, guards, permissions, records};
use crate::id::{CallId, PhoneNumberId};
use crate::policy::{Attempt, Cap, CapName, CapWarning, Decision, Facts, InFlight, Rules, decide, picture};
use crate::time::{Now, Wall};

/// Meta counts initiations in 24 hours (reference §8).
const DAY: Duration = Duration::from_secs(86_400);

impl Store {
    /// Decides about an attempt and, if it may go ahead, reserves its place.
    ///
    /// The place is held until [`Store::connected`] makes it a connected call, [`Store::release`] or
    /// [`Store::close_record`] gives it back, or it lapses. The same call id again renews its own place.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: no place was taken. [`StoreError::Uncertain`]: release it.
    pub async fn reserve(&self, rules: &Rules, attempt: &Attempt, now: Now) -> Result<Decision, StoreError> {
        let write = Reserve { rules: rules.clone(), attempt: attempt.clone(), now };
        self.0.writer.submit(write).await
    }

    /// The call was picked up; the first moment that is told stays until it is corrected.
    ///
    /// # Errors
    /// As every write.
    pub async fn connected(&self, call: CallId, at: Wall) -> Result<(), StoreError> {
        self.0.writer.submit(Connected { call, at, corrects: false }).await
    }

    /// Meta's `start_time`: replaces what we thought, and counts a call whose `ACCEPTED` never came.
    ///
    /// # Errors
    /// As every write.
    pub async fn correct_start(&self, call: CallId, start: Wall) -> Result<(), StoreError> {
        self.0.writer.submit(Connected { call, at: start, corrects: true }).await
    }

    /// The call is over, or never was: its place is free. A connected call goes on counting in the windows.
    ///
    /// # Errors
    /// As every write.
    pub async fn release(&self, call: CallId) -> Result<(), StoreError> {
        self.0.writer.submit(Release { call, placed: true }).await
    }

    /// As [`Store::release`], for a call that Meta never had: it is no initiation either.
    ///
    /// # Errors
    /// As every write.
    pub async fn withdraw(&self, call: CallId) -> Result<(), StoreError> {
        self.0.writer.submit(Release { call, placed: false }).await
    }

    /// The user's phone rings: if nobody takes the call, it counts in the unanswered run.
    ///
    /// # Errors
    /// As every write.
    pub async fn rang(&self, call: CallId, at: Wall) -> Result<(), StoreError> {
        self.0.writer.submit(Rang { call, at }).await
    }

    /// What [`Store::reserve`] would decide now, without taking a place; for people and for the API.
    ///
    /// # Errors
    /// As every read.
    pub async fn judge(
        &self,
        rules: &Rules,
        attempt: &Attempt,
        now: Now,
    ) -> Result<(Facts, Decision), StoreError> {
        let mut db = self.readers().acquire().await?;
        let ids = users::ids(&mut db, &attempt.user).await?;
        let reserve = Reserve { rules: rules.clone(), attempt: attempt.clone(), now };
        let facts = reserve.facts(&mut db, &ids).await?;
        let decision = decide(rules, &facts, &reserve.whom(&ids), now);
        Ok((facts, decision))
    }
}

/// How much of a business number's cap is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapUse {
    /// Calls that were picked up inside the window.
    pub connected: u32,
    /// Places held by calls that are not answered yet.
    pub reserved: u32,
    /// Calls started in the last 24 hours.
    pub started: u32,
}

impl Store {
    /// What the window of a business number's cap holds, for the metrics; nothing is decided by it.
    ///
    /// # Errors
    /// As every read.
    pub async fn cap_use(
        &self,
        number: &PhoneNumberId,
        window: Duration,
        now: Now,
    ) -> Result<CapUse, StoreError> {
        let mut db = self.readers().acquire().await?;
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM reservation WHERE number = ?1 AND connected > ?2),
                    (SELECT COUNT(*) FROM reservation WHERE number = ?1 AND connected IS NULL AND ended = 0),
                    (SELECT COUNT(*) FROM reservation WHERE number = ?1 AND placed = 1 AND reserved > ?3)",
        )
        .bind(number.as_str())
        .bind((now.wall - window).millis())
        .bind((now.wall - DAY).millis())
        .fetch_one(&mut *db)
        .await?;
        Ok(CapUse { connected: row.try_get(0)?, reserved: row.try_get(1)?, started: row.try_get(2)? })
    }
}

/// Ends a reservation; part of closing a record too.
pub(super) async fn end(db: &mut SqliteConnection, call: CallId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE reservation SET ended = 1 WHERE call = ?1")
        .bind(call.0.cast_signed())
        .execute(db)
        .await
        .map(drop)
}

struct Reserve {
    rules: Rules,
    attempt: Attempt,
    now: Now,
}

impl Write for Reserve {
    type Output = Decision;
    const OPERATION: Operation = Operation::Reserve;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Decision, sqlx::Error> {
        users::remember(db, &self.attempt.user).await?;
        let ids = users::ids(db, &self.attempt.user).await?;
        let facts = self.facts(db, &ids).await?;
        let decision = decide(&self.rules, &facts, &self.whom(&ids), self.now);
        records::note_dialling(db, self.attempt.call, &picture(&self.rules, &facts)).await?;
        if let Decision::Allow(grant) = &decision {
            self.tell_warnings(db, &ids, &grant.warnings).await?;
            sqlx::query(
                "INSERT INTO reservation (call, number, phone, bsuid, reserved) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (call) DO UPDATE SET reserved = excluded.reserved, ended = 0, placed = 1",
            )
            .bind(self.attempt.call.0.cast_signed())
            .bind(self.attempt.number.as_str())
            .bind(ids.phone)
            .bind(ids.bsuid)
            .bind(self.now.wall.millis())
            .execute(db)
            .await?;
        }
        Ok(decision)
    }
}

impl Reserve {
    /// What a cap warns of is told with the place that brings it there.
    async fn tell_warnings(
        &self,
        db: &mut SqliteConnection,
        ids: &Ids,
        warnings: &[CapWarning],
    ) -> Result<(), sqlx::Error> {
        for CapWarning { cap, used, max } in warnings {
            let told = serde_json::json!({ "cap": cap.label(), "used": used, "max": max });
            let ids = if *cap == CapName::Pair { ids.clone() } else { Ids::default() };
            let (at, kind, number) =
                (self.now.wall, EventKind::CapWarning, Some(self.attempt.number.as_str()));
            let (call, detail) = (Some(self.attempt.call), Some(told.to_string()));
            tell(db, NewEvent { at, kind, number, call, ids, detail }).await?;
        }
        Ok(())
    }

    /// The attempt with both ids of the user: a bar on the number holds for whoever dials the scoped id, too.
    fn whom(&self, ids: &Ids) -> Attempt {
        let user = ids.user().unwrap_or_else(|| self.attempt.user.clone());
        Attempt { user, ..self.attempt.clone() }
    }

    async fn facts(&self, db: &mut SqliteConnection, ids: &Ids) -> Result<Facts, sqlx::Error> {
        let (number, now) = (&self.attempt.number, self.now.wall);
        let Counted { number: connected_number, pair, in_flight, up, up_with_user, started } =
            self.counted(db, ids).await?;
        let held = permissions::held(db, number, ids).await?;
        let run = guards::run(db, number, ids, held.run_ended).await?;
        Ok(Facts {
            permission: held.permission,
            connected_number,
            connected_pair: pair,
            initiation_at_cap: self.initiation_at_cap(db, started).await?,
            in_flight,
            up,
            up_with_user,
            unanswered: run.unanswered,
            overridden: run.overridden,
            meta_hold: guards::hold(db, number, ids, guards::Hold::Calls, now).await?,
            restriction: guards::restriction(db, number, now).await?,
        })
    }

    fn call(&self) -> i64 {
        self.attempt.call.0.cast_signed()
    }

    /// What started before this is out of the window, and `decide` need not see it.
    fn horizon(&self, cap: Cap) -> i64 {
        (self.now.wall - cap.window).millis()
    }

    /// All that is counted, by one statement: each one more is a way to the database's thread and back, which takes
    /// longer than most of these questions.
    async fn counted(&self, db: &mut SqliteConnection, ids: &Ids) -> Result<Counted, sqlx::Error> {
        // A cap that is switched off asks for no row.
        let of = |cap: Option<Cap>| cap.map_or((0, 0), |cap| (self.horizon(cap), cap.max));
        let ((number_since, number_max), (pair_since, pair_max)) =
            (of(self.rules.per_number), of(self.rules.per_pair));
        let rows = sqlx::query(COUNTED)
            .bind(self.attempt.number.as_str())
            .bind(self.call())
            .bind(ids.phone.as_deref())
            .bind(ids.bsuid.as_deref())
            .bind(number_since)
            .bind(number_max)
            .bind(pair_since)
            .bind(pair_max)
            .bind(of(self.rules.initiations).0)
            .fetch_all(db)
            .await?;
        let mut counted = Counted::default();
        for row in &rows {
            counted.take(row)?;
        }
        Ok(counted)
    }

    /// When the call started that holds the last place under the cap on started calls.
    async fn initiation_at_cap(
        &self,
        db: &mut SqliteConnection,
        started: u64,
    ) -> Result<Option<Wall>, sqlx::Error> {
        let Some(cap) = self.rules.initiations.filter(|it| it.max > 0) else { return Ok(None) };
        // The window's calls are walked over only if its whole hours hold enough of them.
        if started < u64::from(cap.max) {
            return Ok(None);
        }
        let row = sqlx::query(
            "SELECT reserved FROM reservation WHERE number = ?1 AND placed = 1 AND call <> ?2 AND reserved >= ?4
             ORDER BY reserved DESC LIMIT 1 OFFSET ?3",
        )
        .bind(self.attempt.number.as_str())
        .bind(self.call())
        .bind(cap.max - 1)
        .bind(self.horizon(cap))
        .fetch_optional(db)
        .await?;
        row.map(|it| it.try_get(0).map(Wall)).transpose()
    }
}

/// Rows of `fact`, a moment, and two numbers:
///
/// | fact | one row for | moment | numbers |
/// | --- | --- | --- | --- |
/// | 1 | a connected call of the number in its cap's window, newest first | when connected | |
/// | 2 | the same of the pair | when connected | |
/// | 3 | a place that is held and not connected | when reserved | with this user; its record is open |
/// | 4 | all open records of the number, both directions, without what is in flight | | how many; with this user |
/// | 5 | the calls that whole hours of the window say were started, never too few | | how many |
///
/// The index of open records is named: by its own estimates the planner walks over all records of the number.
const COUNTED: &str = "
    SELECT 1, connected, 0, 0 FROM (
        SELECT connected FROM reservation
        WHERE number = ?1 AND connected IS NOT NULL AND connected >= ?5 AND call <> ?2
        ORDER BY connected DESC LIMIT ?6)
    UNION ALL
    SELECT 2, connected, 0, 0 FROM (
        SELECT connected FROM reservation
        WHERE number = ?1 AND connected IS NOT NULL AND connected >= ?7 AND call <> ?2
          AND (phone = ?3 OR bsuid = ?4)
        ORDER BY connected DESC LIMIT ?8)
    UNION ALL
    SELECT 3, r.reserved, IFNULL(r.phone = ?3, 0) OR IFNULL(r.bsuid = ?4, 0),
           EXISTS (SELECT 1 FROM call c WHERE c.id = r.call AND c.ended IS NULL)
    FROM reservation r
    WHERE r.number = ?1 AND r.connected IS NULL AND r.ended = 0 AND r.call <> ?2
    UNION ALL
    SELECT 4, 0, COUNT(*), IFNULL(SUM(IFNULL(phone = ?3, 0) OR IFNULL(bsuid = ?4, 0)), 0)
    FROM call INDEXED BY call_open
    WHERE phone_number_id = ?1 AND ended IS NULL AND id <> ?2
      AND NOT EXISTS (SELECT 1 FROM reservation r
                      WHERE r.call = call.id AND r.connected IS NULL AND r.ended = 0)
    UNION ALL
    SELECT 5, 0, IFNULL(SUM(calls), 0), 0 FROM started WHERE number = ?1 AND hour >= ?9 / 3600000";

/// What [`COUNTED`] gives.
#[derive(Default)]
struct Counted {
    number: Vec<Wall>,
    pair: Vec<Wall>,
    in_flight: Vec<InFlight>,
    up: u32,
    up_with_user: u32,
    started: u64,
}

impl Counted {
    fn take(&mut self, row: &SqliteRow) -> Result<(), sqlx::Error> {
        let at = Wall(row.try_get(1)?);
        match row.try_get::<i64, _>(0)? {
            1 => self.number.push(at),
            2 => self.pair.push(at),
            3 => self.in_flight.push(InFlight {
                reserved: at,
                same_user: row.try_get(2)?,
                record_open: row.try_get(3)?,
            }),
            4 => (self.up, self.up_with_user) = (row.try_get(2)?, row.try_get(3)?),
            _ => self.started = row.try_get::<i64, _>(2)?.cast_unsigned(),
        }
        Ok(())
    }
}

struct Connected {
    call: CallId,
    at: Wall,
    corrects: bool,
}

impl Write for Connected {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let outcome = sqlx::query(
            "UPDATE reservation SET connected = CASE WHEN ?3 THEN ?2 ELSE IFNULL(connected, ?2) END
             WHERE call = ?1",
        )
        .bind(self.call.0.cast_signed())
        .bind(self.at.millis())
        .bind(self.corrects)
        .execute(&mut *db)
        .await?;
        let row = sqlx::query("SELECT number, phone, bsuid FROM reservation WHERE call = ?1")
            .bind(self.call.0.cast_signed())
            .fetch_optional(&mut *db)
            .await?;
        if let Some(row) = row {
            let (number, ids): (String, _) =
                (row.try_get(0)?, Ids { phone: row.try_get(1)?, bsuid: row.try_get(2)? });
            guards::open_window(db, &number, ids, self.at).await?;
        }
        if outcome.rows_affected() == 0 {
            tracing::warn!(call = %self.call, "a call without a reservation was picked up; no cap counts it");
        }
        Ok(())
    }
}

struct Rang {
    call: CallId,
    at: Wall,
}

impl Write for Rang {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE reservation SET rang = IFNULL(rang, ?2) WHERE call = ?1")
            .bind(self.call.0.cast_signed())
            .bind(self.at.millis())
            .execute(db)
            .await
            .map(drop)
    }
}

struct Release {
    call: CallId,
    placed: bool,
}

impl Write for Release {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        end(db, self.call).await?;
        if !self.placed {
            sqlx::query("UPDATE reservation SET placed = 0 WHERE call = ?1 AND connected IS NULL")
                .bind(self.call.0.cast_signed())
                .execute(db)
                .await?;
        }
        Ok(())
    }
}
