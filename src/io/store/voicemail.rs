//! Voice messages: a row for each, with the event that tells of it; the files stand beside the store.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::events::{self, EventKind, NewEvent};
use super::users::Ids;
use super::writer::Write;
use super::{Store, StoreError};
use crate::call::voicemail::{VoiceMessage, VoicemailId, VoicemailSource};
use crate::id::{CallId, NumberLabel, PhoneNumberId, WaCallId};
use crate::time::Wall;
use crate::user::UserId;
use crate::whatsapp::{KeptSound, SoundDigest};

/// How many messages of a business number wait, and how many were heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageCount {
    /// The number.
    pub number: NumberLabel,
    /// Nobody has heard them.
    pub new: u32,
    /// They were heard and kept.
    pub old: u32,
}

/// A sound that Meta keeps for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptByMeta {
    /// The business number.
    pub number: PhoneNumberId,
    /// As the administrator calls it.
    pub label: NumberLabel,
    /// Who left it.
    pub user: UserId,
    /// When.
    pub at: Wall,
    /// The call that it belongs to: Meta's id of the message is the call's (reference §5.3).
    pub wa_call: WaCallId,
    /// The sound.
    pub sound: KeptSound,
}

/// A sound to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToFetch {
    /// Whose.
    pub id: VoicemailId,
    /// The business number, whose token opens the door.
    pub number: PhoneNumberId,
    /// As the administrator calls it.
    pub label: NumberLabel,
    /// The sound.
    pub sound: KeptSound,
    /// When it was left.
    pub at: Wall,
    /// How often it was tried.
    pub tries: u32,
}

impl Store {
    /// Keeps a message of a call of ours; a second one of the same call changes nothing. Tells whether it is new.
    ///
    /// # Errors
    /// As every write.
    pub async fn add_voicemail(&self, call: CallId, file: &str, seconds: u32) -> Result<bool, StoreError> {
        self.0.writer.submit(Add { call, file: file.to_owned(), seconds }).await
    }

    /// Keeps that Meta has a message; the same one again changes nothing. Tells whether it is new.
    ///
    /// # Errors
    /// As every write.
    pub async fn add_voicemail_of_meta(&self, kept: &KeptByMeta) -> Result<bool, StoreError> {
        self.0.writer.submit(AddOfMeta(kept.clone())).await
    }

