//! One task that writes: what has queued up becomes one transaction.
//!
//! A write is in one of three states. While it *waits*, its owner may *abandon* it at the deadline,
//! and then it is never written; once the task has *taken* it, its owner waits for the outcome. So
//! [`StoreError::Busy`] always means "not done, and will not be".

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::{StoreError, StoreSettings, Synchronous};
use crate::io::spans::{SharedSpans, Spans};

/// So many writes share a transaction at most; the first of them waits for the last.
const GROUP: usize = 256;
/// How long the disk may take for a group beyond the wait for other processes.
const DISK: Duration = Duration::from_secs(5);

/// After so many commits the write-ahead log is moved into the file, which takes several syncs …
const LOGGED: u32 = 128;
/// … as soon as nothing was written for this long: no caller waits behind it.
const QUIET: Duration = Duration::from_millis(100);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const ABANDONED: u8 = 2;

type Applied<'a> = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'a>>;

/// What a write must outlive before it counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlives {
    /// A loss of power: its transaction waits for the disk.
    Power,
    /// This process: the operating system has it, the disk gets it with the next write that waits.
    Process,
}

/// What kind of write it is, for the metric of how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Webhooks become durable.
    Receive,
    /// A call's record opens.
    Open,
    /// A call's record closes.
    Close,
    /// An outgoing call is decided on and reserved.
    Reserve,
    /// Anything else.
    Other,
}

impl Operation {
    /// Every kind, in the order of [`StoreFigures::times`].
    pub const ALL: [Self; 5] = [Self::Receive, Self::Open, Self::Close, Self::Reserve, Self::Other];
}

/// One thing to write. It may be applied several times, each time after a rollback of the one before.
pub(super) trait Write: Send + Sync + 'static {
    type Output: Send + 'static;
    /// What it must outlive.
    const OUTLIVES: Outlives = Outlives::Power;
    /// What kind it is.
    const OPERATION: Operation = Operation::Other;

    /// Runs inside an IMMEDIATE transaction: nobody else writes between its first and last statement.
    fn apply(
        &self,
        db: &mut SqliteConnection,
    ) -> impl Future<Output = Result<Self::Output, sqlx::Error>> + Send;
}

/// Whether the store takes writes.
pub(super) struct Probe;

impl Write for Probe {
    type Output = ();
    const OUTLIVES: Outlives = Outlives::Process;

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE counter SET value = value WHERE name = 'call'").execute(db).await.map(drop)
    }
}

/// Counters of the writing task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Writes that were committed.
    pub writes: u64,
    /// Transactions they took.
    pub commits: u64,
    /// Writes refused because the queue was full or too slow.
    pub busy: u64,
    /// Writes that the database refused.
    pub failed: u64,
    /// Writes that wait now.
    pub queued: u64,
    /// How long writes took, waiting included, whatever became of them; by [`Operation::ALL`].
    pub times: [Spans; Operation::ALL.len()],
}

#[derive(Debug, Default)]
struct Counters {
    writes: AtomicU64,
    commits: AtomicU64,
    busy: AtomicU64,
    failed: AtomicU64,
    times: [SharedSpans; Operation::ALL.len()],
}

/// The way to the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Pending>>,
    closing: Arc<Notify>,
    deadline: Duration,
    patience: Duration,
    capacity: usize,
    counters: Arc<Counters>,
}

impl Writer {
    pub(super) fn start(connection: SqliteConnection, settings: &StoreSettings) -> Self {
        let capacity = settings.queue.max(1);
        let (queue, waiting) = mpsc::channel(capacity);
        let closing = Arc::new(Notify::new());
        let counters = Arc::new(Counters::default());
        let disk = Disk { db: connection, waits: settings.synchronous, set: settings.synchronous, logged: 0 };
        tokio::spawn(run(disk, waiting, Arc::clone(&closing), Arc::clone(&counters)));
        let patience = settings.busy_timeout + DISK;
        Self { queue, closing, deadline: settings.deadline, patience, capacity, counters }
    }

