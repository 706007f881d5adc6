//! Ring plans: who rings when a user calls, one step after another, inside the accept window (rule 2).
//!
//! A plan is data; a [`Hunt`] walks through it and is told what became of the legs. It knows no timer and no
//! output: [`Hunt::next`] says who is to ring from now on, and until when.

use std::collections::VecDeque;
use std::time::Duration;

use crate::call::cause::HangupCause;
use crate::call::input::{Fork, ForkFailure};
use crate::call::voicemail::Answering;
use crate::id::Endpoint;
use crate::sip::alert::Alert;
use crate::time::Wall;

/// With less left than this nobody can answer any more: a phone would only jingle.
const LEAST_RING: Duration = Duration::from_secs(1);
/// More than any plan needs, and fewer legs than a call has numbers for.
const MOST_RUNG: usize = 100;

/// Who rings when a user calls a business number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingPlan {
    /// One after another.
    pub steps: Vec<RingStep>,
    /// Who gets a call that none of them has taken; without it the call ends.
    pub overflow: Option<Overflow>,
    /// What the gateway does itself with a call that is left over then.
    pub answering: Option<Answering>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingStep {
    /// Who rings.
    pub targets: Vec<Endpoint>,
    /// How long, each of them; `None` for as long as the window allows.
    pub ring: Option<Duration>,
    /// In which order.
    pub order: RingOrder,
    /// How they ring.
    pub alert: Alert,
}

/// How the targets of a step ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingOrder {
    /// All at once.
    Together,
    /// Each for the whole time of the step, then the next one.
    OneByOne,
}

/// What takes the calls that nobody has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Something that answers by itself: a queue, a mailbox.
    pub target: Endpoint,
    /// How much of the accept window the steps leave to it.
    pub kept: Duration,
}

impl RingPlan {
    /// One step: all ring together for as long as the window allows.
    #[must_use]
    pub fn together(targets: Vec<Endpoint>) -> Self {
        let step = RingStep { targets, ring: None, order: RingOrder::Together, alert: Alert::default() };
        Self { steps: vec![step], ..Self::default() }
    }

    /// The same plan, but `first` rings before everybody else, for so long.
    #[must_use]
    pub fn after(self, first: Endpoint, ring: Duration) -> Self {
        let order = RingOrder::Together;
        let step = RingStep { targets: vec![first], ring: Some(ring), order, alert: Alert::default() };
        Self { steps: std::iter::once(step).chain(self.steps).collect(), ..self }
    }

    /// Nobody rings: the gateway answers at once.
    #[must_use]
    pub fn answered_by_us(answering: Answering) -> Self {
        Self { answering: Some(answering), ..Self::default() }
    }

    /// Everybody who may ring, in the order of the plan.
    pub fn targets(&self) -> impl Iterator<Item = &Endpoint> {
        let overflow = self.overflow.iter().map(|it| &it.target);
        self.steps.iter().flat_map(|it| &it.targets).chain(overflow)
    }
}

/// Those who ring at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// Who.
    pub(super) targets: Vec<Endpoint>,
    /// When it is the next one's turn; `None`: at the end of the accept window.
    pub(super) ends: Option<Wall>,
    /// How they ring.
    pub(super) alert: Alert,
}

#[derive(Clone, Debug)]
struct Turn {
    targets: Vec<Endpoint>,
    ring: Option<Duration>,
    alert: Alert,
}

/// The walk through one call's plan.
#[derive(Debug)]
pub(super) struct Hunt {
    turns: VecDeque<Turn>,
    overflow: Option<Overflow>,
    /// The last moment for anybody to answer.
    accept_by: Wall,
    /// Who was rung, by the number of the leg.
    rung: Vec<(Endpoint, Alert)>,
    /// Who said no: they are not rung a second time.
    refused: Vec<Endpoint>,
    worst: Option<HangupCause>,
}

impl Hunt {
    pub(super) fn new(plan: RingPlan, accept_by: Wall) -> Self {
        let turns = plan.steps.into_iter().flat_map(|step| {
            let ring = step.ring;
            let groups = match step.order {
                RingOrder::Together => vec![step.targets],
                RingOrder::OneByOne => step.targets.into_iter().map(|it| vec![it]).collect(),
            };
            let alert = step.alert;
            groups.into_iter().map(move |targets| Turn { targets, ring, alert: alert.clone() })
        });
        let (rung, refused) = (Vec::new(), Vec::new());
        Self { turns: turns.collect(), overflow: plan.overflow, accept_by, rung, refused, worst: None }
    }

