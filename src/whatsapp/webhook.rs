//! A signed webhook body becomes events (reference §9).
//!
//! Reading is liberal: field types vary, directions are missing, statuses come as arrays. Each
//! item is read by itself, so that a broken one never takes its neighbours with it.

use aws_lc_rs::hmac;
use serde_json::Value;

use super::account::AccountNotice;
use super::error::meanings;
use super::event::{
    CallEvent, CallEventKind, Event, Outcome, PermissionReply, PermissionResponse, ReplySource, Termination,
    UserMessage,
};
use super::json::{items, seconds, text, time, truth, user};
use super::sound::{KeptSound, SoundDigest};
use crate::id::{PhoneNumberId, WaCallId};
use crate::masked::Masked;
use crate::time::Wall;
use crate::user::{Msisdn, UserId};

/// How long a temporary permission lasts if Meta names no end: 7 days (reference §1).
const TEMPORARY_PERMISSION: std::time::Duration = std::time::Duration::from_secs(604_800);

/// Whether a body comes from somebody who knows the app secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It does.
    Good,
    /// It does not, or the header cannot be read.
    Bad,
}

/// Checks `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 of the raw body, compared in constant time.
#[must_use]
pub fn verify(secret: &[u8], body: &[u8], header: &str) -> Signature {
    verify_any([secret], body, header)
}

/// As [`verify`], with several app secrets, of which one is enough: a secret is being rotated.
#[must_use]
pub fn verify_any<'a>(secrets: impl IntoIterator<Item = &'a [u8]>, body: &[u8], header: &str) -> Signature {
    let Some(tag) = header.trim().strip_prefix("sha256=").and_then(|it| hex::decode(it).ok()) else {
        return Signature::Bad;
    };
    // Every secret is tried, so that time does not tell which one it was. An empty one signs nothing.
    let good = secrets.into_iter().filter(|it| !it.is_empty()).fold(false, |good, secret| {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), body, &tag).is_ok() | good
    });
    if good { Signature::Good } else { Signature::Bad }
}

/// The value of the signature header for `body`: what Meta would send.
#[must_use]
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// Why a whole body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Not JSON at all.
    #[error("not JSON")]
    NotJson,
    /// JSON, but without the fields everything else stands in.
    #[error("JSON without Meta's envelope")]
    NotEnvelope,
}

/// Why one item of a body was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// No `metadata.phone_number_id`.
    NoNumber,
    /// A call or status without `id`.
    NoCallId,
    /// `connect` without SDP.
    NoSdp,
    /// `connect` with neither `direction` nor `sdp_type`.
    NoDirection,
    /// A permission reply that names no user.
    NoUser,
    /// A permission reply that says neither `accept` nor `reject`.
    NoResponse,
    /// Not an object where one is due.
    NotObject,
}

impl Flaw {
    /// A short name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoNumber => "no_number",
            Self::NoCallId => "no_call_id",
            Self::NoSdp => "no_sdp",
            Self::NoDirection => "no_direction",
            Self::NoUser => "no_user",
            Self::NoResponse => "no_response",
            Self::NotObject => "not_object",
        }
    }
}

/// What one webhook body told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What could be read, in the order of the body.
    pub events: Vec<Event>,
    /// One entry per item that was skipped.
    pub flaws: Vec<Flaw>,
}

/// Reads every entry, change, call, status and message of a body whose signature is good.
///
/// `received` stands in for time stamps that are missing or unreadable.
///
/// # Errors
/// The body is not JSON or not Meta's envelope; single broken items are [`Batch::flaws`].
pub fn parse(body: &[u8], received: Wall) -> Result<Batch, WebhookError> {
    let root: Value = serde_json::from_slice(body).map_err(|_| WebhookError::NotJson)?;
    let mut batch = Batch::default();
    if let Some(entries) = root.get("entry").and_then(Value::as_array) {
        for entry in entries {
            for change in items(&entry["changes"]) {
                batch.read_change(entry, change, received);
            }
        }
        return Ok(batch);
    }
    // The test button of the app dashboard sends a bare change, or one inside `sample`.
    let change = root.get("sample").unwrap_or(&root);
    if change.get("field").is_none() {
        return Err(WebhookError::NotEnvelope);
    }
    batch.read_change(&Value::Null, change, received);
    Ok(batch)
}

/// What the items of one change have in common.
struct Context<'a> {
    field: &'a str,
    value: &'a Value,
    number: Option<PhoneNumberId>,
    /// The business number's digits, to tell the user's end of a call that names no direction.
    business: Option<String>,
    received: Wall,
}

impl Batch {
    fn read_change(&mut self, entry: &Value, change: &Value, received: Wall) {
        let Some(field) = text(&change["field"]) else {
            self.flaws.push(Flaw::NotObject);
            return;
        };
        let value = &change["value"];
        let metadata = &value["metadata"];
        let context = Context {
            field: &field,
            value,
            number: text(&metadata["phone_number_id"]).map(PhoneNumberId::from),
            business: text(&metadata["display_phone_number"]).map(|it| digits(&it)),
            received,
        };
        let account = || AccountNotice::read(entry, value, received).map(Event::Account);
        match field.as_str() {
            "calls" | "messages" => self.read_items(&context),
            "account_update" => {
                self.events.push(account().unwrap_or_else(|| context.other(text(&value["event"]))));
            }
            "account_settings_update" => {
                self.events.push(account().unwrap_or_else(|| context.other(text(&value["type"]))));
            }
            _ => self.events.push(context.other(None)),
        }
    }

