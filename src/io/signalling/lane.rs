//! One call's writes to the store, in order, each with a deadline, beside the loop.

use tokio::sync::mpsc;

use super::Reply;
use super::patience::patiently;
use crate::call::desk::DeskRecord;
use crate::call::{CallDirection, CallRecord, Input};
use crate::id::{CallId, Seat, WaCallId};
use crate::io::store::{InboxId, Store};
use crate::time::Wall;

/// What a call wants written.
#[derive(Debug)]
pub(super) enum Write {
    Open(Box<CallRecord>, Option<InboxId>),
    Keep(Box<CallRecord>),
    WaCall(WaCallId),
    Dialog(String),
    Connected(Wall),
    CorrectStart(Wall),
    Rang(Wall),
    Release,
    Withdraw,
    /// What this event brought is in the writes before it.
    Handled(InboxId),
    Close(Box<CallRecord>),
    OpenDesk(Box<DeskRecord>),
    KeepDesk(Box<DeskRecord>),
    DeskDialog(Seat, String),
    CloseDesk(Box<DeskRecord>),
}

/// The way in; dropping it lets the lane finish what it has and end.
pub(super) type Lane = mpsc::UnboundedSender<Write>;

/// The lane of one call and the work behind it, which ends when the lane is dropped.
pub(super) fn make(
    store: Store,
    call: CallId,
    replies: mpsc::UnboundedSender<(CallId, Reply)>,
) -> (Lane, impl Future<Output = ()> + Send) {
    let (lane, mut writes) = mpsc::unbounded_channel();
    let work = async move {
        while let Some(write) = writes.recv().await {
            write_one(&store, call, write, &replies).await;
        }
    };
    (lane, work)
}

async fn write_one(
    store: &Store,
    call: CallId,
    write: Write,
    replies: &mpsc::UnboundedSender<(CallId, Reply)>,
) {
    let outcome = match write {
        Write::Open(record, inbox) => {
            let opened = match inbox {
                Some(_) => store.open_record_of_event(&record).await,
                None => store.open_record(&record).await,
            };
            let input = if opened.is_ok() { Input::RecordOpened } else { Input::RecordRefused };
            let _ = replies.send((call, Reply::Input(input)));
            // A user's call goes on without (R15); its record follows when the store is back, before its end does.
            let opened = match opened {
                Err(_) if record.direction == CallDirection::UserInitiated => {
                    patiently("a record", || store.open_record(&record)).await
                }
                opened => opened,
            };
            match (opened, inbox) {
                (Ok(()), Some(inbox)) => store.handled(&[inbox]).await,
                (opened, _) => opened,
            }
        }
        Write::Keep(record) => store.open_record(&record).await,
        Write::WaCall(wa_call) => store.note_wa_call(call, &wa_call).await,
        Write::Dialog(json) => store.save_dialog(call, json).await,
        Write::Connected(at) => patiently("connected", || store.connected(call, at)).await,
        Write::CorrectStart(at) => patiently("a start", || store.correct_start(call, at)).await,
        Write::Rang(at) => patiently("that it rang", || store.rang(call, at)).await,
        Write::Release => patiently("a release", || store.release(call)).await,
        Write::Withdraw => patiently("a withdrawal", || store.withdraw(call)).await,
        Write::Handled(inbox) => patiently("an event's end", async || store.handled(&[inbox]).await).await,
        Write::Close(record) => patiently("a record", || store.close_record(&record)).await.map(drop),
        Write::OpenDesk(record) => {
            let opened = store.open_desk_call(&record).await;
            let input = if opened.is_ok() { Input::RecordOpened } else { Input::RecordRefused };
            let _ = replies.send((call, Reply::Input(input)));
            opened
        }
        Write::KeepDesk(record) => store.open_desk_call(&record).await,
        Write::DeskDialog(seat, json) => store.save_desk_dialog(call, seat, json).await,
        Write::CloseDesk(record) => patiently("a record", || store.close_desk_call(&record)).await.map(drop),
    };
    if let Err(error) = outcome {
        tracing::error!(%call, %error, "the store did not take a write of this call");
    }
}
