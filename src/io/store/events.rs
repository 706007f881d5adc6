//! What programs of the company are told: written in the transaction that makes it true, so that
//! no crash loses an event and none tells of what did not happen.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::users::Ids;
use super::writer::{Outlives, Write};
use super::{Store, StoreError};
use crate::call::CallRecord;
use crate::id::{CallId, NumberLabel};
use crate::time::Wall;
use crate::user::UserId;

/// The place of an event among all; rising, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId(pub u64);

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal;)*) => {
        /// What kind of event it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[doc = $doc])+ $name,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word in the store and on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it tells, for the description of the API.
            #[must_use]
            pub fn explained(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim(),)* }
            }
        }
    };
}

kinds! {
    /// A call began: its record was opened.
    CallStarted = "call.started";
    /// The called side rings.
    CallRinging = "call.ringing";
    /// Somebody answered.
    CallAnswered = "call.answered";
    /// The call is over; its record is closed.
    CallEnded = "call.ended";
    /// A user's call is over and nobody took it: it is on the list of missed calls.
    CallMissed = "call.missed";
    /// Somebody said what became of a call. `detail`: `outcome` (null for a mere note), `author`.
    CallNoted = "call.noted";
    /// Meta took a permission request for the user. `detail`: `form` (`free_form` or `template`).
    PermissionRequested = "permission.requested";
    /// The user answered a permission request. `detail`: `state` and `until`, what the answer says.
    PermissionAnswered = "permission.answered";
    /// What a user allows has changed. `detail`: `state`, `until`, `source`.
    PermissionChanged = "permission.changed";
    /// A cap is nearly used up. `detail`: `cap` (`number`, `pair` or `concurrent`), `used`, `max`.
    CapWarning = "cap.warning";
    /// Meta restricts the calling of a number, or of all if `number` is null. `detail`: `kind` in Meta's words, `until`, `reason`.
    NumberRestricted = "number.restricted";
    /// Meta warns of a number's quality, or of all if `number` is null. `detail`: `kind` in Meta's words, `until`, `reason`.
    NumberWarned = "number.warned";
    /// Somebody noted that Meta has lifted its restrictions of a number. `detail`: `lifted`, how many.
    NumberFreed = "number.freed";
    /// Too few of the users' calls to a number are picked up; Meta hides the call button of such numbers. `detail`: `calls`, `answered`, `percent` of the last 24 hours, `before_percent` of the week before, `trend`, `below`.
    PickUpLow = "number.pickup_low";
    /// Enough of them are picked up again, or too few come to tell. `detail`: as of `number.pickup_low`.
    PickUpRecovered = "number.pickup_recovered";
    /// A trunk can be called again. `detail`: `trunk`, `state` in words.
    TrunkUp = "trunk.up";
    /// A trunk can be called no more. `detail`: `trunk`, `state` in words.
    TrunkDown = "trunk.down";
    /// Somebody who guesses a phone's password is no longer heard. `detail`: `phone`, `source`, `ground`, `seconds`. At most one is told a second, `untold` says how many were not.
    PhoneBanned = "phone.banned";
    /// A user has left a voice message, and it can be heard.
    VoicemailLeft = "voicemail.left";
}

/// One event as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place.
    pub id: EventId,
    /// When it became true.
    pub at: Wall,
    /// Its kind's word; a newer program may have written kinds that this one does not know.
    pub kind: String,
    /// The business number.
    pub number: Option<NumberLabel>,
    /// The call.
    pub call: Option<CallId>,
    /// The user, for events that belong to no call.
    pub user: Option<UserId>,
    /// What else is to be told: a JSON object without personal values.
    pub detail: Option<String>,
}

/// What is written.
pub(super) struct NewEvent<'a> {
    pub(super) at: Wall,
    pub(super) kind: EventKind,
    pub(super) number: Option<&'a str>,
    pub(super) call: Option<CallId>,
    pub(super) ids: Ids,
    pub(super) detail: Option<String>,
}

/// Writes an event inside the transaction that makes it true.
pub(super) async fn tell(db: &mut SqliteConnection, event: NewEvent<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO event (at, kind, number, call, phone, bsuid, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(event.at.millis())
    .bind(event.kind.as_str())
    .bind(event.number)
    .bind(event.call.map(|it| it.0.cast_signed()))
    .bind(event.ids.phone)
    .bind(event.ids.bsuid)
    .bind(event.detail)
    .execute(db)
    .await
    .map(drop)
}

/// What happened outside of the store: telling it is all the writing there is.
struct Happened {
    at: Wall,
    kind: EventKind,
    detail: String,
}

impl Write for Happened {
    type Output = ();
    // Trunks and bans are as they are again after a loss of power.
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let (kind, detail) = (self.kind, Some(self.detail.clone()));
        tell(db, NewEvent { at: self.at, kind, number: None, call: None, ids: Ids::default(), detail }).await
    }
}

/// How far a call's record had got before it is written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    begun: bool,
    rang: bool,
    answered: bool,
    ended: bool,
}

