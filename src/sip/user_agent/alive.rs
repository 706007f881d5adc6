//! Whether the far end of a call that is up is still there: OPTIONS within the dialogue (RFC 3261 §11, RFC 5057 §5.1).

use std::time::{Duration, Instant};

use crate::id::LegId;
use crate::time::Now;

use super::super::message::{Method, Name, Response};
use super::leg::{Leg, Owner, Stage};
use super::{Event, Reason, UserAgent};

/// How long an answer may take: five transmissions by UDP, and a phone whose connection broke has registered again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long we wait before we ask again where there was no way to the peer.
const AGAIN: Duration = Duration::from_secs(1);

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    deadline: Instant,
    /// There was no way to the peer: when it is tried anew.
    again: Option<Instant>,
}

impl Asked {
    pub(super) fn poll_timeout(&self) -> Instant {
        self.again.map_or(self.deadline, |again| again.min(self.deadline))
    }
}

impl UserAgent {
    /// Asks the far end of a call that is up whether it knows the call.
    ///
    /// Any answer but 408 and 481 keeps the call, and nobody hears of it; those two, and none within ten seconds, end
    /// it: BYE is sent, [`Event::Vanished`] tells.
    pub fn ask(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        // An exchange that is under way finds out by itself.
        if up.asked.is_some() || up.unacked.is_some() {
            return;
        }
        up.asked = Some(Asked { deadline: now.mono + PATIENCE, again: None });
        self.send_question(now, leg);
        self.rearm(leg);
    }

    fn send_question(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let mut options = up.dialog.next_request(Method::Options);
        let hop = up.dialog.next_hop();
        options.headers.push(Name::Accept, "application/sdp");
        options.headers.push(Name::UserAgent, self.settings.product.clone());
        self.send_request(now, hop, options, Owner::Alive(leg));
    }

    pub(super) fn hear_alive(&mut self, now: Now, leg: LegId, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        // Of all answers these two alone say that the dialogue is gone (RFC 5057 §5.1).
        if matches!(response.status, 408 | 481) {
            return self.vanish(now, leg);
        }
        up.asked = None;
        self.rearm(leg);
    }

    /// The question did not get there; a phone whose connection broke may be back in time.
    pub(super) fn question_lost(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        if let Some(asked) = &mut up.asked {
            asked.again = Some(now.mono + AGAIN);
            self.rearm(leg);
        }
    }

    /// Ends a call whose far end owes us an answer for too long; asks again where there was no way to it.
    pub(super) fn tick_question(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let Some(asked) = &mut up.asked else { return };
        if now.mono >= asked.deadline {
            self.vanish(now, leg);
        } else if asked.again.take_if(|again| *again <= now.mono).is_some() {
            self.send_question(now, leg);
            self.rearm(leg);
        }
    }

    fn vanish(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let mut dialog = up.dialog.clone();
        self.end_pending(now, leg);
        let reason = Reason { protocol: "SIP", cause: 408, text: "No answer within the call".to_owned() };
        self.bye(now, &mut dialog, Some(reason));
        self.remove_leg(leg);
        self.events.push_back(Event::Vanished { leg });
    }
}
