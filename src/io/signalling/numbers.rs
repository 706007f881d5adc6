//! What signalling knows of each business number, and what it learns.

use std::collections::VecDeque;
use std::time::Duration;

use super::hours::Hours;
use super::voicemail::Voice;
use crate::call::{AnswerOn, PreAcceptWhen, RingPlan};
use crate::config::AskConfig;
use crate::id::{NumberLabel, PhoneNumberId};
use crate::masked::Secret;
use crate::policy::Rules;
use crate::user::Msisdn;

/// One business number, as the configuration describes it.
#[derive(Debug)]
pub struct BusinessNumber {
    /// The administrator's name for it.
    pub label: NumberLabel,
    /// Graph's name for it.
    pub id: PhoneNumberId,
    /// Its telephone number, for phones that show which number was called.
    pub display: Msisdn,
    /// The token for its Graph requests.
    pub token: Secret<String>,
    /// Who rings when a user calls.
    pub ring: RingPlan,
    /// Which tone its calls ring with where no plan says so: after a transfer.
    pub alert: Option<String>,
    /// When `pre_accept` goes.
    pub pre_accept: PreAcceptWhen,
    /// What counts as a user's answer.
    pub answer_on: AnswerOn,
    /// Whether its calls are recorded.
    pub record: bool,
    /// What it says by itself.
    pub voice: Voice,
    /// When it takes calls; `None`: always.
    pub hours: Option<Hours>,
    /// Its caps.
    pub rules: Rules,
    /// Whether calls to users wait for its hours.
    pub hold_outside_hours: bool,
    /// How users are asked for permission.
    pub ask: AskConfig,
}

/// How long Graph took for `accept` lately; its p99 is kept back from the accept window (rule 2).
#[derive(Debug, Default)]
pub(super) struct AcceptTimes(VecDeque<Duration>);

impl AcceptTimes {
    const KEPT: usize = 200;
    /// Before anything was learnt, and never less than this.
    const FLOOR: Duration = Duration::from_millis(1000);

    pub(super) fn note(&mut self, took: Duration) {
        self.0.push_back(took);
        if self.0.len() > Self::KEPT {
            self.0.pop_front();
        }
    }

    pub(super) fn reserve(&self) -> Duration {
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let at = sorted.len() * 99 / 100;
        sorted.get(at).copied().unwrap_or_default().max(Self::FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_2_the_reserve_is_the_slowest_accept_in_a_hundred() {
        let mut times = AcceptTimes::default();
        assert_eq!(times.reserve(), Duration::from_secs(1));
        for _ in 0..98 {
            times.note(Duration::from_millis(300));
        }
        times.note(Duration::from_secs(4));
        assert_eq!(times.reserve(), Duration::from_secs(4));
        for _ in 0..250 {
            times.note(Duration::from_millis(1500));
        }
        assert_eq!(times.reserve(), Duration::from_millis(1500));
    }
}
