//! Stories of calls between desks: inputs in, exactly these outputs out, on a virtual clock.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::call::input::TakeOver;
use crate::call::transfer::{Joined, TransferTarget};
use crate::id::{CallId, LegId};
use crate::random::Random;
use crate::sip::{DialogSnapshot, Flow, ReferralId, Telling};
use crate::time::Wall;

struct Scene {
    call: DeskCall,
    now: Now,
}

const ID: ReferralId = ReferralId(5);

fn phone(name: &str) -> Endpoint {
    Endpoint::Phone(name.into())
}

fn dialog() -> Box<DialogSnapshot> {
    let here = "127.0.0.1:5060".parse().expect("an address");
    Box::new(DialogSnapshot {
        call_id: "call".into(),
        local_tag: "ours".into(),
        remote_tag: "theirs".into(),
        local_uri: "sip:1001@pbx.example".into(),
        remote_uri: "sip:1002@pbx.example".into(),
        remote_target: "sip:1002@127.0.0.1:5062".into(),
        route_set: Vec::new(),
        local_cseq: 1,
        flow: Flow::udp(here, here),
    })
}

fn spell(output: &DeskOutput) -> String {
    let end = |end: &LegEnd| match end {
        LegEnd::CompletedElsewhere => " elsewhere",
        LegEnd::Transferred => " transferred",
        LegEnd::Parked(_) => " parked",
        LegEnd::Verdict(_) => "",
    };
    match output {
        DeskOutput::Invite { fork, target, .. } => format!("invite {} {target}", fork.0),
        DeskOutput::Cancel(fork, how) => format!("cancel {}{}", fork.0, end(how)),
        DeskOutput::HangUp(fork, how) => format!("hang up {}{}", fork.0, end(how)),
        DeskOutput::Ring(fork, sdp) => {
            format!("ring {}{}", fork.0, if sdp.is_some() { " early" } else { "" })
        }
        DeskOutput::Accept(fork, _) => format!("accept {}", fork.0),
        DeskOutput::Refuse(fork, verdict, status) => {
            format!("refuse {} {}", fork.0, status.unwrap_or(verdict.sip))
        }
        DeskOutput::Reoffer(fork, _) => format!("re-offer {}", fork.0),
        DeskOutput::AnswerReoffer(fork, sdp) => {
            format!("{} re-offer {}", if sdp.is_some() { "answer" } else { "refuse" }, fork.0)
        }
        DeskOutput::Adopt(fork, leg) => format!("adopt {} {leg}", fork.0),
        DeskOutput::Keep(fork) => format!("keep {}", fork.0),
        DeskOutput::GiveBack(fork) => format!("give back {}", fork.0),
        DeskOutput::AnswerReferral(fork, _, Ok(())) => format!("accept referral {}", fork.0),
        DeskOutput::AnswerReferral(fork, _, Err(status)) => format!("refuse referral {} {status}", fork.0),
        DeskOutput::TellReferral { fork, status, telling, .. } => {
            format!("tell {} {}{}", fork.0, status.0, if *telling == Telling::Last { " last" } else { "" })
        }
        other => other.name().to_owned(),
    }
}

impl Scene {
    /// 1001 calls 1002; the record is open.
    fn new(offer: Option<&str>) -> Self {
        let now = Now { mono: Instant::now(), wall: Wall::from_secs(1_791_900_000) };
        let record = DeskRecord::new(CallId(7), phone("1001"), phone("1002"), now.wall, "call".into());
        let call = DeskCall::new(record, DeskTimes::default(), offer.map(str::to_owned));
        let mut scene = Self { call, now };
        scene.does(&["open record"]).hears(Input::RecordOpened).does(&["open media"]);
        scene
    }

    fn ringing() -> Self {
        let mut scene = Self::new(Some("offer"));
        scene.told(DeskMedia::Opened("ours".into())).does(&["invite 1 phone 1002"]);
        scene.hears(Input::PhoneRang(Fork(1), None)).does(&["ring 0"]);
        scene
    }

