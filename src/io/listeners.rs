//! The HTTP listeners: webhooks from Meta, the API, and figures for the administrator.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::admin::{self, AdminState, Health, MoreRoutes};
use super::api::{self, Api, ApiParts, Hook, Hooks, Mailbox};
use super::app::{AppError, bind_tcp};
use super::certificates::{Certificate, CertificateFiles, Listening, reload_when_changed};
use super::graph::GraphClient;
use super::media::{Flow, MediaEngine, MediaFigures};
use super::recording::{End, Recorder, RecorderFigures};
use super::signalling::{Figures, Question};
use super::sip::ConnectionFigures;
use super::spans::Spans;
use super::store::{Operation, Store};
use super::tls::{ClientCertificates, TlsSetupError};
use super::webhook::{self, Delivery, WebhookCounters, WebhookServer, WebhookState};
use crate::config::{Config, NumberConfig, TlsConfig};
use crate::id::TrunkName;
use crate::masked::Secret;
use crate::media::{CapacityState, Histogram};
use crate::metrics::label::{
    Labels, Leg, LegWay, NumberDirection, OfKind, OfLeg, OfLookup, OfNumber, OfOperation, OfPhone, OfRealm,
    OfServer, OfTrunk, OfWay, OfWebhook, OfWorker, Realm, ServerAddress, StoreOperation, Way, Word,
    WorkerIndex,
};
use crate::metrics::table::{self, Distribution};
use crate::metrics::{Registry, Scrape};
use crate::policy::PickUp;
use crate::sip::defence::{Dropped, Ground};
use crate::sip::trunk::{Lookups, NameState, RegistrationState, ServerState};
use crate::sip::{DefenceFigures, TrunkStatus};

/// The running webhook listener.
pub(super) struct Webhook {
    pub(super) address: SocketAddr,
    pub(super) server: Arc<WebhookServer>,
    pub(super) counters: Arc<WebhookCounters>,
}

/// Starts to take webhooks; what is new and durable goes to `events`.
pub(super) async fn webhook(
    config: &Config,
    store: Store,
    events: mpsc::UnboundedSender<Delivery>,
) -> Result<Webhook, AppError> {
    let counters = Arc::new(WebhookCounters::default());
    let secret = |secret: &Secret<String>| Secret::new(secret.expose().clone());
    let state = WebhookState::new(
        secret(&config.webhook.verify_token),
        config.webhook.app_secrets.iter().map(secret).collect(),
        store,
        events,
        Arc::clone(&counters),
    );
    let tls = match &config.webhook.tls {
        Some(tls) => Some(certificate_of(Listening::Webhook, tls)?),
        None => None,
    };
    let listener = bind_tcp("webhook.listen", config.webhook.listen).await?.into_std()?;
    let address = listener.local_addr()?;
    let server = webhook::serve(listener, tls, webhook::router(&config.webhook.path, state))?;
    Ok(Webhook { address, server: Arc::new(server), counters })
}

/// The certificate of a section, which follows its files.
fn certificate_of(listening: Listening, tls: &TlsConfig) -> Result<Certificate, TlsSetupError> {
    let TlsConfig { certificate, key } = tls.clone();
    reload_when_changed(CertificateFiles {
        listening,
        certificate,
        key,
        clients: ClientCertificates::Unasked,
    })
}

/// Starts the API where the configuration wants one; gives its address and the deliveries of events.
pub(super) async fn api(
    config: &Config,
    store: Store,
    questions: mpsc::UnboundedSender<Question>,
    graph: Arc<GraphClient>,
    mailbox: Mailbox,
) -> Result<(Option<SocketAddr>, Hooks), AppError> {
    let hooks = Hooks::default();
    let Some(settings) = &config.api else { return Ok((None, hooks)) };
    let parts = ApiParts::new(config, settings.tokens(), store, questions, graph);
    let shared = Api::new(ApiParts { mailbox: Some(mailbox), ..parts });
    let tls = match &settings.tls {
        Some(tls) => Some(certificate_of(Listening::Api, tls).map_err(AppError::ApiTls)?),
        None => None,
    };
    let listener = bind_tcp("api.listen", settings.listen).await?.into_std()?;
    let (address, _server) = api::serve(listener, tls, shared.clone())?;
    hooks.start(&shared, settings.hooks.iter().map(Hook::new).collect()).map_err(AppError::Hooks)?;
    Ok((Some(address), hooks))
}

