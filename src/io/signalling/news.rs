//! What happens beside calls and is told to programs of the company: trunks that come and go, users that are banned.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::switchboard::Switchboard;
use crate::id::TrunkName;
use crate::io::store::{EventKind, Store, StoreError};
use crate::sip::defence::Placed;
use crate::time::{Now, Wall};

/// How long a write waits when the store did not take it.
const PAUSE: Duration = Duration::from_secs(5);

/// One thing to tell.
type Told = (Wall, EventKind, String);

/// What was told last, and the way to the store; in order, beside the loop.
#[derive(Debug)]
pub(super) struct News {
    queue: mpsc::UnboundedSender<Told>,
    /// Trunks that were told to be down.
    down: BTreeMap<TrunkName, &'static str>,
}

/// The teller, and the work behind it; it ends when the teller is dropped.
pub(super) fn make(store: Store) -> (News, impl Future<Output = ()> + Send) {
    let (queue, mut told) = mpsc::unbounded_channel::<Told>();
    let work = async move {
        while let Some((at, kind, detail)) = told.recv().await {
            loop {
                match store.tell(kind, detail.clone(), at).await {
                    Ok(()) => break,
                    Err(error) if told.is_closed() || matches!(error, StoreError::Closed) => {
                        return tracing::warn!(%error, "what happened at last was not told");
                    }
                    Err(error) => tracing::warn!(%error, "an event waits for the store"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    (News { queue, down: BTreeMap::new() }, work)
}

impl News {
    /// A trunk is as `state` says; the same as before is not told again, nor that one is up that never was down.
    fn trunk(&mut self, at: Wall, trunk: &TrunkName, state: &'static str) {
        let kind = match (state.starts_with("up"), self.down.contains_key(trunk)) {
            (true, true) => {
                self.down.remove(trunk);
                EventKind::TrunkUp
            }
            (false, _) if self.down.insert(trunk.clone(), state) != Some(state) => EventKind::TrunkDown,
            _ => return,
        };
        let detail = json!({ "trunk": trunk.as_str(), "state": state }).to_string();
        let _ = self.queue.send((at, kind, detail));
    }

    fn ban(&self, at: Wall, ban: &Placed) {
        let detail = json!({
            "phone": ban.user,
            "source": ban.source.to_string(),
            "ground": ban.ground.as_str(),
            "seconds": ban.left.as_secs(),
            "untold": ban.untold,
        });
        let _ = self.queue.send((at, EventKind::PhoneBanned, detail.to_string()));
    }
}

impl Switchboard {
    /// Something about a trunk has changed.
    pub(super) fn tell_of_trunk(&mut self, now: Now, trunk: &TrunkName) {
        // That we have left them is no news.
        if self.is_closing() {
            return;
        }
        let status = self.parts.agent.trunks().find(|it| it.name == *trunk);
        if let (Some(status), Some(news)) = (status, &mut self.news) {
            news.trunk(now.wall, trunk, status.as_text());
        }
    }

    /// Names that are none of our phones' are not told: they may hold anything.
    pub(super) fn tell_of_bans(&mut self, now: Now) {
        for ban in self.parts.agent.take_placed_bans() {
            let known = self.parts.dialplan.phones.iter().any(|it| it.as_str() == ban.user);
            if let Some(news) = self.news.as_ref().filter(|_| known) {
                news.ban(now.wall, &ban);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_is_told_when_it_goes_and_when_it_comes_back_and_never_twice() {
        let (queue, mut told) = mpsc::unbounded_channel();
        let mut news = News { queue, down: BTreeMap::new() };
        for state in ["up", "not registered", "not registered", "down", "up, a server is down", "up"] {
            news.trunk(Wall(7), &"pbx".into(), state);
        }
        let mut seen = Vec::new();
        while let Ok((_, kind, detail)) = told.try_recv() {
            let detail: serde_json::Value = serde_json::from_str(&detail).expect("JSON");
            seen.push((kind, detail["state"].as_str().expect("text").to_owned()));
        }
        let wanted = [
            (EventKind::TrunkDown, "not registered".to_owned()),
            (EventKind::TrunkDown, "down".to_owned()),
            (EventKind::TrunkUp, "up, a server is down".to_owned()),
        ];
        assert_eq!(seen, wanted);
    }
}
