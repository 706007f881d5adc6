//! How many calls the media threads carry: learnt from their load, so that new calls suffer before old ones.
//!
//! Under pressure the encoders of new calls work with less effort, in steps; then new calls are refused.
//! A call that was taken keeps what it was given. The way down is at once; the way back needs calm, so
//! that a load near a limit does not swing.

use std::time::{Duration, Instant};

/// Calls that one thread takes before the next one gets any, as long as its load is low.
///
/// Twenty calls on one thread cost a quarter less processor time than on two (`scripts/bench`): fewer
/// wake-ups, warmer caches.
const FILLED_CALLS: u32 = 40;
/// A thread this busy is filled as well: about what 40 transcoded calls cost.
const FILLED_LOAD: f64 = 0.33;
/// Loads that differ by less are the same; the number of calls decides.
const GRAIN: f64 = 0.05;
/// What a talking call costs until it is learnt, as a share of a processor: 160 µs per 20 ms.
const UNLEARNT_COST: f64 = 0.008;
/// Fewer talking calls say little about what one costs: most of the load is then that of waking up.
const TELLING: u32 = 5;
/// Weight of a new measurement of the cost, about one a second.
const LEARNING: f64 = 0.2;
/// No measurement moves the cost outside of this.
const COSTS: (f64, f64) = (0.0005, 0.05);
/// A state is left when the load is below this share of the limit at which it was entered …
const RELIEF: f64 = 0.88;
/// … and has been for so long.
const CALM: Duration = Duration::from_secs(5);
/// Measurements of all threads within less than this are one.
const LESSON: Duration = Duration::from_millis(900);
/// So many measurements in a row must lag before new calls are refused for it: fewer may be the kernel's doing.
const LAGS: u32 = 3;

/// When new calls get less, and when they are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CapacityLimits {
    /// Load of the least loaded thread, 0 to 1, from which new calls are encoded with less effort.
    pub economy_at: f64,
    /// Load of the least loaded thread, 0 to 1, from which new calls are refused.
    pub refuse_at: f64,
    /// New calls are also refused when even the most punctual thread is later than this.
    pub refuse_lag: Duration,
}

impl Default for CapacityLimits {
    /// 60 %, 85 %, and the 60 ms that the buffer of a phone hides.
    fn default() -> Self {
        Self { economy_at: 0.6, refuse_at: 0.85, refuse_lag: Duration::from_millis(60) }
    }
}

/// The load of one media thread, as it measured itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerLoad {
    /// Share of the last second in which it was awake, 0 to 1.
    pub utilisation: f64,
    /// How late it did the most belated thing of that second.
    pub lag: Duration,
    /// Calls that talked in that second.
    pub talking: u32,
    /// All its calls at this moment.
    pub calls: u32,
    /// How many measurements it has made; the same number is the same measurement.
    pub measured: u64,
}

/// How a new call is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CapacityState {
    /// With full effort.
    #[default]
    Normal,
    /// Its encoder works with less effort.
    Economical,
    /// Its encoder works with the least effort.
    Frugal,
    /// It is refused.
    Refusing,
}

impl CapacityState {
    /// All of them, from calm to pressed.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Economical, Self::Frugal, Self::Refusing];

    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Economical => "economical",
            Self::Frugal => "frugal",
            Self::Refusing => "refusing",
        }
    }

    /// The Opus encoder's complexity for a call that is opened now.
    ///
    /// Behind G.711, 5 scores the same PESQ as 10; 3 saves a fifth of the encoder's time for 0.02 of PESQ
    /// (`EncoderSettings`), 1 saves more; `cargo bench --bench stages` prints by how much.
    #[must_use]
    pub const fn complexity(self) -> u8 {
        match self {
            Self::Normal => 5,
            Self::Economical => 3,
            // What was promised before the refusals began still comes in.
            Self::Frugal | Self::Refusing => 1,
        }
    }
}

/// The model: fed with measurements, asked at every new call.
#[derive(Clone, Debug)]
pub struct Capacity {
    limits: CapacityLimits,
    state: CapacityState,
    /// What a talking call costs on a thread, as a share of a processor.
    cost: f64,
    /// Since when the load allows a calmer state.
    calm_since: Option<Instant>,
    /// Measurements in a row, of all threads, that were late.
    lags: u32,
    seen: u64,
    learnt: Option<Instant>,
}

impl Capacity {
    /// Nothing learnt yet.
    #[must_use]
    pub fn new(limits: CapacityLimits) -> Self {
        let state = CapacityState::Normal;
        Self { limits, state, cost: UNLEARNT_COST, calm_since: None, lags: 0, seen: 0, learnt: None }
    }

    /// Takes in the threads' loads and says how a call that comes now is treated.
    pub fn judge(&mut self, now: Instant, workers: &[WorkerLoad]) -> CapacityState {
        self.learn(now, workers);
        let wanted = self.wanted(workers, 1.0);
        if wanted > self.state {
            self.state = wanted;
        }
        // A load that has only just fallen below a limit would be back in a moment.
        let allowed = self.wanted(workers, RELIEF);
        if allowed >= self.state {
            self.calm_since = None;
        } else if now.saturating_duration_since(*self.calm_since.get_or_insert(now)) >= CALM {
            self.state = allowed;
            self.calm_since = None;
        }
        self.state
    }

