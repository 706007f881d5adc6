//! Notices: a phone that is refused hears why, a phone that dialled a code hears that it is done.

use std::time::Instant;

use super::switchboard::Switchboard;
use super::translate;
use crate::call::voicemail::VoicemailId;
use crate::call::{
    Fork, HangupCause, MediaRefusal, Notice, NoticeInput, NoticeKind, NoticeOutput, Offer, Verdict,
};
use crate::id::{CallId, Endpoint, LegId};
use crate::media::{CapacityState, Clip, Order, Repeat, Report, Side};
use crate::sip::{Event, Reason, Refusal};
use crate::time::Now;

/// More at once are refused without a sound: each holds ports for its few seconds.
const MOST: usize = 16;

/// Refusals for which nothing is opened: what they would be spoken with is what is wanting.
const WANTS: [HangupCause; 4] = [
    HangupCause::Overloaded,
    HangupCause::Stopping,
    HangupCause::MediaRefused(MediaRefusal::NoPorts),
    HangupCause::MediaRefused(MediaRefusal::Unavailable),
];

fn is_for_want_of_room(verdict: Verdict) -> bool {
    WANTS.iter().any(|cause| cause.verdict().label == verdict.label)
}

/// Whether media may be opened for nothing but a sound, beside so many others.
fn may_speak(verdict: Verdict, others: usize, media: CapacityState) -> bool {
    others < MOST && media != CapacityState::Refusing && !is_for_want_of_room(verdict)
}

/// One notice with what belongs to it.
pub(super) struct LiveNotice {
    leg: LegId,
    notice: Notice,
    clip: Clip,
    refusal: Refusal,
    /// What a phone that was answered is told at the end.
    text: String,
    /// The messages in it, and who hears them.
    messages: Option<(Endpoint, Vec<VoicemailId>)>,
}

impl Switchboard {
    /// Refuses a phone's INVITE, with the cause's sound before it if there is one and the phone can hear it.
    pub(super) fn refuse_aloud(&mut self, now: Now, leg: LegId, verdict: Verdict, refusal: Refusal) {
        let sound = self.parts.sounds.refusal(verdict.label);
        let offer = sound.is_some().then(|| self.parts.agent.open_offer(leg)).flatten();
        match (sound, offer) {
            (Some(clip), Some(offer)) if self.may_speak(verdict) => {
                let _ =
                    self.give_notice(now, leg, NoticeKind::Refusal, (clip, offer), refusal, String::new());
            }
            _ => self.parts.agent.refuse(now, leg, refusal),
        }
    }

    fn may_speak(&self, verdict: Verdict) -> bool {
        may_speak(verdict, self.notices.len(), self.parts.media.judge()) && !self.is_closing()
    }

    /// The same for the leg of a call, which knows nothing of it from now on.
    pub(super) fn refuse_of_call(
        &mut self,
        now: Now,
        id: CallId,
        (fork, leg): (Fork, LegId),
        verdict: Verdict,
        refusal: Refusal,
    ) {
        self.by_leg.remove(&leg);
        if let Some(live) = self.calls.get_mut(&id) {
            live.legs.remove(&fork);
        }
        self.refuse_aloud(now, leg, verdict, refusal);
    }

    /// Answers a phone whose wish is done: it shows `text` and hears the sound of things that are done.
    pub(super) fn confirm(&mut self, now: Now, leg: LegId, text: &str, more: Option<Clip>) {
        let clip = self.parts.sounds.done.clone();
        let clip = more.map_or_else(|| clip.clone(), |more| clip.then(&more));
        let _ = self.answer_with(now, leg, text, clip);
    }

    /// Answers a phone that wants to hear messages; they count as heard when it has heard them all.
    pub(super) fn let_hear(
        &mut self,
        now: Now,
        leg: LegId,
        text: &str,
        clip: Clip,
        messages: (Endpoint, Vec<VoicemailId>),
    ) {
        let id = self.answer_with(now, leg, text, clip);
        if let Some(live) = id.and_then(|id| self.notices.get_mut(&id)) {
            live.messages = Some(messages);
        }
    }

    fn answer_with(&mut self, now: Now, leg: LegId, text: &str, clip: Clip) -> Option<CallId> {
        let refusal = super::outputs::refuse(HangupCause::PhoneMediaRefused, now);
        self.parts.agent.show(leg, text);
        let Some(offer) = self.parts.agent.open_offer(leg) else {
            self.parts.agent.refuse(now, leg, refusal);
            return None;
        };
        Some(self.give_notice(now, leg, NoticeKind::Confirmation, (clip, offer), refusal, text.to_owned()))
    }

