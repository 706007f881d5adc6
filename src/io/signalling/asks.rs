//! Dial-to-ask: a phone dials the code and a user's number, the user is asked for permission, and when the user
//! accepts, the phone rings and is connected.

use super::permits::Desk;
use super::switchboard::Switchboard;
use super::{Reply, now, translate};
use crate::call::{Call, CallDirection, CallRecord, HangupCause, Verdict};
use crate::dialplan::Dialled;
use crate::id::{CallId, Endpoint, LegId, PhoneNumberId};
use crate::io::asking::{AskFailure, Asked, Asking, Question};
use crate::metrics::label::{Requested, Word};
use crate::metrics::table;
use crate::sip::Refusal;
use crate::time::{Now, Wall};
use crate::user::UserId;

/// For replies that belong to no call.
const NO_CALL: CallId = CallId(0);

/// A user has granted what somebody at a desk waits for.
#[derive(Debug)]
pub(in crate::io) struct Awaited {
    pub(super) number: PhoneNumberId,
    pub(super) user: UserId,
    pub(super) ring: String,
}

/// How a request that a phone dialled for ended.
#[derive(Debug)]
pub(in crate::io) struct DialledAsk {
    leg: LegId,
    number: usize,
    outcome: Result<Asked, AskFailure>,
}

impl Switchboard {
    /// Whether the digits ask for permission: the code, then what the phone would dial to call the user.
    pub(super) fn dialled_to_ask(&mut self, from: &Endpoint, leg: LegId, digits: &str) -> bool {
        let asked = self.parts.numbers.iter().enumerate().find_map(|(index, number)| {
            let rest = digits.strip_prefix(number.ask.code.as_deref()?)?;
            match self.parts.dialplan.resolve(from, rest) {
                Dialled::User(id, user) if id == number.id => Some((index, user)),
                _ => None,
            }
        });
        let Some((number, user)) = asked else { return false };
        tracing::info!(number = %self.parts.numbers[number].label, %user, "a phone asks for permission");
        let asking = self.asking(number);
        let question = Question { user, text: None, parameters: Vec::new(), ring: write_endpoint(from) };
        let replies = self.replies_in.clone();
        tokio::spawn(async move {
            let outcome = asking.ask(&question, now().wall).await;
            let _ = replies.send((NO_CALL, Reply::Asked(DialledAsk { leg, number, outcome })));
        });
        true
    }

    /// Who asks for this number.
    pub(super) fn asking(&self, number: usize) -> Asking {
        let Desk { store, graph, number: id, token, rules, .. } = self.desk(number);
        let words = self.parts.numbers[number].ask.clone();
        Asking { store, graph, number: id, token, rules, words }
    }

    /// The phone learns on its display what became of the request.
    pub(super) fn asked(&mut self, now: Now, ask: DialledAsk) {
        let DialledAsk { leg, number, outcome } = ask;
        let (cause, until) = match &outcome {
            Ok(_) => (HangupCause::Asked, None),
            Err(failure) => {
                tracing::warn!(%failure, "a permission request did not go out");
                (failure.cause(), failure.until())
            }
        };
        let verdict = cause.verdict();
        let labels =
            Requested { number: self.parts.numbers[number].label.clone(), outcome: Word(verdict.label) };
        self.parts.metrics.count(&table::REQUESTS, &labels);
        self.parts.agent.refuse(now, leg, translate::refusal(verdict, until, now));
    }

    /// The user has accepted: whoever asked is rung, and then the user.
    pub(super) fn ring_desk(&mut self, now: Now, awaited: Awaited) {
        let (Some(number), Some(target)) = (self.number_of(&awaited.number), read_endpoint(&awaited.ring))
        else {
            return;
        };
        if self.is_closing() || !self.is_usable(&target) {
            return tracing::warn!(%target, "a user has accepted, and the phone that asked cannot be rung");
        }
        self.call_from_desk(now, number, awaited.user, target);
    }

    /// Rings `target`, and when somebody has answered there, the user; gives the call's id.
    pub(super) fn call_from_desk(
        &mut self,
        now: Now,
        number: usize,
        user: UserId,
        target: Endpoint,
    ) -> CallId {
        let id = self.next_call_id(now);
        let config = &self.parts.numbers[number];
        let (label, answer_on) = (config.label.clone(), config.answer_on);
        let direction = CallDirection::BusinessInitiated;
        let mut record = CallRecord::new(id, label, config.id.clone(), direction, user);
        record.opened = now.wall;
        let call = Call::from_desk(record, self.parts.times, target, answer_on);
        self.admit(call, number, None)
    }

    /// A refusal for want of permission says how to ask for it.
    pub(super) fn refusal(&self, id: CallId, verdict: Verdict, until: Option<Wall>, now: Now) -> Refusal {
        let mut refusal = translate::refusal(verdict, until, now);
        let code = self.calls.get(&id).and_then(|it| self.parts.numbers[it.number].ask.code.as_deref());
        let may_ask = matches!(verdict.label, "no_permission" | "permission_expired" | "permission_revoked");
        if let (true, Some(code)) = (may_ask, code) {
            refusal.phrase = format!("Ask first: dial {code}");
            refusal.warning = Some(format!("Dial {code} before the same number to ask for permission."));
        }
        refusal
    }
}

/// The form in which the store keeps who waits; a trunk cannot be rung back without a number of its own.
fn write_endpoint(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Phone(name) => Some(format!("phone:{name}")),
        Endpoint::Trunk(name, number) if !number.is_empty() => Some(format!("trunk:{name}/{number}")),
        Endpoint::Trunk(..) => None,
    }
}

fn read_endpoint(text: &str) -> Option<Endpoint> {
    match text.split_once(':')? {
        ("phone", name) => Some(Endpoint::Phone(name.into())),
        ("trunk", rest) => {
            let (name, number) = rest.split_once('/')?;
            Some(Endpoint::Trunk(name.into(), number.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_read_as_it_was_written() {
        for endpoint in [Endpoint::Phone("1001".into()), Endpoint::Trunk("pbx".into(), "200".into())] {
            assert_eq!(write_endpoint(&endpoint).as_deref().and_then(read_endpoint), Some(endpoint));
        }
        assert_eq!(write_endpoint(&Endpoint::Trunk("pbx".into(), String::new())), None);
        assert_eq!(read_endpoint("1001"), None);
    }
}
