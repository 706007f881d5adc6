//! The sockets of the SIP side: datagrams, and connections that peers open or that we open.
//!
//! One owner polls everything: [`Sockets`] lives in the signalling loop. Each connection has a task of its own that
//! does what may take time (handshake, reading, writing) and talks to the loop through two bounded queues. Whoever
//! does not read what we send loses its connection; nobody else waits.

mod connection;
mod door;
mod limits;
mod open;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::ReadBuf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;

use crate::id::TrunkName;
use crate::sip::{Flow, Transport};

pub use door::Door;
pub use limits::ConnectionLimits;

use connection::{Happened, Wire};
use limits::Census;

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A datagram, or a whole message of a stream.
    Message(Flow, Vec<u8>),
    /// The headers of a message whose end nobody knows; the connection closes by itself.
    Endless(Flow, Vec<u8>),
    /// A connection has ended, or there was none for what was to be sent.
    Closed(Flow),
}

/// How a trunk behind TLS proves who it is.
#[derive(Clone, Debug)]
pub struct TrunkTls {
    /// The name its certificate must bear; sent as SNI.
    pub name: ServerName<'static>,
    /// Who may vouch for it.
    pub config: Arc<ClientConfig>,
}

/// What the sockets are made of.
#[derive(Debug)]
pub struct SocketSettings {
    /// Where datagrams come in; at least one.
    pub udp: Vec<SocketAddr>,
    /// Where connections come in.
    pub streams: Vec<(Transport, SocketAddr)>,
    /// The certificate of the listeners; needed where one of them is secure.
    pub tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// Trunks behind TLS by their addresses.
    pub trunks: HashMap<SocketAddr, TrunkTls>,
    /// Trunks that DNS may say are behind TLS, and where.
    pub named_trunks: HashMap<TrunkName, TrunkTls>,
    /// Who may connect.
    pub door: Door,
    /// How many, how long, how large.
    pub limits: ConnectionLimits,
}

/// A socket or listener could not be had.
#[derive(Debug)]
pub struct BindError {
    /// For what.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// Counters since the start, and what is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFigures {
    /// Open connections, handshakes included, by transport.
    pub open: Vec<(Transport, usize)>,
    /// Connections that were closed at once because there were too many.
    pub refused: u64,
    /// Connections that were closed at once because an access list does not let them in.
    pub denied: u64,
    /// Connections that were closed because their peer did not read.
    pub choked: u64,
    /// Connections that were closed because nothing needed them.
    pub idle: u64,
    /// Connections that we tried to open in vain.
    pub unopened: u64,
    /// Connections whose bytes were no SIP or came too slowly, or whose handshake failed.
    pub broken: u64,
}

struct Listening {
    listener: TcpListener,
    transport: Transport,
    local: SocketAddr,
}

struct Connection {
    id: u64,
    queue: mpsc::Sender<Vec<u8>>,
    task: tokio::task::AbortHandle,
    heard: Instant,
}

/// Events of connections that wait for the loop; the connections wait with them.
const EVENTS: usize = 1024;
/// Messages that wait for one peer to read.
const QUEUE: usize = 128;
/// Connections taken from a listener before other work has its turn.
const BURST: usize = 32;
/// After the system refused a connection: it has no descriptors left, and asking again at once would only spin.
const PAUSE: Duration = Duration::from_millis(500);
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// The largest datagram of UDP.
const DATAGRAM: usize = 65_535;

/// Every socket of the SIP side.
pub struct Sockets {
    udp: Vec<(UdpSocket, SocketAddr)>,
    listeners: Vec<Listening>,
    connections: HashMap<Flow, Connection>,
    census: Census,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    trunks: HashMap<SocketAddr, TrunkTls>,
    named_trunks: HashMap<TrunkName, TrunkTls>,
    door: Door,
    limits: ConnectionLimits,
    events_in: mpsc::Sender<(u64, Flow, Happened)>,
    events: mpsc::Receiver<(u64, Flow, Happened)>,
    closed: VecDeque<Flow>,
    pause: Option<Pin<Box<Sleep>>>,
    swept: Instant,
    last_id: u64,
    turn: usize,
    buffer: Vec<u8>,
    figures: ConnectionFigures,
}

