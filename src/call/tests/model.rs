use super::*;
use crate::id::LegId;
use crate::policy::{Denial, DenialReason, Stands};
use crate::random::Random;
use crate::sip::alert::Alert;
use crate::whatsapp::{Failure, Meaning};

/// What a call may never do, whatever it is told in whatever order.
#[derive(Default)]
struct Watch {
    opened: u32,
    closed: u32,
    in_flight: Option<&'static str>,
    media: i32,
    answered_calling_phone: u32,
    marks: u32,
    releases: u32,
    legs_out: std::collections::BTreeSet<Fork>,
    /// Legs that were told something final, or what was taken for it.
    settled: std::collections::BTreeSet<Fork>,
    answered: bool,
    /// A call of ours has no window.
    callback: bool,
    began: Option<Wall>,
}

impl Watch {
    fn see(&mut self, seed: u64, now: Now, output: &Output) {
        let began = *self.began.get_or_insert(now.wall);
        assert_eq!(self.closed, 0, "seed {seed}: {} after the record closed", output.name());
        match output {
            Output::OpenRecord(_) => self.opened += 1,
            Output::CloseRecord(record) => {
                self.closed += 1;
                assert!(record.ended.is_some() && record.cause.is_some() && record.fault.is_some());
            }
            Output::Post(action) => {
                assert_eq!(self.in_flight, None, "seed {seed}: two Graph requests at once (rule 3)");
                self.in_flight = Some(action.name());
            }
            Output::OpenMedia { .. } => self.media += 1,
            Output::CloseMedia => self.media -= 1,
            Output::AcceptPhone(Fork(0), _) | Output::RefusePhone(Fork(0), ..) => {
                self.settled.insert(Fork(0));
                self.answered_calling_phone += 1;
                assert!(self.answered_calling_phone <= 1, "seed {seed}: two final answers to one INVITE");
            }
            Output::MarkConnected(_) => self.marks += 1,
            Output::Release | Output::Withdraw => self.releases += 1,
            Output::ApplyPhoneAnswer(_) => self.answered = true,
            Output::Invite { fork, sdp, .. } => {
                assert!(self.legs_out.insert(*fork), "seed {seed}: two legs of one name");
                if sdp == "ours to phone" && !self.callback {
                    assert!(!self.answered, "seed {seed}: a step began though a phone had answered (rule 5)");
                    assert!(now.wall <= began + WINDOW, "seed {seed}: rung after the window (rule 2)");
                }
            }
            Output::Adopt(fork, _) => {
                assert!(self.legs_out.insert(*fork), "seed {seed}: two legs of one name");
            }
            Output::HangUp(fork, _)
            | Output::RefusePhone(fork, ..)
            | Output::AcceptPhone(fork, _)
            | Output::GiveBack(fork)
            | Output::KeepLeg(fork) => {
                self.settled.insert(*fork);
            }
            Output::Cancel(fork, _) => assert!(self.legs_out.remove(fork), "seed {seed}: cancelled twice"),
            _ => {}
        }
        assert!(self.marks <= 1 && self.releases <= 1 && self.marks + self.releases <= 1, "seed {seed}");
    }
}

/// The accept window of the scenes.
const WINDOW: Duration = Duration::from_secs(24);

/// Up to four steps of up to three phones, some of them twice, with or without an overflow.
fn random_plan(random: &mut Random) -> RingPlan {
    let phone = |random: &mut Random| phone(["1001", "1002", "1003", "1004"][random.below(4) as usize]);
    let steps = (0..random.below(5)).map(|_| {
        let targets = (0..random.below(4)).map(|_| phone(random)).collect();
        let ring =
            Some(Duration::from_millis(random.below(15_000).into())).filter(|it| it.as_millis() > 2000);
        let order = if random.below(2) == 0 { RingOrder::Together } else { RingOrder::OneByOne };
        RingStep { targets, ring, order, alert: Alert::default() }
    });
    let steps = steps.collect();
    let kept = Duration::from_secs(5);
    let overflow = (random.below(2) == 0).then(|| Overflow { target: phone(random), kept });
    let answering = match random.below(3) {
        0 => Some(Answering::Message { longest: Duration::from_secs(20) }),
        1 => Some(Answering::Announcement),
        _ => None,
    };
    RingPlan { steps, overflow, answering }
}

/// The leg that is over with this input, whatever became of it.
fn settles(input: &Input) -> Option<Fork> {
    match input {
        Input::PhoneFailed(fork, _) | Input::PhoneHungUp(fork) => Some(*fork),
        Input::PhoneExpired(fork) | Input::PhoneVanished(fork) => Some(*fork),
        Input::PhoneAnswered { fork, .. } => Some(*fork),
        Input::PhoneCancelled(fork) => Some(*fork),
        _ => None,
    }
}