    fn talking() -> Self {
        let mut scene = Self::ringing();
        scene.answers(1).does(&["save dialog", "media takes answer", "media describes", "keep record"]);
        scene.told(DeskMedia::Described(Seat::Caller, "ours".into())).does(&["accept 0"]);
        scene.hears(Input::PhoneConfirmed(Fork(0), dialog())).does(&["save dialog"]);
        assert!(scene.call.is_up());
        scene
    }

    fn answers(&mut self, fork: u8) -> &mut Self {
        self.hears(Input::PhoneAnswered { fork: Fork(fork), sdp: "answer".into(), dialog: dialog() })
    }

    fn hears(&mut self, input: Input) -> &mut Self {
        self.now = self.now.after(Duration::from_millis(10));
        self.call.handle_input(self.now, input);
        self
    }

    fn told(&mut self, told: DeskMedia) -> &mut Self {
        self.hears(Input::Desk(told))
    }

    fn after(&mut self, by: Duration) -> &mut Self {
        self.now = self.now.after(by);
        self.call.handle_timeout(self.now);
        self
    }

    #[track_caller]
    fn does(&mut self, expected: &[&str]) -> &mut Self {
        let names: Vec<_> =
            std::iter::from_fn(|| self.call.poll_output()).map(|output| spell(&output)).collect();
        assert_eq!(names, expected);
        self
    }

    #[track_caller]
    fn ends_as(&mut self, cause: HangupCause) {
        assert_eq!(self.call.cause(), Some(cause));
        self.told(DeskMedia::Closed(MediaClosing {
            line: "PCMU/8000 as it is".into(),
            quality_json: "{}".into(),
        }));
        self.does(&["close record"]);
        assert!(self.call.is_over() && self.call.poll_timeout().is_none());
        assert_eq!(self.call.record().cause.as_deref(), Some(cause.verdict().label));
    }

    fn refers(&mut self, fork: u8, target: TransferTarget) -> &mut Self {
        self.hears(Input::PhoneReferred { fork: Fork(fork), id: ID, target })
    }
}

fn joined(reached: Reached) -> TransferTarget {
    TransferTarget::Join(Joined { leg: LegId(9), with: phone("1003"), reached })
}

#[test]
fn rule_25_one_phone_calls_another_and_either_ends_it() {
    let mut scene = Scene::talking();
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&["hang up 1", "close media"]);
    scene.ends_as(HangupCause::PhoneHungUp);
    let mut scene = Scene::talking();
    scene.hears(Input::PhoneHungUp(Fork(1))).does(&["hang up 0", "close media"]);
    scene.ends_as(HangupCause::PhoneHungUp);
}

#[test]
fn early_media_of_the_callee_is_heard_by_a_caller_who_made_an_offer() {
    let mut scene = Scene::new(Some("offer"));
    scene.told(DeskMedia::Opened("ours".into())).does(&["invite 1 phone 1002"]);
    scene
        .hears(Input::PhoneRang(Fork(1), Some("early".into())))
        .does(&["media takes answer", "media describes"]);
    scene.told(DeskMedia::Described(Seat::Caller, "ours".into())).does(&["ring 0 early"]);
    scene.answers(1).told(DeskMedia::Described(Seat::Caller, "ours".into()));
    scene.does(&["save dialog", "media takes answer", "media describes", "keep record", "accept 0"]);
    // Who left the offer to us gets it with the answer.
    let mut scene = Scene::new(None);
    scene.told(DeskMedia::Opened("ours".into())).does(&["invite 1 phone 1002"]);
    scene.hears(Input::PhoneRang(Fork(1), Some("early".into()))).does(&["ring 0"]);
    scene.answers(1).does(&["save dialog", "media takes answer", "media describes", "keep record"]);
    scene.told(DeskMedia::Described(Seat::Caller, "offer".into())).does(&["accept 0"]);
    scene.hears(Input::PhoneReanswered(Fork(0), "answer".into())).does(&["media takes answer"]);
}

