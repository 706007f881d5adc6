//! The endpoint on real sockets, with a real store behind it.

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::io::store::{StoreSettings, Synchronous};
use crate::io::tls::{TlsSetupError, tls_config};
use crate::whatsapp::webhook::sign;

const SECRETS: [&str; 2] = ["old secret", "new secret"];
const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    _directory: TempDir,
    address: SocketAddr,
    store: Store,
    events: mpsc::UnboundedReceiver<Delivery>,
    counters: Arc<WebhookCounters>,
    server: WebhookServer,
    client: reqwest::Client,
}

impl Bench {
    async fn set_up() -> Self {
        Self::with(Duration::from_secs(5)).await
    }

    /// `patience`: how long headers and bodies may take.
    async fn with(patience: Duration) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings { synchronous: Synchronous::Normal, ..StoreSettings::default() };
        let store = Store::open(&directory.path().join("test.db"), settings).await.expect("a store");
        let counters = Arc::new(WebhookCounters::default());
        let (tell, events) = mpsc::unbounded_channel();
        let secrets = SECRETS.iter().map(|it| Secret::new((*it).to_owned())).collect();
        let token = Secret::new("verify me".to_owned());
        let state = WebhookState::with_body_timeout(
            token,
            secrets,
            store.clone(),
            tell,
            Arc::clone(&counters),
            patience,
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let server = serve_with(listener, None, router("/meta", state), patience).expect("a server");
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { _directory: directory, address, store, events, counters, server, client }
    }

    async fn post(&self, body: String, signature: Option<String>) -> reqwest::Response {
        let mut request = self.client.post(format!("http://{}/meta", self.address));
        if let Some(signature) = signature {
            request = request.header("X-Hub-Signature-256", signature);
        }
        request.body(body).send().await.expect("an answer")
    }

    async fn signed(&self, body: String) -> u16 {
        let signature = sign(SECRETS[1].as_bytes(), body.as_bytes());
        self.post(body, Some(signature)).await.status().as_u16()
    }

    fn count(&self, outcome: WebhookOutcome) -> u64 {
        self.counters.of(outcome)
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("in time").expect("an event").event
    }

    fn nothing_more(&mut self) -> bool {
        self.events.try_recv().is_err()
    }
}

fn ringing(call: &str) -> String {
    json!({ "object": "whatsapp_business_account", "entry": [{ "changes": [{ "field": "calls", "value": {
        "metadata": { "phone_number_id": "108911223344556" },
        "statuses": [{ "id": call, "type": "call", "status": "RINGING", "timestamp": "1791900101" }] } }] }] })
    .to_string()
}

#[tokio::test]
async fn a_signed_event_is_durable_and_passed_on_once_however_often_it_comes() {
    let mut bench = Bench::set_up().await;
    let before = Instant::now();
    for _ in 0..3 {
        assert_eq!(bench.signed(ringing("wacid.A")).await, 200);
    }
    let answered = Instant::now();
    let delivery = tokio::time::timeout(PATIENCE, bench.events.recv()).await.expect("in time").expect("sent");
    assert!((before..answered).contains(&delivery.arrived.mono), "its time is that of the webhook");
    let event = delivery.event;
    assert!(matches!(&event, Event::Call(it) if it.call.as_str() == "wacid.A"));
    assert!(bench.nothing_more());
    assert_eq!(bench.store.unhandled().await.expect("read").len(), 1);
    let figures = bench.counters.figures();
    assert_eq!((figures.new, figures.repeated, bench.count(WebhookOutcome::Accepted)), (1, 2, 3));
    assert_eq!(figures.times.count(), 3);
}

#[tokio::test]
async fn either_secret_signs_and_anything_else_is_401_and_nothing_happens() {
    let mut bench = Bench::set_up().await;
    let body = ringing("wacid.A");
    let by = |secret: &str, body: &str| Some(sign(secret.as_bytes(), body.as_bytes()));
    assert_eq!(bench.post(body.clone(), by("old secret", &body)).await.status(), 200);
    bench.next().await;
    let other = ringing("wacid.B");
    for signature in [None, by("wrong", &other), by("old secret", &body), Some("sha256=".into())] {
        assert_eq!(bench.post(other.clone(), signature).await.status(), 401);
    }
    // Not even a body that is no JSON tells an unsigned caller more than that.
    assert_eq!(bench.post("{".into(), by("wrong", "{")).await.status(), 401);
    assert!(bench.nothing_more());
    assert_eq!(bench.store.unhandled().await.expect("read").len(), 1);
    assert_eq!(bench.count(WebhookOutcome::BadSignature), 5);
}

