//! What became of a call, said by the phone that had it: it dials the code and a place in the list of outcomes.

use std::time::Duration;

use super::Reply;
use super::from_sip::Dial;
use super::switchboard::Switchboard;
use crate::call::{CallNote, CodeRefusal, HangupCause};
use crate::id::{CallId, Endpoint};
use crate::io::store::StoreError;
use crate::time::Now;

/// For replies that belong to no call.
const NO_CALL: CallId = CallId(0);
/// Whose last call is longer ago means another one, or dialled the wrong code.
const LATELY: Duration = Duration::from_hours(24);

/// What a phone said of its last call, and whether it is written.
pub(in crate::io) struct DialledOutcome {
    dial: Dial,
    place: u16,
    outcome: String,
    noted: Result<Option<CallId>, StoreError>,
}

/// The rest holds who called and how their sound is encrypted.
impl std::fmt::Debug for DialledOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DialledOutcome").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

impl Switchboard {
    /// Writes what the phone says of its last call with a user; the phone hears and sees that it is done.
    pub(super) fn note_outcome(&mut self, now: Now, dial: Dial, place: Option<&str>) {
        let outcomes = &self.parts.feature_rules.outcomes;
        let place = place.and_then(|it| it.parse::<u16>().ok()).unwrap_or(0);
        let outcome = usize::from(place).checked_sub(1).and_then(|it| outcomes.get(it)).cloned();
        let (Some(outcome), Endpoint::Phone(phone)) = (outcome, dial.endpoint.clone()) else {
            return self.turn_dial_away(now, &dial, HangupCause::Code(CodeRefusal::NoSuchOutcome));
        };
        let (store, replies) = (self.parts.store.clone(), self.replies_in.clone());
        let at = now.wall;
        let note = CallNote { at, author: phone.to_string(), outcome: Some(outcome.clone()), text: None };
        tokio::spawn(async move {
            let noted = store.note_last_call(&phone, at - LATELY, &note).await;
            let _ = replies.send((NO_CALL, Reply::Noted(DialledOutcome { dial, place, outcome, noted })));
        });
    }

    /// It is written, or there was nothing to write it to.
    pub(super) fn noted(&mut self, now: Now, said: &DialledOutcome) {
        let DialledOutcome { dial, place, outcome, noted } = said;
        match noted {
            Ok(Some(call)) => {
                tracing::info!(%call, outcome, by = %dial.endpoint, "a phone says what became of its call");
                let spoken = self.parts.sounds.number(*place);
                self.confirm(now, dial.leg, &format!("Noted: {outcome}"), spoken);
            }
            Ok(None) => self.turn_dial_away(now, dial, HangupCause::Code(CodeRefusal::NothingToNote)),
            Err(error) => {
                tracing::error!(%error, "what a phone said of its call was not written");
                self.turn_dial_away(now, dial, HangupCause::StoreDown);
            }
        }
    }
}
