//! Stories of the user's keys on their way to phones that have them by signalling.

use std::time::Duration;

use super::stories::{keys, press};
use super::world::*;
use super::*;
use crate::codec::AudioCodec;
use crate::rtp::PayloadType;

/// The keys that signalling was asked to tell, and for how long they were pressed.
fn told(world: &World) -> Vec<(char, Duration)> {
    let pressed = world.reports.iter().filter_map(|(_, report)| match report {
        Report::KeyPressed { digit, duration } => Some((*digit, *duration)),
        _ => None,
    });
    pressed.collect()
}

/// A call with a phone that has agreed on telephone events, or has never heard of them.
fn talking(seed: u64, events: bool) -> World {
    let mut world =
        if events { World::up_with(seed, AudioCodec::Opus, 20) } else { World::up_without_events(seed) };
    (world.phone.speaking, world.user_voice.speaking) = (true, true);
    world.run(millis(500));
    world
}

#[test]
fn rule_18_keys_are_told_once_with_their_length_though_reports_are_lost_and_none_goes_with_the_sound() {
    for (seed, events, way) in
        [(60, true, KeyWay::Told), (61, false, KeyWay::Told), (62, false, KeyWay::EventsElseTold)]
    {
        let mut world = talking(seed, events);
        world.order(Order::SetKeyWay(way));
        for key in ['5', '#', 'A'] {
            press(&mut world, key, 8, 30, true);
        }
        world.run(millis(500));
        let told = told(&world);
        let digits: String = told.iter().map(|(digit, _)| *digit).collect();
        assert_eq!(digits, "5#A", "{way:?}");
        assert!(told.iter().all(|(_, it)| (millis(60)..=millis(180)).contains(it)), "{told:?}");
        assert!(keys(&world.phone_heard, PayloadType(110)).is_empty());
        let phone = world.phone_heard.len();
        world.run(millis(1000));
        assert!(world.phone_heard.len() > phone + 45, "speech goes on");
        assert_unbroken(&world.user_heard, millis(40), millis(60));
    }
}

#[test]
fn who_has_agreed_on_events_gets_them_and_nothing_is_told() {
    for way in [KeyWay::WithSound, KeyWay::EventsElseTold] {
        let mut world = talking(63, true);
        world.order(Order::SetKeyWay(way));
        press(&mut world, '7', 8, 0, true);
        world.run(millis(300));
        let heard: String = keys(&world.phone_heard, PayloadType(110)).iter().map(|it| it.0).collect();
        assert_eq!((heard.as_str(), told(&world).len()), ("7", 0), "{way:?}");
    }
}

#[test]
fn a_key_that_was_refused_goes_with_the_sound_and_so_do_those_after_it() {
    let mut world = talking(64, true);
    world.order(Order::SetKeyWay(KeyWay::Told));
    press(&mut world, '1', 8, 0, true);
    world.run(millis(300));
    let [(digit, duration)] = told(&world)[..] else { panic!("{:?}", told(&world)) };
    world.order(Order::DigitToPhone { digit, duration });
    world.run(millis(500));
    press(&mut world, '2', 8, 0, true);
    world.run(millis(500));
    let heard: String = keys(&world.phone_heard, PayloadType(110)).iter().map(|it| it.0).collect();
    assert_eq!((heard.as_str(), told(&world).len()), ("12", 1));
}
