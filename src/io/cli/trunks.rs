//! `cordboard trunks`: how trunks fare.

use std::path::PathBuf;

use clap::Args;

use super::quality::align;
use super::{Exit, Form, gateway};
use crate::io::gateway_state::TrunkRow;

/// Lists the trunks: how each fares, its servers, its calls; asks the running gateway.
#[derive(Debug, Args)]
pub struct TrunksArgs {
    /// The configuration of the gateway.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn trunks(args: &TrunksArgs) -> Exit {
    const PATH: &str = "/trunks";
    match gateway::ask(&args.config, PATH, async |gateway| gateway.list::<Vec<TrunkRow>>(PATH).await) {
        Ok(rows) => {
            Form::of(args.json).print(&rows, || table(&rows));
            Exit::Done
        }
        Err(exit) => exit,
    }
}

fn table(rows: &[TrunkRow]) -> String {
    if rows.is_empty() {
        return "no trunks".to_owned();
    }
    let mut table = vec![["TRUNK", "STATE", "CALLS", "SERVERS"].map(str::to_owned)];
    for row in rows {
        let server = |it: &crate::io::gateway_state::ServerRow| {
            if it.up { it.address.clone() } else { format!("{} (down)", it.address) }
        };
        let servers = row.servers.iter().map(server).collect::<Vec<_>>().join(", ");
        table.push([row.name.clone(), row.state.clone(), row.calls.to_string(), servers]);
    }
    align(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::gateway_state::ServerRow;

    #[test]
    fn the_table_says_which_server_is_down() {
        let server = |address: &str, up| ServerRow { address: address.to_owned(), up };
        let servers = vec![server("192.0.2.1:5060", true), server("192.0.2.2:5060", false)];
        let row =
            TrunkRow { name: "pbx".to_owned(), state: "up, a server is down".to_owned(), servers, calls: 3 };
        let shown = table(&[row]);
        assert!(
            shown.ends_with("up, a server is down  3      192.0.2.1:5060, 192.0.2.2:5060 (down)"),
            "{shown}"
        );
        assert_eq!(table(&[]), "no trunks");
    }
}
