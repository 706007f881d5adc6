//! The gateway put together: from a configuration to a running process, and to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::api::{HooksSetupError, Mailbox};
use super::dns::Dns;
use super::graph::{GraphClient, GraphSettings, GraphSetupError};
use super::media::{MediaEngine, MediaSettings, Realm};
use super::recording::{Format, Kept, Recorder, RecorderSettings, Told, is_writable};
use super::signalling::{
    self, Browsers, BusinessNumber, CodecChoices, Ears, FeatureRules, GroupQueue, KeyChoices, MetricPeers, Parts,
    Question, Switchboard, Timings, TransferRules, Voice,
};
use super::sip_start::{self, bind_sockets};
use super::sounds::{SoundFault, Sounds};
use super::store::{ASKED_KEPT, Store, StoreError, StoreSettings, Synchronous};
use super::systemd;
use super::tls::TlsSetupError;
use super::voicemail::{self, Mailroom};
use crate::call::{self, CallTimes};
use crate::codec::AudioCodec;
use crate::config::{self, Config};
use crate::dialplan::{DialEntry, DialPlan, Neighbours, TrunkEntry};
use crate::masked::Secret;
use crate::media::CapacityLimits;
use crate::media::Timing;
use crate::metrics::Registry;
use crate::policy::{Cap, Rules, TollGuard};
use crate::random::Random;
use crate::sdp::narrow::Narrowing;
use crate::sdp::protection::Protection;
use crate::sip::UserAgent;
use crate::sip::alert::{Alert, Answering};