/// What the admin side asks for its figures and health.
#[derive(Clone)]
struct Sources {
    store: Store,
    media: MediaEngine,
    recorder: Option<Recorder>,
    webhook: Arc<WebhookCounters>,
    hooks: Hooks,
    questions: mpsc::UnboundedSender<Question>,
    phones: Vec<crate::id::PhoneName>,
    ports: (usize, usize),
    numbers: Arc<Vec<NumberConfig>>,
}

/// Starts the administrator's listener.
pub(super) async fn admin(
    config: &Config,
    store: Store,
    (media, recorder): (MediaEngine, Option<Recorder>),
    (webhook, hooks): (&Webhook, Hooks),
    (questions, more): (mpsc::UnboundedSender<Question>, MoreRoutes),
    metrics: Arc<Registry>,
) -> Result<SocketAddr, AppError> {
    let listener = bind_tcp("admin.listen", config.admin.listen).await?;
    let address = listener.local_addr()?;
    let sources = Sources {
        store: store.clone(),
        media,
        recorder,
        webhook: Arc::clone(&webhook.counters),
        hooks,
        questions: questions.clone(),
        phones: config.phones.iter().map(|phone| phone.name.clone()).collect(),
        ports: (config.media.outside.ports.clone().count(), config.media.inside.ports.clone().count()),
        numbers: Arc::new(config.numbers.clone()),
    };
    let server = Arc::clone(&webhook.server);
    let pulse = Arc::new(Pulse {
        alive: AtomicBool::new(true),
        store: AtomicBool::new(true),
        closing: AtomicBool::new(false),
        trunks: Mutex::default(),
    });
    let (pulse_seen, trunks_seen) = (Arc::clone(&pulse), Arc::clone(&pulse));
    let bans = super::bans::router(questions.clone())
        .merge(super::phones::router(questions.clone(), sources.phones.clone()))
        .merge(super::desk::router(questions.clone(), store.clone(), &config.numbers))
        .merge(more);
    let state = AdminState {
        metrics,
        figures: Box::new(move || Box::pin(scrape(sources.clone()))),
        health: Box::new(move || Health { webhook: server.is_running(), ..pulse_seen.read() }),
        trunks: Box::new(move || trunks_seen.trunks().clone()),
    };
    tokio::spawn(feel_pulse(pulse, store, questions));
    tokio::spawn(async move {
        if let Err(error) = admin::serve(listener, Arc::new(state), bans, std::future::pending()).await {
            tracing::error!(%error, "the admin listener failed");
        }
    });
    Ok(address)
}

