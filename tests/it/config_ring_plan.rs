//! Ring plans in the configuration: what a plan comes to, and the mistakes in it.

use std::io;
use std::path::Path;
use std::time::Duration;

use cordboard::config::{Config, ConfigFaults, LastTarget, RingOrder, RingPlanConfig, Surroundings};
use cordboard::id::Endpoint;

/// A machine with every secret, and no file.
struct Desk;

impl Surroundings for Desk {
    fn read_file(&self, path: &Path) -> io::Result<String> {
        let secret =
            path.starts_with("/run/credentials").then(|| "0123456789abcdef0123456789abcdef".to_owned());
        secret.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn permissions(&self, _path: &Path) -> Option<u32> {
        Some(0o600)
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "CREDENTIALS_DIRECTORY").then(|| "/run/credentials".to_owned())
    }
}

/// A file with three phones, two trunks, a group, and `plan` at the end of its only number.
fn read(plan: &str) -> Result<Config, ConfigFaults> {
    let phone = |name: &str| format!("[[phone]]\nname = \"{name}\"\nha1 = {{ credential = \"ha1\" }}\n");
    let trunk = |name: &str, host: u8, voip: bool| {
        format!("[[trunk]]\nname = \"{name}\"\naddress = \"192.168.1.{host}:5060\"\nvoip_only = {voip}\n")
    };
    let text = format!(
        r#"
[webhook]
verify_token = {{ credential = "verify-token" }}
app_secrets = [{{ credential = "app-secret" }}]
[sip]
listen = "127.0.0.1:5060"
[media.outside]
bind = "127.0.0.1"
[media.inside]
bind = "127.0.0.2"
{}{}{}{}{}
[[group]]
name = "desk"
members = ["phone:1001", "phone:1002"]
[[number]]
label = "support"
phone_number_id = "108911223344556"
display_number = "+493055500010"
access_token = {{ credential = "access-token" }}
{plan}
"#,
        phone("1001"),
        phone("1002"),
        phone("1003"),
        trunk("pbx", 20, true),
        trunk("pstn", 21, false),
    );
    Config::parse(&text, Path::new("/etc/cordboard/gateway.toml"), &Desk).0
}

fn plan_of(plan: &str) -> RingPlanConfig {
    let config = read(plan).unwrap_or_else(|faults| panic!("{plan}: {faults}"));
    assert_eq!(config.warnings, [], "{plan}");
    config.numbers[0].ring.clone()
}

/// The only fault of a plan, as `key: problem | remedy`.
fn fault_of(plan: &str) -> String {
    let faults = read(plan).expect_err("a fault").faults;
    assert_eq!(faults.len(), 1, "{plan}: {faults:#?}");
    assert!(faults[0].line.is_some());
    format!("{}: {} | {}", faults[0].key, faults[0].problem, faults[0].remedy)
}

fn phones(names: &[&str]) -> Vec<Endpoint> {
    names.iter().map(|name| Endpoint::Phone((*name).into())).collect()
}

#[test]
fn a_list_of_targets_is_a_plan_of_one_step_without_an_end_of_its_own() {
    let plan = plan_of("ring = [\"group:desk\", \"phone:1003\"]");
    assert_eq!((plan.steps.len(), plan.steps[0].ring, plan.overflow), (1, None, None));
    assert_eq!(plan.steps[0].targets, phones(&["1001", "1002", "1003"]));
    assert_eq!(plan.steps[0].order, RingOrder::Together);
}

#[test]
fn steps_stand_in_their_order_and_groups_are_their_members() {
    let plan = plan_of(
        "overflow = \"trunk:pbx/299\"\n[[number.step]]\ntargets = [\"phone:1003\"]\nring = \"8s\"\n\
         [[number.step]]\ntargets = [\"group:desk\"]\nring = \"5s\"\norder = \"one_by_one\"",
    );
    let [first, second] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!((&first.targets, first.ring), (&phones(&["1003"]), Some(Duration::from_secs(8))));
    assert_eq!((&second.targets, second.order), (&phones(&["1001", "1002"]), RingOrder::OneByOne));
    assert_eq!(plan.overflow, Some(LastTarget::Ring(Endpoint::Trunk("pbx".into(), "299".to_owned()))));
    assert_eq!(plan_of("overflow = \"voicemail\"").overflow, Some(LastTarget::Voicemail));
    // Something that answers by itself is enough.
    assert_eq!(plan_of("overflow = \"trunk:pbx/299\"").steps, []);
}

