//! What guards look at: unanswered runs and who decided to go on, Meta's holds and restrictions, the conversation
//! window.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::events::{EventKind, NewEvent, tell};
use super::users::{self, Ids};
use super::writer::Write;
use super::{Store, StoreError};
use crate::id::PhoneNumberId;
use crate::policy::Restriction;
use crate::time::Wall;
use crate::user::UserId;

/// No run is longer than this before somebody stops it.
const RUN: u32 = 8;
/// Meta's time stamps are whole seconds.
const SECOND: i64 = 999;

/// What Meta held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Calls (138012).
    Calls,
    /// Permission requests (138009).
    Requests,
}

impl Hold {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Requests => "requests",
        }
    }
}

/// A restriction or a warning of Meta's (reference §9.13, §16.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestrictionLine {
    /// Which number; `None` is every number of the account.
    pub number: Option<PhoneNumberId>,
    /// Meta's word: `RESTRICTED_BUSINESS_INITIATED_CALLING`, `LOW_USER_INITIATED_CALLING_QUALITY`, …
    pub kind: String,
    /// What Meta says about it.
    pub reason: Option<String>,
    /// When it was told.
    pub at: Wall,
    /// When it ends.
    pub until: Option<Wall>,
}

impl RestrictionLine {
    /// The reason of what a refused call let us guess; any word of Meta's takes its place.
    pub const GUESSED: &str = "138014";
}

/// An unanswered run, and what was decided about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Calls that rang and were not taken, since the last that was.
    pub unanswered: u32,
    /// Whether somebody decided to go on after the last of them.
    pub overridden: bool,
}

impl Store {
    /// Somebody decides to call on after unanswered calls; the reason is kept.
    ///
    /// # Errors
    /// As every write.
    pub async fn override_run(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
        reason: &str,
        at: Wall,
    ) -> Result<(), StoreError> {
        let (number, user, reason) = (number.clone(), user.clone(), reason.to_owned());
        self.0.writer.submit(Override { number, user, reason, at }).await
    }

    /// Meta said that a limit of the pair is reached until `until`.
    ///
    /// # Errors
    /// As every write.
    pub async fn hold_pair(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
        what: Hold,
        until: Wall,
        at: Wall,
    ) -> Result<(), StoreError> {
        let (number, user) = (number.clone(), user.clone());
        self.0.writer.submit(NewHold { number, user, what, until, at }).await
    }

    /// The user wrote or called, or took a call: the conversation window is open for 24 hours from `at`.
    ///
    /// # Errors
    /// As every write.
    pub async fn open_window(
        &self,
        number: &PhoneNumberId,
        user: &UserId,
        at: Wall,
    ) -> Result<(), StoreError> {
        self.0.writer.submit(OpenWindow { number: number.clone(), user: user.clone(), at }).await
    }

