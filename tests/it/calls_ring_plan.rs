//! Stories of ring plans, through the whole stack on a virtual clock.

use std::collections::BTreeSet;
use std::time::Duration;

use cordboard::call::{HangupCause, Overflow, RingOrder, RingPlan, RingStep};
use cordboard::id::Endpoint;
use cordboard::sip::alert::Alert;

use crate::world::gateway::{elsewhere, label};
use crate::world::phone::{Manner, State};
use crate::world::{USER, World, ms};

fn phone(at: usize) -> Endpoint {
    Endpoint::Phone(format!("{}", 1001 + at).into())
}

/// Each phone by itself for `seconds`, the first one first.
fn in_turn(phones: usize, seconds: u64) -> RingPlan {
    let targets = (0..phones).map(phone).collect();
    let step = RingStep {
        targets,
        ring: Some(Duration::from_secs(seconds)),
        order: RingOrder::OneByOne,
        alert: Alert::default(),
    };
    RingPlan { steps: vec![step], ..RingPlan::default() }
}

/// A world of registered phones that ring in turn; nobody has called yet.
fn world_in_turn(seed: u64, phones: usize, seconds: u64) -> World {
    let mut world = World::new(seed, phones);
    world.gateway.ring = in_turn(phones, seconds);
    world
}

/// Who the record says has answered.
fn answered_by(world: &World) -> Option<Endpoint> {
    world.gateway.ledger.closed.last().and_then(|it| it.endpoint.clone())
}

#[test]
fn a_busy_and_a_declining_phone_give_way_to_the_next_at_once() {
    for (seed, manner, within) in [
        (1, Manner::Decline { after: ms(0), status: 486 }, ms(200)),
        (2, Manner::Decline { after: ms(500), status: 603 }, ms(700)),
    ] {
        let mut world = world_in_turn(seed, 2, 12);
        world.phones[0].manner = manner;
        world.phones[1].manner = Manner::Answer { after: ms(300) };
        let called = world.elapsed();
        let id = world.meta.user_calls(world.now, USER);
        world.run(Duration::from_secs(3));
        let rung = world.phones[1].line().when("INVITE").unwrap();
        assert!(rung - called <= within, "{:?}", rung - called);
        assert_eq!(world.phones[1].state(), Some(State::Up));
        world.meta.hang_up(world.now, &id);
        world.assert_clean(1);
        assert_eq!(answered_by(&world), Some(phone(1)));
    }
}

#[test]
fn a_phone_that_does_not_answer_in_its_time_sees_a_missed_call_and_the_next_one_rings() {
    let mut world = world_in_turn(3, 2, 8);
    world.phones[1].manner = Manner::Answer { after: ms(1000) };
    let id = world.meta.user_calls(world.now, USER);
    world.run(Duration::from_secs(11));
    let (first, second) = (world.phones[0].line(), world.phones[1].line());
    assert_eq!((first.state, first.said("CANCEL")), (State::Over, 1));
    assert!(first.reason.starts_with("Q.850;cause=19"), "not completed elsewhere: {}", first.reason);
    let gap = second.when("INVITE").unwrap() - first.when("INVITE").unwrap();
    assert_eq!((gap.as_millis() + 50) / 100, 80, "{gap:?}");
    assert_eq!(second.state, State::Up);
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
}

#[test]
fn with_nobody_registered_in_the_first_step_the_second_rings_at_once() {
    let mut world = World::unregistered(4, 2);
    world.gateway.ring = in_turn(2, 12);
    let start = world.now.mono;
    world.phones[1].register(start);
    world.run(ms(100));
    world.phones[1].manner = Manner::Answer { after: ms(300) };
    let called = world.elapsed();
    let id = world.meta.user_calls(world.now, USER);
    world.run(Duration::from_secs(2));
    assert!(world.phones[0].lines.is_empty());
    assert!(world.phones[1].line().when("INVITE").unwrap() - called < ms(200));
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
    assert_eq!(answered_by(&world), Some(phone(1)));
}

