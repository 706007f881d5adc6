//! Stories of calls from a WhatsApp user to the business, through the whole stack on a virtual clock.

use std::collections::BTreeSet;
use std::time::Duration;

use cordboard::call::HangupCause;

use crate::world::gateway::{elsewhere, label};
use crate::world::network::Path;
use crate::world::phone::{Manner, State};
use crate::world::voice::{assert_unbroken, g711_level, opus_level};
use crate::world::{USER, World, ms};

/// A world in which the first phone answers after `ms`, speaks always, and the user calls.
fn user_calls(seed: u64, phones: usize, after: u64) -> World {
    let mut world = World::new(seed, phones);
    world.phones[0].manner = Manner::Answer { after: ms(after) };
    for phone in &mut world.phones {
        phone.voice.speaking = true;
    }
    world.meta.user_calls(world.now, USER);
    world
}

#[test]
fn rule_4_a_user_calls_is_heard_and_hears_and_meta_sees_no_media_before_accept() {
    let mut world = user_calls(1, 1, 1500);
    let id = world.meta.latest();
    assert!(world.run_until(Duration::from_secs(5), |it| it.meta.call(&id).accept_known.is_some()));
    world.meta.call_mut(&id).voice.speaking = true;
    world.run(Duration::from_secs(5));
    let call = world.meta.call(&id);
    let actions: Vec<&str> = call.actions.iter().map(|(_, name)| *name).collect();
    assert_eq!(actions, ["pre_accept", "accept"]);
    assert!(call.dtls_up.unwrap() < call.actions[1].0, "DTLS is up before the phone answers");
    assert!(call.heard[0].at > call.accept_known.unwrap());
    assert_unbroken(&call.heard);
    assert!(opus_level(&call.heard) > -30.0, "the user hears the agent");
    assert!(g711_level(&world.phones[0].heard) > -30.0, "the agent hears the user");
    world.meta.hang_up(world.now, &id);
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::UserHungUp));
    assert_eq!(world.phones[0].line().said("BYE"), 1);
}

#[test]
fn rule_6_the_agents_first_word_is_there_a_round_trip_and_60_ms_after_the_phone_answered() {
    let mut world = user_calls(2, 1, 1500);
    world.meta.latency = ms(300);
    let id = world.meta.latest();
    world.run(Duration::from_secs(4));
    let call = world.meta.call(&id);
    let phone = world.phones[0].line();
    // The phone's 200 left 5 ms before the gateway had it; the ACK was back 5 ms after that.
    let answered = phone.when("ACK").unwrap() - ms(5);
    let spoken = call.heard.iter().find(|it| it.payload.len() > 20).expect("speech").at - ms(20);
    assert!(spoken >= answered + ms(300), "not before Meta agreed");
    assert!(spoken <= answered + ms(360), "{spoken:?} after {answered:?}");
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::PhoneHungUp));
}

#[test]
fn rule_5_of_two_phones_the_second_to_answer_hears_that_the_call_was_completed_elsewhere() {
    for seed in 0..20 {
        let mut world = user_calls(seed, 2, 1500);
        // So close that 200 and CANCEL cross on the wire.
        world.phones[1].manner = Manner::Answer { after: ms(1490 + seed) };
        let id = world.meta.latest();
        world.run(Duration::from_secs(4));
        let up: Vec<&str> = world
            .phones
            .iter()
            .filter(|it| it.state() == Some(State::Up))
            .map(|it| it.name.as_str())
            .collect();
        assert_eq!(up.len(), 1, "seed {seed}");
        let loser = world.phones.iter().find(|it| it.state() == Some(State::Over)).expect("one loses");
        assert_eq!(loser.line().reason, elsewhere(), "seed {seed}: {:?}", loser.line().log);
        world.meta.hang_up(world.now, &id);
        world.assert_clean(1);
    }
}

#[test]
fn rule_5_a_phone_that_rings_on_while_another_answers_is_cancelled_with_the_reason() {
    let mut world = user_calls(3, 2, 1000);
    world.run(Duration::from_secs(3));
    let loser = world.phones[1].line();
    assert_eq!((loser.state, loser.said("CANCEL")), (State::Over, 1));
    assert_eq!(loser.reason, elsewhere());
    world.phones[0].hang_up(world.now.mono);
    world.assert_clean(1);
}

