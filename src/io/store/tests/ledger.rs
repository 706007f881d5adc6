//! Permissions and users with two ids.

use super::*;
use crate::id::PhoneNumberId;
use crate::policy::{Attempt, Decision, DenialReason, LedgerSource, Rules};
use crate::whatsapp::{PermissionReply, PermissionResponse, ReplySource};

fn number() -> PhoneNumberId {
    "108911223344556".into()
}

fn reply(user: UserId, at: i64, response: PermissionResponse) -> PermissionReply {
    let (source, context) = (ReplySource::UserAction, Some("wamid.R".into()));
    PermissionReply {
        id: format!("wamid.{at}"),
        number: number(),
        user,
        at: Wall(at),
        response,
        source,
        context,
    }
}

#[tokio::test]
async fn a_reply_counts_for_its_number_only_and_survives_a_restart() {
    let (directory, store) = fresh().await;
    let week = PermissionResponse::Granted { until: Some(Wall(9000)) };
    store.note_reply(&reply(phone(1), 100, week)).await.expect("noted");
    store.note_reply(&reply(phone(1), 100, week)).await.expect("noted twice, as after a crash");
    store.close().await;
    let store = open(&directory).await;
    let held = async |number: &str, user| store.permission(&number.into(), &user).await.expect("read");
    assert_eq!(held("108911223344556", phone(1)).await, Permission::Temporary { until: Wall(9000) });
    assert_eq!(held("108911223344556", phone(2)).await, Permission::None);
    assert_eq!(held("208911223344556", phone(1)).await, Permission::None);
}

#[tokio::test]
async fn the_newest_word_counts_and_all_of_them_are_kept() {
    let (_directory, store) = fresh().await;
    let forever = PermissionResponse::Granted { until: None };
    store.note_reply(&reply(phone(1), 300, PermissionResponse::Declined)).await.expect("noted");
    store.note_reply(&reply(phone(1), 200, forever)).await.expect("noted");
    assert_eq!(store.permission(&number(), &phone(1)).await.expect("read"), Permission::Declined);
    store
        .set_permission(&number(), &phone(1), Permission::Permanent, LedgerSource::Operator, Wall(400))
        .await
        .expect("set");
    assert_eq!(store.permission(&number(), &phone(1)).await.expect("read"), Permission::Permanent);
    let sources: Vec<_> = store
        .permission_log(&number(), &phone(1))
        .await
        .expect("read")
        .into_iter()
        .map(|it| it.source)
        .collect();
    assert_eq!(sources, [LedgerSource::Request, LedgerSource::Request, LedgerSource::Operator]);
}

#[tokio::test]
async fn a_live_answer_is_written_only_if_it_changes_something() {
    let (_directory, store) = fresh().await;
    for at in [100, 200, 300] {
        store
            .set_permission(&number(), &phone(1), Permission::Permanent, LedgerSource::Live, Wall(at))
            .await
            .expect("set");
    }
    store
        .set_permission(&number(), &phone(1), Permission::None, LedgerSource::Live, Wall(400))
        .await
        .expect("set");
    let log = store.permission_log(&number(), &phone(1)).await.expect("read");
    assert_eq!(log.iter().map(|it| it.at).collect::<Vec<_>>(), [Wall(100), Wall(400)]);
}

#[tokio::test]
async fn a_user_seen_with_both_ids_is_found_by_either_also_for_what_was_written_before() {
    let (_directory, store) = fresh().await;
    let forever = PermissionResponse::Granted { until: None };
    store.note_reply(&reply(scoped(1), 100, forever)).await.expect("noted");
    assert_eq!(store.permission(&number(), &phone(1)).await.expect("read"), Permission::None);
    assert_eq!(store.permission(&number(), &both(1)).await.expect("read"), Permission::Permanent);
    store.note_reply(&reply(phone(1), 50, PermissionResponse::Declined)).await.expect("noted");
    assert_eq!(store.permission_log(&number(), &scoped(1)).await.expect("read").len(), 1);
    // A webhook shows both ids together: from now on they are one user.
    store.receive(&[event("wacid.A", CallEventKind::Rang)], Wall(5)).await.expect("stored");
    assert_eq!(store.permission(&number(), &phone(1)).await.expect("read"), Permission::Permanent);
    assert_eq!(store.permission_log(&number(), &scoped(1)).await.expect("read").len(), 2);
    store.note_reply(&reply(phone(1), 200, PermissionResponse::Declined)).await.expect("noted");
    assert_eq!(store.permission(&number(), &scoped(1)).await.expect("read"), Permission::Declined);
}

