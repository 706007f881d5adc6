use super::*;
use crate::whatsapp::{Failure, Meaning};

/// A call with media open, `pre_accept` sent and both phones ringing.
pub(super) fn ringing(phones: &[&str]) -> Scene {
    let mut scene = Scene::user_calls(phones, PreAcceptWhen::AtOnce);
    scene.does(&["open record", "open media"]);
    scene.hears(Input::RecordOpened).does(&[]);
    let mut expected = vec!["post pre_accept".to_owned()];
    expected.extend((0..phones.len()).map(|index| format!("invite {index}")));
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    scene.opened().does(&expected);
    scene
}

/// A call in which phone 0 talks with the user.
pub(super) fn talking() -> Scene {
    let mut scene = ringing(&["1001"]);
    scene.done(ActionKind::PreAccept).does(&["start dtls"]);
    scene.answers(0).does(&["apply phone's answer", "save dialog", "post accept"]);
    scene.hears(Input::DtlsUp).done(ActionKind::Accept).does(&["open gate", "keep record"]);
    assert!(scene.call.is_bridged());
    scene
}

#[test]
fn nothing_goes_out_before_the_record_is_in_the_store() {
    let mut scene = Scene::user_calls(&["1001"], PreAcceptWhen::AtOnce);
    scene.does(&["open record", "open media"]).opened().does(&[]);
    scene.hears(Input::RecordOpened).does(&["post pre_accept", "invite 0"]);
}

