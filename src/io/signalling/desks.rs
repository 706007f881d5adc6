//! Calls between desks: into a call of their own, and what that asks for.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::from_sip::Dial;
use super::lane::{self, Lane, Write};
use super::switchboard::Switchboard;
use super::{Reply, translate};
use crate::call::desk::{DeskCall, DeskOrder, DeskOutput, DeskRecord, DeskTimes};
use crate::call::{Fork, ForkFailure, HangupCause, Input, Order};
use crate::id::{CallId, Endpoint, LegId, Seat};
use crate::media::{KeyWay, RelayOrder, RelaySpec};
use crate::metrics::label::{DeskEnd, OfPart, Part, Word};
use crate::metrics::table;
use crate::sdp::protection::Protection;
use crate::sip::trunk::{CallFacts, Urgency};
use crate::sip::{CallerIdentity, DialogSnapshot, Invite, Reason, Refusal};
use crate::time::Now;

/// Who was called, among the legs of a call between desks.
const FIRST_CALLED: Fork = Fork(1);

/// One call between desks with everything that belongs to it.
pub(super) struct LiveDesk {
    pub(super) call: DeskCall,
    pub(super) legs: BTreeMap<Fork, LegId>,
    pub(super) deadline: Option<Instant>,
    /// Our offer to who is called, in each of the ways.
    pub(super) offers: Vec<(Protection, String)>,
    /// How keys reach each seat, as its media was told.
    pub(super) key_ways: [KeyWay; 2],
    lane: Lane,
    /// Who called, as the callee's phone shows it.
    caller: CallerIdentity,
    urgency: Urgency,
}

impl Switchboard {
    /// Rule 25: phones call phones and trunks, and trunks call phones; no rule of WhatsApp's applies.
    pub(super) fn call_desk(&mut self, now: Now, dial: Dial, target: Endpoint) {
        self.begin_desk(now, dial, target, Urgency::Ordinary);
    }

    /// Rule 10: an emergency call on the configured way, which neither caps nor do-not-disturb close.
    pub(super) fn call_for_help(&mut self, now: Now, mut dial: Dial, way: Endpoint) {
        if let Some(number) = &self.parts.dialplan.emergency.caller {
            dial.caller.number.clone_from(number);
        }
        tracing::warn!(from = %dial.endpoint, way = %way, "an emergency call");
        self.begin_desk(now, dial, way, Urgency::Emergency);
    }

    fn begin_desk(&mut self, now: Now, dial: Dial, target: Endpoint, urgency: Urgency) {
        let id = self.next_call_id(now);
        let Dial { leg, endpoint, sdp, sip_call_id, caller, .. } = dial;
        tracing::info!(call = %id, from = %endpoint, to = %target, "a call between desks begins");
        let record = DeskRecord::new(id, endpoint, target, now.wall, sip_call_id);
        let times = DeskTimes { max_duration: self.parts.times.max_duration, ..DeskTimes::default() };
        let call = DeskCall::new(record, times, sdp);
        let (lane, work) = lane::make(self.parts.store.clone(), id, self.replies_in.clone());
        self.start_lane(work);
        let legs = [(Fork(0), leg)].into();
        let (offers, key_ways) = (Vec::new(), [KeyWay::default(); 2]);
        let desk = LiveDesk { call, legs, deadline: None, offers, key_ways, lane, caller, urgency };
        self.desks.insert(id, desk);
        self.by_leg.insert(leg, (id, Fork(0)));
        self.touch(id);
    }

    /// Runs `act` on a call between desks; a panic in it ends that call alone.
    pub(super) fn with_desk(&mut self, now: Now, id: CallId, act: impl FnOnce(&mut DeskCall)) {
        let Some(desk) = self.desks.get_mut(&id) else { return };
        if catch_unwind(AssertUnwindSafe(|| act(&mut desk.call))).is_err() {
            tracing::error!(call = %id, "a bug of ours ended this call; please report the log");
            self.parts.metrics.count(&table::PANICS, &OfPart { part: Part::Call });
            let Some(desk) = self.desks.get_mut(&id) else { return };
            let ended = catch_unwind(AssertUnwindSafe(|| {
                desk.call.handle_input(now, Input::Ordered(Order::Panic));
            }));
            if ended.is_err() {
                return self.bury_desk(now, id);
            }
        }
        self.touch(id);
    }

    /// The last resort for a call whose machine is broken.
    fn bury_desk(&mut self, now: Now, id: CallId) {
        let Some(desk) = self.desks.remove(&id) else { return };
        self.parts.media.order_relay(id, RelayOrder::Close);
        for leg in desk.legs.values().filter(|leg| self.by_leg.get(leg).is_some_and(|(of, _)| *of == id)) {
            self.parts.agent.hang_up(now, *leg, None);
        }
        let verdict = HangupCause::Panic.verdict();
        let mut record = desk.call.record().clone();
        record.ended = Some(now.wall);
        record.cause = Some(verdict.label.to_owned());
        record.fault = Some(verdict.fault.as_str().to_owned());
        let _ = desk.lane.send(Write::CloseDesk(Box::new(record)));
        self.by_leg.retain(|_, (call, _)| *call != id);
    }

