//! Random histories of two gateways on one store against a Meta of plain lists, on a virtual clock: never a call that
//! Meta would refuse, never a refusal that Meta would allow, except by a rule of the house or for a call in flight.
//!
//! `CORDBOARD_POLICY_STEPS` makes it longer (all four together), `CORDBOARD_POLICY_SEED` begins elsewhere.

use super::meta::{Code, Leave, Limits, Meta, Stage, Told};
use super::*;
use crate::id::PhoneNumberId;
use crate::policy::{
    Ask, AskReason, Attempt, Cap, Decision, Denial, DenialReason, Hours, LedgerSource, Maker, RequestRules,
    Rules, Stands, Unavailable,
};
use crate::random::Random;
use crate::whatsapp::{PermissionReply, PermissionResponse, ReplySource};

const LIMITS: Limits =
    Limits { pair_calls: 2, initiations: 6, concurrent: 3, day: 100_000, week: 700_000, misses: 4 };
const NUMBERS: usize = 3;
const USERS: usize = 6;
/// The number of a country without business-initiated calls.
const BLOCKED: usize = 2;

/// Which rules the house has switched on: each history has its own, or the house would hide Meta's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum House {
    /// All but business hours.
    Strict,
    /// None: Meta's rules alone.
    Open,
    /// Business hours too, by turns with none; no template.
    Hours,
}

fn rules(house: House, number: usize, now: i64) -> Rules {
    let window = Duration::from_millis(LIMITS.day.unsigned_abs());
    let week = Duration::from_millis(LIMITS.week.unsigned_abs());
    let cap = |max: usize| Cap { max: u32::try_from(max).expect("small"), window };
    Rules {
        per_number: (house != House::Open).then(|| cap(4)),
        per_pair: Some(cap(LIMITS.pair_calls)),
        initiations: Some(cap(LIMITS.initiations)),
        concurrent: Some(u32::try_from(LIMITS.concurrent).expect("small")),
        reservation_life: Duration::from_millis(5000),
        country: if number == BLOCKED { Unavailable::always() } else { Unavailable::default() },
        barred_prefixes: if house == House::Open { Vec::new() } else { vec!["5521955000005".into()] },
        unanswered_stop: (house == House::Strict).then_some(3),
        hours: match house == House::Hours && now % 3000 < 500 {
            true => Hours::Held { opens: None },
            false => Hours::Unheld,
        },
        requests: RequestRules { short: cap(1), long: Cap { max: 2, window: week } },
        ..Rules::default()
    }
}

fn number_id(number: usize) -> PhoneNumberId {
    format!("{}", 1_000_000 + number).as_str().into()
}

/// A call of a gateway that is not over.
struct Open {
    gateway: usize,
    number: usize,
    user: usize,
    by_business: bool,
}

struct World {
    house: House,
    random: Random,
    now: i64,
    meta: Meta,
    gateways: [Store; 2],
    open: std::collections::BTreeMap<u64, Open>,
    /// Reservations of a gateway that died before it dialled: nobody can know that Meta never heard of them.
    ghosts: Vec<(usize, i64)>,
    next_call: u64,
    next_reply: u64,
    /// What happened how often, so that a test that tests nothing is seen.
    seen: std::collections::BTreeMap<String, u64>,
}

impl World {
    fn pick(&mut self, of: usize) -> usize {
        self.random.below(u32::try_from(of).expect("small")) as usize
    }