    fn learn(&mut self, now: Instant, workers: &[WorkerLoad]) {
        let seen = workers.iter().map(|worker| worker.measured).sum();
        // Each thread measures once a second, in its own time: one round of all of them is one lesson.
        let soon = self.learnt.is_some_and(|at| now.saturating_duration_since(at) < LESSON);
        if seen == self.seen || soon {
            return;
        }
        (self.seen, self.learnt) = (seen, Some(now));
        let punctual = workers.iter().map(|worker| worker.lag).min().unwrap_or_default();
        self.lags = if punctual > self.limits.refuse_lag { self.lags.saturating_add(1) } else { 0 };
        let talking: u32 = workers.iter().map(|worker| worker.talking).sum();
        if talking >= TELLING {
            let busy: f64 = workers.iter().filter(|it| it.talking > 0).map(|worker| worker.utilisation).sum();
            let measured = (busy / f64::from(talking)).clamp(COSTS.0, COSTS.1);
            self.cost += LEARNING * (measured - self.cost);
        }
    }

    /// The state that the load asks for, with all limits at this share of theirs.
    fn wanted(&self, workers: &[WorkerLoad], share: f64) -> CapacityState {
        let Some(load) = workers.iter().map(|worker| self.expected(worker)).min_by(f64::total_cmp) else {
            return CapacityState::Normal;
        };
        let CapacityLimits { economy_at, refuse_at, .. } = self.limits;
        // With the call that comes.
        let load = (load + self.cost) / share;
        if load > refuse_at || self.lags >= LAGS {
            CapacityState::Refusing
        } else if load > f64::midpoint(economy_at, refuse_at) {
            CapacityState::Frugal
        } else if load > economy_at {
            CapacityState::Economical
        } else {
            CapacityState::Normal
        }
    }

    /// The load of a thread once all its calls talk: those that do not yet are counted at what one costs.
    fn expected(&self, worker: &WorkerLoad) -> f64 {
        worker.utilisation + self.cost * f64::from(worker.calls.saturating_sub(worker.talking))
    }

    /// Which thread gets the next call: the first that is not filled, or the least loaded.
    #[must_use]
    pub fn place(&self, workers: &[WorkerLoad]) -> Option<usize> {
        let late = |worker: &WorkerLoad| worker.lag > self.limits.refuse_lag;
        let room = |worker: &WorkerLoad| {
            worker.calls < FILLED_CALLS && self.expected(worker) < FILLED_LOAD && !late(worker)
        };
        let grains = |worker: &WorkerLoad| (self.expected(worker) / GRAIN) as u32;
        let least = workers.iter().enumerate().min_by_key(|(_, it)| (late(it), grains(it), it.calls));
        workers.iter().position(room).or(least.map(|(at, _)| at))
    }

    /// The state as it was last judged.
    #[must_use]
    pub const fn state(&self) -> CapacityState {
        self.state
    }

    /// What a talking call costs as a share of a processor, as learnt.
    #[must_use]
    pub const fn cost(&self) -> f64 {
        self.cost
    }