fn random_input(random: &mut Random, scene: &Scene) -> Input {
    let fork = Fork(u8::try_from(random.below(5)).expect("small"));
    let joined = |reached| TransferTarget::Join(Joined { leg: LegId(9), with: phone("1003"), reached });
    let id = crate::sip::ReferralId(7);
    match random.below(41) {
        0 => Input::RecordOpened,
        1 => Input::RecordRefused,
        2 => grant(),
        3 => Input::Denied(Denial { reason: DenialReason::PairCap, until: None, stands: Stands::Fact }),
        4 => Input::IceConnected,
        5 | 6 => Input::DtlsUp,
        7 => Input::UserSpoke,
        8 => Input::MediaStalled,
        9 => Input::UserAnswerReceived("answer".into()),
        10 => Input::UserRang,
        11 => Input::UserAccepted(scene.now.wall),
        12 => Input::UserRejected,
        13 => not_picked_up(),
        14 => picked_up(scene.now.wall, 5),
        15 => Input::PhoneRang(fork, None),
        16 => Input::PhoneAnswered { fork, sdp: "answer".into(), dialog: dialog() },
        17 => Input::PhoneFailed(fork, ForkFailure::Status(486)),
        18 => Input::PhoneCancelled(Fork(0)),
        19 => Input::PhoneHungUp(fork),
        20 => Input::PhoneReoffered(fork, None),
        21 => Input::WaCallLearnt(wa("wacid.B")),
        22 => Input::PhoneAckMissed,
        23 | 24 => Input::PhoneReferred {
            fork,
            id: crate::sip::ReferralId(random.below(9)),
            target: TransferTarget::Ring(phone("1003")),
        },
        25 | 26 => Input::NextPhoneOffered("offer".into()),
        27 => Input::NextPhoneRefused,
        28 => Input::PhoneExpired(fork),
        29 => Input::PhoneReferred { fork, id, target: joined(Reached::Answered) },
        30 => Input::PhoneReferred { fork, id, target: joined(Reached::Ringing) },
        31 if scene.call.record().direction == CallDirection::UserInitiated => {
            let (leg, endpoint, offer) = (LegId(9), phone("1003"), "offer".to_owned());
            Input::PhoneTookOver(TakeOver { leg, endpoint, replaced: fork, offer })
        }
        32 => Input::NextPhoneAnswered("ours".into()),
        33 => Input::PhoneReanswered(fork, "answer".into()),
        34 => Input::PhoneOfferRefused(fork, 488),
        35 | 36 => Input::SoundPlayed,
        37 => Input::MessageEnded,
        38 => Input::PhoneFellSilent,
        39 => Input::PhoneVanished(fork),
        _ => Input::MediaRefused(MediaRefusal::NoPorts),
    }
}

/// Answers what is really outstanding, as the shell would.
fn faithful_reply(random: &mut Random, watch: &mut Watch) -> Option<Input> {
    if let Some(name) = watch.in_flight.filter(|_| random.below(2) == 0) {
        watch.in_flight = None;
        let kind = match name {
            "connect" => ActionKind::Connect,
            "pre_accept" => ActionKind::PreAccept,
            "accept" => ActionKind::Accept,
            "reject" => ActionKind::Reject,
            _ => ActionKind::Terminate,
        };
        let busy = Failure::Refused { meaning: Meaning::AlreadyInCall, http: 400, until: None };
        return Some(match (kind, random.below(5)) {
            (kind, 1) => Input::GraphFailed(kind, busy),
            (kind, 0) => Input::GraphFailed(kind, Failure::TimedOut),
            (ActionKind::Connect, _) => Input::GraphConnected(wa("wacid.B")),
            (kind, _) => Input::GraphDone(kind),
        });
    }
    None
}

fn play(seed: u64) {
    let mut random = Random::from_number(seed);
    let mut scene = match random.below(5) {
        0 => Scene::user_calls(&["1001", "1002"], PreAcceptWhen::AtOnce),
        1 => Scene::user_calls_by(random_plan(&mut random), PreAcceptWhen::AtOnce),
        2 => Scene::user_calls_by(random_plan(&mut random), PreAcceptWhen::Ringing),
        3 => Scene::gateway_calls(AnswerOn::Speech),
        _ => Scene::phone_calls(AnswerOn::Speech),
    };
    let callback = matches!(scene.call.flow, crate::call::Flow::Gateway(_));
    let mut watch = Watch { callback, ..Watch::default() };
    let mut media_opening = false;
    let mut media_up = false;
    for _ in 0..80 {
        for output in scene.outputs() {
            media_opening |= matches!(output, Output::OpenMedia { .. });
            watch.see(seed, scene.now, &output);
        }
        if scene.call.is_over() {
            break;
        }
        if media_opening && random.below(2) == 0 {
            (media_opening, media_up) = (false, true);
            scene.opened();
        } else if media_up && watch.media == 0 {
            media_up = false;
            scene.hears(closed());
        } else if let Some(reply) = faithful_reply(&mut random, &mut watch) {
            scene.hears(reply);
        } else if random.below(6) == 0 {
            scene.after(Duration::from_millis(u64::from(random.below(9000))));
        } else {
            let input = random_input(&mut random, &scene);
            watch.settled.extend(settles(&input));
            scene.hears(input);
        }
    }
    finish(seed, scene, watch, media_opening || media_up);
}

/// Whatever happened: a stop, the replies that the shell owes, and time end every call.
fn finish(seed: u64, mut scene: Scene, mut watch: Watch, mut media: bool) {
    scene.hears(Input::Ordered(Order::Stop));
    for _ in 0..12 {
        for output in scene.outputs() {
            watch.see(seed, scene.now, &output);
        }
        if watch.in_flight.take().is_some() {
            for kind in [ActionKind::PreAccept, ActionKind::Accept, ActionKind::Reject, ActionKind::Terminate]
            {
                scene.hears(Input::GraphDone(kind));
            }
            scene.hears(Input::GraphConnected(wa("wacid.B")));
        }
        if media && watch.media <= 0 {
            media = false;
            scene.hears(closed());
        }
        scene.after(Duration::from_secs(6));
    }
    for output in scene.outputs() {
        watch.see(seed, scene.now, &output);
    }
    assert!(scene.call.is_over(), "seed {seed}: the call never ended");
    let ringing = watch.legs_out.difference(&watch.settled).count();
    assert_eq!(ringing, 0, "seed {seed}: phones that ring on after the call");
    assert_eq!((watch.opened, watch.closed), (1, 1), "seed {seed}: one record, opened and closed once");
}

#[test]
fn every_call_ends_once_with_one_record_whatever_it_is_told() {
    for seed in 0..20_000 {
        play(seed);
    }
}
