//! `cordboard phone`: what a registered phone can be asked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::bans::{admin_of, client};
use super::{Exit, complain, say};
use crate::io::phones::Asked;

/// Asks a phone for something; speaks with the running gateway.
#[derive(Debug, Args)]
pub struct PhoneArgs {
    #[command(subcommand)]
    action: PhoneAction,
    /// The configuration of the gateway.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
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

pub(super) fn phone(args: &PhoneArgs) -> Exit {
    let Some(address) = admin_of(&args.config) else { return Exit::Usage };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    let PhoneAction::Resync { name } = &args.action;
    match runtime.block_on(resync(address, name)) {
        Ok(Asked { places: 0 }) => {
            complain(format_args!("phone {name} is not registered: nobody was asked"));
            Exit::Unavailable
        }
        Ok(Asked { places }) => {
            say(format_args!("phone {name} was asked, at {places} place(s)"));
            Exit::Done
        }
        Err(error) => {
            complain(format_args!(
                "http://{address}/phones (admin.listen): {error}; does the gateway run, with this configuration?"
            ));
            Exit::Unavailable
        }
    }
}

async fn resync(address: SocketAddr, name: &str) -> reqwest::Result<Asked> {
    let request = client()?.put(format!("http://{address}/phones/resync")).query(&[("name", name)]);
    request.send().await?.error_for_status()?.json().await
}
