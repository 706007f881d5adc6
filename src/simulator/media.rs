//! The one media thread and its one UDP socket. Calls are told apart by the remote address, as Meta's relays do;
//! the first STUN check of a new source names its call by the ufrag.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::{mpsc as events, oneshot};

use super::dtls::{Identity, Role};
use super::line::{Line, LineEvent, LineSpec, MediaReport};
use super::sdp::Business;
use super::stun;
use super::voice::Clip;
use crate::time::{Now, Wall};

/// How soon the thread notices that nobody holds its handle any more.
const IDLE: Duration = Duration::from_secs(1);

/// One call's media.
pub(super) type LineId = u64;

/// What signalling asks of media.
pub(super) enum Command {
    /// A new call.
    Open(Box<LineSpec>),
    /// The business's SDP.
    Remote(Box<(Business, Role)>),
    /// The user is on the line.
    Answer,
    /// Say something.
    Speak(Arc<Clip>),
    /// Press keys.
    Press(String),
    /// Figures so far.
    Report(oneshot::Sender<MediaReport>),
    /// The call is over; with an RTCP BYE if the user ended it.
    Close(bool, oneshot::Sender<MediaReport>),
}

/// The clocks, read now.
pub(super) fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), wall: Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)) }
}

/// A handle to the thread; the thread ends when the last handle is gone.
#[derive(Clone)]
pub(super) struct Media {
    commands: mpsc::Sender<(LineId, Command)>,
    waker: Arc<Waker>,
    local: SocketAddr,
}

impl Media {
    /// Binds the socket and starts the thread.
    pub(super) fn start(
        bind: SocketAddr,
        identity: Arc<Identity>,
        events: events::UnboundedSender<(LineId, Wall, LineEvent)>,
    ) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(bind), socket2::Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // Forty calls send 2,000 datagrams a second; a busy moment must not lose any. The kernel may give less.
        let _kernel_may_give_less =
            (socket.set_recv_buffer_size(4 << 20), socket.set_send_buffer_size(4 << 20));
        socket.bind(&bind.into())?;
        let mut socket = UdpSocket::from_std(socket.into());
        let local = socket.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(1))?);
        let (commands, inbox) = mpsc::channel();
        let relay = Relay {
            poll,
            socket,
            inbox,
            identity,
            events,
            lines: BTreeMap::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            hung_up: false,
        };
        thread::Builder::new().name("simulate-media".to_owned()).spawn(move || relay.run())?;
        Ok(Self { commands, waker, local })
    }

    /// Where the socket is bound.
    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Asks something of one line.
    pub(super) fn send(&self, line: LineId, command: Command) {
        // The thread outlives every handle; if it died, the call is dead too and its reports say so.
        let _gone = self.commands.send((line, command));
        let _gone = self.waker.wake();
    }

    /// The figures of a line; `None` if there is no such line any more.
    pub(super) async fn report(&self, line: LineId) -> Option<MediaReport> {
        let (reply, report) = oneshot::channel();
        self.send(line, Command::Report(reply));
        report.await.ok()
    }

    /// Ends a line and waits for its last figures.
    pub(super) async fn close(&self, line: LineId, bye: bool) -> Option<MediaReport> {
        let (reply, report) = oneshot::channel();
        self.send(line, Command::Close(bye, reply));
        report.await.ok()
    }
}

struct Relay {
    poll: Poll,
    socket: UdpSocket,
    inbox: mpsc::Receiver<(LineId, Command)>,
    identity: Arc<Identity>,
    events: events::UnboundedSender<(LineId, Wall, LineEvent)>,
    lines: BTreeMap<LineId, Line>,
    by_ufrag: HashMap<String, LineId>,
    by_address: HashMap<SocketAddr, LineId>,
    hung_up: bool,
}

impl Relay {
    fn run(mut self) {
        let mut events = Events::with_capacity(8);
        let mut buffer = vec![0; 2048];
        while !self.hung_up {
            self.wait(&mut events);
            self.obey();
            self.receive(&mut buffer);
            self.tick();
        }
    }

