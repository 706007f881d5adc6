//! Places under the caps, taken by several processes, some of which die: none is given twice, none stays lost.
//!
//! `CORDBOARD_KILLS` kills more or less often than a hundred times.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use tokio::task::JoinSet;

use super::*;
use crate::policy::{Attempt, Cap, Decision, DenialReason, Rules};
use crate::random::Random;

const NUMBER: &str = "108911223344556";
const USERS: u64 = 400;
/// The places of the business number: Meta's and the house's hundred where two race for the last ones, and few where
/// processes die, so that all of them are taken again and again.
const HUNDRED: u32 = 100;
const PLACES: u32 = 12;
/// How long a connected call counts, and how long a reservation that nobody speaks for.
const WINDOW: i64 = 2500;
const LIFE: i64 = 900;

/// Set for the child processes: the store's directory, what to do, the first call id, and the time.
const CHILD: &str = "CORDBOARD_TEST_PLACES";

fn rules(places: u32) -> Rules {
    let millis = |it: i64| Duration::from_millis(it.unsigned_abs());
    let per_number = Some(Cap { max: places, window: millis(WINDOW) });
    Rules {
        per_number,
        concurrent: None,
        initiations: None,
        reservation_life: millis(LIFE),
        ..Rules::default()
    }
}

async fn permit_everybody(store: &Store) {
    let mut tasks = JoinSet::new();
    for user in 0..USERS {
        let store = store.clone();
        let (permanent, source) = (Permission::Permanent, crate::policy::LedgerSource::Operator);
        tasks.spawn(async move {
            store.set_permission(&NUMBER.into(), &phone(user), permanent, source, Wall(0)).await
        });
    }
    for outcome in tasks.join_all().await {
        outcome.expect("set");
    }
}

async fn attempt(store: &Store, places: u32, call: u64, ms: i64) -> Decision {
    let attempt = Attempt { number: NUMBER.into(), user: phone(call % USERS), call: CallId(call) };
    store.reserve(&rules(places), &attempt, at(ms)).await.expect("decided")
}

fn tell(what: &str, call: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {call}").and_then(|()| out.flush()).expect("told");
}

/// Runs in child processes; does nothing in an ordinary test run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_places_when_told_to() {
    let Some(orders) = std::env::var(CHILD).ok() else { return };
    let words: Vec<&str> = orders.split('|').collect();
    let number = |at: usize| words[at].parse::<i64>().expect("a number");
    let path = Path::new(words[0]).join("test.db");
    let settings = StoreSettings { synchronous: Synchronous::Normal, ..StoreSettings::default() };
    let store = Store::open(&path, settings).await.expect("a store");
    let (first, ms) = (number(2).unsigned_abs(), number(3));
    tell("ready", 0);
    if words[1] == "race" {
        // Both processes begin when the parent says so.
        std::io::stdin().read_exact(&mut [0]).expect("the word");
        let mut tasks = JoinSet::new();
        for call in first..first + 100 {
            let store = store.clone();
            tasks.spawn(async move {
                if let Decision::Allow(_) = attempt(&store, HUNDRED, call, ms).await {
                    store.connected(CallId(call), Wall(ms)).await.expect("connected");
                    tell("connected", call);
                }
            });
        }
        tasks.join_all().await;
        return tell("done", 0);
    }
    for call in first.. {
        if let Decision::Allow(_) = attempt(&store, PLACES, call, ms).await {
            if call % 3 == 0 {
                store.connected(CallId(call), Wall(ms)).await.expect("connected");
                tell("connected", call);
            } else if call % 3 == 1 {
                store.release(CallId(call)).await.expect("released");
            }
            // The third is forgotten: its place lapses.
        }
    }
}

struct Taker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Taker {
    fn start(directory: &TempDir, what: &str, first: u64, ms: i64) -> Self {
        let orders = format!("{}|{what}|{first}|{ms}", directory.path().display());
        let mut child = Command::new(std::env::current_exe().expect("a test binary"))
            .args(["--exact", "io::store::tests::places::takes_places_when_told_to", "--nocapture"])
            .env(CHILD, orders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        while !lines.next().expect("the child speaks").expect("text").contains("ready") {}
        Self { child, lines }
    }

    /// The calls that it told to be connected until it was done or dead.
    fn connected(self) -> Vec<u64> {
        let told = self.lines.map_while(Result::ok);
        let read = |line: String| line.split("connected ").nth(1)?.trim().parse::<u64>().ok();
        told.take_while(|line| !line.contains("done 0")).filter_map(read).collect()
    }
}

#[tokio::test]
async fn b8_of_200_attempts_at_the_hundredth_place_from_two_processes_one_gets_through() {
    let (directory, store) = fresh().await;
    permit_everybody(&store).await;
    for call in 0..u64::from(HUNDRED) - 1 {
        assert!(matches!(attempt(&store, HUNDRED, 10_000 + call, 1000).await, Decision::Allow(_)));
        store.connected(CallId(10_000 + call), Wall(1000)).await.expect("connected");
    }
    let mut takers = [100, 300].map(|first| Taker::start(&directory, "race", first, 1000));
    for taker in &mut takers {
        taker.child.stdin.take().expect("its input").write_all(b"x").expect("it listens");
    }
    let got: usize = takers.into_iter().map(|taker| taker.connected().len()).sum();
    assert_eq!(got, 1, "one place was left");
}

#[tokio::test]
async fn no_place_is_given_twice_or_stays_lost_though_processes_are_killed() {
    let kills: u64 = std::env::var("CORDBOARD_KILLS").ok().and_then(|it| it.parse().ok()).unwrap_or(100);
    let (directory, store) = fresh().await;
    permit_everybody(&store).await;
    let mut random = Random::from_number(8);
    let mut acknowledged: Vec<(u64, i64)> = Vec::new();
    for round in 0..kills.div_ceil(2) {
        let ms = 10_000 + i64::try_from(round).expect("small") * 1000;
        let first = 1_000_000 * (round + 1);
        let takers = [0, 500_000].map(|offset| Taker::start(&directory, "work", first + offset, ms));
        for mut taker in takers {
            let life = Duration::from_millis(u64::from(5 + random.below(60)));
            tokio::time::sleep(life).await;
            taker.child.kill().expect("SIGKILL");
            taker.child.wait().expect("gone");
            acknowledged.extend(taker.connected().into_iter().map(|call| (call, ms)));
        }
        // What the dead had reserved has lapsed: all that is left is free, and not one place more.
        let now = ms + LIFE;
        let told = acknowledged.iter().filter(|(_, at)| now - at < WINDOW).count();
        let window = Duration::from_millis(WINDOW.unsigned_abs());
        let used = store.cap_use(&NUMBER.into(), window, at(now)).await.expect("read").connected;
        assert!(used <= PLACES && told <= used as usize, "{used} of {PLACES}, {told} were told");
        let mut free = Vec::new();
        let denial = loop {
            let call = 900_000_000 + round * 1000 + free.len() as u64;
            match attempt(&store, PLACES, call, now).await {
                Decision::Allow(_) => free.push(call),
                Decision::Deny(denial) => break denial,
            }
        };
        assert_eq!(denial.reason, DenialReason::NumberCap);
        assert_eq!(free.len(), (PLACES - used) as usize, "round {round}: {used} are used");
        for call in free {
            store.withdraw(CallId(call)).await.expect("withdrawn");
        }
    }
    assert!(!acknowledged.is_empty(), "nobody got through: the test says nothing");
}