    fn read_items(&mut self, context: &Context<'_>) {
        let calls = items(&context.value["calls"]).iter().map(|it| context.call(it));
        let statuses = items(&context.value["statuses"]).iter().map(|it| context.status(it));
        let messages = items(&context.value["messages"]).iter().map(|it| context.message(it));
        let mut any = false;
        for read in calls.chain(statuses).chain(messages) {
            any = true;
            match read {
                Ok(event) => self.events.push(event),
                Err(flaw) => self.flaws.push(flaw),
            }
        }
        if !any {
            let code = meanings(&context.value["errors"]).first().map(|it| format!("error {}", it.code()));
            self.events.push(context.other(code));
        }
    }
}

impl Context<'_> {
    fn other(&self, what: Option<String>) -> Event {
        let field = self.field;
        Event::Other { field: what.map_or_else(|| field.to_owned(), |what| format!("{field}/{what}")) }
    }

    fn number(&self) -> Result<PhoneNumberId, Flaw> {
        self.number.clone().ok_or(Flaw::NoNumber)
    }

    fn at(&self, item: &Value) -> Wall {
        time(&item["timestamp"]).unwrap_or(self.received)
    }

    fn call(&self, call: &Value) -> Result<Event, Flaw> {
        if !call.is_object() {
            return Err(Flaw::NotObject);
        }
        let event = text(&call["event"]).ok_or(Flaw::NotObject)?.to_ascii_lowercase();
        if !matches!(event.as_str(), "connect" | "terminate") {
            return Ok(self.other(Some(event)));
        }
        let id = text(&call["id"]).ok_or(Flaw::NoCallId)?;
        let (kind, user) = if event == "connect" { self.connect(call)? } else { self.terminate(call) };
        Ok(Event::Call(CallEvent {
            number: self.number()?,
            call: WaCallId::from(id),
            at: self.at(call),
            user,
            opaque: text(&call["biz_opaque_callback_data"]),
            kind,
        }))
    }

    fn connect(&self, call: &Value) -> Result<(CallEventKind, Option<UserId>), Flaw> {
        let session = &call["session"];
        let sdp = text(&session["sdp"]).ok_or(Flaw::NoSdp)?;
        let from_user = match direction(call).or_else(|| match text(&session["sdp_type"])?.as_str() {
            kind if kind.eq_ignore_ascii_case("offer") => Some(End::User),
            kind if kind.eq_ignore_ascii_case("answer") => Some(End::Business),
            _ => None,
        }) {
            Some(End::User) => true,
            Some(End::Business) => false,
            None => return Err(Flaw::NoDirection),
        };
        let named = if from_user { caller(call) } else { callee(call) };
        let (user, contact) = self.with_contact(named);
        if !from_user {
            return Ok((CallEventKind::Answered { sdp }, user));
        }
        let profile = contact.map_or(&Value::Null, |it| &it["profile"]);
        let kind = CallEventKind::UserCalled {
            offer: sdp,
            name: text(&profile["name"]).map(Masked::new),
            username: text(&profile["username"]).map(Masked::new),
            cta_payload: text(&call["cta_payload"]),
            deeplink_payload: text(&call["deeplink_payload"]),
        };
        Ok((kind, user))
    }

    fn terminate(&self, call: &Value) -> (CallEventKind, Option<UserId>) {
        let failed = text(&call["status"]).is_some_and(|it| it.eq_ignore_ascii_case("failed"));
        let mut errors = meanings(&call["errors"]);
        let somebody_failed = items(&self.value["calls"])
            .iter()
            .any(|it| text(&it["status"]).is_some_and(|it| it.eq_ignore_ascii_case("failed")));
        // The errors stand next to `calls`, not in them: they belong to whichever call failed.
        if failed || !somebody_failed {
            errors.extend(meanings(&self.value["errors"]));
        }
        let termination = Termination {
            outcome: if failed { Outcome::Failed } else { Outcome::Completed },
            start: time(&call["start_time"]),
            end: time(&call["end_time"]),
            duration: seconds(&call["duration"]),
            errors,
        };
        let named = match direction(call) {
            Some(End::User) => caller(call),
            Some(End::Business) => callee(call),
            None if self.is_business(&call["from"]) => callee(call),
            None => caller(call),
        };
        (CallEventKind::Terminated(termination), self.with_contact(named).0)
    }

    fn status(&self, status: &Value) -> Result<Event, Flaw> {
        if !status.is_object() {
            return Err(Flaw::NotObject);
        }
        // On `messages` everything is a message's status unless it says otherwise.
        let kind = text(&status["type"])
            .unwrap_or_else(|| if self.field == "calls" { "call" } else { "message" }.into());
        if !kind.eq_ignore_ascii_case("call") {
            return Ok(self.other(Some(format!("status {kind}"))));
        }
        let word = text(&status["status"]).unwrap_or_default().to_ascii_uppercase();
        let kind = match word.as_str() {
            "RINGING" => CallEventKind::Rang,
            "ACCEPTED" => CallEventKind::Accepted,
            "REJECTED" => CallEventKind::Rejected,
            _ => return Ok(self.other(Some(format!("status {word}")))),
        };
        let named = user(&status["recipient_id"], &status["recipient_user_id"]);
        Ok(Event::Call(CallEvent {
            number: self.number()?,
            call: WaCallId::from(text(&status["id"]).ok_or(Flaw::NoCallId)?),
            at: self.at(status),
            user: self.with_contact(named).0,
            opaque: text(&status["biz_opaque_callback_data"]),
            kind,
        }))
    }

    fn message(&self, message: &Value) -> Result<Event, Flaw> {
        if !message.is_object() {
            return Err(Flaw::NotObject);
        }
        let reply = &message["interactive"]["call_permission_reply"];
        if !reply.is_object() {
            let wrote = (text(&message["id"]), self.number.clone(), self.with_contact(caller(message)).0);
            return Ok(match wrote {
                (Some(id), Some(number), Some(user)) => {
                    // An ordinary voice note has an id of a message, not of a call.
                    let of_call = id.starts_with("wacid.");
                    let digest = text(&message["audio"]["sha256"]).and_then(|it| SoundDigest::parse(&it));
                    let sound = text(&message["audio"]["id"]).filter(|_| of_call);
                    let voicemail = sound.map(|id| KeptSound { id, digest });
                    Event::Wrote(UserMessage { id, number, user, at: self.at(message), voicemail })
                }
                // Nobody can tell whose window it opens.
                _ => self.other(None),
            });
        }
        let at = self.at(message);
        let response = match text(&reply["response"]).unwrap_or_default().to_ascii_lowercase().as_str() {
            "accept" => PermissionResponse::Granted { until: granted_until(reply, at) },
            "reject" => PermissionResponse::Declined,
            _ => return Err(Flaw::NoResponse),
        };
        let automatic =
            text(&reply["response_source"]).is_some_and(|it| it.eq_ignore_ascii_case("automatic"));
        Ok(Event::Permission(PermissionReply {
            id: text(&message["id"]).unwrap_or_default(),
            number: self.number()?,
            user: self.with_contact(caller(message)).0.ok_or(Flaw::NoUser)?,
            at,
            response,
            source: if automatic { ReplySource::Automatic } else { ReplySource::UserAction },
            context: text(&message["context"]["id"]),
        }))
    }

    /// The contact of a user, and the user completed by the id that only the contact has.
    ///
    /// A contact belongs to a user it shares an id with; to nobody in particular if it is the only one.
    fn with_contact(&self, named: Option<UserId>) -> (Option<UserId>, Option<&Value>) {
        let contacts = items(&self.value["contacts"]);
        let Some(named) = named else {
            return match contacts {
                [only] => (user(&only["wa_id"], &only["user_id"]), Some(only)),
                _ => (None, None),
            };
        };
        for contact in contacts {
            let Some(other) = user(&contact["wa_id"], &contact["user_id"]) else { continue };
            let same_phone = named.phone().is_some() && named.phone() == other.phone();
            let same_scoped = named.scoped().is_some() && named.scoped() == other.scoped();
            if same_phone || same_scoped {
                let phone = named.phone().or(other.phone()).cloned();
                let scoped = named.scoped().or(other.scoped()).cloned();
                return (UserId::from_parts(phone, scoped), Some(contact));
            }
        }
        (Some(named), None)
    }

    fn is_business(&self, end: &Value) -> bool {
        text(end).is_some_and(|it| self.business.as_deref() == Some(digits(&it).as_str()))
    }
}