#[test]
fn rule_3_pre_accept_and_accept_are_never_under_way_together() {
    let mut scene = ringing(&["1001"]);
    scene.answers(0).does(&["apply phone's answer", "save dialog"]);
    scene.done(ActionKind::PreAccept).does(&["start dtls", "post accept"]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record"]);
}

#[test]
fn rule_27_a_crash_during_the_talk_leaves_a_record_that_says_who_answered() {
    let mut scene = ringing(&["1001"]);
    scene.done(ActionKind::PreAccept).answers(0).done(ActionKind::Accept);
    let outputs = scene.outputs();
    let kept = outputs.iter().find_map(|output| match output {
        Output::KeepRecord(record) => Some(record),
        _ => None,
    });
    let kept = kept.expect("the row is brought up to date when the talk begins");
    assert!(kept.answered.is_some() && kept.rang.is_some() && kept.ended.is_none(), "{kept:?}");
    assert_eq!((&kept.endpoint, kept.sip_call_id.as_deref()), (&Some(phone("1001")), Some("call")));
}

#[test]
fn rule_3_without_a_usable_phone_the_call_is_rejected_without_pre_accept() {
    let mut scene = Scene::user_calls(&[], PreAcceptWhen::AtOnce);
    scene.does(&["open record", "post reject"]).ended_as(HangupCause::PhoneUnreachable);
    scene.done(ActionKind::Reject).does(&[]);
    scene.hears(not_picked_up()).does(&["close record"]);
}

#[test]
fn a_call_that_is_turned_away_opens_nothing_rings_nobody_and_is_recorded() {
    let now = start();
    let mut record = record(CallDirection::UserInitiated);
    record.wa_call = Some("wacid.A".into());
    let call = Call::turned_away(now, record, CallTimes::default(), HangupCause::Overloaded);
    let mut scene = Scene { call, now };
    scene.does(&["open record", "post reject"]).ended_as(HangupCause::Overloaded);
    scene.hears(Input::RecordOpened).does(&[]);
    scene.done(ActionKind::Reject).hears(not_picked_up()).does(&["close record"]);
}

#[test]
fn rule_3_pre_accept_can_wait_for_the_first_ringing_and_then_reject_still_works() {
    let mut scene = Scene::user_calls(&["1001"], PreAcceptWhen::Ringing);
    scene.outputs();
    scene.hears(Input::RecordOpened).opened().does(&["invite 0"]);
    scene.hears(Input::PhoneFailed(Fork(0), ForkFailure::Status(486)));
    scene.does(&["post reject"]).ended_as(HangupCause::PhoneBusy);

    let mut scene = Scene::user_calls(&["1001"], PreAcceptWhen::Ringing);
    scene.outputs();
    scene.hears(Input::RecordOpened).opened().does(&["invite 0"]);
    scene.hears(Input::PhoneRang(Fork(0), None)).does(&["post pre_accept"]);
}

#[test]
fn a_phone_that_answers_without_ringing_is_accepted_without_pre_accept() {
    let mut scene = Scene::user_calls(&["1001"], PreAcceptWhen::Ringing);
    scene.outputs();
    scene.hears(Input::RecordOpened).opened().does(&["invite 0"]);
    scene.answers(0).does(&["apply phone's answer", "save dialog", "post accept"]);
    scene.done(ActionKind::Accept).does(&["start dtls", "open gate", "keep record"]);
}

#[test]
fn rule_4_dtls_starts_when_pre_accept_returned_and_the_gate_opens_when_accept_did() {
    let mut scene = ringing(&["1001"]);
    scene.hears(Input::IceConnected).does(&[]);
    scene.done(ActionKind::PreAccept).does(&["start dtls"]);
    scene.answers(0).hears(Input::DtlsUp).does(&["apply phone's answer", "save dialog", "post accept"]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record"]);
}

#[test]
fn rule_5_the_first_answer_wins_and_the_losers_hear_why() {
    let mut scene = ringing(&["1001", "1002", "1003"]);
    scene.done(ActionKind::PreAccept).outputs();
    scene.answers(1);
    scene.does(&[
        "apply phone's answer",
        "cancel 0 elsewhere",
        "cancel 2 elsewhere",
        "save dialog",
        "post accept",
    ]);
    assert_eq!(scene.call.record().endpoint, Some(phone("1002")));
    scene.answers(2).does(&["hang up 2 elsewhere"]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record"]);
    scene.answers(0).does(&["hang up 0 elsewhere"]);
}

#[test]
fn rule_5_a_failed_accept_hangs_the_phone_up_and_terminates_at_meta() {
    let mut scene = ringing(&["1001"]);
    scene.done(ActionKind::PreAccept).answers(0).outputs();
    scene.hears(Input::GraphFailed(ActionKind::Accept, Failure::TimedOut));
    scene.does(&["hang up 0", "post terminate"]).ended_as(HangupCause::GraphTimedOut);
    scene.done(ActionKind::Terminate).does(&["close media"]);
    scene.hears(closed()).does(&[]);
    scene.hears(not_picked_up()).does(&["close record"]);
}

#[test]
fn rule_2_nobody_answers_inside_the_accept_window() {
    let mut scene = ringing(&["1001", "1002"]);
    scene.done(ActionKind::PreAccept).outputs();
    scene.after(Duration::from_millis(23_900)).does(&[]);
    scene.after(Duration::from_millis(100)).does(&["cancel 0", "cancel 1", "post terminate"]);
    scene.ended_as(HangupCause::PhoneUnanswered);
}

#[test]
fn rule_2_an_accept_under_way_is_not_cut_off_by_the_window() {
    let mut scene = ringing(&["1001"]);
    scene.done(ActionKind::PreAccept).after(Duration::from_secs(23)).answers(0).outputs();
    scene.after(Duration::from_secs(2)).does(&[]);
    scene.done(ActionKind::Accept).does(&["open gate", "keep record"]);
}

#[test]
fn a_user_who_gives_up_while_phones_ring_is_a_missed_call() {
    let mut scene = ringing(&["1001"]);
    scene.done(ActionKind::PreAccept).outputs();
    scene.hears(not_picked_up()).does(&["cancel 0", "close media"]).ended_as(HangupCause::UserCancelled);
    scene.hears(closed()).does(&["close record"]);
}

#[test]
fn the_cause_of_a_hunt_is_what_a_person_did_rather_than_a_dead_line() {
    let mut scene = ringing(&["1001", "1002", "1003"]);
    scene.done(ActionKind::PreAccept).outputs();
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Status(603))).does(&[]);
    scene.hears(Input::PhoneFailed(Fork(0), ForkFailure::Silent)).does(&[]);
    scene.hears(Input::PhoneFailed(Fork(2), ForkFailure::Status(503)));
    scene.does(&["post terminate"]).ended_as(HangupCause::PhoneDeclined);
}

#[test]
fn the_phone_hangs_up_and_meta_is_always_told() {
    let mut scene = talking();
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&["post terminate"]).ended_as(HangupCause::PhoneHungUp);
    scene.done(ActionKind::Terminate).does(&["close media"]);
    let start = scene.now.wall;
    scene.hears(closed()).hears(picked_up(start, 12)).does(&["close record"]);
    assert_eq!(scene.call.record().meta_duration, Some(12));
    assert!(scene.call.is_over());
}