#[test]
fn rule_5_when_accept_fails_the_answered_phone_gets_bye_with_a_reason() {
    let mut world = user_calls(4, 1, 1000);
    world.meta.broken.push(("accept", cordboard::whatsapp::Failure::TimedOut));
    world.run(Duration::from_secs(3));
    let phone = world.phones[0].line();
    assert_eq!((phone.state, phone.said("ACK"), phone.said("BYE")), (State::Over, 1, 1));
    assert!(phone.reason.starts_with("Q.850;cause="), "{}", phone.reason);
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::GraphTimedOut));
}

#[test]
fn rule_2_nobody_answers_and_the_call_ends_inside_metas_window() {
    let mut world = World::new(5, 1);
    let id = world.meta.user_calls(world.now, USER);
    world.run(Duration::from_secs(25));
    let call = world.meta.call(&id);
    let actions: Vec<&str> = call.actions.iter().map(|(_, name)| *name).collect();
    assert_eq!(actions, ["pre_accept", "terminate"]);
    assert!(call.actions[1].0 < Duration::from_secs(25));
    assert_eq!(world.phones[0].line().state, State::Over);
    world.assert_clean(1);
    assert_eq!(world.gateway.last_cause(), label(HangupCause::PhoneUnanswered));
}

#[test]
fn rule_2_a_phone_that_answers_in_the_very_moment_the_window_closes_is_not_left_in_a_dead_call() {
    // The 200 is in the socket when the timer fires: both orders must end the phone's dialog.
    let mut outcomes = BTreeSet::new();
    for late in 0..40 {
        let mut world = World::new(6, 1);
        let window = 24_000 - 45 - world.elapsed().subsec_millis() as u64;
        world.phones[0].manner = Manner::Answer { after: ms(window + late - 20) };
        let id = world.meta.user_calls(world.now, USER);
        world.run(Duration::from_secs(26));
        world.meta.hang_up(world.now, &id);
        world.assert_clean(1);
        outcomes.insert(world.gateway.last_cause().to_owned());
    }
    assert_eq!(outcomes.len(), 2, "some in time, some too late: {outcomes:?}");
}

#[test]
fn rule_3_declined_by_everybody_the_call_is_terminated_after_pre_accept() {
    let mut world = World::new(7, 2);
    for phone in &mut world.phones {
        phone.manner = Manner::Decline { after: ms(800), status: 603 };
    }
    let id = world.meta.user_calls(world.now, USER);
    world.assert_clean(1);
    assert_eq!(world.meta.call(&id).actions.last().unwrap().1, "terminate");
    assert_eq!(world.gateway.last_cause(), label(HangupCause::PhoneDeclined));
}

#[test]
fn rule_3_without_a_registered_phone_the_call_is_rejected_without_pre_accept() {
    let mut world = World::unregistered(8, 1);
    let id = world.meta.user_calls(world.now, USER);
    world.assert_clean(1);
    let actions: Vec<&str> = world.meta.call(&id).actions.iter().map(|(_, name)| *name).collect();
    assert_eq!(actions, ["reject"]);
}

#[test]
fn meta_terminates_at_any_moment_and_both_sides_are_rid_of_the_call() {
    for step in 0..60 {
        let mut world = user_calls(100 + step, 2, 700);
        let id = world.meta.latest();
        world.run(ms(step * 20));
        world.meta.hang_up(world.now, &id);
        world.assert_clean(1);
    }
}

#[test]
fn the_phone_hangs_up_at_any_moment_and_both_sides_are_rid_of_the_call() {
    for step in 0..60 {
        let mut world = user_calls(200 + step, 1, 500);
        world.run(ms(step * 20));
        world.phones[0].hang_up(world.now.mono);
        world.phones[0].manner = Manner::Decline { after: ms(1), status: 486 };
        world.assert_clean(1);
    }
}

#[test]
fn lost_doubled_and_overtaking_sip_packets_cost_time_but_no_call() {
    for seed in 0..25 {
        let mut world = World::new(300 + seed, 1);
        world.phones[0].manner = Manner::Answer { after: ms(500) };
        world.phones[0].voice.speaking = true;
        world.net.sip = Path::rough(30, 60);
        world.net.webhooks = Path { loss_percent: 0, ..Path::rough(0, 30) };
        let id = world.meta.user_calls(world.now, USER);
        let up = |it: &World| it.meta.call(&id).heard.len() > 50;
        assert!(world.run_until(Duration::from_secs(24), up), "seed {seed}: {:?}", world.phones[0].live());
        if seed.is_multiple_of(2) {
            world.phones[0].hang_up(world.now.mono);
        } else {
            world.meta.hang_up(world.now, &id);
        }
        world.assert_clean(1);
    }
}