/// Which end a call came from.
#[derive(Clone, Copy)]
enum End {
    User,
    Business,
}

fn direction(call: &Value) -> Option<End> {
    let word = text(&call["direction"])?.to_ascii_uppercase();
    match word.as_str() {
        "USER_INITIATED" => Some(End::User),
        "BUSINESS_INITIATED" => Some(End::Business),
        _ => None,
    }
}

fn caller(item: &Value) -> Option<UserId> {
    user(&item["from"], &item["from_user_id"])
}

fn callee(item: &Value) -> Option<UserId> {
    user(&item["to"], &item["to_user_id"])
}

/// A named end wins over "permanent"; a grant that is neither gets the documented 7 days.
fn granted_until(reply: &Value, at: Wall) -> Option<Wall> {
    let named = ["expiration_timestamp", "expiration_time"].iter().find_map(|it| time(&reply[*it]));
    match truth(&reply["is_permanent"]) {
        Some(true) => named,
        Some(false) | None => Some(named.unwrap_or(at + TEMPORARY_PERMISSION)),
    }
}

/// Display numbers come as `+49 30 5550-0010` or as digits.
fn digits(number: &str) -> String {
    Msisdn::parse(number)
        .map_or_else(|| number.chars().filter(char::is_ascii_digit).collect(), |it| it.digits().to_owned())
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
