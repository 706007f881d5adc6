//! `cordboard missed` and `cordboard callback`: users whose calls nobody took, and calling them back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::call_actions::call_id;
use super::calls::{Cover, object};
use super::quality::align;
use super::{Exit, Form, complain, gateway, say};
use crate::call::MissedCall;
use crate::id::CallId;
use crate::io::desk::CallbackRow;
use crate::policy::Permission;
use crate::time::Wall;

/// Lists the users' calls that nobody took, oldest first, and whether they may be called back.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct MissedArgs {
    #[command(subcommand)]
    pub(super) action: Option<MissedAction>,
    /// The configuration that names the store.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    pub config: PathBuf,
    /// Of this business number only.
    #[arg(long, value_name = "LABEL")]
    pub number: Option<String>,
    /// The callback queue of this group: of the numbers that stand in its `callbacks`.
    #[arg(long, value_name = "GROUP", conflicts_with = "number")]
    pub group: Option<String>,
    /// Those that are done, too.
    #[arg(long)]
    pub all: bool,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// One JSON array instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Shows users' numbers and names in full.
    #[arg(long)]
    pub unmasked: bool,
}

/// What to do with the list.
#[derive(Debug, Subcommand)]
pub(super) enum MissedAction {
    /// Takes a call off the list: it was dealt with in another way.
    Done {
        /// The call, as `missed` shows it.
        #[arg(value_name = "CALL", value_parser = call_id)]
        call: CallId,
        /// Who says so.
        #[arg(long, default_value = "operator")]
        by: String,
    },
}

/// Calls back: rings your phone, then the user; asks the running gateway.
#[derive(Debug, Args)]
pub struct CallbackArgs {
    /// The missed call, as `missed` shows it, or "next" for the oldest that your phone may call back.
    #[arg(value_name = "CALL")]
    call: String,
    /// The phone that rings first.
    #[arg(long, value_name = "PHONE")]
    from: String,
    /// With "next": of the queue of this group, to which the phone must belong.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The configuration of the gateway.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// What `cordboard missed` prints.
#[must_use]
pub fn present(calls: &[MissedCall], args: &MissedArgs, now: Wall) -> String {
    let cover = if args.unmasked { Cover::Open } else { Cover::Masked };
    let all: Vec<Value> = calls.iter().map(|it| as_json(it, cover, now)).collect();
    Form::of(args.json).write(&all, || table(calls, cover, now))
}

fn table(calls: &[MissedCall], cover: Cover, now: Wall) -> String {
    if calls.is_empty() {
        return "no missed calls".to_owned();
    }
    let headings = ["CALL", "WHEN (UTC)", "NUMBER", "USER", "WHY", "MAY BE CALLED", "STATE"];
    let mut rows = vec![headings.map(str::to_owned)];
    rows.extend(calls.iter().map(|it| row(it, cover, now)));
    align(&rows)
}

fn row(missed: &MissedCall, cover: Cover, now: Wall) -> [String; 7] {
    let record = &missed.record;
    let opened = record.opened.to_string();
    let name = record.user_name.as_ref().map(|it| format!(" {}", cover.text(it.expose())));
    let state = match (&missed.settled, &missed.claimed) {
        (Some((_, by)), _) => format!("done: {by}"),
        (None, Some((_, by))) => format!("called back by {by}"),
        (None, None) => "open".to_owned(),
    };
    let state = missed.voicemails.iter().fold(state, |state, id| format!("{state}, message {}", id.0));
    [
        record.id.to_string(),
        opened.split_once('.').map_or(opened.as_str(), |(seconds, _)| seconds).replace('T', " "),
        record.number.to_string(),
        cover.user(&record.user) + &name.unwrap_or_default(),
        record.cause.clone().unwrap_or_else(|| "unknown".to_owned()),
        allowed(missed.permission, now),
        state,
    ]
}

/// Whether a user may be called, and for how long.
fn allowed(permission: Permission, now: Wall) -> String {
    match permission {
        Permission::Permanent => "yes".to_owned(),
        Permission::Temporary { until } if until > now => {
            let minutes = until.since(now).as_secs() / 60;
            format!("{} d {} h {} min", minutes / 1440, minutes / 60 % 24, minutes % 60)
        }
        Permission::Temporary { .. } => "no: over".to_owned(),
        other => format!("no: {}", other.as_str()),
    }
}

fn as_json(missed: &MissedCall, cover: Cover, now: Wall) -> Value {
    let pair =
        |it: &Option<(Wall, String)>| it.as_ref().map(|(at, by)| json!({ "at": at.to_string(), "by": by }));
    let until = missed.permission.until();
    json!({
        "call": object(&missed.record, cover),
        "permission": missed.permission.as_str(),
        "permission_until": until.map(|it| it.to_string()),
        "permission_seconds_left": until.map(|it| it.since(now).as_secs()),
        "claimed": pair(&missed.claimed),
        "settled": pair(&missed.settled),
        "voicemails": missed.voicemails.iter().map(|id| id.0).collect::<Vec<_>>(),
    })
}

pub(super) fn callback(args: &CallbackArgs) -> Exit {
    const PATH: &str = "/callbacks";
    let asked = gateway::ask(&args.config, PATH, async |gateway| {
        let mut query = vec![("call", args.call.as_str()), ("from", args.from.as_str())];
        query.extend(args.group.as_deref().map(|it| ("group", it)));
        let answer = gateway.request(reqwest::Method::PUT, PATH).query(&query).send().await?;
        Ok((answer.status(), answer.text().await?))
    });
    match asked {
        Ok((status, text)) if status.is_success() => {
            match serde_json::from_str::<CallbackRow>(&text) {
                Ok(row) => Form::of(args.json).print(&row, || {
                    format!("call {}: {} rings, then the user {}", row.call, row.from, row.user)
                }),
                Err(_) => say(text.trim_end()),
            }
            Exit::Done
        }
        Ok((_, text)) => {
            complain(format_args!("nobody is called: {}", text.trim_end()));
            Exit::Unavailable
        }
        Err(exit) => exit,
    }
}
