//! A switchboard for stories: SIP as text, time by hand, a Graph that does what its script says; the store and the
//! media threads are real.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::switchboard::Switchboard;
use super::{MessageBell, now};
use crate::id::{CallId, PhoneName};
use crate::io::api::config_of_tests;
use crate::io::dns::Dns;
use crate::io::graph::tests::{Does, Graph, Seen};
use crate::io::media::{MediaEngine, MediaSettings, Realm};
use crate::io::parts::{Ground, parts};
use crate::io::sip::Arrival;
use crate::io::sounds::Sounds;
use crate::io::store::{InboxId, Store, StoreSettings};
use crate::io::voicemail::Cabinet;
use crate::io::webhook::Delivery;
use crate::masked::Secret;
use crate::media::Report;
use crate::metrics::{Registry, Scrape};
use crate::random::Random;
use crate::sip::alert::AlertForms;
use crate::sip::digest::authorize;
use crate::sip::{DigestAlgorithm, Flow, PhoneAccount, PhoneLamps, Settings, SrtpSetting, UserAgent};
use crate::time::Now;
use crate::whatsapp::Event;

const US: &str = "192.0.2.1:5060";
const DOMAIN: &str = "cordboard.test";
const PASSWORD: &str = "s3cret";
/// What a phone offers; its sound goes nowhere.
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
/// The real parts take their time; longer only on a machine that does nothing at all.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Rig {
    pub(super) directory: TempDir,
    pub(super) board: Switchboard,
    pub(super) store: Store,
    pub(super) metrics: Arc<Registry>,
    graph: Graph,
    seen: Vec<Seen>,
    reports: mpsc::UnboundedReceiver<(CallId, Report)>,
    pub(super) now: Now,
    requests: u32,
    inbox: i64,
}

/// One SIP message that went out.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) to: SocketAddr,
    pub(super) text: String,
}

impl Said {
    /// `200` of a response, `INVITE` of a request, with the phrase of a response.
    pub(super) fn what(&self) -> &str {
        let line = self.text.lines().next().unwrap_or_default();
        line.strip_prefix("SIP/2.0 ").unwrap_or_else(|| line.split(' ').next().unwrap_or_default())
    }

    fn header(&self, name: &str) -> &str {
        let line = self.text.lines().find(|it| it.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|it| it.split_once(':')).map_or("", |(_, value)| value.trim())
    }
}

/// Where a phone is.
fn place(phone: &str) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], 40_000 + phone.parse::<u16>().expect("a number") % 1000))
}

fn user_agent(random: Random) -> UserAgent {
    let mut settings = Settings::new(DOMAIN, US.parse().expect("an address"));
    let phone = |name: &str| PhoneAccount {
        name: name.into(),
        display: String::new(),
        algorithm: DigestAlgorithm::Md5,
        ha1: Secret::new(DigestAlgorithm::Md5.ha1(name, DOMAIN, PASSWORD)),
        srtp: SrtpSetting::default(),
        lamps: PhoneLamps::default(),
        alerts: AlertForms::default(),
    };
    settings.phones = vec![phone("1001"), phone("1002")];
    UserAgent::new(settings, random)
}