#[tokio::test]
async fn the_handshake_gives_the_challenge_back_for_the_right_token_only() {
    let bench = Bench::set_up().await;
    let get = async |query: &str| {
        let url = format!("http://{}/meta?{query}", bench.address);
        let answer = bench.client.get(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let good = "hub.mode=subscribe&hub.verify_token=verify%20me&hub.challenge=1158201444";
    assert_eq!(get(good).await, (200, "1158201444".into()));
    for bad in [
        "hub.mode=subscribe&hub.verify_token=verify&hub.challenge=1",
        "hub.mode=other&hub.verify_token=verify%20me&hub.challenge=1",
        "hub.challenge=1",
        "",
    ] {
        assert_eq!(get(bad).await.0, 403, "{bad}");
    }
    assert_eq!((bench.count(WebhookOutcome::Verified), bench.count(WebhookOutcome::BadToken)), (1, 4));
}

#[tokio::test]
async fn what_is_signed_but_unreadable_is_400_and_counted_apart_from_broken_items() {
    let mut bench = Bench::set_up().await;
    assert_eq!(bench.signed("<html>".into()).await, 400);
    let body = json!({ "entry": [{ "changes": [{ "field": "calls", "value": {
        "metadata": { "phone_number_id": "1" },
        "calls": [{ "event": "terminate" }, { "id": "wacid.A", "event": "terminate", "timestamp": "1791900101" }] } }] }] });
    assert_eq!(bench.signed(body.to_string()).await, 200);
    bench.next().await;
    assert_eq!((bench.count(WebhookOutcome::Unreadable), bench.counters.figures().flawed), (1, 1));
}

#[tokio::test]
async fn three_megabytes_are_taken_and_one_byte_more_is_not() {
    let bench = Bench::set_up().await;
    let padded = |length: usize| format!("{{\"entry\":[]}}{}", " ".repeat(length - 12));
    assert_eq!(bench.signed(padded(BODY_LIMIT)).await, 200);
    // Announced: refused before it is read. In pieces without a length: refused on the way.
    let mut socket = TcpStream::connect(bench.address).await.expect("connected");
    let head = format!(
        "POST /meta HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256=00\r\ncontent-length: {}\r\n\r\n",
        BODY_LIMIT + 1
    );
    socket.write_all(head.as_bytes()).await.expect("written");
    assert!(first_line(&mut socket).await.contains(" 413 "));
    let mut socket = TcpStream::connect(bench.address).await.expect("connected");
    let head = "POST /meta HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256=00\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("written");
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..=BODY_LIMIT / 0x10000 {
        if socket.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
    }
    assert!(first_line(&mut socket).await.contains(" 413 "));
    assert_eq!(bench.count(WebhookOutcome::TooLarge), 2);
}

async fn first_line(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.contains('\n') {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(PATIENCE, socket.read(&mut byte)).await.expect("in time");
        if read.unwrap_or(0) == 0 {
            break;
        }
        text.push(char::from(byte[0]));
    }
    text
}

#[tokio::test]
async fn headers_and_bodies_that_dawdle_are_cut_off_and_do_not_stand_in_anybodys_way() {
    let mut bench = Bench::with(Duration::from_millis(300)).await;
    let mut slow_head = TcpStream::connect(bench.address).await.expect("connected");
    slow_head.write_all(b"POST /meta HTTP/1.1\r\nhost:").await.expect("written");
    let mut slow_body = TcpStream::connect(bench.address).await.expect("connected");
    let head =
        "POST /meta HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256=00\r\ncontent-length: 90\r\n\r\n{";
    slow_body.write_all(head.as_bytes()).await.expect("written");
    assert_eq!(bench.signed(ringing("wacid.A")).await, 200);
    bench.next().await;
    assert!(first_line(&mut slow_body).await.contains(" 408 "));
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, slow_head.read_to_end(&mut rest)).await.expect("closed in time").ok();
    assert_eq!(bench.count(WebhookOutcome::TooSlow), 1);
}

#[tokio::test]
async fn r15_with_the_store_down_a_call_is_acted_on_and_meta_is_told_to_come_again() {
    let mut bench = Bench::set_up().await;
    bench.store.close().await;
    let body = ringing("wacid.A");
    let answer = bench.post(body.clone(), Some(sign(SECRETS[0].as_bytes(), body.as_bytes()))).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    let delivery = bench.events.recv().await.expect("an event");
    assert!(delivery.inbox.is_none() && matches!(delivery.event, Event::Call(_)), "{delivery:?}");
    assert!(bench.nothing_more());
    assert_eq!(bench.count(WebhookOutcome::StoreDown), 1);
    // What nothing acts on needs no store.
    let other = r#"{"entry":[{"changes":[{"field":"account_update","value":{"event":"X"}}]}]}"#;
    assert_eq!(bench.signed(other.into()).await, 200);
    assert_eq!(bench.counters.figures().ignored, 1);
}

#[tokio::test]
async fn nobody_listening_loses_nothing() {
    let mut bench = Bench::set_up().await;
    bench.events.close();
    assert_eq!(bench.signed(ringing("wacid.A")).await, 200);
    assert_eq!(bench.store.unhandled().await.expect("read").len(), 1);
}

#[tokio::test]
async fn a_burst_is_stored_whole_and_passed_on_once_each() {
    let mut bench = Bench::set_up().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (client, address) = (bench.client.clone(), bench.address);
        tasks.spawn(async move {
            let body = ringing(&format!("wacid.{}", n % 100));
            let signature = sign(SECRETS[0].as_bytes(), body.as_bytes());
            let request =
                client.post(format!("http://{address}/meta")).header("X-Hub-Signature-256", signature);
            request.body(body).send().await.expect("an answer").status().as_u16()
        });
    }
    assert!(tasks.join_all().await.iter().all(|it| *it == 200));
    let mut calls = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let Event::Call(event) = bench.next().await else { panic!("a call") };
        assert!(calls.insert(event.call));
    }
    assert!(bench.nothing_more());
}

