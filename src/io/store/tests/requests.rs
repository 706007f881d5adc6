//! Permission requests: limits, answers, who is rung afterwards.

use super::*;
use crate::id::PhoneNumberId;
use crate::policy::{Ask, AskReason, LedgerSource, RequestKind, Rules};
use crate::whatsapp::{PermissionReply, PermissionResponse, ReplySource};

const DAY: i64 = 86_400_000;

fn number() -> PhoneNumberId {
    "108911223344556".into()
}

fn ask(user: UserId) -> Ask {
    Ask { number: number(), user, template: true }
}

async fn asked(store: &Store, ring: Option<&str>, ms: i64) -> Result<(RequestId, RequestKind), AskReason> {
    let decided = store.ask(&Rules::default(), &ask(phone(1)), ring, Wall(ms)).await.expect("decided");
    decided.map_err(|denial| denial.reason)
}

fn granted(user: UserId, at: i64, context: Option<&str>) -> PermissionReply {
    PermissionReply {
        id: format!("wamid.reply{at}"),
        number: number(),
        user,
        at: Wall(at),
        response: PermissionResponse::Granted { until: Some(Wall(at + 7 * DAY)) },
        source: ReplySource::UserAction,
        context: context.map(str::to_owned),
    }
}

#[tokio::test]
async fn a_request_under_way_counts_a_refused_one_does_not_and_a_restart_forgets_neither() {
    let (directory, store) = fresh().await;
    let (first, kind) = asked(&store, None, 1000).await.expect("asked");
    assert_eq!(kind, RequestKind::Template);
    assert_eq!(asked(&store, None, 1001).await, Err(AskReason::ShortLimit));
    store.request_refused(first).await.expect("noted");
    let (second, _) = asked(&store, None, 1002).await.expect("the refused one counts for nothing");
    store.request_taken(second, "wamid.R2", Wall(1003)).await.expect("noted");
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(asked(&store, None, 1001 + DAY).await, Err(AskReason::ShortLimit));
    asked(&store, None, 1002 + DAY).await.expect("a day later");
    assert_eq!(asked(&store, None, 1002 + 3 * DAY).await, Err(AskReason::LongLimit));
    let lines = store.requests(&number(), &phone(1), Wall(1003 + DAY)).await.expect("read");
    let states: Vec<_> = lines.iter().map(|it| it.state.as_str()).collect();
    assert_eq!(states, ["under_way", "superseded"]);
}

#[tokio::test]
async fn the_window_opens_with_a_message_or_a_call_for_24_hours_also_for_a_user_with_two_ids() {
    let (_directory, store) = fresh().await;
    store.open_window(&number(), &scoped(1), Wall(1000)).await.expect("noted");
    store.receive(&[event("wacid.A", CallEventKind::Rang)], Wall(5)).await.expect("both ids are one user");
    let kind = async |ms| store.ask_facts(&number(), &phone(1), Wall(ms)).await.expect("read").window;
    assert_eq!(kind(1000).await, Some(Wall(1000 + DAY)));
    store.open_window(&number(), &phone(1), Wall(500)).await.expect("an older message changes nothing");
    assert_eq!(kind(1000).await, Some(Wall(1000 + DAY)));
    assert_eq!(asked(&store, None, 999 + DAY).await.expect("asked").1, RequestKind::FreeForm);
}

#[tokio::test]
async fn a_connected_call_in_either_direction_frees_the_limits() {
    let (_directory, store) = fresh().await;
    asked(&store, None, 1000).await.expect("asked");
    let inbound = CallRecord { direction: CallDirection::UserInitiated, user: phone(1), ..record(3) };
    store.open_record(&inbound).await.expect("opened");
    assert_eq!(asked(&store, None, 2000).await, Err(AskReason::ShortLimit), "a missed call frees nothing");
    let over = CallRecord { answered: Some(Wall(2500)), ended: Some(Wall(2600)), ..inbound };
    store.close_record(&over).await.expect("closed");
    asked(&store, None, 3000).await.expect("they have talked");
    assert_eq!(asked(&store, None, 4000).await, Err(AskReason::ShortLimit));
}