    fn note(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    /// Mostly a pair that may call: bars and countries need few tries.
    fn pair(&mut self) -> (usize, usize) {
        let rare = |world: &mut Self, of: usize| {
            if world.random.below(20) == 0 { of - 1 } else { world.pick(of - 1) }
        };
        (rare(self, NUMBERS), rare(self, USERS))
    }

    /// Users are known by number, by scoped id or by both, as it comes.
    fn user(&mut self, user: usize) -> UserId {
        match self.random.below(3) {
            0 => phone(user as u64),
            1 => scoped(user as u64),
            _ => both(user as u64),
        }
    }

    fn wait(&mut self) {
        let edges: Vec<i64> = self.meta.edges().into_iter().filter(|at| *at > self.now).collect();
        let near = |edge: i64, random: &mut Random| edge - 1 + i64::from(random.below(2));
        self.now = match self.random.below(200) {
            0..168 => self.now + i64::from(self.random.below(120)),
            // The nearest edges matter most: the far ones would skip over them.
            168..188 if !edges.is_empty() => {
                near(edges.iter().copied().min().expect("some"), &mut self.random).max(self.now)
            }
            // A far one ends days: seldom, or no day would ever fill up.
            188 if !edges.is_empty() => {
                let at = self.pick(edges.len());
                near(edges[at], &mut self.random).max(self.now)
            }
            _ => self.now + i64::from(self.random.below(3000)),
        };
        self.meta.forget(self.now);
        self.ghosts.retain(|(_, at)| self.now - at < LIMITS.day);
    }

    async fn dial(&mut self) {
        let (gateway, (number, user)) = (self.pick(2), self.pair());
        let id = self.next_call;
        self.next_call += 1;
        let attempt = Attempt { number: number_id(number), user: self.user(user), call: CallId(id) };
        let store = self.gateways[gateway].clone();
        // Sometimes the webhooks are late; then Meta's refusal is what the ledger learns from.
        let fresh = self.random.below(8) > 0;
        if fresh {
            self.deliver().await;
        }
        let rules = rules(self.house, number, self.now);
        let decision = store.reserve(&rules, &attempt, at(self.now)).await.expect("decided");
        let meta = self.meta.may_call(number, user, self.now);
        match (decision, meta) {
            (Decision::Deny(denial), _) if fresh => self.check_denial(number, denial, meta),
            (Decision::Deny(_), _) => self.note("denied by old facts"),
            (Decision::Allow(_), Err(code)) => {
                assert!(!fresh, "Meta would refuse this call: {code:?}");
                store.withdraw(CallId(id)).await.expect("withdrawn");
                self.learn(&store, &attempt, code).await;
            }
            (Decision::Allow(_), Ok(())) => {
                self.note("allowed");
                match self.random.below(12) {
                    // The phone gives up before anything is sent.
                    0 => store.withdraw(CallId(id)).await.expect("withdrawn"),
                    // The gateway dies before anything is sent.
                    1 => self.ghosts.push((number, self.now)),
                    _ => {
                        let user_id = attempt.user.clone();
                        let line = CallRecord {
                            phone_number_id: number_id(number),
                            user: user_id,
                            opened: Wall(self.now),
                            ..record(id)
                        };
                        store.open_record(&line).await.expect("opened");
                        self.meta.connect(id, number, user, self.now).expect("it may");
                        self.open.insert(id, Open { gateway, number, user, by_business: true });
                    }
                }
            }
        }
    }

    /// Meta has refused what old facts allowed: the ledger is corrected, and the next attempt ends here.
    async fn learn(&mut self, store: &Store, attempt: &Attempt, code: Code) {
        self.note(format!("drift {code:?}"));
        let (number, user) = (&attempt.number, &attempt.user);
        match code {
            Code::NoPermission => {
                let (none, source) = (Permission::None, LedgerSource::Refusal);
                store.set_permission(number, user, none, source, Wall(self.now)).await.expect("kept");
            }
            Code::Paused => {
                let line = RestrictionLine {
                    number: Some(number.clone()),
                    kind: "RESTRICTED_BUSINESS_INITIATED_CALLING".into(),
                    reason: Some(RestrictionLine::GUESSED.into()),
                    at: Wall(self.now),
                    until: Some(Wall(self.now + 50)),
                };
                store.note_restriction(&line).await.expect("kept");
            }
            other => panic!("{other:?} needs no webhook to be known"),
        }
        let again = Attempt { call: CallId(self.next_call), ..attempt.clone() };
        self.next_call += 1;
        let rules = Rules { hours: Hours::Unheld, ..rules(self.house, 0, self.now) };
        let decision = store.reserve(&rules, &again, at(self.now)).await.expect("decided");
        let Decision::Deny(denial) = decision else { panic!("{code:?} was not learnt") };
        assert!(matches!(denial.reason, DenialReason::NoPermission | DenialReason::Restricted), "{denial:?}");
    }

    fn check_denial(&mut self, number: usize, denial: Denial, meta: Result<(), Code>) {
        let Denial { reason, stands, .. } = denial;
        self.note(format!("denied {}", reason.label()));
        if meta.is_err() || reason.maker() == Maker::House {
            return;
        }
        let ghost = self.ghosts.iter().any(|(of, _)| *of == number);
        let excused = stands == Stands::Reservation || (ghost && reason == DenialReason::Initiations);
        assert!(excused, "Meta would allow what {reason:?} forbids");
        self.note("excused");
    }

    /// Something happens to a call that is not over.
    async fn progress(&mut self) {
        let Some((id, gateway)) = self.any_open() else { return };
        let store = self.gateways[gateway].clone();
        let Some(call) = self.meta.calls.get(&id).copied() else { return };
        match (call.stage, self.random.below(4)) {
            (Stage::Dialling, 0..3) => {
                self.meta.ring(id);
                store.rang(CallId(id), Wall(self.now)).await.expect("rang");
            }
            (Stage::Ringing, 0..3) => {
                self.meta.pick_up(id, self.now);
                if call.by_business {
                    store.connected(CallId(id), Wall(self.now)).await.expect("connected");
                } else {
                    self.answer_user(id).await;
                }
            }
            _ => self.end(id).await,
        }
    }

    fn any_open(&mut self) -> Option<(u64, usize)> {
        let at = self.pick(self.open.len().max(1));
        self.open.iter().nth(at).map(|(id, open)| (*id, open.gateway))
    }

    async fn answer_user(&mut self, id: u64) {
        let store = self.gateways[self.open[&id].gateway].clone();
        let line = CallRecord { answered: Some(Wall(self.now)), ..self.user_record(id) };
        store.open_record(&line).await.expect("kept");
    }

    fn user_record(&self, id: u64) -> CallRecord {
        let open = &self.open[&id];
        CallRecord {
            phone_number_id: number_id(open.number),
            direction: CallDirection::UserInitiated,
            user: phone(open.user as u64),
            opened: Wall(self.now),
            ..record(id)
        }
    }

    /// Both sides end a call.
    async fn end(&mut self, id: u64) {
        self.meta.end(id, self.now);
        let Some(open) = self.open.remove(&id) else { return };
        let store = self.gateways[open.gateway].clone();
        let line = CallRecord {
            phone_number_id: number_id(open.number),
            user: phone(open.user as u64),
            ended: Some(Wall(self.now)),
            ..record(id)
        };
        store.close_record(&line).await.expect("closed");
        self.note(if open.by_business { "ended" } else { "user's call ended" });
    }

    async fn user_calls(&mut self) {
        let (gateway, (number, user)) = (self.pick(2), self.pair());
        let id = self.next_call;
        self.next_call += 1;
        if self.meta.user_calls(id, number, user) {
            self.open.insert(id, Open { gateway, number, user, by_business: false });
            let line = self.user_record(id);
            self.gateways[gateway].open_record(&line).await.expect("opened");
            self.note("user called");
        }
    }

    async fn ask(&mut self) {
        let (gateway, (number, user)) = (self.pick(2), self.pair());
        self.deliver().await;
        let template = self.house != House::Hours;
        let ask = Ask { number: number_id(number), user: self.user(user), template };
        let store = self.gateways[gateway].clone();
        let rules = rules(self.house, number, self.now);
        let decided = store.ask(&rules, &ask, None, Wall(self.now)).await.expect("decided");
        let meta = self.meta.may_ask(number, user, self.now);
        match decided {
            Ok((id, _)) => {
                assert_eq!(meta, Ok(()), "Meta would refuse this request");
                self.note("asked");
                if self.random.below(5) == 0 {
                    store.request_refused(id).await.expect("noted");
                } else {
                    self.meta.request(number, user, self.now).expect("it may");
                    let message = format!("wamid.{}", id.0);
                    store.request_taken(id, &message, Wall(self.now)).await.expect("noted");
                    // A pick-up of the same millisecond has no place before or after it: the store counts the request.
                    self.now += 1;
                }
            }
            Err(denial) => {
                self.note(denial.reason.label());
                let unworded = denial.reason == AskReason::NoTemplate && !template;
                assert!(meta.is_err() || unworded, "Meta would allow what {:?} forbids", denial.reason);
            }
        }
    }

    fn user_decides(&mut self) {
        let (number, user) = self.pair();
        let asked = self.random.below(2) == 0;
        let leave = match self.random.below(5) {
            0..3 => Leave::Always,
            3 => Leave::Until(self.now + LIMITS.week),
            _ => Leave::Never,
        };
        self.meta.decide(number, user, leave, asked, self.now);
    }

    /// What Meta told, in any order and some of it twice; what is of one moment stays as it was said.
    fn posted(&mut self) -> Vec<(usize, usize, i64, Told)> {
        let mut posts = std::mem::take(&mut self.meta.outbox);
        for at in 1..posts.len() {
            if posts[at - 1].2 != posts[at].2 && self.random.below(2) == 0 {
                posts.swap(at - 1, at);
                self.note("webhooks out of order");
            }
        }
        if self.random.below(4) == 0 && !posts.is_empty() {
            let again = self.pick(posts.len());
            let of_its_moment = posts.iter().filter(|it| it.2 == posts[again].2).count();
            if of_its_moment == 1 {
                posts.push(posts[again]);
                self.note("webhook twice");
            }
        }
        posts
    }

    /// Webhooks arrive: what is decided then, is decided by fresh facts.
    async fn deliver(&mut self) {
        for (number, user, when, told) in self.posted() {
            let gateway = self.pick(2);
            let store = self.gateways[gateway].clone();
            let (response, source, context) = match told {
                Told::Granted { until, by_call } => (
                    PermissionResponse::Granted { until: until.map(Wall) },
                    if by_call { ReplySource::Automatic } else { ReplySource::UserAction },
                    Some("wacid.or.wamid".to_owned()),
                ),
                Told::Declined => {
                    (PermissionResponse::Declined, ReplySource::UserAction, Some("wamid".into()))
                }
                Told::Revoked { automatic: true } => {
                    (PermissionResponse::Declined, ReplySource::Automatic, None)
                }
                Told::Revoked { .. } => (PermissionResponse::Declined, ReplySource::UserAction, None),
                Told::Restricted { until } => {
                    let line = RestrictionLine {
                        number: Some(number_id(number)),
                        kind: "RESTRICTED_BUSINESS_INITIATED_CALLING".into(),
                        reason: None,
                        at: Wall(when),
                        until: Some(Wall(until)),
                    };
                    store.note_restriction(&line).await.expect("kept");
                    continue;
                }
            };
            self.next_reply += 1;
            let reply = PermissionReply {
                id: format!("wamid.reply{}", self.next_reply),
                number: number_id(number),
                user: self.user(user),
                at: Wall(when),
                response,
                source,
                context,
            };
            store.note_reply(&reply).await.expect("kept");
        }
    }

    /// A gateway dies and starts again: what it had up is ended on both sides.
    async fn crash(&mut self) {
        let gateway = self.pick(2);
        let left: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.gateway == gateway).map(|(id, _)| *id).collect();
        for id in left {
            self.end(id).await;
        }
        self.note("crash");
    }

