//! The store against a real file.

use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::call::record::RecordingLine;
use crate::call::{CallDirection, CallRecord};
use crate::id::{CallId, Endpoint};
use crate::masked::Masked;
use crate::policy::Permission;
use crate::time::{Now, Wall};
use crate::user::{Bsuid, Msisdn, UserId};
use crate::whatsapp::{CallEvent, CallEventKind, Event, Outcome, Termination};

mod bindings;
mod desk;
mod desk_calls;
mod histories;
mod kept;
mod ledger;
mod meta;
mod model;
mod pick_up;
mod places;
mod requests;
mod rough;
mod voicemail;

/// Keeps a store's writing task busy, as a slow disk does, until it is ended.
pub struct Stall(Arc<tokio::sync::Notify>);

struct Stalling {
    begun: Arc<tokio::sync::Notify>,
    end: Arc<tokio::sync::Notify>,
}

impl writer::Write for Stalling {
    type Output = ();

    async fn apply(&self, _: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        self.begun.notify_one();
        self.end.notified().await;
        Ok(())
    }
}

impl Stall {
    /// Returns once the task is busy.
    pub async fn begin(store: &Store) -> Self {
        let (begun, end) = (Arc::default(), Arc::default());
        let stalling = Stalling { begun: Arc::clone(&begun), end: Arc::clone(&end) };
        let store = store.clone();
        tokio::spawn(async move { store.0.writer.submit_patiently(stalling).await });
        begun.notified().await;
        Self(end)
    }

    /// Lets the task go on.
    pub fn end(self) {
        self.0.notify_one();
    }
}

/// A store in a directory that goes when the test does.
async fn fresh() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory).await;
    (directory, store)
}

async fn open(directory: &TempDir) -> Store {
    let settings = StoreSettings { synchronous: Synchronous::Normal, ..StoreSettings::default() };
    Store::open(&directory.path().join("test.db"), settings).await.expect("a store")
}

fn at(ms: i64) -> Now {
    Now { mono: Instant::now(), wall: Wall(ms) }
}

fn phone(n: u64) -> UserId {
    UserId::Phone(Msisdn::parse(&format!("5521955{n:06}")).expect("digits"))
}

fn scoped(n: u64) -> UserId {
    UserId::Scoped(Bsuid::parse(&format!("BR.{n:06}")).expect("scoped"))
}

fn both(n: u64) -> UserId {
    UserId::from_parts(phone(n).phone().cloned(), scoped(n).scoped().cloned()).expect("both")
}

fn event(call: &str, kind: CallEventKind) -> Event {
    Event::Call(CallEvent {
        number: "108911223344556".into(),
        call: call.into(),
        at: Wall::from_secs(1_791_900_000),
        user: Some(both(1)),
        opaque: None,
        kind,
    })
}

fn ended() -> CallEventKind {
    CallEventKind::Terminated(Termination {
        outcome: Outcome::Completed,
        start: Some(Wall::from_secs(1_791_900_100)),
        end: Some(Wall::from_secs(1_791_900_160)),
        duration: Some(Duration::from_secs(60)),
        errors: vec![],
    })
}

fn record(id: u64) -> CallRecord {
    let (number, direction) = ("108911223344556".into(), CallDirection::BusinessInitiated);
    CallRecord {
        opened: Wall(1000),
        ..CallRecord::new(CallId(id), "sales".into(), number, direction, both(id))
    }
}

/// A record in which everything is known.
fn full(id: u64) -> CallRecord {
    CallRecord {
        wa_call: Some("wacid.A=".into()),
        user_name: Some(Masked::new("Ana".into())),
        endpoint: Some(Endpoint::Trunk("pbx".into(), "200".into())),
        rang: Some(Wall(1100)),
        answered: Some(Wall(1200)),
        ended: Some(Wall(9000)),
        cause: Some("normal".into()),
        fault: Some("user".into()),
        meta_start: Some(Wall(1000)),
        meta_end: Some(Wall(9000)),
        meta_duration: Some(8),
        sip_call_id: Some("a@b".into()),
        media: Some("opus/48000".into()),
        stages_json: Some("{}".into()),
        quality_json: Some("{\"loss\":0}".into()),
        ..record(id)
    }
}

#[tokio::test]
async fn an_event_is_new_once_even_after_a_restart() {
    let (directory, store) = fresh().await;
    let batch = [event("wacid.A", CallEventKind::Rang), event("wacid.A", ended()), event("wacid.A", ended())];
    let new = store.receive(&batch, Wall(5)).await.expect("stored");
    assert_eq!(new.iter().map(|it| it.1.clone()).collect::<Vec<_>>(), &batch[..2]);
    store.close().await;
    let store = open(&directory).await;
    let again = [event("wacid.A", ended()), event("wacid.A", CallEventKind::Accepted)];
    let new = store.receive(&again, Wall(6)).await.expect("stored");
    assert_eq!(new.iter().map(|it| it.1.clone()).collect::<Vec<_>>(), &again[1..]);
}

