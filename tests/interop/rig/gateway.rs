//! The gateway under test: its configuration, `cordboard serve`, its records and figures.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::http;
use super::ports::Ports;
use super::program::{PATIENCE, Program, wait_for};
use super::simulator::{NUMBER, NUMBER_ID};

/// The realm of the phones' passwords.
pub(crate) const REALM: &str = "cordboard.test";
/// The password of every phone here.
pub(crate) const PASSWORD: &str = "right-horse-7";
/// What opens the API.
pub(crate) const API_TOKEN: &str = "let-me-in";
/// Where the trunk lives: an address of its own, because a trunk is known by its address.
pub(crate) const TRUNK_IP: &str = "127.0.0.2";
/// Where its second server lives.
const SECOND_IP: &str = "127.0.0.3";
/// What the trunk knows us by, if it asks; SIPp's scenarios know it, too.
pub(crate) const TRUNK_PASSWORD: &str = "pa55-of-the-trunk";

/// What differs from test to test.
pub(crate) struct Setup {
    /// Ring targets as TOML strings, comma separated.
    pub(crate) ring: &'static str,
    /// More lines for the `[media]` section.
    pub(crate) media: &'static str,
    /// More lines for the `[calls]` section.
    pub(crate) calls: &'static str,
    /// More lines for the business number.
    pub(crate) number: &'static str,
    /// More lines for the trunk; `SECOND` stands for the address of its second server.
    pub(crate) trunk: &'static str,
    /// How the trunk's servers are watched.
    pub(crate) probe: &'static str,
    /// More lines for both phones.
    pub(crate) phone: &'static str,
    /// More lines for phone 1001 alone.
    pub(crate) front_desk: &'static str,
    /// Lines of the `[recording]` section.
    pub(crate) recording: &'static str,
    /// Whether programs may ask the API, by [`API_TOKEN`].
    pub(crate) api: bool,
    /// Whether aiortc stands in for Meta, instead of the product's simulator.
    pub(crate) aiortc: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            trunk: "",
            // A scripted peer would take an OPTIONS for its call.
            probe: "enabled = false",
            ring: r#""phone:1001""#,
            media: "",
            calls: "",
            number: "",
            recording: "",
            phone: "",
            front_desk: "",
            api: false,
            aiortc: false,
        }
    }
}

/// Addresses and files of one gateway; survives its restarts.
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    pub(crate) webhook: String,
    pub(crate) admin: String,
    /// UDP and TCP.
    pub(crate) sip: String,
    /// TLS.
    pub(crate) sips: String,
    /// WebSocket.
    pub(crate) ws: String,
    /// WebSocket inside TLS.
    pub(crate) wss: String,
    /// The API, if there is one.
    pub(crate) api: String,
    /// The address of the gateway that phones see.
    office: String,
    pub(crate) trunk: String,
    /// Another server of the same trunk.
    pub(crate) second: String,
    /// Where a name server is.
    pub(crate) dns: String,
    outside: String,
    inside: String,
}

