//! What programs of the company do with the API: notes, missed calls, permissions, new calls, rules.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::tests::{ALL, Desk, READER, asking};
use super::*;
use crate::call::{HangupCause, MissedCall};
use crate::id::CallId;
use crate::io::signalling::{DisturbSet, Originated, Origination};
use crate::io::store::{EventKind, MissedFilter, RestrictionLine};
use crate::user::{Msisdn, UserId};

const PAIR: &str = "/v1/numbers/support/users/5521955500123";

fn posting(path: &str, body: &Value) -> Request<Body> {
    asking("POST", ALL, path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("good")
}

async fn post(desk: &mut Desk, path: &str, body: Value) -> (u16, Value) {
    let (status, answer, _) = desk.ask(posting(path, &body)).await;
    (status.as_u16(), answer)
}

/// The kinds of the events so far, and the last one.
async fn told(desk: &mut Desk) -> (Vec<String>, Value) {
    let page = desk.get(READER, "/v1/events").await.1;
    let events = page["events"].as_array().expect("a list").clone();
    let kinds = events.iter().map(|it| it["type"].as_str().expect("text").to_owned()).collect();
    (kinds, events.last().cloned().unwrap_or_default())
}

#[tokio::test]
async fn b15_a_call_gets_an_outcome_and_a_note_and_every_program_hears_of_it() {
    let mut desk = Desk::open().await;
    let call = desk.open_call(9, 1_791_900_000_000).await;
    let path = format!("/v1/calls/{}/notes", call.id);
    assert_eq!(desk.get(READER, "/v1/outcomes").await.1["outcomes"][1], "follow_up");
    let (status, note) = post(&mut desk, &path, json!({ "outcome": "follow_up", "text": "Ana asks" })).await;
    assert_eq!((status, &note["author"], &note["text"]), (201, &json!(ALL), &json!("Ana asks")));
    let (status, _) = post(&mut desk, &path, json!({ "outcome": "resolved" })).await;
    assert_eq!(status, 201);
    let list = desk.get(READER, &path).await.1;
    assert_eq!((&list["outcome"], list["notes"].as_array().map(Vec::len)), (&json!("resolved"), Some(2)));
    assert_eq!(list["notes"][0]["text"], "***ks", "covered");
    let (kinds, last) = told(&mut desk).await;
    assert_eq!(kinds, ["call.started", "call.noted", "call.noted"]);
    assert_eq!((&last["detail"]["outcome"], &last["number"]), (&json!("resolved"), &json!("support")));
    for (body, why) in [
        (json!({ "outcome": "Resolved" }), "is not one of resolved"),
        (json!({}), "an outcome, a text, or both"),
        (json!({ "text": "x".repeat(4001) }), "longer than 4000"),
        (json!({ "outcome": 7 }), "expected a string"),
        (json!({ "text": "x", "colour": "red" }), "unknown field"),
    ] {
        let (status, problem) = post(&mut desk, &path, body).await;
        assert_eq!((status, &problem["type"]), (422, &json!("/problems/senseless")), "{why}");
        assert!(problem["detail"].as_str().expect("text").contains(why), "{problem}");
    }
    let (status, _) = post(&mut desk, "/v1/calls/0000000000000001/notes", json!({ "text": "x" })).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn records_are_exported_with_their_outcome_and_covered_without_the_scope() {
    let mut desk = Desk::open().await;
    let mut call = desk.open_call(9, 1_791_900_000_000).await;
    call.ended = Some(Wall(1_791_900_003_000));
    desk.store.close_record(&call).await.expect("closed");
    let path = format!("/v1/calls/{}/notes", call.id);
    post(&mut desk, &path, json!({ "outcome": "spam" })).await;
    for (token, format, kind) in [(READER, "csv", "text/csv"), (ALL, "jsonl", "application/jsonl")] {
        let request = asking("GET", token, &format!("/v1/records?format={format}"));
        let router = desk.router.clone();
        let response = router.oneshot(request.body(Body::empty()).expect("good")).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        let told = response.headers()[header::CONTENT_TYPE].to_str().expect("ascii");
        assert!(told.starts_with(kind), "{told}");
        let text = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let text = String::from_utf8(text.to_vec()).expect("text");
        assert_eq!(text.contains("5521955500123"), token == ALL, "{text}");
        assert!(text.contains("spam") && text.contains(&call.id.to_string()), "{text}");
        assert_eq!(text.lines().count(), if format == "csv" { 2 } else { 1 }, "{text}");
    }
}

#[tokio::test]
async fn b14_missed_calls_come_page_by_page_and_one_is_dismissed_once() {
    let mut desk = Desk::open().await;
    for id in 1..=5 {
        let mut call = desk.open_call(id, 1_791_900_000_000 + i64::try_from(id / 2).expect("small")).await;
        call.ended = Some(Wall(1_791_900_003_000));
        desk.store.close_record(&call).await.expect("closed");
    }
    assert_eq!(told(&mut desk).await.0.iter().filter(|it| *it == "call.missed").count(), 5);
    let (mut seen, mut path) = (Vec::new(), "/v1/missed?limit=2".to_owned());
    loop {
        let (status, page) = desk.get(READER, &path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for missed in page["missed"].as_array().expect("a list") {
            assert_eq!((&missed["permission"], &missed["callable"]), (&json!("none"), &json!(false)));
            seen.push(missed["call"]["id"].as_str().expect("text").to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/missed?limit=2&cursor={next}");
    }
    assert_eq!(
        seen,
        (1..=5).map(|id| CallId(id).to_string()).collect::<Vec<_>>(),
        "oldest first, none twice"
    );
    let path = format!("/v1/missed/{}/dismiss", seen[0]);
    let dismissed = desk.ask(asking("POST", ALL, &path).body(Body::empty()).expect("good")).await;
    assert_eq!((dismissed.0, &dismissed.1["state"]), (StatusCode::OK, &json!("settled")));
    let again = desk.ask(asking("POST", ALL, &path).body(Body::empty()).expect("good")).await;
    assert_eq!(again.0, StatusCode::NOT_FOUND);
    let all = MissedFilter { settled: true, ..MissedFilter::default() };
    let missed: Vec<MissedCall> = desk.store.missed(9, &all).await.expect("read");
    assert_eq!(missed[0].settled.as_ref().map(|it| it.1.as_str()), Some(ALL), "who said so is kept");
}

#[tokio::test]
async fn a_new_call_rings_the_phone_and_a_refusal_is_a_row_of_the_verdict_table() {
    let mut desk = Desk::open().await;
    let body = json!({ "number": "support", "user": "5521955500123", "phone": "1001" });
    let answers = [
        (Originated::Begun(CallId(9)), 202, Value::Null),
        (Originated::Refused(HangupCause::PhoneUnreachable), 503, json!("/problems/phone_unreachable")),
        (Originated::Refused(HangupCause::NotAllowed), 403, json!("/problems/not_allowed")),
    ];
    desk.open_call(9, 1_791_900_000_000).await;
    for (answer, wanted, kind) in answers {
        let (router, request) = (desk.router.clone(), posting("/v1/calls", &body));
        let asked = tokio::spawn(async move { router.oneshot(request).await.expect("infallible") });
        let Some(Question::Originate(wish, reply)) = desk.questions.recv().await else {
            panic!("a question")
        };
        let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
        assert_eq!(wish, Origination { number: "108911223344556".into(), user, agent: "1001".into() });
        reply.send(answer).expect("awaited");
        let response = asked.await.expect("no panic");
        assert_eq!(response.status().as_u16(), wanted);
        let text = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let told: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(told["type"], kind, "{told}");
    }
    for (wrong, status) in [
        (json!({ "number": "sales", "user": "5521955500123", "phone": "1001" }), 404),
        (json!({ "number": "support", "user": "Ana", "phone": "1001" }), 404),
        (json!({ "number": "support", "user": "5521955500123", "phone": "1009" }), 404),
        (json!({ "number": "support", "user": "5521955500123" }), 422),
    ] {
        assert_eq!(post(&mut desk, "/v1/calls", wrong).await.0, status);
    }
}

#[tokio::test]
async fn a_program_that_hangs_up_too_early_finds_the_answer_under_its_key() {
    let mut desk = Desk::open().await;
    let posting = || {
        let body = json!({ "number": "support", "user": "5521955500123", "phone": "1001" });
        let mut request = posting("/v1/calls", &body);
        request.headers_mut().insert("idempotency-key", "one-call".parse().expect("ascii"));
        request
    };
    desk.open_call(9, 1_791_900_000_000).await;
    let (router, request) = (desk.router.clone(), posting());
    let asked = tokio::spawn(async move { router.oneshot(request).await.expect("infallible") });
    let Some(Question::Originate(_, reply)) = desk.questions.recv().await else { panic!("a question") };
    asked.abort();
    assert!(asked.await.is_err_and(|it| it.is_cancelled()), "the program is gone");
    reply.send(Originated::Begun(CallId(9))).expect("the call's beginning is awaited all the same");
    let again = async {
        loop {
            let (status, told, _) = desk.ask(posting()).await;
            if status != StatusCode::CONFLICT {
                return (status, told);
            }
        }
    };
    let (status, told) =
        tokio::time::timeout(std::time::Duration::from_secs(20), again).await.expect("an answer was kept");
    assert_eq!((status, &told["id"]), (StatusCode::ACCEPTED, &json!(CallId(9).to_string())), "{told}");
    assert!(desk.questions.try_recv().is_err(), "one call, however often it is asked for");
}

#[tokio::test]
async fn b16_a_pair_shows_what_is_possible_now_and_why_not() {
    let mut desk = Desk::open().await;
    let (status, pair) = desk.get(ALL, &format!("{PAIR}/permission")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&pair["state"], &pair["call"]["rule"]), (&json!("none"), &json!("no_permission")));
    assert_eq!((&pair["ask"]["now"], &pair["ask"]["rule"]), (&json!(false), &json!("ask_no_template")));
    let (status, problem) = post(&mut desk, &format!("{PAIR}/requests"), json!({})).await;
    assert_eq!((status, &problem["type"]), (403, &json!("/problems/ask_no_template")), "{problem}");
    let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
    let number = "108911223344556".into();
    desk.store.open_window(&number, &user, signalling::now().wall).await.expect("open");
    let pair = desk.get(ALL, &format!("{PAIR}/permission")).await.1;
    assert_eq!((&pair["ask"]["now"], &pair["ask"]["form"]), (&json!(true), &json!("free_form")));
    let (status, _) = post(&mut desk, &format!("{PAIR}/override"), json!({ "reason": "" })).await;
    assert_eq!(status, 422, "without a reason nobody calls on");
    let (status, run) = post(&mut desk, &format!("{PAIR}/override"), json!({ "reason": "agreed" })).await;
    assert_eq!((status, &run["unanswered"]), (200, &json!(0)));
}

#[tokio::test]
async fn a_restriction_of_metas_is_told_shown_and_forgotten_on_demand() {
    let mut desk = Desk::open().await;
    let line = RestrictionLine {
        number: Some("108911223344556".into()),
        kind: "RESTRICTED_BUSINESS_INITIATED_CALLING".to_owned(),
        reason: None,
        at: Wall(1_791_900_000_000),
        until: None,
    };
    desk.store.note_restriction(&line).await.expect("kept");
    desk.store.note_restriction(&line).await.expect("known");
    let state = desk.get(ALL, "/v1/numbers/support/rules").await.1;
    assert_eq!(state["restrictions"][0]["kind"], line.kind, "{state}");
    assert_eq!((&state["connected"]["max"], &state["unanswered_stop"]), (&json!(100), &json!(3)));
    let request = asking("DELETE", ALL, "/v1/numbers/support/restrictions").body(Body::empty());
    let (status, freed, _) = desk.ask(request.expect("good")).await;
    assert_eq!((status, &freed["lifted"]), (StatusCode::OK, &json!(1)));
    let (kinds, last) = told(&mut desk).await;
    assert_eq!(kinds, ["number.restricted", "number.freed"], "each once");
    assert_eq!(last["number"], "support");
}

#[tokio::test]
async fn do_not_disturb_is_asked_of_signalling_for_phones_that_there_are() {
    let mut desk = Desk::open().await;
    let request = asking("PUT", ALL, "/v1/phones/1001/dnd").body(Body::empty()).expect("good");
    let router = desk.router.clone();
    let asked = tokio::spawn(async move { router.oneshot(request).await.expect("infallible").status() });
    match desk.questions.recv().await.expect("a question") {
        Question::SetDisturb(phone, signalling::Disturb::Not, answer) => {
            assert_eq!(phone.as_str(), "1001");
            answer.send(DisturbSet::Kept).expect("awaited");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(asked.await.expect("no panic"), StatusCode::OK);
    let request = asking("DELETE", ALL, "/v1/phones/1009/dnd").body(Body::empty()).expect("good");
    assert_eq!(desk.ask(request).await.0, StatusCode::NOT_FOUND);
    let request = asking("PUT", READER, "/v1/phones/1001/dnd").body(Body::empty()).expect("good");
    assert_eq!(desk.ask(request).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn b13_settings_of_a_number_that_meta_does_not_tell_are_a_problem_of_metas() {
    let mut desk = Desk::open().await;
    for path in ["/v1/numbers/support/settings", "/v1/numbers/support/settings/drift"] {
        let (status, problem) = desk.get(ALL, path).await;
        assert_eq!((status.as_u16(), &problem["type"]), (504, &json!("/problems/meta-away")), "{path}");
        assert_eq!(desk.get(READER, path).await.0, StatusCode::FORBIDDEN);
    }
}

#[test]
fn the_description_has_a_webhook_for_every_kind_of_event() {
    let description = description();
    let hooks = description["webhooks"].as_object().expect("webhooks");
    assert_eq!(hooks.len(), EventKind::ALL.len());
    for kind in EventKind::ALL {
        let summary = &hooks[kind.as_str()]["post"]["summary"];
        assert!(summary.as_str().is_some_and(|it| it.len() > 10), "{summary}");
    }
    let post = &description["paths"]["/v1/calls"]["post"];
    let key =
        post["parameters"].as_array().expect("parameters").iter().any(|it| it["name"] == "Idempotency-Key");
    assert!(key && post["responses"]["422"].is_object(), "{post:#}");
}
