//! Calls that the gateway begins: an agent's phone first, then the user.

use super::switchboard::Switchboard;
use crate::call::{Call, CallDirection, CallRecord, HangupCause};
use crate::id::{CallId, Endpoint, PhoneName, PhoneNumberId};
use crate::media::CapacityState;
use crate::time::Now;
use crate::user::UserId;

/// Whom to call for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origination {
    /// The business number that calls.
    pub number: PhoneNumberId,
    /// The user.
    pub user: UserId,
    /// Whose phone rings first.
    pub agent: PhoneName,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Originated {
    /// The agent's phone is being rung; the record tells the rest.
    Begun(CallId),
    /// Nothing was begun, for this reason.
    Refused(HangupCause),
}

/// The callback queue of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupQueue {
    /// The group.
    pub name: String,
    /// Who may take from it.
    pub members: Vec<Endpoint>,
    /// The numbers whose users it calls back.
    pub numbers: Vec<PhoneNumberId>,
}

impl GroupQueue {
    fn has(&self, phone: &PhoneName) -> bool {
        self.members.iter().any(|it| matches!(it, Endpoint::Phone(name) if name == phone))
    }
}

/// What a phone may take from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueOf {
    /// The missed calls of these numbers.
    Numbers(Vec<PhoneNumberId>),
    /// There is no such phone.
    NoPhone,
    /// There is no such group.
    NoGroup,
    /// The phone does not belong to it.
    NotAMember,
}

impl Switchboard {
    pub(super) fn originate(&mut self, now: Now, wanted: Origination) -> Originated {
        let agent = Endpoint::Phone(wanted.agent.clone());
        let Some(number) = self.number_of(&wanted.number) else {
            return Originated::Refused(HangupCause::NotDialable);
        };
        let refusal = if self.is_closing() {
            Some(HangupCause::Stopping)
        } else if !self.may_call_back(number, &wanted.agent) {
            Some(HangupCause::NotAllowed)
        } else if !self.parts.agent.is_registered(&wanted.agent) {
            Some(HangupCause::PhoneUnreachable)
        } else if self.parts.media.judge() == CapacityState::Refusing {
            Some(HangupCause::Overloaded)
        } else {
            // Last: what is refused for another reason counts for nothing.
            self.count_toll(now, &agent, 0)
        };
        if let Some(cause) = refusal {
            return Originated::Refused(cause);
        }
        let id = self.next_call_id(now);
        let config = &self.parts.numbers[number];
        let direction = CallDirection::BusinessInitiated;
        let mut record = CallRecord::new(id, config.label.clone(), config.id.clone(), direction, wanted.user);
        record.opened = now.wall;
        let call = Call::from_gateway(record, self.parts.times, agent, config.answer_on);
        Originated::Begun(self.admit(call, number, None))
    }

    /// The numbers whose missed calls are this phone's to call back: of a group that it belongs to, or all of them.
    pub(super) fn queue_of(&self, phone: &PhoneName, group: Option<&str>) -> QueueOf {
        if !self.parts.dialplan.phones.contains(phone) {
            return QueueOf::NoPhone;
        }
        let Some(group) = group else {
            let numbers = self.parts.numbers.iter().enumerate();
            let own = numbers.filter(|(at, _)| self.may_call_back(*at, phone));
            return QueueOf::Numbers(own.map(|(_, it)| it.id.clone()).collect());
        };
        match self.parts.feature_rules.queues.iter().find(|it| it.name == group) {
            None => QueueOf::NoGroup,
            Some(queue) if queue.has(phone) => QueueOf::Numbers(queue.numbers.clone()),
            Some(_) => QueueOf::NotAMember,
        }
    }

    /// Whoever may dial through a number, is rung by it, or belongs to a group that calls its users back, may do so.
    fn may_call_back(&self, number: usize, phone: &PhoneName) -> bool {
        let number = &self.parts.numbers[number];
        let rung = number.ring.targets().any(|it| matches!(it, Endpoint::Phone(name) if name == phone));
        let dials =
            self.parts.dialplan.entries.iter().any(|it| it.number == number.id && it.phones.contains(phone));
        let queues = &self.parts.feature_rules.queues;
        rung || dials || queues.iter().any(|it| it.numbers.contains(&number.id) && it.has(phone))
    }
}