impl Progress {
    pub(super) async fn of(db: &mut SqliteConnection, call: CallId) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(
            "SELECT rang IS NOT NULL AS rang, answered IS NOT NULL AS answered, ended IS NOT NULL AS ended
             FROM call WHERE id = ?1",
        )
        .bind(call.0.cast_signed())
        .fetch_optional(db)
        .await?;
        let Some(row) = row else { return Ok(Self::default()) };
        Ok(Self {
            begun: true,
            rang: row.try_get("rang")?,
            answered: row.try_get("answered")?,
            ended: row.try_get("ended")?,
        })
    }

    /// Tells what `record` adds to what was there before.
    pub(super) async fn tell(
        self,
        db: &mut SqliteConnection,
        record: &CallRecord,
        ended: Option<Wall>,
    ) -> Result<(), sqlx::Error> {
        let steps = [
            ((!self.begun).then_some(record.opened), EventKind::CallStarted),
            (record.rang.filter(|_| !self.rang), EventKind::CallRinging),
            (record.answered.filter(|_| !self.answered), EventKind::CallAnswered),
            (ended.filter(|_| !self.ended), EventKind::CallEnded),
        ];
        for (at, kind) in steps {
            let Some(at) = at else { continue };
            let number = Some(record.number.as_str());
            let ids = Ids::default();
            tell(db, NewEvent { at, kind, number, call: Some(record.id), ids, detail: None }).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Tells of something that the store itself has no part in: a trunk, a ban. `detail` is a JSON object.
    ///
    /// # Errors
    /// As every write.
    pub async fn tell(&self, kind: EventKind, detail: String, at: Wall) -> Result<(), StoreError> {
        self.0.writer.submit(Happened { at, kind, detail }).await
    }

    /// Up to `limit` events after a place, oldest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn events_after(&self, after: EventId, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query("SELECT * FROM event WHERE id > ?1 ORDER BY id LIMIT ?2")
            .bind(after.0.cast_signed())
            .bind(limit)
            .fetch_all(self.readers())
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The newest event's place.
    ///
    /// # Errors
    /// As every read.
    pub async fn newest_event(&self) -> Result<EventId, StoreError> {
        let row = sqlx::query("SELECT IFNULL(MAX(id), 0) FROM event").fetch_one(self.readers()).await?;
        Ok(EventId(row.try_get::<i64, _>(0)?.cast_unsigned()))
    }

    /// How far a receiver has got; one that was never seen before starts at the newest event.
    ///
    /// # Errors
    /// As every write.
    pub async fn hook_place(&self, name: &str) -> Result<EventId, StoreError> {
        self.0.writer.submit(TakePlace(name.to_owned())).await
    }

    /// A receiver has taken everything up to and including `place`, or it was given up.
    ///
    /// # Errors
    /// As every write.
    pub async fn hook_reached(&self, name: &str, place: EventId) -> Result<(), StoreError> {
        self.0.writer.submit(Reached { name: name.to_owned(), place }).await
    }

    /// Forgets events and answers to repeated requests that are older than this.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_events_before(&self, events: Wall, asked: Wall) -> Result<(), StoreError> {
        self.0.writer.submit(Forget { events, asked }).await
    }
}

/// How long the answer to a request with an Idempotency-Key is kept.
pub const ASKED_KEPT: Duration = Duration::from_hours(24);

fn read(row: &SqliteRow) -> Result<StoredEvent, sqlx::Error> {
    let ids = Ids { phone: row.try_get("phone")?, bsuid: row.try_get("bsuid")? };
    Ok(StoredEvent {
        id: EventId(row.try_get::<i64, _>("id")?.cast_unsigned()),
        at: Wall(row.try_get("at")?),
        kind: row.try_get("kind")?,
        number: row.try_get::<Option<String>, _>("number")?.map(Into::into),
        call: row.try_get::<Option<i64>, _>("call")?.map(|it| CallId(it.cast_unsigned())),
        user: ids.user(),
        detail: row.try_get("detail")?,
    })
}

struct TakePlace(String);

impl Write for TakePlace {
    type Output = EventId;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<EventId, sqlx::Error> {
        let row = sqlx::query(
            "INSERT INTO hook (name, delivered) VALUES (?1, (SELECT IFNULL(MAX(id), 0) FROM event))
             ON CONFLICT (name) DO UPDATE SET delivered = delivered RETURNING delivered",
        )
        .bind(&self.0)
        .fetch_one(db)
        .await?;
        Ok(EventId(row.try_get::<i64, _>(0)?.cast_unsigned()))
    }
}

struct Reached {
    name: String,
    place: EventId,
}

impl Write for Reached {
    type Output = ();
    // A loss of power repeats a delivery, which its id shows.
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE hook SET delivered = MAX(delivered, ?2) WHERE name = ?1")
            .bind(&self.name)
            .bind(self.place.0.cast_signed())
            .execute(db)
            .await
            .map(drop)
    }
}

struct Forget {
    events: Wall,
    asked: Wall,
}

impl Write for Forget {
    type Output = ();
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let query = sqlx::query("DELETE FROM event WHERE at < ?1").bind(self.events.millis());
        query.execute(&mut *db).await?;
        let query = sqlx::query("DELETE FROM asked WHERE at < ?1").bind(self.asked.millis());
        query.execute(db).await.map(drop)
    }
}
