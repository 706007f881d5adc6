//! Carrying out what a call asks for.

use std::time::Instant;

use super::lane::Write;
use super::switchboard::{Live, Switchboard};
use super::{Reply, translate};
use crate::call::{ActionKind, Fork, ForkFailure, HangupCause, Input, Offer, Output};
use crate::codec::EncoderSettings;
use crate::dialplan::dialable;
use crate::id::{CallId, Endpoint, LegId, WaCallId};
use crate::media::{Order, PhoneSide, Repeat, Side, Stage, Timing};
use crate::sip::alert::Alert;
use crate::sip::trunk::{CallFacts, Urgency};
use crate::sip::{CallerIdentity, Invite, InviteRefusal, Refusal, Telling};
use crate::time::Now;
use crate::whatsapp::Action;

impl Switchboard {
    pub(super) fn carry_out(&mut self, now: Now, id: CallId, output: Output) {
        match output {
            Output::OpenRecord(record) => {
                let inbox = self.calls.get_mut(&id).and_then(|live| live.inbox.take());
                self.write(id, Write::Open(record, inbox));
            }
            Output::KeepRecord(record) => self.write(id, Write::Keep(record)),
            Output::NoteWaCall(wa_call) => {
                self.by_wa.insert(wa_call.clone(), id);
                self.write(id, Write::WaCall(wa_call));
            }
            Output::SaveDialog(dialog) => match serde_json::to_string(&dialog) {
                Ok(json) => self.write(id, Write::Dialog(json)),
                Err(error) => tracing::error!(call = %id, %error, "a dialog could not be written down"),
            },
            Output::CloseRecord(record) => {
                if let Some(cause) = self.calls.get(&id).and_then(|live| live.call.cause()) {
                    self.count_ended(&record, cause);
                }
                tracing::info!(
                    call = %id,
                    wa_call = record.wa_call.as_ref().map(tracing::field::display),
                    cause = record.cause,
                    fault = record.fault,
                    media = record.media,
                    stages = record.stages_json,
                    "call over"
                );
                self.write(id, Write::Close(record));
            }
            Output::Reserve => self.reserve(id),
            Output::MarkConnected(at) => self.write(id, Write::Connected(at)),
            Output::CorrectStart(at) => self.write(id, Write::CorrectStart(at)),
            Output::MarkRang(at) => self.write(id, Write::Rang(at)),
            Output::Release => self.write(id, Write::Release),
            Output::Withdraw => self.write(id, Write::Withdraw),
            Output::OpenMedia { meta, phone } => self.open_media(id, meta, phone),
            Output::Post(action) => self.post(id, action),
            Output::Speak(spoken) => self.speak(id, spoken),
            Output::TakeMessage => self.take_message(now, id),
            Output::Play(sound) => self.play(id, Side::Meta, sound),
            Output::PlayToPhone(sound) => self.play(id, Side::Phone, sound),
            other => match translate::to_media(other) {
                Ok(order) => {
                    // A call that the gateway answers for nobody is no conversation.
                    let talks = !self.calls.get(&id).is_some_and(|live| live.call.is_attended());
                    let opens = talks && order == Order::SetStage(Stage::Open);
                    if opens {
                        self.begin_recording(now, id);
                    }
                    self.order_media(id, order);
                    if opens {
                        self.greet(id);
                    }
                }
                Err(leg_output) => self.carry_out_on_leg(now, id, leg_output),
            },
        }
    }

