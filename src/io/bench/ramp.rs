//! How many calls to try next, and what the tries came to: decisions without clocks.

use std::time::Duration;

use crate::media::Histogram;

/// A machine is full when one of these is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Share of the media threads' processors, 0 to 1; `refuse_at` of the configuration is the same limit.
    pub load: f64,
    /// Delay inside the gateway of the slowest packet in a hundred.
    pub delay: Duration,
    /// Share of the packets due that were not sent.
    pub missing: f64,
}

impl Default for Limits {
    /// 85 %, 15 ms and 2 %: the far ends are counted from outside, so a few packets are always under way.
    fn default() -> Self {
        Self { load: 0.85, delay: Duration::from_millis(15), missing: 0.02 }
    }
}

/// What was measured with so many calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Calls.
    pub calls: u64,
    /// Share of the media threads' processors, 0 to 1.
    pub load: f64,
    /// Processor time per call and 20 ms, both directions.
    pub call_cpu: Duration,
    /// Share of the packets due that were not sent.
    pub missing: f64,
    /// Time inside the gateway, towards the phone.
    pub to_phone: Histogram,
    /// The same towards WhatsApp.
    pub to_meta: Histogram,
    /// Resident memory of the engine's process in bytes.
    pub memory: u64,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The media threads have no time left.
    Load,
    /// Packets stay too long.
    Delay,
    /// Packets are not sent.
    Missing,
}

impl Step {
    /// The slower direction's delay that `share` of the packets stay under.
    #[must_use]
    pub fn delay(&self, share: f64) -> Duration {
        let quantile = |histogram: &Histogram| histogram.quantile(share).unwrap_or_default();
        quantile(&self.to_phone).max(quantile(&self.to_meta))
    }

    /// The limit that these calls reach.
    #[must_use]
    pub fn full(&self, limits: &Limits) -> Option<Full> {
        if self.load >= limits.load {
            Some(Full::Load)
        } else if self.delay(0.99) > limits.delay {
            Some(Full::Delay)
        } else if self.missing > limits.missing {
            Some(Full::Missing)
        } else {
            None
        }
    }
}

/// Calls for the next step; `None` when the limit is found. `threads` is how many media threads there are.
#[must_use]
pub fn next(steps: &[Step], limits: &Limits, threads: u64) -> Option<u64> {
    let Some(last) = steps.last() else { return Some(10 * threads) };
    if last.full(limits).is_some() {
        return None;
    }
    let calls = last.calls as f64;
    // Calls grow cheaper as they grow many: the line through the last step ends below the limit.
    let at_limit = calls * limits.load / last.load.max(0.005);
    let towards = calls + (at_limit - calls) * 0.7;
    let most = calls * 3.0;
    Some((towards.min(most) as u64).max(last.calls + 2 * threads))
}

/// Calls within the limits: between the last step that was and the first that was not, where the load meets
/// its limit; after the last step if none was full.
#[must_use]
pub fn carried(steps: &[Step], limits: &Limits) -> u64 {
    let Some(last) = steps.last() else { return 0 };
    let good = steps.iter().rev().find(|step| step.full(limits).is_none());
    match (last.full(limits), good) {
        (None, _) => (last.calls as f64 * limits.load / last.load.max(0.005)) as u64,
        (Some(Full::Load), Some(good)) => {
            let part = (limits.load - good.load) / (last.load - good.load).max(0.001);
            good.calls + ((last.calls - good.calls) as f64 * part.clamp(0.0, 1.0)) as u64
        }
        (Some(Full::Load), None) => (last.calls as f64 * limits.load / last.load) as u64,
        (Some(_), Some(good)) => good.calls,
        (Some(_), None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which waking up costs 5 % and a call 0.7 %.
    fn machine(calls: u64) -> Step {
        let load = 0.05 + 0.007 * calls as f64;
        let mut delays = Histogram::default();
        delays.add(Duration::from_millis(1));
        Step {
            calls,
            load,
            call_cpu: Duration::from_secs_f64(load / calls as f64 / 50.0),
            missing: 0.0,
            to_phone: delays,
            to_meta: delays,
            memory: 0,
        }
    }

    fn climb(limits: &Limits, measure: impl Fn(u64) -> Step) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(calls) = next(&steps, limits, 1) {
            steps.push(measure(calls));
            assert!(steps.len() < 20, "{steps:?}");
        }
        steps
    }

    #[test]
    fn a_few_steps_find_how_many_calls_fit() {
        let limits = Limits::default();
        let steps = climb(&limits, machine);
        assert!(steps.len() <= 10, "{} steps", steps.len());
        assert!(steps.windows(2).all(|pair| pair[0].calls < pair[1].calls));
        // (0.85 - 0.05) / 0.007
        assert!((112..=115).contains(&carried(&steps, &limits)), "{}", carried(&steps, &limits));
    }

    #[test]
    fn a_delay_that_grows_before_the_load_does_ends_the_climb() {
        let limits = Limits::default();
        let late = |calls| {
            let mut step = machine(calls);
            if calls > 50 {
                step.to_meta = Histogram::default();
                step.to_meta.add(Duration::from_millis(40));
            }
            step
        };
        let steps = climb(&limits, late);
        assert_eq!(steps.last().unwrap().full(&limits), Some(Full::Delay));
        assert!(carried(&steps, &limits) <= 50);
    }

    #[test]
    fn a_climb_that_is_cut_short_says_where_it_was_heading() {
        let limits = Limits::default();
        assert_eq!(carried(&[machine(50)], &limits), 106, "a little low: calls grow cheaper");
        assert_eq!(carried(&[], &limits), 0);
        assert_eq!(carried(&[machine(150)], &limits), 115, "too many in the first step");
    }
}
