//! `cordboard calls`: the call records, newest first, as a table for people or as JSON for programs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Form;
use super::call_actions::CallsAction;
use super::quality::{align, heard};
use crate::call::record::{CallRecord, RecordingLine};
use crate::id::Endpoint;
use crate::masked::Masked;
use crate::time::Wall;
use crate::user::UserId;

/// Lists the calls, the newest first; numbers and names are covered unless `--unmasked`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CallsArgs {
    /// Something else than a list.
    #[command(subcommand)]
    pub action: Option<CallsAction>,
    /// The configuration that names the store.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    pub config: PathBuf,
    /// How many calls at most.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// One JSON array instead of a table.
    #[arg(long)]
    pub json: bool,
    /// How the calls sounded, per leg and way, instead: MOS by ITU-T G.107, "?" where nobody reported.
    #[arg(long, conflicts_with = "json")]
    pub quality: bool,
    /// The calls between phones and trunks, without WhatsApp, instead.
    #[arg(long, conflicts_with = "quality")]
    pub desk: bool,
    /// Shows users' numbers and names in full.
    #[arg(long)]
    pub unmasked: bool,
}

/// Whether personal values are covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// All but the last two characters.
    Masked,
    /// Nothing: the administrator asked for it.
    Open,
}

impl From<&CallsArgs> for Cover {
    fn from(args: &CallsArgs) -> Self {
        if args.unmasked { Self::Open } else { Self::Masked }
    }
}

impl Cover {
    /// A text, covered if need be.
    #[must_use]
    pub fn text(self, value: &str) -> String {
        match self {
            Self::Masked => Masked::new(value).to_string(),
            Self::Open => value.to_owned(),
        }
    }

    /// A user, covered if need be.
    #[must_use]
    pub fn user(self, user: &UserId) -> String {
        match (user.phone(), user.scoped(), self) {
            (Some(phone), _, Self::Open) => format!("+{}", phone.digits()),
            (None, Some(scoped), Self::Open) => scoped.as_str().to_owned(),
            (_, _, _) => user.to_string(),
        }
    }

    pub(super) fn endpoint(self, endpoint: &Endpoint) -> String {
        match (endpoint, self) {
            (Endpoint::Trunk(name, number), Self::Open) => format!("trunk {name}/{number}"),
            // The number behind a trunk may be a person's own.
            (Endpoint::Trunk(name, _), Self::Masked) => format!("trunk {name}"),
            (Endpoint::Phone(name), _) => format!("phone {name}"),
        }
    }
}

/// What `cordboard calls` prints: a table, or one JSON array.
#[must_use]
pub fn present(records: &[CallRecord], json: bool, cover: Cover) -> String {
    let all: Vec<Value> = records.iter().map(|record| object(record, cover)).collect();
    Form::of(json).write(&all, || table(records, cover))
}

/// One record as JSON; times are RFC 3339 in UTC, spans are in seconds.
#[must_use]
pub fn object(record: &CallRecord, cover: Cover) -> Value {
    let at = |time: Option<Wall>| time.map(|it| it.to_string());
    // Written by us as JSON; what cannot be read back is shown as text rather than lost.
    let nested = |text: &Option<String>| {
        text.as_ref().map(|it| serde_json::from_str(it).unwrap_or_else(|_| Value::String(it.clone())))
    };
    json!({
        "id": record.id.to_string(),
        "wa_call": record.wa_call.as_ref().map(ToString::to_string),
        "number": record.number.as_str(),
        "phone_number_id": record.phone_number_id.as_str(),
        "direction": record.direction.as_str(),
        "user": cover.user(&record.user),
        "user_name": record.user_name.as_ref().map(|it| cover.text(it.expose())),
        "endpoint": record.endpoint.as_ref().map(|it| cover.endpoint(it)),
        "opened": record.opened.to_string(),
        "rang": at(record.rang),
        "answered": at(record.answered),
        "ended": at(record.ended),
        "talk_seconds": talk(record).map(|it| it.as_secs_f64()),
        "cause": record.cause,
        "fault": record.fault,
        "meta_start": at(record.meta_start),
        "meta_end": at(record.meta_end),
        "meta_duration": record.meta_duration,
        "sip_call_id": record.sip_call_id,
        "media": record.media,
        "stages": nested(&record.stages_json),
        "quality": nested(&record.quality_json),
        "payload": record.payload.as_ref().map(|it| cover.text(it.expose())),
        "dialling": nested(&record.dialling_json),
        "recording": record.recording.as_ref().map(|it| json!({
            "file": it.file, "seconds": it.seconds, "ended": it.ended,
        })),
    })
}

/// How long they talked; `None` if the call was never answered or is still up.
fn talk(record: &CallRecord) -> Option<Duration> {
    Some(record.ended?.since(record.answered?))
}

/// The MOS is what the user and what the phone heard.
const HEADINGS: [&str; 10] =
    ["CALL", "OPENED (UTC)", "", "NUMBER", "USER", "SIP SIDE", "TALK", "RECORDED", "MOS", "ENDED BY"];

