//! The log: lines go to a thread of their own. What reads stderr may stand still for as long as it likes (fault F26):
//! calls do not wait for it, lines that find no room are dropped and counted.

use std::io::{IsTerminal as _, Write};
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// So many lines wait for a reader: some seconds of `debug` on a busy gateway.
const LINES: usize = 16_384;

/// The count of the one log that a process has.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that found no room, of this process.
#[must_use]
pub fn dropped() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}

/// The end of a log; dropped, it gives the last lines a second to get out.
#[derive(Debug)]
#[must_use]
pub struct LogEnd(#[expect(dead_code, reason = "its drop is what counts")] WorkerGuard);

fn writer(to: impl Write + Send + 'static, lines: usize) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(lines).thread_name("log").finish(to)
}

/// Sends the log to stderr; `CORDBOARD_LOG` overrides the level, `cordboard::sip=debug` for one module.
pub fn start(log: LogConfig) -> LogEnd {
    // Libraries speak up only if something is wrong; our own words follow the setting.
    let usual = format!("warn,cordboard={}", log.level.as_str());
    let filter = std::env::var("CORDBOARD_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(usual));
    let (writer, guard) = writer(std::io::stderr(), LINES);
    let _ = DROPPED.set(writer.error_counter());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal());
    // A second call, in a test, keeps the first log.
    let _ = match log.format {
        // The journal has its own clock.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => builder.without_time().try_init(),
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    LogEnd(guard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A reader that takes nothing until it is let go.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn f26_nobody_waits_for_a_reader_that_stands_still_and_what_is_dropped_is_counted() {
        let (go, stuck) = mpsc::channel();
        let (writer, guard) = writer(Stuck(stuck), 8);
        let dropped = writer.error_counter();
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || {
            for line in 0..1000 {
                tracing::error!(line, "a busy day");
            }
        });
        // Eight wait, one is being written, and perhaps one was taken from the line before the others came.
        assert!((990..=992).contains(&dropped.dropped_lines()), "{}", dropped.dropped_lines());
        drop(go);
        drop(guard);
    }
}