#[tokio::test]
async fn one_call_per_user_holds_across_both_ids_and_both_directions() {
    let (_directory, store) = fresh().await;
    store.receive(&[event("wacid.A", CallEventKind::Rang)], Wall(5)).await.expect("stored");
    store
        .set_permission(&number(), &both(1), Permission::Permanent, LedgerSource::Operator, Wall(1))
        .await
        .expect("set");
    let attempt = |call, user| Attempt { number: number(), user, call: CallId(call) };
    let reserve = async |call, user| {
        store.reserve(&Rules::default(), &attempt(call, user), at(1000)).await.expect("decided")
    };
    assert!(matches!(reserve(1, phone(1)).await, Decision::Allow(_)));
    assert!(
        matches!(reserve(1, phone(1)).await, Decision::Allow(_)),
        "the same call again has its own place already"
    );
    let busy = |decision: &Decision| matches!(decision, Decision::Deny(it) if it.reason == DenialReason::OneCallPerPair);
    assert!(busy(&reserve(2, scoped(1)).await));
    store.release(CallId(1)).await.expect("released");
    // The user calls us: the same user cannot be called meanwhile.
    let inbound = CallRecord { direction: CallDirection::UserInitiated, user: scoped(1), ..record(3) };
    store.open_record(&inbound).await.expect("opened");
    assert!(busy(&reserve(2, phone(1)).await));
    store.close_record(&CallRecord { ended: Some(Wall(9)), ..inbound }).await.expect("closed");
    assert!(matches!(reserve(2, phone(1)).await, Decision::Allow(_)));
}

#[tokio::test]
async fn closing_a_record_gives_its_place_back_and_a_connected_call_goes_on_counting() {
    let (_directory, store) = fresh().await;
    store
        .set_permission(&number(), &phone(1), Permission::Permanent, LedgerSource::Operator, Wall(1))
        .await
        .expect("set");
    let cap = crate::policy::Cap { max: 2, window: Duration::from_millis(1000) };
    let rules = Rules { per_pair: Some(cap), ..Rules::default() };
    let reserve = async |call, ms| {
        let attempt = Attempt { number: number(), user: phone(1), call: CallId(call) };
        store.reserve(&rules, &attempt, at(ms)).await.expect("decided")
    };
    for (call, start) in [(1, 100), (2, 200)] {
        let line = CallRecord { user: phone(1), ..record(call) };
        assert!(matches!(reserve(call, start).await, Decision::Allow(_)));
        store.open_record(&line).await.expect("opened");
        store.connected(CallId(call), Wall(start + 50)).await.expect("connected");
        store.connected(CallId(call), Wall(start + 90)).await.expect("the first moment stays");
        store.correct_start(CallId(call), Wall(start)).await.expect("corrected");
        store.close_record(&CallRecord { ended: Some(Wall(start + 99)), ..line }).await.expect("closed");
    }
    match reserve(3, 1099).await {
        Decision::Deny(denial) => {
            assert_eq!((denial.reason, denial.until), (DenialReason::PairCap, Some(Wall(1100))));
        }
        Decision::Allow(_) => panic!("the cap is full"),
    }
    assert!(matches!(reserve(3, 1100).await, Decision::Allow(_)));
}

fn pair(call: u64) -> Attempt {
    Attempt { number: number(), user: phone(1), call: CallId(call) }
}

/// A call that rang and was not taken.
async fn miss(store: &Store, call: u64, ms: i64) {
    let attempt = pair(call);
    assert!(
        matches!(store.reserve(&Rules::default(), &attempt, at(ms)).await, Ok(Decision::Allow(_))),
        "{call}"
    );
    store.rang(CallId(call), Wall(ms + 1)).await.expect("rang");
    store.release(CallId(call)).await.expect("released");
}

async fn denied(store: &Store, call: u64, ms: i64) -> Option<DenialReason> {
    match store.reserve(&Rules::default(), &pair(call), at(ms)).await.expect("decided") {
        Decision::Allow(_) => {
            store.withdraw(CallId(call)).await.expect("withdrawn");
            None
        }
        Decision::Deny(denial) => Some(denial.reason),
    }
}

