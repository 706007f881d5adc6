//! sipvicious attacks a gateway that carries a call: nothing is found, little is tried, the call goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{Layout, PASSWORD, Setup, cordboard, run, sample, scrape};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sip::SipPeer;
use crate::rig::{USER, World};

/// Where the attacks come from: an address of loopback that nobody else here uses.
const ATTACKER: &str = "127.0.0.66";
/// What the tools call themselves, and what an attacker who has read our configuration calls them.
const AGENTS: [&str; 2] = ["friendly-scanner", "Desk Phone 3000"];

/// Runs one tool to its end; what it said.
fn attack(world: &mut World, agent: &str, tool: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("CORDBOARD_PYTHON")
        .map_or_else(|| root.join(".tools/python/bin/python"), PathBuf::from);
    let script = root.join("tests/interop/disguised_sipvicious.py");
    let own = world.ports.take(1).to_string();
    let (_, port) = world.layout.sip.rsplit_once(':').expect("an address with a port");
    let mut command = Command::new(python);
    // Its sessions are kept in the home folder.
    command.current_dir(world.folder()).env("HOME", world.folder()).arg(script).args([ATTACKER, agent, tool]);
    command.args(["-x", ATTACKER, "-P", &own, "-p", port]).args(arguments).arg("127.0.0.1");
    let output = run(&mut command, "");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn value(text: &str, series: &str) -> f64 {
    text.lines().find(|line| line.starts_with(series)).and_then(sample).unwrap_or(0.0)
}

fn bans(layout: &Layout) -> Vec<Value> {
    let output = run(cordboard(&["bans", "--json", "--config"]).arg(layout.config()), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn lift(layout: &Layout) {
    let output = run(cordboard(&["bans", "lift", ATTACKER, "--config"]).arg(layout.config()), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("lifted"), "{text}");
    assert!(bans(layout).is_empty());
}

#[test]
fn svwar_enumerates_nobody_by_any_method_and_gives_up() {
    let mut world = World::start(&Setup::default());
    for method in ["REGISTER", "INVITE", "OPTIONS"] {
        let arguments = ["--force", "-m", method, "-e", "900-1899", "--maximumtime", "3"];
        // Every name gets the same answer, so the tool says that it will not work, or finds its packets unanswered.
        for agent in AGENTS {
            let said = attack(&mut world, agent, "svwar", &arguments);
            assert!(!said.contains("1001") && said.contains("found nothing"), "svwar -m {method}: {said}");
        }
    }
    let text = scrape(&world.layout);
    assert!(value(&text, "cordboard_sip_dropped_total{kind=\"scanner\"}") >= 3.0, "{text}");
    SipPeer::stranger(&mut world.ports, &world.layout.sip).assert_alive("after-svwar");
}

#[test]
fn svcrack_tries_ten_passwords_in_vain_while_the_phone_talks_on() {
    let mut world = World::start(&Setup::default());
    let words = world.folder().join("words");
    // The right one comes after more wrong ones than are looked at.
    let guesses: Vec<String> =
        (0..2000).map(|n| if n < 50 { format!("guess{n}") } else { PASSWORD.to_owned() }).collect();
    std::fs::write(&words, guesses.join("\n")).expect("the test's folder can be written");
    let mut phone = world.phone(OnRing::Answer);
    let id = world.meta.place_call(USER).id.clone();
    phone.wait("CALL_ESTABLISHED", 0);
    let words = words.display().to_string();
    for agent in AGENTS {
        let said = attack(&mut world, agent, "svcrack", &["-u", "1001", "-d", &words, "--maximumtime", "3"]);
        assert!(!said.contains(PASSWORD), "svcrack as {agent} found the password: {said}");
    }
    let text = scrape(&world.layout);
    let tried = value(&text, "cordboard_sip_events_total{kind=\"bad_credentials\"}");
    // Its request is shorter than a challenge, and it does not repeat what is not answered: it may never get one.
    assert!(tried <= 10.0, "{tried} passwords were tried");
    let banned = bans(&world.layout).iter().any(|ban| ban["source"] == ATTACKER);
    assert!(banned || tried == 0.0, "{:?}", bans(&world.layout));
    if banned {
        lift(&world.layout);
    }
    let call = world.meta.call(&id);
    call.talk(50);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    assert_unbroken(&call.wait_over());
    // Another address is another address: a phone that registers there is heard.
    let _other = world.other_phone(OnRing::Wait, "PCMU");
    world.assert_no_violations();
}

#[test]
fn svmap_sees_nothing_of_a_gateway_it_is_honest_to_and_no_version_otherwise() {
    let mut world = World::start(&Setup::default());
    let (_, port) =
        world.layout.sip.rsplit_once(':').map(|(ip, port)| (ip, port.to_owned())).expect("a port");
    let honest = attack(&mut world, AGENTS[0], "svmap", &[]);
    assert!(!honest.contains(&port), "{honest}");
    let disguised = attack(&mut world, AGENTS[1], "svmap", &[]);
    assert!(!disguised.contains(env!("CARGO_PKG_VERSION")), "{disguised}");
}
