//! The owner of all calls: registries, the drain of machine outputs, timers, panics.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::availability::Undisturbed;
use super::codec_choices::CodecChoices;
use super::counting::Figures;
use super::desks::LiveDesk;
use super::graveyard::{Graveyard, Tomb};
use super::lane::{self, Lane, Write};
use super::news::{self, News};
use super::notices::LiveNotice;
use super::numbers::AcceptTimes;
use super::quality::MetricPeers;
use super::registrations::{self, Keeper};
use super::{BusinessNumber, FeatureRules, KeyChoices, Question, Reply, Timings, TransferRules, translate};
use crate::call::{Call, CallTimes, Fork, HangupCause, Input, Order};
use crate::codec::EncoderSettings;
use crate::dialplan::DialPlan;
use crate::id::{CallId, LegId, PhoneNumberId, TrunkName, WaCallId};
use crate::io::dns::{Dns, LookupAnswer};
use crate::io::graph::GraphClient;
use crate::io::media::MediaEngine;
use crate::io::recording::Recorder;
use crate::io::sip::{Arrival, ConnectionFigures};
use crate::io::sounds::Sounds;
use crate::io::store::{InboxId, Store};
use crate::io::voicemail::Cabinet;
use crate::media::{RelayReport, Report};
use crate::metrics::label::{OfPart, Part};
use crate::metrics::{Registry, table};
use crate::policy::TollGuard;
use crate::random::Random;
use crate::sdp::protection::Protection;
use crate::sip::{Flow, ReferralId, UserAgent};
use crate::time::Now;

/// What the loop works with.
#[derive(Debug)]
pub struct Parts {
    /// The SIP endpoint.
    pub agent: UserAgent,
    /// The media workers.
    pub media: MediaEngine,
    /// Who records calls, if anybody does.
    pub recorder: Option<Recorder>,
    /// Who records messages, if any number takes them.
    pub messages: Option<Recorder>,
    /// Where messages stand.
    pub cabinet: Cabinet,
    /// The database.
    pub store: Store,
    /// The way to DNS.
    pub dns: Dns,
    /// The way to Meta.
    pub graph: Arc<GraphClient>,
    /// The business numbers.
    pub numbers: Vec<BusinessNumber>,
    /// Who may dial what.
    pub dialplan: DialPlan,
    /// What features are allowed.
    pub feature_rules: FeatureRules,
    /// What trunks may do in a transfer.
    pub transfer_rules: TransferRules,
    /// How much may be dialled.
    pub toll: TollGuard,
    /// The times that calls live by.
    pub times: CallTimes,
    /// From the webhook's time stamp to the last moment for `accept` (rule 2; reference §10).
    pub accept_window: Duration,
    /// When media counts as dead (rule 20).
    pub dead_after: Duration,
    /// When a phone that has fallen silent is asked whether it is still there.
    pub ask_after: Duration,
    /// When comfort noise towards Meta begins (rule 11).
    pub comfort_after: Duration,
    /// Who is offered VoIP metrics.
    pub metric_peers: MetricPeers,
    /// Who keeps the time of what is heard, by phone and trunk (rule 13).
    pub timings: Timings,
    /// What phones are offered, best first.
    pub codecs: CodecChoices,
    /// How keys are told to them.
    pub keys: KeyChoices,
    /// In which ways phones that are called are offered protection, the commonest first.
    pub ways: Vec<Protection>,
    /// How Opus is encoded.
    pub encoder: EncoderSettings,
    /// What is played into calls.
    pub sounds: Sounds,
    /// Where events are counted.
    pub metrics: Arc<Registry>,
    /// The next free call id's generator.
    pub random: Random,
}

/// One call with everything that belongs to it.
pub(super) struct Live {
    pub(super) call: Call,
    pub(super) number: usize,
    pub(super) lane: Lane,
    pub(super) legs: BTreeMap<Fork, LegId>,
    pub(super) inbox: Option<InboxId>,
    pub(super) deadline: Option<Instant>,
    /// Our offer to the next phones, in each of the ways.
    pub(super) offers: Vec<(Protection, String)>,
}