#[test]
fn a_phone_that_registers_during_the_first_step_rings_in_the_second() {
    let mut world = World::unregistered(5, 2);
    world.gateway.ring = in_turn(2, 8);
    world.phones[0].register(world.now.mono);
    world.run(ms(100));
    let id = world.meta.user_calls(world.now, USER);
    world.run(Duration::from_secs(4));
    world.phones[1].register(world.now.mono);
    world.phones[1].manner = Manner::Answer { after: ms(300) };
    world.run(Duration::from_secs(6));
    assert_eq!(world.phones[1].state(), Some(State::Up));
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
}

#[test]
fn rule_3_a_plan_in_which_nobody_is_registered_is_rejected_without_pre_accept() {
    let mut world = World::unregistered(6, 2);
    world.gateway.ring = in_turn(2, 8);
    let id = world.meta.user_calls(world.now, USER);
    world.assert_clean(1);
    let actions: Vec<&str> = world.meta.call(&id).actions.iter().map(|(_, name)| *name).collect();
    assert_eq!(actions, ["reject"]);
}

#[test]
fn the_last_200_while_the_cancel_is_under_way_leaves_one_phone_in_the_call_and_the_other_out_of_it() {
    // The first phone answers around the end of its 8 s; both orders of 200 and CANCEL occur.
    let mut winners = BTreeSet::new();
    for late in 0..40 {
        let mut world = world_in_turn(7, 2, 8);
        world.phones[0].manner = Manner::Answer { after: ms(7970 + late) };
        world.phones[1].manner = Manner::Answer { after: ms(2000) };
        let id = world.meta.user_calls(world.now, USER);
        world.run(Duration::from_secs(12));
        let up: Vec<usize> = (0..2).filter(|at| world.phones[*at].state() == Some(State::Up)).collect();
        assert_eq!(up.len(), 1, "{late}: {up:?}");
        winners.insert(up[0]);
        if up[0] == 0
            && let Some(line) = world.phones[1].lines.values().next()
        {
            assert_eq!((line.state, line.reason.clone()), (State::Over, elsewhere()), "{late}");
        }
        world.meta.hang_up(world.now, &id);
        world.assert_clean(1);
        assert_eq!(answered_by(&world), Some(phone(up[0])), "{late}");
    }
    assert_eq!(winners.len(), 2, "in time and too late: {winners:?}");
}

#[test]
fn rule_2_the_window_cuts_the_plan_and_meta_is_told_in_time() {
    let mut world = world_in_turn(8, 3, 12);
    let id = world.meta.user_calls(world.now, USER);
    world.run(Duration::from_secs(26));
    let call = world.meta.call(&id);
    let actions: Vec<&str> = call.actions.iter().map(|(_, name)| *name).collect();
    assert_eq!(actions, ["pre_accept", "terminate"]);
    assert!(call.actions[1].0 < Duration::from_secs(25));
    assert_eq!(world.phones[1].line().state, State::Over);
    assert!(world.phones[2].lines.is_empty(), "its turn never came");
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::PhoneUnanswered));
}

#[test]
fn the_overflow_takes_what_nobody_took_inside_the_window() {
    let mut world = world_in_turn(9, 2, 12);
    world.gateway.ring = in_turn(1, 30);
    world.gateway.ring.overflow = Some(Overflow { target: phone(1), kept: Duration::from_secs(5) });
    world.phones[1].manner = Manner::Answer { after: ms(500) };
    let id = world.meta.user_calls(world.now, USER);
    world.run(Duration::from_secs(24));
    assert_eq!(world.phones[1].state(), Some(State::Up));
    let accepted = world.meta.call(&id).accept_known.unwrap();
    assert!(accepted < Duration::from_secs(21), "{accepted:?}");
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
    assert_eq!(answered_by(&world), Some(phone(1)));
}

#[test]
fn a_caller_who_gives_up_at_any_moment_of_the_plan_leaves_no_phone_ringing() {
    for step in 0..60 {
        let mut world = world_in_turn(100 + step, 3, 3);
        let id = world.meta.user_calls(world.now, USER);
        // Around the change from the first phone to the second.
        world.run(ms(2700 + step * 10));
        world.meta.hang_up(world.now, &id);
        world.assert_clean(1);
        assert!(world.phones[2].lines.is_empty());
        assert_eq!(world.gateway.last_cause(), label(HangupCause::UserCancelled));
    }
}
