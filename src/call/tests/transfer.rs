//! Transfers by REFER (rule 24).

use super::from_user::talking;
use super::*;
use crate::sip::ReferralId;

const REFERRAL: ReferralId = ReferralId(5);

fn refers(scene: &mut Scene, fork: u8, target: TransferTarget) -> &mut Scene {
    scene.hears(Input::PhoneReferred { fork: Fork(fork), id: REFERRAL, target })
}

/// A call that phone 0 hands to phone 1002, which rings as fork 1.
fn ringing_elsewhere() -> Scene {
    let mut scene = talking();
    refers(&mut scene, 0, TransferTarget::Ring(phone("1002")));
    scene.does(&["accept referral 0", "offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("offer".into())).does(&["invite 1", "play"]);
    scene.hears(Input::PhoneRang(Fork(1), None)).does(&["tell 0 180"]);
    scene
}

const TAKEN: [&str; 5] = ["take next phone", "save dialog", "stop playing", "keep record", "tell 0 200 last"];

#[test]
fn rule_24_a_blind_transfer_moves_the_user_when_the_new_phone_answers_and_whatsapp_hears_nothing_of_it() {
    let mut scene = ringing_elsewhere();
    scene.answers(1).does(&TAKEN);
    assert_eq!(scene.call.record().endpoint, Some(phone("1002")));
    assert_eq!(scene.call.talking_leg(), Some(Fork(1)));
    // Its own BYE is the usual end of who has handed the call over.
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&[]);
    scene.after(Duration::from_secs(10)).does(&[]);
    scene.hears(Input::PhoneHungUp(Fork(1))).does(&["post terminate"]).ended_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_phone_that_has_handed_the_call_over_and_stays_is_hung_up_on() {
    let mut scene = ringing_elsewhere();
    scene.answers(1).does(&TAKEN);
    scene.hears(Input::PhoneReoffered(Fork(0), Some("hold".into()))).does(&["refuse re-offer"]);
    scene.hears(Input::PhoneReanswered(Fork(0), "late".into())).does(&[]);
    scene.after(Duration::from_secs(2)).does(&["hang up 0 transferred"]);
    scene.hears(picked_up(start().wall, 60)).does(&["hang up 1", "close media"]);
}

#[test]
fn rule_24_the_bye_after_202_never_ends_the_whatsapp_leg() {
    let mut scene = ringing_elsewhere();
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&[]);
    assert!(scene.call.is_bridged());
    // Nobody is there any more to be told of the rest.
    scene.answers(1).does(&["take next phone", "save dialog", "stop playing", "keep record"]);
    scene.after(Duration::from_secs(10)).does(&[]);
}

#[test]
fn whoever_asked_keeps_the_call_when_nobody_takes_it() {
    for (failure, told) in [
        (ForkFailure::Status(486), "tell 0 486 last"),
        (ForkFailure::Status(603), "tell 0 603 last"),
        (ForkFailure::Unreachable, "tell 0 480 last"),
    ] {
        let mut scene = ringing_elsewhere();
        scene.hears(Input::PhoneFailed(Fork(1), failure)).does(&["drop next phone", "stop playing", told]);
        assert_eq!((scene.call.talking_leg(), scene.call.is_bridged()), (Some(Fork(0)), true));
        scene.hears(Input::PhoneReoffered(Fork(0), None)).does(&["answer re-offer"]);
        // And may try somebody else.
        refers(&mut scene, 0, TransferTarget::Ring(phone("1003")));
        scene.does(&["accept referral 0", "offer to next phone"]);
        scene.hears(Input::NextPhoneOffered("offer".into())).does(&["invite 2", "play"]);
    }
}

#[test]
fn a_phone_that_rings_too_long_is_given_up_and_its_late_answer_changes_nothing() {
    let mut scene = ringing_elsewhere();
    scene.after(Duration::from_secs(40));
    scene.does(&["cancel 1", "drop next phone", "stop playing", "tell 0 408 last"]);
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Cancelled)).does(&[]);
    assert!(scene.call.is_bridged());
}

#[test]
fn a_call_that_nobody_took_goes_back_to_who_handed_it_over_and_ends_if_that_fails_too() {
    let mut scene = ringing_elsewhere();
    scene.hears(Input::PhoneHungUp(Fork(0)));
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Status(486)));
    scene.does(&["drop next phone", "stop playing", "offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("offer".into()));
    let outputs = scene.outputs();
    assert!(
        matches!(&outputs[..], [Output::Invite { target, fork: Fork(2), .. }, Output::Play(_)] if *target == phone("1001")),
        "{outputs:?}"
    );
    scene.hears(Input::PhoneFailed(Fork(2), ForkFailure::Status(480)));
    scene.does(&["drop next phone", "stop playing", "post terminate"]).ended_as(HangupCause::TransferFailed);
}

#[test]
fn a_user_who_hangs_up_during_a_transfer_ends_all_of_it() {
    let mut scene = ringing_elsewhere();
    scene.hears(picked_up(start().wall, 60)).does(&["hang up 0", "cancel 1", "close media"]);
    scene.ended_as(HangupCause::UserHungUp);
}

#[test]
fn a_transfer_is_refused_before_the_talk_while_another_goes_on_and_where_the_dial_plan_says_so() {
    let mut scene = ringing_elsewhere();
    refers(&mut scene, 0, TransferTarget::Ring(phone("1003"))).does(&["refuse referral 0 491"]);
    scene.answers(1).outputs();
    refers(&mut scene, 0, TransferTarget::Ring(phone("1003"))).does(&["refuse referral 0 491"]);
    refers(&mut scene, 1, TransferTarget::Refused(403)).does(&["refuse referral 1 403"]);
    refers(&mut scene, 1, TransferTarget::Ring(phone("1001")))
        .does(&["accept referral 1", "offer to next phone"]);
}

#[test]
fn a_new_phone_whose_answer_cannot_be_used_is_hung_up_on_and_the_old_one_talks_on() {
    let mut scene = ringing_elsewhere();
    scene.answers(1).outputs();
    scene.hears(Input::NextPhoneRefused).does(&["hang up 1"]);
    assert_eq!((scene.call.talking_leg(), scene.call.is_bridged()), (Some(Fork(0)), true));
    scene.hears(Input::PhoneHungUp(Fork(0))).ended_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_phone_whose_session_expires_during_its_transfer_is_gone_but_the_call_is_not() {
    let mut scene = ringing_elsewhere();
    scene.hears(Input::PhoneExpired(Fork(0))).does(&[]);
    scene.answers(1);
    assert!(scene.call.is_bridged());
    scene.outputs();
    scene.hears(Input::PhoneExpired(Fork(1))).does(&["post terminate"]).ended_as(HangupCause::SessionExpired);
}
