//! `cordboard dnd`: phones that no ring plan rings.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};

use super::bans::{admin_of, client};
use super::quality::align;
use super::{Exit, complain, say};
use crate::io::desk::DisturbRow;

/// Lists the phones that are not to be disturbed, or sets it for one; asks the running gateway.
#[derive(Debug, Args)]
pub struct DndArgs {
    #[command(subcommand)]
    action: Option<DndAction>,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// One JSON array instead of a table.
    #[arg(long)]
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
            None | Some(DndAction::List) => list(address, args.json).await,
            Some(DndAction::On { phone }) => set(address, Method::PUT, phone).await,
            Some(DndAction::Off { phone }) => set(address, Method::DELETE, phone).await,
        }
    });
    match outcome {
        Ok(text) => {
            say(text.trim_end());
            Exit::Done
        }
        Err(error) => {
            complain(format_args!(
                "http://{address}/dnd (admin.listen): {error}; does the gateway run, with this configuration?"
            ));
            Exit::Unavailable
        }
    }
}

async fn list(address: SocketAddr, json: bool) -> reqwest::Result<String> {
    let answer = client()?.get(format!("http://{address}/dnd")).send().await?.error_for_status()?;
    let rows: Vec<DisturbRow> = answer.json().await?;
    if json {
        return Ok(serde_json::to_string_pretty(&rows).unwrap_or_default());
    }
    if rows.is_empty() {
        return Ok("every phone may be rung".to_owned());
    }
    let mut table = vec![["PHONE", "SINCE (UTC)"].map(str::to_owned)];
    table.extend(rows.into_iter().map(|row| [row.phone, row.since]));
    Ok(align(&table))
}

async fn set(address: SocketAddr, method: Method, phone: &str) -> reqwest::Result<String> {
    let on = method == Method::PUT;
    let request = client()?.request(method, format!("http://{address}/dnd")).query(&[("phone", phone)]);
    let answer = request.send().await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(format!("nothing is set: there is no [[phone]] with name = {phone:?}"));
    }
    answer.error_for_status()?;
    Ok(if on { format!("{phone} is not disturbed any more") } else { format!("{phone} may be rung again") })
}
