//! A phone dials a code and hears the messages that nobody has heard, of the numbers that ring it, oldest first.

use std::path::Path;

use super::Reply;
use super::from_sip::Dial;
use super::switchboard::Switchboard;
use crate::call::voicemail::{VoiceMessage, VoicemailId};
use crate::call::{CodeRefusal, HangupCause};
use crate::id::{CallId, Endpoint, NumberLabel};
use crate::io::sounds;
use crate::io::store::{Store, StoreError, VoicemailFilter};
use crate::io::voicemail::Cabinet;
use crate::media::Clip;
use crate::media::tone::Tone;
use crate::time::Now;

/// For replies that belong to no call.
const NO_CALL: CallId = CallId(0);
/// Nobody listens to more at once, and it must fit into memory; who wants more dials again.
const MOST: usize = 10;
/// So many are looked through for those.
const LOOKED_AT: u32 = 200;

/// What a phone that asked for its messages is to hear.
#[derive(Debug)]
pub(in crate::io) struct Hearing {
    dial: Dial,
    found: Result<Option<(Clip, Vec<VoicemailId>)>, StoreError>,
}

impl Switchboard {
    /// Looks for the messages of a phone, and reads them beside the loop.
    pub(super) fn play_messages(&self, dial: Dial) {
        let rung = |it: &super::BusinessNumber| it.ring.targets().any(|target| *target == dial.endpoint);
        let numbers: Vec<NumberLabel> =
            self.parts.numbers.iter().filter(|it| rung(it)).map(|it| it.label.clone()).collect();
        let (store, cabinet) = (self.parts.store.clone(), self.parts.cabinet.clone());
        let replies = self.replies_in.clone();
        tokio::spawn(async move {
            let found = gather(&store, &cabinet, &numbers).await;
            let _ = replies.send((NO_CALL, Reply::Hearing(Box::new(Hearing { dial, found }))));
        });
    }

    /// They are read: the phone hears them, if it is there still.
    pub(super) fn messages_found(&mut self, now: Now, hearing: Hearing) {
        let Hearing { dial, found } = hearing;
        match found {
            Ok(Some((clip, ids))) => {
                let text =
                    if ids.len() == 1 { "1 message".to_owned() } else { format!("{} messages", ids.len()) };
                self.let_hear(now, dial.leg, &text, clip, (dial.endpoint, ids));
            }
            Ok(None) => self.turn_dial_away(now, &dial, HangupCause::Code(CodeRefusal::NoMessages)),
            Err(error) => {
                tracing::error!(%error, "voice messages could not be looked up");
                self.turn_dial_away(now, &dial, HangupCause::StoreDown);
            }
        }
    }

    /// A phone has heard messages to their end: nobody needs to hear them again.
    pub(super) fn messages_heard(&self, now: Now, by: &Endpoint, ids: Vec<VoicemailId>) {
        let (store, bell) = (self.parts.store.clone(), self.message_bell());
        let by = match by {
            Endpoint::Phone(name) => name.to_string(),
            Endpoint::Trunk(name, _) => name.to_string(),
        };
        tokio::spawn(async move {
            for id in ids {
                if let Err(error) = store.voicemail_heard(id, &by, now.wall).await {
                    tracing::error!(%error, "that a message was heard could not be kept");
                }
            }
            let _ = bell.ring(&store).await;
        });
    }
}

async fn gather(
    store: &Store,
    cabinet: &Cabinet,
    numbers: &[NumberLabel],
) -> Result<Option<(Clip, Vec<VoicemailId>)>, StoreError> {
    let filter = VoicemailFilter { unheard: true, ..VoicemailFilter::default() };
    let mut messages = store.voicemails(&filter, LOOKED_AT).await?;
    messages.retain(|it| it.file.is_some() && numbers.contains(&it.number));
    messages.reverse();
    messages.truncate(MOST);
    let cabinet = cabinet.clone();
    // Decoding takes a processor for a moment.
    let read = tokio::task::spawn_blocking(move || decode(&cabinet, &messages)).await;
    Ok(read.unwrap_or_default())
}

/// The sounds one after another, a tone between them; a file that cannot be played is left out.
fn decode(cabinet: &Cabinet, messages: &[VoiceMessage]) -> Option<(Clip, Vec<VoicemailId>)> {
    let pause = Clip::of(&Tone::done());
    let mut all: Option<(Clip, Vec<VoicemailId>)> = None;
    for message in messages {
        let path = message.file.as_deref().and_then(|it| cabinet.path(Path::new(it)));
        let Some(path) = path else { continue };
        let clip = match sounds::decode(&path) {
            Ok(clip) => clip,
            Err(problem) => {
                tracing::error!(file = %path.display(), problem, "a voice message cannot be played");
                continue;
            }
        };
        let (heard, mut ids) = all.take().unwrap_or_default();
        ids.push(message.id);
        all = Some((heard.then(&pause).then(&clip), ids));
    }
    all
}
