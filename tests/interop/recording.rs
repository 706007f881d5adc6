//! Recorded calls, judged by programs that nobody here wrote: opusinfo, opusdec.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{Setup, scrape};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard, split, tenths_of};
use crate::rig::{USER, World};

/// The beep that tells of a recording; it lasts 400 ms.
const CONSENT_HZ: f64 = 1400.0;

/// A call of two seconds and a half on a gateway that records; its record and its directory of recordings.
fn record(recording: &'static str) -> (World, Value, PathBuf) {
    let (world, record, directory, _) = record_and_hear(recording);
    (world, record, directory)
}

/// The same, and what the phone and the user heard.
fn record_and_hear(recording: &'static str) -> (World, Value, PathBuf, [PathBuf; 2]) {
    let mut world = World::start(&Setup { recording, ..Setup::default() });
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(125);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    let id = call.id.clone();
    let heard = [phone.heard(), call.heard.clone()];
    drop(call);
    drop(phone);
    let record = wait_for("the recording is in the call's record", PATIENCE, || {
        let record = world.closed_record(&id);
        (!record["recording"]["ended"].is_null()).then_some(record)
    });
    let directory = world.layout.folder.join("recordings");
    (world, record, directory, heard)
}

fn file_of(record: &Value, directory: &Path) -> PathBuf {
    assert_eq!(record["recording"]["ended"], "complete", "{record:#}");
    directory.join(record["recording"]["file"].as_str().expect("a file"))
}

#[test]
fn a_recorded_call_plays_in_opusdec_with_a_side_on_each_channel() {
    let (world, record, directory) = record("enabled = true\ndirectory = \"recordings\"\nmin_free = \"1kB\"");
    let file = file_of(&record, &directory);
    let info = Command::new("opusinfo").arg(&file).output().expect("opus-tools is installed");
    let text = String::from_utf8_lossy(&info.stdout).into_owned() + &String::from_utf8_lossy(&info.stderr);
    assert!(info.status.success() && !text.contains("WARNING") && text.contains("Channels: 2"), "{text}");
    let decoded = directory.join("decoded.wav");
    let played = Command::new("opusdec").args(["--quiet"]).arg(&file).arg(&decoded).status();
    assert!(played.expect("opus-tools is installed").success());
    let [user, phone] = split(&decoded);
    assert_heard(&user, USER_HZ);
    assert_heard(&phone, PHONE_HZ);
    let digits = USER.trim_start_matches('+');
    assert!(!file.display().to_string().contains(digits), "a file is never named by a number");
    let metrics = scrape(&world.layout);
    assert!(metrics.contains("cordboard_recordings_total{kind=\"complete\"} 1"), "{metrics}");
    world.assert_no_violations();
}

#[test]
fn a_recorded_call_is_a_sound_wav_file() {
    let settings = "enabled = true\ndirectory = \"recordings\"\nformat = \"wav\"\nmin_free = \"1kB\"";
    let (_world, record, directory) = record(settings);
    let [user, phone] = split(&file_of(&record, &directory));
    assert_heard(&user, USER_HZ);
    assert_heard(&phone, PHONE_HZ);
}

#[test]
fn both_sides_hear_that_they_are_recorded_before_they_hear_each_other() {
    let settings = "enabled = true\ndirectory = \"recordings\"\nconsent = \"tone\"\nmin_free = \"1kB\"";
    let (world, record, directory, heard) = record_and_hear(settings);
    for path in heard {
        let (beep, loud) = tenths_of(&path, CONSENT_HZ);
        assert!((2..=4).contains(&beep), "{}: {beep} of {loud} loud tenths of a second", path.display());
    }
    assert!(file_of(&record, &directory).exists());
    world.assert_no_violations();
}