#[test]
fn the_user_hangs_up_and_the_phone_gets_bye() {
    let mut scene = talking();
    let start = scene.now.wall;
    scene.hears(picked_up(start, 3)).does(&["hang up 0", "close media"]).ended_as(HangupCause::UserHungUp);
    scene.hears(closed()).does(&["close record"]);
}

#[test]
fn both_hang_up_at_once_and_the_call_ends_once() {
    let mut scene = talking();
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&["post terminate"]);
    let start = scene.now.wall;
    scene.hears(picked_up(start, 3)).does(&[]);
    let gone = Failure::Refused { meaning: Meaning::InvalidParameter, http: 400, until: None };
    scene.hears(Input::GraphFailed(ActionKind::Terminate, gone)).does(&["close media"]);
    scene.hears(closed()).does(&["close record"]).ended_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_terminate_that_meta_never_confirms_does_not_keep_the_record_open() {
    let mut scene = talking();
    scene.hears(Input::PhoneHungUp(Fork(0))).done(ActionKind::Terminate).hears(closed());
    scene.does(&["post terminate", "close media"]);
    scene.after(Duration::from_secs(5)).does(&["close record"]);
}

#[test]
fn a_re_invite_stays_inside_the_gateway() {
    let mut scene = talking();
    scene.hears(Input::PhoneReoffered(Fork(0), Some("hold".into()))).does(&["answer re-offer"]);
    scene.hears(Input::PhoneReofferAnswered("held".into())).does(&["answer phone's re-offer"]);
    scene.hears(Input::PhoneReoffered(Fork(0), None)).does(&["answer re-offer"]);
    scene.hears(Input::PhoneReofferRefused).does(&["answer phone's re-offer"]);
    assert!(scene.call.is_bridged());
}

#[test]
fn rule_20_a_call_without_media_ends_on_both_sides() {
    let mut scene = talking();
    scene.hears(Input::MediaStalled).does(&["hang up 0", "post terminate"]).ended_as(HangupCause::NoMedia);
}

#[test]
fn rule_20_the_longest_call_ends_by_itself() {
    let mut scene = talking();
    scene.after(Duration::from_secs(4 * 3600 - 1)).does(&[]);
    scene.after(Duration::from_secs(1)).does(&["hang up 0", "post terminate"]).ended_as(HangupCause::TooLong);
}

#[test]
fn a_stop_of_the_process_ends_both_sides() {
    let mut scene = talking();
    scene.hears(Input::Ordered(Order::Stop)).does(&["hang up 0", "post terminate"]);
    scene.ended_as(HangupCause::Stopping);
}

#[test]
fn media_that_never_comes_up_ends_the_call_with_a_cause() {
    let mut scene = ringing(&["1001"]);
    scene.done(ActionKind::PreAccept).answers(0).done(ActionKind::Accept).outputs();
    scene.after(Duration::from_secs(10)).does(&["hang up 0", "post terminate"]);
    scene.ended_as(HangupCause::MediaFailed(MediaFailure::Ice));
}

#[test]
fn r15_a_users_call_is_answered_while_the_store_is_down() {
    let mut scene = Scene::user_calls(&["1001"], PreAcceptWhen::AtOnce);
    scene.does(&["open record", "open media"]);
    scene.opened().hears(Input::RecordRefused).does(&["post pre_accept", "invite 0"]);
}

#[test]
fn an_offer_that_cannot_be_read_is_rejected() {
    let mut scene = Scene::user_calls(&["1001"], PreAcceptWhen::AtOnce);
    scene.outputs();
    scene.hears(Input::RecordOpened).hears(Input::MediaRefused(MediaRefusal::MetaOffer));
    scene.does(&["post reject"]).ended_as(HangupCause::MediaRefused(MediaRefusal::MetaOffer));
    scene.done(ActionKind::Reject).hears(not_picked_up()).does(&["close record"]);
}

#[test]
fn rule_2_a_phone_that_answers_in_the_moment_the_window_closes_gets_bye() {
    let mut scene = Scene::user_calls(&["1001"], PreAcceptWhen::AtOnce);
    scene.opened().hears(Input::RecordOpened).done(ActionKind::PreAccept);
    scene.outputs();
    scene.after(Duration::from_secs(24)).answers(0);
    let names: Vec<_> = scene.outputs().iter().map(spell).collect();
    assert_eq!(names, ["cancel 0", "post terminate", "hang up 0"]);
}