/// The one owner of signalling state.
pub struct Switchboard {
    pub(super) parts: Parts,
    pub(super) calls: BTreeMap<CallId, Live>,
    /// Calls between desks; no id is in both.
    pub(super) desks: BTreeMap<CallId, LiveDesk>,
    pub(super) by_wa: HashMap<WaCallId, CallId>,
    pub(super) by_leg: HashMap<LegId, (CallId, Fork)>,
    /// What phones hear that have no call.
    pub(super) notices: BTreeMap<CallId, LiveNotice>,
    /// Legs that a transfer has taken from a call that may get them back.
    pub(super) borrowed: HashMap<LegId, (CallId, Fork)>,
    /// Where a REFER came that another call carries out.
    pub(super) referral_legs: HashMap<(CallId, ReferralId), LegId>,
    pub(super) graveyard: Graveyard,
    pub(super) accept_times: Vec<AcceptTimes>,
    pub(super) figures: Figures,
    pub(super) replies_in: mpsc::UnboundedSender<(CallId, Reply)>,
    pub(super) replies: mpsc::UnboundedReceiver<(CallId, Reply)>,
    pub(super) stopping: Option<Instant>,
    /// Trunks are told until then that we go; then they may find out.
    pub(super) leaving: Option<Instant>,
    pub(super) draining: Option<oneshot::Sender<()>>,
    pub(super) keeper: Option<Keeper>,
    pub(super) news: Option<News>,
    /// Trunks whose servers DNS has moved.
    pub(super) moved: Vec<TrunkName>,
    pub(super) undisturbed: Undisturbed,
    lanes: tokio::task::JoinSet<()>,
    deadlines: BTreeSet<(Instant, CallId)>,
    touched: BTreeSet<CallId>,
}

/// How long a stop waits for BYE, `terminate` and the records.
const STOP_TIME: Duration = Duration::from_secs(10);
/// How long a stop waits for trunks to take a registration back.
const FAREWELL: Duration = Duration::from_secs(2);

