//! The fuzz targets' seeds and seeded mutants of them, through the same bodies that `scripts/fuzz` runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cordboard::io::signalling::now;
use cordboard::media::dtls::Identity;
use cordboard::random::Random;
use cordboard::{media, rtp, sdp, sip, whatsapp};

use crate::sources::root;

type Body = Box<dyn Fn(&[u8])>;

/// A target, the folders that hold its seeds, and its body.
struct Target {
    name: &'static str,
    seeds: &'static [&'static str],
    body: Body,
}

fn targets() -> Vec<Target> {
    let target = |name, seeds, body: Body| Target { name, seeds, body };
    let identity = Arc::new(Identity::generate().expect("a certificate"));
    let same = Arc::clone(&identity);
    let messages = &["tests/data/sip", "tests/data/sip/rfc4475"];
    vec![
        target("rtcp", &["tests/fuzz/seeds/rtcp"], Box::new(rtp::fuzz::rtcp)),
        target("rtp_packet", &["tests/fuzz/seeds/rtp_packet"], Box::new(rtp::fuzz::packet)),
        target("sdp", &["tests/fuzz/seeds/sdp"], Box::new(sdp::fuzz::description)),
        target("sip_agent", messages, Box::new(|bytes| sip::fuzz::agent(now(), bytes))),
        target("sip_message", messages, Box::new(sip::fuzz::message)),
        target("srtp", &["tests/fuzz/seeds/srtp"], Box::new(media::fuzz::srtp)),
        target(
            "stun",
            &["tests/fuzz/seeds/stun"],
            Box::new(move |bytes| media::fuzz::stun(Instant::now(), &identity, bytes)),
        ),
        target("webhook", &["tests/data/webhook"], Box::new(whatsapp::fuzz::webhook)),
        target(
            "webrtc_datagrams",
            &["tests/fuzz/seeds/webrtc_datagrams"],
            Box::new(move |bytes| media::fuzz::webrtc_datagrams(Instant::now(), &same, bytes)),
        ),
    ]
}

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in target.seeds {
        let entries = fs::read_dir(root().join(folder)).expect("a folder of seeds");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        for path in paths.into_iter().filter(|path| path.is_file()) {
            found.push((path.display().to_string(), fs::read(&path).expect("a seed can be read")));
        }
    }
    found
}

/// Cuts, doubles, and changes bytes and numbers.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let length = u32::try_from(bytes.len()).expect("a small seed").max(1);
        let (at, other) = (random.below(length) as usize, random.below(length) as usize);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => {
                let piece = bytes[at.min(other)..=at.max(other).min(bytes.len() - 1)].to_vec();
                bytes.splice(at..at, piece);
            }
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).expect("below 256"),
            _ if at < bytes.len() => drop(bytes.drain(at.min(other)..at.max(other))),
            _ => {}
        }
    }
}

#[test]
fn every_seed_of_every_fuzz_target_and_what_is_made_of_it_by_chance_holds() {
    for target in targets() {
        let seeds = seeds(&target);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let mutants = 600 / seeds.len();
        for (path, seed) in seeds {
            (target.body)(&seed);
            for number in 0..mutants {
                let (mut bytes, number) = (seed.clone(), u64::try_from(number).expect("small"));
                mutate(&mut bytes, &mut Random::from_number(number));
                // A failing body says which of them it was.
                let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (target.body)(&bytes)));
                assert!(told.is_ok(), "{}: mutant {number} of {path}", target.name);
            }
        }
    }
}

#[test]
fn the_fuzz_crate_and_the_replay_have_the_same_targets() {
    let manifest = fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).expect("the fuzz crate");
    let mut built: Vec<&str> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.split("name = \"").nth(1)?.split('"').next())
        .collect();
    built.sort_unstable();
    // Cargo builds nothing at all where a name stands twice.
    let mut replayed: Vec<&str> = targets().iter().map(|target| target.name).collect();
    replayed.sort_unstable();
    assert_eq!(built, replayed);
    for name in built {
        assert!(Path::new(&root()).join(format!("tests/fuzz/fuzz_targets/{name}.rs")).is_file(), "{name}");
    }
}
