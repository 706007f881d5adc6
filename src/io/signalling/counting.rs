//! What signalling counts: ended calls, stages, Graph requests, refused dials, dropped events.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use super::switchboard::Switchboard;
use crate::call::{ActionKind, CallDirection, CallRecord, HangupCause, Input};
use crate::id::{CallId, NumberLabel, PhoneName};
use crate::io::sip::ConnectionFigures;
use crate::metrics::label::{
    CallEnd, Denied, GraphAction, GraphOutcome, GraphRequest, Longer, NumberDirection, OfAction, OfLonger,
    OfMeaning, OfStage, Stage, Word,
};
use crate::metrics::table;
use crate::sip::{DefenceFigures, SipFigures, TrunkStatus};
use crate::time::Now;
use crate::whatsapp::{Failure, Meaning};

/// Figures of signalling at one moment, for a scrape.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Calls that are up or being set up.
    pub live: BTreeMap<(NumberLabel, CallDirection), u64>,
    /// Calls between desks that are up or being set up.
    pub desks: u64,
    /// Webhook events that came too late or for nobody, by reason.
    pub dropped_events: BTreeMap<&'static str, u64>,
    /// Dial attempts refused before they were a call, by the label of the cause.
    pub refused_dials: BTreeMap<&'static str, u64>,
    /// SIP messages that no socket and no connection took.
    pub unsent: u64,
    /// The connections of the SIP side.
    pub connections: ConnectionFigures,
    /// The user agent's figures.
    pub sip: SipFigures,
    /// How each trunk fares.
    pub trunks: Vec<TrunkStatus>,
    /// What its defence has counted.
    pub defence: DefenceFigures,
    /// Phones with a live binding.
    pub registered: Vec<PhoneName>,
    /// No new calls are taken.
    pub closing: bool,
}

impl Switchboard {
    pub(super) fn take_figures(&self, now: Now) -> Figures {
        let mut figures = self.figures.clone();
        for number in &self.parts.numbers {
            for direction in [CallDirection::UserInitiated, CallDirection::BusinessInitiated] {
                figures.live.insert((number.label.clone(), direction), 0);
            }
        }
        for live in self.calls.values().filter(|live| live.call.is_live()) {
            let record = live.call.record();
            *figures.live.entry((record.number.clone(), record.direction)).or_default() += 1;
        }
        figures.desks = self.desks.values().filter(|desk| desk.call.is_live()).count() as u64;
        figures.sip = self.parts.agent.figures();
        figures.defence = self.parts.agent.defence_figures(now);
        figures.registered = self.parts.agent.registrations().map(|(phone, _)| phone.clone()).collect();
        figures.registered.dedup();
        figures.trunks = self.parts.agent.trunks().collect();
        figures.closing = self.is_closing();
        figures
    }

    /// Counts a call whose record closes, with its stages.
    pub(super) fn count_ended(&self, record: &CallRecord, cause: HangupCause) {
        let metrics = &self.parts.metrics;
        let (number, direction, verdict) = (record.number.clone(), record.direction, cause.verdict());
        let end =
            CallEnd { number: number.clone(), direction, cause: Word(verdict.label), fault: verdict.fault };
        metrics.count(&table::CALLS, &end);
        if let HangupCause::Denied(_) = cause {
            metrics.count(&table::DENIALS, &Denied { number: number.clone(), reason: Word(verdict.label) });
        }
        if let (Some(answered), Some(ended)) = (record.answered, record.ended) {
            let (labels, ours) = (NumberDirection { number, direction }, ended.since(answered));
            metrics.observe(&table::CALL_TALK, &labels, ours);
            match record.meta_duration {
                Some(seconds) => self.count_difference(Duration::from_secs(seconds.into()), ours),
                None => metrics.count(&table::CALLS_UNTIMED, &labels),
            }
        }
        let stages = record.stages_json.as_deref().unwrap_or("{}");
        let stages: BTreeMap<String, u64> = serde_json::from_str(stages).unwrap_or_default();
        for (name, millis) in stages {
            if let Some(stage) = stage(&name) {
                let labels = OfStage { direction, stage };
                metrics.observe(&table::CALL_SETUP, &labels, Duration::from_millis(millis));
            }
        }
    }

    /// What is billed is Meta's whole seconds; a second of difference is nothing.
    fn count_difference(&self, metas: Duration, ours: Duration) {
        let apart = metas.abs_diff(ours);
        let longer = match metas.cmp(&ours) {
            _ if apart < Duration::from_secs(1) => Longer::Neither,
            Ordering::Greater => Longer::Meta,
            _ => Longer::Us,
        };
        self.parts.metrics.observe(&table::CALL_DIFFERENCE, &OfLonger { longer }, apart);
    }

    pub(super) fn note_graph(&mut self, id: CallId, kind: ActionKind, took: Duration, input: &Input) {
        let action = match kind {
            ActionKind::Connect => GraphAction::Connect,
            ActionKind::PreAccept => GraphAction::PreAccept,
            ActionKind::Accept => GraphAction::Accept,
            ActionKind::Reject => GraphAction::Reject,
            ActionKind::Terminate => GraphAction::Terminate,
        };
        let outcome = match input {
            Input::GraphFailed(_, failure) => outcome(failure),
            _ => GraphOutcome::Done,
        };
        let metrics = &self.parts.metrics;
        metrics.count(&table::GRAPH, &GraphRequest { action, outcome });
        metrics.observe(&table::GRAPH_DURATION, &OfAction { action }, took);
        if let Input::GraphFailed(_, failure @ Failure::Refused { meaning, .. }) = input {
            self.count_meaning(*meaning);
            if kind == ActionKind::Connect {
                self.learn_from_refusal(id, failure);
            }
        }
        if kind == ActionKind::Accept
            && let Some(live) = self.calls.get(&id)
        {
            self.accept_times[live.number].note(took);
        }
    }

    pub(super) fn count_meaning(&self, meaning: Meaning) {
        self.parts.metrics.count(&table::GRAPH_ERRORS, &OfMeaning { meaning: Word(meaning.label()) });
    }

    pub(super) fn drop_event(&mut self, why: &'static str) {
        *self.figures.dropped_events.entry(why).or_default() += 1;
        tracing::debug!(why, "a webhook event was dropped");
    }
}

const fn outcome(failure: &Failure) -> GraphOutcome {
    match failure {
        Failure::Refused { .. } => GraphOutcome::Refused,
        Failure::TimedOut => GraphOutcome::TimedOut,
        Failure::Unreachable => GraphOutcome::Unreachable,
        Failure::Unreadable => GraphOutcome::Unreadable,
    }
}

/// The metric's stage of a record's stage; some stages are kept in the record only.
fn stage(name: &str) -> Option<Stage> {
    Some(match name {
        "invited" | "connected" => Stage::Sent,
        "rang" => Stage::Ringing,
        "phone_answered" => Stage::Answered,
        "accepted" => Stage::Accepted,
        "ice" => Stage::Ice,
        "dtls" => Stage::Dtls,
        "first_audio_to_user" => Stage::AudioToUser,
        "first_audio_to_phone" => Stage::AudioToPhone,
        _ => return None,
    })
}
