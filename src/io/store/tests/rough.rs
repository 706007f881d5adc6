//! Races, a full queue, a bad write among good ones, and `kill -9`.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tokio::task::JoinSet;

use super::super::writer::{Outlives, Write};
use super::*;
use crate::policy::{Attempt, Decision, DenialReason, LedgerSource, Rules};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_200_racing_attempts_from_two_processes_exactly_100_are_granted() {
    let (directory, one) = fresh().await;
    let two = open(&directory).await;
    for user in 0..200 {
        let number = "108911223344556".into();
        one.set_permission(&number, &phone(user), Permission::Permanent, LedgerSource::Operator, Wall(0))
            .await
            .expect("set");
    }
    let barrier = Arc::new(tokio::sync::Barrier::new(200));
    let mut tasks = JoinSet::new();
    for n in 0..200_u64 {
        let (store, barrier) = (if n % 2 == 0 { one.clone() } else { two.clone() }, Arc::clone(&barrier));
        tasks.spawn(async move {
            let attempt = Attempt { number: "108911223344556".into(), user: phone(n), call: CallId(n) };
            barrier.wait().await;
            let decision = store.reserve(&Rules::default(), &attempt, at(1000)).await.expect("decided");
            if matches!(decision, Decision::Allow(_)) {
                store.connected(CallId(n), Wall(1001)).await.expect("connected");
            }
            decision
        });
    }
    let decisions = tasks.join_all().await;
    let granted = decisions.iter().filter(|it| matches!(it, Decision::Allow(_))).count();
    assert_eq!(granted, 100);
    let capped = |it: &&Decision| matches!(it, Decision::Deny(it) if it.reason == DenialReason::NumberCap);
    assert_eq!(decisions.iter().filter(capped).count(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_attempts_to_one_user_exactly_one_is_granted() {
    let (directory, one) = fresh().await;
    let two = open(&directory).await;
    one.set_permission(&"1".into(), &both(1), Permission::Permanent, LedgerSource::Operator, Wall(0))
        .await
        .expect("set");
    let mut tasks = JoinSet::new();
    for n in 0..40_u64 {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        let user = if n % 3 == 0 { phone(1) } else { scoped(1) };
        tasks.spawn(async move {
            let attempt = Attempt { number: "1".into(), user, call: CallId(n) };
            store.reserve(&Rules::default(), &attempt, at(1000)).await.expect("decided")
        });
    }
    let granted = tasks.join_all().await.into_iter().filter(|it| matches!(it, Decision::Allow(_))).count();
    assert_eq!(granted, 1);
}

/// Another process that holds the write lock until it is dropped.
async fn lock(directory: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.path().join("test.db"));
    let mut other = options.connect().await.expect("connected");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    other
}

#[tokio::test]
async fn busy_means_that_nothing_was_written_and_nothing_will_be() {
    let (directory, store) = fresh().await;
    store.close().await;
    let short = Duration::from_millis(50);
    let settings =
        StoreSettings { deadline: short, busy_timeout: short, queue: 2, ..StoreSettings::default() };
    let store = Store::open(&directory.path().join("test.db"), settings).await.expect("a store");
    let other = lock(&directory).await;
    let mut tasks = JoinSet::new();
    for n in 0..10 {
        let store = store.clone();
        tasks.spawn(async move { store.receive(&[event(&format!("wacid.{n}"), ended())], Wall(5)).await });
    }
    for outcome in tasks.join_all().await {
        assert!(matches!(outcome, Err(StoreError::Busy)), "{outcome:?}");
    }
    drop(other);
    store.probe().await.expect("writable again, and the queue is drained");
    assert_eq!(store.unhandled().await.expect("read"), []);
    let figures = store.figures();
    assert_eq!((figures.busy + figures.failed, figures.writes, figures.queued), (10, 1, 0));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (_directory, store) = fresh().await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.probe().await, Err(StoreError::Closed)));
    assert!(matches!(store.unhandled().await, Err(StoreError::Closed)));
}

struct Bad;

impl Write for Bad {
    type Output = ();

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO inbox (key, body, received) VALUES ('bad', '', 1)")
            .execute(&mut *db)
            .await?;
        sqlx::query("INSERT INTO inbox (key, body, received) VALUES ('bad', '', 1)")
            .execute(db)
            .await
            .map(drop)
    }
}

#[tokio::test]
async fn a_bad_write_fails_alone_and_leaves_nothing_behind() {
    let (directory, store) = fresh().await;
    // While another process holds the lock, writes queue up behind the first and share a transaction.
    let other = lock(&directory).await;
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            if n == 4 {
                assert!(matches!(store.0.writer.submit(Bad).await, Err(StoreError::Database(_))));
            } else {
                let event = event(&format!("wacid.{n}"), ended());
                assert_eq!(store.receive(&[event], Wall(5)).await.expect("stored").len(), 1);
            }
        });
    }
    tokio::task::yield_now().await;
    drop(other);
    tasks.join_all().await;
    assert_eq!(store.unhandled().await.expect("read").len(), 7);
    assert_eq!((store.figures().failed, store.figures().writes), (1, 7));
}

