//! Dial-to-ask: a phone dials the code and a user's number, the user is asked for permission, and when the user
//! accepts, the phone rings and is connected.

use super::callbacks::{Originated, Origination};
use super::permits::Desk;
use super::switchboard::Switchboard;
use super::{Reply, now, translate};
use crate::call::{HangupCause, Verdict};
use crate::dialplan::Dialled;
use crate::id::{CallId, Endpoint, LegId, PhoneName, PhoneNumberId};
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
        let question = Question { user, text: None, parameters: Vec::new(), ring: write_phone(from) };
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
        self.refuse_aloud(now, leg, verdict, translate::refusal(verdict, until, now));
    }

    /// The user has accepted: whoever asked is rung, and then the user.
    pub(super) fn ring_desk(&mut self, now: Now, awaited: Awaited) {
        let Awaited { number, user, ring } = awaited;
        let Some(agent) = read_phone(&ring) else { return };
        let wanted = Origination { number, user, agent };
        if let Originated::Refused(cause) = self.originate(now, wanted) {
            let cause = cause.verdict().label;
            tracing::warn!(ring, cause, "a user has accepted, and the phone that asked cannot be rung");
        }
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

/// The form in which the store keeps who waits; only a phone of ours can be rung back.
fn write_phone(endpoint: &Endpoint) -> Option<String> {
    match endpoint {
        Endpoint::Phone(name) => Some(format!("phone:{name}")),
        Endpoint::Trunk(..) => None,
    }
}

fn read_phone(text: &str) -> Option<PhoneName> {
    text.strip_prefix("phone:").filter(|it| !it.is_empty()).map(PhoneName::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_read_as_it_was_written() {
        let phone = Endpoint::Phone("1001".into());
        assert_eq!(write_phone(&phone).as_deref().and_then(read_phone), Some("1001".into()));
        assert_eq!(write_phone(&Endpoint::Trunk("pbx".into(), "200".to_owned())), None);
        assert_eq!(read_phone("1001"), None);
    }
}
