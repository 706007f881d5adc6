//! Where phones are registered, for the next start.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::writer::{Outlives, Write};
use super::{Store, StoreError};
use crate::id::PhoneName;
use crate::sip::{Flow, SavedBinding};
use crate::time::Wall;

impl Store {
    /// Keeps the bindings of phones at our sockets `locals` in place of those kept before; none forgets a phone.
    ///
    /// They outlive the process at once and do not wait for the disk: what a loss of power takes comes again
    /// with the phone's next REGISTER.
    ///
    /// # Errors
    /// As every write.
    pub async fn save_bindings(
        &self,
        locals: Vec<SocketAddr>,
        phones: BTreeMap<PhoneName, Vec<SavedBinding>>,
    ) -> Result<(), StoreError> {
        self.0.writer.submit(Save { locals, phones }).await
    }

    /// The bindings at the socket `local` that have not ended by `now`, in the order of saving.
    ///
    /// # Errors
    /// As every read.
    pub async fn bindings(&self, local: SocketAddr, now: Wall) -> Result<Vec<SavedBinding>, StoreError> {
        let rows = sqlx::query("SELECT * FROM binding WHERE local = ?1 AND expires > ?2 ORDER BY id")
            .bind(local.to_string())
            .bind(now.millis())
            .fetch_all(self.readers())
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            match read(row, local) {
                Ok(binding) => found.push(binding),
                // Its phone registers again by itself; the others need not wait for that.
                Err(error) => tracing::error!(%error, "a kept registration cannot be read"),
            }
        }
        Ok(found)
    }

    /// Forgets what has ended by `now`, at whatever socket.
    ///
    /// # Errors
    /// As every write.
    pub async fn forget_bindings(&self, now: Wall) -> Result<(), StoreError> {
        self.0.writer.submit(Forget(now)).await
    }
}

fn read(row: &SqliteRow, local: SocketAddr) -> Result<SavedBinding, sqlx::Error> {
    let remote: String = row.try_get("remote")?;
    let remote = remote.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(SavedBinding {
        phone: row.try_get::<String, _>("phone")?.into(),
        contact: row.try_get("contact")?,
        flow: Flow::udp(local, remote),
        expires: Wall(row.try_get("expires")?),
        user_agent: row.try_get("user_agent")?,
        call_id: row.try_get("call_id")?,
        cseq: row.try_get("cseq")?,
        instance: row.try_get("instance")?,
        reg_id: row.try_get("reg_id")?,
        path: row.try_get::<String, _>("path")?.lines().map(str::to_owned).collect(),
        q: row.try_get("q")?,
        proof: row.try_get("proof")?,
    })
}

struct Save {
    locals: Vec<SocketAddr>,
    phones: BTreeMap<PhoneName, Vec<SavedBinding>>,
}

impl Write for Save {
    type Output = ();
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        for (phone, bindings) in &self.phones {
            for local in &self.locals {
                sqlx::query("DELETE FROM binding WHERE phone = ?1 AND local = ?2")
                    .bind(phone.as_str())
                    .bind(local.to_string())
                    .execute(&mut *db)
                    .await?;
            }
            for binding in bindings {
                sqlx::query(
                    "INSERT INTO binding (local, phone, remote, contact, expires, user_agent, call_id, cseq,
                                          instance, q, proof, reg_id, path)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                )
                .bind(binding.flow.local.to_string())
                .bind(phone.as_str())
                .bind(binding.flow.remote.to_string())
                .bind(&binding.contact)
                .bind(binding.expires.millis())
                .bind(binding.user_agent.as_deref())
                .bind(&binding.call_id)
                .bind(binding.cseq)
                .bind(binding.instance.as_deref())
                .bind(binding.q)
                .bind(binding.proof)
                .bind(binding.reg_id)
                .bind(binding.path.join("\n"))
                .execute(&mut *db)
                .await?;
            }
        }
        Ok(())
    }
}

struct Forget(Wall);

impl Write for Forget {
    type Output = ();
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM binding WHERE expires <= ?1")
            .bind(self.0.millis())
            .execute(db)
            .await
            .map(drop)
    }
}
