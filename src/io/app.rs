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
use super::parts::{Ground, parts};
use super::recording::{Format, Kept, Recorder, RecorderSettings, Told, is_writable};
use super::signalling::{self, Ears, Question, Switchboard};
use super::sip_start::{self, bind_sockets};
use super::sounds::{SoundFault, Sounds};
use super::store::{ASKED_KEPT, Store, StoreError, StoreSettings, Synchronous};
use super::systemd;
use super::tls::TlsSetupError;
use super::voicemail::{self, Mailroom};
use crate::config::{self, Config};
use crate::media::CapacityLimits;
use crate::metrics::Registry;
use crate::random::Random;
use crate::sip::UserAgent;

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
    let ground = Ground {
        agent,
        media: media.clone(),
        recorder: recorder.clone(),
        messages: mailroom.recorder.clone(),
        cabinet: mailroom.cabinet.clone(),
        store: store.clone(),
        dns: Dns::new(config.sip.dns.servers.clone(), located_in),
        graph: Arc::clone(&graph),
        sounds,
        metrics: Arc::clone(&metrics),
        random,
    };
    let mut board = Switchboard::new(parts(&config, ground)?);
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
            () = keep_asking_for_time() => {}
            () = tokio::time::sleep(drain) => tracing::warn!("the drain time is over: calls are ended"),
            () = wait_for(&mut term, &mut int) => tracing::warn!("told twice: calls are ended"),
        }
    }
    let _ = questions.send(Question::Stop);
}

/// Running calls may need longer than the unit's `TimeoutStopSec`.
async fn keep_asking_for_time() {
    let mut due = tokio::time::interval(ASK_FOR_TIME);
    loop {
        due.tick().await;
        systemd::stop_takes(ASK_FOR_TIME * 3);
    }
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

/// How often systemd is asked for more time while running calls end by themselves.
const ASK_FOR_TIME: Duration = Duration::from_secs(20);