impl Switchboard {
    /// A switchboard without calls.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (replies_in, replies) = mpsc::unbounded_channel();
        let accept_times = parts.numbers.iter().map(|_| AcceptTimes::default()).collect();
        let mut lanes = tokio::task::JoinSet::new();
        let (keeper, work) = registrations::make(parts.store.clone(), parts.agent.sockets());
        lanes.spawn(work);
        let (news, work) = news::make(parts.store.clone());
        lanes.spawn(work);
        Self {
            parts,
            calls: BTreeMap::new(),
            desks: BTreeMap::new(),
            by_wa: HashMap::new(),
            by_leg: HashMap::new(),
            notices: BTreeMap::new(),
            borrowed: HashMap::new(),
            referral_legs: HashMap::new(),
            graveyard: Graveyard::default(),
            accept_times,
            figures: Figures::default(),
            replies_in,
            replies,
            stopping: None,
            leaving: None,
            draining: None,
            keeper: Some(keeper),
            news: Some(news),
            moved: Vec::new(),
            undisturbed: Undisturbed::new(),
            lanes,
            deadlines: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Begins to register with trunks and to watch them.
    pub fn start_trunks(&mut self) {
        self.parts.agent.start_trunks(super::now());
    }

    pub(super) fn handle_arrival(&mut self, now: Now, arrival: Arrival) {
        match arrival {
            Arrival::Message(flow, bytes) => self.parts.agent.handle_message(now, flow, &bytes),
            Arrival::Endless(flow, bytes) => self.parts.agent.handle_endless(flow, &bytes),
            Arrival::Closed(flow) => self.parts.agent.handle_closed(now, flow),
        }
    }

    pub(super) fn flows_in_use(&self) -> HashSet<Flow> {
        self.parts.agent.flows_in_use().collect()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(Flow, Vec<u8>)> {
        self.parts.agent.poll_transmit()
    }

    pub(super) fn note_connections(&mut self, figures: ConnectionFigures) {
        self.figures.connections = figures;
    }

    pub(super) fn count_unsent(&mut self) {
        self.figures.unsent += 1;
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let call = self.deadlines.first().map(|(at, _)| *at);
        [call, self.stopping, self.leaving, self.notice_timeout(), self.parts.agent.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lets every machine finish what has become due, until all are quiet.
    pub(super) fn settle(&mut self, now: Now) {
        self.parts.agent.handle_timeout(now);
        self.settle_notices(now);
        while let Some((at, call)) = self.deadlines.first().copied() {
            if at > now.mono {
                break;
            }
            self.deadlines.remove(&(at, call));
            if self.desks.contains_key(&call) {
                self.with_desk(now, call, |call| call.handle_timeout(now));
            } else {
                self.with_call(now, call, |call| call.handle_timeout(now));
            }
        }
        loop {
            while let Some(event) = self.parts.agent.poll_event() {
                self.handle_sip_event(now, event);
            }
            let Some(id) = self.touched.pop_first() else { break };
            if self.desks.contains_key(&id) {
                self.drain_desk(now, id);
            } else {
                self.drain_call(now, id);
            }
        }
        while let Some(lookup) = self.parts.agent.poll_lookup() {
            self.parts.dns.begin(lookup);
        }
        self.keep_registrations(now);
        self.tell_of_bans(now);
    }

    pub(super) fn handle_located(&mut self, now: Now, (id, answer): LookupAnswer) {
        self.parts.agent.handle_located(now, id, answer);
    }

    /// A trunk whose servers are elsewhere now, and where.
    pub(super) fn poll_moved(&mut self) -> Option<(TrunkName, Vec<SocketAddr>)> {
        let trunk = self.moved.pop()?;
        let servers = self.parts.agent.servers_of(&trunk);
        Some((trunk, servers))
    }

    pub(super) fn feed(&mut self, now: Now, id: CallId, input: Input) {
        let span = tracing::debug_span!("call", %id);
        let _entered = span.enter();
        tracing::debug!(input = input.name());
        if self.desks.contains_key(&id) {
            return self.with_desk(now, id, |call| call.handle_input(now, input));
        }
        self.with_call(now, id, |call| call.handle_input(now, input));
    }

    /// Sees to it that the call's outputs are carried out at the next settling.
    pub(super) fn touch(&mut self, id: CallId) {
        self.touched.insert(id);
    }

    /// Runs `act` on a call; a panic in it ends that call alone.
    fn with_call(&mut self, now: Now, id: CallId, act: impl FnOnce(&mut Call)) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let ran = catch_unwind(AssertUnwindSafe(|| act(&mut live.call)));
        if ran.is_err() {
            tracing::error!(call = %id, "a bug of ours ended this call; please report the log");
            self.parts.metrics.count(&table::PANICS, &OfPart { part: Part::Call });
            let live = self.calls.get_mut(&id).expect("looked up above");
            let ended = catch_unwind(AssertUnwindSafe(|| {
                live.call.handle_input(now, Input::Ordered(Order::Panic));
            }));
            if ended.is_err() {
                self.bury(now, id);
                return;
            }
        }
        self.touched.insert(id);
    }

    /// The last resort for a call whose machine is broken: both legs and the record end by hand.
    fn bury(&mut self, now: Now, id: CallId) {
        let Some(live) = self.calls.remove(&id) else { return };
        self.parts.media.order(id, crate::media::Order::Close);
        for leg in live.legs.values() {
            self.parts.agent.hang_up(now, *leg, None);
        }
        let mut record = live.call.record().clone();
        self.terminate_at_meta(live.number, record.wa_call.clone());
        let verdict = HangupCause::Panic.verdict();
        record.ended = Some(now.wall);
        record.cause = Some(verdict.label.to_owned());
        record.fault = Some(verdict.fault.as_str().to_owned());
        let _ = live.lane.send(Write::Close(Box::new(record)));
        self.by_leg.retain(|_, (call, _)| *call != id);
        self.by_wa.retain(|_, call| *call != id);
    }

    pub(super) fn drain_call(&mut self, now: Now, id: CallId) {
        while let Some(output) = self.calls.get_mut(&id).and_then(|live| live.call.poll_output()) {
            tracing::debug!(call = %id, output = output.name());
            self.carry_out(now, id, output);
        }
        let Some(live) = self.calls.get_mut(&id) else { return };
        if live.call.is_over() {
            self.forget(id);
            return;
        }
        let next = live.call.poll_timeout().map(|(at, _)| at);
        let old = std::mem::replace(&mut live.deadline, next);
        self.move_deadline(id, old, next);
    }

    /// The next deadline of a call is another one.
    pub(super) fn move_deadline(&mut self, id: CallId, old: Option<Instant>, next: Option<Instant>) {
        if let Some(old) = old.filter(|_| old != next) {
            self.deadlines.remove(&(old, id));
        }
        if let Some(at) = next {
            self.deadlines.insert((at, id));
        }
    }

    /// The legs of a call that is over, but for those that another call has by now.
    pub(super) fn forget_legs(&mut self, id: CallId, legs: impl IntoIterator<Item = LegId>) {
        for leg in legs {
            if self.by_leg.get(&leg).is_some_and(|(of, _)| *of == id) {
                self.by_leg.remove(&leg);
            }
        }
        self.referral_legs.retain(|(of, _), _| *of != id);
    }

    /// Writes of a call, in order, beside the loop.
    pub(super) fn start_lane(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while self.lanes.try_join_next().is_some() {}
        self.lanes.spawn(work);
    }

    fn forget(&mut self, id: CallId) {
        let Some(live) = self.calls.remove(&id) else { return };
        if let Some(at) = live.deadline {
            self.deadlines.remove(&(at, id));
        }
        self.forget_legs(id, live.legs.values().copied());
        if let Some(wa_call) = &live.call.record().wa_call {
            self.by_wa.remove(wa_call);
            self.graveyard.bury(wa_call.clone(), Tomb::Recorded(id));
        }
    }

    /// Takes a new call into the books; its first outputs are carried out at the next settling.
    pub(super) fn admit(&mut self, call: Call, number: usize, inbox: Option<InboxId>) -> CallId {
        let id = call.record().id;
        let (lane, work) = lane::make(self.parts.store.clone(), id, self.replies_in.clone());
        self.start_lane(work);
        if let Some(wa_call) = &call.record().wa_call {
            self.by_wa.insert(wa_call.clone(), id);
        }
        let record = call.record();
        tracing::info!(
            call = %id,
            number = %record.number,
            direction = record.direction.as_str(),
            user = %record.user,
            "call begins"
        );
        let live =
            Live { call, number, lane, legs: BTreeMap::new(), inbox, deadline: None, offers: Vec::new() };
        self.calls.insert(id, live);
        self.touched.insert(id);
        id
    }

    /// A call id in the order of creation: the time in the upper bits, chance in the lower.
    pub(super) fn next_call_id(&mut self, now: Now) -> CallId {
        let millis = u64::try_from(now.wall.millis()).unwrap_or(0);
        loop {
            let id = CallId((millis << 20) | u64::from(self.parts.random.next_u32() >> 12));
            if !self.calls.contains_key(&id)
                && !self.notices.contains_key(&id)
                && !self.desks.contains_key(&id)
            {
                return id;
            }
        }
    }

    pub(super) fn number_of(&self, id: &PhoneNumberId) -> Option<usize> {
        self.parts.numbers.iter().position(|number| number.id == *id)
    }

    pub(super) fn handle_report(&mut self, now: Now, id: CallId, report: Report) {
        if self.heard_by_notice(now, id, &report) {
            return;
        }
        if let Some(summary) = self.calls.contains_key(&id).then_some(&report).and_then(Report::summary) {
            self.count_quality(summary);
        }
        self.keep_offers(id, &report);
        if let Report::CodePressed(code) = &report {
            return self.code_pressed(now, id, code);
        }
        if let Report::KeyPressed { digit, duration } = report {
            return self.key_pressed(now, id, digit, duration);
        }
        if let Report::Relay(RelayReport::KeyPressed { seat, digit, duration }) = report {
            return self.desk_key_pressed(now, id, seat, (digit, duration));
        }
        let Some(input) = translate::from_media(report) else {
            return tracing::debug!(call = %id, "the peer closed DTLS");
        };
        self.feed(now, id, input);
    }

    pub(super) fn handle_reply(&mut self, now: Now, id: CallId, reply: Reply) {
        let input = match reply {
            Reply::Asked(ask) => return self.asked(now, ask),
            Reply::Messages(counts) => return self.messages_counted(now, &counts),
            Reply::Hearing(hearing) => return self.messages_found(now, *hearing),
            Reply::Claimed(claimed) => return self.claimed(now, *claimed),
            Reply::Noted(said) => return self.noted(now, &said),
            Reply::Awaited(awaited) => return self.ring_desk(now, awaited),
            Reply::Input(input) => input,
            Reply::Graph(kind, took, input) => {
                self.note_graph(id, kind, took, &input);
                input
            }
        };
        if matches!(input, Input::Reserved(_)) && !self.calls.contains_key(&id) {
            // The caller gave up meanwhile: nobody else would give the place back.
            let store = self.parts.store.clone();
            tokio::spawn(async move { store.release(id).await });
        }
        self.feed(now, id, input);
    }

    pub(super) fn handle_question(&mut self, now: Now, question: Question) {
        match question {
            Question::Figures(answer) => {
                let _ = answer.send(self.take_figures(now));
            }
            Question::Bans(answer) => {
                let _ = answer.send(self.parts.agent.bans(now));
            }
            Question::LiftBan(source, user, answer) => {
                let lifted = self.parts.agent.lift_ban(now, source, user.as_deref());
                tracing::info!(%source, lifted, "bans were lifted by command");
                let _ = answer.send(lifted);
            }
            Question::Resync(phone, answer) => {
                let places = self.parts.agent.ask_to_resync(now, &phone);
                tracing::info!(%phone, places, "asked to look for a new configuration by command");
                let _ = answer.send(places);
            }
            Question::HangUp(id, answer) => {
                let up = self.calls.get(&id).is_some_and(|live| live.call.is_live());
                if up {
                    self.feed(now, id, Input::Ordered(Order::HangUp));
                }
                let _ = answer.send(up);
            }
            Question::Undisturbed(answer) => {
                let all = self.undisturbed.iter().map(|(phone, since)| (phone.clone(), *since));
                let _ = answer.send(all.collect());
            }
            Question::SetDisturb(phone, disturb, answer) => {
                let _ = answer.send(self.set_disturb(now, &phone, disturb));
            }
            Question::QueueOf(phone, group, answer) => {
                let _ = answer.send(self.queue_of(&phone, group.as_deref()));
            }
            Question::Originate(wanted, answer) => {
                let _ = answer.send(self.originate(now, wanted));
            }
            Question::Closing(answer) => {
                // Asked twice a second: the load is followed also while no calls come.
                let _ = self.parts.media.judge();
                let _ = answer.send(self.is_closing());
            }
            Question::Trunks(answer) => {
                let _ = answer.send(self.parts.agent.trunks().collect());
            }
            Question::Drain(done) => {
                tracing::info!(calls = self.calls.len() + self.desks.len(), "draining: no new calls");
                self.draining = Some(done);
                self.leave_trunks(now);
            }
            Question::Stop => {
                tracing::info!(
                    calls = self.calls.len() + self.desks.len(),
                    "stopping: calls are ended on both sides"
                );
                self.stopping = Some(now.mono + STOP_TIME);
                self.leave_trunks(now);
                let live: Vec<_> = self.calls.keys().chain(self.desks.keys()).copied().collect();
                for id in live {
                    self.feed(now, id, Input::Ordered(Order::Stop));
                }
            }
        }
    }

    /// Whether new calls are turned away.
    pub(super) fn is_closing(&self) -> bool {
        self.stopping.is_some() || self.draining.is_some()
    }

    pub(super) fn is_done(&mut self, now: Now) -> bool {
        let none = self.calls.is_empty() && self.desks.is_empty();
        if none && let Some(done) = self.draining.take() {
            let _ = done.send(());
            self.stopping.get_or_insert(now.mono + STOP_TIME);
        }
        if self.leaving.is_some_and(|until| now.mono >= until || self.parts.agent.has_left_trunks()) {
            self.leaving = None;
        }
        let quiet = none && self.leaving.is_none();
        self.stopping.is_some_and(|until| quiet || now.mono >= until)
    }

    /// Trunks send their calls elsewhere from now on.
    fn leave_trunks(&mut self, now: Now) {
        if self.leaving.is_none() && !self.parts.agent.has_left_trunks() {
            self.parts.agent.leave_trunks(now);
            self.leaving = Some(now.mono + FAREWELL);
        }
    }

    /// Waits for what the lanes still have to write, for a bounded time.
    pub(super) async fn write_last_words(&mut self) {
        self.calls.clear();
        self.desks.clear();
        self.keeper = None;
        self.news = None;
        let written = async { while self.lanes.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIME, written).await.is_err() {
            tracing::error!("some records could not be closed: the next start closes them");
        }
    }
}