    /// Messages, newest first; of one business number if it is named, of one call, or only those nobody heard.
    ///
    /// # Errors
    /// As every read.
    pub async fn voicemails(
        &self,
        wanted: &VoicemailFilter,
        limit: u32,
    ) -> Result<Vec<VoiceMessage>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM voicemail WHERE (?1 IS NULL OR label = ?1) AND (?2 IS NULL OR call = ?2)
             AND (NOT ?3 OR heard IS NULL) AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5",
        )
        .bind(wanted.number.as_ref().map(NumberLabel::as_str))
        .bind(wanted.call.map(|it| it.0.cast_signed()))
        .bind(wanted.unheard)
        .bind(wanted.before.map(|it| it.0.cast_signed()))
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// One message.
    ///
    /// # Errors
    /// As every read.
    pub async fn voicemail(&self, id: VoicemailId) -> Result<Option<VoiceMessage>, StoreError> {
        let row = sqlx::query("SELECT * FROM voicemail WHERE id = ?1")
            .bind(id.0.cast_signed())
            .fetch_optional(self.readers())
            .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// Marks a message as heard by somebody, once. Tells whether there is such a message.
    ///
    /// # Errors
    /// As every write.
    pub async fn voicemail_heard(&self, id: VoicemailId, by: &str, now: Wall) -> Result<bool, StoreError> {
        self.0.writer.submit(Heard { id, by: by.to_owned(), now }).await
    }

    /// Forgets a message; gives it back, so that its file can go, too.
    ///
    /// # Errors
    /// As every write.
    pub async fn delete_voicemail(&self, id: VoicemailId) -> Result<Option<VoiceMessage>, StoreError> {
        self.0.writer.submit(Delete(id)).await
    }

    /// Messages that were left before `at`, oldest first.
    ///
    /// # Errors
    /// As every read.
    pub async fn voicemails_before(&self, at: Wall, limit: u32) -> Result<Vec<VoiceMessage>, StoreError> {
        let rows = sqlx::query("SELECT * FROM voicemail WHERE at < ?1 ORDER BY at LIMIT ?2")
            .bind(at.millis())
            .bind(limit)
            .fetch_all(self.readers())
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// How many messages each business number has.
    ///
    /// # Errors
    /// As every read.
    pub async fn voicemail_counts(&self) -> Result<Vec<MessageCount>, StoreError> {
        let rows = sqlx::query(
            "SELECT label, SUM(heard IS NULL) AS fresh, SUM(heard IS NOT NULL) AS old FROM voicemail
             WHERE file IS NOT NULL GROUP BY label",
        )
        .fetch_all(self.readers())
        .await?;
        let count = |row: &SqliteRow| -> Result<MessageCount, sqlx::Error> {
            let number = NumberLabel::from(row.try_get::<String, _>("label")?);
            Ok(MessageCount { number, new: row.try_get("fresh")?, old: row.try_get("old")? })
        };
        Ok(rows.iter().map(count).collect::<Result<_, _>>()?)
    }

    /// Sounds that are to be fetched now, and when to look again.
    ///
    /// # Errors
    /// As every read.
    pub async fn voicemails_to_fetch(&self, now: Wall, limit: u32) -> Result<Vec<ToFetch>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM voicemail WHERE file IS NULL AND next_try <= ?1 ORDER BY next_try LIMIT ?2",
        )
        .bind(now.millis())
        .bind(limit)
        .fetch_all(self.readers())
        .await?;
        let read = |row: &SqliteRow| -> Result<ToFetch, sqlx::Error> {
            Ok(ToFetch {
                id: VoicemailId(row.try_get::<i64, _>("id")?.cast_unsigned()),
                number: PhoneNumberId::from(row.try_get::<String, _>("number")?),
                label: row.try_get::<String, _>("label")?.into(),
                sound: KeptSound {
                    id: row.try_get("media")?,
                    digest: row
                        .try_get::<Option<String>, _>("sha256")?
                        .and_then(|it| SoundDigest::parse(&it)),
                },
                at: Wall(row.try_get("at")?),
                tries: row.try_get("tries")?,
            })
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// A sound was fetched and stands in this file.
    ///
    /// # Errors
    /// As every write.
    pub async fn voicemail_fetched(&self, id: VoicemailId, file: &str) -> Result<(), StoreError> {
        self.0.writer.submit(Fetched { id, file: file.to_owned() }).await
    }

    /// A sound could not be fetched; it is tried again at `next`, or never.
    ///
    /// # Errors
    /// As every write.
    pub async fn voicemail_not_fetched(&self, id: VoicemailId, next: Option<Wall>) -> Result<(), StoreError> {
        self.0.writer.submit(NotFetched { id, next }).await
    }
}

/// The messages of a call, oldest first.
pub(super) async fn of_call(
    db: &mut SqliteConnection,
    call: CallId,
) -> Result<Vec<VoicemailId>, sqlx::Error> {
    let rows = sqlx::query("SELECT id FROM voicemail WHERE call = ?1 ORDER BY id")
        .bind(call.0.cast_signed())
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.try_get::<i64, _>(0).map(|id| VoicemailId(id.cast_unsigned()))).collect()
}

/// Which messages; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoicemailFilter {
    /// Of this business number.
    pub number: Option<NumberLabel>,
    /// Of this call.
    pub call: Option<CallId>,
    /// Only those that nobody has heard.
    pub unheard: bool,
    /// Older than this one: where the page before ended.
    pub before: Option<VoicemailId>,
}

fn read(row: &SqliteRow) -> Result<VoiceMessage, sqlx::Error> {
    let ids = Ids { phone: row.try_get("phone")?, bsuid: row.try_get("bsuid")? };
    let heard = row.try_get::<Option<i64>, _>("heard")?.map(Wall);
    let source: String = row.try_get("source")?;
    Ok(VoiceMessage {
        id: VoicemailId(row.try_get::<i64, _>("id")?.cast_unsigned()),
        call: row.try_get::<Option<i64>, _>("call")?.map(|it| CallId(it.cast_unsigned())),
        number: NumberLabel::from(row.try_get::<String, _>("label")?),
        user: ids.user(),
        at: Wall(row.try_get("at")?),
        source: VoicemailSource::parse(&source).unwrap_or(VoicemailSource::Gateway),
        file: row.try_get("file")?,
        seconds: row.try_get("seconds")?,
        heard: heard.zip(row.try_get("heard_by")?),
    })
}

