//! Stories of calls from a phone to a WhatsApp user, through the whole stack on a virtual clock.

use std::time::Duration;

use cordboard::call::{AnswerOn, HangupCause};
use cordboard::policy::Permission;

use crate::world::gateway::label;
use crate::world::meta::Callee;
use crate::world::network::Path;
use crate::world::phone::{Manner, State};
use crate::world::voice::{assert_unbroken, g711_level, opus_level};
use crate::world::{USER, World, ms};

/// A world in which the phone has dialled the user and speaks always.
fn phone_calls(seed: u64, callee: Callee) -> World {
    let mut world = World::new(seed, 1);
    world.meta.callee = callee;
    world.phones[0].voice.speaking = true;
    world.phones[0].dial(world.now.mono, USER);
    world
}

#[test]
fn rule_7_the_agent_is_gated_until_accepted_and_the_user_hears_comfort_from_dtls_on() {
    let mut world = phone_calls(1, Callee::default());
    let up = world.run_until(Duration::from_secs(10), |it| it.phones[0].state() == Some(State::Up));
    assert!(up);
    let id = world.meta.latest();
    let (dtls, heard) = (world.meta.call(&id).dtls_up.unwrap(), world.meta.call(&id).heard.len());
    world.meta.call_mut(&id).voice.speaking = true;
    world.run(Duration::from_secs(4));
    let call = world.meta.call(&id);
    assert!(call.heard[0].at < dtls + ms(60), "comfort begins with the keys");
    assert!(dtls + ms(1500) < call.picked_up.unwrap());
    assert!(opus_level(&call.heard[..heard]) < -50.0, "the agent is not heard before the answer");
    assert!(opus_level(&call.heard[heard..]) > -30.0, "the agent is heard after it");
    assert!(g711_level(&world.phones[0].heard) > -30.0, "the agent hears the user");
    assert_unbroken(&call.heard);
    let line = world.phones[0].line();
    assert_eq!((line.said("180 INVITE"), line.said("183 INVITE"), line.status), (1, 0, 200));
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
    assert_eq!(world.meta.call(&id).actions.last().unwrap().1, "terminate");
    assert_eq!(world.gateway.last_cause(), label(HangupCause::PhoneHungUp));
}

#[test]
fn rule_7_voice_without_accepted_is_early_media_for_a_number_that_waits_for_accepted() {
    let callee = Callee { speaks: true, accepted_after: Some(ms(4000)), ..Callee::default() };
    let mut world = phone_calls(2, callee);
    world.run(Duration::from_secs(5));
    let line = world.phones[0].line();
    assert_eq!((line.state, line.said("183 INVITE")), (State::Dialling, 1));
    assert!(g711_level(&world.phones[0].heard) > -30.0, "the user is heard as early media");
    let id = world.meta.latest();
    assert!(opus_level(&world.meta.call(&id).heard) < -50.0, "the agent is not");
    world.run(Duration::from_secs(4));
    assert_eq!(world.phones[0].state(), Some(State::Up));
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
}

#[test]
fn rule_7_voice_without_accepted_is_the_answer_for_a_number_that_says_so() {
    let mut world = World::new(3, 1);
    world.gateway.answer_on = AnswerOn::Speech;
    world.meta.callee = Callee { speaks: true, accepted_after: None, ..Callee::default() };
    world.phones[0].dial(world.now.mono, USER);
    let up = world.run_until(Duration::from_secs(10), |it| it.phones[0].state() == Some(State::Up));
    assert!(up, "{:?}", world.phones[0].live());
    let id = world.meta.latest();
    let waited = world.elapsed() - world.meta.call(&id).picked_up.unwrap();
    assert!(waited < ms(800), "{waited:?}");
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
}

#[test]
fn rule_8_the_user_calls_while_the_agent_dials_and_the_two_are_joined() {
    // The user's call reaches Meta before the `connect`, and its webhook any time after.
    for late in [10, 40, 80, 150, 400, 1500] {
        let mut world = World::new(4, 1);
        world.net.webhooks = Path::clean(late);
        let id = world.meta.user_calls(world.now, USER);
        world.phones[0].voice.speaking = true;
        world.phones[0].manner = Manner::Silent;
        world.phones[0].dial(world.now.mono, USER);
        world.run(Duration::from_secs(5));
        let line = world.phones[0].line();
        if late == 10 {
            // The call was there before the dialling: one call per pair, and the phone is called itself.
            assert_eq!(line.status, 486, "{:?}", line.log);
        } else {
            assert_eq!((line.state, line.status), (State::Up, 200), "{late}: {:?}", line.log);
            assert!(opus_level(&world.meta.call(&id).heard) > -30.0, "{late}");
            world.phones[0].hang_up(world.now.mono);
            world.assert_clean(2);
        }
    }
}

#[test]
fn rule_9_without_permission_the_phone_reads_403_with_cause_21_and_meta_hears_nothing() {
    let mut world = World::new(5, 1);
    world.gateway.ledger.permission = Permission::None;
    world.phones[0].dial(world.now.mono, USER);
    world.assert_clean(1);
    let line = world.phones[0].line();
    assert_eq!(line.status, 403);
    assert!(line.reason.starts_with("Q.850;cause=21"), "{}", line.reason);
    assert!(world.meta.calls.is_empty());
}

#[test]
fn a_user_who_rejects_or_never_answers_ends_the_dialling() {
    let rejects = Callee { reject_after: Some(ms(700)), answer_after: None, ..Callee::default() };
    let mut world = phone_calls(6, rejects);
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::UserRejected));
    assert_eq!(world.phones[0].line().state, State::Over);
    let mut world = phone_calls(7, Callee { answer_after: None, ..Callee::default() });
    world.run(Duration::from_secs(65));
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::UserUnanswered));
}

#[test]
fn the_phone_gives_up_at_any_moment_and_meta_is_rid_of_the_call() {
    for step in 0..70 {
        let mut world = phone_calls(100 + step, Callee { answer_after: Some(ms(300)), ..Callee::default() });
        world.run(ms(step * 20));
        world.phones[0].hang_up(world.now.mono);
        let calls = usize::from(step > 0);
        world.run(Duration::from_secs(5));
        let calls = calls.min(world.gateway.ledger.closed.len());
        world.assert_clean(calls);
    }
}

#[test]
fn meta_terminates_at_any_moment_and_the_phone_is_rid_of_the_call() {
    for step in 0..50 {
        let mut world = phone_calls(200 + step, Callee { answer_after: Some(ms(300)), ..Callee::default() });
        world.run_until(Duration::from_secs(5), |it| !it.meta.calls.is_empty());
        world.run(ms(step * 30));
        let id = world.meta.latest();
        world.meta.hang_up(world.now, &id);
        world.assert_clean(1);
    }
}

#[test]
fn lost_doubled_and_overtaking_sip_packets_cost_time_but_no_call() {
    for seed in 0..25 {
        let mut world = World::new(300 + seed, 1);
        world.net.sip = Path::rough(30, 60);
        world.phones[0].voice.speaking = true;
        world.phones[0].dial(world.now.mono, USER);
        let up = |it: &World| it.phones[0].state() == Some(State::Up);
        assert!(world.run_until(Duration::from_secs(30), up), "seed {seed}: {:?}", world.phones[0].line());
        world.run(Duration::from_secs(1));
        if seed.is_multiple_of(2) {
            world.phones[0].hang_up(world.now.mono);
        } else {
            let id = world.meta.latest();
            world.meta.hang_up(world.now, &id);
        }
        world.assert_clean(1);
    }
}