/// Why the gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address of the file cannot be used.
    #[error("{key} = {address} cannot be used: {source}; is another program listening there?")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The store cannot be opened or read.
    #[error("store.path = {path}: {source}", path = path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// Graph's client cannot be made.
    #[error("graph: {0}")]
    Graph(#[from] GraphSetupError),
    /// The certificate or key of the webhook listener cannot be used.
    #[error("webhook.tls: {0}")]
    Tls(#[from] TlsSetupError),
    /// A file of `[sounds]` cannot be played.
    #[error(transparent)]
    Sound(#[from] SoundFault),
    /// The certificate or key of the API's listener cannot be used.
    #[error("api.tls: {0}")]
    ApiTls(#[source] TlsSetupError),
    /// The receivers of events cannot be reached at all.
    #[error("api.hook: {0}")]
    Hooks(#[source] HooksSetupError),
    /// The certificate or key of the SIP listeners, or the authorities of a trunk, cannot be used.
    #[error("sip: {0}")]
    SipTls(#[source] TlsSetupError),
    /// Threads, signals or sockets of the system.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// Runs the gateway until it is told to stop and its calls have ended.
///
/// # Errors
/// When something of the configuration cannot be had: an address, the store, a certificate.
pub async fn serve(config: Config) -> Result<(), AppError> {
    let mut random = seed()?;
    let sounds = Sounds::load(&config.sounds, &config.recording.consent)?;
    let store = open_store(&config).await?;
    let (reports_in, reports) = mpsc::unbounded_channel();
    let (events_in, events) = mpsc::unbounded_channel();
    let (located_in, located) = mpsc::unbounded_channel();
    let (questions_in, questions) = mpsc::unbounded_channel();
    let media = MediaEngine::start(media_settings(&config), random.split(), reports_in)?;
    let sockets = bind_sockets(&config)?;
    let agent = UserAgent::new(sip_start::settings(&config, &sockets), random.split());
    let graph = Arc::new(GraphClient::new(graph_settings(&config))?);
    let metrics = registry(&config);
    let (told_in, told) = mpsc::unbounded_channel();
    let recorder = start_recorder(&config, told_in)?;
    let kept = tokio::spawn(signalling::keep_recordings(store.clone(), told));
    let mailroom = Mailroom::open(&config)?;
    let mut board = Switchboard::new(Parts {
        agent,
        media: media.clone(),
        recorder: recorder.clone(),
        messages: mailroom.recorder.clone(),
        cabinet: mailroom.cabinet.clone(),
        store: store.clone(),
        dns: Dns::new(config.sip.dns.servers.clone(), located_in),
        graph: Arc::clone(&graph),
        numbers: numbers(&config, voices(&config)?),
        dialplan: dialplan(&config),
        feature_rules: feature_rules(&config),
        transfer_rules: transfer_rules(&config),
        toll: TollGuard::new(config.calls.toll),
        times: times(&config),
        accept_window: config.calls.accept_window,
        dead_after: config.media.dead_after,
        comfort_after: config.media.comfort_after,
        metric_peers: metric_peers(&config),
        timings: timings(&config),
        keys: key_choices(&config),
        ways: ways(&config),
        codecs: codec_choices(&config),
        encoder: config.media.opus,
        sounds,
        metrics: Arc::clone(&metrics),
        random,
    });
    let unreadable = |source| AppError::Store { path: config.store.path.clone(), source };
    take_up(&mut board).await.map_err(unreadable)?;
    let bell = board.message_bell();
    let mailroom = mailroom.work(&config, &store, &bell, (&graph, &metrics));

    let webhook = super::listeners::webhook(&config, store.clone(), events_in).await?;
    let mailbox = Mailbox { cabinet: mailroom.cabinet.clone(), bell: bell.clone() };
    let (api, hooks) =
        super::listeners::api(&config, store.clone(), questions_in.clone(), Arc::clone(&graph), mailbox)
            .await?;
    let admin = super::listeners::admin(
        &config,
        store.clone(),
        (media.clone(), recorder.clone()),
        (&webhook, hooks),
        (questions_in.clone(), voicemail::router(store.clone(), mailroom.cabinet.clone(), bell)),
        Arc::clone(&metrics),
    )
    .await?;
    tell_ready(&config, &sip_start::told(&sockets), webhook.address, (admin, api));
    tokio::spawn(stop_on_signal(questions_in, config.calls.drain));
    let window = config.calls.accept_window;
    tokio::spawn(super::start_check::tell(Arc::clone(&graph), config.numbers.clone(), window));
    tokio::spawn(keep_warm(graph));
    tokio::spawn(forget_old_events(store.clone(), config.store.keep_events));
    tokio::spawn(super::pick_up_watch::watch(store.clone(), config.numbers.clone()));
    let ears = Ears { sip: sockets, events, reports, located, questions };
    signalling::run(board, ears).await;
    media.stop();
    let recorders = recorder.zip(Some(kept)).into_iter().chain(mailroom.recorder.zip(mailroom.kept));
    for (recorder, kept) in recorders {
        finish_recordings(recorder, kept).await;
    }
    // The lanes' last writes are queued by now; closing waits for them.
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Takes up what the last process left, and calls the trunks.
async fn take_up(board: &mut Switchboard) -> Result<(), StoreError> {
    board.restore_registrations().await?;
    board.restore_availability().await?;
    board.end_orphans().await?;
    board.start_trunks();
    Ok(())
}

/// Tells the log and systemd that calls may come.
fn tell_ready(
    config: &Config,
    sip: &str,
    webhook: SocketAddr,
    (admin, api): (SocketAddr, Option<SocketAddr>),
) {
    tracing::info!(
        sip,
        %webhook,
        %admin,
        api = api.map(tracing::field::display),
        phones = config.phones.len(),
        trunks = config.trunks.len(),
        numbers = config.numbers.len(),
        "ready for calls"
    );
    systemd::ready("ready for calls");
}

/// Waits for the files and for what is told of them, as long as a disk that is well takes.
async fn finish_recordings(recorder: Recorder, kept: tokio::task::JoinHandle<()>) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let (done_in, done) = oneshot::channel();
    // A thread of its own: one of the runtime's would keep the process alive while a disk hangs.
    std::thread::spawn(move || {
        recorder.stop();
        let _ = done_in.send(());
    });
    let finished = async {
        let _ = done.await;
        let _ = kept.await;
    };
    if tokio::time::timeout(PATIENCE, finished).await.is_err() {
        tracing::error!("the disk does not take the recordings: the next start finishes what is there");
    }
}

/// The writer of recordings, if calls are recorded; a folder that cannot be written costs them, and no call.
fn start_recorder(config: &Config, told: mpsc::UnboundedSender<Told>) -> Result<Option<Recorder>, AppError> {
    let recorder = recorder_settings(config).map(|it| Recorder::start(it, told)).transpose()?;
    if let Some(failure) = recorder.as_ref().and_then(|_| is_writable(&config.recording.directory).err()) {
        tracing::error!(%failure, "recording.directory cannot be written: calls go on and are not recorded");
    }
    Ok(recorder)
}

/// What each business number says by itself.
fn voices(config: &Config) -> Result<Vec<Voice>, SoundFault> {
    let country = config.sounds.country.as_deref().unwrap_or_default();
    let voice = |number: &config::NumberConfig| {
        let (greeting, announcement) = super::sounds::voice(&number.voice, country)?;
        Ok(Voice { greeting, announcement })
    };
    config.numbers.iter().map(voice).collect()
}

fn registry(config: &Config) -> Arc<Registry> {
    let labels: Vec<_> = config.numbers.iter().map(|number| number.label.clone()).collect();
    Arc::new(Registry::new(&labels))
}

fn seed() -> Result<Random, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Random::from_seed(seed))
}

async fn open_store(config: &Config) -> Result<Store, AppError> {
    Store::open(&config.store.path, store_settings(config))
        .await
        .map_err(|source| AppError::Store { path: config.store.path.clone(), source })
}

/// The store's settings of a configuration, for the gateway and the commands that read its file.
#[must_use]
pub fn store_settings(config: &Config) -> StoreSettings {
    let synchronous = match config.store.synchronous {
        config::Synchronous::Full => Synchronous::Full,
        config::Synchronous::Normal => Synchronous::Normal,
    };
    StoreSettings { synchronous, ..StoreSettings::default() }
}

/// A TCP listener of the configuration.
pub(super) async fn bind_tcp(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|source| AppError::Listen { key, address, source })
}

/// The first SIGTERM or SIGINT lets running calls end by themselves for `drain`; the second ends them.
async fn stop_on_signal(questions: mpsc::UnboundedSender<Question>, drain: Duration) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("no signals can be received: the process can only be killed");
        return;
    };
    wait_for(&mut term, &mut int).await;
    systemd::stopping("ending calls");
    if !drain.is_zero() {
        let (told, done) = oneshot::channel();
        let _ = questions.send(Question::Drain(told));
        tokio::select! {
            _ = done => {}
            () = tokio::time::sleep(drain) => tracing::warn!("the drain time is over: calls are ended"),
            () = wait_for(&mut term, &mut int) => tracing::warn!("told twice: calls are ended"),
        }
    }
    let _ = questions.send(Question::Stop);
}

async fn wait_for(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Keeps a connection to Graph open, so that no call waits for a handshake.
async fn keep_warm(graph: Arc<GraphClient>) {
    let mut beat = tokio::time::interval(Duration::from_secs(30));
    loop {
        beat.tick().await;
        graph.warm().await;
    }
}

/// Once an hour: what Meta can no longer repeat need not be remembered.
async fn forget_old_events(store: Store, keep: Duration) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hourly.tick().await;
        let now = signalling::now().wall;
        if let Err(error) = store.forget_before(now - keep).await {
            tracing::warn!(%error, "old webhook events could not be forgotten");
        }
        if let Err(error) = store.forget_events_before(now - keep, now - ASKED_KEPT).await {
            tracing::warn!(%error, "old events of the API could not be forgotten");
        }
    }
}

