//! A small business for the stories: takes webhooks, asks the Graph, and speaks ICE, DTLS and SRTP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::random::Random;
use crate::simulator::cli::SimulateArgs;
use crate::simulator::delivery::signature;
use crate::simulator::digits::DigitReader;
use crate::simulator::dtls::{Dtls, Identity, Role, Srtp};
use crate::simulator::sdp::{print_fingerprint, tests::good_answer};
use crate::simulator::speaker::Speaker;
use crate::simulator::stream::{Breach, Header, StreamCheck};
use crate::simulator::stun::tests::check;
use crate::simulator::voice::Ear;
use crate::simulator::{self};

pub(super) const NUMBER: &str = "108911223344556";
const SECRET: &str = "app secret";
const TOKEN: &str = "EAAtoken";

/// Nothing on loopback takes longer.
const LONG: Duration = Duration::from_secs(10);

/// A running stand-in and the business's HTTP side.
pub(super) struct World {
    base: String,
    client: reqwest::Client,
    inbox: mpsc::UnboundedReceiver<(bool, Value)>,
    pending: VecDeque<Value>,
    pub(super) forged: usize,
    pub(super) answers: mpsc::UnboundedSender<StatusCode>,
    pub(super) folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new(tweak: impl FnOnce(&mut SimulateArgs)) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let (secret, token) = (folder.path().join("secret"), folder.path().join("token"));
        std::fs::write(&secret, format!("{SECRET}\n")).expect("file");
        std::fs::write(&token, TOKEN).expect("file");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let webhook = format!("http://{}/hook", listener.local_addr().expect("address"));
        let (sender, inbox) = mpsc::unbounded_channel();
        let (answers, script) = mpsc::unbounded_channel::<StatusCode>();
        let script = std::sync::Arc::new(tokio::sync::Mutex::new(script));
        let hook = move |headers: HeaderMap, body: Bytes| {
            let (sender, script) = (sender.clone(), script.clone());
            async move {
                let scripted = script.lock().await.try_recv().unwrap_or(StatusCode::OK);
                let good = headers.get("X-Hub-Signature-256").and_then(|value| value.to_str().ok())
                    == Some(&signature(SECRET.as_bytes(), &body));
                let _gone = sender.send((good, serde_json::from_slice(&body).expect("JSON")));
                if good { scripted } else { StatusCode::UNAUTHORIZED }
            }
        };
        let router = axum::Router::new().route("/hook", axum::routing::post(hook));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut args = SimulateArgs {
            listen: "127.0.0.1:0".parse().expect("address"),
            media: "127.0.0.1:0".parse().expect("address"),
            webhook,
            app_secret_file: secret,
            access_token_file: token,
            numbers: vec![(NUMBER.to_owned(), "493055500010".to_owned())],
            accept_window: LONG,
            ring_time: LONG,
            first_media: LONG,
            media_gap: LONG,
            connect_time: LONG,
            webhook_retry: Duration::from_millis(20),
            seed: Some(1),
        };
        tweak(&mut args);
        let simulation = simulator::start(&args).await.expect("started");
        let base = format!("http://{}", simulation.http);
        tokio::spawn(simulation.serve());
        let client = reqwest::Client::builder().no_proxy().build().expect("client");
        Self { base, client, inbox, pending: VecDeque::new(), forged: 0, answers, folder }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = timeout(LONG, request.send()).await.expect("in time").expect("answered");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    pub(super) async fn graph_with(&self, token: &str, mut body: Value) -> (u16, Value) {
        body["messaging_product"] = json!("whatsapp");
        let url = format!("{}/v25.0/{NUMBER}/calls", self.base);
        self.send(self.client.post(url).bearer_auth(token).json(&body)).await
    }

    /// A Graph request; (status, body).
    pub(super) async fn graph(&self, body: Value) -> (u16, Value) {
        self.graph_with(TOKEN, body).await
    }

    pub(super) async fn action(&self, action: &str, call: &str, sdp: Option<&str>) -> (u16, Value) {
        let mut body = json!({ "action": action, "call_id": call });
        if let Some(sdp) = sdp {
            body["session"] = json!({ "sdp_type": "answer", "sdp": sdp });
        }
        self.graph(body).await
    }

    /// Whether the action succeeds with Meta's exact body.
    pub(super) async fn succeeds(&self, action: &str, call: &str, sdp: Option<&str>) {
        let answer = self.action(action, call, sdp).await;
        assert_eq!(answer, (200, json!({ "messaging_product": "whatsapp", "success": true })), "{action}");
    }

