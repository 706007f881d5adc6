//! The signalling state of one simulated call, and of the people who make them.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::line::MediaReport;
use super::media::LineId;
use super::sdp::Business;
use crate::time::Wall;

/// A business number of the stand-in.
#[derive(Clone, Debug)]
pub(super) struct Number {
    /// `PHONE_NUMBER_ID`.
    pub(super) id: String,
    /// E.164 digits.
    pub(super) digits: String,
    /// Calling switched on (138000 if not).
    pub(super) calling: bool,
    /// `callback_permission_status`: a user who calls grants a temporary permission.
    pub(super) callback_permission: bool,
}

/// Who placed a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The WhatsApp user.
    User,
    /// The business, by `connect`.
    Business,
}

impl Direction {
    /// As webhooks write it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::User => "USER_INITIATED",
            Self::Business => "BUSINESS_INITIATED",
        }
    }
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The user has called; `connect` was sent.
    Offered,
    /// `pre_accept` succeeded.
    PreAccepted,
    /// The business has called; the user's phone does not ring yet.
    Dialling,
    /// The user's phone rings.
    Ringing,
    /// Somebody answered.
    InProgress,
    /// Over.
    Ended,
}

impl Phase {
    /// As the control API writes it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::PreAccepted => "pre_accepted",
            Self::Dialling => "dialling",
            Self::Ringing => "ringing",
            Self::InProgress => "in_progress",
            Self::Ended => "ended",
        }
    }
}

/// Why a call ended, as the stand-in knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The user hung up.
    User,
    /// The user declined.
    Declined,
    /// The business posted `terminate`.
    Business,
    /// The business posted `reject`.
    Rejected,
    /// Nobody answered in time.
    Unanswered,
    /// It failed: the code and what happened.
    Failed(u32, String),
}

impl Ending {
    /// As the control API writes it under `ended_by`.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Declined => "declined",
            Self::Business => "business",
            Self::Rejected => "rejected",
            Self::Unanswered => "unanswered",
            Self::Failed(..) => "failed",
        }
    }
}

/// When `ACCEPTED` is sent, counted from the pick-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "AcceptedForm")]
pub(super) enum Accepted {
    /// At once.
    #[default]
    Normal,
    /// After so many milliseconds.
    After(u64),
    /// Not at all.
    Never,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AcceptedWord {
    Normal,
    Late,
    Never,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AcceptedForm {
    Word(AcceptedWord),
    Delay { delay_ms: u64 },
}

impl From<AcceptedForm> for Accepted {
    fn from(form: AcceptedForm) -> Self {
        match form {
            AcceptedForm::Word(AcceptedWord::Normal) => Self::Normal,
            AcceptedForm::Word(AcceptedWord::Late) => Self::After(3_000),
            AcceptedForm::Word(AcceptedWord::Never) => Self::Never,
            AcceptedForm::Delay { delay_ms } => Self::After(delay_ms),
        }
    }
}

/// Which end of DTLS the stand-in takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DtlsChoice {
    /// `a=setup:active`.
    #[serde(alias = "active")]
    Client,
    /// `a=setup:passive`.
    #[serde(alias = "passive")]
    Server,
}

/// How a user behaves when a business calls; `POST /sim/users/{id}` sets it.
#[derive(Clone, Debug)]
pub(super) struct User {
    /// Phone digits; absent for a username user.
    pub(super) phone: Option<String>,
    /// Business-scoped id.
    pub(super) scoped: String,
    /// The profile name.
    pub(super) name: String,
    /// The username, if one was adopted.
    pub(super) username: Option<String>,
    /// Can be called (138001 if not).
    pub(super) callable: bool,
    /// From `connect` to `RINGING`; `None`: the phone never rings.
    pub(super) ring_after_ms: Option<u64>,
    /// From `RINGING` to the pick-up or refusal; `None`: by `/answer` only.
    pub(super) answer_after_ms: Option<u64>,
    /// Declines instead of picking up.
    pub(super) reject: bool,
    /// `ACCEPTED`.
    pub(super) accepted: Accepted,
    /// Spoken from the pick-up on.
    pub(super) speak: Option<PathBuf>,
    /// Where what is heard goes.
    pub(super) record: Option<PathBuf>,
    /// DTLS role of the answer; the server's by default in every second call.
    pub(super) dtls_role: Option<DtlsChoice>,
}

impl User {
    /// A user nobody has described yet.
    pub(super) fn new(phone: Option<String>, scoped: String) -> Self {
        Self {
            phone,
            scoped,
            name: "Ana".to_owned(),
            username: None,
            callable: true,
            ring_after_ms: Some(200),
            answer_after_ms: Some(1_000),
            reject: false,
            accepted: Accepted::Normal,
            speak: None,
            record: None,
            dtls_role: None,
        }
    }

