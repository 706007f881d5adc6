//! Kamailio as the trunk: a proxy that stays in the path (Record-Route), asks who we are, takes our registration, and
//! is reached by UDP, TCP and TLS; behind it a real phone.

use serde_json::json;

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{Setup, sample, scrape};
use crate::rig::kamailio::{Kamailio, KamailioSettings, Tls};
use crate::rig::program::wait_until;
use crate::rig::sound::{PHONE_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record};

const LOGIN: &str = "login = { user = \"acme\", password = { file = \"trunk-password\" } }\n";

/// A figure of the trunk; 0 if it does not stand there.
fn figure(world: &World, name: &str) -> f64 {
    let text = scrape(&world.layout);
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains("pbx"));
    line.and_then(sample).unwrap_or(0.0)
}

fn setup(trunk: &'static str) -> Setup {
    Setup { ring: r#""trunk:pbx/200""#, trunk, ..Setup::default() }
}

/// The user calls, the phone behind Kamailio answers, both are heard; then the phone hangs up.
fn a_user_calls(world: &World, phone: &mut Phone) {
    let mark = phone.mark();
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", mark);
    call.talk(100);
    phone.order("hangup", "");
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "phone");
    assert_heard(&call.heard, PHONE_HZ);
    assert_heard(&phone.heard(), USER_HZ);
}

/// The phone behind Kamailio calls the user, who talks and hangs up.
fn the_phone_calls(world: &World, kamailio: &Kamailio, phone: &mut Phone) {
    let mark = phone.mark();
    world.meta.set_user(USER, &json!({ "answer_after_ms": 300 }));
    phone.order("dial", &format!("sip:8{USER}@{}", kamailio.phones_at));
    phone.wait("CALL_ESTABLISHED", mark);
    let call = world.meta.wait_call(USER);
    call.talk(100);
    call.act("hangup", &json!({}));
    phone.wait("CALL_CLOSED", mark);
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "business_initiated", true, "user");
    assert_heard(&call.heard, PHONE_HZ);
}

/// Calls both ways through a Kamailio.
fn calls_pass_both_ways(trunk: &'static str, settings: KamailioSettings) {
    let mut world = World::start(&setup(trunk));
    let kamailio = Kamailio::start(&mut world, settings);
    let mut phone = kamailio.phone(&mut world, OnRing::Answer);
    if settings.registration {
        wait_until("we are registered", || figure(&world, "cordboard_trunk_registered") > 0.0);
    }
    // In this order: the stand-in's first call is the one that it is asked for.
    the_phone_calls(&world, &kamailio, &mut phone);
    a_user_calls(&world, &mut phone);
    assert!(figure(&world, "cordboard_trunk_login_refused") < 1.0);
    world.assert_no_violations();
}

#[test]
fn calls_pass_both_ways_through_kamailio_that_knows_us_by_our_password() {
    let settings = KamailioSettings { login: true, to_gateway: "udp", ..KamailioSettings::default() };
    calls_pass_both_ways(LOGIN, settings);
}

#[test]
fn calls_pass_both_ways_through_kamailio_by_tcp() {
    let settings = KamailioSettings { to_gateway: "tcp", ..KamailioSettings::default() };
    calls_pass_both_ways("transport = \"tcp\"\n", settings);
}

#[test]
fn calls_pass_both_ways_through_kamailio_with_which_we_are_registered() {
    let registering = "register = { user = \"acme\", expires = \"1m\" }\n\
                       login = { user = \"acme\", password = { file = \"trunk-password\" } }\n";
    let settings = KamailioSettings {
        login: true,
        registration: true,
        to_gateway: "udp",
        ..KamailioSettings::default()
    };
    calls_pass_both_ways(registering, settings);
}

#[test]
fn calls_pass_both_ways_through_kamailio_by_tls_when_both_show_their_certificates() {
    let trunk = "transport = \"tls\"\ntls_name = \"pbx.test\"\nca = \"authority.pem\"\n\
                 certificate = \"gateway-certificate.pem\"\nkey = \"gateway-key.pem\"\n";
    let settings = KamailioSettings { tls: Tls::Mutual, to_gateway: "tls", ..KamailioSettings::default() };
    calls_pass_both_ways(trunk, settings);
}

#[test]
fn calls_pass_both_ways_through_kamailio_by_tls_that_shows_a_certificate_and_asks_for_our_password_instead_of_one()
 {
    let trunk = "transport = \"tls\"\ntls_name = \"pbx.test\"\nca = \"authority.pem\"\n\
                 login = { user = \"acme\", password = { file = \"trunk-password\" } }\n";
    let settings = KamailioSettings {
        login: true,
        tls: Tls::OneSided,
        to_gateway: "tls",
        ..KamailioSettings::default()
    };
    calls_pass_both_ways(trunk, settings);
}

/// A call to a Kamailio behind TLS that comes to nothing, and without a message to it.
fn the_call_fails(trunk: &'static str) {
    let mut world = World::start(&setup(trunk));
    let settings = KamailioSettings { tls: Tls::Mutual, to_gateway: "tls", ..KamailioSettings::default() };
    let kamailio = Kamailio::start(&mut world, settings);
    let mut phone = kamailio.phone(&mut world, OnRing::Answer);
    let mark = phone.mark();
    let call = world.meta.place_call(USER);
    call.wait_over();
    assert!(world.closed_record(&call.id)["answered"].is_null());
    assert!(phone.seen("CALL_INCOMING", mark).is_none(), "nothing passed");
}

#[test]
fn a_certificate_for_another_name_is_no_certificate() {
    the_call_fails(
        "transport = \"tls\"\ntls_name = \"other.test\"\nca = \"authority.pem\"\n\
         certificate = \"gateway-certificate.pem\"\nkey = \"gateway-key.pem\"\n",
    );
}

#[test]
fn a_trunk_that_wants_a_certificate_of_ours_takes_no_call_without_it() {
    the_call_fails("transport = \"tls\"\ntls_name = \"pbx.test\"\nca = \"authority.pem\"\n");
}

#[test]
fn f4_kamailio_killed_in_a_call_is_down_until_it_answers_options_again() {
    let probe = "every = \"5s\", down_after = 1, up_after = 1";
    let mut world = World::start(&Setup { probe, ..setup("") });
    let settings = KamailioSettings { to_gateway: "udp", ..KamailioSettings::default() };
    let mut kamailio = Kamailio::start(&mut world, settings);
    let mut phone = kamailio.phone(&mut world, OnRing::Answer);
    let is_up = |world: &World| figure(world, "cordboard_trunk_server_up") > 0.0;
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(50);
    kamailio.kill();
    // Who is dead answers no BYE; the call ends at Meta all the same.
    call.act("hangup", &json!({}));
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    drop(phone);
    wait_until("the trunk is down", || !is_up(&world));
    let call = world.meta.place_call(USER);
    call.wait_over();
    assert!(world.closed_record(&call.id)["answered"].is_null());
    kamailio.restart();
    wait_until("the trunk is up again", || is_up(&world));
    let mut phone = kamailio.phone(&mut world, OnRing::Answer);
    a_user_calls(&world, &mut phone);
    world.assert_no_violations();
}
