//! Calls that the gateway takes for nobody: what is said, what is recorded, and why the call then ended.

use super::*;
use crate::sip::alert::Alert;

const LONGEST: Duration = Duration::from_secs(120);
const MESSAGE: Answering = Answering::Message { longest: LONGEST };

/// Phone 1001 rings for 8 s, then the gateway answers.
fn plan(answering: Answering) -> RingPlan {
    let step = RingStep {
        targets: vec![phone("1001")],
        ring: Some(Duration::from_secs(8)),
        order: RingOrder::Together,
        alert: Alert::default(),
    };
    RingPlan { steps: vec![step], answering: Some(answering), ..RingPlan::default() }
}

fn rings(answering: Answering) -> Scene {
    let mut scene = Scene::user_calls_by(plan(answering), PreAcceptWhen::AtOnce);
    scene.does(&["open record", "open media"]);
    scene.hears(Input::RecordOpened).opened().does(&["post pre_accept", "invite 0"]);
    scene.done(ActionKind::PreAccept).does(&["start dtls"]);
    scene
}

/// The gateway has answered, and the user hears it.
fn speaks(answering: Answering) -> Scene {
    let mut scene = rings(answering);
    scene.hears(Input::DtlsUp).does(&[]);
    scene.after(Duration::from_secs(8)).does(&["cancel 0", "post accept"]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record", "speak"]);
    scene
}

fn over(scene: &mut Scene) -> CallRecord {
    scene.done(ActionKind::Terminate);
    scene.hears(closed());
    scene.hears(picked_up(start().wall, 9)).outputs();
    assert!(scene.call.is_over());
    scene.call.record().clone()
}

#[test]
fn b1_a_user_whom_nobody_takes_hears_the_greeting_and_leaves_a_message() {
    let mut scene = speaks(MESSAGE);
    scene.hears(Input::SoundPlayed).does(&["take message"]);
    scene.after(Duration::from_secs(30)).does(&[]);
    let ended = picked_up(scene.now.wall, 40);
    scene.hears(ended).does(&["close media"]).ended_as(HangupCause::Voicemail);
    scene.hears(closed()).does(&["close record"]);
    let record = scene.call.record();
    assert!(record.is_missed() && record.answered.is_some() && record.endpoint.is_none());
}

#[test]
fn a_user_who_says_no_more_or_speaks_for_too_long_is_hung_up_on() {
    for silent in [true, false] {
        let mut scene = speaks(MESSAGE);
        scene.hears(Input::SoundPlayed).does(&["take message"]);
        if silent {
            scene.hears(Input::MessageEnded);
        } else {
            scene.after(LONGEST - Duration::from_nanos(1)).does(&[]);
            scene.after(Duration::from_nanos(1));
        }
        scene.does(&["post terminate"]).ended_as(HangupCause::Voicemail);
        assert!(over(&mut scene).is_missed());
    }
}

#[test]
fn a_user_who_hangs_up_in_the_greeting_is_missed_for_the_reason_why_nobody_was_there() {
    let mut scene = speaks(MESSAGE);
    let ended = picked_up(scene.now.wall, 2);
    scene.hears(ended).does(&["close media"]).ended_as(HangupCause::PhoneUnanswered);
}

#[test]
fn b12_a_closed_number_says_so_and_hangs_up_and_no_phone_rings() {
    let plan = RingPlan::answered_by_us(Answering::Announcement);
    let mut scene = Scene::user_calls_by(plan, PreAcceptWhen::AtOnce);
    scene.does(&["open record", "open media"]);
    scene.hears(Input::RecordOpened).opened().does(&["post pre_accept"]);
    scene.done(ActionKind::PreAccept).does(&["start dtls", "post accept"]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record"]);
    // Nothing is said before it can be heard.
    scene.hears(Input::DtlsUp).does(&["speak"]);
    scene.hears(Input::SoundPlayed).does(&["post terminate"]).ended_as(HangupCause::Announced);
    assert!(over(&mut scene).is_missed());
}

#[test]
fn rule_2_a_phone_that_rings_for_as_long_as_the_window_allows_leaves_room_for_the_gateways_answer() {
    let plan = RingPlan { answering: Some(MESSAGE), ..RingPlan::together(vec![phone("1001")]) };
    let mut scene = Scene::user_calls_by(plan, PreAcceptWhen::Ringing);
    scene.does(&["open record", "open media"]);
    scene.hears(Input::RecordOpened).opened().does(&["invite 0"]);
    let left = Duration::from_secs(24) - scene.now.mono.saturating_duration_since(start_of(&scene));
    scene.after(left - Duration::from_nanos(1)).does(&[]);
    scene.after(Duration::from_nanos(1)).does(&["cancel 0", "post accept"]);
    scene.done(ActionKind::Accept).does(&["start dtls", "open gate", "keep record"]);
    scene.hears(Input::DtlsUp).does(&["speak"]);
}

fn start_of(scene: &Scene) -> Instant {
    scene.now.mono - scene.now.wall.since(start().wall)
}

#[test]
fn rule_3_accept_waits_for_pre_accept_and_is_sent_once_whoever_answers_late() {
    let mut scene = Scene::user_calls_by(plan(MESSAGE), PreAcceptWhen::AtOnce);
    scene.outputs();
    scene.hears(Input::RecordOpened).opened().does(&["post pre_accept", "invite 0"]);
    scene.after(Duration::from_secs(8)).does(&["cancel 0"]);
    // The phone had answered while our CANCEL was on its way.
    scene.answers(0).does(&["hang up 0 elsewhere"]);
    scene.done(ActionKind::PreAccept).does(&["start dtls", "post accept"]);
    scene.answers(0).does(&["hang up 0 elsewhere"]);
    scene.after(Duration::from_secs(30)).does(&[]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record"]);
}

#[test]
fn a_phone_that_answers_in_time_has_the_call_and_the_gateway_says_nothing() {
    let mut scene = rings(MESSAGE);
    scene.answers(0).does(&["apply phone's answer", "save dialog", "post accept"]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record"]);
    scene.hears(Input::DtlsUp).does(&[]);
    scene.hears(Input::SoundPlayed).does(&[]);
    assert!(!scene.call.is_attended());
}

#[test]
fn a_sound_whose_end_nobody_tells_and_a_stop_end_the_call_all_the_same() {
    let mut scene = speaks(MESSAGE);
    scene.after(Duration::from_secs(11 * 60)).does(&["post terminate"]);
    scene.ended_as(HangupCause::PhoneUnanswered);
    let mut scene = speaks(Answering::Announcement);
    scene.hears(Input::Ordered(Order::Stop)).does(&["post terminate"]).ended_as(HangupCause::Stopping);
}
