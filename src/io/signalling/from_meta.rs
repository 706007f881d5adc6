//! Webhook events: to the call they belong to, or into a new call.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Reply;
use super::asks::Awaited;
use super::graveyard::Tomb;
use super::lane::Write;
use super::patience::patiently;
use super::switchboard::Switchboard;
use crate::call::{
    Call, CallDirection, CallRecord, CrossedLeg, Fork, HangupCause, Input, Reception, RingPlan,
};
use crate::id::{CallId, Endpoint, PhoneNumberId, WaCallId};
use crate::io::store::{InboxId, Store, StoreError};
use crate::io::webhook::Delivery;
use crate::masked::Masked;
use crate::media::CapacityState;
use crate::metrics::table;
use crate::time::{Now, Wall};
use crate::user::UserId;
use crate::whatsapp::{CallEvent, CallEventKind, Event, PermissionReply, Termination};

/// An event is over once what it brought is kept; until then the inbox has it for the next start.
async fn finish(store: &Store, inbox: Option<InboxId>, kept: Result<(), StoreError>) {
    let over = match (kept, inbox) {
        (Ok(()), Some(inbox)) => patiently("an event's end", async || store.handled(&[inbox]).await).await,
        (lost, _) => lost,
    };
    if let Err(error) = over {
        tracing::error!(%error, "an event of Meta's waits for the next start");
    }
}

/// What a user allowed or took back, until the store has it; who waits for a permission is rung.
async fn keep_reply(
    store: Store,
    replies: mpsc::UnboundedSender<(CallId, Reply)>,
    inbox: Option<InboxId>,
    reply: PermissionReply,
) {
    let kept = patiently("a permission reply", || store.note_reply(&reply)).await;
    let kept = kept.map(|waiting| {
        let Some(ring) = waiting else { return };
        let (number, user) = (reply.number.clone(), reply.user.clone());
        let _ = replies.send((CallId(0), Reply::Awaited(Awaited { number, user, ring })));
    });
    finish(&store, inbox, kept).await;
}

/// What a user's call carries beside its id.
struct UserCall {
    offer: String,
    name: Option<Masked<String>>,
    /// What the call button or the link carried.
    payload: Option<Masked<String>>,
    /// When the webhook came: the user waits since then.
    arrived: Wall,
}

/// How long an agent who waits for a user rings alone for that user's own call: the phone was just put down.
const AGENT_FIRST: Duration = Duration::from_secs(8);

impl Switchboard {
    pub(super) fn handle_delivery(&mut self, now: Now, Delivery { inbox, event, arrived }: Delivery) {
        match event {
            Event::Call(event) => {
                let age = arrived.wall.since(event.at);
                self.parts.metrics.observe(&table::WEBHOOK_AGE, &(), age);
                self.handle_call_event(now, inbox, event, arrived.wall);
            }
            Event::Permission(reply) => {
                // What was asked a moment ago is no longer true.
                self.parts.graph.forget_permission(&reply.number, &reply.user);
                let (store, replies) = (self.parts.store.clone(), self.replies_in.clone());
                tokio::spawn(keep_reply(store, replies, inbox, reply));
            }
            Event::Wrote(message) => {
                let store = self.parts.store.clone();
                let voicemail = self.voicemail_of(&message);
                tokio::spawn(async move {
                    let open = || store.open_window(&message.number, &message.user, message.at);
                    let mut kept = patiently("when a user wrote", open).await;
                    if let Some(voicemail) = voicemail {
                        let add = || store.add_voicemail_of_meta(&voicemail);
                        kept = kept.and(patiently("a voice message", add).await.map(drop));
                    }
                    finish(&store, inbox, kept).await;
                });
            }
            Event::Account(notice) => {
                let (kept, store) = (self.note_account(notice), self.parts.store.clone());
                tokio::spawn(async move { finish(&store, inbox, kept.await).await });
            }
            Event::Other { field } => {
                tracing::debug!(field, "a webhook that calls do not need");
                self.mark_handled(inbox);
            }
        }
    }

    fn mark_handled(&self, inbox: Option<InboxId>) {
        let store = self.parts.store.clone();
        tokio::spawn(async move { finish(&store, inbox, Ok(())).await });
    }