    /// Sleeps until something comes or the next deadline. `epoll` counts whole milliseconds and rounds up, so the
    /// last part is slept by the thread's own high-resolution timer.
    fn wait(&mut self, events: &mut Events) {
        let deadline = self.lines.values().filter_map(Line::poll_timeout).min();
        let left = deadline.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()).min(IDLE));
        let whole = Duration::from_millis(u64::from(left.subsec_millis()) + left.as_secs() * 1000);
        if whole.is_zero() {
            thread::sleep(left);
        }
        if let Err(error) = self.poll.poll(events, Some(whole))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "the media thread cannot wait for its socket");
        }
    }

    fn obey(&mut self) {
        loop {
            match self.inbox.try_recv() {
                Ok((id, command)) => self.execute(id, command),
                Err(mpsc::TryRecvError::Empty) => return,
                Err(mpsc::TryRecvError::Disconnected) => {
                    self.hung_up = true;
                    return;
                }
            }
        }
    }

    fn execute(&mut self, id: LineId, command: Command) {
        let now = now();
        if let Command::Open(spec) = command {
            let line = Line::new(*spec, now);
            self.by_ufrag.insert(line.ufrag().to_owned(), id);
            self.lines.insert(id, line);
            return;
        }
        let Some(line) = self.lines.get_mut(&id) else { return };
        match command {
            Command::Open(_) => {}
            Command::Remote(remote) => line.set_remote(now, remote.0, remote.1, &self.identity),
            Command::Answer => line.answer(now),
            Command::Speak(clip) => line.speak(clip),
            Command::Press(digits) => {
                line.press(&digits);
            }
            Command::Report(reply) => {
                // The asker may have gone.
                let _gone = reply.send(line.report());
            }
            Command::Close(bye, reply) => {
                let report = line.close(now, bye);
                self.flush(id, now);
                self.lines.remove(&id);
                self.by_ufrag.retain(|_, line| *line != id);
                self.by_address.retain(|_, line| *line != id);
                let _gone = reply.send(report);
                return;
            }
        }
        self.flush(id, now);
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        loop {
            let (length, from) = match self.socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error of one peer must not stop the others.
                Err(_) => continue,
            };
            // What was ordered before this datagram was sent is in the inbox by now: an `accept` counts before
            // the media that its answer set free.
            self.obey();
            let now = now();
            let Some(bytes) = buffer.get(..length) else { continue };
            if let Some(id) = self.dispatch(now, from, bytes) {
                self.flush(id, now);
            }
        }
    }

    fn dispatch(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) -> Option<LineId> {
        match bytes.first()? {
            0..=3 => {
                let id = *self.by_ufrag.get(&stun::addressed_ufrag(bytes)?)?;
                let line = self.lines.get_mut(&id)?;
                if line.handle_stun(now, from, bytes, &self.identity) {
                    let owner = *self.by_address.entry(from).or_insert(id);
                    if owner != id {
                        line.note_breach(
                            "media: the source address is shared with another live call; Meta's relay tells calls \
                             apart by it"
                                .to_owned(),
                        );
                    }
                }
                Some(id)
            }
            20..=63 => {
                let id = *self.by_address.get(&from)?;
                self.lines.get_mut(&id)?.handle_dtls(now, bytes);
                Some(id)
            }
            128..=191 => {
                let id = *self.by_address.get(&from)?;
                self.lines.get_mut(&id)?.handle_srtp(now, bytes);
                Some(id)
            }
            _ => None,
        }
    }

    fn tick(&mut self) {
        let now = now();
        let due: Vec<LineId> = self
            .lines
            .iter()
            .filter(|(_, line)| line.poll_timeout().is_some_and(|at| at <= now.mono))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some(line) = self.lines.get_mut(&id) {
                line.handle_timeout(now);
            }
            self.flush(id, now);
        }
    }

    fn flush(&mut self, id: LineId, now: Now) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        for (to, datagram) in line.take_output() {
            // UDP may drop; a full buffer is loss like any other.
            let _lost = self.socket.send_to(&datagram, to);
        }
        for event in line.take_events() {
            let _gone = self.events.send((id, now.wall, event));
        }
    }
}