#[test]
fn the_caller_hears_of_the_far_sides_own_status_where_it_means_something_to_it() {
    for (failure, status, cause) in [
        (ForkFailure::Status(486), 486, HangupCause::PhoneBusy),
        (ForkFailure::Status(603), 603, HangupCause::PhoneDeclined),
        (ForkFailure::Status(404), 404, HangupCause::PhoneFailed),
        (ForkFailure::Status(302), 480, HangupCause::PhoneForwards),
        (ForkFailure::Status(407), 480, HangupCause::PhoneFailed),
        (ForkFailure::Status(488), 488, HangupCause::PhoneMediaRefused),
        (ForkFailure::Unreachable, 480, HangupCause::PhoneUnreachable),
        (ForkFailure::TimedOut, 480, HangupCause::PhoneUnanswered),
    ] {
        let mut scene = Scene::ringing();
        scene
            .hears(Input::PhoneFailed(Fork(1), failure))
            .does(&[&format!("refuse 0 {status}"), "close media"]);
        scene.ends_as(cause);
    }
}

#[test]
fn a_caller_who_gives_up_and_a_callee_who_never_answers_leave_nobody_ringing() {
    let mut scene = Scene::ringing();
    scene.hears(Input::PhoneCancelled(Fork(0))).does(&["cancel 1", "close media"]);
    // Its answer crossed our CANCEL.
    scene.answers(1).does(&["hang up 1"]);
    scene.ends_as(HangupCause::PhoneCancelled);
    let mut scene = Scene::ringing();
    scene.after(Duration::from_secs(180)).does(&["refuse 0 480", "cancel 1", "close media"]);
    scene.ends_as(HangupCause::PhoneUnanswered);
}

#[test]
fn a_caller_who_gives_up_while_ports_are_opened_leaves_none_open() {
    let mut scene = Scene::new(Some("offer"));
    scene.hears(Input::PhoneCancelled(Fork(0))).does(&[]);
    scene.told(DeskMedia::Opened("ours".into())).does(&["close media"]);
    scene.ends_as(HangupCause::PhoneCancelled);
    let mut scene = Scene::new(Some("offer"));
    scene.hears(Input::MediaRefused(MediaRefusal::PhoneOffer)).does(&["refuse 0 488", "close record"]);
    assert!(scene.call.is_over());
}

#[test]
fn rule_16_hold_and_resume_stay_between_a_phone_and_us() {
    let mut scene = Scene::talking();
    for (fork, seat) in [(0, Seat::Caller), (1, Seat::Callee)] {
        scene.hears(Input::PhoneReoffered(Fork(fork), Some("hold".into()))).does(&["media answers re-offer"]);
        scene.told(DeskMedia::ReofferAnswered(seat, "held".into()));
        scene.does(&[&format!("answer re-offer {fork}")]);
        scene
            .hears(Input::PhoneReoffered(Fork(fork), Some("video".into())))
            .does(&["media answers re-offer"]);
        scene.told(DeskMedia::ReofferRefused(seat)).does(&[&format!("refuse re-offer {fork}")]);
    }
}

#[test]
fn a_phone_that_nobody_hears_of_any_more_ends_the_call() {
    for (input, gone, there) in [
        (Input::PhoneExpired(Fork(1)), HangupCause::SessionExpired, 0),
        (Input::PhoneAckMissed, HangupCause::PhoneLost, 1),
    ] {
        let mut scene = Scene::talking();
        scene.hears(input).does(&[&format!("hang up {there}"), "close media"]);
        scene.ends_as(gone);
    }
    let mut scene = Scene::talking();
    scene.told(DeskMedia::Stalled).does(&["hang up 0", "hang up 1", "close media"]);
    scene.ends_as(HangupCause::NoMedia);
}