#[test]
fn each_mistake_in_a_plan_is_named() {
    for (plan, wanted) in [
        (
            "ring = [\"group:dsk\"]",
            "number[1].ring: there is no [[group]] with name = \"dsk\" | one of desk;",
        ),
        ("[[number.step]]\ntargets = []", "number[1].step[1].targets: nobody rings in this step"),
        ("[[number.step]]\nring = \"12s\"", "number[1].step[1].targets: is missing"),
        ("[[number.step]]\ntargets = [\"phone:9\"]", "number[1].step[1].targets: there is no [[phone]]"),
        (
            "[[number.step]]\ntargets = [\"group:desk\", \"phone:1002\"]",
            "number[1].step[1].targets: \"phone:1002\" is already the target",
        ),
        (
            "[[number.step]]\ntargets = [\"phone:1001\"]\nring = \"1s\"",
            "number[1].step[1].ring: \"1s\" is outside",
        ),
        (
            "ring = [\"phone:1001\"]\n[[number.step]]\ntargets = [\"phone:1002\"]",
            "number[1].ring: stands beside [[number.step]]",
        ),
        ("overflow = \"phone:9\"", "number[1].overflow: there is no [[phone]] with name = \"9\""),
        ("overflow = \"trunk:pstn/1\"", "number[1].overflow: trunk \"pstn\" is not declared voip_only"),
        (
            "ring = [\"phone:1001\"]\n[[group]]\nname = \"nobody\"\nmembers = []",
            "group[2].members: the group has nobody",
        ),
        (
            "ring = [\"phone:1001\"]\n[[group]]\nname = \"desk\"\nmembers = [\"phone:1003\"]",
            "group[2].name: \"desk\" is already the name of group[1].name",
        ),
        (
            "ring = [\"phone:1001\"]\n[[group]]\nname = \"back\"\nmembers = [\"phone:1003\"]\ncallbacks = [\"sales\"]",
            "group[2].callbacks: there is no [[number]] with the label \"sales\" | one or more of support",
        ),
        (
            "ring = [\"phone:1001\"]\n[[group]]\nname = \"far\"\nmembers = [\"trunk:pstn/1\"]",
            "group[2].members: trunk \"pstn\" is not declared voip_only",
        ),
    ] {
        let said = fault_of(plan);
        assert!(said.starts_with(wanted), "{plan}\n{said}\n{wanted}");
    }
}

#[test]
fn a_target_whose_turn_comes_after_metas_window_is_named() {
    let step = |target: &str, more: &str| format!("[[number.step]]\ntargets = [{target}]\n{more}\n");
    let warned = |plan: &str| -> Vec<String> {
        let config = read(plan).unwrap_or_else(|faults| panic!("{plan}: {faults}"));
        config.warnings.iter().map(|it| format!("{}: {}", it.key, it.problem)).collect()
    };
    let (first, second, third) =
        (step("\"phone:1001\"", ""), step("\"phone:1002\"", ""), step("\"phone:1003\"", ""));
    assert_eq!(
        warned(&format!("{first}{second}")),
        Vec::<String>::new(),
        "24 s are enough for two steps of 12 s"
    );
    let said = warned(&format!("{first}{second}{third}"));
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("number[1].step[3].targets: the turn of phone:1003 never comes"), "{said:?}");
    // The overflow takes five seconds of it.
    let long = step("\"phone:1001\"", "ring = \"19s\"");
    assert_eq!(warned(&format!("{long}{second}")), Vec::<String>::new());
    let said = warned(&format!("overflow = \"trunk:pbx/299\"\n{long}{second}"));
    assert!(said[0].starts_with("number[1].step[2].targets: the turn of phone:1002 never comes"), "{said:?}");
    // One by one, each target takes the whole time.
    let line = step("\"phone:1001\", \"phone:1002\", \"phone:1003\"", "order = \"one_by_one\"");
    let said = warned(&line);
    assert!(said[0].starts_with("number[1].step[1].targets: the turn of phone:1003 never comes"), "{said:?}");
}
