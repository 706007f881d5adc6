//! A real desk phone: baresip 1.0, headless, driven over its control socket.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::ports::Ports;
use super::program::{PATIENCE, Program, wait_for};
use super::sound;

/// What a phone does when it rings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRing {
    /// Takes the call at once.
    Answer,
    /// Waits for `accept` or `hangup`.
    Wait,
}

/// How a phone is set up.
pub(crate) struct PhoneSettings<'a> {
    pub(crate) name: &'a str,
    pub(crate) password: &'a str,
    pub(crate) registrar: &'a str,
    /// `udp`, `tcp` or `tls`.
    pub(crate) transport: &'a str,
    pub(crate) on_ring: OnRing,
    /// `PCMU`, `PCMA`, `G722` or `opus`.
    pub(crate) codec: &'a str,
    /// The pitch of its voice.
    pub(crate) hz: f64,
    /// `srtp`, `srtp-mand`, or nothing.
    pub(crate) encryption: &'a str,
}

/// A running baresip.
pub(crate) struct Phone {
    program: Program,
    control: TcpStream,
    unread: Vec<u8>,
    events: Vec<Value>,
    folder: PathBuf,
}

/// What a baresip is told beside its account.
struct Station<'a> {
    name: &'a str,
    /// Where it listens for SIP.
    listen: String,
    codec: &'a str,
    hz: f64,
    encryption: &'a str,
    on_ring: OnRing,
}

impl Phone {
    /// Starts a phone; it begins to register by itself.
    pub(crate) fn start(folder: &Path, ports: &mut Ports, settings: &PhoneSettings<'_>) -> Self {
        Self::start_at("127.0.0.1", folder, ports, settings)
    }

    /// The same with another address of its own; its control stays on loopback.
    pub(crate) fn start_at(ip: &str, folder: &Path, ports: &mut Ports, settings: &PhoneSettings<'_>) -> Self {
        let &PhoneSettings { name, password, registrar, transport, on_ring, codec, hz, encryption } =
            settings;
        let listen = format!("{ip}:{}", ports.take(2));
        let account = format!(
            "<sip:{name}@{registrar};transport={transport}>;auth_user={name};auth_pass={password};regint=60"
        );
        let station = Station { name, listen, codec, hz, encryption, on_ring };
        Self::launch(folder, ports, &station, &account)
    }

    /// Starts a PBX `200` behind the address `at`: it registers nowhere and answers who calls it.
    pub(crate) fn trunk(
        folder: &Path,
        ports: &mut Ports,
        at: &str,
        on_ring: OnRing,
        codec: &str,
        encryption: &str,
    ) -> Self {
        let (name, listen) = ("200", at.to_owned());
        let hz = sound::TRUNK_HZ;
        let station = Station { name, listen, codec, hz, encryption, on_ring };
        Self::launch(folder, ports, &station, &format!("<sip:200@{at}>;regint=0"))
    }

