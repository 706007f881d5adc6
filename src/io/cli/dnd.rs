//! `cordboard dnd`: phones that no ring plan rings.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::quality::align;
use super::{Exit, Form, gateway};
use crate::io::desk::DisturbRow;

const PATH: &str = "/dnd";

/// Lists the phones that are not to be disturbed, or sets it for one; asks the running gateway.
#[derive(Debug, Args)]
pub struct DndArgs {
    #[command(subcommand)]
    action: Option<DndAction>,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DndAction {
    /// Lists, as does `dnd` alone.
    List,
    /// No ring plan rings this phone any more.
    On {
        /// Its name.
        phone: String,
    },
    /// It is rung again.
    Off {
        /// Its name.
        phone: String,
    },
}

pub(super) fn dnd(args: &DndArgs) -> Exit {
    let (method, phone) = match &args.action {
        None | Some(DndAction::List) => return list(args),
        Some(DndAction::On { phone }) => (Method::PUT, phone),
        Some(DndAction::Off { phone }) => (Method::DELETE, phone),
    };
    let on = method == Method::PUT;
    let status = gateway::ask(&args.config, PATH, async |gateway| {
        let answer = gateway.request(method, PATH).query(&[("phone", phone)]).send().await?;
        let status = answer.status();
        if status != StatusCode::NOT_FOUND {
            answer.error_for_status()?;
        }
        Ok(status)
    });
    let status = match status {
        Ok(status) => status,
        Err(exit) => return exit,
    };
    let set = status != StatusCode::NOT_FOUND;
    let told = json!({ "phone": phone, "set": set, "do_not_disturb": set.then_some(on) });
    Form::of(args.json).print(&told, || match (set, on) {
        (false, _) => format!("nothing is set: there is no [[phone]] with name = {phone:?}"),
        (true, true) => format!("{phone} is not disturbed any more"),
        (true, false) => format!("{phone} may be rung again"),
    });
    Exit::Done
}

fn list(args: &DndArgs) -> Exit {
    match gateway::ask(&args.config, PATH, async |gateway| gateway.list::<Vec<DisturbRow>>(PATH).await) {
        Ok(rows) => {
            Form::of(args.json).print(&rows, || table(&rows));
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn table(rows: &[DisturbRow]) -> String {
    if rows.is_empty() {
        return "every phone may be rung".to_owned();
    }
    let mut table = vec![["PHONE", "SINCE (UTC)"].map(str::to_owned)];
    table.extend(rows.iter().map(|row| [row.phone.clone(), row.since.clone()]));
    align(&table)
}