    /// The key under which rules know the user.
    pub(super) fn key(&self) -> &str {
        &self.scoped
    }
}

/// The business-scoped id that the stand-in gives a phone number.
pub(super) fn scoped_id(digits: &str) -> String {
    const COUNTRIES: [(&str, &str); 9] = [
        ("55", "BR"),
        ("49", "DE"),
        ("44", "GB"),
        ("91", "IN"),
        ("33", "FR"),
        ("34", "ES"),
        ("39", "IT"),
        ("52", "MX"),
        ("1", "US"),
    ];
    let country = COUNTRIES.iter().find(|(code, _)| digits.starts_with(code)).map_or("ZZ", |(_, iso)| iso);
    // Stable and unlike the number: a reader that takes it for one is found out.
    let sum = digits
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, b| (sum ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{country}.{sum:020}")
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// `wacid.…`.
    pub(super) id: String,
    /// Its media.
    pub(super) line: LineId,
    /// The business number's id.
    pub(super) number: String,
    /// The user.
    pub(super) user: User,
    /// Who placed it.
    pub(super) direction: Direction,
    /// Where it is.
    pub(super) phase: Phase,
    /// When it began.
    pub(super) started: Wall,
    /// When somebody answered, or early media was taken for it.
    pub(super) picked_up: Option<Wall>,
    /// When it ended.
    pub(super) ended: Option<Wall>,
    /// Why.
    pub(super) ending: Option<Ending>,
    /// `biz_opaque_callback_data`.
    pub(super) opaque: Option<String>,
    /// Payload of a call button.
    pub(super) cta_payload: Option<String>,
    /// Payload of a deep link.
    pub(super) deeplink_payload: Option<String>,
    /// The SDP of `pre_accept`, to be repeated byte by byte.
    pub(super) business_sdp: Option<String>,
    /// The same, read.
    pub(super) business: Option<Business>,
    /// The DTLS role fixed by our SDP, if any.
    pub(super) dtls_choice: Option<DtlsChoice>,
    /// Points reached, Unix ms.
    pub(super) stages: Map<String, Value>,
    /// Rules the business broke.
    pub(super) violations: Vec<(Wall, String)>,
    /// The `terminate` webhook.
    pub(super) terminate: Option<Value>,
    /// Last figures of the media.
    pub(super) report: Option<MediaReport>,
}

impl Call {
    /// Notes that a point was reached, the first time.
    pub(super) fn stage(&mut self, name: &str, at: Wall) {
        self.stages.entry(name).or_insert_with(|| at.millis().into());
    }

    /// What `GET /sim/calls/{id}` answers.
    pub(super) fn view(&self, report: Option<&MediaReport>) -> Value {
        // "ended" promises that the recording is complete and the figures are the last ones.
        let ending = self.phase == Phase::Ended && self.report.is_none();
        let report = report.or(self.report.as_ref());
        let violations: Vec<Value> =
            self.violations.iter().map(|(at, what)| json!({ "at_ms": at.millis(), "what": what })).collect();
        json!({
            "call": self.id,
            "number": self.number,
            "direction": self.direction.word(),
            "state": if ending { "ending" } else { self.phase.word() },
            "user": { "phone": self.user.phone, "user_id": self.user.scoped, "name": self.user.name,
                      "username": self.user.username },
            "started_ms": self.started.millis(),
            "answered_ms": self.picked_up.map(Wall::millis),
            "ended_ms": self.ended.map(Wall::millis),
            "ended_by": self.ending.as_ref().map(Ending::word),
            "biz_opaque_callback_data": self.opaque,
            "stages": self.stages,
            "rtp": report,
            "digits": report.map_or("", |report| report.digits.as_str()),
            "violations": violations,
            "terminate": self.terminate,
        })
    }

    fn between(&self, number: &Number) -> Map<String, Value> {
        let mut part = Map::new();
        part.insert("id".to_owned(), json!(self.id));
        let (ours, user) = (json!(number.digits), self.user.phone.as_ref().map(|phone| json!(phone)));
        let (from, to) = match self.direction {
            Direction::User => (user, Some(ours)),
            Direction::Business => (Some(ours), user),
        };
        // A username user's number is left out, not sent empty (reference §2).
        for (key, value) in [("from", from), ("to", to)] {
            if let Some(value) = value {
                part.insert(key.to_owned(), value);
            }
        }
        let scoped = if self.direction == Direction::User { "from_user_id" } else { "to_user_id" };
        part.insert(scoped.to_owned(), json!(self.user.scoped));
        part.insert("direction".to_owned(), json!(self.direction.word()));
        part
    }

    fn contacts(&self) -> Value {
        let mut profile = json!({ "name": self.user.name });
        if let Some(username) = &self.user.username {
            profile["username"] = json!(username);
        }
        let mut contact = json!({ "profile": profile, "user_id": self.user.scoped });
        if let Some(phone) = &self.user.phone {
            contact["wa_id"] = json!(phone);
        }
        json!([contact])
    }

    fn payloads(&self, part: &mut Map<String, Value>) {
        for (key, value) in [
            ("cta_payload", &self.cta_payload),
            ("deeplink_payload", &self.deeplink_payload),
            ("biz_opaque_callback_data", &self.opaque),
        ] {
            if let Some(value) = value {
                part.insert(key.to_owned(), json!(value));
            }
        }
    }

    /// The value of a `connect` webhook (reference §9.5, §9.6).
    pub(super) fn connect_value(&self, number: &Number, sdp: &str, at: Wall) -> Value {
        let mut part = self.between(number);
        let kind = if self.direction == Direction::User { "offer" } else { "answer" };
        part.insert("event".to_owned(), json!("connect"));
        part.insert("timestamp".to_owned(), json!(at.secs().to_string()));
        part.insert("session".to_owned(), json!({ "sdp_type": kind, "sdp": sdp }));
        self.payloads(&mut part);
        let mut value = envelope(number);
        if self.direction == Direction::User {
            value["contacts"] = self.contacts();
        }
        value["calls"] = json!([part]);
        value
    }

    /// The value of a call status webhook (reference §9.7).
    pub(super) fn status_value(&self, number: &Number, status: &str, at: Wall) -> Value {
        let mut part = json!({ "id": self.id, "type": "call", "status": status, "timestamp": at.secs().to_string(),
            "recipient_user_id": self.user.scoped });
        if let Some(phone) = &self.user.phone {
            part["recipient_id"] = json!(phone);
        }
        if let Some(opaque) = &self.opaque {
            part["biz_opaque_callback_data"] = json!(opaque);
        }
        let mut value = envelope(number);
        value["statuses"] = json!([part]);
        value
    }

    /// The value of a `terminate` webhook (reference §9.8).
    pub(super) fn terminate_value(&self, number: &Number, at: Wall) -> Value {
        let mut part = self.between(number);
        let failure =
            if let Some(Ending::Failed(code, what)) = &self.ending { Some((code, what)) } else { None };
        part.insert("event".to_owned(), json!("terminate"));
        part.insert("timestamp".to_owned(), json!(at.secs().to_string()));
        part.insert("status".to_owned(), json!(if failure.is_some() { "FAILED" } else { "COMPLETED" }));
        if let (Some(start), Some(end)) = (self.picked_up, self.ended) {
            part.insert("start_time".to_owned(), json!(start.secs().to_string()));
            part.insert("end_time".to_owned(), json!(end.secs().to_string()));
            part.insert("duration".to_owned(), json!(end.secs() - start.secs()));
        }
        self.payloads(&mut part);
        let mut value = envelope(number);
        value["calls"] = json!([part]);
        if let Some((code, what)) = failure {
            value["errors"] = json!([{ "code": code, "message": what,
                "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
                "error_data": { "details": what } }]);
        }
        value
    }
}

/// What every `value` begins with.
pub(super) fn envelope(number: &Number) -> Value {
    json!({ "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": number.digits, "phone_number_id": number.id } })
}

/// A permission reply (reference §9.11).
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    /// Granted until: `Some(None)` is for good, `None` is declined or revoked.
    pub(super) granted: Option<Option<Wall>>,
    /// Meta's doing, not the user's.
    pub(super) automatic: bool,
    /// The message or call it answers.
    pub(super) context: Option<String>,
}

