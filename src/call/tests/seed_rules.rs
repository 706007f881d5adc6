//! The rules of the seed that are about one call (requirements, table B), by their names.

use super::*;

/// A user calls a number whose plan rings 1001 first and then the others.
fn plan() -> RingPlan {
    let step = |targets: Vec<Endpoint>| RingStep {
        targets,
        ring: Some(Duration::from_secs(8)),
        order: RingOrder::Together,
        alert: Alert::default(),
    };
    let backup = Endpoint::Trunk("pbx".into(), "200".to_owned());
    RingPlan {
        steps: vec![step(vec![phone("1001")]), step(vec![phone("1002"), backup])],
        ..RingPlan::default()
    }
}

fn user_calls() -> Scene {
    let mut scene = Scene::user_calls_by(plan(), PreAcceptWhen::Ringing);
    scene.does(&["open record", "open media"]);
    scene.hears(Input::RecordOpened).opened().does(&["invite 0"]);
    scene
}

#[test]
fn b1_an_inbound_call_is_answered_or_declined() {
    let mut scene = user_calls();
    scene.answers(0).does(&["apply phone's answer", "save dialog", "post accept"]);
    scene.done(ActionKind::Accept).outputs();
    assert!(scene.call.is_bridged());

    let mut scene = user_calls();
    scene.hears(Input::PhoneFailed(Fork(0), ForkFailure::Status(603))).does(&["invite 1", "invite 2"]);
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Status(603))).does(&[]);
    scene.hears(Input::PhoneFailed(Fork(2), ForkFailure::Status(603))).does(&["post reject"]);
    scene.ended_as(HangupCause::PhoneDeclined);
}

#[test]
fn b2_an_outbound_call_asks_for_its_place_then_connects_then_is_answered() {
    let mut scene = Scene::phone_calls(AnswerOn::Accepted);
    scene.does(&["open record"]);
    scene.hears(Input::RecordOpened).does(&["reserve"]);
    scene.hears(grant()).does(&["open media"]);
    scene.opened().does(&["post connect"]);
    scene.hears(Input::GraphConnected("wacid.B".into())).does(&["note wa call"]);
    scene.hears(Input::UserAnswerReceived("answer".into())).does(&["apply meta's answer", "start dtls"]);
    scene.hears(Input::DtlsUp).does(&["gate to comfort"]);
    scene.hears(Input::UserRang).does(&["mark rang", "ring"]);
    let at = scene.now.wall;
    scene.hears(Input::UserAccepted(at)).does(&[
        "mark connected",
        "accept phone",
        "open gate",
        "keep record",
    ]);
}

#[test]
fn b10_the_primary_user_is_rung_first_and_the_backups_when_nobody_answered() {
    let mut scene = user_calls();
    scene.after(Duration::from_secs(8)).does(&["cancel 0", "invite 1", "invite 2"]);
    scene.answers(1).does(&["apply phone's answer", "cancel 2 elsewhere", "save dialog", "post accept"]);
    assert_eq!(scene.call.record().endpoint, Some(phone("1002")));
}

#[test]
fn b11_a_target_is_a_phone_here_or_an_extension_of_a_pbx() {
    let mut scene = user_calls();
    scene.after(Duration::from_secs(8)).outputs();
    scene.answers(2).does(&["apply phone's answer", "cancel 1 elsewhere", "save dialog", "post accept"]);
    assert_eq!(scene.call.record().endpoint, Some(Endpoint::Trunk("pbx".into(), "200".to_owned())));
}
