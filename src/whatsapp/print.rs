//! An event back to a webhook body: the form in which the store keeps what it received.
//!
//! Reading a printed event gives the same event, so the inbox needs no format of its own.

use serde_json::{Map, Value, json};

use super::event::{
    CallEvent, CallEventKind, Event, Outcome, PermissionReply, PermissionResponse, Termination, UserMessage,
};
use crate::time::Wall;
use crate::user::{Bsuid, Msisdn, UserId};

/// A body with exactly this event in it, as Meta would write it.
#[must_use]
pub fn print(event: &Event) -> String {
    let mut entry = json!({});
    let (field, value) = match event {
        Event::Call(call) => ("calls", print_call(call)),
        Event::Permission(reply) => ("messages", print_reply(reply)),
        Event::Wrote(message) => ("messages", print_message(message)),
        Event::Account(notice) => {
            let (of_account, field, value) = notice.print();
            entry = of_account;
            (field, value)
        }
        Event::Other { field } => (field.as_str(), json!({})),
    };
    entry["changes"] = json!([{ "field": field, "value": value }]);
    json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string()
}

fn print_call(event: &CallEvent) -> Value {
    let mut item = Map::new();
    item.insert("id".into(), event.call.as_str().into());
    item.insert("timestamp".into(), stamp(event.at));
    put(&mut item, "biz_opaque_callback_data", event.opaque.clone());
    let mut value = json!({ "messaging_product": "whatsapp",
                            "metadata": { "phone_number_id": event.number.as_str() } });
    let word = event.kind.word();
    match &event.kind {
        CallEventKind::Rang | CallEventKind::Accepted | CallEventKind::Rejected => {
            item.insert("type".into(), "call".into());
            item.insert("status".into(), word.into());
            put_user(&mut item, event.user.as_ref(), "recipient_id", "recipient_user_id");
            value["statuses"] = json!([item]);
            return value;
        }
        CallEventKind::UserCalled { offer, name, username, cta_payload, deeplink_payload } => {
            item.insert("direction".into(), "USER_INITIATED".into());
            item.insert("session".into(), json!({ "sdp_type": "offer", "sdp": offer }));
            put(&mut item, "cta_payload", cta_payload.clone());
            put(&mut item, "deeplink_payload", deeplink_payload.clone());
            let mut profile = Map::new();
            put(&mut profile, "name", name.as_ref().map(|it| it.expose().clone()));
            put(&mut profile, "username", username.as_ref().map(|it| it.expose().clone()));
            let mut contact = Map::from_iter([("profile".to_owned(), Value::Object(profile))]);
            put_user(&mut contact, event.user.as_ref(), "wa_id", "user_id");
            value["contacts"] = json!([contact]);
        }
        CallEventKind::Answered { sdp } => {
            item.insert("direction".into(), "BUSINESS_INITIATED".into());
            item.insert("session".into(), json!({ "sdp_type": "answer", "sdp": sdp }));
        }
        CallEventKind::Terminated(termination) => {
            put_termination(&mut item, termination);
            if !termination.errors.is_empty() {
                value["errors"] = termination.errors.iter().map(|it| json!({ "code": it.code() })).collect();
            }
        }
    }
    item.insert("event".into(), word.into());
    let from_user = !matches!(event.kind, CallEventKind::Answered { .. });
    let (phone, scoped) = if from_user { ("from", "from_user_id") } else { ("to", "to_user_id") };
    put_user(&mut item, event.user.as_ref(), phone, scoped);
    value["calls"] = json!([item]);
    value
}

fn put_termination(item: &mut Map<String, Value>, termination: &Termination) {
    let status = match termination.outcome {
        Outcome::Completed => "COMPLETED",
        Outcome::Failed => "FAILED",
    };
    item.insert("status".into(), status.into());
    if let Some(start) = termination.start {
        item.insert("start_time".into(), stamp(start));
    }
    if let Some(end) = termination.end {
        item.insert("end_time".into(), stamp(end));
    }
    if let Some(duration) = termination.duration {
        item.insert("duration".into(), duration.as_secs().into());
    }
}

