//! How many of the users' calls are picked up, and when that deserves an alarm: Meta hides the call button of
//! numbers that nobody answers (reference §16.7; the thresholds are not published).

/// Users' calls of one business number in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PickUp {
    /// Calls that ended.
    pub calls: u32,
    /// Those that somebody answered.
    pub answered: u32,
}

impl PickUp {
    /// Answered calls in a hundred; `None` without calls.
    #[must_use]
    pub fn percent(self) -> Option<u32> {
        (self.answered * 100).checked_div(self.calls)
    }
}

/// Where the rate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// Better than before by five points or more.
    Rising,
    /// About the same.
    Steady,
    /// Worse by five points or more.
    Falling,
}

impl Trend {
    /// The last span against the one before it; steady where either has too few calls.
    #[must_use]
    pub fn of(now: PickUp, before: PickUp) -> Self {
        match (now.percent(), before.percent()) {
            (Some(now), Some(before)) if now >= before + 5 => Self::Rising,
            (Some(now), Some(before)) if before >= now + 5 => Self::Falling,
            _ => Self::Steady,
        }
    }

    /// A word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Steady => "steady",
            Self::Falling => "falling",
        }
    }
}

/// When the pick-up rate is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickUpAlarm {
    /// Below so many answered calls in a hundred.
    pub below: u32,
    /// With fewer calls than this the rate says nothing.
    pub min_calls: u32,
}

impl PickUpAlarm {
    /// Whether it is due.
    #[must_use]
    pub fn is_due(self, rate: PickUp) -> bool {
        rate.calls >= self.min_calls && rate.percent().is_some_and(|it| it < self.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_needs_enough_calls_and_a_rate_below_its_bar() {
        let alarm = PickUpAlarm { below: 70, min_calls: 10 };
        let rate = |calls, answered| PickUp { calls, answered };
        assert!(alarm.is_due(rate(10, 6)) && !alarm.is_due(rate(10, 7)) && !alarm.is_due(rate(9, 0)));
        assert_eq!(rate(0, 0).percent(), None);
    }

    #[test]
    fn five_points_make_a_trend() {
        let of = |now, before| {
            Trend::of(PickUp { calls: 100, answered: now }, PickUp { calls: 100, answered: before })
        };
        assert_eq!((of(80, 75), of(79, 75), of(70, 75)), (Trend::Rising, Trend::Steady, Trend::Falling));
        assert_eq!(Trend::of(PickUp::default(), PickUp { calls: 9, answered: 9 }), Trend::Steady);
    }
}
