//! `cordboard serve`: the gateway itself.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::check::load;
use super::{Exit, complain};
use crate::config::{Config, LogConfig, LogFormat};

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
    start_log(config.log);
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

/// Sends the log to stderr; `CORDBOARD_LOG` overrides the level, `cordboard::sip=debug` for one module.
pub fn start_log(log: LogConfig) {
    // Libraries speak up only if something is wrong; our own words follow the setting.
    let usual = format!("warn,cordboard={}", log.level.as_str());
    let filter = std::env::var("CORDBOARD_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second call, in a test, keeps the first log.
    let _ = match log.format {
        // The journal has its own clock.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => builder.without_time().try_init(),
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