    fn launch(folder: &Path, ports: &mut Ports, station: &Station<'_>, account: &str) -> Self {
        let (control, rtp) = (ports.take(1), ports.range(8));
        let (ip, sip) = station.listen.split_once(':').expect("an address with a port");
        let folder = folder.join(format!("phone-{}-{sip}", station.name));
        std::fs::create_dir_all(&folder).expect("the test's folder can be written");
        let voice = folder.join("voice.wav");
        // baresip plays a file only with its codec's rate and channels.
        let (account_codec, rate, module) = match station.codec {
            "opus" => ("opus/48000/2".to_owned(), 48_000, "opus"),
            "G722" => ("G722/16000/1".to_owned(), 16_000, "g722"),
            law => (format!("{law}/8000/1"), 8000, "g711"),
        };
        let channels = if station.codec == "opus" { 2 } else { 1 };
        sound::write_voice_with(&voice, channels, rate, station.hz, 60);
        let config = format!(
            "poll_method epoll\nsip_listen {listen}\nnet_interface {ip}\n\
             audio_source aufile,{voice}\naudio_player aubridge,null\naudio_alert aubridge,null\n\
             rtp_ports {rtp}\nmodule_path /usr/lib/baresip/modules\nmodule {module}.so\n{encryption}module aufile.so\n\
             module aubridge.so\nmodule sndfile.so\nmodule_tmp account.so\nmodule_app menu.so\n\
             module_app ctrl_tcp.so\nmodule_app rtcpsummary.so\nctrl_tcp_listen 127.0.0.1:{control}\nsnd_path {folder}\n",
            listen = station.listen,
            voice = voice.display(),
            encryption = if station.encryption.is_empty() { "" } else { "module srtp.so\n" },
            folder = folder.display(),
        );
        let mode = if station.on_ring == OnRing::Answer { "auto" } else { "manual" };
        let encryption = match station.encryption {
            "" => String::new(),
            word => format!(";mediaenc={word}"),
        };
        let account = format!("{account};audio_codecs={account_codec};answermode={mode}{encryption}\n");
        std::fs::write(folder.join("config"), config).expect("the test's folder can be written");
        std::fs::write(folder.join("accounts"), account).expect("the test's folder can be written");
        let mut command = Command::new("baresip");
        let program = Program::start("baresip", &folder, command.arg("-s").arg("-f").arg(&folder));
        let control = wait_for("baresip opens its control port", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", control)).ok()
        });
        control.set_nonblocking(true).expect("a socket can be made non-blocking");
        Self { program, control, unread: Vec::new(), events: Vec::new(), folder }
    }

    /// It dies without a word.
    pub(crate) fn kill(&mut self) {
        self.program.signal(libc::SIGKILL);
        self.program.wait_exit();
    }

    /// Gives an order: `dial`, `hangup`, `accept`, `hold`, `resume`, `sndcode` …
    pub(crate) fn order(&mut self, command: &str, params: &str) {
        let body = json!({ "command": command, "params": params }).to_string();
        self.control
            .write_all(format!("{}:{body},", body.len()).as_bytes())
            .expect("baresip takes orders as long as it runs");
    }

    /// How many events came so far: a mark for [`Phone::wait`].
    pub(crate) fn mark(&mut self) -> usize {
        self.read();
        self.events.len()
    }

    /// The first event of a kind after a mark, if it came.
    pub(crate) fn seen(&mut self, kind: &str, mark: usize) -> Option<Value> {
        self.read();
        self.events.iter().skip(mark).find(|event| event["type"] == kind).cloned()
    }

    /// Waits for an event of a kind after a mark, such as `CALL_ESTABLISHED`.
    pub(crate) fn wait(&mut self, kind: &str, mark: usize) -> Value {
        let what = format!("the phone tells {kind}");
        wait_for(&what, PATIENCE, || self.seen(kind, mark))
    }

    /// Waits until the registrar took the phone; panics with its words if it did not.
    pub(crate) fn registered(mut self) -> Self {
        wait_for("the phone is registered", PATIENCE, || {
            if let Some(refused) = self.seen("REGISTER_FAIL", 0) {
                panic!("the phone was not registered: {refused}");
            }
            // The registrar may be faster than our control connection, which then misses the event.
            let told = self.program.output().contains("} 200 OK (");
            (told || self.seen("REGISTER_OK", 0).is_some()).then_some(())
        });
        self
    }

    /// The digits that the phone heard since a mark.
    pub(crate) fn digits(&mut self, mark: usize) -> String {
        self.read();
        let pressed = self.events.iter().skip(mark).filter(|event| event["type"] == "CALL_DTMF_START");
        pressed.filter_map(|event| event["param"].as_str()).collect()
    }

    /// The last count of packets received and lost that the phone's RTCP told.
    pub(crate) fn received(&mut self) -> (u64, i64) {
        self.read();
        let told = self.events.iter().rev().find(|event| event["rtcp_stats"].is_object());
        told.map_or((0, 0), |event| {
            let heard = &event["rtcp_stats"]["rx"];
            (heard["sent"].as_u64().unwrap_or(0), heard["lost"].as_i64().unwrap_or(0))
        })
    }

    /// All recordings of what was heard.
    pub(crate) fn all_heard(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).expect("the phone's folder");
        let dumps = entries.flatten().map(|entry| entry.path());
        dumps.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).collect()
    }

    /// The newest recording of what was heard; complete once the call is closed.
    pub(crate) fn heard(&self) -> PathBuf {
        let entries = std::fs::read_dir(&self.folder).expect("the phone's folder");
        let dumps: BTreeSet<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let mut heard = dumps.into_iter().filter(|path| path.to_string_lossy().ends_with("-dec.wav"));
        heard.next_back().expect("a recording of what the phone heard")
    }

    /// All that baresip wrote.
    pub(crate) fn output(&self) -> String {
        self.program.output()
    }

    fn read(&mut self) {
        let mut chunk = [0; 4096];
        loop {
            match self.control.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("baresip's control socket: {error}"),
            }
        }
        while let Some((message, rest)) = netstring(&self.unread) {
            let value: Value = serde_json::from_str(&message).unwrap_or(Value::Null);
            if value["event"] == true {
                self.events.push(value);
            }
            self.unread = rest;
        }
    }
}

/// Splits the first whole netstring off.
fn netstring(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let message = bytes.get(colon + 1..colon + 1 + length)?;
    let rest = bytes.get(colon + 2 + length..)?;
    Some((String::from_utf8_lossy(message).into_owned(), rest.to_vec()))
}
