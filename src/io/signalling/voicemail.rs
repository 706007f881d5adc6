//! Calls that the gateway answers itself: what it says, the recorder that takes the message, and the lamps of the phones.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::Reply;
use super::switchboard::Switchboard;
use crate::call::{Input, Spoken};
use crate::id::{CallId, NumberLabel, WaCallId};
use crate::io::recording::{End, Told};
use crate::io::store::{KeptByMeta, MessageCount, Store, StoreError};
use crate::io::voicemail::Cabinet;
use crate::media::{Clip, Order, Repeat, Side};
use crate::metrics::label::{LeftMessage, Word};
use crate::metrics::{Registry, table};
use crate::sip::Messages;
use crate::time::Now;
use crate::whatsapp::UserMessage;

/// For replies that belong to no call.
const NO_CALL: CallId = CallId(0);

/// What a business number says by itself.
#[derive(Clone, Debug, Default)]
pub struct Voice {
    /// Before a message, the tone included.
    pub greeting: Clip,
    /// In place of a conversation.
    pub announcement: Clip,
}

/// The way from the messages back to the calls and the phones.
#[derive(Clone, Debug)]
pub struct MessageBell(UnboundedSender<(CallId, Reply)>);

impl Switchboard {
    /// What rings when messages change.
    #[must_use]
    pub fn message_bell(&self) -> MessageBell {
        MessageBell(self.replies_in.clone())
    }

    /// Lets the user hear what the number has to say.
    pub(super) fn speak(&self, id: CallId, spoken: Spoken) {
        let Some(live) = self.calls.get(&id) else { return };
        let voice = &self.parts.numbers[live.number].voice;
        let clip = match spoken {
            Spoken::Greeting => voice.greeting.clone(),
            Spoken::Announcement => voice.announcement.clone(),
        };
        if clip.is_empty() {
            let _ = self.replies_in.send((id, Reply::Input(Input::SoundPlayed)));
            return;
        }
        self.parts.media.order(id, Order::Play { towards: Side::Meta, clip, repeat: Repeat::Once });
    }

    /// Records the user from now on; without a recorder the call ends as if the user had said everything.
    pub(super) fn take_message(&self, now: Now, id: CallId) {
        match (&self.parts.messages, self.calls.get(&id)) {
            (Some(recorder), Some(live)) => {
                let inlet = recorder.begin(now, id, live.call.record().opened);
                self.parts.media.record(id, inlet);
            }
            _ => {
                let _ = self.replies_in.send((id, Reply::Input(Input::MessageEnded)));
            }
        }
    }

    /// What a user has said to Meta's voicemail; it is fetched beside the calls.
    pub(super) fn voicemail_of(&self, message: &UserMessage) -> Option<KeptByMeta> {
        let sound = message.voicemail.clone()?;
        let number = self.number_of(&message.number)?;
        Some(KeptByMeta {
            number: message.number.clone(),
            label: self.parts.numbers[number].label.clone(),
            user: message.user.clone(),
            at: message.at,
            wa_call: WaCallId::from(message.id.as_str()),
            sound,
        })
    }

    /// The phones that a number's calls ring at show how many messages it has.
    pub(super) fn messages_counted(&mut self, now: Now, counts: &[MessageCount]) {
        for number in &self.parts.numbers {
            let count = counts.iter().find(|it| it.number == number.label);
            let messages = count.map_or_else(Messages::default, |it| Messages { new: it.new, old: it.old });
            self.parts.agent.set_messages(now, &mailbox_of(&number.label), messages);
        }
    }
}

/// The mailbox of a business number, among those of its phones; no phone's name begins so.
#[must_use]
pub fn mailbox_of(number: &NumberLabel) -> String {
    format!("number:{number}")
}

impl MessageBell {
    /// One that nobody hears: for messages without phones.
    #[must_use]
    pub fn unheard() -> Self {
        Self(tokio::sync::mpsc::unbounded_channel().0)
    }

    /// Tells the phones how many messages there are now.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn ring(&self, store: &Store) -> Result<(), StoreError> {
        let counts = store.voicemail_counts().await?;
        let _ = self.0.send((NO_CALL, Reply::Messages(counts)));
        Ok(())
    }

    fn ended(&self, call: CallId) {
        let _ = self.0.send((call, Reply::Input(Input::MessageEnded)));
    }
}

/// Keeps what the recorder tells of messages; ends with the recorder.
pub async fn keep_messages(
    store: Store,
    cabinet: Cabinet,
    bell: MessageBell,
    metrics: Arc<Registry>,
    mut told: UnboundedReceiver<Told>,
) {
    while let Some(told) = told.recv().await {
        let Some(end) = told.end else { continue };
        let call = told.call;
        bell.ended(call);
        let outcome = match keep(&store, &cabinet, told, end).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%call, %error, "a voice message is on the disk and not in the store");
                "lost"
            }
        };
        tracing::info!(%call, outcome, end = end.label(), "a voice message");
        if let Ok(Some(record)) = store.call(call).await {
            let labels = LeftMessage { number: record.number, outcome: Word(outcome) };
            metrics.count(&table::VOICEMAILS, &labels);
        }
        if let Err(error) = bell.ring(&store).await {
            tracing::error!(%error, "the phones could not be told of messages");
        }
    }
}

async fn keep(store: &Store, cabinet: &Cabinet, told: Told, end: End) -> Result<&'static str, StoreError> {
    let Some(file) = told.file else { return Ok("failed") };
    let said = if end == End::Crashed { told.length } else { told.voiced };
    if said < cabinet.shortest {
        cabinet.remove(&file).await;
        return Ok("empty");
    }
    let seconds = u32::try_from(told.length.as_secs()).unwrap_or(u32::MAX);
    let new = store.add_voicemail(told.call, &file.display().to_string(), seconds).await?;
    Ok(if new { "left" } else { "known" })
}
