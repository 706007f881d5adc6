//! The client against a Graph on a real socket that misbehaves.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::user::{Bsuid, Msisdn};

/// What Graph does with the next request.
pub(in crate::io) enum Does {
    /// Answers with a status, further headers and a body.
    Answer(u16, &'static str, &'static str),
    /// Says nothing until the client goes.
    Hang,
    /// Closes the connection without a word.
    Cut,
    /// Closes it in the middle of the answer.
    CutShort,
}

const DONE: Does = Does::Answer(200, "", r#"{"messaging_product":"whatsapp","success":true}"#);

/// A request as Graph saw it.
#[derive(Debug)]
pub(in crate::io) struct Seen {
    pub(in crate::io) line: String,
    authorization: String,
    pub(in crate::io) body: String,
    /// Which connection it came over.
    connection: usize,
}

pub(in crate::io) struct Graph {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Graph {
    /// A Graph that does one thing after the other; what comes after the last one hangs.
    pub(in crate::io) async fn that(script: impl IntoIterator<Item = Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (tell, seen) = mpsc::unbounded_channel();
        let script: Arc<Mutex<VecDeque<Does>>> = Arc::new(Mutex::new(script.into_iter().collect()));
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(talk(stream, connection, Arc::clone(&script), tell.clone()));
            }
        });
        Self { address, seen }
    }

    pub(in crate::io) fn client(&self) -> GraphClient {
        let settings = GraphSettings {
            base: format!("http://{}", self.address),
            timeout: Duration::from_millis(300),
            ..GraphSettings::default()
        };
        GraphClient::new(settings).expect("a client")
    }

    /// Everything seen so far.
    pub(in crate::io) fn all(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

async fn talk(
    stream: TcpStream,
    connection: usize,
    script: Arc<Mutex<VecDeque<Does>>>,
    tell: mpsc::UnboundedSender<Seen>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read_request(&mut stream, connection).await {
        let _ = tell.send(seen);
        let next = script.lock().expect("unpoisoned").pop_front().unwrap_or(Does::Hang);
        match next {
            Does::Answer(status, headers, body) => {
                let length = body.len();
                let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
                stream.write_all(text.as_bytes()).await.expect("written");
            }
            Does::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
            Does::Cut => return,
            Does::CutShort => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{").await.expect("written");
                return;
            }
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Seen> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { line, authorization, body: String::from_utf8(body).ok()?, connection })
}

fn number() -> PhoneNumberId {
    "108911223344556".into()
}

fn token() -> Secret<String> {
    Secret::new("TOKEN".into())
}

fn user() -> UserId {
    UserId::Phone(Msisdn::parse("5521955500123").expect("digits"))
}

fn accept() -> Action {
    Action::Accept { call: "wacid.A".into(), sdp: "v=0\r\n".into(), opaque: None }
}

fn terminate() -> Action {
    Action::Terminate { call: "wacid.A".into() }
}

fn connect() -> Action {
    Action::Connect { user: user(), offer: "v=0\r\n".into(), opaque: "00ff".into() }
}

async fn post(client: &GraphClient, action: &Action) -> Result<Reply, Failure> {
    client.post(&number(), &token(), action).await
}

#[tokio::test]
async fn a_call_is_started_with_token_path_and_body_over_one_kept_connection() {
    let id = Does::Answer(200, "", r#"{"messaging_product":"whatsapp","calls":[{"id":"wacid.B="}]}"#);
    let mut graph = Graph::that([id, DONE]).await;
    let client = graph.client();
    assert_eq!(post(&client, &connect()).await, Ok(Reply::Connected("wacid.B=".into())));
    assert_eq!(post(&client, &terminate()).await, Ok(Reply::Done));
    let seen = graph.all();
    assert_eq!(seen[0].line, "POST /v25.0/108911223344556/calls HTTP/1.1\r\n");
    assert_eq!(seen[0].authorization, "Bearer TOKEN");
    assert_eq!(seen[0].body, connect().body().to_string());
    assert_eq!(seen[1].connection, seen[0].connection);
}

#[tokio::test]
async fn accept_that_timed_out_comes_again_once_with_the_same_bytes() {
    let mut graph = Graph::that([Does::Hang, DONE]).await;
    assert_eq!(post(&graph.client(), &accept()).await, Ok(Reply::Done));
    let seen = graph.all();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
    let mut graph = Graph::that([]).await;
    assert_eq!(post(&graph.client(), &accept()).await, Err(Failure::TimedOut));
    assert_eq!(graph.all().len(), 2);
}

#[tokio::test]
async fn already_in_progress_after_a_time_out_is_success_and_without_one_is_not() {
    let refusal = r#"{"error":{"code":100,"message":"(#100) Accept already in progress for this call"}}"#;
    let graph = Graph::that([Does::Hang, Does::Answer(400, "", refusal)]).await;
    assert_eq!(post(&graph.client(), &accept()).await, Ok(Reply::Done));
    let graph = Graph::that([Does::Answer(400, "", refusal)]).await;
    let refused = Failure::Refused { meaning: Meaning::InvalidParameter, http: 400, until: None };
    assert_eq!(post(&graph.client(), &accept()).await, Err(refused));
}

#[tokio::test]
async fn connect_is_never_sent_twice_once_meta_may_have_read_it() {
    for (does, failure) in [
        (Does::Hang, Failure::TimedOut),
        (Does::Cut, Failure::Unreachable),
        (Does::CutShort, Failure::Unreachable),
        (Does::Answer(502, "", "<html>bad gateway</html>"), Failure::Unreadable),
        (Does::Answer(200, "", r#"{"success":true}"#), Failure::Unreadable),
    ] {
        let mut graph = Graph::that([does, DONE]).await;
        assert_eq!(post(&graph.client(), &connect()).await, Err(failure));
        assert_eq!(graph.all().len(), 1);
    }
}

#[tokio::test]
async fn hanging_up_is_tried_three_times_through_every_kind_of_trouble() {
    let mut graph = Graph::that([Does::Cut, Does::Answer(500, "", "oops"), DONE]).await;
    assert_eq!(post(&graph.client(), &terminate()).await, Ok(Reply::Done));
    assert_eq!(graph.all().len(), 3);
    let busy = || Does::Answer(503, "", r#"{"error":{"code":2,"message":"temporarily"}}"#);
    let mut graph = Graph::that([busy(), busy(), busy(), DONE]).await;
    let refused = Failure::Refused { meaning: Meaning::TemporaryFault, http: 503, until: None };
    assert_eq!(post(&graph.client(), &terminate()).await, Err(refused));
    assert_eq!(graph.all().len(), 3);
}

#[tokio::test]
async fn a_call_that_had_ended_already_counts_as_hung_up_on_the_second_try() {
    let over = r#"{"error":{"code":100,"message":"(#100) The call has already ended"}}"#;
    let graph = Graph::that([Does::CutShort, Does::Answer(400, "", over)]).await;
    assert_eq!(post(&graph.client(), &terminate()).await, Ok(Reply::Done));
}

#[tokio::test]
async fn a_refusal_carries_its_meaning_and_when_to_come_back() {
    let refusal = r#"{"error":{"message":"(#138012) limit","type":"OAuthException","code":138012,
        "error_data":{"messaging_product":"whatsapp","details":"Next call allowed at 1791990000"},"fbtrace_id":"A"}}"#;
    let mut graph = Graph::that([Does::Answer(400, "", refusal), DONE]).await;
    let until = Some(Wall::from_secs(1_791_990_000));
    let refused = Failure::Refused { meaning: Meaning::DailyCallLimit, http: 400, until };
    assert_eq!(post(&graph.client(), &connect()).await, Err(refused));
    assert_eq!(graph.all().len(), 1);
}

#[tokio::test]
async fn after_a_429_no_call_is_started_until_then_but_calls_can_be_ended() {
    let slow = r#"{"error":{"code":138005,"message":"rate"}}"#;
    let mut graph = Graph::that([Does::Answer(429, "retry-after: 30\r\n", slow), DONE, DONE]).await;
    let client = graph.client();
    for _ in 0..2 {
        let failure = post(&client, &connect()).await.expect_err("refused");
        let Failure::Refused { meaning: Meaning::CallRateLimit, http: 429, until: Some(until) } = failure
        else {
            panic!("{failure:?}");
        };
        let wait = until.since(wall_now());
        assert!(wait > Duration::from_secs(25) && wait <= Duration::from_secs(30), "{wait:?}");
    }
    assert_eq!(graph.all().len(), 1, "the second was refused here");
    assert_eq!(post(&client, &terminate()).await, Ok(Reply::Done));
    let other = client.post(&"2".into(), &token(), &connect()).await;
    assert_eq!(other, Err(Failure::Unreadable), "another number is not held: it was sent and answered");
}

#[tokio::test]
async fn a_graph_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let graph =
        Graph { address: listener.local_addr().expect("its address"), seen: mpsc::unbounded_channel().1 };
    drop(listener);
    assert_eq!(post(&graph.client(), &connect()).await, Err(Failure::Unreachable));
    assert_eq!(graph.client().permission(&number(), &token(), &user()).await, Err(Failure::Unreachable));
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let endless = "x".repeat(ANSWER_LIMIT + 1).leak();
    let mut graph = Graph::that([Does::Answer(200, "", endless)]).await;
    assert_eq!(post(&graph.client(), &connect()).await, Err(Failure::Unreadable));
    assert_eq!(graph.all().len(), 1);
}

#[tokio::test]
async fn a_permission_is_asked_by_number_or_scoped_id_and_remembered_for_a_moment() {
    let permanent = || Does::Answer(200, "", r#"{"permission":{"status":"permanent"},"actions":[]}"#);
    let mut graph = Graph::that([permanent(), permanent(), permanent()]).await;
    let client = graph.client();
    let hidden = UserId::Scoped(Bsuid::parse("BR.2099").expect("scoped"));
    for user in [&user(), &user(), &hidden] {
        let live = client.permission(&number(), &token(), user).await.expect("an answer");
        assert!(live.can_start);
    }
    client.forget_permission(&number(), &user());
    client.permission(&number(), &token(), &user()).await.expect("an answer");
    let lines: Vec<_> = graph.all().into_iter().map(|it| it.line).collect();
    let asked = "GET /v25.0/108911223344556/call_permissions?";
    let by_number = format!("{asked}user_wa_id=5521955500123 HTTP/1.1\r\n");
    assert_eq!(lines, [by_number.clone(), format!("{asked}recipient=BR.2099 HTTP/1.1\r\n"), by_number]);
}

#[tokio::test]
async fn a_429_on_queries_holds_the_next_ones_without_asking() {
    let limit = r#"{"error":{"code":613,"message":"calls to this api have exceeded the rate limit"}}"#;
    let mut graph = Graph::that([Does::Answer(429, "retry-after: 30\r\n", limit)]).await;
    let client = graph.client();
    for _ in 0..2 {
        let failure = client.permission(&number(), &token(), &user()).await.expect_err("refused");
        assert!(
            matches!(
                failure,
                Failure::Refused { meaning: Meaning::PermissionQueryLimit, http: 429, until: Some(_) }
            ),
            "{failure:?}"
        );
    }
    assert_eq!(graph.all().len(), 1);
}

#[test]
fn a_base_that_is_no_url_is_refused_with_words() {
    for base in ["graph.facebook.com", "ftp://graph.facebook.com", ""] {
        let settings = GraphSettings { base: base.into(), ..GraphSettings::default() };
        assert!(matches!(GraphClient::new(settings), Err(GraphSetupError::Base(_))), "{base}");
    }
}

#[test]
fn waiting_is_spread_over_half_the_span() {
    let span = Duration::from_millis(200);
    for _ in 0..1000 {
        let wait = jittered(span);
        assert!(wait >= span / 2 && wait <= span, "{wait:?}");
    }
}