/// A text message of the user's.
pub(super) fn text_value(number: &Number, user: &User, id: &str, at: Wall) -> Value {
    let mut message = json!({ "from_user_id": user.scoped, "id": id, "timestamp": at.secs().to_string(),
        "type": "text", "text": { "body": "hello" } });
    if let Some(phone) = &user.phone {
        message["from"] = json!(phone);
    }
    let mut value = envelope(number);
    value["messages"] = json!([message]);
    value
}

/// The value of a permission reply on the field `messages`.
pub(super) fn reply_value(number: &Number, user: &User, id: &str, reply: &Reply, at: Wall) -> Value {
    let source = if reply.automatic { "automatic" } else { "user_action" };
    let mut inner = json!({ "response": if reply.granted.is_some() { "accept" } else { "reject" },
        "response_source": source });
    if let Some(until) = &reply.granted {
        inner["is_permanent"] = json!(until.is_none());
        if let Some(until) = until {
            inner["expiration_timestamp"] = json!(until.secs().to_string());
        }
    }
    let mut message = json!({ "from_user_id": user.scoped, "id": id, "timestamp": at.secs().to_string(),
        "type": "interactive",
        "interactive": { "type": "call_permission_reply", "call_permission_reply": inner } });
    if let Some(phone) = &user.phone {
        message["from"] = json!(phone);
    }
    if let Some(context) = &reply.context {
        message["context"] = json!({ "from": number.digits, "id": context });
    }
    let mut value = envelope(number);
    value["messages"] = json!([message]);
    value
}