    /// Meta told of a restriction. What is known already, or older than what is known, changes nothing.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_restriction(&self, line: &RestrictionLine) -> Result<(), StoreError> {
        self.0.writer.submit(NewRestriction(line.clone())).await
    }

    /// The administrator knows that Meta has lifted what it had restricted; gives how many lines that were.
    ///
    /// # Errors
    /// As every write.
    pub async fn lift_restrictions(&self, number: &PhoneNumberId, at: Wall) -> Result<u64, StoreError> {
        self.0.writer.submit(Lift { number: number.clone(), at }).await
    }

    /// Users who did not take the last two calls or more, those called last first, with their runs.
    ///
    /// # Errors
    /// As every read.
    pub async fn runs(
        &self,
        number: &PhoneNumberId,
        since: Wall,
        limit: u32,
    ) -> Result<Vec<(UserId, Run)>, StoreError> {
        let mut db = self.readers().acquire().await?;
        let rows = sqlx::query(
            "SELECT phone, bsuid, MAX(reserved) AS last FROM reservation
             WHERE number = ?1 AND reserved > ?2 AND rang IS NOT NULL AND connected IS NULL AND ended = 1
             GROUP BY phone, bsuid HAVING COUNT(*) >= 2 ORDER BY last DESC LIMIT ?3",
        )
        .bind(number.as_str())
        .bind(since.millis())
        .bind(limit)
        .fetch_all(&mut *db)
        .await?;
        let mut found = Vec::new();
        for row in &rows {
            let ids = Ids { phone: row.try_get("phone")?, bsuid: row.try_get("bsuid")? };
            let Some(user) = ids.user() else { continue };
            let held = super::permissions::held(&mut db, number, &ids).await?;
            let run = run(&mut db, number, &ids, held.run_ended).await?;
            if run.unanswered >= 2 {
                found.push((user, run));
            }
        }
        Ok(found)
    }

    /// What Meta restricts or warns of now, newest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn restrictions(
        &self,
        number: &PhoneNumberId,
        now: Wall,
    ) -> Result<Vec<RestrictionLine>, StoreError> {
        let mut db = self.readers().acquire().await?;
        Ok(restrictions(&mut db, number, now).await?)
    }

    /// The unanswered run of a pair.
    ///
    /// # Errors
    /// As every read.
    pub async fn run(&self, number: &PhoneNumberId, user: &UserId) -> Result<Run, StoreError> {
        let mut db = self.readers().acquire().await?;
        let ids = users::ids(&mut db, user).await?;
        let held = super::permissions::held(&mut db, number, &ids).await?;
        Ok(run(&mut db, number, &ids, held.run_ended).await?)
    }
}

/// The unanswered run: calls that rang and ended untaken, newest first, until one that was taken, or until
/// Meta took the permission for them.
pub(super) async fn run(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
    run_ended: Option<Wall>,
) -> Result<Run, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT reserved, connected, ended FROM reservation
         WHERE call IN (SELECT call FROM reservation WHERE number = ?1 AND phone = ?2 UNION ALL
                        SELECT call FROM reservation WHERE number = ?1 AND bsuid = ?3)
           AND (rang IS NOT NULL OR connected IS NOT NULL) AND reserved > ?4
         ORDER BY reserved DESC LIMIT ?5",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .bind(run_ended.map_or(i64::MIN, |it| it.millis() + SECOND))
    .bind(RUN)
    .fetch_all(&mut *db)
    .await?;
    let (mut unanswered, mut last) = (0, None);
    for row in &rows {
        if row.try_get::<Option<i64>, _>(1)?.is_some() {
            break;
        }
        // One that still rings has not been missed yet.
        if row.try_get::<bool, _>(2)? {
            unanswered += 1;
            last = last.or(Some(row.try_get::<i64, _>(0)?));
        }
    }
    let Some(last) = last else { return Ok(Run::default()) };
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM run_override
                        WHERE number = ?1 AND (phone = ?2 OR bsuid = ?3) AND at >= ?4)",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .bind(last)
    .fetch_one(db)
    .await?;
    Ok(Run { unanswered, overridden: row.try_get(0)? })
}

/// When a call between the two was last picked up, in either direction. Both accounts of our own calls are asked:
/// Meta's start is a whole second, and a request of the same second would seem to be later than it.
pub(super) async fn last_talk(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
) -> Result<Option<Wall>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT MAX(IFNULL((SELECT MAX(answered) FROM call WHERE phone_number_id = ?1 AND phone = ?2
                              AND answered IS NOT NULL), 0),
                    IFNULL((SELECT MAX(answered) FROM call WHERE phone_number_id = ?1 AND bsuid = ?3
                              AND answered IS NOT NULL), 0),
                    IFNULL((SELECT MAX(connected) FROM reservation WHERE number = ?1 AND phone = ?2), 0),
                    IFNULL((SELECT MAX(connected) FROM reservation WHERE number = ?1 AND bsuid = ?3), 0))",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .fetch_one(db)
    .await?;
    let at: i64 = row.try_get(0)?;
    Ok((at > 0).then_some(Wall(at)))
}

