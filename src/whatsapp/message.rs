//! Messages that lead to calls (reference §6): permission requests, call buttons, call links.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::user::{Msisdn, UserId};

/// A message for `POST /{PHONE_NUMBER_ID}/messages`.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who gets it.
    pub to: UserId,
    /// What it is.
    pub kind: MessageKind,
}

/// What a message is.
#[derive(Clone, PartialEq, Eq)]
pub enum MessageKind {
    /// A permission request inside the conversation window (§6.1).
    Request {
        /// Why: up to 1024 characters; may be empty.
        text: String,
    },
    /// A template, with a permission request or a call button in it (§6.2, §6.4).
    Template {
        /// Its name.
        name: String,
        /// Its language, exactly as it was created.
        language: String,
        /// What stands for `{{1}}`, `{{2}}`, … of its body.
        parameters: Vec<String>,
        /// What its call button is changed to, if it has one.
        button: Option<(Duration, Option<String>)>,
    },
    /// A call button inside the conversation window (§6.3).
    Button {
        /// What the message says.
        text: String,
        /// What stands on the button: up to 20 characters.
        display: String,
        /// How long the button works: 1 minute to 30 days.
        life: Duration,
        /// What comes back when it is pressed: up to 512 characters that the user can read and change.
        payload: Option<String>,
    },
}

/// What is wrong with a message, for whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// `text`
    #[error("the text is empty or longer than 1024 characters")]
    Text,
    /// `display_text`
    #[error("what stands on the button is empty or longer than 20 characters")]
    Display,
    /// `ttl_minutes`
    #[error("a call button works from 1 minute to 30 days")]
    Life,
    /// `payload`
    #[error("the payload is longer than 512 characters")]
    Payload,
    /// `template`
    #[error("a template needs its name and its language, exactly as it was created")]
    Template,
}

/// Meta: `ttl_minutes` 1 to 43,200 (calling/call-button-messages-deep-links).
const LIFE: std::ops::RangeInclusive<u64> = 1..=43_200;

impl Message {
    /// Whether Meta would take its parts.
    ///
    /// # Errors
    /// The first part that it would not.
    pub fn check(&self) -> Result<(), MessageFault> {
        let length = |text: &str| text.chars().count();
        let good = |life: &Duration| LIFE.contains(&(life.as_secs() / 60));
        let payload = |it: &Option<String>| it.as_deref().is_none_or(|it| length(it) <= 512);
        match &self.kind {
            MessageKind::Request { text } if length(text) > 1024 => Err(MessageFault::Text),
            MessageKind::Button { text, .. } if text.is_empty() || length(text) > 1024 => {
                Err(MessageFault::Text)
            }
            MessageKind::Button { display, .. } if display.is_empty() || length(display) > 20 => {
                Err(MessageFault::Display)
            }
            MessageKind::Button { life, .. } if !good(life) => Err(MessageFault::Life),
            MessageKind::Button { payload: it, .. } if !payload(it) => Err(MessageFault::Payload),
            MessageKind::Template { name, language, .. } if name.is_empty() || language.is_empty() => {
                Err(MessageFault::Template)
            }
            MessageKind::Template { button: Some((life, _)), .. } if !good(life) => Err(MessageFault::Life),
            MessageKind::Template { button: Some((_, it)), .. } if !payload(it) => Err(MessageFault::Payload),
            _ => Ok(()),
        }
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({ "messaging_product": "whatsapp", "recipient_type": "individual" });
        match (self.to.phone(), self.to.scoped()) {
            (Some(phone), _) => body["to"] = phone.digits().into(),
            (None, Some(scoped)) => body["recipient"] = scoped.as_str().into(),
            (None, None) => {}
        }
        let (kind, part) = match &self.kind {
            MessageKind::Request { text } => ("interactive", request(text)),
            MessageKind::Button { text, display, life, payload } => {
                let mut parameters = json!({ "display_text": display, "ttl_minutes": life.as_secs() / 60 });
                if let Some(payload) = payload {
                    parameters["payload"] = payload.as_str().into();
                }
                let action = json!({ "name": "voice_call", "parameters": parameters });
                ("interactive", json!({ "type": "voice_call", "body": { "text": text }, "action": action }))
            }
            MessageKind::Template { name, language, parameters, button } => {
                ("template", template(name, language, parameters, button.as_ref()))
            }
        };
        body["type"] = kind.into();
        body[kind] = part;
        body
    }
}

fn request(text: &str) -> Value {
    let name = "call_permission_request";
    let mut part = json!({ "type": name, "action": { "name": name } });
    if !text.is_empty() {
        part["body"] = json!({ "text": text });
    }
    part
}

fn template(
    name: &str,
    language: &str,
    parameters: &[String],
    button: Option<&(Duration, Option<String>)>,
) -> Value {
    let mut components = Vec::new();
    if !parameters.is_empty() {
        let list: Vec<Value> = parameters.iter().map(|it| json!({ "type": "text", "text": it })).collect();
        components.push(json!({ "type": "body", "parameters": list }));
    }
    if let Some((life, payload)) = button {
        let mut list = vec![json!({ "type": "ttl_minutes", "ttl_minutes": life.as_secs() / 60 })];
        list.extend(payload.iter().map(|it| json!({ "type": "payload", "payload": it })));
        components.push(json!({ "type": "button", "sub_type": "voice_call", "parameters": list }));
    }
    let mut part = json!({ "name": name, "language": { "code": language } });
    if !components.is_empty() {
        part["components"] = components.into();
    }
    part
}

