//! `cordboard voicemail`: what users have said to nobody.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::quality::align;
use super::{Exit, Form, complain, gateway};
use crate::io::voicemail::MessageRow;

const PATH: &str = "/voicemails";

/// Lists voice messages, newest first, or does something with one; asks the running gateway.
#[derive(Debug, Args)]
pub struct VoicemailArgs {
    #[command(subcommand)]
    action: Option<VoicemailAction>,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// Only those that nobody has heard.
    #[arg(long)]
    unheard: bool,
    /// JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum VoicemailAction {
    /// Lists, as does `voicemail` alone.
    List,
    /// Somebody has listened: the lamps go out when it was the last one.
    Heard {
        /// The message, as the list shows it.
        id: u64,
        /// Who says so.
        #[arg(long, default_value = "operator")]
        by: String,
    },
    /// Deletes a message and its file.
    Delete {
        /// The message, as the list shows it.
        id: u64,
    },
    /// Writes the sound of a message into a file (Ogg/Opus).
    Save {
        /// The message, as the list shows it.
        id: u64,
        /// The file.
        file: PathBuf,
    },
}

pub(super) fn voicemail(args: &VoicemailArgs) -> Exit {
    match &args.action {
        None | Some(VoicemailAction::List) => list(args),
        Some(VoicemailAction::Heard { id, by }) => {
            let which = [("id", id.to_string()), ("by", by.clone())];
            let heard = ask(args, &Method::PUT, "/voicemails/heard", &which);
            done(args, &heard, *id, "heard")
        }
        Some(VoicemailAction::Delete { id }) => {
            let deleted = ask(args, &Method::DELETE, PATH, &[("id", id.to_string())]);
            done(args, &deleted, *id, "deleted")
        }
        Some(VoicemailAction::Save { id, file }) => save(args, *id, file),
    }
}

fn list(args: &VoicemailArgs) -> Exit {
    let unheard = [("unheard", args.unheard.to_string())];
    let bytes = match ask(args, &Method::GET, PATH, &unheard) {
        Ok(bytes) => bytes,
        Err(exit) => return exit,
    };
    match serde_json::from_slice::<Vec<MessageRow>>(&bytes) {
        Ok(rows) => {
            Form::of(args.json).print(&rows, || table(&rows));
            Exit::Done
        }
        Err(error) => {
            complain(format_args!("{PATH} (admin.listen): {error}; is the gateway of the same version?"));
            Exit::Unavailable
        }
    }
}

fn done(args: &VoicemailArgs, outcome: &Result<Vec<u8>, Exit>, id: u64, what: &str) -> Exit {
    if let Err(exit) = outcome {
        return *exit;
    }
    Form::of(args.json).print(&json!({ "id": id, "state": what }), || format!("message {id} is {what}"));
    Exit::Done
}

fn save(args: &VoicemailArgs, id: u64, file: &Path) -> Exit {
    let bytes = match ask(args, &Method::GET, "/voicemails/audio", &[("id", id.to_string())]) {
        Ok(bytes) => bytes,
        Err(exit) => return exit,
    };
    if let Err(error) = std::fs::write(file, &bytes) {
        complain(format_args!("{}: {error}", file.display()));
        return Exit::Unavailable;
    }
    let told = json!({ "id": id, "file": file, "bytes": bytes.len() });
    Form::of(args.json).print(&told, || format!("{}: {} bytes", file.display(), bytes.len()));
    Exit::Done
}

/// What the gateway answers; its refusals are said in its own words.
fn ask(args: &VoicemailArgs, method: &Method, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, Exit> {
    let (status, bytes) = gateway::ask(&args.config, path, async |gateway| {
        let answer = gateway.request(method.clone(), path).query(query).send().await?;
        Ok((answer.status(), answer.bytes().await?.to_vec()))
    })?;
    if status.is_success() {
        return Ok(bytes);
    }
    complain(String::from_utf8_lossy(&bytes).trim());
    Err(Exit::Unavailable)
}

fn table(rows: &[MessageRow]) -> String {
    if rows.is_empty() {
        return "no voice messages".to_owned();
    }
    let headings = ["ID", "WHEN (UTC)", "NUMBER", "USER", "SECONDS", "CALL", "STATE", "FILE"];
    let mut table = vec![headings.map(str::to_owned)];
    table.extend(rows.iter().map(|row| {
        let dash = || "-".to_owned();
        [
            row.id.to_string(),
            row.at.split_once('.').map_or(row.at.as_str(), |(seconds, _)| seconds).replace('T', " "),
            row.number.clone(),
            row.user.clone().unwrap_or_else(dash),
            row.seconds.map_or_else(|| "?".to_owned(), |it| it.to_string()),
            row.call.clone().unwrap_or_else(dash),
            row.heard_by.as_ref().map_or_else(|| "new".to_owned(), |by| format!("heard by {by}")),
            row.file.clone().unwrap_or_else(|| "at Meta".to_owned()),
        ]
    }));
    align(&table)
}
