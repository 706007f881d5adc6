//! The gateway rings a desk phone for somebody who waits for a user, and then the user.

use super::*;
use crate::policy::{Denial, DenialReason, Stands};

/// Somebody at 1001 waits for the user; the phone there rings.
fn ringing_desk() -> Scene {
    let record = record(CallDirection::BusinessInitiated);
    let call = Call::from_desk(record, CallTimes::default(), phone("1001"), AnswerOn::Accepted);
    let mut scene = Scene { call, now: start() };
    scene.does(&["open record"]);
    scene.hears(Input::RecordOpened).does(&["open media"]);
    scene.opened().does(&["invite 0"]);
    scene
}

#[test]
fn the_user_is_rung_when_the_desk_has_answered_and_not_before() {
    let mut scene = ringing_desk();
    scene.hears(Input::PhoneRang(Fork(0), None)).does(&[]);
    scene.answers(0).does(&["apply phone's answer", "save dialog", "play to phone", "reserve"]);
    scene.hears(grant()).does(&["post connect"]);
    scene.hears(Input::GraphConnected("wacid.B".into())).does(&["note wa call"]);
    scene.hears(Input::UserAnswerReceived("meta's".into())).does(&["apply meta's answer", "start dtls"]);
    scene.hears(Input::DtlsUp).does(&["gate to comfort"]);
    scene.hears(Input::UserRang).does(&["mark rang"]);
    let at = scene.now.wall;
    let answered = ["mark connected", "stop playing to phone", "open gate", "keep record"];
    scene.hears(Input::UserAccepted(at)).does(&answered);
    assert!(scene.call.is_bridged());
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&["post terminate"]);
    scene.ended_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_desk_that_does_not_answer_costs_no_place_and_rings_nobody() {
    let mut scene = ringing_desk();
    scene.after(Duration::from_secs(30)).does(&["cancel 0", "close media"]);
    scene.ended_as(HangupCause::PhoneUnanswered);
    scene.hears(closed()).does(&["close record"]);
}

#[test]
fn a_busy_desk_ends_the_attempt() {
    let mut scene = ringing_desk();
    scene.hears(Input::PhoneFailed(Fork(0), ForkFailure::Status(486))).does(&["close media"]);
    scene.ended_as(HangupCause::PhoneBusy);
}

#[test]
fn a_denial_after_the_desk_has_answered_ends_its_call() {
    let mut scene = ringing_desk();
    scene.answers(0).outputs();
    let denial = Denial { reason: DenialReason::PermissionRevoked, until: None, stands: Stands::Fact };
    scene.hears(Input::Denied(denial)).does(&["hang up 0", "close media"]);
    scene.ended_as(HangupCause::Denied(DenialReason::PermissionRevoked));
}

#[test]
fn a_desk_that_hangs_up_while_the_user_rings_ends_both() {
    let mut scene = ringing_desk();
    scene.answers(0).outputs();
    scene.hears(grant()).does(&["post connect"]);
    scene.hears(Input::GraphConnected("wacid.B".into())).does(&["note wa call"]);
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&["post terminate"]);
    scene.ended_as(HangupCause::PhoneHungUp);
}
