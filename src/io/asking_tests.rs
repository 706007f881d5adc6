//! Asking for permission against a Graph on a real socket: what is sent, what is not, and what is kept of the answer.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::TemplateConfig;
use crate::io::graph::tests::{Does, Graph};
use crate::io::store::{EventId, StoreSettings};
use crate::policy::AskReason;
use crate::user::Msisdn;

const TAKEN: Does =
    Does::Answer(200, "", r#"{"messaging_product":"whatsapp","messages":[{"id":"wamid.R1"}]}"#);
/// When the tests happen.
const NOW: Wall = Wall(1_791_900_000_000);

const fn later(seconds: i64) -> Wall {
    Wall(NOW.0 + seconds * 1000)
}

fn user() -> UserId {
    UserId::Phone(Msisdn::parse("5521955500123").expect("digits"))
}

/// A desk with an open conversation, and its Graph.
struct Desk {
    _directory: TempDir,
    asking: Asking,
    graph: Graph,
}

impl Desk {
    async fn with(script: impl IntoIterator<Item = Does>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store =
            Store::open(&directory.path().join("a.db"), StoreSettings::default()).await.expect("a store");
        let graph = Graph::that(script).await;
        let asking = Asking {
            store,
            graph: Arc::new(graph.client()),
            number: "108911223344556".into(),
            token: Secret::new("EAAtoken".to_owned()),
            rules: Rules::default(),
            words: AskConfig { text: "May we call you?".into(), template: None, code: None },
        };
        Self { _directory: directory, asking, graph }
    }

    async fn wrote(self) -> Self {
        self.asking.store.open_window(&self.asking.number, &user(), NOW).await.expect("kept");
        self
    }

    async fn ask(&self, at: Wall) -> Result<Asked, AskFailure> {
        let question =
            Question { user: user(), text: None, parameters: Vec::new(), ring: Some("phone:1001".into()) };
        self.asking.ask(&question, at).await
    }

    /// The bodies that reached Graph since this was last looked at.
    fn sent(&mut self) -> Vec<Value> {
        self.graph.all().iter().map(|it| serde_json::from_str(&it.body).expect("JSON")).collect()
    }

    async fn told(&self) -> Vec<String> {
        let events = self.asking.store.events_after(EventId(0), 50).await.expect("read");
        events.into_iter().map(|it| it.kind).collect()
    }
}

fn denied(outcome: Result<Asked, AskFailure>) -> (AskReason, Option<Wall>) {
    match outcome {
        Err(AskFailure::Denied(denial)) => (denial.reason, denial.until),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn b6_limits_are_asked_before_anything_is_sent() {
    let mut desk = Desk::with([TAKEN]).await;
    assert_eq!(denied(desk.ask(NOW).await), (AskReason::NoTemplate, None), "nobody has written");
    assert_eq!((desk.sent(), desk.told().await), (Vec::new(), Vec::new()));
    let mut desk = desk.wrote().await;
    let asked = desk.ask(later(1)).await.expect("asked");
    assert_eq!(asked, Asked { kind: RequestKind::FreeForm, message: "wamid.R1".into() });
    let sent = desk.sent();
    assert_eq!(sent.len(), 1);
    let body = &sent[0]["interactive"];
    assert_eq!(
        (&body["type"], &body["body"]["text"]),
        (&json!("call_permission_request"), &json!("May we call you?"))
    );
    assert_eq!(desk.told().await, ["permission.requested"]);
    let day = later(1 + 86_400);
    assert_eq!(denied(desk.ask(later(2)).await), (AskReason::ShortLimit, Some(day)));
    assert_eq!(desk.sent(), Vec::<Value>::new(), "the second one never left");
    assert_eq!(desk.told().await, ["permission.requested"]);
}

#[tokio::test]
async fn b5_the_form_is_chosen_by_the_window_and_says_what_was_asked_to_be_said() {
    let mut desk = Desk::with([TAKEN, TAKEN]).await;
    desk.asking.words.template =
        Some(TemplateConfig { name: "may_we_call".into(), language: "en_US".into() });
    let question = |text: Option<&str>| Question {
        user: user(),
        text: text.map(str::to_owned),
        parameters: vec!["order 7".into()],
        ring: None,
    };
    let asked = desk.asking.ask(&question(Some("not in a template")), NOW).await.expect("asked");
    assert_eq!(asked.kind, RequestKind::Template);
    let mut desk = desk.wrote().await;
    let asked = desk.asking.ask(&question(Some("About order 7")), later(86_399)).await;
    assert_eq!(denied(asked).0, AskReason::ShortLimit);
    let asked = desk.asking.ask(&question(Some("About order 7")), later(86_400)).await;
    assert_eq!(asked.expect("a day later, and the window is shut by then").kind, RequestKind::Template);
    let sent = desk.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0]["template"]["name"], "may_we_call");
    assert!(sent[0].to_string().contains("order 7") && !sent[0].to_string().contains("not in a template"));
    let mut open = Desk::with([TAKEN]).await.wrote().await;
    open.asking.ask(&question(Some("About order 7")), later(1)).await.expect("asked");
    assert_eq!(open.sent()[0]["interactive"]["body"]["text"], "About order 7");
}

#[tokio::test]
async fn b6_a_request_that_meta_refuses_gives_its_place_back_and_one_without_an_answer_keeps_it() {
    let refused = Does::Answer(400, "", r#"{"error":{"message":"no","code":131047}}"#);
    let mut desk = Desk::with([refused, TAKEN]).await.wrote().await;
    assert!(matches!(desk.ask(later(1)).await, Err(AskFailure::Graph(Failure::Refused { .. }))));
    assert!(desk.told().await.is_empty(), "nobody was asked");
    desk.ask(later(2)).await.expect("the place was given back");
    assert_eq!(desk.sent().len(), 2);
    let mut silent = Desk::with([Does::Hang]).await.wrote().await;
    assert!(matches!(silent.ask(later(1)).await, Err(AskFailure::Graph(Failure::TimedOut))));
    assert_eq!(denied(silent.ask(later(2)).await).0, AskReason::ShortLimit, "Meta may have it");
    assert_eq!(silent.sent().len(), 1);
}

#[tokio::test]
async fn b6_metas_own_asked_too_often_is_kept_for_as_long_as_it_says_or_an_hour() {
    let named =
        r#"{"error":{"message":"x","code":138009,"error_data":{"limit_expiration_time":1791990000}}}"#;
    let unnamed = r#"{"error":{"message":"x","code":138009}}"#;
    for (body, until) in [(named, Wall::from_secs(1_791_990_000)), (unnamed, later(1 + 3600))] {
        let mut desk = Desk::with([Does::Answer(400, "", body)]).await.wrote().await;
        let failure = desk.ask(later(1)).await.expect_err("refused");
        assert_eq!(failure.cause(), HangupCause::Meta(Meaning::PermissionRequestLimit));
        assert_eq!(denied(desk.ask(later(2)).await), (AskReason::ShortLimit, Some(until)));
        assert_eq!(desk.sent().len(), 1, "the second one never left");
    }
}

#[tokio::test]
async fn b3_metas_no_need_to_ask_is_a_permission_for_ever() {
    let needless = Does::Answer(400, "", r#"{"error":{"message":"x","code":138017}}"#);
    let mut desk = Desk::with([needless]).await.wrote().await;
    assert!(desk.ask(later(1)).await.is_err());
    let held = desk.asking.store.permission(&desk.asking.number, &user()).await.expect("read");
    assert_eq!(held, Permission::Permanent);
    let log = desk.asking.store.permission_log(&desk.asking.number, &user()).await.expect("read");
    assert_eq!(log[0].source, LedgerSource::Live);
    assert_eq!(desk.told().await, ["permission.changed"]);
    assert_eq!(denied(desk.ask(later(2)).await).0, AskReason::Needless);
    assert_eq!(desk.sent().len(), 1);
}
