//! The callback queue by feature code: a phone takes the user who called in vain and has waited longest.

use std::time::Duration;

use super::from_sip::Dial;
use super::switchboard::Switchboard;
use super::{QueueOf, Reply};
use crate::call::{CodeRefusal, HangupCause};
use crate::dialplan::Dialled;
use crate::id::{CallId, Endpoint, PhoneNumberId};
use crate::io::store::{Claim, StoreError};
use crate::media::CapacityState;
use crate::time::Now;

/// For so long a missed call is the claimer's alone: the user's phone, and a breath.
const LEASE: Duration = Duration::from_secs(180);
/// For replies that belong to no call.
const NO_CALL: CallId = CallId(0);

/// What the store gave a phone that wants to call back.
#[derive(Debug)]
pub(in crate::io) struct Claimed {
    dial: Dial,
    claim: Result<Claim, StoreError>,
}

impl Switchboard {
    /// Claims the next one of the phone's queue, or of the group at the place behind the code; nobody else gets it
    /// meanwhile.
    pub(super) fn call_back_next(&mut self, now: Now, dial: Dial, place: Option<&str>) {
        let (phone, queue) = match self.queue_at(&dial.endpoint, place) {
            Ok(found) => found,
            Err(cause) => return self.turn_dial_away(now, &dial, cause),
        };
        let (store, replies, at) = (self.parts.store.clone(), self.replies_in.clone(), now.wall);
        tokio::spawn(async move {
            let claim = store.claim_next_missed(&queue, &phone, at, LEASE).await;
            let _ = replies.send((NO_CALL, Reply::Claimed(Box::new(Claimed { dial, claim }))));
        });
    }

    fn queue_at(
        &self,
        from: &Endpoint,
        place: Option<&str>,
    ) -> Result<(String, Vec<PhoneNumberId>), HangupCause> {
        let Endpoint::Phone(phone) = from else { return Err(HangupCause::Code(CodeRefusal::Unknown)) };
        let group = match place {
            None => None,
            Some(place) => {
                let at = place.parse::<usize>().ok().and_then(|it| it.checked_sub(1));
                let group = at.and_then(|it| self.parts.feature_rules.queues.get(it));
                Some(group.ok_or(HangupCause::Code(CodeRefusal::Unknown))?.name.as_str())
            }
        };
        match self.queue_of(phone, group) {
            QueueOf::Numbers(numbers) => Ok((phone.to_string(), numbers)),
            QueueOf::NotAMember => Err(HangupCause::Code(CodeRefusal::NotYours)),
            QueueOf::NoPhone | QueueOf::NoGroup => Err(HangupCause::Code(CodeRefusal::Unknown)),
        }
    }

    /// The phone that dialled is the agent's side of the call; to the user it goes as any dialled call does.
    pub(super) fn claimed(&mut self, now: Now, claimed: Claimed) {
        let Claimed { dial, claim } = claimed;
        if !self.parts.agent.awaits_answer(dial.leg) {
            // It gave up meanwhile: nobody's user is to be rung. The claim ends by itself.
            return;
        }
        let missed = match claim {
            Ok(Claim::Taken(missed)) => missed,
            Ok(_) => {
                return self.turn_dial_away(now, &dial, HangupCause::Code(CodeRefusal::NobodyToCallBack));
            }
            Err(error) => {
                tracing::error!(%error, "the callback queue could not be read");
                return self.turn_dial_away(now, &dial, HangupCause::StoreDown);
            }
        };
        let record = &missed.record;
        tracing::info!(from = %dial.endpoint, missed = %record.id, "a phone calls back the next in its queue");
        let (number, user) = (record.phone_number_id.clone(), record.user.clone());
        let dialled = Dialled::User(number.clone(), user.clone());
        let refusal = if self.is_closing() {
            Some(HangupCause::Stopping)
        } else if let Some(capped) = self.toll_cap(now, &dial.endpoint, &dialled) {
            Some(capped)
        } else if self.parts.media.judge() == CapacityState::Refusing {
            Some(HangupCause::Overloaded)
        } else {
            None
        };
        match refusal {
            Some(cause) => self.turn_dial_away(now, &dial, cause),
            None => self.call_user(now, dial, &number, user),
        }
    }
}
