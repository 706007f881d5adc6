//! Phones that come and go by feature codes: pick-up, parking, fetching, and every race on the way.

use super::from_user::{ringing, talking};
use super::*;
use crate::sip::ReferralId;

const REFERRAL: ReferralId = ReferralId(5);

fn joiner(name: &str) -> Joiner {
    let offer = Some(format!("offer of {name}"));
    Joiner { endpoint: phone(name), offer, sip_call_id: format!("call of {name}") }
}

fn order() -> ParkingOrder {
    let timeout = Duration::from_secs(120);
    ParkingOrder { place: ParkingPlace(701), timeout, overflow: Some(phone("1009")) }
}

/// Phone `name` asks for the call; the name of its leg.
#[track_caller]
fn joins(scene: &mut Scene, name: &str) -> Fork {
    let fork = scene.call.join(scene.now, joiner(name)).expect("the call is to be had");
    scene.does(&["answer next phone"]);
    fork
}

/// Two phones ring, `pre_accept` is done, and phone 1003 has dialled the code.
fn picking_up() -> Scene {
    let mut scene = ringing(&["1001", "1002"]);
    scene.done(ActionKind::PreAccept).does(&["start dtls"]);
    assert_eq!(scene.call.ringing().collect::<Vec<_>>(), [&phone("1001"), &phone("1002")]);
    assert_eq!(joins(&mut scene, "1003"), Fork(2));
    scene
}

fn prepared() -> Input {
    Input::NextPhoneAnswered("ours to 1003".into())
}

/// A call that phone 0 has parked by REFER and left.
fn parked() -> Scene {
    let mut scene = talking();
    scene.hears(Input::PhoneReferred { fork: Fork(0), id: REFERRAL, target: TransferTarget::Park(order()) });
    scene.does(&["accept referral 0", "tell parked", "leave phone", "play"]);
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&[]);
    assert_eq!((scene.call.parked_at(), scene.call.talking_leg()), (Some(ParkingPlace(701)), None));
    assert_eq!(scene.call.parked_by(), Some(&phone("1001")));
    scene
}

const FETCHED: [&str; 4] = ["switch to next phone", "stop playing", "accept phone 1", "keep record"];

