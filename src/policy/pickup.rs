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

/// Whose answer makes a call a picked-up one.
///
/// Meta publishes neither its thresholds nor what it counts (reference §16.7). It cannot tell who is behind an
/// `accept`, so its own figure probably takes our voicemail for an answer; the users who hang up there are those that
/// it surveys. The stricter reading is the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PickedUpBy {
    /// Only who talks to the user: a phone, or what stands behind a trunk.
    #[default]
    People,
    /// The gateway's own voicemail and announcements, too.
    Anybody,
}

/// When the pick-up rate is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickUpAlarm {
    /// Below so many answered calls in a hundred.
    pub below: u32,
    /// With fewer calls than this the rate says nothing.
    pub min_calls: u32,
    /// What is counted.
    pub counts: PickedUpBy,
}

/// An alarm that was raised ends so many points above its bar: a rate at the bar would raise it all day.
const CLEAR: u32 = 5;

impl PickUpAlarm {
    /// Whether it is due.
    #[must_use]
    pub fn is_due(self, rate: PickUp) -> bool {
        rate.calls >= self.min_calls && rate.percent().is_some_and(|it| it < self.below)
    }

    /// Whether it stands after `rate`, if it `stood` before.
    #[must_use]
    pub fn stands(self, stood: bool, rate: PickUp) -> bool {
        // A bar near the top must still be left behind by a perfect rate.
        let clear = if stood { (self.below + CLEAR).min(100) } else { self.below };
        Self { below: clear, ..self }.is_due(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_needs_enough_calls_and_a_rate_below_its_bar() {
        let alarm = PickUpAlarm { below: 70, min_calls: 10, counts: PickedUpBy::People };
        let rate = |calls, answered| PickUp { calls, answered };
        assert!(alarm.is_due(rate(10, 6)) && !alarm.is_due(rate(10, 7)) && !alarm.is_due(rate(9, 0)));
        assert_eq!(rate(0, 0).percent(), None);
    }

    #[test]
    fn an_alarm_that_stands_ends_five_points_above_its_bar_or_with_too_few_calls() {
        let alarm = PickUpAlarm { below: 70, min_calls: 10, counts: PickedUpBy::People };
        let stands = |stood, calls, answered| alarm.stands(stood, PickUp { calls, answered });
        assert!(stands(false, 100, 69) && !stands(false, 100, 70));
        assert!(stands(true, 100, 74) && !stands(true, 100, 75) && !stands(true, 9, 0));
        let strict = PickUpAlarm { below: 100, ..alarm };
        assert!(strict.stands(true, PickUp { calls: 100, answered: 99 }));
        assert!(!strict.stands(true, PickUp { calls: 100, answered: 100 }));
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
