//! The stand-in for Meta, driven over its control API: `cordboard simulate`, or aiortc in its place.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::program::{PATIENCE, Program, wait_for};
use super::{http, sound};

/// The Graph id of the one business number of these tests, and its digits.
pub(crate) const NUMBER_ID: &str = "108911223344556";
pub(crate) const NUMBER: &str = "493055500010";

/// A running stand-in.
pub(crate) struct Simulator {
    _program: Program,
    pub(crate) at: String,
    voice: PathBuf,
    folder: PathBuf,
}

impl Simulator {
    /// Starts the product's own stand-in.
    pub(crate) fn start(folder: &Path, webhook: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cordboard"));
        command.args(["simulate", "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0"]);
        Self::ready(folder, command, webhook)
    }

    /// Starts the stand-in whose WebRTC side is aiortc.
    pub(crate) fn start_aiortc(folder: &Path, webhook: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("CORDBOARD_PYTHON")
            .map_or_else(|| root.join(".tools/python/bin/python"), PathBuf::from);
        let mut command = Command::new(python);
        command.arg(root.join("tests/interop/aiortc_user.py"));
        Self::ready(folder, command, webhook)
    }

    fn ready(folder: &Path, mut command: Command, webhook: &str) -> Self {
        command.args(["--webhook", webhook, "--number", &format!("{NUMBER_ID}={NUMBER}")]);
        command.arg("--app-secret-file").arg(folder.join("app-secret"));
        command.arg("--access-token-file").arg(folder.join("access-token"));
        let mut program = Program::start("meta", folder, &mut command);
        let at = program.wait_for("the stand-in for Meta is ready", |output| {
            let line = output.lines().find(|line| line.starts_with('{'))?;
            let told: Value = serde_json::from_str(line).ok()?;
            told["http"].as_str().map(str::to_owned)
        });
        let voice = folder.join("user-voice.wav");
        sound::write_voice(&voice, 16_000, sound::USER_HZ, 60);
        Self { _program: program, at, voice, folder: folder.to_owned() }
    }

    /// A user calls the business.
    pub(crate) fn place_call(&self, user: &str) -> MetaCall<'_> {
        let heard = self.folder.join(format!("user-{user}-heard.wav"));
        let body = json!({ "number": NUMBER_ID, "from": user, "name": "Ana", "cta_payload": "order 7", "speak": self.voice, "record": heard });
        let told = self.ask("POST", "/sim/calls", &body);
        let id = told["call"].as_str().expect("the stand-in names the call").to_owned();
        MetaCall { meta: self, id, heard }
    }

    /// How a user takes calls from now on; `behaviour` adds to a permanent permission and a voice.
    pub(crate) fn set_user(&self, user: &str, behaviour: &Value) {
        let heard = self.folder.join(format!("user-{user}-heard.wav"));
        let mut body = json!({ "permission": "permanent", "answer_after_ms": 500, "speak": self.voice, "record": heard });
        for (key, value) in behaviour.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        self.ask("POST", &format!("/sim/users/{user}"), &body);
    }

    /// Misbehaviour of Meta from now on.
    pub(crate) fn set_faults(&self, faults: &Value) {
        self.ask("POST", "/sim/faults", faults);
    }

    /// All calls that Meta knows.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let told = self.ask("GET", "/sim/calls", &Value::Null);
        let list = if told.is_array() { &told } else { &told["calls"] };
        list.as_array().cloned().unwrap_or_default()
    }

    /// Waits for the first call that the business places, to this user.
    pub(crate) fn wait_call(&self, user: &str) -> MetaCall<'_> {
        let placed = |call: &Value| call["direction"] != "USER_INITIATED";
        let id = wait_for("a call reaches Meta", PATIENCE, || {
            self.calls().iter().find(|call| placed(call)).map(id_of)
        });
        MetaCall { meta: self, id, heard: self.folder.join(format!("user-{user}-heard.wav")) }
    }

    /// A call that Meta knows, by its id.
    pub(crate) fn call(&self, id: &str) -> MetaCall<'_> {
        MetaCall {
            meta: self,
            id: id.to_owned(),
            heard: self.folder.join(format!("user-{}-heard.wav", super::USER)),
        }
    }

    /// Every rule of Meta's that was broken so far.
    pub(crate) fn violations(&self) -> Vec<Value> {
        let told = self.ask("GET", "/sim/violations", &Value::Null);
        let list = if told.is_array() { &told } else { &told["violations"] };
        list.as_array().cloned().unwrap_or_default()
    }

    /// What Meta's rules hold for a user and the one business number.
    pub(crate) fn rules(&self, user: &str) -> Value {
        self.ask("GET", &format!("/sim/users/{user}"), &Value::Null)["numbers"][NUMBER_ID].clone()
    }

    /// Anything else of the control API.
    pub(crate) fn order(&self, path: &str, body: &Value) {
        self.ask("POST", path, body);
    }

    /// What the business wrote to users.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.ask("GET", "/sim/messages", &Value::Null)["messages"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        http::json(method, &self.at, path, body)
    }
}

/// One call as Meta sees it.
pub(crate) struct MetaCall<'a> {
    meta: &'a Simulator,
    pub(crate) id: String,
    /// What the user heard; complete once the call is over.
    pub(crate) heard: PathBuf,
}

impl MetaCall<'_> {
    /// All that Meta's side knows of the call.
    pub(crate) fn told(&self) -> Value {
        self.meta.ask("GET", &format!("/sim/calls/{}", self.id), &Value::Null)
    }

    /// The user does something: `hangup`, `reject`, `answer`, `digits`.
    pub(crate) fn act(&self, what: &str, body: &Value) {
        self.meta.ask("POST", &format!("/sim/calls/{}/{what}", self.id), body);
    }

    /// Waits until so many more RTP packets have come and gone on the user's side.
    pub(crate) fn talk(&self, packets: u64) {
        let count = |told: &Value, key: &str| told["rtp"][key].as_u64().unwrap_or(0);
        let before = self.told();
        let what = format!("the user hears and says {packets} packets");
        wait_for(&what, PATIENCE, || {
            let told = self.told();
            ["received", "sent"]
                .iter()
                .all(|key| count(&told, key) >= count(&before, key) + packets)
                .then_some(())
        });
    }

    /// Waits until the call is over at Meta and its recording is complete; what was known of it then.
    pub(crate) fn wait_over(&self) -> Value {
        wait_for("the call is over at Meta", PATIENCE, || {
            let told = self.told();
            (told["state"] == "ended").then_some(told)
        })
    }
}

/// Fails unless the stream towards Meta was one unbroken line: nothing lost, sequence and time stamps without a break.
pub(crate) fn assert_unbroken(told: &Value) {
    let rtp = &told["rtp"];
    for key in ["lost", "seq_breaks", "timestamp_breaks"] {
        assert!(matches!(rtp[key].as_u64(), None | Some(0)), "{key} towards the user: {rtp}");
    }
    let streams =
        rtp["ssrcs"].as_array().map_or_else(|| rtp["ssrcs"].as_u64(), |list| Some(list.len() as u64));
    assert_eq!(streams, Some(1), "SSRCs towards the user: {rtp}");
}

fn id_of(told: &Value) -> String {
    let id = told["call"].as_str().or(told["id"].as_str()).or(told.as_str());
    id.expect("a listed call has an id").to_owned()
}
