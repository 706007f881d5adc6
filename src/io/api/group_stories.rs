//! The callback queue of a group, as programs of the company work on it.

use axum::body::Body;
use axum::http::header;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::tests::{ALL, Desk, READER, asking};
use super::*;
use crate::call::CallRecord;
use crate::id::CallId;
use crate::io::signalling::{Originated, Origination, QueueOf};
use crate::policy::{LedgerSource, Permission};

/// A missed call of the number of these tests.
async fn missed(desk: &Desk, id: u64, at: i64) -> CallRecord {
    let record = desk.open_call(id, at).await;
    let over = CallRecord { ended: Some(Wall(at + 5)), ..record };
    desk.store.close_record(&over).await.expect("closed");
    over
}

#[tokio::test]
async fn b14_the_queue_of_a_group_is_listed_oldest_first_and_only_who_belongs_to_it_takes_the_next() {
    let mut desk = Desk::open().await;
    for id in 1..=3 {
        missed(&desk, id, 1_791_900_000_000 + i64::try_from(id).expect("small")).await;
    }
    let (status, first) = desk.get(READER, "/v1/callbacks?group=desk&limit=2").await;
    assert_eq!(status.as_u16(), 200, "{first}");
    let ids = |page: &Value| -> Vec<String> {
        let all = page["missed"].as_array().expect("a list");
        all.iter().map(|it| it["call"]["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&first), [CallId(1).to_string(), CallId(2).to_string()]);
    let next = first["next"].as_str().expect("more");
    let rest = desk.get(READER, &format!("/v1/callbacks?group=desk&cursor={next}")).await.1;
    assert_eq!((ids(&rest), &rest["next"]), (vec![CallId(3).to_string()], &Value::Null));
    let (_, none) = desk.get(READER, "/v1/callbacks?group=back").await;
    assert_eq!(ids(&none), Vec::<String>::new(), "it calls nobody back");
    let (status, problem) = desk.get(READER, "/v1/callbacks?group=dsk").await;
    assert_eq!(status.as_u16(), 404);
    assert!(problem["detail"].as_str().expect("text").contains("there are: desk, back"), "{problem}");
    assert_eq!(desk.get(READER, "/v1/callbacks").await.0.as_u16(), 400, "whose queue?");
}

/// Posts `body` to `/v1/callbacks` while signalling answers what phone and group may take; gives the phone and the
/// group that were asked for, and whom signalling was told to call.
async fn call_back(
    desk: &mut Desk,
    body: &Value,
    answer: QueueOf,
) -> (u16, Value, Option<(String, Option<String>)>, Option<Origination>) {
    let request = asking("POST", ALL, "/v1/callbacks")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("good");
    let router = desk.router.clone();
    let mut told = tokio::spawn(async move { router.oneshot(request).await.expect("infallible") });
    let (mut asked, mut wanted, mut answer) = (None, None, Some(answer));
    let response = loop {
        tokio::select! {
            response = &mut told => break response.expect("no panic"),
            Some(question) = desk.questions.recv() => match question {
                Question::QueueOf(phone, group, reply) => {
                    asked = Some((phone.to_string(), group));
                    reply.send(answer.take().expect("asked once")).expect("awaited");
                }
                Question::Originate(origination, reply) => {
                    desk.open_call(77, 1_791_900_100_000).await;
                    wanted = Some(origination);
                    reply.send(Originated::Begun(CallId(77))).expect("awaited");
                }
                other => panic!("{other:?}"),
            },
        }
    };
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&body).expect("JSON"), asked, wanted)
}

#[tokio::test]
async fn b14_a_member_calls_back_the_oldest_of_the_groups_queue_and_nobody_else_may() {
    let mut desk = Desk::open().await;
    let call = missed(&desk, 1, 1_791_900_000_000).await;
    let (number, user) = (call.phone_number_id.clone(), call.user.clone());
    let source = LedgerSource::UserCall;
    desk.store.set_permission(&number, &user, Permission::Permanent, source, Wall(1)).await.expect("set");
    let next = json!({ "phone": "1001", "group": "desk" });
    for (answer, wanted) in
        [(QueueOf::NotAMember, 409), (QueueOf::NoGroup, 404), (QueueOf::Numbers(Vec::new()), 404)]
    {
        let (status, problem, asked, begun) = call_back(&mut desk, &next, answer).await;
        assert_eq!((status, begun), (wanted, None), "{problem}");
        assert_eq!(asked, Some(("1001".to_owned(), Some("desk".to_owned()))));
    }
    let numbers = QueueOf::Numbers(vec![number.clone()]);
    let (status, begun, asked, wanted) = call_back(&mut desk, &next, numbers).await;
    assert_eq!((status, &begun["missed"]), (202, &json!(call.id.to_string())), "{begun}");
    assert_eq!(asked, Some(("1001".to_owned(), Some("desk".to_owned()))));
    assert_eq!(wanted, Some(Origination { number, user, agent: "1001".into() }));
    let both = json!({ "phone": "1001", "group": "desk", "missed": call.id.to_string() });
    let (status, problem, asked, _) = call_back(&mut desk, &both, QueueOf::NoPhone).await;
    assert_eq!((status, &problem["type"], asked), (422, &json!("/problems/senseless"), None));
}
