//! `cordboard simulate`: the stand-in for Meta in Graph mode, with which administrators try their PBX and the tests
//! try the gateway.
//!
//! It plays the Graph API, the webhooks, the media relay and the WhatsApp users at both ends of it (reference §22,
//! items 1 to 11). Its ICE, DTLS and rules share no code with the gateway's. All calls share one UDP socket and are
//! told apart by the remote address, as Meta's relays do.
//!
//! The Graph side is `POST /{version}/{PHONE_NUMBER_ID}/calls`, `GET …/call_permissions` and, for permission
//! requests, templates and call buttons, `POST …/messages`. The control side is JSON too; an error is `{"error":{"what":…,"do":…}}`. Times are Unix
//! milliseconds where the name ends in `_ms` and nothing else is said.
//!
//! | request | body | effect or answer |
//! | --- | --- | --- |
//! | `POST /sim/calls` | `number` (its id), `from`, `user_id`, `name`, `username`, `shape` `"new"`/`"old"`, `speak` and `record` (WAV paths), `speak_after_ms`, `cta_payload`, `deeplink_payload`, `dtls_role` `"client"`/`"server"` (default: `actpass`) | a user calls: `{"call":id}`; `user_id` without `from` is a username user, whose phone number no webhook shows |
//! | `GET /sim/calls` | | all calls in brief |
//! | `GET /sim/calls/{id}` | | one call: `state` (`offered`, `pre_accepted`, `dialling`, `ringing`, `in_progress`, `ending`, `ended`), `ended_by`, `stages`, `rtp`, `digits`, `violations`, `terminate`; at `ended` the recording is complete |
//! | `POST /sim/calls/{id}/hangup` | | the user hangs up |
//! | `POST /sim/calls/{id}/ring`, `/answer`, `/reject` | | the called user's phone rings; the user picks up; declines |
//! | `POST /sim/calls/{id}/speak` | `wav` | the user says something else from now on |
//! | `POST /sim/calls/{id}/voicemail` | `file` (Ogg/Opus), `altered` | the user has said that to Meta's voicemail: webhook, and the Graph serves the sound |
//! | `POST /sim/calls/{id}/digits` | `digits` | the user presses keys (RFC 4733) |
//! | `POST /sim/users/{digits or scoped id}` | `permission` `"none"`/`"temporary"`/`"permanent"` (for all numbers, or `number`), `callable`, `ring_after_ms` (after `connect`; `null`: never rings), `answer_after_ms` (after ringing; `null`: only by `/answer`), `reject`, `accepted` `"normal"`/`"late"` (3 s)/`"never"`/`{"delay_ms":n}`, `speak`, `record`, `dtls_role` (default: either), `name`, `username` | how this user behaves when called; what is absent stays, `null` takes away |
//! | `GET /sim/users`, `GET /sim/users/{…}` | | the same with permissions, connected calls, unanswered run |
//! | `POST /sim/users/{…}/permission-reply` | `number`, `response` `"accept"`/`"reject"`, `permanent`, `context` | the user grants or takes a permission: rule and webhook |
//! | `POST /sim/users/{…}/message` | `number` | the user writes: webhook, and the conversation window is open for 24 h |
//! | `GET /sim/messages` | | what the business wrote to users |
//! | `POST /sim/numbers/{id}` | `calling`, `callback_permission`, `paused_for_ms` | switches of a business number; a pause for bad quality, with its webhook |
//! | `GET`, `POST /sim/limits` | `pair_calls`, `initiations`, `concurrent`, `unanswered_notice`, `unanswered_revoke`, `queries` | the numbers of Meta's rules; absent means Meta's own |
//! | `GET`, `POST /sim/faults` | `graph_delay_ms`, `graph_error` `{action, code, http, times}`, `graph_drop` (`true`, a count, or `{action, processed, times}`), `connect_webhook_first`, `webhook_duplicate`, `webhook_reorder`, `webhook_drop`, `webhook_bad_signature` (each `true` or a count), `webhook_delay_ms`, `webhook_batch_ms` | replaces all faults; `{}` takes all back |
//! | `GET`, `POST /sim/account` | `tier`, `platform`, `coexistence`, `status`, `quality`, `mode`, `old_names`, `token_ends`, `scopes`, `subscribed`, `fields`, `callback`, `health` | what Graph says of numbers, account, app and token; replaces all, `{}` makes all well |
//! | `GET /sim/violations` | | every rule that the business broke |
//! | `GET /sim/webhooks` | | what was sent, with HTTP statuses and latency |
//! | `POST /sim/replay` | `webhook` (number), or `call` and `event`; `bad_signature` | sends a stored webhook again, byte by byte |
//!
//! `stages` holds Unix milliseconds: `started`, `webhook_connect_taken` (answered 200; likewise for the other events),
//! `pre_accept`, `accept`, `ice_check` (the first valid one), `ice_nominated`, `dtls_up`, `first_rtp`, `first_voice`
//! (the first voiced frame after the answer), `ringing`, `picked_up`, `webhook_ringing`, `webhook_accepted`,
//! `webhook_rejected`, `early_media`, `reject`, `terminate`, `ended`.
//!
//! `rtp` holds, of the business's stream, `received`, `lost`, `gaps_over_60ms`, `max_gap_ms`, `ssrcs`, `seq_breaks`,
//! `timestamp_breaks`, `first_audio_ms` and `first_voice_ms` (after the answer), `before_answer`, `early_dtls`,
//! `odd_frames`, `bitrate`, `rtcp_received`, and of ours `sent`, `rtcp_sent`, `reported_loss`.
//!
//! A user speaks Opus at 20 kbit/s out of a mono 16-bit WAV file of 8, 16 or 48 kHz, else the noise of a quiet room;
//! what is heard is recorded as mono 16-bit at 16 kHz, from the answer on, with silence where nothing came.

