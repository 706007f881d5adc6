//! The administrator's HTTP: `/metrics`, `/healthz`, `/readyz` for whoever may connect, and for this machine alone what
//! the commands ask: phones, calls back, voice messages.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use crate::id::TrunkName;
use crate::metrics::label::{Build, Word};
use crate::metrics::table::{
    BUILD_INFO, CPU, DRAINING, MAX_FILES, MEMORY, OPEN_FILES, READY, START_TIME, STORE_UP,
};
use crate::metrics::{CONTENT_TYPE, Registry, Scrape};

/// How long a scrape waits for figures; Prometheus itself gives up after 10 s by default.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the gateway fares, as `io::app` sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Health {
    /// Signalling and every media thread gave a sign of life lately. If not, only a restart helps.
    pub alive: bool,
    /// The store took its last write.
    pub store: bool,
    /// The SIP socket is bound.
    pub sip: bool,
    /// The webhook listener is bound.
    pub webhook: bool,
    /// A stop is under way: running calls go on, new ones are not taken.
    pub draining: bool,
}

impl Health {
    /// Whether new calls are taken.
    #[must_use]
    pub const fn ready(self) -> bool {
        self.alive && self.store && self.sip && self.webhook && !self.draining
    }
}

/// Reads the figures that live in other tasks and threads.
pub type Figures = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Scrape> + Send>> + Send + Sync>;

/// What the administrator's HTTP is given.
pub struct AdminState {
    /// The events of this process.
    pub metrics: Arc<Registry>,
    /// The figures of this moment.
    pub figures: Figures,
    /// The health of this moment; it must not wait for anything.
    pub health: Box<dyn Fn() -> Health + Send + Sync>,
    /// How each trunk fares, in a word or two; it must not wait either.
    pub trunks: Box<dyn Fn() -> Vec<(TrunkName, &'static str)> + Send + Sync>,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").finish_non_exhaustive()
    }
}

/// Routes of other parts.
pub type MoreRoutes = Router;

/// The routes.
pub fn router(state: Arc<AdminState>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(state)
}

/// Answers until `stop` resolves; `more` are routes of other parts, which have no password: they are for this machine.
///
/// # Errors
/// The socket failed.
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    more: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let own = listener.local_addr()?.ip();
    let routes = router(state).merge(for_this_machine(own, more));
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

/// Lets nobody else than this machine have these routes: whoever opens the listener for Prometheus means the figures.
fn for_this_machine(own: IpAddr, routes: Router) -> Router {
    routes.layer(middleware::from_fn_with_state(own, only_from_here))
}

async fn only_from_here(
    State(own): State<IpAddr>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if is_here(own, peer.ip()) {
        return next.run(request).await;
    }
    tracing::warn!(%peer, path = request.uri().path(), "only this machine may ask that of the admin listener");
    (StatusCode::FORBIDDEN, FROM_AFAR).into_response()
}

/// What others than this machine are told.
const FROM_AFAR: &str = "Only figures and health are shown to other machines. Run the command on the gateway's own, or \
    use the API, which has tokens ([api] in gateway.toml).\n";

/// Whether a connection comes from this machine: from loopback, or from the very address that it goes to.
fn is_here(own: IpAddr, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || peer == own.to_canonical()
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition(&state, PATIENCE).await).into_response()
}

async fn exposition(state: &AdminState, patience: Duration) -> String {
    // A store that hangs must not blind the one who is to find that out.
    let figures = tokio::time::timeout(patience, (state.figures)()).await;
    let mut scrape = figures.unwrap_or_else(|_| {
        tracing::warn!("figures for /metrics took too long and were left out");
        Scrape::default()
    });
    let health = (state.health)();
    scrape.gauge(&READY, &(), flag(health.ready()));
    scrape.gauge(&DRAINING, &(), flag(health.draining));
    scrape.gauge(&STORE_UP, &(), flag(health.store));
    scrape.gauge(&BUILD_INFO, &Build { version: Word(env!("CARGO_PKG_VERSION")) }, 1.0);
    if let Some(process) = Process::read() {
        process.fill(&mut scrape);
    }
    state.metrics.render(scrape)
}

const fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

async fn healthz(State(state): State<Arc<AdminState>>) -> Response {
    if (state.health)().alive {
        (StatusCode::OK, "alive\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "a thread has stopped answering\n").into_response()
    }
}

async fn readyz(State(state): State<Arc<AdminState>>) -> Response {
    let health = (state.health)();
    let status = if health.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |good: bool| if good { "up" } else { "down" };
    // A trunk that is down makes nobody unready: other trunks and the phones go on.
    let trunks: serde_json::Map<String, serde_json::Value> =
        (state.trunks)().into_iter().map(|(name, state)| (name.to_string(), state.into())).collect();
    let body = json!({
        "ready": health.ready(),
        "draining": health.draining,
        "threads": word(health.alive),
        "store": word(health.store),
        "sip": word(health.sip),
        "webhook": word(health.webhook),
        "trunks": trunks,
    });
    (status, axum::Json(body)).into_response()
}

/// What the operating system says of this process (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    cpu_seconds: f64,
    started: f64,
    resident: f64,
    open_files: f64,
    max_files: f64,
}

impl Process {
    /// `None` where there is no `/proc`.
    fn read() -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let fd = std::fs::read_dir("/proc/self/fd").ok()?.count();
        // SAFETY: sysconf takes any number and touches no memory of ours.
        let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
        let stat = Stat::parse(&read("/proc/self/stat")?)?;
        let boot = read("/proc/stat").and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())
        });
        let limits = read("/proc/self/limits")?;
        let max_files = limits.lines().find_map(|line| {
            line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<f64>().ok()
        });
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (ticks, page, open_files) = (ticks as f64, page as f64, fd as f64);
        Some(Self {
            cpu_seconds: stat.cpu_ticks / ticks,
            started: boot.unwrap_or(0.0) + stat.start_ticks / ticks,
            resident: stat.resident_pages * page,
            open_files,
            max_files: max_files.unwrap_or(f64::INFINITY),
        })
    }

    fn fill(self, scrape: &mut Scrape) {
        scrape.total(&CPU, &(), self.cpu_seconds);
        scrape.gauge(&START_TIME, &(), self.started);
        scrape.gauge(&MEMORY, &(), self.resident);
        scrape.gauge(&OPEN_FILES, &(), self.open_files);
        scrape.gauge(&MAX_FILES, &(), self.max_files);
    }
}