impl Sockets {
    /// Takes every address of the settings.
    ///
    /// # Errors
    /// The first one that cannot be had.
    pub fn bind(settings: SocketSettings) -> Result<Self, BindError> {
        let refused = |transport, address| move |source| BindError { transport, address, source };
        let mut udp = Vec::new();
        for address in settings.udp {
            let failed = refused(Transport::Udp, address);
            let socket = open::udp(address).map_err(failed)?;
            let local = socket.local_addr().map_err(failed)?;
            udp.push((socket, local));
        }
        let mut listeners = Vec::new();
        for (transport, address) in settings.streams {
            let failed = refused(transport, address);
            let listener = open::listener(address).map_err(failed)?;
            let local = listener.local_addr().map_err(failed)?;
            listeners.push(Listening { listener, transport, local });
        }
        let (events_in, events) = mpsc::channel(EVENTS);
        Ok(Self {
            udp,
            listeners,
            connections: HashMap::new(),
            census: Census::default(),
            tls: settings.tls,
            trunks: settings.trunks,
            named_trunks: settings.named_trunks,
            door: settings.door,
            limits: settings.limits,
            events_in,
            events,
            closed: VecDeque::new(),
            pause: None,
            swept: Instant::now(),
            last_id: 0,
            turn: 0,
            buffer: vec![0; DATAGRAM],
            figures: ConnectionFigures::default(),
        })
    }