fn codec_choices(config: &Config) -> CodecChoices {
    let general = &config.media.codecs;
    let own = |codecs: &Option<Vec<AudioCodec>>, dtmf: config::KeyTelling| {
        let special = codecs.is_some() || dtmf != config::KeyTelling::Auto;
        let codecs = codecs.clone().unwrap_or_else(|| general.clone());
        special.then_some(Narrowing { codecs, events: dtmf == config::KeyTelling::Auto })
    };
    CodecChoices {
        general: Narrowing { codecs: general.clone(), events: true },
        phones: config
            .phones
            .iter()
            .filter_map(|it| Some((it.name.clone(), own(&it.codecs, it.dtmf)?)))
            .collect(),
        trunks: config
            .trunks
            .iter()
            .filter_map(|it| Some((it.name.clone(), own(&it.codecs, it.dtmf)?)))
            .collect(),
    }
}

fn key_choices(config: &Config) -> KeyChoices {
    KeyChoices {
        phones: config.phones.iter().map(|it| (it.name.clone(), it.dtmf)).collect(),
        trunks: config.trunks.iter().map(|it| (it.name.clone(), it.dtmf)).collect(),
    }
}

fn timings(config: &Config) -> Timings {
    let timing = |it: config::MediaTiming| match it {
        config::MediaTiming::Auto => Timing::Auto,
        config::MediaTiming::Relay => Timing::Relay,
        config::MediaTiming::Playout => Timing::Playout,
    };
    let own = |it: Option<config::MediaTiming>| it.map(timing);
    Timings {
        general: timing(config.media.timing),
        phones: config.phones.iter().filter_map(|it| Some((it.name.clone(), own(it.timing)?))).collect(),
        trunks: config.trunks.iter().filter_map(|it| Some((it.name.clone(), own(it.timing)?))).collect(),
    }
}

/// The Graph client's settings of a configuration.
pub(super) fn graph_settings(config: &Config) -> GraphSettings {
    GraphSettings {
        base: config.graph.base.clone(),
        version: config.graph.version.clone(),
        timeout: config.graph.timeout,
        ..GraphSettings::default()
    }
}

