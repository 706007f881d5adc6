//! Calls that the last process left behind: both sides are told, the records are closed (rule 27).

use std::collections::BTreeSet;

use super::graveyard::Tomb;
use super::now;
use super::switchboard::Switchboard;
use crate::call::{CallRecord, HangupCause};
use crate::id::WaCallId;
use crate::io::store::StoreError;
use crate::io::webhook::Delivery;
use crate::sip::{DialogSnapshot, Reason};
use crate::time::Now;
use crate::whatsapp::{CallEventKind, Event};

impl Switchboard {
    /// Ends every call whose record is still open, and takes up events that nobody handled.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn end_orphans(&mut self) -> Result<(), StoreError> {
        let orphans = self.parts.store.open_records().await?;
        let now = now();
        for (record, dialog) in orphans {
            self.end_orphan(now, record, dialog.as_deref());
        }
        for (record, dialogs) in self.parts.store.open_desk_calls().await? {
            self.end_desk_orphan(now, record, dialogs);
        }
        let unhandled = self.parts.store.unhandled().await?;
        let ended: BTreeSet<WaCallId> = unhandled.iter().filter_map(|(_, event)| ended_call(event)).collect();
        for (inbox, event) in unhandled {
            if let Event::Call(call) = &event
                && self.is_lost_call(now, &event)
                && !ended.contains(&call.call)
                && let Some(number) = self.number_of(&call.number)
            {
                tracing::warn!(wa_call = %call.call, "a call without a record is ended at Meta");
                self.terminate_at_meta(number, Some(call.call.clone()));
            }
            self.handle_delivery(now, Delivery { inbox: Some(inbox), event, arrived: now });
        }
        Ok(())
    }

    fn end_orphan(&mut self, now: Now, mut record: CallRecord, dialog: Option<&str>) {
        let verdict = HangupCause::Orphaned.verdict();
        tracing::warn!(call = %record.id, "a call of the last process is ended");
        match dialog.map(serde_json::from_str::<DialogSnapshot>) {
            Some(Ok(dialog)) => {
                let reason =
                    Reason { protocol: "Q.850", cause: verdict.q850.into(), text: verdict.phrase.into() };
                self.parts.agent.end_orphan(now, &dialog, reason);
            }
            Some(Err(error)) => tracing::error!(call = %record.id, %error, "its dialog cannot be read"),
            None => {}
        }
        if let Some(number) = self.number_of(&record.phone_number_id) {
            self.terminate_at_meta(number, record.wa_call.clone());
        }
        if let Some(wa_call) = &record.wa_call {
            self.graveyard.bury(wa_call.clone(), Tomb::Recorded(record.id));
        }
        record.ended = Some(now.wall);
        record.cause = Some(verdict.label.to_owned());
        record.fault = Some(verdict.fault.as_str().to_owned());
        self.count_ended(&record, HangupCause::Orphaned);
        let store = self.parts.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.close_record(&record).await {
                tracing::error!(call = %record.id, %error, "its record could not be closed");
            }
        });
    }
}

/// The call whose end `event` tells.
fn ended_call(event: &Event) -> Option<WaCallId> {
    match event {
        Event::Call(call) if matches!(call.kind, CallEventKind::Terminated(_)) => Some(call.call.clone()),
        _ => None,
    }
}