    /// Where we listen, as the system gave it: UDP first, in the order of the settings.
    pub fn addresses(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|(_, local)| (Transport::Udp, *local));
        udp.chain(self.listeners.iter().map(|it| (it.transport, it.local)))
    }

    /// Counters and sizes.
    #[must_use]
    pub fn figures(&self) -> ConnectionFigures {
        let count = |transport| self.connections.keys().filter(|flow| flow.transport == transport).count();
        let reliable = Transport::ALL.into_iter().filter(|it| it.is_reliable());
        ConnectionFigures { open: reliable.map(|it| (it, count(it))).collect(), ..self.figures.clone() }
    }

    /// Waits for what comes in; may be dropped at any time without losing anything.
    pub async fn next(&mut self) -> Arrival {
        poll_fn(|cx| self.poll_arrival(cx)).await
    }

    /// DNS says where a trunk's servers are: they are spoken to as the trunk wants it.
    pub fn trunk_moved(&mut self, trunk: &TrunkName, servers: &[SocketAddr]) {
        self.door.set_trunk(trunk, servers.iter().map(SocketAddr::ip));
        if let Some(tls) = self.named_trunks.get(trunk) {
            self.trunks.extend(servers.iter().map(|it| (*it, tls.clone())));
        }
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if let Some(flow) = self.closed.pop_front() {
            return Poll::Ready(Arrival::Closed(flow));
        }
        self.poll_accept(cx);
        // Whoever had the last word lets the others speak first.
        for _ in 0..=self.udp.len() {
            self.turn = (self.turn + 1) % (self.udp.len() + 1);
            let arrival = if self.turn == self.udp.len() {
                self.poll_connections(cx)
            } else {
                self.poll_udp(cx, self.turn)
            };
            if let Poll::Ready(arrival) = arrival {
                return Poll::Ready(arrival);
            }
        }
        Poll::Pending
    }

    fn poll_udp(&mut self, cx: &mut Context<'_>, index: usize) -> Poll<Arrival> {
        let (socket, local) = &self.udp[index];
        loop {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match ready!(socket.poll_recv_from(cx, &mut buffer)) {
                Ok(remote) => {
                    return Poll::Ready(Arrival::Message(
                        Flow::udp(*local, remote),
                        buffer.filled().to_vec(),
                    ));
                }
                // An ICMP error of an earlier packet; the transaction's timers see to it.
                Err(error) => tracing::debug!(%error, "SIP socket"),
            }
        }
    }

    fn poll_connections(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            let Some((id, flow, happened)) = ready!(self.events.poll_recv(cx)) else { return Poll::Pending };
            // What a connection said that was closed meanwhile concerns nobody.
            let Some(connection) = self.connections.get_mut(&flow).filter(|it| it.id == id) else { continue };
            connection.heard = Instant::now();
            match happened {
                Happened::Message(bytes) => return Poll::Ready(Arrival::Message(flow, bytes)),
                Happened::Endless(bytes) => return Poll::Ready(Arrival::Endless(flow, bytes)),
                Happened::Ping => {}
                Happened::Unopened => {
                    self.figures.unopened += 1;
                    self.forget(&flow);
                    return Poll::Ready(Arrival::Closed(flow));
                }
                Happened::Closed(broken) => {
                    self.figures.broken += u64::from(broken.is_some());
                    self.forget(&flow);
                    return Poll::Ready(Arrival::Closed(flow));
                }
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return;
            }
            self.pause = None;
        }
        for index in 0..self.listeners.len() {
            for taken in 0..=BURST {
                if taken == BURST {
                    cx.waker().wake_by_ref();
                    break;
                }
                let Listening { listener, transport, local } = &self.listeners[index];
                match listener.poll_accept(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok((stream, remote))) => {
                        let flow = Flow { transport: *transport, local: *local, remote };
                        self.admit(flow, stream);
                    }
                    Poll::Ready(Err(error)) => {
                        tracing::warn!(%error, "a SIP connection could not be taken");
                        let mut pause = Box::pin(tokio::time::sleep(PAUSE));
                        let _ = pause.as_mut().poll(cx);
                        self.pause = Some(pause);
                        return;
                    }
                }
            }
        }
    }

    /// A connection that a peer opened, if there is room for it.
    fn admit(&mut self, flow: Flow, stream: TcpStream) {
        if !self.door.lets_in(flow.transport, flow.remote.ip()) {
            // Dropped here, it is closed: no task, no handshake, no word.
            self.figures.denied += 1;
            return;
        }
        if !self.census.enter(flow.remote.ip(), &self.limits) {
            self.figures.refused += 1;
            return tracing::debug!(remote = %flow.remote, "too many SIP connections");
        }
        let tls = self.tls.as_ref().map(|it| Arc::clone(&it.borrow()));
        self.start(flow, |wire| connection::accepted(wire, stream, tls));
    }

    /// Opens a connection of our own; what is sent meanwhile waits in its queue.
    fn dial(&mut self, flow: Flow) {
        let tls = self.trunks.get(&flow.remote).cloned();
        self.census.enter_anyway(flow.remote.ip());
        let patience = self.limits.connect;
        self.start(flow, |wire| connection::dialled(wire, patience, tls));
    }

    fn start<F>(&mut self, flow: Flow, work: impl FnOnce(Wire) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.last_id += 1;
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let wire = Wire {
            id: self.last_id,
            flow,
            events: self.events_in.clone(),
            pongs: queue.downgrade(),
            outgoing,
            longest: self.limits.message,
        };
        let task = tokio::spawn(work(wire)).abort_handle();
        let connection = Connection { id: self.last_id, queue, task, heard: Instant::now() };
        if let Some(before) = self.connections.insert(flow, connection) {
            // The same pair of addresses again: the system knows that the old connection is over.
            before.task.abort();
            self.census.leave(flow.remote.ip());
            self.closed.push_back(flow);
        }
    }

    /// Sends without waiting. What cannot be sent on a stream is told by [`Arrival::Closed`].
    ///
    /// # Errors
    /// The datagram or message that nobody will get.
    pub fn send(&mut self, flow: Flow, bytes: Vec<u8>) -> Result<(), Unsent> {
        if flow.transport == Transport::Udp {
            let socket = self.udp.iter().find(|(_, local)| *local == flow.local).or(self.udp.first());
            let (socket, _) = socket.ok_or(Unsent::NoSocket)?;
            // UDP either takes a packet at once or loses it; SIP retransmits what matters.
            return socket.try_send_to(&bytes, flow.remote).map(drop).map_err(Unsent::Refused);
        }
        if !self.connections.contains_key(&flow) {
            if !flow.is_dialled() {
                self.closed.push_back(flow);
                return Err(Unsent::Closed);
            }
            self.dial(flow);
        }
        let connection = self.connections.get(&flow).ok_or(Unsent::Closed)?;
        match connection.queue.try_send(bytes) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.figures.choked += 1;
                connection.task.abort();
                self.forget(&flow);
                self.closed.push_back(flow);
                Err(Unsent::Choked)
            }
            // Its end is already on the way to us.
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Unsent::Closed),
        }
    }

    fn forget(&mut self, flow: &Flow) {
        if self.connections.remove(flow).is_some() {
            self.census.leave(flow.remote.ip());
        }
    }

    /// When [`Sockets::sweep`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.connections.is_empty()).then(|| self.swept + SWEEP)
    }

    /// Closes what was silent for long and is not `needed`.
    pub fn sweep(&mut self, now: Instant, needed: impl FnOnce() -> HashSet<Flow>) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        self.swept = now;
        let idle = self.limits.idle;
        let silent = |it: &Connection| now.saturating_duration_since(it.heard) >= idle;
        if !self.connections.values().any(silent) {
            return;
        }
        let needed = needed();
        let over: Vec<Flow> = self
            .connections
            .iter()
            .filter(|(flow, connection)| silent(connection) && !needed.contains(*flow))
            .map(|(flow, _)| *flow)
            .collect();
        for flow in over {
            self.figures.idle += 1;
            // Its task ends when the queue is gone, after what is in it was sent.
            self.forget(&flow);
            self.closed.push_back(flow);
        }
    }
}

/// Why something was not sent.
#[derive(Debug)]
pub enum Unsent {
    /// There is no socket.
    NoSocket,
    /// The system did not take it.
    Refused(io::Error),
    /// The connection is over.
    Closed,
    /// The peer does not read.
    Choked,
}

impl std::fmt::Display for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSocket => f.write_str("there is no socket for it"),
            Self::Refused(error) => write!(f, "{error}"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::Choked => f.write_str("the peer does not read; the connection is closed"),
        }
    }
}

/// Names no connection.
impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}