/// Tells programs of the company, in the transaction that makes it true.
async fn tell(db: &mut SqliteConnection, kind: EventKind, message: &VoiceMessage) -> Result<(), sqlx::Error> {
    let detail = serde_json::json!({
        "voicemail": message.id.0.to_string(),
        "source": message.source.as_str(),
        "seconds": message.seconds,
    });
    let ids = match (&message.call, &message.user) {
        (None, Some(user)) => Ids::of(user),
        _ => Ids::default(),
    };
    let number = Some(message.number.as_str());
    let detail = Some(detail.to_string());
    events::tell(db, NewEvent { at: message.at, kind, number, call: message.call, ids, detail }).await
}

async fn told(db: &mut SqliteConnection, row: Option<SqliteRow>) -> Result<bool, sqlx::Error> {
    let Some(row) = row else { return Ok(false) };
    tell(db, EventKind::VoicemailLeft, &read(&row)?).await?;
    Ok(true)
}

struct Add {
    call: CallId,
    file: String,
    seconds: u32,
}

impl Write for Add {
    type Output = bool;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let row = sqlx::query(
            "INSERT INTO voicemail (call, number, label, phone, bsuid, at, source, file, seconds)
             SELECT id, phone_number_id, number, phone, bsuid, opened, 'gateway', ?2, ?3 FROM call WHERE id = ?1
             ON CONFLICT DO NOTHING RETURNING *",
        )
        .bind(self.call.0.cast_signed())
        .bind(&self.file)
        .bind(self.seconds)
        .fetch_optional(&mut *db)
        .await?;
        told(db, row).await
    }
}

struct AddOfMeta(KeptByMeta);

impl Write for AddOfMeta {
    type Output = bool;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let KeptByMeta { number, label, user, at, wa_call, sound } = &self.0;
        let ids = Ids::of(user);
        sqlx::query(
            "INSERT INTO voicemail (call, number, label, phone, bsuid, at, source, media, sha256, next_try)
             VALUES ((SELECT MAX(id) FROM call WHERE wa_call = ?1 AND phone_number_id = ?2), ?2, ?3, ?4, ?5, ?6,
                     'meta', ?7, ?8, ?6)
             ON CONFLICT DO NOTHING",
        )
        .bind(wa_call.as_str())
        .bind(number.as_str())
        .bind(label.as_str())
        .bind(ids.phone)
        .bind(ids.bsuid)
        .bind(at.millis())
        .bind(&sound.id)
        .bind(sound.digest.map(|it| it.to_string()))
        .execute(db)
        .await
        .map(|outcome| outcome.rows_affected() > 0)
    }
}

struct Heard {
    id: VoicemailId,
    by: String,
    now: Wall,
}

impl Write for Heard {
    type Output = bool;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let outcome = sqlx::query(
            "UPDATE voicemail SET heard = IFNULL(heard, ?2), heard_by = IFNULL(heard_by, ?3) WHERE id = ?1",
        )
        .bind(self.id.0.cast_signed())
        .bind(self.now.millis())
        .bind(&self.by)
        .execute(db)
        .await?;
        Ok(outcome.rows_affected() > 0)
    }
}

struct Delete(VoicemailId);

impl Write for Delete {
    type Output = Option<VoiceMessage>;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Self::Output, sqlx::Error> {
        let row = sqlx::query("DELETE FROM voicemail WHERE id = ?1 RETURNING *")
            .bind(self.0.0.cast_signed())
            .fetch_optional(db)
            .await?;
        row.as_ref().map(read).transpose()
    }
}

struct Fetched {
    id: VoicemailId,
    file: String,
}

impl Write for Fetched {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let row = sqlx::query(
            "UPDATE voicemail SET file = ?2, next_try = NULL WHERE id = ?1 AND file IS NULL RETURNING *",
        )
        .bind(self.id.0.cast_signed())
        .bind(&self.file)
        .fetch_optional(&mut *db)
        .await?;
        told(db, row).await.map(drop)
    }
}

struct NotFetched {
    id: VoicemailId,
    next: Option<Wall>,
}

impl Write for NotFetched {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE voicemail SET tries = tries + 1, next_try = ?2 WHERE id = ?1")
            .bind(self.id.0.cast_signed())
            .bind(self.next.map(Wall::millis))
            .execute(db)
            .await
            .map(drop)
    }
}