/// Asks inside a transaction whether its commit will wait for the disk.
struct ReadSynchronous<const POWER: bool>;

impl<const POWER: bool> Write for ReadSynchronous<POWER> {
    type Output = i64;
    const OUTLIVES: Outlives = if POWER { Outlives::Power } else { Outlives::Process };

    async fn apply(&self, db: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(db).await
    }
}

#[tokio::test]
async fn only_what_must_outlive_a_loss_of_power_waits_for_the_disk() {
    const NORMAL: i64 = 1;
    const FULL: i64 = 2;
    for (synchronous, power) in [(Synchronous::Full, FULL), (Synchronous::Normal, NORMAL)] {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings { synchronous, ..StoreSettings::default() };
        let store = Store::open(&directory.path().join("test.db"), settings).await.expect("a store");
        for _ in 0..2 {
            let writer = &store.0.writer;
            assert_eq!(writer.submit(ReadSynchronous::<false>).await.expect("asked"), NORMAL);
            assert_eq!(
                writer.submit(ReadSynchronous::<true>).await.expect("asked"),
                power,
                "{synchronous:?}"
            );
        }
        // Both in one group: neither gets the other's way of writing.
        let both = tokio::join!(
            store.0.writer.submit(ReadSynchronous::<true>),
            store.0.writer.submit(ReadSynchronous::<false>)
        );
        assert_eq!((both.0.expect("asked"), both.1.expect("asked")), (power, NORMAL));
    }
}

#[tokio::test]
async fn the_log_moves_into_the_file_in_a_quiet_moment() {
    let (directory, store) = fresh().await;
    let log = directory.path().join("test.db-wal");
    let file = directory.path().join("test.db");
    let before = std::fs::metadata(&file).expect("the file").len();
    for n in 0..200 {
        store.open_record(&record(n)).await.expect("opened");
    }
    assert!(std::fs::metadata(&log).expect("the log").len() > 128 * 4096);
    let moved = async {
        while std::fs::metadata(&file).expect("the file").len() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), moved).await.expect("moved in time");
}

/// Set for the child process of the test below; holds the directory of the store.
const CHILD: &str = "CORDBOARD_TEST_KILLED_STORE";

/// Runs in the process that will be killed; does nothing in an ordinary test run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_without_end_when_told_to() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let path = Path::new(&directory).join("test.db");
    let store = Store::open(&path, StoreSettings::default()).await.expect("a store");
    let mut tasks = JoinSet::new();
    for task in 0..4_u64 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in (task..).step_by(4) {
                store
                    .receive(&[event(&format!("wacid.{n}"), CallEventKind::Rang)], Wall(5))
                    .await
                    .expect("stored");
                let opened = match n % 3 {
                    0 => store.open_record(&record(n)).await,
                    _ => store.open_record_of_event(&record(n)).await,
                };
                opened.expect("opened");
                if n % 2 == 0 {
                    store
                        .close_record(&CallRecord { ended: Some(Wall(9)), ..record(n) })
                        .await
                        .expect("closed");
                }
                // Only now does anybody rely on it.
                let mut out = std::io::stdout().lock();
                writeln!(out, "durable {n}").and_then(|()| out.flush()).expect("told");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_and_the_rest_is_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--exact", "io::store::tests::rough::writes_without_end_when_told_to", "--nocapture"])
        .env(CHILD, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut told: Vec<u64> = Vec::new();
    while told.len() < 60 {
        let line = lines.next().expect("the child writes on").expect("text");
        told.extend(line.split("durable ").nth(1).and_then(|it| it.trim().parse::<u64>().ok()));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("gone");
    told.extend(
        lines.map_while(Result::ok).filter_map(|it| it.split("durable ").nth(1)?.trim().parse::<u64>().ok()),
    );

    let store = open(&directory).await;
    let events: Vec<String> = store
        .unhandled()
        .await
        .expect("read")
        .into_iter()
        .map(|(_, event)| match event {
            Event::Call(event) => event.call.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    for n in told {
        assert!(events.contains(&format!("wacid.{n}")), "event {n} was acknowledged");
        let line = store.call(CallId(n)).await.expect("read").expect("acknowledged");
        assert_eq!(line.ended.is_some(), n % 2 == 0, "record {n}");
    }
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(store.readers()).await.expect("checked");
    assert_eq!(check, "ok");
}