    fn handle_call_event(&mut self, now: Now, inbox: Option<InboxId>, event: CallEvent, arrived: Wall) {
        let known = self.by_wa.get(&event.call).copied().or_else(|| self.by_opaque(&event));
        if let CallEventKind::UserCalled { offer, name, username, cta_payload, deeplink_payload } = event.kind
        {
            if known.is_some() {
                self.mark_handled(inbox);
                return;
            }
            let payload = cta_payload.or(deeplink_payload).map(Masked::new);
            let call = UserCall { offer, name: name.or(username), payload, arrived };
            let about = (event.number, event.call, event.user);
            self.user_called(now, inbox, about, event.at, call);
            return;
        }
        let Some(id) = known else {
            self.event_for_nobody(inbox, event);
            return;
        };
        let lane = self.calls.get(&id).map(|live| live.lane.clone());
        if self.calls.get(&id).is_some_and(|live| live.call.record().wa_call.is_none()) {
            // The webhook was faster than the reply to `connect`.
            self.by_wa.insert(event.call.clone(), id);
            self.feed(now, id, Input::WaCallLearnt(event.call));
        }
        let input = match event.kind {
            CallEventKind::Answered { sdp } => Input::UserAnswerReceived(sdp),
            CallEventKind::Rang => Input::UserRang,
            CallEventKind::Accepted => Input::UserAccepted(event.at),
            CallEventKind::Rejected => Input::UserRejected,
            CallEventKind::Terminated(termination) => Input::MetaTerminated(termination),
            CallEventKind::UserCalled { .. } => return,
        };
        self.feed(now, id, input);
        // Behind everything that the event made the call write; should the process die before, it is told again.
        self.drain_call(now, id);
        match (lane, inbox) {
            (Some(lane), Some(inbox)) if lane.send(Write::Handled(inbox)).is_ok() => {}
            _ => self.mark_handled(inbox),
        }
    }

    /// `biz_opaque_callback_data` is our own call id, in calls that we made.
    fn by_opaque(&self, event: &CallEvent) -> Option<CallId> {
        let id = CallId::parse(event.opaque.as_deref()?)?;
        let live = self.calls.get(&id)?;
        let number = &self.parts.numbers[live.number];
        (number.id == event.number).then_some(id)
    }

    fn event_for_nobody(&mut self, inbox: Option<InboxId>, event: CallEvent) {
        let ours = event.opaque.as_deref().and_then(CallId::parse);
        match (event.kind, ours) {
            (CallEventKind::Terminated(termination), ours) => {
                return self.terminated_late(inbox, event.call, ours, termination);
            }
            (CallEventKind::Rang, Some(id)) => {
                // Over here while it began to ring there: a missed call counts in the unanswered run.
                self.drop_event("left_over");
                return self.correct(inbox, move |store| async move { store.rang(id, event.at).await });
            }
            (CallEventKind::Accepted, Some(id)) => {
                // Over here, picked up there: it counts against the caps.
                self.drop_event("left_over");
                return self.correct(inbox, move |store| async move { store.connected(id, event.at).await });
            }
            (CallEventKind::Answered { .. }, Some(_)) => {
                // A call of ours that is over here: its `connect` timed out, or the process restarted.
                self.drop_event("left_over");
                if let Some(number) = self.number_of(&event.number) {
                    self.terminate_at_meta(number, Some(event.call));
                }
            }
            _ => self.drop_event("unknown_call"),
        }
        self.mark_handled(inbox);
    }

    /// Meta's account of a call that is over here corrects its record and what the caps count.
    fn terminated_late(
        &mut self,
        inbox: Option<InboxId>,
        call: WaCallId,
        ours: Option<CallId>,
        termination: Termination,
    ) {
        let recorded = match self.graveyard.look_up(&call) {
            Some(Tomb::Recorded(id)) => Some(*id),
            _ => ours,
        };
        let Some(id) = recorded else {
            self.mark_handled(inbox);
            return self.graveyard.bury(call, Tomb::Unborn(termination));
        };
        self.correct(inbox, move |store| {
            let termination = termination.clone();
            async move { store.note_termination(id, &termination).await }
        });
    }

    /// Meta's late account of a call, until the store has it; should the process die before, it is told again.
    fn correct<F>(&self, inbox: Option<InboxId>, write: impl Fn(Store) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let store = self.parts.store.clone();
        tokio::spawn(async move {
            let kept = patiently("Meta's late account of a call", || write(store.clone())).await;
            finish(&store, inbox, kept).await;
        });
    }

