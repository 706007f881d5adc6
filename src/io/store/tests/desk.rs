//! What a record tells beside the call itself.

use super::*;
use crate::policy::{Attempt, Rules};

#[tokio::test]
async fn a_record_keeps_what_permission_and_caps_were_at_dialling_and_what_the_button_carried() {
    let (_directory, store) = fresh().await;
    let user = both(1);
    let record = CallRecord { payload: Some(Masked::new("ext=204".into())), ..record(1) };
    store.open_record(&record).await.expect("open");
    let number = record.phone_number_id.clone();
    store.set_permission(&number, &user, Permission::Permanent, "test", Wall(1)).await.expect("set");
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
