//! `cordboard settings`: what Meta holds of a number, where that differs from the file, and an end to it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::check::load;
use super::{Exit, Form, complain, gateway, say};
use crate::config::NumberConfig;
use crate::io::app::graph_settings;
use crate::io::graph::GraphClient;
use crate::io::number_settings::{self, SettingsTrouble};
use crate::io::signalling::now;
use crate::whatsapp::settings::Drift;

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
    let runtime = match gateway::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
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

async fn one(
    args: &SettingsArgs,
    graph: &GraphClient,
    number: &NumberConfig,
) -> Result<Exit, SettingsTrouble> {
    match args.action {
        SettingsAction::Show => {
            let calling = number_settings::show(graph, number).await?;
            say(format_args!("{:#}", json!({ "number": number.label.as_str(), "calling": calling })));
        }
        SettingsAction::Diff => {
            let drift = number_settings::diff(graph, number, now().wall).await?;
            Form::of(args.json).print(&as_json(number, &drift), || told(number, &drift));
            return Ok(if drift.is_empty() { Exit::Done } else { Exit::Different });
        }
        SettingsAction::Apply => {
            let drift = number_settings::apply(graph, number, now().wall).await?;
            Form::of(args.json).print(&as_json(number, &drift), || {
                let written = format!("{}: written ({} at Meta differed)", number.label, drift.len());
                let told = told(number, &drift);
                if drift.is_empty() { told } else { format!("{told}\n{written}") }
            });
        }
    }
    Ok(Exit::Done)
}

fn as_json(number: &NumberConfig, drift: &[Drift]) -> Value {
    let all: Vec<_> =
        drift.iter().map(|it| json!({ "path": it.path, "file": it.wanted, "meta": it.found })).collect();
    json!({ "number": number.label.as_str(), "drift": all })
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
