use super::*;
use crate::policy::{Denial, DenialReason, Stands};
use crate::whatsapp::{Failure, Meaning};

/// A dial attempt that policy allowed and whose `connect` is under way.
fn connecting(answer_on: AnswerOn) -> Scene {
    let mut scene = Scene::phone_calls(answer_on);
    scene.does(&["open record"]);
    scene.hears(Input::RecordOpened).does(&["reserve"]);
    scene.hears(grant()).does(&["open media"]);
    scene.opened().does(&["post connect"]);
    scene
}

/// The user's phone rings and DTLS is up.
fn ringing(answer_on: AnswerOn) -> Scene {
    let mut scene = connecting(answer_on);
    scene.hears(Input::GraphConnected(wa("wacid.B"))).does(&["note wa call"]);
    scene
        .hears(Input::UserAnswerReceived("meta's answer".into()))
        .does(&["apply meta's answer", "start dtls"]);
    scene.hears(Input::DtlsUp).does(&["gate to comfort"]);
    scene.hears(Input::UserRang).does(&["mark rang", "ring"]);
    scene
}

fn talking() -> Scene {
    let mut scene = ringing(AnswerOn::Accepted);
    let at = scene.now.wall;
    scene.hears(Input::UserAccepted(at)).does(&[
        "mark connected",
        "accept phone",
        "open gate",
        "keep record",
    ]);
    scene
}

#[test]
fn rule_7_connect_is_not_an_answer_and_accepted_is() {
    let mut scene = ringing(AnswerOn::Accepted);
    assert!(!scene.call.is_bridged());
    let at = scene.now.wall;
    scene.hears(Input::UserAccepted(at)).does(&[
        "mark connected",
        "accept phone",
        "open gate",
        "keep record",
    ]);
    assert!(scene.call.is_bridged());
}

#[test]
fn rule_7_accepted_waits_for_dtls() {
    let mut scene = connecting(AnswerOn::Speech);
    scene.hears(Input::GraphConnected(wa("wacid.B"))).outputs();
    let at = scene.now.wall;
    scene.hears(Input::UserAccepted(at)).does(&["mark connected"]);
    scene.hears(Input::UserAnswerReceived("answer".into())).does(&["apply meta's answer", "start dtls"]);
    scene.hears(Input::DtlsUp).does(&["gate to comfort", "accept phone", "open gate", "keep record"]);
}

#[test]
fn rule_7_speech_after_ringing_answers_where_the_number_says_so() {
    let mut scene = ringing(AnswerOn::Speech);
    scene.hears(Input::UserSpoke).does(&["mark connected", "accept phone", "open gate", "keep record"]);
    let at = scene.now.wall;
    scene.hears(Input::UserAccepted(at)).does(&[]);
}

#[test]
fn rule_7_speech_is_early_media_where_only_accepted_counts() {
    let mut scene = ringing(AnswerOn::Accepted);
    scene.hears(Input::UserSpoke).does(&["early media"]);
    scene.hears(Input::UserSpoke).does(&[]);
    assert!(!scene.call.is_bridged());
}

#[test]
fn the_webhook_may_be_faster_than_the_reply_to_connect() {
    let mut scene = connecting(AnswerOn::Accepted);
    scene.hears(Input::WaCallLearnt(wa("wacid.B"))).does(&["note wa call"]);
    scene.hears(Input::UserAnswerReceived("answer".into())).does(&["apply meta's answer", "start dtls"]);
    scene.hears(Input::GraphConnected(wa("wacid.B"))).does(&[]);
}

#[test]
fn rule_9_a_denial_is_told_to_the_phone_and_nothing_reaches_meta() {
    let mut scene = Scene::phone_calls(AnswerOn::Accepted);
    scene.hears(Input::RecordOpened).outputs();
    let denial = Denial {
        reason: DenialReason::NumberCap,
        until: Some(Wall::from_secs(1_791_986_400)),
        stands: Stands::Fact,
    };
    scene.hears(Input::Denied(denial)).does(&["refuse 403", "close record"]);
    scene.ended_as(HangupCause::Denied(DenialReason::NumberCap));
}

#[test]
fn rule_8_a_crossed_call_takes_the_dialling_phone() {
    let mut scene = connecting(AnswerOn::Accepted);
    let busy = Failure::Refused { meaning: Meaning::AlreadyInCall, http: 400, until: None };
    scene.hears(Input::GraphFailed(ActionKind::Connect, busy)).does(&[]);
    assert!(scene.call.is_crossing());
    let crossed = scene.call.hand_over(scene.now).expect("the phone still rings");
    scene.does(&["close media"]).ended_as(HangupCause::Crossed);
    scene.hears(closed()).does(&["withdraw", "close record"]);

    let accept_by = scene.now.wall + Duration::from_secs(24);
    let (plan, pre_accept) = (RingPlan::default(), PreAcceptWhen::AtOnce);
    let reception = Reception { plan, pre_accept, accept_by };
    let mut record = record(CallDirection::UserInitiated);
    record.wa_call = Some("wacid.A".into());
    let call =
        Call::from_user(scene.now, record, CallTimes::default(), "offer".into(), reception, Some(crossed));
    let mut scene = Scene { call, now: scene.now };
    scene.does(&["open record", "open media"]);
    scene.hears(Input::RecordOpened).opened().does(&["post pre_accept"]);
    scene.done(ActionKind::PreAccept).does(&["start dtls", "post accept"]);
    scene.done(ActionKind::Accept).does(&["accept phone", "open gate", "keep record"]);
    assert_eq!(scene.call.record().endpoint, Some(phone("1001")));
}

