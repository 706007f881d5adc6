//! `cordboard bans`: who gets no answers from a running gateway, and an end to it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, Form, gateway, say};
use crate::io::bans::{BanRow, Lifted};
use crate::sip::defence::Source;

const PATH: &str = "/bans";

/// Lists who is banned for scanning or guessing passwords, or lifts a ban; asks the running gateway.
#[derive(Debug, Args)]
pub struct BansArgs {
    #[command(subcommand)]
    action: Option<BansAction>,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// One JSON object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum BansAction {
    /// Lists the bans that hold, as does `bans` alone.
    List,
    /// Ends the bans of an address, and forgets what led to them.
    Lift {
        /// The address, as `bans` shows it.
        #[arg(value_name = "SOURCE")]
        source: Source,
        /// Only the ban of this user there.
        #[arg(long)]
        user: Option<String>,
    },
}

pub(super) fn bans(args: &BansArgs) -> Exit {
    match &args.action {
        None | Some(BansAction::List) => list(args),
        Some(BansAction::Lift { source, user }) => lift(args, *source, user.as_deref()),
    }
}

fn list(args: &BansArgs) -> Exit {
    match gateway::ask(&args.config, PATH, async |gateway| gateway.list::<Vec<BanRow>>(PATH).await) {
        Ok(bans) if args.json => {
            // One a line: whoever counts them counts lines.
            bans.iter().filter_map(|ban| serde_json::to_string(ban).ok()).for_each(say);
            Exit::Done
        }
        Ok(bans) => {
            say(table(&bans).trim_end());
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn lift(args: &BansArgs, source: Source, user: Option<&str>) -> Exit {
    let mut whose = vec![("source", source.to_string())];
    whose.extend(user.map(|user| ("user", user.to_owned())));
    let lifted = gateway::ask(&args.config, PATH, async |gateway| {
        let request = gateway.request(reqwest::Method::DELETE, PATH).query(&whose);
        request.send().await?.error_for_status()?.json::<Lifted>().await
    });
    match lifted {
        Ok(lifted) => {
            Form::of(args.json).print(&lifted, || match lifted.lifted {
                0 => format!("nothing to lift: {source} is not banned"),
                1 => format!("one ban of {source} lifted"),
                many => format!("{many} bans of {source} lifted"),
            });
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn table(bans: &[BanRow]) -> String {
    if bans.is_empty() {
        return "nobody is banned".to_owned();
    }
    let mut out = format!(
        "{:<40} {:<16} {:<10} {:>9} {:>5} {:>9}\n",
        "source", "user", "why", "left", "nth", "dropped"
    );
    for ban in bans {
        let user = ban.user.as_deref().unwrap_or("(everybody)");
        // A claimed name may hold anything: nothing of it may move the cursor.
        let user: String = user.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let (minutes, seconds) = (ban.seconds_left / 60, ban.seconds_left % 60);
        let left = format!("{minutes}m{seconds:02}s");
        let _ = writeln!(
            out,
            "{:<40} {user:<16} {:<10} {left:>9} {:>5} {:>9}",
            ban.source, ban.ground, ban.times, ban.dropped
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_a_table_in_which_a_hostile_name_does_no_harm() {
        let ban = |user: Option<&str>| BanRow {
            source: "203.0.113.7".to_owned(),
            user: user.map(str::to_owned),
            ground: "guessing".to_owned(),
            seconds_left: 301,
            times: 2,
            dropped: 17,
        };
        let text = table(&[ban(None), ban(Some("10\u{1b}[2J"))]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["203.0.113.7", "(everybody)", "guessing", "5m01s", "2", "17"]);
        assert_eq!(rows[2][1], "10?[2J");
        assert_eq!(table(&[]), "nobody is banned");
    }
}