fn print_reply(reply: &PermissionReply) -> Value {
    let mut message = Map::new();
    put(&mut message, "id", Some(reply.id.clone()).filter(|it| !it.is_empty()));
    put_user(&mut message, Some(&reply.user), "from", "from_user_id");
    message.insert("timestamp".into(), stamp(reply.at));
    message.insert("type".into(), "interactive".into());
    if let Some(context) = &reply.context {
        message.insert("context".into(), json!({ "id": context }));
    }
    let mut said = json!({ "response_source": reply.source.as_str() });
    match reply.response {
        PermissionResponse::Granted { until } => {
            said["response"] = "accept".into();
            said["is_permanent"] = until.is_none().into();
            if let Some(until) = until {
                said["expiration_timestamp"] = stamp(until);
            }
        }
        PermissionResponse::Declined => said["response"] = "reject".into(),
    }
    message.insert(
        "interactive".into(),
        json!({ "type": "call_permission_reply", "call_permission_reply": said }),
    );
    json!({ "messaging_product": "whatsapp",
            "metadata": { "phone_number_id": reply.number.as_str() }, "messages": [message] })
}

fn print_message(told: &UserMessage) -> Value {
    let mut message = Map::new();
    put(&mut message, "id", Some(told.id.clone()));
    put_user(&mut message, Some(&told.user), "from", "from_user_id");
    message.insert("timestamp".into(), stamp(told.at));
    match &told.voicemail {
        None => message.insert("type".into(), "text".into()),
        Some(sound) => {
            let mut audio = Map::new();
            put(&mut audio, "id", Some(sound.id.clone()));
            put(&mut audio, "sha256", sound.digest.map(|it| it.base64()));
            put(&mut audio, "mime_type", Some("audio/ogg; codecs=opus".to_owned()));
            message.insert("audio".into(), audio.into());
            message.insert("type".into(), "audio".into())
        }
    };
    json!({ "messaging_product": "whatsapp",
            "metadata": { "phone_number_id": told.number.as_str() }, "messages": [message] })
}

/// Whole seconds as Meta writes them; what has a fraction keeps it, in milliseconds.
pub(super) fn stamp(at: Wall) -> Value {
    let number = if at.millis() % 1000 == 0 { at.secs() } else { at.millis() };
    number.to_string().into()
}

fn put(item: &mut Map<String, Value>, name: &str, text: Option<String>) {
    if let Some(text) = text {
        item.insert(name.into(), text.into());
    }
}