#[test]
fn a_blind_transfer_gives_the_seat_to_who_is_named_once_that_one_answers() {
    let mut scene = Scene::talking();
    scene.refers(0, TransferTarget::Ring(phone("1003"))).does(&["accept referral 0", "media offers to next"]);
    scene.told(DeskMedia::NextOffered("ours".into())).does(&["invite 2 phone 1003", "media plays"]);
    scene.hears(Input::PhoneRang(Fork(2), None)).does(&["tell 0 180"]);
    // Rule 24: the BYE of who asked does not end the call.
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&[]);
    scene.answers(2).does(&["save dialog", "media takes next", "media stops playing", "keep record"]);
    assert_eq!((scene.call.party(Seat::Caller), scene.call.leg_at(Seat::Caller)), (&phone("1003"), Fork(2)));
    scene.hears(Input::PhoneHungUp(Fork(1))).does(&["hang up 2", "close media"]);
    scene.ends_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_blind_transfer_that_fails_leaves_the_seat_to_who_asked_or_ends_the_call_without_one() {
    let mut scene = Scene::talking();
    scene.refers(1, TransferTarget::Ring(phone("1003"))).does(&["accept referral 1", "media offers to next"]);
    scene.told(DeskMedia::NextOffered("ours".into())).does(&["invite 2 phone 1003", "media plays"]);
    scene.after(Duration::from_secs(40));
    scene.does(&["cancel 2", "tell 1 408 last", "media drops next", "media stops playing"]);
    scene.refers(1, TransferTarget::Refused(403)).does(&["refuse referral 1 403"]);
    scene.refers(1, TransferTarget::Ring(phone("1003"))).does(&["accept referral 1", "media offers to next"]);
    scene.told(DeskMedia::NextOffered("ours".into())).does(&["invite 3 phone 1003", "media plays"]);
    scene.hears(Input::PhoneHungUp(Fork(1)));
    scene.hears(Input::PhoneFailed(Fork(3), ForkFailure::Status(486)));
    scene.does(&["media drops next", "media stops playing", "hang up 0", "close media"]);
    scene.ends_as(HangupCause::TransferFailed);
}

#[test]
fn an_attended_transfer_takes_over_the_leg_of_the_consultation() {
    let mut scene = Scene::talking();
    scene.refers(0, joined(Reached::Answered));
    scene.does(&["accept referral 0", "adopt 2 leg9", "media offers to next"]);
    scene.told(DeskMedia::NextOffered("ours".into())).does(&["re-offer 2"]);
    scene.hears(Input::PhoneReanswered(Fork(2), "answer".into()));
    scene.does(&["media takes next", "keep 2", "tell 0 200 last", "media stops playing", "keep record"]);
    scene.after(Duration::from_secs(2)).does(&["hang up 0 transferred"]);
    assert_eq!(scene.call.party(Seat::Caller), &phone("1003"));
    scene.hears(Input::PhoneHungUp(Fork(2))).does(&["hang up 1", "close media"]);
    scene.ends_as(HangupCause::PhoneHungUp);
}

#[test]
fn a_consultation_that_still_rings_rings_on_and_its_phone_gets_our_offer_when_it_answers() {
    let mut scene = Scene::talking();
    scene.refers(0, joined(Reached::Ringing)).does(&["accept referral 0", "adopt 2 leg9", "media plays"]);
    scene.hears(Input::PhoneHungUp(Fork(0))).does(&[]);
    scene.answers(2).does(&["media offers to next"]);
    scene.told(DeskMedia::NextOffered("ours".into())).does(&["re-offer 2"]);
    scene.hears(Input::PhoneReanswered(Fork(2), "answer".into()));
    scene.does(&["media takes next", "keep 2", "media stops playing", "keep record"]);
}

