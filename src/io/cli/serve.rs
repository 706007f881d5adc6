//! `cordboard serve`: the gateway itself.

use std::fmt::Display;
use std::path::PathBuf;

use super::check::load;
use super::{Exit, complain};
use crate::config::Config;
use crate::io::log;
use clap::Args;

/// Runs the gateway until SIGTERM.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    pub config: PathBuf,
}

/// Reads the configuration, sets up the log and runs `app` to its end.
pub fn serve<App, Error>(args: &ServeArgs, app: impl FnOnce(Config) -> App) -> Exit
where
    App: Future<Output = Result<(), Error>>,
    Error: Display,
{
    let Some(config) = load(&args.config) else { return Exit::Usage };
    let _log = log::start(config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    match runtime.block_on(app(config)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(format_args!("cordboard ends: {error}"));
            Exit::Unavailable
        }
    }
}