    /// Calls that `workers` threads carry before new ones are refused, as far as is known.
    #[must_use]
    pub fn calls(&self, workers: usize) -> u64 {
        (self.limits.refuse_at / self.cost * workers as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Threads, second by second.
    struct Scene {
        capacity: Capacity,
        now: Instant,
        measured: u64,
    }

    impl Scene {
        fn new() -> Self {
            let capacity = Capacity::new(CapacityLimits::default());
            Self { capacity, now: Instant::now(), measured: 0 }
        }

        fn talking(&self, utilisation: f64, calls: u32) -> WorkerLoad {
            WorkerLoad {
                utilisation,
                talking: calls,
                calls,
                measured: self.measured,
                ..WorkerLoad::default()
            }
        }

        /// A second later, all of `calls` talking on one thread.
        fn second(&mut self, utilisation: f64, calls: u32) -> CapacityState {
            self.now += SECOND;
            self.measured += 1;
            let load = self.talking(utilisation, calls);
            self.capacity.judge(self.now, &[load])
        }

        fn seconds(&mut self, count: u32, utilisation: f64, calls: u32) -> CapacityState {
            (0..count).map(|_| self.second(utilisation, calls)).last().unwrap()
        }
    }

    #[test]
    fn under_pressure_new_calls_get_less_effort_in_steps_and_then_none_are_taken() {
        let mut scene = Scene::new();
        let states = [0.3, 0.58, 0.62, 0.70, 0.74, 0.80, 0.86].map(|load| {
            let state = scene.second(load, (load * 125.0) as u32);
            (state, state.complexity())
        });
        use CapacityState::{Economical, Frugal, Normal, Refusing};
        let wanted = [
            (Normal, 5),
            (Normal, 5),
            (Economical, 3),
            (Economical, 3),
            (Frugal, 1),
            (Frugal, 1),
            (Refusing, 1),
        ];
        assert_eq!(states, wanted);
    }

    #[test]
    fn a_state_is_left_only_well_below_its_limit_and_after_five_seconds_there() {
        let mut scene = Scene::new();
        assert_eq!(scene.second(0.9, 110), CapacityState::Refusing);
        assert_eq!(
            scene.seconds(60, 0.80, 100),
            CapacityState::Refusing,
            "below the limit, but not well below"
        );
        assert_eq!(scene.seconds(5, 0.70, 88), CapacityState::Refusing);
        assert_eq!(scene.second(0.90, 112), CapacityState::Refusing, "the calm was interrupted");
        assert_eq!(scene.seconds(5, 0.70, 88), CapacityState::Refusing);
        assert_eq!(scene.second(0.70, 88), CapacityState::Frugal);
        assert_eq!(scene.seconds(6, 0.10, 12), CapacityState::Normal);
    }

    #[test]
    fn a_load_near_a_limit_does_not_swing() {
        let mut scene = Scene::new();
        let states: Vec<_> = (0..100)
            .map(|at| if at % 2 == 0 { scene.second(0.84, 105) } else { scene.second(0.86, 108) })
            .collect();
        let changes = states.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 1, "{states:?}");
    }

    #[test]
    fn calls_that_do_not_talk_yet_count_at_what_a_talking_one_costs() {
        let mut scene = Scene::new();
        scene.seconds(30, 0.40, 40);
        assert!((scene.capacity.cost() - 0.01).abs() < 0.0005, "{}", scene.capacity.cost());
        // A burst inside one second: nothing of it has been measured.
        let ringing = |calls: u32| WorkerLoad { calls: 40 + calls, ..scene.talking(0.40, 40) };
        let mut capacity = scene.capacity.clone();
        assert_eq!(capacity.judge(scene.now, &[ringing(18)]), CapacityState::Normal);
        assert_eq!(capacity.judge(scene.now, &[ringing(25)]), CapacityState::Economical);
        assert_eq!(capacity.judge(scene.now, &[ringing(45)]), CapacityState::Refusing);
        assert_eq!(scene.capacity.calls(2), 170, "0.85 of two threads at 1 % a call");
    }

    #[test]
    fn one_thread_with_room_is_enough_to_take_calls() {
        let mut scene = Scene::new();
        let (full, free) = (scene.talking(0.95, 110), scene.talking(0.20, 25));
        assert_eq!(scene.capacity.judge(scene.now, &[full, free]), CapacityState::Normal);
        assert_eq!(scene.capacity.judge(scene.now, &[full, full]), CapacityState::Refusing);
    }

    #[test]
    fn a_thread_that_stays_late_refuses_calls_and_a_late_second_or_two_do_not() {
        let mut scene = Scene::new();
        let mut late = |lag: u64| {
            scene.now += SECOND;
            scene.measured += 1;
            let load = WorkerLoad { lag: Duration::from_millis(lag), ..scene.talking(0.2, 20) };
            // Asked twice in one second: it is still one measurement.
            scene.capacity.judge(scene.now, &[load]);
            scene.capacity.judge(scene.now, &[load])
        };
        assert_eq!([late(61), late(61), late(60)], [CapacityState::Normal; 3]);
        assert_eq!([late(61), late(90)], [CapacityState::Normal; 2]);
        assert_eq!(late(61), CapacityState::Refusing);
        assert_eq!((0..5).map(|_| late(1)).last(), Some(CapacityState::Refusing), "5 s of calm begin");
        assert_eq!(late(1), CapacityState::Normal);
    }

    #[test]
    fn a_thread_is_filled_before_the_next_one_gets_calls_and_the_least_loaded_follows() {
        let scene = Scene::new();
        let capacity = &scene.capacity;
        let place = |loads: [(f64, u32); 3]| {
            let loads = loads.map(|(utilisation, calls)| scene.talking(utilisation, calls));
            capacity.place(&loads)
        };
        assert_eq!(place([(0.0, 0), (0.0, 0), (0.0, 0)]), Some(0));
        assert_eq!(place([(0.30, 39), (0.0, 0), (0.0, 0)]), Some(0));
        assert_eq!(
            place([(0.20, 40), (0.0, 0), (0.0, 0)]),
            Some(1),
            "calls that cost little fill it as well"
        );
        assert_eq!(place([(0.34, 20), (0.0, 0), (0.0, 0)]), Some(1), "and few that cost much");
        assert_eq!(place([(0.50, 40), (0.70, 50), (0.35, 60)]), Some(2), "the load counts, not the calls");
        assert_eq!(place([(0.51, 41), (0.53, 40), (0.52, 42)]), Some(1), "the same load: the fewest calls");
        assert_eq!(capacity.place(&[]), None);
        let late = WorkerLoad { lag: Duration::from_millis(61), ..scene.talking(0.1, 10) };
        assert_eq!(capacity.place(&[late, scene.talking(0.7, 90)]), Some(1), "a late one gets nothing");
    }
}