    fn user_called(
        &mut self,
        now: Now,
        inbox: Option<InboxId>,
        (number_id, wa_call, user): (PhoneNumberId, WaCallId, Option<UserId>),
        at: Wall,
        call: UserCall,
    ) {
        let Some(number) = self.number_of(&number_id) else {
            tracing::warn!(phone_number_id = %number_id, "a call for a business number that no [[number]] names");
            self.mark_handled(inbox);
            return self.drop_event("unknown_number");
        };
        let buried = self.graveyard.look_up(&wa_call).cloned();
        let accept_by = at.min(now.wall) + self.parts.accept_window;
        let stale = accept_by < now.wall;
        if matches!(buried, Some(Tomb::Recorded(_))) || (stale && buried.is_none()) {
            self.mark_handled(inbox);
            return self.drop_event("stale");
        }
        let Some(user) = user else {
            self.mark_handled(inbox);
            return self.drop_event("nobody");
        };
        self.open_window(number_id, user.clone(), at);
        let crossed = self.take_crossing_phone(now, number, &user);
        let mut record = self.record_of_user_call(now, number, wa_call, user, call.name);
        record.opened = call.arrived;
        record.payload = call.payload;
        // A phone that dials this user has its place already.
        if crossed.is_none() && buried.is_none() && self.parts.media.judge() == CapacityState::Refusing {
            let call = Call::turned_away(now, record, self.parts.times, HangupCause::Overloaded);
            self.admit(call, number, inbox);
            return;
        }
        let nobody = crossed.is_some() || buried.is_some();
        let agent = self.take_waiting_agent(now, number, &record.user.clone()).filter(|_| !nobody);
        let mut plan = self.parts.numbers[number].plan_at(now.wall);
        if let Some(agent) = agent {
            plan = Some(plan.unwrap_or_default().after(agent, AGENT_FIRST));
        }
        if plan.is_none() && !nobody {
            let call = Call::turned_away(now, record, self.parts.times, HangupCause::Closed);
            self.admit(call, number, inbox);
            return;
        }
        let accept_by = accept_by - self.accept_times[number].reserve();
        let reception = self.reception(number, plan.filter(|_| !nobody), accept_by);
        let leg = crossed.as_ref().map(|(_, leg)| *leg);
        let crossed = crossed.map(|(crossed, _)| crossed);
        let call = Call::from_user(now, record, self.parts.times, call.offer, reception, crossed);
        let id = self.admit(call, number, inbox);
        if let (Some(leg), Some(live)) = (leg, self.calls.get_mut(&id)) {
            live.legs.insert(Fork(0), leg);
            self.by_leg.insert(leg, (id, Fork(0)));
        }
        if let Some(Tomb::Unborn(termination)) = buried {
            // Ended before we heard of it: a missed call that rings nobody.
            self.feed(now, id, Input::MetaTerminated(termination));
        } else if self.is_closing() {
            self.feed(now, id, Input::Ordered(crate::call::Order::Stop));
        }
    }

