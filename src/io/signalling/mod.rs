//! Where the two worlds meet: one task owns the SIP user agent and every call.
//!
//! It waits for one event, feeds it to the machine concerned, and carries out what the machines
//! ask for. Nothing here waits for a disk, DNS or a peer: the store, Graph and the media workers
//! reply through channels.

mod counting;
mod from_meta;
mod from_sip;
mod graveyard;
mod lane;
mod numbers;
mod outputs;
mod quality;
mod recording;
mod registrations;
mod restart;
mod switchboard;
mod timings;
pub mod translate;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

pub use counting::Figures;
pub use numbers::BusinessNumber;
pub use quality::MetricPeers;
pub(super) use recording::keep_recordings;
pub use switchboard::{Parts, Switchboard};
pub use timings::Timings;

use crate::call::{ActionKind, Input};
use crate::id::CallId;
use crate::io::webhook::Delivery;
use crate::media::Report;
use crate::sip::Flow;
use crate::time::{Now, Wall};

/// Reads both clocks.
#[must_use]
pub fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    Now { mono: Instant::now(), wall: Wall(millis) }
}

/// What comes back from work that was done beside the loop.
#[derive(Debug)]
pub(super) enum Reply {
    /// For the call, as it is.
    Input(Input),
    /// A Graph request ended; how long it took.
    Graph(ActionKind, Duration, Input),
}

/// A question from the admin side or the process.
#[derive(Debug)]
pub enum Question {
    /// The figures of this moment.
    Figures(oneshot::Sender<Figures>),
    /// Whether new calls are turned away.
    Closing(oneshot::Sender<bool>),
    /// Take no new calls; the reply comes when the last one has ended.
    Drain(oneshot::Sender<()>),
    /// End all calls on both sides and stop.
    Stop,
}

/// What the loop listens to.
#[derive(Debug)]
pub struct Ears {
    /// The SIP socket.
    pub socket: UdpSocket,
    /// Events that the webhook side has made durable.
    pub events: mpsc::UnboundedReceiver<Delivery>,
    /// What media says.
    pub reports: mpsc::UnboundedReceiver<(CallId, Report)>,
    /// Questions.
    pub questions: mpsc::UnboundedReceiver<Question>,
}

/// The largest datagram of UDP.
const DATAGRAM: usize = 65_535;

/// Runs the loop until it is told to stop and the calls are over.
///
/// # Errors
/// When the SIP socket has no local address any more.
pub async fn run(mut board: Switchboard, mut ears: Ears) -> io::Result<()> {
    let local = ears.socket.local_addr()?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        board.settle(now());
        send_all(&mut board, &ears.socket);
        if board.is_done(now()) {
            board.write_last_words().await;
            return Ok(());
        }
        let deadline = board.poll_timeout().unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        tokio::select! {
            received = ears.socket.recv_from(&mut buffer) => match received {
                Ok((length, remote)) => {
                    board.handle_message(now(), Flow::udp(local, remote), &buffer[..length]);
                }
                // An ICMP error of an earlier packet; the transaction's timers see to it.
                Err(error) => tracing::debug!(%error, "SIP socket"),
            },
            Some(delivery) = ears.events.recv() => board.handle_delivery(now(), delivery),
            Some((call, report)) = ears.reports.recv() => board.handle_report(now(), call, report),
            Some((call, reply)) = board.replies.recv() => board.handle_reply(now(), call, reply),
            Some(question) = ears.questions.recv() => board.handle_question(now(), question),
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
    }
}

/// UDP either takes a packet at once or loses it; SIP retransmits what matters.
fn send_all(board: &mut Switchboard, socket: &UdpSocket) {
    while let Some((flow, bytes)) = board.poll_transmit() {
        let remote: SocketAddr = flow.remote;
        if let Err(error) = socket.try_send_to(&bytes, remote) {
            board.count_unsent();
            tracing::debug!(%error, "a SIP packet could not be sent");
        }
    }
}
