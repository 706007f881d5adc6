//! What both directions of a call share: the Graph line, the phone legs, timers, the end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::call::cause::{HangupCause, Verdict};
use crate::call::input::{ActionKind, CallTimes, Fork, Input, MediaClosing, Towards};
use crate::call::output::{Gate, LegEnd, Output};
use crate::call::record::CallRecord;
use crate::id::WaCallId;
use crate::time::{Now, Wall};
use crate::whatsapp::{Action, Failure, Meaning, Termination};

/// The named timers of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Meta's accept window closes (rule 2).
    AcceptWindow,
    /// The ring time of a step is over.
    RingStep,
    /// Meta's answer to our offer is overdue.
    AnswerWait,
    /// The user has rung long enough.
    UserRing,
    /// ICE and DTLS are overdue.
    MediaSetup,
    /// A crossed inbound call did not show up (rule 8).
    CrossWait,
    /// Meta's `terminate` did not come; the record closes without it.
    TerminateWait,
    /// The longest call is over (rule 20).
    MaxDuration,
    /// The phone to which the call is to go has rung long enough.
    TransferRing,
    /// Who has handed the call over did not hang up by itself.
    TransferorFarewell,
    /// Nobody has fetched a parked call.
    Parked,
    /// The longest message is over.
    Attendant,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    SettingUp,
    Bridged,
    Ending,
    Over,
}

/// How far Meta is involved, which decides what ends its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaSide {
    /// Meta knows nothing of the call yet.
    Untouched,
    /// A user calls; we have posted nothing: `reject` ends it.
    Offered,
    /// We posted something: `terminate` ends it.
    Involved,
    /// Meta ended the call, or never had it.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegState {
    /// An INVITE of ours is out.
    Ringing,
    /// The phone's own INVITE waits for an answer.
    Calling,
    /// In a dialog.
    Answered,
    /// It belongs to another call that may want it back.
    Borrowed,
    /// Over.
    Gone,
}