    pub(super) fn drain_desk(&mut self, now: Now, id: CallId) {
        while let Some(output) = self.desks.get_mut(&id).and_then(|desk| desk.call.poll_output()) {
            tracing::debug!(call = %id, output = output.name());
            self.carry_out_for_desk(now, id, output);
        }
        self.tell_desk_key_ways(id);
        let Some(desk) = self.desks.get_mut(&id) else { return };
        let (over, old) = (desk.call.is_over(), desk.deadline);
        desk.deadline = if over { None } else { desk.call.poll_timeout() };
        let new = desk.deadline;
        self.move_deadline(id, old, new);
        if over && let Some(desk) = self.desks.remove(&id) {
            self.forget_legs(id, desk.legs.values().copied());
        }
    }

    fn write_of_desk(&self, id: CallId, write: Write) {
        if let Some(desk) = self.desks.get(&id) {
            let _ = desk.lane.send(write);
        }
    }

    fn carry_out_for_desk(&mut self, now: Now, id: CallId, output: DeskOutput) {
        match output {
            DeskOutput::OpenRecord(record) => self.write_of_desk(id, Write::OpenDesk(record)),
            DeskOutput::KeepRecord(record) => self.write_of_desk(id, Write::KeepDesk(record)),
            DeskOutput::CloseRecord(record) => {
                let (cause, fault, media) = (&record.cause, &record.fault, &record.media);
                tracing::info!(call = %id, cause, fault, media, "call between desks over");
                self.count_desk(&record, self.desks.get(&id).and_then(|it| it.call.cause()));
                self.write_of_desk(id, Write::CloseDesk(record));
            }
            DeskOutput::SaveDialog(seat, dialog) => self.save_desk_dialog(id, seat, &dialog),
            DeskOutput::OpenMedia(offer) => {
                let caller = self.leg(id, Fork(0));
                let agent = &self.parts.agent;
                let desk = self.desks.get(&id).map(|desk| desk.call.party(Seat::Caller));
                let spec = RelaySpec {
                    offer: offer.map(|offer| self.parts.codecs.narrowed(desk, offer)),
                    rule: caller.map(|leg| agent.rule_of(leg)).unwrap_or_default(),
                    caller_way: caller.and_then(|leg| agent.offer_of(leg)).unwrap_or(Protection::Clear),
                    ways: self.parts.ways.clone(),
                    codecs: self.parts.codecs.all(),
                    dead_after: self.parts.dead_after,
                    encoder: self.parts.encoder,
                    hold_audio: self.parts.sounds.hold.clone(),
                };
                self.parts.media.open_relay(id, spec);
            }
            DeskOutput::Media(order) => self.order_relay(id, order),
            DeskOutput::Invite { fork, target, sdp } => self.invite_from_desk(now, id, fork, target, sdp),
            DeskOutput::Adopt(fork, leg) => self.adopt(now, id, fork, leg),
            DeskOutput::Keep(fork) => {
                if let Some(dialog) = self.keep_leg(now, id, fork) {
                    let seat = self.desks.get(&id).and_then(|desk| desk.call.seat_of(fork));
                    self.save_desk_dialog(id, seat.unwrap_or(Seat::Callee), &dialog);
                }
            }
            DeskOutput::GiveBack(fork) => self.give_back(now, id, fork),
            DeskOutput::AnswerReferral(fork, referral, answer) => {
                self.answer_referral(now, (id, fork), referral, answer);
            }
            DeskOutput::TellReferral { fork, id: referral, status, telling } => {
                self.tell_referral(now, (id, fork), referral, status, telling);
            }
            other => self.carry_out_on_desk_leg(now, id, other),
        }
    }

    fn carry_out_on_desk_leg(&mut self, now: Now, id: CallId, output: DeskOutput) {
        let legs = self.desks.get(&id).map(|desk| desk.legs.clone()).unwrap_or_default();
        let leg = |fork: Fork| legs.get(&fork).copied();
        let agent = &mut self.parts.agent;
        match output {
            DeskOutput::Cancel(fork, end) => {
                leg(fork).into_iter().for_each(|leg| agent.cancel(now, leg, translate::reason(end)));
            }
            DeskOutput::HangUp(fork, end) => {
                leg(fork).into_iter().for_each(|leg| agent.hang_up(now, leg, Some(translate::reason(end))));
            }
            DeskOutput::Ring(fork, sdp) => {
                leg(fork).into_iter().for_each(|leg| agent.ring(now, leg, sdp.clone()));
            }
            DeskOutput::Accept(fork, sdp) => {
                leg(fork).into_iter().for_each(|leg| agent.accept(now, leg, sdp.clone()));
            }
            DeskOutput::Refuse(fork, verdict, status) => {
                let refusal = translate::refusal(verdict, None, now);
                let refusal = Refusal { status: status.unwrap_or(refusal.status), ..refusal };
                leg(fork).into_iter().for_each(|leg| agent.refuse(now, leg, refusal.clone()));
            }
            DeskOutput::Reoffer(fork, sdp) => {
                if let Some(leg) = leg(fork) {
                    let sdp = self.offer_for(id, leg, sdp);
                    self.tell_rule(id, leg);
                    self.parts.agent.reoffer(now, leg, sdp);
                }
            }
            DeskOutput::AnswerReoffer(fork, sdp) => {
                let answer = sdp.ok_or(488);
                leg(fork).into_iter().for_each(|leg| agent.answer_reoffer(now, leg, answer.clone()));
            }
            _ => {}
        }
    }

