//! `POST …/messages`: permission requests, templates and call buttons (reference §6), each under Meta's rules.

use serde_json::{Value, json};

use super::business::NOT_AVAILABLE;
use super::call::{Number, User, text_value};
use super::delivery::Change;
use super::graph_error::GraphError;
use super::media::now;
use super::meta::{Meta, State, padded};
use crate::time::Wall;

/// What a message is, as far as the rules care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A free-form permission request.
    Request,
    /// A template; every one of the stand-in's carries a permission request, unless it carries a button.
    Template,
    /// A call button.
    Button,
}

fn kind(body: &Value) -> Result<Kind, GraphError> {
    let parameters = &body["interactive"]["action"]["parameters"];
    let length = |value: &Value| value.as_str().map_or(0, |it| it.chars().count());
    match (body["type"].as_str(), body["interactive"]["type"].as_str()) {
        (Some("interactive"), Some("call_permission_request")) => {
            let extra = ["header", "footer"].iter().any(|it| body["interactive"].get(*it).is_some());
            let named = body["interactive"]["action"]["name"] == "call_permission_request";
            if extra || !named {
                return Err(GraphError::parameter("a permission request has an action and a body only"));
            }
            Ok(Kind::Request)
        }
        (Some("interactive"), Some("voice_call")) => {
            let minutes = parameters["ttl_minutes"].as_u64().unwrap_or(10_080);
            let good = (1..=43_200).contains(&minutes)
                && length(&parameters["display_text"]) <= 20
                && length(&parameters["payload"]) <= 512
                && length(&body["interactive"]["body"]["text"]) > 0;
            if good { Ok(Kind::Button) } else { Err(GraphError::parameter("the call button is not valid")) }
        }
        (Some("template"), _) => {
            let template = &body["template"];
            if length(&template["name"]) == 0 || length(&template["language"]["code"]) == 0 {
                return Err(GraphError::new(132_001, "template name or language does not exist"));
            }
            let button =
                template["components"].as_array().into_iter().flatten().any(|it| it["type"] == "button");
            Ok(if button { Kind::Button } else { Kind::Template })
        }
        _ => Err(GraphError::parameter("the stand-in takes permission requests, templates and call buttons")),
    }
}

impl Meta {
    /// Takes a message, or refuses it as Meta would.
    pub(super) fn message(&self, number: &str, body: &Value) -> Result<Value, GraphError> {
        let kind = kind(body)?;
        let (to, recipient) = (body["to"].as_str(), body["recipient"].as_str());
        if to.is_none() && recipient.is_none() {
            return Err(GraphError::parameter("to or recipient is required"));
        }
        let at = now().wall;
        self.with(|state| {
            let digits = state.numbers.get(number).map(|it| it.digits.clone()).unwrap_or_default();
            let blocked =
                NOT_AVAILABLE.iter().any(|it| digits.starts_with(it)) && !digits.starts_with("1555");
            let user = state.user(to, recipient).clone();
            let pair = (number.to_owned(), user.key().to_owned());
            if kind != Kind::Template && !state.ledger.window_is_open(&pair, at) {
                return Err(GraphError::new(
                    131_047,
                    "more than 24 hours since the user last wrote or called",
                ));
            }
            if kind != Kind::Button {
                if blocked {
                    return Err(GraphError::new(138_013, "permission requests are not available here"));
                }
                let refused = |code| GraphError::new(code, "no call permission request is possible now");
                state.ledger.request(&pair, at).map_err(refused)?;
            }
            let id = format!("wamid.{}", padded(&mut state.random, 19));
            state.messages.push(json!({ "id": id, "number": number, "user_id": user.scoped, "body": body }));
            Ok(json!({ "messaging_product": "whatsapp",
                "contacts": [ { "input": to.or(recipient), "wa_id": user.phone, "user_id": user.scoped } ],
                "messages": [ { "id": id } ] }))
        })
    }

    /// A restriction of the account on the field `account_update`.
    pub(super) fn pause_change(&self, number: &str, until: Wall) -> Change {
        let info = json!({ "restriction_type": "RESTRICTED_BUSINESS_INITIATED_CALLING",
            "expiration": until.secs() });
        Change {
            call: "account".to_owned(),
            event: "account_restriction".to_owned(),
            field: "account_update",
            account: format!("2045{number}"),
            value: json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": [info] }),
        }
    }

    /// A text of the user's on the field `messages`.
    pub(super) fn text_change(&self, state: &mut State, number: &Number, user: &User, at: Wall) -> Change {
        let id = format!("wamid.{}", padded(&mut state.random, 19));
        Change {
            call: format!("text {}", user.key()),
            event: "text".to_owned(),
            field: "messages",
            account: format!("2045{}", number.id),
            value: text_value(number, user, &id, at),
        }
    }
}
