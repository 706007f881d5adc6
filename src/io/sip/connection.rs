//! The task of one connection: handshake, bytes to messages, messages to bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{TrunkTls, open, websocket};
use crate::sip::{Flow, Frame, Framer, PONG, StreamFault, Transport};

/// What a connection tells.
#[derive(Debug)]
pub(super) enum Happened {
    Message(Vec<u8>),
    Endless(Vec<u8>),
    /// The peer is alive.
    Ping,
    /// It could not be opened.
    Unopened,
    /// It has ended; by a fault, or properly.
    Closed(Option<Broken>),
}

/// Why a connection had to end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the handshake took too long")]
    Handshake,
    #[error("a message came too slowly")]
    Slow,
    #[error("the peer does not read")]
    Choked,
    #[error("the stream cannot be read: {}", .0.as_str())]
    Stream(StreamFault),
    #[error("{0}")]
    WebSocket(#[from] Box<websocket::Fault>),
}

/// The ends of a connection's two queues.
pub(super) struct Wire {
    pub(super) id: u64,
    pub(super) flow: Flow,
    pub(super) events: mpsc::Sender<(u64, Flow, Happened)>,
    /// Weak: when the loop lets go of the connection, what is queued is sent and the task ends.
    pub(super) pongs: mpsc::WeakSender<Vec<u8>>,
    pub(super) outgoing: mpsc::Receiver<Vec<u8>>,
    pub(super) longest: usize,
}

/// How long a handshake may take: TLS, and the upgrade of a WebSocket.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a message may take from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(32);
/// How long the system may take no byte of what is to be sent.
const WRITE: Duration = Duration::from_secs(20);
/// After a fault the refusal that answers it is still sent.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Wire {
    /// Tells the loop; `false` when the loop is gone.
    pub(super) async fn tell(&self, happened: Happened) -> bool {
        self.events.send((self.id, self.flow, happened)).await.is_ok()
    }

    async fn end(self, ended: Result<(), Broken>) {
        if let Err(broken) = &ended {
            tracing::debug!(remote = %self.flow.remote, %broken, "a SIP connection has ended");
        }
        self.tell(Happened::Closed(ended.err())).await;
    }
}

/// A connection that the peer opened.
pub(super) async fn accepted(mut wire: Wire, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
    let ended = serve_accepted(&mut wire, stream, tls).await;
    wire.end(ended).await;
}

async fn serve_accepted(
    wire: &mut Wire,
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
) -> Result<(), Broken> {
    open::tune(&stream)?;
    let transport = wire.flow.transport;
    if !transport.is_secure() {
        return serve(wire, transport, stream).await;
    }
    let tls = tls.ok_or_else(|| io::Error::other("no certificate"))?;
    let secured = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream));
    let stream = secured.await.map_err(|_| Broken::Handshake)??;
    serve(wire, transport, stream).await
}

/// A connection that we open, within `patience`.
pub(super) async fn dialled(mut wire: Wire, patience: Duration, tls: Option<TrunkTls>) {
    let flow = wire.flow;
    let deadline = Instant::now() + patience;
    let opened = timeout_at(deadline, connect(flow, tls)).await;
    let ended = match opened {
        Ok(Ok(Opened::Plain(stream))) => serve(&mut wire, flow.transport, stream).await,
        Ok(Ok(Opened::Secured(stream))) => serve(&mut wire, flow.transport, *stream).await,
        failed => {
            let reason = match failed {
                Ok(Err(error)) => error.to_string(),
                _ => format!("no answer in {patience:?}"),
            };
            tracing::warn!(remote = %flow.remote, transport = flow.transport.as_str(), reason, "no SIP connection");
            wire.tell(Happened::Unopened).await;
            return;
        }
    };
    wire.end(ended).await;
}

enum Opened {
    Plain(TcpStream),
    Secured(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn connect(flow: Flow, tls: Option<TrunkTls>) -> io::Result<Opened> {
    let stream = TcpStream::connect(flow.remote).await?;
    open::tune(&stream)?;
    if !flow.transport.is_secure() {
        return Ok(Opened::Plain(stream));
    }
    let tls = tls.ok_or_else(|| io::Error::other("nothing is known of this peer's certificate"))?;
    let secured = TlsConnector::from(tls.config).connect(tls.name, stream).await?;
    Ok(Opened::Secured(Box::new(secured)))
}

async fn serve<S>(wire: &mut Wire, transport: Transport, stream: S) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if matches!(transport, Transport::Ws | Transport::Wss) {
        let accepted = timeout(HANDSHAKE, websocket::accept(stream, wire.longest));
        let socket = accepted.await.map_err(|_| Broken::Handshake)??;
        return websocket::serve(wire, socket).await;
    }
    let (input, output) = tokio::io::split(stream);
    let Wire { id, flow, events, pongs, outgoing, longest } = wire;
    let reading = read(input, Framer::new(*longest), *id, *flow, events, pongs);
    tokio::select! {
        ended = reading => ended,
        ended = write(output, outgoing) => ended,
    }
}

/// Reads until the end of the stream.
async fn read(
    mut input: impl AsyncRead + Unpin,
    mut framer: Framer,
    id: u64,
    flow: Flow,
    events: &mpsc::Sender<(u64, Flow, Happened)>,
    pongs: &mpsc::WeakSender<Vec<u8>>,
) -> Result<(), Broken> {
    let mut buffer = vec![0; 8192];
    let mut deadline: Option<Instant> = None;
    loop {
        loop {
            let happened = match framer.poll_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Message(bytes))) => Happened::Message(bytes),
                Ok(Some(Frame::Endless(bytes))) => Happened::Endless(bytes),
                Ok(Some(Frame::Ping)) => {
                    pong(pongs);
                    Happened::Ping
                }
                Err(fault) => {
                    tokio::time::sleep(LAST_WORDS).await;
                    return Err(Broken::Stream(fault));
                }
            };
            deadline = None;
            if events.send((id, flow, happened)).await.is_err() {
                return Ok(());
            }
        }
        let length = if framer.is_within_message() {
            let at = *deadline.get_or_insert_with(|| Instant::now() + MESSAGE);
            timeout_at(at, input.read(&mut buffer)).await.map_err(|_| Broken::Slow)??
        } else {
            input.read(&mut buffer).await?
        };
        if length == 0 {
            return Ok(());
        }
        framer.push(&buffer[..length]);
    }
}

/// A peer that pings and does not read gets no pongs.
pub(super) fn pong(pongs: &mpsc::WeakSender<Vec<u8>>) {
    if let Some(queue) = pongs.upgrade() {
        let _ = queue.try_send(PONG.to_vec());
    }
}

/// Writes until the loop lets go of the connection.
async fn write(
    mut output: impl AsyncWrite + Unpin,
    outgoing: &mut mpsc::Receiver<Vec<u8>>,
) -> Result<(), Broken> {
    while let Some(bytes) = outgoing.recv().await {
        let written = async {
            output.write_all(&bytes).await?;
            output.flush().await
        };
        timeout(WRITE, written).await.map_err(|_| Broken::Choked)??;
    }
    let _ = timeout(LAST_WORDS, output.shutdown()).await;
    Ok(())
}
