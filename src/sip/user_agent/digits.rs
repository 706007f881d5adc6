//! Keys by INFO, from us (RFC 6086 of the old kind: a body of `application/dtmf-relay` without a package).
//!
//! One at a time: over UDP a second one might overtake the first, and would be the only one heard (RFC 3261 §12.2.2).

use std::collections::VecDeque;

use crate::id::LegId;
use crate::time::Now;

use super::super::message::{Headers, Method, Name, Response, media_type_of};
use super::leg::{Leg, Owner, Stage, Up};
use super::{Event, UserAgent};

/// The body that nearly all devices know.
const DTMF_RELAY: &str = "application/dtmf-relay";
/// Keys that wait for their turn; more are dropped.
const WAITING: usize = 32;

/// Whether the far end of a call takes keys by INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysByInfo {
    /// It has not said: INFO in Allow alone may mean anything.
    Unknown,
    /// It lists the body in Accept, and INFO in Allow.
    Taken,
    /// It has refused one.
    Refused,
}

/// A key: which, and milliseconds.
pub(super) type Key = (char, u32);

/// The keys of one call on their way out.
#[derive(Debug)]
pub(super) struct Keys {
    by_info: KeysByInfo,
    waiting: VecDeque<Key>,
    /// One has not been answered yet.
    under_way: bool,
}

impl Keys {
    /// `headers` are those of the peer's INVITE or 2xx.
    pub(super) fn of(headers: &Headers) -> Self {
        let allowed = headers.words(&Name::Allow).iter().any(|word| word == "info");
        let accepted = headers.words(&Name::Accept).iter().any(|word| media_type_of(word) == DTMF_RELAY);
        let by_info = if allowed && accepted { KeysByInfo::Taken } else { KeysByInfo::Unknown };
        Self { by_info, waiting: VecDeque::new(), under_way: false }
    }
}

impl UserAgent {
    /// Whether the far end of this call takes keys by INFO.
    #[must_use]
    pub fn keys_by_info(&self, leg: LegId) -> KeysByInfo {
        match self.legs.get(&leg).map(|it| &it.stage) {
            Some(Stage::Up(up)) => up.keys.by_info,
            _ => KeysByInfo::Unknown,
        }
    }

    /// Tells a key by INFO, behind those that were told before; [`Event::DigitRefused`] if it is not taken.
    pub fn send_digit(&mut self, now: Now, leg: LegId, digit: char, millis: u32) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        if up.keys.waiting.len() < WAITING {
            up.keys.waiting.push_back((digit, millis));
        }
        self.send_next_digit(now, leg);
    }

    fn send_next_digit(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let Up { keys, dialog, .. } = &mut **up;
        if keys.under_way {
            return;
        }
        let Some(key @ (digit, millis)) = keys.waiting.pop_front() else { return };
        keys.under_way = true;
        let mut info = dialog.next_request(Method::Info);
        info.headers.push(Name::ContentType, DTMF_RELAY);
        info.headers.push(Name::UserAgent, self.settings.product.clone());
        info.body = format!("Signal={digit}\r\nDuration={millis}\r\n").into_bytes();
        let hop = dialog.next_hop();
        self.send_request(now, hop, info, Owner::Digit(leg, key));
    }

    pub(super) fn hear_digit(&mut self, now: Now, leg: LegId, key: Key, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        up.keys.under_way = false;
        // Of the others, 481 and 408 say that the call is gone (RFC 5057 §5.1), the rest that this key was no good.
        if !matches!(response.status, 403 | 405 | 406 | 415 | 420 | 469 | 488 | 489 | 501 | 603 | 606) {
            return self.send_next_digit(now, leg);
        }
        up.keys.by_info = KeysByInfo::Refused;
        let refused = std::iter::once(key).chain(std::mem::take(&mut up.keys.waiting));
        self.events.extend(refused.map(|(digit, millis)| Event::DigitRefused { leg, digit, millis }));
    }
}