fn table(records: &[CallRecord], cover: Cover) -> String {
    if records.is_empty() {
        return "no calls yet".to_owned();
    }
    let headings = HEADINGS.map(str::to_owned);
    let rows = records.iter().map(|record| row(record, cover));
    align(&std::iter::once(headings).chain(rows).collect::<Vec<_>>())
}

fn row(record: &CallRecord, cover: Cover) -> [String; 10] {
    use crate::call::record::CallDirection;
    let arrow = match record.direction {
        CallDirection::UserInitiated => "<-",
        CallDirection::BusinessInitiated => "->",
    };
    let ended = match (&record.cause, &record.fault) {
        (Some(cause), Some(fault)) => format!("{fault}: {cause}"),
        (Some(cause), None) => cause.clone(),
        (None, _) if record.ended.is_some() => "unknown".to_owned(),
        (None, _) => "still up".to_owned(),
    };
    let opened = record.opened.to_string();
    let user = cover.user(&record.user);
    let name =
        record.user_name.as_ref().map(|it| format!(" {}", cover.text(it.expose()))).unwrap_or_default();
    [
        record.id.to_string(),
        opened.split_once('.').map_or(opened.as_str(), |(seconds, _)| seconds).replace('T', " "),
        arrow.to_owned(),
        record.number.to_string(),
        user + &name,
        record.endpoint.as_ref().map_or_else(|| "-".to_owned(), |it| cover.endpoint(it)),
        talk(record).map_or_else(|| "-".to_owned(), clock),
        record.recording.as_ref().map_or_else(|| "-".to_owned(), recorded),
        heard(record),
        ended,
    ]
}

/// How long, and why it is not longer where the call was; the file is told in JSON.
fn recorded(line: &RecordingLine) -> String {
    let length = clock(Duration::from_secs(line.seconds.into()));
    match line.ended.as_deref() {
        Some("complete") => length,
        Some(why) => format!("{length} {why}"),
        None => "runs".to_owned(),
    }
}

/// `1:02:03` or `2:03`, rounded down.
pub(super) fn clock(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::record::CallDirection;
    use crate::id::CallId;
    use crate::user::Msisdn;

    fn record() -> CallRecord {
        CallRecord {
            id: CallId(0x7f3a),
            wa_call: Some("wacid.EXAMPLEinZ9y8".into()),
            number: "support".into(),
            phone_number_id: "108911223344556".into(),
            direction: CallDirection::UserInitiated,
            user: UserId::Phone(Msisdn::parse("5521955500123").expect("valid")),
            user_name: Some(Masked::new("Ana Souza".to_owned())),
            endpoint: Some(Endpoint::Phone("1001".into())),
            opened: Wall(1_791_900_000_250),
            rang: Some(Wall(1_791_900_000_900)),
            answered: Some(Wall(1_791_900_004_000)),
            ended: Some(Wall(1_791_900_128_900)),
            cause: Some("user_hung_up".to_owned()),
            fault: Some("user".to_owned()),
            meta_start: None,
            meta_end: None,
            meta_duration: Some(124),
            sip_call_id: None,
            media: None,
            stages_json: Some(r#"{"ringing":650}"#.to_owned()),
            quality_json: Some("not json".to_owned()),
            recording: None,
            payload: None,
            dialling_json: None,
        }
    }

    #[test]
    fn the_table_has_a_line_per_call_and_covers_who_it_was() {
        let missed = CallRecord {
            id: CallId(1),
            endpoint: None,
            user_name: None,
            answered: None,
            ended: None,
            cause: None,
            fault: None,
            direction: CallDirection::BusinessInitiated,
            ..record()
        };
        let expected = "\
CALL              OPENED (UTC)             NUMBER   USER         SIP SIDE    TALK  RECORDED        MOS  ENDED BY
0000000000007f3a  2026-10-13 14:00:00  <-  support  ***23 ***za  phone 1001  2:04  0:31 disk_full  -    user: user_hung_up
0000000000000001  2026-10-13 14:00:00  ->  support  ***23        -           -     -               -    still up";
        let line = RecordingLine { file: None, seconds: 31, ended: Some("disk_full".to_owned()) };
        let recorded = CallRecord { recording: Some(line), ..record() };
        assert_eq!(table(&[recorded, missed], Cover::Masked), expected);
    }

    #[test]
    fn json_covers_numbers_and_names_unless_they_are_asked_for() {
        let masked = present(&[record()], true, Cover::Masked);
        assert!(!masked.contains("5521955500123") && !masked.contains("Ana"), "{masked}");
        assert!(masked.contains("\"recording\": null"), "{masked}");
        let open = object(&record(), Cover::Open);
        assert_eq!((&open["user"], &open["user_name"]), (&json!("+5521955500123"), &json!("Ana Souza")));
        assert_eq!(open["talk_seconds"], json!(124.9));
        assert_eq!((&open["stages"]["ringing"], &open["quality"]), (&json!(650), &json!("not json")));
    }

    #[test]
    fn a_number_behind_a_trunk_is_covered_too() {
        let trunk = Endpoint::Trunk("pbx".into(), "493055500099".to_owned());
        assert_eq!(Cover::Masked.endpoint(&trunk), "trunk pbx");
        assert_eq!(Cover::Open.endpoint(&trunk), "trunk pbx/493055500099");
    }
}