    /// Writes, or refuses within the deadline; the outcome of what was begun is awaited.
    pub(super) async fn submit<W: Write>(&self, write: W) -> Result<W::Output, StoreError> {
        let _timing = self.time(W::OPERATION);
        let mut reply = self.queue(write).await?;
        tokio::time::timeout(self.patience, &mut reply.outcome)
            .await
            .map_or(Err(StoreError::Uncertain), |it| it.unwrap_or(Err(StoreError::Closed)))
    }

    /// As `submit`, but however long the disk takes: for writes whose outcome must not be lost.
    pub(super) async fn submit_patiently<W: Write>(&self, write: W) -> Result<W::Output, StoreError> {
        let _timing = self.time(W::OPERATION);
        self.queue(write).await?.outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Times what is done until it is dropped, a caller that gives up included.
    fn time(&self, operation: Operation) -> Timing<'_> {
        Timing { spans: &self.counters.times[operation as usize], began: Instant::now() }
    }

    /// Returns once the task has taken the write, or refuses it at the deadline.
    async fn queue<W: Write>(&self, write: W) -> Result<Queued<W::Output>, StoreError> {
        let deadline = Instant::now() + self.deadline;
        let (reply, outcome) = oneshot::channel();
        let (noticed, taken) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITING));
        let job = Job { write, state: Arc::clone(&state), noticed: Some(noticed), output: None, reply };
        let busy = |_| {
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            StoreError::Busy
        };
        let place = tokio::time::timeout_at(deadline, self.queue.reserve()).await.map_err(busy)?;
        place.map_err(|_| StoreError::Closed)?.send(Box::new(job));
        match tokio::time::timeout_at(deadline, taken).await {
            Ok(Ok(())) => {}
            // The task is gone, or went without looking at this write.
            Ok(Err(_)) => return Err(StoreError::Closed),
            Err(elapsed) => {
                if state.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                    return Err(busy(elapsed));
                }
            }
        }
        Ok(Queued { outcome })
    }

    pub(super) async fn close(&self) {
        self.closing.notify_one();
        self.queue.closed().await;
    }

    pub(super) fn figures(&self) -> StoreFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreFigures {
            writes: read(&self.counters.writes),
            commits: read(&self.counters.commits),
            busy: read(&self.counters.busy),
            failed: read(&self.counters.failed),
            queued: u64::try_from(self.capacity.saturating_sub(self.queue.capacity())).unwrap_or(u64::MAX),
            times: std::array::from_fn(|at| self.counters.times[at].read()),
        }
    }
}

struct Timing<'a> {
    spans: &'a SharedSpans,
    began: Instant,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.spans.add(self.began.elapsed());
    }
}

struct Queued<T> {
    outcome: oneshot::Receiver<Result<T, StoreError>>,
}

struct Job<W: Write> {
    write: W,
    state: Arc<AtomicU8>,
    noticed: Option<oneshot::Sender<()>>,
    output: Option<W::Output>,
    reply: oneshot::Sender<Result<W::Output, StoreError>>,
}

/// A [`Job`] whose output type is forgotten.
trait Pending: Send {
    /// Whether it is ours to write; false if its owner has abandoned it.
    fn take(&mut self) -> bool;
    fn outlives(&self) -> Outlives;
    fn apply<'a>(&'a mut self, db: &'a mut SqliteConnection) -> Applied<'a>;
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

impl<W: Write> Pending for Job<W> {
    fn take(&mut self) -> bool {
        let ours = self.state.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if let Some(noticed) = self.noticed.take().filter(|_| ours) {
            let _ = noticed.send(());
        }
        ours
    }

    fn outlives(&self) -> Outlives {
        W::OUTLIVES
    }