fn media_settings(config: &Config) -> MediaSettings {
    let realm = |realm: &config::RealmConfig| Realm {
        bind: realm.bind,
        advertised: realm.advertised.clone(),
        ports: realm.ports.clone(),
    };
    let mut settings = MediaSettings::new(realm(&config.media.outside), realm(&config.media.inside));
    settings.workers = usize::try_from(config.media.workers).unwrap_or(0);
    settings.quarantine = config.media.quarantine;
    settings.limits = CapacityLimits {
        economy_at: f64::from(config.media.economy_at) / 100.0,
        refuse_at: f64::from(config.media.refuse_at) / 100.0,
        refuse_lag: config.media.refuse_lag,
    };
    settings
}

/// `None`: nothing is recorded.
fn recorder_settings(config: &Config) -> Option<RecorderSettings> {
    let config::RecordingConfig { enabled, directory, format, bitrate, min_free, .. } = &config.recording;
    enabled.then(|| RecorderSettings {
        directory: directory.clone(),
        format: match format {
            config::RecordingFormat::Opus => Format::Opus { bitrate: *bitrate },
            config::RecordingFormat::Wav => Format::Wav,
        },
        min_free: *min_free,
        kept: Kept::BothSides,
    })
}

fn times(config: &Config) -> CallTimes {
    CallTimes {
        user_ring: config.calls.ring_user,
        max_duration: Some(config.calls.max_duration),
        ..CallTimes::default()
    }
}

fn numbers(config: &Config, voices: Vec<Voice>) -> Vec<BusinessNumber> {
    let number = |(number, voice): (&config::NumberConfig, Voice)| BusinessNumber {
        voice,
        label: number.label.clone(),
        id: number.phone_number_id.clone(),
        display: number.display_number.clone(),
        token: Secret::new(number.access_token.expose().clone()),
        ring: ring_plan(&number.ring, number.alert.as_deref(), config.voicemail.longest),
        alert: number.alert.clone(),
        pre_accept: match number.pre_accept {
            config::PreAccept::AtOnce => call::PreAcceptWhen::AtOnce,
            config::PreAccept::Ringing => call::PreAcceptWhen::Ringing,
        },
        answer_on: match number.answer_on {
            config::AnswerOn::Accepted => call::AnswerOn::Accepted,
            config::AnswerOn::Speech => call::AnswerOn::Speech,
        },
        record: number.record,
        hours: number.hours.as_ref().map(|it| opening(it, config.voicemail.longest)),
        rules: rules(&number.policy(), &config.policy, config.calls.reservation_life),
        hold_outside_hours: number.guards.hold_outside_hours,
        ask: number.ask.clone(),
    };
    config.numbers.iter().zip(voices).map(number).collect()
}

/// The rules of one business number.
pub(super) fn rules(number: &config::NumberPolicy, policy: &config::PolicyConfig, life: Duration) -> Rules {
    let cap = |cap: &config::CapConfig| cap.enabled.then_some(Cap { max: cap.max, window: cap.window });
    Rules {
        per_number: cap(&number.cap_per_number),
        per_pair: cap(&number.cap_per_pair),
        initiations: Some(Cap { max: number.max_initiations, window: DAY }),
        concurrent: Some(number.max_concurrent),
        reservation_life: life,
        country: policy.countries.of(number.display_number.digits()),
        barred_prefixes: number.never_call.clone(),
        unanswered_stop: number.guards.unanswered_stop,
        warn_at: number.guards.warn_at,
        ..Rules::default()
    }
}

fn opening(hours: &config::HoursConfig, longest: Duration) -> signalling::Hours {
    let closed = match &hours.closed {
        config::ClosedTarget::Reject => signalling::WhenClosed::Reject,
        config::ClosedTarget::Overflow => signalling::WhenClosed::Overflow,
        config::ClosedTarget::Target(target) => signalling::WhenClosed::Ring(target.clone()),
        config::ClosedTarget::Voicemail => {
            signalling::WhenClosed::Answer(call::Answering::Message { longest })
        }
        config::ClosedTarget::Announcement => signalling::WhenClosed::Answer(call::Answering::Announcement),
    };
    signalling::Hours { open: hours.hours.clone(), closed }
}