/// Until when the conversation window is open.
pub(super) async fn window(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
) -> Result<Option<Wall>, sqlx::Error> {
    let row =
        sqlx::query("SELECT MAX(until) FROM conversation WHERE number = ?1 AND (phone = ?2 OR bsuid = ?3)")
            .bind(number.as_str())
            .bind(ids.phone.as_deref())
            .bind(ids.bsuid.as_deref())
            .fetch_one(db)
            .await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map(Wall))
}

/// Until when Meta holds something back from a pair.
pub(super) async fn hold(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    ids: &Ids,
    what: Hold,
    now: Wall,
) -> Result<Option<Wall>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT MAX(until) FROM meta_hold
         WHERE number = ?1 AND (phone = ?2 OR bsuid = ?3) AND until > ?4 AND what = ?5",
    )
    .bind(number.as_str())
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .bind(now.millis())
    .bind(what.as_str())
    .fetch_one(db)
    .await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map(Wall))
}

/// Meta's restriction of business-initiated calls, the one that lasts longest.
pub(super) async fn restriction(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    now: Wall,
) -> Result<Option<Restriction>, sqlx::Error> {
    let forbids = |line: &RestrictionLine| {
        // RESTRICTED_BUSINESS_INITIATED_CALLING, RESTRICTED_BIZ_INITIATED_AND_USER_INITIATED_CALLING
        line.kind.starts_with("RESTRICTED_BUSINESS_INITIATED")
            || line.kind.starts_with("RESTRICTED_BIZ_INITIATED")
    };
    let lines = restrictions(db, number, now).await?;
    let longest =
        lines.into_iter().filter(forbids).map(|it| it.until).max_by_key(|it| it.unwrap_or(Wall(i64::MAX)));
    Ok(longest.map(|until| Restriction { until }))
}

async fn restrictions(
    db: &mut SqliteConnection,
    number: &PhoneNumberId,
    now: Wall,
) -> Result<Vec<RestrictionLine>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT number, kind, reason, at, until FROM restriction
         WHERE lifted IS NULL AND (number IS NULL OR number = ?1) AND (until IS NULL OR until > ?2)
         ORDER BY id DESC",
    )
    .bind(number.as_str())
    .bind(now.millis())
    .fetch_all(db)
    .await?;
    let line = |row: &SqliteRow| {
        Ok(RestrictionLine {
            number: row.try_get::<Option<String>, _>("number")?.map(PhoneNumberId::from),
            kind: row.try_get("kind")?,
            reason: row.try_get("reason")?,
            at: Wall(row.try_get("at")?),
            until: row.try_get::<Option<i64>, _>("until")?.map(Wall),
        })
    };
    rows.iter().map(line).collect()
}

struct Override {
    number: PhoneNumberId,
    user: UserId,
    reason: String,
    at: Wall,
}

impl Write for Override {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        users::remember(db, &self.user).await?;
        let ids = users::ids(db, &self.user).await?;
        sqlx::query("INSERT INTO run_override (number, phone, bsuid, at, reason) VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind(self.number.as_str())
            .bind(ids.phone)
            .bind(ids.bsuid)
            .bind(self.at.millis())
            .bind(&self.reason)
            .execute(db)
            .await
            .map(drop)
    }
}

struct NewHold {
    number: PhoneNumberId,
    user: UserId,
    what: Hold,
    until: Wall,
    at: Wall,
}

impl Write for NewHold {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        users::remember(db, &self.user).await?;
        let ids = users::ids(db, &self.user).await?;
        sqlx::query(
            "INSERT INTO meta_hold (number, phone, bsuid, what, until, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(self.number.as_str())
        .bind(ids.phone)
        .bind(ids.bsuid)
        .bind(self.what.as_str())
        .bind(self.until.millis())
        .bind(self.at.millis())
        .execute(db)
        .await
        .map(drop)
    }
}

struct OpenWindow {
    number: PhoneNumberId,
    user: UserId,
    at: Wall,
}

