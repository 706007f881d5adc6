//! The one record of a call: the source of call lists, counters and events.

use crate::call::voicemail::VoicemailId;
use crate::id::{CallId, Endpoint, NumberLabel, PhoneNumberId, WaCallId};
use crate::masked::Masked;
use crate::policy::Permission;
use crate::time::Wall;
use crate::user::UserId;

/// Who started the call; Meta charges for one of the two only (reference §17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallDirection {
    /// The WhatsApp user called the business.
    UserInitiated,
    /// The business called the WhatsApp user.
    BusinessInitiated,
}

impl CallDirection {
    /// The word that stands in records and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserInitiated => "user_initiated",
            Self::BusinessInitiated => "business_initiated",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::UserInitiated, Self::BusinessInitiated].into_iter().find(|it| it.as_str() == word)
    }
}

/// What is known of a call; its row opens before the first outward act and closes once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Our id.
    pub id: CallId,
    /// Meta's id, once known.
    pub wa_call: Option<WaCallId>,
    /// The business number, as the administrator calls it.
    pub number: NumberLabel,
    /// The business number, as Graph calls it.
    pub phone_number_id: PhoneNumberId,
    /// Who started it.
    pub direction: CallDirection,
    /// The WhatsApp user.
    pub user: UserId,
    /// The user's profile name, if Meta sent one.
    pub user_name: Option<Masked<String>>,
    /// The SIP end that took or made the call.
    pub endpoint: Option<Endpoint>,
    /// When we learnt of it.
    pub opened: Wall,
    /// When the called side began to ring.
    pub rang: Option<Wall>,
    /// When it was answered, by our clock.
    pub answered: Option<Wall>,
    /// When it ended, by our clock; `None` while it is up.
    pub ended: Option<Wall>,
    /// Why it ended: the label of a `HangupCause`.
    pub cause: Option<String>,
    /// Whose doing the end was: `user`, `phone`, `meta`, `policy`, `us`.
    pub fault: Option<String>,
    /// `start_time` of Meta's `terminate`.
    pub meta_start: Option<Wall>,
    /// `end_time` of Meta's `terminate`.
    pub meta_end: Option<Wall>,
    /// `duration` of Meta's `terminate`, in seconds.
    pub meta_duration: Option<u32>,
    /// The Call-ID of the SIP leg.
    pub sip_call_id: Option<String>,
    /// How the media ran, as the pipe prints itself.
    pub media: Option<String>,
    /// Set-up stages: a JSON object of stage name to milliseconds after `opened`.
    pub stages_json: Option<String>,
    /// Packets, loss, gaps and delay per direction: a JSON object.
    pub quality_json: Option<String>,
    /// What was recorded; told after the call, read from the store.
    pub recording: Option<RecordingLine>,
    /// What the call button or the link carried; the user could have written anything into it.
    pub payload: Option<Masked<String>>,
    /// Permission and caps at dialling: a JSON object, written with the reservation, read from the store.
    pub dialling_json: Option<String>,
}

impl CallRecord {
    /// Whether this is a user's call that is over and nobody took.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        self.ended.is_some() && self.is_missed_once_over()
    }

    /// Whether it would be missed if it ended now.
    #[must_use]
    pub fn is_missed_once_over(&self) -> bool {
        self.direction == CallDirection::UserInitiated && self.talked_at().is_none()
    }

    /// When somebody on our side and the user began to talk, if they did.
    #[must_use]
    pub fn talked_at(&self) -> Option<Wall> {
        self.answered.filter(|_| self.endpoint.is_some())
    }
}

/// A user's call that nobody took, and what may be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedCall {
    /// The call.
    pub record: CallRecord,
    /// Whether the user may be called back, and until when.
    pub permission: Permission,
    /// Who is calling back, since when.
    pub claimed: Option<(Wall, String)>,
    /// When it was done with, and by what.
    pub settled: Option<(Wall, String)>,
    /// What the user has said to nobody in it.
    pub voicemails: Vec<VoicemailId>,
}

/// What somebody says of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallNote {
    /// When.
    pub at: Wall,
    /// Who: a phone, a user of the machine, a token's name.
    pub author: String,
    /// What became of the call, one of the configured outcomes.
    pub outcome: Option<String>,
    /// In their own words.
    pub text: Option<Masked<String>>,
}

/// What a record tells of the call's recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingLine {
    /// The file below the directory of recordings; `None` if there is none.
    pub file: Option<String>,
    /// How long it is.
    pub seconds: u32,
    /// Why it ended, a label; `None` while it runs.
    pub ended: Option<String>,
}

impl CallRecord {
    /// A record of a call of which only the parties are known.
    #[must_use]
    pub fn new(
        id: CallId,
        number: NumberLabel,
        phone_number_id: PhoneNumberId,
        direction: CallDirection,
        user: UserId,
    ) -> Self {
        Self {
            id,
            wa_call: None,
            number,
            phone_number_id,
            direction,
            user,
            user_name: None,
            endpoint: None,
            opened: Wall::default(),
            rang: None,
            answered: None,
            ended: None,
            cause: None,
            fault: None,
            meta_start: None,
            meta_end: None,
            meta_duration: None,
            sip_call_id: None,
            media: None,
            stages_json: None,
            quality_json: None,
            recording: None,
            payload: None,
            dialling_json: None,
        }
    }
}