/// One Graph request at a time for a call (rule 3).
#[derive(Debug, Default)]
struct GraphLine {
    in_flight: Option<ActionKind>,
    waiting: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaState {
    Closed,
    Opening,
    Open,
    Closing,
}

#[derive(Debug)]
pub(super) struct Common {
    pub(super) record: CallRecord,
    pub(super) times: CallTimes,
    pub(super) phase: Phase,
    pub(super) meta: MetaSide,
    pub(super) media: MediaState,
    pub(super) dtls_up: bool,
    pub(super) legs: Vec<LegState>,
    /// The phone leg that talks, or will.
    pub(super) leg: Option<Fork>,
    pub(super) until: Option<Wall>,
    cause: Option<HangupCause>,
    graph: GraphLine,
    gate: Gate,
    timers: BTreeMap<Timer, Instant>,
    outputs: VecDeque<Output>,
    stages: Vec<(&'static str, Wall)>,
    terminated: bool,
    /// A place under the caps is held or taken.
    reserved: bool,
    granted: bool,
    connected: bool,
    /// Meta may have this call: it was asked for it and did not refuse.
    pub(super) placed: bool,
}

impl Common {
    pub(super) fn new(record: CallRecord, times: CallTimes, meta: MetaSide) -> Self {
        let mut common = Self {
            record,
            times,
            phase: Phase::SettingUp,
            meta,
            media: MediaState::Closed,
            dtls_up: false,
            legs: Vec::new(),
            leg: None,
            until: None,
            cause: None,
            graph: GraphLine::default(),
            gate: Gate::Shut,
            timers: BTreeMap::new(),
            outputs: VecDeque::new(),
            stages: Vec::new(),
            terminated: false,
            reserved: false,
            granted: false,
            connected: false,
            placed: false,
        };
        let row = Box::new(common.record.clone());
        common.push(Output::OpenRecord(row));
        common
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn set_timer(&mut self, timer: Timer, at: Instant) {
        self.timers.insert(timer, at);
    }

    pub(super) fn stop_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    pub(super) fn next_timer(&self) -> Option<(Instant, Timer)> {
        self.timers.iter().map(|(timer, at)| (*at, *timer)).min()
    }

    /// Takes out one timer that is due.
    pub(super) fn due_timer(&mut self, now: Now) -> Option<Timer> {
        let (at, timer) = self.next_timer()?;
        (at <= now.mono).then(|| {
            self.timers.remove(&timer);
            timer
        })
    }

    /// Keeps the first time of a set-up stage.
    pub(super) fn reached(&mut self, now: Now, stage: &'static str) {
        if !self.stages.iter().any(|(name, _)| *name == stage) {
            self.stages.push((stage, now.wall));
        }
    }

    pub(super) fn cause(&self) -> Option<HangupCause> {
        self.cause
    }

    pub(super) fn wa_call(&self) -> Option<&WaCallId> {
        self.record.wa_call.as_ref()
    }

    /// Posts an action, after the one that is under way.
    pub(super) fn post(&mut self, action: Action) {
        self.meta = MetaSide::Involved;
        if self.graph.in_flight.is_some() {
            self.graph.waiting.push_back(action);
        } else {
            self.graph.in_flight = Some(ActionKind::of(&action));
            self.push(Output::Post(action));
        }
    }

    /// A reply came for `kind`: the next action may go.
    pub(super) fn graph_replied(&mut self, kind: ActionKind) {
        if self.graph.in_flight != Some(kind) {
            return;
        }
        self.graph.in_flight = None;
        if let Some(next) = self.graph.waiting.pop_front() {
            self.post(next);
        }
    }

    pub(super) fn open_media(&mut self, meta: super::Offer, phone: super::Offer) {
        self.media = MediaState::Opening;
        self.push(Output::OpenMedia { meta, phone });
    }

    pub(super) fn set_gate(&mut self, gate: Gate) {
        if self.gate != gate {
            self.gate = gate;
            self.push(Output::SetGate(gate));
        }
    }

    pub(super) fn leg_state(&mut self, fork: Fork) -> Option<&mut LegState> {
        self.legs.get_mut(usize::from(fork.0))
    }

    pub(super) fn set_leg(&mut self, fork: Fork, state: LegState) {
        if let Some(leg) = self.leg_state(fork) {
            *leg = state;
        }
    }

    /// Both sides agreed to talk.
    pub(super) fn bridge(&mut self, now: Now) {
        self.phase = Phase::Bridged;
        self.record.answered = Some(now.wall);
        self.stop_timer(Timer::AcceptWindow);
        self.stop_timer(Timer::UserRing);
        self.stop_timer(Timer::AnswerWait);
        self.set_gate(Gate::Open);
        let row = Box::new(self.record.clone());
        self.push(Output::KeepRecord(row));
        if !self.dtls_up {
            self.set_timer(Timer::MediaSetup, now.mono + self.times.media_setup);
        }
        if let Some(longest) = self.times.max_duration {
            self.set_timer(Timer::MaxDuration, now.mono + longest);
        }
    }

    /// Policy holds a place for this call; a second grant for the same call is the same place.
    pub(super) fn hold_place(&mut self) {
        if !self.granted {
            self.granted = true;
            self.reserved = true;
        }
    }

    /// The user's phone rings: whoever does not take it now has missed a call.
    pub(super) fn note_rang(&mut self, now: Now) {
        if self.record.rang.is_none() && self.granted {
            self.push(Output::MarkRang(now.wall));
        }
        self.record.rang.get_or_insert(now.wall);
    }

    /// The user picked up: the place under the caps is taken for 24 hours.
    pub(super) fn mark_connected(&mut self, at: Wall) {
        if self.reserved && !self.connected {
            self.connected = true;
            self.push(Output::MarkConnected(at));
        }
    }

    /// Ends the call on both sides, whatever state it is in; later calls do nothing.
    pub(super) fn end(&mut self, now: Now, cause: HangupCause) {
        if matches!(self.phase, Phase::Ending | Phase::Over) {
            return;
        }
        let verdict = cause.verdict();
        self.phase = Phase::Ending;
        self.cause = Some(cause);
        self.record.ended = Some(now.wall);
        self.record.cause = Some(verdict.label.to_owned());
        self.record.fault = Some(verdict.fault.as_str().to_owned());
        self.timers.clear();
        self.set_timer(Timer::TerminateWait, now.mono + self.times.terminate_wait);
        self.end_legs(verdict);
        self.end_meta();
        self.finish_if_quiet(now);
    }

    fn end_legs(&mut self, verdict: Verdict) {
        for index in 0..self.legs.len() {
            let fork = Fork(u8::try_from(index).unwrap_or(u8::MAX));
            match self.legs[index] {
                LegState::Ringing => self.push(Output::Cancel(fork, LegEnd::Verdict(verdict))),
                LegState::Calling => self.push(Output::RefusePhone(fork, verdict, self.until)),
                LegState::Answered => self.push(Output::HangUp(fork, LegEnd::Verdict(verdict))),
                LegState::Borrowed => self.push(Output::GiveBack(fork)),
                LegState::Gone => {}
            }
            self.legs[index] = LegState::Gone;
        }
    }

    fn end_meta(&mut self) {
        // What still waits in the line is overtaken by the end.
        self.graph.waiting.clear();
        match (self.meta, self.record.wa_call.clone()) {
            (MetaSide::Offered, Some(call)) => self.post(Action::Reject { call }),
            (MetaSide::Involved, Some(call)) => self.post(Action::Terminate { call }),
            // The id comes with the reply to `connect`; it is terminated then.
            (MetaSide::Involved, None) if self.graph.in_flight.is_some() => {}
            _ => self.close_media(),
        }
    }

    /// What a call that is ending still listens to.
    pub(super) fn handle_while_ending(&mut self, now: Now, input: Input) {
        match input {
            Input::GraphConnected(call) => {
                self.learn_wa_call(call);
                self.graph_replied(ActionKind::Connect);
                self.end_meta();
            }
            Input::WaCallLearnt(call) => {
                self.learn_wa_call(call);
                if self.meta == MetaSide::Involved && self.graph.in_flight.is_none() {
                    self.end_meta();
                }
            }
            Input::GraphDone(kind) => self.graph_ended(kind),
            // The phone gave up while the user's began to ring: it is a missed call there.
            Input::UserRang => self.note_rang(now),
            Input::GraphFailed(kind, failure) => {
                if kind == ActionKind::Connect && matches!(failure, Failure::Refused { .. }) {
                    self.placed = false;
                }
                if kind == ActionKind::Connect || matches!(failure, Failure::Refused { .. }) {
                    // Refused: Meta has no such call, or no longer; nothing more will come.
                    self.terminated = true;
                }
                self.graph_ended(kind);
            }
            // Opened too late: close again, and only then is the call over.
            Input::MediaOpened { .. } if self.media == MediaState::Opening => self.media = MediaState::Open,
            Input::MediaRefused(_) => self.media = MediaState::Closed,
            Input::MediaOpened { .. } => {}
            _ => {}
        }
        if self.media == MediaState::Open && !self.awaits_terminate_reply() {
            self.close_media();
        }
        self.finish_if_quiet(now);
    }

    fn graph_ended(&mut self, kind: ActionKind) {
        self.graph_replied(kind);
        if matches!(kind, ActionKind::Terminate | ActionKind::Reject | ActionKind::Connect)
            && self.graph.in_flight.is_none()
        {
            self.close_media();
        }
    }

    /// Media stays up until Meta took the `terminate`: RTCP BYE comes after it (rule 4).
    fn awaits_terminate_reply(&self) -> bool {
        self.graph.in_flight.is_some()
    }

    pub(super) fn close_media(&mut self) {
        if matches!(self.media, MediaState::Open | MediaState::Opening) {
            self.media = MediaState::Closing;
            self.push(Output::CloseMedia);
        }
    }

    pub(super) fn media_closed(&mut self, closing: MediaClosing) {
        self.media = MediaState::Closed;
        self.record.media = Some(closing.line).filter(|line| !line.is_empty());
        self.record.quality_json = Some(closing.quality_json).filter(|json| !json.is_empty());
    }

    /// Meta has taken our `connect`.
    pub(super) fn connecting(&mut self, call: WaCallId) {
        self.learn_wa_call(call);
        self.graph_replied(ActionKind::Connect);
    }

    /// Meta's answer to our `connect` (rule 7: it is not the user's); from now on the user may ring for so long.
    pub(super) fn user_described(&mut self, now: Now, sdp: String) {
        self.stop_timer(Timer::AnswerWait);
        self.reached(now, "answer");
        self.push(Output::ApplyMetaAnswer(sdp));
        self.push(Output::StartDtls);
        self.set_timer(Timer::UserRing, now.mono + self.times.user_ring);
    }

    pub(super) fn learn_wa_call(&mut self, call: WaCallId) {
        if self.record.wa_call.is_none() {
            self.record.wa_call = Some(call.clone());
            self.push(Output::NoteWaCall(call));
        }
    }

    /// Meta's own account of the call; its times win over ours.
    pub(super) fn note_termination(&mut self, termination: &Termination) {
        self.meta = MetaSide::Ended;
        self.terminated = true;
        self.record.meta_start = termination.start;
        self.record.meta_end = termination.end;
        self.record.meta_duration =
            termination.duration.map(|d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
        if let Some(start) = termination.start {
            self.mark_connected(start);
            if self.connected {
                self.push(Output::CorrectStart(start));
            }
        } else if termination.duration.is_none() && self.reserved && !self.connected {
            self.reserved = false;
            self.push(Output::Release);
        }
    }

    /// Meta's answer to the time-out of its `terminate`: the record closes without it.
    pub(super) fn give_up_waiting(&mut self, now: Now) {
        self.terminated = true;
        if self.media != MediaState::Closed {
            self.close_media();
            self.media = MediaState::Closed;
        }
        self.finish_if_quiet(now);
    }

    pub(super) fn finish_if_quiet(&mut self, _now: Now) {
        let meta_quiet = self.terminated || matches!(self.meta, MetaSide::Untouched | MetaSide::Ended);
        let quiet = self.graph.in_flight.is_none() && self.media == MediaState::Closed && meta_quiet;
        if self.phase != Phase::Ending || !quiet {
            return;
        }
        self.phase = Phase::Over;
        self.timers.clear();
        if self.reserved && !self.connected && self.record.wa_call.is_none() {
            // Meta never had this call, so nobody can have picked it up.
            self.reserved = false;
            self.push(if self.placed { Output::Release } else { Output::Withdraw });
        }
        self.record.stages_json = Some(self.stages_json());
        let record = Box::new(self.record.clone());
        self.push(Output::CloseRecord(record));
    }

    fn stages_json(&self) -> String {
        let opened = self.record.opened;
        let stages: serde_json::Map<String, serde_json::Value> = self
            .stages
            .iter()
            .map(|(name, at)| ((*name).to_owned(), (at.millis() - opened.millis()).into()))
            .collect();
        serde_json::Value::Object(stages).to_string()
    }

    /// Stages that both directions note the same way.
    pub(super) fn note_stage(&mut self, now: Now, input: &Input) {
        match input {
            Input::IceConnected => self.reached(now, "ice"),
            Input::DtlsUp => {
                self.dtls_up = true;
                self.stop_timer(Timer::MediaSetup);
                self.reached(now, "dtls");
            }
            Input::FirstAudio(Towards::User) => self.reached(now, "first_audio_to_user"),
            Input::FirstAudio(Towards::Phone) => self.reached(now, "first_audio_to_phone"),
            Input::GraphDone(ActionKind::PreAccept) => self.reached(now, "pre_accepted"),
            Input::GraphDone(ActionKind::Accept) => self.reached(now, "accepted"),
            Input::GraphConnected(_) => self.reached(now, "connected"),
            _ => {}
        }
    }

    /// Why Meta ended a call that nobody answered.
    pub(super) fn meta_cause(termination: &Termination, otherwise: HangupCause) -> HangupCause {
        termination.errors.first().map_or(otherwise, |meaning: &Meaning| HangupCause::Meta(*meaning))
    }
}

/// The cause for a Graph request that failed.
pub(super) fn graph_cause(failure: &Failure) -> HangupCause {
    match failure {
        Failure::Refused { meaning, .. } => HangupCause::Meta(*meaning),
        Failure::TimedOut => HangupCause::GraphTimedOut,
        Failure::Unreachable => HangupCause::GraphUnreachable,
        Failure::Unreadable => HangupCause::GraphUnreadable,
    }
}