impl Layout {
    /// Chooses ports and writes the secrets.
    pub(crate) fn new(office: &str, folder: &Path, ports: &mut Ports) -> Self {
        for (name, value) in [
            ("app-secret", "s3cret-of-the-app"),
            ("access-token", "EAAtoken"),
            ("verify-token", "v3rify"),
            ("trunk-password", TRUNK_PASSWORD),
        ] {
            write_secret(&folder.join(name), value);
        }
        let names = vec!["127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        write_secret(&folder.join("sip-certificate.pem"), &made.cert.pem());
        write_secret(&folder.join("sip-key.pem"), &made.signing_key.serialize_pem());
        super::kamailio::write_certificates(folder);
        Self {
            folder: folder.to_owned(),
            webhook: format!("127.0.0.1:{}", ports.take(1)),
            admin: format!("127.0.0.1:{}", ports.take(1)),
            sip: format!("{office}:{}", ports.take(1)),
            sips: format!("{office}:{}", ports.take(1)),
            ws: format!("{office}:{}", ports.take(1)),
            wss: format!("{office}:{}", ports.take(1)),
            api: format!("127.0.0.1:{}", ports.take(1)),
            office: office.to_owned(),
            trunk: format!("{TRUNK_IP}:{}", ports.take(1)),
            second: format!("{SECOND_IP}:{}", ports.take(1)),
            dns: format!("127.0.0.1:{}", ports.take(1)),
            outside: ports.range(16),
            inside: ports.range(32),
        }
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    /// Where Meta posts its events.
    pub(crate) fn webhook_url(&self) -> String {
        format!("http://{}/webhook", self.webhook)
    }

    /// Writes the configuration for a Graph API at `graph`.
    pub(crate) fn write_config(&self, graph: &str, setup: &Setup) {
        for name in ["1001", "1002"] {
            write_secret(&self.folder.join(format!("phone-{name}")), &ha1(name));
        }
        let text = self.config_text(graph, setup);
        std::fs::write(self.config(), text).expect("the test's folder can be written");
    }

    fn config_text(&self, graph: &str, setup: &Setup) -> String {
        let (folder, office) = (self.folder.display(), &self.office);
        let Self { admin, webhook, sip, sips, ws, wss, trunk, outside, inside, .. } = self;
        let Setup { ring, media, calls, number, recording, probe, .. } = setup;
        // A stop at the end of a test waits for nobody.
        let drain = if calls.contains("drain") { "" } else { "drain = \"0s\"" };
        format!(
            r#"
[store]
path = "{folder}/cordboard.db"
[admin]
listen = "{admin}"
[webhook]
listen = "{webhook}"
path = "/webhook"
verify_token = {{ file = "{folder}/verify-token" }}
app_secrets = [{{ file = "{folder}/app-secret" }}]
[graph]
base = "http://{graph}"
[sip]
listen = "{sip}"
advertised = "{sip}"
tcp = "{sip}"
tls = "{sips}"
ws = "{ws}"
wss = "{wss}"
certificate = "{folder}/sip-certificate.pem"
key = "{folder}/sip-key.pem"
domain = "{office}"
realm = "{REALM}"
[media]
workers = 1
{media}
[media.outside]
bind = "127.0.0.1"
advertised = ["127.0.0.1"]
ports = "{outside}"
[media.inside]
bind = "{office}"
advertised = ["{office}"]
ports = "{inside}"
[calls]
{drain}
{calls}
[recording]
{recording}
[log]
level = "debug"
{phones}
[[trunk]]
name = "pbx"
address = "{trunk}"
sources = ["{TRUNK_IP}"]
probe = {{ {probe} }}
voip_only = true
dial_prefix = "0"
{of_trunk}
[[number]]
label = "support"
phone_number_id = "{NUMBER_ID}"
display_number = "{NUMBER}"
access_token = {{ file = "{folder}/access-token" }}
ring = [{ring}]
dial = {{ prefix = "8", phones = ["1001"], trunks = ["pbx"] }}
{number}
{api}
"#,
            phones = phones(&self.folder, setup),
            of_trunk = setup.trunk.replace("SECOND", &self.second).replace("NAMESERVER", &self.dns),
            api = if setup.api { api(&self.api) } else { String::new() },
        )
    }
}

/// The API for whoever has [`API_TOKEN`].
fn api(at: &str) -> String {
    let scopes = [
        "calls:read",
        "calls:write",
        "rules:read",
        "rules:write",
        "gateway:read",
        "gateway:write",
        "settings:read",
        "settings:write",
    ];
    // SHA-256 of the token.
    let sha256 = "a3ee786b5707c27d42570785081ec17f5c7db9262a01366af362a1aa61a420b9";
    format!(
        "[api]\nlisten = \"{at}\"\n[[api.token]]\nname = \"crm\"\nsha256 = \"{sha256}\"\nscopes = {scopes:?}\n"
    )
}

/// The sections of both phones.
fn phones(folder: &Path, setup: &Setup) -> String {
    let phone = |(name, display, own)| {
        let more = setup.phone;
        let file = folder.join(format!("phone-{name}"));
        let file = file.display();
        format!(
            "[[phone]]\nname = \"{name}\"\ndisplay = \"{display}\"\nha1 = {{ file = \"{file}\" }}\n{more}\n{own}\n"
        )
    };
    [("1001", "Front desk", setup.front_desk), ("1002", "Back office", "")].map(phone).concat()
}

/// A running `cordboard serve`.
pub(crate) struct Gateway {
    pub(crate) program: Program,
}

impl Gateway {
    /// Starts the gateway and waits until it is ready.
    pub(crate) fn start(layout: &Layout) -> Self {
        let mut command = cordboard(&["serve", "--config"]);
        let mut program = Program::start("gateway", &layout.folder, command.arg(layout.config()));
        program.wait_for("the gateway is ready", |_| {
            let answer = http::request("GET", &layout.admin, "/readyz", &[], b"")?;
            (answer.status == 200).then_some(())
        });
        Self { program }
    }
}

/// The text of `/metrics`.
pub(crate) fn scrape(layout: &Layout) -> String {
    let answer =
        http::request("GET", &layout.admin, "/metrics", &[], b"").expect("the admin address answers");
    assert_eq!(answer.status, 200, "/metrics: {}", answer.body);
    answer.body
}

/// The value of a line of `/metrics`; `None` for comments. A counter may be written as `3` or as `3.0`.
pub(crate) fn sample(line: &str) -> Option<f64> {
    let (_, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    value.parse().ok()
}

/// All call records, as `cordboard calls --json` prints them.
pub(crate) fn records(layout: &Layout) -> Vec<Value> {
    let output = run(cordboard(&["calls", "--json", "--config"]).arg(layout.config()), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "cordboard calls: {text}{}", String::from_utf8_lossy(&output.stderr));
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Array(list)) => list,
        Ok(other) => other["calls"].as_array().cloned().unwrap_or_else(|| vec![other]),
        Err(_) => text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
    }
}

/// All records of calls between desks, as `cordboard calls --desk --json` prints them, newest first.
pub(crate) fn desk_calls(layout: &Layout) -> Vec<Value> {
    let output = run(cordboard(&["calls", "--desk", "--json", "--config"]).arg(layout.config()), "");
    serde_json::from_slice(&output.stdout).expect("an array of records")
}

/// Waits for the closed record of a call.
pub(crate) fn closed_record(layout: &Layout, wa_call: &str) -> Value {
    wait_for("the call's record is closed", PATIENCE, || {
        records(layout).into_iter().find(|record| record["wa_call"] == wa_call && !record["ended"].is_null())
    })
}

/// The program under test with arguments.
pub(crate) fn cordboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cordboard"));
    command.args(arguments);
    command
}

/// Runs a short-lived command with some input.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    // A program that does not read its input may be gone already.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("our own child can be waited for")
}

/// The HA1 that `cordboard password` makes for a phone here.
pub(crate) fn ha1(user: &str) -> String {
    let output = run(
        &mut cordboard(&["password", "--algorithm", "md5", "--user", user, "--realm", REALM]),
        &format!("{PASSWORD}\n"),
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split(|letter: char| !letter.is_ascii_hexdigit());
    let found = words.find(|word| word.len() == 32).map(str::to_owned);
    found.unwrap_or_else(|| panic!("cordboard password: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Writes a file that only its owner reads.
pub(crate) fn write_secret(path: &Path, value: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("the test's folder can be written");
    writeln!(file, "{value}").expect("the test's folder can be written");
}
