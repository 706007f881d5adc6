//! Fetches what users said to Meta's voicemail, one sound after another, a few times each.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Cabinet;
use crate::call::voicemail::VoicemailId;
use crate::id::PhoneNumberId;
use crate::io::graph::{FetchedSound, GraphClient};
use crate::io::signalling::{MessageBell, now};
use crate::io::store::{Store, StoreError, ToFetch};
use crate::masked::Secret;
use crate::metrics::label::{LeftMessage, Word};
use crate::metrics::{Registry, table};
use crate::time::Wall;
use crate::whatsapp::SoundDigest;

/// How often is looked whether there is something to fetch.
const BEAT: Duration = Duration::from_secs(2);
/// So many are fetched in a row.
const BATCH: u32 = 20;
/// How long after each vain try the next one comes; behind the last, Meta does not have it any more.
const AGAIN: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(3),
    Duration::from_hours(12),
];
/// An Ogg file begins so (RFC 3533 §6).
const OGG: &[u8] = b"OggS";

/// What fetches.
#[derive(Debug)]
pub struct Fetcher {
    /// The store that knows what is to be fetched.
    pub store: Store,
    /// Where the files go.
    pub cabinet: Cabinet,
    /// The way to Meta.
    pub graph: Arc<GraphClient>,
    /// The token of each business number.
    pub tokens: HashMap<PhoneNumberId, Secret<String>>,
    /// Who is told.
    pub bell: MessageBell,
    /// Where it is counted that a sound was another one.
    pub metrics: Arc<Registry>,
}

impl Fetcher {
    /// Fetches until the process ends.
    pub async fn run(self) {
        let mut beat = tokio::time::interval(BEAT);
        loop {
            beat.tick().await;
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "voice messages at Meta could not be looked up");
            }
        }
    }

    async fn round(&self) -> Result<(), StoreError> {
        for wanted in self.store.voicemails_to_fetch(now().wall, BATCH).await? {
            match self.fetch(&wanted).await {
                Ok(file) => {
                    self.store.voicemail_fetched(wanted.id, &file).await?;
                    tracing::info!(voicemail = wanted.id.0, "a voice message was fetched from Meta");
                    self.bell.ring(&self.store).await?;
                }
                Err(problem) => {
                    let after = AGAIN.get(wanted.tries as usize);
                    let next = after.map(|after| now().wall + *after);
                    tracing::warn!(voicemail = wanted.id.0, problem, again = next.is_some(), "not fetched");
                    self.store.voicemail_not_fetched(wanted.id, next).await?;
                }
            }
        }
        Ok(())
    }

    async fn fetch(&self, wanted: &ToFetch) -> Result<String, String> {
        let token = self.tokens.get(&wanted.number).ok_or("the business number is no longer configured")?;
        let fetched = self.graph.media(&wanted.number, token, &wanted.sound.id).await;
        let FetchedSound { bytes, stated } = fetched.map_err(|it| it.to_string())?;
        if !is_as_stated(&bytes, [wanted.sound.digest, stated]) {
            let labels = LeftMessage { number: wanted.label.clone(), outcome: Word("altered") };
            self.metrics.count(&table::VOICEMAILS, &labels);
            return Err("what came is not the sound that Meta announced (SHA-256)".to_owned());
        }
        if !bytes.starts_with(OGG) {
            return Err("what Meta gave is no Ogg file".to_owned());
        }
        let file = file_of(wanted.id, wanted.at);
        let path = self.cabinet.path(&file).ok_or("a file outside of the directory")?;
        write(&path, &bytes).await.map_err(|it| format!("{}: {it}", path.display()))?;
        Ok(file.display().to_string())
    }
}

/// Whether these bytes are what was announced, wherever it was: cut short or changed on the way is not what the user
/// has said.
fn is_as_stated(bytes: &[u8], stated: [Option<SoundDigest>; 2]) -> bool {
    let own = SoundDigest::of(bytes);
    stated.into_iter().flatten().all(|it| it == own)
}

/// A folder for each day of UTC; no number and no name stands in it.
fn file_of(id: VoicemailId, at: Wall) -> PathBuf {
    let at = at.to_string();
    let day = at.split_once('T').map_or(at.as_str(), |(day, _)| day);
    Path::new(day).join(format!("meta-{}.opus", id.0))
}

/// Complete or not at all.
async fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    use tokio::io::AsyncWriteExt as _;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    tokio::task::spawn_blocking(move || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    })
    .await
    .map_err(io::Error::other)??;
    let part = path.with_extension("opus.fetching");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = tokio::fs::OpenOptions::from(options).open(&part).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    tokio::fs::rename(&part, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_must_be_what_each_of_metas_answers_announced() {
        let (good, other) = (Some(SoundDigest::of(b"OggS")), Some(SoundDigest::of(b"Ogg")));
        assert!(is_as_stated(b"OggS", [good, good]) && is_as_stated(b"OggS", [None, None]));
        assert!(!is_as_stated(b"OggS", [other, None]) && !is_as_stated(b"OggS", [good, other]));
    }

    #[test]
    fn a_fetched_file_stands_in_the_folder_of_its_day_and_names_nobody() {
        let file = file_of(VoicemailId(7), Wall::from_secs(1_791_899_000));
        assert_eq!(file, Path::new("2026-10-13/meta-7.opus"));
    }
}
