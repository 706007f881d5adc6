//! Where calls meet the recorder: it begins when both sides may talk, and its word goes into the record.

use tokio::sync::mpsc::UnboundedReceiver;

use super::switchboard::Switchboard;
use crate::call::record::RecordingLine;
use crate::id::CallId;
use crate::io::recording::Told;
use crate::io::store::Store;
use crate::time::Now;

impl Switchboard {
    /// Lets the recorder hear a call whose number is recorded; the call does not wait for it.
    pub(super) fn begin_recording(&self, now: Now, id: CallId) {
        let (Some(recorder), Some(live)) = (&self.parts.recorder, self.calls.get(&id)) else { return };
        if self.parts.numbers[live.number].record {
            let inlet = recorder.begin(now, id, live.call.record().opened);
            self.parts.media.record(id, inlet);
        }
    }
}

/// Writes what the recorder tells into the records; ends with the recorder.
pub async fn keep_recordings(store: Store, mut told: UnboundedReceiver<Told>) {
    while let Some(Told { call, file, length, end }) = told.recv().await {
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
