//! What a record tells beside the call itself.

use super::*;
use crate::policy::{Attempt, LedgerSource, Rules};

#[tokio::test]
async fn a_record_keeps_what_permission_and_caps_were_at_dialling_and_what_the_button_carried() {
    let (_directory, store) = fresh().await;
    let user = both(1);
    let record = CallRecord { payload: Some(Masked::new("ext=204".into())), ..record(1) };
    store.open_record(&record).await.expect("open");
    let number = record.phone_number_id.clone();
    store
        .set_permission(&number, &user, Permission::Permanent, LedgerSource::Operator, Wall(1))
        .await
        .expect("set");
    let attempt = Attempt { number, user, call: CallId(1) };
    store.reserve(&Rules::default(), &attempt, at(2000)).await.expect("decided");
    store.close_record(&CallRecord { ended: Some(Wall(3000)), ..record }).await.expect("closed");
    let kept = store.call(CallId(1)).await.expect("read").expect("there");
    assert_eq!(kept.payload.expect("kept").expose(), "ext=204");
    let told: serde_json::Value = serde_json::from_str(&kept.dialling_json.expect("kept")).expect("JSON");
    assert_eq!(told["permission"], "permanent");
    assert_eq!((&told["number"]["connected"], &told["number"]["max"]), (&0.into(), &100.into()));
}

#[tokio::test]
async fn notes_stay_in_their_order_and_belong_to_a_call_that_is_there() {
    let (_directory, store) = fresh().await;
    store.open_record(&record(1)).await.expect("open");
    let note = |at: i64, outcome: Option<&str>, text: Option<&str>| crate::call::CallNote {
        at: Wall(at),
        author: "1001".into(),
        outcome: outcome.map(Into::into),
        text: text.map(|it| Masked::new(it.to_owned())),
    };
    let all = [note(2, Some("follow_up"), None), note(1, None, Some("wants a quote"))];
    for one in &all {
        assert!(store.note_call(CallId(1), one).await.expect("kept"));
    }
    assert!(!store.note_call(CallId(9), &all[0]).await.expect("no such call"));
    let found = store.notes(&[CallId(1), CallId(9)]).await.expect("read");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(CallId(1), all.to_vec())]);
}

/// A user's call that nobody took.
fn missed(id: u64, opened: i64) -> CallRecord {
    let direction = CallDirection::UserInitiated;
    let number = "108911223344556".into();
    CallRecord {
        opened: Wall(opened),
        ended: Some(Wall(opened + 500)),
        cause: Some("phone_unanswered".into()),
        ..CallRecord::new(CallId(id), "sales".into(), number, direction, both(id))
    }
}

async fn open_missed(store: &Store) -> Vec<u64> {
    let all = store.missed(50, &MissedFilter::default()).await.expect("read");
    all.into_iter().map(|it| it.record.id.0).collect()
}

#[tokio::test]
async fn b14_a_missed_call_stays_on_the_list_until_somebody_talks_to_the_user() {
    let (_directory, store) = fresh().await;
    for (id, opened) in [(1, 1000), (2, 2000), (3, 3000)] {
        store.close_record(&missed(id, opened)).await.expect("kept");
    }
    assert_eq!(open_missed(&store).await, [1, 2, 3]);
    // A call back that nobody answered settles nothing; one that is answered does at once, while it is up.
    let back = CallRecord { opened: Wall(5000), ..record(9) };
    let back = CallRecord { user: both(2), endpoint: Some(Endpoint::Phone("1001".into())), ..back };
    store.close_record(&CallRecord { ended: Some(Wall(5500)), ..back.clone() }).await.expect("kept");
    assert_eq!(open_missed(&store).await, [1, 2, 3]);
    let up = CallRecord { id: CallId(10), answered: Some(Wall(6000)), ..back };
    store.open_record(&up).await.expect("kept");
    assert_eq!(open_missed(&store).await, [1, 3]);
    // The user's own second call that is answered counts the same.
    let again =
        CallRecord { id: CallId(11), opened: Wall(7000), answered: Some(Wall(7100)), ..missed(1, 1000) };
    let again = CallRecord { endpoint: Some(Endpoint::Phone("1001".into())), ..again };
    store.close_record(&again).await.expect("kept");
    assert_eq!(open_missed(&store).await, [3]);
    assert!(store.settle_missed(CallId(3), "operator", Wall(8000)).await.expect("settled"));
    assert!(!store.settle_missed(CallId(3), "operator", Wall(8000)).await.expect("done before"));
    assert_eq!(open_missed(&store).await, Vec::<u64>::new());
    let all = MissedFilter { settled: true, ..MissedFilter::default() };
    assert_eq!(store.missed(50, &all).await.expect("read").len(), 3);
}

#[tokio::test]
async fn a_queue_gives_each_missed_call_to_one_agent_and_only_those_that_may_be_called() {
    let (_directory, store) = fresh().await;
    let number: crate::id::PhoneNumberId = "108911223344556".into();
    for (id, opened) in [(1, 1000), (2, 2000), (3, 3000)] {
        store.close_record(&missed(id, opened)).await.expect("kept");
    }
    let week = Permission::Temporary { until: Wall(100_000) };
    store.set_permission(&number, &both(2), week, LedgerSource::UserCall, Wall(2000)).await.expect("set");
    store
        .set_permission(&number, &both(3), Permission::Permanent, LedgerSource::Operator, Wall(1))
        .await
        .expect("set");
    let lease = Duration::from_secs(60);
    let next = |by: &'static str, at| {
        let (store, numbers) = (store.clone(), [number.clone()]);
        async move {
            match store.claim_next_missed(&numbers, by, Wall(at), lease).await.expect("asked") {
                Claim::Taken(missed) => missed.record.id.0,
                _ => 0,
            }
        }
    };
    assert_eq!(
        [next("1001", 10_000).await, next("1002", 10_000).await, next("1003", 10_000).await],
        [2, 3, 0]
    );
    assert_eq!(next("1001", 20_000).await, 2, "the same one may try again");
    assert_eq!(next("1003", 80_001).await, 2, "a lease ends");
    let one = store.claim_missed(CallId(1), "1001", Wall(20_000), lease).await.expect("asked");
    assert!(matches!(one, Claim::NotAllowed(_)), "{one:?}");
    let busy = store.claim_missed(CallId(2), "1002", Wall(90_000), lease).await.expect("asked");
    assert_eq!(busy, Claim::Busy("1003".to_owned()));
    assert_eq!(next("1001", 200_000).await, 3, "the week is over for the other one");
    let other = store.claim_next_missed(&["1".into()], "1001", Wall(200_000), lease).await.expect("asked");
    assert_eq!(other, Claim::None, "another number's queue");
    assert!(store.settle_missed(CallId(3), "operator", Wall(300_000)).await.expect("settled"));
    assert_eq!(next("1001", 400_000).await, 0, "what is settled is nobody's any more");
}