#[test]
fn a_call_that_rings_elsewhere_is_picked_up_and_the_others_hear_that_it_was_answered_elsewhere() {
    let mut scene = picking_up();
    let taken = ["switch to next phone", "cancel 0 elsewhere", "cancel 1 elsewhere", "post accept"];
    scene.hears(prepared()).does(&taken);
    scene.hears(Input::DtlsUp);
    scene.done(ActionKind::Accept).does(&["accept phone 2", "open gate", "keep record"]);
    assert!(scene.call.is_bridged());
    let record = scene.call.record();
    assert_eq!(
        (&record.endpoint, record.sip_call_id.as_deref()),
        (&Some(phone("1003")), Some("call of 1003"))
    );
    scene.hears(Input::PhoneConfirmed(Fork(2), dialog())).does(&["save dialog"]);
    scene.hears(Input::PhoneHungUp(Fork(2))).ended_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_phone_that_answers_while_another_picks_up_has_the_call_and_the_other_is_told_so() {
    let mut scene = picking_up();
    scene.answers(1);
    scene.does(&[
        "refuse 2 404",
        "drop next phone",
        "apply phone's answer",
        "cancel 0 elsewhere",
        "save dialog",
        "post accept",
    ]);
    scene.hears(prepared()).does(&[]);
    assert_eq!(scene.call.talking_leg(), Some(Fork(1)));
}

#[test]
fn a_200_that_crosses_our_cancel_is_hung_up_on_and_the_phone_that_picked_up_keeps_the_call() {
    let mut scene = picking_up();
    scene.hears(prepared()).outputs();
    scene.answers(0).does(&["hang up 0 elsewhere"]);
    assert_eq!(scene.call.talking_leg(), Some(Fork(2)));
}

#[test]
fn a_phone_that_takes_its_pick_up_back_at_once_disturbs_nobody() {
    let mut scene = picking_up();
    scene.hears(Input::PhoneCancelled(Fork(2))).does(&["drop next phone"]);
    scene.hears(prepared()).does(&[]);
    // The phones ring on, and others may try.
    scene.answers(0).does(&["apply phone's answer", "cancel 1 elsewhere", "save dialog", "post accept"]);
}

#[test]
fn a_phone_that_takes_its_pick_up_back_while_meta_accepts_ends_the_call() {
    let mut scene = picking_up();
    scene.hears(prepared()).outputs();
    scene.hears(Input::PhoneCancelled(Fork(2))).does(&[]).ended_as(HangupCause::PhoneCancelled);
    scene.done(ActionKind::Accept).does(&["post terminate"]);
}

#[test]
fn a_phone_without_a_common_codec_cannot_pick_up_and_the_others_ring_on() {
    let mut scene = picking_up();
    scene.hears(Input::NextPhoneRefused).does(&["refuse 2 488"]);
    assert_eq!(joins(&mut scene, "1004"), Fork(3));
}

#[test]
fn of_two_phones_that_pick_up_the_first_has_the_call() {
    let mut scene = picking_up();
    assert_eq!(scene.call.join(scene.now, joiner("1004")), None);
    scene.hears(prepared()).outputs();
    assert_eq!(scene.call.join(scene.now, joiner("1004")), None);
    assert_eq!(scene.call.ringing().count(), 0);
}

#[test]
fn a_user_who_gives_up_during_the_pick_up_ends_all_of_it() {
    let mut scene = picking_up();
    scene.hears(not_picked_up()).does(&["cancel 0", "cancel 1", "refuse 2 487", "close media"]);
    scene.hears(prepared()).does(&[]);
    let mut scene = picking_up();
    scene.hears(prepared()).outputs();
    scene.hears(not_picked_up()).does(&["refuse 2 487", "close media"]);
}

#[test]
fn meta_that_refuses_to_accept_refuses_the_phone_that_picked_up() {
    let mut scene = picking_up();
    scene.hears(prepared()).outputs();
    scene.hears(Input::GraphFailed(ActionKind::Accept, crate::whatsapp::Failure::TimedOut));
    scene.does(&["refuse 2 503", "post terminate"]).ended_as(HangupCause::GraphTimedOut);
}

#[test]
fn a_phone_that_leaves_the_offer_to_us_picks_up_and_answers_in_its_ack() {
    let mut scene = ringing(&["1001"]);
    scene.done(ActionKind::PreAccept).outputs();
    let fork = scene.call.join(scene.now, Joiner { offer: None, ..joiner("1003") });
    assert_eq!(fork, Some(Fork(1)));
    scene.does(&["offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("ours".into())).does(&["cancel 0 elsewhere", "post accept"]);
    scene.done(ActionKind::Accept).does(&["accept phone 1", "open gate", "keep record"]);
    scene.hears(Input::PhoneReanswered(Fork(1), "theirs".into())).does(&["take next phone"]);
    scene.hears(Input::PhoneReanswered(Fork(1), "later".into())).does(&["apply phone's re-answer"]);
}

#[test]
fn nobody_can_join_a_call_that_nobody_rings_for() {
    let mut scene = talking();
    assert_eq!((scene.call.join(scene.now, joiner("1003")), scene.call.ringing().count()), (None, 0));
    scene.hears(picked_up(start().wall, 9)).outputs();
    assert_eq!(scene.call.join(scene.now, joiner("1003")), None);
    let mut dialling = Scene::phone_calls(AnswerOn::Accepted);
    assert_eq!(dialling.call.join(dialling.now, joiner("1003")), None);
}

#[test]
fn a_parked_call_is_fetched_by_any_phone_and_whatsapp_is_told_nothing() {
    let mut scene = parked();
    joins(&mut scene, "1002");
    scene.hears(prepared()).does(&FETCHED);
    assert_eq!((scene.call.parked_at(), scene.call.talking_leg()), (None, Some(Fork(1))));
    assert_eq!(scene.call.record().endpoint, Some(phone("1002")));
    // Its time is over long after that.
    scene.after(Duration::from_secs(300)).does(&[]);
    scene.hears(Input::PhoneHungUp(Fork(1))).does(&["post terminate"]).ended_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_phone_that_parked_the_call_and_stays_is_hung_up_on_and_cannot_change_anything() {
    let mut scene = talking();
    scene.hears(Input::PhoneReferred { fork: Fork(0), id: REFERRAL, target: TransferTarget::Park(order()) });
    scene.outputs();
    scene.hears(Input::PhoneReoffered(Fork(0), Some("hold".into()))).does(&["refuse re-offer"]);
    scene.after(Duration::from_secs(2)).does(&["hang up 0 transferred"]);
    assert!(scene.call.is_bridged());
}

#[test]
fn a_call_that_nobody_fetches_rings_at_who_parked_it_then_overflows_and_ends_in_the_end() {
    let mut scene = parked();
    scene.after(Duration::from_secs(120)).does(&["offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("offer".into()));
    let rings = |outputs: Vec<Output>, name: &str| {
        assert!(
            matches!(&outputs[..], [Output::Invite { target, .. }, Output::Play(_)] if *target == phone(name))
        );
    };
    rings(scene.outputs(), "1001");
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Status(486)));
    scene.does(&["drop next phone", "stop playing", "offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("offer".into()));
    rings(scene.outputs(), "1009");
    scene.hears(Input::PhoneFailed(Fork(2), ForkFailure::TimedOut));
    scene.does(&["drop next phone", "stop playing", "post terminate"]).ended_as(HangupCause::NotFetched);
}

#[test]
fn who_parked_the_call_takes_it_back_and_the_place_is_free() {
    let mut scene = parked();
    scene.after(Duration::from_secs(120)).hears(Input::NextPhoneOffered("offer".into())).outputs();
    scene.answers(1).does(&["take next phone", "save dialog", "stop playing", "keep record"]);
    assert_eq!((scene.call.parked_at(), scene.call.talking_leg()), (None, Some(Fork(1))));
}

#[test]
fn a_call_that_goes_back_can_still_be_fetched_and_the_crossing_200_is_hung_up_on() {
    let mut scene = parked();
    scene.after(Duration::from_secs(120)).hears(Input::NextPhoneOffered("offer".into())).outputs();
    assert_eq!(scene.call.join(scene.now, joiner("1002")), Some(Fork(2)));
    scene.does(&["cancel 1 elsewhere", "drop next phone", "answer next phone"]);
    scene.answers(1).does(&["hang up 1 elsewhere"]);
    scene.hears(prepared()).does(&["switch to next phone", "stop playing", "accept phone 2", "keep record"]);
    assert_eq!(scene.call.talking_leg(), Some(Fork(2)));
}

#[test]
fn a_phone_that_takes_its_fetching_back_leaves_the_call_parked_for_another_while() {
    let mut scene = parked();
    scene.after(Duration::from_secs(119));
    joins(&mut scene, "1002");
    scene.hears(Input::PhoneCancelled(Fork(1))).does(&["drop next phone", "play"]);
    assert_eq!(scene.call.parked_at(), Some(ParkingPlace(701)));
    scene.after(Duration::from_secs(119)).does(&[]);
    scene.after(Duration::from_secs(1)).does(&["offer to next phone"]);
}

#[test]
fn a_user_who_hangs_up_in_the_parking_place_frees_it() {
    let mut scene = parked();
    scene.hears(picked_up(start().wall, 60)).does(&["close media"]).ended_as(HangupCause::UserHungUp);
    assert_eq!(scene.call.parked_at(), None);
    let mut scene = parked();
    joins(&mut scene, "1002");
    scene.hears(picked_up(start().wall, 60)).does(&["refuse 1 480", "close media"]);
}

#[test]
fn a_call_parked_by_keys_tells_its_place_before_it_lets_the_phone_go() {
    let mut scene = talking();
    scene.hears(Input::PhoneParked(Fork(0), order())).does(&["tell place", "play"]);
    assert_eq!((scene.call.parked_at(), scene.call.talking_leg()), (Some(ParkingPlace(701)), None));
    scene.hears(Input::PlaceTold).does(&["leave phone", "hang up 0 parked 701"]);
    // A phone that hangs up by itself meanwhile leaves the call where it is.
    let mut scene = talking();
    scene.hears(Input::PhoneParked(Fork(0), order())).outputs();
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&["leave phone"]);
    scene.hears(Input::PlaceTold).does(&[]);
    assert!(scene.call.is_bridged());
}

#[test]
fn only_the_phone_that_talks_can_park_and_not_during_a_transfer() {
    let park = |fork| Input::PhoneReferred { fork, id: REFERRAL, target: TransferTarget::Park(order()) };
    let mut scene = talking();
    scene.hears(Input::PhoneReferred {
        fork: Fork(0),
        id: REFERRAL,
        target: TransferTarget::Ring(phone("1002")),
    });
    scene.outputs();
    scene.hears(park(Fork(0))).does(&["refuse referral 0 491"]);
    scene.hears(Input::PhoneParked(Fork(0), order())).does(&[]);
    let mut scene = parked();
    scene.hears(park(Fork(0))).does(&["refuse referral 0 491"]);
}
