//! How many of the users' calls are picked up, and the alarm about it.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::events::{EventKind, NewEvent, tell};
use super::users::Ids;
use super::writer::{Outlives, Write};
use super::{Store, StoreError};
use crate::id::PhoneNumberId;
use crate::policy::{PickUp, PickUpAlarm, PickedUpBy, Trend};
use crate::time::Wall;

/// The span of the rate; what it is held against is the week before.
const DAY: Duration = Duration::from_hours(24);

/// What a look at the rate brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickUpTurn {
    /// As before.
    Unchanged,
    /// Too few are picked up from now on.
    Fell(PickUp, Trend),
    /// Enough are picked up again, or too few calls come to tell.
    Recovered(PickUp, Trend),
}

impl Store {
    /// How many of the users' calls that came in `[from, until)` were picked up; open calls are not judged yet.
    ///
    /// # Errors
    /// As every read.
    pub async fn pick_up(
        &self,
        number: &PhoneNumberId,
        (from, until): (Wall, Wall),
        by: PickedUpBy,
    ) -> Result<PickUp, StoreError> {
        let mut db = self.readers().acquire().await?;
        Ok(rate(&mut db, number, (from, until), by).await?)
    }

    /// The rate of the last 24 hours and that of the week before them.
    ///
    /// # Errors
    /// As every read.
    pub async fn pick_up_rates(
        &self,
        number: &PhoneNumberId,
        by: PickedUpBy,
        now: Wall,
    ) -> Result<(PickUp, PickUp), StoreError> {
        let mut db = self.readers().acquire().await?;
        Ok(rates(&mut db, number, by, now).await?)
    }

    /// Looks whether the alarm of a number begins or ends, keeps that, and tells it once.
    ///
    /// # Errors
    /// As every write.
    pub async fn judge_pick_up(
        &self,
        number: &PhoneNumberId,
        alarm: PickUpAlarm,
        now: Wall,
    ) -> Result<PickUpTurn, StoreError> {
        let (day, _) = self.pick_up_rates(number, alarm.counts, now).await?;
        let mut db = self.readers().acquire().await?;
        let stood = stood(&mut db, number).await?;
        drop(db);
        // Most looks change nothing, and so write nothing.
        if alarm.stands(stood, day) == stood {
            return Ok(PickUpTurn::Unchanged);
        }
        self.0.writer.submit(Judge { number: number.clone(), alarm, now }).await
    }
}

async fn rates(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    by: PickedUpBy,
    now: Wall,
) -> Result<(PickUp, PickUp), sqlx::Error> {
    let day = rate(db, number, (now - DAY, now), by).await?;
    Ok((day, rate(db, number, (now - DAY * 8, now - DAY), by).await?))
}

async fn rate(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    (from, until): (Wall, Wall),
    by: PickedUpBy,
) -> Result<PickUp, sqlx::Error> {
    // A call that has an answer and no endpoint was taken by the gateway itself.
    let row = sqlx::query(
        "SELECT COUNT(*), COUNT(CASE WHEN ?4 OR endpoint_kind IS NOT NULL THEN answered END) FROM call
         WHERE phone_number_id = ?1 AND direction = 'user_initiated' AND opened >= ?2 AND opened < ?3
           AND (ended IS NOT NULL OR answered IS NOT NULL)",
    )
    .bind(number.as_str())
    .bind(from.millis())
    .bind(until.millis())
    .bind(by == PickedUpBy::Anybody)
    .fetch_one(db)
    .await?;
    Ok(PickUp { calls: row.try_get(0)?, answered: row.try_get(1)? })
}

async fn stood(db: &mut SqliteConnection, number: &PhoneNumberId) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM pick_up_alarm WHERE number = ?1)")
        .bind(number.as_str())
        .fetch_one(db)
        .await?;
    row.try_get(0)
}

struct Judge {
    number: PhoneNumberId,
    alarm: PickUpAlarm,
    now: Wall,
}

impl Write for Judge {
    type Output = PickUpTurn;
    // After a loss of power the next look tells it again.
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<PickUpTurn, sqlx::Error> {
        let Self { number, alarm, now } = self;
        let (day, week) = rates(&mut *db, number, alarm.counts, *now).await?;
        let stood = stood(&mut *db, number).await?;
        let stands = alarm.stands(stood, day);
        if stands == stood {
            return Ok(PickUpTurn::Unchanged);
        }
        let query = if stands {
            sqlx::query("INSERT INTO pick_up_alarm (number, since) VALUES (?1, ?2)")
                .bind(number.as_str())
                .bind(now.millis())
        } else {
            sqlx::query("DELETE FROM pick_up_alarm WHERE number = ?1").bind(number.as_str())
        };
        query.execute(&mut *db).await?;
        let trend = Trend::of(day, week);
        let told = serde_json::json!({
            "calls": day.calls,
            "answered": day.answered,
            "percent": day.percent(),
            "before_percent": week.percent(),
            "trend": trend.as_str(),
            "below": alarm.below,
        });
        let kind = if stands { EventKind::PickUpLow } else { EventKind::PickUpRecovered };
        let (number, detail) = (Some(number.as_str()), Some(told.to_string()));
        tell(db, NewEvent { at: *now, kind, number, call: None, ids: Ids::default(), detail }).await?;
        Ok(if stands { PickUpTurn::Fell(day, trend) } else { PickUpTurn::Recovered(day, trend) })
    }
}