    /// A user's call opens the conversation window, taken or not (reference §16.6).
    fn open_window(&self, number: PhoneNumberId, user: UserId, at: Wall) {
        let store = self.parts.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.open_window(&number, &user, at).await {
                tracing::error!(%error, "when a user called could not be kept");
            }
        });
    }

    /// Whether `event`, left unhandled by the last process, may belong to a call that Meta still holds open
    /// though it is too late to take it: its record was lost with the machine's power.
    pub(super) fn is_lost_call(&self, now: Now, event: &Event) -> bool {
        let Event::Call(event) = event else { return false };
        let stale = event.at.min(now.wall) + self.parts.accept_window < now.wall;
        stale
            && matches!(event.kind, CallEventKind::UserCalled { .. })
            && self.graveyard.look_up(&event.call).is_none()
    }

    /// The plan of this hour; nobody for a call that needs no phone, or if none in it can ring now (rule 3).
    ///
    /// Who cannot ring now may be able to when its turn comes: it is asked again then.
    fn reception(&self, number: usize, plan: Option<RingPlan>, accept_by: Wall) -> Reception {
        let takes = |it: &RingPlan| it.answering.is_some() || it.targets().any(|it| self.is_usable(it));
        let plan = plan.filter(takes).unwrap_or_default();
        Reception { plan, pre_accept: self.parts.numbers[number].pre_accept, accept_by }
    }

    /// Whether a call to `target` can be tried: the phone is registered and may be disturbed, a server of the trunk is up.
    pub(super) fn is_usable(&self, target: &Endpoint) -> bool {
        match target {
            Endpoint::Phone(phone) => {
                !self.undisturbed.contains_key(phone) && self.parts.agent.is_registered(phone)
            }
            Endpoint::Trunk(trunk, _) => self.parts.agent.is_trunk_usable(trunk),
        }
    }

    /// A call to this user that is not up yet.
    fn crossing_call(&self, number: usize, user: &UserId) -> Option<CallId> {
        let crossing = self.calls.iter().find(|(_, live)| {
            let record = live.call.record();
            live.number == number
                && record.direction == CallDirection::BusinessInitiated
                && same_user(&record.user, user)
                && live.call.is_live()
                && !live.call.is_bridged()
        });
        crossing.map(|(id, _)| *id)
    }

    /// Rule 8: an agent for whom we are calling this user at this moment is rung first for the user's own call.
    fn take_waiting_agent(&mut self, now: Now, number: usize, user: &UserId) -> Option<Endpoint> {
        let id = self.crossing_call(number, user)?;
        let agent = self.calls.get_mut(&id)?.call.give_way(now)?;
        self.touch(id);
        Some(agent)
    }

    /// Rule 8: a phone that dials this user at this moment gets the user's own call.
    fn take_crossing_phone(
        &mut self,
        now: Now,
        number: usize,
        user: &UserId,
    ) -> Option<(CrossedLeg, crate::id::LegId)> {
        let id = self.crossing_call(number, user)?;
        let live = self.calls.get_mut(&id)?;
        let crossed = live.call.hand_over(now)?;
        let leg = live.legs.remove(&Fork(0))?;
        self.by_leg.remove(&leg);
        self.touch(id);
        Some((crossed, leg))
    }

    fn record_of_user_call(
        &mut self,
        now: Now,
        number: usize,
        wa_call: WaCallId,
        user: UserId,
        name: Option<Masked<String>>,
    ) -> CallRecord {
        let id = self.next_call_id(now);
        let number = &self.parts.numbers[number];
        let mut record =
            CallRecord::new(id, number.label.clone(), number.id.clone(), CallDirection::UserInitiated, user);
        record.wa_call = Some(wa_call);
        record.user_name = name;
        record
    }
}

