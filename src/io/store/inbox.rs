//! What Meta told us: durable before it is acknowledged, acted on once.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::writer::{Operation, Write};
use super::{Store, StoreError, users};
use crate::id::WaCallId;
use crate::time::Wall;
use crate::whatsapp::event::call_key;
use crate::whatsapp::{Event, print, webhook};

/// So many old rows go in one transaction, that nobody waits long behind it.
const FORGET_STEP: u32 = 2000;

/// Calls that rang are kept for a year beyond that: an unanswered run has no end of its own.
const RUN_MEMORY: i64 = 365 * 86_400_000;

/// The place of an event in the inbox; grows with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxId(pub i64);

impl Store {
    /// Writes events and gives back the new ones, durable when this returns.
    ///
    /// Known ones (see [`Event::key`]) are left out, and so is [`Event::Other`], on which nothing acts.
    /// Once begun, the outcome is awaited however long the disk takes: run it in a task of its own,
    /// for an event that is stored but not passed on waits for the next start.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: nothing was stored, Meta may send it again.
    pub async fn receive(&self, events: &[Event], now: Wall) -> Result<Vec<(InboxId, Event)>, StoreError> {
        let items: Vec<Item> = events
            .iter()
            .filter_map(|event| {
                let key = event.key()?;
                Some(Item { key, body: print::print(event), event: event.clone() })
            })
            .collect();
        if items.is_empty() {
            return Ok(Vec::new());
        }
        self.0.writer.submit_patiently(Receive { items, now }).await
    }

    /// Marks events as acted upon; their bodies are wiped, their keys stay.
    ///
    /// # Errors
    /// As every write.
    pub async fn handled(&self, ids: &[InboxId]) -> Result<(), StoreError> {
        self.0.writer.submit(Handled(ids.to_vec())).await
    }

    /// What was received and not acted upon, oldest first: for the start after a crash.
    ///
    /// # Errors
    /// As every read.
    pub async fn unhandled(&self) -> Result<Vec<(InboxId, Event)>, StoreError> {
        let rows = sqlx::query("SELECT id, body, received FROM inbox WHERE handled = 0 ORDER BY id")
            .fetch_all(self.readers())
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, body, received): (i64, String, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            match webhook::parse(body.as_bytes(), Wall(received)) {
                Ok(batch) => found.extend(batch.events.into_iter().map(|event| (InboxId(id), event))),
                Err(error) => tracing::error!(id, %error, "an event of the inbox cannot be read"),
            }
        }
        Ok(found)
    }

    /// Whether Meta has told the end of this call: a late `connect` for it must ring nobody.
    ///
    /// # Errors
    /// As every read.
    pub async fn is_terminated(&self, call: &WaCallId) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM inbox WHERE key = ?1")
            .bind(call_key(call, "terminate"))
            .fetch_optional(self.readers())
            .await?;
        Ok(row.is_some())
    }

    /// Forgets what was received and reserved before `cutoff`; gives the number of rows.
    ///
    /// Meta repeats webhooks for up to 7 days, and caps look back over their windows: `cutoff` must lie
    /// before both. Unhandled events and calls that are up stay.
    ///
    /// # Errors
    /// As every write; what was forgotten until then stays forgotten.
    pub async fn forget_before(&self, cutoff: Wall) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let gone = self.0.writer.submit(Forget(cutoff)).await?;
            total += gone;
            if gone == 0 {
                return Ok(total);
            }
        }
    }
}

struct Item {
    key: String,
    body: String,
    event: Event,
}

struct Receive {
    items: Vec<Item>,
    now: Wall,
}

impl Write for Receive {
    type Output = Vec<(InboxId, Event)>;
    const OPERATION: Operation = Operation::Receive;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Self::Output, sqlx::Error> {
        let mut new = Vec::new();
        for item in &self.items {
            let row = sqlx::query(
                "INSERT INTO inbox (key, body, received) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO NOTHING RETURNING id",
            )
            .bind(&item.key)
            .bind(&item.body)
            .bind(self.now.millis())
            .fetch_optional(&mut *db)
            .await?;
            let Some(row) = row else { continue };
            new.push((InboxId(row.try_get(0)?), item.event.clone()));
            let user = match &item.event {
                Event::Call(call) => call.user.as_ref(),
                Event::Permission(reply) => Some(&reply.user),
                Event::Wrote(message) => Some(&message.user),
                Event::Account(_) | Event::Other { .. } => None,
            };
            if let Some(user) = user {
                users::remember(db, user).await?;
            }
        }
        Ok(new)
    }
}

struct Handled(Vec<InboxId>);

impl Write for Handled {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for id in &self.0 {
            sqlx::query("UPDATE inbox SET handled = 1, body = '' WHERE id = ?1")
                .bind(id.0)
                .execute(&mut *db)
                .await?;
        }
        Ok(())
    }
}

struct Forget(Wall);

impl Write for Forget {
    type Output = u64;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let inbox = sqlx::query(
            "DELETE FROM inbox WHERE id IN
             (SELECT id FROM inbox WHERE received < ?1 AND handled = 1 LIMIT ?2)",
        )
        .bind(self.0.millis())
        .bind(FORGET_STEP)
        .execute(&mut *db)
        .await?;
        let reservations = sqlx::query(
            "DELETE FROM reservation WHERE call IN
             (SELECT r.call FROM reservation r WHERE r.reserved < ?1 AND IFNULL(r.connected, 0) < ?1
                AND (r.rang IS NULL OR r.reserved < ?1 - ?3)
                AND NOT EXISTS (SELECT 1 FROM call c WHERE c.id = r.call AND c.ended IS NULL) LIMIT ?2)",
        )
        .bind(self.0.millis())
        .bind(FORGET_STEP)
        .bind(RUN_MEMORY)
        .execute(&mut *db)
        .await?;
        Ok(inbox.rows_affected() + reservations.rows_affected())
    }
}