impl Write for OpenWindow {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        users::remember(db, &self.user).await?;
        let ids = users::ids(db, &self.user).await?;
        open_window(db, self.number.as_str(), ids, self.at).await
    }
}

/// Opens the conversation window: 24 hours from the user's message or call, or from a call that the user
/// accepts (reference §16.6).
pub(super) async fn open_window(
    db: &mut SqliteConnection,
    number: &str,
    ids: Ids,
    at: Wall,
) -> Result<(), sqlx::Error> {
    let until = at.millis() + 86_400_000;
    let changed = sqlx::query(
        "UPDATE conversation SET until = MAX(until, ?4) WHERE number = ?1 AND (phone = ?2 OR bsuid = ?3)",
    )
    .bind(number)
    .bind(ids.phone.as_deref())
    .bind(ids.bsuid.as_deref())
    .bind(until)
    .execute(&mut *db)
    .await?;
    if changed.rows_affected() == 0 {
        sqlx::query("INSERT INTO conversation (number, phone, bsuid, until) VALUES (?1, ?2, ?3, ?4)")
            .bind(number)
            .bind(ids.phone)
            .bind(ids.bsuid)
            .bind(until)
            .execute(db)
            .await?;
    }
    Ok(())
}

struct NewRestriction(RestrictionLine);

impl Write for NewRestriction {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let line = &self.0;
        let number = line.number.as_ref().map(PhoneNumberId::as_str);
        // What a refused call let us guess gives way to every word of Meta's own, whose stamp may be older.
        let known = sqlx::query(
            "SELECT 1 FROM restriction
             WHERE number IS ?1 AND kind = ?2 AND at >= ?3 AND reason IS NOT ?4 LIMIT 1",
        )
        .bind(number)
        .bind(&line.kind)
        .bind(line.at.millis())
        .bind(RestrictionLine::GUESSED)
        .fetch_optional(&mut *db)
        .await?;
        if known.is_some() {
            return Ok(());
        }
        // What Meta tells anew takes the place of what it told before.
        sqlx::query(
            "UPDATE restriction SET lifted = ?3
             WHERE lifted IS NULL AND (number IS ?1 AND kind = ?2
                OR (number IS ?1 OR ?1 IS NULL) AND reason IS ?4 AND ?2 LIKE 'RESTRICTED_B%')",
        )
        .bind(number)
        .bind(&line.kind)
        .bind(line.at.millis())
        .bind(RestrictionLine::GUESSED)
        .execute(&mut *db)
        .await?;
        sqlx::query("INSERT INTO restriction (number, kind, reason, at, until) VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind(number)
            .bind(&line.kind)
            .bind(line.reason.as_deref())
            .bind(line.at.millis())
            .bind(line.until.map(Wall::millis))
            .execute(&mut *db)
            .await?;
        let until = line.until.map(|it| it.to_string());
        let told = serde_json::json!({ "kind": line.kind, "until": until, "reason": line.reason });
        let (at, ids, detail) = (line.at, Ids::default(), Some(told.to_string()));
        let restricts = line.kind.starts_with("RESTRICTED");
        let kind = if restricts { EventKind::NumberRestricted } else { EventKind::NumberWarned };
        tell(db, NewEvent { at, kind, number, call: None, ids, detail }).await
    }
}

struct Lift {
    number: PhoneNumberId,
    at: Wall,
}

impl Write for Lift {
    type Output = u64;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let lifted = sqlx::query(
            "UPDATE restriction SET lifted = ?2 WHERE (number IS NULL OR number = ?1) AND lifted IS NULL",
        )
        .bind(self.number.as_str())
        .bind(self.at.millis())
        .execute(&mut *db)
        .await?
        .rows_affected();
        if lifted > 0 {
            let detail = Some(serde_json::json!({ "lifted": lifted }).to_string());
            let (at, kind, number) = (self.at, EventKind::NumberFreed, Some(self.number.as_str()));
            tell(db, NewEvent { at, kind, number, call: None, ids: Ids::default(), detail }).await?;
        }
        Ok(lifted)
    }
}