mod account;
mod business;
mod call;
pub mod cli;
mod control;
mod delivery;
mod digits;
mod dtls;
mod faults;
mod graph;
mod graph_error;
mod line;
mod media;
mod messages;
mod meta;
mod offer;
mod recorder;
mod rtcp;
mod rules;
mod sdp;
mod settings;
mod speaker;
mod stream;
mod stun;
#[cfg(test)]
mod tests;
pub(crate) mod voice;
mod voicemail;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::masked::Secret;
use crate::random::Random;
use cli::SimulateArgs;

/// A stand-in whose sockets are bound.
pub struct Simulation {
    /// Where the Graph API and the control API listen.
    pub http: SocketAddr,
    /// Where media is received.
    pub media: SocketAddr,
    listener: TcpListener,
    router: axum::Router,
}

/// Runs the stand-in until the process is told to stop; prints one line of JSON when it is ready:
/// `{"http":"127.0.0.1:PORT","media":"127.0.0.1:PORT"}`.
///
/// # Errors
///
/// A file that cannot be read or an address that cannot be bound.
pub async fn run(args: SimulateArgs) -> io::Result<()> {
    let simulation = start(&args).await?;
    let ready =
        serde_json::json!({ "http": simulation.http.to_string(), "media": simulation.media.to_string() });
    let mut out = io::stdout();
    writeln!(out, "{ready}")?;
    out.flush()?;
    tokio::select! {
        served = simulation.serve() => served,
        stopped = stop_signal() => stopped,
    }
}

async fn stop_signal() -> io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Binds the sockets and starts the media thread.
///
/// # Errors
///
/// As [`run`].
pub async fn start(args: &SimulateArgs) -> io::Result<Simulation> {
    if args.media.ip().is_unspecified() {
        let what =
            "--media: the address stands in the SDP; give the one at which the gateway reaches this machine";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    let random = args.seed.map_or_else(|| Random::from_seed(seed), Random::from_number);
    let identity = Arc::new(dtls::Identity::generate()?);
    let (media_events, media_inbox) = mpsc::unbounded_channel();
    let (taken, taken_inbox) = mpsc::unbounded_channel();
    let media = media::Media::start(args.media, identity.clone(), media_events)?;
    let local = media.local();
    let app_secret = secret(&args.app_secret_file)?;
    let target = delivery::Target {
        url: args.webhook.clone(),
        app_secret: app_secret.clone(),
        retry: args.webhook_retry,
    };
    let delivery =
        delivery::Delivery::new(target, taken).map_err(|error| io::Error::other(error.to_string()))?;
    let patience = meta::Patiences {
        accept_window: args.accept_window,
        ring_time: args.ring_time,
        media: line::Patience { first: args.first_media, gap: args.media_gap, setup: args.connect_time },
    };
    let token = secret(&args.access_token_file)?;
    let meta = meta::Meta::new(args.own_numbers(), patience, media, identity, delivery, token, random);
    tokio::spawn(meta.clone().follow(media_inbox, taken_inbox));
    let listener = TcpListener::bind(args.listen).await?;
    let router = control::routes(meta.clone())
        .merge(graph::routes(meta.clone()))
        .merge(settings::routes(meta.clone()))
        .merge(account::routes(meta.clone(), &args.webhook, &app_secret))
        .merge(voicemail::routes(meta));
    Ok(Simulation { http: listener.local_addr()?, media: local, listener, router })
}

impl Simulation {
    /// Serves until the task is dropped.
    ///
    /// # Errors
    ///
    /// When the listener fails for good.
    pub async fn serve(self) -> io::Result<()> {
        axum::serve(self.listener, self.router).await
    }
}

fn secret(path: &Path) -> io::Result<Secret<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(Secret::new(text.trim().to_owned()))
}