#[tokio::test]
async fn the_answer_finds_its_request_and_who_waits_is_rung_once() {
    let (_directory, store) = fresh().await;
    let (id, _) = asked(&store, Some("phone:1001"), 1000).await.expect("asked");
    store.request_taken(id, "wamid.R", Wall(1001)).await.expect("noted");
    let reply = granted(both(1), 2000, Some("wamid.R"));
    assert_eq!(store.note_reply(&reply).await.expect("noted").as_deref(), Some("phone:1001"));
    assert_eq!(store.note_reply(&reply).await.expect("noted"), None, "once");
    let lines = store.requests(&number(), &phone(1), Wall(2001)).await.expect("read");
    assert_eq!((lines[0].state.as_str(), lines[0].request.answered), ("answered", Some(Wall(2000))));
    let log = store.permission_log(&number(), &phone(1)).await.expect("read");
    assert_eq!(log[0].source, LedgerSource::Request);
}

#[tokio::test]
async fn who_waits_is_not_rung_when_the_user_declines() {
    let (_directory, store) = fresh().await;
    let (id, _) = asked(&store, Some("phone:1001"), 1000).await.expect("asked");
    store.request_taken(id, "wamid.R", Wall(1001)).await.expect("noted");
    let declined = PermissionReply {
        response: PermissionResponse::Declined,
        ..granted(phone(1), 2000, Some("wamid.R"))
    };
    assert_eq!(store.note_reply(&declined).await.expect("noted"), None);
    // The user thinks again, from the same request.
    let reply = granted(phone(1), 3000, Some("wamid.R"));
    assert_eq!(store.note_reply(&reply).await.expect("noted").as_deref(), Some("phone:1001"));
}

#[tokio::test]
async fn b7_nobody_is_rung_for_a_request_that_has_lapsed_when_the_user_grants_months_later() {
    let (_directory, store) = fresh().await;
    let (id, _) = asked(&store, Some("phone:1001"), 1000).await.expect("asked");
    store.request_taken(id, "wamid.R", Wall(1001)).await.expect("noted");
    let late = granted(phone(1), 1001 + 7 * 86_400_000, None);
    assert_eq!(store.note_reply(&late).await.expect("noted"), None);
    let held = store.permission(&number(), &phone(1)).await.expect("read");
    assert!(held.holds(late.at), "the permission itself counts: {held:?}");
}

#[tokio::test]
async fn a_reply_that_is_told_twice_stands_in_the_ledger_once() {
    let (_directory, store) = fresh().await;
    for _ in 0..2 {
        store.note_reply(&granted(phone(1), 2000, Some("wamid.R"))).await.expect("noted");
    }
    assert_eq!(store.permission_log(&number(), &phone(1)).await.expect("read").len(), 1);
}

/// A captured reply, as the webhook brings it.
async fn hear(store: &Store, name: &str) {
    let path = format!("{}/tests/data/webhook/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let body = std::fs::read(path).expect("a body");
    for event in crate::whatsapp::webhook::parse(&body, Wall(0)).expect("an envelope").events {
        if let Event::Permission(reply) = event {
            store.note_reply(&reply).await.expect("noted");
        }
    }
}

#[tokio::test]
async fn b3_a_permission_holds_168_hours_or_for_ever_and_ends_by_our_own_clock() {
    let (_directory, store) = fresh().await;
    hear(&store, "permission_temporary").await;
    let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
    let held = store.permission(&number(), &user).await.expect("read");
    let line = store.permission_log(&number(), &user).await.expect("read").remove(0);
    let end = held.until().expect("temporary");
    assert_eq!(end.since(line.at), Duration::from_secs(168 * 3600));
    assert!(held.holds(Wall(end.millis() - 1)) && !held.holds(end), "no webhook tells of the end");
    hear(&store, "permission_permanent").await;
    assert_eq!(store.permission(&number(), &user).await.expect("read"), Permission::Permanent);
    hear(&store, "permission_declined").await;
    assert!(!store.permission(&number(), &user).await.expect("read").holds(Wall(0)));
}

#[tokio::test]
async fn b4_each_of_the_three_ways_to_be_granted_is_kept_with_its_source() {
    for (name, source) in [
        ("permission_temporary", LedgerSource::Request),
        ("permission_automatic_callback", LedgerSource::UserCall),
        ("permission_permanent_from_profile", LedgerSource::Profile),
        ("permission_revoked_after_unanswered", LedgerSource::Automatic),
    ] {
        let (_directory, store) = fresh().await;
        hear(&store, name).await;
        let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
        let log = store.permission_log(&number(), &user).await.expect("read");
        assert_eq!(log.iter().map(|it| it.source).collect::<Vec<_>>(), [source], "{name}");
    }
}