    /// Who rings from now on; `None` at the end of the plan.
    pub(super) fn next(&mut self, now: Wall) -> Option<Round> {
        let kept = self.overflow.as_ref().map_or(Duration::ZERO, |it| it.kept);
        // A call whose webhook came late still rings its first targets, however short.
        let least = if self.rung.is_empty() { Duration::from_millis(1) } else { LEAST_RING };
        let steps_end = self.accept_by - kept;
        while let Some(turn) = self.turns.pop_front() {
            let targets = self.willing(turn.targets);
            let left = steps_end.since(now);
            if targets.is_empty() || left < least {
                continue;
            }
            let ends = turn.ring.filter(|it| *it < left).map_or(steps_end, |ring| now + ring);
            let ends = Some(ends).filter(|it| *it < self.accept_by);
            return Some(Round { targets, ends, alert: turn.alert });
        }
        let overflow = self.overflow.take()?;
        let targets = self.willing(vec![overflow.target]);
        let in_time = self.accept_by.since(now) >= least;
        let alert = Alert::default();
        (!targets.is_empty() && in_time).then_some(Round { targets, ends: None, alert })
    }

    fn willing(&self, mut targets: Vec<Endpoint>) -> Vec<Endpoint> {
        targets.retain(|it| !self.refused.contains(it));
        targets.truncate(MOST_RUNG.saturating_sub(self.rung.len()));
        targets
    }

    /// Notes that `target` is rung; the number of its leg.
    pub(super) fn rings(&mut self, target: Endpoint, alert: Alert) -> Fork {
        self.rung.push((target, alert));
        Fork(u8::try_from(self.rung.len() - 1).unwrap_or(u8::MAX))
    }

    /// Whom a leg rings.
    pub(super) fn target(&self, fork: Fork) -> Option<&Endpoint> {
        self.rung.get(usize::from(fork.0)).map(|(target, _)| target)
    }

    /// How a leg rings.
    pub(super) fn alert(&self, fork: Fork) -> Option<&Alert> {
        self.rung.get(usize::from(fork.0)).map(|(_, alert)| alert)
    }

    /// A leg came to nothing.
    pub(super) fn failed(&mut self, fork: Fork, failure: ForkFailure) {
        let cause = fork_cause(failure);
        self.note(cause);
        if matches!(cause, HangupCause::PhoneBusy | HangupCause::PhoneDeclined) {
            self.refused.extend(self.target(fork).cloned());
        }
    }

    /// Somebody rang in vain.
    pub(super) fn unanswered(&mut self) {
        self.note(HangupCause::PhoneUnanswered);
    }

    /// The answer of a person says more than a dead line: it names the cause of the whole hunt.
    fn note(&mut self, cause: HangupCause) {
        if self.worst.is_none_or(|worst| weight(cause) > weight(worst)) {
            self.worst = Some(cause);
        }
    }

    /// Why nobody has the call.
    pub(super) fn cause(&self) -> HangupCause {
        self.worst.unwrap_or(HangupCause::PhoneUnanswered)
    }
}

/// Why the call ends if this was the last leg.
fn fork_cause(failure: ForkFailure) -> HangupCause {
    match failure {
        ForkFailure::Status(486 | 600) => HangupCause::PhoneBusy,
        ForkFailure::Status(403 | 603 | 607) => HangupCause::PhoneDeclined,
        ForkFailure::Status(408 | 480) | ForkFailure::TimedOut | ForkFailure::Cancelled => {
            HangupCause::PhoneUnanswered
        }
        ForkFailure::Status(488 | 606 | 415) => HangupCause::PhoneMediaRefused,
        ForkFailure::Status(_) => HangupCause::PhoneFailed,
        ForkFailure::Unreachable | ForkFailure::Silent => HangupCause::PhoneUnreachable,
    }
}

const fn weight(cause: HangupCause) -> u8 {
    match cause {
        HangupCause::PhoneDeclined => 5,
        HangupCause::PhoneBusy => 4,
        HangupCause::PhoneUnanswered => 3,
        HangupCause::PhoneMediaRefused => 2,
        HangupCause::PhoneFailed => 1,
        _ => 0,
    }
}