fn same_user(one: &UserId, other: &UserId) -> bool {
    let phones = one.phone().is_some() && one.phone() == other.phone();
    let scoped = one.scoped().is_some() && one.scoped() == other.scoped();
    phones || scoped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::signalling::lane;
    use crate::io::store::{Stall, StoreSettings, Synchronous};
    use crate::policy::Permission;
    use crate::user::Msisdn;
    use crate::whatsapp::{PermissionResponse, ReplySource};

    /// A store, another way to the same file that soon says it is busy, and the directory of both.
    async fn calm_and_hasty() -> (tempfile::TempDir, Store, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("t.db");
        let calm = StoreSettings {
            synchronous: Synchronous::Normal,
            deadline: Duration::from_secs(30),
            ..StoreSettings::default()
        };
        let hasty = StoreSettings { deadline: Duration::from_millis(300), ..calm.clone() };
        let calm = Store::open(&path, calm).await.expect("a store");
        (directory, calm, Store::open(&path, hasty).await.expect("a store"))
    }

    fn ana() -> UserId {
        UserId::Phone(Msisdn::parse("5521955500123").expect("digits"))
    }

    /// Waits until the stalled store has refused a write.
    async fn refused(store: &Store) {
        let some = async {
            while store.figures().busy == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), some).await.expect("a write was refused");
    }

    #[tokio::test]
    async fn a_permission_that_is_taken_back_while_the_store_is_busy_is_kept_before_its_event_is_over() {
        let (_directory, calm, store) = calm_and_hasty().await;
        let number = PhoneNumberId::from("108911223344556");
        let reply = PermissionReply {
            id: "wamid.1".into(),
            number: number.clone(),
            user: ana(),
            at: Wall(1000),
            response: PermissionResponse::Declined,
            source: ReplySource::UserAction,
            context: None,
        };
        calm.set_permission(
            &number,
            &ana(),
            Permission::Permanent,
            crate::policy::LedgerSource::Operator,
            Wall(0),
        )
        .await
        .expect("set");
        let received = calm.receive(&[Event::Permission(reply.clone())], Wall(1001)).await.expect("received");
        let stall = Stall::begin(&store).await;
        let (replies, _ears) = mpsc::unbounded_channel();
        let keeping = tokio::spawn(keep_reply(store.clone(), replies, Some(received[0].0), reply));
        refused(&store).await;
        assert_eq!(calm.unhandled().await.expect("read").len(), 1, "it is not over yet");
        stall.end();
        keeping.await.expect("no panic");
        let held = calm.permission(&number, &ana()).await.expect("read");
        assert!(!held.holds(Wall(2000)), "the user took it back: {held:?}");
        assert!(calm.unhandled().await.expect("read").is_empty());
    }

    #[tokio::test]
    async fn a_pick_up_during_a_stall_of_the_store_counts_against_the_cap() {
        let (_directory, calm, store) = calm_and_hasty().await;
        let number = PhoneNumberId::from("108911223344556");
        let record = CallRecord::new(
            CallId(7),
            "sales".into(),
            number.clone(),
            CallDirection::BusinessInitiated,
            ana(),
        );
        calm.open_record(&record).await.expect("opened");
        let (attempt, rules) = (
            crate::policy::Attempt { number: number.clone(), user: ana(), call: CallId(7) },
            crate::policy::Rules::default(),
        );
        calm.set_permission(
            &number,
            &ana(),
            Permission::Permanent,
            crate::policy::LedgerSource::Operator,
            Wall(0),
        )
        .await
        .expect("set");
        let now = Now { mono: std::time::Instant::now(), wall: Wall(1000) };
        calm.reserve(&rules, &attempt, now).await.expect("decided");
        let accepted = CallEventKind::Accepted;
        let event = CallEvent {
            number: number.clone(),
            call: "wacid.A".into(),
            at: Wall(2000),
            user: None,
            opaque: None,
            kind: accepted,
        };
        let received = calm.receive(&[Event::Call(event)], Wall(2001)).await.expect("received");
        let stall = Stall::begin(&store).await;
        let (replies, _ears) = mpsc::unbounded_channel();
        let (lane, work) = lane::make(store.clone(), CallId(7), replies);
        let work = tokio::spawn(work);
        let ended = CallRecord { ended: Some(Wall(9000)), ..record };
        for write in
            [Write::Connected(Wall(2000)), Write::Handled(received[0].0), Write::Close(Box::new(ended))]
        {
            lane.send(write).expect("the lane listens");
        }
        drop(lane);
        refused(&store).await;
        stall.end();
        work.await.expect("no panic");
        let now = Now { wall: Wall(9500), ..now };
        let used = calm.cap_use(&number, Duration::from_hours(24), now).await.expect("read");
        assert_eq!(used.connected, 1, "{used:?}");
        assert!(calm.unhandled().await.expect("read").is_empty());
    }

    #[tokio::test]
    async fn r15_the_record_of_a_users_call_that_began_while_the_store_was_down_follows() {
        let (_directory, calm, store) = calm_and_hasty().await;
        let (number, direction) = (PhoneNumberId::from("108911223344556"), CallDirection::UserInitiated);
        let record = CallRecord::new(CallId(8), "sales".into(), number, direction, ana());
        let stall = Stall::begin(&store).await;
        let (replies, mut ears) = mpsc::unbounded_channel();
        let (lane, work) = lane::make(store.clone(), CallId(8), replies);
        let work = tokio::spawn(work);
        lane.send(Write::Open(Box::new(record.clone()), None)).expect("the lane listens");
        let told = ears.recv().await.expect("the call hears of it at once");
        assert!(matches!(told, (CallId(8), Reply::Input(Input::RecordRefused))), "{told:?}");
        stall.end();
        drop(lane);
        work.await.expect("no panic");
        assert_eq!(calm.call(CallId(8)).await.expect("read").map(|it| it.id), Some(CallId(8)));
    }
}