    fn give_notice(
        &mut self,
        now: Now,
        leg: LegId,
        kind: NoticeKind,
        (clip, offer): (Clip, String),
        refusal: Refusal,
        text: String,
    ) -> CallId {
        let id = self.next_call_id(now);
        let mut spec = translate::open_spec(Offer::Ours, Offer::Theirs(offer));
        spec.codecs = self.parts.codecs.all();
        spec.rule = self.parts.agent.rule_of(leg);
        self.parts.media.open(id, spec);
        let notice = Notice::new(now.mono, kind, clip.length());
        self.notices.insert(id, LiveNotice { leg, notice, clip, refusal, text, messages: None });
        id
    }

    /// Whether a report is for a notice; it is taken then.
    pub(super) fn heard_by_notice(&mut self, now: Now, id: CallId, report: &Report) -> bool {
        if !self.notices.contains_key(&id) {
            return false;
        }
        let input = match report {
            Report::Opened { phone_sdp, .. } => NoticeInput::MediaOpened(phone_sdp.clone()),
            Report::Refused(_) | Report::Closed(_) => NoticeInput::MediaFailed,
            Report::Played { towards: Side::Phone } => {
                let messages = self.notices.get_mut(&id).and_then(|live| live.messages.take());
                if let Some((by, ids)) = messages {
                    self.messages_heard(now, &by, ids);
                }
                NoticeInput::Played
            }
            _ => return true,
        };
        self.tell_notice(now, id, input);
        true
    }

    /// Whether an event is for a notice; it is taken then.
    pub(super) fn ends_notice(&mut self, now: Now, event: &Event) -> bool {
        let (Event::Cancelled { leg }
        | Event::HungUp { leg, .. }
        | Event::AckTimeout { leg }
        | Event::Expired { leg }) = event
        else {
            return false;
        };
        let found = self.notices.iter().find(|(_, it)| it.leg == *leg).map(|(id, _)| *id);
        let Some(id) = found else { return false };
        self.tell_notice(now, id, NoticeInput::PhoneGone);
        true
    }

    fn tell_notice(&mut self, now: Now, id: CallId, input: NoticeInput) {
        if let Some(live) = self.notices.get_mut(&id) {
            live.notice.handle_input(now.mono, input);
            self.drain_notice(now, id);
        }
    }

    pub(super) fn notice_timeout(&self) -> Option<Instant> {
        self.notices.values().filter_map(|it| it.notice.poll_timeout()).min()
    }

    /// Does what is due.
    pub(super) fn settle_notices(&mut self, now: Now) {
        let due = |it: &LiveNotice| it.notice.poll_timeout().is_some_and(|at| at <= now.mono);
        let ids: Vec<CallId> = self.notices.iter().filter(|(_, it)| due(it)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(live) = self.notices.get_mut(&id) {
                live.notice.handle_timeout(now.mono);
            }
            self.drain_notice(now, id);
        }
    }

    fn drain_notice(&mut self, now: Now, id: CallId) {
        while let Some(live) = self.notices.get_mut(&id) {
            let Some(output) = live.notice.poll_output() else { return };
            let (leg, agent, media) = (live.leg, &mut self.parts.agent, &self.parts.media);
            match output {
                NoticeOutput::Ring(sdp) => agent.ring(now, leg, Some(sdp)),
                NoticeOutput::Accept(sdp) => agent.accept(now, leg, sdp),
                NoticeOutput::Play => {
                    let play =
                        Order::Play { towards: Side::Phone, clip: live.clip.clone(), repeat: Repeat::Once };
                    media.order(id, play);
                }
                NoticeOutput::Refuse => agent.refuse(now, leg, live.refusal.clone()),
                NoticeOutput::HangUp => {
                    let reason = Reason { protocol: "SIP", cause: 200, text: live.text.clone() };
                    agent.hang_up(now, leg, Some(reason));
                }
                NoticeOutput::Close => {
                    media.order(id, Order::Close);
                    self.notices.remove(&id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_want_of_ports_or_capacity_is_not_spoken_and_others_are() {
        let silent = HangupCause::all().into_iter().filter(|it| is_for_want_of_room(it.verdict()));
        let labels: Vec<&str> = silent.map(|it| it.verdict().label).collect();
        assert_eq!(labels.len(), WANTS.len(), "{labels:?}");
        for cause in [HangupCause::NotDialable, HangupCause::AllCapped, HangupCause::PhoneMediaRefused] {
            assert!(!is_for_want_of_room(cause.verdict()), "{cause:?}");
        }
    }

    #[test]
    fn a_refusal_is_spoken_while_there_is_room_for_it_and_nothing_else_is_short() {
        let unknown = HangupCause::NotDialable.verdict();
        assert!(may_speak(unknown, MOST - 1, CapacityState::Frugal));
        assert!(!may_speak(unknown, MOST, CapacityState::Normal), "one too many");
        assert!(!may_speak(unknown, 0, CapacityState::Refusing), "the threads are full");
        for cause in WANTS {
            assert!(!may_speak(cause.verdict(), 0, CapacityState::Normal), "{cause:?}");
        }
    }
}
