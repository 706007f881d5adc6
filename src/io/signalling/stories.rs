//! Phones that dial codes, ask and are rung back, guess passwords: the switchboard with a real store, on a clock that
//! the story turns.

use std::time::Duration;

use super::rig::Rig;
use crate::call::{CallDirection, CallRecord};
use crate::id::{CallId, PhoneNumberId};
use crate::io::graph::tests::Does;
use crate::io::store::{EventId, Hold, MissedFilter};
use crate::policy::{LedgerSource, Permission};
use crate::time::Wall;
use crate::user::{Msisdn, UserId};
use crate::whatsapp::{Event, PermissionReply, PermissionResponse, ReplySource};

const USER: &str = "5521955500123";
const TAKEN: Does =
    Does::Answer(200, "", r#"{"messaging_product":"whatsapp","messages":[{"id":"wamid.R1"}]}"#);
const NONE: Does = Does::Answer(
    200,
    "",
    r#"{"permission":{"status":"no_permission"},"actions":[{"action_name":"start_call","can_perform_action":false}]}"#,
);

fn number() -> PhoneNumberId {
    "108911223344556".into()
}

fn user() -> UserId {
    UserId::Phone(Msisdn::parse(USER).expect("digits"))
}

fn reply(rig: &Rig, response: PermissionResponse, context: &str) -> Event {
    Event::Permission(PermissionReply {
        id: format!("wamid.A{}", rig.now.wall.millis()),
        number: number(),
        user: user(),
        at: rig.now.wall,
        response,
        source: ReplySource::UserAction,
        context: Some(context.to_owned()),
    })
}

async fn kinds(rig: &Rig) -> Vec<String> {
    rig.store.events_after(EventId(0), 100).await.expect("read").into_iter().map(|it| it.kind).collect()
}

/// The user called in vain; the id of the call.
async fn missed(rig: &Rig, id: u64) -> CallId {
    let direction = CallDirection::UserInitiated;
    let call = CallRecord::new(CallId(id), "support".into(), number(), direction, user());
    let opened = rig.now.wall - Duration::from_secs(600);
    let over = CallRecord { opened, ended: Some(opened + Duration::from_secs(20)), ..call };
    rig.store.close_record(&over).await.expect("closed");
    over.id
}

async fn allow(rig: &Rig) {
    let at = rig.now.wall - Duration::from_secs(60);
    let (permanent, source) = (Permission::Permanent, LedgerSource::UserCall);
    rig.store.set_permission(&number(), &user(), permanent, source, at).await.expect("set");
}

#[tokio::test]
async fn b5_a_phone_asks_by_dialling_and_rings_when_the_user_accepts_and_then_the_user() {
    let mut rig = Rig::start([NONE, TAKEN, Does::Hang]).await;
    rig.register("1001").await;
    assert_eq!(rig.dials("1001", &format!("8{USER}")).await, "403 Ask first: dial *74");
    assert_eq!(rig.dials("1001", &format!("*748{USER}")).await, "403 No open chat");
    assert!(rig.sent("messages").is_empty(), "the limits are asked first");
    rig.store.open_window(&number(), &user(), rig.now.wall).await.expect("kept");
    assert_eq!(rig.dials("1001", &format!("*748{USER}")).await, "603 Request sent");
    assert_eq!(rig.sent("messages").len(), 1);
    assert_eq!(rig.dials("1001", &format!("*748{USER}")).await, "403 Asked today");
    assert_eq!(rig.sent("messages").len(), 1, "the second one never left");
    for outcome in ["asked", "ask_no_template", "ask_day_limit"] {
        let line =
            format!("cordboard_permission_requests_total{{number=\"support\",outcome=\"{outcome}\"}} 1");
        assert!(rig.counted(&line), "{outcome}");
    }
    let granted = PermissionResponse::Granted { until: None };
    let event = reply(&rig, granted, "wamid.R1");
    rig.deliver(event);
    rig.until("the phone that asked is rung", |it| Rig::rings(it, "1001")).await;
    let told = kinds(&rig).await;
    for kind in ["permission.requested", "permission.answered", "permission.changed", "call.started"] {
        assert!(told.iter().any(|it| it == kind), "{kind}: {told:?}");
    }
    // A user who accepts once more rings nobody once more.
    let calls = rig.board.calls.len();
    rig.wait(Duration::from_secs(2));
    let event = reply(&rig, granted, "wamid.R1");
    rig.deliver(event);
    rig.holds("the second answer is kept", async |rig| {
        rig.store.permission_log(&number(), &user()).await.expect("read").len() == 2
    })
    .await;
    rig.holds("and what came of it", async |rig| kinds(rig).await.len() >= told.len()).await;
    assert_eq!(rig.board.calls.len(), calls);
}

#[tokio::test]
async fn b5_a_user_who_declines_rings_nobody() {
    let mut rig = Rig::start([TAKEN]).await;
    rig.register("1001").await;
    rig.store.open_window(&number(), &user(), rig.now.wall).await.expect("kept");
    assert_eq!(rig.dials("1001", &format!("*748{USER}")).await, "603 Request sent");
    let event = reply(&rig, PermissionResponse::Declined, "wamid.R1");
    rig.deliver(event);
    rig.holds("it is kept", async |rig| {
        rig.store.permission(&number(), &user()).await.expect("read") == Permission::Declined
    })
    .await;
    assert!(rig.board.calls.is_empty());
}

#[tokio::test]
async fn b6_metas_asked_too_often_is_shown_and_obeyed_the_next_time() {
    let often = Does::Answer(400, "", r#"{"error":{"message":"x","code":138009}}"#);
    let mut rig = Rig::start([often]).await;
    rig.register("1001").await;
    rig.store.open_window(&number(), &user(), rig.now.wall).await.expect("kept");
    let shown = rig.dials("1001", &format!("*748{USER}")).await;
    assert!(shown.starts_with("403"), "{shown}");
    assert_eq!(rig.dials("1001", &format!("*748{USER}")).await, "403 Asked today");
    assert_eq!(rig.sent("messages").len(), 1);
    // Where Meta holds back calls, asking is free.
    let mut rig = Rig::start([TAKEN]).await;
    rig.register("1001").await;
    rig.store.open_window(&number(), &user(), rig.now.wall).await.expect("kept");
    let until = rig.now.wall + Duration::from_secs(900);
    rig.store.hold_pair(&number(), &user(), Hold::Calls, until, rig.now.wall).await.expect("kept");
    assert_eq!(rig.dials("1001", &format!("*748{USER}")).await, "603 Request sent");
}

#[tokio::test]
async fn b12_a_phone_is_out_of_every_plan_by_its_own_code_until_it_dials_the_other_one() {
    let mut rig = Rig::start([]).await;
    rig.register("1001").await;
    assert!(rig.dials("1001", "*78").await.starts_with("200"));
    assert!(rig.is_undisturbed("1001") && !rig.is_undisturbed("1002"));
    let target = crate::id::Endpoint::Phone("1001".into());
    assert!(!rig.board.is_usable(&target), "no plan rings it");
    rig.holds("a restart would know", async |rig| {
        rig.store.do_not_disturb().await.expect("read").iter().any(|(phone, _)| phone.as_str() == "1001")
    })
    .await;
    rig.wait(Duration::from_secs(30));
    assert!(rig.dials("1001", "*79").await.starts_with("200"));
    assert!(!rig.is_undisturbed("1001") && rig.board.is_usable(&target));
    rig.holds("a restart would know", async |rig| rig.store.do_not_disturb().await.expect("read").is_empty())
        .await;
}

#[tokio::test]
async fn b14_a_phone_calls_back_by_its_code_whom_it_may_and_nobody_twice() {
    let mut rig = Rig::start([Does::Hang]).await;
    rig.register("1001").await;
    rig.register("1002").await;
    assert_eq!(rig.dials("1001", "*75").await, "404 Nobody to call");
    let call = missed(&rig, 5).await;
    assert_eq!(rig.dials("1001", "*75").await, "404 Nobody to call", "the user has not allowed it");
    allow(&rig).await;
    // Of the groups, the first calls the number's users back, and 1002 is not in it.
    assert_eq!(rig.dials("1002", "*751").await, "403 Not your group");
    assert_eq!(rig.dials("1002", "*752").await, "404 Nobody to call", "its own group calls nobody back");
    assert_eq!(rig.dials("1001", "*753").await, "404 No such code");
    assert_eq!(rig.dials("1001", "*75x").await.split(' ').next(), Some("404"));
    rig.begins_to_dial("1001", "*751").await;
    rig.holds("the user is called", async |rig| {
        let open = rig.store.missed(5, &MissedFilter::default()).await.expect("read");
        open[0].claimed.as_ref().is_some_and(|(_, by)| by == "1001") && !rig.board.calls.is_empty()
    })
    .await;
    let record = rig.board.calls.values().next().expect("a call").call.record();
    assert_eq!((&record.user, record.direction), (&user(), CallDirection::BusinessInitiated));
    assert_eq!(rig.store.call(call).await.expect("read").expect("there").ended.map(|_| ()), Some(()));
}

#[tokio::test]
async fn a_phone_hears_its_messages_by_the_code_once() {
    let mut rig = Rig::start([]).await;
    rig.register("1001").await;
    assert_eq!(rig.dials("1001", "*97").await, "404 No messages");
    let call = missed(&rig, 5).await;
    let path = rig.directory.path().join("said.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&path, spec).expect("a file");
    for at in 0..1600_i16 {
        wav.write_sample(if at % 16 < 8 { 8000_i16 } else { -8000 }).expect("written");
    }
    wav.finalize().expect("written");
    assert!(rig.store.add_voicemail(call, "said.wav", 1).await.expect("kept"));
    rig.bell().ring(&rig.store).await.expect("told");
    // 1002 is not rung by the number: they are none of its messages.
    rig.register("1002").await;
    assert_eq!(rig.dials("1002", "*97").await, "404 No messages");
    assert!(rig.dials("1001", "*97").await.starts_with("200"));
    rig.holds("the message counts as heard", async |rig| {
        let all = rig.store.voicemail_counts().await.expect("read");
        all.iter().all(|it| it.new == 0) && all.iter().any(|it| it.old == 1)
    })
    .await;
    assert_eq!(rig.dials("1001", "*97").await, "404 No messages");
}

#[tokio::test]
async fn who_guesses_a_phones_password_is_told_of_once_and_strangers_names_are_not() {
    let mut rig = Rig::start([]).await;
    let challenge = rig.challenge("1001").await;
    let mut tries = 0;
    while rig.board.parts.agent.bans(rig.now).is_empty() {
        tries += 1;
        assert!(tries < 50, "nobody is banned");
        rig.guess("1001", &challenge);
        rig.wait(Duration::from_millis(200));
    }
    rig.holds("it is told", async |rig| kinds(rig).await.iter().any(|it| it == "phone.banned")).await;
    let events = rig.store.events_after(EventId(0), 100).await.expect("read");
    let detail = events[0].detail.as_deref().expect("told");
    assert!(detail.contains("\"1001\"") && detail.contains("203.0.113.7"), "{detail}");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].at.since(Wall(0)).as_secs() / 60, rig.now.wall.since(Wall(0)).as_secs() / 60);
}