#[tokio::test]
async fn what_was_not_handled_comes_back_after_a_restart_as_it_was() {
    let (directory, store) = fresh().await;
    let called = CallEventKind::UserCalled {
        offer: "v=0\r\na=ice-pwd:x=\r\n".into(),
        name: Some(Masked::new("Ana".into())),
        username: None,
        cta_payload: None,
        deeplink_payload: None,
    };
    let batch = [event("wacid.A", called), event("wacid.B", CallEventKind::Rang)];
    let new = store.receive(&batch, Wall(5)).await.expect("stored");
    store.handled(&[new[1].0]).await.expect("marked");
    store.close().await;
    let left = open(&directory).await.unhandled().await.expect("read");
    assert_eq!(left, [(new[0].0, batch[0].clone())]);
}

#[tokio::test]
async fn what_nothing_acts_on_is_not_stored() {
    let (_directory, store) = fresh().await;
    let other = Event::Other { field: "account_update".into() };
    assert_eq!(store.receive(&[other], Wall(5)).await.expect("stored"), []);
    assert_eq!(store.unhandled().await.expect("read"), []);
}

#[tokio::test]
async fn a_call_that_ended_before_it_began_leaves_a_mark() {
    let (_directory, store) = fresh().await;
    store
        .receive(&[event("wacid.A", ended()), event("wacid.B", CallEventKind::Rang)], Wall(5))
        .await
        .expect("stored");
    assert!(store.is_terminated(&"wacid.A".into()).await.expect("read"));
    assert!(!store.is_terminated(&"wacid.B".into()).await.expect("read"));
}

#[tokio::test]
async fn forgetting_leaves_what_is_younger_or_unhandled() {
    let (_directory, store) = fresh().await;
    let old = store
        .receive(&[event("wacid.A", ended()), event("wacid.B", ended())], Wall(5))
        .await
        .expect("stored");
    store.handled(&[old[0].0]).await.expect("marked");
    let young = store.receive(&[event("wacid.C", ended())], Wall(10)).await.expect("stored");
    store.handled(&[young[0].0]).await.expect("marked");
    assert_eq!(store.forget_before(Wall(10)).await.expect("forgotten"), 1);
    let known = async |call: &str| store.is_terminated(&call.into()).await;
    assert!(!known("wacid.A").await.expect("read"), "old and handled");
    assert!(known("wacid.B").await.expect("read"), "not handled");
    assert!(known("wacid.C").await.expect("read"), "young");
}

#[tokio::test]
async fn a_record_is_read_as_it_was_written() {
    let (_directory, store) = fresh().await;
    for expected in [full(1), CallRecord { endpoint: Some(Endpoint::Phone("1001".into())), ..full(2) }] {
        assert_eq!(store.close_record(&expected).await.expect("closed"), Closed::Now);
        assert_eq!(store.call(expected.id).await.expect("read"), Some(expected));
    }
}

#[tokio::test]
async fn a_record_opens_with_little_and_closes_once() {
    let (directory, store) = fresh().await;
    store.open_record(&record(1)).await.expect("opened");
    store.save_dialog(CallId(1), "{\"call_id\":\"x\"}".into()).await.expect("kept");
    store.note_wa_call(CallId(1), &"wacid.A=".into()).await.expect("kept");
    store.close().await;

    let store = open(&directory).await;
    let left = store.open_records().await.expect("read");
    let expected = CallRecord { wa_call: Some("wacid.A=".into()), ..record(1) };
    assert_eq!(left, [(expected.clone(), Some("{\"call_id\":\"x\"}".into()))]);

    let closed = CallRecord { ended: Some(Wall(2000)), cause: Some("orphaned".into()), ..record(1) };
    assert_eq!(store.close_record(&closed).await.expect("closed"), Closed::Now);
    let later = CallRecord { cause: Some("normal".into()), ended: Some(Wall(3000)), ..closed.clone() };
    assert_eq!(store.close_record(&later).await.expect("asked"), Closed::Before);
    store.open_record(&later).await.expect("asked");
    let read = store.call(CallId(1)).await.expect("read").expect("there");
    assert_eq!(read, CallRecord { wa_call: expected.wa_call, ..closed });
    assert_eq!(store.open_records().await.expect("read"), []);
}

#[tokio::test]
async fn a_record_without_an_end_is_closed_all_the_same() {
    let (_directory, store) = fresh().await;
    let odd = CallRecord { ended: None, answered: Some(Wall(1500)), ..record(1) };
    assert_eq!(store.close_record(&odd).await.expect("closed"), Closed::Now);
    assert_eq!(store.call(CallId(1)).await.expect("read").and_then(|it| it.ended), Some(Wall(1500)));
}

