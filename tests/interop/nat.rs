//! A phone behind a NAT of network namespaces: it is answered, called and heard where it comes from.

use serde_json::json;

use crate::rig::baresip::{OnRing, Phone, PhoneSettings};
use crate::rig::gateway::{PASSWORD, Setup, sample, scrape};
use crate::rig::office::{GATEWAY_IP, Office, PHONE_IP, ROUTER_IP};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record};

/// Two seconds and a half of talking.
const TALK: u64 = 125;

/// The gateway in the open, and a phone behind the router; `more` is for `[sip.keep_alive]`.
fn behind_nat(office: &Office, keep_alive: &'static str) -> (World, Phone) {
    let setup = Setup { calls: keep_alive, ..Setup::default() };
    let mut world = World::start_at(GATEWAY_IP, &setup);
    let (folder, registrar) = (world.folder().to_owned(), world.layout.sip.clone());
    let settings = PhoneSettings {
        name: "1001",
        password: PASSWORD,
        registrar: &registrar,
        transport: "udp",
        on_ring: OnRing::Answer,
        codec: "PCMU",
        hz: PHONE_HZ,
        encryption: "",
    };
    let ports = &mut world.ports;
    let phone = office.at_phone(|| Phone::start_at(&PHONE_IP.to_string(), &folder, ports, &settings));
    (world, phone.registered())
}

fn figure(world: &World, name: &str) -> f64 {
    let text = scrape(&world.layout);
    text.lines().find(|line| line.starts_with(name)).and_then(sample).unwrap_or(0.0)
}

#[test]
fn rule_14_and_21_a_phone_behind_a_nat_registers_is_called_and_calls_with_sound_both_ways() {
    let Some(office) = Office::build(20_000..21_000) else { return };
    let (world, mut phone) = behind_nat(&office, "");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    assert_unbroken(&call.told());
    // The description names an address that nobody can reach from here.
    assert!(phone.output().contains(&format!("c=IN IP4 {PHONE_IP}")), "{}", phone.output());
    assert!(phone.output().contains(&format!("received={ROUTER_IP}")), "the phone is told who it is");
    world.meta.set_user(USER, &json!({}));
    let mark = phone.mark();
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let call = world.meta.wait_call(USER);
    phone.wait("CALL_ESTABLISHED", mark);
    call.talk(TALK);
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", mark);
    call.wait_over();
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "phone");
    world.assert_no_violations();
}

#[test]
fn a_nat_that_forgets_after_seconds_is_reminded_and_the_phone_still_rings() {
    let Some(office) = Office::build(20_000..21_000) else { return };
    office.forget_after(7);
    let (world, mut phone) = behind_nat(&office, "[sip.keep_alive]\nevery = \"5s\"\n");
    // Longer than the NAT remembers: 3 questions are 15 seconds, and the phone itself says nothing for most of a minute.
    wait_for("the phone has been asked three times", 2 * PATIENCE, || {
        (phone.output().matches("OPTIONS sip:1001").count() >= 3).then_some(())
    });
    assert_eq!(phone.output().matches("} 200 OK (").count(), 1, "it has registered once");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
}

#[test]
fn rule_14_a_nat_that_maps_anew_within_a_call_loses_neither_sound_nor_signalling() {
    let Some(office) = Office::build(20_000..21_000) else { return };
    let (world, mut phone) = behind_nat(&office, "");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    office.map_to(30_000..31_000);
    // The phone hears again: its sound has told the new port, after the silence that rule 14 asks for.
    let before = phone.received().0;
    wait_for("the phone hears again", 2 * PATIENCE, || {
        (phone.received().0 >= before + 2 * TALK).then_some(())
    });
    // It speaks first, from its new port, and what follows is sent there.
    for order in ["hold", "resume"] {
        let mark = phone.mark();
        phone.order(order, "");
        phone.wait("CALL_REMOTE_SDP", mark);
        call.talk(50);
    }
    call.talk(TALK);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", 0);
    let told = call.wait_over();
    assert_unbroken(&told);
    assert_heard(&phone.heard(), USER_HZ);
    assert_heard(&call.heard, PHONE_HZ);
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_eq!(figure(&world, "cordboard_sip_ack_timeouts"), 0.0);
    world.assert_no_violations();
}
