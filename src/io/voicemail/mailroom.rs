//! Everything that voice messages need beside the calls: the recorder, the files, what is deleted, who is told.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Cabinet, Fetcher};
use crate::config::{Config, NumberConfig};
use crate::io::graph::GraphClient;
use crate::io::recording::{Format, Kept, Recorder, RecorderSettings, Told, is_writable};
use crate::io::signalling::{MessageBell, keep_messages};
use crate::io::store::Store;
use crate::masked::Secret;
use crate::metrics::Registry;

/// Bits a second of a message.
const BITRATE: u32 = 24_000;

/// The recorder before there are calls, and then the task that keeps what it tells.
#[derive(Debug)]
pub struct Mailroom {
    /// Who records; `None`: no number takes messages.
    pub recorder: Option<Recorder>,
    /// Where the files stand.
    pub cabinet: Cabinet,
    told: Option<mpsc::UnboundedReceiver<Told>>,
    /// Ends when the recorder has.
    pub kept: Option<JoinHandle<()>>,
}

/// Whether some number takes messages.
fn is_wanted(config: &Config) -> bool {
    config.numbers.iter().any(NumberConfig::takes_messages)
}

impl Mailroom {
    /// Starts the recorder, if a number takes messages; a folder that cannot be written costs them, and no call.
    ///
    /// # Errors
    /// The kernel refused a thread.
    pub fn open(config: &Config) -> std::io::Result<Self> {
        let settings = &config.voicemail;
        let cabinet = Cabinet {
            directory: settings.directory.clone(),
            shortest: settings.shortest,
            keep: settings.keep,
        };
        if !is_wanted(config) {
            return Ok(Self { recorder: None, cabinet, told: None, kept: None });
        }
        if let Err(failure) = is_writable(&settings.directory) {
            tracing::error!(%failure, "voicemail.directory cannot be written: users will speak to nobody");
        }
        let (told_in, told) = mpsc::unbounded_channel();
        let recorder = Recorder::start(
            RecorderSettings {
                directory: settings.directory.clone(),
                format: Format::UserOpus { bitrate: BITRATE },
                min_free: settings.min_free,
                kept: Kept::User { silence: settings.silence },
            },
            told_in,
        )?;
        Ok(Self { recorder: Some(recorder), cabinet, told: Some(told), kept: None })
    }

    /// Begins to keep what is recorded, to fetch what Meta has and to delete what is old; the phones are told how many
    /// messages there are.
    #[must_use]
    pub fn work(
        mut self,
        config: &Config,
        store: &Store,
        bell: &MessageBell,
        (graph, metrics): (&Arc<GraphClient>, &Arc<Registry>),
    ) -> Self {
        if let Some(told) = self.told.take() {
            let (cabinet, bell, metrics) = (self.cabinet.clone(), bell.clone(), Arc::clone(metrics));
            self.kept = Some(tokio::spawn(keep_messages(store.clone(), cabinet, bell, metrics, told)));
        }
        tokio::spawn(self.cabinet.clone().forget_old(store.clone(), bell.clone()));
        let token =
            |it: &NumberConfig| (it.phone_number_id.clone(), Secret::new(it.access_token.expose().clone()));
        let fetcher = Fetcher {
            store: store.clone(),
            cabinet: self.cabinet.clone(),
            graph: Arc::clone(graph),
            tokens: config.numbers.iter().map(token).collect(),
            bell: bell.clone(),
            metrics: Arc::clone(metrics),
        };
        tokio::spawn(fetcher.run());
        let (store, bell) = (store.clone(), bell.clone());
        tokio::spawn(async move {
            if let Err(error) = bell.ring(&store).await {
                tracing::error!(%error, "the phones could not be told of messages");
            }
        });
        self
    }
}
