//! What the gateway does itself with a user's call that nobody has taken: it says something, or takes a message
//! (seed rules B1 and B12).
//!
//! It answers inside the accept window as a phone would (rules 2 and 3), and has no phone leg. Such a call stays a
//! missed one: nobody of the house has talked to the user.

use std::time::Duration;

use crate::call::cause::HangupCause;
use crate::call::common::{Common, Timer};
use crate::call::input::Input;
use crate::call::output::Output;
use crate::id::{CallId, NumberLabel};
use crate::time::{Now, Wall};
use crate::user::UserId;

/// No announcement is longer: one whose end is never told ends here.
const LONGEST_SOUND: Duration = Duration::from_secs(11 * 60);

/// How the gateway answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// With a greeting and a tone, behind which the user may speak for so long.
    Message {
        /// The longest message.
        longest: Duration,
    },
    /// With an announcement; then it hangs up.
    Announcement,
}

/// What the user is to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// The greeting of the number's voicemail, with the tone.
    Greeting,
    /// The number's announcement.
    Announcement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Meta has not taken `accept` yet, or the keys are not agreed on.
    Waiting,
    Speaking,
    Listening,
}

/// The one who answers a call for nobody.
#[derive(Debug)]
pub(super) struct Attendant {
    answering: Answering,
    /// Why nobody else has the call.
    why: HangupCause,
    accepted: bool,
    stage: Stage,
}

impl Attendant {
    pub(super) const fn new(answering: Answering, why: HangupCause) -> Self {
        Self { answering, why, accepted: false, stage: Stage::Waiting }
    }

    /// Meta has taken `accept`.
    pub(super) fn accepted(&mut self, common: &mut Common, now: Now) {
        self.accepted = true;
        self.begin(common, now);
    }

    /// Takes what is for it; the rest is as in every call.
    pub(super) fn handle(&mut self, common: &mut Common, now: Now, input: Input) -> Option<Input> {
        match input {
            // The keys are agreed on: before, nothing would be heard.
            Input::DtlsUp => self.begin(common, now),
            Input::SoundPlayed if self.stage == Stage::Speaking => match self.answering {
                Answering::Announcement => common.end(now, HangupCause::Announced),
                Answering::Message { longest } => {
                    self.stage = Stage::Listening;
                    common.reached(now, "message");
                    common.set_timer(Timer::Attendant, now.mono + longest);
                    common.push(Output::TakeMessage);
                }
            },
            Input::MessageEnded => common.end(now, self.cause()),
            Input::MetaTerminated(termination) if self.accepted => {
                common.note_termination(&termination);
                common.end(now, Common::meta_cause(&termination, self.cause()));
            }
            input => return Some(input),
        }
        None
    }

    /// The longest message is over, or a sound whose end nobody told.
    pub(super) fn timer(&self, common: &mut Common, now: Now) {
        common.end(now, self.cause());
    }

    fn begin(&mut self, common: &mut Common, now: Now) {
        if !self.accepted || !common.dtls_up || self.stage != Stage::Waiting {
            return;
        }
        self.stage = Stage::Speaking;
        common.set_timer(Timer::Attendant, now.mono + LONGEST_SOUND);
        common.push(Output::Speak(match self.answering {
            Answering::Message { .. } => Spoken::Greeting,
            Answering::Announcement => Spoken::Announcement,
        }));
    }

    /// A user who hangs up before the tone has left nothing: what counts is why nobody was there.
    const fn cause(&self) -> HangupCause {
        match (self.answering, self.stage) {
            (Answering::Message { .. }, Stage::Listening) => HangupCause::Voicemail,
            (Answering::Announcement, Stage::Speaking) => HangupCause::Announced,
            _ => self.why,
        }
    }
}

/// The place of a voice message among all; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoicemailId(pub u64);

/// Who has recorded a voice message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoicemailSource {
    /// This gateway.
    Gateway,
    /// Meta's voicemail (reference §5.3).
    Meta,
}

impl VoicemailSource {
    /// The word in the store and in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Meta => "meta",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Gateway, Self::Meta].into_iter().find(|it| it.as_str() == word)
    }
}

/// What a user has said to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceMessage {
    /// Its place.
    pub id: VoicemailId,
    /// The call that nobody took; `None`: Meta told of it, and it is not among our records.
    pub call: Option<CallId>,
    /// The business number.
    pub number: NumberLabel,
    /// Who left it.
    pub user: Option<UserId>,
    /// When.
    pub at: Wall,
    /// Who recorded it.
    pub source: VoicemailSource,
    /// The file below the directory of voice messages; `None`: Meta has it still.
    pub file: Option<String>,
    /// How long it is, where that is known.
    pub seconds: Option<u32>,
    /// When somebody listened first, and who.
    pub heard: Option<(Wall, String)>,
}
