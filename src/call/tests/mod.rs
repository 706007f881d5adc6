//! Stories of whole calls: inputs in, exactly these outputs out, on a virtual clock.

mod attended;
mod features;
mod from_gateway;
mod from_phone;
mod from_user;
mod model;
mod ring_plan;
mod seed_rules;
mod transfer;
mod voicemail;

use std::time::{Duration, Instant};

use super::*;
use crate::id::{CallId, Endpoint, WaCallId};
use crate::policy::{Attempt, Grant};
use crate::sip::{DialogSnapshot, Flow, Telling};
use crate::time::Wall;
use crate::user::{Msisdn, UserId};
use crate::whatsapp::{Outcome, Termination};

/// A call on a stage with its own clock.
struct Scene {
    call: Call,
    now: Now,
}

fn user() -> UserId {
    UserId::Phone(Msisdn::parse("5521955500123").expect("digits"))
}

fn start() -> Now {
    Now { mono: Instant::now(), wall: Wall::from_secs(1_791_900_000) }
}

fn record(direction: CallDirection) -> CallRecord {
    let mut record = CallRecord::new(CallId(7), "sales".into(), "108911".into(), direction, user());
    record.opened = start().wall;
    record
}

fn phone(name: &str) -> Endpoint {
    Endpoint::Phone(name.into())
}

fn dialog() -> Box<DialogSnapshot> {
    let here = "127.0.0.1:5060".parse().expect("an address");
    Box::new(DialogSnapshot {
        call_id: "call".into(),
        local_tag: "ours".into(),
        remote_tag: "theirs".into(),
        local_uri: "sip:gateway@pbx.example".into(),
        remote_uri: "sip:1001@pbx.example".into(),
        remote_target: "sip:1001@127.0.0.1:5062".into(),
        route_set: Vec::new(),
        local_cseq: 1,
        flow: Flow::udp(here, here),
    })
}

fn not_picked_up() -> Input {
    let outcome = Outcome::Completed;
    Input::MetaTerminated(Termination { outcome, start: None, end: None, duration: None, errors: Vec::new() })
}

fn picked_up(start: Wall, seconds: u64) -> Input {
    Input::MetaTerminated(Termination {
        outcome: Outcome::Completed,
        start: Some(start),
        end: Some(start + Duration::from_secs(seconds)),
        duration: Some(Duration::from_secs(seconds)),
        errors: Vec::new(),
    })
}

impl Scene {
    /// A user calls; `phones` can ring.
    fn user_calls(phones: &[&str], pre_accept: PreAcceptWhen) -> Self {
        Self::user_calls_by(RingPlan::together(phones.iter().map(|name| phone(name)).collect()), pre_accept)
    }

    /// A user calls a number with this plan, and has to be accepted within 24 s.
    fn user_calls_by(plan: RingPlan, pre_accept: PreAcceptWhen) -> Self {
        let now = start();
        let mut record = record(CallDirection::UserInitiated);
        record.wa_call = Some("wacid.A".into());
        let reception = Reception { plan, pre_accept, accept_by: now.wall + Duration::from_secs(24) };
        let call = Call::from_user(now, record, CallTimes::default(), "meta's offer".into(), reception, None);
        Self { call, now }
    }

    /// A phone dials a user.
    fn phone_calls(answer_on: AnswerOn) -> Self {
        let now = start();
        let mut record = record(CallDirection::BusinessInitiated);
        record.endpoint = Some(phone("1001"));
        let offer = Some("phone's offer".into());
        let call = Call::from_phone(record, CallTimes::default(), offer, answer_on);
        Self { call, now }
    }

    /// The gateway calls back, phone 1001 first.
    fn gateway_calls(answer_on: AnswerOn) -> Self {
        let now = start();
        let record = record(CallDirection::BusinessInitiated);
        let call = Call::from_gateway(record, CallTimes::default(), phone("1001"), answer_on);
        Self { call, now }
    }

    fn after(&mut self, by: Duration) -> &mut Self {
        self.now = self.now.after(by);
        self.call.handle_timeout(self.now);
        self
    }

    fn hears(&mut self, input: Input) -> &mut Self {
        self.now = self.now.after(Duration::from_millis(10));
        self.call.handle_input(self.now, input);
        self
    }

    /// All outputs since the last look, by name.
    #[track_caller]
    fn does(&mut self, expected: &[&str]) -> &mut Self {
        let names: Vec<_> = self.outputs().iter().map(spell).collect();
        assert_eq!(names, expected);
        self
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.call.poll_output()).collect()
    }

    fn opened(&mut self) -> &mut Self {
        self.hears(Input::MediaOpened { meta_sdp: "ours to meta".into(), phone_sdp: "ours to phone".into() })
    }

    fn answers(&mut self, fork: u8) -> &mut Self {
        self.hears(Input::PhoneAnswered { fork: Fork(fork), sdp: "phone's answer".into(), dialog: dialog() })
    }

    fn done(&mut self, kind: ActionKind) -> &mut Self {
        self.hears(Input::GraphDone(kind))
    }

    #[track_caller]
    fn ended_as(&mut self, cause: HangupCause) -> &mut Self {
        assert_eq!(self.call.cause(), Some(cause));
        self
    }
}

/// An output as a short word; posts, forks and statuses are named.
fn spell(output: &Output) -> String {
    match output {
        Output::Post(action) => format!("post {}", action.name()),
        Output::Invite { fork, .. } => format!("invite {}", fork.0),
        Output::Cancel(fork, LegEnd::CompletedElsewhere) => format!("cancel {} elsewhere", fork.0),
        Output::Cancel(fork, _) => format!("cancel {}", fork.0),
        Output::HangUp(fork, LegEnd::CompletedElsewhere) => format!("hang up {} elsewhere", fork.0),
        Output::HangUp(fork, LegEnd::Transferred) => format!("hang up {} transferred", fork.0),
        Output::HangUp(fork, LegEnd::Parked(place)) => format!("hang up {} parked {}", fork.0, place.0),
        Output::HangUp(fork, _) => format!("hang up {}", fork.0),
        Output::AnswerReferral(fork, _, Ok(())) => format!("accept referral {}", fork.0),
        Output::AnswerReferral(fork, _, Err(status)) => format!("refuse referral {} {status}", fork.0),
        Output::TellReferral { fork, status, telling, .. } => {
            let last = if *telling == Telling::Last { " last" } else { "" };
            format!("tell {} {}{last}", fork.0, status.0)
        }
        Output::RefusePhone(Fork(0), verdict, _) => format!("refuse {}", verdict.sip),
        Output::RefusePhone(fork, verdict, _) => format!("refuse {} {}", fork.0, verdict.sip),
        Output::AcceptPhone(fork, _) if fork.0 > 0 => format!("accept phone {}", fork.0),
        Output::Adopt(fork, leg) => format!("adopt {} {leg}", fork.0),
        Output::Reoffer(fork, _) => format!("re-offer {}", fork.0),
        Output::AskPhone(fork) => format!("ask {}", fork.0),
        Output::Ring(sdp) => if sdp.is_some() { "early media" } else { "ring" }.to_owned(),
        other => other.name().to_owned(),
    }
}

fn grant() -> Input {
    let attempt = Attempt { number: "108911".into(), user: user(), call: CallId(7) };
    Input::Reserved(Grant {
        attempt,
        at: start().wall,
        lapses: start().wall + Duration::from_secs(180),
        warnings: Vec::new(),
    })
}

fn closed() -> Input {
    Input::MediaClosed(MediaClosing { line: "opus → pcmu".into(), quality_json: "{}".into() })
}

fn wa(id: &str) -> WaCallId {
    id.into()
}
