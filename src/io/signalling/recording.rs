//! Where calls meet the recorder: it begins when both sides may talk, and its word goes into the record.

use tokio::sync::mpsc::UnboundedReceiver;

use super::switchboard::Switchboard;
use crate::call::record::RecordingLine;
use crate::id::CallId;
use crate::io::recording::{Recorder, Told};
use crate::io::store::Store;
use crate::time::Now;

impl Switchboard {
    /// Lets the recorder hear a call whose number is recorded; the call does not wait for it.
    pub(super) fn begin_recording(&self, now: Now, id: CallId) {
        if let (Some(recorder), Some(live)) = (self.recorder_of(id), self.calls.get(&id)) {
            let inlet = recorder.begin(now, id, live.call.record().opened);
            self.parts.media.record(id, inlet);
        }
    }

    /// The recorder, if the call's number is recorded.
    pub(super) fn recorder_of(&self, id: CallId) -> Option<&Recorder> {
        let live = self.calls.get(&id)?;
        self.parts.recorder.as_ref().filter(|_| self.parts.numbers[live.number].record)
    }
}

/// Writes what the recorder tells into the records; ends with the recorder.
pub async fn keep_recordings(store: Store, mut told: UnboundedReceiver<Told>) {
    while let Some(Told { call, file, length, end, .. }) = told.recv().await {
        let line = RecordingLine {
            file: file.map(|it| it.display().to_string()),
            seconds: u32::try_from(length.as_secs()).unwrap_or(u32::MAX),
            ended: end.map(|it| it.label().to_owned()),
        };
        if let Err(error) = store.note_recording(call, &line).await {
            tracing::error!(%call, %error, "the store did not take what was recorded");
        }
    }
}