#[test]
fn a_consulted_phone_that_does_not_take_our_offer_goes_back_to_its_call() {
    for end in [Input::PhoneOfferRefused(Fork(2), 488), Input::PhoneHungUp(Fork(2))] {
        let mut scene = Scene::talking();
        scene.refers(0, joined(Reached::Answered));
        scene.told(DeskMedia::NextOffered("ours".into())).hears(end);
        let status = scene.call.cause().map_or("still up", |_| "over");
        assert_eq!(status, "still up");
        scene.told(DeskMedia::Stalled);
        let all: Vec<_> = std::iter::from_fn(|| scene.call.poll_output()).map(|it| spell(&it)).collect();
        assert!(all.contains(&"give back 2".to_owned()) && !all.contains(&"hang up 2".to_owned()), "{all:?}");
    }
}

#[test]
fn the_call_that_lends_a_leg_ends_when_it_is_taken_and_goes_on_when_it_comes_back() {
    let mut scene = Scene::talking();
    scene.hears(Input::LegLent(Fork(1))).does(&[]);
    scene.hears(Input::LegReturned(Fork(1))).does(&[]);
    scene.hears(Input::LegLent(Fork(1)));
    scene.hears(Input::LegTaken(Fork(1))).does(&["hang up 0 transferred", "close media"]);
    scene.ends_as(HangupCause::Transferred);
    // Who asked may leave before the leg is taken: it is not ours to end then.
    let mut scene = Scene::talking();
    scene.hears(Input::LegLent(Fork(1))).hears(Input::PhoneHungUp(Fork(0))).does(&["close media"]);
    scene.ends_as(HangupCause::PhoneHungUp);
}

#[test]
fn an_invite_with_replaces_takes_the_seat_of_a_phone_that_talks_or_rings() {
    let newcomer = |replaced| {
        let (leg, endpoint, offer) = (LegId(9), phone("1003"), "offer".to_owned());
        Input::PhoneTookOver(TakeOver { leg, endpoint, replaced: Fork(replaced), offer })
    };
    let mut scene = Scene::talking();
    scene.hears(newcomer(1)).does(&["adopt 2 leg9", "media answers next"]);
    scene.told(DeskMedia::NextAnswered("ours".into()));
    scene.does(&["accept 2", "media stops playing", "keep record", "hang up 1 elsewhere"]);
    assert_eq!(scene.call.party(Seat::Callee), &phone("1003"));
    let mut scene = Scene::ringing();
    scene.hears(newcomer(1)).does(&["adopt 2 leg9", "media answers next"]);
    scene.told(DeskMedia::NextAnswered("ours".into()));
    scene.does(&[
        "accept 2",
        "media stops playing",
        "keep record",
        "cancel 1 elsewhere",
        "media describes",
        "keep record",
    ]);
    scene.told(DeskMedia::Described(Seat::Caller, "ours".into())).does(&["accept 0"]);
    scene.hears(Input::PhoneFailed(Fork(1), ForkFailure::Cancelled)).does(&[]);
    assert!(scene.call.is_up());
    // What cannot be used leaves everything as it was.
    scene.hears(newcomer(2)).does(&["adopt 3 leg9", "media answers next"]);
    scene.told(DeskMedia::NextRefused).does(&["refuse 3 488"]);
    scene.hears(newcomer(1)).does(&["adopt 4 leg9", "refuse 4 491"]);
    scene.hears(Input::PhoneHungUp(Fork(2))).does(&["hang up 0", "close media"]);
}

/// Legs that are there, by what the call was told and asked for.
#[derive(Default)]
struct Model {
    legs: BTreeSet<u8>,
    media: bool,
    closed: u32,
}

impl Model {
    fn note(&mut self, output: &DeskOutput) {
        match output {
            DeskOutput::Invite { fork, .. } | DeskOutput::Adopt(fork, _) => {
                assert!(self.legs.insert(fork.0), "leg {} twice", fork.0);
            }
            DeskOutput::Cancel(fork, _)
            | DeskOutput::HangUp(fork, _)
            | DeskOutput::Refuse(fork, ..)
            | DeskOutput::GiveBack(fork) => {
                self.legs.remove(&fork.0);
            }
            DeskOutput::OpenMedia(_) => self.media = true,
            DeskOutput::CloseRecord(_) => self.closed += 1,
            _ => {}
        }
    }
}

