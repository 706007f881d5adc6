//! A browser phone: JsSIP in headless Chromium, which talks to the test over a page of the test's own.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::program::{PATIENCE, Program, wait_for};
use super::sound;

const SCRIPT: &str = include_str!("../browser/phone.js");
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    // The gateway's certificate is its own here.
    "--ignore-certificate-errors",
];
/// How long a question for orders waits.
const POLL: Duration = Duration::from_millis(200);

/// What page and test tell each other.
#[derive(Debug, Default)]
struct Talk {
    orders: VecDeque<Value>,
    told: Vec<Value>,
}

/// A page with a phone on it.
pub(crate) struct BrowserPhone {
    _program: Program,
    talk: Arc<Mutex<Talk>>,
}

/// Who it registers as, and where.
pub(crate) struct BrowserSettings<'a> {
    pub(crate) name: &'a str,
    pub(crate) password: &'a str,
    /// `wss://…`
    pub(crate) socket: &'a str,
    /// The pitch of its voice.
    pub(crate) hz: f64,
}

impl BrowserPhone {
    /// Opens the page and waits until the phone is registered.
    pub(crate) fn start(folder: &Path, settings: &BrowserSettings<'_>) -> Self {
        let folder = folder.join("browser");
        std::fs::create_dir_all(&folder).expect("the test's folder can be written");
        let voice = folder.join("voice.wav");
        sound::write_voice(&voice, 48_000, settings.hz, 60);
        let uri = format!("sip:{}@127.0.0.1", settings.name);
        let page = page(&json!({ "uri": uri, "password": settings.password, "socket": settings.socket }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let talk = Arc::new(Mutex::new(Talk::default()));
        let shared = Arc::clone(&talk);
        // It ends with the test's process; after the browser nobody comes any more.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (talk, page) = (Arc::clone(&shared), page.clone());
                std::thread::spawn(move || serve(stream, &talk, &page));
            }
        });
        let mut command = Command::new("chromium");
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg(format!("--use-file-for-fake-audio-capture={}", voice.display()))
            .arg(format!("http://{at}/"));
        let program = Program::start("chromium", &folder, &mut command);
        let mut phone = Self { _program: program, talk };
        phone.wait("registered", 0);
        phone
    }

    /// Gives an order: `call`, `hold`, `unhold`, `hangup`, `key`.
    pub(crate) fn order(&mut self, order: Value) {
        self.talk.lock().expect("nobody panics with it").orders.push_back(order);
    }

    /// How much was told so far: a mark for [`BrowserPhone::wait`].
    pub(crate) fn mark(&self) -> usize {
        self.talk.lock().expect("nobody panics with it").told.len()
    }

    /// Waits until the page tells something after a mark.
    pub(crate) fn wait(&mut self, what: &str, mark: usize) -> Value {
        let waited = format!("the browser tells {what}");
        wait_for(&waited, 2 * PATIENCE, || {
            let talk = self.talk.lock().expect("nobody panics with it");
            if let Some(error) = talk.told.iter().find(|it| it["what"] == "error") {
                panic!("the page failed: {error}");
            }
            talk.told.iter().skip(mark).find(|it| it["what"] == what).cloned()
        })
    }

    /// How many tenths of a second since the last question had this pitch, of all that were not silent; and the
    /// packets that came and were lost so far, by the browser's count.
    pub(crate) fn heard(&mut self, hz: f64) -> (usize, usize, u64, i64) {
        let mark = self.mark();
        self.order(json!({ "act": "heard" }));
        let heard = self.wait("heard", mark);
        let pitches: Vec<f64> =
            heard["pitches"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let ours = pitches.iter().filter(|it| (**it - hz).abs() < 15.0).count();
        let packets = heard["packets"].as_u64().unwrap_or(0);
        (ours, pitches.len(), packets, heard["lost"].as_i64().unwrap_or(0))
    }
}

fn page(settings: &Value) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Phone</title><body>\
         <script type=\"application/json\" id=\"settings\">{settings}</script><script src=\"/phone.js\"></script>"
    )
}

/// Where `scripts/test` puts what the browser needs.
fn modules() -> PathBuf {
    let named = std::env::var_os("CORDBOARD_NODE").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node"));
    let folder = folder.join("node_modules");
    assert!(
        folder.join("jssip").is_dir(),
        "no JsSIP in {}: scripts/test installs it, CORDBOARD_NODE says where it is",
        folder.display()
    );
    folder
}

fn serve(stream: TcpStream, talk: &Mutex<Talk>, page: &str) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = first.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let (kind, answer) = match path.as_str() {
        "/" => ("text/html", page.as_bytes().to_vec()),
        "/phone.js" => ("text/javascript", SCRIPT.as_bytes().to_vec()),
        "/order" => ("application/json", next_order(talk).to_string().into_bytes()),
        "/tell" => {
            let told = serde_json::from_slice(&body).unwrap_or(Value::Null);
            talk.lock().expect("nobody panics with it").told.push(told);
            ("text/plain", Vec::new())
        }
        other => {
            let file = other.strip_prefix("/modules/").filter(|it| !it.contains(".."));
            match file.and_then(|it| std::fs::read(modules().join(it)).ok()) {
                Some(text) => ("text/javascript", text),
                None => return respond(reader.into_inner(), "404 Not Found", "text/plain", &[]),
            }
        }
    };
    respond(reader.into_inner(), "200 OK", kind, &answer);
}

fn next_order(talk: &Mutex<Talk>) -> Value {
    let end = std::time::Instant::now() + POLL;
    loop {
        if let Some(order) = talk.lock().expect("nobody panics with it").orders.pop_front() {
            return order;
        }
        if std::time::Instant::now() >= end {
            return json!({});
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn respond(mut stream: TcpStream, status: &str, kind: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A browser that closes its page does not wait for the answer.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
}