impl Rig {
    pub(super) async fn start(script: impl IntoIterator<Item = Does>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("s.db"), StoreSettings::default()).await;
        let store = store.expect("a store");
        let graph = Graph::that(script).await;
        let config = config_of_tests();
        let mut random = Random::from_number(7);
        let (reports_in, reports) = mpsc::unbounded_channel();
        let loopback = Realm { bind: [127, 0, 0, 1].into(), advertised: Vec::new(), ports: 0..=0 };
        let mut media = MediaSettings::new(loopback.clone(), loopback);
        media.workers = 1;
        let metrics = Arc::new(Registry::new(&["support".into()]));
        let ground = Ground {
            agent: user_agent(random.split()),
            media: MediaEngine::start(media, random.split(), reports_in).expect("threads"),
            recorder: None,
            messages: None,
            cabinet: Cabinet {
                directory: directory.path().to_owned(),
                shortest: Duration::from_secs(1),
                keep: Duration::from_hours(24),
            },
            store: store.clone(),
            dns: Dns::new(Vec::new(), mpsc::unbounded_channel().0),
            graph: Arc::new(graph.client()),
            sounds: Sounds::load(&config.sounds, &config.recording.consent).expect("tones"),
            metrics: Arc::clone(&metrics),
            random,
        };
        let board = Switchboard::new(parts(&config, ground).expect("tones"));
        Self {
            directory,
            board,
            store,
            metrics,
            graph,
            seen: Vec::new(),
            reports,
            now: now(),
            requests: 0,
            inbox: 0,
        }
    }

    /// Lets everything that is due happen; gives what was said.
    fn settle(&mut self) -> Vec<Said> {
        self.board.settle(self.now);
        let said = std::iter::from_fn(|| self.board.poll_transmit());
        said.map(|(flow, bytes)| Said { to: flow.remote, text: String::from_utf8_lossy(&bytes).into_owned() })
            .collect()
    }

    /// Lets time pass; sounds end by themselves.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn hear(&mut self, phone: &str, text: &str) {
        let flow = Flow::udp(US.parse().expect("an address"), place(phone));
        self.board.handle_arrival(self.now, Arrival::Message(flow, text.as_bytes().to_vec()));
    }

    /// What is said next that `found` wants; store, Graph and media answer meanwhile.
    pub(super) async fn until(&mut self, what: &str, found: impl Fn(&Said) -> bool) -> Said {
        let search = async {
            loop {
                if let Some(said) = self.settle().into_iter().find(|it| found(it)) {
                    return said;
                }
                tokio::select! {
                    Some((call, reply)) = self.board.replies.recv() => self.board.handle_reply(self.now, call, reply),
                    Some((call, report)) = self.reports.recv() => self.board.handle_report(self.now, call, report),
                }
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(said) => said,
            Err(_) => panic!("never said: {what}"),
        }
    }

    /// Waits for something that is not said.
    pub(super) async fn holds(&mut self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let search = async {
            while !holds(&*self).await {
                drop(self.settle());
                while let Ok((call, reply)) = self.board.replies.try_recv() {
                    self.board.handle_reply(self.now, call, reply);
                }
                while let Ok((call, report)) = self.reports.try_recv() {
                    self.board.handle_report(self.now, call, report);
                }
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, search).await.is_ok(), "never: {what}");
    }

    fn request(
        &mut self,
        method: &str,
        phone: &str,
        uri: &str,
        name: &str,
        lines: &str,
        body: &str,
    ) -> String {
        self.requests += 1;
        let (at, number) = (place(phone), self.requests);
        let to = if method == "REGISTER" { format!("sip:{phone}@{DOMAIN}") } else { uri.to_owned() };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKs{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:{phone}@{DOMAIN}>;tag=f{name}\r\nTo: <{to}>\r\nCall-ID: {name}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:{phone}@{at}>\r\nUser-Agent: A desk phone that says of itself what they all say 1.0\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn proof(challenge: &Said, phone: &str, password: &str, method: &str, uri: &str) -> String {
        let value = challenge.header("www-authenticate");
        let field = |name: &str| {
            let rest = value.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| rest);
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let (realm, nonce) = (field("realm"), field("nonce"));
        let proof = authorize(DigestAlgorithm::Md5, phone, password, (&realm, &nonce), (method, uri), 1);
        format!("Authorization: {proof}\r\n")
    }

    /// A phone sends a request, proves who it is when asked, and hears a final answer.
    async fn ask(&mut self, method: &str, phone: &str, uri: &str, body: &str) -> Said {
        let name = format!("{method}-{phone}-{}", self.requests);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = self.request(method, phone, uri, &name, kind, body);
        self.hear(phone, &text);
        let challenge = self.until("a challenge", |it| it.what().starts_with("401")).await;
        let lines = Self::proof(&challenge, phone, PASSWORD, method, uri) + kind;
        let text = self.request(method, phone, uri, &name, &lines, body);
        self.hear(phone, &text);
        let own = |it: &Said| it.header("call-id") == name;
        self.until("an answer", |it| own(it) && it.what().as_bytes()[0] >= b'2' && it.text.starts_with("SIP"))
            .await
    }

    pub(super) async fn register(&mut self, phone: &str) {
        let answer = self.ask("REGISTER", phone, &format!("sip:{DOMAIN}"), "").await;
        assert_eq!(answer.what(), "200 OK");
    }

    /// Asks to be challenged, as whoever guesses passwords does.
    pub(super) async fn challenge(&mut self, phone: &str) -> Said {
        let text = self.request("REGISTER", phone, &format!("sip:{DOMAIN}"), "guess", "", "");
        self.hear(phone, &text);
        self.until("a challenge", |it| it.what().starts_with("401")).await
    }

    /// Tries a password that is not the phone's; perhaps nobody answers.
    pub(super) fn guess(&mut self, phone: &str, challenge: &Said) {
        let uri = format!("sip:{DOMAIN}");
        let proof = Self::proof(challenge, phone, "guessed", "REGISTER", &uri);
        let text = self.request("REGISTER", phone, &uri, "guess", &proof, "");
        self.hear(phone, &text);
        drop(self.settle());
    }

    /// A phone dials; status and phrase of the answer, as its display shows them.
    pub(super) async fn dials(&mut self, phone: &str, digits: &str) -> String {
        let uri = format!("sip:{digits}@{DOMAIN}");
        self.ask("INVITE", phone, &uri, SDP).await.what().to_owned()
    }

    /// A phone dials and does not wait for the answer.
    pub(super) async fn begins_to_dial(&mut self, phone: &str, digits: &str) {
        let (uri, name) = (format!("sip:{digits}@{DOMAIN}"), format!("begun-{phone}"));
        let kind = "Content-Type: application/sdp\r\n";
        let text = self.request("INVITE", phone, &uri, &name, kind, SDP);
        self.hear(phone, &text);
        let challenge = self.until("a challenge", |it| it.what().starts_with("401")).await;
        let lines = Self::proof(&challenge, phone, PASSWORD, "INVITE", &uri) + kind;
        let text = self.request("INVITE", phone, &uri, &name, &lines, SDP);
        self.hear(phone, &text);
    }

    /// Meta tells something.
    pub(super) fn deliver(&mut self, event: Event) {
        self.inbox += 1;
        let delivery = Delivery { inbox: Some(InboxId(self.inbox)), event, arrived: self.now };
        self.board.handle_delivery(self.now, delivery);
    }

    /// What Graph was asked to do so far: `POST messages` with its body.
    pub(super) fn sent(&mut self, path: &str) -> Vec<serde_json::Value> {
        self.seen.extend(self.graph.all());
        let posts = self
            .seen
            .iter()
            .filter(|it| it.line.starts_with("POST") && it.line.contains(&format!("/{path} ")));
        posts.map(|it| serde_json::from_str(&it.body).expect("JSON")).collect()
    }

    pub(super) fn rings(said: &Said, phone: &str) -> bool {
        said.text.starts_with("INVITE ") && said.to == place(phone)
    }

    pub(super) fn is_undisturbed(&self, phone: &str) -> bool {
        self.board.undisturbed.contains_key(&PhoneName::from(phone))
    }

    pub(super) fn counted(&self, line: &str) -> bool {
        self.metrics.render(Scrape::default()).lines().any(|it| it == line)
    }

    pub(super) fn bell(&self) -> MessageBell {
        self.board.message_bell()
    }
}
