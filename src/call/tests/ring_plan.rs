//! Ring plans: what moves on, what is cut, who wins.

use super::*;
use crate::sip::alert::Alert;

const SECOND: Duration = Duration::from_secs(1);

fn step(phones: &[&str], seconds: u64, order: RingOrder) -> RingStep {
    let targets = phones.iter().map(|name| phone(name)).collect();
    RingStep {
        targets,
        ring: Some(SECOND * u32::try_from(seconds).expect("small")),
        order,
        alert: Alert::default(),
    }
}

fn together(phones: &[&str], seconds: u64) -> RingStep {
    step(phones, seconds, RingOrder::Together)
}

fn mailbox() -> Endpoint {
    Endpoint::Trunk("pbx".into(), "299".to_owned())
}

/// Media is open and nothing rings yet, so that `reject` would still do; the INVITEs of the first step are looked at by the test.
fn begun(steps: Vec<RingStep>, overflow: Option<Endpoint>) -> Scene {
    let overflow = overflow.map(|target| Overflow { target, kept: SECOND * 5 });
    let mut scene =
        Scene::user_calls_by(RingPlan { steps, overflow, ..RingPlan::default() }, PreAcceptWhen::Ringing);
    scene.does(&["open record", "open media"]);
    scene.hears(Input::RecordOpened).opened();
    scene
}

fn fails(scene: &mut Scene, fork: u8, status: u16) -> &mut Scene {
    scene.hears(Input::PhoneFailed(Fork(fork), ForkFailure::Status(status)))
}

#[test]
fn busy_declined_unreachable_and_silent_targets_give_way_at_once() {
    for failure in [
        ForkFailure::Status(486),
        ForkFailure::Status(603),
        ForkFailure::Status(503),
        ForkFailure::Status(302),
        ForkFailure::Unreachable,
        ForkFailure::Silent,
    ] {
        let mut scene = begun(vec![together(&["1001"], 12), together(&["1002"], 12)], None);
        scene.does(&["invite 0"]);
        scene.hears(Input::PhoneFailed(Fork(0), failure)).does(&["invite 1"]);
        // The time of the first step is no concern of the second.
        scene.after(SECOND * 11).does(&[]);
        scene.answers(1).does(&["apply phone's answer", "save dialog", "post accept"]);
        assert_eq!(scene.call.record().endpoint, Some(phone("1002")));
    }
}

#[test]
fn a_step_goes_on_while_one_of_its_phones_still_rings() {
    let mut scene = begun(vec![together(&["1001", "1002"], 12), together(&["1003"], 12)], None);
    scene.does(&["invite 0", "invite 1"]);
    fails(&mut scene, 0, 486).does(&[]);
    fails(&mut scene, 1, 486).does(&["invite 2"]);
}

#[test]
fn a_step_whose_time_is_over_leaves_missed_calls_and_the_next_one_rings() {
    let mut scene = begun(vec![together(&["1001", "1002"], 8), together(&["1003"], 8)], None);
    scene.does(&["invite 0", "invite 1"]);
    scene.after(SECOND * 8 - Duration::from_millis(1)).does(&[]);
    scene.after(Duration::from_millis(1)).does(&["cancel 0", "cancel 1", "invite 2"]);
    // What the phones say to the CANCEL is no news.
    fails(&mut scene, 0, 487).does(&[]);
    scene.after(SECOND * 8).does(&["cancel 2", "post reject"]).ended_as(HangupCause::PhoneUnanswered);
}

#[test]
fn one_by_one_each_phone_of_a_step_rings_for_its_whole_time() {
    let mut scene = begun(vec![step(&["1001", "1002", "1003"], 6, RingOrder::OneByOne)], None);
    scene.does(&["invite 0"]);
    scene.after(SECOND * 6).does(&["cancel 0", "invite 1"]);
    fails(&mut scene, 1, 480).does(&["invite 2"]);
    scene.after(SECOND * 6).does(&["cancel 2", "post reject"]);
}

#[test]
fn a_phone_of_the_next_step_rings_on_without_a_break() {
    let mut scene = begun(vec![together(&["1001"], 8), together(&["1001", "1002"], 8)], None);
    scene.does(&["invite 0"]);
    scene.after(SECOND * 8).does(&["invite 1"]);
    scene.answers(0).does(&["apply phone's answer", "cancel 1 elsewhere", "save dialog", "post accept"]);
    assert_eq!(scene.call.record().endpoint, Some(phone("1001")));
}

#[test]
fn who_was_busy_or_declined_is_not_rung_again_and_who_was_away_is() {
    for (status, then) in [(486, &["invite 1"][..]), (603, &["invite 1"]), (480, &["invite 1", "invite 2"])] {
        let mut scene = begun(vec![together(&["1001"], 8), together(&["1001", "1002"], 8)], None);
        scene.does(&["invite 0"]);
        fails(&mut scene, 0, status).does(then);
    }
}

#[test]
fn rule_2_the_window_cuts_the_plan() {
    let mut scene =
        begun(vec![together(&["1001"], 12), together(&["1002"], 30), together(&["1003"], 5)], None);
    scene.does(&["invite 0"]);
    scene.after(SECOND * 12).does(&["cancel 0", "invite 1"]);
    // The second step has what is left of 24 s, the third one nothing.
    scene.after(Duration::from_millis(11_970)).does(&[]);
    scene.after(Duration::from_millis(10)).does(&["cancel 1", "post reject"]);
    scene.ended_as(HangupCause::PhoneUnanswered);
}

