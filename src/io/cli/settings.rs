//! `cordboard settings`: what Meta holds of a number, where that differs from the file, and an end to it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::check::load;
use super::{Exit, complain, say};
use crate::config::NumberConfig;
use crate::io::app::graph_settings;
use crate::io::graph::GraphClient;
use crate::io::signalling::now;
use crate::time::Wall;
use crate::whatsapp::settings::{Drift, Wanted};

/// Shows the calling settings of business numbers at Meta, and writes those of the file there.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    #[command(subcommand)]
    action: SettingsAction,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// This business number only.
    #[arg(long, global = true, value_name = "LABEL")]
    number: Option<String>,
    /// One JSON object per number.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum SettingsAction {
    /// Prints what Meta has.
    Show,
    /// Prints where Meta differs from [number.settings] and [number.hours]; ends with 1 if it does.
    Diff,
    /// Writes what differs to Meta, one group of settings a request.
    Apply,
}

pub(super) fn settings(args: &SettingsArgs) -> Exit {
    let Some(config) = load(&args.config) else { return Exit::Usage };
    let numbers: Vec<&NumberConfig> = config
        .numbers
        .iter()
        .filter(|it| args.number.as_ref().is_none_or(|label| it.label.as_str() == label))
        .collect();
    if numbers.is_empty() {
        let known: Vec<&str> = config.numbers.iter().map(|it| it.label.as_str()).collect();
        complain(format_args!("no such number: --number one of {}", known.join(", ")));
        return Exit::Usage;
    }
    let graph = match GraphClient::new(graph_settings(&config)) {
        Ok(graph) => graph,
        Err(error) => {
            complain(error);
            return Exit::Internal;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    let mut worst = Exit::Done;
    for number in numbers {
        match runtime.block_on(one(args, &graph, number)) {
            Ok(Exit::Done) => {}
            Ok(other) => worst = other,
            Err(problem) => {
                complain(format_args!("{}: {problem}", number.label));
                worst = Exit::Unavailable;
            }
        }
    }
    worst
}

async fn one(args: &SettingsArgs, graph: &GraphClient, number: &NumberConfig) -> Result<Exit, String> {
    let (id, token) = (&number.phone_number_id, &number.access_token);
    let calling = graph.settings(id, token).await.map_err(|it| it.to_string())?;
    if args.action == SettingsAction::Show {
        say(format_args!("{:#}", json!({ "number": number.label.as_str(), "calling": calling })));
        return Ok(Exit::Done);
    }
    let wanted = wanted(number, now().wall)?;
    let drift = wanted.drift(&calling);
    say(if args.json { as_json(number, &drift) } else { told(number, &drift) });
    if args.action == SettingsAction::Diff {
        return Ok(if drift.is_empty() { Exit::Done } else { Exit::Different });
    }
    for body in wanted.bodies(&drift) {
        graph.change_settings(id, token, &body).await.map_err(|it| it.to_string())?;
    }
    if drift.is_empty() {
        return Ok(Exit::Done);
    }
    // What Meta says it holds now is the proof.
    let left = wanted.drift(&graph.settings(id, token).await.map_err(|it| it.to_string())?);
    if left.is_empty() {
        say(format_args!("{}: written ({} at Meta differed)", number.label, drift.len()));
        return Ok(Exit::Done);
    }
    let paths: Vec<&str> = left.iter().map(|it| it.path).collect();
    Err(format!("Meta took the settings and still has others: {}", paths.join(", ")))
}

/// What the file wants Meta to hold of a number.
///
/// # Errors
/// Hours that do not fit Meta's form.
pub fn wanted(number: &NumberConfig, now: Wall) -> Result<Wanted, String> {
    let settings = &number.settings;
    let hours = match &number.hours {
        _ if !settings.hours => None,
        None => Some(None),
        Some(hours) => Some(Some(hours.hours.for_meta(now).map_err(|it| format!("hours: {it}"))?)),
    };
    Ok(Wanted {
        calls: settings.calls,
        icon: settings.call_icon,
        countries: settings.countries.clone(),
        callback_permission: settings.callback_permission,
        hours,
    })
}

fn as_json(number: &NumberConfig, drift: &[Drift]) -> String {
    let all: Vec<_> =
        drift.iter().map(|it| json!({ "path": it.path, "file": it.wanted, "meta": it.found })).collect();
    json!({ "number": number.label.as_str(), "drift": all }).to_string()
}

fn told(number: &NumberConfig, drift: &[Drift]) -> String {
    if drift.is_empty() {
        return format!("{}: Meta has what the file wants", number.label);
    }
    let mut text = format!("{}: Meta differs from the file\n", number.label);
    for Drift { path, wanted, found } in drift {
        let _ = writeln!(text, "  {path}");
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|it| !those.contains(it)).cloned().collect()
        };
        // A text of Meta's may hold anything: nothing of it may move the cursor.
        let plain = |line: String| line.chars().filter(|it| !it.is_control()).collect::<String>();
        let mut print = |mark: char, lines: Vec<String>| {
            for line in lines {
                let _ = writeln!(text, "    {mark} {}", plain(line));
            }
        };
        print('-', only(found, wanted));
        print('+', only(wanted, found));
    }
    text.trim_end().to_owned()
}
