//! The gateway dies or is stopped in the middle of a call: both sides learn of it, and the record is closed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cordboard::io::store::{Store, StoreSettings};
use cordboard::user::{Msisdn, UserId};
use cordboard::whatsapp::{CallEvent, CallEventKind, Event};
use serde_json::{Value, json};

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{Gateway, Layout, Setup, desk_calls};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::simulator::NUMBER_ID;
use crate::rig::{USER, World, assert_record, http, sipp};

/// Rule 27: both sides must know within this time of the restart.
const RULE_27: Duration = Duration::from_secs(10);

fn health(world: &World, path: &str) -> u16 {
    http::request("GET", &world.layout.admin, path, &[], b"").expect("the admin address answers").status
}

fn kill(gateway: &mut Gateway) {
    gateway.program.signal(libc::SIGKILL);
    gateway.program.wait_exit();
}

fn assert_orphaned(record: &Value, direction: &str) {
    assert_eq!(record["direction"], direction, "{record:#}");
    assert!(!record["answered"].is_null() && !record["endpoint"].is_null(), "{record:#}");
    assert_eq!((&record["fault"], &record["cause"]), (&json!("us"), &json!("orphaned")), "{record:#}");
}

/// Kills the gateway in the middle of a call; after its restart both sides learn of the end.
fn end_by_kill(world: &mut World, phone: &mut Phone, id: &str) {
    kill(&mut world.gateway);
    let call = world.meta.call(id);
    assert!(call.told()["terminate"].is_null(), "Meta does not know yet");
    world.gateway = Gateway::start(&world.layout);
    let restarted = Instant::now();
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert!(restarted.elapsed() < RULE_27, "rule 27: {:?}", restarted.elapsed());
    world.assert_no_violations();
}

#[test]
fn a_call_that_was_up_at_kill_9_is_ended_at_both_sides_after_the_restart() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let id = {
        let call = world.meta.place_call(USER);
        phone.wait("CALL_ESTABLISHED", 0);
        call.talk(50);
        call.id
    };
    end_by_kill(&mut world, &mut phone, &id);
    assert_orphaned(&world.closed_record(&id), "user_initiated");
}

#[test]
fn a_call_of_a_phone_that_was_up_at_kill_9_is_ended_at_both_sides_after_the_restart() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    phone.order("dial", &world.uri_of(&format!("8{USER}")));
    let id = {
        let call = world.meta.wait_call(USER);
        phone.wait("CALL_ESTABLISHED", 0);
        call.talk(50);
        call.id
    };
    end_by_kill(&mut world, &mut phone, &id);
    assert_orphaned(&world.closed_record(&id), "business_initiated");
}

#[test]
fn rule_27_two_phones_that_talked_to_each_other_at_kill_9_are_both_hung_up_on_after_the_restart() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    phone.order("dial", &world.uri_of("1002"));
    for phone in [&mut phone, &mut other] {
        phone.wait("CALL_ESTABLISHED", 0);
        wait_for("a phone hears a second", PATIENCE, || (phone.received().0 >= 50).then_some(()));
    }
    kill(&mut world.gateway);
    world.gateway = Gateway::start(&world.layout);
    let restarted = Instant::now();
    phone.wait("CALL_CLOSED", 0);
    other.wait("CALL_CLOSED", 0);
    assert!(restarted.elapsed() < RULE_27, "rule 27: {:?}", restarted.elapsed());
    let record = wait_for("the record is closed", PATIENCE, || {
        desk_calls(&world.layout).into_iter().find(|it| !it["ended"].is_null())
    });
    assert_eq!((&record["fault"], &record["cause"]), (&json!("us"), &json!("orphaned")), "{record:#}");
}

