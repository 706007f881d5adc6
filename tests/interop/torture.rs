//! RFC 4475, RFC 5118 and worse thrown at the live port while somebody talks.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::rig::baresip::OnRing;
use crate::rig::gateway::{Setup, sample, scrape};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sip::SipPeer;
use crate::rig::{USER, World, assert_record};

/// The messages of RFC 4475 and RFC 5118, one file each.
fn messages() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for rfc in ["rfc4475", "rfc5118"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sip").join(rfc);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.retain(|file| file.extension().is_some_and(|ending| ending == "dat"));
    files.sort();
    assert_eq!(files.len(), 49 + 12);
    files
}

/// Datagrams that are hardly SIP at all.
fn rubbish() -> Vec<Vec<u8>> {
    let mut all = vec![
        Vec::new(),
        b"\r\n\r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"INVITE".to_vec(),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        b"REGISTER sip:x SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"INVITE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 0.0.0.0:0;branch=z9hG4bK;rport=99999999\r\n\r\n".to_vec(),
        vec![0x80; 172],
        vec![b'A'; 60_000],
    ];
    all.push([b"OPTIONS sip:a SIP/2.0\r\n".to_vec(), b"Via: ,".repeat(9000)].concat());
    all.push(b"INVITE sip:\xff\xfe@\xc3( SIP/2.0\r\nFrom: \"\xff\" <sip:\xff>\r\n\r\n".to_vec());
    all
}

#[test]
fn a_call_goes_on_while_torture_messages_arrive_and_options_are_answered() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(25);
    let peer = SipPeer::stranger(&mut world.ports, &world.layout.sip);
    for (index, file) in messages().iter().enumerate() {
        peer.send(&std::fs::read(file).expect("a file of this repository"));
        peer.assert_alive(&format!("alive-{index}"));
    }
    for (index, bytes) in rubbish().iter().enumerate() {
        peer.send(bytes);
        peer.assert_alive(&format!("still-{index}"));
    }
    call.talk(50);
    assert!(phone.seen("CALL_CLOSED", 0).is_none(), "the call survives");
    assert_unbroken(&call.told());
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_eq!(world.meta.calls().len(), 1, "no torture message became a call");
    let counted = scrape(&world.layout).lines().any(|line| {
        line.contains("sip") && line.contains("error") && sample(line).is_some_and(|count| count > 0.0)
    });
    assert!(counted, "unreadable messages are counted");
    world.assert_no_violations();
}
