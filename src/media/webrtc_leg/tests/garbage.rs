//! What nobody should send: noise, mutants of real datagrams, replays, from anywhere and at any time.

use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::network::*;

const ONE: &str = "192.0.2.1:40000";
const TWO: &str = "192.0.2.2:40002";
const STRANGER: &str = "203.0.113.66:9";

/// Every datagram of a whole set-up and some media, both ways, as a quarry for mutants.
fn recorded() -> Vec<Packet> {
    let kept = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut network = Network::new(31);
    let copy = std::rc::Rc::clone(&kept);
    network.rule = Box::new(move |_, packet| {
        copy.borrow_mut().push(packet.clone());
        true
    });
    let (mut one, mut two) = meet(&network);
    network.run(&mut one, &mut two, Duration::from_secs(6));
    assert!(one.speak(&mut network, 1) && two.speak(&mut network, 1));
    network.run(&mut one, &mut two, Duration::from_secs(1));
    kept.take()
}

fn meet(network: &Network) -> (LegHost, LegHost) {
    let (mut one, mut two) = (LegHost::new(ONE, 1), LegHost::new(TWO, 2));
    let answer = two.leg.answer(network.now, &one.leg.offer()).unwrap();
    one.leg.apply_answer(network.now, &answer).unwrap();
    one.leg.start_dtls(network.now);
    two.leg.start_dtls(network.now);
    (one, two)
}

/// One piece of garbage: made of a recorded datagram, or of a plausible first byte and noise.
fn garbage(quarry: &[Packet], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random, bound: usize| random.below(u32::try_from(bound).unwrap()) as usize;
    let mut bytes = match random.below(4) {
        0 => {
            let mut noise = vec![0; pick(random, 200)];
            random.fill(&mut noise);
            if let Some(first) = noise.first_mut() {
                *first = [0, 1, 20, 21, 22, 23, 63, 128, 144, 191, 255][pick(random, 11)];
            }
            return noise;
        }
        _ => quarry[pick(random, quarry.len())].bytes.clone(),
    };
    match random.below(4) {
        0 => bytes.truncate(pick(random, bytes.len())),
        1 => bytes.extend_from_within(..pick(random, bytes.len())),
        _ => {}
    }
    for _ in 0..random.below(4) {
        if !bytes.is_empty() {
            let at = pick(random, bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
    }
    bytes
}

fn rain(
    network: &Network,
    leg: &mut LegHost,
    from: &str,
    quarry: &[Packet],
    random: &mut Random,
    drops: u32,
) {
    let from = from.parse().unwrap();
    for _ in 0..drops {
        leg.take(network.now, &Packet { from, to: leg.address, bytes: garbage(quarry, random) });
    }
    leg.media.clear();
}

fn talks(network: &mut Network, one: &mut LegHost, two: &mut LegHost, seq: u16) -> bool {
    one.media.clear();
    two.media.clear();
    let sent = one.speak(network, seq) && two.speak(network, seq);
    network.run(one, two, Duration::from_millis(100));
    sent && one.media == [speech(9, seq)] && two.media == [speech(9, seq)]
}

#[test]
fn strangers_cannot_disturb_a_set_up_or_a_call() {
    let quarry = recorded();
    for seed in 0..30 {
        let mut random = Random::from_number(seed);
        let mut network = Network::new(seed);
        let (mut one, mut two) = meet(&network);
        for _ in 0..60 {
            rain(&network, &mut one, STRANGER, &quarry, &mut random, 20);
            rain(&network, &mut two, STRANGER, &quarry, &mut random, 20);
            network.run(&mut one, &mut two, Duration::from_millis(5));
        }
        network.run(&mut one, &mut two, Duration::from_secs(1));
        let up = [LegEvent::IceConnected, LegEvent::DtlsUp];
        assert_eq!((one.events.as_slice(), two.events.as_slice()), (&up[..], &up[..]), "seed {seed}");
        assert!(talks(&mut network, &mut one, &mut two, 7));
    }
}

#[test]
fn a_call_that_is_up_survives_garbage_in_its_peers_name() {
    let quarry = recorded();
    for seed in 0..30 {
        let mut random = Random::from_number(seed);
        let mut network = Network::new(seed);
        let (mut one, mut two) = meet(&network);
        network.run(&mut one, &mut two, Duration::from_secs(1));
        for _ in 0..20 {
            rain(&network, &mut one, TWO, &quarry, &mut random, 50);
            rain(&network, &mut two, ONE, &quarry, &mut random, 50);
            network.run(&mut one, &mut two, Duration::from_millis(200));
        }
        assert!(talks(&mut network, &mut one, &mut two, 30_000), "seed {seed}");
        assert_eq!(one.leg.remote_address(), Some(two.address));
        network.run(&mut one, &mut two, Duration::from_secs(60));
        let up = [LegEvent::IceConnected, LegEvent::DtlsUp];
        assert_eq!((one.events.as_slice(), two.events.as_slice()), (&up[..], &up[..]), "seed {seed}");
    }
}

#[test]
fn ten_thousand_client_hellos_in_the_peers_name_take_no_memory() {
    let hello = recorded().into_iter().find(|packet| packet.bytes[0] == 22).unwrap();
    let mut network = Network::new(33);
    let (mut one, mut two) = (LegHost::new(ONE, 1), LegHost::new(TWO, 2));
    let answer = two.leg.answer(network.now, &one.leg.offer()).unwrap();
    one.leg.apply_answer(network.now, &answer).unwrap();
    network.run(&mut one, &mut two, Duration::from_secs(1));
    for _ in 0..10_000 {
        one.take(network.now, &Packet { from: two.address, to: one.address, bytes: hello.bytes.clone() });
    }
    assert_eq!(one.leg.early.len(), MAX_EARLY);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_datagram_at_any_stage_makes_the_leg_panic(seed in any::<u64>(), stage in 0_u64..120, raw in any::<Vec<u8>>()) {
        thread_local! { static QUARRY: Vec<Packet> = recorded(); }
        QUARRY.with(|quarry| {
            let mut random = Random::from_number(seed);
            let mut network = Network::new(seed);
            let (mut one, mut two) = meet(&network);
            for _ in 0..4 {
                network.run(&mut one, &mut two, Duration::from_millis(stage));
                one.take(network.now, &Packet { from: two.address, to: one.address, bytes: raw.clone() });
                rain(&network, &mut one, TWO, quarry, &mut random, 10);
                rain(&network, &mut two, ONE, quarry, &mut random, 10);
            }
            network.run(&mut one, &mut two, Duration::from_secs(40));
        });
    }
}