/// The plan of a number whose calls ring with the tone `alert`.
fn ring_plan(plan: &config::RingPlanConfig, alert: Option<&str>, longest: Duration) -> call::RingPlan {
    let step = |step: &config::RingStepConfig| call::RingStep {
        targets: step.targets.clone(),
        ring: step.ring,
        order: match step.order {
            config::RingOrder::Together => call::RingOrder::Together,
            config::RingOrder::OneByOne => call::RingOrder::OneByOne,
        },
        alert: Alert {
            name: step.alert.as_deref().or(alert).map(str::to_owned),
            answering: if step.auto_answer { Answering::AtOnce } else { Answering::ByPerson },
        },
    };
    let overflow =
        |target: &crate::id::Endpoint| call::Overflow { target: target.clone(), kept: config::OVERFLOW_KEPT };
    call::RingPlan {
        steps: plan.steps.iter().map(step).collect(),
        overflow: plan.overflow.as_ref().and_then(config::LastTarget::endpoint).map(overflow),
        answering: match plan.overflow {
            Some(config::LastTarget::Voicemail) => Some(call::Answering::Message { longest }),
            Some(config::LastTarget::Announcement) => Some(call::Answering::Announcement),
            Some(config::LastTarget::Ring(_)) | None => None,
        },
    }
}

/// The phones and trunks that are offered VoIP metrics.
fn metric_peers(config: &Config) -> MetricPeers {
    let phones = config.phones.iter().filter(|it| it.rtcp_xr).map(|it| it.name.clone());
    let trunks = config.trunks.iter().filter(|it| it.rtcp_xr).map(|it| it.name.clone());
    MetricPeers { phones: phones.collect(), trunks: trunks.collect() }
}

/// How the phones that are called may want to be offered protection.
fn ways(config: &Config) -> Vec<Protection> {
    let settings = config.phones.iter().map(|it| it.srtp).chain(config.trunks.iter().map(|it| it.srtp));
    let web = |kind: config::StreamTransport| {
        matches!(kind, config::StreamTransport::Ws | config::StreamTransport::Wss)
    };
    let browsers = if config.sip.streams.iter().any(|(kind, _)| web(*kind)) {
        Browsers::MayCome
    } else {
        Browsers::Cannot
    };
    signalling::ways(settings, browsers)
}

/// Meta counts initiations in 24 hours (reference §8).
const DAY: Duration = Duration::from_secs(86_400);

fn transfer_rules(config: &Config) -> TransferRules {
    let of = |which: fn(&config::TrunkConfig) -> bool| {
        config.trunks.iter().filter(|trunk| which(trunk)).map(|trunk| trunk.name.clone()).collect()
    };
    TransferRules {
        may_refer: of(|trunk| trunk.refer),
        voip_only: of(|trunk| trunk.voip_only),
        may_take_over: config.phones.iter().filter(|it| it.take_over).map(|it| it.name.clone()).collect(),
    }
}

fn feature_rules(config: &Config) -> FeatureRules {
    let config::FeaturesConfig { pick_up_by, parking, .. } = &config.features;
    FeatureRules {
        neighbours: Neighbours::new(config.groups.iter().map(|it| it.members.clone()).collect()),
        pick_up_by: *pick_up_by,
        retrieve_by: parking.retrieve_by,
        places: parking.slots.clone(),
        park_timeout: parking.timeout,
        park_overflow: parking.overflow.clone(),
        outcomes: config.records.outcomes.clone(),
        queues: config.groups.iter().map(|it| queue(config, it)).collect(),
    }
}

fn queue(config: &Config, group: &config::GroupConfig) -> GroupQueue {
    let number = |label| config.numbers.iter().find(|it| it.label == *label);
    GroupQueue {
        name: group.name.clone(),
        members: group.members.clone(),
        numbers: group.callbacks.iter().filter_map(number).map(|it| it.phone_number_id.clone()).collect(),
    }
}

fn dialplan(config: &Config) -> DialPlan {
    let entry = |number: &config::NumberConfig| {
        number.dial.as_ref().map(|dial| DialEntry {
            number: number.phone_number_id.clone(),
            prefix: dial.prefix.clone(),
            phones: dial.phones.clone(),
            trunks: dial.trunks.clone(),
        })
    };
    let trunk = |trunk: &config::TrunkConfig| {
        let prefix = trunk.dial_prefix.clone()?;
        Some(TrunkEntry { prefix, trunk: trunk.name.clone() })
    };
    let transit = |from: &config::TrunkConfig| {
        let (name, leads_to) = (from.name.clone(), from.transit.clone());
        leads_to.into_iter().map(move |to| (name.clone(), to))
    };
    DialPlan {
        entries: config.numbers.iter().filter_map(entry).collect(),
        phones: config.phones.iter().map(|phone| phone.name.clone()).collect(),
        trunks: config.trunks.iter().filter_map(trunk).collect(),
        transit: config.trunks.iter().flat_map(transit).collect(),
        emergency: config.emergency.clone(),
        features: config.features.codes.clone(),
    }
}
