//! Permission queries: how many a second, and for how long an answer is good. No clock of its own.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::id::PhoneNumberId;
use crate::user::UserId;
use crate::whatsapp::LivePermission;

const SECOND: Duration = Duration::from_secs(1);
/// More answers than this are not kept; they are good for seconds only.
const KEPT: usize = 10_000;

/// At most so many queries in any second, per business number.
#[derive(Debug, Default)]
pub(super) struct QueryLimiter {
    rate: usize,
    /// When the last `rate` queries were or will be sent.
    sent: HashMap<PhoneNumberId, VecDeque<Instant>>,
    paused: HashMap<PhoneNumberId, Instant>,
}

impl QueryLimiter {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: rate.max(1) as usize, sent: HashMap::new(), paused: HashMap::new() }
    }

    /// How long to wait for one's turn, which is taken; `Err` with the moment of a turn that comes too late.
    pub(super) fn turn(
        &mut self,
        number: &PhoneNumberId,
        now: Instant,
        patience: Duration,
    ) -> Result<Duration, Instant> {
        let sent = self.sent.entry(number.clone()).or_default();
        let free = if sent.len() < self.rate { now } else { sent.front().map_or(now, |it| *it + SECOND) };
        let paused = self.paused.get(number).copied().unwrap_or(now);
        let at = now.max(free).max(paused);
        if at > now + patience {
            return Err(at);
        }
        if sent.len() >= self.rate {
            sent.pop_front();
        }
        sent.push_back(at);
        Ok(at - now)
    }

    /// Graph said 429: nothing before `until`.
    pub(super) fn pause(&mut self, number: &PhoneNumberId, until: Instant) {
        self.paused.insert(number.clone(), until);
    }
}

/// The last answers.
#[derive(Debug, Default)]
pub(super) struct PermissionCache {
    life: Duration,
    known: HashMap<(PhoneNumberId, UserId), (LivePermission, Instant)>,
}

impl PermissionCache {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, known: HashMap::new() }
    }

    pub(super) fn get(&self, number: &PhoneNumberId, user: &UserId, now: Instant) -> Option<LivePermission> {
        let (live, at) = self.known.get(&(number.clone(), user.clone()))?;
        (now < *at + self.life).then_some(*live)
    }

    pub(super) fn put(&mut self, number: &PhoneNumberId, user: &UserId, live: LivePermission, now: Instant) {
        if self.known.len() >= KEPT {
            let life = self.life;
            self.known.retain(|_, (_, at)| now < *at + life);
        }
        if self.known.len() < KEPT {
            self.known.insert((number.clone(), user.clone()), (live, now));
        }
    }

    /// Forgets every answer about whoever shares an id with `user`.
    pub(super) fn forget(&mut self, number: &PhoneNumberId, user: &UserId) {
        self.known.retain(|(of, other), _| {
            let same_phone = user.phone().is_some() && user.phone() == other.phone();
            let same_scoped = user.scoped().is_some() && user.scoped() == other.scoped();
            of != number || !(same_phone || same_scoped)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Msisdn;
    use crate::whatsapp::LiveStatus;

    #[test]
    fn no_second_sees_more_queries_than_the_rate_and_numbers_do_not_share_it() {
        let (one, other) = (PhoneNumberId::from("1"), PhoneNumberId::from("2"));
        let mut limiter = QueryLimiter::new(5);
        let start = Instant::now();
        let mut sent: Vec<Duration> = (0..12_u32)
            .map(|n| {
                let now = start + Duration::from_millis(50) * n;
                now - start + limiter.turn(&one, now, Duration::from_secs(9)).expect("a turn")
            })
            .collect();
        sent.sort();
        for window in sent.windows(6) {
            assert!(window[5] - window[0] >= SECOND, "{sent:?}");
        }
        assert_eq!(limiter.turn(&other, start, Duration::ZERO), Ok(Duration::ZERO));
    }

    #[test]
    fn a_turn_that_comes_too_late_is_refused_and_not_taken() {
        let number = PhoneNumberId::from("1");
        let mut limiter = QueryLimiter::new(1);
        let start = Instant::now();
        assert_eq!(limiter.turn(&number, start, Duration::ZERO), Ok(Duration::ZERO));
        assert_eq!(limiter.turn(&number, start, Duration::from_millis(999)), Err(start + SECOND));
        assert_eq!(limiter.turn(&number, start, SECOND), Ok(SECOND));
        limiter.pause(&number, start + SECOND * 5);
        assert_eq!(limiter.turn(&number, start + SECOND * 2, SECOND), Err(start + SECOND * 5));
    }

    #[test]
    fn an_answer_is_good_for_its_life_and_until_something_changes() {
        let number = PhoneNumberId::from("1");
        let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
        let live = LivePermission {
            status: LiveStatus::Permanent,
            expires: None,
            can_start: true,
            start_limit_until: None,
        };
        let mut cache = PermissionCache::new(SECOND);
        let now = Instant::now();
        cache.put(&number, &user, live, now);
        let nearly = now + SECOND - Duration::from_nanos(1);
        assert_eq!(cache.get(&number, &user, nearly), Some(live));
        assert_eq!(cache.get(&number, &user, now + SECOND), None);
        cache.forget(&number, &user);
        assert_eq!(cache.get(&number, &user, now), None);
    }
}
