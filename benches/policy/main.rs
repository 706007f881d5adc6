//! What a decision costs with a store that is years old: `cargo bench --bench policy`.
//!
//! Ten million lines of the ledger, one million call records with their reservations. Printed are the time to read
//! the facts and decide, the time of the same with its commit (by `synchronous`), and that of a restart.
//! `CORDBOARD_POLICY_ENTRIES` makes it smaller.
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::path::Path;
use std::time::{Duration, Instant};

use cordboard::id::CallId;
use cordboard::io::store::{CallFilter, Store, StoreSettings, Synchronous};
use cordboard::policy::{Attempt, Decision, Rules};
use cordboard::time::{Now, Wall};
use cordboard::user::{Msisdn, UserId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, Executor as _};

/// The bar: reading the facts and deciding, 99 times in a hundred.
const BAR: Duration = Duration::from_millis(1);
/// The bar of a restart.
const RESTART: Duration = Duration::from_secs(2);
const NOW: i64 = 1_791_900_000_000;
const DAY: i64 = 86_400_000;
const NUMBER: &str = "108911223344556";

fn main() {
    let entries: i64 =
        std::env::var("CORDBOARD_POLICY_ENTRIES").ok().and_then(|it| it.parse().ok()).unwrap_or(10_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(bench(entries));
}

async fn bench(entries: i64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cordboard.db");
    let users = entries / 5;
    let calls = entries / 10;
    let store = open(&path, Synchronous::Normal).await;
    store.close().await;
    let began = Instant::now();
    fill(&path, entries, users, calls).await;
    println!(
        "filled with {entries} ledger lines and {calls} calls in {:.1} s",
        began.elapsed().as_secs_f64()
    );

    let began = Instant::now();
    let store = open(&path, Synchronous::Full).await;
    store.unhandled().await.expect("read");
    store.calls(100, &CallFilter { ended: Some(false), ..CallFilter::default() }).await.expect("read");
    let took = began.elapsed();
    println!("restart: {:.3} s (bar {} s) {}", took.as_secs_f64(), RESTART.as_secs(), bar(took, RESTART));

    let mut times = Vec::new();
    for n in 0..20_000 {
        let attempt = attempt(n, users);
        let began = Instant::now();
        store.judge(&Rules::default(), &attempt, now()).await.expect("judged");
        times.push(began.elapsed());
    }
    let p99 = report("facts and decision", &mut times);
    println!("  bar of p99: {} ms {}", BAR.as_millis(), bar(p99, BAR));
    store.close().await;
    for (name, synchronous) in [("full", Synchronous::Full), ("normal", Synchronous::Normal)] {
        commits(&path, name, synchronous, users).await;
    }
}

/// The same decisions with their commits, and how many of them were allowed.
async fn commits(path: &Path, name: &str, synchronous: Synchronous, users: i64) {
    let store = open(path, synchronous).await;
    let (mut times, mut allowed) = (Vec::new(), 0);
    for n in 0..2000 {
        let attempt = attempt(n * 7 + 3, users);
        let began = Instant::now();
        let decision = store.reserve(&Rules::default(), &attempt, now()).await.expect("decided");
        times.push(began.elapsed());
        if let Decision::Allow(_) = decision {
            allowed += 1;
            store.withdraw(attempt.call).await.expect("withdrawn");
        }
    }
    report(&format!("with commit, synchronous = {name}, {allowed} allowed"), &mut times);
    store.close().await;
}

fn attempt(n: i64, users: i64) -> Attempt {
    // Every user has lines in the ledger; a few have hundreds of calls.
    let user = if n % 10 == 0 { n / 10 % 50 } else { (n * 7919) % users };
    let phone = Msisdn::parse(&format!("5521{user:09}")).expect("digits");
    Attempt { number: NUMBER.into(), user: UserId::Phone(phone), call: CallId((1 << 40) | n.unsigned_abs()) }
}

fn now() -> Now {
    Now { mono: Instant::now(), wall: Wall(NOW) }
}

async fn open(path: &Path, synchronous: Synchronous) -> Store {
    let settings = StoreSettings { synchronous, ..StoreSettings::default() };
    Store::open(path, settings).await.expect("a store")
}

/// Fills the tables as years of use would: five lines per user, the calls over the last year, 90 of them connected
/// in the last day, 9,000 started.
async fn fill(path: &Path, entries: i64, users: i64, calls: i64) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .pragma("temp_store", "memory");
    let mut db: SqliteConnection = options.connect().await.expect("connected");
    let rows = |count: i64| {
        format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1)")
    };
    let phone = |expression: &str| format!("printf('5521%09d', {expression})");
    let ledger = format!(
        "{} INSERT INTO permission_log (number, phone, at, kind, until, source)
         SELECT '{NUMBER}', {}, {NOW} - 1000000000 + i,
                CASE i % 3 WHEN 0 THEN 'declined' ELSE 'temporary' END,
                CASE i % 3 WHEN 0 THEN NULL ELSE {NOW} + {DAY} END, 'request' FROM n",
        rows(entries),
        phone(&format!("i % {users}"))
    );
    // One in a hundred calls is to one of 50 users; the last 9,000 are of the last day.
    let whom = phone(&format!("CASE WHEN i % 100 = 0 THEN i / 100 % 50 ELSE (i * 7919) % {users} END"));
    let when = format!(
        "CASE WHEN i >= {calls} - 9000 THEN {NOW} - ({calls} - i) * 9000 ELSE {NOW} - {DAY} * 2 - ({calls} - i) * 30000 END"
    );
    let connected = format!(
        "CASE WHEN i >= {calls} - 9000 THEN CASE WHEN i % 100 = 7 THEN {when} + 5000 END WHEN i % 2 = 0 THEN {when} + 5000 END"
    );
    let reservations = format!(
        "{} INSERT INTO reservation (call, number, phone, reserved, connected, ended, rang)
         SELECT i + 1, '{NUMBER}', {whom}, {when}, {connected}, 1, {when} + 2000 FROM n",
        rows(calls)
    );
    let records = format!(
        "{} INSERT INTO call (id, number, phone_number_id, direction, phone, opened, rang, answered, ended, cause, fault)
         SELECT i + 1, 'support', '{NUMBER}', CASE i % 2 WHEN 0 THEN 'business_initiated' ELSE 'user_initiated' END,
                {whom}, {when}, {when} + 2000, {connected}, {when} + 60000, 'user_hung_up', 'user' FROM n",
        rows(calls)
    );
    for statement in [ledger, reservations, records] {
        db.execute(sqlx::AssertSqlSafe(statement)).await.expect("filled");
    }
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.expect("moved into the file");
    db.close().await.expect("closed");
}

fn report(what: &str, times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1000).min(times.len() - 1)];
    let micros = |it: Duration| it.as_secs_f64() * 1e6;
    println!(
        "{what}: p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs, max {:.0} µs",
        micros(at(500)),
        micros(at(990)),
        micros(at(999)),
        micros(times[times.len() - 1])
    );
    at(990)
}

const fn bar(took: Duration, bar: Duration) -> &'static str {
    if took.as_nanos() <= bar.as_nanos() { "kept" } else { "MISSED" }
}