#[test]
fn a_step_with_less_than_a_second_left_rings_nobody() {
    let mut scene = begun(vec![together(&["1001"], 23), together(&["1002"], 5)], None);
    scene.does(&["invite 0"]);
    scene.after(Duration::from_millis(23_500)).does(&["cancel 0", "post reject"]);
}

#[test]
fn the_steps_leave_five_seconds_to_the_overflow_and_it_ends_at_the_window() {
    let mut scene = begun(vec![together(&["1001"], 12), together(&["1002"], 12)], Some(mailbox()));
    scene.does(&["invite 0"]);
    scene.after(SECOND * 12).does(&["cancel 0", "invite 1"]);
    scene.after(Duration::from_millis(6_970)).does(&[]);
    scene.after(Duration::from_millis(10)).does(&["cancel 1", "invite 2"]);
    scene.after(Duration::from_millis(4_990)).does(&[]);
    scene.after(Duration::from_millis(10)).does(&["cancel 2", "post reject"]);
}

#[test]
fn the_overflow_gets_at_once_what_nobody_can_take() {
    let mut scene = begun(vec![together(&["1001"], 12)], Some(mailbox()));
    scene.does(&["invite 0"]);
    fails(&mut scene, 0, 486).does(&["invite 1"]);
    scene.answers(1).does(&["apply phone's answer", "save dialog", "post accept"]);
    assert_eq!(scene.call.record().endpoint, Some(mailbox()));
}

#[test]
fn an_overflow_that_fails_ends_the_call_with_what_a_person_said() {
    let mut scene = begun(vec![together(&["1001"], 12)], Some(mailbox()));
    fails(&mut scene, 0, 603);
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Silent));
    scene.does(&["invite 0", "invite 1", "post reject"]).ended_as(HangupCause::PhoneDeclined);
}

#[test]
fn the_answer_of_a_phone_whose_time_was_just_over_still_wins() {
    // The 200 had arrived when the time ran out: the CANCEL that is ordered then finds a dialog.
    let mut scene = begun(vec![together(&["1001"], 8), together(&["1002"], 8)], None);
    scene.does(&["invite 0"]);
    scene.after(SECOND * 8).does(&["cancel 0", "invite 1"]);
    scene.answers(0).does(&["apply phone's answer", "cancel 1 elsewhere", "save dialog", "post accept"]);
    assert_eq!(scene.call.record().endpoint, Some(phone("1001")));
    scene.answers(1).does(&["hang up 1 elsewhere"]);
    // No step begins any more.
    scene.after(SECOND * 9).does(&[]);
    scene.done(ActionKind::Accept).does(&["start dtls", "open gate", "keep record"]);
}

#[test]
fn a_caller_who_gives_up_in_the_second_step_stops_it_and_no_third_one_rings() {
    let mut scene = begun(vec![together(&["1001"], 3), together(&["1002"], 3), together(&["1003"], 3)], None);
    scene.does(&["invite 0"]);
    scene.after(SECOND * 3).does(&["cancel 0", "invite 1"]);
    scene.hears(not_picked_up()).does(&["cancel 1", "close media"]).ended_as(HangupCause::UserCancelled);
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Cancelled)).does(&[]);
    // Longer than the step had left, shorter than the wait for the engine's last word.
    scene.after(SECOND * 4).hears(Input::PhoneFailed(Fork(0), ForkFailure::Cancelled)).does(&[]);
    scene.hears(closed()).does(&["close record"]);
}

#[test]
fn rule_3_pre_accept_waits_for_the_first_ringing_of_any_step() {
    let mut scene = begun(vec![together(&["1001"], 5), together(&["1002"], 5)], None);
    scene.does(&["invite 0"]);
    fails(&mut scene, 0, 486).does(&["invite 1"]);
    scene.hears(Input::PhoneRang(Fork(1), None)).does(&["post pre_accept"]);
    scene.after(SECOND * 5).does(&["cancel 1"]).ended_as(HangupCause::PhoneBusy);
    scene.done(ActionKind::PreAccept).does(&["post terminate"]);
}

#[test]
fn rule_3_a_plan_without_targets_is_rejected_without_pre_accept() {
    let mut scene = Scene::user_calls_by(RingPlan::default(), PreAcceptWhen::AtOnce);
    scene.does(&["open record", "post reject"]).ended_as(HangupCause::PhoneUnreachable);
}

#[test]
fn a_transfer_after_a_plan_names_the_legs_on() {
    let mut scene = begun(vec![together(&["1001"], 5), together(&["1002"], 5)], None);
    fails(&mut scene, 0, 486).answers(1).done(ActionKind::Accept);
    scene.outputs();
    let target = TransferTarget::Ring(phone("1003"));
    scene.hears(Input::PhoneReferred { fork: Fork(1), id: crate::sip::ReferralId(5), target });
    scene.hears(Input::NextPhoneOffered("offer".into()));
    scene.does(&["accept referral 1", "offer to next phone", "invite 2", "play"]);
}

#[test]
fn a_phone_that_forwards_its_calls_gives_way_and_the_cause_says_what_to_do() {
    let mut scene = begun(vec![together(&["1001"], 12)], None);
    scene.outputs();
    fails(&mut scene, 0, 302).ended_as(HangupCause::PhoneForwards);
    assert_eq!(HangupCause::PhoneForwards.verdict().label, "phone_forwards");
}
