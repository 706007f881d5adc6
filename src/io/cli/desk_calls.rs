//! `cordboard calls --desk`: the calls between phones and trunks, newest first.

use serde_json::{Value, json};

use super::Form;
use super::calls::{Cover, clock};
use super::quality::align;
use crate::call::desk::DeskRecord;
use crate::time::Wall;

const HEADINGS: [&str; 6] = ["CALL", "OPENED (UTC)", "CALLER", "CALLEE", "TALK", "ENDED BY"];

/// A table for people, or one JSON array.
#[must_use]
pub fn present(records: &[DeskRecord], json: bool, cover: Cover) -> String {
    let all: Vec<Value> = records.iter().map(|record| object(record, cover)).collect();
    Form::of(json).write(&all, || table(records, cover))
}

fn table(records: &[DeskRecord], cover: Cover) -> String {
    if records.is_empty() {
        return "no calls between phones and trunks yet".to_owned();
    }
    let rows = records.iter().map(|record| row(record, cover));
    align(&std::iter::once(HEADINGS.map(str::to_owned)).chain(rows).collect::<Vec<_>>())
}

fn object(record: &DeskRecord, cover: Cover) -> Value {
    let at = |time: Option<Wall>| time.map(|it| it.to_string());
    let talk = record.ended.zip(record.answered).map(|(ended, answered)| ended.since(answered).as_secs_f64());
    let quality: Option<Value> = record.quality_json.as_ref().and_then(|it| serde_json::from_str(it).ok());
    json!({
        "id": record.id.to_string(),
        "caller": cover.endpoint(&record.caller),
        "callee": cover.endpoint(&record.callee),
        "opened": record.opened.to_string(),
        "rang": at(record.rang),
        "answered": at(record.answered),
        "ended": at(record.ended),
        "talk_seconds": talk,
        "cause": record.cause,
        "fault": record.fault,
        "sip_call_id": record.sip_call_id,
        "media": record.media,
        "quality": quality,
    })
}

fn row(record: &DeskRecord, cover: Cover) -> [String; 6] {
    let opened = record.opened.to_string();
    let talk = record.ended.zip(record.answered).map(|(ended, answered)| ended.since(answered));
    let ended = match (&record.cause, &record.fault) {
        (Some(cause), Some(fault)) => format!("{fault}: {cause}"),
        _ if record.ended.is_some() => "unknown".to_owned(),
        _ => "still up".to_owned(),
    };
    [
        record.id.to_string(),
        opened.split_once('.').map_or(opened.as_str(), |(seconds, _)| seconds).replace('T', " "),
        cover.endpoint(&record.caller),
        cover.endpoint(&record.callee),
        talk.map_or_else(|| "-".to_owned(), clock),
        ended,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CallId, Endpoint};

    #[test]
    fn the_table_names_phones_and_trunks_and_covers_the_numbers_behind_them() {
        let trunk = Endpoint::Trunk("pbx".into(), "+4930123456".to_owned());
        let phone = Endpoint::Phone("1001".into());
        let mut record =
            DeskRecord::new(CallId(0x7f), phone, trunk, Wall(1_791_900_000_250), "id".to_owned());
        let up = present(&[record.clone()], false, Cover::Masked);
        assert!(up.ends_with("phone 1001  trunk pbx  -     still up"), "{up}");
        record.answered = Some(Wall(1_791_900_002_000));
        record.ended = Some(Wall(1_791_900_065_500));
        (record.cause, record.fault) = (Some("phone_hung_up".to_owned()), Some("phone".to_owned()));
        let over = present(&[record.clone()], false, Cover::Open);
        assert!(over.ends_with("trunk pbx/+4930123456  1:03  phone: phone_hung_up"), "{over}");
        let json: Value = serde_json::from_str(&present(&[record], true, Cover::Masked)).expect("JSON");
        assert_eq!((&json[0]["callee"], &json[0]["talk_seconds"]), (&json!("trunk pbx"), &json!(63.5)));
        assert_eq!(present(&[], false, Cover::Masked), "no calls between phones and trunks yet");
    }
}