/// The fields of `/proc/self/stat` that we print.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The program's name stands in parentheses and may hold blanks and parentheses itself.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // `rest` begins with field 3 of proc(5).
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)?, resident_pages: field(24)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    const WELL: Health = Health { alive: true, store: true, sip: true, webhook: true, draining: false };

    /// Starts the server with this health, asks for `path`, returns the whole answer.
    fn ask(health: Health, figures: Figures, path: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let metrics = Arc::new(Registry::new(&[]));
            let trunks = Box::new(|| vec![(TrunkName::from("pbx"), "not registered")]);
            let state = Arc::new(AdminState { metrics, figures, health: Box::new(move || health), trunks });
            let server = tokio::spawn(serve(listener, state, Router::new(), std::future::pending()));
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            let answer = tokio::task::spawn_blocking(move || {
                let mut socket = std::net::TcpStream::connect(address).expect("listening");
                socket.write_all(request.as_bytes()).expect("sent");
                let mut answer = String::new();
                socket.read_to_string(&mut answer).expect("answered");
                answer
            });
            let answer = answer.await.expect("asked");
            server.abort();
            answer
        })
    }

    fn none() -> Figures {
        Box::new(|| Box::pin(async { Scrape::default() }))
    }

    #[test]
    fn metrics_come_in_prometheus_text_with_the_process_in_it() {
        let answer = ask(WELL, none(), "/metrics");
        assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
        for series in [
            "\ncordboard_ready 1.0\n",
            "\ncordboard_store_up 1.0\n",
            &format!("\ncordboard_build_info{{version=\"{}\"}} 1.0\n", env!("CARGO_PKG_VERSION")),
            "\nprocess_resident_memory_bytes ",
            "\nprocess_cpu_seconds_total ",
        ] {
            assert!(answer.contains(series), "{series} is not in {answer}");
        }
    }

    #[test]
    fn figures_that_never_come_do_not_stop_a_scrape() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let state = AdminState {
            metrics: Arc::new(Registry::new(&[])),
            figures: Box::new(|| Box::pin(std::future::pending())),
            health: Box::new(|| WELL),
            trunks: Box::new(Vec::new),
        };
        let text = runtime.block_on(exposition(&state, Duration::from_millis(1)));
        assert!(text.contains("\ncordboard_ready 1.0\n"), "{text}");
    }

    #[test]
    fn what_has_no_password_is_for_this_machine_alone_and_figures_are_for_all() {
        use tower::ServiceExt as _;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let voice = Router::new().route("/voicemails", get(|| async { "a voice" }));
        let own: IpAddr = "192.0.2.1".parse().expect("an address");
        let state = Arc::new(AdminState {
            metrics: Arc::new(Registry::new(&[])),
            figures: none(),
            health: Box::new(|| WELL),
            trunks: Box::new(Vec::new),
        });
        let routes = router(state).merge(for_this_machine(own, voice));
        let ask = |peer: &str, path: &str| {
            let mut request = Request::get(path).body(axum::body::Body::empty()).expect("a request");
            let peer: SocketAddr = peer.parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(peer));
            runtime.block_on(routes.clone().oneshot(request)).expect("an answer").status().as_u16()
        };
        for here in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9", "192.0.2.1:9"] {
            assert_eq!((ask(here, "/voicemails"), ask(here, "/metrics")), (200, 200), "{here}");
        }
        for afar in ["192.0.2.2:9", "[2001:db8::1]:9", "[::ffff:192.0.2.2]:9"] {
            assert_eq!((ask(afar, "/voicemails"), ask(afar, "/healthz")), (403, 200), "{afar}");
        }
    }

    #[test]
    fn readiness_follows_every_part_and_ends_with_the_drain() {
        let ready = ask(WELL, none(), "/readyz");
        assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
        assert!(ready.contains("\"trunks\":{\"pbx\":\"not registered\"}"), "{ready}");
        let unwell = [
            Health { alive: false, ..WELL },
            Health { store: false, ..WELL },
            Health { sip: false, ..WELL },
            Health { webhook: false, ..WELL },
            Health { draining: true, ..WELL },
        ];
        for health in unwell {
            assert!(!health.ready(), "{health:?}");
        }
        let answer = ask(Health { store: false, ..WELL }, none(), "/readyz");
        assert!(answer.starts_with("HTTP/1.0 503") && answer.contains("\"store\":\"down\""), "{answer}");
    }

    #[test]
    fn liveness_is_about_threads_only() {
        let struggling = Health { alive: true, ..Health::default() };
        assert!(ask(struggling, none(), "/healthz").starts_with("HTTP/1.0 200"));
        assert!(ask(Health::default(), none(), "/healthz").starts_with("HTTP/1.0 503"));
    }

    #[test]
    fn a_process_name_with_blanks_and_parentheses_is_stepped_over() {
        let fields: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let stat = Stat::parse(&format!("1 (a ) b) S {}", fields.join(" ")));
        assert_eq!(stat, Some(Stat { cpu_ticks: 29.0, start_ticks: 22.0, resident_pages: 24.0 }));
        assert_eq!(Stat::parse("1 (a) S 4"), None);
    }
}
