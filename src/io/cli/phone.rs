//! `cordboard phones` and `cordboard phone`: who is there, and what a registered phone can be asked for.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::quality::align;
use super::{Exit, Form, complain, gateway};
use crate::io::gateway_state::PhoneRow;
use crate::io::phones::Asked;

/// Asks a phone for something; speaks with the running gateway.
#[derive(Debug, Args)]
pub struct PhoneArgs {
    #[command(subcommand)]
    action: PhoneAction,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum PhoneAction {
    /// Makes it fetch its configuration, which most phones do by a restart once they are idle (NOTIFY check-sync).
    Resync {
        /// Its name, as in [[phone]].
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Lists the phones of the configuration: who is registered, who is not to be disturbed; asks the running gateway.
#[derive(Debug, Args)]
pub struct PhonesArgs {
    /// The configuration of the gateway.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn phones(args: &PhonesArgs) -> Exit {
    const PATH: &str = "/phones";
    match gateway::ask(&args.config, PATH, async |gateway| gateway.list::<Vec<PhoneRow>>(PATH).await) {
        Ok(rows) => {
            Form::of(args.json).print(&rows, || table(&rows));
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn table(rows: &[PhoneRow]) -> String {
    if rows.is_empty() {
        return "no phones".to_owned();
    }
    let mut table = vec![["PHONE", "REGISTERED", "NOT DISTURBED SINCE (UTC)"].map(str::to_owned)];
    table.extend(rows.iter().map(|row| {
        let since = row.do_not_disturb_since.clone().unwrap_or_else(|| "-".to_owned());
        [row.name.clone(), if row.registered { "yes" } else { "no" }.to_owned(), since]
    }));
    align(&table)
}

pub(super) fn phone(args: &PhoneArgs) -> Exit {
    const PATH: &str = "/phones/resync";
    let PhoneAction::Resync { name } = &args.action;
    let asked = gateway::ask(&args.config, PATH, async |gateway| {
        let request = gateway.request(reqwest::Method::PUT, PATH).query(&[("name", name)]);
        request.send().await?.error_for_status()?.json::<Asked>().await
    });
    match asked {
        Ok(Asked { places: 0 }) => {
            complain(format_args!("phone {name} is not registered: nobody was asked"));
            Exit::Unavailable
        }
        Ok(asked) => {
            let text = || format!("phone {name} was asked, at {} place(s)", asked.places);
            Form::of(args.json).print(&asked, text);
            Exit::Done
        }
        Err(exit) => exit,
    }
}
