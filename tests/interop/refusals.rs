//! What is refused: forged webhooks, wrong tokens, wrong configuration.

use std::path::Path;

use serde_json::{Value, json};

use crate::rig::gateway::{Layout, Setup, cordboard, run, sample, scrape};
use crate::rig::ports::Ports;
use crate::rig::simulator::NUMBER_ID;
use crate::rig::{USER, World, http};

fn forged() -> Vec<u8> {
    let call = json!({ "id": "wacid.forged", "from": USER, "event": "connect", "timestamp": "1791900000",
        "session": { "sdp_type": "offer", "sdp": "v=0\r\n" } });
    let value = json!({ "messaging_product": "whatsapp", "metadata": { "phone_number_id": NUMBER_ID }, "calls": [call] });
    let change = json!({ "field": "calls", "value": value });
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [change] }] })
        .to_string()
        .into_bytes()
}

#[test]
fn a_webhook_with_a_wrong_signature_is_401_counted_and_nothing_else() {
    let world = World::start(&Setup::default());
    let zeros = format!("sha256={}", "0".repeat(64));
    for headers in
        [vec![("X-Hub-Signature-256", zeros.as_str())], vec![("X-Hub-Signature-256", "sha256=zz")], vec![]]
    {
        let answer = http::request("POST", &world.layout.webhook, "/webhook", &headers, &forged());
        assert_eq!(answer.map(|answer| answer.status), Some(401), "{headers:?}");
    }
    let text = scrape(&world.layout);
    let counted = text.lines().any(|line| line.contains("signature") && sample(line) == Some(3.0));
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("webhook")).collect();
    assert!(counted, "three bad signatures are counted: {lines:#?}");
    assert!(crate::rig::gateway::records(&world.layout).is_empty(), "no call came of it");
}

#[test]
fn the_verification_handshake_wants_the_right_token() {
    let world = World::start(&Setup::default());
    let ask = |token: &str| {
        let path = format!("/webhook?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444");
        http::request("GET", &world.layout.webhook, &path, &[], b"")
            .map(|answer| (answer.status, answer.body))
    };
    assert_eq!(ask("v3rify"), Some((200, "1158201444".to_owned())));
    assert_eq!(ask("wrong").map(|answer| answer.0), Some(403));
}

/// Runs `cordboard check` and `serve` on a changed configuration; both must refuse with 64 and name the key.
fn assert_refused(wrong: &str, instead_of: &str, names: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = Layout::new("127.0.0.1", folder.path(), &mut Ports::lease());
    layout.write_config("127.0.0.1:1", &Setup::default());
    let good = std::fs::read_to_string(layout.config()).expect("just written");
    assert!(good.contains(instead_of), "the configuration has {instead_of}");
    std::fs::write(layout.config(), good.replacen(instead_of, wrong, 1))
        .expect("the test's folder can be written");
    for arguments in [&["check"][..], &["serve", "--config"]] {
        let (status, said) = verdict(arguments, &layout.config());
        assert_eq!(status, Some(64), "{arguments:?} with {wrong}: {said}");
        assert!(said.contains(names), "{arguments:?} with {wrong} must name {names}: {said}");
    }
}

fn verdict(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let output = run(cordboard(arguments).arg(config), "");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

#[test]
fn a_good_configuration_is_good() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = Layout::new("127.0.0.1", folder.path(), &mut Ports::lease());
    layout.write_config("127.0.0.1:1", &Setup::default());
    let (status, said) = verdict(&["check"], &layout.config());
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn wrong_configurations_end_with_64_and_name_the_key() {
    assert_refused("path = \"/webhook\"\nverify_tokn = \"x\"", "path = \"/webhook\"", "verify_tokn");
    assert_refused("verify_token = \"plain\" #", "verify_token = { file", "verify_token");
    assert_refused("workers = \"many\"", "workers = 1", "workers");
    assert_refused("ring = [\"phone:9999\"]", "ring = [\"phone:1001\"]", "9999");
    assert_refused("voip_only = false", "voip_only = true", "voip_only");
}

#[test]
fn a_missing_file_is_named() {
    let (status, said) = verdict(&["check"], Path::new("no/such/file.toml"));
    assert_eq!(status, Some(64), "{said}");
    assert!(said.contains("no/such/file.toml"), "{said}");
}

#[test]
fn a_bad_webhook_body_with_a_good_signature_is_answered_and_hurts_nobody() {
    let world = World::start(&Setup::default());
    for body in [
        "",
        "{",
        "[]",
        "{\"entry\":7}",
        "{\"object\":\"whatsapp_business_account\",\"entry\":[{\"changes\":[{}]}]}",
    ] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"s3cret-of-the-app");
        let signature = format!("sha256={}", hex::encode(aws_lc_rs::hmac::sign(&key, body.as_bytes())));
        let headers = [("X-Hub-Signature-256", signature.as_str())];
        let answer = http::request("POST", &world.layout.webhook, "/webhook", &headers, body.as_bytes());
        let status = answer.map(|answer| answer.status);
        assert!(matches!(status, Some(200 | 400)), "{body}: {status:?}");
    }
    assert_eq!(crate::rig::gateway::records(&world.layout), Vec::<Value>::new());
    assert!(scrape(&world.layout).contains("cordboard_"), "the gateway still lives");
}
