//! The pick-up rate of the users' calls, and the alarm about it.

use super::*;
use crate::id::PhoneNumberId;
use crate::policy::{PickUp, PickUpAlarm, PickedUpBy, Trend};

const DAY: i64 = 86_400_000;
const ALARM: PickUpAlarm = PickUpAlarm { below: 70, min_calls: 4, counts: PickedUpBy::People };

fn number() -> PhoneNumberId {
    "108911223344556".into()
}

/// Who took a user's call.
#[derive(Clone, Copy, PartialEq)]
enum Taken {
    ByPhone,
    ByVoicemail,
    ByNobody,
    /// It rings.
    NotYet,
}

async fn call(store: &Store, id: u64, at: i64, taken: Taken) {
    let direction = CallDirection::UserInitiated;
    let line = CallRecord { direction, opened: Wall(at), ..record(id) };
    store.open_record(&line).await.expect("opened");
    let answered = matches!(taken, Taken::ByPhone | Taken::ByVoicemail).then_some(Wall(at + 5));
    let endpoint = (taken == Taken::ByPhone).then(|| Endpoint::Phone("1001".into()));
    if taken != Taken::NotYet {
        let over = CallRecord { answered, endpoint, ended: Some(Wall(at + 9)), ..line };
        store.close_record(&over).await.expect("closed");
    }
}

#[tokio::test]
async fn the_pick_up_rate_counts_users_calls_by_when_they_came_and_who_took_them() {
    let (_directory, store) = fresh().await;
    let all = [Taken::ByNobody, Taken::ByPhone, Taken::ByVoicemail, Taken::NotYet];
    for (id, taken) in (1..).zip(all) {
        call(&store, id, i64::try_from(id).expect("small") * 1000, taken).await;
    }
    let ours = CallRecord { opened: Wall(5000), ended: Some(Wall(5001)), ..record(5) };
    store.close_record(&ours).await.expect("a call of ours is none of the users'");
    let rate =
        async |from, until, by| store.pick_up(&number(), (Wall(from), Wall(until)), by).await.expect("read");
    assert_eq!(rate(0, 10_000, PickedUpBy::People).await, PickUp { calls: 3, answered: 1 });
    assert_eq!(rate(0, 10_000, PickedUpBy::Anybody).await, PickUp { calls: 3, answered: 2 });
    assert_eq!(rate(2001, 10_000, PickedUpBy::People).await, PickUp { calls: 1, answered: 0 });
    assert_eq!(rate(0, 2000, PickedUpBy::People).await, PickUp { calls: 1, answered: 0 });
    let other = store.pick_up(&"1".into(), (Wall(0), Wall(10_000)), PickedUpBy::People).await;
    assert_eq!(other.expect("read"), PickUp::default());
}

#[tokio::test]
async fn a_low_pick_up_rate_is_told_once_with_its_trend_over_restarts_and_once_more_when_it_is_over() {
    let (directory, store) = fresh().await;
    let told = async |store: &Store| {
        let events = store.events_after(EventId(0), 500).await.expect("read");
        let ours = events.into_iter().filter(|it| it.kind.starts_with("number."));
        ours.map(|it| (it.kind, it.detail.expect("told"))).collect::<Vec<_>>()
    };
    // Last week all were taken; today three of four.
    for id in 1..=8 {
        call(&store, id, DAY + i64::try_from(id).expect("small"), Taken::ByPhone).await;
    }
    let today = 3 * DAY;
    for (id, taken) in (11..).zip([Taken::ByPhone, Taken::ByPhone, Taken::ByPhone, Taken::ByNobody]) {
        call(&store, id, today, taken).await;
    }
    let judge =
        async |store: &Store, now| store.judge_pick_up(&number(), ALARM, Wall(now)).await.expect("judged");
    assert_eq!(judge(&store, today + 1).await, PickUpTurn::Unchanged);
    call(&store, 15, today + 1, Taken::ByVoicemail).await;
    let low = PickUp { calls: 5, answered: 3 };
    assert_eq!(judge(&store, today + 2).await, PickUpTurn::Fell(low, Trend::Falling));
    assert_eq!(judge(&store, today + 3).await, PickUpTurn::Unchanged);
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(judge(&store, today + 4).await, PickUpTurn::Unchanged, "known before the restart");
    let events = told(&store).await;
    assert_eq!(events.len(), 1);
    let detail: serde_json::Value = serde_json::from_str(&events[0].1).expect("JSON");
    assert_eq!(events[0].0, "number.pickup_low");
    let wanted = serde_json::json!({
        "calls": 5, "answered": 3, "percent": 60, "before_percent": 100, "trend": "falling", "below": 70,
    });
    assert_eq!(detail, wanted);
    // Five of seven is above the bar, but not clear of it; nine of twelve is.
    for id in 21..=22 {
        call(&store, id, today + 5, Taken::ByPhone).await;
    }
    assert_eq!(judge(&store, today + 6).await, PickUpTurn::Unchanged);
    for (id, taken) in (23..).zip([Taken::ByPhone; 4]) {
        call(&store, id, today + 6, taken).await;
    }
    let enough = PickUp { calls: 11, answered: 9 };
    assert_eq!(judge(&store, today + 7).await, PickUpTurn::Recovered(enough, Trend::Falling));
    assert_eq!(judge(&store, today + 8).await, PickUpTurn::Unchanged);
    let kinds: Vec<String> = told(&store).await.into_iter().map(|it| it.0).collect();
    assert_eq!(kinds, ["number.pickup_low", "number.pickup_recovered"]);
}