/// What was last known of the parts that must be asked.
#[derive(Debug)]
struct Pulse {
    alive: AtomicBool,
    store: AtomicBool,
    closing: AtomicBool,
    trunks: Mutex<Vec<(TrunkName, &'static str)>>,
}

impl Pulse {
    fn trunks(&self) -> MutexGuard<'_, Vec<(TrunkName, &'static str)>> {
        self.trunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Health {
        let read = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let alive = read(&self.alive);
        Health { alive, store: read(&self.store), sip: alive, webhook: true, draining: read(&self.closing) }
    }
}

/// Twice a second: signalling answers, the store writes.
async fn feel_pulse(pulse: Arc<Pulse>, store: Store, questions: mpsc::UnboundedSender<Question>) {
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    loop {
        beat.tick().await;
        let (answer, closing) = oneshot::channel();
        let asked = questions.send(Question::Closing(answer)).is_ok();
        let heard = tokio::time::timeout(PATIENCE, closing).await;
        pulse.alive.store(asked && matches!(heard, Ok(Ok(_))), Ordering::Relaxed);
        if let Ok(Ok(closing)) = heard {
            pulse.closing.store(closing, Ordering::Relaxed);
        }
        let (answer, trunks) = oneshot::channel();
        let _ = questions.send(Question::Trunks(answer));
        if let Ok(Ok(trunks)) = tokio::time::timeout(PATIENCE, trunks).await {
            *pulse.trunks() = trunks.iter().map(|it| (it.name.clone(), it.as_text())).collect();
        }
        let probed = tokio::time::timeout(PATIENCE, store.probe()).await;
        pulse.store.store(matches!(probed, Ok(Ok(()))), Ordering::Relaxed);
    }
}

/// How long signalling may take to say its figures.
const PATIENCE: Duration = Duration::from_secs(2);

async fn scrape(sources: Sources) -> Scrape {
    let mut scrape = Scrape::default();
    let (answer, figures) = oneshot::channel();
    let _ = sources.questions.send(Question::Figures(answer));
    if let Ok(Ok(figures)) = tokio::time::timeout(PATIENCE, figures).await {
        signalling_figures(&mut scrape, &figures, &sources);
    }
    media_figures(&mut scrape, &sources.media.figures(), sources.ports);
    let recorded = sources.recorder.as_ref().map(Recorder::figures).unwrap_or_default();
    recorder_figures(&mut scrape, &recorded);
    let webhooks = sources.webhook.figures();
    spans(&mut scrape, &table::WEBHOOK_DURATION, &(), &webhooks.times);
    for (outcome, count) in webhooks.outcomes {
        scrape.total(&table::WEBHOOKS, &OfWebhook { outcome: Word(outcome.label()) }, count as f64);
    }
    let hooks = sources.hooks.figures();
    for (kind, count) in
        [("delivered", hooks.delivered), ("failed", hooks.failed), ("given_up", hooks.given_up)]
    {
        scrape.total(&table::HOOK_EVENTS, &OfKind { kind: Word(kind) }, count as f64);
    }
    store_figures(&mut scrape, &sources).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    scrape.gauge(&table::TASKS, &(), tasks as f64);
    scrape.total(&table::LOG_DROPPED, &(), super::log::dropped() as f64);
    for (listener, end) in super::certificates::ends() {
        scrape.gauge(&table::CERTIFICATE_EXPIRES, &OfKind { kind: Word(listener) }, end.as_secs() as f64);
    }
    scrape
}

fn signalling_figures(scrape: &mut Scrape, figures: &Figures, sources: &Sources) {
    for ((number, direction), count) in &figures.live {
        let labels = NumberDirection { number: number.clone(), direction: *direction };
        scrape.gauge(&table::CALLS_ACTIVE, &labels, *count as f64);
    }
    scrape.gauge(&table::DESK_ACTIVE, &(), figures.desks as f64);
    for phone in &sources.phones {
        let registered = figures.registered.contains(phone);
        let labels = OfPhone { phone: phone.clone() };
        scrape.gauge(&table::PHONE_REGISTERED, &labels, f64::from(u8::from(registered)));
    }
    let sip = &figures.sip;
    scrape.total(&table::SIP_DATAGRAMS, &OfWay { way: Way::In }, sip.received as f64);
    scrape.total(&table::SIP_DATAGRAMS, &OfWay { way: Way::Out }, sip.sent as f64);
    for (kind, count) in &sip.faults {
        scrape.total(&table::SIP_FAULTS, &OfKind { kind: Word(kind.as_str()) }, *count as f64);
    }
    for (kind, count) in [
        ("repeated", sip.repeated),
        ("stray_response", sip.stray_responses),
        ("challenge", sip.challenges),
        ("bad_credentials", sip.bad_credentials),
        ("overload", sip.overloads),
        ("muted", sip.muted),
        ("resent", sip.resent),
        ("ack_timeout", sip.ack_timeouts),
        ("notify", sip.notifies),
        ("watcher_lost", sip.lost_watchers),
        ("keepalive_sent", sip.pulses),
        ("phone_lost", sip.lost_ways),
        ("keepalive", sip.keepalives),
        ("unsent", figures.unsent),
    ] {
        scrape.total(&table::SIP_EVENTS, &OfKind { kind: Word(kind) }, count as f64);
    }
    for (kind, count) in figures.refused_dials.iter().chain(&figures.dropped_events) {
        scrape.total(&table::REFUSED, &OfKind { kind: Word(kind) }, *count as f64);
    }
    for (transport, count) in &figures.connections.open {
        scrape.gauge(&table::SIP_CONNECTIONS, &OfKind { kind: Word(transport.as_str()) }, *count as f64);
    }
    let ConnectionFigures { refused, denied, choked, idle, unopened, broken, .. } = figures.connections;
    for (kind, count) in [
        ("refused", refused),
        ("denied", denied),
        ("choked", choked),
        ("idle", idle),
        ("unopened", unopened),
        ("broken", broken),
    ] {
        scrape.total(&table::SIP_CONNECTION_ENDS, &OfKind { kind: Word(kind) }, count as f64);
    }
    for trunk in &figures.trunks {
        trunk_figures(scrape, trunk);
    }
    defence_figures(scrape, &figures.defence);
    scrape.gauge(&table::SIP_REGISTERED, &(), sip.bindings as f64);
    scrape.gauge(&table::SIP_SUBSCRIPTIONS, &(), sip.subscriptions as f64);
    scrape.gauge(&table::SIP_LEGS, &(), sip.legs as f64);
    scrape.gauge(&table::SIP_TRANSACTIONS, &(), sip.transactions as f64);
}

fn trunk_figures(scrape: &mut Scrape, trunk: &TrunkStatus) {
    let flag = |on: bool| f64::from(u8::from(on));
    for (server, state) in &trunk.servers {
        let labels = OfServer { trunk: trunk.name.clone(), server: ServerAddress(*server) };
        scrape.gauge(&table::TRUNK_SERVER_UP, &labels, flag(*state == ServerState::Up));
    }
    let labels = OfTrunk { trunk: trunk.name.clone() };
    if let Some(registration) = trunk.registration {
        let stands = matches!(registration, RegistrationState::Registered(_));
        scrape.gauge(&table::TRUNK_REGISTERED, &labels, flag(stands));
    }
    scrape.gauge(&table::TRUNK_LOGIN_REFUSED, &labels, flag(trunk.login_refused));
    scrape.gauge(&table::TRUNK_CALLS, &labels, f64::from(trunk.calls));
    scrape.total(&table::TRUNK_TURNED_AWAY, &labels, trunk.turned_away as f64);
    scrape.total(&table::TRUNK_FAILOVERS, &labels, trunk.failovers as f64);
    if !trunk.names.is_empty() {
        name_figures(scrape, trunk);
    }
}

/// Of a trunk that is given by name.
fn name_figures(scrape: &mut Scrape, trunk: &TrunkStatus) {
    let Lookups { found, nowhere, unanswered, waited } = trunk.lookups;
    for (outcome, count) in [("found", found), ("nowhere", nowhere), ("unanswered", unanswered)] {
        let labels = OfLookup { trunk: trunk.name.clone(), outcome: Word(outcome) };
        scrape.total(&table::DNS_LOOKUPS, &labels, count as f64);
    }
    let labels = OfTrunk { trunk: trunk.name.clone() };
    let names = |wanted: fn(NameState) -> bool| trunk.names.iter().filter(|(_, it)| wanted(*it)).count();
    scrape.total(&table::DNS_WAITS, &labels, waited as f64);
    scrape.gauge(&table::DNS_STALE, &labels, names(|it| it == NameState::Stale) as f64);
    let unknown = names(|it| matches!(it, NameState::Unknown | NameState::Nowhere));
    scrape.gauge(&table::DNS_UNKNOWN, &labels, unknown as f64);
}

/// A series for each word from the start: an alert sees the first step.
fn defence_figures(scrape: &mut Scrape, figures: &DefenceFigures) {
    let count = |it: Option<&u64>| it.copied().unwrap_or(0) as f64;
    for why in Dropped::ALL {
        let labels = OfKind { kind: Word(why.as_str()) };
        scrape.total(&table::SIP_DROPPED, &labels, count(figures.dropped.get(&why)));
    }
    for ground in Ground::ALL {
        let labels = OfKind { kind: Word(ground.as_str()) };
        scrape.total(&table::SIP_BANS, &labels, count(figures.bans.get(&ground)));
    }
    for (kind, count) in [("source", figures.sources), ("user", figures.users)] {
        scrape.gauge(&table::SIP_BANNED, &OfKind { kind: Word(kind) }, count as f64);
    }
}

/// The packets of all calls; what goes to phones came from the WhatsApp leg.
fn packets(scrape: &mut Scrape, to_phone: &Flow, to_meta: &Flow) {
    for (from, to, direction) in [(Leg::WhatsApp, Leg::Phone, to_phone), (Leg::Phone, Leg::WhatsApp, to_meta)]
    {
        let (came, went) = (LegWay { leg: from, way: Way::In }, LegWay { leg: to, way: Way::Out });
        scrape.total(&table::MEDIA_PACKETS, &came, direction.packets_in as f64);
        scrape.total(&table::MEDIA_PACKETS, &went, direction.packets_out as f64);
        scrape.total(&table::MEDIA_BYTES, &came, direction.bytes_in as f64);
        scrape.total(&table::MEDIA_BYTES, &went, direction.bytes_out as f64);
        for (total, count) in [
            (&table::MEDIA_LOST, direction.lost),
            (&table::MEDIA_LATE, direction.late),
            (&table::MEDIA_DUPLICATE, direction.duplicates),
            (&table::MEDIA_RECOVERED, direction.recovered),
            (&table::MEDIA_CONCEALED, direction.concealed),
            (&table::MEDIA_REFUSED, direction.refused),
        ] {
            scrape.total(total, &OfLeg { leg: from }, count as f64);
        }
        scrape.total(&table::MEDIA_COMFORT, &OfLeg { leg: to }, direction.comfort as f64);
    }
}

fn media_figures(scrape: &mut Scrape, figures: &MediaFigures, ports: (usize, usize)) {
    for (worker, calls) in figures.calls.iter().enumerate() {
        let labels = OfWorker { worker: WorkerIndex(worker) };
        scrape.gauge(&table::MEDIA_CALLS, &labels, *calls as f64);
    }
    for (worker, shown) in figures.workers.iter().enumerate() {
        let labels = OfWorker { worker: WorkerIndex(worker) };
        scrape.gauge(&table::MEDIA_UTILISATION, &labels, shown.utilisation);
        scrape.gauge(&table::MEDIA_LAG, &labels, shown.worst_lag.as_secs_f64());
        scrape.total(&table::MEDIA_CPU, &labels, shown.cpu.as_secs_f64());
    }
    for state in CapacityState::ALL {
        let now = f64::from(u8::from(state == figures.state));
        scrape.gauge(&table::MEDIA_STATE, &OfKind { kind: Word(state.as_str()) }, now);
    }
    scrape.gauge(&table::MEDIA_CAPACITY, &(), figures.capacity as f64);
    scrape.gauge(&table::MEDIA_COST, &(), figures.call_cost);
    packets(scrape, &figures.flow_to_phone, &figures.flow_to_meta);
    for (way, count) in [(Way::In, figures.received), (Way::Out, figures.sent)] {
        scrape.total(&table::MEDIA_DATAGRAMS, &OfWay { way }, count as f64);
    }
    for (kind, count) in
        [("send_error", figures.send_errors), ("behind", figures.behind), ("panic", figures.panics)]
    {
        scrape.total(&table::MEDIA_TROUBLE, &OfKind { kind: Word(kind) }, count as f64);
    }
    transit(scrape, Leg::WhatsApp, &figures.to_phone);
    transit(scrape, Leg::Phone, &figures.to_meta);
    let (outside, inside) = (figures.outside_ports, figures.inside_ports);
    // The inside range counts ports, a call takes two of them.
    for (realm, all, free) in [(Realm::Outside, ports.0, outside.0), (Realm::Inside, ports.1 / 2, inside.0)] {
        scrape.gauge(&table::PORTS, &OfRealm { realm }, all as f64);
        scrape.gauge(&table::PORTS_USED, &OfRealm { realm }, all.saturating_sub(free) as f64);
    }
}

/// The time inside the gateway of packets that `leg` sent.
fn transit(scrape: &mut Scrape, leg: Leg, histogram: &Histogram) {
    let bounds = Histogram::BOUNDS.iter().map(|micros| f64::from(*micros) / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(histogram.counts().iter().copied()).collect();
    scrape.distribution(&table::MEDIA_TRANSIT, &OfLeg { leg }, &buckets, histogram.sum());
}

fn recorder_figures(scrape: &mut Scrape, figures: &RecorderFigures) {
    scrape.gauge(&table::RECORDINGS_ACTIVE, &(), figures.active as f64);
    scrape.total(&table::RECORDING_BYTES, &(), figures.bytes as f64);
    // A series that is there from the start lets an alert see its first step.
    for end in End::ALL {
        let count = figures.ended.iter().find(|(it, _)| *it == end).map_or(0, |(_, count)| *count);
        scrape.total(&table::RECORDINGS, &OfKind { kind: Word(end.label()) }, count as f64);
    }
    for (kind, count) in [("no_room", figures.unheard), ("late", figures.late), ("broken", figures.broken)] {
        scrape.total(&table::RECORDING_LOST, &OfKind { kind: Word(kind) }, count as f64);
    }
}

fn spans<L: Labels>(scrape: &mut Scrape, distribution: &Distribution<L>, labels: &L, spans: &Spans) {
    let buckets: Vec<_> = spans.buckets().collect();
    scrape.distribution(distribution, labels, &buckets, spans.sum);
}

/// The label of an operation.
const fn operation(operation: Operation) -> StoreOperation {
    match operation {
        Operation::Receive => StoreOperation::Receive,
        Operation::Open => StoreOperation::Open,
        Operation::Close => StoreOperation::Close,
        Operation::Reserve => StoreOperation::Reserve,
        Operation::Other => StoreOperation::Other,
    }
}

/// How Meta sees the number, as far as it can be known here.
async fn guard_figures(scrape: &mut Scrape, store: &Store, number: &NumberConfig) {
    let labels = OfNumber { number: number.label.clone() };
    let (id, at) = (&number.phone_number_id, super::signalling::now().wall);
    let ratio = |rate: PickUp| f64::from(rate.answered) / f64::from(rate.calls);
    if let Ok(restrictions) = store.restrictions(id, at).await {
        let restricted = restrictions.iter().any(|it| it.kind.starts_with("RESTRICTED"));
        scrape.gauge(&table::RESTRICTED, &labels, f64::from(u8::from(restricted)));
    }
    let alarm = number.guards.pickup;
    let (day, week) = store.pick_up_rates(id, alarm.counts, at).await.unwrap_or_default();
    scrape.gauge(&table::PICKUP_CALLS, &labels, f64::from(day.calls));
    for (metric, rate) in [(&table::PICKUP, day), (&table::PICKUP_BEFORE, week)] {
        if rate.calls > 0 {
            scrape.gauge(metric, &labels, ratio(rate));
        }
    }
    let low = alarm.is_due(day);
    scrape.gauge(&table::PICKUP_LOW, &labels, f64::from(u8::from(low)));
}

async fn store_figures(scrape: &mut Scrape, sources: &Sources) {
    let figures = sources.store.figures();
    for (kind, times) in Operation::ALL.into_iter().zip(&figures.times) {
        spans(scrape, &table::STORE_DURATION, &OfOperation { operation: operation(kind) }, times);
    }
    scrape.gauge(&table::STORE_QUEUE, &(), figures.queued as f64);
    scrape.total(&table::STORE_WRITES, &(), figures.writes as f64);
    scrape.total(&table::STORE_COMMITS, &(), figures.commits as f64);
    for (kind, count) in [("busy", figures.busy), ("failed", figures.failed)] {
        scrape.total(&table::STORE_FAILURES, &OfKind { kind: Word(kind) }, count as f64);
    }
    for number in sources.numbers.iter() {
        let labels = OfNumber { number: number.label.clone() };
        let window = number.cap_per_number.window;
        if let Ok(used) =
            sources.store.cap_use(&number.phone_number_id, window, super::signalling::now()).await
        {
            scrape.gauge(&table::CAP_USED, &labels, f64::from(used.connected));
            scrape.gauge(&table::RESERVATIONS, &labels, f64::from(used.reserved));
            scrape.gauge(&table::INITIATIONS, &labels, f64::from(used.started));
        }
        guard_figures(scrape, &sources.store, number).await;
        scrape.gauge(&table::CAP_LIMIT, &labels, f64::from(number.cap_per_number.max));
    }
}
