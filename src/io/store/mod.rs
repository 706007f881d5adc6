//! The store: what must survive `kill -9`, in one SQLite file.
//!
//! All writes go through one task, which puts whatever has queued up into one transaction (a group
//! commit): a write returns when it is durable, and many at once cost one sync. Readers have their
//! own connections. Several processes may use the same file.
//!
//! | file | holds |
//! | --- | --- |
//! | `writer` | the queue, the group commit, deadlines |
//! | `inbox` | webhooks: known repetitions, marks of what was handled |
//! | `records` | call records and dialog snapshots |
//! | `missed` | calls that nobody took, until somebody talks to the user |
//! | `notes` | what people say of calls |
//! | `recordings` | what was recorded of which call |
//! | `desk_calls` | records of calls between desks |
//! | `reservations` | caps: facts, decision and reservation in one transaction |
//! | `permissions` | the ledger of what users said |
//! | `requests` | permission requests and their limits |
//! | `guards` | unanswered runs, Meta's holds and restrictions, the conversation window |
//! | `bindings` | where phones are registered |
//! | `events` | what programs of the company are told, in the transaction that makes it true |
//! | `asked` | what requests with an Idempotency-Key were answered |
//! | `availability` | which phones do not want to be disturbed |
//! | `voicemail` | what users said to nobody |

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

mod asked;
mod availability;
mod bindings;
mod desk_calls;
mod events;
mod guards;
mod inbox;
mod missed;
mod notes;
mod permissions;
mod pick_up;
mod recordings;
mod records;
mod requests;
mod reservations;
mod users;
mod voicemail;
mod writer;

pub use asked::{Asked, Fingerprint};
pub use events::{ASKED_KEPT, EventId, EventKind, StoredEvent};
pub use guards::{Hold, RestrictionLine, Run};
pub use inbox::InboxId;
pub use missed::{Claim, MissedFilter};
pub use permissions::{Drift, PermissionLine};
pub use pick_up::PickUpTurn;
pub use records::{CallFilter, Closed};
pub use requests::{RequestId, RequestLine};
pub use reservations::CapUse;
pub use voicemail::{KeptByMeta, MessageCount, ToFetch, VoicemailFilter};
pub use writer::{Operation, StoreFigures};

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Once it is on the disk: survives a loss of power.
    #[default]
    Full,
    /// Once it is with the operating system: survives `kill -9`, and a loss of power may undo the last
    /// commits (never more, never in part).
    Normal,
}

/// How the store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// When a commit counts as done.
    pub synchronous: Synchronous,
    /// How long a write may queue before it is refused as [`StoreError::Busy`].
    pub deadline: Duration,
    /// How long a transaction waits for another process's.
    pub busy_timeout: Duration,
    /// How many writes may queue.
    pub queue: usize,
    /// Connections for reading.
    pub readers: u32,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            deadline: Duration::from_secs(2),
            busy_timeout: Duration::from_secs(2),
            queue: 1024,
            readers: 2,
        }
    }
}

/// Why the store did not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Too much to do: it was not done and will not be.
    #[error("the store is busy")]
    Busy,
    /// The disk took so long that nobody knows: it may have been done.
    #[error("the store did not say in time whether it wrote")]
    Uncertain,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The file cannot be opened.
    #[error("cannot open the store {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Arc<sqlx::Error>,
    },
    /// The file's tables cannot be brought up to date.
    #[error("cannot bring the store {path} up to date")]
    Migrate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Arc<sqlx::migrate::MigrateError>,
    },
    /// The database said no: disk full, file damaged, locked for too long.
    #[error("the store failed")]
    Database(#[source] Arc<sqlx::Error>),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::Database(error) if is_locked(error.as_ref()) => Self::Busy,
            other => Self::Database(Arc::new(other)),
        }
    }
}

/// SQLITE_BUSY in any of its extended forms: another process held the lock for too long, all is rolled back.
fn is_locked(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().and_then(|it| it.parse::<i32>().ok()).is_some_and(|it| it & 0xff == 5)
}

/// A handle on the store; clones share its task and its connections.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    writer: writer::Writer,
    readers: SqlitePool,
    /// Call ids taken from the file in advance; what is left of them at a restart is skipped.
    ids: tokio::sync::Mutex<Range<u64>>,
}

/// Tries again while another process holds the file: SQLite's own time-out does not cover the moment in which
/// the first process turns on the write-ahead log.
async fn patiently<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    /// The primary result code of `SQLITE_BUSY`; extended codes keep it in their lowest byte.
    const BUSY: u32 = 5;
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let outcome = attempt().await;
        let code = outcome
            .as_ref()
            .err()
            .and_then(sqlx::Error::as_database_error)
            .and_then(sqlx::error::DatabaseError::code);
        let busy = code.and_then(|it| it.parse::<u32>().ok()).is_some_and(|code| code & 0xff == BUSY);
        if !busy || tokio::time::Instant::now() >= deadline {
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Store {
    /// Opens the file, creating it for its owner's eyes only, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Migrate`].
    pub async fn open(path: &Path, settings: StoreSettings) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
        create_private(path).map_err(|error| failed(sqlx::Error::Io(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match settings.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            .busy_timeout(settings.busy_timeout)
            // As many rows as a cap has places come over in one go.
            .row_buffer_size(128)
            .pragma("temp_store", "memory")
            // In pages. The writing task does it in quiet moments; this is for a day without one.
            .pragma("wal_autocheckpoint", "8000")
            .disable_statement_logging();
        let patience = settings.busy_timeout;
        let mut connection = patiently(patience, || options.connect()).await.map_err(failed)?;
        migrate(&mut connection)
            .await
            .map_err(|source| StoreError::Migrate { path: path.to_owned(), source: Arc::new(source) })?;
        let pool = || {
            SqlitePoolOptions::new()
                .max_connections(settings.readers.max(1))
                .acquire_timeout(settings.deadline)
                .connect_with(options.clone().read_only(true))
        };
        let readers = patiently(patience, pool).await.map_err(failed)?;
        let writer = writer::Writer::start(connection, &settings);
        Ok(Self(Arc::new(Shared { writer, readers, ids: tokio::sync::Mutex::new(0..0) })))
    }

    /// Writes what is queued, then closes the file. Later writes are refused as [`StoreError::Closed`].
    pub async fn close(&self) {
        self.0.writer.close().await;
        self.0.readers.close().await;
    }

    /// Counters for `/metrics`.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        self.0.writer.figures()
    }

    /// Asks whether the store can be read and written, for `/readyz`.
    ///
    /// # Errors
    /// Whatever a real write would meet.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.0.writer.submit(writer::Probe).await
    }

    fn readers(&self) -> &SqlitePool {
        &self.0.readers
    }
}

/// SQLite would create the file with the process's mask; it holds phone numbers.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// Two processes that start at once may meet here: the second finds the work done when it tries again.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), sqlx::migrate::MigrateError> {
    let migrator = sqlx::migrate!("src/io/store/migrations");
    let mut tries = 0;
    loop {
        match migrator.run(&mut *connection).await {
            Ok(()) => return connection.ping().await.map_err(Into::into),
            Err(error) if tries == 5 => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(50 * tries)).await;
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use self::tests::Stall;