    fn carry_out_on_leg(&mut self, now: Now, id: CallId, output: Output) {
        match output {
            Output::Invite { fork, target, sdp } => self.invite(now, id, fork, target, sdp),
            Output::Cancel(fork, end) => {
                if let Some(leg) = self.leg(id, fork) {
                    self.parts.agent.cancel(now, leg, translate::reason(end));
                }
            }
            Output::HangUp(fork, end) => {
                if let Some(leg) = self.leg(id, fork) {
                    self.parts.agent.hang_up(now, leg, Some(translate::reason(end)));
                }
            }
            Output::AskPhone(fork) => {
                if let Some(leg) = self.leg(id, fork) {
                    self.parts.agent.ask(now, leg);
                }
            }
            Output::Ring(sdp) => {
                if let Some(leg) = self.leg(id, Fork(0)) {
                    self.describe(id, leg);
                    self.parts.agent.ring(now, leg, sdp);
                }
            }
            Output::AcceptPhone(fork, sdp) => {
                if let Some(leg) = self.leg(id, fork) {
                    self.describe(id, leg);
                    self.parts.agent.accept(now, leg, sdp);
                }
            }
            Output::RefusePhone(fork, verdict, until) => {
                if let Some(leg) = self.leg(id, fork) {
                    let refusal = self.refusal(id, verdict, until, now);
                    self.refuse_of_call(now, id, (fork, leg), verdict, refusal);
                }
            }
            Output::AnswerReferral(fork, referral, answer) => {
                self.answer_referral(now, (id, fork), referral, answer);
            }
            Output::TellReferral { fork, id: referral, status, telling } => {
                self.tell_referral(now, (id, fork), referral, status, telling);
            }
            Output::Adopt(fork, leg) => self.adopt(now, id, fork, leg),
            Output::KeepLeg(fork) => {
                let kept = self.keep_leg(now, id, fork).and_then(|it| serde_json::to_string(&it).ok());
                if let Some(json) = kept {
                    self.write(id, Write::Dialog(json));
                }
            }
            Output::GiveBack(fork) => self.give_back(now, id, fork),
            Output::Reoffer(fork, sdp) => {
                if let Some(leg) = self.leg(id, fork) {
                    let sdp = self.offer_for(id, leg, sdp);
                    self.tell_rule(id, leg);
                    self.parts.agent.reoffer(now, leg, sdp);
                }
            }
            Output::TellParked(fork, referral, place) => {
                if let Some(leg) = self.leg(id, fork) {
                    let text = format!("Parked on {}", place.0);
                    self.parts.agent.tell_referral(now, leg, referral, (200, &text), Telling::Last);
                }
            }
            Output::TellPlace(place) => self.tell_place(id, place),
            Output::RefuseReoffer(fork) => {
                if let Some(leg) = self.leg(id, fork) {
                    self.parts.agent.answer_reoffer(now, leg, Err(488));
                }
            }
            Output::AnswerPhoneReoffer(sdp) => {
                let talking = self.calls.get(&id).and_then(|live| live.call.talking_leg());
                if let Some(leg) = talking.and_then(|fork| self.leg(id, fork)) {
                    self.parts.agent.answer_reoffer(now, leg, sdp.ok_or(488));
                }
            }
            _ => {}
        }
    }

    /// The gate opens once in a call's life: both sides hear together that they are recorded, if they are, and
    /// the greeting, then each other.
    fn greet(&self, id: CallId) {
        let sounds = &self.parts.sounds;
        let recorded = self.recorder_of(id).is_some();
        let Some(clip) = (if recorded { &sounds.greeting_recorded } else { &sounds.greeting }) else {
            return;
        };
        for towards in [Side::Meta, Side::Phone] {
            let play = Order::Play { towards, clip: clip.clone(), repeat: Repeat::Once };
            self.parts.media.order(id, play);
        }
    }

    pub(super) fn leg(&self, id: CallId, fork: Fork) -> Option<LegId> {
        match self.calls.get(&id) {
            Some(live) => live.legs.get(&fork).copied(),
            None => self.desks.get(&id)?.legs.get(&fork).copied(),
        }
    }

    pub(super) fn write(&self, id: CallId, write: Write) {
        if let Some(live) = self.calls.get(&id) {
            let _ = live.lane.send(write);
        }
    }

    fn open_media(&mut self, id: CallId, meta: Offer, phone: Offer) {
        let mut spec = translate::open_spec(meta, phone);
        spec.dead_after = self.parts.dead_after;
        spec.ask_after = self.parts.ask_after;
        spec.comfort_after = self.parts.comfort_after;
        spec.voip_metrics = self.wants_metrics(id);
        spec.timing = self.timing(id);
        let endpoint = self.calls.get(&id).and_then(|live| live.call.record().endpoint.as_ref());
        spec.codecs = match (&mut spec.phone, endpoint) {
            (PhoneSide::Answer { offer }, Some(endpoint)) => {
                *offer = self.parts.codecs.narrowed(Some(endpoint), std::mem::take(offer));
                self.parts.codecs.of(endpoint).codecs.clone()
            }
            _ => self.parts.codecs.all(),
        };
        let complexity = self.parts.media.judge().complexity().min(self.parts.encoder.complexity);
        spec.encoder = EncoderSettings { complexity, ..self.parts.encoder };
        spec.hold_audio.clone_from(&self.parts.sounds.hold);
        self.protect(id, &mut spec);
        self.parts.media.open(id, spec);
    }

    fn order_media(&mut self, id: CallId, mut order: Order) {
        if let Order::AnswerPhoneReoffer { sdp: Some(offer) } = &mut order {
            let endpoint = self.calls.get(&id).and_then(|live| live.call.record().endpoint.as_ref());
            *offer = self.parts.codecs.narrowed(endpoint, std::mem::take(offer));
        }
        // Which of several phones talks is known when its answer counts.
        let opens = matches!(order, Order::SetStage(Stage::Open));
        let answered =
            matches!(order, Order::ApplyPhoneAnswer { .. } | Order::TakeNext { .. } | Order::SwitchToNext);
        self.parts.media.order(id, order);
        if opens || answered {
            let codes = self.codes_within(id);
            self.parts.media.order(id, Order::LookForCodes(codes));
        }
        if opens || answered {
            self.parts.media.order(id, Order::SetKeyWay(self.key_way(id)));
        }
        if answered {
            self.parts.media.order(id, Order::SetTiming(self.timing(id)));
        }
    }

