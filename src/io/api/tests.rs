//! The API against a real store, asked as a program would ask it.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::call::{CallDirection, CallRecord};
use crate::config::{ApiScope, KeyUse, Surroundings, TokenConfig, TokenDigest};
use crate::id::CallId;
use crate::io::graph::GraphSettings;
use crate::io::signalling::MessageBell;
use crate::io::store::{StoreSettings, Synchronous};
use crate::io::voicemail::Cabinet;
use crate::time::Wall;
use crate::user::{Msisdn, UserId};

pub(super) const ALL: &str = "all-of-it";
pub(super) const READER: &str = "reads-calls";

/// A gateway with one business number and two phones.
const CONFIG: &str = r#"
[webhook]
listen = "127.0.0.1:9443"
verify_token = { file = "secret" }
app_secrets = [{ file = "secret" }]
[sip]
listen = "127.0.0.1:5060"
advertised = "127.0.0.1:5060"
realm = "cordboard.test"
[media.outside]
bind = "127.0.0.1"
advertised = ["127.0.0.1"]
[media.inside]
bind = "127.0.0.1"
advertised = ["127.0.0.1"]
[[phone]]
name = "1001"
ha1 = { file = "ha1" }
[[phone]]
name = "1002"
ha1 = { file = "ha1" }
[[group]]
name = "desk"
members = ["phone:1001"]
callbacks = ["support"]
[[group]]
name = "back"
members = ["phone:1002"]
[[number]]
label = "support"
phone_number_id = "108911223344556"
display_number = "+551150000000"
access_token = { file = "secret" }
ring = ["phone:1001"]
dial = { prefix = "8", phones = ["1001"] }
settings = { calls = true }
"#;

/// A machine whose files hold what the configuration wants.
struct Machine;

impl Surroundings for Machine {
    fn read_file(&self, path: &Path) -> std::io::Result<String> {
        let hash = "b7fbb1bd3c1eab0e9b5ee2e6d8fdd0a4";
        Ok(if path.ends_with("ha1") { hash } else { "swordfish" }.to_owned())
    }

    fn permissions(&self, _: &Path) -> Option<u32> {
        Some(0o600)
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// A configuration with one business number, two phones and two groups.
pub(in crate::io) fn config() -> Config {
    let (config, _): (_, Vec<KeyUse>) = Config::parse(CONFIG, Path::new("/etc/gateway.toml"), &Machine);
    config.unwrap_or_else(|faults| panic!("{faults}"))
}

/// The business number of these tests.
pub(in crate::io) fn number_of_tests() -> NumberConfig {
    config().numbers.remove(0)
}

fn token(text: &str, scopes: Vec<ApiScope>) -> TokenConfig {
    let hash = digest(&SHA256, text.as_bytes());
    let sha256 = TokenDigest(hash.as_ref().try_into().expect("32 bytes"));
    TokenConfig { name: text.to_owned(), sha256, scopes }
}

/// A gateway's API with one business number, and what asks it.
pub(super) struct Desk {
    directory: TempDir,
    pub(super) store: Store,
    pub(super) api: Api,
    pub(super) router: Router,
    pub(super) questions: mpsc::UnboundedReceiver<Question>,
}

impl Desk {
    pub(super) async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings { synchronous: Synchronous::Normal, ..StoreSettings::default() };
        let store = Store::open(&directory.path().join("api.db"), settings).await.expect("a store");
        let (asked, questions) = mpsc::unbounded_channel();
        let all = ApiScope::ALL.iter().map(|(scope, _)| *scope).collect();
        let tokens = vec![token(ALL, all), token(READER, vec![ApiScope::ReadCalls])];
        // Nobody listens there: what asks Meta fails at once.
        let settings = GraphSettings { base: "http://127.0.0.1:9".into(), ..GraphSettings::default() };
        let graph = Arc::new(GraphClient::new(settings).expect("a client"));
        let mailbox = Mailbox {
            cabinet: Cabinet {
                directory: directory.path().to_owned(),
                shortest: Duration::from_secs(1),
                keep: Duration::from_hours(24),
            },
            bell: MessageBell::unheard(),
        };
        let parts = ApiParts::new(&config(), Tokens::new(tokens), store.clone(), asked, graph);
        let api = Api::new(ApiParts { mailbox: Some(mailbox), ..parts });
        Self { directory, store, api: api.clone(), router: router(api), questions }
    }

    pub(super) async fn ask(&mut self, request: Request<Body>) -> (StatusCode, Value, Option<String>) {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let status = response.status();
        let kind =
            response.headers().get(header::CONTENT_TYPE).map(|it| it.to_str().expect("ascii").to_owned());
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null), kind)
    }

    pub(super) async fn get(&mut self, token: &str, path: &str) -> (StatusCode, Value) {
        let (status, body, kind) =
            self.ask(asking("GET", token, path).body(Body::empty()).expect("good")).await;
        let wanted = if status.is_success() { "application/json" } else { "application/problem+json" };
        assert_eq!(kind.as_deref(), Some(wanted), "{path}: {body}");
        (status, body)
    }

    pub(super) async fn open_call(&self, id: u64, opened: i64) -> CallRecord {
        let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
        let direction = CallDirection::UserInitiated;
        let record = CallRecord::new(CallId(id), "support".into(), "108911223344556".into(), direction, user);
        let record = CallRecord { opened: Wall(opened), ..record };
        self.store.open_record(&record).await.expect("opened");
        record
    }
}

