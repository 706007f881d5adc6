//! How many calls a trunk takes, at one time and in one second.

use std::time::{Duration, Instant};

/// The limits of a trunk; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkLimits {
    /// Calls up or being set up, both directions.
    pub calls: Option<u32>,
    /// New calls in one second, both directions.
    pub per_second: Option<u32>,
}

/// Why a call does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sip) enum Full {
    Calls,
    PerSecond,
}

/// Counts what passes: a second's worth of calls may come at once, then one after another.
#[derive(Clone, Copy, Debug)]
pub(in crate::sip) struct Gate {
    limits: TrunkLimits,
    calls: u32,
    /// The rate is used up until then (a leaky bucket by its virtual time).
    spent_until: Option<Instant>,
}

impl Gate {
    pub(in crate::sip) const fn new(limits: TrunkLimits) -> Self {
        Self { limits, calls: 0, spent_until: None }
    }

    /// A call wants to pass; it counts until [`Gate::leave`].
    pub(in crate::sip) fn enter(&mut self, now: Instant) -> Result<(), Full> {
        if self.limits.calls.is_some_and(|most| self.calls >= most) {
            return Err(Full::Calls);
        }
        if let Some(rate) = self.limits.per_second {
            let share = Duration::from_secs(1) / rate.max(1);
            let spent = self.spent_until.map_or(now, |until| until.max(now)) + share;
            if spent > now + Duration::from_secs(1) {
                return Err(Full::PerSecond);
            }
            self.spent_until = Some(spent);
        }
        self.calls += 1;
        Ok(())
    }

    /// A call passes whatever the limits are; it counts like any other.
    pub(in crate::sip) fn enter_urgently(&mut self) {
        self.calls += 1;
    }

    /// A call that had passed is over.
    pub(in crate::sip) fn leave(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }

    pub(in crate::sip) const fn calls(&self) -> u32 {
        self.calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_calls_pass_as_may_be_up_and_one_more_when_one_is_over() {
        let now = Instant::now();
        let mut gate = Gate::new(TrunkLimits { calls: Some(2), per_second: None });
        assert_eq!([gate.enter(now), gate.enter(now), gate.enter(now)], [Ok(()), Ok(()), Err(Full::Calls)]);
        gate.leave();
        assert_eq!((gate.enter(now), gate.calls()), (Ok(()), 2));
        gate.enter_urgently();
        gate.leave();
        assert_eq!((gate.enter(now), gate.calls()), (Err(Full::Calls), 2), "who passed by the limit counts");
    }

    #[test]
    fn a_seconds_worth_of_calls_may_come_at_once_and_then_one_per_share_of_a_second() {
        let zero = Instant::now();
        let mut gate = Gate::new(TrunkLimits { calls: None, per_second: Some(4) });
        let mut passed = |millis: u64| gate.enter(zero + Duration::from_millis(millis));
        assert_eq!([0; 5].map(&mut passed).iter().filter(|it| it.is_ok()).count(), 4);
        assert_eq!(passed(249), Err(Full::PerSecond));
        assert_eq!((passed(250), passed(250)), (Ok(()), Err(Full::PerSecond)));
        assert_eq!([5000; 6].map(&mut passed).iter().filter(|it| it.is_ok()).count(), 4);
    }
}