#[test]
fn a_trunk_that_talked_at_kill_9_gets_a_bye_after_the_restart() {
    let mut world = World::start(&Setup { ring: r#""trunk:pbx/200""#, ..Setup::default() });
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
    let id = {
        let call = world.meta.place_call(USER);
        call.talk(50);
        call.id
    };
    kill(&mut world.gateway);
    world.gateway = Gateway::start(&world.layout);
    let restarted = Instant::now();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario: INVITE, ACK, BYE");
    world.meta.call(&id).wait_over();
    assert!(restarted.elapsed() < RULE_27, "{:?}", restarted.elapsed());
    assert_orphaned(&world.closed_record(&id), "user_initiated");
    world.assert_no_violations();
}

/// The store as a loss of power may leave it a moment after a call began: Meta was told that its webhook is
/// kept, and so it is; the record was with the operating system only.
fn lose_record(layout: &Layout, call: &str) {
    for name in ["cordboard.db", "cordboard.db-wal", "cordboard.db-shm"] {
        let _ = std::fs::remove_file(layout.folder.join(name));
    }
    let now = cordboard::io::signalling::now().wall;
    let event = Event::Call(CallEvent {
        number: NUMBER_ID.into(),
        call: call.into(),
        at: now - Duration::from_secs(600),
        user: Msisdn::parse(USER).map(UserId::Phone),
        opaque: None,
        kind: CallEventKind::UserCalled {
            offer: "v=0".to_owned(),
            name: None,
            username: None,
            cta_payload: None,
            deeplink_payload: None,
        },
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let path = layout.folder.join("cordboard.db");
        let store = Store::open(&path, StoreSettings::default()).await.expect("a store");
        store.receive(&[event], now).await.expect("kept");
        store.close().await;
    });
}

#[test]
fn a_call_whose_record_was_lost_with_the_power_is_ended_at_meta_after_the_restart() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let id = {
        let call = world.meta.place_call(USER);
        phone.wait("CALL_ESTABLISHED", 0);
        call.talk(50);
        call.id
    };
    kill(&mut world.gateway);
    lose_record(&world.layout, &id);
    world.gateway = Gateway::start(&world.layout);
    let restarted = Instant::now();
    let call = world.meta.call(&id);
    call.wait_over();
    assert!(restarted.elapsed() < RULE_27, "{:?}", restarted.elapsed());
    assert!(!call.told()["terminate"].is_null(), "{}", call.told());
    world.assert_no_violations();
}

/// Waits until the next start would find a phone's registration.
fn wait_until_kept(layout: &Layout) {
    let local: SocketAddr = layout.sip.parse().expect("an address");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let path = layout.folder.join("cordboard.db");
    let store = runtime.block_on(Store::open(&path, StoreSettings::default())).expect("a store");
    wait_for("the registration is kept", PATIENCE, || {
        let now = cordboard::io::signalling::now().wall;
        let kept = runtime.block_on(store.bindings(local, now)).expect("the store can be read");
        (!kept.is_empty()).then_some(())
    });
    runtime.block_on(store.close());
}

/// How often the registrar has taken a phone, by its own words.
fn registered(phone: &Phone) -> usize {
    phone.output().matches("} 200 OK (").count()
}

#[test]
fn a_call_right_after_kill_9_rings_the_phone_that_registered_before_it() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    wait_until_kept(&world.layout);
    kill(&mut world.gateway);
    let before = registered(&phone);
    world.gateway = Gateway::start(&world.layout);
    let id = {
        let call = world.meta.place_call(USER);
        phone.wait("CALL_ESTABLISHED", 0);
        assert_eq!(registered(&phone), before, "it rang without registering again");
        call.talk(50);
        call.id
    };
    phone.order("hangup", "");
    phone.wait("CALL_CLOSED", 0);
    let record = world.closed_record(&id);
    assert_record(&record, "user_initiated", true, "phone");
    world.assert_no_violations();
}

#[test]
fn sigterm_ends_the_call_at_both_sides_and_the_program_with_status_0() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    world.gateway.program.signal(libc::SIGTERM);
    assert!(world.gateway.program.wait_exit().success(), "a stop is not a failure");
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    let record = world.closed_record(&call.id);
    assert!(!record["answered"].is_null(), "{record:#}");
    assert_eq!(record["fault"], "us", "{record:#}");
    world.assert_no_violations();
}

#[test]
fn r10_a_stop_lets_the_running_call_go_on_turns_new_ones_away_and_ends_with_it() {
    let mut world = World::start(&Setup { calls: "drain = \"1h\"", ..Setup::default() });
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    assert_eq!(health(&world, "/readyz"), 200);
    world.gateway.program.signal(libc::SIGTERM);
    wait_for("nobody else is sent here", PATIENCE, || (health(&world, "/readyz") == 503).then_some(()));
    assert_eq!(health(&world, "/healthz"), 200, "it lives on");
    let late = world.meta.place_call("5521955500777");
    late.wait_over();
    call.talk(50);
    let heard = phone.received().0;
    wait_for("the call goes on", PATIENCE, || (phone.received().0 >= heard + 100).then_some(()));
    call.act("hangup", &Value::Null);
    assert!(world.gateway.program.wait_exit().success(), "with its last call the program ends");
    let record = world.closed_record(&call.id);
    assert_eq!(record["fault"], "user", "nobody of us ended it: {record:#}");
    world.assert_no_violations();
}

#[test]
fn a_second_sigterm_ends_the_call_that_the_first_one_spared() {
    let mut world = World::start(&Setup { calls: "drain = \"1h\"", ..Setup::default() });
    let mut phone = world.phone(OnRing::Answer);
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    world.gateway.program.signal(libc::SIGTERM);
    wait_for("it drains", PATIENCE, || (health(&world, "/readyz") == 503).then_some(()));
    assert_eq!(phone.seen("CALL_CLOSED", 0), None, "the first one spares it");
    world.gateway.program.signal(libc::SIGTERM);
    assert!(world.gateway.program.wait_exit().success(), "a stop is not a failure");
    phone.wait("CALL_CLOSED", 0);
    call.wait_over();
    world.assert_no_violations();
}
