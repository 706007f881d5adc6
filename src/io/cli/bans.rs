//! `cordboard bans`: who gets no answers from a running gateway, and an end to it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Exit, complain, say};
use crate::config::AdminConfig;
use crate::io::bans::{BanRow, Lifted};
use crate::sip::defence::Source;

/// Lists who is banned for scanning or guessing passwords, or lifts a ban; asks the running gateway.
#[derive(Debug, Args)]
pub struct BansArgs {
    #[command(subcommand)]
    action: Option<BansAction>,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
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

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn bans(args: &BansArgs) -> Exit {
    let Some(address) = admin_of(&args.config) else { return Exit::Usage };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    let outcome = runtime.block_on(async {
        match &args.action {
            None | Some(BansAction::List) => list(address, args.json).await,
            Some(BansAction::Lift { source, user }) => lift(address, *source, user.as_deref()).await,
        }
    });
    match outcome {
        Ok(text) => {
            say(text.trim_end());
            Exit::Done
        }
        Err(error) => {
            complain(format_args!(
                "http://{address}/bans (admin.listen): {error}; does the gateway run, with this configuration?"
            ));
            Exit::Unavailable
        }
    }
}

/// Where the gateway of a configuration answers its administrator.
pub(super) fn admin_of(config: &Path) -> Option<SocketAddr> {
    let mut address = AdminConfig::read(config).map_err(complain).ok()?.listen;
    // A listener on every address answers on loopback too.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()
}

async fn list(address: SocketAddr, json: bool) -> reqwest::Result<String> {
    let answer = client()?.get(format!("http://{address}/bans")).send().await?.error_for_status()?;
    let bans: Vec<BanRow> = answer.json().await?;
    Ok(if json { lines(&bans) } else { table(&bans) })
}

async fn lift(address: SocketAddr, source: Source, user: Option<&str>) -> reqwest::Result<String> {
    let mut whose = vec![("source", source.to_string())];
    whose.extend(user.map(|user| ("user", user.to_owned())));
    let request = client()?.delete(format!("http://{address}/bans")).query(&whose);
    let Lifted { lifted } = request.send().await?.error_for_status()?.json().await?;
    Ok(match lifted {
        0 => format!("nothing to lift: {source} is not banned"),
        1 => format!("one ban of {source} lifted"),
        many => format!("{many} bans of {source} lifted"),
    })
}

fn lines(bans: &[BanRow]) -> String {
    bans.iter().filter_map(|ban| serde_json::to_string(ban).ok()).map(|line| line + "\n").collect()
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
        assert_eq!(lines(&[ban(None)]).lines().count(), 1);
    }
}