/// A link that calls the business number (§6.5); the payload comes back in the webhook.
#[must_use]
pub fn call_link(business: &Msisdn, payload: Option<&str>) -> String {
    let link = format!("https://wa.me/call/{}", business.digits());
    payload.map_or(link.clone(), |payload| {
        // RFC 3986 §2.3: what is not unreserved is written as %XX.
        let mut out = format!("{link}?biz_payload=");
        for byte in payload.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    })
}

/// What a message says is between the business and its customer: only its kind prints.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            MessageKind::Request { .. } => "request",
            MessageKind::Template { name, .. } => name,
            MessageKind::Button { .. } => "button",
        };
        write!(f, "{kind} to {}", self.to)
    }
}

/// The id (`wamid.…`) in Graph's answer to a message.
#[must_use]
pub fn message_id(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value["messages"][0]["id"].as_str().filter(|it| !it.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Bsuid;

    fn ana() -> UserId {
        UserId::Phone(Msisdn::parse("5521955500123").expect("digits"))
    }

    fn button() -> MessageKind {
        MessageKind::Button {
            text: "Call us here.".into(),
            display: "Call now".into(),
            life: Duration::from_secs(86_400),
            payload: Some("q=billing;ext=204".into()),
        }
    }

    #[test]
    fn a_request_reads_as_the_reference_writes_it() {
        let text = "May we call you about delivery 4471?".to_owned();
        let body = Message { to: ana(), kind: MessageKind::Request { text } }.body();
        assert_eq!(
            body,
            json!({ "messaging_product": "whatsapp", "recipient_type": "individual", "to": "5521955500123",
                "type": "interactive",
                "interactive": { "type": "call_permission_request",
                    "action": { "name": "call_permission_request" },
                    "body": { "text": "May we call you about delivery 4471?" } } })
        );
        let mute = Message { to: ana(), kind: MessageKind::Request { text: String::new() } }.body();
        assert!(mute["interactive"].get("body").is_none());
    }

    #[test]
    fn b20_a_template_and_a_button_carry_their_parameters_life_and_payload() {
        let scoped = UserId::Scoped(Bsuid::parse("BR.2099").expect("scoped"));
        let kind = MessageKind::Template {
            name: "delivery_call_ok".into(),
            language: "en_US".into(),
            parameters: vec!["A-4471".into()],
            button: Some((Duration::from_secs(7200), Some("ext=204".into()))),
        };
        let body = Message { to: scoped, kind }.body();
        assert_eq!((body.get("to"), &body["recipient"]), (None, &json!("BR.2099")));
        assert_eq!(
            body["template"],
            json!({ "name": "delivery_call_ok", "language": { "code": "en_US" }, "components": [
                { "type": "body", "parameters": [{ "type": "text", "text": "A-4471" }] },
                { "type": "button", "sub_type": "voice_call", "parameters": [
                    { "type": "ttl_minutes", "ttl_minutes": 120 }, { "type": "payload", "payload": "ext=204" }] } ] })
        );
        let body = Message { to: ana(), kind: button() }.body();
        assert_eq!(
            body["interactive"]["action"]["parameters"],
            json!({ "display_text": "Call now", "ttl_minutes": 1440, "payload": "q=billing;ext=204" })
        );
    }

    #[test]
    fn what_meta_would_refuse_is_refused_here_by_name() {
        let MessageKind::Button { text, display, payload, .. } = button() else { unreachable!() };
        let of = |kind| Message { to: ana(), kind }.check();
        assert_eq!(of(button()), Ok(()));
        let life = Duration::from_secs(59);
        let short = MessageKind::Button {
            text: text.clone(),
            display: display.clone(),
            life,
            payload: payload.clone(),
        };
        assert_eq!(of(short), Err(MessageFault::Life));
        let life = Duration::from_secs(86_400);
        let wide = MessageKind::Button { text: text.clone(), display: "x".repeat(21), life, payload: None };
        assert_eq!(of(wide), Err(MessageFault::Display));
        let deep = MessageKind::Button { text, display, life, payload: Some("x".repeat(513)) };
        assert_eq!(of(deep), Err(MessageFault::Payload));
        assert_eq!(of(MessageKind::Request { text: "x".repeat(1025) }), Err(MessageFault::Text));
    }

    #[test]
    fn a_link_writes_its_payload_so_that_it_survives_the_way() {
        let number = Msisdn::parse("493055500010").expect("digits");
        assert_eq!(call_link(&number, None), "https://wa.me/call/493055500010");
        assert_eq!(
            call_link(&number, Some("q=a b&ü")),
            "https://wa.me/call/493055500010?biz_payload=q%3Da%20b%26%C3%BC"
        );
    }

    #[test]
    fn a_message_prints_neither_its_text_nor_the_number() {
        let message = Message { to: ana(), kind: MessageKind::Request { text: "secret".into() } };
        assert_eq!(format!("{message:?}"), "request to ***23");
        assert_eq!(message_id(br#"{"messages":[{"id":"wamid.A"}]}"#).as_deref(), Some("wamid.A"));
        assert_eq!(message_id(b"{}"), None);
    }
}