#[tokio::test]
async fn metas_times_reach_a_record_that_is_closed() {
    let (_directory, store) = fresh().await;
    store.close_record(&CallRecord { ended: Some(Wall(9)), ..record(1) }).await.expect("closed");
    let CallEventKind::Terminated(told) = ended() else { panic!("an end") };
    store.note_termination(CallId(1), &told).await.expect("noted");
    let read = store.call(CallId(1)).await.expect("read").expect("there");
    assert_eq!((read.meta_start, read.meta_end, read.meta_duration), (told.start, told.end, Some(60)));
}

#[tokio::test]
async fn records_are_listed_newest_first_and_filtered() {
    let (_directory, store) = fresh().await;
    for id in 1..=4 {
        let opened = Wall(i64::try_from(id).expect("small") * 1000);
        let number = if id == 3 { "support" } else { "sales" }.into();
        store.open_record(&CallRecord { opened, number, ..record(id) }).await.expect("opened");
    }
    store.close_record(&CallRecord { ended: Some(Wall(9)), ..record(2) }).await.expect("closed");
    let list = async |limit, filter: CallFilter| {
        let calls = store.calls(limit, &filter).await.expect("read");
        calls.into_iter().map(|it| it.id.0).collect::<Vec<_>>()
    };
    assert_eq!(list(9, CallFilter::default()).await, [4, 3, 2, 1]);
    assert_eq!(list(2, CallFilter::default()).await, [4, 3]);
    assert_eq!(
        list(9, CallFilter { number: Some("sales".into()), ..CallFilter::default() }).await,
        [4, 2, 1]
    );
    assert_eq!(list(9, CallFilter { since: Some(Wall(3000)), ..CallFilter::default() }).await, [4, 3]);
    assert_eq!(list(9, CallFilter { ended: Some(true), ..CallFilter::default() }).await, [2]);
    assert_eq!(list(9, CallFilter { ended: Some(false), ..CallFilter::default() }).await, [4, 3, 1]);
}

#[tokio::test]
async fn no_call_id_is_given_twice_by_two_processes_or_after_a_restart() {
    let (directory, one) = fresh().await;
    let two = open(&directory).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        for store in [&one, &two] {
            assert!(seen.insert(store.next_call_id().await.expect("an id")));
        }
    }
    one.close().await;
    let three = open(&directory).await;
    assert!(seen.insert(three.next_call_id().await.expect("an id")));
    let greatest = *seen.last().expect("some");
    assert!(three.next_call_id().await.expect("an id") > greatest);
}

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, store) = fresh().await;
    store.probe().await.expect("writable");
    for entry in std::fs::read_dir(directory.path()).expect("a directory") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn two_processes_may_start_at_once() {
    // Often, because "database is locked" came in one run of many.
    for _ in 0..20 {
        let directory = tempfile::tempdir().expect("a directory");
        let stores = tokio::join!(open(&directory), open(&directory), open(&directory));
        stores.2.probe().await.expect("writable");
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("test.db");
    std::fs::write(&path, "this is no database at all, only a text that is long enough").expect("written");
    let error = Store::open(&path, StoreSettings::default()).await.expect_err("no store");
    assert!(error.to_string().contains("test.db"), "{error}");
    let nowhere = directory.path().join("no/such/place.db");
    assert!(matches!(Store::open(&nowhere, StoreSettings::default()).await, Err(StoreError::Open { .. })));
}

#[tokio::test]
async fn what_was_recorded_is_told_with_the_call_also_after_its_record_was_closed() {
    let (directory, store) = fresh().await;
    store.open_record(&record(1)).await.expect("opened");
    store.open_record(&record(2)).await.expect("opened");
    let file = Some("2026-10-13/140000-0000000000000001.opus".to_owned());
    let begun = RecordingLine { file, seconds: 0, ended: None };
    store.note_recording(CallId(1), &begun).await.expect("noted");
    let open = store.open_records().await.expect("read");
    assert_eq!(open[0].0.recording.as_ref(), Some(&begun), "a crash finds that a recording ran");
    store.close_record(&CallRecord { ended: Some(Wall(9)), ..record(1) }).await.expect("closed");
    let ended = RecordingLine { seconds: 61, ended: Some("complete".to_owned()), ..begun };
    store.note_recording(CallId(1), &ended).await.expect("noted");
    store.close().await;
    let store = self::open(&directory).await;
    let read = store.calls(10, &CallFilter::default()).await.expect("read");
    assert_eq!(read.iter().map(|it| it.recording.clone()).collect::<Vec<_>>(), [None, Some(ended.clone())]);
    assert_eq!(store.call(CallId(1)).await.expect("read").expect("there").recording, Some(ended));
}
