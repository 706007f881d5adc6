//! SIPp: scripted phones and trunks that do what no polite phone does.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::gateway::{Layout, PASSWORD, TRUNK_IP};
use super::ports::Ports;
use super::program::Program;

/// SIPp as the trunk `pbx`, waiting for calls; it echoes the audio. Ends after `calls` calls.
pub(crate) fn trunk(
    folder: &Path,
    layout: &Layout,
    ports: &mut Ports,
    scenario: &str,
    calls: u32,
) -> Program {
    trunk_over("u1", folder, layout, ports, scenario, calls)
}

/// The same by SIPp's name of a transport: `u1` is UDP, `t1` is TCP.
pub(crate) fn trunk_over(
    transport: &str,
    folder: &Path,
    layout: &Layout,
    ports: &mut Ports,
    scenario: &str,
    calls: u32,
) -> Program {
    let mut command = base(folder, layout, ports, TRUNK_IP, scenario);
    let port = layout.trunk.rsplit(':').next().expect("an address with a port");
    command.args(["-p", port, "-m", &calls.to_string(), "-t", transport]);
    Program::start("sipp-trunk", folder, &mut command)
}

/// SIPp as the second server of the trunk `pbx`, for one call; its logs stand in a folder of their own.
pub(crate) fn second_server(folder: &Path, layout: &Layout, ports: &mut Ports, scenario: &str) -> Program {
    let folder = folder.join("second");
    std::fs::create_dir_all(&folder).expect("the test's folder can be written");
    let (ip, port) = layout.second.split_once(':').expect("an address with a port");
    let mut command = base(&folder, layout, ports, ip, scenario);
    command.args(["-p", port, "-m", "1", "-t", "u1"]);
    Program::start("sipp-second", &folder, &mut command)
}

/// SIPp as a phone that calls `digits` through the gateway with the password of phone 1001.
pub(crate) fn caller(
    folder: &Path,
    layout: &Layout,
    ports: &mut Ports,
    scenario: &str,
    digits: &str,
) -> Program {
    let mut command = base(folder, layout, ports, "127.0.0.1", scenario);
    let port = ports.take(2).to_string();
    // By default SIPp signs a URI that it does not call.
    let uri = format!("{digits}@{}", layout.sip);
    command.args(["-p", &port, "-m", "1", "-s", digits, "-au", "1001", "-ap", PASSWORD, "-auth_uri", &uri]);
    command.arg(&layout.sip);
    Program::start("sipp-caller", folder, &mut command)
}

/// SIPp as phone 1001 that takes over the call which `replaces` names; its logs stand in a folder of their own.
pub(crate) fn taker(
    folder: &Path,
    layout: &Layout,
    ports: &mut Ports,
    scenario: &str,
    digits: &str,
    replaces: &str,
) -> Program {
    let folder = folder.join("taker");
    std::fs::create_dir_all(&folder).expect("the test's folder can be written");
    let mut command = base(&folder, layout, ports, "127.0.0.1", scenario);
    let (port, uri) = (ports.take(2).to_string(), format!("{digits}@{}", layout.sip));
    command.args(["-p", &port, "-m", "1", "-s", digits, "-au", "1001", "-ap", PASSWORD, "-auth_uri", &uri]);
    command.args(["-key", "replaces", replaces]).arg(&layout.sip);
    Program::start("sipp-taker", &folder, &mut command)
}

/// SIPp as the trunk `pbx`, waiting for a call; `[replaces]` in its scenario is a call's name.
pub(crate) fn trunk_with(
    folder: &Path,
    layout: &Layout,
    ports: &mut Ports,
    scenario: &str,
    replaces: &str,
) -> Program {
    let mut command = base(folder, layout, ports, TRUNK_IP, scenario);
    let port = layout.trunk.rsplit(':').next().expect("an address with a port");
    command.args(["-p", port, "-m", "1", "-key", "replaces", replaces]);
    Program::start("sipp-trunk", folder, &mut command)
}

/// Another SIPp of the trunk `pbx`, that calls `digits`; with the folder of its logs.
pub(crate) fn second_instance(
    folder: &Path,
    layout: &Layout,
    ports: &mut Ports,
    scenario: &str,
    digits: &str,
    replaces: &str,
) -> (Program, PathBuf) {
    let port = ports.take(2).to_string();
    let folder = folder.join(format!("instance-{port}"));
    std::fs::create_dir_all(&folder).expect("the test's folder can be written");
    let mut command = base(&folder, layout, ports, TRUNK_IP, scenario);
    command.args(["-p", &port, "-m", "1", "-s", digits, "-key", "replaces", replaces]);
    command.arg(&layout.sip);
    (Program::start("sipp-instance", &folder, &mut command), folder)
}

/// SIPp as the trunk `pbx` that calls `digits` at the gateway.
pub(crate) fn trunk_caller(
    folder: &Path,
    layout: &Layout,
    ports: &mut Ports,
    scenario: &str,
    digits: &str,
) -> Program {
    let mut command = base(folder, layout, ports, TRUNK_IP, scenario);
    let port = layout.trunk.rsplit(':').next().expect("an address with a port");
    command.args(["-p", port, "-m", "1", "-s", digits]);
    command.arg(&layout.sip);
    Program::start("sipp-trunk", folder, &mut command)
}

fn base(folder: &Path, layout: &Layout, ports: &mut Ports, ip: &str, scenario: &str) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/sipp").join(scenario);
    let media = ports.take(4).to_string();
    let mut command = Command::new("sipp");
    command.current_dir(folder).arg("-sf").arg(file);
    command.args([
        "-i",
        ip,
        "-mi",
        ip,
        "-mp",
        &media,
        "-rtp_echo",
        "-nostdin",
        "-timeout",
        "40s",
        "-timeout_error",
    ]);
    command.args(["-key", "gateway", &layout.sip, "-trace_err", "-trace_msg"]);
    command.args(["-error_file", "sipp-errors.log", "-message_file", "sipp-messages.log"]);
    command
}
