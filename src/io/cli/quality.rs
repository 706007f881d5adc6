//! How calls sounded, out of their records: one column for the table of calls, or a table of its own.

use serde_json::Value;

use crate::call::record::CallRecord;

/// The streams of a call: leg, way, direction in the record, and which end of it.
const STREAMS: [(&str, &str, &str, &str); 4] = [
    ("whatsapp", "in", "to_phone", "received"),
    ("phone", "out", "to_phone", "delivered"),
    ("phone", "in", "to_meta", "received"),
    ("whatsapp", "out", "to_meta", "delivered"),
];

const HEADINGS: [&str; 9] = ["CALL", "LEG", "WAY", "CODEC", "MOS", "LOSS", "BURSTS", "JITTER", "ROUND TRIP"];

/// What user and phone heard as MOS, `4.3/4.1`; `?` is unknown, `-` a call without media.
#[must_use]
pub fn heard(record: &CallRecord) -> String {
    let Some(quality) = read(record) else { return "-".to_owned() };
    let mos = |direction: &str| number(&quality[direction]["heard"]["mos"], 1, "");
    format!("{}/{}", mos("to_meta"), mos("to_phone"))
}

/// A line per stream of each call, and one per listener.
#[must_use]
pub fn table(records: &[CallRecord]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for record in records {
        let Some(quality) = read(record) else { continue };
        for (leg, way, direction, end) in STREAMS {
            rows.push(row(&record.id.to_string(), leg, way, &quality[direction][end]));
        }
        for (listener, direction) in [("user hears", "to_meta"), ("phone hears", "to_phone")] {
            let mut line: [String; 9] = Default::default();
            line[0] = record.id.to_string();
            line[1] = listener.to_owned();
            line[4] = number(&quality[direction]["heard"]["mos"], 2, "");
            rows.push(line);
        }
    }
    if rows.len() == 1 {
        return "no call with media yet".to_owned();
    }
    align(&rows)
}

fn row(call: &str, leg: &str, way: &str, stream: &Value) -> [String; 9] {
    [
        call.to_owned(),
        leg.to_owned(),
        way.to_owned(),
        stream["codec"].as_str().unwrap_or("?").to_owned(),
        number(&stream["conversational"]["mos"], 2, ""),
        number(&stream["loss_percent"], 1, " %"),
        number(&stream["burst_ratio"], 1, ""),
        number(&stream["jitter_ms"], 0, " ms"),
        number(&stream["round_trip_ms"], 0, " ms"),
    ]
}

/// Columns as wide as their widest cell.
pub(super) fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn read(record: &CallRecord) -> Option<Value> {
    let quality: Value = serde_json::from_str(record.quality_json.as_ref()?).ok()?;
    quality.is_object().then_some(quality)
}

fn number(value: &Value, digits: usize, unit: &str) -> String {
    value.as_f64().map_or_else(|| "?".to_owned(), |it| format!("{it:.digits$}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::record::CallDirection;
    use crate::id::CallId;
    use crate::user::{Msisdn, UserId};

    fn record(quality: Option<&str>) -> CallRecord {
        let user = UserId::Phone(Msisdn::parse("5521955500123").expect("valid"));
        let (number, graph) = ("support".into(), "108911223344556".into());
        let direction = CallDirection::UserInitiated;
        let quality_json = quality.map(str::to_owned);
        CallRecord { quality_json, ..CallRecord::new(CallId(1), number, graph, direction, user) }
    }

    const QUALITY: &str = r#"{
        "to_phone": { "heard": null, "delivered": null, "received": { "codec": "opus",
            "conversational": { "r": 90.1, "mos": 4.34 }, "loss_percent": 0.42, "burst_ratio": 1.3,
            "jitter_ms": 7.6, "round_trip_ms": 83.0 } },
        "to_meta": { "heard": { "r": 84.0, "mos": 4.18 }, "received": { "codec": "PCMU" } }
    }"#;

    #[test]
    fn the_column_says_what_user_and_phone_heard_and_what_nobody_knows() {
        assert_eq!(heard(&record(Some(QUALITY))), "4.2/?");
        assert_eq!(heard(&record(Some("not json"))), "-");
        assert_eq!(heard(&record(None)), "-");
    }

    #[test]
    fn the_table_has_a_line_per_stream_and_listener() {
        let text = table(&[record(None), record(Some(QUALITY))]);
        let expected = "\
CALL              LEG          WAY  CODEC  MOS   LOSS   BURSTS  JITTER  ROUND TRIP
0000000000000001  whatsapp     in   opus   4.34  0.4 %  1.3     8 ms    83 ms
0000000000000001  phone        out  ?      ?     ?      ?       ?       ?
0000000000000001  phone        in   PCMU   ?     ?      ?       ?       ?
0000000000000001  whatsapp     out  ?      ?     ?      ?       ?       ?
0000000000000001  user hears               4.18
0000000000000001  phone hears              ?";
        assert_eq!(text, expected);
        assert_eq!(table(&[record(None)]), "no call with media yet");
    }

    #[test]
    fn what_the_media_engine_writes_is_what_is_read() {
        let summary = crate::media::Summary::default();
        let text = table(&[record(Some(&summary.to_json()))]);
        assert_eq!(text.lines().count(), 7);
        assert_eq!(heard(&record(Some(&summary.to_json()))), "?/?");
    }
}
