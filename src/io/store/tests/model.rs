//! Reservations against a model that keeps every call in a list and counts the slow way.

use proptest::prelude::*;

use super::*;
use crate::policy::{Attempt, Cap, Decision, DenialReason, LedgerSource, Rules};

const WINDOW: i64 = 100;
const LIFE: i64 = 30;

/// What may happen; users 0 to 2, times move on by small steps so that edges are met.
#[derive(Clone, Debug)]
enum Step {
    Reserve { user: u64 },
    Connect { call: usize },
    Release { call: usize },
    Open { call: usize },
    Close { call: usize },
    Wait { ms: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = || 0..12_usize;
    let step = prop_oneof![
        5 => (0..3_u64).prop_map(|user| Step::Reserve { user }),
        4 => call().prop_map(|call| Step::Connect { call }),
        2 => call().prop_map(|call| Step::Release { call }),
        2 => call().prop_map(|call| Step::Open { call }),
        2 => call().prop_map(|call| Step::Close { call }),
        3 => prop_oneof![Just(1_i64), Just(LIFE - 1), Just(LIFE), Just(WINDOW / 2)].prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..40)
}

/// One granted call as the model sees it.
#[derive(Clone, Debug)]
struct Call {
    user: u64,
    reserved: i64,
    connected: Option<i64>,
    ended: bool,
    open: bool,
    closed: bool,
}

fn rules() -> Rules {
    let cap = |max| Some(Cap { max, window: Duration::from_millis(WINDOW.unsigned_abs()) });
    Rules {
        per_number: cap(4),
        per_pair: cap(2),
        initiations: cap(7),
        concurrent: Some(3),
        reservation_life: Duration::from_millis(LIFE.unsigned_abs()),
        ..Rules::default()
    }
}

/// The reasons in the order of the rules, by counting.
fn expected(calls: &[Call], user: u64, now: i64) -> Option<DenialReason> {
    let flying = |it: &&Call| it.connected.is_none() && !it.ended && (it.open || now - it.reserved < LIFE);
    // An open record counts as up unless its reservation is still in flight.
    let up = |it: &&Call| it.open && (it.connected.is_some() || it.ended);
    let recent = |it: &&Call| it.connected.is_some_and(|start| now - start < WINDOW);
    let count = |pick: &dyn Fn(&&Call) -> bool| calls.iter().filter(pick).count();
    let with_user =
        |pick: &dyn Fn(&&Call) -> bool| calls.iter().filter(pick).filter(|it| it.user == user).count();
    if with_user(&flying) + with_user(&up) > 0 {
        Some(DenialReason::OneCallPerPair)
    } else if with_user(&recent) >= 2 {
        Some(DenialReason::PairCap)
    } else if count(&recent) + count(&flying) >= 4 {
        Some(DenialReason::NumberCap)
    } else if count(&up) + count(&flying) >= 3 {
        Some(DenialReason::Concurrent)
    } else if calls.iter().filter(|it| now - it.reserved < WINDOW).count() >= 7 {
        Some(DenialReason::Initiations)
    } else {
        None
    }
}

async fn play(steps: Vec<Step>) {
    let (_directory, store) = fresh().await;
    for user in 0..3 {
        let number = "108911223344556".into();
        store
            .set_permission(&number, &phone(user), Permission::Permanent, LedgerSource::Operator, Wall(0))
            .await
            .expect("set");
    }
    let (mut calls, mut now): (Vec<Call>, i64) = (Vec::new(), 10_000);
    for (at_step, step) in steps.iter().enumerate() {
        let line = |call: usize, user| CallRecord { user: phone(user), ..record(call as u64) };
        match *step {
            Step::Wait { ms } => now += ms,
            Step::Reserve { user } => {
                let id = CallId(calls.len() as u64);
                let attempt = Attempt { number: "108911223344556".into(), user: phone(user), call: id };
                let decision = store.reserve(&rules(), &attempt, at(now)).await.expect("decided");
                let said = match decision {
                    Decision::Allow(_) => None,
                    Decision::Deny(denial) => Some(denial.reason),
                };
                assert_eq!(said, expected(&calls, user, now), "step {at_step} of {steps:?}: {calls:?}");
                if said.is_none() {
                    let (connected, ended, open, closed) = (None, false, false, false);
                    calls.push(Call { user, reserved: now, connected, ended, open, closed });
                }
            }
            Step::Connect { call } if call < calls.len() => {
                store.connected(CallId(call as u64), Wall(now)).await.expect("connected");
                calls[call].connected.get_or_insert(now);
            }
            Step::Release { call } if call < calls.len() => {
                store.release(CallId(call as u64)).await.expect("released");
                calls[call].ended = true;
            }
            Step::Open { call } if call < calls.len() => {
                store.open_record(&line(call, calls[call].user)).await.expect("opened");
                calls[call].open = !calls[call].closed;
            }
            Step::Close { call } if call < calls.len() => {
                let line = CallRecord { ended: Some(Wall(now)), ..line(call, calls[call].user) };
                store.close_record(&line).await.expect("closed");
                (calls[call].open, calls[call].closed, calls[call].ended) = (false, true, true);
            }
            Step::Connect { .. } | Step::Release { .. } | Step::Open { .. } | Step::Close { .. } => {}
        }
    }
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_agrees_with_a_model_that_counts_the_slow_way(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(play(steps));
    }
}