pub(super) fn asking(method: &str, token: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"))
}

fn putting(path: &str, body: &Value, key: &str) -> Request<Body> {
    asking("PUT", ALL, path)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()))
        .expect("good")
}

#[tokio::test]
async fn without_a_token_nobody_learns_anything_and_a_token_opens_only_its_own_doors() {
    let mut desk = Desk::open().await;
    for path in ["/v1/calls", "/v1/phones", "/v1/events", "/v1/numbers"] {
        let request = Request::get(path).body(Body::empty()).expect("good");
        let (status, body, kind) = desk.ask(request).await;
        assert_eq!(
            (status, body["type"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("/problems/no-token")),
            "{path}"
        );
        assert_eq!(kind.as_deref(), Some("application/problem+json"));
        assert_eq!(desk.get("wrong", path).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(desk.get(READER, "/v1/calls").await.0, StatusCode::OK);
    let (status, body) = desk.get(READER, "/v1/numbers").await;
    assert_eq!((status, body["type"].as_str()), (StatusCode::FORBIDDEN, Some("/problems/no-scope")));
    assert!(body["detail"].as_str().expect("text").contains("rules:read"));
}

#[tokio::test]
async fn calls_come_page_by_page_newest_first_and_none_twice() {
    let mut desk = Desk::open().await;
    for id in 1..=7 {
        // Two in each millisecond, three on a page: the cursor must not lose the second of two.
        desk.open_call(id, 1_791_900_000_000 + i64::try_from(id / 2).expect("small")).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/calls?limit=3".to_owned());
    loop {
        let (status, page) = desk.get(READER, &path).await;
        assert_eq!(status, StatusCode::OK);
        let calls = page["calls"].as_array().expect("a list");
        seen.extend(calls.iter().map(|it| it["id"].as_str().expect("text").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/calls?limit=3&cursor={next}");
    }
    let wanted: Vec<String> = (1..=7).rev().map(|id| CallId(id).to_string()).collect();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn a_users_number_is_covered_unless_the_token_may_see_it() {
    let mut desk = Desk::open().await;
    let call = desk.open_call(9, 1_791_900_000_000).await;
    let path = format!("/v1/calls/{}", call.id);
    assert_eq!(desk.get(READER, &path).await.1["user"]["phone"], "***23");
    assert_eq!(desk.get(ALL, &path).await.1["user"]["phone"], "5521955500123");
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_by_a_problem_that_says_why() {
    let mut desk = Desk::open().await;
    for (path, status) in [
        ("/v1/calls?limit=0", 400),
        ("/v1/calls?limit=many", 400),
        ("/v1/calls?colour=red", 400),
        ("/v1/calls?cursor=AAAA", 422),
        ("/v1/calls?since=-1", 400),
        ("/v1/records?format=xml", 400),
        ("/v1/missed?cursor=AAAA", 422),
        ("/v1/missed?all=perhaps", 400),
        ("/v1/calls?number=nobody", 404),
        ("/v1/calls/1", 404),
        ("/v1/calls/ffffffffffffffff", 404),
        ("/v1/calls/%FF", 404),
        ("/v1/numbers/support/users/nobody/permission", 404),
        ("/v1/events?after=-1", 400),
        ("/v1/events?after=99999999999999999999", 400),
        ("/v1/nothing", 404),
    ] {
        let (got, body) = desk.get(ALL, path).await;
        assert_eq!(got.as_u16(), status, "{path}: {body}");
        assert_eq!(body["status"], status, "{path}");
        assert!(body["detail"].as_str().is_some_and(|it| it.len() > 10), "{path}: {body}");
    }
    let (status, ..) = desk.ask(asking("PATCH", ALL, "/v1/calls").body(Body::empty()).expect("good")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_body_that_makes_no_sense_changes_nothing() {
    let mut desk = Desk::open().await;
    let path = "/v1/numbers/support/users/5521955500123/permission";
    for (body, status) in [
        (json!({ "state": "maybe" }), 422),
        (json!({ "state": "permanent", "until": 1 }), 422),
        (json!({ "state": "temporary", "until": 1 }), 422),
        (json!({ "state": "permanent", "colour": "red" }), 422),
        (json!([]), 422),
    ] {
        let (got, answer, _) = desk.ask(putting(path, &body, &body.to_string())).await;
        assert_eq!(got.as_u16(), status, "{body}: {answer}");
    }
    let plain = asking("PUT", ALL, path).body(Body::from("{}")).expect("good");
    assert_eq!(desk.ask(plain).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let huge = json!({ "state": "x".repeat(BODY_LIMIT) });
    assert_eq!(desk.ask(putting(path, &huge, "huge")).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(desk.get(ALL, path).await.1["state"], "none");
}

#[tokio::test]
async fn a_request_that_is_sent_again_under_its_key_is_done_once() {
    let mut desk = Desk::open().await;
    let path = "/v1/numbers/support/users/5521955500123/permission";
    let body = json!({ "state": "permanent" });
    let first = desk.ask(putting(path, &body, "k1")).await;
    assert_eq!((first.0, first.1["holds"].as_bool()), (StatusCode::OK, Some(true)));
    let declined = json!({ "state": "declined" });
    assert_eq!(desk.ask(putting(path, &declined, "k2")).await.0, StatusCode::OK);
    assert_eq!(desk.ask(putting(path, &body, "k1")).await, first, "the answer of before");
    assert_eq!(desk.get(ALL, path).await.1["state"], "declined", "and nothing was done");
    let (status, problem, _) = desk.ask(putting(path, &declined, "k1")).await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("/problems/senseless"))
    );
    for wrong in ["with blank", "", &"k".repeat(201)] {
        let (status, problem, _) = desk.ask(putting(path, &body, wrong)).await;
        assert_eq!((status, &problem["type"]), (StatusCode::BAD_REQUEST, &json!("/problems/bad-request")));
    }
    let log = desk.get(ALL, &format!("{path}/log")).await.1;
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_call_tells_its_stages_once_each_and_a_permission_its_change() {
    let mut desk = Desk::open().await;
    let mut call = desk.open_call(9, 1_791_900_000_000).await;
    call.rang = Some(Wall(1_791_900_001_000));
    desk.store.open_record(&call).await.expect("kept");
    desk.store.open_record(&call).await.expect("kept again");
    call.endpoint = Some(crate::id::Endpoint::Phone("1001".into()));
    call.answered = Some(Wall(1_791_900_002_000));
    call.ended = Some(Wall(1_791_900_003_000));
    desk.store.close_record(&call).await.expect("closed");
    desk.store.close_record(&call).await.expect("closed before");
    let path = "/v1/numbers/support/users/5521955500123/permission";
    for key in ["first", "second"] {
        desk.ask(putting(path, &json!({ "state": "permanent" }), key)).await;
    }
    let page = desk.get(READER, "/v1/events").await.1;
    let events = page["events"].as_array().expect("a list");
    let kinds: Vec<_> = events.iter().map(|it| it["type"].as_str().expect("text")).collect();
    let wanted = ["call.started", "call.ringing", "call.answered", "call.ended", "permission.changed"];
    assert_eq!(kinds, wanted);
    assert_eq!(events[3]["call"]["id"], call.id.to_string());
    assert_eq!((&events[4]["user"]["phone"], &events[4]["number"]), (&json!("***23"), &json!("support")));
    assert_eq!(events[4]["detail"]["state"], "permanent");
    let third = events[2]["id"].as_str().expect("text");
    let rest = desk.get(READER, &format!("/v1/events?after={third}&limit=1")).await.1;
    assert_eq!(rest["events"][0]["type"], "call.ended");
    assert!(rest["next"].is_string());
}

#[tokio::test]
async fn hanging_up_asks_signalling_and_a_call_that_is_over_is_a_conflict() {
    let mut desk = Desk::open().await;
    let call = desk.open_call(9, 1_791_900_000_000).await;
    for (up, wanted) in [(true, StatusCode::ACCEPTED), (false, StatusCode::CONFLICT)] {
        let path = format!("/v1/calls/{}/hangup", call.id);
        let request = asking("POST", ALL, &path).body(Body::empty()).expect("good");
        let router = desk.router.clone();
        let asked = tokio::spawn(async move { router.oneshot(request).await.expect("infallible").status() });
        match desk.questions.recv().await.expect("a question") {
            Question::HangUp(id, answer) => {
                assert_eq!(id, call.id);
                answer.send(up).expect("awaited");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(asked.await.expect("no panic"), wanted);
    }
}

#[tokio::test]
async fn the_cap_of_a_number_shows_what_is_left() {
    let mut desk = Desk::open().await;
    let (status, limits) = desk.get(ALL, "/v1/numbers/support/limits").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&limits["max"], &limits["left"]), (&json!(100), &json!(100)));
    assert_eq!(limits["window_seconds"], 86_400);
}

#[test]
fn every_path_of_the_description_names_its_problems() {
    let description = description();
    let paths = description["paths"].as_object().expect("paths");
    assert!(paths.len() >= 24, "{}", paths.len());
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            let responses = operation["responses"].as_object().expect("responses");
            for status in ["401", "403", "503"] {
                assert!(responses.contains_key(status), "{method} {path} does not say {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_voice_message_is_listed_fetched_with_the_right_scopes_heard_and_deleted_with_its_file() {
    let mut desk = Desk::open().await;
    desk.open_call(7, 1_791_900_000_000).await;
    let file = desk.directory.path().join("message.opus");
    std::fs::write(&file, b"OggS...").expect("written");
    assert!(desk.store.add_voicemail(CallId(7), "message.opus", 9).await.expect("kept"));
    let (_, page) = desk.get(READER, "/v1/voicemails?unheard=true").await;
    let message = &page["voicemails"][0];
    assert_eq!(
        (&message["seconds"], &message["available"], &message["heard"]),
        (&9.into(), &true.into(), &Value::Null)
    );
    assert_eq!(
        (&message["call"], &message["user"]["phone"]),
        (&CallId(7).to_string().into(), &"***23".into())
    );
    assert_eq!(page["next"], Value::Null);
    let (_, events) = desk.get(ALL, "/v1/events").await;
    let told = events["events"].as_array().expect("a list").last().expect("an event").clone();
    assert_eq!((&told["type"], &told["detail"]["seconds"]), (&"voicemail.left".into(), &9.into()));
    assert_eq!(desk.get(READER, "/v1/voicemails/1/audio").await.0, StatusCode::FORBIDDEN);
    let request = asking("GET", ALL, "/v1/voicemails/1/audio").body(Body::empty()).expect("good");
    let sound = desk.router.clone().oneshot(request).await.expect("infallible");
    assert_eq!(sound.headers()[header::CONTENT_TYPE], "audio/ogg");
    assert_eq!(&to_bytes(sound.into_body(), 1 << 20).await.expect("a body")[..], b"OggS...");
    let act = |method: &str, token: &str, path: &str| {
        asking(method, token, path).body(Body::empty()).expect("good")
    };
    assert_eq!(desk.ask(act("POST", READER, "/v1/voicemails/1/heard")).await.0, StatusCode::FORBIDDEN);
    let (status, heard, _) = desk.ask(act("POST", ALL, "/v1/voicemails/1/heard")).await;
    assert_eq!((status, &heard["heard_by"]), (StatusCode::OK, &ALL.into()));
    let (_, page) = desk.get(READER, "/v1/voicemails?unheard=true").await;
    assert_eq!(page["voicemails"], Value::Array(Vec::new()));
    assert_eq!(desk.ask(act("DELETE", ALL, "/v1/voicemails/1")).await.0, StatusCode::NO_CONTENT);
    assert!(!file.exists(), "the sound is gone, too");
    for gone in
        ["/v1/voicemails/1/audio", "/v1/voicemails/x/audio", "/v1/voicemails/99999999999999999999/audio"]
    {
        assert_eq!(desk.get(ALL, gone).await.0, StatusCode::NOT_FOUND, "{gone}");
    }
}
