//! Lamps: SIPp asks for its mailbox, and a phone picks up by what another one's lamp tells.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::Setup;
use crate::rig::program::{PATIENCE, wait_for, wait_until};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sound::{USER_HZ, tenths_of};
use crate::rig::{USER, World, assert_record, sipp};

#[test]
fn a_sipp_asks_for_its_mailbox_and_for_what_there_is_not() {
    let mut world = World::start(&Setup::default());
    let folder = world.folder().to_owned();
    let mut asking = sipp::caller(&folder, &world.layout, &mut world.ports, "phone_asks_mailbox.xml", "1001");
    assert!(asking.wait_exit().success(), "SIPp saw its whole scenario");
    let trace = std::fs::read_to_string(folder.join("sipp-messages.log")).expect("SIPp's log");
    assert!(trace.contains("Messages-Waiting: no"), "{trace}");
}

/// What the mailbox's NOTIFY requests said so far, each as its lines about messages.
fn told_of_messages(folder: &Path) -> Vec<String> {
    let trace = std::fs::read_to_string(folder.join("sipp-messages.log")).unwrap_or_default();
    let notices = trace.split("NOTIFY sip:").skip(1);
    let lines = |it: &str| {
        let about =
            it.lines().filter(|it| it.starts_with("Messages-Waiting") || it.starts_with("Voice-Message"));
        about.map(str::trim).collect::<Vec<_>>().join(", ")
    };
    notices.map(lines).filter(|it| !it.is_empty()).collect()
}

#[test]
fn a_message_lights_the_lamp_when_it_was_left_and_puts_it_out_when_it_was_heard() {
    let number = "overflow = \"voicemail\"\n[voicemail]\ndirectory = \"voicemail\"\nmin_free = \"1kB\"\n";
    let mut world = World::start(&Setup { number, ..Setup::default() });
    let folder = world.folder().to_owned();
    let scenario = "phone_watches_mailbox.xml";
    let mut watcher = sipp::caller(&folder, &world.layout, &mut world.ports, scenario, "1001");
    wait_until("the lamp is there", || told_of_messages(&folder).len() == 1);
    let call = world.meta.place_call(USER);
    call.talk(250);
    call.act("hangup", &Value::Null);
    world.closed_record(&call.id);
    wait_until("the lamp is lit", || told_of_messages(&folder).len() == 2);
    let mut phone = world.phone(OnRing::Wait);
    phone.order("dial", &world.uri_of("*97"));
    phone.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_CLOSED", 0);
    assert!(watcher.wait_exit().success(), "SIPp saw its whole scenario");
    let told = told_of_messages(&folder);
    let wanted = ["Messages-Waiting: no", "Messages-Waiting: yes", "Messages-Waiting: no"];
    assert!(
        told.len() == 3 && told.iter().zip(wanted).all(|(it, wanted)| it.starts_with(wanted)),
        "{told:#?}"
    );
    assert!(told[1].contains("Voice-Message: 1/0") && told[2].contains("Voice-Message: 0/1"), "{told:#?}");
}

/// The calls of a lamp's last document, as Python's XML parser reads it.
fn read_with_python(folder: &Path) -> Option<Value> {
    let trace = std::fs::read_to_string(folder.join("sipp-messages.log")).ok()?;
    let start = trace.rfind("<?xml")?;
    let document = &trace[start..start + trace[start..].find("</dialog-info>")? + "</dialog-info>".len()];
    let reads = "import sys,json,xml.etree.ElementTree as E\n\
                 n='{urn:ietf:params:xml:ns:dialog-info}'\n\
                 r=E.fromstring(sys.argv[1])\n\
                 print(json.dumps([dict(d.attrib,state=d.find(n+'state').text) for d in r.findall(n+'dialog')]))";
    let output = Command::new("python3").args(["-c", reads, document]).output().expect("python3");
    assert!(output.status.success(), "{document}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn a_watcher_that_may_take_calls_over_picks_one_up_by_what_its_lamp_tells() {
    let setup = Setup { ring: r#""phone:1002""#, phone: "take_over = true", ..Setup::default() };
    let mut world = World::start(&setup);
    let mut watched = world.other_phone(OnRing::Wait, "PCMU");
    let folder = world.folder().to_owned();
    let mut watcher = sipp::caller(&folder, &world.layout, &mut world.ports, "phone_watches.xml", "1002");
    wait_until("the lamp is there", || read_with_python(&folder).is_some_and(|it| it == json!([])));
    let call = world.meta.place_call(USER);
    watched.wait("CALL_INCOMING", 0);
    let dialog = wait_for("the lamp blinks", PATIENCE, || {
        let dialogs = read_with_python(&folder)?;
        let it = dialogs.as_array()?.first()?.clone();
        (it["state"] == "early" && it["direction"] == "recipient").then_some(it)
    });
    let value = |name: &str| dialog[name].as_str().map(str::to_owned).expect("the call has a name");
    let named =
        format!("{};to-tag={};from-tag={}", value("call-id"), value("local-tag"), value("remote-tag"));
    let layout = &world.layout;
    let mut taking = sipp::taker(&folder, layout, &mut world.ports, "phone_picks_up.xml", "1002", &named);
    watched.wait("CALL_CLOSED", 0);
    call.talk(125);
    assert!(taking.wait_exit().success(), "SIPp saw its whole scenario");
    assert!(watcher.wait_exit().success(), "SIPp saw its whole scenario");
    call.wait_over();
    let (echo, loud) = tenths_of(&call.heard, USER_HZ);
    assert!(echo >= 10, "the user hears the echo: {echo} of {loud}");
    assert_unbroken(&call.told());
    let record = world.closed_record(&call.id);
    assert_record(&record, "user_initiated", true, "phone");
    assert!(record["endpoint"].as_str().is_some_and(|it| it.contains("1001")), "{record:#}");
    world.assert_no_violations();
}