    async fn step(&mut self) {
        self.wait();
        match self.random.below(100) {
            0..34 => self.dial().await,
            34..66 => self.progress().await,
            66..74 => self.user_calls().await,
            74..84 => self.ask().await,
            84..92 => self.user_decides(),
            92..98 => {
                let (number, user) = self.pair();
                let user = self.user(user);
                let (store, now) = (&self.gateways[0], Wall(self.now));
                store.override_run(&number_id(number), &user, "a test", now).await.expect("kept");
            }
            98 => {
                let (number, span) = (self.pick(NUMBERS), i64::from(self.random.below(2000)));
                // Meta's stamps are whole; two restrictions of one moment would be one.
                self.now += 1;
                self.meta.pause(number, self.now + span, self.now);
            }
            _ => self.crash().await,
        }
    }
}

async fn play(seed: u64, steps: u64) -> std::collections::BTreeMap<String, u64> {
    let (directory, one) = fresh().await;
    let two = open(&directory).await;
    // Webhooks have shown both ids of everybody.
    for user in 0..USERS as u64 {
        let number = number_id(0);
        one.set_permission(&number, &both(user), Permission::None, LedgerSource::Operator, Wall(0))
            .await
            .expect("set");
    }
    let house = [House::Strict, House::Open, House::Hours][(seed % 3) as usize];
    let mut world = World {
        house,
        random: Random::from_number(seed),
        now: 1_000_000,
        meta: Meta::new(LIMITS, vec![BLOCKED]),
        gateways: [one, two],
        open: std::collections::BTreeMap::new(),
        ghosts: Vec::new(),
        next_call: 1,
        next_reply: 0,
        seen: std::collections::BTreeMap::new(),
    };
    for step in 0..steps {
        tracing::trace!(seed, step);
        world.step().await;
    }
    for store in &world.gateways {
        store.close().await;
    }
    world.seen
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// A quarter of the histories, so that they run beside each other. Each begins anew after some steps: a seed that
/// fails is then short enough to be looked into.
async fn quarter(part: u64) {
    const LENGTH: u64 = 2500;
    let steps = setting("CORDBOARD_POLICY_STEPS", 10_000) / 4;
    let first = setting("CORDBOARD_POLICY_SEED", 1) + part * 1_000_000;
    let mut seen = std::collections::BTreeMap::new();
    for history in 0..steps.div_ceil(LENGTH) {
        let told = play(first + history, LENGTH.min(steps)).await;
        for (what, count) in told {
            *seen.entry(what).or_insert(0) += count;
        }
    }
    judge(steps, &seen);
}

#[tokio::test]
async fn no_history_ends_in_a_call_that_meta_refuses_or_a_refusal_that_meta_would_not_make() {
    quarter(0).await;
}

#[tokio::test]
async fn no_second_history_ends_in_a_call_that_meta_refuses_or_a_refusal_that_meta_would_not_make() {
    quarter(1).await;
}

#[tokio::test]
async fn no_third_history_ends_in_a_call_that_meta_refuses_or_a_refusal_that_meta_would_not_make() {
    quarter(2).await;
}

#[tokio::test]
async fn no_fourth_history_ends_in_a_call_that_meta_refuses_or_a_refusal_that_meta_would_not_make() {
    quarter(3).await;
}

/// A history that meets no rule proves none: short ones meet the everyday ones, long ones all.
fn judge(steps: u64, seen: &std::collections::BTreeMap<String, u64>) {
    let everyday = ["allowed", "asked", "ended", "crash", "denied no_permission", "denied one_call_per_pair"];
    let long = ["excused", "user called", "denied by old facts", "webhooks out of order", "webhook twice"];
    let mut wanted: Vec<String> = everyday.map(str::to_owned).to_vec();
    if steps >= 25_000 {
        wanted.extend(long.map(str::to_owned));
        wanted.extend([Code::NoPermission, Code::Paused].map(|code| format!("drift {code:?}")));
        let reasons = DenialReason::ALL.iter().filter(|it| it.maker() != Maker::Nobody);
        wanted.extend(reasons.map(|it| format!("denied {}", it.label())));
        wanted.extend(AskReason::ALL.map(|it| it.label().to_owned()));
    }
    wanted.retain(|what| !seen.contains_key(what));
    assert!(wanted.is_empty(), "no history came to {wanted:?}: {seen:#?}");
    tracing::info!(steps, ?seen);
}
