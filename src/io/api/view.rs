//! Calls and users as the API shows them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::token::Cover;
use crate::call::CallRecord;
use crate::id::Endpoint;
use crate::time::Wall;
use crate::user::UserId;

/// A WhatsApp user; at least one of the two ids is there. Covered (`***23`) without the scope `identities`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserView {
    /// The number with its country code, digits only.
    pub phone: Option<String>,
    /// Meta's business-scoped id.
    pub bsuid: Option<String>,
}

impl UserView {
    /// `user` as the caller may see it.
    #[must_use]
    pub fn new(user: &UserId, cover: Cover) -> Self {
        Self {
            phone: user.phone().map(|it| cover.text(it.digits())),
            bsuid: user.scoped().map(|it| cover.text(it.as_str())),
        }
    }
}

/// The SIP end of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndpointView {
    /// `phone` or `trunk`.
    pub kind: String,
    /// Its name in the configuration.
    pub name: String,
    /// The number dialled at or presented by the trunk.
    pub number: Option<String>,
}

impl From<&Endpoint> for EndpointView {
    fn from(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Phone(name) => Self { kind: "phone".into(), name: name.to_string(), number: None },
            Endpoint::Trunk(name, number) => Self {
                kind: "trunk".into(),
                name: name.to_string(),
                number: (!number.is_empty()).then(|| number.clone()),
            },
        }
    }
}

/// What Meta's `terminate` webhook said; it wins over our own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MetaTimes {
    /// RFC 3339.
    pub start: Option<String>,
    /// RFC 3339.
    pub end: Option<String>,
    /// Whole seconds.
    pub duration: Option<u32>,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordingView {
    /// The file below the directory of recordings.
    pub file: Option<String>,
    /// How long it is.
    pub seconds: u32,
    /// Why it ended; null while it runs.
    pub ended: Option<String>,
}

/// One call, live or past. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CallView {
    /// Our id, hexadecimal; rising with time.
    pub id: String,
    /// Meta's id.
    pub wa_call_id: Option<String>,
    /// The label of the business number.
    pub number: String,
    /// `user_initiated` or `business_initiated`.
    pub direction: String,
    /// `live` or `ended`.
    pub state: String,
    /// The WhatsApp user.
    pub user: UserView,
    /// The user's profile name.
    pub user_name: Option<String>,
    /// The phone or trunk that took or made the call.
    pub endpoint: Option<EndpointView>,
    /// When the gateway learnt of it.
    pub opened_at: String,
    /// When the called side began to ring.
    pub rang_at: Option<String>,
    /// When it was answered.
    pub answered_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why it ended, a label of the verdict table.
    pub cause: Option<String>,
    /// Whose doing the end was: `user`, `phone`, `meta`, `policy` or `us`.
    pub fault: Option<String>,
    /// What Meta said of its times.
    pub meta: Option<MetaTimes>,
    /// The Call-ID of the SIP leg.
    pub sip_call_id: Option<String>,
    /// How the media ran.
    pub media: Option<String>,
    /// Milliseconds after `opened_at` by stage of the set-up.
    #[schema(value_type = Option<Object>)]
    pub stages: Option<Value>,
    /// Packets, loss, gaps, delay and MOS by direction.
    #[schema(value_type = Option<Object>)]
    pub quality: Option<Value>,
    /// What was recorded.
    pub recording: Option<RecordingView>,
}

/// RFC 3339.
pub(super) fn time(wall: Wall) -> String {
    wall.to_string()
}

impl CallView {
    /// `record` as the caller may see it.
    #[must_use]
    pub fn new(record: &CallRecord, cover: Cover) -> Self {
        let json = |text: &Option<String>| text.as_deref().and_then(|it| serde_json::from_str(it).ok());
        let meta = MetaTimes {
            start: record.meta_start.map(time),
            end: record.meta_end.map(time),
            duration: record.meta_duration,
        };
        let told = meta.start.is_some() || meta.end.is_some() || meta.duration.is_some();
        Self {
            id: record.id.to_string(),
            wa_call_id: record.wa_call.as_ref().map(ToString::to_string),
            number: record.number.to_string(),
            direction: record.direction.as_str().to_owned(),
            state: if record.ended.is_some() { "ended" } else { "live" }.to_owned(),
            user: UserView::new(&record.user, cover),
            user_name: record.user_name.as_ref().map(|it| cover.text(it.expose())),
            endpoint: record.endpoint.as_ref().map(EndpointView::from),
            opened_at: time(record.opened),
            rang_at: record.rang.map(time),
            answered_at: record.answered.map(time),
            ended_at: record.ended.map(time),
            cause: record.cause.clone(),
            fault: record.fault.clone(),
            meta: told.then_some(meta),
            sip_call_id: record.sip_call_id.clone(),
            media: record.media.clone(),
            stages: json(&record.stages_json),
            quality: json(&record.quality_json),
            recording: record.recording.as_ref().map(|it| RecordingView {
                file: it.file.clone(),
                seconds: it.seconds,
                ended: it.ended.clone(),
            }),
        }
    }
}