#[test]
fn rule_8_without_the_users_call_the_phone_is_told_that_the_user_is_busy() {
    let mut scene = connecting(AnswerOn::Accepted);
    let busy = Failure::Refused { meaning: Meaning::AlreadyInCall, http: 400, until: None };
    scene.hears(Input::GraphFailed(ActionKind::Connect, busy)).does(&[]);
    scene.after(Duration::from_secs(3)).does(&["refuse 486", "close media"]);
}

#[test]
fn the_caller_gives_up_while_connect_is_under_way_and_the_call_is_terminated_when_its_id_is_known() {
    let mut scene = connecting(AnswerOn::Accepted);
    scene.hears(Input::PhoneCancelled(Fork(0))).does(&[]).ended_as(HangupCause::PhoneCancelled);
    scene.hears(Input::GraphConnected(wa("wacid.B"))).does(&["note wa call", "post terminate"]);
    scene.done(ActionKind::Terminate).does(&["close media"]);
    scene.hears(closed()).does(&[]);
    scene.hears(not_picked_up()).does(&["release", "close record"]);
}

#[test]
fn a_user_who_picks_up_while_the_caller_gives_up_is_a_connected_call() {
    let mut scene = ringing(AnswerOn::Accepted);
    scene.hears(Input::PhoneCancelled(Fork(0))).does(&["post terminate"]);
    let start = scene.now.wall;
    scene.done(ActionKind::Terminate).does(&["close media"]);
    scene.hears(closed()).hears(picked_up(start, 1)).does(&[
        "mark connected",
        "correct start",
        "close record",
    ]);
}

#[test]
fn a_user_who_does_not_answer_costs_no_place() {
    let mut scene = ringing(AnswerOn::Accepted);
    scene.hears(not_picked_up()).does(&["release", "refuse 480", "close media"]);
    scene.ended_as(HangupCause::UserUnanswered);
    scene.hears(closed()).does(&["close record"]);
}

#[test]
fn a_user_who_declines_is_busy_for_the_phone() {
    let mut scene = ringing(AnswerOn::Accepted);
    scene.hears(Input::UserRejected).does(&["refuse 486", "post terminate"]);
    scene.ended_as(HangupCause::UserRejected);
    scene.hears(not_picked_up()).does(&["release"]);
}

#[test]
fn metas_start_time_corrects_ours() {
    let mut scene = talking();
    let start = scene.now.wall;
    scene.hears(picked_up(start, 30)).does(&["correct start", "hang up 0", "close media"]);
    scene.ended_as(HangupCause::UserHungUp);
}

#[test]
fn an_answer_that_never_comes_from_meta_ends_the_attempt() {
    let mut scene = connecting(AnswerOn::Accepted);
    scene.hears(Input::GraphConnected(wa("wacid.B"))).outputs();
    scene.after(Duration::from_secs(15)).does(&["refuse 503", "post terminate"]);
    scene.ended_as(HangupCause::MetaSilent);
}

#[test]
fn a_user_does_not_ring_for_ever() {
    let mut scene = ringing(AnswerOn::Accepted);
    scene.after(Duration::from_secs(60)).does(&["refuse 480", "post terminate"]);
    scene.ended_as(HangupCause::UserUnanswered);
}

#[test]
fn graph_refusals_reach_the_phone_as_verdicts() {
    for (meaning, sip) in [
        (Meaning::NoPermission, "refuse 403"),
        (Meaning::NotCallable, "refuse 404"),
        (Meaning::ConcurrentCallsLimit, "refuse 503"),
        (Meaning::DailyCallLimit, "refuse 403"),
    ] {
        let mut scene = connecting(AnswerOn::Accepted);
        let refused = Failure::Refused { meaning, http: 400, until: None };
        scene.hears(Input::GraphFailed(ActionKind::Connect, refused)).does(&[sip, "close media"]);
        scene.hears(closed()).does(&["withdraw", "close record"]);
    }
}

#[test]
fn a_connect_that_timed_out_may_have_reached_meta_and_is_terminated_when_it_shows_up() {
    let mut scene = connecting(AnswerOn::Accepted);
    scene.hears(Input::GraphFailed(ActionKind::Connect, Failure::TimedOut));
    scene.does(&["refuse 503", "close media"]).ended_as(HangupCause::GraphTimedOut);
    scene.hears(Input::WaCallLearnt(wa("wacid.B"))).does(&["note wa call", "post terminate"]);
}
