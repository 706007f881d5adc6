//! What is kept of a call as it goes on, of what Meta refuses, and what follows from it.

use super::*;
use crate::id::PhoneNumberId;
use crate::policy::{
    Ask, AskDenial, AskReason, Attempt, Cap, Decision, DenialReason, LedgerSource, RequestKind, Rules,
};

const DAY: i64 = 86_400_000;

fn number() -> PhoneNumberId {
    "108911223344556".into()
}

/// A store in which the user may be called for ever.
async fn allowed() -> (TempDir, Store) {
    let (directory, store) = fresh().await;
    let (permanent, source) = (Permission::Permanent, LedgerSource::Profile);
    store.set_permission(&number(), &phone(1), permanent, source, Wall(1)).await.expect("set");
    (directory, store)
}

async fn reserve(store: &Store, rules: &Rules, call: u64, ms: i64) -> Decision {
    let attempt = Attempt { number: number(), user: phone(1), call: CallId(call) };
    store.reserve(rules, &attempt, at(ms)).await.expect("decided")
}

/// A webhook that Meta repeats carries the time of its repetition.
#[tokio::test]
async fn b8_a_second_accept_does_not_move_the_start_by_which_the_cap_counts() {
    let (_directory, store) = allowed().await;
    let cap = Cap { max: 1, window: Duration::from_millis(1000) };
    let rules = Rules { per_pair: Some(cap), ..Rules::default() };
    assert!(matches!(reserve(&store, &rules, 1, 50).await, Decision::Allow(_)));
    store.connected(CallId(1), Wall(100)).await.expect("kept");
    store.connected(CallId(1), Wall(900)).await.expect("kept");
    store.release(CallId(1)).await.expect("over");
    match reserve(&store, &rules, 2, 1099).await {
        Decision::Deny(denial) => {
            assert_eq!((denial.reason, denial.until), (DenialReason::PairCap, Some(Wall(1100))));
        }
        Decision::Allow(_) => panic!("the first call still counts"),
    }
    assert!(matches!(reserve(&store, &rules, 2, 1100).await, Decision::Allow(_)));
}

/// Reference §16.6: the window opens when a user accepts a call of ours.
#[tokio::test]
async fn b5_a_call_that_the_user_picks_up_opens_the_window_for_a_free_form_request() {
    let (_directory, store) = allowed().await;
    let ask = Ask { number: number(), user: phone(1), template: true };
    let form = async |ms: i64| {
        // What is permanent need not be asked for.
        store
            .set_permission(&number(), &phone(1), Permission::Declined, LedgerSource::Operator, Wall(ms - 1))
            .await
            .expect("set");
        let (id, kind) =
            store.ask(&Rules::default(), &ask, None, Wall(ms)).await.expect("decided").expect("allowed");
        store.request_refused(id).await.expect("noted");
        kind
    };
    assert!(matches!(reserve(&store, &Rules::default(), 1, 50).await, Decision::Allow(_)));
    store.rang(CallId(1), Wall(60)).await.expect("rang");
    assert_eq!(form(70).await, RequestKind::Template, "ringing opens nothing");
    store.connected(CallId(1), Wall(100)).await.expect("kept");
    assert_eq!(form(99 + DAY).await, RequestKind::FreeForm);
    assert_eq!(form(100 + DAY).await, RequestKind::Template);
}

#[tokio::test]
async fn b9_a_call_that_still_rings_is_not_missed_yet() {
    let (_directory, store) = allowed().await;
    let rules = Rules { unanswered_stop: None, ..Rules::default() };
    for call in 1..=2_u64 {
        let ms = i64::try_from(call).expect("small") * 1000;
        assert!(matches!(reserve(&store, &rules, call, ms).await, Decision::Allow(_)));
        store.rang(CallId(call), Wall(ms + 1)).await.expect("rang");
        store.release(CallId(call)).await.expect("over");
    }
    assert!(matches!(reserve(&store, &rules, 3, 3000).await, Decision::Allow(_)));
    store.rang(CallId(3), Wall(3001)).await.expect("rang");
    let run = async || store.run(&number(), &phone(1)).await.expect("read").unanswered;
    assert_eq!(run().await, 2);
    store.release(CallId(3)).await.expect("over");
    assert_eq!(run().await, 3);
    // One that never rang costs nothing at Meta.
    assert!(matches!(reserve(&store, &rules, 4, 4000).await, Decision::Allow(_)));
    store.release(CallId(4)).await.expect("over");
    assert_eq!(run().await, 3);
}

#[tokio::test]
async fn b6_what_meta_holds_back_of_requests_is_obeyed_until_it_ends_and_holds_back_no_call() {
    let (_directory, store) = fresh().await;
    let ask = Ask { number: number(), user: phone(1), template: true };
    let asked = async |ms| store.ask(&Rules::default(), &ask, None, Wall(ms)).await.expect("decided");
    store.hold_pair(&number(), &phone(1), Hold::Calls, Wall(9000), Wall(10)).await.expect("kept");
    store.hold_pair(&number(), &phone(1), Hold::Requests, Wall(5000), Wall(10)).await.expect("kept");
    let held = AskDenial { reason: AskReason::ShortLimit, until: Some(Wall(5000)) };
    assert_eq!(asked(4999).await, Err(held));
    assert!(asked(5000).await.is_ok(), "a hold of calls is none of requests");
    let (permanent, source) = (Permission::Permanent, LedgerSource::Profile);
    store.set_permission(&number(), &phone(2), permanent, source, Wall(1)).await.expect("set");
    store.hold_pair(&number(), &phone(2), Hold::Requests, Wall(5000), Wall(10)).await.expect("kept");
    let attempt = Attempt { number: number(), user: phone(2), call: CallId(1) };
    let decision = store.reserve(&Rules::default(), &attempt, at(4000)).await.expect("decided");
    assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
}

#[tokio::test]
async fn a_refusal_of_metas_is_one_line_however_often_it_is_repeated_and_none_where_nothing_held() {
    let (_directory, store) = allowed().await;
    let refused = async |ms| {
        store
            .set_permission(&number(), &phone(1), Permission::None, LedgerSource::Refusal, Wall(ms))
            .await
            .expect("set")
    };
    assert_eq!(refused(100).await, Drift::Corrected);
    assert_eq!((refused(200).await, refused(300).await), (Drift::Same, Drift::Same));
    let sources = async || {
        let log = store.permission_log(&number(), &phone(1)).await.expect("read");
        log.into_iter().map(|it| it.source).collect::<Vec<_>>()
    };
    assert_eq!(sources().await, [LedgerSource::Profile, LedgerSource::Refusal]);
    let week = Permission::Temporary { until: Wall(1000) };
    store.set_permission(&number(), &phone(1), week, LedgerSource::Request, Wall(400)).await.expect("set");
    assert_eq!(refused(1000).await, Drift::Same, "it had run out by itself");
    assert_eq!(sources().await.len(), 3);
    assert_eq!(refused(999).await, Drift::Corrected, "while it held, Meta's word is news");
}