    fn timing(&self, id: CallId) -> Timing {
        self.parts.timings.of(self.calls.get(&id).and_then(|live| live.call.record().endpoint.as_ref()))
    }

    fn invite(&mut self, now: Now, id: CallId, fork: Fork, target: Endpoint, sdp: String) {
        let usable = self.is_usable(&target);
        let Some(live) = self.calls.get(&id) else { return };
        let record = live.call.record();
        let display = record.user_name.as_ref().map_or_else(String::new, |name| name.expose().clone());
        let caller = CallerIdentity { number: dialable(&record.user), display };
        let narrowed = |offer: String| self.parts.codecs.narrowed(Some(&target), offer);
        let offers = live.offers.iter().map(|(way, offer)| (*way, narrowed(offer.clone()))).collect();
        let sdp = narrowed(sdp);
        let mut facts = self.facts(live);
        if let Some(alert) = live.call.alert(fork) {
            facts.alert = alert.clone();
        }
        let invite = Invite { target, caller, facts, sdp, headers: Vec::new() };
        // A trunk that is known to be down would cost the two seconds after which silence is believed.
        match usable.then(|| self.parts.agent.invite_as(now, invite, offers)) {
            Some(Ok(leg)) => {
                self.by_leg.insert(leg, (id, fork));
                if let Some(live) = self.calls.get_mut(&id) {
                    live.legs.insert(fork, leg);
                }
            }
            Some(Err(InviteRefusal::ReadableKeys)) => {
                tracing::warn!(
                    call = %id,
                    "not rung: srtp = \"required\", and SIP on the way there is not encrypted"
                );
                self.not_rung(id, fork, ForkFailure::Status(488));
            }
            Some(Err(_)) | None => self.not_rung(id, fork, ForkFailure::Unreachable),
        }
    }

    fn not_rung(&self, id: CallId, fork: Fork, failure: ForkFailure) {
        let _ = self.replies_in.send((id, Reply::Input(Input::PhoneFailed(fork, failure))));
    }

    /// What trunks may be told of a call.
    fn facts(&self, live: &Live) -> CallFacts {
        let record = live.call.record();
        CallFacts {
            wa_call: record.wa_call.as_ref().map(ToString::to_string),
            user_id: record.user.scoped().map(|it| it.as_str().to_owned()),
            payload: record.payload.clone(),
            business_number: Some(self.parts.numbers[live.number].display.digits().to_owned()),
            alert: Alert { name: self.parts.numbers[live.number].alert.clone(), ..Alert::default() },
            urgency: Urgency::Ordinary,
        }
    }

    /// Tells the trunk that calls what is known of its call by now.
    fn describe(&mut self, id: CallId, leg: LegId) {
        if let Some(live) = self.calls.get(&id) {
            let facts = self.facts(live);
            self.parts.agent.describe(leg, &facts);
        }
    }

    fn post(&mut self, id: CallId, action: Action) {
        let Some(live) = self.calls.get(&id) else { return };
        let number = &self.parts.numbers[live.number];
        let (graph, number_id, token) = (self.parts.graph.clone(), number.id.clone(), number.token.clone());
        let replies = self.replies_in.clone();
        tokio::spawn(async move {
            let kind = ActionKind::of(&action);
            let began = Instant::now();
            let input = match graph.post(&number_id, &token, &action).await {
                Ok(crate::whatsapp::Reply::Connected(wa_call)) => Input::GraphConnected(wa_call),
                Ok(crate::whatsapp::Reply::Done) => Input::GraphDone(kind),
                Err(failure) => {
                    tracing::warn!(call = %id, action = action.name(), %failure, "Graph did not do it");
                    Input::GraphFailed(kind, failure)
                }
            };
            let _ = replies.send((id, Reply::Graph(kind, began.elapsed(), input)));
        });
    }

    /// Ends a call at Meta that has no machine here any more.
    pub(super) fn terminate_at_meta(&self, number: usize, wa_call: Option<WaCallId>) {
        let (Some(number), Some(call)) = (self.parts.numbers.get(number), wa_call) else { return };
        let (graph, number_id, token) = (self.parts.graph.clone(), number.id.clone(), number.token.clone());
        tokio::spawn(async move {
            if let Err(failure) = graph.post(&number_id, &token, &Action::Terminate { call }).await {
                tracing::warn!(%failure, "a call left over at Meta could not be terminated");
            }
        });
    }
}

/// A final answer for a cause that needs no call.
pub(super) fn refuse(cause: HangupCause, now: Now) -> Refusal {
    translate::refusal(cause.verdict(), None, now)
}
