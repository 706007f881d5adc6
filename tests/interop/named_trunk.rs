//! A trunk behind a name, with a real name server (dnsmasq): where calls go, and where they go on to.

use std::process::Command;

use serde_json::json;

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::Setup;
use crate::rig::program::{Program, wait_until};
use crate::rig::simulator::assert_unbroken;
use crate::rig::sound::{TRUNK_HZ, USER_HZ, assert_heard};
use crate::rig::{USER, World, assert_record, sip};

/// A trunk whose address is a name that only our name server knows.
const NAMED: Setup = Setup {
    ring: r#""trunk:named/200""#,
    trunk: "[[trunk]]\nname = \"named\"\naddress = \"pbx.test\"\nsources = [\"127.0.0.3\"]\nvoip_only = true\n\
            probe = { enabled = false }\n[sip.dns]\nservers = [\"NAMESERVER\"]\n",
    probe: "enabled = false",
    media: "",
    calls: "",
    number: "",
    phone: "",
    front_desk: "",
    recording: "",
    api: false,
    aiortc: false,
};

/// dnsmasq with these servers of `_sip._udp.pbx.test`: port and priority.
fn name_server(world: &World, servers: &[(&str, u16)]) -> Program {
    let port = world.layout.dns.rsplit(':').next().expect("an address with a port");
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
        "--pid-file=",
    ]);
    command.args([
        "--user=",
        "--log-queries",
        "--log-facility=-",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
    ]);
    command.arg(format!("--port={port}")).arg("--local=/test/").arg("--host-record=one.pbx.test,127.0.0.3");
    for (port, priority) in servers {
        command.arg(format!("--srv-host=_sip._udp.pbx.test,one.pbx.test,{port},{priority}"));
    }
    Program::start("dnsmasq", world.folder(), &mut command)
}

/// The user calls; the PBX behind the name talks, and the user hangs up.
fn a_user_calls(world: &World, pbx: &mut Phone) {
    let mark = pbx.mark();
    let call = world.meta.place_call(USER);
    pbx.wait("CALL_ESTABLISHED", mark);
    call.talk(125);
    call.act("hangup", &json!({}));
    pbx.wait("CALL_CLOSED", mark);
    call.wait_over();
    assert_heard(&pbx.heard(), USER_HZ);
    assert_heard(&call.heard, TRUNK_HZ);
    assert_unbroken(&call.told());
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "user");
}

#[test]
fn a_trunk_behind_a_name_is_found_by_its_srv_records_and_the_next_server_takes_what_the_first_does_not() {
    let mut world = World::start(&NAMED);
    let (folder, at) = (world.folder().to_owned(), world.layout.second.clone());
    let port = at.rsplit(':').next().expect("an address with a port").to_owned();
    let nobody = world.ports.take(1).to_string();
    let dns = name_server(&world, &[(&nobody, 1), (&port, 2)]);
    let mut pbx = Phone::trunk(&folder, &mut world.ports, &at, OnRing::Answer, "PCMA", "");
    wait_until("the PBX answers", || sip::answers_options(&at));
    a_user_calls(&world, &mut pbx);
    let asked = dns.output();
    assert!(asked.contains("_sip._udp.pbx.test") && asked.contains("one.pbx.test"), "{asked}");
    // The name server is gone: what it said goes on being used.
    drop(dns);
    a_user_calls(&world, &mut pbx);
    world.assert_no_violations();
}
