//! Attended transfers by REFER with Replaces, and calls taken over by INVITE with Replaces (RFC 3891).

use super::from_user::talking;
use super::*;
use crate::id::LegId;
use crate::sip::ReferralId;

const REFERRAL: ReferralId = ReferralId(5);

fn trunk(number: &str) -> Endpoint {
    Endpoint::Trunk("pbx".into(), number.to_owned())
}

fn joined(with: Endpoint, reached: Reached) -> Input {
    let target = TransferTarget::Join(Joined { leg: LegId(9), with, reached });
    Input::PhoneReferred { fork: Fork(0), id: REFERRAL, target }
}

fn newcomer(replaced: u8) -> Input {
    let (leg, endpoint, offer) = (LegId(9), phone("1003"), "offer".to_owned());
    Input::PhoneTookOver(TakeOver { leg, endpoint, replaced: Fork(replaced), offer })
}

/// Phone 0 wants the user to talk to whom it has talked to, who has our offer.
fn offered(with: Endpoint) -> Scene {
    let mut scene = talking();
    scene.hears(joined(with, Reached::Answered));
    scene.does(&["accept referral 0", "adopt 1 leg9", "offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("offer".into())).does(&["re-offer 1"]);
    scene
}

const JOINED: [&str; 5] = ["take next phone", "keep leg", "stop playing", "keep record", "tell 0 200 last"];

#[test]
fn rule_24_an_attended_transfer_moves_the_user_to_the_leg_of_the_consultation() {
    for with in [phone("1002"), trunk("200")] {
        let mut scene = offered(with.clone());
        scene.hears(Input::PhoneReanswered(Fork(1), "answer".into())).does(&JOINED);
        assert_eq!((&scene.call.record().endpoint, scene.call.talking_leg()), (&Some(with), Some(Fork(1))));
        scene.after(Duration::from_secs(2)).does(&["hang up 0 transferred"]);
        scene.hears(Input::PhoneHungUp(Fork(1))).does(&["post terminate"]).ended_as(HangupCause::PhoneHungUp);
    }
}

#[test]
fn rule_24_the_bye_of_who_joins_its_calls_never_ends_the_users() {
    let mut scene = offered(phone("1002"));
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&[]);
    scene.hears(Input::PhoneReanswered(Fork(1), "answer".into())).does(&JOINED[..4]);
    assert!(scene.call.is_bridged());
}

#[test]
fn who_does_not_take_the_offer_or_hangs_up_leaves_the_user_where_it_was() {
    for (input, told) in [
        (Input::PhoneOfferRefused(Fork(1), 488), "tell 0 488 last"),
        (Input::PhoneHungUp(Fork(1)), "tell 0 480 last"),
        (Input::PhoneExpired(Fork(1)), "tell 0 480 last"),
    ] {
        let mut scene = offered(phone("1002"));
        scene.hears(input).does(&["give back", "drop next phone", "stop playing", told]);
        assert_eq!((scene.call.talking_leg(), scene.call.is_bridged()), (Some(Fork(0)), true));
        scene.hears(joined(phone("1002"), Reached::Answered));
        scene.does(&["accept referral 0", "adopt 2 leg9", "offer to next phone"]);
    }
    // What it answered cannot be used.
    let mut scene = offered(phone("1002"));
    scene.hears(Input::PhoneReanswered(Fork(1), "answer".into())).outputs();
    scene.hears(Input::NextPhoneRefused).does(&["hang up 1"]);
    assert_eq!(scene.call.talking_leg(), Some(Fork(0)));
}

#[test]
fn a_user_who_hangs_up_meanwhile_leaves_the_consultation_to_its_own_call() {
    let mut scene = offered(phone("1002"));
    scene.hears(picked_up(start().wall, 60)).does(&["hang up 0", "give back", "close media"]);
    scene.ended_as(HangupCause::UserHungUp);
}

#[test]
fn a_consultation_that_still_rings_rings_on_for_the_user() {
    let mut scene = talking();
    scene.hears(joined(phone("1002"), Reached::Ringing));
    scene.does(&["accept referral 0", "adopt 1 leg9", "play"]);
    scene.hears(Input::PhoneRang(Fork(1), None)).does(&["tell 0 180"]);
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&[]);
    scene.answers(1).does(&["offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("offer".into())).does(&["re-offer 1"]);
    scene.hears(Input::PhoneReanswered(Fork(1), "answer".into())).does(&JOINED[..4]);
    // Declined instead: the call goes back to who had it.
    let mut scene = talking();
    scene.hears(joined(phone("1002"), Reached::Ringing)).hears(Input::PhoneHungUp(Fork(0))).outputs();
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Status(486)));
    scene.does(&["give back", "drop next phone", "stop playing", "offer to next phone"]);
    scene.hears(Input::NextPhoneOffered("offer".into())).does(&["invite 2", "play"]);
}

#[test]
fn a_phone_that_calls_with_replaces_has_the_call_at_once_and_the_one_before_is_hung_up_on() {
    let mut scene = talking();
    scene.hears(newcomer(0)).does(&["adopt 1 leg9", "answer next phone"]);
    scene.hears(Input::NextPhoneAnswered("ours".into()));
    scene.does(&[
        "switch to next phone",
        "accept phone 1",
        "stop playing",
        "keep record",
        "hang up 0 elsewhere",
    ]);
    assert_eq!(scene.call.record().endpoint, Some(phone("1003")));
    scene.hears(Input::PhoneConfirmed(Fork(1), dialog())).does(&["save dialog"]);
    // Nobody takes the place of a leg that does not talk.
    scene.hears(newcomer(0)).does(&["adopt 2 leg9", "refuse 2 480"]);
    scene.hears(newcomer(1)).does(&["adopt 3 leg9", "answer next phone"]);
    scene.hears(Input::NextPhoneRefused).does(&["refuse 3 488"]);
    assert_eq!((scene.call.talking_leg(), scene.call.is_bridged()), (Some(Fork(1)), true));
    // It gives up before it is answered.
    scene.hears(newcomer(1)).outputs();
    scene.hears(Input::PhoneCancelled(Fork(4))).does(&["drop next phone", "stop playing"]);
    scene.hears(Input::PhoneHungUp(Fork(1))).does(&["post terminate"]).ended_as(HangupCause::PhoneHungUp);
}