#[tokio::test]
async fn stopping_lets_a_request_finish_and_takes_no_new_one() {
    let mut bench = Bench::set_up().await;
    assert!(bench.server.is_running());
    let body = ringing("wacid.A");
    let mut socket = TcpStream::connect(bench.address).await.expect("connected");
    let signature = sign(SECRETS[0].as_bytes(), body.as_bytes());
    let head = format!(
        "POST /meta HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {signature}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.expect("written");
    // The request is in hand once the server asks for its body.
    assert!(first_line(&mut socket).await.contains(" 100 "));
    let stopping = tokio::spawn(bench.server.stop(PATIENCE));
    tokio::task::yield_now().await;
    socket.write_all(body.as_bytes()).await.expect("written");
    let event = tokio::time::timeout(PATIENCE, bench.events.recv()).await.expect("in time");
    assert!(event.is_some());
    tokio::time::timeout(PATIENCE, stopping).await.expect("in time").expect("stopped");
    assert!(TcpStream::connect(bench.address).await.is_err());
}

#[tokio::test]
async fn over_tls_the_endpoint_answers_whoever_trusts_its_certificate() {
    let bench = Bench::set_up().await;
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/webhook/tls");
    let tls = tls_config(&data.join("certificate.pem"), &data.join("key.pem")).expect("a configuration");
    let (tell, mut events) = mpsc::unbounded_channel();
    let secrets = vec![Secret::new("s".to_owned())];
    let token = Secret::new("t".to_owned());
    let state = WebhookState::new(token, secrets, bench.store.clone(), tell, Arc::clone(&bench.counters));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let server = serve(listener, Some(tls), router("/meta", state)).expect("a server");
    let trusted = reqwest::Certificate::from_pem(&std::fs::read(data.join("certificate.pem")).expect("read"));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only(trusted).build();
    let body = ringing("wacid.T");
    let request = client.expect("a client").post(format!("https://{address}/meta"));
    let request = request.header("x-hub-signature-256", sign(b"s", body.as_bytes())).body(body);
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time");
    assert!(event.is_some());
    let stranger = bench.client.get(format!("https://{address}/meta")).send().await;
    assert!(stranger.is_err(), "nobody else trusts it");
    server.stop(Duration::ZERO).await;
}

#[test]
fn a_certificate_that_is_none_is_named() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/webhook/tls");
    let missing = tls_config(&data.join("none.pem"), &data.join("key.pem")).expect_err("no file");
    assert!(missing.to_string().contains("none.pem"), "{missing}");
    let swapped = tls_config(&data.join("key.pem"), &data.join("key.pem")).expect_err("no certificate");
    assert!(matches!(swapped, TlsSetupError::Pem { .. } | TlsSetupError::Pair(_)), "{swapped}");
}
