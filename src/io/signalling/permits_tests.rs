//! Leave to call, against a Graph on a real socket: who is asked when, and whose word is kept.

use tempfile::TempDir;

use super::*;
use crate::io::graph::tests::{Does, Graph};
use crate::io::store::{EventId, StoreSettings};
use crate::policy::Cap;
use crate::user::Msisdn;

const NUMBER: &str = "108911223344556";

fn user() -> UserId {
    UserId::Phone(Msisdn::parse("5521955500123").expect("digits"))
}

struct Office {
    _directory: TempDir,
    desk: Desk,
    graph: Graph,
}

impl Office {
    async fn with(script: impl IntoIterator<Item = Does>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store =
            Store::open(&directory.path().join("p.db"), StoreSettings::default()).await.expect("a store");
        let graph = Graph::that(script).await;
        let desk = Desk {
            store,
            graph: Arc::new(graph.client()),
            metrics: Arc::new(Registry::new(&["support".into()])),
            number: NUMBER.into(),
            label: "support".into(),
            token: Secret::new("EAAtoken".to_owned()),
            rules: Rules::default(),
        };
        Self { _directory: directory, desk, graph }
    }

    async fn allow(&self, permission: Permission) {
        let (number, at) = (&self.desk.number, now().wall - Duration::from_secs(60));
        let set =
            self.desk.store.set_permission(number, &user(), permission, LedgerSource::Request, at).await;
        set.expect("set");
    }

    async fn permit(&self, call: u64) -> Input {
        let (replies, mut heard) = mpsc::unbounded_channel();
        let attempt = Attempt { number: NUMBER.into(), user: user(), call: CallId(call) };
        self.desk.clone().permit(attempt, &replies).await;
        match heard.recv().await.expect("an answer") {
            (CallId(id), Reply::Input(input)) if id == call => input,
            other => panic!("{other:?}"),
        }
    }

    /// How often Graph was asked since this was last looked at.
    fn asked(&mut self) -> usize {
        self.graph.all().iter().filter(|it| it.line.contains("/call_permissions?")).count()
    }

    async fn held(&self) -> Permission {
        self.desk.store.permission(&self.desk.number, &user()).await.expect("read")
    }

    fn counted(&self, line: &str) -> bool {
        self.desk.metrics.render(crate::metrics::Scrape::default()).contains(line)
    }
}

fn reason(input: &Input) -> Option<(DenialReason, Option<Wall>)> {
    match input {
        Input::Denied(denial) => Some((denial.reason, denial.until)),
        _ => None,
    }
}

const NONE: &str = r#"{"permission":{"status":"no_permission"},"actions":[{"action_name":"start_call","can_perform_action":false}]}"#;
const FOR_EVER: &str = r#"{"permission":{"status":"permanent"},"actions":[{"action_name":"start_call","can_perform_action":true}]}"#;
const HELD_BACK: &str = r#"{"permission":{"status":"permanent"},"actions":[{"action_name":"start_call","can_perform_action":false}]}"#;
const LIMITED: &str = r#"{"permission":{"status":"permanent"},"actions":[{"action_name":"start_call","can_perform_action":false,"limits":[{"limit_expiration_time":4102444800}]}]}"#;

#[tokio::test]
async fn b3_a_ledger_that_holds_is_enough_and_meta_is_asked_only_where_it_does_not() {
    let mut office = Office::with([Does::Answer(200, "", NONE)]).await;
    office.allow(Permission::Permanent).await;
    assert!(matches!(office.permit(1).await, Input::Reserved(_)));
    assert_eq!(office.asked(), 0);
    office.desk.store.release(CallId(1)).await.expect("over");
    office.allow(Permission::Revoked).await;
    assert_eq!(reason(&office.permit(2).await), Some((DenialReason::PermissionRevoked, None)));
    assert_eq!(office.asked(), 1, "the tie-break");
}

