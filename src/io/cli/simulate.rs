//! `cordboard simulate`: runs the stand-in for Meta.

use super::{Exit, complain};
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::simulator::{self, cli::SimulateArgs};

/// Runs until it is stopped; the log goes to stderr, one line of JSON to stdout.
pub(super) fn simulate(args: SimulateArgs) -> Exit {
    let _log = crate::io::log::start(LogConfig { level: LogLevel::Info, format: LogFormat::Text });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cordboard cannot start its threads: {error}"));
            return Exit::Internal;
        }
    };
    match runtime.block_on(simulator::run(args)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(format_args!("the stand-in for Meta ends: {error}"));
            Exit::Unavailable
        }
    }
}