fn put_user(item: &mut Map<String, Value>, user: Option<&UserId>, phone: &str, scoped: &str) {
    put(item, phone, user.and_then(UserId::phone).map(Msisdn::digits).map(str::to_owned));
    put(item, scoped, user.and_then(UserId::scoped).map(Bsuid::as_str).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::webhook::parse;
    use super::super::{AccountNotice, KeptSound, Meaning, Notice, ReplySource, SoundDigest};
    use super::*;
    use crate::masked::Masked;

    fn users() -> impl Strategy<Value = UserId> {
        (prop::option::of("[1-9][0-9]{7,12}"), prop::option::of("[A-Z]{2}\\.[0-9]{6,20}")).prop_filter_map(
            "somebody",
            |(phone, scoped)| {
                UserId::from_parts(
                    phone.as_deref().and_then(Msisdn::parse),
                    scoped.as_deref().and_then(Bsuid::parse),
                )
            },
        )
    }

    fn times() -> impl Strategy<Value = Wall> {
        prop_oneof![
            (1_700_000_000_i64..1_900_000_000).prop_map(Wall::from_secs),
            (1_700_000_000_000_i64..1_900_000_000_000).prop_map(Wall),
        ]
    }

    fn terminations() -> impl Strategy<Value = CallEventKind> {
        let errors = prop::collection::vec((0..200_000_i64).prop_map(Meaning::from_code), 0..3);
        let errors = errors.prop_map(|it| it.into_iter().map(|it| Meaning::from_code(it.code())).collect());
        let outcome = prop_oneof![Just(Outcome::Completed), Just(Outcome::Failed)];
        let duration = prop::option::of((0..100_000_u64).prop_map(Duration::from_secs));
        (outcome, prop::option::of(times()), prop::option::of(times()), duration, errors).prop_map(
            |(outcome, start, end, duration, errors)| {
                CallEventKind::Terminated(Termination { outcome, start, end, duration, errors })
            },
        )
    }

    fn kinds() -> impl Strategy<Value = CallEventKind> {
        let word = || prop::option::of("\\PC{1,20}");
        let called =
            ("\\PC{1,40}", word(), word(), word(), word()).prop_map(|(offer, name, username, cta, deep)| {
                CallEventKind::UserCalled {
                    offer,
                    name: name.map(Masked::new),
                    username: username.map(Masked::new),
                    cta_payload: cta,
                    deeplink_payload: deep,
                }
            });
        prop_oneof![
            called,
            "\\PC{1,40}".prop_map(|sdp| CallEventKind::Answered { sdp }),
            Just(CallEventKind::Rang),
            Just(CallEventKind::Accepted),
            Just(CallEventKind::Rejected),
            terminations(),
        ]
    }

    fn events() -> impl Strategy<Value = Event> {
        let call = ("[0-9]{10,16}", "wacid\\.[A-Za-z0-9=]{4,20}", times(), prop::option::of(users()));
        let calls = (call, prop::option::of("[0-9a-f]{16}"), kinds()).prop_map(
            |((number, call, at, user), opaque, kind)| {
                Event::Call(CallEvent { number: number.into(), call: call.into(), at, user, opaque, kind })
            },
        );
        let response = prop_oneof![
            prop::option::of(times()).prop_map(|until| PermissionResponse::Granted { until }),
            Just(PermissionResponse::Declined),
        ];
        let source = prop_oneof![Just(ReplySource::UserAction), Just(ReplySource::Automatic)];
        let ids = (prop_oneof![Just(String::new()), "wamid\\.[A-Z]{6}"], "[0-9]{10,16}", users(), times());
        let replies = (ids, response, source, prop::option::of("wamid\\.[A-Z]{6}")).prop_map(
            |((id, number, user, at), response, source, context)| {
                let number = number.into();
                Event::Permission(PermissionReply { id, number, user, at, response, source, context })
            },
        );
        let ids = ("wamid\\.[A-Z]{6}", "[0-9]{10,16}", users(), times());
        let digest = prop::option::of("[a-z]{1,9}");
        let voicemail =
            prop::option::of(("[0-9]{8,16}", digest).prop_map(|(id, said)| KeptSound {
                id,
                digest: said.map(|it| SoundDigest::of(it.as_bytes())),
            }));
        let messages = (ids, voicemail).prop_map(|((id, number, user, at), voicemail)| {
            let id = if voicemail.is_some() { id.replace("wamid", "wacid") } else { id };
            Event::Wrote(UserMessage { id, number: number.into(), user, at, voicemail })
        });
        let notice = ("[A-Z][A-Z_]{3,20}", prop::option::of(times()), prop::option::of("[a-z]{3,9}"));
        let notice = notice.prop_map(|(kind, until, reason)| Notice { kind, until, reason });
        let number = prop::option::of("[0-9]{10,16}");
        let accounts = ("[0-9]{0,9}", number, times(), prop::collection::vec(notice, 1..3)).prop_map(
            |(account, number, at, notices)| {
                Event::Account(AccountNotice { account, number: number.map(Into::into), at, notices })
            },
        );
        prop_oneof![4 => calls, 2 => replies, 1 => messages, 1 => accounts, 1 => "account_[a-z]{3,9}".prop_map(|field| Event::Other { field })]
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_the_same_event(event in events()) {
            let batch = parse(print(&event).as_bytes(), Wall(0)).expect("an envelope");
            prop_assert!(batch.flaws.is_empty());
            prop_assert_eq!(batch.events, vec![event]);
        }
    }
}
