//! Trunks that ask who we are, that have several servers, and that want callers and numbers in their own way: SIPp
//! checks our digest by its own, and our headers by regular expressions.

use serde_json::json;

use crate::rig::gateway::{Setup, sample, scrape};
use crate::rig::program::wait_until;
use crate::rig::sound::{USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record, sipp};

const LOGIN: &str = "login = { user = \"acme\", password = { file = \"trunk-password\" } }";

fn with_trunk(trunk: &'static str) -> Setup {
    Setup { ring: r#""trunk:pbx/200""#, trunk, ..Setup::default() }
}

/// A figure of the trunk; 0 if it does not stand there.
fn figure(world: &World, name: &str, label: &str) -> f64 {
    let text = scrape(&world.layout);
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    line.and_then(sample).unwrap_or(0.0)
}

/// The user talks and hangs up; the call was answered behind the trunk.
fn talk_and_hang_up(world: &World) {
    let call = world.meta.place_call(USER);
    call.talk(50);
    call.act("hangup", &json!({}));
    call.wait_over();
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
    assert_heard(&call.heard, USER_HZ);
    world.assert_no_violations();
}

#[test]
fn a_trunk_that_asks_gets_the_right_digest_and_the_call() {
    let mut world = World::start(&with_trunk(LOGIN));
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_asks_who.xml", 1);
    talk_and_hang_up(&world);
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
}

#[test]
fn a_trunk_that_refuses_our_password_is_asked_twice_and_the_figures_say_so() {
    let mut world = World::start(&with_trunk(LOGIN));
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_asks_twice.xml", 1);
    let call = world.meta.place_call(USER);
    call.wait_over();
    assert!(world.closed_record(&call.id)["answered"].is_null());
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert!(figure(&world, "cordboard_trunk_login_refused", "pbx") > 0.0);
}

#[test]
fn we_register_with_a_provider_that_asks_and_the_figures_say_so() {
    let registering = "register = { user = \"acme\", expires = \"1m\" }\n\
                       login = { user = \"acme\", password = { file = \"trunk-password\" } }";
    let mut world = World::start(&with_trunk(registering));
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_registers_us.xml", 1);
    wait_until("we are registered", || figure(&world, "cordboard_trunk_registered", "pbx") > 0.0);
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
}

const TWO_SERVERS: &str = "servers = [{ address = \"SECOND\", priority = 20 }]";

#[test]
fn a_call_goes_on_to_the_second_server_when_the_first_is_out_of_service() {
    let mut world = World::start(&with_trunk(TWO_SERVERS));
    let folder = world.folder().to_owned();
    let mut first = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_out_of_service.xml", 1);
    let mut second = sipp::second_server(&folder, &world.layout, &mut world.ports, "trunk_answers.xml");
    talk_and_hang_up(&world);
    assert!(first.wait_exit().success(), "the first server was asked and heard our ACK");
    assert!(second.wait_exit().success(), "the second server had the call");
    assert!(figure(&world, "cordboard_trunk_failovers_total", "pbx") > 0.0);
}

#[test]
fn a_call_goes_on_to_the_second_server_when_the_first_says_nothing() {
    let mut world = World::start(&with_trunk(TWO_SERVERS));
    let folder = world.folder().to_owned();
    let silent = std::net::UdpSocket::bind(&world.layout.trunk).expect("a leased port is free");
    let mut second = sipp::second_server(&folder, &world.layout, &mut world.ports, "trunk_answers.xml");
    talk_and_hang_up(&world);
    assert!(second.wait_exit().success(), "the second server had the call");
    drop(silent);
}

#[test]
fn a_server_that_stops_answering_options_is_down_in_the_figures_until_it_answers_again() {
    let probe = "every = \"5s\", down_after = 1, up_after = 1";
    let mut world = World::start(&Setup { probe, ..with_trunk("") });
    let folder = world.folder().to_owned();
    let is_up = |world: &World| figure(world, "cordboard_trunk_server_up", "pbx") > 0.0;
    let lives =
        |world: &mut World| sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_lives.xml", 1);
    let mut trunk = lives(&mut world);
    assert!(trunk.wait_exit().success(), "an OPTIONS was sent and answered");
    wait_until("the server is up", || is_up(&world));
    // Nobody is there any more.
    wait_until("the server is down", || !is_up(&world));
    let call = world.meta.place_call(USER);
    call.wait_over();
    assert!(world.closed_record(&call.id)["answered"].is_null());
    let mut trunk = lives(&mut world);
    wait_until("the server is up again", || is_up(&world));
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
}

#[test]
fn a_trunk_is_told_the_caller_the_number_and_the_facts_in_its_own_way() {
    let wishes = "[trunk.numbers]\nform = \"national\"\ncountry = \"55\"\n\
                  [trunk.caller]\nheader = \"preferred\"\ndiversion = true\n\
                  [trunk.headers]\nbusiness_number = \"X-Number\"\nuser_to_user = \"payload\"";
    let mut world = World::start(&with_trunk(wishes));
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_wants_national.xml", 1);
    talk_and_hang_up(&world);
    let found = trunk.wait_exit().success();
    let told = ["sipp-errors.log", "sipp-messages.log"]
        .map(|name| std::fs::read_to_string(folder.join(name)).unwrap_or_default());
    assert!(found, "SIPp found each header as it should be: {told:?}");
}
