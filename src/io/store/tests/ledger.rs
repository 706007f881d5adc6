//! Permissions and users with two ids.

use super::*;
use crate::id::PhoneNumberId;
use crate::policy::{Attempt, Decision, DenialReason, Rules};
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
        .set_permission(&number(), &phone(1), Permission::Permanent, "operator", Wall(400))
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
    assert_eq!(sources, ["user_action", "user_action", "operator"]);
}

#[tokio::test]
async fn a_live_answer_is_written_only_if_it_changes_something() {
    let (_directory, store) = fresh().await;
    for at in [100, 200, 300] {
        store
            .set_permission(&number(), &phone(1), Permission::Permanent, "live", Wall(at))
            .await
            .expect("set");
    }
    store.set_permission(&number(), &phone(1), Permission::None, "live", Wall(400)).await.expect("set");
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
    store.set_permission(&number(), &both(1), Permission::Permanent, "operator", Wall(1)).await.expect("set");
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
        .set_permission(&number(), &phone(1), Permission::Permanent, "operator", Wall(1))
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
