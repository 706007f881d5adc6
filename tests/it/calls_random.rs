//! Some thousands of short calls by seed, several at a time, over networks that misbehave.

use std::time::Duration;

use cordboard::call::{Overflow, RingOrder, RingPlan, RingStep};
use cordboard::id::Endpoint;
use cordboard::random::Random;
use cordboard::sip::alert::Alert;
use cordboard::whatsapp::Failure;

use crate::world::meta::{Callee, State as AtMeta};
use crate::world::network::Path;
use crate::world::phone::Manner;
use crate::world::{World, ms};

const PHONES: usize = 4;

/// Some plan: all at once, or up to three steps with some of the phones, short enough to come to their ends.
fn some_plan(random: &mut Random) -> RingPlan {
    let phone = |at: u32| Endpoint::Phone(format!("{}", 1001 + at).into());
    if random.below(3) == 0 {
        return RingPlan::together((0..PHONES as u32).map(phone).collect());
    }
    let steps = (0..=random.below(3)).map(|_| {
        let targets = (0..PHONES as u32).filter(|_| random.below(2) == 0).map(phone).collect();
        let ring = Some(ms((300 + random.below(1500)).into()));
        let order = if random.below(2) == 0 { RingOrder::Together } else { RingOrder::OneByOne };
        RingStep { targets, ring, order, alert: Alert::default() }
    });
    let steps = steps.collect();
    let target = phone(random.below(PHONES as u32));
    let overflow = (random.below(2) == 0).then(|| Overflow { target, kept: Duration::from_secs(5) });
    RingPlan { steps, overflow, ..RingPlan::default() }
}

/// A moment of chance: somebody calls, answers, hangs up, holds, or something breaks.
fn happens(world: &mut World, random: &mut Random) {
    let (now, phone) = (world.now, random.below(PHONES as u32) as usize);
    let digits = format!("55219555001{:02}", random.below(12));
    match random.below(15) {
        14 => world.gateway.ring = some_plan(random),
        0..4 => drop(world.meta.user_calls(now, &digits)),
        4..7 => {
            if world.phones[phone].live().is_empty() {
                world.phones[phone].dial(now.mono, &digits);
            }
        }
        7 | 8 => world.phones[phone].hang_up(now.mono),
        9 => {
            let live: Vec<_> = world.meta.calls.iter().filter(|(_, it)| it.state != AtMeta::Ended).collect();
            if let Some((id, _)) = live.get(random.below(live.len() as u32) as usize) {
                let id = (*id).clone();
                world.meta.hang_up(now, &id);
            }
        }
        10 => {
            let after = ms(random.below(1200).into());
            world.phones[phone].manner = match random.below(5) {
                0 => Manner::Ring,
                1 => Manner::Decline { after, status: 486 },
                _ => Manner::Answer { after },
            };
        }
        11 => {
            let some = |random: &mut Random| Some(ms(random.below(900).into())).filter(|it| *it > ms(150));
            world.meta.callee = Callee {
                connect_after: ms(random.below(300).into()),
                ring_after: some(random),
                answer_after: some(random),
                accepted_after: some(random),
                reject_after: some(random).filter(|it| *it > ms(700)),
                speaks: false,
            };
        }
        12 => world.meta.latency = ms((10 + random.below(500)).into()),
        _ => {
            let action = ["pre_accept", "accept", "connect", "terminate"][random.below(4) as usize];
            let failure = if random.below(2) == 0 { Failure::TimedOut } else { Failure::Unreachable };
            // A request that Meta never saw leaves Meta's call to Meta: it is not ours to count.
            if action != "terminate" && random.below(4) == 0 {
                world.meta.broken.push((action, failure));
            }
        }
    }
}

fn many_calls(seed: u64, moments: usize) -> usize {
    let mut world = World::new(seed, PHONES);
    let mut random = Random::from_number(seed ^ 0x5eed);
    let loss = random.below(3) * 10;
    world.net.sip = Path::rough(loss, 50);
    world.net.meta_media = Path::rough(random.below(10), 30);
    for phone in &mut world.phones {
        phone.manner = Manner::Answer { after: ms(300) };
    }
    for _ in 0..moments {
        happens(&mut world, &mut random);
        world.run(ms(random.below(400).into()));
    }
    // Everybody goes home.
    world.net.sip = Path::clean(5);
    world.meta.broken.clear();
    for phone in &mut world.phones {
        phone.hang_up(world.now.mono);
        phone.manner = Manner::Decline { after: ms(10), status: 486 };
    }
    let live: Vec<_> = world.meta.calls.iter().filter(|(_, it)| it.state != AtMeta::Ended).collect();
    let live: Vec<_> = live.into_iter().map(|(id, _)| id.clone()).collect();
    for id in live {
        world.meta.hang_up(world.now, &id);
    }
    // A call whose far ends are both gone without a word ends for want of media, after a minute.
    world.run(Duration::from_secs(120));
    let calls = world.gateway.ledger.closed.len();
    world.assert_clean(calls);
    calls
}

fn seeds(range: std::ops::Range<u64>, least: usize) {
    let calls: usize = range.map(|seed| many_calls(seed, 120)).sum();
    assert!(calls >= least, "{calls} calls");
}

#[test]
fn every_call_ends_once_and_leaves_nothing_first_half() {
    seeds(0..10, 300);
}

#[test]
fn every_call_ends_once_and_leaves_nothing_second_half() {
    seeds(10..20, 300);
}

/// None by default; `CORDBOARD_SEEDS=80` plays thousands of calls more, for a night.
#[test]
fn every_call_ends_once_and_leaves_nothing_for_as_many_seeds_as_asked() {
    let asked = std::env::var("CORDBOARD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    seeds(1000..1000 + asked, 20);
}
