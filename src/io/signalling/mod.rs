//! Where the two worlds meet: one task owns the SIP user agent and every call.
//!
//! It waits for one event, feeds it to the machine concerned, and carries out what the machines
//! ask for. Nothing here waits for a disk, DNS or a peer: the store, Graph and the media workers
//! reply through channels.

mod asks;
mod availability;
mod callbacks;
mod codec_choices;
mod counting;
mod desks;
mod features;
mod from_meta;
mod from_sip;
mod graveyard;
mod hearing;
mod hours;
mod keys;
mod lane;
mod news;
mod notices;
mod numbers;
mod outcomes;
mod outputs;
mod patience;
mod permits;
mod protection;
mod quality;
mod queue;
mod recording;
mod registrations;
mod restart;
mod switchboard;
mod timings;
mod transfers;
pub mod translate;
mod voicemail;

#[cfg(test)]
mod rig;
#[cfg(test)]
mod stories;

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

pub use availability::{Disturb, DisturbSet};
pub use callbacks::{GroupQueue, Originated, Origination, QueueOf};
pub use codec_choices::CodecChoices;
pub use counting::Figures;
pub use features::FeatureRules;
pub use hours::{Hours, WhenClosed, hold};
pub use keys::KeyChoices;
pub use numbers::BusinessNumber;
pub use protection::{Browsers, ways};
pub use quality::MetricPeers;
pub(super) use recording::keep_recordings;
pub use switchboard::{Parts, Switchboard};
pub use timings::Timings;
pub use transfers::TransferRules;
pub use voicemail::{MessageBell, Voice, keep_messages, mailbox_of};

use crate::call::{ActionKind, Input};
use crate::id::{CallId, PhoneName};
use crate::io::dns::LookupAnswer;
use crate::io::sip::Sockets;
use crate::io::store::MessageCount;
use crate::io::webhook::Delivery;
use crate::media::Report;
use crate::sip::TrunkStatus;
use crate::sip::defence::{Ban, Source};
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
    /// A permission request that a phone dialled for ended.
    Asked(asks::DialledAsk),
    /// A phone that wants to call back has got somebody, or nobody.
    Claimed(Box<queue::Claimed>),
    /// The messages that a phone has asked for are read.
    Hearing(Box<hearing::Hearing>),
    /// How many messages there are.
    Messages(Vec<MessageCount>),
    /// What a phone said of its last call is written, or not.
    Noted(outcomes::DialledOutcome),
    /// A user has granted what a phone waits for.
    Awaited(asks::Awaited),
    /// A Graph request ended; how long it took.
    Graph(ActionKind, Duration, Input),
}

/// A question from the admin side or the process.
#[derive(Debug)]
pub enum Question {
    /// The figures of this moment.
    Figures(oneshot::Sender<Figures>),
    /// Who is banned.
    Bans(oneshot::Sender<Vec<Ban>>),
    /// End the bans of a source, or of one user there; the reply says how many held.
    LiftBan(Source, Option<String>, oneshot::Sender<usize>),
    /// A phone is asked to look for a new configuration; the reply says at how many places.
    Resync(PhoneName, oneshot::Sender<usize>),
    /// End a call on both sides; the reply says whether it was up.
    HangUp(CallId, oneshot::Sender<bool>),
    /// Whether new calls are turned away.
    Closing(oneshot::Sender<bool>),
    /// Which phones are not to be disturbed, since when.
    Undisturbed(oneshot::Sender<Vec<(PhoneName, Wall)>>),
    /// Sets whether a phone may be rung.
    SetDisturb(PhoneName, Disturb, oneshot::Sender<DisturbSet>),
    /// The numbers whose missed calls a phone may call back, of a group if it is named.
    QueueOf(PhoneName, Option<String>, oneshot::Sender<QueueOf>),
    /// Ring an agent's phone, then a user.
    Originate(Origination, oneshot::Sender<Originated>),
    /// How each trunk fares.
    Trunks(oneshot::Sender<Vec<TrunkStatus>>),
    /// Take no new calls; the reply comes when the last one has ended.
    Drain(oneshot::Sender<()>),
    /// End all calls on both sides and stop.
    Stop,
}

/// What the loop listens to.
#[derive(Debug)]
pub struct Ears {
    /// The SIP sockets.
    pub sip: Sockets,
    /// Events that the webhook side has made durable.
    pub events: mpsc::UnboundedReceiver<Delivery>,
    /// What media says.
    pub reports: mpsc::UnboundedReceiver<(CallId, Report)>,
    /// What DNS says.
    pub located: mpsc::UnboundedReceiver<LookupAnswer>,
    /// Questions.
    pub questions: mpsc::UnboundedReceiver<Question>,
}

/// Runs the loop until it is told to stop and the calls are over.
pub async fn run(mut board: Switchboard, mut ears: Ears) {
    loop {
        board.settle(now());
        send_all(&mut board, &mut ears.sip);
        ears.sip.sweep(Instant::now(), || board.flows_in_use());
        if board.is_done(now()) {
            board.write_last_words().await;
            return;
        }
        let deadline = [board.poll_timeout(), ears.sip.poll_timeout()].into_iter().flatten().min();
        let deadline = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        tokio::select! {
            arrival = ears.sip.next() => board.handle_arrival(now(), arrival),
            Some(delivery) = ears.events.recv() => board.handle_delivery(now(), delivery),
            Some((call, report)) = ears.reports.recv() => board.handle_report(now(), call, report),
            Some(located) = ears.located.recv() => board.handle_located(now(), located),
            Some((call, reply)) = board.replies.recv() => board.handle_reply(now(), call, reply),
            Some(question) = ears.questions.recv() => {
                board.note_connections(ears.sip.figures());
                board.handle_question(now(), question);
            }
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
    }
}

fn send_all(board: &mut Switchboard, sockets: &mut Sockets) {
    while let Some((trunk, servers)) = board.poll_moved() {
        sockets.trunk_moved(&trunk, &servers);
    }
    while let Some((flow, bytes)) = board.poll_transmit() {
        if let Err(unsent) = sockets.send(flow, bytes) {
            board.count_unsent();
            tracing::debug!(remote = %flow.remote, %unsent, "a SIP message could not be sent");
        }
    }
}