    pub(super) async fn permissions(&self, phone: &str) -> Value {
        let url = format!("{}/v25.0/{NUMBER}/call_permissions?user_wa_id={phone}", self.base);
        self.send(self.client.get(url).bearer_auth(TOKEN)).await.1
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(self.client.post(format!("{}/sim/{path}", self.base)).json(&body)).await
    }

    /// A control request that must succeed.
    pub(super) async fn told(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub(super) async fn place(&self, mut body: Value) -> String {
        body["number"] = json!(NUMBER);
        self.told("calls", body).await["call"].as_str().expect("id").to_owned()
    }

    pub(super) async fn view(&self, call: &str) -> Value {
        self.send(self.client.get(format!("{}/sim/calls/{call}", self.base))).await.1
    }

    /// The view once the call has wholly ended.
    pub(super) async fn ended(&self, call: &str) -> Value {
        let deadline = Instant::now() + LONG;
        loop {
            let view = self.view(call).await;
            if view["state"] == "ended" {
                return view;
            }
            assert!(Instant::now() < deadline, "the call does not end: {view}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The next webhook body as it came, forged ones counted and skipped.
    pub(super) async fn body(&mut self) -> Value {
        loop {
            let (good, body) =
                timeout(LONG, self.inbox.recv()).await.expect("a webhook in time").expect("open");
            if good {
                return body;
            }
            self.forged += 1;
        }
    }

    /// The next `value`, whatever it is.
    pub(super) async fn value(&mut self) -> Value {
        while self.pending.is_empty() {
            let body = self.body().await;
            for entry in body["entry"].as_array().expect("entries") {
                for change in entry["changes"].as_array().expect("changes") {
                    self.pending.push_back(change["value"].clone());
                }
            }
        }
        self.pending.pop_front().expect("not empty")
    }

    /// The next webhook, which must be this event; its `calls[0]`, `statuses[0]` or `messages[0]`.
    pub(super) async fn event(&mut self, name: &str) -> Value {
        let value = self.value().await;
        let part =
            ["calls", "statuses", "messages"].iter().find_map(|list| value[list].get(0)).expect("a part");
        let found = ["event", "status", "type"]
            .iter()
            .find_map(|key| part[key].as_str().filter(|text| *text == name));
        assert!(found.is_some(), "{name} was expected: {value}");
        let mut part = part.clone();
        part["errors"] = value["errors"].clone();
        part["contacts"] = value["contacts"].clone();
        part
    }

    /// A permission's webhook and a call's are in no order with each other: the message waits its turn.
    pub(super) async fn message_last(&mut self, calls: usize) {
        let mut values = Vec::new();
        while values.len() <= calls {
            values.push(self.value().await);
        }
        values.sort_by_key(|value| value["messages"].is_array());
        self.pending.extend(values);
    }

    /// Whether nothing more comes within 150 ms.
    pub(super) async fn is_quiet(&mut self) -> bool {
        self.pending.is_empty() && timeout(Duration::from_millis(150), self.inbox.recv()).await.is_err()
    }
}

/// The business's media end.
pub(super) struct Gateway {
    socket: UdpSocket,
    identity: Identity,
    speaker: Speaker,
    ufrag: String,
    peer: Option<(SocketAddr, String, String, [u8; 32])>,
    srtp: Option<Srtp>,
    ear: Ear,
    pub(super) check: StreamCheck,
    pub(super) breaches: Vec<Breach>,
    pub(super) digits: DigitReader,
    pub(super) loud: usize,
}

fn line<'a>(sdp: &'a str, name: &str) -> &'a str {
    let found = sdp.split("\r\n").find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("{name} in {sdp}"))
}

impl Gateway {
    pub(super) async fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        Self {
            socket: UdpSocket::bind("127.0.0.1:0").await.expect("bound"),
            identity: Identity::generate().expect("identity"),
            speaker: Speaker::new(&mut random, None, 0),
            ufrag: random.token(8),
            peer: None,
            srtp: None,
            ear: Ear::new().expect("ear"),
            check: StreamCheck::default(),
            breaches: Vec::new(),
            digits: DigitReader::default(),
            loud: 0,
        }
    }

    /// Our SDP.
    pub(super) fn sdp(&self, setup: &str) -> String {
        let print = print_fingerprint(&self.identity.fingerprint);
        good_answer()
            .replace("Gw4t", &self.ufrag)
            .replace(&print_fingerprint(&[0xAB; 32]), &print)
            .replace("setup:active", &format!("setup:{setup}"))
            .replace("773311", &self.speaker.ssrc().to_string())
    }

