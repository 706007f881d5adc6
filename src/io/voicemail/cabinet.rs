//! The files of voice messages.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::call::voicemail::VoiceMessage;
use crate::io::signalling::{MessageBell, now};
use crate::io::store::Store;

/// So many old messages are deleted at once.
const BATCH: u32 = 200;

/// Where the files stand, and what is kept of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cabinet {
    /// The directory.
    pub directory: PathBuf,
    /// With less speech in it than this it is no message.
    pub shortest: Duration,
    /// How long messages are kept.
    pub keep: Duration,
}

impl Cabinet {
    /// The file's place; `None` for a name that leads out of the directory.
    #[must_use]
    pub fn path(&self, file: &Path) -> Option<PathBuf> {
        let plain = file.components().all(|it| matches!(it, Component::Normal(_)));
        plain.then(|| self.directory.join(file))
    }

    /// The sound of a message; `None`: Meta has it still, or somebody took the file away.
    ///
    /// # Errors
    /// The disk's.
    pub async fn read(&self, message: &VoiceMessage) -> io::Result<Option<Vec<u8>>> {
        let path = message.file.as_deref().and_then(|it| self.path(Path::new(it)));
        let Some(path) = path else { return Ok(None) };
        match tokio::fs::read(path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a file away; one that is gone already is as good.
    pub async fn remove(&self, file: &Path) {
        let Some(path) = self.path(file) else { return };
        if let Err(error) = tokio::fs::remove_file(&path).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(file = %path.display(), %error, "a voice message could not be deleted");
        }
    }

    /// Deletes what is older than it may be, once an hour.
    pub async fn forget_old(self, store: Store, bell: MessageBell) {
        let mut hourly = tokio::time::interval(Duration::from_secs(3600));
        loop {
            hourly.tick().await;
            match self.forget(&store).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::info!(count, "voice messages were deleted: voicemail.keep is over");
                    let _ = bell.ring(&store).await;
                }
                Err(error) => tracing::warn!(%error, "old voice messages could not be deleted"),
            }
        }
    }

    async fn forget(&self, store: &Store) -> Result<u32, crate::io::store::StoreError> {
        let (mut count, until) = (0, now().wall - self.keep);
        loop {
            let old = store.voicemails_before(until, BATCH).await?;
            if old.is_empty() {
                return Ok(count);
            }
            for message in old {
                if let Some(file) = store.delete_voicemail(message.id).await?.and_then(|it| it.file) {
                    self.remove(Path::new(&file)).await;
                }
                count += 1;
            }
        }
    }
}
