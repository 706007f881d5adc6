//! Records of calls between desks.

use super::*;
use crate::call::desk::DeskRecord;
use crate::id::{Endpoint, Seat};

fn record(id: u64) -> DeskRecord {
    let (phone, trunk) =
        (Endpoint::Phone("1001".into()), Endpoint::Trunk("pbx".into(), "+4930123456".to_owned()));
    DeskRecord::new(
        CallId(id),
        phone,
        trunk,
        Wall(1000 + i64::try_from(id).expect("small")),
        "a@b".to_owned(),
    )
}

fn over(id: u64, cause: &str) -> DeskRecord {
    let (answered, ended) = (Some(Wall(2000)), Some(Wall(9000)));
    let (cause, fault) = (Some(cause.to_owned()), Some("phone".to_owned()));
    DeskRecord {
        rang: answered,
        answered,
        ended,
        cause,
        fault,
        media: Some("PCMU/8000 as it is".to_owned()),
        ..record(id)
    }
}

#[tokio::test]
async fn a_call_between_desks_is_closed_once_and_read_back_as_it_was() {
    let (directory, store) = fresh().await;
    store.open_desk_call(&record(1)).await.expect("opened");
    // A transfer has put somebody else in the caller's place.
    let moved = DeskRecord { caller: Endpoint::Phone("1003".into()), ..over(1, "phone_hung_up") };
    assert_eq!(store.close_desk_call(&moved).await.expect("closed"), Closed::Now);
    assert_eq!(store.close_desk_call(&over(1, "panic")).await.expect("closed"), Closed::Before);
    store.open_desk_call(&over(1, "panic")).await.expect("a late word is no error");
    store.open_desk_call(&record(2)).await.expect("opened");
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(store.desk_calls(9).await.expect("read"), [record(2), moved]);
    assert!(store.calls(9, &CallFilter::default()).await.expect("read").is_empty(), "no WhatsApp call");
}

#[tokio::test]
async fn rule_27_what_a_crash_leaves_over_has_both_dialogs() {
    let (_directory, store) = fresh().await;
    for id in [1, 2] {
        store.open_desk_call(&record(id)).await.expect("opened");
    }
    store.save_desk_dialog(CallId(1), Seat::Caller, "one".to_owned()).await.expect("kept");
    store.save_desk_dialog(CallId(1), Seat::Callee, "two".to_owned()).await.expect("kept");
    store.open_desk_call(&record(1)).await.expect("brought up to date");
    let dialogs = [Some("one".to_owned()), Some("two".to_owned())];
    assert_eq!(
        store.open_desk_calls().await.expect("read"),
        [(record(1), dialogs), (record(2), [None, None])]
    );
    // A record without an end is not open for ever.
    store.close_desk_call(&record(2)).await.expect("closed");
    assert_eq!(store.open_desk_calls().await.expect("read").len(), 1);
}
