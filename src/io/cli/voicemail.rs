//! `cordboard voicemail`: what users have said to nobody.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};

use super::bans::{admin_of, client};
use super::quality::align;
use super::{Exit, complain, say};
use crate::io::voicemail::MessageRow;

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
    /// One JSON array instead of a table.
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
    let Some(address) = admin_of(&args.config) else { return Exit::Usage };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    match runtime.block_on(act(address, args)) {
        Ok(text) => {
            say(text);
            Exit::Done
        }
        Err(problem) => {
            complain(problem);
            Exit::Unavailable
        }
    }
}

async fn act(address: SocketAddr, args: &VoicemailArgs) -> Result<String, String> {
    match &args.action {
        None | Some(VoicemailAction::List) => {
            let unheard = [("unheard", if args.unheard { "true" } else { "false" }.to_owned())];
            let bytes = ask(address, Method::GET, "voicemails", &unheard).await?;
            let rows: Vec<MessageRow> = serde_json::from_slice(&bytes).map_err(|it| it.to_string())?;
            Ok(present(&rows, args.json))
        }
        Some(VoicemailAction::Heard { id, by }) => {
            let which = [("id", id.to_string()), ("by", by.clone())];
            ask(address, Method::PUT, "voicemails/heard", &which).await?;
            Ok(format!("message {id} is heard"))
        }
        Some(VoicemailAction::Delete { id }) => {
            ask(address, Method::DELETE, "voicemails", &[("id", id.to_string())]).await?;
            Ok(format!("message {id} is deleted"))
        }
        Some(VoicemailAction::Save { id, file }) => {
            let bytes = ask(address, Method::GET, "voicemails/audio", &[("id", id.to_string())]).await?;
            std::fs::write(file, &bytes).map_err(|it| format!("{}: {it}", file.display()))?;
            Ok(format!("{}: {} bytes", file.display(), bytes.len()))
        }
    }
}

async fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
    query: &[(&str, String)],
) -> Result<Vec<u8>, String> {
    let url = format!("http://{address}/{path}");
    let down = |error: reqwest::Error| {
        format!("{url} (admin.listen): {error}; does the gateway run, with this configuration?")
    };
    let answer = client().map_err(down)?.request(method, &url).query(query).send().await.map_err(down)?;
    let status = answer.status();
    let bytes = answer.bytes().await.map_err(down)?.to_vec();
    match status {
        StatusCode::OK | StatusCode::NO_CONTENT => Ok(bytes),
        _ => Err(String::from_utf8_lossy(&bytes).trim().to_owned()),
    }
}

fn present(rows: &[MessageRow], json: bool) -> String {
    if json {
        return serde_json::to_string_pretty(rows).expect("values of text and numbers");
    }
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