#[tokio::test]
async fn the_third_miss_in_a_row_stops_until_somebody_decides_and_a_taken_call_begins_anew() {
    let (_directory, store) = fresh().await;
    let set = async |permission, source, ms| {
        store.set_permission(&number(), &phone(1), permission, source, Wall(ms)).await.expect("set")
    };
    set(Permission::Permanent, LedgerSource::Profile, 1).await;
    for call in 1..=3 {
        miss(&store, call, 1000 * i64::try_from(call).expect("small")).await;
    }
    assert_eq!(denied(&store, 4, 9000).await, Some(DenialReason::Unanswered));
    store.override_run(&number(), &phone(1), "asked for it by mail", Wall(9001)).await.expect("kept");
    assert_eq!(denied(&store, 4, 9002).await, None);
    assert_eq!(store.run(&number(), &phone(1)).await.expect("read"), Run { unanswered: 3, overridden: true });
    // The fourth: Meta takes the permission, and the run is over with it.
    miss(&store, 5, 9003).await;
    assert_eq!(denied(&store, 6, 9004).await, Some(DenialReason::Unanswered), "one leave is for one call");
    set(Permission::Revoked, LedgerSource::Automatic, 10_000).await;
    assert_eq!(denied(&store, 6, 11_000).await, Some(DenialReason::PermissionRevoked));
    set(Permission::Permanent, LedgerSource::Request, 12_000).await;
    assert_eq!(denied(&store, 6, 12_001).await, None);
    miss(&store, 7, 13_000).await;
    assert!(matches!(store.reserve(&Rules::default(), &pair(8), at(14_000)).await, Ok(Decision::Allow(_))));
    store.rang(CallId(8), Wall(14_001)).await.expect("rang");
    store.connected(CallId(8), Wall(14_002)).await.expect("connected");
    store.release(CallId(8)).await.expect("over");
    assert_eq!(store.run(&number(), &phone(1)).await.expect("read"), Run::default());
}

#[tokio::test]
async fn a_call_that_meta_never_had_is_no_initiation_and_one_that_timed_out_is() {
    let (_directory, store) = fresh().await;
    store
        .set_permission(&number(), &phone(1), Permission::Permanent, LedgerSource::Profile, Wall(1))
        .await
        .expect("set");
    let cap = crate::policy::Cap { max: 1, window: Duration::from_secs(60) };
    let rules = Rules { initiations: Some(cap), ..Rules::default() };
    let reserve = async |call, ms| store.reserve(&rules, &pair(call), at(ms)).await.expect("decided");
    assert!(matches!(reserve(1, 1000).await, Decision::Allow(_)));
    store.withdraw(CallId(1)).await.expect("withdrawn");
    assert!(matches!(reserve(2, 2000).await, Decision::Allow(_)));
    store.release(CallId(2)).await.expect("released");
    match reserve(3, 3000).await {
        Decision::Deny(denial) => {
            assert_eq!((denial.reason, denial.until), (DenialReason::Initiations, Some(Wall(62_000))));
        }
        Decision::Allow(_) => panic!("it was started"),
    }
}

#[tokio::test]
async fn what_meta_says_of_limits_and_restrictions_is_kept_and_obeyed_until_it_ends() {
    let (directory, store) = fresh().await;
    store
        .set_permission(&number(), &phone(1), Permission::Permanent, LedgerSource::Profile, Wall(1))
        .await
        .expect("set");
    store.hold_pair(&number(), &phone(1), Hold::Calls, Wall(5000), Wall(10)).await.expect("kept");
    let restriction = |at, until| RestrictionLine {
        number: None,
        kind: "RESTRICTED_BUSINESS_INITIATED_CALLING".into(),
        reason: None,
        at: Wall(at),
        until: Some(Wall(until)),
    };
    store.note_restriction(&restriction(20, 9000)).await.expect("kept");
    store.note_restriction(&restriction(20, 9000)).await.expect("known");
    store.note_restriction(&restriction(15, 99_000)).await.expect("older: changes nothing");
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(store.restrictions(&number(), Wall(30)).await.expect("read").len(), 1);
    assert_eq!(denied(&store, 1, 8999).await, Some(DenialReason::Restricted));
    assert_eq!(denied(&store, 1, 9000).await, None);
    store.hold_pair(&number(), &phone(1), Hold::Calls, Wall(9500), Wall(9001)).await.expect("kept");
    assert_eq!(denied(&store, 1, 9499).await, Some(DenialReason::PairCap));
    assert_eq!(denied(&store, 1, 9500).await, None);
    store.note_restriction(&restriction(9600, 99_000)).await.expect("a new one");
    assert_eq!(denied(&store, 1, 9601).await, Some(DenialReason::Restricted));
    assert_eq!(store.lift_restrictions(&number(), Wall(9602)).await.expect("lifted"), 1);
    assert_eq!(denied(&store, 1, 9603).await, None);
}