#[tokio::test]
async fn b3_what_meta_says_live_corrects_the_ledger_and_the_drift_is_counted() {
    let mut office = Office::with([Does::Answer(200, "", FOR_EVER)]).await;
    assert!(matches!(office.permit(1).await, Input::Reserved(_)), "a webhook was missed");
    assert_eq!((office.held().await, office.asked()), (Permission::Permanent, 1));
    assert!(office.counted(r#"cordboard_permission_drift_total{number="support",kind="meta_allows"} 1"#));
    // Without Meta the ledger stands.
    let mut silent = Office::with([Does::Answer(500, "", "<html>"), Does::Answer(500, "", "<html>")]).await;
    assert_eq!(reason(&silent.permit(1).await), Some((DenialReason::NoPermission, None)));
    assert_eq!(silent.asked(), 1);
    assert!(!silent.counted(r#"kind="meta_refuses"} 1"#));
}

#[tokio::test]
async fn b8_a_limit_of_the_pair_that_meta_names_is_obeyed_and_one_without_a_reason_refuses_this_call() {
    let office = Office::with([Does::Answer(200, "", LIMITED)]).await;
    let until = Some(Wall::from_secs(4_102_444_800));
    assert_eq!(reason(&office.permit(1).await), Some((DenialReason::PairCap, until)));
    assert!(office.counted(r#"kind="limit"} 1"#));
    let mut held_back = Office::with([Does::Answer(200, "", HELD_BACK)]).await;
    assert_eq!(reason(&held_back.permit(1).await), Some((DenialReason::Restricted, None)));
    assert_eq!(held_back.asked(), 1);
    let used = held_back.desk.store.cap_use(&NUMBER.into(), Duration::from_secs(86_400), now()).await;
    assert_eq!(used.expect("read").reserved, 0, "no place is taken");
}

#[tokio::test]
async fn b3_a_refusal_of_metas_at_dialling_is_kept_so_that_the_next_dial_is_refused_here() {
    let office = Office::with([Does::Answer(200, "", NONE)]).await;
    office.allow(Permission::Permanent).await;
    office.desk.correct(&user(), Meaning::NoPermission, None).await.expect("kept");
    assert_eq!(office.held().await, Permission::None);
    assert!(office.counted(r#"kind="meta_refuses"} 1"#));
    office.desk.correct(&user(), Meaning::NoPermission, None).await.expect("known");
    assert!(office.counted(r#"kind="meta_refuses"} 1"#), "known is no drift");
    let log = office.desk.store.permission_log(&office.desk.number, &user()).await.expect("read");
    assert_eq!(log.last().map(|it| it.source), Some(LedgerSource::Refusal));
}

#[tokio::test]
async fn b8_metas_138012_holds_the_pair_until_it_says_or_for_a_quarter_of_an_hour() {
    for named in [Some(now().wall + Duration::from_secs(7200)), None] {
        let office = Office::with([]).await;
        office.allow(Permission::Permanent).await;
        let before = now().wall;
        office.desk.correct(&user(), Meaning::DailyCallLimit, named).await.expect("kept");
        let (why, until) = reason(&office.permit(1).await).expect("refused here");
        assert_eq!(why, DenialReason::PairCap);
        let until = until.expect("named");
        match named {
            Some(at) => assert_eq!(until, at),
            None => assert!(until >= before + UNNAMED_HOLD && until <= now().wall + UNNAMED_HOLD),
        }
    }
}

#[tokio::test]
async fn b9_metas_138014_pauses_the_number_for_every_user_until_its_own_word_comes() {
    let office = Office::with([]).await;
    office.allow(Permission::Permanent).await;
    office.desk.correct(&user(), Meaning::PausedForQuality, None).await.expect("kept");
    assert_eq!(reason(&office.permit(1).await).map(|it| it.0), Some(DenialReason::Restricted));
    let lines = office.desk.store.restrictions(&NUMBER.into(), now().wall).await.expect("read");
    assert_eq!(lines[0].reason.as_deref(), Some(RestrictionLine::GUESSED));
    assert!(office.counted(r#"kind="restricted"} 1"#));
    let events = office.desk.store.events_after(EventId(0), 50).await.expect("read");
    assert!(events.iter().any(|it| it.kind == "number.restricted"), "{events:?}");
    // Meta's own word, which ends it.
    let word = RestrictionLine { until: Some(now().wall), reason: None, ..lines[0].clone() };
    office.desk.store.note_restriction(&word).await.expect("kept");
    assert!(matches!(office.permit(2).await, Input::Reserved(_)));
}

#[tokio::test]
async fn b8_the_call_that_brings_a_cap_to_its_mark_warns_once_in_metrics_and_events() {
    let mut office = Office::with([]).await;
    office.allow(Permission::Permanent).await;
    let cap = Cap { max: 5, window: Duration::from_secs(86_400) };
    office.desk.rules = Rules { per_number: Some(cap), per_pair: None, warn_at: 80, ..Rules::default() };
    for call in 1..=5 {
        assert!(matches!(office.permit(call).await, Input::Reserved(_)), "{call}");
        office.desk.store.connected(CallId(call), now().wall).await.expect("kept");
        office.desk.store.release(CallId(call)).await.expect("over");
        let warned = office.counted(r#"cordboard_cap_warnings_total{number="support",cap="number"} 1"#);
        assert_eq!(warned, call >= 4, "{call}");
    }
    let events = office.desk.store.events_after(EventId(0), 50).await.expect("read");
    let warnings: Vec<_> = events.iter().filter(|it| it.kind == "cap.warning").collect();
    assert_eq!(warnings.len(), 1, "{events:?}");
    let detail: serde_json::Value =
        serde_json::from_str(warnings[0].detail.as_deref().expect("told")).expect("JSON");
    assert_eq!((&detail["used"], &detail["max"]), (&4.into(), &5.into()), "{detail}");
    assert_eq!(reason(&office.permit(6).await).map(|it| it.0), Some(DenialReason::NumberCap));
}