    fn order_relay(&self, id: CallId, order: DeskOrder) {
        if let Some(order) = translate::to_relay(order, &self.parts.sounds) {
            self.parts.media.order_relay(id, order);
        }
    }

    fn invite_from_desk(&mut self, now: Now, id: CallId, fork: Fork, target: Endpoint, sdp: String) {
        let Some(desk) = self.desks.get(&id) else { return };
        // Only whom the caller has called for help is called by all means, not whom the call goes to later.
        let urgency = if fork == FIRST_CALLED { desk.urgency } else { Urgency::Ordinary };
        let usable = urgency == Urgency::Emergency || self.is_usable(&target);
        // A newcomer is shown whom it is to talk to.
        let across = desk.call.newcomers_seat().map(Seat::other);
        let caller = match across {
            None => desk.caller.clone(),
            Some(seat) => identity_of(desk.call.party(seat)),
        };
        let narrowed = |offer: String| self.parts.codecs.narrowed(Some(&target), offer);
        let offers = desk.offers.iter().map(|(way, offer)| (*way, narrowed(offer.clone()))).collect();
        let sdp = narrowed(sdp);
        let facts = CallFacts { urgency, ..CallFacts::default() };
        let headers = match urgency {
            Urgency::Ordinary => Vec::new(),
            // RFC 3261 §20.26
            Urgency::Emergency => vec![("Priority".to_owned(), "emergency".to_owned())],
        };
        let invite = Invite { target, caller, facts, sdp, headers };
        match usable.then(|| self.parts.agent.invite_as(now, invite, offers)) {
            Some(Ok(leg)) => {
                self.by_leg.insert(leg, (id, fork));
                if let Some(desk) = self.desks.get_mut(&id) {
                    desk.legs.insert(fork, leg);
                }
            }
            Some(Err(_)) | None => {
                let failed = Input::PhoneFailed(fork, ForkFailure::Unreachable);
                let _ = self.replies_in.send((id, Reply::Input(failed)));
            }
        }
    }

    fn save_desk_dialog(&self, id: CallId, seat: Seat, dialog: &DialogSnapshot) {
        match serde_json::to_string(dialog) {
            Ok(json) => self.write_of_desk(id, Write::DeskDialog(seat, json)),
            Err(error) => tracing::error!(call = %id, %error, "a dialog could not be written down"),
        }
    }

    /// Ends what the last process left behind: both sides are told, the record is closed (rule 27).
    pub(super) fn end_desk_orphan(&mut self, now: Now, mut record: DeskRecord, dialogs: [Option<String>; 2]) {
        let cause = HangupCause::Orphaned;
        let verdict = cause.verdict();
        tracing::warn!(call = %record.id, "a call between desks of the last process is ended");
        for dialog in dialogs.into_iter().flatten() {
            match serde_json::from_str::<DialogSnapshot>(&dialog) {
                Ok(dialog) => {
                    let reason =
                        Reason { protocol: "Q.850", cause: verdict.q850.into(), text: verdict.phrase.into() };
                    self.parts.agent.end_orphan(now, &dialog, reason);
                }
                Err(error) => tracing::error!(call = %record.id, %error, "its dialog cannot be read"),
            }
        }
        record.ended = Some(now.wall);
        record.cause = Some(verdict.label.to_owned());
        record.fault = Some(verdict.fault.as_str().to_owned());
        self.count_desk(&record, Some(cause));
        let store = self.parts.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.close_desk_call(&record).await {
                tracing::error!(call = %record.id, %error, "its record could not be closed");
            }
        });
    }

    fn count_desk(&self, record: &DeskRecord, cause: Option<HangupCause>) {
        let Some(verdict) = cause.map(HangupCause::verdict) else { return };
        let end = DeskEnd { cause: Word(verdict.label), fault: verdict.fault };
        self.parts.metrics.count(&table::DESK_CALLS, &end);
        if let (Some(answered), Some(ended)) = (record.answered, record.ended) {
            self.parts.metrics.observe(&table::DESK_TALK, &(), ended.since(answered));
        }
    }
}

/// How a phone or trunk is shown to others.
fn identity_of(endpoint: &Endpoint) -> CallerIdentity {
    let number = match endpoint {
        Endpoint::Phone(name) => name.as_str().to_owned(),
        Endpoint::Trunk(_, number) => number.clone(),
    };
    CallerIdentity { number, display: String::new() }
}
