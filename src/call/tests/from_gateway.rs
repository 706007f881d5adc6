use super::*;
use crate::policy::{Denial, DenialReason, Stands};
use crate::whatsapp::{Failure, Meaning};

/// A callback whose agent's phone rings.
fn ringing_agent(answer_on: AnswerOn) -> Scene {
    let mut scene = Scene::gateway_calls(answer_on);
    scene.does(&["open record", "open media"]);
    scene.opened().does(&[]);
    scene.hears(Input::RecordOpened).does(&["invite 0"]);
    scene
}

/// The agent is there, and the user's phone rings.
fn ringing_user(answer_on: AnswerOn) -> Scene {
    let mut scene = ringing_agent(answer_on);
    scene.answers(0).does(&["apply phone's answer", "save dialog", "reserve"]);
    scene.hears(grant()).does(&["post connect"]);
    scene.hears(Input::GraphConnected(wa("wacid.B"))).does(&["note wa call"]);
    scene.hears(Input::UserAnswerReceived("answer".into())).does(&["apply meta's answer", "start dtls"]);
    scene.hears(Input::DtlsUp).does(&["gate to comfort"]);
    scene.hears(Input::UserRang).does(&["mark rang", "play to phone"]);
    scene
}

#[test]
fn b14_a_callback_rings_the_agent_first_and_then_the_user_through_the_same_gate() {
    let mut scene = ringing_user(AnswerOn::Accepted);
    let at = scene.now.wall;
    scene.hears(Input::UserAccepted(at)).does(&[
        "mark connected",
        "stop playing to phone",
        "open gate",
        "keep record",
    ]);
    assert!(scene.call.is_bridged());
    assert_eq!(scene.call.record().endpoint, Some(phone("1001")));
    scene.hears(picked_up(at, 9)).does(&["correct start", "hang up 0", "close media"]);
    scene.hears(closed()).does(&["close record"]);
    scene.ended_as(HangupCause::UserHungUp);
}

#[test]
fn nothing_reaches_meta_while_the_agent_has_not_answered() {
    let mut scene = ringing_agent(AnswerOn::Accepted);
    scene.hears(Input::PhoneRang(Fork(0), None)).does(&[]);
    scene.after(Duration::from_secs(31)).does(&["cancel 0", "close media"]);
    scene.hears(closed()).does(&["close record"]);
    scene.ended_as(HangupCause::PhoneUnanswered);
}

#[test]
fn an_agent_who_is_busy_ends_the_callback() {
    let mut scene = ringing_agent(AnswerOn::Accepted);
    scene.hears(Input::PhoneFailed(Fork(0), ForkFailure::Status(486))).does(&["close media"]);
    scene.hears(closed()).does(&["close record"]);
    scene.ended_as(HangupCause::PhoneBusy);
}

#[test]
fn a_denial_is_told_to_the_agent_and_nothing_reaches_meta() {
    let mut scene = ringing_agent(AnswerOn::Accepted);
    scene.answers(0).outputs();
    let denial = Denial { reason: DenialReason::NumberCap, until: None, stands: Stands::Fact };
    scene.hears(Input::Denied(denial)).does(&["hang up 0", "close media"]);
    scene.hears(closed()).does(&["close record"]);
    scene.ended_as(HangupCause::Denied(DenialReason::NumberCap));
}

#[test]
fn rule_8_a_callback_gives_way_to_the_users_own_call_and_tells_who_waits() {
    let mut scene = ringing_agent(AnswerOn::Accepted);
    scene.answers(0).outputs();
    scene.hears(grant()).does(&["post connect"]);
    let busy = Failure::Refused { meaning: Meaning::AlreadyInCall, http: 400, until: None };
    scene.hears(Input::GraphFailed(ActionKind::Connect, busy)).does(&[]);
    assert_eq!(scene.call.give_way(scene.now), Some(phone("1001")));
    scene.does(&["hang up 0", "close media"]).ended_as(HangupCause::Crossed);
    scene.hears(closed()).does(&["withdraw", "close record"]);
}

#[test]
fn rule_8_a_callback_ends_where_the_users_own_call_does_not_come() {
    let mut scene = ringing_agent(AnswerOn::Accepted);
    scene.answers(0).outputs();
    scene.hears(grant()).does(&["post connect"]);
    let busy = Failure::Refused { meaning: Meaning::AlreadyInCall, http: 400, until: None };
    scene.hears(Input::GraphFailed(ActionKind::Connect, busy)).does(&[]);
    scene.after(Duration::from_secs(3)).does(&["hang up 0", "close media"]);
    scene.hears(closed()).outputs();
    scene.ended_as(HangupCause::Meta(Meaning::AlreadyInCall));
}

#[test]
fn rule_8_a_callback_that_the_user_has_taken_gives_way_to_nothing() {
    let mut scene = ringing_agent(AnswerOn::Accepted);
    scene.answers(0).outputs();
    scene.hears(grant()).hears(Input::GraphConnected(wa("wacid.B"))).outputs();
    // Sound is not up yet, so the call is not either.
    let at = scene.now.wall;
    scene.hears(Input::UserAnswerReceived("answer".into())).hears(Input::UserAccepted(at)).outputs();
    assert!(!scene.call.is_bridged());
    assert_eq!(scene.call.give_way(scene.now), None);
}

#[test]
fn an_agent_who_hangs_up_while_the_user_rings_takes_the_call_back_at_meta() {
    let mut scene = ringing_user(AnswerOn::Accepted);
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&["post terminate"]);
    scene.done(ActionKind::Terminate).does(&["close media"]);
    scene.hears(closed()).does(&[]);
    scene.hears(not_picked_up()).does(&["release", "close record"]);
    scene.ended_as(HangupCause::PhoneHungUp);
}

#[test]
fn speech_after_ringing_answers_a_callback_too() {
    let mut scene = ringing_user(AnswerOn::Speech);
    scene.hears(Input::UserSpoke).does(&[
        "mark connected",
        "stop playing to phone",
        "open gate",
        "keep record",
    ]);
}

#[test]
fn metas_refusal_ends_the_agents_leg_and_gives_the_place_back() {
    let mut scene = ringing_agent(AnswerOn::Accepted);
    scene.answers(0).outputs();
    scene.hears(grant()).does(&["post connect"]);
    let refused = Failure::Refused { meaning: Meaning::NoPermission, http: 401, until: None };
    scene.hears(Input::GraphFailed(ActionKind::Connect, refused)).does(&["hang up 0", "close media"]);
    scene.hears(closed()).does(&["withdraw", "close record"]);
}
