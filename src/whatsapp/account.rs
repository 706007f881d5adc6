//! What Meta tells of the account: violations and restrictions (reference §9.12, §9.13, §16.7).

use serde_json::{Map, Value, json};

use super::json::{items, text, time};
use crate::id::PhoneNumberId;
use crate::time::Wall;

/// A warning or a restriction for bad quality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountNotice {
    /// Meta's id of the account; may be empty.
    pub account: String,
    /// The business number concerned; `None`: the account's numbers, all of them.
    pub number: Option<PhoneNumberId>,
    /// When Meta wrote it, or when it arrived.
    pub at: Wall,
    /// What it says, not empty.
    pub notices: Vec<Notice>,
}

/// One warning or restriction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Meta's word: `RESTRICTED_BUSINESS_INITIATED_CALLING`, `LOW_USER_INITIATED_CALLING_QUALITY`, …
    pub kind: String,
    /// When a restriction ends.
    pub until: Option<Wall>,
    /// What Meta says about the reason, or what to do.
    pub reason: Option<String>,
}

impl AccountNotice {
    /// Reads the value of `account_update` or `account_settings_update`; `None` if it tells nothing of the kind.
    pub(super) fn read(entry: &Value, value: &Value, received: Wall) -> Option<Self> {
        let settings = &value["phone_number_settings"];
        let number = text(&settings["phone_number_id"]).map(PhoneNumberId::from);
        let listed = &settings["calling"]["restrictions"]["restrictions_list"];
        let violation = &value["violation_info"];
        let sources = [
            items(&value["restriction_info"]),
            items(listed),
            if violation.is_object() { std::slice::from_ref(violation) } else { &[] },
        ];
        let notices: Vec<Notice> = sources.into_iter().flatten().filter_map(Notice::read).collect();
        let at = [&value["timestamp"], &entry["time"]].into_iter().find_map(time).unwrap_or(received);
        let account = text(&entry["id"]).unwrap_or_default();
        (!notices.is_empty()).then_some(Self { account, number, at, notices })
    }

    /// By what a repetition is known.
    pub(super) fn key(&self) -> String {
        let number = self.number.as_ref().map_or("", PhoneNumberId::as_str);
        let mut key = format!("account {} {number}", self.account);
        for notice in &self.notices {
            let until = notice.until.map_or(0, Wall::millis);
            // A restriction is known by its end; a warning, which has none, by its day.
            let day = if until == 0 { self.at.millis() / 86_400_000 } else { 0 };
            key.push_str(&format!(" {}/{until}/{day}", notice.kind));
        }
        key
    }

    /// The entry and the change that [`AccountNotice::read`] reads back.
    pub(super) fn print(&self) -> (Value, &'static str, Value) {
        let listed: Vec<Value> = self.notices.iter().map(Notice::print).collect();
        let mut entry = Map::new();
        if !self.account.is_empty() {
            entry.insert("id".into(), self.account.as_str().into());
        }
        let at = super::print::stamp(self.at);
        match &self.number {
            None => (
                Value::Object(entry),
                "account_update",
                json!({ "event": "ACCOUNT_RESTRICTION", "timestamp": at, "restriction_info": listed }),
            ),
            Some(number) => (
                Value::Object(entry),
                "account_settings_update",
                json!({ "type": "phone_number_settings", "timestamp": at, "phone_number_settings": {
                    "phone_number_id": number.as_str(),
                    "calling": { "restrictions": { "restrictions_list": listed } } } }),
            ),
        }
    }
}

impl Notice {
    fn read(item: &Value) -> Option<Self> {
        let kind = ["restriction_type", "violation_type", "type"].iter().find_map(|it| text(&item[*it]))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let kind: String =
            kind.chars().filter(|c| plain(*c)).take(64).collect::<String>().to_ascii_uppercase();
        let reason = ["reason", "remediation"].iter().find_map(|it| text(&item[*it]));
        let reason = reason.map(|it| it.chars().take(300).collect());
        (!kind.is_empty()).then(|| Self { kind, until: time(&item["expiration"]), reason })
    }

    fn print(&self) -> Value {
        let mut item = Map::from_iter([("type".to_owned(), Value::from(self.kind.as_str()))]);
        if let Some(until) = self.until {
            item.insert("expiration".into(), super::print::stamp(until));
        }
        if let Some(reason) = &self.reason {
            item.insert("reason".into(), reason.as_str().into());
        }
        Value::Object(item)
    }
}