fn any_input(random: &mut Random, legs: &BTreeSet<u8>) -> Input {
    let known: Vec<u8> = legs.iter().copied().collect();
    let fork = Fork(known[random.below(u32::try_from(known.len()).unwrap()) as usize]);
    let seat = Seat::BOTH[random.below(2) as usize];
    let sdp = || "sdp".to_owned();
    match random.below(22) {
        0 => Input::RecordOpened,
        1 | 2 => Input::Desk(DeskMedia::Opened(sdp())),
        3 => Input::PhoneRang(fork, random.below(2).eq(&0).then(sdp)),
        4..=6 if fork.0 > 0 => Input::PhoneAnswered { fork, sdp: sdp(), dialog: dialog() },
        7 if fork.0 > 0 => Input::PhoneFailed(fork, ForkFailure::Status(486)),
        8 => Input::PhoneReoffered(fork, Some(sdp())),
        9 => Input::PhoneReanswered(fork, sdp()),
        10 => Input::PhoneOfferRefused(fork, 488),
        11 | 12 => Input::PhoneReferred { fork, id: ID, target: TransferTarget::Ring(phone("1003")) },
        13 => Input::PhoneReferred { fork, id: ID, target: joined(Reached::Answered) },
        14 => Input::PhoneReferred { fork, id: ID, target: joined(Reached::Ringing) },
        15 => Input::Desk(DeskMedia::NextOffered(sdp())),
        16 => Input::Desk(DeskMedia::NextAnswered(sdp())),
        17 => Input::Desk(DeskMedia::NextRefused),
        18 => Input::Desk(DeskMedia::Described(seat, sdp())),
        19 => Input::PhoneTookOver(TakeOver {
            leg: LegId(9),
            endpoint: phone("1003"),
            replaced: fork,
            offer: sdp(),
        }),
        20 => Input::Desk(DeskMedia::ReofferAnswered(seat, sdp())),
        _ => Input::PhoneConfirmed(fork, dialog()),
    }
}

#[test]
fn whatever_it_is_told_in_whatever_order_a_call_ends_once_and_leaves_no_leg_behind() {
    for seed in 0..4000 {
        let mut random = Random::from_number(seed);
        let now = Now { mono: Instant::now(), wall: Wall::from_secs(1_791_900_000) };
        let record = DeskRecord::new(CallId(7), phone("1001"), phone("1002"), now.wall, "call".into());
        let mut scene =
            Scene { call: DeskCall::new(record, DeskTimes::default(), Some("offer".into())), now };
        let mut model = Model { legs: BTreeSet::from([0]), ..Model::default() };
        let drain = |scene: &mut Scene, model: &mut Model| {
            while let Some(output) = scene.call.poll_output() {
                model.note(&output);
            }
        };
        for _ in 0..random.below(40) {
            if model.legs.is_empty() {
                break;
            }
            let input = any_input(&mut random, &model.legs);
            if let Input::PhoneFailed(fork, _) = &input {
                model.legs.remove(&fork.0);
            }
            scene.hears(input);
            drain(&mut scene, &mut model);
            if random.below(12) == 0 && !model.legs.is_empty() {
                let fork = *model.legs.iter().next().unwrap();
                model.legs.remove(&fork);
                scene.hears(Input::PhoneHungUp(Fork(fork)));
                drain(&mut scene, &mut model);
            }
            if random.below(10) == 0 {
                scene.after(Duration::from_secs(60));
                drain(&mut scene, &mut model);
            }
        }
        scene.hears(Input::Ordered(Order::Stop));
        drain(&mut scene, &mut model);
        if model.media {
            scene.told(DeskMedia::Closed(MediaClosing::default()));
            drain(&mut scene, &mut model);
        }
        assert_eq!((model.closed, scene.call.is_over()), (1, true), "seed {seed}");
        assert!(model.legs.is_empty(), "seed {seed}: {:?} left", model.legs);
        assert!(scene.call.poll_timeout().is_none(), "seed {seed}");
    }
}
