//! `[features]` and `[emergency]`: what means two things is found before a phone dials it.

use std::io;
use std::path::Path;
use std::time::Duration;

use cordboard::config::{Config, ConfigFaults, Surroundings};
use cordboard::dialplan::{Extensions, Feature, Reach};
use cordboard::id::Endpoint;

const EXAMPLE: &str = include_str!("../../config/gateway.example.toml");

struct Desk;

impl Surroundings for Desk {
    fn read_file(&self, path: &Path) -> io::Result<String> {
        let ha1 = path.ends_with("phone-1001");
        Ok(if ha1 { "b7fbb1bd3c1eab0e9b5ee2e6d8fdd0a4".to_owned() } else { "swordfish".to_owned() })
    }

    fn permissions(&self, _: &Path) -> Option<u32> {
        Some(0o600)
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "CREDENTIALS_DIRECTORY").then(|| "/run/credentials".to_owned())
    }
}

/// The example with `from` replaced by `to`.
fn read(edits: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    let text = edits.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from:?}");
        text.replacen(from, to, 1)
    });
    Config::parse(&text, Path::new("/etc/cordboard/gateway.toml"), &Desk).0
}

fn fault(from: &str, to: &str) -> String {
    let faults = read(&[(from, to)]).expect_err("a fault").faults;
    assert_eq!(faults.len(), 1, "{faults:#?}");
    format!("{}: {} | {}", faults[0].key, faults[0].problem, faults[0].remedy)
}

#[test]
fn codes_can_be_changed_and_switched_off() {
    let edits = [("pick_up_group = \"*8\"", "pick_up_group = \"#1\""), ("park = \"*68\"", "park = \"\"")];
    let features = read(&edits).expect("good").features;
    assert_eq!(features.codes.code(Feature::PickUpGroup), Some("#1"));
    assert_eq!(features.codes.code(Feature::Park), None);
    assert_eq!((features.pick_up_by, features.parking.retrieve_by), (Reach::Group, Reach::Anybody));
    assert_eq!((features.parking.slots, features.parking.timeout), (701..=720, Duration::from_secs(120)));
    let overflow = read(&[("#overflow = \"trunk:pbx/299\"\n# Whose", "overflow = \"phone:1001\"\n# Whose")]);
    assert_eq!(overflow.expect("good").features.parking.overflow, Some(Endpoint::Phone("1001".into())));
}

#[test]
fn a_code_that_could_mean_something_else_is_named_with_what_it_meets() {
    for (from, to, meets) in [
        ("park = \"*68\"", "park = \"*85\"", "features.retrieve: \"*85\" cannot be told from features.park"),
        ("park = \"*68\"", "park = \"*\"", "features.park: \"*\" cannot be told from features.pick_up_group"),
        ("pick_up_group = \"*8\"", "pick_up_group = \"1001\"", "the phone \"1001\" | pick_up_group = \"*8\""),
        ("park = \"*68\"", "park = \"100\"", "the phone \"1001\""),
        ("pick_up_group = \"*8\"", "pick_up_group = \"911\"", "the emergency number 911"),
        ("park = \"*68\"", "park = \"86\"", "the prefix \"8\" of number[1]"),
        ("prefix = \"8\"", "prefix = \"*6\"", "features.park: \"*68\" cannot be told from the prefix"),
        (
            "#dial_prefix = \"0\"",
            "dial_prefix = \"*85\"",
            "features.retrieve: \"*85\" cannot be told from the dial_prefix",
        ),
        ("park = \"*68\"", "park = \"*6a\"", "a code of at most 8 digits"),
        ("slots = \"701-720\"", "slots = \"720-701\"", "lower one first"),
        ("timeout = \"2m\"", "timeout = \"2s\"", "outside \"10s\""),
        ("#overflow = \"trunk:pbx/299\"\n# Whose", "overflow = \"phone:1009\"\n# Whose", "no [[phone]]"),
    ] {
        let faults = match read(&[(from, to)]) {
            Ok(_) => panic!("{to} is taken"),
            Err(faults) => faults.to_string().replace("\n    ", " | ").replace("-> ", ""),
        };
        let told = |it: &str| faults.contains(it);
        let parts: Vec<&str> = meets.split(": ").collect();
        assert!(told(meets) || parts.iter().all(|it| told(it)), "{to}: {faults}");
    }
}

#[test]
fn emergency_numbers_come_by_country_and_are_refused() {
    let of_country = [("countries = []", "countries = [\"de\", \"BR\"]")];
    let plan = read(&of_country).expect("good").emergency;
    assert!(plan.has("112") && plan.has("197") && plan.has("000"));
    let caller = Endpoint::Phone("1001".into());
    assert_eq!(plan.way(&caller, "+112"), None);
    assert_eq!(plan.extensions, Extensions::Win);
    assert!(
        fault("countries = []", "countries = [\"QQ\"]")
            .contains("of QQ are not known here | two letters of ISO 3166")
    );
}

#[test]
fn emergency_calls_go_to_a_trunk_or_a_phone_that_is_there_with_the_houses_number() {
    let phone = Endpoint::Phone("1001".into());
    let trunk = Endpoint::Trunk("pbx".into(), "112".to_owned());
    for (route, caller, way) in [("trunk:pbx", &phone, &trunk), ("phone:1001", &trunk, &phone)] {
        let route = format!("route = \"{route}\"\ncaller = \"493055500010\"");
        let plan = read(&[("#route = \"trunk:pbx\"", &route)]).expect("good").emergency;
        assert_eq!(
            (plan.way(caller, "112").as_ref(), plan.caller.as_deref()),
            (Some(way), Some("+493055500010"))
        );
    }
    assert!(
        fault("#route = \"trunk:pbx\"", "route = \"trunk:pstn\"")
            .contains("no [[trunk]] with name = \"pstn\"")
    );
    assert!(
        fault("#route = \"trunk:pbx\"", "route = \"trunk:pbx/112\"")
            .contains("\"trunk:NAME\" or \"phone:NAME\"")
    );
}

#[test]
fn a_phone_named_like_an_emergency_number_is_worth_a_warning() {
    let edits = [("countries = []", "countries = []\n"), ("\"000\", \"110\"", "\"1001\", \"110\"")];
    let warnings = read(&edits).expect("good").warnings;
    assert!(warnings.iter().any(|it| it.problem.contains("\"1001\" is an emergency number")), "{warnings:?}");
}