    fn apply<'a>(&'a mut self, db: &'a mut SqliteConnection) -> Applied<'a> {
        Box::pin(async move {
            self.output = Some(self.write.apply(db).await?);
            Ok(())
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let output = self.output;
        let _ = self.reply.send(committed.and_then(|()| output.ok_or(StoreError::Closed)));
    }
}

/// The connection that writes, and whether its commits wait for the disk.
struct Disk {
    db: SqliteConnection,
    /// As configured, for what must outlive a loss of power.
    waits: Synchronous,
    /// As the connection is set now.
    set: Synchronous,
    /// Commits that stand in the write-ahead log only.
    logged: u32,
}

impl Disk {
    async fn set(&mut self, outlives: Outlives) -> Result<(), sqlx::Error> {
        let wanted = if outlives == Outlives::Power { self.waits } else { Synchronous::Normal };
        if wanted != self.set {
            let pragma = match wanted {
                Synchronous::Full => "PRAGMA synchronous = FULL",
                Synchronous::Normal => "PRAGMA synchronous = NORMAL",
            };
            sqlx::query(pragma).execute(&mut self.db).await?;
            self.set = wanted;
        }
        Ok(())
    }

    /// Moves the write-ahead log into the file, while nobody waits for a write.
    async fn checkpoint(&mut self) {
        self.logged = 0;
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut self.db).await {
            tracing::warn!(%error, "the store's log could not be moved into its file");
        }
    }
}

async fn run(
    mut disk: Disk,
    mut waiting: mpsc::Receiver<Box<dyn Pending>>,
    closing: Arc<Notify>,
    counters: Arc<Counters>,
) {
    loop {
        let first = tokio::select! {
            biased;
            first = waiting.recv() => first,
            () = closing.notified() => {
                // What is queued already is still written; nothing new comes in.
                waiting.close();
                waiting.recv().await
            }
            () = tokio::time::sleep(QUIET), if disk.logged >= LOGGED => {
                disk.checkpoint().await;
                continue;
            }
        };
        let Some(first) = first else { break };
        let mut group = vec![first];
        while group.len() < GROUP {
            let Ok(next) = waiting.try_recv() else { break };
            group.push(next);
        }
        group.retain_mut(|it| it.take());
        // What need not wait for the disk does not wait for its neighbours' disk either.
        let (quick, slow): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|it| it.outlives() == Outlives::Process);
        for (group, outlives) in [(quick, Outlives::Process), (slow, Outlives::Power)] {
            if !group.is_empty() {
                write_group(&mut disk, outlives, group, &counters).await;
            }
        }
    }
    if let Err(error) = disk.db.close().await {
        tracing::error!(%error, "the store did not close cleanly");
    }
}

async fn write_group(
    disk: &mut Disk,
    outlives: Outlives,
    mut group: Vec<Box<dyn Pending>>,
    counters: &Counters,
) {
    let outcome = transaction(disk, outlives, &mut group).await;
    // One bad write must not fail its neighbours: each has its own transaction then.
    if outcome.is_err() && group.len() > 1 {
        for single in group {
            let mut single = vec![single];
            let outcome = transaction(disk, outlives, &mut single).await;
            finish(single, outcome, counters);
        }
    } else {
        finish(group, outcome, counters);
    }
}

fn finish(group: Vec<Box<dyn Pending>>, outcome: Result<(), sqlx::Error>, counters: &Counters) {
    let size = u64::try_from(group.len()).unwrap_or(u64::MAX);
    let outcome = outcome.map_err(|error| {
        tracing::error!(%error, writes = size, "the store failed to write");
        StoreError::from(error)
    });
    if outcome.is_ok() {
        counters.writes.fetch_add(size, Ordering::Relaxed);
        counters.commits.fetch_add(1, Ordering::Relaxed);
    } else {
        counters.failed.fetch_add(size, Ordering::Relaxed);
    }
    for write in group {
        write.finish(outcome.clone());
    }
}

async fn transaction(
    disk: &mut Disk,
    outlives: Outlives,
    group: &mut [Box<dyn Pending>],
) -> Result<(), sqlx::Error> {
    disk.set(outlives).await?;
    let outcome = begin_to_commit(&mut disk.db, group).await;
    if outcome.is_ok() {
        disk.logged += 1;
    } else {
        // It fails if the database has rolled back by itself, which is just as well.
        let _ = sqlx::query("ROLLBACK").execute(&mut disk.db).await;
    }
    outcome
}

async fn begin_to_commit(
    db: &mut SqliteConnection,
    group: &mut [Box<dyn Pending>],
) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *db).await?;
    for write in group {
        write.apply(db).await?;
    }
    sqlx::query("COMMIT").execute(&mut *db).await.map(drop)
}