    /// Meta's SDP.
    pub(super) fn read(&mut self, sdp: &str) {
        let media = sdp.split("\r\n").find(|l| l.starts_with("a=candidate") && l.contains(" 127.0.0.1 "));
        let words: Vec<&str> = media.expect("an IPv4 candidate").split(' ').collect();
        let address = format!("{}:{}", words[4], words[5]).parse().expect("address");
        let print: Vec<u8> = line(sdp, "a=fingerprint:sha-256 ")
            .split(':')
            .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
            .collect();
        let (ufrag, pwd) = (line(sdp, "a=ice-ufrag:").to_owned(), line(sdp, "a=ice-pwd:").to_owned());
        self.peer = Some((address, ufrag, pwd, print.try_into().expect("32 bytes")));
    }

    async fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        timeout(Duration::from_millis(5), self.socket.recv(buffer))
            .await
            .ok()
            .map(|length| length.expect("received"))
    }

    /// A nominating check, until it is answered.
    pub(super) async fn check_ice(&self) {
        let (address, ufrag, pwd, _) = self.peer.as_ref().expect("SDP read");
        self.socket.connect(address).await.expect("connected");
        let request = check(&format!("{ufrag}:{}", self.ufrag), pwd, true, [3; 12]);
        let mut buffer = [0; 2048];
        for _ in 0..100 {
            self.socket.send(&request).await.expect("sent");
            if let Some(length) = self.receive(&mut buffer).await
                && buffer[..length].starts_with(&[1, 1])
            {
                return;
            }
        }
        panic!("no answer to a check");
    }

    /// The handshake, to its end at our side.
    pub(super) async fn handshake(&mut self, role: Role) {
        let expected = self.peer.as_ref().expect("SDP read").3;
        let mut dtls = Dtls::new(&self.identity, role, expected, Instant::now()).expect("begun");
        let mut buffer = [0; 2048];
        let deadline = Instant::now() + LONG;
        while self.srtp.is_none() {
            assert!(Instant::now() < deadline, "no handshake");
            while let Some(datagram) = dtls.poll_transmit() {
                self.socket.send(&datagram).await.expect("sent");
            }
            if let Some(length) = self.receive(&mut buffer).await
                && (20..64).contains(&buffer[0])
            {
                self.srtp = dtls.read(Instant::now(), &buffer[..length]).expect("handshake");
            }
            dtls.handle_timeout(Instant::now()).expect("handshake");
        }
        while let Some(datagram) = dtls.poll_transmit() {
            self.socket.send(&datagram).await.expect("sent");
        }
    }

    /// Sends a packet every 20 ms for a while and takes what comes; `bend` may spoil a packet.
    pub(super) async fn talk(&mut self, frames: u32, bend: impl Fn(u32, &mut Vec<u8>)) {
        let start = Instant::now();
        let mut buffer = [0; 2048];
        let (mut sent, srtp) = (0, self.srtp.as_mut().expect("DTLS up"));
        while sent < frames || start.elapsed() < Duration::from_millis(20) * frames {
            if sent < frames
                && let Some(packet) = self.speaker.poll_packet(Instant::now())
            {
                let mut packet = packet.to_vec();
                bend(sent, &mut packet);
                sent += 1;
                let protected = srtp.protect_rtp(&packet).expect("protected");
                self.socket.send(&protected).await.expect("sent");
            }
            let received = timeout(Duration::from_millis(2), self.socket.recv(&mut buffer)).await;
            let Ok(Ok(length)) = received else { continue };
            let bytes = &buffer[..length];
            if bytes[0] < 128 || (192..=223).contains(&bytes[1]) {
                continue;
            }
            let Some(packet) = srtp.open_rtp(bytes) else { continue };
            let (header, payload) = Header::split(&packet).expect("RTP");
            self.breaches.extend(self.check.packet(Instant::now(), header, header.payload_type == 111));
            if header.payload_type == 126 {
                self.digits.packet(header.timestamp, payload);
            } else if let Some((_, pcm)) = self.ear.hear(payload) {
                self.loud += usize::from(pcm.iter().any(|sample| sample.unsigned_abs() > 2_000));
            }
        }
    }

    pub(super) fn speak(&mut self, samples: &[i16]) {
        let clip = simulator::voice::encode(samples, 16_000).expect("clip");
        self.speaker.speak(std::sync::Arc::new(clip));
    }

    pub(super) fn press(&mut self, digits: &str) {
        assert!(self.speaker.press(digits));
    }
}
