//! Where phones are registered outlives the process: kept beside the loop, taken up at the start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::now;
use super::switchboard::Switchboard;
use crate::id::PhoneName;
use crate::io::store::{Store, StoreError};
use crate::sip::SavedBinding;
use crate::time::Now;

/// What changed: a phone with all its bindings.
type Changed = (PhoneName, Vec<SavedBinding>);

/// How long a write waits when the store did not take it; what changes meanwhile joins it.
const PAUSE: Duration = Duration::from_secs(5);

/// The way in; dropping it lets what is queued be written, once.
pub(super) type Keeper = mpsc::UnboundedSender<Changed>;

/// The keeper of the registrations at our sockets `locals`, and the work behind it.
pub(super) fn make(store: Store, locals: Vec<SocketAddr>) -> (Keeper, impl Future<Output = ()> + Send) {
    let (keeper, mut changes) = mpsc::unbounded_channel::<Changed>();
    let work = async move {
        // Of a phone only the newest set matters, so a store that is down costs one set per phone.
        let mut unsaved: BTreeMap<PhoneName, Vec<SavedBinding>> = BTreeMap::new();
        while let Some((phone, bindings)) = changes.recv().await {
            unsaved.insert(phone, bindings);
            while !unsaved.is_empty() {
                while let Ok((phone, bindings)) = changes.try_recv() {
                    unsaved.insert(phone, bindings);
                }
                match store.save_bindings(locals.clone(), unsaved.clone()).await {
                    Ok(()) => unsaved.clear(),
                    Err(error) if changes.is_closed() => {
                        return tracing::warn!(%error, "registrations could not be kept for the next start");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "registrations wait for the store");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    };
    (keeper, work)
}

impl Switchboard {
    /// Takes up the registrations of the last process, so that phones ring without registering again.
    ///
    /// Must be done before the first event is handled: a call that waits in the inbox rings phones.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn restore_registrations(&mut self) -> Result<(), StoreError> {
        let now = now();
        let store = self.parts.store.clone();
        let mut saved = Vec::new();
        for local in self.parts.agent.sockets() {
            saved.extend(store.bindings(local, now.wall).await?);
        }
        let (kept, restored) = (saved.len(), self.parts.agent.restore_bindings(now, saved));
        if kept > 0 {
            tracing::info!(kept, restored, "registrations taken up");
        }
        tokio::spawn(async move {
            if let Err(error) = store.forget_bindings(now.wall).await {
                tracing::warn!(%error, "ended registrations could not be forgotten");
            }
        });
        Ok(())
    }

    /// Hands what REGISTER requests have changed to the keeper.
    pub(super) fn keep_registrations(&mut self, now: Now) {
        while let Some(changed) = self.parts.agent.poll_unsaved(now) {
            if let Some(keeper) = &self.keeper {
                let _ = keeper.send(changed);
            }
        }
    }
}
