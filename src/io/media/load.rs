//! How busy and how late a media thread is, from moments it has in hand anyway.

use std::time::{Duration, Instant};

/// How long one measurement lasts.
const WINDOW: Duration = Duration::from_secs(1);
/// Later than this, a worker has fallen behind.
pub(super) const BEHIND: Duration = Duration::from_millis(10);
/// A worker that stays behind says so this often.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// The worst lag of so many windows is shown: longer than between two scrapes.
const SHOWN: usize = 32;

/// What a window came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// Share of the window in which the thread was awake, in thousandths.
    pub(super) permille: u64,
    /// The most belated thing of the window.
    pub(super) lag: Duration,
    /// The most belated thing of the last half minute.
    pub(super) worst_lag: Duration,
    /// Windows in which the thread was behind since that was last said; `Some` when it is to be said.
    pub(super) behind: Option<u32>,
}

/// Adds up what the thread does between waking and sleeping.
#[derive(Debug)]
pub(super) struct LoadMeter {
    began: Instant,
    awake: Duration,
    lag: Duration,
    windows: [Duration; SHOWN],
    at: usize,
    unsaid: u32,
    said: Option<Instant>,
}

impl LoadMeter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            awake: Duration::ZERO,
            lag: Duration::ZERO,
            windows: [Duration::ZERO; SHOWN],
            at: 0,
            unsaid: 0,
            said: None,
        }
    }

    /// Something was done this late.
    pub(super) fn note_lag(&mut self, lag: Duration) {
        self.lag = self.lag.max(lag);
    }

    /// The thread was awake from `woken` to `now`; gives a measurement at the end of a window.
    pub(super) fn note_awake(&mut self, woken: Instant, now: Instant) -> Option<Measured> {
        self.awake += now.saturating_duration_since(woken);
        let lasted = now.saturating_duration_since(self.began);
        if lasted < WINDOW {
            return None;
        }
        let permille = 1000.0 * self.awake.as_secs_f64() / lasted.as_secs_f64();
        self.windows[self.at % SHOWN] = self.lag;
        self.at += 1;
        let worst_lag = self.windows.iter().copied().max().unwrap_or_default();
        if self.lag > BEHIND {
            self.unsaid += 1;
        }
        let due = self.said.is_none_or(|said| now.saturating_duration_since(said) >= SAID_EVERY);
        let behind = (self.unsaid > 0 && due).then(|| std::mem::take(&mut self.unsaid));
        if behind.is_some() {
            self.said = Some(now);
        }
        let measured = Measured { permille: permille.min(1000.0) as u64, lag: self.lag, worst_lag, behind };
        (self.began, self.awake, self.lag) = (now, Duration::ZERO, Duration::ZERO);
        Some(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// `count` windows in which every 10 ms have `awake` of work, the worst of it late by `lag`.
    fn windows(
        meter: &mut LoadMeter,
        now: &mut Instant,
        count: usize,
        awake: Duration,
        lag: Duration,
    ) -> Vec<Measured> {
        let mut measured = Vec::new();
        while measured.len() < count {
            let woken = *now + (10 * MILLI - awake);
            *now += 10 * MILLI;
            meter.note_lag(lag);
            measured.extend(meter.note_awake(woken, *now));
        }
        measured
    }

    #[test]
    fn load_is_the_share_of_time_between_waking_and_sleeping() {
        let mut now = Instant::now();
        let mut meter = LoadMeter::new(now);
        let measured = windows(&mut meter, &mut now, 2, 4 * MILLI, MILLI);
        let wanted = Measured { permille: 400, lag: MILLI, worst_lag: MILLI, behind: None };
        assert_eq!(measured, [wanted; 2]);
        // One sleep of ten seconds is one long window.
        now += 10 * WINDOW;
        let idle = meter.note_awake(now, now).unwrap();
        assert_eq!((idle.permille, idle.lag), (0, Duration::ZERO));
    }

    #[test]
    fn a_worker_that_falls_behind_says_so_once_and_then_once_a_minute() {
        let mut now = Instant::now();
        let mut meter = LoadMeter::new(now);
        let late = windows(&mut meter, &mut now, 60, MILLI, BEHIND + Duration::from_nanos(1));
        let said: Vec<_> = late.iter().map(|it| it.behind).collect();
        assert_eq!(said[0], Some(1));
        assert!(said[1..].iter().all(Option::is_none), "{said:?}");
        let next = windows(&mut meter, &mut now, 1, MILLI, BEHIND);
        assert_eq!(next[0].behind, Some(59), "with what was not said meanwhile");
        assert_eq!(next[0].lag, BEHIND);
        assert!(next[0].worst_lag > BEHIND, "a scrape still sees it");
        let calm = windows(&mut meter, &mut now, SHOWN, MILLI, BEHIND);
        assert_eq!((calm[SHOWN - 1].behind, calm[SHOWN - 1].worst_lag), (None, BEHIND));
    }
}
