//! The gateway answers for nobody: a message is left, lights a lamp, is listened to and deleted; a closed number says so.

use std::process::Command;

use serde_json::{Value, json};

use crate::rig::gateway::{Setup, cordboard, run, scrape};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sound::{USER_HZ, assert_heard, tenths_of, write_voice};
use crate::rig::{USER, World, assert_record, baresip};

/// The tone behind the greeting; it lasts 400 ms.
const TONE_HZ: f64 = 1400.0;

const VOICEMAIL: &str = r#"overflow = "voicemail"
greeting = "tone:1900/1000"
[voicemail]
directory = "voicemail"
min_free = "1kB"
"#;

/// Runs a command that must go well.
fn done(world: &World, arguments: &[&str]) -> String {
    let output = run(cordboard(arguments).arg("--config").arg(world.layout.config()), "");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    said
}

fn messages(world: &World) -> Vec<Value> {
    serde_json::from_str(&done(world, &["voicemail", "--json"])).expect("an array of messages")
}

#[test]
fn b1_a_user_leaves_a_message_when_no_phone_takes_the_call() {
    let mut world = World::start(&Setup { number: VOICEMAIL, ..Setup::default() });
    let call = world.meta.place_call(USER);
    call.talk(300);
    call.act("hangup", &json!({}));
    let told = call.wait_over();
    let record = world.closed_record(&call.id);
    assert_record(&record, "user_initiated", true, "policy");
    assert_eq!((&record["cause"], &record["endpoint"]), (&json!("voicemail"), &Value::Null), "{record:#}");
    let message = wait_for("the message is on the list", PATIENCE, || messages(&world).pop());
    assert_eq!((&message["call"], &message["number"]), (&record["id"], &json!("support")), "{message:#}");
    assert!(message["seconds"].as_u64().is_some_and(|it| (2..=8).contains(&it)), "{message:#}");
    assert!(message["heard"].is_null() && !message.to_string().contains(USER), "{message:#}");
    // What is kept is what the user said.
    let id = message["id"].to_string();
    let (sound, decoded) = (world.folder().join("message.opus"), world.folder().join("message.wav"));
    done(&world, &["voicemail", "save", &id, &sound.display().to_string()]);
    let played = Command::new("opusdec").arg("--quiet").arg(&sound).arg(&decoded).status();
    assert!(played.expect("opus-tools is installed").success());
    assert_heard(&decoded, USER_HZ);
    // The user heard the greeting, then the tone, in one unbroken line.
    for (hz, least) in [(1900.0, 7), (TONE_HZ, 2)] {
        let (tenths, loud) = tenths_of(&call.heard, hz);
        assert!(tenths >= least, "{hz} Hz: {tenths} of {loud} loud tenths of a second");
    }
    assert_unbroken(&told);
    assert!(done(&world, &["missed"]).contains("voicemail"), "a call with a message is still a missed one");
    assert!(done(&world, &["missed"]).contains(&format!("open, message {id}")));
    let metrics = scrape(&world.layout);
    assert!(
        metrics.contains(r#"cordboard_voicemails_total{number="support",outcome="left"} 1"#),
        "{metrics}"
    );
    // A phone that the number rings hears it by the code, and then it is no new one.
    let mut phone = world.phone(baresip::OnRing::Answer);
    phone.order("dial", &world.uri_of("*97"));
    phone.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_CLOSED", 0);
    assert_heard(&phone.heard(), USER_HZ);
    wait_for("the message counts as heard", PATIENCE, || {
        (messages(&world)[0]["heard_by"] == "1001").then_some(())
    });
    done(&world, &["voicemail", "heard", &id, "--by", "ana"]);
    assert_eq!(messages(&world)[0]["heard_by"], "1001", "who heard it first");
    let mark = phone.mark();
    phone.order("dial", &world.uri_of("*97"));
    let closed = phone.wait("CALL_CLOSED", mark);
    assert!(closed.to_string().contains("No messages"), "{closed:#}");
    done(&world, &["voicemail", "delete", &id]);
    assert_eq!(messages(&world), Vec::<Value>::new());
    let left = std::fs::read_dir(world.folder().join("voicemail")).expect("the directory");
    let files = left.flatten().flat_map(|day| std::fs::read_dir(day.path()).into_iter().flatten()).count();
    assert_eq!(files, 0, "the file is deleted with its message");
    world.assert_no_violations();
}

#[test]
fn a_phone_that_answers_gets_the_call_and_one_that_does_not_is_stopped_by_the_voicemail() {
    let number = r#"overflow = "voicemail"
[[number.step]]
targets = ["phone:1001"]
ring = "3s"
[voicemail]
directory = "voicemail"
min_free = "1kB"
silence = "2s"
"#;
    let mut world = World::start(&Setup { ring: "", number, ..Setup::default() });
    let mut phone = world.phone(baresip::OnRing::Wait);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_INCOMING", 0);
    phone.wait("CALL_CLOSED", 0);
    call.talk(100);
    let nothing = world.folder().join("nothing.wav");
    write_voice(&nothing, 16_000, 0.0, 30);
    call.act("speak", &json!({ "wav": nothing }));
    let record = world.closed_record(&call.id);
    assert_eq!(record["cause"], "voicemail", "the gateway hangs up on silence: {record:#}");
    assert_eq!(messages(&world).len(), 1);
    let mark = phone.mark();
    let call = world.meta.place_call(USER);
    phone.wait("CALL_INCOMING", mark);
    phone.order("accept", "");
    call.talk(50);
    call.act("hangup", &json!({}));
    assert_eq!(world.closed_record(&call.id)["endpoint"], "phone 1001");
    assert_eq!(messages(&world).len(), 1);
    world.assert_no_violations();
}

#[test]
fn b12_a_closed_number_plays_its_announcement_and_hangs_up() {
    let number = r#"announcement = "tone:1900/1000"
hours = { time_zone = "Europe/Berlin", holidays = ["2020-01-01 09:00-10:00"], closed = "announcement" }"#;
    let mut world = World::start(&Setup { number, ..Setup::default() });
    let phone = world.phone(baresip::OnRing::Answer);
    let call = world.meta.place_call(USER);
    let record = world.closed_record(&call.id);
    assert_eq!((&record["cause"], &record["endpoint"]), (&json!("announced"), &Value::Null), "{record:#}");
    let (tenths, loud) = tenths_of(&call.heard, 1900.0);
    assert!(tenths >= 7, "{tenths} of {loud} loud tenths of a second");
    assert!(!phone.output().contains("CALL_INCOMING"), "no phone rings");
    assert!(done(&world, &["missed"]).contains("announced"));
    world.assert_no_violations();
}

#[test]
fn what_a_user_said_to_metas_own_voicemail_is_fetched_and_stands_beside_the_missed_call() {
    let world =
        World::start(&Setup { number: "[voicemail]\ndirectory = \"voicemail\"\n", ..Setup::default() });
    let call = world.meta.place_call(USER);
    let record = world.closed_record(&call.id);
    let (wav, sound) = (world.folder().join("said.wav"), world.folder().join("said.opus"));
    write_voice(&wav, 48_000, USER_HZ, 3);
    let made = Command::new("opusenc").arg("--quiet").arg(&wav).arg(&sound).status();
    assert!(made.expect("opus-tools is installed").success());
    // Another sound than the one that was announced is not what the user has said.
    let other = world.meta.place_call(USER);
    world.closed_record(&other.id);
    let altered = json!({ "file": sound, "altered": true });
    world.meta.order(&format!("/sim/calls/{}/voicemail", other.id), &altered);
    let altered = r#"cordboard_voicemails_total{number="support",outcome="altered"} "#;
    wait_for("the other sound is refused", PATIENCE, || {
        scrape(&world.layout).contains(altered).then_some(())
    });
    assert!(messages(&world).iter().all(|it| it["file"].is_null()), "and not kept");
    let refused = messages(&world)[0]["id"].to_string();
    done(&world, &["voicemail", "delete", &refused]);
    world.meta.set_faults(&json!({ "webhook_duplicate": true }));
    world.meta.order(&format!("/sim/calls/{}/voicemail", call.id), &json!({ "file": sound }));
    let message = wait_for("the message was fetched", PATIENCE, || {
        messages(&world).into_iter().find(|it| !it["file"].is_null())
    });
    assert_eq!((&message["call"], &message["source"]), (&record["id"], &json!("meta")), "{message:#}");
    assert_eq!(messages(&world).len(), 1, "a repeated webhook is the same message");
    let saved = world.folder().join("saved.opus");
    done(&world, &["voicemail", "save", &message["id"].to_string(), &saved.display().to_string()]);
    assert_eq!(std::fs::read(saved).expect("a file"), std::fs::read(sound).expect("a file"));
    world.assert_no_violations();
}
